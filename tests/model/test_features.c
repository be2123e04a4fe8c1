/* What the last products are given: multiplied by their weights it is the embedding, for every family that offers it;
 * for CLIP also the values of other people's code. A tower that ends otherwise is refused by name. */
#include "clip_golden.h"

static const char *const folders[] = {"clip_vit_tiny", "blip_itm_tiny", "coca_tiny", "siglip_tiny"};

static void open_model(struct golden *g, const char *name)
{
    golden_name = name;
    golden_open(g, "ref");
}

/* [n,E] - features [n,F] x w [E,F]^T - b; the largest entry */
static double left_over(const struct tensor *raw, const float *features, int64_t width, const struct linear *l)
{
    double worst = 0;
    int64_t e = raw->shape[1];
    for (int64_t i = 0; i < raw->shape[0]; i++)
        for (int64_t j = 0; j < e; j++) {
            double sum = l->has_bias ? (double)((const float *)l->b.data)[j] : 0;
            for (int64_t k = 0; k < width; k++)
                sum += (double)features[i * width + k] * (double)((const float *)l->w.data)[j * width + k];
            worst = fmax(worst, fabs(sum - t_get(raw, i * e + j)));
        }
    return worst;
}

static void check_lengths(const struct tensor *raw, const struct model_rows *r)
{
    int64_t e = raw->shape[1];
    for (int64_t i = 0; i < raw->shape[0]; i++)
        for (int64_t j = 0; j < e; j++)
            assert_true(fabs((double)r->lengths[i] * (double)r->unit[i * e + j] - t_get(raw, i * e + j)) < 1e-5);
}

static void check_pictures(struct golden *g, const struct tensor *raw)
{
    struct model *m = g->m;
    struct model_last last;
    assert_int_equal(model_last(m, false, &last), 0);
    const struct linear *l = m->family->last_product(m, false);
    assert_int_equal(last.width, l->w.shape[1]);
    assert_int_equal(last.n_weights, l->w.n + (l->has_bias ? l->b.n : 0));
    struct model_rows r = {.unit = mem_calloc((size_t)(g->n * m->embed), sizeof(float)),
                           .features = mem_calloc((size_t)(g->n * last.width), sizeof(float)),
                           .lengths = mem_calloc((size_t)g->n, sizeof(float))};
    float *plain = mem_calloc((size_t)(g->n * m->embed), sizeof *plain);
    assert_int_equal(model_features_pixels(m, g->pixels, g->n, false, &r), 0);
    assert_int_equal(model_embed_pixels(m, g->pixels, g->n, false, plain), 0);
    assert_memory_equal(plain, r.unit, (size_t)(g->n * m->embed) * sizeof *plain);
    check_lengths(raw, &r);
    double off = left_over(raw, r.features, last.width, l);
    if (strcmp(m->family->name, "siglip")) /* there something else is added */
        assert_true(off < 1e-5);
    else
        assert_true(off > 1e-3);
    if (!strcmp(golden_name, "clip_vit_tiny"))
        assert_true(golden_distance(g->expected, "vision.pooler_output", DT_F32, r.features) <= 5e-5);
    mem_free(r.unit);
    mem_free(r.features);
    mem_free(r.lengths);
    mem_free(plain);
}

static void check_texts(struct golden *g, struct tape *t)
{
    struct model *m = g->m;
    struct model_last last;
    struct tensor *features = NULL;
    assert_int_equal(model_last(m, true, &last), 0);
    struct tensor *raw = m->family->features_text(m, t, g->ids, g->n, g->context, &features);
    struct tensor *plain = m->family->encode_text(m, t, g->ids, g->n, g->context);
    assert_int_equal(tape_status(t), 0);
    assert_int_equal(features->n, g->n * last.width);
    assert_memory_equal(plain->data, raw->data, (size_t)raw->n * sizeof(float));
    assert_true(left_over(raw, features->data, last.width, m->family->last_product(m, true)) < 1e-5);
    if (!strcmp(golden_name, "clip_vit_tiny"))
        assert_true(golden_distance(g->expected, "text.pooler_output", DT_F32, features->data) <= 5e-5);
}

static void test_families(void **state)
{
    for (size_t k = 0; k < ARRAY_LEN(folders); k++) {
        struct golden g;
        struct tape *t;
        open_model(&g, folders[k]);
        assert_int_equal(tape_open(&t, g.m->engine, &(struct tape_opt){.record = false}), 0);
        check_pictures(&g, g.m->family->encode_image(g.m, model_pixels(g.m, t, g.pixels, g.n)));
        check_texts(&g, t);
        tape_close(&t);
        golden_close(&g);
    }
}

/* The norm that a prior sees. */
static void test_square(void **state)
{
    struct golden g;
    struct model_last last;
    open_model(&g, "blip_itm_tiny");
    const struct linear *l = g.m->family->last_product(g.m, true);
    double sum = 0;
    for (int64_t i = 0; i < l->w.n; i++)
        sum += pow((double)((const float *)l->w.data)[i], 2);
    for (int64_t i = 0; i < l->b.n; i++)
        sum += pow((double)((const float *)l->b.data)[i], 2);
    assert_int_equal(model_last(g.m, true, &last), 0);
    assert_true(last.bias);
    assert_true(fabs(last.square - sum) < 1e-9 * sum);
    golden_close(&g);
}

static void test_refused(void **state)
{
    struct golden g;
    struct model_last last = {.width = 7};
    open_model(&g, "clip_rn_tiny");
    assert_int_equal(model_last(g.m, false, &last), ERR_UNSUPPORTED);
    assert_int_equal(last.width, 7);
    assert_non_null(strstr(err_text(), "family clip"));
    assert_int_equal(model_last(g.m, true, &last), 0);
    float number = 0;
    struct model_rows r = {&number, &number, &number};
    assert_int_equal(model_features_pixels(g.m, g.pixels, 1, false, &r), ERR_UNSUPPORTED);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_square),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
