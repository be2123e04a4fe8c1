/* CLIP as other libraries keep it: sharded and half-precision weights, the layouts of open_clip and OpenAI and the way
 * back, fields that are refused, the published sizes. */
#include "golden_check.h"
#include "model/clip.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/meridian-test-XXXXXX";

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/meridian-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    path_remove_tree(dir);
    return 0;
}

static void put(const char *name, const char *text)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(atomic_put(path, text, strlen(text)), 0);
}

static void copy_config(void)
{
    char path[1024];
    json_t *config;
    golden_path(path, sizeof path, "config.json");
    assert_int_equal(json_read_file(&config, path), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
}

static const char *shard_name(char *out, size_t n, int64_t i)
{
    snprintf(out, n, "model-%05d-of-00003.safetensors", (int)i + 1);
    return out;
}

/* The golden weights in three files of the type, with an index. */
static json_t *split(enum dtype type)
{
    struct st_file *f = golden_file("model.safetensors");
    json_t *map = json_object();
    int64_t n = st_count(f), total = 0;
    for (int64_t shard = 0; shard < 3; shard++) {
        struct st_tensor list[64];
        int64_t k = 0;
        char name[64], path[1200];
        for (int64_t i = shard; i < n; i += 3) {
            struct st_tensor t = *st_at(f, i);
            size_t numbers = t.n_bytes / sizeof(float);
            void *bytes = mem_alloc(numbers * dtype_size(type) + 1);
            assert_int_equal(dtype_convert(type, bytes, DT_F32, t.data, numbers), 0);
            t.dtype = type;
            t.data = bytes;
            t.n_bytes = numbers * dtype_size(type);
            total += (int64_t)t.n_bytes;
            list[k++] = t;
            json_object_set_new(map, t.name, json_string(shard_name(name, sizeof name, shard)));
        }
        snprintf(path, sizeof path, "%s/%s", dir, shard_name(name, sizeof name, shard));
        assert_int_equal(st_write(path, list, k, NULL), 0);
        while (k > 0)
            mem_free((void *)(uintptr_t)list[--k].data);
    }
    st_close(&f);
    return json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
}

static void put_index(json_t *index)
{
    char *text = json_dumps(index, 0);
    put("model.safetensors.index.json", text);
    free(text);
    json_decref(index);
}

static double worst_cosine(const struct golden *g, const char *name, const float *x, int64_t n, int64_t d)
{
    const float *e = st_find(g->expected, name)->data;
    double worst = 1;
    for (int64_t i = 0; i < n; i++) {
        double dot = 0;
        for (int64_t j = 0; j < d; j++)
            dot += (double)x[i * d + j] * (double)e[i * d + j];
        worst = dot < worst ? dot : worst;
    }
    return worst;
}

/* Three shards give the numbers of one file, in F32 bit for bit. */
static void test_shards(void **state)
{
    static const enum dtype types[] = {DT_F32, DT_F16, DT_BF16};
    static const double bars[] = {0.9999999, 0.99999, 0.9995};
    struct golden g;
    golden_open(&g, "cpu");
    copy_config();
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct model *m;
        char one[65], many[65];
        float image[6 * 24], text[6 * 24];
        put_index(split(types[i]));
        if (model_open(&m, dir, g.m->engine) < 0)
            fail_msg("%s", err_text());
        assert_int_equal(model_embed_pixels(m, g.pixels, g.n, false, image), 0);
        assert_int_equal(model_embed_ids(m, g.ids, g.n, g.context, false, text), 0);
        double a = worst_cosine(&g, "image_embeds", image, 6, 24), b = worst_cosine(&g, "text_embeds", text, 6, 24);
        if (!(a >= bars[i] && b >= bars[i]))
            fail_msg("%s: cosines %.8f and %.8f, expected %.8f", dtype_name(types[i]), a, b, bars[i]);
        assert_int_equal(model_fingerprint(m, many), 0);
        m->preprocess = g.m->preprocess;
        assert_int_equal(model_fingerprint(m, many), 0);
        assert_int_equal(model_fingerprint(g.m, one), 0);
        assert_int_equal(strcmp(one, many) == 0, types[i] == DT_F32);
        model_close(&m);
    }
    golden_close(&g);
}

static void refused(const char *says, int code)
{
    const struct engine *e;
    struct model *m = NULL;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    int rc = model_open(&m, dir, e);
    assert_null(m);
    if (rc != code || !strstr(err_text(), says))
        fail_msg("rc %d, expected %d and \"%s\": %s", rc, code, says, err_text());
}

/* An index that lies about its shards, or leads out of the folder. */
static void test_bad_index(void **state)
{
    static const char *const bad[] = {"../model-00001-of-00003.safetensors", "/etc/model.safetensors",
                                      "sub/model.safetensors", "model.bin", ""};
    char path[1200], away[1300], name[64];
    copy_config();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *index = split(DT_F32);
        json_object_set_new(json_object_get(index, "weight_map"), "logit_scale", json_string(bad[i]));
        put_index(index);
        refused("index.json", ERR_DATA);
    }
    json_t *index = split(DT_F32);
    json_object_set_new(json_object_get(index, "weight_map"), "logit_scale", json_integer(3));
    put_index(index);
    refused("logit_scale", ERR_DATA);

    index = split(DT_F32); /* named, but in none of the files */
    json_object_set_new(json_object_get(index, "weight_map"), "ghost.weight",
                        json_string(shard_name(name, sizeof name, 0)));
    put_index(index);
    refused("ghost.weight", ERR_DATA);

    index = split(DT_F32); /* said to lie in another shard than it does */
    json_t *map = json_object_get(index, "weight_map");
    const char *first = json_string_value(json_object_get(map, "logit_scale"));
    json_object_set_new(
        map, "logit_scale",
        json_string(shard_name(name, sizeof name, strcmp(first, shard_name(path, sizeof path, 0)) ? 0 : 1)));
    put_index(index);
    refused("logit_scale", ERR_DATA);

    put("model.safetensors.index.json", "{\"weight_map\": {}}");
    refused("weight_map", ERR_DATA);
    put("model.safetensors.index.json", "[1]");
    refused("weight_map", ERR_DATA);

    put_index(split(DT_F32));
    snprintf(path, sizeof path, "%s/%s", dir, shard_name(name, sizeof name, 1));
    snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    refused("model-00002-of-00003.safetensors", ERR_DATA);
}

/* ---- layouts ---- */

static void same_vectors(const struct golden *g, struct model *m)
{
    float a[6 * 24], b[6 * 24];
    assert_int_equal(model_embed_pixels(g->m, g->pixels, g->n, false, a), 0);
    assert_int_equal(model_embed_pixels(m, g->pixels, g->n, false, b), 0);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(model_embed_ids(g->m, g->ids, g->n, g->context, false, a), 0);
    assert_int_equal(model_embed_ids(m, g->ids, g->n, g->context, false, b), 0);
    assert_memory_equal(a, b, sizeof a);
}

static struct model *open_sub(const char *sub, const struct engine *e)
{
    char path[1200];
    struct model *m;
    snprintf(path, sizeof path, "%s/%s", dir, sub);
    if (model_open(&m, path, e) < 0)
        fail_msg("%s", err_text());
    return m;
}

static void save_sub(struct model *m, const char *sub, enum layout l)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, sub);
    assert_int_equal(path_make_dirs(path), 0);
    if (model_save_as(m, path, DT_F32, l) < 0)
        fail_msg("%s", err_text());
}

/* HuggingFace -> other -> HuggingFace: the same bytes of every weight, the same vectors, a config that means the same.
 */
static void test_round_trip(void **state)
{
    struct golden g;
    golden_open(&g, "cpu");
    for (int l = LAYOUT_OPEN_CLIP; l <= LAYOUT_OPENAI; l++) {
        save_sub(g.m, "other", (enum layout)l);
        struct model *other = open_sub("other", g.m->engine);
        assert_int_equal(other->layout, l);
        same_vectors(&g, other);
        save_sub(other, "back", LAYOUT_HF);
        struct model *back = open_sub("back", g.m->engine);
        assert_int_equal(back->layout, LAYOUT_HF);
        same_vectors(&g, back);
        char path[1300];
        struct st_file *first = golden_file("model.safetensors"), *second;
        snprintf(path, sizeof path, "%s/back/model.safetensors", dir);
        assert_int_equal(st_open(&second, path), 0);
        assert_int_equal(st_count(first), st_count(second));
        for (int64_t i = 0; i < st_count(first); i++) {
            const struct st_tensor *a = st_at(first, i), *b = st_find(second, a->name);
            assert_non_null(b);
            assert_int_equal(a->n_bytes, b->n_bytes);
            assert_memory_equal(a->data, b->data, a->n_bytes);
        }
        const json_t *vision = json_object_get(back->config, "vision_config");
        const json_t *before = json_object_get(g.m->config, "vision_config");
        const char *const keys[] = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                    "image_size",  "patch_size",        "num_channels",      "hidden_act",
                                    "model_type",  "projection_dim"};
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            assert_true(json_equal(json_object_get(vision, keys[k]), json_object_get(before, keys[k])));
        st_close(&first);
        st_close(&second);
        model_close(&other);
        model_close(&back);
        snprintf(path, sizeof path, "%s/other", dir);
        path_remove_tree(path);
    }
    golden_close(&g);
}

static const char vit_b32[] = "{\"model_cfg\": {\"embed_dim\": 512, \"vision_cfg\": {\"image_size\": 224, \"layers\": "
                              "12, \"width\": 768, \"patch_size\": 32}, \"text_cfg\": {\"context_length\": 77, "
                              "\"vocab_size\": 49408, \"width\": 512, \"heads\": 8, \"layers\": 12}}}";

static int count(enum layout l, json_t *config, int64_t *n)
{
    int rc = model_count(l, config, "config", n);
    json_decref(config);
    return rc;
}

static json_t *with(const char *section, const char *key, json_t *value)
{
    json_t *config = json_loads(vit_b32, 0, NULL), *o = json_object_get(config, "model_cfg");
    assert_non_null(config);
    json_object_set_new(section[0] ? json_object_get(o, section) : o, key, value);
    return config;
}

/* timm's folder of a CLIP tower: its own config.json and weights beside the open_clip copy, which is the one that has
 * both towers. */
static void test_timm_folder(void **state)
{
    struct golden g;
    char path[1300], other[1300];
    golden_open(&g, "cpu");
    save_sub(g.m, "timm", LAYOUT_OPEN_CLIP);
    put("timm/config.json", "{\"architecture\": \"vit_base_patch32_clip_224\", \"num_classes\": 512}");
    golden_path(path, sizeof path, "model.safetensors");
    snprintf(other, sizeof other, "%s/timm/model.safetensors", dir);
    assert_int_equal(symlink(path, other), 0);
    struct model *m = open_sub("timm", g.m->engine);
    assert_int_equal(m->layout, LAYOUT_OPEN_CLIP);
    same_vectors(&g, m);
    model_close(&m);
    golden_close(&g);
}

/* Another size of pictures is saved where it will be read: in the relic section when there is one. */
static void test_relic_size(void **state)
{
    struct golden g;
    char path[1300], other[1300];
    struct model *m = NULL;
    json_t *config;
    golden_open(&g, "cpu");
    save_sub(g.m, "relic", LAYOUT_HF);
    snprintf(path, sizeof path, "%s/relic", dir);
    snprintf(other, sizeof other, "%s/relic/config.json", dir);
    assert_int_equal(json_read_file(&config, other), 0);
    json_object_set(config, "vision_config_dict", json_object_get(config, "vision_config"));
    assert_int_equal(json_dump_file(config, other, 0), 0);
    json_decref(config);
    int64_t size = 2 * g.m->image_size;
    if (model_open_opt(&m, path, &(struct model_opt){.image_size = size}, g.m->engine) < 0)
        fail_msg("%s", err_text());
    save_sub(m, "larger", LAYOUT_HF);
    struct model *again = open_sub("larger", g.m->engine);
    assert_int_equal(again->image_size, size);
    assert_int_equal(again->params.n_slab, m->params.n_slab);
    assert_memory_equal(again->params.data, m->params.data, (size_t)m->params.n_slab * sizeof(float));
    model_close(&again);
    model_close(&m);
    golden_close(&g);
}

/* The same weights with the other GELU are another model. */
static void test_fingerprint(void **state)
{
    struct golden g;
    char path[1300], print[3][65];
    json_t *config;
    golden_open(&g, "cpu");
    save_sub(g.m, "one", LAYOUT_OPEN_CLIP);
    for (int i = 0; i < 3; i++) {
        struct model *m = open_sub("one", g.m->engine);
        assert_int_equal(model_fingerprint(m, print[i]), 0);
        model_close(&m);
        snprintf(path, sizeof path, "%s/one/open_clip_config.json", dir);
        assert_int_equal(json_read_file(&config, path), 0);
        json_t *cfg = json_object_get(config, "model_cfg");
        json_object_set_new(cfg, "quick_gelu", json_boolean(!json_is_true(json_object_get(cfg, "quick_gelu"))));
        assert_int_equal(json_dump_file(config, path, 0), 0);
        json_decref(config);
    }
    assert_string_not_equal(print[0], print[1]);
    assert_string_equal(print[0], print[2]);
    golden_close(&g);
}

/* What is not read says what is read instead. */
static void test_kin(void **state)
{
    static const char *const cases[][2] = {
        {"siglip2", "NaFlex"},
        {"clip_vision_model", "one tower"},
        {"siglip_text_model", "one tower"},
        {"metaclip_2", "model_type clip"},
        {"align", "families clip, siglip"},
    };
    int64_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(count(LAYOUT_HF, json_pack("{s:s}", "model_type", cases[i][0]), &n) < 0);
        if (!strstr(err_text(), cases[i][0]) || !strstr(err_text(), cases[i][1]))
            fail_msg("%s: %s", cases[i][0], err_text());
    }
    assert_int_equal(count(LAYOUT_OPEN_CLIP, with("", "init_logit_bias", json_integer(-10)), &n), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "google/siglip"));
    assert_int_equal(count(LAYOUT_HF, json_object(), &n), ERR_DATA);
    assert_non_null(strstr(err_text(), "missing"));
}

/* custom_text: the text tower's names begin with "text."; written again in the same layout they still do. */
static void test_custom_text(void **state)
{
    struct golden g;
    char path[1300];
    golden_open(&g, "cpu");
    save_sub(g.m, "plain", LAYOUT_OPEN_CLIP);
    snprintf(path, sizeof path, "%s/custom", dir);
    assert_int_equal(path_make_dirs(path), 0);
    struct st_file *f;
    snprintf(path, sizeof path, "%s/plain/open_clip_model.safetensors", dir);
    assert_int_equal(st_open(&f, path), 0);
    struct st_tensor list[128];
    char names[128][128];
    for (int64_t i = 0; i < st_count(f); i++) {
        bool text = strcmp(st_at(f, i)->name, "logit_scale") && !str_starts(st_at(f, i)->name, "visual.");
        list[i] = *st_at(f, i);
        snprintf(names[i], sizeof names[i], "%s%s", text ? "text." : "", list[i].name);
        list[i].name = names[i];
    }
    snprintf(path, sizeof path, "%s/custom/open_clip_model.safetensors", dir);
    assert_int_equal(st_write(path, list, st_count(f), NULL), 0);
    st_close(&f);
    json_t *config;
    snprintf(path, sizeof path, "%s/plain/open_clip_config.json", dir);
    assert_int_equal(json_read_file(&config, path), 0);
    json_object_set_new(json_object_get(config, "model_cfg"), "custom_text", json_true());
    snprintf(path, sizeof path, "%s/custom/open_clip_config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    struct model *m = open_sub("custom", g.m->engine);
    same_vectors(&g, m);
    save_sub(m, "custom2", LAYOUT_OPEN_CLIP);
    struct model *again = open_sub("custom2", g.m->engine);
    same_vectors(&g, again);
    model_close(&again);
    save_sub(m, "custom3", LAYOUT_HF);
    again = open_sub("custom3", g.m->engine);
    same_vectors(&g, again);
    model_close(&again);
    model_close(&m);
    golden_close(&g);
}

/* ---- configurations ---- */

/* What open_clip computes and we do not is refused by the field's name. */
static void test_refused_fields(void **state)
{
    static const struct {
        const char *section, *key, *value; /* JSON */
        int code;                          /* 0: accepted */
    } cases[] = {
        {"vision_cfg", "timm_model_name", "\"vit_base_patch16_224\"", ERR_UNSUPPORTED},
        {"vision_cfg", "ls_init_value", "0.1", ERR_UNSUPPORTED},
        {"vision_cfg", "ls_init_value", "null", 0},
        {"vision_cfg", "attentional_pool", "true", ERR_UNSUPPORTED},
        {"vision_cfg", "no_ln_pre", "true", ERR_UNSUPPORTED},
        {"vision_cfg", "final_ln_after_pool", "true", ERR_UNSUPPORTED},
        {"vision_cfg", "pool_type", "\"avg\"", ERR_UNSUPPORTED},
        {"vision_cfg", "pool_type", "\"tok\"", 0},
        {"vision_cfg", "pos_embed_type", "\"sin_cos_2d\"", ERR_UNSUPPORTED},
        {"vision_cfg", "act_kwargs", "{\"approximate\": \"tanh\"}", ERR_UNSUPPORTED},
        {"vision_cfg", "norm_kwargs", "{\"eps\": 1e-6}", 0},
        {"vision_cfg", "norm_kwargs", "{\"bias\": 1}", ERR_UNSUPPORTED},
        {"vision_cfg", "patch_dropout", "0.5", 0},
        {"vision_cfg", "image_size", "[224, 224]", 0},
        {"vision_cfg", "image_size", "[224, 320]", ERR_UNSUPPORTED},
        {"vision_cfg", "image_size", "225", 0}, /* 7 patches of 32 and a column that fills none */
        {"vision_cfg", "image_size", "31", ERR_DATA},
        {"vision_cfg", "ln_pre", "false", ERR_UNSUPPORTED},
        {"vision_cfg", "ln_pre", "true", 0},
        {"vision_cfg", "head_width", "7", ERR_DATA},
        {"vision_cfg", "head_width", "0", ERR_DATA},
        {"vision_cfg", "layers", "[1, 2, 3]", ERR_DATA},
        {"vision_cfg", "layers", "[1, 2, 3, 0]", ERR_DATA},
        {"vision_cfg", "layers", "-1", ERR_DATA},
        {"vision_cfg", "width", "1000000000", ERR_DATA},
        {"vision_cfg", "mlp_ratio", "1e300", ERR_DATA},
        {"vision_cfg", "something_new", "1", ERR_UNSUPPORTED},
        {"text_cfg", "hf_model_name", "\"roberta-base\"", ERR_UNSUPPORTED},
        {"text_cfg", "attention_mask", "false", ERR_UNSUPPORTED},
        {"text_cfg", "eos_id", "2", 0}, /* the largest id is read */
        {"text_cfg", "pool_type", "\"eos\"", ERR_UNSUPPORTED},
        {"text_cfg", "pool_type", "\"last\"", ERR_UNSUPPORTED},
        {"text_cfg", "no_causal_mask", "true", ERR_UNSUPPORTED},
        {"text_cfg", "proj_bias", "true", ERR_UNSUPPORTED},
        {"text_cfg", "proj_bias", "false", 0},
        {"text_cfg", "embed_cls", "true", ERR_UNSUPPORTED},
        {"text_cfg", "heads", "5", ERR_DATA},
        {"text_cfg", "vocab_size", "1", ERR_DATA},
        {"", "nonscalar_logit_scale", "true", ERR_UNSUPPORTED},
        {"", "init_logit_bias", "-10", ERR_UNSUPPORTED},
        {"", "decoder_cfg", "{\"layers\": 1}", ERR_UNSUPPORTED},
        {"", "quick_gelu", "\"yes\"", ERR_DATA},
        {"", "embed_dim", "0", ERR_DATA},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t n = 0;
        json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
        int rc = count(LAYOUT_OPEN_CLIP, with(cases[i].section, cases[i].key, value), &n);
        if (rc != cases[i].code)
            fail_msg("%s %s: %d, expected %d: %s", cases[i].key, cases[i].value, rc, cases[i].code, err_text());
        if (rc < 0 && (!strstr(err_text(), cases[i].key) || !strstr(err_text(), "expected")))
            fail_msg("message without the field %s: %s", cases[i].key, err_text());
    }
}

struct size {
    const char *name;
    int64_t layers[4], width, heads, mlp, patch, image, embed, text_width, text_heads, text_layers, published;
};
/* Sizes as the libraries' configurations have them; parameters as published (bigG: to 10,000, 2539.57 M). */
static const struct size sizes[] = {
    {"ViT-B/32", {12}, 768, 12, 3072, 32, 224, 512, 512, 8, 12, 151277313},
    {"ViT-B/16", {12}, 768, 12, 3072, 16, 224, 512, 512, 8, 12, 149620737},
    {"ViT-L/14", {24}, 1024, 16, 4096, 14, 224, 768, 768, 12, 12, 427616513},
    {"ViT-L/14@336", {24}, 1024, 16, 4096, 14, 336, 768, 768, 12, 12, 427944193},
    {"ViT-H/14", {32}, 1280, 16, 5120, 14, 224, 1024, 1024, 16, 24, 986109441},
    {"ViT-g/14", {40}, 1408, 16, 6144, 14, 224, 1024, 1024, 16, 24, 1366678273},
    {"ViT-bigG/14", {48}, 1664, 16, 8192, 14, 224, 1280, 1280, 20, 32, 2539567105},
    {"RN50", {3, 4, 6, 3}, 64, 32, 0, 0, 224, 1024, 512, 8, 12, 102007137},
    {"RN101", {3, 4, 23, 3}, 64, 32, 0, 0, 224, 512, 512, 8, 12, 119688033},
    {"RN50x4", {4, 6, 10, 6}, 80, 40, 0, 0, 288, 640, 640, 10, 12, 178300601},
    {"RN50x16", {6, 8, 18, 8}, 96, 48, 0, 0, 384, 768, 768, 12, 12, 290979217},
    {"RN50x64", {3, 15, 36, 10}, 128, 64, 0, 0, 448, 1024, 1024, 16, 12, 623258305},
};

static json_t *hf_config(const struct size *s)
{
    return json_pack("{s:s, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:s}, s:{s:I, s:I, s:I, s:I, s:s}}", "model_type",
                     "clip", "projection_dim", s->embed, "vision_config", "hidden_size", s->width, "intermediate_size",
                     s->mlp, "num_hidden_layers", s->layers[0], "num_attention_heads", s->heads, "image_size", s->image,
                     "patch_size", s->patch, "hidden_act", "gelu", "text_config", "hidden_size", s->text_width,
                     "intermediate_size", 4 * s->text_width, "num_hidden_layers", s->text_layers, "num_attention_heads",
                     s->text_heads, "hidden_act", "gelu");
}

static json_t *oc_config(const struct size *s)
{
    json_t *layers = s->layers[1] ? json_pack("[I, I, I, I]", s->layers[0], s->layers[1], s->layers[2], s->layers[3])
                                  : json_integer(s->layers[0]);
    json_t *vision = json_pack("{s:I, s:I, s:o}", "image_size", s->image, "width", s->width, "layers", layers);
    if (s->patch) {
        double ratio = ceil((double)s->mlp / (double)s->width * 1e4) / 1e4; /* as published: 4.3637, 4.9231 */
        json_object_set_new(vision, "patch_size", json_integer(s->patch));
        json_object_set_new(vision, "head_width", json_integer(s->width / s->heads));
        json_object_set_new(vision, "mlp_ratio", json_real(ratio));
    }
    return json_pack("{s:{s:I, s:o, s:{s:I, s:I, s:I, s:I, s:I}}}", "model_cfg", "embed_dim", s->embed, "vision_cfg",
                     vision, "text_cfg", "context_length", (json_int_t)77, "vocab_size", (json_int_t)49408, "width",
                     s->text_width, "heads", s->text_heads, "layers", s->text_layers);
}

static void test_sizes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const struct size *s = &sizes[i];
        int64_t n = 0, n_hf = 0;
        if (count(LAYOUT_OPEN_CLIP, oc_config(s), &n) < 0)
            fail_msg("%s: %s", s->name, err_text());
        if (n != s->published)
            fail_msg("%s: %lld parameters, published %lld", s->name, (long long)n, (long long)s->published);
        if (s->patch && count(LAYOUT_HF, hf_config(s), &n_hf) < 0)
            fail_msg("%s: %s", s->name, err_text());
        assert_int_equal(n_hf, s->patch ? n : 0);
    }
}

/* transformers leaves fields out that have its default; ViT-B/32 is the default. */
static void test_defaults(void **state)
{
    int64_t n = 0;
    json_t *config = json_pack("{s:s, s:{}, s:{}}", "model_type", "clip", "vision_config", "text_config");
    assert_int_equal(count(LAYOUT_HF, config, &n), 0);
    assert_int_equal(n, 151277313);
    config = json_pack("{s:s, s:{}}", "model_type", "clip", "vision_config");
    assert_int_equal(count(LAYOUT_HF, config, &n), ERR_DATA);
    config = json_pack("{s:s, s:{s:i}, s:{}}", "model_type", "clip", "vision_config", "num_channels", 4, "text_config");
    assert_int_equal(count(LAYOUT_HF, config, &n), ERR_DATA);
    /* the relic of 2022 wins, as in transformers: what it leaves out is the default's, not the section's */
    config = json_pack("{s:s, s:{s:i}, s:{}, s:{s:i}}", "model_type", "clip", "vision_config", "hidden_size", 96,
                       "text_config", "vision_config_dict", "patch_size", 16);
    assert_int_equal(count(LAYOUT_HF, config, &n), 0);
    assert_int_equal(n, 149620737);
    config = json_pack("{s:s, s:{}, s:{s:i}}", "model_type", "clip", "text_config_dict", "vision_config_dict",
                       "patch_size", 16);
    assert_int_equal(count(LAYOUT_HF, config, &n), 0);
    assert_int_equal(n, 149620737);
    config = json_pack("{s:s, s:{}, s:{}, s:{s:i}}", "model_type", "clip", "vision_config", "text_config",
                       "vision_config_dict", "patch_size", 16);
    assert_int_equal(count(LAYOUT_HF, config, &n), 0);
    assert_int_equal(n, 149620737);
}

/* An old configuration says eos_token_id 2 and means the largest id. */
static void test_end_token(void **state)
{
    const int32_t ids[] = {8, 2, 5, 9, 9, 0, /* */ 8, 3, 2, 4, 9, 9};
    struct clip c = {.end_id = 9};
    int32_t at[2];
    clip_end_positions(&c, ids, 2, 6, at);
    assert_true(at[0] == 3 && at[1] == 4);
    c.end_id = 2;
    clip_end_positions(&c, ids, 2, 6, at);
    assert_true(at[0] == 1 && at[1] == 2);
    c.end_is_largest = true;
    clip_end_positions(&c, ids, 2, 6, at);
    assert_true(at[0] == 3 && at[1] == 4);
    /* words behind CLIP's own (textual inversion) are not the end token; a small table ends with it */
    static const int64_t cases[][2] = {{49408, 49407}, {49410, 49407}, {60, 59}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct engine *e;
        struct model *m = NULL;
        json_t *config = json_pack("{s:s, s:{s:i, s:i, s:i}, s:{s:i, s:I, s:i, s:i, s:i}}", "model_type", "clip",
                                   "vision_config", "num_hidden_layers", 1, "hidden_size", 12, "intermediate_size", 12,
                                   "text_config", "num_hidden_layers", 1, "vocab_size", (json_int_t)cases[i][0],
                                   "hidden_size", 8, "num_attention_heads", 2, "intermediate_size", 8);
        assert_int_equal(engine_open(&e, "ref", 1), 0);
        if (model_init(&m, config, "config.json", NULL, e, 1) < 0)
            fail_msg("%s", err_text());
        assert_int_equal(((struct clip *)m->own)->end_id, cases[i][1]);
        json_decref(config);
        model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shards, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_bad_index, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_round_trip, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_custom_text, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_timm_folder, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_relic_size, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_fingerprint, make_dir, remove_dir),
        cmocka_unit_test(test_kin),
        cmocka_unit_test(test_refused_fields),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_end_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
