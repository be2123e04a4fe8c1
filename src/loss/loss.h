/* loss/loss.h: the door of room loss (level 3). Objectives, one file each, written as the paper writes them. A loss is
 * a struct of options, its option table, and one function from a pair batch to a scalar. It never sees a dataset.
 * Registry: loss_list.h. */
#ifndef LOSS_LOSS_H
#define LOSS_LOSS_H

#include "base/base.h"
#include "tensor/tensor.h"

struct pair_batch {
    struct tensor *image, *text; /* [B,E] unit rows, pair i in row i of both */
    struct tensor *logit_scale;  /* [] the learned logarithm, or NULL: the loss's own temperature */
    struct tensor *logit_bias;   /* [] added to every logit by the sigmoid loss, or NULL */
    const uint8_t *match;        /* [B,B] 1 where text j is a known caption of image i; NULL: the diagonal */
    int64_t epoch, step;
    uint64_t seed;
};
struct loss_kind {
    const char *name, *help;
    const struct opt *options;
    size_t size;                                                          /* of the options struct */
    struct tensor *(*build)(const struct pair_batch *b, const void *opt); /* [] on the tape of b->image */
};
const struct loss_kind *loss_find(const char *name); /* NULL when unknown; message set */
const struct loss_kind *loss_at(int i);              /* NULL past the end */

/* CLIP's symmetric cross entropy (Radford et al. 2021, figure 3). */
struct loss_clip_opt {
    double temperature; /* used when the batch has no logit scale */
    const char
        *targets; /* "identity", or "match": a row's target is spread evenly over its known captions in the batch */
};
/* SigLIP's pairwise sigmoid loss (Zhai et al. 2023, equation 1). */
struct loss_sigmoid_opt {
    double temperature, bias; /* used when the batch has no logit scale, no bias */
    const char *targets;      /* "identity" or "match" */
};

#endif
