/* kernel/ref/ref_norm_tmpl.c: layer norm (Ba 2016), batch norm (Ioffe and Szegedy 2015), group norm (Wu and He 2018)
 * and l2 normalisation.
 *
 * All three norms are y = xhat w + b with xhat = (x - mean) rstd; they differ in which numbers share a mean. With m
 * numbers sharing one, and g = dy w:  dx = rstd (g - mean(g) - xhat mean(g xhat)).
 * Variances are two-pass and biased (divided by m). batch_norm_fwd with batch = true writes mean, rstd and, for the
 * running update, the UNBIASED variance (times m / (m - 1); m = 1: 0); with batch = false it reads mean and var and
 * writes rstd. w, b, and every saved output may be NULL. Rejected: one-pass sums of squares, which cancel. */
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

static double weight_at(const REAL *w, int64_t i)
{
    return w ? (double)w[i] : 1;
}

static double bias_at(const REAL *b, int64_t i)
{
    return b ? (double)b[i] : 0;
}

static void put(REAL *p, int64_t i, double value)
{
    if (p)
        p[i] = (REAL)value;
}

/* mean and biased variance of blocks [n_blocks] of n neighbours each, `stride` apart */
static void moments(const REAL *x, int64_t n_blocks, int64_t stride, int64_t n, double *mean, double *var)
{
    double sum = 0, m = (double)n_blocks * (double)n;
    for (int64_t k = 0; k < n_blocks; k++)
        for (int64_t i = 0; i < n; i++)
            sum += (double)x[k * stride + i];
    *mean = sum / m;
    sum = 0;
    for (int64_t k = 0; k < n_blocks; k++)
        for (int64_t i = 0; i < n; i++)
            sum += ((double)x[k * stride + i] - *mean) * ((double)x[k * stride + i] - *mean);
    *var = sum / m;
}

/* ---- layer norm: x [n, d], a mean a row ---- */

static void ref_layer_norm_fwd(const struct engine *e, int64_t n, int64_t d, double eps, const void *vx, const void *w,
                               const void *b, void *vy, void *vmean, void *vrstd)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        double mean, var;
        moments(x + i * d, 1, 0, d, &mean, &var);
        double rstd = 1 / sqrt(var + eps);
        for (int64_t j = 0; j < d; j++)
            y[i * d + j] = (REAL)(((double)x[i * d + j] - mean) * rstd * weight_at(w, j) + bias_at(b, j));
        put(vmean, i, mean);
        put(vrstd, i, rstd);
    }
}

static void layer_norm_dx(int64_t d, const REAL *x, const REAL *w, double mean, double rstd, const REAL *dy, REAL *dx)
{
    double sum = 0, sum_xhat = 0;
    for (int64_t j = 0; j < d; j++) {
        double g = (double)dy[j] * weight_at(w, j);
        sum += g;
        sum_xhat += g * ((double)x[j] - mean) * rstd;
    }
    for (int64_t j = 0; j < d; j++) {
        double g = (double)dy[j] * weight_at(w, j), xhat = ((double)x[j] - mean) * rstd;
        dx[j] += (REAL)(rstd * (g - sum / (double)d - xhat * sum_xhat / (double)d));
    }
}

static void ref_layer_norm_bwd(const struct engine *e, int64_t n, int64_t d, const void *vx, const void *w,
                               const void *vmean, const void *vrstd, const void *vdy, void *vdx, void *vdw, void *vdb)
{
    const REAL *x = vx, *mean = vmean, *rstd = vrstd, *dy = vdy;
    REAL *dx = vdx, *dw = vdw, *db = vdb;
    for (int64_t i = 0; dx && i < n; i++)
        layer_norm_dx(d, x + i * d, w, (double)mean[i], (double)rstd[i], dy + i * d, dx + i * d);
    for (int64_t j = 0; (dw || db) && j < d; j++) {
        double sum_w = 0, sum_b = 0;
        for (int64_t i = 0; i < n; i++) {
            double g = (double)dy[i * d + j];
            sum_w += g * ((double)x[i * d + j] - (double)mean[i]) * (double)rstd[i];
            sum_b += g;
        }
        if (dw)
            dw[j] += (REAL)sum_w;
        if (db)
            db[j] += (REAL)sum_b;
    }
}

/* ---- batch norm: x [n, c, hw], a mean a channel ---- */

static void ref_batch_norm_fwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, double eps, bool batch,
                               const void *vx, const void *w, const void *b, void *vy, void *vmean, void *vrstd,
                               void *vvar)
{
    const REAL *x = vx;
    REAL *y = vy, *mean = vmean, *var = vvar;
    double m = (double)n * (double)hw;
    for (int64_t k = 0; k < c; k++) {
        double mu, v;
        if (batch) {
            moments(x + k * hw, n, c * hw, hw, &mu, &v);
            put(mean, k, mu);
            put(var, k, m > 1 ? v * m / (m - 1) : 0);
        } else {
            mu = (double)mean[k];
            v = (double)var[k];
        }
        double rstd = 1 / sqrt(v + eps);
        put(vrstd, k, rstd);
        for (int64_t s = 0; s < n; s++) {
            for (int64_t i = (s * c + k) * hw; i < (s * c + k + 1) * hw; i++)
                y[i] = (REAL)(((double)x[i] - mu) * rstd * weight_at(w, k) + bias_at(b, k));
        }
    }
}

static void ref_batch_norm_bwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, bool batch, const void *vx,
                               const void *w, const void *vmean, const void *vrstd, const void *vdy, void *vdx,
                               void *vdw, void *vdb)
{
    const REAL *x = vx, *mean = vmean, *rstd = vrstd, *dy = vdy;
    REAL *dx = vdx, *dw = vdw, *db = vdb;
    double m = (double)n * (double)hw;
    for (int64_t k = 0; k < c; k++) {
        double mu = (double)mean[k], r = (double)rstd[k], sum = 0, sum_xhat = 0;
        for (int64_t s = 0; s < n; s++) {
            for (int64_t i = (s * c + k) * hw; i < (s * c + k + 1) * hw; i++) {
                sum += (double)dy[i];
                sum_xhat += (double)dy[i] * ((double)x[i] - mu) * r;
            }
        }
        if (dw)
            dw[k] += (REAL)sum_xhat;
        if (db)
            db[k] += (REAL)sum;
        for (int64_t s = 0; dx && s < n; s++) {
            for (int64_t i = (s * c + k) * hw; i < (s * c + k + 1) * hw; i++) {
                double xhat = ((double)x[i] - mu) * r;
                double through = batch ? sum / m + xhat * sum_xhat / m : 0; /* through the statistics */
                dx[i] += (REAL)(r * weight_at(w, k) * ((double)dy[i] - through));
            }
        }
    }
}

/* ---- group norm: x [n, c, hw], a mean a sample and group ---- */

static void ref_group_norm_fwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, int64_t groups, double eps,
                               const void *vx, const void *w, const void *b, void *vy, void *vmean, void *vrstd)
{
    const REAL *x = vx;
    REAL *y = vy;
    int64_t size = c / groups * hw; /* neighbours in memory */
    for (int64_t i = 0; i < n * groups; i++) {
        double mean, var;
        moments(x + i * size, 1, 0, size, &mean, &var);
        double rstd = 1 / sqrt(var + eps);
        for (int64_t j = i * size; j < (i + 1) * size; j++) {
            int64_t channel = j / hw % c;
            y[j] = (REAL)(((double)x[j] - mean) * rstd * weight_at(w, channel) + bias_at(b, channel));
        }
        put(vmean, i, mean);
        put(vrstd, i, rstd);
    }
}

static void group_norm_dx(int64_t from, int64_t size, int64_t c, int64_t hw, const REAL *x, const REAL *w, double mean,
                          double rstd, const REAL *dy, REAL *dx)
{
    double sum = 0, sum_xhat = 0, m = (double)size;
    for (int64_t j = from; j < from + size; j++) {
        double g = (double)dy[j] * weight_at(w, j / hw % c);
        sum += g;
        sum_xhat += g * ((double)x[j] - mean) * rstd;
    }
    for (int64_t j = from; j < from + size; j++) {
        double g = (double)dy[j] * weight_at(w, j / hw % c), xhat = ((double)x[j] - mean) * rstd;
        dx[j] += (REAL)(rstd * (g - sum / m - xhat * sum_xhat / m));
    }
}

static void ref_group_norm_bwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, int64_t groups, const void *vx,
                               const void *w, const void *vmean, const void *vrstd, const void *vdy, void *vdx,
                               void *vdw, void *vdb)
{
    const REAL *x = vx, *mean = vmean, *rstd = vrstd, *dy = vdy;
    REAL *dx = vdx, *dw = vdw, *db = vdb;
    int64_t per_group = c / groups, size = per_group * hw;
    for (int64_t i = 0; dx && i < n * groups; i++)
        group_norm_dx(i * size, size, c, hw, x, w, (double)mean[i], (double)rstd[i], dy, dx);
    for (int64_t k = 0; (dw || db) && k < c; k++) {
        double sum_w = 0, sum_b = 0;
        for (int64_t s = 0; s < n; s++) {
            int64_t group = s * groups + k / per_group;
            for (int64_t i = (s * c + k) * hw; i < (s * c + k + 1) * hw; i++) {
                sum_w += (double)dy[i] * ((double)x[i] - (double)mean[group]) * (double)rstd[group];
                sum_b += (double)dy[i];
            }
        }
        if (dw)
            dw[k] += (REAL)sum_w;
        if (db)
            db[k] += (REAL)sum_b;
    }
}

/* ---- y = x / max(|x|, eps) for rows of [n, d]; norm keeps |x| itself ---- */

static void ref_l2_normalize_fwd(const struct engine *e, int64_t n, int64_t d, double eps, const void *vx, void *vy,
                                 void *vnorm)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < d; j++)
            sum += (double)x[i * d + j] * (double)x[i * d + j];
        double norm = sqrt(sum), divisor = norm < eps ? eps : norm; /* a NaN stays one */
        for (int64_t j = 0; j < d; j++)
            y[i * d + j] = (REAL)((double)x[i * d + j] / divisor);
        put(vnorm, i, norm);
    }
}

static void ref_l2_normalize_bwd(const struct engine *e, int64_t n, int64_t d, double eps, const void *vy,
                                 const void *vnorm, const void *vdy, void *vdx)
{
    const REAL *y = vy, *norm = vnorm, *dy = vdy;
    REAL *dx = vdx;
    for (int64_t i = 0; dx && i < n; i++) {
        double size = (double)norm[i], along = 0;
        bool clamped = size < eps; /* below eps the divisor is a constant */
        for (int64_t j = 0; j < d && !clamped; j++)
            along += (double)y[i * d + j] * (double)dy[i * d + j];
        for (int64_t j = 0; j < d; j++)
            dx[i * d + j] += (REAL)(((double)dy[i * d + j] - (double)y[i * d + j] * along) / (clamped ? eps : size));
    }
}

void REF_PART(norm)(struct engine *e)
{
    e->layer_norm_fwd = ref_layer_norm_fwd;
    e->layer_norm_bwd = ref_layer_norm_bwd;
    e->batch_norm_fwd = ref_batch_norm_fwd;
    e->batch_norm_bwd = ref_batch_norm_bwd;
    e->group_norm_fwd = ref_group_norm_fwd;
    e->group_norm_bwd = ref_group_norm_bwd;
    e->l2_normalize_fwd = ref_l2_normalize_fwd;
    e->l2_normalize_bwd = ref_l2_normalize_bwd;
}
