/* train/checkpoint.c: everything a run needs to go on bit for bit: weights, both moments, the averaged weights, the
 * cursor and the configuration. RUN/checkpoints/step-N/ holds state.safetensors and, written last, checkpoint.json with
 * the length and SHA-256 of the state; the folder appears whole by a rename. `latest` is the largest N whose manifest
 * is true, not a name or a date. Random streams are functions of (seed, purpose, epoch, index), so the cursor is all
 * the randomness there is to save. */
#include "train/train.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP = 2, MAX_LISTED = 4096 };

static int folder(char *out, size_t n, const char *run, int64_t step)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step-%09lld", (long long)step);
    return path_join(out, n, run, name);
}

/* Steps of the checkpoints present, newest first. */
static int list(const char *run, int64_t *steps, int max)
{
    char dir[2048];
    int n = 0;
    if (path_join(dir, sizeof dir, run, "checkpoints") < 0)
        return 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *e; n < max && (e = readdir(d));) {
        char *end;
        if (strncmp(e->d_name, "step-", 5))
            continue;
        long long step = strtoll(e->d_name + 5, &end, 10);
        if (*end == 0 && step >= 0) {
            int i = n++;
            for (; i > 0 && steps[i - 1] < step; i--)
                steps[i] = steps[i - 1];
            steps[i] = step;
        }
    }
    closedir(d);
    return n;
}

static int write_state(const char *dir, const struct params *p, const struct optimizer *o, const void *average)
{
    char path[2048];
    struct st_tensor list4[4] = {{.name = "weights", .data = p->data},
                                 {.name = "adam_m", .data = o->m},
                                 {.name = "adam_v", .data = o->v},
                                 {.name = "average", .data = average}};
    int n = average ? 4 : 3;
    for (int i = 0; i < n; i++) {
        list4[i].dtype = p->real;
        list4[i].n_dims = 1;
        list4[i].shape[0] = p->n_slab;
        list4[i].n_bytes = (size_t)p->n_slab * dtype_size(p->real);
    }
    TRY(path_join(path, sizeof path, dir, "state.safetensors"));
    return st_write(path, list4, n, NULL);
}

static int write_manifest(const char *dir, const struct optimizer *o, const struct cursor *c, const json_t *config)
{
    char path[2048], hash[65];
    int64_t size;
    TRY(path_join(path, sizeof path, dir, "state.safetensors"));
    TRY(path_sum(hash, path, &size));
    json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:s, s:I, s:O}", "epoch", (json_int_t)c->epoch, "step",
                          (json_int_t)c->step, "done", (json_int_t)c->done, "optimizer_step", (json_int_t)o->step,
                          "best_epoch", (json_int_t)c->best_epoch, "best", json_number(c->best), "loss_mean",
                          c->loss_mean, "state_sha256", hash, "state_bytes", (json_int_t)size, "config", config);
    return atomic_put_json(dir, "checkpoint.json", j, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
}

int64_t checkpoint_bytes(const struct params *p, bool average)
{
    return (KEEP + 1) * (average ? 4 : 3) * p->n_slab * (int64_t)dtype_size(p->real);
}

int checkpoint_save(const char *run, const struct model *m, const struct optimizer *o, const void *average,
                    const struct cursor *c, const json_t *config)
{
    char path[2048];
    struct atomic_dir d;
    TRY(path_join(path, sizeof path, run, "checkpoints"));
    TRY(path_make_dirs(path));
    TRY(folder(path, sizeof path, run, c->done));
    TRY(atomic_dir_open(&d, path, true));
    int rc = write_state(d.tmp, &m->params, o, average);
    if (rc == 0)
        rc = write_manifest(d.tmp, o, c, config);
    if (rc < 0) {
        atomic_dir_abort(&d);
        return err_while(rc, "saving a checkpoint; the older ones are untouched");
    }
    TRY(atomic_dir_commit(&d));
    int64_t steps[MAX_LISTED];
    int n = list(run, steps, MAX_LISTED);
    for (int i = KEEP; i < n; i++)
        if (folder(path, sizeof path, run, steps[i]) == 0)
            path_remove_tree(path);
    return 0;
}

/* 1 when the folder holds a complete checkpoint (manifest kept in *manifest), 0 when not. */
static int complete(const char *dir, json_t **manifest)
{
    char path[2048], hash[65];
    int64_t size, expected = -1;
    const char *sum = NULL;
    json_t *j;
    if (path_join(path, sizeof path, dir, "checkpoint.json") < 0 || json_read_file(&j, path) < 0)
        return 0;
    bool good = json_field_str(j, "state_sha256", true, &sum, path) == 0 &&
                json_field_int(j, "state_bytes", true, 0, INT64_MAX, &expected, path) == 0 &&
                path_join(path, sizeof path, dir, "state.safetensors") == 0 && path_sum(hash, path, &size) == 0 &&
                size == expected && !strcmp(hash, sum);
    if (!good) {
        log_warn("%s: checkpoint is incomplete and is passed over", dir);
        json_decref(j);
        return 0;
    }
    *manifest = j;
    return 1;
}

static int read_slab(const struct st_file *f, const char *name, const struct params *p, void *into)
{
    const struct st_tensor *t = st_find(f, name);
    size_t bytes = (size_t)p->n_slab * dtype_size(p->real);
    if (!t || t->dtype != p->real || t->n_bytes != bytes)
        FAIL(ERR_DATA,
             "%s: \"%s\" is missing or of another size, expected %lld numbers; the checkpoint belongs to another model",
             st_path(f), name, (long long)p->n_slab);
    memcpy(into, t->data, bytes);
    return 0;
}

static int load(const char *dir, const json_t *manifest, struct model *m, struct optimizer *o, void *average,
                struct cursor *c)
{
    char path[2048];
    struct st_file *f;
    TRY(path_join(path, sizeof path, dir, "state.safetensors"));
    TRY(st_open(&f, path));
    int rc = read_slab(f, "weights", &m->params, m->params.data);
    if (rc == 0)
        rc = read_slab(f, "adam_m", &m->params, o->m);
    if (rc == 0)
        rc = read_slab(f, "adam_v", &m->params, o->v);
    if (rc == 0 && average)
        rc = read_slab(f, "average", &m->params, average);
    if (rc == 0)
        rc = st_check(f);
    st_close(&f);
    TRY(rc);
    TRY(path_join(path, sizeof path, dir, "checkpoint.json"));
    TRY(json_field_int(manifest, "optimizer_step", true, 0, INT64_MAX, &o->step, path));
    TRY(json_field_int(manifest, "epoch", true, 0, INT64_MAX, &c->epoch, path));
    TRY(json_field_int(manifest, "step", true, 0, INT64_MAX, &c->step, path));
    TRY(json_field_int(manifest, "done", true, 0, INT64_MAX, &c->done, path));
    TRY(json_field_int(manifest, "best_epoch", true, -1, INT64_MAX, &c->best_epoch, path));
    c->best = NAN;
    if (!json_is_null(json_object_get(manifest, "best")))
        TRY(json_field_real(manifest, "best", true, -1e300, 1e300, &c->best, path));
    return json_field_real(manifest, "loss_mean", true, -1e300, 1e300, &c->loss_mean, path);
}

static int check_config(const json_t *saved, const json_t *now, const char *dir)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        json_t *old = json_object_get(saved, key);
        if (old && json_equal(old, value))
            continue;
        if (old && !strcmp(key, "model_fingerprint"))
            FAIL(ERR_MISMATCH,
                 "%s was made from another model (fingerprint %.16s) than the one given (fingerprint %.16s): a run "
                 "goes on "
                 "with its own; give that one, or start a new --out",
                 dir, json_string_value(old) ? json_string_value(old) : "unknown", json_string_value(value));
        char *a = old ? json_dumps(old, JSON_ENCODE_ANY) : NULL, *b = json_dumps(value, JSON_ENCODE_ANY);
        int rc = err_set(
            ERR_USAGE,
            "%s was made with %s = %s, this command says %s; resume with the same options, or start a new --out", dir,
            key, a ? a : "nothing", b ? b : "?");
        free(a);
        free(b);
        return rc;
    }
    return 0;
}

int checkpoint_load(const char *run, struct model *m, struct optimizer *o, void *average, struct cursor *c,
                    const json_t *config, bool *found)
{
    int64_t steps[MAX_LISTED];
    char dir[2048];
    *found = false;
    int n = list(run, steps, MAX_LISTED);
    for (int i = 0; i < n; i++) {
        json_t *manifest = NULL;
        TRY(folder(dir, sizeof dir, run, steps[i]));
        if (!complete(dir, &manifest))
            continue;
        int rc = check_config(json_object_get(manifest, "config"), config, dir);
        if (rc == 0)
            rc = load(dir, manifest, m, o, average, c);
        json_decref(manifest);
        TRY(rc);
        *found = true;
        return 0;
    }
    return 0;
}
