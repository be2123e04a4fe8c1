/* tests/api/test_api.c: meridian.h as a stranger's program sees it: the shared library, the golden CLIP, bad arguments.
 */
#include "io/io.h"
#include "meridian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { D = 24, SIZE = 32, CONTEXT = 16 }; /* of the golden model */

static void golden_path(char *out, size_t n, const char *file)
{
    const char *root = getenv("MERIDIAN_GOLDEN");
    assert_non_null(root);
    snprintf(out, n, "%s/clip_vit_tiny%s%s", root, file[0] ? "/" : "", file);
}

static struct st_file *golden_file(const char *file)
{
    char path[1024];
    struct st_file *f = NULL;
    golden_path(path, sizeof path, file);
    assert_int_equal(st_open(&f, path), 0);
    return f;
}

static struct mrd_model *golden_model(const struct mrd_model_opt *opt)
{
    char path[1024];
    struct mrd_model *m = NULL;
    golden_path(path, sizeof path, "");
    if (mrd_model_open(&m, path, opt) < 0)
        fail_msg("%s", mrd_error());
    return m;
}

static double distance(const struct st_file *f, const char *name, const float *x)
{
    const struct st_tensor *t = st_find(f, name);
    double worst = 0;
    assert_non_null(t);
    int64_t n = t->shape[0] * t->shape[1];
    double *want = malloc((size_t)n * sizeof *want);
    assert_non_null(want);
    assert_int_equal(dtype_convert(DT_F64, want, t->dtype, t->data, (size_t)n), 0);
    for (int64_t i = 0; i < n; i++) {
        double off = fabs((double)x[i] - want[i]);
        worst = off > worst || isnan(off) ? off : worst;
    }
    free(want);
    return worst;
}

#define assert_error(call, code, sentence)                                                                             \
    do {                                                                                                               \
        assert_int_equal(call, code);                                                                                  \
        if (!strstr(mrd_error(), sentence))                                                                            \
            fail_msg("\"%s\" does not say \"%s\"", mrd_error(), sentence);                                             \
    } while (0)

/* ---- models -------------------------------------------------------------------------------------------------------
 */

static void test_version(void **state UNUSED)
{
    assert_string_equal(mrd_version(), MRD_VERSION);
    assert_int_equal(mrd_abi(), MRD_ABI);
}

static void check_golden(const char *engine, int low, double bar)
{
    struct mrd_model_opt opt = MRD_MODEL_OPT_INIT;
    opt.engine = engine;
    opt.low = low;
    struct mrd_model *m = golden_model(&opt);
    struct st_file *inputs = golden_file("inputs.safetensors"), *expected = golden_file("expected.safetensors");
    const struct st_tensor *pixels = st_find(inputs, "pixel_values"), *ids = st_find(inputs, "input_ids");
    int64_t n = ids->shape[0];
    float *x = malloc((size_t)(n * D) * sizeof *x);
    int32_t *tokens = malloc((size_t)(n * CONTEXT) * sizeof *tokens);
    assert_true(x && tokens);
    assert_int_equal(mrd_model_width(m), D);
    assert_int_equal(mrd_model_image_size(m), SIZE);
    assert_int_equal(mrd_model_context(m), CONTEXT);
    assert_true(mrd_model_logit_scale(m) > 1.0);
    assert_int_equal(mrd_model_encode_pixels(m, pixels->data, n, x), 0);
    assert_true(distance(expected, "image_embeds", x) <= bar);
    for (int64_t i = 0; i < n * CONTEXT; i++)
        tokens[i] = (int32_t)((const int64_t *)ids->data)[i];
    assert_int_equal(mrd_model_encode_tokens(m, tokens, n, CONTEXT, x), 0);
    assert_true(distance(expected, "text_embeds", x) <= bar);
    free(x);
    free(tokens);
    st_close(&inputs);
    st_close(&expected);
    mrd_model_free(&m);
    assert_null(m);
    mrd_model_free(&m);
}

static void test_golden(void **state UNUSED)
{
    check_golden(NULL, 0, 5e-5);
    check_golden("ref", 0, 5e-5);
    check_golden("cpu", 1, 2e-2);
}

/* A file is the same as its pixels put through the model's own preprocessing; here a flat picture, whose pixels are
 * known: (value / 255 - mean) / std. */
static void test_files(void **state UNUSED)
{
    static const double mean[3] = {0.48145466, 0.4578275, 0.40821073}, std[3] = {0.26862954, 0.26130258, 0.27577711};
    enum { SIDE = 40 };
    char path[] = "/tmp/meridian-api-XXXXXX";
    static uint8_t rgb[SIDE * SIDE * 3];
    static float pixels[3 * SIZE * SIZE];
    float a[D], b[D];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < SIDE * SIDE; i++)
        memcpy(rgb + 3 * i, (const uint8_t[]){200, 100, 50}, 3);
    assert_int_equal(image_write_png(path, &(struct image){SIDE, SIDE, 3, rgb}), 0);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < SIZE * SIZE; i++)
            pixels[c * SIZE * SIZE + i] = (float)(((double[]){200, 100, 50}[c] / 255 - mean[c]) / std[c]);
    struct mrd_model *m = golden_model(NULL);
    const char *paths[2] = {path, "/nowhere/cat.png"};
    assert_int_equal(mrd_model_encode_images(m, paths, 1, a), 0);
    assert_int_equal(mrd_model_encode_pixels(m, pixels, 1, b), 0);
    for (int j = 0; j < D; j++)
        assert_true(fabs((double)a[j] - (double)b[j]) < 1e-5);
    float both[2 * D];
    assert_error(mrd_model_encode_images(m, paths, 2, both), MRD_ERR_DATA, "/nowhere/cat.png");
    unlink(path);
    mrd_model_free(&m);
}

static void test_bad_calls(void **state UNUSED)
{
    struct mrd_model *m = NULL;
    struct mrd_model_opt opt = MRD_MODEL_OPT_INIT;
    float x[D];
    const char *texts[] = {"a"}, *holes[] = {NULL};
    const int32_t ids[2] = {298, 300};
    assert_error(mrd_model_open(&m, "/nowhere", NULL), MRD_ERR_FAIL, "/nowhere");
    assert_error(mrd_model_open(NULL, "emoji", NULL), MRD_ERR_USAGE, "must be given");
    opt.engine = "quantum";
    assert_error(mrd_model_open(&m, "/nowhere", &opt), MRD_ERR_UNSUPPORTED, "quantum");
    opt.engine = NULL;
    opt.size = 0;
    assert_error(mrd_model_open(&m, "/nowhere", &opt), MRD_ERR_USAGE, "_INIT");
    assert_null(m);
    m = golden_model(NULL);
    assert_error(mrd_model_encode_texts(m, texts, 1, x), MRD_ERR_DATA, "tokenizer");
    assert_error(mrd_model_encode_texts(m, holes, 1, x), MRD_ERR_USAGE, "entry 0 is NULL");
    assert_error(mrd_model_encode_tokens(m, ids, 1, 2, x), MRD_ERR_DATA, "300");
    assert_error(mrd_model_encode_tokens(m, ids, 1, CONTEXT + 1, x), MRD_ERR_USAGE, "context");
    assert_error(mrd_model_encode_pixels(m, NULL, 1, x), MRD_ERR_USAGE, "must be given");
    assert_error(mrd_model_encode_pixels(m, x, -1, x), MRD_ERR_USAGE, "negative");
    assert_int_equal(mrd_model_encode_pixels(m, NULL, 0, NULL), 0);
    assert_string_equal(mrd_error(), "");
    mrd_model_free(&m);
    mrd_model_free(NULL);
}

/* An older caller's struct ends early: what it does not know keeps its default. */
static void test_old_options(void **state UNUSED)
{
    struct mrd_model_opt opt = {offsetof(struct mrd_model_opt, threads), "ref", -7, 1};
    struct mrd_model *m = golden_model(&opt);
    mrd_model_free(&m);
}

/* ---- measures -----------------------------------------------------------------------------------------------------
 */

static json_t *parse(char *text)
{
    json_t *o = NULL;
    assert_non_null(text);
    assert_int_equal(json_read_text(&o, text, strlen(text), "answer"), 0);
    mrd_free(text);
    return o;
}

static double number(const json_t *o, const char *a, const char *b, const char *c)
{
    o = json_object_get(o, a);
    o = b ? json_object_get(o, b) : o;
    o = c ? json_object_get(o, c) : o;
    assert_true(json_is_number(o));
    return json_number_value(o);
}

/* Text i lies on picture i, but for the last two, which are swapped; pairs are given twice and out of order. */
static void test_retrieval(void **state UNUSED)
{
    const float images[4][2] = {{1, 0}, {0, 2}, {-1, 0}, {0, -3}}, texts[4][2] = {{5, 0}, {0, 1}, {0, -1}, {-1, 0}};
    const int64_t pairs[5][2] = {{3, 3}, {0, 0}, {1, 1}, {2, 2}, {0, 0}};
    struct mrd_pairs p = {images[0], texts[0], 4, 4, 2, pairs[0], 5};
    char *text = NULL;
    assert_int_equal(mrd_retrieval(&text, &p, NULL), 0);
    json_t *o = parse(text);
    assert_true(number(o, "image_to_text", "recall", "1") == 0.5);
    assert_true(number(o, "image_to_text", "recall", "5") == 1.0);
    assert_true(number(o, "text_to_image", "mrr", NULL) < 1.0);
    json_decref(o);
    p.pairs = NULL; /* the same: row i with row i */
    text = NULL;
    assert_int_equal(mrd_retrieval(&text, &p, NULL), 0);
    o = parse(text);
    assert_true(number(o, "image_to_text", "recall", "1") == 0.5);
    json_decref(o);
}

static void test_geometry(void **state UNUSED)
{
    const float images[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    struct mrd_pairs p = {.images = images[0], .texts = images[0], .n_images = 4, .n_texts = 4, .width = 2};
    struct mrd_measure_opt opt = MRD_MEASURE_OPT_INIT;
    char *text = NULL, *again = NULL;
    opt.seed = 7;
    assert_int_equal(mrd_geometry(&text, &p, &opt), 0);
    assert_int_equal(mrd_geometry(&again, &p, &opt), 0);
    assert_string_equal(text, again);
    mrd_free(again);
    json_t *o = parse(text);
    assert_true(fabs(number(o, "alignment", NULL, NULL)) < 1e-12);
    assert_true(fabs(number(o, "centroid_distance", NULL, NULL)) < 1e-12);
    assert_true(fabs(number(o, "mean_cosine", "matched", NULL) - 1) < 1e-12);
    /* pairs of corners of a square: four at squared distance 2, two at 4 */
    assert_true(fabs(number(o, "uniformity", "image", NULL) - log((4 * exp(-4.0) + 2 * exp(-8.0)) / 6)) < 1e-9);
    json_decref(o);
}

static void test_bad_arrays(void **state UNUSED)
{
    float x[2][2] = {{1, 0}, {0, 1}};
    const int64_t outside[1][2] = {{0, 2}};
    struct mrd_pairs p = {.images = x[0], .texts = x[0], .n_images = 2, .n_texts = 1, .width = 2};
    struct mrd_measure_opt opt = MRD_MEASURE_OPT_INIT;
    char *text = NULL;
    assert_error(mrd_retrieval(&text, &p, NULL), MRD_ERR_USAGE, "same number");
    p.n_texts = 2;
    p.pairs = outside[0];
    p.n_pairs = 1;
    assert_error(mrd_geometry(&text, &p, NULL), MRD_ERR_DATA, "(0, 2)");
    p.pairs = NULL;
    assert_error(mrd_retrieval(NULL, &p, NULL), MRD_ERR_USAGE, "json must be given");
    assert_error(mrd_retrieval(&text, NULL, NULL), MRD_ERR_USAGE, "must be given");
    p.width = 0;
    assert_error(mrd_retrieval(&text, &p, NULL), MRD_ERR_USAGE, "width");
    p.width = 2;
    opt.temperature = -1;
    assert_error(mrd_retrieval(&text, &p, &opt), MRD_ERR_USAGE, "temperature");
    x[1][1] = 0;
    assert_error(mrd_retrieval(&text, &p, NULL), MRD_ERR_NONFINITE, "");
    x[1][1] = NAN;
    assert_error(mrd_geometry(&text, &p, NULL), MRD_ERR_NONFINITE, "");
    assert_null(text);
}

/* ---- threads and messages -----------------------------------------------------------------------------------------
 */

struct job {
    struct mrd_model *m;
    float out[D], pixels[3 * SIZE * SIZE];
    int rc;
};

static void *encode_again(void *arg)
{
    struct job *j = arg;
    for (int i = 0; i < 20 && j->rc == 0; i++)
        j->rc = mrd_model_encode_pixels(j->m, j->pixels, 1, j->out);
    struct mrd_model *none = NULL;
    if (mrd_model_open(&none, "/nowhere/thread", NULL) >= 0 || !strstr(mrd_error(), "/nowhere/thread"))
        j->rc = -1;
    return NULL;
}

static void test_threads(void **state UNUSED)
{
    enum { N = 4 };
    static struct job jobs[N];
    pthread_t t[N];
    struct mrd_model *m = golden_model(NULL);
    for (int i = 0; i < N; i++) {
        jobs[i].m = m;
        for (int k = 0; k < 3 * SIZE * SIZE; k++)
            jobs[i].pixels[k] = (float)(k % 17) / 8 - 1;
        assert_int_equal(pthread_create(&t[i], NULL, encode_again, &jobs[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(jobs[i].rc, 0);
        assert_memory_equal(jobs[i].out, jobs[0].out, sizeof jobs[i].out);
    }
    assert_string_equal(mrd_error(), ""); /* the threads' failures are theirs */
    mrd_model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),   cmocka_unit_test(test_golden),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_calls), cmocka_unit_test(test_old_options), cmocka_unit_test(test_retrieval),
        cmocka_unit_test(test_geometry),  cmocka_unit_test(test_bad_arrays),  cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
