/* fuzz/adapter.c: an adapter's folder of parts adapter.json and adapter.safetensors, of an ensemble two members' as
 * well. One that opens is asked about two pictures and three texts, so that every size it has read is used. */
#include "adapt/adapt.h"
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>

enum { N_IMAGES = 2, N_TEXTS = 3, MOST_WIDTH = 64, DRAWS = 2 };

/* Rows of exactly their size; the last numbers differ, so that no row is zero. */
static float *rows(int64_t n, int64_t width)
{
    float *x = mem_alloc((size_t)(n * width) * sizeof *x);
    BUG_ON(!x);
    for (int64_t i = 0; i < n * width; i++)
        x[i] = (float)(i % 5 - 2) * 0.25F + (i % width == width - 1 ? (float)(i + 1) : 0);
    return x;
}

/* The width of the activations is in the file alone (bayesvlm); a set must have it to be taken. */
static void give_features(struct set_side *s, const json_t *root, const char *side)
{
    const json_t *one = json_object_get(json_object_get(root, "laplace"), side);
    int64_t width = json_integer_value(json_object_get(one, "width"));
    bool bias = json_is_true(json_object_get(one, "bias"));
    if (width - bias < 1 || width > MOST_WIDTH)
        return;
    s->features = (struct set_features){.width = width - bias, .bias = bias};
    s->features.x = rows(s->n, width - bias);
    float *lengths = mem_alloc((size_t)s->n * sizeof *lengths);
    BUG_ON(!lengths);
    for (int64_t i = 0; i < s->n; i++)
        lengths[i] = 1 + (float)i;
    s->features.lengths = lengths;
}

static void drop_side(struct set_side *s)
{
    mem_free(s->x);
    mem_free((float *)(uintptr_t)s->features.x);
    mem_free((float *)(uintptr_t)s->features.lengths);
}

static int ask_side(struct adapter *a, const struct set *s, int side)
{
    const struct predict_opt opt = {.passes = 2, .dropout = -1, .seed = 1, .force = true};
    size_t n = (size_t)(side == SIDE_TEXT ? s->text.n : s->image.n), wide = n * (size_t)s->width;
    double *one = mem_calloc(5 * n, sizeof *one), density[N_IMAGES + N_TEXTS];
    float *all[4], *draws = mem_alloc(DRAWS * (size_t)s->width * sizeof *draws);
    BUG_ON(!one || !draws);
    for (int k = 0; k < 4; k++)
        BUG_ON(!(all[k] = mem_calloc(wide, sizeof(float))));
    const struct predict_more more = {.aleatoric = one + n,
                                      .epistemic = one + 2 * n,
                                      .log_variance = one + 3 * n,
                                      .fidelity = one + 4 * n,
                                      .mean = all[0],
                                      .scale = all[1],
                                      .shape = all[2],
                                      .variance = all[3]};
    int rc = adapt_predict(a, s, side, &opt, one, &more);
    if (rc == 0)
        for (size_t i = 0; i < n; i++)
            BUG_ON(!isfinite(one[i]));
    fuzz_touch(one, 5 * n * sizeof *one);
    if (rc == 0)
        rc = adapt_sample(a, s, side, 1, DRAWS, "near", 1, draws);
    if (rc == 0) {
        fuzz_touch(draws, DRAWS * (size_t)s->width * sizeof *draws);
        rc = adapt_likelihood(a, s, side, 1, !side, density);
    }
    for (int k = 0; k < 4; k++)
        mem_free(all[k]);
    mem_free(draws);
    mem_free(one);
    return rc;
}

static int ask(struct adapter *a)
{
    struct set s = {.path = "fuzz",
                    .width = adapt_width(a),
                    .image = {.n = N_IMAGES},
                    .text = {.n = N_TEXTS},
                    .model = "",
                    .fingerprint = "",
                    .data = "",
                    .protocol = ""};
    char path[256];
    json_t *root = NULL;
    BUG_ON(s.width < 1);
    if (s.width > MOST_WIDTH)
        return 0;
    snprintf(path, sizeof path, "%s/adapter.json", fuzz_dir());
    BUG_ON(json_read_file(&root, path) < 0);
    s.image.x = rows(s.image.n, s.width);
    s.text.x = rows(s.text.n, s.width);
    give_features(&s.image, root, "image");
    give_features(&s.text, root, "text");
    int rc = 0;
    for (int side = 0; side < 2 && rc == 0; side++)
        if (adapt_covers(a, side))
            rc = ask_side(a, &s, side);
    json_decref(root);
    drop_side(&s.image);
    drop_side(&s.text);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct engine *e;
    static const char *const names[] = {"adapter.json",           "adapter.safetensors",
                                        "members/0/adapter.json", "members/0/adapter.safetensors",
                                        "members/1/adapter.json", "members/1/adapter.safetensors"};
    struct adapter *a = NULL;
    if (!e) {
        char path[2][256];
        snprintf(path[0], sizeof path[0], "%s/members/0", fuzz_dir());
        snprintf(path[1], sizeof path[1], "%s/members/1", fuzz_dir());
        if (path_make_dirs(path[0]) < 0 || path_make_dirs(path[1]) < 0 || engine_open(&e, "ref", 1) < 0)
            abort();
    }
    fuzz_put_parts(data, n, names, (int)ARRAY_LEN(names));
    int rc = adapt_open_on(&a, fuzz_dir(), e);
    if (rc == 0)
        rc = ask(a);
    fuzz_verdict(rc);
    adapt_close(&a);
    return 0;
}
