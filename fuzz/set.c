/* fuzz/set.c: a set folder of parts set.json, image.npy, text.npy, images.csv, texts.csv, pairs.csv, and of each side
 * SIDE_features.npy and SIDE_lengths.npy. */
#include "fuzz.h"
#include "space/space.h"

#include <string.h>

static void look_at_features(const struct set_side *side)
{
    const struct set_features *f = &side->features;
    if (f->x) {
        BUG_ON(f->width < 1 || f->n_weights < 1);
        fuzz_touch(f->x, (size_t)(side->n * f->width) * sizeof(float));
    }
    if (f->lengths)
        fuzz_touch(f->lengths, (size_t)side->n * sizeof(float));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {
        "set.json",  "image.npy",          "text.npy",          "images.csv",        "texts.csv",
        "pairs.csv", "image_features.npy", "image_lengths.npy", "text_features.npy", "text_lengths.npy"};
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
        look_at_features(&s->image);
        look_at_features(&s->text);
    }
    fuzz_verdict(rc);
    set_close(&s);
    return 0;
}
