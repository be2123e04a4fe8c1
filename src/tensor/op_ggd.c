/* Negative log-likelihood of generalised Gaussians as one op.
 *
 *   y = (r a)^b - ln a - ln b + lgamma(1/b),  r = |m - z|        Upadhyay et al. 2023, equation 3, a = 1/alpha
 *
 * One op and not a dozen: the guards at r = 0 and for large powers (kernel/ref/ref_ggd_tmpl.c) lie between the
 * logarithm and the power, where ops put together cannot reach them, and a step of an adapter is half pointwise work.
 * z is data: it takes no gradient. */
#include "tensor/node.h"

static int ggd_shape(struct node *n, struct tensor *out)
{
    const struct tensor *m = n->in[0];
    for (int k = 1; k < 4; k++) {
        const struct tensor *x = n->in[k];
        bool same = m->n_dims == x->n_dims;
        for (int i = 0; same && i < m->n_dims; i++)
            same = m->shape[i] == x->shape[i];
        if (!same)
            return node_fail(n, ERR_FAIL, "mean %s, target %s, scale %s, shape %s: expected one shape", shape_text(m),
                             shape_text(n->in[1]), shape_text(n->in[2]), shape_text(n->in[3]));
    }
    if (node_wants(n, 1))
        return node_fail(n, ERR_FAIL, "the target is data and cannot take a gradient");
    return shape_like(out, m);
}

static int ggd_forward(struct node *n)
{
    NODE_NEEDS(n, ggd_fwd);
    n->e->ggd_fwd(n->e, n->attr, n->out->n, n->in[0]->data, n->in[1]->data, n->in[2]->data, n->in[3]->data,
                  n->out->data);
    return 0;
}

static int ggd_backward(struct node *n, const void *dy)
{
    NODE_NEEDS(n, ggd_bwd);
    n->e->ggd_bwd(n->e, n->attr, n->out->n, n->in[0]->data, n->in[1]->data, n->in[2]->data, n->in[3]->data, dy,
                  node_grad(n, 0), node_grad(n, 2), node_grad(n, 3));
    return 0;
}

static const struct op op_ggd = {"ggd_nll", ggd_shape, ggd_forward, ggd_backward};

struct tensor *t_ggd_nll(struct tensor *m, struct tensor *z, struct tensor *a, struct tensor *b, struct ggd_form form)
{
    struct tensor *in[] = {m, z, a, b};
    return node_run(&op_ggd, in, 4, &form, sizeof(form));
}
