/* train/head.h: inside room train. What head.c and head_file.c share. */
#ifndef TRAIN_HEAD_H
#define TRAIN_HEAD_H

#include "train/train.h"

/* The linear head is kept as W - I, so that weight decay draws it to the identity and not to nothing. */
struct head_side {
    struct linear map;      /* [D,D] */
    struct linear in, back; /* [H,D], [D,H] */
};
struct head {
    struct head_design d;
    const struct engine *engine;
    struct head_side side[2];
    struct params params;
    char *model, *fingerprint; /* of the set that it was trained on; "" when unknown */
    struct arena *arena;
};
/* Memory for the parameters, after w (or NULL) was asked whether it has them; then they are loaded. */
int head_bind(struct head **out, const struct head_design *d, const struct engine *e, const struct weight_files *w);
/* Adds v to the diagonals of the linear maps. */
void head_shift(struct head *h, double v);

#endif
