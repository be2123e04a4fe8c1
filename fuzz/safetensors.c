/* fuzz/safetensors.c: a weight file, its header, and every byte that it hands out. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct st_file *f = NULL;
    int rc = st_open(&f, fuzz_put("x.safetensors", data, n));
    for (int64_t i = 0; rc == 0 && i < st_count(f); i++) {
        const struct st_tensor *t = st_at(f, i);
        size_t bytes = dtype_size(t->dtype);
        for (int k = 0; k < t->n_dims; k++)
            BUG_ON(t->shape[k] < 0 || !mul_ok(bytes, (size_t)t->shape[k], &bytes));
        BUG_ON(bytes != t->n_bytes || st_find(f, t->name) != t);
        BUG_ON((uintptr_t)t->data % dtype_size(t->dtype));
        fuzz_touch(t->data, t->n_bytes);
        fuzz_touch(t->name, strlen(t->name));
    }
    if (rc == 0 && st_metadata(f))
        BUG_ON(!json_is_object(st_metadata(f)));
    fuzz_verdict(rc);
    st_close(&f);
    return 0;
}
