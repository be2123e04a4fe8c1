/* loss/sigmoid_loss.c: the pairwise sigmoid loss of SigLIP (Zhai et al. 2023, equation 1 and algorithm 1):
 *
 *   L = -1/B sum_i sum_j log sigmoid( z_ij (t x_i y_j + b) ),   z_ij = 1 for pairs that belong together, else -1
 *
 * Every pair of the batch is a question of its own, so no row needs the others' normaliser. t = exp(logit scale) and
 * the bias b are learned; where the model has none, the options give them. Unlike CLIP's, t is not clamped at 100 by
 * the authors. With targets "match", known captions of a picture count as its own. */
#include "loss/sigmoid_loss.h"

#include <string.h>

static const struct opt options[] = {
    {"temperature", 0, OPT_REAL, offsetof(struct loss_sigmoid_opt, temperature), "0.1", 1e-4, 100, NULL, NULL,
     "temperature when the model has no learned logit scale"},
    {"bias", 0, OPT_REAL, offsetof(struct loss_sigmoid_opt, bias), "-10", -1000, 1000, NULL, NULL,
     "added to every logit when the model has no learned bias"},
    {"targets", 0, OPT_CHOICE, offsetof(struct loss_sigmoid_opt, targets), "match", 0, 0, "identity|match", NULL,
     "identity: pair i alone; match: all known captions of a picture in the batch"},
    {0},
};

/* z [B,B]. */
static struct tensor *signs(struct tape *t, const uint8_t *match, int64_t n)
{
    struct tensor *z = t_new(t, SHAPE(n, n));
    bool wide = tape_engine(t)->real == DT_F64;
    for (int64_t i = 0; z && i < n * n; i++) {
        bool hit = match ? match[i] : i / n == i % n;
        if (wide)
            ((double *)z->data)[i] = hit ? 1.0 : -1.0;
        else
            ((float *)z->data)[i] = hit ? 1.0f : -1.0f;
    }
    return z;
}

static struct tensor *build(const struct pair_batch *b, const void *opt)
{
    const struct loss_sigmoid_opt *o = opt;
    if (!b->image || !b->text)
        return NULL;
    struct tape *t = b->image->tape;
    int64_t n = b->image->shape[0];
    struct tensor *scale = b->logit_scale ? t_exp(t_use(t, b->logit_scale)) : t_constant(t, 1.0 / o->temperature);
    struct tensor *bias = b->logit_bias ? t_use(t, b->logit_bias) : t_constant(t, o->bias);
    struct tensor *cosines = t_matmul(b->image, b->text, (struct matmul_opt){.tb = true}); /* [B,B] */
    struct tensor *logits = t_add(t_mul(cosines, scale), bias);
    struct tensor *z = signs(t, !strcmp(o->targets, "match") ? b->match : NULL, n);
    return t_scale(t_sum(t_act(t_mul(logits, z), ACT_LOG_SIGMOID)), -1.0 / (double)n, 0.0);
}

const struct loss_kind loss_sigmoid = {
    .name = "sigmoid",
    .help = "every pair of the batch judged by itself (SigLIP)",
    .options = options,
    .size = sizeof(struct loss_sigmoid_opt),
    .build = build,
};
