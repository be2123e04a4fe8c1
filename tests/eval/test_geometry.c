/* Geometry: golden values, brute force on many-to-many pairs, coverage of the intervals, memory, degenerate sets. */
#include "../space/spectrum.h"
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "eval/eval_private.h"

static void golden(void **state)
{
    const char *set = *state;
    struct st_file *f = NULL;
    json_t *e = golden_metrics(set);
    struct set *s = e ? golden_set(set, &f) : NULL;
    struct geometry g;
    if (!s) {
        json_decref(e);
        skip();
    }
    assert_int_equal(eval_geometry(s, &(struct eval_opt){.bootstrap = 100}, &g), 0);
    const struct {
        const struct interval *found;
        const char *key;
    } list[] = {
        {&g.alignment, "alignment_mean_squared_distance"},
        {&g.relative_alignment[0], "relative_alignment_image_anchor"},
        {&g.relative_alignment[1], "relative_alignment_text_anchor"},
        {&g.uniformity_image, "uniformity_image"},
        {&g.uniformity_text, "uniformity_text"},
        {&g.uniformity_pooled, "uniformity_pooled"},
        {&g.uniformity_cross, "uniformity_cross_all_pairs"},
        {&g.centroid_distance, "centroid_gap"},
        {&g.matched, "mean_cosine_of_pairs"},
        {&g.unmatched, "mean_cosine_of_non_pairs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        near(list[i].found->value, golden_number(e, list[i].key), 1e-9, list[i].key);
        assert_true(list[i].found->low < list[i].found->value && list[i].found->value < list[i].found->high);
    }
    assert_true(g.linear_separability.value > 0.5 && g.linear_separability.value <= 1);
    assert_true(g.effective_rank_pooled.value > 5 && g.effective_rank_pooled.value <= (double)g.width);
    assert_int_equal(g.hist_matched.total, g.n_pairs);
    assert_int_equal(g.hist_unmatched.total, g.n_images * g.n_texts - g.n_pairs);
    int64_t sum = 0;
    for (int b = 0; b < g.hist_unmatched.n_bins; b++) {
        assert_true(g.hist_unmatched.count[b] >= 0);
        sum += g.hist_unmatched.count[b];
    }
    assert_int_equal(sum, g.hist_unmatched.total);
    geometry_free(&g);
    set_close(&s);
    st_close(&f);
    json_decref(e);
}

static double cosine(const float *a, const float *b, int64_t d)
{
    return space_dot(a, b, d) / sqrt(space_dot(a, a, d) * space_dot(b, b, d));
}

/* Several texts an image, several images a text, some rows alone: against the definitions, pair by pair. */
static void many_to_many(void **state)
{
    (void)state;
    enum { NI = 9, NT = 14, D = 5, NP = 12 };
    const struct set_pair pairs[NP] = {{0, 0}, {0, 1}, {0, 5}, {1, 1}, {2, 2}, {2, 9},
                                       {3, 3}, {4, 4}, {5, 1}, {5, 6}, {6, 7}, {7, 8}};
    bool is[NI][NT] = {{false}};
    float x[NI * D], y[NT * D];
    double relative[2] = {0, 0}, unmatched = 0, cross = 0;
    fill_normal(x, NI * D, 1);
    fill_normal(y, NT * D, 2);
    for (int k = 0; k < NP; k++)
        is[pairs[k].image][pairs[k].text] = true;
    for (int i = 0; i < NI; i++)
        for (int t = 0; t < NT; t++) {
            double c = cosine(x + i * D, y + t * D, D);
            unmatched += is[i][t] ? 0 : c / (NI * NT - NP);
            cross += exp(4 * c - 4) / (NI * NT);
        }
    for (int k = 0; k < NP; k++) {
        int64_t i = pairs[k].image, t = pairs[k].text;
        double c = cosine(x + i * D, y + t * D, D), best[2] = {-1, -1};
        for (int64_t j = 0; j < NT; j++)
            best[0] = is[i][j] ? best[0] : fmax(best[0], cosine(x + i * D, y + j * D, D));
        for (int64_t j = 0; j < NI; j++)
            best[1] = is[j][t] ? best[1] : fmax(best[1], cosine(x + j * D, y + t * D, D));
        for (int side = 0; side < 2; side++)
            relative[side] += 2 * (best[side] - c) / NP;
    }
    struct set *s = make_set(x, NI, y, NT, D, pairs, NP);
    struct geometry g;
    assert_int_equal(eval_geometry(s, NULL, &g), 0);
    near(g.relative_alignment[0].value, relative[0], 1e-12, "image anchor");
    near(g.relative_alignment[1].value, relative[1], 1e-12, "text anchor");
    near(g.unmatched.value, unmatched, 1e-12, "unmatched");
    near(g.uniformity_cross.value, log(cross), 1e-12, "cross");
    near(g.matched.value, 1 - g.alignment.value / 2, 1e-12, "matched");
    assert_int_equal(g.hist_unmatched.total, NI * NT - NP);
    geometry_free(&g);
    set_close(&s);
}

/* The fp32 path of large sets against the double path, across block borders. */
static void large_path_agrees(void **state)
{
    (void)state;
    enum { N = EXACT_ROWS + 333, D = 16 };
    float *x = mem_alloc((size_t)N * D * sizeof *x);
    struct rows r;
    struct interval u;
    double sum = 0;
    fill_normal(x, (int64_t)N * D, 5);
    assert_int_equal(rows_open(&r, x, N, D, "image"), 0);
    for (int64_t i = 0; i < N; i++)
        for (int64_t j = 0; j < i; j++)
            sum += exp(4 * rows_cosine(&r, i, &r, j) - 4);
    assert_int_equal(eval_uniformity(x, N, D, &(struct eval_opt){.bootstrap = 20}, &u), 0);
    near(u.value, log(sum / ((double)N * (N - 1) / 2)), 1e-6, "uniformity");
    rows_close(&r);
    mem_free(x);
}

/* Rows around a direction, so that the true values are not at a symmetric special point. */
static void draw_cloud(float *x, int64_t n, int64_t d, uint64_t seed, float shift)
{
    fill_normal(x, n * d, seed);
    for (int64_t i = 0; i < n; i++)
        x[i * d] += shift;
}

/* 95 % intervals must hold the truth (a very large sample) in about 95 % of repeated samples: 1000 of them have a
 * standard error of 0.7 %; the rest of the room down to 90 % is the known optimism of first-order intervals at n = 80.
 */
static void intervals_cover(void **state)
{
    (void)state;
    enum { N = 80, D = 6, TRIALS = 1000, BIG = 4000, STATS = 6 };
    static float x[BIG * D], y[BIG * D];
    static const char *const names[STATS] = {"uniformity image", "pooled",    "cross",
                                             "unmatched",        "alignment", "centroid distance"};
    double truth[STATS] = {0};
    int covered[STATS] = {0};
    for (int trial = -1; trial < TRIALS; trial++) {
        int64_t n = trial < 0 ? BIG : N;
        struct geometry g;
        draw_cloud(x, n, D, (uint64_t)(1000 + 2 * trial), 1.5F);
        draw_cloud(y, n, D, (uint64_t)(1001 + 2 * trial), -0.5F);
        for (int64_t i = 0; i < n * D; i++)
            y[i] = 0.7F * x[i] + 0.7F * y[i];
        for (int64_t i = 0; i < n; i++)
            y[i * D] -= 1.5F;
        struct set *s = make_set(x, n, y, n, D, NULL, -1);
        assert_int_equal(
            eval_geometry(s, &(struct eval_opt){.bootstrap = trial < 0 ? -1 : 300, .seed = (uint64_t)trial}, &g), 0);
        const struct interval *v[STATS] = {&g.uniformity_image, &g.uniformity_pooled, &g.uniformity_cross,
                                           &g.unmatched,        &g.alignment,         &g.centroid_distance};
        for (int k = 0; k < STATS; k++) {
            if (trial < 0)
                truth[k] = v[k]->value;
            else
                covered[k] += v[k]->low <= truth[k] && truth[k] <= v[k]->high;
        }
        geometry_free(&g);
        set_close(&s);
    }
    for (int k = 0; k < STATS; k++) {
        double share = (double)covered[k] / TRIALS;
        print_message("coverage of %s: %.3f\n", names[k], share);
        if (share < 0.90 || share > 0.995)
            fail_msg("%s: covered in %.3f of the samples, expected about 0.95", names[k], share);
    }
}

/* The effect of a row on the effective rank is its derivative: compare with counting one row twice, many rows. */
static void rank_effects(void **state)
{
    (void)state;
    enum { N = 4000, D = 5 };
    float *x = mem_alloc((size_t)(N + 1) * D * sizeof *x);
    double *effect = mem_calloc(N + 1, sizeof *effect), base, more, values[D];
    struct rows r;
    fill_normal(x, N * D, 8);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            x[i * D + j] *= (float)(1 + j);
    assert_int_equal(rows_open(&r, x, N, D, "image"), 0);
    const struct rows *sides[1] = {&r};
    double *effects[1] = {effect};
    assert_int_equal(eval_spectrum(sides, 1, &base, effects, values), 0);
    near(base, space_effective_rank(values, D), 1e-12, "effective rank");
    for (int i = 0; i < 20; i++) {
        memcpy(x + (int64_t)N * D, x + i * D, D * sizeof *x);
        assert_int_equal(spectrum(x, N + 1, D, values), 0);
        more = space_effective_rank(values, D);
        near(more - base, effect[i], 2e-3 * fabs(effect[i]) + 2e-6, "effect");
    }
    rows_close(&r);
    mem_free(x);
    mem_free(effect);
}

static void separability(void **state)
{
    (void)state;
    enum { N = 400, D = 8 };
    float x[N * D], y[N * D];
    struct interval open, closed, again;
    struct rows a, b;
    draw_cloud(x, N, D, 1, 6);
    draw_cloud(y, N, D, 2, -6);
    assert_int_equal(rows_open(&a, x, N, D, "image") | rows_open(&b, y, N, D, "text"), 0);
    assert_int_equal(eval_separability(&a, &b, NULL, &open), 0);
    near(open.value, 1, 0, "open gap");
    rows_close(&a);
    rows_close(&b);
    draw_cloud(x, N, D, 3, 0);
    draw_cloud(y, N, D, 4, 0);
    assert_int_equal(rows_open(&a, x, N, D, "image") | rows_open(&b, y, N / 2, D, "text"),
                     0); /* sides of unequal size */
    assert_int_equal(eval_separability(&a, &b, NULL, &closed), 0);
    near(closed.value, 0.5, 0.15, "no gap");
    assert_true(closed.low < 0.55 && closed.high > 0.45);
    assert_int_equal(eval_separability(&a, &b, NULL, &again), 0);
    assert_memory_equal(&closed, &again, sizeof again);
    rows_close(&a);
    rows_close(&b);
}

/* Peak memory grows by blocks and rows, not by n^2: 12 000 x 64 would need 576 MB for the fp32 matrix alone. */
static void memory_is_bounded(void **state)
{
    (void)state;
    enum { N = 12000, D = 64 };
    struct rusage before, after;
    struct interval u;
    float *x = mem_alloc((size_t)N * D * sizeof *x);
    fill_normal(x, (int64_t)N * D, 6);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(eval_uniformity(x, N, D, NULL, &u), 0);
    getrusage(RUSAGE_SELF, &after);
    mem_free(x);
    assert_true(u.low < u.value && u.value < u.high);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(after.ru_maxrss - before.ru_maxrss < 200 * 1024); /* KiB: blocks, and OpenBLAS's own buffers */
#endif
}

static void expect_null(const json_t *o, const char *key)
{
    assert_true(json_is_null(json_object_get(o, key)));
    assert_non_null(json_string_value(json_object_get(o, "why")));
    assert_non_null(strstr(json_string_value(json_object_get(o, "why")), key));
}

static void degenerate(void **state)
{
    (void)state;
    const float x[24] = {1,   0,   0,   0,   1,   0,   0,   0,   1,   1,   1,   0,
                         .3F, .4F, .5F, .3F, .4F, .5F, .3F, .4F, .5F, .3F, .4F, .5F};
    const float bad[6] = {1, 2, 3, 0, 0, 0};
    for (int n = 0; n <= 2; n++) {
        struct geometry g;
        struct set *s = make_set(x, n, x + 3, n, 3, NULL, n ? -1 : 0);
        assert_int_equal(eval_geometry(s, NULL, &g), 0);
        json_t *o = geometry_to_json(&g), *u = json_object_get(o, "uniformity");
        if (n == 0) {
            expect_null(o, "alignment");
            expect_null(o, "centroid_distance");
            expect_null(u, "cross");
            expect_null(u, "pooled");
        } else {
            near(json_number_value(json_object_get(o, "alignment")), 2, 1e-12, "alignment");
        }
        if (n < 2) {
            expect_null(u, "image");
            expect_null(o, "relative_alignment");
            expect_null(json_object_get(o, "mean_cosine"), "unmatched");
        }
        expect_null(o, "linear_separability");
        assert_true(isnan(g.uniformity_image.low)); /* two rows have no interval */
        json_decref(o);
        geometry_free(&g);
        set_close(&s);
    }
    struct geometry g;
    struct set *s = make_set(x, 4, x, 0, 3, NULL, 0); /* one side empty */
    assert_int_equal(eval_geometry(s, NULL, &g), 0);
    json_t *o = geometry_to_json(&g);
    expect_null(o, "centroid_distance");
    expect_null(json_object_get(o, "uniformity"), "text");
    near(g.uniformity_pooled.value, g.uniformity_image.value, 1e-12, "pooled is the one side");
    json_decref(o);
    geometry_free(&g);
    set_close(&s);
    float same[30];
    for (int i = 0; i < 30; i++)
        same[i] = x[12 + i % 3];
    s = make_set(same, 10, same, 10, 3, NULL, -1); /* all rows equal */
    assert_int_equal(eval_geometry(s, NULL, &g), 0);
    near(g.uniformity_pooled.value, 0, 1e-9, "uniformity");
    near(g.alignment.value, 0, 1e-9, "alignment");
    near(g.centroid_distance.value, 0, 1e-9, "centroid distance");
    near(g.linear_separability.value, 0.5, 1e-9, "separability");
    assert_true(isnan(g.effective_rank_pooled.value));
    o = geometry_to_json(&g);
    expect_null(o, "effective_rank");
    json_decref(o);
    geometry_free(&g);
    set_close(&s);
    s = make_set(x, 1, bad, 2, 3, NULL, 0);
    assert_int_equal(eval_geometry(s, NULL, &g), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "row 1"));
    assert_non_null(strstr(err_text(), "text"));
    set_close(&s);
}

/* Every registered measure stands in the JSON under its key. */
static void registry_matches_json(void **state)
{
    (void)state;
    enum { N = 20, D = 4 };
    float x[N * D], y[N * D];
    struct geometry g;
    struct retrieval r;
    int n = 0;
    fill_normal(x, N * D, 11);
    fill_normal(y, N * D, 12);
    struct set *s = make_set(x, N, y, N, D, NULL, -1);
    assert_int_equal(eval_geometry(s, NULL, &g), 0);
    assert_int_equal(eval_retrieval(s, 0, NULL, &r), 0);
    json_t *geometry = geometry_to_json(&g), *retrieval = retrieval_to_json(&r);
    const struct eval_measure *m = eval_measures(&n);
    for (int i = 0; i < n; i++) {
        char key[64], *dot;
        const json_t *o = strstr(m[i].command, "geometry") ? geometry : retrieval;
        snprintf(key, sizeof key, "%s", m[i].key);
        dot = strchr(key, '.');
        if (dot) {
            *dot = 0;
            o = json_object_get(o, key);
        }
        if (!json_object_get(o, dot ? dot + 1 : key))
            fail_msg("%s: %s is not in the JSON", m[i].command, m[i].key);
    }
    const json_t *ci = json_object_get(geometry, "ci");
    assert_true(json_is_real(json_object_get(geometry, "alignment")));
    assert_int_equal(json_array_size(json_object_get(ci, "alignment")), 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(ci, "uniformity"), "cross")), 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(ci, "mean_cosine"), "unmatched")), 2);
    json_decref(geometry);
    json_decref(retrieval);
    geometry_free(&g);
    retrieval_free(&r);
    set_close(&s);
}

static void out_of_memory(void **state)
{
    (void)state;
    enum { N = 12, D = 4 };
    float x[N * D];
    int failed = 0;
    fill_normal(x, N * D, 9);
    struct set *s = make_set(x, N, x, N, D, NULL, -1);
    for (int64_t n = 1; n < 120; n++) {
        struct geometry g;
        mem_fail_at(n);
        int rc = eval_geometry(s, &(struct eval_opt){.bootstrap = 3}, &g);
        mem_fail_at(0);
        failed += rc == ERR_MEMORY;
        if (rc == 0)
            geometry_free(&g);
        else
            assert_int_equal(rc, ERR_MEMORY);
    }
    assert_true(failed >= 40);
    set_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(golden, "fashionclip1126"),
        cmocka_unit_test_prestate(golden, "subset110"),
        cmocka_unit_test_prestate(golden, "synthetic160"),
        cmocka_unit_test(many_to_many),
        cmocka_unit_test(large_path_agrees),
        cmocka_unit_test(intervals_cover),
        cmocka_unit_test(rank_effects),
        cmocka_unit_test(separability),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(registry_matches_json),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
