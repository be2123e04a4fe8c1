/* adapt/tta.h: inside method tta: what its two files share. */
#ifndef ADAPT_TTA_H
#define ADAPT_TTA_H

#include "adapt/adapter.h"

struct tta {
    int64_t passes;
    double crop, flip, words;           /* least share of a picture's area; chances */
    double noise, drop;                 /* in spreads; chance that a dimension is set to 0 */
    double spread[2];                   /* mean distance of an item to its nearest ten on its side */
    double tau;                         /* of the answers */
    const char *perturb, *with, *model; /* with: what stands for a masked word, "": nothing; model: "" or a folder */
    const char *said[2];
};

/* One item's passes: rows [passes,D] of unit length; and what is put where. */
struct tta_out {
    int64_t passes;
    double *scalar;
    const struct predict_more *more;
};

/* tta_inputs.c: the pictures or words of a side perturbed and encoded again by a model (already known to be the set's).
 * from: where pictures and captions are. */
int tta_inputs(const struct adapter *a, struct model *m, const struct set *s, int side, const struct predict_opt *o,
               const struct tta_out *out);
/* Whether the set, or the data of o, says where this side's inputs are. */
bool tta_has_inputs(const struct set *s, int side, const struct predict_opt *o);
/* Variances over the passes x [passes,D] of row i. */
void tta_put(const struct adapter *a, const struct set *s, int side, int64_t row, const float *x,
             const struct tta_out *out);

#endif
