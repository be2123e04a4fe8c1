/* io/parquet_thrift.c: the compact protocol of Apache Thrift, as far as Parquet uses it.
 *
 * A struct is fields (id, type, value) up to a stop byte; numbers are zigzag varints. Unknown fields are skipped, so
 * files of newer writers stay readable. Every element takes at least one byte, therefore a list never announces more
 * elements than bytes are left, and nothing is allocated here. Nesting is bounded by LIMIT_JSON_DEPTH.
 * Source: the protocol's specification (thrift-compact-protocol.md).
 * Rejected: a generated parser, which would bring thrift's runtime for five small structs. */
#include "io/parquet.h"

#include <inttypes.h>
#include <string.h>

static size_t at(const struct reader *r)
{
    return (size_t)(r->p - r->start);
}

static const char *type_name(int type)
{
    static const char *const names[TH_N_TYPES] = {"stop", "true", "false",  "i8",    "i16",   "i32",     "i64",
                                                  "real", "text", "a list", "a set", "a map", "a struct"};
    return type >= 0 && type < TH_N_TYPES ? names[type] : "unknown";
}

int thrift_varint(struct reader *r, uint64_t *out)
{
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        const uint8_t *b = NULL;
        TRY(read_bytes(r, &b, 1));
        uint64_t low = *b & 0x7f;
        if (shift > 63 || (shift == 63 && low > 1))
            FAIL(ERR_DATA, "%s: byte %zu: a variable-length number has more than 64 bits", r->file, at(r) - 1);
        v |= low << shift;
        if (!(*b & 0x80))
            break;
    }
    *out = v;
    return 0;
}

int thrift_zigzag(struct reader *r, int64_t *out)
{
    uint64_t v = 0;
    TRY(thrift_varint(r, &v));
    v = (v >> 1) ^ (0 - (v & 1));
    memcpy(out, &v, sizeof(*out));
    return 0;
}

int thrift_next(struct reader *r, struct thrift_field *f)
{
    const uint8_t *b = NULL;
    TRY(read_bytes(r, &b, 1));
    int type = *b & 0x0f, step = *b >> 4;
    if (type >= TH_N_TYPES || (type == TH_STOP && step != 0))
        FAIL(ERR_DATA, "%s: byte %zu: expected a field, found byte 0x%02x", r->file, at(r) - 1, (unsigned)*b);
    f->type = type;
    if (type == TH_STOP)
        return 0;
    int64_t id = f->id + step;
    if (step == 0)
        TRY(thrift_zigzag(r, &id));
    if (id < 0 || id > INT16_MAX)
        FAIL(ERR_DATA, "%s: byte %zu: field number %" PRId64 " is out of range", r->file, at(r) - 1, id);
    f->id = (int)id;
    return 0;
}

/* Type and number of a list's elements. */
static int list_head(struct reader *r, int *type, size_t *n)
{
    const uint8_t *b = NULL;
    TRY(read_bytes(r, &b, 1));
    uint64_t count = *b >> 4;
    *type = *b & 0x0f;
    if (count == 15)
        TRY(thrift_varint(r, &count));
    size_t left = (size_t)(r->end - r->p);
    if (count > left)
        FAIL(ERR_DATA, "%s: byte %zu: a list of %" PRIu64 " elements, but only %zu bytes are left", r->file, at(r),
             count, left);
    *n = (size_t)count;
    return 0;
}

static int skip(struct reader *r, int type, bool in_list, int64_t depth);

static int skip_struct(struct reader *r, int64_t depth)
{
    struct thrift_field f = {0};
    for (;;) {
        TRY(thrift_next(r, &f));
        if (f.type == TH_STOP)
            return 0;
        TRY(skip(r, f.type, false, depth));
    }
}

static int skip_list(struct reader *r, int64_t depth)
{
    int type = 0;
    size_t n = 0;
    TRY(list_head(r, &type, &n));
    for (size_t i = 0; i < n; i++)
        TRY(skip(r, type, true, depth));
    return 0;
}

static int skip_map(struct reader *r, int64_t depth)
{
    uint64_t n = 0;
    const uint8_t *types = NULL;
    TRY(thrift_varint(r, &n));
    if (n == 0)
        return 0;
    TRY(read_bytes(r, &types, 1));
    for (uint64_t i = 0; i < n; i++) { /* every round takes two bytes at least, or fails */
        TRY(skip(r, *types >> 4, true, depth));
        TRY(skip(r, *types & 0x0f, true, depth));
    }
    return 0;
}

/* A truth value is part of its field's head, but a byte of its own in a list. */
static int skip(struct reader *r, int type, bool in_list, int64_t depth)
{
    const uint8_t *b = NULL;
    uint64_t n = 0;
    if (depth > limit_get(LIMIT_JSON_DEPTH))
        FAIL(ERR_DATA, "%s: byte %zu: structs are nested deeper than %lld (limit %s)", r->file, at(r),
             (long long)limit_get(LIMIT_JSON_DEPTH), limit_name(LIMIT_JSON_DEPTH));
    switch (type) {
    case TH_TRUE:
    case TH_FALSE:
        return in_list ? read_bytes(r, &b, 1) : 0;
    case TH_I8:
        return read_bytes(r, &b, 1);
    case TH_I16:
    case TH_I32:
    case TH_I64:
        return thrift_varint(r, &n);
    case TH_DOUBLE:
        return read_bytes(r, &b, 8);
    case TH_BINARY:
        TRY(thrift_varint(r, &n));
        return read_bytes(r, &b, n);
    case TH_LIST:
    case TH_SET:
        return skip_list(r, depth + 1);
    case TH_MAP:
        return skip_map(r, depth + 1);
    case TH_STRUCT:
        return skip_struct(r, depth + 1);
    default:
        FAIL(ERR_DATA, "%s: byte %zu: element type %d is not one of the protocol's", r->file, at(r), type);
    }
}

int thrift_skip(struct reader *r, int type)
{
    return skip(r, type, false, 0);
}

static int wrong_type(const struct reader *r, const struct thrift_field *f, const char *name, const char *expected)
{
    FAIL(ERR_DATA, "%s: byte %zu: field %s: expected %s, found %s", r->file, at(r), name, expected, type_name(f->type));
}

int thrift_int(struct reader *r, const struct thrift_field *f, int64_t min, int64_t max, int64_t *out, const char *name)
{
    int64_t v = 0;
    size_t where = at(r);
    if (f->type == TH_I8) {
        const uint8_t *b = NULL;
        TRY(read_bytes(r, &b, 1));
        v = *b < 128 ? *b : *b - 256;
    } else if (f->type >= TH_I16 && f->type <= TH_I64) {
        TRY(thrift_zigzag(r, &v));
    } else {
        return wrong_type(r, f, name, "a whole number");
    }
    if (v < min || v > max)
        FAIL(ERR_DATA, "%s: byte %zu: field %s: expected %" PRId64 " to %" PRId64 ", found %" PRId64, r->file, where,
             name, min, max, v);
    *out = v;
    return 0;
}

int thrift_bool(struct reader *r, const struct thrift_field *f, bool *out, const char *name)
{
    if (f->type != TH_TRUE && f->type != TH_FALSE)
        return wrong_type(r, f, name, "true or false");
    *out = f->type == TH_TRUE;
    return 0;
}

int thrift_text(struct reader *r, const struct thrift_field *f, const uint8_t **out, size_t *n, const char *name)
{
    uint64_t len = 0;
    if (f->type != TH_BINARY)
        return wrong_type(r, f, name, "text");
    TRY(thrift_varint(r, &len));
    TRY_IN(read_bytes(r, out, len), "reading field %s", name);
    *n = len;
    return 0;
}

int thrift_struct(struct reader *r, const struct thrift_field *f, const char *name)
{
    return f->type == TH_STRUCT ? 0 : wrong_type(r, f, name, "a struct");
}

int thrift_list(struct reader *r, const struct thrift_field *f, int type, size_t *n, const char *name)
{
    int found = 0;
    if (f->type != TH_LIST)
        return wrong_type(r, f, name, "a list");
    TRY_IN(list_head(r, &found, n), "reading field %s", name);
    if (found != type && *n > 0)
        FAIL(ERR_DATA, "%s: byte %zu: field %s: expected a list of %s, found one of %s", r->file, at(r), name,
             type_name(type), type_name(found));
    return 0;
}

/* ---- writing ---- */

void thrift_put_varint(struct str *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        str_add_c(b, (char)((v & 0x7f) | 0x80));
    str_add_c(b, (char)v);
}

/* The writer's field numbers rise by less than 16, so the short head always does. */
void thrift_put_field(struct str *b, int *last, int id, int type)
{
    BUG_ON(id <= *last || id - *last > 15);
    str_add_c(b, (char)((id - *last) << 4 | type));
    *last = id;
}

void thrift_put_int(struct str *b, int *last, int id, int type, int64_t v)
{
    thrift_put_field(b, last, id, type);
    thrift_put_varint(b, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

void thrift_put_text(struct str *b, int *last, int id, const char *s)
{
    size_t n = strlen(s);
    thrift_put_field(b, last, id, TH_BINARY);
    thrift_put_varint(b, n);
    str_add_n(b, s, n);
}

void thrift_put_list(struct str *b, int *last, int id, int type, size_t n)
{
    thrift_put_field(b, last, id, TH_LIST);
    if (n < 15) {
        str_add_c(b, (char)(n << 4 | (size_t)type));
        return;
    }
    str_add_c(b, (char)(0xf0 | type));
    thrift_put_varint(b, n);
}
