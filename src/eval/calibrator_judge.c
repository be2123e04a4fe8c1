/* How well do probabilities keep their word? Judged on pairs of queries that no fit has seen.
 *
 * Expected calibration error over 15 bins of equal width and 15 of equal mass, Brier score, mean negative log
 * likelihood. A query brings several pairs, which are right or wrong together, so the bootstrap draws queries and takes
 * all pairs of each; the calibration errors' intervals are made as m_calibration.c says. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_BINS = 15 };

struct keyed {
    double p;
    int64_t i;
};

static int order_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

struct bench {
    struct ece_draws width, mass;
    double *brier, *nll, *share;      /* [n] of each pair; share: 1 if right */
    double *draw_b, *draw_n, *draw_s; /* [resamples] */
    uint32_t *by_query, *by_pair;
    int64_t *order;
    struct keyed *keyed;
};

static void bench_close(struct bench *b)
{
    ece_draws_close(&b->width);
    ece_draws_close(&b->mass);
    mem_free(b->brier);
    mem_free(b->draw_b);
    mem_free(b->by_query);
    mem_free(b->by_pair);
    mem_free(b->order);
    mem_free(b->keyed);
}

static int bench_open(struct bench *b, const double *p, const bool *match, int64_t n, int64_t n_queries,
                      int64_t resamples)
{
    b->brier = mem_calloc((size_t)n * 3 + 1, sizeof *b->brier);
    b->draw_b = mem_calloc((size_t)resamples * 3 + 1, sizeof *b->draw_b);
    b->by_query = mem_calloc((size_t)n_queries + 1, sizeof *b->by_query);
    b->by_pair = mem_calloc((size_t)n + 1, sizeof *b->by_pair);
    b->order = mem_calloc((size_t)n + 1, sizeof *b->order);
    b->keyed = mem_calloc((size_t)n + 1, sizeof *b->keyed);
    if (!b->brier || !b->draw_b || !b->by_query || !b->by_pair || !b->order || !b->keyed)
        return ERR_MEMORY;
    b->nll = b->brier + n;
    b->share = b->nll + n;
    b->draw_n = b->draw_b + resamples;
    b->draw_s = b->draw_n + resamples;
    for (int64_t i = 0; i < n; i++) {
        double y = match[i], claimed = fmin(1 - 1e-12, fmax(1e-12, p[i]));
        b->brier[i] = (p[i] - y) * (p[i] - y);
        b->nll[i] = match[i] ? -log(claimed) : -log1p(-claimed);
        b->share[i] = y;
        b->keyed[i] = (struct keyed){p[i], i};
    }
    qsort(b->keyed, (size_t)n, sizeof *b->keyed, order_keyed);
    for (int64_t i = 0; i < n; i++)
        b->order[i] = b->keyed[i].i;
    TRY(ece_draws_open(&b->width, p, match, n, N_BINS, resamples));
    return ece_draws_open(&b->mass, p, match, n, N_BINS, resamples);
}

static double mean_of(const double *v, const uint32_t *counts, int64_t n)
{
    double sum = 0, weight = 0;
    for (int64_t i = 0; i < n; i++) {
        double w = counts ? (double)counts[i] : 1;
        sum += w * v[i];
        weight += w;
    }
    return sum / weight;
}

int match_judge(const double *p, const bool *match, const int64_t *owner, int64_t n, int64_t n_queries,
                int64_t resamples, uint64_t seed, struct match_report *out)
{
    const struct interval none = {(double)NAN, (double)NAN, (double)NAN};
    struct match_report r = {.n_queries = n_queries, .n_pairs = n};
    struct bench b = {0};
    resamples = resamples < 0 ? 0 : resamples;
    r.ece = r.ece_equal_mass = r.brier = r.nll = r.share = none;
    for (int k = 0; k < N_BINS; k++)
        r.width[k] = r.mass[k] = (struct calibration_bin){0, (double)NAN, (double)NAN};
    if (n < 1) {
        *out = r;
        return 0;
    }
    int rc = bench_open(&b, p, match, n, n_queries, resamples);
    if (rc < 0)
        goto out;
    for (int64_t i = 0; i < n; i++)
        r.n_match += match[i];
    double width = ece_equal_width(p, match, n, N_BINS, r.width, b.width.bin_of),
           mass = ece_equal_mass(p, match, b.order, n, N_BINS, r.mass, b.mass.bin_of);
    for (int64_t k = 0; k < resamples; k++) {
        rc = signal_check();
        if (rc < 0)
            goto out;
        struct rng g = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)k);
        bootstrap_counts(&g, n_queries, b.by_query);
        for (int64_t i = 0; i < n; i++)
            b.by_pair[i] = b.by_query[owner[i]];
        ece_draws_add(&b.width, b.by_pair);
        ece_draws_add(&b.mass, b.by_pair);
        b.draw_b[k] = mean_of(b.brier, b.by_pair, n);
        b.draw_n[k] = mean_of(b.nll, b.by_pair, n);
        b.draw_s[k] = mean_of(b.share, b.by_pair, n);
    }
    r.ece = ece_interval(&b.width, width);
    r.ece_equal_mass = ece_interval(&b.mass, mass);
    r.brier = bootstrap_interval(mean_of(b.brier, NULL, n), b.draw_b, resamples);
    r.nll = bootstrap_interval(mean_of(b.nll, NULL, n), b.draw_n, resamples);
    r.share = bootstrap_interval((double)r.n_match / (double)n, b.draw_s, resamples);
    *out = r;
out:
    bench_close(&b);
    return rc;
}
