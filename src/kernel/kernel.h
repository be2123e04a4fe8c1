/* kernel/kernel.h: the door of room kernel (level 1). Arithmetic on raw pointers: an engine is one table of functions.
 *
 * `ref` fills every slot in plain C, in float and in double (ref/X_tmpl.c compiled twice). `cpu` starts from ref and
 * overrides with oneDNN and vector code. Pointers named void * hold the engine's real type (struct engine.real). All
 * arrays are contiguous and row-major unless a stride is given. Backward slots ACCUMULATE (+=) into every gradient; a
 * NULL gradient is skipped. Slots never fail on good shapes; the only failure is memory, reported by the return code.
 * Nothing above this room names a vendor. */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include "base/base.h"
#include "kernel/lapack.h"

enum act {
    ACT_NONE,
    ACT_GELU,
    ACT_QUICK_GELU,
    ACT_GELU_TANH, /* the approximation by tanh, as SigLIP uses it */
    ACT_RELU,
    ACT_TANH,
    ACT_SIGMOID,
    ACT_SOFTPLUS,
    ACT_EXP,
    ACT_LOG,
    ACT_SQRT,
    ACT_RSQRT,
    ACT_SQUARE,
    ACT_ABS,
    ACT_NEG,
    ACT_RECIP,
    ACT_LGAMMA,
    ACT_DIGAMMA,
    ACT_SIN,
    ACT_COS,
    ACT_LOG_SIGMOID,
    N_ACTS
};
const char *act_name(enum act a);
enum binary { BIN_ADD, BIN_SUB, BIN_MUL, BIN_DIV, BIN_MAX, BIN_MIN, BIN_POW, N_BINARIES };
const char *binary_name(enum binary b);
enum reduce { RED_SUM, RED_MEAN, RED_MAX, RED_LSE, N_REDUCES }; /* LSE: log sum exp */

/* C [batch, M, N] = alpha * op(A) op(B) + beta * C. op(A) is [M, K]; A is stored [M, K], or [K, M] when ta. Strides
 * between matrices of a batch in elements; 0 repeats the same matrix. low: operands may be rounded to bf16 (fp32
 * accumulation). */
struct matmul_dims {
    int64_t batch, m, n, k, stride_a, stride_b, stride_c;
    bool ta, tb, low;
    double alpha, beta;
};

/* Attention over heads, rows of q [B, Lq, ld_q] …: head h is columns h*hd … of each row. scores = scale q k^T; causal
 * hides keys j > i; key_keep [B, Lk] (u8, may be NULL) hides keys with 0; a row with every key hidden gives zeros.
 * Softmax in fp32. lse [B, heads, Lq] keeps log sum exp of each row for the backward pass. */
struct attention_dims {
    int64_t batch, heads, len_q, len_k, head_dim, ld_q, ld_k, ld_v, ld_out;
    bool causal;
    double scale;
};

struct conv_dims {
    int64_t batch, in_c, in_h, in_w, out_c, k_h, k_w, stride, pad, out_h, out_w;
};
struct pool_dims {
    int64_t batch, channels, in_h, in_w, k, stride, out_h, out_w;
}; /* no padding */

/* Broadcast: out has n_dims <= 5 dims; a and b have per-dim element strides, 0 where broadcast. */
struct bcast_dims {
    int n_dims;
    int64_t shape[5], stride_a[5], stride_b[5];
};

/* Negative log-likelihood of z under generalised Gaussians, number by number, without log 2; a = 1/alpha.
 * linear false: r = sqrt((m - z)^2 + eps^2), t = b ln(r a), u = e^t, continued as a straight line in t above `cap`;
 *   y = u - ln a - ln b + lgamma(1/b); a, b > 0.
 * linear true (ProbVLM as released): a and b grow by `shift` first and u = clamp(|m - z| a b, lo, hi). */
struct ggd_form {
    bool linear;
    double eps, cap, shift, lo, hi;
};

struct adamw_step {
    double lr, beta1, beta2, eps, weight_decay, correction1, correction2, grad_scale;
};

struct engine {
    const char *name; /* "ref", "cpu" */
    enum dtype real;  /* DT_F32 or DT_F64 */
    int threads;

    /* memory */
    void (*fill)(const struct engine *e, void *x, double value, int64_t n);
    void (*copy)(const struct engine *e, void *dst, const void *src, int64_t n);

    /* matrix products */
    int (*matmul)(const struct engine *e, const struct matmul_dims *d, const void *a, const void *b, void *c);
    /* y [n, out] = act(x [n, in] W^T + bias); W [out, in]; bias may be NULL; pre [n, out] receives the value before act
     * (NULL when act is NONE or no backward will come). low as in matmul. */
    int (*linear_fwd)(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                      const void *bias, enum act act, bool low, void *pre, void *y);
    /* dpre [n, out] is the gradient before the activation. dx, dw, dbias accumulate; each may be NULL. */
    int (*linear_bwd)(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                      const void *dpre, bool low, void *dx, void *dw, void *dbias);

    /* pointwise */
    void (*act_fwd)(const struct engine *e, enum act act, const void *x, void *y, int64_t n);
    void (*act_bwd)(const struct engine *e, enum act act, const void *x, const void *y, const void *dy, void *dx,
                    int64_t n); /* dx += */
    /* dpre = act'(pre) * dy (overwrites) */
    void (*act_grad)(const struct engine *e, enum act act, const void *pre, const void *dy, void *dpre, int64_t n);
    void (*scale_add)(const struct engine *e, double alpha, const void *x, double shift, void *y,
                      int64_t n);                                                          /* y = alpha x + shift */
    void (*axpy)(const struct engine *e, double alpha, const void *x, void *y, int64_t n); /* y += alpha x */
    void (*clamp_fwd)(const struct engine *e, double lo, double hi, const void *x, void *y, int64_t n);
    void (*clamp_bwd)(const struct engine *e, double lo, double hi, const void *x, const void *dy, void *dx,
                      int64_t n); /* passes inside [lo, hi] */
    void (*binary_fwd)(const struct engine *e, enum binary op, const struct bcast_dims *d, const void *a, const void *b,
                       void *y);
    void (*binary_bwd)(const struct engine *e, enum binary op, const struct bcast_dims *d, const void *a, const void *b,
                       const void *y, const void *dy, void *da, void *db);
    void (*mask_mul)(const struct engine *e, const uint8_t *keep, double scale, const void *x, void *y, int64_t n,
                     bool add); /* y (+)= keep ? x*scale : 0 */

    /* reductions over the middle axis of [outer, n, inner]; the gradient of max goes to the first maximum */
    void (*reduce_fwd)(const struct engine *e, enum reduce op, int64_t outer, int64_t n, int64_t inner, const void *x,
                       void *y);
    void (*reduce_bwd)(const struct engine *e, enum reduce op, int64_t outer, int64_t n, int64_t inner, const void *x,
                       const void *y, const void *dy, void *dx);
    double (*sum_squares)(const struct engine *e, const void *x, int64_t n); /* fixed chunks, in double */

    /* norms: x [n, d] */
    void (*layer_norm_fwd)(const struct engine *e, int64_t n, int64_t d, double eps, const void *x, const void *w,
                           const void *b, void *y, void *mean, void *rstd);
    void (*layer_norm_bwd)(const struct engine *e, int64_t n, int64_t d, const void *x, const void *w, const void *mean,
                           const void *rstd, const void *dy, void *dx, void *dw, void *db);
    /* x [n, c, hw]. batch = true: statistics over n and hw per channel, normalised by the biased variance; writes mean,
     * rstd and, for the running update, the UNBIASED var (NULL: not wanted). batch = false: reads mean and var, writes
     * rstd = 1/sqrt(var + eps). */
    void (*batch_norm_fwd)(const struct engine *e, int64_t n, int64_t c, int64_t hw, double eps, bool batch,
                           const void *x, const void *w, const void *b, void *y, void *mean, void *rstd, void *var);
    void (*batch_norm_bwd)(const struct engine *e, int64_t n, int64_t c, int64_t hw, bool batch, const void *x,
                           const void *w, const void *mean, const void *rstd, const void *dy, void *dx, void *dw,
                           void *db);
    /* x [n, c, hw] in groups of channels */
    void (*group_norm_fwd)(const struct engine *e, int64_t n, int64_t c, int64_t hw, int64_t groups, double eps,
                           const void *x, const void *w, const void *b, void *y, void *mean, void *rstd);
    void (*group_norm_bwd)(const struct engine *e, int64_t n, int64_t c, int64_t hw, int64_t groups, const void *x,
                           const void *w, const void *mean, const void *rstd, const void *dy, void *dx, void *dw,
                           void *db);
    void (*l2_normalize_fwd)(const struct engine *e, int64_t n, int64_t d, double eps, const void *x, void *y,
                             void *norm); /* y = x / max(|x|, eps) */
    void (*l2_normalize_bwd)(const struct engine *e, int64_t n, int64_t d, double eps, const void *y, const void *norm,
                             const void *dy, void *dx);

    /* softmax over the last axis of [n, d]; log: log softmax */
    void (*softmax_fwd)(const struct engine *e, int64_t n, int64_t d, bool log, const void *x, void *y);
    void (*softmax_bwd)(const struct engine *e, int64_t n, int64_t d, bool log, const void *y, const void *dy,
                        void *dx);
    /* loss [n] of logits [n, c]: target index (label[i] < 0: row ignored, loss 0) with label smoothing, or target [n,
     * c] (soft; sums need not be 1). lse [n] is kept. dlogits += dloss[i] * (softmax * sum(target) - target). */
    void (*cross_entropy_fwd)(const struct engine *e, int64_t n, int64_t c, const void *logits, const int32_t *label,
                              const void *target, double smoothing, void *loss, void *lse);
    void (*cross_entropy_bwd)(const struct engine *e, int64_t n, int64_t c, const void *logits, const int32_t *label,
                              const void *target, double smoothing, const void *lse, const void *dloss, void *dlogits,
                              void *dtarget);

    int (*attention_fwd)(const struct engine *e, const struct attention_dims *d, const void *q, const void *k,
                         const void *v, const uint8_t *key_keep, void *out, void *lse);
    int (*attention_bwd)(const struct engine *e, const struct attention_dims *d, const void *q, const void *k,
                         const void *v, const uint8_t *key_keep, const void *out, const void *lse, const void *dout,
                         void *dq, void *dk, void *dv);

    /* tables and movement */
    void (*embed_fwd)(const struct engine *e, int64_t n, int64_t d, int64_t rows, const void *table, const int32_t *ids,
                      void *y);
    void (*embed_bwd)(const struct engine *e, int64_t n, int64_t d, int64_t rows, const int32_t *ids, const void *dy,
                      void *dtable);
    void (*patchify_fwd)(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p, const void *x,
                         void *y); /* [B,C,H,W] -> [B,(H/p)(W/p),C p p] */
    void (*patchify_bwd)(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p, const void *dy,
                         void *dx);
    void (*permute)(const struct engine *e, int n_dims, const int64_t *shape, const int *perm, const void *x, void *y,
                    bool add); /* numpy's transpose: axis i of y is axis perm[i] of x; y (+)= */
    /* dst rows of [outer, n_dst, inner] from offset: dst[o, at + i, :] (+)= src[o, i, :] and the reverse */
    void (*copy_rows)(const struct engine *e, int64_t outer, int64_t n_src, int64_t at_src, int64_t n_dst,
                      int64_t at_dst, int64_t n, int64_t inner, const void *src, void *dst, bool add);

    /* pictures */
    int (*conv2d_fwd)(const struct engine *e, const struct conv_dims *d, const void *x, const void *w, const void *bias,
                      void *y);
    int (*conv2d_bwd)(const struct engine *e, const struct conv_dims *d, const void *x, const void *w, const void *dy,
                      void *dx, void *dw, void *dbias);
    void (*avg_pool_fwd)(const struct engine *e, const struct pool_dims *d, const void *x, void *y);
    void (*avg_pool_bwd)(const struct engine *e, const struct pool_dims *d, const void *dy, void *dx);

    /* sphere: rows a, b of unit vectors [n, d]; lambda [n] (or one value when n_lambda is 1). docs: m2mix section 2.1.
     * Near 0 the linear limits; at pi (dot < -1 + 1e-12 in double, 1e-6 in float) the first vector is returned and b
     * gets no gradient; *n_antipodal (may be NULL) receives the number of such rows of this call. lambda 1 gives a, 0
     * gives b; it gets no gradient. */
    void (*slerp_fwd)(const struct engine *e, int64_t n, int64_t d, const void *a, const void *b, const void *lambda,
                      int64_t n_lambda, void *y, int64_t *n_antipodal);
    void (*slerp_bwd)(const struct engine *e, int64_t n, int64_t d, const void *a, const void *b, const void *lambda,
                      int64_t n_lambda, const void *dy, void *da, void *db);
    /* squared distances [n, m] of rows a [n, d], b [m, d] */
    int (*distance_fwd)(const struct engine *e, int64_t n, int64_t m, int64_t d, const void *a, const void *b, void *y);
    int (*distance_bwd)(const struct engine *e, int64_t n, int64_t m, int64_t d, const void *a, const void *b,
                        const void *dy, void *da, void *db);

    void (*ggd_fwd)(const struct engine *e, const struct ggd_form *f, int64_t n, const void *m, const void *z,
                    const void *a, const void *b, void *y);
    void (*ggd_bwd)(const struct engine *e, const struct ggd_form *f, int64_t n, const void *m, const void *z,
                    const void *a, const void *b, const void *dy, void *dm, void *da, void *db); /* z: a constant */

    /* optimiser: p, m, v fp32; g scaled by grad_scale first; decoupled decay (Loshchilov and Hutter 2019) */
    void (*adamw)(const struct engine *e, int64_t n, const struct adamw_step *s, const void *g, void *p, void *m,
                  void *v);
};

/* Engines by name: "ref" (float), "ref64" (double), "cpu"; NULL: the fastest in this build. ERR_UNSUPPORTED for unknown
 * names. threads 0: all cores. The table is static. */
int engine_open(const struct engine **e, const char *name, int threads);
const char *engine_names(void); /* "cpu, ref, ref64" */
/* The machine as the cpu engine sees it: "avx512_bf16, 2 threads, oneDNN 2.6.3". */
const char *engine_describe(const struct engine *e);

/* Scalar functions in double (ref/ref_special.c). */
double ref_lgamma(double x);   /* log |gamma(x)|; +inf at 0, -1, -2, ... */
double ref_digamma(double x);  /* psi(x); NaN at 0, -1, -2, ... */
double ref_trigamma(double x); /* psi'(x); +inf at 0, -1, -2, ... */

/* Call first in main: makes waiting compute threads sleep soon instead of spinning, which collapses on a shared
 * machine. Starts the program once more with GOMP_SPINCOUNT set; returns when that or OMP_WAIT_POLICY is set already,
 * or on failure. */
void engine_wait_briefly(char **argv);

#endif
