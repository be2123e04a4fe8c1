/* Pictures: convolution (cross-correlation, as everywhere in this field) and average pooling, channels first.
 *
 * Only what the residual networks of Radford et al. 2021 and the evaluation's small networks use: square stride and
 * padding, no dilation, no groups. */
#include <inttypes.h>

#include "tensor/node.h"

static int conv_shape(struct node *n, struct tensor *out)
{
    struct conv_dims *d = n->attr;
    const struct tensor *x = n->in[0], *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    if (x->n_dims != 4 || w->n_dims != 4 || x->shape[1] != w->shape[1])
        return node_fail(n, ERR_FAIL, "input %s, weight %s: expected [B,C,H,W] and [O,C,kh,kw]", shape_text(x),
                         shape_text(w));
    if (b && b->n != w->shape[0])
        return node_fail(n, ERR_FAIL, "weight %s, bias %s: expected a bias of [%" PRId64 "]", shape_text(w),
                         shape_text(b), w->shape[0]);
    if (d->stride < 1 || d->pad < 0)
        return node_fail(n, ERR_FAIL, "stride %" PRId64 ", padding %" PRId64 ": expected at least 1 and 0", d->stride,
                         d->pad);
    d->batch = x->shape[0];
    d->in_c = x->shape[1];
    d->in_h = x->shape[2];
    d->in_w = x->shape[3];
    d->out_c = w->shape[0];
    d->k_h = w->shape[2];
    d->k_w = w->shape[3];
    int64_t room_h = d->in_h + 2 * d->pad - d->k_h, room_w = d->in_w + 2 * d->pad - d->k_w;
    if (room_h < 0 || room_w < 0)
        return node_fail(n, ERR_FAIL, "input %s, weight %s, padding %" PRId64 ": the window is larger than the picture",
                         shape_text(x), shape_text(w), d->pad);
    d->out_h = room_h / d->stride + 1;
    d->out_w = room_w / d->stride + 1;
    return shape_copy(out, 4, (int64_t[]){d->batch, d->out_c, d->out_h, d->out_w});
}

static int conv_forward(struct node *n)
{
    NODE_NEEDS(n, conv2d_fwd);
    return n->e->conv2d_fwd(n->e, n->attr, n->in[0]->data, n->in[1]->data, n->n_in > 2 ? n->in[2]->data : NULL,
                            n->out->data);
}

static int conv_backward(struct node *n, const void *dy)
{
    NODE_NEEDS(n, conv2d_bwd);
    return n->e->conv2d_bwd(n->e, n->attr, n->in[0]->data, n->in[1]->data, dy, node_grad(n, 0), node_grad(n, 1),
                            node_grad(n, 2));
}

static const struct op op_conv2d = {"conv2d", conv_shape, conv_forward, conv_backward};

struct tensor *t_conv2d(struct tensor *x, struct tensor *w, struct tensor *b, struct conv_opt opt)
{
    struct tensor *in[] = {x, w, b};
    struct conv_dims d = {.stride = opt.stride ? opt.stride : 1, .pad = opt.pad};
    return node_run(&op_conv2d, in, b ? 3 : 2, &d, sizeof(d));
}

static int pool_shape(struct node *n, struct tensor *out)
{
    struct pool_dims *d = n->attr;
    const struct tensor *x = n->in[0];
    if (x->n_dims != 4)
        return node_fail(n, ERR_FAIL, "input %s, expected [B,C,H,W]", shape_text(x));
    if (d->k < 1 || d->stride < 1 || d->k > x->shape[2] || d->k > x->shape[3])
        return node_fail(n, ERR_FAIL, "input %s, window %" PRId64 ", stride %" PRId64 ": the window does not fit",
                         shape_text(x), d->k, d->stride);
    d->batch = x->shape[0];
    d->channels = x->shape[1];
    d->in_h = x->shape[2];
    d->in_w = x->shape[3];
    d->out_h = (d->in_h - d->k) / d->stride + 1;
    d->out_w = (d->in_w - d->k) / d->stride + 1;
    return shape_copy(out, 4, (int64_t[]){d->batch, d->channels, d->out_h, d->out_w});
}

static int pool_forward(struct node *n)
{
    NODE_NEEDS(n, avg_pool_fwd);
    n->e->avg_pool_fwd(n->e, n->attr, n->in[0]->data, n->out->data);
    return 0;
}

static int pool_backward(struct node *n, const void *dy)
{
    void *dx = node_grad(n, 0);
    NODE_NEEDS(n, avg_pool_bwd);
    if (dx)
        n->e->avg_pool_bwd(n->e, n->attr, dy, dx);
    return 0;
}

static const struct op op_avg_pool = {"avg_pool", pool_shape, pool_forward, pool_backward};

struct tensor *t_avg_pool(struct tensor *x, int64_t k, int64_t stride)
{
    struct pool_dims d = {.k = k, .stride = stride ? stride : 1};
    return node_run(&op_avg_pool, &x, 1, &d, sizeof(d));
}
