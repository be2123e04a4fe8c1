/* The BLIP captioner against values computed by other people's code: states, logits, both losses, every gradient (the
 * tied table's once, as the sum of its two uses), greedy captions; beams, saving, files without the tied names. */
#include "golden.h"
#include "model/blip.h"

#define FOLDER "blip_caption_tiny"

static void check_values(const char *engine, bool record)
{
    struct golden g;
    golden_open(&g, FOLDER, engine, record);
    assert_string_equal(g.m->family->name, "blip_caption");
    bool keep[4 * 14];
    const struct st_tensor *mask = st_find(g.inputs, "attention_mask");
    for (int64_t i = 0; i < g.n * g.context; i++)
        keep[i] = ((const int64_t *)mask->data)[i] != 0;
    const struct blip *b = g.m->own;
    struct tensor *tokens = blip_tokens(b, model_pixels(g.m, g.t, g.pixels, g.n), NULL);
    golden_check(&g, "vision.last_hidden_state", tokens, 5e-5);
    golden_check_rows(&g, "logits", blip_words(b, tokens, g.ids, g.n, g.context), 1e-4, keep);
    golden_close(&g);
}

static struct tensor *loss_of(struct golden *g, double smoothing)
{
    struct tensor *pixels = model_pixels(g->m, g->t, g->pixels, g->n);
    struct tensor *loss = g->m->family->caption_loss(g->m, pixels, g->ids, g->n, g->context,
                                                     (int64_t)golden_number(g, "prompt_length"), smoothing);
    if (tape_status(g->t) < 0)
        fail_msg("%s", err_text());
    return loss;
}

static void check_gradients(const char *engine, double loss_bar, double bar)
{
    struct golden g;
    golden_open(&g, FOLDER, engine, true);
    struct tensor *loss = loss_of(&g, 0.1);
    assert_true(fabs(t_value(loss) - golden_number(&g, "loss_label_smoothing_0.1")) <= loss_bar);
    if (tape_backward(loss) < 0)
        fail_msg("%s", err_text());
    golden_check_gradients(&g, bar);

    const char *path;
    json_t *norm;
    params_zero_grad(&g.m->params);
    tape_reset(g.t);
    loss = loss_of(&g, 0);
    assert_true(fabs(t_value(loss) - golden_number(&g, "loss_plain")) <= loss_bar);
    if (tape_backward(loss) < 0)
        fail_msg("%s", err_text());
    json_object_foreach(json_object_get(g.numbers, "plain_loss_gradient_l2"), path, norm)
    {
        const struct params *p = &g.m->params;
        double sum = 0, want = json_number_value(norm);
        for (int64_t k = 0; k < p->n; k++)
            for (int64_t i = 0; !strcmp(p->v[k].path, path) && i < p->v[k].n; i++)
                sum += pow(golden_at(params_grad(p, &p->v[k]), p->real, i), 2);
        if (!(fabs(sqrt(sum) - want) <= 1e-4 * want + 2e-6))
            fail_msg("%s: gradient of %s is %g long, expected %g", engine, path, sqrt(sum), want);
    }
    golden_close(&g);
}

static void test_values(void **state)
{
    check_values("ref64", true);
    check_values("ref", false);
    check_values("cpu", true);
    check_values("cpu", false);
}
static void test_gradients(void **state)
{
    check_gradients("ref64", 1e-9, 2e-6);
    check_gradients("ref", 1e-5, 1e-4);
    check_gradients("cpu", 1e-5, 1e-4);
}

/* ---- words ---- */

enum { LONGEST = 20 };

static void read_prompt(const struct golden *g, struct caption_opt *o, int32_t *prompt)
{
    const json_t *list = json_object_get(g->numbers, "prompt_ids");
    for (size_t i = 0; i < json_array_size(list); i++)
        prompt[i] = (int32_t)json_integer_value(json_array_get(list, i));
    o->prompt = prompt;
    o->n_prompt = (int64_t)json_array_size(list);
    o->max_length = LONGEST;
}

static void check_greedy(const char *engine, const char *key, int64_t shortest)
{
    struct golden g;
    int32_t prompt[8], ids[4 * LONGEST];
    int64_t lengths[4];
    double scores[4];
    struct caption_opt o = {.min_length = shortest};
    golden_open(&g, FOLDER, engine, false);
    read_prompt(&g, &o, prompt);
    if (model_caption(g.m, g.pixels, g.n, &o, false, ids, lengths, scores) < 0)
        fail_msg("%s", err_text());
    for (int64_t i = 0; i < g.n; i++) {
        const json_t *want = json_array_get(json_object_get(g.numbers, key), (size_t)i);
        assert_int_equal(lengths[i], json_array_size(want));
        for (int64_t j = 0; j < lengths[i]; j++)
            assert_int_equal(ids[i * LONGEST + j], json_integer_value(json_array_get(want, (size_t)j)));
        assert_true(scores[i] < 0);
    }
    golden_close(&g);
}

static void test_greedy(void **state)
{
    static const char *const engines[] = {"ref64", "ref", "cpu"};
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        check_greedy(engines[i], "greedy_min_length_0", 0);
        check_greedy(engines[i], "greedy_min_length_10", 10);
    }
}

/* Sum of the log probabilities behind the prompt, from one pass over the finished sentence without any memory. */
static double judge(struct golden *g, int64_t picture, const int32_t *ids, int64_t length, int64_t n_prompt)
{
    const struct blip *b = g->m->own;
    tape_reset(g->t);
    int64_t each = 3 * g->m->image_size * g->m->image_size;
    struct tensor *tokens = blip_tokens(b, model_pixels(g->m, g->t, g->pixels + picture * each, 1), NULL);
    const struct tensor *x = t_log_softmax(blip_words(b, tokens, ids, 1, length));
    double sum = 0;
    assert_int_equal(tape_status(g->t), 0);
    for (int64_t j = n_prompt; j < length; j++)
        sum += golden_at(x->data, g->m->engine->real, (j - 1) * b->text.vocab + ids[j]);
    return sum;
}

/* Beams of several pictures share one memory; their scores are those of the sentences read whole, and a wider search
 * finds sentences at least as likely as the greedy ones. */
static void test_beams(void **state)
{
    struct golden g;
    int32_t prompt[8], ids[4 * LONGEST], alone[LONGEST];
    int64_t lengths[4], length;
    double scores[4], before[4];
    golden_open(&g, FOLDER, "ref64", false);
    for (int64_t beam = 1; beam <= 8; beam += beam < 3 ? 2 : 5) {
        struct caption_opt o = {.beam = beam, .length_penalty = 0, .min_length = 12};
        read_prompt(&g, &o, prompt);
        o.max_length = 12;
        assert_int_equal(model_caption(g.m, g.pixels, g.n, &o, false, ids, lengths, scores), 0);
        for (int64_t i = 0; i < g.n; i++) {
            double sum = judge(&g, i, ids + i * 12, lengths[i], o.n_prompt);
            double divisor = beam == 1 ? (double)(lengths[i] - o.n_prompt) : 1;
            assert_true(fabs(sum / divisor - scores[i]) <= 1e-5);
            if (beam > 1)
                assert_true(sum >= before[i] - 1e-9);
            before[i] = sum;
            int64_t each = 3 * g.m->image_size * g.m->image_size;
            assert_int_equal(model_caption(g.m, g.pixels + i * each, 1, &o, false, alone, &length, NULL), 0);
            assert_int_equal(length, lengths[i]);
            assert_memory_equal(alone, ids + i * 12, (size_t)length * sizeof *ids);
        }
    }
    golden_close(&g);
}

/* Without a tokenizer the prompt is the start token. */
static void test_defaults(void **state)
{
    struct model *m = golden_model(FOLDER, "ref");
    int32_t prompt[32];
    struct caption_opt o = {0};
    assert_int_equal(model_caption_defaults(m, &o, prompt), 0);
    assert_int_equal(o.beam, 1);
    assert_int_equal(o.max_length, 20);
    assert_int_equal(o.min_length, 0);
    assert_int_equal(o.n_prompt, 1);
    assert_int_equal(prompt[0], 158);
    float pixels[1], out[1];
    assert_int_equal(model_embed_pixels(m, pixels, 1, false, out), ERR_UNSUPPORTED);
    model_close(&m);
}

/* ---- files ---- */

/* Published files leave out one name of each tied pair; saving writes both, as transformers does. */
static bool left_out(const char *name, bool second)
{
    static const char *const ends[2][2] = {{"word_embeddings.weight", "predictions.bias"},
                                           {"predictions.decoder.weight", "predictions.decoder.bias"}};
    return str_ends(name, ends[second][0]) || str_ends(name, ends[second][1]);
}

static void check_tied_names(bool second)
{
    char dir[] = "/tmp/meridian-test-XXXXXX", path[1024], config[1024];
    struct st_file *was = golden_file(FOLDER, "model.safetensors"), *is = NULL;
    struct st_tensor *list = mem_calloc((size_t)st_count(was), sizeof *list);
    struct map text;
    const struct engine *e;
    struct model *m = NULL;
    int64_t n = 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    for (int64_t i = 0; i < st_count(was); i++)
        if (!left_out(st_at(was, i)->name, second))
            list[n++] = *st_at(was, i);
    assert_int_equal(n, st_count(was) - 2);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(st_write(path, list, n, NULL), 0);
    static const char *const others[] = {"config.json", "preprocessor_config.json"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        golden_path(config, sizeof config, FOLDER, others[i]);
        assert_int_equal(map_open(&text, config), 0);
        snprintf(config, sizeof config, "%s/%s", dir, others[i]);
        assert_int_equal(atomic_put(config, text.data, text.size), 0);
        map_close(&text);
    }
    if (model_open(&m, dir, e) < 0 || model_save(m, dir, DT_F32) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(st_open(&is, path), 0);
    assert_int_equal(st_count(is), st_count(was));
    for (int64_t i = 0; i < st_count(was); i++) {
        const struct st_tensor *a = st_at(was, i), *b = st_find(is, a->name);
        if (!b || b->n_dims != a->n_dims || memcmp(b->shape, a->shape, sizeof(int64_t) * (size_t)a->n_dims) ||
            memcmp(b->data, a->data, a->n_bytes))
            fail_msg("%s is not as it was", a->name);
    }
    st_close(&is);
    st_close(&was);
    mem_free(list);
    model_close(&m);
    path_remove_tree(dir);
}

static void test_tied_names(void **state)
{
    check_tied_names(false);
    check_tied_names(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_gradients), cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_beams),  cmocka_unit_test(test_defaults),  cmocka_unit_test(test_tied_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
