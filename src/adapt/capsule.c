/* adapt/capsule.c: what the networks share, under ProbVLM's authors' names (img_BayesCap.*, txt_BayesCap.*): the trunk
 *
 *   W3 drop(relu(W2 relu(W1 x)))      [n,D] -> [n,H] -> [n,H] -> [n,D]   (Upadhyay et al. 2023)
 *
 * of each side, the mask of its dropout, and bounds for what may not run away. */
#include "adapt/adapter.h"

#include <math.h>

static const double LOG_VAR_LO = -9, LOG_VAR_HI = 4;

/* ---- parameters ---- */

#define AT(field) offsetof(struct capsule, field)
static const struct param_row trunk_rows[] = {
    {"mod.0.weight", AT(in.w), "HD", INIT_FAN_IN},     {"mod.0.bias", AT(in.b), "H", INIT_ZERO},
    {"mod.2.weight", AT(middle.w), "HH", INIT_FAN_IN}, {"mod.2.bias", AT(middle.b), "H", INIT_ZERO},
    {"mod.5.weight", AT(out.w), "DH", INIT_FAN_IN},    {"mod.5.bias", AT(out.b), "D", INIT_ZERO},
};
#undef AT
static const struct param_row match_rows[] = {
    {"match.scale", offsetof(struct adapter, scale), "", INIT_ZERO},
    {"match.shift", offsetof(struct adapter, shift), "", INIT_ZERO},
};
static const char *const prefixes[2] = {"img_BayesCap.", "txt_BayesCap."};

static struct param_sizes capsule_sizes(const struct adapter *a)
{
    return (struct param_sizes){.letters = "DH", .sizes = {a->d.width, a->d.hidden}, .width = a->d.width, .layers = 1};
}

int capsule_bind_rows(struct adapter *a, int side, const struct param_row *rows, int n)
{
    const struct param_sizes sizes = capsule_sizes(a);
    return params_bind(&a->params, a->arena, rows, n, &a->side[side], prefixes[side], &sizes);
}

int capsule_bind_trunk(struct adapter *a)
{
    for (int side = 0; side < 2; side++) {
        struct capsule *c = &a->side[side];
        struct linear *all[] = {&c->in, &c->middle, &c->out, &c->first, &c->mean, &c->inverse, &c->shape};
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            all[i]->has_bias = true;
        if (a->d.method->sides >> side & 1)
            TRY(capsule_bind_rows(a, side, trunk_rows, ARRAY_LEN(trunk_rows)));
    }
    return 0;
}

int capsule_bind_match(struct adapter *a)
{
    const struct param_sizes sizes = capsule_sizes(a);
    return params_bind(&a->params, a->arena, match_rows, ARRAY_LEN(match_rows), a, "", &sizes);
}

void capsule_fill(const struct adapter *a, struct tensor *x, double v)
{
    a->engine->fill(a->engine, x->data, v, x->n);
}

void capsule_init(struct adapter *a, uint64_t seed)
{
    const struct engine *e = a->engine;
    params_init(&a->params, seed);
    /* the spread that PyTorch's linear layers start with: uniform within 1/sqrt(inputs) */
    e->scale_add(e, 1 / sqrt(3.0), a->params.data, 0, a->params.data, a->params.n_slab);
}

/* ---- forward ---- */

struct tensor *capsule_hidden(const struct adapter *a, int side, struct tensor *x)
{
    const struct capsule *c = &a->side[side];
    return t_linear_act(t_linear_act(x, (struct linear *)&c->in, ACT_RELU), (struct linear *)&c->middle, ACT_RELU);
}

struct tensor *capsule_out(const struct adapter *a, int side, struct tensor *hidden, struct tensor *keep)
{
    return t_linear(keep ? t_mul(hidden, keep) : hidden, (struct linear *)&a->side[side].out);
}

struct tensor *capsule_bounded(struct tensor *raw, double lo, double hi)
{
    return t_scale(t_act(raw, ACT_SIGMOID), hi - lo, lo);
}

struct tensor *capsule_log_var(const struct adapter *a, struct tensor *raw)
{
    double shift = log(a->d.unit); /* what turns a variance of these vectors into one of mean square 1 */
    return capsule_bounded(raw, LOG_VAR_LO - shift, LOG_VAR_HI - shift);
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
