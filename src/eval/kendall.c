/* Kendall's tau-b (Kendall 1945), and how likely as strong an order is by chance.
 *
 * With C pairs that both lists put in the same order, D in opposite orders, n1 and n2 pairs tied in each and
 * n0 = n (n - 1) / 2: tau = (C - D) / sqrt((n0 - n1)(n0 - n2)). Models to be ranked are few, so the p value is that of
 * permutations: the share of all orders of one list whose |C - D| is not smaller. Without ties the counts of inversions
 * are known in closed form (MacMahon 1915), for any n; with ties all n! orders are tried up to n = 9, and beyond it a
 * seeded sample is drawn, the list itself being one of it (Phipson and Smyth 2010). Rejected: the normal approximation,
 * which is poor for the four to ten candidates of a typical question. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_TIED = 9, EXACT_FREE = 100, DRAWS = 20000 };

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

/* C - D of a against b taken in the order at. */
static int64_t lead_of(const double *a, const double *b, const int64_t *at, int64_t n)
{
    int64_t s = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            s += sign(a[j] - a[i]) * sign(b[at[j]] - b[at[i]]);
    return s;
}

static int64_t ties_of(const double *a, int64_t n)
{
    int64_t ties = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            ties += a[i] == a[j];
    return ties;
}

/* P(|C - D| >= lead) over all orders of n different numbers: share[k] of the orders have k inversions. */
static int without_ties(int64_t n, int64_t lead, double *p)
{
    int64_t pairs = n * (n - 1) / 2, top = 0;
    double *share = mem_calloc((size_t)pairs + 1, 2 * sizeof *share), *next = share + pairs + 1;
    if (!share)
        return ERR_MEMORY;
    share[0] = 1;
    for (int64_t m = 2; m <= n; m++) { /* the m-th number comes before 0 .. m - 1 of the others */
        double sum = 0;
        for (int64_t k = 0; k <= top + m - 1; k++) {
            sum += k <= top ? share[k] : 0;
            sum -= k >= m && k - m <= top ? share[k - m] : 0;
            next[k] = fmax(0, sum) / (double)m;
        }
        top += m - 1;
        memcpy(share, next, (size_t)(top + 1) * sizeof *share);
    }
    *p = 0;
    for (int64_t k = 0; k <= top; k++) /* C - D = pairs - 2 k */
        if (llabs(pairs - 2 * k) >= lead)
            *p += share[k];
    *p = fmin(1, *p);
    mem_free(share);
    return 0;
}

/* The next order in the alphabet of orders; false behind the last. */
static bool next_order(int64_t *at, int64_t n)
{
    int64_t i = n - 2, j = n - 1;
    while (i >= 0 && at[i] > at[i + 1])
        i--;
    if (i < 0)
        return false;
    while (at[j] < at[i])
        j--;
    int64_t t = at[i];
    at[i] = at[j];
    at[j] = t;
    for (int64_t k = i + 1, l = n - 1; k < l; k++, l--) {
        t = at[k];
        at[k] = at[l];
        at[l] = t;
    }
    return true;
}

static int by_orders(const double *a, const double *b, int64_t n, int64_t lead, uint64_t seed, struct kendall *k)
{
    int64_t seen = 0, as_strong = 0, *at = mem_calloc((size_t)n, sizeof *at);
    int rc = at ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < n; i++)
        at[i] = i;
    k->exact = n <= EXACT_TIED;
    if (rc == 0 && k->exact) {
        do {
            seen++;
            as_strong += llabs(lead_of(a, b, at, n)) >= lead;
        } while (next_order(at, n));
    } else if (rc == 0) {
        seen = as_strong = 1;
        for (int64_t d = 0; d < DRAWS && rc == 0; d++) {
            struct rng r = rng_stream(seed, RNG_BOOTSTRAP, 1, (uint64_t)d);
            rng_shuffle(&r, at, n);
            seen++;
            as_strong += llabs(lead_of(a, b, at, n)) >= lead;
            rc = signal_check();
        }
    }
    mem_free(at);
    TRY(rc);
    k->p = (double)as_strong / (double)seen;
    return 0;
}

int eval_kendall(const double *a, const double *b, int64_t n, uint64_t seed, struct kendall *out)
{
    struct kendall k = {.n = n, .tau = (double)NAN, .p = (double)NAN};
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(a[i]) || !isfinite(b[i]))
            FAIL(ERR_NONFINITE, "rank correlation: entry %lld is %g and %g, expected finite numbers", (long long)i,
                 a[i], b[i]);
    int64_t pairs = n * (n - 1) / 2, tied_a = ties_of(a, n), tied_b = ties_of(b, n), *at = NULL;
    if (n < 2 || tied_a == pairs || tied_b == pairs) {
        *out = k; /* nothing is ordered */
        return 0;
    }
    at = mem_calloc((size_t)n, sizeof *at);
    if (!at)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        at[i] = i;
    int64_t lead = lead_of(a, b, at, n);
    mem_free(at);
    k.tau = (double)lead / sqrt((double)(pairs - tied_a) * (double)(pairs - tied_b));
    if (tied_a == 0 && tied_b == 0 && n <= EXACT_FREE) {
        k.exact = true;
        TRY(without_ties(n, llabs(lead), &k.p));
    } else {
        TRY(by_orders(a, b, n, llabs(lead), seed, &k));
    }
    *out = k;
    return 0;
}
