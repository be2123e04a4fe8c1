/* data/wds_pattern.c: the shards that a pattern names, as bash's braces would, without a shell. */
#include "data/wds.h"

#include <stdlib.h>

#define MAX_SHARDS 1000000
#define MAX_DEPTH 16

static int expand(struct names *out, const char *head, size_t n_head, const char *rest, int depth);

static int add_joined(struct names *out, const char *head, size_t n_head, const char *middle, size_t n_middle,
                      const char *tail, int depth)
{
    char text[BUILD_PATH];
    if (n_head + n_middle >= sizeof text)
        FAIL(ERR_USAGE, "the pattern names paths longer than %zu bytes", sizeof text - 1);
    if (n_head)
        memmove(text, head, n_head);
    memcpy(text + n_head, middle, n_middle);
    return expand(out, text, n_head + n_middle, tail, depth + 1);
}

static bool whole(const char *s, const char *end, int64_t *v)
{
    const char *digits = s + (*s == '-');
    if (digits == end || end - digits > 15)
        return false;
    for (const char *p = digits; p < end; p++)
        if (*p < '0' || *p > '9')
            return false;
    *v = strtoll(s, NULL, 10);
    return true;
}

static int width_of(const char *s, const char *end)
{
    const char *digits = s + (*s == '-');
    return end - digits > 1 && *digits == '0' ? (int)(end - s) : 0;
}

/* {from..to} or {from..to..step}. 1: it was one. */
static int expand_range(struct names *out, const char *head, size_t n_head, const char *open, const char *close,
                        int depth)
{
    int64_t from, to, step = 1;
    const char *dots = strstr(open, ".."), *end = close;
    if (!dots || dots >= close)
        return 0;
    const char *more = strstr(dots + 2, "..");
    if (more && more < close) {
        if (!whole(more + 2, close, &step) || step == 0)
            return 0;
        end = more;
    }
    if (!whole(open, dots, &from) || !whole(dots + 2, end, &to))
        return 0;
    step = step < 0 ? -step : step;
    int64_t span = to > from ? to - from : from - to;
    int width = width_of(open, dots), other = width_of(dots + 2, end);
    width = other > width ? other : width;
    if (span / step >= MAX_SHARDS)
        FAIL(ERR_USAGE, "range {%.*s} names more than %d shards", (int)(close - open), open, MAX_SHARDS);
    for (int64_t i = 0; i <= span; i += step) {
        char number[64];
        int n = snprintf(number, sizeof number, "%0*lld", width, (long long)(to > from ? from + i : from - i));
        TRY(add_joined(out, head, n_head, number, (size_t)n, close + 1, depth));
    }
    return 1;
}

/* {a,b,}: the commas of this brace alone. 1: it was one. */
static int expand_list(struct names *out, const char *head, size_t n_head, const char *open, const char *close,
                       int depth)
{
    int level = 0, commas = 0;
    for (const char *p = open; p < close; p++) {
        level += (*p == '{') - (*p == '}');
        commas += *p == ',' && level == 0;
    }
    if (!commas)
        return 0;
    const char *from = open;
    level = 0;
    for (const char *p = open; p <= close; p++) {
        if (p < close && (level || *p != ',')) {
            level += (*p == '{') - (*p == '}');
            continue;
        }
        /* the item may hold braces: it goes in front of the rest, to be expanded with it */
        char item[BUILD_PATH];
        if ((size_t)snprintf(item, sizeof item, "%.*s%s", (int)(p - from), from, close + 1) >= sizeof item)
            FAIL(ERR_USAGE, "the pattern is longer than %zu bytes", sizeof item - 1);
        TRY(expand(out, head, n_head, item, depth + 1));
        from = p + 1;
    }
    return 1;
}

static const char *closing(const char *open)
{
    int level = 0;
    for (const char *p = open; *p; p++) {
        level += (*p == '{') - (*p == '}');
        if (level == 0)
            return p;
    }
    return NULL;
}

static int expand(struct names *out, const char *head, size_t n_head, const char *rest, int depth)
{
    char text[BUILD_PATH];
    const char *open = strchr(rest, '{'), *close = open ? closing(open) : NULL;
    if (depth > MAX_DEPTH)
        FAIL(ERR_USAGE, "the pattern has more than %d braces", MAX_DEPTH);
    if (out->n >= MAX_SHARDS)
        FAIL(ERR_USAGE, "the pattern names more than %d shards", MAX_SHARDS);
    size_t n = open && close ? (size_t)(open - rest) : strlen(rest);
    if (n_head + n >= sizeof text)
        FAIL(ERR_USAGE, "the pattern names paths longer than %zu bytes", sizeof text - 1);
    if (n_head)
        memcpy(text, head, n_head);
    memcpy(text + n_head, rest, n);
    if (!open || !close)
        return names_add(out, text, n_head + n);
    int rc = expand_range(out, text, n_head + n, open + 1, close, depth);
    if (rc == 0)
        rc = expand_list(out, text, n_head + n, open + 1, close, depth);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    /* neither: the braces are letters */
    return add_joined(out, text, n_head + n, open, (size_t)(close + 1 - open), close + 1, depth);
}

static bool is_shard(const char *name)
{
    static const char *const endings[] = {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (str_ends(name, endings[i]))
            return true;
    return false;
}

static int expand_dir(struct names *out, const char *dir)
{
    struct names all = {0};
    char path[BUILD_PATH];
    int rc = names_list(&all, dir);
    int64_t before = out->n;
    for (int64_t i = 0; i < all.n && rc == 0; i++)
        if (is_shard(all.v[i])) {
            rc = path_join(path, sizeof path, dir, all.v[i]);
            if (rc == 0)
                rc = names_add(out, path, strlen(path));
        }
    names_free(&all);
    TRY(rc);
    if (out->n == before)
        FAIL(ERR_DATA, "%s: the folder holds no shard (.tar, .tar.gz, .tgz, .tar.zst)", dir);
    return 0;
}

int wds_expand(struct names *out, const char *pattern)
{
    while (*pattern) {
        char part[BUILD_PATH];
        const char *end = strstr(pattern, "::");
        size_t n = end ? (size_t)(end - pattern) : strlen(pattern);
        if (n >= sizeof part)
            FAIL(ERR_USAGE, "the pattern is longer than %zu bytes", sizeof part - 1);
        memcpy(part, pattern, n);
        part[n] = 0;
        if (n)
            TRY(path_is_dir(part) ? expand_dir(out, part) : expand(out, "", 0, part, 0));
        pattern += n + (end ? 2 : 0);
    }
    return 0;
}
