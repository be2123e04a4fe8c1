/* model/blip_config.c: BLIP's sizes from HuggingFace's config.json. Which model it is the field "architectures" says,
 * never the weights that happen to be there: a retrieval checkpoint and a captioner share most names.
 *
 * transformers leaves out of a saved configuration what equals its class's default, so a missing field means that
 * default and no other value; those are written here once. Two of them have caused wrong vectors elsewhere: the vision
 * tower's layer_norm_eps is 1e-5 there (the authors' code has 1e-6, so their numbers need the field), and
 * num_attention_heads of the text tower is 8 (BERT's own is 12). */
#include "model/blip.h"

#include <string.h>

bool blip_is(const json_t *config, const char *architecture)
{
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    return name && !strcmp(name, architecture);
}

static int read_vision(struct vit *v, const json_t *config, int64_t image, const char *where)
{
    struct tower *t = &v->tower;
    *t = (struct tower){.width = 768, .layers = 12, .heads = 12, .mlp = 3072, .eps = 1e-5, .act = ACT_GELU};
    v->image = 384;
    v->patch = 16;
    TRY(tower_read_hf(t, config, t->eps, where));
    TRY(vit_read_sizes(v, config, image, where));
    v->has_class = v->patch_bias = v->has_post = true;
    v->patch_embed.has_bias = true;
    v->norm_post.eps = t->eps;
    return 0;
}

static int read_text(struct blip *b, const json_t *config, const char *where)
{
    struct tower d = {.width = 768, .layers = 12, .heads = 8, .mlp = 3072, .eps = 1e-12, .act = ACT_GELU};
    TRY(tower_read_hf(&d, config, d.eps, where));
    if (d.layers > CAPTION_MEMORY_MAX / 2)
        FAIL(ERR_UNSUPPORTED, "%s: field \"num_hidden_layers\" is %lld, expected at most %d in a text tower", where,
             (long long)d.layers, CAPTION_MEMORY_MAX / 2);
    b->text = (struct bert){.width = d.width,
                            .layers = d.layers,
                            .heads = d.heads,
                            .mlp = d.mlp,
                            .eps = d.eps,
                            .act = d.act,
                            .vocab = 30524,
                            .context = 512,
                            .seen = b->vision.tower.width};
    struct bert *t = &b->text;
    int64_t start = 30522, end = 102, pad = 0;
    bool tied = true;
    TRY(json_field_int(config, "vocab_size", false, 4, 10000000, &t->vocab, where));
    TRY(json_field_int(config, "max_position_embeddings", false, 2, 65536, &t->context, where));
    TRY(json_field_int(config, "bos_token_id", false, 0, t->vocab - 1, &start, where));
    TRY(json_field_int(config, "sep_token_id", false, 0, t->vocab - 1, &end, where));
    TRY(json_field_int(config, "pad_token_id", false, 0, t->vocab - 1, &pad, where));
    TRY(json_field_bool(config, "tie_word_embeddings", false, &tied, where));
    if (!tied)
        FAIL(ERR_UNSUPPORTED, "%s: field \"tie_word_embeddings\" is false; expected true, as in every published BLIP",
             where);
    if (start >= t->vocab || end >= t->vocab || pad >= t->vocab)
        FAIL(ERR_DATA,
             "%s: field \"vocab_size\" is %lld, expected more than the ids of start (%lld), end (%lld) and pad (%lld)",
             where, (long long)t->vocab, (long long)start, (long long)end, (long long)pad);
    b->dec_id = (int32_t)start;
    b->enc_id = (int32_t)(t->vocab - 1);
    b->end_id = (int32_t)end;
    b->pad_id = (int32_t)pad;
    return 0;
}

static int check_architecture(const json_t *config, const char *where, const char *architecture)
{
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    if (name && !strcmp(name, architecture))
        return 0;
    FAIL(name ? ERR_UNSUPPORTED : ERR_DATA,
         "%s: field \"architectures\" is %s%.60s, expected BlipForImageTextRetrieval or BlipForConditionalGeneration; "
         "other forms of BLIP are not read",
         where, name ? "" : "missing", name ? name : "");
}

int blip_build(struct model *m, const json_t *config, const char *file, const char *architecture)
{
    const json_t *vision, *text;
    char where[1024];
    TRY(check_architecture(config, file, architecture));
    struct blip *b = arena_calloc(m->arena, 1, sizeof *b);
    if (!b)
        return ERR_MEMORY;
    TRY(config_section(config, "vision_config", file, &vision));
    TRY(config_section(config, "text_config", file, &text));
    snprintf(where, sizeof where, "%s: vision_config", file);
    TRY(read_vision(&b->vision, vision, m->image_size, where));
    snprintf(where, sizeof where, "%s: text_config", file);
    TRY(read_text(b, text, where));
    b->embed = 256;
    TRY(json_field_int(config, "image_text_hidden_size", false, 1, limit_get(LIMIT_WIDTH), &b->embed, file));
    b->project_image.has_bias = b->project_text.has_bias = b->match.has_bias = b->transform.has_bias = true;
    b->norm_transform.eps = b->text.eps;
    TRY(tower_make(&b->vision.tower, m->arena));
    TRY(bert_make(&b->text, m->arena));
    model_note_arithmetic(m, b->vision.tower.heads, b->vision.tower.eps, b->vision.tower.act);
    model_note_arithmetic(m, b->text.heads, b->text.eps, b->text.act);
    m->own = b;
    m->image_size = b->vision.image;
    m->context = b->text.context;
    m->vocab_size = b->text.vocab;
    return 0;
}
