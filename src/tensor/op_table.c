/* The op table: every op with random cases, walked in four ways.
 *
 *   compare    an engine's forward and gradients against the double reference, inputs rounded to float for both
 *   gradient   the reference's own backward against central differences
 *   speed      seconds of one sizeable case
 *   support    an empty kernel slot is reported, not failed
 *
 * One declaration an op serves all four, so an op cannot be fast in one list and untested in another. Errors are
 * relative to the largest number of the array (at least 1): small entries of a sum carry the rounding of its large
 * ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/node.h"
#include "tensor/op_case.h"

static const struct op_group *const groups[] = {&op_group_matmul,  &op_group_norm,  &op_group_point,
                                                &op_group_softmax, &op_group_shape, &op_group_picture};

/* Largest error allowed, forward and gradient */
#define TOLERANCE_F32 3e-5
#define TOLERANCE_F32_GRADIENT 1e-4
#define TOLERANCE_F64 1e-10
#define TOLERANCE_LOW 3e-2
#define TOLERANCE_DIFFERENCE 1e-6
#define DIFFERENCE_STEP 1e-5

static const struct op_entry *entry_at(int i)
{
    for (size_t g = 0; i >= 0 && g < ARRAY_LEN(groups); i -= groups[g]->n, g++)
        if (i < groups[g]->n)
            return &groups[g]->entries[i];
    return NULL;
}

int op_table_count(void)
{
    int n = 0;
    for (size_t g = 0; g < ARRAY_LEN(groups); g++)
        n += groups[g]->n;
    return n;
}

const char *op_table_name(int i)
{
    const struct op_entry *o = entry_at(i);
    return o ? o->name : NULL;
}

/* ---- cases ---- */

struct case_input *case_add(struct op_case *c, enum domain domain, int n_dims, const int64_t *shape)
{
    BUG_ON(c->n_in >= CASE_INPUTS);
    struct case_input *in = &c->in[c->n_in++];
    in->n_dims = n_dims;
    in->domain = domain;
    for (int i = 0; i < n_dims; i++)
        in->shape[i] = shape[i];
    return in;
}

int64_t case_length(struct rng *r, int64_t lo, int64_t hi)
{
    return lo + (int64_t)rng_below(r, (uint64_t)(hi - lo + 1));
}

int64_t case_axis(const struct op_case *c, struct rng *r, int64_t lo, int64_t hi, int64_t big)
{
    return c->big ? big : case_length(r, lo, c->wide ? 6 * hi + 3 : hi);
}

bool case_coin(struct rng *r)
{
    return rng_below(r, 2) == 1;
}

int64_t case_count(const struct case_input *in)
{
    int64_t n = 1;
    for (int i = 0; i < in->n_dims; i++)
        n *= in->shape[i];
    return n;
}

int32_t *case_ids(struct op_case *c, struct rng *r, int64_t n, int64_t below)
{
    c->ids = arena_alloc(c->arena, (size_t)n * sizeof(*c->ids));
    for (int64_t i = 0; c->ids && i < n; i++)
        c->ids[i] = (int32_t)rng_below(r, (uint64_t)below);
    return c->ids;
}

struct tensor case_view(struct tensor *x)
{
    struct tensor v = *x;
    v.base = x->base ? x->base : x;
    return v;
}

static void draw_spread(struct rng *r, double *v, int64_t n, double shift)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = 0.11 * (double)(i - n / 2) + shift;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(r, (uint64_t)i + 1);
        double swap = v[i];
        v[i] = v[j];
        v[j] = swap;
    }
}

static void scale_row(double *v, int64_t d, double sum)
{
    for (int64_t j = 0; j < d; j++)
        v[j] /= sum;
}

static double row_dot(const double *a, const double *b, int64_t d)
{
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += a[j] * b[j];
    return sum;
}

/* b = cos(t) a + sin(t) u with u normal to a */
static void rotate_row(struct rng *r, const struct op_case *c, const double *a, double *b, int64_t d)
{
    double t = c->angle[0] + (c->angle[1] - c->angle[0]) * rng_uniform(r), along = row_dot(a, b, d);
    for (int64_t j = 0; j < d; j++)
        b[j] -= along * a[j];
    scale_row(b, d, sqrt(row_dot(b, b, d)));
    for (int64_t j = 0; j < d; j++)
        b[j] = cos(t) * a[j] + sin(t) * b[j];
}

static double draw_one(struct rng *r, enum domain domain)
{
    double u = rng_uniform(r);
    switch (domain) {
    case DOM_POSITIVE:
        return 0.3 + 2.7 * u;
    case DOM_AWAY:
        return (0.1 + 1.9 * u) * (case_coin(r) ? 1 : -1);
    case DOM_FRACTION:
    case DOM_SIMPLEX:
        return 0.1 + 0.8 * u;
    default:
        return rng_normal(r);
    }
}

static void draw(struct rng *r, const struct op_case *c, int i, double **values)
{
    const struct case_input *in = &c->in[i];
    double *v = values[i];
    int64_t n = case_count(in), d = in->n_dims ? in->shape[in->n_dims - 1] : 1;
    if (in->domain == DOM_SPREAD || in->domain == DOM_SPREAD_HALF) {
        draw_spread(r, v, n, in->domain == DOM_SPREAD ? 0 : 0.055);
    } else {
        for (int64_t k = 0; k < n; k++)
            v[k] = draw_one(r, in->domain);
        if (in->domain == DOM_WEIGHT)
            scale_row(v, n, sqrt((double)d));
        for (int64_t k = 0; k < n; k += d) {
            if (in->domain == DOM_UNIT)
                scale_row(v + k, d, sqrt(row_dot(v + k, v + k, d)));
            else if (in->domain == DOM_ROTATED)
                rotate_row(r, c, values[0] + k, v + k, d);
            else if (in->domain == DOM_SIMPLEX) {
                double sum = 0;
                for (int64_t j = 0; j < d; j++)
                    sum += v[k + j];
                scale_row(v + k, d, sum);
            }
        }
    }
    for (int64_t k = 0; k < n; k++)
        v[k] = (double)(float)v[k];
}

enum size { SMALL, WIDE, BIG };

/* A case and its values, in `a` */
static int make_case(const struct op_entry *o, struct arena *a, uint64_t seed, int number, enum size size,
                     struct op_case *c, double **values)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, (uint64_t)number);
    *c = (struct op_case){.param = o->param, .arena = a, .big = size == BIG, .wide = size == WIDE};
    c->seed = rng_u64(&r);
    o->make(c, &r);
    for (int i = 0; i < c->n_in; i++) {
        values[i] = arena_alloc(a, (size_t)case_count(&c->in[i]) * sizeof(double));
        NODE_GOT(values[i]);
        draw(&r, c, i, values);
    }
    return 0;
}

/* The weights that turn an output into a scalar; also the gradient injected at it. */
static void draw_weights(const struct op_case *c, double *w, int64_t n)
{
    struct rng r = rng_stream(c->seed, RNG_TEST, 1, 0);
    for (int64_t i = 0; i < n; i++)
        w[i] = (double)(float)((0.5 + rng_uniform(&r)) * (case_coin(&r) ? 1 : -1));
}

/* ---- mode gradient ---- */

struct scalar {
    const struct op_entry *o;
    const struct op_case *c;
    double **values;
};

static struct tensor *build_scalar(struct tape *t, struct tensor **inputs, void *ctx)
{
    struct scalar *s = ctx;
    struct tensor *in[CASE_INPUTS];
    for (int i = 0, k = 0; i < s->c->n_in; i++)
        in[i] = s->c->in[i].constant ? t_input(t, s->c->in[i].n_dims, s->c->in[i].shape, s->values[i]) : inputs[k++];
    struct tensor *y = s->o->build(t, in, s->c);
    struct tensor *w = y ? t_new(t, y->n_dims, y->shape) : NULL;
    if (w)
        draw_weights(s->c, w->data, w->n);
    return t_sum(t_mul(y, w));
}

static int gradient_case(const struct op_entry *o, struct arena *a, uint64_t seed, int number, double *worst)
{
    struct op_case c;
    double *values[CASE_INPUTS], *wanted[CASE_INPUTS];
    int n = 0, n_dims[CASE_INPUTS];
    int64_t shapes[CASE_INPUTS][T_MAX_DIMS];
    TRY(make_case(o, a, seed, number, SMALL, &c, values));
    for (int i = 0; i < c.n_in; i++) {
        if (c.in[i].constant)
            continue;
        wanted[n] = values[i];
        n_dims[n] = c.in[i].n_dims;
        memcpy(shapes[n++], c.in[i].shape, sizeof(shapes[0]));
    }
    struct scalar s = {o, &c, values};
    return grad_check(build_scalar, &s, n, n_dims, (const int64_t(*)[T_MAX_DIMS])shapes, wanted, DIFFERENCE_STEP,
                      worst);
}

static bool too_large(double error, double tolerance)
{
    return !(error <= tolerance); /* NaN is too large */
}

static double worse(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : fmax(a, b);
}

int op_table_gradient(int i, int n_cases, uint64_t seed, struct op_case_result *out)
{
    const struct op_entry *o = entry_at(i);
    struct arena *a = NULL;
    if (!o)
        FAIL(ERR_USAGE, "op table: no entry %d of %d", i, op_table_count());
    struct op_case_result r = {.op = o->name, .supported = true};
    TRY(arena_open(&a, "op table"));
    int rc = 0;
    for (int k = 0; k < n_cases && rc >= 0; k++, arena_reset(a)) {
        double worst = 0;
        rc = gradient_case(o, a, seed, k, &worst);
        r.n_cases++;
        r.n_failed += too_large(worst, TOLERANCE_DIFFERENCE);
        r.worst_gradient = worse(r.worst_gradient, worst);
    }
    arena_close(&a);
    if (rc < 0)
        return err_while(rc, "checking gradients of %s", o->name);
    *out = r;
    return 0;
}

/* ---- modes compare, support ---- */

/* One run of a case on an engine; results as double, in `a` */
struct outcome {
    int64_t n, n_grad[CASE_INPUTS];
    double *y, *grad[CASE_INPUTS];
};

static double *widened(const struct tape *t, struct arena *a, const void *x, int64_t n)
{
    double *v = arena_calloc(a, (size_t)n, sizeof(*v));
    if (v && x && dtype_convert(DT_F64, v, t->e->real, x, (size_t)n) < 0)
        return NULL;
    return v;
}

static int place_inputs(struct tape *t, const struct op_case *c, double *const *values, struct tensor **in)
{
    for (int i = 0; i < c->n_in; i++) {
        in[i] = t_new(t, c->in[i].n_dims, c->in[i].shape);
        if (!in[i])
            return tape_status(t);
        in[i]->needs_grad = !c->in[i].constant;
        TRY(dtype_convert(t->e->real, in[i]->data, DT_F64, values[i], (size_t)in[i]->n));
    }
    return 0;
}

static int place_weights(struct tape *t, const struct op_case *c, const struct tensor *y, void **w)
{
    double *wide = arena_alloc(t->step, (size_t)y->n * sizeof(double));
    *w = arena_alloc(t->step, (size_t)y->n * t->real);
    NODE_GOT(wide);
    NODE_GOT(*w);
    draw_weights(c, wide, y->n);
    return dtype_convert(t->e->real, *w, DT_F64, wide, (size_t)y->n);
}

static int run_case(struct tape *t, const struct op_entry *o, const struct op_case *c, double *const *values,
                    struct arena *a, struct outcome *out)
{
    struct tensor *in[CASE_INPUTS];
    void *w;
    tape_reset(t);
    TRY(place_inputs(t, c, values, in));
    struct tensor *y = o->build(t, in, c);
    TRY(tape_status(t));
    TRY(place_weights(t, c, y, &w));
    TRY(tape_backward_from(y, w));
    out->n = y->n;
    out->y = widened(t, a, y->data, y->n);
    NODE_GOT(out->y);
    for (int i = 0; i < c->n_in; i++) {
        out->n_grad[i] = c->in[i].constant ? 0 : in[i]->n;
        out->grad[i] = widened(t, a, in[i]->grad, in[i]->n);
        NODE_GOT(out->grad[i]);
    }
    return 0;
}

static double distance(const double *x, const double *truth, int64_t n)
{
    double largest = 1, error = 0;
    for (int64_t i = 0; i < n; i++) {
        error = worse(error, fabs(x[i] - truth[i]));
        largest = worse(largest, fabs(truth[i]));
    }
    return error / largest;
}

static int compare_case(const struct op_entry *o, struct tape *t, struct tape *truth, struct arena *a, uint64_t seed,
                        int number, double *forward, double *gradient)
{
    struct op_case c;
    double *values[CASE_INPUTS];
    struct outcome x, y;
    TRY(make_case(o, a, seed, number, number % 4 == 3 ? WIDE : SMALL, &c, values));
    TRY(run_case(truth, o, &c, values, a, &y));
    TRY(run_case(t, o, &c, values, a, &x));
    *forward = distance(x.y, y.y, y.n);
    *gradient = 0;
    for (int i = 0; i < c.n_in; i++)
        *gradient = worse(*gradient, distance(x.grad[i], y.grad[i], y.n_grad[i]));
    return 0;
}

static int compare_cases(const struct op_entry *o, struct tape *t, struct tape *truth, struct arena *a, bool low,
                         int n_cases, uint64_t seed, struct op_case_result *r)
{
    bool wide = t->e->real == DT_F64;
    double allow = low ? TOLERANCE_LOW : wide ? TOLERANCE_F64 : TOLERANCE_F32;
    double allow_gradient = low ? TOLERANCE_LOW : wide ? TOLERANCE_F64 : TOLERANCE_F32_GRADIENT;
    for (int k = 0; k < n_cases; k++, arena_reset(a)) {
        double forward, gradient;
        int rc = compare_case(o, t, truth, a, seed, k, &forward, &gradient);
        if (rc == ERR_UNSUPPORTED) {
            r->supported = false;
            return 0;
        }
        TRY(rc);
        r->n_cases++;
        r->n_failed += too_large(forward, allow) || too_large(gradient, allow_gradient);
        r->worst_forward = worse(r->worst_forward, forward);
        r->worst_gradient = worse(r->worst_gradient, gradient);
    }
    return 0;
}

int op_table_compare(int i, const struct engine *e, bool low, int n_cases, uint64_t seed, struct op_case_result *out)
{
    const struct op_entry *o = entry_at(i);
    const struct engine *ref;
    struct tape *t = NULL, *truth = NULL;
    struct arena *a = NULL;
    if (!o)
        FAIL(ERR_USAGE, "op table: no entry %d of %d", i, op_table_count());
    struct op_case_result r = {.op = o->name, .supported = true};
    TRY(engine_open(&ref, "ref64", 1));
    TRY(arena_open(&a, "op table"));
    int rc = tape_open(&t, e, &(struct tape_opt){.record = true, .low = low});
    if (rc >= 0)
        rc = tape_open(&truth, ref, &(struct tape_opt){.record = true});
    if (rc >= 0)
        rc = compare_cases(o, t, truth, a, low, n_cases, seed, &r);
    tape_close(&t);
    tape_close(&truth);
    arena_close(&a);
    if (rc < 0)
        return err_while(rc, "comparing %s on engine %s", o->name, e->name);
    *out = r;
    return 0;
}

/* ---- mode speed ---- */

#define SPEED_RUNS 7
#define SPEED_SECONDS 2.0

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int time_case(struct tape *t, const struct op_entry *o, const struct op_case *c, double *const *values,
                     double *forward, double *backward)
{
    double f[SPEED_RUNS], b[SPEED_RUNS], started = clock_seconds();
    int n = 0;
    for (int k = -1; k < SPEED_RUNS && (n < 1 || clock_seconds() - started < SPEED_SECONDS); k++) { /* -1: warm up */
        struct tensor *in[CASE_INPUTS];
        void *w;
        tape_reset(t);
        TRY(place_inputs(t, c, values, in));
        double t0 = clock_seconds();
        struct tensor *y = o->build(t, in, c);
        double t1 = clock_seconds();
        TRY(tape_status(t));
        TRY(place_weights(t, c, y, &w));
        double t2 = clock_seconds();
        TRY(tape_backward_from(y, w));
        double t3 = clock_seconds();
        if (k < 0)
            continue;
        f[n] = t1 - t0;
        b[n++] = t3 - t2;
    }
    qsort(f, (size_t)n, sizeof(*f), by_value);
    qsort(b, (size_t)n, sizeof(*b), by_value);
    *forward = f[n / 2];
    *backward = b[n / 2];
    return 0;
}

int op_table_speed(int i, const struct engine *e, bool low, double *forward, double *backward, double *gflop)
{
    const struct op_entry *o = entry_at(i);
    struct tape *t = NULL;
    struct arena *a = NULL;
    struct op_case c;
    double *values[CASE_INPUTS];
    if (!o)
        FAIL(ERR_USAGE, "op table: no entry %d of %d", i, op_table_count());
    TRY(arena_open(&a, "op table"));
    int rc = tape_open(&t, e, &(struct tape_opt){.record = true, .low = low});
    if (rc >= 0)
        rc = make_case(o, a, 1, 0, BIG, &c, values);
    if (rc >= 0)
        rc = time_case(t, o, &c, values, forward, backward);
    if (rc >= 0)
        *gflop = c.flop * 1e-9;
    tape_close(&t);
    arena_close(&a);
    return rc < 0 ? err_while(rc, "timing %s on engine %s", o->name, e->name) : 0;
}
