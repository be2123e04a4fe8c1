/* cli/cmd_likelihood.c: how likely every other item is under one item's distribution: those of the other side as a
 * table, both sides as histograms. */
#include "cli/adapters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct likelihood_cmd {
    const char *side, *out, *figure;
    int64_t row, top;
    bool force;
    struct set_opt set;
    struct engine_opt engine;
};
#define F(field) offsetof(struct likelihood_cmd, field)
static const struct opt options[] = {
    {"row", 'r', OPT_INT, F(row), "-1", -1, 1e12, NULL, "N", "the item"},
    {"side", 0, OPT_CHOICE, F(side), "image", 0, 0, "image|text", NULL, "the side that --row counts in"},
    {"top", 'k', OPT_INT, F(top), "10", 0, 1000000, NULL, "N", "so many of the likeliest are shown"},
    PATH_OPTION("out", struct likelihood_cmd, out, "FILE.csv", "all of them, in the order of the rows"),
    PATH_OPTION("figure", struct likelihood_cmd, figure, "FILE.svg",
                "histograms of both sides' other items, the item's own marked, and FILE.tsv"),
    SET_OPTIONS(struct likelihood_cmd, set),
    FORCE_OPTION(struct likelihood_cmd, force),
    ENGINE_OPTIONS(struct likelihood_cmd, engine),
    {0},
};
#undef F

/* own [of the other side]: which items are paired with the row. */
static void mark_own(const struct set *s, int side, int64_t row, bool *own)
{
    for (int64_t k = 0; k < s->n_pairs; k++) {
        int64_t a = side == SIDE_TEXT ? s->pairs[k].text : s->pairs[k].image;
        int64_t b = side == SIDE_TEXT ? s->pairs[k].image : s->pairs[k].text;
        if (a == row)
            own[b] = true;
    }
}

static int write_table(const struct likelihood_cmd *o, const struct set *s, int side, const double *l, const bool *own,
                       int64_t n)
{
    static const char *const columns[] = {"row", "log_likelihood", "pair", "name"};
    struct table_writer *w;
    int rc = 0;
    TRY(table_writer_open(&w, o->out, (int)ARRAY_LEN(columns), columns));
    for (int64_t i = 0; i < n && rc == 0; i++) {
        char row[32], value[32];
        snprintf(row, sizeof row, "%lld", (long long)i);
        snprintf(value, sizeof value, "%.9g", l[i]);
        const char *const cells[] = {row, value, own[i] ? "1" : "0", cli_row_name(s, side == SIDE_IMAGE, i, "")};
        rc = table_writer_row(w, cells);
    }
    if (rc == 0)
        return table_writer_commit(&w);
    table_writer_abort(&w);
    return rc;
}

struct place {
    double l;
    int64_t row;
};

static int by_likelihood(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    return p->l != q->l ? (p->l > q->l ? -1 : 1) : p->row < q->row ? -1 : p->row > q->row;
}

static int report(const struct cli *c, const struct likelihood_cmd *o, const struct set *s, int side, const double *l,
                  const bool *own, int64_t n)
{
    double mean = 0, best = -INFINITY;
    int64_t rank = -1;
    struct place *order = mem_calloc((size_t)n + 1, sizeof *order);
    if (!order)
        return ERR_MEMORY;
    json_t *list = c->json ? json_array() : NULL;
    for (int64_t i = 0; i < n; i++) {
        mean += l[i] / (double)n;
        order[i] = (struct place){l[i], i};
        if (own[i] && l[i] > best)
            best = l[i];
    }
    for (int64_t i = 0; i < n && isfinite(best); i++)
        rank = (rank < 0 ? 0 : rank) + (l[i] > best);
    qsort(order, (size_t)n, sizeof *order, by_likelihood);
    if (!c->json)
        printf("%lld items, mean log-likelihood %.4f per dimension; ", (long long)n, mean);
    if (!c->json && rank < 0)
        printf("no pair says which is the item's own\n");
    else if (!c->json)
        printf("the item's own: %.4f, %lld before it\n", best, (long long)rank);
    for (int64_t k = 0; k < o->top && k < n; k++) {
        int64_t last = order[k].row;
        const char *name = cli_row_name(s, side == SIDE_IMAGE, last, ""), *pair = own[last] ? "  own" : "";
        if (c->json)
            json_array_append_new(list, json_pack("{s:I, s:f, s:b, s:s}", "row", (json_int_t)last, "log_likelihood",
                                                  l[last], "pair", *pair != 0, "name", name));
        else
            printf("%4lld  %10.4f%s  %s\n", (long long)last, l[last], pair, name);
    }
    mem_free(order);
    if (!c->json)
        return 0;
    int rc = cli_put_json(json_pack("{s:s, s:I, s:o, s:o, s:o, s:O}", "side", o->side, "row", (json_int_t)o->row,
                                    "mean", json_number(mean), "own", json_number(best), "before_own",
                                    rank < 0 ? json_null() : json_integer(rank), "likeliest", list));
    json_decref(list);
    return rc;
}

static int write_figure(const struct likelihood_cmd *o, const struct set *s, int side, double *const l[2],
                        const bool *own)
{
    const struct fig_likelihood in = {
        .side = side, .row = o->row, .n = {s->image.n, s->text.n}, .l = {l[0], l[1]}, .own = own};
    return cli_put_figure(figure_likelihood_svg, &(struct fig_in){.set = s, .likelihood = &in}, o->figure);
}

static int work(const struct cli *c, const struct likelihood_cmd *o, struct adapter *a, const struct set *s)
{
    int side, rc = 0;
    TRY(adapters_row(s, o->side, o->row, &side));
    int64_t n[2] = {s->image.n, s->text.n};
    double *l[2] = {mem_calloc((size_t)n[0] + 1, sizeof(double)), mem_calloc((size_t)n[1] + 1, sizeof(double))};
    bool *own = mem_calloc((size_t)n[!side] + 1, sizeof *own);
    if (!l[0] || !l[1] || !own)
        rc = ERR_MEMORY;
    for (int of = 0; of < 2 && rc == 0; of++)
        if (of != side || o->figure)
            rc = adapt_likelihood(a, s, side, o->row, of, l[of]);
    if (rc == 0)
        mark_own(s, side, o->row, own);
    if (rc == 0 && o->out)
        rc = write_table(o, s, side, l[!side], own, n[!side]);
    if (rc == 0 && o->figure)
        rc = write_figure(o, s, side, l, own);
    if (rc == 0)
        rc = report(c, o, s, side, l[!side], own, n[!side]);
    mem_free(l[0]);
    mem_free(l[1]);
    mem_free(own);
    return rc;
}

static int run(struct cli *c)
{
    const struct likelihood_cmd *o = c->opt;
    struct adapter *a = NULL;
    struct set *s = NULL;
    TRY(cli_need(c, o->row >= 0 ? "" : NULL, "--row"));
    if (o->out)
        TRY(path_check_output(o->out, o->force));
    if (o->figure)
        TRY(cli_check_figure(o->figure, o->out, o->force));
    TRY(adapters_open(c, &o->set, &o->engine, &a, &s));
    int rc = work(c, o, a, s);
    set_close(&s);
    adapt_close(&a);
    return rc;
}

const struct command command_likelihood = {
    .name = "likelihood",
    .summary = "how likely the other side's items are under one item's distribution",
    .usage = "ADAPTER (SET | --images A.npy --texts B.npy) --row N [--out FILE.csv] [--figure FILE.svg]",
    .example = "meridian likelihood adapter test-set --row 5 --out likelihood.csv",
    .options = options,
    .size = sizeof(struct likelihood_cmd),
    .computes = true,
    .run = run,
};
