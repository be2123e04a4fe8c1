/* fuzz/head.c: heads of parts head.json and head.safetensors; when they open, two rows of each side go through them. */
#include "fuzz.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2, MOST_WIDTH = 64 };

static int see(const struct head *h)
{
    int64_t width = head_design(h)->width;
    struct set out, s = {.path = "fuzz",
                         .width = width,
                         .image = {.n = ROWS},
                         .text = {.n = ROWS},
                         .model = "m",
                         .fingerprint = "",
                         .data = "",
                         .protocol = ""};
    BUG_ON(width < 1 || head_design(h)->hidden < 1);
    if (width > MOST_WIDTH)
        return 0;
    size_t n = ROWS * (size_t)width;
    float *x = mem_alloc(n * sizeof *x);
    BUG_ON(!x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 3) - 0.5F;
    s.image.x = s.text.x = x;
    int rc = head_check_set(h, &s, false);
    if (rc == 0)
        rc = head_set_open(&out, h, &s, true);
    if (rc == 0) {
        fuzz_touch(out.image.x, n * sizeof *x);
        fuzz_touch(out.text.x, n * sizeof *x);
        for (size_t i = 0; i < n; i++) /* they become a set, which holds nothing else */
            BUG_ON(!isfinite(out.image.x[i]) || !isfinite(out.text.x[i]));
        BUG_ON(strlen(out.fingerprint) != 64 || !out.model[0]);
        head_set_close(&out);
    }
    mem_free(x);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct engine *e;
    const uint8_t *design = NULL, *weights = NULL;
    size_t n_design = 0, n_weights = 0;
    struct head *h = NULL;
    if (!e && engine_open(&e, "ref", 1) < 0)
        abort();
    fuzz_part(data, n, 0, &design, &n_design);
    if (fuzz_part(data, n, 1, &weights, &n_weights)) /* its tensors may hold the separator */
        n_weights = (size_t)(data + n - weights);
    fuzz_put("head.json", design, n_design);
    fuzz_put("head.safetensors", weights ? weights : (const uint8_t *)"", n_weights);
    int rc = head_open(&h, fuzz_dir(), e);
    if (rc == 0)
        rc = see(h);
    fuzz_verdict(rc);
    head_close(&h);
    return 0;
}
