/* kernel/ref/ref_conv_tmpl.c: 2-D convolution (cross-correlation, as everybody means by it) and average pooling.
 *
 * x [B, C, H, W], w [O, C, kh, kw], y [B, O, oh, ow]:
 *   y[b, o, i, j] = bias[o] + sum over c, u, v of w[o, c, u, v] x[b, c, i stride + u - pad, j stride + v - pad].
 * Every slot loops over its own output and gathers, in double. Rejected: im2col, which hides the formula. */
#include "kernel/ref/ref_tmpl.h"

static int64_t x_at(const struct conv_dims *d, int64_t b, int64_t c, int64_t h, int64_t w)
{
    return ((b * d->in_c + c) * d->in_h + h) * d->in_w + w;
}

static int64_t w_at(const struct conv_dims *d, int64_t o, int64_t c, int64_t u, int64_t v)
{
    return ((o * d->in_c + c) * d->k_h + u) * d->k_w + v;
}

static int64_t y_at(const struct conv_dims *d, int64_t b, int64_t o, int64_t i, int64_t j)
{
    return ((b * d->out_c + o) * d->out_h + i) * d->out_w + j;
}

static bool inside(int64_t i, int64_t n)
{
    return i >= 0 && i < n;
}

static double conv_point(const struct conv_dims *d, const REAL *x, const REAL *w, int64_t b, int64_t o, int64_t i,
                         int64_t j)
{
    double sum = 0;
    for (int64_t c = 0; c < d->in_c; c++) {
        for (int64_t u = 0; u < d->k_h; u++) {
            for (int64_t v = 0; v < d->k_w; v++) {
                int64_t h = i * d->stride + u - d->pad, q = j * d->stride + v - d->pad;
                if (inside(h, d->in_h) && inside(q, d->in_w))
                    sum += (double)w[w_at(d, o, c, u, v)] * (double)x[x_at(d, b, c, h, q)];
            }
        }
    }
    return sum;
}

static int ref_conv2d_fwd(const struct engine *e, const struct conv_dims *d, const void *x, const void *w,
                          const void *vbias, void *vy)
{
    const REAL *bias = vbias;
    REAL *y = vy;
    for (int64_t b = 0; b < d->batch; b++)
        for (int64_t o = 0; o < d->out_c; o++)
            for (int64_t i = 0; i < d->out_h; i++)
                for (int64_t j = 0; j < d->out_w; j++)
                    y[y_at(d, b, o, i, j)] = (REAL)(conv_point(d, x, w, b, o, i, j) + (bias ? (double)bias[o] : 0));
    return 0;
}

/* The output place that reads input h through kernel row u; false when there is none. */
static bool source(int64_t h, int64_t u, const struct conv_dims *d, int64_t n_out, int64_t *i)
{
    int64_t shifted = h + d->pad - u;
    *i = shifted / d->stride;
    return shifted >= 0 && shifted % d->stride == 0 && *i < n_out;
}

static double conv_dx_point(const struct conv_dims *d, const REAL *w, const REAL *dy, int64_t b, int64_t c, int64_t h,
                            int64_t q)
{
    double sum = 0;
    for (int64_t u = 0; u < d->k_h; u++) {
        for (int64_t v = 0; v < d->k_w; v++) {
            int64_t i, j;
            if (!source(h, u, d, d->out_h, &i) || !source(q, v, d, d->out_w, &j))
                continue;
            for (int64_t o = 0; o < d->out_c; o++)
                sum += (double)w[w_at(d, o, c, u, v)] * (double)dy[y_at(d, b, o, i, j)];
        }
    }
    return sum;
}

static double conv_dw_point(const struct conv_dims *d, const REAL *x, const REAL *dy, int64_t o, int64_t c, int64_t u,
                            int64_t v)
{
    double sum = 0;
    for (int64_t b = 0; b < d->batch; b++) {
        for (int64_t i = 0; i < d->out_h; i++) {
            for (int64_t j = 0; j < d->out_w; j++) {
                int64_t h = i * d->stride + u - d->pad, q = j * d->stride + v - d->pad;
                if (inside(h, d->in_h) && inside(q, d->in_w))
                    sum += (double)dy[y_at(d, b, o, i, j)] * (double)x[x_at(d, b, c, h, q)];
            }
        }
    }
    return sum;
}

static void conv_dbias(const struct conv_dims *d, const REAL *dy, REAL *dbias)
{
    for (int64_t o = 0; o < d->out_c; o++) {
        double sum = 0;
        for (int64_t b = 0; b < d->batch; b++)
            for (int64_t i = 0; i < d->out_h * d->out_w; i++)
                sum += (double)dy[y_at(d, b, o, 0, 0) + i];
        dbias[o] += (REAL)sum;
    }
}

static int ref_conv2d_bwd(const struct engine *e, const struct conv_dims *d, const void *x, const void *w,
                          const void *dy, void *vdx, void *vdw, void *dbias)
{
    REAL *dx = vdx, *dw = vdw;
    for (int64_t b = 0; dx && b < d->batch; b++)
        for (int64_t c = 0; c < d->in_c; c++)
            for (int64_t h = 0; h < d->in_h; h++)
                for (int64_t q = 0; q < d->in_w; q++)
                    dx[x_at(d, b, c, h, q)] += (REAL)conv_dx_point(d, w, dy, b, c, h, q);
    for (int64_t o = 0; dw && o < d->out_c; o++)
        for (int64_t c = 0; c < d->in_c; c++)
            for (int64_t u = 0; u < d->k_h; u++)
                for (int64_t v = 0; v < d->k_w; v++)
                    dw[w_at(d, o, c, u, v)] += (REAL)conv_dw_point(d, x, dy, o, c, u, v);
    if (dbias)
        conv_dbias(d, dy, dbias);
    return 0;
}

/* ---- average pooling: windows k x k, `stride` apart, no padding ---- */

static int64_t pool_x_at(const struct pool_dims *d, int64_t plane, int64_t h, int64_t w)
{
    return (plane * d->in_h + h) * d->in_w + w;
}

static void ref_avg_pool_fwd(const struct engine *e, const struct pool_dims *d, const void *vx, void *vy)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t plane = 0; plane < d->batch * d->channels; plane++) {
        for (int64_t i = 0; i < d->out_h * d->out_w; i++) {
            int64_t top = i / d->out_w * d->stride, left = i % d->out_w * d->stride;
            double sum = 0;
            for (int64_t u = 0; u < d->k; u++)
                for (int64_t v = 0; v < d->k; v++)
                    sum += (double)x[pool_x_at(d, plane, top + u, left + v)];
            y[plane * d->out_h * d->out_w + i] = (REAL)(sum / (double)(d->k * d->k));
        }
    }
}

static void ref_avg_pool_bwd(const struct engine *e, const struct pool_dims *d, const void *vdy, void *vdx)
{
    const REAL *dy = vdy;
    REAL *dx = vdx;
    for (int64_t plane = 0; dx && plane < d->batch * d->channels; plane++) {
        for (int64_t i = 0; i < d->out_h * d->out_w; i++) {
            int64_t top = i / d->out_w * d->stride, left = i % d->out_w * d->stride;
            double share = (double)dy[plane * d->out_h * d->out_w + i] / (double)(d->k * d->k);
            for (int64_t u = 0; u < d->k; u++)
                for (int64_t v = 0; v < d->k; v++)
                    dx[pool_x_at(d, plane, top + u, left + v)] += (REAL)share;
        }
    }
}

void REF_PART(conv)(struct engine *e)
{
    e->conv2d_fwd = ref_conv2d_fwd;
    e->conv2d_bwd = ref_conv2d_bwd;
    e->avg_pool_fwd = ref_avg_pool_fwd;
    e->avg_pool_bwd = ref_avg_pool_bwd;
}
