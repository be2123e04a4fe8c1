/* tests/data/test_sentencepiece.c: SentencePiece models against libsentencepiece's own program. The vocabulary is
 * trained here by spm_train; without it (Debian package sentencepiece), or in a build without the library, the
 * comparisons are skipped and say so. */
#include "tokens.h"

#include <sys/wait.h>

static bool have_model;

/* What a SigLIP model sees: captions. */
static const char *const lines[] = {"a photo of a cat on a mat",
                                    "two dogs play in the snow",
                                    "the cat sees the dogs",
                                    "a dog and a cat in a photo",
                                    "snow on the mountain, a photo",
                                    "a man plays a guitar",
                                    "the man sees snow",
                                    "mountain dogs play on a mat",
                                    "a guitar on the snow",
                                    "photos of the man, the dog and the cat"};

static int run(const char *command)
{
    int rc = system(command);
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : 255;
}

static int train_model(void **state)
{
    char command[2048];
    struct str s = {0};
    if (scratch_make(state))
        return -1;
    for (int round = 0; round < 30; round++)
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
            str_add(&s, "%s\n", lines[i]);
    put_text("sp/corpus.txt", s.s);
    str_free(&s);
    snprintf(command, sizeof command,
             "spm_train --input=%s/sp/corpus.txt --model_prefix=%s/sp/spiece --vocab_size=64 --hard_vocab_limit=false "
             "--character_coverage=1.0 --pad_id=0 --eos_id=1 --unk_id=2 --bos_id=-1 --num_threads=1 >%s/sp/log 2>&1",
             scratch, scratch, scratch);
    have_model = run("command -v spm_train >/dev/null && command -v spm_encode >/dev/null") == 0 && run(command) == 0;
    return 0;
}

static void need_model(void)
{
    struct tokenizer *t = NULL;
    if (!have_model) {
        print_message("skipped: no spm_train and spm_encode (package sentencepiece)\n");
        skip();
    }
    if (tokenizer_open(&t, in_scratch("sp"), NULL) == ERR_UNSUPPORTED) {
        assert_says("libsentencepiece-dev");
        print_message("skipped: built without libsentencepiece\n");
        skip();
    }
    tokenizer_close(&t);
}

/* ids of one line, by spm_encode */
static int64_t theirs(const char *text, int32_t ids[256])
{
    char command[2048];
    int64_t n = 0;
    put_text("sp/line.txt", text);
    snprintf(command, sizeof command,
             "spm_encode --model=%s/sp/spiece.model --output_format=id <%s/sp/line.txt 2>/dev/null", scratch, scratch);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    for (int id; n < 256 && fscanf(f, "%d", &id) == 1;)
        ids[n++] = id;
    assert_int_equal(pclose(f), 0);
    return n;
}

static void same_as(const struct tokenizer *t, const char *text, const char *for_them)
{
    int32_t want[256], *got = NULL;
    int64_t n = theirs(for_them, want), m;
    must(tokenizer_encode(t, text, &got, &m));
    if (n != m || memcmp(got, want, (size_t)n * sizeof *want) != 0)
        fail_msg("\"%s\": %lld ids, spm_encode has %lld", text, (long long)m, (long long)n);
    mem_free(got);
}

static void ids_of_the_library(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    need_model();
    unlink(in_scratch("sp/tokenizer_config.json"));
    must(tokenizer_open(&t, in_scratch("sp"), NULL));
    struct tokenizer_info info = tokenizer_info(t);
    assert_string_equal(info.kind, "sentencepiece");
    assert_string_equal(info.cleaning, "none");
    assert_int_equal(info.start_id, -1);
    assert_int_equal(info.end_id, 1);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.unk_id, 2);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        same_as(t, lines[i], lines[i]);
    same_as(t, "  The  DOG, \xEF\xBC\xA1 zebra!", "  The  DOG, \xEF\xBC\xA1 zebra!");
    same_as(t, "\xE7\x8C\xAB\xE7\x8C\xAB x", "\xE7\x8C\xAB\xE7\x8C\xAB x");
    int32_t ids[6];
    must(tokenizer_encode_context(t, "", 3, ids, NULL));
    assert_memory_equal(ids, ((int32_t[]){1, 0, 0}), 12);
    int32_t *got;
    int64_t n;
    must(tokenizer_encode(t, lines[1], &got, &n));
    decodes_to(t, got, n, lines[1]);
    mem_free(got);
    assert_int_equal(tokenizer_token_id(t, "</s>"), 1);
    assert_int_equal(tokenizer_token_id(t, "no such piece"), -1);
    must(tokenizer_save(t, in_scratch("sp2")));
    struct tokenizer *u = NULL;
    must(tokenizer_open(&u, in_scratch("sp2"), NULL));
    assert_string_equal(tokenizer_info(u).fingerprint, info.fingerprint);
    tokenizer_close(&u);
    tokenizer_close(&t);
}

/* SiglipTokenizer: canonical text, the library's ids of it, </s> as end and pad. */
static void siglip(void **state UNUSED)
{
    struct tokenizer *t = NULL, *u = NULL;
    need_model();
    put_text("sp/tokenizer_config.json",
             "{\"tokenizer_class\": \"SiglipTokenizer\", \"model_max_length\": 64, \"pad_token\": \"</s>\", "
             "\"eos_token\": \"</s>\", \"unk_token\": \"<unk>\"}");
    must(tokenizer_open(&t, in_scratch("sp"), NULL));
    assert_string_equal(tokenizer_info(t).cleaning, "siglip");
    assert_int_equal(tokenizer_info(t).max_length, 64);
    assert_int_equal(tokenizer_info(t).pad_id, 1);
    same_as(t, "A Photo, of a   CAT!", "a photo of a cat");
    same_as(t, "two-dogs (play)\tin the_snow.", "twodogs play in thesnow");
    same_as(t, "", "");
    same_as(t, "?!", "");
    same_as(t, "  a cat", "a cat");
    int32_t *got;
    int64_t m;
    must(tokenizer_encode(t, "</s> a cat", &got, &m)); /* a marker takes its blanks along */
    assert_int_equal(got[0], 1);
    mem_free(got);
    int32_t ids[8];
    must(tokenizer_encode_context(t, "Cat", 8, ids, NULL));
    assert_int_equal(ids[7], 1);
    must(tokenizer_open(&u, in_scratch("sp"), &(struct tokenizer_opt){.cleaning = "canonicalize"}));
    same_as(u, "  A_Photo &amp; a CAT!", "a photo a cat");
    assert_string_not_equal(tokenizer_info(u).fingerprint, tokenizer_info(t).fingerprint);
    tokenizer_close(&u);
    assert_int_equal(tokenizer_open(&u, in_scratch("sp"), &(struct tokenizer_opt){.cleaning = "hf"}), ERR_USAGE);
    tokenizer_close(&t);
    put_text("sp/tokenizer_config.json", "{\"tokenizer_class\": \"GemmaTokenizer\", \"add_bos_token\": true}");
    assert_int_equal(tokenizer_open(&t, in_scratch("sp"), NULL), ERR_DATA); /* this model has no start */
    assert_says("start token");
    put_text("sp/tokenizer_config.json", "{\"pad_token\": \"<none>\"}");
    assert_int_equal(tokenizer_open(&t, in_scratch("sp"), NULL), ERR_DATA);
    assert_says("<none>");
    unlink(in_scratch("sp/tokenizer_config.json"));
}

/* Bytes changed in a model that was good: refused, or other ids, but never a read outside. The table of characters
 * comes first in the file and is most of it. */
static void flipped_bytes(void **state UNUSED)
{
    struct rng r = rng_stream(7, RNG_TEST, 0, 0);
    struct map m;
    int refused = 0, read = 0;
    need_model();
    must(map_open(&m, in_scratch("sp/spiece.model")));
    uint8_t *copy = malloc(m.size);
    put_text("flip/x", "");
    for (int i = 0; i < 300; i++) {
        struct tokenizer *t = NULL;
        int32_t *ids;
        int64_t n;
        memcpy(copy, m.data, m.size);
        for (int k = 1 << rng_below(&r, 5); k > 0; k--)
            copy[rng_below(&r, rng_below(&r, 2) ? 3000 : m.size)] = (uint8_t)rng_below(&r, 256);
        must(atomic_put(in_scratch("flip/spiece.model"), copy, m.size));
        int rc = tokenizer_open(&t, in_scratch("flip"), NULL);
        assert_true(rc == 0 || rc == ERR_DATA);
        refused += rc < 0;
        if (rc == 0 && tokenizer_encode(t, "a photo of \xE7\x8C\xAB \xEF\xBC\xA1\xEF\xBC\xA2 \xE2\x80\xA6 \xEF\xB7\xBA",
                                        &ids, &n) == 0) {
            read++;
            mem_free(ids);
        }
        tokenizer_close(&t);
    }
    print_message("300 damaged models: %d refused, %d read\n", refused, read);
    assert_true(refused > 20);
    free(copy);
    map_close(&m);
}

static void hostile_models(void **state UNUSED)
{
    struct tokenizer *t = NULL;
    need_model();
    struct map m;
    must(map_open(&m, in_scratch("sp/spiece.model")));
    for (size_t n = 0; n < m.size;
         n += n < 64 ? 1 : m.size / 97 + 1) { /* cut anywhere: an error or a model, no crash */
        put_text("cut/x", "");
        must(atomic_put(in_scratch("cut/spiece.model"), m.data, n));
        int rc = tokenizer_open(&t, in_scratch("cut"), NULL);
        assert_true(rc == 0 || rc == ERR_DATA);
        tokenizer_close(&t);
    }
    map_close(&m);
    put_text("text/tokenizer.model", "this is no model");
    assert_int_equal(tokenizer_open(&t, in_scratch("text"), NULL), ERR_DATA);
    assert_says("tokenizer.model");
    int rc = ERR_MEMORY, failed = 0;
    for (int64_t n = 1; rc < 0 && n < 1000; n++) {
        int32_t *ids = NULL;
        int64_t k;
        struct str s = {0};
        mem_fail_at(n);
        rc = tokenizer_open(&t, in_scratch("sp"), &(struct tokenizer_opt){.cleaning = "siglip"});
        if (rc == 0)
            rc = tokenizer_encode(t, lines[0], &ids, &k);
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
    assert_true(failed >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_the_library),
        cmocka_unit_test(siglip),
        cmocka_unit_test(hostile_models),
        cmocka_unit_test(flipped_bytes),
    };
    return cmocka_run_group_tests(tests, train_model, scratch_remove);
}
