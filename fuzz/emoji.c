/* fuzz/emoji.c: parts emoji-test.txt, annotations.xml and the derived annotations; then attributes and splits. */
#include "data/emoji.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"emoji-test.txt", "annotations.xml", "derived.xml"};
    char paths[3][300];
    struct emoji_list l = {0};
    fuzz_put_parts(data, n, names, (int)ARRAY_LEN(names));
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%s", fuzz_dir(), names[i]);
    struct emoji_sources src = {paths[0], paths[1], paths[2]};
    int rc = emoji_list_read(&l, &src);
    if (rc == 0) {
        rc = emoji_traits(&l);
        if (rc == 0)
            rc = emoji_split(&l);
        for (int64_t i = 0; i < l.n; i++) {
            fuzz_touch(l.v[i].name, strlen(l.v[i].name));
            BUG_ON(!utf8_ok(l.v[i].utf8, strlen(l.v[i].utf8)));
        }
        emoji_list_free(&l);
    }
    fuzz_verdict(rc);
    return 0;
}
