/* p(match): how probable it is that a hit of a search is a right answer.
 *
 * What is known of a hit: its cosine; its margin (of the first hit over the next, of a later hit behind the first); the
 * log odds of its probability in a softmax over the whole gallery, at the temperature that fits the validation queries
 * best. One of them, or several through a small logistic regression, makes the score; one of the four maps
 * (calibrator.c) turns the score into p. All hits of the validation queries' lists are fitted, for a list shows ten
 * numbers and each has to mean what it says; the first hit has a score and a map of its own, because one in two first
 * hits is right and one in fifty of the others: one map for both was honest on the whole list (error 0.01) and off by
 * 0.10 on the first hits of the emoji world.
 *
 * Equal items (scores within 1e-6) share their softmax mass and have no margin over each other: of two copies of a
 * picture both are right. A hit is right when it, or a twin of it, is paired with the query or a twin of it.
 *
 * Rejected: a score that asks how well the hit fits the set's other captions (a softmax the other way). It is better on
 * rows of the set itself, but there the true caption of a wrong hit is part of the evidence, which the text a user
 * types never is; the map would promise too much. `review`, which asks about the set's own rows, does use it. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SCORES = 4 << 20, MAX_BLOCK = 128, FIT_SCORES = 8 << 20 };

struct gallery_view match_view(const double *s, int64_t n, double temperature)
{
    struct gallery_view v = {.best = -INFINITY, .second = -INFINITY};
    for (int64_t j = 0; j < n; j++)
        v.best = s[j] > v.best ? s[j] : v.best;
    for (int64_t j = 0; j < n; j++) {
        double e = exp((s[j] - v.best) / temperature);
        if (s[j] >= v.best - MATCH_TIE) {
            v.ties += e;
        } else {
            v.rest += e;
            v.second = s[j] > v.second ? s[j] : v.second;
        }
    }
    return v;
}

void match_features(const struct gallery_view *v, const double *s, int64_t n, double temperature, double c,
                    double *feature)
{
    const double most = 40; /* log odds of an item that has no rival */
    bool first = c >= v->best - MATCH_TIE;
    int64_t ties = 0;
    for (int64_t j = 0; !first && j < n; j++)
        ties += fabs(s[j] - c) <= MATCH_TIE;
    feature[0] = c;
    feature[1] = !first ? c - v->best : isfinite(v->second) ? v->best - v->second : 2;
    if (first) {
        feature[2] = v->rest > 0 ? fmin(most, log(v->ties) - log(v->rest)) : most;
    } else {
        double own = (double)(ties < 1 ? 1 : ties) * exp((c - v->best) / temperature);
        feature[2] = (c - v->best) / temperature + log((double)(ties < 1 ? 1 : ties)) -
                     log(fmax(v->ties + v->rest - own, 1e-300));
    }
}

static double predictor(const struct match_model *m, const struct match_score *s, const double *feature)
{
    double x = s->weight[N_MATCH_FEATURES];
    if (m->features == MATCH_SOFTMAX)
        return feature[2];
    for (int k = 0; k < N_MATCH_FEATURES; k++)
        if (m->features >> k & 1)
            x += s->weight[k] * (feature[k] - s->mean[k]) / s->scale[k];
    return x;
}

/* The margin of a later hit is below 0, that of the first and its ties is not. */
double match_p(const struct match_model *m, const double *feature)
{
    const struct match_score *s = feature[1] < 0 ? &m->later : &m->first;
    return calibrator_apply(&s->map, predictor(m, s, feature));
}

void match_free(struct match_model *m)
{
    calibrator_free(&m->first.map);
    calibrator_free(&m->later.map);
    mem_free(m->risk.score);
    mem_free(m->risk.right);
    mem_free(m->risk.grid);
    mem_free(m->cover);
    *m = (struct match_model){0};
}

/* ---- collecting hits ---- */

struct link {
    int64_t query, item;
};

struct hunt {
    const struct set *set;
    int direction;
    const struct match_opt *opt;
    const int64_t *twin_q, *twin_g;
    struct rows query, gallery;
    struct link *links; /* right answers by class, sorted */
    int64_t n_links;
    int64_t *list, n_list; /* queries with a right answer, by part: fit, thresholds, held out */
    int64_t part[5];       /* list[part[r]] .. list[part[r + 1]] are of role r */
    int64_t k;             /* hits a query */
    double *feature;       /* [n_list, k, N_MATCH_FEATURES] */
    bool *match;           /* [n_list, k] */
    double *right_mass;    /* [n_list] ln of the softmax mass of the best right answer */
    double *scores;        /* [block, gallery] */
    int64_t block;
    struct scorer scorer;
};

static void hunt_close(struct hunt *h)
{
    rows_close(&h->query);
    rows_close(&h->gallery);
    scorer_close(&h->scorer);
    mem_free(h->links);
    mem_free(h->list);
    mem_free(h->feature);
    mem_free(h->match);
    mem_free(h->right_mass);
    mem_free(h->scores);
}

static int order_link(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    if (x->query != y->query)
        return x->query < y->query ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static bool is_right(const struct hunt *h, int64_t query, int64_t item)
{
    const struct link key = {h->twin_q[query], h->twin_g[item]};
    return bsearch(&key, h->links, (size_t)h->n_links, sizeof key, order_link) != NULL;
}

static int find_queries(struct hunt *h, const struct match_split *split)
{
    const struct set *s = h->set;
    int64_t n = h->query.n;
    const uint8_t *role = split->role[h->direction];
    h->links = mem_calloc((size_t)s->n_pairs + 1, sizeof *h->links);
    h->list = mem_calloc((size_t)n + 1, sizeof *h->list);
    uint8_t *has = mem_calloc((size_t)n + 1, 1);
    if (!h->links || !h->list || !has) {
        mem_free(has);
        return ERR_MEMORY;
    }
    for (int64_t i = 0; i < s->n_pairs; i++) {
        int64_t q = h->direction ? s->pairs[i].text : s->pairs[i].image,
                g = h->direction ? s->pairs[i].image : s->pairs[i].text;
        has[q] = 1;
        h->links[h->n_links++] = (struct link){h->twin_q[q], h->twin_g[g]};
    }
    qsort(h->links, (size_t)h->n_links, sizeof *h->links, order_link);
    for (int r = ROLE_FIT; r <= ROLE_TEST; r++) {
        h->part[r] = h->n_list;
        for (int64_t i = 0; i < n; i++)
            if (has[i] && role[i] == r)
                h->list[h->n_list++] = i;
    }
    h->part[ROLE_TEST + 1] = h->n_list;
    mem_free(has);
    return 0;
}

static int hunt_open(struct hunt *h, const struct match_split *split)
{
    const struct set *s = h->set;
    const struct set_side *q = h->direction ? &s->text : &s->image, *g = h->direction ? &s->image : &s->text;
    h->twin_q = split->twin[h->direction];
    h->twin_g = split->twin[!h->direction];
    TRY(rows_open(&h->query, q->x, q->n, s->width, h->direction ? "text" : "image"));
    TRY(rows_open(&h->gallery, g->x, g->n, s->width, h->direction ? "image" : "text"));
    TRY(find_queries(h, split));
    h->k = h->opt->n_hits < g->n ? h->opt->n_hits : g->n;
    size_t n = (size_t)h->n_list * (size_t)h->k + 1;
    h->block = g->n ? BLOCK_SCORES / g->n : 1;
    h->block = h->block < 1 ? 1 : h->block > MAX_BLOCK ? MAX_BLOCK : h->block;
    h->feature = mem_calloc(n, N_MATCH_FEATURES * sizeof *h->feature);
    h->match = mem_calloc(n, sizeof *h->match);
    h->right_mass = mem_calloc((size_t)h->n_list + 1, sizeof *h->right_mass);
    h->scores = mem_calloc((size_t)(h->block * g->n) + 1, sizeof *h->scores);
    if (!h->feature || !h->match || !h->right_mass || !h->scores)
        return ERR_MEMORY;
    return scorer_open(&h->scorer, g->n <= EXACT_ROWS, s->width, h->block, g->n < 1024 ? g->n : 1024);
}

/* Scores of queries list[q0] … against the whole gallery, then `each` for every one. */
static int for_queries(struct hunt *h, const int64_t *list, int64_t n, const char *label, void *ctx,
                       int (*each)(struct hunt *h, void *ctx, int64_t at, const double *s))
{
    int64_t m = h->gallery.n, step = h->scorer.max_b;
    struct progress *bar = NULL;
    int rc = 0;
    if (n > 0 && m > (int64_t)1000000000 / n)
        progress_open(&bar, label, n, "queries");
    for (int64_t q0 = 0; rc == 0 && q0 < n; q0 += h->block) {
        int64_t nq = n - q0 < h->block ? n - q0 : h->block;
        rc = signal_check();
        scorer_left(&h->scorer, &h->query, list, q0, nq);
        for (int64_t j0 = 0; rc == 0 && j0 < m; j0 += step)
            scorer_block(&h->scorer, nq, &h->gallery, j0, m - j0 < step ? m - j0 : step, h->scores + j0, m);
        for (int64_t q = 0; rc == 0 && q < nq; q++)
            rc = each(h, ctx, q0 + q, h->scores + q * m);
        if (bar)
            progress_add(bar, nq);
    }
    if (bar)
        progress_close(&bar);
    return rc;
}

/* ---- the temperature ---- */

static int keep_gaps(struct hunt *h, void *ctx, int64_t at, const double *s)
{
    struct fit_rows *f = ctx;
    int64_t m = h->gallery.n, q = h->list[h->part[ROLE_FIT] + at];
    double top = -INFINITY;
    for (int64_t j = 0; j < m; j++)
        top = s[j] > top ? s[j] : top;
    for (int64_t j = 0; j < m; j++) {
        f->gap[at * m + j] = (float)(s[j] - top);
        f->hit[at * m + j] = is_right(h, q, j);
    }
    f->filled++;
    return 0;
}

static int find_temperature(struct hunt *h, double *tau)
{
    int64_t m = h->gallery.n, n = h->part[ROLE_FIT + 1] - h->part[ROLE_FIT], room = m ? FIT_SCORES / m : 0;
    struct interval t, ece;
    room = room < 1 ? 1 : room > n ? n : room;
    struct fit_rows f = {.n = room, .m = m};
    f.gap = mem_calloc((size_t)(room * m) + 1, sizeof *f.gap);
    f.hit = mem_calloc((size_t)(room * m) + 1, sizeof *f.hit);
    f.correct = mem_calloc((size_t)room + 1, sizeof *f.correct);
    int rc = f.gap && f.hit && f.correct ? 0 : ERR_MEMORY;
    if (rc == 0)
        rc = for_queries(h, h->list + h->part[ROLE_FIT], room, "temperature", &f, keep_gaps);
    if (rc == 0)
        rc = fit_temperature(&f, 1, 0, h->opt->seed, &t, &ece);
    if (rc == 0)
        *tau = isfinite(t.value) ? t.value : set_temperature(h->set);
    mem_free(f.gap);
    mem_free(f.hit);
    mem_free(f.correct);
    return rc;
}

/* ---- hits and their features ---- */

static int keep_hits(struct hunt *h, void *ctx, int64_t at, const double *s)
{
    const double *tau = ctx;
    int64_t m = h->gallery.n, q = h->list[at], n;
    struct gallery_view v = match_view(s, m, *tau);
    double right = -INFINITY, feature[N_MATCH_FEATURES];
    int64_t *top = mem_calloc((size_t)h->k + 1, sizeof *top);
    double *best = mem_calloc((size_t)h->k + 1, sizeof *best);
    if (!top || !best) {
        mem_free(top);
        mem_free(best);
        return ERR_MEMORY;
    }
    n = top_k(s, m, h->k, NULL, -1, best, top);
    for (int64_t i = 0; i < n; i++) {
        match_features(&v, s, m, *tau, s[top[i]], h->feature + (at * h->k + i) * N_MATCH_FEATURES);
        h->match[at * h->k + i] = is_right(h, q, top[i]);
    }
    const struct link from = {h->twin_q[q], -1};
    int64_t low = 0, high = h->n_links;
    while (low < high) { /* the first link of the query's class */
        int64_t mid = low + (high - low) / 2;
        if (order_link(&h->links[mid], &from) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < h->n_links && h->links[low].query == from.query; low++)
        right = fmax(right, s[h->links[low].item]);
    match_features(&v, s, m, *tau, right, feature);
    h->right_mass[at] = -softplus(-feature[2]);
    mem_free(top);
    mem_free(best);
    return 0;
}

/* ---- fitting ---- */

static void standardise(struct match_score *s, const double *feature, int64_t n)
{
    for (int k = 0; k < N_MATCH_FEATURES; k++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < n; i++)
            sum += feature[i * N_MATCH_FEATURES + k];
        s->mean[k] = sum / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += pow(feature[i * N_MATCH_FEATURES + k] - s->mean[k], 2);
        s->scale[k] = square > 1e-18 * (double)n ? sqrt(square / (double)n) : 1;
    }
}

/* feature [n, N_MATCH_FEATURES], match [n]; z [n, N_MATCH_FEATURES] and x [n] are scratch. */
static int fit_part(const struct match_model *m, struct match_score *s, const struct match_opt *opt,
                    const double *feature, const bool *match, int64_t n, double *z)
{
    double w[N_MATCH_FEATURES + 1];
    int64_t at = 0;
    int p = 0;
    standardise(s, feature, n);
    for (int k = 0; k < N_MATCH_FEATURES; k++)
        p += m->features >> k & 1;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < N_MATCH_FEATURES; k++)
            if (m->features >> k & 1)
                z[at++] = (feature[i * N_MATCH_FEATURES + k] - s->mean[k]) / s->scale[k];
    logistic_fit(&(struct logistic_rows){.x = z, .y = match, .n = n, .p = p}, opt->fit.l2, opt->fit.smooth, w);
    for (int k = 0, i = 0; k < N_MATCH_FEATURES; k++)
        s->weight[k] = m->features >> k & 1 ? w[i++] : 0;
    s->weight[N_MATCH_FEATURES] = w[p];
    for (int64_t i = 0; i < n; i++)
        z[i] = predictor(m, s, feature + i * N_MATCH_FEATURES);
    return calibrator_fit(opt->kind, z, match, n, &opt->fit, &s->map);
}

static int fit_maps(struct match_model *m, const struct hunt *h)
{
    int64_t n = (h->part[ROLE_FIT + 1] - h->part[ROLE_FIT]) * h->k, count[2] = {0, 0};
    const size_t width = N_MATCH_FEATURES * sizeof(double);
    double *part = mem_calloc((size_t)n + 1, width), *z = mem_calloc((size_t)n + 1, width);
    bool *match = mem_calloc((size_t)n + 1, sizeof *match);
    int rc = part && z && match ? 0 : ERR_MEMORY;
    for (int later = 0; rc == 0 && later < 2; later++) {
        for (int64_t i = 0; i < n; i++)
            if ((h->feature[i * N_MATCH_FEATURES + 1] < 0) == (later != 0)) {
                memcpy(part + count[later] * N_MATCH_FEATURES, h->feature + i * N_MATCH_FEATURES, width);
                match[count[later]++] = h->match[i];
                m->n_fit_matches += h->match[i];
            }
        if (count[later] > 0)
            rc = fit_part(m, later ? &m->later : &m->first, h->opt, part, match, count[later], z);
    }
    if (rc == 0 && count[1] == 0) { /* lists of one hit: the same for what lies behind */
        m->later = m->first;
        m->later.map = (struct calibrator){0};
        rc = fit_part(m, &m->later, h->opt, h->feature, h->match, n, z);
    }
    m->n_fit_pairs = n;
    m->n_fit_queries = h->part[ROLE_FIT + 1] - h->part[ROLE_FIT];
    mem_free(part);
    mem_free(z);
    mem_free(match);
    return rc;
}

static double p_of(const struct match_model *m, const struct hunt *h, int64_t hit)
{
    return match_p(m, h->feature + hit * N_MATCH_FEATURES);
}

/* Thresholds from the fitting part, first hits of the part that no fit has seen. */
static int keep_promises(struct match_model *m, const struct hunt *h)
{
    int64_t n_fit = m->n_fit_queries, at = h->part[ROLE_RISK], n = h->part[ROLE_RISK + 1] - at;
    struct risk_sample *r = &m->risk;
    double *first = mem_calloc((size_t)n_fit + 1, sizeof *first);
    r->score = mem_calloc((size_t)n + 1, sizeof *r->score);
    r->right = mem_calloc((size_t)n + 1, sizeof *r->right);
    r->grid = mem_calloc(MATCH_GRID, sizeof *r->grid);
    m->cover = mem_calloc((size_t)n + 1, sizeof *m->cover);
    int rc = first && r->score && r->right && r->grid && m->cover ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < n_fit; i++)
        first[i] = p_of(m, h, i * h->k);
    if (rc == 0)
        rc = risk_grid(first, n_fit, MATCH_GRID, r->grid);
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        r->score[i] = p_of(m, h, (at + i) * h->k);
        r->right[i] = h->match[(at + i) * h->k];
        m->cover[i] = h->right_mass[at + i];
    }
    r->n = m->n_cover = n;
    r->n_grid = MATCH_GRID;
    mem_free(first);
    return rc;
}

static int judge(struct match_model *m, const struct hunt *h)
{
    int64_t at = h->part[ROLE_TEST], n = h->part[ROLE_TEST + 1] - at, all = n * h->k, resamples = h->opt->bootstrap;
    double *p = mem_calloc((size_t)all + 1, sizeof *p);
    bool *match = mem_calloc((size_t)all + 1, sizeof *match);
    int64_t *owner = mem_calloc((size_t)all + 1, sizeof *owner);
    int rc = p && match && owner ? 0 : ERR_MEMORY;
    for (int first = 0; rc == 0 && first < 2; first++) {
        int64_t step = first ? h->k : 1, count = all / step;
        for (int64_t i = 0; i < count; i++) {
            p[i] = p_of(m, h, at * h->k + i * step);
            match[i] = h->match[at * h->k + i * step];
            owner[i] = i * step / h->k;
        }
        rc = match_judge(p, match, owner, count, n, resamples, h->opt->seed, &m->report[first]);
    }
    mem_free(p);
    mem_free(match);
    mem_free(owner);
    return rc;
}

/* What became of the promises on queries that neither the fit nor the thresholds have seen. */
static int try_promises(struct match_model *m, const struct hunt *h)
{
    static const double risks[3] = {0.05, 0.1, 0.2}, coverages[2] = {0.8, 0.9};
    int64_t at = h->part[ROLE_TEST], n = h->part[ROLE_TEST + 1] - at;
    for (int k = 0; k < 3; k++) {
        struct risk_choice c;
        struct match_kept *kept = &m->risk_kept[k];
        TRY(risk_threshold(&m->risk, risks[k], 0.9, &c));
        *kept = (struct match_kept){.asked = risks[k], .found = c.found, .n = n};
        for (int64_t i = 0; c.found && i < n; i++)
            if (p_of(m, h, (at + i) * h->k) >= c.threshold) {
                kept->n_answered++;
                kept->n_wrong += !h->match[(at + i) * h->k];
            }
    }
    for (int k = 0; k < 2; k++) {
        double t;
        struct match_kept *kept = &m->cover_kept[k];
        TRY(conformal_threshold(m->cover, m->n_cover, coverages[k], &t));
        *kept = (struct match_kept){.asked = coverages[k], .found = isfinite(t), .n = n, .n_answered = n};
        for (int64_t i = 0; i < n; i++)
            kept->n_wrong += h->right_mass[at + i] < t;
    }
    return 0;
}

int match_fit(const struct set *s, int direction, const struct match_split *split, const struct match_opt *opt,
              struct match_model *out)
{
    struct match_model m = {.kind = opt->kind,
                            .features = opt->kind == CALIBRATE_TEMPERATURE ? MATCH_SOFTMAX : opt->features & MATCH_ALL};
    struct hunt h = {.set = s, .direction = direction, .opt = opt};
    BUG_ON(direction != 0 && direction != 1);
    if (opt->n_hits < 1 || m.features == 0)
        FAIL(ERR_USAGE, "calibration: %lld hits a query and %s, expected at least one of each", (long long)opt->n_hits,
             m.features ? "some features" : "no feature");
    int rc = hunt_open(&h, split);
    if (rc == 0 && h.part[ROLE_FIT + 1] == h.part[ROLE_FIT]) {
        m.n_gallery = h.gallery.n; /* a set of one side, or no pairs: nothing to fit, and no failure */
        goto out;
    }
    if (rc == 0)
        rc = find_temperature(&h, &m.temperature);
    if (rc == 0)
        rc = for_queries(&h, h.list, h.n_list, "hits", &m.temperature, keep_hits);
    if (rc == 0)
        rc = fit_maps(&m, &h);
    if (rc == 0)
        rc = keep_promises(&m, &h);
    if (rc == 0)
        rc = judge(&m, &h);
    if (rc == 0)
        rc = try_promises(&m, &h);
    m.n_gallery = h.gallery.n;
    m.fitted = true;
out:
    hunt_close(&h);
    if (rc < 0) {
        match_free(&m);
        return err_while(rc, "calibrating %s", direction ? "texts against images" : "images against texts");
    }
    *out = m;
    return 0;
}

int match_judge_set(const struct match_model *m, const struct set *s, int direction, const struct match_opt *opt,
                    struct match_report report[2])
{
    struct match_model mine = *m; /* its reports are written */
    struct hunt h = {.set = s, .direction = direction, .opt = opt};
    struct match_split split = {0};
    double tau = m->temperature;
    BUG_ON(direction != 0 && direction != 1);
    memset(report, 0, 2 * sizeof *report);
    if (!m->fitted)
        return 0;
    TRY(match_split_open(s, &(struct match_split_opt){.same = MATCH_SAME}, &split)); /* nothing is kept for fitting */
    int rc = hunt_open(&h, &split);
    if (rc == 0)
        rc = for_queries(&h, h.list, h.n_list, "hits", &tau, keep_hits);
    if (rc == 0)
        rc = judge(&mine, &h);
    if (rc == 0)
        memcpy(report, mine.report, sizeof mine.report);
    hunt_close(&h);
    match_split_close(&split);
    return rc;
}

int match_hits(const struct match_model *m, const float *query, const float *gallery, int64_t n, int64_t d,
               const struct hit *hits, int64_t n_hits, double *p, double *mass)
{
    struct rows q = {0}, g = {0};
    struct scorer scorer = {0};
    double feature[N_MATCH_FEATURES];
    int64_t step = n < 1024 ? n : 1024;
    double *s = mem_calloc((size_t)n + 1, sizeof *s);
    int rc = s ? rows_open(&q, query, 1, d, "query") : ERR_MEMORY;
    if (rc == 0)
        rc = rows_open(&g, gallery, n, d, "gallery");
    if (rc == 0)
        rc = scorer_open(&scorer, n <= EXACT_ROWS, d, 1, step);
    if (rc < 0)
        goto out;
    scorer_left(&scorer, &q, NULL, 0, 1);
    for (int64_t j0 = 0; j0 < n; j0 += step)
        scorer_block(&scorer, 1, &g, j0, n - j0 < step ? n - j0 : step, s + j0, n);
    struct gallery_view v = match_view(s, n, m->temperature);
    for (int64_t i = 0; i < n_hits; i++) {
        BUG_ON(hits[i].row < 0 || hits[i].row >= n);
        match_features(&v, s, n, m->temperature, s[hits[i].row], feature);
        p[i] = match_p(m, feature);
    }
    for (int64_t j = 0; mass && j < n; j++) {
        match_features(&v, s, n, m->temperature, s[j], feature);
        mass[j] = -softplus(-feature[2]);
    }
out:
    scorer_close(&scorer);
    rows_close(&q);
    rows_close(&g);
    mem_free(s);
    return rc;
}
