/* Matrix products.
 *
 *   matmul  C = s op(A) op(B)            dA = s dC op(B)^T     dB = s op(A)^T dC        (Goodfellow et al. 2016, 6.5.6)
 *   linear  y = act(x W^T + b)           dpre = act'(pre) dy   dx = dpre W   dW = dpre^T x   db = sum of rows of dpre
 *
 * Transposition is a flag, never a copy. Leading axes of x are rows of one large product. Rejected: general
 * broadcasting of batch axes; the one case that occurs, one matrix for all of a batch, is spelled as a 2-D operand. */
#include <inttypes.h>

#include "tensor/node.h"

struct matmul_attr {
    struct matmul_dims d;
    bool loop_a, loop_b; /* operand shared by the batch: its gradient is summed in order, matrix by matrix */
};

static int matmul_shape(struct node *n, struct tensor *out)
{
    struct matmul_attr *m = n->attr;
    const struct tensor *a = n->in[0], *b = n->in[1];
    struct matmul_dims *d = &m->d;
    if (a->n_dims < 2 || b->n_dims < 2)
        return node_fail(n, ERR_FAIL, "operands %s and %s, expected at least two axes each", shape_text(a),
                         shape_text(b));
    const int64_t *sa = a->shape + a->n_dims - 2, *sb = b->shape + b->n_dims - 2;
    d->m = sa[d->ta ? 1 : 0];
    d->k = sa[d->ta ? 0 : 1];
    d->n = sb[d->tb ? 0 : 1];
    if (d->k != sb[d->tb ? 1 : 0])
        return node_fail(n, ERR_FAIL, "%s%s by %s%s: inner axes differ", shape_text(a), d->ta ? "^T" : "",
                         shape_text(b), d->tb ? "^T" : "");
    const struct tensor *lead = a->n_dims >= b->n_dims ? a : b;
    bool same = a->n_dims == b->n_dims;
    for (int i = 0; same && i < a->n_dims - 2; i++)
        same = a->shape[i] == b->shape[i];
    if (!same && a->n_dims > 2 && b->n_dims > 2)
        return node_fail(n, ERR_FAIL, "%s by %s: batch axes differ", shape_text(a), shape_text(b));
    shape_like(out, lead);
    out->shape[out->n_dims - 2] = d->m;
    out->shape[out->n_dims - 1] = d->n;
    d->batch = lead->n / (lead == a ? d->m * d->k : d->k * d->n);
    d->stride_a = a->n_dims == 2 && lead->n_dims > 2 ? 0 : d->m * d->k;
    d->stride_b = b->n_dims == 2 && lead->n_dims > 2 ? 0 : d->k * d->n;
    d->stride_c = d->m * d->n;
    if (d->stride_b == 0 && !d->ta) { /* rows of the batch are rows of one product */
        d->m *= d->batch;
        d->batch = 1;
    }
    m->loop_a = d->stride_a == 0;
    m->loop_b = d->stride_b == 0 && d->batch > 1;
    return 0;
}

static int matmul_forward(struct node *n)
{
    struct matmul_attr *m = n->attr;
    NODE_NEEDS(n, matmul);
    return n->e->matmul(n->e, &m->d, n->in[0]->data, n->in[1]->data, n->out->data);
}

struct operand {
    const void *p;
    int64_t stride;
    bool t;
};

/* out [batch, m, n] += s op(x) op(y); `loop` adds the matrices of the batch into one */
static int add_product(struct node *n, int64_t m, int64_t cols, int64_t k, struct operand x, struct operand y,
                       bool loop, void *out)
{
    const struct matmul_attr *at = n->attr;
    struct matmul_dims d = {.m = m, .n = cols, .k = k, .ta = x.t, .tb = y.t, .low = at->d.low, .alpha = at->d.alpha};
    d.beta = 1;
    d.batch = loop ? 1 : at->d.batch;
    d.stride_a = x.stride;
    d.stride_b = y.stride;
    d.stride_c = m * cols;
    for (int64_t i = 0; i < (loop ? at->d.batch : 1); i++)
        TRY(n->e->matmul(n->e, &d, real_at(n, x.p, i * x.stride), real_at(n, y.p, i * y.stride), out));
    return 0;
}

static int matmul_backward(struct node *n, const void *dy)
{
    const struct matmul_attr *at = n->attr;
    const struct matmul_dims *d = &at->d;
    void *da = node_grad(n, 0), *db = node_grad(n, 1);
    struct operand a = {n->in[0]->data, d->stride_a, d->ta}, b = {n->in[1]->data, d->stride_b, d->tb};
    struct operand g = {dy, d->stride_c, false}, gt = {dy, d->stride_c, true};
    struct operand a_t = {a.p, a.stride, !a.t}, b_t = {b.p, b.stride, !b.t};
    if (da && !d->ta)
        TRY(add_product(n, d->m, d->k, d->n, g, b_t, at->loop_a, da));
    else if (da)
        TRY(add_product(n, d->k, d->m, d->n, b, gt, at->loop_a, da));
    if (db && !d->tb)
        TRY(add_product(n, d->k, d->n, d->m, a_t, g, at->loop_b, db));
    else if (db)
        TRY(add_product(n, d->n, d->k, d->m, gt, a, at->loop_b, db));
    return 0;
}

static const struct op op_matmul = {"matmul", matmul_shape, matmul_forward, matmul_backward};

struct tensor *t_matmul(struct tensor *a, struct tensor *b, struct matmul_opt opt)
{
    struct tensor *in[] = {a, b};
    struct tape *t = tape_of(a, b);
    struct matmul_attr at = {
        .d = {.ta = opt.ta, .tb = opt.tb, .low = t && t->opt.low, .alpha = opt.scale != 0 ? opt.scale : 1}};
    return node_run(&op_matmul, in, 2, &at, sizeof(at));
}

/* ---- linear: saved[0] is the value before the activation ---- */

static int linear_shape(struct node *n, struct tensor *out)
{
    const struct tensor *x = n->in[0], *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    if (x->n_dims < 1 || w->n_dims < 2)
        return node_fail(n, ERR_FAIL, "input %s, weight %s: expected [..,in] and [out,in]", shape_text(x),
                         shape_text(w));
    if (last_axis(x) != w->n / w->shape[0])
        return node_fail(n, ERR_FAIL, "input %s, weight %s: last axes differ", shape_text(x), shape_text(w));
    if (b && b->n != w->shape[0])
        return node_fail(n, ERR_FAIL, "weight %s, bias %s: expected a bias of [%" PRId64 "]", shape_text(w),
                         shape_text(b), w->shape[0]);
    shape_like(out, x);
    out->shape[out->n_dims - 1] = w->shape[0];
    return 0;
}

static int linear_forward(struct node *n)
{
    const enum act act = *(enum act *)n->attr;
    int64_t out = n->in[1]->shape[0], in = n->in[1]->n / out, rows = n->in[0]->n / in;
    void *pre = NULL;
    NODE_NEEDS(n, linear_fwd);
    if (act != ACT_NONE && n->record) {
        pre = node_save(n, 0, rows * out);
        NODE_GOT(pre);
    }
    return n->e->linear_fwd(n->e, rows, in, out, n->in[0]->data, n->in[1]->data, n->n_in > 2 ? n->in[2]->data : NULL,
                            act, n->tape->opt.low, pre, n->out->data);
}

static int linear_backward(struct node *n, const void *dy)
{
    const enum act act = *(enum act *)n->attr;
    int64_t out = n->in[1]->shape[0], in = n->in[1]->n / out, rows = n->in[0]->n / in;
    const void *dpre = dy;
    NODE_NEEDS(n, linear_bwd);
    if (act != ACT_NONE) {
        NODE_NEEDS(n, act_grad);
        void *g = node_scratch(n, rows * out);
        NODE_GOT(g);
        n->e->act_grad(n->e, act, n->saved[0], dy, g, rows * out);
        dpre = g;
    }
    return n->e->linear_bwd(n->e, rows, in, out, n->in[0]->data, n->in[1]->data, dpre, n->tape->opt.low,
                            node_grad(n, 0), node_grad(n, 1), node_grad(n, 2));
}

static const struct op op_linear = {"linear", linear_shape, linear_forward, linear_backward};

struct tensor *t_linear_wb(struct tensor *x, struct tensor *w, struct tensor *b, enum act act)
{
    struct tensor *in[] = {x, w, b};
    return node_run(&op_linear, in, b ? 3 : 2, &act, sizeof(act));
}

struct tensor *t_linear_act(struct tensor *x, struct linear *l, enum act act)
{
    return t_linear_wb(x, &l->w, l->has_bias ? &l->b : NULL, act);
}

struct tensor *t_linear(struct tensor *x, struct linear *l)
{
    return t_linear_act(x, l, ACT_NONE);
}
