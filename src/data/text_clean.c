/* data/text_clean.c: the cleaning modes, and how CLIP cuts a text into words.
 *
 * CLIP's published tokenizer (Radford et al. 2021) is Python: html.unescape twice, strip, runs of \s to one space,
 * str.lower, then the pattern  start|end|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+  without regard to case.
 * Equal ids need Python's meaning of each step: its charref rules (longest prefix of a name without semicolon, the
 * windows-1252 block), its strip (which knows the separators 1C..1F that \s does not), its full lower case (final
 * sigma, dotted capital I). The other modes are combinations of the same steps (text.h).
 *
 * A hand-written scanner over Unicode classes replaces the regular expression: the pattern never backtracks, and a
 * scanner costs nothing at start-up. ftfy's repairs, which the original also calls, are not made: text_repair.c says
 * which texts they would change. */
#include "data/html_entities.h"
#include "data/text.h"
#include "data/unicode.h"

#include <stdlib.h>
#include <string.h>

/* ---- character references ---------------------------------------------------------------------------------- */

/* What a browser shows for the C1 numbers: windows-1252. */
static const uint16_t charref_c1[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                        0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                        0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                        0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};

static bool charref_dropped(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || (c >= 0xFDD0 && c <= 0xFDEF) ||
           (c & 0xFFFE) == 0xFFFE;
}

/* s points behind "&#". Returns the bytes used, 0 when this is no reference. */
static size_t numeric_ref(struct str *out, const char *s, size_t n)
{
    size_t i = 0;
    bool hex = n > 0 && (s[0] == 'x' || s[0] == 'X');
    if (hex)
        i++;
    size_t first = i;
    uint32_t v = 0;
    for (; i < n; i++) {
        int c = (unsigned char)s[i], d;
        if (c >= '0' && c <= '9')
            d = c - '0';
        else if (hex && ((c | 32) >= 'a' && (c | 32) <= 'f'))
            d = (c | 32) - 'a' + 10;
        else
            break;
        v = v > 0x10FFFF ? v : v * (hex ? 16 : 10) + (uint32_t)d;
    }
    if (i == first)
        return 0;
    if (i < n && s[i] == ';')
        i++;
    if (v == 0 || (v >= 0xD800 && v <= 0xDFFF) || v > 0x10FFFF)
        uni_add(out, 0xFFFD);
    else if (v >= 0x80 && v <= 0x9F)
        uni_add(out, charref_c1[v - 0x80]);
    else if (!charref_dropped(v))
        uni_add(out, (int32_t)v);
    return i;
}

struct name_key {
    const char *s;
    size_t n;
};

static int compare_entity(const void *key, const void *entry)
{
    const struct name_key *k = key;
    const char *name = ((const struct html_entity *)entry)->name;
    int c = strncmp(k->s, name, k->n);
    return c ? c : (name[k->n] ? -1 : 0);
}

static const char *find_entity(const char *s, size_t n)
{
    struct name_key key = {s, n};
    const struct html_entity *e =
        bsearch(&key, html_entities, ARRAY_LEN(html_entities), sizeof html_entities[0], compare_entity);
    return e ? e->text : NULL;
}

/* s points behind "&". Up to 32 characters that are no separators, then perhaps a semicolon; the longest known prefix
 * of at least two bytes counts. Returns the bytes used. */
static size_t named_ref(struct str *out, const char *s, size_t n)
{
    size_t end = 0;
    for (int chars = 0; end < n && chars < 32; chars++) {
        if (memchr("\t\n\f <&#;", s[end], 7))
            break;
        int32_t cp;
        end += uni_next(s + end, n - end, &cp);
    }
    if (end == 0)
        return 0;
    if (end < n && s[end] == ';') {
        const char *text = find_entity(s, end + 1);
        if (text) {
            str_add(out, "%s", text);
            return end + 1;
        }
    }
    for (size_t k = end; k >= 2; k--) { /* also the whole word when it stood without a semicolon */
        const char *text = find_entity(s, k);
        if (text) {
            str_add(out, "%s", text);
            return k;
        }
    }
    return 0;
}

static void unescape(struct str *out, const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        const char *amp = memchr(s + i, '&', n - i);
        size_t plain = amp ? (size_t)(amp - s) - i : n - i;
        str_add_n(out, s + i, plain);
        i += plain;
        if (i == n)
            return;
        size_t used = i + 1 < n && s[i + 1] == '#' ? numeric_ref(out, s + i + 2, n - i - 2) : 0;
        if (used)
            used += 2;
        else if (i + 1 < n && s[i + 1] != '#') {
            used = named_ref(out, s + i + 1, n - i - 1);
            used += used > 0;
        }
        if (!used) {
            str_add_c(out, '&');
            used = 1;
        }
        i += used;
    }
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void squeeze(struct str *out, const char *s, size_t n)
{
    size_t from = 0, k;
    int32_t c;
    while (from < n && (k = uni_next(s + from, n - from, &c), uni_is_strip_space(c)))
        from += k;
    size_t end = from; /* one past the last character that stays */
    for (size_t i = from; i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        if (!uni_is_strip_space(c))
            end = i + k;
    }
    for (size_t i = from; i < end;) { /* words whole, white space as one blank */
        size_t word = i;
        while (i < end && (k = uni_next(s + i, end - i, &c), !uni_is_space(c)))
            i += k;
        str_add_n(out, s + word, i - word);
        if (i == end)
            break;
        str_add_c(out, ' ');
        while (i < end && (k = uni_next(s + i, end - i, &c), uni_is_space(c)))
            i += k;
    }
}

/* " ".join(text.split()): strip's idea of a space, everywhere. */
static void split_join(struct str *out, const char *s, size_t n)
{
    bool gap = false;
    size_t start = out->n, k;
    int32_t c;
    for (size_t i = 0; i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        if (uni_is_strip_space(c)) {
            gap = out->n > start;
            continue;
        }
        if (gap)
            str_add_c(out, ' ');
        gap = false;
        str_add_n(out, s + i, k);
    }
}

/* squeeze and lower case of ASCII in one pass: most captions. False: not done, the text has other characters. */
static bool squeeze_ascii(struct str *out, const char *s, size_t n, bool lower)
{
    char block[512];
    size_t m = 0, from = 0;
    if (!uni_is_ascii(s, n))
        return false;
    while (n && uni_is_strip_space(s[n - 1]))
        n--;
    while (from < n && uni_is_strip_space(s[from]))
        from++;
    for (size_t i = from; i < n; i++) {
        char c = s[i];
        if (uni_is_space(c)) {
            if (uni_is_space(s[i - 1]))
                continue;
            c = ' ';
        }
        if (m == sizeof block) {
            str_add_n(out, block, m);
            m = 0;
        }
        block[m++] = lower && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    str_add_n(out, block, m);
    return true;
}

/* html.unescape twice, then strip. */
static void basic_clean(struct str *out, struct str *work, const char *text, size_t n)
{
    if (!memchr(text, '&', n)) {
        str_add_n(out, text, n);
        return;
    }
    unescape(work, text, n);
    unescape(out, work->s ? work->s : "", work->n);
}

/* str.translate without string.punctuation; underscore may become a space first. */
static void drop_punctuation(struct str *out, const char *s, size_t n, bool underscore)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        bool punct = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
        if (underscore && c == '_')
            str_add_c(out, ' ');
        else if (!punct)
            str_add_c(out, (char)c);
    }
}

static const struct {
    const char *name;
    bool ftfy;
} modes[] = {
#define X(id, name, ftfy) {name, ftfy},
    TEXT_MODES(X)
#undef X
};

const char *text_mode_name(enum text_mode mode)
{
    return modes[mode].name;
}

bool text_mode_ftfy(enum text_mode mode)
{
    return modes[mode].ftfy;
}

int text_mode_find(enum text_mode *mode, const char *name)
{
    if (!strcmp(name, "lower"))
        name = "open_clip";
    for (int i = 0; i < N_TEXT_MODES; i++)
        if (!strcmp(name, modes[i].name)) {
            *mode = (enum text_mode)i;
            return 0;
        }
    FAIL(
        ERR_USAGE,
        "no cleaning mode \"%.40s\": expected none, open_clip (or lower), whitespace, canonicalize, siglip, blip, bert "
        "or hf",
        name);
}

int text_check(const char *text, size_t n)
{
    if ((int64_t)n > limit_get(LIMIT_TEXT_BYTES))
        FAIL(ERR_DATA, "text of %zu bytes: expected at most %lld (limit text-bytes); cut it", n,
             (long long)limit_get(LIMIT_TEXT_BYTES));
    if (!utf8_ok(text, n)) {
        char safe[64];
        str_safe(safe, sizeof safe, text);
        FAIL(ERR_DATA, "text is not UTF-8: \"%.40s\"; convert it, for example with iconv", safe);
    }
    return 0;
}

static const char *bytes_of(const struct str *s)
{
    return s->s ? s->s : "";
}

void text_canonical(struct str *out, const char *s, size_t n, bool lower)
{
    struct str a = {0}, b = {0};
    if (lower)
        uni_lower(&a, s, n, false);
    else
        str_add_n(&a, s, n);
    drop_punctuation(&b, bytes_of(&a), a.n, false);
    squeeze(out, bytes_of(&b), b.n);
    out->failed |= a.failed || b.failed;
    str_free(&a);
    str_free(&b);
}

/* The released pre_caption: lower case, the marks .!"()*#:;~ to spaces, runs of two and more white spaces to one,
 * newlines off the end, spaces off both ends, the first max_words pieces between single spaces. */
static int pre_caption(struct str *out, const char *text, size_t n, int64_t max_words)
{
    size_t from = 0, k;
    int32_t c;
    TRY(text_check(text, n));
    struct str low = {0}, one = {0};
    uni_lower(&low, text, n, false);
    for (size_t i = 0; i < low.n; i++)
        if (memchr(".!\"()*#:;~", low.s[i], 10))
            low.s[i] = ' ';
    for (size_t i = 0; i < low.n;) {
        size_t end = i, spaces = 0;
        while (end < low.n && (k = uni_next(low.s + end, low.n - end, &c), uni_is_space(c))) {
            end += k;
            spaces++;
        }
        if (spaces > 1) {
            str_add_c(&one, ' ');
            i = end;
        } else {
            k = uni_next(low.s + i, low.n - i, &c);
            str_add_n(&one, low.s + i, k);
            i += k;
        }
    }
    size_t end = one.n;
    while (end && one.s[end - 1] == '\n')
        end--;
    while (end && one.s[end - 1] == ' ')
        end--;
    while (from < end && one.s[from] == ' ')
        from++;
    int64_t words = 1;
    for (size_t i = from; i < end; i++)
        if (one.s[i] == ' ' && ++words > max_words) {
            end = i;
            break;
        }
    str_clear(out);
    str_add_n(out, "", 0);
    str_add_n(out, bytes_of(&one) + from, end - from);
    bool failed = low.failed || one.failed || out->failed;
    str_free(&low);
    str_free(&one);
    if (failed)
        FAIL(ERR_MEMORY, "out of memory while cleaning a text of %zu bytes", n);
    return 0;
}

int text_clean_mode(struct str *out, const char *text, size_t n, enum text_mode mode)
{
    TRY(text_check(text, n));
    struct str a = {0}, b = {0};
    str_clear(out);
    if ((mode == TEXT_OPEN_CLIP || mode == TEXT_WHITESPACE) && !memchr(text, '&', n) &&
        squeeze_ascii(out, text, n, mode == TEXT_OPEN_CLIP))
        return out->failed ? err_set(ERR_MEMORY, "out of memory while cleaning a text of %zu bytes", n) : 0;
    str_add_n(out, "", 0);
    switch (mode) {
    case TEXT_OPEN_CLIP:
        basic_clean(&a, &b, text, n);
        str_clear(&b);
        squeeze(&b, bytes_of(&a), a.n);
        uni_lower(out, bytes_of(&b), b.n, false);
        break;
    case TEXT_WHITESPACE:
        basic_clean(&a, &b, text, n);
        squeeze(out, bytes_of(&a), a.n);
        break;
    case TEXT_CANONICALIZE:
        basic_clean(&a, &b, text, n);
        str_clear(&b);
        drop_punctuation(&b, bytes_of(&a), a.n, true);
        str_clear(&a);
        uni_lower(&a, bytes_of(&b), b.n, false);
        split_join(out, bytes_of(&a), a.n);
        break;
    case TEXT_SIGLIP:
        text_canonical(out, text, n, true);
        break;
    case TEXT_BLIP:
        str_free(out);
        return pre_caption(out, text, n, 30);
    default:
        str_add_n(out, text, n);
    }
    bool failed = a.failed || b.failed || out->failed;
    str_free(&a);
    str_free(&b);
    if (failed)
        FAIL(ERR_MEMORY, "out of memory while cleaning a text of %zu bytes", n);
    return 0;
}

int text_clean_blip(struct str *out, const char *text, int64_t max_words)
{
    return pre_caption(out, text, strlen(text), max_words);
}

int text_clean(struct str *out, const char *text)
{
    return text_clean_mode(out, text, strlen(text), TEXT_OPEN_CLIP);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* The pattern without regard to case knows no class for U+0345, a mark whose upper case is a letter. */
static enum uni_class class_of(const struct text_words *w, int32_t c)
{
    return c == 0x345 && !w->exact ? UNI_SPACE : uni_class(c);
}

static char low(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static size_t match_special(const char *s, size_t n, const char *mark)
{
    if (!mark || low(s[0]) != low(mark[0])) /* nearly always */
        return 0;
    size_t k = strlen(mark);
    if (!k || k > n)
        return 0;
    for (size_t i = 0; i < k; i++)
        if (low(s[i]) != low(mark[i]))
            return 0;
    return k;
}

/* 's|'t|'re|'ve|'m|'ll|'d, where the long s (U+017F) is an s in a match without regard to case. */
static size_t match_contraction(const char *s, size_t n, bool exact)
{
    char a, b;
    if (n < 2 || s[0] != '\'' || !s[1])
        return 0;
    a = exact ? s[1] : low(s[1]);
    if (strchr("stmd", a))
        return 2;
    if (n < 3)
        return 0;
    b = exact ? s[2] : low(s[2]);
    if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l'))
        return 3;
    return !exact && !memcmp(s + 1, "\xC5\xBF", 2) ? 3 : 0;
}

enum text_word text_next_word(struct text_words *w, const char **from, size_t *n)
{
    const char *s = w->s;
    size_t i = w->at, k, limit = w->limit ? w->limit : (size_t)limit_get(LIMIT_WORD_BYTES);
    int32_t c;
    while (i < w->n && (k = uni_next(s + i, w->n - i, &c), class_of(w, c) == UNI_SPACE))
        i += k;
    *from = s + i;
    *n = 0;
    if (i >= w->n) {
        w->at = i;
        return TEXT_END;
    }
    for (int m = 0; m < 2; m++) {
        k = match_special(s + i, w->n - i, w->special[m]);
        if (k) {
            w->at = i + k;
            *n = k;
            return m ? TEXT_SPECIAL_1 : TEXT_SPECIAL_0;
        }
    }
    size_t start = i;
    k = match_contraction(s + i, w->n - i, w->exact);
    if (!k) {
        enum uni_class class = class_of(w, (uni_next(s + i, w->n - i, &c), c));
        do {
            size_t len = uni_next(s + i, w->n - i, &c);
            if (i > start && (class_of(w, c) != class || class == UNI_NUMBER || i - start + len > limit))
                break;
            i += len;
        } while (i < w->n);
        k = i - start;
    }
    w->at = start + k;
    *n = k;
    return TEXT_WORD;
}
