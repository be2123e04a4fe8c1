/* Our own checksummed formats: no turned bit and no cut in what a manifest names passes as whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "space/space.h"
#include "train/train.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLIPS = 500, CUTS = 200 };
static char dir[64];
static struct rng rng;
static long n_files, n_caught;

static int start(void **state UNUSED)
{
    snprintf(dir, sizeof dir, "%s/meridian-flips-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    rng = rng_stream(3, RNG_TEST, 0, 0);
    log_level(LOG_ERROR);
    return mkdtemp(dir) ? 0 : -1;
}

static int stop(void **state UNUSED)
{
    printf("hostile: F5 flips and cuts of sets and checkpoints: %ld files, %ld accepted, %ld refused, %ld failures\n",
           n_files, n_files - n_caught, n_caught, n_files - n_caught);
    return path_remove_tree(dir);
}

static void put(const char *path, const uint8_t *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* Every hurt form of the file must be caught; in the end it is as it was. */
static void hurt(const char *path, bool (*opens)(void *), void *ctx)
{
    struct map m;
    assert_int_equal(map_open(&m, path), 0);
    size_t n = m.size;
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, m.data, n);
    map_close(&m);
    for (int i = 0; i < FLIPS + CUTS; i++) {
        size_t at = (size_t)rng_below(&rng, n), keep = i < FLIPS ? n : at;
        uint8_t bit = (uint8_t)(1u << rng_below(&rng, 8));
        if (i < FLIPS)
            bytes[at] ^= bit;
        put(path, bytes, keep);
        bool opened = opens(ctx);
        n_files++;
        n_caught += !opened;
        if (opened)
            fail_msg("%s: %s at byte %zu passed", path, i < FLIPS ? "a turned bit" : "a cut", at);
        if (i < FLIPS)
            bytes[at] ^= bit;
    }
    put(path, bytes, n);
    free(bytes);
    assert_true(opens(ctx));
}

static bool opens_set(void *ctx)
{
    struct set *s = NULL;
    int rc = set_open(&s, ctx);
    set_close(&s);
    return rc == 0;
}

static void sets(void **state UNUSED)
{
    char path[200], file[600];
    snprintf(path, sizeof path, "%s/set", dir);
    struct set_info info = {"m", "f", "d", "p", "float32", 10, 4, true};
    struct set_writer *w = NULL;
    float x[5 * 4] = {0};
    for (int i = 0; i < 5; i++)
        x[i * 4 + i % 4] = 1;
    const char *const cols[] = {"id"}, *const cells[] = {"a", "b", "c", "d", "e"};
    struct set_table table = {1, cols, cells, 5};
    struct set_pair pairs[] = {{0, 0}, {1, 1}, {4, 2}};
    assert_int_equal(set_writer_open(&w, path, false, &info), 0);
    assert_int_equal(set_writer_images(w, x, 5), 0);
    assert_int_equal(set_writer_texts(w, x, 5), 0);
    if (set_writer_commit(&w, &table, &table, pairs, 3, NULL) < 0)
        fail_msg("%s", err_text());
    assert_true(opens_set(path));
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || !strcmp(e->d_name, "set.json"))
            continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        hurt(file, opens_set, path);
        n++;
    }
    closedir(d);
    assert_true(n >= 5);
}

struct saved {
    struct model *m;
    struct optimizer o;
    json_t *config;
};

static bool opens_checkpoint(void *ctx)
{
    struct saved *s = ctx;
    struct cursor c;
    bool found = false;
    int rc = checkpoint_load(dir, s->m, &s->o, NULL, &c, s->config, &found);
    return rc == 0 && found;
}

static void checkpoints(void **state UNUSED)
{
    static const char tiny[] =
        "{\"model_type\":\"clip\",\"projection_dim\":4,\"vision_config\":{\"hidden_size\":4,\"num_hidden_layers\":1,"
        "\"num_attention_heads\":1,\"intermediate_size\":4,\"image_size\":4,\"patch_size\":4,\"hidden_act\":\"gelu\"},"
        "\"text_config\":{\"hidden_size\":4,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"intermediate_size\":4,"
        "\"max_position_embeddings\":4,\"vocab_size\":4,\"hidden_act\":\"gelu\"}}";
    struct saved s = {.config = json_pack("{s:i}", "batch", 8)};
    struct cursor c = {.done = 1};
    const struct engine *e = NULL;
    json_t *o = NULL;
    char path[200];
    assert_int_equal(engine_open(&e, "ref", 1), 0);
    assert_int_equal(json_read_text(&o, tiny, strlen(tiny), "config.json"), 0);
    assert_int_equal(model_init(&s.m, o, "config.json", NULL, e, 1), 0);
    assert_int_equal(optimizer_open(&s.o, &s.m->params), 0);
    assert_int_equal(checkpoint_save(dir, s.m, &s.o, NULL, &c, s.config), 0);
    assert_true(opens_checkpoint(&s));
    snprintf(path, sizeof path, "%s/checkpoints/step-000000001/state.safetensors", dir);
    hurt(path, opens_checkpoint, &s);
    optimizer_close(&s.o);
    model_close(&s.m);
    json_decref(s.config);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sets), cmocka_unit_test(checkpoints)};
    return cmocka_run_group_tests(tests, start, stop);
}
