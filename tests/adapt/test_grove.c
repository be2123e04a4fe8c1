/* tests/adapt/test_grove.c: GroVE from a set to its answers: pairs planted on a curve are explained, items far from it
 * are doubted, runs repeat, rows do not see each other, and folders that do not fit are refused. Vectors that break
 * others are in test_adapter.c. */
#include "adapt/adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"

enum { N = 240, D = 12 };
static const struct engine *engine;
static float pictures[N * D], texts[N * D];
static struct set_pair pairs[N];
static struct set set;

/* Both sides are smooth functions of one hidden point in the plane, with a little noise. */
static int make_set(void **state)
{
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        double u = rng_normal(&r), v = rng_normal(&r);
        pairs[i] = (struct set_pair){i, i};
        for (int j = 0; j < D; j++) {
            pictures[i * D + j] = (float)(sin(u + j) + v * cos(2.0 * j) + 0.05 * rng_normal(&r));
            texts[i * D + j] = (float)(sin(u + j + 0.3) + v * cos(2.0 * j) + 0.05 * rng_normal(&r));
        }
    }
    set = (struct set){.path = root,
                       .width = D,
                       .image = {.n = N, .x = pictures},
                       .text = {.n = N, .x = texts},
                       .n_pairs = N,
                       .pairs = pairs,
                       .model = "tiny",
                       .fingerprint = "abc",
                       .data = "",
                       .protocol = ""};
    return make_root(state) == 0 && engine_open(&engine, "cpu", 1) == 0 ? 0 : -1;
}

static struct adapt_opt options(void)
{
    struct adapt_opt o = {0};
    opt_defaults(adapt_options, &o);
    o.method = "grove";
    o.latent = 2;
    o.inducing = 30;
    o.steps = 60;
    return o;
}

static const struct predict_opt plain = {.dropout = -1};

static void explains(void **state UNUSED)
{
    static const char *const kernels[] = {"rbf", "matern52"};
    for (size_t k = 0; k < ARRAY_LEN(kernels); k++) {
        struct adapt_opt o = options();
        struct adapt_result r;
        struct adapter *a;
        double u[N], fidelity[N], aleatoric[N], epistemic[N], sum = 0;
        struct predict_more more = {.fidelity = fidelity, .aleatoric = aleatoric, .epistemic = epistemic};
        o.kernel = kernels[k];
        o.kl_weight = 0.01;
        if (adapt_fit(&set, &o, engine, at(kernels[k]), false, &r) < 0 || adapt_open_on(&a, at(kernels[k]), engine) < 0)
            fail_msg("%s: %s", kernels[k], err_text());
        assert_int_equal(r.steps, 60);
        assert_true(isfinite(r.final_loss) && r.validation < 0.5); /* 1.42 were nothing explained */
        for (int side = 0; side < 2; side++) {
            assert_int_equal(adapt_predict(a, &set, side, &plain, u, &more), 0);
            for (int i = 0; i < N; i++) {
                sum += fidelity[i] / (2 * N);
                assert_true(u[i] > 0 && fabs(aleatoric[i] + epistemic[i] - u[i]) < 1e-12);
            }
        }
        assert_true(sum > 0.95);
        adapt_close(&a);
    }
}

/* The process doubts what lies far from every training pair. */
static void doubts(void **state UNUSED)
{
    float keep[D];
    struct adapt_opt o = options();
    struct adapt_result r;
    struct adapter *a;
    double u[N], mean = 0;
    o.kl_weight = 0.01;
    assert_int_equal(adapt_fit(&set, &o, engine, at("doubts"), false, &r), 0);
    assert_int_equal(adapt_open_on(&a, at("doubts"), engine), 0);
    memcpy(keep, pictures, sizeof keep);
    for (int j = 0; j < D; j++) /* the hidden point at v = 40: to unit length, the end of the curve */
        pictures[j] = (float)(40 * cos(2.0 * j));
    assert_int_equal(adapt_predict(a, &set, SIDE_IMAGE, &plain, u, NULL), 0);
    for (int i = 1; i < N; i++)
        mean += u[i] / (N - 1);
    assert_true(u[0] > mean);
    memcpy(pictures, keep, sizeof keep);
    adapt_close(&a);
}

static void repeats(void **state UNUSED)
{
    struct adapt_result r[2];
    struct adapter *a[2];
    double u[2][N];
    float mean[2][N * D], scale[N * D], shape[N * D];
    struct adapt_opt o = options();
    o.steps = 15;
    for (int k = 0; k < 2; k++) {
        struct predict_more more = {.mean = mean[k], .scale = scale, .shape = shape};
        assert_int_equal(adapt_fit(&set, &o, engine, at(k ? "again" : "once"), false, &r[k]), 0);
        assert_int_equal(adapt_open_on(&a[k], at(k ? "again" : "once"), engine), 0);
        assert_int_equal(adapt_predict(a[k], &set, SIDE_TEXT, &plain, u[k], &more), 0);
    }
    assert_true(r[0].final_loss == r[1].final_loss);
    assert_memory_equal(u[0], u[1], sizeof u[0]);
    assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
    /* scale and shape are the normal distribution of that variance */
    double s = a[0]->d.text_scale * (double)scale[7];
    assert_true(fabs(s * s / 2 / u[1][0] - 1) < 1e-5 && shape[7] == 2);
    set.text.n = 3; /* rows do not see each other */
    assert_int_equal(adapt_predict(a[1], &set, SIDE_TEXT, &plain, u[1], NULL), 0);
    set.text.n = N;
    for (int i = 0; i < 3; i++)
        assert_true(fabs(u[0][i] / u[1][i] - 1) < 1e-6);
    adapt_close(&a[1]);
    o.seed = 9; /* other inducing inputs */
    assert_int_equal(adapt_fit(&set, &o, engine, at("other"), false, &r[1]), 0);
    assert_true(r[0].final_loss != r[1].final_loss);
    set.fingerprint = "def";
    assert_int_equal(adapt_predict(a[0], &set, SIDE_TEXT, &plain, u[0], NULL), ERR_MISMATCH);
    set.fingerprint = "abc";
    adapt_close(&a[0]);
}

static int open_changed(const char *key, json_t *value)
{
    struct adapter *a = NULL;
    json_t *j;
    char path[600];
    snprintf(path, sizeof path, "%s", at("folder/adapter.json"));
    assert_int_equal(json_read_file(&j, path), 0);
    json_t *old = json_deep_copy(j);
    json_object_set_new(j, key, value);
    for (int turn = 0; turn < 2; turn++) { /* changed, and as it was */
        char *text = json_dumps(turn ? old : j, JSON_REAL_PRECISION(17));
        assert_int_equal(atomic_put(path, text, strlen(text)), 0);
        free(text);
        if (turn == 0) {
            int rc = adapt_open_on(&a, at("folder"), engine);
            adapt_close(&a);
            json_decref(j);
            j = json_integer(rc);
        }
    }
    int rc = (int)json_integer_value(j);
    json_decref(j);
    json_decref(old);
    return rc;
}

static void refuses(void **state UNUSED)
{
    struct adapt_opt o = options();
    struct adapt_result r;
    struct adapter *a = NULL;
    o.steps = 2;
    o.from = "x.safetensors";
    assert_int_equal(adapt_fit(&set, &o, engine, at("folder"), false, &r), ERR_USAGE);
    assert_non_null(strstr(err_text(), "--from"));
    o.from = NULL;
    o.kernel = "cosine";
    assert_int_equal(adapt_fit(&set, &o, engine, at("folder"), false, &r), ERR_DATA);
    assert_non_null(strstr(err_text(), "cosine"));
    o.kernel = "rbf";
    assert_int_equal(adapt_fit(&set, &o, engine, at("folder"), false, &r), 0);
    assert_int_equal(open_changed("kernel", json_string("magic")), ERR_DATA);
    assert_int_equal(open_changed("kernel", json_null()), ERR_DATA);
    assert_int_equal(open_changed("inducing", json_integer(31)), ERR_DATA);
    assert_int_equal(open_changed("inducing", json_integer(65536)), ERR_DATA); /* asks for no memory */
    assert_int_equal(open_changed("inducing", json_integer(0)), ERR_DATA);
    assert_int_equal(open_changed("latent", json_integer(3)), ERR_DATA);
    assert_int_equal(adapt_open_on(&a, at("folder"), engine), 0);
    /* numbers that are not finite */
    double u[N];
    ((float *)a->params.data)[0] = NAN;
    assert_int_equal(adapt_predict(a, &set, SIDE_IMAGE, &plain, u, NULL), ERR_DATA);
    adapt_close(&a);
    /* any request for memory may fail */
    int failed = 0;
    o.steps = 1;
    for (int64_t k = 1; k < 200; k += 7) {
        mem_fail_at(k);
        int rc = adapt_fit(&set, &o, engine, at("memory"), true, &r);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
    }
    assert_true(failed > 3);
}

/* More latent dimensions than there are axes, more inducing inputs than pairs. */
static void more_than_there_is(void **state UNUSED)
{
    struct adapt_opt o = options();
    struct adapt_result r;
    struct adapter *a;
    double u[N];
    o.latent = 20;
    o.inducing = 2000;
    o.steps = 3;
    set.n_pairs = 9;
    set.image.n = set.text.n = 9;
    assert_int_equal(adapt_fit(&set, &o, engine, at("more"), false, &r), 0);
    assert_int_equal(adapt_open_on(&a, at("more"), engine), 0);
    assert_int_equal(adapt_predict(a, &set, SIDE_IMAGE, &plain, u, NULL), 0);
    for (int i = 0; i < 9; i++)
        assert_true(isfinite(u[i]));
    adapt_close(&a);
    set.n_pairs = set.image.n = set.text.n = N;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explains),
        cmocka_unit_test(doubts),
        cmocka_unit_test(repeats),
        cmocka_unit_test(refuses),
        cmocka_unit_test(more_than_there_is),
    };
    return cmocka_run_group_tests_name("grove", tests, make_set, drop_root);
}
