/* loss/spherical.c: two distributions of directions, on the unit sphere of R^d, d >= 2, around a mean direction m with
 * concentration k >= 0; t = m.x.
 *
 *   von Mises-Fisher   p(x) ~ e^(k t)        power spherical   p(x) ~ (1 + t)^k   (De Cao and Aziz 2020)
 *
 * Densities are told relative to the uniform one, whose logarithm is -sphere_log_area(d): k = 0 is then 0, and the
 * normalisers of neighbouring d do not drown each other. With a = d/2, v = a - 1, b = (d - 1)/2:
 *
 *   vMF   L(k) = ln 0F1(; a; k^2/4) = ln I_v(k) - v ln(k/2) + ln Gamma(a),     L' = I_a(k) / I_v(k)
 *   PS    L(k) = k ln 2 + ln Gamma(b+k)/Gamma(b) - ln Gamma(2b+k)/Gamma(2b),   L' = ln 2 + psi(b+k) - psi(2b+k)
 *
 * 0F1 by its power series while it is short, else by Debye's expansion, uniform in k (DLMF 10.41.3): with r = |(v, k)|,
 * q = (v/r)^2 and S = 1 + sum_j Q_j(q) / r^j it needs r >= 100 alone; five terms leave 1e-12. For large v Stirling's
 * series is the same S at q = 1, so that nothing of the size v ln v cancels. Rejected: the closed approximation of the
 * AsymVLM code (Govindarajan et al. 2021), which is out by an unstated constant and bends the gradient; the recurrence
 * of ratios, slow for k far above v.
 *
 * Draws of t: vMF by rejection (Wood 1994), PS as 2 Beta(b + k, b) - 1, with no rejection. */
#include "loss/loss.h"

#include <math.h>

static const double LOG_PI = 1.14472988584940017, LOG_2 = 0.693147180559945309;

double sphere_log_area(int64_t d)
{
    return LOG_2 + 0.5 * (double)d * LOG_PI - ref_lgamma(0.5 * (double)d);
}

/* ---- ln 0F1 ---- */

enum { TERMS = 5 };
/* Q_j, rising powers of q (DLMF 10.41.10) */
static const double DEBYE[TERMS + 1][TERMS + 1] = {
    {1},
    {3 / 24., -5 / 24.},
    {81 / 1152., -462 / 1152., 385 / 1152.},
    {30375 / 414720., -369603 / 414720., 765765 / 414720., -425425 / 414720.},
    {4465125 / 39813120., -94121676 / 39813120., 349922430 / 39813120., -446185740 / 39813120., 185910725 / 39813120.},
    {1519035525 / 6688604160., -49286948607. / 6688604160., 284499769554. / 6688604160., -614135872350. / 6688604160.,
     566098157625. / 6688604160., -188699385875. / 6688604160.},
};

/* S - 1, and in *slope the sum of (j Q_j + 2 q Q_j') / r^j, which is -(r^2/k) dS/dk */
static double debye(double r, double q, double *slope)
{
    double s = 0, ds = 0, power = 1;
    for (int j = 1; j <= TERMS; j++) {
        double value = 0, deriv = 0;
        for (int i = j; i >= 0; i--) {
            deriv = deriv * q + value;
            value = value * q + DEBYE[j][i];
        }
        power /= r;
        s += power * value;
        ds += power * (j * value + 2 * q * deriv);
    }
    if (slope)
        *slope = ds;
    return s;
}

/* Is the power series short? k^2 / (4 a): the ratio of its first two terms. */
static bool is_short(double v, double k)
{
    return hypot(v, k) < 100 || k * k < v + 1;
}

/* 0F1(; a; x) - 1, all terms positive */
static double series(double a, double x)
{
    double term = 1, sum = 0;
    for (int n = 0; n < 10000 && term > 1e-18 * (1 + sum); n++) {
        term *= x / ((n + 1) * (a + n));
        sum += term;
    }
    return sum;
}

static double vmf_log_norm(double d, double k)
{
    double v = 0.5 * d - 1, r = hypot(v, k), over = k / (r + v) * k; /* r - v */
    if (is_short(v, k))
        return log1p(series(v + 1, 0.25 * k * k));
    double s = log1p(debye(r, v / r * (v / r), NULL));
    if (v >= 60)
        return over - v * log1p(over / (2 * v)) - 0.5 * log1p(over / v) + s - log1p(debye(v, 1, NULL));
    return r - v * log(0.5 * (v + r)) - 0.5 * (LOG_2 + LOG_PI + log(r)) + s + ref_lgamma(v + 1);
}

/* The mean of t. */
static double vmf_slope(double d, double k)
{
    double v = 0.5 * d - 1, r = hypot(v, k), ds, x = 0.25 * k * k;
    if (is_short(v, k))
        return k / d * (1 + series(v + 2, x)) / (1 + series(v + 1, x));
    double s = debye(r, v / r * (v / r), &ds);
    return k / (v + r) - k / r / r * (0.5 + ds / (1 + s));
}

/* ---- gamma functions ---- */

/* ln Gamma(x + y) - ln Gamma(x) without the size of either */
static double log_gamma_step(double x, double y)
{
    if (x < 10)
        return ref_lgamma(x + y) - ref_lgamma(x);
    double tail[2];
    for (int i = 0; i < 2; i++) {
        double z = 1 / (i ? x + y : x), w = z * z;
        tail[i] = z * (1 / 12. - w * (1 / 360. - w * (1 / 1260. - w * (1 / 1680. - w / 1188.))));
    }
    return y * log(x) + (x + y - 0.5) * log1p(y / x) - y + tail[1] - tail[0];
}

/* ---- both families ---- */

double sphere_log_norm(enum sphere_family f, int64_t d, double k)
{
    double b = 0.5 * (double)(d - 1);
    if (!(k > 0))
        return 0;
    if (f == SPHERE_VMF)
        return vmf_log_norm((double)d, k);
    return k * LOG_2 + log_gamma_step(b, k) - log_gamma_step(2 * b, k);
}

double sphere_log_norm_slope(enum sphere_family f, int64_t d, double k)
{
    double b = 0.5 * (double)(d - 1);
    k = k > 0 ? k : 0;
    if (f == SPHERE_VMF)
        return vmf_slope((double)d, k);
    return LOG_2 + ref_digamma(b + k) - ref_digamma(2 * b + k);
}

double sphere_mean_cosine(enum sphere_family f, int64_t d, double k)
{
    return f == SPHERE_VMF ? vmf_slope((double)d, k) : k / (k + (double)(d - 1));
}

double sphere_log_density(enum sphere_family f, int64_t d, double k, double t)
{
    t = fmin(fmax(t, -1), 1);
    if (!(k > 0))
        return 0;
    return (f == SPHERE_VMF ? k * t : k * log1p(t)) - sphere_log_norm(f, d, k);
}

/* The cosine that leaves a share of the mass nearer to the mean: the density over the angle a, by midpoints. A peak of
 * width w = 1/sqrt(k) lies about w sqrt(d) from the mean, and nothing is left beyond that and 40 w. */
enum { ANGLES = 8192 };
double sphere_cosine_at(enum sphere_family f, int64_t d, double k, double share)
{
    double w = 1 / sqrt(fmax(f == SPHERE_VMF ? k : 0.5 * k, 1e-300)), best = -INFINITY, total = 0, sum = 0;
    double width = fmin(3.14159265358979324, 1.6 * w * (sqrt((double)d) + 40));
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < ANGLES; i++) {
            double a = (i + 0.5) * width / ANGLES, half = cos(0.5 * a), rise = -2 * sin(0.5 * a) * sin(0.5 * a);
            double l = k * (f == SPHERE_VMF ? rise : 2 * log(half)) + (double)(d - 2) * log(sin(a));
            if (turn == 0)
                best = fmax(best, l);
            else if (turn == 1)
                total += exp(l - best);
            else if ((sum += exp(l - best)) >= share * total)
                return 1 + rise;
        }
    return cos(width);
}

/* ---- draws ---- */

double sphere_draw_cosine(struct rng *r, enum sphere_family f, int64_t d, double k)
{
    double m = (double)(d - 1), b = m / (2 * k + sqrt(4 * k * k + m * m)), x = (1 - b) / (1 + b);
    if (f == SPHERE_PS)
        return 2 * rng_beta(r, 0.5 * m + k, 0.5 * m) - 1;
    double top = k * x + m * log(4 * b / ((1 + b) * (1 + b))); /* 1 - x^2 */
    for (int turn = 0; turn < 10000; turn++) {
        double z = rng_beta(r, 0.5 * m, 0.5 * m), u = rng_uniform(r);
        double t = (1 - (1 + b) * z) / (1 - (1 - b) * z);
        if (k * t + m * log(1 - x * t) - top >= log(1 - u))
            return t;
    }
    return x;
}

/* m + something random, less its part along m */
void sphere_around(struct rng *r, int64_t d, const double *mean, double t, double *out)
{
    double along = 0, square = 0, length = 0, side = sqrt(fmax(1 - t * t, 0));
    for (int64_t j = 0; j < d; j++) {
        out[j] = rng_normal(r);
        along += out[j] * mean[j];
        length += mean[j] * mean[j];
    }
    if (!(length > 0)) { /* no direction: all are alike */
        t = 0;
        side = 1;
    }
    for (int64_t j = 0; j < d; j++) {
        out[j] -= along * mean[j];
        square += out[j] * out[j];
    }
    double inverse = square > 0 ? side / sqrt(square) : 0;
    for (int64_t j = 0; j < d; j++)
        out[j] = out[j] * inverse + t * mean[j];
}

/* ---- on a tape ---- */

/* The value and slope at each number are constants of the step: f(x0) + f'(x0) (x - x0). Exact for value and first
 * gradient, in double whatever the engine computes in: single precision has three digits left of a difference of two
 * ln Gamma(500). */
struct tensor *sphere_norms(enum sphere_family f, int64_t d, struct tensor *kappa)
{
    if (!kappa)
        return NULL;
    struct tensor *at = t_new(kappa->tape, kappa->n_dims, kappa->shape);
    struct tensor *value = t_new(kappa->tape, kappa->n_dims, kappa->shape);
    struct tensor *slope = t_new(kappa->tape, kappa->n_dims, kappa->shape);
    for (int64_t i = 0; at && value && slope && i < kappa->n; i++) {
        double k = t_get(kappa, i);
        t_put(at, i, k);
        t_put(value, i, sphere_log_norm(f, d, k));
        t_put(slope, i, sphere_log_norm_slope(f, d, k));
    }
    return t_add(value, t_mul(slope, t_sub(kappa, at)));
}
