/* data/preprocess_file.c: how pictures are prepared, as the model's own files say it, and back.
 *
 * HuggingFace's preprocessor_config.json has been written by several classes whose fields look alike and whose defaults
 * differ: "size": 224 is the shorter side for CLIP and a square for ViT, BLIP and SigLIP; a missing mean is OpenAI's or
 * one half. So the class named in the file chooses a row of defaults, and a class that is not in the table is refused
 * with the names of those that are. open_clip's preprocess_cfg means its own transform, the OPENAI path.
 * What neither format can say (the path, gray of 16 bits, EXIF, padding) is written under the key "meridian", which
 * HuggingFace's classes carry along unread; fields that we do not know are kept and written back.
 * Rejected: telling the path from the values (many folders of both kinds hold the same numbers). */
#include "data/data.h"

#include <string.h>

#define FILE_NAME "preprocessor_config.json"
#define OURS "meridian"

static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
static const char *const filters[] = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};
static const char *const paths[] = {"hf", "openai"};
static const char *const gray16s[] = {"pillow", "high_byte"};
static const char *const rules[] = {"exact", "inside", "around"};

struct processor {
    const char *name; /* without "ImageProcessor", "ImageProcessorFast" or "FeatureExtractor" */
    bool shortest;    /* a bare number in "size" is the shorter side, and a crop follows */
    int size;
    enum resample filter;
    bool half; /* mean and std of 0.5 */
};
static const struct processor processors[] = {{"CLIP", true, 224, RESAMPLE_BICUBIC, false},
                                              {"Blip", false, 384, RESAMPLE_BICUBIC, false},
                                              {"Siglip", false, 224, RESAMPLE_BICUBIC, true},
                                              {"ViT", false, 224, RESAMPLE_BILINEAR, true}};

/* The fields that are read; "feature_extractor_type" is the older name of the type. */
static const char *const known[] = {"do_resize", "do_center_crop", "do_rescale",           "do_normalize",
                                    "resample",  "rescale_factor", "image_mean",           "image_std",
                                    "size",      "crop_size",      "image_processor_type", OURS};

static void set_levels(struct preprocess *p, bool half)
{
    for (int c = 0; c < 3; c++) {
        p->mean[c] = half ? 0.5f : clip_mean[c];
        p->std[c] = half ? 0.5f : clip_std[c];
    }
}

void preprocess_clip(struct preprocess *p, int size)
{
    *p = (struct preprocess){.resize_shortest = size,
                             .crop_width = size,
                             .crop_height = size,
                             .filter = RESAMPLE_BICUBIC,
                             .rescale = 1.0 / 255.0,
                             .normalize = true};
    set_levels(p, false);
}

/* ---- reading ---- */

static const struct processor *find_processor(const char *type)
{
    static const char *const endings[] = {"ImageProcessor", "ImageProcessorFast", "FeatureExtractor"};
    for (size_t i = 0; i < ARRAY_LEN(processors); i++)
        for (size_t k = 0; k < ARRAY_LEN(endings); k++) {
            size_t n = strlen(processors[i].name);
            if (!strncmp(type, processors[i].name, n) && !strcmp(type + n, endings[k]))
                return &processors[i];
        }
    return NULL;
}

/* A word of a list; *out keeps its value when the field is not there. */
static int read_choice(const json_t *o, const char *key, const char *const *words, int n, int *out, const char *where)
{
    const char *s = NULL;
    struct str list = {0};
    TRY(json_field_str(o, key, false, &s, where));
    for (int i = 0; s && i < n; i++)
        if (!strcmp(s, words[i])) {
            *out = i;
            return 0;
        }
    if (!s)
        return 0;
    for (int i = 0; i < n; i++)
        str_add(&list, "%s\"%s\"", i ? ", " : "", words[i]);
    int rc = err_set(ERR_UNSUPPORTED, "%s: %s is \"%.40s\", expected one of %s", where, key, s,
                     list.s && !list.failed ? list.s : "the known ones");
    str_free(&list);
    return rc;
}

/* "size": 224, {"shortest_edge": 224} or {"height": 224, "width": 224}. Fields not given stay 0. */
static int read_size(const json_t *o, const char *key, const char *where, int *shortest, int *width, int *height)
{
    const json_t *v = json_object_get(o, key);
    int64_t side = 0, w = 0, h = 0, max = limit_get(LIMIT_SIDE);
    char at[1200];
    if (json_is_number(v)) {
        TRY(json_field_int(o, key, true, 1, max, &side, where));
        *shortest = (int)side;
        return 0;
    }
    snprintf(at, sizeof at, "%s: %s", where, key);
    if (!json_is_object(v))
        FAIL(ERR_DATA, "%s: expected a number, {\"shortest_edge\"} or {\"height\", \"width\"}", at);
    if (json_object_get(v, "shortest_edge")) {
        if (json_object_get(v, "longest_edge"))
            FAIL(ERR_UNSUPPORTED, "%s: both shortest_edge and longest_edge, expected one side or height and width", at);
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
    if (!v || json_is_null(v))
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

static int read_sizes(struct preprocess *q, const json_t *o, const struct processor *kind, bool resize, bool crop,
                      const char *where)
{
    int bare = 0;
    if (resize && json_object_get(o, "size"))
        TRY(read_size(o, "size", where, &bare, &q->resize_width, &q->resize_height));
    else if (resize)
        bare = kind->size;
    if (bare && (kind->shortest || json_is_object(json_object_get(o, "size"))))
        q->resize_shortest = bare;
    else if (bare)
        q->resize_width = q->resize_height = bare;
    if (crop && json_object_get(o, "crop_size")) {
        int square = 0;
        TRY(read_size(o, "crop_size", where, &square, &q->crop_width, &q->crop_height));
        if (square)
            q->crop_width = q->crop_height = square;
    } else if (crop)
        q->crop_width = q->crop_height = kind->size;
    if (q->crop_width)
        return 0;
    /* Without a crop only the form with both sides has one size for all pictures. */
    if (!q->resize_width)
        FAIL(ERR_DATA, "%s: neither crop_size nor size with height and width: pictures would differ in size", where);
    q->crop_width = q->resize_width;
    q->crop_height = q->resize_height;
    return 0;
}

static int check_path(const struct preprocess *p, const char *where)
{
    bool small = p->resize_shortest ? p->crop_width > p->resize_shortest || p->crop_height > p->resize_shortest
                                    : p->resize_width && p->rule == RESIZE_EXACT &&
                                          (p->crop_width > p->resize_width || p->crop_height > p->resize_height);
    if (p->path == PICTURE_OPENAI && small)
        FAIL(ERR_UNSUPPORTED, "%s: a crop larger than the resized picture, on the path \"openai\"", where);
    return 0;
}

static int read_ours(struct preprocess *q, const json_t *o, const char *where)
{
    const json_t *ours = json_object_get(o, OURS);
    int path = (int)q->path, gray = (int)q->gray16, rule = (int)q->rule;
    int64_t fill = 0;
    if (!ours)
        return 0;
    if (!json_is_object(ours))
        FAIL(ERR_DATA, "%s: " OURS ": expected an object", where);
    TRY(read_choice(ours, "variant", paths, ARRAY_LEN(paths), &path, where));
    TRY(read_choice(ours, "sixteen_bit", gray16s, ARRAY_LEN(gray16s), &gray, where));
    TRY(read_choice(ours, "resize", rules, ARRAY_LEN(rules), &rule, where));
    TRY(json_field_bool(ours, "exif", false, &q->exif, where));
    TRY(json_field_int(ours, "fill", false, 0, 255, &fill, where));
    q->path = (enum picture_path)path;
    q->gray16 = (enum image_gray16)gray;
    q->rule = (enum resize_rule)rule;
    q->fill = (int)fill;
    return check_path(q, where);
}

/* Keeps what is not read, so that it can be written back. */
static int keep_others(struct preprocess *q, const json_t *o, const char *where)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)o);
    struct str text = {0};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        json_object_del(copy, known[i]);
    int rc = copy ? str_add_json(&text, copy, JSON_COMPACT) : ERR_MEMORY;
    if (rc == 0 && json_object_size(copy) && text.n < sizeof q->other)
        strcpy(q->other, text.s);
    else if (rc == 0 && json_object_size(copy))
        log_warn("%s: its %zu other fields are too long to be kept when the model is saved", where,
                 json_object_size(copy));
    str_free(&text);
    json_decref(copy);
    return rc;
}

static int read_object(struct preprocess *p, const json_t *o, const char *where)
{
    bool resize = true, rescale = true;
    const char *type = NULL;
    struct preprocess q;
    TRY(json_field_str(o, "image_processor_type", false, &type, where));
    if (!type)
        TRY(json_field_str(o, "feature_extractor_type", false, &type, where));
    const struct processor *kind = type ? find_processor(type) : &processors[0];
    if (!kind)
        FAIL(ERR_UNSUPPORTED,
             "%s: image_processor_type is \"%.60s\"; the known ones are CLIPImageProcessor, BlipImageProcessor, "
             "SiglipImageProcessor, ViTImageProcessor, each also as ...Fast and as ...FeatureExtractor",
             where, type);
    preprocess_clip(&q, 1);
    q.resize_shortest = q.crop_width = q.crop_height = 0;
    set_levels(&q, kind->half);
    bool crop = kind->shortest;
    int64_t filter = kind->filter;
    snprintf(q.type, sizeof q.type, "%s", type ? type : "");
    TRY(json_field_bool(o, "do_resize", false, &resize, where));
    TRY(json_field_bool(o, "do_center_crop", false, &crop, where));
    TRY(json_field_bool(o, "do_rescale", false, &rescale, where));
    TRY(json_field_bool(o, "do_normalize", false, &q.normalize, where));
    TRY(json_field_int(o, "resample", false, 0, INT32_MAX, &filter, where));
    if (filter >= (int64_t)ARRAY_LEN(filters))
        FAIL(ERR_UNSUPPORTED,
             "%s: resample is %lld, expected 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box or 5 hamming", where,
             (long long)filter);
    q.filter = (enum resample)filter;
    TRY(json_field_real(o, "rescale_factor", false, 1e-9, 1e9, &q.rescale, where));
    if (!rescale)
        q.rescale = 1.0;
    TRY(read_three(o, "image_mean", where, false, q.mean));
    TRY(read_three(o, "image_std", where, true, q.std));
    TRY(read_sizes(&q, o, kind, resize, crop, where));
    TRY(read_ours(&q, o, where));
    TRY(keep_others(&q, o, where));
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

/* ---- open_clip ---- */

static int read_open_clip_size(const json_t *cfg, int image_size, const char *where, int *width, int *height)
{
    const json_t *v = json_object_get(cfg, "size");
    int64_t h = image_size, w = image_size, max = limit_get(LIMIT_SIDE);
    if (json_is_array(v) && json_array_size(v) == 2) {
        const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
        h = json_is_integer(a) ? json_integer_value(a) : 0;
        w = json_is_integer(b) ? json_integer_value(b) : 0;
        if (h < 1 || w < 1 || h > max || w > max)
            FAIL(ERR_DATA, "%s: size: expected [height, width] of 1 to %lld", where, (long long)max);
    } else if (v && !json_is_null(v)) {
        TRY(json_field_int(cfg, "size", true, 1, max, &h, where));
        w = h;
    }
    if (h < 1)
        FAIL(ERR_DATA, "%s: size: not there, and the model names no image_size", where);
    *width = (int)w;
    *height = (int)h;
    return 0;
}

static int read_open_clip(struct preprocess *p, const json_t *cfg, int image_size, const char *where)
{
    static const char *const modes[] = {"shortest", "longest", "squash"};
    static const char *const interpolations[] = {"bicubic", "bilinear", "random"};
    static const char *const colors[] = {"RGB"};
    struct preprocess q;
    int width = 0, height = 0, mode = 0, interpolation = 0, color = 0;
    int64_t fill = 0;
    TRY(read_open_clip_size(cfg, image_size, where, &width, &height));
    TRY(read_choice(cfg, "mode", colors, 1, &color, where));
    TRY(read_choice(cfg, "interpolation", interpolations, ARRAY_LEN(interpolations), &interpolation, where));
    TRY(read_choice(cfg, "resize_mode", modes, ARRAY_LEN(modes), &mode, where));
    TRY(json_field_int(cfg, "fill_color", false, 0, 255, &fill, where));
    preprocess_clip(&q, width);
    q.path = PICTURE_OPENAI;
    q.crop_height = height;
    q.filter = interpolation == 1 ? RESAMPLE_BILINEAR : RESAMPLE_BICUBIC; /* "random" is for training */
    TRY(read_three(cfg, "mean", where, false, q.mean));
    TRY(read_three(cfg, "std", where, true, q.std));
    if (mode != 0 || width != height) {
        q.resize_shortest = 0;
        q.resize_width = width;
        q.resize_height = height;
        q.rule = mode == 0 ? RESIZE_AROUND : mode == 1 ? RESIZE_INSIDE : RESIZE_EXACT;
        q.fill = mode == 1 ? (int)fill : 0;
    }
    *p = q;
    return 0;
}

int preprocess_read_open_clip(struct preprocess *p, const json_t *cfg, int image_size, const char *where)
{
    if (json_is_object(cfg))
        return read_open_clip(p, cfg, image_size, where);
    if (cfg && !json_is_null(cfg))
        FAIL(ERR_DATA, "%s: preprocess_cfg: expected an object", where);
    json_t *none = json_object();
    int rc = none ? read_open_clip(p, none, image_size, where) : err_set(ERR_MEMORY, "%s: no memory", where);
    json_decref(none);
    return rc;
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

json_t *preprocess_to_open_clip(const struct preprocess *p)
{
    bool square = p->crop_width == p->crop_height;
    const char *mode = p->resize_shortest         ? "shortest"
                       : p->rule == RESIZE_INSIDE ? "longest"
                       : p->rule == RESIZE_AROUND ? "shortest"
                                                  : "squash";
    bool fits = p->resize_shortest ? square && p->resize_shortest == p->crop_width
                                   : p->resize_width == p->crop_width && p->resize_height == p->crop_height;
    const char *what =
        !fits ? "a crop of another size than the resized picture"
        : p->filter != RESAMPLE_BICUBIC && p->filter != RESAMPLE_BILINEAR ? "a filter other than bicubic and bilinear"
        : !p->normalize || p->rescale != 1.0 / 255.0 ? "levels that are not divided by 255 and normalised"
        : p->exif                                    ? "EXIF orientation"
        : p->gray16 != GRAY16_CLIP                   ? "gray of 16 bits by its high byte"
                                                     : NULL;
    if (what) {
        err_set(ERR_UNSUPPORTED, "open_clip's preprocess_cfg cannot say: %s", what);
        return NULL;
    }
    if (p->path != PICTURE_OPENAI)
        log_warn(
            "pictures: open_clip's layout cannot say variant \"hf\": crops may lie one pixel off, and pictures with a "
            "palette, alpha or CMYK come out otherwise (docs/pixels.md)");
    json_t *size = square ? json_integer(p->crop_width) : json_pack("[i,i]", p->crop_height, p->crop_width);
    json_t *o =
        json_pack("{s:o,s:s,s:o,s:o,s:s,s:s,s:i}", "size", size, "mode", "RGB", "mean", three(p->mean), "std",
                  three(p->std), "interpolation", filters[p->filter], "resize_mode", mode, "fill_color", p->fill);
    if (!o)
        err_set(ERR_MEMORY, "no memory for preprocess_cfg");
    return o;
}

/* ---- writing ---- */

static json_t *size_object(int shortest, int width, int height)
{
    return shortest ? json_pack("{s:i}", "shortest_edge", shortest)
                    : json_pack("{s:i,s:i}", "height", height, "width", width);
}

/* A class that does with these fields what we do. */
static const char *type_for(const struct preprocess *p)
{
    bool crop = p->resize_shortest || p->crop_width != p->resize_width || p->crop_height != p->resize_height;
    return p->type[0]           ? p->type
           : crop               ? "CLIPImageProcessor"
           : p->mean[0] == 0.5f ? "SiglipImageProcessor"
                                : "BlipImageProcessor";
}

int preprocess_write(const struct preprocess *p, const char *dir)
{
    bool resize = p->resize_shortest || p->resize_width;
    json_t *other = NULL, *o = NULL;
    if (p->other[0])
        TRY(json_read_text(&other, p->other, strlen(p->other), FILE_NAME));
    o = json_pack("{s:s,s:b,s:b,s:o,s:b,s:b,s:b,s:o,s:o,s:i,s:f}", "image_processor_type", type_for(p), "do_resize",
                  resize, "do_center_crop", 1, "crop_size", size_object(0, p->crop_width, p->crop_height),
                  "do_convert_rgb", 1, "do_rescale", p->rescale != 1.0, "do_normalize", p->normalize, "image_mean",
                  three(p->mean), "image_std", three(p->std), "resample", (int)p->filter, "rescale_factor", p->rescale);
    if (o && resize)
        json_object_set_new(o, "size", size_object(p->resize_shortest, p->resize_width, p->resize_height));
    if (o)
        json_object_set_new(o, OURS,
                            json_pack("{s:s,s:s,s:s,s:b,s:i}", "variant", paths[p->path], "sixteen_bit",
                                      gray16s[p->gray16], "resize", rules[p->rule], "exif", p->exif, "fill", p->fill));
    if (o && other && json_object_update_missing(o, other) < 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(other);
    return atomic_put_json(dir, FILE_NAME, o, JSON_INDENT(2) | JSON_REAL_PRECISION(16));
}

/* The values and the version of this code's rules; not the spelling of the file. */
void preprocess_fingerprint(const struct preprocess *p, char out[65])
{
    char s[400];
    struct sha256 h;
    int n = snprintf(s, sizeof s, "image-2 %s %s %s %d %d %d %d %d %d %d %d %.9g %d %.9g %.9g %.9g %.9g %.9g %.9g",
                     paths[p->path], gray16s[p->gray16], rules[p->rule], p->exif, p->fill, p->resize_shortest,
                     p->resize_width, p->resize_height, p->crop_width, p->crop_height, (int)p->filter, p->rescale,
                     p->normalize, (double)p->mean[0], (double)p->mean[1], (double)p->mean[2], (double)p->std[0],
                     (double)p->std[1], (double)p->std[2]);
    sha256_start(&h);
    sha256_add(&h, s, (size_t)n);
    sha256_hex(&h, out);
}
