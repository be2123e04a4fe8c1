/* The map from a score to the probability of a hit (Platt 1999), and the combined score over all cheap features:
 * logistic regression (logistic.c) over features standardised on the rows of the fit; the penalty makes the optimum
 * unique even where a feature separates hits from misses. The penalty of the combined score is chosen by five-fold
 * cross-validation on the same validation rows, row i in fold i mod 5. Rejected: boosted trees and a small network (200
 * validation queries do not carry them). */
#include "eval/uncertainty.h"

#include <math.h>
#include <string.h>

enum { FOLDS = 5 };

static double log_loss(double z, bool y)
{
    return softplus(y ? -z : z);
}

double logit_odds(const struct logit *f, const double *x)
{
    double s = f->w[f->d];
    for (int64_t j = 0; j < f->d; j++)
        s += f->w[j] * ((x[j] - f->mean[j]) / f->sd[j]);
    return s;
}

bool logit_fit(struct logit *f, const double *x, const bool *y, const uint8_t *skip, int64_t n, int64_t d, double l2)
{
    double used = 0, hits = 0;
    BUG_ON(d < 1 || d > LOGISTIC_MAX);
    *f = (struct logit){.d = d, .l2 = l2};
    for (int64_t i = 0; i < n; i++)
        if (!skip || !skip[i]) {
            used++;
            hits += y[i];
            for (int64_t j = 0; j < d; j++)
                f->mean[j] += x[i * d + j];
        }
    if (hits < 1 || hits > used - 1)
        return false;
    for (int64_t j = 0; j < d; j++) {
        double square = 0;
        f->mean[j] /= used;
        for (int64_t i = 0; i < n; i++)
            if (!skip || !skip[i])
                square += (x[i * d + j] - f->mean[j]) * (x[i * d + j] - f->mean[j]);
        f->sd[j] = sqrt(square / used);
        if (!(f->sd[j] > 1e-12 * (1 + fabs(f->mean[j])))) /* a constant says nothing */
            f->sd[j] = INFINITY;
    }
    logistic_fit(&(struct logistic_rows){x, y, skip, n, (int)d, f->mean, f->sd}, l2, false, f->w);
    return true;
}

/* Out-of-fold log loss of one penalty; odds [n]. False: a fold has one class only. */
static bool cross_validate(const double *x, const bool *y, int64_t n, int64_t d, double l2, uint8_t *skip, double *odds,
                           double *loss)
{
    struct logit f;
    *loss = 0;
    for (int fold = 0; fold < FOLDS; fold++) {
        for (int64_t i = 0; i < n; i++)
            skip[i] = i % FOLDS == fold;
        if (!logit_fit(&f, x, y, skip, n, d, l2))
            return false;
        for (int64_t i = fold; i < n; i += FOLDS) {
            odds[i] = logit_odds(&f, x + i * d);
            *loss += log_loss(odds[i], y[i]);
        }
    }
    return true;
}

bool logit_fit_cv(struct logit *f, const double *x, const bool *y, int64_t n, int64_t d, double *odds)
{
    static const double grid[] = {1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3};
    double least = INFINITY, loss, l2 = 0;
    uint8_t *skip = mem_calloc((size_t)n + 1, 1);
    bool ok = skip != NULL;
    for (size_t k = 0; ok && k < ARRAY_LEN(grid); k++) {
        ok = cross_validate(x, y, n, d, grid[k], skip, odds, &loss);
        if (ok && loss < least - 1e-9) {
            least = loss;
            l2 = grid[k];
        }
    }
    ok = ok && cross_validate(x, y, n, d, l2, skip, odds, &loss) && logit_fit(f, x, y, NULL, n, d, l2);
    mem_free(skip);
    return ok;
}
