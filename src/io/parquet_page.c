/* io/parquet_page.c: the pages of one column chunk.
 *
 * A chunk is a dictionary page, if any, and data pages of version 1 or 2. A page's header states two sizes; both are
 * checked (against the chunk, LIMIT_PAGE_BYTES and the file's budget) before room is taken, and the codec must fill it
 * exactly. A checksum is verified where the writer has put one. Which rows are null comes from the definition levels:
 * flat columns know only 0 and 1.
 * Everything unpacked lies in the scratch arena, which is rewound after each page; the dictionary's list stays for the
 * chunk, its text for the table.
 * Source: the format's parquet.thrift and Encodings.md. */
#include "io/parquet.h"

#include <inttypes.h>
#include <string.h>

struct page {
    int64_t type, packed, unpacked, n_values, encoding, level_encoding;
    int64_t n_nulls, level_bytes, repetition_bytes; /* version 2 */
    bool is_packed, has_crc;
    uint32_t crc;
};

/* The three kinds of data header, and the dictionary's: field numbers differ, meanings do not. */
static int read_data_head(struct reader *r, struct page *p, bool v2)
{
    struct thrift_field f = {0};
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            return 0;
        if (f.id == 1)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->n_values, "num_values"));
        else if (f.id == (v2 ? 4 : 2))
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->encoding, "encoding"));
        else if (f.id == 3 && !v2)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->level_encoding, "definition_level_encoding"));
        else if (f.id == 2)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->n_nulls, "num_nulls"));
        else if (f.id == 5 && v2)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->level_bytes, "definition_levels_byte_length"));
        else if (f.id == 6)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->repetition_bytes, "repetition_levels_byte_length"));
        else if (f.id == 7)
            TRY(thrift_bool(r, &f, &p->is_packed, "is_compressed"));
        else
            TRY(thrift_skip(r, f.type));
    }
}

static int read_dictionary_head(struct reader *r, struct page *p)
{
    struct thrift_field f = {0};
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            return 0;
        if (f.id == 1)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->n_values, "num_values"));
        else if (f.id == 2)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->encoding, "encoding"));
        else
            TRY(thrift_skip(r, f.type));
    }
}

static int check_head(const struct reader *r, const struct page *p, int head)
{
    static const int wanted[] = {5, 0, 7, 8}; /* field of the header that each page type needs */
    size_t at = (size_t)(r->p - r->start), left = (size_t)(r->end - r->p);
    if (p->type < 0 || p->packed < 0 || p->unpacked < 0)
        FAIL(ERR_DATA, "%s: byte %zu: a page header lacks %s", r->file, at,
             p->type < 0 ? "its type" : "one of its sizes");
    if ((uint64_t)p->packed > left)
        FAIL(ERR_DATA, "%s: byte %zu: a page of %" PRId64 " bytes where its column has %zu left", r->file, at,
             p->packed, left);
    if (p->unpacked > limit_get(LIMIT_PAGE_BYTES))
        FAIL(ERR_DATA, "%s: byte %zu: a page unpacks to %" PRId64 " bytes, expected at most %" PRId64 " (limit %s)",
             r->file, at, p->unpacked, limit_get(LIMIT_PAGE_BYTES), limit_name(LIMIT_PAGE_BYTES));
    if (p->type == PQ_PAGE_INDEX)
        return 0;
    if (head != wanted[p->type] || p->n_values < 0 || p->encoding < 0)
        FAIL(ERR_DATA,
             "%s: byte %zu: a page of type %" PRId64 " lacks its header, or number and encoding of its values", r->file,
             at, p->type);
    return 0;
}

static int read_head(struct reader *r, struct page *p)
{
    struct thrift_field f = {0};
    int64_t crc = 0;
    int head = 0;
    *p = (struct page){.type = -1, .packed = -1, .unpacked = -1, .n_values = -1, .encoding = -1, .n_nulls = -1};
    p->level_encoding = PQ_RLE;
    p->is_packed = true;
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            return check_head(r, p, head);
        if (f.id == 1) {
            TRY(thrift_int(r, &f, 0, PQ_PAGE_DATA_V2, &p->type, "page type"));
        } else if (f.id == 2) {
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->unpacked, "uncompressed_page_size"));
        } else if (f.id == 3) {
            TRY(thrift_int(r, &f, 0, INT32_MAX, &p->packed, "compressed_page_size"));
        } else if (f.id == 4) {
            TRY(thrift_int(r, &f, INT32_MIN, UINT32_MAX, &crc, "crc"));
            p->has_crc = true;
            p->crc = (uint32_t)crc;
        } else if (f.id == 5 || f.id == 7 || f.id == 8) {
            TRY(thrift_struct(r, &f, "page header"));
            head = f.id;
            TRY(f.id == 7 ? read_dictionary_head(r, p) : read_data_head(r, p, f.id == 8));
        } else {
            TRY(thrift_skip(r, f.type));
        }
    }
}

/* The page's bytes from `in` on, unpacked: out reads n_out bytes. */
static int unpack(struct pq_file *f, int codec, struct reader *in, size_t n_out, struct reader *out)
{
    uint8_t *bytes = NULL;
    TRY(pq_spend(f, n_out));
    bytes = arena_alloc(f->scratch, n_out);
    if (!bytes)
        return ERR_MEMORY;
    if (n_out > 0) /* nothing may be packed as nothing */
        TRY_IN(pq_unpack(codec, in->p, (size_t)(in->end - in->p), bytes, n_out), "unpacking %s, byte %zu", in->file,
               (size_t)(in->p - in->start));
    *out = (struct reader){bytes, bytes + n_out, bytes, in->file};
    return 0;
}

/* n levels out of exactly the bytes of r; *n_values is the number of ones. */
static int read_levels(struct reader *r, int64_t encoding, size_t n, uint8_t *levels, size_t *n_values)
{
    struct pq_hybrid h = pq_hybrid(r, 1);
    const uint8_t *b = NULL;
    uint32_t v = 0;
    *n_values = 0;
    if (encoding != PQ_RLE && encoding != PQ_BIT_PACKED)
        FAIL(ERR_DATA, "%s: definition levels in encoding %" PRId64 ", expected 3 or 4", r->file, encoding);
    if (encoding == PQ_BIT_PACKED)
        TRY(read_bytes(r, &b, n / 8 + (n % 8 != 0)));
    for (size_t i = 0; i < n; i++) {
        if (b)
            v = b[i / 8] >> (7 - i % 8) & 1; /* highest bit first, unlike all the rest */
        else
            TRY(pq_hybrid_next(&h, &v));
        if (v > 1)
            FAIL(ERR_DATA, "%s: a definition level of %" PRIu32 " in a flat column, expected 0 or 1", r->file, v);
        levels[i] = (uint8_t)v;
        *n_values += v;
    }
    return 0;
}

/* Splits a data page into levels and values. */
static int open_page(struct pq_file *f, const struct pq_column *c, int codec, const struct page *p, struct reader *in,
                     struct reader *levels, struct reader *values)
{
    const uint8_t *b = NULL;
    uint32_t n = 0;
    if (p->type == PQ_PAGE_DATA) {
        TRY(unpack(f, codec, in, (size_t)p->unpacked, values));
        if (!c->optional)
            return 0;
        if (p->level_encoding == PQ_BIT_PACKED)
            n = (uint32_t)(p->n_values / 8 + (p->n_values % 8 != 0));
        else
            TRY(read_u32le(values, &n));
        TRY(read_bytes(values, &b, n));
        *levels = (struct reader){b, b + n, values->start, values->file};
        return 0;
    }
    int64_t front = p->level_bytes + p->repetition_bytes; /* 31 bits each */
    if (p->repetition_bytes > 0)
        FAIL(ERR_DATA, "%s: byte %zu: repetition levels in a flat column", in->file, (size_t)(in->p - in->start));
    if (front > p->unpacked || front > p->packed)
        FAIL(ERR_DATA, "%s: byte %zu: %" PRId64 " bytes of levels in a page of %" PRId64, in->file,
             (size_t)(in->p - in->start), front, p->packed);
    TRY(read_bytes(in, &b, (size_t)p->level_bytes));
    *levels = (struct reader){b, b + p->level_bytes, in->start, in->file};
    return unpack(f, p->is_packed ? codec : PQ_UNCOMPRESSED, in, (size_t)(p->unpacked - front), values);
}

static int read_data(struct pq_file *f, struct pq_column *c, int codec, const struct page *p, struct reader *in,
                     const struct pq_dictionary *dict, struct pq_sink *sink)
{
    struct reader levels = {0}, values = {0};
    size_t n = sink->n, n_values = n;
    uint8_t *level = NULL;
    TRY(open_page(f, c, codec, p, in, &levels, &values));
    if (c->optional) {
        level = arena_alloc(f->scratch, n);
        if (!level)
            return ERR_MEMORY;
        TRY_IN(read_levels(&levels, p->type == PQ_PAGE_DATA ? p->level_encoding : PQ_RLE, n, level, &n_values),
               "reading which rows are null");
        sink->levels = level;
    }
    if (p->type == PQ_PAGE_DATA_V2 && p->n_nulls >= 0 && (size_t)p->n_nulls != n - n_values)
        FAIL(ERR_DATA, "%s: the page's header counts %" PRId64 " nulls, its levels %zu", in->file, p->n_nulls,
             n - n_values);
    if (n_values > 0)
        TRY(pq_decode(f, c, (int)p->encoding, &values, n_values, dict, sink));
    pq_sink_end(sink);
    return 0;
}

static int read_dictionary(struct pq_file *f, struct pq_column *c, int codec, const struct page *p, struct reader *in,
                           struct pq_dictionary *dict)
{
    struct reader values;
    size_t n = (size_t)p->n_values, bytes = 0;
    if (p->encoding != PQ_PLAIN && p->encoding != PQ_PLAIN_DICTIONARY)
        return pq_leave_out(f, c, "encoding %" PRId64 " of a dictionary is not supported", p->encoding);
    if (c->type == PQ_BOOLEAN)
        FAIL(ERR_DATA, "%s: a dictionary of truth values; the format knows none", in->file);
    /* An entry takes four bytes at least, so a header of few bytes cannot ask for a list of 2^31 entries. */
    if (n > (size_t)p->unpacked / 4 || !mul_ok(n, sizeof(*dict->text), &bytes))
        FAIL(ERR_DATA, "%s: a dictionary of %zu entries in %" PRId64 " bytes", in->file, n, p->unpacked);
    TRY(pq_spend(f, bytes));
    dict->text = arena_alloc(f->scratch, bytes); /* stays until the chunk ends */
    if (!dict->text)
        return ERR_MEMORY;
    struct arena_mark mark = arena_mark(f->scratch);
    struct pq_sink sink = {.cell = dict->text, .stride = 1, .n = n};
    TRY(unpack(f, codec, in, (size_t)p->unpacked, &values));
    TRY_IN(pq_decode(f, c, PQ_PLAIN, &values, n, NULL, &sink), "reading the dictionary");
    dict->n = n;
    arena_rewind(f->scratch, mark);
    return 0;
}

static int read_page(struct pq_file *f, struct pq_column *c, int codec, struct reader *r, struct pq_dictionary *dict,
                     struct pq_sink *column)
{
    struct page p;
    const uint8_t *b = NULL;
    TRY_IN(read_head(r, &p), "reading a page header");
    TRY(read_bytes(r, &b, (size_t)p.packed));
    struct reader in = {b, r->p, r->start, r->file};
    if (p.has_crc && pq_crc(b, (size_t)p.packed) != p.crc)
        FAIL(ERR_DATA, "%s: byte %zu: a page's checksum is %08" PRIx32 ", expected %08" PRIx32 "; the file is damaged",
             r->file, (size_t)(b - r->start), pq_crc(b, (size_t)p.packed), p.crc);
    if (p.type == PQ_PAGE_INDEX)
        return 0;
    if (p.type == PQ_PAGE_DICTIONARY) {
        if (dict->text || column->i > 0)
            FAIL(ERR_DATA, "%s: byte %zu: a second dictionary, or one behind values", r->file, (size_t)(b - r->start));
        return read_dictionary(f, c, codec, &p, &in, dict);
    }
    size_t left = column->n - column->i;
    if ((uint64_t)p.n_values > left)
        FAIL(ERR_DATA, "%s: byte %zu: a page of %" PRId64 " values where the row group has %zu rows left", r->file,
             (size_t)(b - r->start), p.n_values, left);
    struct arena_mark mark = arena_mark(f->scratch);
    struct pq_sink sink = {.cell = column->cell + column->i * column->stride, .stride = column->stride};
    sink.n = (size_t)p.n_values;
    sink.row = column->row + (int64_t)column->i;
    TRY(read_data(f, c, codec, &p, &in, dict->text ? dict : NULL, &sink));
    column->i += sink.n;
    arena_rewind(f->scratch, mark);
    return 0;
}

int pq_read_chunk(struct pq_file *f, struct pq_column *c, const struct pq_chunk *k, const char **cells, size_t stride,
                  int64_t first_row, int64_t n_rows)
{
    const uint8_t *start = f->map.data + k->offset;
    struct reader r = {start, start + k->size, f->map.data, f->path};
    struct pq_dictionary dict = {0};
    struct pq_sink column = {.cell = cells, .stride = stride, .n = (size_t)n_rows, .row = first_row};
    struct arena_mark mark = arena_mark(f->scratch);
    while (column.i < column.n) { /* every page takes some bytes, so this ends */
        size_t at = (size_t)(r.p - r.start);
        TRY_IN(read_page(f, c, k->codec, &r, &dict, &column), "reading column \"%s\", page at byte %zu", c->name, at);
    }
    arena_rewind(f->scratch, mark);
    return 0;
}
