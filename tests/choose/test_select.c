/* tests/choose/test_select.c: choosing rows to label: every strategy against its definition written out, copies, rounds,
 * refusals, no memory. */
#include "choose/select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 60, D = 5, TEXTS = 9 };

struct made {
    struct set s;
    float x[N * D], y[TEXTS * D];
    int64_t pool[N];
};

static void make(struct made *m, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int i = 0; i < N * D; i++)
        m->x[i] = (float)rng_normal(&r);
    for (int i = 0; i < TEXTS * D; i++)
        m->y[i] = (float)rng_normal(&r);
    for (int i = 0; i < N; i++)
        m->pool[i] = i;
    m->s = (struct set){.path = "made",
                        .width = D,
                        .image = {.n = N, .x = m->x},
                        .text = {.n = TEXTS, .x = m->y},
                        .model = "tiny",
                        .fingerprint = "abc",
                        .data = "",
                        .protocol = ""};
}

static struct select_in input(const struct made *m)
{
    return (struct select_in){.set = &m->s, .side = SIDE_IMAGE, .pool = m->pool, .n_pool = N};
}

static double cosine(const float *a, const float *b)
{
    return space_dot(a, b, D) / sqrt(space_dot(a, a, D) * space_dot(b, b, D));
}

static int64_t choose(const struct select_in *in, enum select_id what, int64_t budget, struct select_row *out)
{
    int64_t n = -1;
    const struct select_opt o = {.strategy = what, .budget = budget, .temperature = 0.2, .seed = 3};
    if (select_rows(in, &o, out, &n) < 0)
        fail_msg("%s: %s", select_name((int)what), err_text());
    return n;
}

/* ---- scores against their definitions ---- */

static double by_hand(const struct made *m, enum select_id what, int64_t row)
{
    double c[TEXTS], sum = 0, entropy = 0, first = -2, second = -2;
    for (int j = 0; j < TEXTS; j++) {
        c[j] = cosine(m->x + row * D, m->y + j * D);
        sum += exp(c[j] / 0.2);
    }
    for (int j = 0; j < TEXTS; j++) {
        double p = exp(c[j] / 0.2) / sum;
        entropy -= p * log(p);
        if (c[j] > first) {
            second = first;
            first = c[j];
        } else if (c[j] > second) {
            second = c[j];
        }
    }
    return what == SELECT_COSINE ? 1 - first : what == SELECT_MARGIN ? second - first : entropy;
}

static void scores_are_theirs(void **state UNUSED)
{
    static const enum select_id all[] = {SELECT_COSINE, SELECT_MARGIN, SELECT_ENTROPY};
    struct made m;
    struct select_row out[N];
    make(&m, 1);
    struct select_in in = input(&m);
    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        assert_int_equal(choose(&in, all[k], N, out), N);
        for (int i = 0; i < N; i++) {
            if (fabs(out[i].score - by_hand(&m, all[k], out[i].row)) > 1e-5)
                fail_msg("%s of row %lld: %g, expected %g", select_name((int)all[k]), (long long)out[i].row,
                         out[i].score, by_hand(&m, all[k], out[i].row));
            assert_true(i == 0 || out[i].score <= out[i - 1].score);
        }
    }
}

/* A copy of the first answer is no rival: the lead is over the best other item. */
static void copies_of_an_answer_do_not_count(void **state UNUSED)
{
    struct made m;
    struct select_row out[N], again[N];
    make(&m, 2);
    struct select_in in = input(&m);
    int64_t gallery[] = {0, 1, 2, 3, 4, 5, 6, 7};
    in.gallery = gallery;
    in.n_gallery = 8;
    choose(&in, SELECT_MARGIN, N, out);
    for (int j = 0; j < D; j++)
        m.y[8 * D + j] = 3 * m.y[j];
    in.gallery = NULL;
    choose(&in, SELECT_MARGIN, N, again);
    for (int i = 0; i < N; i++) {
        assert_int_equal(out[i].row, again[i].row);
        assert_true(fabs(out[i].score - again[i].score) < 1e-6);
    }
}

static void classes_stand_in(void **state UNUSED)
{
    struct made m, c;
    struct select_row out[N], again[N];
    make(&m, 4);
    make(&c, 4);
    struct select_in in = input(&m);
    choose(&in, SELECT_ENTROPY, 7, out);
    m.s.text.n = 0;
    in.classes = &c.s;
    choose(&in, SELECT_ENTROPY, 7, again);
    assert_memory_equal(out, again, 7 * sizeof *out);
    c.s.fingerprint = "other";
    int64_t n;
    const struct select_opt o = {.strategy = SELECT_MARGIN, .budget = 2};
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_MISMATCH);
    in.classes = NULL;
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_DATA);
    assert_non_null(strstr(err_text(), "--classes"));
}

static void takes_given_uncertainty(void **state UNUSED)
{
    struct made m;
    struct select_row out[N];
    double u[N];
    make(&m, 5);
    for (int i = 0; i < N; i++)
        u[i] = (i * 7) % N;
    struct select_in in = input(&m);
    in.uncertainty = u;
    assert_int_equal(choose(&in, SELECT_UNCERTAINTY, 5, out), 5);
    for (int i = 0; i < 5; i++)
        assert_true(out[i].score == N - 1 - i);
}

/* ---- k-centre ---- */

static void coreset_is_greedy(void **state UNUSED)
{
    struct made m;
    struct select_row out[10];
    double far[N];
    make(&m, 6);
    struct select_in in = input(&m);
    const int64_t labelled[2] = {4, 9};
    in.labelled = labelled;
    in.n_labelled = 2;
    assert_int_equal(choose(&in, SELECT_CORESET, 10, out), 10);
    for (int i = 0; i < N; i++)
        far[i] = fmin(1 - cosine(m.x + i * D, m.x + 4 * D), 1 - cosine(m.x + i * D, m.x + 9 * D));
    for (int k = 0; k < 10; k++) {
        int64_t best = 0;
        for (int i = 1; i < N; i++)
            best = far[i] > far[best] ? i : best;
        assert_int_equal(out[k].row, best);
        assert_true(fabs(out[k].score - far[best]) < 1e-5);
        for (int i = 0; i < N; i++)
            far[i] = fmin(far[i], 1 - cosine(m.x + i * D, m.x + best * D));
    }
}

/* Three tight groups: with a budget of three each strategy of the pool's shape takes one of each. */
static void shape_finds_groups(void **state UNUSED)
{
    static const enum select_id all[] = {SELECT_CORESET, SELECT_TYPICAL};
    struct made m;
    struct select_row out[3];
    make(&m, 7);
    struct rng r = rng_stream(1, RNG_TEST, 0, 1);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            m.x[i * D + j] = (float)((j == i % 3 ? 10 : 0) + 0.5 * rng_normal(&r));
    struct select_in in = input(&m);
    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        int seen = 0;
        assert_int_equal(choose(&in, all[k], 3, out), 3);
        for (int i = 0; i < 3; i++)
            seen |= 1 << out[i].row % 3;
        assert_int_equal(seen, 7);
    }
    /* one group is labelled: the other two come first */
    const int64_t labelled[2] = {0, 3};
    in.labelled = labelled;
    in.n_labelled = 2;
    in.pool = m.pool + 4;
    in.n_pool = N - 4;
    assert_int_equal(choose(&in, SELECT_CORESET, 2, out), 2);
    assert_true(out[0].row % 3 && out[1].row % 3 && out[0].row % 3 != out[1].row % 3);
}

/* The surest of all rows are many times the same few; spread takes them apart. */
static void spread_takes_apart(void **state UNUSED)
{
    struct made m;
    struct select_row out[6];
    double u[N], nearest[2];
    make(&m, 8);
    for (int i = 0; i < N; i++) {
        u[i] = i < 20 ? 100 + i : i;
        for (int j = 0; j < D && i < 12; j++)
            m.x[i * D + j] = (float)((j == 0 ? 10 : 0) + 0.05 * i * (j == 1));
    }
    struct select_in in = input(&m);
    in.uncertainty = u;
    for (int k = 0; k < 2; k++) {
        const struct select_opt o = {
            .strategy = SELECT_UNCERTAINTY, .budget = 6, .spread = k ? 3.4 : 1}; /* 21 candidates */
        int64_t n;
        for (int i = 0; i < 12; i++)
            u[i] = 200 + i;
        assert_int_equal(select_rows(&in, &o, out, &n), 0);
        assert_int_equal(n, 6);
        assert_int_equal(out[0].row, 11);
        nearest[k] = 2;
        for (int a = 0; a < 6; a++) {
            assert_true(k == 0 || out[a].row < 20 || out[a].row == N - 1);
            for (int b = 0; b < a; b++)
                nearest[k] = fmin(nearest[k], 1 - cosine(m.x + out[a].row * D, m.x + out[b].row * D));
        }
    }
    assert_true(nearest[1] > 10 * nearest[0]);
}

/* ---- copies, rounds, the same twice ---- */

static void copies_are_chosen_once(void **state UNUSED)
{
    struct made m;
    struct select_row out[N];
    make(&m, 9);
    for (int i = 10; i < N; i++) /* ten rows, six times, in other lengths */
        for (int j = 0; j < D; j++)
            m.x[i * D + j] = m.x[i % 10 * D + j] * (float)(1 + i / 10);
    struct select_in in = input(&m);
    const int64_t labelled[1] = {13}; /* a copy of row 3 */
    in.labelled = labelled;
    in.n_labelled = 1;
    double u[N] = {0};
    in.uncertainty = u;
    for (int what = 0; what < N_SELECTS; what++) {
        int seen = 0;
        if (what == SELECT_BALD || what == SELECT_EPIG)
            continue;
        assert_int_equal(choose(&in, (enum select_id)what, N, out), 9);
        for (int i = 0; i < 9; i++)
            seen |= 1 << out[i].row % 10;
        assert_int_equal(seen, 1023 - 8);
    }
}

static void repeats(void **state UNUSED)
{
    struct made m;
    struct select_row out[3][8];
    make(&m, 10);
    struct select_in in = input(&m);
    double u[N] = {0};
    in.uncertainty = u;
    for (int what = 0; what < N_SELECTS; what++) {
        if (what == SELECT_BALD || what == SELECT_EPIG)
            continue;
        choose(&in, (enum select_id)what, 8, out[0]);
        choose(&in, (enum select_id)what, 8, out[1]);
        for (int i = 0; i < 8; i++)
            assert_true(out[0][i].row == out[1][i].row && out[0][i].score == out[1][i].score);
    }
    const struct select_opt o = {.strategy = SELECT_RANDOM, .budget = 8, .seed = 4};
    int64_t n;
    choose(&in, SELECT_RANDOM, 8, out[0]);
    assert_int_equal(select_rows(&in, &o, out[2], &n), 0);
    int same = 0;
    for (int i = 0; i < 8; i++)
        same += out[0][i].row == out[2][i].row;
    assert_true(same < 8);
}

/* ---- refusals ---- */

static void refuses(void **state UNUSED)
{
    struct made m;
    struct select_row out[4];
    int64_t n = -7;
    enum select_id id;
    make(&m, 11);
    struct select_in in = input(&m);
    struct select_opt o = {.strategy = SELECT_RANDOM, .budget = 0};
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_USAGE);
    o.budget = 4;
    o.strategy = SELECT_UNCERTAINTY;
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_USAGE);
    assert_non_null(strstr(err_text(), "--adapter"));
    o.strategy = SELECT_RANDOM;
    m.pool[3] = N;
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_DATA);
    m.pool[3] = 3;
    memset(m.x + 3 * D, 0, D * sizeof(float));
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "image row 3"));
    m.x[3 * D] = (float)NAN;
    assert_int_equal(select_rows(&in, &o, out, &n), ERR_NONFINITE);
    m.x[3 * D] = 1e30F;
    assert_int_equal(n, -7);
    assert_int_equal(select_rows(&in, &o, out, &n), 0);
    in.n_pool = 0;
    assert_int_equal(select_rows(&in, &o, out, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(select_find("margins", &id), ERR_USAGE);
    assert_non_null(strstr(err_text(), "coreset"));
    for (int i = 0; i < N_SELECTS; i++)
        assert_true(select_find(select_name(i), &id) == 0 && (int)id == i && *select_text(i));
    assert_null(select_name(N_SELECTS));
}

static void survives_no_memory(void **state UNUSED)
{
    struct made m;
    struct select_row out[4];
    make(&m, 12);
    struct select_in in = input(&m);
    for (int what = 0; what < N_SELECTS; what++)
        for (int k = 1; k < 25 && what != SELECT_UNCERTAINTY && what != SELECT_BALD && what != SELECT_EPIG; k++) {
            const struct select_opt o = {.strategy = (enum select_id)what, .budget = 4, .spread = 2};
            int64_t n;
            mem_fail_at(k);
            int rc = select_rows(&in, &o, out, &n);
            mem_fail_at(0);
            assert_true(rc == 0 || rc == ERR_MEMORY);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_theirs),
        cmocka_unit_test(copies_of_an_answer_do_not_count),
        cmocka_unit_test(classes_stand_in),
        cmocka_unit_test(takes_given_uncertainty),
        cmocka_unit_test(coreset_is_greedy),
        cmocka_unit_test(shape_finds_groups),
        cmocka_unit_test(spread_takes_apart),
        cmocka_unit_test(copies_are_chosen_once),
        cmocka_unit_test(repeats),
        cmocka_unit_test(refuses),
        cmocka_unit_test(survives_no_memory),
    };
    return cmocka_run_group_tests_name("adapt select", tests, NULL, NULL);
}
