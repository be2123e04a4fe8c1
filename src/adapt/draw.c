/* adapt/draw.c: one item's distribution: draws from it, and the likelihood of the other side's vectors under it.
 *
 * Draws are made number by number, kept when they lie in the wanted part (near: the middle half of the distribution;
 * tail: outside the middle nine tenths), and brought to unit length, for the vectors of the encoders lie on the sphere
 * and the distribution does not. Likelihoods are per dimension, in the adapter's unit: sums over hundreds of dimensions
 * would only be larger numbers in the same order. */
#include "adapt/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static int64_t rows_of(const struct set *s, int side)
{
    return side == SIDE_TEXT ? s->text.n : s->image.n;
}

/* Finite weights may be so large that what they tell is not. */
static int check_item(const struct item *it, int64_t d, int64_t row)
{
    for (int64_t j = 0; j < d; j++)
        if (!isfinite(it->mean[j]) || !isfinite(it->alpha[j]) || !isfinite(it->beta[j]))
            FAIL(ERR_NONFINITE,
                 "the adapter's distribution of row %" PRId64 " is not finite in dimension %" PRId64
                 ": its training diverged or its weights are damaged; fit it again",
                 row, j);
    return 0;
}

/* Without dropout. */
static int look(struct item *it, struct adapter *a, const struct set *s, int side, int64_t row)
{
    int64_t d = a->d.width;
    struct tape *t = NULL;
    struct ggd_side g;
    struct tensor *log_var;
    TRY(adapter_check_set(a, s, side, false));
    if (row < 0 || row >= rows_of(s, side))
        FAIL(ERR_USAGE, "row %" PRId64 ", expected 0 to %" PRId64, row, rows_of(s, side) - 1);
    it->mean = mem_calloc((size_t)d, 4 * sizeof(double));
    if (!it->mean)
        return ERR_MEMORY;
    it->alpha = it->mean + d;
    it->beta = it->alpha + d;
    if (a->d.method->look) {
        TRY(a->d.method->look(a, s, side, row, it));
        return check_item(it, d, row);
    }
    BUG_ON(!a->d.method->heads);
    void *x = it->beta + d;
    vectors_put(a, side, (side == SIDE_TEXT ? s->text.x : s->image.x) + row * d, x, 0);
    int rc = tape_open(&t, a->engine, &(struct tape_opt){.record = false});
    if (rc == 0) {
        struct tensor *in = t_input(t, SHAPE(1, d), x);
        a->d.method->heads(a, side, in, capsule_hidden(a, side, in), NULL, &g, &log_var);
        rc = tape_status(t);
    }
    for (int64_t j = 0; j < d && rc == 0; j++) {
        it->mean[j] = t_get(g.mean, j);
        /* as the released variance: dead units of the relu give neither infinity nor a shape of 0 */
        it->alpha[j] = log_var         ? sqrt(2 * exp(t_get(log_var, j)))
                       : a->d.released ? fmin(fmax(1 / (t_get(g.inverse, j) + 1e-5), 1e-4), 5)
                                       : 1 / t_get(g.inverse, j);
        it->beta[j] = log_var ? 2 : a->d.released ? fmin(fmax(t_get(g.shape, j) + 0.1, 0.1), 5) : t_get(g.shape, j);
    }
    tape_close(&t);
    return rc < 0 ? rc : check_item(it, d, row);
}

/* How much of the distribution lies nearer to its mean than z: 0 to 1. */
static double reach(double z, double mean, double alpha, double beta)
{
    return fabs(2 * ggd_cdf(z, mean, alpha, beta) - 1);
}

enum region { REGION_ALL, REGION_NEAR, REGION_TAIL };

static double draw(struct rng *r, const struct item *it, int64_t j, enum region region)
{
    for (int turn = 0;; turn++) {
        double z = ggd_sample(r, it->mean[j], it->alpha[j], it->beta[j]);
        if (region == REGION_ALL || turn == 1000)
            return z;
        double u = reach(z, it->mean[j], it->alpha[j], it->beta[j]);
        if (region == REGION_NEAR ? u <= 0.5 : u >= 0.9)
            return z;
    }
}

static void unit_length(double *x, int64_t d, float *out)
{
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += x[j] * x[j];
    for (int64_t j = 0; j < d; j++)
        out[j] = (float)(sum > 0 ? x[j] / sqrt(sum) : 0);
}

int adapt_sample(struct adapter *a, const struct set *s, int side, int64_t row, int64_t n, const char *region,
                 uint64_t seed, float *out)
{
    struct item it = {0};
    int64_t d = a->d.width;
    double scale = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale;
    enum region where = !strcmp(region, "near") ? REGION_NEAR : !strcmp(region, "tail") ? REGION_TAIL : REGION_ALL;
    if (a->d.method->sample)
        return a->d.method->sample(a, s, side, row, n, region, seed, out);
    double *x = mem_calloc((size_t)d, sizeof *x);
    int rc = x ? look(&it, a, s, side, row) : ERR_MEMORY;
    for (int64_t i = 0; i < n && rc == 0; i++) {
        struct rng r = rng_stream(seed, RNG_SAMPLE, (uint32_t)row, (uint64_t)i);
        for (int64_t j = 0; j < d; j++)
            x[j] = draw(&r, &it, j, where) / scale + a->mean[side][j];
        unit_length(x, d, out + i * d);
    }
    mem_free(x);
    mem_free(it.mean);
    return rc;
}

int adapt_likelihood(struct adapter *a, const struct set *s, int side, int64_t row, int of, double *out)
{
    struct item it = {0};
    int64_t d = a->d.width, n = rows_of(s, of);
    const float *rows = of == SIDE_TEXT ? s->text.x : s->image.x;
    double shift = 0.5 * log(a->d.unit); /* a density of vectors of mean square 1/D, told per number of mean square 1 */
    bool wide = a->engine->real == DT_F64;
    if (a->d.method->likelihood)
        return a->d.method->likelihood(a, s, side, row, of, out);
    void *x = mem_calloc((size_t)d, sizeof(double));
    int rc = x ? look(&it, a, s, side, row) : ERR_MEMORY;
    for (int64_t i = 0; i < n && rc == 0; i++) {
        double sum = 0;
        vectors_put(a, of, rows + i * d, x, 0);
        for (int64_t j = 0; j < d; j++)
            sum +=
                ggd_log_density(wide ? ((double *)x)[j] : (double)((float *)x)[j], it.mean[j], it.alpha[j], it.beta[j]);
        out[i] = sum / (double)d - shift;
    }
    mem_free(x);
    mem_free(it.mean);
    return rc;
}
