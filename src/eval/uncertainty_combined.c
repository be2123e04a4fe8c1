/* Logistic regression in few dimensions: the map from a score to the probability of a hit (Platt 1999), and the
 * combined score over all cheap features.
 *
 * Features are standardised on the rows of the fit; loss = mean log loss + l2 |w|^2 / 2, the offset free. Newton's
 * method: with at most 32 features the Hessian is tiny and ten steps reach rounding; the penalty makes the optimum
 * unique even where a feature separates hits from misses. The penalty of the combined score is chosen by five-fold
 * cross-validation on the same validation rows, row i in fold i mod 5. Rejected: boosted trees and a small network (200
 * validation queries do not carry them), L-BFGS (needless at this size). */
#include "eval/uncertainty.h"

#include <math.h>
#include <string.h>

enum { STEPS = 60, FOLDS = 5, WIDE = LOGIT_MAX + 1 };

static double log_loss(double z, bool y)
{
    return softplus(y ? -z : z);
}

static void row_of(const struct logit *f, const double *x, double *z)
{
    for (int64_t j = 0; j < f->d; j++)
        z[j] = (x[j] - f->mean[j]) / f->sd[j];
    z[f->d] = 1;
}

double logit_odds(const struct logit *f, const double *x)
{
    double z[WIDE], s = 0;
    row_of(f, x, z);
    for (int64_t j = 0; j <= f->d; j++)
        s += f->w[j] * z[j];
    return s;
}

static double objective(const struct logit *f, const double *x, const bool *y, const uint8_t *skip, int64_t n)
{
    double sum = 0, used = 0, penalty = 0;
    for (int64_t i = 0; i < n; i++)
        if (!skip || !skip[i]) {
            sum += log_loss(logit_odds(f, x + i * f->d), y[i]);
            used++;
        }
    for (int64_t j = 0; j < f->d; j++)
        penalty += f->w[j] * f->w[j];
    return sum / used + f->l2 * penalty / 2;
}

/* Solves h [m,m] step = g by elimination with a floor on the pivots; h is positive semi-definite. */
static void solve(double h[WIDE][WIDE], double *g, int64_t m)
{
    for (int64_t k = 0; k < m; k++) {
        double pivot = fmax(h[k][k], 1e-12);
        for (int64_t i = k + 1; i < m; i++) {
            double r = h[i][k] / pivot;
            for (int64_t j = k; j < m; j++)
                h[i][j] -= r * h[k][j];
            g[i] -= r * g[k];
        }
        h[k][k] = pivot;
    }
    for (int64_t k = m - 1; k >= 0; k--) {
        for (int64_t j = k + 1; j < m; j++)
            g[k] -= h[k][j] * g[j];
        g[k] /= h[k][k];
    }
}

static void newton_step(struct logit *f, const double *x, const bool *y, const uint8_t *skip, int64_t n, double *step)
{
    double h[WIDE][WIDE], z[WIDE], used = 0;
    int64_t m = f->d + 1;
    memset(h, 0, sizeof h);
    memset(step, 0, WIDE * sizeof *step);
    for (int64_t i = 0; i < n; i++) {
        if (skip && skip[i])
            continue;
        double p = logistic(logit_odds(f, x + i * f->d)), w = p * (1 - p);
        row_of(f, x + i * f->d, z);
        used++;
        for (int64_t j = 0; j < m; j++) {
            step[j] += (p - y[i]) * z[j];
            for (int64_t k = 0; k < m; k++)
                h[j][k] += w * z[j] * z[k];
        }
    }
    for (int64_t j = 0; j < m; j++) {
        bool free = j == f->d;
        step[j] = step[j] / used + (free ? 0 : f->l2 * f->w[j]);
        for (int64_t k = 0; k < m; k++)
            h[j][k] /= used;
        h[j][j] += free ? 1e-9 : f->l2;
    }
    solve(h, step, m);
}

bool logit_fit(struct logit *f, const double *x, const bool *y, const uint8_t *skip, int64_t n, int64_t d, double l2)
{
    double step[WIDE], used = 0, hits = 0;
    BUG_ON(d < 1 || d > LOGIT_MAX);
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
    f->w[d] = log(hits / (used - hits));
    double best = objective(f, x, y, skip, n);
    for (int s = 0; s < STEPS; s++) {
        struct logit next = *f;
        double share = 1, value = 0;
        newton_step(f, x, y, skip, n, step);
        for (int half = 0; half < 30; half++, share /= 2) {
            for (int64_t j = 0; j <= d; j++)
                next.w[j] = f->w[j] - share * step[j];
            value = objective(&next, x, y, skip, n);
            if (value <= best)
                break;
        }
        if (!(value < best - 1e-13))
            break;
        best = value;
        *f = next;
    }
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
