/* BLIP for retrieval against values computed by other people's code: states, both spaces, the three forms of the match
 * head, the loss and every gradient; and what a configuration may not say. */
#include "golden.h"
#include "model/blip.h"

#define FOLDER "blip_itm_tiny"

static const struct blip *open_blip(struct golden *g, const char *engine, bool record)
{
    golden_open(g, FOLDER, engine, record);
    assert_string_equal(g->m->family->name, "blip_itm");
    return g->m->own;
}

static void kept(const struct golden *g, bool *keep)
{
    for (int64_t i = 0; i < g->n * g->context; i++)
        keep[i] = g->ids[i] != 0;
}

static void check_states(const char *engine, bool record)
{
    struct golden g;
    struct tensor *states[3];
    bool keep[5 * 12];
    const struct blip *b = open_blip(&g, engine, record);
    kept(&g, keep);
    struct trace trace = {.states = states};
    struct tensor *tokens = blip_tokens(b, model_pixels(g.m, g.t, g.pixels, g.n), &trace);
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "vision.hidden_states.%d", i);
        golden_check(&g, name, states[i], 5e-5);
    }
    golden_check(&g, "vision.last_hidden_state", tokens, 5e-5);
    struct tensor *text = blip_encode_text(b, g.t, g.ids, g.n, g.context, &trace);
    golden_check_rows(&g, "text.last_hidden_state", trace.last_state, 5e-5, keep);
    golden_check(&g, "text_feat", t_l2_normalize(text), 5e-5);
    struct tensor *match = blip_match(b, tokens, g.ids, g.context, true, &trace);
    golden_check_rows(&g, "multimodal.last_hidden_state", trace.last_state, 5e-5, keep);
    golden_check(&g, "itm_logits_enc", match, 1e-4);
    golden_close(&g);
}

/* As it is used: trimmed texts, the last layer for one row alone. */
static void check_uses(const char *engine, bool record)
{
    struct golden g;
    const struct blip *b = open_blip(&g, engine, record);
    struct tensor *pixels = model_pixels(g.m, g.t, g.pixels, g.n);
    struct tensor *image = model_encode_image(g.m, pixels);
    struct tensor *text = model_encode_text(g.m, g.t, g.ids, g.n, g.context);
    golden_check(&g, "image_feat", image, 5e-5);
    golden_check(&g, "text_feat", text, 5e-5);
    golden_check(&g, "itc_similarity", t_matmul(image, text, (struct matmul_opt){.tb = true}), 5e-5);
    struct tensor *tokens = blip_tokens(b, pixels, NULL);
    golden_check(&g, "itm_logits", blip_match(b, tokens, g.ids, g.context, false, NULL), 1e-4);
    golden_check(&g, "itm_logits_enc", blip_match(b, tokens, g.ids, g.context, true, NULL), 1e-4);
    struct tensor *logit = g.m->family->match(g.m, pixels, g.ids, g.context);
    const struct st_tensor *two = st_find(g.expected, "itm_logits_enc");
    const struct st_tensor *all = st_find(g.expected, "itm_logits_enc_all_pairs"); /* [image, text, 2] */
    assert_int_equal(tape_status(g.t), 0);
    for (int64_t i = 0; i < g.n; i++) {
        double want = golden_at(two->data, two->dtype, 2 * i + 1) - golden_at(two->data, two->dtype, 2 * i);
        assert_true(fabs(golden_at(logit->data, g.m->engine->real, i) - want) <= 1e-4);
    }
    for (int64_t shift = 0; shift < g.n; shift++) {
        int32_t ids[5 * 12];
        for (int64_t i = 0; i < g.n; i++)
            memcpy(ids + i * g.context, g.ids + (i + shift) % g.n * g.context, (size_t)g.context * sizeof *ids);
        const struct tensor *x = blip_match(b, tokens, ids, g.context, true, NULL);
        assert_int_equal(tape_status(g.t), 0);
        for (int64_t i = 0; i < g.n; i++)
            for (int64_t k = 0; k < 2; k++)
                assert_true(fabs(golden_at(x->data, g.m->engine->real, 2 * i + k) -
                                 golden_at(all->data, all->dtype, (i * g.n + (i + shift) % g.n) * 2 + k)) <= 1e-4);
    }
    golden_close(&g);
}

static void check_gradients(const char *engine, double loss_bar, double bar)
{
    struct golden g;
    int32_t diagonal[5], labels[10], ids[10 * 12];
    const struct blip *b = open_blip(&g, engine, true);
    struct tensor *pixels = model_pixels(g.m, g.t, g.pixels, g.n);
    struct tensor *image = model_encode_image(g.m, pixels);
    struct tensor *text = model_encode_text(g.m, g.t, g.ids, g.n, g.context);
    struct tensor *sim = t_scale(t_matmul(image, text, (struct matmul_opt){.tb = true}), 1 / 0.07, 0);
    for (int32_t i = 0; i < 2 * g.n; i++) {
        int64_t row = i < g.n ? i : (i + 1) % g.n;
        memcpy(ids + i * g.context, g.ids + row * g.context, (size_t)g.context * sizeof *ids);
        labels[i] = i < g.n;
        if (i < g.n)
            diagonal[i] = i;
    }
    struct tensor *itc =
        t_scale(t_add(t_cross_entropy(sim, diagonal, 0), t_cross_entropy(t_transpose(sim), diagonal, 0)), 0.5, 0);
    struct tensor *tokens = blip_tokens(b, pixels, NULL);
    tokens = t_concat((struct tensor *[]){tokens, tokens}, 2, 0);
    struct tensor *itm = t_cross_entropy(blip_match(b, tokens, ids, g.context, true, NULL), labels, 0);
    struct tensor *loss = t_add(itc, itm);
    assert_int_equal(tape_status(g.t), 0);
    assert_true(fabs(t_value(itc) - golden_number(&g, "loss_itc")) <= loss_bar);
    assert_true(fabs(t_value(itm) - golden_number(&g, "loss_itm")) <= loss_bar);
    assert_true(fabs(t_value(loss) - golden_number(&g, "loss")) <= loss_bar);
    if (tape_backward(loss) < 0)
        fail_msg("%s", err_text());
    golden_check_gradients(&g, bar);
    golden_close(&g);
}

static void test_states(void **state)
{
    check_states("ref64", true);
    check_states("ref", false);
    check_states("cpu", true);
    check_states("cpu", false);
}
static void test_uses(void **state)
{
    check_uses("ref64", true);
    check_uses("ref", false);
    check_uses("cpu", false);
}
static void test_gradients(void **state)
{
    check_gradients("ref64", 1e-9, 2e-6);
    check_gradients("ref", 1e-5, 1e-4);
    check_gradients("cpu", 1e-5, 1e-4);
}

/* ---- saving, other picture sizes ---- */

/* transformers reads its own names and shapes: every tensor of the original file comes back bit for bit. */
static void test_saved_names(void **state)
{
    char dir[] = "/tmp/meridian-test-XXXXXX", path[1024];
    struct st_file *was = golden_file(FOLDER, "model.safetensors"), *is = NULL;
    struct model *m = golden_model(FOLDER, "ref");
    assert_non_null(mkdtemp(dir));
    if (model_save(m, dir, DT_F32) < 0)
        fail_msg("%s", err_text());
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(st_open(&is, path), 0);
    assert_int_equal(st_count(is), st_count(was));
    for (int64_t i = 0; i < st_count(was); i++) {
        const struct st_tensor *a = st_at(was, i), *b = st_find(is, a->name);
        if (!b || b->n_dims != a->n_dims || memcmp(b->shape, a->shape, sizeof(int64_t) * (size_t)a->n_dims) ||
            memcmp(b->data, a->data, a->n_bytes))
            fail_msg("%s is not as it was", a->name);
    }
    struct model *again = NULL;
    assert_int_equal(model_open(&again, dir, m->engine), 0);
    model_close(&again);
    st_close(&is);
    st_close(&was);
    model_close(&m);
    path_remove_tree(dir);
}

/* A larger picture: positions are interpolated, the class row stays. */
static void test_other_size(void **state)
{
    char path[1024];
    const struct engine *e;
    struct model *m = NULL, *plain = golden_model(FOLDER, "ref");
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    golden_path(path, sizeof path, FOLDER, "");
    if (model_open_opt(&m, path, &(struct model_opt){.image_size = 48}, e) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(m->image_size, 48);
    const struct blip *b = m->own, *a = plain->own;
    assert_int_equal(b->vision.positions.shape[0], 1 + 36);
    assert_memory_equal(b->vision.positions.data, a->vision.positions.data, 40 * sizeof(float));
    float *pixels = mem_calloc(3 * 48 * 48, sizeof *pixels), out[16];
    assert_int_equal(model_embed_pixels(m, pixels, 1, false, out), 0);
    mem_free(pixels);
    model_close(&m);
    model_close(&plain);
}

/* ---- configurations ---- */

static json_t *config_of(const char *folder)
{
    char path[1024];
    json_t *config = NULL;
    golden_path(path, sizeof path, folder, "config.json");
    assert_int_equal(json_read_file(&config, path), 0);
    return config;
}

/* A field that transformers left out means its default, also where that is another number than the authors'. */
static void test_defaults(void **state)
{
    const struct engine *e;
    json_t *config = config_of(FOLDER), *vision = json_object_get(config, "vision_config");
    struct model *m = NULL;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    json_object_del(vision, "layer_norm_eps");
    json_object_del(vision, "hidden_act");
    json_object_del(json_object_get(config, "text_config"), "layer_norm_eps");
    if (model_init(&m, config, "config.json", NULL, e, 1) < 0)
        fail_msg("%s", err_text());
    const struct blip *b = m->own;
    assert_true(b->vision.tower.eps == 1e-5 && b->vision.norm_post.eps == 1e-5);
    assert_true(b->text.eps == 1e-12 && b->text.layer[1].norm_mlp.eps == 1e-12);
    assert_int_equal(b->vision.tower.act, ACT_GELU);
    assert_int_equal(b->enc_id, 199);
    assert_int_equal(b->dec_id, 198);
    model_close(&m);
    json_decref(config);
}

static void refuse(json_t *config, int code, const char *says)
{
    const struct engine *e;
    struct model *m = NULL;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    assert_int_equal(model_init(&m, config, "config.json", NULL, e, 1), code);
    assert_null(m);
    if (!strstr(err_text(), says) || !strstr(err_text(), "config.json"))
        fail_msg("message: %s", err_text());
    json_decref(config);
}

static void test_bad_config(void **state)
{
    static const struct {
        const char *section, *key;
        int value;
        const char *says;
    } bad[] = {
        {"vision_config", "num_attention_heads", 7, "divisor"},
        {"vision_config", "patch_size", 4096, "at most"},
        {"vision_config", "image_size", 1000000, "image_size"},
        {"text_config", "num_attention_heads", 5, "divisor"},
        {"text_config", "num_hidden_layers", -1, "num_hidden_layers"},
        {"text_config", "vocab_size", 100, "bos_token_id"},
        {"text_config", "sep_token_id", 200, "sep_token_id"},
        {"text_config", "max_position_embeddings", 0, "max_position_embeddings"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *config = config_of(FOLDER);
        json_object_set_new(json_object_get(config, bad[i].section), bad[i].key, json_integer(bad[i].value));
        refuse(config, ERR_DATA, bad[i].says);
    }
    json_t *config = config_of(FOLDER);
    json_object_set_new(json_object_get(config, "text_config"), "num_hidden_layers", json_integer(100));
    refuse(config, ERR_UNSUPPORTED, "is 100, expected at most 64");
    config = config_of(FOLDER);
    json_object_set_new(config, "architectures", json_pack("[s]", "BlipForQuestionAnswering"));
    refuse(config, ERR_UNSUPPORTED, "BlipForQuestionAnswering");
    config = config_of(FOLDER);
    json_object_del(config, "architectures");
    refuse(config, ERR_DATA, "architectures");
    config = config_of(FOLDER);
    json_object_set_new(json_object_get(config, "text_config"), "tie_word_embeddings", json_false());
    refuse(config, ERR_UNSUPPORTED, "tie_word_embeddings");
    config = config_of(FOLDER);
    json_object_set_new(json_object_get(config, "text_config"), "hidden_act", json_string("gelu_new"));
    refuse(config, ERR_DATA, "hidden_act");
}

static void test_cannot_speak(void **state)
{
    struct model *m = golden_model(FOLDER, "ref");
    int32_t ids[64];
    struct caption_opt opt = {0};
    assert_int_equal(model_caption_defaults(m, &opt, ids), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "blip_itm"));
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),      cmocka_unit_test(test_uses),         cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_saved_names), cmocka_unit_test(test_other_size),   cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_bad_config),  cmocka_unit_test(test_cannot_speak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
