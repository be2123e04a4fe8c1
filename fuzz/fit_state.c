/* fuzz/fit_state.c: unfinished work of adapt, OUT.partial of parts plan.json and, of each slot, piece.json and
 * state.safetensors, loaded into a tiny network and, when it is taken, written again.
 *
 * "@plan" and "@state" stand for those that fit. Checksums cannot be guessed: where a piece says "@sum", its own and
 * its file's, the harness writes the true ones, so that what lies behind them is reached too. */
#include "adapt/adapter.h" /* the reader is inside the room */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 2, HIDDEN = 2 };

static const struct engine *engine;
static struct adapter *network;
static struct optimizer adam;
static struct fit_memory memory;
static struct adapt_opt options;
static struct set_pair pair;
static struct set_split split = {.train = &pair, .validation = &pair, .n_train = 1};
static struct set set = {.path = "fuzz", .width = WIDTH, .model = "", .fingerprint = "", .data = "", .protocol = ""};
static char partial[128];
static uint8_t *plan, *state;
static size_t n_plan, n_state;

static uint8_t *keep(const char *name, size_t *n)
{
    struct map m;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", partial, name);
    if (map_open(&m, path) < 0)
        abort();
    uint8_t *copy = mem_alloc(m.size);
    BUG_ON(!copy);
    memcpy(copy, m.data, m.size);
    *n = m.size;
    map_close(&m);
    return copy;
}

static int open_state(struct fit_state **st, struct str *log, struct fit_place *at)
{
    static char out[128];
    const struct fit_in in = {.s = &set, .o = &options, .split = &split, .log = log};
    snprintf(out, sizeof out, "%s/out", fuzz_dir());
    return fit_state_open(st, out, false, &in, engine, &memory, at);
}

/* The tiny network, and a folder that fits it. */
static void start(void)
{
    static float x[WIDTH] = {0.6F, 0.8F};
    const struct design d = {.method = &method_pfe,
                             .mean = MEAN_FIXED,
                             .width = WIDTH,
                             .hidden = HIDDEN,
                             .image_scale = 1,
                             .text_scale = 1,
                             .unit = 1};
    struct fit_state *st = NULL;
    struct fit_place at = {.steps = 1};
    struct str log = {0};
    snprintf(partial, sizeof partial, "%s/out.partial", fuzz_dir());
    set.image = set.text = (struct set_side){.n = 1, .x = x};
    opt_defaults(adapt_options, &options);
    if (engine_open(&engine, "ref", 1) < 0 || adapter_make(&network, &d, engine, NULL) < 0 ||
        optimizer_open(&adam, &network->params) < 0)
        abort();
    struct params *p = &network->params;
    memory = (struct fit_memory){p, &adam, mem_calloc((size_t)p->n_slab, dtype_size(p->real))};
    if (!memory.best || open_state(&st, &log, &at) < 0 || fit_state_save(st, &memory, &at) < 0)
        abort();
    plan = keep("plan.json", &n_plan);
    state = keep("state-0/state.safetensors", &n_state);
    fit_state_close(&st, true);
}

/* "sum" of a piece: of the object without it, compact and sorted. */
static void set_sums(json_t *o, const char *sum_of_state)
{
    struct str b = {0};
    struct sha256 h;
    char hex[65];
    json_t *sums = json_object_get(o, "checksums");
    const char *said = json_string_value(json_object_get(sums, "state.safetensors"));
    if (said && !strcmp(said, "@sum"))
        json_object_set_new(sums, "state.safetensors", json_string(sum_of_state));
    said = json_string_value(json_object_get(o, "sum"));
    if (!said || strcmp(said, "@sum") != 0)
        return;
    json_object_del(o, "sum");
    BUG_ON(str_add_json(&b, o, JSON_COMPACT | JSON_SORT_KEYS) < 0);
    sha256_start(&h);
    sha256_add(&h, b.s, b.n);
    sha256_hex(&h, hex);
    json_object_set_new(o, "sum", json_string(hex));
    str_free(&b);
}

static void put_slot(int slot, const uint8_t *piece, size_t n_piece, const uint8_t *tensors, size_t n)
{
    char name[256], sum[65];
    struct sha256 h;
    struct str b = {0};
    json_t *o = NULL;
    if (n == 6 && !memcmp(tensors, "@state", 6)) {
        tensors = state;
        n = n_state;
    }
    snprintf(name, sizeof name, "%s/state-%d", partial, slot);
    BUG_ON(path_make_dirs(name) < 0);
    snprintf(name, sizeof name, "out.partial/state-%d/state.safetensors", slot);
    if (tensors)
        fuzz_put(name, tensors, n);
    sha256_start(&h);
    sha256_add(&h, tensors ? tensors : (const uint8_t *)"", n);
    sha256_hex(&h, sum);
    snprintf(name, sizeof name, "out.partial/state-%d/piece.json", slot);
    if (json_read_text(&o, (const char *)piece, n_piece, "piece.json") < 0 || !json_is_object(o)) {
        fuzz_put(name, piece, n_piece);
    } else {
        set_sums(o, sum);
        BUG_ON(str_add_json(&b, o, JSON_COMPACT) < 0);
        fuzz_put(name, b.s, b.n);
    }
    err_clear();
    json_decref(o);
    str_free(&b);
}

static int take_up(void)
{
    struct fit_state *st = NULL;
    struct str log = {0};
    struct fit_place at = {.steps = -1};
    const size_t bytes = (size_t)network->params.n_slab * dtype_size(network->params.real);
    int rc = open_state(&st, &log, &at);
    if (rc == 0 && at.steps < 0)
        rc = err_set(ERR_DATA, "no whole state");
    if (rc == 0) {
        BUG_ON(at.epoch < 0 || at.step < 0 || at.best_epoch < -1 || adam.step != at.steps);
        fuzz_touch(network->params.data, bytes);
        fuzz_touch(adam.m, bytes);
        fuzz_touch(adam.v, bytes);
        fuzz_touch(memory.best, bytes);
        fuzz_touch(log.s, log.n);
        BUG_ON(fit_state_save(st, &memory, &at) < 0);
    }
    fit_state_close(&st, false);
    str_free(&log);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *part, *tensors;
    size_t n_part, n_tensors;
    if (!network)
        start();
    BUG_ON(path_remove_tree(partial) < 0 || path_make_dirs(partial) < 0);
    if (!fuzz_part(data, n, 0, &part, &n_part) || (n_part == 5 && !memcmp(part, "@plan", 5))) {
        part = plan;
        n_part = n_plan;
    }
    fuzz_put("out.partial/plan.json", part, n_part);
    for (int slot = 0; slot < 2; slot++)
        if (fuzz_part(data, n, 1 + 2 * slot, &part, &n_part)) {
            tensors = NULL;
            n_tensors = 0;
            fuzz_part(data, n, 2 + 2 * slot, &tensors, &n_tensors);
            put_slot(slot, part, n_part, tensors, n_tensors);
        }
    fuzz_verdict(take_up());
    return 0;
}
