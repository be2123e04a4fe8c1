/* loss/pcme_loss.c: probabilistic cross-modal embeddings.
 *
 * PCME (Chun et al. 2021): K samples an item, d = sqrt(|z - z'|^2 + 1e-6) for all K K' combinations of two items,
 *   s = -a d + b,  p(match) = e^s / (e^s + e^-s),
 *   L = sum over all B^2 pairs of -log mean_k p(m s), m = +1 for a pair that belongs together, -1 else,
 * both directions added (they are equal: the distance is symmetric).
 * Its uniformity (Wang and Isola 2020, t = 2; on in the authors' settings for CUB): ln of the mean of exp(-2 |z -
 * z'|^2) over the unordered pairs of all samples of both sides. PCME++ (Chun 2024, equations 1 and 2): s = -a (|m_i -
 * m_t|^2 + sum v_i + sum v_t) + b, binary cross entropy. */
#include "loss/loss.h"

#include <math.h>

/* [n,n] of `on` on the diagonal and `off` elsewhere */
static struct tensor *diagonal(struct tape *t, int64_t n, double on, double off)
{
    struct tensor *x = t_new(t, SHAPE(n, n));
    if (!x)
        return NULL;
    bool wide = tape_engine(t)->real == DT_F64;
    for (int64_t k = 0; k < n * n; k++) {
        double v = k / n == k % n ? on : off;
        if (wide)
            ((double *)x->data)[k] = v;
        else
            ((float *)x->data)[k] = (float)v;
    }
    return x;
}

struct tensor *pcme_divergence(struct tensor *mean, struct tensor *log_var)
{
    struct tensor *inside = t_sub(t_add(t_square(mean), t_exp(log_var)), t_scale(log_var, 1, 1));
    return t_scale(t_sum(inside), 0.5, 0);
}

struct tensor *pcme_loss(struct tensor *samples_i, struct tensor *samples_t, struct tensor *scale, struct tensor *shift)
{
    if (!samples_i || !samples_t)
        return NULL;
    int64_t n = samples_i->shape[0], k = samples_i->shape[1], d = samples_i->shape[2];
    struct tensor *far =
        t_pairwise_distance(t_reshape(samples_i, SHAPE(n * k, d)), t_reshape(samples_t, SHAPE(n * k, d))); /* [BK,BK] */
    far = t_sqrt(t_scale(t_clamp(far, 0, INFINITY), 1, 1e-6));
    struct tensor *s = t_sub(shift, t_mul(far, scale));
    const int by_pair[4] = {0, 2, 1, 3};
    s = t_permute(t_reshape(s, SHAPE(n, k, n, k)), by_pair); /* [B,B,K,K] */
    s = t_reshape(s, SHAPE(n * n, k * k));                   /* [BB,KK] */
    struct tensor *sign = t_reshape(diagonal(samples_i->tape, n, 1, -1), SHAPE(n * n, 1));
    /* log p(m s) = -softplus(-2 m s) */
    struct tensor *log_p = t_act(t_scale(t_mul(s, sign), 2, 0), ACT_LOG_SIGMOID);
    struct tensor *nll = t_scale(t_log_sum_exp(log_p, -1), -1, log((double)(k * k)));
    return t_scale(t_sum(nll), 2, 0);
}

struct tensor *pcme_uniformity(struct tensor *samples_i, struct tensor *samples_t)
{
    if (!samples_i || !samples_t)
        return NULL;
    int64_t n = samples_i->shape[0] * samples_i->shape[1], d = samples_i->shape[2], m = 2 * n;
    struct tensor *const sides[2] = {t_reshape(samples_i, SHAPE(n, d)), t_reshape(samples_t, SHAPE(n, d))};
    struct tensor *all = t_concat(sides, 2, 0);
    if (!all)
        return NULL;
    /* every pair stands twice, a sample with itself weighs nothing */
    struct tensor *s = t_add(t_scale(t_pairwise_distance(all, all), -2, 0), diagonal(all->tape, m, -1e30, 0));
    return t_scale(t_sum(t_log_sum_exp(t_reshape(s, SHAPE(1, m * m)), -1)), 1, -log((double)(m * (m - 1))));
}

struct tensor *pcmepp_loss(struct tensor *mean_i, struct tensor *mean_t, struct tensor *log_var_i,
                           struct tensor *log_var_t, struct tensor *scale, struct tensor *shift)
{
    if (!mean_i || !mean_t)
        return NULL;
    int64_t n = mean_i->shape[0];
    struct tensor *vi = t_reshape(t_reduce(t_exp(log_var_i), RED_SUM, -1), SHAPE(n, 1));
    struct tensor *vt = t_reduce(t_exp(log_var_t), RED_SUM, -1);
    struct tensor *far = t_add(t_pairwise_distance(mean_i, mean_t), t_add(vi, vt)); /* [B,B] */
    struct tensor *s = t_mul(t_sub(shift, t_mul(far, scale)), diagonal(mean_i->tape, n, 1, -1));
    return t_scale(t_mean(t_act(s, ACT_LOG_SIGMOID)), -1, 0);
}
