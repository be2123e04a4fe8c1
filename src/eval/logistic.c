/* Logistic regression of few columns, for the maps from a score to a probability (calibrator.c), for p(match) out of
 * several scores (calibrator_match.c) and for the combined score of doubt (uncertainty_combined.c).
 *
 * Loss: mean log loss + l2 |w|^2 / 2, the constant free. Newton's method with step halving; with at most 32 columns the
 * Hessian is tiny and ten steps reach rounding. The targets may be those of Lin, Lin and Weng (Machine Learning 2007,
 * section 2), (n+ + 1) / (n+ + 2) and 1 / (n- + 2) in the place of 1 and 0: they keep the fit finite when the classes
 * part cleanly, or when there is one class only. Rejected: L-BFGS (needless at this size). */
#include "eval/eval_private.h"

#include <math.h>
#include <string.h>

enum { WIDE = LOGISTIC_MAX + 1, STEPS = 100 };

struct job {
    const struct logistic_rows *r;
    double l2, yes, no, n; /* the targets; rows that count */
};

double logistic(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static bool counts(const struct logistic_rows *r, int64_t i)
{
    return !r->skip || !r->skip[i];
}

/* z [p+1]: row i as the regression sees it; p may be 0 and x NULL: a constant alone. */
static void row_of(const struct logistic_rows *r, int64_t i, double *z)
{
    for (int k = 0; k < r->p; k++)
        z[k] = r->mean ? (r->x[i * r->p + k] - r->mean[k]) / r->sd[k] : r->x[i * r->p + k];
    z[r->p] = 1;
}

static double predict(const double *w, const double *z, int p)
{
    double x = w[p];
    for (int k = 0; k < p; k++)
        x += w[k] * z[k];
    return x;
}

/* The loss; gradient and (the lower half of the) Hessian when asked. */
static double objective(const struct job *j, const double *w, double *gradient, double *hessian)
{
    const struct logistic_rows *r = j->r;
    double loss = 0, over = 1 / j->n, row[WIDE];
    int p = r->p, q = p + 1;
    if (gradient) {
        memset(gradient, 0, (size_t)q * sizeof *gradient);
        memset(hessian, 0, (size_t)(q * q) * sizeof *hessian);
    }
    for (int64_t i = 0; i < r->n; i++) {
        if (!counts(r, i))
            continue;
        row_of(r, i, row);
        double x = predict(w, row, p), y = r->y[i] ? j->yes : j->no, s = logistic(x);
        loss += over * (softplus(x) - y * x);
        for (int k = 0; gradient && k < q; k++) {
            gradient[k] += over * (s - y) * row[k];
            for (int l = 0; l <= k; l++)
                hessian[k * q + l] += over * s * (1 - s) * row[k] * row[l];
        }
    }
    for (int k = 0; k < p; k++) {
        loss += j->l2 / 2 * w[k] * w[k];
        if (gradient) {
            gradient[k] += j->l2 * w[k];
            hessian[k * q + k] += j->l2;
        }
    }
    return loss;
}

/* Solves H x = g in place, H [q,q] by its lower half; a tiny ridge keeps constant columns harmless. */
static void solve(double *h, double *g, int q)
{
    for (int k = 0; k < q; k++)
        h[k * q + k] += 1e-12;
    for (int k = 0; k < q; k++) {
        for (int l = 0; l <= k; l++) {
            double s = h[k * q + l];
            for (int m = 0; m < l; m++)
                s -= h[k * q + m] * h[l * q + m];
            h[k * q + l] = k == l ? sqrt(fmax(s, 1e-12)) : s / h[l * q + l];
        }
    }
    for (int k = 0; k < q; k++) {
        for (int m = 0; m < k; m++)
            g[k] -= h[k * q + m] * g[m];
        g[k] /= h[k * q + k];
    }
    for (int k = q - 1; k >= 0; k--) {
        for (int m = k + 1; m < q; m++)
            g[k] -= h[m * q + k] * g[m];
        g[k] /= h[k * q + k];
    }
}

static struct job open_job(const struct logistic_rows *r, double l2, bool smooth)
{
    struct job j = {.r = r, .l2 = l2, .yes = 1, .no = 0};
    double yes = 0;
    for (int64_t i = 0; i < r->n; i++)
        if (counts(r, i)) {
            j.n++;
            yes += r->y[i];
        }
    if (smooth || yes == 0 || yes == j.n) {
        j.yes = (yes + 1) / (yes + 2);
        j.no = 1 / (j.n - yes + 2);
    }
    return j;
}

void logistic_fit(const struct logistic_rows *r, double l2, bool smooth, double *w)
{
    const struct job j = open_job(r, l2, smooth);
    double g[WIDE], h[WIDE * WIDE], gradient[WIDE], next[WIDE];
    int p = r->p;
    BUG_ON(p < 0 || p > LOGISTIC_MAX || j.n < 1);
    memset(w, 0, (size_t)(p + 1) * sizeof *w);
    for (int step = 0; step < STEPS; step++) {
        double slope = 0, size = 1, loss = objective(&j, w, g, h), after = INFINITY;
        memcpy(gradient, g, (size_t)(p + 1) * sizeof *g);
        solve(h, g, p + 1);
        for (int k = 0; k <= p; k++)
            slope += gradient[k] * g[k];
        if (!(slope > 1e-20))
            return;
        for (; size > 1e-10; size /= 2) {
            for (int k = 0; k <= p; k++)
                next[k] = w[k] - size * g[k];
            after = objective(&j, next, NULL, NULL);
            if (after <= loss - 1e-4 * size * slope)
                break;
        }
        if (!(after < loss))
            return;
        memcpy(w, next, (size_t)(p + 1) * sizeof *w);
    }
}
