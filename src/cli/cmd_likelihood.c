/* cli/cmd_likelihood.c: how likely every item of the other side is under one item's distribution. */
#include "cli/adapters.h"

#include <math.h>
#include <string.h>

struct likelihood_cmd {
    const char *side, *out;
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

/* Rows in falling order of likelihood: the next one after (last, row), ties by row. -1: none. */
static int64_t next_best(const double *l, int64_t n, int64_t last)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        bool after = last < 0 || l[i] < l[last] || (l[i] == l[last] && i > last);
        if (after && (best < 0 || l[i] > l[best]))
            best = i;
    }
    return best;
}

static int report(const struct cli *c, const struct likelihood_cmd *o, const struct set *s, int side, const double *l,
                  const bool *own, int64_t n)
{
    double mean = 0, best = -INFINITY;
    int64_t rank = -1, last = -1;
    json_t *list = c->json ? json_array() : NULL;
    for (int64_t i = 0; i < n; i++) {
        mean += l[i] / (double)n;
        if (own[i] && l[i] > best)
            best = l[i];
    }
    for (int64_t i = 0; i < n && isfinite(best); i++)
        rank = (rank < 0 ? 0 : rank) + (l[i] > best);
    if (!c->json)
        printf("%lld items, mean log-likelihood %.4f per dimension; the item's own: %.4f, %lld before it\n",
               (long long)n, mean, best, (long long)rank);
    for (int64_t k = 0; k < o->top && (last = next_best(l, n, last)) >= 0; k++) {
        const char *name = cli_row_name(s, side == SIDE_IMAGE, last, ""), *pair = own[last] ? "  own" : "";
        if (c->json)
            json_array_append_new(list, json_pack("{s:I, s:f, s:b, s:s}", "row", (json_int_t)last, "log_likelihood",
                                                  l[last], "pair", *pair != 0, "name", name));
        else
            printf("%4lld  %10.4f%s  %s\n", (long long)last, l[last], pair, name);
    }
    if (!c->json)
        return 0;
    int rc = cli_put_json(json_pack("{s:s, s:I, s:o, s:o, s:o, s:O}", "side", o->side, "row", (json_int_t)o->row,
                                    "mean", json_number(mean), "own", json_number(best), "before_own",
                                    rank < 0 ? json_null() : json_integer(rank), "likeliest", list));
    json_decref(list);
    return rc;
}

static int run(struct cli *c)
{
    const struct likelihood_cmd *o = c->opt;
    struct adapter *a = NULL;
    struct set *s = NULL;
    int side;
    TRY(cli_need(c, o->row >= 0 ? "" : NULL, "--row"));
    if (o->out)
        TRY(path_check_output(o->out, o->force));
    TRY(adapters_open(c, &o->set, &o->engine, &a, &s));
    int rc = adapters_row(s, o->side, o->row, &side);
    int64_t n = rc == 0 && side == SIDE_TEXT ? s->image.n : s->text.n;
    double *l = mem_calloc((size_t)n + 1, sizeof *l);
    bool *own = mem_calloc((size_t)n + 1, sizeof *own);
    if (rc == 0 && (!l || !own))
        rc = ERR_MEMORY;
    if (rc == 0)
        mark_own(s, side, o->row, own);
    if (rc == 0)
        rc = adapt_likelihood(a, s, side, o->row, l);
    if (rc == 0 && o->out)
        rc = write_table(o, s, side, l, own, n);
    if (rc == 0)
        rc = report(c, o, s, side, l, own, n);
    mem_free(l);
    mem_free(own);
    set_close(&s);
    adapt_close(&a);
    return rc;
}

const struct command command_likelihood = {
    .name = "likelihood",
    .summary = "how likely the other side's items are under one item's distribution",
    .usage = "ADAPTER (SET | --images A.npy --texts B.npy) --row N [--out FILE.csv]",
    .example = "meridian likelihood adapter test-set --row 5 --out likelihood.csv",
    .options = options,
    .size = sizeof(struct likelihood_cmd),
    .computes = true,
    .run = run,
};
