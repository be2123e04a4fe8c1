/* io/parquet.h: what the parquet_*.c files share. Not part of the room's door.
 *
 *   parquet_thrift.c   the compact protocol in which footer and page headers are written
 *   parquet_footer.c   footer: columns, row groups, where their bytes lie
 *   parquet_page.c     pages: headers, unpacking, levels (which rows are null)
 *   parquet_value.c    encodings of values, and values as text
 *   parquet_codec.c    snappy, gzip, zstd: the only file that includes them
 *   parquet.c          reading a file into a table
 *   parquet_write.c    writing one */
#ifndef IO_PARQUET_H
#define IO_PARQUET_H

#include "io/io.h"

/* ---- thrift, compact protocol ---- */

enum thrift_type {
    TH_STOP,
    TH_TRUE,
    TH_FALSE,
    TH_I8,
    TH_I16,
    TH_I32,
    TH_I64,
    TH_DOUBLE,
    TH_BINARY,
    TH_LIST,
    TH_SET,
    TH_MAP,
    TH_STRUCT,
    TH_N_TYPES
};
struct thrift_field {
    int id, type; /* start a struct with id 0 */
};
int thrift_varint(struct reader *r, uint64_t *out);
int thrift_zigzag(struct reader *r, int64_t *out);
int thrift_next(struct reader *r, struct thrift_field *f); /* TH_STOP ends the struct */
int thrift_skip(struct reader *r, int type);
/* The value of field f, checked; `name` is for messages. */
int thrift_int(struct reader *r, const struct thrift_field *f, int64_t min, int64_t max, int64_t *out,
               const char *name);
int thrift_bool(struct reader *r, const struct thrift_field *f, bool *out, const char *name);
int thrift_text(struct reader *r, const struct thrift_field *f, const uint8_t **out, size_t *n, const char *name);
int thrift_struct(struct reader *r, const struct thrift_field *f, const char *name); /* only checks the type */
/* A list of `type`; *n is at most the number of bytes left. */
int thrift_list(struct reader *r, const struct thrift_field *f, int type, size_t *n, const char *name);

/* The writer's half. */
void thrift_put_varint(struct str *b, uint64_t v);
void thrift_put_field(struct str *b, int *last, int id, int type);
void thrift_put_int(struct str *b, int *last, int id, int type, int64_t v);
void thrift_put_text(struct str *b, int *last, int id, const char *s);
void thrift_put_list(struct str *b, int *last, int id, int type, size_t n);

/* ---- the file ---- */

enum pq_type { PQ_BOOLEAN, PQ_INT32, PQ_INT64, PQ_INT96, PQ_FLOAT, PQ_DOUBLE, PQ_BYTES, PQ_FIXED, PQ_N_TYPES };
enum pq_codec { PQ_UNCOMPRESSED, PQ_SNAPPY, PQ_GZIP, PQ_LZO, PQ_BROTLI, PQ_LZ4, PQ_ZSTD, PQ_LZ4_RAW };
enum pq_encoding {
    PQ_PLAIN = 0,
    PQ_PLAIN_DICTIONARY = 2,
    PQ_RLE = 3,
    PQ_BIT_PACKED = 4,
    PQ_DELTA_INT = 5,
    PQ_DELTA_LENGTH = 6,
    PQ_DELTA_BYTES = 7,
    PQ_RLE_DICTIONARY = 8,
    PQ_SPLIT = 9
};
enum pq_page_type { PQ_PAGE_DATA, PQ_PAGE_INDEX, PQ_PAGE_DICTIONARY, PQ_PAGE_DATA_V2 };

/* One column that the table may show: a leaf right under the root, or a nested one with its reason in `why`. */
struct pq_column {
    const char *name;
    size_t leaf; /* its place in every row group */
    int type;    /* enum pq_type */
    bool optional, is_text, is_unsigned;
    const char *why; /* left out, and why; NULL: read */
};
struct pq_chunk {
    int64_t offset, size; /* bytes of the file that hold its pages */
    int codec;
};
struct pq_group {
    int64_t n_rows;
    struct pq_chunk *chunks; /* [n_leaves] */
};
struct pq_file {
    struct map map;
    const char *path;
    struct arena *arena;   /* the table's: all text lies here */
    struct arena *scratch; /* footer structs, then a page at a time */
    struct pq_column *columns;
    size_t n_columns, n_leaves, n_groups;
    struct pq_group *groups;
    int64_t n_rows;
    size_t footer;        /* where it begins; pages end before it */
    size_t budget, spent; /* bytes that may be unpacked, and were */
    char *text;           /* room left for cells */
    size_t text_left;
    int64_t zero_bytes; /* in cells, replaced */
};

/* Reads the footer; needs map, path, arena, scratch and budget. */
int pq_footer(struct pq_file *f);
/* Counts n unpacked bytes against the budget: a small file must not become a huge table. */
int pq_spend(struct pq_file *f, size_t n);
/* Leaves column c out from now on: sets c->why and returns ERR_UNSUPPORTED. */
int pq_leave_out(struct pq_file *f, struct pq_column *c, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Where the cells of one column go, row by row; rows whose level is 0 become "". */
struct pq_sink {
    const char **cell; /* of the first row */
    size_t stride;
    const uint8_t *levels; /* [n], 1: there is a value; NULL: always */
    size_t i, n;
    int64_t row; /* number of the first, for messages */
};
void pq_sink_put(struct pq_sink *s, const char *text);
void pq_sink_end(struct pq_sink *s); /* the rest is null */

/* All cells of one column chunk, n_rows of them. */
int pq_read_chunk(struct pq_file *f, struct pq_column *c, const struct pq_chunk *k, const char **cells, size_t stride,
                  int64_t first_row, int64_t n_rows);

/* Runs of equal numbers and bit-packed groups, mixed: levels, dictionary indices, booleans. */
struct pq_hybrid {
    struct reader *r;
    int width;
    uint64_t run;   /* numbers left in the run */
    uint32_t value; /* of a run of equal numbers */
    bool packed;
    uint64_t bits; /* taken from the bytes and not yet given out, lowest first */
    int n_bits;
};
struct pq_hybrid pq_hybrid(struct reader *r, int width);
int pq_hybrid_next(struct pq_hybrid *h, uint32_t *out);

struct pq_dictionary {
    const char **text;
    size_t n;
};
/* n values of column c in `encoding`, from r into the sink. */
int pq_decode(struct pq_file *f, struct pq_column *c, int encoding, struct reader *r, size_t n,
              const struct pq_dictionary *dict, struct pq_sink *sink);

/* Shortest text that reads back as x. */
#define PQ_NUMBER_BYTES 32
void pq_text_double(char out[PQ_NUMBER_BYTES], double x);
void pq_text_float(char out[PQ_NUMBER_BYTES], float x);

/* ---- codecs ---- */

const char *pq_codec_name(int codec);
bool pq_codec_known(int codec); /* can be unpacked by this build */
/* in becomes exactly n_out bytes, or it is an error. */
int pq_unpack(int codec, const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out);
int pq_codec_to_write(void);
int pq_pack(int codec, const struct str *in, struct str *out);
uint32_t pq_crc(const uint8_t *p, size_t n);

#endif
