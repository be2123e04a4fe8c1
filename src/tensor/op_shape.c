/* Shape ops. Reshape and slices of the leading axis are views: they share data and gradient with their base and leave
 * no node. Everything else copies, and its backward copies back, adding. Concatenation, slices and single rows are one
 * kernel, rows of [outer, n, inner]. Rejected: strided tensors, which every kernel would have to understand. */
#include <inttypes.h>

#include "tensor/node.h"

/* [outer, n, inner] around an axis */
struct around {
    int64_t outer, n, inner;
};

static struct around around_axis(const struct tensor *x, int axis)
{
    struct around r = {1, x->shape[axis], 1};
    for (int i = 0; i < axis; i++)
        r.outer *= x->shape[i];
    for (int i = axis + 1; i < x->n_dims; i++)
        r.inner *= x->shape[i];
    return r;
}

/* Poison without a node: for ops that are views */
static struct tensor *view_fail(struct tensor *x, const char *text)
{
    int rc = err_set(ERR_FAIL, "%s", text);
    return x->tape ? tape_poison(x->tape, rc) : NULL;
}

struct tensor *t_reshape(struct tensor *x, int n_dims, const int64_t *shape)
{
    if (!x)
        return NULL;
    if (!x->tape)
        return view_fail(x, "reshape: the input is not on a tape (see t_use)");
    if (n_dims < 0 || n_dims > T_MAX_DIMS)
        return view_fail(x, "reshape: too many dimensions");
    struct tensor want = {0};
    shape_copy(&want, n_dims, shape);
    int64_t n = 1;
    int open = -1; /* the axis given as -1 takes what is left */
    for (int i = 0; i < n_dims; i++)
        if (shape[i] == -1 && open < 0)
            open = i;
        else
            n *= shape[i];
    if (open >= 0)
        want.shape[open] = n > 0 && x->n % n == 0 ? x->n / n : 0;
    if (open >= 0 ? want.shape[open] == 0 : n != x->n) {
        char text[320];
        shape_copy(&want, n_dims, shape);
        snprintf(text, sizeof(text), "reshape: %s to %s: numbers of elements differ", shape_text(x), shape_text(&want));
        return view_fail(x, text);
    }
    return tensor_view(x, n_dims, want.shape, 0);
}

/* ---- permute ---- */

struct permute_attr {
    int perm[T_MAX_DIMS];
};

static int permute_shape(struct node *n, struct tensor *out)
{
    const struct permute_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    unsigned seen = 0;
    for (int i = 0; i < x->n_dims; i++) {
        if (at->perm[i] < 0 || at->perm[i] >= x->n_dims || (seen & (1u << at->perm[i])))
            return node_fail(n, ERR_FAIL, "the axes named for %s are no permutation", shape_text(x));
        seen |= 1u << at->perm[i];
        out->shape[i] = x->shape[at->perm[i]];
    }
    out->n_dims = x->n_dims;
    return 0;
}

static int permute_forward(struct node *n)
{
    const struct permute_attr *at = n->attr;
    NODE_NEEDS(n, permute);
    n->e->permute(n->e, n->in[0]->n_dims, n->in[0]->shape, at->perm, n->in[0]->data, n->out->data, false);
    return 0;
}

static int permute_backward(struct node *n, const void *dy)
{
    const struct permute_attr *at = n->attr;
    int inverse[T_MAX_DIMS] = {0};
    void *dx = node_grad(n, 0);
    for (int i = 0; i < n->out->n_dims; i++)
        inverse[at->perm[i]] = i;
    if (dx)
        n->e->permute(n->e, n->out->n_dims, n->out->shape, inverse, dy, dx, true);
    return 0;
}

static const struct op op_permute = {"permute", permute_shape, permute_forward, permute_backward};

struct tensor *t_permute(struct tensor *x, const int *perm)
{
    struct permute_attr at = {{0}};
    for (int i = 0; x && i < x->n_dims; i++)
        at.perm[i] = perm[i];
    return node_run(&op_permute, &x, 1, &at, sizeof(at));
}

struct tensor *t_transpose(struct tensor *x)
{
    int perm[T_MAX_DIMS];
    if (!x)
        return NULL;
    if (x->n_dims < 2)
        return view_fail(x, "transpose: expected at least two axes");
    for (int i = 0; i < x->n_dims; i++)
        perm[i] = i;
    perm[x->n_dims - 2] = x->n_dims - 1;
    perm[x->n_dims - 1] = x->n_dims - 2;
    return t_permute(x, perm);
}

/* ---- concat ---- */

static int concat_shape(struct node *n, struct tensor *out)
{
    int *axis = n->attr;
    const struct tensor *x = n->in[0];
    int a = axis_of(x, *axis);
    if (a < 0)
        return node_fail(n, ERR_FAIL, "input %s has no axis %d", shape_text(x), *axis);
    shape_like(out, x);
    for (int k = 1; k < n->n_in; k++) {
        const struct tensor *y = n->in[k];
        bool same = y->n_dims == x->n_dims;
        for (int i = 0; same && i < x->n_dims; i++)
            same = i == a || y->shape[i] == x->shape[i];
        if (!same)
            return node_fail(n, ERR_FAIL, "inputs %s and %s differ outside axis %d", shape_text(x), shape_text(y), a);
        out->shape[a] += y->shape[a];
    }
    *axis = a;
    return 0;
}

static int concat_forward(struct node *n)
{
    int axis = *(int *)n->attr;
    struct around to = around_axis(n->out, axis);
    NODE_NEEDS(n, copy_rows);
    for (int64_t k = 0, at = 0; k < n->n_in; at += n->in[k]->shape[axis], k++) {
        int64_t rows = n->in[k]->shape[axis];
        n->e->copy_rows(n->e, to.outer, rows, 0, to.n, at, rows, to.inner, n->in[k]->data, n->out->data, false);
    }
    return 0;
}

static int concat_backward(struct node *n, const void *dy)
{
    int axis = *(int *)n->attr;
    struct around to = around_axis(n->out, axis);
    for (int64_t k = 0, at = 0; k < n->n_in; at += n->in[k]->shape[axis], k++) {
        int64_t rows = n->in[k]->shape[axis];
        void *dx = node_grad(n, (int)k);
        if (dx)
            n->e->copy_rows(n->e, to.outer, to.n, at, rows, 0, rows, to.inner, dy, dx, true);
    }
    return 0;
}

static const struct op op_concat = {"concat", concat_shape, concat_forward, concat_backward};

struct tensor *t_concat(struct tensor *const *xs, int n, int axis)
{
    if (n < 1) {
        err_set(ERR_FAIL, "concat: there are no inputs");
        return NULL;
    }
    return node_run(&op_concat, xs, n, &axis, sizeof(axis));
}

/* ---- slice, row ---- */

struct slice_attr {
    int axis;
    int64_t from, n;
    bool drop; /* remove the axis, of length 1 then */
};

static int slice_shape(struct node *n, struct tensor *out)
{
    struct slice_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int a = axis_of(x, at->axis);
    if (a < 0)
        return node_fail(n, ERR_FAIL, "input %s has no axis %d", shape_text(x), at->axis);
    if (at->from < 0 || at->n < 1 || at->from > x->shape[a] - at->n)
        return node_fail(n, ERR_FAIL, "%" PRId64 " from %" PRId64 " of axis %d of %s is out of range", at->n, at->from,
                         a, shape_text(x));
    at->axis = a;
    shape_like(out, x);
    out->shape[a] = at->n;
    if (at->drop) {
        for (int i = a; i + 1 < x->n_dims; i++)
            out->shape[i] = x->shape[i + 1];
        out->n_dims--;
    }
    return 0;
}

static int slice_forward(struct node *n)
{
    const struct slice_attr *at = n->attr;
    struct around from = around_axis(n->in[0], at->axis);
    NODE_NEEDS(n, copy_rows);
    n->e->copy_rows(n->e, from.outer, from.n, at->from, at->n, 0, at->n, from.inner, n->in[0]->data, n->out->data,
                    false);
    return 0;
}

static int slice_backward(struct node *n, const void *dy)
{
    const struct slice_attr *at = n->attr;
    struct around from = around_axis(n->in[0], at->axis);
    void *dx = node_grad(n, 0);
    if (dx)
        n->e->copy_rows(n->e, from.outer, at->n, 0, from.n, at->from, at->n, from.inner, dy, dx, true);
    return 0;
}

static const struct op op_slice = {"slice", slice_shape, slice_forward, slice_backward};
static const struct op op_row = {"row", slice_shape, slice_forward, slice_backward};

struct tensor *t_slice(struct tensor *x, int axis, int64_t from, int64_t n)
{
    struct slice_attr at = {axis, from, n, false};
    int a = x ? axis_of(x, axis) : -1;
    bool view = x && x->tape && a >= 0 && from >= 0 && n >= 1 && from <= x->shape[a] - n;
    for (int i = 0; view && i < a; i++)
        view = x->shape[i] == 1;
    if (!view)
        return node_run(&op_slice, &x, 1, &at, sizeof(at));
    struct tensor shape = {0};
    shape_like(&shape, x);
    shape.shape[a] = n;
    return tensor_view(x, x->n_dims, shape.shape, from * around_axis(x, a).inner);
}

struct tensor *t_row(struct tensor *x, int64_t i)
{
    if (x && x->n_dims != 3)
        return view_fail(x, "row: expected [B,N,D]");
    struct slice_attr at = {1, x && i < 0 ? i + x->shape[1] : i, 1, true};
    return node_run(&op_row, &x, 1, &at, sizeof(at));
}

/* ---- prepend: one token before the rows of every batch element ---- */

static int prepend_shape(struct node *n, struct tensor *out)
{
    const struct tensor *token = n->in[0], *x = n->in[1];
    if (x->n_dims != 3 || token->n != last_axis(x))
        return node_fail(n, ERR_FAIL, "token %s, input %s: expected [D] and [B,N,D]", shape_text(token), shape_text(x));
    shape_like(out, x);
    out->shape[1]++;
    return 0;
}

static int prepend_forward(struct node *n)
{
    const struct tensor *x = n->in[1];
    int64_t b = x->shape[0], rows = x->shape[1], d = x->shape[2];
    NODE_NEEDS(n, copy_rows);
    n->e->copy_rows(n->e, b, rows, 0, rows + 1, 1, rows, d, x->data, n->out->data, false);
    for (int64_t i = 0; i < b; i++)
        n->e->copy_rows(n->e, 1, 1, 0, b * (rows + 1), i * (rows + 1), 1, d, n->in[0]->data, n->out->data, false);
    return 0;
}

static int prepend_backward(struct node *n, const void *dy)
{
    const struct tensor *x = n->in[1];
    int64_t b = x->shape[0], rows = x->shape[1], d = x->shape[2];
    void *dtoken = node_grad(n, 0), *dx = node_grad(n, 1);
    if (dx)
        n->e->copy_rows(n->e, b, rows + 1, 1, rows, 0, rows, d, dy, dx, true);
    for (int64_t i = 0; dtoken && i < b; i++)
        n->e->copy_rows(n->e, 1, b * (rows + 1), i * (rows + 1), 1, 0, 1, d, dy, dtoken, true);
    return 0;
}

static const struct op op_prepend = {"prepend", prepend_shape, prepend_forward, prepend_backward};

struct tensor *t_prepend(struct tensor *token, struct tensor *x)
{
    struct tensor *in[] = {token, x};
    return node_run(&op_prepend, in, 2, NULL, 0);
}

/* ---- patchify: [B,C,H,W] -> [B,(H/p)(W/p),C p p], columns in the order of a convolution's weight. Rows and columns
 * that do not fill a patch are left out, as by a convolution of that stride (SigLIP: 384 is 27 patches of 14 and 6)
 * ---- */

static int patchify_shape(struct node *n, struct tensor *out)
{
    const struct tensor *x = n->in[0];
    int64_t p = *(int64_t *)n->attr;
    if (x->n_dims != 4)
        return node_fail(n, ERR_FAIL, "input %s, expected [B,C,H,W]", shape_text(x));
    if (p < 1 || x->shape[2] < p || x->shape[3] < p)
        return node_fail(n, ERR_FAIL, "input %s cannot be cut into patches of %" PRId64, shape_text(x), p);
    return shape_copy(out, 3, (int64_t[]){x->shape[0], (x->shape[2] / p) * (x->shape[3] / p), x->shape[1] * p * p});
}

static int patchify_forward(struct node *n)
{
    const struct tensor *x = n->in[0];
    NODE_NEEDS(n, patchify_fwd);
    n->e->patchify_fwd(n->e, x->shape[0], x->shape[1], x->shape[2], x->shape[3], *(int64_t *)n->attr, x->data,
                       n->out->data);
    return 0;
}

static int patchify_backward(struct node *n, const void *dy)
{
    const struct tensor *x = n->in[0];
    void *dx = node_grad(n, 0);
    NODE_NEEDS(n, patchify_bwd);
    if (dx)
        n->e->patchify_bwd(n->e, x->shape[0], x->shape[1], x->shape[2], x->shape[3], *(int64_t *)n->attr, dy, dx);
    return 0;
}

static const struct op op_patchify = {"patchify", patchify_shape, patchify_forward, patchify_backward};

struct tensor *t_patchify(struct tensor *x, int64_t patch)
{
    return node_run(&op_patchify, &x, 1, &patch, sizeof(patch));
}
