/* A fit on disk: words.json says what, words.safetensors holds the vectors (docs/formats.md).
 *
 * Levels are named in words.json under their factor and numbered there; the file of vectors knows numbers only, so two
 * factors may share a word and names may hold anything. Vectors are float32: they come from float32 rows. */
#include "words/words_private.h"

#include <string.h>

static const char vectors_name[] = "words.safetensors";

static json_t *to_json(const struct words *w)
{
    json_t *o = json_pack("{s:s, s:i, s:s, s:b, s:b, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "format",
                          "meridian words", "version", 1, "method", words_method_name(w->method), "unit_rows", w->unit,
                          "unit_cells", w->unit_cells, "ridge", w->ridge, "width", (json_int_t)w->width, "rows",
                          (json_int_t)w->n_rows, "cells", (json_int_t)w->n_cells, "rank", (json_int_t)w->rank,
                          "rank_full", (json_int_t)w->rank_full, "components", (json_int_t)w->components, "side",
                          w->side, "model", w->model, "fingerprint", w->fingerprint);
    json_t *factors = json_array();
    for (int f = 0; f < w->n_factors; f++) {
        json_t *levels = json_array(), *one = json_object();
        for (int64_t j = 0; j < w->factor[f].n; j++)
            json_array_append_new(levels, json_string(w->factor[f].levels[j]));
        json_object_set_new(one, "name", json_string(w->factor[f].name));
        json_object_set_new(one, "levels", levels);
        json_array_append_new(factors, one);
    }
    json_object_set_new(o, "factors", factors);
    return o;
}

static int write_vectors(const struct words *w, const char *dir)
{
    char path[1024];
    size_t p = (size_t)w->n_levels, d = (size_t)w->width;
    float *x = mem_alloc((p + 1) * d * sizeof *x);
    int rc = x ? 0 : ERR_MEMORY;
    if (rc == 0)
        rc = dtype_convert(DT_F32, x, DT_F64, w->base, d);
    if (rc == 0)
        rc = dtype_convert(DT_F32, x + d, DT_F64, w->word, p * d);
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, vectors_name);
    const struct st_tensor t[] = {
        {"u0", DT_F32, 1, {w->width}, x, d * sizeof *x},
        {"words", DT_F32, 2, {w->n_levels, w->width}, x ? x + d : NULL, p * d * sizeof *x},
        {"alpha", DT_F64, 1, {w->n_levels}, w->alpha, p * sizeof *w->alpha},
        {"level_rows", DT_F64, 1, {w->n_levels}, w->level_rows, p * sizeof *w->level_rows},
        {"cells",
         DT_I32,
         2,
         {w->n_cells, w->n_factors},
         w->cell,
         (size_t)w->n_cells * (size_t)w->n_factors * sizeof *w->cell},
    };
    if (rc == 0)
        rc = st_write(path, t, ARRAY_LEN(t), NULL);
    mem_free(x);
    return rc;
}

int words_write(const struct words *w, const char *dir, bool force)
{
    struct atomic_dir to;
    TRY(atomic_dir_open(&to, dir, force));
    int rc = atomic_put_json(to.tmp, "words.json", to_json(w), JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (rc == 0)
        rc = write_vectors(w, to.tmp);
    if (rc == 0)
        rc = atomic_dir_commit(&to);
    else
        atomic_dir_abort(&to);
    return rc;
}

static int read_factors(struct words *w, const json_t *o, const char *where)
{
    const json_t *list = json_object_get(o, "factors");
    if (!json_is_array(list) || json_array_size(list) < 1 || json_array_size(list) > WORDS_MAX_FACTORS)
        FAIL(ERR_DATA, "%s: field \"factors\" is not a list of 1 to %d factors", where, WORDS_MAX_FACTORS);
    w->n_factors = (int)json_array_size(list);
    for (int f = 0; f < w->n_factors; f++) {
        const json_t *one = json_array_get(list, (size_t)f), *levels = json_object_get(one, "levels");
        const char *name = NULL;
        TRY(json_field_str(one, "name", true, &name, where));
        int64_t n = json_is_array(levels) ? (int64_t)json_array_size(levels) : 0;
        if (n < 1 || n > limit_get(LIMIT_LEVELS))
            FAIL(ERR_DATA, "%s: factor \"%s\" has %lld levels, expected 1 to %lld", where, name, (long long)n,
                 (long long)limit_get(LIMIT_LEVELS));
        const char **words = arena_calloc(w->arena, (size_t)n, sizeof *words);
        w->factor[f] = (struct words_factor){arena_strdup(w->arena, name), n, words};
        if (!words || !w->factor[f].name)
            return ERR_MEMORY;
        for (int64_t j = 0; j < n; j++) {
            const char *word = json_string_value(json_array_get(levels, (size_t)j));
            if (!word)
                FAIL(ERR_DATA, "%s: level %lld of factor \"%s\" is no text", where, (long long)j, name);
            if (!(words[j] = arena_strdup(w->arena, word)))
                return ERR_MEMORY;
        }
        w->first[f + 1] = w->first[f] + n;
    }
    w->n_levels = w->first[w->n_factors];
    return 0;
}

static int read_fields(struct words *w, const json_t *o, const char *where)
{
    const char *text = NULL, *method = NULL;
    const int64_t most = limit_get(LIMIT_ROWS);
    TRY(json_field_str(o, "format", true, &text, where));
    int64_t version = 0;
    TRY(json_field_int(o, "version", true, 1, INT32_MAX, &version, where));
    if (strcmp(text, "meridian words") != 0 || version != 1)
        FAIL(ERR_DATA, "%s: format \"%.40s\" version %lld, expected \"meridian words\" version 1", where, text,
             (long long)version);
    TRY(json_field_str(o, "method", true, &method, where));
    int m = 0;
    while (m < N_WORDS_METHODS && strcmp(method, words_method_name((enum words_method)m)) != 0)
        m++;
    if (m == N_WORDS_METHODS)
        FAIL(ERR_DATA, "%s: unknown method \"%.40s\"", where, method);
    w->method = (enum words_method)m;
    TRY(json_field_bool(o, "unit_rows", true, &w->unit, where));
    TRY(json_field_bool(o, "unit_cells", true, &w->unit_cells, where));
    TRY(json_field_real(o, "ridge", true, 0, 1e300, &w->ridge, where));
    TRY(json_field_int(o, "width", true, 1, limit_get(LIMIT_WIDTH), &w->width, where));
    TRY(json_field_int(o, "rows", true, 1, most, &w->n_rows, where));
    TRY(json_field_int(o, "cells", true, 1, most, &w->n_cells, where));
    TRY(json_field_int(o, "rank", true, 0, most, &w->rank, where));
    TRY(json_field_int(o, "rank_full", true, 0, most, &w->rank_full, where));
    TRY(json_field_int(o, "components", true, 1, most, &w->components, where));
    const char **names[] = {&w->side, &w->model, &w->fingerprint};
    static const char *const keys[] = {"side", "model", "fingerprint"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        text = "";
        TRY(json_field_str(o, keys[i], false, &text, where));
        if (!(*names[i] = arena_strdup(w->arena, text)))
            return ERR_MEMORY;
    }
    return read_factors(w, o, where);
}

static int tensor(const struct st_file *f, const char *name, enum dtype t, int n_dims, int64_t n, int64_t m,
                  enum dtype to, void *out)
{
    const struct st_tensor *x = st_find(f, name);
    if (!x || x->dtype != t || x->n_dims != n_dims || x->shape[0] != n || (n_dims == 2 && x->shape[1] != m))
        FAIL(ERR_DATA, "%s: tensor \"%s\" is not there as %s [%lld%s%s], as words.json says", st_path(f), name,
             dtype_name(t), (long long)n, n_dims == 2 ? ", " : "", n_dims == 2 ? str_count(m) : "");
    if (t == to)
        memcpy(out, x->data, x->n_bytes);
    else
        return dtype_convert(to, out, t, x->data, (size_t)(n * (n_dims == 2 ? m : 1)));
    return 0;
}

static int read_vectors(struct words *w, const struct st_file *f)
{
    size_t p = (size_t)w->n_levels, d = (size_t)w->width, k = (size_t)w->n_factors, all, cells;
    const struct st_tensor *t = st_find(f, "words");
    if (!mul_ok(p, d, &all) || !mul_ok((size_t)w->n_cells, k, &cells) || !t || t->n_bytes / 4 != all)
        FAIL(ERR_DATA, "%s: tensor \"words\" is not [%zu, %zu] numbers, as words.json says", st_path(f), p, d);
    t = st_find(f, "cells");
    if (!t || t->n_bytes / 4 != cells)
        FAIL(ERR_DATA, "%s: tensor \"cells\" is not [%lld, %zu] numbers, as words.json says", st_path(f),
             (long long)w->n_cells, k);
    w->base = arena_calloc(w->arena, d, sizeof *w->base);
    w->word = arena_calloc(w->arena, all, sizeof *w->word);
    w->alpha = arena_calloc(w->arena, p, sizeof *w->alpha);
    w->level_rows = arena_calloc(w->arena, p, sizeof *w->level_rows);
    w->cell = arena_calloc(w->arena, cells, sizeof *w->cell);
    if (!w->base || !w->word || !w->alpha || !w->level_rows || !w->cell)
        return ERR_MEMORY;
    TRY(tensor(f, "u0", DT_F32, 1, w->width, 0, DT_F64, w->base));
    TRY(tensor(f, "words", DT_F32, 2, w->n_levels, w->width, DT_F64, w->word));
    TRY(tensor(f, "alpha", DT_F64, 1, w->n_levels, 0, DT_F64, w->alpha));
    TRY(tensor(f, "level_rows", DT_F64, 1, w->n_levels, 0, DT_F64, w->level_rows));
    TRY(tensor(f, "cells", DT_I32, 2, w->n_cells, w->n_factors, DT_I32, w->cell));
    for (size_t i = 0; i < cells; i++)
        if (w->cell[i] < 0 || w->cell[i] >= w->factor[i % k].n)
            FAIL(ERR_DATA, "%s: tensor \"cells\" names level %d of factor \"%s\", which has %lld", st_path(f),
                 (int)w->cell[i], w->factor[i % k].name, (long long)w->factor[i % k].n);
    return st_check(f);
}

int words_open(struct words **out, const char *dir)
{
    char path[1024], vectors[1024];
    json_t *o = NULL;
    struct st_file *f = NULL;
    TRY(path_join(path, sizeof path, dir, "words.json"));
    TRY(path_join(vectors, sizeof vectors, dir, vectors_name));
    struct words *w = mem_calloc(1, sizeof *w);
    if (!w)
        return ERR_MEMORY;
    int rc = arena_open(&w->arena, "words");
    if (rc == 0)
        rc = json_read_file(&o, path);
    if (rc == 0)
        rc = read_fields(w, o, path);
    if (rc == 0)
        rc = st_open(&f, vectors);
    if (rc == 0)
        rc = read_vectors(w, f);
    st_close(&f);
    json_decref(o);
    if (rc < 0) {
        words_close(&w);
        return rc;
    }
    *out = w;
    return 0;
}
