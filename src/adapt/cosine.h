/* adapt/cosine.h: inside room adapt. Rows as normal distributions with independent numbers, and their cosines. */
#ifndef ADAPT_COSINE_H
#define ADAPT_COSINE_H

#include "adapt/adapt.h"

struct cloud {
    int64_t n, d;
    double *mean, *var;             /* [n,d] */
    double *square, *second, *norm; /* [n,d] mean^2; [n,d] mean^2 + var; [n] its sum: cloud_settle */
};
int cloud_alloc(struct cloud *c, int64_t n, int64_t d);
void cloud_settle(struct cloud *c);
/* What an adapter says of a side. The caller closes c whatever comes back. */
int cloud_open(struct cloud *c, struct adapter *a, const struct set *s, int side, const struct predict_opt *o);
void cloud_close(struct cloud *c);
/* mean, var [k, y->n]: moments of the cosines of rows i0 .. i0 + k of x with all of y. */
void cloud_cosine(const struct cloud *x, int64_t i0, int64_t k, const struct cloud *y, double *mean, double *var);
/* mean [m] of cosines becomes the probit softmax of scale times them. */
void probit_softmax(int64_t m, double scale, double *mean, const double *var);
/* The set's logit scale, 100 where it is not known. */
double adapt_scale(const struct set *s);

#endif
