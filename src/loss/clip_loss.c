/* loss/clip_loss.c: the contrastive loss of CLIP (Radford et al. 2021, figure 3):
 *
 *   logits = exp(s) I T^t                                   [B,B]
 *   L = 1/2 ( CE(logits, targets) + CE(logits^t, targets) )
 *
 * exp(s) is clamped to at most 100, as the authors do. With captions that fit several pictures of a batch ("face"), the
 * identity target calls right answers wrong; targets "match" spreads each row's target evenly over its known captions
 * (as in UniCL, Yang et al. 2022, equation 3). */
#include "loss/clip_loss.h"

#include <math.h>
#include <string.h>

static const struct opt options[] = {
    {"temperature", 0, OPT_REAL, offsetof(struct loss_clip_opt, temperature), "0.01", 1e-4, 100, NULL, NULL,
     "temperature when the model has no learned logit scale"},
    {"targets", 0, OPT_CHOICE, offsetof(struct loss_clip_opt, targets), "match", 0, 0, "identity|match", NULL,
     "identity: pair i alone; match: spread over all known captions of a picture in the batch"},
    {0},
};

/* Row-normalised match matrix [B,B], or its transpose's. */
static struct tensor *target_of(struct tape *t, const uint8_t *match, int64_t n, bool transposed)
{
    struct tensor *y = t_new(t, SHAPE(n, n));
    if (!y)
        return NULL;
    bool wide = tape_engine(t)->real == DT_F64;
    for (int64_t i = 0; i < n; i++) {
        int64_t sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += transposed ? match[j * n + i] : match[i * n + j];
        for (int64_t j = 0; j < n; j++) {
            bool hit = transposed ? match[j * n + i] : match[i * n + j];
            double v = hit ? 1.0 / (double)sum : 0.0;
            if (wide)
                ((double *)y->data)[i * n + j] = v;
            else
                ((float *)y->data)[i * n + j] = (float)v;
        }
    }
    return y;
}

static struct tensor *build(const struct pair_batch *b, const void *opt)
{
    const struct loss_clip_opt *o = opt;
    if (!b->image || !b->text)
        return NULL;
    struct tape *t = b->image->tape;
    int64_t n = b->image->shape[0];
    struct tensor *s = b->logit_scale ? t_exp(t_clamp(t_use(t, b->logit_scale), 0.0, log(100.0)))
                                      : t_constant(t, 1.0 / o->temperature);
    struct tensor *logits = t_mul(t_matmul(b->image, b->text, (struct matmul_opt){.tb = true}), s); /* [B,B] */
    struct tensor *columns = t_transpose(logits);
    if (b->match && !strcmp(o->targets, "match")) {
        struct tensor *rows_ce = t_cross_entropy_soft(logits, target_of(t, b->match, n, false));
        struct tensor *cols_ce = t_cross_entropy_soft(columns, target_of(t, b->match, n, true));
        return t_scale(t_add(rows_ce, cols_ce), 0.5, 0.0);
    }
    int32_t *diagonal = arena_alloc(tape_arena(t), (size_t)n * sizeof *diagonal);
    if (!diagonal)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        diagonal[i] = (int32_t)i;
    return t_scale(t_add(t_cross_entropy(logits, diagonal, 0.0), t_cross_entropy(columns, diagonal, 0.0)), 0.5, 0.0);
}

const struct loss_kind loss_clip = {
    .name = "clip",
    .help = "symmetric cross entropy over the batch (CLIP)",
    .options = options,
    .size = sizeof(struct loss_clip_opt),
    .build = build,
};
