/* adapt/adapt.h: the door of room adapt (level 5). A distribution in place of each vector of a set: small networks (one
 * a side) over saved vectors, their training, and what one does with the result. docs/methods/probvlm.md. */
#ifndef ADAPT_ADAPT_H
#define ADAPT_ADAPT_H

#include "base/base.h"
#include "eval/eval.h"
#include "kernel/kernel.h"
#include "loss/loss.h"
#include "space/space.h"
#include "train/train.h"

enum { SIDE_IMAGE, SIDE_TEXT };

struct adapter;
struct dataset;

/* ---- training (fit.c) ---- */

struct adapt_opt {
    bool low;          /* bf16 operands in the products of a network's training */
    double save_every; /* seconds; 0: unfinished work is not kept */
    const char *method, *mean, *cross, *from, *split_column, *train_rows, *validation_rows;
    bool released;
    int64_t epochs, batch, hidden, samples, seed, split_seed, ensemble;
    double lr, dropout, intra, lambda, validation_share, t1, t2, clip_norm, vib, uniformity;
    const char *kernel; /* of grove, as the rest */
    int64_t latent, inducing, steps;
    double elbo_weight, kl_weight;
    const char *factors, *posterior, *curvature; /* of bayesvlm, as the rest */
    int64_t hessian_batch;
    double prior, pseudo_count;
    const char *perturb, *model, *mask_with; /* of tta, as the rest */
    int64_t tta_passes;
    double crop, flip, mask_words, noise, drop;
    const char *family, *sphere, *contrast; /* of asymvlm */
    const char *masked;                     /* of prolip, as the rest */
    double mask_share, inclusion, inclusion_pair;
};
extern const struct opt adapt_options[]; /* of struct adapt_opt */
void adapt_add_methods(struct str *b);    /* a help page's list: a line each, name and what it is */

struct adapt_result {
    double final_loss, validation, seconds; /* final_loss: mean of the last epoch; validation: the best, NAN: none */
    int64_t steps, best_epoch, n_train, n_validation; /* pairs */
};
/* Fits an adapter to the pairs of a set and writes its folder (adapter.json, adapter.safetensors, run.jsonl), whole or
 * not at all. A network's unfinished fitting is kept in DIR.partial, now and then and when it is interrupted; the same
 * call goes on there to the same result, bit for bit. */
int adapt_fit(const struct set *s, const struct adapt_opt *o, const struct engine *e, const char *dir, bool force,
              struct adapt_result *out);

json_t *adapt_result_to_json(const struct adapt_result *r, const char *method); /* as `adapt --json`, without out */

/* The mean of the weights of n adapters of one design (weights NULL: equal; else interpolated by their shares), as a
 * folder. Different designs are refused (ERR_MISMATCH, both named); of different models the result names none. */
int adapt_average(const char *const *dirs, const double *weights, int n, const struct engine *e, const char *dir,
                  bool force);

/* ---- an adapter (adapter.c, predict.c) ---- */

int adapt_open(struct adapter **a, const char *dir);
int adapt_open_on(struct adapter **a, const char *dir, const struct engine *e);
void adapt_close(struct adapter **a);
const char *adapt_method(const struct adapter *a);
int64_t adapt_width(const struct adapter *a); /* of the vectors that it takes */
/* Whether this side has distributions (asymmetric methods leave the pictures points). */
bool adapt_covers(const struct adapter *a, int side);

struct predict_opt {
    int64_t passes; /* with dropout; 0: 15 */
    double dropout; /* below 0: as trained (released: 0.3) */
    uint64_t seed;
    bool force; /* take a set of another model */
    /* tta, where it perturbs inputs: another model folder than the adapter's; where relative picture paths start; what
     * holds this side's rows in place of the set's files. NULL each. */
    const char *model, *path_base;
    const struct dataset *data;
};
/* Arrays that the caller gives, or NULL. Variances are means over the dimensions, in the adapter's unit: 1 is the mean
 * square of a number of the training vectors about their mean. mean, scale, shape [n, width]: of the distribution in
 * the coordinates of the unit vectors. fidelity [n]: cosine of the mean with the vector. */
struct predict_more {
    double *aleatoric, *epistemic, *log_variance, *fidelity;
    float *mean, *scale, *shape;
    float *variance; /* [n, width] aleatoric and epistemic, by dimension; of networks */
};
/* scalar [n]: the uncertainty of each row, larger is less certain. Refuses (ERR_MISMATCH) a set of another model or
 * width. One pass over the rows, in blocks; the same for every block size, and for a seed. */
int adapt_predict(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *scalar,
                  const struct predict_more *more);

/* What the last prediction of this side looked at, for a method with more than one way (tta); else NULL. */
const char *adapt_said(const struct adapter *a, int side);

/* ---- draws and likelihoods (draw.c) ---- */

/* out [n, width], unit vectors: near: each number within the middle half of its distribution; tail: beyond the middle
 * nine tenths; all: as it comes. */
int adapt_sample(struct adapter *a, const struct set *s, int side, int64_t row, int64_t n, const char *region,
                 uint64_t seed, float *out);
/* out [n of the other side]: log-likelihood of each vector of the other side under the distribution of this row, per
 * dimension, in the adapter's unit. */
int adapt_likelihood(struct adapter *a, const struct set *s, int side, int64_t row, int of, double *out);

/* What the other side leaves open of every row (cosine.c): the softmax over its items of logit_scale times the cosines,
 * each flattened by its variance. entropy [n], in nats; doubt [n]: 1 - the largest probability. Either may be NULL. */
int adapt_probit(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *entropy,
                 double *doubt);

/* ---- which rows to ask about (acquire.c) ---- */

/* score [rows of the pool's side]: what a label would tell, in nats. what: "bald" (about this row's own label, averaged
 * over the adapter's distributions) or "epig" (about the labels of the target's rows of that side; target NULL: the
 * pool's own). The labels of a row are the items of the pool's other side; their probabilities are the softmax of
 * logit_scale times the cosines. Works for every method: joint draws of the weights (bayesvlm), else draws of every
 * item. passes of o: draws, 0: 32. */
int adapt_acquire(struct adapter *a, const struct set *pool, const struct set *target, int side, const char *what,
                  const struct predict_opt *o, double *score);

#endif
