/* SigLIP against values by PyTorch's own layers (tests/golden/siglip_tiny/make.py): states, embeddings, the sigmoid
 * loss, every gradient; pads count, and the last row is read. */
#include "clip_golden.h"
#include "golden_check.h"
#include "loss/loss.h"

#include <unistd.h>

static void check_all(const char *engine, double bar)
{
    struct golden g;
    struct tape *t;
    golden_name = "siglip_tiny";
    golden_open(&g, engine);
    struct model *m = g.m;
    assert_string_equal(m->family->name, "siglip");
    assert_int_equal(params_want_grad(&m->params), 0);
    assert_int_equal(tape_open(&t, m->engine, &(struct tape_opt){.record = true}), 0);
    struct tensor *pixels = golden_pixels(t, &g, true), *states[3];
    struct trace trace = {.states = states};
    golden_state(&g, "image_embeds_raw", m->family->trace_image(m, pixels, &trace), 5e-5);
    golden_state(&g, "vision.hidden_states.1", states[1], 5e-5);
    golden_state(&g, "vision.hidden_states.2", states[2], 5e-5);
    golden_state(&g, "text_embeds_raw", m->family->trace_text(m, t, g.ids, g.n, g.context, &trace), 5e-5);
    golden_state(&g, "text.hidden_states.2", states[2], 5e-5);
    struct pair_batch b = {.image = model_encode_image(m, pixels),
                           .text = model_encode_text(m, t, g.ids, g.n, g.context),
                           .logit_scale = m->logit_scale,
                           .logit_bias = m->logit_bias};
    const struct loss_kind *kind = loss_find("sigmoid");
    struct loss_sigmoid_opt opt;
    opt_defaults(kind->options, &opt);
    struct tensor *loss = kind->build(&b, &opt);
    if (tape_status(t) < 0)
        fail_msg("%s", err_text());
    const struct st_tensor *expected = st_find(g.expected, "loss");
    assert_true(fabs(t_value(loss) - *(const double *)expected->data) <= 1e-5);
    assert_int_equal(tape_backward(loss), 0);
    assert_int_equal(golden_gradients(&g, g.gradients, "", bar), m->params.n);
    assert_true(golden_distance(g.expected, "grad_pixel_values", m->engine->real, pixels->grad) <= 1e-4);
    tape_close(&t);
    golden_close(&g);
}

static void test_ref64(void **state)
{
    check_all("ref64", 2e-6);
}
static void test_ref(void **state)
{
    check_all("ref", 1e-4);
}
static void test_cpu(void **state)
{
    check_all("cpu", 1e-4);
}

/* Saved and opened again: the names and shapes of the weight file are the ones that were read. */
static void test_save(void **state)
{
    struct golden g;
    char dir[] = "/tmp/meridian-test-XXXXXX", path[1024], original[1024];
    struct st_file *a = NULL, *b = NULL;
    golden_name = "siglip_tiny";
    golden_open(&g, "cpu");
    assert_non_null(mkdtemp(dir));
    if (model_save(g.m, dir, DT_F32) < 0)
        fail_msg("%s", err_text());
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    golden_path(original, sizeof original, "model.safetensors");
    assert_int_equal(st_open(&a, original), 0);
    assert_int_equal(st_open(&b, path), 0);
    assert_int_equal(st_count(a), st_count(b));
    for (int64_t i = 0; i < st_count(a); i++) {
        const struct st_tensor *x = st_at(a, i), *y = st_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->shape, y->shape, sizeof *x->shape * (size_t)x->n_dims);
        assert_memory_equal(x->data, y->data, x->n_bytes);
    }
    st_close(&a);
    st_close(&b);
    path_remove_tree(dir);
    golden_close(&g);
}

/* The tiny model in DIR with pictures of another size in its configuration, its weights as they are. */
static struct model *open_sized(const char *dir, const char *engine, int64_t image)
{
    char path[1024], original[1024];
    const struct engine *e;
    json_t *config;
    struct model *m = NULL;
    golden_path(original, sizeof original, "config.json");
    assert_int_equal(json_read_file(&config, original), 0);
    json_object_set_new(json_object_get(config, "vision_config"), "image_size", json_integer(image));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    golden_path(original, sizeof original, "model.safetensors");
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_true(symlink(original, path) == 0);
    assert_int_equal(engine_open(&e, engine, 0), 0);
    assert_int_equal(model_open(&m, dir, e), ERR_DATA); /* CLIP's mean and deviation are not SigLIP's */
    assert_non_null(strstr(err_text(), "preprocessor_config.json: missing"));
    config = json_pack("{s:s, s:{s:I, s:I}}", "image_processor_type", "SiglipImageProcessor", "size", "height",
                       (json_int_t)image, "width", (json_int_t)image);
    snprintf(path, sizeof path, "%s/preprocessor_config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    if (model_open(&m, dir, e) < 0)
        fail_msg("%s", err_text());
    return m;
}

/* so400m-patch14-384: 384 is 27 patches of 14 and 6 pixels more. Those are cut off, as by the convolution. */
static void test_cut(void **state)
{
    struct golden g;
    char dir[] = "/tmp/meridian-test-XXXXXX";
    golden_name = "siglip_tiny";
    golden_open(&g, "cpu");
    assert_non_null(mkdtemp(dir));
    int64_t size = g.m->image_size, big = size + 5, d = g.m->embed;
    struct model *m = open_sized(dir, "cpu", big);
    assert_int_equal(m->image_size, big);
    float *pixels = mem_calloc((size_t)(g.n * 3 * big * big), sizeof *pixels);
    float *a = mem_calloc((size_t)(g.n * d), sizeof *a), *b = mem_calloc((size_t)(g.n * d), sizeof *b);
    for (int64_t i = 0; i < g.n * 3 * big * big; i++)
        pixels[i] = (float)i;
    for (int64_t k = 0; k < g.n * 3; k++)
        for (int64_t y = 0; y < size; y++)
            memcpy(pixels + (k * big + y) * big, g.pixels + (k * size + y) * size, (size_t)size * sizeof *pixels);
    assert_int_equal(model_embed_pixels(g.m, g.pixels, g.n, false, a), 0);
    assert_int_equal(model_embed_pixels(m, pixels, g.n, false, b), 0);
    assert_memory_equal(a, b, (size_t)(g.n * d) * sizeof *a);
    mem_free(pixels);
    mem_free(a);
    mem_free(b);
    model_close(&m);
    /* but a size that is asked for is whole patches */
    const struct engine *e;
    assert_int_equal(engine_open(&e, "cpu", 0), 0);
    assert_int_equal(model_open_opt(&m, dir, &(struct model_opt){.image_size = big + 1}, e), ERR_USAGE);
    assert_int_equal(model_open_opt(&m, dir, &(struct model_opt){.image_size = big}, e), 0);
    model_close(&m);
    path_remove_tree(dir);
    golden_close(&g);
}

/* A folder that names nothing is the base model; NaFlex is another family. */
static void test_config(void **state)
{
    const struct engine *e;
    struct model *m = NULL;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    json_t *c = json_pack("{s:s, s:{s:i, s:i, s:i, s:i, s:i}, s:{s:i, s:i, s:i}}", "model_type", "siglip",
                          "vision_config", "hidden_size", 48, "num_hidden_layers", 1, "image_size", 32,
                          "intermediate_size", 64, "num_attention_heads", 4, "text_config", "hidden_size", 48,
                          "num_hidden_layers", 1, "intermediate_size", 64);
    if (model_init(&m, c, "config.json", NULL, e, 1) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(m->context, 64);
    assert_int_equal(m->vocab_size, 32000);
    model_close(&m);
    json_object_set_new(json_object_get(c, "text_config"), "projection_size", json_integer(40));
    assert_int_equal(model_init(&m, c, "config.json", NULL, e, 1), ERR_DATA);
    assert_non_null(strstr(err_text(), "projection_size"));
    json_object_set_new(c, "model_type", json_string("siglip2"));
    assert_int_equal(model_init(&m, c, "config.json", NULL, e, 1), ERR_UNSUPPORTED);
    assert_non_null(strstr(err_text(), "NaFlex"));
    json_decref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref64), cmocka_unit_test(test_ref),    cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_save),  cmocka_unit_test(test_config), cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
