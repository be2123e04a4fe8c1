/* tests/io/test_npy.c: NumPy's arrays, streamed writing, headers made to hurt. */
#include "scratch.h"

static void round_trip(void **state UNUSED)
{
    static const enum dtype types[] = {DT_F32, DT_F64, DT_F16, DT_I32, DT_I64, DT_U8,
                                       DT_I8,  DT_I16, DT_U16, DT_U32, DT_U64, DT_BOOL};
    static const int64_t shapes[][4] = {{6}, {2, 3}, {1, 2, 3}, {0, 3}, {6, 1, 1, 1}};
    static const int dims[] = {1, 2, 3, 2, 4};
    uint8_t data[48];
    struct npy a;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i % 2);
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (size_t s = 0; s < ARRAY_LEN(dims); s++) {
            assert_int_equal(npy_write(in_scratch("a.npy"), types[t], dims[s], shapes[s], data), 0);
            assert_int_equal(npy_open(&a, in_scratch("a.npy")), 0);
            assert_int_equal(a.dtype, types[t]);
            assert_int_equal(a.n_dims, dims[s]);
            assert_memory_equal(a.shape, shapes[s], sizeof(int64_t) * (size_t)dims[s]);
            assert_int_equal(a.n_bytes, s == 3 ? 0 : 6 * dtype_size(types[t]));
            assert_memory_equal(a.data, data, a.n_bytes);
            assert_int_equal((uintptr_t)a.data % 64, 0);
            assert_int_equal(npy_check(&a), 0);
            npy_close(&a);
        }
    assert_int_equal(npy_write(in_scratch("s.npy"), DT_F32, 0, NULL, data), 0);
    assert_int_equal(npy_open(&a, in_scratch("s.npy")), 0);
    assert_int_equal(a.n_dims, 0);
    assert_int_equal(a.n_bytes, 4);
    npy_close(&a);
    assert_int_equal(npy_write(in_scratch("b.npy"), DT_BF16, 1, shapes[0], data), ERR_UNSUPPORTED);
    assert_int_equal(npy_write("/dev/full", DT_F32, 1, shapes[0], data), ERR_SPACE);
    assert_false(path_exists(in_scratch("b.npy")));
}

static void rows_stream(void **state UNUSED)
{
    static float rows[3 * 500];
    const int64_t row_shape[] = {500};
    struct npy_writer *w = NULL;
    struct npy a;
    for (int i = 0; i < 1500; i++)
        rows[i] = (float)i;
    assert_int_equal(npy_writer_open(&w, in_scratch("r.npy"), DT_F32, 1, row_shape), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(npy_writer_add(w, rows, 3), 0);
    assert_false(path_exists(in_scratch("r.npy")));
    assert_int_equal(npy_writer_commit(&w), 0);
    assert_null(w);
    assert_int_equal(npy_open(&a, in_scratch("r.npy")), 0);
    assert_int_equal(a.shape[0], 300);
    assert_int_equal(a.shape[1], 500);
    assert_memory_equal((const float *)a.data + 297 * 500, rows, sizeof(rows));
    npy_close(&a);
    assert_int_equal(npy_writer_open(&w, in_scratch("r2.npy"), DT_I64, 0, NULL), 0);
    npy_writer_abort(&w);
    npy_writer_abort(&w);
    assert_int_equal(count_entries("r2"), 0);
    const int64_t large[] = {INT64_MAX, 4};
    assert_int_equal(npy_writer_open(&w, in_scratch("r2.npy"), DT_F32, 2, large), ERR_DATA);
}

/* A version-1 file of this header text. */
static const char *put_header(const char *text, size_t n_data)
{
    static uint8_t bytes[2048];
    size_t n = strlen(text);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (uint8_t)(n & 255);
    bytes[9] = (uint8_t)(n >> 8);
    memcpy(bytes + 10, text, n);
    memset(bytes + 10 + n, 0, n_data);
    return put_file("h.npy", bytes, 10 + n + n_data);
}

static void headers(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t n_data;
        int rc;
        const char *says;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, 0, ""},
        {"{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}  \n", 24, 0, ""},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }", 24, 0, ""},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4, 0, ""},
        {"{'descr': '<u1', 'fortran_order': False, 'shape': (2L,), }", 2, 0, ""},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, ERR_UNSUPPORTED, "ascontiguousarray"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }", 24, ERR_UNSUPPORTED, "astype('<f4')"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (6,), }", 24, ERR_DATA, "objects"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", 24, ERR_UNSUPPORTED, "<c8"},
        {"{'descr': 'xu1', 'fortran_order': False, 'shape': (3,), }", 3, ERR_UNSUPPORTED, "xu1"},
        {"{'descr': '', 'fortran_order': False, 'shape': (3,), }", 3, ERR_UNSUPPORTED, "dtype"},
        {"{'descr': [('a','<f4')], 'fortran_order': False, 'shape': (6,), }", 24, ERR_DATA, "structured"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", 24, ERR_DATA, "need 28 bytes of data, found 24"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", 24, ERR_DATA, "need 20 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }", 24, ERR_DATA, "dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6.0,), }", 24, ERR_DATA, ""},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", 24, ERR_DATA, "no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [6], }", 24, ERR_DATA, "'('"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }", 24, ERR_DATA, "8 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 24, ERR_DATA, "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904, 4), }", 0, ERR_DATA, "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 24, ERR_DATA, "64 bits"},
        {"{'descr': '<f4', 'fortran_order': False, }", 24, ERR_DATA, "expected the keys"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 24, ERR_DATA, "twice"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}", 24, ERR_DATA, "unknown"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (6,), }", 24, ERR_DATA, "True"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } + exit()", 24, ERR_DATA, "follows"},
        {"{'descr: '<f4'}", 24, ERR_DATA, ""},
        {"{'descr': '<f4", 24, ERR_DATA, "not closed"},
        {"", 24, ERR_DATA, "expected '{'"},
        {"{", 24, ERR_DATA, ""},
        {"{'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': 1}", 24, ERR_DATA, "too long"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct npy a;
        int rc = npy_open(&a, put_header(cases[i].text, cases[i].n_data));
        if (rc != cases[i].rc)
            fail_msg("%s: got %d (%s), expected %d", cases[i].text, rc, err_text(), cases[i].rc);
        if (rc < 0) {
            assert_says("h.npy");
            assert_says(cases[i].says);
            continue;
        }
        assert_int_equal((uintptr_t)a.data % dtype_size(a.dtype), 0);
        npy_close(&a);
    }
}

static void giant_header(void **state UNUSED)
{
    struct npy a;
    assert_int_equal(npy_open(&a, put_file("g.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)), ERR_DATA);
    assert_says("limit header-bytes");
    assert_int_equal(npy_open(&a, put_file("g.npy", "\x93NUMPY\x02\x00\x00\x00\x00\x01", 12)), ERR_DATA);
    assert_says("truncated");
    assert_int_equal(npy_open(&a, put_file("g.npy", "\x93NUMPY\x04\x00\x00\x00\x00\x01", 12)), ERR_UNSUPPORTED);
    assert_int_equal(npy_open(&a, put_file("g.npy", "PK\x03\x04 this is npz", 16)), ERR_DATA);
    assert_int_equal(npy_open(&a, put_file("g.npy", "", 0)), ERR_DATA);
}

static void every_truncation_and_flip(void **state UNUSED)
{
    const int64_t shape[] = {3, 2};
    const float data[6] = {1, 2, 3, 4, 5, 6};
    struct npy a;
    size_t n = 0;
    assert_int_equal(npy_write(in_scratch("t.npy"), DT_F32, 2, shape, data), 0);
    char *bytes = get_file(in_scratch("t.npy"), &n);
    for (size_t k = 0; k < n; k++)
        assert_int_equal(npy_open(&a, put_file("cut.npy", bytes, k)), ERR_DATA);
    for (size_t k = 0; k < (n - sizeof(data)) * 8; k++) {
        bytes[k / 8] ^= (char)(1 << k % 8);
        int rc = npy_open(&a, put_file("flip.npy", bytes, n));
        if (rc == 0) {
            assert_true(((const uint8_t *)a.data)[a.n_bytes - 1] < 256);
            npy_close(&a);
        } else {
            assert_true(rc == ERR_DATA || rc == ERR_UNSUPPORTED);
        }
        bytes[k / 8] ^= (char)(1 << k % 8);
    }
    free(bytes);
}

static void no_memory(void **state UNUSED)
{
    const char *path = put_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
    const int64_t shape[] = {2};
    struct npy a;
    int failures = 0;
    for (int64_t n = 1;; n++, failures++) {
        mem_fail_at(n);
        int rc = npy_open(&a, path);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
    }
    assert_int_equal(failures, 2); /* the path, and the copy that this odd header needs */
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = npy_write(in_scratch("o.npy"), DT_F32, 1, shape, a.data);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_false(path_exists(in_scratch("o.npy")));
    }
    npy_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),   cmocka_unit_test(rows_stream), cmocka_unit_test(headers),
        cmocka_unit_test(giant_header), cmocka_unit_test(no_memory),   cmocka_unit_test(every_truncation_and_flip),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
