/* BayesVLM from a set to its answers: factors, prior, folder, draws, acquisitions against brute force, and the
 * published factors where they are at hand. The mathematics alone: test_laplace.c. */
#include "adapt/adapter.h"
#include "adapt/laplace.h"
#include "heads/heads.h"

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

static void must(int rc)
{
    if (rc < 0)
        fail_msg("%s", err_text());
}

/* ---- a set made by linear encoders ---- */

enum { WIDE = 5, ACT_I = 7, ACT_T = 6 };
struct world {
    struct set s;
    float *image, *text, *phi[2], *length[2];
    struct set_pair *pairs;
};

static void side_rows(int64_t n, int64_t f, const double *w, uint64_t seed, float *x, float *phi, float *length)
{
    for (int64_t i = 0; i < n; i++) {
        struct rng r = rng_stream(seed, RNG_TEST, 0, (uint64_t)i);
        double z[WIDE] = {0}, sum = 0;
        for (int64_t j = 0; j < f; j++) {
            phi[i * f + j] = (float)(rng_normal(&r) * (i % 2 ? 0.5 : 2));
            for (int64_t k = 0; k < WIDE; k++)
                z[k] += w[k * f + j] * (double)phi[i * f + j];
        }
        for (int64_t k = 0; k < WIDE; k++)
            sum += z[k] * z[k];
        length[i] = (float)sqrt(sum);
        for (int64_t k = 0; k < WIDE; k++)
            x[i * WIDE + k] = (float)(z[k] / sqrt(sum));
    }
}

static void world_open(struct world *w, int64_t n, int64_t m, uint64_t seed)
{
    double weights[2][WIDE * ACT_I];
    const int64_t f[2] = {ACT_I, ACT_T};
    struct rng r = rng_stream(7, RNG_TEST, 1, 0);
    for (int i = 0; i < 2 * WIDE * ACT_I; i++)
        weights[i / (WIDE * ACT_I)][i % (WIDE * ACT_I)] = rng_normal(&r) * 0.4;
    memset(w, 0, sizeof *w);
    for (int k = 0; k < 2; k++) {
        int64_t rows = k ? m : n;
        float **x = k ? &w->text : &w->image;
        *x = mem_calloc((size_t)(rows * WIDE), sizeof **x);
        w->phi[k] = mem_calloc((size_t)(rows * f[k]), sizeof(float));
        w->length[k] = mem_calloc((size_t)rows, sizeof(float));
        side_rows(rows, f[k], weights[k], seed + (uint64_t)k, *x, w->phi[k], w->length[k]);
    }
    w->pairs = mem_calloc((size_t)n, sizeof *w->pairs);
    for (int64_t i = 0; i < n; i++)
        w->pairs[i] = (struct set_pair){i, i % m};
    w->s = (struct set){.path = root,
                        .width = WIDE,
                        .unit = true,
                        .image = {.n = n, .x = w->image},
                        .text = {.n = m, .x = w->text},
                        .n_pairs = n,
                        .pairs = w->pairs,
                        .model = "linear",
                        .fingerprint = "abc",
                        .data = "",
                        .protocol = "",
                        .logit_scale = 10,
                        .json = json_object()};
    struct set_features *const to[2] = {&w->s.image.features, &w->s.text.features};
    for (int k = 0; k < 2; k++)
        *to[k] = (struct set_features){
            .width = f[k], .x = w->phi[k], .lengths = w->length[k], .n_weights = f[k] * WIDE, .square = 4};
}

static void world_close(struct world *w)
{
    mem_free(w->image);
    mem_free(w->text);
    mem_free(w->pairs);
    for (int k = 0; k < 2; k++) {
        mem_free(w->phi[k]);
        mem_free(w->length[k]);
    }
    json_decref(w->s.json);
}

static struct adapt_opt usual(void)
{
    struct adapt_opt o = {0};
    opt_defaults(adapt_options, &o);
    o.method = "bayesvlm";
    o.validation_share = 0;
    return o;
}

static struct adapter *fitted(const struct world *w, const struct adapt_opt *o)
{
    struct adapt_result r;
    struct adapter *a;
    must(adapt_fit(&w->s, o, engine, at("adapter"), true, &r));
    must(adapt_open_on(&a, at("adapter"), engine));
    assert_string_equal(adapt_method(a), "bayesvlm");
    return a;
}

static double prior_of(int side)
{
    json_t *o;
    must(json_read_file(&o, at("adapter/adapter.json")));
    double v = json_number_value(
        json_object_get(json_object_get(json_object_get(o, "laplace"), side ? "text" : "image"), "prior"));
    json_decref(o);
    return v;
}

/* What is told of a row is phi A' phi times the diagonal of B', over the square of the length. */
static void check_rows(const struct world *w, struct adapter *a, double prior)
{
    double h[WIDE * WIDE] = {0}, *u[2], *length[2];
    const int64_t n[2] = {w->s.image.n, w->s.text.n};
    for (int k = 0; k < 2; k++) {
        u[k] = mem_calloc((size_t)(n[k] * WIDE), sizeof(double));
        length[k] = mem_calloc((size_t)n[k], sizeof(double));
        for (int64_t i = 0; i < n[k] * WIDE; i++)
            u[k][i] = (double)(k ? w->text : w->image)[i];
        for (int64_t i = 0; i < n[k]; i++)
            length[k][i] = (double)w->length[k][i];
    }
    struct curvature c = {.n = n[0], .m = n[1], .d = WIDE, .u = u[0], .length = length[0], .y = u[1], .scale = 10};
    must(curvature_add(&c, h));
    struct arena *arena;
    struct posterior p;
    must(arena_open(&arena, "test"));
    double *fa = arena_calloc(arena, ACT_I * ACT_I, sizeof *fa), *fb = arena_calloc(arena, WIDE * WIDE, sizeof *fb);
    double root_n = sqrt((double)n[0]);
    for (int64_t i = 0; i < ACT_I * ACT_I; i++)
        for (int64_t k = 0; k < n[0]; k++)
            fa[i] += (double)w->phi[0][k * ACT_I + i / ACT_I] * (double)w->phi[0][k * ACT_I + i % ACT_I] / root_n;
    for (int64_t i = 0; i < WIDE * WIDE; i++)
        fb[i] = h[i] / root_n;
    must(posterior_open(&p, arena, ACT_I, WIDE, fa, fb));
    posterior_fill(&p, 1, prior, false);
    double phi[ACT_I], var[WIDE];
    float *mean = mem_calloc((size_t)(3 * n[0] * WIDE), sizeof *mean);
    double *scalar = mem_calloc((size_t)n[0], sizeof *scalar);
    struct predict_more more = {.mean = mean, .scale = mean + n[0] * WIDE, .shape = mean + 2 * n[0] * WIDE};
    struct predict_opt o = {.dropout = -1};
    must(adapt_predict(a, &w->s, SIDE_IMAGE, &o, scalar, &more));
    for (int64_t i = 0; i < n[0]; i++) {
        double sum = 0, l2 = length[0][i] * length[0][i], s = a->d.image_scale;
        for (int j = 0; j < ACT_I; j++)
            phi[j] = (double)w->phi[0][i * ACT_I + j];
        must(posterior_variance(&p, 1, phi, var));
        for (int j = 0; j < WIDE; j++) {
            sum += var[j] / l2 * s * s / WIDE;
            assert_true(fabs((double)more.scale[i * WIDE + j] / sqrt(2 * var[j] / l2) - 1) < 1e-4);
            assert_true((double)more.shape[i * WIDE + j] == 2);
            assert_true(fabs((double)mean[i * WIDE + j] - u[0][i * WIDE + j]) < 1e-6);
        }
        assert_true(fabs(scalar[i] / sum - 1) < 1e-4);
    }
    for (int k = 0; k < 2; k++) {
        mem_free(u[k]);
        mem_free(length[k]);
    }
    mem_free(mean);
    mem_free(scalar);
    arena_close(&arena);
}

static void test_fit(void **state UNUSED)
{
    struct world w;
    struct adapt_opt o = usual();
    world_open(&w, 40, 30, 100);
    struct adapter *a = fitted(&w, &o);
    assert_true(prior_of(0) > 0 && prior_of(1) > 0 && fabs(prior_of(0) / prior_of(1) - 1) > 1e-6);
    check_rows(&w, a, prior_of(0));
    adapt_close(&a);
    o.prior = 3;
    a = fitted(&w, &o);
    assert_true(prior_of(0) == 3 && prior_of(1) == 3);
    check_rows(&w, a, 3);
    adapt_close(&a);
    world_close(&w);
}

/* The likeliest prior is where the evidence stands still: more and less of it are both less likely. */
static void test_exact_is_wider(void **state UNUSED)
{
    struct world w;
    struct adapt_opt o = usual();
    struct predict_opt p = {.dropout = -1};
    double narrow[40], wide[40];
    world_open(&w, 40, 30, 100);
    struct adapter *a = fitted(&w, &o);
    must(adapt_predict(a, &w.s, SIDE_IMAGE, &p, narrow, NULL));
    adapt_close(&a);
    o.posterior = "exact";
    a = fitted(&w, &o);
    must(adapt_predict(a, &w.s, SIDE_IMAGE, &p, wide, NULL));
    for (int i = 0; i < 40; i++)
        assert_true(wide[i] > narrow[i] && narrow[i] > 0);
    adapt_close(&a);
    world_close(&w);
}

/* Batches, both directions and the sigmoid change the factors; the same seed repeats them. */
static void test_options(void **state UNUSED)
{
    struct world w;
    struct adapt_opt o = usual();
    double seen[4];
    world_open(&w, 40, 30, 100);
    for (int k = 0; k < 4; k++) {
        o.hessian_batch = k == 1 ? 12 : 32768;
        o.curvature = k == 2 ? "both" : "own";
        if (k == 3)
            json_object_set_new(w.s.json, "logit_bias", json_real(-5));
        struct adapter *a = fitted(&w, &o), *b = fitted(&w, &o);
        seen[k] = prior_of(0);
        assert_memory_equal(a->params.data, b->params.data, (size_t)a->params.n_slab * sizeof(float));
        adapt_close(&a);
        adapt_close(&b);
        for (int i = 0; i < k; i++)
            assert_true(fabs(seen[k] / seen[i] - 1) > 1e-6);
    }
    world_close(&w);
}

static void test_sample(void **state UNUSED)
{
    enum { DRAWS = 4000 };
    struct world w;
    struct adapt_opt o = usual();
    double other[30], mean[WIDE] = {0}, square[WIDE] = {0};
    world_open(&w, 40, 30, 100);
    o.prior = 400; /* narrow, so that the sphere is nearly flat */
    struct adapter *a = fitted(&w, &o);
    float *x = mem_calloc(DRAWS * WIDE, sizeof *x), scale[40 * WIDE];
    double scalar[40];
    struct predict_opt p = {.dropout = -1};
    must(adapt_predict(a, &w.s, SIDE_IMAGE, &p, scalar, &(struct predict_more){.scale = scale}));
    must(adapt_sample(a, &w.s, SIDE_IMAGE, 3, DRAWS, "all", 1, x));
    for (int i = 0; i < DRAWS * WIDE; i++) {
        double v = (double)x[i] - (double)w.image[3 * WIDE + i % WIDE];
        mean[i % WIDE] += v / DRAWS;
        square[i % WIDE] += v * v / DRAWS;
    }
    double radial = 0;
    for (int j = 0; j < WIDE; j++)
        radial = fmax(radial, fabs((double)w.image[3 * WIDE + j]));
    for (int j = 0; j < WIDE; j++) { /* the sphere takes the part along the vector away */
        double told = (double)scale[3 * WIDE + j] / sqrt(2.0), found = sqrt(square[j] - mean[j] * mean[j]);
        assert_true(found < 1.05 * told && found > (1.0 - radial) * 0.5 * told);
    }
    must(adapt_likelihood(a, &w.s, SIDE_IMAGE, 3, SIDE_TEXT, other));
    for (int i = 0; i < 30; i++)
        assert_true(isfinite(other[i]));
    mem_free(x);
    adapt_close(&a);
    world_close(&w);
}

/* ---- parts of a set ---- */

/* Features go along with the rows that others cut out. */
static void test_parts(void **state UNUSED)
{
    struct world w;
    struct adapt_opt o = usual();
    struct predict_opt p = {.dropout = -1};
    const struct predict_more none = {0};
    double all[40], some[40];
    static const struct set_pair list[3] = {{5, 5}, {21, 21}, {33, 3}};
    static const int64_t want[3] = {5, 21, 33};
    struct judge j;
    world_open(&w, 40, 30, 100);
    struct adapter *a = fitted(&w, &o);
    must(adapt_predict(a, &w.s, SIDE_IMAGE, &p, all, NULL));
    must(predict_rows(a, &w.s, SIDE_IMAGE, 11, 7, &p, some, &none));
    assert_memory_equal(all + 11, some, 7 * sizeof *all);
    must(judge_open(&j, &w.s, list, 3));
    must(adapt_predict(a, &j.part, SIDE_IMAGE, &p, some, NULL));
    for (int i = 0; i < 3; i++)
        assert_true(fabs(some[i] / all[want[i]] - 1) < 1e-12);
    judge_close(&j);
    adapt_close(&a);
    world_close(&w);
}

/* ---- refusals ---- */

static void test_refused(void **state UNUSED)
{
    struct world w;
    struct adapt_opt o = usual();
    struct adapt_result r;
    struct predict_opt p = {.dropout = -1};
    double scalar[40];
    world_open(&w, 40, 30, 100);
    struct adapter *a = fitted(&w, &o);
    struct set_features keep = w.s.image.features;
    w.s.image.features.x = NULL;
    assert_int_equal(adapt_fit(&w.s, &o, engine, at("no"), true, &r), ERR_DATA);
    assert_non_null(strstr(err_text(), "encode --features"));
    assert_int_equal(adapt_predict(a, &w.s, SIDE_IMAGE, &p, scalar, NULL), ERR_DATA);
    assert_non_null(strstr(err_text(), "image_features.npy"));
    w.s.image.features = keep;
    w.s.image.features.lengths = NULL;
    assert_int_equal(adapt_predict(a, &w.s, SIDE_IMAGE, &p, scalar, NULL), ERR_DATA);
    assert_non_null(strstr(err_text(), "image_lengths.npy"));
    w.s.image.features = keep;
    w.s.image.features.width = ACT_I - 1;
    assert_int_equal(adapt_predict(a, &w.s, SIDE_IMAGE, &p, scalar, NULL), ERR_MISMATCH);
    w.s.image.features = keep;
    w.s.image.features.square = 0;
    assert_int_equal(adapt_fit(&w.s, &o, engine, at("no"), true, &r), ERR_DATA);
    assert_non_null(strstr(err_text(), "--prior"));
    w.s.image.features = keep;
    w.phi[0][5] = NAN;
    assert_int_equal(adapt_predict(a, &w.s, SIDE_IMAGE, &p, scalar, NULL), ERR_NONFINITE);
    assert_int_equal(adapt_acquire(a, &w.s, NULL, SIDE_IMAGE, "bold", &p, scalar), ERR_USAGE);
    assert_false(path_exists(at("no")));
    adapt_close(&a);
    world_close(&w);
}

/* ---- factors of a folder ---- */

static void write_factors(const char *dir, int64_t f, const double *value)
{
    float *x = mem_calloc((size_t)(f * f), sizeof *x);
    char path[700];
    must(path_make_dirs(dir));
    for (int k = 0; k < 4; k++) {
        const int64_t n = k == 0 ? f : k == 1 ? ACT_T : WIDE, shape[2] = {n, n};
        for (int64_t i = 0; i < n * n; i++)
            x[i] = i % (n + 1) == 0 ? (float)value[k] : 0;
        snprintf(path, sizeof path, "%s/%c_%s.npy", dir, k < 2 ? 'A' : 'B', k % 2 ? "txt" : "img");
        must(npy_write(path, DT_F32, 2, shape, x));
    }
    mem_free(x);
}

static void test_factors(void **state UNUSED)
{
    static const double value[4] = {9, 4, 2, 3};
    static const char prior[] = "{\"lambda_img\": 16, \"n_img\": 4, \"lambda_txt\": 25, \"n_txt\": 1}";
    struct world w;
    struct adapt_opt o = usual();
    struct adapt_result r;
    struct predict_opt p = {.dropout = -1};
    double scalar[40];
    float scale[40 * WIDE];
    world_open(&w, 40, 30, 100);
    char folder[600];
    snprintf(folder, sizeof folder, "%s", at("factors"));
    o.factors = folder;
    write_factors(o.factors, ACT_I, value);
    must(atomic_put(at("factors/prior_precision_analytic.json"), prior, strlen(prior)));
    struct adapter *a = fitted(&w, &o);
    assert_true(prior_of(0) == 16 && prior_of(1) == 25);
    must(adapt_predict(a, &w.s, SIDE_IMAGE, &p, scalar, &(struct predict_more){.scale = scale}));
    for (int i = 0; i < 40; i++) {
        double square = 0, length = (double)w.length[0][i];
        for (int j = 0; j < ACT_I; j++)
            square += (double)w.phi[0][i * ACT_I + j] * (double)w.phi[0][i * ACT_I + j];
        double var = square / (2 * 9 + 4) / (2 * 2 + 4) / (length * length);
        for (int j = 0; j < WIDE; j++)
            assert_true(fabs((double)scale[i * WIDE + j] / sqrt(2 * var) - 1) < 1e-5);
    }
    adapt_close(&a);
    must(path_remove_tree(at("factors/prior_precision_analytic.json")));
    a = fitted(&w, &o); /* by the evidence */
    assert_true(prior_of(0) > 0 && prior_of(0) != 16);
    adapt_close(&a);
    write_factors(o.factors, ACT_I + 1, value);
    assert_int_equal(adapt_fit(&w.s, &o, engine, at("no"), true, &r), ERR_MISMATCH);
    assert_non_null(strstr(err_text(), "A_img.npy"));
    snprintf(folder, sizeof folder, "%s", at("nowhere"));
    assert_true(adapt_fit(&w.s, &o, engine, at("no"), true, &r) < 0);
    world_close(&w);
}

/* The factors that BayesVLM's authors publish, on made activations; values by NumPy in double:
 * phi = sin(1 + i), phi (sqrt(n) A + sqrt(lambda) I)^-1 phi diag((sqrt(n) B + sqrt(lambda) I)^-1). */
static void test_published(void **state UNUSED)
{
    static const double expected[2][3] = {{0.023127656526807084, 0.023716484937738463, 0.022869854471762124},
                                          {0.012328298659611188, 0.012829325708717788, 0.012153079799619698}};
    const char *shared = getenv("MERIDIAN_SHARED");
    char dir[600];
    snprintf(dir, sizeof dir, "%s/data/hessians_laion2b_b32", shared ? shared : "");
    if (!shared || !path_is_dir(dir)) {
        print_message("the published factors are not here\n");
        skip();
    }
    enum { E = 512 };
    const int64_t f[2] = {768, 512};
    float *phi = mem_calloc(768, sizeof *phi), *x = mem_calloc(E, sizeof *x), *scale = mem_calloc(E, sizeof *scale);
    float one = 1;
    struct set_pair pair = {0, 0};
    struct set s = {.path = root,
                    .width = E,
                    .unit = true,
                    .image = {.n = 1, .x = x},
                    .text = {.n = 1, .x = x},
                    .n_pairs = 1,
                    .pairs = &pair,
                    .model = "m",
                    .fingerprint = "",
                    .logit_scale = 100};
    for (int i = 0; i < 768; i++)
        phi[i] = (float)sin(1.0 + i);
    x[0] = 1;
    for (int k = 0; k < 2; k++)
        *(k ? &s.text.features : &s.image.features) =
            (struct set_features){.width = f[k], .x = phi, .lengths = &one, .n_weights = f[k] * E};
    struct adapt_opt o = usual();
    struct adapt_result r;
    struct adapter *a;
    o.factors = dir;
    must(adapt_fit(&s, &o, engine, at("published"), true, &r));
    must(adapt_open_on(&a, at("published"), engine));
    for (int k = 0; k < 2; k++) {
        double scalar, mean = 0;
        struct predict_opt p = {.dropout = -1};
        must(adapt_predict(a, &s, k, &p, &scalar, &(struct predict_more){.scale = scale}));
        for (int j = 0; j < E; j++)
            mean += (double)scale[j] * (double)scale[j] / 2 / E;
        assert_true(fabs((double)scale[0] * (double)scale[0] / 2 / expected[k][0] - 1) < 1e-4);
        assert_true(fabs((double)scale[E - 1] * (double)scale[E - 1] / 2 / expected[k][1] - 1) < 1e-4);
        assert_true(fabs(mean / expected[k][2] - 1) < 1e-4);
    }
    adapt_close(&a);
    mem_free(phi);
    mem_free(x);
    mem_free(scale);
}

/* ---- acquisitions against brute force ---- */

enum { ROWS = 7, ITEMS = 4, BRUTE = 40000 };

/* Weights drawn by a Cholesky factor of the dense covariance, everything written out. */
static void brute(const struct world *w, const double *cov[2], double *bald, double *epig)
{
    const int64_t f[2] = {ACT_I, ACT_T}, n[2] = {ROWS, ITEMS};
    static double joint[ROWS][ROWS][ITEMS][ITEMS], mean[ROWS][ITEMS], own[ROWS];
    memset(joint, 0, sizeof joint);
    memset(mean, 0, sizeof mean);
    memset(own, 0, sizeof own);
    struct rng r = rng_stream(99, RNG_TEST, 0, 0);
    for (int k = 0; k < BRUTE; k++) {
        double x[2][ROWS][WIDE], p[ROWS][ITEMS];
        for (int side = 0; side < 2; side++) {
            int64_t size = f[side] * WIDE;
            double noise[ACT_I * WIDE], delta[ACT_I * WIDE];
            for (int64_t i = 0; i < size; i++)
                noise[i] = rng_normal(&r);
            for (int64_t i = 0; i < size; i++) {
                delta[i] = 0;
                for (int64_t j = 0; j <= i; j++)
                    delta[i] += cov[side][i * size + j] * noise[j];
            }
            for (int64_t i = 0; i < n[side]; i++) {
                double sum = 0;
                for (int64_t e = 0; e < WIDE; e++) {
                    double z = (double)(side ? w->text : w->image)[i * WIDE + e] * (double)w->length[side][i];
                    for (int64_t j = 0; j < f[side]; j++)
                        z += delta[e * f[side] + j] * (double)w->phi[side][i * f[side] + j];
                    x[side][i][e] = z;
                    sum += z * z;
                }
                for (int64_t e = 0; e < WIDE; e++)
                    x[side][i][e] /= sqrt(sum);
            }
        }
        for (int i = 0; i < ROWS; i++) {
            double sum = 0;
            for (int c = 0; c < ITEMS; c++) {
                double dot = 0;
                for (int e = 0; e < WIDE; e++)
                    dot += x[0][i][e] * x[1][c][e];
                sum += p[i][c] = exp(10 * dot);
            }
            for (int c = 0; c < ITEMS; c++) {
                p[i][c] /= sum;
                mean[i][c] += p[i][c] / BRUTE;
                own[i] -= p[i][c] * log(p[i][c]) / BRUTE;
            }
        }
        for (int i = 0; i < ROWS; i++)
            for (int t = 0; t < ROWS; t++)
                for (int c = 0; c < ITEMS * ITEMS; c++)
                    joint[i][t][c / ITEMS][c % ITEMS] += p[i][c / ITEMS] * p[t][c % ITEMS] / BRUTE;
    }
    for (int i = 0; i < ROWS; i++) {
        bald[i] = -own[i];
        for (int c = 0; c < ITEMS; c++)
            bald[i] -= mean[i][c] * log(mean[i][c]);
        epig[i] = 0;
        for (int t = 0; t < ROWS; t++)
            for (int c = 0; c < ITEMS * ITEMS; c++) {
                double v = joint[i][t][c / ITEMS][c % ITEMS];
                epig[i] += v * log(v / (mean[i][c / ITEMS] * mean[t][c % ITEMS])) / ROWS;
            }
    }
}

/* Cholesky factor of B' x A' [E F, E F], weights in the order of W's rows, from the adapter's own factors. */
static void dense(const char *file, int64_t f, double prior, int side, double *out)
{
    struct st_file *st;
    must(st_open(&st, file));
    const float *fa = st_find(st, side ? "A_txt" : "A_img")->data, *fb = st_find(st, side ? "B_txt" : "B_img")->data;
    struct arena *arena;
    must(arena_open(&arena, "test"));
    double *inv_a = arena_calloc(arena, (size_t)(f * f), sizeof(double)), inv_b[WIDE * WIDE];
    for (int which = 0; which < 2; which++) { /* inverses column by column through Cholesky */
        int64_t n = which ? WIDE : f;
        double *l = arena_calloc(arena, (size_t)(n * n), sizeof *l), *to = which ? inv_b : inv_a;
        memset(to, 0, (size_t)(n * n) * sizeof *to);
        for (int64_t i = 0; i < n * n; i++) {
            l[i] = (double)(which ? fb : fa)[i] + (i % (n + 1) ? 0 : sqrt(prior));
            to[i] = i % (n + 1) ? 0 : 1;
        }
        assert_true(lapack_potrf(n, l));
        kernel_solve_f64(false, n, n, l, to);
        kernel_solve_f64(true, n, n, l, to);
    }
    int64_t size = f * WIDE;
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++)
            out[i * size + j] = inv_b[i / f * WIDE + j / f] * inv_a[i % f * f + j % f];
    assert_true(lapack_potrf(size, out));
    arena_close(&arena);
    st_close(&st);
}

static void test_acquire(void **state UNUSED)
{
    struct world train, w;
    struct adapt_opt o = usual();
    double bald[ROWS], epig[ROWS], found[ROWS], other[ROWS], *cov[2];
    world_open(&train, 40, 30, 100);
    world_open(&w, ROWS, ITEMS, 500);
    o.prior = 0.01;
    struct adapter *a = fitted(&train, &o);
    for (int k = 0; k < 2; k++) {
        int64_t f = k ? ACT_T : ACT_I;
        cov[k] = mem_calloc((size_t)(f * WIDE * f * WIDE), sizeof(double));
        dense(at("adapter/adapter.safetensors"), f, o.prior, k, cov[k]);
    }
    brute(&w, (const double *[2]){cov[0], cov[1]}, bald, epig);
    struct predict_opt p = {.dropout = -1, .passes = 20000};
    must(adapt_acquire(a, &w.s, NULL, SIDE_IMAGE, "bald", &p, found));
    for (int i = 0; i < ROWS; i++)
        if (!(fabs(found[i] - bald[i]) < 0.002 + 0.05 * bald[i]))
            fail_msg("bald %d: %g, expected %g", i, found[i], bald[i]);
    must(adapt_acquire(a, &w.s, NULL, SIDE_IMAGE, "epig", &p, found));
    for (int i = 0; i < ROWS; i++)
        if (!(fabs(found[i] - epig[i]) < 0.0003 + 0.06 * epig[i]))
            fail_msg("epig %d: %g, expected %g", i, found[i], epig[i]);
    must(adapt_acquire(a, &w.s, &w.s, SIDE_IMAGE, "epig", &p, other));
    for (int i = 0; i < ROWS; i++)
        assert_true(found[i] == other[i]);
    for (int k = 0; k < 2; k++)
        mem_free(cov[k]);
    adapt_close(&a);
    world_close(&w);
    world_close(&train);
}

/* Every other method: rows drawn by what predict tells. BALD of a row whose answer is open and of one whose is not. */
static void test_acquire_any(void **state UNUSED)
{
    static const char *const methods[] = {"probvlm", "pfe", "bayesvlm"};
    struct world w;
    world_open(&w, 40, 30, 100);
    for (size_t k = 0; k < ARRAY_LEN(methods); k++) {
        struct adapt_opt o = usual();
        struct predict_opt p = {.dropout = -1};
        double first[40], again[40], entropy[30], doubt[30];
        o.method = methods[k];
        o.epochs = 3;
        o.hidden = 8;
        struct adapt_result r;
        struct adapter *a;
        must(adapt_fit(&w.s, &o, engine, at("any"), true, &r));
        must(adapt_open_on(&a, at("any"), engine));
        must(adapt_acquire(a, &w.s, NULL, SIDE_IMAGE, "bald", &p, first));
        must(adapt_acquire(a, &w.s, NULL, SIDE_IMAGE, "bald", &p, again));
        assert_memory_equal(first, again, sizeof first);
        for (int i = 0; i < 40; i++)
            assert_true(first[i] >= 0 && first[i] <= log(30));
        must(adapt_acquire(a, &w.s, NULL, SIDE_TEXT, "epig", &p, first));
        for (int i = 0; i < 30; i++)
            assert_true(first[i] >= 0 && isfinite(first[i]));
        must(adapt_probit(a, &w.s, SIDE_TEXT, &p, entropy, doubt));
        for (int i = 0; i < 30; i++)
            assert_true(entropy[i] > 0 && entropy[i] <= log(40) + 1e-9 && doubt[i] > 0 && doubt[i] < 1);
        adapt_close(&a);
    }
    world_close(&w);
}

static void test_memory(void **state UNUSED)
{
    struct world w;
    struct adapt_opt o = usual();
    struct adapt_result r;
    struct predict_opt p = {.dropout = -1, .passes = 2};
    double scalar[8];
    world_open(&w, 8, 6, 100);
    for (int n = 1; n < 5000; n++) {
        struct adapter *a = NULL;
        mem_fail_at(n);
        int rc = adapt_fit(&w.s, &o, engine, at("memory"), true, &r);
        if (rc == 0)
            rc = adapt_open_on(&a, at("memory"), engine);
        if (rc == 0)
            rc = adapt_predict(a, &w.s, SIDE_TEXT, &p, scalar, NULL);
        if (rc == 0)
            rc = adapt_acquire(a, &w.s, NULL, SIDE_IMAGE, "epig", &p, scalar);
        mem_fail_at(0);
        adapt_close(&a);
        if (rc == 0) {
            world_close(&w);
            return;
        }
        assert_int_equal(rc, ERR_MEMORY);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit),         cmocka_unit_test(test_exact_is_wider), cmocka_unit_test(test_options),
        cmocka_unit_test(test_sample),      cmocka_unit_test(test_parts),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_factors),     cmocka_unit_test(test_published),      cmocka_unit_test(test_acquire),
        cmocka_unit_test(test_acquire_any), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("bayes", tests, begin, drop_root);
}
