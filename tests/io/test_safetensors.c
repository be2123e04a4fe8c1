/* tests/io/test_safetensors.c: round trips, and files made to hurt. */
#include "scratch.h"

static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, -7};
static const int64_t ids[2] = {-1, INT64_MAX};
static const uint8_t odd[3] = {1, 2, 255};

static const char *write_sample(const char *name)
{
    const struct st_tensor t[] = {
        {"odd \"quoted\"\n", DT_U8, 1, {3}, odd, 3},
        {"w", DT_F32, 2, {2, 3}, weights, 24},
        {"ids", DT_I64, 1, {2}, ids, 16},
        {"scalar", DT_F32, 0, {0}, weights, 4},
        {"none", DT_F16, 2, {0, 5}, NULL, 0},
    };
    json_t *meta = json_pack("{s:s}", "format", "pt");
    const char *path = in_scratch(name);
    assert_int_equal(st_write(path, t, ARRAY_LEN(t), meta), 0);
    json_decref(meta);
    return path;
}

static void round_trip(void **state UNUSED)
{
    struct st_file *f = NULL;
    assert_int_equal(st_open(&f, write_sample("a.safetensors")), 0);
    assert_int_equal(st_count(f), 5);
    assert_string_equal(st_at(f, 0)->name, "ids"); /* widest first */
    assert_string_equal(st_at(f, 4)->name, "odd \"quoted\"\n");
    for (int64_t i = 0; i < st_count(f); i++) {
        assert_int_equal((uintptr_t)st_at(f, i)->data % dtype_size(st_at(f, i)->dtype), 0);
        assert_ptr_equal(st_find(f, st_at(f, i)->name), st_at(f, i));
    }
    const struct st_tensor *w = st_find(f, "w");
    assert_int_equal(w->n_dims, 2);
    assert_int_equal(w->shape[1], 3);
    assert_memory_equal(w->data, weights, 24);
    assert_memory_equal(st_find(f, "ids")->data, ids, 16);
    assert_memory_equal(st_find(f, "odd \"quoted\"\n")->data, odd, 3);
    assert_int_equal(st_find(f, "none")->n_bytes, 0);
    assert_int_equal(st_find(f, "scalar")->n_dims, 0);
    assert_null(st_find(f, "W"));
    assert_string_equal(json_string_value(json_object_get(st_metadata(f), "format")), "pt");
    assert_int_equal(st_check(f), 0);
    st_close(&f);
    assert_null(f);
    assert_int_equal(st_write(in_scratch("n"), NULL, 0, NULL), 0);
    assert_int_equal(st_open(&f, in_scratch("n")), 0);
    assert_int_equal(st_count(f), 0);
    assert_null(st_metadata(f));
    assert_null(st_find(f, ""));
    st_close(&f);
}

static void writer_refuses(void **state UNUSED)
{
    const struct st_tensor twice[] = {{"w", DT_F32, 1, {6}, weights, 24}, {"w", DT_F32, 1, {6}, weights, 24}};
    const struct st_tensor size = {"w", DT_F32, 1, {5}, weights, 24},
                           meta = {"__metadata__", DT_F32, 1, {6}, weights, 24};
    const struct st_tensor utf = {"\xff", DT_F32, 1, {6}, weights, 24}, minus = {"w", DT_F32, 1, {-1}, weights, 24};
    json_t *number = json_pack("{s:i}", "a", 1);
    assert_int_equal(st_write(in_scratch("bad"), twice, 2, NULL), ERR_FAIL);
    assert_int_equal(st_write(in_scratch("bad"), &size, 1, NULL), ERR_FAIL);
    assert_int_equal(st_write(in_scratch("bad"), &meta, 1, NULL), ERR_FAIL);
    assert_int_equal(st_write(in_scratch("bad"), &utf, 1, NULL), ERR_FAIL);
    assert_int_equal(st_write(in_scratch("bad"), &minus, 1, NULL), ERR_FAIL);
    assert_int_equal(st_write(in_scratch("bad"), twice, 1, number), ERR_DATA);
    assert_int_equal(st_write("/dev/full", twice, 1, NULL), ERR_SPACE);
    json_decref(number);
    assert_int_equal(count_entries("bad"), 0);
}

/* A file of this header (length as given, or the header's own) and n_data bytes. */
static const char *put_header(const char *json, size_t n_json, uint64_t length, size_t n_data)
{
    static char bytes[1 << 20];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(length >> (8 * i));
    memcpy(bytes + 8, json, n_json);
    memset(bytes + 8 + n_json, 1, n_data);
    return put_file("h.safetensors", bytes, 8 + n_json + n_data);
}

static void hostile(void **state UNUSED)
{
    static const struct {
        const char *json;
        size_t n_data;
        int rc;
        const char *says;
    } cases[] = {
        {"{}", 0, 0, ""},
        {"{}   ", 0, 0, ""},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0, ""},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 0, ""},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, 0, ""},
        {"{\"__metadata__\":{}}", 0, 0, ""},
        {"{}", 1, ERR_DATA, "the file at 1"},
        {"", 0, ERR_DATA, "does not begin"},
        {"[]", 0, ERR_DATA, "does not begin"},
        {" {}", 0, ERR_DATA, "does not begin"},
        {"{ ", 0, ERR_DATA, "JSON"},
        {"{}{}", 0, ERR_DATA, "JSON"},
        {"{\"w\":1}", 0, ERR_DATA, "\"w\""},
        {"{\"w\":null}", 0, ERR_DATA, "no object"},
        {"{\"w\":{}}", 0, ERR_DATA, "dtype"},
        {"{\"w\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "dtype"},
        {"{\"w\":{\"dtype\":\"f32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "\"f32\""},
        {"{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, ERR_UNSUPPORTED, "F8_E4M3"},
        {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, ERR_DATA, "shape"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, ERR_DATA, "shape"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "dimension 0"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "dimension 0"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "dimension 0"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "dimension 0"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[[2]],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "nests"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, ERR_DATA,
         "9 dimensions"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, ERR_DATA,
         "too large"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}", 0, ERR_DATA,
         "too large"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807],\"data_offsets\":[0,8]}}", 8, ERR_DATA,
         "too large"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,8]}}", 8, ERR_DATA, ""},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1e400],\"data_offsets\":[0,8]}}", 8, ERR_DATA, ""},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, ERR_DATA, "data_offsets"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, ERR_DATA, "no pair"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, ERR_DATA, "no pair"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{\"0\":0}}}", 8, ERR_DATA, "no pair"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, ERR_DATA, "begin <= end"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, ERR_DATA, "begin <= end"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9]}}", 8, ERR_DATA, "begin <= end <= 8"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[9223372036854775800,9223372036854775807]}}", 8,
         ERR_DATA, "<= 8"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, ERR_DATA,
         "need 12 bytes, data_offsets give 8"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, ERR_DATA, "need 4 bytes"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, ERR_DATA, "a hole"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, ERR_DATA,
         "end at byte 4 of the data, the file at 8"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
         "offsets\":[3,5]}}",
         5, ERR_DATA, "a hole"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
         "offsets\":[1,3]}}",
         3, ERR_DATA, "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
         "offsets\":[0,2]}}",
         2, ERR_DATA, "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_"
         "offsets\":[1,1]}}",
         2, ERR_DATA, "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
         "offsets\":[0,1]}}",
         1, ERR_DATA, "duplicate"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ERR_DATA, "duplicate"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":0}}", 1, ERR_DATA, "unknown field"},
        {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ERR_DATA, ""},
        {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ERR_DATA, ""},
        {"{\"__metadata__\":1}", 0, ERR_DATA, "__metadata__"},
        {"{\"__metadata__\":[\"a\"]}", 0, ERR_DATA, "__metadata__"},
        {"{\"__metadata__\":{\"a\":1}}", 0, ERR_DATA, "__metadata__"},
        {"{\"__metadata__\":{\"a\":null}}", 0, ERR_DATA, "__metadata__"},
        {"{\"__metadata__\":{\"a\":{\"b\":{\"c\":1}}}}", 0, ERR_DATA, "nests"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[NaN],\"data_offsets\":[0,8]}}", 8, ERR_DATA, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct st_file *f = NULL;
        size_t n = strlen(cases[i].json);
        int rc = st_open(&f, put_header(cases[i].json, n, n, cases[i].n_data));
        if (rc != cases[i].rc)
            fail_msg("%s: got %d (%s), expected %d", cases[i].json, rc, err_text(), cases[i].rc);
        if (rc < 0) {
            assert_null(f);
            assert_says("h.safetensors");
            assert_says(cases[i].says);
        }
        st_close(&f);
    }
}

static void hostile_lengths(void **state UNUSED)
{
    const uint64_t lengths[] = {3,         10, 1000, 100000001, (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX - 7,
                                UINT64_MAX};
    struct st_file *f = NULL;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_int_equal(st_open(&f, put_header("{}", 2, lengths[i], 0)), ERR_DATA);
        assert_says("h.safetensors");
    }
    assert_int_equal(st_open(&f, put_header("{}", 2, 1, 0)), ERR_DATA);
    assert_int_equal(st_open(&f, put_header("{}", 2, 0, 0)), ERR_DATA);
    char *many = malloc(900000);
    size_t n = 0; /* a list of 400,000 numbers costs more than the limit on tensors allows */
    int64_t before = limit_get(LIMIT_TENSORS);
    assert_int_equal(limit_set("tensors", 1000), 0);
    n += (size_t)sprintf(many, "{\"a\":[");
    for (int i = 0; i < 400000; i++)
        n += (size_t)sprintf(many + n, "1,");
    n += (size_t)sprintf(many + n, "1]}");
    int rc = st_open(&f, put_header(many, n, n, 0));
    n = (size_t)sprintf(many, "{");
    for (int i = 0; i < 1002; i++)
        n += (size_t)sprintf(many + n, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "",
                             i);
    n += (size_t)sprintf(many + n, "}");
    limit_set("tensors", before);
    assert_int_equal(rc, ERR_DATA);
    limit_set("tensors", 1000);
    rc = st_open(&f, put_header(many, n, n, 0));
    limit_set("tensors", before);
    assert_int_equal(rc, ERR_DATA);
    assert_says("limit tensors");
    assert_int_equal(st_open(&f, put_header(many, n, n, 0)), 0);
    assert_int_equal(st_count(f), 1002);
    assert_string_equal(st_find(f, "1001")->name, "1001");
    st_close(&f);
    free(many);
}

static void unaligned_data_is_copied(void **state UNUSED)
{
    const char *json = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                       "\"b\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[1,17]},"
                       "\"c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[17,19]}}";
    struct st_file *f = NULL;
    static const uint8_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t pad = 0; pad < 8; pad++) {
        char text[300];
        int n = snprintf(text, sizeof(text), "%s%*s", json, (int)pad, "");
        assert_int_equal(st_open(&f, put_header(text, (size_t)n, (uint64_t)n, 19)), 0);
        for (int64_t i = 0; i < 3; i++) {
            assert_int_equal((uintptr_t)st_at(f, i)->data % dtype_size(st_at(f, i)->dtype), 0);
            assert_memory_equal(st_at(f, i)->data, ones, st_at(f, i)->n_bytes);
        }
        st_close(&f);
    }
}

static void every_truncation_and_flip(void **state UNUSED)
{
    size_t n = 0, flips_read = 0;
    struct st_file *f = NULL;
    char *bytes = get_file(write_sample("t"), &n);
    uint64_t n_header = (uint8_t)bytes[0] + 256u * (uint8_t)bytes[1];
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(st_open(&f, put_file("cut", bytes, k)), ERR_DATA);
        assert_null(f);
        assert_says("cut");
    }
    for (size_t k = 0; k < (8 + n_header) * 8; k++) {
        bytes[k / 8] ^= (char)(1 << k % 8);
        int rc = st_open(&f, put_file("flip", bytes, n));
        if (rc == 0) { /* a letter of a name or of the metadata, or U8 for I8: every tensor stays inside the file */
            flips_read++;
            for (int64_t i = 0; i < st_count(f); i++)
                if (st_at(f, i)->n_bytes > 0)
                    assert_true(((const uint8_t *)st_at(f, i)->data)[st_at(f, i)->n_bytes - 1] < 256);
            st_close(&f);
        } else {
            assert_true(rc == ERR_DATA || rc == ERR_UNSUPPORTED);
        }
        bytes[k / 8] ^= (char)(1 << k % 8);
    }
    assert_true(flips_read > 0 && flips_read < (8 + n_header) * 8 / 2);
    free(bytes);
}

static void no_memory(void **state UNUSED)
{
    struct st_file *f = NULL;
    const char *path = write_sample("m"), *out = in_scratch("m2");
    int failures = 0;
    for (int64_t n = 1;; n++, failures++) {
        mem_fail_at(n);
        int rc = st_open(&f, path);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_null(f);
    }
    assert_true(failures >= 4);
    struct st_tensor t[8];
    int64_t n_tensors = st_count(f);
    for (int64_t i = 0; i < n_tensors; i++)
        t[i] = *st_at(f, i);
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = st_write(out, t, n_tensors, st_metadata(f));
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_false(path_exists(out));
    }
    st_close(&f);
    assert_int_equal(count_entries(".tmp-"), 0);
}

static void shortened_while_open(void **state UNUSED)
{
    struct st_file *f = NULL;
    const char *path = write_sample("s");
    assert_int_equal(st_open(&f, path), 0);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(st_check(f), ERR_DATA);
    assert_says("shortened");
    st_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(hostile),
        cmocka_unit_test(hostile_lengths),
        cmocka_unit_test(unaligned_data_is_copied),
        cmocka_unit_test(every_truncation_and_flip),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(shortened_while_open),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
