/* kernel/ref/ref_softmax_tmpl.c: softmax, log softmax and cross entropy over the last axis.
 *
 * The maximum is subtracted before exp. A row of -inf only has no softmax: it gives NaN, which the tape reports;
 * hidden keys are attention's affair. Cross entropy with a label uses the target (1 - s) onehot + s / c (Szegedy 2016,
 * section 7); smoothing does not touch a soft target. Exactly one of label and target is given. A row with a negative
 * label has loss 0 and no gradient; its lse is kept all the same. An impossible class (logit -inf) with target 0 adds
 * nothing to the loss. */
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

/* The maximum of a row and the sum of exp(x - maximum). */
static double row_sum(int64_t d, const REAL *x, double *top)
{
    double sum = 0;
    *top = -(double)INFINITY;
    for (int64_t j = 0; j < d; j++)
        if ((double)x[j] > *top)
            *top = (double)x[j];
    for (int64_t j = 0; j < d; j++)
        sum += exp((double)x[j] - *top);
    return sum;
}

static void ref_softmax_fwd(const struct engine *e, int64_t n, int64_t d, bool log_form, const void *vx, void *vy)
{
    const REAL *x = vx;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        double top, sum = row_sum(d, x + i * d, &top);
        for (int64_t j = i * d; j < (i + 1) * d; j++) {
            double v = (double)x[j] - top;
            y[j] = (REAL)(log_form ? v - log(sum) : exp(v) / sum);
        }
    }
}

static void ref_softmax_bwd(const struct engine *e, int64_t n, int64_t d, bool log_form, const void *vy,
                            const void *vdy, void *vdx)
{
    const REAL *y = vy, *dy = vdy;
    REAL *dx = vdx;
    for (int64_t i = 0; dx && i < n; i++) {
        double sum = 0;
        for (int64_t j = i * d; j < (i + 1) * d; j++)
            sum += (log_form ? 1 : (double)y[j]) * (double)dy[j];
        for (int64_t j = i * d; j < (i + 1) * d; j++) {
            double v = log_form ? (double)dy[j] - exp((double)y[j]) * sum : (double)y[j] * ((double)dy[j] - sum);
            dx[j] += (REAL)v;
        }
    }
}

/* The target of class j in a row: from the row of soft targets, or from the label. */
static double target_at(const REAL *target_row, int32_t label, double smoothing, int64_t c, int64_t j)
{
    if (target_row)
        return (double)target_row[j];
    return (j == label ? 1 - smoothing : 0) + smoothing / (double)c;
}

static void ref_cross_entropy_fwd(const struct engine *e, int64_t n, int64_t c, const void *vlogits,
                                  const int32_t *label, const void *vtarget, double smoothing, void *vloss, void *vlse)
{
    const REAL *logits = vlogits, *target = vtarget;
    REAL *loss = vloss, *lse = vlse;
    BUG_ON(!label == !target);
    for (int64_t i = 0; i < n; i++) {
        const REAL *x = logits + i * c, *t_row = target ? target + i * c : NULL;
        int32_t at = label ? label[i] : 0;
        double loss_i = 0, top, log_sum = log(row_sum(c, x, &top));
        BUG_ON(at >= c);
        for (int64_t j = 0; at >= 0 && j < c; j++) {
            double t = target_at(t_row, at, smoothing, c, j);
            if (t != 0)
                loss_i += t * (log_sum - ((double)x[j] - top));
        }
        loss[i] = (REAL)loss_i;
        if (lse)
            lse[i] = (REAL)(top + log_sum);
    }
}

static void ref_cross_entropy_bwd(const struct engine *e, int64_t n, int64_t c, const void *vlogits,
                                  const int32_t *label, const void *vtarget, double smoothing, const void *vlse,
                                  const void *vdloss, void *vdlogits, void *vdtarget)
{
    const REAL *logits = vlogits, *target = vtarget, *lse = vlse, *dloss = vdloss;
    REAL *dlogits = vdlogits, *dtarget = vdtarget;
    BUG_ON(!label == !target);
    for (int64_t i = 0; i < n; i++) {
        const REAL *x = logits + i * c, *t_row = target ? target + i * c : NULL;
        int32_t at = label ? label[i] : 0;
        double total = 0, g = (double)dloss[i], row = (double)lse[i];
        if (at < 0)
            continue;
        for (int64_t j = 0; j < c; j++)
            total += target_at(t_row, at, smoothing, c, j);
        for (int64_t j = 0; dlogits && j < c; j++) {
            double p = exp((double)x[j] - row);
            dlogits[i * c + j] += (REAL)(g * (p * total - target_at(t_row, at, smoothing, c, j)));
        }
        for (int64_t j = 0; dtarget && target && j < c; j++)
            dtarget[i * c + j] += (REAL)(g * (row - (double)x[j]));
    }
}

void REF_PART(softmax)(struct engine *e)
{
    e->softmax_fwd = ref_softmax_fwd;
    e->softmax_bwd = ref_softmax_bwd;
    e->cross_entropy_fwd = ref_cross_entropy_fwd;
    e->cross_entropy_bwd = ref_cross_entropy_bwd;
}
