/* adapt/gp.c: sparse variational Gaussian processes (Titsias 2009; Hensman, Fusi, Lawrence 2013; Hensman, Matthews,
 * Ghahramani 2015) with D outputs under one kernel, gradients by hand.
 *
 *   f_d ~ GP(constant_d, k), y = f + noise;  u = L v, L L^T = K_zz + jitter, q(v_d) = N(m_d, S), S = C C^T
 *   A = L^-1 K_zx;  mean = constant + A^T m;  variance = k(x,x) - |a|^2 + |C^T a|^2
 *   ELBO = sum E_q[log N(y | f, noise)] - 1/2 sum_d (|m_d|^2 + tr S - M - log |S|)
 *
 * One S for all outputs loses nothing: where the kernel and the noise are shared the best S does not depend on y. So
 * K_zz is factored once a step whatever D is, and the variance of an item is one number. Everything in double: K_zz of
 * close inducing inputs has a condition number that single precision does not carry. The gradient through the Cholesky
 * factor is Murray's (2016): dK = L^-T sym(Phi(L^T dL)) L^-1, Phi the lower triangle with half its diagonal.
 * Rejected: ops on the tape (a Cholesky in every engine for one method); an S for each output (D M^2 numbers, 32
 * million for the defaults, with the same optimum). */
#include "adapt/gp.h"

#include <math.h>
#include <string.h>

const char *const gp_kernel_names[N_GP_KERNELS] = {"rbf", "matern52"};

static const double LOG_2PI = 1.8378770664093454836;
static const double JITTER = 1e-6, JITTER_MAX = 1e-1;
/* bounds of the logarithms: wide enough to bind only where there is nothing to learn */
static const double LENGTH_LO = -5, LENGTH_HI = 7, VARIANCE_LO = -14, VARIANCE_HI = 14, DIAGONAL_LO = -14,
                    DIAGONAL_HI = 7;

/* ---- parameters ---- */

int64_t gp_size(const struct gp *g)
{
    return g->m * g->q + g->q + 2 + g->d + g->m * g->d + g->m * g->m;
}

void gp_place(struct gp *g, double *slab)
{
    g->slab = g->z = slab;
    g->length = g->z + g->m * g->q;
    g->signal = g->length + g->q;
    g->noise = g->signal + 1;
    g->constant = g->noise + 1;
    g->mean = g->constant + g->d;
    g->factor = g->mean + g->m * g->d;
}

static double within(double x, double lo, double hi)
{
    return x > lo ? (x < hi ? x : hi) : lo;
}

void gp_bound(struct gp *g)
{
    for (int64_t i = 0; i < g->q; i++)
        g->length[i] = within(g->length[i], LENGTH_LO, LENGTH_HI);
    *g->signal = within(*g->signal, VARIANCE_LO, VARIANCE_HI);
    *g->noise = within(*g->noise, VARIANCE_LO, VARIANCE_HI);
    for (int64_t i = 0; i < g->m; i++)
        g->factor[i * g->m + i] = within(g->factor[i * g->m + i], DIAGONAL_LO, DIAGONAL_HI);
}

void gp_adam(double *p, const double *grad, double *first, double *second, int64_t n, double lr, int64_t t)
{
    const double b1 = 0.9, b2 = 0.999;
    double c1 = 1 - pow(b1, (double)t), c2 = 1 - pow(b2, (double)t);
    for (int64_t i = 0; i < n; i++) {
        first[i] = b1 * first[i] + (1 - b1) * grad[i];
        second[i] = b2 * second[i] + (1 - b2) * grad[i] * grad[i];
        p[i] -= lr * (first[i] / c1) / (sqrt(second[i] / c2) + 1e-8);
    }
}

/* ---- the kernel ---- */

/* Of r2, the squared distance in length scales: its share of the signal variance, and d of that / d r2. */
static double kernel_of(enum gp_kernel kernel, double r2, double *slope)
{
    if (kernel == GP_RBF) {
        double k = exp(-0.5 * r2);
        *slope = -0.5 * k;
        return k;
    }
    double s = sqrt(5 * r2), e = exp(-s);
    *slope = -5.0 / 6 * (1 + s) * e;
    return (1 + s + s * s / 3) * e;
}

/* k, slope [na,nb] of rows a [na,Q] and b [nb,Q] */
static void kernel_matrix(const struct gp_work *w, const double *a, int64_t na, const double *b, int64_t nb, double *k,
                          double *slope)
{
    const struct gp *g = w->g;
    double signal = exp(*g->signal);
    for (int64_t i = 0; i < na; i++)
        for (int64_t j = 0; j < nb; j++) {
            double r2 = 0, s;
            for (int64_t l = 0; l < g->q; l++) {
                double x = (a[i * g->q + l] - b[j * g->q + l]) * w->inverse_length[l];
                r2 += x * x;
            }
            k[i * nb + j] = signal * kernel_of(g->kernel, r2, &s);
            slope[i * nb + j] = signal * s;
        }
}

/* dk [na,nb] -> da, db (may be one array), and the logarithms' gradients. */
static void kernel_backward(const struct gp_work *w, const double *a, int64_t na, const double *b, int64_t nb,
                            const double *k, const double *slope, const double *dk, double *da, double *db,
                            struct gp *grad)
{
    const struct gp *g = w->g;
    double dsignal = 0;
    for (int64_t i = 0; i < na; i++)
        for (int64_t j = 0; j < nb; j++) {
            double up = 2 * dk[i * nb + j] * slope[i * nb + j];
            dsignal += dk[i * nb + j] * k[i * nb + j];
            for (int64_t l = 0; l < g->q; l++) {
                double inverse = w->inverse_length[l], x = (a[i * g->q + l] - b[j * g->q + l]) * inverse;
                da[i * g->q + l] += up * x * inverse;
                db[j * g->q + l] -= up * x * inverse;
                grad->length[l] -= up * x * x;
            }
        }
    *grad->signal += dsignal;
}

/* ---- what a step computes once ---- */

int gp_work_open(struct gp_work *w, const struct gp *g, int64_t batch)
{
    int64_t m = g->m, mm = m * m, mb = m * batch;
    memset(w, 0, sizeof *w);
    w->g = g;
    w->batch = batch;
    w->jitter = JITTER;
    double *at = w->memory = mem_calloc((size_t)(6 * mm + 5 * mb + g->q), sizeof(double));
    if (!at)
        return ERR_MEMORY;
    double **const squares[] = {&w->kzz, &w->slope_zz, &w->l, &w->c, &w->square[0], &w->square[1]};
    double **const slabs[] = {&w->kzx, &w->slope_zx, &w->a, &w->t, &w->da};
    for (size_t i = 0; i < ARRAY_LEN(squares); i++, at += mm)
        *squares[i] = at;
    for (size_t i = 0; i < ARRAY_LEN(slabs); i++, at += mb)
        *slabs[i] = at;
    w->inverse_length = at;
    return 0;
}

void gp_work_close(struct gp_work *w)
{
    mem_free(w->memory);
    memset(w, 0, sizeof *w);
}

int gp_factorise(struct gp_work *w)
{
    const struct gp *g = w->g;
    int64_t m = g->m;
    for (int64_t l = 0; l < g->q; l++)
        w->inverse_length[l] = exp(-g->length[l]);
    kernel_matrix(w, g->z, m, g->z, m, w->kzz, w->slope_zz);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++)
            w->c[i * m + j] = j < i ? g->factor[i * m + j] : j == i ? exp(g->factor[i * m + i]) : 0;
    for (w->used = w->jitter;; w->used *= 10) {
        memcpy(w->l, w->kzz, (size_t)(m * m) * sizeof(double));
        for (int64_t i = 0; i < m; i++)
            w->l[i * m + i] += w->used * exp(*g->signal);
        if (lapack_potrf(m, w->l))
            return 0;
        if (w->used >= JITTER_MAX)
            FAIL(ERR_NONFINITE,
                 "the kernel matrix of the %lld inducing inputs is not positive definite; "
                 "take a smaller --lr or fewer --inducing",
                 (long long)m);
    }
}

/* x [m,m] symmetric -> L^-T x L^-1 */
static void sandwich(const struct gp_work *w, double *x)
{
    int64_t m = w->g->m;
    for (int turn = 0; turn < 2; turn++) {
        kernel_solve_f64(true, m, m, w->l, x);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < i; j++) {
                double keep = x[i * m + j];
                x[i * m + j] = x[j * m + i];
                x[j * m + i] = keep;
            }
    }
}

/* ---- forward and backward ---- */

void gp_predict(struct gp_work *w, const double *x, int64_t b, double *mean, double *variance)
{
    const struct gp *g = w->g;
    int64_t m = g->m, d = g->d;
    double signal = exp(*g->signal);
    BUG_ON(b > w->batch);
    kernel_matrix(w, g->z, m, x, b, w->kzx, w->slope_zx);
    memcpy(w->a, w->kzx, (size_t)(m * b) * sizeof(double));
    kernel_solve_f64(false, m, b, w->l, w->a);
    kernel_gemm_f64(true, false, m, b, m, 1, w->c, m, w->a, b, 0, w->t, b);
    for (int64_t i = 0; i < b; i++)
        variance[i] = signal;
    for (int64_t j = 0; j < m; j++)
        for (int64_t i = 0; i < b; i++)
            variance[i] += w->t[j * b + i] * w->t[j * b + i] - w->a[j * b + i] * w->a[j * b + i];
    for (int64_t i = 0; i < b; i++) /* not below the rounding of what was subtracted */
        variance[i] = fmax(variance[i], 1e-12 * signal);
    if (!mean)
        return;
    for (int64_t i = 0; i < b; i++)
        memcpy(mean + i * d, g->constant, (size_t)d * sizeof(double));
    kernel_gemm_f64(true, false, b, d, m, 1, w->a, b, g->mean, d, 1, mean, d);
}

/* dl (lower) of the factor -> dK, symmetric, in place; Murray 2016 */
static void cholesky_backward(const struct gp_work *w, double *dl, double *scratch)
{
    int64_t m = w->g->m;
    kernel_gemm_f64(true, false, m, m, m, 1, w->l, m, dl, m, 0, scratch, m);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j <= i; j++)
            dl[i * m + j] = dl[j * m + i] = 0.5 * scratch[i * m + j];
    sandwich(w, dl);
}

void gp_backward(struct gp_work *w, const double *x, int64_t b, const double *dmean, const double *dvariance,
                 struct gp *grad, double *dx)
{
    const struct gp *g = w->g;
    int64_t m = g->m, d = g->d;
    double sum = 0, trace = 0, *dl = w->square[0], *other = w->square[1];
    for (int64_t i = 0; i < b; i++) {
        sum += dvariance[i];
        for (int64_t k = 0; k < d; k++)
            grad->constant[k] += dmean[i * d + k];
    }
    kernel_gemm_f64(false, false, m, d, b, 1, w->a, b, dmean, d, 1, grad->mean, d);
    /* dA = m dmean^T + 2 (C T - A) dvariance; t becomes T dvariance */
    for (int64_t j = 0; j < m; j++)
        for (int64_t i = 0; i < b; i++) {
            w->da[j * b + i] = -2 * w->a[j * b + i] * dvariance[i];
            w->t[j * b + i] *= dvariance[i];
        }
    kernel_gemm_f64(false, false, m, b, m, 2, w->c, m, w->t, b, 1, w->da, b);
    kernel_gemm_f64(false, true, m, b, d, 1, g->mean, d, dmean, d, 1, w->da, b);
    kernel_gemm_f64(false, true, m, m, b, 2, w->a, b, w->t, b, 0, other, m);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j <= i; j++)
            grad->factor[i * m + j] += other[i * m + j] * (j < i ? 1 : w->c[i * m + i]);
    kernel_solve_f64(true, m, b, w->l, w->da); /* now of K_zx */
    kernel_gemm_f64(false, true, m, m, b, -1, w->da, b, w->a, b, 0, dl, m);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = i + 1; j < m; j++)
            dl[i * m + j] = 0;
    cholesky_backward(w, dl, other);
    for (int64_t i = 0; i < m; i++)
        trace += dl[i * m + i];
    *grad->signal += exp(*g->signal) * (sum + w->used * trace);
    memset(dx, 0, (size_t)(b * g->q) * sizeof *dx);
    kernel_backward(w, g->z, m, x, b, w->kzx, w->slope_zx, w->da, grad->z, dx, grad);
    kernel_backward(w, g->z, m, g->z, m, w->kzz, w->slope_zz, dl, grad->z, grad->z, grad);
}

/* ---- the bound ---- */

double gp_expected(const struct gp *g, const double *y, const double *mean, const double *variance, int64_t b,
                   double weight, double *dmean, double *dvariance, struct gp *grad)
{
    int64_t d = g->d;
    double inverse = exp(-*g->noise), sum = 0;
    for (int64_t i = 0; i < b; i++) {
        double square = (double)d * variance[i];
        for (int64_t k = 0; k < d; k++) {
            double r = y[i * d + k] - mean[i * d + k];
            square += r * r;
            if (dmean)
                dmean[i * d + k] += weight * r * inverse;
        }
        sum -= 0.5 * ((double)d * (LOG_2PI + *g->noise) + square * inverse);
        if (dvariance)
            dvariance[i] -= weight * 0.5 * (double)d * inverse;
        if (grad)
            *grad->noise += weight * 0.5 * (square * inverse - (double)d);
    }
    return sum;
}

double gp_divergence(const struct gp_work *w, double weight, struct gp *grad)
{
    const struct gp *g = w->g;
    int64_t m = g->m;
    double squares = 0, traces = 0, logs = 0, d = (double)g->d;
    for (int64_t i = 0; i < m * g->d; i++) {
        squares += g->mean[i] * g->mean[i];
        if (grad)
            grad->mean[i] += weight * g->mean[i];
    }
    for (int64_t i = 0; i < m; i++) {
        logs += g->factor[i * m + i];
        for (int64_t j = 0; j <= i; j++) {
            double c = w->c[i * m + j];
            traces += c * c;
            if (grad)
                grad->factor[i * m + j] += weight * d * (j < i ? c : c * c - 1);
        }
    }
    return 0.5 * (squares + d * (traces - (double)m - 2 * logs));
}

/* ---- the best mean and factor ---- */

void gp_gather(struct gp_work *w, const double *x, const double *y, int64_t b, double *aa, double *ay)
{
    const struct gp *g = w->g;
    int64_t m = g->m, d = g->d;
    kernel_matrix(w, g->z, m, x, b, w->kzx, w->slope_zx);
    memcpy(w->a, w->kzx, (size_t)(m * b) * sizeof(double));
    kernel_solve_f64(false, m, b, w->l, w->a);
    kernel_gemm_f64(false, true, m, m, b, 1, w->a, b, w->a, b, 1, aa, m);
    kernel_gemm_f64(false, false, m, d, b, 1, w->a, b, y, d, 1, ay, d);
    for (int64_t j = 0; j < m; j++) { /* of y - constant */
        double sum = 0;
        for (int64_t i = 0; i < b; i++)
            sum += w->a[j * b + i];
        for (int64_t k = 0; k < d; k++)
            ay[j * d + k] -= sum * g->constant[k];
    }
}

/* S = (I + A A^T / noise)^-1, m = S A (y - constant) / noise */
int gp_settle(struct gp_work *w, struct gp *g, double *aa, double *ay)
{
    int64_t m = g->m, d = g->d;
    double inverse = exp(-*g->noise), *s = w->square[0];
    memset(s, 0, (size_t)(m * m) * sizeof *s);
    for (int64_t i = 0; i < m * m; i++)
        aa[i] *= inverse;
    for (int64_t i = 0; i < m; i++) {
        aa[i * m + i] += 1;
        s[i * m + i] = 1;
    }
    bool good = lapack_potrf(m, aa);
    if (good) {
        kernel_solve_f64(false, m, m, aa, s);
        kernel_solve_f64(true, m, m, aa, s);
        good = lapack_potrf(m, s);
    }
    if (!good)
        FAIL(ERR_NONFINITE, "the covariance of %lld inducing values is not positive definite; take fewer --inducing",
             (long long)m);
    kernel_solve_f64(false, m, d, aa, ay);
    kernel_solve_f64(true, m, d, aa, ay);
    for (int64_t i = 0; i < m * d; i++)
        g->mean[i] = ay[i] * inverse;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j <= i; j++)
            g->factor[i * m + j] = j < i ? s[i * m + j] : log(s[i * m + i]);
    return 0;
}

/* ---- inputs from outputs ---- */

/* With k = K_zx and e = y - constant, |y - mean|^2 + D variance = |e|^2 - 2 k.(P e) + k.H k + D signal, where
 * P = L^-T m and H = L^-T (m m^T + D (S - I)) L^-1: one product a step whatever D is. */
int gp_infer_open(struct gp_infer *f, struct gp_work *w)
{
    const struct gp *g = w->g;
    int64_t m = g->m, d = g->d, b = w->batch, q = g->q;
    double noise = exp(*g->noise);
    memset(f, 0, sizeof *f);
    f->w = w;
    double *at = f->memory =
        mem_calloc((size_t)(m * d + m * m + m + b * d + 2 * b * m + b + 4 * b * q), sizeof(double));
    if (!at)
        return ERR_MEMORY;
    double **const parts[] = {&f->to_q,  &f->h,    &f->offset, &f->e,     &f->q,     &f->hk,
                              &f->score, &f->best, &f->dx,     &f->first, &f->second};
    const int64_t sizes[] = {m * d, m * m, m, b * d, b * m, b * m, b, b * q, b * q, b * q, b * q};
    for (size_t i = 0; i < ARRAY_LEN(parts); at += sizes[i++])
        *parts[i] = at;
    memcpy(f->to_q, g->mean, (size_t)(m * d) * sizeof(double));
    kernel_solve_f64(true, m, d, w->l, f->to_q);
    kernel_gemm_f64(false, true, m, m, d, 1, g->mean, d, g->mean, d, 0, f->h, m);
    kernel_gemm_f64(false, true, m, m, m, (double)d, w->c, m, w->c, m, 1, f->h, m);
    for (int64_t i = 0; i < m; i++)
        f->h[i * m + i] -= (double)d;
    sandwich(w, f->h);
    kernel_gemm_f64(false, false, m, m, m, 1, f->h, m, w->kzz, m, 0, w->square[0], m);
    for (int64_t j = 0; j < m; j++) {
        for (int64_t i = 0; i < m; i++)
            f->offset[j] += w->kzz[i * m + j] * w->square[0][i * m + j];
        for (int64_t l = 0; l < q; l++)
            f->offset[j] += noise * g->z[j * q + l] * g->z[j * q + l];
    }
    return 0;
}

void gp_infer_close(struct gp_infer *f)
{
    mem_free(f->memory);
    memset(f, 0, sizeof *f);
}

/* The inducing input that explains each row best, into x. */
static void start_of(struct gp_infer *f, int64_t b, double *x)
{
    const struct gp_work *w = f->w;
    const struct gp *g = w->g;
    int64_t m = g->m;
    kernel_gemm_f64(false, false, b, m, m, -2, f->q, m, w->kzz, m, 0, f->hk, m);
    for (int64_t i = 0; i < b; i++) {
        int64_t best = 0;
        for (int64_t j = 1; j < m; j++)
            if (f->hk[i * m + j] + f->offset[j] < f->hk[i * m + best] + f->offset[best])
                best = j;
        memcpy(x + i * g->q, g->z + best * g->q, (size_t)g->q * sizeof *x);
    }
}

/* One row's value (2 noise times what is minimised, less what does not depend on x) and its gradient. */
static double row_value(const struct gp_infer *f, int64_t i, const double *x, double noise, double *dx)
{
    const struct gp_work *w = f->w;
    const struct gp *g = w->g;
    int64_t m = g->m, n = g->q;
    const double *k = w->kzx + i * m, *slope = w->slope_zx + i * m, *q = f->q + i * m, *hk = f->hk + i * m;
    double value = 0;
    for (int64_t l = 0; l < n; l++) {
        value += noise * x[l] * x[l];
        dx[l] = 2 * noise * x[l];
    }
    for (int64_t j = 0; j < m; j++) {
        double up = 4 * (hk[j] - q[j]) * slope[j];
        value += k[j] * (hk[j] - 2 * q[j]);
        for (int64_t l = 0; l < n; l++)
            dx[l] += up * (x[l] - g->z[j * n + l]) * w->inverse_length[l] * w->inverse_length[l];
    }
    return value;
}

void gp_infer(struct gp_infer *f, const double *y, int64_t b, int64_t steps, double lr, double *x)
{
    struct gp_work *w = f->w;
    const struct gp *g = w->g;
    int64_t m = g->m, d = g->d, n = g->q;
    double noise = exp(*g->noise);
    BUG_ON(b > w->batch);
    for (int64_t i = 0; i < b; i++)
        for (int64_t k = 0; k < d; k++)
            f->e[i * d + k] = y[i * d + k] - g->constant[k];
    kernel_gemm_f64(false, true, b, m, d, 1, f->e, d, f->to_q, d, 0, f->q, m);
    start_of(f, b, x);
    memset(f->first, 0, (size_t)(2 * b * n) * sizeof(double)); /* and second */
    for (int64_t step = 0; step <= steps; step++) {
        kernel_matrix(w, x, b, g->z, m, w->kzx, w->slope_zx);
        kernel_gemm_f64(false, false, b, m, m, 1, w->kzx, m, f->h, m, 0, f->hk, m);
        for (int64_t i = 0; i < b; i++) {
            double value = row_value(f, i, x + i * n, noise, f->dx + i * n);
            if (step == 0 || value < f->score[i]) {
                f->score[i] = value;
                memcpy(f->best + i * n, x + i * n, (size_t)n * sizeof *x);
            }
        }
        if (step < steps)
            gp_adam(x, f->dx, f->first, f->second, b * n, lr, step + 1);
    }
    memcpy(x, f->best, (size_t)(b * n) * sizeof *x);
}

/* ---- two processes over one latent ---- */

/* 1/2 (KL both ways) between N(mean, p I) of the two sides, p the variance with the noise, summed over rows and
 * outputs; weight times its gradient is added. */
static double coupling(struct gp_pair *p, int64_t b, double weight)
{
    const struct gp *g[2] = {p->w[0]->g, p->w[1]->g};
    double noise[2] = {exp(*g[0]->noise), exp(*g[1]->noise)}, sum = 0, d = (double)g[0]->d;
    for (int64_t i = 0; i < b; i++) {
        double v[2] = {p->variance[0][i] + noise[0], p->variance[1][i] + noise[1]}, square = 0;
        double both = 1 / v[0] + 1 / v[1], *at[2] = {p->dmean[0] + i * g[0]->d, p->dmean[1] + i * g[0]->d};
        for (int64_t k = 0; k < g[0]->d; k++) {
            double gap = p->mean[0][i * g[0]->d + k] - p->mean[1][i * g[0]->d + k];
            square += gap * gap;
            at[0][k] += weight * 0.5 * gap * both;
            at[1][k] -= weight * 0.5 * gap * both;
        }
        sum += 0.25 * (d * (v[0] / v[1] + v[1] / v[0] - 2) + square * both);
        for (int side = 0; side < 2; side++) {
            double mine = v[side], other = v[!side];
            double dv = weight * 0.25 * (d * (1 / other - other / (mine * mine)) - square / (mine * mine));
            p->dvariance[side][i] += dv;
            *p->grad[side]->noise += dv * noise[side];
        }
    }
    return sum;
}

double gp_pair_loss(struct gp_pair *p, const double *x, const double *const y[2], int64_t b, int64_t n, double *dx)
{
    int64_t q = p->w[0]->g->q, d = p->w[0]->g->d;
    double loss = 0, each = p->elbo_weight / (double)b;
    memset(dx, 0, (size_t)(b * q) * sizeof *dx);
    for (int side = 0; side < 2; side++) {
        const struct gp *g = p->w[side]->g;
        memset(p->grad[side]->slab, 0, (size_t)gp_size(g) * sizeof(double));
        memset(p->dmean[side], 0, (size_t)(b * d) * sizeof(double));
        memset(p->dvariance[side], 0, (size_t)b * sizeof(double));
        gp_predict(p->w[side], x, b, p->mean[side], p->variance[side]);
        loss -= each * gp_expected(g, y[side], p->mean[side], p->variance[side], b, -each, p->dmean[side],
                                   p->dvariance[side], p->grad[side]);
        double whole = p->elbo_weight / (double)n;
        loss += whole * gp_divergence(p->w[side], whole, p->grad[side]);
    }
    loss += p->kl_weight / (double)b * coupling(p, b, p->kl_weight / (double)b);
    for (int side = 0; side < 2; side++) {
        gp_backward(p->w[side], x, b, p->dmean[side], p->dvariance[side], p->grad[side], p->dx_side);
        for (int64_t i = 0; i < b * q; i++)
            dx[i] += p->dx_side[i];
    }
    for (int64_t i = 0; i < b * q; i++) { /* the latent's prior, N(0, I) */
        loss += each * 0.5 * x[i] * x[i];
        dx[i] += each * x[i];
    }
    return loss;
}
