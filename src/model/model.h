/* model/model.h: the door of room model (level 3). Layers, encoder families, weight names and loading.
 *
 * A model is a family (one file, one row in model_list.h) plus its parameters. Parameters are a table (param_row): path
 * of the weight in the file, field of the struct, shape, initial value, decay group; init, load, save, count and
 * optimiser groups all read it. All numbers lie in one slab, gradients in a second one that exists only while training.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/base.h"
#include "data/data.h"
#include "io/io.h"
#include "tensor/tensor.h"

/* ---- parameters (param.c, weights.c) ---- */

/* Initial values; the normal ones by standard deviation, D the width and n the layers of the tower (OpenAI's rule). */
enum init_rule {
    INIT_ZERO,
    INIT_ONE,
    INIT_SMALL,  /* .02 */
    INIT_TINY,   /* .01 */
    INIT_WIDTH,  /* D^-1/2 */
    INIT_OUT,    /* D^-1/2 (2 n)^-1/2 */
    INIT_MLP,    /* (2 D)^-1/2 */
    INIT_FAN_IN, /* inputs^-1/2 */
};
struct param {
    char *path;            /* name in the weight file */
    struct tensor *tensor; /* the tensor it is (part of) */
    int n_dims;
    int64_t shape[IO_MAX_DIMS], n; /* as stored in the file */
    int64_t at;                    /* first element in the slab */
    bool decay;                    /* weight decay applies: two or more dimensions */
    enum init_rule init;
    double deviation; /* standard deviation of the normal rules */
};
struct params {
    int64_t n, n_slab, n_numbers; /* rows; elements with padding; elements proper */
    struct param *v;
    enum dtype real;
    void *data, *grad; /* slabs [n_slab]; grad NULL until params_want_grad */
};
int params_want_grad(struct params *p); /* allocates the gradient slab, sets needs_grad of every tensor */
void params_zero_grad(struct params *p);
void *params_data(const struct params *p, const struct param *q);
void *params_grad(const struct params *p, const struct param *q);

/* ---- models (model.c; families in model_list.h) ---- */

struct model;
struct model_family {
    const char *name, *help;
    bool (*accepts)(const json_t *config); /* does this config.json describe the family? */
    int (*build)(struct model *m, const json_t *config, const char *where); /* fills m->own, sizes, params */
    struct tensor *(*encode_image)(const struct model *m,
                                   struct tensor *pixels); /* [B,3,H,W] -> [B,E], not normalised */
    struct tensor *(*encode_text)(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                  int64_t context);
};
struct model {
    const struct model_family *family;
    const struct engine *engine;
    char *path, *name;
    json_t *config;
    int64_t image_size, context, vocab_size, embed;
    struct params params;
    struct tensor *logit_scale;  /* the stored logarithm; NULL when the family has none */
    struct tokenizer *tokenizer; /* NULL when the folder has none */
    struct preprocess preprocess;
    struct arena *arena;
    struct tape *plain[2]; /* for the model_embed_ functions, one a dtype: their memory is kept between calls */
    void *own;             /* struct clip … */
};

/* dir: a HuggingFace folder, a run folder (its model/ is taken) or the name of a shipped model ("emoji"). */
int model_open(struct model **m, const char *path, const struct engine *e);
/* Fresh weights by the family's rule, from a parsed config. tokenizer is taken over (may be NULL). */
int model_init(struct model **m, const json_t *config, const char *where, struct tokenizer **tokenizer,
               const struct engine *e, uint64_t seed);
/* Writes config.json, model.safetensors (F32, F16 or BF16), tokenizer and preprocessor files into an existing folder.
 */
int model_save(const struct model *m, const char *dir, enum dtype dtype);
void model_close(struct model **m);
/* SHA-256 over weights, preprocessing and tokenizer; computed anew at every call. */
int model_fingerprint(const struct model *m, char out[65]);
double model_logit_scale(const struct model *m);       /* exp, clamped to [1, 100]; 0 when there is none */
int model_find(char *out, size_t n, const char *name); /* folder of a model path or shipped name */

/* Unit-length embeddings on the caller's tape. */
struct tensor *model_encode_image(const struct model *m, struct tensor *pixels);
struct tensor *model_encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context);

/* Pictures that pass the towers at once where nothing else decides it: a layer of so few stays in the processor's cache
 * (SPEED.md). */
enum { MODEL_GRAIN = 16 };
/* pixels [n,3,H,W] as an input of the tape: in place, or widened on a double engine. */
struct tensor *model_pixels(const struct model *m, struct tape *t, const float *pixels, int64_t n);

/* Whole arrays, in chunks, without gradients (one caller at a time): pixels [n,3,H,W] or ids [n,context] -> out [n,
 * embed] unit length. */
int model_embed_pixels(struct model *m, const float *pixels, int64_t n, bool low, float *out);
int model_embed_ids(struct model *m, const int32_t *ids, int64_t n, int64_t context, bool low, float *out);
/* Captions: tokenizes, sorts by length, embeds. *n_truncated counts captions over the context. */
int model_embed_texts(struct model *m, const char *const *texts, int64_t n, bool low, float *out, int64_t *n_truncated);

/* ---- CLIP (clip.c; Radford et al. 2021) ---- */

struct block {
    struct norm norm1;
    struct linear qkv, out;
    struct norm norm2;
    struct linear fc1, fc2;
};
struct tower {
    int64_t width, layers, heads, mlp;
    double eps;
    enum act act;
    struct block *blocks;
};
struct clip {
    struct tower vision, text;
    int64_t patch, image, context, vocab, embed, start_id, end_id;
    struct linear patch_embed, project_image, project_text; /* no bias */
    struct tensor class_token, image_positions, token_table, text_positions, logit_scale;
    struct norm norm_pre, norm_post, norm_final;
};
/* Hidden states for tests and the doctor: [0] before the first layer, [i] after layer i; arrays of layers + 1. NULL:
 * not wanted. */
struct clip_trace {
    struct tensor **states, *last_state, *pooled;
};
struct tensor *clip_encode_image(const struct clip *c, struct tensor *pixels,
                                 struct clip_trace *trace); /* [B,E] before L2 */
struct tensor *clip_encode_text(const struct clip *c, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                struct clip_trace *trace);
/* Position of the end token of each row: first id == end (or, for the old configs with end 2, the largest id). */
void clip_end_positions(const struct clip *c, const int32_t *ids, int64_t n, int64_t context, int32_t *at);

#endif
