/* tests/adapt/test_directional.c: AsymVLM and ProLIP on sets made here: what is planted is found, the folder opens
 * again with the same answers, draws and likelihoods agree with the distribution, a side without distributions is
 * refused by name, masked twins become wider, and no finite vector makes a NaN. */
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

/* Pictures and texts about means of their own; a text is its picture with noise, much where the first number of the
 * text is positive. */
static void plant(struct made *m, int64_t n, int64_t d, uint64_t seed)
{
    make(m, n, d);
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        bool loud = rng_u32(&r) & 1;
        for (int64_t j = 0; j < d; j++) {
            double v = rng_normal(&r), noise = (loud ? 1.5 : 0.2) * rng_normal(&r);
            m->x[i * d + j] = (float)(v + (j == 1 ? 4 : 0));
            m->y[i * d + j] = (float)(j == 0 ? (loud ? 3 : -3) : v + noise + (j == 2 ? 4 : 0));
        }
    }
}

static struct adapt_opt options(const char *method)
{
    struct adapt_opt o = {0};
    opt_defaults(adapt_options, &o);
    o.method = method;
    o.hidden = 16;
    o.batch = 32;
    o.epochs = 30;
    o.lr = 3e-3;
    return o;
}

static void fit(struct adapter **a, const struct made *m, const struct adapt_opt *o, const char *name)
{
    struct adapt_result r;
    if (adapt_fit(&m->s, o, engine, at(name), true, &r) < 0 || adapt_open_on(a, at(name), engine) < 0)
        fail_msg("%s: %s", name, err_text());
    assert_true(isfinite(r.final_loss));
}

/* ---- what is planted is found ---- */

static void finds_noise(void **state UNUSED)
{
    enum { N = 400, D = 8 };
    static const char *const how[][4] = {{"ps", "centred", "fixed", "both"},     {"vmf", "centred", "fixed", "texts"},
                                         {"ps", "raw", "residual", "both"},      {"vmf", "raw", "free", "both"},
                                         {"vmf", "centred", "residual", "both"}, {"ps", "centred", "free", "texts"}};
    struct made m;
    plant(&m, N, D, 1);
    double *u = mem_calloc(N, 2 * sizeof *u), *again = u + N;
    for (size_t k = 0; k < ARRAY_LEN(how); k++) {
        struct adapter *a;
        struct adapt_opt o = options("asymvlm");
        double log_u[2] = {0, 0}, n[2] = {0, 0};
        o.family = how[k][0];
        o.sphere = how[k][1];
        o.mean = how[k][2];
        o.contrast = how[k][3];
        fit(&a, &m, &o, "noise");
        assert_false(adapt_covers(a, SIDE_IMAGE));
        assert_true(adapt_covers(a, SIDE_TEXT));
        assert_int_equal(adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, u, NULL), 0);
        for (int i = 0; i < N; i++) {
            bool loud = m.y[i * D] > 0;
            assert_true(u[i] > 0 && isfinite(u[i]));
            log_u[loud] += log(u[i]);
            n[loud]++;
        }
        if (!(log_u[1] / n[1] > log_u[0] / n[0] + 0.2))
            fail_msg("%s %s %s %s: ln 1/kappa is %g where texts are noisy, %g where not", how[k][0], how[k][1],
                     how[k][2], how[k][3], log_u[1] / n[1], log_u[0] / n[0]);
        /* the folder keeps everything */
        struct adapter *b;
        assert_int_equal(adapt_open_on(&b, at("noise"), engine), 0);
        assert_int_equal(adapt_predict(b, &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, again, NULL), 0);
        assert_memory_equal(u, again, N * sizeof *u);
        adapt_close(&a);
        adapt_close(&b);
    }
    mem_free(u);
    drop(&m);
}

/* ---- draws, likelihoods, the table's columns ---- */

static void distributions(void **state UNUSED)
{
    enum { N = 200, D = 8, K = 400 };
    static const char *const regions[] = {"near", "all", "tail"};
    struct made m;
    plant(&m, N, D, 2);
    double l[N], u[N], fidelity[N];
    float *mean = mem_calloc(N * D, sizeof *mean), *x = mem_calloc(K * D, sizeof *x);
    for (int k = 0; k < 4; k++) {
        struct adapter *a;
        struct adapt_opt o = options("asymvlm");
        double spread[3] = {0, 0, 0}, before = 0;
        o.family = k & 1 ? "vmf" : "ps";
        o.sphere = k & 2 ? "raw" : "centred";
        o.mean = k & 2 ? "residual" : "auto"; /* a raw text's own direction points beside every picture */
        fit(&a, &m, &o, "draws");
        struct predict_more more = {.mean = mean, .fidelity = fidelity};
        assert_int_equal(adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, u, &more), 0);
        for (int i = 0; i < N; i++)
            assert_true(k & 2 ? fidelity[i] < 1 : fabs(fidelity[i] - 1) < 1e-5); /* fixed: the text's own direction */
        for (int region = 0; region < 3; region++) {
            assert_int_equal(adapt_sample(a, &m.s, SIDE_TEXT, 7, K, regions[region], 5, x), 0);
            for (int i = 0; i < K; i++) {
                assert_true(fabs(space_dot(x + i * D, x + i * D, D) - 1) < 1e-5);
                spread[region] += (1 - space_dot(x + i * D, mean + 7 * D, D)) / K;
            }
        }
        if (!(spread[0] < spread[1] && spread[1] < spread[2]))
            fail_msg("case %d: spread near %g, all %g, tail %g", k, spread[0], spread[1], spread[2]);
        /* a text's own picture stands before most others */
        for (int row = 0; row < N; row++) {
            assert_int_equal(adapt_likelihood(a, &m.s, SIDE_TEXT, row, SIDE_IMAGE, l), 0);
            for (int i = 0; i < N; i++)
                before += l[i] > l[row] ? 1.0 / N / N : 0;
        }
        if (!(before < 0.2))
            fail_msg("case %d: %g of the pictures are likelier than the own one", k, before);
        adapt_close(&a);
    }
    mem_free(x);
    mem_free(mean);
    drop(&m);
}

/* What a row says of itself is what sphere_log_density says of its cosine and 1/kappa. */
static void likelihood_by_hand(void **state UNUSED)
{
    enum { N = 60, D = 5 };
    struct made m;
    struct adapter *a;
    double l[N], u[N];
    float mean[N * D];
    plant(&m, N, D, 3);
    struct adapt_opt o = options("asymvlm");
    o.sphere = "raw";
    o.epochs = 3;
    fit(&a, &m, &o, "hand");
    struct predict_more more = {.mean = mean};
    assert_int_equal(adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = -1}, u, &more), 0);
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_TEXT, 4, SIDE_IMAGE, l), 0);
    for (int i = 0; i < N; i++) {
        double t = space_dot(m.x + i * D, mean + 4 * D, D) / sqrt(space_dot(m.x + i * D, m.x + i * D, D));
        assert_true(fabs(l[i] - sphere_log_density(SPHERE_PS, D, 1 / u[4], t) / D) < 1e-4 * (1 + fabs(l[i])));
    }
    adapt_close(&a);
    drop(&m);
}

static void refuses(void **state UNUSED)
{
    struct made m;
    struct adapter *a;
    struct adapt_result r;
    double l[60];
    float x[5];
    plant(&m, 60, 5, 4);
    struct adapt_opt o = options("asymvlm");
    o.epochs = 1;
    fit(&a, &m, &o, "refuses");
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &(struct predict_opt){.dropout = -1}, l, NULL), ERR_DATA);
    assert_non_null(strstr(err_text(), "texts alone"));
    assert_int_equal(adapt_sample(a, &m.s, SIDE_IMAGE, 0, 1, "all", 0, x), ERR_DATA);
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_IMAGE, 0, SIDE_TEXT, l), ERR_DATA);
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_TEXT, 0, SIDE_TEXT, l), ERR_USAGE);
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_TEXT, 60, SIDE_IMAGE, l), ERR_USAGE);
    assert_int_equal(adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){.dropout = 0.2}, l, NULL), ERR_USAGE);
    adapt_close(&a);
    /* what was written by hand */
    json_t *j;
    assert_int_equal(json_read_file(&j, at("refuses/adapter.json")), 0);
    json_object_set_new(j, "family", json_string("bingham"));
    char *text = json_dumps(j, 0);
    assert_int_equal(atomic_put(at("refuses/adapter.json"), text, strlen(text)), 0);
    free(text);
    json_decref(j);
    assert_int_equal(adapt_open_on(&a, at("refuses"), engine), ERR_DATA);
    assert_non_null(strstr(err_text(), "bingham"));
    drop(&m);
    plant(&m, 20, 1, 4); /* no sphere */
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_DATA);
    assert_non_null(strstr(err_text(), "width 1"));
    assert_false(path_exists(at("no")));
    drop(&m);
}

/* Two captions of one picture in a batch are no rivals: with every pair of the batch sharing one there is nothing to
 * tell apart, and nothing is lost. */
static void shared_items(void **state UNUSED)
{
    enum { N = 16, D = 4 };
    struct made m;
    struct adapt_result r[2];
    plant(&m, N, D, 5);
    for (int k = 0; k < 2; k++) {
        struct adapt_opt o = options("asymvlm");
        o.epochs = 1;
        o.validation_share = 0;
        for (int i = 0; i < N; i++)
            m.pairs[i] = (struct set_pair){k ? 0 : i, i};
        assert_int_equal(adapt_fit(&m.s, &o, engine, at("shared"), true, &r[k]), 0);
    }
    assert_true(r[0].final_loss > 0.1);
    assert_true(fabs(r[1].final_loss) < 1e-6);
    drop(&m);
}

/* ---- ProLIP ---- */

static double mean_of(struct adapter *a, const struct set *s, int side)
{
    int64_t n = side == SIDE_TEXT ? s->text.n : s->image.n;
    double *u = mem_calloc((size_t)n, sizeof *u), sum = 0;
    assert_int_equal(adapt_predict(a, s, side, &(struct predict_opt){.dropout = 0}, u, NULL), 0);
    for (int64_t i = 0; i < n; i++)
        sum += log(u[i]) / (double)n;
    mem_free(u);
    return sum;
}

/* A twin whose vectors have their first half hidden; on disk, for --masked. */
static void write_twin(const struct made *m, const char *path, bool short_one)
{
    int64_t n = m->s.image.n, d = m->s.width;
    struct made twin;
    make(&twin, n, d);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++) {
            twin.x[i * d + j] = j == 1 ? 4 : j < d / 2 ? 0 : m->x[i * d + j];
            twin.y[i * d + j] = j == 2 ? 4 : j < d / 2 ? 0 : m->y[i * d + j];
        }
    if (short_one)
        twin.s.text.n = twin.s.n_pairs = n - 1;
    assert_int_equal(set_write(&twin.s, path, "float32", true), 0);
    drop(&twin);
}

static void masked_are_wider(void **state UNUSED)
{
    enum { N = 300, D = 12 };
    struct made m;
    struct set *twin;
    double wider[3];
    plant(&m, N, D, 6);
    write_twin(&m, at("twin"), false);
    assert_int_equal(set_open(&twin, at("twin")), 0);
    for (int k = 0; k < 3; k++) { /* without inclusion, imitated, with the twin */
        struct adapter *a;
        struct adapt_opt o = options("prolip");
        o.inclusion = k ? 1 : 0;
        char path[600];
        snprintf(path, sizeof path, "%s", at("twin"));
        o.masked = k == 2 ? path : NULL;
        fit(&a, &m, &o, "prolip");
        wider[k] = 0.5 * (mean_of(a, twin, SIDE_IMAGE) - mean_of(a, &m.s, SIDE_IMAGE) + mean_of(a, twin, SIDE_TEXT) -
                          mean_of(a, &m.s, SIDE_TEXT));
        adapt_close(&a);
    }
    if (!(wider[2] > 0.3 && wider[2] > wider[0] + 0.2))
        fail_msg("ln variance of masked items less the others': %g without, %g imitated, %g with them", wider[0],
                 wider[1], wider[2]);
    set_close(&twin);
    struct adapt_result r;
    struct adapt_opt o = options("prolip");
    write_twin(&m, at("short"), true);
    char path[600];
    snprintf(path, sizeof path, "%s", at("short"));
    o.masked = path;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "299 texts"));
    drop(&m);
}

/* ---- no NaN ---- */

static void whole_life(struct made *m, const char *what, const struct adapt_opt *o)
{
    struct adapter *a;
    int64_t n = m->s.image.n, d = m->s.width;
    double *u = mem_calloc((size_t)n, 5 * sizeof *u);
    float *x = mem_calloc((size_t)((4 + 3 * n) * d), sizeof *x);
    fit(&a, m, o, "life");
    for (int side = 0; side < 2; side++) {
        struct predict_more more = {.aleatoric = u + n,
                                    .epistemic = u + 2 * n,
                                    .log_variance = u + 3 * n,
                                    .fidelity = u + 4 * n,
                                    .mean = x,
                                    .scale = x + n * d,
                                    .shape = x + 2 * n * d};
        if (!adapt_covers(a, side))
            continue;
        assert_int_equal(adapt_predict(a, &m->s, side, &(struct predict_opt){.dropout = -1, .passes = 3}, u, &more), 0);
        for (int64_t i = 0; i < 5 * n; i++)
            if (!isfinite(u[i]))
                fail_msg("%s, %s: column %d of row %d is %g", what, o->method, (int)(i / n), (int)(i % n), u[i]);
        for (int64_t i = 0; i < 3 * n * d; i++)
            assert_true(isfinite(x[i]));
        assert_int_equal(adapt_likelihood(a, &m->s, side, 0, !side, u), 0);
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(u[i]))
                fail_msg("%s, %s: log-likelihood %g", what, o->method, u[i]);
        for (int region = 0; region < 3; region++) {
            const char *const names[] = {"near", "all", "tail"};
            assert_int_equal(adapt_sample(a, &m->s, side, 0, 4, names[region], 1, x), 0);
            for (int64_t i = 0; i < 4 * d; i++)
                assert_true(isfinite(x[i]));
        }
    }
    adapt_close(&a);
    mem_free(u);
    mem_free(x);
}

static void lives(struct made *m, const char *what)
{
    for (int k = 0; k < 7; k++) {
        static const char *const means[] = {"free", "residual", "fixed"};
        struct adapt_opt o = options(k < 6 ? "asymvlm" : "prolip");
        o.epochs = 2;
        o.batch = 8;
        o.mean = means[k % 3];
        o.family = k & 1 ? "vmf" : "ps";
        o.sphere = k < 3 ? "centred" : "raw";
        o.inclusion_pair = 1;
        if (k == 6 || m->s.width > 1)
            whole_life(m, what, &o);
    }
    drop(m);
}

static void no_nan(void **state UNUSED)
{
    struct made m;
    make(&m, 20, 5);
    lives(&m, "zeros");
    plant(&m, 20, 5, 4);
    memset(m.x, 0, 5 * sizeof(float));
    memset(m.y, 0, 5 * sizeof(float));
    memcpy(m.y + 10, m.y + 5, 5 * sizeof(float));
    lives(&m, "zero rows and duplicates");
    plant(&m, 1, 5, 5);
    lives(&m, "one row");
    plant(&m, 20, 1, 6);
    lives(&m, "width 1");
    plant(&m, 20, 2, 6);
    lives(&m, "width 2");
    plant(&m, 20, 5, 7);
    for (int i = 0; i < 20; i++)
        m.x[i * 5 + 2] = m.y[i * 5 + 3] = 7;
    lives(&m, "constant columns");
    plant(&m, 20, 5, 9);
    for (int i = 1; i < 20; i++) {
        memcpy(m.x + i * 5, m.x, 5 * sizeof(float));
        memcpy(m.y + i * 5, m.y, 5 * sizeof(float));
    }
    lives(&m, "all alike");
    plant(&m, 20, 5, 8);
    for (int i = 0; i < 100; i++) {
        m.x[i] *= i % 3 ? 1e30F : 1e-30F;
        m.y[i] *= i % 7 ? 1e-38F : 1e36F;
    }
    lives(&m, "1e30");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_noise),  cmocka_unit_test(distributions),    cmocka_unit_test(likelihood_by_hand),
        cmocka_unit_test(refuses),      cmocka_unit_test(masked_are_wider), cmocka_unit_test(no_nan),
        cmocka_unit_test(shared_items),
    };
    return cmocka_run_group_tests_name("directional", tests, begin, drop_root);
}
