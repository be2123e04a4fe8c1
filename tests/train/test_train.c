/* Training against golden values and against itself: ten AdamW steps, gradient cache, checkpoints. */
#include "../model/clip_golden.h"
#include "train/train.h"

static struct batch batch_of(const struct golden *g)
{
    return (struct batch){.n = g->n,
                          .context = g->context,
                          .channels = 3,
                          .height = g->m->image_size,
                          .width = g->m->image_size,
                          .pixels = g->pixels,
                          .ids = g->ids};
}

static double real_at(const struct params *p, const void *x, int64_t i)
{
    return p->real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

/* Ten steps on the fixed batch: losses to 1e-4 relative, movement of every tensor to 1 %. */
static void check_steps(const char *name, const char *engine)
{
    struct golden g;
    struct step *s;
    struct optimizer o;
    struct optimizer_opt opt = {0.9, 0.98, 1e-6, 0.2};
    struct loss_clip_opt loss_opt;
    const struct loss_kind *kind = loss_find("clip");
    json_t *train, *per_tensor;
    char path[1024];
    golden_name = name;
    golden_open(&g, engine);
    golden_path(path, sizeof path, "train.json");
    assert_int_equal(json_read_file(&train, path), 0);
    double lr = json_real_value(json_object_get(train, "lr"));
    per_tensor = json_object_get(train, "per_tensor");
    opt_defaults(kind->options, &loss_opt);
    struct params *p = &g.m->params;
    void *before = mem_alloc((size_t)p->n_slab * dtype_size(p->real));
    memcpy(before, p->data, (size_t)p->n_slab * dtype_size(p->real));
    struct batch b = batch_of(&g);
    assert_int_equal(step_open(&s, g.m, kind, &loss_opt, &(struct step_opt){0}), 0);
    assert_int_equal(optimizer_open(&o, p), 0);
    for (int k = 0; k <= 10; k++) {
        double loss, expected = json_real_value(json_array_get(json_object_get(train, "losses_float64"), (size_t)k));
        params_zero_grad(p);
        if (step_run(s, &b, 0, k, 1, &loss) < 0)
            fail_msg("%s", err_text());
        if (!(fabs(loss - expected) <= 1e-4 * expected))
            fail_msg("%s: loss before step %d is %.9g, expected %.9g", engine, k + 1, loss, expected);
        if (k < 10)
            optimizer_step(&o, g.m->engine, p, &opt, lr, 1.0);
    }
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        const json_t *row = json_object_get(per_tensor, q->path);
        if (q->kind != PARAM_TRAINED) { /* running statistics stay as they are */
            size_t size = dtype_size(p->real), at = (size_t)q->at * size;
            assert_memory_equal((char *)p->data + at, (char *)before + at, (size_t)q->n * size);
            continue;
        }
        assert_non_null(row);
        if (json_object_get(row, "note"))
            continue; /* a key bias: rounding noise under Adam */
        double expected = json_real_value(json_object_get(row, "delta_l2")), moved = 0;
        assert_int_equal(q->decay, json_is_true(json_object_get(row, "decayed")));
        for (int64_t i = q->at; i < q->at + q->n; i++)
            moved += pow(real_at(p, p->data, i) - real_at(p, before, i), 2);
        if (!(fabs(sqrt(moved) - expected) <= 0.01 * expected))
            fail_msg("%s: %s moved by %g, expected %g", engine, q->path, sqrt(moved), expected);
    }
    mem_free(before);
    optimizer_close(&o);
    step_close(&s);
    json_decref(train);
    golden_close(&g);
    golden_name = "clip_vit_tiny";
}

static void test_steps_ref64(void **state)
{
    check_steps("clip_vit_tiny", "ref64");
    check_steps("clip_rn_tiny", "ref64");
}
static void test_steps_cpu(void **state)
{
    check_steps("clip_vit_tiny", "cpu");
    check_steps("clip_rn_tiny", "cpu");
}

/* Batch statistics of parts of a batch are not those of the batch: refused, not approximated. */
static void test_batch_statistics(void **state)
{
    struct golden g;
    struct step *s;
    struct loss_clip_opt loss_opt;
    const struct loss_kind *kind = loss_find("clip");
    double loss;
    golden_name = "clip_rn_tiny";
    golden_open(&g, "cpu");
    opt_defaults(kind->options, &loss_opt);
    struct batch b = batch_of(&g);
    model_train_mode(g.m, true);
    assert_int_equal(step_open(&s, g.m, kind, &loss_opt, &(struct step_opt){.chunk = 2}), 0);
    assert_int_equal(step_run(s, &b, 0, 0, 1, &loss), ERR_UNSUPPORTED);
    step_close(&s);
    assert_int_equal(step_open(&s, g.m, kind, &loss_opt, &(struct step_opt){0}), 0);
    assert_int_equal(step_run(s, &b, 0, 0, 1, &loss), 0);
    assert_true(fabs(loss - 3.1902051092987733) <= 1e-5);
    step_close(&s);
    golden_close(&g);
    golden_name = "clip_vit_tiny";
}

/* Gradient cache: chunks of 1, 2, 4 give the gradients of the whole batch. */
static void test_gradient_cache(void **state)
{
    struct golden g;
    struct loss_clip_opt loss_opt;
    const struct loss_kind *kind = loss_find("clip");
    golden_open(&g, "ref64");
    opt_defaults(kind->options, &loss_opt);
    struct params *p = &g.m->params;
    struct batch b = batch_of(&g);
    double whole_loss = 0, *whole = mem_alloc((size_t)p->n_slab * sizeof *whole);
    int64_t chunks[] = {0, 1, 2, 4};
    size_t peak_whole = 0;
    for (size_t c = 0; c < ARRAY_LEN(chunks); c++) {
        struct step *s;
        double loss;
        assert_int_equal(step_open(&s, g.m, kind, &loss_opt, &(struct step_opt){.chunk = chunks[c]}), 0);
        params_zero_grad(p);
        assert_int_equal(step_run(s, &b, 0, 0, 1, &loss), 0);
        if (c == 0) {
            whole_loss = loss;
            memcpy(whole, p->grad, (size_t)p->n_slab * sizeof *whole);
            peak_whole = step_peak_bytes(s);
        }
        assert_true(fabs(loss - whole_loss) < 1e-12);
        for (int64_t i = 0; i < p->n_slab; i++)
            assert_true(fabs(whole[i] - ((double *)p->grad)[i]) < 1e-11);
        if (chunks[c] == 1)
            assert_true(step_peak_bytes(s) < peak_whole);
        step_close(&s);
    }
    mem_free(whole);
    golden_close(&g);
}

/* A training run of constant shape asks the system for no memory after its first step. */
static void test_no_allocation(void **state)
{
    struct golden g;
    struct step *s;
    struct loss_clip_opt loss_opt;
    const struct loss_kind *kind = loss_find("clip");
    double loss;
    golden_open(&g, "cpu");
    opt_defaults(kind->options, &loss_opt);
    struct batch b = batch_of(&g);
    assert_int_equal(step_open(&s, g.m, kind, &loss_opt, &(struct step_opt){0}), 0);
    assert_int_equal(step_run(s, &b, 0, 0, 1, &loss), 0);
    int64_t before = mem_requests();
    for (int i = 0; i < 5; i++)
        assert_int_equal(step_run(s, &b, 0, i, 1, &loss), 0);
    assert_int_equal(mem_requests(), before);
    step_close(&s);
    golden_close(&g);
}

/* A loss over vectors reaches no decoder: its weights stay bit for bit, in spite of weight decay. */
static void test_idle_weights(void **state)
{
    struct golden g;
    struct step *s;
    struct optimizer o;
    struct optimizer_opt opt = {0.9, 0.98, 1e-6, 0.2};
    struct loss_clip_opt loss_opt;
    const struct loss_kind *kind = loss_find("clip");
    double loss;
    golden_name = "coca_tiny";
    golden_open(&g, "cpu");
    opt_defaults(kind->options, &loss_opt);
    struct params *p = &g.m->params;
    size_t bytes = (size_t)p->n_slab * sizeof(float);
    float *before = mem_alloc(bytes);
    memcpy(before, p->data, bytes);
    struct batch b = batch_of(&g);
    assert_int_equal(step_open(&s, g.m, kind, &loss_opt, &(struct step_opt){0}), 0);
    assert_int_equal(optimizer_open(&o, p), 0);
    params_zero_grad(p);
    assert_int_equal(step_run(s, &b, 0, 0, 1, &loss), 0);
    optimizer_step(&o, g.m->engine, p, &opt, 1e-3, 1.0);
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        bool same = memcmp((float *)p->data + q->at, before + q->at, (size_t)q->n * sizeof(float)) == 0;
        if (same != str_starts(q->path, "text_decoder."))
            fail_msg("%s %s", q->path, same ? "did not move" : "moved");
    }
    mem_free(before);
    optimizer_close(&o);
    step_close(&s);
    golden_close(&g);
    golden_name = "clip_vit_tiny";
}

/* Every weight moves, and once, tied ones and their neighbours in the table too. */
static void test_all_weights(void **state)
{
    static const char *const names[] = {"clip_vit_tiny", "clip_rn_tiny", "coca_tiny", "blip_caption_tiny",
                                        "blip_itm_tiny"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct golden g;
        struct optimizer o;
        struct optimizer_opt opt = {0.9, 0.98, 1e-12, 0.0};
        golden_name = names[i];
        golden_open(&g, "ref64");
        struct params *p = &g.m->params;
        assert_int_equal(params_want_grad(p), 0);
        assert_int_equal(optimizer_open(&o, p), 0);
        double *before = mem_alloc((size_t)p->n_slab * sizeof *before);
        memcpy(before, p->data, (size_t)p->n_slab * sizeof *before);
        for (int64_t k = 0; k < p->n_slab; k++)
            ((double *)p->grad)[k] = 1.0;
        optimizer_step(&o, g.m->engine, p, &opt, 0.25, 1.0);
        for (int64_t k = 0; k < p->n; k++)
            for (int64_t j = p->v[k].at; j < p->v[k].at + p->v[k].n; j++)
                if (!(fabs(before[j] - ((double *)p->data)[j] - 0.25) < 1e-9))
                    fail_msg("%s: %s moved by %g", names[i], p->v[k].path, before[j] - ((double *)p->data)[j]);
        mem_free(before);
        optimizer_close(&o);
        golden_close(&g);
    }
    golden_name = "clip_vit_tiny";
}

static void test_schedule(void **state)
{
    assert_true(fabs(schedule_cosine(0, 10, 110, 0) - 0.1) < 1e-12);
    assert_true(fabs(schedule_cosine(9, 10, 110, 0) - 1.0) < 1e-12);
    assert_true(fabs(schedule_cosine(60, 10, 110, 0) - 0.5) < 1e-12);
    assert_true(fabs(schedule_cosine(110, 10, 110, 0.1) - 0.1) < 1e-12);
    for (int i = 11; i < 110; i++)
        assert_true(schedule_cosine(i, 10, 110, 0.1) <= schedule_cosine(i - 1, 10, 110, 0.1));
}

/* What was saved comes back bit for bit; a damaged newest checkpoint is passed over for the older one; another
 * configuration is refused. */
static void test_checkpoint(void **state)
{
    struct golden g;
    struct optimizer o, o2;
    char run[] = "/tmp/meridian-test-XXXXXX", path[1024];
    bool found;
    golden_open(&g, "cpu");
    assert_non_null(mkdtemp(run));
    struct params *p = &g.m->params;
    size_t bytes = (size_t)p->n_slab * sizeof(float);
    assert_int_equal(optimizer_open(&o, p), 0);
    assert_int_equal(optimizer_open(&o2, p), 0);
    json_t *config = json_pack("{s:i}", "batch", 6), *other = json_pack("{s:i}", "batch", 7);
    float *average = mem_alloc(bytes), *average2 = mem_alloc(bytes), *weights = mem_alloc(bytes);
    struct cursor c = {.epoch = 2, .step = 3, .done = 40, .best_epoch = 1, .best = 0.25, .loss_mean = 1.0 / 3},
                  back = {0};
    for (int k = 0; k < 3; k++) { /* three saves: the oldest is removed */
        for (int64_t i = 0; i < p->n_slab; i++) {
            ((float *)o.m)[i] = (float)(i + k) * 0.25f;
            ((float *)o.v)[i] = (float)(i + k) * 0.5f;
            average[i] = (float)k;
        }
        o.step = c.done = 40 + k;
        if (checkpoint_save(run, g.m, &o, average, &c, config) < 0)
            fail_msg("%s", err_text());
    }
    snprintf(path, sizeof path, "%s/checkpoints/step-%09d", run, 40);
    assert_false(path_exists(path));
    memcpy(weights, p->data, bytes);
    memset(p->data, 0, bytes);
    if (checkpoint_load(run, g.m, &o2, average2, &back, config, &found) < 0)
        fail_msg("%s", err_text());
    assert_true(found);
    assert_memory_equal(weights, p->data, bytes);
    assert_memory_equal(o.m, o2.m, bytes);
    assert_memory_equal(o.v, o2.v, bytes);
    assert_memory_equal(average, average2, bytes);
    assert_true(back.epoch == 2 && back.step == 3 && back.done == 42 && back.best_epoch == 1 && back.best == 0.25 &&
                back.loss_mean == c.loss_mean);
    assert_int_equal(o2.step, 42);
    assert_int_equal(checkpoint_load(run, g.m, &o2, average2, &back, other, &found), ERR_USAGE);

    snprintf(path, sizeof path, "%s/checkpoints/step-%09d/state.safetensors", run, 42);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -5, SEEK_END), 0);
    fputc(0x55, f);
    fclose(f);
    assert_int_equal(checkpoint_load(run, g.m, &o2, average2, &back, config, &found), 0);
    assert_true(found && back.done == 41);
    path_remove_tree(run);
    json_decref(config);
    json_decref(other);
    mem_free(average);
    mem_free(average2);
    mem_free(weights);
    optimizer_close(&o);
    optimizer_close(&o2);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_ref64),      cmocka_unit_test(test_steps_cpu),
        cmocka_unit_test(test_gradient_cache),   cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_batch_statistics), cmocka_unit_test(test_idle_weights),
        cmocka_unit_test(test_all_weights),      cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_checkpoint),
    };
    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
