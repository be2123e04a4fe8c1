/* cli/cmd_encode.c: pictures and captions to vectors: a dataset into a set, single pictures and texts onto stdout,
 * ready tensors into a tensor file (the form in which other libraries' numbers are compared with ours). */
#include "cli/cli.h"
#include "cli/encode_set.h"

#include <string.h>

struct encode_opt {
    const char *model, *data, *out, *split, *dtype_out, *shard, *mask_region, *mask_with;
    struct opt_list images, texts;
    int64_t batch, loaders, shard_rows, memory, image_size, seed;
    double mask_pictures, mask_words;
    bool force, resume, features;
    struct dataset_opt which;
    struct engine_opt engine;
};
#define F(field) offsetof(struct encode_opt, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct encode_opt, model, "M", "model folder, run folder, or the shipped model: emoji"),
    PATH_OPTION("data", struct encode_opt, data, "SPEC", "KIND:WHERE, listed below, or tensors:FILE.safetensors"),
    PATH_OPTION("out", struct encode_opt, out, "SET", "the set to write (with tensors: a safetensors file)"),
    {"image", 'i', OPT_LIST, F(images), NULL, 0, 0, NULL, "FILE", "print the vectors of these pictures"},
    {"text", 't', OPT_LIST, F(texts), NULL, 0, 0, NULL, "TEXT", "print the vectors of these texts"},
    {"split", 0, OPT_STR, F(split), NULL, 0, 0, NULL, "NAMES",
     "rows of the data (comma-separated); all when not given"},
    CAPTIONS_OPTION(struct encode_opt, which.captions),
    DATA_OPTIONS(struct encode_opt, which),
    {"limit", 0, OPT_INT, F(which.limit), "0", 0, 1e12, NULL, "N", "at most so many pictures; 0: all"},
    {"batch", 'b', OPT_INT, F(batch), "64", 1, 65536, NULL, "N", "pictures decoded and encoded at a time"},
    {"loader-threads", 0, OPT_INT, F(loaders), "1", 1, 64, NULL, "N", "threads that decode pictures"},
    {"dtype-out", 0, OPT_CHOICE, F(dtype_out), "float32", 0, 0, "float32|float16", NULL,
     "number format of the vectors"},
    {"mask-pictures", 0, OPT_REAL, F(mask_pictures), "0", 0, 1, NULL, "X",
     "hide that share of every picture, in squares of its mean colour (docs/methods/masking.md)"},
    {"mask-words", 0, OPT_REAL, F(mask_words), "0", 0, 1, NULL, "X", "leave out that share of every caption's words"},
    {"mask-region", 0, OPT_CHOICE, F(mask_region), "random", 0, 0, "random|centre", NULL,
     "squares anywhere, or from the middle outwards"},
    PATH_OPTION("mask-with", struct encode_opt, mask_with, "WORD", "write masked words as this, in place of nothing"),
    {"seed", 's', OPT_INT, F(seed), "0", 0, 4294967295.0, NULL, "N", "of the masks"},
    {"features", 0, OPT_BOOL, F(features), NULL, 0, 0, NULL, NULL,
     "also write the activations before the projections (adapt --method bayesvlm needs them)"},
    {"shard-rows", 0, OPT_INT, F(shard_rows), "8192", 1, 100000000, NULL, "N",
     "rows of a shard: what a kill loses at most"},
    {"shard", 0, OPT_STR, F(shard), NULL, 0, 0, NULL, "I/N",
     "make part I of N of the shards, I from 1 (job arrays); the last to finish writes SET"},
    {"memory", 0, OPT_INT, F(memory), "0", 0, 1e9, NULL, "MIB", "refuse a plan that needs more MiB; 0: any"},
    {"resume", 0, OPT_BOOL, F(resume), NULL, 0, 0, NULL, NULL, "go on with unfinished work (done without asking, too)"},
    {"force", 'f', OPT_BOOL, F(force), NULL, 0, 0, NULL, NULL,
     "replace an existing output, and unfinished work with other options"},
    IMAGE_SIZE_OPTION(struct encode_opt, image_size),
    ENGINE_OPTIONS(struct encode_opt, engine),
    {0},
};
#undef F

/* ---- single pictures and texts
 * ----------------------------------------------------------------------------------------------- */

static int embed_files(struct cli *c, struct model *m, const struct opt_list *files, bool low, float **out)
{
    int64_t each = 3 * m->image_size * m->image_size;
    float *pixels = arena_calloc(c->arena, (size_t)files->n + 1, (size_t)each * sizeof *pixels);
    *out = arena_calloc(c->arena, (size_t)files->n + 1, (size_t)m->embed * sizeof **out);
    if (!pixels || !*out)
        return ERR_MEMORY;
    for (int i = 0; i < files->n; i++)
        TRY(preprocess_file(&m->preprocess, files->v[i], pixels + i * each));
    return files->n ? model_embed_pixels(m, pixels, files->n, low, *out) : 0;
}

static void print_row(const float *x, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        printf("%s%.9g", j ? " " : "", (double)x[j]);
    putchar('\n');
}

static json_t *rows_to_json(const struct opt_list *names, const char *key, const float *x, int64_t d)
{
    json_t *list = json_array();
    for (int i = 0; list && i < names->n; i++) {
        json_t *v = json_array();
        for (int64_t j = 0; v && j < d; j++)
            json_array_append_new(v, json_number((double)x[i * d + j]));
        json_array_append_new(list, json_pack("{s:s, s:o}", key, names->v[i], "vector", v));
    }
    return list;
}

static int encode_words(struct cli *c, const struct encode_opt *o, struct model *m, bool low)
{
    float *images = NULL, *texts = NULL;
    int64_t d = m->embed, cut = 0;
    double start = clock_seconds();
    TRY(embed_files(c, m, &o->images, low, &images));
    double seconds = clock_seconds() - start;
    texts = arena_calloc(c->arena, (size_t)o->texts.n + 1, (size_t)d * sizeof *texts);
    if (!texts)
        return ERR_MEMORY;
    if (o->texts.n)
        TRY(model_embed_texts(m, o->texts.v, o->texts.n, low, texts, &cut));
    if (cut)
        log_warn("%lld text%s longer than the model's context of %lld tokens: cut", (long long)cut,
                 cut > 1 ? "s are" : " is", (long long)m->context);
    if (c->json)
        return cli_put_json(json_pack(
            "{s:i, s:i, s:I, s:o, s:o, s:o}", "n_images", o->images.n, "n_texts", o->texts.n, "width", (json_int_t)d,
            "images_per_second", json_number(seconds > 0 ? o->images.n / seconds : 0), "images",
            rows_to_json(&o->images, "path", images, d), "texts", rows_to_json(&o->texts, "text", texts, d)));
    for (int i = 0; i < o->images.n; i++)
        print_row(images + i * d, d);
    for (int i = 0; i < o->texts.n; i++)
        print_row(texts + i * d, d);
    return 0;
}

/* ---- tensors
 * -------------------------------------------------------------------------------------------------------------------
 */

static int check_tensor(const struct st_tensor *t, const char *file, int n_dims, const int64_t *shape)
{
    if (t->n_dims != n_dims)
        FAIL(ERR_DATA, "%s: tensor \"%s\" has %d dimensions, expected %d", file, t->name, t->n_dims, n_dims);
    for (int i = 1; i < n_dims; i++)
        if (shape[i] && t->shape[i] != shape[i])
            FAIL(ERR_DATA, "%s: tensor \"%s\": dimension %d is %lld, expected %lld as the model takes", file, t->name,
                 i, (long long)t->shape[i], (long long)shape[i]);
    return 0;
}

static int tensor_images(struct cli *c, struct model *m, const struct st_tensor *t, const char *file, bool low,
                         float **out)
{
    const int64_t shape[4] = {0, 3, m->image_size, m->image_size};
    TRY(check_tensor(t, file, 4, shape));
    size_t n = (size_t)(t->shape[0] * 3 * m->image_size * m->image_size);
    float *pixels = arena_alloc(c->arena, n * sizeof *pixels + 1);
    *out = arena_calloc(c->arena, (size_t)t->shape[0] + 1, (size_t)m->embed * sizeof **out);
    if (!pixels || !*out)
        return ERR_MEMORY;
    TRY(dtype_convert(DT_F32, pixels, t->dtype, t->data, n));
    return model_embed_pixels(m, pixels, t->shape[0], low, *out);
}

static int tensor_texts(struct cli *c, struct model *m, const struct st_tensor *t, const char *file, bool low,
                        float **out)
{
    const int64_t shape[2] = {0, 0};
    TRY(check_tensor(t, file, 2, shape));
    if (t->dtype != DT_I32 && t->dtype != DT_I64)
        FAIL(ERR_DATA, "%s: tensor \"%s\" has type %s, expected I32 or I64", file, t->name, dtype_name(t->dtype));
    if (t->shape[1] < 1 || t->shape[1] > m->context)
        FAIL(ERR_DATA, "%s: tensor \"%s\" has %lld tokens a row, expected 1 to %lld", file, t->name,
             (long long)t->shape[1], (long long)m->context);
    int64_t n = t->shape[0] * t->shape[1];
    int32_t *ids = arena_alloc(c->arena, (size_t)n * sizeof *ids + 1);
    *out = arena_calloc(c->arena, (size_t)t->shape[0] + 1, (size_t)m->embed * sizeof **out);
    if (!ids || !*out)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        int64_t id;
        int32_t narrow;
        if (t->dtype == DT_I64) {
            memcpy(&id, (const char *)t->data + 8 * i, 8);
        } else {
            memcpy(&narrow, (const char *)t->data + 4 * i, 4);
            id = narrow;
        }
        if (id < 0 || id >= m->vocab_size)
            FAIL(ERR_DATA, "%s: tensor \"%s\" holds id %lld in row %lld, expected 0 to %lld", file, t->name,
                 (long long)id, (long long)(i / t->shape[1]), (long long)m->vocab_size - 1);
        ids[i] = (int32_t)id;
    }
    return model_embed_ids(m, ids, t->shape[0], t->shape[1], low, *out);
}

static struct st_tensor result_tensor(const char *name, const float *x, int64_t n, int64_t d)
{
    return (struct st_tensor){
        .name = name, .dtype = DT_F32, .n_dims = 2, .shape = {n, d}, .data = x, .n_bytes = (size_t)(n * d) * sizeof *x};
}

static int write_tensors(struct cli *c, const struct encode_opt *o, const struct model *m, const float *image,
                         int64_t n, const float *text, int64_t k)
{
    struct st_tensor list[3];
    int count = 0;
    if (image)
        list[count++] = result_tensor("image_embeds", image, n, m->embed);
    if (text)
        list[count++] = result_tensor("text_embeds", text, k, m->embed);
    if (image && text) {
        size_t cells;
        if (!mul_ok((size_t)n, (size_t)k, &cells))
            FAIL(ERR_DATA, "%s: %lld x %lld logits are too many", o->data, (long long)n, (long long)k);
        float *logits = arena_calloc(c->arena, cells + 1, sizeof *logits);
        double scale = m->logit_scale ? model_logit_scale(m) : 1.0;
        if (!logits)
            return ERR_MEMORY;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < k; j++)
                logits[i * k + j] = (float)(scale * space_dot(image + i * m->embed, text + j * m->embed, m->embed));
        list[count++] = result_tensor("logits_per_image", logits, n, k);
    }
    return st_write(o->out, list, count, NULL);
}

static int encode_tensors(struct cli *c, const struct encode_opt *o, struct model *m, bool low)
{
    const char *file = o->data + strlen("tensors:");
    struct st_file *f = NULL;
    float *image = NULL, *text = NULL;
    TRY(st_open(&f, file));
    const struct st_tensor *pixels = st_find(f, "pixel_values"), *ids = st_find(f, "input_ids");
    int64_t n = pixels ? pixels->shape[0] : 0, k = ids ? ids->shape[0] : 0;
    double start = clock_seconds(), seconds = 0;
    int rc = 0;
    if (!pixels && !ids)
        rc = err_set(ERR_DATA, "%s: neither tensor \"pixel_values\" nor \"input_ids\" is there; expected at least one",
                     file);
    if (rc == 0 && pixels)
        rc = tensor_images(c, m, pixels, file, low, &image);
    seconds = clock_seconds() - start;
    if (rc == 0 && ids)
        rc = tensor_texts(c, m, ids, file, low, &text);
    if (rc == 0)
        rc = st_check(f);
    if (rc == 0)
        rc = write_tensors(c, o, m, image, n, text, k);
    st_close(&f);
    TRY(rc);
    struct encode_result r = {.n_images = n, .n_texts = k, .images_per_second = seconds > 0 ? (double)n / seconds : 0};
    if (c->json)
        return cli_put_json(json_pack("{s:I, s:I, s:I, s:o, s:s}", "n_images", (json_int_t)r.n_images, "n_texts",
                                      (json_int_t)r.n_texts, "width", (json_int_t)m->embed, "images_per_second",
                                      json_number(r.images_per_second), "out", o->out));
    printf("file      %s\npictures  %lld\ntexts     %lld\nwidth     %lld\n", o->out, (long long)n, (long long)k,
           (long long)m->embed);
    return 0;
}

/* ---- a dataset
 * ------------------------------------------------------------------------------------------------------------------ */

static int report(const struct cli *c, const struct encode_opt *o, const struct model *m, const struct encode_result *r)
{
    if (r->n_failed && r->finished)
        log_warn("%lld picture%s left out; the reasons are in %s/failed.tsv", (long long)r->n_failed,
                 r->n_failed > 1 ? "s were" : " was", o->out);
    if (r->n_truncated)
        log_warn("%lld caption%s longer than the model's context of %lld tokens: cut", (long long)r->n_truncated,
                 r->n_truncated > 1 ? "s were" : " was", (long long)m->context);
    if (c->json)
        return cli_put_json(json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:s, s:b, s:I, s:I, s:I}", "n_images",
                                      (json_int_t)r->n_images, "n_texts", (json_int_t)r->n_texts, "width",
                                      (json_int_t)m->embed, "images_per_second", json_number(r->images_per_second),
                                      "n_failed", (json_int_t)r->n_failed, "n_truncated", (json_int_t)r->n_truncated,
                                      "out", o->out, "finished", r->finished, "n_shards", (json_int_t)r->n_shards,
                                      "n_shards_done", (json_int_t)r->n_done, "n_shards_made", (json_int_t)r->n_made));
    if (!r->finished) {
        printf(
            "set                  %s (not yet: %lld of %lld shards are finished)\npictures             %lld\npictures "
            "per second  %.1f\n",
            o->out, (long long)r->n_done, (long long)r->n_shards, (long long)r->n_images, r->images_per_second);
        return 0;
    }
    printf("set                  %s\npictures             %lld\ncaptions             %lld\nwidth                "
           "%lld\npictures per second  %.1f\n",
           o->out, (long long)r->n_images, (long long)r->n_texts, (long long)m->embed, r->images_per_second);
    if (r->n_failed)
        printf("left out             %lld\n", (long long)r->n_failed);
    return 0;
}

/* "3/8": part 3 of 8. */
static int read_part(const char *text, int64_t *part, int64_t *n_parts)
{
    long long i = 0, n = 0;
    char rest = 0;
    if (!text)
        return 0;
    if (sscanf(text, "%9lld/%9lld%c", &i, &n, &rest) != 2 || i < 1 || n < 1 || i > n)
        FAIL(ERR_USAGE, "option --shard: expected I/N with I from 1 to N, as 3/8, found \"%.40s\"", text);
    *part = i;
    *n_parts = n;
    return 0;
}

static int encode_data(struct cli *c, const struct encode_opt *o, struct model *m, bool low)
{
    char protocol[256];
    struct dataset *d = NULL;
    struct encode_result r = {0};
    struct dataset_opt which = o->which;
    if (!m->tokenizer)
        FAIL(ERR_DATA,
             "%s: the model folder has no tokenizer (vocab.json and merges.txt), so captions cannot be encoded",
             o->model);
    for (int k = 0; o->features && k < 2; k++) { /* refused before anything is decoded */
        struct model_last last;
        TRY(model_last(m, k, &last));
    }
    TRY(cli_dataset(&d, o->data, o->split, NULL, &which));
    log_info("%s", d->description);
    const struct mask_opt mask = {.pictures = o->mask_pictures,
                                  .words = o->mask_words,
                                  .centre = !strcmp(o->mask_region, "centre"),
                                  .with = o->mask_with,
                                  .seed = (uint64_t)o->seed};
    int rc = encode_protocol(&d, &which, &mask, protocol, sizeof protocol);
    struct str line = {0};
    struct encode_job job = {.m = m,
                             .d = d,
                             .out = o->out,
                             .dtype = o->dtype_out,
                             .protocol = protocol,
                             .batch = o->batch,
                             .loaders = o->loaders,
                             .shard_rows = o->shard_rows,
                             .memory = o->memory * 1048576,
                             .force = o->force,
                             .resume = o->resume,
                             .low = low,
                             .features = o->features};
    if (rc == 0)
        rc = read_part(o->shard, &job.part, &job.n_parts);
    if (rc == 0)
        rc = cli_command_line(c, &line, NULL);
    job.command = line.s;
    if (rc == 0)
        rc = d->n_images + d->n_texts > 0 ? encode_set(&job, &r)
                                          : err_set(ERR_DATA, "%s: no picture and no caption to encode", o->data);
    str_free(&line);
    dataset_close(&d);
    TRY(rc);
    return report(c, o, m, &r);
}

static int run(struct cli *c)
{
    const struct encode_opt *o = c->opt;
    const struct engine *e;
    struct model *m = NULL;
    bool low, words = o->images.n > 0 || o->texts.n > 0;
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_need(c, o->model, "--model"));
    if ((words || (o->data && str_starts(o->data, "tensors:"))) && (o->mask_pictures > 0 || o->mask_words > 0))
        FAIL(ERR_USAGE, "--mask-pictures and --mask-words mask a dataset: give --data KIND:WHERE");
    if (o->features && (words || (o->data && str_starts(o->data, "tensors:"))))
        FAIL(ERR_USAGE, "--features writes into a set: it needs --data with a dataset, and --out");
    if (words && (o->data || o->out))
        FAIL(ERR_USAGE, "--image and --text print vectors; --data and --out write a set: give one kind");
    if (!words) {
        TRY(cli_need(c, o->data, "--data (or --image, --text)"));
        TRY(cli_need(c, o->out, "--out"));
        if (o->resume && o->force)
            FAIL(ERR_USAGE, "--resume goes on with unfinished work, --force begins it anew: give one of them");
        if (!o->resume && !o->shard && !encode_set_begun(o->out))
            TRY(path_check_output(o->out, o->force));
    }
    TRY(cli_engine(&o->engine, &e, &low));
    TRY(model_open_opt(&m, o->model, &(struct model_opt){.image_size = o->image_size}, e));
    int rc;
    if (words)
        rc = encode_words(c, o, m, low);
    else if (str_starts(o->data, "tensors:"))
        rc = encode_tensors(c, o, m, low);
    else
        rc = encode_data(c, o, m, low);
    model_close(&m);
    return rc;
}

const struct command command_encode = {
    .name = "encode",
    .summary = "pictures and captions to vectors: a set, or numbers on stdout",
    .usage = "--model M (--data SPEC --out SET | --image F... | --text \"...\"...)",
    .notes =
        "A picture that cannot be read is left out with its pairs and listed in SET/failed.tsv.\n"
        "Finished shards lie in SET.partial until the set is written. After a kill the same command goes on there,\n"
        "and the set's bytes are those of an undisturbed run. In a job array each process makes a part of the\n"
        "shards: --shard 3/8; the one that finishes last writes SET (docs/encode.md).\n",
    .add_help = cli_list_data,
    .example = "meridian encode --model emoji --data emoji --split test --out test-set",
    .options = options,
    .size = sizeof(struct encode_opt),
    .computes = true,
    .run = run,
};
