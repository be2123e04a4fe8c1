/* Rows by index: embedding tables, gathering, one row a batch element, the diagonal. One node, four names.
 *
 * y_i = x_{id_i}; dx_{id_i} += dy_i. Indices are checked here, once, so that kernels need not; they are copied into the
 * step arena when a backward will need them. Rejected: one-hot matrix products. */
#include <inttypes.h>

#include "tensor/node.h"

struct embed_attr {
    const int32_t *ids;
    const int32_t *batch_rows; /* pick: the caller's index within each batch element */
    int64_t n, d, rows;
    int n_dims;
    int64_t shape[T_MAX_DIMS]; /* of the ids */
};

static int embed_shape(struct node *n, struct tensor *out)
{
    struct embed_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    if (x->n_dims != 2)
        return node_fail(n, ERR_FAIL, "table %s, expected [rows,D]", shape_text(x));
    if (at->n_dims < 0 || at->n_dims >= T_MAX_DIMS)
        return node_fail(n, ERR_FAIL, "ids of %d dimensions, at most %d are possible", at->n_dims, T_MAX_DIMS - 1);
    at->rows = x->shape[0];
    at->d = x->shape[1];
    at->n = 1;
    for (int i = 0; i < at->n_dims; i++)
        at->n *= at->shape[i];
    shape_copy(out, at->n_dims, at->shape);
    out->shape[out->n_dims++] = at->d;
    for (int64_t i = 0; i < at->n; i++)
        if (at->ids[i] < 0 || at->ids[i] >= at->rows)
            return node_fail(n, ERR_DATA, "id %d at %" PRId64 ", expected 0 to %" PRId64 " (table %s)", (int)at->ids[i],
                             i, at->rows - 1, shape_text(x));
    return 0;
}

static int pick_shape(struct node *n, struct tensor *out)
{
    struct embed_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    if (x->n_dims != 3)
        return node_fail(n, ERR_FAIL, "input %s, expected [B,N,D]", shape_text(x));
    at->n = x->shape[0];
    at->d = x->shape[2];
    at->rows = x->shape[0] * x->shape[1];
    for (int64_t i = 0; i < at->n; i++)
        if (at->batch_rows[i] < 0 || at->batch_rows[i] >= x->shape[1])
            return node_fail(n, ERR_DATA, "index %d at %" PRId64 ", expected 0 to %" PRId64 " (input %s)",
                             (int)at->batch_rows[i], i, x->shape[1] - 1, shape_text(x));
    if (at->rows > INT32_MAX)
        return node_fail(n, ERR_FAIL, "input %s has too many rows", shape_text(x));
    return shape_copy(out, 2, (int64_t[]){at->n, at->d});
}

/* saved[0]: the ids */
static int embed_forward(struct node *n)
{
    struct embed_attr *at = n->attr;
    NODE_NEEDS(n, embed_fwd);
    int32_t *ids = node_save_bytes(n, 0, at->batch_rows ? NULL : at->ids, (size_t)at->n * sizeof(*ids));
    NODE_GOT(ids);
    for (int64_t i = 0; at->batch_rows && i < at->n; i++)
        ids[i] = (int32_t)(i * n->in[0]->shape[1] + at->batch_rows[i]);
    at->ids = ids;
    n->e->embed_fwd(n->e, at->n, at->d, at->rows, n->in[0]->data, ids, n->out->data);
    return 0;
}

static int embed_backward(struct node *n, const void *dy)
{
    const struct embed_attr *at = n->attr;
    void *dtable = node_grad(n, 0);
    NODE_NEEDS(n, embed_bwd);
    if (dtable)
        n->e->embed_bwd(n->e, at->n, at->d, at->rows, at->ids, dy, dtable);
    return 0;
}

static const struct op op_embed = {"embed", embed_shape, embed_forward, embed_backward};
static const struct op op_gather = {"gather", embed_shape, embed_forward, embed_backward};
static const struct op op_pick = {"pick", pick_shape, embed_forward, embed_backward};

struct tensor *t_embed(struct tape *t, struct tensor *table, const int32_t *ids, int n_dims, const int64_t *shape)
{
    struct embed_attr at = {.ids = ids, .n_dims = n_dims};
    if (!table && !t->error)
        return tape_poison(t, err_set(ERR_FAIL, "embed: the table is missing"));
    for (int i = 0; i < n_dims && i < T_MAX_DIMS; i++)
        at.shape[i] = shape[i];
    struct tensor *x = table && table->tape ? table : t_use(t, table);
    return x ? node_run(&op_embed, &x, 1, &at, sizeof(at)) : NULL;
}

struct tensor *t_gather(struct tensor *x, const int32_t *rows, int64_t n)
{
    struct embed_attr at = {.ids = rows, .n_dims = 1, .shape = {n}};
    return node_run(&op_gather, &x, 1, &at, sizeof(at));
}

struct tensor *t_pick(struct tensor *x, const int32_t *index)
{
    struct embed_attr at = {.batch_rows = index};
    return node_run(&op_pick, &x, 1, &at, sizeof(at));
}

/* The diagonal is every (N+1)-th row of [N N, 1]. */
struct tensor *t_diag(struct tensor *x)
{
    if (!x || !x->tape)
        return t_gather(x, NULL, 0); /* says what is wrong */
    struct tape *t = x->tape;
    if (x->n_dims != 2 || x->shape[0] != x->shape[1])
        return tape_poison(t, err_set(ERR_FAIL, "diag: input %s, expected [N,N]", shape_text(x)));
    int64_t n = x->shape[0];
    if (x->n > INT32_MAX)
        return tape_poison(t, err_set(ERR_FAIL, "diag: input %s is too large", shape_text(x)));
    struct arena_mark mark = arena_mark(t->scratch);
    int32_t *ids = arena_alloc(t->scratch, (size_t)n * sizeof(*ids));
    if (!ids)
        return tape_poison(t, ERR_MEMORY);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(i * (n + 1));
    struct tensor *y = t_gather(t_reshape(x, SHAPE(n * n, 1)), ids, n);
    arena_rewind(t->scratch, mark);
    return t_reshape(y, SHAPE(n));
}
