/* cli/cmd_sample.c: draws from one item's distribution, and the items nearest to each. */
#include "cli/adapters.h"

#include <string.h>

struct sample_cmd {
    const char *side, *region, *out, *strip, *path_base;
    int64_t row, n, seed;
    bool force;
    struct set_opt set;
    struct engine_opt engine;
};
#define F(field) offsetof(struct sample_cmd, field)
static const struct opt options[] = {
    {"row", 'r', OPT_INT, F(row), "-1", -1, 1e12, NULL, "N", "the item"},
    {"side", 0, OPT_CHOICE, F(side), "text", 0, 0, "image|text", NULL, "the side that --row counts in"},
    {"draws", 'n', OPT_INT, F(n), "16", 1, 1000000, NULL, "N", "so many draws"},
    {"region", 0, OPT_CHOICE, F(region), "all", 0, 0, "near|all|tail", NULL,
     "near: the middle half of each dimension; tail: beyond its middle nine tenths"},
    PATH_OPTION("out", struct sample_cmd, out, "FILE.npy", "the draws, unit vectors, one a row"),
    PATH_OPTION("strip", struct sample_cmd, strip, "FILE.svg",
                "the pictures nearest to draws near the mean and in the tail, and FILE.tsv"),
    PATH_OPTION("path-base", struct sample_cmd, path_base, "DIR", "where relative paths of pictures start"),
    SEED_OPTION(struct sample_cmd, seed),
    SET_OPTIONS(struct sample_cmd, set),
    FORCE_OPTION(struct sample_cmd, force),
    ENGINE_OPTIONS(struct sample_cmd, engine),
    {0},
};
#undef F

/* hits [o->n]: the picture nearest to each draw. */
static int nearest(const struct sample_cmd *o, const struct set *s, const float *x, struct hit *hits)
{
    float *bank = mem_calloc((size_t)(s->image.n * s->width) + 1, sizeof *bank);
    if (!bank)
        return ERR_MEMORY;
    memcpy(bank, s->image.x, (size_t)(s->image.n * s->width) * sizeof *bank);
    for (int64_t i = 0; i < s->image.n; i++)
        if (space_normalize(bank + i * s->width, 1, s->width, NULL) < 0)
            err_clear(); /* a zero row is near nothing */
    int rc = space_topk(x, o->n, bank, s->image.n, s->width, 1, hits);
    mem_free(bank);
    return rc;
}

static int write_strip(struct adapter *a, const struct sample_cmd *o, const struct set *s, int side, float *x)
{
    static const char *const regions[2] = {"near", "tail"};
    char base[2048];
    struct hit *hits = mem_calloc((size_t)o->n, 2 * sizeof *hits);
    struct fig_draws in = {
        .side = side, .row = o->row, .n = o->n, .name = {"near the mean", "in the tail"}, .hits = {hits, hits + o->n}};
    int rc = hits ? 0 : ERR_MEMORY;
    for (int k = 0; k < 2 && rc == 0; k++) {
        rc = adapt_sample(a, s, side, o->row, o->n, regions[k], (uint64_t)o->seed, x);
        if (rc == 0)
            rc = nearest(o, s, x, hits + k * o->n);
    }
    if (rc == 0)
        rc = cli_put_figure(
            figure_draws_svg,
            &(struct fig_in){.set = s, .draws = &in, .path_base = cli_set_base(s, o->path_base, base, sizeof base)},
            o->strip);
    mem_free(hits);
    return rc;
}

static int report(const struct cli *c, const struct sample_cmd *o, struct set *s, const float *x)
{
    struct hit *hits = mem_calloc((size_t)o->n, sizeof *hits);
    int rc = hits ? nearest(o, s, x, hits) : ERR_MEMORY;
    json_t *list = c->json ? json_array() : NULL;
    for (int64_t i = 0; i < o->n && rc == 0; i++) {
        const char *name = hits[i].row >= 0 ? cli_row_name(s, false, hits[i].row, "") : "";
        if (c->json)
            json_array_append_new(list,
                                  json_pack("{s:I, s:I, s:f, s:s}", "draw", (json_int_t)i, "image",
                                            (json_int_t)hits[i].row, "cosine", (double)hits[i].score, "name", name));
        else
            printf("draw %3lld  nearest picture %lld  cosine %.4f  %s\n", (long long)i, (long long)hits[i].row,
                   (double)hits[i].score, name);
    }
    if (rc == 0 && c->json)
        rc = cli_put_json(json_pack("{s:s, s:I, s:s, s:s, s:O}", "side", o->side, "row", (json_int_t)o->row, "region",
                                    o->region, "out", o->out, "draws", list));
    json_decref(list);
    mem_free(hits);
    return rc;
}

static int run(struct cli *c)
{
    const struct sample_cmd *o = c->opt;
    struct adapter *a = NULL;
    struct set *s = NULL;
    float *x = NULL;
    int side;
    TRY(cli_need(c, o->out, "--out"));
    TRY(cli_need(c, o->row >= 0 ? "" : NULL, "--row"));
    TRY(path_check_output(o->out, o->force));
    if (o->strip)
        TRY(cli_check_figure(o->strip, o->out, o->force));
    TRY(adapters_open(c, &o->set, &o->engine, &a, &s));
    const int64_t shape[2] = {o->n, s->width};
    int rc = adapters_row(s, o->side, o->row, &side);
    if (rc == 0) {
        x = mem_calloc((size_t)o->n, (size_t)s->width * sizeof *x);
        rc = x ? adapt_sample(a, s, side, o->row, o->n, o->region, (uint64_t)o->seed, x) : ERR_MEMORY;
    }
    if (rc == 0)
        rc = npy_write(o->out, DT_F32, 2, shape, x);
    if (rc == 0)
        rc = report(c, o, s, x);
    if (rc == 0 && o->strip)
        rc = write_strip(a, o, s, side, x);
    mem_free(x);
    set_close(&s);
    adapt_close(&a);
    return rc;
}

const struct command command_sample = {
    .name = "sample",
    .summary = "draws from one item's distribution, and the pictures nearest to them",
    .usage = "ADAPTER (SET | --images A.npy --texts B.npy) --row N --out FILE.npy [--strip FILE.svg]",
    .example = "meridian sample adapter test-set --row 5 -n 16 --region near --out draws.npy",
    .options = options,
    .size = sizeof(struct sample_cmd),
    .computes = true,
    .run = run,
};
