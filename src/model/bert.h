/* model/bert.h: inside room model. BERT's transformer as BLIP uses it: post-norm layers, with or without a look at a
 * picture. */
#ifndef MODEL_BERT_H
#define MODEL_BERT_H

#include "model/layer.h"

struct bert_layer {
    struct linear qkv, out;
    struct norm norm_out;
    struct linear see_q, see_k, see_v, see_out; /* cross attention */
    struct norm norm_see;
    struct linear fc1, fc2;
    struct norm norm_mlp;
};
struct bert {
    int64_t width, layers, heads, mlp, vocab, context, seen; /* seen: width of what the cross attention looks at */
    double eps;
    enum act act;
    struct tensor words, positions; /* [K,T], [L,T] */
    struct norm norm;
    struct bert_layer *layer;
};
/* What happens to the words of one pass. */
struct bert_pass {
    struct sight sight;
    const struct caption_memory *memory; /* NULL: words alone, the cross attention is passed over */
    int64_t row;                         /* the only row read afterwards; BERT_ALL */
    struct trace *trace;                 /* NULL */
};
enum { BERT_ALL = -1 };

/* Allocates the layers of a tower whose sizes are known. */
int bert_make(struct bert *b, struct arena *a);
/* PREFIX "embeddings." … and PREFIX "encoder.layer." N …. */
int bert_bind(struct bert *b, const char *prefix, struct params *p, struct arena *a);
/* Keys and values of every layer's cross attention: tokens [B,S,seen] -> 2 tensors [B,S,T] a layer. */
int bert_look(const struct bert *b, struct tensor *tokens, struct caption_memory *out);
/* ids [n,length], n = B x beams (model.h, captions) -> [n,length,T], or [n,T] when one row is read. */
struct tensor *bert_run(const struct bert *b, struct tape *t, const int32_t *ids, int64_t n, int64_t length,
                        const struct bert_pass *pass);

#endif
