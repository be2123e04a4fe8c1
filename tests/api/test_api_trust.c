/* tests/api/test_api_trust.c: adapters, scores of doubt, p(match) and reviews through meridian.h: that saving and
 * opening change nothing, that older callers keep what they know, what is refused. Values are compared with the program
 * by tests/python/test_trust.py. */
#include "io/io.h"
#include "meridian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 40, D = 6 };

#define assert_error(call, code, sentence)                                                                             \
    do {                                                                                                               \
        assert_int_equal(call, code);                                                                                  \
        if (!strstr(mrd_error(), sentence))                                                                            \
            fail_msg("\"%s\" does not say \"%s\"", mrd_error(), sentence);                                             \
    } while (0)

static float images[N * D], texts[N * D];
static const struct mrd_pairs pairs = {.images = images, .texts = texts, .n_images = N, .n_texts = N, .width = D};
static const char *const words[] = {"epochs=2", "hidden=8", "batch=8", "method=probvlm"};
static const struct mrd_adapter_opt opt = {sizeof opt, "ref", 1, words, 4};

static int plant(void **state UNUSED)
{
    struct rng r = rng_stream(3, RNG_TEST, 0, 0);
    for (int i = 0; i < N * D; i++) {
        images[i] = (float)rng_normal(&r);
        texts[i] = images[i] + 0.5F * (float)rng_normal(&r);
    }
    return 0;
}

static struct mrd_adapter *fitted(char **json)
{
    struct mrd_adapter *a = NULL;
    if (mrd_adapter_fit(&a, &pairs, &opt, json) < 0)
        fail_msg("%s", mrd_error());
    return a;
}

static void test_adapter(void **state UNUSED)
{
    char folder[] = "/tmp/meridian-api-XXXXXX", path[64], *json = NULL;
    double u[2][N], fidelity[N];
    float mean[N * D], draws[3 * D];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/adapter", folder);
    struct mrd_adapter *a = fitted(&json), *b = NULL;
    assert_non_null(strstr(json, "\"final_loss\":"));
    assert_non_null(strstr(json, "\"method\":\"probvlm\""));
    mrd_free(json);
    assert_string_equal(mrd_adapter_method(a), "probvlm");
    assert_int_equal(mrd_adapter_width(a), D);
    assert_int_equal(mrd_adapter_save(a, path, 0), 0);
    assert_error(mrd_adapter_save(a, path, 0), MRD_ERR_EXISTS, "exists");
    assert_int_equal(mrd_adapter_save(a, path, 1), 0);
    assert_int_equal(mrd_adapter_open(&b, path, &opt), 0);
    assert_int_equal(path_remove_tree(folder), 0);
    for (int k = 0; k < 2; k++) {
        struct mrd_predicted out = MRD_PREDICTED_INIT;
        out.uncertainty = u[k];
        out.fidelity = fidelity;
        out.mean = mean;
        assert_int_equal(mrd_adapter_predict(k ? b : a, images, N, D, MRD_SIDE_IMAGE, NULL, &out), 0);
        assert_true(u[k][0] > 0 && fidelity[0] > 0.5 && fidelity[0] <= 1 + 1e-9);
    }
    assert_memory_equal(u[0], u[1], sizeof u[0]);
    /* a caller that knows no more than the first array */
    struct mrd_predicted old = {.size = offsetof(struct mrd_predicted, aleatoric), .uncertainty = u[1]};
    old.mean = (float *)(uintptr_t)8;
    assert_int_equal(mrd_adapter_predict(b, texts, N, D, MRD_SIDE_TEXT, NULL, &old), 0);
    assert_int_equal(mrd_adapter_sample(b, texts, N, D, MRD_SIDE_TEXT, 5, 3, "near", 1, draws), 0);
    double length = 0;
    for (int j = 0; j < D; j++)
        length += (double)draws[j] * (double)draws[j];
    assert_true(fabs(length - 1) < 1e-5);
    assert_int_equal(mrd_adapter_likelihood(b, &pairs, MRD_SIDE_IMAGE, 3, u[0]), 0);
    assert_true(isfinite(u[0][N - 1]));
    mrd_adapter_free(&a);
    mrd_adapter_free(&b);
    mrd_adapter_free(&b);
    mrd_adapter_free(NULL);
    assert_null(a);
}

static void test_refused(void **state UNUSED)
{
    static const char *const unknown[] = {"epoch=3"}, *const no_value[] = {"epochs"}, *const beyond[] = {"lr=-1"};
    struct mrd_adapter *a = NULL, *ok = fitted(NULL);
    struct mrd_predicted out = MRD_PREDICTED_INIT;
    struct mrd_adapter_opt o = MRD_ADAPTER_OPT_INIT;
    struct mrd_predict_opt p = MRD_PREDICT_OPT_INIT;
    float row[D];
    double u[N];
    out.uncertainty = u;
    o.n_options = 1;
    o.options = unknown;
    assert_error(mrd_adapter_fit(&a, &pairs, &o, NULL), MRD_ERR_USAGE, "epochs");
    o.options = no_value;
    assert_error(mrd_adapter_fit(&a, &pairs, &o, NULL), MRD_ERR_USAGE, "NAME=VALUE");
    o.options = beyond;
    assert_error(mrd_adapter_fit(&a, &pairs, &o, NULL), MRD_ERR_USAGE, "lr");
    o.n_options = 0;
    o.engine = "abacus";
    assert_error(mrd_adapter_fit(&a, &pairs, &o, NULL), MRD_ERR_UNSUPPORTED, "abacus");
    assert_error(mrd_adapter_fit(&a, NULL, NULL, NULL), MRD_ERR_USAGE, "mrd_pairs");
    assert_error(mrd_adapter_open(&a, "/nowhere", NULL), MRD_ERR_DATA, "/nowhere");
    assert_null(a);
    assert_error(mrd_adapter_predict(ok, images, N, D - 1, MRD_SIDE_IMAGE, NULL, &out), MRD_ERR_MISMATCH, "width");
    assert_error(mrd_adapter_predict(ok, images, N, D, 2, NULL, &out), MRD_ERR_USAGE, "side");
    assert_error(mrd_adapter_predict(ok, images, -1, D, 0, NULL, &out), MRD_ERR_USAGE, "negative");
    assert_error(mrd_adapter_predict(ok, images, N, D, 0, NULL, NULL), MRD_ERR_USAGE, "output");
    p.passes = -1;
    assert_error(mrd_adapter_predict(ok, images, N, D, 0, &p, &out), MRD_ERR_USAGE, "passes");
    assert_error(mrd_adapter_sample(ok, images, N, D, 0, N, 1, "all", 0, row), MRD_ERR_USAGE, "0 to 39");
    assert_error(mrd_adapter_sample(ok, images, N, D, 0, 0, 1, "far", 0, row), MRD_ERR_USAGE, "tail");
    assert_error(mrd_adapter_likelihood(ok, &pairs, 1, -1, u), MRD_ERR_USAGE, "row");
    images[7] = NAN;
    assert_error(mrd_adapter_predict(ok, images, N, D, 0, NULL, &out), MRD_ERR_NONFINITE, "row 1");
    assert_error(mrd_adapter_fit(&a, &pairs, &opt, NULL), MRD_ERR_NONFINITE, "row 1");
    images[7] = 0;
    mrd_adapter_free(&ok);
}

static void test_trust(void **state UNUSED)
{
    struct mrd_uncertainty_opt u = MRD_UNCERTAINTY_OPT_INIT;
    struct mrd_calibrate_opt c = MRD_CALIBRATE_OPT_INIT;
    struct mrd_review_opt r = MRD_REVIEW_OPT_INIT;
    char *json = NULL;
    u.bootstrap = -1;
    u.adapter = fitted(NULL);
    assert_int_equal(mrd_uncertainty(&json, &pairs, &u), 0);
    for (int i = 0; i < 3; i++)
        assert_non_null(
            strstr(json, ((const char *const[]){"\"adapter\":", "\"inverted\":", "\"text_to_image\":"})[i]));
    mrd_free(json);
    u.scores = "margin,adapters";
    assert_error(mrd_uncertainty(&json, &pairs, &u), MRD_ERR_USAGE, "did you mean \"adapter\"");
    u.scores = NULL;
    u.levels = 1;
    assert_error(mrd_uncertainty(&json, &pairs, &u), MRD_ERR_USAGE, "levels");
    mrd_adapter_free(&u.adapter);
    c.bootstrap = 0;
    assert_int_equal(mrd_calibrate(&json, &pairs, &c), 0);
    assert_non_null(strstr(json, "\"largest_group\":1"));
    mrd_free(json);
    c.validation_share = 2;
    assert_error(mrd_calibrate(&json, &pairs, &c), MRD_ERR_USAGE, "validation_share");
    assert_int_equal(mrd_review(&json, &pairs, NULL), 0);
    assert_non_null(strstr(json, "\"what\":\"duplicates\""));
    mrd_free(json);
    r.what = "";
    assert_error(mrd_review(&json, &pairs, &r), MRD_ERR_USAGE, "empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_adapter), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_trust)};
    return cmocka_run_group_tests(tests, plant, NULL);
}
