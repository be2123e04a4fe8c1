/* fuzz/csv_dataset.c: `csv:FILE`, from the table to rows, captions and pairs. One picture a.png is there. */
#include "data/data.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dataset *d = NULL;
    char spec[300];
    fuzz_put("a.png", "", 0); /* opened only when read */
    snprintf(spec, sizeof spec, "csv:%s", fuzz_put("x.csv", data, n));
    int rc = dataset_open(&d, spec, NULL);
    if (rc == 0) {
        for (int64_t i = 0; i < d->n_texts; i++)
            fuzz_touch(d->captions[i], strlen(d->captions[i]));
        for (int64_t i = 0; i < d->n_pairs; i++)
            BUG_ON(d->pairs[i].image < 0 || d->pairs[i].image >= d->n_images || d->pairs[i].text < 0 ||
                   d->pairs[i].text >= d->n_texts);
        for (int64_t i = 0; i < d->n_images; i++)
            for (int c = 0; c < d->n_image_cols; c++)
                fuzz_touch(d->image_cells[i * d->n_image_cols + c], strlen(d->image_cells[i * d->n_image_cols + c]));
    }
    fuzz_verdict(rc);
    dataset_close(&d);
    return 0;
}
