/* words/words_private.h: what the files of room words share. Internal. */
#ifndef WORDS_PRIVATE_H
#define WORDS_PRIVATE_H

#include "words/words.h"

#include <math.h>

#define WORDS_NONE ((double)NAN)

/* Vector of a cell, in double: the weighted mean of its rows. */
int words_cell(const struct words_in *in, int64_t cell, double *out);

/* The equations of a fit: how sums become coefficients, once for all columns. */
struct words_design {
    const struct words_grid *grid;
    enum words_method method;
    bool closed;         /* means are the answer: complete and product weights, or the marginal method */
    bool projection;     /* coefficients . sums = explained sum of squares */
    double total;        /* of the cells' weights */
    double *level_total; /* [n_levels] weight of the cells that have the level */
    double *divide;      /* [n_levels] what a level's sum is divided by; 0: no cell speaks of it */
    double *normal;      /* [1 + n_levels]^2 D^T W D; NULL when projection and closed */
    double *penalty;     /* [1 + n_levels]^2 what was added to make it definite; NULL when closed */
    double *chol;        /* its Cholesky factor; NULL when closed */
    double ridge;        /* absolute; 0: none */
    double asked;        /* as in words.ridge */
};
int words_design_open(struct words_design *d, const struct words_grid *g, const struct words_opt *o);
void words_design_close(struct words_design *d);
/* The weight with which a cell counts for its level of factor i. */
double words_level_weight(const struct words_design *d, int64_t cell, int i);
/* Sums over the cells of weight > 0, of their vectors minus `shift`, a vector of the cloud: what a fit needs to know.
 * Row 0 of s is the sum of all, row 1 + l that of flat level l. [1 + n_levels, width] */
struct words_sums {
    double *shift, *s;
    double square;        /* sum of weight |u - shift|^2 */
    double length_square; /* sum of weight |u|^2 */
};
int words_sums_make(struct words_sums *t, const struct words_design *d, const struct words_in *in);
void words_sums_free(struct words_sums *t);

/* b [1 + n_levels, width]: sums in, coefficients out. */
void words_design_solve(const struct words_design *d, int64_t width, double *b);
/* Explained sum of squares about `shift` of coefficients b with sums s; scratch [1 + n_levels, width]. */
double words_design_explained(const struct words_design *d, int64_t width, const double *s, const double *b,
                              double *scratch);
/* h [n_cells]: leverages. Not for the marginal method with holes. */
int words_design_leverage(const struct words_design *d, double *h);

int words_null(struct words_scores *s, const struct words_design *d, const struct words_in *in, const double *mean,
               int64_t permutations, uint64_t seed);
int words_blocks(struct words_scores *s, const struct words_in *in, const double *mean, double variance);
int words_spaces(struct words_scores *s, const struct words *w);
double words_dot(const double *a, const double *b, int64_t n); /* one fixed order */

static inline bool words_closed(const struct words_grid *g)
{
    return g->complete && g->product;
}

#endif
