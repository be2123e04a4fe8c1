/* tests/model/clip_golden.h: a golden model (folders of tests/golden, values of other people's code in float64) opened
 * for a test; golden_name tells which. */
#ifndef TESTS_CLIP_GOLDEN_H
#define TESTS_CLIP_GOLDEN_H

#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *golden_name = "clip_vit_tiny";

struct golden {
    struct model *m;
    struct st_file *expected, *inputs, *gradients;
    float *pixels;
    int32_t *ids;
    int64_t n, context;
};

static inline void golden_path(char *out, size_t n, const char *file)
{
    const char *root = getenv("MERIDIAN_GOLDEN");
    assert_non_null(root);
    snprintf(out, n, "%s/%s%s%s", root, golden_name, file[0] ? "/" : "", file);
}

static inline struct st_file *golden_file(const char *file)
{
    char path[1024];
    struct st_file *f = NULL;
    golden_path(path, sizeof path, file);
    if (st_open(&f, path) < 0)
        fail_msg("%s", err_text());
    return f;
}

static inline void golden_open(struct golden *g, const char *engine)
{
    char path[1024];
    const struct engine *e;
    memset(g, 0, sizeof *g);
    if (engine_open(&e, engine, 0) < 0)
        fail_msg("%s", err_text());
    golden_path(path, sizeof path, "");
    if (model_open(&g->m, path, e) < 0)
        fail_msg("%s", err_text());
    g->expected = golden_file("expected.safetensors");
    g->inputs = golden_file("inputs.safetensors");
    g->gradients = golden_file("gradients.safetensors");
    const struct st_tensor *ids = st_find(g->inputs, "input_ids"), *pixels = st_find(g->inputs, "pixel_values");
    g->n = ids->shape[0];
    g->context = ids->shape[1];
    g->ids = mem_alloc((size_t)(g->n * g->context) * sizeof *g->ids);
    g->pixels = mem_alloc(pixels->n_bytes);
    for (int64_t i = 0; i < g->n * g->context; i++)
        g->ids[i] = (int32_t)((const int64_t *)ids->data)[i];
    memcpy(g->pixels, pixels->data, pixels->n_bytes);
}

static inline void golden_close(struct golden *g)
{
    model_close(&g->m);
    st_close(&g->expected);
    st_close(&g->inputs);
    st_close(&g->gradients);
    mem_free(g->ids);
    mem_free(g->pixels);
}

/* The largest |x - golden| of a tensor, x in the engine's real type. */
static inline double golden_distance(const struct st_file *f, const char *name, enum dtype real, const void *x)
{
    const struct st_tensor *t = st_find(f, name);
    if (!t)
        fail_msg("golden tensor %s is missing", name);
    int64_t n = (int64_t)(t->n_bytes / dtype_size(t->dtype));
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double a = real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
        double b = t->dtype == DT_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
        double d = fabs(a - b);
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

#endif
