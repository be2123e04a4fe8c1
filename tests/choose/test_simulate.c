/* tests/choose/test_simulate.c: heads trained on parts of a set, and active learning played on sets made here: the same
 * twice, only the pool's labels are looked at, chance against a planted gain, intervals, refusals. */
#include "choose/choose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../scratch.h"

static const struct engine *engine;

static int begin(void **state)
{
    return make_root(state) == 0 && engine_open(&engine, "cpu", 1) == 0 ? 0 : -1;
}

/* ---- sets: texts are the pictures with their numbers moved round by one place ---- */

enum { N = 240, D = 8 };
struct made {
    struct set s;
    float x[N * D], y[N * D];
    struct set_pair pairs[N];
    uint8_t part[N];
};

static void make(struct made *m, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < D; j++) {
            double v = rng_normal(&r);
            m->x[i * D + j] = (float)v;
            m->y[i * D + (j + 1) % D] = (float)(v + 0.3 * rng_normal(&r));
        }
        m->pairs[i] = (struct set_pair){i, i};
        m->part[i] = i < 120 ? PART_TRAIN : i < 160 ? PART_VALIDATION : PART_TEST;
    }
    m->s = (struct set){.path = root,
                        .width = D,
                        .image = {.n = N, .x = m->x},
                        .text = {.n = N, .x = m->y},
                        .n_pairs = N,
                        .pairs = m->pairs,
                        .model = "tiny",
                        .fingerprint = "abc",
                        .data = "",
                        .protocol = ""};
}

struct game {
    struct simulate_opt o;
    struct heads_opt heads;
    struct train_opt train;
    struct loss_clip_opt loss;
    struct adapt_opt refit;
    struct simulate_in in;
    const uint8_t *part[1];
};

static void prepare(struct game *g, const struct made *m)
{
    memset(g, 0, sizeof *g);
    g->o = (struct simulate_opt){.n = 3,
                                 .strategy = {SELECT_RANDOM, SELECT_CORESET, SELECT_MARGIN},
                                 .budget = 15,
                                 .rounds = 2,
                                 .initial = 15,
                                 .seeds = 2,
                                 .spread = 1};
    g->heads = (struct heads_opt){.head = "linear"};
    opt_defaults(train_options, &g->train);
    opt_defaults(loss_find("clip")->options, &g->loss);
    opt_defaults(adapt_options, &g->refit);
    g->train.lr = 0.02;
    g->train.epochs = 5;
    g->loss.temperature = 0.1;
    g->part[0] = m->part;
    g->in = (struct simulate_in){.set = &m->s,
                                 .opt = &g->o,
                                 .heads = &g->heads,
                                 .train = &g->train,
                                 .loss = loss_find("clip"),
                                 .loss_opt = &g->loss,
                                 .engine = engine,
                                 .part = g->part,
                                 .n_parts = 1};
}

static struct simulated play(const struct game *g)
{
    struct simulated r;
    if (simulate_run(&g->in, &r) < 0)
        fail_msg("%s", err_text());
    return r;
}

static size_t n_recall(const struct simulated *r)
{
    return (size_t)(r->n_strategies * r->n_points) * (size_t)r->n_seeds * 2;
}

/* ---- simulation ---- */

static void labels_help(void **state UNUSED)
{
    static struct made m;
    struct game g;
    struct interval recall[3], area, gain;
    make(&m, 1);
    prepare(&g, &m);
    struct simulated r = play(&g), again = play(&g);
    assert_memory_equal(r.recall, again.recall, n_recall(&r) * sizeof(double));
    assert_int_equal(r.n_points, 3);
    assert_int_equal(r.n_pool, 120);
    assert_int_equal(r.n_validation, 40);
    assert_int_equal(r.n_test, 80);
    for (int p = 0; p < 3; p++)
        assert_true(fabs(r.labelled[p] - 15 * (p + 1)) < 1e-9);
    assert_true(simulated_frame(&r, false, 2).value < 0.2);
    assert_true(simulated_frame(&r, true, 2).value > 0.6);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(simulated_measure(&r, k, 2, recall, &area, &gain), 0);
        assert_true(recall[2].value > recall[0].value && recall[0].value > simulated_frame(&r, false, 2).value);
        assert_true(recall[2].low <= recall[2].value && recall[2].value <= recall[2].high);
        assert_true(area.value > recall[0].value && area.value < recall[2].value);
        assert_true(k > 0 || (gain.value == 0 && gain.low == 0 && gain.high == 0));
        /* before the first choice all strategies are one */
        for (int i = 0; i < 4; i++)
            assert_true(r.recall[k * 3 * 4 + i] == r.recall[i]);
    }
    simulated_free(&again);
    simulated_free(&r);
}

/* What is not labelled yet, and whose partner is whose among test pairs, cannot move a choice. */
static void hides_labels(void **state UNUSED)
{
    static struct made m;
    struct game g;
    make(&m, 2);
    prepare(&g, &m);
    g.o.rounds = 1;
    g.o.seeds = 1;
    struct simulated a = play(&g);
    /* the test pairs are made wrong: what was trained is the same, so every strategy loses alike */
    for (int i = 160; i < N; i++)
        m.pairs[i].text = 160 + (i - 160 + 1) % 80;
    struct simulated b = play(&g);
    for (size_t i = 0; i < n_recall(&b); i++)
        assert_true(b.recall[i] < 0.1 && a.recall[i] > 0.1);
    simulated_free(&a);
    simulated_free(&b);
}

static void plays_every_strategy(void **state UNUSED)
{
    static struct made m;
    struct game g;
    make(&m, 3);
    prepare(&g, &m);
    g.o.n = N_SELECTS;
    for (int i = 0; i < N_SELECTS; i++)
        g.o.strategy[i] = (enum select_id)i;
    g.o.rounds = 1;
    g.o.seeds = 1;
    g.refit.method = "pfe";
    g.refit.epochs = 3;
    g.refit.hidden = 8;
    g.in.refit = &g.refit;
    for (int side = 0; side < 2; side++) {
        g.o.side = side;
        g.o.warm = side == 1;
        g.in.n_parts = side == 0; /* once drawn */
        struct simulated r = play(&g);
        for (size_t i = 0; i < n_recall(&r); i++)
            assert_true(r.recall[i] >= 0 && r.recall[i] <= 1);
        assert_true(r.n_pool > 100 && r.n_test > 30 && r.n_validation > 30);
        simulated_free(&r);
    }
}

/* The whole pool, and then nothing is left to choose. */
static void runs_dry(void **state UNUSED)
{
    static struct made m;
    struct game g;
    make(&m, 4);
    prepare(&g, &m);
    g.o.budget = 100;
    g.o.initial = 0;
    g.o.seeds = 1;
    struct simulated r = play(&g);
    assert_true(r.labelled[0] == 0 && r.labelled[1] == 100 && r.labelled[2] == 120);
    for (int k = 0; k < 3; k++) /* with all labels strategies are one again, but for the order of rows */
        assert_true(r.recall[k * 6] == r.start[0] && fabs(r.recall[k * 6 + 4] - r.all[0]) < 0.1);
    simulated_free(&r);
}

static void refuses(void **state UNUSED)
{
    static struct made m;
    struct game g;
    struct simulated r;
    make(&m, 5);
    prepare(&g, &m);
    g.o.strategy[1] = SELECT_UNCERTAINTY;
    assert_int_equal(simulate_run(&g.in, &r), ERR_USAGE);
    assert_non_null(strstr(err_text(), "--adapter"));
    g.in.refit = &g.refit;
    g.o.initial = 0;
    assert_int_equal(simulate_run(&g.in, &r), ERR_USAGE);
    prepare(&g, &m);
    memset(m.part, PART_TRAIN, N);
    assert_int_equal(simulate_run(&g.in, &r), ERR_DATA);
    assert_non_null(strstr(err_text(), "part validation"));
    m.s.n_pairs = 0;
    assert_int_equal(simulate_run(&g.in, &r), ERR_DATA);
    g.o.rounds = 0;
    assert_int_equal(simulate_run(&g.in, &r), ERR_USAGE);
}

/* scipy.stats.t.interval(0.95, n - 1, loc=mean, scale=sem) */
static void student_is_right(void **state UNUSED)
{
    const double x[5] = {1, 2, 4, 4, 7};
    struct interval i = student_interval(x, 5);
    assert_true(fabs(i.value - 3.6) < 1e-12 && fabs(i.low - 0.7414748) < 2e-4 && fabs(i.high - 6.4585252) < 2e-4);
    double y[40];
    for (int k = 0; k < 40; k++)
        y[k] = k % 2;
    i = student_interval(y, 40);
    assert_true(fabs(i.low - 0.3380551) < 1e-5 && fabs(i.high - 0.6619449) < 1e-5);
    i = student_interval(x, 1);
    assert_true(i.value == 1 && isnan(i.low) && isnan(i.high));
    assert_true(isnan(student_interval(x, 0).value));
}

/* ---- heads on parts of a set ---- */

static void heads_of_a_set(void **state UNUSED)
{
    static struct made m;
    struct game g;
    struct heads_result r;
    struct head *h;
    make(&m, 6);
    prepare(&g, &m);
    struct heads_opt o = {.head = "linear", .validation_share = 0.25};
    struct heads_in in = {.set = &m.s,
                          .opt = &o,
                          .train = &g.train,
                          .loss = loss_find("clip"),
                          .loss_opt = &g.loss,
                          .engine = engine,
                          .dir = at("run")};
    g.train.epochs = 30;
    if (heads_train(&in, &r) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(r.n_train + r.n_validation, N);
    assert_int_equal(r.n_validation, 60);
    assert_true(r.after[0] > r.before[0] + 0.3 && r.after[1] > r.before[1] + 0.3);
    assert_true(r.train.best_epoch >= 0);
    assert_true(path_exists(at("run/run.jsonl")) && path_exists(at("run/head.safetensors")));
    assert_int_equal(heads_train(&in, &r), ERR_EXISTS);
    assert_int_equal(head_open(&h, at("run"), engine), 0);
    head_close(&h);
    /* from there, an epoch more */
    char from[600];
    snprintf(from, sizeof from, "%s", at("run"));
    o.from = from;
    in.dir = at("more");
    g.train.epochs = 1;
    double reached = r.after[0];
    assert_int_equal(heads_train(&in, &r), 0);
    assert_true(fabs(r.after[0] - reached) < 0.1);
    o.head = "mlp";
    in.dir = at("other");
    assert_int_equal(heads_train(&in, &r), ERR_USAGE);
    assert_false(path_exists(at("other")));
}

/* The judge's gallery is its own items; pairs that its list leaves out still count as right. */
static void judge_knows_all_pairs(void **state UNUSED)
{
    static struct made m;
    struct judge j;
    struct judged got;
    make(&m, 7);
    memcpy(m.y, m.x, sizeof m.y);
    memcpy(m.x + D, m.x, D * sizeof(float)); /* pictures 0 and 1 are copies: with pairs across, both are right */
    memcpy(m.y + D, m.y, D * sizeof(float));
    static struct set_pair pairs[6] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 2}, {3, 3}};
    const struct set_pair listed[3] = {{0, 0}, {1, 1}, {3, 3}};
    m.s.pairs = pairs;
    m.s.n_pairs = 6;
    assert_int_equal(judge_open(&j, &m.s, listed, 3), 0);
    assert_int_equal(j.part.image.n, 3);
    assert_int_equal(j.part.n_pairs, 5);
    assert_int_equal(judge_run(&j, NULL, &got), 0);
    assert_true(got.recall[0] == 1 && got.recall[1] == 1 && got.mrr == 1);
    judge_close(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_help),
        cmocka_unit_test(hides_labels),
        cmocka_unit_test(plays_every_strategy),
        cmocka_unit_test(runs_dry),
        cmocka_unit_test(refuses),
        cmocka_unit_test(student_is_right),
        cmocka_unit_test(heads_of_a_set),
        cmocka_unit_test(judge_knows_all_pairs),
    };
    return cmocka_run_group_tests_name("adapt simulate", tests, begin, drop_root);
}
