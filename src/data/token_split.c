/* data/token_split.c: tokens that stand for themselves in a text: "[SEP]", "<|endoftext|>", "<eos>".
 *
 * HuggingFace's tokenizers look for them before anything else: first in the text as it came (normalized false), then in
 * the normalized stretches between (normalized true). At one place the longest wins. A bit set of first bytes passes
 * over what cannot begin one, so texts without markers cost one look a byte. */
#include "data/tokenizer_kind.h"
#include "data/unicode.h"

#include <stdlib.h>
#include <string.h>

int token_ids_room(struct token_ids *ids, int64_t more)
{
    if (ids->n + more <= ids->cap)
        return 0;
    int64_t cap = (ids->n + more) * 3 / 2 + 32;
    int32_t *v = mem_grow(ids->v, (size_t)ids->n * sizeof *v, (size_t)cap * sizeof *v);
    if (!v)
        return ERR_MEMORY;
    ids->v = v;
    ids->cap = cap;
    return 0;
}

static int longest_first(const void *a, const void *b)
{
    const struct token_added *x = a, *y = b;
    unsigned char p = (unsigned char)x->text[0], q = (unsigned char)y->text[0];
    if (p != q)
        return p < q ? -1 : 1;
    return x->n != y->n ? (x->n > y->n ? -1 : 1) : strcmp(x->text, y->text);
}

void token_added_ready(struct tokenizer *t)
{
    int64_t to = 0;
    for (int64_t i = 0; i < t->n_added; i++) {
        int32_t id = t->kind->find(t, t->added[i].text);
        if (id < 0)
            continue; /* a role that the vocabulary lacks: the kind has decided about it */
        t->added[to] = t->added[i];
        t->added[to++].id = id;
    }
    t->n_added = to;
    if (to)
        qsort(t->added, (size_t)to, sizeof *t->added, longest_first);
    for (int64_t i = 0; i < to; i++) {
        unsigned char c = (unsigned char)t->added[i].text[0];
        t->first_bytes[c >> 3] |= (uint8_t)(1 << (c & 7));
    }
}

static const struct token_added *match(const struct tokenizer *t, const char *s, size_t n, bool normalized)
{
    unsigned char c = (unsigned char)s[0];
    int64_t lo = 0, hi = t->n_added;
    while (lo < hi) { /* the first of this byte */
        int64_t mid = (lo + hi) / 2;
        if ((unsigned char)t->added[mid].text[0] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < t->n_added && (unsigned char)t->added[lo].text[0] == c; lo++) {
        const struct token_added *a = &t->added[lo];
        if (a->normalized == normalized && a->n <= n && !memcmp(a->text, s, a->n))
            return a;
    }
    return NULL;
}

bool token_added_next(const struct tokenizer *t, const char *s, size_t n, size_t from, bool normalized, size_t *at,
                      size_t *end, const struct token_added **which)
{
    size_t k;
    int32_t c;
    for (size_t i = from; i < n; i++) {
        unsigned char b = (unsigned char)s[i];
        if (!(t->first_bytes[b >> 3] & 1 << (b & 7)))
            continue;
        const struct token_added *a = match(t, s + i, n - i, normalized);
        if (!a)
            continue;
        *at = i;
        *end = i + a->n;
        *which = a;
        while (a->right_strip && *end < n && (k = uni_next(s + *end, n - *end, &c), uni_is_space(c)))
            *end += k;
        while (a->left_strip && *at > from) {
            for (k = *at - 1; k > from && ((unsigned char)s[k] & 0xC0) == 0x80;)
                k--;
            uni_next(s + k, n - k, &c);
            if (!uni_is_space(c))
                break;
            *at = k;
        }
        return true;
    }
    return false;
}

bool token_is_special(const struct tokenizer *t, int32_t id)
{
    if (id == t->info.start_id || id == t->info.end_id || id == t->info.pad_id || id == t->info.unk_id)
        return true;
    for (int64_t i = 0; i < t->n_added; i++)
        if (t->added[i].special && t->added[i].id == id)
            return true;
    return false;
}

static int put_id(struct token_ids *out, int64_t id)
{
    TRY(token_ids_room(out, 1));
    out->v[out->n++] = (int32_t)id;
    return 0;
}

static int encode_normal(const struct tokenizer *t, const char *s, size_t n, bool first, struct token_ids *out)
{
    size_t from = 0, at, end;
    const struct token_added *which;
    while (token_added_next(t, s, n, from, true, &at, &end, &which)) {
        if (at > from)
            TRY(t->kind->encode(t, s + from, at - from, first && from == 0, out));
        TRY(put_id(out, which->id));
        from = end;
    }
    return from < n ? t->kind->encode(t, s + from, n - from, first && from == 0, out) : 0;
}

static int encode_stretch(const struct tokenizer *t, const char *s, size_t n, bool first, struct token_ids *out)
{
    if (!n)
        return 0;
    if (!t->split)
        return t->kind->encode(t, s, n, first, out);
    if (!t->norm)
        return encode_normal(t, s, n, first, out);
    struct str normal = {0};
    int rc = text_norm_run(t->norm, &normal, s, n);
    if (rc == 0 && normal.n)
        rc = encode_normal(t, normal.s, normal.n, first, out);
    str_free(&normal);
    return rc;
}

int token_split_encode(const struct tokenizer *t, const char *s, size_t n, struct token_ids *out)
{
    size_t from = 0, at, end;
    const struct token_added *which;
    while (t->split && token_added_next(t, s, n, from, false, &at, &end, &which)) {
        TRY(encode_stretch(t, s + from, at - from, from == 0, out));
        TRY(put_id(out, which->id));
        from = end;
    }
    return encode_stretch(t, s + from, n - from, from == 0, out);
}
