/* adapt/adapter.h: inside room adapt. The network, its parameters, and how vectors enter it. */
#ifndef ADAPT_ADAPTER_H
#define ADAPT_ADAPTER_H

#include "adapt/adapt.h"
#include "io/io.h"
#include "loss/loss.h"
#include "model/model.h"

/* ProbVLM's network of one side (Upadhyay et al. 2023; the three heads only in their code). The first layers of the
 * heads lie in one product. Methods with a fixed mean and a normal distribution have the trunk alone. */
struct capsule {
    struct linear in, middle, out; /* [H,D], [H,H], [D,H] */
    struct linear first;           /* [3D,D] mean, 1/alpha, beta; [2D,D] when the mean is fixed */
    struct linear mean, inverse, shape;
};

enum method { METHOD_PROBVLM, METHOD_PFE, METHOD_PCME, METHOD_PCMEPP, N_METHODS };
enum mean_rule { MEAN_FREE, MEAN_RESIDUAL, MEAN_FIXED };

/* What decides the arithmetic; adapter.json holds it. */
struct design {
    enum method method;
    enum mean_rule mean;
    bool released;
    int64_t width, hidden;
    double dropout;
    double image_scale, text_scale; /* factors behind unit length and the mean */
    double unit;                    /* variances times this are in the adapter's unit */
};

struct adapter {
    struct design d;
    const struct engine *engine;
    struct capsule side[2];
    struct tensor scale, shift; /* of PCME: [] */
    struct params params;
    double *mean[2]; /* [D] of the unit vectors; zeros when released */
    char *model, *fingerprint;
    struct arena *arena;
};

const char *method_name(enum method m);
int method_find(const char *name, enum method *out);
const char *mean_rule_name(enum mean_rule m);
int mean_rule_find(const char *name, enum mean_rule *out);

/* capsule.c */
int capsule_bind(struct adapter *a); /* both sides' rows, and PCME's numbers */
void capsule_init(struct adapter *a, uint64_t seed);
/* x [n,D] -> the second hidden layer [n,H]; then, with or without a mask of dropout, the distribution. */
struct tensor *capsule_hidden(const struct adapter *a, int side, struct tensor *x);
/* keep [n,H]: 0 or 1/(1-p), NULL: no dropout. Normal methods: *log_var [n,D] is set, g->inverse and g->shape are not.
 */
void capsule_heads(const struct adapter *a, int side, struct tensor *x, struct tensor *hidden, struct tensor *keep,
                   struct ggd_side *g, struct tensor **log_var);
/* A mask on the tape: row i by the stream (seed, first_row + i, pass). */
struct tensor *capsule_mask(struct tape *t, int64_t n, int64_t hidden, double p, uint64_t seed, uint32_t pass,
                            int64_t first_row);

/* adapter.c */
/* w: files to take the weights from, or NULL */
int adapter_make(struct adapter **a, const struct design *d, const struct engine *e, const struct weight_files *w);
int adapter_save(const struct adapter *a, const char *dir, const json_t *options);
int adapter_check_set(const struct adapter *a, const struct set *s, bool force);

/* vectors.c: rows of a set as the network gets them: unit length, mean removed, scaled; in the engine's numbers. */
int vectors_measure(struct adapter *a, const struct set *s, const struct set_pair *pairs, int64_t n);
int vectors_check(const struct set *s);
void vectors_put(const struct adapter *a, int side, const float *row, void *out, int64_t at);

/* split.c: which pairs are trained on and which judge. Lists sorted as the set's; free with mem_free. */
struct split {
    struct set_pair *train, *validation;
    int64_t n_train, n_validation;
};
int split_make(struct split *p, const struct set *s, const struct adapt_opt *o);
void split_free(struct split *p);

/* fit.c: the method's objective of a batch, xi and xt [n,D]; keep: masks of dropout or NULL; r: of PCME's samples. */
struct tensor *fit_loss(const struct adapter *a, const struct adapt_opt *o, struct tensor *xi, struct tensor *xt,
                        struct tensor *const keep[2], struct rng *r);

/* predict.c: sums over the passes of one number: the mean and its square, the variance and its square, 1/alpha, beta.
 */
struct pass_sums {
    double mean, mean2, var, var2, inverse, shape;
};
void predict_variances(const struct pass_sums *s, int64_t passes, bool released, double *aleatoric, double *epistemic);

#endif
