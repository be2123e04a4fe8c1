/* cli/cmd_select.c: active learning: which rows of an unlabelled pool a person should label next, one-shot or round by
 * round (--labelled says what is done already). With --simulate the whole game is played on a set whose pairs are known
 * (select_simulate.c). */
#include "cli/select_cmd.h"

#include <string.h>

#define F(field) offsetof(struct select_cmd, field)
static const struct opt options[] = {
    {"strategy", 0, OPT_STR, F(strategy), NULL, 0, 0, NULL, "NAME",
     "which rows; listed below. --simulate: several with commas, random is added"},
    {"budget", 'n', OPT_INT, F(budget), "50", 1, 10000000, NULL, "N", "rows to choose (--simulate: each round)"},
    {"side", 0, OPT_CHOICE, F(side), "image", 0, 0, "image|text", NULL, "which side's rows"},
    PATH_OPTION("rows", struct select_cmd, rows, "FILE",
                "the pool: rows, one a line, or a table with the column row; all rows when not given"),
    {"labelled", 0, OPT_LIST, F(labelled), NULL, 0, 0, NULL, "FILE...",
     "rows that have labels: not chosen again, nor copies of them; what this command wrote will do"},
    PATH_OPTION("adapter", struct select_cmd, adapter, "ADAPTER", "of strategies uncertainty, bald and epig"),
    PATH_OPTION("classes", struct select_cmd, classes, "SET",
                "cosine, margin, entropy: its items are the possible answers; without it the set's own"),
    PATH_OPTION("target", struct select_cmd, target, "SET", "epig: whose labels count; without it the pool's own"),
    {"temperature", 0, OPT_REAL, F(temperature), "0", 0, 1000, NULL, "X",
     "of the softmax of entropy; 0: the model's own, or 0.01"},
    {"spread", 0, OPT_REAL, F(spread), "1", 1, 1000, NULL, "X",
     "above 1: the X times budget best rows are candidates, and of these the ones farthest apart are taken"},
    PATH_OPTION("out", struct select_cmd, out, "FILE.csv",
                "columns row, rank, score, name; --simulate: the curves, .csv or .tsv"),
    {"simulate", 0, OPT_BOOL, F(simulate), NULL, 0, 0, NULL, NULL,
     "hide the labels of a set, let the strategies choose, train heads, measure"},
    {"rounds", 0, OPT_INT, F(rounds), "5", 1, 1000, NULL, "N", "simulate: rounds"},
    {"initial", 0, OPT_INT, F(initial), "-1", -1, 10000000, NULL, "N",
     "simulate: random labels to begin with; -1: as many as the budget"},
    {"seeds", 0, OPT_INT, F(seeds), "5", 1, 64, NULL, "N", "simulate: repetitions, from --seed on"},
    {"split-column", 0, OPT_STR, F(split_column), NULL, 0, 0, NULL, "A,B",
     "simulate: columns of the pictures that say train (the pool), validation or test, one a seed, in turn; without "
     "them 60:20:20 by seed"},
    PATH_OPTION("table", struct select_cmd, table, "F.csv", "simulate: the table with these columns, beside the set"),
    {"warm", 0, OPT_BOOL, F(warm), NULL, 0, 0, NULL, NULL, "simulate: heads go on from the round before"},
    {"head", 0, OPT_CHOICE, F(heads.head), "linear", 0, 0, "linear|mlp", NULL, "simulate: the heads, as of train"},
    {"hidden", 0, OPT_INT, F(heads.hidden), "0", 0, 65536, NULL, "N", "simulate: as of train"},
    {"loss", 0, OPT_STR, F(loss), "clip", 0, 0, NULL, "NAME", "simulate: objective, as of train"},
    {"loss-opt", 0, OPT_LIST, F(loss_opt), NULL, 0, 0, NULL, "KEY=VALUE", "simulate: options of the objective"},
    {"epochs", 'e', OPT_INT, F(epochs), "15", 1, 100000, NULL, "N", "simulate: passes, at least 100 steps"},
    {"lr", 0, OPT_REAL, F(lr), "3e-4", 0, 1, NULL, "X", "simulate: learning rate"},
    {"batch", 'b', OPT_INT, F(batch), "128", 2, 1 << 20, NULL, "N", "simulate: pairs in a batch"},
    {"adapter-method", 0, OPT_STR, F(refit.method), NULL, 0, 0, NULL, "NAME",
     "simulate: in place of --adapter, one of this method is fitted to the labelled pairs each round"},
    {"adapter-epochs", 0, OPT_INT, F(adapter_epochs), "50", 1, 100000, NULL, "N", "simulate: its passes"},
    PATH_OPTION("figure", struct select_cmd, figure, "F.svg", "simulate: the curves; their numbers go to F.tsv"),
    SEED_OPTION(struct select_cmd, seed),
    SET_OPTIONS(struct select_cmd, set),
    FORCE_OPTION(struct select_cmd, force),
    ENGINE_OPTIONS(struct select_cmd, engine),
    {0},
};
#undef F

/* ---- lists of rows */

static int mark(const char *path, const char *side, int64_t n, uint8_t *marks)
{
    struct table t;
    TRY(table_read_with(&t, path, &(struct table_opt){.sep = str_ends(path, ".tsv") ? '\t' : ',', .numbered = "row"}));
    int col = table_col(&t, "row"), rc = 0;
    for (int64_t i = 0; i < t.n_rows && rc == 0; i++) {
        int64_t row;
        rc = table_int(&t, i, col < 0 ? 0 : col, 0, n - 1, &row);
        if (rc == 0)
            marks[row] = 1;
        else
            err_while(rc, "reading %s rows", side);
    }
    table_free(&t);
    return rc;
}

/* The pool and what is labelled, ascending; a row in both is labelled. */
static int read_lists(struct cli *c, const struct select_cmd *o, int64_t n, struct select_in *in)
{
    uint8_t *pool = arena_calloc(c->arena, (size_t)n + 1, 1), *known = arena_calloc(c->arena, (size_t)n + 1, 1);
    int64_t *rows = arena_alloc(c->arena, 2 * ((size_t)n + 1) * sizeof *rows);
    if (!pool || !known || !rows)
        return ERR_MEMORY;
    if (o->rows)
        TRY(mark(o->rows, o->side, n, pool));
    for (int i = 0; i < o->labelled.n; i++)
        TRY(mark(o->labelled.v[i], o->side, n, known));
    in->pool = rows;
    in->labelled = rows + n;
    for (int64_t i = 0; i < n; i++)
        if (known[i])
            rows[n + in->n_labelled++] = i;
        else if (pool[i] || !o->rows)
            rows[in->n_pool++] = i;
    return 0;
}

/* ---- what was chosen */

enum { N_COLS = 4 };
static const char *const columns[N_COLS] = {"row", "rank", "score", "name"};

static const char *name_of(const struct set *s, int side, int64_t row)
{
    return cli_row_name(s, side == SIDE_TEXT, row, "");
}

static int write_csv(struct cli *c, const struct select_cmd *o, const struct set *s, int side,
                     const struct select_row *chosen, int64_t n)
{
    const char **cells = arena_calloc(c->arena, (size_t)n + 1, N_COLS * sizeof *cells);
    if (!cells)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        char text[3][32];
        snprintf(text[0], sizeof text[0], "%lld", (long long)chosen[i].row);
        snprintf(text[1], sizeof text[1], "%lld", (long long)i + 1);
        snprintf(text[2], sizeof text[2], "%.9g", chosen[i].score);
        for (int k = 0; k < 3; k++) {
            cells[i * N_COLS + k] = arena_strdup(c->arena, text[k]);
            if (!cells[i * N_COLS + k])
                return ERR_MEMORY;
        }
        cells[i * N_COLS + 3] = name_of(s, side, chosen[i].row);
    }
    return table_write(o->out, N_COLS, columns, n, cells);
}

static int report(struct cli *c, const struct select_cmd *o, const struct select_in *in, const char *strategy,
                  const struct select_row *chosen, int64_t n)
{
    char name[256];
    if (c->json) {
        json_t *rows = json_array(), *scores = json_array();
        for (int64_t i = 0; i < n; i++) {
            json_array_append_new(rows, json_integer(chosen[i].row));
            json_array_append_new(scores, json_number(chosen[i].score));
        }
        return cli_put_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:s*}", "set", in->set->path, "strategy",
                                      strategy, "side", o->side, "n_pool", (json_int_t)in->n_pool, "n_labelled",
                                      (json_int_t)in->n_labelled, "rows", rows, "scores", scores, "out", o->out));
    }
    if (o->out) {
        printf("%lld of %lld rows in %s\n", (long long)n, (long long)in->n_pool, o->out);
        return 0;
    }
    printf("%5s  %8s  %-10s  %s\n", "", "row", "score", "name");
    for (int64_t i = 0; i < n; i++) {
        str_safe(name, sizeof name, name_of(in->set, in->side, chosen[i].row));
        printf("%5lld  %8lld  %-10.5g  %s\n", (long long)i + 1, (long long)chosen[i].row, chosen[i].score, name);
    }
    return 0;
}

static int choose(struct cli *c, const struct select_cmd *o, struct select_in *in)
{
    struct select_opt opt = {
        .budget = o->budget, .temperature = o->temperature, .spread = o->spread, .seed = (uint64_t)o->seed};
    int64_t n = 0;
    TRY(select_find(o->strategy, &opt.strategy));
    TRY(read_lists(c, o, in->side == SIDE_TEXT ? in->set->text.n : in->set->image.n, in));
    if (in->n_pool == 0)
        FAIL(ERR_USAGE, "no row is left to choose from: %lld are labelled", (long long)in->n_labelled);
    if (opt.budget > in->n_pool)
        opt.budget = in->n_pool;
    struct select_row *chosen = arena_alloc(c->arena, (size_t)opt.budget * sizeof *chosen);
    if (!chosen)
        return ERR_MEMORY;
    TRY(select_rows(in, &opt, chosen, &n));
    if (n < o->budget)
        log_warn("%lld rows chosen and not %lld: the others are copies of labelled or chosen ones, or there are none",
                 (long long)n, (long long)o->budget);
    if (o->out)
        TRY(write_csv(c, o, in->set, in->side, chosen, n));
    return report(c, o, in, o->strategy, chosen, n);
}

static int run_with(struct cli *c, const struct select_cmd *o, const struct set *s, const struct engine *e)
{
    struct select_in in = {.set = s, .side = strcmp(o->side, "text") ? SIDE_IMAGE : SIDE_TEXT};
    struct set *classes = NULL, *target = NULL;
    int rc = 0;
    if (o->adapter)
        rc = adapt_open_on(&in.adapter, o->adapter, e);
    if (rc == 0 && o->classes)
        rc = set_open(&classes, o->classes);
    if (rc == 0 && o->target)
        rc = set_open(&target, o->target);
    in.classes = classes;
    in.target = target;
    if (rc == 0)
        rc = o->simulate ? select_simulate(c, o, s, in.side, in.adapter, e) : choose(c, o, &in);
    adapt_close(&in.adapter);
    set_close(&classes);
    set_close(&target);
    return rc;
}

/* What would be read and change nothing is refused. */
static int check_choosing(const struct select_cmd *o)
{
    enum select_id what;
    struct select_cmd usual;
    memset(&usual, 0, sizeof usual);
    opt_defaults(options, &usual);
    if (o->figure || o->split_column || o->table || o->refit.method || o->warm)
        FAIL(ERR_USAGE, "--figure, --split-column, --table, --adapter-method and --warm belong to --simulate");
    if (o->rounds != usual.rounds || o->initial != usual.initial || o->seeds != usual.seeds ||
        o->epochs != usual.epochs || o->batch != usual.batch || o->adapter_epochs != usual.adapter_epochs ||
        o->lr < usual.lr || o->lr > usual.lr || strcmp(o->heads.head, usual.heads.head) || o->heads.hidden ||
        strcmp(o->loss, usual.loss) || o->loss_opt.n)
        FAIL(ERR_USAGE, "--rounds, --initial, --seeds and the options of training belong to --simulate");
    TRY(select_find(o->strategy, &what));
    bool asks = what == SELECT_UNCERTAINTY || what == SELECT_BALD || what == SELECT_EPIG;
    bool cosines = what == SELECT_COSINE || what == SELECT_MARGIN || what == SELECT_ENTROPY;
    const char *idle = o->adapter && !asks                                                   ? "--adapter"
                       : o->classes && !cosines                                              ? "--classes"
                       : o->target && what != SELECT_EPIG                                    ? "--target"
                       : o->temperature > 0 && what != SELECT_ENTROPY                        ? "--temperature"
                       : o->spread > 1 && (what == SELECT_CORESET || what == SELECT_TYPICAL) ? "--spread"
                                                                                             : NULL;
    if (idle)
        FAIL(ERR_USAGE, "%s does nothing for strategy \"%s\"; leave it out", idle, o->strategy);
    return 0;
}

static int run(struct cli *c)
{
    const struct select_cmd *o = c->opt;
    const struct engine *e;
    struct set *s = NULL;
    bool low;
    if (!o->simulate)
        TRY(cli_need(c, o->strategy, "--strategy"));
    if (!o->simulate)
        TRY(check_choosing(o));
    if (o->simulate && (o->rows || o->labelled.n || o->classes || o->target))
        FAIL(ERR_USAGE, "--simulate makes its own pool: --rows, --labelled, --classes and --target are for choosing");
    if (o->simulate && o->adapter && o->refit.method)
        FAIL(ERR_USAGE, "--adapter and --adapter-method: expected one of them");
    if (o->out)
        TRY(path_check_output(o->out, o->force));
    if (o->figure)
        TRY(cli_check_figure(o->figure, o->out, o->force));
    TRY(cli_engine(&o->engine, &e, &low));
    if (low)
        FAIL(ERR_USAGE, "option --dtype is bf16: this is computed in f32");
    struct set_opt which = o->set;
    which.force = false;
    TRY(cli_set(c, &which, &s));
    int rc = run_with(c, o, s, e);
    set_close(&s);
    return rc;
}

static void list_strategies(struct str *b)
{
    str_add(b, "\nstrategies (docs/methods/active.md):\n");
    for (int i = 0; i < N_SELECTS; i++)
        str_add(b, "  %-12s  %s\n", select_name(i), select_text(i));
}

const struct command command_select = {
    .name = "select",
    .summary = "active learning: which rows to label next",
    .usage = "SET --strategy NAME --budget N [--labelled FILE...] --out FILE.csv, or SET --simulate",
    .notes =
        "Round by round: label what FILE.csv lists, train (meridian train --on, meridian adapt), and ask again with\n"
        "--labelled FILE.csv. Copies of a row (cosine above 1 - 1e-5) are chosen once.\n",
    .add_help = list_strategies,
    .example = "meridian select pool --strategy coreset --budget 100 --labelled round1.csv --out round2.csv",
    .options = options,
    .size = sizeof(struct select_cmd),
    .computes = true,
    .run = run,
};
