/* eval/eval.h: the door of room eval (level 4). Measures; every number with its bootstrap interval. Doubles throughout.
 * Formulas: docs/methods/measures.md. Registry: measure_list.h. */
#ifndef EVAL_EVAL_H
#define EVAL_EVAL_H

#include "base/base.h"
#include "space/space.h"

struct interval {
    double value, low, high;
}; /* 95 % bootstrap over queries (or rows), docs/methods/measures.md section 4; NaN: cannot be computed */

/* The registry of measures (measure_list.h): where each stands in the JSON, what it says, which way is better. */
struct eval_measure {
    const char *command; /* "eval retrieval" or "eval geometry" */
    const char *key;     /* "uniformity.cross": path in the command's object (in each direction's for retrieval) */
    const char *text;    /* one line for tables and figures */
    int better;          /* +1 higher, -1 lower, 0 neither */
};
const struct eval_measure *eval_measures(int *n);

struct eval_opt {
    int64_t bootstrap; /* resamples; 0 = 1000, negative: no intervals (low and high NaN) */
    uint64_t seed;
    double temperature;            /* tau of the softmax in calibration; 0: 1 / logit_scale of the set, or 0.01 */
    int64_t bins_width, bins_mass; /* 0 = 15 and 10 */
    bool no_fit;                   /* retrieval: no temperature is fitted; its two fields are NaN */
};

/* ---- retrieval (m_retrieval.c, m_calibration.c) --------------------------------------------------------------- */

/* Tie rule: strict rank = number of non-positive items better by more than 1e-9 than the best positive (ties count as
 * hits); the pessimistic rank counts all ties against. A query without a positive is left out and counted in n_without.
 */
#define EVAL_MAX_BINS 64
struct calibration_bin {
    int64_t n;
    double accuracy, confidence;
};
struct retrieval {
    int64_t n_queries, n_gallery, n_without, n_ties;
    struct interval recall[3];                            /* @1 @5 @10, strict rank */
    struct interval recall_pessimistic[3], recall_mid[3]; /* mid: rank = mean of strict and pessimistic */
    struct interval mrr, median_rank;                     /* ranks from 1 */
    struct interval mean_rank;
    double temperature; /* the tau used for the five below */
    struct interval ece, ece_equal_mass, brier, nll;
    struct interval fitted_temperature, ece_fitted; /* tau of least NLL (positives' total mass), and the ECE it gives */
    int64_t n_fit; /* queries the fit used: all, or a seeded sample when the scores would not fit in memory */
    int n_bins_width, n_bins_mass;
    struct calibration_bin bins_width[EVAL_MAX_BINS], bins_mass[EVAL_MAX_BINS];
    int64_t *queries;                /* [n_queries] row of each query in its side */
    int32_t *rank;                   /* [n_queries] strict rank from 0 */
    int32_t *rank_pessimistic;       /* [n_queries] */
    double *confidence;              /* [n_queries] largest softmax probability over the gallery */
    double *query_nll, *query_brier; /* [n_queries] */
};
/* direction 0: image to text, 1: text to image. Blocked: never the full matrix. */
int eval_retrieval(const struct set *s, int direction, const struct eval_opt *opt, struct retrieval *out);
void retrieval_free(struct retrieval *r);
json_t *retrieval_to_json(const struct retrieval *r); /* keys of cli.md: recall, recall_ci, mrr … */
/* Both directions, by name: {"image_to_text": r[0], "text_to_image": r[1]}. */
json_t *retrieval_both_to_json(const struct retrieval r[2]);

/* ---- geometry (m_geometry.c) ---------------------------------------------------------------------------------- */

struct histogram {
    int n_bins;
    double low, high;
    int64_t *count;
    int64_t total;
};
struct geometry {
    int64_t n_images, n_texts, n_pairs, width;
    struct interval alignment;             /* mean squared distance of the pairs; lower is better */
    struct interval relative_alignment[2]; /* pair minus nearest other item; [0] image anchor, [1] text anchor */
    struct interval uniformity_image, uniformity_text, uniformity_pooled, uniformity_cross; /* ln mean exp(-2 d^2) */
    struct interval centroid_distance,
        linear_separability; /* separability: accuracy of a logistic classifier on held-out 20 % */
    struct interval effective_rank_image, effective_rank_text, effective_rank_pooled;
    struct interval matched, unmatched, image_image, text_text; /* mean cosines */
    struct histogram hist_matched, hist_unmatched, hist_image, hist_text;
    int64_t n_spectrum;
    double *spectrum_image, *spectrum_text; /* singular values, descending [width] */
};
/* Pairwise measures stream in blocks; intervals of pairwise measures by bootstrap over rows (row sums kept, not pairs).
 */
int eval_geometry(const struct set *s, const struct eval_opt *opt, struct geometry *out);
void geometry_free(struct geometry *g);
json_t *geometry_to_json(const struct geometry *g);
/* ln of the mean of exp(-2 d^2) over the unordered pairs of n rows [n,d], streamed; memory n + a block. NaN for n < 2.
 */
int eval_uniformity(const float *x, int64_t n, int64_t d, const struct eval_opt *opt, struct interval *out);

/* ---- uncertainty (m_uncertainty.c, uncertainty_*.c; docs/methods/uncertainty.md) -------------------------------- */

/* Level b of B holds places floor(b n / B) .. floor((b + 1) n / B) - 1 of the queries sorted by u (ties by row). */
struct uncertainty_level {
    int64_t n;
    double uncertainty; /* mean u */
    struct interval recall;
};
struct uncertainty_levels {
    int n;
    struct uncertainty_level level[EVAL_MAX_BINS];
    struct interval spearman, r2, neg_s_r2; /* of level and recall; 0 where recall or u is constant */
};
struct uncertainty_point {
    double coverage;      /* share of the queries that are answered, surest first */
    struct interval risk; /* miss rate among them */
};
#define UNCERTAINTY_CURVE 100
struct uncertainty {
    int64_t n, n_hits;
    struct uncertainty_levels levels[2]; /* as many as asked for (5), and 10 */
    struct interval auroc, aurc, spearman_query;
    struct interval ece, brier; /* of p */
    int n_curve;
    struct uncertainty_point curve[UNCERTAINTY_CURVE];
};
/* u [n]: larger is less sure (ERR_NONFINITE names the first that is not finite). p [n]: probability of a hit, or NULL.
 * opt->bins_mass: levels, 0 = 5. n = 0: every number is missing. */
int eval_uncertainty(const double *u, const bool *hit, const double *p, int64_t n, const struct eval_opt *opt,
                     struct uncertainty *out);
json_t *uncertainty_to_json(const struct uncertainty *u);

/* ---- scores of doubt (uncertainty_scores.c, uncertainty_rows.c; formulas in docs/methods/uncertainty.md) --------- */

/* id, name, what it is. Larger is less sure. */
#define UNCERTAINTY_LIST(X)                                                                                            \
    X(UNC_COSINE, "cosine", "1 - cosine of the first answer")                                                          \
    X(UNC_MARGIN, "margin", "minus the lead of the first answer over the second")                                      \
    X(UNC_ENTROPY, "entropy", "entropy of the softmax over the gallery")                                               \
    X(UNC_MAX_P, "max-p", "1 - largest probability of that softmax")                                                   \
    X(UNC_CSLS, "csls", "1 - probability of the first answer when each item's nearness to all is taken off")           \
    X(UNC_DUAL, "dual", "1 - softmax over items times softmax over all queries")                                       \
    X(UNC_DUAL_NORM, "dual-norm", "the same product, made a probability over items again")                             \
    X(UNC_INVERTED, "inverted", "1 - softmax over all queries, made a probability over items")                         \
    X(UNC_DUAL_REF, "dual-ref", "dual with reference queries in place of the other test queries")                      \
    X(UNC_DUAL_NORM_REF, "dual-norm-ref", "dual-norm with reference queries")                                          \
    X(UNC_INVERTED_REF, "inverted-ref", "inverted with reference queries")                                             \
    X(UNC_KNN, "knn", "1 - mean cosine of the ten nearest queries of the reference")                                   \
    X(UNC_MAHALANOBIS, "mahalanobis", "squared Mahalanobis distance to the reference queries")                         \
    X(UNC_HUBNESS, "hubness", "how many queries have the first answer among their nearest ten")                        \
    X(UNC_NORM, "norm", "minus the length of the query before normalisation")                                          \
    X(UNC_COMBINED, "combined", "1 - p(hit) by logistic regression over the above, fitted on validation queries")      \
    X(UNC_COMBINED_REF, "combined-ref", "the same without other test queries")
enum uncertainty_id {
#define X(id, name, text) id,
    UNCERTAINTY_LIST(X)
#undef X
        N_UNCERTAINTIES
};
const char *uncertainty_name(int i); /* NULL outside the list */
const char *uncertainty_text(int i);

/* Somebody else's uncertainty (an adapter's variance), by row: [0] images, [1] texts. It is measured like the others
 * and is a feature of the combined scores. */
#define UNCERTAINTY_EXTRA 4
struct uncertainty_extra {
    const char *name, *text;
    const double *u[2], *held[2]; /* by row of a side; u NULL: it says nothing of it; held: of the reference set's rows */
};
struct uncertainty_in {
    const struct set *set;
    const char *const *split;    /* [images] train, val or test; NULL: every query is a test query */
    const char *const *label;    /* [images] class; a hit is then an answer of the query's class; NULL: pairs */
    const struct set *reference; /* in place of split: every second row calibrates, the others are reference queries */
    const char *const *reference_label;
    double temperature; /* 0: fitted on validation queries; without them the set's own, or 0.01 */
    const struct uncertainty_extra *extra;
    int n_extra;
};
struct uncertainty_score {
    const char *name, *text, *why; /* why: not computed, u is NULL */
    double *u, *p;                 /* [n]; p: probability of a hit by a map fitted on validation queries, or NULL */
};
struct uncertainty_scores {
    int64_t n, n_gallery, n_val, n_reference, n_without;
    double temperature;
    const char *temperature_from;
    int64_t *row; /* [n] of the test queries, ascending */
    bool *hit;    /* [n] the first answer is right; scores within 1e-9 are ties, in the query's favour */
    int n_scores;
    struct uncertainty_score score[N_UNCERTAINTIES + UNCERTAINTY_EXTRA];
};
/* direction 0: image to text, 1: text to image. A text's class and split are those of its first picture. */
int uncertainty_scores_open(struct uncertainty_scores *out, const struct uncertainty_in *in, int direction);
void uncertainty_scores_close(struct uncertainty_scores *s);

/* ---- all scores, both directions (uncertainty_both.c) ----------------------------------------------------------- */

struct uncertainty_both {
    const char *list, *hit_column; /* set before opening: "all", names with commas or NULL: all; told in the JSON */
    struct uncertainty_scores s[2];
    struct uncertainty *m[2]; /* [n_scores], of those that uncertainty_both_has */
};
int uncertainty_both_open(struct uncertainty_both *b, const struct uncertainty_in *in, const struct eval_opt *opt);
void uncertainty_both_close(struct uncertainty_both *b);
/* Whether score k was asked for; and is there too. */
bool uncertainty_both_asks(const struct uncertainty_both *b, int way, int k);
bool uncertainty_both_has(const struct uncertainty_both *b, int way, int k);
json_t *uncertainty_both_to_json(const struct uncertainty_both *b);
/* ERR_USAGE names the word of a list that is no score; more: further names with commas, or NULL. */
int uncertainty_check_list(const char *list, const char *more);
double uncertainty_recall(const struct uncertainty_scores *s); /* share of hits; NaN without queries */

/* ---- bootstrap (bootstrap.c) ---------------------------------------------------------------------------------- */

/* Percentile interval of the mean of values[n] (NaN entries skipped). Told to stop, these two come back with nothing;
 * ask signal_check. */
struct interval bootstrap_mean(const double *values, int64_t n, int64_t resamples, uint64_t seed);
/* General: stat(ctx, index[n]) for resampled indices; value is stat of the identity. */
struct interval bootstrap_stat(double (*stat)(void *ctx, const int64_t *index, int64_t n), void *ctx, int64_t n,
                               int64_t resamples, uint64_t seed);

/* Mean of n values and its interval by Student's t; no interval for n = 1. */
struct interval student_interval(const double *x, int64_t n);

/* ---- score to probability (calibrator.c), docs/methods/calibration.md ------------------------------------------ */

enum calibrator_kind { CALIBRATE_ISOTONIC, CALIBRATE_PLATT, CALIBRATE_BETA, CALIBRATE_TEMPERATURE, N_CALIBRATORS };
const char *calibrator_name(enum calibrator_kind kind);            /* "isotonic"; NULL outside the list */
int calibrator_find(const char *name, enum calibrator_kind *kind); /* ERR_USAGE when unknown */
struct calibrator {
    enum calibrator_kind kind;
    double a, b, c; /* platt: a, b; beta: a, b, c */
    int64_t n;
    double *x, *y; /* [n] isotonic: the ends of its steps, x ascending, y not falling */
};
struct calibrator_opt {
    double l2;   /* on the slopes of standardised scores */
    bool smooth; /* the targets of Lin, Lin and Weng 2007 */
};
/* x [n] scores (for beta and temperature: log odds), finite; opt NULL: l2 1e-6, smooth. */
int calibrator_fit(enum calibrator_kind kind, const double *x, const bool *match, int64_t n,
                   const struct calibrator_opt *opt, struct calibrator *out);
double calibrator_apply(const struct calibrator *c, double x); /* NaN in, NaN out */
void calibrator_free(struct calibrator *c);

/* ---- promises (conformal.c) ----------------------------------------------------------------------------------- */

double binomial_tail(int64_t k, int64_t n, double p);            /* P(Bin(n, p) <= k) */
double clopper_pearson_upper(int64_t k, int64_t n, double miss); /* the p where that is `miss` */
/* First hits of queries that no fit has seen; grid [n_grid] thresholds on the score, strict to loose, from elsewhere.
 */
struct risk_sample {
    int64_t n;
    double *score;
    bool *right;
    int n_grid;
    double *grid;
};
struct risk_choice {
    bool found;              /* false: no threshold keeps the promise; threshold is infinite, always unsure */
    double threshold, upper; /* upper: Clopper-Pearson bound on the error of the answered */
    int64_t n, n_least, n_answered, n_wrong; /* n_least: the fewest queries that could prove this risk */
};
/* The loosest threshold whose error among answered queries is at most risk, with this confidence over the sample. */
int risk_threshold(const struct risk_sample *r, double risk, double confidence, struct risk_choice *out);
int risk_grid(const double *score, int64_t n, int n_grid, double *grid); /* quantiles; the last is 0 */
/* Items that score at least *out hold a right one of the next query with this probability; -inf: n is too small. */
int conformal_threshold(const double *score, int64_t n, double coverage, double *out);

/* ---- p(match) of search hits (calibrator_match.c, calibrator_split.c, calibrator_json.c) ------------------------ */

enum { MATCH_COSINE = 1, MATCH_MARGIN = 2, MATCH_SOFTMAX = 4, MATCH_ALL = 7, N_MATCH_FEATURES = 3, MATCH_GRID = 50 };
#define MATCH_FEATURES_USUAL "cosine,margin,softmax"
/* MATCH_ bits out of names with commas; ERR_USAGE, what: "option --features", names the one that is unknown. */
int match_features_find(const char *list, const char *what, int *features);
/* Which rows a fit may see: 0 none, 1 fit, 2 thresholds (risk and coverage), 3 held out. Rows joined by a pair or by
 * nearly equal vectors (cosine above `same`) fall on one side. */
enum { ROLE_NONE, ROLE_FIT, ROLE_RISK, ROLE_TEST };
struct match_split {
    uint8_t *role[2]; /* [image.n], [text.n] */
    int64_t *twin[2]; /* first row with (nearly) the same vector */
    int64_t n_groups, largest;
    const char *grouping;
};
#define MATCH_SAME 0.99999 /* the usual `same` */
struct match_split_opt {
    double same, validation, risk; /* shares: of the groups for validation, and of these for the thresholds */
    uint64_t seed;
    const uint8_t *given; /* [image.n] ROLE_FIT for validation, ROLE_TEST, or ROLE_NONE; NULL: by share */
};
int match_split_open(const struct set *s, const struct match_split_opt *opt, struct match_split *out);
void match_split_close(struct match_split *p);

struct match_report { /* on held-out queries */
    int64_t n_queries, n_pairs, n_match;
    struct interval ece, ece_equal_mass, brier, nll, share;
    struct calibration_bin width[15], mass[15];
};
struct match_kept { /* a promise, tried on the held-out queries; confidence 0.9 */
    double asked;
    bool found;
    int64_t n, n_answered, n_wrong; /* coverage: n_wrong queries whose set holds no right one, n_answered all */
};
struct match_score { /* features, standardised and weighed, and the map */
    double mean[N_MATCH_FEATURES], scale[N_MATCH_FEATURES], weight[N_MATCH_FEATURES + 1];
    struct calibrator map;
};
struct match_model {
    bool fitted;
    enum calibrator_kind kind;
    double temperature;
    int features; /* bits MATCH_ */
    struct match_score first, later; /* for the first hit (and what ties with it), and for the rest of the list */
    int64_t n_gallery, n_fit_queries, n_fit_pairs, n_fit_matches;
    struct risk_sample risk;
    int64_t n_cover;
    double *cover; /* ln of the softmax mass of the best right answer, of each query of the thresholds' part */
    struct match_report report[2]; /* 0: every hit of the list, 1: first hits */
    struct match_kept risk_kept[3], cover_kept[2];
};
struct match_opt {
    enum calibrator_kind kind;
    int features;
    int64_t n_hits;
    struct calibrator_opt fit;
    int64_t bootstrap;
    uint64_t seed;
};
int match_fit(const struct set *s, int direction, const struct match_split *split, const struct match_opt *opt,
              struct match_model *out);
void match_free(struct match_model *m);
/* p(match) of every query of a set that has a partner, judged: report [2], every hit and first hits. Not fitted: zeros.
 * The set should not be the one that the model was fitted on. */
int match_judge_set(const struct match_model *m, const struct set *s, int direction, const struct match_opt *opt,
                    struct match_report report[2]);
/* {"image_to_text": {"hits", "first_hits"}, ...} of two such. */
json_t *match_reports_to_json(const struct match_report *const r[2]);
/* One query against a gallery [n,d]: p of each hit, and the softmax mass of every item in ln (mass [n], or NULL). */
int match_hits(const struct match_model *m, const float *query, const float *gallery, int64_t n, int64_t d,
               const struct hit *hits, int64_t n_hits, double *p, double *mass);

/* A calibration as a file (docs/formats.md). models[0]: image to text, [1]: text to image. */
struct calibration {
    char *model, *fingerprint, *data, *protocol, *grouping;
    int64_t width, n_hits, seed;
    struct match_model models[2];
};
/* Both directions; ERR_DATA when no pair lies in the validation part. */
int calibration_fit(const struct set *s, const struct match_split *split, const struct match_opt *opt,
                    struct calibration *out);
json_t *calibration_answer(const struct calibration *c, const struct match_split *split); /* and how the rows fell */
int calibration_write(const char *path, const struct calibration *c);
int calibration_read(const char *path, struct calibration *out);
json_t *calibration_to_json(const struct calibration *c);
void calibration_free(struct calibration *c);

/* ---- ranking candidate models without labels (rank.c, kendall.c; docs/methods/ranking.md) ----------------------- */

/* Kendall's tau-b of two lists (ERR_NONFINITE names the first entry that is not finite); p: of permutations, two
 * sided. tau NaN: one list orders nothing. */
struct kendall {
    int64_t n;
    double tau, p;
    bool exact; /* p: of all orders, not of a sample of 20,000 */
};
int eval_kendall(const double *a, const double *b, int64_t n, uint64_t seed, struct kendall *out);

/* id, name, which way is better, what it is. None looks at pairs. */
#define RANK_LIST(X)                                                                                                   \
    X(RANK_CYCLE, "cycle", 1, "share of rows that are the first answer of their first answer")                         \
    X(RANK_SPREAD, "spread", 1, "how many different first answers, as a share of how many there could be")             \
    X(RANK_INVERTED, "inverted", 1, "mean probability of the first answer; softmax over queries, then over items")     \
    X(RANK_MAX_P, "max-p", 1, "mean probability of the first answer; softmax over items")                              \
    X(RANK_P_MATCH, "p-match", 1, "mean calibrated probability that the first answer is right")                        \
    X(RANK_LEAD, "lead", 1, "mean lead of the first answer over the second, in deviations of the query's cosines")     \
    X(RANK_COSINE, "cosine", 1, "mean cosine of the first answer")                                                     \
    X(RANK_ADAPTER, "adapter", -1, "mean uncertainty of the pictures by an adapter (ProbVLM's own)")                   \
    X(RANK_ADAPTER_TEXT, "adapter-text", -1, "mean uncertainty of the texts by an adapter")                            \
    X(RANK_UNIFORMITY, "uniformity", -1, "uniformity, mean of both sides")                                             \
    X(RANK_EFFECTIVE, "effective-rank", 1, "effective rank, mean of both sides")                                       \
    X(RANK_CENTROID, "centroid", -1, "distance of the sides' means")                                                   \
    X(RANK_GAP, "gap", -1, "share of the variance that lies between the sides")
enum rank_id {
#define X(id, name, better, text) id,
    RANK_LIST(X)
#undef X
        N_RANKS
};
const char *rank_name(int i); /* NULL outside the list */
const char *rank_text(int i);
int rank_better(int i); /* +1: higher is better, -1: lower */

struct rank_in {
    const struct set *set;
    const struct calibration *calibration; /* or NULL */
    double temperature;                    /* 0: fitted to the other direction's answers */
    const double *uncertainty[2];          /* [image.n], [text.n] an adapter's, or NULL */
};
struct rank_scores {
    struct interval score[N_RANKS];
    struct interval way[N_RANKS][2]; /* image to text or pictures, text to image or texts; NaN: has no sides */
    const char *why[N_RANKS];        /* not computed, score is NaN */
    double temperature[2];
    const char *temperature_from[2];
};
int rank_set(const struct rank_in *in, const struct eval_opt *opt, struct rank_scores *out);
/* rank [n] from 1, best first, equals share their mean rank; values finite. */
void rank_order(const double *value, int better, int64_t n, double *rank);

/* ---- review (review.c): what a person should look at first ------------------------------------------------------ */

enum review_kind { REVIEW_DUPLICATES, REVIEW_MISMATCHES, REVIEW_AMBIGUOUS, N_REVIEWS };
const char *review_name(enum review_kind kind);
#define REVIEW_USUAL "duplicates,mismatches,ambiguous"
/* Bits 1 << kind out of names with commas; ERR_USAGE, what: "option --what", names the one that is unknown. */
int review_find(const char *list, const char *what, unsigned *kinds);
struct review_item {
    enum review_kind kind;
    bool text; /* duplicates: of captions; ambiguous: the caption is ambiguous */
    int64_t row,
        other; /* duplicates: two rows of the side; mismatches: image, text; ambiguous: row, its first answer */
    double score, cosine;
};
const char *review_side(const struct review_item *x); /* "image", "text", "pair" */
json_t *review_item_to_json(const struct review_item *x);
struct review_opt {
    int64_t n;          /* items of each kind */
    double temperature; /* 0: fitted */
    bool raw;           /* by raw cosine, the baseline */
};
/* Best candidates first; items: mem_free. */
int review_set(const struct set *s, unsigned kinds, const struct review_opt *opt, struct review_item **items,
               int64_t *n);

#endif
