/* space/set_features.c: what the model's last products were given, beside a set's vectors.
 *
 * SIDE_features.npy holds a row for each vector and is as wide as the product's input; SIDE_lengths.npy holds the
 * length that the embedding had before it was brought to 1; "features" in set.json tells what the product's weights
 * look like from outside: their number, the sum of their squares, whether there are biases. That is all that a
 * posterior over these weights needs (docs/methods/bayesvlm.md), and no model has to be at hand. Without the file of
 * lengths, vectors that are not of unit length are the embeddings themselves.
 * Mapped when the numbers are float32: nearly every command has no use for them, and they are wider than the vectors.
 * They are therefore checked where they are read, not here. */
#include "space/set_private.h"

#include <math.h>
#include <string.h>

static const char *const side_word[2] = {"image", "text"};

static int open_file(struct set_features *f, int which, const char *path, int64_t rows, int64_t width,
                     const float **out)
{
    struct npy *a = &f->file[which];
    TRY(npy_open(a, path));
    TRY(set_check_npy(a, 0, path));
    if (a->shape[0] != rows || (width && a->shape[1] != width))
        FAIL(ERR_DATA, "%s: shape [%lld, %lld], expected [%lld, %lld]", path, (long long)a->shape[0],
             (long long)a->shape[1], (long long)rows, (long long)(width ? width : a->shape[1]));
    *out = a->data;
    if (a->dtype == DT_F32)
        return 0;
    size_t count = (size_t)a->shape[0] * (size_t)a->shape[1];
    f->copy[which] = mem_calloc(count + 1, sizeof(float));
    if (!f->copy[which])
        return ERR_MEMORY;
    TRY(dtype_convert(DT_F32, f->copy[which], a->dtype, a->data, count));
    *out = f->copy[which];
    return npy_check(a);
}

static int read_json(struct set_features *f, const json_t *o, int which, const char *where)
{
    char at[1200];
    const json_t *all = json_object_get(o, "features"), *one;
    if (!all || json_is_null(all))
        return 0;
    snprintf(at, sizeof at, "%s: features.%s", where, side_word[which]);
    one = json_object_get(all, side_word[which]);
    if (!json_is_object(all) || (one && !json_is_object(one)))
        FAIL(ERR_DATA, "%s: expected an object", at);
    if (!one)
        return 0;
    TRY(json_field_int(one, "width", true, 1, limit_get(LIMIT_WIDTH), &f->width, at));
    TRY(json_field_int(one, "weights", false, 0, INT64_MAX, &f->n_weights, at));
    TRY(json_field_bool(one, "bias", false, &f->bias, at));
    return json_field_real(one, "square", false, 0, 1e300, &f->square, at);
}

int set_features_open(struct set *s, int which, const char *where)
{
    struct set_side *side = which ? &s->text : &s->image;
    struct set_features *f = &side->features;
    char name[32], path[1024];
    const float *x = NULL;
    TRY(read_json(f, s->json, which, where));
    snprintf(name, sizeof name, "%s_features.npy", side_word[which]);
    TRY(path_join(path, sizeof path, s->path, name));
    if (!path_exists(path)) {
        if (f->width)
            FAIL(ERR_DATA, "%s: missing, but %s describes it under \"features\"", path, where);
        return 0;
    }
    TRY(open_file(f, 0, path, side->n, f->width, &x));
    f->width = f->file[0].shape[1];
    f->n_weights = f->n_weights ? f->n_weights : (f->width + f->bias) * s->width;
    snprintf(name, sizeof name, "%s_lengths.npy", side_word[which]);
    TRY(path_join(path, sizeof path, s->path, name));
    if (path_exists(path))
        TRY(open_file(f, 1, path, side->n, 1, &f->lengths));
    f->x = x;
    return 0;
}

void set_features_close(struct set_features *f)
{
    for (int k = 0; k < 2; k++) {
        npy_close(&f->file[k]);
        mem_free(f->copy[k]);
    }
    memset(f, 0, sizeof *f);
}

/* ---- writing ---- */

struct features_writer {
    struct npy_writer *rows, *lengths;
    int64_t width, n;
    const char *side;
    bool half;
    uint16_t *halves; /* [width] */
};

int features_writer_open(struct features_writer **out, const char *dir, int which, int64_t width, enum dtype dtype)
{
    char name[32], path[1100];
    const int64_t one = 1;
    if (width < 1 || width > limit_get(LIMIT_WIDTH))
        FAIL(ERR_DATA, "%s: %s features of width %lld, expected 1 to %lld", dir, side_word[which], (long long)width,
             (long long)limit_get(LIMIT_WIDTH));
    struct features_writer *w = mem_calloc(1, sizeof *w);
    if (!w)
        return ERR_MEMORY;
    *w = (struct features_writer){.width = width, .side = side_word[which], .half = dtype == DT_F16};
    *out = w; /* the caller closes it, whatever happens */
    w->halves = mem_calloc((size_t)width, sizeof *w->halves);
    if (!w->halves)
        return ERR_MEMORY;
    snprintf(name, sizeof name, "%s_features.npy", w->side);
    TRY(path_join(path, sizeof path, dir, name));
    TRY(npy_writer_open(&w->rows, path, dtype, 1, &width));
    snprintf(name, sizeof name, "%s_lengths.npy", w->side);
    TRY(path_join(path, sizeof path, dir, name));
    return npy_writer_open(&w->lengths, path, DT_F32, 1, &one);
}

int features_writer_add(struct features_writer *w, const float *x, const float *lengths, int64_t n)
{
    for (int64_t i = 0; i < n; i++, w->n++) {
        const float *row = x + i * w->width;
        for (int64_t j = 0; j < w->width; j++)
            if (!isfinite(row[j]) || (w->half && fabsf(row[j]) >= 65520.0F))
                FAIL(ERR_NONFINITE, "%s features, row %lld: a number is not finite%s; nothing was written", w->side,
                     (long long)w->n, isfinite(row[j]) ? " in float16" : "");
        if (!(lengths[i] > 0) || !isfinite(lengths[i]))
            FAIL(ERR_NONFINITE, "%s row %lld: an embedding of length %g; nothing was written", w->side, (long long)w->n,
                 (double)lengths[i]);
        if (w->half)
            TRY(dtype_convert(DT_F16, w->halves, DT_F32, row, (size_t)w->width));
        TRY(npy_writer_add(w->rows, w->half ? (const void *)w->halves : row, 1));
        TRY(npy_writer_add(w->lengths, lengths + i, 1));
    }
    return 0;
}

int features_writer_commit(struct features_writer *w, int64_t n)
{
    if (w->n != n)
        FAIL(ERR_DATA, "%s: %lld rows of features, expected %lld as there are vectors", w->side, (long long)w->n,
             (long long)n);
    TRY(npy_writer_commit(&w->rows));
    return npy_writer_commit(&w->lengths);
}

void features_writer_close(struct features_writer **wp)
{
    struct features_writer *w = *wp;
    if (!w)
        return;
    npy_writer_abort(&w->rows);
    npy_writer_abort(&w->lengths);
    mem_free(w->halves);
    mem_free(w);
    *wp = NULL;
}
