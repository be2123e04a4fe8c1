/* Cases of pictures and of the sphere. Slerp's pairs are drawn by angle: ordinary, near 0 (where the kernel changes to
 * its series), never near pi, where the derivative has no bound. The near angles stay above 0.02, so that a step of the
 * difference quotient does not cross the clamp of the cosine at 1. */
#include "tensor/op_case.h"

static void make_patchify(struct op_case *c, struct rng *r)
{
    c->i[0] = case_axis(c, r, 1, 3, 32);
    int64_t b = case_axis(c, r, 1, 2, 16), ch = case_axis(c, r, 1, 2, 3);
    int64_t h = c->i[0] * ((c->big ? 7 : case_length(r, 1, 2))), w = c->i[0] * ((c->big ? 7 : case_length(r, 1, 2)));
    if (!c->big) { /* what fills no patch */
        h += case_length(r, 0, c->i[0] - 1);
        w += case_length(r, 0, c->i[0] - 1);
    }
    c->flop = (double)case_count(case_add(c, DOM_NORMAL, 4, (int64_t[]){b, ch, h, w}));
}

static struct tensor *build_patchify(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_patchify(in[0], c->i[0]);
}

static void make_conv(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 2, 4), in = case_axis(c, r, 1, 2, 64);
    int64_t out = case_axis(c, r, 1, 3, 64), kh = c->big ? 3 : case_length(r, 1, 3);
    int64_t kw = c->big ? 3 : case_length(r, 1, 3), h = case_axis(c, r, 3, 5, 56);
    int64_t w = case_axis(c, r, 3, 5, 56);
    c->i[0] = c->big ? 1 : case_length(r, 0, 3); /* stride; 0 means 1 */
    c->i[1] = c->big ? 1 : case_length(r, 0, 2);
    case_add(c, DOM_NORMAL, 4, (int64_t[]){b, in, h, w});
    case_add(c, DOM_NORMAL, 4, (int64_t[]){out, in, kh, kw});
    if (!c->param)
        case_add(c, DOM_NORMAL, 1, (int64_t[]){out});
    c->flop = 2.0 * (double)(b * out * h * w) * (double)(in * kh * kw);
}

static struct tensor *build_conv(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_conv2d(in[0], in[1], c->n_in > 2 ? in[2] : NULL, (struct conv_opt){.stride = c->i[0], .pad = c->i[1]});
}

static void make_pool(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 2, 16), ch = case_axis(c, r, 1, 2, 64);
    int64_t h = case_axis(c, r, 2, 5, 56), w = case_axis(c, r, 2, 5, 56);
    c->i[0] = c->big ? 2 : case_length(r, 1, 2);
    c->i[1] = c->big ? 2 : case_length(r, 1, 3);
    c->flop = (double)case_count(case_add(c, DOM_NORMAL, 4, (int64_t[]){b, ch, h, w}));
}

static struct tensor *build_pool(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_avg_pool(in[0], c->i[0], c->i[1]);
}

enum { EACH_ROW, ONE_LAMBDA, NEAR_ZERO };

static void make_slerp(struct op_case *c, struct rng *r)
{
    int64_t n = case_axis(c, r, 1, 5, 1024), d = case_axis(c, r, 2, 6, 512);
    c->angle[0] = c->param == NEAR_ZERO ? 0.02 : 0.3;
    c->angle[1] = c->param == NEAR_ZERO ? 0.3 : 2.6;
    case_add(c, DOM_UNIT, 2, (int64_t[]){n, d});
    case_add(c, DOM_ROTATED, 2, (int64_t[]){n, d});
    case_add(c, DOM_FRACTION, c->param == ONE_LAMBDA ? 0 : 1, &n)->constant = true;
    c->flop = 6.0 * (double)(n * d);
}

static struct tensor *build_slerp(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_slerp(in[0], in[1], in[2]);
}

static void make_distance(struct op_case *c, struct rng *r)
{
    int64_t n = case_axis(c, r, 1, 5, 512), m = case_axis(c, r, 1, 5, 512);
    int64_t d = case_axis(c, r, 1, 5, 512);
    case_add(c, DOM_NORMAL, 2, (int64_t[]){n, d});
    case_add(c, DOM_NORMAL, 2, (int64_t[]){m, d});
    c->flop = 3.0 * (double)n * (double)m * (double)d;
}

static struct tensor *build_distance(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_pairwise_distance(in[0], in[1]);
}

static const struct op_entry entries[] = {
    {"patchify", make_patchify, build_patchify, 0},
    {"conv2d", make_conv, build_conv, 0},
    {"conv2d without bias", make_conv, build_conv, 1},
    {"avg_pool", make_pool, build_pool, 0},
    {"slerp", make_slerp, build_slerp, EACH_ROW},
    {"slerp with one lambda", make_slerp, build_slerp, ONE_LAMBDA},
    {"slerp near zero", make_slerp, build_slerp, NEAR_ZERO},
    {"pairwise_distance", make_distance, build_distance, 0},
};

const struct op_group op_group_picture = {entries, ARRAY_LEN(entries)};
