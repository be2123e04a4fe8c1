/* fuzz/json.c: any JSON text, and every kind of field read out of it. */
#include "fuzz.h"

#include <string.h>

static void fields(const json_t *o, int depth)
{
    const char *key, *s = NULL;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        int64_t i = 0;
        double d = 0;
        bool b = false;
        if (json_field_int(o, key, true, -5, 1 << 20, &i, "x.json") == 0)
            BUG_ON(i < -5 || i > 1 << 20);
        if (json_field_real(o, key, true, -1e300, 1e300, &d, "x.json") == 0)
            BUG_ON(!(d >= -1e300 && d <= 1e300));
        json_field_bool(o, key, false, &b, "x.json");
        if (json_field_str(o, key, true, &s, "x.json") == 0)
            fuzz_touch(s, strlen(s));
        if (json_is_object(v) && depth < 8)
            fields(v, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *o = NULL;
    int rc = json_read_text(&o, (const char *)data, n, "x.json");
    if (rc == 0) {
        struct str back = {0};
        if (json_is_object(o))
            fields(o, 0);
        BUG_ON(str_add_json(&back, o, JSON_ENCODE_ANY) < 0 && !back.failed);
        str_free(&back);
    }
    fuzz_verdict(rc);
    json_decref(o);
    return 0;
}
