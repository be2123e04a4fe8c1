/* tests/data/test_tokenizer.c: CLIP's tokenizer against the published one (golden tokenizer_clip), hostile
 * vocabularies, and vocabularies learned here. */
#include "tokens.h"

#include "data/bpe.h"

static struct tokenizer *clip;

static int open_clip(void **state)
{
    const char *base = getenv("MERIDIAN_SHARED");
    char dir[1024];
    if (scratch_make(state))
        return -1;
    snprintf(dir, sizeof dir, "%s/golden/tokenizer_clip", base ? base : "");
    return base && path_exists(dir) ? tokenizer_open(&clip, dir, NULL) : 0;
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

static void compare(const json_t *o, void *ctx)
{
    *(int *)ctx += !same_ids(clip, o, json_object_get(o, "ids"));
}

static void all_golden_strings(void **state UNUSED)
{
    int bad = 0;
    need_clip();
    assert_string_equal(tokenizer_info(clip).kind, "clip-bpe");
    assert_string_equal(tokenizer_info(clip).cleaning, "open_clip"); /* a bare pair of files */
    assert_int_equal(each_line(golden("tokenizer_clip/strings.jsonl"), compare, &bad), 1892);
    assert_int_equal(bad, 0);
}

static bool flagged(const json_t *o)
{
    const json_t *text = json_object_get(o, "text");
    return text_ftfy_differs(json_string_value(text), json_string_length(text));
}

static void compare_identity(const json_t *o, void *ctx)
{
    *(int *)ctx += !same_ids(clip, o, json_object_get(o, "ids_identity"));
    assert_true(flagged(o));
}

static void count_flagged(const json_t *o, void *ctx)
{
    *(int *)ctx += flagged(o);
}

/* What ftfy would repair gives the ids of the text as it is, and is flagged, all of it; of what it leaves alone, or
 * changes without changing ids, little is. */
static void golden_without_ftfy(void **state UNUSED)
{
    int bad = 0, n = 0;
    need_clip();
    assert_int_equal(each_line(golden("tokenizer_clip/strings_changed_by_ftfy.jsonl"), compare_identity, &bad), 61);
    assert_int_equal(bad, 0);
    each_line(golden("tokenizer_clip/strings.jsonl"), count_flagged, &n);
    print_message("flagged for ftfy: 61 of 61 that it changes, %d of 1892 whose ids it does not change\n", n);
    assert_true(n < 40);
}

static void keep_decoded(const json_t *o, void *ctx)
{
    int32_t *ids = NULL, *again = NULL;
    int64_t n, m;
    struct str s = {0};
    must(tokenizer_encode(clip, text_of(o), &ids, &n));
    must(tokenizer_decode(clip, ids, n, &s));
    must(tokenizer_encode(clip, s.s, &again, &m));
    *(int *)ctx += n != m || memcmp(ids, again, (size_t)n * sizeof *ids) != 0;
    mem_free(ids);
    mem_free(again);
    str_free(&s);
}

static void decodes(void **state UNUSED)
{
    int bad = 0;
    int32_t *ids = NULL;
    int64_t n = 0;
    need_clip();
    must(tokenizer_encode(clip, "A photo of a caf\xC3\xA9, <|endoftext|> \xF0\x9F\x94\xA5", &ids, &n));
    decodes_to(clip, ids, n, "a photo of a caf\xC3\xA9 , \xF0\x9F\x94\xA5");
    mem_free(ids);
    /* half a character */
    int32_t half = clip ? tokenizer_token_id(clip, "\xC3\xB0") : 0;
    decodes_to(clip, &half, 1, "\xEF\xBF\xBD");
    each_line(golden("tokenizer_clip/strings.jsonl"), keep_decoded, &bad);
    print_message("other ids after decoding: %d of 1892 (markers in the text, \"</w>\" cut anew)\n", bad);
    assert_true(bad < 60);
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
    text[limit] = 0;
    must(tokenizer_encode(clip, text, &ids, &n)); /* a megabyte in one word */
    assert_true(n >= 100000 && n < limit);
    mem_free(ids);
    limit_set("word-bytes", 1000);
    text[200000] = 0;
    must(tokenizer_encode(clip, text, &ids, &n)); /* 200 words of 1000 bytes */
    limit_set("word-bytes", 1048576);
    assert_int_equal(n % 200, 0);
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
    int rc = tokenizer_open(&t, in_scratch("tok"), NULL);
    if (rc != ERR_DATA)
        fail_msg("expected ERR_DATA for %s", says);
    assert_null(t);
    assert_says(says);
}

static void hostile_files(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    put_vocab(ENDS, "#version: 0.2\na b\n");
    must(tokenizer_open(&t, in_scratch("tok"), NULL));
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
    assert_int_equal(tokenizer_open(&t, in_scratch("tok"), NULL), ERR_DATA);
    assert_says("byte");
    put_vocab(ENDS, "a b\n");
    put_text("tok/special_tokens_map.json", "{\"pad_token\": {\"content\": \"!\"}}");
    must(tokenizer_open(&t, in_scratch("tok"), NULL));
    assert_int_equal(tokenizer_info(t).pad_id, 33); /* put_vocab numbers by byte */
    tokenizer_close(&t);
    put_text("tok/special_tokens_map.json", "{\"pad_token\": \"[PAD]\"}");
    assert_int_equal(tokenizer_open(&t, in_scratch("tok"), NULL), ERR_DATA);
    assert_says("[PAD]");
    unlink(in_scratch("tok/special_tokens_map.json"));
    limit_set("merges", 100);
    assert_int_equal(tokenizer_open(&t, in_scratch("tok"), NULL), ERR_DATA);
    assert_says("limit merges");
    limit_set("merges", 1000000);
    put_text("empty/x", "");
    assert_int_equal(tokenizer_open(&t, in_scratch("empty"), NULL), ERR_DATA);
    assert_says("vocab.json");
}

static json_t *one_file(json_t *vocab, json_t *merges, const char *normalizer)
{
    json_t *norm = NULL;
    must(json_read_text(&norm, normalizer, strlen(normalizer), "normalizer"));
    return json_pack("{s:[{s:i,s:s,s:b},{s:i,s:s}],s:o,s:{s:s,s:s,s:O,s:O}}", "added_tokens", "id", 49406, "content",
                     "<|startoftext|>", "normalized", 1, "id", 49407, "content", "<|endoftext|>", "normalizer", norm,
                     "model", "type", "BPE", "end_of_word_suffix", "</w>", "vocab", vocab, "merges", merges);
}

#define CLIP_NORMALIZER                                                                                                \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":"         \
    "\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}"

static void put_json(const char *name, const json_t *o)
{
    put_text(name, "");
    assert_int_equal(json_dump_file(o, in_scratch(name), 0), 0);
}

static int opens(struct tokenizer **t, const char *cleaning)
{
    return tokenizer_open(t, in_scratch("one"), &(struct tokenizer_opt){.cleaning = cleaning});
}

/* tokenizer.json of the same table, merges in both spellings, gives the same fingerprint under the same cleaning. */
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
        json_t *o = one_file(vocab, merges[i], CLIP_NORMALIZER);
        struct tokenizer *t = NULL, *u = NULL;
        put_json("one/tokenizer.json", o);
        must(opens(&t, "open_clip"));
        assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(clip).fingerprint);
        tokenizer_close(&t);
        must(opens(&t, NULL));
        assert_string_equal(tokenizer_info(t).cleaning, "hf");
        assert_string_not_equal(tokenizer_info(t).fingerprint, tokenizer_info(clip).fingerprint);
        must(tokenizer_open(&u, golden("tokenizer_clip"), &(struct tokenizer_opt){.cleaning = "hf"}));
        assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(u).fingerprint);
        tokenizer_close(&u);
        must(tokenizer_save(t, in_scratch("again"))); /* the pair, and tokenizer.json, whose cleaning counts */
        must(tokenizer_open(&u, in_scratch("again"), NULL));
        assert_string_equal(tokenizer_info(u).cleaning, "hf");
        assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(u).fingerprint);
        tokenizer_close(&u);
        tokenizer_close(&t);
        json_array_append_new(merges[i], json_string("nothing"));
        put_json("one/tokenizer.json", o);
        assert_int_equal(opens(&t, NULL), ERR_DATA);
        assert_says("model.merges[48894]");
        json_array_remove(merges[i], json_array_size(merges[i]) - 1);
        json_object_set_new(o, "pre_tokenizer",
                            json_pack("{s:s,s:{s:s}}", "type", "Split", "pattern", "Regex", "\\w+"));
        put_json("one/tokenizer.json", o);
        assert_int_equal(opens(&t, NULL), ERR_UNSUPPORTED);
        assert_says("\\w+");
        json_object_del(json_object_get(o, "model"), "end_of_word_suffix");
        put_json("one/tokenizer.json", o);
        assert_int_equal(opens(&t, NULL), ERR_UNSUPPORTED);
        assert_says("end_of_word_suffix");
        json_decref(o);
        json_decref(merges[i]);
    }
    json_decref(vocab);
    map_close(&m);
}

static struct tokenizer *open_mode(const char *mode)
{
    struct tokenizer *t = NULL;
    must(tokenizer_open(&t, golden("tokenizer_clip"), &(struct tokenizer_opt){.cleaning = mode}));
    return t;
}

/* Where the two readings of one caption part, and where they do not. */
static void the_modes_differ(void **state UNUSED)
{
    need_clip();
    struct tokenizer *hf = open_mode("hf"), *can = open_mode("canonicalize"), *white = open_mode("whitespace");
    int32_t *a, *b;
    int64_t n, m;
    static const struct {
        const char *text;
        bool same;
    } cases[] = {{"A Photo of a  cat.", true},
                 {"AT&amp;T", false},                         /* HTML */
                 {"cafe\xCC\x81", false},                     /* NFC */
                 {"\xCE\x9F\xCE\x94\xCE\x9F\xCE\xA3", false}, /* final sigma */
                 {"it's", true},
                 {"a '\xC5\xBF", false},      /* the long s ends a contraction without regard to case only */
                 {"<|ENDOFTEXT|>", false},    /* markers are exact in the raw text */
                 {"x_<|endoftext|>", false}}; /* and cut out before the pattern */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        must(tokenizer_encode(clip, cases[i].text, &a, &n));
        must(tokenizer_encode(hf, cases[i].text, &b, &m));
        bool same = n == m && !memcmp(a, b, (size_t)n * sizeof *a);
        if (same != cases[i].same)
            fail_msg("hf and open_clip: \"%s\"", cases[i].text);
        mem_free(a);
        mem_free(b);
    }
    must(tokenizer_encode(can, "Hello, World_wide!", &a, &n));
    must(tokenizer_encode(clip, "hello world wide", &b, &m));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
    mem_free(a);
    mem_free(b);
    must(tokenizer_encode(white, "IT'S <|EndOfText|>", &a, &n)); /* capitals stay, the pattern minds them not */
    assert_int_equal(a[n - 1], 49407);
    decodes_to(white, a, n, "IT 'S");
    mem_free(a);
    struct tokenizer *t = NULL;
    assert_int_equal(tokenizer_open(&t, golden("tokenizer_clip"), &(struct tokenizer_opt){.cleaning = "bert"}),
                     ERR_USAGE);
    must(tokenizer_open(&t, golden("tokenizer_clip"), &(struct tokenizer_opt){.pad_zero = true}));
    int32_t few[5];
    must(tokenizer_encode_context(t, "cat", 5, few, NULL));
    assert_int_equal(few[4], 0);
    tokenizer_close(&t);
    tokenizer_close(&hf);
    tokenizer_close(&can);
    tokenizer_close(&white);
}

static void what_open_clip_says(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    static const struct {
        const char *config, *cleaning;
        int32_t pad;
    } cases[] = {
        {"{\"model_cfg\": {\"text_cfg\": {}}}", "open_clip", 0},
        {"{\"model_cfg\": {\"text_cfg\": {\"hf_tokenizer_name\": \"x\"}}}", "whitespace", 0},
        {"{\"model_cfg\": {\"text_cfg\": {\"tokenizer_kwargs\": {\"clean\": \"canonicalize\"}}}}", "canonicalize", 0},
        {"not JSON", "open_clip", 514}}; /* the model's to complain of */
    put_vocab(ENDS, "a b\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put_text("tok/open_clip_config.json", cases[i].config);
        must(tokenizer_open(&t, in_scratch("tok"), NULL));
        assert_string_equal(tokenizer_info(t).cleaning, cases[i].cleaning);
        assert_int_equal(tokenizer_info(t).pad_id, cases[i].pad);
        tokenizer_close(&t);
    }
    put_text("tok/open_clip_config.json", cases[2].config);
    must(tokenizer_open(&t, in_scratch("tok"), &(struct tokenizer_opt){.cleaning = "lower"}));
    assert_string_equal(tokenizer_info(t).cleaning, "open_clip");
    tokenizer_close(&t);
    put_text("tok/open_clip_config.json",
             "{\"model_cfg\":{\"text_cfg\":{\"tokenizer_kwargs\":{\"clean\":\"spell\"}}}}");
    assert_int_equal(tokenizer_open(&t, in_scratch("tok"), NULL), ERR_USAGE);
    assert_says("spell");
    put_text("tok/config.json", "{}"); /* a HuggingFace folder that open_clip reads too: HuggingFace's rule */
    must(tokenizer_open(&t, in_scratch("tok"), NULL));
    assert_int_equal(tokenizer_info(t).pad_id, 514);
    tokenizer_close(&t);
    unlink(in_scratch("tok/config.json"));
    unlink(in_scratch("tok/open_clip_config.json"));
    assert_true(tokenizer_in_dir(in_scratch("tok")));
    assert_false(tokenizer_in_dir(scratch));
}

/* Cut anywhere, the pair of files is refused or is a smaller table; nothing else happens. */
static void truncated_pair(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    struct map m;
    put_vocab(ENDS, "#version: 0.2\na b\n");
    must(map_open(&m, in_scratch("tok/vocab.json")));
    char *copy = malloc(m.size);
    size_t n = m.size;
    memcpy(copy, m.data, n);
    map_close(&m);
    for (size_t i = 0; i < n; i += 211) {
        must(atomic_put(in_scratch("tok/vocab.json"), copy, i));
        assert_int_equal(tokenizer_open(&t, in_scratch("tok"), NULL), ERR_DATA);
    }
    must(atomic_put(in_scratch("tok/vocab.json"), copy, n));
    free(copy);
    static const char merges[] = "#version: 0.2\na b\n";
    for (size_t i = 0; i < sizeof merges - 1; i++) {
        must(atomic_put(in_scratch("tok/merges.txt"), merges, i));
        int rc = tokenizer_open(&t, in_scratch("tok"), NULL);
        assert_true(rc == 0 || rc == ERR_DATA);
        tokenizer_close(&t);
    }
}

/* ---- threads ---- */

struct job {
    const struct tokenizer *t;
    int seed, bad;
};

static void encode_many(void *arg)
{
    struct job *j = arg;
    struct rng r = rng_stream((uint64_t)j->seed, RNG_TEST, 1, 0);
    for (int i = 0; i < 3000; i++) {
        char text[32];
        int32_t *ids;
        int64_t n, at = 0;
        snprintf(text, sizeof text, "ab%d cab%d", (int)rng_below(&r, 40), (int)rng_below(&r, 40));
        if (tokenizer_encode(j->t, text, &ids, &n) < 0) {
            j->bad++;
            continue;
        }
        struct str s = {0}; /* the words again, out of the ids */
        if (tokenizer_decode(j->t, ids, n, &s) == 0)
            for (const char *p = text, *q = s.s; *p; p++, at++) {
                while (*q == ' ')
                    q++;
                p += *p == ' ';
                j->bad += *p != *q++;
            }
        str_free(&s);
        mem_free(ids);
    }
}

/* The words seen before are shared by all threads. */
static void many_threads(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    struct pool *p = NULL;
    struct job jobs[8];
    put_vocab(ENDS, "a b\n");
    must(tokenizer_open(&t, in_scratch("tok"), NULL));
    must(pool_open(&p, 4));
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct job){t, i / 2, 0};
        must(pool_submit(p, encode_many, &jobs[i]));
    }
    pool_wait(p);
    pool_close(&p);
    for (int i = 0; i < 8; i++)
        assert_int_equal(jobs[i].bad, 0);
    tokenizer_close(&t);
}

/* ---- writing ---- */

static void saved_is_the_same(void **state UNUSED)
{
    static const char *const texts[] = {"woman firefighter: dark skin tone", "man firefighter: light skin tone",
                                        "caf\xC3\xA9 \xF0\x9F\x94\xA5 don't 1234", "face with tears of joy"};
    struct tokenizer *t = NULL, *u = NULL;
    must(tokenizer_train(&t, texts, NULL, 4, 600));
    must(tokenizer_save(t, in_scratch("saved")));
    must(tokenizer_open(&u, in_scratch("saved"), NULL));
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
        const char *to = in_scratch("failing");
        mem_fail_at(n);
        rc = tokenizer_train(&t, texts, NULL, 2, 520);
        if (rc == 0)
            rc = tokenizer_encode(t, texts[1], &ids, &k);
        if (rc == 0)
            rc = tokenizer_save(t, to);
        tokenizer_close(&t);
        if (rc == 0)
            rc = tokenizer_open(&t, to, NULL);
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
        cmocka_unit_test(golden_without_ftfy),  cmocka_unit_test(decodes),
        cmocka_unit_test(the_modes_differ),     cmocka_unit_test(what_open_clip_says),
        cmocka_unit_test(truncated_pair),       cmocka_unit_test(many_threads),
        cmocka_unit_test(python_semantics),     cmocka_unit_test(words_are_the_patterns),
        cmocka_unit_test(long_words_and_texts), cmocka_unit_test(hostile_files),
        cmocka_unit_test(one_file_form),        cmocka_unit_test(saved_is_the_same),
        cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, open_clip, close_clip);
}
