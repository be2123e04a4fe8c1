/* data/text_repair.c: would ftfy change this text?
 *
 * OpenAI's and open_clip's tokenizers call ftfy.fix_text (Speer 2019, version 6) before anything else when it is
 * installed, and silently do without when it is not. We never repair; this file finds the texts where a repair would
 * come, by the classes of its documentation: curly quotes, ligatures, full-width forms, control characters, escape
 * sequences, text that is not NFC, C1 letters, and mojibake (UTF-8 read as windows-1252 or Latin-1). White space and
 * line ends are left out: they do not reach the ids. The last class is a rule of thumb in ftfy; ours is that a run of
 * characters, written in windows-1252, is one well-formed UTF-8 sequence. It errs on the side of flagging. */
#include "data/text.h"
#include "data/unicode.h"

#include <string.h>

/* The byte that windows-1252 (or Latin-1, where that has a hole) writes for c; -1: none. */
static int byte_1252(int32_t c)
{
    static const uint16_t high[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                      0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                      0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                      0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};
    if (c < 0x100)
        return c;
    for (int i = 0; i < 32; i++)
        if (high[i] == c)
            return 0x80 + i;
    return -1;
}

/* s starts with a character that may be the first byte of a longer sequence. */
static bool is_mojibake(const char *s, size_t n)
{
    int32_t c;
    size_t i = uni_next(s, n, &c);
    int first = byte_1252(c), more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC2 || first > 0xF4)
        return false;
    for (; more > 0; more--) {
        if (i >= n)
            return false;
        i += uni_next(s + i, n - i, &c);
        int b = byte_1252(c);
        if (b < 0x80 || b > 0xBF)
            return false;
    }
    return true;
}

static bool is_repaired(int32_t c)
{
    if (c < 0x80)
        return c == 0x7F || (c < 0x20 && c != '\t' && c != '\n' && c != '\f' && c != '\r');
    return (c >= 0x80 && c <= 0x9F) || c == 0x2BC || (c >= 0x2018 && c <= 0x201F) || /* C1, quotes */
           c == 0x132 || c == 0x133 || c == 0x149 || (c >= 0x1C4 && c <= 0x1CC) ||   /* ligatures */
           (c >= 0x1F1 && c <= 0x1F3) || (c >= 0xFB00 && c <= 0xFB06) ||             /* more of them */
           (c >= 0xFF01 && c <= 0xFFEF) ||                                           /* widths */
           (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

bool text_ftfy_differs(const char *text, size_t n)
{
    size_t k;
    int32_t c, top = 0;
    if (!utf8_ok(text, n))
        return true;
    for (size_t i = 0; i < n; i += k) {
        k = uni_next(text + i, n - i, &c);
        top = c > top ? c : top;
        if (is_repaired(c) || (c >= 0xC2 && is_mojibake(text + i, n - i)))
            return true;
    }
    if (top < 0x300)
        return false;
    struct str nfc = {0};
    bool differs = uni_normalize(&nfc, text, n, UNI_NFC) < 0 || nfc.n != n || memcmp(nfc.s, text, n) != 0;
    str_free(&nfc);
    return differs;
}

/* Length of the well-formed sequence at s; 0: none, and *skip is what is lost. */
static size_t sequence(const unsigned char *s, size_t n, size_t *skip)
{
    unsigned char c = s[0], low = 0x80, high = 0xBF;
    size_t more = c >= 0xC2 && c <= 0xDF ? 1 : c >= 0xE0 && c <= 0xEF ? 2 : c >= 0xF0 && c <= 0xF4 ? 3 : 0;
    *skip = 1;
    if (c < 0x80)
        return 1;
    if (!more)
        return 0;
    low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : low;
    high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : high;
    for (size_t i = 1; i <= more; i++, *skip = i) {
        if (i >= n || s[i] < low || s[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return more + 1;
}

void text_mend(struct str *s)
{
    struct str out = {0};
    if (!s->s || s->failed || utf8_ok(s->s, s->n))
        return;
    for (size_t i = 0, skip; i < s->n;) {
        size_t k = sequence((const unsigned char *)s->s + i, s->n - i, &skip);
        str_add_n(&out, k ? s->s + i : "\xEF\xBF\xBD", k ? k : 3);
        i += k ? k : skip;
    }
    str_clear(s);
    str_add_n(s, out.s ? out.s : "", out.n);
    s->failed |= out.failed;
    str_free(&out);
}
