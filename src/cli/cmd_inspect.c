/* cli/cmd_inspect.c: what a file or folder is, before anything is done with it: tensors, shapes, number formats,
 * configuration, fingerprint. Each kind fills one JSON object; the table for reading is drawn from that object, so both
 * forms say the same. A model that we cannot build is still shown as far as it can be read, with the reason. */
#include "adapt/adapt.h"
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct inspect_opt {
    bool all;
};
#define F(field) offsetof(struct inspect_opt, field)
static const struct opt options[] = {
    {"all", 'a', OPT_BOOL, F(all), NULL, 0, 0, NULL, NULL, "list every tensor, not the first 20"},
    {0},
};
#undef F

/* ---- tensors ---- */

static json_t *shape_json(int n_dims, const int64_t *shape)
{
    json_t *list = json_array();
    for (int i = 0; list && i < n_dims; i++)
        json_array_append_new(list, json_integer(shape[i]));
    return list;
}

static json_t *tensor_json(const struct st_tensor *t)
{
    return json_pack("{s:s, s:s, s:o}", "name", t->name, "dtype", dtype_name(t->dtype), "shape",
                     shape_json(t->n_dims, t->shape));
}

/* Adds tensors, n_tensors, numbers, dtypes (bytes of each) to o. */
static int add_tensors(json_t *o, const struct weight_files *w)
{
    json_t *list = json_array(), *types = json_object();
    int64_t numbers = 0;
    for (int64_t i = 0; list && types && i < weight_count(w); i++) {
        const struct st_tensor *t = weight_at(w, i);
        const char *type = dtype_name(t->dtype);
        json_array_append_new(list, tensor_json(t));
        json_object_set_new(types, type,
                            json_integer(json_integer_value(json_object_get(types, type)) + (json_int_t)t->n_bytes));
        numbers += (int64_t)(t->n_bytes / dtype_size(t->dtype));
    }
    if (json_object_set_new(o, "n_tensors", json_integer((json_int_t)weight_count(w))) < 0 ||
        json_object_set_new(o, "numbers", json_integer(numbers)) < 0 ||
        json_object_set_new(o, "bytes_by_dtype", types) < 0 || json_object_set_new(o, "tensors", list) < 0)
        FAIL(ERR_MEMORY, "no memory for the list of tensors");
    return 0;
}

static int inspect_safetensors(const char *path, json_t **out)
{
    struct st_file *f = NULL;
    TRY(st_open(&f, path));
    struct weight_files w = {.n = 1, .v = &f};
    json_t *o = json_pack("{s:s, s:s}", "kind", "safetensors", "path", path);
    int rc = o ? add_tensors(o, &w) : ERR_MEMORY;
    if (rc == 0 && st_metadata(f))
        json_object_set(o, "metadata", (json_t *)st_metadata(f));
    st_close(&f);
    if (rc < 0)
        json_decref(o);
    else
        *out = o;
    return rc;
}

/* ---- arrays ---- */

/* Minimum, maximum, mean and the count of numbers that are none, of a real array. */
static int add_range(json_t *o, const struct npy *a)
{
    enum { BLOCK = 4096 };
    double x[BLOCK], low = INFINITY, high = -INFINITY, sum = 0;
    size_t size = dtype_size(a->dtype), n = a->n_bytes / size;
    json_int_t bad = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t k = n - i < BLOCK ? n - i : BLOCK;
        TRY(dtype_convert(DT_F64, x, a->dtype, (const char *)a->data + i * size, k));
        for (size_t j = 0; j < k; j++) {
            bad += !isfinite(x[j]);
            low = fmin(low, x[j]);
            high = fmax(high, x[j]);
            sum += isfinite(x[j]) ? x[j] : 0;
        }
    }
    json_object_set_new(o, "not_finite", json_integer(bad));
    if (isfinite(low) && isfinite(high)) {
        json_object_set_new(o, "minimum", json_real(low));
        json_object_set_new(o, "maximum", json_real(high));
        json_object_set_new(o, "mean", json_real(sum / (double)((json_int_t)n - bad)));
    }
    return npy_check(a);
}

static int inspect_npy(const char *path, json_t **out)
{
    struct npy a = {0};
    TRY(npy_open(&a, path));
    json_t *o = json_pack("{s:s, s:s, s:s, s:o}", "kind", "npy", "path", path, "dtype", dtype_name(a.dtype), "shape",
                          shape_json(a.n_dims, a.shape));
    int rc = o ? add_range(o, &a) : ERR_MEMORY;
    npy_close(&a);
    if (rc < 0)
        json_decref(o);
    else
        *out = o;
    return rc;
}

/* ---- tables, pictures ---- */

static json_t *columns_json(const struct table *t)
{
    json_t *list = json_array();
    for (int i = 0; list && i < t->n_cols; i++)
        json_array_append_new(list, json_string(t->cols[i]));
    return list;
}

static int inspect_table(const char *path, json_t **out)
{
    struct table t = {0};
    char sep[2] = {0};
    TRY(table_read(&t, path));
    sep[0] = t.sep;
    *out = json_pack("{s:s, s:s, s:s, s:I, s:o}", "kind", "table", "path", path, "separator",
                     t.sep == '\t' ? "tab" : sep, "rows", (json_int_t)t.n_rows, "columns", columns_json(&t));
    table_free(&t);
    return *out ? 0 : ERR_MEMORY;
}

static int inspect_parquet(const char *path, json_t **out)
{
    struct table t = {0};
    struct str left_out = {0};
    TRY(parquet_read(&t, &left_out, path));
    *out = json_pack("{s:s, s:s, s:I, s:o}", "kind", "parquet", "path", path, "rows", (json_int_t)t.n_rows, "columns",
                     columns_json(&t));
    if (*out && left_out.n)
        json_object_set_new(*out, "left_out", json_string(left_out.s));
    table_free(&t);
    str_free(&left_out);
    return *out ? 0 : ERR_MEMORY;
}

static int inspect_picture(const char *path, json_t **out)
{
    static const char *const modes[] = {"gray", "gray and alpha", "RGB", "RGB and alpha"};
    struct image im = {0};
    TRY(image_read(&im, path));
    const char *mode = im.mode == IMAGE_CMYK      ? "CMYK"
                       : im.mode == IMAGE_GRAY16  ? "gray, 16 bits"
                       : im.mode == IMAGE_INDEXED ? "palette or single bits"
                                                  : modes[im.channels - 1];
    *out = json_pack("{s:s, s:s, s:i, s:i, s:s, s:i}", "kind", "picture", "path", path, "width", im.width, "height",
                     im.height, "mode", mode, "exif_orientation", im.orientation);
    image_free(&im);
    return *out ? 0 : ERR_MEMORY;
}

/* ---- folders ---- */

static int add_model(json_t *o, const struct model *m)
{
    char print[65];
    TRY(model_fingerprint(m, print));
    json_t *sizes = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "family", m->family->name, "layout",
                              layout_name(m->layout), "parameters", (json_int_t)m->params.n_numbers, "image_size",
                              (json_int_t)m->image_size, "context", (json_int_t)m->context, "vocab_size",
                              (json_int_t)m->vocab_size, "width", (json_int_t)m->embed, "fingerprint", print);
    int rc = sizes ? json_object_update(o, sizes) : -1;
    json_decref(sizes);
    if (rc < 0)
        FAIL(ERR_MEMORY, "no memory for the sizes of %s", m->path);
    if (m->logit_scale)
        json_object_set_new(o, "logit_scale", json_real(model_logit_scale(m)));
    if (m->tokenizer) {
        struct tokenizer_info t = tokenizer_info(m->tokenizer);
        json_object_set_new(
            o, "tokenizer",
            json_pack("{s:s, s:s, s:I}", "kind", t.kind, "cleaning", t.cleaning, "entries", (json_int_t)t.vocab_size));
    }
    return 0;
}

static int inspect_model(const char *dir, json_t **out)
{
    struct model_source s;
    struct model *m = NULL;
    const struct engine *e;
    TRY(engine_open(&e, NULL, 0));
    TRY(source_open(&s, dir));
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", "model", "path", dir, "config", s.config_path, "weights",
                          s.weights.path, "files", s.weights.n);
    int rc = o ? model_open(&m, dir, e) : ERR_MEMORY;
    if (rc == 0)
        rc = add_model(o, m);
    if (rc < 0 && o)
        rc = json_object_set_new(o, "why_not_opened", json_string(err_text()));
    if (rc == 0)
        rc = add_tensors(o, &s.weights);
    model_close(&m);
    source_close(&s);
    if (rc < 0)
        json_decref(o);
    else
        *out = o;
    return rc;
}

static int inspect_set(const char *dir, json_t **out)
{
    struct set *s = NULL;
    TRY(set_open(&s, dir));
    *out = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:s}", "kind", "set", "path", dir, "n_images",
                     (json_int_t)s->image.n, "n_texts", (json_int_t)s->text.n, "n_pairs", (json_int_t)s->n_pairs,
                     "width", (json_int_t)s->width, "unit_length", s->unit, "model", s->model, "fingerprint",
                     s->fingerprint, "data", s->data);
    if (*out && s->image.has_meta)
        json_object_set_new(*out, "image_columns", columns_json(&s->image.meta));
    if (*out && s->text.has_meta)
        json_object_set_new(*out, "text_columns", columns_json(&s->text.meta));
    set_close(&s);
    return *out ? 0 : ERR_MEMORY;
}

/* What heads and adapters say of themselves, once they have opened: then it is true. The width, the model and the
 * fingerprint are those of the vectors that they take. */
static json_t *fitted_to(const char *dir, const char *file, json_t *o)
{
    static const char *const keys[] = {"width", "model", "fingerprint", "of"};
    char path[2200];
    json_t *said = NULL;
    if (o && path_join(path, sizeof path, dir, file) == 0 && json_read_file(&said, path) == 0) {
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
            if (json_object_get(said, keys[i]))
                json_object_set(o, keys[i], json_object_get(said, keys[i]));
        if (json_object_get(said, "members"))
            json_object_set_new(o, "members",
                                json_integer((json_int_t)json_array_size(json_object_get(said, "members"))));
    }
    json_decref(said);
    return o;
}

static int inspect_heads(const char *dir, json_t **out)
{
    struct head *h = NULL;
    const struct engine *e;
    TRY(engine_open(&e, NULL, 0));
    TRY(head_open(&h, dir, e));
    *out = fitted_to(
        dir, "head.json",
        json_pack("{s:s, s:s, s:s}", "kind", "heads", "path", dir, "head", head_design(h)->mlp ? "mlp" : "linear"));
    head_close(&h);
    return *out ? 0 : ERR_MEMORY;
}

static int inspect_adapter(const char *dir, json_t **out)
{
    struct adapter *a = NULL;
    TRY(adapt_open(&a, dir));
    bool covers[2] = {adapt_covers(a, SIDE_IMAGE), adapt_covers(a, SIDE_TEXT)};
    *out = fitted_to(dir, "adapter.json",
                     json_pack("{s:s, s:s, s:s, s:s}", "kind", "adapter", "path", dir, "method", adapt_method(a),
                               "distributions_of",
                               covers[0] && covers[1] ? "pictures and texts"
                               : covers[0]            ? "pictures"
                                                      : "texts"));
    adapt_close(&a);
    return *out ? 0 : ERR_MEMORY;
}

static int inspect_tokenizer(const char *dir, json_t **out)
{
    struct tokenizer *t = NULL;
    TRY(tokenizer_open(&t, dir, NULL));
    struct tokenizer_info i = tokenizer_info(t);
    *out = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:s}", "kind", "tokenizer", "path", dir, "tokenizer",
                     i.kind, "cleaning", i.cleaning, "entries", (json_int_t)i.vocab_size, "start_id", (int)i.start_id,
                     "end_id", (int)i.end_id, "pad_id", (int)i.pad_id, "fingerprint", i.fingerprint);
    tokenizer_close(&t);
    return *out ? 0 : ERR_MEMORY;
}

/* ---- which is it? ---- */

static bool holds(const char *dir, const char *name)
{
    char path[2200];
    return path_join(path, sizeof path, dir, name) == 0 && path_exists(path);
}

static bool ends_in(const char *path, const char *const *ends, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ends(path, ends[i]))
            return true;
    return false;
}

static int inspect_folder(const char *path, json_t **out)
{
    char dir[2048];
    if (holds(path, "set.json") || holds(path, "img_emb") || holds(path, "text_emb"))
        return inspect_set(path, out);
    if (holds(path, "head.json"))
        return inspect_heads(path, out);
    if (holds(path, "adapter.json"))
        return inspect_adapter(path, out);
    if (model_find(dir, sizeof dir, path) == 0)
        return inspect_model(dir, out);
    if (!path_is_dir(path))
        return ERR_FAIL;
    if (tokenizer_in_dir(path)) {
        err_clear();
        return inspect_tokenizer(path, out);
    }
    FAIL(ERR_DATA,
         "%s: neither a model (config.json), a set (set.json), heads, an adapter, a run, a clip-retrieval folder nor a "
         "tokenizer; a folder of pictures is looked at with meridian data folder:%s",
         path, path);
}

static int inspect(const char *path, json_t **out)
{
    static const char *const tables[] = {".csv", ".tsv"};
    static const char *const archives[] = {".tar", ".tar.gz", ".tgz", ".tar.zst"};
    if (path_is_dir(path) || !path_exists(path))
        return inspect_folder(path, out);
    if (str_ends(path, ".safetensors"))
        return inspect_safetensors(path, out);
    if (str_ends(path, ".npy"))
        return inspect_npy(path, out);
    if (ends_in(path, tables, ARRAY_LEN(tables)))
        return inspect_table(path, out);
    if (str_ends(path, ".parquet"))
        return inspect_parquet(path, out);
    if (image_has_name(path))
        return inspect_picture(path, out);
    if (source_is_pickle(path))
        return source_refuse_pickle(path);
    if (ends_in(path, archives, ARRAY_LEN(archives)))
        FAIL(ERR_USAGE, "%s: an archive of samples is looked at with meridian data wds:%s", path, path);
    if (str_ends(path, ".json"))
        FAIL(ERR_USAGE, "%s: give the folder that it lies in; captions are looked at with meridian data coco:%s", path,
             path);
    FAIL(ERR_DATA,
         "%s: not a kind of file that is read here; expected .safetensors, .npy, .parquet, .csv, .tsv, a picture, or "
         "the folder of a model, set, run or tokenizer",
         path);
}

/* ---- the table ---- */

static void print_value(const json_t *v)
{
    char safe[4096];
    size_t i;
    json_t *x;
    const char *key;
    if (json_is_string(v)) {
        str_safe(safe, sizeof safe, json_string_value(v));
        printf("%s", safe);
    } else if (json_is_array(v)) {
        json_array_foreach((json_t *)v, i, x)
        {
            printf("%s", i ? ", " : "");
            print_value(x);
        }
    } else if (json_is_object(v)) {
        i = 0;
        json_object_foreach((json_t *)v, key, x)
        {
            str_safe(safe, sizeof safe, key);
            printf("%s%s ", i++ ? ", " : "", safe);
            print_value(x);
        }
    } else if (json_is_integer(v)) {
        printf("%lld", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        printf("%g", json_real_value(v));
    } else {
        printf("%s", json_is_true(v) ? "yes" : "no");
    }
}

static void print_tensors(const json_t *list, bool all)
{
    size_t n = json_array_size(list), shown = all || n <= 20 ? n : 20;
    char safe[300];
    for (size_t i = 0; i < shown; i++) {
        const json_t *t = json_array_get(list, i);
        str_safe(safe, sizeof safe, json_string_value(json_object_get(t, "name")));
        printf("  %-6s %-60s [", json_string_value(json_object_get(t, "dtype")), safe);
        print_value(json_object_get(t, "shape"));
        printf("]\n");
    }
    if (shown < n)
        printf("  and %zu more (--all lists them)\n", n - shown);
}

static void print_object(const json_t *o, bool all)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o, key, v)
    {
        if (!strcmp(key, "tensors"))
            continue;
        printf("%-16s ", key);
        print_value(v);
        putchar('\n');
    }
    if (json_object_get(o, "tensors"))
        print_tensors(json_object_get(o, "tensors"), all);
}

static int run(struct cli *c)
{
    const struct inspect_opt *o = c->opt;
    json_t *found = NULL;
    TRY(cli_words(c, 1, 1, "a file or folder"));
    TRY(inspect(c->args.v[0], &found));
    if (c->json)
        return cli_put_json(found);
    print_object(found, o->all);
    json_decref(found);
    return 0;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "what a file or folder holds: tensors, shapes, number formats, configuration, fingerprint",
    .usage = "FILE-OR-DIR",
    .notes = "Reads models (HuggingFace, open_clip, OpenAI), safetensors, npy, sets, heads, adapters, clip-retrieval "
             "folders,\ntokenizers, CSV, TSV, parquet and pictures.\n",
    .example = "meridian inspect emoji",
    .options = options,
    .size = sizeof(struct inspect_opt),
    .run = run,
};
