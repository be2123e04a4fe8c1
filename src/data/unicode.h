/* data/unicode.h: code points for the tokenizers: decoding, classes, lower case, normal forms.
 *
 * All text that comes here was checked by utf8_ok. Equal ids need the meaning that the reference gives to each word
 * ("space", "punctuation", "lower case"), and the references differ: Python's str, Rust's char, the regular expressions
 * of both. So each meaning has its own function and names whose it is. */
#ifndef DATA_UNICODE_H
#define DATA_UNICODE_H

#include "base/base.h"

/* The code point at s; n > 0 bytes are left. Returns its length. */
static inline size_t uni_next(const char *s, size_t n, int32_t *cp)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        *cp = u[0];
        return 1;
    }
    size_t k = u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
    if (k > n || u[0] < 0xC0) {
        *cp = 0xFFFD;
        return 1;
    }
    *cp = k == 2   ? (u[0] & 0x1F) << 6 | (u[1] & 0x3F)
          : k == 3 ? (u[0] & 0x0F) << 12 | (u[1] & 0x3F) << 6 | (u[2] & 0x3F)
                   : (u[0] & 0x07) << 18 | (u[1] & 0x3F) << 12 | (u[2] & 0x3F) << 6 | (u[3] & 0x3F);
    return k;
}

void uni_add(struct str *out, int32_t cp);
bool uni_is_ascii(const char *s, size_t n);

bool uni_is_wide_space(int32_t c); /* c >= 0x80 */
/* Property White_Space: \s of the regular expressions, Rust's is_whitespace. */
static inline bool uni_is_space(int32_t c)
{
    return c < 0x80 ? c == ' ' || (c >= 9 && c <= 13) : uni_is_wide_space(c);
}
/* Python's str.isspace, for strip() and split(): 1C to 1F too. */
static inline bool uni_is_strip_space(int32_t c)
{
    return uni_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

/* \p{L}, \p{N}, \s and the rest, as CLIP's pattern splits text. */
enum uni_class { UNI_SPACE, UNI_LETTER, UNI_NUMBER, UNI_OTHER };
enum uni_class uni_class_wide(int32_t c); /* c >= 0x80 */
static inline enum uni_class uni_class(int32_t c)
{
    if (c >= 0x80)
        return uni_class_wide(c);
    if ((c | 32) >= 'a' && (c | 32) <= 'z')
        return UNI_LETTER;
    if (c >= '0' && c <= '9')
        return UNI_NUMBER;
    return uni_is_space(c) ? UNI_SPACE : UNI_OTHER;
}

bool uni_is_mark(int32_t c);      /* category Mn */
bool uni_is_control(int32_t c);   /* categories C*, unassigned included */
bool uni_is_separator(int32_t c); /* category Zs */
bool uni_is_punct(int32_t c);     /* categories P* */

/* str.lower of Python: Final_Sigma is minded. With `simple` one code point at a time, as Rust's tokenizers do: a
 * capital sigma is always the inner one. Appends. */
void uni_lower(struct str *out, const char *s, size_t n, bool simple);

enum uni_form { UNI_NFC, UNI_NFD, UNI_NFKC, UNI_NFKD };
/* Appends the normal form. ERR_MEMORY only. */
int uni_normalize(struct str *out, const char *s, size_t n, enum uni_form form);

#endif
