/* tensor/op_case.h: the declarations behind the op table; nobody outside this room includes it.
 *
 * An entry is an op (or one of its options) with a generator of random shapes and a builder. The values are drawn by
 * the table according to each input's domain, so that no case sits on a kink: relu at 0, a clamp's edge, equal maxima.
 */
#ifndef TENSOR_OP_CASE_H
#define TENSOR_OP_CASE_H

#include "tensor/tensor.h"

enum domain {
    DOM_NORMAL,      /* standard normal */
    DOM_WEIGHT,      /* normal over the root of the last axis, as weights are: products stay of order one */
    DOM_POSITIVE,    /* [0.3, 3] */
    DOM_AWAY,        /* 0.1 <= |x| <= 2 */
    DOM_SPREAD,      /* a shuffled grid of step 0.11: no two equal */
    DOM_SPREAD_HALF, /* the same, half a step aside: never equal to a DOM_SPREAD */
    DOM_UNIT,        /* rows of unit length */
    DOM_ROTATED,     /* rows of unit length at an angle of c->angle[0..1] from the rows of input 0 */
    DOM_SIMPLEX,     /* rows positive with sum 1 */
    DOM_FRACTION,    /* [0.1, 0.9] */
};

#define CASE_INPUTS 5
struct case_input {
    int n_dims;
    int64_t shape[T_MAX_DIMS];
    enum domain domain;
    bool constant; /* takes no gradient */
};

struct op_case {
    int n_in;
    struct case_input in[CASE_INPUTS];
    int param; /* of the entry: which activation … */
    int64_t i[6];
    double f[2], angle[2];
    int32_t *ids;
    uint8_t *keep;
    uint64_t seed;
    double flop; /* of forward; set for the speed case */
    bool big;    /* the speed case */
    bool wide;   /* axes beyond a vector register, for the comparison of engines */
    struct arena *arena;
};

struct op_entry {
    const char *name;
    void (*make)(struct op_case *c, struct rng *r);
    struct tensor *(*build)(struct tape *t, struct tensor **in, const struct op_case *c);
    int param;
};

struct op_group {
    const struct op_entry *entries;
    int n;
};
extern const struct op_group op_group_matmul, op_group_norm, op_group_point, op_group_softmax, op_group_shape,
    op_group_picture;

/* Append an input; returns it. */
struct case_input *case_add(struct op_case *c, enum domain domain, int n_dims, const int64_t *shape);
int64_t case_length(struct rng *r, int64_t lo, int64_t hi); /* both ends included */
/* An axis: `big` in the speed case, lo to hi else, and far longer when c->wide */
int64_t case_axis(const struct op_case *c, struct rng *r, int64_t lo, int64_t hi, int64_t big);
bool case_coin(struct rng *r);
int32_t *case_ids(struct op_case *c, struct rng *r, int64_t n, int64_t below); /* into c->ids */
int64_t case_count(const struct case_input *in);

/* A tensor by value for the ops that take a struct of parameters: a view of x in all respects. */
struct tensor case_view(struct tensor *x);

#endif
