/* Laplace's approximation of a last product: curvatures against automatic differentiation, posteriors against dense
 * algebra (tests/golden/laplace/make.py), moments of cosines against brute force. */
#include "adapt/adapter.h"
#include "adapt/cosine.h"
#include "adapt/laplace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

static void must(int rc)
{
    if (rc < 0)
        fail_msg("%s", err_text());
}

/* ---- the mathematics, inputs and values as in tests/golden/laplace/make.py ---- */

enum { N = 4, M = 5, D = 3, F = 4 };

static void wave(int n, int d, double a, double b, double *out)
{
    for (int i = 0; i < n * d; i++)
        out[i] = sin(a * i * i + b);
}

static void unit_rows(int n, int d, double *x, double *length)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < d; j++)
            sum += x[i * d + j] * x[i * d + j];
        if (length)
            length[i] = sqrt(sum);
        for (int j = 0; j < d; j++)
            x[i * d + j] /= sqrt(sum);
    }
}

static void curvature_of(bool sigmoid, bool both, double *h)
{
    static const double factor[N] = {0.5, 1, 2, 3};
    double u[N * D], length[N], y[M * D];
    wave(N, D, 1.3, 0.2, u);
    for (int i = 0; i < N * D; i++)
        u[i] *= factor[i / D];
    unit_rows(N, D, u, length);
    wave(M, D, 0.7, 1.1, y);
    unit_rows(M, D, y, NULL);
    memset(h, 0, D * D * sizeof *h);
    struct curvature c = {.n = N,
                          .m = M,
                          .d = D,
                          .u = u,
                          .length = length,
                          .y = y,
                          .scale = 6,
                          .bias = sigmoid ? -2 : 0,
                          .sigmoid = sigmoid,
                          .both = both};
    must(curvature_add(&c, h));
}

static void near(const double *found, const double *expected, int n, double bar)
{
    for (int i = 0; i < n; i++)
        if (!(fabs(found[i] - expected[i]) <= bar * (1 + fabs(expected[i]))))
            fail_msg("number %d is %.12g, expected %.12g", i, found[i], expected[i]);
}

static const double softmax_h[9] = {0.523085451500191,  -0.288971637369676, 0.25372233958115,
                                    -0.288971637369674, 6.87381053532684,   -5.90615201742534,
                                    0.253722339581151,  -5.90615201742534,  5.62544975010049};

static void test_curvature(void **state UNUSED)
{
    static const double both[9] = {16.5035540072299,  -2.97367823394512, 1.36627516793941,
                                   -2.97367823394512, 4.51701243747101,  -3.18093542555194,
                                   1.36627516793941,  -3.18093542555194, 3.85917221963292};
    static const double sigmoid[9] = {30.2319462000751,    -5.29341398785045, -0.0164792436109835,
                                      -5.29341398785045,   3.49572701720922,  -0.73202299107313,
                                      -0.0164792436109838, -0.73202299107313, 2.43627318032826};
    double h[9];
    curvature_of(false, false, h);
    near(h, softmax_h, 9, 1e-12);
    curvature_of(false, true, h);
    near(h, both, 9, 1e-12);
    curvature_of(true, false, h);
    near(h, sigmoid, 9, 1e-12);
}

/* Many rows and items: the blocks join to what one block gives. */
static void test_blocks(void **state UNUSED)
{
    enum { ROWS = 700, ITEMS = 9 };
    double *u = mem_calloc(ROWS * D, sizeof *u), *length = mem_calloc(ROWS, sizeof *length), y[ITEMS * D];
    double whole[D * D] = {0}, parts[D * D] = {0};
    wave(ROWS, D, 1e-3, 0.3, u);
    unit_rows(ROWS, D, u, length);
    wave(ITEMS, D, 0.7, 1.1, y);
    unit_rows(ITEMS, D, y, NULL);
    struct curvature c = {.n = ROWS, .m = ITEMS, .d = D, .u = u, .length = length, .y = y, .scale = 20};
    must(curvature_add(&c, whole));
    for (int i = 0; i < ROWS; i++) {
        struct curvature one = c;
        one.n = 1;
        one.u += i * D;
        one.length += i;
        must(curvature_add(&one, parts));
    }
    near(whole, parts, D * D, 1e-10);
    mem_free(u);
    mem_free(length);
}

/* Factors of the golden script in an arena. */
static void open_golden(struct posterior *p, struct arena *arena, double *phi)
{
    double *a = arena_calloc(arena, F * F + D * D, sizeof *a), *b = a + F * F;
    wave(N, F, 0.9, 0.4, phi);
    for (int i = 0; i < F * F; i++)
        for (int k = 0; k < N; k++)
            a[i] += phi[k * F + i / F] * phi[k * F + i % F] / sqrt(N);
    for (int i = 0; i < D * D; i++)
        b[i] = softmax_h[i] / sqrt(N);
    must(posterior_open(p, arena, F, D, a, b));
}

static void test_posterior(void **state UNUSED)
{
    static const double exact[3] = {0.353948186902072, 0.224737823947273, 0.271383559321792};
    static const double factored[3] = {0.135047547568503, 0.0781034522315256, 0.0923491734453839};
    struct arena *arena;
    struct posterior p;
    double phi[N * F], var[N * D];
    must(arena_open(&arena, "test"));
    open_golden(&p, arena, phi);
    posterior_fill(&p, 7, 2.5, true);
    must(posterior_variance(&p, N, phi, var));
    near(var + D, exact, D, 1e-10);
    posterior_fill(&p, 7, 2.5, false);
    must(posterior_variance(&p, N, phi, var));
    near(var + D, factored, D, 1e-10);
    assert_true(fabs(posterior_best_prior(&p, 7, 3.2) / 1.946435984427592 - 1) < 2e-4);
    arena_close(&arena);
}

/* Draws have the covariance that is told. */
static void test_draws(void **state UNUSED)
{
    enum { DRAWS = 40000 };
    struct arena *arena;
    struct posterior p;
    double phi[N * F], var[N * D], w[D * F], sum[N * D] = {0}, cross = 0, same = 0;
    must(arena_open(&arena, "test"));
    open_golden(&p, arena, phi);
    posterior_fill(&p, 7, 2.5, true);
    must(posterior_variance(&p, N, phi, var));
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (int k = 0; k < DRAWS; k++) {
        double z[N * D];
        must(posterior_draw(&p, &r, w));
        for (int i = 0; i < N * D; i++) {
            z[i] = 0;
            for (int j = 0; j < F; j++)
                z[i] += w[i % D * F + j] * phi[i / D * F + j];
            sum[i] += z[i] * z[i] / DRAWS;
        }
        cross += z[0] * z[D] / DRAWS; /* of two rows: the same weights */
        same += z[0] * z[0] / DRAWS;
    }
    near(sum, var, N * D, 0.03);
    assert_true(fabs(cross) > 0.05 * same);
    arena_close(&arena);
}

/* ---- cosines ---- */

static void test_cosine(void **state UNUSED)
{
    enum { W = 6, DRAWS = 400000 };
    struct cloud x, y;
    double mean, var, sum = 0, squares = 0;
    must(cloud_alloc(&x, 1, W));
    must(cloud_alloc(&y, 1, W));
    for (int j = 0; j < W; j++) {
        x.mean[j] = sin(1.0 + j);
        y.mean[j] = cos(0.3 * j);
        x.var[j] = 0.05 + 0.02 * j;
        y.var[j] = 0.3 / (1 + j);
    }
    cloud_settle(&x);
    cloud_settle(&y);
    cloud_cosine(&x, 0, 1, &y, &mean, &var);
    struct rng r = rng_stream(3, RNG_TEST, 0, 0);
    for (int k = 0; k < DRAWS; k++) {
        double dot = 0;
        for (int j = 0; j < W; j++)
            dot += (x.mean[j] + sqrt(x.var[j]) * rng_normal(&r)) * (y.mean[j] + sqrt(y.var[j]) * rng_normal(&r));
        dot /= sqrt(x.norm[0] * y.norm[0]);
        sum += dot / DRAWS;
        squares += dot * dot / DRAWS;
    }
    assert_true(fabs(sum - mean) < 4 * sqrt(var / DRAWS));
    assert_true(fabs((squares - sum * sum) / var - 1) < 0.02);
    cloud_close(&x);
    cloud_close(&y);
}

/* Against the mean of the softmax over draws of the logits; two classes, where MacKay's formula is at home: the
 * difference of the two logits has the sum of their variances, and one of them is known. */
static void test_probit(void **state UNUSED)
{
    enum { DRAWS = 200000 };
    double p[2] = {0.12, 0.1}, var[2] = {0.0004, 0}, sum = 0;
    struct rng r = rng_stream(4, RNG_TEST, 0, 0);
    for (int k = 0; k < DRAWS; k++)
        sum += 1 / (1 + exp(-100 * (0.12 + 0.02 * rng_normal(&r) - 0.1))) / DRAWS;
    double flat = 1 / (1 + exp(-100 * (0.12 / sqrt(1 + 3.14159265358979 * 4 / 8) - 0.1)));
    probit_softmax(2, 100, p, var);
    assert_true(fabs(p[0] - flat) < 1e-9); /* the formula as published: each logit by its own variance */
    assert_true(fabs(p[0] + p[1] - 1) < 1e-12);
    assert_true(sum > 0.5 && sum < 1 / (1 + exp(-2.0))); /* what it stands for: less sure than the point */
    double q[2] = {0.02, 0}, none[2] = {0, 0};
    probit_softmax(2, 100, q, none);
    assert_true(fabs(q[0] - 1 / (1 + exp(-2.0))) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curvature), cmocka_unit_test(test_blocks), cmocka_unit_test(test_posterior),
        cmocka_unit_test(test_draws),     cmocka_unit_test(test_cosine), cmocka_unit_test(test_probit),
    };
    return cmocka_run_group_tests_name("laplace", tests, NULL, NULL);
}
