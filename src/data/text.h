/* data/text.h: what happens to a text before a vocabulary sees it; shared by the tokenizers and their tests.
 *
 * A cleaning mode is a named function from text to text (docs/tokenizers.md). Which one is used follows from the
 * tokenizer's folder or is asked for; two modes give other ids for the same caption, so it is never guessed and always
 * named. */
#ifndef DATA_TEXT_H
#define DATA_TEXT_H

#include "data/data.h"

/* id, name, whether the original runs ftfy first (so that text_ftfy_differs matters) */
#define TEXT_MODES(X)                                                                                                  \
    X(TEXT_NONE, "none", false)                /* as it is */                                                          \
    X(TEXT_OPEN_CLIP, "open_clip", true)       /* HTML twice, strip, white space, lower case: OpenAI and open_clip */  \
    X(TEXT_WHITESPACE, "whitespace", true)     /* the same without lower case: open_clip's wrapper */                  \
    X(TEXT_CANONICALIZE, "canonicalize", true) /* HTML twice, _ to space, punctuation out, lower case: open_clip */    \
    X(TEXT_SIGLIP, "siglip", false)            /* lower case, punctuation out, white space: transformers' SigLIP */    \
    X(TEXT_BLIP, "blip", false)                /* BLIP's pre_caption, 30 words */                                      \
    X(TEXT_BERT, "bert", false)                /* the steps of BERT's own tokenizer */                                 \
    X(TEXT_HF, "hf", false)                    /* the normalizer of tokenizer.json */
enum text_mode {
#define X(id, name, ftfy) id,
    TEXT_MODES(X)
#undef X
        N_TEXT_MODES
};
const char *text_mode_name(enum text_mode mode);
bool text_mode_ftfy(enum text_mode mode);
/* "lower" is open_clip's own name of open_clip. ERR_USAGE for an unknown one. */
int text_mode_find(enum text_mode *mode, const char *name);

/* ERR_DATA for a text over LIMIT_TEXT_BYTES or not UTF-8. */
int text_check(const char *text, size_t n);
/* out is replaced. The modes bert and hf leave the text to its tokenizer. */
int text_clean_mode(struct str *out, const char *text, size_t n, enum text_mode mode);
/* The mode siglip on a stretch of text; appends, and sets out->failed without memory. */
void text_canonical(struct str *out, const char *s, size_t n, bool lower);
/* text_clean_mode with TEXT_OPEN_CLIP: Python's html.unescape twice, white space to single spaces, str.lower. */
int text_clean(struct str *out, const char *text);

/* BLIP's pre_caption: what its evaluation does to captions before the tokenizer. out is replaced. */
int text_clean_blip(struct str *out, const char *text, int64_t max_words);

/* Bytes that are no UTF-8 become U+FFFD, one for each maximal piece of a sequence, as Python's errors="replace". */
void text_mend(struct str *s);

/* The published pattern of CLIP, as a scanner. */
struct text_words {
    const char *s;          /* cleaned text */
    size_t n, at;           /* length and position */
    const char *special[2]; /* markers that are words of their own, or NULL */
    bool exact;             /* with regard to case, as tokenizer.json writes the pattern */
    size_t limit;           /* longest word in bytes; 0: LIMIT_WORD_BYTES */
};
enum text_word { TEXT_END, TEXT_WORD, TEXT_SPECIAL_0, TEXT_SPECIAL_1 };
/* The next match of the pattern: [*from, *from + *n). Longer words are cut at a code point. */
enum text_word text_next_word(struct text_words *w, const char **from, size_t *n);

/* ---- the normalizer of a tokenizer.json (text_norm.c) -- */

struct text_norm;
/* Compiles the JSON value (NULL or JSON null: no steps). ERR_UNSUPPORTED names a step that is unknown. */
int text_norm_open(struct text_norm **norm, struct arena *a, const json_t *o, const char *where);
int text_norm_clip(struct text_norm **norm, struct arena *a);  /* NFC, white space, lower case */
int text_norm_lower(struct text_norm **norm, struct arena *a); /* lower case comes first */
int text_norm_run(const struct text_norm *norm, struct str *out, const char *s, size_t n); /* out is replaced */
void text_norm_hash(const struct text_norm *norm, struct sha256 *h);
/* What a WordPiece table needs to know of a BertNormalizer. */
bool text_norm_is_bert(const struct text_norm *norm, bool *lower, bool *strip_accents, bool *chinese, bool *clean);

#endif
