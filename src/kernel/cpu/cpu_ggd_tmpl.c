/* kernel/cpu/cpu_ggd_tmpl.c: negative log-likelihood of generalised Gaussians, compiled once per instruction set. The
 * formulas and their guards are ref_ggd_tmpl.c's.
 *
 * log: x = 2^k f, f in [sqrt(1/2), sqrt(2)), Cephes' logf polynomial (Moshier 1992), relative error 2e-7; positive
 * normal numbers only. lgamma and digamma of x > 0: four steps of the recurrence, then Stirling's series at x + 4
 * (Abramowitz and Stegun 6.1.41, 6.3.18), whose first dropped term is below 4e-8. Rejected: libm's lgammaf, one number
 * at a time: at a batch of 64 by 512 it alone takes longer than the matrix products. */
#include "kernel/cpu/cpu_math_tmpl.h"

static inline float log_f(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t shifted = u - 0x3f3504f3u; /* sqrt(1/2) */
    int32_t k = (int32_t)shifted >> 23;
    u = (shifted & 0x7fffffu) + 0x3f3504f3u;
    float f;
    memcpy(&f, &u, sizeof f);
    f -= 1.0f;
    float z = f * f, p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    float e = (float)k;
    float y = f * z * p + e * -2.12194440e-4f - 0.5f * z;
    return f + y + e * 0.693359375f;
}

static inline float lgamma_f(float x)
{
    float y = x + 4.0f, q = 1.0f / y, q2 = q * q;
    float series = q * (8.3333333e-2f - q2 * (2.7777778e-3f - q2 * 7.9365079e-4f));
    float product = x * (x + 1.0f) * ((x + 2.0f) * (x + 3.0f));
    return (y - 0.5f) * log_f(y) - y + 0.91893853f + series - log_f(product);
}

static inline float digamma_f(float x)
{
    float y = x + 4.0f, q = 1.0f / y, q2 = q * q;
    float series = q2 * (8.3333333e-2f - q2 * (8.3333333e-3f - q2 * 3.9682540e-3f));
    float steps = 1.0f / x + 1.0f / (x + 1.0f) + 1.0f / (x + 2.0f) + 1.0f / (x + 3.0f);
    return log_f(y) - 0.5f * q - series - steps;
}

/* A difference whose square is a float. */
static inline float near_f(float d)
{
    d = d > 1e18f ? 1e18f : d;
    return d < -1e18f ? -1e18f : d;
}

static void ggd_fwd(const struct engine *e, const struct ggd_form *f, int64_t n, const void *m_, const void *z_,
                    const void *a_, const void *b_, void *y_)
{
    const float *m = m_, *z = z_, *a = a_, *b = b_;
    float *y = y_;
    const float eps2 = (float)(f->eps * f->eps), cap = (float)f->cap, shift = (float)f->shift, lo = (float)f->lo,
                hi = (float)f->hi;
    if (f->linear) {
        FLAT(e->threads, n)
        for (int64_t i = 0; i < n; i++) {
            float ai = a[i] + shift, bi = b[i] + shift;
            float u = fabsf(m[i] - z[i]) * ai * bi;
            u = u < lo ? lo : u;
            u = u > hi ? hi : u;
            y[i] = u - log_f(ai) - log_f(bi) + lgamma_f(1.0f / bi);
        }
        return;
    }
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++) {
        float d = near_f(m[i] - z[i]), r2 = d * d + eps2;
        float la = log_f(a[i]), t = b[i] * (0.5f * log_f(r2 > 1e-37f ? r2 : 1e-37f) + la);
        float s = exp_f(t < cap ? t : cap), over = t - cap;
        float u = s * (1.0f + (over > 0.0f ? over : 0.0f));
        u = r2 > 0.0f ? u : r2; /* and NaN stays NaN */
        y[i] = u - la - log_f(b[i]) + lgamma_f(1.0f / b[i]);
    }
}

/* A gradient that is not wanted goes into a number that nobody reads. */
static inline void add_to(float *x, int64_t i, float v)
{
    if (x)
        x[i] += v;
}

static void ggd_bwd_linear(const struct engine *e, const struct ggd_form *f, int64_t n, const float *m, const float *z,
                           const float *a, const float *b, const float *dy, float *dm, float *da, float *db)
{
    const float shift = (float)f->shift, lo = (float)f->lo, hi = (float)f->hi;
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++) {
        float ai = a[i] + shift, bi = b[i] + shift, d = m[i] - z[i], r = fabsf(d), u = r * ai * bi;
        float inside = (u < lo ? 0.0f : 1.0f) * (u > hi ? 0.0f : 1.0f) * dy[i];
        float sign = (d > 0.0f ? 1.0f : 0.0f) - (d < 0.0f ? 1.0f : 0.0f), q = 1.0f / bi;
        add_to(dm, i, inside * sign * ai * bi);
        add_to(da, i, inside * r * bi - dy[i] / ai);
        add_to(db, i, inside * r * ai - dy[i] * (q + digamma_f(q) * q * q));
    }
}

static void ggd_bwd(const struct engine *e, const struct ggd_form *f, int64_t n, const void *m_, const void *z_,
                    const void *a_, const void *b_, const void *dy_, void *dm_, void *da_, void *db_)
{
    const float *m = m_, *z = z_, *a = a_, *b = b_, *dy = dy_;
    float *dm = dm_, *da = da_, *db = db_;
    const float eps2 = (float)(f->eps * f->eps), cap = (float)f->cap;
    if (f->linear) {
        ggd_bwd_linear(e, f, n, m, z, a, b, dy, dm, da, db);
        return;
    }
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++) {
        float d = near_f(m[i] - z[i]), r2 = d * d + eps2, safe = r2 > 1e-37f ? r2 : 1e-37f;
        float l = 0.5f * log_f(safe) + log_f(a[i]), t = b[i] * l;
        float s = exp_f(t < cap ? t : cap), q = 1.0f / b[i];
        s = (r2 > 0.0f ? s : r2) * dy[i];
        add_to(dm, i, d / safe * (s * b[i]));
        add_to(da, i, (s * b[i] - dy[i]) / a[i]);
        add_to(db, i, s * l - dy[i] * (q + digamma_f(q) * q * q));
    }
}

void CPU_FN(cpu_ggd_fill)(struct engine *e)
{
    e->ggd_fwd = ggd_fwd;
    e->ggd_bwd = ggd_bwd;
}
