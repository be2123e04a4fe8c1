/* space/set_private.h: what the readers of sets share. Internal to room space. */
#ifndef SPACE_SET_PRIVATE_H
#define SPACE_SET_PRIVATE_H

#include "space/space.h"

int set_new(struct set **out, const char *path);
/* Every number finite; *unit becomes false when a row's length is off 1 by more than `tolerance`; *bad is that row. */
int set_check_rows(const float *x, int64_t n, int64_t d, double tolerance, bool *unit, int64_t *bad, const char *path);
/* What an npy file of vectors may be: [rows, width], float16, float32 or float64, within the limits. */
int set_check_npy(const struct npy *a, int64_t width, const char *path);
int set_pairs_by_row(struct set *s);

/* set_features.c: the file of a side (0: pictures) if it is there; s->json and the side's rows are read. */
int set_features_open(struct set *s, int which, const char *where);
void set_features_close(struct set_features *f);
struct features_writer;
int features_writer_open(struct features_writer **w, const char *dir, int which, int64_t width, enum dtype dtype);
int features_writer_add(struct features_writer *w, const float *x, const float *lengths, int64_t n);
int features_writer_commit(struct features_writer *w, int64_t n);
void features_writer_close(struct features_writer **w);

/* A folder of clip-retrieval (set_clip.c): img_emb/, text_emb/, metadata/. */
bool set_is_clip_folder(const char *dir);
int set_read_clip_folder(struct set *s);

#endif
