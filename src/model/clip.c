/* model/clip.c: CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
 * section 2.4 and figure 3): a vision transformer or OpenAI's ModifiedResNet (resnet.c) beside a causal text
 * transformer.
 *
 *   pixels [B,3,H,W] - image tower - projection                                   -> [B,E]
 *   ids [B,L]        - text tower  - norm - row of the end token - projection     -> [B,E]
 *
 * Sizes and names in the layouts are in clip_config.c and here. Details that have caused bugs elsewhere: the activation
 * comes from the configuration and is never guessed; HuggingFace's weight files spell pre_layrnorm; its old
 * configurations say eos_token_id 2 and mean "the largest id"; OpenAI stores projections [in, out]. */
#include "model/clip.h"

#include <string.h>

/* ---- parameters ---- */

/* Letters: V and T widths, E embedding, N image positions, L text positions, K vocabulary, c channels, p patch. */
static const char letters[] = "VTENLKcp";

#define AT(field) offsetof(struct clip, field)
static const struct param_row hf_vision[] = {
    {"vision_model.embeddings.class_embedding", AT(vision.class_token), "V", INIT_WIDTH},
    {"vision_model.embeddings.patch_embedding.weight", AT(vision.patch_embed.w), "Vcpp", INIT_FAN_IN, .flat = true},
    {"vision_model.embeddings.position_embedding.weight", AT(vision.positions), "NV", INIT_WIDTH, .grid = 2},
    {"vision_model.pre_layrnorm.weight", AT(vision.norm_pre.w), "V", INIT_ONE},
    {"vision_model.pre_layrnorm.bias", AT(vision.norm_pre.b), "V", INIT_ZERO},
    {"vision_model.post_layernorm.weight", AT(vision.norm_post.w), "V", INIT_ONE},
    {"vision_model.post_layernorm.bias", AT(vision.norm_post.b), "V", INIT_ZERO},
    {"visual_projection.weight", AT(project_image.w), "EV", INIT_WIDTH},
};
static const struct param_row hf_text[] = {
    {"text_model.embeddings.token_embedding.weight", AT(text.token_table), "KT", INIT_SMALL},
    {"text_model.embeddings.position_embedding.weight", AT(text.positions), "LT", INIT_TINY},
    {"text_model.final_layer_norm.weight", AT(text.norm_final.w), "T", INIT_ONE},
    {"text_model.final_layer_norm.bias", AT(text.norm_final.b), "T", INIT_ZERO},
    {"text_projection.weight", AT(project_text.w), "ET", INIT_WIDTH},
    {"logit_scale", AT(logit_scale), "", INIT_ONE},
};
static const struct param_row openai_vision[] = {
    {"visual.class_embedding", AT(vision.class_token), "V", INIT_WIDTH},
    {"visual.conv1.weight", AT(vision.patch_embed.w), "Vcpp", INIT_FAN_IN, .flat = true},
    {"visual.positional_embedding", AT(vision.positions), "NV", INIT_WIDTH, .grid = 2},
    {"visual.ln_pre.weight", AT(vision.norm_pre.w), "V", INIT_ONE},
    {"visual.ln_pre.bias", AT(vision.norm_pre.b), "V", INIT_ZERO},
    {"visual.ln_post.weight", AT(vision.norm_post.w), "V", INIT_ONE},
    {"visual.ln_post.bias", AT(vision.norm_post.b), "V", INIT_ZERO},
    {"visual.proj", AT(project_image.w), "VE", INIT_WIDTH, .transposed = true},
};
static const struct param_row openai_text[] = {
    {"token_embedding.weight", AT(text.token_table), "KT", INIT_SMALL},
    {"positional_embedding", AT(text.positions), "LT", INIT_TINY},
    {"ln_final.weight", AT(text.norm_final.w), "T", INIT_ONE},
    {"ln_final.bias", AT(text.norm_final.b), "T", INIT_ZERO},
    {"text_projection", AT(project_text.w), "TE", INIT_WIDTH, .transposed = true},
};
static const struct param_row openai_scale[] = {{"logit_scale", AT(logit_scale), "", INIT_ONE}};
#undef AT

static int bind_vision(struct model *m, struct clip *c, bool hf, struct params *p, struct param_sizes *s)
{
    struct tower *t = &c->vision.tower;
    if (c->resnet && hf)
        FAIL(ERR_UNSUPPORTED, "%s: the image tower is a ModifiedResNet, which the layout \"hf\" cannot express",
             m->name ? m->name : "model");
    if (c->resnet)
        return resnet_bind(c->resnet, p, m->arena);
    s->width = t->width;
    TRY(hf ? params_bind(p, m->arena, hf_vision, ARRAY_LEN(hf_vision), c, "", s)
           : params_bind(p, m->arena, openai_vision, ARRAY_LEN(openai_vision), c, "", s));
    return hf ? tower_bind(t, NAMES_HF, "vision_model.encoder.layers.", p, m->arena)
              : tower_bind(t, NAMES_OPENAI, "visual.transformer.resblocks.", p, m->arena);
}

static int clip_bind(struct model *m, enum layout l, struct params *p)
{
    struct clip *c = m->own;
    struct vit *v = &c->vision;
    bool custom = l == LAYOUT_OPEN_CLIP && c->custom_text;
    struct param_sizes s = {.letters = letters,
                            .sizes = {v->tower.width, c->text.tower.width, c->embed, c->resnet ? 0 : vit_n_tokens(v),
                                      c->text.context, c->text.vocab, 3, v->patch}};
    TRY(bind_vision(m, c, l == LAYOUT_HF, p, &s));
    s.width = c->text.tower.width;
    if (l == LAYOUT_HF) {
        TRY(params_bind(p, m->arena, hf_text, ARRAY_LEN(hf_text), c, "", &s));
        return tower_bind(&c->text.tower, NAMES_HF, "text_model.encoder.layers.", p, m->arena);
    }
    TRY(params_bind(p, m->arena, openai_text, ARRAY_LEN(openai_text), c, custom ? "text." : "", &s));
    TRY(params_bind(p, m->arena, openai_scale, ARRAY_LEN(openai_scale), c, "", &s));
    return tower_bind(&c->text.tower, NAMES_OPENAI, custom ? "text.transformer.resblocks." : "transformer.resblocks.",
                      p, m->arena);
}

/* ---- building ---- */

static int clip_build(struct model *m, const json_t *config, const char *where)
{
    struct clip *c = arena_calloc(m->arena, 1, sizeof *c);
    if (!c)
        return ERR_MEMORY;
    TRY(clip_read_config(m, c, config, m->image_size, where));
    c->vision.has_class = c->vision.has_pre = c->vision.has_post = true;
    c->vision.norm_pre.eps = c->vision.norm_post.eps = c->vision.tower.eps;
    c->text.norm_final.eps = c->text.tower.eps;
    c->text.causal = true;
    if (!c->resnet)
        TRY(tower_make(&c->vision.tower, m->arena));
    TRY(tower_make(&c->text.tower, m->arena));
    if (c->resnet)
        model_note_arithmetic(m, c->resnet->heads, c->resnet->eps, ACT_NONE);
    else
        model_note_arithmetic(m, c->vision.tower.heads, c->vision.tower.eps, c->vision.tower.act);
    model_note_arithmetic(m, c->text.tower.heads, c->text.tower.eps, c->text.tower.act);
    m->own = c;
    m->image_size = c->resnet ? c->resnet->image : c->vision.image;
    m->context = c->text.context;
    m->vocab_size = c->text.vocab;
    m->embed = c->embed;
    m->logit_scale = &c->logit_scale;
    return 0;
}

/* ---- forward ---- */

static struct tensor *features_image(const struct model *m, struct tensor *pixels, struct tensor **features)
{
    const struct clip *c = m->own;
    return t_linear(*features = vit_class(&c->vision, pixels, NULL), MUTABLE(struct linear, c->project_image));
}

static struct tensor *features_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                    int64_t context, struct tensor **features)
{
    const struct clip *c = m->own;
    int32_t *at = arena_alloc(tape_arena(t), (size_t)n * sizeof *at);
    if (!at)
        return NULL;
    clip_end_positions(c, ids, n, context, at);
    return t_linear(*features = text_row(&c->text, t, ids, n, context, at, NULL),
                    MUTABLE(struct linear, c->project_text));
}

/* The ModifiedResNet ends in an attention pool, which is not taken apart here. */
static const struct linear *last_product(const struct model *m, bool text)
{
    const struct clip *c = m->own;
    return text ? &c->project_text : c->resnet ? NULL : &c->project_image;
}

struct tensor *clip_encode_image(const struct clip *c, struct tensor *pixels, struct trace *trace)
{
    if (c->resnet) {
        struct resnet_trace *states = NULL, own;
        if (trace)
            states = &own;
        struct tensor *x = resnet_forward(c->resnet, pixels, states);
        if (trace)
            trace->first = own.stem;
        return x;
    }
    return t_linear(vit_class(&c->vision, pixels, trace), MUTABLE(struct linear, c->project_image)); /* [B,E] */
}

void clip_end_positions(const struct clip *c, const int32_t *ids, int64_t n, int64_t context, int32_t *at)
{
    for (int64_t i = 0; i < n; i++) {
        const int32_t *row = ids + i * context;
        int32_t best = 0;
        for (int32_t j = 0; j < context; j++) {
            if (!c->end_is_largest && row[j] == c->end_id) {
                best = j;
                break;
            }
            if (c->end_is_largest && row[j] > row[best])
                best = j;
        }
        at[i] = best;
    }
}

struct tensor *clip_encode_text(const struct clip *c, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                struct trace *trace)
{
    int32_t *at = arena_alloc(tape_arena(t), (size_t)n * sizeof *at);
    if (!at)
        return NULL;
    clip_end_positions(c, ids, n, context, at);
    struct tensor *x = text_row(&c->text, t, ids, n, context, at, trace); /* [B,T] */
    return t_linear(x, MUTABLE(struct linear, c->project_text));          /* [B,E] */
}

static struct tensor *trace_image(const struct model *m, struct tensor *pixels, struct trace *trace)
{
    return clip_encode_image(m->own, pixels, trace);
}

static struct tensor *trace_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                 struct trace *trace)
{
    return clip_encode_text(m->own, t, ids, n, context, trace);
}

static struct tensor *encode_image(const struct model *m, struct tensor *pixels)
{
    return clip_encode_image(m->own, pixels, NULL);
}

static struct tensor *encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return clip_encode_text(m->own, t, ids, n, context, NULL);
}

static void train_mode(struct model *m, bool training)
{
    struct clip *c = m->own;
    if (c->resnet)
        resnet_train_mode(c->resnet, training);
}

const struct model_family family_clip = {
    .name = "clip",
    .help = "CLIP (HuggingFace CLIPModel, open_clip, OpenAI)",
    .layouts = 1u << LAYOUT_HF | 1u << LAYOUT_OPEN_CLIP | 1u << LAYOUT_OPENAI,
    .accepts = clip_accepts,
    .build = clip_build,
    .bind = clip_bind,
    .config = clip_write_config,
    .encode_image = encode_image,
    .encode_text = encode_text,
    .trace_image = trace_image,
    .trace_text = trace_text,
    .features_image = features_image,
    .features_text = features_text,
    .last_product = last_product,
    .train_mode = train_mode,
};
