/* cli/cmd_bench.c: how fast, against what this machine can do. The ceiling is the rate of one large matrix product,
 * measured in the same run by the same engine and number type; a peer's times (bench/ has the script) come in by --peer
 * and give the ratio. Medians of several runs, with their spread: on a shared machine one number says nothing. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bench_opt {
    const char *model, *peer;
    int64_t runs, batch, seed;
    struct engine_opt engine;
};
#define F(field) offsetof(struct bench_opt, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct bench_opt, model, "M", "clip: the model; the shipped one when not given"),
    PATH_OPTION("peer", struct bench_opt, peer, "FILE.json", "another program's {\"name\": seconds}, for the ratio"),
    {"runs", 'n', OPT_INT, F(runs), "5", 1, 1000, NULL, "N", "timed runs a case, after one that is not timed"},
    {"batch", 'b', OPT_INT, F(batch), "64", 2, 65536, NULL, "N", "clip: pairs in a batch"},
    SEED_OPTION(struct bench_opt, seed),
    ENGINE_OPTIONS(struct bench_opt, engine),
    {0},
};
#undef F

enum { RUNS_MAX = 1000, CEILING_SIDE = 1024 };

struct bench {
    struct cli *c;
    const struct bench_opt *o;
    const struct engine *e;
    bool low;
    double ceiling; /* GFLOP a second */
    json_t *results, *peer;
};

/* One timed thing. rate = work / seconds; gflop 0: no share of the ceiling can be said. */
struct timing {
    const char *name, *unit;
    double seconds[RUNS_MAX], work, gflop;
    int n;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int note(struct bench *b, struct timing *t)
{
    qsort(t->seconds, (size_t)t->n, sizeof *t->seconds, by_value);
    double median = t->n % 2 ? t->seconds[t->n / 2] : 0.5 * (t->seconds[t->n / 2 - 1] + t->seconds[t->n / 2]);
    double spread = t->n > 1 && median > 0 ? (t->seconds[t->n - 1] - t->seconds[0]) / median : (double)NAN;
    double rate = median > 0 ? t->work / median : (double)NAN;
    double share = t->gflop > 0 && median > 0 ? t->gflop / median / b->ceiling : (double)NAN;
    const json_t *peer = b->peer ? json_object_get(b->peer, t->name) : NULL;
    double theirs = json_is_number(peer) ? json_number_value(peer) : (double)NAN,
           ratio = median > 0 ? theirs / median : (double)NAN;
    if (!b->c->json) {
        printf("%-30s  %10.3f ms  +-%3.0f %%  %10.4g %-10s", t->name, 1e3 * median, isfinite(spread) ? 50 * spread : 0,
               rate, t->unit);
        if (isfinite(share))
            printf("  %4.0f %% of ceiling", 100 * share);
        if (isfinite(ratio))
            printf("  peer %.3f ms, ratio %.2f", 1e3 * theirs, ratio);
        putchar('\n');
        fflush(stdout);
    }
    json_t *o = json_pack("{s:s, s:f, s:o, s:o, s:s, s:o, s:o, s:o}", "name", t->name, "median_seconds", median,
                          "spread", json_number(spread), "rate", json_number(rate), "unit", t->unit, "ceiling_share",
                          json_number(share), "peer", json_number(theirs), "ratio", json_number(ratio));
    if (o && (!isfinite(share) || !isfinite(ratio)))
        json_object_set_new(o, "why",
                            json_string(!isfinite(ratio) && !isfinite(share) ? "no operation count; no peer was timed"
                                        : !isfinite(share)                   ? "no operation count"
                                                                             : "no peer was timed"));
    if (json_array_append_new(b->results, o) < 0)
        FAIL(ERR_MEMORY, "no memory for the results");
    return signal_check();
}

/* ---- the ceiling
 * ---------------------------------------------------------------------------------------------------------------- */

static int measure_ceiling(struct bench *b)
{
    int64_t n = CEILING_SIDE;
    size_t bytes = (size_t)(n * n) * dtype_size(b->e->real);
    struct matmul_dims d = {.batch = 1, .m = n, .n = n, .k = n, .low = b->low, .alpha = 1};
    char *x = mem_calloc(3, bytes);
    double best = HUGE_VAL;
    if (!x)
        return ERR_MEMORY;
    b->e->fill(b->e, x, 0.5, 2 * n * n);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 24; i++) {
        double start = clock_seconds();
        rc = b->e->matmul(b->e, &d, x, x + bytes, x + 2 * bytes);
        double s = clock_seconds() - start;
        best = i && s < best ? s : best;
    }
    mem_free(x);
    TRY(rc);
    b->ceiling = 2e-9 * (double)(n * n) * (double)n / best;
    return 0;
}

/* ---- ops
 * -------------------------------------------------------------------------------------------------------------------------
 */

static int bench_op(struct bench *b, int i)
{
    char name[2][96];
    struct timing *t = arena_calloc(b->c->arena, 2, sizeof *t);
    double gflop = 0;
    if (!t)
        return ERR_MEMORY;
    for (int64_t k = 0; k <= b->o->runs; k++) {
        double forward, backward;
        TRY(op_table_speed(i, b->e, b->low, &forward, &backward, &gflop));
        if (k == 0)
            continue;
        t[0].seconds[t[0].n++] = forward;
        t[1].seconds[t[1].n++] = backward;
    }
    for (int s = 0; s < 2; s++) {
        snprintf(name[s], sizeof name[s], "%s.%s", op_table_name(i), s ? "backward" : "forward");
        t[s].name = name[s];
        t[s].gflop = t[s].work = gflop * (s ? 2 : 1); /* two products for each of the forward pass */
        t[s].unit = "GFLOP/s";
        if (!(gflop > 0)) {
            t[s].work = 1;
            t[s].unit = "calls/s";
        }
        TRY(note(b, &t[s]));
    }
    return 0;
}

static int bench_ops(struct bench *b)
{
    for (int i = 0; i < op_table_count(); i++) {
        struct arena_mark mark = arena_mark(b->c->arena);
        int rc = bench_op(b, i);
        if (rc == ERR_UNSUPPORTED) {
            log_info("%s: unsupported by engine %s", op_table_name(i), b->e->name);
            err_clear();
            rc = 0;
        }
        TRY(rc);
        arena_rewind(b->c->arena, mark);
    }
    return 0;
}

/* ---- clip
 * ------------------------------------------------------------------------------------------------------------------------
 */

/* Operations of one forward pass for one picture and one text, counted from the weights: each matrix is used once a
 * token. */
static void count_flop(const struct model *m, double *image, double *text)
{
    int64_t patch = 0, size = m->image_size;
    *image = *text = 0;
    if (json_field_int(json_object_get(m->config, "vision_config"), "patch_size", true, 1, size, &patch, "config") <
        0) {
        err_clear();
        return;
    }
    double tokens = (double)((size / patch) * (size / patch) + 1);
    for (int64_t k = 0; k < m->params.n; k++) {
        const struct param *p = &m->params.v[k];
        bool table = strstr(p->path, "position_embedding") || strstr(p->path, "token_embedding");
        bool once = strstr(p->path, "_projection") && !strstr(p->path, "layers");
        bool vision = strstr(p->path, "vision_model") || strstr(p->path, "visual_projection");
        if (p->n_dims < 2 || table)
            continue;
        double n = 2.0 * (double)p->n * 1e-9 * (once ? 1.0 : vision ? tokens : (double)m->context);
        *(vision ? image : text) += n;
    }
}

/* Noise pictures and texts of full length: the time does not depend on what they show. */
struct inputs {
    struct batch b;
    float *vectors;
};

static int make_inputs(struct bench *b, const struct model *m, struct inputs *in)
{
    int64_t n = b->o->batch, size = m->image_size, each = 3 * size * size;
    struct rng r = rng_stream((uint64_t)b->o->seed, RNG_TEST, 0, 0);
    struct arena *a = b->c->arena;
    in->b = (struct batch){.n = n, .context = m->context, .channels = 3, .height = size, .width = size};
    in->b.pixels = arena_calloc(a, (size_t)n, (size_t)each * sizeof(float));
    in->b.ids = arena_calloc(a, (size_t)n, (size_t)m->context * sizeof(int32_t));
    in->b.match = arena_calloc(a, (size_t)n, (size_t)n);
    in->b.image_rows = arena_calloc(a, (size_t)n, sizeof(int64_t));
    in->b.text_rows = arena_calloc(a, (size_t)n, sizeof(int64_t));
    in->vectors = arena_calloc(a, (size_t)n, (size_t)m->embed * sizeof(float));
    if (!in->b.pixels || !in->b.ids || !in->b.match || !in->b.image_rows || !in->b.text_rows || !in->vectors)
        return ERR_MEMORY;
    struct tokenizer_info info = m->tokenizer
                                     ? tokenizer_info(m->tokenizer)
                                     : (struct tokenizer_info){.start_id = 0, .end_id = (int32_t)m->vocab_size - 1};
    for (int64_t i = 0; i < n * each; i++)
        in->b.pixels[i] = (float)rng_normal(&r);
    for (int64_t i = 0; i < n; i++) {
        int32_t *ids = in->b.ids + i * m->context;
        for (int64_t j = 0; j < m->context; j++) {
            do {
                ids[j] = (int32_t)rng_below(&r, (uint64_t)m->vocab_size);
            } while (ids[j] == info.start_id || ids[j] == info.end_id);
        }
        ids[0] = info.start_id;
        ids[m->context - 1] = info.end_id;
        in->b.match[i * n + i] = 1;
        in->b.image_rows[i] = in->b.text_rows[i] = i;
    }
    return 0;
}

static int time_encoders(struct bench *b, struct model *m, struct inputs *in, const double flop[2])
{
    static const char *const names[2] = {"encode images", "encode texts"}, *const units[2] = {"images/s", "texts/s"};
    for (int side = 0; side < 2; side++) {
        struct timing *t = arena_calloc(b->c->arena, 1, sizeof *t);
        if (!t)
            return ERR_MEMORY;
        t->name = names[side];
        t->unit = units[side];
        t->work = (double)in->b.n;
        t->gflop = flop[side] * t->work;
        for (int64_t k = 0; k <= b->o->runs; k++) {
            double start = clock_seconds();
            TRY(side ? model_embed_ids(m, in->b.ids, in->b.n, m->context, b->low, in->vectors)
                     : model_embed_pixels(m, in->b.pixels, in->b.n, b->low, in->vectors));
            if (k)
                t->seconds[t->n++] = clock_seconds() - start;
        }
        TRY(note(b, t));
    }
    return 0;
}

static int time_step(struct bench *b, struct model *m, const struct inputs *in, double flop)
{
    const struct loss_kind *loss = loss_find("clip");
    struct optimizer_opt adamw = {0.9, 0.98, 1e-6, 0.2};
    struct optimizer optimizer = {0};
    struct step_opt opt = {.chunk = 0, .low = b->low};
    struct step *s = NULL;
    struct timing *t = arena_calloc(b->c->arena, 1, sizeof *t);
    void *loss_opt = arena_calloc(b->c->arena, 1, loss->size);
    if (!t || !loss_opt)
        return ERR_MEMORY;
    opt_defaults(loss->options, loss_opt);
    t->name = "train step";
    t->unit = "pairs/s";
    t->work = (double)in->b.n;
    t->gflop = 3 * flop * t->work; /* backward: two products for each one of the forward pass */
    int rc = step_open(&s, m, loss, loss_opt, &opt);
    if (rc == 0)
        rc = optimizer_open(&optimizer, &m->params);
    for (int64_t k = 0; rc == 0 && k <= b->o->runs; k++) {
        double value, start = clock_seconds();
        params_zero_grad(&m->params);
        rc = step_run(s, &in->b, 0, k, (uint64_t)b->o->seed, &value);
        if (rc == 0)
            optimizer_step(&optimizer, m->engine, &m->params, &adamw, 1e-6, 1.0);
        if (k)
            t->seconds[t->n++] = clock_seconds() - start;
    }
    if (rc == 0)
        rc = note(b, t);
    optimizer_close(&optimizer);
    step_close(&s);
    return rc;
}

static int bench_clip(struct bench *b)
{
    struct model *m = NULL;
    struct inputs in = {0};
    double flop[2];
    TRY(model_open(&m, b->o->model ? b->o->model : "emoji", b->e));
    count_flop(m, &flop[0], &flop[1]);
    int rc = make_inputs(b, m, &in);
    if (rc == 0)
        rc = time_encoders(b, m, &in, flop);
    if (rc == 0)
        rc = time_step(b, m, &in, flop[0] + flop[1]);
    model_close(&m);
    return rc;
}

/* ---- the command
 * ------------------------------------------------------------------------------------------------------------------ */

static const struct suite {
    const char *name;
    int (*run)(struct bench *b);
} suites[] = {{"ops", bench_ops}, {"clip", bench_clip}};

static int find_suite(const char *name, const struct suite **out)
{
    const char *names[ARRAY_LEN(suites)];
    char safe[80];
    for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
        names[i] = suites[i].name;
        if (strcmp(name, suites[i].name))
            continue;
        *out = &suites[i];
        return 0;
    }
    const char *near = str_nearest(name, names, (int)ARRAY_LEN(names));
    str_safe(safe, sizeof safe, name);
    FAIL(ERR_USAGE, "unknown suite \"%s\"%s%s%s; there are: ops, clip", safe, near ? " (did you mean \"" : "",
         near ? near : "", near ? "\"?)" : "");
}

static int run(struct cli *c)
{
    struct bench b = {.c = c, .o = c->opt};
    const struct suite *suite = NULL;
    TRY(cli_words(c, 1, 1, "the suite (ops, clip)"));
    TRY(find_suite(c->args.v[0], &suite));
    TRY(cli_engine(&b.o->engine, &b.e, &b.low));
    if (b.o->peer)
        TRY(json_read_file(&b.peer, b.o->peer));
    b.results = json_array();
    int rc = measure_ceiling(&b);
    if (rc == 0)
        log_info("engine %s: %s, %s; ceiling %.1f GFLOP/s (matrix product of %d)", b.e->name, engine_describe(b.e),
                 b.o->engine.dtype, b.ceiling, CEILING_SIDE);
    if (rc == 0)
        rc = suite->run(&b);
    if (rc == 0 && c->json)
        rc = cli_put_json(json_pack("{s:s, s:s, s:s, s:s, s:f, s:O}", "suite", suite->name, "engine", b.e->name,
                                    "machine", engine_describe(b.e), "dtype", b.o->engine.dtype, "ceiling_gflops",
                                    b.ceiling, "results", b.results));
    json_decref(b.results);
    json_decref(b.peer);
    return rc;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "how fast, against this machine's ceiling",
    .usage = "SUITE (ops or clip)",
    .notes = "Ratio > 1: we are faster than the peer. Leave the machine alone while it runs.\n",
    .example = "meridian bench clip --model emoji --dtype bf16 --json",
    .options = options,
    .size = sizeof(struct bench_opt),
    .computes = true,
    .run = run,
};
