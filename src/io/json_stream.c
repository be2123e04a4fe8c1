/* io/json_stream.c: JSON that is too large to hold, read as a stream of events.
 *
 * base/json.c holds a document as a tree, ten times the size of its text; caption files of 100 MB are common. Here a
 * pull parser hands out one event at a time and keeps 64 KiB of the file, the current string, and one bit for each
 * open bracket. The grammar is RFC 8259's, checked to the last byte: a file cut anywhere is an error, never a shorter
 * list. A string that is not UTF-8 (or holds half a surrogate pair, or a zero byte) is handed out as such, so that the
 * caller can leave out its record; anything else that is wrong ends the reading, with line and byte.
 * Rejected: a library of events; the parts that need care, limits and positions in messages, would be ours all the
 * same. */
#include "io/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER ((size_t)64 << 10)
#define MAX_NUMBER 400
#define MAX_DEPTH 1024

struct json_stream {
    FILE *f;
    char *path;
    uint8_t *buffer;
    size_t at, n;
    int64_t before; /* bytes of the file before the buffer */
    int64_t line;
    struct str text;
    bool bad_text, key_next, done, started;
    int depth;
    uint8_t is_object[MAX_DEPTH]; /* of each open bracket */
    bool first;                   /* nothing stands in the innermost bracket yet */
};

int json_stream_open(struct json_stream **out, const char *path)
{
    struct json_stream *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    s->line = 1;
    s->path = mem_strdup(path);
    s->buffer = mem_alloc(BUFFER);
    int rc = s->path && s->buffer ? 0 : ERR_MEMORY;
    if (rc == 0 && path_is_dir(path))
        rc = err_set(ERR_DATA, "%s: is a folder, expected a JSON file", path);
    if (rc == 0 && !(s->f = fopen(path, "rb")))
        rc = err_errno(ERR_DATA, "%s: cannot open", path);
    if (rc < 0) {
        json_stream_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void json_stream_close(struct json_stream **sp)
{
    struct json_stream *s = *sp;
    if (!s)
        return;
    if (s->f)
        fclose(s->f);
    str_free(&s->text);
    mem_free(s->buffer);
    mem_free(s->path);
    mem_free(s);
    *sp = NULL;
}

static int64_t offset(const struct json_stream *s)
{
    return s->before + (int64_t)s->at;
}

int64_t json_stream_line(const struct json_stream *s)
{
    return s->line;
}

/* ---- bytes -------------------------------------------------------------------------------------------------- */

/* *c: the next byte, not taken, or -1 at the end. */
static int peek(struct json_stream *s, int *c)
{
    if (s->at == s->n) {
        s->before += (int64_t)s->n;
        s->at = 0;
        s->n = fread(s->buffer, 1, BUFFER, s->f);
        if (s->n == 0 && ferror(s->f))
            return err_errno(ERR_DATA, "%s: cannot read behind byte %lld", s->path, (long long)s->before);
        if (s->before == 0 && s->n >= 3 && !memcmp(s->buffer, "\xef\xbb\xbf", 3))
            s->at = 3;
    }
    *c = s->at < s->n ? s->buffer[s->at] : -1;
    return 0;
}

static int wrong(const struct json_stream *s, const char *expected, int c)
{
    char found[32];
    if (c < 0)
        snprintf(found, sizeof found, "the end of the file");
    else if (c > 0x20 && c < 0x7f)
        snprintf(found, sizeof found, "'%c'", c);
    else
        snprintf(found, sizeof found, "byte 0x%02x", (unsigned)c);
    FAIL(ERR_DATA, "%s: is not valid JSON: line %lld, byte %lld: expected %s, found %s%s", s->path, (long long)s->line,
         (long long)offset(s), expected, found, c < 0 ? "; the file is truncated" : "");
}

static int skip_space(struct json_stream *s, int *c)
{
    for (;;) {
        TRY(peek(s, c));
        if (*c != ' ' && *c != '\t' && *c != '\n' && *c != '\r')
            return 0;
        s->line += *c == '\n';
        s->at++;
    }
}

/* ---- strings ------------------------------------------------------------------------------------------------ */

static void add_code_point(struct json_stream *s, uint32_t c)
{
    if (c < 0x80) {
        str_add_c(&s->text, (char)c);
    } else if (c < 0x800) {
        str_add_c(&s->text, (char)(0xc0 | c >> 6));
        str_add_c(&s->text, (char)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        str_add_c(&s->text, (char)(0xe0 | c >> 12));
        str_add_c(&s->text, (char)(0x80 | (c >> 6 & 63)));
        str_add_c(&s->text, (char)(0x80 | (c & 63)));
    } else {
        str_add_c(&s->text, (char)(0xf0 | c >> 18));
        str_add_c(&s->text, (char)(0x80 | (c >> 12 & 63)));
        str_add_c(&s->text, (char)(0x80 | (c >> 6 & 63)));
        str_add_c(&s->text, (char)(0x80 | (c & 63)));
    }
}

static int take_hex(struct json_stream *s, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int c = -1;
        TRY(peek(s, &c));
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return wrong(s, "four hexadecimal digits behind \\u", c);
        v = v << 4 | (uint32_t)digit;
        s->at++;
    }
    *out = v;
    return 0;
}

/* \uXXXX, the first half of a pair with its second. `high` is a half that waits for it, or 0. */
static int take_unicode(struct json_stream *s, uint32_t *high)
{
    uint32_t v = 0;
    TRY(take_hex(s, &v));
    bool low = v >= 0xdc00 && v < 0xe000;
    if (low && *high)
        add_code_point(s, 0x10000 + ((*high - 0xd800) << 10) + (v - 0xdc00));
    else if (low || *high || v == 0)
        s->bad_text = true;
    else if (v < 0xd800 || v >= 0xe000)
        add_code_point(s, v);
    *high = v >= 0xd800 && v < 0xdc00 ? v : 0;
    return 0;
}

static int take_escape(struct json_stream *s, uint32_t *high)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = -1;
    s->at++;
    TRY(peek(s, &c));
    const char *at = c > 0 ? strchr(from, c) : NULL;
    if (c == 'u') {
        s->at++;
        return take_unicode(s, high);
    }
    if (!at)
        return wrong(s, "one of \"\\/bfnrtu behind a backslash", c);
    s->bad_text |= *high != 0;
    *high = 0;
    str_add_c(&s->text, to[at - from]);
    s->at++;
    return 0;
}

/* c is the opening quote. */
static int take_string(struct json_stream *s)
{
    size_t max = (size_t)limit_get(LIMIT_TEXT_BYTES);
    uint32_t high = 0;
    str_clear(&s->text);
    s->bad_text = false;
    for (s->at++;;) {
        int c = -1;
        TRY(peek(s, &c));
        if (s->text.n > max)
            FAIL(ERR_DATA, "%s: line %lld: a string is longer than %zu bytes (limit text-bytes)", s->path,
                 (long long)s->line, max);
        if (c == '\\') {
            TRY(take_escape(s, &high));
            continue;
        }
        s->bad_text |= high != 0;
        high = 0;
        if (c < 0x20)
            return wrong(s, "a closing quote", c);
        if (c == '"')
            break;
        size_t from = s->at;
        while (s->at < s->n && s->buffer[s->at] >= 0x20 && s->buffer[s->at] != '"' && s->buffer[s->at] != '\\')
            s->at++;
        str_add_n(&s->text, (const char *)s->buffer + from, s->at - from);
    }
    s->at++;
    str_add_n(&s->text, "", 0);
    if (s->text.failed)
        return ERR_MEMORY;
    s->bad_text |= !utf8_ok(s->text.s, s->text.n);
    return 0;
}

/* ---- numbers and words -------------------------------------------------------------------------------------- */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int take_char(struct json_stream *s, int *c)
{
    if (s->text.n >= MAX_NUMBER)
        FAIL(ERR_DATA, "%s: line %lld: a number of more than %d characters", s->path, (long long)s->line, MAX_NUMBER);
    str_add_c(&s->text, (char)*c);
    s->at++;
    return peek(s, c);
}

static int take_digits(struct json_stream *s, int *c)
{
    if (!is_digit(*c))
        return wrong(s, "a digit", *c);
    while (is_digit(*c))
        TRY(take_char(s, c));
    return 0;
}

static int take_number(struct json_stream *s, int c)
{
    str_clear(&s->text);
    s->bad_text = false;
    if (c == '-')
        TRY(take_char(s, &c));
    if (c == '0')
        TRY(take_char(s, &c));
    else
        TRY(take_digits(s, &c));
    if (c == '.') {
        TRY(take_char(s, &c));
        TRY(take_digits(s, &c));
    }
    if (c == 'e' || c == 'E') {
        TRY(take_char(s, &c));
        if (c == '+' || c == '-')
            TRY(take_char(s, &c));
        TRY(take_digits(s, &c));
    }
    return s->text.failed ? ERR_MEMORY : 0;
}

static int take_word(struct json_stream *s, const char *word)
{
    str_clear(&s->text);
    for (const char *w = word; *w; w++) {
        int c = -1;
        TRY(peek(s, &c));
        if (c != *w)
            return wrong(s, word, c);
        s->at++;
    }
    str_add(&s->text, "%s", word);
    return s->text.failed ? ERR_MEMORY : 0;
}

/* ---- events ------------------------------------------------------------------------------------------------- */

static int open_bracket(struct json_stream *s, bool object)
{
    int64_t max = limit_get(LIMIT_JSON_DEPTH);
    if (s->depth >= max || s->depth >= MAX_DEPTH)
        FAIL(ERR_DATA, "%s: line %lld nests deeper than %lld levels (limit json-depth)", s->path, (long long)s->line,
             (long long)(max < MAX_DEPTH ? max : MAX_DEPTH));
    s->is_object[s->depth++] = object;
    s->first = true;
    s->key_next = object;
    s->at++;
    return 0;
}

static void value_ended(struct json_stream *s)
{
    s->first = false;
    s->done = s->depth == 0;
    s->key_next = s->depth > 0 && s->is_object[s->depth - 1];
}

static int take_value(struct json_stream *s, int c, enum json_event *e)
{
    *e = c == '{'   ? JSON_EVENT_OBJECT
         : c == '[' ? JSON_EVENT_ARRAY
         : c == '"' ? JSON_EVENT_STRING
         : c == 't' ? JSON_EVENT_TRUE
         : c == 'f' ? JSON_EVENT_FALSE
         : c == 'n' ? JSON_EVENT_NULL
                    : JSON_EVENT_NUMBER;
    if (*e == JSON_EVENT_OBJECT || *e == JSON_EVENT_ARRAY)
        return open_bracket(s, *e == JSON_EVENT_OBJECT);
    if (*e == JSON_EVENT_STRING)
        TRY(take_string(s));
    else if (*e == JSON_EVENT_TRUE)
        TRY(take_word(s, "true"));
    else if (*e == JSON_EVENT_FALSE)
        TRY(take_word(s, "false"));
    else if (*e == JSON_EVENT_NULL)
        TRY(take_word(s, "null"));
    else if (c == '-' || is_digit(c))
        TRY(take_number(s, c));
    else
        return wrong(s, "a value", c);
    value_ended(s);
    return 0;
}

static int take_key(struct json_stream *s, int c, enum json_event *e)
{
    if (c != '"')
        return wrong(s, "a key in quotes", c);
    TRY(take_string(s));
    TRY(skip_space(s, &c));
    if (c != ':')
        return wrong(s, "':' behind a key", c);
    s->at++;
    s->key_next = false;
    s->first = true; /* no comma before the value */
    *e = JSON_EVENT_KEY;
    return 0;
}

int json_stream_next(struct json_stream *s, enum json_event *e)
{
    int c = -1;
    TRY(skip_space(s, &c));
    if (s->done) {
        if (c >= 0)
            return wrong(s, "nothing behind the last bracket", c);
        *e = JSON_EVENT_END;
        return 0;
    }
    if (s->depth == 0)
        return c < 0 ? err_set(ERR_DATA, "%s: is empty, expected JSON", s->path) : take_value(s, c, e);
    bool object = s->is_object[s->depth - 1];
    bool in_pair = object && !s->key_next; /* behind "key": */
    if (!in_pair && c == (object ? '}' : ']')) {
        s->at++;
        s->depth--;
        value_ended(s);
        *e = object ? JSON_EVENT_OBJECT_END : JSON_EVENT_ARRAY_END;
        return 0;
    }
    if (!in_pair && !s->first) {
        if (c != ',')
            return wrong(s, object ? "',' or '}'" : "',' or ']'", c);
        s->at++;
        TRY(skip_space(s, &c));
    }
    return object && s->key_next ? take_key(s, c, e) : take_value(s, c, e);
}

const char *json_stream_text(const struct json_stream *s)
{
    return s->text.s ? s->text.s : "";
}

bool json_stream_text_ok(const struct json_stream *s)
{
    return !s->bad_text;
}

bool json_stream_int(const struct json_stream *s, int64_t *out)
{
    const char *text = json_stream_text(s);
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return false;
    *out = v;
    return true;
}

int json_stream_skip(struct json_stream *s, enum json_event e)
{
    int depth = e == JSON_EVENT_OBJECT || e == JSON_EVENT_ARRAY;
    while (depth > 0) {
        TRY(json_stream_next(s, &e));
        depth += e == JSON_EVENT_OBJECT || e == JSON_EVENT_ARRAY;
        depth -= e == JSON_EVENT_OBJECT_END || e == JSON_EVENT_ARRAY_END;
    }
    return 0;
}
