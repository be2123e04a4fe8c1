/* cli/cmd_words.c: ideal words of a set whose rows are combinations of a few factors: the fit, and how well it holds.
 */
#include "cli/cli.h"
#include "words/words.h"

#include <math.h>
#include <string.h>

struct words_cmd {
    struct set_opt set;
    const char *side, *factors, *columns, *weight, *weighting, *method, *out;
    struct opt_list skip;
    bool skip_empty, raw, unit_cells, force;
    double ridge;
    int64_t top, permutations, seed;
};
#define F(field) offsetof(struct words_cmd, field)
#define WORDS_ROWS                                                                                                     \
    {"side", 0, OPT_CHOICE, F(side), "image", 0, 0, "text|image", NULL, "which vectors"},                              \
        PATH_OPTION("factors", struct words_cmd, factors, "FILE.csv",                                                  \
                    "factors of the rows: a column row (from 0), or a line for each row; the set's own table if not "  \
                    "given"),                                                                                          \
        PATH_OPTION("columns", struct words_cmd, columns, "A,B,...", "which columns are the factors"),                 \
        PATH_OPTION("weight", struct words_cmd, weight, "COLUMN", "weight of each row in its cell, at least 0"),       \
        {"cells", 0, OPT_CHOICE,           F(weighting), "equal",                                                      \
         0,       0, "equal|count|shrunk", NULL,         "what a cell of n rows weighs: 1, n or n / (n + 2)"},         \
        {"skip", 0, OPT_LIST, F(skip), NULL, 0, 0, NULL, "WORD", "leave out rows with such a level"},                  \
        {"skip-empty", 0, OPT_BOOL, F(skip_empty), NULL, 0, 0, NULL, NULL, "leave out rows with an empty level"},      \
        {"top", 0, OPT_INT, F(top), "0", 0, 100000, NULL, "N", "the N most frequent levels of each factor; 0: all"},   \
        {"method",                                                                                                     \
         0,                                                                                                            \
         OPT_CHOICE,                                                                                                   \
         F(method),                                                                                                    \
         "least-squares",                                                                                              \
         0,                                                                                                            \
         0,                                                                                                            \
         "least-squares|marginal",                                                                                     \
         NULL,                                                                                                         \
         "marginal: means of the cells that are there, as published; the same on a complete grid"},                    \
        {"ridge",  0,                                                                                                  \
         OPT_REAL, F(ridge),                                                                                           \
         "0",      0,                                                                                                  \
         1e6,      NULL,                                                                                               \
         "X",      "penalty on the words, in cells; 0: none, or 1e-6 where the cells leave some word open"},           \
        {"raw", 0, OPT_BOOL, F(raw), NULL, 0, 0, NULL, NULL, "keep the rows' lengths"},                                \
        {"unit-cells", 0, OPT_BOOL, F(unit_cells), NULL, 0, 0, NULL, NULL, "bring the cells' means to unit length"},   \
        SET_OPTIONS(struct words_cmd, set)

static const struct opt fit_options[] = {
    WORDS_ROWS,
    PATH_OPTION("out", struct words_cmd, out, "W", "the folder to write"),
    FORCE_OPTION(struct words_cmd, force),
    {0},
};
static const struct opt score_options[] = {
    WORDS_ROWS,
    {"permutations", 0, OPT_INT, F(permutations), "1000", 0, 10000000, NULL, "N", "of the null; 0: none"},
    SEED_OPTION(struct words_cmd, seed),
    MIX_OPTION(struct words_cmd, set),
    {0},
};
#undef F

/* Everything a fit stands on. */
struct words_job {
    struct set *set;
    struct table table;
    struct words_grid *grid;
    struct words *words;
    struct words_in in;
};

static void job_close(struct words_job *j)
{
    words_close(&j->words);
    words_grid_free(&j->grid);
    table_free(&j->table);
    set_close(&j->set);
}

static int read_grid(struct cli *c, const struct words_cmd *o, struct words_job *j)
{
    const struct set_side *side = !strcmp(o->side, "text") ? &j->set->text : &j->set->image;
    const struct words_columns columns = {
        .columns = o->columns,
        .weight = o->weight,
        .skip = o->skip,
        .skip_empty = o->skip_empty,
        .top = o->top,
        .weighting = !strcmp(o->weighting, "count")    ? WORDS_COUNT
                     : !strcmp(o->weighting, "shrunk") ? WORDS_SHRUNK
                                                       : WORDS_EQUAL,
    };
    if (side->n == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %s vectors", j->set->path, o->side);
    if (!o->factors && !side->has_meta)
        FAIL(ERR_USAGE, "set \"%s\" has no table of its %ss; name one with --factors", j->set->path, o->side);
    if (o->factors)
        TRY(table_read(&j->table, o->factors));
    TRY(words_grid_read(&j->grid, o->factors ? &j->table : &side->meta, side->n, &columns));
    j->in = (struct words_in){.grid = j->grid,
                              .x = side->x,
                              .n = side->n,
                              .width = j->set->width,
                              .unit = !o->raw,
                              .unit_cells = o->unit_cells};
    return 0;
}

static void warn(const struct words *w, const struct words_grid *g)
{
    if (w->rank == w->rank_full)
        return;
    if (w->method == WORDS_MARGINAL)
        log_warn(
            "the cells leave words open: rank %lld of %lld, %lld groups of levels share no cell; marginal means do "
            "not notice",
            (long long)w->rank, (long long)w->rank_full, (long long)w->components);
    else
        log_warn("the cells leave words open: rank %lld of %lld, %lld groups of levels share no cell; a ridge of %g "
                 "takes the shortest words (%.0f cells are missing)",
                 (long long)w->rank, (long long)w->rank_full, (long long)w->components, w->ridge,
                 g->possible - (double)g->n_cells);
}

static int job_fit(struct cli *c, const struct words_cmd *o, struct words_job *j)
{
    const struct words_opt opt = {
        .method = !strcmp(o->method, "marginal") ? WORDS_MARGINAL : WORDS_LEAST_SQUARES,
        .ridge = o->ridge,
    };
    TRY(cli_need(c, o->columns, "--columns"));
    if (opt.method == WORDS_MARGINAL && o->ridge > 0)
        FAIL(ERR_USAGE, "--ridge belongs to --method least-squares; marginal means have none");
    TRY(cli_set(c, &o->set, &j->set));
    TRY(read_grid(c, o, j));
    TRY(words_fit(&j->words, &j->in, &opt));
    j->words->side = o->side;
    j->words->model = j->set->model;
    j->words->fingerprint = j->set->fingerprint;
    warn(j->words, j->grid);
    return 0;
}

static void print_grid(const struct words *w, const struct words_grid *g)
{
    for (int f = 0; f < w->n_factors; f++)
        printf("%s%s (%lld)", f ? " x " : "", w->factor[f].name, (long long)w->factor[f].n);
    printf(": %s cells of %s rows", str_count(g->n_cells), str_count(g->n_rows));
    if (!g->complete)
        printf(", %.0f cells missing", g->possible - (double)g->n_cells);
    if (g->n_left_out)
        printf(", %s rows left out", str_count(g->n_left_out));
    printf("\n%s%s, rank %lld of %lld, %lld component%s\n", words_method_name(w->method),
           w->ridge > 0 ? " with a ridge" : "", (long long)w->rank, (long long)w->rank_full, (long long)w->components,
           w->components == 1 ? "" : "s");
}

static json_t *source(json_t *all, const struct words_cmd *o, const struct words_job *j)
{
    if (all)
        json_object_set_new(all, "side", json_string(o->side));
    return cli_add_source(all, j->set);
}

static int fit(struct cli *c, const struct words_cmd *o, struct words_job *j)
{
    TRY(job_fit(c, o, j));
    const struct words_grid *g = j->grid;
    TRY(words_write(j->words, o->out, o->force));
    if (!c->json) {
        print_grid(j->words, g);
        printf("ideal words of width %lld in %s\n", (long long)j->words->width, o->out);
        return 0;
    }
    json_t *levels = json_object();
    for (int f = 0; f < g->n_factors; f++)
        json_object_set_new(levels, g->factor[f].name, json_integer((json_int_t)g->factor[f].n));
    json_t *all = json_pack(
        "{s:s, s:o, s:I, s:I, s:I, s:f, s:I, s:I, s:b, s:I, s:s, s:f, s:I}", "out", o->out, "levels", levels, "rows",
        (json_int_t)g->n_rows, "rows_left_out", (json_int_t)g->n_left_out, "cells", (json_int_t)g->n_cells,
        "missing_cells", g->possible - (double)g->n_cells, "rank", (json_int_t)g->rank, "rank_full",
        (json_int_t)g->rank_full, "identifiable", g->rank == g->rank_full, "components", (json_int_t)g->components,
        "method", words_method_name(j->words->method), "ridge", j->words->ridge, "width", (json_int_t)j->words->width);
    return cli_put_json(source(all, o, j));
}

static int run_fit(struct cli *c)
{
    const struct words_cmd *o = c->opt;
    struct words_job j = {0};
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    int rc = fit(c, o, &j);
    job_close(&j);
    return rc;
}

static void print_scores(const struct words_scores *s, const struct words *w, const struct words_grid *g)
{
    print_grid(w, g);
    printf("\nR2            %.3f  adjusted %.3f\n", s->r2, s->r2_adjusted);
    printf("held out      %.3f  each cell from the others (%s of %s cells)\n", s->r2_held_out, str_count(s->n_held_out),
           str_count(s->n_cells));
    printf("null          %.3f  %s", s->r2_null, s->null_exact ? "exact mean over all permutations" : "mean");
    if (s->n_permutations)
        printf("; of %s permutations sd %.3g, p %.3g", str_count(s->n_permutations), s->sd_null, s->p_value);
    printf("\nresidual      %.4f  mean distance (sd %.4f), mean square %.5f of variance %.5f\n", s->mean_distance,
           s->sd_distance, s->mean_square, s->variance);
    printf("\n%-20s  %7s  %7s  %5s  %5s  %9s\n", "factor", "levels", "share", "rank", "k95", "eff. rank");
    for (int f = 0; f < w->n_factors; f++)
        printf("%-20s  %7lld  %7.3f  %5lld  %5lld  %9.1f\n", w->factor[f].name, (long long)w->factor[f].n,
               s->factor[f].share, (long long)s->factor[f].rank, (long long)s->factor[f].k95,
               s->factor[f].effective_rank);
    if (s->n_blocks)
        printf("\n%-32s  %10s  %7s\n", "block", "df", "share");
    for (int64_t i = 0; i < s->n_blocks; i++) {
        struct str name = {0};
        for (int f = 0; f < w->n_factors; f++)
            if (s->block[i].factors >> f & 1)
                str_add(&name, "%s%s", name.n ? " x " : "", w->factor[f].name);
        printf("%-32s  %10.0f  %7.3f\n", name.s ? name.s : "", s->block[i].df, s->block[i].share);
        str_free(&name);
    }
    for (int64_t i = 0; i < s->n_angles; i++)
        printf("%s%s, %s: largest cosine of their spaces %.3f, mean |cosine| of their words %.3f\n", i ? "" : "\n",
               w->factor[s->angle[i].a].name, w->factor[s->angle[i].b].name, s->angle[i].max_cosine,
               s->angle[i].mean_abs_cosine);
    printf("\nfarthest from their composition:\n");
    for (int64_t i = 0; i < s->n_worst; i++) {
        struct str name = {0};
        char safe[256];
        words_cell_name(g, s->worst[i].cell, &name);
        str_safe(safe, sizeof safe, name.s ? name.s : "");
        printf("%.4f  %s\n", s->worst[i].distance, safe);
        str_free(&name);
    }
}

static int run_score(struct cli *c)
{
    const struct words_cmd *o = c->opt;
    struct words_job j = {0};
    struct words_scores *s = NULL;
    int rc = job_fit(c, o, &j);
    if (rc == 0)
        rc = words_score(&s, j.words, &j.in, o->permutations, (uint64_t)o->seed);
    if (rc == 0 && c->json)
        rc = cli_put_json(source(words_scores_to_json(s, j.words, &j.in), o, &j));
    else if (rc == 0)
        print_scores(s, j.words, j.grid);
    words_scores_free(&s);
    job_close(&j);
    return rc;
}

const struct command command_words_fit = {
    .name = "words fit",
    .summary = "ideal words: what the vectors of combined concepts are made of",
    .usage = "SET --side text|image [--factors FILE.csv] --columns A,B --out W",
    .notes = "Rows that share all levels are a cell; a cell's vector is the mean of its rows. The vector of a cell is "
             "taken apart\n"
             "into u0 and one ideal word for each level.\n",
    .example = "meridian words fit fashion --side text --factors styles.csv --columns colour,type --top 8 --out words",
    .options = fit_options,
    .size = sizeof(struct words_cmd),
    .computes = true,
    .run = run_fit,
};
const struct command command_words_score = {
    .name = "words score",
    .summary = "how decomposable a set is: R2 beside its null, held out, by factor and interaction",
    .usage = "SET --side text|image [--factors FILE.csv] --columns A,B",
    .notes = "Fits as words fit does. R2 flatters small grids: read it beside its null and the held-out R2.\n",
    .example = "meridian words score fashion --side text --factors styles.csv --columns colour,type --top 8",
    .options = score_options,
    .size = sizeof(struct words_cmd),
    .computes = true,
    .run = run_score,
};
