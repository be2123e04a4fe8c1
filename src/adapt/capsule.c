/* adapt/capsule.c: the network of one side, under the authors' names (img_BayesCap.*, txt_BayesCap.*).
 *
 *   h = x + W3 drop(relu(W2 relu(W1 x)))                        trunk with its residual, [n,D]
 *   mean, 1/alpha, beta = V relu(U h), one two-layer head each   (Upadhyay et al. 2023, released code)
 *
 * As released, 1/alpha and beta end in a relu, and the mean learns the identity anew. Ours: bounded and smooth,
 *   alpha = exp(lo + (hi - lo) sigmoid), beta = 1/2 + 7/2 sigmoid
 * (no dead unit, no shape at which Gamma(3/beta) overflows), and the mean is the head, the vector plus the head (zero
 * at the start), or the vector. PFE, PCME and PCME++ have a fixed mean and a normal distribution: the trunk without
 * residual gives the log variance, bounded too. Rejected: softplus for the scale, which is unbounded above and, at the
 * start, four times too wide for a residual mean. */
#include "adapt/adapter.h"

#include <math.h>
#include <string.h>

static const double ALPHA_LO = 0.01, ALPHA_HI = 10, BETA_LO = 0.5, BETA_HI = 4, LOG_VAR_LO = -9, LOG_VAR_HI = 4;

/* ---- parameters ---- */

#define AT(field) offsetof(struct capsule, field)
static const struct param_row trunk_rows[] = {
    {"mod.0.weight", AT(in.w), "HD", INIT_FAN_IN},     {"mod.0.bias", AT(in.b), "H", INIT_ZERO},
    {"mod.2.weight", AT(middle.w), "HH", INIT_FAN_IN}, {"mod.2.bias", AT(middle.b), "H", INIT_ZERO},
    {"mod.5.weight", AT(out.w), "DH", INIT_FAN_IN},    {"mod.5.bias", AT(out.b), "D", INIT_ZERO},
};
static const struct param_row head_rows[] = {
    {"block_mu.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 0, .parts = 3},
    {"block_alpha.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 1, .parts = 3},
    {"block_beta.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 2, .parts = 3},
    {"block_mu.0.bias", AT(first.b), "D", INIT_ZERO, .part = 0, .parts = 3},
    {"block_alpha.0.bias", AT(first.b), "D", INIT_ZERO, .part = 1, .parts = 3},
    {"block_beta.0.bias", AT(first.b), "D", INIT_ZERO, .part = 2, .parts = 3},
    {"block_mu.2.weight", AT(mean.w), "DD", INIT_FAN_IN},
    {"block_mu.2.bias", AT(mean.b), "D", INIT_ZERO},
    {"block_alpha.2.weight", AT(inverse.w), "DD", INIT_FAN_IN},
    {"block_alpha.2.bias", AT(inverse.b), "D", INIT_ZERO},
    {"block_beta.2.weight", AT(shape.w), "DD", INIT_FAN_IN},
    {"block_beta.2.bias", AT(shape.b), "D", INIT_ZERO},
};
static const struct param_row fixed_rows[] = {
    {"block_alpha.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 0, .parts = 2},
    {"block_beta.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 1, .parts = 2},
    {"block_alpha.0.bias", AT(first.b), "D", INIT_ZERO, .part = 0, .parts = 2},
    {"block_beta.0.bias", AT(first.b), "D", INIT_ZERO, .part = 1, .parts = 2},
    {"block_alpha.2.weight", AT(inverse.w), "DD", INIT_FAN_IN},
    {"block_alpha.2.bias", AT(inverse.b), "D", INIT_ZERO},
    {"block_beta.2.weight", AT(shape.w), "DD", INIT_FAN_IN},
    {"block_beta.2.bias", AT(shape.b), "D", INIT_ZERO},
};
#undef AT
static const struct param_row pcme_rows[] = {
    {"match.scale", offsetof(struct adapter, scale), "", INIT_ZERO},
    {"match.shift", offsetof(struct adapter, shift), "", INIT_ZERO},
};
static const char *const prefixes[2] = {"img_BayesCap.", "txt_BayesCap."};

int capsule_bind(struct adapter *a)
{
    const struct param_sizes sizes = {
        .letters = "DH", .sizes = {a->d.width, a->d.hidden}, .width = a->d.width, .layers = 1};
    for (int side = 0; side < 2; side++) {
        struct capsule *c = &a->side[side];
        struct linear *all[] = {&c->in, &c->middle, &c->out, &c->first, &c->mean, &c->inverse, &c->shape};
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            all[i]->has_bias = true;
        TRY(params_bind(&a->params, a->arena, trunk_rows, ARRAY_LEN(trunk_rows), c, prefixes[side], &sizes));
        if (a->d.method != METHOD_PROBVLM)
            continue;
        if (a->d.mean == MEAN_FIXED)
            TRY(params_bind(&a->params, a->arena, fixed_rows, ARRAY_LEN(fixed_rows), c, prefixes[side], &sizes));
        else
            TRY(params_bind(&a->params, a->arena, head_rows, ARRAY_LEN(head_rows), c, prefixes[side], &sizes));
    }
    if (a->d.method == METHOD_PCME || a->d.method == METHOD_PCMEPP)
        TRY(params_bind(&a->params, a->arena, pcme_rows, ARRAY_LEN(pcme_rows), a, "", &sizes));
    return 0;
}

static void put(const struct engine *e, struct tensor *x, double v)
{
    e->fill(e, x->data, v, x->n);
}

void capsule_init(struct adapter *a, uint64_t seed)
{
    const struct engine *e = a->engine;
    params_init(&a->params, seed);
    /* the spread that PyTorch's linear layers start with: uniform within 1/sqrt(inputs) */
    e->scale_add(e, 1 / sqrt(3.0), a->params.data, 0, a->params.data, a->params.n_slab);
    for (int side = 0; side < 2; side++)
        if (a->d.method == METHOD_PROBVLM && a->d.mean == MEAN_RESIDUAL)
            put(e, &a->side[side].mean.w, 0);
    if (a->d.method == METHOD_PCME || a->d.method == METHOD_PCMEPP) {
        put(e, &a->scale, 5);
        put(e, &a->shift, 5);
    }
}

/* ---- forward ---- */

struct tensor *capsule_hidden(const struct adapter *a, int side, struct tensor *x)
{
    const struct capsule *c = &a->side[side];
    return t_linear_act(t_linear_act(x, (struct linear *)&c->in, ACT_RELU), (struct linear *)&c->middle, ACT_RELU);
}

static struct tensor *bounded(struct tensor *raw, double lo, double hi)
{
    return t_scale(t_act(raw, ACT_SIGMOID), hi - lo, lo);
}

void capsule_heads(const struct adapter *a, int side, struct tensor *x, struct tensor *hidden, struct tensor *keep,
                   struct ggd_side *g, struct tensor **log_var)
{
    const struct capsule *c = &a->side[side];
    int64_t d = a->d.width;
    struct tensor *h = t_linear(keep ? t_mul(hidden, keep) : hidden, (struct linear *)&c->out);
    *g = (struct ggd_side){.mean = x};
    *log_var = NULL;
    if (a->d.method != METHOD_PROBVLM) {
        /* unit: what turns a variance of these vectors into one of mean square 1 */
        double shift = log(a->d.unit);
        *log_var = bounded(h, LOG_VAR_LO - shift, LOG_VAR_HI - shift);
        return;
    }
    h = t_linear_act(t_add(h, x), (struct linear *)&c->first, ACT_RELU); /* [n,3D] */
    int at = 0;
    if (a->d.mean != MEAN_FIXED) {
        g->mean = t_linear(t_slice(h, 1, 0, d), (struct linear *)&c->mean);
        if (a->d.mean == MEAN_RESIDUAL)
            g->mean = t_add(g->mean, x);
        at = 1;
    }
    g->inverse = t_linear(t_slice(h, 1, at * d, d), (struct linear *)&c->inverse);
    g->shape = t_linear(t_slice(h, 1, (at + 1) * d, d), (struct linear *)&c->shape);
    if (a->d.released) {
        g->inverse = t_relu(g->inverse);
        g->shape = t_relu(g->shape);
    } else {
        g->inverse = t_exp(bounded(g->inverse, -log(ALPHA_LO), -log(ALPHA_HI)));
        g->shape = bounded(g->shape, BETA_LO, BETA_HI);
    }
}

struct tensor *capsule_mask(struct tape *t, int64_t n, int64_t hidden, double p, uint64_t seed, uint32_t pass,
                            int64_t first_row)
{
    struct tensor *x = t_new(t, SHAPE(n, hidden));
    if (!x)
        return NULL;
    uint32_t below = (uint32_t)(p * 65536 + 0.5);
    double kept = 65536.0 / (65536 - below);
    bool wide = tape_engine(t)->real == DT_F64;
    for (int64_t i = 0; i < n; i++) {
        struct rng r = rng_stream(seed, RNG_DROPOUT, pass, (uint64_t)(first_row + i));
        uint32_t word = 0;
        for (int64_t j = 0; j < hidden; j++) {
            word = j & 1 ? word >> 16 : rng_u32(&r);
            double v = (word & 0xffffu) < below ? 0 : kept;
            if (wide)
                ((double *)x->data)[i * hidden + j] = v;
            else
                ((float *)x->data)[i * hidden + j] = (float)v;
        }
    }
    return x;
}
