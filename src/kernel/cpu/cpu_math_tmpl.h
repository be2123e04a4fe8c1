/* kernel/cpu/cpu_math_tmpl.h: exp, erf and the activations as straight-line code that a compiler turns into vectors.
 *
 * exp: x = n ln 2 + r, |r| <= ln(2)/2, r by a two-step subtraction, e^r by the degree-6 polynomial of Cephes' expf
 * (Moshier 1992); relative error 2e-7. Below -87 the result is 0 (denormals are dropped), above 88.72 infinity; NaN
 * stays NaN. No comparison is made twice: compilers thread such code into branches, and a loop with branches is no
 * vector loop. erf: Abramowitz and Stegun 7.1.26, absolute error 1.5e-7, in its complementary form so that the far left
 * tail of GELU keeps its relative precision. Shares its exponential with the derivative. Rejected: libm (one number at
 * a time) and libmvec (x86 only, and only under -ffast-math). */
#ifndef KERNEL_CPU_CPU_MATH_TMPL_H
#define KERNEL_CPU_CPU_MATH_TMPL_H

#include "kernel/cpu/cpu.h"

#include <math.h>
#include <string.h>

#define CPU_PASTE2(a, b) a##_##b
#define CPU_PASTE(a, b) CPU_PASTE2(a, b)
#define CPU_FN(name) CPU_PASTE(name, CPU_ISA)

#define PRAGMA(x) _Pragma(#x)
/* Loops over rows (threads only), over numbers (threads and vectors), and inside a row (vectors only). */
#define ROWS(t, work) PRAGMA(omp parallel for schedule(static) num_threads(t) if ((work) >= 32768))
#define FLAT(t, n) PRAGMA(omp parallel for simd schedule(static) num_threads(t) if (parallel : (n) >= 32768))
#define VECTOR PRAGMA(omp simd)
#define VECTOR_SUM(s) PRAGMA(omp simd reduction(+ : s))
#define VECTOR_SUM2(s, t) PRAGMA(omp simd reduction(+ : s, t))
#define VECTOR_MAX(m) PRAGMA(omp simd reduction(max : m))

static inline float exp_f(float x)
{
    float c = x > 89.0f ? 89.0f : x;
    c = c > -87.5f ? c : -87.5f; /* takes NaN, too, which no integer can hold */
    float t = c * 1.44269504088896341f;
    int32_t n = (int32_t)(t + 192.5f) - 192; /* nearest, the sum being positive */
    float f = (float)n;
    float r = c - f * 0.693359375f;
    r -= f * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = (uint32_t)(n + 126) << 23; /* 2^(n-1); 0 at the lower end, and 2^128 is no float */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    float y = p * scale * 2.0f;
    return x == x ? y : x;
}

static inline float sigmoid_f(float x)
{
    return 1.0f / (1.0f + exp_f(-x));
}

static inline float tanh_f(float x)
{
    float s = x * x;
    float p = -5.70498872745e-3f; /* Cephes tanhf, |x| < 0.625 */
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    float near = p * s * x + x;
    float far = 1.0f - 2.0f / (exp_f(2.0f * x) + 1.0f);
    return fabsf(x) < 0.625f ? near : far;
}

/* The normal distribution function and exp(-x^2/2). */
static inline float normal_cdf_f(float x, float *bell)
{
    float z = fabsf(x) * 0.70710678118654752f;
    float t = 1.0f / (1.0f + 0.3275911f * z);
    float e = exp_f(-0.5f * x * x);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float tail = 0.5f * p * t * e;
    *bell = e;
    return x < 0.0f ? tail : 1.0f - tail;
}

static inline float gelu_f(float x)
{
    float bell;
    return x * normal_cdf_f(x, &bell);
}

static inline float gelu_slope_f(float x)
{
    float bell, cdf = normal_cdf_f(x, &bell);
    return cdf + x * bell * 0.39894228040143268f;
}

static inline float quick_gelu_f(float x)
{
    return x * sigmoid_f(1.702f * x);
}

static inline float quick_gelu_slope_f(float x)
{
    float s = sigmoid_f(1.702f * x);
    return s + 1.702f * x * s * (1.0f - s);
}

/* x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)), see ref_special.c. */
static inline float gelu_tanh_f(float x)
{
    return x * sigmoid_f(1.5957691216057308f * x * (1.0f + 0.044715f * x * x));
}

static inline float gelu_tanh_slope_f(float x)
{
    float s = sigmoid_f(1.5957691216057308f * x * (1.0f + 0.044715f * x * x));
    return s + 1.5957691216057308f * x * s * (1.0f - s) * (1.0f + 0.134145f * x * x);
}

static inline float relu_f(float x)
{
    return x < 0.0f ? 0.0f : x;
} /* NaN stays NaN */
static inline float relu_slope_f(float x)
{
    return x > 0.0f ? 1.0f : 0.0f;
}

static inline float tanh_slope_f(float x)
{
    float y = tanh_f(x);
    return 1.0f - y * y;
}

static inline float sigmoid_slope_f(float x)
{
    float y = sigmoid_f(x);
    return y * (1.0f - y);
}

static inline float square_f(float x)
{
    return x * x;
}
static inline float square_slope_f(float x)
{
    return 2.0f * x;
}
static inline float neg_f(float x)
{
    return -x;
}
static inline float neg_slope_f(float x)
{
    return x * 0.0f - 1.0f;
}
static inline float sign_f(float x)
{
    return (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f);
}

/* Sums over rows run in a fixed number of chunks that depends on n alone, so they do not depend on the threads. */
enum { MAX_CHUNKS = 32 };
static inline int64_t n_chunks_of(int64_t n)
{
    int64_t c = n / 32;
    return c < 1 ? 1 : c > MAX_CHUNKS ? MAX_CHUNKS : c;
}

#endif
