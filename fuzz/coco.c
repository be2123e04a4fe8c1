/* fuzz/coco.c: `coco:FILE.json`, from the streamed JSON to rows, captions and pairs. Pictures a.png and
 * train2014/COCO_train2014_a.png are there. */
#include "data/data.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dataset *d = NULL;
    char spec[300], dir[300];
    fuzz_put("a.png", "", 0); /* opened only when read */
    snprintf(dir, sizeof dir, "%s/train2014", fuzz_dir());
    if (path_make_dirs(dir) == 0)
        fuzz_put("train2014/COCO_train2014_a.png", "", 0);
    snprintf(spec, sizeof spec, "coco:%s", fuzz_put("x.json", data, n));
    int rc = dataset_open(&d, spec, NULL);
    if (rc == 0) {
        for (int64_t i = 0; i < d->n_texts; i++)
            BUG_ON(!utf8_ok(d->captions[i], strlen(d->captions[i])));
        for (int64_t i = 0; i < d->n_pairs; i++)
            BUG_ON(d->pairs[i].image < 0 || d->pairs[i].image >= d->n_images || d->pairs[i].text < 0 ||
                   d->pairs[i].text >= d->n_texts);
        for (int64_t i = 0; i < d->n_images * d->n_image_cols; i++)
            BUG_ON(!utf8_ok(d->image_cells[i], strlen(d->image_cells[i])));
        for (int64_t i = 0; i < d->n_images; i++)
            BUG_ON(strstr(d->image_cells[i * d->n_image_cols + 1], "..") ||
                   *d->image_cells[i * d->n_image_cols + 1] == '/');
        for (int64_t i = 0; i < d->n_listed; i++)
            fuzz_touch(d->refused[i].reason, strlen(d->refused[i].reason));
    }
    fuzz_verdict(rc);
    dataset_close(&d);
    return 0;
}
