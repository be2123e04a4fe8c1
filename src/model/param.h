/* model/param.h: inside room model. The parameter table and how a family binds its struct to it. */
#ifndef MODEL_PARAM_H
#define MODEL_PARAM_H

#include "model/model.h"

/* One weight. `shape`: one letter a dimension, resolved by struct param_sizes; the order of the fields is the order of
 * a row in a family's table. Rows that are parts of one tensor (q, k, v) stack along its first axis in the order given
 * by part. flat: the tensor is [first, rest]. */
struct param_row {
    const char *path; /* behind the prefix given to params_bind */
    size_t offset;    /* of the struct tensor in the struct given to params_bind */
    const char *shape;
    enum init_rule init;
    int part, parts; /* parts 0: a whole tensor */
    bool flat;
};
struct param_sizes {
    const char *letters;
    int64_t sizes[16];
    int64_t width, layers;
};

/* First pass: append the rows of one struct (a tower, one layer) to the list; shapes of the tensors are set. */
int params_bind(struct params *p, struct arena *a, const struct param_row *rows, int n_rows, void *base,
                const char *prefix, const struct param_sizes *sizes);
/* Second pass: lay out the slab and point every tensor into it. */
int params_allocate(struct params *p, enum dtype real);
void params_free(struct params *p);
void params_init(struct params *p, uint64_t seed);
/* Is every weight in the file, with its shape? Ask before params_allocate. Then params_load cannot miss one. */
int params_check(const struct params *p, const struct st_file *f);
int params_load(struct params *p, const struct st_file *f);
int params_save(const struct params *p, const char *path, enum dtype dtype);

#endif
