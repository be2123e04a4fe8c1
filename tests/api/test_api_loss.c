/* tests/api/test_api_loss.c: losses through meridian.h: golden values and gradients, every registered loss against
 * differences, options, a foreign locale, bad arrays. */
#include "io/io.h"
#include "meridian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 8, D = 16 }; /* of the golden arrays */

#define assert_error(call, code, sentence)                                                                             \
    do {                                                                                                               \
        assert_int_equal(call, code);                                                                                  \
        if (!strstr(mrd_error(), sentence))                                                                            \
            fail_msg("\"%s\" does not say \"%s\"", mrd_error(), sentence);                                             \
    } while (0)

struct arrays {
    double images[N * D], texts[N * D], di[N * D], dt[N * D];
    float images_f[N * D], texts_f[N * D], di_f[N * D], dt_f[N * D];
};

static uint32_t noise;

static double random_number(void)
{
    noise = noise * 1664525u + 1013904223u;
    return (double)(noise >> 8) / (1 << 23) - 1;
}

static void fill(struct arrays *a)
{
    noise = 7;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < N; i++) {
            double *x = (k ? a->texts : a->images) + i * D, norm = 0;
            for (int j = 0; j < D; j++) {
                x[j] = random_number();
                norm += x[j] * x[j];
            }
            for (int j = 0; j < D; j++)
                x[j] /= sqrt(norm);
        }
    for (int i = 0; i < N * D; i++) {
        a->images_f[i] = (float)a->images[i];
        a->texts_f[i] = (float)a->texts[i];
    }
}

/* ---- golden values ---- */

static const double *numbers(const struct st_file *f, const char *name, int64_t n)
{
    const struct st_tensor *t = st_find(f, name);
    int64_t count = 1;
    assert_non_null(t);
    assert_int_equal(t->dtype, DT_F64);
    for (int i = 0; i < t->n_dims; i++)
        count *= t->shape[i];
    assert_int_equal(count, n);
    return t->data;
}

static double worst(const double *a, const double *b)
{
    double most = 0;
    for (int i = 0; i < N * D; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

static void check_golden(const struct st_file *in, const struct st_file *out, const char *images, const char *texts,
                         const char *name, const char *option, int normalize)
{
    struct mrd_loss_opt opt = MRD_LOSS_OPT_INIT;
    double value, di[N * D], dt[N * D];
    char key[128];
    opt.options = &option;
    opt.n_options = 1;
    opt.normalize = normalize;
    if (mrd_loss("clip", &opt, numbers(in, images, N * D), numbers(in, texts, N * D), N, D, &value, di, dt) < 0)
        fail_msg("%s", mrd_error());
    snprintf(key, sizeof key, "%s.value", name);
    assert_true(fabs(value - *numbers(out, key, 1)) <= 1e-9);
    snprintf(key, sizeof key, "%s.grad_%s", name, images);
    assert_true(worst(di, numbers(out, key, N * D)) <= 1e-9);
    snprintf(key, sizeof key, "%s.grad_%s", name, texts);
    assert_true(worst(dt, numbers(out, key, N * D)) <= 1e-9);
}

static void test_golden(void **state UNUSED)
{
    const char *root = getenv("MERIDIAN_SHARED");
    char path[1024], scale[64];
    struct st_file *in = NULL, *out = NULL;
    snprintf(path, sizeof path, "%s/golden/losses/inputs.safetensors", root ? root : "");
    if (st_open(&in, path) < 0) {
        print_message("SKIPPED: no golden losses (MERIDIAN_SHARED)\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/golden/losses/expected.safetensors", root);
    assert_int_equal(st_open(&out, path), 0);
    check_golden(in, out, "image", "text", "clip.tau0.01", "tau=0.01", 0);
    check_golden(in, out, "image", "text", "clip.tau0.07", "temperature=0.07", 0);
    snprintf(scale, sizeof scale, "tau=%.17g", exp(-*numbers(in, "logit_scale", 1)));
    check_golden(in, out, "raw_image", "raw_text", "clip_from_unnormalised.scale", scale, 1);
    st_close(&in);
    st_close(&out);
}

/* ---- every loss ---- */

static double loss_of(const char *name, const struct mrd_loss_opt *opt, const struct arrays *a)
{
    double value;
    if (mrd_loss(name, opt, a->images, a->texts, N, D, &value, NULL, NULL) < 0)
        fail_msg("%s: %s", name, mrd_error());
    return value;
}

/* Central differences in the direction of the gradient and in one of noise. */
static void check_slope(const char *name, const struct mrd_loss_opt *opt, const struct arrays *a, bool texts)
{
    const double *gradient = texts ? a->dt : a->di, h = 1e-6;
    for (int way = 0; way < 2; way++) {
        struct arrays b[2] = {*a, *a};
        double slope = 0;
        for (int i = 0; i < N * D; i++) {
            double step = way ? random_number() : gradient[i];
            slope += step * gradient[i];
            (texts ? b[0].texts : b[0].images)[i] += h * step;
            (texts ? b[1].texts : b[1].images)[i] -= h * step;
        }
        double measured = (loss_of(name, opt, &b[0]) - loss_of(name, opt, &b[1])) / (2 * h);
        if (fabs(measured - slope) > 1e-5 * (1 + fabs(slope)))
            fail_msg("%s, %s: slope %g, measured %g", name, texts ? "texts" : "images", slope, measured);
    }
}

static void check_loss(const char *name, const struct mrd_loss_opt *opt)
{
    static struct arrays a;
    double value, value_f;
    fill(&a);
    assert_int_equal(mrd_loss(name, opt, a.images, a.texts, N, D, &value, a.di, a.dt), 0);
    check_slope(name, opt, &a, false);
    check_slope(name, opt, &a, true);
    assert_int_equal(mrd_loss_f32(name, opt, a.images_f, a.texts_f, N, D, &value_f, a.di_f, a.dt_f), 0);
    assert_true(fabs(value - value_f) <= 1e-4 * (1 + fabs(value)));
    for (int i = 0; i < N * D; i++)
        assert_true(fabs((double)a.di_f[i] - a.di[i]) <= 1e-3 * (1 + fabs(a.di[i])));
}

static void test_every_loss(void **state UNUSED)
{
    static const char *const temperature[] = {"tau=0.5"};
    uint8_t match[N * N] = {0};
    char *text = NULL;
    json_t *all = NULL, *one;
    const char *name;
    assert_int_equal(mrd_losses(&text), 0);
    assert_int_equal(json_read_text(&all, text, strlen(text), "losses"), 0);
    mrd_free(text);
    assert_true(json_object_size(all) >= 2);
    assert_non_null(json_object_get(all, "clip"));
    for (int i = 0; i < N; i++)
        match[i * N + i] = match[i * N + (i ^ 1)] = 1;
    json_object_foreach(all, name, one)
    {
        struct mrd_loss_opt opt = MRD_LOSS_OPT_INIT;
        assert_true(json_is_string(json_object_get(one, "help")));
        if (json_object_get(json_object_get(one, "options"), "temperature")) {
            opt.options = temperature;
            opt.n_options = 1;
        }
        check_loss(name, &opt);
        opt.normalize = 1;
        check_loss(name, &opt);
        opt.match = match;
        check_loss(name, &opt);
    }
    json_decref(all);
}

/* Known captions beside the diagonal change the loss; the diagonal alone does not. */
static void test_match(void **state UNUSED)
{
    struct mrd_loss_opt plain = MRD_LOSS_OPT_INIT, opt = MRD_LOSS_OPT_INIT;
    static struct arrays a;
    uint8_t match[N * N] = {0};
    fill(&a);
    for (int i = 0; i < N; i++)
        match[i * N + i] = 1;
    opt.match = match;
    assert_true(fabs(loss_of("clip", &opt, &a) - loss_of("clip", &plain, &a)) < 1e-12);
    match[1] = 1;
    assert_true(fabs(loss_of("clip", &opt, &a) - loss_of("clip", &plain, &a)) > 1e-3);
    match[2] = 3;
    double value;
    assert_error(mrd_loss("clip", &opt, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_DATA, "match[0, 2] is 3");
}

/* ---- what is refused ---- */

static void test_options(void **state UNUSED)
{
    static const char *const bad[][2] = {{"tao=0.1", "it has: temperature"},
                                         {"temperature=x", "\"x\""},
                                         {"tau", "NAME=VALUE"},
                                         {"=1", "no option"},
                                         {"--tau=1", "no option"},
                                         {"tau=0", "[0.0001"},
                                         {"targets=most", "identity"}};
    struct mrd_loss_opt opt = MRD_LOSS_OPT_INIT;
    static struct arrays a;
    double value = -7;
    fill(&a);
    opt.n_options = 1;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        opt.options = &bad[i][0];
        assert_error(mrd_loss("clip", &opt, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_USAGE, bad[i][1]);
    }
    opt.options = NULL;
    assert_error(mrd_loss("clip", &opt, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_USAGE, "n_options");
    assert_error(mrd_loss("clap", NULL, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_USAGE, "clip, sigmoid");
    assert_true(value == -7);
}

static void test_arrays(void **state UNUSED)
{
    static struct arrays a;
    double value = -7;
    fill(&a);
    assert_error(mrd_loss(NULL, NULL, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_USAGE, "name");
    assert_error(mrd_loss("clip", NULL, NULL, a.texts, N, D, &value, NULL, NULL), MRD_ERR_USAGE, "must be given");
    assert_error(mrd_loss("clip", NULL, a.images, a.texts, 0, D, &value, NULL, NULL), MRD_ERR_USAGE, "pairs");
    assert_error(mrd_loss("clip", NULL, a.images, a.texts, 1 << 20, D, &value, NULL, NULL), MRD_ERR_USAGE, "32768");
    assert_error(mrd_loss("clip", NULL, a.images, a.texts, N, 0, &value, NULL, NULL), MRD_ERR_USAGE, "width");
    a.texts[3 * D + 1] = NAN;
    assert_error(mrd_loss("clip", NULL, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_NONFINITE,
                 "row 3 of the texts");
    a.images_f[0] = INFINITY;
    assert_error(mrd_loss_f32("clip", NULL, a.images_f, a.texts_f, N, D, &value, NULL, NULL), MRD_ERR_NONFINITE,
                 "row 0 of the images");
    fill(&a);
    a.images[0] = 1e308;
    assert_error(mrd_loss("clip", NULL, a.images, a.texts, N, D, &value, NULL, NULL), MRD_ERR_NONFINITE, "not finite");
    assert_true(value == -7);
    fill(&a);
    assert_int_equal(mrd_loss("clip", NULL, a.images, a.texts, 1, D, &value, NULL, NULL), 0);
    assert_true(fabs(value) < 1e-12); /* one pair: nothing to confuse */
}

/* In a German program 0,07 is a number and 0.07 none. */
static void test_locale(void **state UNUSED)
{
    static const char *const option[] = {"tau=0.07"};
    struct mrd_loss_opt opt = MRD_LOSS_OPT_INIT;
    static struct arrays a;
    fill(&a);
    opt.options = option;
    opt.n_options = 1;
    double want = loss_of("clip", &opt, &a);
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        print_message("SKIPPED: no locale with a decimal comma is installed\n");
        skip();
    }
    double found = loss_of("clip", &opt, &a);
    setlocale(LC_ALL, "C");
    assert_true(found == want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),  cmocka_unit_test(test_every_loss), cmocka_unit_test(test_match),
        cmocka_unit_test(test_options), cmocka_unit_test(test_arrays),     cmocka_unit_test(test_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
