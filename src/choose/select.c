/* choose/select.c: which rows of an unlabelled pool to label next (Settles 2009, "Active learning literature survey").
 *
 * By a score, largest first: an adapter's uncertainty (Upadhyay et al. 2023, section 5.3: the most uncertain rows), or
 * what the cosines to the other side's items say without one: no near answer, a small lead of the first answer over the
 * second, entropy of their softmax; or what a label would tell (BALD, Houlsby et al. 2011; EPIG, Bickford Smith et al.
 * 2023), from room adapt (acquire.c). By the shape of the pool: k-centre (Sener and Savarese 2018, algorithm 1, their
 * "core-set"): always the row farthest from everything labelled or chosen; typical rows of clusters without a label
 * (Hacohen et al. 2022, "Active learning on a budget", select_typical.c). By chance: the bar for all of them.
 *
 * A score looks at rows one by one, so its best rows may be one row many times. With `spread` > 1 only the spread x
 * budget best are candidates, and k-centre chooses among them (batch-aware as Kirsch et al. 2019 ask for, at the price
 * of one pass). Rows (nearly) equal to one that is labelled or chosen are never chosen: the label is known.
 *
 * Pool rows are kept as unit vectors; the other side is read in blocks, once. Rejected: distances by cosine to rows of
 * the other side, which mixes the gap between the modalities into them. */
#include "choose/select.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, GALLERY_BLOCK = 1024 };

static const struct {
    const char *name, *text;
} strategies[] = {
#define X(id, name, text) [id] = {name, text},
    SELECT_LIST(X)
#undef X
};

const char *select_name(int i)
{
    return i >= 0 && i < N_SELECTS ? strategies[i].name : NULL;
}

const char *select_text(int i)
{
    return i >= 0 && i < N_SELECTS ? strategies[i].text : NULL;
}

int select_find(const char *name, enum select_id *out)
{
    struct str all = {0};
    for (int i = 0; i < N_SELECTS; i++) {
        if (!strcmp(strategies[i].name, name)) {
            *out = (enum select_id)i;
            str_free(&all);
            return 0;
        }
        str_add(&all, "%s%s", i ? ", " : "", strategies[i].name);
    }
    err_set(ERR_USAGE, "strategy \"%.40s\" is unknown, expected one of %s", name, all.s ? all.s : "");
    str_free(&all);
    return ERR_USAGE;
}

/* ---- unit rows ---- */

const struct set_side *select_side(const struct set *s, int side)
{
    return side == SIDE_TEXT ? &s->text : &s->image;
}

/* out [n,D]: the named rows (NULL: all) with unit length. A row without a direction is refused by name. */
static int unit_rows(const struct set *s, int side, const int64_t *rows, int64_t first, int64_t n, float *out)
{
    const struct set_side *from = select_side(s, side);
    const int64_t d = s->width;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = rows ? rows[first + i] : first + i;
        const float *x = from->x + row * d;
        double inverse;
        if (space_inverse_norms(x, 1, d, &inverse, NULL) < 0)
            FAIL(ERR_NONFINITE, "set \"%s\": %s row %" PRId64 " is zero or not finite, and has no direction", s->path,
                 side == SIDE_TEXT ? "text" : "image", row);
        for (int64_t j = 0; j < d; j++)
            out[i * d + j] = (float)((double)x[j] * inverse);
    }
    return 0;
}

/* ---- scores from cosines ---- */

enum { TOPS = 4 }; /* so that copies of the first answer do not count as its rival */
struct answer {
    float score[TOPS];
    int64_t row[TOPS];        /* of the gallery's side; -1: none */
    double top, sum, weighed; /* of the softmax: largest logit, sum of exp(logit - top), and of that times the logit */
};

static void take_answer(struct answer *a, float score, int64_t row, double logit)
{
    if (logit > a->top) {
        double shrink = exp(a->top - logit);
        a->sum = a->sum * shrink + 1;
        a->weighed = a->weighed * shrink + logit;
        a->top = logit;
    } else {
        double e = exp(logit - a->top);
        a->sum += e;
        a->weighed += e * logit;
    }
    if (a->row[TOPS - 1] >= 0 && score <= a->score[TOPS - 1])
        return;
    int i = TOPS - 1;
    for (; i > 0 && (a->row[i - 1] < 0 || a->score[i - 1] < score); i--) {
        a->score[i] = a->score[i - 1];
        a->row[i] = a->row[i - 1];
    }
    a->score[i] = score;
    a->row[i] = row;
}

/* Every gallery row once, against the pool in blocks. */
static int ask(const struct select_work *w, const struct set *g, int side, double temperature, struct answer *answers)
{
    const int64_t d = w->d, all = select_side(g, side)->n;
    const int64_t *rows = w->in->classes ? NULL : w->in->gallery;
    const int64_t n = rows ? w->in->n_gallery : all;
    float *gallery = mem_calloc((size_t)(GALLERY_BLOCK * d), sizeof *gallery);
    float *scores = mem_calloc((size_t)BLOCK * GALLERY_BLOCK, sizeof *scores);
    int rc = gallery && scores ? 0 : ERR_MEMORY;
    for (int64_t j = 0; j < n && rc == 0; j += GALLERY_BLOCK) {
        const int64_t m = n - j < GALLERY_BLOCK ? n - j : GALLERY_BLOCK;
        rc = unit_rows(g, side, rows, j, m, gallery);
        for (int64_t i = 0; i < w->n && rc == 0; i += BLOCK) {
            const int64_t k = w->n - i < BLOCK ? w->n - i : BLOCK;
            rc = signal_check();
            kernel_gemm_f32(false, true, k, m, d, 1, w->x + i * d, d, gallery, d, 0, scores, m);
            for (int64_t a = 0; a < k; a++)
                for (int64_t b = 0; b < m; b++)
                    take_answer(&answers[i + a], scores[a * m + b], rows ? rows[j + b] : j + b,
                                (double)scores[a * m + b] / temperature);
        }
    }
    mem_free(gallery);
    mem_free(scores);
    return rc;
}

static double cosine(const struct set *g, int side, int64_t i, int64_t j)
{
    const float *x = select_side(g, side)->x;
    const int64_t d = g->width;
    const float *a = x + i * d, *b = x + j * d;
    return space_dot(a, b, d) / sqrt(space_dot(a, a, d) * space_dot(b, b, d));
}

/* The lead of the first answer over the best one that is no copy of it. */
static double lead(const struct set *g, int side, const struct answer *a)
{
    for (int k = 1; k < TOPS && a->row[k] >= 0; k++)
        if (cosine(g, side, a->row[0], a->row[k]) < 1 - SELECT_SAME)
            return (double)a->score[0] - (double)a->score[k];
    return a->row[1] >= 0 ? 0 : 2; /* a single item: nothing rivals it */
}

int select_cosines(const struct select_work *w, enum select_id what, double *score)
{
    const struct set *g = w->in->classes ? w->in->classes : w->in->set;
    const int side = w->in->side == SIDE_TEXT ? SIDE_IMAGE : SIDE_TEXT;
    double tau = w->opt->temperature > 0 ? w->opt->temperature : set_temperature(g);
    if (w->in->classes)
        TRY(set_check_fingerprint(w->in->set, g->model, g->fingerprint));
    if (g->width != w->d)
        FAIL(ERR_MISMATCH, "set \"%s\" has vectors of width %lld, the pool's have %lld", g->path, (long long)g->width,
             (long long)w->d);
    if ((w->in->classes || !w->in->gallery ? select_side(g, side)->n : w->in->n_gallery) == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %ss: strategy \"%s\" asks how near they are; name some with --classes",
             g->path, side == SIDE_TEXT ? "text" : "picture", select_name(what));
    struct answer *answers = mem_calloc((size_t)w->n + 1, sizeof *answers);
    if (!answers)
        return ERR_MEMORY;
    for (int64_t i = 0; i < w->n; i++) {
        answers[i].top = -INFINITY;
        for (int k = 0; k < TOPS; k++)
            answers[i].row[k] = -1;
    }
    int rc = ask(w, g, side, tau, answers);
    for (int64_t i = 0; i < w->n && rc == 0; i++) {
        const struct answer *a = &answers[i];
        if (what == SELECT_COSINE)
            score[i] = 1 - (double)a->score[0];
        else if (what == SELECT_MARGIN)
            score[i] = -lead(g, side, a);
        else
            score[i] = fmax(0, a->top + log(a->sum) - a->weighed / a->sum);
    }
    mem_free(answers);
    return rc;
}

/* ---- scores of an adapter ---- */

static int adapters_scores(const struct select_work *w, enum select_id what, double *score)
{
    const struct select_in *in = w->in;
    const struct predict_opt o = {.dropout = -1, .seed = w->opt->seed};
    if (in->uncertainty && what == SELECT_UNCERTAINTY) {
        for (int64_t i = 0; i < w->n; i++)
            score[i] = in->uncertainty[in->pool[i]];
        return 0;
    }
    if (!in->adapter)
        FAIL(ERR_USAGE, "strategy \"%s\" asks an adapter: name one with --adapter (meridian adapt makes it)",
             select_name(what));
    double *all = mem_calloc((size_t)select_side(in->set, in->side)->n + 1, sizeof *all);
    if (!all)
        return ERR_MEMORY;
    int rc = what == SELECT_UNCERTAINTY
                 ? adapt_predict(in->adapter, in->set, in->side, &o, all, NULL)
                 : adapt_acquire(in->adapter, in->set, in->target, in->side, select_name(what), &o, all);
    for (int64_t i = 0; i < w->n && rc == 0; i++)
        score[i] = all[in->pool[i]];
    mem_free(all);
    return rc;
}

/* ---- choosing ---- */

/* far [n]: 1 - cosine to the nearest of the known rows; new ones may only bring it down. */
static void come_near(const struct select_work *w, const float *known, int64_t n_known, double *far)
{
    float s[BLOCK];
    for (int64_t k = 0; k < n_known; k++)
        for (int64_t i = 0; i < w->n; i += BLOCK) {
            const int64_t n = w->n - i < BLOCK ? w->n - i : BLOCK;
            kernel_gemm_f32(false, true, n, 1, w->d, 1, w->x + i * w->d, w->d, known + k * w->d, w->d, 0, s, 1);
            for (int64_t a = 0; a < n; a++)
                far[i + a] = fmin(far[i + a], fmax(0, 1 - (double)s[a]));
        }
}

int select_far(struct select_work *w)
{
    w->far = mem_calloc((size_t)w->n + 1, sizeof *w->far);
    if (!w->far)
        return ERR_MEMORY;
    for (int64_t i = 0; i < w->n; i++)
        w->far[i] = INFINITY;
    come_near(w, w->known, w->n_known, w->far);
    return signal_check();
}

bool select_is_copy(const struct select_work *w, int64_t i)
{
    if (w->far)
        return w->far[i] <= SELECT_SAME;
    for (int64_t k = 0; k < w->n_known; k++)
        if (1 - space_dot(w->x + i * w->d, w->known + k * w->d, w->d) <= SELECT_SAME)
            return true;
    return false;
}

static int64_t farthest(const double *far, const uint8_t *may, int64_t n)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if ((!may || may[i]) && far[i] > SELECT_SAME && (best < 0 || far[i] > far[best]))
            best = i;
    return best;
}

static int64_t nearest_to_mean(const struct select_work *w)
{
    int64_t best = -1;
    double top = -INFINITY, *mean = mem_calloc((size_t)w->d, sizeof *mean);
    for (int64_t i = 0; mean && i < w->n * w->d; i++)
        mean[i % w->d] += (double)w->x[i];
    for (int64_t i = 0; mean && i < w->n; i++) {
        double dot = 0;
        for (int64_t j = 0; j < w->d; j++)
            dot += mean[j] * (double)w->x[i * w->d + j];
        if (dot > top) {
            top = dot;
            best = i;
        }
    }
    mem_free(mean);
    return best;
}

void select_take(struct select_work *w, int64_t i, double score)
{
    const float *x = w->x + i * w->d;
    w->out[w->n_out++] = (struct select_row){w->in->pool[i], score};
    memcpy(w->known + w->n_known++ * w->d, x, (size_t)w->d * sizeof *x);
    if (w->far) {
        come_near(w, x, 1, w->far);
        w->far[i] = 0;
    }
}

int select_k_centre(struct select_work *w, const uint8_t *may, const double *score, int64_t first)
{
    for (; w->n_out < w->opt->budget; first = -1) {
        TRY(signal_check());
        int64_t i = first >= 0 ? first : farthest(w->far, may, w->n);
        if (i < 0)
            break; /* only copies are left */
        select_take(w, i, score ? score[i] : fmin(w->far[i], 2));
    }
    return 0;
}

struct ranked {
    double score;
    int64_t at;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The best by score, without copies; with spread, k-centre among the spread x budget best. */
static int choose_by_score(struct select_work *w, const double *score)
{
    const int64_t want = (int64_t)ceil(w->opt->spread * (double)w->opt->budget);
    struct ranked *r = mem_calloc((size_t)w->n + 1, sizeof *r);
    uint8_t *may = mem_calloc((size_t)w->n + 1, 1);
    int rc = r && may ? 0 : ERR_MEMORY;
    int64_t taken = 0, first = -1;
    if (rc == 0 && w->opt->spread > 1)
        rc = select_far(w);
    for (int64_t i = 0; i < w->n && rc == 0; i++) {
        if (!isfinite(score[i]))
            rc = err_set(ERR_NONFINITE, "the score of row %lld is not a finite number", (long long)w->in->pool[i]);
        r[i] = (struct ranked){score[i], i};
    }
    if (rc == 0)
        qsort(r, (size_t)w->n, sizeof *r, by_score);
    for (int64_t k = 0; k < w->n && rc == 0; k++) {
        const int64_t i = r[k].at;
        if (w->opt->spread > 1) {
            if (taken < want && !select_is_copy(w, i)) {
                first = first < 0 ? i : first;
                may[i] = 1;
                taken++;
            }
        } else if (w->n_out == w->opt->budget) {
            break;
        } else if (!select_is_copy(w, i)) {
            rc = signal_check();
            select_take(w, i, score[i]);
        }
    }
    if (rc == 0 && w->opt->spread > 1)
        rc = select_k_centre(w, may, score, first);
    mem_free(r);
    mem_free(may);
    return rc;
}

static int random_scores(const struct select_work *w, double *score)
{
    struct rng r = rng_stream(w->opt->seed, RNG_SHUFFLE, 0, hash_bytes("select", 6, 0));
    for (int64_t i = 0; i < w->n; i++)
        score[i] = rng_uniform(&r);
    return 0;
}

static int run(struct select_work *w)
{
    const enum select_id what = w->opt->strategy;
    if (what == SELECT_CORESET || what == SELECT_TYPICAL)
        TRY(select_far(w));
    if (what == SELECT_CORESET)
        return select_k_centre(w, NULL, NULL, w->in->n_labelled ? -1 : nearest_to_mean(w));
    if (what == SELECT_TYPICAL)
        return select_typical(w);
    double *score = mem_calloc((size_t)w->n + 1, sizeof *score);
    if (!score)
        return ERR_MEMORY;
    int rc = what == SELECT_RANDOM ? random_scores(w, score)
             : what == SELECT_COSINE || what == SELECT_MARGIN || what == SELECT_ENTROPY
                 ? select_cosines(w, what, score)
                 : adapters_scores(w, what, score);
    if (rc == 0)
        rc = choose_by_score(w, score);
    mem_free(score);
    return rc;
}

static int check(const struct select_in *in, const struct select_opt *o)
{
    const int64_t n = select_side(in->set, in->side)->n;
    if (o->budget < 1)
        FAIL(ERR_USAGE, "the budget is %lld rows, expected at least 1", (long long)o->budget);
    for (int64_t i = 0; i < in->n_pool + in->n_labelled; i++) {
        int64_t row = i < in->n_pool ? in->pool[i] : in->labelled[i - in->n_pool];
        if (row < 0 || row >= n)
            FAIL(ERR_DATA, "%s row %lld is not in set \"%s\", expected 0 to %lld",
                 in->side == SIDE_TEXT ? "text" : "image", (long long)row, in->set->path, (long long)n - 1);
    }
    return 0;
}

int select_rows(const struct select_in *in, const struct select_opt *o, struct select_row *out, int64_t *n_out)
{
    struct select_work w = {.in = in, .opt = o, .n = in->n_pool, .d = in->set->width, .out = out};
    size_t pool = 0, known = 0, row = (size_t)w.d * sizeof(float);
    TRY(check(in, o));
    if (!mul_ok((size_t)w.n + 1, row, &pool) || !mul_ok((size_t)(in->n_labelled + o->budget), row, &known))
        FAIL(ERR_MEMORY, "%lld rows of the pool are too many to copy", (long long)w.n);
    w.x = mem_alloc(pool);
    w.known = mem_alloc(known);
    int rc = w.x && w.known ? unit_rows(in->set, in->side, in->pool, 0, w.n, w.x) : ERR_MEMORY;
    if (rc == 0)
        rc = unit_rows(in->set, in->side, in->labelled, 0, in->n_labelled, w.known);
    w.n_known = in->n_labelled;
    if (rc == 0 && w.n > 0)
        rc = run(&w);
    mem_free(w.x);
    mem_free(w.known);
    mem_free(w.far);
    TRY(rc);
    *n_out = w.n_out;
    return 0;
}
