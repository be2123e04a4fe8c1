/* Scaled dot-product attention over heads (Vaswani et al. 2017, eq. 1), with causal and key masks.
 *
 * Heads are column blocks of each row, so no permutation is needed; the packed form reads q, k and v from one [B,L,3D]
 * array through row strides. Log-sum-exp of every score row is kept for the backward pass (Dao et al. 2022, algorithm
 * 4), the [L,L] scores are not. Rejected: attention composed of matmul, softmax and permute, which keeps four such
 * arrays. */
#include <inttypes.h>
#include <math.h>

#include "tensor/node.h"

struct attention_attr {
    struct attention_opt opt;
    struct attention_dims d;
};

static int heads_shape(struct node *n, int64_t width)
{
    struct attention_attr *at = n->attr;
    struct attention_dims *d = &at->d;
    d->heads = at->opt.heads ? at->opt.heads : 1;
    if (d->heads < 1 || width % d->heads)
        return node_fail(n, ERR_FAIL, "width %" PRId64 " cannot be divided into %" PRId64 " heads", width, d->heads);
    d->head_dim = width / d->heads;
    d->causal = at->opt.causal;
    d->scale = at->opt.scale != 0 ? at->opt.scale : 1 / sqrt((double)d->head_dim);
    d->ld_out = width;
    return 0;
}

/* saved[0] lse [B,heads,Lq], saved[1] the mask */
static int attend(struct node *n, const void *q, const void *k, const void *v)
{
    struct attention_attr *at = n->attr;
    const struct attention_dims *d = &at->d;
    void *lse = node_save(n, 0, d->batch * d->heads * d->len_q);
    NODE_NEEDS(n, attention_fwd);
    NODE_GOT(lse);
    if (at->opt.key_keep) { /* the caller's mask may change before backward */
        at->opt.key_keep = node_save_bytes(n, 1, at->opt.key_keep, (size_t)(d->batch * d->len_k));
        NODE_GOT(at->opt.key_keep);
    }
    return n->e->attention_fwd(n->e, d, q, k, v, at->opt.key_keep, n->out->data, lse);
}

/* ---- q, k, v apart ---- */

static int attention_shape(struct node *n, struct tensor *out)
{
    struct attention_attr *at = n->attr;
    struct attention_dims *d = &at->d;
    const struct tensor *q = n->in[0], *k = n->in[1], *v = n->in[2];
    if (q->n_dims != 3 || k->n_dims != 3 || v->n_dims != 3 || k->shape[0] != q->shape[0] ||
        v->shape[0] != q->shape[0] || v->shape[1] != k->shape[1] || k->shape[2] != q->shape[2] ||
        v->shape[2] != q->shape[2])
        return node_fail(n, ERR_FAIL, "q %s, k %s, v %s: expected [B,Lq,D], [B,Lk,D], [B,Lk,D]", shape_text(q),
                         shape_text(k), shape_text(v));
    d->batch = q->shape[0];
    d->len_q = q->shape[1];
    d->len_k = k->shape[1];
    d->ld_q = d->ld_k = d->ld_v = q->shape[2];
    TRY(heads_shape(n, q->shape[2]));
    return shape_like(out, q);
}

static int attention_forward(struct node *n)
{
    return attend(n, n->in[0]->data, n->in[1]->data, n->in[2]->data);
}

static int attention_backward(struct node *n, const void *dy)
{
    const struct attention_attr *at = n->attr;
    NODE_NEEDS(n, attention_bwd);
    return n->e->attention_bwd(n->e, &at->d, n->in[0]->data, n->in[1]->data, n->in[2]->data, at->opt.key_keep,
                               n->out->data, n->saved[0], dy, node_grad(n, 0), node_grad(n, 1), node_grad(n, 2));
}

static const struct op op_attention = {"attention", attention_shape, attention_forward, attention_backward};

struct tensor *t_attention(struct tensor *q, struct tensor *k, struct tensor *v, struct attention_opt opt)
{
    struct tensor *in[] = {q, k, v};
    struct attention_attr at = {.opt = opt};
    return node_run(&op_attention, in, 3, &at, sizeof(at));
}

/* ---- packed ---- */

static int packed_shape(struct node *n, struct tensor *out)
{
    struct attention_attr *at = n->attr;
    struct attention_dims *d = &at->d;
    const struct tensor *x = n->in[0];
    if (x->n_dims != 3 || x->shape[2] % 3)
        return node_fail(n, ERR_FAIL, "packed input %s, expected [B,L,3D]", shape_text(x));
    d->batch = x->shape[0];
    d->len_q = d->len_k = x->shape[1];
    d->ld_q = d->ld_k = d->ld_v = x->shape[2];
    TRY(heads_shape(n, x->shape[2] / 3));
    shape_like(out, x);
    out->shape[2] = x->shape[2] / 3;
    return 0;
}

static int packed_forward(struct node *n)
{
    const void *x = n->in[0]->data;
    int64_t d = n->in[0]->shape[2] / 3;
    return attend(n, x, real_at(n, x, d), real_at(n, x, 2 * d));
}

static int packed_backward(struct node *n, const void *dy)
{
    const struct attention_attr *at = n->attr;
    const void *x = n->in[0]->data;
    void *dx = node_grad(n, 0);
    int64_t d = n->in[0]->shape[2] / 3;
    NODE_NEEDS(n, attention_bwd);
    if (!dx)
        return 0;
    return n->e->attention_bwd(n->e, &at->d, x, real_at(n, x, d), real_at(n, x, 2 * d), at->opt.key_keep, n->out->data,
                               n->saved[0], dy, dx, real_at(n, dx, d), real_at(n, dx, 2 * d));
}

static const struct op op_packed = {"attention_qkv", packed_shape, packed_forward, packed_backward};

struct tensor *t_attention_qkv(struct tensor *qkv, struct attention_opt opt)
{
    struct attention_attr at = {.opt = opt};
    return node_run(&op_packed, &qkv, 1, &at, sizeof(at));
}
