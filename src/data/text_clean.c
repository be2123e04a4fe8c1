/* data/text_clean.c: what happens to a caption before byte pair encoding, and how it is cut into words.
 *
 * CLIP's published tokenizer (Radford et al. 2021) is Python: html.unescape twice, strip, runs of \s to one space,
 * str.lower, then the pattern  start|end|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+  without regard to case.
 * Equal ids need Python's meaning of each step: its charref rules (longest prefix of a name without semicolon, the
 * windows-1252 block), its strip (which knows the separators 1C..1F that \s does not), its full lower case (final
 * sigma, dotted capital I).
 *
 * A hand-written scanner over utf8proc's categories replaces the regular expression: the pattern never backtracks, and
 * a scanner costs nothing at start-up. ftfy's repairs, which the original also calls, are left out: HuggingFace's fast
 * tokenizer leaves them out too, and the two differ on broken text only. Properties that utf8proc lacks
 * (Other_Lowercase, Word_Break = MidLetter ...) are short lists from the Unicode character database, version 14. */
#include "data/bpe.h"
#include "data/html_entities.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- code points ---------------------------------------------------------------------------------------- */

/* The text was checked by utf8_ok, so a sequence is whole. */
static size_t decode(const char *s, size_t n, int32_t *cp)
{
    utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, cp);
    if (k <= 0) {
        *cp = 0xFFFD;
        return 1;
    }
    return (size_t)k;
}

static void add_cp(struct str *out, int32_t cp)
{
    utf8proc_uint8_t buf[4];
    utf8proc_ssize_t k = utf8proc_encode_char(cp, buf);
    str_add_n(out, (const char *)buf, (size_t)k);
}

/* Property White_Space, which is \s. */
static bool is_space(int32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

/* str.isspace, which strip() uses. */
static bool is_strip_space(int32_t c)
{
    return is_space(c) || (c >= 0x1C && c <= 0x1F);
}

enum { CLASS_SPACE, CLASS_LETTER, CLASS_NUMBER, CLASS_OTHER };

static int class_of(int32_t c)
{
    if (c < 0x80) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            return CLASS_LETTER;
        if (c >= '0' && c <= '9')
            return CLASS_NUMBER;
        return is_space(c) ? CLASS_SPACE : CLASS_OTHER;
    }
    /* A mark whose upper case is a letter: matched without regard to case, it is in no class of the pattern. */
    if (is_space(c) || c == 0x345)
        return CLASS_SPACE;
    utf8proc_category_t k = utf8proc_category(c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO)
        return CLASS_LETTER;
    if (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO)
        return CLASS_NUMBER;
    return CLASS_OTHER;
}

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
        add_cp(out, 0xFFFD);
    else if (v >= 0x80 && v <= 0x9F)
        add_cp(out, charref_c1[v - 0x80]);
    else if (!charref_dropped(v))
        add_cp(out, (int32_t)v);
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
        if (strchr("\t\n\f <&#;", s[end]))
            break;
        int32_t cp;
        end += decode(s + end, n - end, &cp);
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

/* ---- lower case ----------------------------------------------------------------------------------------------- */

struct range {
    int32_t first, last;
};

static bool in_ranges(int32_t c, const struct range *r, size_t n)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c < r[mid].first)
            hi = mid;
        else if (c > r[mid].last)
            lo = mid + 1;
        else
            return true;
    }
    return false;
}

/* Other_Lowercase and Other_Uppercase. */
static const struct range other_cased[] = {
    {0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},     {0x2E0, 0x2E4},
    {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},   {0x1D9B, 0x1DBF},
    {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2160, 0x217F},   {0x24B6, 0x24E9},
    {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},   {0xAB5C, 0xAB5F},
    {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x1F130, 0x1F149},
    {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

static bool is_cased(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT ||
           in_ranges(c, other_cased, ARRAY_LEN(other_cased));
}

static bool is_case_ignorable(int32_t c)
{
    static const int32_t word_middle[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                          0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < ARRAY_LEN(word_middle); i++)
        if (c == word_middle[i])
            return true;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}

/* SpecialCasing's Final_Sigma: a cased letter before, none after, case-ignorable ones passed over. */
static bool sigma_is_final(const char *s, size_t n, size_t at, size_t len)
{
    int32_t c = 0;
    size_t i = at;
    bool before = false;
    while (i > 0) {
        do
            i--;
        while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80);
        decode(s + i, n - i, &c);
        if (!is_case_ignorable(c)) {
            before = is_cased(c);
            break;
        }
    }
    if (!before)
        return false;
    for (i = at + len; i < n;) {
        i += decode(s + i, n - i, &c);
        if (!is_case_ignorable(c))
            return !is_cased(c);
    }
    return true;
}

static void lower(struct str *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char b = (unsigned char)s[i];
        if (b < 0x80) {
            str_add_c(out, b >= 'A' && b <= 'Z' ? (char)(b + 32) : (char)b);
            i++;
            continue;
        }
        int32_t c;
        size_t k = decode(s + i, n - i, &c);
        if (c == 0x3A3)
            add_cp(out, sigma_is_final(s, n, i, k) ? 0x3C2 : 0x3C3);
        else if (c == 0x130)
            str_add(out, "i\xCC\x87");
        else
            add_cp(out, utf8proc_tolower(c));
        i += k;
    }
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void squeeze(struct str *out, const char *s, size_t n)
{
    size_t from = 0, k;
    int32_t c;
    while (from < n && (k = decode(s + from, n - from, &c), is_strip_space(c)))
        from += k;
    size_t end = from; /* one past the last character that stays */
    for (size_t i = from; i < n; i += k) {
        k = decode(s + i, n - i, &c);
        if (!is_strip_space(c))
            end = i + k;
    }
    bool in_space = false;
    for (size_t i = from; i < end; i += k) {
        k = decode(s + i, end - i, &c);
        if (!is_space(c))
            str_add_n(out, s + i, k);
        else if (!in_space)
            str_add_c(out, ' ');
        in_space = is_space(c);
    }
}

int text_clean(struct str *out, const char *text)
{
    size_t n = strlen(text);
    if ((int64_t)n > limit_get(LIMIT_TEXT_BYTES))
        FAIL(ERR_DATA, "text of %zu bytes: expected at most %lld (limit text-bytes); cut it", n,
             (long long)limit_get(LIMIT_TEXT_BYTES));
    if (!utf8_ok(text, n))
        FAIL(ERR_DATA, "text is not UTF-8: \"%.40s\"; convert it, for example with iconv", text);
    struct str once = {0}, twice = {0};
    if (memchr(text, '&', n)) {
        unescape(&once, text, n);
        unescape(&twice, once.s ? once.s : "", once.n);
        str_clear(&once);
        squeeze(&once, twice.s ? twice.s : "", twice.n);
    } else
        squeeze(&once, text, n);
    str_clear(out);
    str_add_n(out, "", 0);
    lower(out, once.s ? once.s : "", once.n);
    bool failed = once.failed || twice.failed || out->failed;
    str_free(&once);
    str_free(&twice);
    if (failed)
        FAIL(ERR_MEMORY, "out of memory while cleaning a text of %zu bytes", n);
    return 0;
}

static size_t match_special(const char *s, size_t n, const char *mark)
{
    size_t k = mark ? strlen(mark) : 0;
    if (!k || k > n)
        return 0;
    for (size_t i = 0; i < k; i++) {
        char m = mark[i] >= 'A' && mark[i] <= 'Z' ? (char)(mark[i] + 32) : mark[i];
        if (s[i] != m)
            return 0;
    }
    return k;
}

/* 's|'t|'re|'ve|'m|'ll|'d, where the long s (U+017F) is an s as in any match without regard to case. */
static size_t match_contraction(const char *s, size_t n)
{
    if (n < 2 || s[0] != '\'')
        return 0;
    if (strchr("stmd", s[1]))
        return s[1] ? 2 : 0;
    if (n >= 3 && (!memcmp(s + 1, "re", 2) || !memcmp(s + 1, "ve", 2) || !memcmp(s + 1, "ll", 2)))
        return 3;
    if (n >= 3 && !memcmp(s + 1, "\xC5\xBF", 2))
        return 3;
    return 0;
}

enum text_word text_next_word(struct text_words *w, const char **from, size_t *n)
{
    const char *s = w->s;
    size_t i = w->at, k, limit = (size_t)limit_get(LIMIT_WORD_BYTES);
    int32_t c;
    while (i < w->n && (k = decode(s + i, w->n - i, &c), class_of(c) == CLASS_SPACE))
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
    k = match_contraction(s + i, w->n - i);
    if (!k) {
        int class = class_of((decode(s + i, w->n - i, &c), c));
        do {
            size_t len = decode(s + i, w->n - i, &c);
            if (i > start && (class_of(c) != class || class == CLASS_NUMBER || i - start + len > limit))
                break;
            i += len;
        } while (i < w->n);
        k = i - start;
    }
    w->at = start + k;
    *n = k;
    return TEXT_WORD;
}
