/* Cases of the products: every transposition, the four ways a batch can be shared, linear with and without bias and
 * with the smooth activations (relu has its own entry, away from its kink). */
#include "tensor/op_case.h"

enum { PLAIN, BATCHED, SHARED_B, SHARED_A };

static void make_matmul(struct op_case *c, struct rng *r)
{
    int64_t m = case_axis(c, r, 1, 5, 512), n = case_axis(c, r, 1, 5, 512);
    int64_t k = case_axis(c, r, 1, 6, 768), batch = case_axis(c, r, 1, 3, 4);
    bool ta = !c->big && case_coin(r), tb = c->big || case_coin(r);
    int64_t a[3] = {batch, ta ? k : m, ta ? m : k}, b[3] = {batch, tb ? n : k, tb ? k : n};
    bool a3 = c->param == BATCHED || c->param == SHARED_B, b3 = c->param == BATCHED || c->param == SHARED_A;
    case_add(c, DOM_NORMAL, a3 ? 3 : 2, a3 ? a : a + 1);
    case_add(c, DOM_NORMAL, b3 ? 3 : 2, b3 ? b : b + 1);
    c->i[0] = ta;
    c->i[1] = tb;
    c->f[0] = case_coin(r) ? 0 : 0.7;
    c->flop = 2.0 * (double)m * (double)n * (double)k * (c->param == PLAIN ? 1 : (double)batch);
}

static struct tensor *build_matmul(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_matmul(in[0], in[1], (struct matmul_opt){.ta = c->i[0], .tb = c->i[1], .scale = c->f[0]});
}

static void make_linear(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 3, 8), l = case_axis(c, r, 1, 3, 50);
    int64_t in = case_axis(c, r, 1, 7, 768), out = case_axis(c, r, 1, 6, 768);
    bool flat = case_coin(r);
    case_add(c, DOM_NORMAL, flat ? 2 : 3, flat ? (int64_t[]){b * l, in} : (int64_t[]){b, l, in});
    case_add(c, DOM_WEIGHT, 2, (int64_t[]){out, in});
    case_add(c, DOM_NORMAL, 1, (int64_t[]){out});
    c->flop = 2.0 * (double)(b * l) * (double)in * (double)out;
}

static void make_linear_bare(struct op_case *c, struct rng *r)
{
    make_linear(c, r);
    c->n_in = 2;
}

/* The parameters arrive as a struct, as in a model */
static struct tensor *build_linear(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct linear *l = arena_calloc(tape_arena(t), 1, sizeof(*l));
    if (!l || !in[0] || !in[1])
        return NULL;
    l->w = case_view(in[1]);
    l->has_bias = c->n_in > 2;
    if (l->has_bias)
        l->b = case_view(in[2]);
    return c->param == ACT_NONE ? t_linear(in[0], l) : t_linear_act(in[0], l, (enum act)c->param);
}

static const struct op_entry entries[] = {
    {"matmul", make_matmul, build_matmul, PLAIN},
    {"matmul batched", make_matmul, build_matmul, BATCHED},
    {"matmul shared b", make_matmul, build_matmul, SHARED_B},
    {"matmul shared a", make_matmul, build_matmul, SHARED_A},
    {"linear", make_linear, build_linear, ACT_NONE},
    {"linear without bias", make_linear_bare, build_linear, ACT_NONE},
    {"linear gelu", make_linear, build_linear, ACT_GELU},
    {"linear quick_gelu", make_linear, build_linear, ACT_QUICK_GELU},
    {"linear gelu_tanh", make_linear, build_linear, ACT_GELU_TANH},
    {"linear tanh without bias", make_linear_bare, build_linear, ACT_TANH},
    {"linear sigmoid", make_linear, build_linear, ACT_SIGMOID},
};

const struct op_group op_group_matmul = {entries, ARRAY_LEN(entries)};
