/* base/dtype.c: the element types and the conversions between them.
 *
 * binary16 as in IEEE 754-2008; bfloat16 is the upper half of binary32. Both round to nearest, ties to even. A double
 * on its way to a 16-bit type first becomes a float rounded to odd, so that rounding twice is rounding once
 * (Boldo and Melquiond 2008). Loads and stores go through memcpy: tensors in a mapped file need not be aligned.
 * Rejected: F16C intrinsics, which belong to room kernel behind a CPU check. */
#include "base/base.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[N_DTYPES] = {
    [DT_F32] = {"F32", 4},   [DT_F64] = {"F64", 8}, [DT_F16] = {"F16", 2}, [DT_BF16] = {"BF16", 2},
    [DT_I32] = {"I32", 4},   [DT_I64] = {"I64", 8}, [DT_U8] = {"U8", 1},   [DT_I8] = {"I8", 1},
    [DT_I16] = {"I16", 2},   [DT_U16] = {"U16", 2}, [DT_U32] = {"U32", 4}, [DT_U64] = {"U64", 8},
    [DT_BOOL] = {"BOOL", 1},
};

size_t dtype_size(enum dtype t)
{
    BUG_ON((unsigned)t >= N_DTYPES);
    return types[t].size;
}

const char *dtype_name(enum dtype t)
{
    BUG_ON((unsigned)t >= N_DTYPES);
    return types[t].name;
}

static uint32_t bits_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

float f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, mantissa = h & 0x3ff;
    int exponent = h >> 10 & 31;

    if (exponent == 31)
        return float_of(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) { /* zero and subnormals: mantissa x 2^-24, exact in float */
        float f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    return float_of(sign | (uint32_t)(exponent + 112) << 23 | mantissa << 13);
}

uint16_t f16_from_f32(float f)
{
    uint32_t u = bits_of(f), a = u & 0x7fffffff, r;
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);

    if (a > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000) /* 65520, halfway between the largest number and the next: rounds to infinity */
        return sign | 0x7c00;
    if (a < 0x38800000) { /* below 2^-14: adding 0.5 lets the FPU round at 2^-24 */
        float t = float_of(a) + 0.5f;
        return (uint16_t)(sign | (bits_of(t) - bits_of(0.5f)));
    }
    r = a - ((uint32_t)112 << 23);
    r += 0xfff + (r >> 13 & 1);
    return (uint16_t)(sign | r >> 13);
}

float f32_from_bf16(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t bf16_from_f32(float f)
{
    uint32_t u = bits_of(f);

    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40); /* quiet, and not infinity when the low half held the payload */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* The float next to d toward zero, with the last bit set when that was not exact. */
static float round_to_odd(double d)
{
    float f = (float)d;
    uint32_t u = bits_of(f);

    if (isnan(d) || (double)f == d)
        return f;
    if (fabs((double)f) > fabs(d))
        u--;
    return float_of(u | 1);
}

/* One loop for each pair of types. EXPR is written in x, an element of the source. */
#define LOOP(TO, FROM, EXPR)                                                                                           \
    do {                                                                                                               \
        for (size_t i = 0; i < n; i++) {                                                                               \
            FROM x;                                                                                                    \
            TO y;                                                                                                      \
            memcpy(&x, s + i * sizeof x, sizeof x);                                                                    \
            y = (TO)(EXPR);                                                                                            \
            memcpy(d + i * sizeof y, &y, sizeof y);                                                                    \
        }                                                                                                              \
        return 0;                                                                                                      \
    } while (0)

/* From any type. Equal types never come here. */
#define TO_REAL(NAME, TO)                                                                                              \
    static int NAME(char *d, enum dtype from, const char *s, size_t n)                                                 \
    {                                                                                                                  \
        switch (from) {                                                                                                \
        case DT_F32:                                                                                                   \
            LOOP(TO, float, x);                                                                                        \
        case DT_F64:                                                                                                   \
            LOOP(TO, double, x);                                                                                       \
        case DT_F16:                                                                                                   \
            LOOP(TO, uint16_t, f32_from_f16(x));                                                                       \
        case DT_BF16:                                                                                                  \
            LOOP(TO, uint16_t, f32_from_bf16(x));                                                                      \
        case DT_I32:                                                                                                   \
            LOOP(TO, int32_t, x);                                                                                      \
        case DT_I64:                                                                                                   \
            LOOP(TO, int64_t, x);                                                                                      \
        case DT_U8:                                                                                                    \
            LOOP(TO, uint8_t, x);                                                                                      \
        case DT_BOOL:                                                                                                  \
            LOOP(TO, uint8_t, x != 0);                                                                                 \
        case DT_I8:                                                                                                    \
            LOOP(TO, int8_t, x);                                                                                       \
        case DT_I16:                                                                                                   \
            LOOP(TO, int16_t, x);                                                                                      \
        case DT_U16:                                                                                                   \
            LOOP(TO, uint16_t, x);                                                                                     \
        case DT_U32:                                                                                                   \
            LOOP(TO, uint32_t, x);                                                                                     \
        case DT_U64:                                                                                                   \
            LOOP(TO, uint64_t, x);                                                                                     \
        default:                                                                                                       \
            return ERR_UNSUPPORTED;                                                                                    \
        }                                                                                                              \
    }
TO_REAL(to_f32, float)
TO_REAL(to_f64, double)

static int to_16(enum dtype to, char *d, enum dtype from, const char *s, size_t n)
{
    if (to == DT_F16 && from == DT_F32)
        LOOP(uint16_t, float, f16_from_f32(x));
    if (to == DT_F16 && from == DT_F64)
        LOOP(uint16_t, double, f16_from_f32(round_to_odd(x)));
    if (to == DT_F16 && from == DT_BF16)
        LOOP(uint16_t, uint16_t, f16_from_f32(f32_from_bf16(x)));
    if (to == DT_BF16 && from == DT_F32)
        LOOP(uint16_t, float, bf16_from_f32(x));
    if (to == DT_BF16 && from == DT_F64)
        LOOP(uint16_t, double, bf16_from_f32(round_to_odd(x)));
    if (to == DT_BF16 && from == DT_F16)
        LOOP(uint16_t, uint16_t, bf16_from_f32(f32_from_f16(x)));
    return ERR_UNSUPPORTED;
}

/* Counters of a weight file, which we hold as reals. */
static int to_i64(char *d, enum dtype from, const char *s, size_t n)
{
    if (from == DT_F32)
        LOOP(int64_t, float, x);
    if (from == DT_F64)
        LOOP(int64_t, double, x);
    return ERR_UNSUPPORTED;
}

static bool is_real(enum dtype t)
{
    return t == DT_F32 || t == DT_F64 || t == DT_F16 || t == DT_BF16;
}

int dtype_convert(enum dtype to, void *dst, enum dtype from, const void *src, size_t n)
{
    int rc = ERR_UNSUPPORTED;

    BUG_ON((unsigned)to >= N_DTYPES || (unsigned)from >= N_DTYPES);
    if (n == 0 && is_real(to))
        return 0;
    if (to == from && is_real(to)) {
        memmove(dst, src, n * dtype_size(to));
        return 0;
    }
    if (to == DT_F32)
        rc = to_f32(dst, from, src, n);
    else if (to == DT_F64)
        rc = to_f64(dst, from, src, n);
    else if (to == DT_F16 || to == DT_BF16)
        rc = to_16(to, dst, from, src, n);
    else if (to == DT_I64)
        rc = to_i64(dst, from, src, n);
    if (rc < 0)
        FAIL(rc, "cannot convert %s to %s", dtype_name(from), dtype_name(to));
    return 0;
}
