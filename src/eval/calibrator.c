/* From a score to a probability: four maps, each fitted on pairs (score, match or not).
 *
 * platt: p = 1 / (1 + exp(-(a x + b))), Platt 1999, by logistic regression (logistic.c).
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
    logistic_fit(&(struct logistic_rows){.x = z, .y = match, .n = n, .p = 1}, opt->l2, opt->smooth, w);
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
    struct logistic_rows r = {.x = z, .y = match, .n = n, .p = 2};
    logistic_fit(&r, opt->l2, opt->smooth, w);
    c->a = w[0];
    c->b = w[1];
    c->c = w[2];
    if (w[0] < 0 || w[1] < 0) {
        int keep = w[0] < 0; /* the column that stays */
        for (int64_t i = 0; i < n; i++)
            z[i] = z[2 * i + keep];
        r.p = 1;
        logistic_fit(&r, opt->l2, opt->smooth, w);
        c->a = keep ? 0 : fmax(0, w[0]);
        c->b = keep ? fmax(0, w[0]) : 0;
        c->c = w[1];
        if (w[0] < 0) { /* neither rises: the share alone */
            r.p = 0;
            logistic_fit(&r, opt->l2, opt->smooth, w);
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
