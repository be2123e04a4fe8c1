/* model/layer.h: inside room model. Layers shared by the families. */
#ifndef MODEL_LAYER_H
#define MODEL_LAYER_H

#include "model/model.h"
#include "model/param.h"

/* Ops take parameters without const; they never write to their numbers. */
#define MUTABLE(type, field) ((type *)&(field))

/* The tape that a model keeps for its passes without gradients (embed.c). */
int model_plain_tape(struct model *m, bool low, struct tape **out);
/* Which keys a row may see. */
struct sight {
    bool causal;
    const uint8_t *key_keep; /* [B,L] 0 hides; NULL: all */
};
/* Pre-norm transformer block (Vaswani et al. 2017, pre-norm as in GPT-2): x + attention(norm1 x), then x + mlp(norm2
 * x). x [B,L,D]. Inference memory: the block's own intermediate results are given back. */
struct tensor *layer_block(struct tensor *x, const struct tower *t, int64_t i, struct sight sight);
/* The last block when one row of each sequence is read afterwards: keys and values of all rows, the rest of the block
 * for row at[b] only. Exactly the numbers that layer_block would give for that row. x [B,L,D], at [B] -> [B,D]. */
struct tensor *layer_block_row(struct tensor *x, const struct tower *t, int64_t i, struct sight sight,
                               const int32_t *at);
/* Attention of words to a picture: q [n,L,D], keys and values [B,S,D], n = B x beams (model.h, captions) -> [n,L,D]. */
struct tensor *layer_cross_attention(struct tensor *q, struct tensor *keys, struct tensor *values, int64_t heads);
/* Allocates the blocks of a tower whose sizes are known; sets epsilons and biases. */
int tower_make(struct tower *t, struct arena *a);

/* Names of a tower's layers, PREFIX N SUFFIX; letters of the shapes: D width, M MLP width, Q three widths. */
enum tower_names {
    NAMES_HF,     /* layer_norm1, self_attn.q_proj …, mlp.fc1 */
    NAMES_OPENAI, /* ln_1, attn.in_proj_weight …, mlp.c_fc */
    NAMES_BLIP,   /* layer_norm1, self_attn.qkv, self_attn.projection, mlp.fc1 */
};
int tower_bind(struct tower *t, enum tower_names names, const char *prefix, struct params *p, struct arena *a);

/* hidden_act or its kin: "quick_gelu", "gelu", "gelu_pytorch_tanh"; anything else is refused, never guessed. */
int layer_read_act(const json_t *config, const char *where, enum act *act);
/* hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, layer_norm_eps (eps: the default),
 * hidden_act of a HuggingFace configuration. A field of t that is not 0 is the format's default and may be missing. */
int tower_read_hf(struct tower *t, const json_t *config, double eps, const char *where);
/* Adds to m->arithmetic: every family's build says it of each of its towers. */
void model_note_arithmetic(struct model *m, int64_t heads, double eps, enum act act);
/* An object of the configuration. */
int config_section(const json_t *config, const char *key, const char *where, const json_t **out);
/* image_size and patch_size (defaults as above); image 0: as the configuration says. Other sizes must be whole
 * patches; a configuration's own need not be (so400m-patch14-384): what fills no patch is cut off, as by everyone. */
int vit_read_sizes(struct vit *v, const json_t *config, int64_t image, const char *where);
/* The same when image and patch are known. */
int vit_take_size(struct vit *v, int64_t image, const char *where);
static inline int64_t vit_n_tokens(const struct vit *v)
{
    return (v->image / v->patch) * (v->image / v->patch) + v->has_class;
}

#endif
