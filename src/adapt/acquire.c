/* adapt/acquire.c: which rows it pays to ask a label of. The labels of a row are the items of the other side.
 *
 * A draw k of an adapter gives every row a vector x_k and every item a vector c_k, and with them the probabilities
 * p_k(y) = softmax over the items of scale x_k.c_k. With K draws:
 *   BALD (Houlsby et al. 2011)             H(mean_k p_k) - mean_k H(p_k)
 *   EPIG (Bickford Smith et al. 2023)      mean over target rows x' of the mutual information of y and y' under
 *                                          mean_k p_k(y | x) p_k(y' | x')
 * What two rows have in common in a draw is what a label of one tells of the other. BayesVLM draws the weights of the
 * projections, so that rows are tied by their activations and items by theirs. Of the other methods every row and item
 * is drawn by itself: there rows are tied by the items alone, and where the items have no distributions (AsymVLM's
 * pictures) EPIG is nought but noise. BayesVLM's code draws every logit of pool and target by itself, which ties
 * nothing but equal places in the stream of random numbers; not repeated.
 * Tables of items x items a pair of rows are too large: a row keeps its 15 likeliest items, the others are one more
 * class. That can only lower EPIG (joining classes loses information); up to 16 items it is exact. Targets: at most 256
 * rows, drawn by the seed. Of few draws both estimates are too high, by about the same for all rows; 32 order rows
 * well (docs/methods/bayesvlm.md). */
#include "adapt/adapter.h"
#include "adapt/cosine.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 16, CLASSES = 16, TARGETS = 256, USUAL_DRAWS = 32 };

static const struct set_side *side_of(const struct set *s, int side)
{
    return side == SIDE_TEXT ? &s->text : &s->image;
}

/* ---- draws of one side of a set ---- */

struct source {
    struct adapter *a;
    const struct set *s;
    int side;
    uint64_t seed;
    float *mean, *scale, *shape; /* [n,d]; NULL: the method draws, or the side is points */
};

static int source_settle(struct source *r, const struct predict_opt *o)
{
    int64_t n = side_of(r->s, r->side)->n, d = r->s->width;
    if (r->a->d.method->draw || !adapt_covers(r->a, r->side))
        return 0;
    double *scalar = mem_calloc((size_t)n + 1, sizeof *scalar);
    r->mean = mem_calloc((size_t)n + 1, (size_t)(3 * d) * sizeof *r->mean);
    int rc = scalar && r->mean ? 0 : ERR_MEMORY;
    if (rc == 0) {
        r->scale = r->mean + n * d;
        r->shape = r->scale + n * d;
        rc = adapt_predict(r->a, r->s, r->side, o, scalar,
                           &(struct predict_more){.mean = r->mean, .scale = r->scale, .shape = r->shape});
    }
    mem_free(scalar);
    return rc;
}

/* out [n,d] */
static int source_draw(const struct source *r, int64_t first, int64_t n, int64_t k, float *out)
{
    int64_t d = r->s->width;
    const struct draw_at at = {.first = first, .n = n, .k = k, .seed = r->seed};
    if (adapt_covers(r->a, r->side) && r->a->d.method->draw)
        return r->a->d.method->draw(r->a, r->s, r->side, &at, out);
    if (!r->mean)
        memcpy(out, side_of(r->s, r->side)->x + first * d, (size_t)(n * d) * sizeof *out);
    for (int64_t i = 0; r->mean && i < n; i++) {
        struct rng g = rng_stream(r->seed, RNG_SAMPLE, (uint32_t)(2 * k + r->side), (uint64_t)(first + i));
        for (int64_t j = (first + i) * d; j < (first + i + 1) * d; j++)
            out[j - first * d] = (float)ggd_sample(&g, (double)r->mean[j], (double)r->scale[j], (double)r->shape[j]);
    }
    return space_normalize(out, n, d, NULL);
}

/* ---- probabilities ---- */

struct asking {
    struct source rows, items;
    int64_t draws, m;
    double scale;
    float *item;        /* [draws][m,d] */
    float *x, *cosine;  /* [BLOCK,d] [BLOCK,m] */
    double *p;          /* [draws][BLOCK,m] */
    double *mean;       /* [m] */
    int64_t *likeliest; /* [CLASSES] */
};

static void softmax(const float *cosine, int64_t m, double scale, double *p)
{
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < m; j++)
        top = fmax(top, (double)cosine[j]);
    for (int64_t j = 0; j < m; j++)
        sum += p[j] = exp(scale * ((double)cosine[j] - top));
    for (int64_t j = 0; j < m; j++)
        p[j] /= sum;
}

/* p of rows first .. first + n. */
static int ask(struct asking *q, int64_t first, int64_t n)
{
    int64_t d = q->rows.s->width, m = q->m;
    TRY(signal_check());
    for (int64_t k = 0; k < q->draws; k++) {
        TRY(source_draw(&q->rows, first, n, k, q->x));
        kernel_gemm_f32(false, true, n, m, d, 1, q->x, d, q->item + k * m * d, d, 0, q->cosine, m);
        for (int64_t i = 0; i < n; i++)
            softmax(q->cosine + i * m, m, q->scale, q->p + (k * BLOCK + i) * m);
    }
    return 0;
}

static double entropy(const double *p, int64_t m)
{
    double sum = 0;
    for (int64_t j = 0; j < m; j++)
        sum -= p[j] > 0 ? p[j] * log(p[j]) : 0;
    return sum;
}

static void take_mean(struct asking *q, int64_t i)
{
    memset(q->mean, 0, (size_t)q->m * sizeof *q->mean);
    for (int64_t k = 0; k < q->draws; k++)
        for (int64_t j = 0; j < q->m; j++)
            q->mean[j] += q->p[(k * BLOCK + i) * q->m + j] / (double)q->draws;
}

static double bald(struct asking *q, int64_t i)
{
    double each = 0;
    take_mean(q, i);
    for (int64_t k = 0; k < q->draws; k++)
        each += entropy(q->p + (k * BLOCK + i) * q->m, q->m) / (double)q->draws;
    return fmax(0, entropy(q->mean, q->m) - each);
}

/* out [draws][CLASSES]: the likeliest items of row i of the block, and the rest. */
static void shorten(struct asking *q, int64_t i, float *out)
{
    int64_t m = q->m, kept = m <= CLASSES ? m : CLASSES - 1;
    take_mean(q, i);
    for (int64_t c = 0; c < kept; c++) {
        int64_t best = 0;
        for (int64_t j = 1; j < m; j++)
            best = q->mean[j] > q->mean[best] ? j : best;
        q->likeliest[c] = best;
        q->mean[best] = -1;
    }
    for (int64_t k = 0; k < q->draws; k++) {
        const double *p = q->p + (k * BLOCK + i) * m;
        double rest = 1;
        for (int64_t c = 0; c < kept; c++) {
            out[k * CLASSES + c] = (float)p[q->likeliest[c]];
            rest -= p[q->likeliest[c]];
        }
        for (int64_t c = kept; c < CLASSES; c++)
            out[k * CLASSES + c] = (float)(c == kept ? fmax(0, rest) : 0);
    }
}

/* ---- EPIG ---- */

static double information(const float *x, const float *y, int64_t draws)
{
    double joint[CLASSES][CLASSES] = {{0}}, px[CLASSES] = {0}, py[CLASSES] = {0}, sum = 0;
    for (int64_t k = 0; k < draws; k++)
        for (int a = 0; a < CLASSES; a++)
            for (int b = 0; b < CLASSES; b++)
                joint[a][b] += (double)(x[k * CLASSES + a] * y[k * CLASSES + b]);
    for (int a = 0; a < CLASSES; a++)
        for (int b = 0; b < CLASSES; b++) {
            joint[a][b] /= (double)draws;
            px[a] += joint[a][b];
            py[b] += joint[a][b];
        }
    for (int a = 0; a < CLASSES; a++)
        for (int b = 0; b < CLASSES; b++)
            if (joint[a][b] > 0)
                sum += joint[a][b] * log(joint[a][b] / (px[a] * py[b]));
    return fmax(0, sum);
}

static int targets_of(struct asking *q, const struct source *of, uint64_t seed, float **out, int64_t *count)
{
    int64_t total = side_of(of->s, of->side)->n, n = total < TARGETS ? total : TARGETS;
    size_t each = (size_t)(q->draws * CLASSES);
    int64_t *order = mem_calloc((size_t)total + 1, sizeof *order);
    struct source pool = q->rows;
    *out = mem_calloc((size_t)n + 1, each * sizeof **out);
    int rc = order && *out ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < total; i++)
        order[i] = i;
    struct rng r = rng_stream(seed, RNG_SHUFFLE, 0, 0);
    if (rc == 0 && total > TARGETS)
        rng_shuffle(&r, order, total);
    q->rows = *of;
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        rc = ask(q, order[i], 1);
        if (rc == 0)
            shorten(q, 0, *out + (size_t)i * each);
    }
    q->rows = pool;
    mem_free(order);
    *count = n;
    return rc;
}

static int epig(struct asking *q, const struct source *target, uint64_t seed, double *score)
{
    int64_t n = side_of(q->rows.s, q->rows.side)->n, n_targets = 0, each = q->draws * CLASSES;
    float *targets = NULL, *row = mem_calloc((size_t)each, sizeof *row);
    struct progress *bar = NULL;
    int rc = row ? targets_of(q, target, seed, &targets, &n_targets) : ERR_MEMORY;
    progress_open(&bar, "epig", n, "rows");
    for (int64_t first = 0; first < n && rc == 0; first += BLOCK) {
        int64_t k = n - first < BLOCK ? n - first : BLOCK;
        rc = ask(q, first, k);
        for (int64_t i = 0; i < k && rc == 0; i++) {
            double sum = 0;
            shorten(q, i, row);
            for (int64_t t = 0; t < n_targets; t++)
                sum += information(row, targets + t * each, q->draws);
            score[first + i] = n_targets ? sum / (double)n_targets : 0;
        }
        progress_add(bar, k);
    }
    progress_close(&bar);
    mem_free(targets);
    mem_free(row);
    return rc;
}

/* ---- the whole ---- */

static int asking_open(struct asking *q, const struct predict_opt *o)
{
    int64_t d = q->rows.s->width, m = q->m;
    size_t size;
    if (!mul_ok((size_t)(q->draws * d), (size_t)m, &size) || size > ((size_t)4 << 30) / sizeof(float))
        FAIL(ERR_MEMORY, "%lld draws of %lld items of width %lld need more than 4 GiB; take fewer draws",
             (long long)q->draws, (long long)m, (long long)d);
    TRY(source_settle(&q->rows, o));
    TRY(source_settle(&q->items, o));
    q->item = mem_calloc(size, sizeof *q->item);
    q->x = mem_calloc((size_t)(d + m), BLOCK * sizeof *q->x);
    q->p = mem_calloc((size_t)(q->draws * m), BLOCK * sizeof *q->p);
    q->mean = mem_calloc((size_t)m, sizeof *q->mean);
    q->likeliest = mem_calloc(CLASSES, sizeof *q->likeliest);
    if (!q->item || !q->x || !q->p || !q->mean || !q->likeliest)
        return ERR_MEMORY;
    q->cosine = q->x + BLOCK * d;
    for (int64_t k = 0; k < q->draws; k++)
        TRY(source_draw(&q->items, 0, m, k, q->item + k * m * d));
    return 0;
}

static void asking_close(struct asking *q)
{
    mem_free(q->rows.mean);
    mem_free(q->items.mean);
    mem_free(q->item);
    mem_free(q->x);
    mem_free(q->p);
    mem_free(q->mean);
    mem_free(q->likeliest);
}

static int run(struct asking *q, const struct set *target, bool wants_bald, const struct predict_opt *o, double *score)
{
    int64_t n = side_of(q->rows.s, q->rows.side)->n;
    TRY(asking_open(q, o));
    if (!wants_bald) {
        struct source of = q->rows;
        if (!target)
            return epig(q, &of, o->seed, score);
        of.s = target;
        of.mean = of.scale = of.shape = NULL;
        int rc = source_settle(&of, o);
        if (rc == 0)
            rc = epig(q, &of, o->seed, score);
        mem_free(of.mean);
        return rc;
    }
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t k = n - first < BLOCK ? n - first : BLOCK;
        TRY(ask(q, first, k));
        for (int64_t i = 0; i < k; i++)
            score[first + i] = bald(q, i);
    }
    return 0;
}

int adapt_acquire(struct adapter *a, const struct set *pool, const struct set *target, int side, const char *what,
                  const struct predict_opt *o, double *score)
{
    bool wants_bald = !strcmp(what, "bald");
    if (!wants_bald && strcmp(what, "epig") != 0)
        FAIL(ERR_USAGE, "no acquisition \"%.40s\"; expected bald or epig", what);
    TRY(adapter_check_set(a, pool, -1, o->force));
    TRY(vectors_check(pool));
    if (target) {
        TRY(adapter_check_set(a, target, -1, o->force));
        TRY(vectors_check(target));
    }
    struct asking q = {.rows = {.a = a, .s = pool, .side = side, .seed = o->seed},
                       .items = {.a = a, .s = pool, .side = !side, .seed = o->seed},
                       .draws = o->passes > 0 ? o->passes : USUAL_DRAWS,
                       .m = side_of(pool, !side)->n,
                       .scale = adapt_scale(pool)};
    if (q.m == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %s: a row has no labels to choose from", pool->path,
             side == SIDE_TEXT ? "pictures" : "texts");
    int rc = run(&q, target, wants_bald, o, score);
    asking_close(&q);
    return rc;
}
