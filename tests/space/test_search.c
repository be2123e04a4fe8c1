/* Exact search: against brute force in double, ties to the lower row, non-finite scores, short galleries. */
#include "space/space.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void fill_normal(float *x, int64_t n, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(&r);
}

/* Selection by repeated scans: the definition. */
static void brute(const float *q, const float *bank, int64_t n, int64_t d, int64_t k, struct hit *hits)
{
    bool *taken = mem_calloc((size_t)n + 1, sizeof *taken);
    for (int64_t i = 0; i < k; i++) {
        int64_t best = -1;
        double top = 0;
        for (int64_t j = 0; j < n; j++) {
            double s = space_dot(q, bank + j * d, d);
            if (!taken[j] && isfinite((float)s) && (best < 0 || s > top)) {
                best = j;
                top = s;
            }
        }
        hits[i] = (struct hit){best, best < 0 ? -(float)INFINITY : (float)top};
        if (best >= 0)
            taken[best] = true;
    }
    mem_free(taken);
}

static void agrees_with_brute_force(void **state)
{
    (void)state;
    enum { N = 5003, Q = 131, D = 37, K = 7 };
    float *bank = mem_alloc(N * D * sizeof *bank), *q = mem_alloc(Q * D * sizeof *q);
    struct hit *hits = mem_alloc(Q * K * sizeof *hits), expected[K];
    fill_normal(bank, N * D, 1);
    fill_normal(q, Q * D, 2);
    for (int i = 0; i < 900; i++) /* many equal rows, far apart and so in different blocks of the product */
        memcpy(bank + (N - 1 - i) * D, bank + (i % 30) * D, D * sizeof *bank);
    for (int i = 0; i < 30; i++)
        memcpy(q + i * D, bank + i * D, D * sizeof *q);
    assert_int_equal(space_topk(q, Q, bank, N, D, K, hits), 0);
    for (int i = 0; i < Q; i++) {
        brute(q + i * D, bank, N, D, K, expected);
        for (int k = 0; k < K; k++) {
            assert_int_equal(hits[i * K + k].row, expected[k].row);
            assert_true(hits[i * K + k].score == expected[k].score);
        }
    }
    mem_free(bank);
    mem_free(q);
    mem_free(hits);
}

static void short_and_strange(void **state)
{
    (void)state;
    const float bank[8] = {1, 0, (float)NAN, 0, 1, 0, 3e38F, 3e38F}, q[4] = {1, 0, 10, 10};
    struct hit hits[10];
    assert_int_equal(space_topk(q, 2, bank, 4, 2, 5, hits), 0);
    assert_true(hits[0].row == 3 && hits[1].row == 0 && hits[2].row == 2 && hits[3].row == -1 && hits[4].row == -1);
    assert_true(hits[5].row == 0 && hits[6].row == 2 && hits[7].row == -1); /* 6e39 is not a float: it never ranks */
    const float lost[2] = {(float)NAN, 1};
    assert_int_equal(space_topk(lost, 1, bank, 4, 2, 2, hits), 0);
    assert_true(hits[0].row == -1 && hits[1].row == -1);
    assert_int_equal(space_topk(q, 2, bank, 0, 2, 2, hits), 0);
    assert_int_equal(hits[0].row, -1);
    assert_int_equal(space_topk(q, 0, bank, 4, 2, 2, hits), 0);
    assert_int_equal(space_topk(q, 2, bank, 4, 2, 0, hits), ERR_USAGE);
    mem_fail_at(2);
    assert_int_equal(space_topk(q, 2, bank, 4, 2, 2, hits), ERR_MEMORY);
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_brute_force), cmocka_unit_test(short_and_strange)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
