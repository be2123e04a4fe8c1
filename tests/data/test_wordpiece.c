/* tests/data/test_wordpiece.c: BERT's tokenizer against the published one (golden tokenizer_bert), BLIP's two tokens,
 * both layouts, hostile vocabularies. */
#include "tokens.h"

static struct tokenizer *bert;

static int open_bert(void **state)
{
    const char *base = getenv("MERIDIAN_SHARED");
    char dir[1024];
    if (scratch_make(state))
        return -1;
    snprintf(dir, sizeof dir, "%s/golden/tokenizer_bert", base ? base : "");
    return base && path_exists(dir) ? tokenizer_open(&bert, dir, NULL) : 0;
}

static int close_bert(void **state)
{
    tokenizer_close(&bert);
    return scratch_remove(state);
}

static void need_bert(void)
{
    golden("tokenizer_bert/vocab.txt");
    assert_non_null(bert);
}

static void compare(const json_t *o, void *ctx)
{
    *(int *)ctx += !same_ids(bert, o, json_object_get(o, "ids"));
}

static void all_golden_strings(void **state UNUSED)
{
    int bad = 0;
    need_bert();
    assert_string_equal(tokenizer_info(bert).kind, "wordpiece");
    assert_string_equal(tokenizer_info(bert).cleaning, "bert");
    assert_int_equal(each_line(golden("tokenizer_bert/strings.jsonl"), compare, &bad), 1922);
    assert_int_equal(bad, 0);
}

struct rows {
    char *text[2000];
    int n;
};

static void keep(const json_t *o, void *ctx)
{
    struct rows *r = ctx;
    assert_true(r->n < 2000);
    r->text[r->n++] = mem_strdup(text_of(o));
}

static int64_t number(const struct st_tensor *t, int64_t i)
{
    return t->dtype == DT_I32 ? ((const int32_t *)t->data)[i] : ((const int64_t *)t->data)[i];
}

static void golden_context(void **state UNUSED)
{
    static struct rows r;
    struct st_file *f = NULL;
    const struct st_tensor *ids = NULL;
    int cut = 0;
    need_bert();
    each_line(golden("tokenizer_bert/strings.jsonl"), keep, &r);
    must(st_open(&f, golden("tokenizer_bert/ids35.safetensors")));
    const struct st_tensor *row = st_find(f, "row"), *mask = st_find(f, "attention_mask");
    for (int64_t i = 0; i < st_count(f); i++)
        if (st_at(f, i)->n_dims == 2 && st_at(f, i) != mask)
            ids = st_at(f, i);
    assert_non_null(row);
    assert_non_null(ids);
    for (int64_t i = 0; i < ids->shape[0]; i++) {
        int32_t got[35];
        bool truncated;
        must(tokenizer_encode_context(bert, r.text[number(row, i)], 35, got, &truncated));
        for (int64_t j = 0; j < 35; j++) {
            assert_int_equal(got[j], number(ids, i * 35 + j));
            if (mask)
                assert_int_equal(got[j] != 0, number(mask, i * 35 + j));
        }
        cut += truncated;
    }
    assert_true(cut > 0);
    for (int i = 0; i < r.n; i++)
        mem_free(r.text[i]);
    st_close(&f);
}

static void golden_round_trip(void **state UNUSED)
{
    int32_t *ids;
    int64_t n;
    need_bert();
    must(tokenizer_encode(bert, "[CLS] A playful puppy, unaffably chasing butterflies. [SEP]", &ids, &n));
    assert_int_equal(ids[0], 101);
    assert_int_equal(ids[n - 1], 102);
    decodes_to(bert, ids, n, "a playful puppy , unaffably chasing butterflies .");
    mem_free(ids);
}

/* ---- a vocabulary of our own ---- */

#define VOCAB                                                                                                          \
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\n,\ncafe\nCafe\n\xE4\xBD\xA0\n\xCF\x83\n##\xCF\x83\n##\xCF\x82\n!"  \
    "\n"

static struct tokenizer *open_in(const char *name, const struct tokenizer_opt *opt)
{
    struct tokenizer *t = NULL;
    must(tokenizer_open(&t, in_scratch(name), opt));
    return t;
}

static void steps_of_the_python_class(void **state UNUSED)
{
    put_text("own/vocab.txt", VOCAB);
    struct tokenizer *t = open_in("own", NULL);
    struct tokenizer_info info = tokenizer_info(t);
    assert_int_equal(info.vocab_size, 15);
    assert_int_equal(info.start_id, 2);
    assert_int_equal(info.end_id, 3);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.unk_id, 1);
    assert_ids(t, "UNAFFABLE,\tun", 4, 5, 6, 7, 4, -1);
    assert_ids(t,
               "Caf\xC3\xA9 cafe\xCC\x81 ca\xE2\x80\x8B"
               "fe",
               8, 8, 8, -1);                              /* marks and format characters go */
    assert_ids(t, "un\xE4\xBD\xA0un", 4, 10, 4, -1);      /* an ideograph stands alone */
    assert_ids(t, "\xCE\xA3\xCE\xA3", 11, 13, -1);        /* final sigma, as Python lowers */
    assert_ids(t, "unx unaff[SEP]!", 1, 4, 5, 3, 14, -1); /* unknown as a whole; a marker is itself */
    assert_ids(t, "[sep]", 1, 1, 1, -1);                  /* but not in lower case */
    assert_ids(t, "", -1);
    decodes_to(t, (const int32_t[]){2, 4, 5, 6, 7, 8, 3, 0, 0}, 9, "unaffable , cafe");
    assert_int_equal(tokenizer_token_id(t, "##able"), 6);
    assert_int_equal(tokenizer_token_id(t, "[ENC]"), -1);
    tokenizer_close(&t);
    put_text("own/tokenizer_config.json",
             "{\"do_lower_case\": false, \"model_max_length\": 1000000000000000019884624838656}");
    t = open_in("own", NULL);
    assert_int_equal(tokenizer_info(t).max_length, 0);
    assert_ids(t, "Cafe cafe CAFE Caf\xC3\xA9", 9, 8, 1, 1, -1);
    tokenizer_close(&t);
    put_text("own/tokenizer_config.json",
             "{\"do_lower_case\": false, \"strip_accents\": true, \"model_max_length\": 512}");
    t = open_in("own", NULL);
    assert_int_equal(tokenizer_info(t).max_length, 512);
    assert_ids(t, "Caf\xC3\xA9", 9, -1);
    tokenizer_close(&t);
    unlink(in_scratch("own/tokenizer_config.json"));
}

static void long_words_are_unknown(void **state UNUSED)
{
    char text[512];
    put_text("own/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\n");
    struct tokenizer *t = open_in("own", NULL);
    int32_t *ids;
    int64_t n;
    memset(text, 'a', 101);
    text[100] = 0;
    must(tokenizer_encode(t, text, &ids, &n));
    assert_int_equal(n, 100);
    mem_free(ids);
    text[100] = 'a';
    text[101] = 0;
    assert_ids(t, text, 1, -1);
    size_t big = (size_t)limit_get(LIMIT_TEXT_BYTES);
    char *word = malloc(big + 1);
    memset(word, 'a', big);
    word[big] = 0;
    assert_ids(t, word, 1, -1); /* a megabyte without a blank */
    free(word);
    tokenizer_close(&t);
}

/* ---- tokenizer.json, and both ---- */

#define ONE                                                                                                            \
    "{\"added_tokens\":[{\"id\":1,\"content\":\"[UNK]\",\"special\":true},{\"id\":3,\"content\":\"[SEP]\",\"special\"" \
    ":true}],\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":\"WordPiece\","   \
    "\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{"        \
    "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"un\":4,\"##aff\":5,\"##able\":6,\",\":7,\"cafe\":8,"            \
    "\"\\u03c3\":9,\"##\\u03c3\":10,\"##\\u03c2\":11}}}"
#define BERT_NORMALIZER                                                                                                \
    "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"           \
    "\"lowercase\":true}"

static void put_one(const char *normalizer)
{
    char text[2000];
    snprintf(text, sizeof text, ONE, normalizer);
    put_text("one/tokenizer.json", text);
}

static void the_json_layout(void **state UNUSED)
{
    put_one(BERT_NORMALIZER);
    struct tokenizer *t = open_in("one", NULL), *u;
    assert_string_equal(tokenizer_info(t).cleaning, "hf");
    assert_ids(t, "Unaffable, CAF\xC3\x89 [SEP]", 4, 5, 6, 7, 8, 3, -1);
    assert_ids(t, "\xCE\xA3\xCE\xA3", 9, 10, -1); /* letter by letter: no final sigma */
    u = open_in("one", &(struct tokenizer_opt){.cleaning = "bert"});
    assert_ids(u, "\xCE\xA3\xCE\xA3", 9, 11, -1);
    assert_string_not_equal(tokenizer_info(t).fingerprint, tokenizer_info(u).fingerprint);
    must(tokenizer_save(u, in_scratch("asked")));
    tokenizer_close(&u);
    u = open_in("asked", NULL); /* what was asked for is kept */
    assert_string_equal(tokenizer_info(u).cleaning, "bert");
    assert_ids(u, "\xCE\xA3\xCE\xA3", 9, 11, -1);
    tokenizer_close(&u);
    must(tokenizer_save(t, in_scratch("kept")));
    tokenizer_close(&t);
    t = open_in("kept", NULL);
    assert_string_equal(tokenizer_info(t).cleaning, "hf");
    tokenizer_close(&t);
    struct map a, b;
    must(map_open(&a, in_scratch("one/tokenizer.json")));
    must(map_open(&b, in_scratch("kept/tokenizer.json")));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    map_close(&a);
    map_close(&b);
    put_one("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"},{\"type\":"
            "\"Lowercase\"}]}");
    t = open_in("one", NULL);
    assert_ids(t, "CAF\xC3\x89", 8, -1);
    tokenizer_close(&t);
    put_one("{\"type\":\"Nmt\"}");
    assert_int_equal(tokenizer_open(&t, in_scratch("one"), NULL), ERR_UNSUPPORTED);
    assert_says("\"Nmt\"");
}

static void blip_appends_two(void **state UNUSED)
{
    put_text("blip/vocab.txt", VOCAB);
    put_text("blip/config.json", "{\"model_type\": \"blip\"}");
    struct tokenizer *t = open_in("blip", NULL), *u;
    assert_int_equal(tokenizer_info(t).vocab_size, 17);
    assert_int_equal(tokenizer_token_id(t, "[DEC]"), 15);
    assert_int_equal(tokenizer_token_id(t, "[ENC]"), 16);
    assert_int_equal(tokenizer_info(t).start_id, 2);
    decodes_to(t, (const int32_t[]){15, 4, 14, 16}, 4, "un !");
    must(tokenizer_save(t, in_scratch("blip2")));
    u = open_in("blip2", NULL);
    assert_int_equal(tokenizer_token_id(u, "[ENC]"), 16);
    tokenizer_close(&u);
    put_text("blip2/config.json", "{\"model_type\": \"blip\"}"); /* not added twice */
    u = open_in("blip2", NULL);
    assert_int_equal(tokenizer_info(u).vocab_size, 17);
    assert_string_equal(tokenizer_info(t).fingerprint, tokenizer_info(u).fingerprint);
    tokenizer_close(&u);
    tokenizer_close(&t);
    unlink(in_scratch("blip/config.json"));
    t = open_in("blip", &(struct tokenizer_opt){.blip = true, .cleaning = "blip"});
    assert_int_equal(tokenizer_info(t).vocab_size, 17);
    assert_ids(t, "Un. (unaffable!)", 4, 4, 5, 6, -1); /* the marks are gone before */
    tokenizer_close(&t);
    put_one(BERT_NORMALIZER);
    t = open_in("one", &(struct tokenizer_opt){.blip = true});
    assert_int_equal(tokenizer_token_id(t, "[DEC]"), 12);
    must(tokenizer_save(t, in_scratch("blip3")));
    tokenizer_close(&t);
    t = open_in("blip3", &(struct tokenizer_opt){.blip = true});
    assert_int_equal(tokenizer_info(t).vocab_size, 14);
    tokenizer_close(&t);
}

static void refused(const char *text, int code, const char *says)
{
    struct tokenizer *t = NULL;
    put_text("bad/vocab.txt", text);
    assert_int_equal(tokenizer_open(&t, in_scratch("bad"), NULL), code);
    assert_null(t);
    assert_says(says);
}

static void hostile_vocabularies(void **state UNUSED)
{
    refused("", ERR_DATA, "empty");
    refused("[PAD]\n[UNK]\n[CLS]\n", ERR_DATA, "[SEP]");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n", ERR_DATA, "twice");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\xFF\n", ERR_DATA, "UTF-8");
    limit_set("merges", 3);
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ERR_DATA, "limit merges");
    limit_set("merges", 1000000);
    put_text("bad/special_tokens_map.json", "{\"cls_token\": 7}");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ERR_DATA, "cls_token");
    put_text("bad/special_tokens_map.json", "{\"cls_token\": \"<s>\"}");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ERR_DATA, "\"<s>\"");
    unlink(in_scratch("bad/special_tokens_map.json"));
    put_text("bad/added_tokens.json", "{\"[DEC]\": 3}");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ERR_DATA, "both have id 3");
    put_text("bad/added_tokens.json", "{\"[DEC]\": 9}");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ERR_DATA, "id 9");
    put_text("bad/added_tokens.json", "{\"[DEC]\": -1}");
    refused("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ERR_DATA, "whole number");
    unlink(in_scratch("bad/added_tokens.json"));
    struct str s = {0};
    str_add(&s, "[PAD]\n");
    for (int i = 0; i < 2000; i++)
        str_add_c(&s, 'x');
    refused(s.s, ERR_DATA, "vocab.txt:2");
    str_free(&s);
    put_text("own/vocab.txt", VOCAB);
    struct tokenizer *t = open_in("own", NULL);
    int32_t *ids;
    int64_t n;
    struct str out = {0};
    assert_int_equal(tokenizer_encode(t, "a\xC3", &ids, &n), ERR_DATA);
    assert_says("UTF-8");
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){4, 15}, 2, &out), ERR_DATA);
    assert_says("id 15");
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){-1}, 1, &out), ERR_DATA);
    str_free(&out);
    tokenizer_close(&t);
    assert_int_equal(tokenizer_open(&t, in_scratch("own"), &(struct tokenizer_opt){.cleaning = "ftfy"}), ERR_USAGE);
    assert_says("canonicalize");
}

/* Every cut of the JSON file is refused or, once it is whole, read. */
static void truncated_json(void **state UNUSED)
{
    char text[2000];
    struct tokenizer *t = NULL;
    snprintf(text, sizeof text, ONE, BERT_NORMALIZER);
    for (size_t n = strlen(text) - 1; n > 0; n -= n > 40 ? 7 : 1) {
        text[n] = 0;
        put_text("cut/tokenizer.json", text);
        assert_int_equal(tokenizer_open(&t, in_scratch("cut"), NULL), ERR_DATA);
    }
}

static void memory_failures(void **state UNUSED)
{
    int rc = ERR_MEMORY, failed = 0;
    put_text("own/vocab.txt", VOCAB);
    put_one(BERT_NORMALIZER);
    for (int layout = 0; layout < 2; layout++) {
        rc = ERR_MEMORY;
        for (int64_t n = 1; rc < 0 && n < 10000; n++) {
            struct tokenizer *t = NULL;
            struct str s = {0};
            int32_t *ids = NULL;
            int64_t k;
            const char *dir = in_scratch(layout ? "one" : "own"), *to = in_scratch("out");
            mem_fail_at(n);
            rc = tokenizer_open(&t, dir, &(struct tokenizer_opt){.blip = true});
            if (rc == 0)
                rc = tokenizer_encode(t, "Unaff\xC3\xA9\xCC\x81 [SEP] \xE4\xBD\xA0", &ids, &k);
            if (rc == 0)
                rc = tokenizer_decode(t, ids, k, &s);
            if (rc == 0)
                rc = tokenizer_save(t, to);
            mem_fail_at(0);
            assert_true(rc == 0 || rc == ERR_MEMORY);
            failed += rc < 0;
            mem_free(ids);
            str_free(&s);
            tokenizer_close(&t);
        }
        assert_int_equal(rc, 0);
    }
    assert_true(failed >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_golden_strings),     cmocka_unit_test(golden_context),
        cmocka_unit_test(golden_round_trip),      cmocka_unit_test(steps_of_the_python_class),
        cmocka_unit_test(long_words_are_unknown), cmocka_unit_test(the_json_layout),
        cmocka_unit_test(blip_appends_two),       cmocka_unit_test(hostile_vocabularies),
        cmocka_unit_test(truncated_json),         cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, open_bert, close_bert);
}
