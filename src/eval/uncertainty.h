/* eval/uncertainty.h: what the uncertainty_*.c files share; the door's part is in eval.h. */
#ifndef EVAL_UNCERTAINTY_H
#define EVAL_UNCERTAINTY_H

#include "eval/eval_private.h"

/* ---- uncertainty_columns.c: what a gallery item looks like from the queries ------------------------------------ */

enum { UNC_NEAR = 10 }; /* neighbours in CSLS, hubness and density */

struct columns {
    int64_t m, n;      /* gallery items; queries added */
    double *top, *sum; /* [m] running ln sum exp(s / tau) */
    double *best;      /* [m, UNC_NEAR] largest cosines, unordered; or NULL */
    int64_t *hub;      /* [m] how many queries have the item among their nearest UNC_NEAR; with best */
};
int columns_open(struct columns *c, int64_t m, bool with_near);
void columns_close(struct columns *c);
void columns_add(struct columns *c, const double *s, double tau); /* one query's cosines [m] */
double columns_lse(const struct columns *c, int64_t j);           /* -inf without queries */
double columns_near(const struct columns *c, int64_t j);          /* mean of the nearest */

/* Squared Mahalanobis distance to rows, covariance shrunk by 0.1 towards its mean variance. */
struct mahalanobis {
    int64_t d;
    double *mean, *factor; /* [d], [d,d] lower Cholesky factor */
};
int mahalanobis_open(struct mahalanobis *m, const float *x, int64_t n, int64_t d);
void mahalanobis_close(struct mahalanobis *m);
double mahalanobis_distance(const struct mahalanobis *m, const float *x, double inverse, double *scratch);

/* ---- uncertainty_combined.c: logistic regression in few dimensions --------------------------------------------- */

struct logit {
    int64_t d;
    double mean[LOGISTIC_MAX], sd[LOGISTIC_MAX], w[LOGISTIC_MAX + 1], l2;
};
/* Standardises, then fits (logistic.c); rows with skip[i] set stay out (or
 * NULL). False: one class only, or no rows. */
bool logit_fit(struct logit *f, const double *x, const bool *y, const uint8_t *skip, int64_t n, int64_t d, double l2);
double logit_odds(const struct logit *f, const double *x);
/* The penalty of least log loss in five-fold cross-validation; odds [n]: each row's by the model that has not seen it.
 * False as logit_fit, or too few rows of one class. */
bool logit_fit_cv(struct logit *f, const double *x, const bool *y, int64_t n, int64_t d, double *odds);

/* ---- uncertainty_rows.c: every query's scores in one direction ------------------------------------------------- */

enum { UNC_OUT, UNC_TEST, UNC_VAL, UNC_REF }; /* what a query row is for */
enum {
    F_COSINE,
    F_ENTROPY,
    F_MARGIN,
    F_MAX_P,
    F_COLUMN,
    F_DUAL,
    F_INVERTED,
    F_COLUMN_REF,
    F_DUAL_REF,
    F_INVERTED_REF,
    N_FEATURES
};

/* A number taken off every item's score before a softmax, and its exponential: one exp for each item, none for each
 * query. */
struct tilt {
    double *shift, *factor; /* [g.n] factor = exp(low - shift) */
    double low;             /* the least shift */
};

struct unc_job {
    const struct set *set;
    int direction;
    struct rows q, g;
    uint8_t *role;             /* [q.n] */
    int64_t *label[2];         /* [q.n], [g.n] class, -1 none; NULL: hits by pair */
    int64_t *first, *positive; /* positives of query i: positive[first[i]] .. */
    const struct rows *ref;    /* the rows that reference queries are among, or NULL */
    const int64_t *ref_index;  /* [n_ref] */
    int64_t n_ref;
    double tau;
    const char *tau_from;
    struct tilt all_lse, ref_lse, near; /* near: over tau */
    double *e;                          /* [g.n] exp((s - top) / tau) of the current query */
    struct columns all, of_ref;
    int64_t n, n_without, *row; /* [n] test and validation queries that have a right answer */
    bool *hit;
    double *u[UNC_COMBINED]; /* [n] or NULL */
    double *feature;         /* [n, N_FEATURES] */
    uint8_t *mark;           /* [g.n] */
};
/* ln of the softmax probability of item `at` under scale * s - shift. */
double softmax_log_p(const double *s, int64_t m, double scale, const double *shift, int64_t at);
/* set, direction, role, label, tau (0: fit) are filled; ref too, or it is made of the rows of role UNC_REF. */
int unc_job_run(struct unc_job *j);
void unc_job_close(struct unc_job *j);

#endif
