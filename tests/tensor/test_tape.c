/* The tape: poison, views, scopes, accumulation, several backward passes, parameters without gradients, memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/tensor.h"

static const struct engine *ref;

static struct tape *open_tape(bool record)
{
    struct tape *t = NULL;
    assert_int_equal(tape_open(&t, ref, &(struct tape_opt){.record = record}), 0);
    return t;
}

static int open_engine(void **state)
{
    return engine_open(&ref, "ref", 1);
}

static const float *numbers(const struct tensor *x)
{
    return x->data;
}

static const float *slope(const struct tensor *x)
{
    assert_non_null(x->grad);
    return x->grad;
}

static void assert_numbers(const float *x, const float *want, int n)
{
    for (int i = 0; i < n; i++)
        assert_true(fabsf(x[i] - want[i]) < 1e-5F);
}

/* ---- poison ---- */

static void poison(void **state)
{
    struct tape *t = open_tape(true);
    float x[12] = {0}, w[3] = {1, 1, 1};
    struct tensor *a = t_input(t, SHAPE(3, 4), x);
    struct norm p = {.w = {.n_dims = 1, .shape = {3}, .n = 3, .data = w},
                     .b = {.n_dims = 1, .shape = {3}, .n = 3, .data = w}};
    assert_int_equal(tape_status(t), 0);
    struct tensor *y = t_layer_norm(a, &p);
    assert_null(y);
    assert_int_equal(tape_status(t), ERR_FAIL);
    assert_string_equal(err_text(), "layer_norm: input [3,4], weight [3]: last axes differ");
    /* the first error stays; later ops on the tape give NULL */
    assert_null(t_gelu(y));
    assert_null(t_matmul(a, t_input(t, SHAPE(3, 4), x), (struct matmul_opt){0}));
    assert_null(t_input(t, SHAPE(1), x));
    assert_int_equal(tape_status(t), ERR_FAIL);
    assert_non_null(strstr(err_text(), "layer_norm"));
    assert_true(tape_backward(a) < 0);
    assert_true(tape_backward(NULL) < 0);
    assert_true(isnan(t_value(NULL)));
    tape_reset(t);
    assert_int_equal(tape_status(t), 0);
    assert_non_null(t_gelu(t_input(t, SHAPE(3), w)));
    tape_close(&t);
    assert_null(t);
    tape_close(&t);
}

/* One wrong call of every op: the message names the op and the shapes, the tape is poisoned, nothing crashes. */
static void refuse(struct tape *t, struct tensor *y, const char *want)
{
    assert_null(y);
    assert_true(tape_status(t) < 0);
    if (!strstr(err_text(), want))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), want);
    tape_reset(t);
}

static void bad_shapes(void **state)
{
    struct tape *t = open_tape(true);
    static float x[64];
    const int32_t ids[4] = {0, 1, 7, -1};
#define IN(...) t_input(t, SHAPE(__VA_ARGS__), x)
    refuse(t, t_matmul(IN(2, 3), IN(2, 3), (struct matmul_opt){0}), "matmul: [2,3] by [2,3]: inner axes differ");
    refuse(t, t_matmul(IN(2, 2, 3), IN(3, 3, 2), (struct matmul_opt){0}), "batch axes differ");
    refuse(t, t_matmul(IN(3), IN(3, 3), (struct matmul_opt){0}), "at least two axes");
    refuse(t, t_linear_wb(IN(2, 3), IN(4, 2), NULL, ACT_NONE), "linear: input [2,3], weight [4,2]: last axes differ");
    refuse(t, t_linear_wb(IN(2, 3), IN(4, 3), IN(3), ACT_NONE), "expected a bias of [4]");
    refuse(t, t_add(IN(2, 3), IN(2)), "add of [2,3] and [2]");
    refuse(t, t_clamp(IN(2), 1, -1), "clamp");
    refuse(t, t_dropout(IN(2), 1.5, NULL), "probability 1.5");
    refuse(t, t_cross_entropy(IN(3, 4), ids, 0), "label 7 of row 2, expected less than 4");
    refuse(t, t_cross_entropy(IN(2, 4), ids, 1), "smoothing 1");
    refuse(t, t_cross_entropy(IN(2, 4), NULL, 0), "no labels");
    refuse(t, t_cross_entropy_soft(IN(2, 4), IN(4, 2)), "shapes differ");
    refuse(t, t_attention_qkv(IN(1, 2, 9), (struct attention_opt){.heads = 2}),
           "width 3 cannot be divided into 2 heads");
    refuse(t, t_attention_qkv(IN(1, 2, 8), (struct attention_opt){.heads = 1}), "expected [B,L,3D]");
    refuse(t, t_attention(IN(1, 2, 4), IN(1, 3, 4), IN(1, 2, 4), (struct attention_opt){0}), "attention: q [1,2,4]");
    refuse(t, t_reshape(IN(2, 3), SHAPE(4, 2)), "reshape: [2,3] to [4,2]");
    refuse(t, t_reshape(IN(2, 3), SHAPE(4, -1)), "reshape: [2,3] to [4,-1]");
    refuse(t, t_permute(IN(2, 3), (int[]){0, 0}), "no permutation");
    refuse(t, t_transpose(IN(3)), "transpose");
    refuse(t, t_concat((struct tensor *[]){IN(2, 3), IN(3, 2)}, 2, 0), "differ outside axis 0");
    refuse(t, t_concat((struct tensor *[]){IN(2, 3)}, 1, 2), "has no axis 2");
    refuse(t, t_slice(IN(2, 3), 1, 2, 2), "out of range");
    refuse(t, t_slice(IN(2, 3), 0, -1, 1), "out of range");
    refuse(t, t_prepend(IN(3), IN(2, 2, 4)), "expected [D] and [B,N,D]");
    refuse(t, t_row(IN(2, 2, 2), 2), "row");
    refuse(t, t_row(IN(2, 2), 0), "row");
    refuse(t, t_pick(IN(3, 2, 2), ids), "pick: index 7 at 2, expected 0 to 1");
    refuse(t, t_gather(IN(3, 2), ids, 3), "gather: id 7 at 2, expected 0 to 2");
    refuse(t, t_gather(IN(8, 2), ids, 4), "id -1 at 3");
    refuse(t, t_patchify(IN(1, 1, 4, 4), 5), "patches of 5");
    refuse(t, t_diag(IN(2, 3)), "expected [N,N]");
    refuse(t, t_reduce(IN(2, 3), RED_SUM, 2), "has no axis 2");
    refuse(t, t_conv2d(IN(1, 1, 2, 2), IN(1, 1, 3, 3), NULL, (struct conv_opt){0}), "larger than the picture");
    refuse(t, t_conv2d(IN(1, 2, 2, 2), IN(1, 1, 1, 1), NULL, (struct conv_opt){0}), "conv2d");
    refuse(t, t_avg_pool(IN(1, 1, 2, 2), 3, 1), "does not fit");
    refuse(t, t_slerp(IN(2, 3), IN(2, 3), IN(3)), "one value or one a row");
    refuse(t, t_slerp(IN(2, 3), IN(2, 3), t_input_grad(t, SHAPE(2), x)), "constant");
    refuse(t, t_pairwise_distance(IN(2, 3), IN(2, 4)), "pairwise_distance");
    refuse(t, t_input(t, SHAPE(2, 0), x), "axis 1 has length 0");
    refuse(t, t_input(t, SHAPE(INT64_MAX, 4), x), "too large");
    refuse(t, t_input(t, SHAPE(2), NULL), "no data");
    refuse(t, t_embed(t, NULL, ids, SHAPE(2)), "table");
    refuse(t, t_add(NULL, IN(2)), "missing");
#undef IN
    tape_close(&t);
}

static void strangers(void **state)
{
    struct tape *t = open_tape(true), *u = open_tape(true);
    float x[2] = {1, 2};
    struct tensor param = {.n_dims = 1, .shape = {2}, .n = 2, .data = x};
    refuse(t, t_add(t_input(t, SHAPE(2), x), t_input(u, SHAPE(2), x)), "two tapes");
    assert_int_equal(tape_status(u), 0);
    err_clear();
    assert_null(t_exp(&param)); /* no tape to poison; the message is there */
    assert_non_null(strstr(err_text(), "t_use"));
    struct tensor *y = t_exp(t_use(t, &param));
    assert_true(fabsf(numbers(y)[1] - expf(2)) < 1e-5F);
    tape_close(&t);
    tape_close(&u);
}

/* ---- gradients ---- */

static void accumulate(void **state)
{
    struct tape *t = open_tape(true);
    float v[2] = {3, -2};
    struct tensor *x = t_input_grad(t, SHAPE(2), v);
    /* x x + 2 x + x, every use adds: 2 x + 3 */
    assert_int_equal(tape_backward(t_sum(t_add(t_add(t_mul(x, x), t_scale(x, 2, 1)), x))), 0);
    assert_numbers(slope(x), (float[]){9, -1}, 2);
    tape_close(&t);
}

/* Two backward passes on one tape add up in the leaves and do not count intermediate results twice. */
static void backward_twice(void **state)
{
    struct tape *t = open_tape(true);
    float v[2] = {3, -2}, g[2] = {10, 100};
    struct tensor *x = t_input_grad(t, SHAPE(2), v), *h = t_square(x), *a = t_scale(h, 2, 0), *b = t_scale(h, 5, 0);
    assert_int_equal(tape_backward_from(a, g), 0);
    assert_numbers(slope(x), (float[]){120, -800}, 2);
    assert_int_equal(tape_backward_from(b, g), 0);
    assert_numbers(slope(x), (float[]){420, -2800}, 2);
    assert_null(a->grad); /* not reached by the second pass */
    tape_close(&t);
}

static void refusals_of_backward(void **state)
{
    struct tape *t = open_tape(true), *plain = open_tape(false);
    float v[2] = {1, 2};
    struct tensor *x = t_input_grad(t, SHAPE(2), v);
    assert_true(tape_backward(t_square(x)) < 0);
    assert_non_null(strstr(err_text(), "[2]"));
    assert_true(tape_backward(t_sum(t_input(t, SHAPE(2), v))) < 0);
    assert_non_null(strstr(err_text(), "nothing that wants a gradient"));
    assert_true(tape_backward_from(t_square(x), NULL) < 0);
    assert_true(tape_backward(t_sum(t_input_grad(plain, SHAPE(2), v))) < 0);
    assert_non_null(strstr(err_text(), "without record"));
    assert_int_equal(tape_status(t), 0); /* a refused call is no poison */
    tape_close(&t);
    tape_close(&plain);
}

static void views(void **state)
{
    struct tape *t = open_tape(true);
    float v[6] = {1, 2, 3, 4, 5, 6};
    struct tensor *x = t_input_grad(t, SHAPE(3, 2), v);
    struct tensor *low = t_slice(x, 0, 1, 2), *flat = t_reshape(low, SHAPE(-1)), *mid = t_slice(flat, 0, 1, 2);
    assert_ptr_equal(low->data, v + 2);
    assert_ptr_equal(mid->data, v + 3);
    assert_ptr_equal(mid->base, x);
    assert_int_equal(mid->offset, 3);
    assert_int_equal(flat->n_dims, 1);
    assert_int_equal(flat->shape[0], 4);
    assert_int_equal(tape_backward(t_add(t_sum(t_square(mid)), t_sum(low))), 0);
    assert_numbers(slope(x), (float[]){0, 0, 1, 9, 11, 1}, 6);
    assert_ptr_equal(mid->grad, (float *)x->grad + 3);
    /* starting from a view adds into its part of the base */
    assert_int_equal(tape_backward_from(mid, (float[]){100, 200}), 0);
    assert_numbers(slope(x), (float[]){0, 0, 1, 109, 211, 1}, 6);
    tape_close(&t);
}

static void detached(void **state)
{
    struct tape *t = open_tape(true);
    float v[2] = {3, 4};
    struct tensor *x = t_input_grad(t, SHAPE(2), v), *d = t_detach(x);
    assert_ptr_equal(d->data, x->data);
    assert_false(d->needs_grad);
    assert_int_equal(tape_backward(t_sum(t_mul(x, t_square(d)))), 0);
    assert_numbers(slope(x), (float[]){9, 16}, 2);
    tape_close(&t);
}

/* A parameter takes a gradient only where its owner made room; others are left alone. */
static void parameters(void **state)
{
    struct tape *t = open_tape(true);
    float x[2] = {1, 2}, w[4] = {1, 0, 0, 1}, b[2] = {0, 0}, dw[4] = {100, 0, 0, 0};
    struct linear l = {.w = {.n_dims = 2, .shape = {2, 2}, .n = 4, .data = w, .grad = dw, .needs_grad = true},
                       .b = {.n_dims = 1, .shape = {2}, .n = 2, .data = b, .needs_grad = true},
                       .has_bias = true};
    struct tensor *in = t_input(t, SHAPE(1, 2), x);
    assert_int_equal(tape_backward(t_sum(t_linear(in, &l))), 0);
    assert_numbers(dw, (float[]){101, 2, 1, 2}, 4); /* added to what was there */
    assert_null(l.b.grad);
    assert_null(in->grad);
    l.w.needs_grad = false; /* frozen: nothing left to differentiate */
    tape_reset(t);
    struct tensor *y = t_sum(t_linear(t_input(t, SHAPE(1, 2), x), &l));
    assert_false(y->needs_grad);
    assert_true(tape_backward(y) < 0);
    assert_numbers(dw, (float[]){101, 2, 1, 2}, 4);
    /* a view of a parameter adds into the parameter */
    l.w.needs_grad = true;
    assert_int_equal(tape_backward(t_sum(t_slice(t_use(t, &l.w), 0, 1, 1))), 0);
    assert_numbers(dw, (float[]){101, 2, 2, 3}, 4);
    tape_close(&t);
}

/* The caller's ids, labels and masks may change between forward and backward. */
static void borrowed_integers(void **state)
{
    struct tape *t = open_tape(true);
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8}, q[6] = {1, 2, 3, 4, 5, 6}, again[8];
    int32_t ids[2] = {1, 3}, label[2] = {0, 1};
    uint8_t keep[2] = {1, 0};
    struct tensor *x = t_input_grad(t, SHAPE(4, 2), v);
    struct tensor *y = t_gather(x, ids, 2);
    ids[0] = ids[1] = 999;
    assert_int_equal(tape_backward(t_sum(y)), 0);
    assert_numbers(slope(x), (float[]){0, 0, 1, 1, 0, 0, 1, 1}, 8);

    tape_reset(t);
    x = t_input_grad(t, SHAPE(2, 4), v);
    y = t_cross_entropy(x, label, 0);
    assert_int_equal(tape_backward(y), 0);
    memcpy(again, x->grad, sizeof(again));
    tape_reset(t);
    x = t_input_grad(t, SHAPE(2, 4), v);
    y = t_cross_entropy(x, label, 0);
    label[0] = 3;
    assert_int_equal(tape_backward(y), 0);
    assert_numbers(slope(x), again, 8);

    tape_reset(t);
    x = t_input_grad(t, SHAPE(1, 2, 3), q);
    y = t_attention_qkv(x, (struct attention_opt){.heads = 1, .key_keep = keep});
    assert_numbers(numbers(y), (float[]){3, 3}, 2); /* the second key is hidden */
    keep[0] = 0;
    keep[1] = 1;
    assert_int_equal(tape_backward(t_sum(y)), 0);
    assert_numbers(slope(x), (float[]){0, 0, 2, 0, 0, 0}, 6);
    tape_close(&t);
}

static void ignored_rows(void **state)
{
    struct tape *t = open_tape(true);
    float v[6] = {0, 0, 5, 5, 0, 0};
    const int32_t some[3] = {0, -1, 1}, none[3] = {-1, -1, -100};
    struct tensor *x = t_input_grad(t, SHAPE(3, 2), v), *y = t_cross_entropy(x, some, 0);
    assert_true(fabs(t_value(y) - log(2)) < 1e-6);
    assert_int_equal(tape_backward(y), 0);
    assert_numbers(slope(x), (float[]){-0.25F, 0.25F, 0, 0, 0.25F, -0.25F}, 6);
    tape_reset(t);
    x = t_input_grad(t, SHAPE(3, 2), v);
    y = t_cross_entropy(x, none, 0);
    assert_true(t_value(y) == 0);
    assert_int_equal(tape_backward(y), 0);
    assert_numbers(slope(x), (float[]){0, 0, 0, 0, 0, 0}, 6);
    tape_close(&t);
}

/* ---- single ops where the table cannot look ---- */

static void running_statistics(void **state)
{
    struct tape *t = open_tape(false);
    float v[4] = {1, 3, 5, 7}, w[1] = {1}, b[1] = {0}, mean[1] = {10}, var[1] = {2};
    struct tensor one = {.n_dims = 1, .shape = {1}, .n = 1};
    struct batch_norm p = {one, one, one, one, 0, 0.1, true};
    p.w.data = w;
    p.b.data = b;
    p.mean.data = mean;
    p.var.data = var;
    struct tensor *y = t_batch_norm(t_input(t, SHAPE(2, 1, 1, 2), v), &p);
    double s = sqrt(5);
    assert_numbers(numbers(y), (float[]){(float)(-3 / s), (float)(-1 / s), (float)(1 / s), (float)(3 / s)}, 4);
    assert_true(fabsf(mean[0] - (0.9F * 10 + 0.1F * 4)) < 1e-5F);
    assert_true(fabsf(var[0] - (0.9F * 2 + 0.1F * 20 / 3)) < 1e-5F); /* unbiased */
    p.training = false;
    mean[0] = 1;
    var[0] = 4;
    y = t_batch_norm(t_input(t, SHAPE(2, 1, 1, 2), v), &p);
    assert_numbers(numbers(y), (float[]){0, 1, 2, 3}, 4);
    assert_true(mean[0] == 1 && var[0] == 4);
    tape_close(&t);
}

/* A convolution's weight [out,C,p,p] is a linear map of patches; rows count from the end, too. */
static void small_print(void **state)
{
    struct tape *t = open_tape(false);
    float pixels[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[4] = {1, 10, 100, 1000};
    struct tensor weight = {.n_dims = 4, .shape = {1, 1, 2, 2}, .n = 4, .data = w};
    struct tensor *x = t_patchify(t_input(t, SHAPE(1, 1, 2, 4), pixels), 2),
                  *y = t_linear_wb(x, &weight, NULL, ACT_NONE);
    assert_non_null(y);
    assert_int_equal(y->n_dims, 3);
    assert_numbers(numbers(y), (float[]){6521, 8743}, 2);
    assert_numbers(numbers(t_row(y, -1)), (float[]){8743}, 1);
    /* a row and a column that fill no patch are left out */
    float odd[15] = {1, 2, 3, 4, 9, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9};
    y = t_linear_wb(t_patchify(t_input(t, SHAPE(1, 1, 3, 5), odd), 2), &weight, NULL, ACT_NONE);
    assert_numbers(numbers(y), (float[]){6521, 8743}, 2);
    assert_ptr_equal(t_act(x, ACT_NONE), x);
    assert_null(t_detach(&weight));
    assert_null(t_diag(&weight));
    assert_int_equal(tape_status(t), 0);
    assert_null(t_sample_normal(x, NULL, NULL));
    assert_true(tape_status(t) < 0);
    tape_close(&t);
}

static void slerp_limits(void **state)
{
    struct tape *t = open_tape(true);
    float a[6] = {1, 0, 1, 0, 1, 0}, b[6] = {1, 0, -1, 0, 0, 1}, lambda[1] = {0.25F};
    struct tensor *x = t_input_grad(t, SHAPE(3, 2), a), *z = t_input_grad(t, SHAPE(3, 2), b);
    struct tensor *y = t_slerp(x, z, t_input(t, SHAPE(1), lambda));
    double q = acos(0) / 4; /* a quarter of the way from b to a */
    assert_numbers(numbers(y), (float[]){1, 0, 1, 0, (float)sin(q), (float)cos(q)}, 6);
    assert_int_equal(tape_backward(t_sum(y)), 0);
    for (int i = 0; i < 6; i++)
        assert_true(isfinite(slope(x)[i]) && isfinite(slope(z)[i]));
    assert_numbers(slope(z) + 2, (float[]){0, 0}, 2); /* antipodal: the first vector, and its gradient */
    assert_numbers(slope(x) + 2, (float[]){1, 1}, 2);
    tape_close(&t);
}

static void randomness(void **state)
{
    struct tape *t = open_tape(true);
    float v[1000], *w;
    for (int i = 0; i < 1000; i++)
        v[i] = 1;
    struct rng r = rng_stream(5, RNG_DROPOUT, 0, 0), same = r;
    struct tensor *x = t_input_grad(t, SHAPE(1000), v), *y = t_dropout(x, 0.25, &r), *z = t_dropout(x, 0.25, &same);
    int kept = 0;
    w = y->data;
    for (int i = 0; i < 1000; i++) {
        assert_true(w[i] == 0 || fabsf(w[i] - 4.0F / 3) < 1e-6F);
        kept += w[i] != 0;
    }
    assert_in_range(kept, 700, 800);
    assert_memory_equal(w, z->data, sizeof(v));
    assert_int_equal(tape_backward(t_sum(y)), 0);
    assert_memory_equal(w, x->grad, sizeof(v)); /* the slope of x is the scaled mask */
    assert_ptr_equal(t_dropout(x, 0, &r), x);
    double sum = 0, squares = 0;
    struct tensor *n = t_normal_noise(t, SHAPE(4000), &r);
    for (int i = 0; i < 4000; i++) {
        sum += (double)numbers(n)[i];
        squares += (double)numbers(n)[i] * (double)numbers(n)[i];
    }
    assert_true(fabs(sum / 4000) < 0.08 && fabs(squares / 4000 - 1) < 0.12);
    tape_close(&t);
}

/* ---- memory ---- */

static void scopes(void **state)
{
    struct tape *t = open_tape(false);
    float v[4] = {1, 2, 3, 4};
    struct tensor *x = t_input(t, SHAPE(2, 2), v), *first = NULL;
    for (int i = 0; i < 5; i++) {
        struct t_scope s = t_scope_begin(t);
        struct tensor *y = t_scale(t_scale(t_scale(x, 2, 0), 1, 1), 1, -1);
        y = t_scope_end(t, s, i % 2 ? y : t_reshape(y, SHAPE(4))); /* a view survives, too */
        assert_int_equal(y->n_dims, i % 2 ? 2 : 1);
        assert_numbers(numbers(y), (float[]){2, 4, 6, 8}, 4);
        if (i == 0)
            first = y;
    }
    assert_numbers(numbers(first), (float[]){2, 4, 6, 8}, 4); /* later scopes did not touch it */
    struct t_scope s = t_scope_begin(t);
    assert_null(t_scope_end(t, s, NULL));
    assert_int_equal(tape_status(t), 0);
    tape_close(&t);

    t = open_tape(true); /* recording: nothing may be given back */
    x = t_input_grad(t, SHAPE(2, 2), v);
    s = t_scope_begin(t);
    struct tensor *y = t_square(t_square(x));
    assert_ptr_equal(t_scope_end(t, s, y), y);
    assert_int_equal(tape_backward(t_sum(y)), 0);
    assert_numbers(slope(x), (float[]){4, 32, 108, 256}, 4);
    tape_close(&t);
}

/* Peak memory of an inference run does not grow with its depth. */
static void scopes_bound_memory(void **state)
{
    size_t peak[2];
    for (int k = 0; k < 2; k++) {
        struct tape *t = open_tape(false);
        struct tensor *x = t_new(t, SHAPE(100, 100));
        ref->fill(ref, x->data, 1, x->n);
        struct t_scope all = t_scope_begin(t);
        for (int i = 0; i < (k ? 64 : 4); i++) {
            struct tensor *y = t_scale(t_scale(x, 0.5, 0), 2, 0);
            x = t_scope_end(t, all, y);
        }
        assert_true(numbers(x)[9999] == 1);
        peak[k] = arena_peak(tape_arena(t));
        tape_close(&t);
    }
    assert_int_equal(peak[0], peak[1]);
}

static const struct engine *cpu_or_null(void)
{
    const struct engine *e;
    if (engine_open(&e, "cpu", 1) >= 0)
        return e;
    print_message("engine cpu is not built here: its steady state is not tested\n");
    return NULL;
}

static float weights[64 * 64 * 4], d_weights[64 * 64 * 4];

/* One step of a small transformer block: every kind of node, saved buffer, scratch and gradient. */
static double block_step(struct tape *t, struct rng *r)
{
    static float pixels[2 * 3 * 8 * 8];
    const int32_t labels[2] = {1, 0}, last[2] = {3, 2};
    struct norm p = {.w = {.n_dims = 1, .shape = {48}, .n = 48, .data = weights, .grad = d_weights, .needs_grad = true},
                     .eps = 1e-5};
    p.b = p.w;
    struct linear l = {
        .w = {.n_dims = 2, .shape = {144, 48}, .n = 144 * 48, .data = weights, .grad = d_weights, .needs_grad = true}};
    struct linear o = {
        .w = {.n_dims = 2, .shape = {48, 48}, .n = 48 * 48, .data = weights, .grad = d_weights, .needs_grad = true}};
    tape_reset(t);
    struct tensor *x = t_patchify(t_input(t, SHAPE(2, 3, 8, 8), pixels), 4);
    x = t_prepend(t_use(t, &p.b), x);
    x = t_add(x,
              t_attention_qkv(t_linear(t_layer_norm(x, &p), &l), (struct attention_opt){.heads = 4, .causal = true}));
    x = t_dropout(t_linear_act(x, &o, ACT_GELU), 0.1, r);
    x = t_l2_normalize(t_pick(x, last));
    struct tensor *loss = t_cross_entropy(t_matmul(x, x, (struct matmul_opt){.tb = true, .scale = 10}), labels, 0.1);
    assert_int_equal(tape_backward(loss), 0);
    return t_value(loss);
}

/* After its first step a constant shape asks for no memory: the tape on any engine, everything on the fast one (the
 * reference's attention takes its row buffer from the system at every call). */
static void steady_state(void **state)
{
    const struct engine *const engines[] = {ref, cpu_or_null()};
    struct rng w = rng_stream(1, RNG_INIT, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(weights); i++)
        weights[i] = 0.1F * (float)rng_normal(&w);
    for (size_t k = 0; k < ARRAY_LEN(engines) && engines[k]; k++) {
        struct tape *t = NULL;
        struct rng r = rng_stream(1, RNG_DROPOUT, 0, 0);
        assert_int_equal(tape_open(&t, engines[k], &(struct tape_opt){.record = true}), 0);
        assert_true(isfinite(block_step(t, &r)));
        int64_t chunks = arena_chunks(tape_arena(t)), requests = mem_requests();
        for (int i = 0; i < 10; i++)
            assert_true(isfinite(block_step(t, &r)));
        assert_int_equal(arena_chunks(tape_arena(t)), chunks);
        if (engines[k] != ref)
            assert_int_equal(mem_requests(), requests);
        tape_close(&t);
    }
}

/* Whichever request for memory fails, the step reports it and the tape can be closed. */
static void memory_failures(void **state)
{
    int failures = 0;
    for (int n = 1; n < 40; n++) {
        struct tape *t = NULL;
        float v[4] = {1, 2, 3, 4};
        mem_fail_at(n);
        int rc = tape_open(&t, ref, &(struct tape_opt){.record = true});
        if (rc >= 0) {
            struct tensor *x = t_input_grad(t, SHAPE(2, 2), v), *y = t_sum(t_matmul(x, x, (struct matmul_opt){0}));
            rc = tape_status(t);
            if (rc >= 0)
                rc = tape_backward(y);
        }
        mem_fail_at(0);
        failures += rc < 0;
        if (rc < 0)
            assert_int_equal(rc, ERR_MEMORY);
        tape_close(&t);
    }
    assert_in_range(failures, 3, 38);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poison),
        cmocka_unit_test(bad_shapes),
        cmocka_unit_test(strangers),
        cmocka_unit_test(accumulate),
        cmocka_unit_test(backward_twice),
        cmocka_unit_test(refusals_of_backward),
        cmocka_unit_test(views),
        cmocka_unit_test(detached),
        cmocka_unit_test(parameters),
        cmocka_unit_test(borrowed_integers),
        cmocka_unit_test(ignored_rows),
        cmocka_unit_test(running_statistics),
        cmocka_unit_test(small_print),
        cmocka_unit_test(slerp_limits),
        cmocka_unit_test(randomness),
        cmocka_unit_test(scopes),
        cmocka_unit_test(scopes_bound_memory),
        cmocka_unit_test(steady_state),
        cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests_name("tensor tape", tests, open_engine, NULL);
}
