/* data/resize.c: Pillow's resampling of 8-bit pictures, bit for bit.
 *
 * Every published CLIP score was measured through Pillow, and a resampler that differs by one level in a few pixels
 * moves embeddings by more than fp32 rounding does. What must agree: the support widened by the scale (antialias), the
 * window's borders truncated after adding one half, weights normalised in double and rounded to 22 fractional bits, the
 * sum started at one half, horizontal pass first, rounding and clipping to 0..255 between the passes, a pass left out
 * when its size does not change. Nearest is Pillow's own affine path: the position is accumulated in double, not
 * multiplied. Float weights, libvips' and OpenCV's kernels were rejected: each differs in up to 18 % of the values
 * (golden README, preprocess_clip). */
#include "data/data.h"

#include <math.h>
#include <string.h>

#define PRECISION 22 /* 32 bits less 8 of the value less 2 for overshoot and sign */

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys 1981 with a = -1/2. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= 3.14159265358979323846;
    return sin(x) / x;
}

static double lanczos3(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

struct kernel {
    double (*f)(double x);
    double support;
};

static bool kernel_of(enum resample filter, struct kernel *k)
{
    switch (filter) {
    case RESAMPLE_LANCZOS:
        *k = (struct kernel){lanczos3, 3.0};
        return true;
    case RESAMPLE_BILINEAR:
        *k = (struct kernel){triangle, 1.0};
        return true;
    case RESAMPLE_BICUBIC:
        *k = (struct kernel){cubic, 2.0};
        return true;
    case RESAMPLE_NEAREST:
        break;
    }
    return false;
}

/* For each output position: the first input, how many, and their weights [size, taps]. */
struct weights {
    int taps;
    int *first, *count;
    int32_t *w;
};

static void weights_free(struct weights *k)
{
    mem_free(k->first);
    mem_free(k->count);
    mem_free(k->w);
}

static void weigh_one(struct weights *k, const struct kernel *f, double *row, int at, int in, double scale, double wide)
{
    double center = (at + 0.5) * scale, support = f->support * wide, step = 1.0 / wide, sum = 0.0;
    int from = (int)(center - support + 0.5), to = (int)(center + support + 0.5);
    from = from < 0 ? 0 : from;
    to = to > in ? in : to;
    int n = to - from;
    for (int i = 0; i < n; i++) {
        row[i] = f->f((i + from - center + 0.5) * step);
        sum += row[i];
    }
    int32_t *w = k->w + (size_t)at * (size_t)k->taps;
    for (int i = 0; i < n; i++) {
        double v = (sum != 0.0 ? row[i] / sum : row[i]) * (1 << PRECISION);
        w[i] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
    }
    k->first[at] = from;
    k->count[at] = n;
}

static int weigh(struct weights *k, const struct kernel *f, int in, int out)
{
    double scale = (double)in / out, wide = scale < 1.0 ? 1.0 : scale;
    size_t n;
    k->taps = (int)ceil(f->support * wide) * 2 + 1;
    if (!mul_ok((size_t)k->taps, (size_t)out, &n))
        FAIL(ERR_DATA, "resize from %d to %d pixels: too large", in, out);
    double *row = mem_alloc((size_t)k->taps * sizeof *row);
    k->first = mem_alloc((size_t)out * sizeof *k->first);
    k->count = mem_alloc((size_t)out * sizeof *k->count);
    k->w = mem_calloc(n, sizeof *k->w);
    int rc = row && k->first && k->count && k->w ? 0 : ERR_MEMORY;
    for (int i = 0; i < out && rc == 0; i++)
        weigh_one(k, f, row, i, in, scale, wide);
    mem_free(row);
    return rc;
}

static uint8_t clip8(int32_t sum)
{
    int32_t v = sum >> PRECISION; /* arithmetic shift on every compiler we name */
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row, [w, c] -> [out_w, c]. */
static void row_across(uint8_t *o, int out_w, const uint8_t *row, int c, const struct weights *k)
{
    for (int x = 0; x < out_w; x++) {
        const int32_t *w = k->w + (size_t)x * (size_t)k->taps;
        const uint8_t *p = row + (size_t)k->first[x] * (size_t)c;
        int32_t sum[4] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1)};
        for (int i = 0; i < k->count[x]; i++, p += c)
            for (int j = 0; j < c; j++)
                sum[j] += p[j] * w[i];
        for (int j = 0; j < c; j++)
            *o++ = clip8(sum[j]);
    }
}

/* The same for three channels, which is nearly all there is; the sums stay in registers. */
static void row_across_rgb(uint8_t *o, int out_w, const uint8_t *row, const struct weights *k)
{
    for (int x = 0; x < out_w; x++, o += 3) {
        const int32_t *w = k->w + (size_t)x * (size_t)k->taps;
        const uint8_t *p = row + (size_t)k->first[x] * 3;
        int32_t r = 1 << (PRECISION - 1), g = r, b = r;
        for (int i = 0; i < k->count[x]; i++, p += 3) {
            r += p[0] * w[i];
            g += p[1] * w[i];
            b += p[2] * w[i];
        }
        o[0] = clip8(r);
        o[1] = clip8(g);
        o[2] = clip8(b);
    }
}

/* in [h, w, c] -> out [h, k.size, c]. Rows [from, to) only, those the vertical pass will read. */
static void pass_across(uint8_t *out, int out_w, const struct image *in, const struct weights *k, int from, int to)
{
    size_t c = (size_t)in->channels;
    for (int y = from; y < to; y++) {
        const uint8_t *row = in->pixels + (size_t)y * (size_t)in->width * c;
        uint8_t *o = out + (size_t)y * (size_t)out_w * c;
        if (c == 3)
            row_across_rgb(o, out_w, row, k);
        else
            row_across(o, out_w, row, in->channels, k);
    }
}

/* in [h, n] -> out [k.size, n], n bytes a row. sum [n] is scratch. */
static void pass_down(uint8_t *out, int out_h, const uint8_t *in, size_t n, const struct weights *k, int32_t *sum)
{
    for (int y = 0; y < out_h; y++) {
        const int32_t *w = k->w + (size_t)y * (size_t)k->taps;
        for (size_t x = 0; x < n; x++)
            sum[x] = 1 << (PRECISION - 1);
        for (int i = 0; i < k->count[y]; i++) {
            const uint8_t *row = in + (size_t)(k->first[y] + i) * n;
            int32_t wi = w[i];
            for (size_t x = 0; x < n; x++)
                sum[x] += row[x] * wi;
        }
        uint8_t *o = out + (size_t)y * n;
        for (size_t x = 0; x < n; x++)
            o[x] = clip8(sum[x]);
    }
}

static int nearest(uint8_t *out, int out_w, int out_h, const struct image *in)
{
    size_t c = (size_t)in->channels;
    int *xs = mem_alloc((size_t)out_w * sizeof *xs);
    if (!xs)
        return ERR_MEMORY;
    double step = (double)in->width / out_w, at = step * 0.5;
    for (int x = 0; x < out_w; x++, at += step)
        xs[x] = (int)at < in->width ? (int)at : in->width - 1;
    step = (double)in->height / out_h;
    at = step * 0.5;
    for (int y = 0; y < out_h; y++, at += step) {
        int from = (int)at < in->height ? (int)at : in->height - 1;
        const uint8_t *row = in->pixels + (size_t)from * (size_t)in->width * c;
        for (int x = 0; x < out_w; x++, out += c)
            memcpy(out, row + (size_t)xs[x] * c, c);
    }
    mem_free(xs);
    return 0;
}

/* Both passes; either may be absent. */
static int two_passes(uint8_t *out, int out_w, int out_h, const struct image *in, const struct kernel *f)
{
    struct weights across = {0}, down = {0};
    bool has_across = out_w != in->width, has_down = out_h != in->height;
    size_t n = (size_t)out_w * (size_t)in->channels;
    uint8_t *mid = NULL;
    int32_t *sum = NULL;
    int rc = 0, from = 0, to = in->height;
    if (has_across)
        rc = weigh(&across, f, in->width, out_w);
    if (rc == 0 && has_down)
        rc = weigh(&down, f, in->height, out_h);
    if (rc == 0 && has_down) {
        from = down.first[0];
        to = down.first[out_h - 1] + down.count[out_h - 1];
        sum = mem_alloc(n * sizeof *sum);
        mid = has_across ? mem_alloc(n * (size_t)in->height) : NULL;
        rc = sum && (mid || !has_across) ? 0 : ERR_MEMORY;
    }
    if (rc == 0 && has_across)
        pass_across(has_down ? mid : out, out_w, in, &across, from, to);
    if (rc == 0 && has_down)
        pass_down(out, out_h, has_across ? mid : in->pixels, n, &down, sum);
    if (rc == 0 && !has_across && !has_down)
        memcpy(out, in->pixels, n * (size_t)in->height);
    weights_free(&across);
    weights_free(&down);
    mem_free(mid);
    mem_free(sum);
    return rc;
}

int resize_u8(struct image *out, const struct image *in, int width, int height, enum resample filter)
{
    struct kernel f;
    int64_t side = limit_get(LIMIT_SIDE);
    if (width < 1 || height < 1 || width > side || height > side || in->width < 1 || in->height < 1 ||
        in->channels < 1 || in->channels > 4)
        FAIL(ERR_DATA,
             "resize from %d x %d to %d x %d pixels, %d channels: expected sides of 1 to %lld, 1 to 4 channels",
             in->width, in->height, width, height, in->channels, (long long)side);
    if ((int64_t)width * height > limit_get(LIMIT_PIXELS))
        FAIL(ERR_DATA, "resize to %d x %d: more than %lld pixels (limit pixels)", width, height,
             (long long)limit_get(LIMIT_PIXELS));
    if (filter != RESAMPLE_NEAREST && !kernel_of(filter, &f))
        FAIL(ERR_UNSUPPORTED, "resample filter %d: expected 0 nearest, 1 lanczos, 2 bilinear or 3 bicubic",
             (int)filter);
    struct image im = {width, height, in->channels, NULL};
    im.pixels = mem_alloc((size_t)width * (size_t)height * (size_t)in->channels);
    if (!im.pixels)
        return ERR_MEMORY;
    int rc = filter == RESAMPLE_NEAREST ? nearest(im.pixels, width, height, in)
                                        : two_passes(im.pixels, width, height, in, &f);
    if (rc < 0) {
        mem_free(im.pixels);
        return rc;
    }
    *out = im;
    return 0;
}
