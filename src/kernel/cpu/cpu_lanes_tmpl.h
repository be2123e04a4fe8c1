/* kernel/cpu/cpu_lanes_tmpl.h: vectors by hand, for loops that a compiler does not turn into good ones: short rows with
 * a maximum and a sum (its sum of lanes goes through memory, number by number) and transposition in registers.
 *
 * vec is one register of floats of the instruction set being compiled; arithmetic on it is written with + - *. 2^x:
 * x = n + f, |f| <= 1/2, the polynomial of degree 5 that is best in relative error (Remez), 1.5e-7; below -126 the
 * result is 0, NaN stays NaN. */
#ifndef KERNEL_CPU_CPU_LANES_TMPL_H
#define KERNEL_CPU_CPU_LANES_TMPL_H

#include "kernel/cpu/cpu_math_tmpl.h"

#if defined(__AVX512F__)
#define LANES 16
#define EACH_LANE(f, s)                                                                                                \
    f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s), f(10, s), f(11, s),      \
        f(12, s), f(13, s), f(14, s), f(15, s)
#elif defined(__AVX2__)
#define LANES 8
#define EACH_LANE(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#define LANES 4
#define EACH_LANE(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#endif
#define LOG2_E 1.4426950408889634

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define LANE_NUMBER(l, s) (l)
static const int32_t lane_numbers[LANES] = {EACH_LANE(LANE_NUMBER, 0)};

static inline vec vec_load(const float *p)
{
    return *(const vec *)(const void *)p;
}

static inline ivec ivec_load(const int32_t *p)
{
    return *(const ivec *)(const void *)p;
}

static inline void vec_store(float *p, vec x)
{
    *(vec *)(void *)p = x;
}

static inline vec vec_all(float x)
{
    return x - (vec){0};
}

/* The first n numbers at p, zeros behind them. */
static inline vec vec_load_part(const float *p, int64_t n)
{
    if (n >= LANES)
        return vec_load(p);
    float part[LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        part[i] = p[i];
    return vec_load(part);
}

static inline vec vec_choose(ivec which, vec yes, vec no)
{
    return (vec)((which & (ivec)yes) | (~which & (ivec)no));
}

/* b where a is NaN */
static inline vec vec_max(vec a, vec b)
{
    return vec_choose(a > b, a, b);
}

/* Lane l of the result is lane l + s of x, around the end. */
#define LANE_TURN(l, s) (((l) + (s)) % LANES)
#define TURNED(x, s) __builtin_shuffle(x, (ivec){EACH_LANE(LANE_TURN, s)})

static inline float vec_top(vec x)
{
#if LANES == 16
    x = vec_max(x, TURNED(x, 8));
#endif
#if LANES >= 8
    x = vec_max(x, TURNED(x, 4));
#endif
    x = vec_max(x, TURNED(x, 2));
    x = vec_max(x, TURNED(x, 1));
    return x[0];
}

static inline float vec_sum(vec x)
{
#if LANES == 16
    x += TURNED(x, 8);
#endif
#if LANES >= 8
    x += TURNED(x, 4);
#endif
    x += TURNED(x, 2);
    x += TURNED(x, 1);
    return x[0];
}

/* x below 127 */
static inline vec vec_exp2(vec x)
{
    const float magic = 12582912.0f; /* 1.5 2^23: the sum's last bit is worth 1 */
    vec t = x + magic, f = x - (t - magic);
    vec p = 1.3276471979e-3f * f + 9.6755413342e-3f;
    p = p * f + 5.5507132735e-2f;
    p = p * f + 2.4022119724e-1f;
    p = p * f + 6.9314696706e-1f;
    p = p * f + 1.0f;
    vec scale = (vec)(((uvec)t << 23) + 0x3f800000u);
    return (vec)(~(ivec)(x < -126.0f) & (ivec)(p * scale));
}

#define LANE_LOW(l, s) ((l) & (s) ? LANES + (l) - (s) : (l))
#define LANE_HIGH(l, s) ((l) & (s) ? LANES + (l) : (l) + (s))
#define TRANSPOSE_STEP(x, s)                                                                                           \
    PRAGMA(GCC unroll 16)                                                                                              \
    for (int i = 0; i < LANES; i++) {                                                                                  \
        if (i & (s))                                                                                                   \
            continue;                                                                                                  \
        vec a = (x)[i], b = (x)[i + (s)];                                                                              \
        (x)[i] = __builtin_shuffle(a, b, (ivec){EACH_LANE(LANE_LOW, s)});                                              \
        (x)[i + (s)] = __builtin_shuffle(a, b, (ivec){EACH_LANE(LANE_HIGH, s)});                                       \
    }

/* Rows become columns: in step s, lanes and rows exchange the bit s of their numbers. */
static inline void vec_transpose(vec *x)
{
    TRANSPOSE_STEP(x, 1)
    TRANSPOSE_STEP(x, 2)
#if LANES >= 8
    TRANSPOSE_STEP(x, 4)
#endif
#if LANES == 16
    TRANSPOSE_STEP(x, 8)
#endif
}

#endif
