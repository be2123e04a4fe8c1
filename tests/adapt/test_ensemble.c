/* tests/adapt/test_ensemble.c: an ensemble is the mixture of its members, computed here once more from what each member
 * says; it disagrees with itself away from the data; folders that were tampered with are refused; and the mean of
 * several adapters' weights. */
#include "adapt/adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../scratch.h"

#define near(found, expected, tolerance)                                                                               \
    do {                                                                                                               \
        double found_ = (double)(found), expected_ = (double)(expected);                                               \
        if (!(fabs(found_ - expected_) <= (tolerance)))                                                                \
            fail_msg("%s is %.12g, expected %.12g", #found, found_, expected_);                                        \
    } while (0)

static const struct engine *engine;

static int begin(void **state)
{
    return make_root(state) == 0 && engine_open(&engine, "cpu", 1) == 0 ? 0 : -1;
}

/* ---- a set in memory: texts are pictures, turned and with noise ---- */

enum { N = 600, D = 6, SEEN = 200 }; /* more rows than a block of an ensemble has; the first SEEN are paired */

struct made {
    struct set s;
    float x[N * D], y[N * D];
    struct set_pair pairs[SEEN];
};
static struct made m;

static void fill(void)
{
    struct rng r = rng_stream(3, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < D; j++) { /* unseen rows point the other way */
            m.x[i * D + j] = (float)((i < SEEN ? 1.5 : -1.5) * (j < 2) + 0.4 * rng_normal(&r));
            m.y[i * D + j] = (float)((double)m.x[i * D + j] + 0.2 * rng_normal(&r));
        }
        if (i < SEEN)
            m.pairs[i] = (struct set_pair){i, i};
    }
    m.s = (struct set){.path = root,
                       .width = D,
                       .image = {.n = N, .x = m.x},
                       .text = {.n = N, .x = m.y},
                       .n_pairs = SEEN,
                       .pairs = m.pairs,
                       .model = "tiny",
                       .fingerprint = "abc",
                       .data = "",
                       .protocol = ""};
}

static struct adapt_opt options(const char *method, int64_t members)
{
    struct adapt_opt o = {0};
    opt_defaults(adapt_options, &o);
    o.method = method;
    o.hidden = 12;
    o.batch = 32;
    o.epochs = 15;
    o.lr = 3e-3;
    o.ensemble = members;
    return o;
}

static void fit(const char *method, int64_t members, const char *name)
{
    struct adapt_opt o = options(method, members);
    struct adapt_result r;
    if (adapt_fit(&m.s, &o, engine, at(name), true, &r) < 0)
        fail_msg("%s", err_text());
    assert_true(r.n_train > 0 && r.n_validation > 0 && isfinite(r.final_loss) && isfinite(r.validation));
}

struct answer {
    double u[N], a[N], e[N], logs[N], fidelity[N];
    float mean[N * D], scale[N * D], shape[N * D], variance[N * D];
};

static void ask(const char *dir, int side, struct answer *out)
{
    struct adapter *a;
    struct predict_opt p = {.passes = 3, .dropout = -1, .seed = 5};
    struct predict_more more = {.aleatoric = out->a,
                                .epistemic = out->e,
                                .log_variance = out->logs,
                                .fidelity = out->fidelity,
                                .mean = out->mean,
                                .scale = out->scale,
                                .shape = out->shape,
                                .variance = out->variance};
    if (adapt_open_on(&a, dir, engine) < 0 || adapt_predict(a, &m.s, side, &p, out->u, &more) < 0)
        fail_msg("%s: %s", dir, err_text());
    adapt_close(&a);
}

static struct answer got, again, one[3];

/* ---- the mixture ---- */

static double scale_of(const char *dir, int side)
{
    struct adapter *a;
    assert_int_equal(adapt_open_on(&a, dir, engine), 0);
    double s = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale, unit = a->d.unit;
    adapt_close(&a);
    return s * s * unit;
}

static void is_the_mixture(const char *name, int side)
{
    static const char *const members[3] = {"members/0", "members/1", "members/2"};
    char dir[700];
    for (int k = 0; k < 3; k++) {
        snprintf(dir, sizeof dir, "%s/%s", at(name), members[k]);
        ask(dir, side, &one[k]);
    }
    ask(at(name), side, &got);
    ask(at(name), side, &again);
    assert_memory_equal(&got, &again, sizeof got);
    double unit = scale_of(at(name), side), apart = 0;
    for (int i = 0; i < N; i++) {
        double a = 0, e = 0, between = 0, logs = 0;
        for (int k = 0; k < 3; k++) {
            a += one[k].a[i] / 3;
            e += one[k].e[i] / 3;
        }
        for (int j = 0; j < D; j++) {
            double mean = 0, var = 0, inside = 0;
            for (int k = 0; k < 3; k++)
                mean += (double)one[k].mean[i * D + j] / 3;
            for (int k = 0; k < 3; k++) {
                var += pow((double)one[k].mean[i * D + j] - mean, 2) / 3;
                inside += (double)one[k].variance[i * D + j] / 3;
            }
            between += var * unit / D;
            logs += log(inside + var * unit) / D;
            near(got.mean[i * D + j], mean, 1e-6);
            near(got.variance[i * D + j], inside + var * unit, 1e-4 * (inside + var * unit));
        }
        apart += between / N;
        near(got.a[i], a, 1e-12 * a);
        near(got.e[i], e + between, 1e-5 * (e + between) + 1e-12);
        near(got.u[i], got.a[i] + got.e[i], 1e-12);
        near(got.logs[i], logs, 1e-5);
        assert_true(got.fidelity[i] > 0.3 && got.fidelity[i] <= 1 + 1e-6);
    }
    bool fixed = strcmp(name, "probvlm") != 0;
    if (fixed ? apart > 1e-9 : !(apart > 1e-5))
        fail_msg("%s: the members' means are %g apart", name, apart);
    assert_memory_not_equal(one[0].a, one[1].a, sizeof one[0].a);
}

static void mixture_of_members(void **state UNUSED)
{
    static const char *const methods[] = {"probvlm", "pfe", "pcme", "pcmepp", "prolip"};
    for (size_t k = 0; k < ARRAY_LEN(methods); k++) {
        fit(methods[k], 3, methods[k]);
        is_the_mixture(methods[k], SIDE_IMAGE);
        is_the_mixture(methods[k], SIDE_TEXT);
    }
}

/* Directions of texts: no distribution of pictures, and members that disagree about the direction. */
static void mixture_of_directions(void **state UNUSED)
{
    struct adapt_opt o = options("asymvlm", 2);
    struct adapt_result r;
    struct adapter *a;
    struct predict_opt p = {.dropout = -1};
    char dir[700];
    static double u[N], e[N], f[N], single[2][N], near_it[2][N];
    o.mean = "residual";
    if (adapt_fit(&m.s, &o, engine, at("asym"), true, &r) < 0 || adapt_open_on(&a, at("asym"), engine) < 0)
        fail_msg("%s", err_text());
    assert_false(adapt_covers(a, SIDE_IMAGE));
    assert_true(adapt_predict(a, &m.s, SIDE_IMAGE, &p, u, NULL) < 0);
    assert_int_equal(adapt_predict(a, &m.s, SIDE_TEXT, &p, u, &(struct predict_more){.epistemic = e, .fidelity = f}),
                     0);
    adapt_close(&a);
    for (int k = 0; k < 2; k++) {
        snprintf(dir, sizeof dir, "%s/members/%d", at("asym"), k);
        assert_int_equal(adapt_open_on(&a, dir, engine), 0);
        assert_int_equal(
            adapt_predict(a, &m.s, SIDE_TEXT, &p, single[k], &(struct predict_more){.fidelity = near_it[k]}), 0);
        adapt_close(&a);
    }
    for (int i = 0; i < N; i++) {
        near(u[i] - e[i], (single[0][i] + single[1][i]) / 2, 1e-9);
        near(f[i], (near_it[0][i] + near_it[1][i]) / 2, 1e-9);
        assert_true(e[i] > 0);
    }
}

/* A member is the adapter that its own seed gives, with the judges of the first. */
static void members_are_adapters(void **state UNUSED)
{
    char dir[700];
    struct adapt_opt o = options("probvlm", 1);
    struct adapt_result r;
    o.seed = 2;
    o.split_seed = 0;
    if (adapt_fit(&m.s, &o, engine, at("alone"), true, &r) < 0)
        fail_msg("%s", err_text());
    fit("probvlm", 3, "three");
    snprintf(dir, sizeof dir, "%s/members/2", at("three"));
    ask(at("alone"), SIDE_IMAGE, &one[0]);
    ask(dir, SIDE_IMAGE, &one[1]);
    assert_memory_equal(&one[0], &one[1], sizeof one[0]);
}

/* Where nobody has been, members disagree more. */
static void disagrees_far_away(void **state UNUSED)
{
    double seen = 0, unseen = 0;
    fit("probvlm", 5, "five");
    ask(at("five"), SIDE_IMAGE, &got);
    for (int i = 0; i < N; i++)
        *(i < SEEN ? &seen : &unseen) += got.e[i] / (i < SEEN ? SEEN : N - SEEN);
    if (!(unseen > 2 * seen))
        fail_msg("epistemic variance %g where pairs were seen, %g where not", seen, unseen);
}

static void draws_and_densities(void **state UNUSED)
{
    enum { DRAWS = 64 };
    static float x[DRAWS * D], y[DRAWS * D];
    static double mixed[N], single[3][N];
    struct adapter *a, *member;
    char dir[700];
    bool from[3] = {false, false, false};
    fit("probvlm", 3, "draws");
    assert_int_equal(adapt_open_on(&a, at("draws"), engine), 0);
    assert_string_equal(adapt_method(a), "ensemble");
    assert_true(adapt_covers(a, SIDE_IMAGE) && adapt_covers(a, SIDE_TEXT));
    assert_int_equal(adapt_sample(a, &m.s, SIDE_IMAGE, 7, DRAWS, "all", 9, x), 0);
    assert_int_equal(adapt_sample(a, &m.s, SIDE_IMAGE, 7, DRAWS, "all", 9, y), 0);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(adapt_likelihood(a, &m.s, SIDE_IMAGE, 7, SIDE_TEXT, mixed), 0);
    for (int k = 0; k < 3; k++) {
        snprintf(dir, sizeof dir, "%s/members/%d", at("draws"), k);
        assert_int_equal(adapt_open_on(&member, dir, engine), 0);
        assert_int_equal(adapt_likelihood(member, &m.s, SIDE_IMAGE, 7, SIDE_TEXT, single[k]), 0);
        assert_int_equal(adapt_sample(member, &m.s, SIDE_IMAGE, 7, DRAWS, "all", 9, y), 0);
        for (int i = 0; i < DRAWS; i++)
            from[k] = from[k] || !memcmp(x + i * D, y + i * D, D * sizeof *x);
        adapt_close(&member);
    }
    assert_true(from[0] && from[1] && from[2]);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++)
            sum += exp(single[k][i] * D) / 3;
        if (sum > 1e-280)
            near(mixed[i], log(sum) / D, 1e-9);
    }
    adapt_close(&a);
}

/* ---- what is refused ---- */

static void refused(int rc, int expected, const char *word)
{
    if (rc != expected || !strstr(err_text(), word))
        fail_msg("%d, expected %d and \"%s\": %s", rc, expected, word, err_text());
}

static void refuses_to_fit(void **state UNUSED)
{
    struct adapt_result r;
    struct adapt_opt o = options("grove", 3);
    refused(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE, "grove");
    o = options("probvlm", 3);
    o.epochs = 0;
    o.from = "x.safetensors";
    refused(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE, "--epochs 0");
    o = options("probvlm", 3);
    o.seed = UINT32_MAX - 1;
    refused(adapt_fit(&m.s, &o, engine, at("no"), false, &r), ERR_USAGE, "seeds of 3 members");
    o = options("probvlm", 3);
    o.lr = 10;
    o.epochs = 300;
    o.clip_norm = 0;
    if (adapt_fit(&m.s, &o, engine, at("no"), false, &r) < 0)
        assert_non_null(strstr(err_text(), "member 0 of 3"));
    else
        path_remove_tree(at("no"));
    assert_false(path_exists(at("no")));
}

/* adapter.json with one field changed; NULL: taken away. */
static void tamper(const char *field, json_t *value)
{
    char path[700];
    json_t *o;
    struct str text = {0};
    snprintf(path, sizeof path, "%s/adapter.json", at("whole"));
    assert_int_equal(json_read_file(&o, path), 0);
    if (value)
        json_object_set_new(o, field, value);
    else
        json_object_del(o, field);
    assert_int_equal(str_add_json(&text, o, JSON_REAL_PRECISION(17)), 0);
    snprintf(path, sizeof path, "%s/adapter.json", at("bad"));
    assert_int_equal(atomic_put(path, text.s, text.n), 0);
    str_free(&text);
    json_decref(o);
}

static void does_not_open(const char *word)
{
    struct adapter *a = NULL;
    int rc = adapt_open_on(&a, at("bad"), engine);
    assert_null(a);
    if (rc >= 0 || !strstr(err_text(), word))
        fail_msg("%d, expected \"%s\": %s", rc, word, err_text());
}

static void refuses_bad_folders(void **state UNUSED)
{
    char from[700], to[700], many[32];
    json_t *list = json_array();
    fit("probvlm", 2, "whole");
    fit("probvlm", 2, "bad");
    tamper("members", json_pack("[s, s]", "members/0", "../whole"));
    does_not_open("expected \"members/1\"");
    tamper("members", json_pack("[s, i]", "members/0", 7));
    does_not_open("expected \"members/1\"");
    tamper("members", json_array());
    does_not_open("holds 0 names");
    tamper("members", NULL);
    does_not_open("\"members\"");
    for (int k = 0; k < 65; k++) {
        snprintf(many, sizeof many, "members/%d", k);
        json_array_append_new(list, json_string(many));
    }
    tamper("members", list);
    does_not_open("holds 65 names");
    tamper("members", json_pack("[s, s, s]", "members/0", "members/1", "members/2"));
    does_not_open("member 2");
    tamper("image_scale", json_real(0.5));
    does_not_open("image_scale");
    tamper("width", json_integer(D + 1));
    does_not_open("width");
    tamper("method", json_string("probvlm")); /* then it needs weights of its own */
    does_not_open("adapter.safetensors");
    tamper("format", json_string("meridian adapter"));
    struct adapter *a;
    assert_int_equal(adapt_open_on(&a, at("bad"), engine), 0);
    adapt_close(&a);
    /* a member that is the ensemble itself, again and again */
    snprintf(to, sizeof to, "%s/members/1", at("bad"));
    assert_int_equal(path_remove_tree(to), 0);
    snprintf(from, sizeof from, "%s", at("bad"));
    assert_int_equal(symlink(from, to), 0);
    does_not_open("is an ensemble");
}

static void memory_runs_out(void **state UNUSED)
{
    static double u[N];
    fit("pfe", 2, "memory");
    for (int64_t n = 1;; n += n < 60 ? 1 : 7) {
        struct adapter *a = NULL;
        mem_fail_at(n);
        int rc = adapt_open_on(&a, at("memory"), engine);
        if (rc == 0)
            rc = adapt_predict(a, &m.s, SIDE_TEXT, &(struct predict_opt){.passes = 2, .dropout = -1}, u, NULL);
        mem_fail_at(0);
        adapt_close(&a);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
    }
}

/* ---- the mean of weights ---- */

static void weights_are_averaged(void **state UNUSED)
{
    struct adapter *a, *b, *c;
    struct adapt_opt o = options("probvlm", 1);
    struct adapt_result r;
    const char *pair[2];
    static const double shares[2] = {3, 1};
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("a"), true, &r), 0);
    o.epochs = 25;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("b"), true, &r), 0);
    pair[0] = at("a");
    pair[1] = at("b");
    for (int k = 0; k < 2; k++) {
        double w = k ? 0.75 : 0.5;
        if (adapt_average(pair, k ? shares : NULL, 2, engine, at("c"), true) < 0)
            fail_msg("%s", err_text());
        assert_true(adapt_open_on(&a, at("a"), engine) == 0 && adapt_open_on(&b, at("b"), engine) == 0 &&
                    adapt_open_on(&c, at("c"), engine) == 0);
        const float *x = a->params.data, *y = b->params.data, *z = c->params.data;
        for (int64_t i = 0; i < a->params.n_slab; i++)
            near(z[i], w * (double)x[i] + (1 - w) * (double)y[i], 1e-6);
        for (int j = 0; j < D; j++)
            near(c->mean[0][j], w * a->mean[0][j] + (1 - w) * b->mean[0][j], 1e-15);
        near(c->d.image_scale, w * a->d.image_scale + (1 - w) * b->d.image_scale, 1e-12);
        assert_string_equal(c->model, "tiny");
        adapt_close(&a);
        adapt_close(&b);
        adapt_close(&c);
    }
    pair[1] = pair[0];
    assert_int_equal(adapt_average(pair, NULL, 2, engine, at("c"), true), 0);
    ask(at("a"), SIDE_TEXT, &one[0]);
    ask(at("c"), SIDE_TEXT, &one[1]);
    assert_memory_equal(&one[0], &one[1], sizeof one[0]);
    refused(adapt_average(pair, NULL, 2, engine, at("c"), false), ERR_EXISTS, "exists");
}

static void other_designs_are_not(void **state UNUSED)
{
    struct adapt_opt o = options("probvlm", 1);
    struct adapt_result r;
    const char *pair[2];
    static const double bad[3][2] = {{1, -1}, {0, 0}, {1, (double)INFINITY}};
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("a"), true, &r), 0);
    pair[0] = at("a");
    pair[1] = at("b");
    o.hidden = 13;
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("b"), true, &r), 0);
    refused(adapt_average(pair, NULL, 2, engine, at("no"), false), ERR_MISMATCH, "--hidden 12, adapter");
    o = options("pfe", 1);
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("b"), true, &r), 0);
    refused(adapt_average(pair, NULL, 2, engine, at("no"), false), ERR_MISMATCH, "has pfe");
    o = options("probvlm", 1);
    o.mean = "free";
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("b"), true, &r), 0);
    refused(adapt_average(pair, NULL, 2, engine, at("no"), false), ERR_MISMATCH, "--mean");
    m.s.width = D / 2; /* the same numbers, read as narrower rows */
    o = options("probvlm", 1);
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("b"), true, &r), 0);
    m.s.width = D;
    refused(adapt_average(pair, NULL, 2, engine, at("no"), false), ERR_MISMATCH, "width 6, adapter");
    pair[1] = pair[0];
    for (int k = 0; k < 3; k++)
        refused(adapt_average(pair, bad[k], 2, engine, at("no"), false), ERR_USAGE, "--weights");
    refused(adapt_average(pair, NULL, 1, engine, at("no"), false), ERR_USAGE, "two or more");
    fit("probvlm", 2, "b");
    pair[0] = pair[1] = at("b");
    refused(adapt_average(pair, NULL, 2, engine, at("no"), false), ERR_USAGE, "no weights");
    m.s.fingerprint = "other";
    o = options("probvlm", 1);
    assert_int_equal(adapt_fit(&m.s, &o, engine, at("b"), true, &r), 0);
    m.s.fingerprint = "abc";
    pair[0] = at("a");
    struct adapter *a;
    assert_int_equal(adapt_average(pair, NULL, 2, engine, at("mixed"), false), 0);
    assert_int_equal(adapt_open_on(&a, at("mixed"), engine), 0);
    assert_string_equal(a->fingerprint, "");
    adapt_close(&a);
    assert_false(path_exists(at("no")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixture_of_members),   cmocka_unit_test(mixture_of_directions),
        cmocka_unit_test(members_are_adapters), cmocka_unit_test(disagrees_far_away),
        cmocka_unit_test(draws_and_densities),  cmocka_unit_test(refuses_to_fit),
        cmocka_unit_test(refuses_bad_folders),  cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(weights_are_averaged), cmocka_unit_test(other_designs_are_not),
    };
    fill();
    log_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, begin, drop_root);
}
