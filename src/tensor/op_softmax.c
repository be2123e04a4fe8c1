/* Softmax over the last axis and the cross entropies built on it.
 *
 *   cross entropy  mean over rows of  sum_j -t_ij log softmax(x_i)_j,     dx_i = (sum(t_i) softmax(x_i) - t_i) / rows
 *
 * t is one-hot, smoothed as in Szegedy et al. 2016, section 7, or given. Rows with a negative label do not count. The
 * log-sum-exp of each row is all that is kept; the probabilities are recomputed. Rejected: softmax followed by log,
 * which loses small probabilities, and cross entropy through log_softmax, which keeps a second [n,c] array. */
#include <inttypes.h>

#include "tensor/node.h"

static int softmax_shape(struct node *n, struct tensor *out)
{
    return shape_like(out, n->in[0]);
}

static int softmax_forward(struct node *n)
{
    int64_t d = last_axis(n->in[0]);
    NODE_NEEDS(n, softmax_fwd);
    n->e->softmax_fwd(n->e, n->out->n / d, d, *(bool *)n->attr, n->in[0]->data, n->out->data);
    return 0;
}

static int softmax_backward(struct node *n, const void *dy)
{
    int64_t d = last_axis(n->in[0]);
    NODE_NEEDS(n, softmax_bwd);
    n->e->softmax_bwd(n->e, n->out->n / d, d, *(bool *)n->attr, n->out->data, dy, node_grad(n, 0));
    return 0;
}

static const struct op op_softmax = {"softmax", softmax_shape, softmax_forward, softmax_backward};
static const struct op op_log_softmax = {"log_softmax", softmax_shape, softmax_forward, softmax_backward};

struct tensor *t_softmax(struct tensor *x)
{
    bool logarithm = false;
    return node_run(&op_softmax, &x, 1, &logarithm, sizeof(logarithm));
}

struct tensor *t_log_softmax(struct tensor *x)
{
    bool logarithm = true;
    return node_run(&op_log_softmax, &x, 1, &logarithm, sizeof(logarithm));
}

/* ---- cross entropy: saved[0] lse [n], saved[1] labels [n]; soft: input 1 is the target ---- */

struct entropy_attr {
    const int32_t *labels; /* NULL: soft */
    double smoothing;
    int64_t counted; /* rows that enter the mean */
};

static int entropy_shape(struct node *n, struct tensor *out)
{
    struct entropy_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t c = last_axis(x), rows = x->n / c;
    out->n_dims = 0;
    at->counted = rows;
    if (x->n_dims < 1)
        return node_fail(n, ERR_FAIL, "logits %s, expected [n,c]", shape_text(x));
    if (!at->labels) {
        bool same = n->in[1]->n == x->n && last_axis(n->in[1]) == c;
        return same
                   ? 0
                   : node_fail(n, ERR_FAIL, "logits %s, target %s: shapes differ", shape_text(x), shape_text(n->in[1]));
    }
    if (!(at->smoothing >= 0 && at->smoothing < 1))
        return node_fail(n, ERR_FAIL, "label smoothing %g, expected 0 <= s < 1", at->smoothing);
    for (int64_t i = 0; i < rows; i++) {
        if (at->labels[i] >= c)
            return node_fail(n, ERR_DATA, "label %d of row %" PRId64 ", expected less than %" PRId64 " (logits %s)",
                             (int)at->labels[i], i, c, shape_text(x));
        at->counted -= at->labels[i] < 0;
    }
    return 0;
}

static int entropy_forward(struct node *n)
{
    struct entropy_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t c = last_axis(x), rows = x->n / c;
    void *lse = node_save(n, 0, rows), *loss = node_scratch(n, rows);
    NODE_NEEDS(n, cross_entropy_fwd);
    NODE_GOT(lse);
    NODE_GOT(loss);
    if (at->labels) { /* the caller's labels may change before backward */
        at->labels = node_save_bytes(n, 1, at->labels, (size_t)rows * sizeof(int32_t));
        NODE_GOT(at->labels);
    }
    n->e->cross_entropy_fwd(n->e, rows, c, x->data, at->labels, at->labels ? NULL : n->in[1]->data, at->smoothing, loss,
                            lse);
    n->e->reduce_fwd(n->e, RED_SUM, 1, rows, 1, loss, n->out->data);
    n->e->scale_add(n->e, at->counted ? 1.0 / (double)at->counted : 0, n->out->data, 0, n->out->data, 1);
    return 0;
}

static int entropy_backward(struct node *n, const void *dy)
{
    const struct entropy_attr *at = n->attr;
    const struct tensor *x = n->in[0];
    int64_t c = last_axis(x), rows = x->n / c;
    void *dloss = node_scratch(n, rows);
    NODE_NEEDS(n, cross_entropy_bwd);
    NODE_GOT(dloss);
    n->e->fill(n->e, dloss, 0, rows);
    n->e->reduce_bwd(n->e, RED_SUM, 1, rows, 1, NULL, NULL, dy, dloss);
    n->e->scale_add(n->e, at->counted ? 1.0 / (double)at->counted : 0, dloss, 0, dloss, rows);
    n->e->cross_entropy_bwd(n->e, rows, c, x->data, at->labels, at->labels ? NULL : n->in[1]->data, at->smoothing,
                            n->saved[0], dloss, node_grad(n, 0), node_grad(n, 1));
    return 0;
}

static const struct op op_entropy = {"cross_entropy", entropy_shape, entropy_forward, entropy_backward};

struct tensor *t_cross_entropy(struct tensor *logits, const int32_t *labels, double smoothing)
{
    struct entropy_attr at = {.labels = labels, .smoothing = smoothing};
    if (!labels && logits && logits->tape)
        return tape_poison(logits->tape, err_set(ERR_FAIL, "cross_entropy: there are no labels"));
    return node_run(&op_entropy, &logits, 1, &at, sizeof(at));
}

struct tensor *t_cross_entropy_soft(struct tensor *logits, struct tensor *target)
{
    struct tensor *in[] = {logits, target};
    struct entropy_attr at = {.labels = NULL};
    return node_run(&op_entropy, in, 2, &at, sizeof(at));
}
