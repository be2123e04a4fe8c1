/* The bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).
 *
 * A resample is a count for every row (how often it was drawn), so a statistic that is a sum runs through memory in
 * order and a hundred thousand queries times a thousand resamples take seconds. Resample b of a seed is its own stream
 * of random numbers: intervals repeat exactly. Percentiles interpolate linearly. Rejected: BCa, whose acceleration
 * needs a jackknife of every statistic and moves these intervals by less than their own Monte Carlo error at 1000
 * resamples. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MISSING ((double)NAN)

int64_t bootstrap_resamples(const struct eval_opt *opt)
{
    int64_t n = opt ? opt->bootstrap : 0;
    return n == 0 ? 1000 : n < 0 ? 0 : n;
}

void bootstrap_counts(struct rng *r, int64_t n, uint32_t *counts)
{
    memset(counts, 0, (size_t)n * sizeof *counts);
    if (n >= INT32_MAX) {
        for (int64_t i = 0; i < n; i++)
            counts[rng_below(r, (uint64_t)n)]++;
        return;
    }
    for (int64_t i = 0; i < n; i++) /* multiply and shift: off uniform by n / 2^32, and without a division */
        counts[((uint64_t)rng_u32(r) * (uint64_t)n) >> 32]++;
}

static int order_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *v, int64_t n, double p)
{
    double at = p * (double)(n - 1);
    int64_t i = (int64_t)at;
    return i + 1 < n ? v[i] + (at - (double)i) * (v[i + 1] - v[i]) : v[n - 1];
}

struct interval bootstrap_interval(double value, double *v, int64_t n)
{
    struct interval out = {value, MISSING, MISSING};
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(v[i]))
            v[m++] = v[i];
    if (m == 0 || !isfinite(value))
        return out;
    qsort(v, (size_t)m, sizeof *v, order_double);
    out.low = percentile(v, m, 0.025);
    out.high = percentile(v, m, 0.975);
    return out;
}

void bootstrap_widen_share(struct interval *i, int64_t n)
{
    double end = n > 0 ? pow(0.025, 1.0 / (double)n) : MISSING;
    if (i->value >= 1 && i->low >= 1)
        i->low = end;
    if (i->value <= 0 && i->high <= 0)
        i->high = 1 - end;
}

struct interval bootstrap_mean(const double *values, int64_t n, int64_t resamples, uint64_t seed)
{
    struct interval out = {MISSING, MISSING, MISSING};
    double sum = 0;
    int64_t m = 0;
    if (n < 1)
        return out;
    double *kept = mem_calloc((size_t)n, sizeof *kept), *v = mem_calloc((size_t)resamples + 1, sizeof *v);
    uint32_t *counts = mem_calloc((size_t)n, sizeof *counts);
    if (!kept || !v || !counts)
        goto out;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(values[i])) {
            kept[m++] = values[i];
            sum += values[i];
        }
    if (m == 0)
        goto out;
    for (int64_t b = 0; b < resamples; b++) {
        struct rng r = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)b);
        double s = 0;
        if (signal_caught())
            goto out;
        bootstrap_counts(&r, m, counts);
        for (int64_t i = 0; i < m; i++)
            s += (double)counts[i] * kept[i];
        v[b] = s / (double)m;
    }
    out = bootstrap_interval(sum / (double)m, v, resamples);
out:
    mem_free(kept);
    mem_free(v);
    mem_free(counts);
    return out;
}

struct interval bootstrap_stat(double (*stat)(void *ctx, const int64_t *index, int64_t n), void *ctx, int64_t n,
                               int64_t resamples, uint64_t seed)
{
    struct interval out = {MISSING, MISSING, MISSING};
    if (n < 1)
        return out;
    int64_t *index = mem_calloc((size_t)n, sizeof *index);
    double *v = mem_calloc((size_t)resamples + 1, sizeof *v);
    if (!index || !v)
        goto out;
    for (int64_t i = 0; i < n; i++)
        index[i] = i;
    double value = stat(ctx, index, n);
    for (int64_t b = 0; b < resamples; b++) {
        struct rng r = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)b);
        if (signal_caught())
            goto out;
        for (int64_t i = 0; i < n; i++)
            index[i] = (int64_t)rng_below(&r, (uint64_t)n);
        v[b] = stat(ctx, index, n);
    }
    out = bootstrap_interval(value, v, resamples);
out:
    mem_free(index);
    mem_free(v);
    return out;
}

struct interval student_interval(const double *x, int64_t n)
{
    /* 97.5 % points of Student's t for 1 to 30 degrees of freedom; above, Cornish and Fisher's series is exact to 1e-4
     */
    static const double table[] = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
                                   2.2010,  2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
                                   2.0796,  2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
    const double z = 1.959964;
    double mean = 0, square = 0;
    if (n < 1)
        return (struct interval){NAN, NAN, NAN};
    for (int64_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    if (n < 2)
        return (struct interval){mean, NAN, NAN};
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean) / (double)(n - 1);
    const double v = (double)(n - 1);
    const double t = n - 1 <= (int64_t)ARRAY_LEN(table)
                         ? table[n - 2]
                         : z + (z * z * z + z) / (4 * v) + (5 * pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * v * v);
    const double half = t * sqrt(square / (double)n);
    return (struct interval){mean, mean - half, mean + half};
}
