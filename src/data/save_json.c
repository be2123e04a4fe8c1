/* data/save_json.c: a JSON file beside its data: vocabulary, preprocessing, summary of the emoji world.
 *
 * json_dump_file is not used: it writes in place, and a full disk would leave half a file. */
#include "data/save_json.h"

#include <stdlib.h>
#include <string.h>

int save_json(const char *dir, const char *name, json_t *o, size_t flags)
{
    char path[4096];
    int rc = path_join(path, sizeof path, dir, name);
    char *text = o && rc == 0 ? json_dumps(o, flags) : NULL;
    json_decref(o);
    TRY(rc);
    if (!text)
        FAIL(ERR_MEMORY, "out of memory while writing %s", path);
    rc = atomic_put(path, text, strlen(text));
    free(text);
    return rc;
}
