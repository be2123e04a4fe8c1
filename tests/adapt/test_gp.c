/* tests/adapt/test_gp.c: the sparse Gaussian processes: predictions, bound, objective and every gradient against
 * PyTorch's automatic differentiation of the unwhitened formulas (gp_golden.h), against central differences, and
 * against the closed form where all points are inducing; the bound never above the evidence; inference finds what it
 * should. */
#include "adapt/adapter.h"
#include "adapt/gp.h"
#include "gp_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

static void fill(double *x, int64_t n, double a, double b)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = sin(a * (double)(i + 1)) * b;
}

static double *zeros(int64_t n)
{
    double *x = mem_calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

static void close_to(const double *x, const double *wanted, size_t n, double tolerance, const char *what)
{
    double top = 1;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs(wanted[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(x[i] - wanted[i]) <= tolerance * top))
            fail_msg("%s[%zu] is %.15g, expected %.15g", what, i, x[i], wanted[i]);
}

/* cmocka's own comparison is in single precision */
static void near(double x, double wanted, double tolerance)
{
    if (!(fabs(x - wanted) <= tolerance))
        fail_msg("%.15g, expected %.15g", x, wanted);
}

/* ---- a pair of processes with planted parameters ---- */

enum { M = 3, Q = 2, D = 4, B = 5, N = 20 };
struct planted {
    struct gp g[2], grad[2];
    struct gp_work w[2];
    struct gp_pair p;
    double x[B * Q], y[2][B * D], dx[B * Q];
};

static void plant(struct planted *t, enum gp_kernel kernel)
{
    memset(t, 0, sizeof *t);
    fill(t->x, B * Q, 0.7, 1.2);
    fill(t->y[0], B * D, 0.9, 1);
    fill(t->y[1], B * D, 1.1, 1);
    for (int s = 0; s < 2; s++) {
        double a = 1.3 + 0.4 * s;
        struct gp *g = &t->g[s];
        *g = (struct gp){.kernel = kernel, .m = M, .q = Q, .d = D};
        t->grad[s] = *g;
        gp_place(g, zeros(gp_size(g)));
        gp_place(&t->grad[s], zeros(gp_size(g)));
        fill(g->z, M * Q, a, 1.5);
        fill(g->length, Q, a + 1, 0.3);
        *g->signal = 0.2 - 0.3 * s;
        *g->noise = -1 + 0.2 * s;
        fill(g->constant, D, a + 2, 0.2);
        fill(g->mean, M * D, a + 3, 0.8);
        fill(g->factor, M * M, a + 4, 0.5);
        for (int i = 0; i < M; i++)
            for (int j = i + 1; j < M; j++)
                g->factor[i * M + j] = 0;
        assert_int_equal(gp_work_open(&t->w[s], g, B), 0);
        t->p.w[s] = &t->w[s];
        t->p.grad[s] = &t->grad[s];
        t->p.mean[s] = zeros(B * D);
        t->p.dmean[s] = zeros(B * D);
        t->p.variance[s] = zeros(B);
        t->p.dvariance[s] = zeros(B);
    }
    t->p.dx_side = zeros(B * Q);
    t->p.elbo_weight = 0.01;
    t->p.kl_weight = 400;
}

static void drop(struct planted *t)
{
    for (int s = 0; s < 2; s++) {
        gp_work_close(&t->w[s]);
        mem_free(t->g[s].slab);
        mem_free(t->grad[s].slab);
        mem_free(t->p.mean[s]);
        mem_free(t->p.dmean[s]);
        mem_free(t->p.variance[s]);
        mem_free(t->p.dvariance[s]);
    }
    mem_free(t->p.dx_side);
}

static double loss_of(struct planted *t)
{
    const double *const y[2] = {t->y[0], t->y[1]};
    for (int s = 0; s < 2; s++)
        assert_int_equal(gp_factorise(&t->w[s]), 0);
    return gp_pair_loss(&t->p, t->x, y, B, N, t->dx);
}

/* ---- against somebody else's arithmetic ---- */

struct golden {
    const double *mean[2], *variance[2], *bound[2], *gradient[2], *loss, *dx;
};

static void agrees(enum gp_kernel kernel, const struct golden *k)
{
    struct planted t;
    plant(&t, kernel);
    double loss = loss_of(&t);
    for (int s = 0; s < 2; s++) {
        close_to(t.p.mean[s], k->mean[s], B * D, 1e-11, "mean");
        close_to(t.p.variance[s], k->variance[s], B, 1e-11, "variance");
        double expected = gp_expected(&t.g[s], t.y[s], t.p.mean[s], t.p.variance[s], B, 0, NULL, NULL, NULL);
        near(expected, k->bound[s][0], 1e-9);
        near(gp_divergence(&t.w[s], 0, NULL), k->bound[s][1], 1e-10);
        close_to(t.grad[s].slab, k->gradient[s], (size_t)gp_size(&t.g[s]), 1e-10, "gradient");
    }
    close_to(&loss, k->loss, 1, 1e-11, "loss");
    close_to(t.dx, k->dx, B * Q, 1e-10, "dx");
    drop(&t);
}

static void agrees_with_autograd(void **state UNUSED)
{
    const struct golden rbf = {{rbf_mean_0, rbf_mean_1},
                               {rbf_variance_0, rbf_variance_1},
                               {rbf_bound_0, rbf_bound_1},
                               {rbf_gradient_0, rbf_gradient_1},
                               rbf_loss,
                               rbf_dx};
    const struct golden matern = {{matern52_mean_0, matern52_mean_1},
                                  {matern52_variance_0, matern52_variance_1},
                                  {matern52_bound_0, matern52_bound_1},
                                  {matern52_gradient_0, matern52_gradient_1},
                                  matern52_loss,
                                  matern52_dx};
    agrees(GP_RBF, &rbf);
    agrees(GP_MATERN52, &matern);
}

/* Every parameter and input by central differences. */
static void gradients_hold(void **state UNUSED)
{
    for (int kernel = 0; kernel < N_GP_KERNELS; kernel++) {
        struct planted t;
        plant(&t, (enum gp_kernel)kernel);
        int64_t n = gp_size(&t.g[0]);
        double *analytic = zeros(2 * n + B * Q), *numeric = zeros(2 * n + B * Q);
        loss_of(&t);
        memcpy(analytic, t.grad[0].slab, (size_t)n * sizeof(double));
        memcpy(analytic + n, t.grad[1].slab, (size_t)n * sizeof(double));
        memcpy(analytic + 2 * n, t.dx, sizeof t.dx);
        for (int64_t i = 0; i < 2 * n + B * Q; i++) {
            double *at = i < n ? t.g[0].slab + i : i < 2 * n ? t.g[1].slab + (i - n) : t.x + (i - 2 * n), keep = *at;
            *at = keep + 1e-5;
            numeric[i] = loss_of(&t);
            *at = keep - 1e-5;
            numeric[i] = (numeric[i] - loss_of(&t)) / 2e-5;
            *at = keep;
        }
        close_to(analytic, numeric, (size_t)(2 * n + B * Q), 1e-7, "gradient");
        mem_free(analytic);
        mem_free(numeric);
        drop(&t);
    }
}

/* ---- against the closed form ---- */

enum { POINTS = 12, WIDE = 3 };

/* Exact posterior at x of a process on (at, y): mean [WIDE], variance; *evidence: log marginal likelihood of y. */
static void exact(const struct gp *g, const double *at, const double *y, const double *x, double *mean,
                  double *variance, double *evidence)
{
    double k[POINTS * POINTS], l[POINTS * POINTS], kx[POINTS], r[POINTS * WIDE], noise = exp(*g->noise);
    for (int i = 0; i < POINTS; i++) {
        for (int j = 0; j <= POINTS; j++) {
            const double *other = j < POINTS ? at + j * Q : x;
            double r2 = 0;
            for (int l2 = 0; l2 < Q; l2++)
                r2 += pow((at[i * Q + l2] - other[l2]) / exp(g->length[l2]), 2);
            double v = exp(*g->signal) * exp(-0.5 * r2);
            if (j < POINTS)
                k[i * POINTS + j] = v + (i == j ? noise : 0);
            else
                kx[i] = v;
        }
        for (int d = 0; d < WIDE; d++)
            r[i * WIDE + d] = y[i * WIDE + d] - g->constant[d];
    }
    memcpy(l, k, sizeof l);
    assert_true(lapack_potrf(POINTS, l));
    kernel_solve_f64(false, POINTS, 1, l, kx);
    kernel_solve_f64(false, POINTS, WIDE, l, r);
    *variance = exp(*g->signal);
    *evidence = 0;
    memcpy(mean, g->constant, WIDE * sizeof *mean);
    for (int i = 0; i < POINTS; i++) {
        *variance -= kx[i] * kx[i];
        *evidence -= WIDE * (log(l[i * POINTS + i]) + 0.5 * log(2 * acos(-1)));
        for (int d = 0; d < WIDE; d++) {
            mean[d] += kx[i] * r[i * WIDE + d];
            *evidence -= 0.5 * r[i * WIDE + d] * r[i * WIDE + d];
        }
    }
}

/* The bound of a settled process with m of the points inducing. */
static double settled(struct gp *g, struct gp_work *w, const double *at, const double *y, double jitter)
{
    double *aa = zeros(g->m * g->m), *ay = zeros(g->m * WIDE), mean[POINTS * WIDE], variance[POINTS];
    assert_int_equal(gp_work_open(w, g, POINTS), 0);
    w->jitter = jitter;
    memcpy(g->z, at, (size_t)(g->m * Q) * sizeof(double));
    assert_int_equal(gp_factorise(w), 0);
    gp_gather(w, at, y, POINTS, aa, ay);
    assert_int_equal(gp_settle(w, g, aa, ay), 0);
    assert_int_equal(gp_factorise(w), 0);
    gp_predict(w, at, POINTS, mean, variance);
    double bound = gp_expected(g, y, mean, variance, POINTS, 0, NULL, NULL, NULL) - gp_divergence(w, 0, NULL);
    mem_free(aa);
    mem_free(ay);
    return bound;
}

static void exact_where_all_are_inducing(void **state UNUSED)
{
    double at[POINTS * Q], y[POINTS * WIDE], x[Q] = {0.3, -0.4}, mean[WIDE], variance, evidence, before = -INFINITY;
    fill(at, POINTS * Q, 2.3, 1.5);
    fill(y, POINTS * WIDE, 1.7, 1);
    for (int m = 1; m <= POINTS; m++) {
        struct gp g = {.kernel = GP_RBF, .m = m, .q = Q, .d = WIDE};
        struct gp_work w;
        double ours[WIDE], v;
        gp_place(&g, zeros(gp_size(&g)));
        *g.noise = -1.5;
        *g.signal = 0.3;
        g.length[0] = 0.1;
        fill(g.constant, WIDE, 1, 0.1);
        double bound = settled(&g, &w, at, y, 1e-12);
        exact(&g, at, y, x, mean, &variance, &evidence);
        assert_true(bound <= evidence + 1e-9);
        assert_true(bound >= before - 1e-9); /* one more inducing input never hurts */
        before = bound;
        gp_predict(&w, x, 1, ours, &v);
        if (m == POINTS) {
            near(bound, evidence, 1e-8);
            close_to(ours, mean, WIDE, 1e-9, "posterior mean");
            near(v, variance, 1e-9);
        }
        gp_work_close(&w);
        mem_free(g.slab);
    }
}

/* Settling is the maximum of the bound: its gradient in mean and factor is zero there. */
static void settled_is_the_best(void **state UNUSED)
{
    double at[POINTS * Q], y[POINTS * WIDE], mean[POINTS * WIDE], variance[POINTS], dmean[POINTS * WIDE] = {0};
    double dvariance[POINTS] = {0}, dx[POINTS * Q];
    struct gp g = {.kernel = GP_MATERN52, .m = 4, .q = Q, .d = WIDE}, grad = g;
    struct gp_work w;
    fill(at, POINTS * Q, 2.3, 1.5);
    fill(y, POINTS * WIDE, 1.7, 1);
    gp_place(&g, zeros(gp_size(&g)));
    gp_place(&grad, zeros(gp_size(&g)));
    *g.noise = -1.5;
    settled(&g, &w, at, y, 1e-6);
    gp_predict(&w, at, POINTS, mean, variance);
    gp_expected(&g, y, mean, variance, POINTS, 1, dmean, dvariance, &grad);
    gp_divergence(&w, -1, &grad);
    gp_backward(&w, at, POINTS, dmean, dvariance, &grad, dx);
    for (int i = 0; i < 4 * WIDE; i++)
        near(grad.mean[i], 0, 1e-9);
    for (int i = 0; i < 16; i++)
        near(grad.factor[i], 0, 1e-9);
    gp_work_close(&w);
    mem_free(g.slab);
    mem_free(grad.slab);
}

/* ---- inputs from outputs ---- */

/* What gp_infer minimises, from the predictions. */
static double unexplained(struct gp_work *w, const double *y, const double *x)
{
    double mean[WIDE], v;
    const struct gp *g = w->g;
    gp_predict(w, x, 1, mean, &v);
    double sum = WIDE * v;
    for (int d = 0; d < WIDE; d++)
        sum += pow(y[d] - mean[d], 2);
    sum /= 2 * exp(*g->noise);
    for (int l = 0; l < Q; l++)
        sum += 0.5 * x[l] * x[l];
    return sum;
}

static void inference_explains(void **state UNUSED)
{
    double at[POINTS * Q], y[POINTS * WIDE], x[POINTS * Q], start[POINTS * Q];
    struct gp g = {.kernel = GP_RBF, .m = 8, .q = Q, .d = WIDE};
    struct gp_work w;
    struct gp_infer f;
    fill(at, POINTS * Q, 2.3, 1.5);
    for (int i = 0; i < POINTS; i++)
        for (int d = 0; d < WIDE; d++)
            y[i * WIDE + d] = sin(at[i * Q] + d) + 0.5 * at[i * Q + 1] * (d - 1);
    gp_place(&g, zeros(gp_size(&g)));
    *g.noise = -3;
    *g.signal = 1;
    settled(&g, &w, at, y, 1e-6);
    assert_int_equal(gp_infer_open(&f, &w), 0);
    gp_infer(&f, y, POINTS, 0, 0.1, start);
    gp_infer(&f, y, POINTS, 50, 0.1, x);
    for (int i = 0; i < POINTS; i++) {
        double of_start = unexplained(&w, y + i * WIDE, start + i * Q), of_x = unexplained(&w, y + i * WIDE, x + i * Q);
        assert_true(of_x <= of_start + 1e-9);
        for (int64_t j = 0; j < g.m; j++) /* no inducing input explains it better than the start */
            assert_true(of_start <= unexplained(&w, y + i * WIDE, g.z + j * Q) + 1e-6);
        for (int l = 0; l < Q; l++) { /* nor a small step to either side of where it ended */
            double beside[Q];
            for (int turn = -1; turn <= 1; turn += 2) {
                memcpy(beside, x + i * Q, sizeof beside);
                beside[l] += 0.05 * turn;
                assert_true(of_x <= unexplained(&w, y + i * WIDE, beside) + 1e-3);
            }
        }
    }
    gp_infer_close(&f);
    gp_work_close(&w);
    mem_free(g.slab);
}

/* ---- what breaks others ---- */

static void survives_duplicates(void **state UNUSED)
{
    double at[POINTS * Q] = {0}, y[POINTS * WIDE], x[Q] = {1e3, -1e3}, mean[WIDE], v; /* all points are one */
    struct gp g = {.kernel = GP_RBF, .m = POINTS, .q = Q, .d = WIDE};
    struct gp_work w;
    fill(y, POINTS * WIDE, 1.7, 1);
    gp_place(&g, zeros(gp_size(&g)));
    assert_true(isfinite(settled(&g, &w, at, y, 1e-6)));
    gp_predict(&w, x, 1, mean, &v); /* far away: the prior */
    near(v, 1, 1e-9);
    near(mean[0], 0, 1e-9);
    gp_predict(&w, at, 1, mean, &v);
    double sum = 0;
    for (int i = 0; i < POINTS; i++)
        sum += y[i * WIDE];
    near(mean[0], sum / (POINTS + 1), 1e-5); /* noise 1, signal 1 */
    near(v, 1.0 / (POINTS + 1), 1e-5);
    gp_work_close(&w);
    *g.signal = (double)NAN;
    assert_int_equal(gp_work_open(&w, &g, 1), 0);
    assert_int_equal(gp_factorise(&w), ERR_NONFINITE);
    gp_work_close(&w);
    mem_free(g.slab);
}

static void bounds_bind(void **state UNUSED)
{
    struct gp g = {.kernel = GP_RBF, .m = 2, .q = Q, .d = WIDE};
    gp_place(&g, zeros(gp_size(&g)));
    *g.noise = -1e9;
    *g.signal = 1e9;
    g.length[0] = -1e9;
    g.factor[0] = 1e9;
    g.factor[2] = 1e9; /* not of the diagonal */
    gp_bound(&g);
    assert_true(*g.noise > -20 && *g.signal < 20 && g.length[0] > -10 && g.factor[0] < 10);
    assert_true(g.factor[2] > 1e8);
    mem_free(g.slab);
}

static void cholesky(void **state UNUSED)
{
    double a[9] = {4, 99, 99, 2, 5, 99, 2, 1, 6}, b[3] = {8, 10, 10}, bad[4] = {1, 0, 2, 1};
    const double l[9] = {2, 0, 0, 1, 2, 0, 1, 0, sqrt(5)};
    assert_true(lapack_potrf(3, a));
    close_to(a, l, 9, 1e-15, "factor");
    kernel_solve_f64(false, 3, 1, a, b);
    near(b[0], 4, 1e-14);
    kernel_solve_f64(true, 3, 1, a, b); /* 4x + 2y + 2z = 8, 2x + 5y + z = 10, 2x + y + 6z = 10 */
    near(4 * b[0] + 2 * b[1] + 2 * b[2], 8, 1e-13);
    near(2 * b[0] + b[1] + 6 * b[2], 10, 1e-13);
    assert_false(lapack_potrf(2, bad));
    bad[0] = (double)NAN;
    assert_false(lapack_potrf(2, bad));
    assert_true(lapack_potrf(0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cholesky),
        cmocka_unit_test(agrees_with_autograd),
        cmocka_unit_test(gradients_hold),
        cmocka_unit_test(exact_where_all_are_inducing),
        cmocka_unit_test(settled_is_the_best),
        cmocka_unit_test(inference_explains),
        cmocka_unit_test(survives_duplicates),
        cmocka_unit_test(bounds_bind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
