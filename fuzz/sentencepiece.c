/* fuzz/sentencepiece.c: spiece.model, then a text. The library is Debian's; what is judged is what we check before it.
 */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct tokenizer *t = NULL;
    fuzz_put("spiece.model", data, n);
    int rc = tokenizer_open(&t, fuzz_dir(), NULL);
    if (rc == 0) {
        int32_t *ids = NULL;
        int64_t n_ids = 0, vocab = tokenizer_info(t).vocab_size;
        rc = tokenizer_encode(t, "A caf\xc3\xa9, two  dogs \xe4\xbd\xa0", &ids, &n_ids);
        for (int64_t i = 0; rc == 0 && i < n_ids; i++)
            BUG_ON(ids[i] < 0 || ids[i] >= vocab);
        mem_free(ids);
    }
    fuzz_verdict(rc);
    tokenizer_close(&t);
    return 0;
}
