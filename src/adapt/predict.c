/* adapt/predict.c: what an adapter says of the rows of a set, in one pass over them, a block at a time.
 *
 * Ours (Upadhyay et al. 2023, section 3.3): M passes with the training's dropout;
 *   aleatoric = mean over passes of alpha^2 Gamma(3/beta)/Gamma(1/beta), epistemic = population variance of the mean,
 *   total = their sum, all per dimension; a row's number is the mean over the dimensions.
 * Released: dropout 0.3 whatever it was trained with; u = the variance of ggd_released_variance; aleatoric = u of the
 * pass-averaged heads, epistemic = sqrt(Var u Var mean), unbiased, per row (their code joins rows of a batch in the
 * first variance, so that it depends on the batch: not repeated).
 * Gamma(3 q)/Gamma(q), q = 1/beta, is read off a table (linear between 16,384 knots, 1e-7 relative): a billion pairs of
 * lgamma would take longer than the matrix products. The first two layers have no dropout before them and are computed
 * once for all passes. */
#include "adapt/adapter.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256, KNOTS = 16384 };
static const double Q_LO = 0.25, Q_HI = 2; /* 1/beta of the bounded heads */

/* Sums over the passes of a block, [BLOCK,D] each. */
enum { SUM_MEAN, SUM_MEAN2, SUM_VAR, SUM_VAR2, SUM_INVERSE, SUM_SHAPE, N_SUMS };
struct predictor {
    struct adapter *a;
    const struct set *s;
    int side;
    int64_t passes;
    double dropout;
    uint64_t seed;
    struct tape *tape;
    void *x;
    double *ratio;               /* [KNOTS + 2], of the bounded heads */
    double *sum[N_SUMS], *first; /* first [BLOCK,D]: the mean of the first pass, so that variances lose no digits */
};

/* 1/alpha, beta and the variance of one number */
static void number_of(const struct predictor *p, const struct ggd_side *g, const struct tensor *log_var, int64_t i,
                      double *inverse, double *shape, double *variance)
{
    if (log_var) {
        *variance = exp(t_get(log_var, i));
        *inverse = 1 / sqrt(2 * *variance);
        *shape = 2;
        return;
    }
    *inverse = t_get(g->inverse, i);
    *shape = t_get(g->shape, i);
    if (p->a->d.released) {
        *variance = ggd_released_variance(*inverse, *shape);
        return;
    }
    double at = (1 / *shape - Q_LO) * (KNOTS / (Q_HI - Q_LO));
    at = at > 0 ? at : 0; /* an end rounded to single precision */
    int64_t k = at < KNOTS ? (int64_t)at : KNOTS;
    double ratio = p->ratio[k] + (at - (double)k) * (p->ratio[k + 1] - p->ratio[k]);
    *variance = ratio / (*inverse * *inverse);
}

static int add_pass(struct predictor *p, int64_t row, int64_t n, int64_t pass, struct tensor *x, struct tensor *hidden)
{
    const struct adapter *a = p->a;
    struct ggd_side g;
    struct tensor *log_var, *keep = NULL;
    if (p->dropout > 0)
        keep = capsule_mask(p->tape, n, a->d.hidden, p->dropout, p->seed, (uint32_t)(2 * pass + p->side), row);
    a->d.method->heads(a, p->side, x, hidden, keep, &g, &log_var);
    TRY(tape_status(p->tape));
    for (int64_t i = 0; i < n * a->d.width; i++) {
        double mean = t_get(g.mean, i), inverse, shape, variance;
        number_of(p, &g, log_var, i, &inverse, &shape, &variance);
        if (pass == 0)
            p->first[i] = mean;
        mean -= p->first[i];
        p->sum[SUM_MEAN][i] += mean;
        p->sum[SUM_MEAN2][i] += mean * mean;
        p->sum[SUM_VAR][i] += variance;
        p->sum[SUM_VAR2][i] += variance * variance;
        p->sum[SUM_INVERSE][i] += inverse;
        p->sum[SUM_SHAPE][i] += shape;
    }
    return 0;
}

/* Fills the sums of rows row .. row + n. */
static int run_block(struct predictor *p, int64_t row, int64_t n)
{
    const struct adapter *a = p->a;
    const float *rows = (p->side == SIDE_TEXT ? p->s->text.x : p->s->image.x) + row * a->d.width;
    for (int k = 0; k < N_SUMS; k++)
        memset(p->sum[k], 0, (size_t)(n * a->d.width) * sizeof(double));
    for (int64_t i = 0; i < n; i++)
        vectors_put(a, p->side, rows + i * a->d.width, p->x, i);
    tape_reset(p->tape);
    struct tensor *x = t_input(p->tape, SHAPE(n, a->d.width), p->x), *hidden = capsule_hidden(a, p->side, x);
    for (int64_t pass = 0; pass < p->passes; pass++) {
        struct arena_mark mark = arena_mark(tape_arena(p->tape));
        TRY(signal_check());
        TRY(add_pass(p, row, n, pass, x, hidden));
        arena_rewind(tape_arena(p->tape), mark);
    }
    return 0;
}

void predict_variances(const struct pass_sums *s, int64_t passes, bool released, double *aleatoric, double *epistemic)
{
    double m = (double)passes, mean = s->mean / m, var = s->var / m;
    double of_mean = fmax(0, s->mean2 / m - mean * mean);
    *aleatoric = var;
    *epistemic = of_mean;
    if (!released)
        return;
    double of_var = fmax(0, s->var2 / m - var * var), unbiased = m > 1 ? m / (m - 1) : 0;
    *aleatoric = ggd_released_variance(s->inverse / m, s->shape / m);
    *epistemic = unbiased * sqrt(of_var) * sqrt(of_mean);
}

/* Of number i of the block. */
static void variances(const struct predictor *p, int64_t i, double *aleatoric, double *epistemic)
{
    const struct pass_sums s = {.mean = p->sum[SUM_MEAN][i],
                                .mean2 = p->sum[SUM_MEAN2][i],
                                .var = p->sum[SUM_VAR][i],
                                .var2 = p->sum[SUM_VAR2][i],
                                .inverse = p->sum[SUM_INVERSE][i],
                                .shape = p->sum[SUM_SHAPE][i]};
    predict_variances(&s, p->passes, p->a->d.released, aleatoric, epistemic);
}

/* at: where the block's first row goes */
static void put_scalars(const struct predictor *p, int64_t at, int64_t n, double *scalar,
                        const struct predict_more *more)
{
    int64_t d = p->a->d.width;
    double unit = p->a->d.unit / (double)d;
    for (int64_t i = 0; i < n; i++) {
        double alea = 0, epi = 0, logs = 0;
        for (int64_t j = 0; j < d; j++) {
            double a, e;
            variances(p, i * d + j, &a, &e);
            if (more->variance)
                more->variance[(at + i) * d + j] = (float)((a + e) * p->a->d.unit);
            alea += a * unit;
            epi += e * unit;
            logs += log(fmax(a + e, 1e-300) * p->a->d.unit) / (double)d;
        }
        scalar[at + i] = alea + epi;
        if (more->aleatoric)
            more->aleatoric[at + i] = alea;
        if (more->epistemic)
            more->epistemic[at + i] = epi;
        if (more->log_variance)
            more->log_variance[at + i] = logs;
    }
}

static void put_dimensions(const struct predictor *p, int64_t row, int64_t at0, int64_t n,
                           const struct predict_more *more)
{
    const struct adapter *a = p->a;
    int64_t d = a->d.width;
    double s = p->side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale, m = (double)p->passes;
    const float *z = (p->side == SIDE_TEXT ? p->s->text.x : p->s->image.x) + row * d;
    for (int64_t i = 0; i < n; i++) {
        double dot = 0, mm = 0, zz = 0;
        for (int64_t j = 0; j < d; j++) {
            int64_t k = i * d + j, at = (at0 + i) * d + j;
            double mean = (p->first[k] + p->sum[SUM_MEAN][k] / m) / s + a->mean[p->side][j];
            double inverse = p->sum[SUM_INVERSE][k] / m, shape = p->sum[SUM_SHAPE][k] / m,
                   alpha = 1 / fmax(inverse, 1e-4);
            if (a->d.released) { /* as its variance: a shape of 0 is no distribution, and no draw from it ends */
                alpha = fmin(fmax(1 / (inverse + 1e-5), 1e-4), 5);
                shape = fmin(fmax(shape + 0.1, 0.1), 5);
            }
            if (more->mean)
                more->mean[at] = (float)mean;
            if (more->scale)
                more->scale[at] = (float)(alpha / s);
            if (more->shape)
                more->shape[at] = (float)shape;
            dot += mean * (double)z[k];
            mm += mean * mean;
            zz += (double)z[k] * (double)z[k];
        }
        if (more->fidelity)
            more->fidelity[at0 + i] = mm > 0 && zz > 0 ? dot / (sqrt(mm) * sqrt(zz)) : 0;
    }
}

static int open_predictor(struct predictor *p, const struct predict_opt *o)
{
    const struct design *d = &p->a->d;
    size_t n = (size_t)BLOCK * (size_t)d->width;
    p->dropout = o->dropout >= 0 ? o->dropout : d->released ? 0.3 : d->dropout;
    if (p->dropout > 0.95)
        FAIL(ERR_USAGE, "dropout is %g, expected 0 to 0.95", p->dropout);
    p->passes = p->dropout > 0 ? (o->passes > 0 ? o->passes : 15) : 1;
    p->seed = o->seed;
    p->first = mem_calloc(n, sizeof(double));
    p->sum[0] = mem_calloc(n, N_SUMS * sizeof(double));
    p->x = mem_calloc(n, dtype_size(p->a->engine->real));
    p->ratio = mem_calloc(KNOTS + 2, sizeof(double));
    if (!p->first || !p->sum[0] || !p->x || !p->ratio)
        return ERR_MEMORY;
    for (int k = 0; k < KNOTS + 2; k++)
        p->ratio[k] = ggd_variance(1, 1 / (Q_LO + k * ((Q_HI - Q_LO) / KNOTS)));
    for (int k = 1; k < N_SUMS; k++)
        p->sum[k] = p->sum[0] + (size_t)k * n;
    return tape_open(&p->tape, p->a->engine, &(struct tape_opt){.record = false});
}

int predict_rows(struct adapter *a, const struct set *s, int side, int64_t first, int64_t n,
                 const struct predict_opt *o, double *scalar, const struct predict_more *more)
{
    struct predictor p = {.a = a, .s = s, .side = side};
    const struct predict_more none = {0};
    if (a->d.method->predict) {
        struct set part = *s;
        struct set_side *rows = side == SIDE_TEXT ? &part.text : &part.image;
        if (first > 0 || n < rows->n) { /* methods without draws that depend on the row's number */
            rows->x += first * s->width;
            rows->n = n;
            rows->has_meta = false;
            if (rows->features.x)
                rows->features.x += first * rows->features.width;
            if (rows->features.lengths)
                rows->features.lengths += first;
        }
        return a->d.method->predict(a, &part, side, o, scalar, more ? more : &none);
    }
    int rc = open_predictor(&p, o);
    for (int64_t at = 0; at < n && rc == 0; at += BLOCK) {
        int64_t rows = n - at < BLOCK ? n - at : BLOCK;
        rc = run_block(&p, first + at, rows);
        if (rc == 0)
            put_scalars(&p, at, rows, scalar, more ? more : &none);
        if (rc == 0 && more)
            put_dimensions(&p, first + at, at, rows, more);
    }
    tape_close(&p.tape);
    mem_free(p.x);
    mem_free(p.first);
    mem_free(p.ratio);
    mem_free(p.sum[0]);
    return rc;
}

int adapt_predict(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *scalar,
                  const struct predict_more *more)
{
    TRY(adapter_check_set(a, s, side, o->force));
    TRY(vectors_check(s));
    int64_t n = side == SIDE_TEXT ? s->text.n : s->image.n;
    TRY(predict_rows(a, s, side, 0, n, o, scalar, more));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(scalar[i])) /* of finite weights that are far too large */
            FAIL(ERR_NONFINITE,
                 "the adapter's uncertainty of %s row %lld is not finite: its training diverged or its weights are "
                 "damaged; fit it again",
                 side == SIDE_TEXT ? "text" : "image", (long long)i);
    return 0;
}
