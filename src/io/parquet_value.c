/* io/parquet_value.c: the encodings of values, and values as text.
 *
 * Each decoder takes exactly n values out of a bounded reader and hands them to the sink as text. A dictionary's text
 * is made once and shared by the rows that point at it. Whole numbers are written in decimal (dates and times as the
 * numbers that are stored), real numbers with the fewest digits that read back equal, booleans as true and false.
 * A zero byte inside text becomes U+FFFD, because a cell is a C string and cutting it off would be silent loss.
 * Bytes that are not UTF-8: the column is left out when nothing says that it is text (pictures are stored like that),
 * and an error when the schema says so.
 * Source: the format's Encodings.md. Lemire and Boytsov, 2012 (delta encoding).
 * Rejected: unpacking 32 numbers at a time, as fast readers do; tables of captions are read once. */
#include "io/parquet.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_CHUNK 65536

/* ---- cells ---- */

void pq_sink_end(struct pq_sink *s)
{
    for (; s->i < s->n; s->i++)
        s->cell[s->i * s->stride] = "";
}

void pq_sink_put(struct pq_sink *s, const char *text)
{
    while (s->levels && s->i < s->n && !s->levels[s->i])
        s->cell[s->i++ * s->stride] = "";
    BUG_ON(s->i >= s->n);
    s->cell[s->i++ * s->stride] = text;
}

int pq_spend(struct pq_file *f, size_t n)
{
    if (n > f->budget - f->spent)
        FAIL(ERR_DATA, "%s: %zu bytes unpack to more than %zu; this looks like a bomb (limits %s and %s)", f->path,
             f->map.size, f->budget, limit_name(LIMIT_PARQUET_RATIO), limit_name(LIMIT_PAGE_BYTES));
    f->spent += n;
    return 0;
}

/* Room for n bytes of text. Small pieces share a block: an arena alone would round each up to 64 bytes. */
static char *text_room(struct pq_file *f, size_t n)
{
    if (n > TEXT_CHUNK / 4)
        return arena_alloc(f->arena, n);
    if (n > f->text_left) {
        f->text = arena_alloc(f->arena, TEXT_CHUNK);
        f->text_left = f->text ? TEXT_CHUNK : 0;
        if (!f->text)
            return NULL;
    }
    char *p = f->text;
    f->text += n;
    f->text_left -= n;
    return p;
}

static int keep(struct pq_file *f, const char *s, size_t n, const char **out)
{
    size_t room = 0;
    if (!add_ok(n, 1, &room))
        FAIL(ERR_DATA, "%s: a text is too long", f->path);
    TRY(pq_spend(f, room));
    char *p = text_room(f, room);
    if (!p)
        return ERR_MEMORY;
    if (n > 0)
        memcpy(p, s, n);
    p[n] = '\0';
    *out = p;
    return 0;
}

static int keep_with_zeros(struct pq_file *f, const uint8_t *s, size_t n, const char **out)
{
    struct str b = {0};
    for (size_t i = 0; i < n; i++) {
        if (s[i])
            str_add_c(&b, (char)s[i]);
        else
            str_add_n(&b, "\xef\xbf\xbd", 3);
        f->zero_bytes += s[i] == 0;
    }
    int rc = b.failed ? ERR_MEMORY : keep(f, b.s, b.n, out);
    str_free(&b);
    return rc;
}

static int make_text(struct pq_file *f, struct pq_column *c, int64_t row, const uint8_t *s, size_t n, const char **out)
{
    bool zero = n > 0 && memchr(s, 0, n);
    if (!utf8_ok((const char *)s, n) || (zero && !c->is_text)) {
        if (!c->is_text)
            return pq_leave_out(f, c, "it holds bytes, not text (found near row %" PRId64 ")", row + 1);
        FAIL(ERR_DATA, "%s: column \"%s\", near row %" PRId64 ": expected UTF-8, found other bytes", f->path, c->name,
             row + 1);
    }
    return zero ? keep_with_zeros(f, s, n, out) : keep(f, (const char *)s, n, out);
}

/* ---- numbers as text ---- */

/* A program around us may have set a locale that writes a comma. */
static void plain_point(char *s)
{
    for (; *s; s++)
        if (!strchr("0123456789+-einfa", *s))
            *s = '.';
}

void pq_text_double(char out[PQ_NUMBER_BYTES], double x)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, PQ_NUMBER_BYTES, "%.*g", digits, x);
        if (isnan(x) || strtod(out, NULL) == x)
            break;
    }
    if (isnan(x))
        strcpy(out, "nan");
    plain_point(out);
}

void pq_text_float(char out[PQ_NUMBER_BYTES], float x)
{
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(out, PQ_NUMBER_BYTES, "%.*g", digits, (double)x);
        if (isnan(x) || strtof(out, NULL) == x)
            break;
    }
    if (isnan(x))
        strcpy(out, "nan");
    plain_point(out);
}

/* `bits`: the stored number, 32-bit ones zero-extended. */
static int make_number(struct pq_file *f, const struct pq_column *c, uint64_t bits, const char **out)
{
    char s[PQ_NUMBER_BYTES];
    uint32_t low = (uint32_t)bits;
    int32_t i32 = 0;
    int64_t i64 = 0;
    float f32 = 0;
    double f64 = 0;
    switch (c->type) {
    case PQ_INT32:
        memcpy(&i32, &low, 4);
        snprintf(s, sizeof(s), "%" PRId64, c->is_unsigned ? (int64_t)low : (int64_t)i32);
        break;
    case PQ_INT64:
        memcpy(&i64, &bits, 8);
        if (c->is_unsigned)
            snprintf(s, sizeof(s), "%" PRIu64, bits);
        else
            snprintf(s, sizeof(s), "%" PRId64, i64);
        break;
    case PQ_FLOAT:
        memcpy(&f32, &low, 4);
        pq_text_float(s, f32);
        break;
    default:
        BUG_ON(c->type != PQ_DOUBLE);
        memcpy(&f64, &bits, 8);
        pq_text_double(s, f64);
    }
    return keep(f, s, strlen(s), out);
}

static size_t number_bytes(int type)
{
    return type == PQ_INT32 || type == PQ_FLOAT ? 4 : type == PQ_INT64 || type == PQ_DOUBLE ? 8 : 0;
}

/* ---- plain ---- */

static int decode_bits(struct reader *r, size_t n, struct pq_sink *sink)
{
    const uint8_t *b = NULL;
    TRY(read_bytes(r, &b, n / 8 + (n % 8 != 0)));
    for (size_t i = 0; i < n; i++)
        pq_sink_put(sink, b[i / 8] >> i % 8 & 1 ? "true" : "false");
    return 0;
}

static int decode_plain(struct pq_file *f, struct pq_column *c, struct reader *r, size_t n, struct pq_sink *sink)
{
    const char *text = NULL;
    if (c->type == PQ_BOOLEAN)
        return decode_bits(r, n, sink);
    for (size_t i = 0; i < n; i++) {
        if (c->type == PQ_BYTES) {
            const uint8_t *s = NULL;
            uint32_t len = 0;
            TRY(read_u32le(r, &len));
            TRY(read_bytes(r, &s, len));
            TRY(make_text(f, c, sink->row + (int64_t)sink->i, s, len, &text));
        } else {
            uint32_t low = 0;
            uint64_t bits = 0;
            if (number_bytes(c->type) == 4)
                TRY(read_u32le(r, &low));
            else
                TRY(read_u64le(r, &bits));
            TRY(make_number(f, c, bits | low, &text));
        }
        pq_sink_put(sink, text);
    }
    return 0;
}

/* All first bytes, then all second bytes ... */
static int decode_split(struct pq_file *f, struct pq_column *c, struct reader *r, size_t n, struct pq_sink *sink)
{
    const uint8_t *b = NULL;
    const char *text = NULL;
    size_t width = number_bytes(c->type), total = 0;
    if (!mul_ok(width, n, &total))
        FAIL(ERR_DATA, "%s: too many values", r->file);
    TRY(read_bytes(r, &b, total));
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        for (size_t k = 0; k < width; k++)
            bits |= (uint64_t)b[k * n + i] << 8 * k;
        TRY(make_number(f, c, bits, &text));
        pq_sink_put(sink, text);
    }
    return 0;
}

/* ---- runs and bit-packed groups ---- */

struct pq_hybrid pq_hybrid(struct reader *r, int width)
{
    BUG_ON(width < 0 || width > 32);
    return (struct pq_hybrid){.r = r, .width = width};
}

static int next_run(struct pq_hybrid *h)
{
    uint64_t head = 0;
    const uint8_t *b = NULL;
    TRY(thrift_varint(h->r, &head));
    if (head > UINT32_MAX)
        FAIL(ERR_DATA, "%s: a run of %" PRIu64 " values; expected at most 2^31", h->r->file, head >> 1);
    h->packed = head & 1;
    h->run = h->packed ? (head >> 1) * 8 : head >> 1;
    h->bits = 0;
    h->n_bits = 0;
    h->value = 0;
    if (!h->packed) {
        size_t n = (size_t)(h->width + 7) / 8;
        TRY(read_bytes(h->r, &b, n));
        for (size_t i = 0; i < n; i++)
            h->value |= (uint32_t)b[i] << 8 * i;
    }
    return 0;
}

int pq_hybrid_next(struct pq_hybrid *h, uint32_t *out)
{
    while (h->run == 0)
        TRY(next_run(h)); /* an empty run still takes a byte, so this ends */
    h->run--;
    if (!h->packed) {
        *out = h->value;
        return 0;
    }
    while (h->n_bits < h->width) { /* at most 31 + 8 bits are held */
        const uint8_t *b = NULL;
        TRY(read_bytes(h->r, &b, 1));
        h->bits |= (uint64_t)*b << h->n_bits;
        h->n_bits += 8;
    }
    *out = (uint32_t)(h->bits & ((UINT64_C(1) << h->width) - 1));
    h->bits >>= h->width;
    h->n_bits -= h->width;
    return 0;
}

static int decode_dictionary(struct pq_column *c, struct reader *r, size_t n, const struct pq_dictionary *dict,
                             struct pq_sink *sink)
{
    const uint8_t *width = NULL;
    uint32_t index = 0;
    if (n == 0)
        return 0;
    if (!dict)
        FAIL(ERR_DATA, "%s: column \"%s\": values point into a dictionary, but there is none", r->file, c->name);
    TRY(read_bytes(r, &width, 1));
    if (*width > 32)
        FAIL(ERR_DATA, "%s: column \"%s\": indices of %d bits, expected at most 32", r->file, c->name, *width);
    struct pq_hybrid h = pq_hybrid(r, *width);
    for (size_t i = 0; i < n; i++) {
        TRY(pq_hybrid_next(&h, &index));
        if (index >= dict->n)
            FAIL(ERR_DATA, "%s: column \"%s\", near row %" PRId64 ": entry %" PRIu32 " of a dictionary of %zu", r->file,
                 c->name, sink->row + (int64_t)sink->i + 1, index, dict->n);
        pq_sink_put(sink, dict->text[index]);
    }
    return 0;
}

static int decode_runs_of_bool(struct reader *r, size_t n, struct pq_sink *sink)
{
    uint32_t bytes = 0, v = 0;
    const uint8_t *b = NULL;
    TRY(read_u32le(r, &bytes));
    TRY(read_bytes(r, &b, bytes));
    struct reader in = {b, b + bytes, r->start, r->file};
    struct pq_hybrid h = pq_hybrid(&in, 1);
    for (size_t i = 0; i < n; i++) {
        TRY(pq_hybrid_next(&h, &v));
        pq_sink_put(sink, v ? "true" : "false");
    }
    return 0;
}

/* ---- deltas ---- */

struct delta {
    struct reader *r;
    uint64_t per_mini, n_mini; /* values of a miniblock, miniblocks of a block */
    uint64_t left;             /* values not yet given out */
    uint64_t mini, in_mini;    /* the miniblock we are in, and values left in it */
    const uint8_t *widths, *packed;
    uint64_t at; /* bit of packed */
    uint64_t min, last;
    bool first;
};

static int delta_open(struct delta *d, struct reader *r, size_t n)
{
    uint64_t block = 0, count = 0;
    int64_t first = 0;
    *d = (struct delta){.r = r, .first = true};
    TRY(thrift_varint(r, &block));
    TRY(thrift_varint(r, &d->n_mini));
    TRY(thrift_varint(r, &count));
    TRY(thrift_zigzag(r, &first));
    if (block == 0 || block > 1 << 20 || d->n_mini == 0 || d->n_mini > block / 8 || block % (d->n_mini * 8) != 0)
        FAIL(ERR_DATA, "%s: delta blocks of %" PRIu64 " values in %" PRIu64 " parts; parts must be multiples of 8",
             r->file, block, d->n_mini);
    if (count != n)
        FAIL(ERR_DATA, "%s: %" PRIu64 " delta-encoded values, expected %zu", r->file, count, n);
    d->per_mini = block / d->n_mini;
    d->mini = d->n_mini;
    d->left = count;
    d->last = (uint64_t)first;
    return 0;
}

/* The next miniblock's bytes, behind the next block's head where one ended. */
static int next_mini(struct delta *d)
{
    if (d->mini == d->n_mini) {
        int64_t min = 0;
        TRY(thrift_zigzag(d->r, &min));
        TRY(read_bytes(d->r, &d->widths, d->n_mini));
        d->min = (uint64_t)min;
        d->mini = 0;
    }
    int width = d->widths[d->mini];
    if (width > 64)
        FAIL(ERR_DATA, "%s: deltas of %d bits, expected at most 64", d->r->file, width);
    TRY(read_bytes(d->r, &d->packed, d->per_mini / 8 * (uint64_t)width));
    d->in_mini = d->per_mini;
    d->at = 0;
    return 0;
}

static int delta_next(struct delta *d, uint64_t *out)
{
    BUG_ON(d->left == 0);
    d->left--;
    if (d->first) {
        d->first = false;
        *out = d->last;
        return 0;
    }
    if (d->in_mini == 0)
        TRY(next_mini(d));
    int width = d->widths[d->mini];
    uint64_t v = 0;
    for (int have = 0; have < width;) {
        int skip = (int)(d->at % 8), take = 8 - skip < width - have ? 8 - skip : width - have;
        uint64_t bits = (uint64_t)(d->packed[d->at / 8] >> skip) & ((1u << take) - 1);
        v |= bits << have;
        have += take;
        d->at += (uint64_t)take;
    }
    d->last += d->min + v; /* wraps, as the format says */
    if (--d->in_mini == 0)
        d->mini++;
    *out = d->last;
    return 0;
}

static int decode_delta(struct pq_file *f, struct pq_column *c, struct reader *r, size_t n, struct pq_sink *sink)
{
    struct delta d;
    const char *text = NULL;
    uint64_t v = 0;
    TRY(delta_open(&d, r, n));
    for (size_t i = 0; i < n; i++) {
        TRY(delta_next(&d, &v));
        TRY(make_number(f, c, v, &text));
        pq_sink_put(sink, text);
    }
    return 0;
}

/* n lengths; all must be read before the bytes behind them can be found. The sink has n cells at least. */
static int read_lengths(struct pq_file *f, struct reader *r, size_t n, uint32_t **out)
{
    struct delta d;
    uint64_t v = 0;
    size_t bytes = 0;
    TRY(delta_open(&d, r, n));
    if (!mul_ok(n, sizeof(**out), &bytes))
        FAIL(ERR_DATA, "%s: too many values", r->file);
    uint32_t *len = arena_alloc(f->scratch, bytes);
    if (!len)
        return ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        TRY(delta_next(&d, &v));
        v &= UINT32_MAX; /* they are 32-bit numbers */
        if (v > INT32_MAX)
            FAIL(ERR_DATA, "%s: a text of %" PRIu64 " bytes (or a negative number)", r->file, v);
        len[i] = (uint32_t)v;
    }
    *out = len;
    return 0;
}

static int decode_lengths(struct pq_file *f, struct pq_column *c, struct reader *r, size_t n, struct pq_sink *sink)
{
    uint32_t *len = NULL;
    const char *text = NULL;
    TRY(read_lengths(f, r, n, &len));
    for (size_t i = 0; i < n; i++) {
        const uint8_t *s = NULL;
        TRY(read_bytes(r, &s, len[i]));
        TRY(make_text(f, c, sink->row + (int64_t)sink->i, s, len[i], &text));
        pq_sink_put(sink, text);
    }
    return 0;
}

/* Each text shares a prefix with the one before it. */
static int decode_prefixes(struct pq_file *f, struct pq_column *c, struct reader *r, size_t n, struct pq_sink *sink)
{
    uint32_t *prefix = NULL, *len = NULL;
    const char *text = NULL;
    struct str last = {0};
    int rc = 0;
    TRY(read_lengths(f, r, n, &prefix));
    TRY(read_lengths(f, r, n, &len));
    for (size_t i = 0; i < n && rc == 0; i++) {
        const uint8_t *s = NULL;
        if (prefix[i] > last.n) {
            rc = err_set(ERR_DATA, "%s: a text shares %" PRIu32 " bytes with one of %zu", r->file, prefix[i], last.n);
            break;
        }
        rc = read_bytes(r, &s, len[i]);
        if (rc < 0)
            break;
        last.n = prefix[i];
        str_add_n(&last, (const char *)s, len[i]);
        rc = last.failed ? ERR_MEMORY
                         : make_text(f, c, sink->row + (int64_t)sink->i, (const uint8_t *)last.s, last.n, &text);
        if (rc == 0)
            pq_sink_put(sink, text);
    }
    str_free(&last);
    return rc;
}

int pq_decode(struct pq_file *f, struct pq_column *c, int encoding, struct reader *r, size_t n,
              const struct pq_dictionary *dict, struct pq_sink *sink)
{
    bool whole = c->type == PQ_INT32 || c->type == PQ_INT64;
    if (encoding == PQ_PLAIN)
        return decode_plain(f, c, r, n, sink);
    if (encoding == PQ_PLAIN_DICTIONARY || encoding == PQ_RLE_DICTIONARY)
        return decode_dictionary(c, r, n, dict, sink);
    if (encoding == PQ_RLE && c->type == PQ_BOOLEAN)
        return decode_runs_of_bool(r, n, sink);
    if (encoding == PQ_SPLIT && number_bytes(c->type) > 0)
        return decode_split(f, c, r, n, sink);
    if (encoding == PQ_DELTA_INT && whole)
        return decode_delta(f, c, r, n, sink);
    if (encoding == PQ_DELTA_LENGTH && c->type == PQ_BYTES)
        return decode_lengths(f, c, r, n, sink);
    if (encoding == PQ_DELTA_BYTES && c->type == PQ_BYTES)
        return decode_prefixes(f, c, r, n, sink);
    return pq_leave_out(f, c, "encoding %d of values of type %d is not supported", encoding, c->type);
}
