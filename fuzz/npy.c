/* fuzz/npy.c: an array file; its elements in order. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct npy a = {0};
    int rc = npy_open(&a, fuzz_put("x.npy", data, n));
    if (rc == 0) {
        size_t bytes = dtype_size(a.dtype);
        for (int i = 0; i < a.n_dims; i++)
            BUG_ON(a.shape[i] < 0 || !mul_ok(bytes, (size_t)a.shape[i], &bytes));
        BUG_ON(bytes != a.n_bytes);
        BUG_ON((uintptr_t)a.data % dtype_size(a.dtype) && a.n_bytes);
        fuzz_touch(a.data, a.n_bytes);
        npy_close(&a);
    }
    fuzz_verdict(rc);
    return 0;
}
