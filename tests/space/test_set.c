/* Sets: round trips in both precisions, hand-made folders, corruption, mismatches, refusals; nothing half-written. */
#include "../scratch.h"
#include "space/space.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void put(const char *name, const char *text)
{
    assert_int_equal(atomic_put(at(name), text, strlen(text)), 0);
}

static void put_npy(const char *name, int64_t n, int64_t d, const float *x)
{
    const int64_t shape[2] = {n, d};
    assert_int_equal(npy_write(at(name), DT_F32, 2, shape, x), 0);
}

static const float unit_rows[12] = {1, 0, 0, 0.6F, 0.8F, 0, 0, 0, 1, 0, 0.6F, 0.8F};
static const struct set_pair three_pairs[3] = {{1, 0}, {0, 1}, {1, 2}};

static int write_set(const char *name, bool force, const char *dtype)
{
    const struct set_info info = {.model = "tiny",
                                  .fingerprint = "abc123",
                                  .data = "csv:x",
                                  .protocol = "first caption",
                                  .dtype = dtype,
                                  .logit_scale = 100,
                                  .width = 3,
                                  .unit = true};
    const char *const image_cols[2] = {"id", "path"}, *const text_cols[1] = {"caption"};
    const char *const image_cells[4] = {"a", "a.png", "b", "b, \"quoted\".png"}, *const text_cells[3] = {
                                                                                     "one", "two\nlines", ""};
    const struct set_table images = {2, image_cols, image_cells, 2}, texts = {1, text_cols, text_cells, 3};
    struct set_writer *w = NULL;
    json_t *extra = json_pack("{s:s, s:i}", "note", "extra", "width", 99);
    int rc = set_writer_open(&w, at(name), force, &info);
    if (rc == 0) {
        assert_int_equal(set_writer_images(w, unit_rows, 1), 0);
        assert_int_equal(set_writer_images(w, unit_rows + 3, 1), 0);
        assert_int_equal(set_writer_texts(w, unit_rows + 3, 3), 0);
        rc = set_writer_commit(&w, &images, &texts, three_pairs, 3, extra);
        assert_null(w);
    }
    json_decref(extra);
    return rc;
}

static void round_trip(void **state)
{
    (void)state;
    static const char *const types[2] = {"float32", "float16"};
    for (int t = 0; t < 2; t++) {
        struct set *s = NULL;
        assert_int_equal(write_set(types[t], false, types[t]), 0);
        assert_int_equal(set_open(&s, at(types[t])), 0);
        assert_int_equal(s->image.n, 2);
        assert_int_equal(s->text.n, 3);
        assert_int_equal(s->width, 3);
        assert_true(s->unit);
        for (int i = 0; i < 6; i++)
            assert_true(fabsf(s->image.x[i] - unit_rows[i]) <= (t ? 1e-3F : 0));
        for (int i = 0; i < 3; i++) /* halves come back at exactly unit length */
            assert_true(fabs(space_dot(s->text.x + 3 * i, s->text.x + 3 * i, 3) - 1) < 1e-6);
        assert_string_equal(s->model, "tiny");
        assert_string_equal(s->fingerprint, "abc123");
        assert_string_equal(s->data, "csv:x");
        assert_string_equal(s->protocol, "first caption");
        assert_true(s->logit_scale == 100);
        assert_int_equal(s->n_pairs, 3);
        assert_true(s->pairs[0].image == 0 && s->pairs[0].text == 1 && s->pairs[1].text == 0 && s->pairs[2].text == 2);
        assert_true(s->image.has_meta && s->text.has_meta);
        assert_string_equal(table_cell(&s->image.meta, 1, table_col(&s->image.meta, "path")), "b, \"quoted\".png");
        assert_string_equal(table_cell(&s->text.meta, 1, table_col(&s->text.meta, "caption")), "two\nlines");
        assert_string_equal(table_cell(&s->text.meta, 1, table_col(&s->text.meta, "image_row")), "0");
        assert_string_equal(table_cell(&s->image.meta, 1, table_col(&s->image.meta, "row")), "1");
        assert_string_equal(json_string_value(json_object_get(s->json, "note")), "extra");
        assert_int_equal(json_integer_value(json_object_get(s->json, "width")), 3); /* extra keys never replace ours */
        set_close(&s);
        assert_null(s);
        set_close(&s);
    }
    assert_int_equal(write_set("float32", false, "float32"), ERR_EXISTS);
    assert_int_equal(write_set("float32", true, "float32"), 0);
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

static void corruption_is_named(void **state)
{
    (void)state;
    static const char *const files[] = {"image.npy", "text.npy", "images.csv", "texts.csv", "pairs.csv"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char name[64];
        assert_int_equal(write_set("corrupt", true, "float32"), 0);
        snprintf(name, sizeof name, "corrupt/%s", files[i]);
        FILE *f = fopen(at(name), "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, -2, SEEK_END), 0);
        int c = fgetc(f);
        assert_int_equal(fseek(f, -2, SEEK_END), 0);
        fputc(c ^ 1, f);
        fclose(f);
        expect(ERR_DATA, "corrupt", files[i]);
        expect(ERR_DATA, "corrupt", "SHA-256");
        assert_int_equal(unlink(at(name)), 0);
        expect(ERR_DATA, "corrupt", files[i]);
    }
}

/* {} and two npy files are a set; then one thing after another goes wrong. */
static void hand_made(void **state)
{
    (void)state;
    struct set *s = NULL;
    const float raw[6] = {3, 0, 0, 0, 4, 0}, nan_rows[6] = {1, 0, 0, (float)NAN, 1, 0};
    assert_int_equal(path_make_dirs(at("hand")), 0);
    expect(ERR_DATA, "hand", "set.json");
    expect(ERR_DATA, "nowhere", "does not exist");
    put("hand/set.json", "{}");
    expect(ERR_DATA, "hand", "image.npy");
    put_npy("hand/image.npy", 2, 3, raw);
    assert_int_equal(set_open(&s, at("hand")), 0); /* pictures alone: something to search in */
    assert_true(s->text.n == 0 && s->n_pairs == 0 && !s->unit);
    set_close(&s);
    put_npy("hand/text.npy", 2, 3, unit_rows);
    assert_int_equal(set_open(&s, at("hand")), 0);
    assert_true(s->n_pairs == 2 && s->pairs[1].text == 1 && s->pairs[1].image == 1);
    assert_true(!s->unit && s->image.x[0] == 3);
    assert_string_equal(s->fingerprint, "");
    set_close(&s);
    put_npy("hand/image.npy", 2, 3, unit_rows);
    assert_int_equal(set_open(&s, at("hand")), 0);
    assert_true(s->unit); /* measured */
    set_close(&s);
    put("hand/texts.csv", "row,image_row,caption\n0,1,x\n1,,y\n");
    assert_int_equal(set_open(&s, at("hand")), 0);
    assert_true(s->n_pairs == 1 && s->pairs[0].image == 1 && s->pairs[0].text == 0);
    set_close(&s);
    put("hand/pairs.csv", "text_row,image_row\n0,0\n1,1\n0,0\n");
    log_level(LOG_ERROR);
    assert_int_equal(set_open(&s, at("hand")), 0);
    assert_int_equal(s->n_pairs, 2); /* said twice, counted once */
    set_close(&s);
    put("hand/pairs.csv", "image_row,text_row\n0,2\n");
    expect(ERR_DATA, "hand", "pairs.csv");
    put("hand/pairs.csv", "image_row,text\n0,1\n");
    expect(ERR_DATA, "hand", "text_row");
    put("hand/pairs.csv", "image_row,text_row\n0,1\n");
    put("hand/texts.csv", "row,image_row\n0,1\n");
    expect(ERR_DATA, "hand", "texts.csv");
    put("hand/texts.csv", "row,image_row\n1,1\n0,1\n");
    expect(ERR_DATA, "hand", "order");
    put("hand/texts.csv", "row,image_row\n0,1\n1,1\n");
    put("hand/set.json", "{\"n_images\": 3}");
    expect(ERR_DATA, "hand", "n_images");
    put("hand/set.json", "{\"width\": 4}");
    expect(ERR_DATA, "hand", "width");
    put("hand/set.json", "[1]");
    expect(ERR_DATA, "hand", "object");
    put("hand/set.json", "{\"checksums\": {\"../x\": \"0\"}}");
    expect(ERR_DATA, "hand", "checksums");
    put("hand/set.json", "{\"model\": 7}");
    expect(ERR_DATA, "hand", "model");
    put("hand/set.json", "{\"format\": \"other\"}");
    expect(ERR_DATA, "hand", "meridian set");
    put("hand/set.json", "{\"format\": \"meridian set\", \"version\": 2}");
    expect(ERR_UNSUPPORTED, "hand", "version");
    put("hand/set.json", "{\"dtype\": \"float16\"}");
    expect(ERR_DATA, "hand", "float32");
    put("hand/set.json", "{\"unit_length\": true}");
    put_npy("hand/image.npy", 2, 3, raw);
    expect(ERR_DATA, "hand", "unit length");
    put("hand/set.json", "{}");
    put_npy("hand/image.npy", 2, 3, nan_rows);
    expect(ERR_NONFINITE, "hand", "row 1");
    put_npy("hand/image.npy", 3, 2, unit_rows);
    expect(ERR_DATA, "hand", "width");
}

static void npy_in_a_sets_place(void **state)
{
    (void)state;
    struct set *s = NULL;
    put_npy("i.npy", 2, 3, unit_rows);
    put_npy("t.npy", 3, 3, unit_rows + 3);
    put("p.csv", "image_row,text_row\n1,2\n1,0\n0,0\n");
    assert_int_equal(set_open_npy(&s, at("i.npy"), at("t.npy"), at("p.csv")), 0);
    assert_int_equal(s->n_pairs, 3);
    assert_true(s->pairs[0].image == 0 && s->pairs[2].text == 2 && s->unit);
    assert_int_equal(set_check_fingerprint(s, "other", "def"), 0); /* unknown against known: nothing to compare */
    set_close(&s);
    assert_int_equal(set_open_npy(&s, at("i.npy"), at("t.npy"), NULL), ERR_DATA);
    assert_non_null(strstr(err_text(), "i.npy"));
    assert_int_equal(set_open_npy(&s, at("i.npy"), at("none.npy"), NULL) < 0, 1);
    assert_int_equal(set_open_npy(&s, at("i.npy"), at("i.npy"), NULL), 0);
    assert_int_equal(s->n_pairs, 2);
    set_close(&s);
}

static void fingerprints(void **state)
{
    (void)state;
    struct set *s = NULL;
    assert_int_equal(write_set("prints", true, "float32"), 0);
    assert_int_equal(set_open(&s, at("prints")), 0);
    assert_int_equal(set_check_fingerprint(s, "tiny", "abc123"), 0);
    assert_int_equal(set_check_fingerprint(s, "tiny", ""), 0);
    assert_int_equal(set_check_fingerprint(s, "huge", "ffff00"), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "tiny"));
    assert_non_null(strstr(err_text(), "huge"));
    assert_int_equal(err_exit_code(ERR_MISMATCH), 3);
    set_close(&s);
}

static void writer_refuses(void **state)
{
    (void)state;
    struct set_writer *w = NULL;
    struct set_info info = {.width = 3, .unit = true};
    const float bad[3] = {0, (float)INFINITY, 0}, longer[3] = {2, 0, 0}, big[3] = {70000, 0, 0};
    const struct set_pair out_of_range = {0, 5};
    const char *const cols[1] = {"id"}, *const cells[2] = {"a", "b"};
    const struct set_table two = {1, cols, cells, 2};
    assert_int_equal(set_writer_open(&w, at("refuse"), false, &info), 0);
    assert_int_equal(set_writer_texts(w, unit_rows, 1), 0);
    assert_int_equal(set_writer_texts(w, bad, 1), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "text row 1"));
    assert_int_equal(set_writer_images(w, longer, 1), ERR_DATA);
    assert_int_equal(set_writer_commit(&w, NULL, NULL, &out_of_range, 1, NULL), ERR_DATA);
    assert_null(w);
    assert_false(path_exists(at("refuse"))); /* nothing half-written */
    assert_int_equal(set_writer_open(&w, at("refuse"), false, &info), 0);
    assert_int_equal(set_writer_images(w, unit_rows, 1), 0);
    assert_int_equal(set_writer_commit(&w, &two, NULL, NULL, 0, NULL), ERR_DATA);
    assert_false(path_exists(at("refuse")));
    info.dtype = "float16";
    info.unit = false;
    assert_int_equal(set_writer_open(&w, at("refuse"), false, &info), 0);
    assert_int_equal(set_writer_images(w, big, 1), ERR_NONFINITE); /* more than a half can hold */
    set_writer_abort(&w);
    assert_null(w);
    set_writer_abort(&w);
    assert_false(path_exists(at("refuse")));
    info.dtype = "float8";
    assert_int_equal(set_writer_open(&w, at("refuse"), false, &info), ERR_USAGE);
    info.dtype = NULL;
    info.width = 0;
    assert_int_equal(set_writer_open(&w, at("refuse"), false, &info), ERR_DATA);
}

/* A table that once described another set has its row numbers with it: they give way to the new ones. */
static void foreign_row_numbers(void **state)
{
    (void)state;
    struct set_writer *w = NULL;
    struct set *s = NULL;
    const struct set_info info = {.width = 3, .unit = true};
    const char *const image_cols[2] = {"row", "id"}, *const image_cells[4] = {"7", "a", "9", "b"};
    const char *const text_cols[3] = {"image_row", "caption", "row"}, *const text_cells[6] = {"5", "one", "3",
                                                                                              "6", "two", "2"};
    const struct set_table images = {2, image_cols, image_cells, 2}, texts = {3, text_cols, text_cells, 2};
    const struct set_pair pairs[1] = {{1, 0}};
    assert_int_equal(set_writer_open(&w, at("foreign"), false, &info), 0);
    assert_int_equal(set_writer_images(w, unit_rows, 2), 0);
    assert_int_equal(set_writer_texts(w, unit_rows, 2), 0);
    assert_int_equal(set_writer_commit(&w, &images, &texts, pairs, 1, NULL), 0);
    assert_int_equal(set_open(&s, at("foreign")), 0);
    assert_int_equal(s->image.meta.n_cols, 2);
    assert_int_equal(s->text.meta.n_cols, 3);
    assert_string_equal(table_cell(&s->image.meta, 1, table_col(&s->image.meta, "row")), "1");
    assert_string_equal(table_cell(&s->image.meta, 1, table_col(&s->image.meta, "id")), "b");
    assert_string_equal(table_cell(&s->text.meta, 0, table_col(&s->text.meta, "image_row")), "1");
    assert_string_equal(table_cell(&s->text.meta, 1, table_col(&s->text.meta, "image_row")), "");
    assert_string_equal(table_cell(&s->text.meta, 1, table_col(&s->text.meta, "caption")), "two");
    set_close(&s);
}

/* Sides may be empty, tables may be missing. */
static void empty_sides(void **state)
{
    (void)state;
    struct set_writer *w = NULL;
    struct set *s = NULL;
    const struct set_info info = {.width = 3, .unit = true, .dtype = "float16"};
    assert_int_equal(set_writer_open(&w, at("empty"), false, &info), 0);
    assert_int_equal(set_writer_texts(w, unit_rows, 2), 0);
    assert_int_equal(set_writer_commit(&w, NULL, NULL, NULL, 0, NULL), 0);
    assert_int_equal(set_open(&s, at("empty")), 0);
    assert_true(s->image.n == 0 && s->text.n == 2 && s->n_pairs == 0 && s->width == 3);
    set_close(&s);
}

/* Every allocation on the way fails once: an error, no leak, no folder. */
static void out_of_memory(void **state)
{
    (void)state;
    int failed = 0;
    assert_int_equal(write_set("memory", true, "float32"), 0);
    for (int64_t n = 1; n < 60; n++) {
        struct set *s = NULL;
        mem_fail_at(n);
        int rc = set_open(&s, at("memory"));
        mem_fail_at(0);
        failed += rc == ERR_MEMORY;
        if (rc < 0)
            assert_null(s);
        set_close(&s);
    }
    assert_true(failed >= 8);
    const struct set_info info = {.width = 3, .unit = true, .dtype = "float16"};
    failed = 0;
    for (int64_t n = 1; n < 60; n++) {
        struct set_writer *w = NULL;
        mem_fail_at(n);
        int rc = set_writer_open(&w, at("writing"), true, &info);
        if (rc == 0)
            rc = set_writer_images(w, unit_rows, 3);
        if (rc == 0)
            rc = set_writer_texts(w, unit_rows, 3);
        if (rc == 0)
            rc = set_writer_commit(&w, NULL, NULL, three_pairs, 3, NULL);
        else
            set_writer_abort(&w);
        mem_fail_at(0);
        assert_null(w);
        failed += rc == ERR_MEMORY;
        assert_true(rc == 0 || rc == ERR_MEMORY);
        assert_int_equal(path_exists(at("writing")), rc == 0);
        if (rc == 0)
            assert_int_equal(path_remove_tree(at("writing")), 0);
    }
    assert_true(failed >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),          cmocka_unit_test(corruption_is_named), cmocka_unit_test(hand_made),
        cmocka_unit_test(npy_in_a_sets_place), cmocka_unit_test(fingerprints),        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(foreign_row_numbers), cmocka_unit_test(empty_sides),         cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_root, drop_root);
}
