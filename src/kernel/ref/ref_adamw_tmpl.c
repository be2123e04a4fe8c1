/* kernel/ref/ref_adamw_tmpl.c: one step of AdamW (Loshchilov and Hutter 2019, algorithm 2).
 *
 * correction1 = 1 - beta1^t and correction2 = 1 - beta2^t come from the caller, who counts the steps. eps is added
 * after the square root of the corrected second moment, as the common implementations do. Decay uses the parameter
 * before the step. */
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

static void ref_adamw(const struct engine *e, int64_t n, const struct adamw_step *s, const void *vg, void *vp, void *vm,
                      void *vv)
{
    const REAL *g = vg;
    REAL *p = vp, *m = vm, *v = vv;
    for (int64_t i = 0; i < n; i++) {
        double gi = (double)g[i] * s->grad_scale;
        double mi = s->beta1 * (double)m[i] + (1 - s->beta1) * gi;
        double vi = s->beta2 * (double)v[i] + (1 - s->beta2) * gi * gi;
        double step = (mi / s->correction1) / (sqrt(vi / s->correction2) + s->eps);
        p[i] = (REAL)((double)p[i] * (1 - s->lr * s->weight_decay) - s->lr * step);
        m[i] = (REAL)mi;
        v[i] = (REAL)vi;
    }
}

void REF_PART(adamw)(struct engine *e)
{
    e->adamw = ref_adamw;
}
