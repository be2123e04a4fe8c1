/* model/clip_fields.c: the sections of open_clip's configurations that CLIP and CoCa share, with its defaults.
 *
 * open_clip grows a field a month, most of them change the arithmetic. So the list is of what is understood: a field
 * that is not on it is accepted only when it is off (null, false, empty), and refused by its name otherwise. Rejected:
 * a list of the fields known to be harmful, which is out of date the day after it is written. */
#include "model/clip.h"

#include <string.h>

/* ---- what may stand there ---- */

static bool is_off(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_object(v) && !json_object_size(v)) ||
           (json_is_array(v) && !json_array_size(v));
}

/* Fields of its branches whose false is the variant: they are never skipped. */
static bool is_on_unless_false(const char *key)
{
    return !strcmp(key, "ln_pre") || !strcmp(key, "attention_mask");
}

static int refuse(const char *key, const json_t *v, const char *expected, const char *where)
{
    struct str found = {0};
    str_add_json(&found, v, JSON_ENCODE_ANY | JSON_COMPACT);
    int rc = err_set(ERR_UNSUPPORTED, "%s: field \"%s\" is %.80s, expected %s; this variant is not computed here",
                     where, key, found.s ? found.s : "?", expected);
    str_free(&found);
    return rc;
}

int config_check_fields(const json_t *o, const struct config_field *fields, size_t n, const char *where)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        const struct config_field *f = NULL;
        for (size_t i = 0; i < n && !f; i++)
            f = strcmp(fields[i].key, key) ? NULL : &fields[i];
        if (is_on_unless_false(key) && json_is_false(v))
            return refuse(key, v, "it to be absent, null or true", where);
        if (is_off(v) || is_on_unless_false(key) || (f && !f->only))
            continue;
        if (!f)
            return refuse(key, v, "it to be absent, null or false", where);
        if (!json_is_string(v) || strcmp(json_string_value(v), f->only)) {
            char expected[80];
            snprintf(expected, sizeof expected, "\"%s\"", f->only);
            return refuse(key, v, expected, where);
        }
    }
    return 0;
}

/* ---- open_clip's sections ---- */

/* {"eps": 1e-6} */
static int read_norm(const json_t *cfg, double *eps, const char *where)
{
    static const struct config_field known[] = {{"eps", NULL}};
    char at[1200];
    const json_t *o = json_object_get(cfg, "norm_kwargs");
    *eps = 1e-5;
    if (!json_is_object(o))
        return 0;
    snprintf(at, sizeof at, "%s: norm_kwargs", where);
    TRY(config_check_fields(o, known, ARRAY_LEN(known), at));
    return json_field_real(o, "eps", false, 1e-12, 1.0, eps, at);
}

static int read_tower(struct tower *t, const json_t *cfg, bool quick, const char *where)
{
    double ratio = 4.0;
    TRY(json_field_int(cfg, "width", false, 1, limit_get(LIMIT_WIDTH), &t->width, where));
    TRY(json_field_int(cfg, "layers", false, 1, limit_get(LIMIT_LAYERS), &t->layers, where));
    TRY(json_field_real(cfg, "mlp_ratio", false, 1e-3, 16.0, &ratio, where));
    t->mlp = (int64_t)((double)t->width * ratio); /* cut, not rounded: 1408 x 4.3637 is 6144 */
    if (t->mlp < 1)
        FAIL(ERR_DATA, "%s: field \"mlp_ratio\" is %g, expected more than 1 / \"width\" (%lld)", where, ratio,
             (long long)t->width);
    t->act = quick ? ACT_QUICK_GELU : ACT_GELU;
    return read_norm(cfg, &t->eps, where);
}

static int check_heads(const struct tower *t, const char *field, int64_t value, const char *where)
{
    if (t->heads < 1 || t->heads > 1024 || t->width % t->heads)
        FAIL(ERR_DATA, "%s: field \"%s\" is %lld, which makes %lld heads; expected a divisor of \"width\" (%lld)",
             where, field, (long long)value, (long long)t->heads, (long long)t->width);
    return 0;
}

int oc_read_image_size(const json_t *cfg, int64_t *size, const char *where)
{
    const json_t *v = json_object_get(cfg, "image_size");
    *size = 224;
    if (!json_is_array(v))
        return json_field_int(cfg, "image_size", false, 1, 8192, size, where);
    const json_t *h = json_array_get(v, 0), *w = json_array_get(v, 1);
    if (json_array_size(v) != 2 || !json_is_integer(h) || !json_is_integer(w) ||
        json_integer_value(h) != json_integer_value(w))
        return refuse("image_size", v, "one number, or the same number twice (square pictures)", where);
    *size = json_integer_value(h);
    if (*size < 1 || *size > 8192)
        FAIL(ERR_DATA, "%s: field \"image_size\" is %lld, expected 1 to 8192", where, (long long)*size);
    return 0;
}

int oc_read_vit(struct vit *v, const json_t *cfg, bool quick, int64_t image, const char *where)
{
    int64_t head_width = 64;
    v->tower.width = 768;
    v->tower.layers = 12;
    v->patch = 16;
    TRY(read_tower(&v->tower, cfg, quick, where));
    TRY(json_field_int(cfg, "head_width", false, 1, limit_get(LIMIT_WIDTH), &head_width, where));
    v->tower.heads = v->tower.width / head_width;
    TRY(check_heads(&v->tower, "head_width", head_width, where));
    TRY(oc_read_image_size(cfg, &v->image, where));
    TRY(json_field_int(cfg, "patch_size", false, 1, 8192, &v->patch, where));
    return vit_take_size(v, image, where);
}

int oc_read_text(struct text_tower *x, const json_t *cfg, bool quick, const char *where)
{
    x->tower.width = 512;
    x->tower.layers = 12;
    x->tower.heads = 8;
    x->context = 77;
    x->vocab = 49408;
    TRY(read_tower(&x->tower, cfg, quick, where));
    TRY(json_field_int(cfg, "heads", false, 1, 1024, &x->tower.heads, where));
    TRY(check_heads(&x->tower, "heads", x->tower.heads, where));
    TRY(json_field_int(cfg, "context_length", false, 2, 65536, &x->context, where));
    return json_field_int(cfg, "vocab_size", false, 2, 10000000, &x->vocab, where);
}
