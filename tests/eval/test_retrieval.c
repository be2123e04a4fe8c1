/* Retrieval and calibration: golden values, the tie rule, many positives, fp32 against double, degenerate sets. */
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "eval/eval_private.h"

static const char *const ways[2] = {"image_to_text", "text_to_image"};

static void check_bins(const json_t *expected, const struct calibration_bin *bins, int n)
{
    assert_int_equal(json_array_size(expected), n);
    for (int b = 0; b < n; b++) {
        const json_t *row = json_array_get(expected, (size_t)b);
        assert_int_equal(json_integer_value(json_array_get(row, 0)), bins[b].n);
        if (bins[b].n == 0) {
            assert_true(isnan(bins[b].accuracy));
            continue;
        }
        near(bins[b].accuracy, json_number_value(json_array_get(row, 1)), 1e-9, "bin accuracy");
        near(bins[b].confidence, json_number_value(json_array_get(row, 2)), 1e-6, "bin confidence");
    }
}

static void check_queries(const struct retrieval *r, const struct st_file *f, const char *way)
{
    char name[64];
    snprintf(name, sizeof name, "rank_strict.%s", way);
    const int32_t *strict = st_find(f, name)->data;
    snprintf(name, sizeof name, "rank_pessimistic.%s", way);
    const int32_t *pessimistic = st_find(f, name)->data;
    snprintf(name, sizeof name, "confidence.%s", way);
    const double *confidence = st_find(f, name)->data;
    for (int64_t q = 0; q < r->n_queries; q++) {
        assert_int_equal(r->queries[q], q);
        assert_int_equal(r->rank[q], strict[q]);
        assert_int_equal(r->rank_pessimistic[q], pessimistic[q]);
        near(r->confidence[q], confidence[q], 1e-8, "confidence");
    }
}

static void golden(void **state)
{
    const char *set = *state;
    struct st_file *f = NULL;
    json_t *expected = golden_metrics(set);
    struct set *s = expected ? golden_set(set, &f) : NULL;
    if (!s) {
        json_decref(expected);
        skip();
    }
    for (int way = 0; way < 2; way++) {
        static const char *const at[3] = {"1", "5", "10"};
        const json_t *e = json_object_get(expected, ways[way]);
        struct retrieval r;
        assert_int_equal(eval_retrieval(s, way, &(struct eval_opt){.bootstrap = 50}, &r), 0);
        for (int k = 0; k < 3; k++) {
            char key[32];
            snprintf(key, sizeof key, "R@%s", at[k]);
            near(r.recall[k].value, golden_number(e, key), 1e-9, key);
            snprintf(key, sizeof key, "R@%s_pessimistic", at[k]);
            near(r.recall_pessimistic[k].value, golden_number(e, key), 1e-9, key);
            snprintf(key, sizeof key, "R@%s_mid_rank", at[k]);
            near(r.recall_mid[k].value, golden_number(e, key), 1e-9, key);
        }
        near(r.mrr.value, golden_number(e, "mean_reciprocal_rank"), 1e-9, "mrr");
        near(r.mean_rank.value, golden_number(e, "mean_rank_1based"), 1e-9, "mean rank");
        near(r.median_rank.value, golden_number(e, "median_rank_1based"), 1e-9, "median rank");
        near((double)r.n_ties, golden_number(e, "queries_with_ties"), 0, "ties");
        near(r.ece.value, golden_number(e, "ece_15_equal_width"), 1e-8, "ece");
        near(r.ece_equal_mass.value, golden_number(e, "ece_10_equal_mass"), 1e-8, "ece, equal mass");
        near(r.nll.value, golden_number(e, "nll"), 1e-8, "nll");
        near(r.brier.value, golden_number(e, "brier"), 1e-8, "brier");
        check_bins(json_object_get(e, "bins_equal_width"), r.bins_width, r.n_bins_width);
        check_bins(json_object_get(e, "bins_equal_mass"), r.bins_mass, r.n_bins_mass);
        check_queries(&r, f, ways[way]);
        assert_true(r.recall[0].low <= r.recall[0].value && r.recall[0].value <= r.recall[0].high);
        assert_true(r.ece.low <= r.ece.value && r.ece.value <= r.ece.high && r.ece.low < r.ece.high);
        assert_true(r.ece_equal_mass.low <= r.ece_equal_mass.value && r.ece_equal_mass.value <= r.ece_equal_mass.high);
        assert_true(r.fitted_temperature.value > 1e-4 && r.fitted_temperature.value < 1);
        retrieval_free(&r);
    }
    set_close(&s);
    st_close(&f);
    json_decref(expected);
}

/* Two positives: rank against the others only; NLL and Brier of their total mass, by hand. */
static void many_positives(void **state)
{
    (void)state;
    const float image[2] = {1, 0}, text[8] = {0.8F, 0.6F, 1, 0, 0.6F, 0.8F, 0, 1};
    const struct set_pair pairs[2] = {{0, 0}, {0, 2}};
    struct set *s = make_set(image, 1, text, 4, 2, pairs, 2);
    struct retrieval r;
    assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.temperature = 0.5, .bootstrap = 10}, &r), 0);
    assert_int_equal(r.n_queries, 1);
    assert_int_equal(r.rank[0], 1);
    double e[4] = {exp(0.8 / 0.5), exp(1 / 0.5), exp(0.6 / 0.5), 1}, z = e[0] + e[1] + e[2] + e[3],
           p = (e[0] + e[2]) / z;
    near(r.nll.value, -log(p), 1e-6, "nll");
    near(r.brier.value, (1 - p) * (1 - p) + (e[1] * e[1] + 1) / (z * z), 1e-6, "brier");
    near(r.confidence[0], e[1] / z, 1e-6, "confidence");
    near(r.ece.value, e[1] / z, 1e-6, "ece of one wrong query");
    retrieval_free(&r);
    assert_int_equal(eval_retrieval(s, 1, NULL, &r), 0);
    assert_int_equal(r.n_queries, 2);
    assert_int_equal(r.n_without, 2);
    assert_int_equal(r.queries[1], 2);
    retrieval_free(&r);
    set_close(&s);
}

/* A gallery above the double path: ranks and ties must be those of double arithmetic. Half of the rows are duplicates.
 */
static void large_gallery_is_exact(void **state)
{
    (void)state;
    enum { N = EXACT_ROWS + 905, Q = 40, D = 24 };
    float *g = mem_alloc((size_t)N * D * sizeof *g), *q = mem_alloc((size_t)Q * D * sizeof *q);
    struct set_pair pairs[Q];
    fill_normal(g, (int64_t)N * D, 1);
    for (int64_t i = 0; i < N / 2; i++)
        memcpy(g + (N - 1 - i) * D, g + i * D, D * sizeof *g);
    for (int64_t i = 0; i < Q; i++) {
        pairs[i] = (struct set_pair){i, i * 37};
        for (int64_t j = 0; j < D; j++) { /* near the positive, with rivals a few 1e-7 away */
            q[i * D + j] = g[i * 37 * D + j] + 0.5F * g[(i * 37 + 1) * D + j];
            g[(i * 37 + 2) * D + j] = g[i * 37 * D + j] * (1 + 3e-7F * (float)((i + j) % 3));
        }
    }
    struct set *s = make_set(q, Q, g, N, D, pairs, Q);
    struct retrieval r;
    struct rows a, b;
    assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.bootstrap = -1}, &r), 0);
    assert_int_equal(rows_open(&a, q, Q, D, "image") | rows_open(&b, g, N, D, "text"), 0);
    for (int64_t i = 0; i < Q; i++) {
        double best = rows_cosine(&a, i, &b, i * 37);
        int32_t above = 0, ties = 0;
        for (int64_t j = 0; j < N; j++) {
            double c = rows_cosine(&a, i, &b, j);
            above += j != i * 37 && c > best + 1e-9;
            ties += j != i * 37 && fabs(c - best) <= 1e-9;
        }
        assert_int_equal(r.rank[i], above);
        assert_int_equal(r.rank_pessimistic[i], above + ties);
    }
    assert_true(isnan(r.recall[0].low));
    assert_true(r.n_ties > 0);
    rows_close(&a);
    rows_close(&b);
    retrieval_free(&r);
    set_close(&s);
    mem_free(g);
    mem_free(q);
}

enum { DRAWN = 3000, CHOICES = 8 };

static void open_drawn(struct fit_rows *f)
{
    *f = (struct fit_rows){.n = DRAWN, .m = CHOICES};
    f->gap = mem_calloc(DRAWN * CHOICES, sizeof *f->gap);
    f->hit = mem_calloc(DRAWN * CHOICES, 1);
    f->correct = mem_calloc(DRAWN, sizeof *f->correct);
}

static void close_drawn(struct fit_rows *f)
{
    mem_free(f->gap);
    mem_free(f->hit);
    mem_free(f->correct);
}

/* n queries whose softmax at tau 0.05 is the truth. */
static void draw_queries(struct fit_rows *f, int n, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    f->filled = n;
    memset(f->hit, 0, DRAWN * CHOICES);
    for (int i = 0; i < n; i++) {
        double s[CHOICES], top = -1, z = 0, u;
        int at = 0, hit = 0;
        for (int j = 0; j < CHOICES; j++) {
            s[j] = 0.1 * rng_normal(&r);
            at = s[j] > top ? j : at;
            top = fmax(top, s[j]);
        }
        for (int j = 0; j < CHOICES; j++)
            z += exp((s[j] - top) / 0.05);
        u = rng_uniform(&r) * z;
        for (hit = 0; hit < CHOICES - 1; hit++) {
            u -= exp((s[hit] - top) / 0.05);
            if (u <= 0)
                break;
        }
        for (int j = 0; j < CHOICES; j++)
            f->gap[i * CHOICES + j] = (float)(s[j] - top);
        f->hit[i * CHOICES + hit] = 1;
        f->correct[i] = hit == at;
    }
}

/* The fit finds the temperature of the truth, and its interval holds it as often as promised. */
static void temperature_is_found(void **state)
{
    (void)state;
    enum { RUNS = 200 };
    struct fit_rows f;
    struct interval tau, ece;
    int held = 0;
    open_drawn(&f);
    draw_queries(&f, DRAWN, 7);
    assert_int_equal(fit_temperature(&f, 15, 200, 1, &tau, &ece), 0);
    near(tau.value, 0.05, 0.004, "fitted temperature");
    assert_true(tau.low < tau.value && tau.value < tau.high && tau.high - tau.low < 0.01);
    assert_true(ece.value < 0.03 && ece.low <= ece.value && ece.value <= ece.high);
    for (int i = 0; i < RUNS; i++) {
        draw_queries(&f, 150, 100 + (uint64_t)i);
        assert_int_equal(fit_temperature(&f, 15, 200, 1, &tau, &ece), 0);
        held += tau.low <= 0.05 && 0.05 <= tau.high;
    }
    print_message("the interval of the fitted temperature held the truth in %d of %d\n", held, RUNS);
    assert_true(held >= 0.90 * RUNS && held <= 0.99 * RUNS);
    close_drawn(&f);
}

/* Groups of equal mass: the first n mod B are one larger, in the order given, and every query knows its group. */
static void equal_mass_groups(void **state)
{
    (void)state;
    const double confidence[5] = {.5, .1, .2, .3, .4};
    const bool correct[5] = {true, false, true, false, true};
    const int64_t order[5] = {1, 2, 3, 4, 0};
    struct calibration_bin bins[3];
    uint8_t bin_of[5];
    double ece = ece_equal_mass(confidence, correct, order, 5, 3, bins, bin_of); /* .1 .2 | .3 .4 | .5 */
    const uint8_t expected[5] = {2, 0, 0, 1, 1};
    assert_memory_equal(bin_of, expected, sizeof expected);
    assert_int_equal(bins[0].n, 2);
    assert_int_equal(bins[1].n, 2);
    assert_int_equal(bins[2].n, 1);
    near(ece, 2.0 / 5 * .35 + 2.0 / 5 * .15 + 1.0 / 5 * .5, 1e-12, "ece");
    near(bins[1].confidence, .35, 1e-12, "confidence");
}

/* A model that claims c and is right with probability c, c - 5 %, c x 0.8: the interval of the error holds the true
 * error about as often as it says, and always the value beside it. Percentiles of the resampled errors never do so for
 * the first one. */
static void error_interval_covers(void **state)
{
    (void)state;
    enum { N = 400, TRIALS = 150, RESAMPLES = 200, BINS = 15, BIG = 400000 };
    static const struct {
        double factor, offset;
    } models[3] = {{1, 0}, {1, -0.05}, {0.8, 0}};
    static double confidence[N];
    static bool correct[N];
    uint32_t counts[N];
    struct calibration_bin bins[BINS];
    for (int m = 0; m < 3; m++) {
        double truth = 0, gap[BINS] = {0};
        int held = 0;
        struct rng r = rng_stream((uint64_t)m, RNG_TEST, 2, 0);
        for (int i = 0; i < BIG; i++) {
            double c = 1 - pow(rng_uniform(&r), 2);
            int b = (int)ceil(c * BINS) - 1;
            gap[b < 0 ? 0 : b] += (fmax(0, models[m].factor * c + models[m].offset) - c) / BIG;
        }
        for (int b = 0; b < BINS; b++)
            truth += fabs(gap[b]);
        for (int t = 0; t < TRIALS; t++) {
            struct ece_draws e;
            for (int i = 0; i < N; i++) {
                confidence[i] = 1 - pow(rng_uniform(&r), 2);
                correct[i] = rng_uniform(&r) < models[m].factor * confidence[i] + models[m].offset;
            }
            assert_int_equal(ece_draws_open(&e, confidence, correct, N, BINS, RESAMPLES), 0);
            double value = ece_equal_width(confidence, correct, N, BINS, bins, e.bin_of);
            for (int b = 0; b < RESAMPLES; b++) {
                bootstrap_counts(&r, N, counts);
                ece_draws_add(&e, counts);
            }
            struct interval i = ece_interval(&e, value);
            assert_true(i.value == value && 0 <= i.low && i.low <= value && value <= i.high && i.high <= 1);
            held += i.low <= truth && truth <= i.high;
            ece_draws_close(&e);
        }
        print_message("calibration error %.4f: covered in %.3f of the samples\n", truth, (double)held / TRIALS);
        assert_true(held >= 0.88 * TRIALS && held < TRIALS);
    }
}

static void degenerate(void **state)
{
    (void)state;
    const float x[6] = {1, 0, 0, 1, 1, 0}, zero[2] = {0, 0};
    struct retrieval r;
    struct set *s = make_set(x, 0, x, 3, 2, NULL, 0); /* one side empty */
    for (int way = 0; way < 2; way++) {
        assert_int_equal(eval_retrieval(s, way, NULL, &r), 0);
        assert_true(isnan(r.recall[0].value) && isnan(r.ece.value) && isnan(r.fitted_temperature.value));
        json_t *o = retrieval_to_json(&r);
        assert_true(json_is_null(json_object_get(json_object_get(o, "recall"), "1")));
        assert_true(json_is_string(json_object_get(json_object_get(o, "recall"), "why")));
        assert_true(json_is_null(json_object_get(o, "mrr")) && json_is_string(json_object_get(o, "why")));
        json_decref(o);
        retrieval_free(&r);
    }
    set_close(&s);
    s = make_set(x, 1, x, 1, 2, NULL, -1); /* one of each: always right, no temperature to fit */
    assert_int_equal(eval_retrieval(s, 0, NULL, &r), 0);
    near(r.recall[0].value, 1, 0, "recall");
    near(r.confidence[0], 1, 1e-12, "confidence");
    near(r.recall[0].low, 0.025, 1e-12, "one right query proves little");
    near(r.recall[0].high, 1, 0, "upper end");
    assert_true(isnan(r.fitted_temperature.value));
    retrieval_free(&r);
    set_close(&s);
    const float same[6] = {1, 1, 1, 1, 1, 1};
    s = make_set(same, 3, same, 3, 2, NULL, -1); /* all rows equal: ties everywhere */
    assert_int_equal(eval_retrieval(s, 0, NULL, &r), 0);
    near(r.recall[0].value, 1, 0, "strict recall");
    near(r.recall_pessimistic[0].value, 0, 0, "pessimistic recall");
    near(r.nll.value, log(3), 1e-12, "nll");
    assert_int_equal(r.n_ties, 3);
    retrieval_free(&r);
    set_close(&s);
    s = make_set(zero, 1, x, 1, 2, NULL, -1);
    assert_int_equal(eval_retrieval(s, 0, NULL, &r), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "row 0"));
    assert_non_null(strstr(err_text(), "image"));
    set_close(&s);
    s = make_set(x, 1, x, 1, 2, NULL, -1);
    assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.bins_width = 1000}, &r), ERR_USAGE);
    assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.temperature = -1}, &r), ERR_USAGE);
    set_close(&s);
}

static void json_keys(void **state)
{
    (void)state;
    enum { N = 30, D = 6 };
    float x[N * D], y[N * D];
    fill_normal(x, N * D, 3);
    fill_normal(y, N * D, 4);
    for (int i = 0; i < N * D; i++)
        y[i] += x[i];
    struct set *s = make_set(x, N, y, N, D, NULL, -1);
    struct retrieval r, again;
    s->logit_scale = 20;
    assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.seed = 5}, &r), 0);
    assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.seed = 5}, &again), 0);
    near(r.temperature, 0.05, 1e-12, "temperature from the logit scale");
    assert_memory_equal(&r.ece, &again.ece, sizeof r.ece); /* a seed repeats */
    json_t *o = retrieval_to_json(&r);
    static const char *const keys[] = {
        "recall",          "recall_ci", "mrr",         "median_rank",        "ece",        "ece_equal_mass",
        "brier",           "nll",       "temperature", "fitted_temperature", "ece_fitted", "ci",
        "bins_equal_width"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_non_null(json_object_get(o, keys[i]));
    assert_true(json_is_real(json_object_get(json_object_get(o, "recall"), "10")));
    assert_int_equal(json_array_size(json_object_get(json_object_get(o, "recall_ci"), "5")), 2);
    json_decref(o);
    retrieval_free(&r);
    retrieval_free(&again);
    set_close(&s);
}

/* The n-th allocation fails: an error, no leak (the sanitizer build sees), no crash. */
static void out_of_memory(void **state)
{
    (void)state;
    enum { N = 12, D = 4 };
    float x[N * D];
    fill_normal(x, N * D, 9);
    struct set *s = make_set(x, N, x, N, D, NULL, -1);
    int failed = 0;
    for (int64_t n = 1; n < 40; n++) {
        struct retrieval r;
        mem_fail_at(n);
        int rc = eval_retrieval(s, 0, &(struct eval_opt){.bootstrap = 3}, &r);
        mem_fail_at(0);
        failed += rc == ERR_MEMORY;
        if (rc == 0)
            retrieval_free(&r);
        else
            assert_int_equal(rc, ERR_MEMORY);
    }
    assert_true(failed >= 15);
    set_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(golden, "fashionclip1126"),
        cmocka_unit_test_prestate(golden, "subset110"),
        cmocka_unit_test_prestate(golden, "synthetic160"),
        cmocka_unit_test(many_positives),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(large_gallery_is_exact),
        cmocka_unit_test(equal_mass_groups),
        cmocka_unit_test(error_interval_covers),
        cmocka_unit_test(temperature_is_found),
        cmocka_unit_test(json_keys),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
