/* fuzz/config.c: a configuration of any layout and family to a wired model, without memory for the weights. */
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

static int build(const struct model_family *f, enum layout l, const json_t *config)
{
    struct model *m = mem_calloc(1, sizeof *m);
    int rc = m ? arena_open(&m->arena, "model") : ERR_MEMORY;
    if (rc == 0) {
        m->family = f;
        m->layout = l;
        m->config = json_deep_copy(config);
        rc = f->build(m, config, "config.json");
    }
    if (rc == 0)
        rc = f->bind(m, l, &m->params);
    if (rc == 0) {
        int64_t at = 0;
        for (int64_t i = 0; i < m->params.n; i++) {
            BUG_ON(m->params.v[i].n < 0 || m->params.v[i].n_dims > IO_MAX_DIMS);
            BUG_ON(__builtin_add_overflow(at, m->params.v[i].n, &at));
        }
        BUG_ON(m->image_size < 0 || m->context < 0 || m->embed < 0);
    }
    model_close(&m);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *config = NULL;
    fuzz_dir();
    int rc = json_read_text(&config, (const char *)data, n, "config.json");
    if (rc == 0) {
        bool taken = false;
        rc = err_set(ERR_DATA, "config.json: no family takes it");
        for (int l = 0; l < N_LAYOUTS && !taken; l++)
            for (size_t i = 0; i < ARRAY_LEN(families) && !taken; i++) {
                taken = families[i]->accepts((enum layout)l, config);
                if (taken)
                    rc = build(families[i], (enum layout)l, config);
            }
    }
    fuzz_verdict(rc);
    json_decref(config);
    return 0;
}
