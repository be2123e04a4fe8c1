/* space/space.h: the door of room space (level 3). What one does with embeddings: store, search, shape of the cloud.
 * Works on plain float arrays; statistics in double. Includes base, io, kernel. */
#ifndef SPACE_SPACE_H
#define SPACE_SPACE_H

#include "base/base.h"
#include "io/io.h"

/* ---- sets (set.c): a folder anybody can open without us, docs/formats.md -------------------------------------- */

struct set_pair {
    int64_t image, text;
};
/* What the model's last product of a side was given (set_features.c); x is NULL in a set without. Not checked for
 * numbers that are not finite: who reads them does, and asks npy_check of the files at the end. */
struct set_features {
    int64_t width;
    const float *x;       /* [n, width] */
    const float *lengths; /* [n] of the embeddings before unit length; NULL: the rows have their own */
    bool bias;
    int64_t n_weights; /* of the product, biases included */
    double square;     /* sum of their squares; 0: unknown */
    struct npy file[2];
    float *copy[2]; /* when the file is not float32 */
};
struct set_side {
    int64_t n;
    float *x;
    struct table meta;
    bool has_meta;
    struct set_features features;
}; /* x [n, width] fp32, rows of unit length if set.unit */
struct set {
    char *path;
    int64_t width;
    bool unit;
    struct set_side image, text;
    int64_t n_pairs;
    struct set_pair *pairs; /* sorted by image, then text; many to many */
    const char *model,
        *fingerprint; /* name and SHA-256 of weights + preprocessing + tokenizer; "" when unknown (plain npy) */
    const char *data, *protocol; /* dataset spec and what was encoded; "" when unknown */
    double logit_scale;          /* the model's exp(logit_scale); 0 when unknown */
    json_t *json;                /* set.json as read */
    struct arena *arena;
};
/* A folder of clip-retrieval (img_emb/, text_emb/, metadata/) is a set too: row i of both sides is one pair, flat
 * metadata become columns, and `protocol` says what was left out. */
int set_open(struct set **s, const char *dir);
/* Two npy files in a set's place; pairs: CSV with image_row,text_row, or NULL: row i with row i. */
int set_open_npy(struct set **s, const char *images, const char *texts, const char *pairs);
/* Where set.json beside the two files (meridian.json above img_emb/) names two fingerprints, they are refused
 * (ERR_MISMATCH, both named). With mix they are taken, and model, fingerprint and json say so. */
int set_open_npy_mixed(struct set **s, const char *images, const char *texts, const char *pairs, bool mix);
void set_close(struct set **s);
/* Of a softmax over cosines: 1 / logit_scale, or 0.01, CLIP's usual one, where the model is unknown. */
double set_temperature(const struct set *s);
/* By image, then text, each once; returns how many stay. */
int64_t set_pairs_sort(struct set_pair *pairs, int64_t n);
/* Refuses (ERR_MISMATCH, both named) when two known fingerprints differ. */
int set_check_fingerprint(const struct set *s, const char *model, const char *fingerprint);

/* Writing: rows in order, whole or absent. Non-finite rows are refused (ERR_NONFINITE, side and row named). */
struct set_info {
    const char *model, *fingerprint, *data, *protocol, *dtype; /* dtype of the npy files: "float32" or "float16" */
    double logit_scale;
    int64_t width;
    bool unit;
    struct set_features features[2]; /* width 0: none. Else width, bias, n_weights, square of each side */
};
struct set_table {
    int n_cols;
    const char *const *cols, *const *cells;
    int64_t n_rows;
}; /* cells [n_rows, n_cols]; columns "row" and, of texts, "image_row" are left out: the writer makes its own */
struct set_writer;
int set_writer_open(struct set_writer **w, const char *dir, bool force, const struct set_info *info);
int set_writer_images(struct set_writer *w, const float *x, int64_t n);
int set_writer_texts(struct set_writer *w, const float *x, int64_t n);
/* Where set_info announced features: as many rows as vectors. x [n, width], lengths [n]. */
int set_writer_features(struct set_writer *w, int side, const float *x, const float *lengths, int64_t n);
/* One more file of the set, not among the checksums (failed.tsv). */
int set_writer_file(struct set_writer *w, const char *name, const void *p, size_t n);
int set_writer_commit(struct set_writer **w, const struct set_table *images, const struct set_table *texts,
                      const struct set_pair *pairs, int64_t n_pairs,
                      const json_t *extra); /* extra: more keys of set.json, or NULL */
void set_writer_abort(struct set_writer **w);

/* An open set written again; dtype: "float32" or "float16". clip-retrieval's layout has a row for each pair, or for
 * each row of the only side. */
int set_write(const struct set *s, const char *dir, const char *dtype, bool force);
int set_write_clip_retrieval(const struct set *s, const char *dir, const char *dtype, bool force);

/* ---- parts (parts.c): train, validation, test ----------------------------------------------------------------- */

enum set_part { PART_NONE, PART_TRAIN, PART_VALIDATION, PART_TEST };
/* train, restval; val, valid, validation, dev; test. Other words: none. */
enum set_part set_part_of(const char *word);
/* A list of picture rows in a file, one a line, or a table with the column image_row or row: marks[row] = mark.
 * ERR_DATA where a row is marked otherwise already. marks [n]. */
int set_mark_rows(const char *path, uint8_t mark, int64_t n, uint8_t *marks);

/* Which pairs are trained on and which judge (set_split.c): by lists of picture rows, by a column of the pictures'
 * table, or a share drawn at random; pairs that share an item stay together. Lists sorted as the set's. */
struct set_split_opt {
    const char *column, *train_rows, *validation_rows; /* NULL: not given */
    double share;                                      /* of the pairs, when neither is */
    uint64_t seed;
};
struct set_split {
    struct set_pair *train, *validation;
    int64_t n_train, n_validation;
};
int set_split_make(struct set_split *p, const struct set *s, const struct set_split_opt *o);
void set_split_free(struct set_split *p);

/* ---- search (topk.c): exact, blocked; ties to the lower row; non-finite scores never rank ----------------------- */

struct hit {
    int64_t row;
    float score;
};
/* hits [n_queries, k], best first; rows missing when n < k have row -1. queries [n_queries, d], bank [n, d]. */
int space_topk(const float *queries, int64_t n_queries, const float *bank, int64_t n, int64_t d, int64_t k,
               struct hit *hits);

/* ---- shape (sphere.c, pca.c) ---------------------------------------------------------------------------------- */

/* All in double, streamed in blocks of rows; x [n,d] is normalised to unit length first where a row is not. */
int space_normalize(float *x, int64_t n, int64_t d,
                    int64_t *first_zero_row); /* ERR_NONFINITE for a zero or non-finite row */
int space_mean(const float *x, int64_t n, int64_t d, double *mean);
double space_dot(const float *a, const float *b, int64_t d); /* in double, one fixed order */
/* inverse [n]: 1 / length of each row. ERR_NONFINITE for a zero or non-finite row, its index in first_bad_row (or
 * NULL). */
int space_inverse_norms(const float *x, int64_t n, int64_t d, double *inverse, int64_t *first_bad_row);
/* Rows i0 .. i0+n of x, each of unit length, minus mean, in double: out [n,d]. */
int space_center_rows(const float *x, int64_t i0, int64_t n, int64_t d, const double *mean, double *out);
/* Mean [d] and scatter matrix sum (x - mean)(x - mean)^T [d,d] of the unit rows; n = 0 gives zeros. */
int space_scatter(const float *x, int64_t n, int64_t d, double *mean, double *scatter);
/* Eigenvectors of a scatter matrix of n rows, in its rows, descending, largest entry positive; variances [d] =
 * eigenvalues / (n - 1). */
int space_eigen(int64_t n, int64_t d, double *scatter, double *variances);
/* First k principal axes of rows (mean removed): axes [k,d], variances [k], mean [d]. Via LAPACK ssyevd/dsyevd of the
 * covariance. */
int space_pca(const float *x, int64_t n, int64_t d, int64_t k, double *mean, double *axes, double *variances);
/* values [d]: singular values. exp(entropy of the normalised singular values) (Roy and Vetterli 2007). */
double space_effective_rank(const double *values, int64_t d);

#endif
