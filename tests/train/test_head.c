/* Heads over saved vectors: the identity at the start, four steps against values of PyTorch 1.13 (AdamW, cosine, CLIP's
 * loss at temperature 0.2, in double), a planted rotation is found, files, refusals. */
#include "train/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../made_set.h"

static const struct engine *cpu, *ref64;

static int begin(void **state)
{
    return make_root(state) == 0 && engine_open(&cpu, "cpu", 1) == 0 && engine_open(&ref64, "ref64", 1) == 0 ? 0 : -1;
}

/* Texts are the pictures with their numbers moved round by one place. */
static void plant(struct made *m, int64_t n, int64_t d)
{
    struct rng r = rng_stream(5, RNG_TEST, 0, 0);
    make(m, n, d);
    for (int64_t i = 0; i < n * d; i++)
        m->x[i] = (float)rng_normal(&r);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            m->y[i * d + (j + 1) % d] = m->x[i * d + j];
}

static struct train_opt options(void)
{
    struct train_opt o;
    opt_defaults(train_options, &o);
    o.lr = 0.02;
    o.epochs = 30;
    o.batch = 32;
    return o;
}

static struct loss_clip_opt clip(void)
{
    struct loss_clip_opt o;
    opt_defaults(loss_find("clip")->options, &o);
    o.temperature = 0.1;
    return o;
}

static struct head *fit(const struct made *m, const struct head_design *d, const struct engine *e, int64_t n_pairs,
                        const struct train_opt *o, struct train_result *r)
{
    struct head *h;
    struct loss_clip_opt loss = clip();
    assert_int_equal(head_make(&h, d, e, (uint64_t)o->seed), 0);
    const struct head_job job = {.head = h,
                                 .set = &m->s,
                                 .pairs = m->pairs,
                                 .n_pairs = n_pairs,
                                 .loss = loss_find("clip"),
                                 .loss_opt = &loss,
                                 .opt = o,
                                 .quiet = true};
    if (head_fit(&job, r) < 0)
        fail_msg("%s", err_text());
    return h;
}

/* How many first answers among the texts are right. */
static int64_t hits(const struct head *h, const struct set *s)
{
    struct set mapped;
    int64_t right = 0;
    assert_int_equal(head_set_open(&mapped, h, s, false), 0);
    struct hit *found = mem_calloc((size_t)s->image.n, sizeof *found);
    assert_int_equal(space_topk(mapped.image.x, s->image.n, mapped.text.x, s->text.n, s->width, 1, found), 0);
    for (int64_t i = 0; i < s->image.n; i++)
        right += found[i].row == i;
    mem_free(found);
    head_set_close(&mapped);
    return right;
}

/* ---- tests ---- */

static void starts_as_identity(void **state UNUSED)
{
    struct made m;
    float out[20 * 7];
    plant(&m, 20, 7);
    for (int mlp = 0; mlp < 2; mlp++) {
        struct head *h;
        assert_int_equal(head_make(&h, &(struct head_design){.mlp = mlp, .width = 7}, cpu, 3), 0);
        assert_int_equal(head_design(h)->hidden, 7);
        assert_int_equal(head_apply(h, 1, m.y, 20, out), 0);
        for (int i = 0; i < 20; i++) {
            double norm = sqrt(space_dot(m.y + i * 7, m.y + i * 7, 7));
            for (int j = 0; j < 7; j++)
                assert_true(fabs((double)out[i * 7 + j] - (double)m.y[i * 7 + j] / norm) < 1e-6);
        }
        head_close(&h);
    }
    drop(&m);
}

/* PyTorch's parameters after four steps, of which the first and the last of each tensor are kept here. Like ours, it
 * was told not to decay W1 in the first step, when no gradient reaches it. */
static const double torch_linear[2][4] = {{-0.124298530746, 0.102653650618, -0.123239455353, -0.114951179551},
                                          {0.121046175014, -0.00724048656155, 0.123006572342, -0.102593637244}};
static const double torch_mlp[2][8] = {{0.0589609583745, 0.384808257451, 0.0589912552976, 0.0585591876048,
                                        -0.124582110247, 0.124309043139, -0.12439711765, -0.110299450821},
                                       {-0.534618817237, -0.255891727613, 0.0589348574426, 0.0582866997277,
                                        0.123865535956, 0.12386337134, 0.124619068993, -0.124168734087}};
static const double torch_loss[2] = {2.209392114734315, 2.4253742634176976};

static void check_tensor(const struct tensor *t, const double *expected)
{
    const double *x = t->data;
    if (fabs(x[0] - expected[0]) > 1e-9 || fabs(x[t->n - 1] - expected[1]) > 1e-9)
        fail_msg("%s: %.12g ... %.12g, expected %.12g ... %.12g", t->name, x[0], x[t->n - 1], expected[0], expected[1]);
}

static void agrees_with_torch(void **state UNUSED)
{
    enum { N = 6, D = 3, H = 4 };
    struct made m;
    struct train_opt o = options();
    struct loss_clip_opt loss = clip();
    struct train_result r;
    make(&m, N, D);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++) {
            m.x[i * D + j] = (float)sin(1 + 3 * i + j * 1.7);
            m.y[i * D + j] = (float)cos(0.3 + 2 * i - j * 0.9);
        }
    loss.temperature = 0.2;
    o.batch = N;
    o.epochs = 4;
    o.lr = 0.05;
    o.weight_decay = 0.1;
    o.clip_norm = 0;
    for (int mlp = 0; mlp < 2; mlp++) {
        struct head *h;
        assert_int_equal(head_make(&h, &(struct head_design){.mlp = mlp, .width = D, .hidden = H}, ref64, 0), 0);
        for (int side = 0; side < 2 && mlp; side++)
            for (int i = 0; i < H; i++)
                for (int j = 0; j < D; j++)
                    ((double *)h->side[side].in.w.data)[i * D + j] = 0.5 * sin(5 * side + i + 2 * j);
        const struct head_job job = {.head = h,
                                     .set = &m.s,
                                     .pairs = m.pairs,
                                     .n_pairs = N,
                                     .loss = loss_find("clip"),
                                     .loss_opt = &loss,
                                     .opt = &o,
                                     .quiet = true};
        assert_int_equal(head_fit(&job, &r), 0);
        assert_int_equal(r.steps, 4);
        assert_true(fabs(r.final_loss - torch_loss[mlp]) < 1e-9);
        for (int side = 0; side < 2; side++) {
            const struct head_side *s = &h->side[side];
            if (mlp) {
                check_tensor(&s->in.w, torch_mlp[side]);
                check_tensor(&s->in.b, torch_mlp[side] + 2);
                check_tensor(&s->back.w, torch_mlp[side] + 4);
                check_tensor(&s->back.b, torch_mlp[side] + 6);
            } else {
                check_tensor(&s->map.w, torch_linear[side]);
                check_tensor(&s->map.b, torch_linear[side] + 2);
            }
        }
        head_close(&h);
    }
    drop(&m);
}

static void finds_rotation(void **state UNUSED)
{
    struct made m;
    struct train_result r[2];
    struct train_opt o = options();
    plant(&m, 200, 16);
    for (int mlp = 0; mlp < 2; mlp++) {
        struct head_design d = {.mlp = mlp, .width = 16, .hidden = 32};
        struct head *h[2];
        for (int k = 0; k < 2; k++)
            h[k] = fit(&m, &d, cpu, 120, &o, &r[k]); /* the last 80 pairs are not shown */
        assert_true(hits(h[0], &m.s) > 160);
        assert_int_equal(r[0].steps, 30 * 4);
        assert_memory_equal(h[0]->params.data, h[1]->params.data, (size_t)h[0]->params.n_slab * sizeof(float));
        head_close(&h[0]);
        head_close(&h[1]);
    }
    drop(&m);
}

/* Rows that no pair names may be anything. */
static void looks_at_its_pairs_only(void **state UNUSED)
{
    struct made m;
    struct train_result r;
    struct train_opt o = options();
    struct head_design d = {.width = 6};
    plant(&m, 40, 6);
    struct head *a = fit(&m, &d, cpu, 25, &o, &r);
    m.x[30 * 6] = (float)NAN;
    memset(m.y + 35 * 6, 0, 6 * sizeof(float));
    struct head *b = fit(&m, &d, cpu, 25, &o, &r);
    assert_memory_equal(a->params.data, b->params.data, (size_t)a->params.n_slab * sizeof(float));
    head_close(&a);
    head_close(&b);
    drop(&m);
}

/* Decay draws to the identity. */
static void decays_to_identity(void **state UNUSED)
{
    struct made m;
    struct train_result r;
    struct train_opt o = options();
    double size[2];
    plant(&m, 60, 6);
    for (int k = 0; k < 2; k++) {
        o.weight_decay = k ? 10 : 0;
        struct head *h = fit(&m, &(struct head_design){.width = 6}, cpu, 60, &o, &r);
        size[k] = h->engine->sum_squares(h->engine, h->side[0].map.w.data, 36);
        head_close(&h);
    }
    assert_true(size[1] < 0.5 * size[0]);
    drop(&m);
}

static int judge_by_epoch(void *ctx, const struct head *h, int64_t epoch, json_t *event, double *score)
{
    double *best = ctx; /* the epoch that is to win */
    assert_non_null(h);
    json_object_set_new(event, "mine", json_integer(epoch));
    *score = -fabs((double)epoch - *best);
    return 0;
}

static void keeps_the_best(void **state UNUSED)
{
    struct made m;
    struct train_result r;
    struct train_opt o = options();
    struct loss_clip_opt loss = clip();
    const double wanted[3] = {-1, 2, 4};
    plant(&m, 50, 6);
    o.epochs = 5;
    for (int k = 0; k < 3; k++) {
        struct head *h, *start;
        struct str log = {0};
        double best = wanted[k];
        assert_int_equal(head_make(&h, &(struct head_design){.width = 6}, cpu, 0), 0);
        assert_int_equal(head_make(&start, &(struct head_design){.width = 6}, cpu, 0), 0);
        const struct head_job job = {.head = h,
                                     .set = &m.s,
                                     .pairs = m.pairs,
                                     .n_pairs = 50,
                                     .loss = loss_find("clip"),
                                     .loss_opt = &loss,
                                     .opt = &o,
                                     .judge = judge_by_epoch,
                                     .ctx = &best,
                                     .log = &log,
                                     .quiet = true};
        assert_int_equal(head_fit(&job, &r), 0);
        assert_int_equal(r.best_epoch, (int64_t)wanted[k]);
        assert_true(r.best == 0);
        assert_int_equal(memcmp(h->params.data, start->params.data, (size_t)h->params.n_slab * sizeof(float)) == 0,
                         k == 0);
        assert_non_null(strstr(log.s, "\"mine\": 4"));
        int lines = 0;
        for (const char *c = log.s; *c; c++)
            lines += *c == '\n';
        assert_int_equal(lines, 6);
        str_free(&log);
        head_close(&start);
        head_close(&h);
    }
    drop(&m);
}

static void goes_through_files(void **state UNUSED)
{
    struct made m;
    struct train_result r;
    struct train_opt o = options();
    plant(&m, 60, 8);
    for (int mlp = 0; mlp < 2; mlp++) {
        struct head *h = fit(&m, &(struct head_design){.mlp = mlp, .width = 8, .hidden = 5}, cpu, 60, &o, &r), *again;
        struct set through[2];
        assert_int_equal(path_make_dirs(at("run")), 0);
        assert_int_equal(head_save(h, &m.s, at("run"), NULL), 0);
        if (head_open(&again, at("run"), cpu) < 0)
            fail_msg("%s", err_text());
        assert_memory_equal(h->params.data, again->params.data, (size_t)h->params.n_slab * sizeof(float));
        assert_int_equal(head_check_set(again, &m.s, false), 0);
        assert_int_equal(head_set_open(&through[0], h, &m.s, true), 0);
        assert_int_equal(head_set_open(&through[1], again, &m.s, true), 0);
        assert_memory_equal(through[0].text.x, through[1].text.x, 60 * 8 * sizeof(float));
        assert_string_equal(through[0].fingerprint, through[1].fingerprint);
        assert_string_not_equal(through[0].fingerprint, m.s.fingerprint);
        assert_string_equal(through[0].model, mlp ? "tiny + mlp head" : "tiny + linear head");
        assert_true(through[0].unit);
        head_set_close(&through[0]);
        head_set_close(&through[1]);
        m.s.fingerprint = "other";
        assert_int_equal(head_check_set(again, &m.s, false), ERR_MISMATCH);
        assert_int_equal(head_check_set(again, &m.s, true), 0);
        m.s.fingerprint = "abc";
        m.s.width = 4;
        assert_int_equal(head_check_set(again, &m.s, true), ERR_MISMATCH);
        m.s.width = 8;
        head_close(&again);
        head_close(&h);
    }
    drop(&m);
}

static void put(const char *name, const char *text)
{
    assert_int_equal(atomic_put(at(name), text, strlen(text)), 0);
}

static void refuses(void **state UNUSED)
{
    struct made m;
    struct head *h = NULL;
    struct train_result r;
    struct train_opt o = options();
    struct loss_clip_opt loss = clip();
    plant(&m, 10, 4);
    assert_int_equal(head_make(&h, &(struct head_design){.width = 0}, cpu, 0), ERR_USAGE);
    assert_int_equal(head_make(&h, &(struct head_design){.width = 4}, cpu, 0), 0);
    struct head_job job = {.head = h,
                           .set = &m.s,
                           .pairs = m.pairs,
                           .n_pairs = 1,
                           .loss = loss_find("clip"),
                           .loss_opt = &loss,
                           .opt = &o,
                           .quiet = true};
    assert_int_equal(head_fit(&job, &r), ERR_USAGE);
    job.n_pairs = 10;
    m.x[3 * 4] = (float)INFINITY;
    assert_int_equal(head_fit(&job, &r), ERR_NONFINITE);
    assert_non_null(strstr(err_text(), "image row 3"));
    memset(m.x + 12, 0, 4 * sizeof(float));
    assert_int_equal(head_fit(&job, &r), ERR_NONFINITE);
    m.x[12] = 1e30F; /* finite: has a direction */
    assert_int_equal(head_fit(&job, &r), 0);
    m.pairs[2].text = 99;
    assert_int_equal(head_fit(&job, &r), ERR_DATA);
    m.pairs[2].text = 2;
    /* files */
    assert_int_equal(head_save(h, &m.s, root, NULL), 0);
    head_close(&h);
    assert_int_equal(head_open(&h, at("nowhere"), cpu) < 0, 1);
    put("head.json", "{\"format\": \"meridian adapter\", \"version\": 1}");
    assert_int_equal(head_open(&h, root, cpu), ERR_DATA);
    put("head.json",
        "{\"format\": \"meridian head\", \"version\": 1, \"head\": \"cubic\", \"width\": 4, \"hidden\": 4}");
    assert_int_equal(head_open(&h, root, cpu), ERR_DATA);
    put("head.json",
        "{\"format\": \"meridian head\", \"version\": 1, \"head\": \"linear\", \"width\": 5, \"hidden\": 4}");
    assert_int_equal(head_open(&h, root, cpu), ERR_DATA);
    put("head.json",
        "{\"format\": \"meridian head\", \"version\": 1, \"head\": \"linear\", \"width\": 1e18, \"hidden\": 4}");
    assert_int_equal(head_open(&h, root, cpu), ERR_DATA);
    assert_null(h);
    drop(&m);
}

/* Any request for memory may fail: an error, and nothing is lost. */
static void survives_no_memory(void **state UNUSED)
{
    struct made m;
    struct train_opt o = options();
    struct loss_clip_opt loss = clip();
    plant(&m, 8, 4);
    o.epochs = 1;
    for (int k = 1; k < 200; k++) {
        struct head *h = NULL;
        struct train_result r;
        mem_fail_at(k);
        int rc = head_make(&h, &(struct head_design){.width = 4}, ref64, 0);
        if (rc == 0) {
            const struct head_job job = {.head = h,
                                         .set = &m.s,
                                         .pairs = m.pairs,
                                         .n_pairs = 8,
                                         .loss = loss_find("clip"),
                                         .loss_opt = &loss,
                                         .opt = &o,
                                         .quiet = true};
            rc = head_fit(&job, &r);
        }
        mem_fail_at(0);
        head_close(&h);
        assert_true(rc == 0 || rc == ERR_MEMORY);
    }
    drop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_as_identity), cmocka_unit_test(agrees_with_torch),
        cmocka_unit_test(finds_rotation),     cmocka_unit_test(looks_at_its_pairs_only),
        cmocka_unit_test(decays_to_identity), cmocka_unit_test(keeps_the_best),
        cmocka_unit_test(goes_through_files), cmocka_unit_test(refuses),
        cmocka_unit_test(survives_no_memory),
    };
    return cmocka_run_group_tests_name("train head", tests, begin, drop_root);
}
