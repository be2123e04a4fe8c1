/* tests/kernel/test_cpu.c: engine cpu against engine ref, slot by slot, at odd sizes; and against itself on one thread.
 *
 * ref sums in double, so the difference is the rounding of the fast engine. A comparison is relative to the largest
 * number of the array: single sums may cancel. */
#include "kernel/kernel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct engine *ref, *cpu;
static uint32_t random_state = 1;

static float uniform(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / 8388608.0f - 1.0f;
}

static float *numbers(int64_t n)
{
    float *x = mem_alloc((size_t)(n ? n : 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = uniform() * 2.0f;
    return x;
}

static float *twin(const float *x, int64_t n)
{
    float *y = mem_alloc((size_t)(n ? n : 1) * sizeof *y);
    assert_non_null(y);
    memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

/* Compares and frees both. */
static void same(const char *what, float *want, float *got, int64_t n, double tolerance)
{
    double top = 0.5, worst = 0.0; /* a lone number near zero is judged by the size of its terms */
    int64_t where = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i]) && fabs((double)want[i]) > top)
            top = fabs((double)want[i]);
    for (int64_t i = 0; i < n; i++) {
        bool equal = want[i] == got[i] || (isnan(want[i]) && isnan(got[i]));
        double off = equal ? 0.0 : fabs((double)want[i] - (double)got[i]) / top;
        if (!(off <= worst)) {
            worst = off;
            where = i;
        }
    }
    if (!(worst <= tolerance))
        fail_msg("%s: [%lld] of %lld is %.9g, ref says %.9g: off by %.3g of the largest", what, (long long)where,
                 (long long)n, (double)got[where], (double)want[where], worst);
    mem_free(want);
    mem_free(got);
}

static void drop(void *a, void *b, void *c, void *d)
{
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
}

static const int64_t sizes[] = {1, 3, 17, 65, 77, 192, 193};
static int64_t size_at(uint32_t i)
{
    return sizes[i % ARRAY_LEN(sizes)];
}

/* ---- products --------------------------------------------------------------------------------------------------- */

static void check_matmul(struct matmul_dims d, double tolerance)
{
    int64_t na = d.stride_a * (d.batch - 1) + d.m * d.k, nb = d.stride_b * (d.batch - 1) + d.k * d.n;
    int64_t nc = d.stride_c * (d.batch - 1) + d.m * d.n;
    float *a = numbers(na), *b = numbers(nb), *want = numbers(nc), *got = twin(want, nc);
    if (d.beta == 0.0)
        for (int64_t i = 0; i < d.m * d.n; i++)
            want[i] = got[i] = NAN; /* must be overwritten, not multiplied by 0 */
    assert_int_equal(ref->matmul(ref, &d, a, b, want), 0);
    assert_int_equal(cpu->matmul(cpu, &d, a, b, got), 0);
    same("matmul", want, got, nc, tolerance);
    drop(a, b, NULL, NULL);
}

static void test_matmul(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 160; t++) {
        struct matmul_dims d = {.batch = t % 3 == 0 ? 3 : 1,
                                .m = size_at(t),
                                .n = size_at(t / 2),
                                .k = size_at(t / 3),
                                .ta = t & 1,
                                .tb = t & 2,
                                .low = t & 8,
                                .alpha = t & 4 ? 0.125 : 1.0,
                                .beta = t % 5 == 0   ? 1.0
                                        : t % 5 == 1 ? -0.5
                                                     : 0.0};
        d.stride_a = t % 4 == 1 ? 0 : d.m * d.k + (t % 7 == 0 ? 5 : 0);
        d.stride_b = t % 4 == 3 ? 0 : d.k * d.n;
        d.stride_c = d.m * d.n;
        check_matmul(d, d.low ? 2e-2 : 1e-5);
    }
    check_matmul((struct matmul_dims){.batch = 1, .m = 3, .n = 5, .k = 0, .alpha = 1, .beta = 0.5}, 1e-6);
    check_matmul((struct matmul_dims){.batch = 0, .m = 3, .n = 5, .k = 2, .alpha = 1}, 1e-6);
}

static void check_linear(int64_t n, int64_t in, int64_t out, enum act act, bool low, bool bias, bool keep_pre)
{
    double tolerance = low ? 2e-2 : 1e-5;
    float *x = numbers(n * in), *w = numbers(out * in), *b = bias ? numbers(out) : NULL, *dy = numbers(n * out);
    float *y0 = numbers(n * out), *y1 = numbers(n * out), *p0 = numbers(n * out), *p1 = numbers(n * out);
    assert_int_equal(ref->linear_fwd(ref, n, in, out, x, w, b, act, low, keep_pre ? p0 : NULL, y0), 0);
    assert_int_equal(cpu->linear_fwd(cpu, n, in, out, x, w, b, act, low, keep_pre ? p1 : NULL, y1), 0);
    /* an activation may shrink y, not the rounding of the sum before it */
    same(act_name(act), y0, y1, n * out, tolerance * (1.0 + sqrt((double)in)));
    if (keep_pre)
        same("linear pre", p0, p1, n * out, tolerance);
    else
        drop(p0, p1, NULL, NULL);
    float *dx0 = numbers(n * in), *dw0 = numbers(out * in), *db0 = numbers(out);
    float *dx1 = twin(dx0, n * in), *dw1 = twin(dw0, out * in), *db1 = twin(db0, out);
    assert_int_equal(ref->linear_bwd(ref, n, in, out, x, w, dy, low, dx0, dw0, bias ? db0 : NULL), 0);
    assert_int_equal(cpu->linear_bwd(cpu, n, in, out, x, w, dy, low, dx1, dw1, bias ? db1 : NULL), 0);
    same("linear dx", dx0, dx1, n * in, tolerance);
    same("linear dw", dw0, dw1, out * in, tolerance);
    same("linear dbias", db0, db1, out, 1e-5);
    drop(x, w, b, dy);
}

static void test_linear(void **state)
{
    (void)state;
    static const enum act acts[] = {ACT_NONE, ACT_GELU, ACT_QUICK_GELU, ACT_RELU, ACT_TANH};
    for (uint32_t t = 0; t < 60; t++)
        check_linear(size_at(t), size_at(t / 2 + 1), size_at(t / 3 + 2), acts[t % ARRAY_LEN(acts)], t % 4 == 3, t & 1,
                     t & 4);
    check_linear(260, 192, 768, ACT_GELU, true, true, false);
    /* few rows: whole and cut tiles, lanes and chunks */
    check_linear(64, 256, 256, ACT_RELU, false, true, true);
    check_linear(70, 272, 250, ACT_NONE, false, true, false);
    check_linear(1, 2048, 33, ACT_RELU, false, false, false);
    check_linear(49, 270, 251, ACT_RELU, false, true, true);
    check_linear(256, 160, 413, ACT_TANH, false, true, true);
    check_linear(257, 160, 413, ACT_RELU, false, true, true);
}

/* What a row gives does not depend on the rows beside it. */
static void test_linear_rows(void **state)
{
    (void)state;
    enum { N = 200, IN = 320, OUT = 210 };
    float *x = numbers(N * IN), *w = numbers(OUT * IN), *b = numbers(OUT), *all = numbers(N * OUT), y[OUT];
    assert_int_equal(cpu->linear_fwd(cpu, N, IN, OUT, x, w, b, ACT_RELU, false, NULL, all), 0);
    for (int64_t i = 0; i < N; i += 37) {
        assert_int_equal(cpu->linear_fwd(cpu, 1, IN, OUT, x + i * IN, w, b, ACT_RELU, false, NULL, y), 0);
        if (strncmp(engine_describe(cpu), "avx512", 6) == 0)
            assert_memory_equal(y, all + i * OUT, sizeof y);
    }
    drop(x, w, b, all);
}

/* A sum of 512 in one piece has twice the rounding error of a library's (1.6e-7 here). Root mean square, not a maximum:
 * an adapter's gradients are sums over all of these. */
static void test_linear_exact(void **state)
{
    (void)state;
    enum { N = 64, IN = 512, OUT = 512 };
    float *x = numbers(N * IN), *w = numbers(OUT * IN), *y = numbers(N * OUT);
    double wrong = 0, size = 0;
    assert_int_equal(cpu->linear_fwd(cpu, N, IN, OUT, x, w, NULL, ACT_NONE, false, NULL, y), 0);
    for (int64_t i = 0; i < N; i++)
        for (int64_t j = 0; j < OUT; j++) {
            double sum = 0;
            for (int64_t k = 0; k < IN; k++)
                sum += (double)x[i * IN + k] * (double)w[j * IN + k];
            size += sum * sum;
            wrong += pow((double)y[i * OUT + j] - sum, 2);
        }
    print_message("root mean square error %.3g of the sums' size\n", sqrt(wrong / size));
    if (strncmp(engine_describe(cpu), "avx512", 6) == 0) /* elsewhere it is a library's */
        assert_true(sqrt(wrong / size) < 3e-7);
    drop(x, w, y, NULL);
}

/* ---- pointwise -------------------------------------------------------------------------------------------------- */

static void test_acts(void **state)
{
    (void)state;
    static const float corners[] = {0.0f,   -0.0f,   1e-30f, 88.8f,    -88.8f,   1e10f,
                                    -1e10f, 0.6249f, NAN,    INFINITY, -INFINITY};
    for (int act = ACT_NONE; act < N_ACTS; act++) {
        for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
            int64_t n = sizes[s] * 7;
            float *x = numbers(n), *dy = numbers(n), *y0 = numbers(n), *y1 = twin(y0, n);
            for (int64_t i = 0; i < n; i++)
                x[i] *= 3.0f;
            ref->act_fwd(ref, (enum act)act, x, y0, n);
            cpu->act_fwd(cpu, (enum act)act, x, y1, n);
            float *dx0 = numbers(n), *dx1 = twin(dx0, n), *g0 = numbers(n), *g1 = twin(g0, n);
            ref->act_bwd(ref, (enum act)act, x, y0, dy, dx0, n);
            cpu->act_bwd(cpu, (enum act)act, x, y0, dy, dx1, n);
            ref->act_grad(ref, (enum act)act, x, dy, g0, n);
            cpu->act_grad(cpu, (enum act)act, x, dy, g1, n);
            same(act_name((enum act)act), y0, y1, n, 1e-6);
            same("act_bwd", dx0, dx1, n, 2e-6);
            same("act_grad", g0, g1, n, 2e-6);
            drop(x, dy, NULL, NULL);
        }
        float y0[ARRAY_LEN(corners)], y1[ARRAY_LEN(corners)];
        ref->act_fwd(ref, (enum act)act, corners, y0, ARRAY_LEN(corners));
        cpu->act_fwd(cpu, (enum act)act, corners, y1, ARRAY_LEN(corners));
        for (size_t i = 0; i < ARRAY_LEN(corners); i++) {
            bool far = fabsf(corners[i]) > 1e9f; /* inf * 0 in a formula of a limit may be NaN in either */
            if (isnan(y0[i]) != isnan(y1[i]) && !far)
                fail_msg("%s(%g) is %g, ref says %g", act_name((enum act)act), (double)corners[i], (double)y1[i],
                         (double)y0[i]);
            if (!far && isfinite(y0[i]) &&
                !(fabs((double)y0[i] - (double)y1[i]) <= 1e-6 * fmax(1.0, fabs((double)y0[i]))))
                fail_msg("%s(%g) is %g, ref says %g", act_name((enum act)act), (double)corners[i], (double)y1[i],
                         (double)y0[i]);
        }
        assert_true(isnan(y1[8]) || !isnan(y0[8]));
    }
}

static void test_lines(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        int64_t n = sizes[s] * sizes[s];
        float *x = numbers(n), *y0 = numbers(n), *y1 = twin(y0, n);
        uint8_t *keep = mem_alloc((size_t)n);
        assert_non_null(keep);
        for (int64_t i = 0; i < n; i++)
            keep[i] = uniform() > 0.0f;
        ref->axpy(ref, -0.7, x, y0, n), cpu->axpy(cpu, -0.7, x, y1, n);
        ref->mask_mul(ref, keep, 1.25, x, y0, n, true), cpu->mask_mul(cpu, keep, 1.25, x, y1, n, true);
        double want = ref->sum_squares(ref, y0, n), got = cpu->sum_squares(cpu, y1, n);
        assert_true(fabs(want - got) <= 1e-6 * want);
        same("axpy, mask_mul", y0, y1, n, 1e-6);
        y0 = numbers(n), y1 = numbers(n);
        ref->scale_add(ref, 3.5, x, -1.0, y0, n), cpu->scale_add(cpu, 3.5, x, -1.0, y1, n);
        same("scale_add", y0, y1, n, 1e-6);
        y0 = numbers(n), y1 = numbers(n);
        ref->mask_mul(ref, keep, 2.0, x, y0, n, false), cpu->mask_mul(cpu, keep, 2.0, x, y1, n, false);
        same("mask_mul", y0, y1, n, 1e-6);
        y0 = numbers(n), y1 = numbers(n);
        ref->clamp_fwd(ref, -0.5, 0.25, x, y0, n), cpu->clamp_fwd(cpu, -0.5, 0.25, x, y1, n);
        same("clamp", y0, y1, n, 0.0);
        drop(x, keep, NULL, NULL);
    }
}

/* A number that clamp put on its bound still gets a gradient, where the bound is no float (log 100 rounds upwards). */
static void test_clamp_bound(void **state)
{
    (void)state;
    const struct engine *both[] = {ref, cpu};
    const double bounds[] = {log(100.0), 0.1, -0.7, 1.0 / 3.0};
    for (size_t k = 0; k < ARRAY_LEN(both) * ARRAY_LEN(bounds); k++) {
        const struct engine *e = both[k % 2];
        double bound = bounds[k / 2];
        float x[2] = {50.0f, -50.0f}, y[2], dy[2] = {2.0f, 3.0f}, dx[2] = {0};
        e->clamp_fwd(e, bound, bound + 9.0, x, y, 2);
        assert_true(y[1] == (float)bound);
        e->clamp_fwd(e, bound - 9.0, bound, x, y, 2);
        assert_true(y[0] == (float)bound);
        e->clamp_bwd(e, bound - 9.0, bound, y, dy, dx, 2);
        assert_true(dx[0] == 2.0f && dx[1] == 3.0f);
        e->clamp_bwd(e, bound - 9.0, bound, x, dy, dx, 2);
        assert_true(dx[0] == 2.0f && dx[1] == 3.0f);
    }
}

/* A gradient that nobody wants (or that memory ran out for) is skipped. */
static void test_no_gradient(void **state)
{
    (void)state;
    float x[4] = {1.0f, 2.0f, 3.0f, 4.0f}, y[4] = {0}, dy[4] = {0};
    const uint8_t keep[4] = {1, 1, 1, 1};
    for (int act = 0; act < N_ACTS; act++)
        cpu->act_bwd(cpu, (enum act)act, x, y, dy, NULL, 4);
    for (int op = 0; op < N_REDUCES; op++)
        cpu->reduce_bwd(cpu, (enum reduce)op, 1, 4, 1, x, y, dy, NULL);
    cpu->clamp_bwd(cpu, 0.0, 9.0, x, dy, NULL, 4);
    cpu->softmax_bwd(cpu, 1, 4, false, x, dy, NULL);
    cpu->l2_normalize_bwd(cpu, 1, 4, 1e-12, x, y, dy, NULL);
    cpu->layer_norm_bwd(cpu, 2, 2, x, NULL, y, y, dy, NULL, NULL, NULL);
    cpu->batch_norm_bwd(cpu, 2, 2, 1, true, x, NULL, y, y, dy, NULL, NULL, NULL);
    cpu->group_norm_bwd(cpu, 1, 2, 2, 1, x, NULL, y, y, dy, NULL, NULL, NULL);
    cpu->embed_bwd(cpu, 1, 4, 1, (const int32_t[]){0}, dy, NULL);
    cpu->patchify_bwd(cpu, 1, 1, 2, 2, 1, dy, NULL);
    cpu->binary_bwd(cpu, BIN_MUL, &(struct bcast_dims){1, {4}, {1}, {1}}, x, x, y, dy, NULL, NULL);
    assert_int_equal(cpu->linear_bwd(cpu, 2, 2, 2, x, x, dy, false, NULL, NULL, NULL), 0);
    assert_int_equal(cpu->distance_bwd(cpu, 2, 2, 2, x, x, dy, NULL, NULL), 0);
    struct attention_dims d = {1, 1, 2, 2, 2, 2, 2, 2, 2, false, 1.0};
    assert_int_equal(cpu->attention_bwd(cpu, &d, x, x, x, keep, y, y, dy, NULL, NULL, NULL), 0);
}

static void check_binary(enum binary op, struct bcast_dims d, int64_t na, int64_t nb)
{
    int64_t n = 1;
    for (int i = 0; i < d.n_dims; i++)
        n *= d.shape[i];
    float *a = numbers(na), *b = numbers(nb), *y0 = numbers(n), *y1 = numbers(n), *dy = numbers(n);
    for (int64_t i = 0; i < na; i++)
        a[i] = fabsf(a[i]) + 0.1f; /* so that pow and division have a value */
    for (int64_t i = 0; i < nb; i++)
        b[i] = fabsf(b[i]) + 0.5f;
    float *da0 = numbers(na), *db0 = numbers(nb), *da1 = twin(da0, na), *db1 = twin(db0, nb);
    ref->binary_fwd(ref, op, &d, a, b, y0);
    cpu->binary_fwd(cpu, op, &d, a, b, y1);
    ref->binary_bwd(ref, op, &d, a, b, y0, dy, da0, db0);
    cpu->binary_bwd(cpu, op, &d, a, b, y0, dy, da1, db1);
    same(binary_name(op), y0, y1, n, 1e-6);
    same("binary da", da0, da1, na, 1e-5);
    same("binary db", db0, db1, nb, 1e-5);
    drop(a, b, dy, NULL);
}

static void test_binary(void **state)
{
    (void)state;
    for (int op = 0; op < N_BINARIES; op++) {
        check_binary((enum binary)op, (struct bcast_dims){2, {65, 17}, {17, 1}, {17, 1}}, 65 * 17, 65 * 17);
        check_binary((enum binary)op, (struct bcast_dims){3, {3, 77, 65}, {5005, 65, 1}, {0, 65, 1}}, 15015, 5005);
        check_binary((enum binary)op, (struct bcast_dims){3, {3, 77, 65}, {5005, 65, 1}, {0, 0, 1}}, 15015, 65);
        check_binary((enum binary)op, (struct bcast_dims){3, {3, 77, 65}, {0, 0, 1}, {5005, 65, 1}}, 65, 15015);
        check_binary((enum binary)op, (struct bcast_dims){2, {193, 192}, {192, 1}, {1, 0}}, 193 * 192, 193);
        check_binary((enum binary)op, (struct bcast_dims){2, {193, 17}, {17, 1}, {0, 0}}, 193 * 17, 1);
        check_binary((enum binary)op, (struct bcast_dims){2, {65, 77}, {1, 0}, {0, 1}}, 65, 77);
        check_binary((enum binary)op, (struct bcast_dims){4, {2, 3, 5, 7}, {105, 35, 7, 1}, {15, 0, 3, 0}}, 210, 30);
        check_binary((enum binary)op, (struct bcast_dims){2, {1, 1}, {1, 1}, {1, 1}}, 1, 1);
        check_binary((enum binary)op, (struct bcast_dims){2, {300, 193}, {193, 1}, {0, 1}}, 300 * 193, 193);
    }
}

static void test_reduce(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 1}, {65, 77, 1}, {1, 193, 192}, {3, 65, 17}, {17, 3, 3}, {5, 1, 65}};
    for (int op = 0; op < N_REDUCES; op++) {
        for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
            int64_t o = shapes[s][0], n = shapes[s][1], i = shapes[s][2];
            float *x = numbers(o * n * i), *y0 = numbers(o * i), *y1 = numbers(o * i), *dy = numbers(o * i);
            float *dx0 = numbers(o * n * i), *dx1 = twin(dx0, o * n * i);
            ref->reduce_fwd(ref, (enum reduce)op, o, n, i, x, y0);
            cpu->reduce_fwd(cpu, (enum reduce)op, o, n, i, x, y1);
            ref->reduce_bwd(ref, (enum reduce)op, o, n, i, x, y0, dy, dx0);
            cpu->reduce_bwd(cpu, (enum reduce)op, o, n, i, x, y0, dy, dx1);
            same("reduce", y0, y1, o * i, 1e-5);
            same("reduce dx", dx0, dx1, o * n * i, 1e-5);
            drop(x, dy, NULL, NULL);
        }
    }
}

/* ---- norms, softmax --------------------------------------------------------------------------------------------- */

static void check_layer_norm(int64_t n, int64_t d, bool weights)
{
    float *x = numbers(n * d), *w = weights ? numbers(d) : NULL, *b = weights ? numbers(d) : NULL, *dy = numbers(n * d);
    float *y0 = numbers(n * d), *y1 = numbers(n * d), *m0 = numbers(n), *m1 = numbers(n), *r0 = numbers(n),
          *r1 = numbers(n);
    ref->layer_norm_fwd(ref, n, d, 1e-5, x, w, b, y0, m0, r0);
    cpu->layer_norm_fwd(cpu, n, d, 1e-5, x, w, b, y1, m1, r1);
    float *dx0 = numbers(n * d), *dw0 = numbers(d), *db0 = numbers(d);
    float *dx1 = twin(dx0, n * d), *dw1 = twin(dw0, d), *db1 = twin(db0, d);
    ref->layer_norm_bwd(ref, n, d, x, w, m0, r0, dy, dx0, weights ? dw0 : NULL, weights ? db0 : NULL);
    cpu->layer_norm_bwd(cpu, n, d, x, w, m0, r0, dy, dx1, weights ? dw1 : NULL, weights ? db1 : NULL);
    same("layer_norm", y0, y1, n * d, 1e-5);
    same("layer_norm mean", m0, m1, n, 1e-5);
    same("layer_norm rstd", r0, r1, n, 1e-5);
    same("layer_norm dx", dx0, dx1, n * d, 1e-5);
    same("layer_norm dw", dw0, dw1, d, 1e-5);
    same("layer_norm db", db0, db1, d, 1e-5);
    drop(x, w, b, dy);
}

static void check_batch_norm(int64_t n, int64_t c, int64_t hw, bool batch)
{
    int64_t all = n * c * hw;
    float *x = numbers(all), *w = numbers(c), *b = numbers(c), *dy = numbers(all), *y0 = numbers(all),
          *y1 = numbers(all);
    float *m0 = numbers(c), *r0 = numbers(c), *v0 = numbers(c);
    for (int64_t i = 0; i < c; i++)
        v0[i] = fabsf(v0[i]) + 0.1f;
    float *m1 = twin(m0, c), *r1 = twin(r0, c), *v1 = twin(v0, c);
    ref->batch_norm_fwd(ref, n, c, hw, 1e-5, batch, x, w, b, y0, m0, r0, v0);
    cpu->batch_norm_fwd(cpu, n, c, hw, 1e-5, batch, x, w, b, y1, m1, r1, v1);
    float *dx0 = numbers(all), *dw0 = numbers(c), *db0 = numbers(c);
    float *dx1 = twin(dx0, all), *dw1 = twin(dw0, c), *db1 = twin(db0, c);
    ref->batch_norm_bwd(ref, n, c, hw, batch, x, w, m0, r0, dy, dx0, dw0, db0);
    cpu->batch_norm_bwd(cpu, n, c, hw, batch, x, w, m0, r0, dy, dx1, dw1, db1);
    same("batch_norm", y0, y1, all, 1e-5);
    same("batch_norm mean", m0, m1, c, 1e-5);
    same("batch_norm rstd", r0, r1, c, 1e-5);
    same("batch_norm var", v0, v1, c, 1e-5);
    same("batch_norm dx", dx0, dx1, all, 1e-5);
    same("batch_norm dw", dw0, dw1, c, 1e-5);
    same("batch_norm db", db0, db1, c, 1e-5);
    drop(x, w, b, dy);
}

static void check_group_norm(int64_t n, int64_t c, int64_t hw, int64_t groups)
{
    int64_t all = n * c * hw, m = n * groups;
    float *x = numbers(all), *w = numbers(c), *b = numbers(c), *dy = numbers(all), *y0 = numbers(all),
          *y1 = numbers(all);
    float *m0 = numbers(m), *r0 = numbers(m), *m1 = numbers(m), *r1 = numbers(m);
    ref->group_norm_fwd(ref, n, c, hw, groups, 1e-5, x, w, b, y0, m0, r0);
    cpu->group_norm_fwd(cpu, n, c, hw, groups, 1e-5, x, w, b, y1, m1, r1);
    float *dx0 = numbers(all), *dw0 = numbers(c), *db0 = numbers(c);
    float *dx1 = twin(dx0, all), *dw1 = twin(dw0, c), *db1 = twin(db0, c);
    ref->group_norm_bwd(ref, n, c, hw, groups, x, w, m0, r0, dy, dx0, dw0, db0);
    cpu->group_norm_bwd(cpu, n, c, hw, groups, x, w, m0, r0, dy, dx1, dw1, db1);
    same("group_norm", y0, y1, all, 1e-5);
    same("group_norm mean", m0, m1, m, 1e-5);
    same("group_norm rstd", r0, r1, m, 1e-5);
    same("group_norm dx", dx0, dx1, all, 1e-5);
    same("group_norm dw", dw0, dw1, c, 1e-5);
    same("group_norm db", db0, db1, c, 1e-5);
    drop(x, w, b, dy);
}

static void test_norms(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 28; t++)
        check_layer_norm(size_at(t), size_at(t / 3 + 1) + 1, t % 4 != 3);
    check_batch_norm(17, 3, 1, true);
    check_batch_norm(3, 17, 65, true);
    check_batch_norm(2, 65, 77, false);
    check_group_norm(3, 12, 65, 4);
    check_group_norm(2, 17, 3, 1);
    check_group_norm(17, 64, 192, 32);
}

static void test_l2_normalize(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 21; t++) {
        int64_t n = size_at(t), d = size_at(t / 3 + 1);
        float *x = numbers(n * d), *y0 = numbers(n * d), *y1 = numbers(n * d), *s0 = numbers(n), *s1 = numbers(n);
        memset(x, 0, (size_t)d * sizeof *x); /* a row without direction */
        ref->l2_normalize_fwd(ref, n, d, 1e-6, x, y0, s0), cpu->l2_normalize_fwd(cpu, n, d, 1e-6, x, y1, s1);
        float *dy = numbers(n * d), *dx0 = numbers(n * d), *dx1 = twin(dx0, n * d);
        ref->l2_normalize_bwd(ref, n, d, 1e-6, y0, s0, dy, dx0),
            cpu->l2_normalize_bwd(cpu, n, d, 1e-6, y0, s0, dy, dx1);
        same("l2_normalize", y0, y1, n * d, 1e-6);
        same("l2_normalize norm", s0, s1, n, 1e-6);
        same("l2_normalize dx", dx0, dx1, n * d, 1e-5);
        drop(x, dy, NULL, NULL);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 28; t++) {
        int64_t n = size_at(t), d = size_at(t / 4 + 1);
        bool log_form = t & 1;
        float *x = numbers(n * d), *y0 = numbers(n * d), *y1 = numbers(n * d), *dy = numbers(n * d);
        for (int64_t i = 0; i < n * d; i++)
            x[i] = t % 5 == 0 ? x[i] * 40.0f : x[i];
        if (d > 1)
            x[0] = -INFINITY;
        x[n * d - 1] = t % 7 == 6 ? NAN : x[n * d - 1];
        ref->softmax_fwd(ref, n, d, log_form, x, y0), cpu->softmax_fwd(cpu, n, d, log_form, x, y1);
        float *dx0 = numbers(n * d), *dx1 = twin(dx0, n * d);
        ref->softmax_bwd(ref, n, d, log_form, y0, dy, dx0), cpu->softmax_bwd(cpu, n, d, log_form, y0, dy, dx1);
        same("softmax", y0, y1, n * d, 1e-6);
        same("softmax dx", dx0, dx1, n * d, 1e-5);
        drop(x, dy, NULL, NULL);
    }
}

static void check_cross_entropy(int64_t n, int64_t c, bool soft, double smoothing)
{
    float *x = numbers(n * c), *target = soft ? numbers(n * c) : NULL, *dloss = numbers(n);
    int32_t *label = soft ? NULL : mem_alloc((size_t)n * sizeof *label);
    for (int64_t i = 0; label && i < n; i++)
        label[i] = (int32_t)(i % (c + 1)) - 1;
    for (int64_t i = 0; target && i < n * c; i++)
        target[i] = target[i] < 0.0f ? 0.0f : target[i];
    float *l0 = numbers(n), *l1 = numbers(n), *e0 = numbers(n), *e1 = numbers(n);
    ref->cross_entropy_fwd(ref, n, c, x, label, target, smoothing, l0, e0);
    cpu->cross_entropy_fwd(cpu, n, c, x, label, target, smoothing, l1, e1);
    float *dx0 = numbers(n * c), *dt0 = numbers(n * c), *dx1 = twin(dx0, n * c), *dt1 = twin(dt0, n * c);
    ref->cross_entropy_bwd(ref, n, c, x, label, target, smoothing, e0, dloss, dx0, dt0);
    cpu->cross_entropy_bwd(cpu, n, c, x, label, target, smoothing, e0, dloss, dx1, dt1);
    same("cross_entropy", l0, l1, n, 1e-5);
    same("cross_entropy lse", e0, e1, n, 1e-5);
    same("cross_entropy dx", dx0, dx1, n * c, 1e-5);
    same("cross_entropy dt", dt0, dt1, n * c, 1e-5);
    drop(x, target, dloss, label);
}

static void test_cross_entropy(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 28; t++)
        check_cross_entropy(size_at(t), size_at(t / 4), t & 1, t % 3 == 0 ? 0.0 : 0.1);
}

/* ---- attention -------------------------------------------------------------------------------------------------- */

static void check_attention(struct attention_dims d, int mask)
{
    int64_t nq = d.batch * d.len_q * d.ld_q, nk = d.batch * d.len_k * d.ld_k, nv = d.batch * d.len_k * d.ld_v;
    int64_t no = d.batch * d.len_q * d.ld_out, nl = d.batch * d.heads * d.len_q;
    float *q = numbers(nq), *k = numbers(nk), *v = numbers(nv), *dout = numbers(no);
    uint8_t *keep = mask ? mem_alloc((size_t)(d.batch * d.len_k)) : NULL;
    for (int64_t i = 0; keep && i < d.batch * d.len_k; i++)
        keep[i] = uniform() > -0.3f;
    for (int64_t i = 0; keep && mask == 2 && i < d.len_k; i++)
        keep[i] = 0; /* the first sample sees nothing */
    for (int64_t i = 0; keep && i < d.batch * d.len_k; i++)
        for (int64_t j = 0; !keep[i] && j < d.ld_k; j++)
            k[i * d.ld_k + j] = NAN; /* what a hidden key holds must not matter */
    float *o0 = numbers(no), *o1 = twin(o0, no), *l0 = numbers(nl), *l1 = numbers(nl);
    assert_int_equal(ref->attention_fwd(ref, &d, q, k, v, keep, o0, l0), 0);
    assert_int_equal(cpu->attention_fwd(cpu, &d, q, k, v, keep, o1, l1), 0);
    float *dq0 = numbers(nq), *dk0 = numbers(nk), *dv0 = numbers(nv);
    float *dq1 = twin(dq0, nq), *dk1 = twin(dk0, nk), *dv1 = twin(dv0, nv);
    assert_int_equal(ref->attention_bwd(ref, &d, q, k, v, keep, o0, l0, dout, dq0, dk0, dv0), 0);
    assert_int_equal(cpu->attention_bwd(cpu, &d, q, k, v, keep, o0, l0, dout, dq1, dk1, dv1), 0);
    same("attention", o0, o1, no, 1e-5);
    same("attention lse", l0, l1, nl, 1e-5);
    same("attention dq", dq0, dq1, nq, 1e-5);
    same("attention dk", dk0, dk1, nk, 1e-5);
    same("attention dv", dv0, dv1, nv, 1e-5);
    drop(q, k, v, dout);
    mem_free(keep);
}

static void test_attention(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 3, 7, 16, 17, 31, 65, 77, 193}, dims[] = {1, 3, 16, 17, 32, 64, 65};
    for (uint32_t t = 0; t < 63; t++) {
        int64_t lq = lengths[t % ARRAY_LEN(lengths)], lk = t % 3 == 2 ? lengths[t / 2 % ARRAY_LEN(lengths)] : lq;
        int64_t hd = dims[t % ARRAY_LEN(dims)], heads = 1 + t % 3, wide = hd * heads;
        struct attention_dims d = {.batch = 2,
                                   .heads = heads,
                                   .len_q = lq,
                                   .len_k = lk,
                                   .head_dim = hd,
                                   .ld_q = wide,
                                   .ld_k = wide + 1,
                                   .ld_v = wide * 3,
                                   .ld_out = wide + 2,
                                   .causal = t & 1,
                                   .scale = 1.0 / sqrt((double)hd)};
        check_attention(d, t % 4 == 0 ? 0 : t % 4 == 3 ? 2 : 1);
    }
}

/* ---- movement, optimiser ---------------------------------------------------------------------------------------- */

static void test_embed(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 14; t++) {
        int64_t n = size_at(t), d = size_at(t / 2), rows = 17;
        int32_t ids[200];
        for (int64_t i = 0; i < n; i++)
            ids[i] = (int32_t)((i * 7) % rows);
        float *table = numbers(rows * d), *y0 = numbers(n * d), *y1 = numbers(n * d), *dy = numbers(n * d);
        float *dt0 = numbers(rows * d), *dt1 = twin(dt0, rows * d);
        ref->embed_fwd(ref, n, d, rows, table, ids, y0), cpu->embed_fwd(cpu, n, d, rows, table, ids, y1);
        ref->embed_bwd(ref, n, d, rows, ids, dy, dt0), cpu->embed_bwd(cpu, n, d, rows, ids, dy, dt1);
        same("embed", y0, y1, n * d, 0.0);
        same("embed dtable", dt0, dt1, rows * d, 0.0);
        drop(table, dy, NULL, NULL);
    }
}

static void test_movement(void **state)
{
    (void)state;
    static const int64_t pictures[][5] = {
        {2, 3, 8, 8, 4}, {3, 1, 9, 6, 3}, {1, 3, 32, 33, 16}, {2, 3, 5, 7, 1}, {2, 2, 11, 13, 5}};
    for (size_t s = 0; s < ARRAY_LEN(pictures); s++) {
        const int64_t *p = pictures[s];
        int64_t n = p[0] * p[1] * p[2] * p[3];
        float *x = numbers(n), *y0 = numbers(n), *y1 = twin(y0, n), *dx0 = numbers(n), *dx1 = twin(dx0, n);
        ref->patchify_fwd(ref, p[0], p[1], p[2], p[3], p[4], x, y0),
            cpu->patchify_fwd(cpu, p[0], p[1], p[2], p[3], p[4], x, y1);
        ref->patchify_bwd(ref, p[0], p[1], p[2], p[3], p[4], x, dx0),
            cpu->patchify_bwd(cpu, p[0], p[1], p[2], p[3], p[4], x, dx1);
        same("patchify", y0, y1, n, 0.0);
        same("patchify dx", dx0, dx1, n, 0.0);
        mem_free(x);
    }
    static const int64_t shape[5] = {2, 3, 17, 5, 7}, tall[3] = {3, 65, 77}, small[4] = {1, 4, 1, 3};
    static const int perms[][5] = {{0, 1, 2, 3, 4}, {0, 2, 1, 3, 4}, {4, 3, 2, 1, 0},
                                   {0, 1, 2, 4, 3}, {1, 2, 3, 4, 0}, {0, 3, 1, 4, 2}};
    for (int t = 0; t < 20; t++) {
        int64_t n = t < 12 ? 2 * 3 * 17 * 5 * 7 : t < 16 ? 3 * 65 * 77 : 12;
        static const int swap[3] = {0, 2, 1}, turn[3] = {2, 0, 1}, tiny[4] = {3, 2, 0, 1};
        float *x = numbers(n), *y0 = numbers(n), *y1 = twin(y0, n);
        const int64_t *sh = t < 12 ? shape : t < 16 ? tall : small;
        const int *perm = t < 12 ? perms[t / 2] : t < 14 ? swap : t < 16 ? turn : tiny;
        int n_dims = t < 12 ? 5 : t < 16 ? 3 : 4;
        ref->permute(ref, n_dims, sh, perm, x, y0, t & 1), cpu->permute(cpu, n_dims, sh, perm, x, y1, t & 1);
        same("permute", y0, y1, n, 0.0);
        mem_free(x);
    }
    for (int add = 0; add < 2; add++) {
        float *x = numbers(3 * 17 * 65), *y0 = numbers(3 * 20 * 65), *y1 = twin(y0, 3 * 20 * 65);
        ref->copy_rows(ref, 3, 17, 2, 20, 5, 11, 65, x, y0, add),
            cpu->copy_rows(cpu, 3, 17, 2, 20, 5, 11, 65, x, y1, add);
        same("copy_rows", y0, y1, 3 * 20 * 65, 0.0);
        y0 = numbers(3 * 17 * 65), y1 = numbers(3 * 17 * 65);
        ref->copy(ref, y0, x, 3 * 17 * 65), cpu->copy(cpu, y1, x, 3 * 17 * 65);
        ref->fill(ref, y0 + 7, 2.5, 77), cpu->fill(cpu, y1 + 7, 2.5, 77);
        same("copy, fill", y0, y1, 3 * 17 * 65, 0.0);
        mem_free(x);
    }
}

static void test_adamw(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        int64_t n = sizes[s] * 11;
        float *p0 = numbers(n), *m0 = numbers(n), *v0 = numbers(n), *g = numbers(n);
        for (int64_t i = 0; i < n; i++)
            v0[i] = fabsf(v0[i]);
        float *p1 = twin(p0, n), *m1 = twin(m0, n), *v1 = twin(v0, n);
        struct adamw_step step = {1e-2, 0.9, 0.98, 1e-6, 0.2, 0.19, 0.04, 0.5};
        ref->adamw(ref, n, &step, g, p0, m0, v0);
        cpu->adamw(cpu, n, &step, g, p1, m1, v1);
        same("adamw p", p0, p1, n, 1e-6);
        same("adamw m", m0, m1, n, 1e-6);
        same("adamw v", v0, v1, n, 1e-6);
        mem_free(g);
    }
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static void check_conv(struct conv_dims d)
{
    d.out_h = (d.in_h + 2 * d.pad - d.k_h) / d.stride + 1;
    d.out_w = (d.in_w + 2 * d.pad - d.k_w) / d.stride + 1;
    int64_t nx = d.batch * d.in_c * d.in_h * d.in_w, nw = d.out_c * d.in_c * d.k_h * d.k_w;
    int64_t ny = d.batch * d.out_c * d.out_h * d.out_w;
    float *x = numbers(nx), *w = numbers(nw), *b = numbers(d.out_c), *dy = numbers(ny);
    float *y0 = numbers(ny), *y1 = numbers(ny);
    assert_int_equal(ref->conv2d_fwd(ref, &d, x, w, b, y0), 0);
    assert_int_equal(cpu->conv2d_fwd(cpu, &d, x, w, b, y1), 0);
    same("conv2d", y0, y1, ny, 1e-5);
    float *dx0 = numbers(nx), *dw0 = numbers(nw), *db0 = numbers(d.out_c);
    float *dx1 = twin(dx0, nx), *dw1 = twin(dw0, nw), *db1 = twin(db0, d.out_c);
    assert_int_equal(ref->conv2d_bwd(ref, &d, x, w, dy, dx0, dw0, db0), 0);
    assert_int_equal(cpu->conv2d_bwd(cpu, &d, x, w, dy, dx1, dw1, db1), 0);
    same("conv2d dx", dx0, dx1, nx, 1e-5);
    same("conv2d dw", dw0, dw1, nw, 1e-5);
    same("conv2d db", db0, db1, d.out_c, 1e-5);
    drop(x, w, b, dy);
}

static void test_conv(void **state)
{
    (void)state;
    check_conv((struct conv_dims){
        .batch = 2, .in_c = 3, .in_h = 17, .in_w = 19, .out_c = 7, .k_h = 3, .k_w = 3, .stride = 2, .pad = 1});
    check_conv((struct conv_dims){
        .batch = 3, .in_c = 16, .in_h = 9, .in_w = 8, .out_c = 17, .k_h = 1, .k_w = 1, .stride = 1, .pad = 0});
    check_conv((struct conv_dims){
        .batch = 1, .in_c = 4, .in_h = 7, .in_w = 7, .out_c = 5, .k_h = 7, .k_w = 7, .stride = 1, .pad = 3});
    check_conv((struct conv_dims){
        .batch = 2, .in_c = 5, .in_h = 6, .in_w = 11, .out_c = 3, .k_h = 2, .k_w = 5, .stride = 1, .pad = 2});
    check_conv((struct conv_dims){
        .batch = 2, .in_c = 8, .in_h = 9, .in_w = 9, .out_c = 6, .k_h = 1, .k_w = 1, .stride = 2, .pad = 0});
}

static void test_pool(void **state)
{
    (void)state;
    static const int64_t shapes[][5] = {{2, 3, 8, 2, 2}, {1, 5, 9, 3, 1}, {2, 2, 7, 7, 7}, {3, 1, 7, 2, 3}};
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        struct pool_dims d = {.batch = shapes[s][0],
                              .channels = shapes[s][1],
                              .in_h = shapes[s][2],
                              .in_w = shapes[s][2] + 1,
                              .k = shapes[s][3],
                              .stride = shapes[s][4]};
        d.out_h = (d.in_h - d.k) / d.stride + 1, d.out_w = (d.in_w - d.k) / d.stride + 1;
        int64_t nx = d.batch * d.channels * d.in_h * d.in_w, ny = d.batch * d.channels * d.out_h * d.out_w;
        float *x = numbers(nx), *y0 = numbers(ny), *y1 = numbers(ny), *dy = numbers(ny);
        float *dx0 = numbers(nx), *dx1 = twin(dx0, nx);
        ref->avg_pool_fwd(ref, &d, x, y0), cpu->avg_pool_fwd(cpu, &d, x, y1);
        ref->avg_pool_bwd(ref, &d, dy, dx0), cpu->avg_pool_bwd(cpu, &d, dy, dx1);
        same("avg_pool", y0, y1, ny, 1e-6);
        same("avg_pool dx", dx0, dx1, nx, 1e-6);
        drop(x, dy, NULL, NULL);
    }
}

static void test_distance(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < 21; t++) {
        int64_t n = size_at(t), m = size_at(t / 3), d = size_at(t + 2);
        float *a = numbers(n * d), *b = numbers(m * d), *y0 = numbers(n * m), *y1 = numbers(n * m),
              *dy = numbers(n * m);
        memcpy(b, a, (size_t)d * sizeof *b); /* a pair without distance */
        assert_int_equal(ref->distance_fwd(ref, n, m, d, a, b, y0), 0);
        assert_int_equal(cpu->distance_fwd(cpu, n, m, d, a, b, y1), 0);
        assert_true(y1[0] == 0.0f);
        float *da0 = numbers(n * d), *db0 = numbers(m * d), *da1 = twin(da0, n * d), *db1 = twin(db0, m * d);
        assert_int_equal(ref->distance_bwd(ref, n, m, d, a, b, dy, da0, db0), 0);
        assert_int_equal(cpu->distance_bwd(cpu, n, m, d, a, b, dy, da1, db1), 0);
        same("distance", y0, y1, n * m, 1e-5);
        same("distance da", da0, da1, n * d, 1e-5);
        same("distance db", db0, db1, m * d, 1e-5);
        drop(a, b, dy, NULL);
    }
}

/* A sum of a million numbers near 1 keeps its digits: one float sum would lose four of them. */
static void test_long_sum(void **state)
{
    (void)state;
    int64_t n = 1000003;
    float *x = numbers(n), got = 0.0f;
    double want = 0.0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = 1.0f + 0.25f * x[i];
        want += (double)x[i];
    }
    cpu->reduce_fwd(cpu, RED_SUM, 1, n, 1, x, &got);
    assert_true(fabs((double)got - want) <= 2e-7 * want);
    cpu->reduce_fwd(cpu, RED_MEAN, 1, n, 1, x, &got);
    assert_true(fabs((double)got - want / (double)n) <= 2e-7);
    mem_free(x);
}

/* ---- the engine itself --------------------------------------------------------------------------------------------
 */

/* ---- number of threads: everything but oneDNN's products gives the same bits on any number ---- */

/* Results of one pass over the slots, as one hash a slot. */
struct prints {
    const char *name[64];
    uint64_t hash[64];
    int n;
};

static void print_of(struct prints *p, const char *name, const void *x, int64_t n)
{
    assert_true(p->n < (int)ARRAY_LEN(p->name));
    p->name[p->n] = name;
    p->hash[p->n++] = hash_bytes(x, (size_t)n * sizeof(float), 0);
}

enum { ROWS_T = 1111, COLS_T = 193, CELLS_T = ROWS_T * COLS_T };

static void print_rows(struct prints *p, const float *x, const float *dy, float *y, float *dx)
{
    float *w = numbers(COLS_T), *sums = numbers(2 * COLS_T), *mean = numbers(ROWS_T), *rstd = numbers(ROWS_T);
    for (int act = 0; act < N_ACTS; act++) {
        cpu->act_fwd(cpu, (enum act)act, x, y, CELLS_T);
        print_of(p, act_name((enum act)act), y, CELLS_T);
    }
    cpu->act_bwd(cpu, ACT_GELU, x, y, dy, dx, CELLS_T);
    cpu->layer_norm_fwd(cpu, ROWS_T, COLS_T, 1e-5, x, w, w, y, mean, rstd);
    print_of(p, "layer_norm_fwd", y, CELLS_T);
    cpu->layer_norm_bwd(cpu, ROWS_T, COLS_T, x, w, mean, rstd, dy, dx, sums, sums + COLS_T);
    cpu->softmax_fwd(cpu, ROWS_T, COLS_T, false, x, y);
    print_of(p, "softmax_fwd", y, CELLS_T);
    cpu->softmax_bwd(cpu, ROWS_T, COLS_T, false, y, dy, dx);
    cpu->l2_normalize_fwd(cpu, ROWS_T, COLS_T, 1e-12, x, y, mean);
    cpu->l2_normalize_bwd(cpu, ROWS_T, COLS_T, 1e-12, y, mean, dy, dx);
    cpu->binary_bwd(cpu, BIN_MUL, &(struct bcast_dims){2, {ROWS_T, COLS_T}, {COLS_T, 1}, {0, 1}}, x, w, y, dy, dx,
                    sums);
    cpu->batch_norm_bwd(cpu, 101, 11, CELLS_T / 1111, true, x, NULL, mean, rstd, dy, dx, w, NULL);
    print_of(p, "row gradients", dx, CELLS_T);
    print_of(p, "weight gradients", sums, 2 * COLS_T);
    cpu->reduce_fwd(cpu, RED_MEAN, 1, ROWS_T, COLS_T, x, w);
    cpu->reduce_fwd(cpu, RED_SUM, 1, CELLS_T, 1, x, w + 1);
    print_of(p, "reduce_fwd", w, COLS_T);
    double squares = cpu->sum_squares(cpu, x, CELLS_T);
    print_of(p, "sum_squares", &squares, 2);
    struct adamw_step step = {1e-3, 0.9, 0.98, 1e-6, 0.2, 0.1, 0.02, 0.5};
    memset(dx, 0, CELLS_T * sizeof *dx), memset(y, 0, CELLS_T * sizeof *y);
    float *weights = twin(x, CELLS_T);
    cpu->adamw(cpu, CELLS_T, &step, dy, weights, y, dx);
    print_of(p, "adamw", weights, CELLS_T);
    drop(w, sums, mean, rstd);
    mem_free(weights);
}

static void print_others(struct prints *p, const float *x, const float *dy, float *y, float *dx)
{
    enum { B = 11, L = 37, HEADS = 3, D = 63 };
    struct attention_dims a = {B, HEADS, L, L, D / HEADS, 3 * D, 3 * D, 3 * D, D, true, 0.2};
    float *lse = numbers(B * HEADS * L + ROWS_T), *loss = numbers(ROWS_T);
    int32_t *ids = mem_alloc(ROWS_T * sizeof *ids);
    assert_non_null(ids);
    for (int i = 0; i < ROWS_T; i++)
        ids[i] = i * 7 % COLS_T;
    assert_int_equal(cpu->attention_fwd(cpu, &a, x, x + D, x + 2 * D, NULL, y, lse), 0);
    print_of(p, "attention_fwd", y, B * L * D);
    assert_int_equal(cpu->attention_bwd(cpu, &a, x, x + D, x + 2 * D, NULL, y, lse, dy, dx, dx + D, dx + 2 * D), 0);
    cpu->cross_entropy_fwd(cpu, ROWS_T, COLS_T, x, ids, NULL, 0.1, loss, lse);
    print_of(p, "cross_entropy_fwd", loss, ROWS_T);
    cpu->cross_entropy_bwd(cpu, ROWS_T, COLS_T, x, ids, NULL, 0.1, lse, loss, dx, NULL);
    cpu->embed_bwd(cpu, ROWS_T, COLS_T, COLS_T, ids, dy, dx);
    print_of(p, "gradients", dx, CELLS_T);
    assert_int_equal(cpu->distance_fwd(cpu, 200, 200, COLS_T, x, dy, y), 0);
    print_of(p, "distance_fwd", y, 200 * 200);
    drop(lse, loss, NULL, NULL);
    mem_free(ids);
}

static void test_threads(void **state)
{
    (void)state;
    struct prints one = {.n = 0};
    float *x = numbers(CELLS_T), *dy = numbers(CELLS_T);
    unsigned kept = random_state;
    for (int threads = 1; threads <= 3; threads++) {
        struct prints p = {.n = 0};
        random_state = kept;
        float *y = numbers(CELLS_T), *dx = numbers(CELLS_T);
        assert_int_equal(engine_open(&cpu, "cpu", threads), 0);
        assert_int_equal(cpu->threads, threads);
        print_rows(&p, x, dy, y, dx);
        print_others(&p, x, dy, y, dx);
        drop(y, dx, NULL, NULL);
        if (threads == 1)
            one = p;
        for (int i = 0; i < p.n; i++)
            if (p.hash[i] != one.hash[i])
                fail_msg("%s: other bits on %d threads than on one", p.name[i], threads);
    }
    assert_int_equal(engine_open(&cpu, "cpu", 2), 0);
    drop(x, dy, NULL, NULL);
}

static void test_open(void **state)
{
    (void)state;
    const struct engine *e = NULL;
    assert_int_equal(engine_open(&e, "cpu", -3), ERR_USAGE);
    assert_null(e);
    assert_non_null(strstr(err_text(), "-3"));
    assert_int_equal(engine_open(&e, "cpu", 2), 0);
    assert_string_equal(e->name, "cpu");
    assert_non_null(strstr(engine_describe(e), "2 threads"));
    print_message("%s\n", engine_describe(e));
}

static int open_engines(void **state)
{
    (void)state;
    return engine_open(&ref, "ref", 1) < 0 || engine_open(&cpu, "cpu", 2) < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),          cmocka_unit_test(test_matmul),       cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_rows),   cmocka_unit_test(test_linear_exact), cmocka_unit_test(test_acts),
        cmocka_unit_test(test_lines),         cmocka_unit_test(test_binary),       cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_norms),         cmocka_unit_test(test_l2_normalize), cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_attention),    cmocka_unit_test(test_embed),
        cmocka_unit_test(test_movement),      cmocka_unit_test(test_adamw),        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_pool),          cmocka_unit_test(test_threads),      cmocka_unit_test(test_distance),
        cmocka_unit_test(test_clamp_bound),   cmocka_unit_test(test_no_gradient),  cmocka_unit_test(test_long_sum),
    };
    return cmocka_run_group_tests_name("kernel cpu", tests, open_engines, NULL);
}
