/* base/str.c: a growing text, escapes for the formats we write, and the nearest word for "did you mean".
 *
 * A str remembers that it failed instead of returning codes, so that a page of str_add calls reads like the page;
 * the writer of the file checks `failed` once. After a failure further adds do nothing. */
#include "base/base.h"

#include <string.h>

/* Room for n more bytes and the final NUL. */
static bool reserve(struct str *b, size_t n)
{
    size_t need, cap;
    char *s;

    if (b->failed)
        return false;
    if (!add_ok(b->n, n, &need) || !add_ok(need, 1, &need) || need > PTRDIFF_MAX / 2) {
        err_set(ERR_MEMORY, "out of memory: a text of %zu bytes cannot grow by %zu", b->n, n);
        b->failed = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    cap = need < 64 ? 64 : need + need / 2;
    s = mem_grow(b->s, b->n, cap);
    if (!s) {
        b->failed = true;
        return false;
    }
    b->s = s;
    b->cap = cap;
    b->s[b->n] = 0;
    return true;
}

void str_add(struct str *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        err_set(ERR_FAIL, "text could not be formatted");
        b->failed = true;
    }
    if (!reserve(b, n < 0 ? 0 : (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(b->s + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void str_add_n(struct str *b, const char *s, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->s + b->n, s, n);
    b->n += n;
    b->s[b->n] = 0;
}

void str_add_c(struct str *b, char c)
{
    str_add_n(b, &c, 1);
}

/* Control bytes other than tab and line ends are no XML characters, not even escaped: they become U+FFFD. */
void str_add_xml(struct str *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '&')
            str_add_n(b, "&amp;", 5);
        else if (c == '<')
            str_add_n(b, "&lt;", 4);
        else if (c == '>')
            str_add_n(b, "&gt;", 4);
        else if (c == '"')
            str_add_n(b, "&quot;", 6);
        else if (c == '\'')
            str_add_n(b, "&#39;", 5);
        else if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
            str_add_n(b, "\xef\xbf\xbd", 3);
        else
            str_add_c(b, *s);
    }
}

void str_add_csv(struct str *b, const char *s, char sep)
{
    size_t n = strlen(s);
    const char special[] = {'"', '\r', '\n', sep, '\0'};

    if (!strpbrk(s, special) && (n == 0 || (s[0] != ' ' && s[n - 1] != ' '))) {
        str_add_n(b, s, n);
        return;
    }
    str_add_c(b, '"');
    for (; *s; s++) {
        if (*s == '"')
            str_add_c(b, '"');
        str_add_c(b, *s);
    }
    str_add_c(b, '"');
}

void str_clear(struct str *b)
{
    b->n = 0;
    b->failed = false;
    if (b->s)
        b->s[0] = 0;
}

void str_free(struct str *b)
{
    mem_free(b->s);
    *b = (struct str){0};
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n >= k && memcmp(s + n - k, suffix, k) == 0;
}

/* Length of the UTF-8 character at s (n bytes left), 0 when there is none: Unicode 15, table 3-7. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
    unsigned lo = 0x80, hi = 0xbf;
    size_t len;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        lo = 0xa0; /* overlong */
    else if (s[0] == 0xed)
        hi = 0x9f; /* surrogates */
    else if (s[0] == 0xf0)
        lo = 0x90; /* overlong */
    else if (s[0] == 0xf4)
        hi = 0x8f; /* above U+10FFFF */
    if (len > n || s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool utf8_ok(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;

    for (size_t i = 0; i < n;) {
        size_t len = utf8_len(p + i, n - i);
        if (!len)
            return false;
        i += len;
    }
    return true;
}

/* C0 controls, DEL, C1 controls (U+0080 to U+009F: a terminal may obey those too) and bytes that are no UTF-8 are
 * written as \xNN. What does not fit is left out at a character's border. */
void str_safe(char *out, size_t n, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t left = strlen(s), used = 0;

    if (n == 0)
        return;
    while (left) {
        size_t len = utf8_len(p, left);
        bool bad = !len || p[0] < 0x20 || p[0] == 0x7f || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
        size_t need;

        if (!len)
            len = 1;
        need = bad ? 4 * len : len;
        if (need >= n - used)
            break;
        if (bad)
            for (size_t i = 0; i < len; i++)
                snprintf(out + used + 4 * i, 5, "\\x%02x", p[i]);
        else
            memcpy(out + used, p, len);
        used += need;
        p += len;
        left -= len;
    }
    out[used] = 0;
}

enum { WORD_MAX = 63 };

/* Edits between two words: insert, delete, replace, swap neighbours (optimal string alignment). */
static int edits(const char *a, int na, const char *b, int nb)
{
    int d[3][WORD_MAX + 1]; /* rows i-2, i-1, i, used in turn */

    for (int j = 0; j <= nb; j++)
        d[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];

        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[na % 3][nb];
}

/* Near is at most a third of the letters wrong, or a word of three letters or more that the name begins or ends with. */
const char *str_nearest(const char *word, const char *const *words, int n)
{
    size_t len = strlen(word);
    const char *best = NULL;
    int best_d = 0;

    if (len == 0 || len > WORD_MAX)
        return NULL;
    for (int i = 0; i < n; i++) {
        size_t k = words[i] ? strlen(words[i]) : 0;
        int longer = (int)(k > len ? k : len), allowed = longer / 3 > 1 ? longer / 3 : 1, d;

        if (k == 0 || k > WORD_MAX)
            continue;
        d = edits(word, (int)len, words[i], (int)k);
        if (longer < 3 && d > 0)
            continue;
        if (d > allowed && len >= 3 && (str_starts(words[i], word) || str_ends(words[i], word)))
            d = allowed;
        if (d <= allowed && (!best || d < best_d)) {
            best = words[i];
            best_d = d;
        }
    }
    return best;
}

const char *str_count(int64_t n)
{
    static _Thread_local char out[4][32];
    static _Thread_local unsigned next;
    char digits[32], *to = out[next++ % 4], *from = digits;
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), k = 0;
    for (; *from; from++, len--) {
        if (k && len % 3 == 0 && to[k - 1] != '-')
            to[k++] = ',';
        to[k++] = *from;
    }
    to[k] = 0;
    return to;
}

bool str_listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; n && *p;) {
        size_t m = strcspn(p, ",");
        if (m == n && !strncmp(p, word, n))
            return true;
        p += m + (p[m] == ',');
    }
    return false;
}
