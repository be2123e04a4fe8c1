/* adapt/laplace.h: inside room adapt. A normal posterior over the weights of a model's last product, by a Kronecker
 * product of two small matrices. laplace.c says what each is. */
#ifndef ADAPT_LAPLACE_H
#define ADAPT_LAPLACE_H

#include "base/base.h"

/* Rows of one side and what they are compared with, in double. */
struct curvature {
    int64_t n, m, d;
    const double *u, *length; /* [n,d] unit rows; [n] of the embeddings before */
    const double *y;          /* [m,d] the other side's unit rows */
    double scale, bias;       /* of the logits: scale u.y + bias */
    bool sigmoid;             /* SigLIP's loss; else InfoNCE's softmax over the m */
    bool both;                /* softmax: half of it, and half of where the rows are the answers to choose from */
};
/* h [d,d] += the rows' Hessians with respect to the embedding. */
int curvature_add(const struct curvature *c, double *h);

/* The posterior of one side's weights [E,F]. Eigenvectors in rows. */
struct posterior {
    int64_t f, e;
    double n, prior;
    bool exact;      /* (n A x B + prior)^-1 itself; else the product of two factors that is published */
    double *qa, *wa; /* [f,f], [f] */
    double *qb, *wb; /* [e,e], [e] */
    double *square;  /* [e,e] of qb's entries */
    double *v;       /* [f,e] variance of the weights along the two eigenvectors */
};
/* Takes the factors a [f,f] and b [e,e] (symmetric; overwritten) apart; then n, prior and exact are set and v filled.
 */
int posterior_open(struct posterior *p, struct arena *memory, int64_t f, int64_t e, double *a, double *b);
void posterior_fill(struct posterior *p, double n, double prior, bool exact);
/* The precision under which these weights are likeliest; square: the sum of their squares. */
double posterior_best_prior(const struct posterior *p, double n, double square);
/* out [k,e]: variance of every number of the embeddings of phi [k,f]. */
int posterior_variance(const struct posterior *p, int64_t k, const double *phi, double *out);
/* out [e,f]: weights minus their mean, drawn. */
int posterior_draw(const struct posterior *p, struct rng *r, double *out);

#endif
