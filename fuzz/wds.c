/* fuzz/wds.c: one tar shard, plain or packed, from its headers to samples, captions and columns. libarchive is Debian's
 * and is not instrumented: judged is what we make of what it hands out. */
#include "data/data.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dataset *d = NULL;
    char spec[300];
    limit_set("tar-member", 1 << 20);
    snprintf(spec, sizeof spec, "wds:%s", fuzz_put("x.tar", data, n));
    int rc = dataset_open(&d, spec, NULL);
    if (rc == 0) {
        for (int64_t i = 0; i < d->n_texts; i++)
            BUG_ON(!utf8_ok(d->captions[i], strlen(d->captions[i])));
        for (int64_t i = 0; i < d->n_pairs; i++)
            BUG_ON(d->pairs[i].image < 0 || d->pairs[i].image >= d->n_images || d->pairs[i].text < 0 ||
                   d->pairs[i].text >= d->n_texts);
        for (int64_t i = 0; i < d->n_images * d->n_image_cols; i++)
            BUG_ON(!utf8_ok(d->image_cells[i], strlen(d->image_cells[i])));
        for (int64_t i = 0; i < d->n_images && i < 3; i++) {
            struct image im = {0};
            if (d->read_image(d, i, &im, NULL) == 0)
                image_free(&im);
        }
        for (int64_t i = 0; i < d->n_listed; i++)
            fuzz_touch(d->refused[i].reason, strlen(d->refused[i].reason));
    }
    fuzz_verdict(rc);
    dataset_close(&d);
    return 0;
}
