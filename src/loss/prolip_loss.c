/* loss/prolip_loss.c: ProLIP's objectives (Chun et al. 2025) over normal distributions, variances v = exp(log_var).
 *
 *   s_ij = scale (m_i.m_j - 1/2 sum (v_i + v_j)) + shift,   L = -1/B sum_ij ln sigmoid(+-s_ij), + on the diagonal (and
 *   where two pairs of the batch share an item)
 *
 * Inclusion of Z1 in Z2, per dimension, H = ln int p1^2 p2 - ln int p1 p2^2: positive where Z2 is the wider one around
 * the same place. In closed form, D = m1 - m2:
 *   H = 1/2 (ln v2 - ln v1 + ln(v2 + 2 v1) - ln(v1 + 2 v2)) + D^2 (1 / (v2 + 2 v1) - 1 / (v1 + 2 v2))
 * H is 0 for equal ones and changes its sign when they change places. The published code counts ln v twice; this is the
 * integral (tests/loss/test_spherical.c compares it with sums over a grid). The loss is -ln sigmoid(scale mean_d H),
 * a mean over the rows: of the whole distribution, and not of each number as published, so that one dimension in
 * which both are narrow does not rule. */
#include "loss/loss.h"

struct tensor *prolip_loss(struct tensor *mean_i, struct tensor *mean_t, struct tensor *log_var_i,
                           struct tensor *log_var_t, struct tensor *log_scale, struct tensor *shift,
                           const uint8_t *same)
{
    if (!mean_i || !mean_t || !log_var_i || !log_var_t)
        return NULL;
    int64_t n = mean_i->shape[0];
    struct tensor *vi = t_reshape(t_reduce(t_exp(log_var_i), RED_SUM, -1), SHAPE(n, 1));
    struct tensor *vt = t_reduce(t_exp(log_var_t), RED_SUM, -1);
    struct tensor *near = t_matmul(mean_i, mean_t, (struct matmul_opt){.tb = true}); /* [B,B] */
    struct tensor *s = t_add(t_mul(t_sub(near, t_scale(t_add(vi, vt), 0.5, 0)), t_exp(log_scale)), shift);
    struct tensor *sign = t_new(mean_i->tape, SHAPE(n, n));
    for (int64_t k = 0; sign && k < n * n; k++)
        t_put(sign, k, k / n == k % n || (same && same[k]) ? 1 : -1);
    return t_scale(t_sum(t_act(t_mul(s, sign), ACT_LOG_SIGMOID)), -1.0 / (double)n, 0);
}

struct tensor *prolip_inclusion(struct tensor *mean_1, struct tensor *log_var_1, struct tensor *mean_2,
                                struct tensor *log_var_2)
{
    struct tensor *v1 = t_exp(log_var_1), *v2 = t_exp(log_var_2);
    struct tensor *a = t_add(v2, t_scale(v1, 2, 0)), *b = t_add(v1, t_scale(v2, 2, 0));
    struct tensor *logs = t_add(t_sub(log_var_2, log_var_1), t_sub(t_log(a), t_log(b)));
    struct tensor *far = t_square(t_sub(mean_1, mean_2));
    return t_add(t_scale(logs, 0.5, 0), t_sub(t_div(far, a), t_div(far, b)));
}

struct tensor *prolip_inclusion_loss(struct tensor *mean_1, struct tensor *log_var_1, struct tensor *mean_2,
                                     struct tensor *log_var_2, double scale)
{
    struct tensor *h = t_reduce(prolip_inclusion(mean_1, log_var_1, mean_2, log_var_2), RED_MEAN, -1); /* [B] */
    return t_scale(t_mean(t_act(t_scale(h, scale, 0), ACT_LOG_SIGMOID)), -1, 0);
}
