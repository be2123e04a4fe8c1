/* fuzz/dataset.c: one file as a dataset (DATASET_KIND: coco, wds), rows, captions, pairs and the first pictures. a.png
 * is there for those that name their pictures. */
#include "data/data.h"
#include "fuzz.h"

#include <string.h>

static const uint8_t png[] = {0x89, 'P',  'N',  'G',  '\r', '\n', 0x1a, '\n', 0,    0,    0,    13,   'I', 'H',
                              'D',  'R',  0,    0,    0,    1,    0,    0,    0,    1,    8,    0,    0,   0,
                              0,    0x3a, 0x7e, 0x9b, 0x55, 0,    0,    0,    10,   'I',  'D',  'A',  'T', 0x78,
                              0x9c, 0x63, 0,    0,    0,    2,    0,    1,    0x48, 0xaf, 0xa4, 0x71, 0,   0,
                              0,    0,    'I',  'E',  'N',  'D',  0xae, 0x42, 0x60, 0x82};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dataset *d = NULL;
    char spec[300];
    fuzz_put("a.png", png, sizeof png);
    snprintf(spec, sizeof spec, DATASET_KIND ":%s",
             fuzz_put(strcmp(DATASET_KIND, "wds") ? "x.json" : "x.tar", data, n));
    int rc = dataset_open(&d, spec, NULL);
    if (rc == 0) {
        for (int64_t i = 0; i < d->n_texts; i++)
            fuzz_touch(d->captions[i], strlen(d->captions[i]));
        for (int64_t i = 0; i < d->n_pairs; i++)
            BUG_ON(d->pairs[i].image < 0 || d->pairs[i].image >= d->n_images || d->pairs[i].text < 0 ||
                   d->pairs[i].text >= d->n_texts);
        for (int64_t i = 0; i < d->n_images && i < 3; i++) {
            struct image im = {0};
            if (d->read_image(d, i, &im, NULL) == 0) {
                fuzz_touch(im.pixels, (size_t)im.width * (size_t)im.height * (size_t)im.channels);
                image_free(&im);
            }
        }
    }
    fuzz_verdict(rc);
    dataset_close(&d);
    return 0;
}
