/* Cases of softmax, the cross entropies and attention, with every mask. A masked case may hide all keys of a row, whose
 * output is then zero. */
#include "tensor/op_case.h"

static void make_logits(struct op_case *c, struct rng *r)
{
    int64_t n = case_axis(c, r, 1, 6, 1024), d = case_axis(c, r, 1, 8, 1024);
    case_add(c, DOM_NORMAL, 2, (int64_t[]){n, d});
    c->flop = 4.0 * (double)(n * d);
}

static struct tensor *build_softmax(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return c->param ? t_log_softmax(in[0]) : t_softmax(in[0]);
}

enum { LABELS, SMOOTHED, IGNORED };

static void make_labels(struct op_case *c, struct rng *r)
{
    make_logits(c, r);
    int64_t n = c->in[0].shape[0];
    int32_t *ids = case_ids(c, r, n, c->in[0].shape[1]);
    c->f[0] = c->param == SMOOTHED ? 0.1 : 0;
    for (int64_t i = 0; ids && c->param == IGNORED && i < n; i++)
        if (case_coin(r))
            ids[i] = -1;
}

static struct tensor *build_labels(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_cross_entropy(in[0], c->ids, c->f[0]);
}

static void make_soft(struct op_case *c, struct rng *r)
{
    make_logits(c, r);
    case_add(c, DOM_SIMPLEX, 2, c->in[0].shape);
}

static struct tensor *build_soft(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_cross_entropy_soft(in[0], in[1]);
}

enum { FULL, CAUSAL, MASKED, CAUSAL_MASKED };

static struct attention_opt attention_opt(const struct op_case *c)
{
    return (struct attention_opt){.heads = c->i[0],
                                  .causal = c->param == CAUSAL || c->param == CAUSAL_MASKED,
                                  .key_keep = c->keep,
                                  .scale = c->f[0]};
}

static void make_mask(struct op_case *c, struct rng *r, int64_t b, int64_t len)
{
    c->f[0] = case_coin(r) ? 0 : 0.4;
    if (c->param != MASKED && c->param != CAUSAL_MASKED)
        return;
    c->keep = arena_alloc(c->arena, (size_t)(b * len));
    for (int64_t i = 0; c->keep && i < b * len; i++)
        c->keep[i] = rng_below(r, 3) != 0;
}

static void count_flop(struct op_case *c, int64_t b, int64_t lq, int64_t lk, int64_t d)
{
    c->flop = 4.0 * (double)b * (double)lq * (double)lk * (double)d;
}

static void make_attention(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 2, 16), lq = case_axis(c, r, 1, 4, 77);
    int64_t lk = c->param == CAUSAL || c->param == CAUSAL_MASKED || c->big ? lq : case_length(r, 1, 4);
    c->i[0] = case_axis(c, r, 1, 2, 12);
    int64_t d = c->i[0] * (case_axis(c, r, 1, 3, 64));
    case_add(c, DOM_NORMAL, 3, (int64_t[]){b, lq, d});
    case_add(c, DOM_NORMAL, 3, (int64_t[]){b, lk, d});
    case_add(c, DOM_NORMAL, 3, (int64_t[]){b, lk, d});
    make_mask(c, r, b, lk);
    count_flop(c, b, lq, lk, d);
}

static struct tensor *build_attention(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_attention(in[0], in[1], in[2], attention_opt(c));
}

static void make_packed(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 2, 16), l = case_axis(c, r, 1, 4, 77);
    c->i[0] = case_axis(c, r, 1, 2, 12);
    int64_t d = c->i[0] * (case_axis(c, r, 1, 3, 64));
    case_add(c, DOM_NORMAL, 3, (int64_t[]){b, l, 3 * d});
    make_mask(c, r, b, l);
    count_flop(c, b, l, l, d);
}

static struct tensor *build_packed(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_attention_qkv(in[0], attention_opt(c));
}

static const struct op_entry entries[] = {
    {"softmax", make_logits, build_softmax, 0},
    {"log_softmax", make_logits, build_softmax, 1},
    {"cross_entropy", make_labels, build_labels, LABELS},
    {"cross_entropy smoothed", make_labels, build_labels, SMOOTHED},
    {"cross_entropy ignored rows", make_labels, build_labels, IGNORED},
    {"cross_entropy soft", make_soft, build_soft, 0},
    {"attention", make_attention, build_attention, FULL},
    {"attention causal", make_attention, build_attention, CAUSAL},
    {"attention masked", make_attention, build_attention, MASKED},
    {"attention causal masked", make_attention, build_attention, CAUSAL_MASKED},
    {"attention_qkv", make_packed, build_packed, FULL},
    {"attention_qkv causal", make_packed, build_packed, CAUSAL},
    {"attention_qkv masked", make_packed, build_packed, MASKED},
    {"attention_qkv causal masked", make_packed, build_packed, CAUSAL_MASKED},
};

const struct op_group op_group_softmax = {entries, ARRAY_LEN(entries)};
