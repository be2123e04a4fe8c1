/* Retrieval: for every query, where does its best positive stand in the gallery, and how sure was the softmax?
 *
 * Positives are explicit and many to many. The rank of a query is the number of NON-positive items better than its best
 * positive, so a second positive never pushes the first one down (the rule of the COCO and Flickr protocols with five
 * captions). Equal scores: differences up to 1e-9 are ties; the strict rank counts none of them against the query, the
 * pessimistic rank all, the mid rank half.
 *
 * The full matrix never exists: blocks of queries times the gallery. Galleries up to EXACT_ROWS are scored in double.
 * Larger ones in fp32, error about 1e-7; every positive, and every other item within 1e-5 of the best positive, is
 * scored again in double, so ranks are those of double arithmetic at the price of fp32.
 *
 * Several positives in calibration: they count as ONE outcome with their total probability P. NLL = -ln P,
 * Brier = (1 - P)^2 + sum over the others of p_j^2: both are proper scores of "one of the right ones", and both are the
 * usual ones when there is a single positive. Rejected: uniform targets over the positives, which punish a model for
 * preferring one right answer to another. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR 1e-5
#define MISSING ((double)NAN)

enum {
    BLOCK_GALLERY = 1024,
    MAX_BLOCK_QUERIES = 128,
    BLOCK_SCORES = 4 << 20, /* doubles in one block of queries */
    FIT_SCORES = 8 << 20,   /* scores kept for the temperature fit */
};

static const int64_t recall_at[3] = {1, 5, 10};

struct pass {
    struct retrieval *out;
    struct rows query, gallery;
    int64_t *first, *positive; /* positives of query row i: positive[first[i]] … positive[first[i + 1]] */
    bool exact, *correct;
    uint8_t *mark;  /* [gallery] 1 for the current query's positives */
    double *scores; /* [block, gallery] */
    int64_t block;
    struct scorer scorer;
    struct fit_rows fit;
    uint8_t *fit_pick; /* [n_queries] this query is kept for the fit */
};

static void pass_close(struct pass *p)
{
    rows_close(&p->query);
    rows_close(&p->gallery);
    scorer_close(&p->scorer);
    mem_free(p->first);
    mem_free(p->positive);
    mem_free(p->correct);
    mem_free(p->mark);
    mem_free(p->scores);
    mem_free(p->fit.gap);
    mem_free(p->fit.hit);
    mem_free(p->fit.correct);
    mem_free(p->fit_pick);
}

void retrieval_free(struct retrieval *r)
{
    mem_free(r->queries);
    mem_free(r->rank);
    mem_free(r->rank_pessimistic);
    mem_free(r->confidence);
    mem_free(r->query_nll);
    mem_free(r->query_brier);
    memset(r, 0, sizeof *r);
}

/* Positives by query row, ascending, and the list of queries that have one. */
static int index_positives(struct pass *p, const struct set *s, int direction)
{
    int64_t n = direction ? s->text.n : s->image.n;
    p->first = mem_calloc((size_t)n + 2, sizeof *p->first);
    p->positive = mem_calloc((size_t)s->n_pairs + 1, sizeof *p->positive);
    p->out->queries = mem_calloc((size_t)n + 1, sizeof *p->out->queries);
    if (!p->first || !p->positive || !p->out->queries)
        return ERR_MEMORY;
    int64_t *at = p->first + 1; /* filled as cursors, ends as the next start */
    for (int64_t i = 0; i < s->n_pairs; i++)
        at[(direction ? s->pairs[i].text : s->pairs[i].image) + 1]++;
    for (int64_t i = 1; i <= n; i++)
        at[i] += at[i - 1];
    for (int64_t i = 0; i < s->n_pairs; i++) {
        int64_t q = direction ? s->pairs[i].text : s->pairs[i].image;
        p->positive[at[q]++] = direction ? s->pairs[i].image : s->pairs[i].text;
    }
    for (int64_t i = 0; i < n; i++)
        if (p->first[i + 1] > p->first[i])
            p->out->queries[p->out->n_queries++] = i;
    p->out->n_without = n - p->out->n_queries;
    return 0;
}

/* Which queries feed the temperature fit: all, or a seeded sample of as many as the buffer holds. */
static int pick_fit(struct pass *p, uint64_t seed)
{
    int64_t n = p->out->n_queries, m = p->gallery.n, room = m ? FIT_SCORES / m : 0;
    room = room < 1 ? 1 : room > n ? n : room;
    p->fit = (struct fit_rows){.n = room, .m = m};
    p->fit.gap = mem_calloc((size_t)(room * m) + 1, sizeof *p->fit.gap);
    p->fit.hit = mem_calloc((size_t)(room * m) + 1, sizeof *p->fit.hit);
    p->fit.correct = mem_calloc((size_t)room + 1, sizeof *p->fit.correct);
    p->fit_pick = mem_calloc((size_t)n + 1, sizeof *p->fit_pick);
    if (!p->fit.gap || !p->fit.hit || !p->fit.correct || !p->fit_pick)
        return ERR_MEMORY;
    struct rng r = rng_stream(seed, RNG_SAMPLE, 0, 0);
    int64_t wanted = room;
    for (int64_t i = 0; i < n; i++) /* selection sampling: each subset equally likely, in order */
        if ((int64_t)rng_below(&r, (uint64_t)(n - i)) < wanted) {
            p->fit_pick[i] = 1;
            wanted--;
        }
    return 0;
}

static int pass_open(struct pass *p, const struct set *s, int direction, uint64_t seed)
{
    struct retrieval *out = p->out;
    const struct set_side *q = direction ? &s->text : &s->image, *g = direction ? &s->image : &s->text;
    TRY(rows_open(&p->query, q->x, q->n, s->width, direction ? "text" : "image"));
    TRY(rows_open(&p->gallery, g->x, g->n, s->width, direction ? "image" : "text"));
    TRY(index_positives(p, s, direction));
    size_t n = (size_t)out->n_queries + 1;
    out->n_gallery = g->n;
    out->rank = mem_calloc(n, sizeof *out->rank);
    out->rank_pessimistic = mem_calloc(n, sizeof *out->rank_pessimistic);
    out->confidence = mem_calloc(n, sizeof *out->confidence);
    out->query_nll = mem_calloc(n, sizeof *out->query_nll);
    out->query_brier = mem_calloc(n, sizeof *out->query_brier);
    p->correct = mem_calloc(n, sizeof *p->correct);
    p->mark = mem_calloc((size_t)g->n + 1, 1);
    p->exact = g->n <= EXACT_ROWS;
    p->block = g->n ? BLOCK_SCORES / g->n : 1;
    p->block = p->block < 1 ? 1 : p->block > MAX_BLOCK_QUERIES ? MAX_BLOCK_QUERIES : p->block;
    p->scores = mem_calloc((size_t)(p->block * g->n) + 1, sizeof *p->scores);
    if (!out->rank || !out->rank_pessimistic || !out->confidence || !out->query_nll || !out->query_brier ||
        !p->correct || !p->mark || !p->scores)
        return ERR_MEMORY;
    int64_t max_b = g->n < BLOCK_GALLERY ? g->n : BLOCK_GALLERY;
    TRY(scorer_open(&p->scorer, p->exact, s->width, p->block, p->exact ? g->n : max_b));
    return pick_fit(p, seed);
}

static void keep_for_fit(struct pass *p, int64_t q, const double *s, double top)
{
    if (!p->fit_pick[q])
        return;
    float *gap = p->fit.gap + p->fit.filled * p->fit.m;
    for (int64_t j = 0; j < p->fit.m; j++)
        gap[j] = (float)(s[j] - top);
    memcpy(p->fit.hit + p->fit.filled * p->fit.m, p->mark, (size_t)p->fit.m);
    p->fit.correct[p->fit.filled++] = p->correct[q];
}

/* s [gallery]: the scores of query q of the list; marks are set. */
static void score_query(struct pass *p, int64_t q, double *s, const int64_t *positive, int64_t n_positive)
{
    struct retrieval *out = p->out;
    int64_t m = p->gallery.n, row = out->queries[q], above = 0, ties = 0;
    double best = -INFINITY, top = -INFINITY, tau = out->temperature, all = 0, square = 0, mass = 0;
    for (int64_t i = 0; i < n_positive; i++) {
        if (!p->exact)
            s[positive[i]] = rows_cosine(&p->query, row, &p->gallery, positive[i]);
        best = fmax(best, s[positive[i]]);
    }
    for (int64_t j = 0; j < m; j++) {
        if (!p->exact && !p->mark[j] && fabs(s[j] - best) < NEAR)
            s[j] = rows_cosine(&p->query, row, &p->gallery, j);
        above += !p->mark[j] && s[j] > best + EVAL_TIE;
        ties += !p->mark[j] && fabs(s[j] - best) <= EVAL_TIE;
        top = s[j] > top ? s[j] : top;
    }
    for (int64_t j = 0; j < m; j++) {
        double e = exp((s[j] - top) / tau);
        all += e;
        square += p->mark[j] ? 0 : e * e;
    }
    for (int64_t i = 0; i < n_positive; i++) /* relative to the best positive: never underflows */
        mass += exp((s[positive[i]] - best) / tau);
    out->rank[q] = (int32_t)(above > INT32_MAX ? INT32_MAX : above);
    out->rank_pessimistic[q] = (int32_t)(above + ties > INT32_MAX ? INT32_MAX : above + ties);
    out->n_ties += ties > 0;
    out->confidence[q] = 1 / all;
    out->query_nll[q] = log(all) + (top - best) / tau - log(mass);
    double right = exp(-out->query_nll[q]);
    out->query_brier[q] = (1 - right) * (1 - right) + square / (all * all);
    p->correct[q] = above == 0;
    keep_for_fit(p, q, s, top);
}

static int run_pass(struct pass *p)
{
    int64_t n = p->out->n_queries, m = p->gallery.n, step = p->exact ? m : BLOCK_GALLERY;
    struct progress *bar = NULL;
    int rc = 0;
    if (n > 0 && m > (int64_t)1000000000 / n)
        progress_open(&bar, "ranking", n, "queries");
    for (int64_t q0 = 0; q0 < n && rc == 0; q0 += p->block) {
        int64_t nq = n - q0 < p->block ? n - q0 : p->block;
        rc = signal_check();
        scorer_left(&p->scorer, &p->query, p->out->queries, q0, nq);
        for (int64_t j0 = 0; j0 < m && rc == 0; j0 += step)
            scorer_block(&p->scorer, nq, &p->gallery, j0, m - j0 < step ? m - j0 : step, p->scores + j0, m);
        for (int64_t q = q0; q < q0 + nq && rc == 0; q++) {
            int64_t row = p->out->queries[q], n_positive = p->first[row + 1] - p->first[row];
            const int64_t *positive = p->positive + p->first[row];
            for (int64_t i = 0; i < n_positive; i++)
                p->mark[positive[i]] = 1;
            score_query(p, q, p->scores + (q - q0) * m, positive, n_positive);
            for (int64_t i = 0; i < n_positive; i++)
                p->mark[positive[i]] = 0;
        }
        if (bar)
            progress_add(bar, nq);
    }
    if (bar)
        progress_close(&bar);
    return rc;
}

/* ---- summary ---- */

enum stat {
    S_R1,
    S_PESSIMISTIC = S_R1 + 3,
    S_MID = S_PESSIMISTIC + 3,
    S_MRR = S_MID + 3,
    S_MEDIAN,
    S_MEAN,
    S_BRIER,
    S_NLL,
    N_STATS
};

struct summary {
    const struct retrieval *r;
    struct ece_draws width, mass;
    int64_t *by_confidence, *by_rank; /* [n] */
    double *inverse_rank;             /* [n] */
    uint32_t *counts;                 /* [n] */
    double *draws[N_STATS];           /* [resamples] */
};

struct keyed {
    double key;
    int64_t i;
};

static int order_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static void sort_by(struct keyed *k, int64_t n, int64_t *order)
{
    qsort(k, (size_t)n, sizeof *k, order_keyed);
    for (int64_t i = 0; i < n; i++)
        order[i] = k[i].i;
}

/* Median of the ranks from 1, each counted so many times. */
static double median_rank(const struct summary *s, const uint32_t *counts, int64_t total)
{
    int64_t n = s->r->n_queries, seen = 0, low = -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t q = s->by_rank[i];
        seen += counts ? (int64_t)counts[q] : 1;
        if (low < 0 && seen > (total - 1) / 2)
            low = s->r->rank[q];
        if (seen > total / 2)
            return ((double)low + (double)s->r->rank[q]) / 2 + 1;
    }
    return MISSING;
}

static void all_stats(const struct summary *s, const uint32_t *counts, double v[N_STATS])
{
    const struct retrieval *r = s->r;
    double sum[N_STATS] = {0}, n = (double)r->n_queries;
    for (int64_t q = 0; q < r->n_queries; q++) {
        double w = counts ? (double)counts[q] : 1;
        for (int k = 0; k < 3; k++) {
            sum[S_R1 + k] += r->rank[q] < recall_at[k] ? w : 0;
            sum[S_PESSIMISTIC + k] += r->rank_pessimistic[q] < recall_at[k] ? w : 0;
            sum[S_MID + k] += (double)r->rank[q] + r->rank_pessimistic[q] < 2.0 * (double)recall_at[k] ? w : 0;
        }
        sum[S_MEAN] += w * (1.0 + r->rank[q]);
        sum[S_MRR] += w * s->inverse_rank[q];
        sum[S_BRIER] += w * r->query_brier[q];
        sum[S_NLL] += w * r->query_nll[q];
    }
    for (int k = 0; k < N_STATS; k++)
        v[k] = sum[k] / n;
    v[S_MEDIAN] = median_rank(s, counts, r->n_queries);
}

static int summary_open(struct summary *s, int64_t n, int64_t resamples)
{
    s->by_confidence = mem_calloc((size_t)n + 1, sizeof *s->by_confidence);
    s->by_rank = mem_calloc((size_t)n + 1, sizeof *s->by_rank);
    s->inverse_rank = mem_calloc((size_t)n + 1, sizeof *s->inverse_rank);
    s->counts = mem_calloc((size_t)n + 1, sizeof *s->counts);
    s->draws[0] = mem_calloc((size_t)resamples * N_STATS + 1, sizeof *s->draws[0]);
    struct keyed *k = mem_calloc((size_t)n + 1, sizeof *k);
    bool ok = s->by_confidence && s->by_rank && s->inverse_rank && s->counts && s->draws[0] && k;
    for (int i = 1; ok && i < N_STATS; i++)
        s->draws[i] = s->draws[0] + (int64_t)i * resamples;
    for (int64_t q = 0; ok && q < n; q++) {
        k[q] = (struct keyed){s->r->confidence[q], q};
        s->inverse_rank[q] = 1.0 / (1.0 + s->r->rank[q]);
    }
    if (ok)
        sort_by(k, n, s->by_confidence);
    for (int64_t q = 0; ok && q < n; q++)
        k[q] = (struct keyed){s->r->rank[q], q};
    if (ok)
        sort_by(k, n, s->by_rank);
    mem_free(k);
    return ok ? 0 : ERR_MEMORY;
}

static void summary_close(struct summary *s)
{
    ece_draws_close(&s->width);
    ece_draws_close(&s->mass);
    mem_free(s->by_confidence);
    mem_free(s->by_rank);
    mem_free(s->inverse_rank);
    mem_free(s->counts);
    mem_free(s->draws[0]);
}

static int summarise(struct retrieval *r, const bool *correct, int64_t resamples, uint64_t seed)
{
    struct summary s = {.r = r};
    struct interval *into[N_STATS] = {[S_MRR] = &r->mrr,
                                      [S_MEDIAN] = &r->median_rank,
                                      [S_MEAN] = &r->mean_rank,
                                      [S_BRIER] = &r->brier,
                                      [S_NLL] = &r->nll};
    for (int k = 0; k < 3; k++) {
        into[S_R1 + k] = &r->recall[k];
        into[S_PESSIMISTIC + k] = &r->recall_pessimistic[k];
        into[S_MID + k] = &r->recall_mid[k];
    }
    double value[N_STATS], v[N_STATS], error, error_mass;
    int64_t n = r->n_queries;
    int rc = summary_open(&s, n, resamples);
    if (rc == 0)
        rc = ece_draws_open(&s.width, r->confidence, correct, n, r->n_bins_width, resamples);
    if (rc == 0)
        rc = ece_draws_open(&s.mass, r->confidence, correct, n, r->n_bins_mass, resamples);
    if (rc < 0)
        goto out;
    all_stats(&s, NULL, value);
    error = ece_equal_width(r->confidence, correct, n, r->n_bins_width, r->bins_width, s.width.bin_of);
    error_mass =
        ece_equal_mass(r->confidence, correct, s.by_confidence, n, r->n_bins_mass, r->bins_mass, s.mass.bin_of);
    for (int64_t b = 0; b < resamples; b++) {
        rc = signal_check();
        if (rc < 0)
            goto out;
        struct rng g = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)b);
        bootstrap_counts(&g, n, s.counts);
        all_stats(&s, s.counts, v);
        for (int k = 0; k < N_STATS; k++)
            s.draws[k][b] = v[k];
        ece_draws_add(&s.width, s.counts);
        ece_draws_add(&s.mass, s.counts);
    }
    for (int k = 0; k < N_STATS; k++)
        *into[k] = bootstrap_interval(value[k], s.draws[k], resamples);
    for (int k = S_R1; k < S_MRR; k++)
        bootstrap_widen_share(into[k], n);
    r->ece = ece_interval(&s.width, error);
    r->ece_equal_mass = ece_interval(&s.mass, error_mass);
out:
    summary_close(&s);
    return rc;
}

/* No query has a positive, or there is nothing to rank: every number is missing. */
static void all_missing(struct retrieval *r)
{
    const struct interval none = {MISSING, MISSING, MISSING};
    for (int k = 0; k < 3; k++) {
        r->recall[k] = none;
        r->recall_pessimistic[k] = r->recall_mid[k] = none;
    }
    r->mrr = r->median_rank = r->mean_rank = r->ece = r->ece_equal_mass = r->brier = r->nll = none;
    r->fitted_temperature = r->ece_fitted = none;
    for (int b = 0; b < EVAL_MAX_BINS; b++)
        r->bins_width[b] = r->bins_mass[b] = (struct calibration_bin){0, MISSING, MISSING};
}

static int settings(const struct set *s, const struct eval_opt *opt, struct retrieval *r)
{
    int64_t width = opt && opt->bins_width ? opt->bins_width : 15, mass = opt && opt->bins_mass ? opt->bins_mass : 10;
    double tau = opt && opt->temperature != 0 ? opt->temperature : set_temperature(s);
    if (width < 1 || width > EVAL_MAX_BINS || mass < 1 || mass > EVAL_MAX_BINS)
        FAIL(ERR_USAGE, "calibration: %lld and %lld bins, expected 1 to %d", (long long)width, (long long)mass,
             EVAL_MAX_BINS);
    if (!(tau >= 1e-6 && tau <= 1e6))
        FAIL(ERR_USAGE, "calibration: temperature %g, expected a positive number such as 0.01", tau);
    r->n_bins_width = (int)width;
    r->n_bins_mass = (int)mass;
    r->temperature = tau;
    return 0;
}

int eval_retrieval(const struct set *s, int direction, const struct eval_opt *opt, struct retrieval *out)
{
    struct retrieval r = {0};
    struct pass p = {.out = &r};
    uint64_t seed = opt ? opt->seed : 0;
    BUG_ON(direction != 0 && direction != 1);
    TRY(settings(s, opt, &r));
    int rc = pass_open(&p, s, direction, seed);
    if (rc == 0)
        rc = run_pass(&p);
    if (rc < 0)
        goto out;
    if (r.n_queries == 0) {
        all_missing(&r);
        goto out;
    }
    r.n_fit = p.fit.filled;
    r.fitted_temperature = r.ece_fitted = (struct interval){NAN, NAN, NAN};
    if (!opt || !opt->no_fit)
        rc = fit_temperature(&p.fit, r.n_bins_width, bootstrap_resamples(opt), seed, &r.fitted_temperature,
                             &r.ece_fitted);
    if (rc == 0)
        rc = summarise(&r, p.correct, bootstrap_resamples(opt), seed);
out:
    pass_close(&p);
    if (rc < 0) {
        retrieval_free(&r);
        return err_while(rc, "ranking %s", direction ? "images for texts" : "texts for images");
    }
    *out = r;
    return 0;
}
