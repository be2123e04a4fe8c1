/* model/model.h: the door of room model (level 3). Layers, encoder families, weight names, loading, saving, captions.
 *
 * A model is a family (one file, one row in model_list.h) plus its parameters. Parameters are a table (param_row): path
 * of the weight in the file, field of the struct, shape, initial value; init, load, save, count and optimiser groups
 * all read it. A family has one such table for every layout in which people keep its weights; the tensors, and their
 * order in the slab, are the same for all of them, so that converting is binding the other table and saving.
 * All numbers lie in one slab, gradients in a second one that exists only while training. */
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
enum param_kind {
    PARAM_TRAINED,
    PARAM_BUFFER,  /* a running statistic: saved, never trained */
    PARAM_COUNTER, /* likewise, a whole number in the file (I64) */
    PARAM_ALIAS,   /* second name of a tensor bound before (tied weights); a file may leave it out */
};
struct param {
    char *path;            /* name in the weight file */
    struct tensor *tensor; /* the tensor it is (part of) */
    enum param_kind kind;
    int n_dims;
    int64_t shape[IO_MAX_DIMS], n; /* as stored in the file */
    bool transposed;               /* the file has it [in, out], the tensor is [out, in] */
    int64_t grid;                  /* 1 + rows before a square grid of positions; 0: no positions */
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
    struct arena *memory; /* both slabs */
};
int params_want_grad(struct params *p); /* allocates the gradient slab, sets needs_grad of every trained tensor */
void params_zero_grad(struct params *p);
void *params_data(const struct params *p, const struct param *q);
void *params_grad(const struct params *p, const struct param *q);
/* Numbers of a row out of a slab (data, gradients, moments) as the file has them: order, dtype. out [q->n]. */
int params_export(const struct params *p, const struct param *q, const void *slab, enum dtype dtype, void *out);

/* ---- model folders (source.c) ---- */

/* How configuration and weights are written down. */
enum layout {
    LAYOUT_HF,        /* HuggingFace: config.json, model.safetensors or its sharded index */
    LAYOUT_OPEN_CLIP, /* open_clip_config.json, open_clip_model.safetensors */
    LAYOUT_OPENAI, /* OpenAI's state dict as safetensors, with a flat config.json ("architecture": "openai CLIP …") */
    N_LAYOUTS
};
const char *layout_name(enum layout l); /* "hf", "open_clip", "openai" */

/* One name space over the weight files of a folder; mapped, not read. */
struct weight_files {
    int n;
    struct st_file **v;
    char *path; /* what messages name: the one file, or the index */
};
const struct st_tensor *weight_find(const struct weight_files *w, const char *name); /* NULL when absent */
int64_t weight_count(const struct weight_files *w);
const struct st_tensor *weight_at(const struct weight_files *w, int64_t i);

/* A folder as found, before a model is built. Pickles are refused with the advice how to convert them. */
struct model_source {
    enum layout layout;
    char dir[2048], config_path[2100];
    json_t *config; /* parsed config_path */
    struct weight_files weights;
};
int source_open(struct model_source *s, const char *dir);
void source_close(struct model_source *s);
bool source_is_pickle(const char *name);     /* by its suffix */
int source_refuse_pickle(const char *path); /* ERR_UNSUPPORTED with the advice */

/* ---- models (model.c; families in model_list.h) ---- */

struct model;
struct captioner;
struct trace;
struct model_family {
    const char *name, *help;
    unsigned layouts; /* in which it can be written: bits 1 << LAYOUT_… */
    bool (*accepts)(enum layout l, const json_t *config);
    int (*build)(struct model *m, const json_t *config,
                 const char *where); /* by m->layout: fills m->own and the sizes */
    /* The rows of a layout, in the same order of tensors for each. Called by build's caller for m->layout, and to
     * save in another one. */
    int (*bind)(struct model *m, enum layout l, struct params *p);
    /* A config for another layout than the one that was read. NULL: the family has one layout. */
    int (*config)(const struct model *m, enum layout l, json_t **out);
    /* [B,3,H,W] -> [B,E], not normalised. NULL (and encode_text too): no common space, as a mere captioner. */
    struct tensor *(*encode_image)(const struct model *m, struct tensor *pixels);
    struct tensor *(*encode_text)(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                  int64_t context);
    /* The same with what lies on the way, for the doctor; NULL: not offered. */
    struct tensor *(*trace_image)(const struct model *m, struct tensor *pixels, struct trace *trace);
    struct tensor *(*trace_text)(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                 struct trace *trace);
    /* As encode_…, and in *features what the last product of that side is given, [B,F]; NULL: not offered.
     * last_product: that product's weights, NULL when this model's side does not end in one. */
    struct tensor *(*features_image)(const struct model *m, struct tensor *pixels, struct tensor **features);
    struct tensor *(*features_text)(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                    int64_t context, struct tensor **features);
    const struct linear *(*last_product)(const struct model *m, bool text);
    /* Logit that picture i and text i match, [B] (BLIP's ITM head); NULL: none. pixels [B,3,H,W]. */
    struct tensor *(*match)(const struct model *m, struct tensor *pixels, const int32_t *ids, int64_t context);
    /* Mean cross entropy of the next token over the ids [n,context] that are no pads and lie behind the first n_given
     * (a prompt is given, not learned; 0: all count). pixels [n,3,H,W] -> []; NULL: it cannot speak. */
    struct tensor *(*caption_loss)(const struct model *m, struct tensor *pixels, const int32_t *ids, int64_t n,
                                   int64_t context, int64_t n_given, double smoothing);
    void (*train_mode)(struct model *m, bool training); /* batch statistics; NULL: nothing depends on it */
    const struct captioner *captioner;                  /* NULL: it cannot speak */
};
struct model {
    const struct model_family *family;
    const struct engine *engine;
    enum layout layout;
    char *path, *name;
    json_t *config;
    int64_t image_size, context, vocab_size, embed;
    struct params params;
    struct tensor *logit_scale;  /* the stored logarithm; NULL when the family has none */
    struct tensor *logit_bias;   /* of the sigmoid loss (SigLIP); NULL when the family has none */
    struct tokenizer *tokenizer; /* NULL when the folder has none */
    struct preprocess preprocess;
    struct arena *arena;
    struct tape *plain[2]; /* for the model_embed_ functions, one a dtype: their memory is kept between calls */
    bool batch_statistics; /* model_train_mode */
    char arithmetic[256];  /* of each tower what its weights do not say: heads, epsilon, activation */
    void *own;             /* struct clip … */
};

struct model_opt {
    int64_t image_size; /* other than the configuration's: position embeddings are interpolated; 0: as it says */
};
/* dir: a HuggingFace or open_clip folder, a run folder (its model/ is taken) or the name of a shipped model ("emoji").
 */
int model_open(struct model **m, const char *path, const struct engine *e);
int model_open_opt(struct model **m, const char *path, const struct model_opt *opt, const struct engine *e);
/* Fresh weights by the family's rule, from a parsed config.json. tokenizer is taken over (may be NULL). */
int model_init(struct model **m, const json_t *config, const char *where, struct tokenizer **tokenizer,
               const struct engine *e, uint64_t seed);
/* Writes configuration, weights (F32, F16 or BF16), tokenizer and preprocessing into an existing folder, in the layout
 * that was read; model_save_as in another one (ERR_UNSUPPORTED when the family has no such layout). */
int model_save(const struct model *m, const char *dir, enum dtype dtype);
int model_save_as(struct model *m, const char *dir, enum dtype dtype, enum layout layout);
void model_close(struct model **m);
/* Trained numbers of a model of this configuration; asks for no memory for them. */
int model_count(enum layout l, const json_t *config, const char *where, int64_t *n_trained);
/* SHA-256 over weights, arithmetic, preprocessing and tokenizer; computed anew at every call. */
int model_fingerprint(const struct model *m, char out[65]);
double model_logit_scale(const struct model *m);       /* exp, clamped to [1, 100]; 0 when there is none */
int model_find(char *out, size_t n, const char *name); /* folder of a model path or shipped name */
/* Batch statistics (ModifiedResNet), which every pass adds to the running ones, or the running ones; the latter after
 * opening, and in training unless this is called (docs/models/clip.md). */
void model_train_mode(struct model *m, bool training);

int model_check_space(const struct model *m); /* ERR_UNSUPPORTED when the family has no common space */
/* Unit-length embeddings on the caller's tape, of a model with a common space. */
struct tensor *model_encode_image(const struct model *m, struct tensor *pixels);
struct tensor *model_encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context);

/* Pictures that pass the towers at once where nothing else decides it: a layer of so few stays in the processor's cache
 * (SPEED.md). */
enum { MODEL_GRAIN = 16 };
/* pixels [n,3,H,W] as an input of the tape: in place, or widened on a double engine. */
struct tensor *model_pixels(const struct model *m, struct tape *t, const float *pixels, int64_t n);

/* Whole arrays, in chunks, without gradients (one caller at a time): pixels [n,3,H,W] or ids [n,context] -> out [n,
 * embed] unit length. ERR_UNSUPPORTED for a model without a common space. */
int model_embed_pixels(struct model *m, const float *pixels, int64_t n, bool low, float *out);
int model_embed_ids(struct model *m, const int32_t *ids, int64_t n, int64_t context, bool low, float *out);
/* Captions: tokenizes, sorts by length, embeds. *n_truncated counts captions over the context. */
int model_embed_texts(struct model *m, const char *const *texts, int64_t n, bool low, float *out, int64_t *n_truncated);
/* The last learned product of a side: embedding = product of the features, then unit length. */
struct model_last {
    int64_t width, n_weights; /* features; weights and biases */
    bool bias;
    double square; /* sum of their squares */
};
/* ERR_UNSUPPORTED, the family named, when the side does not end in such a product. */
int model_last(const struct model *m, bool text, struct model_last *out);
/* Rows with what came before: unit [n, embed], features [n, width], lengths [n] of the embeddings before they were
 * brought to unit length. */
struct model_rows {
    float *unit, *features, *lengths;
};
int model_features_pixels(struct model *m, const float *pixels, int64_t n, bool low, const struct model_rows *out);
int model_features_texts(struct model *m, const char *const *texts, int64_t n, bool low, const struct model_rows *out,
                         int64_t *n_truncated);
/* Logit that picture i and text i match, out [n]. ERR_UNSUPPORTED for a family without such a head. */
int model_match(struct model *m, const float *pixels, const int32_t *ids, int64_t n, int64_t context, bool low,
                float *out);

/* ---- captions (caption.c) ---- */

/* What a family gives so that it can speak. A memory is what the decoder looks at: one or more tensors [B, ...], made
 * once a picture (keys and values of the cross attention), so that a step of the search costs only the words.
 * Words come with n = B x beams rows, the beams of a picture next to each other; no row of the cross attention sees
 * another, so the queries of all beams of a picture are one longer list: [B x beams, L, D] seen as [B, beams x L, D]
 * (layer_cross_attention). Nothing is copied for the beams. */
enum { CAPTION_MEMORY_MAX = 128 };
struct caption_memory {
    int n;
    struct tensor *v[CAPTION_MEMORY_MAX];
};
struct captioner {
    int (*see)(const struct model *m, struct tensor *pixels, struct caption_memory *out);
    /* Logits of the token after each position: ids [n,L] -> [n,L,K]; last: of the last position alone, [n,K]. */
    struct tensor *(*speak)(const struct model *m, const struct caption_memory *memory, struct tape *t,
                            const int32_t *ids, int64_t n, int64_t length, bool last);
    /* Ids every caption begins with (start token, BLIP's prompt); writes at most max, returns how many. */
    int64_t (*prompt)(const struct model *m, int32_t *ids, int64_t max);
    int32_t (*end_id)(const struct model *m);
    int32_t (*pad_id)(const struct model *m);
    int64_t min_length, max_length; /* the usual ones: ids in all */
};
struct caption_opt {
    int64_t beam;                   /* 1: greedy */
    int64_t min_length, max_length; /* ids in all, prompt and end included; 0: the family's usual */
    double length_penalty;          /* beam: log probability / words^penalty; transformers' default 1 */
    double repetition_penalty;      /* above 1: ids that are there already become less likely; 0 or 1: off */
    const int32_t *prompt;          /* in place of the family's; NULL. Its first id is the start token */
    int64_t n_prompt;
};
/* Fills what is 0 or NULL by the family's usual. prompt: room for the family's prompt [m->context]. ERR_UNSUPPORTED for
 * a model that cannot speak, ERR_USAGE for numbers that do not fit the model. */
int model_caption_defaults(const struct model *m, struct caption_opt *opt, int32_t *prompt);
/* Start token and the ids of `text` ("" for the start token alone) as a prompt. ids [m->context], *n of them. */
int model_caption_prompt(const struct model *m, const char *text, int32_t *ids, int64_t *n);
/* ids [n, max_length] padded with the pad id; lengths [n]; scores [n] (may be NULL): log probability of the words
 * behind the prompt, end included, divided by their number (beam: to the power of length_penalty). */
int model_caption(struct model *m, const float *pixels, int64_t n, const struct caption_opt *opt, bool low,
                  int32_t *ids, int64_t *lengths, double *scores);
/* The words of a caption, without start, end and pads. ids: behind the prompt when it is not wanted. */
int model_caption_text(const struct model *m, const int32_t *ids, int64_t n, struct str *out);

/* ---- the doctor (doctor.c): a model against the values that travel with it ---- */

#define DOCTOR_FILE "doctor.safetensors"

/* In the order in which a picture or a text passes them; the first wrong one is the fault. */
enum doctor_place {
    DOCTOR_PIXELS,
    DOCTOR_TOKENS,
    DOCTOR_IMAGE_FIRST,
    DOCTOR_TEXT_FIRST,
    DOCTOR_IMAGE,
    DOCTOR_TEXT,
    N_DOCTOR_PLACES
};
struct doctor_line {
    bool checked, right;
    double worst, bar; /* largest difference (of large states: relative), and what fp32 may differ by */
    const char *why;   /* not checked because */
};
struct doctor_report {
    char made_by[128]; /* whose values they are */
    struct doctor_line lines[N_DOCTOR_PLACES];
};
const char *doctor_place_name(enum doctor_place p);
/* Compares the model with the values of a file. ERR_DATA when the file belongs to another model. */
int doctor_check(struct model *m, const char *path, struct doctor_report *out);
/* Writes DIR/doctor.safetensors from this program's own values; made_by should say so. */
int doctor_write(struct model *m, const char *dir, const char *made_by);

/* ---- parts of families: towers (layer.c, vit.c, text.c) ---- */

/* One pre-norm transformer layer and a stack of them. */
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
/* Hidden states for tests and the doctor: [0] before the first layer, [i] after layer i; arrays of layers + 1, NULL:
 * not wanted. first: after the first layer. */
struct trace {
    struct tensor **states, *first, *last_state, *pooled;
};

/* Vision transformer (Dosovitskiy et al. 2021) in the variants that the families use. */
struct vit {
    struct tower tower;
    int64_t image, patch;
    bool has_class, patch_bias, has_pre, has_post; /* class token; bias of the patch product; norms before and after */
    struct linear patch_embed;
    struct tensor class_token, positions; /* [V], [N (+1),V] */
    struct norm norm_pre, norm_post;
};
/* All tokens after the last layer, closing norm not applied: [B,N,V]. */
struct tensor *vit_tokens(const struct vit *v, struct tensor *pixels, struct trace *trace);
/* The class token after the closing norm, [B,V]; without a trace the last layer is computed for that row alone. */
struct tensor *vit_class(const struct vit *v, struct tensor *pixels, struct trace *trace);

/* CLIP's text transformer, causal or (SigLIP) not. */
struct text_tower {
    struct tower tower;
    int64_t context, vocab;
    bool causal;
    struct tensor token_table, positions;
    struct norm norm_final;
};
/* The row at[b] of each text after the final norm, [B,T]. Causal: positions after the last read one are not computed.
 */
struct tensor *text_row(const struct text_tower *x, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                        const int32_t *at, struct trace *trace);

/* ---- CLIP (clip.c; Radford et al. 2021) ---- */

struct resnet; /* resnet.c: OpenAI's ModifiedResNet */
struct clip {
    struct vit vision;
    struct resnet *resnet; /* in place of vision; NULL */
    struct text_tower text;
    int64_t embed, start_id, end_id;
    bool end_is_largest; /* a text is read at its largest id: OpenAI, open_clip, HuggingFace's old configurations */
    bool custom_text;    /* open_clip: names of the text tower begin with "text." */
    struct linear project_image, project_text; /* no bias */
    struct tensor logit_scale;
};
struct tensor *clip_encode_image(const struct clip *c, struct tensor *pixels,
                                 struct trace *trace); /* [B,E] before L2 */
struct tensor *clip_encode_text(const struct clip *c, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                struct trace *trace);
/* Where each row is read: at the first end token, or at the largest id (end_is_largest). */
void clip_end_positions(const struct clip *c, const int32_t *ids, int64_t n, int64_t context, int32_t *at);

/* The parameter table, for what is no encoder but has weights with names (room adapt). */
#include "model/param.h"

#endif
