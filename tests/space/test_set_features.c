/* Features of a set: written, read, converted, and what is refused. */
#include "space/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "../scratch.h"

static const float unit[6] = {1, 0, 0, 0, 1, 0};
static const float features[2][8] = {{.5F, -1, 2, 3, 4, 5, 6, 7}, {1, 2, 3, 4}};
static const float lengths[2][2] = {{2, 3}, {.5F, 4}};

static int write_set(const char *name, const char *dtype, bool both)
{
    struct set_info info = {.model = "m",
                            .dtype = dtype,
                            .width = 3,
                            .unit = true,
                            .features = {{.width = 4, .n_weights = 12, .square = 7.5},
                                         {.width = both ? 2 : 0, .bias = true, .n_weights = 9, .square = 2}}};
    static const struct set_pair pairs[2] = {{0, 0}, {1, 1}};
    struct set_writer *w;
    int rc = set_writer_open(&w, at(name), true, &info);
    if (rc < 0)
        return rc;
    rc = set_writer_images(w, unit, 2);
    if (rc == 0)
        rc = set_writer_texts(w, unit, 2);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = set_writer_features(w, 0, features[0] + 4 * i, lengths[0] + i, 1);
    if (rc == 0 && both)
        rc = set_writer_features(w, 1, features[1], lengths[1], 2);
    if (rc == 0)
        return set_writer_commit(&w, NULL, NULL, pairs, 2, NULL);
    set_writer_abort(&w);
    return rc;
}

static void check_set(const struct set *s, bool both)
{
    const struct set_features *f[2] = {&s->image.features, &s->text.features};
    assert_int_equal(f[0]->width, 4);
    assert_int_equal(f[0]->n_weights, 12);
    assert_false(f[0]->bias);
    assert_true(f[0]->square == 7.5);
    assert_memory_equal(f[0]->x, features[0], sizeof features[0]); /* exact in halves too */
    assert_memory_equal(f[0]->lengths, lengths[0], sizeof lengths[0]);
    if (!both) {
        assert_null(f[1]->x);
        assert_int_equal(f[1]->width, 0);
        return;
    }
    assert_true(f[1]->bias);
    assert_memory_equal(f[1]->x, features[1], 4 * sizeof(float));
    assert_memory_equal(f[1]->lengths, lengths[1], sizeof lengths[1]);
}

static void test_round_trip(void **state)
{
    static const char *const types[] = {"float32", "float16"};
    for (int k = 0; k < 4; k++) {
        struct set *s;
        bool both = k < 2;
        assert_int_equal(write_set("round", types[k % 2], both), 0);
        assert_int_equal(set_open(&s, at("round")), 0);
        check_set(s, both);
        assert_non_null(json_object_get(json_object_get(s->json, "checksums"), "image_features.npy"));
        assert_int_equal(json_object_get(json_object_get(s->json, "checksums"), "text_lengths.npy") != NULL, both);
        assert_int_equal(set_write(s, at("again"), types[k % 2], true), 0);
        set_close(&s);
        assert_int_equal(set_open(&s, at("again")), 0);
        check_set(s, both);
        set_close(&s);
    }
}

/* The other layout has no place; nothing of them is left behind. */
static void test_clip_retrieval(void **state)
{
    struct set *s;
    assert_int_equal(write_set("round", "float32", true), 0);
    assert_int_equal(set_open(&s, at("round")), 0);
    assert_int_equal(set_write_clip_retrieval(s, at("clip"), "float32", true), 0);
    set_close(&s);
    assert_int_equal(set_open(&s, at("clip")), 0);
    assert_null(s->image.features.x);
    set_close(&s);
}

static void test_bad_rows(void **state)
{
    struct set_info info = {.dtype = "float16", .width = 3, .unit = true, .features = {{.width = 4}}};
    const float bad[4] = {0, NAN, 0, 0}, large[4] = {0, 70000, 0, 0}, one = 1, zero = 0;
    struct set_writer *w;
    assert_int_equal(set_writer_open(&w, at("bad"), true, &info), 0);
    assert_int_equal(set_writer_features(w, 0, bad, &one, 1), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "row 0"));
    assert_int_equal(set_writer_features(w, 0, large, &one, 1), ERR_NONFINITE);
    assert_int_equal(set_writer_features(w, 0, features[0], &zero, 1), ERR_NONFINITE);
    assert_int_equal(set_writer_features(w, 0, features[0], &one, 1), 0);
    assert_int_equal(set_writer_commit(&w, NULL, NULL, NULL, 0, NULL), ERR_DATA); /* a row of features, no vector */
    assert_non_null(strstr(err_text(), "expected 0"));
    assert_false(path_exists(at("bad")));
    info.features[0].width = limit_get(LIMIT_WIDTH) + 1;
    assert_int_equal(set_writer_open(&w, at("bad"), true, &info), ERR_DATA);
}

/* A folder written by hand: files of other types, nothing said in set.json. */
static void test_by_hand(void **state)
{
    struct set *s;
    const double wide[4] = {1, 2, 3, 4};
    const int64_t shape[2] = {2, 2}, wrong[2] = {1, 4}, vectors[2] = {2, 3};
    const float raw[6] = {3, 4, 0, 0, 0, 2};
    assert_int_equal(path_make_dirs(at("hand")), 0);
    assert_int_equal(atomic_put(at("hand/set.json"), "{}", 2), 0);
    assert_int_equal(npy_write(at("hand/image.npy"), DT_F32, 2, vectors, raw), 0);
    assert_int_equal(npy_write(at("hand/image_features.npy"), DT_F64, 2, shape, wide), 0);
    assert_int_equal(set_open(&s, at("hand")), 0);
    assert_int_equal(s->image.features.width, 2);
    assert_int_equal(s->image.features.n_weights, 6);
    assert_true(s->image.features.x[3] == 4 && !s->image.features.lengths);
    assert_int_equal(set_write(s, at("hand2"), "float32", true), 0); /* lengths are those of the rows */
    set_close(&s);
    assert_int_equal(set_open(&s, at("hand2")), 0);
    assert_true(s->image.features.lengths[0] == 5 && s->image.features.lengths[1] == 2);
    set_close(&s);
    assert_int_equal(npy_write(at("hand/image_features.npy"), DT_F64, 2, wrong, wide), 0);
    assert_int_equal(set_open(&s, at("hand")), ERR_DATA);
    assert_non_null(strstr(err_text(), "image_features.npy"));
    assert_int_equal(path_remove_tree(at("hand/image_features.npy")), 0);
    const char *said = "{\"features\": {\"image\": {\"width\": 2}}}";
    assert_int_equal(atomic_put(at("hand/set.json"), said, strlen(said)), 0);
    assert_int_equal(set_open(&s, at("hand")), ERR_DATA);
    assert_non_null(strstr(err_text(), "missing"));
    said = "{\"features\": {\"image\": {\"width\": \"2\"}}}";
    assert_int_equal(atomic_put(at("hand/set.json"), said, strlen(said)), 0);
    assert_int_equal(set_open(&s, at("hand")), ERR_DATA);
    assert_non_null(strstr(err_text(), "features.image"));
}

static void test_memory(void **state)
{
    struct set *s = NULL;
    assert_int_equal(write_set("memory", "float16", true), 0);
    for (int n = 1; n < 2000; n++) {
        mem_fail_at(n);
        int rc = set_open(&s, at("memory"));
        mem_fail_at(0);
        if (rc == 0) {
            set_close(&s);
            break;
        }
        assert_int_equal(rc, ERR_MEMORY);
    }
    for (int n = 1; n < 2000; n++) {
        mem_fail_at(n);
        int rc = write_set("memory", "float16", true);
        mem_fail_at(0);
        if (rc == 0)
            return;
        assert_int_equal(rc, ERR_MEMORY);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_clip_retrieval), cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_by_hand),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("set features", tests, make_root, drop_root);
}
