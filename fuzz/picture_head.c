/* fuzz/picture_head.c: the headers by which a picture's mode is told: PNG, GIF, TIFF with EXIF, PPM. Nothing is
 * decoded. */
#include "fuzz.h"
#include "io/picture_kind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct picture_form f;
    uint8_t *copy = mem_alloc(n + 1); /* the heap's edge is watched, the fuzzer's buffer may not be */
    if (!copy)
        return 0;
    fuzz_touch(data, n);
    for (size_t i = 0; i < n; i++)
        copy[i + 1] = data[i];
    int rc = picture_look(&f, copy + 1, n, "x");
    if (rc == 0) {
        BUG_ON(f.channels < 0 || f.channels > 4 || f.width < 0 || f.height < 0);
        BUG_ON(f.transparency_flag >= n);
        BUG_ON(f.mode == IMAGE_GRAY16 && f.channels != 2);
    }
    int o = picture_exif_orientation(copy + 1, n);
    BUG_ON(o < 0 || o > 8);
    mem_free(copy);
    fuzz_verdict(rc);
    return 0;
}
