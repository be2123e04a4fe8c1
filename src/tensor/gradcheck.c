/* Gradient checking: central differences in double, (f(x + h) - f(x - h)) / 2h, error h^2 f''' / 6 + eps |f| / h.
 *
 * With h = 1e-5 both terms are near 1e-11 for functions of order one. Rejected: complex steps, which every kernel would
 * have to support, and float, where no step does better than 1e-4. */
#include <math.h>
#include <string.h>

#include "tensor/node.h"

struct check {
    struct tensor *(*f)(struct tape *t, struct tensor **inputs, void *ctx);
    void *ctx;
    int n;
    const int *n_dims;
    const int64_t (*shapes)[T_MAX_DIMS];
    double **values; /* copies, perturbed one number at a time */
    struct tensor **inputs;
};

static int64_t count_of(const struct check *c, int i)
{
    int64_t n = 1;
    for (int k = 0; k < c->n_dims[i]; k++)
        n *= c->shapes[i][k];
    return n;
}

static int evaluate(const struct check *c, struct tape *t, struct tensor **out)
{
    tape_reset(t);
    for (int i = 0; i < c->n; i++)
        c->inputs[i] = t_input_grad(t, c->n_dims[i], c->shapes[i], c->values[i]);
    struct tensor *y = c->f(t, c->inputs, c->ctx);
    TRY(tape_status(t));
    if (!y || y->n != 1)
        FAIL(ERR_FAIL, "grad_check: the function gave %s, expected one number", y ? shape_text(y) : "nothing");
    *out = y;
    return 0;
}

/* d f / d values[i][j] */
static int difference(const struct check *c, struct tape *t, int i, int64_t j, double h, double *slope)
{
    double x = c->values[i][j], up, down;
    struct tensor *y;
    c->values[i][j] = x + h;
    int rc = evaluate(c, t, &y);
    up = rc < 0 ? 0 : t_value(y);
    c->values[i][j] = x - h;
    if (rc >= 0)
        rc = evaluate(c, t, &y);
    down = rc < 0 ? 0 : t_value(y);
    c->values[i][j] = x;
    *slope = (up - down) / (2 * h);
    return rc;
}

static int compare_input(const struct check *c, struct tape *plain, int i, const double *analytic, double h,
                         double *worst)
{
    double largest = 1, error = 0;
    for (int64_t j = 0, n = count_of(c, i); j < n; j++) {
        double numeric;
        TRY(difference(c, plain, i, j, h, &numeric));
        double d = fabs((analytic ? analytic[j] : 0) - numeric);
        largest = fmax(largest, fabs(numeric));
        error = d > error || isnan(d) ? d : error; /* NaN sticks */
        if (isnan(d))
            break;
    }
    error /= largest;
    if (isnan(error) || error > *worst)
        *worst = error;
    return 0;
}

static int copy_values(struct check *c, struct arena *a, double *const *values)
{
    c->values = arena_calloc(a, (size_t)c->n, sizeof(*c->values));
    c->inputs = arena_calloc(a, (size_t)c->n, sizeof(struct tensor *));
    NODE_GOT(c->values);
    NODE_GOT(c->inputs);
    for (int i = 0; i < c->n; i++) {
        size_t bytes = (size_t)count_of(c, i) * sizeof(double);
        c->values[i] = arena_alloc(a, bytes);
        NODE_GOT(c->values[i]);
        memcpy(c->values[i], values[i], bytes);
    }
    return 0;
}

static int run_check(struct check *c, struct arena *a, struct tape *full, struct tape *plain, double step,
                     double *worst)
{
    double found = 0;
    struct tensor *y;
    const double **analytic = arena_calloc(a, (size_t)c->n, sizeof(*analytic));
    NODE_GOT(analytic);
    TRY_IN(evaluate(c, full, &y), "evaluating the function");
    TRY_IN(tape_backward(y), "going backward");
    for (int i = 0; i < c->n; i++) /* stays valid: `full` is not reset again */
        analytic[i] = c->inputs[i]->grad;
    for (int i = 0; i < c->n && !isnan(found); i++)
        TRY(compare_input(c, plain, i, analytic[i], step, &found));
    *worst = found;
    return 0;
}

int grad_check(struct tensor *(*f)(struct tape *t, struct tensor **inputs, void *ctx), void *ctx, int n_inputs,
               const int *n_dims, const int64_t (*shapes)[T_MAX_DIMS], double *const *values, double step,
               double *worst)
{
    struct check c = {.f = f, .ctx = ctx, .n = n_inputs, .n_dims = n_dims, .shapes = shapes};
    struct tape *full = NULL, *plain = NULL;
    struct arena *a = NULL;
    const struct engine *e;
    int rc = engine_open(&e, "ref64", 1);
    if (rc >= 0)
        rc = arena_open(&a, "gradcheck");
    if (rc >= 0)
        rc = tape_open(&full, e, &(struct tape_opt){.record = true});
    if (rc >= 0)
        rc = tape_open(&plain, e, &(struct tape_opt){.record = false});
    if (rc >= 0)
        rc = copy_values(&c, a, values);
    if (rc >= 0)
        rc = run_check(&c, a, full, plain, step, worst);
    tape_close(&full);
    tape_close(&plain);
    if (a)
        arena_close(&a);
    return rc;
}
