/* fuzz/set.c: a set folder of parts set.json, image.npy, text.npy, images.csv, texts.csv, pairs.csv. */
#include "fuzz.h"
#include "space/space.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"set.json", "image.npy", "text.npy", "images.csv", "texts.csv", "pairs.csv"};
    struct set *s = NULL;
    fuzz_put_parts(data, n, names, (int)ARRAY_LEN(names));
    int rc = set_open(&s, fuzz_dir());
    if (rc == 0) {
        BUG_ON(s->width < 1);
        fuzz_touch(s->image.x, (size_t)(s->image.n * s->width) * sizeof(float));
        fuzz_touch(s->text.x, (size_t)(s->text.n * s->width) * sizeof(float));
        for (int64_t i = 0; i < s->n_pairs; i++)
            BUG_ON(s->pairs[i].image < 0 || s->pairs[i].image >= s->image.n || s->pairs[i].text < 0 ||
                   s->pairs[i].text >= s->text.n);
        fuzz_touch(s->model, strlen(s->model));
    }
    fuzz_verdict(rc);
    set_close(&s);
    return 0;
}
