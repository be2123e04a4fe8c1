/* kernel/ref/ref_sphere_tmpl.c: spherical interpolation of unit vectors, and squared Euclidean distances.
 *
 * slerp (Shoemake 1985; geodesic mixup, Oh 2023): with c = a.b clamped to [-1, 1], t = acos c,
 *   y = w1 a + w2 b,  w1 = sin(l t) / sin t,  w2 = sin((1 - l) t) / sin t;  l = 1 gives a, l = 0 gives b.
 * Each weight is a function of c alone, s_k(c) = sin(k t) / sin t, so with upstream g and
 *   s = w1'(c) (g.a) + w2'(c) (g.b):   da = w1 g + s b,   db = w2 g + s a.
 * s_k is the Chebyshev function of the second kind of order k - 1 and equals
 *   k 2F1(1 - k, 1 + k; 3/2; (1 - c) / 2)   (Abramowitz and Stegun 15.1.15),
 * a power series that needs no limit at t = 0, where the quotient and its derivative are 0/0. It is used for
 * (1 - c) / 2 < 0.05, where 20 terms are exact in double. Rejected: the first Taylor term below a tiny angle, which
 * leaves a band where the derivative has lost half its digits.
 * At t = pi the geodesic is not unique: y = a, da = g, db = 0, and the row is counted. */
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

#if REAL_IS_DOUBLE
static const double ANTIPODAL = -1 + 1e-12;
#else
static const double ANTIPODAL = -1 + 1e-6;
#endif

static double dot(int64_t d, const REAL *a, const REAL *b)
{
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += (double)a[j] * (double)b[j];
    return sum;
}

/* s_k(c) = sin(k t) / sin t and its derivative with respect to c = cos t */
static void weight(double k, double c, double *s, double *slope)
{
    double z = (1 - c) / 2;
    if (z < 0.05) {
        double term = k, power = 1; /* term: coefficient of z^m; power: z^(m - 1) */
        *s = k;
        *slope = 0;
        for (int m = 1; m <= 20; m++) {
            term *= (m - k) * (m + k) / ((m + 0.5) * m);
            *slope -= 0.5 * m * term * power;
            power *= z;
            *s += term * power;
        }
        return;
    }
    double t = acos(c), st = sin(t);
    *s = sin(k * t) / st;
    *slope = -(k * cos(k * t) * st - sin(k * t) * c) / (st * st * st);
}

struct mix {
    bool antipodal;
    double w1, w2, slope1, slope2;
};

static struct mix mix_of(int64_t d, const REAL *a, const REAL *b, double lambda)
{
    struct mix m = {.w1 = 1};
    double c = dot(d, a, b);
    m.antipodal = c < ANTIPODAL;
    if (m.antipodal)
        return m;
    c = c > 1 ? 1 : c;
    weight(lambda, c, &m.w1, &m.slope1);
    weight(1 - lambda, c, &m.w2, &m.slope2);
    return m;
}

static void ref_slerp_fwd(const struct engine *e, int64_t n, int64_t d, const void *va, const void *vb,
                          const void *vlambda, int64_t n_lambda, void *vy, int64_t *n_antipodal)
{
    const REAL *a = va, *b = vb, *lambda = vlambda;
    REAL *y = vy;
    int64_t counted = 0;
    for (int64_t i = 0; i < n; i++) {
        struct mix m = mix_of(d, a + i * d, b + i * d, (double)lambda[n_lambda == 1 ? 0 : i]);
        counted += m.antipodal;
        for (int64_t j = i * d; j < (i + 1) * d; j++)
            y[j] = (REAL)(m.w1 * (double)a[j] + m.w2 * (double)b[j]);
    }
    if (n_antipodal)
        *n_antipodal = counted;
}

static void ref_slerp_bwd(const struct engine *e, int64_t n, int64_t d, const void *va, const void *vb,
                          const void *vlambda, int64_t n_lambda, const void *vdy, void *vda, void *vdb)
{
    const REAL *a = va, *b = vb, *lambda = vlambda, *dy = vdy;
    REAL *da = vda, *db = vdb;
    for (int64_t i = 0; i < n; i++) {
        struct mix m = mix_of(d, a + i * d, b + i * d, (double)lambda[n_lambda == 1 ? 0 : i]);
        double s = m.slope1 * dot(d, dy + i * d, a + i * d) + m.slope2 * dot(d, dy + i * d, b + i * d);
        for (int64_t j = i * d; j < (i + 1) * d; j++) {
            if (da)
                da[j] += (REAL)(m.w1 * (double)dy[j] + s * (double)b[j]);
            if (db)
                db[j] += (REAL)(m.w2 * (double)dy[j] + s * (double)a[j]);
        }
    }
}

/* y [n, m] = |a_i - b_j|^2, from the differences: |a|^2 + |b|^2 - 2 a.b cancels for near points. */
static int ref_distance_fwd(const struct engine *e, int64_t n, int64_t m, int64_t d, const void *va, const void *vb,
                            void *vy)
{
    const REAL *a = va, *b = vb;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < m; j++) {
            double sum = 0;
            for (int64_t k = 0; k < d; k++) {
                double diff = (double)a[i * d + k] - (double)b[j * d + k];
                sum += diff * diff;
            }
            y[i * m + j] = (REAL)sum;
        }
    }
    return 0;
}

static int ref_distance_bwd(const struct engine *e, int64_t n, int64_t m, int64_t d, const void *va, const void *vb,
                            const void *vdy, void *vda, void *vdb)
{
    const REAL *a = va, *b = vb, *dy = vdy;
    REAL *da = vda, *db = vdb;
    for (int64_t k = 0; k < d; k++) {
        for (int64_t i = 0; da && i < n; i++) {
            double sum = 0;
            for (int64_t j = 0; j < m; j++)
                sum += 2 * (double)dy[i * m + j] * ((double)a[i * d + k] - (double)b[j * d + k]);
            da[i * d + k] += (REAL)sum;
        }
        for (int64_t j = 0; db && j < m; j++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++)
                sum += 2 * (double)dy[i * m + j] * ((double)b[j * d + k] - (double)a[i * d + k]);
            db[j * d + k] += (REAL)sum;
        }
    }
    return 0;
}

void REF_PART(sphere)(struct engine *e)
{
    e->slerp_fwd = ref_slerp_fwd;
    e->slerp_bwd = ref_slerp_bwd;
    e->distance_fwd = ref_distance_fwd;
    e->distance_bwd = ref_distance_bwd;
}
