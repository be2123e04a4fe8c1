/* model/source.c: what lies in a model folder: which layout, its configuration, its weight files as one name space.
 *
 * Many published folders hold both a HuggingFace and an open_clip copy of one model, and often pickles beside them; the
 * first layout whose configuration AND weights are there wins, HuggingFace first. timm's folders of CLIP towers look
 * alike but hold the image tower alone in config.json and model.safetensors: that configuration names no model_type,
 * and the open_clip copy is taken. A pickle can run code when it is
 * read, so it never is; the message says how to convert it. An index file may name any path: a shard is a plain name in
 * the same folder, or the folder is refused. */
#include "model/model.h"

#include <dirent.h>
#include <string.h>

#define HF_INDEX "model.safetensors.index.json"
#define OPEN_CLIP_CONFIG "open_clip_config.json"

const char *layout_name(enum layout l)
{
    static const char *const names[N_LAYOUTS] = {"hf", "open_clip", "openai"};
    return names[l];
}

/* ---- weight files ---- */

const struct st_tensor *weight_find(const struct weight_files *w, const char *name)
{
    for (int i = 0; i < w->n; i++) {
        const struct st_tensor *t = st_find(w->v[i], name);
        if (t)
            return t;
    }
    return NULL;
}

int64_t weight_count(const struct weight_files *w)
{
    int64_t n = 0;
    for (int i = 0; i < w->n; i++)
        n += st_count(w->v[i]);
    return n;
}

const struct st_tensor *weight_at(const struct weight_files *w, int64_t i)
{
    for (int k = 0; k < w->n; k++) {
        if (i < st_count(w->v[k]))
            return st_at(w->v[k], i);
        i -= st_count(w->v[k]);
    }
    return NULL;
}

static void close_weights(struct weight_files *w)
{
    for (int i = 0; i < w->n; i++)
        st_close(&w->v[i]);
    mem_free(w->v);
    mem_free(w->path);
    memset(w, 0, sizeof *w);
}

static int add_file(struct weight_files *w, const char *path)
{
    struct st_file **v = mem_grow(w->v, (size_t)w->n * sizeof *v, (size_t)(w->n + 1) * sizeof *v);
    if (!v)
        return ERR_MEMORY;
    w->v = v;
    TRY(st_open(&w->v[w->n], path));
    w->n++;
    return 0;
}

/* The shard of a name, opened unless it is there already. The name is a file of this folder and nothing else. */
static int find_shard(struct weight_files *w, const char *dir, const char *name, const char *index,
                      const struct st_file **out)
{
    char path[2200];
    TRY(path_check_name(name, index));
    if (strchr(name, '/') || !str_ends(name, ".safetensors"))
        FAIL(ERR_DATA, "%s: shard \"%.80s\": expected the name of a .safetensors file in the same folder", index, name);
    TRY(path_join(path, sizeof path, dir, name));
    for (int i = 0; i < w->n; i++)
        if (!strcmp(st_path(w->v[i]), path)) {
            *out = w->v[i];
            return 0;
        }
    if (w->n >= limit_get(LIMIT_SHARDS))
        FAIL(ERR_DATA, "%s: more than %lld shards (limit shards)", index, (long long)limit_get(LIMIT_SHARDS));
    TRY(add_file(w, path));
    *out = w->v[w->n - 1];
    return 0;
}

/* One line of the map: the tensor lies in the shard it is said to, and in no other that was opened before. */
static int check_line(struct weight_files *w, const char *dir, const char *tensor, const json_t *shard,
                      const char *index)
{
    const struct st_file *f = NULL;
    if (!json_is_string(shard))
        FAIL(ERR_DATA, "%s: weight_map: \"%.80s\": expected the name of a file", index, tensor);
    TRY(find_shard(w, dir, json_string_value(shard), index, &f));
    const struct st_tensor *t = st_find(f, tensor);
    if (!t)
        FAIL(ERR_DATA, "%s: tensor \"%.80s\" is not in %s; are all shards of one download?", index, tensor,
             json_string_value(shard));
    if (weight_find(w, tensor) != t)
        FAIL(ERR_DATA, "%s: tensor \"%.80s\" lies in two shards; are they of one download?", index, tensor);
    return 0;
}

/* model.safetensors.index.json: {"weight_map": {tensor: shard}}; each line is checked. */
static int open_index(struct weight_files *w, const char *dir, const char *index)
{
    json_t *o = NULL, *shard;
    const char *tensor;
    TRY(json_read_file(&o, index));
    json_t *map = json_object_get(o, "weight_map");
    int rc =
        json_is_object(map) && json_object_size(map)
            ? 0
            : err_set(ERR_DATA, "%s: field \"weight_map\": expected an object of tensor names and file names", index);
    json_object_foreach(map, tensor, shard)
    {
        if (rc == 0)
            rc = check_line(w, dir, tensor, shard, index);
    }
    json_decref(o);
    return rc;
}

/* ---- the folder ---- */

static bool has(const char *dir, const char *name)
{
    char path[2200];
    return path_join(path, sizeof path, dir, name) == 0 && path_exists(path);
}

bool source_is_pickle(const char *name)
{
    static const char *const ends[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (str_ends(name, ends[i]))
            return true;
    return false;
}

/* The first pickle in the folder, "" when there is none. */
static void find_pickle(const char *dir, char *out, size_t n)
{
    DIR *d = opendir(dir);
    out[0] = 0;
    for (struct dirent *e = d ? readdir(d) : NULL; e && !out[0]; e = readdir(d))
        if (source_is_pickle(e->d_name))
            snprintf(out, n, "%s", e->d_name);
    if (d)
        closedir(d);
}

int source_refuse_pickle(const char *path)
{
    FAIL(ERR_UNSUPPORTED,
         "%s: a pickle, which can run any code when it is read; meridian does not read it. Convert it once, where "
         "PyTorch is installed and the file is trusted: python3 tools/convert-pickle %s",
         path, path);
}

static int no_weights(const char *dir)
{
    char pickle[300], path[2400];
    find_pickle(dir, pickle, sizeof pickle);
    if (pickle[0]) {
        TRY(path_join(path, sizeof path, dir, pickle));
        return source_refuse_pickle(path);
    }
    FAIL(ERR_DATA,
         "%s: no weights; expected model.safetensors, %s with its shards, or open_clip_model.safetensors beside the "
         "configuration",
         dir, HF_INDEX);
}

static int open_weights(struct model_source *s, const char *const *names, size_t n)
{
    char path[2200];
    for (size_t i = 0; i < n; i++) {
        if (!has(s->dir, names[i]))
            continue;
        TRY(path_join(path, sizeof path, s->dir, names[i]));
        s->weights.path = mem_strdup(path);
        if (!s->weights.path)
            return ERR_MEMORY;
        return str_ends(path, ".json") ? open_index(&s->weights, s->dir, path) : add_file(&s->weights, path);
    }
    return no_weights(s->dir);
}

/* OpenAI's state dict has no configuration of its own; the converting script writes one that says so. */
static bool is_openai(const json_t *config)
{
    const char *name = json_string_value(json_object_get(config, "architecture"));
    return name && str_starts(name, "openai CLIP");
}

static int read_config(struct model_source *s, const char *name)
{
    TRY(path_join(s->config_path, sizeof s->config_path, s->dir, name));
    json_decref(s->config);
    s->config = NULL;
    TRY(json_read_file(&s->config, s->config_path));
    if (!json_is_object(s->config))
        FAIL(ERR_DATA, "%s: expected a JSON object", s->config_path);
    return 0;
}

static int open_parts(struct model_source *s)
{
    static const char *const hf[] = {"model.safetensors", HF_INDEX};
    static const char *const open_clip[] = {"open_clip_model.safetensors", "model.safetensors",
                                            "open_clip_model.safetensors.index.json", HF_INDEX};
    bool hf_config = has(s->dir, "config.json"), oc_config = has(s->dir, OPEN_CLIP_CONFIG);
    bool hf_weights = has(s->dir, hf[0]) || has(s->dir, hf[1]);
    bool is_oc = oc_config && (!hf_config || !hf_weights);
    TRY(read_config(s, is_oc ? OPEN_CLIP_CONFIG : "config.json"));
    if (!is_oc && oc_config && !json_object_get(s->config, "model_type") && !is_openai(s->config)) {
        is_oc = true;
        TRY(read_config(s, OPEN_CLIP_CONFIG));
    }
    s->layout = is_oc ? LAYOUT_OPEN_CLIP : is_openai(s->config) ? LAYOUT_OPENAI : LAYOUT_HF;
    return is_oc ? open_weights(s, open_clip, ARRAY_LEN(open_clip)) : open_weights(s, hf, ARRAY_LEN(hf));
}

int source_open(struct model_source *s, const char *dir)
{
    memset(s, 0, sizeof *s);
    if (strlen(dir) >= sizeof s->dir)
        FAIL(ERR_DATA, "%.80s...: the path is too long", dir);
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    int rc = open_parts(s);
    if (rc < 0)
        source_close(s);
    return rc;
}

void source_close(struct model_source *s)
{
    close_weights(&s->weights);
    json_decref(s->config);
    s->config = NULL;
}
