/* tests/model/golden.h: a golden model folder (tests/golden/NAME: a tiny model, inputs, and what other people's code in
 * float64 makes of them) opened for a test, and comparisons with it. Bars: states 5e-5, logits 1e-4, losses 1e-5,
 * gradients 1e-4 of the largest entry. */
#ifndef TESTS_MODEL_GOLDEN_H
#define TESTS_MODEL_GOLDEN_H

#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct golden {
    const char *folder;
    struct model *m;
    struct st_file *expected, *inputs, *gradients;
    json_t *numbers; /* expected.json */
    float *pixels;
    int32_t *ids;
    int64_t n, context;
    struct tape *t;
};

static inline void golden_path(char *out, size_t n, const char *folder, const char *file)
{
    const char *root = getenv("MERIDIAN_GOLDEN");
    assert_non_null(root);
    snprintf(out, n, "%s/%s%s%s", root, folder, file[0] ? "/" : "", file);
}

static inline struct st_file *golden_file(const char *folder, const char *file)
{
    char path[1024];
    struct st_file *f = NULL;
    golden_path(path, sizeof path, folder, file);
    if (st_open(&f, path) < 0)
        fail_msg("%s", err_text());
    return f;
}

static inline struct model *golden_model(const char *folder, const char *engine)
{
    char path[1024];
    const struct engine *e;
    struct model *m = NULL;
    golden_path(path, sizeof path, folder, "");
    if (engine_open(&e, engine, 0) < 0 || model_open(&m, path, e) < 0)
        fail_msg("%s", err_text());
    return m;
}

static inline void golden_open(struct golden *g, const char *folder, const char *engine, bool record)
{
    char path[1024];
    memset(g, 0, sizeof *g);
    g->folder = folder;
    g->m = golden_model(folder, engine);
    g->expected = golden_file(folder, "expected.safetensors");
    g->inputs = golden_file(folder, "inputs.safetensors");
    g->gradients = golden_file(folder, "gradients.safetensors");
    golden_path(path, sizeof path, folder, "expected.json");
    if (json_read_file(&g->numbers, path) < 0)
        fail_msg("%s", err_text());
    const struct st_tensor *ids = st_find(g->inputs, "input_ids"), *pixels = st_find(g->inputs, "pixel_values");
    g->n = ids->shape[0];
    g->context = ids->shape[1];
    g->ids = mem_alloc((size_t)(g->n * g->context) * sizeof *g->ids);
    g->pixels = mem_alloc(pixels->n_bytes);
    for (int64_t i = 0; i < g->n * g->context; i++)
        g->ids[i] = (int32_t)((const int64_t *)ids->data)[i];
    memcpy(g->pixels, pixels->data, pixels->n_bytes);
    if (record)
        assert_int_equal(params_want_grad(&g->m->params), 0);
    assert_int_equal(tape_open(&g->t, g->m->engine, &(struct tape_opt){.record = record}), 0);
}

static inline void golden_close(struct golden *g)
{
    tape_close(&g->t);
    model_close(&g->m);
    st_close(&g->expected);
    st_close(&g->inputs);
    st_close(&g->gradients);
    json_decref(g->numbers);
    mem_free(g->ids);
    mem_free(g->pixels);
}

static inline double golden_number(const struct golden *g, const char *key)
{
    const json_t *x = json_object_get(g->numbers, key);
    assert_non_null(x);
    return json_number_value(x);
}

static inline double golden_at(const void *x, enum dtype type, int64_t i)
{
    return type == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

/* Compares x with a stored tensor of the same size. Rows: the last axis, counted where keep[row] (NULL: all). */
static inline void golden_check_rows(const struct golden *g, const char *name, const struct tensor *x, double bar,
                                     const bool *keep)
{
    const struct st_tensor *t = st_find(g->expected, name);
    if (tape_status(g->t) < 0)
        fail_msg("%s", err_text());
    assert_non_null(x);
    if (!t)
        fail_msg("golden tensor %s is missing", name);
    int64_t n = (int64_t)(t->n_bytes / dtype_size(t->dtype)), width = x->n_dims ? x->shape[x->n_dims - 1] : 1;
    assert_int_equal(n, x->n);
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(golden_at(x->data, g->m->engine->real, i) - golden_at(t->data, t->dtype, i));
        if ((!keep || keep[i / width]) && !(d <= bar))
            fail_msg("%s of %s, %s: element %lld is off by %g, bar %g", name, g->folder, g->m->engine->name,
                     (long long)i, d, bar);
    }
}

static inline void golden_check(const struct golden *g, const char *name, const struct tensor *x, double bar)
{
    golden_check_rows(g, name, x, bar, NULL);
}

/* Every gradient of the slab against gradients.safetensors; a key's bias has none in exact arithmetic. alias: a tied
 * pair is stored under its first name alone. */
static inline void golden_check_gradients(const struct golden *g, double bar)
{
    const struct params *p = &g->m->params;
    int64_t n = 0;
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        const struct st_tensor *e = st_find(g->gradients, q->path);
        if (q->kind == PARAM_ALIAS)
            continue;
        if (!e)
            fail_msg("no golden gradient of %s", q->path);
        double top = 0, worst = 0;
        float *x = mem_alloc((size_t)q->n * sizeof *x + 1);
        assert_int_equal(params_export(p, q, p->grad, DT_F32, x), 0);
        bool key = str_ends(q->path, "key.bias") || str_ends(q->path, "k_proj.bias");
        bool packed = str_ends(q->path, "qkv.bias") || str_ends(q->path, "in_proj_bias");
        for (int64_t i = 0; i < q->n; i++)
            top = fmax(top, fabs((double)((const float *)e->data)[i]));
        for (int64_t i = 0; i < q->n; i++) {
            double d = fabs((double)x[i] - (double)((const float *)e->data)[i]);
            if (key || (packed && i >= q->n / 3 && i < 2 * q->n / 3)) {
                if (!(d <= 2e-6))
                    fail_msg("%s: gradient of a key's bias in %s is off by %g", g->m->engine->name, q->path, d);
            } else {
                worst = d > worst || isnan(d) ? d : worst;
            }
        }
        if (!(worst <= bar * top))
            fail_msg("%s: gradient of %s is off by %g, largest entry %g", g->m->engine->name, q->path, worst, top);
        mem_free(x);
        n++;
    }
    assert_int_equal(n, st_count(g->gradients));
}

#endif
