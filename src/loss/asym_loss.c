/* loss/asym_loss.c: pictures as points, texts as distributions of directions (Ju et al. 2025, AsymVLM).
 *
 *   s_ij = temperature (ln p(x_i; m_j, k_j)),   p von Mises-Fisher or power spherical (spherical.c)
 *   L    = mean over i of -ln softmax over j of s_ij (a picture finds its text), and the reverse (a text its picture),
 *          halved.
 *
 * The second way does not see the normaliser of k_j: there k_j is the temperature of one text's answers. Densities are
 * relative to the uniform one, which moves no softmax. Pairs of the batch that share an item are no rivals: `same`
 * takes them out of the softmax. */
#include "loss/loss.h"

#include <math.h>

struct tensor *asym_log_likelihood(enum sphere_family f, struct tensor *x, struct tensor *mean, struct tensor *kappa)
{
    if (!x || !mean || !kappa)
        return NULL;
    struct tensor *t = t_matmul(x, mean, (struct matmul_opt){.tb = true}); /* [B,C] */
    struct tensor *rows = t_reshape(kappa, SHAPE(1, kappa->n));
    if (f == SPHERE_PS) /* at -1 the density is 0 */
        t = t_log(t_scale(t_clamp(t, -1 + 1e-6, 1), 1, 1));
    return t_sub(t_mul(t, rows), sphere_norms(f, x->shape[1], rows));
}

/* -1e9 where items are shared */
static struct tensor *without(struct tensor *s, const uint8_t *same)
{
    struct tensor *far = s && same ? t_new(s->tape, s->n_dims, s->shape) : NULL;
    for (int64_t i = 0; far && i < far->n; i++)
        t_put(far, i, same[i] ? -1e9 : 0);
    return same ? t_add(s, far) : s;
}

struct tensor *asym_loss(enum sphere_family f, struct tensor *x, struct tensor *mean, struct tensor *kappa,
                         struct tensor *log_temperature, const uint8_t *same, bool texts_only)
{
    struct tensor *s = t_mul(asym_log_likelihood(f, x, mean, kappa), t_exp(log_temperature));
    s = without(s, same);
    if (!s)
        return NULL;
    int64_t n = s->shape[0];
    int32_t *own = arena_alloc(tape_arena(s->tape), (size_t)n * sizeof *own);
    if (!own)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        own[i] = (int32_t)i;
    struct tensor *text = t_cross_entropy(t_transpose(s), own, 0);
    return texts_only ? text : t_scale(t_add(text, t_cross_entropy(s, own, 0)), 0.5, 0);
}
