/* data/augment.c: one training view of one picture: crop, turn, flip, another background, other colours.
 *
 * RandomResizedCrop and ColorJitter are torchvision's recipes (Szegedy et al. 2015; Krizhevsky et al. 2012); random
 * backgrounds behind a known foreground follow Xiao et al. 2021: without them a small model learns "white corner" for
 * free.
 *
 * All geometry is one affine map from view to picture, sampled once: positions advance by a constant in 16.16 fixed
 * point, the four channels (red, green, blue on white, cover) lie in the four 16-bit lanes of a word, so one
 * multiplication mixes all four. Where the map shrinks, four samples a pixel are averaged, and by more than two the
 * picture is first averaged over whole blocks. Chained resize, rotate and flip passes were rejected: three times the
 * work and a blur for each.
 *
 * With cover a, colour on white is  p = a f + (255 - a) , so over a background b the view is  (p - (255 - a)) + (1 -
 * a/255) b: the sampled values are enough, no division by a. Colour changes are one affine map of (r, g, b) per view.
 */
#include "data/data.h"

#include <math.h>
#include <string.h>

#define LANES 0x00FF00FF00FF00FFu
#define HALVES 0x0080008000800080u
#define MAX_SIDE 32000 /* positions are 16.16 fixed point */

/* Picture with one pixel of border, channels in 16-bit lanes: r | g << 16 | b << 32 | cover << 48. */
struct source {
    int width, height; /* without the border */
    uint64_t *p;
    bool free_edge; /* outside is empty (cover known), not the nearest pixel */
};

struct map_to_source {
    double xx, xy, x0, yx, yy, y0; /* view (u, v) in [-1/2, 1/2] to pixels of the picture */
};

static uint64_t pack(const uint8_t *rgb, unsigned cover)
{
    return rgb[0] | (uint64_t)rgb[1] << 16 | (uint64_t)rgb[2] << 32 | (uint64_t)cover << 48;
}

/* Mean over blocks of k x k; blocks at the far edges hold what is left. */
static uint64_t block_mean(const struct image *rgb, const uint8_t *alpha, int bx, int by, int k)
{
    unsigned sum[4] = {0}, n = 0;
    for (int y = by * k; y < (by + 1) * k && y < rgb->height; y++)
        for (int x = bx * k; x < (bx + 1) * k && x < rgb->width; x++, n++) {
            size_t at = (size_t)y * (size_t)rgb->width + (size_t)x;
            for (size_t c = 0; c < 3; c++)
                sum[c] += rgb->pixels[at * 3 + c];
            sum[3] += alpha ? alpha[at] : 255;
        }
    uint8_t mean[3];
    for (int c = 0; c < 3; c++)
        mean[c] = (uint8_t)((sum[c] + n / 2) / n);
    return pack(mean, (sum[3] + n / 2) / n);
}

static int source_open(struct source *s, const struct image *rgb, const uint8_t *alpha, int k)
{
    s->width = (rgb->width + k - 1) / k;
    s->height = (rgb->height + k - 1) / k;
    s->free_edge = alpha != NULL;
    size_t stride = (size_t)s->width + 2;
    s->p = mem_alloc(stride * ((size_t)s->height + 2) * sizeof *s->p);
    if (!s->p)
        return ERR_MEMORY;
    for (int y = 0; y < s->height; y++) {
        uint64_t *row = s->p + (size_t)(y + 1) * stride + 1;
        const uint8_t *in = rgb->pixels + (size_t)y * (size_t)rgb->width * 3;
        const uint8_t *a = alpha ? alpha + (size_t)y * (size_t)rgb->width : NULL;
        for (int x = 0; x < s->width; x++)
            row[x] = k > 1 ? block_mean(rgb, alpha, x, y, k) : pack(in + (size_t)x * 3, a ? a[x] : 255);
        row[-1] = s->free_edge ? 0x000000FF00FF00FFu : row[0];
        row[s->width] = s->free_edge ? 0x000000FF00FF00FFu : row[s->width - 1];
    }
    uint64_t *top = s->p, *bottom = s->p + (size_t)(s->height + 1) * stride;
    for (size_t x = 0; x < stride; x++) {
        top[x] = s->free_edge ? 0x000000FF00FF00FFu : top[x + stride];
        bottom[x] = s->free_edge ? 0x000000FF00FF00FFu : bottom[x - stride];
    }
    return 0;
}

static uint64_t mix(uint64_t a, uint64_t b, unsigned f) /* f of 256 */
{
    return (a * (256 - f) + b * f + HALVES) >> 8 & LANES;
}

/* x and y in 16.16 pixels of the bordered picture, measured from the centre of its first pixel. */
static uint64_t sample(const struct source *s, int64_t x, int64_t y)
{
    int64_t max_x = ((int64_t)s->width + 1) << 16, max_y = ((int64_t)s->height + 1) << 16;
    x = x < 0 ? 0 : x >= max_x ? max_x - 1 : x;
    y = y < 0 ? 0 : y >= max_y ? max_y - 1 : y;
    size_t stride = (size_t)s->width + 2;
    const uint64_t *p = s->p + (size_t)(y >> 16) * stride + (size_t)(x >> 16);
    unsigned fx = (unsigned)(x >> 8) & 255, fy = (unsigned)(y >> 8) & 255;
    return mix(mix(p[0], p[1], fx), mix(p[stride], p[stride + 1], fx), fy);
}

/* ---- geometry
 * -------------------------------------------------------------------------------------------------------- */

static double span(struct rng *r, double lo, double hi)
{
    return lo + (hi - lo) * rng_uniform(r);
}

/* Draws the same number of random numbers whatever the options, so that one option does not shift the others. */
static struct map_to_source draw_map(const struct image *im, const struct augment_opt *o, struct rng *r)
{
    double area = rng_uniform(r), aspect = exp(span(r, -0.2876820724517809, 0.2876820724517809)); /* ln 4/3 */
    double ux = rng_uniform(r), uy = rng_uniform(r), turn = span(r, -1, 1), chance = rng_uniform(r);
    double w = im->width, h = im->height;
    if (o->scale_min > 0 && o->scale_min < 1) {
        double side = sqrt(o->scale_min + (1 - o->scale_min) * area);
        w = fmin(w, w * side * sqrt(aspect));
        h = fmin(h, h * side / sqrt(aspect));
    }
    double cx = w / 2 + ux * (im->width - w), cy = h / 2 + uy * (im->height - h);
    double angle = o->rotate * turn * (3.14159265358979323846 / 180), c = cos(angle), s = sin(angle);
    double sign = chance < o->flip ? -1 : 1;
    return (struct map_to_source){sign * w * c, -h * s, cx, sign * w * s, h * c, cy};
}

static void take_view(const struct source *s, const struct map_to_source *m, int k, int size, uint64_t *view)
{
    double one = 65536.0 / k, step = fmax(hypot(m->xx, m->yx), hypot(m->xy, m->yy)) / k / size;
    int n = step > 1.2 ? 2 : 1; /* samples along a side of a pixel */
    int64_t dx = llrint(m->xx * one / size / n), dy = llrint(m->yx * one / size / n);
    for (int y = 0; y < size; y++) {
        uint64_t *out = view + (size_t)y * (size_t)size;
        for (int x = 0; x < size; x++)
            out[x] = 0;
        for (int j = 0; j < n; j++) {
            double v = (y + (j + 0.5) / n) / size - 0.5, u = 0.5 / n / size - 0.5;
            /* + 1/2: the border moves the first pixel by one, its centre by one half back. */
            int64_t px = llrint((m->xx * u + m->xy * v + m->x0) * one + 32768.0);
            int64_t py = llrint((m->yx * u + m->yy * v + m->y0) * one + 32768.0);
            for (int x = 0; x < size; x++)
                for (int i = 0; i < n; i++, px += dx, py += dy)
                    out[x] += sample(s, px, py);
        }
        if (n == 2)
            for (int x = 0; x < size; x++)
                out[x] = (out[x] + 0x0002000200020002u) >> 2 & LANES;
    }
}

/* ---- backgrounds
 * -------------------------------------------------------------------------------------------------------- */

struct colour {
    double v[3];
};

static struct colour draw_colour(struct rng *r)
{
    struct colour c;
    for (int i = 0; i < 3; i++)
        c.v[i] = 255 * rng_uniform(r);
    return c;
}

static void put(uint8_t *p, const struct colour *a, const struct colour *b, double t)
{
    for (int i = 0; i < 3; i++)
        p[i] = (uint8_t)(a->v[i] + (b->v[i] - a->v[i]) * t);
}

static void fill_gradient(uint8_t *bg, int size, struct rng *r)
{
    struct colour a = draw_colour(r), b = draw_colour(r);
    double angle = span(r, 0, 6.283185307179586), c = cos(angle), s = sin(angle), reach = fabs(c) + fabs(s);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            double t = (((x + 0.5) / size - 0.5) * c + ((y + 0.5) / size - 0.5) * s) / reach + 0.5;
            put(bg + ((size_t)y * (size_t)size + (size_t)x) * 3, &a, &b, t < 0 ? 0 : t > 1 ? 1 : t);
        }
}

static void fill_checker(uint8_t *bg, int size, struct rng *r)
{
    struct colour a = draw_colour(r), b = draw_colour(r);
    int cell = (int)span(r, size / 16.0 + 1, size / 3.0 + 2), dx = (int)rng_below(r, (uint64_t)cell * 2),
        dy = (int)rng_below(r, (uint64_t)cell * 2);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            put(bg + ((size_t)y * (size_t)size + (size_t)x) * 3, &a, &b, ((x + dx) / cell + (y + dy) / cell) & 1);
}

/* Value noise: random values on a coarse grid, bilinear between, from one colour to another. */
static void fill_noise(uint8_t *bg, int size, struct rng *r)
{
    struct colour a = draw_colour(r), b = draw_colour(r);
    double grid[9][9];
    int k = 2 + (int)rng_below(r, 7);
    for (int i = 0; i <= k; i++)
        for (int j = 0; j <= k; j++)
            grid[i][j] = rng_uniform(r);
    for (int y = 0; y < size; y++) {
        double gy = (double)y / size * k;
        int iy = (int)gy;
        for (int x = 0; x < size; x++) {
            double gx = (double)x / size * k;
            int ix = (int)gx;
            double fx = gx - ix, fy = gy - iy;
            double t = (grid[iy][ix] * (1 - fx) + grid[iy][ix + 1] * fx) * (1 - fy) +
                       (grid[iy + 1][ix] * (1 - fx) + grid[iy + 1][ix + 1] * fx) * fy;
            put(bg + ((size_t)y * (size_t)size + (size_t)x) * 3, &a, &b, t);
        }
    }
}

static void fill_background(uint8_t *bg, int size, double chance, struct rng *r)
{
    size_t n = (size_t)size * (size_t)size * 3;
    double luck = rng_uniform(r);
    uint64_t kind = rng_below(r, 4);
    if (luck >= chance)
        memset(bg, 255, n);
    else if (kind == 0) {
        struct colour a = draw_colour(r);
        for (size_t i = 0; i < n; i += 3)
            put(bg + i, &a, &a, 0);
    } else if (kind == 1)
        fill_gradient(bg, size, r);
    else if (kind == 2)
        fill_checker(bg, size, r);
    else
        fill_noise(bg, size, r);
}

/* ---- colour
 * ---------------------------------------------------------------------------------------------------------------- */

/* view and background [n] -> rgb [n, 3]. */
static void compose(const uint64_t *view, const uint8_t *bg, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = view[i];
        int free_part = 255 - (int)(v >> 48 & 255);
        for (int c = 0; c < 3; c++) {
            int p = (int)(v >> (16 * c) & 255) - free_part;
            p = (p < 0 ? 0 : p) + (free_part * bg[i * 3 + (size_t)c] * 257 + 32768) / 65536;
            rgb[i * 3 + (size_t)c] = (uint8_t)(p > 255 ? 255 : p);
        }
    }
}

/* Brightness, then contrast about the mean grey, then saturation, each by a factor in 1 -+ jitter: A x + C grey(x) + B.
 */
static void jitter(uint8_t *rgb, size_t n, double strength, struct rng *r)
{
    double fb = 1 + strength * span(r, -1, 1), fc = 1 + strength * span(r, -1, 1), fs = 1 + strength * span(r, -1, 1);
    if (strength <= 0)
        return;
    int64_t total = 0; /* whole numbers: the sum does not depend on how the compiler orders it */
    for (size_t i = 0; i < n * 3; i += 3)
        total += 299 * rgb[i] + 587 * rgb[i + 1] + 114 * rgb[i + 2];
    float mean = (float)((double)total / 1000 / (double)n * fb);
    float a = (float)(fs * fc * fb), c = (float)((1 - fs) * fc * fb), b = mean * (float)(1 - fc) + 0.5f;
    for (size_t i = 0; i < n * 3; i += 3) {
        float add = c * (0.299f * rgb[i] + 0.587f * rgb[i + 1] + 0.114f * rgb[i + 2]) + b;
        for (size_t k = 0; k < 3; k++) {
            float v = a * rgb[i + k] + add;
            rgb[i + k] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    }
}

int augment_image(const struct image *rgb, const uint8_t *alpha, const struct augment_opt *opt, int size, struct rng *r,
                  struct image *out)
{
    BUG_ON(rgb->channels != 3);
    if (size < 1 || size > 4096 || rgb->width < 1 || rgb->height < 1 || rgb->width > MAX_SIDE || rgb->height > MAX_SIDE)
        FAIL(ERR_DATA, "training view of %d pixels from a picture of %d x %d: expected 1 to 4096 from at most %d", size,
             rgb->width, rgb->height, MAX_SIDE);
    struct map_to_source m = draw_map(rgb, opt, r);
    double shrink = fmin(hypot(m.xx, m.yx), hypot(m.xy, m.yy)) / size;
    int k = shrink >= 2 ? (int)shrink : 1;
    size_t n = (size_t)size * (size_t)size;
    struct source s = {0};
    uint64_t *view = mem_alloc(n * sizeof *view);
    uint8_t *bg = mem_alloc(n * 3), *pixels = mem_alloc(n * 3);
    int rc = view && bg && pixels ? source_open(&s, rgb, alpha, k) : ERR_MEMORY;
    if (rc == 0) {
        take_view(&s, &m, k, size, view);
        fill_background(bg, size, alpha ? opt->background : 0, r);
        compose(view, bg, n, pixels);
        jitter(pixels, n, opt->jitter, r);
        *out = (struct image){size, size, 3, pixels};
        pixels = NULL;
    }
    mem_free(s.p);
    mem_free(view);
    mem_free(bg);
    mem_free(pixels);
    return rc;
}
