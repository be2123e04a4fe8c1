/* Reductions over one axis of [outer, n, inner], or over everything.
 *
 * log-sum-exp subtracts the maximum first (Blanchard, Higham and Higham 2021, algorithm 3.1); its gradient is the
 * softmax, recomputed from input and output. The maximum's gradient goes to the first largest element. */
#include "tensor/node.h"

struct reduce_attr {
    enum reduce op;
    int axis;
    bool all;
    int64_t outer, n, inner;
};

static int reduce_shape(struct node *n, struct tensor *out)
{
    struct reduce_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    at->outer = at->inner = 1;
    at->n = x->n;
    if (at->all)
        return shape_copy(out, 0, NULL);
    int a = axis_of(x, at->axis);
    if (a < 0)
        return node_fail(n, ERR_FAIL, "input %s has no axis %d", shape_text(x), at->axis);
    at->n = x->shape[a];
    for (int i = 0; i < x->n_dims; i++) {
        if (i < a)
            at->outer *= x->shape[i];
        if (i > a)
            at->inner *= x->shape[i];
        if (i != a)
            out->shape[out->n_dims++] = x->shape[i];
    }
    return 0;
}

static int reduce_forward(struct node *n)
{
    const struct reduce_attr *at = n->attr;
    NODE_NEEDS(n, reduce_fwd);
    n->e->reduce_fwd(n->e, at->op, at->outer, at->n, at->inner, n->in[0]->data, n->out->data);
    return 0;
}

static int reduce_backward(struct node *n, const void *dy)
{
    const struct reduce_attr *at = n->attr;
    void *dx = node_grad(n, 0);
    NODE_NEEDS(n, reduce_bwd);
    if (dx)
        n->e->reduce_bwd(n->e, at->op, at->outer, at->n, at->inner, n->in[0]->data, n->out->data, dy, dx);
    return 0;
}

static const struct op op_reduce = {"reduce", reduce_shape, reduce_forward, reduce_backward};

struct tensor *t_reduce(struct tensor *x, enum reduce op, int axis)
{
    struct reduce_attr at = {.op = op, .axis = axis};
    return node_run(&op_reduce, &x, 1, &at, sizeof(at));
}

struct tensor *t_sum(struct tensor *x)
{
    struct reduce_attr at = {.op = RED_SUM, .all = true};
    return node_run(&op_reduce, &x, 1, &at, sizeof(at));
}

struct tensor *t_mean(struct tensor *x)
{
    struct reduce_attr at = {.op = RED_MEAN, .all = true};
    return node_run(&op_reduce, &x, 1, &at, sizeof(at));
}
