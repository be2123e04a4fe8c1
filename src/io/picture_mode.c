/* io/picture_mode.c: pictures in memory: from the mode of their file to RGB, turned, and collected from a stream.
 *
 * The integer formulas are Pillow's, for the published preprocessings start with its convert("RGB"): gray is repeated,
 * alpha is dropped (not blended), CMYK becomes R = (255 - K) - C (255 - K) / 255 with the division rounded as its macro
 * does, gray of 16 bits is clipped to 0..255 (Pillow 9.4; nearly every such picture turns white) or, where asked, keeps
 * its high byte. Rejected: vips_colourspace(), which manages colours and differs from Pillow.
 * Part of the library, of meridian_pictures.so and of the confined decoder. */
#include "io/picture_mode.h"

#include <string.h>

static uint8_t from_cmyk(uint8_t c, uint8_t k)
{
    int rest = 255 - k, t = c * rest + 128;
    int v = rest - ((t + (t >> 8)) >> 8);
    return (uint8_t)(v < 0 ? 0 : v);
}

static uint8_t from_gray16(const uint8_t *p, enum image_gray16 how)
{
    return how == GRAY16_HIGH_BYTE ? p[1] : p[1] ? 255 : p[0];
}

void image_row_to_rgb(uint8_t *rgb, const uint8_t *row, int width, const struct image *head, enum image_gray16 how)
{
    int c = head->channels;
    if (c == 3) {
        memmove(rgb, row, (size_t)width * 3);
    } else if (head->mode == IMAGE_GRAY16) {
        for (int x = width - 1; x >= 0; x--) {
            uint8_t v = from_gray16(row + (size_t)x * 2, how);
            memset(rgb + (size_t)x * 3, v, 3);
        }
    } else if (c < 3) {
        for (int x = width - 1; x >= 0; x--) {
            uint8_t v = row[(size_t)x * (size_t)c];
            memset(rgb + (size_t)x * 3, v, 3);
        }
    } else if (head->mode == IMAGE_CMYK) {
        for (int x = 0; x < width; x++, rgb += 3, row += 4)
            for (int b = 0; b < 3; b++) /* ink 3 is read before a later pixel may lie on it */
                rgb[b] = from_cmyk(row[b], row[3]);
    } else {
        for (int x = 0; x < width; x++)
            memmove(rgb + (size_t)x * 3, row + (size_t)x * 4, 3);
    }
}

int image_to_rgb(struct image *im, enum image_gray16 how)
{
    size_t w = (size_t)im->width, h = (size_t)im->height, c = (size_t)im->channels, n;
    uint8_t *to = im->pixels;
    if (c < 3) {
        if (!mul_ok(w * 3, h, &n) || !(to = mem_alloc(n)))
            return ERR_MEMORY;
    }
    for (size_t y = 0; y < h && (c != 3 || to != im->pixels); y++)
        image_row_to_rgb(to + y * w * 3, im->pixels + y * w * c, im->width, im, how);
    if (to != im->pixels)
        mem_free(im->pixels);
    im->pixels = to;
    im->channels = 3;
    im->mode = IMAGE_PLAIN;
    return 0;
}

/* EXIF: 2 mirrored, 3 turned by 180 degrees, 4 upside down, 5 to 8 with the axes exchanged. */
int image_turn(struct image *im)
{
    int o = im->orientation;
    size_t w = (size_t)im->width, h = (size_t)im->height, c = (size_t)im->channels;
    im->orientation = 0;
    if (o < 2 || o > 8)
        return 0;
    size_t out_w = o >= 5 ? h : w, out_h = o >= 5 ? w : h;
    uint8_t *to = mem_alloc(w * h * c);
    if (!to)
        return ERR_MEMORY;
    bool back_x = o == 2 || o == 3 || o == 7 || o == 8, back_y = o == 3 || o == 4 || o == 6 || o == 7;
    for (size_t y = 0; y < out_h; y++)
        for (size_t x = 0; x < out_w; x++) {
            size_t sx = o >= 5 ? y : x, sy = o >= 5 ? x : y;
            sx = back_x ? w - 1 - sx : sx;
            sy = back_y ? h - 1 - sy : sy;
            memcpy(to + (y * out_w + x) * c, im->pixels + (sy * w + sx) * c, c);
        }
    mem_free(im->pixels);
    im->pixels = to;
    im->width = (int)out_w;
    im->height = (int)out_h;
    return 0;
}

/* ---- collecting ---- */

static int begin(void *ctx, const struct image *head)
{
    struct collect *c = ctx;
    size_t n;
    c->row = (size_t)head->width * (size_t)head->channels;
    if (!mul_ok(c->row, (size_t)head->height, &n))
        FAIL(ERR_DATA, "too many pixels");
    c->im = *head;
    c->im.pixels = mem_alloc(n);
    return c->im.pixels ? 0 : ERR_MEMORY;
}

static int rows(void *ctx, const uint8_t *from, int n)
{
    struct collect *c = ctx;
    BUG_ON(n > c->im.height - c->done);
    memcpy(c->im.pixels + c->row * (size_t)c->done, from, c->row * (size_t)n);
    c->done += n;
    return 0;
}

struct image_sink picture_collect(struct collect *c)
{
    memset(c, 0, sizeof(*c));
    return (struct image_sink){begin, rows, c};
}

int picture_collected(struct collect *c, int rc, struct image *out)
{
    if (rc < 0)
        mem_free(c->im.pixels);
    else
        *out = c->im;
    return rc;
}
