/* tests/adapt/test_adapter.c: fitting, the folder, prediction, draws and likelihoods, on sets made here: what is
 * planted is found, runs repeat, other models' sets are refused, and no finite vector makes a NaN. */
#include "adapt/adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../made_set.h"

static const struct engine *engine;

static int begin(void **state)
{
    return make_root(state) == 0 && engine_open(&engine, "cpu", 1) == 0 ? 0 : -1;
}

/* Texts are pictures with noise; the noise is five times larger where the first number is positive. */
static void plant(struct made *m, int64_t n, int64_t d, uint64_t seed)
{
    make(m, n, d);
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        double noise = 0;
        for (int64_t j = 0; j < d; j++) {
            double v = rng_normal(&r);
            if (j == 0) {
                v = v > 0 ? v + 2 : v - 2;
                noise = v > 0 ? 0.5 : 0.1;
            }
            m->x[i * d + j] = (float)v;
            m->y[i * d + j] = (float)(v + noise * rng_normal(&r));
        }
    }
}

static struct adapt_opt options(const char *method)
{
    struct adapt_opt o = {0};
    opt_defaults(adapt_options, &o);
    o.method = method;
    o.hidden = 16;
    o.inducing = 20;
    o.batch = 32;
    o.epochs = 20;
    o.lr = 3e-3;
    return o;
}

static const char *const methods[] = {"probvlm", "pfe", "pcme", "pcmepp", "grove"};

/* ---- what is planted is found ---- */

static void finds_noise(void **state UNUSED)
{
    enum { N = 300, D = 8 };
    struct made m;
    plant(&m, N, D, 1);
    for (size_t k = 0; k < ARRAY_LEN(methods); k++) {
        struct adapter *a;
        struct adapt_result r;
        struct adapt_opt o = options(methods[k]);
        double *u = mem_calloc(N, sizeof *u), quiet = 0, loud = 0;
        if (adapt_fit(&m.s, &o, engine, at(methods[k]), false, &r) < 0 ||
            adapt_open_on(&a, at(methods[k]), engine) < 0 ||
            adapt_predict(a, &m.s, SIDE_IMAGE, &(struct predict_opt){.dropout = -1}, u, NULL) < 0)
            fail_msg("%s: %s", methods[k], err_text());
        assert_string_equal(adapt_method(a), methods[k]);
        assert_int_equal(r.n_train + r.n_validation, N);
        assert_int_equal(r.steps, 20 * (r.n_train / 32));
        assert_true(isfinite(r.final_loss) && isfinite(r.validation) && r.best_epoch >= 0);
        for (int i = 0; i < N; i++)
            *(m.x[i * D] > 0 ? &loud : &quiet) += log(u[i]) / N;
        if (k < 2 && !(loud > quiet))
            fail_msg("%s: log variance %g where it is noisy, %g where not", methods[k], loud, quiet);
        mem_free(u);
        adapt_close(&a);
    }
    drop(&m);
}

/* ---- the folder, repetition, refusals ---- */

static void repeats(void **state UNUSED)
{
    enum { N = 70, D = 6 };
    struct made m;
    struct adapt_result r[2];
    struct adapter *a[2];
    double u[2][N];
    float mean[2][N * D];
    plant(&m, N, D, 2);
    struct adapt_opt o = options("probvlm");
    o.mean = "free";
    for (int k = 0; k < 2; k++) {
        struct predict_more more = {.mean = mean[k]};
        assert_int_equal(adapt_fit(&m.s, &o, engine, at(k ? "again" : "once"), false, &r[k]), 0);
        assert_int_equal(adapt_open_on(&a[k], at(k ? "again" : "once"), engine), 0);
        assert_int_equal(
            adapt_predict(a[k], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1, .seed = 5}, u[k], &more), 0);
    }
    assert_true(r[0].final_loss == r[1].final_loss);
    assert_memory_equal(u[0], u[1], sizeof u[0]);
    assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
    /* another seed draws other masks */
    assert_int_equal(adapt_predict(a[1], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = 0.3, .seed = 6}, u[1], NULL),
                     0);
    assert_memory_not_equal(u[0], u[1], sizeof u[0]);
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("once"), false, &r[0]), ERR_EXISTS);
    /* rows do not see each other: those of a shorter set are the same */
    m.s.text.n = 3;
    assert_int_equal(adapt_predict(a[1], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1, .seed = 5}, u[1], NULL),
                     0);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(u[0][i] / u[1][i] - 1) < 1e-4);
    m.s.fingerprint = "def";
    assert_int_equal(adapt_predict(a[0], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, u[0], NULL),
                     ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "def"));
    assert_non_null(strstr(err_text(), "abc"));
    assert_int_equal(
        adapt_predict(a[0], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1, .force = true}, u[0], NULL), 0);
    m.s.width = 3;
    assert_int_equal(
        adapt_predict(a[0], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1, .force = true}, u[0], NULL),
        ERR_MISMATCH);
    adapt_close(&a[0]);
    adapt_close(&a[1]);
    drop(&m);
}

/* Weights given and no epoch: the same adapter again. And the table of predict.c against the function itself. */
static void starts_from(void **state UNUSED)
{
    enum { N = 40, D = 6 };
    struct made m;
    struct adapt_result r;
    struct adapter *a[2];
    double u[2][N], want = 0;
    float mean[N * D], scale[N * D], shape[N * D];
    plant(&m, N, D, 11);
    struct adapt_opt o = options("probvlm");
    o.dropout = 0;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("first"), false, &r), 0);
    char from[600];
    snprintf(from, sizeof from, "%s", at("first/adapter.safetensors"));
    o.from = from;
    o.epochs = 0;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("second"), false, &r), 0);
    assert_int_equal(r.steps, 0);
    for (int k = 0; k < 2; k++) {
        struct predict_more more = {.mean = mean, .scale = scale, .shape = shape};
        assert_int_equal(adapt_open_on(&a[k], at(k ? "second" : "first"), engine), 0);
        assert_int_equal(adapt_predict(a[k], &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, u[k], &more), 0);
    }
    assert_memory_equal(u[0], u[1], sizeof u[0]);
    double s = a[0]->d.text_scale;
    for (int j = 0; j < D; j++)
        want += ggd_variance((double)scale[3 * D + j] * s, (double)shape[3 * D + j]) / D;
    assert_true(fabs(u[0][3] / want - 1) < 1e-5);
    adapt_close(&a[0]);
    adapt_close(&a[1]);
    o.hidden = 7;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("third"), false, &r), ERR_DATA);
    drop(&m);
}

static void refuses(void **state UNUSED)
{
    struct made m;
    struct adapt_result r;
    struct adapter *a = NULL;
    plant(&m, 20, 4, 3);
    struct adapt_opt o = options("pfe");
    o.released = true;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE);
    o = options("probvlm");
    o.epochs = 0;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE);
    o = options("probvlm");
    o.split_column = "split";
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE);
    o = options("probvlm");
    m.x[17] = NAN;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "row 4"));
    m.x[17] = 0;
    m.s.n_pairs = 0;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_DATA);
    assert_false(path_exists(at("no")));
    assert_true(adapt_open_on(&a, at("no"), engine) < 0);
    const char *bad = "{\"format\": \"meridian adapter\", \"version\": 1, \"method\": \"magic\", \"mean\": \"free\"}";
    assert_int_equal(path_make_dirs(at("bad")), 0);
    assert_int_equal(atomic_put(at("bad/adapter.json"), bad, strlen(bad)), 0);
    assert_int_equal(adapt_open_on(&a, at("bad"), engine), ERR_DATA);
    assert_non_null(strstr(err_text(), "magic"));
    drop(&m);
    /* a design that no weights go with asks for no memory */
    plant(&m, 20, 4, 3);
    o = options("probvlm");
    o.epochs = 1;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("bad"), true, &r), 0);
    json_t *j;
    assert_int_equal(json_read_file(&j, at("bad/adapter.json")), 0);
    json_object_set_new(j, "width", json_integer(65536));
    char *text = json_dumps(j, 0);
    assert_int_equal(atomic_put(at("bad/adapter.json"), text, strlen(text)), 0);
    free(text);
    json_decref(j);
    assert_int_equal(adapt_open_on(&a, at("bad"), engine), ERR_DATA);
    drop(&m);
}

/* A dead unit of the released shape is 0, from which nothing can be drawn: the arrays have the clips of its variance,
 * and what draws from them ends with finite numbers. */
static void released_arrays(void **state UNUSED)
{
    enum { N = 40, D = 8 };
    struct made m;
    struct adapt_result r;
    struct adapter *a = NULL;
    float mean[N * D], scale[N * D], shape[N * D];
    double scalar[N], entropy[N], bald[N];
    plant(&m, N, D, 3);
    struct adapt_opt o = options("probvlm");
    o.released = true;
    o.epochs = 1;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("dead"), true, &r), 0);
    assert_int_equal(adapt_open_on(&a, at("dead"), engine), 0);
    const struct predict_opt ask = {.dropout = -1, .passes = 3};
    const struct predict_more more = {.mean = mean, .scale = scale, .shape = shape};
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &ask, scalar, &more), 0);
    for (int i = 0; i < N * D; i++)
        assert_true(shape[i] > 0.09F && shape[i] <= 5 && scale[i] > 0 && isfinite(scale[i]));
    assert_int_equal(adapt_probit(a, &m.s, SIDE_IMAGE, &ask, entropy, NULL), 0);
    assert_int_equal(adapt_acquire(a, &m.s, NULL, SIDE_IMAGE, "bald", &ask, bald), 0);
    for (int i = 0; i < N; i++)
        assert_true(isfinite(entropy[i]) && isfinite(bald[i]));
    adapt_close(&a);
    /* a removed mean that no unit vectors have */
    json_t *j;
    assert_int_equal(json_read_file(&j, at("dead/adapter.json")), 0);
    json_array_set_new(json_object_get(json_object_get(j, "removed_mean"), "text"), 2, json_real(1e300));
    char *text = json_dumps(j, 0);
    assert_int_equal(atomic_put(at("dead/adapter.json"), text, strlen(text)), 0);
    free(text);
    json_decref(j);
    assert_int_equal(adapt_open_on(&a, at("dead"), engine), ERR_DATA);
    assert_non_null(strstr(err_text(), "removed_mean"));
    drop(&m);
}

/* ---- the split ---- */

static void splits(void **state UNUSED)
{
    struct made m;
    struct set_split p;
    make(&m, 60, 2);
    for (int i = 0; i < 60; i++) /* five captions a picture */
        m.pairs[i] = (struct set_pair){i / 5, i};
    struct set_split_opt o = {.share = 0.25};
    assert_int_equal(set_split_make(&p, &m.s, &o), 0);
    assert_int_equal(p.n_validation, 15);
    assert_int_equal(p.n_train, 45);
    for (int64_t i = 0; i < p.n_validation; i++)
        for (int64_t k = 0; k < p.n_train; k++)
            assert_true(p.validation[i].image != p.train[k].image);
    set_split_free(&p);
    assert_int_equal(atomic_put(at("train.txt"), "3\n4\n0\n", 6), 0);
    assert_int_equal(atomic_put(at("val.txt"), "7\n", 2), 0);
    o.train_rows = at("train.txt");
    o.validation_rows = at("val.txt");
    assert_int_equal(set_split_make(&p, &m.s, &o), 0);
    assert_int_equal(p.n_train, 15);
    assert_int_equal(p.n_validation, 5);
    assert_int_equal(p.validation[0].image, 7);
    set_split_free(&p);
    o.validation_rows = o.train_rows;
    assert_int_equal(set_split_make(&p, &m.s, &o), ERR_DATA);
    assert_int_equal(atomic_put(at("val.txt"), "99\n", 3), 0);
    o.validation_rows = at("val.txt");
    assert_int_equal(set_split_make(&p, &m.s, &o), ERR_DATA);
    drop(&m);
}

/* ---- no NaN ---- */

static void whole_life(struct made *m, const char *what, const char *method, bool released)
{
    struct adapt_opt o = options(method);
    struct adapt_result r;
    struct adapter *a;
    int64_t n = m->s.image.n, d = m->s.width;
    double *u = mem_calloc((size_t)n, 2 * sizeof *u);
    float *x = mem_calloc((size_t)(4 * d), sizeof *x);
    o.released = released;
    o.epochs = 2;
    o.batch = 8;
    if (adapt_fit(&m->s, &o, engine, at("life"), true, &r) < 0 || adapt_open_on(&a, at("life"), engine) < 0)
        fail_msg("%s, %s: %s", what, method, err_text());
    assert_true(isfinite(r.final_loss));
    for (int side = 0; side < 2; side++) {
        struct predict_more more = {.log_variance = u + n};
        assert_int_equal(adapt_predict(a, &m->s, side, &(struct predict_opt){.dropout = -1, .passes = 3}, u, &more), 0);
        for (int64_t i = 0; i < 2 * n; i++)
            if (!isfinite(u[i]))
                fail_msg("%s, %s: uncertainty %g", what, method, u[i]);
        assert_int_equal(adapt_likelihood(a, &m->s, side, 0, !side, u), 0);
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(u[i]))
                fail_msg("%s, %s: log-likelihood %g", what, method, u[i]);
        assert_int_equal(adapt_sample(a, &m->s, side, 0, 4, side ? "near" : "tail", 1, x), 0);
        for (int64_t i = 0; i < 4 * d; i++)
            assert_true(isfinite(x[i]));
    }
    adapt_close(&a);
    mem_free(u);
    mem_free(x);
}

static void lives(struct made *m, const char *what)
{
    for (size_t k = 0; k < ARRAY_LEN(methods); k++)
        whole_life(m, what, methods[k], false);
    whole_life(m, what, "probvlm", true);
    drop(m);
}

static void no_nan(void **state UNUSED)
{
    struct made m;
    make(&m, 20, 5);
    lives(&m, "zeros");
    plant(&m, 20, 5, 4);
    memset(m.x, 0, 5 * sizeof(float));
    memcpy(m.y + 5, m.y, 5 * sizeof(float));
    lives(&m, "a zero row and duplicates");
    plant(&m, 1, 5, 5);
    lives(&m, "one row");
    plant(&m, 20, 1, 6);
    lives(&m, "width 1");
    plant(&m, 20, 5, 7);
    for (int i = 0; i < 20; i++)
        m.x[i * 5 + 2] = m.y[i * 5 + 3] = 7;
    lives(&m, "constant columns");
    plant(&m, 20, 5, 8);
    for (int i = 0; i < 100; i++) {
        m.x[i] *= i % 3 ? 1e30F : 1e-30F;
        m.y[i] *= i % 7 ? 1e-38F : 1e36F;
    }
    lives(&m, "1e30");
}

/* Finite weights that are far too large: an answer or a refusal, no fault, no NaN, and an end (fuzz/adapter.c). */
static void huge_weights(void **state UNUSED)
{
    static const char *const networks[] = {"probvlm", "pfe", "pcme", "pcmepp", "prolip", "asymvlm"};
    struct made m;
    plant(&m, 20, 5, 10);
    for (size_t k = 0; k < ARRAY_LEN(networks); k++) {
        struct adapter *a;
        struct adapt_result r;
        struct adapt_opt o = options(networks[k]);
        double u[20] = {0}, l[20] = {0};
        float x[5] = {0};
        o.epochs = 1;
        o.batch = 8;
        o.mean = strcmp(networks[k], "asymvlm") ? "auto" : "free"; /* the concentration is a length then */
        assert_int_equal(adapt_fit(&m.s, &o, engine, at("huge"), true, &r), 0);
        assert_int_equal(adapt_open_on(&a, at("huge"), engine), 0);
        engine->fill(engine, a->params.data, 3e38, a->params.n_slab);
        const int rc[] = {adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, u, NULL),
                          adapt_sample(a, &m.s, SIDE_TEXT, 0, 1, "all", 1, x),
                          adapt_likelihood(a, &m.s, SIDE_TEXT, 0, SIDE_IMAGE, l)};
        for (size_t i = 0; i < ARRAY_LEN(rc); i++)
            assert_true(rc[i] == 0 || rc[i] == ERR_NONFINITE);
        for (int i = 0; i < 20; i++)
            assert_true((rc[0] < 0 || isfinite(u[i])) && (rc[2] < 0 || !isnan(l[i])));
        if (!strcmp(networks[k], "asymvlm")) /* was drawn from without an end */
            assert_int_equal(rc[1], ERR_NONFINITE);
        adapt_close(&a);
    }
    drop(&m);
}

/* ---- draws and likelihoods ---- */

static void draws(void **state UNUSED)
{
    enum { N = 120, D = 8, K = 200 };
    struct made m;
    struct adapter *a;
    struct adapt_result r;
    static const char *const regions[] = {"near", "all", "tail"};
    double spread[3] = {0}, l[N];
    float *x = mem_calloc(K * D, sizeof *x), mean[N * D];
    plant(&m, N, D, 9);
    struct adapt_opt o = options("probvlm");
    o.mean = "fixed";
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("draws"), false, &r), 0);
    assert_int_equal(adapt_open_on(&a, at("draws"), engine), 0);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(adapt_sample(a, &m.s, SIDE_IMAGE, 5, K, regions[k], 3, x), 0);
        for (int i = 0; i < K; i++) {
            double norm = sqrt(space_dot(x + i * D, x + i * D, D)), own = space_dot(m.x + 5 * D, m.x + 5 * D, D);
            assert_true(fabs(norm - 1) < 1e-5);
            spread[k] += 1 - space_dot(x + i * D, m.x + 5 * D, D) / sqrt(own);
        }
    }
    assert_true(spread[0] < spread[1] && spread[1] < spread[2]);
    /* an item's own text is among the likeliest, on average far before the middle */
    int64_t before = 0;
    for (int row = 0; row < N; row++) {
        assert_int_equal(adapt_likelihood(a, &m.s, SIDE_IMAGE, row, SIDE_TEXT, l), 0);
        for (int i = 0; i < N; i++)
            before += l[i] > l[row];
    }
    assert_true(before < N * N / 10);
    /* a fixed mean is the vector itself */
    struct predict_more more = {.mean = mean};
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &(struct predict_opt){.dropout = -1}, l, &more), 0);
    double norm = sqrt(space_dot(m.x, m.x, D));
    for (int j = 0; j < D; j++)
        assert_true(fabs((double)mean[j] - (double)m.x[j] / norm) < 1e-5);
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_IMAGE, N, SIDE_TEXT, l), ERR_USAGE);
    adapt_close(&a);
    mem_free(x);
    drop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_noise),     cmocka_unit_test(repeats),      cmocka_unit_test(starts_from),
        cmocka_unit_test(released_arrays), cmocka_unit_test(refuses),      cmocka_unit_test(splits),
        cmocka_unit_test(no_nan),          cmocka_unit_test(huge_weights), cmocka_unit_test(draws),
    };
    return cmocka_run_group_tests_name("adapter", tests, begin, drop_root);
}
