/* tests/data/test_tokenizer.c: CLIP's tokenizer against the published one (golden tokenizer_clip), hostile
 * vocabularies, and vocabularies learned here. */
#include "scratch.h"

#include "data/bpe.h"

static struct tokenizer *clip;

static int open_clip(void **state)
{
    const char *base = getenv("MERIDIAN_SHARED");
    char dir[1024];
    if (scratch_make(state))
        return -1;
    snprintf(dir, sizeof dir, "%s/golden/tokenizer_clip", base ? base : "");
    return base && path_exists(dir) ? tokenizer_open(&clip, dir) : 0;
}

static int close_clip(void **state)
{
    tokenizer_close(&clip);
    return scratch_remove(state);
}

static void need_clip(void)
{
    golden("tokenizer_clip/vocab.json");
    assert_non_null(clip);
}

static void all_golden_strings(void **state UNUSED)
{
    need_clip();
    struct map m;
    int n = 0;
    must(map_open(&m, golden("tokenizer_clip/strings.jsonl")));
    const char *p = (const char *)m.data, *end = p + m.size;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((stop ? stop : end) - p);
        json_t *o = NULL;
        int32_t *ids = NULL;
        int64_t k = 0;
        must(json_read_text(&o, p, len, "strings.jsonl"));
        const json_t *want = json_object_get(o, "ids");
        must(tokenizer_encode(clip, json_string_value(json_object_get(o, "text")), &ids, &k));
        assert_int_equal(k, json_array_size(want));
        for (int64_t i = 0; i < k; i++)
            assert_int_equal(ids[i], json_integer_value(json_array_get(want, (size_t)i)));
        mem_free(ids);
        json_decref(o);
        p += len + 1;
        n++;
    }
    assert_int_equal(n, 1892);
    map_close(&m);
}

/* The 77-long form: pads are 0 there, the end id here (as HuggingFace pads). */
static void golden_context(void **state UNUSED)
{
    need_clip();
    struct st_file *f = NULL;
    struct map m;
    const char *line[2000];
    size_t length[2000];
    int n = 0;
    must(st_open(&f, golden("tokenizer_clip/ids77.safetensors")));
    must(map_open(&m, golden("tokenizer_clip/strings.jsonl")));
    for (const char *p = (const char *)m.data, *end = p + m.size; p < end && n < 2000; n++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        line[n] = p;
        length[n] = (size_t)((stop ? stop : end) - p);
        p += length[n] + 1;
    }
    const struct st_tensor *row = st_find(f, "row"), *ids = NULL;
    for (int64_t i = 0; i < st_count(f); i++)
        if (st_at(f, i)->n_dims == 2)
            ids = st_at(f, i);
    assert_non_null(row);
    assert_non_null(ids);
    int cut = 0;
    for (int64_t i = 0; i < ids->shape[0]; i++) {
        int64_t r = row->dtype == DT_I32 ? ((const int32_t *)row->data)[i] : ((const int64_t *)row->data)[i];
        json_t *o = NULL;
        int32_t got[77];
        bool truncated;
        must(json_read_text(&o, line[r], length[r], "strings.jsonl"));
        must(tokenizer_encode_context(clip, json_string_value(json_object_get(o, "text")), 77, got, &truncated));
        bool ended = false;
        for (int64_t j = 0; j < 77; j++) {
            int64_t want = ids->dtype == DT_I32 ? ((const int32_t *)ids->data)[i * 77 + j]
                                                : ((const int64_t *)ids->data)[i * 77 + j];
            assert_int_equal(got[j], ended && want == 0 ? 49407 : want);
            ended |= want == 49407;
        }
        cut += truncated;
        json_decref(o);
    }
    assert_true(cut > 0);
    map_close(&m);
    st_close(&f);
}

static void clean_is(const char *text, const char *want)
{
    struct str s = {0};
    must(text_clean(&s, text));
    assert_string_equal(s.s, want);
    str_free(&s);
}

static void python_semantics(void **state UNUSED)
{
    clean_is("  A \t\n B  ", "a b");
    clean_is("&amp;lt;B&amp;gt;", "<b>");
    clean_is("&notit; &notin; &NotEqualTilde;", "\xC2\xACit; \xE2\x88\x89 \xE2\x89\x82\xCC\xB8");
    clean_is("&#x80;&#0;&#x110000;&#1;.", "\xE2\x82\xAC\xEF\xBF\xBD\xEF\xBF\xBD.");
    clean_is("&; && &x &#; &#x; &#99999999999999999999;", "&; && &x &#; &#x; \xEF\xBF\xBD");
    clean_is("\xCE\xA3\xCE\x91\xCE\xA3", "\xCF\x83\xCE\xB1\xCF\x82");   /* final sigma */
    clean_is("\xCE\x91\xCE\xA3.\xCE\x91", "\xCE\xB1\xCF\x83.\xCE\xB1"); /* not final: a letter follows the point */
    clean_is("\xCE\xA3", "\xCF\x83");                                   /* nor alone */
    clean_is("\xC4\xB0", "i\xCC\x87");                                  /* dotted capital I */
    clean_is("\x1C a\x1C"
             "b \x1C",
             "a\x1C"
             "b"); /* strip knows 1C, \s does not */
    clean_is("", "");
    struct str s = {0};
    assert_int_equal(text_clean(&s, "a\xFF"
                                    "b"),
                     ERR_DATA);
    assert_says("UTF-8");
    str_free(&s);
}

/* The published pattern, with its corners: marks, the long s, quotes inside a run. */
static void words_are_the_patterns(void **state UNUSED)
{
    static const char text[] = "it's we'll !'s '\xC5\xBF"
                               "a 12\xC2\xB2 a\xCD\x85"
                               "b x_<|endoftext|> <|endoftext|>y";
    static const char *const want[] = {"it",  "'s",        "we", "'ll",           "!'", "s", "'\xC5\xBF",
                                       "a",   "1",         "2",  "\xC2\xB2",      "a",  "b", "x",
                                       "_<|", "endoftext", "|>", "<|endoftext|>", "y"};
    struct text_words w = {text, sizeof text - 1, 0, {"<|startoftext|>", "<|endoftext|>"}};
    const char *from;
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        enum text_word kind = text_next_word(&w, &from, &n);
        assert_int_equal(kind, i == 17 ? TEXT_SPECIAL_1 : TEXT_WORD);
        assert_int_equal(n, strlen(want[i]));
        assert_memory_equal(from, want[i], n);
    }
    assert_int_equal(text_next_word(&w, &from, &n), TEXT_END);
}

static void long_words_and_texts(void **state UNUSED)
{
    need_clip();
    int64_t limit = limit_get(LIMIT_TEXT_BYTES), n;
    char *text = malloc((size_t)limit + 2);
    int32_t *ids;
    memset(text, 'x', (size_t)limit + 1);
    text[limit + 1] = 0;
    assert_int_equal(tokenizer_encode(clip, text, &ids, &n), ERR_DATA);
    assert_says("text-bytes");
    text[200000] = 0;
    double start = clock_seconds();
    must(tokenizer_encode(clip, text, &ids, &n)); /* 200 words of 1000 bytes, not one of 200000 */
    assert_true(clock_seconds() - start < 5);
    assert_true(n >= 200);
    mem_free(ids);
    int32_t few[2];
    bool cut = false;
    must(tokenizer_encode_context(clip, "a b c", 2, few, &cut));
    assert_true(cut && few[0] == 49406 && few[1] == 49407);
    assert_int_equal(tokenizer_encode_context(clip, "a", 1, few, &cut), ERR_USAGE);
    free(text);
}

/* ---- files ---- */

/* A vocabulary of all bytes and some more entries; `more` is JSON. */
static void put_vocab(const char *more, const char *merges)
{
    struct str s = {0};
    int id = 0;
    str_add(&s, "{");
    for (int last = 0; last < 2; last++)
        for (int b = 0; b < 256; b++) {
            int c = bpe_symbol(b);
            str_add(&s, "%s\"\\u%04x%s\": %d", id ? ", " : "", (unsigned)c, last ? "</w>" : "", id);
            id++;
        }
    str_add(&s, "%s}", more);
    put_text("tok/vocab.json", s.s);
    put_text("tok/merges.txt", merges);
    str_free(&s);
}

#define ENDS ", \"ab\": 512, \"<|startoftext|>\": 513, \"<|endoftext|>\": 514"

static void refused(const char *more, const char *merges, const char *says)
{
    struct tokenizer *t = NULL;
    put_vocab(more, merges);
    int rc = tokenizer_open(&t, in_scratch("tok"));
    if (rc != ERR_DATA)
        fail_msg("expected ERR_DATA for %s", says);
    assert_null(t);
    assert_says(says);
}

static void hostile_files(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    put_vocab(ENDS, "#version: 0.2\na b\n");
    must(tokenizer_open(&t, in_scratch("tok")));
    assert_int_equal(tokenizer_info(t).vocab_size, 515);
    assert_int_equal(tokenizer_info(t).pad_id, 514);
    tokenizer_close(&t);
    refused(ENDS, "#version: 0.2\na b\na b\n", "merges.txt:3");
    refused(ENDS, "a b\na c\n", "merges.txt:2");
    refused(ENDS, "a b\n\nab\n", "merges.txt:3");
    refused(ENDS, "a b c\n", "merges.txt:1");
    refused(ENDS, " b\n", "merges.txt:1");
    refused(ENDS, "\xFF b\n", "UTF-8");
    refused(", \"ab\": 600, \"<|startoftext|>\": 513, \"<|endoftext|>\": 514", "", "id 600");
    refused(", \"ab\": -1, \"<|startoftext|>\": 513, \"<|endoftext|>\": 514", "", "id -1");
    refused(", \"ab\": 513, \"<|startoftext|>\": 513, \"<|endoftext|>\": 514", "", "both have id 513");
    refused(", \"ab\": \"x\", \"<|startoftext|>\": 513, \"<|endoftext|>\": 514", "", "whole number");
    refused(", \"ab\": 512, \"<|startoftext|>\": 513", "", "<|endoftext|>");
    put_text("tok/vocab.json", "{\"a\": 0, \"b\": 1}");
    assert_int_equal(tokenizer_open(&t, in_scratch("tok")), ERR_DATA);
    assert_says("byte");
    put_vocab(ENDS, "a b\n");
    put_text("tok/special_tokens_map.json", "{\"pad_token\": {\"content\": \"!\"}}");
    must(tokenizer_open(&t, in_scratch("tok")));
    assert_int_equal(tokenizer_info(t).pad_id, 33); /* put_vocab numbers by byte */
    tokenizer_close(&t);
    put_text("tok/special_tokens_map.json", "{\"pad_token\": \"[PAD]\"}");
    assert_int_equal(tokenizer_open(&t, in_scratch("tok")), ERR_DATA);
    assert_says("[PAD]");
    unlink(in_scratch("tok/special_tokens_map.json"));
    limit_set("merges", 100);
    assert_int_equal(tokenizer_open(&t, in_scratch("tok")), ERR_DATA);
    assert_says("limit merges");
    limit_set("merges", 1000000);
    put_text("empty/x", "");
    assert_int_equal(tokenizer_open(&t, in_scratch("empty")), ERR_DATA);
    assert_says("vocab.json");
}

/* tokenizer.json of the same table, merges in both spellings, gives the same fingerprint. */
static void one_file_form(void **state UNUSED)
{
    need_clip();
    json_t *vocab = NULL, *merges[2] = {json_array(), json_array()};
    struct map m;
    must(json_read_file(&vocab, golden("tokenizer_clip/vocab.json")));
    must(map_open(&m, golden("tokenizer_clip/merges.txt")));
    const char *p = (const char *)m.data, *end = p + m.size;
    for (int i = 0; p < end; i++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((stop ? stop : end) - p), left = (size_t)((const char *)memchr(p, ' ', len) - p);
        if (i > 0) {
            json_array_append_new(merges[0], json_stringn(p, len));
            json_array_append_new(merges[1], json_pack("[s%,s%]", p, left, p + left + 1, len - left - 1));
        }
        p += len + 1;
    }
    json_object_del(vocab, "<|endoftext|>");
    for (int i = 0; i < 2; i++) {
        json_t *o = json_pack("{s:[{s:i,s:s},{s:i,s:s}],s:{s:s,s:s,s:O,s:O}}", "added_tokens", "id", 49406, "content",
                              "<|startoftext|>", "id", 49407, "content", "<|endoftext|>", "model", "type", "BPE",
                              "end_of_word_suffix", "</w>", "vocab", vocab, "merges", merges[i]);
        struct tokenizer *t = NULL;
        put_text("one/x", "");
        assert_int_equal(json_dump_file(o, in_scratch("one/tokenizer.json"), 0), 0);
        must(tokenizer_open(&t, in_scratch("one")));
        assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(clip).fingerprint);
        tokenizer_close(&t);
        json_array_append_new(merges[i], json_string("nothing"));
        assert_int_equal(json_dump_file(o, in_scratch("one/tokenizer.json"), 0), 0);
        assert_int_equal(tokenizer_open(&t, in_scratch("one")), ERR_DATA);
        assert_says("model.merges[48894]");
        json_object_del(json_object_get(o, "model"), "end_of_word_suffix");
        assert_int_equal(json_dump_file(o, in_scratch("one/tokenizer.json"), 0), 0);
        assert_int_equal(tokenizer_open(&t, in_scratch("one")), ERR_UNSUPPORTED);
        json_decref(o);
        json_decref(merges[i]);
    }
    json_decref(vocab);
    map_close(&m);
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

static void saved_is_the_same(void **state UNUSED)
{
    static const char *const texts[] = {"woman firefighter: dark skin tone", "man firefighter: light skin tone",
                                        "caf\xC3\xA9 \xF0\x9F\x94\xA5 don't 1234", "face with tears of joy"};
    struct tokenizer *t = NULL, *u = NULL;
    must(tokenizer_train(&t, texts, NULL, 4, 600));
    must(tokenizer_save(t, in_scratch("saved")));
    must(tokenizer_open(&u, in_scratch("saved")));
    assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(u).fingerprint);
    assert_int_equal(tokenizer_info(u).pad_id, tokenizer_info(u).end_id);
    for (int i = 0; i < 4; i++) {
        int32_t *a, *b;
        int64_t n, m;
        must(tokenizer_encode(t, texts[i], &a, &n));
        must(tokenizer_encode(u, texts[i], &b, &m));
        assert_int_equal(n, m);
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
        mem_free(a);
        mem_free(b);
    }
    tokenizer_close(&u);
    must(tokenizer_train(&u, texts, NULL, 4, 600));
    assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(u).fingerprint);
    tokenizer_close(&t);
    tokenizer_close(&u);
}

static void memory_failures(void **state UNUSED)
{
    static const char *const texts[] = {"ab ab abc abcd", "bcd &amp; x"};
    int rc = ERR_MEMORY, failed = 0;
    for (int64_t n = 1; rc < 0 && n < 10000; n++) { /* until no request is left to fail */
        struct tokenizer *t = NULL;
        int32_t *ids = NULL;
        int64_t k;
        mem_fail_at(n);
        rc = tokenizer_train(&t, texts, NULL, 2, 520);
        if (rc == 0)
            rc = tokenizer_encode(t, texts[1], &ids, &k);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
        mem_free(ids);
        tokenizer_close(&t);
    }
    assert_int_equal(rc, 0);
    assert_true(failed >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_golden_strings),   cmocka_unit_test(golden_context),
        cmocka_unit_test(python_semantics),     cmocka_unit_test(words_are_the_patterns),
        cmocka_unit_test(long_words_and_texts), cmocka_unit_test(hostile_files),
        cmocka_unit_test(one_file_form),        cmocka_unit_test(learns_by_hand),
        cmocka_unit_test(learns_as_defined),    cmocka_unit_test(saved_is_the_same),
        cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, open_clip, close_clip);
}
