/* adapt/laplace.c: Laplace's approximation for the last product of an encoder (BayesVLM, arXiv 2412.06014).
 *
 * z = W phi (a bias is one more number of phi that is 1), u = z / |z|, logits s u.y. Of the loss's Hessian in W the
 * generalised Gauss-Newton part is kept, sum_i phi_i phi_i^T x H_i with H_i = J_i^T L_i J_i, where J = (I - u u^T)/|z|
 * is the Jacobian of u and L the Hessian of the loss in u; what the curvature of the normalising would add is left out,
 * so that H has no negative direction. Then sum_i phi_i phi_i^T x H_i is taken for A x B, A = sum phi phi^T / sqrt(N),
 * B = sum H / sqrt(N) (N rows), which are the published factors' units.
 *   InfoNCE: L = s^2 (Y^T diag(p) Y - (Y^T p)(Y^T p)^T), p the softmax over the other side of the batch.
 *   both:    half of that, and half of s^2 sum_j q_j (1 - q_j) y_j y_j^T, q_j the row's share in the softmax of y_j
 * over this side: the loss's other direction, of which the published factors know nothing. sigmoid: L = s^2 sum_j g_j
 * (1 - g_j) y_j y_j^T, g = sigmoid(s u.y + b). A row of d x d matrices would cost n m d^2. But with w the weights of
 * the y_j, J (Y^T diag(w) Y) J is 1/|z|^2 times Y^T diag(w) Y - u v^T - v u^T + (u.v) u u^T,  v = Y^T (w o Y u), whose
 * sums over the rows are five matrix products, n m d in all.
 *
 * Posterior precision of W: n A x B + prior. Its inverse is known along the eigenvectors: 1 / (n a_i b_j + prior), and
 * so is the evidence, log Z = -prior |W|^2 / 2 + E F log(prior) / 2 - sum_ij log(n a_i b_j + prior) / 2 + const, whose
 * one maximum solves prior |W|^2 = sum_ij n a_i b_j / (n a_i b_j + prior) (MacKay 1992): the left side grows, the right
 * one falls, so halving finds it. BayesVLM's covariance is the product of (sqrt(n) A + sqrt(prior) I)^-1 and the same
 * of B: 1 / ((sqrt(n) a_i + sqrt(prior)) (sqrt(n) b_j + sqrt(prior))), never larger. Both are here; their prior is
 * found by gradient steps on an evidence without the half before the determinant and with the two factors' exponents
 * exchanged, which is not repeated. */
#include "adapt/laplace.h"

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256 };

/* ---- curvature ---- */

struct curvature_work {
    double *logit, *weight, *mean, *v; /* [BLOCK,m], [BLOCK,m], [BLOCK,d], [BLOCK,d] */
    double *total;                     /* [m] weights over |z|^2, summed over the rows */
    double *column;                    /* [m] log of the softmax's denominator over this side's rows */
    double *scaled;                    /* [m,d] */
};

static double log_sum(const double *x, int64_t n, int64_t stride)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, x[i * stride]);
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i * stride] - top);
    return top + log(sum);
}

/* Logits of rows i0 .. i0 + k. */
static void logits(const struct curvature *c, struct curvature_work *w, int64_t i0, int64_t k)
{
    kernel_gemm_f64(false, true, k, c->m, c->d, c->scale, c->u + i0 * c->d, c->d, c->y, c->d, 0, w->logit, c->m);
    for (int64_t i = 0; i < k * c->m; i++)
        w->logit[i] += c->bias;
}

static void add_columns(const struct curvature *c, struct curvature_work *w)
{
    for (int64_t j = 0; j < c->m; j++)
        w->column[j] = -INFINITY;
    for (int64_t i0 = 0; i0 < c->n; i0 += BLOCK) {
        int64_t k = c->n - i0 < BLOCK ? c->n - i0 : BLOCK;
        logits(c, w, i0, k);
        for (int64_t j = 0; j < c->m; j++) {
            double now = log_sum(w->logit + j, k, c->m), top = fmax(now, w->column[j]);
            w->column[j] = top + log(exp(now - top) + exp(w->column[j] - top));
        }
    }
}

/* Weights of the y_j of one row, and the softmax's mean where the loss has one. */
static void weigh(const struct curvature *c, const struct curvature_work *w, const double *logit, double *weight,
                  double *p)
{
    double all = c->sigmoid ? 0 : log_sum(logit, c->m, 1), part = c->both ? 0.5 : 1;
    for (int64_t j = 0; j < c->m; j++) {
        if (c->sigmoid) {
            double e = exp(-fabs(logit[j]));
            weight[j] = e / ((1 + e) * (1 + e));
            p[j] = 0;
            continue;
        }
        double q = c->both ? exp(logit[j] - w->column[j]) : 0;
        p[j] = exp(logit[j] - all);
        weight[j] = part * (p[j] + (c->both ? q * (1 - q) : 0));
    }
}

/* The terms of rows i0 .. i0 + k but for Y^T diag(w) Y. */
static void add_block(const struct curvature *c, struct curvature_work *w, int64_t i0, int64_t k, double *h)
{
    int64_t d = c->d, m = c->m;
    const double *u = c->u + i0 * d;
    double s2 = c->scale * c->scale, part = c->sigmoid ? 0 : c->both ? 0.5 : 1;
    logits(c, w, i0, k);
    for (int64_t i = 0; i < k; i++) {
        double *logit = w->logit + i * m, *weight = w->weight + i * m, inverse = 1 / c->length[i0 + i];
        weigh(c, w, logit, weight, w->scaled);
        for (int64_t j = 0; j < m; j++) {
            double cosine = (logit[j] - c->bias) / c->scale;
            logit[j] = w->scaled[j]; /* p */
            w->total[j] += weight[j] * inverse * inverse;
            weight[j] *= cosine;
        }
    }
    kernel_gemm_f64(false, false, k, d, m, 1, w->weight, m, c->y, d, 0, w->v, d);
    kernel_gemm_f64(false, false, k, d, m, 1, w->logit, m, c->y, d, 0, w->mean, d);
    for (int64_t i = 0; i < k; i++) {
        double uv = 0, um = 0, inverse = 1 / c->length[i0 + i];
        double *v = w->v + i * d, *mean = w->mean + i * d;
        for (int64_t j = 0; j < d; j++) {
            uv += u[i * d + j] * v[j];
            um += u[i * d + j] * mean[j];
        }
        for (int64_t j = 0; j < d; j++) { /* -u v^T - v u^T + (u.v) u u^T = -u (v - (u.v) u / 2)^T - its transpose */
            v[j] = (v[j] - 0.5 * uv * u[i * d + j]) * inverse * inverse * s2;
            mean[j] = (mean[j] - um * u[i * d + j]) * inverse * c->scale;
        }
    }
    kernel_gemm_f64(true, false, d, d, k, -1, u, d, w->v, d, 1, h, d);
    kernel_gemm_f64(true, false, d, d, k, -1, w->v, d, u, d, 1, h, d);
    if (part > 0)
        kernel_gemm_f64(true, false, d, d, k, -part, w->mean, d, w->mean, d, 1, h, d);
}

int curvature_add(const struct curvature *c, double *h)
{
    size_t m = (size_t)c->m, d = (size_t)c->d;
    struct curvature_work w = {.logit = mem_calloc(2 * BLOCK * m + 2 * BLOCK * d + 2 * m + m * d + m, sizeof(double))};
    if (!w.logit)
        return ERR_MEMORY;
    w.weight = w.logit + BLOCK * m;
    w.mean = w.weight + BLOCK * m;
    w.v = w.mean + BLOCK * d;
    w.total = w.v + BLOCK * d;
    w.column = w.total + m;
    w.scaled = w.column + m; /* [m,d], and before that a row [m] */
    int rc = 0;
    if (c->both && !c->sigmoid)
        add_columns(c, &w);
    for (int64_t i0 = 0; i0 < c->n && rc == 0; i0 += BLOCK) {
        rc = signal_check();
        if (rc == 0)
            add_block(c, &w, i0, c->n - i0 < BLOCK ? c->n - i0 : BLOCK, h);
    }
    for (int64_t j = 0; j < c->m; j++)
        for (int64_t k = 0; k < c->d; k++)
            w.scaled[j * c->d + k] = c->y[j * c->d + k] * w.total[j] * c->scale * c->scale;
    if (rc == 0)
        kernel_gemm_f64(true, false, c->d, c->d, c->m, 1, w.scaled, c->d, c->y, c->d, 1, h, c->d);
    mem_free(w.logit);
    return rc;
}

/* ---- posterior ---- */

int posterior_open(struct posterior *p, struct arena *memory, int64_t f, int64_t e, double *a, double *b)
{
    *p = (struct posterior){.f = f, .e = e, .qa = a, .qb = b};
    p->wa = arena_calloc(memory, (size_t)f, sizeof(double));
    p->wb = arena_calloc(memory, (size_t)e, sizeof(double));
    p->square = arena_calloc(memory, (size_t)(e * e), sizeof(double));
    p->v = arena_calloc(memory, (size_t)(e * f), sizeof(double));
    if (!p->wa || !p->wb || !p->square || !p->v)
        return ERR_MEMORY;
    TRY(lapack_syevd(f, p->qa, p->wa));
    TRY(lapack_syevd(e, p->qb, p->wb));
    for (int64_t i = 0; i < f; i++) /* single precision leaves some a little below 0 */
        p->wa[i] = fmax(p->wa[i], 0);
    for (int64_t j = 0; j < e; j++)
        p->wb[j] = fmax(p->wb[j], 0);
    for (int64_t j = 0; j < e * e; j++)
        p->square[j] = p->qb[j] * p->qb[j];
    return 0;
}

void posterior_fill(struct posterior *p, double n, double prior, bool exact)
{
    double root_n = sqrt(n), root = sqrt(prior);
    p->n = n;
    p->prior = prior;
    p->exact = exact;
    for (int64_t i = 0; i < p->f; i++)
        for (int64_t j = 0; j < p->e; j++)
            p->v[i * p->e + j] = exact ? 1 / (n * p->wa[i] * p->wb[j] + prior)
                                       : 1 / ((root_n * p->wa[i] + root) * (root_n * p->wb[j] + root));
}

double posterior_best_prior(const struct posterior *p, double n, double square)
{
    double low = log(1e-12), high = log(1e18);
    for (int turn = 0; turn < 100; turn++) {
        double at = 0.5 * (low + high), prior = exp(at), known = 0;
        for (int64_t i = 0; i < p->f; i++)
            for (int64_t j = 0; j < p->e; j++) {
                double precision = n * p->wa[i] * p->wb[j];
                known += precision / (precision + prior);
            }
        if (prior * square < known)
            low = at;
        else
            high = at;
    }
    return exp(0.5 * (low + high));
}

int posterior_variance(const struct posterior *p, int64_t k, const double *phi, double *out)
{
    double *g = mem_calloc((size_t)k, (size_t)(p->f + p->e) * sizeof *g);
    if (!g)
        return ERR_MEMORY;
    double *t = g + k * p->f;
    kernel_gemm_f64(false, true, k, p->f, p->f, 1, phi, p->f, p->qa, p->f, 0, g, p->f);
    for (int64_t i = 0; i < k * p->f; i++)
        g[i] *= g[i];
    kernel_gemm_f64(false, false, k, p->e, p->f, 1, g, p->f, p->v, p->e, 0, t, p->e);
    kernel_gemm_f64(false, false, k, p->e, p->e, 1, t, p->e, p->square, p->e, 0, out, p->e);
    mem_free(g);
    return 0;
}

int posterior_draw(const struct posterior *p, struct rng *r, double *out)
{
    double *z = mem_calloc((size_t)(p->e * p->f), 2 * sizeof *z);
    if (!z)
        return ERR_MEMORY;
    double *half = z + p->e * p->f;
    for (int64_t i = 0; i < p->f; i++)
        for (int64_t j = 0; j < p->e; j++)
            z[j * p->f + i] = rng_normal(r) * sqrt(p->v[i * p->e + j]);
    kernel_gemm_f64(true, false, p->e, p->f, p->e, 1, p->qb, p->e, z, p->f, 0, half, p->f);
    kernel_gemm_f64(false, false, p->e, p->f, p->f, 1, half, p->f, p->qa, p->f, 0, out, p->f);
    mem_free(z);
    return 0;
}
