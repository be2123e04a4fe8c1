/* model/param.h: part of the door (model.h includes it). The parameter table and how a family binds its struct to it. */
#ifndef MODEL_PARAM_H
#define MODEL_PARAM_H

#include "model/model.h"

/* One weight. `shape`: one letter a dimension as the file has it, resolved by struct param_sizes; leading '1's are
 * dimensions of the file but not of the tensor. The order of the fields is the order of a row in a family's table. Rows
 * that are parts of one tensor (q, k, v) stack along its first axis in the order given by part and follow each other.
 * flat: the tensor is [first, rest]. */
struct param_row {
    const char *path; /* behind the prefix given to params_bind */
    size_t offset;    /* of the struct tensor in the struct given to params_bind */
    const char *shape;
    enum init_rule init;
    int part, parts; /* parts 0: a whole tensor */
    bool flat, transposed;
    enum param_kind kind;
    int grid; /* as in struct param */
};
struct param_sizes {
    const char *letters;
    int64_t sizes[24];
    int64_t width, layers;
};

/* First pass: append the rows of one struct (a tower, one layer) to the list. Shapes of the tensors are set, unless
 * they have their memory already: then the rows are the same tensors under other names (saving in another layout). */
int params_bind(struct params *p, struct arena *a, const struct param_row *rows, int n_rows, void *base,
                const char *prefix, const struct param_sizes *sizes);
/* Second pass: lay out the slab and point every tensor into it. */
int params_allocate(struct params *p, enum dtype real);
/* Second pass of other names for the tensors of `main`: the same slab. Free with params_forget. */
void params_share(struct params *p, const struct params *main);
void params_forget(struct params *p);
void params_free(struct params *p);
void params_init(struct params *p, uint64_t seed);
/* Is every weight in the files, with its shape? Ask before params_allocate. Then params_load cannot miss one.
 * Positions may have another grid. */
int params_check(const struct params *p, const struct weight_files *w);
/* antialias: how a grid of positions is brought to size, see positions_resize. */
int params_load(struct params *p, const struct weight_files *w, bool antialias);
int params_save(const struct params *p, const char *path, enum dtype dtype);

/* positions.c: a grid of position embeddings from [prefix + from^2, width] to [prefix + to^2, width], bicubic. With
 * antialias as open_clip does (a = -0.5, wider kernel when shrinking), else as HuggingFace (a = -0.75). Rows before the
 * grid are copied. */
int positions_resize(const float *in, int64_t prefix, int64_t from, int64_t to, int64_t width, bool antialias,
                     float *out);

#endif
