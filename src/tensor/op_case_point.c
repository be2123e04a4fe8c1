/* Cases of the pointwise ops: every activation on a domain without kinks, every binary operator under random
 * broadcasting. */
#include "tensor/op_case.h"

static void random_shape(const struct op_case *c, struct rng *r, int *n_dims, int64_t *shape)
{
    const int64_t large[T_MAX_DIMS] = {64, 50, 768, 1, 1};
    *n_dims = c->big ? 3 : (int)case_length(r, 0, c->wide ? 3 : 4);
    for (int i = 0; i < *n_dims; i++)
        shape[i] = case_axis(c, r, 1, 3, large[i]);
}

static enum domain domain_of(enum act act)
{
    switch (act) {
    case ACT_LOG:
    case ACT_SQRT:
    case ACT_RSQRT:
    case ACT_LGAMMA:
    case ACT_DIGAMMA:
        return DOM_POSITIVE;
    case ACT_RELU:
    case ACT_ABS:
    case ACT_RECIP:
        return DOM_AWAY;
    default:
        return DOM_NORMAL;
    }
}

static void make_one(struct op_case *c, struct rng *r, enum domain domain)
{
    int n_dims;
    int64_t shape[T_MAX_DIMS];
    random_shape(c, r, &n_dims, shape);
    c->flop = (double)case_count(case_add(c, domain, n_dims, shape));
}

static void make_act(struct op_case *c, struct rng *r)
{
    make_one(c, r, domain_of((enum act)c->param));
}

static struct tensor *build_act(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_act(in[0], (enum act)c->param);
}

/* Leading axes missing, or any axis of length 1: all that NumPy's rules allow */
static void broadcast_input(struct op_case *c, struct rng *r, enum domain domain, int n_dims, const int64_t *shape)
{
    int64_t s[T_MAX_DIMS];
    int drop = n_dims && case_coin(r) ? (int)case_length(r, 0, n_dims) : 0;
    for (int i = drop; i < n_dims; i++)
        s[i - drop] = rng_below(r, 3) == 0 ? 1 : shape[i];
    case_add(c, domain, n_dims - drop, s);
}

static void make_binary(struct op_case *c, struct rng *r)
{
    enum domain da = DOM_NORMAL, db = DOM_NORMAL;
    int n_dims;
    int64_t shape[T_MAX_DIMS];
    if (c->param == BIN_DIV)
        db = DOM_AWAY;
    if (c->param == BIN_POW)
        da = DOM_POSITIVE;
    if (c->param == BIN_MAX || c->param == BIN_MIN) {
        da = DOM_SPREAD;
        db = DOM_SPREAD_HALF;
    }
    if (c->big) {
        case_add(c, da, 3, (int64_t[]){64, 50, 768});
        case_add(c, db, 2, (int64_t[]){50, 768});
        c->flop = 64.0 * 50 * 768;
        return;
    }
    n_dims = (int)case_length(r, 0, T_MAX_DIMS);
    for (int i = 0; i < n_dims; i++)
        shape[i] = n_dims > 3 ? case_length(r, 1, c->wide ? 5 : 2) : case_axis(c, r, 1, 3, 0);
    uint64_t kind = rng_below(r, 4); /* same shapes, the left full, the right full, neither */
    if (kind < 2)
        case_add(c, da, n_dims, shape);
    else
        broadcast_input(c, r, da, n_dims, shape);
    if (kind == 0 || kind == 2)
        case_add(c, db, n_dims, shape);
    else
        broadcast_input(c, r, db, n_dims, shape);
}

static struct tensor *build_binary(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_binary(in[0], in[1], (enum binary)c->param);
}

static void make_any(struct op_case *c, struct rng *r)
{
    make_one(c, r, DOM_NORMAL);
}

static struct tensor *build_scale(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_scale(in[0], -1.7, 0.3);
}

static void make_clamp(struct op_case *c, struct rng *r)
{
    make_one(c, r, DOM_SPREAD);
}

/* The bounds lie between the steps of DOM_SPREAD */
static struct tensor *build_clamp(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_clamp(in[0], -0.303, 0.519);
}

static struct tensor *build_dropout(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct rng r = rng_stream(c->seed, RNG_DROPOUT, 0, 0);
    return t_dropout(in[0], 0.3, &r);
}

static void make_sample(struct op_case *c, struct rng *r)
{
    make_one(c, r, DOM_NORMAL);
    case_add(c, DOM_POSITIVE, c->in[0].n_dims, c->in[0].shape);
}

static struct tensor *build_sample(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct rng r = rng_stream(c->seed, RNG_SAMPLE, 0, 0);
    return t_sample_normal(in[0], in[1], &r);
}

/* m, z, a, b; z lies away from m, where the slope of |m - z|^b is no cliff */
static void make_ggd(struct op_case *c, struct rng *r)
{
    make_one(c, r, DOM_SPREAD);
    case_add(c, DOM_SPREAD_HALF, c->in[0].n_dims, c->in[0].shape)->constant = true;
    case_add(c, DOM_POSITIVE, c->in[0].n_dims, c->in[0].shape);
    case_add(c, DOM_POSITIVE, c->in[0].n_dims, c->in[0].shape);
}

/* Exact, with the straight line above a low cap, and as released. */
static struct tensor *build_ggd(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct ggd_form form = {.eps = c->param ? 0.03 : 0.3, .cap = c->param ? 0.7 : 20};
    if (c->param == 2)
        form = (struct ggd_form){.linear = true, .shift = 1e-4, .lo = 1e-4, .hi = 1e3};
    return t_ggd_nll(in[0], in[1], in[2], in[3], form);
}

static const struct op_entry entries[] = {
    {"act gelu", make_act, build_act, ACT_GELU},
    {"act quick_gelu", make_act, build_act, ACT_QUICK_GELU},
    {"act gelu_tanh", make_act, build_act, ACT_GELU_TANH},
    {"act relu", make_act, build_act, ACT_RELU},
    {"act tanh", make_act, build_act, ACT_TANH},
    {"act sigmoid", make_act, build_act, ACT_SIGMOID},
    {"act softplus", make_act, build_act, ACT_SOFTPLUS},
    {"act exp", make_act, build_act, ACT_EXP},
    {"act log", make_act, build_act, ACT_LOG},
    {"act sqrt", make_act, build_act, ACT_SQRT},
    {"act rsqrt", make_act, build_act, ACT_RSQRT},
    {"act square", make_act, build_act, ACT_SQUARE},
    {"act abs", make_act, build_act, ACT_ABS},
    {"act neg", make_act, build_act, ACT_NEG},
    {"act recip", make_act, build_act, ACT_RECIP},
    {"act lgamma", make_act, build_act, ACT_LGAMMA},
    {"act digamma", make_act, build_act, ACT_DIGAMMA},
    {"act sin", make_act, build_act, ACT_SIN},
    {"act cos", make_act, build_act, ACT_COS},
    {"act log_sigmoid", make_act, build_act, ACT_LOG_SIGMOID},
    {"binary add", make_binary, build_binary, BIN_ADD},
    {"binary sub", make_binary, build_binary, BIN_SUB},
    {"binary mul", make_binary, build_binary, BIN_MUL},
    {"binary div", make_binary, build_binary, BIN_DIV},
    {"binary max", make_binary, build_binary, BIN_MAX},
    {"binary min", make_binary, build_binary, BIN_MIN},
    {"binary pow", make_binary, build_binary, BIN_POW},
    {"scale", make_any, build_scale, 0},
    {"clamp", make_clamp, build_clamp, 0},
    {"dropout", make_any, build_dropout, 0},
    {"sample_normal", make_sample, build_sample, 0},
    {"ggd_nll", make_ggd, build_ggd, 0},
    {"ggd_nll above its cap", make_ggd, build_ggd, 1},
    {"ggd_nll as released", make_ggd, build_ggd, 2},
};

const struct op_group op_group_point = {entries, ARRAY_LEN(entries)};
