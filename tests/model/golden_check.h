/* tests/model/golden_check.h: what the tests of several golden models do: states, every gradient, pixels on a tape. */
#ifndef TESTS_GOLDEN_CHECK_H
#define TESTS_GOLDEN_CHECK_H

#include "clip_golden.h"

static inline void golden_state(const struct golden *g, const char *name, const struct tensor *x, double bar)
{
    assert_non_null(x);
    assert_int_equal(x->n, (int64_t)(st_find(g->expected, name)->n_bytes / sizeof(float)));
    double d = golden_distance(g->expected, name, g->m->engine->real, x->data);
    if (!(d <= bar))
        fail_msg("%s: %s is off by %g, bar %g", g->m->engine->name, name, d, bar);
}

static inline struct tensor *golden_pixels(struct tape *t, const struct golden *g, bool grad)
{
    int64_t s = g->m->image_size, n = g->n * 3 * s * s;
    void *data = g->pixels;
    if (g->m->engine->real == DT_F64) {
        data = arena_alloc(tape_arena(t), (size_t)n * sizeof(double));
        assert_int_equal(dtype_convert(DT_F64, data, DT_F32, g->pixels, (size_t)n), 0);
    }
    return grad ? t_input_grad(t, SHAPE(g->n, 3, s, s), data) : t_input(t, SHAPE(g->n, 3, s, s), data);
}

/* Gradients of all trained weights to bar x the largest entry of each; of a key bias to zero: in exact arithmetic it
 * has none. prefix: of the names in the golden file. Weights that the file does not have are passed over; returns how
 * many were compared. */
static inline int64_t golden_gradients(const struct golden *g, const struct st_file *f, const char *prefix, double bar)
{
    const struct params *p = &g->m->params;
    int64_t n_seen = 0;
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, q->path);
        const struct st_tensor *e = st_find(f, name);
        if (q->kind != PARAM_TRAINED || !e)
            continue;
        double top = 0, worst = 0;
        float *found = mem_alloc((size_t)q->n * sizeof *found);
        assert_int_equal(params_export(p, q, p->grad, DT_F32, found), 0);
        for (int64_t i = 0; i < q->n; i++)
            top = fmax(top, fabs((double)((const float *)e->data)[i]));
        int64_t third = q->n / 3;
        bool packed = str_ends(q->path, "in_proj_bias");
        for (int64_t i = 0; i < q->n; i++) {
            bool key = str_ends(q->path, "k_proj.bias") || (packed && i >= third && i < 2 * third);
            double expected = key ? 0.0 : (double)((const float *)e->data)[i];
            double d = fabs((double)found[i] - expected) / (key ? 1e-6 : bar * top);
            worst = d > worst || isnan(d) ? d : worst;
        }
        mem_free(found);
        if (!(worst <= 1.0))
            fail_msg("%s: gradient of %s is off by %g of the bar", g->m->engine->name, name, worst);
        n_seen++;
    }
    return n_seen;
}

/* The n-th allocation fails: an error, no leak (the sanitised suite sees leaks), until the opening succeeds. */
static inline void golden_memory_failure(void)
{
    char path[1024];
    const struct engine *e;
    assert_int_equal(engine_open(&e, "ref", 0), 0);
    golden_path(path, sizeof path, "");
    for (int n = 1; n < 4000; n++) {
        struct model *m = NULL;
        mem_fail_at(n);
        int rc = model_open(&m, path, e);
        mem_fail_at(0);
        if (rc == 0) {
            model_close(&m);
            return;
        }
        assert_null(m);
        assert_int_equal(rc, ERR_MEMORY);
    }
    fail_msg("opening never succeeded");
}

#endif
