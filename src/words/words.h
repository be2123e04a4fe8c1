/* words/words.h: the door of room words (level 5). Ideal words: what the vectors of combined concepts are made of.
 *
 * Trager et al., "Linear Spaces of Meanings", ICCV 2023 (arXiv 2302.14383). Rows carry a level of each of k factors
 * (colour: red; type: shirt). A cell is a combination of levels; its vector is the mean of its rows. The fit is
 * u(z) ~ u_0 + u(z_1) + ... + u(z_k); u(z_i), one for each level, are the ideal words and sum to zero over each factor.
 * Statistics in double, in a fixed order: equal bits for any number of threads. Includes base, io, kernel, space. */
#ifndef WORDS_WORDS_H
#define WORDS_WORDS_H

#include "base/base.h"
#include "io/io.h"
#include "space/space.h"

enum { WORDS_MAX_FACTORS = 16, WORDS_MAX_BLOCK_FACTORS = 6 };

/* ---- factors and cells (words_grid.c, words_table.c) ------------------------------------------------------------ */

struct words_factor {
    const char *name;
    int64_t n;
    const char *const *levels; /* [n]; the same word may be a level of two factors */
};

/* What a cell counts in the fit. EQUAL: 1, however many rows it has (0 when all its rows have weight 0); COUNT: the
 * sum of its rows' weights; SHRUNK: that sum over itself + 2, which trusts a cell of one row a third. */
enum words_weighting { WORDS_EQUAL, WORDS_COUNT, WORDS_SHRUNK };

struct words_grid {
    int n_factors;
    struct words_factor factor[WORDS_MAX_FACTORS];
    int64_t first[WORDS_MAX_FACTORS + 1]; /* level j of factor i is flat level first[i] + j */
    int64_t n_levels;                     /* of all factors */
    int64_t n_rows, n_left_out;           /* rows in the cells; rows of the table that were left out */
    int64_t *row;                         /* [n_rows] row of the vectors, cell after cell */
    double *share;                        /* [n_rows] of its cell; they sum to 1 in each cell */
    int64_t n_cells;
    int64_t *start; /* [n_cells + 1] into row */
    int32_t *code;  /* [n_cells, n_factors] levels; cells in the order of their levels */
    double *weight; /* [n_cells] >= 0 */
    double *alpha;  /* [n_levels] weights of the levels, 1 over each factor: what the ideal words' sum is weighted by */
    double possible; /* product of the n of all factors */
    bool complete;   /* every combination has a cell */
    bool product;    /* weight = product of the levels' alpha, so that means are the least squares (Prop. 4) */
    int64_t n_used;  /* cells of weight > 0 */
    int64_t rank;    /* of the design over those; identifiable when it is rank_full = 1 + sum (n_i - 1) */
    int64_t rank_full;
    int64_t components; /* groups of levels that share no cell; more than one: offsets between them are unknown */
    struct arena *arena;
};

/* Rows i = 0 .. n-1: vector row[i] (NULL: i) has level code[i k + f] of factor f and weight[i] >= 0 (NULL: 1). alpha
 * [sum of n_i] or NULL: weights of the levels, >= 0 and 1 over each factor; cells then weigh their product. Names are
 * copied. ERR_DATA when a code, weight or size is out of bounds, or no row has weight. */
struct words_rows {
    int n_factors;
    const struct words_factor *factor;
    int64_t n;
    const int64_t *row;
    const int32_t *code;
    const double *weight, *alpha;
    enum words_weighting weighting;
};
int words_grid_build(struct words_grid **g, const struct words_rows *r);
void words_grid_free(struct words_grid **g);

/* The same from a table. Column `row`, where there is one, is the row of the vectors (each once); otherwise line i is
 * row i and there must be n_vectors lines. Levels in the order of their first row. Refused by name: a column that is
 * absent, an empty cell (unless skip_empty), a factor of one level or of more than limit `levels`. */
struct words_columns {
    const char *columns;  /* "colour,type" */
    const char *weight;   /* column of row weights, or NULL */
    struct opt_list skip; /* rows with such a level are left out */
    bool skip_empty;      /* rows with an empty one, too */
    int64_t top;          /* keep the `top` most frequent levels of each factor, most frequent first; 0: all */
    enum words_weighting weighting;
};
int words_grid_read(struct words_grid **g, const struct table *t, int64_t n_vectors, const struct words_columns *o);

/* ---- the fit (words_fit.c) -------------------------------------------------------------------------------------- */

/* Rows of x that a grid names. unit: rows to length 1 before they are averaged (a zero row is ERR_NONFINITE);
 * unit_cells: the means too. */
struct words_in {
    const struct words_grid *grid;
    const float *x; /* [n, width] */
    int64_t n, width;
    bool unit, unit_cells;
};

/* Least squares, or the mean of the cells that have a level, which is the same on a complete grid and is not where
 * cells are missing. ridge: lambda of a penalty lambda (mean cell weight) sum |u(z_i)|^2; 0: none, unless the design
 * lacks rank, when least squares takes WORDS_SMALL_RIDGE and says so in words.ridge. */
enum words_method { WORDS_LEAST_SQUARES, WORDS_MARGINAL, N_WORDS_METHODS };
const char *words_method_name(enum words_method m);
#define WORDS_SMALL_RIDGE 1e-6
struct words_opt {
    enum words_method method;
    double ridge;
};

struct words {
    int n_factors;
    struct words_factor factor[WORDS_MAX_FACTORS];
    int64_t first[WORDS_MAX_FACTORS + 1];
    int64_t n_levels, width, n_cells;
    double *base;       /* [width] u_0 */
    double *word;       /* [n_levels, width]; sum over a factor of alpha u(z_i) = 0 */
    double *alpha;      /* [n_levels] */
    double *level_rows; /* [n_levels] rows that had the level */
    int32_t *cell;      /* [n_cells, n_factors] the cells that were there: others are extrapolated */
    enum words_method method;
    double ridge; /* used; 0: none */
    bool unit, unit_cells;
    int64_t n_rows, rank, rank_full, components;
    const char *side, *model, *fingerprint; /* "" when unknown */
    struct arena *arena;
};
int words_fit(struct words **w, const struct words_in *in, const struct words_opt *o);
void words_close(struct words **w);
/* out [width] = u_0 + sum of the words of code [n_factors]; a negative code leaves the factor out. */
void words_compose(const struct words *w, const int32_t *code, double *out);
int64_t words_level(const struct words *w, int factor, const char *level); /* -1 when absent */

/* words.json and words.safetensors in a folder (words_file.c), whole or absent; docs/formats.md. Vectors as float32. */
int words_write(const struct words *w, const char *dir, bool force);
int words_open(struct words **w, const char *dir);

/* ---- how well it fits (words_score.c, words_null.c, words_spaces.c) ------------------------------------------------
 */

struct words_factor_score {
    double energy;     /* sum alpha |u(z_i)|^2, the factor's mean square; on a complete grid a share of the variance */
    double share;      /* of the variance */
    double f;          /* (SS_i / df_i) / (SSE / df_e); NAN unless grid and weights are complete and equal */
    int64_t rank, k95; /* of the semantic space: numerical rank; axes for 95 % of its energy */
    double effective_rank;
};
struct words_block {
    unsigned factors; /* bit i: factor i takes part */
    double df, energy, share;
};
struct words_angle {
    int a, b;
    double max_cosine, mean_square_cosine; /* of the principal angles; NAN when a space is empty */
    double mean_abs_cosine;                /* of the ideal words of the one and of the other */
};
struct words_worst {
    int64_t cell;
    double distance;
};
enum { WORDS_N_WORST = 10 };
/* NAN: cannot be computed, words_scores_to_json says why. */
struct words_scores {
    int64_t n_cells, n_held_out; /* cells of weight > 0; those whose level words are known without them */
    double mean_square;          /* weighted mean over cells of |u - u~|^2 */
    double mean_distance, sd_distance, variance, mean_length_square, mean_pair_square;
    double r2, r2_adjusted, r2_held_out;
    double r2_null, sd_null, p_value, z; /* of the permutations; r2_null is exact where null_exact */
    bool null_exact;
    int64_t n_permutations;
    double *null_r2; /* [n_permutations] */
    struct words_factor_score factor[WORDS_MAX_FACTORS];
    int64_t n_blocks; /* 0: the grid has holes, or too many factors */
    struct words_block *block;
    int64_t n_angles;
    struct words_angle *angle;
    int64_t span_rank; /* numerical, of u_0 and all ideal words; rank_full when the spaces do not overlap (Prop. 6) */
    int64_t n_worst;
    struct words_worst worst[WORDS_N_WORST];
    struct arena *arena;
};
int words_score(struct words_scores **s, const struct words *w, const struct words_in *in, int64_t permutations,
                uint64_t seed);
void words_scores_free(struct words_scores **s);
json_t *words_scores_to_json(const struct words_scores *s, const struct words *w, const struct words_in *in);
/* "red, shirt" of a cell. */
void words_cell_name(const struct words_grid *g, int64_t cell, struct str *out);

#endif
