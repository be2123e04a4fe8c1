/* adapt/method_probvlm.c: ProbVLM (Upadhyay et al. 2023), a generalised Gaussian for each number.
 *
 *   h = x + trunk(x)                                             [n,D]
 *   mean, 1/alpha, beta = V relu(U h), one two-layer head each   (the released code)
 *
 * As released, 1/alpha and beta end in a relu, and the mean learns the identity anew. Ours: bounded and smooth,
 *   alpha = exp(lo + (hi - lo) sigmoid), beta = 1/2 + 7/2 sigmoid
 * (no dead unit, no shape at which Gamma(3/beta) overflows), and the mean is the head, the vector plus the head (zero
 * at the start), or the vector. Rejected: softplus for the scale, which is unbounded above and, at the start, four
 * times too wide for a residual mean. */
#include "adapt/adapter.h"

#include <math.h>
#include <string.h>

static const double ALPHA_LO = 0.01, ALPHA_HI = 10, BETA_LO = 0.5, BETA_HI = 4;
/* A smoothing of the residual far below the smallest scale: 1 is the vectors' own spread. */
static const double RESIDUAL_EPS = 1e-3;

#define AT(field) offsetof(struct capsule, field)
static const struct param_row head_rows[] = {
    {"block_mu.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 0, .parts = 3},
    {"block_alpha.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 1, .parts = 3},
    {"block_beta.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 2, .parts = 3},
    {"block_mu.0.bias", AT(first.b), "D", INIT_ZERO, .part = 0, .parts = 3},
    {"block_alpha.0.bias", AT(first.b), "D", INIT_ZERO, .part = 1, .parts = 3},
    {"block_beta.0.bias", AT(first.b), "D", INIT_ZERO, .part = 2, .parts = 3},
    {"block_mu.2.weight", AT(mean.w), "DD", INIT_FAN_IN},
    {"block_mu.2.bias", AT(mean.b), "D", INIT_ZERO},
    {"block_alpha.2.weight", AT(inverse.w), "DD", INIT_FAN_IN},
    {"block_alpha.2.bias", AT(inverse.b), "D", INIT_ZERO},
    {"block_beta.2.weight", AT(shape.w), "DD", INIT_FAN_IN},
    {"block_beta.2.bias", AT(shape.b), "D", INIT_ZERO},
};
static const struct param_row fixed_rows[] = {
    {"block_alpha.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 0, .parts = 2},
    {"block_beta.0.weight", AT(first.w), "DD", INIT_FAN_IN, .part = 1, .parts = 2},
    {"block_alpha.0.bias", AT(first.b), "D", INIT_ZERO, .part = 0, .parts = 2},
    {"block_beta.0.bias", AT(first.b), "D", INIT_ZERO, .part = 1, .parts = 2},
    {"block_alpha.2.weight", AT(inverse.w), "DD", INIT_FAN_IN},
    {"block_alpha.2.bias", AT(inverse.b), "D", INIT_ZERO},
    {"block_beta.2.weight", AT(shape.w), "DD", INIT_FAN_IN},
    {"block_beta.2.bias", AT(shape.b), "D", INIT_ZERO},
};
#undef AT

static int bind(struct adapter *a)
{
    TRY(capsule_bind_trunk(a));
    for (int side = 0; side < 2; side++)
        if (a->d.mean == MEAN_FIXED)
            TRY(capsule_bind_rows(a, side, fixed_rows, ARRAY_LEN(fixed_rows)));
        else
            TRY(capsule_bind_rows(a, side, head_rows, ARRAY_LEN(head_rows)));
    return 0;
}

static void init(struct adapter *a, uint64_t seed)
{
    capsule_init(a, seed);
    for (int side = 0; side < 2; side++)
        if (a->d.mean == MEAN_RESIDUAL)
            capsule_fill(a, &a->side[side].mean.w, 0);
}

static void heads(const struct adapter *a, int side, struct tensor *x, struct tensor *hidden, struct tensor *keep,
                  struct ggd_side *g, struct tensor **log_var)
{
    const struct capsule *c = &a->side[side];
    int64_t d = a->d.width;
    struct tensor *h = t_add(capsule_out(a, side, hidden, keep), x);
    *g = (struct ggd_side){.mean = x};
    *log_var = NULL;
    h = t_linear_act(h, (struct linear *)&c->first, ACT_RELU); /* [n,3D] */
    int at = 0;
    if (a->d.mean != MEAN_FIXED) {
        g->mean = t_linear(t_slice(h, 1, 0, d), (struct linear *)&c->mean);
        if (a->d.mean == MEAN_RESIDUAL)
            g->mean = t_add(g->mean, x);
        at = 1;
    }
    g->inverse = t_linear(t_slice(h, 1, at * d, d), (struct linear *)&c->inverse);
    g->shape = t_linear(t_slice(h, 1, (at + 1) * d, d), (struct linear *)&c->shape);
    if (a->d.released) {
        g->inverse = t_relu(g->inverse);
        g->shape = t_relu(g->shape);
    } else {
        g->inverse = t_exp(capsule_bounded(g->inverse, -log(ALPHA_LO), -log(ALPHA_HI)));
        g->shape = capsule_bounded(g->shape, BETA_LO, BETA_HI);
    }
}

static struct tensor *loss(const struct adapter *a, const struct adapt_opt *o, struct tensor *const x[2],
                           struct tensor *const keep[2], struct rng *r UNUSED)
{
    struct ggd_side g[2];
    struct tensor *log_var;
    for (int side = 0; side < 2; side++)
        heads(a, side, x[side], capsule_hidden(a, side, x[side]), keep[side], &g[side], &log_var);
    struct probvlm_opt p = {.released = a->d.released,
                            .intra = o->intra,
                            .t1 = o->t1,
                            .t2 = o->t2,
                            .cross = o->lambda >= 0  ? o->lambda
                                     : a->d.released ? 1e-4
                                                     : 1,
                            .how = !strcmp(o->cross, "sum")         ? CROSS_SUM
                                   : !strcmp(o->cross, "logsumexp") ? CROSS_LOGSUMEXP
                                                                    : CROSS_QUADRATURE,
                            .eps = RESIDUAL_EPS};
    return probvlm_loss(&g[0], &g[1], x[0], x[1], &p);
}

const struct method method_probvlm = {
    .name = "probvlm",
    .help = "generalised Gaussians (Upadhyay et al. 2023)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .bind = bind,
    .init = init,
    .heads = heads,
    .loss = loss,
};
