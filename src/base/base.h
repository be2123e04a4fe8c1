/* base/base.h: the door of room base (level 0).
 *
 * Memory, errors, logging, progress, strings, JSON, options, randomness, threads, clock. Knows no tensor.
 * Everything above includes this file; it includes no other room.
 *
 * Errors come in three kinds. The world's fault returns a negative code and leaves a message (err_text).
 * Our fault aborts through BUG_ON. Arithmetic's fault inside a graph poisons the tape (room tensor). */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define UNUSED __attribute__((unused))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* ---- errors (err.c) -------------------------------------------------------------------------------------- */

/* name, value, exit code of the program, text. Functions return the value; main() returns the exit code. */
#define ERR_LIST(X)                                                                                                    \
    X(ERR_FAIL, -1, 1, "failure")                                                                                      \
    X(ERR_USAGE, -2, 2, "usage")                                                                                       \
    X(ERR_MISMATCH, -3, 3, "model mismatch")                                                                           \
    X(ERR_LOCKED, -4, 4, "locked by another process")                                                                  \
    X(ERR_DATA, -5, 5, "bad data")                                                                                     \
    X(ERR_SPACE, -6, 6, "no space")                                                                                    \
    X(ERR_MEMORY, -7, 7, "out of memory")                                                                              \
    X(ERR_NONFINITE, -8, 8, "non-finite number")                                                                       \
    X(ERR_UNSUPPORTED, -9, 1, "unsupported")                                                                           \
    X(ERR_EXISTS, -10, 1, "output exists")                                                                             \
    X(ERR_INTERRUPTED, -11, 130, "interrupted")

enum err {
#define X(name, value, exit_code, text) name = value,
    ERR_LIST(X)
#undef X
};

/* Set the thread's message and return `code`. The first failure of a chain calls this. */
int err_set(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Append one frame of context, " (while …)", and return `code` unchanged. */
int err_while(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* As err_set with ": strerror(errno)" appended; ENOSPC/EDQUOT/EFBIG become ERR_SPACE, ENOMEM ERR_MEMORY,
 * EMFILE/ENFILE ERR_FAIL. */
int err_errno(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *err_text(void);        /* the thread's message; "" when none */
void err_clear(void);
const char *err_name(int code);    /* "ERR_DATA" */
int err_exit_code(int code);       /* 5 for ERR_DATA */

#define FAIL(code, ...) return err_set((code), __VA_ARGS__)
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        int try_rc_ = (expr);                                                                                          \
        if (try_rc_ < 0)                                                                                               \
            return try_rc_;                                                                                            \
    } while (0)
#define TRY_IN(expr, ...)                                                                                              \
    do {                                                                                                               \
        int try_rc_ = (expr);                                                                                          \
        if (try_rc_ < 0)                                                                                               \
            return err_while(try_rc_, __VA_ARGS__);                                                                    \
    } while (0)

void bug_at(const char *file, int line, const char *what);
#define BUG_ON(cond)                                                                                                   \
    do {                                                                                                               \
        if (cond)                                                                                                      \
            bug_at(__FILE__, __LINE__, #cond);                                                                         \
    } while (0)

/* ---- sizes (checked arithmetic; overflow returns false) --------------------------------------------------- */

static inline bool mul_ok(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool add_ok(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* ---- named limits (limit.c): what a reader accepts from a file; `meridian limits` prints the table --------- */

#define LIMIT_LIST(X)                                                                                                  \
    X(LIMIT_HEADER_BYTES, "header-bytes", 100000000, "safetensors or npy header, parquet footer")                      \
    X(LIMIT_TENSORS, "tensors", 100000, "tensors in one file")                                                         \
    X(LIMIT_SHARDS, "shards", 1000, "files of one sharded model")                                                      \
    X(LIMIT_DIMS, "dims", 8, "dimensions of a stored tensor")                                                          \
    X(LIMIT_JSON_DEPTH, "json-depth", 64, "nesting of a JSON file")                                                    \
    X(LIMIT_JSON_BYTES, "json-bytes", 104857600, "size of a JSON file")                                                \
    X(LIMIT_MERGES, "merges", 1000000, "merge rules or vocabulary entries of a tokenizer")                             \
    X(LIMIT_WORD_BYTES, "word-bytes", 1048576, "bytes of one word given to the tokenizer")                             \
    X(LIMIT_TEXT_BYTES, "text-bytes", 1048576, "bytes of one caption or query")                                        \
    X(LIMIT_PIXELS, "pixels", 100000000, "pixels of one picture")                                                      \
    X(LIMIT_SIDE, "side", 65535, "width or height of a picture")                                                       \
    X(LIMIT_PIXELS_PER_BYTE, "pixels-per-byte", 5000, "pixels per byte of the file, of a picture above 1 Mpx")         \
    X(LIMIT_SCANS, "jpeg-scans", 500, "scans of a progressive JPEG")                                                   \
    X(LIMIT_LINE_BYTES, "line-bytes", 1048576, "bytes of one CSV, TSV or JSONL line")                                  \
    X(LIMIT_ROWS, "rows", 100000000, "rows of a table or set")                                                         \
    X(LIMIT_COLUMNS, "columns", 4096, "columns of a parquet file")                                                     \
    X(LIMIT_LEVELS, "levels", 100000, "levels of one factor of a table")                                               \
    X(LIMIT_PAGE_BYTES, "page-bytes", 268435456, "one unpacked page of a parquet file")                                \
    X(LIMIT_PARQUET_RATIO, "parquet-ratio", 1000, "bytes unpacked per byte of a parquet file, above 64 MiB")           \
    X(LIMIT_REFUSED, "refused", 100000, "rows of a dataset left out that are listed with their reason")                \
    X(LIMIT_TAR_ENTRIES, "tar-entries", 10000000, "members of one tar shard")                                          \
    X(LIMIT_TAR_MEMBER, "tar-member", 1073741824, "bytes of one member of a tar shard")                                \
    X(LIMIT_EXPANSION, "expansion", 200, "bytes of a tar shard for each compressed byte")                              \
    X(LIMIT_SHARD_CACHE, "shard-cache", 4294967296, "bytes of unpacked pictures of compressed shards kept on disk")    \
    X(LIMIT_LAYERS, "layers", 1000, "layers of a model")                                                               \
    X(LIMIT_WIDTH, "width", 65536, "width of a model or of a set's vectors")

enum limit {
#define X(id, name, value, help) id,
    LIMIT_LIST(X)
#undef X
    N_LIMITS
};
int64_t limit_get(enum limit which);
const char *limit_name(enum limit which);
const char *limit_help(enum limit which);
int limit_set(const char *name, int64_t value);   /* ERR_USAGE for an unknown name or value < 1 */

/* ---- memory (arena.c, mem.c) ------------------------------------------------------------------------------ */

/* malloc family that sets the error message; NULL on failure. Tests make the n-th request fail with mem_fail_at. */
void *mem_alloc(size_t n);                       /* 64-byte aligned, uninitialised */
void *mem_calloc(size_t count, size_t size);     /* 64-byte aligned, zeroed, overflow-checked */
void *mem_grow(void *p, size_t old_n, size_t n); /* like realloc; p stays valid on failure */
void *mem_alloc_aligned(size_t n, size_t align);  /* align: a power of two, at least 8 */
char *mem_strdup(const char *s);
void mem_free(void *p);
void mem_fail_at(int64_t n);                     /* the n-th request from now fails once; 0 switches off */
int64_t mem_requests(void);                      /* requests so far in this process */

/* An arena hands out 64-byte aligned memory that is given back all at once. It grows by chunks and keeps them over
 * reset and rewind, so a run of constant shape asks the system for nothing after its first step. */
struct arena;
int arena_open(struct arena **a, const char *name);
void arena_close(struct arena **a);
void *arena_alloc(struct arena *a, size_t n);              /* uninitialised; NULL + message on failure */
void *arena_calloc(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s);
struct arena_mark { size_t chunk, used; };
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);
void arena_reset(struct arena *a);
size_t arena_peak(const struct arena *a);                  /* largest number of bytes in use so far */
int64_t arena_chunks(const struct arena *a);               /* chunks asked of the system so far */

/* ---- element types (dtype.c) ------------------------------------------------------------------------------ */

enum dtype {
    DT_F32, DT_F64, DT_F16, DT_BF16,
    DT_I32, DT_I64, DT_U8, DT_I8, DT_I16, DT_U16, DT_U32, DT_U64, DT_BOOL,
    N_DTYPES
};
size_t dtype_size(enum dtype t);
const char *dtype_name(enum dtype t);                      /* "F32", as safetensors spells it */
float f32_from_f16(uint16_t h);
uint16_t f16_from_f32(float f);                            /* round to nearest even */
float f32_from_bf16(uint16_t h);
uint16_t bf16_from_f32(float f);                           /* round to nearest even, NaN stays NaN */
/* Convert n numbers between any two of F32, F64, F16, BF16 (integers: to F32/F64 only,
 * and F32/F64 to I64). ERR_UNSUPPORTED otherwise. */
int dtype_convert(enum dtype to, void *dst, enum dtype from, const void *src, size_t n);

/* ---- strings (str.c) -------------------------------------------------------------------------------------- */

struct str { char *s; size_t n, cap; bool failed; };       /* zero-initialise; s is NUL-terminated or NULL */
void str_add(struct str *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void str_add_n(struct str *b, const char *s, size_t n);
void str_add_c(struct str *b, char c);
void str_add_xml(struct str *b, const char *s);            /* escapes & < > " ' for XML/HTML text and attributes */
void str_add_csv(struct str *b, const char *s, char sep);  /* a cell, quoted when needed (RFC 4180) */
void str_clear(struct str *b);                             /* length 0, memory kept */
void str_free(struct str *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
const char *str_count(int64_t n);                         /* "12,345"; a thread's last four results are valid */
void str_safe(char *out, size_t n, const char *s);         /* control bytes become \xNN, for terminals */
const char *str_nearest(const char *word, const char *const *words, int n); /* for "did you mean"; NULL if none near */
bool str_listed(const char *list, const char *word); /* whether a word stands in a list with commas */
bool utf8_ok(const char *s, size_t n);

/* ---- hashes (hash.c) -------------------------------------------------------------------------------------- */

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);    /* fast, not cryptographic, stable over versions */
struct sha256 { union { uint64_t align; unsigned char state[128]; } u; };
void sha256_start(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *p, size_t n);
void sha256_hex(struct sha256 *h, char out[65]);
void base64_add(struct str *b, const void *p, size_t n);        /* standard alphabet with padding */

/* ---- JSON (json.c; jansson underneath) ---------------------------------------------------------------------- */

/* Reads one JSON file: size and depth limited, duplicate keys refused, UTF-8 checked. */
int json_read_file(json_t **out, const char *path);
int json_read_text(json_t **out, const char *text, size_t n, const char *name);
/* Fields of an object. `where` names the file in messages. Missing key: the value stays and 0 is returned when
 * `required` is false, ERR_DATA otherwise. Wrong type or out of [min, max]: ERR_DATA naming file, field, expected,
 * found. An optional field that is null counts as missing; 512.0 is a whole number; a string or a bool is no number. */
int json_field_int(const json_t *o, const char *key, bool required, int64_t min, int64_t max, int64_t *out,
                   const char *where);
int json_field_real(const json_t *o, const char *key, bool required, double min, double max, double *out,
                    const char *where);
int json_field_bool(const json_t *o, const char *key, bool required, bool *out, const char *where);
int json_field_str(const json_t *o, const char *key, bool required, const char **out, const char *where); /* borrowed */
json_t *json_number(double x);                             /* JSON null when x is not finite */
/* The value as text behind b; flags are jansson's. ERR_FAIL when it cannot be written, ERR_MEMORY (b->failed). */
int str_add_json(struct str *b, const json_t *value, size_t flags);

/* ---- options (opt.c) ---------------------------------------------------------------------------------------- */

/* One table per registered thing (command, loss, model, dataset …). The struct's fields are: bool, int64_t, double,
 * const char *, struct opt_list. The same table parses argv and JSON, writes JSON, prints help. */
enum opt_type { OPT_BOOL, OPT_INT, OPT_REAL, OPT_STR, OPT_CHOICE, OPT_LIST };
struct opt_list { int n; const char **v; };                /* repeated: --image A --image B, or --image A B C */
struct opt {
    const char *name;      /* "batch-size": --batch-size in argv, "batch_size" in JSON; NULL ends the table */
    char letter;           /* short form, or 0 */
    enum opt_type type;
    size_t offset;         /* offsetof(struct …, field) */
    const char *def;       /* default as text (a list: one word), or NULL: false, 0, NULL, empty */
    double min, max;       /* for OPT_INT and OPT_REAL; both 0: no bounds */
    const char *choices;   /* OPT_CHOICE: "adamw|sgd" */
    const char *meta;      /* placeholder in help: "DIR" */
    const char *help;      /* NULL: accepted, not shown */
};
void opt_defaults(const struct opt *table, void *into);
/* Fills `into` from argv[0..argc). Words that are no options go to `rest` (argv order). `--x=v`, `--x v`, `-k 3`,
 * `--no-x` for booleans, `--` ends options. Unknown name: ERR_USAGE with the nearest name. Lists are allocated in `a`.
 * A list takes the words up to the next option; of a scalar given twice the last counts; with `rest` NULL a plain
 * word is an error. On failure `into` is as it was. Unknown JSON fields: ERR_DATA with the nearest name. */
int opt_parse_argv(const struct opt *table, void *into, struct arena *a, int argc, char **argv, struct opt_list *rest);
int opt_parse_json(const struct opt *table, void *into, struct arena *a, const json_t *o, const char *where);
json_t *opt_to_json(const struct opt *table, const void *from);
void opt_add_help(struct str *b, const struct opt *table); /* one aligned line an option: name, default, range, help */

/* ---- what hangs together (join.c) ------------------------------------------------------------------------------ */

/* parent [n]: rows 0 .. n-1 in groups, at first each alone. The root of a group is its first row. */
void join_open(int64_t *parent, int64_t n);
int64_t join_root(int64_t *parent, int64_t i);
void join_rows(int64_t *parent, int64_t i, int64_t j);     /* makes one group of two */

/* ---- randomness (rng.c): counter-based, Philox4x32-10 (Salmon et al. 2011) ----------------------------------- */

/* A stream is (seed, purpose, epoch, index): the same on one thread or eight. Purposes are listed here. */
enum rng_purpose {
    RNG_INIT = 1, RNG_SHUFFLE, RNG_AUGMENT, RNG_CAPTION, RNG_DROPOUT, RNG_BOOTSTRAP, RNG_SAMPLE, RNG_MIXUP, RNG_TEST,
    RNG_MASK, RNG_PERMUTE
};
struct rng { uint32_t key[2], ctr[4], out[4]; int have; };
struct rng rng_stream(uint64_t seed, enum rng_purpose purpose, uint32_t epoch, uint64_t index);
void rng_block(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4]); /* the bare function, ten rounds */
uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);             /* uniform in [0, n), unbiased */
double rng_uniform(struct rng *r);                         /* [0, 1), 53 bits */
double rng_normal(struct rng *r);
double rng_gamma(struct rng *r, double shape);             /* scale 1 */
double rng_beta(struct rng *r, double a, double b);
void rng_shuffle(struct rng *r, int64_t *v, int64_t n);

/* ---- logging and progress (log.c, progress.c) ----------------------------------------------------------------- */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
void log_level(enum log_level level);
/* Called under the log's lock: a sink must not log. */
void log_sink(void (*sink)(void *ctx, enum log_level level, const char *text), void *ctx); /* NULL: stderr */

/* Progress on stderr: a bar on a terminal, one line per 10 % otherwise; rate, time left and an optional note. */
struct progress;
int progress_open(struct progress **p, const char *label, int64_t total, const char *unit); /* never fails hard */
void progress_add(struct progress *p, int64_t n);
void progress_skip(struct progress *p, int64_t n);         /* done before this run: counts, but not in the rate */
void progress_note(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void progress_close(struct progress **p);

/* ---- clock, signals, threads (clock.c, signal.c, pool.c) --------------------------------------------------------- */

double clock_seconds(void);                                /* monotonic */
void clock_utc(char out[32]);                              /* 2026-11-21T19:30:00Z */
void signal_catch(void);                                   /* SIGINT and SIGTERM set a flag; a second one kills */
bool signal_caught(void);
int signal_check(void);                                    /* 0, or ERR_INTERRUPTED with a message */
/* For a library, which catches no signals: from signal_watch on, this thread's checks fail once any thread or signal
 * handler has called signal_interrupt; interruptions before it do not count. */
void signal_watch(void);
void signal_interrupt(void);

/* A pool of loader threads (rooms io and data only; compute threads belong to room kernel). */
struct pool;
int pool_open(struct pool **p, int n_threads);             /* 0: jobs run inside pool_submit */
int pool_submit(struct pool *p, void (*fn)(void *arg), void *arg);
void pool_wait(struct pool *p);                            /* until every submitted job has ended; not from a job */
void pool_close(struct pool **p);                          /* runs what is queued first */

#define MERIDIAN_VERSION "0.1.0"

#endif
