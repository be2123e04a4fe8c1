/* tests/base/test_rng.c: Random123's known answers, independence of streams, moments of the distributions. */
#include "base/base.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Published with Random123 as kat_vectors, philox4x32, 10 rounds. */
static void known_answers(void **state)
{
    static const struct {
        uint32_t ctr[4], key[2], out[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < ARRAY_LEN(kat); i++) {
        uint32_t out[4];
        rng_block(kat[i].ctr, kat[i].key, out);
        assert_memory_equal(out, kat[i].out, sizeof out);
    }
}

static void streams(void **state)
{
    const struct rng all[] = {
        rng_stream(1, RNG_INIT, 0, 0),
        rng_stream(2, RNG_INIT, 0, 0),
        rng_stream(1, RNG_SHUFFLE, 0, 0),
        rng_stream(1, RNG_INIT, 1, 0),
        rng_stream(1, RNG_INIT, 0, 1),
        rng_stream(1, RNG_INIT, 0, UINT64_C(1) << 32),
        rng_stream(UINT64_C(1) << 32 | 1, RNG_INIT, 0, 0),
    };
    struct rng a = all[0], b = all[0], wrap = all[0];
    uint64_t first[ARRAY_LEN(all)];

    for (int i = 0; i < 100; i++)
        assert_int_equal(rng_u32(&a), rng_u32(&b));
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct rng r = all[i];
        first[i] = rng_u64(&r);
        for (size_t j = 0; j < i; j++)
            assert_true(first[i] != first[j]);
    }
    wrap.ctr[0] = UINT32_MAX; /* the last block; what follows is not the first again */
    for (int i = 0; i < 4; i++)
        rng_u32(&wrap);
    assert_true(rng_u64(&wrap) != first[0]);
}

static void below(void **state)
{
    struct rng r = rng_stream(3, RNG_TEST, 0, 0);
    const uint64_t big = (UINT64_C(1) << 63) + 1;
    int seen[7] = {0}, high = 0;

    for (int i = 0; i < 70000; i++)
        seen[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 10000 - 500, 10000 + 500); /* more than five standard deviations */
    assert_int_equal(rng_below(&r, 1), 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t x = rng_below(&r, big);
        assert_true(x < big);
        high += x > big / 2;
    }
    assert_in_range(high, 4700, 5300);
}

/* Mean and variance of N draws against the truth, five standard errors wide. */
#define MOMENTS(DRAW, MEAN, VAR, KURT)                                                                                 \
    do {                                                                                                               \
        double sum = 0, sq = 0;                                                                                        \
        for (int i = 0; i < N; i++) {                                                                                  \
            double x = (DRAW) - (MEAN);                                                                                \
            sum += x;                                                                                                  \
            sq += x * x;                                                                                               \
        }                                                                                                              \
        assert_true(fabs(sum / N) < 5 * sqrt((VAR) / N));                                                              \
        assert_true(fabs(sq / N - (VAR)) < 5 * (VAR)*sqrt(((KURT)-1) / N));                                            \
    } while (0)

static void moments(void **state)
{
    enum { N = 200000 };
    struct rng r = rng_stream(4, RNG_TEST, 0, 0);

    MOMENTS(rng_uniform(&r), 0.5, 1.0 / 12, 1.8);
    MOMENTS(rng_normal(&r), 0.0, 1.0, 3.0);
    MOMENTS(rng_gamma(&r, 2.5), 2.5, 2.5, 3 + 6 / 2.5);
    MOMENTS(rng_gamma(&r, 0.5), 0.5, 0.5, 3 + 6 / 0.5);
    MOMENTS(rng_beta(&r, 2, 3), 0.4, 0.04, 3.0);
    MOMENTS(rng_beta(&r, 0.2, 0.2), 0.5, 0.25 / 1.4, 3.0);
    for (int i = 0; i < 1000; i++) { /* both gammas are below the smallest double here */
        double x = rng_beta(&r, 1e-4, 1e-4);
        assert_true(x >= 0 && x <= 1);
    }
}

static void shuffle(void **state)
{
    struct rng r = rng_stream(5, RNG_SHUFFLE, 0, 0);
    int at[5][5] = {{0}};

    for (int k = 0; k < 20000; k++) {
        int64_t v[5] = {0, 1, 2, 3, 4}, sum = 0;
        rng_shuffle(&r, v, 5);
        for (int i = 0; i < 5; i++) {
            at[i][v[i]]++;
            sum += 1 << v[i];
        }
        assert_int_equal(sum, 31);
    }
    for (int i = 0; i < 25; i++)
        assert_in_range(at[i / 5][i % 5], 3700, 4300);
    rng_shuffle(&r, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers), cmocka_unit_test(streams), cmocka_unit_test(below),
        cmocka_unit_test(moments),       cmocka_unit_test(shuffle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
