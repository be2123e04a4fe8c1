/* The bootstrap: against the normal theory of a mean, missing values, repeatability, coverage, speed by counts. */
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "eval/eval_private.h"

static double mean_of(void *ctx, const int64_t *index, int64_t n)
{
    const double *v = ctx;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += v[index[i]];
    return sum / (double)n;
}

static void mean_has_the_normal_interval(void **state)
{
    (void)state;
    enum { N = 2000 };
    static double v[N];
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    double sum = 0, square = 0;
    for (int i = 0; i < N; i++) {
        v[i] = 3 + rng_normal(&r);
        sum += v[i];
        square += v[i] * v[i];
    }
    double mean = sum / N, error = sqrt((square / N - mean * mean) / N);
    struct interval a = bootstrap_mean(v, N, 2000, 7), b = bootstrap_stat(mean_of, v, N, 2000, 7);
    assert_true(fabs(a.value - mean) < 1e-12 && fabs(b.value - mean) < 1e-12);
    assert_true(fabs(a.low - (mean - 1.96 * error)) < 0.15 * error &&
                fabs(a.high - (mean + 1.96 * error)) < 0.15 * error);
    assert_true(fabs(b.low - a.low) < 0.2 * error && fabs(b.high - a.high) < 0.2 * error);
    struct interval again = bootstrap_mean(v, N, 2000, 7);
    assert_memory_equal(&a, &again, sizeof a);
    struct interval other = bootstrap_mean(v, N, 2000, 8);
    assert_true(other.low != a.low);
}

static void missing_values(void **state)
{
    (void)state;
    const double v[5] = {1, (double)NAN, 1, (double)NAN, 1}, none[2] = {(double)NAN, (double)NAN};
    struct interval i = bootstrap_mean(v, 5, 100, 0);
    assert_true(i.value == 1 && i.low == 1 && i.high == 1);
    i = bootstrap_mean(none, 2, 100, 0);
    assert_true(isnan(i.value) && isnan(i.low) && isnan(i.high));
    i = bootstrap_mean(v, 0, 100, 0);
    assert_true(isnan(i.value));
    i = bootstrap_mean(v, 1, 0, 0); /* no resamples: a value without an interval */
    assert_true(i.value == 1 && isnan(i.low));
}

/* All right or all wrong: resamples never differ, so the open end is exact. A share in between is left alone. */
static void whole_shares(void **state)
{
    (void)state;
    struct interval all = {1, 1, 1}, none = {0, 0, 0}, some = {0.5, 0.4, 0.6}, unknown = {1, (double)NAN, (double)NAN};
    bootstrap_widen_share(&all, 100);
    bootstrap_widen_share(&none, 100);
    bootstrap_widen_share(&some, 100);
    bootstrap_widen_share(&unknown, 100);
    assert_true(fabs(all.low - 0.96378) < 1e-5 && all.high == 1); /* Clopper-Pearson tables: 100 of 100 */
    assert_true(fabs(none.high - 0.03622) < 1e-5 && none.low == 0);
    assert_true(some.low == 0.4 && some.high == 0.6);
    assert_true(isnan(unknown.low) && isnan(unknown.high));
}

static void counts_are_whole(void **state)
{
    (void)state;
    enum { N = 1000 };
    static uint32_t c[N];
    struct rng r = rng_stream(3, RNG_BOOTSTRAP, 0, 0);
    int64_t total = 0, never = 0;
    bootstrap_counts(&r, N, c);
    for (int i = 0; i < N; i++) {
        total += c[i];
        never += c[i] == 0;
    }
    assert_int_equal(total, N);
    assert_true(never > 310 && never < 430); /* 1/e of the rows */
}

static void coverage(void **state)
{
    (void)state;
    enum { N = 60, TRIALS = 400 };
    double v[N];
    int held = 0;
    for (int t = 0; t < TRIALS; t++) {
        struct rng r = rng_stream((uint64_t)t, RNG_TEST, 1, 0);
        for (int i = 0; i < N; i++)
            v[i] = rng_uniform(&r) < 0.3;
        struct interval i = bootstrap_mean(v, N, 300, (uint64_t)t);
        held += i.low <= 0.3 && 0.3 <= i.high;
    }
    assert_true(held > 0.90 * TRIALS && held < 0.985 * TRIALS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_has_the_normal_interval),
        cmocka_unit_test(missing_values),
        cmocka_unit_test(whole_shares),
        cmocka_unit_test(counts_are_whole),
        cmocka_unit_test(coverage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
