/* model/blip.c: BLIP (Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training", section 3.1): a vision
 * transformer beside BERT, as HuggingFace writes it down. Two families, told apart by the configuration:
 *
 * retrieval  ITC: class token and [CLS] word, each projected                              -> [B,E]
 *            ITM: [ENC] word of BERT that looks at the picture - 2 logits                 -> [B,2]
 * captions   causal BERT that looks at the picture - transform - word table (tied) + bias -> [B,L,K]
 *
 * Details that have caused bugs elsewhere: the first word is [CLS] for ITC, [ENC] for ITM in training and evaluation
 * (transformers' class leaves [CLS], with other logits), [DEC] for captions, and these are the last two ids of the
 * vocabulary, not the configuration's eos; a caption ends at [SEP]; the norms of words and picture have different
 * epsilons (blip_config.c); the word table is the output layer as well, stored twice, once or under either name. */
#include "model/blip.h"

#include <string.h>

/* ---- parameters ---- */

/* Letters: V vision width, T text width, E embedding, N image positions, K vocabulary, c channels, p patch, m match. */
#define AT(field) offsetof(struct blip, field)
static const struct param_row vision_rows[] = {
    {"vision_model.embeddings.class_embedding", AT(vision.class_token), "11V", INIT_SMALL},
    {"vision_model.embeddings.position_embedding", AT(vision.positions), "1NV", INIT_SMALL, .grid = 2},
    {"vision_model.embeddings.patch_embedding.weight", AT(vision.patch_embed.w), "Vcpp", INIT_FAN_IN, .flat = true},
    {"vision_model.embeddings.patch_embedding.bias", AT(vision.patch_embed.b), "V", INIT_ZERO},
    {"vision_model.post_layernorm.weight", AT(vision.norm_post.w), "V", INIT_ONE},
    {"vision_model.post_layernorm.bias", AT(vision.norm_post.b), "V", INIT_ZERO},
};
static const struct param_row retrieval_rows[] = {
    {"vision_proj.weight", AT(project_image.w), "EV", INIT_SMALL},
    {"vision_proj.bias", AT(project_image.b), "E", INIT_ZERO},
    {"text_proj.weight", AT(project_text.w), "ET", INIT_SMALL},
    {"text_proj.bias", AT(project_text.b), "E", INIT_ZERO},
    {"itm_head.weight", AT(match.w), "mT", INIT_SMALL},
    {"itm_head.bias", AT(match.b), "m", INIT_ZERO},
};
#define HEAD "text_decoder.cls.predictions."
static const struct param_row caption_rows[] = {
    {HEAD "bias", AT(word_bias), "K", INIT_ZERO},
    {HEAD "transform.dense.weight", AT(transform.w), "TT", INIT_SMALL},
    {HEAD "transform.dense.bias", AT(transform.b), "T", INIT_ZERO},
    {HEAD "transform.LayerNorm.weight", AT(norm_transform.w), "T", INIT_ONE},
    {HEAD "transform.LayerNorm.bias", AT(norm_transform.b), "T", INIT_ZERO},
    {HEAD "decoder.weight", AT(text.words), "KT", INIT_SMALL, .kind = PARAM_ALIAS},
    {HEAD "decoder.bias", AT(word_bias), "K", INIT_ZERO, .kind = PARAM_ALIAS},
};
#undef HEAD
#undef AT

static int bind_parts(struct model *m, struct params *p, const char *text, const struct param_row *rows, int n_rows)
{
    struct blip *b = m->own;
    struct vit *v = &b->vision;
    struct param_sizes s = {
        .letters = "VTENKcpm",
        .sizes = {v->tower.width, b->text.width, b->embed, vit_n_tokens(v), b->text.vocab, 3, v->patch, 2},
        .width = v->tower.width,
    };
    TRY(params_bind(p, m->arena, vision_rows, ARRAY_LEN(vision_rows), b, "", &s));
    TRY(tower_bind(&v->tower, NAMES_BLIP, "vision_model.encoder.layers.", p, m->arena));
    TRY(bert_bind(&b->text, text, p, m->arena));
    return params_bind(p, m->arena, rows, n_rows, b, "", &s);
}

static int bind_retrieval(struct model *m, enum layout l, struct params *p)
{
    (void)l;
    return bind_parts(m, p, "text_encoder.", retrieval_rows, ARRAY_LEN(retrieval_rows));
}

static int bind_caption(struct model *m, enum layout l, struct params *p)
{
    (void)l;
    return bind_parts(m, p, "text_decoder.bert.", caption_rows, ARRAY_LEN(caption_rows));
}

/* ---- pictures and words ---- */

struct tensor *blip_tokens(const struct blip *b, struct tensor *pixels, struct trace *trace)
{
    return t_layer_norm(vit_tokens(&b->vision, pixels, trace), MUTABLE(struct norm, b->vision.norm_post));
}

/* Ids without the columns that are pads in every row, and which words may be seen. */
struct words {
    const int32_t *ids;
    const uint8_t *keep;
    int64_t n, length;
};

/* first: in place of the first id of each row; negative: as it is. NULL in *out.ids: the tape says why. */
static struct words read_words(const struct blip *b, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                               int32_t first, bool whole)
{
    struct words w = {.n = n, .length = whole ? context : 1};
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = context; j > w.length; j--)
            if (ids[i * context + j - 1] != b->pad_id) {
                w.length = j;
                break;
            }
    int32_t *kept = arena_alloc(tape_arena(t), (size_t)(n * w.length) * sizeof *kept);
    uint8_t *keep = arena_alloc(tape_arena(t), (size_t)(n * w.length));
    if (!kept || !keep)
        return (struct words){0};
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < w.length; j++) {
            int32_t id = ids[i * context + j];
            kept[i * w.length + j] = j == 0 && first >= 0 ? first : id;
            keep[i * w.length + j] = j == 0 || id != b->pad_id;
        }
    w.ids = kept;
    w.keep = keep;
    return w;
}

/* ---- retrieval ---- */

static struct tensor *image_vector(const struct model *m, struct tensor *pixels, struct trace *trace)
{
    const struct blip *b = m->own;
    return t_linear(vit_class(&b->vision, pixels, trace), MUTABLE(struct linear, b->project_image)); /* [B,E] */
}

struct tensor *blip_encode_text(const struct blip *b, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                struct trace *trace)
{
    struct words w = read_words(b, t, ids, n, context, -1, trace != NULL);
    if (!w.ids)
        return NULL;
    struct bert_pass pass = {.sight = {.key_keep = w.keep}, .row = 0, .trace = trace};
    struct tensor *x = bert_run(&b->text, t, w.ids, n, w.length, &pass); /* [n,T] */
    return t_linear(x, MUTABLE(struct linear, b->project_text));         /* [n,E] */
}

static struct tensor *features_image(const struct model *m, struct tensor *pixels, struct tensor **features)
{
    const struct blip *b = m->own;
    return t_linear(*features = vit_class(&b->vision, pixels, NULL), MUTABLE(struct linear, b->project_image));
}

static struct tensor *features_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                    int64_t context, struct tensor **features)
{
    const struct blip *b = m->own;
    struct words w = read_words(b, t, ids, n, context, -1, false);
    if (!w.ids)
        return NULL;
    struct bert_pass pass = {.sight = {.key_keep = w.keep}, .row = 0};
    return t_linear(*features = bert_run(&b->text, t, w.ids, n, w.length, &pass),
                    MUTABLE(struct linear, b->project_text));
}

static const struct linear *last_product(const struct model *m, bool text)
{
    const struct blip *b = m->own;
    return text ? &b->project_text : &b->project_image;
}

struct tensor *blip_match(const struct blip *b, struct tensor *tokens, const int32_t *ids, int64_t context, bool enc,
                          struct trace *trace)
{
    struct caption_memory memory;
    if (!tokens || bert_look(&b->text, tokens, &memory) < 0)
        return NULL;
    int64_t n = tokens->shape[0];
    struct words w = read_words(b, tokens->tape, ids, n, context, enc ? b->enc_id : -1, trace != NULL);
    if (!w.ids)
        return NULL;
    struct bert_pass pass = {.sight = {.key_keep = w.keep}, .memory = &memory, .row = 0, .trace = trace};
    struct tensor *x = bert_run(&b->text, tokens->tape, w.ids, n, w.length, &pass); /* [n,T] */
    return t_linear(x, MUTABLE(struct linear, b->match));                           /* [n,2] */
}

static struct tensor *encode_image(const struct model *m, struct tensor *pixels)
{
    return image_vector(m, pixels, NULL);
}

static struct tensor *encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return blip_encode_text(m->own, t, ids, n, context, NULL);
}

static struct tensor *trace_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                 struct trace *trace)
{
    return blip_encode_text(m->own, t, ids, n, context, trace);
}

/* The softmax of two logits is the sigmoid of their difference. */
static struct tensor *match(const struct model *m, struct tensor *pixels, const int32_t *ids, int64_t context)
{
    const struct blip *b = m->own;
    struct tensor *x = blip_match(b, blip_tokens(b, pixels, NULL), ids, context, true, NULL);
    x = t_sub(t_slice(x, 1, 1, 1), t_slice(x, 1, 0, 1)); /* [B,1] */
    return x ? t_reshape(x, SHAPE(x->shape[0])) : NULL;
}

static bool retrieval_accepts(enum layout l, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return l == LAYOUT_HF && type && !strcmp(type, "blip") && !blip_is(config, "BlipForConditionalGeneration");
}

static int retrieval_build(struct model *m, const json_t *config, const char *where)
{
    TRY(blip_build(m, config, where, "BlipForImageTextRetrieval"));
    m->embed = ((struct blip *)m->own)->embed;
    return 0;
}

const struct model_family family_blip_itm = {
    .name = "blip_itm",
    .help = "BLIP for retrieval (HuggingFace BlipForImageTextRetrieval)",
    .layouts = 1u << LAYOUT_HF,
    .accepts = retrieval_accepts,
    .build = retrieval_build,
    .bind = bind_retrieval,
    .encode_image = encode_image,
    .encode_text = encode_text,
    .trace_image = image_vector,
    .trace_text = trace_text,
    .features_image = features_image,
    .features_text = features_text,
    .last_product = last_product,
    .match = match,
};

/* ---- captions ---- */

/* Words' hidden states [..,T] -> logits [..,K]. */
static struct tensor *word_logits(const struct blip *b, struct tensor *x)
{
    x = t_linear_act(x, MUTABLE(struct linear, b->transform), b->text.act);
    x = t_layer_norm(x, MUTABLE(struct norm, b->norm_transform));
    return t_linear_wb(x, MUTABLE(struct tensor, b->text.words), MUTABLE(struct tensor, b->word_bias), ACT_NONE);
}

struct tensor *blip_words(const struct blip *b, struct tensor *tokens, const int32_t *ids, int64_t n, int64_t context)
{
    struct caption_memory memory;
    if (!tokens || bert_look(&b->text, tokens, &memory) < 0)
        return NULL;
    struct words w = read_words(b, tokens->tape, ids, n, context, b->dec_id, true);
    if (!w.ids)
        return NULL;
    struct bert_pass pass = {.sight = {.causal = true, .key_keep = w.keep}, .memory = &memory, .row = BERT_ALL};
    return word_logits(b, bert_run(&b->text, tokens->tape, w.ids, n, w.length, &pass)); /* [n,context,K] */
}

/* Position j says the word at j + 1, so the last row of each text is not computed into logits' loss. */
static struct tensor *caption_loss(const struct model *m, struct tensor *pixels, const int32_t *ids, int64_t n,
                                   int64_t context, int64_t n_given, double smoothing)
{
    const struct blip *b = m->own;
    if (!pixels)
        return NULL;
    struct words w = read_words(b, pixels->tape, ids, n, context, -1, false);
    int32_t *labels = arena_alloc(tape_arena(pixels->tape), (size_t)(n * w.length) * sizeof *labels);
    if (!w.ids || !labels)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < w.length; j++) {
            int32_t next = j + 1 < w.length ? w.ids[i * w.length + j + 1] : b->pad_id;
            labels[i * w.length + j] = next == b->pad_id || j + 1 < n_given ? -1 : next;
        }
    struct tensor *logits = blip_words(b, blip_tokens(b, pixels, NULL), w.ids, n, w.length);
    return t_cross_entropy(logits, labels, smoothing);
}

static int see(const struct model *m, struct tensor *pixels, struct caption_memory *out)
{
    const struct blip *b = m->own;
    struct tensor *tokens = blip_tokens(b, pixels, NULL);
    if (!tokens)
        return pixels ? tape_status(pixels->tape) : ERR_MEMORY;
    return bert_look(&b->text, tokens, out);
}

static struct tensor *speak(const struct model *m, const struct caption_memory *memory, struct tape *t,
                            const int32_t *ids, int64_t n, int64_t length, bool last)
{
    const struct blip *b = m->own;
    struct bert_pass pass = {.sight = {.causal = true}, .memory = memory, .row = last ? length - 1 : BERT_ALL};
    return word_logits(b, bert_run(&b->text, t, ids, n, length, &pass));
}

/* [DEC] and the words that the authors' captioner was trained behind; without a tokenizer, [DEC] alone. */
static int64_t prompt(const struct model *m, int32_t *ids, int64_t max)
{
    const struct blip *b = m->own;
    int32_t *words = NULL;
    int64_t n = 0;
    if (m->tokenizer)
        TRY(tokenizer_encode(m->tokenizer, "a picture of ", &words, &n));
    n = n < max - 1 ? n : max - 1;
    ids[0] = b->dec_id;
    if (n > 0)
        memcpy(ids + 1, words, (size_t)n * sizeof *ids);
    mem_free(words);
    return n + 1;
}

static int32_t end_id(const struct model *m)
{
    return ((const struct blip *)m->own)->end_id;
}

static int32_t pad_id(const struct model *m)
{
    return ((const struct blip *)m->own)->pad_id;
}

static bool caption_accepts(enum layout l, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return l == LAYOUT_HF && type && !strcmp(type, "blip") && blip_is(config, "BlipForConditionalGeneration");
}

static int caption_build(struct model *m, const json_t *config, const char *where)
{
    return blip_build(m, config, where, "BlipForConditionalGeneration");
}

static const struct captioner captioner = {
    .see = see,
    .speak = speak,
    .prompt = prompt,
    .end_id = end_id,
    .pad_id = pad_id,
    .max_length = 20,
};

const struct model_family family_blip_caption = {
    .name = "blip_caption",
    .help = "BLIP captioner (HuggingFace BlipForConditionalGeneration)",
    .layouts = 1u << LAYOUT_HF,
    .accepts = caption_accepts,
    .build = caption_build,
    .bind = bind_caption,
    .caption_loss = caption_loss,
    .captioner = &captioner,
};
