/* kernel/ref/ref_special.c: lgamma, digamma, trigamma, and every activation with its derivative, in double.
 *
 * digamma and trigamma: recurrence psi(x) = psi(x + 1) - 1/x up to x >= 10, then the asymptotic series (Abramowitz
 * and Stegun 6.3.18, 6.4.12); negative arguments by reflection (6.3.7, 6.4.7). The first dropped term is below 1e-17
 * at 10. Relative error below 1e-13, except next to a root of psi, where the absolute error stays below 1e-15.
 * lgamma: libm's reentrant lgamma_r, because lgamma writes the global signgam. Rejected: a Lanczos sum of our own,
 * which needs care near 1 and 2 that libm already took.
 * Activations are evaluated in double for the float engine too: the referee then errs by one rounding only. */
#define _DEFAULT_SOURCE /* lgamma_r */
#include "kernel/ref/ref_special.h"

#include <math.h>

static const double PI = 3.14159265358979323846;
static const double SQRT_HALF = 0.70710678118654752440;
static const double INV_SQRT_2PI = 0.39894228040143267794;

double ref_lgamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

static bool is_pole(double x)
{
    return x <= 0 && x == floor(x);
}

/* x minus the nearest integer: pi x is reduced before it loses digits. */
static double fraction(double x)
{
    return x - floor(x + 0.5);
}

static double digamma_positive(double x)
{
    double sum = 0;
    for (; x < 10; x += 1)
        sum -= 1 / x;
    double z = 1 / (x * x);
    /* sum over k of B_2k / (2k x^2k), k = 1..9 */
    double series =
        z * (1.0 / 12 -
             z * (1.0 / 120 -
                  z * (1.0 / 252 -
                       z * (1.0 / 240 -
                            z * (1.0 / 132 -
                                 z * (691.0 / 32760 - z * (1.0 / 12 - z * (3617.0 / 8160 - z * 43867.0 / 14364))))))));
    return sum + log(x) - 0.5 / x - series;
}

double ref_digamma(double x)
{
    if (is_pole(x))
        return (double)NAN;
    if (x > 0)
        return digamma_positive(x);
    return digamma_positive(1 - x) - PI / tan(PI * fraction(x));
}

static double trigamma_positive(double x)
{
    double sum = 0;
    for (; x < 10; x += 1)
        sum += 1 / (x * x);
    double z = 1 / (x * x);
    /* sum over k of B_2k / x^(2k + 1), k = 1..9, without the common factor 1/x */
    double series =
        z *
        (1.0 / 6 -
         z * (1.0 / 30 -
              z * (1.0 / 42 -
                   z * (1.0 / 30 - z * (5.0 / 66 - z * (691.0 / 2730 -
                                                        z * (7.0 / 6 - z * (3617.0 / 510 - z * 43867.0 / 798))))))));
    return sum + (1 + 0.5 / x + series) / x;
}

double ref_trigamma(double x)
{
    if (is_pole(x))
        return (double)INFINITY;
    if (x > 0)
        return trigamma_positive(x);
    double s = sin(PI * fraction(x));
    return PI * PI / (s * s) - trigamma_positive(1 - x);
}

static double sigmoid(double x)
{
    if (x >= 0)
        return 1 / (1 + exp(-x));
    double e = exp(x);
    return e / (1 + e);
}

static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * SQRT_HALF);
}

static double normal_pdf(double x)
{
    return INV_SQRT_2PI * exp(-0.5 * x * x);
}

/* Twice the argument of tanh in GELU's approximation (Hendrycks and Gimpel 2016): 1/2 (1 + tanh(u)) = sigmoid(2 u). */
static double gelu_tanh_argument(double x)
{
    return 2.0 * 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}

double ref_act(enum act a, double x)
{
    switch (a) {
    case ACT_NONE:
        return x;
    case ACT_GELU:
        return x * normal_cdf(x);
    case ACT_QUICK_GELU:
        return x * sigmoid(1.702 * x);
    case ACT_GELU_TANH:
        return x * sigmoid(gelu_tanh_argument(x));
    case ACT_RELU:
        return x < 0 ? 0 : x; /* NaN stays NaN */
    case ACT_TANH:
        return tanh(x);
    case ACT_SIGMOID:
        return sigmoid(x);
    case ACT_SOFTPLUS:
        return softplus(x);
    case ACT_EXP:
        return exp(x);
    case ACT_LOG:
        return log(x);
    case ACT_SQRT:
        return sqrt(x);
    case ACT_RSQRT:
        return 1 / sqrt(x);
    case ACT_SQUARE:
        return x * x;
    case ACT_ABS:
        return fabs(x);
    case ACT_NEG:
        return -x;
    case ACT_RECIP:
        return 1 / x;
    case ACT_LGAMMA:
        return ref_lgamma(x);
    case ACT_DIGAMMA:
        return ref_digamma(x);
    case ACT_SIN:
        return sin(x);
    case ACT_COS:
        return cos(x);
    case ACT_LOG_SIGMOID:
        return -softplus(-x);
    case N_ACTS:
        break;
    }
    BUG_ON(a >= N_ACTS);
    return (double)NAN;
}

double ref_act_slope(enum act a, double x)
{
    switch (a) {
    case ACT_NONE:
        return 1;
    case ACT_GELU:
        return normal_cdf(x) + x * normal_pdf(x);
    case ACT_QUICK_GELU: {
        double s = sigmoid(1.702 * x);
        return s + 1.702 * x * s * sigmoid(-1.702 * x);
    }
    case ACT_GELU_TANH: {
        double u = gelu_tanh_argument(x), s = sigmoid(u);
        return s + x * s * sigmoid(-u) * 2.0 * 0.79788456080286535588 * (1.0 + 3.0 * 0.044715 * x * x);
    }
    case ACT_RELU:
        return x > 0;
    case ACT_TANH:
        return 1 - tanh(x) * tanh(x);
    case ACT_SIGMOID:
        return sigmoid(x) * sigmoid(-x);
    case ACT_SOFTPLUS:
        return sigmoid(x);
    case ACT_EXP:
        return exp(x);
    case ACT_LOG:
        return 1 / x;
    case ACT_SQRT:
        return 0.5 / sqrt(x);
    case ACT_RSQRT:
        return -0.5 / (x * sqrt(x));
    case ACT_SQUARE:
        return 2 * x;
    case ACT_ABS:
        return (x > 0) - (x < 0);
    case ACT_NEG:
        return -1;
    case ACT_RECIP:
        return -1 / (x * x);
    case ACT_LGAMMA:
        return ref_digamma(x);
    case ACT_DIGAMMA:
        return ref_trigamma(x);
    case ACT_SIN:
        return cos(x);
    case ACT_COS:
        return -sin(x);
    case ACT_LOG_SIGMOID:
        return sigmoid(-x);
    case N_ACTS:
        break;
    }
    BUG_ON(a >= N_ACTS);
    return (double)NAN;
}
