/* adapt/method_normal.c: PFE (Shi and Jain 2019), PCME (Chun et al. 2021) and PCME++ (Chun 2024) after the fact: the
 * mean is the frozen vector, the trunk gives the log variance of each number, within bounds. */
#include "adapt/adapter.h"

#include <math.h>

static void heads(const struct adapter *a, int side, struct tensor *x, struct tensor *hidden, struct tensor *keep,
                  struct ggd_side *g, struct tensor **log_var)
{
    *g = (struct ggd_side){.mean = x};
    *log_var = capsule_log_var(a, capsule_out(a, side, hidden, keep));
}

static void both(const struct adapter *a, struct tensor *const x[2], struct tensor *const keep[2],
                 struct tensor *log_var[2])
{
    struct ggd_side g;
    for (int side = 0; side < 2; side++)
        heads(a, side, x[side], capsule_hidden(a, side, x[side]), keep[side], &g, &log_var[side]);
}

static struct tensor *pfe(const struct adapter *a, const struct adapt_opt *o UNUSED, struct tensor *const x[2],
                          struct tensor *const keep[2], struct rng *r UNUSED)
{
    struct tensor *log_var[2];
    both(a, x, keep, log_var);
    return t_scale(pfe_loss(x[0], x[1], log_var[0], log_var[1]), 1.0 / (double)a->d.width, 0);
}

static int bind_match(struct adapter *a)
{
    TRY(capsule_bind_trunk(a));
    return capsule_bind_match(a);
}

static void init_match(struct adapter *a, uint64_t seed)
{
    capsule_init(a, seed);
    capsule_fill(a, &a->scale, 5);
    capsule_fill(a, &a->shift, 5);
}

/* The divergence from N(0, 1/D), which is how unit vectors lie, a mean over the batch. */
static struct tensor *add_divergence(const struct adapter *a, const struct adapt_opt *o, struct tensor *loss,
                                     struct tensor *const x[2], struct tensor *const log_var[2])
{
    double d = (double)a->d.width;
    if (!loss || !x[0])
        return NULL;
    struct tensor *wide = t_add(pcme_divergence(t_scale(x[0], sqrt(d), 0), t_scale(log_var[0], 1, log(d))),
                                pcme_divergence(t_scale(x[1], sqrt(d), 0), t_scale(log_var[1], 1, log(d))));
    return t_add(loss, t_scale(wide, o->vib / (double)x[0]->shape[0], 0));
}

static struct tensor *pcmepp(const struct adapter *a, const struct adapt_opt *o, struct tensor *const x[2],
                             struct tensor *const keep[2], struct rng *r UNUSED)
{
    struct tensor *log_var[2];
    both(a, x, keep, log_var);
    if (!x[0])
        return NULL;
    struct tape *t = x[0]->tape;
    struct tensor *loss = pcmepp_loss(x[0], x[1], log_var[0], log_var[1], t_use(t, (struct tensor *)&a->scale),
                                      t_use(t, (struct tensor *)&a->shift));
    return add_divergence(a, o, loss, x, log_var);
}

static struct tensor *pcme(const struct adapter *a, const struct adapt_opt *o, struct tensor *const x[2],
                           struct tensor *const keep[2], struct rng *r)
{
    struct tensor *log_var[2], *samples[2];
    both(a, x, keep, log_var);
    if (!x[0] || !log_var[0] || !log_var[1])
        return NULL;
    struct tape *t = x[0]->tape;
    int64_t n = x[0]->shape[0], d = a->d.width, k = o->samples;
    for (int side = 0; side < 2; side++) {
        struct tensor *noise = t_normal_noise(t, SHAPE(n, k, d), r);
        struct tensor *sigma = t_reshape(t_exp(t_scale(log_var[side], 0.5, 0)), SHAPE(n, 1, d));
        samples[side] = t_add(t_reshape(x[side], SHAPE(n, 1, d)), t_mul(noise, sigma));
    }
    struct tensor *loss =
        pcme_loss(samples[0], samples[1], t_use(t, (struct tensor *)&a->scale), t_use(t, (struct tensor *)&a->shift));
    loss = t_scale(loss, 0.5 / (double)(n * n), 0);
    if (o->uniformity > 0) /* beside a loss that is a mean over pairs; the authors' is a sum over them */
        loss = t_add(loss, t_scale(pcme_uniformity(samples[0], samples[1]), o->uniformity, 0));
    return add_divergence(a, o, loss, x, log_var);
}

const struct method method_pfe = {
    .name = "pfe",
    .help = "Gaussians by the likelihood of the pair (Shi and Jain 2019)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .fixed_mean = true,
    .bind = capsule_bind_trunk,
    .init = capsule_init,
    .heads = heads,
    .loss = pfe,
};
const struct method method_pcme = {
    .name = "pcme",
    .help = "Gaussians by match probabilities of samples (Chun et al. 2021)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .whole = true,
    .fixed_mean = true,
    .bind = bind_match,
    .init = init_match,
    .heads = heads,
    .loss = pcme,
};
const struct method method_pcmepp = {
    .name = "pcmepp",
    .help = "Gaussians by match probabilities in closed form (Chun 2024)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .whole = true,
    .fixed_mean = true,
    .bind = bind_match,
    .init = init_match,
    .heads = heads,
    .loss = pcmepp,
};
