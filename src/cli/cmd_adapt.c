/* cli/cmd_adapt.c: a distribution in place of each vector: fits an adapter to the pairs of a set. */
#include "cli/adapters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct adapt_cmd {
    const char *on, *out, *average, *weights;
    bool force, resume;
    struct set_opt set;
    struct engine_opt engine;
    struct adapt_opt adapt;
};
#define F(field) offsetof(struct adapt_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("on", struct adapt_cmd, on, "SET", "the set whose pairs are learned from"),
    SET_OPTIONS(struct adapt_cmd, set),
    PATH_OPTION("out", struct adapt_cmd, out, "ADAPTER",
                "the folder to write: adapter.json, adapter.safetensors, run.jsonl"),
    PATH_OPTION("average", struct adapt_cmd, average, "A,B[,C...]",
                "instead of fitting: the mean of the weights of these adapters, of one design"),
    PATH_OPTION("weights", struct adapt_cmd, weights, "X,Y[,Z...]", "average: their shares; equal when not given"),
    FORCE_OPTION(struct adapt_cmd, force),
    {"resume", 0, OPT_BOOL, F(resume), NULL, 0, 0, NULL, NULL, "go on with unfinished work (done without asking, too)"},
    ENGINE_OPTIONS(struct adapt_cmd, engine),
    {0},
};
#undef F

static int open_set(struct cli *c, const struct adapt_cmd *o, struct set **s)
{
    if (!o->on)
        return cli_set(c, &o->set, s);
    TRY(cli_words(c, 0, 0, ""));
    if (o->set.images || o->set.texts || o->set.pairs)
        FAIL(ERR_USAGE, "--on names a set, --images and --texts stand in its place: give one of them");
    return set_open(s, o->on);
}

static int report(const struct cli *c, const struct adapt_cmd *o, const struct adapt_result *r)
{
    if (c->json) {
        json_t *j = adapt_result_to_json(r, o->adapt.method);
        if (j)
            json_object_set_new(j, "out", json_string(o->out));
        return cli_put_json(j);
    }
    printf("pairs             %lld, %lld to judge by\n", (long long)r->n_train, (long long)r->n_validation);
    printf("steps             %lld in %.1f s\n", (long long)r->steps, r->seconds);
    if (isfinite(r->final_loss)) /* a method may have nothing to train */
        printf("final loss        %.6g\n", r->final_loss);
    if (isfinite(r->validation))
        printf("validation        %.6g (epoch %lld, kept)\n", r->validation, (long long)r->best_epoch);
    printf("adapter           %s\n", o->out);
    return 0;
}

/* ---- the mean of several ---- */

enum { MOST = 64 };

/* The words of a list with commas. */
static int split_list(struct arena *a, const char *name, const char *list, const char **words, int *n)
{
    char *copy = arena_strdup(a, list);
    if (!copy)
        return ERR_MEMORY;
    *n = 0;
    for (char *p = copy, *next; p; p = next) {
        next = strchr(p, ',');
        if (next)
            *next++ = 0;
        if (*n == MOST || !*p)
            FAIL(ERR_USAGE, "option --%s: \"%.200s\" %s", name, list,
                 *p ? "has more than 64 entries" : "has an empty entry");
        words[(*n)++] = p;
    }
    return 0;
}

static int average(struct cli *c, const struct adapt_cmd *o, const struct engine *e)
{
    const char *dirs[MOST], *words[MOST];
    double weights[MOST];
    int n, n_weights = 0;
    TRY(cli_words(c, 0, 0, ""));
    if (o->on || o->set.images || o->set.texts || o->set.pairs)
        FAIL(ERR_USAGE, "--average takes adapters, --on a set to learn from: give one of them");
    TRY(split_list(c->arena, "average", o->average, dirs, &n));
    if (o->weights)
        TRY(split_list(c->arena, "weights", o->weights, words, &n_weights));
    if (o->weights && n_weights != n)
        FAIL(ERR_USAGE, "option --weights has %d numbers, expected %d, one for each adapter", n_weights, n);
    for (int k = 0; k < n_weights; k++) {
        char *end;
        weights[k] = strtod(words[k], &end);
        if (end == words[k] || *end)
            FAIL(ERR_USAGE, "option --weights: \"%.40s\" is no number", words[k]);
    }
    TRY(adapt_average(dirs, o->weights ? weights : NULL, n, e, o->out, o->force));
    if (c->json)
        return cli_put_json(json_pack("{s:i, s:s}", "adapters", n, "out", o->out));
    printf("mean of %d adapters: %s\n", n, o->out);
    return 0;
}

static int run(struct cli *c)
{
    const struct adapt_cmd *o = c->opt;
    const struct engine *e;
    struct adapt_result r;
    struct set *s = NULL;
    struct adapt_opt adapt = o->adapt;
    TRY(cli_need(c, o->out, "--out"));
    if (o->resume && o->force)
        FAIL(ERR_USAGE, "--resume goes on with unfinished work, --force begins it anew: give one of them");
    TRY(cli_engine(&o->engine, &e, &adapt.low));
    if (o->average)
        return average(c, o, e);
    if (o->weights)
        FAIL(ERR_USAGE, "option --weights belongs to --average");
    TRY(open_set(c, o, &s));
    int rc = adapt_fit(s, &adapt, e, o->out, o->force, &r);
    if (rc == 0)
        rc = report(c, o, &r);
    set_close(&s);
    return rc;
}

static void list_methods(struct str *b)
{
    str_add(b, "\nmethods (docs/methods/probvlm.md):\n");
    adapt_add_methods(b);
}

const struct command command_adapt = {
    .name = "adapt",
    .summary = "fit distributions in place of a set's vectors (ProbVLM, PCME++, GroVE, BayesVLM ...)",
    .usage = "(--on SET | --images A.npy --texts B.npy [--pairs P.csv] | --average A,B[,C...]) --out ADAPTER",
    .notes =
        "An ensemble is a folder of adapters and an adapter itself; so is the mean of several.\n"
        "Ctrl-C keeps the work of a network in ADAPTER.partial, and so does every minute: the same command goes on to\n"
        "the same adapter, bit for bit. Other methods, and ensembles, leave nothing behind.\n",
    .add_help = list_methods,
    .example = "meridian adapt --on train-set --method probvlm --out adapter",
    .options = options,
    .size = sizeof(struct adapt_cmd),
    .more = adapt_options,
    .more_at = offsetof(struct adapt_cmd, adapt),
    .computes = true,
    .run = run,
};
