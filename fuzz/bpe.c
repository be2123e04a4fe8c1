/* fuzz/bpe.c: parts vocab.json, merges.txt, and a text to encode. */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"vocab.json", "merges.txt"};
    struct tokenizer *t = NULL;
    const uint8_t *part;
    size_t n_part;
    fuzz_put_parts(data, n, names, (int)ARRAY_LEN(names));
    int rc = tokenizer_open(&t, fuzz_dir(), NULL);
    if (rc == 0 && fuzz_part(data, n, 2, &part, &n_part)) {
        int32_t *ids = NULL;
        int64_t n_ids = 0, vocab = tokenizer_info(t).vocab_size;
        char *text = fuzz_text(part, n_part);
        rc = tokenizer_encode(t, text, &ids, &n_ids);
        for (int64_t i = 0; rc == 0 && i < n_ids; i++)
            BUG_ON(ids[i] < 0 || ids[i] >= vocab);
        mem_free(ids);
        mem_free(text);
    }
    fuzz_verdict(rc);
    tokenizer_close(&t);
    return 0;
}
