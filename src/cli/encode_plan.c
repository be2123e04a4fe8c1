/* cli/encode_plan.c: before the work: what decides the result, and what it will cost.
 *
 * Two runs may share shards only if everything that decides a vector's bits is equal: model, data, number format,
 * engine, and how rows are grouped, since a matrix product's rounding depends on its block. That is the plan. Threads
 * are not in it: they do not change the result beyond what docs/cli.md says.
 * Memory is measured, not guessed: one picture and one long caption go through the model, and what that took is scaled.
 * Rejected: formulas of layers and widths, which every new family of models would make wrong. */
#include "cli/encode_work.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MIB = 1048576, CHUNK_TEXTS = 256 /* captions that pass the model at once: model/embed.c */ };

/* ---- what decides the result
 * ------------------------------------------------------------------------------------------------ */

int encode_plan_json(const struct encode_job *job, json_t **out)
{
    char print[65];
    TRY(model_fingerprint(job->m, print));
    json_t *o = json_pack(
        "{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "format", "meridian encoding",
        "version", 1, "meridian", MERIDIAN_VERSION, "model", job->m->name, "fingerprint", print, "data", job->d->spec,
        "data_fingerprint", job->d->fingerprint, "protocol", job->protocol, "dtype", job->dtype, "numbers",
        job->low ? "bf16" : "f32", "engine", job->m->engine->name, "batch", (json_int_t)job->batch, "shard_rows",
        (json_int_t)job->shard_rows, "n_images", (json_int_t)job->d->n_images, "n_texts", (json_int_t)job->d->n_texts);
    /* named only where wanted: shards with features serve a set without, not the reverse */
    if (o && job->features && json_object_set_new(o, "features", json_true()) < 0) {
        json_decref(o);
        o = NULL;
    }
    if (!o)
        FAIL(ERR_MEMORY, "no memory for the plan of %s, or a name in it is not UTF-8", job->out);
    *out = o;
    return 0;
}

static void add_value(struct str *b, const json_t *v)
{
    char safe[160];
    if (json_is_string(v)) {
        str_safe(safe, sizeof safe, json_string_value(v));
        str_add(b, strlen(json_string_value(v)) == 64 ? "%.16s" : "%s", safe);
    } else if (json_is_integer(v)) {
        str_add(b, "%lld", (long long)json_integer_value(v));
    } else if (json_is_boolean(v)) {
        str_add(b, json_is_true(v) ? "true" : "false");
    } else {
        str_add(b, "unknown");
    }
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

int encode_plan_agree(const json_t *old, const json_t *now, const char *path)
{
    struct str b = {0};
    const char *key, *print = text_of(old, "fingerprint");
    json_t *v;
    char was[96], is[96];
    if (strcmp(print, text_of(now, "fingerprint")) != 0 && print[0]) {
        str_safe(was, sizeof was, text_of(old, "model"));
        str_safe(is, sizeof is, text_of(now, "model"));
        FAIL(ERR_MISMATCH,
             "%s was begun by model \"%s\" (fingerprint %.16s), but model \"%s\" (fingerprint %.16s) is given: their "
             "vectors never mix; go on with the first model, give another --out, or --force to start anew",
             path, was, print, is, text_of(now, "fingerprint"));
    }
    json_object_foreach((json_t *)(uintptr_t)now, key, v) /* jansson takes no const; it only reads here */
    {
        const json_t *before = json_object_get(old, key);
        if (before && json_equal(before, v))
            continue;
        str_add(&b, "%s%s = ", b.n ? ", and " : "", key);
        add_value(&b, before || !json_is_boolean(v) ? before : json_false()); /* a switch is named when it is on */
        str_add(&b, " (this command says ");
        add_value(&b, v);
        str_add_c(&b, ')');
    }
    int rc = 0;
    if (b.failed)
        rc = err_set(ERR_MEMORY, "no memory to compare with the plan of %s", path);
    else if (b.n)
        rc = err_set(ERR_USAGE, "%s was begun with %s; go on with the same options, or --force to start anew", path,
                     b.s);
    str_free(&b);
    return rc;
}

/* ---- memory
 * --------------------------------------------------------------------------------------------------------------- */

/* Bytes that this process has mapped and that are resident; 0 where the system does not say. */
static void measure(int64_t *mapped, int64_t *resident)
{
    long long a = 0, b = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lld %lld", &a, &b) != 2)
        a = b = 0;
    if (f)
        fclose(f);
    *mapped = a * sysconf(_SC_PAGESIZE);
    *resident = b * sysconf(_SC_PAGESIZE);
}

/* The lesser of the limits on address space and data, in bytes; -1: none. */
static int64_t address_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_AS, &r) != 0 || r.rlim_cur == RLIM_INFINITY || r.rlim_cur > INT64_MAX)
        return -1;
    return (int64_t)r.rlim_cur;
}

/* One caption as long as the longest can be in tokens, of which a word has at least one byte. */
static int try_text(const struct encode_job *job, float *vector)
{
    struct str b = {0};
    int64_t longest = 1;
    for (int64_t i = 0; i < job->d->n_texts && longest < job->m->context; i++) {
        int64_t n = (int64_t)strlen(job->d->captions[i]);
        longest = n > longest ? n : longest;
    }
    for (int64_t i = 0; i < longest && i < job->m->context; i++)
        str_add(&b, "a ");
    const char *text = b.s;
    int rc = b.failed ? ERR_MEMORY : model_embed_texts(job->m, &text, 1, job->low, vector, NULL);
    str_free(&b);
    return rc;
}

/* Bytes that the model's layers will need, from one caption and one picture. */
static int try_model(const struct encode_job *job, double *bytes)
{
    struct model *m = job->m;
    size_t each = (size_t)(3 * m->image_size * m->image_size);
    float *pixels = mem_calloc(each, sizeof *pixels), *vector = mem_calloc((size_t)m->embed, sizeof *vector);
    double text = 0, image = 0;
    int rc = pixels && vector ? 0 : ERR_MEMORY;
    tape_close(&m->plain[job->low]); /* its peak would be that of whatever the model has done before */
    if (rc == 0 && job->d->n_texts > 0) {
        rc = try_text(job, vector);
        if (rc == 0 && m->plain[job->low])
            text = (double)arena_peak(tape_arena(m->plain[job->low]));
    }
    if (rc == 0 && job->d->n_images > 0) {
        rc = model_embed_pixels(m, pixels, 1, job->low, vector);
        if (rc == 0 && m->plain[job->low])
            image = (double)arena_peak(tape_arena(m->plain[job->low])); /* of both: no harm, 256 > 16 */
    }
    mem_free(pixels);
    mem_free(vector);
    int64_t n = job->d->n_texts < CHUNK_TEXTS ? job->d->n_texts : CHUNK_TEXTS;
    int64_t k = job->batch < MODEL_GRAIN ? job->batch : MODEL_GRAIN;
    *bytes = 1.25 * (text * (double)n > image * (double)k ? text * (double)n : image * (double)k);
    return rc;
}

/* What is asked for besides the model's layers. */
static double buffers(const struct encode_job *job, int64_t batch)
{
    const struct model *m = job->m;
    const struct dataset *d = job->d;
    double pixels = 2.0 * (double)batch * 3 * (double)m->image_size * (double)m->image_size * sizeof(float);
    double rows = (double)(batch > ENCODE_TEXTS ? batch : ENCODE_TEXTS);
    double text = ENCODE_TEXTS * (8.0 * (double)m->context + 4.0 * (double)m->embed + 64);
    double more = 0;
    struct model_last last;
    for (int k = 0; job->features && k < 2; k++)
        more += model_last(m, k, &last) == 0 ? rows * 4.0 * (double)(last.width + 1) : 0;
    double tables = 8.0 * ((double)d->n_images * (d->n_image_cols + 1) + (double)d->n_texts * (d->n_text_cols + 1) +
                           2.0 * (double)d->n_pairs + (double)job->shard_rows);
    double decoding = d->n_images > 0 ? (double)job->loaders * 48 * MIB : 0; /* a picture of 12 million pixels */
    return pixels + more + rows * 6.0 * (double)m->embed + text + tables + decoding;
}

static int refuse(const struct encode_job *job, double need, double fixed, double allowed, const char *who)
{
    int64_t batch = job->batch;
    while (batch > 1 && fixed + buffers(job, batch) > allowed)
        batch /= 2;
    if (fixed + buffers(job, batch) <= allowed)
        FAIL(ERR_MEMORY, "the plan needs about %.0f MiB, %s allows %.0f; --batch %lld would fit", need / MIB, who,
             allowed / MIB, (long long)batch);
    FAIL(ERR_MEMORY, "the plan needs about %.0f MiB, %s allows %.0f; allow more, or take fewer --loader-threads",
         need / MIB, who, allowed / MIB);
}

int encode_plan_memory(const struct encode_job *job)
{
    int64_t mapped, resident, limit = address_limit();
    double layers = 0;
    /* threads reserve stacks and arenas of addresses that they hardly touch */
    double reserve = (double)job->loaders * 80 * MIB + 64.0 * MIB;
    measure(&mapped, &resident);
    /* first without the picture library, which cannot be loaded where there is no room for it */
    double least = (double)mapped + reserve + (job->d->n_images > 0 ? 192.0 * MIB : 0);
    if (limit >= 0 && least + buffers(job, job->batch) > (double)limit)
        return refuse(job, least + buffers(job, job->batch), least, (double)limit,
                      "the limit on addresses (ulimit -v)");
    /* without the library every file would count as broken */
    if (job->d->n_images > 0)
        TRY(image_start(NULL));
    TRY_IN(try_model(job, &layers), "trying the model with one picture and one caption");
    measure(&mapped, &resident);
    double need = (double)resident + layers + buffers(job, job->batch);
    log_info("plan: %s pictures, %s captions, batch %lld, %lld loader thread%s, shards of %lld rows: about %.0f MiB",
             str_count(job->d->n_images), str_count(job->d->n_texts), (long long)job->batch, (long long)job->loaders,
             job->loaders == 1 ? "" : "s", (long long)job->shard_rows, need / MIB);
    if (job->memory > 0 && need > (double)job->memory)
        return refuse(job, need, (double)resident + layers, (double)job->memory, "--memory");
    double fixed = (double)mapped + layers + reserve;
    if (limit >= 0 && fixed + buffers(job, job->batch) > (double)limit)
        return refuse(job, fixed + buffers(job, job->batch), fixed, (double)limit,
                      "the limit on addresses (ulimit -v)");
    return 0;
}

/* ---- space on the disk
 * ----------------------------------------------------------------------------------------------------- */

static int64_t table_bytes(const char *const *cells, int64_t n, int n_cols)
{
    int64_t bytes = n * (24 + n_cols);
    for (int64_t i = 0; i < n * n_cols; i++)
        bytes += (int64_t)strlen(cells[i]);
    return bytes;
}

int encode_plan_space(const struct encode_job *job, int64_t n_rows_to_come)
{
    char folder[2048];
    const struct dataset *d = job->d;
    int64_t row = job->m->embed * (strcmp(job->dtype, "float16") ? 4 : 2);
    int64_t bytes = (d->n_images + d->n_texts + n_rows_to_come) * row + n_rows_to_come * 12 + d->n_pairs * 16;
    struct model_last last[2] = {{0}, {0}};
    for (int k = 0; job->features && k < 2; k++)
        TRY(model_last(job->m, k, &last[k]));
    if (job->features) /* of shards float32, whatever the set's numbers are */
        bytes += (d->n_images * (last[0].width + 1) + d->n_texts * (last[1].width + 1)) * 8;
    bytes += table_bytes(d->image_cells, d->n_images, d->n_image_cols);
    bytes += table_bytes(d->text_cells, d->n_texts, d->n_text_cols);
    if (strlen(job->out) >= sizeof folder)
        FAIL(ERR_FAIL, "output path \"%.80s\" is too long", job->out);
    strcpy(folder, job->out);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    return path_check_space(slash ? folder : ".", bytes);
}
