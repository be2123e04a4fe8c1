/* Ranking without labels: Kendall's tau-b against SciPy's, the scores against NumPy's (experiments/rank/small.py,
 * straight from the formulas), pairs that nobody looks at, a planted order that is found, degenerate sets. */
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "kernel/kernel.h"

static const struct eval_opt quick = {.bootstrap = 50};

/* ---- Kendall ---- */

static void tau_is(const double *a, const double *b, int64_t n, double tau, double p)
{
    struct kendall k;
    assert_int_equal(eval_kendall(a, b, n, 0, &k), 0);
    near(k.tau, tau, 1e-13, "tau-b");
    near(k.p, p, 1e-12, "p");
    assert_true(k.exact);
    assert_int_equal(eval_kendall(b, a, n, 0, &k), 0);
    near(k.tau, tau, 1e-13, "tau-b is symmetric");
    near(k.p, p, 1e-12, "and p");
}

static void kendall_is_scipys(void **state UNUSED)
{
    static const double up[4] = {1, 2, 3, 4}, pi[8] = {3, 1, 4, 1.5, 5, 9, 2, 6};
    static const double e[8] = {2, 7, 1, 8, 2.5, 8.5, 1.5, 8.2};
    static const double t1[7] = {1, 2, 2, 3, 4, 4, 5}, t2[7] = {1, 1, 2, 3, 5, 4, 4};
    static const double u1[6] = {1, 1, 2, 2, 3, 3}, u2[6] = {3, 1, 2, 2, 1, 3};
    double x[40], y[40];
    for (int i = 0; i < 40; i++) {
        x[i] = i;
        y[i] = (i * 17) % 41 + i * 0.5;
    }
    tau_is(up, up, 4, 1, 1 / 12.0);
    tau_is(pi, e, 8, 0.285714285714286, 0.398759920634921);
    tau_is(t1, t2, 7, 0.789473684210526, 0.0206349206349206);
    tau_is(u1, u2, 6, 0, 1);
    tau_is(x, y, 40, 0.238461538461538, 0.0304787055937618);
}

/* Many tied entries: a sample of orders; SciPy's own sample of 20,000 gave 0.635. */
static void kendall_samples(void **state UNUSED)
{
    struct kendall k, again;
    double x[12], y[12];
    for (int i = 0; i < 12; i++) {
        x[i] = i * 7 % 13;
        y[i] = i * 5 % 6;
    }
    assert_int_equal(eval_kendall(x, y, 12, 3, &k), 0);
    near(k.tau, 0.12712834523274563, 1e-13, "tau-b");
    near(k.p, 0.635, 0.015, "p");
    assert_false(k.exact);
    assert_int_equal(eval_kendall(x, y, 12, 3, &again), 0);
    assert_true(k.p == again.p);
}

static void kendall_edges(void **state UNUSED)
{
    static const double flat[3] = {1, 1, 1}, up[3] = {1, 2, 3}, down[3] = {3, 2, 1};
    double bad[3] = {1, (double)NAN, 2};
    struct kendall k;
    assert_int_equal(eval_kendall(flat, up, 3, 0, &k), 0);
    assert_true(isnan(k.tau) && isnan(k.p));
    assert_int_equal(eval_kendall(up, up, 1, 0, &k), 0);
    assert_true(isnan(k.tau));
    assert_int_equal(eval_kendall(up, up, 0, 0, &k), 0);
    assert_true(isnan(k.tau));
    assert_int_equal(eval_kendall(up, down, 3, 0, &k), 0);
    near(k.tau, -1, 0, "reversed");
    near(k.p, 1 / 3.0, 1e-15, "two of six orders are as strong");
    assert_int_equal(eval_kendall(up, bad, 3, 0, &k), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "entry 1"));
}

static void orders(void **state UNUSED)
{
    static const double v[5] = {0.2, 0.9, 0.2, 0.5, 0.2};
    static const double high[5] = {4, 1, 4, 2, 4}, low[5] = {2, 5, 2, 4, 2};
    double rank[5];
    rank_order(v, 1, 5, rank);
    assert_memory_equal(rank, high, sizeof rank);
    rank_order(v, -1, 5, rank);
    assert_memory_equal(rank, low, sizeof rank);
}

/* ---- scores ---- */

enum { N = 14, M = 17, D = 5 };

static double entry(int i, int j, int a, int b)
{
    return (double)(float)(((i * a + j * b) * 37 + i * j * 11) % 101 / 50.0 - 1);
}

static struct set *small_set(void)
{
    float x[N * D], y[M * D];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            x[i * D + j] = (float)entry(i, j, 7, 3);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < D; j++)
            y[i * D + j] = (float)(entry(i, j, 7, 3) + 0.6 * entry(i, j, 5, 13));
    return make_set(x, N, y, M, D, NULL, 0);
}

static void free_set(struct set *s)
{
    mem_free(s->path);
    mem_free(s->image.x);
    mem_free(s->text.x);
    mem_free(s->pairs);
    mem_free(s);
}

static void both_ways(const struct rank_scores *s, enum rank_id id, double i2t, double t2i, double tolerance)
{
    near(s->way[id][0].value, i2t, tolerance, rank_name(id));
    near(s->way[id][1].value, t2i, tolerance, rank_name(id));
    near(s->score[id].value, (i2t + t2i) / 2, tolerance, rank_name(id));
}

static void against_numpy(void **state UNUSED)
{
    struct set *s = small_set();
    struct rank_in in = {.set = s};
    struct rank_scores o;
    assert_int_equal(rank_set(&in, &quick, &o), 0);
    near(o.temperature[0], 0.0822721601, 1e-5, "temperature");
    near(o.temperature[1], 0.0855191167, 1e-5, "temperature");
    both_ways(&o, RANK_CYCLE, 0.642857142857, 0.529411764706, 1e-12);
    both_ways(&o, RANK_SPREAD, 0.714285714286, 0.928571428571, 1e-12);
    both_ways(&o, RANK_INVERTED, 0.550396137237, 0.643438111344, 1e-5);
    both_ways(&o, RANK_MAX_P, 0.756882235977, 0.69283788651, 1e-5);
    both_ways(&o, RANK_LEAD, 0.286144447498, 0.264352235658, 1e-11);
    both_ways(&o, RANK_COSINE, 0.897065037108, 0.854612073878, 1e-11);
    both_ways(&o, RANK_UNIFORMITY, -2.56322900924, -2.8510318847, 1e-11);
    both_ways(&o, RANK_EFFECTIVE, 4.59895242885, 4.84842828338, 1e-10);
    near(o.score[RANK_CENTROID].value, 0.0977093296708, 1e-12, "centroid");
    near(o.score[RANK_GAP].value, 0.00248602027841, 1e-13, "gap");
    assert_string_equal(o.temperature_from[0], "the other direction's first answers");
    assert_true(isnan(o.score[RANK_P_MATCH].value) && isnan(o.score[RANK_ADAPTER].value));
    assert_string_equal(o.why[RANK_P_MATCH], "no calibration");
    assert_string_equal(o.why[RANK_ADAPTER], "no adapter");
    assert_true(o.score[RANK_CYCLE].low <= o.score[RANK_CYCLE].value &&
                o.score[RANK_CYCLE].value <= o.score[RANK_CYCLE].high);
    in.temperature = 0.05;
    assert_int_equal(rank_set(&in, &quick, &o), 0);
    both_ways(&o, RANK_INVERTED, 0.574670657422, 0.693801640359, 1e-11);
    both_ways(&o, RANK_MAX_P, 0.872781810646, 0.769708263095, 1e-11);
    assert_string_equal(o.temperature_from[1], "given");
    free_set(s);
}

/* Whatever the pairs say, the scores are the same to the last bit. */
static void pairs_are_not_looked_at(void **state UNUSED)
{
    struct set *s = small_set(), *paired = small_set();
    struct rank_scores a, b;
    mem_free(paired->pairs);
    paired->n_pairs = N;
    paired->pairs = mem_calloc(N, sizeof *paired->pairs);
    for (int i = 0; i < N; i++)
        paired->pairs[i] = (struct set_pair){i, (i * 5 + 3) % M};
    assert_int_equal(rank_set(&(struct rank_in){.set = s}, &quick, &a), 0);
    assert_int_equal(rank_set(&(struct rank_in){.set = paired}, &quick, &b), 0);
    for (int id = 0; id < N_RANKS; id++)
        assert_memory_equal(&a.score[id], &b.score[id], sizeof a.score[id]);
    free_set(s);
    free_set(paired);
}

/* Texts are pictures with noise; the more noise, the worse the model. */
static struct set *noisy_set(double noise, uint64_t seed)
{
    enum { R = 150, W = 16 };
    static float x[R * W], y[R * W];
    struct rng r = rng_stream(seed, RNG_TEST, 7, 0);
    fill_normal(x, R * W, 5);
    for (int i = 0; i < R * W; i++)
        y[i] = x[i] + (float)(noise * rng_normal(&r));
    return make_set(x, R, y, R, W, NULL, -1);
}

static void planted_order_is_found(void **state UNUSED)
{
    enum { K = 5 };
    static const double noise[K] = {0.3, 0.6, 0.9, 1.4, 3};
    static const enum rank_id ids[] = {RANK_CYCLE, RANK_SPREAD, RANK_INVERTED, RANK_MAX_P, RANK_LEAD, RANK_P_MATCH};
    struct calibration cal = {0};
    struct match_split split = {0};
    struct set *first = noisy_set(0.6, 99);
    struct match_opt how = {.kind = CALIBRATE_BETA, .features = MATCH_ALL, .n_hits = 5, .bootstrap = -1};
    double truth[K], x[K];
    struct rank_scores o[K];
    assert_int_equal(match_split_open(first, &(struct match_split_opt){.same = 0.99999, .validation = 1}, &split), 0);
    for (int d = 0; d < 2; d++)
        assert_int_equal(match_fit(first, d, &split, &how, &cal.models[d]), 0);
    for (int k = 0; k < K; k++) {
        struct set *s = noisy_set(noise[k], (uint64_t)k);
        struct retrieval r = {0};
        assert_int_equal(eval_retrieval(s, 0, &(struct eval_opt){.bootstrap = -1}, &r), 0);
        truth[k] = r.recall[0].value;
        retrieval_free(&r);
        assert_int_equal(rank_set(&(struct rank_in){.set = s, .calibration = &cal}, &quick, &o[k]), 0);
        free_set(s);
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct kendall t;
        for (int k = 0; k < K; k++)
            x[k] = o[k].score[ids[i]].value;
        assert_int_equal(eval_kendall(x, truth, K, 0, &t), 0);
        if (t.tau < 0.79)
            fail_msg("%s: tau %g", rank_name(ids[i]), t.tau);
    }
    match_split_close(&split);
    calibration_free(&cal);
    free_set(first);
}

/* ---- edges ---- */

static void a_perfect_and_a_flat_model(void **state UNUSED)
{
    float eye[6 * 6] = {0}, flat[6 * 6];
    struct rank_scores o;
    for (int i = 0; i < 6; i++)
        eye[i * 6 + i] = 1;
    for (int i = 0; i < 36; i++)
        flat[i] = 1;
    struct set *s = make_set(eye, 6, eye, 6, 6, NULL, -1);
    assert_int_equal(rank_set(&(struct rank_in){.set = s}, &quick, &o), 0);
    near(o.score[RANK_CYCLE].value, 1, 0, "cycle");
    near(o.score[RANK_SPREAD].value, 1, 0, "spread");
    near(o.score[RANK_COSINE].value, 1, 1e-12, "cosine");
    near(o.score[RANK_GAP].value, 0, 1e-12, "gap");
    free_set(s);
    s = make_set(flat, 6, flat, 6, 6, NULL, -1);
    assert_int_equal(rank_set(&(struct rank_in){.set = s}, &quick, &o), 0);
    near(o.score[RANK_CYCLE].value, 1, 0, "ties count for the query");
    near(o.score[RANK_SPREAD].value, 1 / 6.0, 1e-15, "one answer for all");
    near(o.score[RANK_MAX_P].value, 1 / 6.0, 1e-9, "max-p");
    near(o.score[RANK_LEAD].value, 0, 0, "lead");
    free_set(s);
}

static void bad_sets(void **state UNUSED)
{
    float x[4] = {1, 0, 0, 1}, zero[4] = {1, 0, 0, 0};
    struct rank_scores o = {.score = {{.value = 42}}};
    struct set *s = make_set(x, 2, x, 0, 2, NULL, 0);
    assert_int_equal(rank_set(&(struct rank_in){.set = s}, &quick, &o), ERR_DATA);
    assert_non_null(strstr(err_text(), "0 texts"));
    free_set(s);
    s = make_set(x, 2, zero, 2, 2, NULL, 0);
    assert_int_equal(rank_set(&(struct rank_in){.set = s}, &quick, &o), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "text"));
    near(o.score[0].value, 42, 0, "nothing is written on failure");
    free_set(s);
    s = make_set(x, 1, x, 1, 2, NULL, -1);
    assert_int_equal(rank_set(&(struct rank_in){.set = s}, &quick, &o), 0);
    near(o.score[RANK_CYCLE].value, 1, 0, "one pair");
    assert_true(isnan(o.score[RANK_UNIFORMITY].value));
    assert_string_equal(o.why[RANK_UNIFORMITY], "too few rows");
    free_set(s);
}

static void memory_runs_out(void **state UNUSED)
{
    struct set *s = small_set();
    struct rank_scores o;
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = rank_set(&(struct rank_in){.set = s}, &(struct eval_opt){.bootstrap = -1}, &o);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
    }
    free_set(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kendall_is_scipys),
        cmocka_unit_test(kendall_samples),
        cmocka_unit_test(kendall_edges),
        cmocka_unit_test(orders),
        cmocka_unit_test(against_numpy),
        cmocka_unit_test(pairs_are_not_looked_at),
        cmocka_unit_test(planted_order_is_found),
        cmocka_unit_test(a_perfect_and_a_flat_model),
        cmocka_unit_test(bad_sets),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
