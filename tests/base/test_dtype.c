/* tests/base/test_dtype.c: every 16-bit pattern, every midpoint between neighbours, and the table of conversions. */
#include "base/base.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint32_t bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, 4);
    return u;
}

static float from_bits(uint32_t u)
{
    float f;

    memcpy(&f, &u, 4);
    return f;
}

/* The definition, in double: sign, exponent, mantissa. */
static double f16_value(unsigned h)
{
    int e = h >> 10 & 31;
    double m = h & 1023, v = e == 31 ? (m > 0 ? (double)NAN : (double)INFINITY)
                             : e     ? ldexp(1024 + m, e - 25)
                                     : ldexp(m, -24);

    return h & 0x8000 ? -v : v;
}

static void f16_all(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = f32_from_f16((uint16_t)h);

        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(f));
            assert_true((f16_from_f32(f) & 0x7fff) > 0x7c00);
            continue;
        }
        assert_true((double)f == f16_value(h));
        assert_int_equal(!!signbit(f), h >> 15);
        assert_int_equal(f16_from_f32(f), h);
    }
}

static void f16_rounding(void **state)
{
    for (unsigned h = 0; h < 0x7c00; h++) { /* between h and h+1: the middle goes to the even one */
        double next = h + 1 == 0x7c00 ? 65536 : f16_value(h + 1);
        float mid = (float)((f16_value(h) + next) / 2);
        unsigned even = h & 1 ? h + 1 : h;

        assert_int_equal(f16_from_f32(mid), even);
        assert_int_equal(f16_from_f32(-mid), even | 0x8000);
        assert_int_equal(f16_from_f32(nextafterf(mid, 0)), h);
        assert_int_equal(f16_from_f32(nextafterf(mid, INFINITY)), h + 1);
    }
    assert_int_equal(f16_from_f32(FLT_MAX), 0x7c00);
    assert_int_equal(f16_from_f32(-INFINITY), 0xfc00);
    assert_int_equal(f16_from_f32(FLT_TRUE_MIN), 0);
}

static void bf16_all(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = f32_from_bf16((uint16_t)h);

        assert_int_equal(bits(f), h << 16);
        if ((h & 0x7fff) > 0x7f80) {
            assert_true(isnan(f32_from_bf16(bf16_from_f32(f))));
            continue;
        }
        assert_int_equal(bf16_from_f32(f), h);
        if ((h & 0x7fff) < 0x7f80) {
            assert_int_equal(bf16_from_f32(from_bits(h << 16 | 0x8000)), h & 1 ? h + 1 : h);
            assert_int_equal(bf16_from_f32(from_bits(h << 16 | 0x7fff)), h);
            assert_int_equal(bf16_from_f32(from_bits(h << 16 | 0x8001)), h + 1);
        }
    }
    assert_true(isnan(f32_from_bf16(bf16_from_f32(from_bits(0x7f800001))))); /* payload in the lower half only */
    assert_int_equal(bf16_from_f32(FLT_MAX), 0x7f80);
}

static void between_reals(void **state)
{
    const double in[] = {0, -0.0, 1, -2.5, 60000, 1e-7, 1.0 / 3, -1e-3};
    enum { N = ARRAY_LEN(in) };
    const enum dtype real[] = {DT_F32, DT_F64, DT_F16, DT_BF16};

    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            unsigned char a[8 * N], b[8 * N + 1];
            double x[N], y[N];

            assert_int_equal(dtype_convert(real[i], a, DT_F64, in, N), 0);
            assert_int_equal(dtype_convert(DT_F64, x, real[i], a, N), 0);
            assert_int_equal(dtype_convert(real[j], b + 1, real[i], a, N), 0); /* unaligned on purpose */
            assert_int_equal(dtype_convert(DT_F64, y, real[j], b + 1, N), 0);
            for (int k = 0; k < N; k++) {
                double eps = real[i] == DT_BF16 || real[j] == DT_BF16 ? 0x1p-8 : 0x1p-11;
                assert_true(fabs(y[k] - x[k]) <= eps * fabs(x[k]) + 0x1p-25);
            }
        }
    }
}

/* A double just above the middle of two f16 numbers, but not above it in float: rounding twice goes wrong. */
static void one_rounding(void **state)
{
    double above = 1 + 0x1p-11 + 0x1p-40, below = 1 + 3 * 0x1p-11 - 0x1p-40, huge = 1e300;
    uint16_t h;

    assert_int_equal(dtype_convert(DT_F16, &h, DT_F64, &above, 1), 0);
    assert_int_equal(h, 0x3c01);
    assert_int_equal(dtype_convert(DT_F16, &h, DT_F64, &below, 1), 0);
    assert_int_equal(h, 0x3c01);
    assert_int_equal(dtype_convert(DT_BF16, &h, DT_F64, &huge, 1), 0);
    assert_int_equal(h, 0x7f80);
    above = 1 + 0x1p-8 + 0x1p-40;
    assert_int_equal(dtype_convert(DT_BF16, &h, DT_F64, &above, 1), 0);
    assert_int_equal(h, 0x3f81);
}

static void integers(void **state)
{
    const int64_t i64[] = {INT64_MIN, -1, 0, (int64_t)1 << 40};
    const uint8_t u8[] = {0, 1, 200, 255};
    const int16_t i16[] = {-32768, -1, 0, 32767};
    double d[4];
    float f[4];

    assert_int_equal(dtype_convert(DT_F64, d, DT_I64, i64, 4), 0);
    assert_true(d[0] == -0x1p63 && d[1] == -1 && d[3] == 0x1p40);
    assert_int_equal(dtype_convert(DT_F32, f, DT_U8, u8, 4), 0);
    assert_true(f[2] == 200.0f && f[3] == 255.0f);
    assert_int_equal(dtype_convert(DT_F32, f, DT_BOOL, u8, 4), 0);
    assert_true(f[0] == 0.0f && f[2] == 1.0f);
    assert_int_equal(dtype_convert(DT_F32, f, DT_I16, i16, 4), 0);
    assert_true(f[0] == -32768.0f && f[3] == 32767.0f);
    assert_int_equal(dtype_convert(DT_I32, f, DT_F32, f, 4), ERR_UNSUPPORTED);
    assert_string_equal(err_text(), "cannot convert F32 to I32");
    assert_int_equal(dtype_convert(DT_F16, f, DT_I64, i64, 4), ERR_UNSUPPORTED);
}

static void names(void **state)
{
    assert_int_equal(dtype_size(DT_BF16), 2);
    assert_int_equal(dtype_size(DT_U64), 8);
    assert_string_equal(dtype_name(DT_BOOL), "BOOL");
    for (int t = 0; t < N_DTYPES; t++)
        assert_true(dtype_name(t) && dtype_size(t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_all),       cmocka_unit_test(f16_rounding), cmocka_unit_test(bf16_all),
        cmocka_unit_test(between_reals), cmocka_unit_test(one_rounding), cmocka_unit_test(integers),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
