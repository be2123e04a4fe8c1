/* tests/data/test_byte_fallback.c: BPE over characters with bytes for the rest, out of a small tokenizer.json like
 * Gemma's: ids by hand, markers, padding to the left, hostile files. */
#include "tokens.h"

#define B "\xE2\x96\x81" /* U+2581 */

/* 0 <pad> 1 <eos> 2 <bos> 3 <unk>, 4..259 the bytes, then characters and joined ones. */
static json_t *model(bool bytes)
{
    static const char *const more[] = {B, "a", "b", "c", "ab", B "a", B "ab", "\n", "\xC3\xA9", "bc", B "<x>"};
    static const char *const merges[][2] = {{"a", "b"}, {B, "a"}, {B, "ab"}, {"b", "c"}};
    json_t *vocab = json_pack("{s:i,s:i,s:i,s:i}", "<pad>", 0, "<eos>", 1, "<bos>", 2, "<unk>", 3);
    json_t *list = json_array();
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        json_object_set_new(vocab, bytes ? name : name + 1, json_integer(4 + i));
    }
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        json_object_set_new(vocab, more[i], json_integer(260 + (int)i));
    for (size_t i = 0; i < ARRAY_LEN(merges); i++)
        json_array_append_new(list, json_pack("[s,s]", merges[i][0], merges[i][1]));
    return json_pack("{s:s,s:n,s:s,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token", "<unk>", "fuse_unk", 1,
                     "byte_fallback", 1, "vocab", vocab, "merges", list);
}

static json_t *whole(bool bytes)
{
    json_t *o = NULL;
    static const char rest[] =
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<pad>\",\"special\":true},{\"id\":1,\"content\":\"<eos>\","
        "\"special\":true},{\"id\":2,\"content\":\"<bos>\",\"special\":true},{\"id\":267,\"content\":\"\\n\"}],"
        "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"},"
        "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\","
        "\"invert\":false},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}"
        "},"
        "{\"SpecialToken\":{\"id\":\"<eos>\"}}]}}";
    must(json_read_text(&o, rest, sizeof rest - 1, "rest"));
    json_object_set_new(o, "model", model(bytes));
    return o;
}

static void put(const char *name, json_t *o)
{
    put_text(name, "");
    assert_int_equal(json_dump_file(o, in_scratch(name), 0), 0);
    json_decref(o);
}

static struct tokenizer *open_in(const char *dir, const char *mode)
{
    struct tokenizer *t = NULL;
    must(tokenizer_open(&t, in_scratch(dir), &(struct tokenizer_opt){.cleaning = mode}));
    return t;
}

static void ids_by_hand(void **state UNUSED)
{
    put("gemma/tokenizer.json", whole(true));
    put_text("gemma/special_tokens_map.json", "{\"pad_token\": \"<pad>\", \"eos_token\": {\"content\": \"<eos>\"}}");
    struct tokenizer *t = open_in("gemma", NULL);
    struct tokenizer_info info = tokenizer_info(t);
    assert_string_equal(info.kind, "byte-fallback-bpe");
    assert_string_equal(info.cleaning, "hf");
    assert_int_equal(info.vocab_size, 271);
    assert_int_equal(info.start_id, -1);
    assert_int_equal(info.end_id, 1);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.unk_id, 3);
    assert_ids(t, "ab abc", 264, 266, 263, -1); /* a b first: then the mark joins ab, and c is left */
    assert_ids(t, " a", 265, -1);
    assert_ids(t,
               "\xC3\xA9"
               "A",
               268, 4 + 'A', -1);
    assert_ids(t, "\xE2\x82\xAC", 4 + 0xE2, 4 + 0x82, 4 + 0xAC, -1);
    assert_ids(t, "a\nb<eos> b", 261, 267, 262, 1, 260, 262, -1);
    assert_ids(t, "", -1);
    int32_t ids[6];
    bool cut = true;
    must(tokenizer_encode_context(t, "ab", 4, ids, &cut));
    assert_memory_equal(ids, ((int32_t[]){264, 1, 0, 0}), 16);
    assert_false(cut);
    must(tokenizer_encode_context(t, "ab ab ab ab", 2, ids, &cut));
    assert_memory_equal(ids, ((int32_t[]){264, 1}), 8);
    assert_true(cut);
    decodes_to(t, (const int32_t[]){264, 266, 263, 4 + 0xE2, 4 + 0x82, 4 + 0xAC, 1, 0}, 8, "ab abc\xE2\x82\xAC");
    decodes_to(t, (const int32_t[]){4 + 0xE2, 261}, 2,
               "\xEF\xBF\xBD"
               "a");
    must(tokenizer_save(t, in_scratch("gemma2")));
    struct tokenizer *u = open_in("gemma2", NULL);
    assert_string_equal(tokenizer_info(u).fingerprint, info.fingerprint);
    tokenizer_close(&u);
    tokenizer_close(&t);
}

static void what_the_config_says(void **state UNUSED)
{
    json_t *o = whole(true);
    json_object_set_new(o, "post_processor", json_null());
    put("conf/tokenizer.json", o);
    put_text(
        "conf/tokenizer_config.json",
        "{\"add_bos_token\": true, \"bos_token\": \"<bos>\", \"padding_side\": \"left\", \"model_max_length\": 64, "
        "\"do_lower_case\": true, \"pad_token\": \"<pad>\", \"added_tokens_decoder\": {\"3\": {\"content\": "
        "\"<unk>\", \"special\": true, \"lstrip\": true, \"rstrip\": true}}}");
    struct tokenizer *t = open_in("conf", NULL);
    int32_t ids[5];
    assert_int_equal(tokenizer_info(t).max_length, 64);
    must(tokenizer_encode_context(t, "AB", 5, ids, NULL));
    assert_memory_equal(ids, ((int32_t[]){0, 0, 0, 2, 264}), 20);
    assert_ids(t, "a  <unk> b", 261, 3, 262, -1);
    tokenizer_close(&t);
    put_text("conf/tokenizer_config.json", "{\"tokenizer_class\": \"Siglip2Tokenizer\"}");
    t = open_in("conf", NULL);
    assert_ids(t, "AB", 264, -1);
    tokenizer_close(&t);
    put_text("conf/tokenizer_config.json", "{}");
    t = open_in("conf", NULL);
    assert_ids(t, "AB", 4 + 'A', 4 + 'B', -1); /* trained in lower case or not: the folder does not say */
    tokenizer_close(&t);
    t = open_in("conf", "siglip");
    assert_ids(t, " A.B! ", 264, -1);
    tokenizer_close(&t);
}

static void unknown_characters(void **state UNUSED)
{
    put("unk/tokenizer.json", whole(false)); /* no byte entries: characters are unknown, neighbours as one */
    struct tokenizer *t = open_in("unk", NULL);
    assert_ids(t, "xyz", 3, -1);
    assert_ids(t, "xaxy", 3, 261, 3, -1);
    tokenizer_close(&t);
    json_t *o = whole(false);
    json_object_set_new(json_object_get(o, "model"), "fuse_unk", json_false());
    put("unk/tokenizer.json", o);
    t = open_in("unk", NULL);
    assert_ids(t, "xyz", 3, 3, 3, -1);
    tokenizer_close(&t);
    o = whole(false);
    json_object_del(json_object_get(o, "model"), "unk_token");
    put("unk/tokenizer.json", o);
    assert_int_equal(tokenizer_open(&t, in_scratch("unk"), NULL), ERR_DATA);
    assert_says("<0x00>");
}

static void refused(json_t *o, int code, const char *says)
{
    struct tokenizer *t = NULL;
    put("bad/tokenizer.json", o);
    int rc = tokenizer_open(&t, in_scratch("bad"), NULL);
    if (rc != code)
        fail_msg("%d, expected %d for %s: %s", rc, code, says, err_text());
    assert_null(t);
    assert_says(says);
}

static json_t *with_model(const char *key, json_t *value)
{
    json_t *o = whole(true);
    json_object_set_new(json_object_get(o, "model"), key, value);
    return o;
}

static json_t *with(const char *key, const char *value)
{
    json_t *o = whole(true), *v = NULL;
    must(json_read_text(&v, value, strlen(value), key));
    json_object_set_new(o, key, v);
    return o;
}

static void hostile_files(void **state UNUSED)
{
    refused(with_model("byte_fallback", json_false()), ERR_UNSUPPORTED, "byte_fallback");
    refused(with_model("dropout", json_real(0.5)), ERR_UNSUPPORTED, "dropout");
    refused(with_model("type", json_string("Unigram")), ERR_UNSUPPORTED, "spiece.model");
    refused(with_model("type", json_string("WordLevel")), ERR_UNSUPPORTED, "WordLevel");
    refused(with_model("merges", json_pack("[[s,s]]", "a", "zz")), ERR_DATA, "model.merges[0]");
    refused(with_model("merges", json_pack("[s,s]", "a b", "a b")), ERR_DATA, "occurs twice");
    refused(with_model("merges", json_pack("[s]", "ab")), ERR_DATA, "one space");
    refused(with_model("merges", json_pack("[[s]]", "ab")), ERR_DATA, "model.merges[0]");
    refused(with_model("merges", json_object()), ERR_DATA, "model.merges");
    refused(with_model("vocab", json_array()), ERR_DATA, "vocab");
    refused(with_model("vocab", json_pack("{s:i}", "a", 5)), ERR_DATA, "id 5");
    refused(with_model("vocab", json_pack("{s:f}", "a", 0.5)), ERR_DATA, "whole number");
    refused(with("pre_tokenizer", "{\"type\":\"Metaspace\"}"), ERR_UNSUPPORTED, "Metaspace");
    refused(with("normalizer", "{\"type\":\"Nmt\"}"), ERR_UNSUPPORTED, "Nmt");
    refused(with("post_processor", "{\"type\":\"ByteLevel\"}"), ERR_UNSUPPORTED, "ByteLevel");
    refused(
        with("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}}]}"),
        ERR_DATA, "<s>");
    refused(with("added_tokens", "[{\"id\":400,\"content\":\"<far>\"}]"), ERR_DATA, "id 400");
    refused(with("added_tokens", "[{\"id\":7,\"content\":\"a\"}]"), ERR_DATA, "has id 7");
    refused(with("added_tokens", "[{\"content\":\"a\"}]"), ERR_DATA, "added_tokens[0]");
    refused(with("added_tokens", "[{\"id\":1,\"content\":\"<eos>\",\"single_word\":true}]"), ERR_UNSUPPORTED,
            "single_word");
    refused(json_pack("{s:s}", "model", "x"), ERR_UNSUPPORTED, "model.type");
    refused(json_array(), ERR_DATA, "object");
}

/* One word of a megabyte: the heap, not passes over it. */
static void a_megabyte(void **state UNUSED)
{
    put("gemma/tokenizer.json", whole(true));
    struct tokenizer *t = open_in("gemma", NULL);
    size_t n = (size_t)limit_get(LIMIT_TEXT_BYTES);
    char *text = malloc(n + 1);
    int32_t *ids;
    int64_t k;
    for (size_t i = 0; i < n; i++)
        text[i] = "ab c"[i % 4];
    text[n] = 0;
    must(tokenizer_encode(t, text, &ids, &k));
    assert_int_equal(k, n / 4 * 3); /* ab, the mark, c */
    mem_free(ids);
    free(text);
    tokenizer_close(&t);
}

static void memory_failures(void **state UNUSED)
{
    int rc = ERR_MEMORY, failed = 0;
    put("gemma/tokenizer.json", whole(true));
    for (int64_t n = 1; rc < 0 && n < 10000; n++) {
        struct tokenizer *t = NULL;
        struct str s = {0};
        int32_t *ids = NULL;
        int64_t k;
        mem_fail_at(n);
        rc = tokenizer_open(&t, in_scratch("gemma"), NULL);
        if (rc == 0)
            rc = tokenizer_encode(t, "ab abc \xE2\x82\xAC<eos>", &ids, &k);
        if (rc == 0)
            rc = tokenizer_decode(t, ids, k, &s);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
        mem_free(ids);
        str_free(&s);
        tokenizer_close(&t);
    }
    assert_int_equal(rc, 0);
    assert_true(failed >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_by_hand),   cmocka_unit_test(what_the_config_says), cmocka_unit_test(unknown_characters),
        cmocka_unit_test(hostile_files), cmocka_unit_test(a_megabyte),           cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
