/* model/blip.h: inside room model. BLIP's parts, for its two families and their tests. */
#ifndef MODEL_BLIP_H
#define MODEL_BLIP_H

#include "model/bert.h"

extern const struct model_family family_blip_itm, family_blip_caption;

struct blip {
    struct vit vision;
    struct bert text;
    int64_t embed;
    int32_t dec_id, enc_id, end_id, pad_id;
    struct linear project_image, project_text; /* retrieval: the common space */
    struct linear match;                       /* retrieval: [2,T], no match and match */
    struct linear transform;                   /* captions: the head in front of the word table */
    struct norm norm_transform;
    struct tensor word_bias; /* [K] */
};

/* blip_config.c */
bool blip_is(const json_t *config, const char *architecture);
int blip_build(struct model *m, const json_t *config, const char *where, const char *architecture);

/* All tokens behind the closing norm: [B,N,V]. */
struct tensor *blip_tokens(const struct blip *b, struct tensor *pixels, struct trace *trace);
struct tensor *blip_encode_text(const struct blip *b, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                struct trace *trace); /* [n,E] before L2 */
/* The match head's two logits [n,2] of picture i and text i. enc: the first id is replaced by [ENC], as in BLIP's
 * training and retrieval evaluation; otherwise ids as given, as in BLIP's and transformers' inference classes. */
struct tensor *blip_match(const struct blip *b, struct tensor *tokens, const int32_t *ids, int64_t context, bool enc,
                          struct trace *trace);
/* Logits of the next word [n,context,K]; pads are not seen. */
struct tensor *blip_words(const struct blip *b, struct tensor *tokens, const int32_t *ids, int64_t n, int64_t context);

#endif
