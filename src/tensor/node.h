/* tensor/node.h: what the op files of this room share; nobody else includes it.
 *
 * An op is one record: its name, a function that checks shapes and states the output's, a forward, a backward. A node
 * is one use of an op: inputs, output, saved buffers, attributes. node_run is the only place that looks at NULL,
 * poison, missing tapes and recording, so that an op file holds its formula and nothing else.
 *
 * Attributes are a struct of the op's own file; node_run copies it into the step arena when the node is kept. Rejected:
 * one union of all attributes, which would make every op file depend on every other. */
#ifndef TENSOR_NODE_H
#define TENSOR_NODE_H

#include "tensor/tensor.h"

struct op {
    const char *name;
    int (*shape)(struct node *n, struct tensor *out); /* checks the inputs, sets out->n_dims and out->shape */
    int (*forward)(struct node *n);
    int (*backward)(struct node *n, const void *dy); /* accumulates into node_grad of each input */
};

#define NODE_SAVED 4
struct node {
    const struct op *op;
    struct tape *tape;
    const struct engine *e;
    struct tensor **in;
    int n_in;
    struct tensor *out;
    void *attr;
    void *saved[NODE_SAVED]; /* live until backward when `record`, else until forward returns */
    bool record;
    struct node *prev;
};

/* Gradients given back during a backward pass, for reuse by size. */
enum { TAPE_SPARE = 32 };
struct spare_grad {
    void *p;
    int64_t n;
};

struct tape {
    const struct engine *e;
    struct tape_opt opt;
    struct arena *step, *scratch;
    size_t real; /* bytes of the engine's number */
    struct node *last;
    struct spare_grad spare[TAPE_SPARE];
    int n_spare;
    int error;
    char message[1024];
};

/* Inputs beyond n_in do not exist; a NULL among the first n_in gives NULL. attr may be NULL with size 0. */
struct tensor *node_run(const struct op *op, struct tensor *const *in, int n_in, void *attr, size_t attr_size);
/* The error of an op: "layer_norm: …". Returns the code. */
int node_fail(const struct node *n, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Keep the tape's first error; `code` with the text already set by err_set. Returns NULL, so that makers can return it.
 */
struct tensor *tape_poison(struct tape *t, int code);

/* Buffers of a node; NULL with the message set on failure. */
void *node_save(struct node *n, int slot, int64_t reals);
void *node_save_bytes(struct node *n, int slot, const void *from, size_t bytes); /* from NULL: uninitialised */
void *node_scratch(struct node *n, int64_t reals);                               /* until forward or backward returns */
/* Gradient array of an input, zeroed on first use; NULL when the input wants none (or memory ran out: the tape is
 * poisoned) */
void *node_grad(struct node *n, int i);
bool node_wants(const struct node *n, int i);

void *real_at(const struct node *n, const void *p, int64_t offset); /* p + offset elements */
struct tensor *tensor_view(struct tensor *x, int n_dims, const int64_t *shape, int64_t offset);
int64_t last_axis(const struct tensor *x);                            /* 1 for a scalar */
int shape_copy(struct tensor *out, int n_dims, const int64_t *shape); /* returns 0 */
int shape_like(struct tensor *out, const struct tensor *x);           /* returns 0 */
int axis_of(const struct tensor *x, int axis);                        /* -1 counts from the end; -1 when out of range */

/* "[4,7,48]" in a buffer that stays valid for the next seven calls of this thread */
const char *shape_text(const struct tensor *x);

/* A missing kernel is an answer, not a crash: "layer_norm: unsupported on engine cuda (no layer_norm_fwd)" */
#define NODE_NEEDS(n, slot)                                                                                            \
    do {                                                                                                               \
        if (!(n)->e->slot)                                                                                             \
            return node_fail((n), ERR_UNSUPPORTED, "unsupported on engine %s (no %s)", (n)->e->name, #slot);           \
    } while (0)
#define NODE_GOT(p)                                                                                                    \
    do {                                                                                                               \
        if (!(p))                                                                                                      \
            return ERR_MEMORY;                                                                                         \
    } while (0)

#endif
