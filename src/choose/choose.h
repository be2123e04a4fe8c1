/* choose/choose.h: the door of room choose (level 6). Which items of an unlabelled pool to label next, and whether
 * choosing would have paid. docs/methods/active.md. */
#ifndef CHOOSE_CHOOSE_H
#define CHOOSE_CHOOSE_H

#include "adapt/adapt.h"
#include "heads/heads.h"

/* ---- which rows to label next (select.c, select_typical.c) ---- */

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

/* ---- active learning on a set whose labels are known (simulate.c) ---- */

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

#endif
