/* model/weights.c: parameters from and to safetensors. Every weight of the table must be in the file with the expected
 * shape, which is settled before any memory is asked for (a config may name any size); numbers are checked to be finite
 * (a NaN in a weight file would poison every vector in silence). Unknown tensors of the file are ignored when they are
 * known leftovers of other libraries, and reported otherwise. */
#include "model/param.h"

#include <math.h>
#include <string.h>

static void shape_text(char *out, size_t n, int n_dims, const int64_t *shape)
{
    size_t at = 0;
    out[0] = 0;
    at += (size_t)snprintf(out, n, "[");
    for (int i = 0; i < n_dims && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%lld", i ? "," : "", (long long)shape[i]);
    if (at < n)
        snprintf(out + at, n - at, "]");
}

static int check_shape(const struct st_tensor *s, const struct param *q, const char *file)
{
    bool same = s->n_dims == q->n_dims && memcmp(s->shape, q->shape, sizeof(int64_t) * (size_t)q->n_dims) == 0;
    if (same)
        return 0;
    char found[128], expected[128];
    shape_text(found, sizeof found, s->n_dims, s->shape);
    shape_text(expected, sizeof expected, q->n_dims, q->shape);
    FAIL(ERR_DATA,
         "%s: tensor \"%s\" is %s, expected %s (from config.json); the weights and the config belong to different "
         "models",
         file, q->path, found, expected);
}

static int check_finite(const struct params *p, const struct param *q, const char *file)
{
    for (int64_t i = 0; i < q->n; i++) {
        double x = p->real == DT_F64 ? ((double *)params_data(p, q))[i] : (double)((float *)params_data(p, q))[i];
        if (!isfinite(x))
            FAIL(ERR_NONFINITE,
                 "%s: tensor \"%s\" holds %g at element %lld, expected finite numbers; the file is damaged or its "
                 "training diverged",
                 file, q->path, x, (long long)i);
    }
    return 0;
}

/* Buffers that other libraries store beside the weights; they carry no information. */
static bool is_leftover(const char *name)
{
    return str_ends(name, "position_ids");
}

static bool is_known(const struct params *p, const char *name)
{
    for (int64_t k = 0; k < p->n; k++)
        if (!strcmp(p->v[k].path, name))
            return true;
    return false;
}

int params_check(const struct params *p, const struct st_file *f)
{
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        const struct st_tensor *s = st_find(f, q->path);
        if (!s)
            FAIL(ERR_DATA,
                 "%s: tensor \"%s\" is missing (the file holds %lld tensors); is it the weight file of this config?",
                 st_path(f), q->path, (long long)st_count(f));
        TRY(check_shape(s, q, st_path(f)));
    }
    return 0;
}

int params_load(struct params *p, const struct st_file *f)
{
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        const struct st_tensor *s = st_find(f, q->path);
        TRY_IN(dtype_convert(p->real, params_data(p, q), s->dtype, s->data, (size_t)q->n),
               "reading tensor \"%s\" of %s", q->path, st_path(f));
        TRY(check_finite(p, q, st_path(f)));
    }
    for (int64_t i = 0; i < st_count(f); i++) {
        const char *name = st_at(f, i)->name;
        if (!is_leftover(name) && !is_known(p, name))
            log_warn("%s: tensor \"%s\" is not part of this model and is ignored", st_path(f), name);
    }
    return 0;
}

int params_save(const struct params *p, const char *path, enum dtype dtype)
{
    int rc = ERR_MEMORY;
    struct st_tensor *list = mem_calloc((size_t)p->n, sizeof *list);
    char *bytes = mem_alloc((size_t)p->n_numbers * dtype_size(dtype) + 1);
    json_t *meta = json_pack("{s:s}", "format", "pt");
    if (!list || !bytes || !meta)
        goto out;
    char *at = bytes;
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        rc = dtype_convert(dtype, at, p->real, params_data(p, q), (size_t)q->n);
        if (rc < 0)
            goto out;
        list[k] = (struct st_tensor){.name = q->path,
                                     .dtype = dtype,
                                     .n_dims = q->n_dims,
                                     .data = at,
                                     .n_bytes = (size_t)q->n * dtype_size(dtype)};
        memcpy(list[k].shape, q->shape, sizeof q->shape);
        at += list[k].n_bytes;
    }
    rc = st_write(path, list, p->n, meta);
out:
    json_decref(meta);
    mem_free(bytes);
    mem_free(list);
    return rc;
}
