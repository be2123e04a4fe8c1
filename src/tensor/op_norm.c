/* Norms.
 *
 *   layer_norm   y = w (x - mean) rstd + b over the last axis                 Ba et al. 2016, eq. 4
 *   group_norm   the same over groups of channels and space                   Wu and He 2018, eq. 7
 *   batch_norm   the same per channel over the batch and space                Ioffe and Szegedy 2015, algorithm 1
 *   l2_normalize y = x / max(|x|, 1e-12) over the last axis
 *
 * Mean and reciprocal deviation are saved, the normalised values are not: they are cheaper to recompute than to keep.
 */
#include <inttypes.h>

#include "tensor/node.h"

#define L2_EPS 1e-12

/* ---- layer norm: saved[0] mean [n], saved[1] rstd [n] ---- */

static int layer_norm_shape(struct node *n, struct tensor *out)
{
    const struct tensor *x = n->in[0], *w = n->in[1], *b = n->in[2];
    if (x->n_dims < 1 || w->n != last_axis(x))
        return node_fail(n, ERR_FAIL, "input %s, weight %s: last axes differ", shape_text(x), shape_text(w));
    if (b->n != w->n)
        return node_fail(n, ERR_FAIL, "weight %s, bias %s: shapes differ", shape_text(w), shape_text(b));
    return shape_like(out, x);
}

static int layer_norm_forward(struct node *n)
{
    int64_t d = last_axis(n->in[0]), rows = n->in[0]->n / d;
    void *mean = node_save(n, 0, rows), *rstd = node_save(n, 1, rows);
    NODE_NEEDS(n, layer_norm_fwd);
    NODE_GOT(mean);
    NODE_GOT(rstd);
    n->e->layer_norm_fwd(n->e, rows, d, *(double *)n->attr, n->in[0]->data, n->in[1]->data, n->in[2]->data,
                         n->out->data, mean, rstd);
    return 0;
}

static int layer_norm_backward(struct node *n, const void *dy)
{
    int64_t d = last_axis(n->in[0]), rows = n->in[0]->n / d;
    NODE_NEEDS(n, layer_norm_bwd);
    n->e->layer_norm_bwd(n->e, rows, d, n->in[0]->data, n->in[1]->data, n->saved[0], n->saved[1], dy, node_grad(n, 0),
                         node_grad(n, 1), node_grad(n, 2));
    return 0;
}

static const struct op op_layer_norm = {"layer_norm", layer_norm_shape, layer_norm_forward, layer_norm_backward};

struct tensor *t_layer_norm(struct tensor *x, struct norm *p)
{
    struct tensor *in[] = {x, &p->w, &p->b};
    double eps = p->eps;
    return node_run(&op_layer_norm, in, 3, &eps, sizeof(eps));
}

/* ---- channels first: x [B,C,..] ---- */

static int channel_shape(struct node *n, struct tensor *out)
{
    const struct tensor *x = n->in[0];
    if (x->n_dims < 2)
        return node_fail(n, ERR_FAIL, "input %s, expected [B,C,..]", shape_text(x));
    for (int i = 1; i < 3; i++)
        if (n->in[i]->n != x->shape[1])
            return node_fail(n, ERR_FAIL, "input %s, %s %s: expected [%" PRId64 "]", shape_text(x),
                             i == 1 ? "weight" : "bias", shape_text(n->in[i]), x->shape[1]);
    return shape_like(out, x);
}

/* ---- batch norm: saved[0] mean [C], saved[1] rstd [C] ---- */

struct batch_norm_attr {
    double eps, momentum;
    bool training;
    struct tensor *mean, *var; /* running statistics of the owner */
};

static int batch_norm_shape(struct node *n, struct tensor *out)
{
    const struct batch_norm_attr *at = n->attr;
    TRY(channel_shape(n, out));
    const struct tensor *x = n->in[0];
    if (at->mean->n != x->shape[1] || at->var->n != x->shape[1])
        return node_fail(n, ERR_FAIL, "input %s, running mean %s, running variance %s: channels differ", shape_text(x),
                         shape_text(at->mean), shape_text(at->var));
    if (at->training && x->n / x->shape[1] < 2)
        return node_fail(n, ERR_FAIL, "input %s: batch statistics need two values a channel", shape_text(x));
    return 0;
}

/* running = (1 - momentum) running + momentum batch; the kernel's variance is unbiased, as in the paper's algorithm 2
 */
static void update_running(struct node *n, const void *mean, const void *var)
{
    const struct batch_norm_attr *at = n->attr;
    const struct engine *e = n->e;
    int64_t c = n->in[0]->shape[1];
    e->scale_add(e, 1 - at->momentum, at->mean->data, 0, at->mean->data, c);
    e->axpy(e, at->momentum, mean, at->mean->data, c);
    e->scale_add(e, 1 - at->momentum, at->var->data, 0, at->var->data, c);
    e->axpy(e, at->momentum, var, at->var->data, c);
}

static int batch_norm_forward(struct node *n)
{
    const struct batch_norm_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t c = x->shape[1], hw = x->n / (x->shape[0] * c);
    void *mean = node_save(n, 0, c), *rstd = node_save(n, 1, c), *var = node_scratch(n, c);
    NODE_NEEDS(n, batch_norm_fwd);
    NODE_GOT(mean);
    NODE_GOT(rstd);
    NODE_GOT(var);
    if (!at->training) { /* copies: the owner may go on training before backward */
        n->e->copy(n->e, mean, at->mean->data, c);
        n->e->copy(n->e, var, at->var->data, c);
    }
    n->e->batch_norm_fwd(n->e, x->shape[0], c, hw, at->eps, at->training, x->data, n->in[1]->data, n->in[2]->data,
                         n->out->data, mean, rstd, var);
    if (at->training)
        update_running(n, mean, var);
    return 0;
}

static int batch_norm_backward(struct node *n, const void *dy)
{
    const struct batch_norm_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t c = x->shape[1], hw = x->n / (x->shape[0] * c);
    NODE_NEEDS(n, batch_norm_bwd);
    n->e->batch_norm_bwd(n->e, x->shape[0], c, hw, at->training, x->data, n->in[1]->data, n->saved[0], n->saved[1], dy,
                         node_grad(n, 0), node_grad(n, 1), node_grad(n, 2));
    return 0;
}

static const struct op op_batch_norm = {"batch_norm", batch_norm_shape, batch_norm_forward, batch_norm_backward};

struct tensor *t_batch_norm(struct tensor *x, struct batch_norm *p)
{
    struct tensor *in[] = {x, &p->w, &p->b};
    struct batch_norm_attr at = {p->eps, p->momentum, p->training, &p->mean, &p->var};
    return node_run(&op_batch_norm, in, 3, &at, sizeof(at));
}

/* ---- group norm: saved[0] mean [B, groups], saved[1] rstd ---- */

struct group_norm_attr {
    double eps;
    int64_t groups;
};

static int group_norm_shape(struct node *n, struct tensor *out)
{
    const struct group_norm_attr *at = n->attr;
    TRY(channel_shape(n, out));
    if (at->groups < 1 || n->in[0]->shape[1] % at->groups)
        return node_fail(n, ERR_FAIL, "input %s cannot be divided into %" PRId64 " groups of channels",
                         shape_text(n->in[0]), at->groups);
    return 0;
}

static int group_norm_forward(struct node *n)
{
    const struct group_norm_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t b = x->shape[0], c = x->shape[1], hw = x->n / (b * c);
    void *mean = node_save(n, 0, b * at->groups), *rstd = node_save(n, 1, b * at->groups);
    NODE_NEEDS(n, group_norm_fwd);
    NODE_GOT(mean);
    NODE_GOT(rstd);
    n->e->group_norm_fwd(n->e, b, c, hw, at->groups, at->eps, x->data, n->in[1]->data, n->in[2]->data, n->out->data,
                         mean, rstd);
    return 0;
}

static int group_norm_backward(struct node *n, const void *dy)
{
    const struct group_norm_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t b = x->shape[0], c = x->shape[1], hw = x->n / (b * c);
    NODE_NEEDS(n, group_norm_bwd);
    n->e->group_norm_bwd(n->e, b, c, hw, at->groups, x->data, n->in[1]->data, n->saved[0], n->saved[1], dy,
                         node_grad(n, 0), node_grad(n, 1), node_grad(n, 2));
    return 0;
}

static const struct op op_group_norm = {"group_norm", group_norm_shape, group_norm_forward, group_norm_backward};

struct tensor *t_group_norm(struct tensor *x, struct norm *p, int64_t groups)
{
    struct tensor *in[] = {x, &p->w, &p->b};
    struct group_norm_attr at = {p->eps, groups};
    return node_run(&op_group_norm, in, 3, &at, sizeof(at));
}

/* ---- unit length: saved[0] norm [n] ---- */

static int l2_shape(struct node *n, struct tensor *out)
{
    return shape_like(out, n->in[0]);
}

static int l2_forward(struct node *n)
{
    int64_t d = last_axis(n->in[0]), rows = n->in[0]->n / d;
    void *norm = node_save(n, 0, rows);
    NODE_NEEDS(n, l2_normalize_fwd);
    NODE_GOT(norm);
    n->e->l2_normalize_fwd(n->e, rows, d, L2_EPS, n->in[0]->data, n->out->data, norm);
    return 0;
}

static int l2_backward(struct node *n, const void *dy)
{
    int64_t d = last_axis(n->in[0]), rows = n->in[0]->n / d;
    NODE_NEEDS(n, l2_normalize_bwd);
    n->e->l2_normalize_bwd(n->e, rows, d, L2_EPS, n->out->data, n->saved[0], dy, node_grad(n, 0));
    return 0;
}

static const struct op op_l2_normalize = {"l2_normalize", l2_shape, l2_forward, l2_backward};

struct tensor *t_l2_normalize(struct tensor *x)
{
    return node_run(&op_l2_normalize, &x, 1, NULL, 0);
}
