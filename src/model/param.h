/* model/param.h: inside room model. The parameter table and how a family binds its struct to it. */
#ifndef MODEL_PARAM_H
#define MODEL_PARAM_H

#include "model/model.h"

/* Standard deviations of INIT_NORMAL, resolved from the sizes of the scope the row lies in (OpenAI's rule). */
enum init_std {
    STD_NONE,
    STD_SMALL /* .02 */,
    STD_TINY /* .01 */,
    STD_WIDTH /* D^-1/2 */,
    STD_ATTN /* D^-1/2 */,
    STD_OUT /* D^-1/2 (2 layers)^-1/2 */,
    STD_MLP /* (2 D)^-1/2 */,
    STD_FAN_IN
};

/* One weight. `path` may hold one %d for the layer. `shape`: one letter a dimension, resolved by struct param_sizes.
 * Rows that are parts of one tensor (q, k, v) stack along its first axis in the order given by part. flat: the tensor
 * is [first, rest]. */
struct param_row {
    const char *path;
    size_t offset; /* of the struct tensor in the struct given to params_bind */
    const char *shape;
    int part, parts; /* 0, 1 for a whole tensor */
    bool flat;
    enum init_rule init;
    enum init_std std;
};
struct param_sizes {
    const char *letters;
    int64_t sizes[16];
    int64_t width, layers;
};

/* First pass: append the rows of one struct (a tower, one layer) to the list; shapes of the tensors are set. */
int params_bind(struct params *p, struct arena *a, const struct param_row *rows, int n_rows, void *base, int layer,
                const struct param_sizes *sizes);
/* Second pass: lay out the slab and point every tensor into it. */
int params_allocate(struct params *p, struct arena *a, enum dtype real);
void params_free(struct params *p);
void params_init(struct params *p, uint64_t seed);
int params_load(struct params *p, const struct st_file *f);
int params_save(const struct params *p, const char *path, enum dtype dtype);

#endif
