/* model/clip.c: CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
 * section 2.4 and figure 3) in the layout of HuggingFace's CLIPModel folders.
 *
 *   pixels [B,3,H,W] - patches - + class token, positions - norm - blocks - class token - norm - projection -> [B,E]
 *   ids [B,L]        - token table + positions - causal blocks - norm - end token - projection             -> [B,E]
 *
 * Two exact savings: the causal text tower never computes positions after the last end token of a batch, and the last
 * block of each tower is computed only for the row that is read. Details that have caused bugs elsewhere: the
 * activation comes from the config and is never guessed; the weight file spells pre_layrnorm; old configs say
 * eos_token_id 2 and mean "the largest id". */
#include "model/clip.h"

#include "model/layer.h"
#include "model/param.h"

#include <math.h>
#include <string.h>

/* ---- the parameter table ---- */

/* Letters: V vision width, T text width, D and M width and MLP width of the layer's tower, E embedding, N image
 * positions, L text positions, K vocabulary, c channels, p patch. */
static const char letters[] = "VTDMENLKcp";

#define AT(field) offsetof(struct clip, field)
static const struct param_row vision_rows[] = {
    {"vision_model.embeddings.class_embedding", AT(class_token), "V", INIT_WIDTH},
    {"vision_model.embeddings.patch_embedding.weight", AT(patch_embed.w), "Vcpp", INIT_FAN_IN, .flat = true},
    {"vision_model.embeddings.position_embedding.weight", AT(image_positions), "NV", INIT_WIDTH},
    {"vision_model.pre_layrnorm.weight", AT(norm_pre.w), "V", INIT_ONE},
    {"vision_model.pre_layrnorm.bias", AT(norm_pre.b), "V", INIT_ZERO},
    {"vision_model.post_layernorm.weight", AT(norm_post.w), "V", INIT_ONE},
    {"vision_model.post_layernorm.bias", AT(norm_post.b), "V", INIT_ZERO},
    {"visual_projection.weight", AT(project_image.w), "EV", INIT_WIDTH},
};
static const struct param_row text_rows[] = {
    {"text_model.embeddings.token_embedding.weight", AT(token_table), "KT", INIT_SMALL},
    {"text_model.embeddings.position_embedding.weight", AT(text_positions), "LT", INIT_TINY},
    {"text_model.final_layer_norm.weight", AT(norm_final.w), "T", INIT_ONE},
    {"text_model.final_layer_norm.bias", AT(norm_final.b), "T", INIT_ZERO},
    {"text_projection.weight", AT(project_text.w), "ET", INIT_WIDTH},
    {"logit_scale", AT(logit_scale), "", INIT_ONE},
};
#undef AT
/* Behind "vision_model.encoder.layers.N." or "text_model.encoder.layers.N.". */
#define AT(field) offsetof(struct block, field)
static const struct param_row block_rows[] = {
    {"layer_norm1.weight", AT(norm1.w), "D", INIT_ONE},
    {"layer_norm1.bias", AT(norm1.b), "D", INIT_ZERO},
    {"self_attn.q_proj.weight", AT(qkv.w), "DD", INIT_WIDTH, .part = 0, .parts = 3},
    {"self_attn.k_proj.weight", AT(qkv.w), "DD", INIT_WIDTH, .part = 1, .parts = 3},
    {"self_attn.v_proj.weight", AT(qkv.w), "DD", INIT_WIDTH, .part = 2, .parts = 3},
    {"self_attn.q_proj.bias", AT(qkv.b), "D", INIT_ZERO, .part = 0, .parts = 3},
    {"self_attn.k_proj.bias", AT(qkv.b), "D", INIT_ZERO, .part = 1, .parts = 3},
    {"self_attn.v_proj.bias", AT(qkv.b), "D", INIT_ZERO, .part = 2, .parts = 3},
    {"self_attn.out_proj.weight", AT(out.w), "DD", INIT_OUT},
    {"self_attn.out_proj.bias", AT(out.b), "D", INIT_ZERO},
    {"layer_norm2.weight", AT(norm2.w), "D", INIT_ONE},
    {"layer_norm2.bias", AT(norm2.b), "D", INIT_ZERO},
    {"mlp.fc1.weight", AT(fc1.w), "MD", INIT_MLP},
    {"mlp.fc1.bias", AT(fc1.b), "M", INIT_ZERO},
    {"mlp.fc2.weight", AT(fc2.w), "DM", INIT_OUT},
    {"mlp.fc2.bias", AT(fc2.b), "D", INIT_ZERO},
};
#undef AT

/* ---- config.json ---- */

static bool clip_accepts(const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return type && !strcmp(type, "clip");
}

static int read_tower(struct tower *t, const json_t *o, const char *where)
{
    TRY(json_field_int(o, "hidden_size", true, 1, limit_get(LIMIT_WIDTH), &t->width, where));
    TRY(json_field_int(o, "num_hidden_layers", true, 1, limit_get(LIMIT_LAYERS), &t->layers, where));
    TRY(json_field_int(o, "num_attention_heads", true, 1, 1024, &t->heads, where));
    if (t->width % t->heads)
        FAIL(ERR_DATA, "%s: field \"num_attention_heads\" is %lld, expected a divisor of \"hidden_size\" (%lld)", where,
             (long long)t->heads, (long long)t->width);
    TRY(json_field_int(o, "intermediate_size", true, 1, 16 * limit_get(LIMIT_WIDTH), &t->mlp, where));
    t->eps = 1e-5;
    TRY(json_field_real(o, "layer_norm_eps", false, 1e-12, 1.0, &t->eps, where));
    return layer_read_act(o, where, &t->act);
}

static int section(const json_t *config, const char *key, const char *where, const json_t **out)
{
    *out = json_object_get(config, key);
    if (!json_is_object(*out))
        FAIL(ERR_DATA, "%s: field \"%s\" is missing, expected an object with the sizes of that tower", where, key);
    return 0;
}

static int read_config(struct clip *c, const json_t *config, const char *file)
{
    const json_t *vision, *text;
    char where[1024];
    TRY(section(config, "vision_config", file, &vision));
    TRY(section(config, "text_config", file, &text));
    TRY(json_field_int(config, "projection_dim", true, 1, limit_get(LIMIT_WIDTH), &c->embed, file));

    snprintf(where, sizeof where, "%s: vision_config", file);
    TRY(read_tower(&c->vision, vision, where));
    TRY(json_field_int(vision, "image_size", true, 1, 8192, &c->image, where));
    TRY(json_field_int(vision, "patch_size", true, 1, 8192, &c->patch, where));
    if (c->image % c->patch)
        FAIL(ERR_DATA, "%s: field \"patch_size\" is %lld, expected a divisor of \"image_size\" (%lld)", where,
             (long long)c->patch, (long long)c->image);
    snprintf(where, sizeof where, "%s: text_config", file);
    TRY(read_tower(&c->text, text, where));
    TRY(json_field_int(text, "max_position_embeddings", true, 2, 65536, &c->context, where));
    TRY(json_field_int(text, "vocab_size", true, 2, 10000000, &c->vocab, where));
    c->start_id = c->vocab - 2;
    c->end_id = c->vocab - 1;
    TRY(json_field_int(text, "bos_token_id", false, 0, c->vocab - 1, &c->start_id, where));
    TRY(json_field_int(text, "eos_token_id", false, 0, c->vocab - 1, &c->end_id, where));
    return 0;
}

/* ---- building ---- */

static void wire_tower(struct tower *t)
{
    for (int64_t i = 0; i < t->layers; i++) {
        struct block *b = &t->blocks[i];
        b->norm1.eps = b->norm2.eps = t->eps;
        b->qkv.has_bias = b->out.has_bias = b->fc1.has_bias = b->fc2.has_bias = true;
    }
}

static int bind_tower(const struct tower *t, const char *side, struct params *p, struct arena *a, struct param_sizes *s)
{
    s->sizes[2] = t->width;
    s->sizes[3] = t->mlp;
    s->layers = t->layers;
    for (int64_t i = 0; i < t->layers; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s_model.encoder.layers.%d.", side, (int)i);
        TRY(params_bind(p, a, block_rows, ARRAY_LEN(block_rows), &t->blocks[i], prefix, s));
    }
    return 0;
}

static int bind_all(struct clip *c, struct params *p, struct arena *a)
{
    int64_t side = c->image / c->patch;
    struct param_sizes s = {
        .letters = letters,
        .sizes = {c->vision.width, c->text.width, 0, 0, c->embed, side * side + 1, c->context, c->vocab, 3, c->patch}};
    s.width = c->vision.width;
    TRY(params_bind(p, a, vision_rows, ARRAY_LEN(vision_rows), c, "", &s));
    TRY(bind_tower(&c->vision, "vision", p, a, &s));
    s.width = c->text.width;
    TRY(params_bind(p, a, text_rows, ARRAY_LEN(text_rows), c, "", &s));
    return bind_tower(&c->text, "text", p, a, &s);
}

static int clip_build(struct model *m, const json_t *config, const char *where)
{
    struct clip *c = arena_calloc(m->arena, 1, sizeof *c);
    if (!c)
        return ERR_MEMORY;
    TRY(read_config(c, config, where));
    c->vision.blocks = arena_calloc(m->arena, (size_t)c->vision.layers, sizeof(struct block));
    c->text.blocks = arena_calloc(m->arena, (size_t)c->text.layers, sizeof(struct block));
    if (!c->vision.blocks || !c->text.blocks)
        return ERR_MEMORY;
    TRY(bind_all(c, &m->params, m->arena));
    wire_tower(&c->vision);
    wire_tower(&c->text);
    c->norm_pre.eps = c->norm_post.eps = c->vision.eps;
    c->norm_final.eps = c->text.eps;
    m->own = c;
    m->image_size = c->image;
    m->context = c->context;
    m->vocab_size = c->vocab;
    m->embed = c->embed;
    m->logit_scale = &c->logit_scale;
    return 0;
}

/* ---- forward
 * -------------------------------------------------------------------------------------------------------------------
 */

#define MUTABLE(type, field) ((type *)&(field)) /* ops take parameters without const; they never write to data */

struct tensor *clip_encode_image(const struct clip *c, struct tensor *pixels, struct clip_trace *trace)
{
    if (!pixels)
        return NULL;
    int32_t *class_row = arena_calloc(tape_arena(pixels->tape), (size_t)pixels->shape[0], sizeof *class_row);
    struct tensor *x = t_linear(t_patchify(pixels, c->patch), MUTABLE(struct linear, c->patch_embed)); /* [B,N,V]   */
    x = t_add(t_prepend(MUTABLE(struct tensor, c->class_token), x),
              MUTABLE(struct tensor, c->image_positions)); /* [B,1+N,V] */
    x = t_layer_norm(x, MUTABLE(struct norm, c->norm_pre));
    if (!class_row)
        return NULL;
    int64_t whole = trace ? c->vision.layers : c->vision.layers - 1;
    if (trace)
        trace->states[0] = x;
    for (int64_t i = 0; i < whole; i++) {
        x = layer_block(x, &c->vision, i, false);
        if (trace)
            trace->states[i + 1] = x;
    }
    x = trace ? t_row(x, 0) : layer_block_row(x, &c->vision, c->vision.layers - 1, false, class_row); /* [B,V]     */
    x = t_layer_norm(x, MUTABLE(struct norm, c->norm_post));
    if (trace)
        trace->pooled = x;
    return t_linear(x, MUTABLE(struct linear, c->project_image)); /* [B,E]     */
}

void clip_end_positions(const struct clip *c, const int32_t *ids, int64_t n, int64_t context, int32_t *at)
{
    for (int64_t i = 0; i < n; i++) {
        const int32_t *row = ids + i * context;
        int32_t best = 0;
        for (int32_t j = 0; j < context; j++) {
            if (c->end_id != 2 && row[j] == c->end_id) {
                best = j;
                break;
            }
            if (c->end_id == 2 && row[j] > row[best])
                best = j;
        }
        at[i] = best;
    }
}

struct tensor *clip_encode_text(const struct clip *c, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                struct clip_trace *trace)
{
    int32_t *at = arena_alloc(tape_arena(t), (size_t)n * sizeof *at);
    int32_t *trimmed = arena_alloc(tape_arena(t), (size_t)(n * context) * sizeof *trimmed);
    if (!at || !trimmed)
        return NULL;
    clip_end_positions(c, ids, n, context, at);
    int64_t used = trace ? context : 1;
    for (int64_t i = 0; i < n; i++)
        used = at[i] + 1 > used ? at[i] + 1 : used;
    for (int64_t i = 0; i < n; i++)
        memcpy(trimmed + i * used, ids + i * context, (size_t)used * sizeof *ids);

    struct tensor *x = t_embed(t, MUTABLE(struct tensor, c->token_table), trimmed, SHAPE(n, used));      /* [B,L,T]   */
    struct tensor *positions = t_slice(t_use(t, MUTABLE(struct tensor, c->text_positions)), 0, 0, used); /* [L,T]     */
    x = t_add(x, positions);
    int64_t whole = trace ? c->text.layers : c->text.layers - 1;
    if (trace)
        trace->states[0] = x;
    for (int64_t i = 0; i < whole; i++) {
        x = layer_block(x, &c->text, i, true);
        if (trace)
            trace->states[i + 1] = x;
    }
    if (trace) {
        x = t_layer_norm(x, MUTABLE(struct norm, c->norm_final));
        trace->last_state = x;
        x = t_pick(x, at); /* [B,T]     */
        trace->pooled = x;
    } else {
        x = t_layer_norm(layer_block_row(x, &c->text, c->text.layers - 1, true, at),
                         MUTABLE(struct norm, c->norm_final));
    }
    return t_linear(x, MUTABLE(struct linear, c->project_text)); /* [B,E]     */
}

static struct tensor *encode_image(const struct model *m, struct tensor *pixels)
{
    return clip_encode_image(m->own, pixels, NULL);
}

static struct tensor *encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return clip_encode_text(m->own, t, ids, n, context, NULL);
}

const struct model_family family_clip = {
    .name = "clip",
    .help = "CLIP with a vision transformer (HuggingFace CLIPModel)",
    .accepts = clip_accepts,
    .build = clip_build,
    .encode_image = encode_image,
    .encode_text = encode_text,
};
