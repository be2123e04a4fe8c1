/* model/embed.c: whole arrays through a model, in chunks, without gradients. Each row's vector does not depend on its
 * neighbours but for the rounding of the matrix product's blocking. Captions are sorted by length, so that a chunk's
 * longest caption, to which the text tower is trimmed, is close to its shortest. */
#include "model/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_TEXTS = 256 };

static int copy_out(struct tape *t, const struct tensor *x, int64_t n, int64_t d, float *out)
{
    TRY(tape_status(t));
    if (!x)
        FAIL(ERR_MEMORY, "encoding ran out of memory");
    return dtype_convert(DT_F32, out, tape_engine(t)->real, x->data, (size_t)(n * d));
}

static int check_rows(const float *x, int64_t n, int64_t d, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            if (!isfinite((double)x[i * d + j]))
                FAIL(ERR_NONFINITE, "the vector of %s %lld is not finite; the weights or the input are damaged", what,
                     (long long)i);
    return 0;
}

/* Opened on first use and kept: a service that encodes one picture after the other must not ask the system for the same
 * memory each time. */
int model_plain_tape(struct model *m, bool low, struct tape **out)
{
    struct tape_opt opt = {.record = false, .low = low};
    if (!m->plain[low])
        TRY(tape_open(&m->plain[low], m->engine, &opt));
    *out = m->plain[low];
    return 0;
}

int model_check_space(const struct model *m)
{
    if (m->family->encode_image)
        return 0;
    FAIL(ERR_UNSUPPORTED, "%s: a model of the family %s has no common space of pictures and texts",
         m->path ? m->path : "model", m->family->name);
}

static int plain_tape(struct model *m, bool low, struct tape **out)
{
    TRY(model_check_space(m));
    return model_plain_tape(m, low, out);
}

/* ---- what the last product is given ---- */

int model_last(const struct model *m, bool text, struct model_last *out)
{
    const struct linear *l = NULL;
    TRY(model_check_space(m));
    if (m->family->last_product && m->family->features_image && m->family->features_text)
        l = m->family->last_product(m, text);
    if (!l)
        FAIL(ERR_UNSUPPORTED,
             "%s: the %s side of a model of the family %s does not end in one product of learned weights, so there are "
             "no features before it",
             m->path ? m->path : "model", text ? "text" : "image", m->family->name);
    *out = (struct model_last){.width = l->w.shape[1], .n_weights = l->w.n, .bias = l->has_bias};
    const struct tensor *const part[2] = {&l->w, &l->b};
    for (int k = 0; k < 1 + l->has_bias; k++)
        for (int64_t i = 0; i < part[k]->n; i++) {
            double v = m->params.real == DT_F64 ? ((const double *)part[k]->data)[i]
                                                : (double)((const float *)part[k]->data)[i];
            out->square += v * v;
        }
    out->n_weights += l->has_bias ? l->b.n : 0;
    return 0;
}

/* Rows at..at+n of what is wanted; raw [n,E] as it leaves the model. */
static int put_rows(const struct model *m, struct tape *t, struct tensor *raw, const struct tensor *features, int64_t n,
                    int64_t at, const struct model_rows *out)
{
    int64_t e = m->embed;
    TRY(copy_out(t, t_l2_normalize(raw), n, e, out->unit + at * e));
    if (!out->features)
        return 0;
    int64_t width = features ? features->n / n : 0;
    TRY(copy_out(t, features, n, width, out->features + at * width));
    TRY(check_rows(out->features + at * width, n, width, "features"));
    for (int64_t i = 0; i < n; i++) {
        double square = 0;
        for (int64_t j = 0; j < e; j++)
            square += t_get(raw, i * e + j) * t_get(raw, i * e + j);
        out->lengths[at + i] = (float)sqrt(square);
    }
    return 0;
}

/* ---- whole arrays ---- */

int model_features_pixels(struct model *m, const float *pixels, int64_t n, bool low, const struct model_rows *out)
{
    struct tape *t = NULL;
    int64_t each = 3 * m->image_size * m->image_size;
    struct model_last last;
    int rc = plain_tape(m, low, &t);
    if (rc == 0 && out->features)
        rc = model_last(m, false, &last);
    for (int64_t i = 0; rc == 0 && i < n; i += MODEL_GRAIN) {
        int64_t k = n - i < MODEL_GRAIN ? n - i : MODEL_GRAIN;
        struct tensor *features = NULL;
        TRY(signal_check());
        tape_reset(t);
        struct tensor *x = model_pixels(m, t, pixels + i * each, k);
        x = out->features ? m->family->features_image(m, x, &features) : m->family->encode_image(m, x);
        rc = put_rows(m, t, x, features, k, i, out);
    }
    TRY(rc);
    return check_rows(out->unit, n, m->embed, "picture");
}

int model_embed_pixels(struct model *m, const float *pixels, int64_t n, bool low, float *out)
{
    return model_features_pixels(m, pixels, n, low, &(struct model_rows){.unit = out});
}

static int embed_ids(struct model *m, const int32_t *ids, int64_t n, int64_t context, bool low,
                     const struct model_rows *out)
{
    struct tape *t = NULL;
    int rc = plain_tape(m, low, &t);
    for (int64_t i = 0; rc == 0 && i < n; i += CHUNK_TEXTS) {
        int64_t k = n - i < CHUNK_TEXTS ? n - i : CHUNK_TEXTS;
        struct tensor *features = NULL, *x;
        TRY(signal_check());
        tape_reset(t);
        x = out->features ? m->family->features_text(m, t, ids + i * context, k, context, &features)
                          : m->family->encode_text(m, t, ids + i * context, k, context);
        rc = put_rows(m, t, x, features, k, i, out);
    }
    TRY(rc);
    return check_rows(out->unit, n, m->embed, "text");
}

int model_embed_ids(struct model *m, const int32_t *ids, int64_t n, int64_t context, bool low, float *out)
{
    return embed_ids(m, ids, n, context, low, &(struct model_rows){.unit = out});
}

int model_match(struct model *m, const float *pixels, const int32_t *ids, int64_t n, int64_t context, bool low,
                float *out)
{
    struct tape *t = NULL;
    int64_t each = 3 * m->image_size * m->image_size;
    if (!m->family->match)
        FAIL(ERR_UNSUPPORTED,
             "%s: a model of the family %s has no matching head; BLIP for retrieval (blip_itm) has one",
             m->path ? m->path : "model", m->family->name);
    TRY(model_plain_tape(m, low, &t));
    for (int64_t i = 0; i < n; i += MODEL_GRAIN) {
        int64_t k = n - i < MODEL_GRAIN ? n - i : MODEL_GRAIN;
        TRY(signal_check());
        tape_reset(t);
        struct tensor *x = model_pixels(m, t, pixels + i * each, k);
        TRY(copy_out(t, m->family->match(m, x, ids + i * context, context), k, 1, out + i));
    }
    return check_rows(out, n, 1, "pair");
}

struct by_length {
    int64_t row, length;
};

static int compare_length(const void *a, const void *b)
{
    const struct by_length *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Length of the used part: up to the last id that differs from the row's final padding. */
static int64_t used_length(const int32_t *ids, int64_t context)
{
    int64_t n = context;
    while (n > 1 && ids[n - 1] == ids[n - 2])
        n--;
    return n;
}

/* Tokens of the texts in the order of their length. order [n], sorted [n,context]. */
static int sort_texts(const struct model *m, const char *const *texts, int64_t n, struct by_length *order,
                      int32_t *sorted, int64_t *n_truncated)
{
    int64_t context = m->context;
    int rc = 0;
    int32_t *ids = mem_calloc((size_t)n + 1, (size_t)context * sizeof *ids);
    if (!ids)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n && rc == 0; i++) {
        bool cut = false;
        rc = signal_check();
        if (rc == 0)
            rc = tokenizer_encode_context(m->tokenizer, texts[i], context, ids + i * context, &cut);
        *n_truncated += cut;
        order[i] = (struct by_length){i, used_length(ids + i * context, context)};
    }
    qsort(order, (size_t)n, sizeof *order, compare_length);
    for (int64_t i = 0; i < n; i++)
        memcpy(sorted + i * context, ids + order[i].row * context, (size_t)context * sizeof *ids);
    mem_free(ids);
    return rc;
}

static void back_in_order(const struct by_length *order, int64_t n, int64_t d, const float *sorted, float *out)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(out + order[i].row * d, sorted + i * d, (size_t)d * sizeof *out);
}

int model_features_texts(struct model *m, const char *const *texts, int64_t n, bool low, const struct model_rows *out,
                         int64_t *n_truncated)
{
    struct model_last last = {0};
    if (!m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer (tokenizer.json, or vocab.json with merges.txt)",
             m->path ? m->path : "model");
    if (out->features)
        TRY(model_last(m, true, &last));
    int64_t truncated = 0;
    size_t rows = (size_t)n + 1;
    struct by_length *order = mem_calloc(rows, sizeof *order);
    int32_t *sorted = mem_calloc(rows, (size_t)m->context * sizeof *sorted);
    struct model_rows r = {.unit = mem_calloc(rows, (size_t)m->embed * sizeof(float))};
    int rc = order && sorted && r.unit ? 0 : ERR_MEMORY;
    if (rc == 0 && out->features) {
        r.features = mem_calloc(rows, (size_t)last.width * sizeof(float));
        r.lengths = mem_calloc(rows, sizeof(float));
        rc = r.features && r.lengths ? 0 : ERR_MEMORY;
    }
    if (rc == 0)
        rc = sort_texts(m, texts, n, order, sorted, &truncated);
    if (rc == 0)
        rc = embed_ids(m, sorted, n, m->context, low, &r);
    if (rc == 0) {
        back_in_order(order, n, m->embed, r.unit, out->unit);
        if (out->features) {
            back_in_order(order, n, last.width, r.features, out->features);
            back_in_order(order, n, 1, r.lengths, out->lengths);
        }
        if (n_truncated)
            *n_truncated = truncated;
    }
    mem_free(order);
    mem_free(sorted);
    mem_free(r.unit);
    mem_free(r.features);
    mem_free(r.lengths);
    return rc;
}

int model_embed_texts(struct model *m, const char *const *texts, int64_t n, bool low, float *out, int64_t *n_truncated)
{
    return model_features_texts(m, texts, n, low, &(struct model_rows){.unit = out}, n_truncated);
}
