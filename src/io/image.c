/* io/image.c: pictures in and out, through libvips. Part of meridian_pictures.so (picture_module.h), not of the
 * library, and of the confined decoder (picture_worker.c).
 *
 * PNG, WebP and GIF are decoded here, TIFF and PPM too, but only inside the confined process; JPEG in image_jpeg.c. The
 * file's own first bytes choose the loader and no other is tried. Width, height, pixels and pixels per byte are checked
 * on the header before a pixel is decoded; a truncated file is an error; EXIF orientation is told, not applied. libvips
 * gives palettes and single bits already widened: what Pillow would call the picture's mode is read from the header
 * (picture_kind.c), and each strip of rows is brought into that form and handed on, so that no picture need exist
 * whole. GIF: libvips blackens see-through pixels, Pillow keeps their colour; so the flag that makes a colour
 * see-through is cleared in a copy of the file; what the first frame leaves free is filled here. Rejected:
 * vips_colourspace() (colour-managed, differs from Pillow) and vips_image_write_to_memory (glib's allocator ends the
 * program when memory is out). */
#include "io/image_vips.h"
#include "io/picture_kind.h"
#include "io/picture_mode.h"

#include <pthread.h>
#include <string.h>

#define STRIP 32
#define SMALL_PIXELS 1048576 /* a blank picture of up to so many pixels may come from very few bytes */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int start_rc;
static bool unconfined; /* set once, by the confined process, before anything is decoded */
static const char *start_name = "meridian";

static void on_vips_log(const gchar *domain UNUSED, GLogLevelFlags level UNUSED, const gchar *text, gpointer ctx UNUSED)
{
    log_debug("libvips: %s", text);
}

static void start_vips(void)
{
    /* libvips warns on stderr about harmless oddities of files; our errors say what matters */
    g_log_set_handler("VIPS", G_LOG_LEVEL_MASK, on_vips_log, NULL);
    if (VIPS_INIT(start_name) != 0) {
        start_rc = ERR_FAIL;
        return;
    }
    vips_concurrency_set(1); /* loader threads are ours, one picture each */
    vips_cache_set_max(0);
    vips_block_untrusted_set(TRUE);
}

int image_start(const char *argv0)
{
    if (argv0)
        start_name = argv0;
    pthread_once(&once, start_vips);
    if (start_rc < 0)
        FAIL(start_rc, "libvips cannot start; check the installation (apt-get install libvips42)");
    return 0;
}

int image_vips_fail(int code, const char *name, const char *what)
{
    char text[256];
    snprintf(text, sizeof(text), "%s", vips_error_buffer());
    vips_error_clear();
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n')
            text[i] = ';';
    FAIL(code, "%s: %s%s%s", name, what, n ? ": " : "", text);
}

/* ---- reading ---- */

void image_unconfined(void)
{
    unconfined = true;
    vips_operation_block_set("VipsForeignLoadPpm", FALSE); /* untrusted elsewhere */
}

int image_check_size(int64_t width, int64_t height, size_t n, const char *name)
{
    int64_t side = limit_get(LIMIT_SIDE), most = limit_get(LIMIT_PIXELS), ratio = limit_get(LIMIT_PIXELS_PER_BYTE);
    if (width < 1 || height < 1 || width > side || height > side)
        FAIL(ERR_DATA, "%s: %lld x %lld pixels, expected sides of 1 to %lld (limit %s)", name, (long long)width,
             (long long)height, (long long)side, limit_name(LIMIT_SIDE));
    if (width > most / height)
        FAIL(ERR_DATA, "%s: %lld x %lld pixels, expected at most %lld in all (limit %s)", name, (long long)width,
             (long long)height, (long long)most, limit_name(LIMIT_PIXELS));
    if (width * height > SMALL_PIXELS && width * height / ratio > (int64_t)n)
        FAIL(ERR_DATA, "%s: %lld x %lld pixels out of %zu bytes, expected at most %lld pixels a byte (limit %s)", name,
             (long long)width, (long long)height, n, (long long)ratio, limit_name(LIMIT_PIXELS_PER_BYTE));
    return 0;
}

static int load(VipsImage **out, enum picture_kind kind, const void *bytes, size_t n, const char *name)
{
    void *p = (void *)(uintptr_t)bytes;
    int bad = -1;
    switch (kind) {
#define CALL(f) f(p, n, out, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL)
    case KIND_PNG:
        bad = CALL(vips_pngload_buffer);
        break;
    case KIND_WEBP:
        bad = CALL(vips_webpload_buffer);
        break;
    case KIND_GIF:
        bad = CALL(vips_gifload_buffer);
        break;
    case KIND_TIFF:
        bad = CALL(vips_tiffload_buffer);
        break;
#undef CALL
    case KIND_PPM: {
        VipsSource *source = vips_source_new_from_memory(p, n);
        bad = !source || vips_ppmload_source(source, out, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                             VIPS_FAIL_ON_TRUNCATED, NULL);
        if (source)
            g_object_unref(source);
        break;
    }
    case KIND_JPEG:
    case KIND_NONE:
        break;
    }
    return bad ? image_vips_fail(ERR_DATA, name, "broken picture") : 0;
}

/* Opens the header and checks it; no pixel is decoded yet. */
static int open_checked(VipsImage **out, const struct picture_form *f, const void *bytes, size_t n, const char *name)
{
    VipsImage *im = NULL;
    TRY(load(&im, f->kind, bytes, n, name));
    int64_t w = vips_image_get_width(im), h = vips_image_get_height(im);
    int bands = vips_image_get_bands(im);
    VipsBandFormat format = vips_image_get_format(im);
    int rc = image_check_size(w, h, n, name);
    if (rc == 0 && (bands < 1 || bands > 4 || (format != VIPS_FORMAT_UCHAR && format != VIPS_FORMAT_USHORT)))
        rc = err_set(ERR_DATA, "%s: %d channels of %d bits, expected 1 to 4 of 8 or 16", name, bands,
                     (int)vips_format_sizeof(format) * 8);
    if (rc == 0 && f->width && (w != f->width || h != f->height))
        rc = err_set(ERR_UNSUPPORTED, "%s: %lld x %lld pixels, and a first frame that reaches to %d x %d", name,
                     (long long)w, (long long)h, f->width, f->height);
    if (rc < 0) {
        g_object_unref(im);
        return rc;
    }
    *out = im;
    return 0;
}

struct row_form {
    const struct picture_form *f;
    int bands, channels;
    bool wide;
};

/* Pillow's straight colour out of one that was multiplied by alpha. */
static uint8_t divide(uint8_t v, uint8_t alpha)
{
    int x = alpha ? 255 * v / alpha : v;
    return (uint8_t)(x > 255 ? 255 : x);
}

/* One row of `width` pixels as the loader gave them -> `channels` bytes a pixel. */
static void convert_row(uint8_t *out, const void *row, int width, const struct row_form *form)
{
    const uint8_t *narrow = row;
    const uint16_t *wide = row;
    int bands = form->bands, channels = form->channels;
    bool gray16 = form->f->mode == IMAGE_GRAY16;
    if (!form->wide && bands == channels && !form->f->associated && !gray16) {
        memcpy(out, row, (size_t)width * (size_t)channels);
        return;
    }
    uint8_t v[4] = {0};
    for (int x = 0; x < width; x++, out += channels) {
        if (gray16) {
            unsigned g = form->wide ? wide[x * bands] : (unsigned)narrow[x * bands] * 257u;
            out[0] = (uint8_t)g;
            out[1] = (uint8_t)(g >> 8);
            continue;
        }
        for (int b = 0; b < bands; b++)
            v[b] = form->wide ? (uint8_t)(wide[x * bands + b] >> 8) : narrow[x * bands + b];
        if (bands < 3) { /* gray, or gray with alpha */
            uint8_t alpha = v[1];
            v[1] = v[2] = v[0];
            v[3] = alpha;
        }
        if (form->f->associated && channels == 4)
            for (int b = 0; b < 3; b++)
                v[b] = divide(v[b], v[3]);
        if (channels == 2)
            v[1] = v[3];
        memcpy(out, v, (size_t)channels);
    }
}

/* What the first frame of a GIF leaves free of a row. */
static void fill_outside(uint8_t *row, int y, int width, const struct row_form *form)
{
    const struct picture_form *f = form->f;
    bool none = y < f->frame[1] || y >= f->frame[3];
    for (int x = 0; x < width; x++)
        if (none || x < f->frame[0] || x >= f->frame[2])
            memcpy(row + (size_t)x * (size_t)form->channels, f->outside, (size_t)form->channels);
}

static int pull(const struct image_sink *to, VipsImage *im, const struct picture_form *f, const char *name)
{
    int rc = 0;
    struct row_form form = {.f = f, .bands = vips_image_get_bands(im)};
    form.channels = f->channels ? f->channels : form.bands;
    form.wide = vips_image_get_format(im) == VIPS_FORMAT_USHORT;
    struct image head = {.width = vips_image_get_width(im),
                         .height = vips_image_get_height(im),
                         .channels = form.channels,
                         .mode = f->mode,
                         .orientation = f->orientation ? f->orientation : vips_image_get_orientation(im)};
    size_t row = (size_t)head.width * (size_t)head.channels;
    uint8_t *strip = mem_alloc(row * STRIP);
    VipsRegion *region = vips_region_new(im);
    if (!strip || !region) {
        rc = err_set(ERR_MEMORY, "%s: no memory for its rows", name);
        goto out;
    }
    rc = to->begin(to->ctx, &head);
    for (int y = 0; y < head.height && rc == 0; y += STRIP) {
        VipsRect rect = {0, y, head.width, VIPS_MIN(STRIP, head.height - y)};
        if (vips_region_prepare(region, &rect) != 0) {
            rc = image_vips_fail(ERR_DATA, name, "broken or incomplete picture");
            goto out;
        }
        for (int i = 0; i < rect.height; i++)
            convert_row(strip + row * (size_t)i, VIPS_REGION_ADDR(region, 0, y + i), head.width, &form);
        for (int i = 0; i < rect.height && f->kind == KIND_GIF; i++)
            fill_outside(strip + row * (size_t)i, y + i, head.width, &form);
        rc = to->rows(to->ctx, strip, rect.height);
    }
out:
    if (region)
        g_object_unref(region);
    mem_free(strip);
    return rc;
}

int image_vips_pull(struct image *out, VipsImage *im, const char *name)
{
    struct collect c;
    struct image_sink to = picture_collect(&c);
    struct picture_form plain = {.mode = IMAGE_PLAIN};
    return picture_collected(&c, pull(&to, im, &plain, name), out);
}

static int decode_vips(const struct image_sink *to, const struct picture_form *f, const void *bytes, size_t n,
                       const char *name)
{
    VipsImage *im = NULL;
    uint8_t *copy = NULL;
    TRY(image_start(NULL));
    if (f->width) /* libvips makes room for a WebP or GIF when it opens it: too late to ask then */
        TRY(image_check_size(f->width, f->height, n, name));
    if (f->transparency_flag) {
        copy = mem_alloc(n);
        if (!copy)
            return ERR_MEMORY;
        memcpy(copy, bytes, n);
        copy[f->transparency_flag] &= 0xfe;
    }
    int rc = open_checked(&im, f, copy ? copy : bytes, n, name);
    if (rc == 0) {
        rc = pull(to, im, f, name);
        g_object_unref(im);
    }
    mem_free(copy);
    return rc;
}

int image_decode_here(const struct image_sink *to, const void *bytes, size_t n, const char *name)
{
    struct picture_form f;
    TRY(picture_look(&f, bytes, n, name));
    if (f.kind == KIND_JPEG)
        return image_jpeg_decode(to, bytes, n, name, 0);
    if (picture_is_confined(f.kind) && !unconfined)
        FAIL(ERR_DATA, "%s: expected a JPEG, PNG, WebP or GIF picture", name);
    return decode_vips(to, &f, bytes, n, name);
}

int image_shrink(struct image *out, struct image *im, const char *name, int size)
{
    VipsImage *whole = NULL, *small = NULL;
    int rc = image_to_rgb(im, GRAY16_HIGH_BYTE);
    if (rc < 0)
        goto out;
    if (im->width <= size && im->height <= size) {
        *out = *im;
        return 0;
    }
    rc = image_start(NULL);
    if (rc < 0)
        goto out;
    whole = vips_image_new_from_memory(im->pixels, (size_t)im->width * (size_t)im->height * 3, im->width, im->height, 3,
                                       VIPS_FORMAT_UCHAR);
    double scale = (double)size / VIPS_MAX(im->width, im->height);
    /* the two scales apart, so that a picture of 10000 x 1 keeps its one pixel */
    if (!whole || vips_resize(whole, &small, scale, "vscale", VIPS_MAX(scale, 1.0 / im->height), NULL) != 0)
        rc = image_vips_fail(ERR_FAIL, name, "cannot make the thumbnail");
    else
        rc = image_vips_pull(out, small, name);
out:
    if (small)
        g_object_unref(small);
    if (whole)
        g_object_unref(whole);
    mem_free(im->pixels);
    return rc;
}

int image_thumbnail_memory(struct image *out, const void *bytes, size_t n, const char *name, int size)
{
    struct collect c;
    struct image im;
    struct image_sink to = picture_collect(&c);
    int rc = picture_sniff(bytes, n) == KIND_JPEG ? image_jpeg_decode(&to, bytes, n, name, size)
                                                  : image_decode_here(&to, bytes, n, name);
    TRY(picture_collected(&c, rc, &im));
    return image_shrink(out, &im, name, size);
}

/* ---- writing ---- */

static int encode(struct str *out, const struct image *im, bool png, int quality)
{
    void *bytes = NULL;
    size_t n = 0;
    VipsImage *raw = NULL, *named = NULL;
    int rc = 0;
    BUG_ON(im->width < 1 || im->height < 1 || im->channels < 1 || im->channels > 4);
    TRY(image_start(NULL));
    raw = vips_image_new_from_memory(im->pixels, (size_t)im->width * (size_t)im->height * (size_t)im->channels,
                                     im->width, im->height, im->channels, VIPS_FORMAT_UCHAR);
    VipsInterpretation meaning = im->channels < 3 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
    if (!raw || vips_copy(raw, &named, "interpretation", meaning, NULL) != 0)
        rc = image_vips_fail(ERR_FAIL, "picture", "cannot be encoded");
    else if (png && vips_pngsave_buffer(named, &bytes, &n, "compression", 6, "strip", TRUE, NULL) != 0)
        rc = image_vips_fail(ERR_FAIL, "picture", "cannot be encoded as PNG");
    else if (!png &&
             vips_jpegsave_buffer(named, &bytes, &n, "Q", quality, "strip", TRUE, "optimize_coding", TRUE, NULL) != 0)
        rc = image_vips_fail(ERR_FAIL, "picture", "cannot be encoded as JPEG");
    if (rc == 0) {
        str_add_n(out, bytes, n);
        if (out->failed)
            rc = err_set(ERR_MEMORY, "no memory for a picture of %zu bytes", n);
    }
    g_free(bytes);
    if (named)
        g_object_unref(named);
    if (raw)
        g_object_unref(raw);
    return rc;
}

int image_encode_png(struct str *out, const struct image *im)
{
    return encode(out, im, true, 0);
}

int image_encode_jpeg(struct str *out, const struct image *im, int quality)
{
    return encode(out, im, false, quality < 1 ? 1 : quality > 100 ? 100 : quality);
}
