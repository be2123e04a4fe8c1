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

enum mean_rule { MEAN_FREE, MEAN_RESIDUAL, MEAN_FIXED };
struct method;

/* What decides the arithmetic; adapter.json holds it. */
struct design {
    const struct method *method;
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
    struct tensor scale, shift; /* learned slope and threshold of a match probability: [] */
    struct params params;
    double *mean[2]; /* [D] of the unit vectors; zeros when released */
    void *own;       /* the method's own struct, in the arena */
    int64_t *row[2]; /* while it is fitted: which rows of the set are in the batch */
    char *model, *fingerprint;
    struct arena *arena;
};

/* One row's distribution in the network's coordinates: mean, alpha, beta [D]. */
struct item {
    double *mean, *alpha, *beta;
};

/* Draw number k of a seed, of rows first .. first + n. */
struct draw_at {
    int64_t first, n, k;
    uint64_t seed;
};

/* What a fitting of one's own is given. */
struct fit_in {
    const struct set *s;
    const struct adapt_opt *o;
    const struct set_split *split;
    struct str *log; /* of run.jsonl */
};

/* One method: src/adapt/method_NAME.c and a line in method_list.h. A network (loss is set) is trained by fit.c and
 * asked by predict.c; other methods have fit and predict of their own. What is NULL is not needed, or done as for a
 * network. */
struct method {
    const char *name, *help;
    unsigned sides;         /* 1u << SIDE_IMAGE | 1u << SIDE_TEXT: which sides become distributions */
    bool whole;             /* a vector that enters has mean square 1, and not each of its numbers */
    bool fixed_mean;        /* the mean is the vector itself */
    const char *usual_mean; /* of --mean auto; NULL: residual */
    /* before bind: what the set decides, or adapter.json (a->own) */
    int (*plan)(struct adapter *a, const struct fit_in *in);
    int (*read)(struct adapter *a, const json_t *o, const char *where);
    int (*write)(const struct adapter *a, json_t *o);
    int (*bind)(struct adapter *a); /* params_bind into a->params */
    void (*init)(struct adapter *a, uint64_t seed);
    /* a network: x [n,D], keep [n,H] of a side: 0 or 1/(1-p), or NULL. heads: a normal distribution sets *log_var [n,D]
     * and leaves g->inverse and g->shape. r: of samples. */
    void (*heads)(const struct adapter *a, int side, struct tensor *x, struct tensor *hidden, struct tensor *keep,
                  struct ggd_side *g, struct tensor **log_var);
    struct tensor *(*loss)(const struct adapter *a, const struct adapt_opt *o, struct tensor *const x[2],
                           struct tensor *const keep[2], struct rng *r);
    /* others, with the contracts of adapt.h */
    int (*fit)(struct adapter *a, const struct fit_in *in, struct adapt_result *out);
    int (*predict)(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *scalar,
                   const struct predict_more *more);
    int (*look)(struct adapter *a, const struct set *s, int side, int64_t row, struct item *it);
    int (*sample)(struct adapter *a, const struct set *s, int side, int64_t row, int64_t n, const char *region,
                  uint64_t seed, float *out);
    int (*likelihood)(struct adapter *a, const struct set *s, int side, int64_t row, int of, double *out);
    void (*close)(struct adapter *a); /* what lies outside the arena */
    /* out [n,D], unit vectors: all rows of equal k and seed see the same weights. NULL: every row is drawn by itself
     * from what predict tells of it. */
    int (*draw)(struct adapter *a, const struct set *s, int side, const struct draw_at *at, float *out);
};
#define X(id) extern const struct method method_##id;
#include "adapt/method_list.h"
#undef X
int method_find(const char *name, const struct method **out);
const char *mean_rule_name(enum mean_rule m);
int mean_rule_find(const char *name, enum mean_rule *out);

/* capsule.c: the parts that networks share */
int capsule_bind_trunk(struct adapter *a); /* of the sides that become distributions */
int capsule_bind_match(struct adapter *a); /* a->scale, a->shift */
/* More rows of the struct capsule of a side, under its prefix. */
int capsule_bind_rows(struct adapter *a, int side, const struct param_row *rows, int n);
void capsule_init(struct adapter *a, uint64_t seed); /* every parameter as PyTorch starts it */
void capsule_fill(const struct adapter *a, struct tensor *x, double v);
/* x [n,D] -> the second hidden layer [n,H]; then, with or without a mask of dropout, the third [n,D]. */
struct tensor *capsule_hidden(const struct adapter *a, int side, struct tensor *x);
struct tensor *capsule_out(const struct adapter *a, int side, struct tensor *hidden, struct tensor *keep);
struct tensor *capsule_bounded(struct tensor *raw, double lo, double hi);
/* A log variance within bounds that mean the same for every unit. */
struct tensor *capsule_log_var(const struct adapter *a, struct tensor *raw);
/* A mask on the tape: row i by the stream (seed, first_row + i, pass). */
struct tensor *capsule_mask(struct tape *t, int64_t n, int64_t hidden, double p, uint64_t seed, uint32_t pass,
                            int64_t first_row);

/* ensemble.c: several adapters of one method in one folder (adapter.json names them). */
extern const struct method method_ensemble;
int ensemble_fit(const struct set *s, const struct adapt_opt *o, const struct engine *e, const char *dir, bool force,
                 struct adapt_result *out);

/* adapter.c */
/* w: files to take the weights from, or NULL. adapter_make is the three in one, for methods that plan nothing. */
int adapter_new(struct adapter **a, const struct design *d, const struct engine *e);
int adapter_bind(struct adapter *a, const struct weight_files *w);
int adapter_make(struct adapter **a, const struct design *d, const struct engine *e, const struct weight_files *w);
int adapter_save(const struct adapter *a, const char *dir, const json_t *options);
/* Of this model and width, and with a distribution on this side (-1: whichever)? */
int adapter_check_set(const struct adapter *a, const struct set *s, int side, bool force);

/* vectors.c: rows of a set as the network gets them: unit length, mean removed, scaled; in the engine's numbers. */
int vectors_measure(struct adapter *a, const struct set *s, const struct set_pair *pairs, int64_t n);
int vectors_check(const struct set *s);
void vectors_put(const struct adapter *a, int side, const float *row, void *out, int64_t at);

/* shared.c: [n,n] 1 where a picture of the batch (a->row) and a text of another of its pairs belong together, on the
 * tape; NULL: nowhere. */
const uint8_t *batch_shared(const struct adapter *a, const struct set *s, struct tape *t, int64_t n);

/* predict.c: rows first .. first + n; scalar and more begin with the first of them. The set has been checked. */
int predict_rows(struct adapter *a, const struct set *s, int side, int64_t first, int64_t n,
                 const struct predict_opt *o, double *scalar, const struct predict_more *more);
/* sums over the passes of one number: the mean and its square, the variance and its square, 1/alpha, beta.
 */
struct pass_sums {
    double mean, mean2, var, var2, inverse, shape;
};
void predict_variances(const struct pass_sums *s, int64_t passes, bool released, double *aleatoric, double *epistemic);

/* fit_state.c: an unfinished fitting, kept in OUT.partial. The next batch is `step` of `epoch`; steps: done in all;
 * sum: of the losses of this epoch. */
struct fit_place {
    int64_t epoch, step, steps, best_epoch;
    double sum, best_loss;
};
struct optimizer;
struct fit_memory {
    struct params *params;
    struct optimizer *adam;
    void *best;
};
struct fit_state;
/* Fills memory, place and in->log when unfinished work stands beside dir; refuses (ERR_MISMATCH) that of another set or
 * other options; force throws it away. *st is set also on failure. */
int fit_state_open(struct fit_state **st, const char *dir, bool force, const struct fit_in *in, const struct engine *e,
                   const struct fit_memory *m, struct fit_place *at);
int fit_state_save(struct fit_state *st, const struct fit_memory *m, const struct fit_place *at);
int fit_state_close(struct fit_state **st, bool finished); /* finished: OUT stands, the folder goes */

#endif
