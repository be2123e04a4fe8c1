/* tests/data/test_text.c: the cleaning modes one by one, BLIP's caption cleaning (golden tokenizer_bert), the steps of
 * tokenizer.json's normalizer, Unicode forms, and the sign that ftfy would change a text. */
#include "tokens.h"

#include "data/text.h"
#include "data/unicode.h"

static void mode_is(enum text_mode mode, const char *text, const char *want)
{
    struct str s = {0};
    must(text_clean_mode(&s, text, strlen(text), mode));
    assert_string_equal(s.s, want);
    str_free(&s);
}

static void the_modes(void **state UNUSED)
{
    static const char text[] = "  It's &lt;b&gt; a_Photo,\x1C"
                               "of\t\xC3\x89 &amp;amp; ";
    mode_is(TEXT_NONE, text, text);
    mode_is(TEXT_HF, text, text);
    mode_is(TEXT_BERT, text, text);
    mode_is(TEXT_OPEN_CLIP, text,
            "it's <b> a_photo,\x1C"
            "of \xC3\xA9 &");
    mode_is(TEXT_WHITESPACE, text,
            "It's <b> a_Photo,\x1C"
            "of \xC3\x89 &");
    mode_is(TEXT_CANONICALIZE, text, "its b a photo of \xC3\xA9");
    mode_is(TEXT_SIGLIP, text,
            "its ltbgt aphoto\x1C"
            "of \xC3\xA9 ampamp");
    mode_is(TEXT_BLIP, "A photo (of a cat)!  ~ dog.", "a photo of a cat dog");
    mode_is(TEXT_CANONICALIZE, "...", "");
    mode_is(TEXT_SIGLIP, "", "");
    enum text_mode m;
    must(text_mode_find(&m, "lower"));
    assert_int_equal(m, TEXT_OPEN_CLIP);
    for (int i = 0; i < N_TEXT_MODES; i++) {
        must(text_mode_find(&m, text_mode_name((enum text_mode)i)));
        assert_int_equal(m, i);
        struct str s = {0};
        assert_int_equal(text_clean_mode(&s, "\xC3", 1, m), ERR_DATA);
        assert_says("UTF-8");
        str_free(&s);
    }
    assert_int_equal(text_mode_find(&m, "Lower"), ERR_USAGE);
}

static void one_caption(const json_t *o, void *ctx)
{
    struct str s = {0};
    must(text_clean_blip(&s, text_of(o), json_integer_value(json_object_get(o, "max_words"))));
    *(int *)ctx += strcmp(s.s, json_string_value(json_object_get(o, "clean"))) != 0;
    str_free(&s);
}

static void golden_blip(void **state UNUSED)
{
    int bad = 0;
    assert_int_equal(each_line(golden("tokenizer_bert/blip_pre_caption.jsonl"), one_caption, &bad), 343);
    assert_int_equal(bad, 0);
}

static void blip_counts_words(void **state UNUSED)
{
    struct str s = {0};
    must(text_clean_blip(&s, " One.two\xC2\xA0three \n four five\n", 3)); /* one white space stays what it is */
    assert_string_equal(s.s, "one two\xC2\xA0three four");
    must(text_clean_blip(&s, "a b c", 1));
    assert_string_equal(s.s, "a");
    must(text_clean_blip(&s, "", 1));
    assert_string_equal(s.s, "");
    str_free(&s);
}

/* ---- normalizer ---- */

static struct arena *arena;

static int open_norm(struct text_norm **n, const char *json)
{
    json_t *o = NULL;
    must(json_read_text(&o, json, strlen(json), "normalizer"));
    int rc = text_norm_open(n, arena, o, "tokenizer.json");
    json_decref(o);
    return rc;
}

static void norm_is(const char *json, const char *text, const char *want)
{
    struct text_norm *n = NULL;
    struct str s = {0};
    must(open_norm(&n, json));
    must(text_norm_run(n, &s, text, strlen(text)));
    assert_string_equal(s.s, want);
    str_free(&s);
}

static void norm_refused(const char *json, int code, const char *says)
{
    struct text_norm *n = NULL;
    assert_int_equal(open_norm(&n, json), code);
    assert_says(says);
}

static void the_steps(void **state UNUSED)
{
    must(arena_open(&arena, "test"));
    norm_is("{\"type\":\"NFC\"}", "e\xCC\x81", "\xC3\xA9");
    norm_is("{\"type\":\"NFD\"}", "\xC3\xA9", "e\xCC\x81");
    norm_is("{\"type\":\"NFKC\"}", "\xEF\xAC\x81 \xEF\xBC\xA1", "fi A");
    norm_is("{\"type\":\"NFKD\"}", "\xEF\xAC\x81\xC3\xA9", "fie\xCC\x81");
    norm_is("{\"type\":\"NFC\"}", "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"); /* Hangul */
    norm_is("{\"type\":\"Lowercase\"}", "A\xCE\xA3 \xC4\xB0", "a\xCF\x83 i\xCC\x87");
    norm_is("{\"type\":\"StripAccents\"}", "e\xCC\x81\xC3\xA9", "e\xC3\xA9");
    norm_is("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", " \xC2\xA0 a ", "a ");
    norm_is("{\"type\":\"Strip\"}", " a b\n", "a b");
    norm_is("{\"type\":\"Strip\"}", " \n", "");
    norm_is("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"}", "\n a\xE3\x80\x80\t b",
            " a b");
    norm_is("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"_\"}", " a  b   ", " a_b_");
    norm_is("{\"type\":\"Replace\",\"pattern\":{\"String\":\"aa\"},\"content\":\"b\"}", "aaaaa", "bba");
    norm_is("{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}", " a b",
            "\xE2\x96\x81"
            "a\xE2\x96\x81"
            "b");
    norm_is("{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}", "a",
            "\xE2\x96\x81"
            "a");
    norm_is("{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", "");
    norm_is("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"},{\"type\":"
            "\"Lowercase\"}]}",
            "\xC3\x89T\xC3\x89", "ete");
    norm_is("{\"type\":\"Sequence\",\"normalizers\":[]}", "\xC3\x89", "\xC3\x89");
    norm_refused("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"}", ERR_UNSUPPORTED, "\"Precompiled\"");
    norm_refused("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Nmt\"}]}", ERR_UNSUPPORTED,
                 "\"Nmt\"");
    norm_refused("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[a-z]+\"},\"content\":\"\"}", ERR_UNSUPPORTED,
                 "[a-z]+");
    norm_refused("{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}", ERR_DATA, "empty");
    norm_refused("{\"type\":\"Replace\",\"content\":\"x\"}", ERR_DATA, "String");
    norm_refused("{}", ERR_DATA, "type");
    norm_refused("[]", ERR_DATA, "type");
    struct str deep = {0};
    for (int i = 0; i < 12; i++)
        str_add(&deep, "{\"type\":\"Sequence\",\"normalizers\":[");
    str_add(&deep, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 12; i++)
        str_add(&deep, "]}");
    norm_refused(deep.s, ERR_DATA, "nest");
    str_clear(&deep);
    str_add(&deep, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}");
    for (int i = 0; i < 100; i++)
        str_add(&deep, ",{\"type\":\"NFC\"}");
    str_add(&deep, "]}");
    norm_refused(deep.s, ERR_DATA, "64 steps");
    str_free(&deep);
    /* a text that grows without end */
    norm_refused("{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\""
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
                 ERR_DATA, "64 bytes");
    struct text_norm *n = NULL;
    struct str grow = {0}, out = {0};
    must(open_norm(&n, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},"
                       "\"content\":\"aaaaaaaaaaaaaaaa\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},"
                       "\"content\":\"aaaaaaaaaaaaaaaa\"}]}"));
    for (int i = 0; i < 200000; i++)
        str_add_c(&grow, 'a');
    assert_int_equal(text_norm_run(n, &out, grow.s, grow.n), ERR_DATA);
    str_free(&grow);
    str_free(&out);
    arena_close(&arena);
}

static void forms_in_blocks(void **state UNUSED)
{
    struct str s = {0}, big = {0};
    for (int i = 0; i < 20000; i++) /* NFKD makes 18 letters of one: the second round of the buffer */
        str_add(&big, "\xEF\xB7\xBA");
    must(uni_normalize(&s, big.s, big.n, UNI_NFKD));
    assert_true(s.n > 6 * big.n);
    str_free(&s);
    str_free(&big);
    s = (struct str){0};
    must(uni_normalize(&s, "", 0, UNI_NFC));
    str_free(&s);
}

static bool differs(const char *text)
{
    return text_ftfy_differs(text, strlen(text));
}

static void signs_of_ftfy(void **state UNUSED)
{
    static const char *const plain[] = {"",
                                        "A cat's \"life\" (1/2)",
                                        "caf\xC3\xA9 \xC3\xBC",
                                        "\xE7\x8C\xAB \xF0\x9F\x90\xB1",
                                        "a\tb\nc",
                                        "\xC3\x83",
                                        "no\xC3\xABl d\xC3\xA9j\xC3\xA0 vu",
                                        "3 \xC3\x97 4\xC2\xB0"};
    static const char *const repaired[] = {
        "caf\xC3\x83\xC2\xA9",          /* UTF-8 read as Latin-1 */
        "\xE2\x80\x99tis",              /* a curly quote */
        "\xC3\xA2\xE2\x82\xAC\xC5\x93", /* and one read as windows-1252 */
        "\xEF\xAC\x81ne",               /* a ligature */
        "\xEF\xBC\xA1",                 /* full width */
        "a\x07",                        /* a bell */
        "\x1B[31mred",                  /* a colour */
        "e\xCC\x81",                    /* not composed */
        "\xEF\xBB\xBFx",                /* a byte order mark */
        "\xC2\x85",                     /* C1 */
    };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (differs(plain[i]))
            fail_msg("flagged: %s", plain[i]);
    for (size_t i = 0; i < ARRAY_LEN(repaired); i++)
        if (!differs(repaired[i]))
            fail_msg("not flagged: %zu", i);
}

static void mends_bytes(void **state UNUSED)
{
    static const struct {
        const char *bytes, *want;
    } cases[] = {{"abc", "abc"},
                 {"\x80", "\xEF\xBF\xBD"},
                 {"a\xF0\x9F\x94", "a\xEF\xBF\xBD"}, /* one maximal piece */
                 {"\xF0\x9F\x94z", "\xEF\xBF\xBDz"},
                 {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* a surrogate */
                 {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
                 {"\xE2\x82\xAC\xFF", "\xE2\x82\xAC\xEF\xBF\xBD"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str s = {0};
        str_add_n(&s, cases[i].bytes, strlen(cases[i].bytes));
        text_mend(&s);
        assert_string_equal(s.s, cases[i].want);
        str_free(&s);
    }
}

static void memory_failures(void **state UNUSED)
{
    int failed = 0;
    for (int m = 0; m < N_TEXT_MODES; m++) {
        int rc = ERR_MEMORY;
        for (int64_t n = 1; rc < 0 && n < 100; n++) {
            struct str s = {0};
            mem_fail_at(n);
            rc = text_clean_mode(&s, "A &amp; b \xCE\xA3!", 13, (enum text_mode)m);
            mem_fail_at(0);
            assert_true(rc == 0 || rc == ERR_MEMORY);
            failed += rc < 0;
            str_free(&s);
        }
        assert_int_equal(rc, 0);
    }
    assert_true(failed >= 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_modes),   cmocka_unit_test(golden_blip),     cmocka_unit_test(blip_counts_words),
        cmocka_unit_test(the_steps),   cmocka_unit_test(forms_in_blocks), cmocka_unit_test(signs_of_ftfy),
        cmocka_unit_test(mends_bytes), cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
