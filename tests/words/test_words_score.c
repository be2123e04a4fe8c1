/* tests/words/test_words_score.c: closed forms against what they stand for: leave-one-out against refits, blocks and
 * Pythagoras against sums, the null against its exact mean, invariances. */
#include "words_made.h"

static bool holes(const int32_t *c)
{
    return (c[0] + 2 * c[1]) % 4 == 1 && c[0] != 0 && c[1] != 0;
}

struct fitted {
    struct words_grid *g;
    struct words_in in;
    struct words *w;
    struct words_scores *s;
};

static struct fitted make(const struct made *m, const struct words_rows *rows, struct words_opt o, int64_t permutations)
{
    struct fitted f = {0};
    OK(words_grid_build(&f.g, rows));
    f.in = made_in(m, f.g);
    OK(words_fit(&f.w, &f.in, &o));
    OK(words_score(&f.s, f.w, &f.in, permutations, 1));
    return f;
}

static void drop(struct fitted *f)
{
    words_scores_free(&f->s);
    words_close(&f->w);
    words_grid_free(&f->g);
}

/* Held-out R2 by fitting without each cell. */
static double by_refits(const struct made *m, const struct fitted *all, struct words_opt o, const double *weight)
{
    double error = 0, base = 0, u[MADE_WIDTH], total = 0;
    for (int64_t c = 0; c < m->cells; c++)
        total += weight ? weight[c] : 1;
    for (int64_t c = 0; c < m->cells; c++) {
        struct made less = *m;
        double w[MADE_CELLS], own = weight ? weight[c] : 1;
        int64_t n = 0;
        for (int64_t i = 0; i < m->cells; i++)
            if (i != c) {
                memcpy(less.code + n * m->k, m->code + i * m->k, (size_t)m->k * sizeof *m->code);
                memcpy(less.x + n * MADE_WIDTH, m->x + i * MADE_WIDTH, MADE_WIDTH * sizeof *m->x);
                w[n++] = weight ? weight[i] : 1;
            }
        less.cells = n;
        struct words_rows rows = made_rows(&less);
        rows.weight = w;
        rows.weighting = WORDS_COUNT;
        struct fitted f = make(&less, &rows, o, 0);
        words_compose(f.w, m->code + c * m->k, u);
        for (int j = 0; j < MADE_WIDTH; j++) {
            double mean = 0, x = (double)m->x[c * MADE_WIDTH + j];
            for (int64_t i = 0; i < n; i++)
                mean += w[i] * (double)less.x[i * MADE_WIDTH + j];
            mean /= total - own;
            error += own * (x - u[j]) * (x - u[j]);
            base += own * (x - mean) * (x - mean);
        }
        drop(&f);
    }
    assert_int_equal(all->s->n_held_out, m->cells);
    return 1 - error / base;
}

static void held_out_is_a_refit(void **state UNUSED)
{
    static const struct words_opt opts[] = {{WORDS_LEAST_SQUARES, 0}, {WORDS_MARGINAL, 0}};
    double weight[MADE_CELLS];
    struct made m;
    for (int i = 0; i < 8; i++) {
        made_set(&m, 2, (const int[]){4, 5}, 0.7, 11 + (uint64_t)i, i & 1 ? holes : NULL);
        struct words_opt o = opts[i >> 1 & 1];
        struct words_rows rows = made_rows(&m);
        for (int64_t c = 0; c < m.cells; c++)
            weight[c] = 1 + (double)(c % 3);
        rows.weight = weight;
        rows.weighting = i & 4 ? WORDS_COUNT : WORDS_EQUAL;
        struct fitted f = make(&m, &rows, o, 0);
        assert_true(fabs(f.s->r2_held_out - by_refits(&m, &f, o, i & 4 ? weight : NULL)) < 1e-6);
        drop(&f);
    }
}

static void blocks_sum(void **state UNUSED)
{
    static const double alpha[9] = {0.5, 0.2, 0.3, 0.1, 0.9, 0.25, 0.25, 0.4, 0.1};
    struct made m;
    made_set(&m, 3, (const int[]){3, 2, 4}, 0.8, 21, NULL);
    for (int weighted = 0; weighted < 2; weighted++) {
        struct words_rows rows = made_rows(&m);
        rows.alpha = weighted ? alpha : NULL;
        struct fitted f = make(&m, &rows, (struct words_opt){0}, 0);
        double sum = 0, main_effects = 0, df = 0, energy = 0;
        assert_int_equal(f.s->n_blocks, 7);
        for (int64_t i = 0; i < 7; i++) {
            sum += f.s->block[i].energy;
            df += f.s->block[i].df;
            if (f.s->block[i].factors == 1 || f.s->block[i].factors == 2 || f.s->block[i].factors == 4)
                main_effects += f.s->block[i].share;
        }
        for (int i = 0; i < 3; i++)
            energy += f.s->factor[i].energy;
        assert_true(fabs(sum - f.s->variance) < 1e-9 * f.s->variance);
        assert_true(df == 23);
        assert_true(fabs(main_effects - f.s->r2) < 1e-9);
        assert_true(fabs(energy + f.s->mean_square - f.s->variance) < 1e-9 * f.s->variance); /* Pythagoras */
        assert_int_equal(f.s->span_rank, 7);
        assert_true(isnan(f.s->factor[0].f) == (weighted == 1));
        drop(&f);
    }
}

static void null_has_its_mean(void **state UNUSED)
{
    struct made m;
    for (int i = 0; i < 2; i++) {
        made_set(&m, 2, (const int[]){6, 7}, 1e3, 31, i ? holes : NULL); /* noise */
        struct words_rows rows = made_rows(&m);
        struct fitted f = make(&m, &rows, (struct words_opt){0}, 400);
        double mean = 0;
        for (int64_t j = 0; j < 400; j++)
            mean += f.s->null_r2[j] / 400;
        assert_true(f.s->null_exact);
        assert_true(fabs(f.s->r2_null - (double)(f.g->rank - 1) / (double)(m.cells - 1)) < 1e-12);
        assert_true(fabs(mean - f.s->r2_null) < 5 * f.s->sd_null / 20);
        assert_true(f.s->p_value > 0.01 && fabs(f.s->z) < 3);
        drop(&f);
        made_set(&m, 2, (const int[]){6, 7}, 0.1, 32, i ? holes : NULL);
        rows = made_rows(&m);
        f = make(&m, &rows, (struct words_opt){0}, 99);
        assert_true(f.s->p_value == 0.01 && f.s->r2 > 0.98);
        drop(&f);
    }
}

/* The same by marginal means and with a ridge: the R2 of a deal that changes nothing is the R2 of the fit. */
static void deals_are_the_fit(void **state UNUSED)
{
    static const struct words_opt opts[] = {{WORDS_LEAST_SQUARES, 0}, {WORDS_LEAST_SQUARES, 2}, {WORDS_MARGINAL, 0}};
    struct made m;
    made_set(&m, 2, (const int[]){2, 2}, 0.5, 41, NULL);
    for (int i = 0; i < 6; i++) {
        m.cells = i < 3 ? 4 : 3;
        struct words_rows rows = made_rows(&m);
        struct fitted f = make(&m, &rows, opts[i % 3], 200);
        bool found = false;
        for (int64_t j = 0; j < 200; j++) /* of 24 deals, some are the fit's own */
            found = found || fabs(f.s->null_r2[j] - f.s->r2) < 1e-6;
        assert_true(found);
        drop(&f);
    }
}

static void invariances(void **state UNUSED)
{
    struct made m, turned;
    made_set(&m, 2, (const int[]){4, 5}, 0.5, 51, holes);
    struct words_rows rows = made_rows(&m);
    struct fitted a = make(&m, &rows, (struct words_opt){0}, 50);
    turned = m;
    for (int64_t c = 0; c < m.cells; c++) /* rows backwards, columns in another order and mirrored */
        for (int j = 0; j < MADE_WIDTH; j++) {
            turned.x[(m.cells - 1 - c) * MADE_WIDTH + MADE_WIDTH - 1 - j] = -m.x[c * MADE_WIDTH + j];
            memcpy(turned.code + (m.cells - 1 - c) * 2, m.code + c * 2, 2 * sizeof *m.code);
        }
    rows = made_rows(&turned);
    struct fitted b = make(&turned, &rows, (struct words_opt){0}, 50);
    assert_true(fabs(a.s->r2 - b.s->r2) < 1e-10);
    assert_true(fabs(a.s->r2_held_out - b.s->r2_held_out) < 1e-9);
    assert_true(fabs(a.s->angle[0].max_cosine - b.s->angle[0].max_cosine) < 1e-7);
    assert_int_equal(a.s->worst[0].cell, b.s->worst[0].cell);
    for (int l = 0; l < 9; l++)
        for (int j = 0; j < MADE_WIDTH; j++)
            assert_true(fabs(a.w->word[l * MADE_WIDTH + j] + b.w->word[l * MADE_WIDTH + MADE_WIDTH - 1 - j]) < 1e-10);
    /* a projection: the compositions are fitted exactly */
    for (int64_t c = 0; c < m.cells; c++) {
        double u[MADE_WIDTH];
        words_compose(a.w, m.code + c * 2, u);
        for (int j = 0; j < MADE_WIDTH; j++)
            turned.x[c * MADE_WIDTH + j] = (float)u[j];
    }
    memcpy(turned.code, m.code, sizeof m.code);
    drop(&b);
    rows = made_rows(&turned);
    b = make(&turned, &rows, (struct words_opt){0}, 0);
    assert_true(b.s->r2 > 1 - 1e-12);
    for (int64_t i = 0; i < 9 * MADE_WIDTH; i++)
        assert_true(fabs(a.w->word[i] - b.w->word[i]) < 1e-5);
    drop(&a);
    drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_out_is_a_refit), cmocka_unit_test(blocks_sum),  cmocka_unit_test(null_has_its_mean),
        cmocka_unit_test(deals_are_the_fit),   cmocka_unit_test(invariances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
