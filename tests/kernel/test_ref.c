/* tests/kernel/test_ref.c: engine ref against numbers worked out by hand or taken from tables, in float and in double.
 * Gradients get only a few here: test_ref_agree.c differentiates every slot numerically. */
#include "ref_vectors.h"

#define LIST(...)                                                                                                      \
    (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (const double[])                                      \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define VEC(e, ...) vec((e), LIST(__VA_ARGS__))
#define ZEROS(e, n) vec((e), (n), NULL)
#define WANT(e, p, ...) want((e), (p), LIST(__VA_ARGS__), __LINE__)

static const double LN2 = 0.69314718055994530942, LN3 = 1.09861228866810969140;

/* cmocka 1.1 compares floats only. */
#define assert_close(got, expected, tolerance) close_at((got), (expected), (tolerance), __FILE__, __LINE__)
static void close_at(double got, double expected, double tolerance, const char *file, int line)
{
    if (!(fabs(got - expected) <= tolerance)) {
        print_error("%.17g, expected %.17g\n", got, expected);
        _fail(file, line);
    }
}

static void want(const struct engine *e, const void *got, int64_t n, const double *expected, int line)
{
    double tolerance = e->real == DT_F64 ? 1e-14 : 3e-7;
    for (int64_t i = 0; i < n; i++) {
        double g = get(e, got, i), x = expected[i];
        if (g == x || (isnan(g) && isnan(x)) || fabs(g - x) <= tolerance * fmax(1, fabs(x)))
            continue;
        fail_msg("line %d, engine %s, element %d: %.17g, expected %.17g", line, e->name, (int)i, g, x);
    }
}

static void each_engine(void (*check)(const struct engine *e))
{
    check(engine_named("ref"));
    check(engine_named("ref64"));
    arena_reset(memory);
}

/* ---- registry ---- */

static void registry(void **state)
{
    const struct engine *e = NULL, *again = NULL;
    assert_non_null(strstr(engine_names(), "ref, ref64"));
    for (int k = 0; k < 2; k++) {
        const char *name = k ? "ref64" : "ref";
        assert_int_equal(engine_open(&e, name, 2), 0);
        assert_string_equal(e->name, name);
        assert_int_equal(e->real, k ? DT_F64 : DT_F32);
        assert_int_equal(e->threads, 1);
        assert_true(strlen(engine_describe(e)) > 5);
        assert_int_equal(engine_open(&again, name, 2), 0);
        assert_ptr_equal(e, again);
        for (size_t at = offsetof(struct engine, fill); at < sizeof *e; at += sizeof e->fill) {
            void (*slot)(const struct engine *, void *, double, int64_t);
            memcpy(&slot, (const char *)e + at, sizeof slot);
            assert_true(slot != NULL);
        }
    }
    assert_int_equal(engine_open(&e, NULL, 0), 0); /* the first of the list */
    assert_ptr_equal(strstr(engine_names(), e->name), engine_names());
    e = NULL;
    assert_int_equal(engine_open(&e, "reff", 0), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "reff"));
    assert_non_null(strstr(err_text(), "ref64"));
    assert_int_equal(engine_open(&e, "ref", -1), ERR_USAGE);
    assert_null(e);
}

static void names(void **state)
{
    for (int i = 0; i < N_ACTS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(act_name((enum act)i), act_name((enum act)j));
    for (int i = 0; i < N_BINARIES; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(binary_name((enum binary)i), binary_name((enum binary)j));
    assert_string_equal(act_name(ACT_QUICK_GELU), "quick_gelu");
    assert_string_equal(binary_name(BIN_POW), "pow");
}

/* ---- special functions: 18 digits of mpmath ---- */

static void gamma_family(void **state)
{
    static const struct {
        double x, lgamma, digamma, trigamma;
    } table[] = {
        {1e-5, 11.5129196928958256, -100000.577199215673, 10000000001.6449084},
        {0.1, 2.2527126517342059, -10.4237549404110762, 101.433299150792748},
        {0.5, 0.572364942924700087, -1.96351002602142348, 4.93480220054467931},
        {1, 0, -0.577215664901532861, 1.64493406684822644},
        {1.25, -0.0982718364218131615, -0.227453533376265408, 1.19732915450711074},
        {1.46, -0.121485001004007429, -0.00158056198708345211, 0.969119621509887895},
        {3.7, 1.42807232666538813, 1.16715353936151144, 0.310037857670038302},
        {9.99, 12.7793152143501934, 2.25070037283120112, 0.105276950148241784},
        {10.5, 13.9406252194037636, 2.30300103429768638, 0.0999169560591267332},
        {57.3, 173.563868279691419, 4.03954923995757916, 0.017605179101050651},
        {1e6, 12815504.5691476117, 13.8155100579641908, 1.00000050000016667e-6},
        {-0.25, 1.58957531255118599, 2.91413912021352783, 18.5418796476716065},
        {-3.75, -1.31726794244636367, -1.69238859831133034, 19.5049800605995753},
        {-10.1, -13.0209732710114985, 12.0300522485483093, 103.261569239467246},
    };
    const struct engine *e = engine_named("ref64");
    const double one = 1;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        double x = table[i].x, lgamma_x, psi, slope, trigamma;
        e->act_fwd(e, ACT_LGAMMA, &x, &lgamma_x, 1);
        e->act_fwd(e, ACT_DIGAMMA, &x, &psi, 1);
        e->act_grad(e, ACT_LGAMMA, &x, &one, &slope, 1);
        e->act_grad(e, ACT_DIGAMMA, &x, &one, &trigamma, 1);
        assert_close(lgamma_x, table[i].lgamma, 1e-13 * fmax(1, fabs(lgamma_x)));
        assert_close(psi / table[i].digamma, 1, 1e-12);
        assert_close(slope / table[i].digamma, 1, 1e-12);
        assert_close(trigamma / table[i].trigamma, 1, 1e-12);
    }
    for (double x = 0; x >= -2; x -= 1) {
        double psi;
        e->act_fwd(e, ACT_DIGAMMA, &x, &psi, 1);
        assert_true(isnan(psi));
    }
}

/* ---- pointwise ---- */

static void check_acts(const struct engine *e)
{
    static const struct {
        enum act act;
        double x, y, slope;
    } table[] = {
        {ACT_NONE, -3, -3, 1},
        {ACT_GELU, 1, 0.84134474606854295, 1.0833154705876863},
        {ACT_GELU, -1, -0.15865525393145705, -0.083315470587686291},
        {ACT_QUICK_GELU, 1, 0.845795765932821242, 1.06777960655633408},
        {ACT_QUICK_GELU, -1000, 0, 0},
        {ACT_RELU, -2, 0, 0},
        {ACT_RELU, 0, 0, 0},
        {ACT_RELU, 2, 2, 1},
        {ACT_TANH, 0.5, 0.46211715726000976, 0.78644773296592741},
        {ACT_SIGMOID, 0, 0.5, 0.25},
        {ACT_SIGMOID, -1000, 0, 0},
        {ACT_SOFTPLUS, 0, LN2, 0.5},
        {ACT_SOFTPLUS, 800, 800, 1},
        {ACT_SOFTPLUS, -800, 0, 0},
        {ACT_EXP, 1, 2.7182818284590452, 2.7182818284590452},
        {ACT_LOG, 2, LN2, 0.5},
        {ACT_SQRT, 9, 3, 1.0 / 6},
        {ACT_RSQRT, 4, 0.5, -0.0625},
        {ACT_SQUARE, -3, 9, -6},
        {ACT_ABS, -3, 3, -1},
        {ACT_ABS, 0, 0, 0},
        {ACT_NEG, 3, -3, -1},
        {ACT_RECIP, 4, 0.25, -0.0625},
        {ACT_LGAMMA, 1, 0, -0.57721566490153286},
        {ACT_DIGAMMA, 1, -0.57721566490153286, 1.6449340668482264},
        {ACT_SIN, 0, 0, 1},
        {ACT_COS, 0, 1, 0},
        {ACT_LOG_SIGMOID, 0, -LN2, 0.5},
        {ACT_LOG_SIGMOID, -800, -800, 1},
        {ACT_LOG_SIGMOID, 800, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        void *x = VEC(e, table[i].x), *y = ZEROS(e, 1), *dy = VEC(e, 2), *dx = VEC(e, 10);
        e->act_fwd(e, table[i].act, x, y, 1);
        WANT(e, y, table[i].y);
        e->act_bwd(e, table[i].act, x, y, dy, dx, 1);
        WANT(e, dx, 10 + 2 * table[i].slope);
        e->act_grad(e, table[i].act, x, dy, dx, 1);
        WANT(e, dx, 2 * table[i].slope);
        e->act_fwd(e, table[i].act, x, x, 1); /* in place */
        WANT(e, x, table[i].y);
    }
    void *x = VEC(e, NAN);
    e->act_fwd(e, ACT_RELU, x, x, 1);
    WANT(e, x, NAN);
}

static void check_point(const struct engine *e)
{
    void *x = VEC(e, -2, 0.5, 3, NAN), *y = ZEROS(e, 4), *dx = VEC(e, 1, 1, 1, 1), *dy = VEC(e, 5, 6, 7, 8);
    e->fill(e, y, 2.5, 4);
    WANT(e, y, 2.5, 2.5, 2.5, 2.5);
    e->copy(e, y, x, 3);
    WANT(e, y, -2, 0.5, 3, 2.5);
    e->scale_add(e, 2, x, 1, y, 3);
    WANT(e, y, -3, 2, 7, 2.5);
    e->axpy(e, -2, x, y, 3);
    WANT(e, y, 1, 1, 1, 2.5);
    e->clamp_fwd(e, -1, 3, x, y, 4);
    WANT(e, y, -1, 0.5, 3, NAN);
    e->clamp_bwd(e, -1, 3, x, dy, dx, 4);
    WANT(e, dx, 1, 7, 8, 1);
    e->clamp_bwd(e, -1, 3, x, dy, NULL, 4);
    const uint8_t keep[] = {0, 1, 1};
    e->mask_mul(e, keep, 2, x, y, 3, false);
    WANT(e, y, 0, 1, 6);
    e->mask_mul(e, keep, 2, x, y, 3, true);
    WANT(e, y, 0, 2, 12);
    assert_close(e->sum_squares(e, dy, 4), 25 + 36 + 49 + 64, 0);
    assert_close(e->sum_squares(e, dy, 0), 0, 0);
}

static void check_binary(const struct engine *e)
{
    /* a [2, 1] with b [3] -> [2, 3] */
    struct bcast_dims d = {.n_dims = 2, .shape = {2, 3}, .stride_a = {1, 0}, .stride_b = {0, 1}};
    void *a = VEC(e, 2, 4), *b = VEC(e, 1, 2, 3), *y = ZEROS(e, 6);
    void *dy = VEC(e, 1, 2, 3, 4, 5, 6), *da = ZEROS(e, 2), *db = ZEROS(e, 3);
    e->binary_fwd(e, BIN_ADD, &d, a, b, y);
    WANT(e, y, 3, 4, 5, 5, 6, 7);
    e->binary_fwd(e, BIN_SUB, &d, a, b, y);
    WANT(e, y, 1, 0, -1, 3, 2, 1);
    e->binary_fwd(e, BIN_DIV, &d, a, b, y);
    WANT(e, y, 2, 1, 2.0 / 3, 4, 2, 4.0 / 3);
    e->binary_fwd(e, BIN_MAX, &d, a, b, y);
    WANT(e, y, 2, 2, 3, 4, 4, 4);
    e->binary_bwd(e, BIN_MAX, &d, a, b, y, dy, da, db); /* the tie 2, 2 goes to a */
    WANT(e, da, 3, 15);
    WANT(e, db, 0, 0, 3);
    e->binary_fwd(e, BIN_MIN, &d, a, b, y);
    WANT(e, y, 1, 2, 2, 1, 2, 3);
    e->binary_fwd(e, BIN_POW, &d, a, b, y);
    WANT(e, y, 2, 4, 8, 4, 16, 64);
    e->binary_fwd(e, BIN_MUL, &d, a, b, y);
    WANT(e, y, 2, 4, 6, 4, 8, 12);
    e->binary_bwd(e, BIN_MUL, &d, a, b, y, dy, da, db); /* accumulates */
    WANT(e, da, 3 + 14, 15 + 32);
    WANT(e, db, 18, 24, 33);
    e->binary_bwd(e, BIN_MUL, &d, a, b, y, dy, NULL, NULL);

    struct bcast_dims scalar = {.n_dims = 0};
    e->binary_fwd(e, BIN_MUL, &scalar, VEC(e, 6), VEC(e, 7), y);
    WANT(e, y, 42);
    struct bcast_dims one = {.n_dims = 1, .shape = {3}, .stride_a = {1}, .stride_b = {1}};
    void *dpow = ZEROS(e, 3), *dexponent = ZEROS(e, 3);
    e->binary_bwd(e, BIN_POW, &one, VEC(e, 0, 0, 2), VEC(e, 2, 0, 3), y, VEC(e, 1, 1, 1), dpow, dexponent);
    WANT(e, dpow, 0, 0, 12);
    WANT(e, dexponent, 0, 0, 8 * LN2);
    e->binary_fwd(e, BIN_MAX, &one, VEC(e, NAN, 1, 1), VEC(e, 1, NAN, 2), y);
    WANT(e, y, NAN, NAN, 2);
}

/* ---- reductions ---- */

static void check_reduce(const struct engine *e)
{
    void *x = VEC(e, 1, 10, 5, 20, 5, -3); /* [1, 3, 2] */
    void *y = ZEROS(e, 2), *dy = VEC(e, 3, 6), *dx = ZEROS(e, 6);
    e->reduce_fwd(e, RED_SUM, 1, 3, 2, x, y);
    WANT(e, y, 11, 27);
    e->reduce_fwd(e, RED_MEAN, 1, 3, 2, x, y);
    WANT(e, y, 11.0 / 3, 9);
    e->reduce_bwd(e, RED_MEAN, 1, 3, 2, x, y, dy, dx);
    WANT(e, dx, 1, 2, 1, 2, 1, 2);
    e->reduce_fwd(e, RED_MAX, 1, 3, 2, x, y);
    WANT(e, y, 5, 20);
    e->reduce_bwd(e, RED_MAX, 1, 3, 2, x, y, dy, dx); /* the first of two fives */
    WANT(e, dx, 1, 2, 4, 8, 1, 2);

    void *z = VEC(e, 0, LN2, LN3, -INFINITY, -INFINITY, -INFINITY, 1000, 1000, 1000); /* [3, 3, 1] */
    void *lse = ZEROS(e, 3), *dz = ZEROS(e, 9);
    e->reduce_fwd(e, RED_LSE, 3, 3, 1, z, lse);
    WANT(e, lse, LN2 + LN3, -INFINITY, 1000 + LN3);
    e->reduce_bwd(e, RED_LSE, 3, 3, 1, z, lse, VEC(e, 6, 1, 0), dz);
    WANT(e, dz, 1, 2, 3, 0, 0, 0, 0, 0, 0);
    e->reduce_fwd(e, RED_MAX, 1, 3, 1, VEC(e, 1, NAN, 2), y);
    WANT(e, y, NAN);
}

/* ---- matrix products ---- */

static void check_matmul(const struct engine *e)
{
    /* A = 1 2 3 / 4 5 6, B = 1 0 / 2 1 / 0 3: AB = 5 11 / 14 23, in the four storage orders */
    void *a[2] = {VEC(e, 1, 2, 3, 4, 5, 6), VEC(e, 1, 4, 2, 5, 3, 6)};
    void *b[2] = {VEC(e, 1, 0, 2, 1, 0, 3), VEC(e, 1, 2, 0, 0, 1, 3)};
    for (int i = 0; i < 4; i++) {
        struct matmul_dims d = {.batch = 1, .m = 2, .n = 2, .k = 3, .ta = i & 1, .tb = i >> 1, .alpha = 2};
        void *c = VEC(e, NAN, NAN, NAN, NAN);
        assert_int_equal(e->matmul(e, &d, a[i & 1], b[i >> 1], c), 0);
        WANT(e, c, 10, 22, 28, 46);
        d.alpha = 1;
        d.beta = 0.5;
        assert_int_equal(e->matmul(e, &d, a[i & 1], b[i >> 1], c), 0);
        WANT(e, c, 10, 22, 28, 46);
    }
    /* stride 0 repeats B; stride_c 0 with beta 1 sums over the batch */
    struct matmul_dims d = {.batch = 2, .m = 1, .n = 2, .k = 3, .stride_a = 3, .alpha = 1, .beta = 1};
    void *c = VEC(e, 0, 0);
    assert_int_equal(e->matmul(e, &d, a[0], b[0], c), 0);
    WANT(e, c, 19, 34);
    d = (struct matmul_dims){.batch = 1, .m = 1, .n = 1, .k = 0, .alpha = 1};
    assert_int_equal(e->matmul(e, &d, a[0], b[0], c), 0);
    WANT(e, c, 0, 34);
}

/* Sizes that cross every tile edge; small whole numbers, so that the answer is exact in float too. */
static void check_matmul_tiles(const struct engine *e)
{
    enum { M = 70, N = 130, K = 131 };
    void *a = ZEROS(e, M * K), *b = ZEROS(e, N * K), *c = ZEROS(e, M * N);
    for (int i = 0; i < M * K; i++)
        set(e, a, i, i * 7 % 11 - 5);
    for (int i = 0; i < N * K; i++)
        set(e, b, i, i * 5 % 13 - 6);
    for (int t = 0; t < 4; t++) {
        struct matmul_dims d = {.batch = 1, .m = M, .n = N, .k = K, .ta = t & 1, .tb = t >> 1, .alpha = 1};
        assert_int_equal(e->matmul(e, &d, a, b, c), 0);
        for (int i = 0; i < M; i++) {
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int k = 0; k < K; k++)
                    sum += get(e, a, d.ta ? k * M + i : i * K + k) * get(e, b, d.tb ? j * K + k : k * N + j);
                assert_true(sum == get(e, c, i * N + j));
            }
        }
    }
}

static void check_linear(const struct engine *e)
{
    /* x [2, 2], W [3, 2] */
    void *x = VEC(e, 1, 2, 3, 4), *w = VEC(e, 1, 0, 0, 1, 1, -1), *bias = VEC(e, 0, -3, 0);
    void *pre = ZEROS(e, 6), *y = ZEROS(e, 6), *dx = VEC(e, 1, 1, 1, 1), *dw = ZEROS(e, 6), *db = ZEROS(e, 3);
    assert_int_equal(e->linear_fwd(e, 2, 2, 3, x, w, bias, ACT_RELU, false, pre, y), 0);
    WANT(e, pre, 1, -1, -1, 3, 1, -1);
    WANT(e, y, 1, 0, 0, 3, 1, 0);
    assert_int_equal(e->linear_fwd(e, 2, 2, 3, x, w, NULL, ACT_NONE, false, NULL, y), 0);
    WANT(e, y, 1, 2, -1, 3, 4, -1);
    void *dpre = VEC(e, 1, 0, 2, 0, 1, 0);
    assert_int_equal(e->linear_bwd(e, 2, 2, 3, x, w, dpre, false, dx, dw, db), 0);
    WANT(e, dx, 1 + 3, 1 - 2, 1, 1 + 1);
    WANT(e, dw, 1, 2, 3, 4, 2, 4);
    WANT(e, db, 1, 1, 2);
    assert_int_equal(e->linear_bwd(e, 2, 2, 3, x, w, dpre, false, NULL, NULL, NULL), 0);
}

/* ---- norms ---- */

static void check_norms(const struct engine *e)
{
    double r = 1 / sqrt(1.25);
    void *x = VEC(e, 1, 2, 3, 4), *y = ZEROS(e, 4), *mean = ZEROS(e, 4), *rstd = ZEROS(e, 4), *var = ZEROS(e, 1);
    e->layer_norm_fwd(e, 1, 4, 0, x, NULL, NULL, y, mean, rstd);
    WANT(e, y, -1.5 * r, -0.5 * r, 0.5 * r, 1.5 * r);
    WANT(e, mean, 2.5);
    WANT(e, rstd, r);
    e->layer_norm_fwd(e, 2, 2, 0.75, x, VEC(e, 2, 4), VEC(e, 1, 0), y, NULL, NULL); /* variances 1/4 */
    WANT(e, y, 0, 2, 0, 2);

    e->batch_norm_fwd(e, 2, 1, 2, 0, true, x, VEC(e, 2), VEC(e, 1), y, mean, rstd, var);
    WANT(e, y, 1 - 3 * r, 1 - r, 1 + r, 1 + 3 * r);
    WANT(e, mean, 2.5);
    WANT(e, rstd, r);
    WANT(e, var, 5.0 / 3); /* unbiased, for the running variance */
    e->batch_norm_fwd(e, 2, 1, 2, 1, false, x, VEC(e, 2), VEC(e, 1), y, VEC(e, 1), rstd, VEC(e, 3));
    WANT(e, y, 1, 2, 3, 4);
    WANT(e, rstd, 0.5);

    e->group_norm_fwd(e, 1, 4, 1, 2, 0, VEC(e, 1, 3, 10, 20), VEC(e, 1, 2, 3, 4), VEC(e, 0, 0, 0, 1), y, mean, rstd);
    WANT(e, y, -1, 2, -3, 5);
    WANT(e, mean, 2, 15);
    WANT(e, rstd, 1, 0.2);

    void *norm = ZEROS(e, 3), *dx = ZEROS(e, 6), *unit = ZEROS(e, 6);
    e->l2_normalize_fwd(e, 3, 2, 0.5, VEC(e, 3, 4, 0, 0, 0, 0.25), unit, norm);
    WANT(e, unit, 0.6, 0.8, 0, 0, 0, 0.5);
    WANT(e, norm, 5, 0, 0.25);
    e->l2_normalize_bwd(e, 3, 2, 0.5, unit, norm, VEC(e, 1, 0, 1, 2, 1, 2), dx);
    WANT(e, dx, 0.128, -0.096, 2, 4, 2, 4);
}

/* ---- softmax, cross entropy ---- */

static void check_softmax(const struct engine *e)
{
    void *x = VEC(e, 0, LN2, LN3, 1000, 1000, -INFINITY), *y = ZEROS(e, 6), *dx = ZEROS(e, 3), *dy = VEC(e, 1, 0, 0);
    e->softmax_fwd(e, 2, 3, false, x, y);
    WANT(e, y, 1.0 / 6, 1.0 / 3, 0.5, 0.5, 0.5, 0);
    e->softmax_bwd(e, 1, 3, false, y, dy, dx);
    WANT(e, dx, 5.0 / 36, -1.0 / 18, -1.0 / 12);
    e->softmax_fwd(e, 2, 3, true, x, y);
    WANT(e, y, -LN2 - LN3, -LN3, -LN2, -LN2, -LN2, -INFINITY);
    e->fill(e, dx, 0, 3);
    e->softmax_bwd(e, 1, 3, true, y, dy, dx);
    WANT(e, dx, 5.0 / 6, -1.0 / 3, -0.5);
}

static void check_cross_entropy(const struct engine *e)
{
    void *x = VEC(e, 0, LN2, LN3, 0, LN2, LN3), *loss = ZEROS(e, 2), *lse = ZEROS(e, 2), *dx = ZEROS(e, 6);
    const int32_t label[] = {2, -1};
    double ln6 = LN2 + LN3;
    e->cross_entropy_fwd(e, 2, 3, x, label, NULL, 0, loss, lse);
    WANT(e, loss, LN2, 0);
    WANT(e, lse, ln6, ln6);
    e->cross_entropy_bwd(e, 2, 3, x, label, NULL, 0, lse, VEC(e, 6, 6), dx, NULL);
    WANT(e, dx, 1, 2, -3, 0, 0, 0);
    e->cross_entropy_fwd(e, 2, 3, x, label, NULL, 0.3, loss, lse);
    WANT(e, loss, ln6 - 0.1 * LN2 - 0.8 * LN3, 0);
    e->cross_entropy_bwd(e, 1, 3, x, label, NULL, 0.3, lse, VEC(e, 6), dx, NULL);
    WANT(e, dx, 1 + 0.4, 2 + 1.4, -3 - 1.8);

    void *target = VEC(e, 0.5, 0, 1.5, 0, 1, 0), *dt = ZEROS(e, 6); /* sums 2 and 1 */
    e->cross_entropy_fwd(e, 2, 3, x, NULL, target, 0, loss, lse);
    WANT(e, loss, 2 * ln6 - 1.5 * LN3, LN3);
    e->fill(e, dx, 0, 6);
    e->cross_entropy_bwd(e, 2, 3, x, NULL, target, 0, lse, VEC(e, 6, 0), dx, dt);
    WANT(e, dx, 2 - 3, 4, 6 - 9, 0, 0, 0);
    WANT(e, dt, 6 * ln6, 6 * LN3, 6 * LN2, 0, 0, 0);
    e->cross_entropy_fwd(e, 1, 3, VEC(e, 0, LN3, -INFINITY), NULL, VEC(e, 1, 0, 0), 0, loss, lse);
    WANT(e, loss, 2 * LN2);
}

/* ---- attention ---- */

static void check_attention(const struct engine *e)
{
    struct attention_dims d = {.batch = 1, .heads = 1, .len_q = 2, .len_k = 2, .head_dim = 1, .scale = 1};
    d.ld_q = d.ld_k = d.ld_v = d.ld_out = 1;
    void *q = VEC(e, 1, 2), *k = VEC(e, 0, LN2), *v = VEC(e, 10, 20), *out = ZEROS(e, 2), *lse = ZEROS(e, 2);
    assert_int_equal(e->attention_fwd(e, &d, q, k, v, NULL, out, lse), 0);
    WANT(e, out, 50.0 / 3, 18);
    WANT(e, lse, LN3, log(5));
    d.causal = true;
    assert_int_equal(e->attention_fwd(e, &d, q, k, v, NULL, out, lse), 0);
    WANT(e, out, 10, 18);
    WANT(e, lse, 0, log(5));
    const uint8_t second[] = {0, 1}, none[] = {0, 0};
    assert_int_equal(e->attention_fwd(e, &d, q, k, v, second, out, lse), 0);
    WANT(e, out, 0, 20); /* causal hides the second key from the first query, the mask the first */
    WANT(e, lse, -INFINITY, 2 * LN2);
    assert_int_equal(e->attention_fwd(e, &d, q, k, v, none, out, NULL), 0);
    WANT(e, out, 0, 0);
    assert_int_equal(e->attention_fwd(e, &d, q, k, v, none, out, lse), 0);
    void *dq = ZEROS(e, 2), *dk = ZEROS(e, 2), *dv = ZEROS(e, 2), *dout = VEC(e, 1, 1);
    assert_int_equal(e->attention_bwd(e, &d, q, k, v, none, out, lse, dout, dq, dk, dv), 0);
    WANT(e, dq, 0, 0);
    WANT(e, dk, 0, 0);
    WANT(e, dv, 0, 0);
    mem_fail_at(1);
    assert_int_equal(e->attention_fwd(e, &d, q, k, v, NULL, out, lse), ERR_MEMORY);
    mem_fail_at(1);
    assert_int_equal(e->attention_bwd(e, &d, q, k, v, NULL, out, lse, dout, dq, dk, dv), ERR_MEMORY);
    mem_fail_at(0);
}

/* Packed q, k, v with two heads against the softmax slot and plain loops. */
static void check_attention_heads(const struct engine *e)
{
    enum { B = 2, H = 2, L = 3, HD = 2, D = H * HD };
    struct attention_dims d = {.batch = B, .heads = H, .len_q = L, .len_k = L, .head_dim = HD, .scale = 0.7};
    d.ld_q = d.ld_k = d.ld_v = 3 * D;
    d.ld_out = D;
    void *qkv = ZEROS(e, B * L * 3 * D), *out = ZEROS(e, B * L * D), *p = ZEROS(e, L), *s = ZEROS(e, L);
    size_t unit = dtype_size(e->real);
    const char *bytes = qkv;
    const uint8_t keep[B * L] = {1, 1, 1, 1, 0, 1};
    for (int i = 0; i < B * L * 3 * D; i++)
        set(e, qkv, i, sin(1.7 * i));
    assert_int_equal(e->attention_fwd(e, &d, bytes, bytes + D * unit, bytes + 2 * D * unit, keep, out, NULL), 0);
    for (int b = 0; b < B; b++) {
        for (int hi = 0; hi < H * L; hi++) {
            int h = hi / L, i = hi % L;
            for (int j = 0; j < L; j++) {
                double sum = 0;
                for (int c = h * HD; c < (h + 1) * HD; c++)
                    sum += get(e, qkv, (b * L + i) * 3 * D + c) * get(e, qkv, (b * L + j) * 3 * D + D + c);
                set(e, s, j, keep[b * L + j] ? 0.7 * sum : -(double)INFINITY);
            }
            e->softmax_fwd(e, 1, L, false, s, p);
            for (int c = h * HD; c < (h + 1) * HD; c++) {
                double sum = 0;
                for (int j = 0; j < L; j++)
                    sum += get(e, p, j) * get(e, qkv, (b * L + j) * 3 * D + 2 * D + c);
                double got = get(e, out, (b * L + i) * D + c);
                assert_true(fabs(got - sum) < (e->real == DT_F64 ? 1e-14 : 1e-6));
            }
        }
    }
}

/* ---- movement ---- */

static void check_move(const struct engine *e)
{
    const int32_t ids[] = {2, 0, 2};
    void *table = VEC(e, 1, 2, 3, 4, 5, 6), *y = ZEROS(e, 6), *dt = VEC(e, 0, 0, 9, 9, 0, 0);
    e->embed_fwd(e, 3, 2, 3, table, ids, y);
    WANT(e, y, 5, 6, 1, 2, 5, 6);
    e->embed_bwd(e, 3, 2, 3, ids, table, dt);
    WANT(e, dt, 3, 4, 9, 9, 6, 8);

    /* one picture of two channels, 2 x 4, patches of 2 */
    void *x = VEC(e, 0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17), *p = ZEROS(e, 16), *dx = ZEROS(e, 16);
    e->patchify_fwd(e, 1, 2, 2, 4, 2, x, p);
    WANT(e, p, 0, 1, 4, 5, 10, 11, 14, 15, 2, 3, 6, 7, 12, 13, 16, 17);
    e->patchify_bwd(e, 1, 2, 2, 4, 2, p, dx);
    e->patchify_bwd(e, 1, 2, 2, 4, 2, p, dx);
    WANT(e, dx, 0, 2, 4, 6, 8, 10, 12, 14, 20, 22, 24, 26, 28, 30, 32, 34);

    /* x [1, 2, 3] holds 10 j + k; y[k, i, j] */
    const int64_t shape[] = {1, 2, 3};
    const int perm[] = {2, 0, 1};
    void *z = VEC(e, 0, 1, 2, 10, 11, 12);
    e->permute(e, 3, shape, perm, z, y, false);
    WANT(e, y, 0, 10, 1, 11, 2, 12);
    e->permute(e, 3, shape, perm, z, y, true);
    WANT(e, y, 0, 20, 2, 22, 4, 24);

    /* two blocks of 2 rows of 1, the second of each into row 0 of blocks of 3 */
    void *dst = VEC(e, 7, 7, 7, 7, 7, 7);
    e->copy_rows(e, 2, 2, 1, 3, 0, 1, 1, VEC(e, 1, 2, 3, 4), dst, false);
    WANT(e, dst, 2, 7, 7, 4, 7, 7);
    e->copy_rows(e, 2, 2, 0, 3, 1, 2, 1, VEC(e, 1, 2, 3, 4), dst, true);
    WANT(e, dst, 2, 8, 9, 4, 10, 11);
}

/* ---- pictures ---- */

static void check_conv(const struct engine *e)
{
    struct conv_dims d = {.batch = 1, .in_c = 1, .in_h = 3, .in_w = 3, .out_c = 1, .k_h = 2, .k_w = 2, .stride = 1};
    d.out_h = d.out_w = 2;
    void *x = VEC(e, 1, 2, 3, 4, 5, 6, 7, 8, 9), *w = VEC(e, 1, 2, 3, 4), *y = ZEROS(e, 4), *one = VEC(e, 1);
    assert_int_equal(e->conv2d_fwd(e, &d, x, w, one, y), 0);
    WANT(e, y, 38, 48, 68, 78);
    void *dx = ZEROS(e, 9), *dw = ZEROS(e, 4), *db = ZEROS(e, 1), *dy = VEC(e, 1, 0, 0, 10);
    assert_int_equal(e->conv2d_bwd(e, &d, x, w, dy, dx, dw, db), 0);
    WANT(e, dx, 1, 2, 0, 3, 14, 20, 0, 30, 40);
    WANT(e, dw, 51, 62, 84, 95);
    WANT(e, db, 11);
    d.pad = 1;
    d.stride = 2;
    assert_int_equal(e->conv2d_fwd(e, &d, x, w, NULL, y), 0);
    WANT(e, y, 4, 18, 36, 77);

    struct pool_dims p = {.batch = 1, .channels = 1, .in_h = 3, .in_w = 3, .k = 2, .stride = 1, .out_h = 2, .out_w = 2};
    e->avg_pool_fwd(e, &p, x, y);
    WANT(e, y, 3, 4, 6, 7);
    e->fill(e, dx, 0, 9);
    e->avg_pool_bwd(e, &p, VEC(e, 4, 0, 0, 8), dx);
    WANT(e, dx, 1, 1, 0, 1, 3, 2, 0, 2, 2);
}

/* ---- sphere ---- */

static void check_slerp(const struct engine *e)
{
    double h = sqrt(0.5), s3 = sqrt(0.75);
    void *a = VEC(e, 1, 0, 1, 0, 1, 0, 1, 0, 0.6, 0.8, 1, 0), *b = VEC(e, 0, 1, 0, 1, 0, 1, 0, 1, 0.6, 0.8, -1, 0);
    void *lambda = VEC(e, 1, 0, 0.5, 1.0 / 3, 0.3, 0.25), *y = ZEROS(e, 12);
    int64_t antipodal = 99;
    e->slerp_fwd(e, 6, 2, a, b, lambda, 6, y, &antipodal);
    WANT(e, y, 1, 0, 0, 1, h, h, 0.5, s3, 0.6, 0.8, 1, 0);
    assert_int_equal(antipodal, 1);
    e->slerp_fwd(e, 2, 2, a, b, VEC(e, 0.5), 1, y, NULL);
    WANT(e, y, h, h, h, h);

    void *da = ZEROS(e, 12), *db = ZEROS(e, 12);
    e->slerp_bwd(e, 6, 2, a, b, lambda, 6, VEC(e, 1, 2, 1, 2, 0, 0, 0, 0, 0.8, -0.6, 3, 4), da, db);
    WANT(e, da, 1, 2, 0, 0); /* y = a at lambda 1 whatever b, y = b at lambda 0 */
    WANT(e, db, 0, 0, 1, 2);
    WANT(e, (char *)da + 8 * dtype_size(e->real), 0.24, -0.18, 3, 4); /* identical rows: lambda g; antipodal: g */
    WANT(e, (char *)db + 8 * dtype_size(e->real), 0.56, -0.42, 0, 0);
    e->slerp_bwd(e, 6, 2, a, b, lambda, 6, a, NULL, NULL);
}

/* The two ways of evaluating sin(k t) / sin t agree where they meet, and the angle is right on both sides. */
static void slerp_small_angles(void **state)
{
    const struct engine *e = engine_named("ref64");
    static const double angles[] = {1e-12, 1e-7, 1e-3, 0.4, 0.45, 0.451, 0.452, 1, 2, 3.1};
    for (size_t i = 0; i < ARRAY_LEN(angles); i++) {
        double t = angles[i], a[] = {1, 0}, b[] = {cos(t), sin(t)}, lambda = 0.3, y[2];
        e->slerp_fwd(e, 1, 2, a, b, &lambda, 1, y, NULL);
        double sharp = t < 3 ? 1e-14 : 1e-12; /* cos t tells the angle badly near pi */
        assert_close(y[0], cos(0.7 * t), sharp);
        assert_close(y[1], sin(0.7 * t), sharp);
    }
}

static void check_distance(const struct engine *e)
{
    void *a = VEC(e, 0, 0, 1, 1), *b = VEC(e, 3, 4, 1, 2, 0, 0), *y = ZEROS(e, 6), *da = ZEROS(e, 4), *db = ZEROS(e, 6);
    assert_int_equal(e->distance_fwd(e, 2, 3, 2, a, b, y), 0);
    WANT(e, y, 25, 5, 0, 13, 1, 2);
    assert_int_equal(e->distance_bwd(e, 2, 3, 2, a, b, VEC(e, 1, 0, 0, 0, 1, 1), da, db), 0);
    WANT(e, da, -6, -8, 2, 0);
    WANT(e, db, 6, 8, 0, 2, -2, -2);
}

/* ---- optimiser ---- */

static void check_adamw(const struct engine *e)
{
    /* At the first step the corrected moments are g and g^2: the parameter moves by lr against the sign of g. */
    struct adamw_step s = {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .weight_decay = 0.1, .grad_scale = 0.5};
    s.correction1 = 0.1;
    s.correction2 = 0.01;
    void *p = VEC(e, 1, 1), *m = ZEROS(e, 2), *v = ZEROS(e, 2);
    e->adamw(e, 2, &s, VEC(e, 4, -8), p, m, v);
    WANT(e, p, 0.99 - 0.1, 0.99 + 0.1);
    WANT(e, m, 0.2, -0.4);
    WANT(e, v, 0.04, 0.16);
    s.correction1 = 1 - 0.81;
    s.correction2 = 1 - 0.9801;
    s.eps = 0.5;
    e->adamw(e, 1, &s, VEC(e, 2), p, m, v);
    double m2 = 0.9 * 0.2 + 0.1, v2 = 0.99 * 0.04 + 0.01;
    WANT(e, m, m2, -0.4);
    WANT(e, v, v2, 0.16);
    WANT(e, p, 0.89 - 0.1 * (m2 / 0.19) / (sqrt(v2 / 0.0199) + 0.5) - 0.1 * 0.1 * 0.89, 1.09);
}

#define CHECK(name)                                                                                                    \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        each_engine(check_##name);                                                                                     \
    }
CHECK(acts)
CHECK(point)
CHECK(binary)
CHECK(reduce)
CHECK(matmul)
CHECK(matmul_tiles)
CHECK(linear)
CHECK(norms)
CHECK(softmax)
CHECK(cross_entropy)
CHECK(attention)
CHECK(attention_heads)
CHECK(move)
CHECK(conv)
CHECK(slerp)
CHECK(distance)
CHECK(adamw)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry),
        cmocka_unit_test(names),
        cmocka_unit_test(gamma_family),
        cmocka_unit_test(acts),
        cmocka_unit_test(point),
        cmocka_unit_test(binary),
        cmocka_unit_test(reduce),
        cmocka_unit_test(matmul),
        cmocka_unit_test(matmul_tiles),
        cmocka_unit_test(linear),
        cmocka_unit_test(norms),
        cmocka_unit_test(softmax),
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(attention),
        cmocka_unit_test(attention_heads),
        cmocka_unit_test(move),
        cmocka_unit_test(conv),
        cmocka_unit_test(slerp),
        cmocka_unit_test(slerp_small_angles),
        cmocka_unit_test(distance),
        cmocka_unit_test(adamw),
    };
    return cmocka_run_group_tests(tests, open_memory, close_memory);
}
