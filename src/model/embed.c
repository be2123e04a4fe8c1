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

int model_embed_pixels(struct model *m, const float *pixels, int64_t n, bool low, float *out)
{
    struct tape *t = NULL;
    int64_t each = 3 * m->image_size * m->image_size;
    int rc = plain_tape(m, low, &t);
    for (int64_t i = 0; rc == 0 && i < n; i += MODEL_GRAIN) {
        int64_t k = n - i < MODEL_GRAIN ? n - i : MODEL_GRAIN;
        TRY(signal_check());
        tape_reset(t);
        rc = copy_out(t, model_encode_image(m, model_pixels(m, t, pixels + i * each, k)), k, m->embed,
                      out + i * m->embed);
    }
    TRY(rc);
    return check_rows(out, n, m->embed, "picture");
}

int model_embed_ids(struct model *m, const int32_t *ids, int64_t n, int64_t context, bool low, float *out)
{
    struct tape *t = NULL;
    int rc = plain_tape(m, low, &t);
    for (int64_t i = 0; rc == 0 && i < n; i += CHUNK_TEXTS) {
        int64_t k = n - i < CHUNK_TEXTS ? n - i : CHUNK_TEXTS;
        TRY(signal_check());
        tape_reset(t);
        rc = copy_out(t, model_encode_text(m, t, ids + i * context, k, context), k, m->embed, out + i * m->embed);
    }
    TRY(rc);
    return check_rows(out, n, m->embed, "text");
}

int model_match(struct model *m, const float *pixels, const int32_t *ids, int64_t n, int64_t context, bool low,
                float *out)
{
    struct tape *t = NULL;
    int64_t each = 3 * m->image_size * m->image_size;
    if (!m->family->match)
        FAIL(ERR_UNSUPPORTED, "%s: a model of the family %s has no matching head; BLIP for retrieval (blip_itm) has one",
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

int model_embed_texts(struct model *m, const char *const *texts, int64_t n, bool low, float *out, int64_t *n_truncated)
{
    if (!m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer (tokenizer.json, or vocab.json with merges.txt)",
             m->path ? m->path : "model");
    int rc = ERR_MEMORY;
    int64_t context = m->context;
    int64_t truncated = 0;
    struct by_length *order = mem_calloc((size_t)n + 1, sizeof *order);
    int32_t *ids = mem_calloc((size_t)n + 1, (size_t)context * sizeof *ids);
    int32_t *sorted = mem_calloc((size_t)n + 1, (size_t)context * sizeof *sorted);
    float *rows = mem_calloc((size_t)n + 1, (size_t)m->embed * sizeof *rows);
    if (!order || !ids || !sorted || !rows)
        goto out;
    for (int64_t i = 0; i < n; i++) {
        bool cut = false;
        rc = signal_check();
        if (rc < 0)
            goto out;
        rc = tokenizer_encode_context(m->tokenizer, texts[i], context, ids + i * context, &cut);
        if (rc < 0)
            goto out;
        truncated += cut;
        order[i] = (struct by_length){i, used_length(ids + i * context, context)};
    }
    qsort(order, (size_t)n, sizeof *order, compare_length);
    for (int64_t i = 0; i < n; i++)
        memcpy(sorted + i * context, ids + order[i].row * context, (size_t)context * sizeof *ids);
    rc = model_embed_ids(m, sorted, n, context, low, rows);
    if (rc < 0)
        goto out;
    for (int64_t i = 0; i < n; i++)
        memcpy(out + order[i].row * m->embed, rows + i * m->embed, (size_t)m->embed * sizeof *rows);
    if (n_truncated)
        *n_truncated = truncated;
    rc = 0;
out:
    mem_free(order);
    mem_free(ids);
    mem_free(sorted);
    mem_free(rows);
    return rc;
}
