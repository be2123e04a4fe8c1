/* tests/loss/test_ggd.c: the generalised Gaussian and the objectives of adapters, against golden values of other
 * people's code (golden/losses, float64), closed forms and numerical integrals. */
#include "golden_losses.h"
#include "io/io.h"
#include "loss/loss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEED_GOLDEN()                                                                                                  \
    if (!inputs) {                                                                                                     \
        print_message("skipped: no golden/losses (environment MERIDIAN_SHARED)\n");                                    \
        skip();                                                                                                        \
    }

static const double *golden(const struct st_file *f, const char *name, size_t *n)
{
    const struct st_tensor *t = st_find(f, name);
    if (!t || t->dtype != DT_F64)
        fail_msg("golden tensor %s is missing or not F64", name);
    if (n)
        *n = t->n_bytes / sizeof(double);
    return t->data;
}

/* ---- objectives ---- */

enum { MAX_IN = 6 };
struct objective {
    const char *name, *in[MAX_IN], *grad[MAX_IN];
    struct tensor *(*build)(struct tensor **in, const struct objective *o);
    double t2, cross;
};

static struct tensor *constant(struct tape *t, const char *name)
{
    const struct st_tensor *g = st_find(inputs, name);
    struct tensor *x = g ? t_new(t, g->n_dims, g->shape) : NULL;
    assert_non_null(x);
    assert_int_equal(dtype_convert(tape_engine(t)->real, x->data, DT_F64, g->data, (size_t)x->n), 0);
    return x;
}

static double at(const struct engine *e, const void *x, size_t i)
{
    return e->real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void compare(const struct objective *o, const char *what, const struct engine *e, const void *x, double bar)
{
    char name[160];
    size_t n;
    snprintf(name, sizeof name, "%s.%s", o->name, what);
    const double *want = golden(expected, name, &n);
    double top = 1e-3, worst = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < n; i++) {
        double d = fabs(at(e, x, i) - want[i]) / top;
        worst = d > worst || isnan(d) ? d : worst;
    }
    if (!(worst <= bar))
        fail_msg("%s on %s: off by %.3g of the largest, at most %.0e", name, e->name, worst, bar);
}

static void check(const struct objective *o, const char *engine, double bar)
{
    const struct engine *e;
    struct tape *t;
    struct tensor *in[MAX_IN] = {0};
    assert_int_equal(engine_open(&e, engine, 2), 0);
    assert_int_equal(tape_open(&t, e, &(struct tape_opt){.record = true}), 0);
    for (int i = 0; i < MAX_IN && o->in[i]; i++) {
        if (!strncmp(o->in[i], "=", 1)) {
            in[i] = t_new(t, 0, NULL);
            assert_non_null(in[i]);
            double v = atof(o->in[i] + 1);
            if (e->real == DT_F64)
                *(double *)in[i]->data = v;
            else
                *(float *)in[i]->data = (float)v;
        } else {
            in[i] = constant(t, o->in[i]);
        }
        in[i]->needs_grad = true;
    }
    struct tensor *loss = o->build(in, o);
    if (tape_status(t) < 0 || tape_backward(loss) < 0)
        fail_msg("%s: %s", o->name, err_text());
    compare(o, "value", e, loss->data, bar);
    for (int i = 0; i < MAX_IN && o->in[i]; i++)
        compare(o, o->grad[i], e, in[i]->grad, bar * 10);
    tape_close(&t);
}

static struct tensor *exact(struct tensor **in, const struct objective *o)
{
    struct tensor *z = constant(in[0]->tape, "probvlm.z_text");
    return t_scale(t_mean(t_ggd_nll(in[0], z, in[1], in[2], ggd_exact_form(0))), 1, o->t2);
}

static struct tensor *exact_cross(struct tensor **in, const struct objective *o UNUSED)
{
    struct tape *t = in[0]->tape;
    struct tensor *zi = constant(t, "probvlm.z_image"), *zt = constant(t, "probvlm.z_text");
    return t_add(t_mean(t_ggd_nll(in[3], zt, in[4], in[5], ggd_exact_form(0))),
                 t_mean(t_ggd_nll(in[0], zi, in[1], in[2], ggd_exact_form(0))));
}

static struct tensor *released_term(struct tensor **in, const struct objective *o)
{
    bool image = strstr(o->name, "image") != NULL;
    struct tensor *z = constant(in[0]->tape, image ? "probvlm.z_image" : "probvlm.z_text");
    return ggd_released_term(&(struct ggd_side){in[0], in[1], in[2]}, z, o->cross, o->t2);
}

static struct tensor *released_total(struct tensor **in, const struct objective *o)
{
    struct tape *t = in[0]->tape;
    struct ggd_side image = {in[0], in[1], in[2]}, text = {in[3], in[4], in[5]};
    struct probvlm_opt opt = {.released = true, .t1 = 1, .t2 = o->t2, .intra = 1, .cross = o->cross};
    return probvlm_loss(&image, &text, constant(t, "probvlm.z_image"), constant(t, "probvlm.z_text"), &opt);
}

static struct tensor *pfe(struct tensor **in, const struct objective *o UNUSED)
{
    return pfe_loss(in[0], in[1], in[2], in[3]);
}

static struct tensor *pcmepp(struct tensor **in, const struct objective *o UNUSED)
{
    return pcmepp_loss(in[0], in[1], in[2], in[3], in[4], in[5]);
}

/* The authors take the mean of the samples as the mean of the divergence, and log sigma for a log variance. */
static struct tensor *pcme(struct tensor **in, const struct objective *o)
{
    struct tensor *samples[2], *vib[2];
    for (int k = 0; k < 2; k++) {
        struct tensor *noise = constant(in[0]->tape, k ? "pcme.text_noise" : "pcme.image_noise");
        int64_t n = in[k]->shape[0], d = in[k]->shape[1];
        samples[k] = t_add(t_reshape(in[k], SHAPE(n, 1, d)), t_mul(noise, t_reshape(t_exp(in[2 + k]), SHAPE(n, 1, d))));
        vib[k] = pcme_divergence(t_reduce(samples[k], RED_MEAN, 1), in[2 + k]);
    }
    struct tensor *loss = pcme_loss(samples[0], samples[1], in[5], in[4]);
    if (o->cross > 0)
        loss = t_add(loss, t_scale(pcme_uniformity(samples[0], samples[1]), o->cross, 0));
    return t_add(loss, t_scale(t_add(vib[0], vib[1]), o->t2, 0));
}

#define PART(s) "probvlm." s "_mu", "probvlm." s "_1alpha", "probvlm." s "_beta"
#define SIDE(s) "ggd_" s ".mean", "ggd_" s ".one_over_alpha", "ggd_" s ".beta"
#define SIX                                                                                                            \
    "probvlm.img_mu", "probvlm.img_1alpha", "probvlm.img_beta", "probvlm.txt_mu", "probvlm.txt_1alpha",                \
        "probvlm.txt_beta"
#define THREE                                                                                                          \
    {                                                                                                                  \
        "grad_mean", "grad_one_over_alpha", "grad_beta"                                                                \
    }
#define SIX_GRADS                                                                                                      \
    {                                                                                                                  \
        "grad_img_mu", "grad_img_1alpha", "grad_img_beta", "grad_txt_mu", "grad_txt_1alpha", "grad_txt_beta"           \
    }
#define LOGS "pcme.image_mu", "pcme.text_mu", "pfe.image_log_variance", "pfe.text_log_variance"

static void golden_objectives(void **state UNUSED)
{
    static const struct objective list[] = {
        {"ggd.exact_nll.text.mean", {SIDE("text")}, THREE, exact, 0, 0},
        {"ggd.exact_nll.text.mean.with_ln2", {SIDE("text")}, THREE, exact, 0.69314718055994530942, 0},
        {"ggd.exact_cross.sum_of_two_nll.mean",
         {SIDE("text"), SIDE("image")},
         {"grad_txt_mean", "grad_txt_one_over_alpha", "grad_txt_beta", "grad_img_mean", "grad_img_one_over_alpha",
          "grad_img_beta"},
         exact_cross,
         0,
         0},
        {"probvlm.released_gg.image", {PART("img")}, THREE, released_term, 1, 0},
        {"probvlm.released_gg.text", {PART("txt")}, THREE, released_term, 1, 0},
        {"probvlm.released_comb.T1_1.T2_0.05.text", {PART("txt")}, THREE, released_term, 0.05, 1},
        {"probvlm.released_comb.T1_1.T2_0.0001.text", {PART("txt")}, THREE, released_term, 1e-4, 1},
        {"probvlm.released_total.T1_1.T2_0.0001.cross_0.0001", {SIX}, SIX_GRADS, released_total, 1e-4, 1e-4},
        {"probvlm.released_total.T1_1.T2_0.05.cross_0.0001", {SIX}, SIX_GRADS, released_total, 0.05, 1e-4},
        {"probvlm.released_total.T1_1.T2_0.05.cross_0.3", {SIX}, SIX_GRADS, released_total, 0.05, 0.3},
        {"pfe.cross_modal",
         {LOGS},
         {"grad_image_mu", "grad_text_mu", "grad_image_log_variance", "grad_text_log_variance"},
         pfe,
         0,
         0},
        {"pcmepp.closed_form_bce_mean",
         {LOGS, "=5", "=5"},
         {"grad_image_mu", "grad_text_mu", "grad_image_log_variance", "grad_text_log_variance", "grad_a", "grad_b"},
         pcmepp,
         0,
         0},
        {"pcme.ab15.vib1e-5",
         {"pcme.image_mu", "pcme.text_mu", "pcme.image_logsigma", "pcme.text_logsigma", "=15", "=15"},
         {"grad_image_mu", "grad_text_mu", "grad_image_logsigma", "grad_text_logsigma", "grad_shift",
          "grad_negative_scale"},
         pcme,
         1e-5,
         0},
        {"pcme.ab5.vib1e-3.uniform10",
         {"pcme.image_mu", "pcme.text_mu", "pcme.image_logsigma", "pcme.text_logsigma", "=5", "=5"},
         {"grad_image_mu", "grad_text_mu", "grad_image_logsigma", "grad_text_logsigma", "grad_shift",
          "grad_negative_scale"},
         pcme,
         1e-3,
         10},
    };
    NEED_GOLDEN();
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        check(&list[i], "ref64", 1e-10);
        check(&list[i], "cpu", 2e-4);
    }
}

static void golden_densities(void **state UNUSED)
{
    NEED_GOLDEN();
    size_t n;
    const double *m = golden(inputs, "ggd_text.mean", &n), *a = golden(inputs, "ggd_text.one_over_alpha", NULL);
    const double *b = golden(inputs, "ggd_text.beta", NULL), *z = golden(inputs, "probvlm.z_text", NULL);
    const double *want = golden(expected, "ggd.exact_nll.text.per_element_with_ln2", NULL);
    const double *variance = golden(expected, "ggd.variance.text", NULL);
    const double *a2 = golden(inputs, "probvlm.img_1alpha", NULL), *b2 = golden(inputs, "probvlm.img_beta", NULL);
    const double *released = golden(expected, "probvlm.released_get_GGuncer.image", NULL);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs(-ggd_log_density(z[i], m[i], 1 / a[i], b[i]) - want[i]) < 1e-10 * fmax(1, fabs(want[i])));
        assert_true(fabs(ggd_variance(1 / a[i], b[i]) - variance[i]) < 1e-10 * fmax(1, variance[i]));
        assert_true(fabs(ggd_released_variance(a2[i], b2[i]) - released[i]) < 1e-9 * released[i]);
    }
}

/* ---- the distribution ---- */

static const double shapes[] = {0.5, 0.7, 1, 1.46, 2, 3, 4};

/* Substituting z = mean + t^3 tames the cusp; the density integrates to 1, its second moment to the variance. */
static void integrals(void **state UNUSED)
{
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        double alpha = 0.8, beta = shapes[s], one = 0, square = 0, entropy = 0, step = 1e-4;
        double reach = cbrt(alpha * pow(60, 1 / beta));
        for (double t = step / 2; t < reach; t += step) {
            double z = t * t * t, l = ggd_log_density(0.3 + z, 0.3, alpha, beta), w = 2 * 3 * t * t * step * exp(l);
            one += w;
            square += w * z * z;
            entropy -= w * l;
        }
        assert_true(fabs(one - 1) < 1e-7);
        assert_true(fabs(square / ggd_variance(alpha, beta) - 1) < 1e-6);
        assert_true(fabs(entropy - ggd_entropy(alpha, beta)) < 1e-6);
    }
    assert_true(fabs(ggd_variance(sqrt(2), 2) - 1) < 1e-14);
    assert_true(fabs(ggd_variance(1, 1) - 2) < 1e-14);
    assert_true(isfinite(ggd_log_variance(1, 0.01)));
}

static void distribution_function(void **state UNUSED)
{
    for (int k = -40; k <= 40; k++) {
        double z = k * 0.1;
        assert_true(fabs(ggd_cdf(z, 0, sqrt(2), 2) - 0.5 * erfc(-z / sqrt(2))) < 1e-13);
        double laplace = z < 0 ? 0.5 * exp(z) : 1 - 0.5 * exp(-z);
        assert_true(fabs(ggd_cdf(z, 0, 1, 1) - laplace) < 1e-13);
    }
    /* its slope is the density */
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        double h = 1e-5, z = 0.9,
               slope = (ggd_cdf(z + h, 0.2, 0.6, shapes[s]) - ggd_cdf(z - h, 0.2, 0.6, shapes[s])) / (2 * h);
        assert_true(fabs(slope / exp(ggd_log_density(z, 0.2, 0.6, shapes[s])) - 1) < 1e-7);
    }
    assert_true(ggd_cdf(INFINITY, 0, 1, 1) == 1 && ggd_cdf(-INFINITY, 0, 1, 1) == 0);
}

/* Moments and, by Kolmogorov and Smirnov's distance, the whole distribution of 40,000 draws. */
static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sampler(void **state UNUSED)
{
    enum { N = 40000 };
    double *x = mem_alloc(N * sizeof *x);
    assert_non_null(x);
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        struct rng r = rng_stream(7, RNG_TEST, 0, s);
        double sum = 0, square = 0, far = 0, v = ggd_variance(0.5, shapes[s]);
        for (int i = 0; i < N; i++) {
            x[i] = ggd_sample(&r, 1, 0.5, shapes[s]);
            sum += x[i] - 1;
            square += (x[i] - 1) * (x[i] - 1);
        }
        qsort(x, N, sizeof *x, by_size);
        for (int i = 0; i < N; i++)
            far = fmax(far, fabs(ggd_cdf(x[i], 1, 0.5, shapes[s]) - (i + 0.5) / N));
        assert_true(fabs(sum / N) < 5 * sqrt(v / N));
        assert_true(fabs(square / N / v - 1) < 0.12);
        assert_true(far < 1.63 / sqrt(N)); /* 1 % */
    }
    mem_free(x);
}

/* lgamma and digamma to 1e-12: Gamma(1/2) = sqrt(pi); psi(1) = -gamma, psi(1/2) = -gamma - 2 ln 2; recurrences. */
static void special(void **state UNUSED)
{
    const double euler = 0.57721566490153286061, pi = 3.14159265358979323846;
    assert_true(fabs(ref_lgamma(0.5) - 0.5 * log(pi)) < 1e-14);
    assert_true(fabs(ref_lgamma(1e4) - 82099.717496442377) < 1e-12 * 82100);
    assert_true(fabs(ref_digamma(1) + euler) < 1e-14);
    assert_true(fabs(ref_digamma(0.5) + euler + 2 * log(2)) < 1e-13);
    assert_true(fabs(ref_digamma(0.25) + euler + pi / 2 + 3 * log(2)) < 1e-12);
    for (double x = 0.1; x < 30; x *= 1.07) {
        assert_true(fabs(ref_lgamma(x + 1) - ref_lgamma(x) - log(x)) < 1e-12 * fmax(1, fabs(ref_lgamma(x + 1))));
        assert_true(fabs(ref_digamma(x + 1) - ref_digamma(x) - 1 / x) < 1e-12 * fmax(1, 1 / x));
    }
}

/* ---- guards ---- */

static void no_nan(void **state UNUSED)
{
    static const char *const engines[] = {"ref", "ref64", "cpu"};
    float m[] = {0, 0, 1, 1e30F, 0, 3, -2}, z[] = {0, 1e-30F, 1, -1e30F, 0, 3.0000002F, 1};
    float a[] = {100, 100, 1, 100, 0.01F, 100, 1}, b[] = {0.5F, 0.5F, 4, 4, 4, 0.5F, 2};
    enum { N = 7 };
    for (size_t k = 0; k < ARRAY_LEN(engines); k++)
        for (int eps = 0; eps < 2; eps++) {
            const struct engine *e;
            struct tape *t;
            struct tensor *in[4];
            float *rows[] = {m, z, a, b};
            assert_int_equal(engine_open(&e, engines[k], 1), 0);
            assert_int_equal(tape_open(&t, e, &(struct tape_opt){.record = true}), 0);
            for (int i = 0; i < 4; i++) {
                in[i] = t_new(t, SHAPE(N));
                assert_int_equal(dtype_convert(e->real, in[i]->data, DT_F32, rows[i], N), 0);
                in[i]->needs_grad = i != 1;
            }
            struct tensor *y = t_ggd_nll(in[0], in[1], in[2], in[3], ggd_exact_form(eps ? 1e-3 : 0));
            assert_int_equal(tape_backward(t_mean(y)), 0);
            for (size_t i = 0; i < N; i++)
                for (int g = 0; g < 4; g++)
                    if (g != 1 && !isfinite(at(e, in[g]->grad, i)))
                        fail_msg("%s eps %d: gradient %d of number %zu is %g", e->name, eps, g, i,
                                 at(e, in[g]->grad, i));
            tape_close(&t);
        }
}

/* ---- the cross-modal terms ---- */

static double cross_value(enum ggd_cross how, double mean, double alpha_v, double alpha_t, double beta)
{
    const struct engine *e;
    struct tape *t;
    assert_int_equal(engine_open(&e, "ref64", 1), 0);
    assert_int_equal(tape_open(&t, e, &(struct tape_opt){0}), 0);
    double m[2] = {0, 0}, mt[2] = {mean, mean}, v[2] = {1 / alpha_v, 1 / alpha_v}, w[2] = {1 / alpha_t, 1 / alpha_t};
    double b[2] = {beta, beta};
    struct tensor *shape = t_input(t, SHAPE(1, 2), b), *zi = t_input(t, SHAPE(1, 2), m),
                  *zt = t_input(t, SHAPE(1, 2), mt);
    struct ggd_side image = {zi, t_input(t, SHAPE(1, 2), v), shape}, text = {zt, t_input(t, SHAPE(1, 2), w), shape};
    struct probvlm_opt o = {.intra = 1, .cross = 1, .how = how}, none = {.intra = 1};
    double x = t_value(probvlm_loss(&image, &text, zi, zt, &o)) - t_value(probvlm_loss(&image, &text, zi, zt, &none));
    tape_close(&t);
    return x;
}

static void cross_terms(void **state UNUSED)
{
    for (double mean = 0; mean < 3; mean += 0.7) {
        /* two normal distributions: the density of their difference at 0 */
        double variance = 0.5 * 0.5 / 2 + 1.2 * 1.2 / 2;
        double want = log(2 * 3.14159265358979323846 * variance) + mean * mean / variance;
        assert_true(fabs(cross_value(CROSS_QUADRATURE, mean, 0.5, 1.2, 2) - want) < 1e-2);
        /* any shapes: a plain sum over a fine grid */
        double sum = 0;
        for (double z = -30; z < 30; z += 1e-3)
            sum += 1e-3 * exp(ggd_log_density(z, 0, 0.3, 1.1) + ggd_log_density(z, mean, 0.9, 1.1));
        assert_true(fabs(cross_value(CROSS_QUADRATURE, mean, 0.3, 0.9, 1.1) + 2 * log(sum)) < 2e-2);
        /* equation 6: no more than equation 7, its bound */
        assert_true(cross_value(CROSS_LOGSUMEXP, mean, 0.3, 0.9, 1.1) <=
                    cross_value(CROSS_SUM, mean, 0.3, 0.9, 1.1) + 1e-12);
    }
}

static struct tensor *all_of(struct tape *t UNUSED, struct tensor **in, void *how)
{
    struct ggd_side image = {in[0], t_exp(in[1]), t_softplus(in[2])}, text = {in[3], t_exp(in[4]), t_softplus(in[5])};
    static const double zi[6] = {0.2, -1, 0.4, 0.9, 0.1, -0.4}, zt[6] = {0.3, -0.2, 0.8, -0.5, 0.7, 0.6};
    struct tensor *a = t_input(t, SHAPE(2, 3), zi), *b = t_input(t, SHAPE(2, 3), zt);
    struct probvlm_opt o = {.intra = 1, .cross = 0.7, .eps = 1e-2, .how = *(enum ggd_cross *)how};
    return probvlm_loss(&image, &text, a, b, &o);
}

static void cross_gradients(void **state UNUSED)
{
    static const double x[6][6] = {{0, 0.5, 1, -0.3, 0.2, 0.7},   {0.1, 0.4, -0.2, 0.6, 0, 0.3},
                                   {1, 0.8, 1.4, 0.9, 1.1, 2},    {0.9, -0.1, 0.4, 0.2, -0.6, 0.1},
                                   {0.3, -0.4, 0.5, 0.2, 0.1, 0}, {1.2, 0.7, 0.9, 1.5, 1, 0.8}};
    const int dims[6] = {2, 2, 2, 2, 2, 2};
    const int64_t shape[6][T_MAX_DIMS] = {{2, 3}, {2, 3}, {2, 3}, {2, 3}, {2, 3}, {2, 3}};
    double *values[6];
    for (int i = 0; i < 6; i++) {
        values[i] = mem_alloc(sizeof x[i]);
        memcpy(values[i], x[i], sizeof x[i]);
    }
    for (enum ggd_cross how = CROSS_SUM; how <= CROSS_QUADRATURE; how++) {
        double worst;
        assert_int_equal(grad_check(all_of, &how, 6, dims, shape, values, 1e-5, &worst), 0);
        /* the nodes of the quadrature move with the numbers, which its gradient leaves out */
        assert_true(worst < (how == CROSS_QUADRATURE ? 5e-3 : 1e-7));
    }
    for (int i = 0; i < 6; i++)
        mem_free(values[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_objectives),
        cmocka_unit_test(golden_densities),
        cmocka_unit_test(integrals),
        cmocka_unit_test(distribution_function),
        cmocka_unit_test(sampler),
        cmocka_unit_test(special),
        cmocka_unit_test(no_nan),
        cmocka_unit_test(cross_terms),
        cmocka_unit_test(cross_gradients),
    };
    return cmocka_run_group_tests_name("generalised Gaussians", tests, open_golden, close_golden);
}
