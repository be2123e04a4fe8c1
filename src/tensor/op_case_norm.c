/* Cases of the norms. Batch norm keeps running statistics: each build works on its own copy, so that every evaluation
 * of a case sees the same ones. A mean is over at least four numbers: two
 * that happen to be near have a variance near 0, where difference quotients fail. */
#include "tensor/op_case.h"

#define EPS 1e-5

static void make_layer_norm(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 3, 64), l = case_axis(c, r, 1, 3, 50);
    int64_t d = case_axis(c, r, 4, 9, 768);
    case_add(c, DOM_NORMAL, 3, (int64_t[]){b, l, d});
    case_add(c, DOM_NORMAL, 1, (int64_t[]){d});
    case_add(c, DOM_NORMAL, 1, (int64_t[]){d});
    c->flop = 8.0 * (double)(b * l * d);
}

static struct norm *norm_of(struct tape *t, struct tensor **in)
{
    struct norm *p = arena_calloc(tape_arena(t), 1, sizeof(*p));
    if (!p || !in[1] || !in[2])
        return NULL;
    p->w = case_view(in[1]);
    p->b = case_view(in[2]);
    p->eps = EPS;
    return p;
}

static struct tensor *build_layer_norm(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct norm *p = norm_of(t, in);
    return p ? t_layer_norm(in[0], p) : NULL;
}

static int64_t make_channels(struct op_case *c, struct rng *r, int64_t channels)
{
    int64_t b = case_axis(c, r, 2, 3, 16), h = case_axis(c, r, 2, 3, 28);
    int64_t w = case_axis(c, r, 2, 3, 28);
    case_add(c, DOM_NORMAL, 4, (int64_t[]){b, channels, h, w});
    case_add(c, DOM_NORMAL, 1, (int64_t[]){channels});
    case_add(c, DOM_NORMAL, 1, (int64_t[]){channels});
    c->flop = 8.0 * (double)(b * channels * h * w);
    return channels;
}

static void make_batch_norm(struct op_case *c, struct rng *r)
{
    int64_t channels = make_channels(c, r, case_axis(c, r, 1, 4, 128));
    case_add(c, DOM_NORMAL, 1, &channels)->constant = true;
    case_add(c, DOM_POSITIVE, 1, &channels)->constant = true;
}

static struct tensor *build_batch_norm(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct batch_norm *p = arena_calloc(tape_arena(t), 1, sizeof(*p));
    struct tensor *mean = t_scale(in[3], 1, 0), *var = t_scale(in[4], 1, 0);
    if (!p || !mean || !var || !in[1] || !in[2])
        return NULL;
    *p = (struct batch_norm){case_view(in[1]), case_view(in[2]), *mean, *var, EPS, 0.1, c->param};
    return t_batch_norm(in[0], p);
}

static void make_group_norm(struct op_case *c, struct rng *r)
{
    c->i[0] = c->big ? 32 : case_length(r, 1, 3);
    make_channels(c, r, c->i[0] * (case_axis(c, r, 1, 2, 4)));
}

static struct tensor *build_group_norm(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct norm *p = norm_of(t, in);
    return p ? t_group_norm(in[0], p, c->i[0]) : NULL;
}

static void make_rows(struct op_case *c, struct rng *r)
{
    int64_t n = case_axis(c, r, 1, 5, 4096), d = case_axis(c, r, 2, 8, 512);
    case_add(c, DOM_AWAY, 2, (int64_t[]){n, d});
    c->flop = 3.0 * (double)(n * d);
}

static struct tensor *build_l2_normalize(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_l2_normalize(in[0]);
}

static const struct op_entry entries[] = {
    {"layer_norm", make_layer_norm, build_layer_norm, 0},
    {"batch_norm training", make_batch_norm, build_batch_norm, 1},
    {"batch_norm inference", make_batch_norm, build_batch_norm, 0},
    {"group_norm", make_group_norm, build_group_norm, 0},
    {"l2_normalize", make_rows, build_l2_normalize, 0},
};

const struct op_group op_group_norm = {entries, ARRAY_LEN(entries)};
