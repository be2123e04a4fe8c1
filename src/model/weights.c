/* model/weights.c: parameters from and to safetensors. Every weight of the table must be in the files with the expected
 * shape, which is settled before any memory is asked for (a config may name any size); numbers are checked to be finite
 * (a NaN in a weight file would poison every vector in silence). Unknown tensors of the files are ignored when they are
 * known leftovers of other libraries, and reported otherwise.
 *
 * Where the file's order differs from ours (a projection stored [in, out], a position table of another picture size,
 * another name of a tied weight) this is where it is turned round, both ways. */
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

/* Side of the grid in a position table of n rows; 0: it is none. */
static int64_t grid_side(const struct param *q, int64_t n)
{
    int64_t cells = n - (q->grid - 1), side = (int64_t)llround(sqrt((double)(cells > 0 ? cells : 0)));
    return side > 0 && side * side == cells ? side : 0;
}

/* Same shape but for the side of the grid. */
static bool other_grid(const struct st_tensor *s, const struct param *q)
{
    int rows = q->n_dims - 2;
    if (!q->grid || s->n_dims != q->n_dims || rows < 0 || !grid_side(q, s->shape[rows]))
        return false;
    for (int d = 0; d < q->n_dims; d++)
        if (d != rows && s->shape[d] != q->shape[d])
            return false;
    return true;
}

static int check_shape(const struct st_tensor *s, const struct param *q, const char *file)
{
    bool same = s->n_dims == q->n_dims && memcmp(s->shape, q->shape, sizeof(int64_t) * (size_t)q->n_dims) == 0;
    if (same || other_grid(s, q))
        return 0;
    char found[128], expected[128];
    shape_text(found, sizeof found, s->n_dims, s->shape);
    shape_text(expected, sizeof expected, q->n_dims, q->shape);
    FAIL(ERR_DATA,
         "%s: tensor \"%s\" is %s, expected %s (from the configuration); the weights and the configuration belong to "
         "different models",
         file, q->path, found, expected);
}

/* First of n numbers that is none, n when there is none such. The common case, that all are numbers, is a sum of
 * comparisons without a branch: this loop sees every weight of every model that is opened. */
static int64_t first_bad_f32(const float *x, int64_t n)
{
    enum { BLOCK = 4096 };
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t end = n - i < BLOCK ? n : i + BLOCK;
        uint32_t bad = 0;
        for (int64_t j = i; j < end; j++) {
            uint32_t bits;
            memcpy(&bits, &x[j], sizeof bits);
            bad |= (bits & 0x7f800000u) == 0x7f800000u;
        }
        for (int64_t j = i; bad && j < end; j++)
            if (!isfinite((double)x[j]))
                return j;
    }
    return n;
}

static int64_t first_bad_f64(const double *x, int64_t n)
{
    int64_t i = 0;
    while (i < n && isfinite(x[i]))
        i++;
    return i;
}

static int check_finite(const struct params *p, const struct param *q, const char *file)
{
    const void *x = params_data(p, q);
    int64_t i = p->real == DT_F64 ? first_bad_f64(x, q->n) : first_bad_f32(x, q->n);
    if (i == q->n)
        return 0;
    FAIL(ERR_NONFINITE,
         "%s: tensor \"%s\" holds %g at element %lld, expected finite numbers; the file is damaged or its training "
         "diverged",
         file, q->path, p->real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i], (long long)i);
}

/* Buffers that other libraries store beside the weights; they carry no information. */
static bool is_leftover(const char *name)
{
    static const char *const names[] = {"position_ids",   "attn_mask",  "input_resolution",
                                        "context_length", "vocab_size", "embeddings_position_ids"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_ends(name, names[i]))
            return true;
    return false;
}

static bool is_known(const struct params *p, const char *name)
{
    for (int64_t k = 0; k < p->n; k++)
        if (!strcmp(p->v[k].path, name))
            return true;
    return false;
}

/* Under its name, or, of a tensor that has two, under the other one. */
static const struct st_tensor *find_stored(const struct params *p, const struct param *q, const struct weight_files *w)
{
    const struct st_tensor *s = weight_find(w, q->path);
    for (int64_t k = 0; !s && k < p->n; k++)
        if (p->v[k].kind == PARAM_ALIAS && p->v[k].tensor == q->tensor && &p->v[k] != q)
            s = weight_find(w, p->v[k].path);
    return s;
}

int params_check(const struct params *p, const struct weight_files *w)
{
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        const struct st_tensor *s = find_stored(p, q, w);
        if (!s && (q->kind == PARAM_ALIAS || q->kind == PARAM_COUNTER)) /* a missing count starts at 0 */
            continue;
        if (!s)
            FAIL(ERR_DATA,
                 "%s: tensor \"%s\" is missing (the file holds %lld tensors); is it the weight file of this "
                 "configuration?",
                 w->path, q->path, (long long)weight_count(w));
        TRY(check_shape(s, q, w->path));
    }
    return 0;
}

/* ---- the file's order and ours ---- */

/* rows x cols elements of `size` bytes, turned. */
static void turn(char *out, const char *in, int64_t rows, int64_t cols, size_t size)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            memcpy(out + (size_t)(j * rows + i) * size, in + (size_t)(i * cols + j) * size, size);
}

static int load_grid(const struct params *p, const struct param *q, const struct st_tensor *s, bool antialias)
{
    int64_t width = q->shape[q->n_dims - 1], rows = s->shape[q->n_dims - 2], prefix = q->grid - 1;
    float *in = mem_calloc((size_t)rows, (size_t)width * sizeof *in);
    float *out = mem_calloc((size_t)q->n, sizeof *out);
    int rc = in && out ? dtype_convert(DT_F32, in, s->dtype, s->data, (size_t)(rows * width)) : ERR_MEMORY;
    if (rc == 0)
        rc = positions_resize(in, prefix, grid_side(q, rows), grid_side(q, q->shape[q->n_dims - 2]), width, antialias,
                              out);
    if (rc == 0)
        rc = dtype_convert(p->real, params_data(p, q), DT_F32, out, (size_t)q->n);
    mem_free(in);
    mem_free(out);
    return rc;
}

static int load_one(const struct params *p, const struct param *q, const struct st_tensor *s, bool antialias)
{
    if (memcmp(s->shape, q->shape, sizeof(int64_t) * (size_t)q->n_dims))
        return load_grid(p, q, s, antialias);
    if (!q->transposed)
        return dtype_convert(p->real, params_data(p, q), s->dtype, s->data, (size_t)q->n);
    size_t size = dtype_size(p->real);
    char *as_stored = mem_alloc((size_t)q->n * size + 1);
    int rc = as_stored ? dtype_convert(p->real, as_stored, s->dtype, s->data, (size_t)q->n) : ERR_MEMORY;
    if (rc == 0)
        turn(params_data(p, q), as_stored, q->shape[0], q->shape[1], size);
    mem_free(as_stored);
    return rc;
}

int params_export(const struct params *p, const struct param *q, const void *slab, enum dtype dtype, void *out)
{
    size_t size = dtype_size(p->real);
    const char *in = (const char *)slab + (size_t)q->at * size;
    if (!q->transposed)
        return dtype_convert(dtype, out, p->real, in, (size_t)q->n);
    char *turned = mem_alloc((size_t)q->n * size + 1);
    if (!turned)
        return ERR_MEMORY;
    turn(turned, in, q->shape[1], q->shape[0], size);
    int rc = dtype_convert(dtype, out, p->real, turned, (size_t)q->n);
    mem_free(turned);
    return rc;
}

/* ---- whole files ---- */

int params_load(struct params *p, const struct weight_files *w, bool antialias)
{
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        const struct st_tensor *s = find_stored(p, q, w);
        if (q->kind == PARAM_ALIAS || !s) /* the tensor has its numbers from its first name, or a count is missing */
            continue;
        TRY_IN(load_one(p, q, s, antialias), "reading tensor \"%s\" of %s", q->path, w->path);
        TRY(check_finite(p, q, w->path));
    }
    for (int64_t i = 0; i < weight_count(w); i++) {
        const char *name = weight_at(w, i)->name;
        if (!is_leftover(name) && !is_known(p, name))
            log_warn("%s: tensor \"%s\" is not part of this model and is ignored", w->path, name);
    }
    return 0;
}

int params_save(const struct params *p, const char *path, enum dtype dtype)
{
    int rc = ERR_MEMORY;
    size_t n_bytes = 1;
    for (int64_t k = 0; k < p->n; k++)
        n_bytes += (size_t)p->v[k].n * dtype_size(p->v[k].kind == PARAM_COUNTER ? DT_I64 : dtype);
    struct st_tensor *list = mem_calloc((size_t)p->n, sizeof *list);
    char *bytes = mem_alloc(n_bytes);
    json_t *meta = json_pack("{s:s}", "format", "pt");
    if (!list || !bytes || !meta)
        goto out;
    char *at = bytes;
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        enum dtype d = q->kind == PARAM_COUNTER ? DT_I64 : dtype;
        rc = params_export(p, q, p->data, d, at);
        if (rc < 0)
            goto out;
        list[k] = (struct st_tensor){
            .name = q->path, .dtype = d, .n_dims = q->n_dims, .data = at, .n_bytes = (size_t)q->n * dtype_size(d)};
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
