/* tests/data/test_bpe.c: merging against its definition, on tables of every kind, and vocabularies learned here. */
#include "tokens.h"

#include "data/bpe.h"

/* ---- merging ---- */

/* The definition, for any table: the best pair, all its places from left to right, again. */
static int64_t merge_slowly(const struct bpe *b, int32_t *ids, int64_t n, bool one)
{
    for (;;) {
        int best = b->n_merges;
        for (int64_t i = 0; i + 1 < n; i++)
            for (int r = 0; r < best; r++)
                if (b->merges[r].left == ids[i] && b->merges[r].right == ids[i + 1])
                    best = r;
        if (best == b->n_merges)
            return n;
        int64_t to = 0;
        bool joined = false;
        for (int64_t i = 0; i < n; to++) {
            bool join =
                i + 1 < n && ids[i] == b->merges[best].left && ids[i + 1] == b->merges[best].right && !(one && joined);
            ids[to] = join ? b->merges[best].out : ids[i];
            joined |= join;
            i += join ? 2 : 1;
        }
        n = to;
    }
}

/* Random tables whose later merges often outrank earlier ones, random words below and above the short form. */
static void merges_as_defined(void **state UNUSED)
{
    struct rng r = rng_stream(11, RNG_TEST, 0, 0);
    for (int round = 0; round < 300; round++) {
        struct arena *a = NULL;
        struct bpe b;
        must(arena_open(&a, "test"));
        must(bpe_start(&b, a, 64, 60));
        char name[64][40];
        int n_names = 4;
        for (int i = 0; i < 4; i++)
            snprintf(name[i], sizeof name[i], "%c", 'a' + i);
        struct {
            int l, r;
        } want[60];
        int n_want = 0;
        for (int tries = 0; tries < 200 && n_names < 64; tries++) {
            int l = (int)rng_below(&r, (uint64_t)n_names), k = (int)rng_below(&r, (uint64_t)n_names);
            if (strlen(name[l]) + strlen(name[k]) >= 12)
                continue;
            char joined[80];
            snprintf(joined, sizeof joined, "%s%s", name[l], name[k]);
            bool known = false;
            for (int i = 0; i < n_names; i++)
                known |= !strcmp(name[i], joined);
            if (known)
                continue;
            strcpy(name[n_names++], joined);
            want[n_want].l = l;
            want[n_want++].r = k;
        }
        b.n_tokens = n_names;
        for (int i = 0; i < n_names; i++)
            must(bpe_set_token(&b, i, name[i], "test"));
        for (int i = n_want - 1; i > 0; i--) { /* ranks in any order */
            int j = (int)rng_below(&r, (uint64_t)i + 1), l = want[i].l, k = want[i].r;
            want[i] = want[j];
            want[j].l = l;
            want[j].r = k;
        }
        for (int i = 0; i < n_want; i++)
            must(bpe_add_merge(&b, name[want[i].l], strlen(name[want[i].l]), name[want[i].r], strlen(name[want[i].r]),
                               "test", 0));
        for (int w = 0; w < 12; w++) {
            int32_t fast[200], slow[200];
            int64_t n = 1 + (int64_t)rng_below(&r, w < 8 ? 60 : 200), m = n, k;
            bool one = w % 2;
            for (int64_t i = 0; i < n; i++)
                fast[i] = slow[i] = (int32_t)rng_below(&r, 1 + (uint64_t)w % 4);
            k = merge_slowly(&b, slow, n, one);
            must(bpe_merge(&b, fast, &m, one));
            assert_int_equal(m, k);
            assert_memory_equal(fast, slow, (size_t)k * sizeof *fast);
        }
        arena_close(&a);
    }
}

/* A table that feeds itself: every symbol doubles. */
static void doubling_merges(void **state UNUSED)
{
    struct arena *a = NULL;
    struct bpe b;
    char name[600];
    memset(name, 'x', sizeof name);
    must(arena_open(&a, "test"));
    must(bpe_start(&b, a, 10, 9));
    for (int i = 0; i < 10; i++) {
        name[1 << i] = 0;
        must(bpe_set_token(&b, i, name, "test"));
        name[1 << i] = 'x';
    }
    for (int i = 0; i < 9; i++)
        must(bpe_add_merge(&b, name, (size_t)1 << i, name, (size_t)1 << i, "test", 0));
    int64_t n = 1 << 20;
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    must(bpe_merge(&b, ids, &n, false));
    assert_int_equal(n, 1 << 11);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(ids[i], 9);
    free(ids);
    arena_close(&a);
}

/* ---- learning ---- */

static void learns_by_hand(void **state UNUSED)
{
    /* Words: aaab x3, ab</w> forms. Counts: (a,a) 6, (a,b</w>) 3 + 2 = 5. First aa; then aaab = aa a b: (a,b</w>) 5. */
    static const char *const texts[] = {"aaab aaab", "AAAB ab", "ab"};
    struct tokenizer *t = NULL;
    must(tokenizer_train(&t, texts, NULL, 3, 516));
    assert_int_equal(tokenizer_info(t).vocab_size, 516);
    int32_t *ids;
    int64_t n;
    must(tokenizer_encode(t, "ab", &ids, &n));
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], 513);
    mem_free(ids);
    must(tokenizer_encode(t, "aaab", &ids, &n));
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 512);
    assert_int_equal(ids[1], 513);
    mem_free(ids);
    tokenizer_close(&t);
    must(tokenizer_train(&t, texts, NULL, 3, 5000)); /* no more pairs: fewer entries */
    assert_int_equal(tokenizer_info(t).vocab_size, 512 + 3 + 2);
    tokenizer_close(&t);
    assert_int_equal(tokenizer_train(&t, texts, NULL, 3, 513), ERR_USAGE);
    const int64_t counts[] = {0, 0, 1};
    must(tokenizer_train(&t, texts, counts, 3, 5000));
    assert_int_equal(tokenizer_info(t).vocab_size, 512 + 1 + 2);
    tokenizer_close(&t);
}

/* The definition: count all pairs anew for each merge. */
static void train_slowly(struct bpe_merge *out, int n_merges, const char *const *words, int n_words)
{
    static int32_t ids[64][64];
    int len[64];
    for (int w = 0; w < n_words; w++) {
        len[w] = (int)strlen(words[w]);
        for (int i = 0; i < len[w]; i++)
            ids[w][i] = words[w][i] - 0x21 + (i + 1 == len[w] ? 256 : 0);
    }
    for (int m = 0; m < n_merges; m++) {
        int best = 0;
        struct bpe_merge pick = {0};
        for (int w = 0; w < n_words; w++)
            for (int i = 0; i + 1 < len[w]; i++) {
                int count = 0;
                struct bpe_merge p = {ids[w][i], ids[w][i + 1], 512 + m};
                for (int v = 0; v < n_words; v++)
                    for (int j = 0; j + 1 < len[v]; j++)
                        count += ids[v][j] == p.left && ids[v][j + 1] == p.right;
                bool lower = p.left < pick.left || (p.left == pick.left && p.right < pick.right);
                if (count > best || (count == best && lower)) {
                    best = count;
                    pick = p;
                }
            }
        out[m] = pick;
        for (int w = 0; w < n_words; w++) {
            int to = 0;
            for (int i = 0; i < len[w]; to++) {
                bool join = i + 1 < len[w] && ids[w][i] == pick.left && ids[w][i + 1] == pick.right;
                ids[w][to] = join ? pick.out : ids[w][i];
                i += join ? 2 : 1;
            }
            len[w] = to;
        }
    }
}

static void learns_as_defined(void **state UNUSED)
{
    char text[40][24];
    const char *texts[40];
    struct rng r = rng_stream(5, RNG_TEST, 0, 0);
    for (int w = 0; w < 40; w++) {
        int n = 3 + (int)rng_below(&r, 12);
        for (int i = 0; i < n; i++)
            text[w][i] = (char)('a' + rng_below(&r, 4));
        text[w][n] = 0;
        texts[w] = text[w];
    }
    struct bpe_merge want[30];
    struct bpe b;
    struct arena *a = NULL;
    train_slowly(want, 30, texts, 40);
    must(arena_open(&a, "test"));
    must(bpe_train(&b, a, texts, NULL, 40, 512 + 30 + 2, "<s>", "</s>"));
    /* Spellings that meet twice reuse an id; compare as far as ids agree. */
    int same = 0;
    for (int m = 0; m < 30 && b.merges[m].out == want[m].out; m++, same++) {
        assert_int_equal(b.merges[m].left, want[m].left);
        assert_int_equal(b.merges[m].right, want[m].right);
    }
    assert_true(same >= 12);
    arena_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_as_defined),
        cmocka_unit_test(doubling_merges),
        cmocka_unit_test(learns_by_hand),
        cmocka_unit_test(learns_as_defined),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
