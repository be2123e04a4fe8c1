/* data/bpe_train.c: learns a byte pair encoding from texts.
 *
 * Sennrich, Haddow and Birch 2016, algorithm 1, over bytes with an end-of-word mark: count neighbouring symbols over
 * the distinct words, join the most frequent pair (ties: the lower pair of ids), repeat. Counts are kept up to date
 * instead of recounted: a pair knows the words that hold it, and a heap with lazy deletion gives the best pair. Joining
 * "a"+"bc" after "ab"+"c" gives a symbol that already exists; the rule is kept and the id reused, so no two entries
 * share a spelling. The order of ids is that of CLIP's file: 256 bytes, 256 bytes that end a word, joined symbols,
 * start, end. */
#include "data/bpe.h"

#include <string.h>

enum { MAX_WORD = 1000 }; /* bytes; a joined pair means a pass over each word that holds it */

struct word {
    int64_t count, n;
    int32_t *ids;
};

struct pair_stat {
    int64_t count;
    int32_t left, right;
    int32_t n_words, cap_words, *words; /* words that held the pair at some time */
};

struct candidate {
    int64_t count;
    int32_t pair;
};

struct trainer {
    struct arena *arena;
    struct word *words;
    int64_t n_words, cap_words;
    uint32_t *word_slots;
    size_t word_mask;
    struct pair_stat *pairs;
    int64_t n_pairs, cap_pairs;
    uint32_t *pair_slots;
    size_t pair_mask;
    struct candidate *heap;
    int64_t n_heap, cap_heap;
    struct bpe *bpe;
};

/* Room for one more element in a growing array. */
static int reserve(void **p, int64_t n, int64_t *cap, size_t size)
{
    if (n < *cap)
        return 0;
    int64_t more = *cap ? *cap * 2 : 256;
    void *q = mem_grow(*p, (size_t)*cap * size, (size_t)more * size);
    if (!q)
        return ERR_MEMORY;
    *p = q;
    *cap = more;
    return 0;
}

/* ---- heap: highest count first, then the lower pair of ids ---------------------------------------------------- */

static bool ranks_before(const struct trainer *t, struct candidate a, struct candidate b)
{
    if (a.count != b.count)
        return a.count > b.count;
    const struct pair_stat *p = &t->pairs[a.pair], *q = &t->pairs[b.pair];
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static int heap_push(struct trainer *t, struct candidate c)
{
    TRY(reserve((void **)&t->heap, t->n_heap, &t->cap_heap, sizeof *t->heap));
    int64_t i = t->n_heap++;
    while (i > 0 && ranks_before(t, c, t->heap[(i - 1) / 2])) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = c;
    return 0;
}

static struct candidate heap_pop(struct trainer *t)
{
    struct candidate top = t->heap[0], last = t->heap[--t->n_heap];
    int64_t i = 0;
    for (;;) {
        int64_t kid = 2 * i + 1;
        if (kid >= t->n_heap)
            break;
        if (kid + 1 < t->n_heap && ranks_before(t, t->heap[kid + 1], t->heap[kid]))
            kid++;
        if (!ranks_before(t, t->heap[kid], last))
            break;
        t->heap[i] = t->heap[kid];
        i = kid;
    }
    if (t->n_heap)
        t->heap[i] = last;
    return top;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

static size_t pair_hash(int32_t left, int32_t right)
{
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(key ^ (key >> 32));
}

static size_t pair_find(const struct trainer *t, int32_t left, int32_t right)
{
    size_t i = pair_hash(left, right) & t->pair_mask;
    while (t->pair_slots[i]) {
        const struct pair_stat *p = &t->pairs[t->pair_slots[i] - 1];
        if (p->left == left && p->right == right)
            break;
        i = (i + 1) & t->pair_mask;
    }
    return i;
}

static int pair_table_grow(struct trainer *t)
{
    size_t size = t->pair_mask ? (t->pair_mask + 1) * 2 : 4096;
    uint32_t *slots = mem_calloc(size, sizeof *slots);
    if (!slots)
        return ERR_MEMORY;
    mem_free(t->pair_slots);
    t->pair_slots = slots;
    t->pair_mask = size - 1;
    for (int64_t i = 0; i < t->n_pairs; i++)
        slots[pair_find(t, t->pairs[i].left, t->pairs[i].right)] = (uint32_t)i + 1;
    return 0;
}

/* Adds `by` to the pair's count; word is remembered when by > 0. */
static int pair_add(struct trainer *t, int32_t left, int32_t right, int64_t by, int32_t word, int32_t *index)
{
    if ((size_t)t->n_pairs * 2 >= t->pair_mask)
        TRY(pair_table_grow(t));
    size_t slot = pair_find(t, left, right);
    if (!t->pair_slots[slot]) {
        TRY(reserve((void **)&t->pairs, t->n_pairs, &t->cap_pairs, sizeof *t->pairs));
        t->pairs[t->n_pairs] = (struct pair_stat){.left = left, .right = right};
        t->pair_slots[slot] = (uint32_t)++t->n_pairs;
    }
    *index = (int32_t)t->pair_slots[slot] - 1;
    struct pair_stat *p = &t->pairs[*index];
    p->count += by;
    if (by > 0 && !(p->n_words && p->words[p->n_words - 1] == word)) {
        int64_t cap = p->cap_words;
        TRY(reserve((void **)&p->words, p->n_words, &cap, sizeof *p->words));
        p->cap_words = (int32_t)cap;
        p->words[p->n_words++] = word;
    }
    return 0;
}

static int word_count_pairs(struct trainer *t, int32_t w, int sign, bool push)
{
    struct word *word = &t->words[w];
    for (int64_t i = 0; i + 1 < word->n; i++) {
        int32_t index;
        TRY(pair_add(t, word->ids[i], word->ids[i + 1], sign * word->count, w, &index));
        if (push)
            TRY(heap_push(t, (struct candidate){t->pairs[index].count, index}));
    }
    return 0;
}

/* ---- words
 * ----------------------------------------------------------------------------------------------------------- */

static bool word_is(const struct trainer *t, const struct word *w, const char *s, size_t n)
{
    if (w->n != (int64_t)n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (w->ids[i] != t->bpe->byte_id[i + 1 == n][(unsigned char)s[i]])
            return false;
    return true;
}

static size_t word_find(const struct trainer *t, const char *s, size_t n)
{
    size_t i = (size_t)hash_bytes(s, n, 1) & t->word_mask;
    while (t->word_slots[i] && !word_is(t, &t->words[t->word_slots[i] - 1], s, n))
        i = (i + 1) & t->word_mask;
    return i;
}

static int word_table_grow(struct trainer *t)
{
    size_t size = t->word_mask ? (t->word_mask + 1) * 2 : 4096;
    uint32_t *slots = mem_calloc(size, sizeof *slots);
    char *bytes = mem_alloc(MAX_WORD + 8);
    if (!slots || !bytes) {
        mem_free(slots);
        mem_free(bytes);
        return ERR_MEMORY;
    }
    uint8_t byte_of[512];
    for (int last = 0; last < 2; last++)
        for (int byte = 0; byte < 256; byte++)
            byte_of[t->bpe->byte_id[last][byte]] = (uint8_t)byte;
    mem_free(t->word_slots);
    t->word_slots = slots;
    t->word_mask = size - 1;
    for (int64_t w = 0; w < t->n_words; w++) {
        for (int64_t i = 0; i < t->words[w].n; i++)
            bytes[i] = (char)byte_of[t->words[w].ids[i]];
        slots[word_find(t, bytes, (size_t)t->words[w].n)] = (uint32_t)w + 1;
    }
    mem_free(bytes);
    return 0;
}

static int word_add(struct trainer *t, const char *s, size_t n, int64_t count)
{
    if ((size_t)t->n_words * 2 >= t->word_mask)
        TRY(word_table_grow(t));
    size_t slot = word_find(t, s, n);
    if (!t->word_slots[slot]) {
        TRY(reserve((void **)&t->words, t->n_words, &t->cap_words, sizeof *t->words));
        int32_t *ids = arena_alloc(t->arena, n * sizeof *ids);
        if (!ids)
            return ERR_MEMORY;
        for (size_t i = 0; i < n; i++)
            ids[i] = t->bpe->byte_id[i + 1 == n][(unsigned char)s[i]];
        t->words[t->n_words] = (struct word){.n = (int64_t)n, .ids = ids};
        t->word_slots[slot] = (uint32_t)++t->n_words;
    }
    t->words[t->word_slots[slot] - 1].count += count;
    return 0;
}

static int add_texts(struct trainer *t, const char *const *texts, const int64_t *counts, int64_t n, const char *start,
                     const char *end)
{
    struct str clean = {0};
    int rc = 0;
    for (int64_t i = 0; i < n && rc == 0; i++) {
        int64_t count = counts ? counts[i] : 1;
        rc = text_clean(&clean, texts[i]);
        if (rc < 0 || count <= 0)
            continue;
        struct text_words words = {
            .s = clean.s ? clean.s : "", .n = clean.n, .special = {start, end}, .limit = MAX_WORD};
        const char *from;
        size_t len;
        enum text_word kind;
        while (rc == 0 && (kind = text_next_word(&words, &from, &len)) != TEXT_END)
            if (kind == TEXT_WORD)
                rc = word_add(t, from, len, count);
    }
    str_free(&clean);
    return rc;
}

/* ---- learning
 * -------------------------------------------------------------------------------------------------------- */

static int name_bytes(struct bpe *b)
{
    int32_t id = 0;
    for (int last = 0; last < 2; last++)
        for (int32_t code = 0x21; code < 0x100 + 68; code++)
            for (int byte = 0; byte < 256; byte++) {
                if (bpe_symbol(byte) != code)
                    continue;
                char name[8];
                int n = code < 0x80 ? snprintf(name, sizeof name, "%c", (char)code)
                                    : snprintf(name, sizeof name, "%c%c", (char)(0xC0 | code >> 6),
                                               (char)(0x80 | (code & 0x3F)));
                snprintf(name + n, sizeof name - (size_t)n, "%s", last ? BPE_END_MARK : "");
                b->byte_id[last][byte] = id;
                TRY(bpe_set_token(b, id++, name, "trained vocabulary"));
            }
    return 0;
}

/* Replaces the pair by `out` in word w, with the counts of all pairs of the word. */
static int join_in_word(struct trainer *t, int32_t w, int32_t left, int32_t right, int32_t out)
{
    struct word *word = &t->words[w];
    int64_t i = 0, to = 0;
    while (i + 1 < word->n && !(word->ids[i] == left && word->ids[i + 1] == right))
        i++;
    if (i + 1 >= word->n)
        return 0;
    TRY(word_count_pairs(t, w, -1, false));
    for (i = 0; i < word->n; to++) {
        bool join = i + 1 < word->n && word->ids[i] == left && word->ids[i + 1] == right;
        word->ids[to] = join ? out : word->ids[i];
        i += join ? 2 : 1;
    }
    word->n = to;
    return word_count_pairs(t, w, 1, true);
}

/* Every position that is popped with an old count goes back with the present one. */
static bool best_pair(struct trainer *t, int32_t *best, int *rc)
{
    *rc = 0;
    while (t->n_heap && *rc == 0) {
        struct candidate c = heap_pop(t);
        int64_t now = t->pairs[c.pair].count;
        if (c.count == now && now > 0) {
            *best = c.pair;
            return true;
        }
        if (c.count > now && now > 0)
            *rc = heap_push(t, (struct candidate){now, c.pair});
    }
    return false;
}

static int learn(struct trainer *t, int64_t n_symbols, int64_t max_merges)
{
    struct bpe *b = t->bpe;
    int32_t n = 512, best;
    int rc = 0;
    for (int64_t w = 0; w < t->n_words; w++)
        TRY(word_count_pairs(t, (int32_t)w, 1, false));
    for (int64_t i = 0; i < t->n_pairs; i++)
        TRY(heap_push(t, (struct candidate){t->pairs[i].count, (int32_t)i}));
    while (n < n_symbols && b->n_merges < max_merges && best_pair(t, &best, &rc)) {
        int32_t left = t->pairs[best].left, right = t->pairs[best].right;
        const char *l = b->tokens[left], *r = b->tokens[right];
        char name[1024];
        int len = snprintf(name, sizeof name, "%s%s", l, r);
        if (len >= (int)sizeof name) { /* longer than a merge rule may be in a file: leave this pair alone */
            t->pairs[best].count = 0;
            continue;
        }
        int32_t out = bpe_find(b, name, (size_t)len);
        if (out < 0) {
            out = n++;
            TRY(bpe_set_token(b, out, name, "trained vocabulary"));
        }
        TRY(bpe_add_merge(b, l, strlen(l), r, strlen(r), "trained vocabulary", 0));
        for (int32_t i = 0; i < t->pairs[best].n_words; i++) /* the list may move while it is walked */
            TRY(join_in_word(t, t->pairs[best].words[i], left, right, out));
        t->pairs[best].count = 0;
        if (signal_caught())
            return signal_check();
    }
    if (n < n_symbols)
        TRY(rc);
    b->n_tokens = n + 2;
    return 0;
}

static void trainer_free(struct trainer *t)
{
    for (int64_t i = 0; i < t->n_pairs; i++)
        mem_free(t->pairs[i].words);
    mem_free(t->pairs);
    mem_free(t->pair_slots);
    mem_free(t->words);
    mem_free(t->word_slots);
    mem_free(t->heap);
    arena_close(&t->arena);
}

int bpe_train(struct bpe *b, struct arena *a, const char *const *texts, const int64_t *counts, int64_t n_texts,
              int64_t vocab_size, const char *start, const char *end)
{
    if (vocab_size < 514 || vocab_size > limit_get(LIMIT_MERGES))
        FAIL(ERR_USAGE, "vocabulary size %lld: expected 514 (bytes, start and end) to %lld", (long long)vocab_size,
             (long long)limit_get(LIMIT_MERGES));
    struct trainer t = {.bpe = b};
    int rc = arena_open(&t.arena, "bpe words");
    if (rc < 0)
        return rc;
    int64_t max_merges = vocab_size * 2 < limit_get(LIMIT_MERGES) ? vocab_size * 2 : limit_get(LIMIT_MERGES);
    rc = bpe_start(b, a, vocab_size, max_merges);
    if (rc == 0)
        rc = name_bytes(b);
    if (rc == 0)
        rc = add_texts(&t, texts, counts, n_texts, start, end);
    if (rc == 0)
        rc = learn(&t, vocab_size - 2, max_merges);
    if (rc == 0)
        rc = bpe_set_token(b, b->n_tokens - 2, start, "trained vocabulary");
    if (rc == 0)
        rc = bpe_set_token(b, b->n_tokens - 1, end, "trained vocabulary");
    if (rc == 0)
        rc = bpe_finish(b, "trained vocabulary");
    trainer_free(&t);
    return rc;
}
