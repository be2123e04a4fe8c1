/* model/model.c: opening, making, saving a model folder; the family is chosen by config.json. A folder is read whole or
 * refused: config, weights, tokenizer and preprocessing must agree with each other. */
#define _GNU_SOURCE /* dladdr1: which library is this code part of */
#include "model/model.h"

#include "model/blip.h"
#include "model/clip.h"
#include "model/coca.h"
#include "model/param.h"
#include "model/siglip.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct model_family *const families[] = {
#define MODEL_FAMILY(f) &f,
#include "model/model_list.h"
#undef MODEL_FAMILY
};

/* ---- where a model lies ---- */

static bool has_config(const char *dir)
{
    char path[2048];
    return (path_join(path, sizeof path, dir, "config.json") == 0 && path_exists(path)) ||
           (path_join(path, sizeof path, dir, "open_clip_config.json") == 0 && path_exists(path));
}

/* Near the file `real`: the source tree, a build folder in it, an installed tree. */
static bool find_near(char *out, size_t n, const char *real, const char *name)
{
    static const char *const up[] = {"/models",
                                     "/../models",
                                     "/../../models",
                                     "/../../../models",
                                     "/../share/meridian/models",
                                     "/../../share/meridian/models"};
    const char *slash = strrchr(real, '/');
    char root[PATH_MAX + 64];
    for (size_t i = 0; slash && i < ARRAY_LEN(up); i++) {
        snprintf(root, sizeof root, "%.*s%s", (int)(slash - real), real, up[i]);
        if (path_join(out, n, root, name) == 0 && has_config(out))
            return true;
    }
    return false;
}

/* Candidate folders for shipped models: $MERIDIAN_MODELS, then beside the library that this code is part of, if it is
 * one (the program may be anybody's), then beside the program. */
static bool find_shipped(char *out, size_t n, const char *name)
{
    const char *env = getenv("MERIDIAN_MODELS");
    char real[PATH_MAX];
    struct link_map *object = NULL;
    Dl_info info;
    if (env && path_join(out, n, env, name) == 0 && has_config(out))
        return true;
    /* the program itself is an object without a name */
    if (dladdr1(families, &info, (void **)&object, RTLD_DL_LINKMAP) && object && object->l_name && object->l_name[0] &&
        realpath(object->l_name, real) && find_near(out, n, real, name))
        return true;
    return realpath("/proc/self/exe", real) && find_near(out, n, real, name);
}

int model_find(char *out, size_t n, const char *name)
{
    char run[2048];
    if (has_config(name) && strlen(name) < n) {
        snprintf(out, n, "%s", name);
        /* A run folder holds a config.json of its own; its weights are one level down. */
        if (path_join(run, sizeof run, name, "model") < 0 || !has_config(run))
            return 0;
    }
    if (path_join(run, sizeof run, name, "model") == 0 && has_config(run) && strlen(run) < n) {
        snprintf(out, n, "%s", run);
        return 0;
    }
    if (!strchr(name, '/') && find_shipped(out, n, name))
        return 0;
    if (path_is_dir(name))
        FAIL(ERR_DATA,
             "%s: no config.json and no open_clip_config.json in this folder; expected a model folder of HuggingFace "
             "(config.json, model.safetensors, tokenizer files, preprocessor_config.json) or open_clip",
             name);
    if (path_exists(name))
        FAIL(ERR_DATA, "%s: is a file; a model is the folder that holds its configuration and weights", name);
    FAIL(ERR_FAIL, "%s: no such model; give a model folder, a run folder, or the name of a shipped model: emoji", name);
}

/* ---- life ---- */

static const struct model_family *family_of(enum layout l, const json_t *config)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        if (families[i]->accepts(l, config))
            return families[i];
    return NULL;
}

/* Models of which another form is read, or that are taken for one that is. */
static int refuse_kin(enum layout l, const json_t *config, const char *type, const char *where)
{
    static const struct {
        const char *type, *advice;
    } kin[] = {
        {"siglip2", "SigLIP 2 with NaFlex cuts pictures of any shape; the fixed sizes (model_type siglip) are read"},
        {"clip_text_model", "it is one tower of a CLIP; expected both (CLIPModel)"},
        {"clip_vision_model", "it is one tower of a CLIP; expected both (CLIPModel)"},
        {"siglip_text_model", "it is one tower of a SigLIP; expected both (SiglipModel)"},
        {"siglip_vision_model", "it is one tower of a SigLIP; expected both (SiglipModel)"},
        {"metaclip_2", "its text tower reads another token of another vocabulary; CLIP (model_type clip) is read"},
    };
    if (l == LAYOUT_OPEN_CLIP && json_object_get(json_object_get(config, "model_cfg"), "init_logit_bias"))
        FAIL(ERR_UNSUPPORTED,
             "%s: model_cfg: field \"init_logit_bias\" makes this a SigLIP in open_clip's layout, whose image tower is "
             "timm's; expected the HuggingFace folder of the same weights (model_type siglip, as google/siglip-*)",
             where);
    for (size_t i = 0; type && i < ARRAY_LEN(kin); i++)
        if (!strcmp(type, kin[i].type))
            FAIL(ERR_UNSUPPORTED, "%s: field \"model_type\" is %s: %s", where, type, kin[i].advice);
    return 0;
}

static int unknown_family(enum layout l, const json_t *config, const char *where)
{
    struct str known = {0};
    const char *type = json_string_value(json_object_get(config, "model_type"));
    TRY(refuse_kin(l, config, type, where));
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        str_add(&known, "%s%s", i ? ", " : "", families[i]->name);
    const char *list = known.s ? known.s : "";
    int rc = l == LAYOUT_HF
                 ? err_set(ERR_DATA,
                           "%s: field \"model_type\" is %.60s, which is not read here; expected a model of "
                           "the families %s",
                           where, type ? type : "missing", list)
                 : err_set(ERR_DATA, "%s: no \"model_cfg\"; expected a model of the families %s", where, list);
    str_free(&known);
    return rc;
}

/* The configuration that is kept, and saved, takes the size of pictures that was asked for. */
static int keep_image_size(const struct model *m, int64_t asked, const char *where)
{
    json_t *o = m->config, *relic = json_object_get(o, "vision_config_dict"); /* read in its place where there is one */
    if (m->image_size != asked)
        FAIL(ERR_UNSUPPORTED, "%s: pictures of %lld were asked for, the family %s takes %lld", where, (long long)asked,
             m->family->name, (long long)m->image_size);
    if (m->layout == LAYOUT_OPEN_CLIP)
        o = json_object_get(json_object_get(o, "model_cfg"), "vision_cfg");
    else if (m->layout == LAYOUT_HF)
        o = json_is_object(relic) ? relic : json_object_get(o, "vision_config");
    if (json_object_set_new(o, m->layout == LAYOUT_OPENAI ? "image_resolution" : "image_size", json_integer(asked)) < 0)
        FAIL(ERR_MEMORY, "%s: no memory for the configuration", where);
    return 0;
}

/* A model without memory for its weights yet. image_size 0: the configuration's. */
static int make(struct model **out, enum layout l, const json_t *config, int64_t image_size, const char *where,
                const struct engine *e)
{
    const struct model_family *f = family_of(l, config);
    if (!f)
        return unknown_family(l, config, where);
    struct model *m = mem_calloc(1, sizeof *m);
    if (!m)
        return ERR_MEMORY;
    int rc = arena_open(&m->arena, "model");
    if (rc < 0)
        goto out;
    m->family = f;
    m->engine = e;
    m->layout = l;
    m->image_size = image_size;
    m->config = json_deep_copy(config);
    rc = m->config ? f->build(m, config, where) : err_set(ERR_MEMORY, "%s: no memory for the configuration", where);
    if (rc == 0 && image_size)
        rc = keep_image_size(m, image_size, where);
    if (rc == 0)
        rc = f->bind(m, l, &m->params);
out:
    if (rc < 0)
        model_close(&m);
    else
        *out = m;
    return rc;
}

static int check_tokenizer(const struct model *m)
{
    struct tokenizer_info info = tokenizer_info(m->tokenizer);
    bool fits = info.vocab_size <= m->vocab_size;
    if (!strcmp(info.kind, "clip-bpe")) /* its end token is its last entry, and a text is read there */
        fits = info.vocab_size == m->vocab_size;
    if (!fits)
        FAIL(ERR_DATA,
             "%s: the tokenizer has %lld entries, expected %lld (vocab_size of the configuration); they belong to "
             "different models",
             m->path ? m->path : "tokenizer", (long long)info.vocab_size, (long long)m->vocab_size);
    return 0;
}

static int load_weights(struct model *m, const struct weight_files *w)
{
    TRY(params_check(&m->params, w));
    TRY(params_allocate(&m->params, m->engine->real));
    TRY(params_load(&m->params, w, m->layout != LAYOUT_HF));
    for (int i = 0; i < w->n; i++)
        TRY(st_check(w->v[i]));
    return 0;
}

/* How text is cleaned: a HuggingFace folder's own files say it; open_clip's configuration does, or its default. */
static int load_tokenizer(struct model *m, const char *dir)
{
    const json_t *text = json_object_get(json_object_get(m->config, "model_cfg"), "text_cfg");
    const char *clean = json_string_value(json_object_get(json_object_get(text, "tokenizer_kwargs"), "clean"));
    bool hf = m->layout == LAYOUT_HF, foreign = json_object_get(text, "hf_tokenizer_name") != NULL;
    const char *usual = foreign ? NULL : "open_clip"; /* NULL: the tokenizer's own files say */
    struct tokenizer_opt opt = {.cleaning = hf                                ? NULL
                                            : clean && strcmp(clean, "lower") ? clean
                                                                              : usual,
                                .pad_zero = !hf};
    if (!tokenizer_in_dir(dir))
        return 0;
    TRY(tokenizer_open(&m->tokenizer, dir, &opt));
    return check_tokenizer(m);
}

static int check_picture_size(const struct model *m, const char *path)
{
    if (m->preprocess.crop_width == m->image_size && m->preprocess.crop_height == m->image_size)
        return 0;
    FAIL(ERR_DATA, "%s: pictures come out %d x %d, expected %lld x %lld (image_size of the configuration)", path,
         m->preprocess.crop_width, m->preprocess.crop_height, (long long)m->image_size, (long long)m->image_size);
}

/* Pictures of another size than the folder's: cut to it, resized before by the folder's own ratio. */
static void preprocess_for(struct preprocess *p, int size)
{
    int crop = p->crop_width;
    if (crop > 0 && p->resize_shortest > 0)
        p->resize_shortest = (int)((int64_t)p->resize_shortest * size / crop);
    if (p->resize_width > 0)
        p->resize_width = p->resize_height = size;
    if (crop > 0)
        p->crop_width = p->crop_height = size;
}

static int load_preprocess(struct model *m, const struct model_source *s, bool other_size)
{
    char path[2200];
    struct preprocess *p = &m->preprocess;
    TRY(path_join(path, sizeof path, s->dir, "preprocessor_config.json"));
    if (s->layout == LAYOUT_OPEN_CLIP) {
        const json_t *cfg = json_object_get(s->config, "preprocess_cfg");
        TRY(preprocess_read_open_clip(p, cfg, (int)m->image_size, s->config_path));
    } else if (path_exists(path)) {
        TRY(preprocess_read(p, s->dir));
    } else if (m->family != &family_clip) {
        FAIL(ERR_DATA,
             "%s: missing; how pictures of the family %s are resized and normalised stands there, and CLIP's values "
             "would give wrong vectors; copy it from where the model came from",
             path, m->family->name);
    } else {
        if (s->layout == LAYOUT_HF)
            log_warn(
                "%s: missing; CLIP's usual preprocessing is taken (bicubic, centre crop, CLIP's mean and deviation)",
                path);
        preprocess_clip(p, (int)m->image_size);
        p->path = s->layout == LAYOUT_OPENAI ? PICTURE_OPENAI : PICTURE_HF;
    }
    if (other_size)
        preprocess_for(p, (int)m->image_size);
    return check_picture_size(m, s->layout == LAYOUT_OPEN_CLIP ? s->config_path : path);
}

static int open_source(struct model **out, struct model_source *s, const struct model_opt *opt, const struct engine *e,
                       const char *name)
{
    struct model *m = NULL;
    TRY(make(&m, s->layout, s->config, opt ? opt->image_size : 0, s->config_path, e));
    m->path = mem_strdup(s->dir);
    m->name = mem_strdup(name);
    int rc = m->path && m->name ? load_weights(m, &s->weights) : ERR_MEMORY;
    if (rc == 0)
        rc = load_tokenizer(m, s->dir);
    if (rc == 0)
        rc = load_preprocess(m, s, opt && opt->image_size);
    if (rc < 0)
        model_close(&m);
    else
        *out = m;
    return rc;
}

int model_open_opt(struct model **out, const char *name, const struct model_opt *opt, const struct engine *e)
{
    char dir[2048];
    struct model_source s;
    TRY(model_find(dir, sizeof dir, name));
    TRY_IN(source_open(&s, dir), "opening model \"%s\"", name);
    int rc = open_source(out, &s, opt, e, name);
    source_close(&s);
    return rc < 0 ? err_while(rc, "opening model \"%s\"", name) : 0;
}

int model_open(struct model **out, const char *name, const struct engine *e)
{
    return model_open_opt(out, name, NULL, e);
}

int model_count(enum layout l, const json_t *config, const char *where, int64_t *n_trained)
{
    const struct engine *e;
    struct model *m = NULL;
    TRY(engine_open(&e, "ref", 1));
    TRY(make(&m, l, config, 0, where, e));
    int64_t n = 0;
    for (int64_t i = 0; i < m->params.n; i++)
        n += m->params.v[i].kind == PARAM_TRAINED ? m->params.v[i].n : 0;
    *n_trained = n;
    model_close(&m);
    return 0;
}

static void put_number(struct tensor *x, enum dtype real, double value)
{
    if (real == DT_F64)
        *(double *)x->data = value;
    else
        *(float *)x->data = (float)value;
}

int model_init(struct model **out, const json_t *config, const char *where, struct tokenizer **tokenizer,
               const struct engine *e, uint64_t seed)
{
    struct model *m = NULL;
    if (json_object_get(config, "model_cfg"))
        FAIL(ERR_DATA,
             "%s: a configuration of open_clip; a fresh model starts from one of HuggingFace's (config.json, as "
             "models/emoji holds), and meridian convert --to open_clip writes the other",
             where);
    TRY(make(&m, LAYOUT_HF, config, 0, where, e));
    int rc = params_allocate(&m->params, e->real);
    if (rc < 0) {
        model_close(&m);
        return rc;
    }
    params_init(&m->params, seed);
    if (m->logit_bias) /* Zhai et al. 2023, section 3.2: nearly all pairs are wrong ones, and the start says so */
        put_number(m->logit_bias, m->params.real, -10.0);
    if (m->logit_scale) {
        double scale = m->logit_bias ? 2.302585 : 2.6592; /* ln 10; ln(1/0.07) */
        rc = json_field_real(config, "logit_scale_init_value", false, 0.0, log(100.0), &scale, where);
        if (rc < 0) {
            model_close(&m);
            return rc;
        }
        put_number(m->logit_scale, m->params.real, scale);
    }
    preprocess_clip(&m->preprocess, (int)m->image_size);
    if (tokenizer && *tokenizer) {
        m->tokenizer = *tokenizer;
        rc = check_tokenizer(m);
        if (rc < 0) {
            m->tokenizer = NULL;
            model_close(&m);
            return rc;
        }
        *tokenizer = NULL;
    }
    *out = m;
    return 0;
}

void model_close(struct model **m)
{
    if (!*m)
        return;
    tape_close(&(*m)->plain[0]);
    tape_close(&(*m)->plain[1]);
    tokenizer_close(&(*m)->tokenizer);
    params_free(&(*m)->params);
    json_decref((*m)->config);
    mem_free((*m)->path);
    mem_free((*m)->name);
    arena_close(&(*m)->arena);
    mem_free(*m);
    *m = NULL;
}

/* ---- saving ---- */

static const char *const torch_names[] = {[DT_F32] = "float32", [DT_F16] = "float16", [DT_BF16] = "bfloat16"};

/* preprocess_cfg beside model_cfg; fields of the old one that we do not know stay. */
static int put_preprocess(json_t *config, const struct preprocess *p)
{
    json_t *cfg = preprocess_to_open_clip(p), *old = json_object_get(config, "preprocess_cfg");
    if (!cfg)
        return ERR_UNSUPPORTED;
    if ((json_is_object(old) && json_object_update_missing(cfg, old) < 0) ||
        json_object_set(config, "preprocess_cfg", cfg) < 0) {
        json_decref(cfg);
        FAIL(ERR_MEMORY, "no memory for the configuration");
    }
    json_decref(cfg);
    return 0;
}

/* The configuration in a layout: as it was read, unknown fields included, or made by the family. */
static int config_as(const struct model *m, enum layout l, enum dtype dtype, json_t **out)
{
    json_t *config = NULL;
    int rc = l == m->layout ? 0 : m->family->config(m, l, &config);
    if (l == m->layout)
        config = json_copy(m->config);
    TRY(rc);
    if (!config)
        FAIL(ERR_MEMORY, "no memory for the configuration");
    if (l == LAYOUT_HF && json_object_set_new(config, "torch_dtype", json_string(torch_names[dtype])) < 0)
        rc = err_set(ERR_MEMORY, "no memory for the configuration");
    if (l == LAYOUT_OPEN_CLIP)
        rc = put_preprocess(config, &m->preprocess);
    if (rc < 0)
        json_decref(config);
    else
        *out = config;
    return rc;
}

static int save_bound(const struct model *m, const struct params *p, const char *dir, enum dtype dtype, enum layout l)
{
    char path[2048];
    json_t *config = NULL;
    bool oc = l == LAYOUT_OPEN_CLIP;
    if (dtype != DT_F32 && dtype != DT_F16 && dtype != DT_BF16)
        FAIL(ERR_UNSUPPORTED, "%s: weights are saved as F32, F16 or BF16, not %s", dir, dtype_name(dtype));
    TRY(config_as(m, l, dtype, &config));
    TRY(atomic_put_json(dir, oc ? "open_clip_config.json" : "config.json", config,
                        JSON_INDENT(2) | JSON_REAL_PRECISION(15)));
    TRY(path_join(path, sizeof path, dir, oc ? "open_clip_model.safetensors" : "model.safetensors"));
    TRY(params_save(p, path, dtype));
    if (!oc)
        TRY(preprocess_write(&m->preprocess, dir));
    return m->tokenizer ? tokenizer_save(m->tokenizer, dir) : 0;
}

int model_save(const struct model *m, const char *dir, enum dtype dtype)
{
    return save_bound(m, &m->params, dir, dtype, m->layout);
}

int model_save_as(struct model *m, const char *dir, enum dtype dtype, enum layout layout)
{
    if (layout == m->layout)
        return model_save(m, dir, dtype);
    if (!(m->family->layouts & 1u << layout)) {
        char known[64] = "";
        for (int l = LAYOUT_HF; l <= LAYOUT_OPENAI; l++)
            if (m->family->layouts & 1u << l)
                snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "",
                         layout_name((enum layout)l));
        FAIL(ERR_UNSUPPORTED, "%s: the family %s has no layout \"%s\"; it can be written as %s",
             m->name ? m->name : "model", m->family->name, layout_name(layout), known);
    }
    struct params other = {0};
    int rc = m->family->bind(m, layout, &other);
    if (rc == 0) {
        params_share(&other, &m->params);
        rc = save_bound(m, &other, dir, dtype, layout);
    }
    params_forget(&other);
    return rc;
}

/* ---- identity ---- */

int model_fingerprint(const struct model *m, char out[65])
{
    char part[65];
    struct sha256 h;
    sha256_start(&h);
    /* Values as they compute, so the same weights stored as F32 twice agree whatever the order of the file. */
    sha256_add(&h, m->params.data, (size_t)m->params.n_slab * dtype_size(m->params.real));
    sha256_add(&h, m->arithmetic, strlen(m->arithmetic)); /* the other GELU makes other vectors of the same weights */
    preprocess_fingerprint(&m->preprocess, part);
    sha256_add(&h, part, sizeof part);
    if (m->tokenizer) {
        struct tokenizer_info info = tokenizer_info(m->tokenizer);
        sha256_add(&h, info.fingerprint, sizeof info.fingerprint);
    }
    sha256_hex(&h, out);
    return 0;
}

double model_logit_scale(const struct model *m)
{
    if (!m->logit_scale)
        return 0.0;
    double s = m->params.real == DT_F64 ? *(double *)m->logit_scale->data : (double)*(float *)m->logit_scale->data;
    s = exp(s);
    return s < 1.0 ? 1.0 : s > 100.0 ? 100.0 : s;
}

struct tensor *model_pixels(const struct model *m, struct tape *t, const float *pixels, int64_t n)
{
    int64_t size = m->image_size;
    if (tape_engine(t)->real == DT_F32)
        return t_input(t, SHAPE(n, 3, size, size), pixels);
    struct tensor *x = t_new(t, SHAPE(n, 3, size, size));
    if (x && dtype_convert(tape_engine(t)->real, x->data, DT_F32, pixels, (size_t)x->n) < 0)
        return NULL;
    return x;
}

void model_train_mode(struct model *m, bool training)
{
    if (!m->family->train_mode)
        return;
    m->family->train_mode(m, training);
    m->batch_statistics = training;
}

struct tensor *model_encode_image(const struct model *m, struct tensor *pixels)
{
    return t_l2_normalize(m->family->encode_image(m, pixels));
}

struct tensor *model_encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return t_l2_normalize(m->family->encode_text(m, t, ids, n, context));
}
