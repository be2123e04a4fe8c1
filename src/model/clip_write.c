/* model/clip_write.c: the configuration of a CLIP in a layout other than the one it was read from, so that
 * transformers and open_clip load what was fine-tuned here. What the other library cannot express (a residual network
 * in HuggingFace, towers of different activation in open_clip) is refused by name rather than approximated. */
#include "model/clip.h"

#include <math.h>
#include <string.h>

static const char *act_field(enum act a)
{
    return a == ACT_QUICK_GELU ? "quick_gelu" : "gelu";
}

static int cannot(const struct model *m, enum layout l, const char *what)
{
    FAIL(ERR_UNSUPPORTED, "%s: %s, which the layout \"%s\" cannot express; expected one of its other layouts",
         m->name ? m->name : "model", what, layout_name(l));
}

static int done(const struct model *m, json_t *config, json_t **out)
{
    if (!config)
        FAIL(ERR_MEMORY, "%s: no memory for the configuration", m->name ? m->name : "model");
    *out = config;
    return 0;
}

static double stored_scale(const struct model *m)
{
    return m->params.real == DT_F64 ? *(double *)m->logit_scale->data : (double)*(float *)m->logit_scale->data;
}

/* ---- HuggingFace ---- */

static json_t *hf_tower(const struct tower *t, const char *type, int64_t embed)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:f, s:I, s:f}", "model_type", type, "hidden_size",
                     (json_int_t)t->width, "num_hidden_layers", (json_int_t)t->layers, "num_attention_heads",
                     (json_int_t)t->heads, "intermediate_size", (json_int_t)t->mlp, "hidden_act", act_field(t->act),
                     "layer_norm_eps", t->eps, "projection_dim", (json_int_t)embed, "attention_dropout", 0.0);
}

static int write_hf(const struct model *m, const struct clip *c, json_t **out)
{
    if (c->resnet)
        return cannot(m, LAYOUT_HF, "the image tower is a ModifiedResNet");
    json_t *text = hf_tower(&c->text.tower, "clip_text_model", c->embed);
    json_t *vision = hf_tower(&c->vision.tower, "clip_vision_model", c->embed);
    json_t *more_text = json_pack("{s:I, s:I, s:I, s:I, s:I}", "vocab_size", (json_int_t)c->text.vocab,
                                  "max_position_embeddings", (json_int_t)c->text.context, "bos_token_id",
                                  (json_int_t)c->start_id, "eos_token_id", (json_int_t)c->end_id, "pad_token_id",
                                  (json_int_t)(m->tokenizer ? tokenizer_info(m->tokenizer).pad_id : c->end_id));
    json_t *more_vision = json_pack("{s:I, s:I, s:i}", "image_size", (json_int_t)c->vision.image, "patch_size",
                                    (json_int_t)c->vision.patch, "num_channels", 3);
    bool ok = text && vision && more_text && more_vision && json_object_update(text, more_text) == 0 &&
              json_object_update(vision, more_vision) == 0;
    json_decref(more_text);
    json_decref(more_vision);
    json_t *config = NULL;
    if (ok)
        config = json_pack("{s:[s], s:s, s:I, s:f, s:O, s:O}", "architectures", "CLIPModel", "model_type", "clip",
                           "projection_dim", (json_int_t)c->embed, "logit_scale_init_value", stored_scale(m),
                           "text_config", text, "vision_config", vision);
    json_decref(text);
    json_decref(vision);
    return done(m, config, out);
}

/* ---- open_clip ---- */

/* open_clip computes (int)(width x ratio): the shortest decimal that gives the width wanted, 4.3637 for 6144 of 1408.
 */
static double mlp_ratio(const struct tower *t)
{
    double exact = (double)t->mlp / (double)t->width;
    for (double unit = 1.0; unit < 1e12; unit *= 10.0) {
        double ratio = ceil(exact * unit - 1e-9) / unit;
        if ((int64_t)((double)t->width * ratio) == t->mlp)
            return ratio;
    }
    return exact;
}

static json_t *oc_norm(double eps)
{
    return fabs(eps - 1e-5) < 1e-12 ? json_null() : json_pack("{s:f}", "eps", eps);
}

static json_t *oc_vision(const struct clip *c)
{
    const struct vit *v = &c->vision;
    const struct resnet *r = c->resnet;
    if (r)
        return json_pack("{s:I, s:[I, I, I, I], s:I, s:I, s:n}", "image_size", (json_int_t)r->image, "layers",
                         (json_int_t)r->layers[0], (json_int_t)r->layers[1], (json_int_t)r->layers[2],
                         (json_int_t)r->layers[3], "width", (json_int_t)r->width, "head_width",
                         (json_int_t)(r->width * 32 / r->heads), "patch_size");
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:I, s:o}", "image_size", (json_int_t)v->image, "layers",
                     (json_int_t)v->tower.layers, "width", (json_int_t)v->tower.width, "head_width",
                     (json_int_t)(v->tower.width / v->tower.heads), "mlp_ratio", mlp_ratio(&v->tower), "patch_size",
                     (json_int_t)v->patch, "norm_kwargs", oc_norm(v->tower.eps));
}

/* Fields without a meaning for a model are left out: older versions of open_clip refuse names they do not know. */
static void drop_null(json_t *o, const char *key)
{
    if (json_is_null(json_object_get(o, key)))
        json_object_del(o, key);
}

static int write_open_clip(const struct model *m, const struct clip *c, json_t **out)
{
    const struct text_tower *x = &c->text;
    const struct resnet *r = c->resnet;
    if (!r && c->vision.tower.act != x->tower.act)
        return cannot(m, LAYOUT_OPEN_CLIP, "the towers have different activations");
    if (r && (r->eps != 1e-5 || r->momentum != 0.1))
        return cannot(m, LAYOUT_OPEN_CLIP, "the batch norms have another eps or momentum than torch's defaults");
    if (!c->end_is_largest && c->end_id != x->vocab - 1)
        return cannot(m, LAYOUT_OPEN_CLIP, "the end token is not the largest id");
    json_t *vision = oc_vision(c);
    json_t *text = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "context_length", (json_int_t)x->context,
                             "vocab_size", (json_int_t)x->vocab, "width", (json_int_t)x->tower.width, "heads",
                             (json_int_t)x->tower.heads, "layers", (json_int_t)x->tower.layers, "mlp_ratio",
                             mlp_ratio(&x->tower), "norm_kwargs", oc_norm(x->tower.eps));
    json_t *config = NULL;
    if (vision && text) {
        drop_null(vision, "norm_kwargs");
        drop_null(text, "norm_kwargs");
        if (x->tower.mlp == 4 * x->tower.width)
            json_object_del(text, "mlp_ratio");
        config = json_pack("{s:{s:I, s:b, s:O, s:O}}", "model_cfg", "embed_dim", (json_int_t)c->embed, "quick_gelu",
                           x->tower.act == ACT_QUICK_GELU, "vision_cfg", vision, "text_cfg", text);
    }
    json_decref(vision);
    json_decref(text);
    return done(m, config, out);
}

/* ---- OpenAI ---- */

static int write_openai(const struct model *m, const struct clip *c, json_t **out)
{
    const struct text_tower *x = &c->text;
    const struct tower *v = &c->vision.tower;
    const struct resnet *r = c->resnet;
    if (x->tower.mlp != 4 * x->tower.width || (!r && v->mlp != 4 * v->width))
        return cannot(m, LAYOUT_OPENAI, "the inner width of its layers is not four times the outer");
    if (!r && (v->act != x->tower.act || fabs(v->eps - x->tower.eps) > 1e-12))
        return cannot(m, LAYOUT_OPENAI, "the towers have different activations or epsilons");
    if (!c->end_is_largest && c->end_id != x->vocab - 1)
        return cannot(m, LAYOUT_OPENAI, "the end token is not the largest id");
    json_t *config =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:I, s:I}", "architecture",
                  r ? "openai CLIP ModifiedResNet" : "openai CLIP VisionTransformer", "embed_dim", (json_int_t)c->embed,
                  "image_resolution", (json_int_t)m->image_size, "vision_width", (json_int_t)(r ? r->width : v->width),
                  "vision_heads", (json_int_t)(r ? r->heads : v->heads), "context_length", (json_int_t)x->context,
                  "vocab_size", (json_int_t)x->vocab, "transformer_width", (json_int_t)x->tower.width,
                  "transformer_heads", (json_int_t)x->tower.heads, "transformer_layers", (json_int_t)x->tower.layers,
                  "hidden_act", act_field(x->tower.act), "layer_norm_eps", x->tower.eps, "bos_token_id",
                  (json_int_t)c->start_id, "eos_token_id", (json_int_t)(c->end_is_largest ? x->vocab - 1 : c->end_id));
    json_t *own = !config ? NULL
                  : r     ? json_pack("{s:[I, I, I, I], s:n, s:f, s:f}", "vision_layers", (json_int_t)r->layers[0],
                                      (json_int_t)r->layers[1], (json_int_t)r->layers[2], (json_int_t)r->layers[3],
                                      "vision_patch_size", "batch_norm_eps", r->eps, "bn_momentum", r->momentum)
                          : json_pack("{s:I, s:I}", "vision_layers", (json_int_t)v->layers, "vision_patch_size",
                                      (json_int_t)c->vision.patch);
    if (!own || json_object_update(config, own) < 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(own);
    return done(m, config, out);
}

int clip_write_config(const struct model *m, enum layout l, json_t **out)
{
    const struct clip *c = m->own;
    if (l == LAYOUT_HF)
        return write_hf(m, c, out);
    return l == LAYOUT_OPEN_CLIP ? write_open_clip(m, c, out) : write_openai(m, c, out);
}
