/* data/transform.c: from a decoded picture to the floats that an image encoder eats, as HuggingFace's
 * CLIPImageProcessor does: resize, centre crop, scale, normalise, with its preprocessor_config.json in both spellings
 * (size 224, or an object).
 *
 * The crop starts at floor((n - target) / 2), HuggingFace's rule; OpenAI's first code rounded half to even, which
 * differs by a pixel for some odd sizes (golden: `rgb_first_floor_crop`). A picture smaller than the crop is padded
 * with black, as theirs. */
#include "data/data.h"
#include "data/save_json.h"

#include <string.h>

#define FILE_NAME "preprocessor_config.json"

static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_std[3] = {0.26862954f, 0.26130258f, 0.27577711f};

void preprocess_clip(struct preprocess *p, int size)
{
    *p = (struct preprocess){.resize_shortest = size,
                             .crop_width = size,
                             .crop_height = size,
                             .filter = RESAMPLE_BICUBIC,
                             .rescale = 1.0 / 255.0,
                             .normalize = true};
    memcpy(p->mean, clip_mean, sizeof clip_mean);
    memcpy(p->std, clip_std, sizeof clip_std);
}

/* ---- the file
 * -------------------------------------------------------------------------------------------------------- */

/* "size": 224, {"shortest_edge": 224} or {"height": 224, "width": 224}. Fields not given stay 0. */
static int read_size(const json_t *o, const char *key, const char *where, int *shortest, int *width, int *height)
{
    const json_t *v = json_object_get(o, key);
    int64_t side = 0, w = 0, h = 0, max = limit_get(LIMIT_SIDE);
    char at[1200];
    if (json_is_integer(v)) {
        TRY(json_field_int(o, key, true, 1, max, &side, where));
        *shortest = (int)side;
        return 0;
    }
    snprintf(at, sizeof at, "%s: %s", where, key);
    if (!json_is_object(v))
        FAIL(ERR_DATA, "%s: expected a number, {\"shortest_edge\"} or {\"height\", \"width\"}", at);
    if (json_object_get(v, "shortest_edge")) {
        TRY(json_field_int(v, "shortest_edge", true, 1, max, &side, at));
        *shortest = (int)side;
        return 0;
    }
    TRY(json_field_int(v, "height", true, 1, max, &h, at));
    TRY(json_field_int(v, "width", true, 1, max, &w, at));
    *width = (int)w;
    *height = (int)h;
    return 0;
}

static int read_three(const json_t *o, const char *key, const char *where, bool positive, float out[3])
{
    const json_t *v = json_object_get(o, key);
    if (!v)
        return 0;
    if (json_array_size(v) != 3)
        FAIL(ERR_DATA, "%s: %s: expected a list of 3 numbers", where, key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *x = json_array_get(v, i);
        double value = json_number_value(x);
        if (!json_is_number(x) || value < -1e6 || value > 1e6 || (positive && value < 1e-6))
            FAIL(ERR_DATA, "%s: %s[%zu]: expected a %snumber up to 1e6", where, key, i, positive ? "positive " : "");
        out[i] = (float)value;
    }
    return 0;
}

static int read_object(struct preprocess *p, const json_t *o, const char *where)
{
    bool resize = true, crop = true, rescale = true;
    int64_t filter = RESAMPLE_BICUBIC;
    struct preprocess q;
    preprocess_clip(&q, 224);
    q.resize_shortest = q.crop_width = q.crop_height = 0;
    TRY(json_field_bool(o, "do_resize", false, &resize, where));
    TRY(json_field_bool(o, "do_center_crop", false, &crop, where));
    TRY(json_field_bool(o, "do_rescale", false, &rescale, where));
    TRY(json_field_bool(o, "do_normalize", false, &q.normalize, where));
    TRY(json_field_int(o, "resample", false, 0, 5, &filter, where));
    if (filter > RESAMPLE_BICUBIC)
        FAIL(ERR_UNSUPPORTED, "%s: resample is %lld, expected 0 nearest, 1 lanczos, 2 bilinear or 3 bicubic", where,
             (long long)filter);
    q.filter = (enum resample)filter;
    TRY(json_field_real(o, "rescale_factor", false, 1e-9, 1e9, &q.rescale, where));
    if (!rescale)
        q.rescale = 1.0;
    TRY(read_three(o, "image_mean", where, false, q.mean));
    TRY(read_three(o, "image_std", where, true, q.std));
    if (resize && json_object_get(o, "size"))
        TRY(read_size(o, "size", where, &q.resize_shortest, &q.resize_width, &q.resize_height));
    else if (resize)
        q.resize_shortest = 224;
    if (crop && json_object_get(o, "crop_size")) {
        int square = 0;
        TRY(read_size(o, "crop_size", where, &square, &q.crop_width, &q.crop_height));
        if (square)
            q.crop_width = q.crop_height = square;
    } else if (crop && json_object_get(o, "do_center_crop"))
        q.crop_width = q.crop_height = 224;
    if (!q.crop_width) {
        /* Without a crop only the form with both sides has one size for all pictures. */
        if (!q.resize_width)
            FAIL(ERR_DATA, "%s: neither crop_size nor size with height and width: pictures would differ in size",
                 where);
        q.crop_width = q.resize_width;
        q.crop_height = q.resize_height;
    }
    *p = q;
    return 0;
}

int preprocess_read(struct preprocess *p, const char *dir)
{
    char path[4096];
    json_t *o = NULL;
    TRY(path_join(path, sizeof path, dir, FILE_NAME));
    TRY(json_read_file(&o, path));
    int rc = json_is_object(o) ? read_object(p, o, path) : err_set(ERR_DATA, "%s: expected a JSON object", path);
    json_decref(o);
    return rc;
}

static json_t *size_object(int shortest, int width, int height)
{
    return shortest ? json_pack("{s:i}", "shortest_edge", shortest)
                    : json_pack("{s:i,s:i}", "height", height, "width", width);
}

/* As many digits as a float holds, so that 0.48145466 stays that. */
static json_t *three(const float v[3])
{
    json_t *a = json_array();
    for (int i = 0; i < 3; i++) {
        char s[32];
        double d = 0;
        snprintf(s, sizeof s, "%.9g", (double)v[i]);
        sscanf(s, "%lf", &d);
        json_array_append_new(a, json_real(d));
    }
    return a;
}

int preprocess_write(const struct preprocess *p, const char *dir)
{
    bool resize = p->resize_shortest || p->resize_width;
    json_t *o = json_pack("{s:o,s:b,s:b,s:b,s:b,s:b,s:o,s:o,s:s,s:i,s:f}", "crop_size",
                          size_object(0, p->crop_width, p->crop_height), "do_center_crop", 1, "do_convert_rgb", 1,
                          "do_normalize", p->normalize, "do_rescale", p->rescale != 1.0, "do_resize", resize,
                          "image_mean", three(p->mean), "image_std", three(p->std), "image_processor_type",
                          "CLIPImageProcessor", "resample", (int)p->filter, "rescale_factor", p->rescale);
    if (o && resize)
        json_object_set_new(o, "size", size_object(p->resize_shortest, p->resize_width, p->resize_height));
    return save_json(dir, FILE_NAME, o, JSON_INDENT(2) | JSON_REAL_PRECISION(16));
}

/* The file's values and the version of this code's rules; not the spelling of the file. */
void preprocess_fingerprint(const struct preprocess *p, char out[65])
{
    char s[400];
    struct sha256 h;
    int n = snprintf(s, sizeof s, "clip-image-1 %d %d %d %d %d %d %.9g %d %.9g %.9g %.9g %.9g %.9g %.9g",
                     p->resize_shortest, p->resize_width, p->resize_height, p->crop_width, p->crop_height,
                     (int)p->filter, p->rescale, p->normalize, (double)p->mean[0], (double)p->mean[1],
                     (double)p->mean[2], (double)p->std[0], (double)p->std[1], (double)p->std[2]);
    sha256_start(&h);
    sha256_add(&h, s, (size_t)n);
    sha256_hex(&h, out);
}

/* ---- the work
 * ------------------------------------------------------------------------------------------------------------ */

static void target_size(const struct preprocess *p, const struct image *in, int *width, int *height)
{
    *width = in->width;
    *height = in->height;
    if (p->resize_width) {
        *width = p->resize_width;
        *height = p->resize_height;
    } else if (p->resize_shortest) {
        int64_t s = p->resize_shortest;
        if (in->width <= in->height) {
            *height = (int)(s * in->height / in->width);
            *width = (int)s;
        } else {
            *width = (int)(s * in->width / in->height);
            *height = (int)s;
        }
    }
}

/* floor((have - want) / 2), also below zero: the padding's side. */
static int crop_start(int have, int want)
{
    int d = have - want;
    return d >= 0 ? d / 2 : -((1 - d) / 2);
}

static void crop_normalize(const struct preprocess *p, const struct image *im, float *out)
{
    int top = crop_start(im->height, p->crop_height), left = crop_start(im->width, p->crop_width);
    float table[3][256];
    size_t plane = (size_t)p->crop_width * (size_t)p->crop_height;
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float x = (float)(v * p->rescale);
            table[c][v] = p->normalize ? (x - p->mean[c]) / p->std[c] : x;
        }
    for (int y = 0; y < p->crop_height; y++)
        for (int x = 0; x < p->crop_width; x++) {
            int sy = y + top, sx = x + left;
            bool inside = sy >= 0 && sy < im->height && sx >= 0 && sx < im->width;
            size_t from = inside ? ((size_t)sy * (size_t)im->width + (size_t)sx) * 3 : 0;
            size_t at = (size_t)y * (size_t)p->crop_width + (size_t)x;
            for (size_t c = 0; c < 3; c++)
                out[c * plane + at] = table[c][inside ? im->pixels[from + c] : 0];
        }
}

int preprocess_apply(const struct preprocess *p, const struct image *rgb, float *out)
{
    BUG_ON(rgb->channels != 3);
    int width, height;
    target_size(p, rgb, &width, &height);
    if (width == rgb->width && height == rgb->height) {
        crop_normalize(p, rgb, out);
        return 0;
    }
    struct image small = {0};
    TRY(resize_u8(&small, rgb, width, height, p->filter));
    crop_normalize(p, &small, out);
    image_free(&small);
    return 0;
}

int preprocess_file(const struct preprocess *p, const char *path, float *out)
{
    struct image rgb = {0};
    TRY(image_read_rgb(&rgb, path));
    int rc = preprocess_apply(p, &rgb, out);
    image_free(&rgb);
    TRY_IN(rc, "preparing %s", path);
    return 0;
}
