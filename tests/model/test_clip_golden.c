/* CLIP against values computed by other people's code: hidden states, embeddings, logits, every gradient. Bars: the
 * README of the golden data (5e-5 absolute for states, 1e-4 for logits, 1e-4 of the largest entry for gradients). */
#include "golden_check.h"
#include "loss/loss.h"

static void check_states(const char *engine, bool record)
{
    struct golden g;
    struct tape *t;
    struct tensor *states[4];
    golden_open(&g, engine);
    assert_int_equal(tape_open(&t, g.m->engine, &(struct tape_opt){.record = record}), 0);
    struct clip *c = g.m->own;
    struct trace trace = {.states = states};
    struct tensor *raw = clip_encode_image(c, golden_pixels(t, &g, false), &trace);
    assert_int_equal(tape_status(t), 0);
    /* In inference a block gives its input's memory back only past the block itself, so every state is still there. */
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "vision.hidden_states.%d", i);
        golden_state(&g, name, states[i], 5e-5);
    }
    golden_state(&g, "vision.pooler_output", trace.pooled, 5e-5);
    golden_state(&g, "image_embeds_raw", raw, 5e-5);
    raw = clip_encode_text(c, t, g.ids, g.n, g.context, &trace);
    assert_int_equal(tape_status(t), 0);
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "text.hidden_states.%d", i);
        golden_state(&g, name, states[i], 5e-5);
    }
    golden_state(&g, "text.last_hidden_state", trace.last_state, 5e-5);
    golden_state(&g, "text.pooler_output", trace.pooled, 5e-5);
    golden_state(&g, "text_embeds_raw", raw, 5e-5);
    tape_close(&t);
    golden_close(&g);
}

static void test_states_ref(void **state)
{
    check_states("ref", true);
    check_states("ref", false);
}
static void test_states_cpu(void **state)
{
    check_states("cpu", true);
    check_states("cpu", false);
}

/* The short cut (trimmed texts, last block for one row) gives the same embeddings. */
static void check_embeds(const char *engine)
{
    struct golden g;
    golden_open(&g, engine);
    float image[6 * 24], text[6 * 24];
    assert_int_equal(model_embed_pixels(g.m, g.pixels, g.n, false, image), 0);
    assert_int_equal(model_embed_ids(g.m, g.ids, g.n, g.context, false, text), 0);
    assert_true(golden_distance(g.expected, "image_embeds", DT_F32, image) <= 5e-5);
    assert_true(golden_distance(g.expected, "text_embeds", DT_F32, text) <= 5e-5);
    golden_close(&g);
}

static void test_embeds_ref(void **state)
{
    check_embeds("ref");
}
static void test_embeds_cpu(void **state)
{
    check_embeds("cpu");
}

static void test_bf16_cosine(void **state)
{
    struct golden g;
    golden_open(&g, "cpu");
    float x[6 * 24];
    for (int side = 0; side < 2; side++) {
        const struct st_tensor *t = st_find(g.expected, side ? "text_embeds" : "image_embeds");
        assert_int_equal(side ? model_embed_ids(g.m, g.ids, g.n, g.context, true, x)
                              : model_embed_pixels(g.m, g.pixels, g.n, true, x),
                         0);
        for (int i = 0; i < 6; i++) {
            double dot = 0;
            for (int j = 0; j < 24; j++)
                dot += (double)x[i * 24 + j] * (double)((const float *)t->data)[i * 24 + j];
            if (!(dot >= 0.999))
                fail_msg("bf16: cosine %g on side %d row %d, expected >= 0.999", dot, side, i);
        }
    }
    golden_close(&g);
}

static void check_gradients(const char *engine, double bar)
{
    struct golden g;
    struct tape *t;
    golden_open(&g, engine);
    struct model *m = g.m;
    assert_int_equal(params_want_grad(&m->params), 0);
    assert_int_equal(tape_open(&t, m->engine, &(struct tape_opt){.record = true}), 0);
    struct tensor *pixels = golden_pixels(t, &g, true);
    struct pair_batch b = {.image = model_encode_image(m, pixels),
                           .text = model_encode_text(m, t, g.ids, g.n, g.context),
                           .logit_scale = m->logit_scale};
    const struct loss_kind *kind = loss_find("clip");
    struct loss_clip_opt opt;
    opt_defaults(kind->options, &opt);
    struct tensor *logits =
        t_mul(t_matmul(b.image, b.text, (struct matmul_opt){.tb = true}), t_exp(t_use(t, m->logit_scale)));
    struct tensor *loss = kind->build(&b, &opt);
    assert_int_equal(tape_status(t), 0);
    golden_state(&g, "logits_per_image", logits, 1e-4);
    assert_true(fabs(t_value(loss) - 2.382963408660909) <= 1e-5);
    if (tape_backward(loss) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(golden_gradients(&g, g.gradients, "", bar), m->params.n);
    double d = golden_distance(g.expected, "grad_pixel_values", m->engine->real, pixels->grad);
    assert_true(d <= 1e-4);
    tape_close(&t);
    golden_close(&g);
}

static void test_gradients_ref64(void **state)
{
    check_gradients("ref64", 2e-6);
}
static void test_gradients_ref(void **state)
{
    check_gradients("ref", 1e-4);
}
static void test_gradients_cpu(void **state)
{
    check_gradients("cpu", 1e-4);
}

/* Saved and opened again: the same vectors in F32, close ones in F16 and BF16; the fingerprint tells models apart. */
static void test_save(void **state)
{
    struct golden g;
    struct model *again;
    char dir[] = "/tmp/meridian-test-XXXXXX", first[65], second[65];
    golden_open(&g, "cpu");
    assert_non_null(mkdtemp(dir));
    enum dtype types[] = {DT_F32, DT_F16, DT_BF16};
    double bars[] = {1e-7, 2e-3, 2e-2};
    float a[6 * 24], b[6 * 24];
    assert_int_equal(model_embed_pixels(g.m, g.pixels, g.n, false, a), 0);
    assert_int_equal(model_fingerprint(g.m, first), 0);
    for (int i = 0; i < 3; i++) {
        if (model_save(g.m, dir, types[i]) < 0 || model_open(&again, dir, g.m->engine) < 0)
            fail_msg("%s", err_text());
        assert_int_equal(model_embed_pixels(again, g.pixels, g.n, false, b), 0);
        for (int j = 0; j < 6 * 24; j++)
            assert_true(fabs((double)(a[j] - b[j])) <= bars[i]);
        assert_int_equal(model_fingerprint(again, second), 0);
        assert_int_equal(strcmp(first, second) == 0, types[i] == DT_F32);
        model_close(&again);
    }
    path_remove_tree(dir);
    golden_close(&g);
}

/* Configurations that lie are refused with file, field, expected and found. */
static void test_bad_config(void **state)
{
    static const struct {
        const char *section, *key;
        int value;
        const char *says;
    } bad[] = {
        {"vision_config", "num_attention_heads", 0, "num_attention_heads"},
        {"vision_config", "num_attention_heads", 7, "divisor"},
        {"vision_config", "patch_size", 0, "patch_size"},
        {"vision_config", "patch_size", 4096, "at most"},
        {"vision_config", "image_size", 1000000, "image_size"},
        {"text_config", "num_hidden_layers", 1000000000, "num_hidden_layers"},
        {"text_config", "vocab_size", -1, "vocab_size"},
        {"text_config", "max_position_embeddings", 0, "max_position_embeddings"},
    };
    char path[1024];
    const struct engine *e;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    golden_path(path, sizeof path, "config.json");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *config;
        struct model *m = NULL;
        assert_int_equal(json_read_file(&config, path), 0);
        json_object_set_new(json_object_get(config, bad[i].section), bad[i].key, json_integer(bad[i].value));
        assert_int_equal(model_init(&m, config, "config.json", NULL, e, 1), ERR_DATA);
        assert_null(m);
        if (!strstr(err_text(), bad[i].says) || !strstr(err_text(), "config.json"))
            fail_msg("message: %s", err_text());
        json_decref(config);
    }
}

/* A config that names far more numbers than the file holds is told so, not "out of memory". */
static void test_boastful_config(void **state)
{
    char path[1024], dir[] = "/tmp/meridian-test-XXXXXX";
    const struct engine *e;
    json_t *config;
    struct model *m = NULL;
    struct map weights;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    assert_non_null(mkdtemp(dir));
    golden_path(path, sizeof path, "model.safetensors");
    assert_int_equal(map_open(&weights, path), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(atomic_put(path, weights.data, weights.size), 0);
    map_close(&weights);
    golden_path(path, sizeof path, "config.json");
    assert_int_equal(json_read_file(&config, path), 0);
    json_t *text = json_object_get(config, "text_config");
    json_object_set_new(text, "hidden_size", json_integer(65536));
    json_object_set_new(text, "num_hidden_layers", json_integer(1000));
    json_object_set_new(text, "intermediate_size", json_integer(1000000));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    assert_int_equal(model_open(&m, dir, e), ERR_DATA);
    assert_null(m);
    if (!strstr(err_text(), "expected [300,65536]") || !strstr(err_text(), "model.safetensors"))
        fail_msg("message: %s", err_text());
    path_remove_tree(dir);
}

static void test_memory_failure(void **state)
{
    golden_memory_failure();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_ref),
        cmocka_unit_test(test_states_cpu),
        cmocka_unit_test(test_embeds_ref),
        cmocka_unit_test(test_embeds_cpu),
        cmocka_unit_test(test_bf16_cosine),
        cmocka_unit_test(test_gradients_ref64),
        cmocka_unit_test(test_gradients_ref),
        cmocka_unit_test(test_gradients_cpu),
        cmocka_unit_test(test_save),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_boastful_config),
        cmocka_unit_test(test_memory_failure),
    };
    return cmocka_run_group_tests_name("clip golden", tests, NULL, NULL);
}
