/* OpenAI's ModifiedResNet against values computed by other people's code: states, embeddings, every gradient, both
 * modes of the batch norms. Bars as in test_clip_golden.c. */
#include "golden_check.h"
#include "loss/loss.h"
#include "model/clip.h"

static void open_case(struct golden *g, const char *engine)
{
    golden_name = "clip_rn_tiny";
    golden_open(g, engine);
}

struct run {
    struct tape *tape;
    struct tensor *pixels, *logits, *loss;
};

static struct run forward(struct golden *g)
{
    struct run r;
    struct loss_clip_opt opt;
    const struct loss_kind *kind = loss_find("clip");
    struct model *m = g->m;
    opt_defaults(kind->options, &opt);
    assert_int_equal(params_want_grad(&m->params), 0);
    assert_int_equal(tape_open(&r.tape, m->engine, &(struct tape_opt){.record = true}), 0);
    r.pixels = golden_pixels(r.tape, g, true);
    struct pair_batch b = {.image = model_encode_image(m, r.pixels),
                           .text = model_encode_text(m, r.tape, g->ids, g->n, g->context),
                           .logit_scale = m->logit_scale};
    r.logits = t_mul(t_matmul(b.image, b.text, (struct matmul_opt){.tb = true}), t_exp(t_use(r.tape, m->logit_scale)));
    r.loss = kind->build(&b, &opt);
    assert_int_equal(tape_status(r.tape), 0);
    return r;
}

static void check_states(const char *engine, bool record)
{
    static const char *const layers[] = {"visual.layer1", "visual.layer2", "visual.layer3", "visual.layer4"};
    struct golden g;
    struct tape *t;
    struct resnet_trace trace;
    open_case(&g, engine);
    struct clip *c = g.m->own;
    assert_int_equal(tape_open(&t, g.m->engine, &(struct tape_opt){.record = record}), 0);
    struct tensor *raw = resnet_forward(c->resnet, golden_pixels(t, &g, false), &trace);
    assert_int_equal(tape_status(t), 0);
    golden_state(&g, "visual.stem", trace.stem, 5e-5);
    for (int i = 0; i < 4; i++)
        golden_state(&g, layers[i], trace.layer[i], 5e-5);
    golden_state(&g, "image_embeds_raw", raw, 5e-5);
    golden_state(&g, "text_embeds_raw", clip_encode_text(c, t, g.ids, g.n, g.context, NULL), 5e-5);
    tape_close(&t);
    golden_close(&g);
}

static void test_states(void **state)
{
    check_states("ref", true);
    check_states("ref", false);
    check_states("cpu", true);
    check_states("cpu", false);
}

static void check_gradients(const char *engine, double bar)
{
    struct golden g;
    open_case(&g, engine);
    struct run r = forward(&g);
    golden_state(&g, "logits_per_image", r.logits, 1e-4);
    assert_true(fabs(t_value(r.loss) - 1.7984509161336684) <= 1e-5);
    if (tape_backward(r.loss) < 0)
        fail_msg("%s", err_text());
    int64_t trained = 0;
    for (int64_t k = 0; k < g.m->params.n; k++)
        trained += g.m->params.v[k].kind == PARAM_TRAINED;
    assert_int_equal(golden_gradients(&g, g.gradients, "", bar), trained);
    assert_int_equal(st_count(g.gradients), trained);
    assert_true(golden_distance(g.expected, "grad_pixel_values", g.m->engine->real, r.pixels->grad) <= 1e-4);
    tape_close(&r.tape);
    golden_close(&g);
}

static void test_gradients(void **state)
{
    check_gradients("ref64", 2e-6);
    check_gradients("ref", 1e-4);
    check_gradients("cpu", 1e-4);
}

/* Batch statistics: embeddings, loss, gradients, and the running statistics after exactly one pass. */
static void check_train_mode(const char *engine, double bar)
{
    struct golden g;
    open_case(&g, engine);
    st_close(&g.expected);
    g.expected = golden_file("expected_bn_train_mode.safetensors");
    model_train_mode(g.m, true);
    struct run r = forward(&g);
    golden_state(&g, "logits_per_image", r.logits, 1e-4);
    assert_true(fabs(t_value(r.loss) - 3.1902051092987733) <= 1e-5);
    if (tape_backward(r.loss) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(golden_gradients(&g, g.expected, "grad.", bar), 63);
    const struct params *p = &g.m->params;
    struct st_file *weights = golden_file("model.safetensors");
    int64_t n_buffers = 0;
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        char name[256];
        snprintf(name, sizeof name, "after.%s", q->path);
        if (q->kind == PARAM_COUNTER) {
            int64_t now;
            assert_int_equal(params_export(p, q, p->data, DT_I64, &now), 0);
            assert_int_equal(now, *(const int64_t *)st_find(weights, q->path)->data + 1);
        }
        if (q->kind != PARAM_BUFFER)
            continue;
        double d = golden_distance(g.expected, name, p->real, params_data(p, q));
        if (!(d <= 5e-5))
            fail_msg("%s: %s is off by %g", engine, name, d);
        n_buffers++;
    }
    assert_int_equal(n_buffers, 44);
    st_close(&weights);
    tape_close(&r.tape);
    golden_close(&g);
}

static void test_train_mode(void **state)
{
    check_train_mode("ref64", 2e-6);
    check_train_mode("ref", 1e-4);
    check_train_mode("cpu", 1e-4);
}

/* L2 norms of all gradients in training mode, the large ones too. */
static void test_train_mode_norms(void **state)
{
    struct golden g;
    json_t *expected;
    char path[1024];
    open_case(&g, "ref64");
    golden_path(path, sizeof path, "expected.json");
    assert_int_equal(json_read_file(&expected, path), 0);
    const json_t *norms = json_object_get(expected, "train_mode_gradient_l2");
    model_train_mode(g.m, true);
    struct run r = forward(&g);
    assert_int_equal(tape_backward(r.loss), 0);
    int64_t n_seen = 0;
    for (int64_t k = 0; k < g.m->params.n; k++) {
        const struct param *q = &g.m->params.v[k];
        const json_t *want = json_object_get(norms, q->path);
        if (!want || str_ends(q->path, "k_proj.bias"))
            continue;
        const double *grad = params_grad(&g.m->params, q);
        double sum = 0;
        for (int64_t i = 0; i < q->n; i++)
            sum += grad[i] * grad[i];
        assert_true(fabs(sqrt(sum) - json_real_value(want)) <= 1e-6 * json_real_value(want));
        n_seen++;
    }
    assert_true(n_seen > 100 || n_seen + 1 == (int64_t)json_object_size(norms));
    tape_close(&r.tape);
    json_decref(expected);
    golden_close(&g);
}

/* Off again, the running statistics are used and stay. */
static void test_train_mode_off(void **state)
{
    struct golden g;
    open_case(&g, "cpu");
    model_train_mode(g.m, true);
    model_train_mode(g.m, false);
    char before[65], after[65];
    float image[5 * 20];
    assert_int_equal(model_fingerprint(g.m, before), 0);
    assert_int_equal(model_embed_pixels(g.m, g.pixels, g.n, false, image), 0);
    assert_true(golden_distance(g.expected, "image_embeds", DT_F32, image) <= 5e-5);
    assert_int_equal(model_fingerprint(g.m, after), 0);
    assert_string_equal(before, after);
    golden_close(&g);
}

/* Saved and read again: running statistics and counters too, in OpenAI's and open_clip's layout; HuggingFace has none.
 */
static void test_save(void **state)
{
    struct golden g;
    struct model *again;
    char dir[] = "/tmp/meridian-test-XXXXXX", first[65], second[65];
    open_case(&g, "cpu");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(model_fingerprint(g.m, first), 0);
    assert_int_equal(model_save_as(g.m, dir, DT_F32, LAYOUT_HF), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "ModifiedResNet"));
    for (int l = LAYOUT_OPEN_CLIP; l <= LAYOUT_OPENAI; l++) {
        char sub[1200];
        snprintf(sub, sizeof sub, "%s/%s", dir, layout_name((enum layout)l));
        assert_int_equal(path_make_dirs(sub), 0);
        if (model_save_as(g.m, sub, DT_F32, (enum layout)l) < 0 || model_open(&again, sub, g.m->engine) < 0)
            fail_msg("%s", err_text());
        assert_int_equal(again->layout, l);
        assert_int_equal(model_fingerprint(again, second), 0);
        assert_string_equal(first, second);
        model_close(&again);
    }
    path_remove_tree(dir);
    golden_close(&g);
}

/* Another size of pictures: the grid of the pool's positions follows, and the saved folder says so. */
static void test_other_size(void **state)
{
    struct golden g;
    struct model *m, *again;
    char path[1024], dir[] = "/tmp/meridian-test-XXXXXX", first[65], second[65];
    open_case(&g, "cpu");
    golden_path(path, sizeof path, "");
    assert_non_null(mkdtemp(dir));
    if (model_open_opt(&m, path, &(struct model_opt){.image_size = 96}, g.m->engine) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(m->image_size, 96);
    float *pixels = mem_calloc(3 * 96 * 96, sizeof *pixels), out[20];
    assert_int_equal(model_embed_pixels(m, pixels, 1, false, out), 0);
    assert_int_equal(model_save(m, dir, DT_F32), 0);
    if (model_open(&again, dir, g.m->engine) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(again->image_size, 96);
    assert_int_equal(model_fingerprint(m, first), 0);
    assert_int_equal(model_fingerprint(again, second), 0);
    assert_string_equal(first, second);
    model_close(&m);
    model_close(&again);
    assert_int_equal(model_open_opt(&m, path, &(struct model_opt){.image_size = 100}, g.m->engine), ERR_USAGE);
    mem_free(pixels);
    path_remove_tree(dir);
    golden_close(&g);
}

static void test_memory_failure(void **state)
{
    golden_name = "clip_rn_tiny";
    golden_memory_failure();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),         cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_train_mode),     cmocka_unit_test(test_train_mode_norms),
        cmocka_unit_test(test_train_mode_off), cmocka_unit_test(test_save),
        cmocka_unit_test(test_other_size),     cmocka_unit_test(test_memory_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
