/* cli/encode_work.h: the parts of an encoding: what is planned (encode_plan.c), one shard (encode_piece.c), the shards
 * put together (encode_set.c). Internal to these three files. */
#ifndef CLI_ENCODE_WORK_H
#define CLI_ENCODE_WORK_H

#include "cli/encode_set.h"

enum { ENCODE_LOADERS_MAX = 64, ENCODE_TEXTS = 1024 }; /* captions encoded at a time */

struct encode_buffer {
    float *pixels; /* [batch,3,H,W] */
    char **why;    /* [batch] NULL: read well */
    int64_t first, n;
    int code[ENCODE_LOADERS_MAX];    /* of each loader: a failure that is no picture's fault, which ends the work */
    int64_t bad[ENCODE_LOADERS_MAX]; /* where it stood: its message is in why */
};
struct encoder {
    const struct encode_job *job;
    json_t *plan;
    struct workdir *work;
    struct pool *pool;
    struct encode_buffer buffer[2];
    struct encode_share {
        struct encoder *e;
        struct encode_buffer *b;
        int64_t at;
    } share[ENCODE_LOADERS_MAX];
    float *vectors;     /* [max(batch, ENCODE_TEXTS), embed] */
    float *features[2];      /* of pictures, texts: [likewise, last[].width], and lengths [likewise]; NULL: not wanted */
    float *lengths, *row;    /* row [width + 1]: of features.npy */
    struct model_last last[2];
    uint16_t *halves;   /* likewise, when the set is float16 */
    const char **texts; /* [ENCODE_TEXTS] */
    /* of the shard in work */
    struct npy_writer *npy, *more;
    int64_t *rows, n_rows, n_failed, n_truncated; /* rows [shard_rows]: the data's row of each vector */
    struct str failed;                            /* lines of failed.tsv */
    struct progress *progress;
    int64_t n_encoded, n_noted; /* by this process: vectors of pictures; failures told */
    double seconds;
    bool hopeless; /* no picture at all could be read */
};

/* One shard: rows first .. first+n of one side of the data. */
struct encode_piece {
    bool text;
    int64_t first, n;
    char name[32];
};
int64_t encode_piece_count(const struct encode_job *job);
struct encode_piece encode_piece_at(const struct encode_job *job, int64_t i); /* pictures first */
/* vectors.npy, rows.csv, failed.tsv; with features also features.npy: [n, width + 1] float32, the length last */
enum { ENCODE_FILES = 4 };
extern const char *const encode_piece_files[ENCODE_FILES];
/* *made is false when another process has the shard. */
int encode_piece_make(struct encoder *e, const struct encode_piece *p, bool *made);
/* A finished shard, verified. */
struct encode_done {
    struct npy vectors, features;
    struct table rows;
    int64_t n, n_failed, n_truncated;
};
/* *good is false when the shard is damaged and must be made again. ERR_MISMATCH: another model made it. */
int encode_piece_verify(const struct encoder *e, const struct encode_piece *p, bool *good);
int encode_piece_open(const struct encoder *e, const struct encode_piece *p, struct encode_done *out);
void encode_piece_close(struct encode_done *d);

/* Text of a cell in one line of TSV: tabs and line ends would break it. */
void encode_add_cell(struct str *b, const char *s);
int encode_allocate(struct encoder *e);
void encode_free(struct encoder *e);

/* What decides the set's bytes, as plan.json and as field "encoding" of set.json. */
int encode_plan_json(const struct encode_job *job, json_t **out);
int encode_plan_agree(const json_t *old, const json_t *now, const char *path);
/* Says what will be done and how much memory it takes; ERR_MEMORY when that is more than is allowed. */
int encode_plan_memory(const struct encode_job *job);
/* ERR_SPACE when the shards to come and the set do not fit. */
int encode_plan_space(const struct encode_job *job, int64_t n_rows_to_come);

#endif
