/* Every cheap score of doubt for every query of one direction, in three passes over blocks of cosines.
 *
 * Pass 1 (validation queries) fits the temperature; pass 2 (all queries of the side, and the reference queries) gathers
 * what each gallery item looks like from the queries; pass 3 (test and validation queries) writes the scores. A block
 * is at most 128 queries against the gallery: 100,000 by 100,000 needs some 100 MB beyond the vectors, never the
 * matrix. Formulas and sources: docs/methods/uncertainty.md.
 *
 * "First answer" is always the largest raw cosine, also where another score would reorder the gallery: a corrected
 * softmax that gives the raw first answer little probability is the strongest sign of a miss. Probabilities are kept as
 * logarithms; their log odds are the features of the combined score. Rejected: the probability of the corrected first
 * answer (its AUROC is lower by 0.02 to 0.12 on the fashion pairs). */
#include "eval/uncertainty.h"

#include <math.h>
#include <string.h>

#define NEAR 1e-5

enum {
    FIT_SCORES = 8 << 20,
    WIDEST_CLOUD = 2048, /* a covariance of more is too large to factor here */
};

/* ---- right answers ---- */

static int index_positives(struct unc_job *j)
{
    const struct set *s = j->set;
    j->first = mem_calloc((size_t)j->q.n + 2, sizeof *j->first);
    j->positive = mem_calloc((size_t)s->n_pairs + 1, sizeof *j->positive);
    if (!j->first || !j->positive)
        return ERR_MEMORY;
    int64_t *at = j->first + 1; /* filled as cursors, ends as the next start */
    for (int64_t i = 0; i < s->n_pairs; i++)
        at[(j->direction ? s->pairs[i].text : s->pairs[i].image) + 1]++;
    for (int64_t i = 1; i <= j->q.n; i++)
        at[i] += at[i - 1];
    for (int64_t i = 0; i < s->n_pairs; i++) {
        int64_t q = j->direction ? s->pairs[i].text : s->pairs[i].image;
        j->positive[at[q]++] = j->direction ? s->pairs[i].image : s->pairs[i].text;
    }
    return 0;
}

/* Marks the right answers of query row q, or takes the marks away. */
static void mark(struct unc_job *j, int64_t q, uint8_t value)
{
    if (j->label[0]) {
        int64_t class = j->label[0][q];
        for (int64_t k = 0; k < j->g.n; k++)
            j->mark[k] = value && class >= 0 && j->label[1][k] == class;
        return;
    }
    for (int64_t k = j->first[q]; k < j->first[q + 1]; k++)
        j->mark[j->positive[k]] = value;
}

static int pick_queries(struct unc_job *j)
{
    int64_t *has = mem_calloc((size_t)j->set->image.n + 1, sizeof *has); /* [class] gallery items */
    j->row = mem_calloc((size_t)j->q.n + 1, sizeof *j->row);
    if (!has || !j->row) {
        mem_free(has);
        return ERR_MEMORY;
    }
    for (int64_t k = 0; j->label[0] && k < j->g.n; k++)
        if (j->label[1][k] >= 0)
            has[j->label[1][k]]++;
    for (int64_t i = 0; i < j->q.n; i++) {
        if (j->role[i] != UNC_TEST && j->role[i] != UNC_VAL)
            continue;
        bool right = j->first[i + 1] > j->first[i];
        if (j->label[0])
            right = j->label[0][i] >= 0 && has[j->label[0][i]] > 0;
        if (right)
            j->row[j->n++] = i;
        else
            j->n_without += j->role[i] == UNC_TEST;
    }
    mem_free(has);
    return 0;
}

/* Whether the best marked item is within a tie of the best other one; near misses of fp32 are decided in double. */
static bool is_hit(const struct unc_job *j, int64_t q, double *s)
{
    double best[2];
    for (int round = 0;; round++) {
        best[0] = best[1] = -INFINITY;
        for (int64_t k = 0; k < j->g.n; k++)
            best[j->mark[k]] = s[k] > best[j->mark[k]] ? s[k] : best[j->mark[k]];
        if (round > 0 || j->g.n <= EXACT_ROWS || fabs(best[0] - best[1]) > NEAR)
            return best[1] >= best[0] - EVAL_TIE;
        double low = fmin(best[0], best[1]) - NEAR;
        for (int64_t k = 0; k < j->g.n; k++)
            if (s[k] >= low)
                s[k] = rows_cosine(&j->q, q, &j->g, k);
    }
}

/* ---- pass 1: temperature ---- */

struct fit_pass {
    struct unc_job *j;
    struct fit_rows fit;
    int64_t *row;
};

static int fit_row(void *ctx, int64_t i, double *s)
{
    struct fit_pass *p = ctx;
    float *gap = p->fit.gap + i * p->fit.m;
    double top = -INFINITY;
    for (int64_t k = 0; k < p->fit.m; k++)
        top = s[k] > top ? s[k] : top;
    for (int64_t k = 0; k < p->fit.m; k++)
        gap[k] = (float)(s[k] - top);
    mark(p->j, p->row[i], 1);
    memcpy(p->fit.hit + i * p->fit.m, p->j->mark, (size_t)p->fit.m);
    p->fit.correct[i] = is_hit(p->j, p->row[i], s);
    mark(p->j, p->row[i], 0);
    p->fit.filled++;
    return 0;
}

static int fit_tau(struct unc_job *j)
{
    struct fit_pass p = {.j = j};
    struct interval tau, ece;
    int64_t n = 0, room = j->g.n ? FIT_SCORES / j->g.n : 0, at = 0, used = 0;
    for (int64_t i = 0; i < j->n; i++)
        n += j->role[j->row[i]] == UNC_VAL;
    room = room < 1 ? 1 : room > n ? n : room;
    if (n == 0 || j->g.n < 2)
        return 0;
    p.row = mem_calloc((size_t)room, sizeof *p.row);
    p.fit.m = j->g.n;
    p.fit.gap = mem_calloc((size_t)(room * j->g.n), sizeof *p.fit.gap);
    p.fit.hit = mem_calloc((size_t)(room * j->g.n), sizeof *p.fit.hit);
    p.fit.correct = mem_calloc((size_t)room, sizeof *p.fit.correct);
    int rc = p.row && p.fit.gap && p.fit.hit && p.fit.correct ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < j->n; i++) /* evenly spread when not all fit */
        if (j->role[j->row[i]] == UNC_VAL && (at++ * room) / n == used && used < room)
            p.row[used++] = j->row[i];
    p.fit.n = used;
    if (rc == 0)
        rc = rows_sweep(&(struct rows_sweep){&j->q, &j->g, p.row, used, "fitting the temperature", fit_row, &p});
    if (rc == 0)
        rc = fit_temperature(&p.fit, 15, 0, 0, &tau, &ece);
    if (rc == 0 && isfinite(tau.value)) {
        j->tau = tau.value;
        j->tau_from = "validation queries";
    }
    mem_free(p.row);
    mem_free(p.fit.gap);
    mem_free(p.fit.hit);
    mem_free(p.fit.correct);
    return rc;
}

static int settle_tau(struct unc_job *j)
{
    if (j->tau > 0) {
        if (!j->tau_from)
            j->tau_from = "given";
        return 0;
    }
    TRY(fit_tau(j));
    if (j->tau > 0)
        return 0;
    j->tau = set_temperature(j->set);
    j->tau_from = j->set->logit_scale > 0 ? "the model" : "CLIP's usual";
    return 0;
}

/* ---- pass 2: what an item looks like from the queries ---- */

static int column_row(void *ctx, int64_t i, double *s)
{
    struct unc_job *j = ctx;
    columns_add(&j->all, s, j->tau);
    if (j->ref == &j->q && j->role[i] == UNC_REF)
        columns_add(&j->of_ref, s, j->tau);
    return 0;
}

static int ref_row(void *ctx, int64_t i, double *s)
{
    struct unc_job *j = ctx;
    (void)i;
    columns_add(&j->of_ref, s, j->tau);
    return 0;
}

static bool tilt_open(struct tilt *t, int64_t m)
{
    t->shift = mem_calloc((size_t)m + 1, sizeof *t->shift);
    t->factor = mem_calloc((size_t)m + 1, sizeof *t->factor);
    return t->shift && t->factor;
}

static void tilt_settle(struct tilt *t, int64_t m)
{
    t->low = INFINITY;
    for (int64_t k = 0; k < m; k++)
        t->low = fmin(t->low, t->shift[k]);
    for (int64_t k = 0; k < m; k++)
        t->factor[k] = exp(t->low - t->shift[k]);
}

static int gather_columns(struct unc_job *j)
{
    TRY(columns_open(&j->all, j->g.n, true));
    TRY(columns_open(&j->of_ref, j->g.n, false));
    TRY(rows_sweep(&(struct rows_sweep){&j->q, &j->g, NULL, j->q.n, "looking at the gallery", column_row, j}));
    if (j->ref && j->ref != &j->q)
        TRY(rows_sweep(&(struct rows_sweep){j->ref, &j->g, j->ref_index, j->n_ref, "reference queries", ref_row, j}));
    j->e = mem_calloc((size_t)j->g.n + 1, sizeof *j->e);
    if (!j->e || !tilt_open(&j->all_lse, j->g.n) || !tilt_open(&j->near, j->g.n) || !tilt_open(&j->ref_lse, j->g.n))
        return ERR_MEMORY;
    for (int64_t k = 0; k < j->g.n; k++) {
        j->all_lse.shift[k] = columns_lse(&j->all, k);
        j->ref_lse.shift[k] = j->ref ? columns_lse(&j->of_ref, k) : 0;
        j->near.shift[k] = columns_near(&j->all, k) / j->tau;
    }
    tilt_settle(&j->all_lse, j->g.n);
    tilt_settle(&j->ref_lse, j->g.n);
    tilt_settle(&j->near, j->g.n);
    return 0;
}

/* ---- pass 3: scores ---- */

double softmax_log_p(const double *s, int64_t m, double scale, const double *shift, int64_t at)
{
    double top = -INFINITY, sum = 0;
    for (int64_t k = 0; k < m; k++)
        top = fmax(top, scale * s[k] - shift[k]);
    for (int64_t k = 0; k < m; k++)
        sum += exp(scale * s[k] - shift[k] - top);
    return fmin(0, scale * s[at] - shift[at] - top - log(sum));
}

/* The same with scale = times / tau for the item of the largest s, out of the exponentials e that are there already.
 * Where their products leave the range of a double, the long way. */
static double tilted(const struct unc_job *j, const struct tilt *t, int times, const double *s, int64_t top)
{
    double sum = 0;
    if (times == 1)
        for (int64_t k = 0; k < j->g.n; k++)
            sum += j->e[k] * t->factor[k];
    else
        for (int64_t k = 0; k < j->g.n; k++)
            sum += j->e[k] * j->e[k] * t->factor[k];
    if (!(sum > 1e-250 && sum < 1e250))
        return softmax_log_p(s, j->g.n, times / j->tau, t->shift, top);
    return fmin(0, t->low - t->shift[top] - log(sum));
}

static double log_odds(double lp)
{
    lp = fmin(lp, -1e-12);
    return lp - log(-expm1(lp));
}

/* Fills e; ln of the first answer's softmax probability, and the entropy. */
static double plain_softmax(struct unc_job *j, const double *s, double best, double *entropy)
{
    double sum = 0, weighted = 0;
    for (int64_t k = 0; k < j->g.n; k++) {
        double x = (s[k] - best) / j->tau;
        j->e[k] = exp(x);
        sum += j->e[k];
        weighted += j->e[k] * x;
    }
    *entropy = fmax(0, log(sum) - weighted / sum);
    return -log(sum);
}

static void put_p(struct unc_job *j, int which, int64_t i, double lp)
{
    j->u[which][i] = -expm1(lp);
}

static void reference_scores(struct unc_job *j, int64_t i, const double *s, int64_t top, double row_lp)
{
    double x = s[top] / j->tau, l = j->ref_lse.shift[top], *f = j->feature + i * N_FEATURES, a = fmax(x, l);
    double own = x - (a + log(exp(x - a) + exp(l - a))); /* the query is one of its own rivals */
    double dual = tilted(j, &j->ref_lse, 2, s, top), inverted = tilted(j, &j->ref_lse, 1, s, top);
    put_p(j, UNC_DUAL_REF, i, row_lp + own);
    put_p(j, UNC_DUAL_NORM_REF, i, dual);
    put_p(j, UNC_INVERTED_REF, i, inverted);
    f[F_COLUMN_REF] = log_odds(own);
    f[F_DUAL_REF] = log_odds(dual);
    f[F_INVERTED_REF] = log_odds(inverted);
}

static int score_row(void *ctx, int64_t i, double *s)
{
    struct unc_job *j = ctx;
    double near[UNC_NEAR], *f = j->feature + i * N_FEATURES;
    int64_t at[UNC_NEAR], q = j->row[i], m = j->g.n;
    mark(j, q, 1);
    j->hit[i] = is_hit(j, q, s);
    mark(j, q, 0);
    int64_t n = top_k(s, m, UNC_NEAR, NULL, -1, near, at);
    int64_t top = at[0];
    double second = n > 1 ? near[1] : -1, lp = plain_softmax(j, s, near[0], &j->u[UNC_ENTROPY][i]);
    double column = fmin(0, s[top] / j->tau - j->all_lse.shift[top]), dual = tilted(j, &j->all_lse, 2, s, top),
           inverted = tilted(j, &j->all_lse, 1, s, top);
    j->u[UNC_COSINE][i] = 1 - near[0];
    j->u[UNC_MARGIN][i] = second - near[0];
    put_p(j, UNC_MAX_P, i, lp);
    put_p(j, UNC_DUAL, i, lp + column);
    put_p(j, UNC_DUAL_NORM, i, dual);
    put_p(j, UNC_INVERTED, i, inverted);
    j->u[UNC_HUBNESS][i] = (double)j->all.hub[top];
    f[F_COSINE] = near[0];
    f[F_ENTROPY] = j->u[UNC_ENTROPY][i];
    f[F_MARGIN] = near[0] - second;
    f[F_MAX_P] = log_odds(lp);
    f[F_COLUMN] = log_odds(column);
    f[F_DUAL] = log_odds(dual);
    f[F_INVERTED] = log_odds(inverted);
    if (j->u[UNC_DUAL_REF])
        reference_scores(j, i, s, top, lp);
    put_p(j, UNC_CSLS, i, tilted(j, &j->near, 2, s, top)); /* the query's own nearness moves no softmax */
    return 0;
}

struct density_pass {
    struct unc_job *j;
    const uint8_t *keep;
    bool leave_out;
};

static int density_row(void *ctx, int64_t i, double *s)
{
    struct density_pass *p = ctx;
    double near[UNC_NEAR], sum = 0;
    int64_t n =
        top_k(s, p->j->ref ? p->j->ref->n : p->j->q.n, UNC_NEAR, p->keep, p->leave_out ? p->j->row[i] : -1, near, NULL);
    for (int64_t k = 0; k < n; k++)
        sum += near[k];
    p->j->u[UNC_KNN][i] = n ? 1 - sum / (double)n : 1;
    return 0;
}

/* Distances of the queries to the reference queries; without a reference to the other rows of their own side. */
static int density(struct unc_job *j)
{
    const struct rows *cloud = j->ref ? j->ref : &j->q;
    int64_t d = j->q.d, n = j->ref ? j->n_ref : j->q.n;
    struct density_pass p = {.j = j, .leave_out = cloud == &j->q};
    struct mahalanobis m = {0};
    uint8_t *keep = mem_calloc((size_t)cloud->n + 1, 1);
    double *scratch = mem_calloc((size_t)d + 1, sizeof *scratch);
    float *x = j->ref && d <= WIDEST_CLOUD ? mem_calloc((size_t)(n * d) + 1, sizeof *x) : NULL;
    int rc = keep && scratch && (x || !j->ref || d > WIDEST_CLOUD) ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && j->ref && i < n; i++) {
        keep[j->ref_index[i]] = 1;
        if (x)
            memcpy(x + i * d, cloud->x + j->ref_index[i] * d, (size_t)d * sizeof *x);
    }
    p.keep = j->ref ? keep : NULL;
    if (rc == 0)
        rc = rows_sweep(&(struct rows_sweep){&j->q, cloud, j->row, j->n, "density of the queries", density_row, &p});
    if (rc == 0 && j->u[UNC_MAHALANOBIS])
        rc = mahalanobis_open(&m, j->ref ? x : cloud->x, n, d);
    for (int64_t i = 0; rc == 0 && j->u[UNC_MAHALANOBIS] && i < j->n; i++) {
        rc = signal_check();
        j->u[UNC_MAHALANOBIS][i] = mahalanobis_distance(&m, j->q.x + j->row[i] * d, j->q.inverse[j->row[i]], scratch);
    }
    mahalanobis_close(&m);
    mem_free(keep);
    mem_free(scratch);
    mem_free(x);
    return rc;
}

/* ---- the job ---- */

static int own_reference(struct unc_job *j)
{
    int64_t *index = mem_calloc((size_t)j->q.n + 1, sizeof *index);
    if (!index)
        return ERR_MEMORY;
    j->ref_index = index;
    for (int64_t i = 0; i < j->q.n; i++)
        if (j->role[i] == UNC_REF)
            index[j->n_ref++] = i;
    j->ref = j->n_ref ? &j->q : NULL;
    return 0;
}

static bool lengths_differ(const struct rows *r)
{
    double low = INFINITY, high = 0;
    for (int64_t i = 0; i < r->n; i++) {
        low = fmin(low, 1 / r->inverse[i]);
        high = fmax(high, 1 / r->inverse[i]);
    }
    return high > low * 1.001;
}

static int prepare(struct unc_job *j)
{
    const struct set_side *q = j->direction ? &j->set->text : &j->set->image;
    const struct set_side *g = j->direction ? &j->set->image : &j->set->text;
    TRY(rows_open(&j->q, q->x, q->n, j->set->width, j->direction ? "text" : "image"));
    TRY(rows_open(&j->g, g->x, g->n, j->set->width, j->direction ? "image" : "text"));
    TRY(index_positives(j));
    TRY(pick_queries(j));
    if (!j->ref)
        TRY(own_reference(j));
    j->mark = mem_calloc((size_t)j->g.n + 1, 1);
    j->hit = mem_calloc((size_t)j->n + 1, sizeof *j->hit);
    j->feature = mem_calloc((size_t)(j->n * N_FEATURES) + 1, sizeof *j->feature);
    if (!j->mark || !j->hit || !j->feature)
        return ERR_MEMORY;
    for (int k = 0; k < UNC_COMBINED; k++) {
        bool of_ref = k == UNC_DUAL_REF || k == UNC_DUAL_NORM_REF || k == UNC_INVERTED_REF;
        if ((of_ref && !j->ref) || (k == UNC_NORM && !lengths_differ(&j->q)) ||
            (k == UNC_MAHALANOBIS && j->q.d > WIDEST_CLOUD))
            continue;
        j->u[k] = mem_calloc((size_t)j->n + 1, sizeof *j->u[k]);
        if (!j->u[k])
            return ERR_MEMORY;
    }
    return 0;
}

int unc_job_run(struct unc_job *j)
{
    TRY(prepare(j));
    TRY(settle_tau(j));
    TRY(gather_columns(j));
    TRY(rows_sweep(&(struct rows_sweep){&j->q, &j->g, j->row, j->n, "scoring the queries", score_row, j}));
    for (int64_t i = 0; j->u[UNC_NORM] && i < j->n; i++)
        j->u[UNC_NORM][i] = -1 / j->q.inverse[j->row[i]];
    return j->n ? density(j) : 0;
}

void unc_job_close(struct unc_job *j)
{
    if (j->ref == &j->q || !j->ref)
        mem_free((void *)(uintptr_t)j->ref_index);
    rows_close(&j->q);
    rows_close(&j->g);
    columns_close(&j->all);
    columns_close(&j->of_ref);
    mem_free(j->role);
    mem_free(j->label[0]);
    mem_free(j->label[1]);
    mem_free(j->first);
    mem_free(j->positive);
    struct tilt *const tilts[] = {&j->all_lse, &j->ref_lse, &j->near};
    for (size_t k = 0; k < ARRAY_LEN(tilts); k++) {
        mem_free(tilts[k]->shift);
        mem_free(tilts[k]->factor);
    }
    mem_free(j->e);
    mem_free(j->row);
    mem_free(j->hit);
    mem_free(j->feature);
    mem_free(j->mark);
    for (int k = 0; k < UNC_COMBINED; k++)
        mem_free(j->u[k]);
}
