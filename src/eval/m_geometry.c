/* The shape of the space: how near the pairs are, how far the clouds spread, how wide the gap between them is.
 *
 * Alignment and uniformity: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
 * Uniformity on the Hypersphere", ICML 2020, with alpha = 2 and t = 2; relative alignment: Oh et al., "Geodesic
 * Multi-Modal Mixup for Robust Fine-Tuning", NeurIPS 2023. No minus signs: lower is better, as the losses are written.
 * Centroid distance: Liang et al., "Mind the Gap", NeurIPS 2022. All formulas: docs/methods/measures.md.
 *
 * Intervals. Every number here is a smooth function of means over rows, over given pairs or over all pairs. Resampling
 * rows with repetition would put pairs of equal rows (distance 0) into the pairwise means and shift them; so each
 * number is written as its first-order expansion in the weights of the rows (Hajek's projection: for a pairwise mean
 * the row sums), and the weights are what the bootstrap draws. Rows that belong together, a picture and the texts whose
 * first picture it is, are drawn together. Coverage is tested by simulation. Rejected: the jackknife with a normal
 * quantile (the same first-order terms, but symmetric where the percentiles need not be); bootstrap of the full matrix
 * (n^2 memory). */
#include "eval/eval_private.h"

#include <math.h>
#include <string.h>

#define MISSING ((double)NAN)

enum stat {
    G_ALIGNMENT,
    G_MATCHED,
    G_RELATIVE_IMAGE,
    G_RELATIVE_TEXT,
    G_UNIFORM_IMAGE,
    G_UNIFORM_TEXT,
    G_UNIFORM_POOLED,
    G_UNIFORM_CROSS,
    G_CENTROID,
    G_RANK_IMAGE,
    G_RANK_TEXT,
    G_RANK_POOLED,
    G_UNMATCHED,
    G_IMAGE_IMAGE,
    G_TEXT_TEXT,
    N_STATS
};

struct work {
    const struct set *set;
    struct geometry *out;
    struct rows side[2];       /* image, text */
    int64_t *first, *positive; /* texts of image i: positive[first[i]] … */
    int64_t *unit[2], n_units; /* row -> what is drawn together */
    double value[N_STATS];
    double *effect[N_STATS]; /* [n_units] d value / d weight of the unit */
    struct pair_sums within[2], across;
};

static void work_close(struct work *w)
{
    for (int k = 0; k < 2; k++) {
        rows_close(&w->side[k]);
        mem_free(w->unit[k]);
        pair_sums_close(&w->within[k]);
    }
    pair_sums_close(&w->across);
    mem_free(w->first);
    mem_free(w->positive);
    mem_free(w->effect[0]);
}

void geometry_free(struct geometry *g)
{
    struct histogram *h[4] = {&g->hist_matched, &g->hist_unmatched, &g->hist_image, &g->hist_text};
    for (int k = 0; k < 4; k++)
        mem_free(h[k]->count);
    mem_free(g->spectrum_image);
    mem_free(g->spectrum_text);
    memset(g, 0, sizeof *g);
}

static int work_open(struct work *w)
{
    const struct set *s = w->set;
    struct histogram *hist[4] = {&w->out->hist_matched, &w->out->hist_unmatched, &w->out->hist_image,
                                 &w->out->hist_text};
    int64_t n_i = s->image.n, n_t = s->text.n;
    TRY(rows_open(&w->side[0], s->image.x, n_i, s->width, "image"));
    TRY(rows_open(&w->side[1], s->text.x, n_t, s->width, "text"));
    for (int k = 0; k < 4; k++)
        TRY(histogram_open(hist[k]));
    w->first = mem_calloc((size_t)n_i + 2, sizeof *w->first);
    w->positive = mem_calloc((size_t)s->n_pairs + 1, sizeof *w->positive);
    w->unit[0] = mem_calloc((size_t)n_i + 1, sizeof *w->unit[0]);
    w->unit[1] = mem_calloc((size_t)n_t + 1, sizeof *w->unit[1]);
    if (!w->first || !w->positive || !w->unit[0] || !w->unit[1])
        return ERR_MEMORY;
    for (int64_t t = 0; t < n_t; t++)
        w->unit[1][t] = -1;
    for (int64_t k = 0; k < s->n_pairs; k++) { /* sorted by image, then text */
        w->first[s->pairs[k].image + 1]++;
        w->positive[k] = s->pairs[k].text;
        if (w->unit[1][s->pairs[k].text] < 0)
            w->unit[1][s->pairs[k].text] = s->pairs[k].image;
    }
    for (int64_t i = 0; i < n_i; i++) {
        w->first[i + 1] += w->first[i];
        w->unit[0][i] = i;
    }
    w->n_units = n_i;
    for (int64_t t = 0; t < n_t; t++)
        if (w->unit[1][t] < 0)
            w->unit[1][t] = w->n_units++;
    double *all = mem_calloc((size_t)w->n_units * N_STATS + 1, sizeof *all);
    if (!all)
        return ERR_MEMORY;
    for (int k = 0; k < N_STATS; k++) {
        w->effect[k] = all + (int64_t)k * w->n_units;
        w->value[k] = MISSING;
    }
    return 0;
}

/* ---- pairs that belong together -------------------------------------------------------------------------------------
 */

/* value = sum of x over pairs / number; effect (x - value) / number at the pair's unit. A pair with x NaN does not
 * count. */
static void pair_mean(struct work *w, enum stat which, const double *x)
{
    const struct set *s = w->set;
    double sum = 0, n = 0;
    for (int64_t k = 0; k < s->n_pairs; k++)
        if (!isnan(x[k])) {
            sum += x[k];
            n++;
        }
    if (n == 0)
        return;
    w->value[which] = sum / n;
    for (int64_t k = 0; k < s->n_pairs; k++)
        if (!isnan(x[k])) /* the text's unit for a text anchor would be the same image in one-to-one sets */
            w->effect[which][w->unit[1][s->pairs[k].text]] += (x[k] - w->value[which]) / n;
}

static int pair_measures(struct work *w)
{
    const struct set *s = w->set;
    double *c = mem_calloc((size_t)s->n_pairs + 1, sizeof *c), *x = mem_calloc((size_t)s->n_pairs + 1, sizeof *x);
    if (!c || !x) {
        mem_free(c);
        mem_free(x);
        return ERR_MEMORY;
    }
    for (int64_t k = 0; k < s->n_pairs; k++) {
        c[k] = rows_cosine(&w->side[0], s->pairs[k].image, &w->side[1], s->pairs[k].text);
        histogram_add(&w->out->hist_matched, c[k]);
        x[k] = 2 - 2 * c[k]; /* |I - T|^2 */
    }
    pair_mean(w, G_MATCHED, c);
    pair_mean(w, G_ALIGNMENT, x);
    for (int side = 0; side < 2; side++) { /* |pair|^2 - |nearest other|^2 = 2 (best other cosine - pair cosine) */
        for (int64_t k = 0; k < s->n_pairs; k++) {
            int64_t row = side ? s->pairs[k].text : s->pairs[k].image;
            double best = w->across.best[side] ? w->across.best[side][row] : -(double)INFINITY;
            x[k] = isfinite(best) ? 2 * (best - c[k]) : MISSING;
        }
        pair_mean(w, side ? G_RELATIVE_TEXT : G_RELATIVE_IMAGE, x);
    }
    mem_free(c);
    mem_free(x);
    return 0;
}

/* ---- all pairs
 * ------------------------------------------------------------------------------------------------------------ */

static void log_mean(struct work *w, enum stat which, double sum, double count)
{
    if (count > 0 && sum > 0)
        w->value[which] = log(sum / count);
}

static void pairwise_values(struct work *w)
{
    static const enum stat uniform[2] = {G_UNIFORM_IMAGE, G_UNIFORM_TEXT}, cosine[2] = {G_IMAGE_IMAGE, G_TEXT_TEXT};
    const struct pair_sums *x = &w->across;
    double all_h = x->h, all_n = (double)x->count;
    for (int k = 0; k < 2; k++) {
        const struct pair_sums *p = &w->within[k];
        double n = (double)w->side[k].n, count = (double)p->count;
        log_mean(w, uniform[k], p->h, count);
        w->value[cosine[k]] = count > 0 ? p->c / count : MISSING;
        for (int64_t i = 0; count > 0 && i < w->side[k].n; i++) {
            w->effect[uniform[k]][w->unit[k][i]] += p->row_h[0][i] / p->h - (n - 1) / count;
            w->effect[cosine[k]][w->unit[k][i]] += (p->row_c[0][i] - w->value[cosine[k]] * (n - 1)) / count;
        }
        all_h += p->h;
        all_n += count;
    }
    log_mean(w, G_UNIFORM_POOLED, all_h, all_n);
    log_mean(w, G_UNIFORM_CROSS, x->h, (double)x->count);
    double others = (double)(x->count - w->set->n_pairs);
    if (others > 0)
        w->value[G_UNMATCHED] = (x->c - x->positive_c) / others;
    double n_all = (double)(w->side[0].n + w->side[1].n);
    for (int k = 0; k < 2; k++) {
        double partners = (double)w->side[1 - k].n;
        for (int64_t i = 0; all_n > 0 && i < w->side[k].n; i++) {
            int64_t u = w->unit[k][i];
            double across = x->row_h[k] ? x->row_h[k][i] : 0;
            w->effect[G_UNIFORM_POOLED][u] += (w->within[k].row_h[0][i] + across) / all_h - (n_all - 1) / all_n;
            if (x->count > 0)
                w->effect[G_UNIFORM_CROSS][u] += across / x->h - partners / (double)x->count;
            if (others > 0)
                w->effect[G_UNMATCHED][u] +=
                    (x->row_c[k][i] - x->row_positive_c[k][i] - w->value[G_UNMATCHED] * partners) / others;
        }
    }
    for (int64_t k = 0; others > 0 && k < w->set->n_pairs; k++) { /* positives are no partners, on either side */
        w->effect[G_UNMATCHED][w->unit[0][w->set->pairs[k].image]] += w->value[G_UNMATCHED] / others;
        w->effect[G_UNMATCHED][w->unit[1][w->set->pairs[k].text]] += w->value[G_UNMATCHED] / others;
    }
}

static int pairwise_measures(struct work *w)
{
    struct histogram *hist[2] = {&w->out->hist_image, &w->out->hist_text};
    for (int k = 0; k < 2; k++) {
        TRY(pair_sums_open(&w->within[k], w->side[k].n, 0));
        w->within[k].hist = hist[k];
        TRY(pairs_within(&w->within[k], &w->side[k], k ? "text pairs" : "image pairs"));
    }
    if (w->side[0].n > 0 && w->side[1].n > 0) {
        TRY(pair_sums_open(&w->across, w->side[0].n, w->side[1].n));
        w->across.hist = &w->out->hist_unmatched;
        w->across.first = w->first;
        w->across.positive = w->positive;
        TRY(pairs_across(&w->across, &w->side[0], &w->side[1], "image-text pairs"));
    }
    pairwise_values(w);
    return 0;
}

/* ---- means and spectra
 * ------------------------------------------------------------------------------------------------------ */

/* |m_I - m_T|; a row moves it by its offset from its mean along the unit vector of the gap, over n. */
static int centroid_distance(struct work *w)
{
    int64_t d = w->set->width;
    double gap = 0, *m[2] = {NULL, NULL};
    int rc = 0;
    if (w->side[0].n < 1 || w->side[1].n < 1)
        return 0;
    for (int k = 0; k < 2 && rc == 0; k++) {
        m[k] = mem_calloc((size_t)d + 1, sizeof *m[k]);
        rc = m[k] ? space_mean(w->side[k].x, w->side[k].n, d, m[k]) : ERR_MEMORY;
    }
    if (rc < 0)
        goto out;
    for (int64_t j = 0; j < d; j++)
        gap += (m[0][j] - m[1][j]) * (m[0][j] - m[1][j]);
    gap = sqrt(gap);
    w->value[G_CENTROID] = gap;
    for (int k = 0; k < 2 && gap > 1e-12; k++) {
        double sign = k ? -1 : 1, n = (double)w->side[k].n;
        for (int64_t i = 0; i < w->side[k].n; i++) {
            const float *x = w->side[k].x + i * d;
            double along = 0;
            for (int64_t j = 0; j < d; j++)
                along += ((double)x[j] * w->side[k].inverse[i] - m[k][j]) * (m[0][j] - m[1][j]);
            w->effect[G_CENTROID][w->unit[k][i]] += sign * along / gap / n;
        }
    }
out:
    mem_free(m[0]);
    mem_free(m[1]);
    return rc;
}

static int spectrum_of(struct work *w, int first, int n_sides, enum stat which, double *spectrum)
{
    const struct rows *sides[2] = {&w->side[first], &w->side[1]};
    double *effect[2] = {NULL, NULL};
    int rc = 0;
    for (int k = 0; k < n_sides && rc == 0; k++) {
        effect[k] = mem_calloc((size_t)sides[k]->n + 1, sizeof *effect[k]);
        rc = effect[k] ? 0 : ERR_MEMORY;
    }
    if (rc == 0)
        rc = eval_spectrum(sides, n_sides, &w->value[which], effect, spectrum);
    for (int k = 0; k < n_sides && rc == 0; k++)
        for (int64_t i = 0; i < sides[k]->n; i++)
            w->effect[which][w->unit[first + k][i]] += effect[k][i];
    mem_free(effect[0]);
    mem_free(effect[1]);
    return rc;
}

static int spectra(struct work *w)
{
    struct geometry *g = w->out;
    g->n_spectrum = w->set->width;
    g->spectrum_image = mem_calloc((size_t)g->n_spectrum + 1, sizeof *g->spectrum_image);
    g->spectrum_text = mem_calloc((size_t)g->n_spectrum + 1, sizeof *g->spectrum_text);
    if (!g->spectrum_image || !g->spectrum_text)
        return ERR_MEMORY;
    TRY(spectrum_of(w, 0, 1, G_RANK_IMAGE, g->spectrum_image));
    TRY(spectrum_of(w, 1, 1, G_RANK_TEXT, g->spectrum_text));
    return spectrum_of(w, 0, 2, G_RANK_POOLED, NULL);
}

/* ---- intervals
 * ---------------------------------------------------------------------------------------------------------------- */

/* value + sum over units of (weight - 1) effect, weights drawn by the bootstrap. Fewer than 3 units: no interval. */
static int draw_intervals(const double *value, double *const *effect, int n_stats, int64_t n_units,
                          const int64_t *n_rows, const struct eval_opt *opt, struct interval *const *into)
{
    int64_t resamples = n_units >= 3 ? bootstrap_resamples(opt) : 0;
    uint64_t seed = opt ? opt->seed : 0;
    int rc = 0;
    uint32_t *counts = mem_calloc((size_t)n_units + 1, sizeof *counts);
    double *weight = mem_calloc((size_t)n_units + 1, sizeof *weight);
    double *draws = mem_calloc((size_t)(resamples * n_stats) + 1, sizeof *draws);
    if (!counts || !weight || !draws) {
        rc = ERR_MEMORY;
        goto out;
    }
    for (int64_t b = 0; b < resamples; b++) {
        struct rng r = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)b);
        rc = signal_check();
        if (rc < 0)
            goto out;
        bootstrap_counts(&r, n_units, counts);
        for (int64_t u = 0; u < n_units; u++)
            weight[u] = (double)counts[u] - 1;
        for (int k = 0; k < n_stats; k++) {
            double sum = value[k];
            for (int64_t u = 0; u < n_units; u++)
                sum += weight[u] * effect[k][u];
            draws[k * resamples + b] = sum;
        }
    }
    for (int k = 0; k < n_stats; k++)
        *into[k] = bootstrap_interval(value[k], draws + k * resamples, n_rows[k] >= 3 ? resamples : 0);
out:
    mem_free(counts);
    mem_free(weight);
    mem_free(draws);
    return rc;
}

static int intervals(struct work *w, const struct eval_opt *opt)
{
    struct geometry *g = w->out;
    int64_t n_i = w->side[0].n, n_t = w->side[1].n, n_p = w->set->n_pairs, least = n_i < n_t ? n_i : n_t;
    struct interval *into[N_STATS] = {[G_ALIGNMENT] = &g->alignment,
                                      [G_MATCHED] = &g->matched,
                                      [G_RELATIVE_IMAGE] = &g->relative_alignment[0],
                                      [G_RELATIVE_TEXT] = &g->relative_alignment[1],
                                      [G_UNIFORM_IMAGE] = &g->uniformity_image,
                                      [G_UNIFORM_TEXT] = &g->uniformity_text,
                                      [G_UNIFORM_POOLED] = &g->uniformity_pooled,
                                      [G_UNIFORM_CROSS] = &g->uniformity_cross,
                                      [G_CENTROID] = &g->centroid_distance,
                                      [G_RANK_IMAGE] = &g->effective_rank_image,
                                      [G_RANK_TEXT] = &g->effective_rank_text,
                                      [G_RANK_POOLED] = &g->effective_rank_pooled,
                                      [G_UNMATCHED] = &g->unmatched,
                                      [G_IMAGE_IMAGE] = &g->image_image,
                                      [G_TEXT_TEXT] = &g->text_text};
    int64_t n_rows[N_STATS] = {[G_ALIGNMENT] = n_p,
                               [G_MATCHED] = n_p,
                               [G_RELATIVE_IMAGE] = n_p,
                               [G_RELATIVE_TEXT] = n_p,
                               [G_UNIFORM_IMAGE] = n_i,
                               [G_UNIFORM_TEXT] = n_t,
                               [G_UNIFORM_POOLED] = n_i + n_t,
                               [G_UNIFORM_CROSS] = least,
                               [G_CENTROID] = least,
                               [G_RANK_IMAGE] = n_i,
                               [G_RANK_TEXT] = n_t,
                               [G_RANK_POOLED] = n_i + n_t,
                               [G_UNMATCHED] = least,
                               [G_IMAGE_IMAGE] = n_i,
                               [G_TEXT_TEXT] = n_t};
    TRY(draw_intervals(w->value, w->effect, N_STATS, w->n_units, n_rows, opt, into));
    if (g->centroid_distance.low < 0)
        g->centroid_distance.low = 0; /* a distance */
    return 0;
}

static int measure(struct work *w, const struct eval_opt *opt)
{
    TRY(work_open(w));
    TRY(pairwise_measures(w));
    TRY(pair_measures(w));
    TRY(centroid_distance(w));
    TRY(spectra(w));
    TRY(eval_separability(&w->side[0], &w->side[1], opt, &w->out->linear_separability));
    return intervals(w, opt);
}

int eval_geometry(const struct set *s, const struct eval_opt *opt, struct geometry *out)
{
    struct geometry g = {.n_images = s->image.n, .n_texts = s->text.n, .n_pairs = s->n_pairs, .width = s->width};
    struct work w = {.set = s, .out = &g};
    int rc = measure(&w, opt);
    work_close(&w);
    if (rc < 0) {
        geometry_free(&g);
        return err_while(rc, "measuring the geometry of \"%s\"", s->path ? s->path : "a set");
    }
    *out = g;
    return 0;
}

int eval_uniformity(const float *x, int64_t n, int64_t d, const struct eval_opt *opt, struct interval *out)
{
    struct rows r = {0};
    struct pair_sums p = {0};
    double value = MISSING, *effect = NULL;
    TRY(rows_open(&r, x, n, d, "given"));
    int rc = pair_sums_open(&p, n, 0);
    if (rc == 0)
        rc = pairs_within(&p, &r, "pairs");
    if (rc < 0)
        goto out;
    if (p.count > 0 && p.h > 0)
        value = log(p.h / (double)p.count);
    effect = p.row_h[0];
    for (int64_t i = 0; p.count > 0 && i < n; i++)
        effect[i] = effect[i] / p.h - (double)(n - 1) / (double)p.count;
    struct interval found, *into[1] = {&found};
    rc = draw_intervals(&value, &effect, 1, n, &n, opt, into);
    if (rc == 0)
        *out = found;
out:
    rows_close(&r);
    pair_sums_close(&p);
    return rc;
}
