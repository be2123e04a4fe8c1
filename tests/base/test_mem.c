/* tests/base/test_mem.c: alignment, overflow, the n-th failure, and the arena's promises. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void alloc(void **state)
{
    for (size_t n = 0; n < 300; n += 7) {
        char *p = mem_alloc(n), *q = mem_calloc(n, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_int_equal((uintptr_t)q % 64, 0);
        memset(p, 1, n);
        for (size_t i = 0; i < 3 * n; i++)
            assert_int_equal(q[i], 0);
        mem_free(p);
        mem_free(q);
    }
    assert_null(mem_calloc(SIZE_MAX / 2, 3));
    assert_non_null(strstr(err_text(), "out of memory"));
    assert_null(mem_alloc(SIZE_MAX));
}

static void grow(void **state)
{
    char *p = mem_strdup("hello"), *q;

    q = mem_grow(p, 6, 1000);
    assert_string_equal(q, "hello");
    mem_fail_at(1);
    assert_null(mem_grow(q, 1000, 2000));
    assert_string_equal(q, "hello");
    q = mem_grow(q, 1000, 3);
    assert_memory_equal(q, "hel", 3);
    mem_free(q);
}

static void fail_at(void **state)
{
    int64_t before = mem_requests();
    void *p[3];

    mem_fail_at(2);
    for (int i = 0; i < 3; i++)
        p[i] = mem_alloc(10);
    assert_non_null(p[0]);
    assert_null(p[1]);
    assert_non_null(p[2]); /* once */
    assert_int_equal(mem_requests() - before, 3);
    mem_fail_at(1);
    mem_fail_at(0);
    mem_free(p[0]);
    p[0] = mem_alloc(1);
    assert_non_null(p[0]);
    mem_free(p[0]);
    mem_free(p[2]);
}

/* Everything an arena user does; the requests are made to fail one after another. */
static int scenario(void)
{
    struct arena *a = NULL;
    struct str s = {0};
    int rc = ERR_MEMORY;

    if (arena_open(&a, "test") < 0)
        return ERR_MEMORY;
    for (int i = 0; i < 5; i++) {
        char *p = arena_alloc(a, (size_t)100000 << i);
        if (!p)
            goto out;
        p[0] = p[((size_t)100000 << i) - 1] = 7;
    }
    if (!arena_strdup(a, "x") || !arena_calloc(a, 10, 10))
        goto out;
    for (int i = 0; i < 100; i++)
        str_add(&s, "line %d\n", i);
    rc = s.failed ? ERR_MEMORY : 0;
out:
    str_free(&s);
    arena_close(&a);
    return rc;
}

static void every_failure(void **state)
{
    int n = 1;

    for (;; n++) {
        int64_t before = mem_requests();
        mem_fail_at(n);
        err_clear();
        if (scenario() == 0) {
            assert_true(mem_requests() - before < n);
            break;
        }
        assert_non_null(strstr(err_text(), "out of memory"));
        assert_in_range(n, 1, 100);
    }
    mem_fail_at(0);
    assert_true(n > 8);
}

static void arena_basics(void **state)
{
    struct arena *a;
    struct arena_mark m;
    char *p[200], *q;
    size_t peak;

    assert_int_equal(arena_open(&a, "basics"), 0);
    m = arena_mark(a); /* before the first chunk */
    for (int i = 0; i < 200; i++) {
        p[i] = arena_alloc(a, (size_t)i * 11);
        assert_int_equal((uintptr_t)p[i] % 64, 0);
        memset(p[i], i, (size_t)i * 11);
    }
    for (int i = 0; i < 200; i++)
        for (int j = 0; j < i * 11; j++)
            assert_int_equal((unsigned char)p[i][j], i);
    peak = arena_peak(a);
    assert_true(peak >= 199 * 200 / 2 * 11);
    arena_rewind(a, m);
    assert_ptr_equal(arena_alloc(a, 0), p[0]);
    assert_int_equal(arena_peak(a), peak);
    q = arena_calloc(a, 100, 100);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(q[i], 0);
    assert_null(arena_calloc(a, SIZE_MAX / 2, 4));
    assert_null(arena_alloc(a, SIZE_MAX - 3));
    assert_non_null(strstr(err_text(), "basics"));
    arena_close(&a);
    assert_null(a);
    arena_close(&a);
}

/* A random walk of requests, with marks inside; the second pass must land on the same places without asking. */
static void walk(struct arena *a, uint64_t seed, uintptr_t *places, int n)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    struct arena_mark m = arena_mark(a);

    arena_reset(a);
    for (int i = 0; i < n; i++) {
        size_t size = (size_t)1 << rng_below(&r, 22);
        size += rng_below(&r, size);
        if (i % 10 == 3)
            m = arena_mark(a);
        places[i] = (uintptr_t)arena_alloc(a, size);
        assert_true(places[i] != 0);
        *(char *)places[i] = 1;
        if (i % 10 == 7)
            arena_rewind(a, m);
    }
}

static void constant_shape(void **state)
{
    enum { N = 100 };
    uintptr_t first[N], again[N];

    for (uint64_t seed = 0; seed < 20; seed++) {
        struct arena *a;
        int64_t requests, chunks;

        assert_int_equal(arena_open(&a, "step"), 0);
        walk(a, seed, first, N);
        requests = mem_requests();
        chunks = arena_chunks(a);
        for (int pass = 0; pass < 3; pass++) {
            walk(a, seed, again, N);
            assert_memory_equal(first, again, sizeof first);
        }
        assert_int_equal(mem_requests(), requests);
        assert_int_equal(arena_chunks(a), chunks);
        arena_close(&a);
    }
}

static void failed_growth(void **state)
{
    struct arena *a;
    char *p;

    assert_int_equal(arena_open(&a, "grow"), 0);
    p = arena_alloc(a, 1000);
    strcpy(p, "still here");
    mem_fail_at(1);
    assert_null(arena_alloc(a, (size_t)4 << 20));
    assert_int_equal(arena_chunks(a), 1);
    assert_string_equal(p, "still here");
    assert_int_equal((char *)arena_alloc(a, 10) - p < 1000 + 256, 1);
    p = arena_alloc(a, (size_t)4 << 20);
    assert_int_equal((uintptr_t)p % ((size_t)2 << 20), 0);
    arena_close(&a);
}

static void red_zones(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
    struct arena *a;
    struct arena_mark m;
    char *p, *q;

    assert_int_equal(arena_open(&a, "red"), 0);
    p = arena_alloc(a, 100);
    m = arena_mark(a);
    q = arena_alloc(a, 64);
    assert_false(__asan_address_is_poisoned(p + 99));
    assert_true(__asan_address_is_poisoned(p + 100));
    assert_true(__asan_address_is_poisoned(q - 1));
    assert_true(__asan_address_is_poisoned(q + 64));
    arena_rewind(a, m);
    assert_true(__asan_address_is_poisoned(q));
    assert_false(__asan_address_is_poisoned(p));
    arena_reset(a);
    assert_true(__asan_address_is_poisoned(p));
    arena_close(&a);
#else
    print_message("red zones exist only under AddressSanitizer\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc),         cmocka_unit_test(grow),         cmocka_unit_test(fail_at),
        cmocka_unit_test(every_failure), cmocka_unit_test(arena_basics), cmocka_unit_test(constant_shape),
        cmocka_unit_test(failed_growth), cmocka_unit_test(red_zones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
