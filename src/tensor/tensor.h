/* tensor/tensor.h: the door of room tensor (level 2). Tensors, the tape, ops with forward and backward, gradient
 * checking.
 *
 * Contiguous, row-major, at most five dimensions, last fastest. The tape rides in the tensor: inputs are born on a
 * tape, results inherit it, parameters have none. A failed op records the first error on its tape and returns NULL;
 * NULL in gives NULL out; check once with TRY(tape_status(tape)). Backward walks the tape in reverse; every op
 * accumulates. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "base/base.h"
#include "kernel/kernel.h"

#define T_MAX_DIMS 5

struct tape;
struct node;
struct tensor {
    int n_dims;
    int64_t shape[T_MAX_DIMS], n; /* n: number of elements */
    void *data;                   /* engine's real type */
    void *grad;                   /* same layout; NULL until wanted */
    bool needs_grad;
    struct tape *tape;   /* NULL for parameters */
    struct tensor *base; /* a view shares data and grad with its base; NULL otherwise */
    int64_t offset;      /* of the view in its base, in elements */
    const char *name;    /* parameters: path of the weight */
};

/* ---- tape (tape.c) ----------------------------------------------------------------------------------------------- */

struct tape_opt {
    bool record;
    bool low;
}; /* record: keep nodes for backward; low: bf16 operands in matrix products */
int tape_open(struct tape **t, const struct engine *e, const struct tape_opt *opt);
void tape_close(struct tape **t);
void tape_reset(struct tape *t);       /* forget nodes and activations, keep the memory; clears the poison */
int tape_status(const struct tape *t); /* 0, or the first error of an op, its message set */
const struct engine *tape_engine(const struct tape *t);
struct arena *tape_arena(struct tape *t); /* the step arena */
struct tape *tape_of(const struct tensor *a,
                     const struct tensor *b); /* first tape among two tensors, either may be NULL */

/* New tensors. t_input copies nothing: data must outlive the tape's step. */
struct tensor *t_input(struct tape *t, int n_dims, const int64_t *shape, const void *data);
struct tensor *t_input_grad(struct tape *t, int n_dims, const int64_t *shape,
                            const void *data);                          /* its gradient is wanted: x->grad */
struct tensor *t_new(struct tape *t, int n_dims, const int64_t *shape); /* uninitialised, from the step arena */
struct tensor *t_use(struct tape *t, struct tensor *param);             /* a parameter seen on a tape */
struct tensor *t_constant(struct tape *t, double value);                /* [] */
#define SHAPE(...)                                                                                                     \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                                       \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

/* Backward from a scalar (seed 1), or from x with a given gradient array (as gradient caching injects it). Several
 * passes on one tape add up in inputs and parameters. An input that no gradient reached keeps grad NULL; intermediate
 * results have none left afterwards (nor do views of them: the memory is reused). A non-finite loss is not refused. */
int tape_backward(struct tensor *loss);
int tape_backward_from(struct tensor *x, const void *grad);
double t_value(const struct tensor *scalar); /* NaN for NULL */
double t_get(const struct tensor *x, int64_t i);
void t_put(struct tensor *x, int64_t i, double v); /* into a tensor of a tape: a constant, before it is used */

/* Inference: memory of a block. Everything born since begin is given back; `keep` survives (copied). No-op when
 * recording. */
struct t_scope {
    struct arena_mark mark;
};
struct t_scope t_scope_begin(struct tape *t);
struct tensor *t_scope_end(struct tape *t, struct t_scope s, struct tensor *keep);

/* ---- products (op_matmul.c) -------------------------------------------------------------------------------------- */

struct matmul_opt {
    bool ta, tb;
    double scale;
}; /* scale 0: 1 */
struct tensor *t_matmul(struct tensor *a, struct tensor *b,
                        struct matmul_opt opt); /* [..,M,K] x [..,K,N]; b may be 2-D */
struct linear {
    struct tensor w, b;
    bool has_bias;
};                                                           /* w [out, in], b [out] */
struct tensor *t_linear(struct tensor *x, struct linear *l); /* [.., in] -> [.., out] */
struct tensor *t_linear_act(struct tensor *x, struct linear *l, enum act act);
struct tensor *t_linear_wb(struct tensor *x, struct tensor *w, struct tensor *b, enum act act); /* b may be NULL */

/* ---- norms (op_norm.c) ------------------------------------------------------------------------------------------- */

struct norm {
    struct tensor w, b;
    double eps;
};
struct tensor *t_layer_norm(struct tensor *x, struct norm *p); /* last axis */
struct batch_norm {
    struct tensor w, b, mean, var;
    double eps, momentum;
    bool training;
};
struct tensor *t_batch_norm(struct tensor *x,
                            struct batch_norm *p); /* [B,C,H,W]; training: batch statistics, running ones updated */
struct tensor *t_group_norm(struct tensor *x, struct norm *p, int64_t groups);
struct tensor *t_l2_normalize(struct tensor *x); /* last axis; eps 1e-12 */

/* ---- pointwise (op_point.c) -------------------------------------------------------------------------------------- */

struct tensor *t_act(struct tensor *x, enum act act);
static inline struct tensor *t_gelu(struct tensor *x)
{
    return t_act(x, ACT_GELU);
}
static inline struct tensor *t_quick_gelu(struct tensor *x)
{
    return t_act(x, ACT_QUICK_GELU);
}
static inline struct tensor *t_relu(struct tensor *x)
{
    return t_act(x, ACT_RELU);
}
static inline struct tensor *t_exp(struct tensor *x)
{
    return t_act(x, ACT_EXP);
}
static inline struct tensor *t_log(struct tensor *x)
{
    return t_act(x, ACT_LOG);
}
static inline struct tensor *t_sqrt(struct tensor *x)
{
    return t_act(x, ACT_SQRT);
}
static inline struct tensor *t_square(struct tensor *x)
{
    return t_act(x, ACT_SQUARE);
}
static inline struct tensor *t_abs(struct tensor *x)
{
    return t_act(x, ACT_ABS);
}
static inline struct tensor *t_softplus(struct tensor *x)
{
    return t_act(x, ACT_SOFTPLUS);
}
static inline struct tensor *t_lgamma(struct tensor *x)
{
    return t_act(x, ACT_LGAMMA);
}
struct tensor *t_binary(struct tensor *a, struct tensor *b, enum binary op); /* numpy broadcasting */
static inline struct tensor *t_add(struct tensor *a, struct tensor *b)
{
    return t_binary(a, b, BIN_ADD);
}
static inline struct tensor *t_sub(struct tensor *a, struct tensor *b)
{
    return t_binary(a, b, BIN_SUB);
}
static inline struct tensor *t_mul(struct tensor *a, struct tensor *b)
{
    return t_binary(a, b, BIN_MUL);
}
static inline struct tensor *t_div(struct tensor *a, struct tensor *b)
{
    return t_binary(a, b, BIN_DIV);
}
static inline struct tensor *t_pow(struct tensor *a, struct tensor *b)
{
    return t_binary(a, b, BIN_POW);
}
struct tensor *t_scale(struct tensor *x, double alpha, double shift); /* alpha x + shift */
struct tensor *t_clamp(struct tensor *x, double lo, double hi);
struct tensor *t_dropout(struct tensor *x, double p, struct rng *r); /* inverted; p = 0 returns x */
/* mean + scale * noise with given noise (reparameterised sample): the noise is drawn by the caller or by
 * t_normal_noise. */
struct tensor *t_sample_normal(struct tensor *mean, struct tensor *scale, struct rng *r);
struct tensor *t_normal_noise(struct tape *t, int n_dims, const int64_t *shape, struct rng *r); /* a constant */
struct tensor *t_detach(struct tensor *x); /* same numbers, no gradient */

/* ---- softmax, cross entropy (op_softmax.c) ----------------------------------------------------------------------- */

struct tensor *t_softmax(struct tensor *x); /* last axis */
struct tensor *t_log_softmax(struct tensor *x);
/* Mean over rows with label >= 0 of the cross entropy. logits [n, c] (leading axes flattened). */
struct tensor *t_cross_entropy(struct tensor *logits, const int32_t *labels, double smoothing);
/* Mean over rows of sum_j -target_ij log softmax_ij; gradients flow to both. target [n, c]. */
struct tensor *t_cross_entropy_soft(struct tensor *logits, struct tensor *target);

/* ---- attention (op_attention.c) ---------------------------------------------------------------------------------- */

struct attention_opt {
    int64_t heads;
    bool causal;
    const uint8_t *key_keep;
    double scale;
}; /* scale 0: 1/sqrt(head_dim) */
struct tensor *t_attention(struct tensor *q, struct tensor *k, struct tensor *v,
                           struct attention_opt opt); /* [B,Lq,D],[B,Lk,D],[B,Lk,Dv = D] -> [B,Lq,D] */
struct tensor *t_attention_qkv(struct tensor *qkv, struct attention_opt opt); /* [B,L,3D] packed q,k,v -> [B,L,D] */

/* ---- shape (op_shape.c, op_embed.c) ------------------------------------------------------------------------------ */

struct tensor *t_reshape(struct tensor *x, int n_dims, const int64_t *shape); /* a view */
struct tensor *t_permute(struct tensor *x, const int *perm);                  /* copies */
struct tensor *t_transpose(struct tensor *x);                                 /* last two axes; copies */
struct tensor *t_concat(struct tensor *const *xs, int n, int axis);
struct tensor *t_slice(struct tensor *x, int axis, int64_t from, int64_t n); /* leading axis: a view; else copies */
struct tensor *t_prepend(struct tensor *token, struct tensor *x);            /* [D], [B,N,D] -> [B,1+N,D] */
struct tensor *t_row(struct tensor *x, int64_t i);                           /* [B,N,D] -> [B,D] */
struct tensor *t_pick(struct tensor *x, const int32_t *index);               /* [B,N,D], index [B] -> [B,D] */
struct tensor *t_gather(struct tensor *x, const int32_t *rows, int64_t n);   /* [N,D] -> [n,D] */
struct tensor *t_embed(struct tape *t, struct tensor *table, const int32_t *ids, int n_dims,
                       const int64_t *shape);               /* -> [shape.., D] */
struct tensor *t_patchify(struct tensor *x, int64_t patch); /* [B,C,H,W] -> [B,N,C p p]; what fills no patch is cut */
struct tensor *t_diag(struct tensor *x);                    /* [N,N] -> [N] */

/* ---- reductions (op_reduce.c) ------------------------------------------------------------------------------------ */

struct tensor *t_reduce(struct tensor *x, enum reduce op, int axis); /* axis removed; -1: last */
struct tensor *t_sum(struct tensor *x);                              /* everything -> [] */
struct tensor *t_mean(struct tensor *x);
static inline struct tensor *t_log_sum_exp(struct tensor *x, int axis)
{
    return t_reduce(x, RED_LSE, axis);
}

/* ---- pictures (op_conv.c) ---------------------------------------------------------------------------------------- */

struct conv_opt {
    int64_t stride, pad;
};                                                                                                  /* stride 0: 1 */
struct tensor *t_conv2d(struct tensor *x, struct tensor *w, struct tensor *b, struct conv_opt opt); /* b may be NULL */
struct tensor *t_avg_pool(struct tensor *x, int64_t k, int64_t stride);

/* ---- sphere (op_sphere.c) ---------------------------------------------------------------------------------------- */

struct tensor *t_slerp(struct tensor *a, struct tensor *b,
                       struct tensor *lambda); /* lambda [] or [n], a constant; a at 1, b at 0 */
struct tensor *t_pairwise_distance(struct tensor *a, struct tensor *b); /* squared, [n,m] */

/* ---- densities (op_ggd.c) ---------------------------------------------------------------------------------------- */

/* Negative log-likelihood of z under the generalised Gaussian of mean m, scale 1/a, shape b, without log 2, number by
 * number; all of one shape, z a constant. struct ggd_form in kernel/kernel.h. */
struct tensor *t_ggd_nll(struct tensor *m, struct tensor *z, struct tensor *a, struct tensor *b, struct ggd_form form);

/* ---- gradient checking (gradcheck.c): central differences in double ---------------------------------------------- */

/* Builds the scalar f(inputs) on a fresh ref64 tape; compares every input's gradient. Returns the largest |analytic -
 * numeric| / max(1, largest |numeric| of that input) in *worst. */
int grad_check(struct tensor *(*f)(struct tape *t, struct tensor **inputs, void *ctx), void *ctx, int n_inputs,
               const int *n_dims, const int64_t (*shapes)[T_MAX_DIMS], double *const *values, double step,
               double *worst);

/* ---- the op table (op_table.c): every op with random cases; selftest and the tests walk it ----------------------- */

struct op_case_result {
    const char *op;
    int n_cases, n_failed;
    double worst_forward, worst_gradient;
    bool supported;
};
/* compare: an engine's forward and gradients against ref64 on random shapes (tolerance by dtype); an empty kernel slot
 * gives supported = false. gradient: ref64's backward against central differences. An unknown i is ERR_USAGE. */
int op_table_count(void);
const char *op_table_name(int i);
int op_table_compare(int i, const struct engine *e, bool low, int n_cases, uint64_t seed, struct op_case_result *out);
int op_table_gradient(int i, int n_cases, uint64_t seed, struct op_case_result *out);
/* Median seconds of forward and backward of the op's speed case; gflop: of forward (for pointwise ops, 1e-9 a number).
 */
int op_table_speed(int i, const struct engine *e, bool low, double *forward, double *backward, double *gflop);

#endif
