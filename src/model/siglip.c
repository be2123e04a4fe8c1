/* model/siglip.c: SigLIP (Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training") and SigLIP 2 of fixed
 * picture size, in HuggingFace's layout (SiglipModel).
 *
 *   pixels [B,3,H,W] - patches (with bias) + positions - blocks - norm - attention pool            -> [B,V]
 *   ids [B,L]        - token table + positions - blocks that see all - norm - last row - linear    -> [B,V]
 *
 * The pool is one learned query ("probe") that attends to all patches, then a residual MLP. What has caused bugs: there
 * is no causal mask and no padding mask, so the pads are part of the input, texts must be padded to the full context
 * with the tokenizer's pad id, and the row that is read is the last one; GELU is the approximation by tanh; LayerNorm's
 * eps is 1e-6; configurations leave fields out that have the format's default values. SigLIP 2 with NaFlex (model_type
 * siglip2, pictures of any shape) cuts its patches differently and is not read. */
#include "model/siglip.h"

#include "model/layer.h"

#include <string.h>

struct map_head {
    struct tensor probe;      /* [V] */
    struct tensor in_w, in_b; /* [3V,V], [3V]: q, k, v */
    struct linear out, fc1, fc2;
    struct norm norm;
};
struct siglip {
    struct vit vision;
    struct text_tower text;
    struct map_head head;
    struct linear project_text;
    struct tensor logit_scale, logit_bias;
};

/* ---- parameters ---- */

/* Letters: V and T widths, W and M: three vision widths, vision MLP; N image positions, L text positions, K vocabulary.
 */
static const char letters[] = "VTWMNLKcp";

#define AT(field) offsetof(struct siglip, field)
static const struct param_row vision_rows[] = {
    {"vision_model.embeddings.patch_embedding.weight", AT(vision.patch_embed.w), "Vcpp", INIT_FAN_IN, .flat = true},
    {"vision_model.embeddings.patch_embedding.bias", AT(vision.patch_embed.b), "V", INIT_ZERO},
    {"vision_model.embeddings.position_embedding.weight", AT(vision.positions), "NV", INIT_WIDTH, .grid = 1},
    {"vision_model.post_layernorm.weight", AT(vision.norm_post.w), "V", INIT_ONE},
    {"vision_model.post_layernorm.bias", AT(vision.norm_post.b), "V", INIT_ZERO},
    {"vision_model.head.probe", AT(head.probe), "11V", INIT_WIDTH},
    {"vision_model.head.attention.in_proj_weight", AT(head.in_w), "WV", INIT_WIDTH},
    {"vision_model.head.attention.in_proj_bias", AT(head.in_b), "W", INIT_ZERO},
    {"vision_model.head.attention.out_proj.weight", AT(head.out.w), "VV", INIT_WIDTH},
    {"vision_model.head.attention.out_proj.bias", AT(head.out.b), "V", INIT_ZERO},
    {"vision_model.head.layernorm.weight", AT(head.norm.w), "V", INIT_ONE},
    {"vision_model.head.layernorm.bias", AT(head.norm.b), "V", INIT_ZERO},
    {"vision_model.head.mlp.fc1.weight", AT(head.fc1.w), "MV", INIT_MLP},
    {"vision_model.head.mlp.fc1.bias", AT(head.fc1.b), "M", INIT_ZERO},
    {"vision_model.head.mlp.fc2.weight", AT(head.fc2.w), "VM", INIT_OUT},
    {"vision_model.head.mlp.fc2.bias", AT(head.fc2.b), "V", INIT_ZERO},
};
static const struct param_row text_rows[] = {
    {"text_model.embeddings.token_embedding.weight", AT(text.token_table), "KT", INIT_SMALL},
    {"text_model.embeddings.position_embedding.weight", AT(text.positions), "LT", INIT_TINY},
    {"text_model.final_layer_norm.weight", AT(text.norm_final.w), "T", INIT_ONE},
    {"text_model.final_layer_norm.bias", AT(text.norm_final.b), "T", INIT_ZERO},
    {"text_model.head.weight", AT(project_text.w), "VT", INIT_WIDTH},
    {"text_model.head.bias", AT(project_text.b), "V", INIT_ZERO},
    {"logit_scale", AT(logit_scale), "1", INIT_ONE},
    {"logit_bias", AT(logit_bias), "1", INIT_ZERO},
};
#undef AT

static int siglip_bind(struct model *m, enum layout l, struct params *p)
{
    (void)l;
    struct siglip *s = m->own;
    int64_t v = s->vision.tower.width;
    struct param_sizes z = {.letters = letters,
                            .sizes = {v, s->text.tower.width, 3 * v, s->vision.tower.mlp, vit_n_tokens(&s->vision),
                                      s->text.context, s->text.vocab, 3, s->vision.patch},
                            .width = v,
                            .layers = s->vision.tower.layers};
    TRY(params_bind(p, m->arena, vision_rows, ARRAY_LEN(vision_rows), s, "", &z));
    TRY(tower_bind(&s->vision.tower, NAMES_HF, "vision_model.encoder.layers.", p, m->arena));
    z.width = s->text.tower.width;
    TRY(params_bind(p, m->arena, text_rows, ARRAY_LEN(text_rows), s, "", &z));
    return tower_bind(&s->text.tower, NAMES_HF, "text_model.encoder.layers.", p, m->arena);
}

/* ---- building ---- */

static bool siglip_accepts(enum layout l, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return l == LAYOUT_HF && type && !strcmp(type, "siglip");
}

/* The format's defaults are those of the base model. */
static int read_config(struct siglip *s, const json_t *config, int64_t image, const char *file)
{
    const struct tower base = {.width = 768, .layers = 12, .heads = 12, .mlp = 3072, .act = ACT_GELU_TANH};
    const json_t *vision, *text;
    char where[1024];
    TRY(config_section(config, "vision_config", file, &vision));
    TRY(config_section(config, "text_config", file, &text));
    s->vision.tower = s->text.tower = base;
    s->vision.image = 224;
    s->vision.patch = 16;
    snprintf(where, sizeof where, "%s: vision_config", file);
    TRY(tower_read_hf(&s->vision.tower, vision, 1e-6, where));
    TRY(vit_read_sizes(&s->vision, vision, image, where));
    snprintf(where, sizeof where, "%s: text_config", file);
    TRY(tower_read_hf(&s->text.tower, text, 1e-6, where));
    s->text.context = 64;
    s->text.vocab = 32000;
    TRY(json_field_int(text, "max_position_embeddings", false, 2, 65536, &s->text.context, where));
    TRY(json_field_int(text, "vocab_size", false, 2, 10000000, &s->text.vocab, where));
    int64_t width = s->text.tower.width;
    TRY(json_field_int(text, "projection_size", false, 1, limit_get(LIMIT_WIDTH), &width, where));
    if (width != s->vision.tower.width)
        FAIL(ERR_DATA, "%s: field \"projection_size\" is %lld, expected the width of the pictures' side (%lld)", where,
             (long long)width, (long long)s->vision.tower.width);
    return 0;
}

static int siglip_build(struct model *m, const json_t *config, const char *where)
{
    struct siglip *s = arena_calloc(m->arena, 1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    TRY(read_config(s, config, m->image_size, where));
    s->vision.patch_embed.has_bias = s->vision.patch_bias = s->vision.has_post = true;
    s->vision.norm_post.eps = s->head.norm.eps = s->vision.tower.eps;
    s->text.norm_final.eps = s->text.tower.eps;
    s->head.out.has_bias = s->head.fc1.has_bias = s->head.fc2.has_bias = s->project_text.has_bias = true;
    TRY(tower_make(&s->vision.tower, m->arena));
    TRY(tower_make(&s->text.tower, m->arena));
    model_note_arithmetic(m, s->vision.tower.heads, s->vision.tower.eps, s->vision.tower.act);
    model_note_arithmetic(m, s->text.tower.heads, s->text.tower.eps, s->text.tower.act);
    m->own = s;
    m->image_size = s->vision.image;
    m->context = s->text.context;
    m->vocab_size = s->text.vocab;
    m->embed = s->vision.tower.width;
    m->logit_scale = &s->logit_scale;
    m->logit_bias = &s->logit_bias;
    return 0;
}

/* ---- forward ---- */

/* Rows part, part + 1, … of the packed product: 0 q, 1 k, 2 v. */
static struct tensor *part_of(const struct siglip *s, struct tensor *x, int64_t part)
{
    int64_t v = s->vision.tower.width;
    struct tensor *w = t_slice(t_use(x->tape, MUTABLE(struct tensor, s->head.in_w)), 0, part * v, v);
    struct tensor *b = t_slice(t_use(x->tape, MUTABLE(struct tensor, s->head.in_b)), 0, part * v, v);
    return t_linear_wb(x, w, b, ACT_NONE);
}

static struct tensor *pool(const struct siglip *s, struct tensor *x, struct tensor **features)
{
    if (!x)
        return NULL;
    int64_t n = x->shape[0], v = s->vision.tower.width;
    struct tensor *each = t_new(x->tape, SHAPE(n, 1, v)); /* the probe once a picture */
    if (!each)
        return NULL;
    memset(each->data, 0, (size_t)each->n * dtype_size(tape_engine(x->tape)->real));
    struct tensor *q = t_add(each, t_use(x->tape, MUTABLE(struct tensor, s->head.probe))); /* [B,1,V] */
    if (!q)
        return NULL;
    struct attention_opt opt = {.heads = s->vision.tower.heads};
    struct tensor *h = t_attention(part_of(s, q, 0), part_of(s, x, 1), part_of(s, x, 2), opt);
    h = t_linear(h, MUTABLE(struct linear, s->head.out));
    struct tensor *y = t_linear_act(t_layer_norm(h, MUTABLE(struct norm, s->head.norm)),
                                    MUTABLE(struct linear, s->head.fc1), s->vision.tower.act);
    if (y && features)
        *features = t_reshape(y, SHAPE(n, y->shape[2]));
    return t_reshape(t_add(h, t_linear(y, MUTABLE(struct linear, s->head.fc2))), SHAPE(n, v)); /* [B,V] */
}

static struct tensor *trace_image(const struct model *m, struct tensor *pixels, struct trace *trace)
{
    const struct siglip *s = m->own;
    struct tensor *x = vit_tokens(&s->vision, pixels, trace); /* [B,N,V] */
    x = t_layer_norm(x, MUTABLE(struct norm, s->vision.norm_post));
    if (trace)
        trace->last_state = x;
    return pool(s, x, NULL);
}

/* The last product of a picture is the pool's second, beside which the attention's result passes by. */
static struct tensor *features_image(const struct model *m, struct tensor *pixels, struct tensor **features)
{
    const struct siglip *s = m->own;
    return pool(s, t_layer_norm(vit_tokens(&s->vision, pixels, NULL), MUTABLE(struct norm, s->vision.norm_post)),
                features);
}

static struct tensor *text_vector(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                  int64_t context, struct trace *trace, struct tensor **features)
{
    const struct siglip *s = m->own;
    int32_t *last = arena_alloc(tape_arena(t), (size_t)n * sizeof *last);
    if (!last)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        last[i] = (int32_t)context - 1;
    struct tensor *x = text_row(&s->text, t, ids, n, context, last, trace); /* [B,T] */
    if (features)
        *features = x;
    return t_linear(x, MUTABLE(struct linear, s->project_text)); /* [B,V] */
}

static struct tensor *trace_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                 struct trace *trace)
{
    return text_vector(m, t, ids, n, context, trace, NULL);
}

static struct tensor *features_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                    int64_t context, struct tensor **features)
{
    return text_vector(m, t, ids, n, context, NULL, features);
}

static const struct linear *last_product(const struct model *m, bool text)
{
    const struct siglip *s = m->own;
    return text ? &s->project_text : &s->head.fc2;
}

static struct tensor *encode_image(const struct model *m, struct tensor *pixels)
{
    return trace_image(m, pixels, NULL);
}

static struct tensor *encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return text_vector(m, t, ids, n, context, NULL, NULL);
}

const struct model_family family_siglip = {
    .name = "siglip",
    .help = "SigLIP and SigLIP 2 of fixed picture size (HuggingFace SiglipModel)",
    .layouts = 1u << LAYOUT_HF,
    .accepts = siglip_accepts,
    .build = siglip_build,
    .bind = siglip_bind,
    .encode_image = encode_image,
    .encode_text = encode_text,
    .trace_image = trace_image,
    .trace_text = trace_text,
    .features_image = features_image,
    .features_text = features_text,
    .last_product = last_product,
};
