/* From a score to a probability: four maps, each fitted on pairs (score, match or not).
 *
 * platt: p = 1 / (1 + exp(-(a x + b))), Platt 1999, fitted by Newton's method with step halving and the targets
 *   (n+ + 1) / (n+ + 2), 1 / (n- + 2) in the place of 1 and 0 (Lin, Lin and Weng, Machine Learning 2007, section 2):
 *   they keep the fit finite when the classes part cleanly, or when there is one class only.
 * beta: p = 1 / (1 + exp(-(a ln s - b ln(1 - s) + c))), a, b >= 0, s = 1 / (1 + exp(-x)): Kull, Silva Filho and Flach,
 *   AISTATS 2017. A negative a or b is set to 0 and the rest is fitted again, as there.
 * temperature: p = 1 / (1 + exp(-x)). Its one parameter lies before it: x is the log odds of a softmax at the fitted
 *   temperature (calibrator_match.c).
 * isotonic: the non-decreasing step function of least squares, by pooling adjacent violators (Ayer et al. 1955). Equal
 *   scores are one point before pooling. Between two steps the line, outside the data the end steps' values: nothing is
 *   extrapolated. Steps are kept inside [1 / (n + 2), (n + 1) / (n + 2)], the law of succession for n pairs: a finite
 *   sample never says never.
 *
 * Rejected: histogram binning (its edges are arbitrary, and PAV chooses them), Gaussian processes (not worth their
 * size for a function of one variable), LBFGS for three parameters. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[N_CALIBRATORS] = {"isotonic", "platt", "beta", "temperature"};

const char *calibrator_name(enum calibrator_kind kind)
{
    return kind >= 0 && kind < N_CALIBRATORS ? names[kind] : NULL;
}

int calibrator_find(const char *name, enum calibrator_kind *kind)
{
    for (int i = 0; i < N_CALIBRATORS; i++)
        if (!strcmp(name, names[i])) {
            *kind = (enum calibrator_kind)i;
            return 0;
        }
    FAIL(ERR_USAGE, "calibration method \"%.40s\" is unknown, expected isotonic, platt, beta or temperature", name);
}

void calibrator_free(struct calibrator *c)
{
    mem_free(c->x);
    mem_free(c->y);
    *c = (struct calibrator){0};
}

double logistic(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* ---- logistic regression of few columns ---- */

enum { MAX_COLUMNS = LOGISTIC_MAX + 1, NEWTON_STEPS = 100 };

struct targets {
    double yes, no;
};

static struct targets soft_targets(const bool *match, int64_t n, bool smooth)
{
    double yes = 0;
    for (int64_t i = 0; i < n; i++)
        yes += match[i];
    double no = (double)n - yes;
    if (!smooth && yes > 0 && no > 0)
        return (struct targets){1, 0};
    return (struct targets){(yes + 1) / (yes + 2), 1 / (no + 2)};
}

static double predictor(const double *w, const double *z, int p)
{
    double x = w[p];
    for (int k = 0; k < p; k++)
        x += w[k] * z[k];
    return x;
}

/* Mean loss plus l2/2 |w|^2 (the constant w[p] is free); gradient and Hessian when asked. */
static double objective(const double *z, const bool *match, int64_t n, int p, struct targets t, double l2,
                        const double *w, double *gradient, double *hessian)
{
    double loss = 0, over = 1 / (double)n, row[MAX_COLUMNS];
    int q = p + 1;
    if (gradient) {
        memset(gradient, 0, (size_t)q * sizeof *gradient);
        memset(hessian, 0, (size_t)(q * q) * sizeof *hessian);
    }
    for (int64_t i = 0; i < n; i++) {
        double x = predictor(w, z + i * p, p), y = match[i] ? t.yes : t.no, s = logistic(x);
        loss += over * (softplus(x) - y * x);
        if (!gradient)
            continue;
        for (int k = 0; k < p; k++) /* p may be 0 and z NULL: a constant alone */
            row[k] = z[i * p + k];
        row[p] = 1;
        for (int k = 0; k < q; k++) {
            gradient[k] += over * (s - y) * row[k];
            for (int l = 0; l <= k; l++)
                hessian[k * q + l] += over * s * (1 - s) * row[k] * row[l];
        }
    }
    for (int k = 0; k < p; k++) {
        loss += l2 / 2 * w[k] * w[k];
        if (gradient) {
            gradient[k] += l2 * w[k];
            hessian[k * q + k] += l2;
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

void logistic_fit(const double *z, const bool *match, int64_t n, int p, double l2, bool smooth, double *w)
{
    struct targets t = soft_targets(match, n, smooth);
    double g[MAX_COLUMNS], h[MAX_COLUMNS * MAX_COLUMNS], next[MAX_COLUMNS];
    BUG_ON(p < 0 || p > LOGISTIC_MAX || n < 1);
    memset(w, 0, (size_t)(p + 1) * sizeof *w);
    for (int step = 0; step < NEWTON_STEPS; step++) {
        double slope = 0, size = 1, loss = objective(z, match, n, p, t, l2, w, g, h), after = INFINITY;
        double gradient[MAX_COLUMNS];
        memcpy(gradient, g, sizeof gradient);
        solve(h, g, p + 1);
        for (int k = 0; k <= p; k++)
            slope += gradient[k] * g[k];
        if (!(slope > 1e-20))
            return;
        for (; size > 1e-10; size /= 2) {
            for (int k = 0; k <= p; k++)
                next[k] = w[k] - size * g[k];
            after = objective(z, match, n, p, t, l2, next, NULL, NULL);
            if (after <= loss - 1e-4 * size * slope)
                break;
        }
        if (!(after < loss))
            return;
        memcpy(w, next, (size_t)(p + 1) * sizeof *w);
    }
}

/* ---- the maps ---- */

/* Far within this every map has reached 0 or 1; it keeps products finite. */
static double bounded(double x)
{
    return fmin(1e6, fmax(-1e6, x));
}

static int fit_platt(const double *x, const bool *match, int64_t n, const struct calibrator_opt *opt,
                     struct calibrator *c)
{
    double w[2], mean = 0, scale = 0;
    double *z = mem_calloc((size_t)n, sizeof *z);
    if (!z)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        mean += bounded(x[i]) / (double)n;
    for (int64_t i = 0; i < n; i++)
        scale += (bounded(x[i]) - mean) * (bounded(x[i]) - mean) / (double)n;
    scale = scale > 1e-24 ? sqrt(scale) : 1;
    for (int64_t i = 0; i < n; i++)
        z[i] = (bounded(x[i]) - mean) / scale;
    logistic_fit(z, match, n, 1, opt->l2, opt->smooth, w);
    c->a = w[0] / scale;
    c->b = w[1] - w[0] * mean / scale;
    mem_free(z);
    return 0;
}

static int fit_beta(const double *x, const bool *match, int64_t n, const struct calibrator_opt *opt,
                    struct calibrator *c)
{
    double w[3];
    double *z = mem_calloc((size_t)n, 2 * sizeof *z);
    if (!z)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        z[2 * i] = -softplus(-bounded(x[i]));
        z[2 * i + 1] = softplus(bounded(x[i]));
    }
    logistic_fit(z, match, n, 2, opt->l2, opt->smooth, w);
    c->a = w[0];
    c->b = w[1];
    c->c = w[2];
    if (w[0] < 0 || w[1] < 0) {
        int keep = w[0] < 0; /* the column that stays */
        for (int64_t i = 0; i < n; i++)
            z[i] = z[2 * i + keep];
        logistic_fit(z, match, n, 1, opt->l2, opt->smooth, w);
        c->a = keep ? 0 : fmax(0, w[0]);
        c->b = keep ? fmax(0, w[0]) : 0;
        c->c = w[1];
        if (w[0] < 0) { /* neither rises: the share alone */
            logistic_fit(NULL, match, n, 0, opt->l2, opt->smooth, w);
            c->c = w[0];
        }
    }
    mem_free(z);
    return 0;
}

struct step {
    double first, last, sum, n;
};

static int order_step(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static int fit_isotonic(const double *x, const bool *match, int64_t n, struct calibrator *c)
{
    double least = 1 / ((double)n + 2);
    int64_t m = 0;
    struct step *s = mem_calloc((size_t)n, sizeof *s);
    c->x = mem_calloc((size_t)n * 2, sizeof *c->x);
    c->y = mem_calloc((size_t)n * 2, sizeof *c->y);
    if (!s || !c->x || !c->y) {
        mem_free(s);
        return ERR_MEMORY;
    }
    for (int64_t i = 0; i < n; i++)
        s[i] = (struct step){x[i], x[i], match[i], 1};
    qsort(s, (size_t)n, sizeof *s, order_step);
    for (int64_t i = 0; i < n; i++) { /* equal scores are one point */
        if (m > 0 && s[m - 1].last >= s[i].first) {
            s[m - 1].sum += s[i].sum;
            s[m - 1].n += 1;
        } else {
            s[m++] = s[i];
        }
    }
    int64_t top = 0;
    for (int64_t i = 0; i < m; i++) {
        s[top++] = s[i];
        while (top > 1 && s[top - 2].sum * s[top - 1].n >= s[top - 1].sum * s[top - 2].n) {
            s[top - 2].last = s[top - 1].last;
            s[top - 2].sum += s[top - 1].sum;
            s[top - 2].n += s[top - 1].n;
            top--;
        }
    }
    for (int64_t i = 0; i < top; i++) {
        double y = fmin(1 - least, fmax(least, s[i].sum / s[i].n));
        c->x[c->n] = s[i].first;
        c->y[c->n++] = y;
        if (s[i].last > s[i].first) {
            c->x[c->n] = s[i].last;
            c->y[c->n++] = y;
        }
    }
    mem_free(s);
    return 0;
}

int calibrator_fit(enum calibrator_kind kind, const double *x, const bool *match, int64_t n,
                   const struct calibrator_opt *opt, struct calibrator *out)
{
    const struct calibrator_opt usual = {.l2 = 1e-6, .smooth = true};
    struct calibrator c = {.kind = kind, .a = 1};
    int rc = 0;
    opt = opt ? opt : &usual;
    if (n < 1)
        FAIL(ERR_DATA, "calibration: no pairs to fit on");
    if (!(opt->l2 >= 0) || !isfinite(opt->l2))
        FAIL(ERR_USAGE, "calibration: l2 is %g, expected 0 or more", opt->l2);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            FAIL(ERR_NONFINITE, "calibration: score %lld of %lld is not finite", (long long)i, (long long)n);
    if (kind == CALIBRATE_PLATT)
        rc = fit_platt(x, match, n, opt, &c);
    else if (kind == CALIBRATE_BETA)
        rc = fit_beta(x, match, n, opt, &c);
    else if (kind == CALIBRATE_ISOTONIC)
        rc = fit_isotonic(x, match, n, &c);
    if (rc < 0) {
        calibrator_free(&c);
        return rc;
    }
    *out = c;
    return 0;
}

static double on_steps(const struct calibrator *c, double x)
{
    int64_t low = 0, high = c->n - 1;
    if (c->n < 1)
        return (double)NAN;
    if (x <= c->x[0])
        return c->y[0];
    if (x >= c->x[high])
        return c->y[high];
    while (high - low > 1) {
        int64_t mid = low + (high - low) / 2;
        if (c->x[mid] <= x)
            low = mid;
        else
            high = mid;
    }
    return c->y[low] + (x - c->x[low]) / (c->x[high] - c->x[low]) * (c->y[high] - c->y[low]);
}

double calibrator_apply(const struct calibrator *c, double x)
{
    if (isnan(x))
        return x;
    switch (c->kind) {
    case CALIBRATE_PLATT:
        return logistic(c->a * bounded(x) + c->b);
    case CALIBRATE_BETA:
        return logistic(-c->a * softplus(-bounded(x)) + c->b * softplus(bounded(x)) + c->c);
    case CALIBRATE_ISOTONIC:
        return on_steps(c, x);
    default:
        return logistic(x);
    }
}
