/* data/unicode.c: what utf8proc knows, in the words of the tokenizers; the only file besides their scanner that sees
 * it.
 *
 * Properties that utf8proc lacks (Other_Lowercase, Word_Break = MidLetter ...) are short lists from the Unicode
 * character database, version 14. Normal forms go through our own memory, so that a failing request is an error like
 * any other. */
#include "data/unicode.h"

#include <string.h>
#include <utf8proc.h>

/* ---- code points ------------------------------------------------------------------------------------------------ */

void uni_add(struct str *out, int32_t cp)
{
    utf8proc_uint8_t buf[4];
    utf8proc_ssize_t k = utf8proc_encode_char(cp, buf);
    str_add_n(out, (const char *)buf, (size_t)k);
}

bool uni_is_ascii(const char *s, size_t n)
{
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++)
        any |= (unsigned char)s[i];
    return any < 0x80;
}

bool uni_is_wide_space(int32_t c)
{
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

enum uni_class uni_class_wide(int32_t c)
{
    if (uni_is_space(c))
        return UNI_SPACE;
    utf8proc_category_t k = utf8proc_category(c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO)
        return UNI_LETTER;
    if (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO)
        return UNI_NUMBER;
    return UNI_OTHER;
}

bool uni_is_mark(int32_t c)
{
    return c >= 0x300 && utf8proc_category(c) == UTF8PROC_CATEGORY_MN;
}

bool uni_is_control(int32_t c)
{
    if (c < 0x80)
        return c < 0x20 || c == 0x7F;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_CN || k >= UTF8PROC_CATEGORY_CC;
}

bool uni_is_separator(int32_t c)
{
    return c == ' ' || (c >= 0x80 && utf8proc_category(c) == UTF8PROC_CATEGORY_ZS);
}

bool uni_is_punct(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
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
        uni_next(s + i, n - i, &c);
        if (!is_case_ignorable(c)) {
            before = is_cased(c);
            break;
        }
    }
    if (!before)
        return false;
    for (i = at + len; i < n;) {
        i += uni_next(s + i, n - i, &c);
        if (!is_case_ignorable(c))
            return !is_cased(c);
    }
    return true;
}

void uni_lower(struct str *out, const char *s, size_t n, bool simple)
{
    for (size_t i = 0; i < n;) {
        char plain[256];
        size_t m = 0;
        for (; i < n && m < sizeof plain && (unsigned char)s[i] < 0x80; i++)
            plain[m++] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
        str_add_n(out, plain, m);
        if (m)
            continue;
        int32_t c;
        size_t k = uni_next(s + i, n - i, &c);
        if (c == 0x3A3)
            uni_add(out, !simple && sigma_is_final(s, n, i, k) ? 0x3C2 : 0x3C3);
        else if (c == 0x130)
            str_add(out, "i\xCC\x87");
        else
            uni_add(out, utf8proc_tolower(c));
        i += k;
    }
}

/* ---- normal forms ------------------------------------------------------------------------------------------------ */

/* Nothing below U+0300 combines, and the composed letters of Latin-1 are NFC already. */
static bool is_normal(const char *s, size_t n, enum uni_form form)
{
    unsigned char top = form == UNI_NFC ? 0xCC : 0x80;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= top)
            return false;
    return true;
}

int uni_normalize(struct str *out, const char *s, size_t n, enum uni_form form)
{
    static const utf8proc_option_t options[] = {
        [UNI_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [UNI_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [UNI_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [UNI_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    if (is_normal(s, n, form)) {
        str_add_n(out, s, n);
        return out->failed ? ERR_MEMORY : 0;
    }
    utf8proc_ssize_t room = (utf8proc_ssize_t)n + 32, got = 0;
    utf8proc_int32_t *cps = NULL;
    for (int again = 0; again < 2; again++) { /* most texts grow little; the second round knows how much */
        mem_free(cps);
        cps = mem_alloc(((size_t)room + 1) * sizeof *cps);
        if (!cps)
            return ERR_MEMORY;
        got = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, cps, room, options[form]);
        if (got <= room)
            break;
        room = got;
    }
    BUG_ON(got < 0 || got > room); /* the text was checked */
    got = utf8proc_reencode(cps, got, options[form]);
    BUG_ON(got < 0);
    str_add_n(out, (const char *)cps, (size_t)got);
    mem_free(cps);
    return out->failed ? ERR_MEMORY : 0;
}
