/* bench/bench_adapt.c: one step of training an adapter, timed on command; the other half is peer_adapt.py.
 *
 * ProbVLM's default network at width 512, random pairs, the released objective (which both programs have), Adam. Reads
 * lines on stdin: "loss" answers the first batch's loss, "steps N" the seconds that N steps take, "plain N" the same
 * without dropout, "begin X" takes the first weights again, X added to the last biases of the heads of 1/alpha and
 * beta; DIR receives the weights and the vectors, so that both programs hold the same. bf16: the operands of
 * products are rounded. */
#include "adapt/adapter.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

enum { D = 512, HIDDEN = 256, BATCH = 64, PAIRS = 4096 };
static const double DROPOUT = 0.1;

static int write_vectors(const char *dir, float *x, float *y)
{
    char path[2048];
    const int64_t shape[2] = {PAIRS, D};
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < PAIRS * D; i++) {
        x[i] = (float)rng_normal(&r);
        y[i] = x[i] + 0.5F * (float)rng_normal(&r);
    }
    TRY(path_join(path, sizeof path, dir, "image.npy"));
    TRY(npy_write(path, DT_F32, 2, shape, x));
    TRY(path_join(path, sizeof path, dir, "text.npy"));
    return npy_write(path, DT_F32, 2, shape, y);
}

struct bench {
    struct adapter *a;
    struct tape *t;
    struct optimizer adam;
    float *x, *y, *first; /* first: the weights at the start */
    int64_t at, step;
    double dropout;
};

static int step(struct bench *b, bool update, double *loss)
{
    struct adapt_opt o = {.cross = "sum", .intra = 1, .lambda = 1e-4, .t1 = 1, .t2 = 0.05};
    struct optimizer_opt adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    struct tensor *keep[2] = {NULL, NULL};
    tape_reset(b->t);
    params_zero_grad(&b->a->params);
    for (int side = 0; side < 2 && update; side++)
        keep[side] =
            b->dropout == 0 ? NULL : capsule_mask(b->t, BATCH, HIDDEN, b->dropout, 1, (uint32_t)b->step, side * BATCH);
    int64_t at = update ? b->at * D : 0;
    struct tensor *x[2] = {t_input(b->t, SHAPE(BATCH, D), b->x + at), t_input(b->t, SHAPE(BATCH, D), b->y + at)};
    struct tensor *l = method_probvlm.loss(b->a, &o, x, keep, NULL);
    TRY(tape_status(b->t));
    *loss = t_value(l);
    if (!update)
        return 0;
    TRY(tape_backward(l));
    optimizer_step(&b->adam, b->a->engine, &b->a->params, &adam, 1e-4, 1);
    b->at = (b->at + BATCH) % PAIRS;
    b->step++;
    return 0;
}

static int begin(struct bench *b, float lift)
{
    struct params *p = &b->a->params;
    memcpy(p->data, b->first, (size_t)p->n_slab * sizeof *b->first);
    for (int side = 0; side < 2; side++)
        for (int64_t j = 0; j < D; j++) {
            ((float *)b->a->side[side].inverse.b.data)[j] += lift;
            ((float *)b->a->side[side].shape.b.data)[j] += lift;
        }
    b->at = b->step = 0;
    optimizer_close(&b->adam);
    return optimizer_open(&b->adam, p);
}

static int serve(struct bench *b)
{
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        double loss = 0, began = clock_seconds();
        int n = 0;
        float lift = 0;
        if (sscanf(line, "begin %f", &lift) == 1) {
            TRY(begin(b, lift));
            printf("begun\n");
        } else if (!strncmp(line, "loss", 4)) {
            TRY(step(b, false, &loss));
            printf("%.9g\n", loss);
        } else if (sscanf(line, "plain %d", &n) == 1 || sscanf(line, "steps %d", &n) == 1) {
            b->dropout = line[0] == 'p' ? 0 : DROPOUT;
            for (int i = 0; i < n; i++)
                TRY(step(b, true, &loss));
            printf("%.6f\n", clock_seconds() - began);
        }
        fflush(stdout);
    }
    return 0;
}

static int run(const char *dir, int threads, bool low)
{
    struct design d = {.method = &method_probvlm,
                       .released = true,
                       .width = D,
                       .hidden = HIDDEN,
                       .image_scale = 1,
                       .text_scale = 1,
                       .unit = 1};
    struct bench b = {0};
    const struct engine *e;
    char path[2048];
    b.x = mem_alloc(sizeof(float) * PAIRS * D);
    b.y = mem_alloc(sizeof(float) * PAIRS * D);
    if (!b.x || !b.y)
        return ERR_MEMORY;
    TRY(engine_open(&e, NULL, threads));
    TRY(write_vectors(dir, b.x, b.y));
    TRY(adapter_make(&b.a, &d, e, NULL));
    capsule_init(b.a, 1);
    TRY(path_join(path, sizeof path, dir, "adapter.safetensors"));
    TRY(params_save(&b.a->params, path, DT_F32));
    TRY(params_want_grad(&b.a->params));
    b.first = mem_alloc((size_t)b.a->params.n_slab * sizeof *b.first);
    if (!b.first)
        return ERR_MEMORY;
    memcpy(b.first, b.a->params.data, (size_t)b.a->params.n_slab * sizeof *b.first);
    TRY(optimizer_open(&b.adam, &b.a->params));
    TRY(tape_open(&b.t, e, &(struct tape_opt){.record = true, .low = low}));
    printf("ready\n");
    fflush(stdout);
    int rc = serve(&b);
    tape_close(&b.t);
    optimizer_close(&b.adam);
    adapt_close(&b.a);
    mem_free(b.x);
    mem_free(b.y);
    mem_free(b.first);
    return rc;
}

int main(int argc, char **argv)
{
    engine_wait_briefly(argv);
    bool low = argc == 4 && !strcmp(argv[3], "bf16");
    int rc = argc == 3 || low ? run(argv[1], atoi(argv[2]), low)
                              : err_set(ERR_USAGE, "usage: bench_adapt DIR THREADS [bf16]");
    if (rc < 0)
        fprintf(stderr, "bench_adapt: %s\n", err_text());
    return rc < 0;
}
