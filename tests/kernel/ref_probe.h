/* tests/kernel/ref_probe.h: runs one slot of an engine with random numbers: forward against ref64, backward against
 * ref64 and against central differences in double, and the promises of the door (gradients accumulate, a NULL gradient
 * is skipped).
 *
 * A probe is one slot (pair) with its shapes: `shape` draws them, `fwd` and `bwd` call the engine. All inputs are
 * rounded to float first, so both engines see the same numbers. */
#ifndef TESTS_KERNEL_REF_PROBE_H
#define TESTS_KERNEL_REF_PROBE_H

#include "ref_vectors.h"

enum { MAX_IN = 4, MAX_SAVED = 3, MAX_MASK = 512, N_ROUNDS = 6 };

struct probe {
    const char *name;
    int variant;
    int64_t dim[10]; /* drawn by shape */
    int64_t n_in[MAX_IN], n_out, n_saved[MAX_SAVED];
    double lo, hi; /* range of the inputs; both 0: normal */
    bool unit;     /* rows of the first two inputs have unit length (dim[1]) */
    int32_t ids[64];
    uint8_t mask[MAX_MASK];
};

struct run {
    void *in[MAX_IN], *out, *saved[MAX_SAVED];
    void *dout, *din[MAX_IN];
};

struct kind {
    const char *name;
    int n_variants;
    void (*shape)(struct probe *p, struct rng *r);
    void (*fwd)(const struct probe *p, const struct engine *e, struct run *s);
    void (*bwd)(const struct probe *p, const struct engine *e, struct run *s); /* NULL: nothing to differentiate */
};

static int64_t draw(struct rng *r, int64_t lo, int64_t hi)
{
    return lo + (int64_t)rng_below(r, (uint64_t)(hi - lo + 1));
}

static void *at(const struct engine *e, void *p, int64_t i)
{
    return p ? (char *)p + (size_t)i * dtype_size(e->real) : NULL;
}

static double draw_value(const struct probe *p, struct rng *r)
{
    return p->hi > p->lo ? p->lo + (p->hi - p->lo) * rng_uniform(r) : rng_normal(r);
}

/* Unit rows; with variant 1 the second input is the first plus a little, then normalised too. */
static void make_unit(const struct probe *p, double *const *in)
{
    int64_t d = p->dim[1];
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < p->dim[0]; i++) {
            double sum = 0;
            for (int64_t j = i * d; j < (i + 1) * d; j++) {
                in[k][j] = k && p->variant ? in[0][j] + 0.05 * in[1][j] : in[k][j];
                sum += in[k][j] * in[k][j];
            }
            for (int64_t j = i * d; j < (i + 1) * d; j++)
                in[k][j] = (double)(float)(in[k][j] / sqrt(sum));
        }
    }
}

static struct run new_run(const struct probe *p, const struct engine *e, double *const *in, const double *dout)
{
    struct run s = {{0}};
    for (int k = 0; k < MAX_IN; k++) {
        s.in[k] = vec(e, p->n_in[k], in[k]);
        s.din[k] = vec(e, p->n_in[k], NULL);
    }
    for (int k = 0; k < MAX_SAVED; k++)
        s.saved[k] = vec(e, p->n_saved[k], NULL);
    s.out = vec(e, p->n_out, NULL);
    s.dout = vec(e, p->n_out, dout);
    return s;
}

static void compare(const struct probe *p, const char *what, int64_t n, const struct engine *e, const void *got,
                    const struct engine *other, const void *expected, double factor, double tolerance)
{
    double scale = 1;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(get(other, expected, i)));
    for (int64_t i = 0; i < n; i++) {
        double g = get(e, got, i), x = factor * get(other, expected, i);
        if (!(fabs(g - x) <= tolerance * scale))
            fail_msg("%s variant %d, %s, element %d of %d: %.12g, expected %.12g", p->name, p->variant, what, (int)i,
                     (int)n, g, x);
    }
}

static double weighted(const struct probe *p, const struct run *s)
{
    double sum = 0;
    for (int64_t i = 0; i < p->n_out; i++)
        sum += ((double *)s->out)[i] * ((double *)s->dout)[i];
    return sum;
}

/* din of the run against central differences of sum(dout out). s is clobbered except for din. */
static void differentiate(const struct probe *p, const struct kind *kind, const struct engine *e, struct run *s)
{
    for (int k = 0; k < MAX_IN; k++) {
        double *x = s->in[k], *slope = vec(e, p->n_in[k], NULL);
        for (int64_t i = 0; i < p->n_in[k]; i++) {
            double keep = x[i], h = 1e-5;
            x[i] = keep + h;
            kind->fwd(p, e, s);
            double above = weighted(p, s);
            x[i] = keep - h;
            kind->fwd(p, e, s);
            slope[i] = (above - weighted(p, s)) / (2 * h);
            x[i] = keep;
        }
        compare(p, "gradient", p->n_in[k], e, s->din[k], e, slope, 1, 1e-7);
    }
}

static void check_probe(const struct kind *kind, const struct engine *single, struct probe *p, struct rng *r)
{
    const struct engine *wide = engine_named("ref64");
    double *in[MAX_IN] = {0}, *dout;
    kind->shape(p, r);
    for (size_t i = 0; i < MAX_MASK; i++)
        p->mask[i] = rng_below(r, 4) != 0;
    for (int k = 0; k < MAX_IN; k++) {
        in[k] = vec(wide, p->n_in[k], NULL);
        for (int64_t i = 0; i < p->n_in[k]; i++)
            in[k][i] = (double)(float)draw_value(p, r);
    }
    dout = vec(wide, p->n_out, NULL);
    for (int64_t i = 0; i < p->n_out; i++)
        dout[i] = (double)(float)rng_normal(r);
    if (p->unit)
        make_unit(p, in);

    struct run a = new_run(p, single, in, dout), b = new_run(p, wide, in, dout);
    kind->fwd(p, single, &a);
    kind->fwd(p, wide, &b);
    compare(p, "forward, float against double", p->n_out, single, a.out, wide, b.out, 1, 2e-6);
    if (!kind->bwd)
        return;
    kind->bwd(p, single, &a);
    kind->bwd(p, wide, &b);
    for (int k = 0; k < MAX_IN; k++)
        compare(p, "gradient, float against double", p->n_in[k], single, a.din[k], wide, b.din[k], 1, 2e-5);
    struct run once = b;
    for (int k = 0; k < MAX_IN; k++) {
        once.din[k] = vec(wide, p->n_in[k], b.din[k]);
        b.din[k] = NULL;
    }
    kind->bwd(p, wide, &b); /* all NULL: skipped */
    for (int k = 0; k < MAX_IN; k++)
        b.din[k] = vec(wide, p->n_in[k], once.din[k]);
    kind->bwd(p, wide, &b);
    for (int k = 0; k < MAX_IN; k++)
        compare(p, "accumulated gradient", p->n_in[k], wide, b.din[k], wide, once.din[k], 2, 1e-12);
    differentiate(p, kind, wide, &once);
}

#endif
