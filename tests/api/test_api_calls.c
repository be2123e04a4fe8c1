/* tests/api/test_api_calls.c: meridian.h around the numbers: interruptions from another thread, forks, older and newer
 * callers, what a model says about itself, matches and captions against values computed by other people's code. */
#include "io/io.h"
#include "meridian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIDE = 32, PIXELS = 3 * SIDE * SIDE };

#define assert_error(call, code, sentence)                                                                             \
    do {                                                                                                               \
        assert_int_equal(call, code);                                                                                  \
        if (!strstr(mrd_error(), sentence))                                                                            \
            fail_msg("\"%s\" does not say \"%s\"", mrd_error(), sentence);                                             \
    } while (0)

static void golden_path(char *out, size_t n, const char *folder, const char *file)
{
    const char *root = getenv("MERIDIAN_GOLDEN");
    assert_non_null(root);
    snprintf(out, n, "%s/%s%s%s", root, folder, file[0] ? "/" : "", file);
}

static struct st_file *golden_file(const char *folder, const char *file)
{
    char path[1024];
    struct st_file *f = NULL;
    golden_path(path, sizeof path, folder, file);
    assert_int_equal(st_open(&f, path), 0);
    return f;
}

static struct mrd_model *open_model(const char *path, const struct mrd_model_opt *opt)
{
    struct mrd_model *m = NULL;
    if (mrd_model_open(&m, path, opt) < 0)
        fail_msg("%s", mrd_error());
    return m;
}

static struct mrd_model *golden_model(const char *folder, const struct mrd_model_opt *opt)
{
    char path[1024];
    golden_path(path, sizeof path, folder, "");
    return open_model(path, opt);
}

/* ---- what a model says about itself ---- */

static void test_info(void **state UNUSED)
{
    struct mrd_model_opt opt = MRD_MODEL_OPT_INIT;
    struct mrd_model *m = golden_model("clip_vit_tiny", NULL);
    char *a = NULL, *b = NULL;
    assert_string_equal(mrd_model_family(m), "clip");
    assert_string_equal(mrd_model_layout(m), "hf");
    assert_non_null(strstr(mrd_model_name(m), "clip_vit_tiny"));
    assert_int_equal(mrd_model_vocab(m), 300);
    assert_int_equal(mrd_model_fingerprint(m, &a), 0);
    assert_int_equal(strlen(a), 64);
    mrd_model_free(&m);
    opt.image_size = 48; /* other positions, other preprocessing: another model */
    m = golden_model("clip_vit_tiny", &opt);
    assert_int_equal(mrd_model_image_size(m), 48);
    assert_int_equal(mrd_model_fingerprint(m, &b), 0);
    assert_string_not_equal(a, b);
    static float pixels[3 * 48 * 48], x[512];
    assert_int_equal(mrd_model_encode_pixels(m, pixels, 1, x), 0);
    mrd_model_free(&m);
    mrd_free(a);
    mrd_free(b);
    opt.image_size = -1;
    assert_error(mrd_model_open(&m, "emoji", &opt), MRD_ERR_USAGE, "image_size");
    opt.image_size = 33;
    char path[1024];
    golden_path(path, sizeof path, "clip_vit_tiny", "");
    assert_true(mrd_model_open(&m, path, &opt) < 0 && mrd_error()[0]);
    assert_null(m);
}

/* A caller of a later version knows more fields than we do, one of an earlier fewer. */
static void test_struct_growth(void **state UNUSED)
{
    struct {
        struct mrd_model_opt known;
        char later[64];
    } newer = {.known = MRD_MODEL_OPT_INIT};
    memset(newer.later, 0xff, sizeof newer.later);
    newer.known.size = sizeof newer;
    struct mrd_model *m = golden_model("clip_vit_tiny", &newer.known);
    mrd_model_free(&m);
    struct mrd_model_opt older = MRD_MODEL_OPT_INIT;
    older.size = offsetof(struct mrd_model_opt, image_size);
    older.image_size = -1; /* behind its end: not looked at */
    m = golden_model("clip_vit_tiny", &older);
    assert_int_equal(mrd_model_image_size(m), SIDE);
    mrd_model_free(&m);
    const float x[2][2] = {{1, 0}, {0, 1}};
    struct mrd_pairs p = {.images = x[0], .texts = x[0], .n_images = 2, .n_texts = 2, .width = 2};
    struct mrd_measure_opt o = MRD_MEASURE_OPT_INIT;
    char *text = NULL;
    o.bins = 65;
    assert_error(mrd_retrieval(&text, &p, &o), MRD_ERR_USAGE, "bins");
    o.size = offsetof(struct mrd_measure_opt, bins);
    assert_int_equal(mrd_retrieval(&text, &p, &o), 0);
    mrd_free(text);
}

/* ---- matches and captions ---- */

static void test_match(void **state UNUSED)
{
    enum { N = 5, L = 12 };
    struct mrd_model *m = golden_model("blip_itm_tiny", NULL);
    struct st_file *in = golden_file("blip_itm_tiny", "inputs.safetensors");
    struct st_file *out = golden_file("blip_itm_tiny", "expected.safetensors");
    const float *two = st_find(out, "itm_logits_enc")->data, *pixels = st_find(in, "pixel_values")->data;
    const int64_t *wide = st_find(in, "input_ids")->data;
    int32_t ids[N * L];
    float x[N];
    for (int i = 0; i < N * L; i++)
        ids[i] = (int32_t)wide[i];
    assert_int_equal(mrd_model_match(m, pixels, ids, N, L, x), 0);
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)x[i] - ((double)two[2 * i + 1] - (double)two[2 * i])) <= 1e-4);
    ids[L] = 100000;
    assert_error(mrd_model_match(m, pixels, ids, N, L, x), MRD_ERR_DATA, "row 1 holds id 100000");
    assert_int_equal(mrd_model_match(m, NULL, NULL, 0, L, NULL), 0);
    mrd_model_free(&m);
    m = golden_model("clip_vit_tiny", NULL);
    ids[L] = 0;
    assert_error(mrd_model_match(m, pixels, ids, 1, L, x), MRD_ERR_UNSUPPORTED, "no matching head");
    mrd_model_free(&m);
    st_close(&in);
    st_close(&out);
}

static void write_text(const char *folder, const char *file, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* The golden captioner with a vocabulary of made-up words, "wI" for id I: so words say which ids were written. */
static void speaking_model(char folder[], const char *const links[], size_t n)
{
    static const char *const named[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    struct str vocab = {0};
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < n; i++) {
        char from[1024], to[1024];
        golden_path(from, sizeof from, "blip_caption_tiny", links[i]);
        snprintf(to, sizeof to, "%s/%s", folder, links[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    for (int i = 0; i < 158; i++) {
        if (i < (int)ARRAY_LEN(named))
            str_add(&vocab, "%s\n", named[i]);
        else
            str_add(&vocab, "w%d\n", i);
    }
    write_text(folder, "vocab.txt", vocab.s);
    str_free(&vocab);
}

static void test_caption(void **state UNUSED)
{
    enum { N = 4, L = 20, GIVEN = 4 };
    static const char *const links[] = {"config.json", "model.safetensors", "preprocessor_config.json"};
    static const char *const files[] = {"vocab.txt"};
    char folder[] = "/tmp/meridian-api-XXXXXX", path[1024], *texts[N] = {0};
    double scores[N];
    struct mrd_caption_opt opt = MRD_CAPTION_OPT_INIT;
    struct st_file *in = golden_file("blip_caption_tiny", "inputs.safetensors");
    const float *pixels = st_find(in, "pixel_values")->data;
    json_t *expected = NULL;
    golden_path(path, sizeof path, "blip_caption_tiny", "expected.json");
    assert_int_equal(json_read_file(&expected, path), 0);
    speaking_model(folder, links, ARRAY_LEN(links));
    struct mrd_model *m = open_model(folder, NULL);
    opt.prompt = "w129 w122 w30";
    opt.max_length = L;
    if (mrd_model_caption(m, pixels, N, &opt, texts, scores) < 0)
        fail_msg("%s", mrd_error());
    for (int i = 0; i < N; i++) {
        json_t *row = json_array_get(json_object_get(expected, "greedy_min_length_0"), (size_t)i);
        struct str want = {0};
        for (size_t k = 1; k < json_array_size(row); k++)
            if (json_integer_value(json_array_get(row, k)) != 3)
                str_add(&want, "%sw%d", k > 1 ? " " : "", (int)json_integer_value(json_array_get(row, k)));
        assert_string_equal(texts[i], want.s);
        assert_true(scores[i] < 0 && isfinite(scores[i]));
        str_free(&want);
        mrd_free(texts[i]);
    }
    opt.beam = 65;
    assert_error(mrd_model_caption(m, pixels, 1, &opt, texts, NULL), MRD_ERR_USAGE, "beams");
    mrd_model_free(&m);
    m = golden_model("blip_caption_tiny", NULL);
    assert_error(mrd_model_caption(m, pixels, 1, NULL, texts, NULL), MRD_ERR_DATA, "no tokenizer");
    float x[64];
    assert_error(mrd_model_encode_pixels(m, pixels, 1, x), MRD_ERR_UNSUPPORTED, "no common space");
    mrd_model_free(&m);
    m = golden_model("clip_vit_tiny", NULL);
    assert_error(mrd_model_caption(m, pixels, 1, NULL, texts, NULL), MRD_ERR_UNSUPPORTED, "cannot write captions");
    mrd_model_free(&m);
    json_decref(expected);
    st_close(&in);
    for (size_t i = 0; i < ARRAY_LEN(links) + ARRAY_LEN(files); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i < ARRAY_LEN(links) ? links[i] : files[0]);
        unlink(path);
    }
    rmdir(folder);
}

/* ---- halves ---- */

static void test_halves(void **state UNUSED)
{
    static const char *const texts[] = {"red apple", "man walking", ""};
    struct mrd_model *m = NULL;
    if (mrd_model_open(&m, "emoji", NULL) < 0) {
        print_message("SKIPPED: the shipped model is not there\n");
        skip();
    }
    int64_t context = mrd_model_context(m), d = mrd_model_width(m), cut = -1;
    int32_t *ids = malloc((size_t)(3 * context) * sizeof *ids);
    float *x = malloc((size_t)(6 * d) * sizeof *x);
    assert_true(ids && x);
    assert_int_equal(mrd_model_tokenize(m, texts, 3, ids, &cut), 0);
    assert_int_equal(cut, 0);
    assert_int_equal(mrd_model_encode_tokens(m, ids, 3, context, x), 0);
    assert_int_equal(mrd_model_encode_texts(m, texts, 3, x + 3 * d), 0);
    for (int64_t i = 0; i < 3 * d; i++)
        assert_true(fabs((double)x[i] - (double)x[3 * d + i]) <= 1e-6);
    char longest[3000];
    memset(longest, 0, sizeof longest);
    for (int i = 0; i < 1000; i++)
        memcpy(longest + 2 * i, "x ", 2);
    const char *one[] = {longest};
    assert_int_equal(mrd_model_tokenize(m, one, 1, ids, &cut), 0);
    assert_int_equal(cut, 1);
    assert_int_equal(mrd_model_tokenize(m, one, 1, ids, NULL), 0);
    free(ids);
    free(x);
    mrd_model_free(&m);
}

/* ---- interruptions ---- */

enum { MANY = 4096 };

struct long_call {
    struct mrd_model *m;
    int which, rc;
    _Bool started;
    pthread_mutex_t lock;
    char said[256];
};

static void *run_long(void *arg)
{
    struct long_call *c = arg;
    char *text = NULL;
    pthread_mutex_lock(&c->lock);
    c->started = 1;
    pthread_mutex_unlock(&c->lock);
    if (c->which == 0) {
        float *pixels = calloc((size_t)MANY * PIXELS, sizeof *pixels), *x = calloc((size_t)MANY * 512, sizeof *x);
        c->rc = pixels && x ? mrd_model_encode_pixels(c->m, pixels, MANY, x) : -1;
        free(pixels);
        free(x);
    } else {
        enum { D = 64 };
        float *x = malloc((size_t)MANY * D * sizeof *x);
        for (int i = 0; x && i < MANY * D; i++)
            x[i] = (float)((i * 7919) % 1000 - 500);
        struct mrd_pairs p = {.images = x, .texts = x, .n_images = MANY, .n_texts = MANY, .width = D};
        struct mrd_measure_opt opt = MRD_MEASURE_OPT_INIT;
        opt.bootstrap = 1000000;
        c->rc = x ? (c->which == 1 ? mrd_retrieval : mrd_geometry)(&text, &p, &opt) : -1;
        free(x);
    }
    snprintf(c->said, sizeof c->said, "%s", mrd_error());
    return NULL;
}

static void pause_ms(int ms)
{
    struct timespec t = {0, ms * 1000000L};
    nanosleep(&t, NULL);
}

static void check_interrupted(struct mrd_model *m, int which)
{
    struct long_call c = {.m = m, .which = which, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    _Bool started = 0;
    assert_int_equal(pthread_create(&thread, NULL, run_long, &c), 0);
    while (!started) {
        pthread_mutex_lock(&c.lock);
        started = c.started;
        pthread_mutex_unlock(&c.lock);
    }
    pause_ms(100);
    mrd_interrupt();
    for (int i = 0; i < 50; i++, mrd_interrupt()) /* it may not have begun yet, on a busy machine */
        pause_ms(10);
    pthread_join(thread, NULL);
    if (c.rc == 0 && which == 0)
        print_message("the encoder was done before it could be interrupted\n");
    else
        assert_int_equal(c.rc, MRD_ERR_INTERRUPTED);
    if (c.rc < 0)
        assert_non_null(strstr(c.said, "interrupted by the program"));
}

static void test_interrupt(void **state UNUSED)
{
    struct mrd_model *m = golden_model("clip_vit_tiny", NULL);
    static float pixels[PIXELS], x[512];
    mrd_interrupt(); /* concerns nobody */
    assert_int_equal(mrd_model_encode_pixels(m, pixels, 1, x), 0);
    for (int which = 0; which < 3; which++)
        check_interrupted(m, which);
    assert_int_equal(mrd_model_encode_pixels(m, pixels, 1, x), 0); /* and afterwards everything works */
    mrd_model_free(&m);
}

/* ---- forks ---- */

static int child_says(pid_t child)
{
    int status = -1;
    for (int i = 0; i < 3000 && waitpid(child, &status, WNOHANG) == 0; i++)
        pause_ms(10);
    if (!WIFEXITED(status)) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return -1;
    }
    return WEXITSTATUS(status);
}

static void *encode_one(void *arg)
{
    static float pixels[PIXELS], x[512];
    return mrd_model_encode_pixels(arg, pixels, 1, x) == 0 ? arg : NULL;
}

/* A thread that computed and was forked is told so; a fresh thread of the child computes. */
static void test_fork(void **state UNUSED)
{
    struct mrd_model *m = golden_model("clip_vit_tiny", NULL);
    static float pixels[PIXELS], x[512];
    assert_int_equal(mrd_model_encode_pixels(m, pixels, 1, x), 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        void *got = NULL;
        int rc = mrd_model_encode_pixels(m, pixels, 1, x);
        if (rc != MRD_ERR_UNSUPPORTED || !strstr(mrd_error(), "forked"))
            _exit(1);
        if (pthread_create(&thread, NULL, encode_one, m) != 0 || pthread_join(thread, &got) != 0)
            _exit(2);
        mrd_model_free(&m);
        _exit(got ? 0 : 3);
    }
    assert_true(child > 0);
    assert_int_equal(child_says(child), 0);
    assert_int_equal(mrd_model_encode_pixels(m, pixels, 1, x), 0); /* the parent goes on */
    mrd_model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),    cmocka_unit_test(test_struct_growth), cmocka_unit_test(test_match),
        cmocka_unit_test(test_caption), cmocka_unit_test(test_halves),        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
