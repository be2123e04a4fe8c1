/* loss/probvlm_loss.c: ProbVLM's objective (Upadhyay et al. 2023, equations 3 to 8) over a batch of pairs.
 *
 *   L = intra (L_rec(image) + L_rec(text)) + lambda L_cross, each a mean over the batch and the dimensions,
 *   L_rec = NLL(z; m, alpha, beta) of a side's own vector.
 * L_cross by name:
 *   sum         NLL(z_T; V) + NLL(z_V; T), equation 7 (twice an upper bound of the negative log of equation 6)
 *   logsumexp   -2 log 1/2 (p_V(z_T) + p_T(z_V)), densities of whole vectors: equation 6 itself
 *   quadrature  -2 log of the product over dimensions of int p_V p_T dz: what equations 4 and 5 ask for. The integral
 * is cut at both means, where a shape below 2 has a cusp; the tails by z = q + L exp(u - e^-u), the middle by tanh(pi/2
 * sinh u) (Takahasi and Mori 1974), 21 nodes each. Nodes are constants: only the integrand has a gradient, which is the
 * gradient of the integral. The factors 2 make one lambda mean the same for all three. With `released` every term is T1
 * |m - z| + T2 l, l the linear form of the published code, whose best shape is 0.684 whatever the data are
 * (docs/methods/probvlm.md). */
#include "loss/loss.h"

#include <math.h>

struct ggd_form ggd_exact_form(double eps)
{
    return (struct ggd_form){.eps = eps, .cap = 20};
}

struct ggd_form ggd_released_form(void)
{
    return (struct ggd_form){.linear = true, .shift = 1e-4, .lo = 1e-4, .hi = 1e3};
}

static struct tensor *nll(const struct ggd_side *g, struct tensor *z, struct ggd_form form)
{
    return t_ggd_nll(g->mean, z, g->inverse, g->shape, form);
}

struct tensor *ggd_released_term(const struct ggd_side *g, struct tensor *z, double t1, double t2)
{
    struct tensor *near = t_mean(t_abs(t_sub(g->mean, z)));
    return t_add(t_scale(near, t1, 0), t_scale(t_mean(nll(g, z, ggd_released_form())), t2, 0));
}

/* -2/(D B) sum log 1/2 (e^-x + e^-y), x and y the sums over the dimensions, [B,D] each */
static struct tensor *cross_logsumexp(struct tensor *x, struct tensor *y)
{
    if (!x || !y)
        return NULL;
    int64_t n = x->shape[0];
    struct tensor *both[2] = {t_reshape(t_reduce(x, RED_SUM, -1), SHAPE(n, 1)),
                              t_reshape(t_reduce(y, RED_SUM, -1), SHAPE(n, 1))};
    struct tensor *lse = t_log_sum_exp(t_scale(t_concat(both, 2, 1), -1, 0), -1);
    return t_scale(t_mean(t_scale(lse, 1, -log(2.0))), -2.0 / (double)x->shape[1], 0);
}

/* ---- quadrature ---- */

enum { PIECE = 21, NODES = 3 * PIECE };
static const double STEP[3] = {0.28, 0.21, 0.28}, HALF_PI = 1.57079632679489661923;

static void put(struct tensor *x, int64_t i, double v)
{
    if (tape_engine(x->tape)->real == DT_F64)
        ((double *)x->data)[i] = v;
    else
        ((float *)x->data)[i] = (float)v;
}

/* Place and log weight of node k between the means lo <= hi, tails of length `tail`. */
static void node_at(int k, double lo, double hi, double tail, double *place, double *log_weight)
{
    double step = STEP[k / PIECE], u = (k % PIECE - PIECE / 2) * step;
    if (k / PIECE == 1) {
        double h = 0.5 * (hi - lo), s = HALF_PI * sinh(u), c = cosh(s);
        *place = 0.5 * (lo + hi) + h * tanh(s);
        *log_weight = h > 0 ? log(h * step * HALF_PI * cosh(u)) - 2 * log(c) : -1e4;
        return;
    }
    double e = exp(-u), far = tail * exp(u - e);
    *place = k / PIECE == 0 ? lo - far : hi + far;
    *log_weight = log(tail * step * (1 + e)) + u - e;
}

static struct tensor *cross_quadrature(const struct ggd_side *v, const struct ggd_side *t)
{
    struct ggd_form form = ggd_exact_form(0);
    struct tensor *logs[NODES];
    struct tape *tape = tape_of(v->mean, v->inverse);
    if (!tape || !v->shape || !t->mean || !t->inverse || !t->shape)
        return NULL;
    int64_t n = v->mean->shape[0], d = v->mean->shape[1];
    form.cap = 60; /* far nodes weigh nothing, but must not outgrow a float */
    for (int k = 0; k < NODES; k++) {
        struct tensor *at = t_new(tape, SHAPE(n, d)), *weight = t_new(tape, SHAPE(n, d));
        for (int64_t i = 0; at && weight && i < n * d; i++) {
            double a = t_get(v->mean, i), b = t_get(t->mean, i), place, log_weight;
            double tail = 1.5 / (t_get(v->inverse, i) + t_get(t->inverse, i));
            node_at(k, fmin(a, b), fmax(a, b), tail, &place, &log_weight);
            put(at, i, place);
            put(weight, i, log_weight);
        }
        struct tensor *log_p = t_sub(weight, t_add(nll(v, at, form), nll(t, at, form)));
        logs[k] = t_reshape(log_p, SHAPE(n, d, 1));
    }
    /* both densities leave out a factor 1/2 */
    return t_scale(t_mean(t_log_sum_exp(t_concat(logs, NODES, 2), -1)), -2, 4 * log(2.0));
}

struct tensor *probvlm_loss(const struct ggd_side *image, const struct ggd_side *text, struct tensor *z_image,
                            struct tensor *z_text, const struct probvlm_opt *o)
{
    if (o->released) {
        struct tensor *own =
            t_add(ggd_released_term(image, z_image, o->t1, o->t2), ggd_released_term(text, z_text, o->t1, o->t2));
        struct tensor *cross =
            t_add(ggd_released_term(image, z_text, o->t1, o->t2), ggd_released_term(text, z_image, o->t1, o->t2));
        return t_add(t_scale(own, o->intra, 0), t_scale(cross, o->cross, 0));
    }
    struct ggd_form form = ggd_exact_form(o->eps);
    struct tensor *own = t_add(t_mean(nll(image, z_image, form)), t_mean(nll(text, z_text, form))), *cross;
    own = t_scale(own, o->intra, 0);
    if (o->cross == 0)
        return own;
    if (o->how == CROSS_QUADRATURE)
        cross = cross_quadrature(image, text);
    else if (o->how == CROSS_LOGSUMEXP)
        cross = cross_logsumexp(nll(image, z_text, form), nll(text, z_image, form));
    else
        cross = t_add(t_mean(nll(image, z_text, form)), t_mean(nll(text, z_image, form)));
    return t_add(own, t_scale(cross, o->cross, 0));
}
