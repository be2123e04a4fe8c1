/* data/resize.c: Pillow's resampling of 8-bit pictures, bit for bit, while their rows arrive.
 *
 * Every published CLIP score was measured through Pillow, and a resampler that differs by one level in a few pixels
 * moves embeddings by more than fp32 rounding does. What must agree: the support widened by the scale (antialias), the
 * window's borders truncated after adding one half, weights normalised in double and rounded to 22 fractional bits, the
 * sum started at one half, horizontal pass first, rounding and clipping to 0..255 between the passes, a pass left out
 * when its size does not change. Nearest is Pillow's own affine path: the position is accumulated in double, not
 * multiplied. Gray of 16 bits takes Pillow's 32-bit path: double sums, rounded to integers between the passes.
 *
 * The horizontal pass is done as rows come, so the picture need not exist whole: what is kept has the width of the
 * result. Only the wanted box (the crop) is computed, from the rows and columns it needs.
 * Rejected: float weights, libvips' and OpenCV's kernels: each differs in up to 18 % of the values (golden values of
 * preprocess_clip). */
#include "data/resize.h"

#include <math.h>
#include <string.h>

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
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

static double hamming(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= 3.14159265358979323846;
    return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* single precision is Pillow's */
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
    static const struct kernel kernels[] = {[RESAMPLE_LANCZOS] = {lanczos3, 3.0},
                                            [RESAMPLE_BILINEAR] = {triangle, 1.0},
                                            [RESAMPLE_BICUBIC] = {cubic, 2.0},
                                            [RESAMPLE_BOX] = {box, 0.5},
                                            [RESAMPLE_HAMMING] = {hamming, 1.0}};
    if ((int)filter < 0 || (size_t)filter >= ARRAY_LEN(kernels) || !kernels[filter].f)
        return false;
    *k = kernels[filter];
    return true;
}

/* ---- weights ---- */

static void weights_free(struct resize_weights *k)
{
    mem_free(k->first);
    mem_free(k->count);
    mem_free(k->w);
    mem_free(k->real);
}

static void weigh_one(struct resize_weights *k, const struct kernel *f, int at, int in, double scale, double wide)
{
    double center = (at + 0.5) * scale, support = f->support * wide, step = 1.0 / wide, sum = 0.0;
    int from = (int)(center - support + 0.5), to = (int)(center + support + 0.5);
    from = from < 0 ? 0 : from;
    to = to > in ? in : to;
    int n = to - from;
    double *row = k->real + (size_t)at * (size_t)k->taps;
    int32_t *w = k->w + (size_t)at * (size_t)k->taps;
    for (int i = 0; i < n; i++) {
        row[i] = f->f((i + from - center + 0.5) * step);
        sum += row[i];
    }
    for (int i = 0; i < n; i++) {
        row[i] = sum != 0.0 ? row[i] / sum : row[i];
        double v = row[i] * (1 << RESIZE_PRECISION);
        w[i] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
    }
    k->first[at] = from;
    k->count[at] = n;
}

/* For outputs [at, at + n) of `out`. */
static int weigh(struct resize_weights *k, const struct kernel *f, int in, int out, int at, int n)
{
    double scale = (double)in / out, wide = scale < 1.0 ? 1.0 : scale;
    size_t all;
    k->taps = (int)ceil(f->support * wide) * 2 + 1;
    if (!mul_ok((size_t)k->taps, (size_t)(at + n), &all))
        FAIL(ERR_DATA, "resize from %d to %d pixels: too large", in, out);
    k->first = mem_alloc((size_t)(at + n) * sizeof *k->first);
    k->count = mem_alloc((size_t)(at + n) * sizeof *k->count);
    k->w = mem_alloc(all * sizeof *k->w);
    k->real = mem_alloc(all * sizeof *k->real);
    if (!k->first || !k->count || !k->w || !k->real)
        return ERR_MEMORY;
    for (int i = at; i < at + n; i++)
        weigh_one(k, f, i, in, scale, wide);
    return 0;
}

/* ---- rows ---- */

struct resizer {
    struct resize_plan plan;
    const struct resize_loops *loops;
    bool nearest, has_across, has_down;
    struct resize_weights across, down;
    int *columns, *from_row; /* nearest: input column and row of each output of the box */
    int from, to;            /* input rows that are needed */
    int y, done;             /* next input row; rows of mid */
    size_t row;              /* bytes of one row of mid */
    uint8_t *mid;            /* [to - from, box_width, channels]; nearest: the result */
    int32_t *mid_wide;       /* the same when wide */
    uint8_t *scratch;
};

static const struct resize_loops *loops(void)
{
#ifdef RESIZE_HAS_AVX2
    if (__builtin_cpu_supports("avx2"))
        return &resize_loops_avx2;
#endif
    return &resize_loops_base;
}

/* Positions of Pillow's affine transform: added up, in double. */
static int *affine(int in, int out, int at, int n)
{
    int *v = mem_alloc((size_t)n * sizeof *v);
    double step = (double)in / out, pos = step * 0.5;
    for (int i = 0; v && i < at + n; i++, pos += step)
        if (i >= at)
            v[i - at] = (int)pos < in ? (int)pos : in - 1;
    return v;
}

static int open_nearest(struct resizer *r)
{
    const struct resize_plan *p = &r->plan;
    r->columns = affine(p->in_width, p->width, p->left, p->box_width);
    r->from_row = affine(p->in_height, p->height, p->top, p->box_height);
    r->mid = mem_alloc(r->row * (size_t)p->box_height);
    return r->columns && r->from_row && r->mid ? 0 : ERR_MEMORY;
}

static int open_passes(struct resizer *r, const struct kernel *f)
{
    const struct resize_plan *p = &r->plan;
    r->has_across = p->width != p->in_width;
    r->has_down = p->height != p->in_height;
    r->from = p->top;
    r->to = p->top + p->box_height;
    if (r->has_across)
        TRY(weigh(&r->across, f, p->in_width, p->width, p->left, p->box_width));
    if (r->has_down) {
        int last = p->top + p->box_height - 1;
        TRY(weigh(&r->down, f, p->in_height, p->height, p->top, p->box_height));
        r->from = r->down.first[p->top];
        r->to = r->down.first[last] + r->down.count[last];
    }
    size_t n = (size_t)(r->to - r->from);
    if (p->wide)
        r->mid_wide = mem_calloc(n, (size_t)p->box_width * sizeof *r->mid_wide);
    else
        r->mid = mem_alloc(r->row * n);
    if (r->has_across)
        r->scratch = mem_alloc(resize_scratch(&r->across, p->channels));
    return (r->mid || r->mid_wide) && (r->scratch || !r->has_across) ? 0 : ERR_MEMORY;
}

int resizer_open(struct resizer **out, const struct resize_plan *plan)
{
    struct kernel f = {0};
    BUG_ON(plan->box_width < 1 || plan->box_height < 1 || plan->left < 0 || plan->top < 0 ||
           plan->left + plan->box_width > plan->width || plan->top + plan->box_height > plan->height);
    if (plan->filter != RESAMPLE_NEAREST && !kernel_of(plan->filter, &f))
        FAIL(ERR_UNSUPPORTED, "resample filter %d: expected one of Pillow's, 0 to 5", (int)plan->filter);
    struct resizer *r = mem_calloc(1, sizeof *r);
    if (!r)
        return ERR_MEMORY;
    r->plan = *plan;
    r->loops = loops();
    r->nearest = plan->filter == RESAMPLE_NEAREST;
    r->row = (size_t)plan->box_width * (size_t)plan->channels;
    int rc = r->nearest ? open_nearest(r) : open_passes(r, &f);
    if (rc < 0)
        resizer_close(&r);
    else
        *out = r;
    return rc;
}

void resizer_close(struct resizer **p)
{
    struct resizer *r = *p;
    if (!r)
        return;
    weights_free(&r->across);
    weights_free(&r->down);
    mem_free(r->columns);
    mem_free(r->from_row);
    mem_free(r->mid);
    mem_free(r->mid_wide);
    mem_free(r->scratch);
    mem_free(r);
    *p = NULL;
}

static uint8_t clip8(int32_t sum)
{
    int32_t v = sum >> RESIZE_PRECISION;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row; for what is left of a block of rows. */
static void across_one(const struct resizer *r, uint8_t *o, const uint8_t *row)
{
    int c = r->plan.channels;
    const struct resize_weights *k = &r->across;
    for (int x = r->plan.left; x < r->plan.left + r->plan.box_width; x++) {
        const int32_t *w = k->w + (size_t)x * (size_t)k->taps;
        const uint8_t *p = row + (size_t)k->first[x] * (size_t)c;
        for (int j = 0; j < c; j++) {
            int32_t sum = 1 << (RESIZE_PRECISION - 1);
            for (int i = 0; i < k->count[x]; i++)
                sum += p[i * c + j] * w[i];
            *o++ = clip8(sum);
        }
    }
}

static int32_t round_up(double v)
{
    return (int32_t)(v >= 0.0 ? v + 0.5 : v - 0.5);
}

static void across_wide(const struct resizer *r, int32_t *o, const uint8_t *row)
{
    const struct resize_weights *k = &r->across;
    for (int x = r->plan.left; x < r->plan.left + r->plan.box_width; x++) {
        const uint8_t *p = row + (size_t)(r->has_across ? k->first[x] : x) * 2;
        double sum = 0.0;
        for (int i = 0; r->has_across && i < k->count[x]; i++)
            sum += (double)(p[i * 2] | p[i * 2 + 1] << 8) * k->real[(size_t)x * (size_t)k->taps + (size_t)i];
        *o++ = r->has_across ? round_up(sum) : p[0] | p[1] << 8;
    }
}

static void nearest_row(struct resizer *r, const uint8_t *row)
{
    size_t c = (size_t)r->plan.channels;
    for (; r->done < r->plan.box_height && r->from_row[r->done] == r->y; r->done++) {
        uint8_t *o = r->mid + r->row * (size_t)r->done;
        for (int x = 0; x < r->plan.box_width; x++, o += c)
            memcpy(o, row + (size_t)r->columns[x] * c, c);
    }
}

void resizer_rows(struct resizer *r, const uint8_t *rows, int n)
{
    const struct resize_plan *p = &r->plan;
    size_t c = (size_t)p->channels, stride = (size_t)p->in_width * c;
    for (int used; n > 0; n -= used, r->y += used, rows += stride * (size_t)used) {
        used = 1;
        if (r->nearest) {
            nearest_row(r, rows);
            continue;
        }
        if (r->y < r->from || r->y >= r->to)
            continue;
        uint8_t *o = p->wide ? NULL : r->mid + r->row * (size_t)r->done;
        if (p->wide) {
            across_wide(r, r->mid_wide + (size_t)p->box_width * (size_t)r->done, rows);
        } else if (!r->has_across) {
            memcpy(o, rows + (size_t)p->left * c, r->row);
        } else if (n >= RESIZE_LANES && r->y + RESIZE_LANES <= r->to) {
            used = RESIZE_LANES;
            r->loops->across(o, r->row, rows, stride, p->channels, &r->across, p->left, p->box_width, r->scratch);
        } else {
            across_one(r, o, rows);
        }
        r->done += used;
    }
}

static void finish_wide(const struct resizer *r, uint8_t *out)
{
    const struct resize_weights *k = &r->down;
    size_t w = (size_t)r->plan.box_width;
    for (int y = r->plan.top; y < r->plan.top + r->plan.box_height; y++)
        for (size_t x = 0; x < w; x++) {
            const int32_t *p = r->mid_wide + (size_t)((r->has_down ? k->first[y] : y) - r->from) * w + x;
            double sum = 0.0;
            for (int i = 0; r->has_down && i < k->count[y]; i++)
                sum += p[(size_t)i * w] * k->real[(size_t)y * (size_t)k->taps + (size_t)i];
            int32_t v = r->has_down ? round_up(sum) : *p;
            *out++ = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
}

void resizer_finish(struct resizer *r, uint8_t *out)
{
    const struct resize_plan *p = &r->plan;
    const struct resize_weights *k = &r->down;
    BUG_ON(r->y != p->in_height);
    if (p->wide) {
        finish_wide(r, out);
        return;
    }
    if (r->nearest || !r->has_down) {
        memcpy(out, r->mid, r->row * (size_t)p->box_height);
        return;
    }
    for (int y = p->top; y < p->top + p->box_height; y++, out += r->row)
        r->loops->down(out, r->mid + r->row * (size_t)(k->first[y] - r->from), r->row,
                       k->w + (size_t)y * (size_t)k->taps, k->count[y]);
}

int resize_u8(struct image *out, const struct image *in, int width, int height, enum resample filter)
{
    int64_t side = limit_get(LIMIT_SIDE);
    if (width < 1 || height < 1 || width > side || height > side || in->width < 1 || in->height < 1 ||
        in->channels < 1 || in->channels > 4)
        FAIL(ERR_DATA,
             "resize from %d x %d to %d x %d pixels, %d channels: expected sides of 1 to %lld, 1 to 4 channels",
             in->width, in->height, width, height, in->channels, (long long)side);
    if ((int64_t)width * height > limit_get(LIMIT_PIXELS))
        FAIL(ERR_DATA, "resize to %d x %d: more than %lld pixels (limit pixels)", width, height,
             (long long)limit_get(LIMIT_PIXELS));
    struct resizer *r = NULL;
    struct image im = {width, height, in->channels, NULL};
    TRY(resizer_open(&r, &(struct resize_plan){.in_width = in->width,
                                               .in_height = in->height,
                                               .channels = in->channels,
                                               .width = width,
                                               .height = height,
                                               .box_width = width,
                                               .box_height = height,
                                               .filter = filter}));
    im.pixels = mem_alloc((size_t)width * (size_t)height * (size_t)in->channels);
    if (im.pixels) {
        resizer_rows(r, in->pixels, in->height);
        resizer_finish(r, im.pixels);
        *out = im;
    }
    resizer_close(&r);
    return im.pixels ? 0 : ERR_MEMORY;
}
