/* model/coca_config.c: CoCa's sizes from open_clip_config.json: CLIP's two sections, and multimodal_cfg for the
 * decoder. What open_clip would compute otherwise (parallel or cascaded poolers, another text tower) is refused by its
 * field. */
#include "model/clip.h"
#include "model/coca.h"

bool coca_accepts(enum layout l, const json_t *config)
{
    return l == LAYOUT_OPEN_CLIP &&
           json_is_object(json_object_get(json_object_get(config, "model_cfg"), "multimodal_cfg"));
}

static const struct config_field model_fields[] = {
    {"embed_dim", NULL},        {"vision_cfg", NULL},  {"text_cfg", NULL},
    {"multimodal_cfg", NULL},   {"quick_gelu", NULL},  {"custom_text", NULL},
    {"init_logit_scale", NULL}, {"output_dict", NULL}, {"cast_dtype", NULL},
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
    {"pool_type", "tok"},
    {"output_tokens", NULL},
    {"attentional_pool", NULL},
    {"attn_pooler_queries", NULL},
    {"attn_pooler_heads", NULL},
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
    {"output_tokens", NULL},
    {"embed_cls", NULL},
    {"pool_type", "argmax"},
    {"proj_type", "linear"},
    {"hf_tokenizer_name", NULL},
    {"tokenizer_kwargs", NULL},
};
/* dim_head, n_queries and attn_pooler_heads are never used by open_clip. */
static const struct config_field decoder_fields[] = {
    {"context_length", NULL}, {"vocab_size", NULL}, {"width", NULL},
    {"heads", NULL},          {"layers", NULL},     {"mlp_ratio", NULL},
    {"dim_head", NULL},       {"n_queries", NULL},  {"attn_pooler_heads", NULL},
};

static int must_be_true(const json_t *o, const char *key, const char *where)
{
    if (json_is_true(json_object_get(o, key)))
        return 0;
    FAIL(ERR_UNSUPPORTED, "%s: field \"%s\" is not true, expected true; another CoCa is not computed here", where, key);
}

static int read_vision(struct coca *c, const json_t *o, bool quick, int64_t image, const char *where)
{
    TRY(config_check_fields(o, vision_fields, ARRAY_LEN(vision_fields), where));
    TRY(must_be_true(o, "attentional_pool", where));
    TRY(oc_read_vit(&c->vision, o, quick, image, where));
    c->queries = 256;
    c->pool_heads = 8;
    TRY(json_field_int(o, "attn_pooler_queries", false, 2, 65536, &c->queries, where));
    TRY(json_field_int(o, "attn_pooler_heads", false, 1, 1024, &c->pool_heads, where));
    if (c->embed % c->pool_heads)
        FAIL(ERR_DATA, "%s: field \"attn_pooler_heads\" is %lld, expected a divisor of \"embed_dim\" (%lld)", where,
             (long long)c->pool_heads, (long long)c->embed);
    return 0;
}

static int read_text(struct coca *c, const json_t *o, bool quick, const char *where)
{
    int64_t pad = 0;
    TRY(config_check_fields(o, text_fields, ARRAY_LEN(text_fields), where));
    TRY(must_be_true(o, "embed_cls", where));
    TRY(oc_read_text(&c->text, o, quick, where));
    TRY(json_field_int(o, "pad_id", false, 0, c->text.vocab - 1, &pad, where));
    c->pad_id = (int32_t)pad;
    c->start_id = (int32_t)c->text.vocab - 2;
    c->end_id = (int32_t)c->text.vocab - 1;
    return 0;
}

static int read_decoder(struct coca *c, const json_t *o, bool quick, const char *where)
{
    double ratio = 4.0;
    struct text_tower sizes = {0};
    TRY(config_check_fields(o, decoder_fields, ARRAY_LEN(decoder_fields), where));
    TRY(json_field_real(o, "mlp_ratio", false, 4.0, 4.0, &ratio, where)); /* open_clip passes no other on */
    TRY(oc_read_text(&sizes, o, quick, where));
    c->decoder = sizes.tower;
    if (c->decoder.width != c->text.tower.width || c->decoder.width != c->embed)
        FAIL(ERR_DATA,
             "%s: field \"width\" is %lld, expected that of text_cfg (%lld) and \"embed_dim\" (%lld): words and "
             "picture meet in it",
             where, (long long)c->decoder.width, (long long)c->text.tower.width, (long long)c->embed);
    if (2 * c->decoder.layers > CAPTION_MEMORY_MAX)
        FAIL(ERR_UNSUPPORTED, "%s: field \"layers\" is %lld, expected at most %d", where, (long long)c->decoder.layers,
             CAPTION_MEMORY_MAX / 2);
    return 0;
}

int coca_read_config(struct coca *c, const json_t *config, int64_t image, const char *file)
{
    char where[1100];
    bool quick = false;
    const json_t *model, *vision, *text, *decoder;
    TRY(config_section(config, "model_cfg", file, &model));
    snprintf(where, sizeof where, "%s: model_cfg", file);
    TRY(config_check_fields(model, model_fields, ARRAY_LEN(model_fields), where));
    TRY(config_section(model, "vision_cfg", where, &vision));
    TRY(config_section(model, "text_cfg", where, &text));
    TRY(config_section(model, "multimodal_cfg", where, &decoder));
    TRY(json_field_int(model, "embed_dim", true, 1, limit_get(LIMIT_WIDTH), &c->embed, where));
    TRY(json_field_bool(model, "quick_gelu", false, &quick, where));
    snprintf(where, sizeof where, "%s: model_cfg.vision_cfg", file);
    TRY(read_vision(c, vision, quick, image, where));
    snprintf(where, sizeof where, "%s: model_cfg.text_cfg", file);
    TRY(read_text(c, text, quick, where));
    snprintf(where, sizeof where, "%s: model_cfg.multimodal_cfg", file);
    return read_decoder(c, decoder, quick, where);
}
