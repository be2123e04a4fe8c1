/* fuzz/index_json.c: model.safetensors.index.json over two shards that are there, a.safetensors and b.safetensors. */
#include "fuzz.h"
#include "model/model.h"

#include <string.h>

/* one tensor "NAME" of one byte */
static void put_shard(const char *file, const char *name)
{
    uint8_t bytes[256];
    int n = snprintf((char *)bytes + 8, sizeof bytes - 8,
                     "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    bytes[8 + n] = 7;
    fuzz_put(file, bytes, (size_t)n + 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool started;
    struct model_source s;
    if (!started) {
        put_shard("a.safetensors", "one");
        put_shard("b.safetensors", "two");
        fuzz_put("config.json", "{}", 2);
        started = true;
    }
    fuzz_put("model.safetensors.index.json", data, n);
    int rc = source_open(&s, fuzz_dir());
    if (rc == 0) {
        for (int64_t i = 0; i < weight_count(&s.weights); i++) {
            const struct st_tensor *t = weight_at(&s.weights, i);
            BUG_ON(!t || !weight_find(&s.weights, t->name));
            fuzz_touch(t->data, t->n_bytes);
        }
        for (int i = 0; i < s.weights.n; i++)
            BUG_ON(!str_starts(st_path(s.weights.v[i]), fuzz_dir()) ||
                   strchr(st_path(s.weights.v[i]) + strlen(fuzz_dir()) + 1, '/'));
        source_close(&s);
    }
    fuzz_verdict(rc);
    return 0;
}
