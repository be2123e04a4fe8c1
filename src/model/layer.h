/* model/layer.h: inside room model. Layers shared by the families. */
#ifndef MODEL_LAYER_H
#define MODEL_LAYER_H

#include "model/model.h"

/* Pre-norm transformer block (Vaswani et al. 2017, pre-norm as in GPT-2): x + attention(norm1 x), then x + mlp(norm2
 * x). x [B,L,D]. Inference memory: the block's own intermediate results are given back. */
struct tensor *layer_block(struct tensor *x, const struct tower *t, int64_t i, bool causal);
/* The last block when one row of each sequence is read afterwards: keys and values of all rows, the rest of the block
 * for row at[b] only. Exactly the numbers that layer_block would give for that row. x [B,L,D], at [B] -> [B,D]. */
struct tensor *layer_block_row(struct tensor *x, const struct tower *t, int64_t i, bool causal, const int32_t *at);
/* Shared field readers. */
int layer_read_act(const json_t *config, const char *where, enum act *act);

#endif
