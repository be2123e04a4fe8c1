/* data/transform.c: from a picture to the floats that an image encoder eats: resize, centre crop, scale, normalise.
 *
 * Two ways are published and differ in many pictures (docs/pixels.md). HuggingFace's processors make RGB first, resize,
 * and crop at floor((n - target) / 2), padding with black a picture that is too small. OpenAI's transform, and
 * open_clip's after it, resize the picture in its own mode and make RGB last, and round the crop's offset half to even.
 * Resizing in its own mode means what Pillow does with each: palettes and single bits by nearest neighbour, colours
 * multiplied by alpha and divided again, CMYK as four inks, gray of 16 bits as integers that are clipped at the end.
 * Channels are resized apart, so gray may stay one channel where RGB comes first.
 *
 * Rows are taken as they are decoded; what is kept has the size of the result. Levels become floats by a table, with
 * the operations of each reference in float32: (v * rescale - mean) / std, and v / 255 on OpenAI's way. Rejected: one
 * way for all ("nearly the same" is 3 % of the pixels of a palette picture). */
#include "data/resize.h"

#include <math.h>
#include <string.h>

/* Where the resized picture and the crop meet: the box of the picture, and where it lies in the output. */
struct layout {
    int width, height;
    int left, top, box_width, box_height;
    int at_x, at_y;
};

struct work {
    const struct preprocess *p;
    const char *name; /* for messages; those of the decoder name the file themselves */
    float *out;
    struct image head;   /* of what is resized: channels, mode */
    struct image source; /* of what comes */
    struct layout at;
    bool premultiply;
    struct resizer *r;
    uint8_t *block; /* [RESIZE_LANES, width, channels] converted rows, where rows are converted */
};

/* ---- sizes ---- */

/* Python's round: half to even. */
static int round_half_even(double x)
{
    return (int)nearbyint(x);
}

static int target_size(const struct preprocess *p, const struct image *in, int *width, int *height)
{
    int64_t w = in->width, h = in->height;
    if (p->resize_width && p->rule != RESIZE_EXACT) {
        double by_h = (double)h / p->resize_height, by_w = (double)w / p->resize_width;
        double ratio = (by_h > by_w) == (p->rule == RESIZE_INSIDE) ? by_h : by_w;
        w = round_half_even((double)w / ratio);
        h = round_half_even((double)h / ratio);
    } else if (p->resize_width) {
        w = p->resize_width;
        h = p->resize_height;
    } else if (p->resize_shortest) {
        int64_t s = p->resize_shortest;
        if (in->width <= in->height) {
            h = s * in->height / in->width;
            w = s;
        } else {
            w = s * in->width / in->height;
            h = s;
        }
    }
    if (p->resize_width) { /* a line becomes no thinner than a pixel; the original stops there */
        w = w < 1 ? 1 : w;
        h = h < 1 ? 1 : h;
    }
    if (w < 1 || h < 1 || w > INT32_MAX / 8 || h > INT32_MAX / 8)
        FAIL(ERR_DATA, "a picture of %d x %d cannot be resized to %lld x %lld", in->width, in->height, (long long)w,
             (long long)h);
    *width = (int)w;
    *height = (int)h;
    return 0;
}

/* Where the crop starts; below zero: so much padding before the picture. */
static int crop_start(enum picture_path path, int have, int want)
{
    int d = have - want;
    if (path == PICTURE_OPENAI) /* floor for padding, half to even for cropping */
        return d < 0 ? -(-d / 2) : round_half_even(d / 2.0);
    return d >= 0 ? d / 2 : -((1 - d) / 2);
}

static int lay_out(struct layout *l, const struct preprocess *p, const struct image *in)
{
    TRY(target_size(p, in, &l->width, &l->height));
    int left = crop_start(p->path, l->width, p->crop_width), top = crop_start(p->path, l->height, p->crop_height);
    int right = left + p->crop_width, bottom = top + p->crop_height;
    l->left = left > 0 ? left : 0;
    l->top = top > 0 ? top : 0;
    l->box_width = (right < l->width ? right : l->width) - l->left;
    l->box_height = (bottom < l->height ? bottom : l->height) - l->top;
    l->at_x = l->left - left;
    l->at_y = l->top - top;
    return 0;
}

/* ---- rows on their way in ---- */

/* a * b / 255, rounded as Pillow's macro does. */
static uint8_t multiply(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

static uint8_t divide(unsigned v, unsigned alpha)
{
    unsigned x = alpha == 0 || alpha == 255 ? v : 255 * v / alpha;
    return (uint8_t)(x > 255 ? 255 : x);
}

/* One row of the file's mode -> one row of what is resized. */
static void convert_row(const struct work *w, uint8_t *o, const uint8_t *row)
{
    const struct image *from = &w->source;
    size_t n = (size_t)from->width, c = (size_t)from->channels;
    if (w->premultiply) {
        for (size_t i = 0; i < n; i++, row += c) {
            for (size_t k = 0; k + 1 < c; k++)
                *o++ = multiply(row[k], row[c - 1]);
            *o++ = row[c - 1];
        }
    } else if (w->head.channels == 1) { /* gray without its alpha, or of 16 bits */
        bool clip = w->p->gray16 == GRAY16_CLIP;
        for (size_t i = 0; i < n; i++, row += c)
            o[i] = from->mode != IMAGE_GRAY16 ? row[0] : !clip ? row[1] : row[1] ? 255 : row[0];
    } else {
        image_row_to_rgb(o, row, from->width, from, w->p->gray16);
    }
}

static int on_rows(void *ctx, const uint8_t *rows, int n)
{
    struct work *w = ctx;
    size_t stride = (size_t)w->source.width * (size_t)w->source.channels;
    size_t into = (size_t)w->source.width * (size_t)w->head.channels;
    if (!w->block) {
        resizer_rows(w->r, rows, n);
        return 0;
    }
    for (int done = 0, k; done < n; done += k) { /* by blocks, for the resizer is fastest on them */
        k = n - done < RESIZE_LANES ? n - done : RESIZE_LANES;
        for (int i = 0; i < k; i++)
            convert_row(w, w->block + into * (size_t)i, rows + stride * (size_t)(done + i));
        resizer_rows(w->r, w->block, k);
    }
    return 0;
}

/* What is resized, by which filter, for a picture whose head is known. */
static int on_begin(void *ctx, const struct image *head)
{
    struct work *w = ctx;
    const struct preprocess *p = w->p;
    TRY_IN(lay_out(&w->at, p, head), "preparing %s", w->name);
    bool resized = w->at.width != head->width || w->at.height != head->height;
    bool own_mode = p->path == PICTURE_OPENAI, alpha = head->mode == IMAGE_PLAIN && head->channels % 2 == 0;
    struct resize_plan plan = {.in_width = head->width,
                               .in_height = head->height,
                               .channels = head->channels,
                               .width = w->at.width,
                               .height = w->at.height,
                               .left = w->at.left,
                               .top = w->at.top,
                               .box_width = w->at.box_width,
                               .box_height = w->at.box_height,
                               .filter = p->filter};
    w->source = w->head = *head;
    bool convert = false;
    if (head->mode == IMAGE_GRAY16) {
        plan.wide = own_mode && p->gray16 == GRAY16_CLIP && p->filter != RESAMPLE_NEAREST;
        convert = !plan.wide;
        w->head.mode = IMAGE_PLAIN;
        w->head.channels = 1;
        plan.channels = plan.wide ? 2 : 1;
    } else if (own_mode) {
        w->premultiply = convert = alpha && resized && p->filter != RESAMPLE_NEAREST;
        if (head->mode == IMAGE_INDEXED)
            plan.filter = RESAMPLE_NEAREST;
    } else if (alpha || head->mode == IMAGE_CMYK) {
        convert = true;
        w->head.mode = IMAGE_PLAIN;
        w->head.channels = plan.channels = head->channels == 2 ? 1 : 3;
    }
    if (convert) {
        w->block = mem_calloc((size_t)head->width, (size_t)w->head.channels * RESIZE_LANES);
        if (!w->block)
            return ERR_MEMORY;
    }
    return resizer_open(&w->r, &plan);
}

/* ---- the end ---- */

static void make_table(const struct preprocess *p, float table[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float x = (float)(v * p->rescale);
            if (p->path == PICTURE_OPENAI && p->rescale == 1.0 / 255.0)
                x = (float)v / 255.0f;
            table[c][v] = p->normalize ? (x - p->mean[c]) / p->std[c] : x;
        }
}

/* The level of padding, as the path would make RGB of it. */
static void fill_color(const struct work *w, uint8_t rgb[3])
{
    uint8_t v[4] = {0};
    memset(v, w->p->fill, sizeof v);
    memcpy(rgb, v, 3);
    if (w->p->path == PICTURE_OPENAI && w->source.mode == IMAGE_CMYK)
        image_row_to_rgb(rgb, v, 1, &w->source, w->p->gray16);
    if (w->p->path == PICTURE_OPENAI && w->source.mode == IMAGE_INDEXED && w->source.channels == 1)
        memset(rgb, w->p->fill ? 255 : 0, 3);
}

static void put_row(const struct work *w, float *const plane[3], size_t at, const uint8_t *rgb, int n, int c,
                    float table[3][256])
{
    for (int k = 0; k < 3; k++) {
        const uint8_t *in = rgb + (c == 3 ? k : 0);
        float *o = plane[k] + at;
        for (int x = 0; x < n; x++)
            o[x] = table[k][in[x * c]];
    }
}

static void put(const struct work *w, uint8_t *box, uint8_t *rgb)
{
    const struct preprocess *p = w->p;
    const struct layout *l = &w->at;
    int c = w->head.channels;
    float table[3][256];
    uint8_t fill[3];
    size_t wide = (size_t)p->crop_width, n = wide * (size_t)p->crop_height;
    float *plane[3] = {w->out, w->out + n, w->out + 2 * n};
    make_table(p, table);
    if (l->box_width < p->crop_width || l->box_height < p->crop_height) {
        fill_color(w, fill);
        for (int k = 0; k < 3; k++)
            for (size_t i = 0; i < n; i++)
                plane[k][i] = table[k][fill[k]];
    }
    for (int y = 0; y < l->box_height; y++) {
        uint8_t *row = box + (size_t)y * (size_t)l->box_width * (size_t)c;
        size_t at = (size_t)(y + l->at_y) * wide + (size_t)l->at_x;
        for (size_t i = 0; w->premultiply && i < (size_t)l->box_width; i++)
            for (size_t k = 0; k + 1 < (size_t)c; k++)
                row[i * (size_t)c + k] = divide(row[i * (size_t)c + k], row[i * (size_t)c + (size_t)c - 1]);
        if (c == 1 || c == 3) {
            put_row(w, plane, at, row, l->box_width, c, table);
        } else {
            image_row_to_rgb(rgb, row, l->box_width, &w->head, p->gray16);
            put_row(w, plane, at, rgb, l->box_width, 3, table);
        }
    }
}

static int finish(struct work *w, int rc)
{
    size_t n = (size_t)w->at.box_width * (size_t)w->at.box_height * (size_t)w->head.channels;
    uint8_t *box = NULL, *rgb = NULL;
    if (rc == 0) {
        box = mem_alloc(n);
        rgb = mem_alloc((size_t)w->at.box_width * 3);
        rc = box && rgb ? 0 : ERR_MEMORY;
    }
    if (rc == 0) {
        resizer_finish(w->r, box);
        put(w, box, rgb);
    }
    mem_free(box);
    mem_free(rgb);
    mem_free(w->block);
    resizer_close(&w->r);
    return rc;
}

static int apply_turned(const struct preprocess *p, const struct image *im, float *out)
{
    struct work w = {.p = p, .name = "a picture", .out = out};
    BUG_ON(p->crop_width < 1 || p->crop_height < 1);
    int rc = on_begin(&w, im);
    if (rc == 0)
        rc = on_rows(&w, im->pixels, im->height);
    return finish(&w, rc);
}

int preprocess_apply(const struct preprocess *p, const struct image *im, float *out)
{
    if (!p->exif || im->orientation < 2)
        return apply_turned(p, im, out);
    struct image copy = *im;
    size_t n = (size_t)im->width * (size_t)im->height * (size_t)im->channels;
    copy.pixels = mem_alloc(n);
    if (!copy.pixels)
        return ERR_MEMORY;
    memcpy(copy.pixels, im->pixels, n);
    int rc = image_turn(&copy);
    if (rc == 0)
        rc = apply_turned(p, &copy, out);
    image_free(&copy);
    return rc;
}

/* A picture that may have to be turned is needed whole. */
static int apply_read(const struct preprocess *p, struct image *im, float *out)
{
    int rc = image_turn(im);
    if (rc == 0)
        rc = apply_turned(p, im, out);
    image_free(im);
    return rc;
}

int preprocess_file(const struct preprocess *p, const char *path, float *out)
{
    struct work w = {.p = p, .name = path, .out = out};
    struct image im = {0};
    BUG_ON(p->crop_width < 1 || p->crop_height < 1);
    if (p->exif) {
        TRY(image_read(&im, path));
        return apply_read(p, &im, out);
    }
    int rc = image_decode(&(struct image_sink){on_begin, on_rows, &w}, path);
    return finish(&w, rc);
}

int preprocess_memory(const struct preprocess *p, const void *bytes, size_t n, const char *name, float *out)
{
    struct work w = {.p = p, .name = name, .out = out};
    struct image im = {0};
    BUG_ON(p->crop_width < 1 || p->crop_height < 1);
    if (p->exif) {
        TRY(image_read_memory(&im, bytes, n, name));
        return apply_read(p, &im, out);
    }
    int rc = image_decode_memory(&(struct image_sink){on_begin, on_rows, &w}, bytes, n, name);
    return finish(&w, rc);
}
