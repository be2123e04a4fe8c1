/* io/parquet_footer.c: the footer of a Parquet file: its columns, its row groups, and where their bytes lie.
 *
 * The schema is a tree in depth-first order. We read the leaves right under its root; a group (list, map, struct) is
 * one column that is left out, and its leaves are only counted, because row groups list all leaves in order. Counting
 * needs no stack: `remaining` is the number of elements that the groups seen so far still announce. So a schema that
 * is deep, endless or too short costs nothing and is found by arithmetic.
 * Two passes over the footer's struct, since nothing promises that the schema comes before the row groups.
 * Source: the format's parquet.thrift. */
#include "io/parquet.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum repetition { REQUIRED, OPTIONAL, REPEATED };

/* The names of parquet.thrift's ConvertedType that change what a column shows. */
enum { CONVERTED_UTF8 = 0, CONVERTED_ENUM = 4, CONVERTED_DECIMAL = 5, CONVERTED_UINT_8 = 11, CONVERTED_UINT_64 = 14 };
enum { CONVERTED_JSON = 19, CONVERTED_BSON = 20 };
enum { LOGICAL_STRING = 1, LOGICAL_ENUM = 4, LOGICAL_DECIMAL = 5, LOGICAL_INTEGER = 10, LOGICAL_JSON = 12 };
enum { LOGICAL_BSON = 13 };

struct element {
    const uint8_t *name;
    size_t name_bytes;
    int64_t type, repetition, n_children, converted; /* -1: not given */
    int logical;                                     /* -1: not given */
    bool is_signed;
};

int pq_leave_out(struct pq_file *f, struct pq_column *c, const char *fmt, ...)
{
    char why[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    c->why = arena_strdup(f->arena, why);
    if (!c->why)
        return ERR_MEMORY;
    FAIL(ERR_UNSUPPORTED, "%s: column \"%s\": %s", f->path, c->name, why);
}

/* The union that says what a column means: the number of its one member, and the sign of an integer. */
static int read_logical(struct reader *r, const struct thrift_field *field, struct element *e)
{
    struct thrift_field f = {0}, g = {0};
    TRY(thrift_struct(r, field, "logicalType"));
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            return 0;
        e->logical = f.id;
        if (f.id != LOGICAL_INTEGER || f.type != TH_STRUCT) {
            TRY(thrift_skip(r, f.type));
            continue;
        }
        for (g = (struct thrift_field){0};;) {
            TRY(thrift_next(r, &g));
            if (g.type == TH_STOP)
                break;
            if (g.id == 2)
                TRY(thrift_bool(r, &g, &e->is_signed, "isSigned"));
            else
                TRY(thrift_skip(r, g.type));
        }
    }
}

static int read_element(struct reader *r, struct element *e)
{
    struct thrift_field f = {0};
    *e = (struct element){.type = -1, .repetition = REQUIRED, .converted = -1, .logical = -1, .is_signed = true};
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            break;
        if (f.id == 1)
            TRY(thrift_int(r, &f, 0, PQ_N_TYPES - 1, &e->type, "type"));
        else if (f.id == 3)
            TRY(thrift_int(r, &f, REQUIRED, REPEATED, &e->repetition, "repetition_type"));
        else if (f.id == 4)
            TRY(thrift_text(r, &f, &e->name, &e->name_bytes, "name"));
        else if (f.id == 5)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &e->n_children, "num_children"));
        else if (f.id == 6)
            TRY(thrift_int(r, &f, INT32_MIN, INT32_MAX, &e->converted, "converted_type"));
        else if (f.id == 10)
            TRY(read_logical(r, &f, e));
        else
            TRY(thrift_skip(r, f.type));
    }
    if (!e->name || !utf8_ok((const char *)e->name, e->name_bytes) || memchr(e->name, 0, e->name_bytes))
        FAIL(ERR_DATA, "%s: byte %zu: a column of the schema has no name, or one that is not UTF-8", r->file,
             (size_t)(r->p - r->start));
    if (e->type < 0 && e->n_children == 0)
        FAIL(ERR_DATA, "%s: byte %zu: column \"%.*s\" has neither a type nor children", r->file,
             (size_t)(r->p - r->start), (int)(e->name_bytes < 80 ? e->name_bytes : 80), (const char *)e->name);
    return 0;
}

/* Why a column of the schema is not read; NULL when it is. */
static const char *not_read(const struct element *e)
{
    bool decimal = e->converted == CONVERTED_DECIMAL || e->logical == LOGICAL_DECIMAL;
    if (e->n_children > 0)
        return "it is nested (a list, map or struct)";
    if (e->repetition == REPEATED)
        return "it is repeated (several values a row)";
    if (e->type == PQ_INT96)
        return "its type INT96 is not supported";
    if (e->type == PQ_FIXED)
        return "its type FIXED_LEN_BYTE_ARRAY is not supported";
    if (decimal)
        return "decimal numbers are not supported";
    if (e->converted == CONVERTED_BSON || e->logical == LOGICAL_BSON)
        return "it holds BSON, not text";
    return NULL;
}

static int add_column(struct pq_file *f, const struct element *e)
{
    struct pq_column *c = &f->columns[f->n_columns];
    char *name = arena_alloc(f->arena, e->name_bytes + 1);
    if (!name)
        return ERR_MEMORY;
    memcpy(name, e->name, e->name_bytes);
    name[e->name_bytes] = '\0';
    *c = (struct pq_column){.name = name, .leaf = f->n_leaves, .type = (int)e->type, .why = not_read(e)};
    c->optional = e->repetition == OPTIONAL;
    c->is_text = e->converted == CONVERTED_UTF8 || e->converted == CONVERTED_ENUM || e->converted == CONVERTED_JSON ||
                 e->logical == LOGICAL_STRING || e->logical == LOGICAL_ENUM || e->logical == LOGICAL_JSON;
    c->is_unsigned = !e->is_signed || (e->converted >= CONVERTED_UINT_8 && e->converted <= CONVERTED_UINT_64);
    for (size_t i = 0; i < f->n_columns; i++)
        if (strcmp(f->columns[i].name, name) == 0)
            FAIL(ERR_DATA, "%s: the schema names two columns \"%.80s\" (%zu and %zu)", f->path, name, i + 1,
                 f->n_columns + 1);
    f->n_columns++;
    return 0;
}

/* The elements under a nested column: counted, not read. */
static int count_nested(struct pq_file *f, struct reader *r, int64_t n_children, size_t *left)
{
    struct element e;
    for (int64_t remaining = n_children; remaining > 0; remaining--) {
        if (remaining > (int64_t)*left)
            FAIL(ERR_DATA, "%s: byte %zu: the schema announces %" PRId64 " more columns, but %zu elements are left",
                 f->path, (size_t)(r->p - r->start), remaining, *left);
        TRY(read_element(r, &e));
        --*left;
        remaining += e.n_children;
        f->n_leaves += e.n_children == 0;
    }
    return 0;
}

static int read_schema(struct pq_file *f, struct reader *r, size_t left)
{
    struct element root, e;
    int64_t max = limit_get(LIMIT_COLUMNS);
    if (left == 0)
        FAIL(ERR_DATA, "%s: the schema is empty; expected a root and its columns", f->path);
    TRY_IN(read_element(r, &root), "reading the schema's root");
    left--;
    if (root.n_children < 1 || root.n_children > max)
        FAIL(ERR_DATA, "%s: the schema has %" PRId64 " columns, expected 1 to %" PRId64 " (limit %s)", f->path,
             root.n_children, max, limit_name(LIMIT_COLUMNS));
    f->columns = arena_calloc(f->scratch, (size_t)root.n_children, sizeof(*f->columns));
    if (!f->columns)
        return ERR_MEMORY;
    for (int64_t i = 0; i < root.n_children; i++) {
        if (left == 0)
            FAIL(ERR_DATA, "%s: the schema announces %" PRId64 " columns and holds %" PRId64, f->path, root.n_children,
                 i);
        TRY_IN(read_element(r, &e), "reading column %" PRId64 " of the schema", i + 1);
        left--;
        TRY(add_column(f, &e));
        if (e.n_children > 0)
            TRY(count_nested(f, r, e.n_children, &left));
        else
            f->n_leaves++;
    }
    if (left > 0)
        FAIL(ERR_DATA, "%s: %zu elements of the schema belong to no column", f->path, left);
    return 0;
}

/* ---- row groups ---- */

struct meta {
    int64_t type, codec, n_values, size, data, dictionary; /* -1: not given */
    const uint8_t *name;                                   /* first part of the path */
    size_t name_bytes, n_names;
};

static int read_path(struct reader *r, const struct thrift_field *f, struct meta *m)
{
    const struct thrift_field part = {.type = TH_BINARY};
    TRY(thrift_list(r, f, TH_BINARY, &m->n_names, "path_in_schema"));
    for (size_t i = 0; i < m->n_names; i++) {
        const uint8_t *p = NULL;
        size_t n = 0;
        TRY(thrift_text(r, &part, &p, &n, "path_in_schema"));
        if (i == 0) {
            m->name = p;
            m->name_bytes = n;
        }
    }
    return 0;
}

static int read_meta(struct reader *r, struct meta *m)
{
    struct thrift_field f = {0};
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            return 0;
        if (f.id == 1)
            TRY(thrift_int(r, &f, 0, PQ_N_TYPES - 1, &m->type, "type"));
        else if (f.id == 3)
            TRY(read_path(r, &f, m));
        else if (f.id == 4)
            TRY(thrift_int(r, &f, 0, INT32_MAX, &m->codec, "codec"));
        else if (f.id == 5)
            TRY(thrift_int(r, &f, 0, INT64_MAX, &m->n_values, "num_values"));
        else if (f.id == 7)
            TRY(thrift_int(r, &f, 0, INT64_MAX, &m->size, "total_compressed_size"));
        else if (f.id == 9)
            TRY(thrift_int(r, &f, 0, INT64_MAX, &m->data, "data_page_offset"));
        else if (f.id == 11)
            TRY(thrift_int(r, &f, 0, INT64_MAX, &m->dictionary, "dictionary_page_offset"));
        else
            TRY(thrift_skip(r, f.type));
    }
}

/* What the row group says about a column that we read agrees with the schema, and its bytes lie in the file. */
static int check_chunk(struct pq_file *f, const struct pq_column *c, const struct meta *m, int64_t n_rows,
                       struct pq_chunk *k)
{
    int64_t end = 0, footer = (int64_t)f->footer;
    if (m->type != c->type)
        FAIL(ERR_DATA, "%s: column \"%s\" has type %" PRId64 " in a row group, expected %d as in the schema", f->path,
             c->name, m->type, c->type);
    if (m->n_names != 1 || m->name_bytes != strlen(c->name) || memcmp(m->name, c->name, m->name_bytes) != 0)
        FAIL(ERR_DATA, "%s: a row group holds column \"%.*s\" where the schema has \"%s\"", f->path,
             (int)(m->name_bytes < 80 ? m->name_bytes : 80), m->name ? (const char *)m->name : "", c->name);
    if (m->n_values != n_rows)
        FAIL(ERR_DATA, "%s: column \"%s\" holds %" PRId64 " values in a row group of %" PRId64 " rows", f->path,
             c->name, m->n_values, n_rows);
    if (m->codec < 0 || m->data < 0 || m->size < 0)
        FAIL(ERR_DATA, "%s: column \"%s\": a row group does not say where it lies or how it is packed", f->path,
             c->name);
    k->codec = (int)m->codec;
    k->offset = m->dictionary > 0 && m->dictionary < m->data ? m->dictionary : m->data;
    k->size = m->size;
    if (n_rows == 0)
        return 0;
    if (k->offset < 4 || __builtin_add_overflow(k->offset, k->size, &end) || end > footer)
        FAIL(ERR_DATA,
             "%s: column \"%s\": %" PRId64 " bytes at byte %" PRId64 " are not between the file's head and "
             "its footer at byte %" PRId64,
             f->path, c->name, k->size, k->offset, footer);
    return 0;
}

static int read_chunk(struct pq_file *f, struct reader *r, struct pq_column *c, int64_t n_rows, struct pq_chunk *k)
{
    struct thrift_field field = {0};
    struct meta m = {.type = -1, .codec = -1, .n_values = -1, .size = -1, .data = -1, .dictionary = -1};
    bool elsewhere = false, encrypted = false;
    for (;;) {
        TRY(thrift_next(r, &field));
        if (field.type == TH_STOP)
            break;
        elsewhere |= field.id == 1;
        encrypted |= field.id == 8 || field.id == 9;
        if (field.id == 3) {
            TRY(thrift_struct(r, &field, "meta_data"));
            TRY(read_meta(r, &m));
        } else {
            TRY(thrift_skip(r, field.type));
        }
    }
    if (!c || c->why)
        return 0;
    int rc = elsewhere   ? pq_leave_out(f, c, "its values lie in another file")
             : encrypted ? pq_leave_out(f, c, "it is encrypted")
                         : check_chunk(f, c, &m, n_rows, k);
    if (rc == 0 && !pq_codec_known(k->codec))
        rc = pq_leave_out(f, c, "it is packed with %s, which %s; write the file with zstd or snappy",
                          pq_codec_name(k->codec),
                          k->codec == PQ_SNAPPY || k->codec == PQ_ZSTD ? "this build lacks" : "is not supported");
    if (rc == ERR_UNSUPPORTED && c->why) {
        err_clear();
        return 0;
    }
    return rc;
}

/* The number of rows may come after the columns, so it is looked up first. */
static int find_rows(struct reader r, int64_t *n_rows)
{
    struct thrift_field f = {0};
    *n_rows = -1;
    for (;;) {
        TRY(thrift_next(&r, &f));
        if (f.type == TH_STOP)
            break;
        if (f.id == 3)
            TRY(thrift_int(&r, &f, 0, limit_get(LIMIT_ROWS), n_rows, "num_rows"));
        else
            TRY(thrift_skip(&r, f.type));
    }
    if (*n_rows < 0)
        FAIL(ERR_DATA, "%s: a row group does not say how many rows it has", r.file);
    return 0;
}

static int read_group(struct pq_file *f, struct reader *r, struct pq_group *g)
{
    struct thrift_field field = {0};
    TRY(find_rows(*r, &g->n_rows));
    for (;;) {
        size_t n = 0, at = 0;
        TRY(thrift_next(r, &field));
        if (field.type == TH_STOP)
            break;
        if (field.id != 1 || g->chunks) {
            TRY(thrift_skip(r, field.type));
            continue;
        }
        TRY(thrift_list(r, &field, TH_STRUCT, &n, "columns"));
        if (n != f->n_leaves)
            FAIL(ERR_DATA, "%s: a row group has %zu columns, expected %zu as in the schema", f->path, n, f->n_leaves);
        g->chunks = arena_calloc(f->scratch, n, sizeof(*g->chunks));
        if (!g->chunks)
            return ERR_MEMORY;
        for (size_t i = 0; i < n; i++) {
            while (at + 1 < f->n_columns && f->columns[at + 1].leaf <= i)
                at++;
            struct pq_column *c = f->columns[at].leaf == i ? &f->columns[at] : NULL;
            TRY_IN(read_chunk(f, r, c, g->n_rows, &g->chunks[i]), "reading leaf column %zu", i + 1);
        }
    }
    if (!g->chunks)
        FAIL(ERR_DATA, "%s: a row group lists no columns", f->path);
    return 0;
}

static int read_groups(struct pq_file *f, struct reader *r, const struct thrift_field *field)
{
    int64_t total = 0;
    TRY(thrift_list(r, field, TH_STRUCT, &f->n_groups, "row_groups"));
    f->groups = arena_calloc(f->scratch, f->n_groups ? f->n_groups : 1, sizeof(*f->groups));
    if (!f->groups)
        return ERR_MEMORY;
    for (size_t i = 0; i < f->n_groups; i++) {
        TRY_IN(read_group(f, r, &f->groups[i]), "reading row group %zu", i + 1);
        if (__builtin_add_overflow(total, f->groups[i].n_rows, &total))
            total = INT64_MAX;
        if (total > f->n_rows)
            break;
    }
    if (total != f->n_rows)
        FAIL(ERR_DATA, "%s: the row groups have %s%" PRId64 " rows, expected %" PRId64 " as the footer says", f->path,
             total > f->n_rows ? "at least " : "", total, f->n_rows);
    return 0;
}

/* ---- the whole ---- */

/* The footer's reader; its bytes are counted from the file's start. */
static int find_footer(struct pq_file *f, struct reader *r)
{
    const struct map *m = &f->map;
    uint32_t n = 0;
    if (m->size < 12 || memcmp(m->data, "PAR1", 4) != 0) {
        if (m->size >= 4 && memcmp(m->data, "PARE", 4) == 0)
            FAIL(ERR_UNSUPPORTED, "%s: is an encrypted Parquet file; decrypt it first", f->path);
        FAIL(ERR_DATA, "%s: is no Parquet file: expected at least 12 bytes that begin with \"PAR1\"", f->path);
    }
    if (memcmp(m->data + m->size - 4, "PAR1", 4) != 0)
        FAIL(ERR_DATA, "%s: does not end with \"PAR1\"; the file is cut off or was never finished", f->path);
    *r = (struct reader){m->data + m->size - 8, m->data + m->size - 4, m->data, f->path};
    TRY(read_u32le(r, &n));
    int64_t limit = limit_get(LIMIT_HEADER_BYTES);
    if (n > m->size - 12)
        FAIL(ERR_DATA, "%s: the footer is to have %" PRIu32 " bytes, but the file only %zu", f->path, n, m->size);
    if ((int64_t)n > limit)
        FAIL(ERR_DATA, "%s: the footer has %" PRIu32 " bytes, expected at most %" PRId64 " (limit %s)", f->path, n,
             limit, limit_name(LIMIT_HEADER_BYTES));
    f->footer = m->size - 8 - n;
    *r = (struct reader){m->data + f->footer, m->data + m->size - 8, m->data, f->path};
    return 0;
}

int pq_footer(struct pq_file *f)
{
    struct reader r, schema = {0}, groups = {0};
    struct thrift_field field = {0}, schema_field = {0}, groups_field = {0};
    size_t n = 0;
    TRY(find_footer(f, &r));
    f->n_rows = -1;
    for (;;) {
        TRY_IN(thrift_next(&r, &field), "reading the footer");
        if (field.type == TH_STOP)
            break;
        if (field.id == 2) {
            schema = r;
            schema_field = field;
        } else if (field.id == 4) {
            groups = r;
            groups_field = field;
        } else if (field.id == 8) {
            FAIL(ERR_UNSUPPORTED, "%s: is an encrypted Parquet file; decrypt it first", f->path);
        }
        if (field.id == 3)
            TRY(thrift_int(&r, &field, 0, limit_get(LIMIT_ROWS), &f->n_rows, "num_rows"));
        else
            TRY_IN(thrift_skip(&r, field.type), "reading the footer");
    }
    if (!schema.p || !groups.p || f->n_rows < 0)
        FAIL(ERR_DATA, "%s: the footer lacks %s", f->path,
             !schema.p   ? "the schema"
             : !groups.p ? "the row groups"
                         : "the number of rows");
    TRY(thrift_list(&schema, &schema_field, TH_STRUCT, &n, "schema"));
    TRY(read_schema(f, &schema, n));
    return read_groups(f, &groups, &groups_field);
}
