/* fuzz/picture.c: a picture of one kind (PICTURE_KIND: jpeg, png, webp, gif), decoded in its own mode, resized and
 * cropped both ways, turned, converted.
 *
 * Only our side is instrumented; libvips and its decoders are Debian's. What is judged is what we do around them. */
#include "data/data.h"
#include "fuzz.h"

#include <string.h>

static const char *const magic[][2] = {{"jpeg", "\xff\xd8"}, {"png", "\x89P"}, {"webp", "RI"}, {"gif", "GI"}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct image im = {0};
    struct preprocess p;
    static float out[3 * 16 * 16];
    for (size_t i = 0; i < ARRAY_LEN(magic); i++)
        if (!strcmp(magic[i][0], PICTURE_KIND) && (n < 2 || memcmp(data, magic[i][1], 2) != 0))
            return 0;
    fuzz_dir();
    limit_set("pixels", 1 << 20); /* for speed */
    int rc = image_read_memory(&im, data, n, "x." PICTURE_KIND);
    if (rc == 0) {
        BUG_ON(im.width < 1 || im.height < 1 || im.channels < 1 || im.channels > 4);
        BUG_ON(im.orientation < 0 || im.orientation > 8);
        fuzz_touch(im.pixels, (size_t)im.width * (size_t)im.height * (size_t)im.channels);
        preprocess_clip(&p, 16);
        p.exif = true;
        /* a picture of 60000 x 1 becomes 960000 x 16: true to Pillow, and slow */
        for (int way = 0; way < 2 && im.width <= 64 * im.height && im.height <= 64 * im.width; way++) {
            p.path = way ? PICTURE_OPENAI : PICTURE_HF;
            if (preprocess_apply(&p, &im, out) == 0)
                fuzz_touch(out, sizeof out);
        }
        if (image_turn(&im) == 0 && image_to_rgb(&im, GRAY16_CLIP) == 0)
            fuzz_touch(im.pixels, (size_t)im.width * (size_t)im.height * 3);
        image_free(&im);
    }
    fuzz_verdict(rc);
    return 0;
}
