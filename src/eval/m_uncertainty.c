/* How good is an uncertainty? u says how unsure each query's first answer is, hit whether it was right.
 *
 * Levels (Chun et al. 2021, Upadhyay et al. 2023): queries sorted by u, ties by row, cut into B levels at positions
 * floor(b n / B); every query is in exactly one level, sizes differ by at most one, and with fewer queries than levels
 * some levels are empty and left out. S is the Spearman correlation of level and recall, R2 the squared Pearson
 * correlation of the same (the fit of a line), both 0 where recall or u is constant. Five levels are coarse: a random
 * order reaches S <= -0.9 in 4 % of cases. So the measures without bins stand beside them: AUROC of miss against hit
 * (ties half; Hanley and McNeil 1982), AURC, the mean over k of the miss rate among the k surest (Geifman et al. 2019),
 * and the Spearman correlation over the queries.
 *
 * Every measure is a function of the sorted list with a count for each query, so a bootstrap resample costs one walk
 * and no sorting. Levels are cut again in every resample. Rejected: equal-width levels (one outlier makes a level of
 * one query), cumulative levels (they share queries), r2_score of raw levels against recalls (not a fit). */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MISSING ((double)NAN)

enum { TEN = 10, ECE_BINS = 10, DEFAULT_LEVELS = 5 };
enum { V_AUROC, V_AURC, V_QUERY, V_BRIER, V_S0, V_R0, V_SR0, V_S1, V_R1, V_SR1, N_VALUES };

struct cut {
    int n;
    int64_t count[EVAL_MAX_BINS], hits[EVAL_MAX_BINS];
    double u[EVAL_MAX_BINS];
};

/* The queries in ascending order of u. */
struct ranked {
    int64_t n;
    double *u, *p; /* p: probability of a hit, or NULL */
    bool *hit;
    uint32_t *counts;
    struct cut cut[2];
    int n_curve;
    double risk[UNCERTAINTY_CURVE];
};

struct key {
    double u;
    int64_t i;
};

static int order_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->u != y->u)
        return x->u < y->u ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static void ranked_close(struct ranked *r)
{
    mem_free(r->u);
    mem_free(r->p);
    mem_free(r->hit);
    mem_free(r->counts);
}

static int ranked_open(struct ranked *r, const double *u, const bool *hit, const double *p, int64_t n)
{
    struct key *k = mem_calloc((size_t)n + 1, sizeof *k);
    r->n = n;
    r->u = mem_calloc((size_t)n + 1, sizeof *r->u);
    r->p = p ? mem_calloc((size_t)n + 1, sizeof *r->p) : NULL;
    r->hit = mem_calloc((size_t)n + 1, sizeof *r->hit);
    r->counts = mem_calloc((size_t)n + 1, sizeof *r->counts);
    bool ok = k && r->u && r->hit && r->counts && (!p || r->p);
    for (int64_t i = 0; ok && i < n; i++)
        k[i] = (struct key){u[i] == 0 ? 0 : u[i], i}; /* no negative zero */
    if (ok)
        qsort(k, (size_t)n, sizeof *k, order_key);
    for (int64_t i = 0; ok && i < n; i++) {
        r->u[i] = k[i].u;
        r->hit[i] = hit[k[i].i];
        if (p)
            r->p[i] = p[k[i].i];
    }
    mem_free(k);
    return ok ? 0 : ERR_MEMORY;
}

/* Ranks of v[n] from 1, equal ones their mean. */
static void mean_ranks(const double *v, int n, double *rank)
{
    for (int i = 0; i < n; i++) {
        int below = 0, same = 0;
        for (int k = 0; k < n; k++) {
            below += v[k] < v[i];
            same += v[k] == v[i];
        }
        rank[i] = below + (same + 1) / 2.0;
    }
}

static double pearson(const double *a, const double *b, int n)
{
    double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (int i = 0; i < n; i++) {
        ma += a[i] / n;
        mb += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
        ab += (a[i] - ma) * (b[i] - mb);
    }
    return aa > 0 && bb > 1e-24 ? ab / sqrt(aa * bb) : 0;
}

/* S, R2 and -S R2 of the levels that hold queries. */
static void level_values(const struct cut *c, bool constant, double v[3])
{
    double at[EVAL_MAX_BINS], recall[EVAL_MAX_BINS], rank_at[EVAL_MAX_BINS], rank[EVAL_MAX_BINS];
    int n = 0;
    for (int b = 0; b < c->n; b++)
        if (c->count[b] > 0) {
            at[n] = b;
            recall[n++] = (double)c->hits[b] / (double)c->count[b];
        }
    v[0] = v[1] = v[2] = MISSING;
    if (n < 2)
        return;
    mean_ranks(at, n, rank_at);
    mean_ranks(recall, n, rank);
    double r = constant ? 0 : pearson(at, recall, n);
    v[0] = constant ? 0 : pearson(rank_at, rank, n);
    v[1] = r * r;
    v[2] = v[0] == 0 ? 0 : -v[0] * v[1];
}

/* One query at place k of total: into its level of both cuts. */
static void into_level(struct cut *c, int *at, int64_t k, int64_t total, double u, bool hit)
{
    while ((*at + 1) * total / c->n <= k)
        ++*at;
    c->count[*at]++;
    c->hits[*at] += hit;
    c->u[*at] += u;
}

/* One walk over the sorted queries, each counted so many times (counts NULL: once). */
static void walk(struct ranked *r, const uint32_t *counts, double v[N_VALUES])
{
    double auroc = 0, aurc = 0, brier = 0, sum_r2 = 0, sum_rh = 0, n = (double)r->n, misses = 0, hits = 0;
    int64_t k = 0;
    int at[2] = {0, 0}, point = 0;
    for (int c = 0; c < 2; c++)
        memset(r->cut[c].count, 0, sizeof r->cut[c].count), memset(r->cut[c].hits, 0, sizeof r->cut[c].hits),
            memset(r->cut[c].u, 0, sizeof r->cut[c].u);
    for (int64_t i = 0, end; i < r->n; i = end) {
        double before = hits, group_hits = 0, group_misses = 0, first = (double)k;
        for (end = i; end < r->n && r->u[end] == r->u[i]; end++) {
            uint32_t w = counts ? counts[end] : 1;
            bool hit = r->hit[end];
            group_hits += hit ? w : 0;
            group_misses += hit ? 0 : w;
            if (r->p)
                brier += w * (r->p[end] - hit) * (r->p[end] - hit);
            for (uint32_t copy = 0; copy < w; copy++, k++) {
                misses += !hit;
                aurc += misses / (double)(k + 1);
                into_level(&r->cut[0], &at[0], k, r->n, r->u[end], hit);
                into_level(&r->cut[1], &at[1], k, r->n, r->u[end], hit);
                if (point < r->n_curve && k + 1 == (point + 1) * r->n / r->n_curve)
                    r->risk[point++] = misses / (double)(k + 1);
            }
        }
        double group = group_hits + group_misses, rank = first + (group + 1) / 2 - (n + 1) / 2;
        hits += group_hits;
        auroc += group_misses * (before + group_hits / 2);
        sum_r2 += group * rank * rank;
        sum_rh += group_hits * rank;
    }
    double share = hits / n, spread = sum_r2 * n * share * (1 - share);
    v[V_AUROC] = hits > 0 && misses > 0 ? auroc / (hits * misses) : MISSING;
    v[V_AURC] = aurc / n;
    v[V_QUERY] = spread > 0 ? sum_rh / sqrt(spread) : MISSING;
    v[V_BRIER] = r->p ? brier / n : MISSING;
    level_values(&r->cut[0], sum_r2 == 0, v + V_S0);
    level_values(&r->cut[1], sum_r2 == 0, v + V_S1);
}

struct draws {
    int64_t n;
    double *value[N_VALUES], *recall[2], *risk; /* [n], [levels, n], [curve, n] */
    double *all;
    uint32_t *sorted; /* counts in the order of u */
    struct ece_draws ece;
};

static int draws_open(struct draws *d, const struct ranked *r, int64_t resamples)
{
    size_t rows = (size_t)(N_VALUES + r->cut[0].n + r->cut[1].n + r->n_curve);
    d->all = mem_calloc(rows * (size_t)resamples + 1, sizeof *d->all);
    d->sorted = mem_calloc((size_t)r->n + 1, sizeof *d->sorted);
    if (!d->all || !d->sorted)
        return ERR_MEMORY;
    double *at = d->all;
    for (int k = 0; k < N_VALUES; k++, at += resamples)
        d->value[k] = at;
    for (int c = 0; c < 2; c++) {
        d->recall[c] = at;
        at += r->cut[c].n * resamples;
    }
    d->risk = at;
    return r->p ? ece_draws_open(&d->ece, r->p, r->hit, r->n, ECE_BINS, resamples) : 0;
}

static void draws_close(struct draws *d)
{
    ece_draws_close(&d->ece);
    mem_free(d->all);
    mem_free(d->sorted);
}

static int resample(struct ranked *r, struct draws *d, int64_t resamples, uint64_t seed)
{
    double v[N_VALUES];
    for (int64_t b = 0; b < resamples; b++) {
        struct rng g = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)b);
        TRY(signal_check());
        bootstrap_counts(&g, r->n, r->counts);
        walk(r, r->counts, v);
        for (int k = 0; k < N_VALUES; k++)
            d->value[k][b] = v[k];
        for (int c = 0; c < 2; c++)
            for (int l = 0; l < r->cut[c].n; l++)
                d->recall[c][l * resamples + b] =
                    r->cut[c].count[l] ? (double)r->cut[c].hits[l] / (double)r->cut[c].count[l] : MISSING;
        for (int k = 0; k < r->n_curve; k++)
            d->risk[k * resamples + b] = r->risk[k];
        if (r->p)
            ece_draws_add(&d->ece, r->counts);
    }
    d->n = resamples;
    return 0;
}

static void put_levels(const struct cut *cut, double *recall, int64_t resamples, struct uncertainty_levels *out)
{
    out->n = cut->n;
    for (int l = 0; l < cut->n; l++) {
        struct uncertainty_level *to = &out->level[l];
        double n = (double)cut->count[l];
        *to = (struct uncertainty_level){cut->count[l], MISSING, {MISSING, MISSING, MISSING}};
        if (cut->count[l] == 0)
            continue;
        to->uncertainty = cut->u[l] / n;
        to->recall = bootstrap_interval((double)cut->hits[l] / n, recall + l * resamples, resamples);
        if (resamples > 0)
            bootstrap_widen_share(&to->recall, cut->count[l]);
    }
}

static int measure(struct ranked *r, int64_t resamples, uint64_t seed, struct uncertainty *out)
{
    struct calibration_bin bins[EVAL_MAX_BINS];
    double value[N_VALUES], risk[UNCERTAINTY_CURVE], ece = MISSING;
    struct cut cut[2];
    struct draws d = {0};
    int rc = draws_open(&d, r, resamples);
    if (rc < 0)
        goto out;
    walk(r, NULL, value);
    memcpy(cut, r->cut, sizeof cut);
    memcpy(risk, r->risk, sizeof risk);
    if (r->p)
        ece = ece_equal_width(r->p, r->hit, r->n, ECE_BINS, bins, d.ece.bin_of);
    rc = resample(r, &d, resamples, seed);
    if (rc < 0)
        goto out;
    struct interval *into[N_VALUES] = {&out->auroc,
                                       &out->aurc,
                                       &out->spearman_query,
                                       &out->brier,
                                       &out->levels[0].spearman,
                                       &out->levels[0].r2,
                                       &out->levels[0].neg_s_r2,
                                       &out->levels[1].spearman,
                                       &out->levels[1].r2,
                                       &out->levels[1].neg_s_r2};
    for (int k = 0; k < N_VALUES; k++)
        *into[k] = bootstrap_interval(value[k], d.value[k], resamples);
    for (int c = 0; c < 2; c++)
        put_levels(&cut[c], d.recall[c], resamples, &out->levels[c]);
    for (int k = 0; k < r->n_curve; k++) {
        int64_t kept = (k + 1) * r->n / r->n_curve;
        out->curve[k].coverage = (double)kept / (double)r->n;
        out->curve[k].risk = bootstrap_interval(risk[k], d.risk + k * resamples, resamples);
        if (resamples > 0)
            bootstrap_widen_share(&out->curve[k].risk, kept);
    }
    out->n_curve = r->n_curve;
    out->ece = r->p ? ece_interval(&d.ece, ece) : (struct interval){MISSING, MISSING, MISSING};
out:
    draws_close(&d);
    return rc;
}

static void nothing(struct uncertainty *out, int levels)
{
    const struct interval none = {MISSING, MISSING, MISSING};
    out->auroc = out->aurc = out->spearman_query = out->brier = out->ece = none;
    for (int c = 0; c < 2; c++) {
        out->levels[c].n = c ? TEN : levels;
        out->levels[c].spearman = out->levels[c].r2 = out->levels[c].neg_s_r2 = none;
        for (int l = 0; l < EVAL_MAX_BINS; l++)
            out->levels[c].level[l] = (struct uncertainty_level){0, MISSING, none};
    }
}

int eval_uncertainty(const double *u, const bool *hit, const double *p, int64_t n, const struct eval_opt *opt,
                     struct uncertainty *out)
{
    struct uncertainty o = {.n = n};
    struct ranked r = {0};
    int64_t levels = opt && opt->bins_mass ? opt->bins_mass : DEFAULT_LEVELS;
    BUG_ON(n < 0);
    if (levels < 2 || levels > EVAL_MAX_BINS)
        FAIL(ERR_USAGE, "uncertainty: %lld levels, expected 2 to %d", (long long)levels, EVAL_MAX_BINS);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(u[i]))
            FAIL(ERR_NONFINITE, "uncertainty of query %lld is %g, expected a finite number", (long long)i, u[i]);
        if (p && !(p[i] >= 0 && p[i] <= 1))
            FAIL(ERR_NONFINITE, "probability of query %lld is %g, expected 0 to 1", (long long)i, p[i]);
        o.n_hits += hit[i];
    }
    nothing(&o, (int)levels);
    if (n == 0) {
        *out = o;
        return 0;
    }
    r.cut[0].n = (int)levels;
    r.cut[1].n = TEN;
    r.n_curve = n < UNCERTAINTY_CURVE ? (int)n : UNCERTAINTY_CURVE;
    int rc = ranked_open(&r, u, hit, p, n);
    if (rc == 0)
        rc = measure(&r, bootstrap_resamples(opt), opt ? opt->seed : 0, &o);
    ranked_close(&r);
    TRY_IN(rc, "measuring an uncertainty");
    *out = o;
    return 0;
}

/* ---- JSON ---- */

static json_t *levels_to_json(const struct uncertainty_levels *l)
{
    json_t *a = json_array();
    for (int b = 0; a && b < l->n; b++) {
        const struct uncertainty_level *x = &l->level[b];
        json_t *o = json_pack("{s:I, s:o, s:o, s:o}", "n", (json_int_t)x->n, "uncertainty", json_number(x->uncertainty),
                              "recall_at_1", json_number(x->recall.value), "ci", result_bounds(x->recall));
        if (o && x->n == 0)
            json_object_set_new(o, "why", json_string("fewer queries than levels"));
        json_array_append_new(a, o);
    }
    return a;
}

json_t *uncertainty_to_json(const struct uncertainty *u)
{
    const char *few = u->n == 0 ? "no query" : "fewer than two levels hold a query";
    const char *one = u->n == 0           ? "no query"
                      : u->n_hits == 0    ? "no hit"
                      : u->n_hits == u->n ? "no miss"
                                          : "u is constant";
    struct item {
        const char *key, *why;
        struct interval i;
    } const items[] = {{"spearman", few, u->levels[0].spearman},
                       {"r2", few, u->levels[0].r2},
                       {"neg_s_r2", few, u->levels[0].neg_s_r2},
                       {"spearman_10", few, u->levels[1].spearman},
                       {"r2_10", few, u->levels[1].r2},
                       {"neg_s_r2_10", few, u->levels[1].neg_s_r2},
                       {"auroc", one, u->auroc},
                       {"aurc", "no query", u->aurc},
                       {"spearman_query", one, u->spearman_query},
                       {"ece", "no map to a probability: no validation queries with hits and misses", u->ece},
                       {"brier", "no map to a probability: no validation queries with hits and misses", u->brier}};
    json_t *ci = json_object(), *curve = json_array();
    json_t *o = json_pack("{s:I, s:I, s:o, s:o}", "n", (json_int_t)u->n, "n_hits", (json_int_t)u->n_hits, "bins",
                          levels_to_json(&u->levels[0]), "bins_10", levels_to_json(&u->levels[1]));
    int bad = !o || !ci || !curve;
    for (size_t k = 0; bad == 0 && k < ARRAY_LEN(items); k++) {
        bad |= result_put(o, items[k].key, items[k].i.value, items[k].why);
        bad |= json_object_set_new(ci, items[k].key, result_bounds(items[k].i));
    }
    for (int k = 0; bad == 0 && k < u->n_curve; k++)
        bad |= json_array_append_new(curve, json_pack("{s:f, s:f, s:o}", "coverage", u->curve[k].coverage, "risk",
                                                      u->curve[k].risk.value, "ci", result_bounds(u->curve[k].risk)));
    if (bad == 0)
        bad = json_object_set(o, "ci", ci) | json_object_set(o, "risk_coverage", curve);
    json_decref(ci);
    json_decref(curve);
    if (bad == 0)
        return o;
    json_decref(o);
    err_set(ERR_MEMORY, "out of memory while writing results");
    return NULL;
}
