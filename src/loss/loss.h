/* loss/loss.h: the door of room loss (level 3). Objectives, one file each, written as the paper writes them. A loss is
 * a struct of options, its option table, and one function from a pair batch to a scalar. It never sees a dataset.
 * Registry: loss_list.h. */
#ifndef LOSS_LOSS_H
#define LOSS_LOSS_H

#include "base/base.h"
#include "tensor/tensor.h"

struct pair_batch {
    struct tensor *image, *text; /* [B,E] unit rows, pair i in row i of both */
    struct tensor *logit_scale;  /* [] the learned logarithm, or NULL: the loss's own temperature */
    struct tensor *logit_bias;   /* [] added to every logit by the sigmoid loss, or NULL */
    const uint8_t *match;        /* [B,B] 1 where text j is a known caption of image i; NULL: the diagonal */
    int64_t epoch, step;
    uint64_t seed;
};
struct loss_kind {
    const char *name, *help;
    const struct opt *options;
    size_t size;                                                          /* of the options struct */
    struct tensor *(*build)(const struct pair_batch *b, const void *opt); /* [] on the tape of b->image */
};
const struct loss_kind *loss_find(const char *name); /* NULL when unknown; message set */
const struct loss_kind *loss_at(int i);              /* NULL past the end */

/* CLIP's symmetric cross entropy (Radford et al. 2021, figure 3). */
struct loss_clip_opt {
    double temperature; /* used when the batch has no logit scale */
    const char
        *targets; /* "identity", or "match": a row's target is spread evenly over its known captions in the batch */
};
/* SigLIP's pairwise sigmoid loss (Zhai et al. 2023, equation 1). */
struct loss_sigmoid_opt {
    double temperature, bias; /* used when the batch has no logit scale, no bias */
    const char *targets;      /* "identity" or "match" */
};

/* ---- generalised Gaussians (ggd.c): density beta / (2 alpha Gamma(1/beta)) exp(-(|z - mean| / alpha)^beta) -------- */

double ggd_log_density(double z, double mean, double alpha, double beta);
double ggd_cdf(double z, double mean, double alpha, double beta);
double ggd_variance(double alpha, double beta);
double ggd_log_variance(double alpha, double beta); /* finite where the variance itself is too large for a double */
double ggd_entropy(double alpha, double beta);
double ggd_sample(struct rng *r, double mean, double alpha, double beta);
/* ProbVLM's variance as released (Upadhyay et al. 2023, their code): alpha = clip(1/(a + 1e-5), 1e-4, 5), beta =
 * clip(b + 0.1, 0.1, 5). */
double ggd_released_variance(double a, double b);

/* ---- objectives of adapters (probvlm_loss.c, pfe_loss.c, pcme_loss.c): plain functions, for they look at pairs of
 * distributions; all tensors [B,D], pair i in row i of both sides; [] ---------------------------------------------- */

/* One side's distribution: mean, 1/alpha, beta. */
struct ggd_side {
    struct tensor *mean, *inverse, *shape;
};
enum ggd_cross { CROSS_SUM, CROSS_LOGSUMEXP, CROSS_QUADRATURE };
struct probvlm_opt {
    bool released;    /* the linear residual, its guards, T1 |m - z| + T2 NLL in every term */
    double t1, t2;    /* of the released one */
    double intra;     /* weight of each side's own term */
    double cross;     /* and of the cross-modal one */
    enum ggd_cross how;
    double eps;       /* of the exact residual, see struct ggd_form */
};
struct ggd_form ggd_exact_form(double eps);
struct ggd_form ggd_released_form(void);
/* Mean over numbers of T1 |m - z| + T2 NLL as released. */
struct tensor *ggd_released_term(const struct ggd_side *g, struct tensor *z, double t1, double t2);
struct tensor *probvlm_loss(const struct ggd_side *image, const struct ggd_side *text, struct tensor *z_image,
                            struct tensor *z_text, const struct probvlm_opt *o);

/* Probabilistic face embeddings (Shi and Jain 2019, equation 3) over pairs of a picture and its text. */
struct tensor *pfe_loss(struct tensor *mean_i, struct tensor *mean_t, struct tensor *log_var_i,
                        struct tensor *log_var_t);
/* PCME (Chun et al. 2021): match probabilities over samples [B,K,D]; scale and shift: a and b of -a d + b, []. */
struct tensor *pcme_loss(struct tensor *samples_i, struct tensor *samples_t, struct tensor *scale,
                         struct tensor *shift);
/* How closely the samples [B,K,D] of both sides stand, []: lower is more even. */
struct tensor *pcme_uniformity(struct tensor *samples_i, struct tensor *samples_t);
/* KL(N(mean, exp(log_var)) | N(0, 1)), summed. */
struct tensor *pcme_divergence(struct tensor *mean, struct tensor *log_var);
/* PCME++ (Chun 2024, equations 1 and 2): closed-form distance, mean binary cross entropy against the identity. */
struct tensor *pcmepp_loss(struct tensor *mean_i, struct tensor *mean_t, struct tensor *log_var_i,
                           struct tensor *log_var_t, struct tensor *scale, struct tensor *shift);

/* ---- directions (spherical.c): on the unit sphere of R^d, d >= 2; k >= 0: concentration around a mean direction, t:
 * cosine with it. Densities relative to the uniform one; minus sphere_log_area(d) they are per area. ----------------- */

enum sphere_family { SPHERE_VMF, SPHERE_PS }; /* von Mises-Fisher, power spherical */
double sphere_log_area(int64_t d);
double sphere_log_density(enum sphere_family f, int64_t d, double k, double t);
double sphere_log_norm(enum sphere_family f, int64_t d, double k); /* of e^(k t) or (1 + t)^k: 0 at k = 0 */
double sphere_log_norm_slope(enum sphere_family f, int64_t d, double k);
double sphere_mean_cosine(enum sphere_family f, int64_t d, double k);
double sphere_cosine_at(enum sphere_family f, int64_t d, double k, double share); /* t that has this share above it */
double sphere_draw_cosine(struct rng *r, enum sphere_family f, int64_t d, double k);
/* out [d]: at cosine t from the mean, otherwise anyhow. A mean of zeros is no direction: all are alike. */
void sphere_around(struct rng *r, int64_t d, const double *mean, double t, double *out);
struct tensor *sphere_norms(enum sphere_family f, int64_t d, struct tensor *kappa); /* of its shape, differentiable */

/* AsymVLM (Ju et al. 2025; asym_loss.c): x [B,D] unit pictures, mean [B,D] and kappa [B] of texts. [B,B] log-densities,
 * picture i under text j; and the contrast of both ways, or of texts over pictures alone. same [B,B] (or NULL): 1 where
 * an item is shared, off the diagonal. */
struct tensor *asym_log_likelihood(enum sphere_family f, struct tensor *x, struct tensor *mean, struct tensor *kappa);
struct tensor *asym_loss(enum sphere_family f, struct tensor *x, struct tensor *mean, struct tensor *kappa,
                         struct tensor *log_temperature, const uint8_t *same, bool texts_only);

/* ProLIP (Chun et al. 2025; prolip_loss.c): sigmoid loss of pairs, log_scale and shift []; same as above. */
struct tensor *prolip_loss(struct tensor *mean_i, struct tensor *mean_t, struct tensor *log_var_i,
                           struct tensor *log_var_t, struct tensor *log_scale, struct tensor *shift,
                           const uint8_t *same);
/* [B,D]: how far 1 lies within 2; and the mean over rows of -ln sigmoid(scale, mean over dimensions). */
struct tensor *prolip_inclusion(struct tensor *mean_1, struct tensor *log_var_1, struct tensor *mean_2,
                                struct tensor *log_var_2);
struct tensor *prolip_inclusion_loss(struct tensor *mean_1, struct tensor *log_var_1, struct tensor *mean_2,
                                     struct tensor *log_var_2, double scale);

#endif
