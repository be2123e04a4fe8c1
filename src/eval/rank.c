/* Scores that put candidate models in order without labels: the same pictures and texts, encoded by each of them.
 *
 * Two pictures of a good model agree with each other without being told the pairs: an image's first text has that image
 * as its own first (cycle); the first answers are not the same few hubs for everybody (spread); the first answer stands
 * out (lead, max-p, inverted, p-match). The paper's score is the mean uncertainty that one adapter, shared by all
 * candidates, gives to the pictures (Upadhyay et al. 2023, section 5.4, Table 2). Geometry (Wang and Isola 2020; Roy
 * and Vetterli 2007; Liang et al. 2022) is measured beside them.
 *
 * Temperature without labels: text t's answer in the other direction is every image whose first answer is t. The tau of
 * least NLL of these answers (positives' total mass) is taken, for each direction. They are never the query's own first
 * answers, so the fit does not run to zero: where the directions disagree tau grows, and max-p falls. Rejected: the
 * model's own logit scale alone (noise in the weights leaves it as it was, and max-p with it), matching mean max-p to
 * the share of cycles (it says what cycle says already).
 *
 * Mean of both directions: its interval is the mean of theirs, as if they moved together, which is the wider choice. */
#include "eval/uncertainty.h"

#include <math.h>
#include <string.h>

#define MISSING ((double)NAN)

enum { FIT_SCORES = 8 << 20 };

static const struct {
    const char *name, *text;
    int better;
} scores[] = {
#define X(id, name, better, text) {name, text, better},
    RANK_LIST(X)
#undef X
};

const char *rank_name(int i)
{
    return i >= 0 && i < N_RANKS ? scores[i].name : NULL;
}
const char *rank_text(int i)
{
    return i >= 0 && i < N_RANKS ? scores[i].text : NULL;
}
int rank_better(int i)
{
    return i >= 0 && i < N_RANKS ? scores[i].better : 0;
}

void rank_order(const double *value, int better, int64_t n, double *rank)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t before = 0, equal = 0;
        for (int64_t j = 0; j < n; j++) {
            before += better > 0 ? value[j] > value[i] : value[j] < value[i];
            equal += value[j] == value[i];
        }
        rank[i] = 1 + (double)before + (double)(equal - 1) / 2;
    }
}

/* ---- one direction ---- */

struct way {
    const struct rows *q, *g;
    int64_t *first;                 /* [q.n] first answer, of ties the lower row */
    double *best;                   /* [q.n] its cosine */
    double *value[RANK_COSINE + 1]; /* [q.n] by query; spread, and p-match without a calibration: NULL */
    double tau;
    const char *tau_from;
    const struct match_model *match; /* or NULL */
    struct columns all;
    double *lse; /* [g.n] ln of the sum over queries of exp(s / tau) */
};

static int way_open(struct way *w, const struct rows *q, const struct rows *g, const struct match_model *match)
{
    size_t n = (size_t)q->n + 1;
    w->q = q;
    w->g = g;
    w->match = match;
    w->first = mem_calloc(n, sizeof *w->first);
    w->best = mem_calloc(n, sizeof *w->best);
    w->lse = mem_calloc((size_t)g->n + 1, sizeof *w->lse);
    bool ok = w->first && w->best && w->lse;
    for (int k = 0; ok && k <= RANK_COSINE; k++)
        if (k != RANK_SPREAD && (k != RANK_P_MATCH || match)) {
            w->value[k] = mem_calloc(n, sizeof *w->value[k]);
            ok = w->value[k] != NULL;
        }
    return ok ? 0 : ERR_MEMORY;
}

static void way_close(struct way *w)
{
    mem_free(w->first);
    mem_free(w->best);
    mem_free(w->lse);
    for (int k = 0; k <= RANK_COSINE; k++)
        mem_free(w->value[k]);
    columns_close(&w->all);
}

/* Pass 1: the first answer and how far it stands out. */
static int look_row(void *ctx, int64_t i, double *s)
{
    struct way *w = ctx;
    int64_t m = w->g->n, top = 0;
    double second = -INFINITY, sum = 0, square = 0;
    for (int64_t k = 0; k < m; k++) {
        top = s[k] > s[top] ? k : top;
        sum += s[k] / (double)m;
    }
    for (int64_t k = 0; k < m; k++) {
        square += (s[k] - sum) * (s[k] - sum) / (double)m;
        second = k != top && s[k] > second ? s[k] : second;
    }
    w->first[i] = top;
    w->best[i] = w->value[RANK_COSINE][i] = s[top];
    w->value[RANK_LEAD][i] = m > 1 && square > 1e-20 ? (s[top] - second) / sqrt(square) : 0;
    return 0;
}

static void close_cycles(struct way *w, const struct way *back)
{
    double tie = w->q->n <= EXACT_ROWS && w->g->n <= EXACT_ROWS ? 1e-9 : 1e-6; /* fp32 scores of large sets */
    for (int64_t i = 0; i < w->q->n; i++) {
        int64_t j = w->first[i];
        w->value[RANK_CYCLE][i] = rows_cosine(w->q, i, w->g, j) >= back->best[j] - tie;
    }
}

/* Different first answers, as a share of the smaller side. */
static int spread_of(const struct way *w, double *out)
{
    int64_t seen = 0, most = w->q->n < w->g->n ? w->q->n : w->g->n;
    uint8_t *mark = mem_calloc((size_t)w->g->n + 1, 1);
    if (!mark)
        return ERR_MEMORY;
    for (int64_t i = 0; i < w->q->n; i++) {
        seen += !mark[w->first[i]];
        mark[w->first[i]] = 1;
    }
    mem_free(mark);
    *out = (double)seen / (double)most;
    return 0;
}

/* ---- temperature ---- */

struct tau_fit {
    const struct way *w, *back;
    struct fit_rows fit;
    int64_t *row; /* of the queries that somebody's first answer is */
};

static int fit_row(void *ctx, int64_t i, double *s)
{
    struct tau_fit *f = ctx;
    int64_t m = f->fit.m, q = f->row[i];
    for (int64_t k = 0; k < m; k++) {
        f->fit.gap[i * m + k] = (float)(s[k] - f->w->best[q]);
        f->fit.hit[i * m + k] = f->back->first[k] == q;
    }
    f->fit.correct[i] = f->back->first[f->w->first[q]] == q;
    f->fit.filled++;
    return 0;
}

static int pick_rows(struct tau_fit *f)
{
    int64_t n = 0, at = 0, used = 0, m = f->w->g->n, room = FIT_SCORES / m;
    uint8_t *asked = mem_calloc((size_t)f->w->q->n + 1, 1);
    if (!asked)
        return ERR_MEMORY;
    for (int64_t k = 0; k < m; k++)
        asked[f->back->first[k]] = 1;
    for (int64_t i = 0; i < f->w->q->n; i++)
        n += asked[i];
    room = room < 1 ? 1 : room > n ? n : room;
    f->row = mem_calloc((size_t)room + 1, sizeof *f->row);
    for (int64_t i = 0; f->row && i < f->w->q->n; i++) /* evenly spread when not all fit */
        if (asked[i] && (at++ * room) / n == used && used < room)
            f->row[used++] = i;
    mem_free(asked);
    f->fit.n = used;
    f->fit.m = m;
    return f->row ? 0 : ERR_MEMORY;
}

static int fit_tau(struct way *w, const struct way *back)
{
    struct tau_fit f = {.w = w, .back = back};
    struct interval tau = {MISSING, MISSING, MISSING}, ece;
    int rc = pick_rows(&f);
    size_t all = (size_t)(f.fit.n * f.fit.m) + 1;
    if (rc == 0) {
        f.fit.gap = mem_calloc(all, sizeof *f.fit.gap);
        f.fit.hit = mem_calloc(all, sizeof *f.fit.hit);
        f.fit.correct = mem_calloc((size_t)f.fit.n + 1, sizeof *f.fit.correct);
        rc = f.fit.gap && f.fit.hit && f.fit.correct ? 0 : ERR_MEMORY;
    }
    if (rc == 0)
        rc = rows_sweep(&(struct rows_sweep){w->q, w->g, f.row, f.fit.n, "fitting the temperature", fit_row, &f});
    if (rc == 0 && w->g->n > 1)
        rc = fit_temperature(&f.fit, 15, 0, 0, &tau, &ece);
    if (rc == 0 && isfinite(tau.value)) {
        w->tau = tau.value;
        w->tau_from = "the other direction's first answers";
    }
    mem_free(f.row);
    mem_free(f.fit.gap);
    mem_free(f.fit.hit);
    mem_free(f.fit.correct);
    return rc;
}

static int settle_tau(struct way *w, const struct way *back, const struct rank_in *in)
{
    if (in->temperature > 0) {
        w->tau = in->temperature;
        w->tau_from = "given";
        return 0;
    }
    TRY(fit_tau(w, back));
    if (w->tau > 0)
        return 0;
    w->tau = set_temperature(in->set);
    w->tau_from = in->set->logit_scale > 0 ? "the model" : "CLIP's usual";
    return 0;
}

/* ---- probabilities ---- */

static int column_row(void *ctx, int64_t i, double *s)
{
    struct way *w = ctx;
    (void)i;
    columns_add(&w->all, s, w->tau);
    return 0;
}

static int score_row(void *ctx, int64_t i, double *s)
{
    struct way *w = ctx;
    int64_t m = w->g->n, top = w->first[i];
    double sum = 0;
    for (int64_t k = 0; k < m; k++)
        sum += exp((s[k] - s[top]) / w->tau);
    w->value[RANK_MAX_P][i] = 1 / sum;
    w->value[RANK_INVERTED][i] = exp(softmax_log_p(s, m, 1 / w->tau, w->lse, top));
    if (w->match) {
        double feature[N_MATCH_FEATURES];
        struct gallery_view v = match_view(s, m, w->match->temperature);
        match_features(&v, s, m, w->match->temperature, s[top], feature);
        w->value[RANK_P_MATCH][i] = match_p(w->match, feature);
    }
    return 0;
}

static int score_way(struct way *w)
{
    TRY(columns_open(&w->all, w->g->n, false));
    TRY(rows_sweep(&(struct rows_sweep){w->q, w->g, NULL, w->q->n, "looking at the gallery", column_row, w}));
    for (int64_t k = 0; k < w->g->n; k++)
        w->lse[k] = columns_lse(&w->all, k);
    return rows_sweep(&(struct rows_sweep){w->q, w->g, NULL, w->q->n, "scoring the queries", score_row, w});
}

/* ---- both directions ---- */

static struct interval mean_of(const struct interval way[2])
{
    return (struct interval){(way[0].value + way[1].value) / 2, (way[0].low + way[1].low) / 2,
                             (way[0].high + way[1].high) / 2};
}

static int measure_ways(struct way w[2], const struct rank_in *in, const struct eval_opt *opt, struct rank_scores *o)
{
    int64_t resamples = bootstrap_resamples(opt);
    for (int k = 0; k < 2; k++)
        TRY(rows_sweep(&(struct rows_sweep){w[k].q, w[k].g, NULL, w[k].q->n, "first answers", look_row, &w[k]}));
    for (int k = 0; k < 2; k++) {
        close_cycles(&w[k], &w[1 - k]);
        TRY(settle_tau(&w[k], &w[1 - k], in));
        TRY(score_way(&w[k]));
        TRY(spread_of(&w[k], &o->way[RANK_SPREAD][k].value));
        for (int id = 0; id <= RANK_COSINE; id++)
            if (w[k].value[id])
                o->way[id][k] = bootstrap_mean(w[k].value[id], w[k].q->n, resamples, opt ? opt->seed : 0);
        o->temperature[k] = w[k].tau;
        o->temperature_from[k] = w[k].tau_from;
    }
    TRY(signal_check());
    for (int id = 0; id <= RANK_COSINE; id++)
        o->score[id] = mean_of(o->way[id]);
    return 0;
}

/* ---- geometry ---- */

static int effective_rank(const struct rows *r, double *out)
{
    const struct rows *sides[1] = {r};
    double *influence[1] = {mem_calloc((size_t)r->n + 1, sizeof(double))};
    int rc = influence[0] ? eval_spectrum(sides, 1, out, influence, NULL) : ERR_MEMORY;
    mem_free(influence[0]);
    return rc;
}

/* |m_I - m_T|, and a quarter of its square over that plus the mean spread within a side, 1 - |m|^2 for unit rows. */
static int gap_of(const struct rows r[2], double *distance, double *gap)
{
    int64_t d = r[0].d;
    double apart = 0, within = 0;
    double *m = mem_calloc((size_t)d + 1, 2 * sizeof *m);
    int rc = m ? space_mean(r[0].x, r[0].n, d, m) : ERR_MEMORY;
    if (rc == 0)
        rc = space_mean(r[1].x, r[1].n, d, m + d);
    for (int64_t j = 0; rc == 0 && j < d; j++) {
        apart += (m[j] - m[d + j]) * (m[j] - m[d + j]);
        within -= (m[j] * m[j] + m[d + j] * m[d + j]) / 2;
    }
    mem_free(m);
    TRY(rc);
    within = fmax(0, 1 + within);
    *distance = sqrt(apart);
    *gap = within + apart > 0 ? apart / 4 / (apart / 4 + within) : 0;
    return 0;
}

static int measure_shape(const struct rows r[2], const struct eval_opt *opt, struct rank_scores *o)
{
    for (int k = 0; k < 2; k++) {
        TRY(eval_uniformity(r[k].x, r[k].n, r[k].d, opt, &o->way[RANK_UNIFORMITY][k]));
        TRY(effective_rank(&r[k], &o->way[RANK_EFFECTIVE][k].value));
    }
    o->score[RANK_UNIFORMITY] = mean_of(o->way[RANK_UNIFORMITY]);
    o->score[RANK_EFFECTIVE] = mean_of(o->way[RANK_EFFECTIVE]);
    return gap_of(r, &o->score[RANK_CENTROID].value, &o->score[RANK_GAP].value);
}

/* ---- all of it ---- */

static int measure(const struct rank_in *in, const struct eval_opt *opt, struct rows r[2], struct way w[2],
                   struct rank_scores *o)
{
    const struct set *s = in->set;
    const struct calibration *c = in->calibration;
    int64_t resamples = bootstrap_resamples(opt);
    if (s->image.n < 1 || s->text.n < 1)
        FAIL(ERR_DATA, "set \"%s\" has %lld pictures and %lld texts: ranking asks both ways and needs both", s->path,
             (long long)s->image.n, (long long)s->text.n);
    TRY(rows_open(&r[0], s->image.x, s->image.n, s->width, "image"));
    TRY(rows_open(&r[1], s->text.x, s->text.n, s->width, "text"));
    bool both = c && c->models[0].fitted && c->models[1].fitted;
    for (int k = 0; k < 2; k++)
        TRY(way_open(&w[k], &r[k], &r[1 - k], both ? &c->models[k] : NULL));
    TRY(measure_ways(w, in, opt, o));
    TRY(measure_shape(r, opt, o));
    for (int k = 0; k < 2; k++)
        if (in->uncertainty[k])
            o->score[k ? RANK_ADAPTER_TEXT : RANK_ADAPTER] =
                bootstrap_mean(in->uncertainty[k], r[k].n, resamples, opt ? opt->seed : 0);
    o->why[RANK_P_MATCH] = both ? NULL : c ? "the calibration was fitted in one direction only" : "no calibration";
    o->why[RANK_ADAPTER] = in->uncertainty[0] ? NULL : "no adapter";
    o->why[RANK_ADAPTER_TEXT] = in->uncertainty[1] ? NULL : "no adapter";
    for (int id = 0; id < N_RANKS; id++)
        if (!isfinite(o->score[id].value) && !o->why[id])
            o->why[id] = "too few rows";
    return signal_check();
}

int rank_set(const struct rank_in *in, const struct eval_opt *opt, struct rank_scores *out)
{
    struct rank_scores o = {.temperature = {MISSING, MISSING}};
    struct rows r[2] = {{0}, {0}};
    struct way w[2] = {{0}, {0}};
    const struct interval none = {MISSING, MISSING, MISSING};
    for (int id = 0; id < N_RANKS; id++)
        o.score[id] = o.way[id][0] = o.way[id][1] = none;
    int rc = measure(in, opt, r, w, &o);
    for (int k = 0; k < 2; k++) {
        way_close(&w[k]);
        rows_close(&r[k]);
    }
    if (rc < 0)
        return err_while(rc, "scoring set \"%s\"", in->set->path ? in->set->path : "a set");
    *out = o;
    return 0;
}
