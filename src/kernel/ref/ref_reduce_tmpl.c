/* kernel/ref/ref_reduce_tmpl.c: sum, mean, max and log sum exp over the middle axis of [outer, n, inner]; squares.
 *
 * log sum exp subtracts the maximum first; a row of -inf gives -inf and no gradient. The gradient of max goes to the
 * first maximum (rejected: sharing among equals, which no fast engine does). Squares are summed in chunks of 4096, so
 * that an engine with threads can give the same bits. */
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

enum { CHUNK = 4096 };

/* x points at the first of n numbers, `inner` apart. The first maximum; a NaN wins. */
static int64_t find_max(int64_t n, int64_t inner, const REAL *x)
{
    int64_t best = 0;
    for (int64_t j = 1; j < n && !isnan(x[best * inner]); j++)
        if (x[j * inner] > x[best * inner] || isnan(x[j * inner]))
            best = j;
    return best;
}

static double reduce_line(enum reduce op, int64_t n, int64_t inner, const REAL *x)
{
    double sum = 0;
    if (op == RED_SUM || op == RED_MEAN) {
        for (int64_t j = 0; j < n; j++)
            sum += (double)x[j * inner];
        return op == RED_MEAN ? sum / (double)n : sum;
    }
    if (n == 0)
        return -(double)INFINITY;
    double top = (double)x[find_max(n, inner, x) * inner];
    if (op == RED_MAX || !isfinite(top))
        return top;
    for (int64_t j = 0; j < n; j++)
        sum += exp((double)x[j * inner] - top);
    return top + log(sum);
}

static void ref_reduce_fwd(const struct engine *e, enum reduce op, int64_t outer, int64_t n, int64_t inner,
                           const void *vx, void *vy)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++)
            y[o * inner + i] = (REAL)reduce_line(op, n, inner, x + o * n * inner + i);
}

static void reduce_line_bwd(enum reduce op, int64_t n, int64_t inner, const REAL *x, double y, double dy, REAL *dx)
{
    switch (op) {
    case RED_SUM:
    case RED_MEAN:
        for (int64_t j = 0; j < n; j++)
            dx[j * inner] += (REAL)(op == RED_MEAN ? dy / (double)n : dy);
        return;
    case RED_MAX:
        if (n > 0)
            dx[find_max(n, inner, x) * inner] += (REAL)dy;
        return;
    case RED_LSE:
        for (int64_t j = 0; j < n && y > -(double)INFINITY; j++)
            dx[j * inner] += (REAL)(dy * exp((double)x[j * inner] - y));
        return;
    case N_REDUCES:
        break;
    }
    BUG_ON(op >= N_REDUCES);
}

static void ref_reduce_bwd(const struct engine *e, enum reduce op, int64_t outer, int64_t n, int64_t inner,
                           const void *vx, const void *vy, const void *vdy, void *vdx)
{
    const REAL *x = vx, *y = vy, *dy = vdy;
    REAL *dx = vdx;
    if (!dx)
        return;
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t i = 0; i < inner; i++) {
            int64_t at = o * n * inner + i;
            double value = op == RED_LSE ? (double)y[o * inner + i] : 0;
            const REAL *line = op == RED_MAX || op == RED_LSE ? x + at : NULL; /* sums need neither x nor y */
            reduce_line_bwd(op, n, inner, line, value, (double)dy[o * inner + i], dx + at);
        }
    }
}

static double ref_sum_squares(const struct engine *e, const void *vx, int64_t n)
{
    const REAL *x = vx;
    double total = 0;
    for (int64_t from = 0; from < n; from += CHUNK) {
        double sum = 0;
        for (int64_t i = from; i < n && i < from + CHUNK; i++)
            sum += (double)x[i] * (double)x[i];
        total += sum;
    }
    return total;
}

void REF_PART(reduce)(struct engine *e)
{
    e->reduce_fwd = ref_reduce_fwd;
    e->reduce_bwd = ref_reduce_bwd;
    e->sum_squares = ref_sum_squares;
}
