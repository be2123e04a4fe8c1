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

/* ---- heads over saved vectors (heads.c): trained on one part of a set's pairs, judged on another ---- */

struct heads_opt {
    const char *head, *from, *split_column, *train_rows, *validation_rows; /* head: linear, mlp; the parts as adapt's */
    int64_t hidden;
    double validation_share;
};
struct heads_in {
    const struct set *set;
    const struct heads_opt *opt;
    const struct train_opt *train;
    const struct loss_kind *loss;
    const void *loss_opt;
    const struct engine *engine;
    const json_t *config; /* into head.json, or NULL */
    const char *dir;      /* becomes a folder: head.json, head.safetensors, run.jsonl */
    bool force;
};
struct heads_result {
    struct train_result train; /* best: mean reciprocal rank; best_epoch -1: no epoch beat the start */
    int64_t n_train, n_validation;
    double before[2], after[2]; /* validation recall at 1, both ways; NaN: nothing was judged */
};
int heads_train(const struct heads_in *in, struct heads_result *out);

/* ---- which rows to label next (select.c, select_typical.c; docs/methods/active.md) ---- */

/* id, name, what it takes */
#define SELECT_LIST(X)                                                                                                 \
    X(SELECT_RANDOM, "random", "any")                                                                                  \
    X(SELECT_UNCERTAINTY, "uncertainty", "the rows of which the adapter is least certain")                             \
    X(SELECT_COSINE, "cosine", "those without a near answer")                                                          \
    X(SELECT_MARGIN, "margin", "those whose first answer leads least over the second")                                 \
    X(SELECT_ENTROPY, "entropy", "those with the highest entropy of the softmax over the answers")                     \
    X(SELECT_BALD, "bald", "those whose label would tell the adapter most about itself")                               \
    X(SELECT_EPIG, "epig", "those whose label would tell it most about the labels of others")                          \
    X(SELECT_CORESET, "coreset", "always the one farthest from all that are labelled (k-centre)")                      \
    X(SELECT_TYPICAL, "typical", "the most typical rows of clusters without a label")
enum select_id {
#define X(id, name, text) id,
    SELECT_LIST(X)
#undef X
        N_SELECTS
};
const char *select_name(int i); /* NULL outside the list */
const char *select_text(int i);
int select_find(const char *name, enum select_id *out); /* ERR_USAGE when unknown */

struct select_in {
    const struct set *set;
    int side;
    const int64_t *pool, *labelled; /* rows of the side: to choose from, and those that have labels */
    int64_t n_pool, n_labelled;
    const struct set *classes; /* cosine, margin, entropy: the items of its other side are the answers; NULL: the */
    const int64_t *gallery;    /* set's own; of these, the rows that count, NULL: all */
    int64_t n_gallery;
    struct adapter *adapter;   /* uncertainty, bald, epig; or NULL */
    const struct set *target;  /* epig: see adapt_acquire; or NULL */
    const double *uncertainty; /* [rows of the side] in place of the adapter's, or NULL */
};
struct select_opt {
    enum select_id strategy;
    int64_t budget;
    double temperature; /* of the softmax; 0: the set's own, or 0.01 */
    double spread;      /* above 1: k-centre among the spread x budget best */
    uint64_t seed;
};
struct select_row {
    int64_t row;
    double score;
};
/* out [budget], in the order of the choice; *n: fewer than the budget when only copies (cosine above 1 - 1e-5) of what
 * is labelled or chosen are left. */
int select_rows(const struct select_in *in, const struct select_opt *o, struct select_row *out, int64_t *n);

/* ---- active learning on a set whose labels are known (simulate.c; docs/methods/active.md) ---- */

struct simulate_opt {
    int n;
    enum select_id strategy[N_SELECTS]; /* strategy 0 is what the others are measured by */
    int side;
    int64_t budget, rounds, initial, seeds; /* rows a round; initial: random ones before the first, at least 0 */
    double temperature, spread;             /* as of select_opt */
    bool warm;                              /* heads go on from those of the round before */
    uint64_t seed;
};
struct simulate_in {
    const struct set *set;
    const struct simulate_opt *opt;
    const struct heads_opt *heads; /* head, hidden */
    const struct train_opt *train;
    const struct loss_kind *loss;
    const void *loss_opt;
    const struct engine *engine;
    const uint8_t *const
        *part;               /* [n_parts][images] enum set_part, seed i takes part i mod n_parts; train is the pool */
    int n_parts;             /* 0: drawn by seed, 60 : 20 : 20, copies and pairs together */
    struct adapter *adapter; /* uncertainty, bald, epig; NULL: one is fitted to the labelled pairs each round */
    const struct adapt_opt *refit;
};
struct simulated {
    int n_strategies, n_points;                    /* points: rounds + 1 */
    int64_t n_seeds, n_pool, n_validation, n_test; /* the last seed's rows of the pool, and pairs */
    double *labelled;                              /* [n_points] rows with labels */
    double *recall;                                /* [n_strategies, n_points, n_seeds, 2] at 1, on the test pairs */
    double *start, *all;                           /* [n_seeds, 2] without heads; with every label of the pool */
};
int simulate_run(const struct simulate_in *in, struct simulated *out);
void simulated_free(struct simulated *r);
/* Over the seeds, mean and Student's 95 % interval; way 0: image to text, 1: text to image, 2: their mean. recall
 * [n_points]; area: mean height of the curve; gain: area less that of strategy 0, seed by seed. */
int simulated_measure(const struct simulated *r, int strategy, int way, struct interval *recall, struct interval *area,
                      struct interval *gain);
struct interval simulated_frame(const struct simulated *r, bool all, int way);
/* Mean of n values and its interval by Student's t; no interval for n = 1. */
struct interval student_interval(const double *x, int64_t n);

#endif
