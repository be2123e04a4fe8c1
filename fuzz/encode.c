/* fuzz/encode.c: any bytes as a caption, through cleaning, words and merges of one small vocabulary learnt here. */
#include "data/data.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct tokenizer *t;
    static const char *const texts[] = {"a photo of two dogs", "the dog's ball isn't red 123",
                                        "caf\xc3\xa9 na\xc3\xafve"};
    int32_t *ids = NULL, row[8];
    int64_t n_ids = 0;
    bool cut = false;
    fuzz_dir();
    if (!t && tokenizer_train(&t, texts, NULL, 3, 560) < 0)
        abort();
    char *text = malloc(n + 1);
    memcpy(text, data, n);
    text[n] = '\0';
    int rc = tokenizer_encode(t, text, &ids, &n_ids);
    if (rc == 0) {
        int64_t vocab = tokenizer_info(t).vocab_size;
        for (int64_t i = 0; i < n_ids; i++)
            BUG_ON(ids[i] < 0 || ids[i] >= vocab);
        BUG_ON(tokenizer_encode_context(t, text, 8, row, &cut) < 0);
        BUG_ON(cut != (n_ids > 6));
    }
    fuzz_verdict(rc);
    mem_free(ids);
    free(text);
    return 0;
}
