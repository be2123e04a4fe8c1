/* data/dataset_build.h: inside of the datasets: what a kind (dataset_list.h) calls to hand over its pictures and
 * captions.
 *
 * A kind names its columns, adds pictures, captions and pairs in any order, and sets d->read_image. Captions are
 * unified by spelling: the same words for two pictures are one text with two pairs, because a retrieval score that
 * calls one of the two pictures wrong measures nothing. What cannot be used goes to build_refuse and costs its row. */
#ifndef DATA_DATASET_BUILD_H
#define DATA_DATASET_BUILD_H

#include "data/data.h"
#include "data/dataset_list.h"

#include <string.h>

#define BUILD_PATH 4096

struct dataset_build {
    struct dataset *d;
    const char *arg;               /* the spec behind its colon, or "" */
    const struct dataset_opt *opt; /* never NULL */
    int64_t cap_image_cells, cap_captions, cap_kinds, cap_pairs, cap_refused;
    const char **kinds; /* [n_texts] */
    uint32_t *slots;    /* captions by hash, index + 1 */
    size_t mask;
    char *block; /* room for strings, cut from the arena */
    size_t block_left;
    const char *splits[16]; /* names that build_wants_split was asked for, so that a wrong --split can be helped */
    int n_splits;
    /* Pictures that are files (build_files): where they start, whether names must stay below it, and the folder that
     * was checked last. */
    const char *root;
    bool confined;
    char good_dir[BUILD_PATH];
    bool tells_missing; /* the description counts missing pictures, none included */
    int64_t n_parts;    /* of what was refused, no rows: a shard, a folder */
    bool described;     /* the description is whole: counts are not added */
};

#define X(prefix, fn, help) int fn(struct dataset_build *b);
DATASET_LIST(X)
#undef X

/* ---- rows (dataset.c) -- */

/* Columns of the pictures, once, before build_image. Names are copied. The first four are id, path, label, split. */
int build_columns(struct dataset_build *b, int n, const char *const *names);
/* Those four and nothing more; or one more column, empty in the rows so far (*col: its index, of an old one too). */
int build_plain_columns(struct dataset_build *b);
int build_column(struct dataset_build *b, const char *name, int *col);
/* A copy that lives as long as the dataset; strings are packed. NULL: no memory. */
const char *build_keep(struct dataset_build *b, const char *s);
/* One more picture, cells in the order of the columns (copied). */
int build_image(struct dataset_build *b, const char *const *cells, int64_t *row);
/* A cell of a picture that is there already. */
int build_cell(struct dataset_build *b, int64_t image, int col, const char *s);
/* The text with this caption, new or known; kind "name" wins over others. */
int build_text(struct dataset_build *b, const char *caption, const char *kind, int64_t *text);
int build_pair(struct dataset_build *b, int64_t image, int64_t text);
/* A caption of a picture (-1: none, nothing happens). Empty, not UTF-8 or too long: refused. */
int build_caption(struct dataset_build *b, int64_t row, int64_t image, const char *caption, const char *kind);
/* What is wrong with a caption, or NULL. */
const char *build_bad_caption(const char *caption);
/* A row that cannot be used; id and path may be NULL. */
int build_refuse(struct dataset_build *b, int64_t row, const char *id, const char *path, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* The same with the thread's error as reason, when rc is the world's fault with this row (ERR_DATA, ERR_FAIL, ...);
 * no memory and an interrupt are handed on. */
int build_refuse_error(struct dataset_build *b, int64_t row, const char *id, const char *path, int rc);
/* Is `split` wanted by opt->split? */
bool build_wants_split(struct dataset_build *b, const char *split);
/* FAILs with advice when --split was given to a kind that knows none. */
int build_no_split(const struct dataset_build *b, const char *why);
bool build_full(const struct dataset_build *b); /* opt->limit is reached */
/* The kind's part of the description; counts of pictures, captions, missing and refused rows and splits follow it. */
int build_describe(struct dataset_build *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- pictures that are files (dataset_files.c) -- */

/* Pictures are files named in the second column (path), relative to the first n bytes of root, or to opt->images_root:
 * sets d->read_image, d->close, d->own and b->root. confined: names must lie below the root (with images_root always),
 * without "..", and reach their file over no symbolic link unless opt->follow. Not confined: absolute names are taken
 * too, as in a table of one's own. */
int build_files(struct dataset_build *b, const char *root, size_t n, bool confined);
/* *there: a regular file of this name lies below the root. Negative: the name or the file is refused. */
int build_look(struct dataset_build *b, const char *name, bool *there);
/* One more picture, its file looked for first; *image is -1 when it was refused or the limit is reached. */
int build_picture(struct dataset_build *b, int64_t row, const char *const *cells, int64_t *image);
/* The same for a row that many spellings may name: names[0..n) are tried in turn for cells[1]. */
int build_picture_of(struct dataset_build *b, int64_t row, const char **cells, const char *const *names, int n,
                     int64_t *image);
/* Decodes one such file. */
int build_read_path(const char *root, const char *path, struct image *rgb);

/* Names of a folder's entries, sorted by bytes, hidden ones left out. */
struct names {
    char **v;
    int64_t n, cap;
};
int names_list(struct names *out, const char *dir);
void names_free(struct names *s);
/* Lines of a text file, without their ends; blank ones are left out. Not UTF-8: ERR_DATA with the line. */
int names_lines(struct names *out, const char *path);
int names_add(struct names *s, const char *text, size_t n);

#endif
