/* tests/words/test_words_fit.c: the fit against published fixtures, against vectors that are exactly additive with
 * cells missing, and against its definition with weights. */
#include "words_made.h"

static struct words *fit(const struct words_in *in, enum words_method method, double ridge)
{
    struct words *w = NULL;
    const struct words_opt o = {.method = method, .ridge = ridge};
    OK(words_fit(&w, in, &o));
    return w;
}

/* Largest difference between the cells and their compositions. */
static double worst(const struct made *m, const struct words *w)
{
    double u[MADE_WIDTH], most = 0;
    for (int64_t c = 0; c < m->cells; c++) {
        words_compose(w, m->code + c * m->k, u);
        for (int j = 0; j < MADE_WIDTH; j++)
            most = fmax(most, fabs(u[j] - (double)m->x[c * MADE_WIDTH + j]));
    }
    return most;
}

/* blue, red x car, bike, in R^4 */
static const struct words_factor two[2] = {{"colour", 2, (const char *const[]){"blue", "red"}},
                                           {"thing", 2, (const char *const[]){"car", "bike"}}};
static const int32_t corners[8] = {0, 0, 1, 0, 0, 1, 1, 1};

static void additive_fixture(void **state UNUSED)
{
    static const float x[16] = {1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1};
    const struct words_rows rows = {.n_factors = 2, .factor = two, .n = 4, .code = corners};
    struct words_grid *g = NULL;
    OK(words_grid_build(&g, &rows));
    assert_true(g->complete && g->product);
    assert_int_equal(g->rank, 3);
    const struct words_in in = {.grid = g, .x = x, .n = 4, .width = 4};
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    static const double blue[4] = {.5, -.5, 0, 0}, car[4] = {0, 0, .5, -.5};
    for (int j = 0; j < 4; j++) {
        assert_true(fabs(w->base[j] - 0.5) < 1e-15);
        assert_true(fabs(w->word[j] - blue[j]) < 1e-15);
        assert_true(fabs(w->word[8 + j] - car[j]) < 1e-15);
    }
    assert_int_equal(words_level(w, 1, "bike"), 1);
    assert_int_equal(words_level(w, 0, "bike"), -1);
    words_close(&w);
    words_grid_free(&g);
}

static void one_hot_fixture(void **state UNUSED)
{
    float x[16] = {0};
    const struct words_rows rows = {.n_factors = 2, .factor = two, .n = 4, .code = corners};
    struct words_grid *g = NULL;
    for (int i = 0; i < 4; i++)
        x[5 * i] = 1;
    OK(words_grid_build(&g, &rows));
    const struct words_in in = {.grid = g, .x = x, .n = 4, .width = 4, .unit = true};
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    struct words_scores *s = NULL;
    static const double composed[4] = {.75, .25, .25, -.25};
    double u[4];
    words_compose(w, corners, u);
    for (int j = 0; j < 4; j++)
        assert_true(fabs(u[j] - composed[j]) < 1e-15);
    OK(words_score(&s, w, &in, 23, 0));
    assert_true(fabs(s->r2 - 2.0 / 3) < 1e-12 && fabs(s->r2_null - 2.0 / 3) < 1e-12 && s->null_exact);
    assert_true(fabs(s->mean_square - 0.25) < 1e-12);
    assert_true(s->p_value == 1); /* every deal is as good: no structure at all */
    words_scores_free(&s);
    words_close(&w);
    words_grid_free(&g);
}

static bool holes(const int32_t *c)
{
    return (c[0] + 2 * c[1]) % 3 == 1 && c[0] != 0 && c[1] != 0;
}

static void missing_cells_are_exact(void **state UNUSED)
{
    struct made m;
    struct words_grid *g = NULL;
    made_set(&m, 2, (const int[]){5, 6}, 0, 1, holes);
    struct words_rows rows = made_rows(&m);
    OK(words_grid_build(&g, &rows));
    assert_false(g->complete);
    assert_int_equal(g->rank, 10);
    assert_int_equal(g->components, 1);
    struct words_in in = made_in(&m, g);
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0), *means = fit(&in, WORDS_MARGINAL, 0);
    assert_true(worst(&m, w) < 3e-6);
    assert_true(worst(&m, means) > 0.1); /* what released code does misses */
    const int32_t hidden[2] = {1, 3};    /* a cell that was not there is predicted */
    double u[MADE_WIDTH];
    assert_true(holes(hidden));
    words_compose(w, hidden, u);
    for (int j = 0; j < MADE_WIDTH; j++)
        assert_true(fabs(u[j] - (m.base[j] + m.word[1 * MADE_WIDTH + j] + m.word[8 * MADE_WIDTH + j])) < 3e-6);
    for (int f = 0; f < 2; f++)
        for (int j = 0; j < MADE_WIDTH; j++) {
            double sum = 0;
            for (int64_t l = g->first[f]; l < g->first[f + 1]; l++)
                sum += w->word[l * MADE_WIDTH + j];
            assert_true(fabs(sum) < 1e-12);
        }
    words_close(&means);
    words_close(&w);
    words_grid_free(&g);
}

static bool not_triangle(const int32_t *c)
{
    return !(c[0] + c[1] + c[2] == 0 || (c[0] == 0 && c[1] && c[2]) || (c[0] && c[1] == 0 && c[2]));
}

static bool other_corner(const int32_t *c)
{
    return (c[0] < 2) != (c[1] < 2);
}

static void rank_and_components(void **state UNUSED)
{
    struct made m;
    struct words_grid *g = NULL;
    made_set(&m, 3, (const int[]){2, 2, 2}, 0, 2, not_triangle); /* 000, 011, 101: connected, not identifiable */
    struct words_rows rows = made_rows(&m);
    OK(words_grid_build(&g, &rows));
    assert_int_equal(g->n_cells, 3);
    assert_int_equal(g->components, 1);
    assert_int_equal(g->rank, 3);
    assert_int_equal(g->rank_full, 4);
    words_grid_free(&g);
    made_set(&m, 2, (const int[]){4, 4}, 0, 2, other_corner);
    rows = made_rows(&m);
    OK(words_grid_build(&g, &rows));
    assert_int_equal(g->components, 2);
    assert_int_equal(g->rank, 6);
    struct words_in in = made_in(&m, g);
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    assert_true(w->ridge > 0 && w->ridge == WORDS_SMALL_RIDGE);
    assert_true(worst(&m, w) < 1e-4); /* the cells there are fitted nevertheless */
    words_close(&w);
    words_grid_free(&g);
}

/* Prop. 4's formula, written out. */
static void product_weights(void **state UNUSED)
{
    static const double alpha[7] = {0.5, 0.2, 0.3, 0.1, 0.6, 0.3, 0}; /* the last level has none */
    struct made m;
    struct words_grid *g = NULL;
    made_set(&m, 2, (const int[]){3, 4}, 0.5, 3, NULL);
    struct words_rows rows = made_rows(&m);
    rows.alpha = alpha;
    OK(words_grid_build(&g, &rows));
    assert_int_equal(g->n_used, 9);
    struct words_in in = made_in(&m, g);
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    for (int j = 0; j < MADE_WIDTH; j++) {
        double base = 0, last = 0, first = 0;
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 4; b++)
                base += alpha[a] * alpha[3 + b] * (double)m.x[(a * 4 + b) * MADE_WIDTH + j];
        for (int a = 0; a < 3; a++)
            last += alpha[a] * (double)m.x[(a * 4 + 3) * MADE_WIDTH + j];
        for (int b = 0; b < 4; b++)
            first += alpha[3 + b] * (double)m.x[b * MADE_WIDTH + j];
        assert_true(fabs(w->base[j] - base) < 1e-12);
        assert_true(fabs(w->word[6 * MADE_WIDTH + j] - (last - base)) < 1e-12);
        assert_true(fabs(w->word[j] - (first - base)) < 1e-12);
    }
    words_close(&w);
    words_grid_free(&g);
    double bad[7];
    memcpy(bad, alpha, sizeof bad);
    bad[0] = 0.6;
    rows.alpha = bad;
    assert_int_equal(words_grid_build(&g, &rows), ERR_DATA);
    assert_non_null(strstr(err_text(), "sum to 1.1, expected 1"));
}

/* Two rows a cell are averaged first; a row of weight 0 does not count; a level of weight 0 has a word all the same. */
static void replicates_and_row_weights(void **state UNUSED)
{
    struct made m;
    struct words_grid *g = NULL;
    float x[3 * 12 * MADE_WIDTH];
    int32_t code[3 * 12 * 2];
    double weight[3 * 12];
    made_set(&m, 2, (const int[]){3, 4}, 0, 4, NULL);
    for (int i = 0; i < 36; i++) {
        int c = i % 12;
        memcpy(code + 2 * i, m.code + 2 * c, 2 * sizeof *code);
        weight[i] = i < 24 ? 1 : 0;
        for (int j = 0; j < MADE_WIDTH; j++)
            x[i * MADE_WIDTH + j] = m.x[c * MADE_WIDTH + j] + (i < 12 ? 0.25F : i < 24 ? -0.25F : 100.0F);
        if (m.code[2 * c + 1] == 3) /* level d of the second factor has no weight at all */
            weight[i] = 0;
        if (m.code[2 * c + 1] == 3 && i >= 24)
            memcpy(x + i * MADE_WIDTH, m.x + c * MADE_WIDTH, MADE_WIDTH * sizeof *x);
    }
    struct words_rows rows = {.n_factors = 2, .factor = m.factor, .n = 36, .code = code, .weight = weight};
    OK(words_grid_build(&g, &rows));
    assert_int_equal(g->n_cells, 12);
    assert_int_equal(g->n_used, 9);
    struct words_in in = {.grid = g, .x = x, .n = 36, .width = MADE_WIDTH};
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    assert_true(worst(&m, w) < 1e-5);
    assert_true(w->level_rows[0] == 12 && w->alpha[6] == 0);
    words_close(&w);
    words_grid_free(&g);
}

static void degenerate(void **state UNUSED)
{
    struct made m;
    struct words_grid *g = NULL;
    made_set(&m, 2, (const int[]){1, 4}, 0, 5, NULL); /* a factor of one level: word 0, rank 0 */
    struct words_rows rows = made_rows(&m);
    OK(words_grid_build(&g, &rows));
    struct words_in in = made_in(&m, g);
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    struct words_scores *s = NULL;
    for (int j = 0; j < MADE_WIDTH; j++)
        assert_true(fabs(w->word[j]) < 1e-12);
    OK(words_score(&s, w, &in, 5, 0));
    assert_int_equal(s->factor[1].rank, 3);
    assert_int_equal(s->n_held_out, 0); /* each level is in one cell */
    assert_true(isnan(s->r2_adjusted) && isnan(s->r2_held_out));
    words_scores_free(&s);
    words_close(&w);
    for (int64_t i = 0; i < m.cells * MADE_WIDTH; i++) /* all rows the same vector */
        m.x[i] = 0.5F;
    w = fit(&in, WORDS_LEAST_SQUARES, 0);
    OK(words_score(&s, w, &in, 5, 0));
    assert_true(isnan(s->r2) && isnan(s->p_value) && s->n_blocks == 0);
    json_t *o = words_scores_to_json(s, w, &in);
    assert_true(json_is_null(json_object_get(o, "r2")) && json_is_string(json_object_get(o, "why")));
    json_decref(o);
    words_scores_free(&s);
    words_close(&w);
    const struct words_opt opt = {0};
    m.x[7] = NAN;
    assert_int_equal(words_fit(&w, &in, &opt), ERR_NONFINITE);
    memset(m.x, 0, MADE_WIDTH * sizeof *m.x);
    in.unit = true;
    assert_int_equal(words_fit(&w, &in, &opt), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "row 0 is all zeros"));
    in.n = 3;
    assert_int_equal(words_fit(&w, &in, &opt), ERR_DATA);
    words_grid_free(&g);
}

static void on_disk(void **state UNUSED)
{
    char dir[] = "/tmp/meridian-words-XXXXXX", path[1024];
    struct made m;
    struct words_grid *g = NULL;
    struct words *back = NULL;
    assert_non_null(mkdtemp(dir));
    made_set(&m, 2, (const int[]){3, 4}, 0.1, 6, NULL);
    struct words_rows rows = made_rows(&m);
    OK(words_grid_build(&g, &rows));
    struct words_in in = made_in(&m, g);
    struct words *w = fit(&in, WORDS_LEAST_SQUARES, 0);
    OK(path_join(path, sizeof path, dir, "w"));
    OK(words_write(w, path, false));
    assert_int_equal(words_write(w, path, false), ERR_EXISTS);
    OK(words_open(&back, path));
    assert_int_equal(back->n_levels, 7);
    assert_string_equal(back->factor[1].levels[3], "d");
    for (int64_t i = 0; i < 7 * MADE_WIDTH; i++)
        assert_true(back->word[i] == (double)(float)w->word[i]);
    assert_memory_equal(back->cell, w->cell, 24 * sizeof *w->cell);
    words_close(&back);
    OK(path_join(path, sizeof path, dir, "w/words.json"));
    OK(atomic_put(path, "{\"format\": \"other\", \"version\": 1}", 34));
    OK(path_join(path, sizeof path, dir, "w"));
    assert_int_equal(words_open(&back, path), ERR_DATA);
    words_close(&w);
    words_grid_free(&g);
    OK(path_remove_tree(dir));
}

static void no_memory(void **state UNUSED)
{
    struct made m;
    made_set(&m, 2, (const int[]){5, 6}, 0.1, 7, holes);
    struct words_rows rows = made_rows(&m);
    for (int64_t n = 1;; n++) {
        struct words_grid *g = NULL;
        struct words *w = NULL;
        struct words_scores *s = NULL;
        const struct words_opt o = {0};
        mem_fail_at(n);
        int rc = words_grid_build(&g, &rows);
        struct words_in in = made_in(&m, g);
        if (rc == 0)
            rc = words_fit(&w, &in, &o);
        if (rc == 0)
            rc = words_score(&s, w, &in, 3, 0);
        mem_fail_at(0);
        words_scores_free(&s);
        words_close(&w);
        words_grid_free(&g);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additive_fixture),
        cmocka_unit_test(one_hot_fixture),
        cmocka_unit_test(missing_cells_are_exact),
        cmocka_unit_test(rank_and_components),
        cmocka_unit_test(product_weights),
        cmocka_unit_test(replicates_and_row_weights),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(on_disk),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
