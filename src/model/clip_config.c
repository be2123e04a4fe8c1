/* model/clip_config.c: CLIP's sizes as three libraries write them down. What a field may say and we do not compute
 * (layer scale, another pooling, a tower of another library) is refused by its name: a model that runs and gives other
 * numbers is worse than one that does not run.
 *
 * Each library leaves fields out that have its default value, so its defaults are applied here. The activation is one
 * of them: transformers means quick_gelu where hidden_act is missing, open_clip the exact one where quick_gelu is. */
#include "model/clip.h"

#include <math.h>
#include <string.h>

bool clip_accepts(enum layout l, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const json_t *model = json_object_get(config, "model_cfg");
    if (l == LAYOUT_OPEN_CLIP) { /* a logit bias is SigLIP's */
        const json_t *bias = json_object_get(model, "init_logit_bias");
        return model && !json_object_get(model, "multimodal_cfg") && (!bias || json_is_null(bias));
    }
    return l == LAYOUT_OPENAI || (type && !strcmp(type, "clip"));
}

/* ---- HuggingFace ---- */

/* A section with what transformers leaves out: values of its own defaults. An object KEY_dict, a relic of 2022, is
 * taken in place of the section, as there: what it leaves out has the default, whatever the section says. */
static int hf_section(const json_t *config, const char *key, json_t *defaults, const char *where, json_t **out)
{
    char relic[64];
    json_t *full = NULL;
    snprintf(relic, sizeof relic, "%s_dict", key);
    const json_t *section = json_object_get(config, relic);
    int rc = json_is_object(section) ? 0 : config_section(config, key, where, &section);
    if (rc == 0 && (!defaults || !(full = json_copy((json_t *)(uintptr_t)section)) ||
                    json_object_update_missing(full, defaults) < 0))
        rc = err_set(ERR_MEMORY, "%s: no memory for the configuration", where);
    json_decref(defaults);
    if (rc < 0)
        json_decref(full);
    else
        *out = full;
    return rc;
}

static int read_hf_vision(struct clip *c, const json_t *config, int64_t image, const char *file)
{
    char where[1100];
    json_t *o;
    int64_t channels = 3;
    TRY(hf_section(config, "vision_config",
                   json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s}", "hidden_size", 768, "intermediate_size", 3072,
                             "num_hidden_layers", 12, "num_attention_heads", 12, "image_size", 224, "patch_size", 32,
                             "hidden_act", "quick_gelu"),
                   file, &o));
    snprintf(where, sizeof where, "%s: vision_config", file);
    int rc = tower_read_hf(&c->vision.tower, o, 1e-5, where);
    if (rc == 0)
        rc = vit_read_sizes(&c->vision, o, image, where);
    if (rc == 0)
        rc = json_field_int(o, "num_channels", false, 3, 3, &channels, where);
    json_decref(o);
    return rc;
}

static int read_hf_text(struct clip *c, const json_t *config, const char *file)
{
    char where[1100];
    json_t *o;
    TRY(hf_section(config, "text_config",
                   json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s}", "hidden_size", 512, "intermediate_size", 2048,
                             "num_hidden_layers", 12, "num_attention_heads", 8, "max_position_embeddings", 77,
                             "vocab_size", 49408, "hidden_act", "quick_gelu"),
                   file, &o));
    snprintf(where, sizeof where, "%s: text_config", file);
    int rc = tower_read_hf(&c->text.tower, o, 1e-5, where);
    if (rc == 0)
        rc = json_field_int(o, "max_position_embeddings", true, 2, 65536, &c->text.context, where);
    if (rc == 0)
        rc = json_field_int(o, "vocab_size", true, 2, 10000000, &c->text.vocab, where);
    bool own = c->text.vocab >= 49408; /* a longer table has words behind CLIP's (textual inversion) */
    c->start_id = own ? 49406 : c->text.vocab - 2;
    c->end_id = own ? 49407 : c->text.vocab - 1;
    if (rc == 0)
        rc = json_field_int(o, "bos_token_id", false, 0, c->text.vocab - 1, &c->start_id, where);
    if (rc == 0)
        rc = json_field_int(o, "eos_token_id", false, 0, c->text.vocab - 1, &c->end_id, where);
    c->end_is_largest = c->end_id == 2; /* a wrong default of 2021 that means: the largest id */
    json_decref(o);
    return rc;
}

static int read_hf(struct clip *c, const json_t *config, int64_t image, const char *file)
{
    c->embed = 512;
    TRY(json_field_int(config, "projection_dim", false, 1, limit_get(LIMIT_WIDTH), &c->embed, file));
    TRY(read_hf_vision(c, config, image, file));
    return read_hf_text(c, config, file);
}

/* ---- open_clip ---- */

static const struct config_field model_fields[] = {
    {"embed_dim", NULL},   {"vision_cfg", NULL},  {"text_cfg", NULL},         {"quick_gelu", NULL},
    {"output_dict", NULL}, {"custom_text", NULL}, {"init_logit_scale", NULL}, {"cast_dtype", NULL},
};
static const struct config_field vision_fields[] = {
    {"layers", NULL},
    {"width", NULL},
    {"head_width", NULL},
    {"mlp_ratio", NULL},
    {"patch_size", NULL},
    {"image_size", NULL},
    {"norm_kwargs", NULL},
    {"patch_dropout", NULL},
    {"output_tokens", NULL},
    {"attn_pooler_queries", NULL},
    {"attn_pooler_heads", NULL},
    {"pool_type", "tok"},
    {"pos_embed_type", "learnable"},
};
static const struct config_field text_fields[] = {
    {"context_length", NULL},
    {"vocab_size", NULL},
    {"width", NULL},
    {"heads", NULL},
    {"layers", NULL},
    {"mlp_ratio", NULL},
    {"norm_kwargs", NULL},
    {"pad_id", NULL},
    {"eos_id", NULL}, /* read by pool_type "eos" alone */
    {"hf_tokenizer_name", NULL},
    {"tokenizer_kwargs", NULL},
    {"output_tokens", NULL},
    {"pool_type", "argmax"},
    {"proj_type", "linear"},
};

/* layers: [3, 4, 6, 3] */
static int read_stages(struct resnet *r, const json_t *list, const char *key, const char *where)
{
    if (json_array_size(list) != 4)
        FAIL(ERR_DATA, "%s: field \"%s\": expected a number of layers, or a list of 4 (ModifiedResNet)", where, key);
    for (size_t i = 0; i < 4; i++) {
        const json_t *n = json_array_get(list, i);
        if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > limit_get(LIMIT_LAYERS))
            FAIL(ERR_DATA, "%s: field \"%s\"[%zu]: expected a whole number from 1 to %lld", where, key, i,
                 (long long)limit_get(LIMIT_LAYERS));
        r->layers[i] = json_integer_value(n);
    }
    return 0;
}

static int new_resnet(struct model *m, struct clip *c)
{
    c->resnet = arena_calloc(m->arena, 1, sizeof *c->resnet);
    if (!c->resnet)
        return ERR_MEMORY;
    c->resnet->embed = c->embed;
    c->resnet->eps = 1e-5;
    c->resnet->momentum = 0.1;
    return 0;
}

static int read_oc_resnet(struct model *m, struct clip *c, const json_t *vision, int64_t image, const char *where)
{
    int64_t head_width = 64;
    TRY(new_resnet(m, c));
    struct resnet *r = c->resnet;
    r->width = 64;
    TRY(read_stages(r, json_object_get(vision, "layers"), "layers", where));
    TRY(json_field_int(vision, "width", false, 2, limit_get(LIMIT_WIDTH) / 32, &r->width, where));
    TRY(json_field_int(vision, "head_width", false, 1, limit_get(LIMIT_WIDTH), &head_width, where));
    TRY(oc_read_image_size(vision, &r->image, where));
    r->heads = r->width * 32 / head_width;
    return resnet_make(r, m->arena, image, where);
}

static int read_open_clip(struct model *m, struct clip *c, const json_t *config, int64_t image, const char *file)
{
    char where[1100];
    bool quick = false;
    const json_t *model, *vision, *text;
    TRY(config_section(config, "model_cfg", file, &model));
    snprintf(where, sizeof where, "%s: model_cfg", file);
    TRY(config_check_fields(model, model_fields, ARRAY_LEN(model_fields), where));
    TRY(config_section(model, "vision_cfg", where, &vision));
    TRY(config_section(model, "text_cfg", where, &text));
    TRY(json_field_int(model, "embed_dim", true, 1, limit_get(LIMIT_WIDTH), &c->embed, where));
    TRY(json_field_bool(model, "quick_gelu", false, &quick, where));
    TRY(json_field_bool(model, "custom_text", false, &c->custom_text, where));

    snprintf(where, sizeof where, "%s: model_cfg.vision_cfg", file);
    TRY(config_check_fields(vision, vision_fields, ARRAY_LEN(vision_fields), where));
    TRY(json_is_array(json_object_get(vision, "layers")) ? read_oc_resnet(m, c, vision, image, where)
                                                         : oc_read_vit(&c->vision, vision, quick, image, where));
    snprintf(where, sizeof where, "%s: model_cfg.text_cfg", file);
    TRY(config_check_fields(text, text_fields, ARRAY_LEN(text_fields), where));
    TRY(oc_read_text(&c->text, text, quick, where));
    c->start_id = c->text.vocab - 2;
    c->end_id = c->text.vocab - 1;
    c->end_is_largest = true;
    return 0;
}

/* ---- OpenAI's state dict with the flat configuration that tools/convert-pickle writes ---- */

static const struct config_field openai_fields[] = {
    {"architecture", NULL}, {"embed_dim", NULL},         {"image_resolution", NULL},  {"vision_layers", NULL},
    {"vision_width", NULL}, {"vision_heads", NULL},      {"vision_patch_size", NULL}, {"context_length", NULL},
    {"vocab_size", NULL},   {"transformer_width", NULL}, {"transformer_heads", NULL}, {"transformer_layers", NULL},
    {"hidden_act", NULL},   {"layer_norm_eps", NULL},    {"batch_norm_eps", NULL},    {"bn_momentum", NULL},
    {"bos_token_id", NULL}, {"eos_token_id", NULL},
};

static int check_divides(int64_t heads, int64_t width, const char *field, const char *of, const char *where)
{
    if (heads < 1 || width % heads)
        FAIL(ERR_DATA, "%s: field \"%s\" is %lld, expected a divisor of \"%s\" (%lld)", where, field, (long long)heads,
             of, (long long)width);
    return 0;
}

static int read_openai_resnet(struct model *m, struct clip *c, const json_t *o, int64_t image, const char *where)
{
    TRY(new_resnet(m, c));
    struct resnet *r = c->resnet;
    TRY(read_stages(r, json_object_get(o, "vision_layers"), "vision_layers", where));
    TRY(json_field_int(o, "vision_width", true, 2, limit_get(LIMIT_WIDTH) / 32, &r->width, where));
    TRY(json_field_int(o, "image_resolution", true, 32, 8192, &r->image, where));
    r->heads = r->width * 32 / 64;
    TRY(json_field_int(o, "vision_heads", false, 1, 4096, &r->heads, where));
    TRY(json_field_real(o, "batch_norm_eps", false, 1e-12, 1.0, &r->eps, where));
    TRY(json_field_real(o, "bn_momentum", false, 0.0, 1.0, &r->momentum, where));
    return resnet_make(r, m->arena, image, where);
}

static int read_openai_vit(struct vit *v, const json_t *o, int64_t image, const char *where)
{
    TRY(json_field_int(o, "vision_layers", true, 1, limit_get(LIMIT_LAYERS), &v->tower.layers, where));
    TRY(json_field_int(o, "vision_width", true, 1, limit_get(LIMIT_WIDTH), &v->tower.width, where));
    TRY(json_field_int(o, "vision_patch_size", true, 1, 8192, &v->patch, where));
    TRY(json_field_int(o, "image_resolution", true, 1, 8192, &v->image, where));
    v->tower.heads = v->tower.width / 64;
    v->tower.mlp = 4 * v->tower.width;
    TRY(json_field_int(o, "vision_heads", false, 1, 1024, &v->tower.heads, where));
    TRY(check_divides(v->tower.heads, v->tower.width, "vision_heads", "vision_width", where));
    return vit_take_size(v, image, where);
}

static int read_openai(struct model *m, struct clip *c, const json_t *o, int64_t image, const char *where)
{
    enum act act;
    double eps = 1e-5;
    struct text_tower *x = &c->text;
    TRY(config_check_fields(o, openai_fields, ARRAY_LEN(openai_fields), where));
    TRY(json_field_int(o, "embed_dim", true, 1, limit_get(LIMIT_WIDTH), &c->embed, where));
    TRY(layer_read_act(o, where, &act));
    TRY(json_field_real(o, "layer_norm_eps", false, 1e-12, 1.0, &eps, where));
    TRY(json_is_array(json_object_get(o, "vision_layers")) ? read_openai_resnet(m, c, o, image, where)
                                                           : read_openai_vit(&c->vision, o, image, where));
    TRY(json_field_int(o, "transformer_width", true, 1, limit_get(LIMIT_WIDTH), &x->tower.width, where));
    TRY(json_field_int(o, "transformer_layers", true, 1, limit_get(LIMIT_LAYERS), &x->tower.layers, where));
    TRY(json_field_int(o, "transformer_heads", true, 1, 1024, &x->tower.heads, where));
    TRY(check_divides(x->tower.heads, x->tower.width, "transformer_heads", "transformer_width", where));
    TRY(json_field_int(o, "context_length", true, 2, 65536, &x->context, where));
    TRY(json_field_int(o, "vocab_size", true, 2, 10000000, &x->vocab, where));
    x->tower.mlp = 4 * x->tower.width;
    c->vision.tower.act = x->tower.act = act;
    c->vision.tower.eps = x->tower.eps = eps;
    c->start_id = x->vocab - 2;
    c->end_id = x->vocab - 1;
    c->end_is_largest = true;
    TRY(json_field_int(o, "bos_token_id", false, 0, x->vocab - 1, &c->start_id, where));
    return json_field_int(o, "eos_token_id", false, 0, x->vocab - 1, &c->end_id, where);
}

int clip_read_config(struct model *m, struct clip *c, const json_t *config, int64_t image, const char *where)
{
    if (m->layout == LAYOUT_HF)
        return read_hf(c, config, image, where);
    if (m->layout == LAYOUT_OPEN_CLIP)
        return read_open_clip(m, c, config, image, where);
    return read_openai(m, c, config, image, where);
}
