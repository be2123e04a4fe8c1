/* io/image_emoji.c: emoji sequences drawn with the colour font. Part of meridian_pictures.so, as image.c.
 *
 * A sequence counts as drawn only when the font turns the whole of it into ONE glyph of its own: "woman" + joiner +
 * "rocket" that a font does not know falls apart into two pictures, and fontconfig silently puts another font in place
 * of a missing one. Both are seen by shaping with pango first: exactly one visible glyph, not unknown, from a font of
 * the expected family. The picture is then rendered at the font's own bitmap size and resampled once, with
 * premultiplied alpha, so that edges keep their colour.
 * Rejected: rendering at the wanted size (cairo's bilinear scaling of a bitmap font aliases), and comparing the ink
 * with that of two single glyphs. pango's font maps are not thread safe: one lock around all of it. */
#include "io/image_vips.h"

#include <fontconfig/fontconfig.h>
#include <math.h>
#include <pango/pangocairo.h>
#include <pthread.h>
#include <string.h>

#define FAMILY "Noto Color Emoji"
#define NATIVE FAMILY " 109" /* the size of the font's bitmaps at 72 dpi: 136 x 128 pixels a glyph */
#define ADVICE "the colour emoji font \"" FAMILY "\" is not installed; apt-get install fonts-noto-color-emoji"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static PangoContext *context; /* kept: building a font map reads the font configuration */
static PangoFontDescription *wanted;

/* Under lock. Family and version as fontconfig finds them; it answers with its best substitute when absent. */
static int find_font(char *out, size_t n)
{
    int rc = 0, version = 0;
    FcResult result;
    FcChar8 *family = NULL;
    FcPattern *pattern = FcPatternCreate(), *match = NULL;
    if (!pattern || !FcPatternAddString(pattern, FC_FAMILY, (const FcChar8 *)FAMILY)) {
        rc = err_set(ERR_MEMORY, "no memory to look for the emoji font");
        goto out;
    }
    FcConfigSubstitute(NULL, pattern, FcMatchPattern);
    FcDefaultSubstitute(pattern);
    match = FcFontMatch(NULL, pattern, &result);
    if (!match || FcPatternGetString(match, FC_FAMILY, 0, &family) != FcResultMatch ||
        strcmp((const char *)family, FAMILY) != 0) {
        rc = err_set(ERR_FAIL, ADVICE);
        goto out;
    }
    if (out) {
        FcPatternGetInteger(match, FC_FONTVERSION, 0, &version);
        snprintf(out, n, "%s %.3f", FAMILY, version / 65536.0);
    }
out:
    if (match)
        FcPatternDestroy(match);
    if (pattern)
        FcPatternDestroy(pattern);
    return rc;
}

/* Under lock. */
static int start_pango(void)
{
    if (context)
        return 0;
    TRY(find_font(NULL, 0));
    PangoFontMap *map = pango_cairo_font_map_new();
    pango_cairo_font_map_set_resolution(PANGO_CAIRO_FONT_MAP(map), 72);
    context = pango_font_map_create_context(map);
    wanted = pango_font_description_from_string(NATIVE);
    g_object_unref(map);
    return 0;
}

static bool is_our_font(PangoFont *font)
{
    PangoFontDescription *d = font ? pango_font_describe(font) : NULL;
    bool same = d && pango_font_description_get_family(d) && strcmp(pango_font_description_get_family(d), FAMILY) == 0;
    if (d)
        pango_font_description_free(d);
    return same;
}

/* Under lock. Exactly one visible glyph, known, of our font. */
static bool is_one_glyph(const char *utf8)
{
    int visible = 0;
    bool ours = true;
    PangoLayout *layout = pango_layout_new(context);
    pango_layout_set_font_description(layout, wanted);
    pango_layout_set_text(layout, utf8, -1);
    PangoLayoutIter *iter = pango_layout_get_iter(layout);
    do {
        PangoLayoutRun *run = pango_layout_iter_get_run_readonly(iter);
        for (int i = 0; run && i < run->glyphs->num_glyphs; i++) {
            PangoGlyph g = run->glyphs->glyphs[i].glyph;
            if (g == PANGO_GLYPH_EMPTY)
                continue;
            visible++;
            ours = ours && !(g & PANGO_GLYPH_UNKNOWN_FLAG) && is_our_font(run->item->analysis.font);
        }
    } while (pango_layout_iter_next_run(iter));
    pango_layout_iter_free(iter);
    g_object_unref(layout);
    return ours && visible == 1;
}

/* RGBA straight -> premultiplied -> resized -> straight, 8 bit, in the middle of a transparent square. */
static int fit(struct image *out, VipsImage *glyph, int size, double margin)
{
    VipsImage *t[6] = {NULL};
    int rc = 0;
    double room = VIPS_MAX(1.0, size * (1.0 - 2.0 * margin));
    double scale = room / VIPS_MAX(vips_image_get_width(glyph), vips_image_get_height(glyph));
    if (vips_premultiply(glyph, &t[0], NULL) != 0 || vips_resize(t[0], &t[1], scale, NULL) != 0 ||
        vips_unpremultiply(t[1], &t[2], NULL) != 0 || vips_rint(t[2], &t[3], NULL) != 0 ||
        vips_cast(t[3], &t[4], VIPS_FORMAT_UCHAR, NULL) != 0 ||
        vips_embed(t[4], &t[5], (size - vips_image_get_width(t[4])) / 2, (size - vips_image_get_height(t[4])) / 2, size,
                   size, "extend", VIPS_EXTEND_BLACK, NULL) != 0)
        rc = image_vips_fail(ERR_FAIL, "emoji", "cannot be scaled");
    else
        rc = image_vips_pull(out, t[5], "emoji");
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        if (t[i])
            g_object_unref(t[i]);
    return rc;
}

static int draw(struct image *out, const char *utf8, int size, double margin, bool *drawn)
{
    VipsImage *glyph = NULL;
    TRY(start_pango());
    if (!is_one_glyph(utf8)) {
        *drawn = false;
        return 0;
    }
    char *escaped = g_markup_escape_text(utf8, -1); /* vips_text reads markup */
    int bad = vips_text(&glyph, escaped, "font", NATIVE, "dpi", 72, "rgba", TRUE, NULL);
    g_free(escaped);
    if (bad)
        return image_vips_fail(ERR_FAIL, "emoji", "cannot be drawn");
    int rc = fit(out, glyph, size, margin);
    g_object_unref(glyph);
    if (rc == 0)
        *drawn = true;
    return rc;
}

int image_draw_emoji(struct image *out, const char *utf8, int size, double margin, bool *drawn)
{
    if (size < 1 || size > 4096 || !(margin >= 0.0 && margin <= 0.45))
        FAIL(ERR_USAGE, "emoji of size %d with margin %g, expected 1 to 4096 and 0 to 0.45", size, margin);
    size_t n = strlen(utf8);
    if (n == 0 || n > 256 || !utf8_ok(utf8, n))
        FAIL(ERR_DATA, "an emoji sequence of %zu bytes, expected 1 to 256 bytes of UTF-8", n);
    TRY(image_start(NULL));
    pthread_mutex_lock(&lock);
    int rc = draw(out, utf8, size, margin, drawn);
    pthread_mutex_unlock(&lock);
    return rc;
}

int image_emoji_font(char *out, size_t n)
{
    pthread_mutex_lock(&lock);
    int rc = find_font(out, n);
    pthread_mutex_unlock(&lock);
    return rc;
}
