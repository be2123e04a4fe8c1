/* loss/ggd.c: the generalised Gaussian distribution in plain numbers.
 *
 *   p(z) = beta / (2 alpha Gamma(1/beta)) exp(-(|z - mean| / alpha)^beta)
 *   variance alpha^2 Gamma(3/beta) / Gamma(1/beta);  entropy 1/beta - ln(beta / (2 alpha Gamma(1/beta)))
 *   P(Z <= z) = 1/2 + 1/2 sign(z - mean) P(1/beta, (|z - mean| / alpha)^beta), P the regularised lower gamma function
 *   Z = mean +- alpha g^(1/beta), g ~ Gamma(1/beta): the two signs equally likely            (Nadarajah 2005)
 *
 * Everything is computed through logarithms: Gamma(3/beta)/Gamma(1/beta) is 2e25 at beta = 0.1. */
#include "loss/loss.h"

#include <float.h>
#include <math.h>

double ggd_log_density(double z, double mean, double alpha, double beta)
{
    double r = fabs(z - mean) / alpha;
    return log(beta) - log(2 * alpha) - ref_lgamma(1 / beta) - (r > 0 ? exp(beta * log(r)) : 0);
}

double ggd_log_variance(double alpha, double beta)
{
    return 2 * log(alpha) + ref_lgamma(3 / beta) - ref_lgamma(1 / beta);
}

double ggd_variance(double alpha, double beta)
{
    return exp(ggd_log_variance(alpha, beta));
}

double ggd_entropy(double alpha, double beta)
{
    return 1 / beta - log(beta) + log(2 * alpha) + ref_lgamma(1 / beta);
}

/* Regularised lower incomplete gamma function: the series (Abramowitz and Stegun 6.5.29) for x < s + 1, else one minus
 * the continued fraction (6.5.31) in Lentz's form. */
static double gamma_p(double s, double x)
{
    if (!(x > 0))
        return x == 0 ? 0 : x;
    if (isinf(x))
        return 1;
    double front = exp(s * log(x) - x - ref_lgamma(s));
    if (x < s + 1) {
        double term = 1 / s, sum = term;
        for (int k = 1; k < 10000 && fabs(term) > DBL_EPSILON * 0.1 * sum; k++) {
            term *= x / (s + k);
            sum += term;
        }
        return front * sum;
    }
    const double tiny = 1e-300;
    double b = x + 1 - s, c = 1 / tiny, d = 1 / b, h = d;
    for (int k = 1; k < 10000; k++) {
        double a = -k * (k - s);
        b += 2;
        d = a * d + b;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = b + a / c;
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON)
            break;
    }
    return 1 - front * h;
}

double ggd_cdf(double z, double mean, double alpha, double beta)
{
    double r = fabs(z - mean) / alpha, p = gamma_p(1 / beta, r > 0 ? exp(beta * log(r)) : 0);
    return z < mean ? 0.5 - 0.5 * p : 0.5 + 0.5 * p;
}

double ggd_sample(struct rng *r, double mean, double alpha, double beta)
{
    double g = rng_gamma(r, 1 / beta), size = alpha * pow(g, 1 / beta);
    return rng_u32(r) & 1 ? mean + size : mean - size;
}

double ggd_released_variance(double a, double b)
{
    double alpha = fmin(fmax(1 / (a + 1e-5), 1e-4), 5), beta = fmin(fmax(b + 0.1, 0.1), 5);
    return ggd_variance(alpha, beta);
}
