/* adapt/gp.h: inside room adapt. Sparse variational Gaussian processes with many outputs that share one kernel, and the
 * pair of them over one latent that GroVE is. Everything in double. */
#ifndef ADAPT_GP_H
#define ADAPT_GP_H

#include "kernel/kernel.h"

enum gp_kernel { GP_RBF, GP_MATERN52, N_GP_KERNELS };
extern const char *const gp_kernel_names[N_GP_KERNELS];

/* Parameters (of a gradient: the same layout), all in one slab. Logarithms: length scales [Q], signal and noise
 * variance, and the diagonal of factor [M,M], whose lower triangle C gives the covariance C C^T of the whitened
 * inducing values; mean [M,D] is theirs. constant [D] is the processes' mean, z [M,Q] the inducing inputs. */
struct gp {
    enum gp_kernel kernel;
    int64_t m, q, d;
    double *slab, *z, *length, *signal, *noise, *constant, *mean, *factor;
};
int64_t gp_size(const struct gp *g);       /* numbers in a slab of m, q, d */
void gp_place(struct gp *g, double *slab); /* points every field into it */
void gp_bound(struct gp *g);               /* brings the logarithms back into their bounds */

/* What is computed once a step (factorisations) and what a batch needs. */
struct gp_work {
    const struct gp *g;
    int64_t batch;
    double jitter, used; /* share of the signal variance added to the diagonal of K_zz; used: grown where it must */
    double *memory, *inverse_length, *kzz, *slope_zz, *l, *c, *kzx, *slope_zx, *a, *t, *da, *square[2];
};
int gp_work_open(struct gp_work *w, const struct gp *g, int64_t batch);
void gp_work_close(struct gp_work *w);
int gp_factorise(struct gp_work *w);
/* x [b,Q] -> mean [b,D] (NULL: not wanted), variance [b] of the noiseless values, the same for every output. */
void gp_predict(struct gp_work *w, const double *x, int64_t b, double *mean, double *variance);
/* After gp_predict of the same x: adds to every gradient. dx [b,Q] is overwritten. */
void gp_backward(struct gp_work *w, const double *x, int64_t b, const double *dmean, const double *dvariance,
                 struct gp *grad, double *dx);
/* Expected log-likelihood of y [b,D], summed; weight times its gradient is added to dmean, dvariance, grad->noise. */
double gp_expected(const struct gp *g, const double *y, const double *mean, const double *variance, int64_t b,
                   double weight, double *dmean, double *dvariance, struct gp *grad);
/* KL from the prior of the inducing values, all outputs; weight times its gradient is added. grad may be NULL. */
double gp_divergence(const struct gp_work *w, double weight, struct gp *grad);

/* The best mean and factor for given inputs and outputs, in closed form (Titsias 2009): gather every batch, then
 * settle. aa [M,M], ay [M,D] start at zero. */
void gp_gather(struct gp_work *w, const double *x, const double *y, int64_t b, double *aa, double *ay);
int gp_settle(struct gp_work *w, struct gp *g, double *aa, double *ay);

/* Inputs that explain given outputs: y [b,D] -> x [b,Q], b <= batch of the work it was opened with. */
struct gp_infer {
    struct gp_work *w;
    double *memory, *to_q, *h, *offset, *e, *q, *hk, *best, *score, *dx, *first, *second;
};
int gp_infer_open(struct gp_infer *f, struct gp_work *w);
void gp_infer_close(struct gp_infer *f);
/* From the inducing input that explains it best, `steps` of Adam; the best of the points passed. What is minimised:
 * (|y - mean|^2 + D variance) / (2 noise) + |x|^2 / 2. */
void gp_infer(struct gp_infer *f, const double *y, int64_t b, int64_t steps, double lr, double *x);

/* Adam (Kingma and Ba 2015), step t = 1, 2, ... */
void gp_adam(double *p, const double *grad, double *first, double *second, int64_t n, double lr, int64_t t);

/* GroVE's objective of a batch, its gradient in grad[2] and dx [b,Q], overwritten. y[side] [b,D]; n: all pairs. */
struct gp_pair {
    struct gp_work *w[2];
    struct gp *grad[2];
    double *mean[2], *dmean[2], *variance[2], *dvariance[2], *dx_side; /* [batch,D], [batch], [batch,Q] */
    double elbo_weight, kl_weight;
};
double gp_pair_loss(struct gp_pair *p, const double *x, const double *const y[2], int64_t b, int64_t n, double *dx);

#endif
