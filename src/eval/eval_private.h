/* eval/eval_private.h: what the files of room eval share and nobody else sees. */
#ifndef EVAL_EVAL_PRIVATE_H
#define EVAL_EVAL_PRIVATE_H

#include "eval/eval.h"

/* Up to this many rows on the longer side all scores are computed in double; beyond it in fp32, and what decides a rank
 * is computed again in double. */
#define EXACT_ROWS 4096
/* Scores that differ by less are equal: ranks and hits. */
#define EVAL_TIE 1e-9

/* ---- scores.c: blocks of cosines ------------------------------------------------------------------------------ */

struct rows {
    const float *x; /* [n,d], any length */
    int64_t n, d;
    double *inverse; /* [n] 1 / length */
};
int rows_open(struct rows *r, const float *x, int64_t n, int64_t d,
              const char *side); /* ERR_NONFINITE names side and row */
void rows_close(struct rows *r);
double rows_cosine(const struct rows *a, int64_t i, const struct rows *b, int64_t j); /* the double truth */

struct scorer {
    bool exact;
    int64_t d, max_a, max_b;
    float *fa, *fb, *fs;
    double *da, *db;
    int64_t b_at, b_n; /* the block of the right side that lies in fb or db */
    const struct rows *b_of;
};
int scorer_open(struct scorer *s, bool exact, int64_t d, int64_t max_a, int64_t max_b);
void scorer_close(struct scorer *s);
/* Loads n rows as the left block: i0 .. i0+n of a, or index[i0] … when index is given. */
void scorer_left(struct scorer *s, const struct rows *a, const int64_t *index, int64_t i0, int64_t n);
/* out [na, ld] gets the cosines of the loaded left block (na rows) and rows j0 .. j0+nb of b. */
void scorer_block(struct scorer *s, int64_t na, const struct rows *b, int64_t j0, int64_t nb, double *out, int64_t ld);

/* Rows of cosines, one query at a time against all of b: at most 128 queries and 16 M scores lie in memory. `each` may
 * change s. */
struct rows_sweep {
    const struct rows *a, *b;
    const int64_t *index; /* [n] rows of a, or NULL: 0 .. n-1 */
    int64_t n;
    const char *label;
    int (*each)(void *ctx, int64_t i, double *s); /* i: place in index; s [b->n] */
    void *ctx;
};
int rows_sweep(const struct rows_sweep *w);

/* ---- uncertainty_columns.c ------------------------------------------------------------------------------------ */

/* The k largest of s[n] into value [k] and index [k] (or NULL), descending; ties to the lower index. Returns how many:
 * those that keep[] (or NULL) does not name, and index `but`, are passed over. By insertion: for small k. */
int64_t top_k(const double *s, int64_t n, int64_t k, const uint8_t *keep, int64_t but, double *value, int64_t *index);

/* ---- bootstrap.c ---------------------------------------------------------------------------------------------- */

int64_t bootstrap_resamples(const struct eval_opt *opt); /* 1000 for 0, 0 for negative */
/* How often each of n rows is drawn in one resample of n. */
void bootstrap_counts(struct rng *r, int64_t n, uint32_t *counts);
/* 2.5 and 97.5 % of the finite ones among v[n]; v is sorted in place. NaN when there are none or the value is NaN. */
struct interval bootstrap_interval(double value, double *v, int64_t n);
/* A share of n that is 0 or 1 is the same in every resample, which says nothing about the next sample: that end becomes
 * the exact one for n successes (Clopper and Pearson 1934). */
void bootstrap_widen_share(struct interval *i, int64_t n);

/* ---- m_calibration.c ------------------------------------------------------------------------------------------ */

/* Expected calibration error. bin_of [n]: the bin of each query (equal width: or NULL). order: rows by ascending
 * confidence. */
double ece_equal_width(const double *confidence, const bool *correct, int64_t n, int n_bins,
                       struct calibration_bin *bins, uint8_t *bin_of);
double ece_equal_mass(const double *confidence, const bool *correct, const int64_t *order, int64_t n, int n_bins,
                      struct calibration_bin *bins, uint8_t *bin_of);

/* Resamples of an error whose bins stay as bin_of says (m_calibration.c, "Interval"). Fill bin_of after opening. */
struct ece_draws {
    const double *confidence;
    const bool *correct;
    int64_t n, n_draws;
    int n_bins;
    uint8_t *bin_of;           /* [n] */
    double gap[EVAL_MAX_BINS]; /* by bin, sum of (correct - confidence) / n */
    double *linear, *noise;    /* [resamples] */
    double sum;                /* of the resampled errors */
};
int ece_draws_open(struct ece_draws *e, const double *confidence, const bool *correct, int64_t n, int n_bins,
                   int64_t resamples);
void ece_draws_close(struct ece_draws *e);
void ece_draws_add(struct ece_draws *e, const uint32_t *counts); /* at most `resamples` times */
struct interval ece_interval(struct ece_draws *e, double value);

/* Scores kept for the temperature fit: row q is s - max(s) over the gallery, positives marked. */
struct fit_rows {
    int64_t n, m;  /* queries kept, gallery */
    float *gap;    /* [n,m] s - max */
    uint8_t *hit;  /* [n,m] is a positive */
    bool *correct; /* [n] */
    int64_t filled;
};
int fit_temperature(const struct fit_rows *f, int n_bins, int64_t resamples, uint64_t seed,
                    struct interval *temperature, struct interval *ece);

/* ---- pairwise.c: sums over all pairs of rows, streamed -------------------------------------------------------- */

/* h = exp(-2 d^2) = exp(4 cos - 4). Within one side: unordered pairs, only [0] is used. Across: a is [0], b is [1]. */
struct pair_sums {
    int64_t count;               /* pairs */
    double h, c;                 /* sums of h and of the cosine */
    double *row_h[2], *row_c[2]; /* [n] the same by row, the row's partners only */
    struct histogram *hist;      /* cosines, or NULL; across: without the positives */
    /* Across only: positives, and for each row the best cosine among the others. */
    const int64_t *first, *positive; /* by row of a, ascending */
    double positive_c, *row_positive_c[2], *best[2];
};
int pair_sums_open(struct pair_sums *p, int64_t n_a, int64_t n_b); /* n_b 0: within one side */
void pair_sums_close(struct pair_sums *p);
int pairs_within(struct pair_sums *p, const struct rows *a, const char *label);
int pairs_across(struct pair_sums *p, const struct rows *a, const struct rows *b, const char *label);
int histogram_open(struct histogram *h);
void histogram_add(struct histogram *h, double x);

/* ---- separability.c ------------------------------------------------------------------------------------------- */

int eval_separability(const struct rows *a, const struct rows *b, const struct eval_opt *opt, struct interval *out);

/* ---- m_spectrum.c --------------------------------------------------------------------------------------------- */

/* Spectrum and effective rank of the rows of up to two sides; spectrum [d] may be NULL. influence[k] [n of side k] gets
 * each row's first-order effect on the effective rank. */
int eval_spectrum(const struct rows *const *sides, int n_sides, double *rank, double *const *influence,
                  double *spectrum);

/* ---- result.c ------------------------------------------------------------------------------------------------- */

/* o[key] = x, or null and "key: why" in o["why"]. */
int result_put(json_t *o, const char *key, double x, const char *why);
json_t *result_bounds(struct interval i); /* [low, high] */

/* ---- logistic.c ----------------------------------------------------------------------------------------------- */

enum { LOGISTIC_MAX = 32 };
double logistic(double x);
double softplus(double x); /* ln(1 + exp(x)) */
/* Rows of a logistic regression, x [n,p]. mean and sd [p]: columns are standardised by them, or NULL; skip [n]: rows
 * that stay out, or NULL. */
struct logistic_rows {
    const double *x;
    const bool *y;
    const uint8_t *skip;
    int64_t n;
    int p;
    const double *mean, *sd;
};
/* w [p+1]: slopes, then the constant, of least mean log loss + l2 |slopes|^2 / 2. smooth: softened targets; they are
 * taken in any case where there is one class only. At least one row. */
void logistic_fit(const struct logistic_rows *r, double l2, bool smooth, double *w);

/* ---- calibrator_match.c: what is known of one hit before the map ---------------------------------------------- */

/* Scores that differ by less are those of one item twice: wider than EVAL_TIE, for one picture encoded in two batches
 * differs in its last digits. It decides who shares softmax mass, not what is a hit: that the twins say. */
#define MATCH_TIE 1e-6
struct gallery_view {    /* all scores of one query */
    double best, second; /* second: the best that is no tie of the first; -inf: none */
    double ties, rest;   /* sums of exp((s - best) / temperature) over the first's ties and over the others */
};
double match_p(const struct match_model *m, const double *feature);
struct gallery_view match_view(const double *s, int64_t n, double temperature);
/* What is known of the item that scores c: feature [N_MATCH_FEATURES], in the order of the MATCH_ bits. */
void match_features(const struct gallery_view *v, const double *s, int64_t n, double temperature, double c,
                    double *feature);
/* Judges p [n] of pairs whose query is owner[i] (ascending, 0 to n_queries - 1). */
int match_judge(const double *p, const bool *match, const int64_t *owner, int64_t n, int64_t n_queries,
                int64_t resamples, uint64_t seed, struct match_report *out);

#endif
