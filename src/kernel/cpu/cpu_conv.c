/* kernel/cpu/cpu_conv.c: convolution as a matrix product (im2col), average pooling, pairwise distances.
 *
 * A picture is unrolled into columns [C kh kw, oh ow], one row of columns being one shifted copy of the picture; then
 * y = W columns, dW += dy columns^T, dcolumns = W^T dy. A 1x1 convolution of stride 1 needs no columns. Threads share
 * the channels; two threads never add to the same number. Rejected: oneDNN's convolutions, fast only on blocked layouts
 * that the rest of the engine does not speak, so that every call would pay two reorders.
 *
 * Distances are sums of squared differences, not |a|^2 + |b|^2 - 2ab, which loses every digit for near neighbours. */
#include "kernel/cpu/cpu.h"

#include <string.h>

static bool is_plain(const struct conv_dims *d)
{
    return d->k_h == 1 && d->k_w == 1 && d->stride == 1 && d->pad == 0;
}

/* First and one past the last output place whose input place o * stride + offset lies in [0, n). */
static void valid_range(int64_t n_out, int64_t n, int64_t stride, int64_t offset, int64_t *from, int64_t *to)
{
    int64_t lo = offset < 0 ? (-offset + stride - 1) / stride : 0;
    int64_t hi = n - offset <= 0 ? 0 : (n - offset - 1) / stride + 1;
    *to = hi < n_out ? hi : n_out;
    *from = lo < *to ? lo : *to;
}

/* One row of columns: channel c seen through kernel place (u, v). `back` adds the row to the picture instead. */
static void shift_plane(const struct conv_dims *d, int64_t u, int64_t v, float *plane, float *row, bool back)
{
    int64_t i0, i1, j0, j1, s = d->stride;
    valid_range(d->out_h, d->in_h, s, u - d->pad, &i0, &i1);
    valid_range(d->out_w, d->in_w, s, v - d->pad, &j0, &j1);
    if (!back && (i1 - i0) * (j1 - j0) < d->out_h * d->out_w)
        memset(row, 0, (size_t)(d->out_h * d->out_w) * sizeof *row);
    for (int64_t i = i0; i < i1; i++) {
        float *x = plane + (i * s + u - d->pad) * d->in_w + v - d->pad, *y = row + i * d->out_w;
        if (back) {
            for (int64_t j = j0; j < j1; j++)
                x[j * s] += y[j];
        } else if (s == 1) {
            memcpy(y + j0, x + j0, (size_t)(j1 - j0) * sizeof *y);
        } else {
            for (int64_t j = j0; j < j1; j++)
                y[j] = x[j * s];
        }
    }
}

static void unroll(const struct engine *e, const struct conv_dims *d, float *picture, float *columns, bool back)
{
    int64_t window = d->k_h * d->k_w, places = d->out_h * d->out_w;
#pragma omp parallel for schedule(static) num_threads(e->threads) if (d->in_c * window * places >= 32768)
    for (int64_t c = 0; c < d->in_c; c++)
        for (int64_t w = 0; w < window; w++)
            shift_plane(d, w / d->k_w, w % d->k_w, picture + c * d->in_h * d->in_w, columns + (c * window + w) * places,
                        back);
}

static int cpu_conv2d_fwd(const struct engine *e, const struct conv_dims *d, const void *x_, const void *w,
                          const void *bias_, void *y_)
{
    int64_t k = d->in_c * d->k_h * d->k_w, places = d->out_h * d->out_w, plane = d->in_c * d->in_h * d->in_w;
    struct matmul_dims p = {.batch = 1, .m = d->out_c, .n = places, .k = k, .alpha = 1.0};
    const float *bias = bias_;
    float *columns = is_plain(d) ? NULL : cpu_scratch(SCRATCH_COLUMNS, (size_t)(k * places) * sizeof *columns);
    if (!columns && !is_plain(d))
        return ERR_MEMORY;
    for (int64_t b = 0; b < d->batch; b++) {
        float *x = (float *)(uintptr_t)x_ + b * plane, *y = (float *)y_ + b * d->out_c * places;
        if (columns)
            unroll(e, d, x, columns, false);
        if (bias) {
            for (int64_t o = 0; o < d->out_c; o++)
                e->fill(e, y + o * places, (double)bias[o], places);
            p.beta = 1.0;
        }
        TRY(e->matmul(e, &p, w, columns ? columns : x, y));
    }
    return 0;
}

static void conv_bias_grad(const struct conv_dims *d, const float *dy, float *dbias)
{
    int64_t places = d->out_h * d->out_w;
    for (int64_t o = 0; o < d->out_c; o++) {
        double sum = 0.0;
        for (int64_t b = 0; b < d->batch; b++)
            for (int64_t i = 0; i < places; i++)
                sum += (double)dy[(b * d->out_c + o) * places + i];
        dbias[o] += (float)sum;
    }
}

static int cpu_conv2d_bwd(const struct engine *e, const struct conv_dims *d, const void *x_, const void *w,
                          const void *dy_, void *dx_, void *dw, void *dbias)
{
    int64_t k = d->in_c * d->k_h * d->k_w, places = d->out_h * d->out_w, plane = d->in_c * d->in_h * d->in_w;
    struct matmul_dims for_w = {.batch = 1, .m = d->out_c, .n = k, .k = places, .tb = true, .alpha = 1.0, .beta = 1.0};
    struct matmul_dims for_x = {.batch = 1, .m = k, .n = places, .k = d->out_c, .ta = true, .alpha = 1.0};
    float *columns = is_plain(d) ? NULL : cpu_scratch(SCRATCH_COLUMNS, (size_t)(k * places) * sizeof *columns);
    if (!columns && !is_plain(d))
        return ERR_MEMORY;
    for_x.beta = columns ? 0.0 : 1.0;
    for (int64_t b = 0; b < d->batch; b++) {
        float *x = (float *)(uintptr_t)x_ + b * plane, *dx = dx_ ? (float *)dx_ + b * plane : NULL;
        const float *dy = (const float *)dy_ + b * d->out_c * places;
        if (dw) {
            if (columns)
                unroll(e, d, x, columns, false);
            TRY(e->matmul(e, &for_w, dy, columns ? columns : x, dw));
        }
        if (dx) {
            TRY(e->matmul(e, &for_x, w, dy, columns ? columns : dx));
            if (columns)
                unroll(e, d, dx, columns, true);
        }
    }
    if (dbias)
        conv_bias_grad(d, dy_, dbias);
    return 0;
}

/* ---- average pooling ----------------------------------------------------------------------------------------------
 */

static void cpu_avg_pool_fwd(const struct engine *e, const struct pool_dims *d, const void *x_, void *y_)
{
    int64_t planes = d->batch * d->channels, places = d->out_h * d->out_w;
    float share = 1.0f / (float)(d->k * d->k);
#pragma omp parallel for schedule(static) num_threads(e->threads) if (planes * d->in_h * d->in_w >= 32768)
    for (int64_t p = 0; p < planes; p++) {
        const float *x = (const float *)x_ + p * d->in_h * d->in_w;
        float *y = (float *)y_ + p * places;
        for (int64_t i = 0; i < places; i++) {
            const float *from = x + i / d->out_w * d->stride * d->in_w + i % d->out_w * d->stride;
            float sum = 0.0f;
            for (int64_t u = 0; u < d->k; u++)
                for (int64_t v = 0; v < d->k; v++)
                    sum += from[u * d->in_w + v];
            y[i] = sum * share;
        }
    }
}

static void cpu_avg_pool_bwd(const struct engine *e, const struct pool_dims *d, const void *dy_, void *dx_)
{
    int64_t planes = dx_ ? d->batch * d->channels : 0, places = d->out_h * d->out_w;
    float share = 1.0f / (float)(d->k * d->k);
#pragma omp parallel for schedule(static) num_threads(e->threads) if (planes * d->in_h * d->in_w >= 32768)
    for (int64_t p = 0; p < planes; p++) {
        const float *dy = (const float *)dy_ + p * places;
        float *dx = (float *)dx_ + p * d->in_h * d->in_w;
        for (int64_t i = 0; i < places; i++) {
            float *to = dx + i / d->out_w * d->stride * d->in_w + i % d->out_w * d->stride;
            for (int64_t u = 0; u < d->k; u++)
                for (int64_t v = 0; v < d->k; v++)
                    to[u * d->in_w + v] += dy[i] * share;
        }
    }
}

/* ---- distances ------------------------------------------------------------------------------------------------------
 */

/* da [n, d] += 2 (rowsum(g) a - g b) for g [n, m]; t: g is stored [m, n] */
static int distance_side(const struct engine *e, int64_t n, int64_t m, int64_t d, bool t, const float *g,
                         const float *a, const void *b, float *da)
{
    struct matmul_dims p = {.batch = 1, .m = n, .n = d, .k = m, .ta = t, .alpha = -2.0, .beta = 1.0};
    float *sum = cpu_scratch(SCRATCH_COLUMNS, (size_t)n * sizeof *sum);
    if (!sum)
        return ERR_MEMORY;
    e->reduce_fwd(e, RED_SUM, t ? 1 : n, m, t ? n : 1, g, sum);
    for (int64_t i = 0; i < n; i++)
        e->axpy(e, 2.0 * (double)sum[i], a + i * d, da + i * d, d);
    return e->matmul(e, &p, g, b, da);
}

static int cpu_distance_bwd(const struct engine *e, int64_t n, int64_t m, int64_t d, const void *a, const void *b,
                            const void *dy, void *da, void *db)
{
    if (da)
        TRY(distance_side(e, n, m, d, false, dy, a, b, da));
    if (db)
        TRY(distance_side(e, m, n, d, true, dy, b, a, db));
    return 0;
}

void cpu_conv_fill(struct engine *e)
{
    e->conv2d_fwd = cpu_conv2d_fwd;
    e->conv2d_bwd = cpu_conv2d_bwd;
    e->avg_pool_fwd = cpu_avg_pool_fwd;
    e->avg_pool_bwd = cpu_avg_pool_bwd;
    e->distance_bwd = cpu_distance_bwd;
}
