/* Maps from score to probability, promises (risk, coverage) by simulation, the split, the file, p(match) on a set. */
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "eval/eval_private.h"
#include "kernel/kernel.h"

/* ---- maps ---- */

static void platt_finds_its_parameters(void **state)
{
    (void)state;
    enum { N = 40000 };
    static double x[N];
    static bool y[N];
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        x[i] = 3 * rng_normal(&r) + 5;
        y[i] = rng_uniform(&r) < logistic(0.8 * x[i] - 3);
    }
    struct calibrator c = {0};
    assert_int_equal(calibrator_fit(CALIBRATE_PLATT, x, y, N, NULL, &c), 0);
    near(c.a, 0.8, 0.03, "slope");
    near(c.b, -3, 0.15, "constant");
    calibrator_free(&c);
    /* beta calibration contains the logistic map: a = b = 0.8 */
    assert_int_equal(calibrator_fit(CALIBRATE_BETA, x, y, N, NULL, &c), 0);
    for (double at = -2; at < 12; at += 1)
        near(calibrator_apply(&c, at), logistic(0.8 * at - 3), 0.02, "beta");
    assert_true(c.a >= 0 && c.b >= 0);
    calibrator_free(&c);
}

static void platt_has_soft_targets(void **state)
{
    (void)state;
    /* constant score: only the constant is left, and it gives the mean of the targets (Lin, Lin and Weng):
     * (3 * 4/5 + 1 * 1/3) / 4 = 0.68333 */
    const double x[4] = {2, 2, 2, 2};
    const bool y[4] = {true, true, true, false}, all[4] = {true, true, true, true};
    struct calibrator c = {0};
    const struct calibrator_opt hard = {.l2 = 0, .smooth = false};
    calibrator_fit(CALIBRATE_PLATT, x, y, 4, NULL, &c);
    near(calibrator_apply(&c, 2), (3 * 0.8 + 1.0 / 3) / 4, 1e-7, "smooth targets");
    calibrator_fit(CALIBRATE_PLATT, x, y, 4, &hard, &c);
    near(calibrator_apply(&c, 2), 0.75, 1e-7, "hard targets");
    for (int kind = 0; kind < N_CALIBRATORS; kind++) { /* one class: finite, and never 1 */
        assert_int_equal(calibrator_fit((enum calibrator_kind)kind, x, all, 4, &hard, &c), 0);
        double p = calibrator_apply(&c, 2);
        assert_true(p > 0.5 && p < 1);
        calibrator_free(&c);
    }
}

static void isotonic_pools_by_hand(void **state)
{
    (void)state;
    /* points by score: 1: 0, 2: 1, 3: 0, 4: 1 and 1 (tie: 1 and 0), 5: 1 -> means 0 | (1 + 0) / 2 at 2..3 |
     * (1 + 0) / 2 at 4 | 1; the two halves pool to one step 2..4 */
    const double x[6] = {5, 3, 1, 4, 2, 4};
    const bool y[6] = {true, false, false, true, true, false};
    struct calibrator c = {0};
    assert_int_equal(calibrator_fit(CALIBRATE_ISOTONIC, x, y, 6, NULL, &c), 0);
    assert_int_equal(c.n, 4);
    near(calibrator_apply(&c, 1), 1.0 / 8, 1e-12, "lowest step, kept off 0");
    near(calibrator_apply(&c, 2), 0.5, 1e-12, "step");
    near(calibrator_apply(&c, 3.3), 0.5, 1e-12, "inside the step");
    near(calibrator_apply(&c, 4.5), (0.5 + 7.0 / 8) / 2, 1e-12, "between two steps: the line");
    near(calibrator_apply(&c, 5), 7.0 / 8, 1e-12, "highest step, kept off 1");
    near(calibrator_apply(&c, 1e300), 7.0 / 8, 1e-12, "nothing is extrapolated");
    near(calibrator_apply(&c, -INFINITY), 1.0 / 8, 1e-12, "nothing is extrapolated");
    assert_true(isnan(calibrator_apply(&c, (double)NAN)));
    calibrator_free(&c);
}

static void isotonic_is_the_least_squares_step(void **state)
{
    (void)state;
    enum { N = 300 };
    double x[N], before = 0;
    bool y[N];
    struct rng r = rng_stream(2, RNG_TEST, 0, 0);
    double sum = 0, fitted = 0;
    for (int i = 0; i < N; i++) {
        x[i] = floor(rng_uniform(&r) * 60);
        y[i] = rng_uniform(&r) < x[i] / 60;
        sum += y[i];
    }
    struct calibrator c = {0};
    calibrator_fit(CALIBRATE_ISOTONIC, x, y, N, NULL, &c);
    for (int k = 0; k < 60; k++) {
        double p = calibrator_apply(&c, k);
        assert_true(p >= before);
        before = p;
    }
    for (int i = 0; i < N; i++)
        fitted += calibrator_apply(&c, x[i]);
    near(fitted, sum, 1, "pooling keeps the mean, but for the ends");
    calibrator_free(&c);
}

static void bad_scores_are_named(void **state)
{
    (void)state;
    const double x[3] = {1, (double)NAN, 2}, huge[4] = {1e300, -1e300, 1e30, 0};
    const bool y[4] = {true, false, true, false};
    struct calibrator c = {0};
    enum calibrator_kind kind;
    for (int k = 0; k < N_CALIBRATORS; k++) {
        assert_int_equal(calibrator_fit((enum calibrator_kind)k, x, y, 3, NULL, &c), ERR_NONFINITE);
        assert_int_equal(calibrator_fit((enum calibrator_kind)k, x, y, 0, NULL, &c), ERR_DATA);
        assert_int_equal(calibrator_fit((enum calibrator_kind)k, huge, y, 4, NULL, &c), 0);
        for (int i = 0; i < 4; i++) {
            double p = calibrator_apply(&c, huge[i]);
            assert_true(p >= 0 && p <= 1);
        }
        calibrator_free(&c);
        assert_int_equal(calibrator_find(calibrator_name((enum calibrator_kind)k), &kind), 0);
        assert_int_equal(kind, k);
    }
    assert_int_equal(calibrator_find("isotone", &kind), ERR_USAGE);
}

/* ---- promises ---- */

static void binomial_numbers(void **state)
{
    (void)state;
    near(binomial_tail(0, 10, 0.1), pow(0.9, 10), 1e-12, "none of ten");
    near(binomial_tail(3, 10, 0.5), 176.0 / 1024, 1e-12, "three of ten");
    near(binomial_tail(10, 10, 0.3), 1, 0, "all");
    near(clopper_pearson_upper(0, 20, 0.05), 1 - pow(0.05, 1.0 / 20), 1e-9, "none of twenty");
    near(clopper_pearson_upper(20, 20, 0.05), 1, 0, "all of twenty");
    near(binomial_tail(5, 100, clopper_pearson_upper(5, 100, 0.1)), 0.1, 1e-8, "the bound is where the tail is");
}

/* P(right | score u): rises, falls, rises: no shape is assumed. */
static double rightness(double u)
{
    return u > 0.9 ? 0.96 : u > 0.7 ? 0.99 : u > 0.5 ? 0.8 : 0.3 + u;
}

/* Error of a uniform score's answers above t. */
static double true_risk(double t)
{
    enum { STEPS = 2000 };
    double sum = 0;
    for (int i = 0; i < STEPS; i++)
        sum += 1 - rightness(t + (1 - t) * (i + 0.5) / STEPS);
    return sum / STEPS;
}

static void risk_is_kept(void **state)
{
    (void)state;
    enum { N = 300, TRIALS = 4000 };
    static double score[N], grid[MATCH_GRID], risk_at[MATCH_GRID + 1];
    static bool right[N];
    const double risks[2] = {0.05, 0.1}, confidence = 0.9;
    for (int g = 0; g < MATCH_GRID; g++) {
        grid[g] = 1 - (g + 1.0) / MATCH_GRID;
        risk_at[g] = true_risk(grid[g]);
    }
    for (int k = 0; k < 2; k++) {
        int broken = 0, naive = 0, found = 0;
        for (int t = 0; t < TRIALS; t++) {
            struct rng r = rng_stream((uint64_t)t, RNG_TEST, 3, (uint64_t)k);
            struct risk_sample s = {.n = N, .score = score, .right = right, .n_grid = MATCH_GRID, .grid = grid};
            struct risk_choice c;
            for (int i = 0; i < N; i++) {
                score[i] = rng_uniform(&r);
                right[i] = rng_uniform(&r) < rightness(score[i]);
            }
            assert_int_equal(risk_threshold(&s, risks[k], confidence, &c), 0);
            int loosest = -1, n = 0, wrong = 0, in_cell[MATCH_GRID] = {0}, wrong_in[MATCH_GRID] = {0};
            for (int i = 0; i < N; i++) {
                int g = (int)((1 - score[i]) * MATCH_GRID);
                in_cell[g < MATCH_GRID ? g : MATCH_GRID - 1]++;
                wrong_in[g < MATCH_GRID ? g : MATCH_GRID - 1] += !right[i];
            }
            for (int g = 0; g < MATCH_GRID; g++) {
                n += in_cell[g];
                wrong += wrong_in[g];
                loosest = n > 20 && wrong <= risks[k] * n ? g : loosest;
                broken += c.found && c.threshold == grid[g] && risk_at[g] > risks[k];
            }
            naive += loosest >= 0 && risk_at[loosest] > risks[k];
            found += c.found;
            assert_true(!c.found || c.upper <= risks[k] + 1e-9);
        }
        printf("risk %g: broken %.4f of %d times (promised at most %g), by the empirical error %.4f; answered at all "
               "%.3f\n",
               risks[k], (double)broken / TRIALS, TRIALS, 1 - confidence, (double)naive / TRIALS,
               (double)found / TRIALS);
        /* 3.1 standard deviations: one in a thousand if the promise were exhausted; the seed is fixed */
        double limit = 1 - confidence;
        assert_true(broken <= TRIALS * limit + 3.1 * sqrt(TRIALS * limit * (1 - limit)));
        assert_true(naive > 2 * broken);
        assert_true(found > TRIALS / 6);
    }
}

static void risk_that_cannot_be_promised(void **state)
{
    (void)state;
    double score[20], grid[MATCH_GRID] = {0};
    bool right[20];
    for (int i = 0; i < 20; i++) {
        score[i] = 1;
        right[i] = true;
    }
    struct risk_sample s = {.n = 20, .score = score, .right = right, .n_grid = MATCH_GRID, .grid = grid};
    struct risk_choice c;
    assert_int_equal(risk_threshold(&s, 0.1, 0.9, &c), 0); /* 0.9^20 = 0.12 > 0.1 */
    assert_false(c.found);
    assert_int_equal(c.n_least, 22);
    assert_true(isinf(c.threshold));
    assert_int_equal(risk_threshold(&s, 0.2, 0.9, &c), 0);
    assert_true(c.found && c.n_answered == 20);
    s.n = 0;
    assert_int_equal(risk_threshold(&s, 0.2, 0.9, &c), 0);
    assert_false(c.found);
    assert_int_equal(risk_threshold(&s, 1e-300, 0.9, &c), 0); /* more queries than there are numbers for */
    assert_true(!c.found && c.n_least > 1000000000);
    assert_int_equal(risk_threshold(&s, 0, 0.9, &c), ERR_USAGE);
    assert_int_equal(risk_threshold(&s, 0.1, 1, &c), ERR_USAGE);
    assert_int_equal(risk_threshold(&s, (double)NAN, 0.9, &c), ERR_USAGE);
}

static void sets_cover(void **state)
{
    (void)state;
    enum { TRIALS = 20000 };
    const int sizes[3] = {19, 60, 200};
    const double coverages[3] = {0.9, 0.5, 0.95};
    double v[200], t;
    for (int k = 0; k < 3; k++) {
        int held = 0, n = sizes[k];
        for (int i = 0; i < TRIALS; i++) {
            struct rng r = rng_stream((uint64_t)i, RNG_TEST, 4, (uint64_t)k);
            for (int j = 0; j < n; j++)
                v[j] = floor(8 * rng_normal(&r)) / 8; /* with ties */
            assert_int_equal(conformal_threshold(v, n, coverages[k], &t), 0);
            held += floor(8 * rng_normal(&r)) / 8 >= t;
        }
        double share = (double)held / TRIALS, sd = sqrt(coverages[k] * (1 - coverages[k]) / TRIALS);
        printf("coverage %g from %d queries: %.4f of %d\n", coverages[k], n, share, TRIALS);
        assert_true(share >= coverages[k] - 3.1 * sd);
        assert_true(share <= coverages[k] + 1.0 / (n + 1) + 0.06 + 3.1 * sd); /* ties may only add */
    }
    assert_int_equal(conformal_threshold(v, 5, 0.9, &t), 0);
    assert_true(isinf(t) && t < 0);
    assert_int_equal(conformal_threshold(v, 0, 0.9, &t), 0);
    assert_true(isinf(t));
    assert_int_equal(conformal_threshold(v, 9, 0.9, &t), 0);
    assert_true(isfinite(t));
    assert_int_equal(conformal_threshold(v, 9, 1e-12, &t), 0); /* next to nothing: the largest of them */
    for (int j = 0; j < 9; j++)
        assert_true(v[j] <= t);
    assert_int_equal(conformal_threshold((const double[]){-3, -2}, 2, 1e-12, &t), 0);
    assert_true(t == -2);
    assert_int_equal(conformal_threshold(v, 9, 1, &t), ERR_USAGE);
}

/* ---- a set ---- */

enum { D = 16 };

static void close_set(struct set *s)
{
    mem_free(s->path);
    mem_free(s->image.x);
    mem_free(s->text.x);
    mem_free(s->pairs);
    mem_free(s);
}

/* Pictures at random, captions their noisy copies; every tenth pair is the one before it again. */
static struct set *noisy_set(int64_t n, double noise, uint64_t seed)
{
    float *x = mem_calloc((size_t)(2 * n * D), sizeof *x);
    fill_normal(x, 2 * n * D, seed);
    for (int64_t i = 0; i < n * D; i++)
        x[n * D + i] = x[i] + (float)noise * x[n * D + i];
    for (int64_t i = 9; i < n; i += 10) {
        memcpy(x + i * D, x + (i - 1) * D, D * sizeof *x);
        memcpy(x + (n + i) * D, x + (n + i - 1) * D, D * sizeof *x);
    }
    struct set *s = make_set(x, n, x + n * D, n, D, NULL, -1);
    mem_free(x);
    return s;
}

static const struct match_split_opt halves = {.same = 0.99999, .validation = 0.6, .risk = 0.5, .seed = 1};

static void twins_stay_together(void **state)
{
    (void)state;
    struct set *s = noisy_set(400, 0.8, 5);
    struct match_split p;
    int count[4] = {0};
    assert_int_equal(match_split_open(s, &halves, &p), 0);
    assert_int_equal(p.n_groups, 360);
    assert_int_equal(p.largest, 2);
    for (int i = 0; i < 400; i++) {
        count[p.role[0][i]]++;
        assert_int_equal(p.role[0][i], p.role[1][i]);
        if (i % 10 == 9) {
            assert_int_equal(p.twin[0][i], i - 1);
            assert_int_equal(p.role[0][i], p.role[0][i - 1]);
        }
    }
    assert_true(count[ROLE_FIT] > 80 && count[ROLE_RISK] > 80 && count[ROLE_TEST] > 120);
    match_split_close(&p);
    /* given rows: of a torn pair of twins the second is left out */
    uint8_t given[400];
    for (int i = 0; i < 400; i++)
        given[i] = i % 2 ? ROLE_FIT : ROLE_TEST;
    struct match_split_opt opt = halves;
    opt.given = given;
    assert_int_equal(match_split_open(s, &opt, &p), 0);
    assert_int_equal(p.role[0][8], ROLE_TEST);
    assert_int_equal(p.role[0][9], ROLE_NONE);
    assert_int_equal(p.role[1][9], ROLE_NONE);
    match_split_close(&p);
    close_set(s);
}

static void fit(const struct set *s, enum calibrator_kind kind, int features, int64_t hits, struct match_model m[2])
{
    struct match_split p;
    const struct match_opt opt = {
        .kind = kind, .features = features, .n_hits = hits, .fit = {.l2 = 1e-3, .smooth = true}, .bootstrap = 40};
    assert_int_equal(match_split_open(s, &halves, &p), 0);
    for (int k = 0; k < 2; k++)
        assert_int_equal(match_fit(s, k, &p, &opt, &m[k]), 0);
    match_split_close(&p);
}

static void p_match_is_honest(void **state)
{
    (void)state;
    struct set *s = noisy_set(1200, 0.9, 6);
    struct match_model m[2];
    for (int kind = 0; kind < N_CALIBRATORS; kind++) {
        fit(s, (enum calibrator_kind)kind, MATCH_ALL, 10, m);
        for (int k = 0; k < 2; k++) {
            const struct match_report *r = &m[k].report[0];
            assert_true(m[k].fitted && r->n_queries > 300 && r->n_pairs == 10 * r->n_queries);
            assert_true(r->ece.low <= r->ece.value && r->ece.value <= r->ece.high);
            printf("%s %d: every hit %.4f, first hits %.4f\n", calibrator_name((enum calibrator_kind)kind), k,
                   r->ece.value, m[k].report[1].ece.value);
            if (kind == CALIBRATE_TEMPERATURE)
                continue; /* a softmax is right for this set only by chance */
            assert_true(r->ece.value <= 0.03);
            assert_true(m[k].report[1].ece.value <= 0.1);
        }
        match_free(&m[0]);
        match_free(&m[1]);
    }
    close_set(s);
}

static char path_text[256];

static const char *scratch(void)
{
    snprintf(path_text, sizeof path_text, "calibrator-%ld.json", (long)getpid());
    return path_text;
}

static void make_calibration(const struct set *s, enum calibrator_kind kind, struct calibration *c)
{
    *c = (struct calibration){.model = mem_strdup("m"),
                              .fingerprint = mem_strdup("f"),
                              .data = mem_strdup("d"),
                              .protocol = mem_strdup("p"),
                              .grouping = mem_strdup("g"),
                              .width = s->width,
                              .n_hits = 5};
    fit(s, kind, MATCH_ALL, 5, c->models);
}

static void file_keeps_everything(void **state)
{
    (void)state;
    struct set *s = noisy_set(300, 0.9, 7);
    for (int kind = 0; kind < N_CALIBRATORS; kind++) {
        struct calibration c, back;
        struct hit hits[5];
        double p[5], q[5];
        make_calibration(s, (enum calibrator_kind)kind, &c);
        assert_int_equal(calibration_write(scratch(), &c), 0);
        assert_int_equal(calibration_read(scratch(), &back), 0);
        assert_string_equal(back.fingerprint, "f");
        for (int k = 0; k < 2; k++) {
            const struct match_model *m = &c.models[k], *n = &back.models[k];
            const float *query = k ? s->text.x : s->image.x, *gallery = k ? s->image.x : s->text.x;
            assert_int_equal(m->risk.n, n->risk.n);
            assert_int_equal(m->n_cover, n->n_cover);
            for (int row = 0; row < 20; row++) {
                space_topk(query + row * D, 1, gallery, 300, D, 5, hits);
                assert_int_equal(match_hits(m, query + row * D, gallery, 300, D, hits, 5, p, NULL), 0);
                assert_int_equal(match_hits(n, query + row * D, gallery, 300, D, hits, 5, q, NULL), 0);
                for (int i = 0; i < 5; i++) {
                    assert_true(p[i] >= 0 && p[i] <= 1);
                    near(q[i], p[i], 1e-9, "p(match) after reading");
                }
            }
        }
        calibration_free(&c);
        calibration_free(&back);
    }
    unlink(scratch());
    close_set(s);
}

/* Reads the text as a file; a failure must be a named one. */
static bool reads(const char *text, size_t n)
{
    struct calibration c;
    FILE *f = fopen(scratch(), "wb");
    assert_non_null(f);
    fwrite(text, 1, n, f);
    fclose(f);
    err_clear();
    int rc = calibration_read(scratch(), &c);
    if (rc < 0) {
        assert_int_equal(rc, ERR_DATA);
        assert_true(strlen(err_text()) > 10);
        return false;
    }
    calibration_free(&c);
    return true;
}

/* Every number, list and text of the file in turn becomes each of a list of strange values. */
static int n_strange, n_taken;

static void try_here(json_t *root)
{
    char *text = json_dumps(root, 0);
    n_strange++;
    n_taken += reads(text, strlen(text));
    free(text);
}

static void make_strange(json_t *root, json_t *at)
{
    static const char *const values[] = {"null", "true", "\"x\"", "-1",    "0", "1e308", "-1e308", "9007199254740993",
                                         "0.5",  "[]",   "{}",    "[null]"};
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(at, next, key, value)
    {
        json_t *kept = json_incref(value);
        if (strcmp(key, "held_out") != 0 && json_is_object(value))
            make_strange(root, value);
        for (size_t i = 0; strcmp(key, "held_out") != 0 && i < ARRAY_LEN(values); i++) {
            json_object_set_new(at, key, json_loads(values[i], JSON_DECODE_ANY, NULL));
            try_here(root);
        }
        if (json_is_array(kept) && json_array_size(kept) > 0) { /* one entry of a list */
            json_t *copy = json_copy(kept);
            json_object_set(at, key, copy);
            for (size_t i = 0; i < ARRAY_LEN(values); i++) {
                json_array_set_new(copy, 0, json_loads(values[i], JSON_DECODE_ANY, NULL));
                try_here(root);
            }
            json_decref(copy);
        }
        json_object_set(at, key, kept);
        json_decref(kept);
    }
}

static void hostile_files(void **state)
{
    (void)state;
    struct set *s = noisy_set(60, 0.9, 8);
    for (int kind = 0; kind < 3; kind++) {
        struct calibration c;
        make_calibration(s, (enum calibrator_kind)kind, &c);
        json_t *o = calibration_to_json(&c);
        char *text = json_dumps(o, 0);
        size_t n = strlen(text);
        assert_true(reads(text, n));
        for (size_t cut = 0; cut < n; cut += 1 + n / 150)
            assert_false(reads(text, cut));
        make_strange(o, o);
        free(text);
        json_decref(o);
        calibration_free(&c);
    }
    printf("%d strange files, %d of them harmless\n", n_strange, n_taken);
    assert_true(n_strange > 500 && n_taken < n_strange / 2);
    assert_false(reads("", 0));
    assert_false(reads("[]", 2));
    unlink(scratch());
    close_set(s);
}

static void small_sets(void **state)
{
    (void)state;
    const float one[2] = {1, 0}, zero[4] = {0, 0, 0, 0}, same[3] = {1, 1, 1};
    const struct match_opt opt = {
        .kind = CALIBRATE_BETA, .features = MATCH_ALL, .n_hits = 10, .fit = {.l2 = 1e-3, .smooth = true}};
    struct match_split_opt all = halves;
    struct match_split p;
    struct match_model m;
    all.validation = 1;
    all.risk = 0;
    struct set *bad = make_set(zero, 2, zero, 2, 2, NULL, -1);
    assert_int_equal(match_split_open(bad, &all, &p), ERR_NONFINITE);
    close_set(bad);
    for (int k = 0; k < 3; k++) { /* one pair; three equal pairs of width 1; no pairs */
        struct set *s =
            k == 0 ? make_set(one, 1, one, 1, 2, NULL, -1) : make_set(same, 3, same, 3, 1, NULL, k == 1 ? -1 : 0);
        assert_int_equal(match_split_open(s, &all, &p), 0);
        assert_int_equal(match_fit(s, 0, &p, &opt, &m), 0);
        assert_int_equal(m.fitted, k < 2);
        if (m.fitted) {
            const struct hit hit = {0, 1};
            double x = -1;
            assert_int_equal(match_hits(&m, s->image.x, s->text.x, s->text.n, s->width, &hit, 1, &x, NULL), 0);
            assert_true(x > 0.5 && x < 1);
        }
        if (k == 0) { /* odds of e^20000 to one are written to files: a number */
            const float far[4] = {1, 0, -1, 0};
            double mass[2];
            m.temperature = 1e-4;
            assert_int_equal(match_hits(&m, one, far, 2, 2, NULL, 0, NULL, mass), 0);
            assert_true(mass[0] <= 0 && mass[1] < -10000 && isfinite(mass[1]));
        }
        match_free(&m);
        match_split_close(&p);
        close_set(s);
    }
}

/* Every request for memory fails once: a clean ERR_MEMORY, nothing half made (leaks are for the sanitizer). */
static void memory_that_fails(void **state)
{
    (void)state;
    struct set *s = noisy_set(40, 0.9, 9);
    const struct match_opt opt = {
        .kind = CALIBRATE_ISOTONIC, .features = MATCH_ALL, .n_hits = 5, .fit = {.l2 = 1e-3}, .bootstrap = 5};
    const struct review_opt look = {.n = 5};
    struct calibration c, back;
    make_calibration(s, CALIBRATE_ISOTONIC, &c);
    assert_int_equal(calibration_write(scratch(), &c), 0);
    int n_failed[4] = {0};
    for (int what = 0; what < 4; what++)
        for (int at = 1; at < 2000; at++) {
            struct match_split p = {0};
            struct match_model m = {0};
            struct review_item *items = NULL;
            int64_t n;
            int rc;
            if (what == 1)
                assert_int_equal(match_split_open(s, &halves, &p), 0);
            mem_fail_at(at);
            rc = what == 0   ? match_split_open(s, &halves, &p)
                 : what == 1 ? match_fit(s, 0, &p, &opt, &m)
                 : what == 2 ? calibration_read(scratch(), &back)
                             : review_set(s, 7, &look, &items, &n);
            mem_fail_at(0);
            assert_true(rc == 0 || rc == ERR_MEMORY);
            match_split_close(&p);
            match_free(&m);
            mem_free(items);
            if (rc == 0 && what == 2)
                calibration_free(&back);
            if (rc == 0)
                break;
            n_failed[what]++;
        }
    for (int what = 0; what < 4; what++)
        assert_true(n_failed[what] > 5 && n_failed[what] < 1999);
    calibration_free(&c);
    unlink(scratch());
    close_set(s);
}

int main(int argc, char **argv)
{
    (void)argc;
    engine_wait_briefly(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(platt_finds_its_parameters),
        cmocka_unit_test(platt_has_soft_targets),
        cmocka_unit_test(isotonic_pools_by_hand),
        cmocka_unit_test(isotonic_is_the_least_squares_step),
        cmocka_unit_test(bad_scores_are_named),
        cmocka_unit_test(binomial_numbers),
        cmocka_unit_test(risk_is_kept),
        cmocka_unit_test(risk_that_cannot_be_promised),
        cmocka_unit_test(sets_cover),
        cmocka_unit_test(twins_stay_together),
        cmocka_unit_test(p_match_is_honest),
        cmocka_unit_test(file_keeps_everything),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(small_sets),
        cmocka_unit_test(memory_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
