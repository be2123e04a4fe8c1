/* io/parquet_write.c: a table as a Parquet file that every other reader opens.
 *
 * The plainest file that the format allows: all columns optional, encoding PLAIN, pages of version 1 with checksums,
 * row groups of GROUP_ROWS, pages of about PAGE_BYTES. A table has no types, so a column's type is what its cells
 * prove: INT64 or DOUBLE only when every cell is spelled exactly as the number would be written, so that keys like
 * "000000123" stay text and reading back gives the same cells. An empty cell is null in a column of numbers and an
 * empty text in a column of text.
 * Checked by hand against readers of other people: hyparquet 1.31.5, parquet-wasm 0.8.0 (arrow-rs) and
 * @dsnp/parquetjs 1.8.8 read tests/golden/parquet/expected.csv back cell for cell, written by us with each codec
 * (parquetjs knows no zstd), and a table of 150,000 rows, two row groups.
 * Rejected: dictionaries and statistics; zstd finds the repetitions, and nobody filters these files by range. */
#include "io/parquet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_ROWS 100000
#define PAGE_BYTES 1000000

struct out {
    struct atomic_file *file;
    const char *const *cols, *const *cells;
    const char *path;
    int *types; /* [n_cols] enum pq_type */
    size_t n_cols, n_rows;
    int64_t at; /* bytes written */
    int codec;
    struct str footer; /* the row groups so far, as thrift structs */
    struct str page, packed, head;
};
struct chunk_sizes {
    int64_t start, packed, unpacked;
};

static const char *cell_of(const struct out *o, size_t row, size_t col)
{
    return o->cells[row * o->n_cols + col];
}

static bool is_number(const char *s, bool whole, double *x, int64_t *v)
{
    char again[PQ_NUMBER_BYTES], *end = NULL;
    errno = 0;
    if (whole) {
        *v = strtoll(s, &end, 10);
        snprintf(again, sizeof(again), "%lld", (long long)*v);
    } else {
        *x = strtod(s, &end);
        pq_text_double(again, *x);
    }
    return strcmp(s, again) == 0;
}

/* A column in which no cell says anything is text. */
static int find_type(const struct out *o, size_t col)
{
    bool whole = true, real = true, any = false;
    double x = 0;
    int64_t v = 0;
    for (size_t i = 0; i < o->n_rows && (whole || real); i++) {
        const char *s = cell_of(o, i, col);
        if (!s || !*s)
            continue;
        any = true;
        whole = whole && is_number(s, true, &x, &v);
        real = real && is_number(s, false, &x, &v); /* not every whole number is a double */
    }
    return !any ? PQ_BYTES : whole ? PQ_INT64 : real ? PQ_DOUBLE : PQ_BYTES;
}

static void put_le(struct str *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        str_add_c(b, (char)(v >> 8 * i & 0xff));
}

static int put_bytes(struct out *o, const struct str *b)
{
    if (b->failed)
        FAIL(ERR_MEMORY, "out of memory: could not write %s", o->path);
    TRY(atomic_write(o->file, b->s, b->n));
    o->at += (int64_t)b->n;
    return 0;
}

static bool is_null(const struct out *o, size_t row, size_t col)
{
    const char *s = cell_of(o, row, col);
    return !s || (!*s && o->types[col] != PQ_BYTES);
}

/* Definition levels of rows [from, to) as runs of equal ones, behind their length. */
static void put_levels(struct out *o, size_t col, size_t from, size_t to)
{
    size_t start = o->page.n;
    put_le(&o->page, 0, 4);
    for (size_t i = from; i < to;) {
        size_t k = i;
        bool null = is_null(o, i, col);
        while (k < to && is_null(o, k, col) == null)
            k++;
        thrift_put_varint(&o->page, (uint64_t)(k - i) << 1);
        str_add_c(&o->page, null ? 0 : 1);
        i = k;
    }
    uint64_t n = o->page.n - start - 4;
    for (int i = 0; i < 4 && !o->page.failed; i++)
        o->page.s[start + (size_t)i] = (char)(n >> 8 * i & 0xff);
}

static int put_value(struct out *o, size_t row, size_t col)
{
    const char *s = cell_of(o, row, col);
    double x = 0;
    int64_t v = 0;
    uint64_t bits = 0;
    if (o->types[col] == PQ_BYTES) {
        size_t n = strlen(s);
        if (n > INT32_MAX / 2 || !utf8_ok(s, n))
            FAIL(ERR_DATA, "%s: row %zu, column \"%s\": is not UTF-8 or longer than 1 GB", o->path, row + 1,
                 o->cols[col]);
        put_le(&o->page, n, 4);
        str_add_n(&o->page, s, n);
        return 0;
    }
    BUG_ON(!is_number(s, o->types[col] == PQ_INT64, &x, &v));
    if (o->types[col] == PQ_INT64)
        bits = (uint64_t)v;
    else
        memcpy(&bits, &x, 8);
    put_le(&o->page, bits, 8);
    return 0;
}

/* One page of the rows from `row` on, as many as fill it; *row moves on. */
static int put_page(struct out *o, size_t col, size_t *row, size_t to, struct chunk_sizes *sizes)
{
    size_t from = *row, end = from, bytes = 0;
    for (; end < to && bytes < PAGE_BYTES; end++)
        bytes += is_null(o, end, col) ? 1 : o->types[col] == PQ_BYTES ? strlen(cell_of(o, end, col)) + 4 : 8;
    str_clear(&o->page);
    put_levels(o, col, from, end);
    for (size_t i = from; i < end; i++)
        if (!is_null(o, i, col))
            TRY(put_value(o, i, col));
    if (o->page.failed || o->page.n > INT32_MAX)
        FAIL(ERR_MEMORY, "out of memory: could not write a page of %s", o->path);
    TRY(pq_pack(o->codec, &o->page, &o->packed));
    int last = 0, in = 0;
    str_clear(&o->head);
    thrift_put_int(&o->head, &last, 1, TH_I32, PQ_PAGE_DATA);
    thrift_put_int(&o->head, &last, 2, TH_I32, (int64_t)o->page.n);
    thrift_put_int(&o->head, &last, 3, TH_I32, (int64_t)o->packed.n);
    uint32_t crc = pq_crc((const uint8_t *)o->packed.s, o->packed.n);
    thrift_put_int(&o->head, &last, 4, TH_I32, crc > INT32_MAX ? (int64_t)crc - UINT32_MAX - 1 : (int64_t)crc);
    thrift_put_field(&o->head, &last, 5, TH_STRUCT);
    thrift_put_int(&o->head, &in, 1, TH_I32, (int64_t)(end - from));
    thrift_put_int(&o->head, &in, 2, TH_I32, PQ_PLAIN);
    thrift_put_int(&o->head, &in, 3, TH_I32, PQ_RLE);
    thrift_put_int(&o->head, &in, 4, TH_I32, PQ_RLE);
    put_le(&o->head, 0, 2); /* both structs end */
    TRY(put_bytes(o, &o->head));
    TRY(put_bytes(o, &o->packed));
    sizes->packed += (int64_t)(o->head.n + o->packed.n);
    sizes->unpacked += (int64_t)(o->head.n + o->page.n);
    *row = end;
    return 0;
}

/* The footer's words on one column chunk. */
static void describe_chunk(struct out *o, size_t col, size_t n_rows, const struct chunk_sizes *sizes)
{
    struct str *b = &o->footer;
    int last = 0, in = 0;
    thrift_put_int(b, &last, 2, TH_I64, sizes->start);
    thrift_put_field(b, &last, 3, TH_STRUCT);
    thrift_put_int(b, &in, 1, TH_I32, o->types[col]);
    thrift_put_list(b, &in, 2, TH_I32, 2);
    thrift_put_varint(b, PQ_PLAIN << 1);
    thrift_put_varint(b, PQ_RLE << 1);
    thrift_put_list(b, &in, 3, TH_BINARY, 1);
    thrift_put_varint(b, strlen(o->cols[col]));
    str_add_n(b, o->cols[col], strlen(o->cols[col]));
    thrift_put_int(b, &in, 4, TH_I32, o->codec);
    thrift_put_int(b, &in, 5, TH_I64, (int64_t)n_rows);
    thrift_put_int(b, &in, 6, TH_I64, sizes->unpacked);
    thrift_put_int(b, &in, 7, TH_I64, sizes->packed);
    thrift_put_int(b, &in, 9, TH_I64, sizes->start);
    put_le(b, 0, 2);
}

static int put_group(struct out *o, size_t from, size_t to)
{
    int last = 0;
    int64_t bytes = 0;
    thrift_put_list(&o->footer, &last, 1, TH_STRUCT, o->n_cols);
    for (size_t col = 0; col < o->n_cols; col++) {
        struct chunk_sizes sizes = {.start = o->at};
        for (size_t row = from; row < to;)
            TRY(put_page(o, col, &row, to, &sizes));
        describe_chunk(o, col, to - from, &sizes);
        bytes += sizes.unpacked;
    }
    thrift_put_int(&o->footer, &last, 2, TH_I64, bytes);
    thrift_put_int(&o->footer, &last, 3, TH_I64, (int64_t)(to - from));
    put_le(&o->footer, 0, 1);
    return 0;
}

/* Root and columns. Text is marked in the old way and the new. */
static void put_schema(const struct out *o, struct str *b)
{
    int last = 0;
    thrift_put_text(b, &last, 4, "schema");
    thrift_put_int(b, &last, 5, TH_I32, (int64_t)o->n_cols);
    put_le(b, 0, 1);
    for (size_t i = 0; i < o->n_cols; i++) {
        int text = 0;
        last = 0;
        thrift_put_int(b, &last, 1, TH_I32, o->types[i]);
        thrift_put_int(b, &last, 3, TH_I32, 1);
        thrift_put_text(b, &last, 4, o->cols[i]);
        if (o->types[i] == PQ_BYTES) {
            thrift_put_int(b, &last, 6, TH_I32, 0);
            thrift_put_field(b, &last, 10, TH_STRUCT);
            thrift_put_field(b, &text, 1, TH_STRUCT);
            put_le(b, 0, 2);
        }
        put_le(b, 0, 1);
    }
}

static int put_footer(struct out *o, size_t n_groups)
{
    struct str b = {0};
    int last = 0;
    thrift_put_int(&b, &last, 1, TH_I32, 1);
    thrift_put_list(&b, &last, 2, TH_STRUCT, o->n_cols + 1);
    put_schema(o, &b);
    thrift_put_int(&b, &last, 3, TH_I64, (int64_t)o->n_rows);
    thrift_put_list(&b, &last, 4, TH_STRUCT, n_groups);
    if (o->footer.n > 0)
        str_add_n(&b, o->footer.s, o->footer.n);
    thrift_put_text(&b, &last, 6, "meridian version " MERIDIAN_VERSION);
    put_le(&b, 0, 1);
    size_t n = b.n;
    put_le(&b, n, 4);
    str_add_n(&b, "PAR1", 4);
    int rc = o->footer.failed || b.failed ? err_set(ERR_MEMORY, "out of memory: could not write %s", o->path) : 0;
    if (rc == 0 && n > (size_t)limit_get(LIMIT_HEADER_BYTES))
        rc = err_set(ERR_DATA, "%s: the footer would have %zu bytes, more than readers take (limit %s)", o->path, n,
                     limit_name(LIMIT_HEADER_BYTES));
    if (rc == 0)
        rc = put_bytes(o, &b);
    str_free(&b);
    return rc;
}

static int put_all(struct out *o)
{
    size_t n_groups = 0;
    TRY(atomic_write(o->file, "PAR1", 4));
    o->at = 4;
    for (size_t col = 0; col < o->n_cols; col++)
        o->types[col] = find_type(o, col);
    for (size_t from = 0; from < o->n_rows; n_groups++) {
        size_t to = o->n_rows - from > GROUP_ROWS ? from + GROUP_ROWS : o->n_rows;
        TRY(put_group(o, from, to));
        from = to;
    }
    return put_footer(o, n_groups);
}

int parquet_write(const char *path, int n_cols, const char *const *cols, int64_t n_rows, const char *const *cells)
{
    struct out o = {.cols = cols, .cells = cells, .path = path, .n_cols = (size_t)n_cols, .n_rows = (size_t)n_rows};
    BUG_ON(n_cols < 1 || n_rows < 0);
    o.codec = pq_codec_to_write();
    o.types = mem_calloc(o.n_cols, sizeof(*o.types));
    if (!o.types)
        return ERR_MEMORY;
    int rc = atomic_open(&o.file, path);
    if (rc == 0)
        rc = put_all(&o);
    str_free(&o.footer);
    str_free(&o.page);
    str_free(&o.packed);
    str_free(&o.head);
    mem_free(o.types);
    if (rc < 0) {
        atomic_abort(&o.file);
        return rc;
    }
    return atomic_commit(&o.file);
}
