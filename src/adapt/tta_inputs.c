/* adapt/tta_inputs.c: pictures and words changed a little, and encoded again by the set's own model.
 *
 * A picture: a random crop that keeps at least a share of the area (aspect 3/4 to 4/3), mirrored by chance, brought to
 * the model's size and normalised as the model does (RandomResizedCrop in place of its resizing and centre crop, as
 * torchvision's recipe has it). Words: each masked by chance. What passes the model at once is fixed, and every draw
 * has a stream of (seed, pass, row), so that neither threads nor neighbours change a number. */
#include "adapt/tta.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { TEXTS = 64, STREAM = 16 }; /* captions at a time; passes come behind the streams of data/mask.c */

/* ---- where inputs are ---- */

static int column(const struct set *s, int side)
{
    static const char *const names[2][3] = {{"path", "filepath", "file"}, {"caption", "text", "title"}};
    const struct set_side *from = side == SIDE_TEXT ? &s->text : &s->image;
    for (int i = 0; from->has_meta && i < 3; i++) {
        int c = table_col(&from->meta, names[side][i]);
        if (c >= 0)
            return c;
    }
    return -1;
}

bool tta_has_inputs(const struct set *s, int side, const struct predict_opt *o)
{
    if (o->data)
        return true;
    /* of a masked set the files show what was hidden, and of shards there are none */
    if (side == SIDE_IMAGE && (strstr(s->protocol, "masked: ") || str_starts(s->data, "wds:")))
        return false;
    return column(s, side) >= 0;
}

static int read_picture(const struct set *s, const struct predict_opt *o, int64_t row, struct image *im)
{
    const char *name = o->data ? "" : table_cell(&s->image.meta, row, column(s, SIDE_IMAGE));
    const char *bases[3] = {o->path_base, s->path, ""};
    char path[4096];
    if (o->data) {
        TRY(o->data->read_image(o->data, row, im, NULL));
        int rc = image_to_rgb(im, GRAY16_HIGH_BYTE);
        if (rc < 0)
            image_free(im);
        return rc;
    }
    for (int i = 0; i < 3; i++) {
        if (!bases[i])
            continue;
        bool plain = name[0] == '/' || !bases[i][0];
        int n = plain ? snprintf(path, sizeof path, "%s", name) : snprintf(path, sizeof path, "%s/%s", bases[i], name);
        if (*name && n > 0 && (size_t)n < sizeof path && path_exists(path) && !path_is_dir(path))
            return image_read_rgb(im, path);
    }
    FAIL(ERR_DATA, "set \"%s\": picture row %" PRId64 ", \"%.200s\", is not there; --path-base says where names start",
         s->path, row, name);
}

static const char *caption(const struct set *s, const struct predict_opt *o, int64_t row)
{
    return o->data ? o->data->captions[row] : table_cell(&s->text.meta, row, column(s, SIDE_TEXT));
}

/* ---- what the passes say ---- */

void tta_put(const struct adapter *a, const struct set *s, int side, int64_t row, const float *x,
             const struct tta_out *out)
{
    int64_t d = a->d.width, n = out->passes;
    double scale = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale, unit = scale * scale * a->d.unit;
    double total = 0, logs = 0, dot = 0, mm = 0, zz = 0;
    const float *z = (side == SIDE_TEXT ? s->text.x : s->image.x) + row * d;
    const struct predict_more *more = out->more;
    for (int64_t j = 0; j < d; j++) {
        double mean = 0, square = 0;
        for (int64_t p = 0; p < n; p++)
            mean += (double)x[p * d + j] / (double)n;
        for (int64_t p = 0; p < n; p++)
            square += ((double)x[p * d + j] - mean) * ((double)x[p * d + j] - mean) / (double)n;
        total += square * unit / (double)d;
        logs += log(fmax(square * unit, 1e-300)) / (double)d;
        dot += mean * (double)z[j];
        mm += mean * mean;
        zz += (double)z[j] * (double)z[j];
        if (more && more->mean)
            more->mean[row * d + j] = (float)mean;
        if (more && more->scale)
            more->scale[row * d + j] = (float)sqrt(2 * square);
        if (more && more->shape)
            more->shape[row * d + j] = 2;
    }
    out->scalar[row] = total;
    if (more && more->aleatoric)
        more->aleatoric[row] = total;
    if (more && more->epistemic)
        more->epistemic[row] = 0;
    if (more && more->log_variance)
        more->log_variance[row] = logs;
    if (more && more->fidelity)
        more->fidelity[row] = mm > 0 && zz > 0 ? dot / (sqrt(mm) * sqrt(zz)) : 0;
}

/* ---- pictures ---- */

/* View `pass` of a picture as the model's input. */
static int one_view(const struct tta *t, const struct model *m, const struct image *im, uint64_t seed, int64_t pass,
                    int64_t row, float *out)
{
    const struct augment_opt view = {.scale_min = t->crop, .flip = t->flip};
    struct rng r = rng_stream(seed, RNG_AUGMENT, (uint32_t)(STREAM + pass), (uint64_t)row);
    struct preprocess levels = m->preprocess; /* the view has the model's size already */
    struct image square = {0};
    levels.resize_shortest = levels.resize_width = levels.resize_height = 0;
    levels.exif = false;
    TRY(augment_image(im, NULL, &view, (int)m->image_size, &r, &square));
    int rc = preprocess_apply(&levels, &square, out);
    image_free(&square);
    return rc;
}

static int pictures(const struct adapter *a, struct model *m, const struct set *s, const struct predict_opt *o,
                    const struct tta_out *out)
{
    const struct tta *t = a->own;
    int64_t each = 3 * m->image_size * m->image_size;
    float *pixels = mem_calloc((size_t)out->passes, (size_t)each * sizeof *pixels);
    float *x = mem_calloc((size_t)out->passes, (size_t)a->d.width * sizeof *x);
    struct progress *bar = NULL;
    int rc = pixels && x ? progress_open(&bar, "perturbed pictures", s->image.n, "pictures") : ERR_MEMORY;
    for (int64_t row = 0; rc == 0 && row < s->image.n; row++) {
        struct image im = {0};
        rc = signal_check();
        if (rc == 0)
            rc = read_picture(s, o, row, &im);
        for (int64_t p = 0; rc == 0 && p < out->passes; p++)
            rc = one_view(t, m, &im, o->seed, p, row, pixels + p * each);
        image_free(&im);
        if (rc == 0)
            rc = model_embed_pixels(m, pixels, out->passes, false, x);
        if (rc == 0)
            tta_put(a, s, SIDE_IMAGE, row, x, out);
        progress_add(bar, 1);
    }
    progress_close(&bar);
    mem_free(pixels);
    mem_free(x);
    return rc;
}

/* ---- words ---- */

static int texts_of(const struct tta *t, const struct set *s, const struct predict_opt *o, int64_t first, int64_t n,
                    int64_t passes, struct arena *memory, const char **texts)
{
    struct str b = {0};
    int rc = 0;
    arena_reset(memory);
    for (int64_t k = 0; rc == 0 && k < n * passes; k++) {
        struct rng r = rng_stream(o->seed, RNG_MASK, (uint32_t)(STREAM + k % passes), (uint64_t)(first + k / passes));
        str_clear(&b);
        rc = mask_words_by_chance(caption(s, o, first + k / passes), t->words, t->with, &r, &b);
        if (rc == 0 && !(texts[k] = arena_strdup(memory, b.s)))
            rc = ERR_MEMORY;
    }
    str_free(&b);
    return rc;
}

static int words(const struct adapter *a, struct model *m, const struct set *s, const struct predict_opt *o,
                 const struct tta_out *out)
{
    int64_t passes = out->passes, d = a->d.width;
    const char **texts = mem_calloc((size_t)(TEXTS * passes), sizeof *texts);
    float *x = mem_calloc((size_t)(TEXTS * passes), (size_t)d * sizeof *x);
    struct progress *bar = NULL;
    struct arena *memory = NULL;
    int rc = texts && x ? arena_open(&memory, "perturbed texts") : ERR_MEMORY;
    if (rc == 0)
        rc = progress_open(&bar, "perturbed texts", s->text.n, "texts");
    for (int64_t first = 0; rc == 0 && first < s->text.n; first += TEXTS) {
        int64_t n = s->text.n - first < TEXTS ? s->text.n - first : TEXTS;
        rc = texts_of(a->own, s, o, first, n, passes, memory, texts);
        if (rc == 0)
            rc = model_embed_texts(m, texts, n * passes, false, x, NULL);
        for (int64_t i = 0; rc == 0 && i < n; i++)
            tta_put(a, s, SIDE_TEXT, first + i, x + i * passes * d, out);
        progress_add(bar, n);
    }
    progress_close(&bar);
    if (memory)
        arena_close(&memory);
    mem_free((void *)texts);
    mem_free(x);
    return rc;
}

int tta_inputs(const struct adapter *a, struct model *m, const struct set *s, int side, const struct predict_opt *o,
               const struct tta_out *out)
{
    if (side == SIDE_IMAGE && m->preprocess.crop_width != m->preprocess.crop_height)
        FAIL(ERR_UNSUPPORTED, "%s: pictures of %d x %d pixels; views of test-time augmentation are square", m->name,
             m->preprocess.crop_width, m->preprocess.crop_height);
    if (o->data && (o->data->n_images != s->image.n || o->data->n_texts != s->text.n))
        FAIL(ERR_DATA,
             "set \"%s\" has %" PRId64 " pictures and %" PRId64 " texts, the data %" PRId64 " and %" PRId64
             ": rows must be the same",
             s->path, s->image.n, s->text.n, o->data->n_images, o->data->n_texts);
    if (side == SIDE_TEXT && !m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer, so words cannot be encoded again", m->name);
    return side == SIDE_TEXT ? words(a, m, s, o, out) : pictures(a, m, s, o, out);
}
