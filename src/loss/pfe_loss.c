/* loss/pfe_loss.c: probabilistic face embeddings (Shi and Jain 2019, equation 3), the pair being a picture and its
 * text:
 *
 *   L = mean over pairs of sum_d [ (m_i - m_t)^2 / (eps + v_i + v_t) + log(v_i + v_t) ]
 *
 * the negative log of the mutual likelihood score without its constant. eps = 1e-10 stands in the denominator alone, as
 * in the authors' code. */
#include "loss/loss.h"

struct tensor *pfe_loss(struct tensor *mean_i, struct tensor *mean_t, struct tensor *log_var_i,
                        struct tensor *log_var_t)
{
    struct tensor *v = t_add(t_exp(log_var_i), t_exp(log_var_t)); /* [B,D] */
    struct tensor *far = t_div(t_square(t_sub(mean_i, mean_t)), t_scale(v, 1, 1e-10));
    return t_mean(t_reduce(t_add(far, t_log(v)), RED_SUM, -1));
}
