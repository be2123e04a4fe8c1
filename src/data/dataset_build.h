/* data/dataset_build.h: inside of the datasets: what a kind (dataset_list.h) calls to hand over its pictures and
 * captions.
 *
 * A kind names its columns, adds pictures, captions and pairs in any order, and sets d->read_image. Captions are
 * unified by spelling: the same words for two pictures are one text with two pairs, because a retrieval score that
 * calls one of the two pictures wrong measures nothing. */
#ifndef DATA_DATASET_BUILD_H
#define DATA_DATASET_BUILD_H

#include "data/data.h"
#include "data/dataset_list.h"

struct dataset_build {
    struct dataset *d;
    const char *arg;               /* the spec behind its colon, or "" */
    const struct dataset_opt *opt; /* never NULL */
    int64_t cap_image_cells, cap_captions, cap_kinds, cap_pairs;
    const char **kinds; /* [n_texts] */
    uint32_t *slots;    /* captions by hash, index + 1 */
    size_t mask;
};

#define X(prefix, fn, help) int fn(struct dataset_build *b);
DATASET_LIST(X)
#undef X

/* Columns of the pictures, once, before build_image. Names are copied. */
int build_columns(struct dataset_build *b, int n, const char *const *names);
/* One more picture, cells in the order of the columns (copied). */
int build_image(struct dataset_build *b, const char *const *cells, int64_t *row);
/* The text with this caption, new or known; kind "name" wins over others. */
int build_text(struct dataset_build *b, const char *caption, const char *kind, int64_t *text);
int build_pair(struct dataset_build *b, int64_t image, int64_t text);
/* Is `split` wanted by opt->split? */
bool build_wants_split(const struct dataset_build *b, const char *split);
int build_describe(struct dataset_build *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Pictures are files named in the second column (path), relative to the first n bytes of root unless absolute: sets
 * d->read_image, d->close and d->own (the root as a string). */
int build_files(struct dataset_build *b, const char *root, size_t n);
/* Decodes one such file. */
int build_read_path(const char *root, const char *path, struct image *rgb);
bool build_is_picture(const char *name); /* by its ending */

#endif
