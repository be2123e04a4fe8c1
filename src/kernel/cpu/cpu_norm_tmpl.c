/* kernel/cpu/cpu_norm_tmpl.c: norms, softmax, cross entropy and distances, compiled once per instruction set.
 *
 * Rows are the unit of threads, numbers of a row the unit of vectors. Variances are two-pass, as in ref; a row of a few
 * hundred numbers stays in L1 between the passes. Gradients of weights are summed in chunks of rows fixed by n alone.
 */
#include "kernel/cpu/cpu_math_tmpl.h"

/* ---- layer norm ------------------------------------------------------------------------------------------------- */

static float row_mean(int64_t d, const float *x)
{
    float s = 0.0f;
    VECTOR_SUM(s)
    for (int64_t j = 0; j < d; j++)
        s += x[j];
    return s / (float)d;
}

static float row_var(int64_t d, const float *x, float mean)
{
    float s = 0.0f;
    VECTOR_SUM(s)
    for (int64_t j = 0; j < d; j++)
        s += (x[j] - mean) * (x[j] - mean);
    return s / (float)d;
}

static void layer_norm_fwd(const struct engine *e, int64_t n, int64_t d, double eps, const void *x_, const void *w_,
                           const void *b_, void *y_, void *mean_, void *rstd_)
{
    const float *w = w_, *b = b_;
    ROWS(e->threads, n * d)
    for (int64_t i = 0; i < n; i++) {
        const float *x = (const float *)x_ + i * d;
        float *y = (float *)y_ + i * d, mean = row_mean(d, x), r = 1.0f / sqrtf(row_var(d, x, mean) + (float)eps);
        if (w && b) {
            VECTOR
            for (int64_t j = 0; j < d; j++)
                y[j] = (x[j] - mean) * r * w[j] + b[j];
        } else {
            for (int64_t j = 0; j < d; j++)
                y[j] = (x[j] - mean) * r * (w ? w[j] : 1.0f) + (b ? b[j] : 0.0f);
        }
        if (mean_)
            ((float *)mean_)[i] = mean;
        if (rstd_)
            ((float *)rstd_)[i] = r;
    }
}

/* dx += r (g - mean(g) - xhat mean(g xhat)), g = dy w */
static void layer_norm_row(int64_t d, const float *x, const float *w, float mean, float r, const float *dy, float *dx)
{
    float s = 0.0f, sx = 0.0f;
    if (w) {
        VECTOR_SUM2(s, sx)
        for (int64_t j = 0; j < d; j++) {
            float g = dy[j] * w[j];
            s += g;
            sx += g * (x[j] - mean);
        }
    } else {
        VECTOR_SUM2(s, sx)
        for (int64_t j = 0; j < d; j++) {
            s += dy[j];
            sx += dy[j] * (x[j] - mean);
        }
    }
    float mg = s / (float)d, mgx = sx * r * r / (float)d;
    if (w) {
        VECTOR
        for (int64_t j = 0; j < d; j++)
            dx[j] += r * (dy[j] * w[j] - mg - (x[j] - mean) * mgx);
    } else {
        VECTOR
        for (int64_t j = 0; j < d; j++)
            dx[j] += r * (dy[j] - mg - (x[j] - mean) * mgx);
    }
}

static void layer_norm_bwd(const struct engine *e, int64_t n, int64_t d, const void *x_, const void *w_,
                           const void *mean_, const void *rstd_, const void *dy_, void *dx_, void *dw_, void *db_)
{
    const float *x = x_, *w = w_, *mean = mean_, *rstd = rstd_, *dy = dy_;
    float *dx = dx_, *dw = dw_, *db = db_;
    int64_t chunks = n_chunks_of(n), size = (n + chunks - 1) / chunks;
    bool sums = dw || db;
    float *part = sums ? cpu_scratch(SCRATCH_CHUNKS, (size_t)(chunks * 2 * d) * sizeof *part) : NULL;
    if (n <= 0 || (sums && !part)) {
        cpu_ref.layer_norm_bwd(e, n, d, x_, w_, mean_, rstd_, dy_, dx_, dw_, db_);
        return;
    }
    ROWS(e->threads, n * d)
    for (int64_t c = 0; c < chunks; c++) {
        float *pw = part ? part + c * 2 * d : NULL, *pb = part ? pw + d : NULL;
        int64_t end = (c + 1) * size < n ? (c + 1) * size : n;
        if (part)
            memset(pw, 0, (size_t)(2 * d) * sizeof *pw);
        for (int64_t i = c * size; i < end; i++) {
            const float *xi = x + i * d, *gi = dy + i * d;
            if (dx)
                layer_norm_row(d, xi, w, mean[i], rstd[i], gi, dx + i * d);
            if (!part)
                continue;
            float m = mean[i], r = rstd[i];
            VECTOR
            for (int64_t j = 0; j < d; j++) {
                pw[j] += gi[j] * (xi[j] - m) * r;
                pb[j] += gi[j];
            }
        }
    }
    for (int64_t c = 0; part && c < chunks; c++) {
        const float *pw = part + c * 2 * d, *pb = pw + d;
        for (int64_t j = 0; dw && j < d; j++)
            dw[j] += pw[j];
        for (int64_t j = 0; db && j < d; j++)
            db[j] += pb[j];
    }
}

/* ---- batch norm and group norm ---------------------------------------------------------------------------------- */

/* Sum over a run of neighbours; double, because a channel may hold millions of numbers. */
static double run_sum(int64_t n, const float *x)
{
    double s = 0.0;
    VECTOR_SUM(s)
    for (int64_t i = 0; i < n; i++)
        s += (double)x[i];
    return s;
}

static double run_squares(int64_t n, const float *x, float mean)
{
    double s = 0.0;
    VECTOR_SUM(s)
    for (int64_t i = 0; i < n; i++)
        s += (double)((x[i] - mean) * (x[i] - mean));
    return s;
}

static double run_products(int64_t n, const float *g, const float *x, float mean)
{
    double s = 0.0;
    VECTOR_SUM(s)
    for (int64_t i = 0; i < n; i++)
        s += (double)(g[i] * (x[i] - mean));
    return s;
}

static void run_scale(int64_t n, const float *x, float a, float b, float *y) /* y = a x + b */
{
    VECTOR
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i] + b;
}

static void run_norm_grad(int64_t n, const float *g, const float *x, float mean, float scale, float mg, float mgx,
                          float *dx)
{
    VECTOR
    for (int64_t i = 0; i < n; i++)
        dx[i] += scale * (g[i] - mg - (x[i] - mean) * mgx);
}

static void batch_norm_fwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, double eps, bool batch,
                           const void *x_, const void *w_, const void *b_, void *y_, void *mean_, void *rstd_,
                           void *var_)
{
    const float *x = x_, *w = w_, *b = b_;
    float *y = y_, *mean = mean_, *rstd = rstd_, *var = var_;
    ROWS(e->threads, n * c * hw)
    for (int64_t k = 0; k < c; k++) {
        double mu = batch ? 0.0 : (double)mean[k], v = batch ? 0.0 : (double)var[k], m = (double)(n * hw);
        if (batch) {
            for (int64_t s = 0; s < n; s++)
                mu += run_sum(hw, x + (s * c + k) * hw);
            mu /= m;
            for (int64_t s = 0; s < n; s++)
                v += run_squares(hw, x + (s * c + k) * hw, (float)mu);
            v /= m;
            if (mean)
                mean[k] = (float)mu;
            if (var)
                var[k] = m > 1.0 ? (float)(v * m / (m - 1.0)) : 0.0f;
        }
        double r = 1.0 / sqrt(v + eps), a = r * (w ? (double)w[k] : 1.0);
        if (rstd)
            rstd[k] = (float)r;
        float shift = (float)((b ? (double)b[k] : 0.0) - mu * a);
        for (int64_t s = 0; s < n; s++)
            run_scale(hw, x + (s * c + k) * hw, (float)a, shift, y + (s * c + k) * hw);
    }
}

static void batch_norm_bwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, bool batch, const void *x_,
                           const void *w_, const void *mean_, const void *rstd_, const void *dy_, void *dx_, void *dw_,
                           void *db_)
{
    const float *x = x_, *w = w_, *mean = mean_, *rstd = rstd_, *dy = dy_;
    float *dx = dx_, *dw = dw_, *db = db_;
    ROWS(e->threads, n * c * hw)
    for (int64_t k = 0; k < c; k++) {
        double sum = 0.0, sum_x = 0.0, m = (double)(n * hw), r = (double)rstd[k];
        for (int64_t s = 0; s < n; s++) {
            sum += run_sum(hw, dy + (s * c + k) * hw);
            sum_x += run_products(hw, dy + (s * c + k) * hw, x + (s * c + k) * hw, mean[k]);
        }
        if (dw)
            dw[k] += (float)(sum_x * r);
        if (db)
            db[k] += (float)sum;
        float mg = batch ? (float)(sum / m) : 0.0f, mgx = batch ? (float)(sum_x * r * r / m) : 0.0f;
        for (int64_t s = 0; dx && s < n; s++)
            run_norm_grad(hw, dy + (s * c + k) * hw, x + (s * c + k) * hw, mean[k], rstd[k] * (w ? w[k] : 1.0f), mg,
                          mgx, dx + (s * c + k) * hw);
    }
}

static void group_norm_fwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, int64_t groups, double eps,
                           const void *x_, const void *w_, const void *b_, void *y_, void *mean_, void *rstd_)
{
    const float *x = x_, *w = w_, *b = b_;
    int64_t per = c / groups, size = per * hw;
    ROWS(e->threads, n * c * hw)
    for (int64_t i = 0; i < n * groups; i++) {
        double mu = run_sum(size, x + i * size) / (double)size;
        double r = 1.0 / sqrt(run_squares(size, x + i * size, (float)mu) / (double)size + eps);
        for (int64_t k = 0; k < per; k++) {
            int64_t channel = i % groups * per + k, at = i * size + k * hw;
            double a = r * (w ? (double)w[channel] : 1.0);
            run_scale(hw, x + at, (float)a, (float)((b ? (double)b[channel] : 0.0) - mu * a), (float *)y_ + at);
        }
        if (mean_)
            ((float *)mean_)[i] = (float)mu;
        if (rstd_)
            ((float *)rstd_)[i] = (float)r;
    }
}

static void group_norm_bwd(const struct engine *e, int64_t n, int64_t c, int64_t hw, int64_t groups, const void *x_,
                           const void *w_, const void *mean_, const void *rstd_, const void *dy_, void *dx_, void *dw_,
                           void *db_)
{
    const float *x = x_, *w = w_, *mean = mean_, *rstd = rstd_, *dy = dy_;
    float *dx = dx_, *dw = dw_, *db = db_;
    int64_t per = c / groups, size = per * hw;
    ROWS(e->threads, dx ? n * c * hw : 0)
    for (int64_t i = 0; i < (dx ? n * groups : 0); i++) {
        double sum = 0.0, sum_x = 0.0, r = (double)rstd[i];
        for (int64_t k = 0; k < per; k++) {
            double wk = w ? (double)w[i % groups * per + k] : 1.0;
            sum += wk * run_sum(hw, dy + i * size + k * hw);
            sum_x += wk * run_products(hw, dy + i * size + k * hw, x + i * size + k * hw, mean[i]);
        }
        float mg = (float)(sum / (double)size), mgx = (float)(sum_x * r * r / (double)size);
        for (int64_t k = 0; k < per; k++) {
            int64_t at = i * size + k * hw;
            float wk = w ? w[i % groups * per + k] : 1.0f;
            VECTOR
            for (int64_t j = at; j < at + hw; j++)
                dx[j] += rstd[i] * (wk * dy[j] - mg - (x[j] - mean[i]) * mgx);
        }
    }
    ROWS(e->threads, n * c * hw)
    for (int64_t k = 0; k < (dw || db ? c : 0); k++) {
        double sum = 0.0, sum_x = 0.0;
        for (int64_t s = 0; s < n; s++) {
            int64_t at = (s * c + k) * hw, group = s * groups + k / per;
            sum += run_sum(hw, dy + at);
            sum_x += run_products(hw, dy + at, x + at, mean[group]) * (double)rstd[group];
        }
        if (dw)
            dw[k] += (float)sum_x;
        if (db)
            db[k] += (float)sum;
    }
}

/* ---- l2 normalisation ------------------------------------------------------------------------------------------- */

static float row_dot(int64_t d, const float *x, const float *y)
{
    float s = 0.0f;
    VECTOR_SUM(s)
    for (int64_t j = 0; j < d; j++)
        s += x[j] * y[j];
    return s;
}

static void l2_normalize_fwd(const struct engine *e, int64_t n, int64_t d, double eps, const void *x_, void *y_,
                             void *norm_)
{
    ROWS(e->threads, n * d)
    for (int64_t i = 0; i < n; i++) {
        const float *x = (const float *)x_ + i * d;
        float norm = sqrtf(row_dot(d, x, x)), divisor = norm < (float)eps ? (float)eps : norm;
        run_scale(d, x, 1.0f / divisor, 0.0f, (float *)y_ + i * d);
        if (norm_)
            ((float *)norm_)[i] = norm;
    }
}

static void l2_normalize_bwd(const struct engine *e, int64_t n, int64_t d, double eps, const void *y_,
                             const void *norm_, const void *dy_, void *dx_)
{
    const float *norm = norm_;
    float *all = dx_;
    ROWS(e->threads, n * d)
    for (int64_t i = 0; i < (all ? n : 0); i++) {
        const float *y = (const float *)y_ + i * d, *dy = (const float *)dy_ + i * d;
        bool clamped = norm[i] < (float)eps; /* below eps the divisor is a constant */
        float along = clamped ? 0.0f : row_dot(d, y, dy), scale = 1.0f / (clamped ? (float)eps : norm[i]);
        float *dx = all + i * d;
        VECTOR
        for (int64_t j = 0; j < d; j++)
            dx[j] += (dy[j] - y[j] * along) * scale;
    }
}

/* ---- softmax ---------------------------------------------------------------------------------------------------- */

static float row_max(int64_t d, const float *x)
{
    float m = -INFINITY;
    VECTOR_MAX(m)
    for (int64_t j = 0; j < d; j++)
        m = x[j] > m ? x[j] : m;
    return m;
}

static float row_exp_sum(int64_t d, const float *x, float top)
{
    float s = 0.0f;
    VECTOR_SUM(s)
    for (int64_t j = 0; j < d; j++)
        s += exp_f(x[j] - top);
    return s;
}

static void softmax_fwd(const struct engine *e, int64_t n, int64_t d, bool log_form, const void *x_, void *y_)
{
    ROWS(e->threads, n * d * 8)
    for (int64_t i = 0; i < n; i++) {
        const float *x = (const float *)x_ + i * d;
        float *y = (float *)y_ + i * d, top = row_max(d, x), s = 0.0f;
        if (log_form) {
            run_scale(d, x, 1.0f, -(top + logf(row_exp_sum(d, x, top))), y);
            continue;
        }
        VECTOR_SUM(s)
        for (int64_t j = 0; j < d; j++) {
            float p = exp_f(x[j] - top);
            y[j] = p;
            s += p;
        }
        run_scale(d, y, 1.0f / s, 0.0f, y);
    }
}

static void softmax_bwd(const struct engine *e, int64_t n, int64_t d, bool log_form, const void *y_, const void *dy_,
                        void *dx_)
{
    float *all = dx_;
    ROWS(e->threads, n * d * 4)
    for (int64_t i = 0; i < (all ? n : 0); i++) {
        const float *y = (const float *)y_ + i * d, *dy = (const float *)dy_ + i * d;
        float *dx = all + i * d, s = log_form ? (float)run_sum(d, dy) : row_dot(d, y, dy);
        if (log_form) {
            VECTOR
            for (int64_t j = 0; j < d; j++)
                dx[j] += dy[j] - exp_f(y[j]) * s;
        } else {
            VECTOR
            for (int64_t j = 0; j < d; j++)
                dx[j] += y[j] * (dy[j] - s);
        }
    }
}

/* ---- cross entropy ---------------------------------------------------------------------------------------------- */

static float soft_loss(int64_t c, const float *x, const float *t, float lse)
{
    float s = 0.0f;
    VECTOR_SUM(s)
    for (int64_t j = 0; j < c; j++)
        s += t[j] != 0.0f ? t[j] * (lse - x[j]) : 0.0f; /* an impossible class costs nothing unless it is meant */
    return s;
}

static void cross_entropy_fwd(const struct engine *e, int64_t n, int64_t c, const void *logits_, const int32_t *label,
                              const void *target_, double smoothing, void *loss_, void *lse_)
{
    const float *target = target_;
    BUG_ON(!label == !target);
    for (int64_t i = 0; label && i < n; i++)
        BUG_ON(label[i] >= c);
    ROWS(e->threads, n * c * 8)
    for (int64_t i = 0; i < n; i++) {
        const float *x = (const float *)logits_ + i * c;
        float top = row_max(c, x), lse = top + logf(row_exp_sum(c, x, top)), loss = 0.0f;
        if (target) {
            loss = soft_loss(c, x, target + i * c, lse);
        } else if (label[i] >= 0) {
            loss = (float)(1.0 - smoothing) * (lse - x[label[i]]);
            if (smoothing > 0.0)
                loss += (float)(smoothing * ((double)lse - run_sum(c, x) / (double)c));
        }
        ((float *)loss_)[i] = loss;
        if (lse_)
            ((float *)lse_)[i] = lse;
    }
}

/* dx += g (softmax total - flat) over a row, `flat` being the part of the target that all classes share */
static void logits_grad(int64_t c, const float *x, float lse, float g, float total, float flat, float *dx)
{
    VECTOR
    for (int64_t j = 0; j < c; j++)
        dx[j] += g * (exp_f(x[j] - lse) * total - flat);
}

static void cross_entropy_bwd(const struct engine *e, int64_t n, int64_t c, const void *logits_, const int32_t *label,
                              const void *target_, double smoothing, const void *lse_, const void *dloss_,
                              void *dlogits_, void *dtarget_)
{
    const float *logits = logits_, *target = target_, *lse = lse_, *dloss = dloss_;
    float *dlogits = dlogits_, *dtarget = dtarget_;
    BUG_ON(!label == !target);
    ROWS(e->threads, n * c * 8)
    for (int64_t i = 0; i < n; i++) {
        const float *x = logits + i * c, *t = target ? target + i * c : NULL;
        float g = dloss[i], row = lse[i], *dx = dlogits ? dlogits + i * c : NULL;
        if (label && label[i] < 0)
            continue;
        if (dx && label) {
            logits_grad(c, x, row, g, 1.0f, (float)(smoothing / (double)c), dx);
            dx[label[i]] -= g * (float)(1.0 - smoothing);
        }
        if (dx && t) {
            logits_grad(c, x, row, g, (float)run_sum(c, t), 0.0f, dx);
            VECTOR
            for (int64_t j = 0; j < c; j++)
                dx[j] -= g * t[j];
        }
        if (t && dtarget) {
            float *dt = dtarget + i * c;
            VECTOR
            for (int64_t j = 0; j < c; j++)
                dt[j] += g * (row - x[j]);
        }
    }
}

/* ---- squared distances ------------------------------------------------------------------------------------------ */

/* y [m] of one row a [d] to rows b [m, d]; sums of differences, see cpu_conv.c */
static void distance_row(int64_t m, int64_t d, const float *a, const float *b, float *y)
{
    int64_t j = 0;
    for (; j + 4 <= m; j += 4, b += 4 * d) {
        const float *b1 = b + d, *b2 = b + 2 * d, *b3 = b + 3 * d;
        float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
        PRAGMA(omp simd reduction(+ : s0, s1, s2, s3))
        for (int64_t k = 0; k < d; k++) {
            float d0 = a[k] - b[k], d1 = a[k] - b1[k], d2 = a[k] - b2[k], d3 = a[k] - b3[k];
            s0 += d0 * d0;
            s1 += d1 * d1;
            s2 += d2 * d2;
            s3 += d3 * d3;
        }
        y[j] = s0, y[j + 1] = s1, y[j + 2] = s2, y[j + 3] = s3;
    }
    for (; j < m; j++, b += d) {
        float s = 0.0f;
        VECTOR_SUM(s)
        for (int64_t k = 0; k < d; k++)
            s += (a[k] - b[k]) * (a[k] - b[k]);
        y[j] = s;
    }
}

static int distance_fwd(const struct engine *e, int64_t n, int64_t m, int64_t d, const void *a_, const void *b_,
                        void *y_)
{
    enum { BAND = 64 }; /* rows of b that stay in L2 while all rows of a pass */
    const float *a = a_, *b = b_;
    float *y = y_;
    ROWS(e->threads, n * m * d)
    for (int64_t i0 = 0; i0 < n; i0 += 16) {
        for (int64_t j0 = 0; j0 < m; j0 += BAND) {
            for (int64_t i = i0; i < n && i < i0 + 16; i++)
                distance_row(m - j0 < BAND ? m - j0 : BAND, d, a + i * d, b + j0 * d, y + i * m + j0);
        }
    }
    return 0;
}

void CPU_FN(cpu_norm_fill)(struct engine *e)
{
    e->layer_norm_fwd = layer_norm_fwd;
    e->layer_norm_bwd = layer_norm_bwd;
    e->batch_norm_fwd = batch_norm_fwd;
    e->batch_norm_bwd = batch_norm_bwd;
    e->group_norm_fwd = group_norm_fwd;
    e->group_norm_bwd = group_norm_bwd;
    e->l2_normalize_fwd = l2_normalize_fwd;
    e->l2_normalize_bwd = l2_normalize_bwd;
    e->softmax_fwd = softmax_fwd;
    e->softmax_bwd = softmax_bwd;
    e->cross_entropy_fwd = cross_entropy_fwd;
    e->cross_entropy_bwd = cross_entropy_bwd;
    e->distance_fwd = distance_fwd;
}
