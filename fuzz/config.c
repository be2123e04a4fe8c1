/* fuzz/config.c: config.json to a wired model, without memory for the weights. */
#include "fuzz.h"
#include "model/model.h"

#define MODEL_FAMILY(f) extern const struct model_family f;
#include "model/model_list.h"
#undef MODEL_FAMILY
static const struct model_family *const families[] = {
#define MODEL_FAMILY(f) &f,
#include "model/model_list.h"
#undef MODEL_FAMILY
};

static int build(const struct model_family *f, const json_t *config)
{
    struct model *m = mem_calloc(1, sizeof *m);
    int rc = m ? arena_open(&m->arena, "model") : ERR_MEMORY;
    if (rc == 0) {
        m->family = f;
        rc = f->build(m, config, "config.json");
    }
    if (rc == 0) {
        int64_t at = 0;
        for (int64_t i = 0; i < m->params.n; i++) {
            BUG_ON(m->params.v[i].n < 0 || m->params.v[i].n_dims > IO_MAX_DIMS);
            BUG_ON(__builtin_add_overflow(at, m->params.v[i].n, &at));
        }
        BUG_ON(m->image_size < 0 || m->context < 0 || m->embed < 1);
    }
    model_close(&m);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *config = NULL;
    int rc = json_read_text(&config, (const char *)data, n, "config.json");
    if (rc == 0) {
        rc = err_set(ERR_DATA, "config.json: no family takes it");
        for (size_t i = 0; i < ARRAY_LEN(families); i++)
            if (families[i]->accepts(config)) {
                rc = build(families[i], config);
                break;
            }
    }
    fuzz_verdict(rc);
    json_decref(config);
    return 0;
}
