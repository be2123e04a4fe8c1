/* fuzz/tokenizer_json.c: parts tokenizer.json, tokenizer_config.json, special_tokens_map.json; then a text. */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"};
    struct tokenizer *t = NULL;
    fuzz_put_parts(data, n, names, (int)ARRAY_LEN(names));
    int rc = tokenizer_open(&t, fuzz_dir(), NULL);
    if (rc == 0) {
        int64_t vocab = tokenizer_info(t).vocab_size;
        int32_t ids[16];
        bool cut;
        rc = tokenizer_encode_context(t, "A caf\xc3\xa9 &amp; two  dogs' <|endoftext|> 12", 16, ids, &cut);
        for (int i = 0; rc == 0 && i < 16; i++)
            BUG_ON(ids[i] < 0 || ids[i] >= vocab);
    }
    fuzz_verdict(rc);
    tokenizer_close(&t);
    return 0;
}
