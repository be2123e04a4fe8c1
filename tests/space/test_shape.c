/* Norms, means, principal axes, spectrum, effective rank, and the products and eigenvalues below them. */
#include "space/space.h"
#include "spectrum.h"

#include "kernel/kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("found %.12g, expected %.12g", found, expected);
}

static void fill_normal(float *x, int64_t n, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(&r);
}

static void normalize(void **state)
{
    (void)state;
    float x[6] = {3, 4, 0, 0, 0, 2}, keep[6];
    int64_t bad = -1;
    assert_int_equal(space_normalize(x, 1, 3, NULL), 0);
    near((double)x[1], 0.8, 1e-7);
    memcpy(keep, x, sizeof x);
    x[5] = keep[5] = 0;
    assert_int_equal(space_normalize(x, 2, 3, &bad), ERR_NONFINITE);
    assert_int_equal(bad, 1);
    assert_memory_equal(x, keep, sizeof x); /* all or nothing */
    x[5] = (float)INFINITY;
    assert_int_equal(space_normalize(x, 2, 3, &bad), ERR_NONFINITE);
    assert_int_equal(space_normalize(x, 0, 3, NULL), 0);
}

static void mean_of_directions(void **state)
{
    (void)state;
    const float x[4] = {5, 0, 0, 2}; /* lengths do not weigh */
    double m[2];
    assert_int_equal(space_mean(x, 2, 2, m), 0);
    near(m[0], 0.5, 1e-15);
    near(m[1], 0.5, 1e-15);
    assert_int_equal(space_mean(x, 0, 2, m), 0);
    assert_true(isnan(m[0]));
    const float zero[2] = {0, 0};
    assert_int_equal(space_mean(zero, 1, 2, m), ERR_NONFINITE);
}

/* Axes are orthonormal, variances are those along them, the spectrum's squares add up to the total variance. */
static void principal_axes(void **state)
{
    (void)state;
    enum { N = 700, D = 12 };
    static float x[N * D];
    static double mean[D], axes[D * D], variances[D], values[D], scatter[D * D];
    double total = 0, sum = 0;
    fill_normal(x, N * D, 3);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            x[i * D + j] = x[i * D + j] * (float)(D - j) + (j == 0 ? 20 : 0);
    assert_int_equal(space_pca(x, N, D, D, mean, axes, variances), 0);
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++) {
            double dot = 0;
            for (int j = 0; j < D; j++)
                dot += axes[a * D + j] * axes[b * D + j];
            near(dot, a == b, 1e-12);
        }
    for (int a = 0; a < D; a++) {
        double along = 0;
        for (int i = 0; i < N; i++) {
            double z = 0, inverse = 1 / sqrt(space_dot(x + i * D, x + i * D, D));
            for (int j = 0; j < D; j++)
                z += ((double)x[i * D + j] * inverse - mean[j]) * axes[a * D + j];
            along += z * z / (N - 1);
        }
        near(along, variances[a], 1e-12);
        assert_true(a == 0 || variances[a] <= variances[a - 1]);
    }
    assert_int_equal(space_scatter(x, N, D, mean, scatter), 0);
    for (int j = 0; j < D; j++)
        total += scatter[j * D + j] / (N - 1);
    assert_int_equal(spectrum(x, N, D, values), 0);
    for (int j = 0; j < D; j++) {
        near(values[j] * values[j], variances[j], 1e-12);
        sum += values[j] * values[j];
    }
    near(sum, total, 1e-12);
}

static void degenerate(void **state)
{
    (void)state;
    const float x[6] = {1, 0, 0, 1, 0, 0};
    double mean[3], axes[9], variances[3], values[3];
    assert_int_equal(space_pca(x, 0, 3, 2, mean, axes, variances), ERR_DATA);
    assert_int_equal(space_pca(x, 1, 3, 4, mean, axes, variances), ERR_DATA);
    assert_int_equal(space_pca(x, 1, 3, 2, mean, axes, variances), 0); /* one row: axes, and no variance */
    near(variances[0], 0, 0);
    assert_int_equal(spectrum(x, 1, 3, values), 0); /* one row: no spread */
    assert_true(isnan(space_effective_rank(values, 3)));
    assert_int_equal(spectrum(x, 2, 3, values), 0); /* equal rows */
    assert_true(isnan(space_effective_rank(values, 3)));
    const double even[4] = {2, 2, 2, 2}, one[3] = {5, 0, 0};
    near(space_effective_rank(even, 4), 4, 1e-12);
    near(space_effective_rank(one, 3), 1, 1e-12);
}

/* Every transposition against the definition, in blocks of odd sizes; the eigenproblem against A v = w v. */
static void products(void **state)
{
    (void)state;
    enum { M = 261, N = 35, K = 19 };
    static float a[M * K], b[K * N], c[M * N], out[M * N];
    static double ad[M * K], bd[K * N], od[M * N];
    fill_normal(a, M * K, 1);
    fill_normal(b, K * N, 2);
    fill_normal(c, M * N, 3);
    for (int i = 0; i < M * K; i++)
        ad[i] = (double)a[i];
    for (int i = 0; i < K * N; i++)
        bd[i] = (double)b[i];
    for (int way = 0; way < 4; way++) {
        bool ta = way & 1, tb = way & 2;
        for (int i = 0; i < M * N; i++)
            od[i] = (double)(out[i] = c[i]);
        kernel_gemm_f32(ta, tb, M, N, K, 2, a, ta ? M : K, b, tb ? K : N, 0.5F, out, N);
        kernel_gemm_f64(ta, tb, M, N, K, 2, ad, ta ? M : K, bd, tb ? K : N, 0.5, od, N);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0.5 * (double)c[i * N + j];
                for (int k = 0; k < K; k++)
                    sum += 2 * (double)a[ta ? k * M + i : i * K + k] * (double)b[tb ? j * K + k : k * N + j];
                near(od[i * N + j], sum, 1e-12);
                near((double)out[i * N + j], sum, 1e-4);
            }
    }
    double s[16] = {4, 0, 0, 0, 1, 3, 0, 0, -2, 0.5, 2, 0, 0.25, 1, 1, 1}, v[16], w[4];
    memcpy(v, s, sizeof s);
    assert_int_equal(lapack_syevd(4, v, w), 0);
    for (int e = 0; e < 4; e++)
        for (int i = 0; i < 4; i++) {
            double left = 0;
            for (int j = 0; j < 4; j++)
                left += (j <= i ? s[i * 4 + j] : s[j * 4 + i]) * v[e * 4 + j];
            near(left, w[e] * v[e * 4 + i], 1e-12);
        }
    assert_true(w[0] <= w[1] && w[1] <= w[2] && w[2] <= w[3]);
    v[0] = (double)NAN;
    assert_int_equal(lapack_syevd(4, v, w), ERR_NONFINITE);
    assert_int_equal(lapack_syevd(0, v, w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalize),  cmocka_unit_test(mean_of_directions), cmocka_unit_test(principal_axes),
        cmocka_unit_test(degenerate), cmocka_unit_test(products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
