/* base/json.c: reading JSON that somebody else wrote.
 *
 * jansson parses; this file sets the borders (size, depth, duplicate keys) and words the complaints: file, field,
 * found, expected. The depth is counted before parsing, in one pass that only knows strings and brackets, because
 * jansson's own border is fixed at compile time. Rejected: schemas; a field has one type and one range, said where
 * it is read. */
#include "base/base.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static int check_depth(const char *text, size_t n, const char *name)
{
    int64_t depth = 0, line = 1, max = limit_get(LIMIT_JSON_DEPTH);
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        line += c == '\n';
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > max)
                FAIL(ERR_DATA, "%s: line %" PRId64 " nests deeper than %" PRId64 " levels (limit json-depth)", name,
                     line, max);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 0;
}

static int too_large(const char *name)
{
    FAIL(ERR_DATA, "%s: JSON is larger than %" PRId64 " bytes (limit json-bytes)", name, limit_get(LIMIT_JSON_BYTES));
}

int json_read_text(json_t **out, const char *text, size_t n, const char *name)
{
    json_error_t why;
    json_t *o;

    if (n > (uint64_t)limit_get(LIMIT_JSON_BYTES))
        return too_large(name);
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark, which RFC 8259 lets us ignore */
        text += 3;
        n -= 3;
    }
    if (n == 0)
        FAIL(ERR_DATA, "%s: is empty, expected JSON", name);
    TRY(check_depth(text, n, name));
    if (memchr(text, 0, n)) /* jansson passes over one behind a number */
        FAIL(ERR_DATA, "%s: is not valid JSON: it holds a zero byte", name);
    o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!o && json_error_code(&why) == json_error_out_of_memory)
        FAIL(ERR_MEMORY, "%s: out of memory while reading JSON", name);
    if (!o)
        FAIL(ERR_DATA, "%s: is not valid JSON: line %d, column %d: %s", name, why.line, why.column, why.text);
    *out = o;
    return 0;
}

int json_read_file(json_t **out, const char *path)
{
    size_t max = (size_t)limit_get(LIMIT_JSON_BYTES);
    struct str text = {0};
    char block[1 << 14];
    struct stat st;
    FILE *f = fopen(path, "rb");
    int rc;

    if (!f)
        return err_errno(ERR_FAIL, "%s: cannot open", path);
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode)) {
        if ((uintmax_t)st.st_size > max) {
            rc = too_large(path);
            goto out;
        }
        text.s = mem_alloc((size_t)st.st_size + 1); /* at once: a text that grows is copied, and then there are two */
        text.cap = text.s ? (size_t)st.st_size + 1 : 0;
        text.failed = !text.s;
    }
    while (!text.failed) { /* a pipe has no size to ask for, and a file may grow: count what arrives */
        size_t n = fread(block, 1, sizeof block, f);

        if (n == 0)
            break;
        if (text.n + n > max) {
            rc = too_large(path);
            goto out;
        }
        str_add_n(&text, block, n);
    }
    if (ferror(f))
        rc = err_errno(ERR_FAIL, "%s: cannot read", path);
    else if (text.failed)
        rc = err_while(ERR_MEMORY, "reading %s", path);
    else
        rc = json_read_text(out, text.s ? text.s : "", text.n, path);
out:
    fclose(f);
    str_free(&text);
    return rc;
}

/* What stands there, as a reader would say it. */
static const char *describe(const json_t *v, char *out, size_t n)
{
    char safe[64];

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        snprintf(out, n, "an object");
        break;
    case JSON_ARRAY:
        snprintf(out, n, "a list of %zu", json_array_size(v));
        break;
    case JSON_STRING:
        str_safe(safe, sizeof safe, json_string_value(v));
        snprintf(out, n, "\"%s%s\"", safe, strlen(json_string_value(v)) >= sizeof safe ? "..." : "");
        break;
    case JSON_INTEGER:
        snprintf(out, n, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        snprintf(out, n, "%.15g", json_real_value(v));
        break;
    default:
        snprintf(out, n, "%s", json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
    }
    return out;
}

/* Finds the field. 1: it is there; 0: it is not and need not be (an optional null counts as absent, which is how
 * published configs leave a field out). */
static int find(const json_t *o, const char *key, bool required, const char *expected, const char *where,
                json_t **value)
{
    char found[96];
    json_t *v;

    if (!json_is_object(o))
        FAIL(ERR_DATA, "%s: is %s, expected an object with field \"%s\"", where,
             o ? describe(o, found, sizeof found) : "nothing", key);
    v = json_object_get(o, key);
    if (!v && required)
        FAIL(ERR_DATA, "%s: field \"%s\" is missing, expected %s", where, key, expected);
    if (!v || (!required && json_is_null(v)))
        return 0;
    *value = v;
    return 1;
}

static int wrong(const json_t *v, const char *key, const char *expected, const char *where)
{
    char found[96];

    FAIL(ERR_DATA, "%s: field \"%s\" is %s, expected %s", where, key, describe(v, found, sizeof found), expected);
}

int json_field_int(const json_t *o, const char *key, bool required, int64_t min, int64_t max, int64_t *out,
                   const char *where)
{
    char expected[96];
    json_t *v = NULL;
    int64_t x;
    int rc;

    if (min == INT64_MIN && max == INT64_MAX)
        snprintf(expected, sizeof expected, "a whole number");
    else if (max == INT64_MAX)
        snprintf(expected, sizeof expected, "a whole number >= %" PRId64, min);
    else
        snprintf(expected, sizeof expected, "a whole number in [%" PRId64 ", %" PRId64 "]", min, max);
    rc = find(o, key, required, expected, where, &v);
    if (rc <= 0)
        return rc;
    if (json_is_integer(v)) {
        x = json_integer_value(v);
    } else { /* 512.0 is a whole number too; beyond 2^53 a double no longer tells */
        double d = json_is_real(v) ? json_real_value(v) : 0.5;
        if (d != floor(d) || fabs(d) > 0x1p53)
            return wrong(v, key, expected, where);
        x = (int64_t)d;
    }
    if (x < min || x > max)
        return wrong(v, key, expected, where);
    *out = x;
    return 0;
}

int json_field_real(const json_t *o, const char *key, bool required, double min, double max, double *out,
                    const char *where)
{
    char expected[96];
    json_t *v = NULL;
    double x;
    int rc;

    if (min <= -1e300 && max >= 1e300)
        snprintf(expected, sizeof expected, "a number");
    else if (max >= 1e300)
        snprintf(expected, sizeof expected, "a number >= %.15g", min);
    else if (min <= -1e300)
        snprintf(expected, sizeof expected, "a number <= %.15g", max);
    else
        snprintf(expected, sizeof expected, "a number in [%.15g, %.15g]", min, max);
    rc = find(o, key, required, expected, where, &v);
    if (rc <= 0)
        return rc;
    if (!json_is_number(v))
        return wrong(v, key, expected, where);
    x = json_number_value(v);
    if (!(x >= min && x <= max))
        return wrong(v, key, expected, where);
    *out = x;
    return 0;
}

int json_field_bool(const json_t *o, const char *key, bool required, bool *out, const char *where)
{
    json_t *v = NULL;
    int rc = find(o, key, required, "true or false", where, &v);

    if (rc <= 0)
        return rc;
    if (!json_is_boolean(v))
        return wrong(v, key, "true or false", where);
    *out = json_is_true(v);
    return 0;
}

int json_field_str(const json_t *o, const char *key, bool required, const char **out, const char *where)
{
    json_t *v = NULL;
    int rc = find(o, key, required, "a string", where, &v);

    if (rc <= 0)
        return rc;
    if (!json_is_string(v))
        return wrong(v, key, "a string", where);
    *out = json_string_value(v);
    return 0;
}

json_t *json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static int dump_into(const char *text, size_t n, void *into)
{
    str_add_n(into, text, n);
    return 0;
}

int str_add_json(struct str *b, const json_t *value, size_t flags)
{
    if (json_dump_callback(value, dump_into, b, flags) != 0)
        FAIL(ERR_FAIL, "a value cannot be written as JSON");
    return b->failed ? ERR_MEMORY : 0;
}
