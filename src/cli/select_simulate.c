/* cli/select_simulate.c: `meridian select --simulate`: what the command line says, as the structs of a simulation, and
 * its curves as a table, a figure and JSON. Random is always there: a strategy without it says nothing. */
#include "cli/select_cmd.h"
#include "cli/train_heads.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const ways[3] = {"image_to_text", "text_to_image", "mean"};

/* ---- what is simulated */

/* random first; without a list all that can be had. */
static int read_strategies(const struct select_cmd *o, bool asks, struct simulate_opt *so)
{
    char word[64];
    so->strategy[so->n++] = SELECT_RANDOM;
    for (int i = 0; i < N_SELECTS && !o->strategy; i++) {
        bool needs = i == SELECT_UNCERTAINTY || i == SELECT_BALD || i == SELECT_EPIG;
        if (i != SELECT_RANDOM && (asks || !needs))
            so->strategy[so->n++] = (enum select_id)i;
    }
    for (const char *p = o->strategy ? o->strategy : ""; *p; p += strcspn(p, ","), p += *p == ',') {
        enum select_id id;
        bool known = false;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, ","), p);
        TRY(select_find(word, &id));
        for (int k = 0; k < so->n; k++)
            known = known || so->strategy[k] == id;
        if (!known)
            so->strategy[so->n++] = id;
    }
    return 0;
}

/* The words of one column by picture; a column row of a separate table says which line is whose. */
static int read_parts(struct cli *c, const struct select_cmd *o, const struct set *s, const struct table *t,
                      const char *name, const uint8_t **out)
{
    int col = table_col(t, name), row_col = t == &s->image.meta ? -1 : table_col(t, "row");
    uint8_t *part = arena_calloc(c->arena, (size_t)s->image.n + 1, 1);
    if (!part)
        return ERR_MEMORY;
    if (col < 0)
        FAIL(ERR_DATA, "%s: no column \"%s\" for --split-column; --table takes a table that has it",
             t->path ? t->path : s->path, name);
    if (t->n_rows != s->image.n)
        FAIL(ERR_DATA, "%s: %" PRId64 " rows, expected one for each of the %" PRId64 " pictures", o->table, t->n_rows,
             s->image.n);
    for (int64_t i = 0; i < t->n_rows; i++) {
        int64_t row = i;
        if (row_col >= 0)
            TRY(table_int(t, i, row_col, 0, s->image.n - 1, &row));
        part[row] = (uint8_t)set_part_of(table_cell(t, i, col));
    }
    *out = part;
    return 0;
}

static int read_split(struct cli *c, const struct select_cmd *o, const struct set *s, const uint8_t **part, int *n)
{
    struct table own;
    const struct table *t = s->image.has_meta ? &s->image.meta : NULL;
    int rc = 0;
    char word[256];
    if (!o->split_column) {
        if (o->table)
            FAIL(ERR_USAGE, "--table has the columns that --split-column names: give both");
        return 0;
    }
    if (o->table)
        TRY(table_read(&own, o->table));
    t = o->table ? &own : t;
    if (!t)
        FAIL(ERR_USAGE, "--split-column: set \"%s\" has no table of its pictures; --table takes one", s->path);
    for (const char *p = o->split_column; *p && rc == 0; p += strcspn(p, ","), p += *p == ',') {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, ","), p);
        rc = *n < 64 ? read_parts(c, o, s, t, word, &part[(*n)++])
                     : err_set(ERR_USAGE, "--split-column: more than 64 columns");
    }
    if (o->table)
        table_free(&own);
    return rc;
}

/* ---- what came out */

struct outcome {
    const struct simulate_opt *so;
    struct simulated r;
    struct interval *recall[3][N_SELECTS], area[3][N_SELECTS], gain[3][N_SELECTS];
};

static int measure(struct cli *c, struct outcome *x)
{
    for (int way = 0; way < 3; way++)
        for (int k = 0; k < x->so->n; k++) {
            x->recall[way][k] = arena_calloc(c->arena, (size_t)x->r.n_points, sizeof(struct interval));
            if (!x->recall[way][k])
                return ERR_MEMORY;
            TRY(simulated_measure(&x->r, k, way, x->recall[way][k], &x->area[way][k], &x->gain[way][k]));
        }
    return 0;
}

static json_t *numbers(struct interval v)
{
    return json_pack("{s:o, s:[o, o]}", "value", json_number(v.value), "ci", json_number(v.low), json_number(v.high));
}

static json_t *strategy_to_json(const struct outcome *x, int k)
{
    json_t *o = json_object();
    for (int way = 0; way < 3; way++) {
        json_t *curve = json_array();
        for (int p = 0; p < x->r.n_points; p++)
            json_array_append_new(curve, numbers(x->recall[way][k][p]));
        json_object_set_new(o, ways[way],
                            json_pack("{s:o, s:o, s:o}", "recall", curve, "area", numbers(x->area[way][k]),
                                      "gain_over_random", numbers(x->gain[way][k])));
    }
    return o;
}

static json_t *to_json(const struct outcome *x, const struct set *s)
{
    json_t *all = json_object(), *labelled = json_array(), *start = json_object(), *end = json_object();
    for (int k = 0; k < x->so->n; k++)
        json_object_set_new(all, select_name((int)x->so->strategy[k]), strategy_to_json(x, k));
    for (int p = 0; p < x->r.n_points; p++)
        json_array_append_new(labelled, json_number(x->r.labelled[p]));
    for (int way = 0; way < 3; way++) {
        json_object_set_new(start, ways[way], numbers(simulated_frame(&x->r, false, way)));
        json_object_set_new(end, ways[way], numbers(simulated_frame(&x->r, true, way)));
    }
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "set", s->path, "seeds",
                          (json_int_t)x->r.n_seeds, "rounds", (json_int_t)x->so->rounds, "budget",
                          (json_int_t)x->so->budget, "n_pool", (json_int_t)x->r.n_pool, "n_validation",
                          (json_int_t)x->r.n_validation, "n_test", (json_int_t)x->r.n_test, "labelled", labelled,
                          "without_labels", start, "all_labels", end, "strategies", all);
    if (o && x->r.n_seeds < 2)
        json_object_set_new(o, "why", json_string("one seed has no interval"));
    return cli_add_source(o, s);
}

static void add_line(struct str *b, char sep, const char *strategy, const char *what, int way, double labelled,
                     struct interval v)
{
    const double n[3] = {v.value, v.low, v.high};
    str_add(b, "%s%c%s%c%s%c", strategy, sep, what, sep, ways[way], sep);
    if (isfinite(labelled))
        str_add(b, "%g", labelled);
    for (int i = 0; i < 3; i++) {
        str_add_c(b, sep);
        if (isfinite(n[i]))
            str_add(b, "%.6f", n[i]);
    }
    str_add_c(b, '\n');
}

static int write_table(const struct outcome *x, const char *path)
{
    const char sep = str_ends(path, ".tsv") ? '\t' : ',';
    struct str b = {0};
    str_add(&b, "strategy%cwhat%cdirection%clabelled%cvalue%clow%chigh\n", sep, sep, sep, sep, sep, sep);
    for (int k = 0; k < x->so->n; k++)
        for (int way = 0; way < 3; way++) {
            const char *name = select_name((int)x->so->strategy[k]);
            for (int p = 0; p < x->r.n_points; p++)
                add_line(&b, sep, name, "recall_at_1", way, x->r.labelled[p], x->recall[way][k][p]);
            add_line(&b, sep, name, "area", way, (double)NAN, x->area[way][k]);
            if (k > 0)
                add_line(&b, sep, name, "gain", way, (double)NAN, x->gain[way][k]);
        }
    for (int way = 0; way < 3; way++) {
        add_line(&b, sep, "none", "recall_at_1", way, 0, simulated_frame(&x->r, false, way));
        add_line(&b, sep, "all", "recall_at_1", way, (double)x->r.n_pool, simulated_frame(&x->r, true, way));
    }
    int rc = b.failed ? ERR_MEMORY : atomic_put(path, b.s, b.n);
    str_free(&b);
    return rc;
}

static int put_figure(const struct outcome *x, const struct set *s, const char *path)
{
    struct band_line line[N_SELECTS];
    for (int k = 0; k < x->so->n; k++)
        line[k] = (struct band_line){
            .name = select_name((int)x->so->strategy[k]), .n = x->r.n_points, .x = x->r.labelled, .y = x->recall[2][k]};
    const struct fig_active active = {.n = x->so->n,
                                      .n_seeds = (int)x->r.n_seeds,
                                      .line = line,
                                      .gain = x->gain[2],
                                      .all = simulated_frame(&x->r, true, 2).value};
    const struct fig_in in = {.set = s, .active = &active};
    return cli_put_figure(figure_active_svg, &in, path);
}

static void print(const struct outcome *x, const struct set *s)
{
    cli_print_source(s);
    printf("pool %lld rows, validation %lld pairs, test %lld pairs; %lld seeds\n", (long long)x->r.n_pool,
           (long long)x->r.n_validation, (long long)x->r.n_test, (long long)x->r.n_seeds);
    printf("recall at 1, mean of both directions: %.4f without heads, %.4f with every label of the pool\n\n%-12s",
           simulated_frame(&x->r, false, 2).value, simulated_frame(&x->r, true, 2).value, "labelled");
    for (int p = 0; p < x->r.n_points; p++)
        printf("  %7.0f", x->r.labelled[p]);
    printf("  %-9s  over random\n", "mean");
    for (int k = 0; k < x->so->n; k++) {
        const struct interval g = x->gain[2][k];
        printf("%-12s", select_name((int)x->so->strategy[k]));
        for (int p = 0; p < x->r.n_points; p++)
            printf("  %7.4f", x->recall[2][k][p].value);
        if (isfinite(x->area[2][k].value))
            printf("  %-9.4f", x->area[2][k].value);
        else
            printf("  %-9s", "-"); /* nothing could be chosen but copies */
        if (k > 0 && !isfinite(g.value))
            printf("  -");
        else if (k > 0 && isfinite(g.low))
            printf("  %+.4f [%+.4f, %+.4f]", g.value, g.low, g.high);
        else if (k > 0)
            printf("  %+.4f", g.value);
        printf("\n");
    }
}

/* ---- the run */

static int play(struct cli *c, const struct select_cmd *o, const struct simulate_in *in, struct outcome *x)
{
    TRY(simulate_run(in, &x->r));
    int rc = measure(c, x);
    if (rc == 0 && o->out)
        rc = write_table(x, o->out);
    if (rc == 0 && o->figure)
        rc = put_figure(x, in->set, o->figure);
    if (rc == 0 && c->json)
        rc = cli_put_json(to_json(x, in->set));
    else if (rc == 0)
        print(x, in->set);
    simulated_free(&x->r);
    return rc;
}

int select_simulate(struct cli *c, const struct select_cmd *o, const struct set *s, int side, struct adapter *a,
                    const struct engine *e)
{
    struct simulate_opt so = {.side = side,
                              .budget = o->budget,
                              .rounds = o->rounds,
                              .initial = o->initial < 0 ? o->budget : o->initial,
                              .seeds = o->seeds,
                              .temperature = o->temperature,
                              .spread = o->spread,
                              .warm = o->warm,
                              .seed = (uint64_t)o->seed};
    const uint8_t *part[64];
    struct train_opt train;
    struct adapt_opt refit = {0};
    int n_parts = 0;
    const struct loss_kind *loss;
    void *loss_opt;
    TRY(cli_loss(c, o->loss, &o->loss_opt, &loss, &loss_opt));
    opt_defaults(train_options, &train);
    train.epochs = o->epochs;
    train.lr = o->lr;
    train.batch = o->batch;
    train.weight_decay = 0.1;
    opt_defaults(adapt_options, &refit);
    refit.method = o->refit.method ? o->refit.method : refit.method;
    refit.epochs = o->adapter_epochs;
    TRY(read_strategies(o, a || o->refit.method, &so));
    TRY(read_split(c, o, s, part, &n_parts));
    struct outcome x = {.so = &so};
    const struct simulate_in in = {.set = s,
                                   .opt = &so,
                                   .heads = &o->heads,
                                   .train = &train,
                                   .loss = loss,
                                   .loss_opt = loss_opt,
                                   .engine = e,
                                   .part = part,
                                   .n_parts = n_parts,
                                   .adapter = a,
                                   .refit = o->refit.method ? &refit : NULL};
    return play(c, o, &in, &x);
}
