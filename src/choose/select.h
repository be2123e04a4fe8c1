/* choose/select.h: inside room choose. What select.c and select_typical.c share. */
#ifndef CHOOSE_SELECT_H
#define CHOOSE_SELECT_H

#include "choose/choose.h"

#define SELECT_SAME 1e-5 /* rows whose cosine lies above 1 - this are copies */

struct select_work {
    const struct select_in *in;
    const struct select_opt *opt;
    int64_t n, d;
    float *x;     /* [n,d] unit rows of the pool */
    float *known; /* [n_known,d] unit rows that are labelled or chosen */
    int64_t n_known;
    double *far;            /* [n] 1 - cosine to the nearest known row, infinite: there is none; NULL: not kept */
    struct select_row *out; /* [budget] */
    int64_t n_out;
};
const struct set_side *select_side(const struct set *s, int side);
int select_cosines(const struct select_work *w, enum select_id what, double *score);
int select_far(struct select_work *w); /* keeps w->far from here on */
bool select_is_copy(const struct select_work *w, int64_t i);
/* Chooses until the budget is spent: `first` if it is not negative, then always the farthest of those that may. */
int select_k_centre(struct select_work *w, const uint8_t *may, const double *score, int64_t first);
int select_typical(struct select_work *w);
/* Puts place i of the pool among the chosen. */
void select_take(struct select_work *w, int64_t i, double score);

#endif
