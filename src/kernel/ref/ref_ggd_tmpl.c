/* kernel/ref/ref_ggd_tmpl.c: negative log-likelihood of generalised Gaussians, number by number.
 *
 *   exact    y = (r a)^b - ln a - ln b + lgamma(1/b)      a = 1/alpha      (Upadhyay et al. 2023, equation 3)
 *   linear   y = clamp(r a b) - ln a - ln b + lgamma(1/b)                  (the same authors' released code)
 *
 * The guards against NaN: r = sqrt((m - z)^2 + eps^2) has no kink at 0, where a shape below 1 has an infinite slope; at
 * r = 0 itself the power and its slopes are 0 (the limit of u ln(r a)); above t = b ln(r a) = cap the power goes on as
 * a straight line in t, whose slope is large but finite. Rejected: clamping the power, whose slope would be 0 just
 * where the scale must grow. */
#include "kernel/ref/ref_special.h"
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

struct ggd_power {
    double u, slope, log_ra, r; /* slope: du/dt with t = b ln(r a) */
};

static struct ggd_power power_of(const struct ggd_form *f, double d, double a, double b)
{
    struct ggd_power p = {.r = sqrt(d * d + f->eps * f->eps)};
    if (p.r == 0)
        return p;
    p.log_ra = log(p.r) + log(a);
    double t = b * p.log_ra;
    p.slope = exp(t > f->cap ? f->cap : t);
    p.u = t > f->cap ? p.slope * (1 + t - f->cap) : p.slope;
    return p;
}

static void ggd_fwd(const struct engine *e, const struct ggd_form *f, int64_t n, const void *vm, const void *vz,
                    const void *va, const void *vb, void *vy)
{
    const REAL *m = vm, *z = vz, *a = va, *b = vb;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        double ai = (double)a[i] + (f->linear ? f->shift : 0), bi = (double)b[i] + (f->linear ? f->shift : 0);
        double d = (double)m[i] - (double)z[i], u;
        if (f->linear) {
            u = fabs(d) * ai * bi;
            u = u < f->lo ? f->lo : u > f->hi ? f->hi : u;
        } else {
            u = power_of(f, d, ai, bi).u;
        }
        y[i] = (REAL)(u - log(ai) - log(bi) + ref_lgamma(1 / bi));
    }
}

static void ggd_bwd(const struct engine *e, const struct ggd_form *f, int64_t n, const void *vm, const void *vz,
                    const void *va, const void *vb, const void *vdy, void *vdm, void *vda, void *vdb)
{
    const REAL *m = vm, *z = vz, *a = va, *b = vb, *dy = vdy;
    REAL *dm = vdm, *da = vda, *db = vdb;
    for (int64_t i = 0; i < n; i++) {
        double ai = (double)a[i] + (f->linear ? f->shift : 0), bi = (double)b[i] + (f->linear ? f->shift : 0);
        double d = (double)m[i] - (double)z[i], by_m, by_a, by_b;
        if (f->linear) {
            double r = fabs(d), u = r * ai * bi;
            bool inside = u >= f->lo && u <= f->hi;
            by_m = inside ? ((d > 0) - (d < 0)) * ai * bi : 0;
            by_a = inside ? r * bi : 0;
            by_b = inside ? r * ai : 0;
        } else {
            struct ggd_power p = power_of(f, d, ai, bi);
            by_m = p.r > 0 ? p.slope * bi * (d / p.r) / p.r : 0;
            by_a = p.slope * bi / ai;
            by_b = p.slope * p.log_ra;
        }
        double g = (double)dy[i];
        if (dm)
            dm[i] += (REAL)(g * by_m);
        if (da)
            da[i] += (REAL)(g * (by_a - 1 / ai));
        if (db)
            db[i] += (REAL)(g * (by_b - 1 / bi - ref_digamma(1 / bi) / (bi * bi)));
    }
}

void REF_PART(ggd)(struct engine *e)
{
    e->ggd_fwd = ggd_fwd;
    e->ggd_bwd = ggd_bwd;
}
