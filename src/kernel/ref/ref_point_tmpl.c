/* kernel/ref/ref_point_tmpl.c: memory, activations, scaling, clamping, broadcast binary operations, masks.
 *
 * Forward slots may work in place (y == x). The backward of a broadcast operation sums, for each element of the
 * operand, over the output elements it was repeated into: in double and in a fixed order. Rejected: scattering into
 * the gradient while walking the output, whose float sums over long broadcasts lose digits.
 * Conventions where the derivative is not defined: relu, abs at 0 give 0; max and min give a tie to the first
 * operand; d(a^b)/db at a = 0 is 0. */
#include "kernel/ref/ref_special.h"
#include "kernel/ref/ref_tmpl.h"

#include <math.h>
#include <string.h>

static void ref_fill(const struct engine *e, void *vx, double value, int64_t n)
{
    REAL *x = vx;
    for (int64_t i = 0; i < n; i++)
        x[i] = (REAL)value;
}

static void ref_copy(const struct engine *e, void *dst, const void *src, int64_t n)
{
    if (n > 0)
        memmove(dst, src, (size_t)n * sizeof(REAL));
}

static void ref_act_fwd(const struct engine *e, enum act act, const void *vx, void *vy, int64_t n)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++)
        y[i] = (REAL)ref_act(act, (double)x[i]);
}

static void ref_act_bwd(const struct engine *e, enum act act, const void *vx, const void *y, const void *vdy, void *vdx,
                        int64_t n)
{
    const REAL *x = vx, *dy = vdy;
    REAL *dx = vdx;
    if (!dx)
        return;
    for (int64_t i = 0; i < n; i++)
        dx[i] += (REAL)(ref_act_slope(act, (double)x[i]) * (double)dy[i]);
}

static void ref_act_grad(const struct engine *e, enum act act, const void *vpre, const void *vdy, void *vdpre,
                         int64_t n)
{
    const REAL *pre = vpre, *dy = vdy;
    REAL *dpre = vdpre;
    for (int64_t i = 0; i < n; i++)
        dpre[i] = (REAL)(ref_act_slope(act, (double)pre[i]) * (double)dy[i]);
}

static void ref_scale_add(const struct engine *e, double alpha, const void *vx, double shift, void *vy, int64_t n)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++)
        y[i] = (REAL)(alpha * (double)x[i] + shift);
}

static void ref_axpy(const struct engine *e, double alpha, const void *vx, void *vy, int64_t n)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++)
        y[i] = (REAL)((double)y[i] + alpha * (double)x[i]);
}

/* The bounds are rounded to REAL first: a number that forward put on a bound must still be inside for backward, or a
 * clamped weight stored in float could never leave it (log 100 rounds upwards). */
static void ref_clamp_fwd(const struct engine *e, double lo_, double hi_, const void *vx, void *vy, int64_t n)
{
    const REAL *x = vx, lo = (REAL)lo_, hi = (REAL)hi_;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i]; /* NaN stays NaN */
}

static void ref_clamp_bwd(const struct engine *e, double lo_, double hi_, const void *vx, const void *vdy, void *vdx,
                          int64_t n)
{
    const REAL *x = vx, *dy = vdy, lo = (REAL)lo_, hi = (REAL)hi_;
    REAL *dx = vdx;
    for (int64_t i = 0; dx && i < n; i++)
        if (x[i] >= lo && x[i] <= hi)
            dx[i] += dy[i];
}

static void ref_mask_mul(const struct engine *e, const uint8_t *keep, double scale, const void *vx, void *vy, int64_t n,
                         bool add)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        REAL v = keep[i] ? (REAL)((double)x[i] * scale) : 0;
        y[i] = add ? y[i] + v : v;
    }
}

/* ---- broadcast binary operations ---- */

static double binary_value(enum binary op, double a, double b)
{
    switch (op) {
    case BIN_ADD:
        return a + b;
    case BIN_SUB:
        return a - b;
    case BIN_MUL:
        return a * b;
    case BIN_DIV:
        return a / b;
    case BIN_MAX:
        return a >= b || isnan(a) ? a : b;
    case BIN_MIN:
        return a <= b || isnan(a) ? a : b;
    case BIN_POW:
        return pow(a, b);
    case N_BINARIES:
        break;
    }
    BUG_ON(op >= N_BINARIES);
    return (double)NAN;
}

static double slope_a(enum binary op, double a, double b)
{
    switch (op) {
    case BIN_ADD:
    case BIN_SUB:
        return 1;
    case BIN_MUL:
        return b;
    case BIN_DIV:
        return 1 / b;
    case BIN_MAX:
        return a >= b;
    case BIN_MIN:
        return a <= b;
    case BIN_POW:
        return b == 0 ? 0 : b * pow(a, b - 1);
    case N_BINARIES:
        break;
    }
    BUG_ON(op >= N_BINARIES);
    return (double)NAN;
}

static double slope_b(enum binary op, double a, double b)
{
    switch (op) {
    case BIN_ADD:
        return 1;
    case BIN_SUB:
        return -1;
    case BIN_MUL:
        return a;
    case BIN_DIV:
        return -a / (b * b);
    case BIN_MAX:
        return b > a;
    case BIN_MIN:
        return b < a;
    case BIN_POW:
        return a == 0 ? 0 : pow(a, b) * log(a);
    case N_BINARIES:
        break;
    }
    BUG_ON(op >= N_BINARIES);
    return (double)NAN;
}

static int64_t count(const struct bcast_dims *d)
{
    int64_t n = 1;
    for (int k = 0; k < d->n_dims; k++)
        n *= d->shape[k];
    return n;
}

/* Add to each *at[] the offset of the i-th element (row-major over d->shape) under each of the strides. */
static void offsets(const struct bcast_dims *d, const int64_t *stride_y, int64_t i, int64_t at[3])
{
    for (int k = d->n_dims - 1; k >= 0; k--) {
        int64_t c = i % d->shape[k];
        i /= d->shape[k];
        at[0] += c * d->stride_a[k];
        at[1] += c * d->stride_b[k];
        at[2] += c * stride_y[k];
    }
}

static void ref_binary_fwd(const struct engine *e, enum binary op, const struct bcast_dims *d, const void *va,
                           const void *vb, void *vy)
{
    const REAL *a = va, *b = vb;
    REAL *y = vy;
    int64_t n = count(d), no_stride[5] = {0};
    for (int64_t i = 0; i < n; i++) {
        int64_t at[3] = {0};
        offsets(d, no_stride, i, at);
        y[i] = (REAL)binary_value(op, (double)a[at[0]], (double)b[at[1]]);
    }
}

/* The gradient of one operand. Axes are split in those the operand has (kept) and those it is repeated over. */
static void binary_side(enum binary op, const struct bcast_dims *d, bool side_b, const REAL *a, const REAL *b,
                        const REAL *dy, REAL *grad)
{
    const int64_t *mine = side_b ? d->stride_b : d->stride_a;
    struct bcast_dims part[2] = {{0}}; /* kept, repeated */
    int64_t stride_y[2][5], step = 1;
    for (int k = d->n_dims - 1; k >= 0; k--) {
        int which = mine[k] == 0;
        struct bcast_dims *p = &part[which];
        int at = p->n_dims++;
        p->shape[at] = d->shape[k];
        p->stride_a[at] = d->stride_a[k];
        p->stride_b[at] = d->stride_b[k];
        stride_y[which][at] = step;
        step *= d->shape[k];
    }
    int64_t n_kept = count(&part[0]), n_repeated = count(&part[1]);
    for (int64_t i = 0; i < n_kept; i++) {
        double sum = 0;
        int64_t base[3] = {0};
        offsets(&part[0], stride_y[0], i, base);
        for (int64_t r = 0; r < n_repeated; r++) {
            int64_t at[3] = {base[0], base[1], base[2]};
            offsets(&part[1], stride_y[1], r, at);
            double av = (double)a[at[0]], bv = (double)b[at[1]];
            sum += (side_b ? slope_b(op, av, bv) : slope_a(op, av, bv)) * (double)dy[at[2]];
        }
        grad[base[side_b]] += (REAL)sum;
    }
}

static void ref_binary_bwd(const struct engine *e, enum binary op, const struct bcast_dims *d, const void *a,
                           const void *b, const void *y, const void *dy, void *da, void *db)
{
    if (da)
        binary_side(op, d, false, a, b, dy, da);
    if (db)
        binary_side(op, d, true, a, b, dy, db);
}

void REF_PART(point)(struct engine *e)
{
    e->fill = ref_fill;
    e->copy = ref_copy;
    e->act_fwd = ref_act_fwd;
    e->act_bwd = ref_act_bwd;
    e->act_grad = ref_act_grad;
    e->scale_add = ref_scale_add;
    e->axpy = ref_axpy;
    e->clamp_fwd = ref_clamp_fwd;
    e->clamp_bwd = ref_clamp_bwd;
    e->mask_mul = ref_mask_mul;
    e->binary_fwd = ref_binary_fwd;
    e->binary_bwd = ref_binary_bwd;
}
