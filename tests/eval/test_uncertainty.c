/* Uncertainty: the measures on lists whose answer is known, the scores against NumPy's
 * (experiments/uncertainty/small.py, straight from the formulas), splits and references, degenerate sets, more threads.
 */
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "eval/uncertainty.h"
#include "kernel/kernel.h"

static const struct eval_opt quick = {.bootstrap = 50};

/* ---- measures ---- */

static void against_numpy(void **state)
{
    (void)state;
    enum { N = 23 };
    double u[N], p[N];
    bool hit[N];
    struct uncertainty m;
    for (int i = 0; i < N; i++) {
        u[i] = ((i * 29) % 17) / 4.0;
        hit[i] = (i * 7 + 3) % 10 < 6;
        p[i] = (1 + 2 * ((i * 13) % 48)) / 97.0;
    }
    assert_int_equal(eval_uncertainty(u, hit, p, N, &quick, &m), 0);
    near(m.auroc.value, 0.575396825397, 1e-11, "auroc");
    near(m.aurc.value, 0.253054970797, 1e-11, "aurc");
    near(m.spearman_query.value, -0.127778171063, 1e-11, "spearman over queries");
    near(m.levels[0].spearman.value, -0.102597835209, 1e-11, "S");
    near(m.levels[0].r2.value, 0.040909090909, 1e-11, "R2");
    near(m.levels[0].neg_s_r2.value, 0.004197184168, 1e-11, "-S R2");
    near(m.levels[1].spearman.value, -0.190128170598, 1e-11, "S of 10");
    near(m.levels[1].r2.value, 0.032438926712, 1e-11, "R2 of 10");
    near(m.ece.value, 0.270282384581, 1e-11, "ece");
    near(m.brier.value, 0.274505907850, 1e-11, "brier");
    static const int64_t five[5] = {4, 5, 4, 5, 5}, ten[10] = {2, 2, 2, 3, 2, 2, 3, 2, 2, 3};
    for (int b = 0; b < 5; b++)
        assert_int_equal(m.levels[0].level[b].n, five[b]);
    for (int b = 0; b < 10; b++)
        assert_int_equal(m.levels[1].level[b].n, ten[b]);
    near(m.levels[0].level[0].uncertainty, 0.1875, 1e-12, "mean u of the first level");
    near(m.levels[0].level[1].recall.value, 0.8, 1e-12, "recall of the second level");
    assert_int_equal(m.n_curve, N);
    near(m.curve[N - 1].risk.value, (double)(N - m.n_hits) / N, 1e-12, "risk of everybody");
    assert_true(m.auroc.low <= m.auroc.value && m.auroc.value <= m.auroc.high && m.auroc.low < m.auroc.high);
    assert_true(m.aurc.low < m.aurc.high && m.levels[0].level[1].recall.low < m.levels[0].level[1].recall.high);
    json_t *o = uncertainty_to_json(&m);
    assert_int_equal(json_array_size(json_object_get(o, "bins")), 5);
    near(json_number_value(json_object_get(o, "auroc")), m.auroc.value, 0, "auroc in JSON");
    assert_non_null(json_object_get(json_array_get(json_object_get(o, "bins"), 0), "recall_at_1"));
    json_decref(o);
}

static void perfect_reversed_random(void **state)
{
    (void)state;
    enum { N = 400 };
    static double u[N], back[N], noise[N];
    static bool hit[N];
    struct uncertainty m;
    struct rng r = rng_stream(5, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        u[i] = i;
        back[i] = -i;
        noise[i] = rng_uniform(&r);
        hit[i] = i < N / 2;
    }
    assert_int_equal(eval_uncertainty(u, hit, NULL, N, &quick, &m), 0);
    near(m.auroc.value, 1, 0, "auroc of a perfect score");
    double aurc = 0;
    for (int k = N / 2 + 1; k <= N; k++)
        aurc += (k - N / 2) / (double)k / N;
    near(m.aurc.value, aurc, 1e-12, "aurc of a perfect score");
    assert_true(m.levels[0].spearman.value < -0.9 && m.levels[0].neg_s_r2.value > 0.7);
    assert_true(m.curve[49].risk.value == 0 && isnan(m.ece.value));
    assert_int_equal(eval_uncertainty(back, hit, NULL, N, &quick, &m), 0);
    near(m.auroc.value, 0, 0, "auroc of a reversed score");
    assert_true(m.levels[0].spearman.value > 0.9 && m.levels[0].neg_s_r2.value < -0.7);
    assert_int_equal(eval_uncertainty(noise, hit, NULL, N, NULL, &m), 0);
    assert_true(m.auroc.low < 0.5 && m.auroc.high > 0.5);
}

/* -S R2 is no measure of how good a score is: the best one there is gets 0.35 where four in five are right. */
static void perfect_is_no_line(void **state)
{
    (void)state;
    double u[100];
    bool hit[100];
    struct uncertainty m;
    for (int i = 0; i < 100; i++) {
        u[i] = i;
        hit[i] = i < 80;
    }
    assert_int_equal(eval_uncertainty(u, hit, NULL, 100, &quick, &m), 0);
    near(m.levels[0].spearman.value, -sqrt(0.5), 1e-12, "S");
    near(m.levels[0].r2.value, 0.5, 1e-12, "R2");
    near(m.levels[0].neg_s_r2.value, sqrt(0.125), 1e-12, "-S R2");
}

/* One value for everybody: ties half, no order to correlate with, an error curve in row order. */
static void constant(void **state)
{
    (void)state;
    const double u[6] = {2, 2, 2, 2, 2, 2};
    const bool hit[6] = {true, false, true, true, false, true};
    struct uncertainty m;
    assert_int_equal(eval_uncertainty(u, hit, NULL, 6, &quick, &m), 0);
    near(m.auroc.value, 0.5, 0, "auroc");
    near(m.levels[0].spearman.value, 0, 0, "S");
    near(m.levels[0].neg_s_r2.value, 0, 0, "-S R2");
    assert_true(isnan(m.spearman_query.value));
    near(m.aurc.value, (0 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 2 / 5.0 + 2 / 6.0) / 6, 1e-12, "aurc");
}

static void all_alike(void **state)
{
    (void)state;
    double u[30];
    bool yes[30], no[30];
    struct uncertainty m;
    for (int i = 0; i < 30; i++) {
        u[i] = i % 7;
        yes[i] = true;
        no[i] = false;
    }
    assert_int_equal(eval_uncertainty(u, yes, NULL, 30, &quick, &m), 0);
    assert_true(isnan(m.auroc.value) && m.aurc.value == 0 && m.levels[0].spearman.value == 0 &&
                m.levels[0].r2.value == 0);
    assert_true(m.levels[0].level[0].recall.value == 1 && m.levels[0].level[0].recall.low < 1);
    json_t *o = uncertainty_to_json(&m);
    assert_true(json_is_null(json_object_get(o, "auroc")));
    assert_non_null(strstr(json_string_value(json_object_get(o, "why")), "auroc: no miss"));
    json_decref(o);
    assert_int_equal(eval_uncertainty(u, no, NULL, 30, &quick, &m), 0);
    assert_true(isnan(m.auroc.value) && m.aurc.value == 1 && m.levels[1].neg_s_r2.value == 0 && m.n_hits == 0);
}

static void few_queries(void **state)
{
    (void)state;
    const double u[3] = {3, 1, 2}, nan[2] = {1, (double)NAN}, inf[1] = {(double)INFINITY}, p[1] = {1.5};
    const bool hit[3] = {false, true, true};
    struct uncertainty m, before;
    memset(&m, 0, sizeof m);
    assert_int_equal(eval_uncertainty(u, hit, NULL, 3, &quick, &m), 0); /* fewer than levels */
    int64_t total = 0;
    for (int b = 0; b < 5; b++)
        total += m.levels[0].level[b].n;
    assert_int_equal(total, 3);
    near(m.auroc.value, 1, 0, "auroc of three");
    assert_true(isfinite(m.levels[0].spearman.value));
    assert_int_equal(eval_uncertainty(u, hit, NULL, 1, &quick, &m), 0);
    assert_true(isnan(m.levels[0].spearman.value) && isnan(m.auroc.value) && m.aurc.value == 1 && m.n_curve == 1);
    assert_int_equal(eval_uncertainty(NULL, NULL, NULL, 0, &quick, &m), 0);
    assert_true(isnan(m.aurc.value) && m.n_curve == 0);
    json_decref(uncertainty_to_json(&m));
    memcpy(&before, &m, sizeof m);
    assert_int_equal(eval_uncertainty(nan, hit, NULL, 2, &quick, &m), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "query 1"));
    assert_int_equal(eval_uncertainty(inf, hit, NULL, 1, &quick, &m), ERR_NONFINITE);
    assert_int_equal(eval_uncertainty(u, hit, p, 1, &quick, &m), ERR_NONFINITE);
    assert_int_equal(eval_uncertainty(u, hit, NULL, 3, &(struct eval_opt){.bins_mass = 65}, &m), ERR_USAGE);
    assert_memory_equal(&before, &m, sizeof m);
}

/* ---- scores ---- */

enum { N = 60, D = 8 };
static const struct expected {
    const char *name;
    double first, eighth, auroc;
} expected[2][15] = {{
                         {"cosine", 0.197962437554, 0.312565516698, 0.857142857143},
                         {"margin", -0.011368852677, -0.097392552117, 0.824175824176},
                         {"entropy", 1.400137755804, 0.914617729419, 0.890109890110},
                         {"max-p", 0.603469649888, 0.262205962558, 0.879120879121},
                         {"csls", 0.560588005491, 0.024316553625, 0.857142857143},
                         {"dual", 0.920848275527, 0.990566968057, 0.989010989011},
                         {"dual-norm", 0.676798418893, 0.585369249844, 0.934065934066},
                         {"inverted", 0.848315356682, 0.912049218080, 0.945054945055},
                         {"dual-ref", 0.721519428917, 0.990530931617, 0.824175824176},
                         {"dual-norm-ref", 0.453332746636, 0.990273097602, 0.901098901099},
                         {"inverted-ref", 0.859171359965, 0.999079710129, 0.813186813187},
                         {"knn", 0.627137130435, 0.794016773885, 0.472527472527},
                         {"mahalanobis", 11.180970495794, 12.730193075805, 0.450549450549},
                         {"hubness", 17.000000000000, 8.000000000000, 0.725274725275},
                         {"norm", -73.518705102851, -69.828361000384, 0.659340659341},
                     },
                     {
                         {"cosine", 0.255354984437, 0.340033765487, 0.781250000000},
                         {"margin", -0.002216711220, -0.022858429663, 0.625000000000},
                         {"entropy", 1.856948824929, 1.463228622366, 0.718750000000},
                         {"max-p", 0.734380427443, 0.585044081952, 0.697916666667},
                         {"csls", 0.197565047360, 0.676191803047, 0.708333333333},
                         {"dual", 0.877207554731, 0.997305254445, 0.906250000000},
                         {"dual-norm", 0.302577101358, 0.826366699874, 0.791666666667},
                         {"inverted", 0.459461364716, 0.948832909940, 0.687500000000},
                         {"dual-ref", 0.745916162580, 0.977511189266, 0.812500000000},
                         {"dual-norm-ref", 0.182930720578, 0.993344588623, 0.614583333333},
                         {"inverted-ref", 0.475239291665, 0.995997827848, 0.645833333333},
                         {"knn", 0.692178803089, 0.746282655666, 0.552083333333},
                         {"mahalanobis", 10.715505982626, 15.423969850140, 0.572916666667},
                         {"hubness", 8.000000000000, 13.000000000000, 0.562500000000},
                         {"norm", -203.105883715859, -165.915641215649, 0.750000000000},
                     }};

static struct set *small_set(void)
{
    static float a[N * D], b[N * D];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++) {
            a[i * D + j] = (float)((i * i * 7 + i * j * 13 + j * j * 5 + 3 * i) % 101 - 50);
            b[i * D + j] = 2 * a[i * D + j] + 2 * (float)((i * i * 3 + i * j * j * 17 + 11 * j) % 97 - 48);
        }
    return make_set(a, N, b, N, D, NULL, -1);
}

static const char *const *thirds(int64_t n)
{
    static const char *const words[3] = {"train", "val", "test"};
    static const char *split[1024];
    for (int64_t i = 0; i < n; i++)
        split[i] = words[i % 3];
    return split;
}

static const struct uncertainty_score *find(const struct uncertainty_scores *s, const char *name)
{
    for (int k = 0; k < s->n_scores; k++)
        if (strcmp(s->score[k].name, name) == 0)
            return &s->score[k];
    fail_msg("no score %s", name);
    return NULL;
}

static void scores_against_numpy(void **state)
{
    (void)state;
    struct set *s = small_set();
    for (int way = 0; way < 2; way++) {
        struct uncertainty_scores u;
        struct uncertainty_in in = {.set = s, .split = thirds(N), .temperature = 0.05};
        assert_int_equal(uncertainty_scores_open(&u, &in, way), 0);
        assert_true(u.n == 20 && u.n_val == 20 && u.n_reference == 20 && u.n_gallery == N && u.row[0] == 2);
        int64_t hits = 0;
        for (int64_t i = 0; i < u.n; i++)
            hits += u.hit[i];
        assert_int_equal(hits, way ? 12 : 13);
        for (size_t k = 0; k < ARRAY_LEN(expected[way]); k++) {
            const struct expected *e = &expected[way][k];
            const struct uncertainty_score *x = find(&u, e->name);
            struct uncertainty m;
            assert_non_null(x->u);
            near(x->u[0], e->first, 1e-6 * (1 + fabs(e->first)), e->name);
            near(x->u[7], e->eighth, 1e-6 * (1 + fabs(e->eighth)), e->name);
            assert_int_equal(eval_uncertainty(x->u, u.hit, x->p, u.n, &quick, &m), 0);
            near(m.auroc.value, e->auroc, 1e-9, e->name);
            assert_true(isfinite(m.ece.value) && isfinite(m.brier.value));
        }
        uncertainty_scores_close(&u);
    }
    set_close(&s);
}

/* Exponentials that leave the range of a double are taken the long way: still finite, still probabilities. */
static void extreme_temperatures(void **state)
{
    (void)state;
    static const double taus[] = {1e-6, 1e-4, 1e-3, 10, 1e6};
    struct set *s = small_set();
    for (size_t t = 0; t < ARRAY_LEN(taus); t++) {
        struct uncertainty_scores u;
        struct uncertainty m;
        struct uncertainty_in in = {.set = s, .split = thirds(N), .temperature = taus[t]};
        assert_int_equal(uncertainty_scores_open(&u, &in, 0), 0);
        for (int k = 0; k < u.n_scores; k++) {
            assert_non_null(u.score[k].u);
            assert_int_equal(eval_uncertainty(u.score[k].u, u.hit, u.score[k].p, u.n, &quick, &m), 0);
            for (int64_t i = 0; k >= UNC_MAX_P && k <= UNC_INVERTED_REF && i < u.n; i++)
                assert_true(u.score[k].u[i] >= 0 && u.score[k].u[i] <= 1);
        }
        uncertainty_scores_close(&u);
    }
    set_close(&s);
}

/* Pairs with noise that differs by row: hits and misses, and a score that knows the noise. */
static struct set *noisy_set(int64_t n, int64_t d, double *noise)
{
    float *a = mem_alloc((size_t)(n * d) * sizeof *a), *b = mem_alloc((size_t)(n * d) * sizeof *b);
    fill_normal(a, n * d, 11);
    fill_normal(b, n * d, 12);
    for (int64_t i = 0; i < n; i++) {
        noise[i] = 0.2 + (double)(i * 37 % 101) / 40;
        for (int64_t j = 0; j < d; j++)
            b[i * d + j] = a[i * d + j] + (float)noise[i] * b[i * d + j];
    }
    struct set *s = make_set(a, n, b, n, d, NULL, -1);
    mem_free(a);
    mem_free(b);
    return s;
}

static double auroc(const struct uncertainty_scores *s, const char *name)
{
    struct uncertainty m;
    const struct uncertainty_score *x = find(s, name);
    assert_non_null(x->u);
    assert_int_equal(eval_uncertainty(x->u, s->hit, x->p, s->n, &(struct eval_opt){.bootstrap = -1}, &m), 0);
    return m.auroc.value;
}

static void combined_and_outsiders(void **state)
{
    (void)state;
    enum { ROWS = 600, WIDTH = 16 };
    static double noise[ROWS];
    struct set *s = noisy_set(ROWS, WIDTH, noise);
    struct uncertainty_extra extra = {.name = "adapter", .text = "noise", .u = {noise, noise}};
    struct uncertainty_scores plain, with;
    struct uncertainty_in in = {.set = s, .split = thirds(ROWS)};
    assert_int_equal(uncertainty_scores_open(&plain, &in, 0), 0);
    in.extra = &extra;
    in.n_extra = 1;
    assert_int_equal(uncertainty_scores_open(&with, &in, 0), 0);
    assert_string_equal(plain.temperature_from, "validation queries");
    assert_true(auroc(&with, "adapter") > 0.6);
    assert_true(auroc(&plain, "combined") > auroc(&plain, "cosine"));
    assert_true(auroc(&with, "combined-ref") > auroc(&plain, "combined-ref") - 0.01);
    const struct uncertainty_score *c = find(&plain, "combined");
    for (int64_t i = 0; i < plain.n; i++)
        assert_true(c->p[i] >= 0 && c->p[i] <= 1 && fabs(c->p[i] + c->u[i] - 1) < 1e-12);
    uncertainty_scores_close(&plain);
    uncertainty_scores_close(&with);
    set_close(&s);
}

static void missing_parts(void **state)
{
    (void)state;
    struct set *s = small_set(), *narrow = make_set((float[2]){1, 0}, 1, (float[2]){1, 0}, 1, 2, NULL, -1);
    struct uncertainty_scores u;
    struct uncertainty_in in = {.set = s};
    assert_int_equal(uncertainty_scores_open(&u, &in, 0), 0); /* no split: everything is measured, nothing calibrated */
    assert_int_equal(u.n, N);
    assert_true(u.temperature == 0.01 && u.n_val == 0 && u.n_reference == 0);
    assert_null(find(&u, "combined")->u);
    assert_non_null(strstr(find(&u, "combined")->why, "validation"));
    assert_non_null(strstr(find(&u, "inverted-ref")->why, "reference"));
    assert_null(find(&u, "cosine")->p);
    assert_non_null(find(&u, "knn")->u);
    uncertainty_scores_close(&u);
    in.reference = narrow;
    assert_int_equal(uncertainty_scores_open(&u, &in, 0), ERR_MISMATCH);
    in.reference = s; /* as if it were another: half calibrates, half is the reference */
    assert_int_equal(uncertainty_scores_open(&u, &in, 1), 0);
    assert_true(u.n == N && u.n_val == N / 2 && u.n_reference == N / 2);
    assert_non_null(find(&u, "inverted-ref")->u);
    assert_non_null(find(&u, "cosine")->p);
    uncertainty_scores_close(&u);
    in.split = thirds(N);
    assert_int_equal(uncertainty_scores_open(&u, &in, 1), ERR_USAGE);
    in = (struct uncertainty_in){.set = s, .temperature = 1e-9};
    assert_int_equal(uncertainty_scores_open(&u, &in, 1), ERR_USAGE);
    set_close(&s);
    set_close(&narrow);
}

/* Degenerate sets give numbers or reasons; zero vectors are named. */
static void degenerate(void **state)
{
    (void)state;
    const float one[4] = {1, 0, 0, 1}, same[6] = {3, 4, 3, 4, 3, 4}, zero[4] = {1, 0, 0, 0}, thin[3] = {1, 2, -1};
    struct set *sets[] = {make_set(one, 1, one, 1, 2, NULL, -1), make_set(one, 1, one, 2, 2, NULL, 0),
                          make_set(same, 3, same, 3, 2, NULL, -1), make_set(thin, 3, thin, 3, 1, NULL, -1),
                          make_set(NULL, 0, one, 2, 2, NULL, 0)};
    for (size_t k = 0; k < ARRAY_LEN(sets); k++) {
        for (int way = 0; way < 2; way++) {
            struct uncertainty_scores u;
            struct uncertainty m;
            assert_int_equal(uncertainty_scores_open(&u, &(struct uncertainty_in){.set = sets[k]}, way), 0);
            for (int i = 0; i < u.n_scores; i++)
                if (u.score[i].u)
                    assert_int_equal(eval_uncertainty(u.score[i].u, u.hit, u.score[i].p, u.n, &quick, &m), 0);
            uncertainty_scores_close(&u);
        }
        set_close(&sets[k]);
    }
    struct set *bad = make_set(zero, 2, one, 2, 2, NULL, -1);
    struct uncertainty_scores u;
    assert_int_equal(uncertainty_scores_open(&u, &(struct uncertainty_in){.set = bad}, 0), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "image"));
    set_close(&bad);
}

/* A hit by class: the first answer's class counts, rows without a class are left out. */
static void hits_by_class(void **state)
{
    (void)state;
    const float image[8] = {1, 0, 0, 1, 0.9F, 0.1F, 1, 1}, text[8] = {0, 1, 1, 0, 0.95F, 0.05F, 1, 0.9F};
    const char *const label[4] = {"red", "red", "blue", ""};
    struct set *s = make_set(image, 4, text, 4, 2, NULL, -1);
    struct uncertainty_scores u;
    assert_int_equal(uncertainty_scores_open(&u, &(struct uncertainty_in){.set = s, .label = label}, 0), 0);
    assert_int_equal(u.n, 3);
    assert_int_equal(u.n_without, 1);
    assert_true(u.hit[0] && u.hit[1]); /* texts 1 and 0, both red; by pairs both are misses */
    uncertainty_scores_close(&u);
    assert_int_equal(uncertainty_scores_open(&u, &(struct uncertainty_in){.set = s}, 0), 0);
    assert_true(u.n == 4 && !u.hit[0] && !u.hit[1]);
    uncertainty_scores_close(&u);
    set_close(&s);
}

/* Above the double path: hits are those of double arithmetic, scores within rounding of fp32, twice the same. */
static void large_and_threads(void **state)
{
    (void)state;
    enum { ROWS = EXACT_ROWS + 300, WIDTH = 12 };
    double *noise = mem_alloc(ROWS * sizeof *noise);
    struct set *s = noisy_set(ROWS, WIDTH, noise);
    s->n_pairs = 60; /* sixty queries, the whole gallery */
    struct uncertainty_scores u[2];
    const struct engine *e = NULL;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(engine_open(&e, "cpu", k ? 3 : 1), 0);
        assert_int_equal(uncertainty_scores_open(&u[k], &(struct uncertainty_in){.set = s, .temperature = 0.05}, 0), 0);
        assert_int_equal(u[k].n, 60);
    }
    struct rows q, g;
    rows_open(&q, s->image.x, ROWS, WIDTH, "image");
    rows_open(&g, s->text.x, ROWS, WIDTH, "text");
    for (int64_t i = 0; i < 60; i++) {
        double top = -1;
        for (int64_t j = 0; j < ROWS; j++)
            top = fmax(top, rows_cosine(&q, i, &g, j));
        assert_int_equal(u[0].hit[i], rows_cosine(&q, i, &g, i) >= top - 1e-9);
        near(find(&u[0], "cosine")->u[i], 1 - top, 2e-6, "best cosine");
    }
    for (int k = 0; k < u[0].n_scores; k++)
        if (u[0].score[k].u)
            assert_memory_equal(u[0].score[k].u, u[1].score[k].u, 60 * sizeof(double));
    rows_close(&q);
    rows_close(&g);
    uncertainty_scores_close(&u[0]);
    uncertainty_scores_close(&u[1]);
    set_close(&s);
    mem_free(noise);
}

/* ---- logistic regression ---- */

/* At the optimum the gradient of the stated loss is zero, also where a feature separates the classes. */
static void logistic_optimum(void **state)
{
    (void)state;
    enum { ROWS = 80, W = 3 };
    double x[ROWS * W];
    bool y[ROWS];
    struct logit f;
    struct rng r = rng_stream(9, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS; i++) {
        y[i] = i % 3 == 0;
        x[i * W] = rng_normal(&r) + (y[i] ? 1 : 0);
        x[i * W + 1] = y[i] ? 5 : -5;
        x[i * W + 2] = 7;
    }
    assert_true(logit_fit(&f, x, y, NULL, ROWS, W, 0.05));
    double g[W + 1] = {0};
    for (int i = 0; i < ROWS; i++) {
        double p = 1 / (1 + exp(-logit_odds(&f, x + i * W))), e = (p - y[i]) / ROWS;
        for (int j = 0; j < W; j++)
            g[j] += e * (x[i * W + j] - f.mean[j]) / f.sd[j];
        g[W] += e;
    }
    for (int j = 0; j < W; j++)
        near(g[j] + 0.05 * f.w[j], 0, 1e-7, "gradient");
    near(g[W], 0, 1e-7, "gradient of the offset");
    near(f.w[2], 0, 1e-12, "weight of a constant");
    for (int i = 0; i < ROWS; i++)
        y[i] = true;
    assert_false(logit_fit(&f, x, y, NULL, ROWS, W, 0.05));
    assert_false(logit_fit(&f, x, y, NULL, 0, W, 0.05));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_numpy),
        cmocka_unit_test(perfect_reversed_random),
        cmocka_unit_test(constant),
        cmocka_unit_test(perfect_is_no_line),
        cmocka_unit_test(all_alike),
        cmocka_unit_test(few_queries),
        cmocka_unit_test(scores_against_numpy),
        cmocka_unit_test(extreme_temperatures),
        cmocka_unit_test(combined_and_outsiders),
        cmocka_unit_test(missing_parts),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(hits_by_class),
        cmocka_unit_test(large_and_threads),
        cmocka_unit_test(logistic_optimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
