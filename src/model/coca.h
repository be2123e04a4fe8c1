/* model/coca.h: inside room model, and for its tests. CoCa as open_clip has it. */
#ifndef MODEL_COCA_H
#define MODEL_COCA_H

#include "model/layer.h"

extern const struct model_family family_coca;

/* Words look at the picture: x + attention(norm1 x to norm_kv tokens), then the MLP. in_w [3D,D] and in_b: q, k, v. */
struct cross_block {
    struct norm norm1, norm_kv, norm2;
    struct tensor in_w, in_b;
    struct linear out, fc1, fc2;
};
struct coca {
    struct vit vision;
    int64_t queries, pool_heads, embed;
    struct tensor query, q_w, k_w, v_w, in_b; /* [Q,E], [E,E], [E,V], [E,V], [3E] */
    struct norm norm_q, norm_k, norm_post;
    struct linear pool_out, project_image;
    struct text_tower text; /* positions: one more, of the class token */
    struct tensor class_token;
    struct linear project_text;
    struct tower decoder;
    struct cross_block *cross;
    struct norm norm_words;
    struct linear project_words;
    struct tensor logit_scale;
    int32_t start_id, end_id, pad_id;
};
struct coca_trace {
    struct trace vision, text;
    struct tensor **decoder; /* [layers]: after each pair of blocks */
};
/* Features [n,E] not normalised; image_tokens [n,Q-1,E] and text_tokens [n,L,T] as the decoder gets them; logits
 * [n,L,K]. */
struct coca_out {
    struct tensor *image, *text, *image_tokens, *text_tokens, *logits;
};
/* 0, or the tape's error. */
int coca_forward(const struct coca *c, struct tensor *pixels, const int32_t *ids, int64_t n, int64_t context,
                 struct coca_trace *trace, struct coca_out *out);
/* Yu et al. 2022, eq. 4: contrast of the pairs and captions in one pass; open_clip's weights are 1 and 2. [] */
struct tensor *coca_loss(const struct coca *c, struct tensor *pixels, const int32_t *ids, int64_t n, int64_t context,
                         double contrast_weight, double caption_weight);

/* coca_config.c */
bool coca_accepts(enum layout l, const json_t *config);
int coca_read_config(struct coca *c, const json_t *config, int64_t image, const char *where);

#endif
