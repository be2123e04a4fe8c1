/* The sphere: geodesic interpolation and squared distances.
 *
 *   slerp  y = (sin(lambda theta) a + sin((1 - lambda) theta) b) / sin(theta),  cos(theta) = a.b       Shoemake 1985
 *
 * a and b are rows of unit length (not normalised again here; lambda = 1 gives a). lambda is a constant: it is drawn,
 * not learned. Antipodal rows have no geodesic; the kernel returns a and the op warns. */
#include <inttypes.h>

#include "tensor/node.h"

static int slerp_shape(struct node *n, struct tensor *out)
{
    const struct tensor *a = n->in[0], *b = n->in[1], *lambda = n->in[2];
    bool same = a->n_dims == b->n_dims && a->n_dims >= 1;
    for (int i = 0; same && i < a->n_dims; i++)
        same = a->shape[i] == b->shape[i];
    if (!same)
        return node_fail(n, ERR_FAIL, "inputs %s and %s: shapes differ", shape_text(a), shape_text(b));
    int64_t rows = a->n / last_axis(a);
    if (lambda->n != 1 && lambda->n != rows)
        return node_fail(n, ERR_FAIL, "inputs %s, lambda %s: expected one value or one a row", shape_text(a),
                         shape_text(lambda));
    if (node_wants(n, 2))
        return node_fail(n, ERR_FAIL, "lambda is a constant and cannot take a gradient");
    return shape_like(out, a);
}

static int slerp_forward(struct node *n)
{
    int64_t d = last_axis(n->in[0]), rows = n->in[0]->n / d, antipodal = 0;
    NODE_NEEDS(n, slerp_fwd);
    n->e->slerp_fwd(n->e, rows, d, n->in[0]->data, n->in[1]->data, n->in[2]->data, n->in[2]->n, n->out->data,
                    &antipodal);
    if (antipodal)
        log_debug("slerp: %" PRId64 " of %" PRId64 " pairs are antipodal; their first vector was used", antipodal,
                  rows);
    return 0;
}

static int slerp_backward(struct node *n, const void *dy)
{
    int64_t d = last_axis(n->in[0]), rows = n->in[0]->n / d;
    NODE_NEEDS(n, slerp_bwd);
    n->e->slerp_bwd(n->e, rows, d, n->in[0]->data, n->in[1]->data, n->in[2]->data, n->in[2]->n, dy, node_grad(n, 0),
                    node_grad(n, 1));
    return 0;
}

static const struct op op_slerp = {"slerp", slerp_shape, slerp_forward, slerp_backward};

struct tensor *t_slerp(struct tensor *a, struct tensor *b, struct tensor *lambda)
{
    struct tensor *in[] = {a, b, lambda};
    return node_run(&op_slerp, in, 3, NULL, 0);
}

/* ---- squared distances of all pairs of rows ---- */

static int distance_shape(struct node *n, struct tensor *out)
{
    const struct tensor *a = n->in[0], *b = n->in[1];
    if (a->n_dims != 2 || b->n_dims != 2 || a->shape[1] != b->shape[1])
        return node_fail(n, ERR_FAIL, "inputs %s and %s: expected [n,D] and [m,D]", shape_text(a), shape_text(b));
    return shape_copy(out, 2, (int64_t[]){a->shape[0], b->shape[0]});
}

static int distance_forward(struct node *n)
{
    const struct tensor *a = n->in[0], *b = n->in[1];
    NODE_NEEDS(n, distance_fwd);
    return n->e->distance_fwd(n->e, a->shape[0], b->shape[0], a->shape[1], a->data, b->data, n->out->data);
}

static int distance_backward(struct node *n, const void *dy)
{
    const struct tensor *a = n->in[0], *b = n->in[1];
    NODE_NEEDS(n, distance_bwd);
    return n->e->distance_bwd(n->e, a->shape[0], b->shape[0], a->shape[1], a->data, b->data, dy, node_grad(n, 0),
                              node_grad(n, 1));
}

static const struct op op_distance = {"pairwise_distance", distance_shape, distance_forward, distance_backward};

struct tensor *t_pairwise_distance(struct tensor *a, struct tensor *b)
{
    struct tensor *in[] = {a, b};
    return node_run(&op_distance, in, 2, NULL, 0);
}
