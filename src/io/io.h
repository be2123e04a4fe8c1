/* io/io.h: the door of room io (level 1). Bytes to structs and back; every parser checks before it allocates, every
 * write is whole or absent (temporary in the same folder, fsync, rename, fsync of the folder). Includes base only. */
#ifndef IO_IO_H
#define IO_IO_H

#include "base/base.h"

/* ---- files (map.c, atomic.c, path.c) ---------------------------------------------------------------------------- */

/* A read-only mapping. A file shortened under us is an error naming it (SIGBUS is caught), not a crash. */
struct map { const uint8_t *data; size_t size; char *path; };
int map_open(struct map *m, const char *path);
void map_close(struct map *m);
/* True once the file has become shorter than the mapping (its lost pages read as zeros). Ask after a long read. */
bool map_shortened(const struct map *m);
int map_check(const struct map *m);                        /* 0, or ERR_DATA naming the shortened file */

/* One bounded reader for all binary parsers. */
struct reader { const uint8_t *p, *end, *start; const char *file; };
int read_bytes(struct reader *r, const uint8_t **out, size_t n);   /* ERR_DATA "truncated at byte …" */
int read_u32le(struct reader *r, uint32_t *out);
int read_u64le(struct reader *r, uint64_t *out);

bool path_exists(const char *path);
bool path_is_dir(const char *path);
/* out = dir/name. ERR_DATA when the result does not fit. */
int path_join(char *out, size_t n, const char *dir, const char *name);
/* A name that came from a file: one component or a relative path without "..", absolute parts or control bytes. */
int path_check_name(const char *name, const char *file);
int path_make_dirs(const char *path);
int path_remove_tree(const char *path);                    /* only used on our own temporaries */
int path_cache(char *out, size_t n, const char *name);     /* $XDG_CACHE_HOME/meridian/NAME or ~/.cache/meridian/NAME */

/* Refuse an existing output with ERR_EXISTS and advice, unless force. */
int path_check_output(const char *path, bool force);
/* ERR_SPACE when the file system of an existing folder has less free than a job is going to write there. */
int path_check_space(const char *folder, int64_t bytes);

struct atomic_file;
int atomic_open(struct atomic_file **f, const char *path);
int atomic_write(struct atomic_file *f, const void *p, size_t n);
int atomic_printf(struct atomic_file *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
int atomic_patch(struct atomic_file *f, size_t offset, const void *p, size_t n); /* overwrite bytes written before */
int atomic_commit(struct atomic_file **f);                 /* closes either way; on failure the old file stands */
void atomic_abort(struct atomic_file **f);                 /* safe on NULL and after commit */
int atomic_put(const char *path, const void *p, size_t n); /* the three above in one */

/* A folder that appears whole: write into dir->tmp, then commit renames it to its name. With force, an existing folder
 * is moved aside and removed after the rename. Stale temporaries of dead processes are removed at open. */
struct atomic_dir { char tmp[1024]; char path[1024]; bool force; int lock; };
int atomic_dir_open(struct atomic_dir *d, const char *path, bool force);
int atomic_dir_commit(struct atomic_dir *d);
void atomic_dir_abort(struct atomic_dir *d);

/* ---- safetensors (safetensors.c) --------------------------------------------------------------------------- */

/* Header <= LIMIT_HEADER_BYTES, no holes, no overlap, no duplicates, offsets checked against shape x dtype. */
#define IO_MAX_DIMS 8
struct st_tensor {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t shape[IO_MAX_DIMS];
    const void *data;
    size_t n_bytes;
};
struct st_file;
int st_open(struct st_file **f, const char *path);
void st_close(struct st_file **f);
int64_t st_count(const struct st_file *f);
const struct st_tensor *st_at(const struct st_file *f, int64_t i);             /* file order */
const struct st_tensor *st_find(const struct st_file *f, const char *name);    /* NULL when absent */
const json_t *st_metadata(const struct st_file *f);                            /* object of strings, or NULL */
const char *st_path(const struct st_file *f);
/* as map_check, after the data was read */
int st_check(const struct st_file *f);
/* Widest dtype first, aligned; atomic. metadata: object of strings or NULL (borrowed). */
int st_write(const char *path, const struct st_tensor *tensors, int64_t n, const json_t *metadata);

/* ---- npy (npy.c) ------------------------------------------------------------------------------------------- */

/* Versions 1 to 3, C order, little-endian, no objects; mapped, not read. */
struct npy {
    enum dtype dtype;
    int n_dims;
    int64_t shape[IO_MAX_DIMS];
    const void *data;
    size_t n_bytes;
    struct map map;
    void *copy; /* the data again, when the file leaves it unaligned */
};
int npy_open(struct npy *a, const char *path);
void npy_close(struct npy *a);
int npy_check(const struct npy *a);                        /* as map_check */
int npy_write(const char *path, enum dtype t, int n_dims, const int64_t *shape, const void *data);
/* Rows appended, header patched at commit. n_dims and row_shape describe one row: [N, 512] is n_dims 1, {512}. */
struct npy_writer;
int npy_writer_open(struct npy_writer **w, const char *path, enum dtype t, int n_dims, const int64_t *row_shape);
int npy_writer_add(struct npy_writer *w, const void *rows, int64_t n_rows);
int npy_writer_commit(struct npy_writer **w);
void npy_writer_abort(struct npy_writer **w);

/* ---- tables (table.c) -------------------------------------------------------------------------------------- */

/* CSV and TSV (RFC 4180 quotes, CRLF, BOM; separator sniffed from the header and kept in sep). First row names
 * columns; blank lines are skipped; cells are UTF-8. */
struct table {
    int n_cols;
    int64_t n_rows;
    const char **cols, **cells;
    char sep;
    char *path;
    struct arena *arena;
};
int table_read(struct table *t, const char *path);
void table_free(struct table *t);
int table_col(const struct table *t, const char *name);                        /* -1 when absent */
const char *table_cell(const struct table *t, int64_t row, int col);
/* Cell as a whole number in [min, max]; ERR_DATA names file, row, column, expected, found. */
int table_int(const struct table *t, int64_t row, int col, int64_t min, int64_t max, int64_t *out);
/* CSV; .tsv by name */
int table_write(const char *path, int n_cols, const char *const *cols, int64_t n_rows, const char *const *cells);

/* ---- pictures (picture_module.c; image.c and image_emoji.c are the only files that include libvips) --------- */

/* libvips and what it needs are loaded by the first of these calls (not by image_free), out of meridian_pictures.so;
 * ERR_FAIL with advice when that module or a library of it is missing. MERIDIAN_MODULES=DIR: look only there. */

/* [height, width, channels] u8; 1, 2, 3 or 4 channels */
struct image { int width, height, channels; uint8_t *pixels; };
/* libvips once a process, lazily called by the others */
int image_start(const char *argv0);
/* Decoded as Pillow's convert("RGB") would give it: gray repeated, palette resolved, alpha dropped, 16 bit by high
 * byte, CMYK to RGB, EXIF orientation NOT applied. Header and pixel limits checked before decoding. channels = 3. */
int image_read_rgb(struct image *out, const char *path);
int image_read_rgb_memory(struct image *out, const void *bytes, size_t n, const char *name);
void image_free(struct image *im);
int image_write_png(const char *path, const struct image *im);                /* atomic */
int image_encode_png(struct str *out, const struct image *im);
int image_encode_jpeg(struct str *out, const struct image *im, int quality);
/* Thumbnail: fits in size x size, RGB, for reports. */
int image_thumbnail(struct image *out, const char *path, int size);

/* One emoji sequence drawn with the colour font into size x size RGBA (straight alpha), glyph centred, margin = share
 * of the side left free at each of the four edges (0 to 0.45). *drawn = false (and rc 0, out untouched) when the font
 * has no single glyph for the whole sequence. Calls take turns behind one lock. ERR_FAIL when the font is absent. */
int image_draw_emoji(struct image *out, const char *utf8, int size, double margin, bool *drawn);
/* name and version of the font; ERR_FAIL with advice when absent */
int image_emoji_font(char *out, size_t n);

/* ---- run folders (rundir.c) -------------------------------------------------------------------------------- */

/* RUN/run.jsonl (events, one JSON object a line), RUN/config.json, RUN/lock (flock + pid; second writer ERR_LOCKED).
 * A folder that is not empty needs resume (keeps run.jsonl and config.json, cuts off a torn last line; ERR_DATA when
 * there is no run) or force (begins both anew; other files stay). config may be NULL. */
struct rundir;
int rundir_open(struct rundir **r, const char *path, bool resume, bool force, const json_t *config);
int rundir_event(struct rundir *r, json_t *event);         /* takes the reference; adds "time" */
const char *rundir_path(const struct rundir *r);
void rundir_close(struct rundir **r);

#endif
