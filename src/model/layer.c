/* model/layer.c: the transformer block, its names in the layouts, its sizes from a configuration. Packed q, k, v (one
 * product), activation fused into the first product of the MLP. */
#include "model/layer.h"

#include <string.h>

/* ---- forward ---- */

static struct tensor *attend(struct tensor *x, const struct tower *t, const struct block *b, struct sight sight)
{
    struct attention_opt opt = {.heads = t->heads, .causal = sight.causal, .key_keep = sight.key_keep};
    struct tensor *qkv = t_linear(t_layer_norm(x, (struct norm *)&b->norm1), (struct linear *)&b->qkv); /* [B,L,3D] */
    return t_attention_qkv(qkv, opt);                                                                   /* [B,L,D] */
}

static struct tensor *mlp(struct tensor *x, const struct tower *t, const struct block *b)
{
    struct tensor *h = t_layer_norm(x, (struct norm *)&b->norm2);
    h = t_linear_act(h, (struct linear *)&b->fc1, t->act);
    return t_add(x, t_linear(h, (struct linear *)&b->fc2));
}

struct tensor *layer_block(struct tensor *x, const struct tower *t, int64_t i, struct sight sight)
{
    if (!x)
        return NULL;
    const struct block *b = &t->blocks[i];
    struct tape *tape = x->tape;
    struct t_scope scope = t_scope_begin(tape);
    struct tensor *h = t_add(x, t_linear(attend(x, t, b, sight), (struct linear *)&b->out));
    return t_scope_end(tape, scope, mlp(h, t, b));
}

struct tensor *layer_block_row(struct tensor *x, const struct tower *t, int64_t i, struct sight sight,
                               const int32_t *at)
{
    if (!x)
        return NULL;
    const struct block *b = &t->blocks[i];
    struct tape *tape = x->tape;
    struct t_scope scope = t_scope_begin(tape);
    struct tensor *a = t_pick(attend(x, t, b, sight), at); /* [B,D] */
    struct tensor *h = t_add(t_pick(x, at), t_linear(a, (struct linear *)&b->out));
    return t_scope_end(tape, scope, mlp(h, t, b));
}

/* Rows of q do not see each other, so the beams of one picture are one longer list of queries. */
struct tensor *layer_cross_attention(struct tensor *q, struct tensor *keys, struct tensor *values, int64_t heads)
{
    if (!q || !keys)
        return NULL;
    int64_t n = q->shape[0], len = q->shape[1], d = q->shape[2], pictures = keys->shape[0];
    struct attention_opt opt = {.heads = heads};
    if (n == pictures)
        return t_attention(q, keys, values, opt);
    BUG_ON(n % pictures);
    q = t_reshape(q, SHAPE(pictures, n / pictures * len, d));
    return t_reshape(t_attention(q, keys, values, opt), SHAPE(n, len, d));
}

/* ---- parameters ---- */

int tower_make(struct tower *t, struct arena *a)
{
    t->blocks = arena_calloc(a, (size_t)t->layers, sizeof *t->blocks);
    if (!t->blocks)
        return ERR_MEMORY;
    for (int64_t i = 0; i < t->layers; i++) {
        struct block *b = &t->blocks[i];
        b->norm1.eps = b->norm2.eps = t->eps;
        b->qkv.has_bias = b->out.has_bias = b->fc1.has_bias = b->fc2.has_bias = true;
    }
    return 0;
}

#define AT(field) offsetof(struct block, field)
static const struct param_row hf_rows[] = {
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
static const struct param_row openai_rows[] = {
    {"ln_1.weight", AT(norm1.w), "D", INIT_ONE},          {"ln_1.bias", AT(norm1.b), "D", INIT_ZERO},
    {"attn.in_proj_weight", AT(qkv.w), "QD", INIT_WIDTH}, {"attn.in_proj_bias", AT(qkv.b), "Q", INIT_ZERO},
    {"attn.out_proj.weight", AT(out.w), "DD", INIT_OUT},  {"attn.out_proj.bias", AT(out.b), "D", INIT_ZERO},
    {"ln_2.weight", AT(norm2.w), "D", INIT_ONE},          {"ln_2.bias", AT(norm2.b), "D", INIT_ZERO},
    {"mlp.c_fc.weight", AT(fc1.w), "MD", INIT_MLP},       {"mlp.c_fc.bias", AT(fc1.b), "M", INIT_ZERO},
    {"mlp.c_proj.weight", AT(fc2.w), "DM", INIT_OUT},     {"mlp.c_proj.bias", AT(fc2.b), "D", INIT_ZERO},
};
static const struct param_row blip_rows[] = {
    {"layer_norm1.weight", AT(norm1.w), "D", INIT_ONE},
    {"layer_norm1.bias", AT(norm1.b), "D", INIT_ZERO},
    {"self_attn.qkv.weight", AT(qkv.w), "QD", INIT_WIDTH},
    {"self_attn.qkv.bias", AT(qkv.b), "Q", INIT_ZERO},
    {"self_attn.projection.weight", AT(out.w), "DD", INIT_OUT},
    {"self_attn.projection.bias", AT(out.b), "D", INIT_ZERO},
    {"layer_norm2.weight", AT(norm2.w), "D", INIT_ONE},
    {"layer_norm2.bias", AT(norm2.b), "D", INIT_ZERO},
    {"mlp.fc1.weight", AT(fc1.w), "MD", INIT_MLP},
    {"mlp.fc1.bias", AT(fc1.b), "M", INIT_ZERO},
    {"mlp.fc2.weight", AT(fc2.w), "DM", INIT_OUT},
    {"mlp.fc2.bias", AT(fc2.b), "D", INIT_ZERO},
};
#undef AT

int tower_bind(struct tower *t, enum tower_names names, const char *prefix, struct params *p, struct arena *a)
{
    static const struct {
        const struct param_row *rows;
        int n;
    } tables[] = {
        [NAMES_HF] = {hf_rows, ARRAY_LEN(hf_rows)},
        [NAMES_OPENAI] = {openai_rows, ARRAY_LEN(openai_rows)},
        [NAMES_BLIP] = {blip_rows, ARRAY_LEN(blip_rows)},
    };
    struct param_sizes s = {
        .letters = "DMQ", .sizes = {t->width, t->mlp, 3 * t->width}, .width = t->width, .layers = t->layers};
    for (int64_t i = 0; i < t->layers; i++) {
        char full[256];
        snprintf(full, sizeof full, "%s%d.", prefix, (int)i);
        TRY(params_bind(p, a, tables[names].rows, tables[names].n, &t->blocks[i], full, &s));
    }
    return 0;
}

/* ---- configuration ---- */

static const struct {
    const char *name;
    enum act act;
} known[] = {{"quick_gelu", ACT_QUICK_GELU}, {"gelu", ACT_GELU}, {"gelu_pytorch_tanh", ACT_GELU_TANH}};

void model_note_arithmetic(struct model *m, int64_t heads, double eps, enum act act)
{
    size_t at = strlen(m->arithmetic);
    const char *name = "none";
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        name = known[i].act == act ? known[i].name : name;
    int n = snprintf(m->arithmetic + at, sizeof m->arithmetic - at, "%lld %g %s;", (long long)heads, eps, name);
    BUG_ON(n < 0 || (size_t)n >= sizeof m->arithmetic - at);
}

int layer_read_act(const json_t *config, const char *where, enum act *act)
{
    const char *name = NULL;
    TRY(json_field_str(config, "hidden_act", true, &name, where));
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (!strcmp(name, known[i].name)) {
            *act = known[i].act;
            return 0;
        }
    FAIL(ERR_DATA,
         "%s: field \"hidden_act\" is \"%s\", expected \"quick_gelu\", \"gelu\" or \"gelu_pytorch_tanh\"; another "
         "activation would give wrong vectors, so it is never guessed",
         where, name);
}

int tower_read_hf(struct tower *t, const json_t *config, double eps, const char *where)
{
    TRY(json_field_int(config, "hidden_size", !t->width, 1, limit_get(LIMIT_WIDTH), &t->width, where));
    TRY(json_field_int(config, "num_hidden_layers", !t->layers, 1, limit_get(LIMIT_LAYERS), &t->layers, where));
    TRY(json_field_int(config, "num_attention_heads", !t->heads, 1, 1024, &t->heads, where));
    if (t->width % t->heads)
        FAIL(ERR_DATA, "%s: field \"num_attention_heads\" is %lld, expected a divisor of \"hidden_size\" (%lld)", where,
             (long long)t->heads, (long long)t->width);
    TRY(json_field_int(config, "intermediate_size", !t->mlp, 1, 16 * limit_get(LIMIT_WIDTH), &t->mlp, where));
    t->eps = eps;
    TRY(json_field_real(config, "layer_norm_eps", false, 1e-12, 1.0, &t->eps, where));
    if (t->act != ACT_NONE && !json_object_get(config, "hidden_act"))
        return 0;
    return layer_read_act(config, where, &t->act);
}

int config_section(const json_t *config, const char *key, const char *where, const json_t **out)
{
    *out = json_object_get(config, key);
    if (!json_is_object(*out))
        FAIL(ERR_DATA, "%s: field \"%s\" is missing, expected an object with the sizes of that tower", where, key);
    return 0;
}

int vit_read_sizes(struct vit *v, const json_t *config, int64_t image, const char *where)
{
    TRY(json_field_int(config, "image_size", !v->image, 1, 8192, &v->image, where));
    TRY(json_field_int(config, "patch_size", !v->patch, 1, 8192, &v->patch, where));
    return vit_take_size(v, image, where);
}

int vit_take_size(struct vit *v, int64_t image, const char *where)
{
    if (v->image < v->patch)
        FAIL(ERR_DATA, "%s: field \"patch_size\" is %lld, expected at most \"image_size\" (%lld)", where,
             (long long)v->patch, (long long)v->image);
    if (image && image != v->image && (image % v->patch || image < 0 || image > 8192))
        FAIL(ERR_USAGE, "%s: pictures of %lld were asked for, expected a multiple of \"patch_size\" (%lld) up to 8192",
             where, (long long)image, (long long)v->patch);
    if (image)
        v->image = image;
    return 0;
}
