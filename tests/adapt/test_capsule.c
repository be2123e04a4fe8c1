/* tests/adapt/test_capsule.c: ProbVLM's network, its released loss, every gradient and ten steps of Adam against the
 * authors' code (golden/probvlm_tiny). */
#include "adapt/adapter.h"
#include "train/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char folder[1024];

static const char *at(const char *name)
{
    static char path[2][1200];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int find_golden(void **state UNUSED)
{
    const char *base = getenv("MERIDIAN_SHARED");
    snprintf(folder, sizeof folder, "%s/golden/probvlm_tiny", base ? base : "");
    return 0;
}

static void close_to(const struct st_file *f, const char *name, const void *x, enum dtype real, double bar)
{
    const struct st_tensor *t = st_find(f, name);
    if (!t)
        fail_msg("golden tensor %s is missing", name);
    double top = 1e-6, worst = 0;
    size_t n = t->n_bytes / dtype_size(t->dtype);
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < n; i++) {
            double want = t->dtype == DT_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
            double got = real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
            if (turn)
                worst = fabs(got - want) / top > worst || isnan(got) ? fabs(got - want) / top : worst;
            else
                top = fmax(top, fabs(want));
        }
    if (!(worst <= bar))
        fail_msg("%s: off by %.3g of the largest, at most %.1g", name, worst, bar);
}

static struct tensor *input(struct tape *t, const struct st_file *f, const char *name)
{
    const struct st_tensor *s = st_find(f, name);
    struct tensor *x = s ? t_new(t, s->n_dims, s->shape) : NULL;
    assert_non_null(x);
    assert_int_equal(dtype_convert(tape_engine(t)->real, x->data, s->dtype, s->data, (size_t)x->n), 0);
    return x;
}

static double movement(const struct adapter *a, const struct param *q, const void *before)
{
    double sum = 0;
    for (int64_t i = 0; i < q->n; i++) {
        double d = a->params.real == DT_F64
                       ? ((double *)params_data(&a->params, q))[i] - ((const double *)before)[q->at + i]
                       : (double)((float *)params_data(&a->params, q))[i] - (double)((const float *)before)[q->at + i];
        sum += d * d;
    }
    return sqrt(sum);
}

static void ten_steps(struct adapter *a, struct tape *t, struct st_file *in, const struct adapt_opt *o, double bar)
{
    json_t *train;
    struct optimizer adam;
    struct optimizer_opt opt = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    struct tensor *none[2] = {NULL, NULL};
    assert_int_equal(json_read_file(&train, at("train.json")), 0);
    assert_int_equal(optimizer_open(&adam, &a->params), 0);
    size_t bytes = (size_t)a->params.n_slab * dtype_size(a->params.real);
    void *before = mem_alloc(bytes);
    memcpy(before, a->params.data, bytes);
    for (int step = 0; step <= 10; step++) {
        tape_reset(t);
        params_zero_grad(&a->params);
        struct tensor *x[2] = {input(t, in, "image_embedding"), input(t, in, "text_embedding")};
        struct tensor *loss = a->d.method->loss(a, o, x, none, NULL);
        double want = json_number_value(json_array_get(json_object_get(train, "losses_float64"), (size_t)step));
        assert_true(fabs(t_value(loss) / want - 1) < bar);
        assert_int_equal(tape_backward(loss), 0);
        if (step < 10)
            optimizer_step(&adam, a->engine, &a->params, &opt, json_number_value(json_object_get(train, "lr")), 1);
    }
    for (int64_t k = 0; k < a->params.n; k++) {
        const struct param *q = &a->params.v[k];
        const json_t *row = json_object_get(json_object_get(train, "per_tensor"), q->path);
        double want = json_number_value(json_object_get(row, "delta_l2"));
        if (!(fabs(movement(a, q, before) - want) <= 1e-2 * want))
            fail_msg("%s moved by %g, expected %g", q->path, movement(a, q, before), want);
    }
    mem_free(before);
    optimizer_close(&adam);
    json_decref(train);
}

static void check(const char *engine, double bar)
{
    const struct engine *e;
    struct adapter *a;
    struct tape *t;
    struct st_file *in, *want, *grads, *weights;
    struct ggd_side g[2];
    struct tensor *log_var, *none[2] = {NULL, NULL};
    struct design d = {.method = &method_probvlm,
                       .released = true,
                       .width = 24,
                       .hidden = 16,
                       .image_scale = 1,
                       .text_scale = 1,
                       .unit = 1};
    struct adapt_opt o = {.cross = "sum", .intra = 1, .lambda = 0.1, .t1 = 1, .t2 = 0.05};
    assert_int_equal(engine_open(&e, engine, 1), 0);
    assert_int_equal(st_open(&in, at("inputs.safetensors")), 0);
    assert_int_equal(st_open(&want, at("expected.safetensors")), 0);
    assert_int_equal(st_open(&grads, at("gradients.safetensors")), 0);
    assert_int_equal(st_open(&weights, at("model.safetensors")), 0);
    assert_int_equal(adapter_make(&a, &d, e, NULL), 0);
    struct weight_files w = {.n = 1, .v = &weights, .path = folder};
    assert_int_equal(params_check(&a->params, &w), 0);
    assert_int_equal(params_load(&a->params, &w, false), 0);
    assert_int_equal(params_want_grad(&a->params), 0);
    assert_int_equal(tape_open(&t, e, &(struct tape_opt){.record = true}), 0);
    struct tensor *x[2] = {input(t, in, "image_embedding"), input(t, in, "text_embedding")};
    for (int side = 0; side < 2; side++)
        a->d.method->heads(a, side, x[side], capsule_hidden(a, side, x[side]), NULL, &g[side], &log_var);
    close_to(want, "img_mu", g[0].mean->data, e->real, bar);
    close_to(want, "img_1alpha", g[0].inverse->data, e->real, bar);
    close_to(want, "img_beta", g[0].shape->data, e->real, bar);
    close_to(want, "txt_mu", g[1].mean->data, e->real, bar);
    close_to(want, "txt_1alpha", g[1].inverse->data, e->real, bar);
    close_to(want, "txt_beta", g[1].shape->data, e->real, bar);
    struct tensor *loss = a->d.method->loss(a, &o, x, none, NULL);
    close_to(want, "loss", loss->data, e->real, bar);
    assert_int_equal(tape_backward(loss), 0);
    for (int64_t k = 0; k < a->params.n; k++)
        close_to(grads, a->params.v[k].path, params_grad(&a->params, &a->params.v[k]), e->real,
                 e->real == DT_F64 ? bar : 1e-3);
    ten_steps(a, t, in, &o, e->real == DT_F64 ? 1e-9 : 1e-4);
    tape_close(&t);
    adapt_close(&a);
    st_close(&in);
    st_close(&want);
    st_close(&grads);
    st_close(&weights);
}

static void golden(void **state UNUSED)
{
    if (!path_exists(at("model.safetensors"))) {
        print_message("skipped: no golden/probvlm_tiny (environment MERIDIAN_SHARED)\n");
        skip();
    }
    check("ref64", 3e-7); /* the files hold single precision */
    check("cpu", 1e-4);
}

/* Fifteen given passes: the paper's epistemic variance, and the released one as its authors meant it, a row at a time.
 */
static void golden_passes(void **state UNUSED)
{
    enum { M = 15, N = 8 * 16 };
    char path[1200], name[128];
    struct st_file *in, *want;
    const char *base = getenv("MERIDIAN_SHARED");
    snprintf(path, sizeof path, "%s/golden/losses/inputs.safetensors", base ? base : "");
    if (!path_exists(path)) {
        print_message("skipped: no golden/losses (environment MERIDIAN_SHARED)\n");
        skip();
    }
    assert_int_equal(st_open(&in, path), 0);
    snprintf(path, sizeof path, "%s/golden/losses/expected.safetensors", base);
    assert_int_equal(st_open(&want, path), 0);
    for (int side = 0; side < 2; side++) {
        static const char *const names[] = {"mu", "1alpha", "beta", "intended_epistemic_sqrt_varu_varmu",
                                            "paper_epistemic_population_variance_of_mu"};
        const double *v[5];
        for (int k = 0; k < 5; k++) {
            snprintf(name, sizeof name, "passes.%s_%s", side ? "txt" : "img", names[k]);
            const struct st_tensor *t = st_find(k < 3 ? in : want, name);
            assert_true(t || (side && k == 4)); /* the paper's is given for pictures */
            v[k] = t ? t->data : NULL;
        }
        for (int i = 0; i < N; i++) {
            struct pass_sums s = {0};
            for (int m = 0; m < M; m++) {
                double mean = v[0][m * N + i] - v[0][i], u = ggd_released_variance(v[1][m * N + i], v[2][m * N + i]);
                s.mean += mean;
                s.mean2 += mean * mean;
                s.var += u;
                s.var2 += u * u;
                s.inverse += v[1][m * N + i];
                s.shape += v[2][m * N + i];
            }
            double aleatoric, epistemic;
            predict_variances(&s, M, true, &aleatoric, &epistemic);
            assert_true(fabs(epistemic - v[3][i]) <= 1e-6 * fabs(v[3][i]) + 1e-12);
            predict_variances(&s, M, false, &aleatoric, &epistemic);
            assert_true(!v[4] || fabs(epistemic - v[4][i]) <= 1e-9 * fabs(v[4][i]) + 1e-15);
        }
    }
    st_close(&in);
    st_close(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(golden_passes)};
    return cmocka_run_group_tests_name("capsule", tests, find_golden, NULL);
}
