/* tests/train/test_loop.c: the loop over epochs: an interrupt at any place keeps the work, and going on gives the bits
 * of the run that was left alone. The pictures are drawn here, a few numbers each, so that no decoder is needed. */
#include "train/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES = 12, SIDE = 20 };

static const char config_text[] =
    "{\"model_type\": \"clip\", \"projection_dim\": 16, \"logit_scale_init_value\": 2.6592,"
    " \"text_config\": {\"hidden_act\": \"gelu\", \"vocab_size\": 530, \"hidden_size\": 16, \"intermediate_size\": 32,"
    "  \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"max_position_embeddings\": 8},"
    " \"vision_config\": {\"hidden_act\": \"gelu\", \"hidden_size\": 24, \"intermediate_size\": 48,"
    "  \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"image_size\": 16, \"patch_size\": 8}}";

static const char *captions[PICTURES] = {"red circle",   "red square",  "red star",     "green circle",
                                         "green square", "green star",  "blue circle",  "blue square",
                                         "blue star",    "grey circle", "grey squares", "grey stars"};

static int draw(const struct dataset *d UNUSED, int64_t row, struct image *rgb, uint8_t **alpha)
{
    *rgb = (struct image){SIDE, SIDE, 3, mem_alloc((size_t)SIDE * SIDE * 3)};
    if (!rgb->pixels)
        return ERR_MEMORY;
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        rgb->pixels[i] = (uint8_t)(40 * (row / 3) * (i % 3) + 7 * (row % 3) * (i / 60));
    if (alpha)
        *alpha = NULL;
    return 0;
}

/* What happens at the end of an epoch. */
struct judge {
    int calls, interrupt_at; /* this call meets a Ctrl-C; 0: none */
};

static int judge(void *ctx, struct model *m UNUSED, int64_t epoch UNUSED, json_t *event UNUSED, double *score)
{
    struct judge *j = ctx;
    if (++j->calls == j->interrupt_at)
        raise(SIGINT);
    *score = 1.0 / j->calls;
    return signal_check();
}

struct work {
    struct model *m;
    struct dataset data;
    struct pair pairs[PICTURES];
    struct train_opt opt;
    struct loss_clip_opt loss;
    json_t *config;
};

static void open_work(struct work *w)
{
    const struct engine *e;
    struct tokenizer *t;
    json_t *config;
    memset(w, 0, sizeof *w);
    assert_int_equal(engine_open(&e, "cpu", 2), 0);
    assert_int_equal(tokenizer_train(&t, captions, NULL, PICTURES, 530), 0);
    assert_int_equal(json_read_text(&config, config_text, strlen(config_text), "config"), 0);
    if (model_init(&w->m, config, "config", &t, e, 5) < 0)
        fail_msg("%s", err_text());
    json_decref(config);
    for (int i = 0; i < PICTURES; i++)
        w->pairs[i] = (struct pair){i, i};
    w->data = (struct dataset){.spec = "drawn",
                               .n_images = PICTURES,
                               .n_texts = PICTURES,
                               .n_pairs = PICTURES,
                               .captions = captions,
                               .pairs = w->pairs,
                               .read_image = draw};
    opt_defaults(train_options, &w->opt);
    opt_defaults(loss_find("clip")->options, &w->loss);
    w->opt.batch = 4;
    w->opt.epochs = 4;
    w->opt.lr = 1e-3;
    w->opt.average = 0.9;
    w->opt.augment = true;
    w->opt.seed = 3;
    w->config = opt_to_json(train_options, &w->opt);
}

static void close_work(struct work *w)
{
    model_close(&w->m);
    json_decref(w->config);
}

static int train(struct work *w, const char *dir, bool resume, struct judge *j, struct train_result *out)
{
    struct rundir *run;
    if (rundir_open(&run, dir, resume, false, w->config) < 0)
        fail_msg("%s", err_text());
    struct train_job job = {.model = w->m,
                            .data = &w->data,
                            .loss = loss_find("clip"),
                            .loss_opt = &w->loss,
                            .opt = &w->opt,
                            .config = w->config,
                            .run = run,
                            .resume = resume,
                            .end_of_epoch = judge,
                            .ctx = j};
    int rc = train_run(&job, out);
    rundir_close(&run);
    return rc;
}

/* Ctrl-C while the second epoch is judged: its steps are kept, the epoch is judged again, the end is the same. */
static void test_interrupted_judgement(void **state UNUSED)
{
    struct work whole, broken;
    struct judge quiet = {0}, nervous = {.interrupt_at = 2};
    struct train_result a, b;
    char root[] = "/tmp/meridian-test-XXXXXX", one[64], two[64];
    assert_non_null(mkdtemp(root));
    snprintf(one, sizeof one, "%s/one", root);
    snprintf(two, sizeof two, "%s/two", root);
    log_level(LOG_ERROR);
    signal_catch();

    open_work(&whole);
    if (train(&whole, one, false, &quiet, &a) < 0)
        fail_msg("%s", err_text());
    assert_true(a.steps == 12 && quiet.calls == 4 && !a.interrupted && a.best_epoch == 0);

    open_work(&broken);
    assert_int_equal(train(&broken, two, false, &nervous, &b), ERR_INTERRUPTED);
    assert_true(b.steps == 6 && b.interrupted);
    close_work(&broken);

    signal_catch(); /* forgets the Ctrl-C, as a new process would */
    nervous = (struct judge){.calls = 1};
    open_work(&broken);
    if (train(&broken, two, true, &nervous, &b) < 0)
        fail_msg("%s", err_text());
    assert_true(b.steps == 12 && nervous.calls == 4 && !b.interrupted && b.best_epoch == 0);
    assert_memory_equal(whole.m->params.data, broken.m->params.data,
                        (size_t)whole.m->params.n_slab * dtype_size(whole.m->params.real));
    close_work(&broken);
    close_work(&whole);
    path_remove_tree(root);
}

/* The judge of this file likes the first epoch best: RUN/model is then another one than the last. */
static void test_keep(void **state UNUSED)
{
    struct train_result r;
    char root[] = "/tmp/meridian-test-XXXXXX", dir[64], path[128], hash[2][65];
    assert_non_null(mkdtemp(root));
    log_level(LOG_ERROR);
    signal_catch();
    for (int last = 0; last < 2; last++) {
        struct work w;
        struct judge quiet = {0};
        struct map file;
        struct sha256 h;
        open_work(&w);
        w.opt.keep = last ? "last" : "best";
        snprintf(dir, sizeof dir, "%s/%d", root, last);
        if (train(&w, dir, false, &quiet, &r) < 0)
            fail_msg("%s", err_text());
        assert_true(r.best_epoch == 0);
        snprintf(path, sizeof path, "%s/model/model.safetensors", dir);
        assert_int_equal(map_open(&file, path), 0);
        sha256_start(&h);
        sha256_add(&h, file.data, file.size);
        sha256_hex(&h, hash[last]);
        map_close(&file);
        close_work(&w);
    }
    assert_string_not_equal(hash[0], hash[1]);
    path_remove_tree(root);
}

/* A learned scale above its top comes back under it, and can leave it again. */
static void test_scale_leaves_its_top(void **state UNUSED)
{
    struct work w;
    struct judge quiet = {0};
    struct train_result r;
    char root[] = "/tmp/meridian-test-XXXXXX", dir[64];
    assert_non_null(mkdtemp(root));
    snprintf(dir, sizeof dir, "%s/run", root);
    log_level(LOG_ERROR);
    signal_catch();
    open_work(&w);
    *(float *)w.m->logit_scale->data = (float)log(100.0); /* far too sure for new weights: the loss wants it lower */
    assert_true(model_logit_scale(w.m) == 100.0);
    if (train(&w, dir, false, &quiet, &r) < 0)
        fail_msg("%s", err_text());
    assert_true(model_logit_scale(w.m) < 99.9);
    close_work(&w);
    path_remove_tree(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interrupted_judgement),
        cmocka_unit_test(test_keep),
        cmocka_unit_test(test_scale_leaves_its_top),
    };
    return cmocka_run_group_tests_name("train loop", tests, NULL, NULL);
}
