/* Pointwise ops: activations, broadcasting binary operators, affine, clamp, dropout, reparameterised samples.
 *
 * Broadcasting follows NumPy: axes are aligned at the end, length 1 stretches. It is handed to the kernel as strides, 0
 * where an operand repeats, with axes merged wherever both operands allow it, so that the usual [B,N,D] + [N,D] is two
 * loops. Dropout is inverted (Srivastava et al. 2014, section 10). sample_normal is the reparameterisation of Kingma
 * and Welling 2014, section 2.4. Rejected: masks drawn inside the kernel, since a stream must not depend on the engine.
 */
#include <string.h>

#include "tensor/node.h"

static int same_shape(struct node *n, struct tensor *out)
{
    return shape_like(out, n->in[0]);
}

/* ---- activations ---- */

static int act_forward(struct node *n)
{
    NODE_NEEDS(n, act_fwd);
    n->e->act_fwd(n->e, *(enum act *)n->attr, n->in[0]->data, n->out->data, n->out->n);
    return 0;
}

static int act_backward(struct node *n, const void *dy)
{
    NODE_NEEDS(n, act_bwd);
    n->e->act_bwd(n->e, *(enum act *)n->attr, n->in[0]->data, n->out->data, dy, node_grad(n, 0), n->out->n);
    return 0;
}

static const struct op op_act = {"act", same_shape, act_forward, act_backward};

struct tensor *t_act(struct tensor *x, enum act act)
{
    if (act == ACT_NONE)
        return x;
    return node_run(&op_act, &x, 1, &act, sizeof(act));
}

/* ---- binary ---- */

struct binary_attr {
    enum binary op;
    struct bcast_dims d;
};

/* Length and stride of axis i of the output, counted from the end of x; stride 0 where x repeats. */
static int64_t axis_length(const struct tensor *x, int back)
{
    return back < x->n_dims ? x->shape[x->n_dims - 1 - back] : 1;
}

static void merge_axes(struct bcast_dims *d)
{
    int m = 0; /* axes kept so far */
    for (int i = 0; i < d->n_dims; i++) {
        if (d->shape[i] == 1)
            continue;
        int64_t s = d->shape[i], a = d->stride_a[i], b = d->stride_b[i];
        if (m > 0 && d->stride_a[m - 1] == a * s && d->stride_b[m - 1] == b * s) {
            d->shape[m - 1] *= s;
            m--;
        } else {
            d->shape[m] = s;
        }
        d->stride_a[m] = a;
        d->stride_b[m] = b;
        m++;
    }
    if (m == 0) {
        d->shape[0] = 1;
        d->stride_a[0] = d->stride_b[0] = 1;
        m = 1;
    }
    d->n_dims = m;
}

static int binary_shape(struct node *n, struct tensor *out)
{
    struct binary_attr *at = n->attr;
    struct bcast_dims *d = &at->d;
    const struct tensor *a = n->in[0], *b = n->in[1];
    int64_t step_a = 1, step_b = 1;
    out->n_dims = a->n_dims > b->n_dims ? a->n_dims : b->n_dims;
    d->n_dims = out->n_dims;
    for (int back = 0; back < out->n_dims; back++) {
        int i = out->n_dims - 1 - back;
        int64_t la = axis_length(a, back), lb = axis_length(b, back);
        if (la != lb && la != 1 && lb != 1)
            return node_fail(n, ERR_FAIL, "%s of %s and %s: shapes cannot be broadcast", binary_name(at->op),
                             shape_text(a), shape_text(b));
        out->shape[i] = d->shape[i] = la > lb ? la : lb;
        d->stride_a[i] = la == 1 ? 0 : step_a;
        d->stride_b[i] = lb == 1 ? 0 : step_b;
        step_a *= la;
        step_b *= lb;
    }
    merge_axes(d);
    return 0;
}

static int binary_forward(struct node *n)
{
    const struct binary_attr *at = n->attr;
    NODE_NEEDS(n, binary_fwd);
    n->e->binary_fwd(n->e, at->op, &at->d, n->in[0]->data, n->in[1]->data, n->out->data);
    return 0;
}

static int binary_backward(struct node *n, const void *dy)
{
    const struct binary_attr *at = n->attr;
    NODE_NEEDS(n, binary_bwd);
    n->e->binary_bwd(n->e, at->op, &at->d, n->in[0]->data, n->in[1]->data, n->out->data, dy, node_grad(n, 0),
                     node_grad(n, 1));
    return 0;
}

static const struct op op_binary = {"binary", binary_shape, binary_forward, binary_backward};

struct tensor *t_binary(struct tensor *a, struct tensor *b, enum binary op)
{
    struct tensor *in[] = {a, b};
    struct binary_attr at = {.op = op};
    return node_run(&op_binary, in, 2, &at, sizeof(at));
}

/* ---- affine, clamp ---- */

static int scale_forward(struct node *n)
{
    const double *at = n->attr;
    NODE_NEEDS(n, scale_add);
    n->e->scale_add(n->e, at[0], n->in[0]->data, at[1], n->out->data, n->out->n);
    return 0;
}

static int scale_backward(struct node *n, const void *dy)
{
    const double *at = n->attr;
    NODE_NEEDS(n, axpy);
    void *dx = node_grad(n, 0);
    if (dx)
        n->e->axpy(n->e, at[0], dy, dx, n->out->n);
    return 0;
}

static const struct op op_scale = {"scale", same_shape, scale_forward, scale_backward};

struct tensor *t_scale(struct tensor *x, double alpha, double shift)
{
    double at[2] = {alpha, shift};
    return node_run(&op_scale, &x, 1, at, sizeof(at));
}

static int clamp_shape(struct node *n, struct tensor *out)
{
    const double *at = n->attr;
    if (!(at[0] <= at[1]))
        return node_fail(n, ERR_FAIL, "the lower bound %g is above the upper bound %g", at[0], at[1]);
    return shape_like(out, n->in[0]);
}

static int clamp_forward(struct node *n)
{
    const double *at = n->attr;
    NODE_NEEDS(n, clamp_fwd);
    n->e->clamp_fwd(n->e, at[0], at[1], n->in[0]->data, n->out->data, n->out->n);
    return 0;
}

static int clamp_backward(struct node *n, const void *dy)
{
    const double *at = n->attr;
    NODE_NEEDS(n, clamp_bwd);
    void *dx = node_grad(n, 0);
    if (dx)
        n->e->clamp_bwd(n->e, at[0], at[1], n->in[0]->data, dy, dx, n->out->n);
    return 0;
}

static const struct op op_clamp = {"clamp", clamp_shape, clamp_forward, clamp_backward};

struct tensor *t_clamp(struct tensor *x, double lo, double hi)
{
    double at[2] = {lo, hi};
    return node_run(&op_clamp, &x, 1, at, sizeof(at));
}

/* ---- dropout: saved[0] keep [n] (u8) ---- */

struct dropout_attr {
    double p;
    struct rng *r;
};

static int dropout_shape(struct node *n, struct tensor *out)
{
    const struct dropout_attr *at = n->attr;
    if (!(at->p >= 0 && at->p < 1))
        return node_fail(n, ERR_FAIL, "probability %g, expected 0 <= p < 1", at->p);
    return shape_like(out, n->in[0]);
}

static int dropout_forward(struct node *n)
{
    const struct dropout_attr *at = n->attr;
    uint8_t *keep = node_save_bytes(n, 0, NULL, (size_t)n->out->n);
    NODE_NEEDS(n, mask_mul);
    NODE_GOT(keep);
    for (int64_t i = 0; i < n->out->n; i++)
        keep[i] = rng_uniform(at->r) >= at->p;
    n->e->mask_mul(n->e, keep, 1 / (1 - at->p), n->in[0]->data, n->out->data, n->out->n, false);
    return 0;
}

static int dropout_backward(struct node *n, const void *dy)
{
    const struct dropout_attr *at = n->attr;
    void *dx = node_grad(n, 0);
    if (dx)
        n->e->mask_mul(n->e, n->saved[0], 1 / (1 - at->p), dy, dx, n->out->n, true);
    return 0;
}

static const struct op op_dropout = {"dropout", dropout_shape, dropout_forward, dropout_backward};

struct tensor *t_dropout(struct tensor *x, double p, struct rng *r)
{
    if (p == 0)
        return x;
    struct dropout_attr at = {p, r};
    return node_run(&op_dropout, &x, 1, &at, sizeof(at));
}

/* ---- noise, detach ---- */

struct tensor *t_normal_noise(struct tape *t, int n_dims, const int64_t *shape, struct rng *r)
{
    struct tensor *x = t_new(t, n_dims, shape);
    if (!x)
        return NULL;
    for (int64_t i = 0; i < x->n; i++) {
        double z = rng_normal(r);
        if (t->e->real == DT_F64)
            ((double *)x->data)[i] = z;
        else
            ((float *)x->data)[i] = (float)z;
    }
    return x;
}

struct tensor *t_sample_normal(struct tensor *mean, struct tensor *scale, struct rng *r)
{
    struct tape *t = tape_of(mean, scale);
    if (!mean || !scale || !t)
        return t_add(mean, scale); /* says what is wrong */
    const struct tensor *big = mean->n >= scale->n ? mean : scale;
    return t_add(mean, t_mul(scale, t_normal_noise(t, big->n_dims, big->shape, r)));
}

struct tensor *t_detach(struct tensor *x)
{
    if (!x)
        return NULL;
    if (!x->tape) {
        err_set(ERR_FAIL, "detach: the input is not on a tape (see t_use)");
        return NULL;
    }
    return t_input(x->tape, x->n_dims, x->shape, x->data);
}
