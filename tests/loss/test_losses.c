/* tests/loss/test_losses.c: objectives against values and gradients of other people's code (golden/losses, float64).
 *
 * CLIP's through its own row of the registry. The objectives of the methods that come later are put together here from
 * ops alone, as their papers write them: whoever adds them finds every op there, with a gradient that is right. */
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

enum { MAX_INPUTS = 6 };

/* ---- comparison ---- */

/* An objective: inputs by their golden names, the gradients' names, and how it is put together. */
struct objective {
    const char *name;
    const char *in[MAX_INPUTS], *grad[MAX_INPUTS];
    struct tensor *(*build)(struct tensor **in, double number);
    double number;
};

static const struct st_tensor *golden_of(const struct st_file *f, const char *name)
{
    const struct st_tensor *t = st_find(f, name);
    if (!t || t->dtype != DT_F64)
        fail_msg("golden tensor %s is missing or not F64", name);
    return t;
}

static void compare(const struct objective *o, const char *what, enum dtype real, const void *x, double bar)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", o->name, what);
    const struct st_tensor *t = golden_of(expected, name);
    const double *want = t->data;
    size_t n = t->n_bytes / sizeof(double);
    double top = 1e-3, worst = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < n; i++) {
        double d = fabs((real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i]) - want[i]) / top;
        worst = d > worst || isnan(d) ? d : worst;
    }
    if (!(worst <= bar))
        fail_msg("%s: off by %.3g of the largest, at most %.0e", name, worst, bar);
}

static void check(const struct objective *o, const char *engine, double bar)
{
    const struct engine *e;
    struct tape *t;
    struct tensor *in[MAX_INPUTS] = {0};
    assert_int_equal(engine_open(&e, engine, 2), 0);
    assert_int_equal(tape_open(&t, e, &(struct tape_opt){.record = true}), 0);
    for (int i = 0; i < MAX_INPUTS && o->in[i]; i++) {
        const struct st_tensor *g = golden_of(inputs, o->in[i]);
        in[i] = t_new(t, g->n_dims, g->shape);
        assert_non_null(in[i]);
        in[i]->needs_grad = true;
        assert_int_equal(dtype_convert(e->real, in[i]->data, DT_F64, g->data, (size_t)in[i]->n), 0);
    }
    struct tensor *loss = o->build(in, o->number);
    if (tape_status(t) < 0 || tape_backward(loss) < 0)
        fail_msg("%s: %s", o->name, err_text());
    compare(o, "value", e->real, loss->data, bar);
    for (int i = 0; i < MAX_INPUTS && o->in[i]; i++)
        compare(o, o->grad[i], e->real, in[i]->grad, bar * 10);
    tape_close(&t);
}

static void check_all(const struct objective *list, size_t n)
{
    if (!inputs) {
        print_message("skipped: no golden/losses (environment MERIDIAN_SHARED)\n");
        skip();
    }
    for (size_t i = 0; i < n; i++) {
        check(&list[i], "ref64", 1e-11);
        check(&list[i], "cpu", 1e-4);
    }
}

/* ---- CLIP ---- */

static struct tensor *clip_of(struct tensor *image, struct tensor *text, struct tensor *scale, double tau)
{
    const struct loss_kind *kind = loss_find("clip");
    struct loss_clip_opt opt;
    opt_defaults(kind->options, &opt);
    opt.temperature = tau;
    return kind->build(&(struct pair_batch){.image = image, .text = text, .logit_scale = scale}, &opt);
}

static struct tensor *clip(struct tensor **in, double tau)
{
    return clip_of(in[0], in[1], NULL, tau);
}

static struct tensor *clip_scale(struct tensor **in, double unused UNUSED)
{
    return clip_of(t_l2_normalize(in[0]), t_l2_normalize(in[1]), in[2], 0);
}

static void test_clip(void **state UNUSED)
{
    static const struct objective list[] = {
        {"clip.tau0.01", {"image", "text"}, {"grad_image", "grad_text"}, clip, 0.01},
        {"clip.tau0.07", {"image", "text"}, {"grad_image", "grad_text"}, clip, 0.07},
        {"clip_from_unnormalised.scale",
         {"raw_image", "raw_text", "logit_scale"},
         {"grad_raw_image", "grad_raw_text", "grad_logit_scale"},
         clip_scale,
         0},
    };
    check_all(list, ARRAY_LEN(list));
}

/* Targets spread over the known captions: rows and columns by hand. With the diagonal alone it is the identity. */
static void test_match(void **state UNUSED)
{
    enum { N = 3 };
    const double u[N][2] = {{1, 0}, {0.6, 0.8}, {0, 1}}, v[N][2] = {{0.8, 0.6}, {0, -1}, {-0.6, 0.8}};
    const uint8_t match[N * N] = {1, 1, 0, 0, 1, 0, 1, 0, 1}, diagonal[N * N] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    const double tau = 0.5;
    double want = 0;
    for (int i = 0; i < N; i++) {
        double row = 0, column = 0, rows = 0, columns = 0, hits_row = 0, hits_column = 0;
        for (int j = 0; j < N; j++) {
            double a = (u[i][0] * v[j][0] + u[i][1] * v[j][1]) / tau, b = (u[j][0] * v[i][0] + u[j][1] * v[i][1]) / tau;
            rows += exp(a);
            columns += exp(b);
            row += match[i * N + j] ? a : 0;
            column += match[j * N + i] ? b : 0;
            hits_row += match[i * N + j];
            hits_column += match[j * N + i];
        }
        want += log(rows) - row / hits_row + log(columns) - column / hits_column;
    }
    const struct engine *e;
    struct tape *t;
    struct loss_clip_opt opt = {.temperature = tau, .targets = "match"},
                         plain = {.temperature = tau, .targets = "identity"};
    const struct loss_kind *kind = loss_find("clip");
    assert_int_equal(engine_open(&e, "ref64", 1), 0);
    assert_int_equal(tape_open(&t, e, &(struct tape_opt){.record = true}), 0);
    struct pair_batch b = {.image = t_input(t, SHAPE(N, 2), u), .text = t_input(t, SHAPE(N, 2), v), .match = match};
    assert_true(fabs(t_value(kind->build(&b, &opt)) - want / (2 * N)) < 1e-12);
    double identity = t_value(kind->build(&b, &plain));
    b.match = diagonal;
    assert_true(fabs(t_value(kind->build(&b, &opt)) - identity) < 1e-12);
    assert_true(fabs(identity - want / (2 * N)) > 0.01);
    tape_close(&t);
}

static void test_registry(void **state UNUSED)
{
    assert_ptr_equal(loss_find("clip"), loss_at(0));
    assert_null(loss_at(-1));
    assert_null(loss_at(1000));
    assert_null(loss_find("clap"));
    assert_non_null(strstr(err_text(), "clip"));
}

/* ---- what comes later, from ops ---- */

static struct tensor *constant(struct tensor *like, double x)
{
    return t_constant(like->tape, x);
}

/* [n,n] with a on the diagonal, b on the anti-diagonal (their sum where they cross), c elsewhere */
static struct tensor *pattern(struct tape *t, int64_t n, double a, double b, double c)
{
    struct tensor *x = t_new(t, SHAPE(n, n));
    for (int64_t k = 0; x && k < n * n; k++) {
        bool on = k / n == k % n, anti = k / n == n - 1 - k % n;
        double v = on || anti ? a * on + b * anti : c;
        if (tape_engine(t)->real == DT_F64)
            ((double *)x->data)[k] = v;
        else
            ((float *)x->data)[k] = (float)v;
    }
    return x;
}

static struct tensor *flipped(struct tensor *x)
{
    int32_t rows[64];
    int64_t n = x->shape[0];
    for (int64_t i = 0; i < n; i++)
        rows[i] = (int32_t)(n - 1 - i);
    return t_gather(x, rows, n);
}

static struct tensor *both_ways(struct tensor *logits, struct tensor *target)
{
    struct tensor *rows = t_cross_entropy_soft(logits, target);
    return t_scale(t_add(rows, t_cross_entropy_soft(t_transpose(logits), t_transpose(target))), 0.5, 0);
}

static const struct matmul_opt BT = {.tb = true};

/* Logits of one side: a_i.b_i on the diagonal, a_i . mix_j elsewhere */
static struct tensor *m2_side(struct tensor *a, struct tensor *b, struct tensor *mix, double tau)
{
    int64_t n = a->shape[0];
    struct tensor *on = pattern(a->tape, n, 1, 0, 0), *off = t_scale(on, -1, 1);
    struct tensor *logits = t_add(t_mul(t_matmul(a, b, BT), on), t_mul(t_matmul(a, mix, BT), off));
    return t_cross_entropy_soft(t_scale(logits, 1 / tau, 0), on);
}

/* Oh et al. 2023, equation 4, both directions added */
static struct tensor *m2_mix(struct tensor **in, double lambda)
{
    struct tensor *mix = t_slerp(in[0], in[1], constant(in[0], lambda));
    return t_add(m2_side(in[0], in[1], mix, 0.07), m2_side(in[1], in[0], mix, 0.07));
}

static struct tensor *v_mix(struct tensor **in, double lambda)
{
    struct tensor *mix = t_slerp(in[0], flipped(in[0]), constant(in[0], lambda));
    return both_ways(t_scale(t_matmul(mix, in[1], BT), 1 / 0.07, 0),
                     pattern(in[0]->tape, in[0]->shape[0], lambda, 1 - lambda, 0));
}

static struct tensor *vl_mix(struct tensor **in, double lambda)
{
    struct tensor *l = constant(in[0], lambda), *v = t_slerp(in[0], flipped(in[0]), l);
    struct tensor *w = t_slerp(in[1], flipped(in[1]), l);
    return both_ways(t_scale(t_matmul(v, w, BT), 1 / 0.07, 0), pattern(in[0]->tape, in[0]->shape[0], 1, 1, 0));
}

/* Upadhyay et al. 2023, equation 3, a = 1/alpha:  (|m - z| a)^b - log a - log b + log Gamma(1/b) */
static struct tensor *ggd(struct tensor *m, struct tensor *z, struct tensor *a, struct tensor *b)
{
    struct tensor *r = t_pow(t_mul(t_abs(t_sub(m, z)), a), b);
    struct tensor *norm = t_sub(t_lgamma(t_act(b, ACT_RECIP)), t_add(t_log(a), t_log(b)));
    return t_mean(t_add(r, norm));
}

static struct tensor *golden_constant(struct tape *t, const char *name)
{
    const struct st_tensor *g = golden_of(inputs, name);
    struct tensor *x = t_new(t, g->n_dims, g->shape);
    assert_non_null(x);
    assert_int_equal(dtype_convert(tape_engine(t)->real, x->data, DT_F64, g->data, (size_t)x->n), 0);
    return x;
}

static struct tensor *ggd_text(struct tensor **in, double shift)
{
    return t_scale(ggd(in[0], golden_constant(in[0]->tape, "probvlm.z_text"), in[1], in[2]), 1, shift);
}

/* Chun 2024, equations 1 and 2: -a (|mu_i - mu_j|^2 + sum var_i + sum var_j) + b, binary cross entropy with logits */
static struct tensor *pcmepp(struct tensor **in, double unused UNUSED)
{
    int64_t n = in[0]->shape[0];
    struct tensor *vi = t_reshape(t_reduce(t_exp(in[2]), RED_SUM, -1), SHAPE(n, 1));
    struct tensor *vt = t_reduce(t_exp(in[3]), RED_SUM, -1);
    struct tensor *d = t_add(t_pairwise_distance(in[0], in[1]), t_add(vi, vt));
    struct tensor *x = t_scale(d, -5, 5), *on = pattern(in[0]->tape, n, 1, 0, 0);
    struct tensor *hit = t_mul(t_act(x, ACT_LOG_SIGMOID), on);
    struct tensor *miss = t_mul(t_act(t_scale(x, -1, 0), ACT_LOG_SIGMOID), t_scale(on, -1, 1));
    return t_scale(t_mean(t_add(hit, miss)), -1, 0);
}

static void test_methods(void **state UNUSED)
{
    static const struct objective list[] = {
        {"m2mix.lambda0.3.sum_of_two_directions", {"image", "text"}, {"grad_image", "grad_text"}, m2_mix, 0.3},
        {"m2mix.lambda0.8.sum_of_two_directions", {"image", "text"}, {"grad_image", "grad_text"}, m2_mix, 0.8},
        {"vmix.lambda0.3.tau0.07", {"image", "text"}, {"grad_image", "grad_text"}, v_mix, 0.3},
        {"vlmix.lambda0.8.released.tau0.07", {"image", "text"}, {"grad_image", "grad_text"}, vl_mix, 0.8},
        {"ggd.exact_nll.text.mean",
         {"ggd_text.mean", "ggd_text.one_over_alpha", "ggd_text.beta"},
         {"grad_mean", "grad_one_over_alpha", "grad_beta"},
         ggd_text,
         0},
        {"pcmepp.closed_form_bce_mean",
         {"pcme.image_mu", "pcme.text_mu", "pfe.image_log_variance", "pfe.text_log_variance"},
         {"grad_image_mu", "grad_text_mu", "grad_image_log_variance", "grad_text_log_variance"},
         pcmepp,
         0},
    };
    check_all(list, ARRAY_LEN(list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests_name("losses", tests, open_golden, close_golden);
}
