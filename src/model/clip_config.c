/* model/clip_config.c: CLIP's sizes as three libraries write them down. What a field may say and we do not compute
 * (layer scale, patch dropout at work, another pooling) is refused by its name: a model that runs and gives other
 * numbers is worse than one that does not run. */
#include "model/clip.h"

#include <string.h>

bool clip_accepts(enum layout l, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const json_t *model = json_object_get(config, "model_cfg");
    if (l == LAYOUT_OPEN_CLIP)
        return model && !json_object_get(model, "multimodal_cfg") &&
               !json_object_get(json_object_get(model, "vision_cfg"), "timm_model_name");
    return l == LAYOUT_OPENAI || (type && !strcmp(type, "clip"));
}

/* ---- HuggingFace ---- */

static int read_hf(struct clip *c, const json_t *config, int64_t image, const char *file)
{
    const json_t *vision, *text;
    char where[1024];
    TRY(config_section(config, "vision_config", file, &vision));
    TRY(config_section(config, "text_config", file, &text));
    TRY(json_field_int(config, "projection_dim", true, 1, limit_get(LIMIT_WIDTH), &c->embed, file));

    snprintf(where, sizeof where, "%s: vision_config", file);
    TRY(tower_read_hf(&c->vision.tower, vision, 1e-5, where));
    TRY(vit_read_sizes(&c->vision, vision, image, where));
    snprintf(where, sizeof where, "%s: text_config", file);
    TRY(tower_read_hf(&c->text.tower, text, 1e-5, where));
    TRY(json_field_int(text, "max_position_embeddings", true, 2, 65536, &c->text.context, where));
    TRY(json_field_int(text, "vocab_size", true, 2, 10000000, &c->text.vocab, where));
    c->start_id = c->text.vocab - 2;
    c->end_id = c->text.vocab - 1;
    TRY(json_field_int(text, "bos_token_id", false, 0, c->text.vocab - 1, &c->start_id, where));
    return json_field_int(text, "eos_token_id", false, 0, c->text.vocab - 1, &c->end_id, where);
}

int clip_read_config(struct clip *c, enum layout l, const json_t *config, int64_t image, const char *where)
{
    if (l == LAYOUT_HF)
        return read_hf(c, config, image, where);
    FAIL(ERR_UNSUPPORTED, "%s: this layout (%s) is not read yet", where, layout_name(l));
}

int clip_write_config(const struct model *m, enum layout l, json_t **out)
{
    (void)out;
    FAIL(ERR_UNSUPPORTED, "%s: not written as %s yet", m->name ? m->name : "model", layout_name(l));
}
