/* fuzz/checkpoint.c: a run's checkpoint of parts checkpoint.json and state.safetensors, loaded into a tiny model.
 *
 * A checksum cannot be guessed: where the manifest says "@sum" and "@bytes" the harness writes the true sum and length,
 * so that what lies behind the check is reached too. The state "@state" stands for one that fits the model. */
#include "fuzz.h"
#include "kernel/kernel.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

static struct model *model;
static struct optimizer optimizer;
static json_t *config;
static uint8_t *good_state;
static size_t n_good;

static const char tiny[] =
    "{\"model_type\":\"clip\",\"projection_dim\":4,\"vision_config\":{\"hidden_size\":4,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":1,\"intermediate_size\":4,\"image_size\":4,\"patch_size\":4,\"hidden_act\":\"gelu\"},"
    "\"text_config\":{\"hidden_size\":4,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"intermediate_size\":4,"
    "\"max_position_embeddings\":4,\"vocab_size\":4,\"hidden_act\":\"gelu\"}}";

static void start(void)
{
    const struct engine *e = NULL;
    json_t *o = NULL;
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoints/step-000000001", fuzz_dir());
    if (path_make_dirs(path) < 0 || engine_open(&e, "ref", 1) < 0 ||
        json_read_text(&o, tiny, strlen(tiny), "config.json") < 0 ||
        model_init(&model, o, "config.json", NULL, e, 1) < 0 || optimizer_open(&optimizer, &model->params) < 0 ||
        !(config = json_pack("{s:i}", "batch", 8))) {
        fprintf(stderr, "fuzz: %s\n", err_text());
        abort();
    }
    json_decref(o);
    struct cursor c = {.done = 1};
    struct map m;
    snprintf(path, sizeof path, "%s/checkpoints/step-000000001/state.safetensors", fuzz_dir());
    if (checkpoint_save(fuzz_dir(), model, &optimizer, NULL, &c, config) < 0 || map_open(&m, path) < 0 ||
        !(good_state = mem_alloc(m.size)))
        abort();
    memcpy(good_state, m.data, m.size);
    n_good = m.size;
    map_close(&m);
}

static void put_manifest(const uint8_t *p, size_t n, const uint8_t *state, size_t n_state)
{
    static const char mark[] = "\"@sum\"", length[] = "\"@bytes\"";
    struct str out = {0};
    struct sha256 h;
    char sum[65];
    sha256_start(&h);
    sha256_add(&h, state, n_state);
    sha256_hex(&h, sum);
    for (size_t i = 0; i < n;) {
        if (n - i >= sizeof mark - 1 && !memcmp(p + i, mark, sizeof mark - 1)) {
            str_add(&out, "\"%s\"", sum);
            i += sizeof mark - 1;
        } else if (n - i >= sizeof length - 1 && !memcmp(p + i, length, sizeof length - 1)) {
            str_add(&out, "%zu", n_state);
            i += sizeof length - 1;
        } else
            str_add_c(&out, (char)p[i++]);
    }
    fuzz_put("checkpoints/step-000000001/checkpoint.json", out.s ? out.s : "", out.n);
    str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *manifest = NULL, *state = NULL;
    size_t n_manifest = 0, n_state = 0;
    struct cursor c = {0};
    bool found = false;
    if (!model)
        start();
    fuzz_part(data, n, 0, &manifest, &n_manifest);
    if (fuzz_part(data, n, 1, &state, &n_state)) /* its tensors may hold the separator: all the rest is the state */
        n_state = (size_t)(data + n - state);
    if (n_state == 6 && !memcmp(state, "@state", 6)) {
        state = good_state;
        n_state = n_good;
    }
    fuzz_put("checkpoints/step-000000001/state.safetensors", state ? state : (const uint8_t *)"", n_state);
    put_manifest(manifest, n_manifest, state ? state : (const uint8_t *)"", n_state);
    int rc = checkpoint_load(fuzz_dir(), model, &optimizer, NULL, &c, config, &found);
    if (rc == 0 && !found)
        rc = err_set(ERR_DATA, "no complete checkpoint");
    if (rc == 0)
        BUG_ON(c.epoch < 0 || c.step < 0 || c.done < 0 || optimizer.step < 0);
    fuzz_verdict(rc);
    return 0;
}
