/* fuzz/json_stream.c: JSON as a stream of events, and the same text as a tree: what the tree takes, the stream takes. */
#include "fuzz.h"

#include <string.h>

        int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct json_stream *s = NULL;
    enum json_event e = JSON_EVENT_END;
    int depth = 0;
    int rc = json_stream_open(&s, fuzz_put("x.json", data, n));
    while (rc == 0) {
        rc = json_stream_next(s, &e);
        if (rc < 0 || e == JSON_EVENT_END)
            break;
        depth += (e == JSON_EVENT_OBJECT || e == JSON_EVENT_ARRAY) -
                 (e == JSON_EVENT_OBJECT_END || e == JSON_EVENT_ARRAY_END);
        BUG_ON(depth < 0);
        if (e == JSON_EVENT_STRING || e == JSON_EVENT_KEY || e == JSON_EVENT_NUMBER) {
            int64_t v = 0;
            const char *text = json_stream_text(s);
            fuzz_touch(text, strlen(text));
            BUG_ON(json_stream_text_ok(s) && !utf8_ok(text, strlen(text)));
            json_stream_int(s, &v);
        }
        if (e == JSON_EVENT_ARRAY && depth % 3 == 2) { /* now and then the rest of a value is passed over */
            rc = json_stream_skip(s, e);
            depth--;
        }
    }
    if (rc == 0)
        BUG_ON(depth != 0);
    json_t *tree = NULL;
    if (n < 4096 && json_read_text(&tree, (const char *)data, n, "x.json") == 0)
        BUG_ON(rc < 0);
    json_decref(tree);
    if (rc < 0) /* the tree's complaint may have taken its place */
        err_set(rc, "x.json: refused");
    json_stream_close(&s);
    fuzz_verdict(rc);
    return 0;
}
