/* CoCa against values computed by open_clip in float64: states, features, logits, both losses, every gradient, greedy
 * captions. Rows at pads depend on open_clip's version and are left out, as is said in model/coca.c. */
#include "golden_check.h"
#include "loss/loss.h"
#include "model/coca.h"

static void open_case(struct golden *g, const char *engine)
{
    golden_name = "coca_tiny";
    golden_open(g, engine);
}

/* [n,rows,d] on the rows whose id is no pad, and the row behind the ids (the class token) when there is one. */
static void check_words(const struct golden *g, const char *name, const struct tensor *x, double bar)
{
    const struct st_tensor *e = st_find(g->expected, name);
    assert_non_null(x);
    assert_non_null(e);
    int64_t rows = e->shape[1], d = e->shape[2];
    assert_int_equal(x->n, g->n * rows * d);
    for (int64_t i = 0; i < g->n; i++)
        for (int64_t j = 0; j < rows; j++) {
            if (j < g->context && g->ids[i * g->context + j] == 0)
                continue;
            for (int64_t k = 0; k < d; k++) {
                int64_t at = (i * rows + j) * d + k;
                double a =
                    g->m->engine->real == DT_F64 ? ((const double *)x->data)[at] : (double)((const float *)x->data)[at];
                double off = fabs(a - (double)((const float *)e->data)[at]);
                if (!(off <= bar))
                    fail_msg("%s: %s row %d,%d is off by %g", g->m->engine->name, name, (int)i, (int)j, off);
            }
        }
}

static void check_states(const char *engine, bool record)
{
    struct golden g;
    struct tape *t;
    struct tensor *vision[3], *text[3], *decoder[2];
    struct coca_out out;
    open_case(&g, engine);
    struct coca *c = g.m->own;
    struct coca_trace trace = {.vision.states = vision, .text.states = text, .decoder = decoder};
    assert_int_equal(tape_open(&t, g.m->engine, &(struct tape_opt){.record = record}), 0);
    assert_int_equal(coca_forward(c, golden_pixels(t, &g, false), g.ids, g.n, g.context, &trace, &out), 0);
    golden_state(&g, "visual.hidden_states.0", vision[0], 5e-5);
    golden_state(&g, "visual.hidden_states.1", vision[1], 5e-5);
    golden_state(&g, "visual.hidden_states.2", vision[2], 5e-5);
    golden_state(&g, "image_embs", out.image_tokens, 5e-5);
    golden_state(&g, "image_features_raw", out.image, 5e-5);
    golden_state(&g, "text_features_raw", out.text, 5e-5);
    check_words(&g, "text.hidden_states.1", text[1], 5e-5);
    check_words(&g, "text.hidden_states.2", text[2], 5e-5);
    check_words(&g, "token_embs", out.text_tokens, 5e-5);
    check_words(&g, "text_decoder.hidden_states.1", decoder[0], 5e-5);
    check_words(&g, "text_decoder.hidden_states.2", decoder[1], 5e-5);
    check_words(&g, "logits", out.logits, 1e-4);
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

/* The short ways (one query, trimmed texts, last block for one row) give the same vectors, alone and together. */
static void check_embeds(const char *engine)
{
    struct golden g;
    float x[5 * 32], one[32];
    open_case(&g, engine);
    assert_int_equal(model_embed_pixels(g.m, g.pixels, g.n, false, x), 0);
    assert_true(golden_distance(g.expected, "image_features", DT_F32, x) <= 5e-5);
    assert_int_equal(model_embed_ids(g.m, g.ids, g.n, g.context, false, x), 0);
    assert_true(golden_distance(g.expected, "text_features", DT_F32, x) <= 5e-5);
    for (int64_t i = 0; i < g.n; i++) {
        assert_int_equal(model_embed_ids(g.m, g.ids + i * g.context, 1, g.context, false, one), 0);
        for (int j = 0; j < 32; j++)
            assert_true(fabs((double)(one[j] - x[i * 32 + j])) <= 1e-6);
    }
    golden_close(&g);
}

static void test_embeds(void **state)
{
    check_embeds("ref");
    check_embeds("cpu");
}

static void check_gradients(const char *engine, double bar)
{
    struct golden g;
    struct tape *t;
    open_case(&g, engine);
    assert_int_equal(params_want_grad(&g.m->params), 0);
    assert_int_equal(tape_open(&t, g.m->engine, &(struct tape_opt){.record = true}), 0);
    struct tensor *loss = coca_loss(g.m->own, golden_pixels(t, &g, false), g.ids, g.n, g.context, 1.0, 2.0);
    assert_int_equal(tape_status(t), 0);
    assert_true(fabs(t_value(loss) - 15.37077104261628) <= 1e-5);
    if (tape_backward(loss) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(golden_gradients(&g, g.gradients, "", bar), g.m->params.n);
    assert_int_equal(st_count(g.gradients), g.m->params.n);
    tape_close(&t);
    golden_close(&g);
}

static void test_gradients(void **state)
{
    check_gradients("ref64", 2e-6);
    check_gradients("ref", 1e-4);
    check_gradients("cpu", 1e-4);
}

/* The two parts by the doors that training uses: the family's caption loss, and a loss over the vectors. Their
 * gradients add up to the same. */
static void test_parts(void **state)
{
    struct golden g;
    struct tape *t;
    struct loss_clip_opt opt;
    const struct loss_kind *kind = loss_find("clip");
    open_case(&g, "ref64");
    struct model *m = g.m;
    opt_defaults(kind->options, &opt);
    assert_int_equal(params_want_grad(&m->params), 0);
    assert_int_equal(tape_open(&t, m->engine, &(struct tape_opt){.record = true}), 0);
    struct tensor *caption = m->family->caption_loss(m, golden_pixels(t, &g, false), g.ids, g.n, g.context, 0, 0.0);
    assert_int_equal(tape_status(t), 0);
    assert_true(fabs(2.0 * t_value(caption) - 12.714300344928219) <= 1e-6);
    assert_int_equal(tape_backward(t_scale(caption, 2.0, 0.0)), 0);
    tape_reset(t);
    struct pair_batch b = {.image = model_encode_image(m, golden_pixels(t, &g, false)),
                           .text = model_encode_text(m, t, g.ids, g.n, g.context),
                           .logit_scale = m->logit_scale};
    struct tensor *contrast = kind->build(&b, &opt);
    assert_int_equal(tape_status(t), 0);
    assert_true(fabs(t_value(contrast) - 2.65647069768806) <= 1e-6);
    assert_int_equal(tape_backward(contrast), 0);
    assert_int_equal(golden_gradients(&g, g.gradients, "", 2e-6), m->params.n);
    tape_close(&t);
    golden_close(&g);
}

/* Greedy captions, both minimum lengths: exactly open_clip's ids. */
static void check_greedy(const char *engine, const char *key, int64_t min_length)
{
    struct golden g;
    json_t *expected, *ids_json;
    char path[1024];
    int32_t ids[5 * 12];
    int64_t lengths[5];
    open_case(&g, engine);
    golden_path(path, sizeof path, "expected.json");
    assert_int_equal(json_read_file(&expected, path), 0);
    struct caption_opt opt = {.beam = 1, .min_length = min_length, .max_length = 12};
    if (model_caption(g.m, g.pixels, g.n, &opt, false, ids, lengths, NULL) < 0)
        fail_msg("%s", err_text());
    for (size_t i = 0; i < 5; i++) {
        ids_json = json_array_get(json_object_get(expected, key), i);
        assert_int_equal(lengths[i], json_array_size(ids_json));
        for (size_t j = 0; j < 12; j++)
            assert_int_equal(ids[i * 12 + j], json_integer_value(json_array_get(ids_json, j))); /* 0 behind: the pad */
    }
    json_decref(expected);
    golden_close(&g);
}

static void test_greedy(void **state)
{
    check_greedy("ref", "greedy_min_length_0", 1);
    check_greedy("ref", "greedy_min_length_5", 5);
    check_greedy("cpu", "greedy_min_length_0", 1);
    check_greedy("cpu", "greedy_min_length_5", 5);
}

/* Beams look at the same memory; a wider search finds nothing less likely than the narrow one that it contains. */
static void test_beams(void **state)
{
    struct golden g;
    int32_t one[5 * 12], many[5 * 12];
    int64_t lengths[5];
    double narrow[5], wide[5];
    open_case(&g, "cpu");
    struct caption_opt opt = {.beam = 1, .min_length = 1, .max_length = 12};
    assert_int_equal(model_caption(g.m, g.pixels, g.n, &opt, false, one, lengths, narrow), 0);
    opt.beam = 6;
    opt.length_penalty = 1;
    if (model_caption(g.m, g.pixels, g.n, &opt, false, many, lengths, wide) < 0)
        fail_msg("%s", err_text());
    double better = 0;
    for (int i = 0; i < 5; i++)
        better += wide[i] - narrow[i];
    assert_true(better >= -1e-6);
    golden_close(&g);
}

/* Saved and opened again, another size of pictures, configurations that lie. */
static void test_folder(void **state)
{
    struct golden g;
    struct model *again;
    char path[1024], dir[] = "/tmp/meridian-test-XXXXXX", first[65], second[65];
    open_case(&g, "cpu");
    assert_non_null(mkdtemp(dir));
    if (model_save(g.m, dir, DT_F32) < 0 || model_open(&again, dir, g.m->engine) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(model_fingerprint(g.m, first), 0);
    assert_int_equal(model_fingerprint(again, second), 0);
    assert_string_equal(first, second);
    model_close(&again);
    assert_int_equal(model_save_as(g.m, dir, DT_F32, LAYOUT_HF), ERR_UNSUPPORTED);
    golden_path(path, sizeof path, "");
    if (model_open_opt(&again, path, &(struct model_opt){.image_size = 64}, g.m->engine) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(again->image_size, 64);
    model_close(&again);
    path_remove_tree(dir);
    golden_close(&g);
}

static void test_bad_config(void **state)
{
    static const struct {
        const char *section, *key, *value;
        int code;
    } bad[] = {
        {"vision_cfg", "attentional_pool", "false", ERR_UNSUPPORTED},
        {"vision_cfg", "attentional_pool", "\"parallel\"", ERR_UNSUPPORTED},
        {"vision_cfg", "attn_pooler_heads", "3", ERR_DATA},
        {"vision_cfg", "attn_pooler_queries", "0", ERR_DATA},
        {"vision_cfg", "layers", "[1, 1, 1, 1]", ERR_DATA},
        {"text_cfg", "embed_cls", "false", ERR_UNSUPPORTED},
        {"text_cfg", "pad_id", "120", ERR_DATA},
        {"text_cfg", "hf_model_name", "\"roberta-base\"", ERR_UNSUPPORTED},
        {"text_cfg", "width", "48", ERR_DATA},
        {"multimodal_cfg", "width", "64", ERR_DATA},
        {"multimodal_cfg", "layers", "65", ERR_UNSUPPORTED},
        {"multimodal_cfg", "mlp_ratio", "2", ERR_DATA},
        {"multimodal_cfg", "heads", "5", ERR_DATA},
        {"multimodal_cfg", "ls_init_value", "0.1", ERR_UNSUPPORTED},
    };
    char path[1024];
    golden_name = "coca_tiny";
    golden_path(path, sizeof path, "open_clip_config.json");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *config;
        int64_t n;
        assert_int_equal(json_read_file(&config, path), 0);
        json_object_set_new(json_object_get(json_object_get(config, "model_cfg"), bad[i].section), bad[i].key,
                            json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        int rc = model_count(LAYOUT_OPEN_CLIP, config, "open_clip_config.json", &n);
        if (rc != bad[i].code || !strstr(err_text(), "expected"))
            fail_msg("%s %s: %d, expected %d: %s", bad[i].key, bad[i].value, rc, bad[i].code, err_text());
        json_decref(config);
    }
}

/* The published sizes, to the 10,000 that open_clip's table prints: 253.56 M and 638.45 M. */
static void test_sizes(void **state)
{
    static const struct {
        const char *config;
        double millions;
    } sizes[] = {
        {"{\"model_cfg\": {\"embed_dim\": 512, \"vision_cfg\": {\"image_size\": 224, \"layers\": 12, \"width\": 768, "
         "\"patch_size\": 32, \"attentional_pool\": true, \"attn_pooler_heads\": 8, \"output_tokens\": true}, "
         "\"text_cfg\": {\"context_length\": 76, \"vocab_size\": 49408, \"width\": 512, \"heads\": 8, \"layers\": 12, "
         "\"embed_cls\": true, \"output_tokens\": true}, \"multimodal_cfg\": {\"context_length\": 76, \"vocab_size\": "
         "49408, \"width\": 512, \"heads\": 8, \"layers\": 12, \"attn_pooler_heads\": 8}, \"custom_text\": true}}",
         253.56},
        {"{\"model_cfg\": {\"embed_dim\": 768, \"vision_cfg\": {\"image_size\": 224, \"layers\": 24, \"width\": 1024, "
         "\"patch_size\": 14, \"attentional_pool\": true, \"attn_pooler_heads\": 8, \"output_tokens\": true}, "
         "\"text_cfg\": {\"context_length\": 76, \"vocab_size\": 49408, \"width\": 768, \"heads\": 12, \"layers\": 12, "
         "\"embed_cls\": true, \"output_tokens\": true}, \"multimodal_cfg\": {\"context_length\": 76, \"vocab_size\": "
         "49408, \"width\": 768, \"heads\": 12, \"layers\": 12, \"attn_pooler_heads\": 12}, \"custom_text\": true}}",
         638.45},
    };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        json_t *config = json_loads(sizes[i].config, 0, NULL);
        int64_t n;
        assert_int_equal(model_count(LAYOUT_OPEN_CLIP, config, "config", &n), 0);
        if (!(fabs((double)n / 1e6 - sizes[i].millions) <= 0.0051))
            fail_msg("%lld parameters, expected %.2f M", (long long)n, sizes[i].millions);
        json_decref(config);
    }
}

static void test_memory_failure(void **state)
{
    golden_name = "coca_tiny";
    golden_memory_failure();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),         cmocka_unit_test(test_embeds),     cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_parts),          cmocka_unit_test(test_greedy),     cmocka_unit_test(test_beams),
        cmocka_unit_test(test_folder),         cmocka_unit_test(test_bad_config), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_memory_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
