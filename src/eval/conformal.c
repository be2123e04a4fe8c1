/* Promises about the next query: answer or be unsure, and sets that hold the right one.
 *
 * Risk. Answer when the first hit's p is at least t. The error among answered queries shall be at most `risk`, with
 * probability `confidence` over the draw of the calibration queries. Learn then test (Angelopoulos, Bates, Candes,
 * Jordan and Lei 2021): a list of thresholds from strict to loose, fixed before the risk part is looked at (here:
 * quantiles of p on the fitting part); each tests "the error above t exceeds the risk" by the exact binomial tail,
 * P(Bin(n_t, risk) <= errors) <= 1 - confidence; the tests stop at the first that does not reject, and the last one
 * rejected is taken (fixed sequence testing, which spends the whole 1 - confidence on each). No assumption on the shape
 * of the error, only that queries are exchangeable. Where the list starts depends on the counts n, risk and confidence
 * alone: a test of fewer than ln(1 - confidence) / ln(1 - risk) queries can never reject. The bound of Clopper and
 * Pearson (1934) is reported beside it. Rejected: the empirical error at each threshold (it breaks the promise about
 * half the time, tests/eval/test_calibrator.c), a union bound over all thresholds (answers fewer).
 *
 * Coverage. Split conformal prediction (Vovk, Gammerman and Shafer 2005): with v_i the score of the best right answer
 * of calibration query i, the set {j : v_j >= the floor((n + 1)(1 - coverage))-th smallest v_i} holds a right answer of
 * an exchangeable next query with probability at least `coverage`. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double binomial_tail(int64_t k, int64_t n, double p)
{
    double sum = 0;
    if (k >= n || p <= 0)
        return 1;
    if (k < 0 || p >= 1)
        return 0;
    double all = lgamma((double)n + 1), yes = log(p), no = log1p(-p);
    for (int64_t i = k; i >= 0; i--) { /* from the likeliest end when k lies below the mean, as in every use here */
        double term =
            exp(all - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + (double)i * yes + (double)(n - i) * no);
        sum += term;
        if ((double)i < p * (double)n && term < sum * 1e-17)
            break;
    }
    return fmin(1, sum);
}

double clopper_pearson_upper(int64_t k, int64_t n, double miss)
{
    double low = 0, high = 1;
    if (n < 1 || k >= n)
        return 1;
    for (int i = 0; i < 60; i++) {
        double p = (low + high) / 2;
        if (binomial_tail(k, n, p) > miss)
            low = p;
        else
            high = p;
    }
    return high;
}

static int check_share(const char *what, double x)
{
    if (!(x > 0 && x < 1))
        FAIL(ERR_USAGE, "%s is %g, expected a number between 0 and 1", what, x);
    return 0;
}

int risk_threshold(const struct risk_sample *r, double risk, double confidence, struct risk_choice *out)
{
    struct risk_choice c = {.n = r->n, .threshold = INFINITY, .upper = 1};
    TRY(check_share("risk", risk));
    TRY(check_share("confidence", confidence));
    c.n_least = (int64_t)fmin(1e15, ceil(log(1 - confidence) / log1p(-risk)));
    /* Twice as many as the least lets the first test bear an error or two; the loosest threshold is always tried. */
    double share = 2 * (double)c.n_least / fmax(1, (double)r->n);
    int start = (int)fmin(floor(share * r->n_grid), r->n_grid - 1);
    for (int g = start; g < r->n_grid; g++) {
        int64_t n = 0, wrong = 0;
        for (int64_t i = 0; i < r->n; i++)
            if (r->score[i] >= r->grid[g]) {
                n++;
                wrong += !r->right[i];
            }
        if (n < 1 || binomial_tail(wrong, n, risk) > 1 - confidence)
            break;
        c.found = true;
        c.threshold = r->grid[g];
        c.n_answered = n;
        c.n_wrong = wrong;
        c.upper = clopper_pearson_upper(wrong, n, 1 - confidence);
    }
    *out = c;
    return 0;
}

static int order_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int risk_grid(const double *score, int64_t n, int n_grid, double *grid)
{
    double *v = mem_calloc((size_t)n + 1, sizeof *v);
    if (!v)
        return ERR_MEMORY;
    if (n > 0) /* mem_calloc gave one more, so an empty list is a list of one zero */
        memcpy(v, score, (size_t)n * sizeof *v);
    qsort(v, (size_t)n, sizeof *v, order_double);
    for (int g = 0; g < n_grid; g++) { /* the share (g + 1) / n_grid of the scores lies at or above */
        int64_t above = (int64_t)ceil((double)(g + 1) * (double)n / n_grid);
        grid[g] = g == n_grid - 1 || n < 1 ? 0 : v[n - (above < 1 ? 1 : above)];
    }
    mem_free(v);
    return 0;
}

int conformal_threshold(const double *score, int64_t n, double coverage, double *out)
{
    TRY(check_share("coverage", coverage));
    /* 1e-9: (n + 1)(1 - 0.9) of n = 9 is 1, not the 0.99999 that doubles make of it */
    int64_t k = (int64_t)floor(((double)n + 1) * (1 - coverage) + 1e-9);
    if (k < 1) {
        *out = -INFINITY;
        return 0;
    }
    k = k < n ? k : n; /* a coverage that rounds to nothing */
    double *v = mem_calloc((size_t)n + 1, sizeof *v);
    if (!v)
        return ERR_MEMORY;
    memcpy(v, score, (size_t)n * sizeof *v);
    qsort(v, (size_t)n, sizeof *v, order_double);
    *out = v[k - 1];
    mem_free(v);
    return 0;
}
