/* model/model.c: opening, making, saving a model folder; the family is chosen by config.json. A folder is read whole or
 * refused: config, weights, tokenizer and preprocessing must agree with each other. */
#include "model/model.h"

#include "model/clip.h"
#include "model/param.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct model_family *const families[] = {
#define MODEL_FAMILY(f) &f,
#include "model/model_list.h"
#undef MODEL_FAMILY
};

/* ---- where a model lies ---- */

static bool has_config(const char *dir)
{
    char path[2048];
    return path_join(path, sizeof path, dir, "config.json") == 0 && path_exists(path);
}

/* Candidate folders for shipped models: $MERIDIAN_MODELS, then beside the program (source tree, installed tree). */
static bool find_shipped(char *out, size_t n, const char *name)
{
    const char *env = getenv("MERIDIAN_MODELS");
    char exe[1024], root[1100];
    if (env && path_join(out, n, env, name) == 0 && has_config(out))
        return true;
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (len <= 0)
        return false;
    exe[len] = 0;
    static const char *const up[] = {"/models", "/../models", "/../../models", "/../../../models",
                                     "/../share/meridian/models"};
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; i < ARRAY_LEN(up); i++) {
        snprintf(root, sizeof root, "%s%s", exe, up[i]);
        if (path_join(out, n, root, name) == 0 && has_config(out))
            return true;
    }
    return false;
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
             "%s: no config.json in this folder; expected a HuggingFace model folder (config.json, model.safetensors, "
             "tokenizer files, preprocessor_config.json)",
             name);
    FAIL(ERR_FAIL, "%s: no such model; give a model folder, a run folder, or the name of a shipped model: emoji", name);
}

/* ---- life
 * -------------------------------------------------------------------------------------------------------------------
 */

static const struct model_family *family_of(const json_t *config)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        if (families[i]->accepts(config))
            return families[i];
    return NULL;
}

/* A model without memory for its weights yet. */
static int make(struct model **out, const json_t *config, const char *where, const struct engine *e)
{
    const struct model_family *f = family_of(config);
    if (!f) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        FAIL(ERR_DATA, "%s: field \"model_type\" is %s%s%s, expected \"clip\"", where, type ? "\"" : "",
             type ? type : "missing", type ? "\"" : "");
    }
    struct model *m = mem_calloc(1, sizeof *m);
    if (!m)
        return ERR_MEMORY;
    int rc = arena_open(&m->arena, "model");
    if (rc < 0)
        goto out;
    m->family = f;
    m->engine = e;
    m->config = json_deep_copy(config);
    rc = m->config ? f->build(m, config, where) : err_set(ERR_MEMORY, "%s: no memory for the configuration", where);
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
    if (info.vocab_size != m->vocab_size)
        FAIL(ERR_DATA,
             "%s: the tokenizer has %lld entries, expected %lld (vocab_size of config.json); they belong to different "
             "models",
             m->path ? m->path : "tokenizer", (long long)info.vocab_size, (long long)m->vocab_size);
    return 0;
}

static bool has_tokenizer(const char *dir)
{
    char path[2048];
    static const char *const names[] = {"tokenizer.json", "vocab.json"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (path_join(path, sizeof path, dir, names[i]) == 0 && path_exists(path))
            return true;
    return false;
}

static int load_parts(struct model *m, const char *dir)
{
    char path[2048];
    struct st_file *f = NULL;
    TRY(path_join(path, sizeof path, dir, "model.safetensors"));
    TRY(st_open(&f, path));
    int rc = params_check(&m->params, f);
    if (rc == 0)
        rc = params_allocate(&m->params, m->engine->real);
    if (rc == 0)
        rc = params_load(&m->params, f);
    if (rc == 0)
        rc = st_check(f);
    st_close(&f);
    TRY(rc);
    if (has_tokenizer(dir)) {
        TRY(tokenizer_open(&m->tokenizer, dir));
        TRY(check_tokenizer(m));
    }
    TRY(path_join(path, sizeof path, dir, "preprocessor_config.json"));
    if (!path_exists(path)) {
        preprocess_clip(&m->preprocess, (int)m->image_size);
        return 0;
    }
    TRY(preprocess_read(&m->preprocess, dir));
    if (m->preprocess.crop_width != m->image_size || m->preprocess.crop_height != m->image_size)
        FAIL(ERR_DATA, "%s: pictures come out %d x %d, expected %lld x %lld (image_size of config.json)", path,
             m->preprocess.crop_width, m->preprocess.crop_height, (long long)m->image_size, (long long)m->image_size);
    return 0;
}

int model_open(struct model **out, const char *name, const struct engine *e)
{
    char dir[2048], path[2100];
    json_t *config = NULL;
    struct model *m = NULL;
    TRY(model_find(dir, sizeof dir, name));
    TRY(path_join(path, sizeof path, dir, "config.json"));
    TRY_IN(json_read_file(&config, path), "opening model \"%s\"", name);
    int rc = make(&m, config, path, e);
    json_decref(config);
    TRY_IN(rc, "opening model \"%s\"", name);
    m->path = mem_strdup(dir);
    m->name = mem_strdup(name);
    rc = m->path && m->name ? load_parts(m, dir) : ERR_MEMORY;
    if (rc < 0) {
        model_close(&m);
        return err_while(rc, "opening model \"%s\"", name);
    }
    *out = m;
    return 0;
}

int model_init(struct model **out, const json_t *config, const char *where, struct tokenizer **tokenizer,
               const struct engine *e, uint64_t seed)
{
    struct model *m = NULL;
    TRY(make(&m, config, where, e));
    int rc = params_allocate(&m->params, e->real);
    if (rc < 0) {
        model_close(&m);
        return rc;
    }
    params_init(&m->params, seed);
    if (m->logit_scale) {
        double scale = 2.6592; /* ln(1/0.07) */
        rc = json_field_real(config, "logit_scale_init_value", false, 0.0, log(100.0), &scale, where);
        if (rc < 0) {
            model_close(&m);
            return rc;
        }
        if (m->params.real == DT_F64)
            *(double *)m->logit_scale->data = scale;
        else
            *(float *)m->logit_scale->data = (float)scale;
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

int model_save(const struct model *m, const char *dir, enum dtype dtype)
{
    char path[2048];
    static const char *const torch_names[] = {[DT_F32] = "float32", [DT_F16] = "float16", [DT_BF16] = "bfloat16"};
    if (dtype != DT_F32 && dtype != DT_F16 && dtype != DT_BF16)
        FAIL(ERR_UNSUPPORTED, "%s: weights are saved as F32, F16 or BF16, not %s", dir, dtype_name(dtype));
    json_t *config = json_copy(m->config);
    if (!config || json_object_set_new(config, "torch_dtype", json_string(torch_names[dtype])) < 0) {
        json_decref(config);
        FAIL(ERR_MEMORY, "%s: no memory for config.json", dir);
    }
    char *text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    json_decref(config);
    if (!text)
        FAIL(ERR_MEMORY, "%s: no memory for config.json", dir);
    int rc = path_join(path, sizeof path, dir, "config.json");
    if (rc == 0)
        rc = atomic_put(path, text, strlen(text));
    free(text);
    TRY(rc);
    TRY(path_join(path, sizeof path, dir, "model.safetensors"));
    TRY(params_save(&m->params, path, dtype));
    TRY(preprocess_write(&m->preprocess, dir));
    return m->tokenizer ? tokenizer_save(m->tokenizer, dir) : 0;
}

/* ---- identity ---- */

int model_fingerprint(const struct model *m, char out[65])
{
    char part[65];
    struct sha256 h;
    sha256_start(&h);
    /* Values as they compute, so the same weights stored as F32 twice agree whatever the order of the file. */
    sha256_add(&h, m->params.data, (size_t)m->params.n_slab * dtype_size(m->params.real));
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

struct tensor *model_encode_image(const struct model *m, struct tensor *pixels)
{
    return t_l2_normalize(m->family->encode_image(m, pixels));
}

struct tensor *model_encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return t_l2_normalize(m->family->encode_text(m, t, ids, n, context));
}
