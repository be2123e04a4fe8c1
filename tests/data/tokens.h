/* tests/data/tokens.h: what the tests of the tokenizers share: lines of a .jsonl file, ids compared, ids of one text.
 */
#ifndef TEST_DATA_TOKENS_H
#define TEST_DATA_TOKENS_H

#include "scratch.h"

/* Calls each with every line's object; returns how many lines there were. */
static inline int each_line(const char *path, void (*each)(const json_t *o, void *ctx), void *ctx)
{
    struct map m;
    int n = 0;
    must(map_open(&m, path));
    for (const char *p = (const char *)m.data, *end = p + m.size; p < end; n++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((stop ? stop : end) - p);
        json_t *o = NULL;
        o = json_loadb(p, len, JSON_ALLOW_NUL, NULL); /* one golden text holds a NUL */
        assert_non_null(o);
        each(o, ctx);
        json_decref(o);
        p += len + 1;
    }
    map_close(&m);
    return n;
}

static inline const char *text_of(const json_t *o)
{
    return json_string_value(json_object_get(o, "text"));
}

/* The ids of the field "text" against a JSON list; false and a message when they differ. */
static inline bool same_ids(const struct tokenizer *t, const json_t *o, const json_t *want)
{
    const json_t *text = json_object_get(o, "text");
    int32_t *ids = NULL;
    int64_t n = 0;
    must(tokenizer_encode_bytes(t, json_string_value(text), json_string_length(text), &ids, &n));
    bool same = (size_t)n == json_array_size(want);
    for (int64_t i = 0; same && i < n; i++)
        same = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    if (!same)
        print_message("other ids: \"%s\": %lld of %zu\n", text_of(o), (long long)n, json_array_size(want));
    mem_free(ids);
    return same;
}

/* ids is a list ended by -1. */
#define assert_ids(t, text, ...)                                                                                       \
    do {                                                                                                               \
        const int32_t want_[] = {__VA_ARGS__};                                                                         \
        int32_t *got_ = NULL;                                                                                          \
        int64_t n_ = 0;                                                                                                \
        must(tokenizer_encode(t, text, &got_, &n_));                                                                   \
        for (int64_t i_ = 0; i_ < n_ && want_[i_] >= 0; i_++)                                                          \
            assert_int_equal(got_[i_], want_[i_]);                                                                     \
        assert_int_equal(n_, ARRAY_LEN(want_) - 1);                                                                    \
        mem_free(got_);                                                                                                \
    } while (0)

static inline void decodes_to(const struct tokenizer *t, const int32_t *ids, int64_t n, const char *want)
{
    struct str s = {0};
    must(tokenizer_decode(t, ids, n, &s));
    assert_string_equal(s.s, want);
    str_free(&s);
}

#endif
