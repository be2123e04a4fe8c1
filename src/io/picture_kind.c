/* io/picture_kind.c: what kind of picture a file is, and in which mode Pillow would open it.
 *
 * libvips resolves palettes, widens single bits and adds an alpha channel for a transparent colour before we see a
 * pixel; Pillow does not, and resizes what it has. So the few header fields that decide the mode are read here: the
 * IHDR of a PNG (ISO/IEC 15948, 11.2.2), the first directory of a TIFF (TIFF 6.0, section 2), the header and the first
 * frame's descriptor of a GIF (GIF89a). Nothing is allocated; every access is inside the bytes.
 * A GIF's first frame: Pillow keeps the colour of see-through pixels and fills what the frame leaves free with the
 * transparent colour, else with colour 0; its mode is L when the palette is the gray ramp. */
#include "io/picture_kind.h"

#include <string.h>
#include <strings.h>

enum picture_kind picture_sniff(const uint8_t *p, size_t n)
{
    static const struct {
        enum picture_kind kind;
        size_t at, n;
        const char *bytes;
    } marks[] = {{KIND_JPEG, 0, 3, "\xff\xd8\xff"},
                 {KIND_PNG, 0, 8, "\x89PNG\r\n\x1a\n"},
                 {KIND_GIF, 0, 6, "GIF87a"},
                 {KIND_GIF, 0, 6, "GIF89a"},
                 {KIND_WEBP, 8, 4, "WEBP"},
                 {KIND_TIFF, 0, 4, "II*\0"},
                 {KIND_TIFF, 0, 4, "MM\0*"},
                 {KIND_PPM, 0, 2, "P4"},
                 {KIND_PPM, 0, 2, "P5"},
                 {KIND_PPM, 0, 2, "P6"}};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (n >= marks[i].at + marks[i].n && !memcmp(p + marks[i].at, marks[i].bytes, marks[i].n) &&
            (marks[i].kind != KIND_WEBP || !memcmp(p, "RIFF", 4)) &&
            (marks[i].kind != KIND_PPM || (n > 2 && strchr(" \t\r\n#", p[2]) && p[2])))
            return marks[i].kind;
    return KIND_NONE;
}

bool image_has_name(const char *path)
{
    static const char *const endings[] = {".jpg",  ".jpeg", ".png", ".webp", ".gif", ".tif",
                                          ".tiff", ".ppm",  ".pgm", ".pbm",  ".bmp"};
    size_t n = strlen(path);
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t k = strlen(endings[i]);
        if (n > k && !strcasecmp(path + n - k, endings[i]))
            return true;
    }
    return false;
}

bool picture_is_confined(enum picture_kind kind)
{
    return kind == KIND_TIFF || kind == KIND_PPM;
}

/* ---- PNG ---- */

static int look_png(struct picture_form *f, const uint8_t *p, size_t n, const char *name)
{
    if (n < 33 || memcmp(p + 12, "IHDR", 4) != 0)
        FAIL(ERR_DATA, "%s: a PNG of %zu bytes without its header, the picture is broken", name, n);
    int bits = p[24], color = p[25];
    f->channels = color == 0 ? 1 : color == 4 ? 2 : color == 6 ? 4 : 3;
    if (color == 3 || (color == 0 && bits == 1))
        f->mode = IMAGE_INDEXED;
    else if (color == 0 && bits == 16) {
        f->mode = IMAGE_GRAY16;
        f->channels = 2;
    }
    return 0;
}

static unsigned u16le(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

/* ---- WebP ---- */

/* The canvas, of each of the three forms (RFC 9649, 2.5 to 2.7). libvips makes room for it when it opens the file. */
static int look_webp(struct picture_form *f, const uint8_t *p, size_t n, const char *name)
{
    if (n >= 30 && !memcmp(p + 12, "VP8X", 4)) {
        f->width = (int)(u16le(p + 24) | (unsigned)p[26] << 16) + 1;
        f->height = (int)(u16le(p + 27) | (unsigned)p[29] << 16) + 1;
    } else if (n >= 25 && !memcmp(p + 12, "VP8L", 4)) {
        f->width = (int)(u16le(p + 21) & 0x3fff) + 1;
        f->height = (int)((u16le(p + 22) >> 6 | (unsigned)p[24] << 10) & 0x3fff) + 1;
    } else if (n >= 30 && !memcmp(p + 12, "VP8 ", 4)) {
        f->width = (int)(u16le(p + 26) & 0x3fff);
        f->height = (int)(u16le(p + 28) & 0x3fff);
    } else {
        FAIL(ERR_DATA, "%s: a WebP of %zu bytes without its header, the picture is broken", name, n);
    }
    return 0;
}

/* ---- GIF ---- */

/* Pillow's test whether indices are gray levels already. */
static bool is_gray_ramp(const uint8_t *palette, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (palette[i * 3] != i || palette[i * 3 + 1] != i || palette[i * 3 + 2] != i)
            return false;
    return true;
}

/* Skips data sub-blocks: a length byte each, 0 ends. */
static int skip_blocks(struct reader *r)
{
    const uint8_t *b;
    do {
        TRY(read_bytes(r, &b, 1));
        if (*b) {
            const uint8_t *data;
            TRY(read_bytes(r, &data, *b));
        }
    } while (*b);
    return 0;
}

/* An extension block behind its '!'. *clear: the index of the see-through colour, or -1. */
static int read_extension(struct reader *r, struct picture_form *f, int *clear)
{
    const uint8_t *label, *b;
    TRY(read_bytes(r, &label, 1));
    if (*label == 0xf9) {
        struct reader at = *r;
        if (read_bytes(&at, &b, 5) == 0 && b[0] >= 4) {
            f->transparency_flag = (size_t)(b + 1 - r->start);
            *clear = b[1] & 1 ? b[4] : *clear;
        }
    }
    return skip_blocks(r);
}

static int look_gif(struct picture_form *f, const uint8_t *p, size_t n, const char *name)
{
    struct reader r = {p, p + n, p, name};
    const uint8_t *b, *palette = NULL;
    unsigned colors = 0;
    int clear = -1;
    TRY(read_bytes(&r, &b, 13));
    f->width = (int)u16le(b + 6);
    f->height = (int)u16le(b + 8);
    if (b[10] & 0x80) {
        colors = 2u << (b[10] & 7);
        TRY(read_bytes(&r, &palette, colors * 3));
    }
    for (;;) {
        TRY(read_bytes(&r, &b, 1));
        if (*b == '!')
            TRY(read_extension(&r, f, &clear));
        else if (*b == ',')
            break;
        else if (*b == ';')
            FAIL(ERR_DATA, "%s: a GIF without a frame", name);
    }
    TRY(read_bytes(&r, &b, 9));
    int right = (int)(u16le(b) + u16le(b + 4)), bottom = (int)(u16le(b + 2) + u16le(b + 6));
    memcpy(f->frame, (int[4]){(int)u16le(b), (int)u16le(b + 2), right, bottom}, sizeof f->frame);
    f->width = right > f->width ? right : f->width;
    f->height = bottom > f->height ? bottom : f->height;
    if (b[8] & 0x80) {
        colors = 2u << (b[8] & 7);
        TRY(read_bytes(&r, &palette, colors * 3));
    }
    unsigned fill = clear >= 0 ? (unsigned)clear : 0;
    bool gray = !palette || is_gray_ramp(palette, colors);
    f->mode = gray ? IMAGE_PLAIN : IMAGE_INDEXED;
    f->channels = gray ? 1 : 3;
    for (unsigned i = 0; i < 3; i++)
        f->outside[i] = gray ? (uint8_t)fill : fill < colors ? palette[fill * 3 + i] : 0;
    return 0;
}

/* ---- TIFF ---- */

struct tiff {
    const uint8_t *p;
    size_t n;
    bool big;
    size_t entries;
    unsigned count;
};

static unsigned tiff_u16(const struct tiff *t, size_t at)
{
    const uint8_t *p = t->p + at;
    return t->big ? (unsigned)p[0] << 8 | p[1] : u16le(p);
}

static uint32_t tiff_u32(const struct tiff *t, size_t at)
{
    uint32_t a = tiff_u16(t, at), b = tiff_u16(t, at + 2);
    return t->big ? a << 16 | b : b << 16 | a;
}

static bool tiff_open(struct tiff *t, const uint8_t *p, size_t n)
{
    *t = (struct tiff){.p = p, .n = n, .big = n > 0 && p[0] == 'M'};
    if (n < 8 || (memcmp(p, "II*\0", 4) != 0 && memcmp(p, "MM\0*", 4) != 0))
        return false;
    size_t at = tiff_u32(t, 4);
    if (at > n - 2)
        return false;
    t->count = tiff_u16(t, at);
    t->entries = at + 2;
    return t->count <= (n - t->entries) / 12;
}

/* Element `i` of a tag of 16- or 32-bit numbers; `def` when it is not there. */
static unsigned tiff_tag(const struct tiff *t, unsigned tag, uint32_t i, unsigned def)
{
    for (unsigned k = 0; k < t->count; k++) {
        size_t at = t->entries + (size_t)k * 12;
        if (tiff_u16(t, at) != tag)
            continue;
        unsigned type = tiff_u16(t, at + 2), size = type == 3 ? 2 : 4;
        uint32_t count = tiff_u32(t, at + 4);
        if ((type != 3 && type != 4) || i >= count)
            return def;
        size_t from = at + 8;
        if (count > 4 / size)
            from = tiff_u32(t, at + 8);
        if (from > t->n || i >= (t->n - from) / size)
            return def;
        from += (size_t)i * size;
        return size == 2 ? tiff_u16(t, from) : tiff_u32(t, from);
    }
    return def;
}

int picture_exif_orientation(const uint8_t *p, size_t n)
{
    struct tiff t;
    unsigned o = tiff_open(&t, p, n) ? tiff_tag(&t, 274, 0, 0) : 0;
    return o <= 8 ? (int)o : 0;
}

static int look_tiff(struct picture_form *f, const uint8_t *p, size_t n, const char *name)
{
    struct tiff t;
    if (!tiff_open(&t, p, n))
        FAIL(ERR_DATA, "%s: the TIFF's first directory lies outside the file", name);
    unsigned meaning = tiff_tag(&t, 262, 0, 1), bits = tiff_tag(&t, 258, 0, 1), per_pixel = tiff_tag(&t, 277, 0, 1),
             format = tiff_tag(&t, 339, 0, 1), extra = tiff_tag(&t, 338, 0, 99);
    f->orientation = (int)tiff_tag(&t, 274, 0, 1);
    f->associated = extra == 1;
    if (format == 1 && meaning <= 1 && per_pixel == 1) {
        f->mode = bits == 1 ? IMAGE_INDEXED : bits == 16 ? IMAGE_GRAY16 : IMAGE_PLAIN;
        f->channels = bits == 16 ? 2 : 1;
    } else if (format == 1 && meaning == 1 && per_pixel == 2 && extra == 2) {
        f->channels = 2;
    } else if (format == 1 && meaning == 3 && per_pixel == 1 && bits <= 8) {
        f->mode = IMAGE_INDEXED;
        f->channels = 3;
    } else if (format == 1 && (meaning == 2 || meaning == 6) && (per_pixel == 3 || per_pixel == 4)) {
        f->channels = per_pixel == 4 && extra != 0 ? 4 : 3;
    } else if (format == 1 && meaning == 5 && per_pixel == 4 && bits == 8) {
        f->mode = IMAGE_CMYK;
        f->channels = 4;
    } else {
        FAIL(ERR_UNSUPPORTED,
             "%s: a TIFF of photometric kind %u with %u samples of %u bits in format %u; save it as PNG", name, meaning,
             per_pixel, bits, format);
    }
    if ((bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16) || (bits == 16 && meaning == 0))
        FAIL(ERR_UNSUPPORTED, "%s: a TIFF of %u bits a sample; save it as PNG", name, bits);
    return 0;
}

/* ---- PPM ---- */

/* The next number of the header behind white space and comments, or -1. */
static int ppm_number(struct reader *r)
{
    int v = -1;
    bool comment = false;
    for (; r->p < r->end; r->p++) {
        if (*r->p >= '0' && *r->p <= '9' && !comment) {
            if (v > 100000)
                return -1;
            v = (v < 0 ? 0 : v * 10) + (*r->p - '0');
        } else if (v >= 0) {
            return v;
        } else {
            comment = comment ? *r->p != '\n' : *r->p == '#';
        }
    }
    return -1;
}

static int look_ppm(struct picture_form *f, const uint8_t *p, size_t n, const char *name)
{
    struct reader r = {p + 2, p + n, p, name};
    int width = ppm_number(&r), height = ppm_number(&r), most = p[1] == '4' ? 255 : ppm_number(&r);
    if (width < 1 || height < 1)
        FAIL(ERR_DATA, "%s: a PPM without its size", name);
    if (most != 255)
        FAIL(ERR_UNSUPPORTED, "%s: a PPM with values up to %d, expected 255; save it as PNG", name, most);
    f->mode = p[1] == '4' ? IMAGE_INDEXED : IMAGE_PLAIN;
    f->channels = p[1] == '6' ? 3 : 1;
    return 0;
}

int picture_look(struct picture_form *f, const uint8_t *p, size_t n, const char *name)
{
    *f = (struct picture_form){.kind = picture_sniff(p, n)};
    switch (f->kind) {
    case KIND_PNG:
        return look_png(f, p, n, name);
    case KIND_GIF:
        return look_gif(f, p, n, name);
    case KIND_TIFF:
        return look_tiff(f, p, n, name);
    case KIND_PPM:
        return look_ppm(f, p, n, name);
    case KIND_WEBP:
        return look_webp(f, p, n, name);
    case KIND_JPEG:
        return 0;
    case KIND_NONE:
        break;
    }
    FAIL(ERR_DATA, "%s: %s; expected a JPEG, PNG, WebP, GIF, TIFF or PPM picture", name,
         n ? "unknown kind of file" : "an empty file");
}
