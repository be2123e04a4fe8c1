/* fuzz/row_lists.c: two lists of picture rows, as --train-rows and --validation-rows have them, over eight pictures. */
#include "fuzz.h"
#include "space/space.h"

#include <string.h>

enum { PICTURES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"train.txt", "validation.csv"};
    static const uint8_t part[2] = {PART_TRAIN, PART_VALIDATION};
    uint8_t *marks = mem_calloc(PICTURES, 1);
    int rc = 0;
    BUG_ON(!marks);
    fuzz_put_parts(data, n, names, (int)ARRAY_LEN(names));
    for (int k = 0; k < 2 && rc == 0; k++) {
        char path[256];
        uint8_t before[PICTURES];
        memcpy(before, marks, PICTURES);
        snprintf(path, sizeof path, "%s/%s", fuzz_dir(), names[k]);
        rc = set_mark_rows(path, part[k], PICTURES, marks);
        for (int i = 0; i < PICTURES; i++)
            BUG_ON(marks[i] != before[i] && (before[i] || marks[i] != part[k]));
    }
    fuzz_verdict(rc);
    mem_free(marks);
    return 0;
}
