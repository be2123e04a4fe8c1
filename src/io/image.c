/* io/image.c: pictures in and out, through libvips. Part of meridian_pictures.so (picture_module.h), not of the
 * library.
 *
 * Reading gives what Pillow's convert("RGB") gives, for the published preprocessing starts there: gray is repeated,
 * palettes are resolved, alpha is dropped (not blended), 16 bit keep the high byte, CMYK becomes RGB by Pillow's
 * integer formula, EXIF orientation is ignored. Only JPEG, PNG, WebP and GIF are decoded, by the loader the file's own
 * bytes ask for; width, height and pixels are checked on the header before a pixel is decoded, a truncated file is an
 * error. Pixels are pulled strip by strip into memory of ours, so a 16-bit picture never exists whole in 16 bits.
 * Rejected: vips_colourspace() (colour-managed, differs from Pillow) and vips_image_write_to_memory (glib's allocator
 * ends the program when memory is out). */
#include "io/image_vips.h"

#include <pthread.h>
#include <string.h>

#define STRIP 64
#define MAX_SCANS 500 /* a progressive JPEG of thousands of scans decodes for minutes */

static const char *const loaders[] = {"VipsForeignLoadJpegBuffer", "VipsForeignLoadPngBuffer",
                                      "VipsForeignLoadWebpBuffer", "VipsForeignLoadNsgifBuffer"};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int start_rc;
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

/* Start-of-scan markers. Inside coded data 0xFF is always followed by 0 or a restart marker, so a plain search only
 * overcounts what hides in metadata. */
static int check_scans(const uint8_t *p, size_t n, const char *name)
{
    int scans = 0;
    const uint8_t *end = p + n;
    while (p + 1 < end && (p = memchr(p, 0xff, (size_t)(end - p - 1)))) {
        scans += p[1] == 0xda;
        p++;
    }
    if (scans > MAX_SCANS)
        FAIL(ERR_DATA, "%s: a progressive JPEG of %d scans, expected at most %d", name, scans, MAX_SCANS);
    return 0;
}

/* Opens the header and checks it; no pixel is decoded yet. shrink_to > 0: a JPEG may come smaller, but no side below
 * it. */
static int open_checked(VipsImage **out, const void *bytes, size_t n, const char *name, int shrink_to)
{
    const char *loader = n > 0 ? vips_foreign_find_load_buffer(bytes, n) : NULL;
    size_t which = 0;
    while (loader && which < ARRAY_LEN(loaders) && strcmp(loader, loaders[which]) != 0)
        which++;
    if (!loader || which == ARRAY_LEN(loaders)) {
        vips_error_clear();
        FAIL(ERR_DATA, "%s: %s; expected a JPEG, PNG, WebP or GIF picture", name,
             n ? "unknown kind of file" : "an empty file");
    }
    if (which == 0)
        TRY(check_scans(bytes, n, name));
    VipsImage *im = vips_image_new_from_buffer(bytes, n, "", "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                               VIPS_FAIL_ON_TRUNCATED, NULL);
    if (!im)
        return image_vips_fail(ERR_DATA, name, "broken picture");
    int64_t w = vips_image_get_width(im), h = vips_image_get_height(im), side = limit_get(LIMIT_SIDE);
    int bands = vips_image_get_bands(im);
    VipsBandFormat format = vips_image_get_format(im);
    int rc = 0;
    if (w < 1 || h < 1 || w > side || h > side)
        rc = err_set(ERR_DATA, "%s: %lld x %lld pixels, expected sides of 1 to %lld (limit %s)", name, (long long)w,
                     (long long)h, (long long)side, limit_name(LIMIT_SIDE));
    else if (w > limit_get(LIMIT_PIXELS) / h)
        rc = err_set(ERR_DATA, "%s: %lld x %lld pixels, expected at most %lld in all (limit %s)", name, (long long)w,
                     (long long)h, (long long)limit_get(LIMIT_PIXELS), limit_name(LIMIT_PIXELS));
    else if (bands < 1 || bands > 4 || (format != VIPS_FORMAT_UCHAR && format != VIPS_FORMAT_USHORT))
        rc = err_set(ERR_DATA, "%s: %d channels of %d bits, expected 1 to 4 of 8 or 16", name, bands,
                     (int)vips_format_sizeof(format) * 8);
    int factor = 1;
    while (rc == 0 && which == 0 && shrink_to > 0 && factor < 8 && VIPS_MIN(w, h) / (factor * 2) >= 2 * shrink_to)
        factor *= 2;
    if (factor > 1) {
        g_object_unref(im);
        if (vips_jpegload_buffer((void *)(uintptr_t)bytes, n, &im, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                 VIPS_FAIL_ON_TRUNCATED, "shrink", factor, NULL) != 0)
            return image_vips_fail(ERR_DATA, name, "broken picture");
    }
    if (rc < 0) {
        g_object_unref(im);
        return rc;
    }
    *out = im;
    return 0;
}

/* Pillow's CMYK to RGB: (255 - k) - c (255 - k) / 255, the division rounded as its macro does. */
static uint8_t from_cmyk(uint8_t c, uint8_t k)
{
    int rest = 255 - k, t = c * rest + 128;
    int v = rest - ((t + (t >> 8)) >> 8);
    return (uint8_t)(v < 0 ? 0 : v);
}

struct row_form {
    int bands, channels;
    bool wide, cmyk;
};

/* One row of `width` pixels as the loader gave them -> `channels` bytes a pixel. */
static void convert_row(uint8_t *out, const void *row, int width, const struct row_form *form)
{
    const uint8_t *narrow = row;
    const uint16_t *wide = row;
    uint8_t v[4] = {0};
    for (int x = 0; x < width; x++, out += form->channels) {
        for (int b = 0; b < form->bands; b++)
            v[b] = form->wide ? (uint8_t)(wide[x * form->bands + b] >> 8) : narrow[x * form->bands + b];
        if (form->channels != 3 || (form->bands >= 3 && !form->cmyk)) {
            memcpy(out, v, (size_t)form->channels);
        } else if (form->cmyk) {
            for (int b = 0; b < 3; b++)
                out[b] = from_cmyk(v[b], v[3]);
        } else { /* gray, or gray with alpha */
            out[0] = out[1] = out[2] = v[0];
        }
    }
}

static int pull(struct image *out, VipsImage *im, int channels, const char *name)
{
    int rc = 0;
    struct image got = {vips_image_get_width(im), vips_image_get_height(im), channels, NULL};
    struct row_form form = {.bands = vips_image_get_bands(im), .channels = channels};
    form.wide = vips_image_get_format(im) == VIPS_FORMAT_USHORT;
    form.cmyk = vips_image_get_interpretation(im) == VIPS_INTERPRETATION_CMYK && form.bands == 4;
    size_t row = 0, n = 0;
    VipsRegion *region = NULL;
    if (!mul_ok((size_t)got.width, (size_t)channels, &row) || !mul_ok(row, (size_t)got.height, &n))
        FAIL(ERR_DATA, "%s: too many pixels", name);
    got.pixels = mem_alloc(n);
    if (!got.pixels)
        return ERR_MEMORY;
    region = vips_region_new(im);
    for (int y = 0; y < got.height; y += STRIP) {
        VipsRect rect = {0, y, got.width, VIPS_MIN(STRIP, got.height - y)};
        if (!region || vips_region_prepare(region, &rect) != 0) {
            rc = image_vips_fail(ERR_DATA, name, "broken or incomplete picture");
            goto out;
        }
        for (int i = 0; i < rect.height; i++)
            convert_row(got.pixels + row * (size_t)(y + i), VIPS_REGION_ADDR(region, 0, y + i), got.width, &form);
    }
    *out = got;
    got.pixels = NULL;
out:
    if (region)
        g_object_unref(region);
    mem_free(got.pixels);
    return rc;
}

int image_vips_pull(struct image *out, VipsImage *im, const char *name)
{
    return pull(out, im, vips_image_get_bands(im), name);
}

static int read_shrunk(struct image *out, const void *bytes, size_t n, const char *name, int shrink_to)
{
    VipsImage *im = NULL;
    TRY(image_start(NULL));
    TRY(open_checked(&im, bytes, n, name, shrink_to));
    int rc = pull(out, im, 3, name);
    g_object_unref(im);
    return rc;
}

int image_read_rgb_memory(struct image *out, const void *bytes, size_t n, const char *name)
{
    return read_shrunk(out, bytes, n, name, 0);
}

int image_thumbnail_memory(struct image *out, const void *bytes, size_t n, const char *name, int size)
{
    struct image im = {0};
    VipsImage *whole = NULL, *small = NULL;
    int rc = 0;
    TRY(read_shrunk(&im, bytes, n, name, size));
    if (im.width <= size && im.height <= size) {
        *out = im;
        return 0;
    }
    whole = vips_image_new_from_memory(im.pixels, (size_t)im.width * (size_t)im.height * 3, im.width, im.height, 3,
                                       VIPS_FORMAT_UCHAR);
    double scale = (double)size / VIPS_MAX(im.width, im.height);
    /* the two scales apart, so that a picture of 10000 x 1 keeps its one pixel */
    if (!whole || vips_resize(whole, &small, scale, "vscale", VIPS_MAX(scale, 1.0 / im.height), NULL) != 0)
        rc = image_vips_fail(ERR_FAIL, name, "cannot make the thumbnail");
    else
        rc = pull(out, small, 3, name);
    if (small)
        g_object_unref(small);
    if (whole)
        g_object_unref(whole);
    mem_free(im.pixels);
    return rc;
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
