/* kernel/cpu/cpu_point_tmpl.c: pointwise slots, compiled once per instruction set (suffix CPU_ISA).
 *
 * Every loop is one pass over memory; the gains over ref are vectors (see cpu_math_tmpl.h) and threads. */
#include "kernel/cpu/cpu_math_tmpl.h"

/* ---- conversions ------------------------------------------------------------------------------------------------ */

static inline uint32_t bf16_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t even = u + 0x7fffu + (u >> 16 & 1u);
    return (u & 0x7fffffffu) > 0x7f800000u ? (u | 0x400000u) >> 16 : even >> 16;
}

static void to_bf16(int threads, const float *x, uint16_t *y, int64_t n)
{
    FLAT(threads, n)
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint16_t)bf16_bits(x[i]);
}

static void round_bf16(int threads, const float *x, float *y, int64_t n)
{
    FLAT(threads, n)
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = bf16_bits(x[i]) << 16;
        float f;
        memcpy(&f, &u, sizeof f);
        y[i] = f;
    }
}

/* ---- activations --------------------------------------------------------------------------------------------------
 */

#define ACTS(X)                                                                                                        \
    X(ACT_GELU, gelu_f, gelu_slope_f)                                                                                  \
    X(ACT_QUICK_GELU, quick_gelu_f, quick_gelu_slope_f)                                                                \
    X(ACT_GELU_TANH, gelu_tanh_f, gelu_tanh_slope_f)                                                                   \
    X(ACT_RELU, relu_f, relu_slope_f)                                                                                  \
    X(ACT_TANH, tanh_f, tanh_slope_f)                                                                                  \
    X(ACT_SIGMOID, sigmoid_f, sigmoid_slope_f)                                                                         \
    X(ACT_EXP, exp_f, exp_f)                                                                                           \
    X(ACT_SQUARE, square_f, square_slope_f)                                                                            \
    X(ACT_ABS, fabsf, sign_f)                                                                                          \
    X(ACT_NEG, neg_f, neg_slope_f)

static void act_fwd(const struct engine *e, enum act act, const void *x_, void *y_, int64_t n)
{
    const float *x = x_;
    float *y = y_;
    switch (act) {
#define X(id, f, slope)                                                                                                \
    case id:                                                                                                           \
        FLAT(e->threads, n)                                                                                            \
        for (int64_t i = 0; i < n; i++)                                                                                \
            y[i] = f(x[i]);                                                                                            \
        break;
        ACTS(X)
#undef X
    default:
        cpu_ref.act_fwd(e, act, x_, y_, n);
    }
}

static void act_bwd(const struct engine *e, enum act act, const void *x_, const void *y_, const void *dy_, void *dx_,
                    int64_t n)
{
    const float *x = x_, *dy = dy_;
    float *dx = dx_;
    if (!dx)
        return;
    switch (act) {
#define X(id, f, slope)                                                                                                \
    case id:                                                                                                           \
        FLAT(e->threads, n)                                                                                            \
        for (int64_t i = 0; i < n; i++)                                                                                \
            dx[i] += slope(x[i]) * dy[i];                                                                              \
        break;
        ACTS(X)
#undef X
    default:
        cpu_ref.act_bwd(e, act, x_, y_, dy_, dx_, n);
    }
}

static void act_grad(const struct engine *e, enum act act, const void *pre_, const void *dy_, void *dpre_, int64_t n)
{
    const float *x = pre_, *dy = dy_;
    float *dx = dpre_;
    switch (act) {
#define X(id, f, slope)                                                                                                \
    case id:                                                                                                           \
        FLAT(e->threads, n)                                                                                            \
        for (int64_t i = 0; i < n; i++)                                                                                \
            dx[i] = slope(x[i]) * dy[i];                                                                               \
        break;
        ACTS(X)
#undef X
    default:
        cpu_ref.act_grad(e, act, pre_, dy_, dpre_, n);
    }
}

/* ---- straight lines -----------------------------------------------------------------------------------------------
 */

static void scale_add(const struct engine *e, double alpha, const void *x_, double shift, void *y_, int64_t n)
{
    const float *x = x_;
    float *y = y_, a = (float)alpha, s = (float)shift;
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i] + s;
}

static void axpy(const struct engine *e, double alpha, const void *x_, void *y_, int64_t n)
{
    const float *x = x_;
    float *y = y_, a = (float)alpha;
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void clamp_fwd(const struct engine *e, double lo_, double hi_, const void *x_, void *y_, int64_t n)
{
    const float *x = x_;
    float *y = y_, lo = (float)lo_, hi = (float)hi_;
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] < lo ? lo : x[i];
        y[i] = v > hi ? hi : v;
    }
}

static void mask_mul(const struct engine *e, const uint8_t *keep, double scale, const void *x_, void *y_, int64_t n,
                     bool add)
{
    const float *x = x_;
    float *y = y_, s = (float)scale;
    if (add) {
        FLAT(e->threads, n)
        for (int64_t i = 0; i < n; i++)
            y[i] += keep[i] ? x[i] * s : 0.0f;
    } else {
        FLAT(e->threads, n)
        for (int64_t i = 0; i < n; i++)
            y[i] = keep[i] ? x[i] * s : 0.0f;
    }
}

static double sum_squares(const struct engine *e, const void *x_, int64_t n)
{
    enum { CHUNKS = 256 };
    const float *x = x_;
    double part[CHUNKS] = {0};
    int64_t size = (n + CHUNKS - 1) / CHUNKS;
    ROWS(e->threads, n)
    for (int64_t c = 0; c < CHUNKS; c++) {
        int64_t end = (c + 1) * size < n ? (c + 1) * size : n;
        double s = 0.0;
        VECTOR_SUM(s)
        for (int64_t i = c * size; i < end; i++)
            s += (double)x[i] * (double)x[i];
        part[c] = s;
    }
    double sum = 0.0;
    for (int c = 0; c < CHUNKS; c++)
        sum += part[c];
    return sum;
}

static void adamw(const struct engine *e, int64_t n, const struct adamw_step *s, const void *g_, void *p_, void *m_,
                  void *v_)
{
    const float *g = g_;
    float *p = p_, *m = m_, *v = v_;
    float scale = (float)s->grad_scale, b1 = (float)s->beta1, b2 = (float)s->beta2, eps = (float)s->eps;
    float c1 = (float)(1.0 - s->beta1), c2 = (float)(1.0 - s->beta2), rate = (float)(s->lr / s->correction1);
    float decay = (float)(1.0 - s->lr * s->weight_decay), root = (float)(1.0 / sqrt(s->correction2));
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * scale;
        float mi = b1 * m[i] + c1 * gi, vi = b2 * v[i] + c2 * gi * gi;
        m[i] = mi;
        v[i] = vi;
        p[i] = p[i] * decay - rate * mi / (sqrtf(vi) * root + eps);
    }
}

/* ---- sums over rows -----------------------------------------------------------------------------------------------
 */

/* sum [d] += over i of x [i, :] (times z [i, :] when given) times alpha */
static void add_products(int threads, int64_t n, int64_t d, float alpha, const float *x, const float *z, float *sum)
{
    int64_t chunks = n_chunks_of(n), size = (n + chunks - 1) / chunks;
    float *part = cpu_scratch(SCRATCH_CHUNKS, (size_t)(chunks * d) * sizeof *part);
    if (!part)
        chunks = 1, size = n; /* slow but right: straight into sum */
    ROWS(threads, n * d)
    for (int64_t c = 0; c < chunks; c++) {
        float *s = part ? part + c * d : sum;
        int64_t end = (c + 1) * size < n ? (c + 1) * size : n;
        if (part)
            memset(s, 0, (size_t)d * sizeof *s);
        for (int64_t i = c * size; i < end; i++) {
            const float *xi = x + i * d, *zi = z ? z + i * d : NULL;
            if (zi) {
                VECTOR
                for (int64_t j = 0; j < d; j++)
                    s[j] += alpha * xi[j] * zi[j];
            } else {
                VECTOR
                for (int64_t j = 0; j < d; j++)
                    s[j] += alpha * xi[j];
            }
        }
    }
    for (int64_t c = 0; part && c < chunks; c++) {
        const float *s = part + c * d;
        VECTOR
        for (int64_t j = 0; j < d; j++)
            sum[j] += s[j];
    }
}

static void add_columns(int threads, int64_t n, int64_t d, const float *x, float *sum)
{
    add_products(threads, n, d, 1.0f, x, NULL, sum);
}

/* ---- binary, with broadcasting --------------------------------------------------------------------------------------
 */

/* The same operation on as few dims as the strides allow; the output is contiguous, so neighbours merge when both
 * inputs continue (or repeat) across them. */
static struct bcast_dims merged(const struct bcast_dims *d)
{
    struct bcast_dims m = {0};
    for (int i = 0; i < d->n_dims; i++) {
        if (d->shape[i] == 1 && d->n_dims > 1)
            continue;
        int last = m.n_dims - 1;
        if (last >= 0 && m.stride_a[last] == d->stride_a[i] * d->shape[i] &&
            m.stride_b[last] == d->stride_b[i] * d->shape[i]) {
            m.shape[last] *= d->shape[i];
            m.stride_a[last] = d->stride_a[i];
            m.stride_b[last] = d->stride_b[i];
            continue;
        }
        m.shape[m.n_dims] = d->shape[i];
        m.stride_a[m.n_dims] = d->stride_a[i];
        m.stride_b[m.n_dims++] = d->stride_b[i];
    }
    if (m.n_dims == 0)
        m = (struct bcast_dims){1, {1}, {1}, {1}};
    return m;
}

#define ROW_OP(op)                                                                                                     \
    if (sa == 1 && sb == 1) {                                                                                          \
        VECTOR                                                                                                         \
        for (int64_t j = 0; j < n; j++)                                                                                \
            y[j] = a[j] op b[j];                                                                                       \
    } else if (sa == 1) {                                                                                              \
        float bj = b[0];                                                                                               \
        VECTOR                                                                                                         \
        for (int64_t j = 0; j < n; j++)                                                                                \
            y[j] = a[j] op bj;                                                                                         \
    } else {                                                                                                           \
        float aj = a[0];                                                                                               \
        VECTOR                                                                                                         \
        for (int64_t j = 0; j < n; j++)                                                                                \
            y[j] = aj op b[j * sb];                                                                                    \
    }

static void binary_row(enum binary op, int64_t n, const float *a, int64_t sa, const float *b, int64_t sb, float *y)
{
    if (op == BIN_ADD) {
        ROW_OP(+)
    } else if (op == BIN_SUB) {
        ROW_OP(-)
    } else if (op == BIN_MUL) {
        ROW_OP(*)
    } else {
        ROW_OP(/)
    }
}

static void binary_fwd(const struct engine *e, enum binary op, const struct bcast_dims *d, const void *a_,
                       const void *b_, void *y_)
{
    struct bcast_dims m = merged(d);
    int last = m.n_dims - 1;
    int64_t n = m.shape[last], sa = m.stride_a[last], sb = m.stride_b[last];
    if (op > BIN_DIV || m.n_dims > 3 || sa < 0 || sa > 1 || sb < 0 || sb > 1) {
        cpu_ref.binary_fwd(e, op, d, a_, b_, y_);
        return;
    }
    const float *a = a_, *b = b_;
    float *y = y_;
    int64_t outer = 1, mid = 1, oa = 0, ob = 0, ma = 0, mb = 0;
    if (m.n_dims >= 2)
        mid = m.shape[last - 1], ma = m.stride_a[last - 1], mb = m.stride_b[last - 1];
    if (m.n_dims == 3)
        outer = m.shape[0], oa = m.stride_a[0], ob = m.stride_b[0];
    enum { PIECE = 16384 }; /* long rows are cut so that every thread has work */
    int64_t pieces = outer * mid == 1 ? (n + PIECE - 1) / PIECE : 1, size = pieces > 1 ? PIECE : n;
    int64_t total = outer * mid * n;
    ROWS(e->threads, total)
    for (int64_t r = 0; r < outer * mid * pieces; r++) {
        int64_t i = r / pieces, at = r % pieces * size, len = at + size < n ? size : n - at;
        binary_row(op, len, a + i / mid * oa + i % mid * ma + at * sa, sa, b + i / mid * ob + i % mid * mb + at * sb,
                   sb, y + i * n + at);
    }
}

/* Gradients when a has the output's shape and b is the same shape or a trailing vector [n] of it. */
static void binary_bwd(const struct engine *e, enum binary op, const struct bcast_dims *d, const void *a_,
                       const void *b_, const void *y_, const void *dy_, void *da_, void *db_)
{
    struct bcast_dims m = merged(d);
    bool same = m.n_dims == 1 && m.stride_a[0] == 1 && m.stride_b[0] == 1;
    bool rows =
        m.n_dims == 2 && m.stride_a[1] == 1 && m.stride_b[1] == 1 && m.stride_a[0] == m.shape[1] && m.stride_b[0] == 0;
    if (op > BIN_MUL || !(same || rows)) {
        cpu_ref.binary_bwd(e, op, d, a_, b_, y_, dy_, da_, db_);
        return;
    }
    int64_t outer = rows ? m.shape[0] : 1, n = rows ? m.shape[1] : m.shape[0], total = outer * n;
    const float *a = a_, *b = b_, *dy = dy_;
    float *da = da_, *db = db_, sign = op == BIN_SUB ? -1.0f : 1.0f;
    if (da && op != BIN_MUL)
        axpy(e, 1.0, dy, da, total);
    if (da && op == BIN_MUL && same) {
        FLAT(e->threads, n)
        for (int64_t i = 0; i < n; i++)
            da[i] += dy[i] * b[i];
    }
    if (da && op == BIN_MUL && rows) {
        ROWS(e->threads, total)
        for (int64_t i = 0; i < outer; i++) {
            VECTOR
            for (int64_t j = 0; j < n; j++)
                da[i * n + j] += dy[i * n + j] * b[j];
        }
    }
    if (!db)
        return;
    if (rows) {
        add_products(e->threads, outer, n, sign, dy, op == BIN_MUL ? a : NULL, db);
    } else if (op == BIN_MUL) {
        FLAT(e->threads, n)
        for (int64_t i = 0; i < n; i++)
            db[i] += dy[i] * a[i];
    } else {
        axpy(e, (double)sign, dy, db, total);
    }
}

/* ---- sums and means over the middle axis ----------------------------------------------------------------------------
 */

/* A sum of any length: runs of RUN numbers in float, the runs in double, so that the error does not grow with n. */
static double long_sum(int64_t n, const float *x)
{
    enum { RUN = 4096 };
    double sum = 0.0;
    for (int64_t i0 = 0; i0 < n; i0 += RUN) {
        int64_t end = i0 + RUN < n ? i0 + RUN : n;
        float s = 0.0f;
        VECTOR_SUM(s)
        for (int64_t i = i0; i < end; i++)
            s += x[i];
        sum += (double)s;
    }
    return sum;
}

static void reduce_fwd(const struct engine *e, enum reduce op, int64_t outer, int64_t n, int64_t inner, const void *x_,
                       void *y_)
{
    const float *x = x_;
    float *y = y_, scale = op == RED_MEAN ? 1.0f / (float)n : 1.0f;
    if ((op != RED_SUM && op != RED_MEAN) || n <= 0 || (inner > 1 && inner < 8)) {
        cpu_ref.reduce_fwd(e, op, outer, n, inner, x_, y_);
        return;
    }
    if (inner == 1) {
        ROWS(e->threads, outer * n)
        for (int64_t o = 0; o < outer; o++)
            y[o] = (float)long_sum(n, x + o * n) * scale;
        return;
    }
    memset(y, 0, (size_t)(outer * inner) * sizeof *y);
    if (outer == 1) {
        add_products(e->threads, n, inner, scale, x, NULL, y);
        return;
    }
    ROWS(e->threads, outer * n * inner)
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            VECTOR
            for (int64_t j = 0; j < inner; j++)
                y[o * inner + j] += scale * x[(o * n + i) * inner + j];
        }
}

static void reduce_bwd(const struct engine *e, enum reduce op, int64_t outer, int64_t n, int64_t inner, const void *x_,
                       const void *y_, const void *dy_, void *dx_)
{
    const float *dy = dy_;
    float *dx = dx_, scale = op == RED_MEAN ? 1.0f / (float)n : 1.0f;
    if (!dx)
        return;
    if (op != RED_SUM && op != RED_MEAN) {
        cpu_ref.reduce_bwd(e, op, outer, n, inner, x_, y_, dy_, dx_);
        return;
    }
    if (inner == 1) {
        for (int64_t o = 0; o < outer; o++) {
            float g = scale * dy[o];
            FLAT(e->threads, n)
            for (int64_t i = 0; i < n; i++)
                dx[o * n + i] += g;
        }
        return;
    }
    ROWS(e->threads, outer * n * inner)
    for (int64_t r = 0; r < outer * n; r++) {
        const float *g = dy + r / n * inner;
        VECTOR
        for (int64_t j = 0; j < inner; j++)
            dx[r * inner + j] += scale * g[j];
    }
}

void CPU_FN(cpu_point_fill)(struct engine *e, struct cpu_vec *v)
{
    *v = (struct cpu_vec){.to_bf16 = to_bf16, .round_bf16 = round_bf16, .add_columns = add_columns};
    e->act_fwd = act_fwd;
    e->act_bwd = act_bwd;
    e->act_grad = act_grad;
    e->scale_add = scale_add;
    e->axpy = axpy;
    e->clamp_fwd = clamp_fwd;
    e->mask_mul = mask_mul;
    e->sum_squares = sum_squares;
    e->adamw = adamw;
    e->binary_fwd = binary_fwd;
    e->binary_bwd = binary_bwd;
    e->reduce_fwd = reduce_fwd;
    e->reduce_bwd = reduce_bwd;
}
