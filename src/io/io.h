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
int path_sum(char hex[65], const char *path, int64_t *size); /* SHA-256 of a file, and its size (may be NULL) */
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
/* o as dir/name; flags are jansson's. Takes the reference. NULL: whoever made o ran out of memory. */
int atomic_put_json(const char *dir, const char *name, json_t *o, size_t flags);

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

/* CSV and TSV (RFC 4180 quotes, CRLF, BOM; separator , tab ; or | sniffed from the header, kept in sep). First row names
 * columns; blank lines are skipped; cells are UTF-8. */
struct table {
    int n_cols;
    int64_t n_rows;
    const char **cols, **cells;
    char sep;
    char *path;
    int64_t *lines; /* [n_rows] where each row begins, counted from 1 */
    struct arena *arena;
};
int table_read(struct table *t, const char *path);
/* The same with a separator (0: sniffed) and with a function that is told of each bad row (ragged, not UTF-8, text
 * behind a quote) instead of an error; the row is left out. A negative answer ends the reading with that code.
 * numbered: a column's name; where the first row has no such cell it names nothing but is data, and columns are called
 * 1, 2, 3, ... */
struct table_opt {
    char sep;
    int (*bad)(void *ctx, int64_t line, const char *why);
    void *ctx;
    const char *numbered;
};
int table_read_with(struct table *t, const char *path, const struct table_opt *opt);
const char *table_sep_name(char sep);                      /* "tab", "comma", ... */
void table_free(struct table *t);
int table_col(const struct table *t, const char *name);                        /* -1 when absent */
const char *table_cell(const struct table *t, int64_t row, int col);
/* Cell as a whole number in [min, max]; ERR_DATA names file, row, column, expected, found. */
int table_int(const struct table *t, int64_t row, int col, int64_t min, int64_t max, int64_t *out);
/* CSV; .tsv by name */
int table_write(const char *path, int n_cols, const char *const *cols, int64_t n_rows, const char *const *cells);
/* The same row by row; there whole, after the commit, or not at all. A cell NULL is empty. */
struct table_writer;
int table_writer_open(struct table_writer **w, const char *path, int n_cols, const char *const *cols);
int table_writer_row(struct table_writer *w, const char *const *cells);
int table_writer_commit(struct table_writer **w);
void table_writer_abort(struct table_writer **w);

/* ---- streamed JSON (json_stream.c) -------------------------------------------------------------------------- */

/* One event at a time, in 64 KiB of memory, of a file of any size. Depth: limit json-depth; strings: text-bytes. What
 * is not JSON to its last byte is ERR_DATA with line and byte. Text of STRING, KEY and NUMBER is valid until the next
 * call. */
enum json_event {
    JSON_EVENT_END, JSON_EVENT_OBJECT, JSON_EVENT_OBJECT_END, JSON_EVENT_ARRAY, JSON_EVENT_ARRAY_END, JSON_EVENT_KEY,
    JSON_EVENT_STRING, JSON_EVENT_NUMBER, JSON_EVENT_TRUE, JSON_EVENT_FALSE, JSON_EVENT_NULL
};
struct json_stream;
int json_stream_open(struct json_stream **s, const char *path);
void json_stream_close(struct json_stream **s);
int json_stream_next(struct json_stream *s, enum json_event *e);
const char *json_stream_text(const struct json_stream *s);
bool json_stream_text_ok(const struct json_stream *s);     /* the string is UTF-8 without zero bytes */
bool json_stream_int(const struct json_stream *s, int64_t *out); /* the text as a whole number; false: it is none */
int json_stream_skip(struct json_stream *s, enum json_event e); /* the rest of the value that began with e */
int64_t json_stream_line(const struct json_stream *s);

/* ---- tar shards (tar.c; libarchive, loaded by the first call) ------------------------------------------------- */

/* Plain, gzip or zstd. Nothing is unpacked onto the disk: members are names (as they stand, to be checked) and bytes.
 * ERR_UNSUPPORTED without libarchive. Limits tar-entries, tar-member, expansion. */
struct tar;
enum tar_kind { TAR_FILE, TAR_FOLDER, TAR_OTHER };         /* links, devices, sparse files, nameless ones: TAR_OTHER */
struct tar_member {
    const char *name; /* until the next call */
    enum tar_kind kind;
    int64_t size, offset; /* offset: of its bytes in the file; -1 when that is packed */
};
int tar_open(struct tar **t, const char *path);
void tar_close(struct tar **t);
bool tar_packed(const struct tar *t);
int tar_next(struct tar *t, struct tar_member *m);         /* 1: the next member; 0: there is none */
/* The bytes of a TAR_FILE: into a text, past them, or into a file (of a packed tar). */
int tar_read(struct tar *t, struct str *into);
int tar_skip(struct tar *t);
int tar_copy(struct tar *t, int fd);

/* ---- pictures (picture_module.c; image.c and image_emoji.c are the only files that include libvips) --------- */

/* libvips and what it needs are loaded by the first of these calls (not by image_free), out of meridian_pictures.so;
 * ERR_FAIL with advice when that module or a library of it is missing. MERIDIAN_MODULES=DIR: look only there. */

/* What the bytes mean. Pictures are kept as their file has them, for the published preprocessings differ in when they
 * turn them into RGB (docs/pixels.md). */
enum image_mode {
    IMAGE_PLAIN,   /* by channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha (straight) */
    IMAGE_INDEXED, /* a palette, resolved to 3 channels, or single bits, 1 channel of 0 and 255 */
    IMAGE_CMYK,    /* 4 channels, 0 is no ink */
    IMAGE_GRAY16   /* 2 bytes a pixel, the low one first */
};
/* How gray of 16 bits becomes 8: clipped to 0..255, as Pillow 9.4 does (nearly all white), or its high byte. */
enum image_gray16 { GRAY16_CLIP, GRAY16_HIGH_BYTE };
/* [height, width, channels] u8; 1, 2, 3 or 4 channels. orientation: EXIF's 1 to 8, or 0; never applied by readers. */
struct image { int width, height, channels; uint8_t *pixels; enum image_mode mode; int orientation; };
/* libvips once a process, lazily called by the others */
int image_start(const char *argv0);
/* A picture's rows from top to bottom, as they are decoded. begin gets a head without pixels; rows [n_rows, width,
 * channels] are valid during the call; a negative code stops the work and is returned. */
struct image_sink {
    int (*begin)(void *ctx, const struct image *head);
    int (*rows)(void *ctx, const uint8_t *rows, int n_rows);
    void *ctx;
};
/* JPEG, PNG, WebP and GIF (its first frame) are decoded here, TIFF and PPM by a confined process. Header and limits
 * are checked before a pixel is decoded; a truncated file is ERR_DATA. The memory for a picture is the decoder's: some
 * rows, or all of an interlaced or progressive one. */
int image_decode(const struct image_sink *to, const char *path);
int image_decode_memory(const struct image_sink *to, const void *bytes, size_t n, const char *name);
bool image_has_name(const char *path); /* ends as pictures do, .bmp too: reading it says why it is not read */
/* The whole picture in the mode of its file. */
int image_read(struct image *out, const char *path);
int image_read_memory(struct image *out, const void *bytes, size_t n, const char *name);
/* Pillow's convert("RGB"), in place: gray repeated, palette resolved, alpha dropped, CMYK to RGB. */
int image_to_rgb(struct image *im, enum image_gray16 how);
/* The same for `width` pixels of a picture like `head`; rgb may be the row itself where channels > 2. */
void image_row_to_rgb(uint8_t *rgb, const uint8_t *row, int width, const struct image *head, enum image_gray16 how);
/* Turned and mirrored as the EXIF orientation says, which is then 0. */
int image_turn(struct image *im);
/* image_read and image_to_rgb, gray of 16 bits by its high byte: for eyes and for training views. */
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

/* ---- work folders (workdir.c) ------------------------------------------------------------------------------ */

/* A long job in pieces, each a folder that is whole or absent; PATH/plan.json says what the job is. One process alone
 * (a second is ERR_LOCKED) or many at once; locks die with their owner. An existing plan goes through `agree` (0, or an
 * error that names what differs); with force one that does not agree is cleared away with all its pieces. */
struct workdir;
typedef int (*workdir_agree)(const json_t *old, const json_t *plan, const char *path);
int workdir_open(struct workdir **w, const char *path, bool alone, bool force, const json_t *plan, workdir_agree agree);
bool workdir_resumed(const struct workdir *w);             /* the plan was there already */
bool workdir_has(const struct workdir *w, const char *piece);
/* Takes the lease of a piece; *tmp is the folder to write its files into, or NULL: another process has the lease or has
 * finished the piece. One piece at a time. Names: at most 55 bytes. */
int workdir_begin(struct workdir *w, const char *piece, const char **tmp);
/* Sums `files` into the manifest (taken over), writes piece.json, renames the folder. Gives the lease back either way. */
int workdir_commit(struct workdir *w, json_t *manifest, const char *const *files, int n);
void workdir_abort(struct workdir *w);                     /* of the piece in work; its folder is removed */
/* ERR_DATA when a file or the manifest is not what was written. *manifest: for json_decref. */
int workdir_check(const struct workdir *w, const char *piece, const char *const *files, int n, json_t **manifest);
int workdir_drop(struct workdir *w, const char *piece);    /* remove a damaged piece */
int workdir_claim(struct workdir *w, const char *name, bool *got); /* a lease without a piece, until workdir_abort */
int workdir_path(char *out, size_t n, const struct workdir *w, const char *piece, const char *file);
int workdir_finished(struct workdir *w);                   /* the result stands: the last one out removes the folder */
bool workdir_is_finished(const struct workdir *w);
int workdir_close(struct workdir **w, bool drop);          /* drop: remove the folder unless others are at work in it */

/* ---- run folders (rundir.c) -------------------------------------------------------------------------------- */

/* RUN/run.jsonl (events, one JSON object a line), RUN/config.json, RUN/lock (flock + pid; second writer ERR_LOCKED).
 * A folder that is not empty needs resume (keeps run.jsonl and config.json, cuts off a torn last line; ERR_DATA when
 * there is no run) or force (begins both anew; other files stay). config may be NULL. */
struct rundir;
int rundir_open(struct rundir **r, const char *path, bool resume, bool force, const json_t *config);
int rundir_event(struct rundir *r, json_t *event);         /* takes the reference; adds "time" */
const char *rundir_path(const struct rundir *r);
void rundir_close(struct rundir **r);

/* ---- parquet, the flat subset (parquet.c) ------------------------------------------------------------------ */

/* metadata.parquet as a table, as table_read gives metadata.csv: cells are text, null is "", sep is 0; table_free.
 * Text, numbers (shortest that reads back), true and false; pages of version 1 and 2; uncompressed, snappy, gzip, zstd.
 * Columns that cannot be read (nested, repeated, INT96, bytes that are no text, other codecs ...) are left out: a line
 * "NAME: it is nested …\n" each is added to left_out (may be NULL). ERR_UNSUPPORTED when none is left. */
int parquet_read(struct table *t, struct str *left_out, const char *path);
/* One file, zstd (or what the build has). A column whose cells are all whole numbers, or all numbers, in the spelling
 * that parquet_read gives back becomes INT64 or DOUBLE, empty cells null; any other is text, NULL is null. Atomic. */
int parquet_write(const char *path, int n_cols, const char *const *cols, int64_t n_rows, const char *const *cells);

#endif
