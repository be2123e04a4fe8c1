/* tests/adapt/test_tta.c: test-time augmentation: the entropies of perturbed vectors against the plain sums, the
 * variance of perturbed inputs, what is stored, what is refused. That inputs are encoded again by a model is tested
 * through the command line. */
#include "adapt/tta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"

static const struct engine *engine;

static int begin(void **state)
{
    return make_root(state) == 0 && engine_open(&engine, "cpu", 1) == 0 ? 0 : -1;
}

struct made {
    struct set s;
    float *x, *y;
    struct set_pair *pairs;
};

static void make(struct made *m, int64_t n, int64_t k, int64_t d)
{
    struct rng r = rng_stream(4, RNG_TEST, (uint32_t)n, 0);
    m->x = mem_calloc((size_t)(n * d), sizeof(float));
    m->y = mem_calloc((size_t)(k * d), sizeof(float));
    m->pairs = mem_calloc((size_t)n, sizeof *m->pairs);
    assert_true(m->x && m->y && m->pairs);
    for (int64_t i = 0; i < n * d; i++)
        m->x[i] = (float)rng_normal(&r);
    for (int64_t i = 0; i < k * d; i++)
        m->y[i] = (float)rng_normal(&r);
    for (int64_t i = 0; i < n; i++)
        m->pairs[i] = (struct set_pair){i, i % k};
    m->s = (struct set){.path = root,
                        .width = d,
                        .image = {.n = n, .x = m->x},
                        .text = {.n = k, .x = m->y},
                        .n_pairs = n,
                        .pairs = m->pairs,
                        .model = "tiny",
                        .fingerprint = "abc",
                        .data = "",
                        .protocol = "",
                        .logit_scale = 20};
}

static void drop(struct made *m)
{
    mem_free(m->x);
    mem_free(m->y);
    mem_free(m->pairs);
}

static struct adapt_opt options(void)
{
    struct adapt_opt o = {0};
    opt_defaults(adapt_options, &o);
    o.method = "tta";
    return o;
}

static struct adapter *fitted(const struct made *m, const struct adapt_opt *o, const char *name)
{
    struct adapt_result r;
    struct adapter *a = NULL;
    if (adapt_fit(&m->s, o, engine, at(name), true, &r) < 0 || adapt_open_on(&a, at(name), engine) < 0)
        fail_msg("%s: %s", name, err_text());
    return a;
}

/* ---- perturbed vectors ---- */

/* The formula of method_tta.c with every probability at hand. */
static void plain(const struct made *m, const struct tta *t, int side, int64_t row, uint64_t seed, double out[2])
{
    int64_t d = m->s.width, n = side ? m->s.image.n : m->s.text.n;
    const float *x = (side ? m->y : m->x) + row * d, *g = side ? m->x : m->y;
    double *mean = calloc((size_t)n, sizeof *mean), *p = calloc((size_t)n, sizeof *p), size = sqrt(space_dot(x, x, d));
    float *u = calloc((size_t)d, sizeof *u);
    out[0] = out[1] = 0;
    for (int64_t pass = 0; pass < t->passes; pass++) {
        struct rng r = rng_stream(seed, RNG_SAMPLE, (uint32_t)(2 * pass + side), (uint64_t)row);
        double sum = 0, length;
        for (int64_t j = 0; j < d; j++)
            u[j] = (float)((double)x[j] / size + t->noise * t->spread[side] / sqrt((double)d) * rng_normal(&r));
        length = sqrt(space_dot(u, u, d));
        for (int64_t j = 0; j < n; j++) {
            const float *v = g + j * d;
            p[j] = exp(space_dot(u, v, d) / length / sqrt(space_dot(v, v, d)) / t->tau);
            sum += p[j];
        }
        for (int64_t j = 0; j < n; j++) {
            p[j] /= sum;
            mean[j] += p[j] / (double)t->passes;
            out[1] -= p[j] > 0 ? p[j] * log(p[j]) / (double)t->passes : 0;
        }
    }
    for (int64_t j = 0; j < n; j++)
        out[0] -= mean[j] > 0 ? mean[j] * log(mean[j]) : 0;
    free(mean);
    free(p);
    free(u);
}

static void as_written(void **state UNUSED)
{
    static const int64_t sizes[][2] = {{20, 33}, {7, 2100}}; /* one block of answers, and several */
    for (size_t k = 0; k < 2; k++) {
        struct made m;
        make(&m, sizes[k][0], sizes[k][1], 8);
        struct adapt_opt o = options();
        struct adapter *a = fitted(&m, &o, "plain");
        const struct tta *t = a->own;
        assert_true(fabs(t->tau - 0.05) < 1e-12);
        for (int side = 0; side < 2; side++) {
            double u[2100], alea[2100], epi[2100], want[2];
            struct predict_more more = {.aleatoric = alea, .epistemic = epi};
            assert_int_equal(adapt_predict(a, &m.s, side, &(struct predict_opt){.seed = 3}, u, &more), 0);
            for (int64_t i = 0; i < (side ? m.s.text.n : m.s.image.n); i += 19) {
                plain(&m, t, side, i, 3, want);
                if (fabs(u[i] - want[0]) > 1e-4 || fabs(alea[i] - want[1]) > 1e-4)
                    fail_msg("side %d row %lld: %g and %g, expected %g and %g", side, (long long)i, u[i], alea[i],
                             want[0], want[1]);
                assert_true(fabs(alea[i] + epi[i] - u[i]) < 1e-9 && epi[i] >= 0);
            }
            assert_non_null(strstr(adapt_said(a, side), "vectors"));
        }
        adapt_close(&a);
        drop(&m);
    }
}

static void repeats(void **state UNUSED)
{
    struct made m;
    double u[4][40];
    make(&m, 40, 25, 6);
    struct adapt_opt o = options();
    struct adapter *a = fitted(&m, &o, "repeats");
    const struct predict_opt opt = {.seed = 5};
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &opt, u[0], NULL), 0);
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &opt, u[1], NULL), 0);
    assert_memory_equal(u[0], u[1], sizeof u[0]);
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &(struct predict_opt){.seed = 6}, u[2], NULL), 0);
    assert_memory_not_equal(u[0], u[2], sizeof u[0]);
    m.s.image.n = 3; /* a row does not see the others of its side */
    assert_int_equal(adapt_predict(a, &m.s, SIDE_IMAGE, &opt, u[3], NULL), 0);
    assert_memory_equal(u[0], u[3], 3 * sizeof(double));
    adapt_close(&a);
    drop(&m);
}

/* Without noise the answers do not change; with more they change more. */
static void noise_counts(void **state UNUSED)
{
    struct made m;
    double u[60], epi[60], mean[3] = {0};
    make(&m, 60, 60, 12);
    for (int k = 0; k < 3; k++) {
        struct adapt_opt o = options();
        o.noise = k * 0.5;
        struct adapter *a = fitted(&m, &o, "noise");
        struct predict_more more = {.epistemic = epi};
        assert_int_equal(adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){0}, u, &more), 0);
        for (int i = 0; i < 60; i++)
            mean[k] += epi[i] / 60;
        adapt_close(&a);
    }
    assert_true(mean[0] < 1e-6 && mean[1] > 0.01 && mean[2] > mean[1]);
    drop(&m);
}

static void draws(void **state UNUSED)
{
    struct made m;
    float x[500 * 6];
    double l[25], dot = 0;
    make(&m, 40, 25, 6);
    struct adapt_opt o = options();
    o.noise = 0.2;
    struct adapter *a = fitted(&m, &o, "draws");
    assert_int_equal(adapt_sample(a, &m.s, SIDE_IMAGE, 4, 500, "all", 1, x), 0);
    for (int i = 0; i < 500; i++)
        dot += space_dot(x + i * 6, m.x + 4 * 6, 6) / sqrt(space_dot(m.x + 4 * 6, m.x + 4 * 6, 6)) / 500;
    assert_true(dot > 0.9 && dot < 1); /* unit vectors about the item's */
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_IMAGE, 4, SIDE_TEXT, l), 0);
    for (int i = 0; i < 25; i++)
        assert_true(isfinite(l[i]));
    adapt_close(&a);
    drop(&m);
}

/* ---- perturbed inputs: what is made of the passes ---- */

static void variance_of_passes(void **state UNUSED)
{
    struct made m;
    make(&m, 5, 5, 2);
    struct adapt_opt o = options();
    struct adapter *a = fitted(&m, &o, "variance");
    double u[5], fidelity[5], s = a->d.image_scale;
    float mean[10], scale[10];
    const struct predict_more more = {.fidelity = fidelity, .mean = mean, .scale = scale};
    const struct tta_out out = {.passes = 2, .scalar = u, .more = &more};
    const float same[4] = {.6f, .8f, .6f, .8f}, apart[4] = {1, 0, 0, 1};
    tta_put(a, &m.s, SIDE_IMAGE, 0, same, &out);
    assert_true(u[0] == 0);
    tta_put(a, &m.s, SIDE_IMAGE, 1, apart, &out); /* each number varies by 1/4 */
    assert_true(fabs(u[1] - 0.25 * s * s) < 1e-9 * s * s);
    assert_true(mean[2] == 0.5f && mean[3] == 0.5f && fabs((double)scale[2] - sqrt(0.5)) < 1e-6);
    adapt_close(&a);
    drop(&m);
}

/* ---- refusals ---- */

static void refused(void **state UNUSED)
{
    struct made m;
    struct adapt_result r;
    struct adapter *a;
    double u[9];
    make(&m, 9, 9, 4);
    struct adapt_opt o = options();
    o.perturb = "inputs";
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE);
    assert_non_null(strstr(err_text(), "--model"));
    o = options();
    o.model = at("nosuch");
    assert_true(adapt_fit(&m.s, &o, engine, at("no"), false, &r) < 0);
    assert_false(path_exists(at("no")));
    o = options();
    a = fitted(&m, &o, "refused");
    assert_int_equal(adapt_predict(a, &m.s, 0, &(struct predict_opt){.passes = 1}, u, NULL), ERR_USAGE);
    m.s.fingerprint = "def";
    assert_int_equal(adapt_predict(a, &m.s, 0, &(struct predict_opt){0}, u, NULL), ERR_MISMATCH);
    m.s.fingerprint = "abc";
    m.s.text.n = 0;
    assert_int_equal(adapt_predict(a, &m.s, 0, &(struct predict_opt){0}, u, NULL), ERR_DATA);
    adapt_close(&a);
    drop(&m);
}

/* One field of adapter.json at a time is wrong. */
static void bad_settings(void **state UNUSED)
{
    static const struct {
        const char *key, *value;
    } bad[] = {{"passes", "1"},     {"passes", "\"ten\""}, {"crop", "1.5"},      {"words", "-0.1"},
               {"spread", "[0.5]"}, {"spread", "[1,0]"},   {"temperature", "0"}, {"perturb", "\"maybe\""},
               {"with", "7"},       {"encoder", "null"}};
    struct made m;
    struct adapter *a;
    make(&m, 9, 9, 4);
    struct adapt_opt o = options();
    a = fitted(&m, &o, "settings");
    adapt_close(&a);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *all = NULL, *value = json_loads(bad[i].value, JSON_DECODE_ANY, NULL);
        assert_int_equal(json_read_file(&all, at("settings/adapter.json")), 0);
        json_object_set_new(json_object_get(all, "tta"), bad[i].key, value);
        assert_int_equal(path_make_dirs(at("bad")), 0);
        assert_int_equal(atomic_put_json(at("bad"), "adapter.json", all, 0), 0);
        if (adapt_open_on(&a, at("bad"), engine) != ERR_DATA)
            fail_msg("%s = %s was taken: %s", bad[i].key, bad[i].value, err_text());
    }
    drop(&m);
}

static void odd_vectors(void **state UNUSED)
{
    for (int kind = 0; kind < 4; kind++) {
        struct made m;
        double u[12];
        make(&m, 12, 12, 4);
        for (int i = 0; i < 48; i++)
            if (kind == 0) /* all alike */
                m.x[i] = m.y[i] = 1;
            else if (kind == 1 && i < 4) /* no direction */
                m.x[i] = m.y[i] = 0;
            else if (kind == 2)
                m.x[i] *= 1e18f;
            else if (kind == 3)
                m.y[i] *= 1e-18f;
        struct adapt_opt o = options();
        struct adapter *a = fitted(&m, &o, "odd");
        for (int side = 0; side < 2; side++) {
            assert_int_equal(adapt_predict(a, &m.s, side, &(struct predict_opt){0}, u, NULL), 0);
            for (int i = 0; i < 12; i++)
                assert_true(isfinite(u[i]));
        }
        adapt_close(&a);
        drop(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_written),         cmocka_unit_test(repeats),
        cmocka_unit_test(noise_counts),       cmocka_unit_test(draws),
        cmocka_unit_test(variance_of_passes), cmocka_unit_test(refused),
        cmocka_unit_test(bad_settings),       cmocka_unit_test(odd_vectors),
    };
    return cmocka_run_group_tests(tests, begin, drop_root);
}
