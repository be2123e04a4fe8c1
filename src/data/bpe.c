/* data/bpe.c: the table of symbols and merges, and the encoding of one word.
 *
 * Byte pair encoding (Sennrich, Haddow and Birch 2016) over bytes (Radford et al. 2019), with CLIP's end-of-word mark:
 * the last byte of a word is another symbol than the same byte inside. Encoding repeats: find the pair of lowest rank,
 * join all its occurrences from left to right. Short words, which are nearly all, go in passes over the word. Longer
 * ones would be quadratic that way, so they go through a heap of (rank, position) over a linked list. Pairs that arise
 * while one rank is being joined wait until that rank is done: with that the heap gives the ids of the definition on
 * every table, also on one whose later merges outrank earlier ones (files of unknown origin). */
#include "data/bpe.h"
#include "data/unicode.h"

#include <string.h>

#define FREE_KEY UINT64_MAX

static size_t table_size(int64_t n)
{
    size_t size = 64;
    while (size < (size_t)n * 2)
        size *= 2;
    return size;
}

static size_t mix(uint64_t key)
{
    key ^= key >> 31;
    key *= 0x9E3779B97F4A7C15u;
    return (size_t)(key ^ (key >> 29));
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return ((uint64_t)(uint32_t)left << 32) | (uint32_t)right;
}

/* Printable bytes stand for themselves, the 68 others move behind U+0100. */
int32_t bpe_symbol(int byte)
{
    if ((byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE)
        return byte;
    if (byte <= 0x20)
        return 0x100 + byte;
    return byte == 0xAD ? 0x100 + 33 + 34 : 0x100 + 33 + byte - 0x7F;
}

int bpe_start(struct bpe *b, struct arena *a, int64_t n_tokens, int64_t n_merges)
{
    int64_t limit = limit_get(LIMIT_MERGES);
    if (n_tokens > limit || n_merges > limit)
        FAIL(ERR_DATA, "vocabulary of %lld entries and %lld merges: expected at most %lld each (limit merges)",
             (long long)n_tokens, (long long)n_merges, (long long)limit);
    memset(b, 0, sizeof *b);
    b->arena = a;
    b->n_tokens = (int32_t)n_tokens;
    size_t names = table_size(n_tokens), pairs = table_size(n_merges);
    b->name_mask = names - 1;
    b->pair_mask = pairs - 1;
    b->tokens = arena_calloc(a, (size_t)n_tokens + 1, sizeof *b->tokens);
    b->merges = arena_calloc(a, (size_t)n_merges + 1, sizeof *b->merges);
    b->name_slots = arena_calloc(a, names, sizeof *b->name_slots);
    b->pair_keys = arena_calloc(a, pairs, sizeof *b->pair_keys);
    b->pair_ranks = arena_calloc(a, pairs, sizeof *b->pair_ranks);
    if (!b->tokens || !b->merges || !b->name_slots || !b->pair_keys || !b->pair_ranks)
        return ERR_MEMORY;
    memset(b->pair_keys, 0xFF, pairs * sizeof *b->pair_keys);
    return 0;
}

static size_t name_slot(const struct bpe *b, const char *name, size_t n)
{
    size_t i = (size_t)hash_bytes(name, n, 0) & b->name_mask;
    while (b->name_slots[i]) {
        const char *t = b->tokens[b->name_slots[i] - 1];
        if (!strncmp(t, name, n) && !t[n])
            break;
        i = (i + 1) & b->name_mask;
    }
    return i;
}

int32_t bpe_find(const struct bpe *b, const char *name, size_t n)
{
    return (int32_t)b->name_slots[name_slot(b, name, n)] - 1;
}

int bpe_set_token(struct bpe *b, int64_t id, const char *name, const char *where)
{
    if (id < 0 || id >= b->n_tokens)
        FAIL(ERR_DATA, "%s: entry \"%.60s\" has id %lld, expected 0 to %d (one id for each of the %d entries)", where,
             name, (long long)id, b->n_tokens - 1, b->n_tokens);
    if (b->tokens[id])
        FAIL(ERR_DATA, "%s: entries \"%.60s\" and \"%.60s\" both have id %lld", where, b->tokens[id], name,
             (long long)id);
    size_t slot = name_slot(b, name, strlen(name));
    if (b->name_slots[slot])
        FAIL(ERR_DATA, "%s: entry \"%.60s\" occurs twice", where, name);
    b->tokens[id] = arena_strdup(b->arena, name);
    if (!b->tokens[id])
        return ERR_MEMORY;
    b->name_slots[slot] = (uint32_t)id + 1;
    return 0;
}

static size_t pair_slot(const struct bpe *b, uint64_t key)
{
    size_t i = mix(key) & b->pair_mask;
    while (b->pair_keys[i] != FREE_KEY && b->pair_keys[i] != key)
        i = (i + 1) & b->pair_mask;
    return i;
}

int bpe_add_merge(struct bpe *b, const char *left, size_t n_left, const char *right, size_t n_right, const char *where,
                  int64_t line)
{
    char at[32] = "", joined[1024];
    if (line)
        snprintf(at, sizeof at, ":%lld", (long long)line);
    if (n_left + n_right >= sizeof joined)
        FAIL(ERR_DATA, "%s%s: merge of %zu bytes: expected fewer than %zu", where, at, n_left + n_right, sizeof joined);
    memcpy(joined, left, n_left);
    memcpy(joined + n_left, right, n_right);
    struct bpe_merge m = {bpe_find(b, left, n_left), bpe_find(b, right, n_right),
                          bpe_find(b, joined, n_left + n_right)};
    if (m.left < 0 || m.right < 0 || m.out < 0)
        FAIL(ERR_DATA, "%s%s: merge \"%.*s %.*s\": %s is not in the vocabulary; the two files do not belong together",
             where, at, (int)n_left, left, (int)n_right, right,
             m.left < 0    ? "the left part"
             : m.right < 0 ? "the right part"
                           : "the joined entry");
    uint64_t key = pair_key(m.left, m.right);
    size_t slot = pair_slot(b, key);
    if (b->pair_keys[slot] != FREE_KEY)
        FAIL(ERR_DATA, "%s%s: merge \"%.*s %.*s\" occurs twice (first as merge %d)", where, at, (int)n_left, left,
             (int)n_right, right, b->pair_ranks[slot] + 1);
    b->pair_keys[slot] = key;
    b->pair_ranks[slot] = b->n_merges;
    b->merges[b->n_merges++] = m;
    return 0;
}

/* UTF-8 of a byte's symbol, with the end mark when `last`. */
static size_t byte_name(char out[8], int byte, bool last)
{
    int32_t c = bpe_symbol(byte);
    size_t n = 0;
    if (c < 0x80)
        out[n++] = (char)c;
    else {
        out[n++] = (char)(0xC0 | (c >> 6));
        out[n++] = (char)(0x80 | (c & 0x3F));
    }
    if (last) {
        memcpy(out + n, BPE_END_MARK, 4);
        n += 4;
    }
    return n;
}

int bpe_check_names(const struct bpe *b, const char *where)
{
    for (int32_t i = 0; i < b->n_tokens; i++)
        if (!b->tokens[i])
            FAIL(ERR_DATA, "%s: no entry has id %d, expected one for each id below %d", where, i, b->n_tokens);
    return 0;
}

int bpe_finish(struct bpe *b, const char *where)
{
    TRY(bpe_check_names(b, where));
    for (int last = 0; last < 2; last++)
        for (int byte = 0; byte < 256; byte++) {
            char name[8];
            size_t n = byte_name(name, byte, last);
            b->byte_id[last][byte] = bpe_find(b, name, n);
            if (b->byte_id[last][byte] < 0)
                FAIL(ERR_DATA,
                     "%s: no entry \"%.*s\" for byte %d: expected a byte-level vocabulary with end-of-word marks, as "
                     "CLIP's",
                     where, (int)n, name, byte);
        }
    return 0;
}

static int32_t rank_of(const struct bpe *b, int32_t left, int32_t right)
{
    size_t slot = pair_slot(b, pair_key(left, right));
    return b->pair_keys[slot] == FREE_KEY ? INT32_MAX : b->pair_ranks[slot];
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

enum { SHORT_WORD = 48 };

static void merge_short(const struct bpe *b, int32_t *ids, int64_t *n)
{
    int32_t ranks[SHORT_WORD];
    int64_t len = *n;
    for (int64_t i = 0; i + 1 < len; i++)
        ranks[i] = rank_of(b, ids[i], ids[i + 1]);
    while (len > 1) {
        int32_t best = INT32_MAX;
        for (int64_t i = 0; i + 1 < len; i++)
            best = ranks[i] < best ? ranks[i] : best;
        if (best == INT32_MAX)
            break;
        struct bpe_merge m = b->merges[best];
        int64_t to = 0;
        for (int64_t i = 0; i < len; to++) {
            bool join = i + 1 < len && ids[i] == m.left && ids[i + 1] == m.right;
            int32_t id = join ? m.out : ids[i], rank = ranks[i];
            i += join ? 2 : 1;
            /* A pair changes when one of its sides was joined. */
            bool left_joined = to > 0 && ids[to - 1] == m.out;
            ids[to] = id;
            if (to > 0 && (join || left_joined))
                ranks[to - 1] = rank_of(b, ids[to - 1], id);
            if (!join)
                ranks[to] = rank;
        }
        len = to;
    }
    *n = len;
}

struct merge_spot {
    int32_t rank, at;
};
struct merge_list {
    const struct bpe *b;
    int32_t *ids, *next, *prev; /* by position; -1: none */
    struct merge_spot *heap, *waiting;
    int64_t n_heap, n_waiting;
};

static bool spot_less(struct merge_spot a, struct merge_spot b)
{
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void spot_push(struct merge_list *l, struct merge_spot s)
{
    int64_t i = l->n_heap++;
    for (; i > 0 && spot_less(s, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
        l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = s;
}

static struct merge_spot spot_pop(struct merge_list *l)
{
    struct merge_spot top = l->heap[0], s = l->heap[--l->n_heap];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < l->n_heap; i = child) {
        if (child + 1 < l->n_heap && spot_less(l->heap[child + 1], l->heap[child]))
            child++;
        if (!spot_less(l->heap[child], s))
            break;
        l->heap[i] = l->heap[child];
    }
    l->heap[i] = s;
    return top;
}

/* The pair that starts at position `at`, for now or for later. */
static void offer(struct merge_list *l, int32_t at, bool later)
{
    if (at < 0 || l->next[at] < 0)
        return;
    struct merge_spot s = {rank_of(l->b, l->ids[at], l->ids[l->next[at]]), at};
    if (s.rank == INT32_MAX)
        return;
    if (later)
        l->waiting[l->n_waiting++] = s;
    else
        spot_push(l, s);
}

/* A merge takes one symbol and offers two pairs: 3 n entries are enough for heap and waiting together. */
static void merge_all(struct merge_list *l, bool one_at_a_time)
{
    int32_t rank = -1;
    while (l->n_heap || l->n_waiting) {
        if (!l->n_heap || l->heap[0].rank != rank) {
            while (l->n_waiting)
                spot_push(l, l->waiting[--l->n_waiting]);
            rank = l->heap[0].rank;
        }
        struct merge_spot s = spot_pop(l);
        int32_t right = l->ids[s.at] < 0 ? -1 : l->next[s.at];
        if (right < 0 || rank_of(l->b, l->ids[s.at], l->ids[right]) != s.rank)
            continue; /* joined since */
        l->ids[s.at] = l->b->merges[s.rank].out;
        l->ids[right] = -1;
        l->next[s.at] = l->next[right];
        if (l->next[right] >= 0)
            l->prev[l->next[right]] = s.at;
        offer(l, l->prev[s.at], !one_at_a_time);
        offer(l, s.at, !one_at_a_time);
    }
}

int bpe_merge(const struct bpe *b, int32_t *ids, int64_t *n, bool one_at_a_time)
{
    if (*n < 2)
        return 0;
    if (*n <= SHORT_WORD && !one_at_a_time) {
        merge_short(b, ids, n);
        return 0;
    }
    size_t len = (size_t)*n;
    struct merge_list l = {.b = b, .ids = ids};
    int rc =
        len > INT32_MAX / 8 ? err_set(ERR_DATA, "word of %zu symbols: expected at most %d", len, INT32_MAX / 8) : 0;
    char *memory = rc < 0 ? NULL : mem_alloc(len * (2 * sizeof(int32_t) + 6 * sizeof(struct merge_spot)));
    if (!memory)
        return rc < 0 ? rc : ERR_MEMORY;
    l.heap = (struct merge_spot *)memory;
    l.waiting = l.heap + 3 * len;
    l.next = (int32_t *)(l.waiting + 3 * len);
    l.prev = l.next + len;
    for (int32_t i = 0; i < (int32_t)len; i++) {
        l.next[i] = i + 1 < (int32_t)len ? i + 1 : -1;
        l.prev[i] = i - 1;
    }
    for (int32_t i = 0; i < (int32_t)len; i++)
        offer(&l, i, false);
    merge_all(&l, one_at_a_time);
    int64_t to = 0;
    for (int32_t i = 0; i >= 0; i = l.next[i])
        ids[to++] = ids[i];
    *n = to;
    mem_free(memory);
    return 0;
}

int bpe_word(const struct bpe *b, const char *s, size_t n, int32_t *ids, int64_t *n_ids)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = b->byte_id[i + 1 == n][(unsigned char)s[i]];
    *n_ids = (int64_t)n;
    return bpe_merge(b, ids, n_ids, false);
}

void bpe_token_bytes(const struct bpe *b, int32_t id, struct str *out, bool *last)
{
    static const char mark[] = BPE_END_MARK;
    const char *s = b->tokens[id];
    size_t n = strlen(s), k;
    int32_t c;
    *last = n >= sizeof mark - 1 && !memcmp(s + n - (sizeof mark - 1), mark, sizeof mark - 1);
    if (*last)
        n -= sizeof mark - 1;
    for (size_t i = 0; i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        int byte = c < 0x100 && bpe_symbol(c) == c ? c : -1;
        if (c >= 0x100 && c <= 0x120)
            byte = c - 0x100;
        else if (c > 0x120 && c <= 0x142)
            byte = c - 0x121 + 0x7F;
        else if (c == 0x143)
            byte = 0xAD;
        if (byte >= 0)
            str_add_c(out, (char)byte);
        else
            str_add_n(out, s + i, k);
    }
}
