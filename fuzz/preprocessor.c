/* fuzz/preprocessor.c: preprocessor_config.json, and a small picture through what it says. */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct preprocess p;
    static uint8_t pixels[5 * 7 * 3];
    char sum[65];
    fuzz_put("preprocessor_config.json", data, n);
    int rc = preprocess_read(&p, fuzz_dir());
    if (rc == 0) {
        BUG_ON(p.crop_width < 1 || p.crop_height < 1);
        preprocess_fingerprint(&p, sum);
        int64_t size = (int64_t)p.crop_width * p.crop_height, side = p.resize_shortest;
        /* only what fits: a picture of 65535 x 65535 is a limit of the caller's memory, not of the reader */
        if (size <= 1 << 16 && side <= 1 << 8 && (int64_t)p.resize_width * p.resize_height <= 1 << 16) {
            struct image im = {7, 5, 3, pixels};
            float *out = mem_alloc((size_t)size * 3 * sizeof *out);
            if (out && preprocess_apply(&p, &im, out) == 0)
                fuzz_touch(out, (size_t)size * 3 * sizeof *out);
            mem_free(out);
        }
    }
    fuzz_verdict(rc);
    return 0;
}
