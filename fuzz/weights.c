/* fuzz/weights.c: a model folder of parts config.json and model.safetensors, opened whole. */
#include "fuzz.h"
#include "kernel/kernel.h"
#include "model/model.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct engine *e;
    const uint8_t *config = NULL, *weights = NULL;
    size_t n_config = 0, n_weights = 0;
    struct model *m = NULL;
    char sum[65];
    if (!e && engine_open(&e, "ref", 1) < 0)
        abort();
    fuzz_part(data, n, 0, &config, &n_config);
    if (fuzz_part(data, n, 1, &weights, &n_weights))
        n_weights = (size_t)(data + n - weights);
    fuzz_put("config.json", config, n_config);
    fuzz_put("model.safetensors", weights ? weights : (const uint8_t *)"", n_weights);
    int rc = model_open(&m, fuzz_dir(), e);
    if (rc == 0)
        rc = model_fingerprint(m, sum);
    fuzz_verdict(rc);
    model_close(&m);
    return 0;
}
