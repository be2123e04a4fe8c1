/* Linear separability of the two sides: accuracy, on held-out rows, of a logistic classifier that tells pictures from
 * texts by the embedding alone. 1 = the modality gap is open, 0.5 = it cannot be seen by a plane (Fahim, Murphy and
 * Fyshe, "It's Not a Modality Gap", 2024).
 *
 * Both sides are cut to the same number of rows, so that guessing gives one half whatever the captions per picture. 80
 * % of each side train, 20 % test, drawn by the seed. Loss: mean of ln(1 + exp(-y f)) + |w|^2 / (2 n), the usual unit
 * penalty; without it separable data have no optimum. Minimised by L-BFGS (liblbfgs; Liu and Nocedal 1989). The
 * interval is the bootstrap over the held-out rows, exact binomial where all of them are right. Rejected: a support
 * vector machine (one more dependency, the same plane). */
#include "eval/eval_private.h"

#include <lbfgs.h>
#include <math.h>
#include <string.h>

enum { MAX_ROWS = 10000, ITERATIONS = 200, MIN_ROWS = 5 }; /* rows a side; more change the third digit only */

struct task {
    int64_t d, n;    /* n training rows of both sides together */
    const float *x;  /* [n,d] */
    const double *y; /* [n] +1 picture, -1 text */
};

static double plane(const double *w, const float *x, int64_t d)
{
    double s[4] = {0, 0, 0, 0};
    int64_t j = 0;
    for (; j + 4 <= d; j += 4)
        for (int k = 0; k < 4; k++)
            s[k] += w[j + k] * (double)x[j + k];
    for (; j < d; j++)
        s[0] += w[j] * (double)x[j];
    return (s[0] + s[1]) + (s[2] + s[3]) + w[d];
}

static lbfgsfloatval_t loss(void *ctx, const lbfgsfloatval_t *w, lbfgsfloatval_t *g, const int n_w,
                            const lbfgsfloatval_t step)
{
    const struct task *t = ctx;
    double sum = 0, n = (double)t->n;
    (void)step;
    memset(g, 0, (size_t)n_w * sizeof *g);
    for (int64_t i = 0; i < t->n; i++) {
        const float *x = t->x + i * t->d;
        double z = t->y[i] * plane(w, x, t->d);
        sum += z > 0 ? log1p(exp(-z)) : log1p(exp(z)) - z;
        double slope = -t->y[i] / (1 + exp(z)) / n;
        for (int64_t j = 0; j < t->d; j++)
            g[j] += slope * (double)x[j];
        g[t->d] += slope;
    }
    sum /= n;
    for (int64_t j = 0; j < t->d; j++) { /* the offset goes free */
        sum += w[j] * w[j] / (2 * n);
        g[j] += w[j] / n;
    }
    return sum;
}

static int stop_on_signal(void *ctx, const lbfgsfloatval_t *w, const lbfgsfloatval_t *g, const lbfgsfloatval_t fx,
                          const lbfgsfloatval_t wnorm, const lbfgsfloatval_t gnorm, const lbfgsfloatval_t step, int n,
                          int k, int ls)
{
    (void)ctx, (void)w, (void)g, (void)fx, (void)wnorm, (void)gnorm, (void)step, (void)n, (void)k, (void)ls;
    return signal_caught();
}

/* The first `keep` places of order become a random sample of its n entries. */
static void draw(struct rng *r, int64_t *order, int64_t n, int64_t keep)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = 0; i < keep; i++) {
        int64_t j = i + (int64_t)rng_below(r, (uint64_t)(n - i)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

static void copy_unit(const struct rows *r, int64_t i, float *out)
{
    for (int64_t j = 0; j < r->d; j++)
        out[j] = (float)((double)r->x[i * r->d + j] * r->inverse[i]);
}

static int fit_and_test(const struct rows *const *side, int64_t n, int64_t n_test, int64_t *const *order,
                        const struct eval_opt *opt, struct interval *out)
{
    int64_t d = side[0]->d, n_train = n - n_test;
    float *x = mem_calloc((size_t)(2 * n_train * d) + (size_t)d, sizeof *x);
    double *y = mem_calloc((size_t)(2 * n_train) + 1, sizeof *y),
           *right = mem_calloc((size_t)(2 * n_test) + 1, sizeof *right);
    lbfgsfloatval_t *w = lbfgs_malloc((int)d + 1);
    int rc = 0;
    if (!x || !y || !right || !w) {
        rc = err_set(ERR_MEMORY, "out of memory while fitting the classifier of the two sides");
        goto out;
    }
    struct task t = {.d = d, .n = 2 * n_train, .x = x, .y = y};
    memset(w, 0, (size_t)(d + 1) * sizeof *w);
    for (int64_t i = 0; i < 2 * n_train; i++) {
        copy_unit(side[i % 2], order[i % 2][i / 2], x + i * d);
        y[i] = i % 2 ? -1 : 1;
    }
    lbfgs_parameter_t p;
    lbfgs_parameter_init(&p);
    p.max_iterations = ITERATIONS;
    p.epsilon = 1e-6;
    p.past = 3; /* stop when the loss stands still: all rows equal has nothing to learn */
    p.delta = 1e-9;
    int code = lbfgs((int)d + 1, w, NULL, loss, stop_on_signal, &t, &p);
    rc = signal_check();
    if (rc < 0)
        goto out;
    if (code == LBFGSERR_OUTOFMEMORY) {
        rc = err_set(ERR_MEMORY, "out of memory while fitting the classifier of the two sides");
        goto out;
    }
    /* Any other code leaves the best point found: a rounding stop at the optimum is one, too. */
    float *row = x;
    for (int64_t i = 0; i < 2 * n_test; i++) {
        copy_unit(side[i % 2], order[i % 2][n_train + i / 2], row);
        double f = plane(w, row, d);
        right[i] = fabs(f) < 1e-12 ? 0.5 : (f > 0) == (i % 2 == 0);
    }
    *out = bootstrap_mean(right, 2 * n_test, bootstrap_resamples(opt), opt ? opt->seed : 0);
    bootstrap_widen_share(out, 2 * n_test);
    rc = signal_check();
out:
    mem_free(x);
    mem_free(y);
    mem_free(right);
    if (w)
        lbfgs_free(w);
    return rc;
}

int eval_separability(const struct rows *a, const struct rows *b, const struct eval_opt *opt, struct interval *out)
{
    const struct rows *side[2] = {a, b};
    int64_t n = a->n < b->n ? a->n : b->n, *order[2] = {NULL, NULL};
    int rc = 0;
    n = n < MAX_ROWS ? n : MAX_ROWS;
    if (n < MIN_ROWS) {
        *out = (struct interval){(double)NAN, (double)NAN, (double)NAN};
        return 0;
    }
    for (int k = 0; k < 2 && rc == 0; k++) {
        struct rng r = rng_stream(opt ? opt->seed : 0, RNG_SAMPLE, 1, (uint64_t)k);
        order[k] = mem_calloc((size_t)side[k]->n, sizeof *order[k]);
        rc = order[k] ? 0 : ERR_MEMORY;
        if (rc == 0)
            draw(&r, order[k], side[k]->n, n);
    }
    if (rc == 0)
        rc = fit_and_test(side, n, (n + 4) / 5, order, opt, out);
    mem_free(order[0]);
    mem_free(order[1]);
    return rc;
}
