/* bench/bench_clip.c: our half of `make bench`: times one call at a time of the emoji model's work, on command.
 *
 *   bench_clip CONFIG BATCH THREADS DIR
 *
 * Makes a model of CONFIG's sizes with fresh weights and a batch of noise pictures with random captions of 4 to 12
 * tokens, leaves both in DIR for the peer (model.safetensors, pixels.f32, ids.i32, sizes.json), and then answers lines
 * on stdin, one number a line on stdout:
 *
 *   loss f32                   the training loss with the fresh weights (the peer must find the same)
 *   encode_images f32|bf16     seconds to encode BATCH pictures
 *   encode_texts f32|bf16      seconds to encode BATCH captions
 *   train_step f32|bf16        seconds of forward, backward, norm, AdamW over BATCH pairs, in one pass
 *
 * bench/run asks us and the peer in turn, so that both meet the same state of the machine. Rejected: each program
 * timing all its cases by itself; on a shared machine the two would see different minutes. */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bench {
    const struct engine *e;
    struct model *m;
    struct batch b;
    const struct loss_kind *loss;
    struct loss_clip_opt loss_opt;
    struct step *step[2]; /* f32, bf16 */
    struct optimizer optimizer;
    float *vectors;
};

static int make_batch(struct bench *w, int64_t n)
{
    const struct model *m = w->m;
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    int64_t each = 3 * m->image_size * m->image_size;
    w->b =
        (struct batch){.n = n, .context = m->context, .channels = 3, .height = m->image_size, .width = m->image_size};
    w->b.pixels = mem_calloc((size_t)(n * each), sizeof *w->b.pixels);
    w->b.ids = mem_calloc((size_t)(n * m->context), sizeof *w->b.ids);
    w->vectors = mem_calloc((size_t)(n * m->embed), sizeof *w->vectors);
    if (!w->b.pixels || !w->b.ids || !w->vectors)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n * each; i++)
        w->b.pixels[i] = (float)rng_normal(&r);
    for (int64_t i = 0; i < n; i++) {
        int32_t *ids = w->b.ids + i * m->context;
        int64_t length = 4 + (int64_t)rng_below(&r, 9);
        length = length < m->context ? length : m->context;
        ids[0] = (int32_t)m->vocab_size - 2;
        for (int64_t j = 1; j < m->context; j++)
            ids[j] = j < length - 1 ? (int32_t)rng_below(&r, (uint64_t)m->vocab_size - 2) : (int32_t)m->vocab_size - 1;
    }
    return 0;
}

static int leave_for_peer(const struct bench *w, const char *dir)
{
    char path[1024], text[256];
    int64_t each = 3 * w->m->image_size * w->m->image_size;
    TRY(model_save(w->m, dir, DT_F32));
    TRY(path_join(path, sizeof path, dir, "pixels.f32"));
    TRY(atomic_put(path, w->b.pixels, (size_t)(w->b.n * each) * sizeof *w->b.pixels));
    TRY(path_join(path, sizeof path, dir, "ids.i32"));
    TRY(atomic_put(path, w->b.ids, (size_t)(w->b.n * w->b.context) * sizeof *w->b.ids));
    TRY(path_join(path, sizeof path, dir, "sizes.json"));
    int n = snprintf(text, sizeof text, "{\"batch\": %lld, \"threads\": %d}\n", (long long)w->b.n, w->e->threads);
    return atomic_put(path, text, (size_t)n);
}

static int start(struct bench *w, const char *config, int64_t batch, int threads, const char *dir)
{
    json_t *o = NULL;
    TRY(engine_open(&w->e, "cpu", threads));
    TRY(json_read_file(&o, config));
    int rc = model_init(&w->m, o, config, NULL, w->e, 1);
    json_decref(o);
    TRY(rc);
    TRY(make_batch(w, batch));
    TRY(leave_for_peer(w, dir));
    w->loss = loss_find("clip");
    if (!w->loss)
        return ERR_FAIL;
    opt_defaults(w->loss->options, &w->loss_opt);
    for (int low = 0; low < 2; low++)
        TRY(step_open(&w->step[low], w->m, w->loss, &w->loss_opt, &(struct step_opt){.low = low == 1}));
    return optimizer_open(&w->optimizer, &w->m->params);
}

static int train_step(struct bench *w, int low, double *loss)
{
    static const struct optimizer_opt adamw = {0.9, 0.98, 1e-6, 0.2};
    struct params *p = &w->m->params;
    params_zero_grad(p);
    TRY(step_run(w->step[low], &w->b, 0, w->optimizer.step, 1, loss));
    double norm = sqrt(w->e->sum_squares(w->e, p->grad, p->n_slab));
    optimizer_step(&w->optimizer, w->e, p, &adamw, 1e-6, norm > 1.0 ? 1.0 / norm : 1.0);
    return 0;
}

/* One line's work; *out is what to print. */
static int answer(struct bench *w, const char *what, bool low, double *out)
{
    double started = clock_seconds(), loss = 0;
    if (!strcmp(what, "loss")) {
        params_zero_grad(&w->m->params);
        return step_run(w->step[low], &w->b, 0, 0, 1, out);
    }
    if (!strcmp(what, "encode_images"))
        TRY(model_embed_pixels(w->m, w->b.pixels, w->b.n, low, w->vectors));
    else if (!strcmp(what, "encode_texts"))
        TRY(model_embed_ids(w->m, w->b.ids, w->b.n, w->b.context, low, w->vectors));
    else if (!strcmp(what, "train_step"))
        TRY(train_step(w, low, &loss));
    else
        FAIL(ERR_USAGE, "unknown case \"%s\"", what);
    *out = clock_seconds() - started;
    return 0;
}

static int serve(struct bench *w)
{
    char line[128], what[64], dtype[16];
    while (fgets(line, sizeof line, stdin)) {
        double out;
        if (sscanf(line, "%63s %15s", what, dtype) != 2 || (strcmp(dtype, "f32") && strcmp(dtype, "bf16")))
            FAIL(ERR_USAGE, "expected \"CASE f32\" or \"CASE bf16\", found \"%s\"", line);
        TRY(answer(w, what, !strcmp(dtype, "bf16"), &out));
        printf("%.9g\n", out);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct bench w = {0};
    if (argc != 5 || atoi(argv[2]) < 1 || atoi(argv[3]) < 0) {
        fprintf(stderr, "usage: bench_clip CONFIG BATCH THREADS DIR\n");
        return 2;
    }
    int rc = start(&w, argv[1], atoi(argv[2]), atoi(argv[3]), argv[4]);
    if (rc == 0) {
        printf("ready %s\n", engine_describe(w.e));
        fflush(stdout);
        rc = serve(&w);
    }
    if (rc < 0)
        fprintf(stderr, "bench_clip: %s\n", err_text());
    for (int low = 0; low < 2; low++)
        step_close(&w.step[low]);
    optimizer_close(&w.optimizer);
    model_close(&w.m);
    mem_free(w.b.pixels);
    mem_free(w.b.ids);
    mem_free(w.vectors);
    return rc < 0 ? err_exit_code(rc) : 0;
}
