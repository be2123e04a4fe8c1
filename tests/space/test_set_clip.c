/* clip-retrieval's folders as sets, both ways; two makers' vectors side by side. */
#include "../scratch.h"
#include "space/space.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void must(int rc)
{
    if (rc < 0)
        fail_msg("%s", err_text());
}

/* n rows of width 4 on the unit sphere, different for each `seed` */
static void put_rows(const char *name, int64_t n, int seed, enum dtype t)
{
    const int64_t shape[2] = {n, 4};
    float *x = mem_calloc((size_t)n * 4 + 1, sizeof *x);
    uint16_t *half = mem_calloc((size_t)n * 4 + 1, sizeof *half);
    for (int64_t i = 0; i < n; i++) {
        double angle = 0.1 * (double)(i + 1) + seed;
        x[i * 4] = (float)cos(angle);
        x[i * 4 + 1 + seed % 3] = (float)sin(angle);
    }
    must(dtype_convert(DT_F16, half, DT_F32, x, (size_t)n * 4));
    must(npy_write(at(name), t, 2, shape, t == DT_F16 ? (const void *)half : x));
    mem_free(x);
    mem_free(half);
}

static void put_table(const char *name, int64_t n, int first)
{
    const char *const cols[] = {"image_path", "caption", "similarity", "url"};
    const char *cells[4 * 8];
    static char text[4 * 8][64];
    assert_true(n <= 8);
    for (int64_t i = 0; i < n; i++) {
        for (int c = 0; c < 4; c++)
            cells[i * 4 + c] = text[i * 4 + c];
        snprintf(text[i * 4], 64, "pics/%lld.jpg", (long long)(first + i));
        snprintf(text[i * 4 + 1], 64, "caption, \"%lld\"", (long long)(first + i));
        snprintf(text[i * 4 + 2], 64, "0.%lld", (long long)(first + i + 1));
        snprintf(text[i * 4 + 3], 64, i == 1 ? "" : "https://example.org/%lld", (long long)(first + i));
    }
    must(parquet_write(at(name), 4, cols, n, cells));
}

static void make_folder(const char *name, enum dtype t)
{
    char path[300];
    static const int64_t counts[3] = {3, 0, 5};
    static const char *const folders[3] = {"img_emb", "text_emb", "metadata"};
    for (int k = 0; k < 3; k++) {
        snprintf(path, sizeof path, "%s/%s", name, folders[k]);
        must(path_make_dirs(at(path)));
    }
    for (int i = 0; i < 3; i++) { /* written in no order: 2 before 0 */
        int shard = (i + 2) % 3;
        snprintf(path, sizeof path, "%s/img_emb/img_emb_%03d.npy", name, shard);
        put_rows(path, counts[shard], shard, t);
        snprintf(path, sizeof path, "%s/text_emb/text_emb_%03d.npy", name, shard);
        put_rows(path, counts[shard], shard + 10, t);
        snprintf(path, sizeof path, "%s/metadata/metadata_%03d.parquet", name, shard);
        put_table(path, counts[shard], shard ? 3 : 0);
    }
}

static const char *image_cell(const struct set *s, int64_t row, const char *col)
{
    int c = table_col(&s->image.meta, col);
    return c < 0 ? "no such column" : table_cell(&s->image.meta, row, c);
}

static void shards_are_one_list(void **state)
{
    (void)state;
    static const enum dtype types[2] = {DT_F32, DT_F16};
    for (int k = 0; k < 2; k++) {
        struct set *s = NULL;
        const char *name = k ? "half" : "single";
        make_folder(name, types[k]);
        must(set_open(&s, at(name)));
        assert_true(s->image.n == 8 && s->text.n == 8 && s->width == 4 && s->n_pairs == 8 && s->unit);
        assert_true(s->pairs[7].image == 7 && s->pairs[7].text == 7);
        assert_float_equal(s->image.x[0], cos(0.1), 1e-3);
        assert_float_equal(s->image.x[3 * 4], cos(2.1), 1e-3); /* first row of shard 2 */
        double square = space_dot(s->text.x + 28, s->text.x + 28, 4);
        assert_float_equal(square, 1, 1e-6); /* brought back to unit length */
        assert_string_equal(image_cell(s, 4, "path"), "pics/4.jpg");
        assert_string_equal(image_cell(s, 4, "url"), "");
        assert_string_equal(image_cell(s, 5, "similarity"), "0.6");
        assert_int_equal(table_col(&s->image.meta, "caption"), -1);
        assert_string_equal(table_cell(&s->text.meta, 7, table_col(&s->text.meta, "caption")), "caption, \"7\"");
        assert_non_null(strstr(s->protocol, "3 shards"));
        assert_string_equal(s->fingerprint, "");
        set_close(&s);
    }
}

static void expect(int code, const char *dir, const char *word)
{
    struct set *s = NULL;
    int rc = set_open(&s, at(dir));
    if (rc != code)
        fail_msg("%s: returned %d (%s), expected %d", dir, rc, err_text(), code);
    assert_null(s);
    if (!strstr(err_text(), word))
        fail_msg("%s: the message \"%s\" does not say \"%s\"", dir, err_text(), word);
}

static void lost_and_short_shards(void **state)
{
    (void)state;
    make_folder("lost", DT_F32);
    must(path_remove_tree(at("lost/text_emb/text_emb_002.npy")));
    expect(ERR_DATA, "lost", "img_emb_002.npy");
    put_rows("lost/text_emb/text_emb_002.npy", 4, 1, DT_F32);
    expect(ERR_DATA, "lost", "5 rows and text_emb_002.npy has 4");
    put_rows("lost/text_emb/text_emb_002.npy", 5, 1, DT_F32);
    put_rows("lost/text_emb/text_emb_2.npy", 5, 1, DT_F32);
    expect(ERR_DATA, "lost", "one number");
    must(path_remove_tree(at("lost/text_emb/text_emb_2.npy")));
    put_table("lost/metadata/metadata_002.parquet", 4, 3);
    expect(ERR_DATA, "lost", "metadata_002.parquet: 4 rows");
    const int64_t wide[2] = {5, 5};
    const float zeros[25] = {0};
    must(npy_write(at("lost/text_emb/text_emb_002.npy"), DT_F32, 2, wide, zeros));
    expect(ERR_DATA, "lost", "width 5");
    must(npy_write(at("lost/text_emb/text_emb_002.npy"), DT_F32, 1, wide, zeros));
    expect(ERR_DATA, "lost", "dimensions");
    must(path_make_dirs(at("empty/img_emb")));
    expect(ERR_DATA, "empty", "img_emb_000.npy");
}

static void without_metadata(void **state)
{
    (void)state;
    struct set *s = NULL;
    make_folder("bare", DT_F32);
    must(path_remove_tree(at("bare/metadata/metadata_001.parquet")));
    must(set_open(&s, at("bare")));
    assert_non_null(strstr(s->protocol, "metadata was left out: all of it: 2 shards of it for 3"));
    assert_false(s->image.has_meta || s->text.has_meta);
    set_close(&s);
    must(path_remove_tree(at("bare/metadata")));
    must(path_remove_tree(at("bare/text_emb")));
    must(set_open(&s, at("bare")));
    assert_non_null(strstr(s->protocol, "left out: there is none"));
    assert_true(s->image.n == 8 && s->text.n == 0 && s->n_pairs == 0);
    set_close(&s);
}

static void there_and_back(void **state)
{
    (void)state;
    struct set *s = NULL, *t = NULL;
    make_folder("from", DT_F32);
    must(set_open(&s, at("from")));
    must(set_write(s, at("as-set"), "float32", false));
    assert_int_equal(set_write(s, at("as-set"), "float32", false), ERR_EXISTS);
    assert_int_equal(set_write(s, at("other"), "bfloat16", false), ERR_USAGE);
    must(set_open(&t, at("as-set")));
    assert_memory_equal(s->image.x, t->image.x, 8 * 4 * sizeof(float));
    assert_memory_equal(s->text.x, t->text.x, 8 * 4 * sizeof(float));
    assert_int_equal(t->n_pairs, 8);
    assert_string_equal(image_cell(t, 7, "path"), "pics/7.jpg");
    set_close(&s);
    must(set_write_clip_retrieval(t, at("back"), "float32", false));
    assert_int_equal(set_write_clip_retrieval(t, at("back"), NULL, false), ERR_EXISTS);
    assert_true(path_exists(at("back/img_emb/img_emb_0.npy")) && path_exists(at("back/metadata/metadata_0.parquet")));
    must(set_open(&s, at("back")));
    assert_memory_equal(s->text.x, t->text.x, 8 * 4 * sizeof(float));
    assert_string_equal(image_cell(s, 7, "url"), "https://example.org/7");
    assert_string_equal(table_cell(&s->text.meta, 2, table_col(&s->text.meta, "caption")), "caption, \"2\"");
    set_close(&s);
    set_close(&t);
}

/* Two captions of one picture are two rows; what has no partner is left out; the model travels in meridian.json. */
static void pairs_become_rows(void **state)
{
    (void)state;
    struct set *s = NULL;
    struct set_writer *w = NULL;
    const struct set_info info = {
        .model = "tiny", .fingerprint = "abc123", .width = 4, .unit = true, .logit_scale = 100, .data = "csv:x"};
    const float x[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    const struct set_pair pairs[2] = {{1, 0}, {1, 2}};
    const char *const cols[2] = {"id", "caption"}, *const cells[6] = {"a", "x", "b", "y", "c", "z"};
    const struct set_table table = {2, cols, cells, 3};
    must(set_writer_open(&w, at("many"), false, &info));
    must(set_writer_images(w, x, 3));
    must(set_writer_texts(w, x, 3));
    must(set_writer_commit(&w, &table, &table, pairs, 2, NULL));
    must(set_open(&s, at("many")));
    must(set_write_clip_retrieval(s, at("rows"), "float16", false));
    set_close(&s);
    must(set_open(&s, at("rows")));
    assert_true(s->image.n == 2 && s->text.n == 2);
    assert_true(s->image.x[1] == 1 && s->image.x[5] == 1 && s->text.x[0] == 1 && s->text.x[6] == 1);
    assert_string_equal(s->fingerprint, "abc123");
    assert_string_equal(s->model, "tiny");
    assert_true(s->logit_scale == 100);
    assert_string_equal(table_cell(&s->text.meta, 1, table_col(&s->text.meta, "caption")), "z");
    assert_string_equal(image_cell(s, 1, "text_id"), "c"); /* the caption's own column of that name */
    set_close(&s);
}

static void put(const char *name, const char *text)
{
    must(atomic_put(at(name), text, strlen(text)));
}

/* Two folders that say who made them: one maker is taken over, two are refused, and stamped when they are wanted. */
static void makers_of_npy_files(void **state)
{
    (void)state;
    struct set *s = NULL;
    char a[600], b[600];
    must(path_make_dirs(at("a")));
    must(path_make_dirs(at("b")));
    put("a/set.json", "{\"model\": \"first\", \"fingerprint\": \"aaaa\", \"logit_scale\": 50}");
    put("b/set.json", "{\"model\": \"second\", \"fingerprint\": \"bbbb\"}");
    put_rows("a/image.npy", 3, 0, DT_F32);
    put_rows("a/text.npy", 3, 1, DT_F32);
    put_rows("b/text.npy", 3, 2, DT_F32);
    strcpy(a, at("a/image.npy"));
    strcpy(b, at("a/text.npy"));
    must(set_open_npy(&s, a, b, NULL));
    assert_string_equal(s->model, "first");
    assert_true(s->logit_scale == 50);
    set_close(&s);
    strcpy(b, at("b/text.npy"));
    assert_int_equal(set_open_npy(&s, a, b, NULL), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "first"));
    assert_non_null(strstr(err_text(), "bbbb"));
    must(set_open_npy_mixed(&s, a, b, NULL, true));
    assert_non_null(strstr(s->model, "mixed: first (aaaa) and second (bbbb)"));
    assert_int_equal(json_array_size(json_object_get(s->json, "mixed")), 2);
    assert_int_equal(set_check_fingerprint(s, "first", "aaaa"), ERR_MISMATCH); /* nobody's set */
    must(set_write(s, at("stamped"), "float32", false));
    set_close(&s);
    must(set_open(&s, at("stamped")));
    assert_int_equal(json_array_size(json_object_get(s->json, "mixed")), 2);
    set_close(&s);
    put("b/set.json", "{}");
    must(set_open_npy(&s, a, b, NULL)); /* nobody says who made the one side */
    assert_string_equal(s->fingerprint, "");
    set_close(&s);
    put("b/set.json", "{");
    assert_int_equal(set_open_npy(&s, a, b, NULL), ERR_DATA);
}

/* Every allocation on the way fails once: an error, no leak, no folder. */
static void out_of_memory(void **state)
{
    (void)state;
    int failed = 0;
    make_folder("memory", DT_F32);
    for (int64_t n = 1; n < 400; n += 3) {
        struct set *s = NULL;
        must(path_remove_tree(at("memory-out")));
        mem_fail_at(n);
        int rc = set_open(&s, at("memory"));
        if (rc == 0)
            rc = set_write_clip_retrieval(s, at("memory-out"), "float16", true);
        mem_fail_at(0);
        set_close(&s);
        if (rc == 0)
            continue;
        failed++;
        assert_int_equal(rc, ERR_MEMORY);
        assert_false(path_exists(at("memory-out")));
    }
    assert_true(failed > 20);
    printf("%d failed allocations, all clean\n", failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_one_list), cmocka_unit_test(lost_and_short_shards),
        cmocka_unit_test(without_metadata),    cmocka_unit_test(there_and_back),
        cmocka_unit_test(pairs_become_rows),   cmocka_unit_test(makers_of_npy_files),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_root, drop_root);
}
