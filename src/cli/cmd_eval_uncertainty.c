/* cli/cmd_eval_uncertainty.c: does a score know when the first answer is wrong? All cheap scores side by side, both
 * directions, and the two figures. */
#include "cli/adapters.h"

#include <math.h>
#include <string.h>

struct unc_cmd {
    struct set_opt set;
    const char *score, *split_column, *hit_column, *rows, *reference, *figure, *adapter;
    int64_t bootstrap, seed, bins;
    double temperature;
    bool probit;
};
#define F(field) offsetof(struct unc_cmd, field)
static const struct opt options[] = {
    {"score", 0, OPT_STR, F(score), "all", 0, 0, NULL, "A,B", "which scores, separated by commas; all: every one"},
    {"bins", 0, OPT_INT, F(bins), "5", 2, EVAL_MAX_BINS, NULL, "N", "levels of uncertainty; those of 10 are there too"},
    PATH_OPTION("split-column", struct unc_cmd, split_column, "NAME",
                "column of the pictures: test is measured, val calibrates, train is the reference"),
    PATH_OPTION("reference", struct unc_cmd, reference, "SET",
                "in place of a split: every second row calibrates, the others are the reference"),
    PATH_OPTION("adapter", struct unc_cmd, adapter, "ADAPTER",
                "also its uncertainty, as a score and in the combined ones (meridian adapt makes it)"),
    {"probit", 0, OPT_BOOL, F(probit), NULL, 0, 0, NULL, NULL,
     "with --adapter: also the softmax flattened by the cosines' variances, as adapter-entropy and adapter-max-p"},
    PATH_OPTION("hit-column", struct unc_cmd, hit_column, "NAME",
                "column of the pictures: an answer of the same word is a hit; without it the pairs say"),
    PATH_OPTION("rows", struct unc_cmd, rows, "F.csv", "table with these columns, one line a picture, beside the set"),
    {"temperature", 0, OPT_REAL, F(temperature), "0", 0, 1000, NULL, "X",
     "of the softmax; 0: fitted on val, or the model's own, or 0.01"},
    PATH_OPTION("figure", struct unc_cmd, figure, "DIR",
                "write levels.svg, risk.svg and their numbers as TSV; --force replaces them"),
    BOOTSTRAP_OPTION(struct unc_cmd, bootstrap),
    SEED_OPTION(struct unc_cmd, seed),
    SET_OPTIONS(struct unc_cmd, set),
    MIX_OPTION(struct unc_cmd, set),
    {0},
};
#undef F

struct job {
    const struct unc_cmd *o;
    struct set *set, *reference;
    struct table rows; /* of --rows */
    bool has_rows;
    const char **split, **label, **reference_label;
    double *adapter[2], *held[2];       /* by row of each side, of the set and of the reference set */
    double *probit[2], *held_probit[2]; /* [2 n] entropies, then doubts */
    struct uncertainty_both both;
};

/* ---- columns of the pictures */

/* One word for each picture out of a column; a column "row" of a separate table says which line is whose. */
static int read_column(const struct set *s, const struct table *t, const char *column, const char ***out)
{
    int col = t ? table_col(t, column) : -1, row_col = t ? table_col(t, "row") : -1;
    struct str all = {0};
    for (int i = 0; t && i < t->n_cols; i++)
        str_add(&all, "%s%s", i ? ", " : "", t->cols[i]);
    if (col < 0) {
        err_set(ERR_DATA, "%s: no column \"%s\" for the pictures, found: %s; --rows takes a table that has it",
                t && t->path ? t->path : s->path, column, all.s ? all.s : "none");
        str_free(&all);
        return ERR_DATA;
    }
    str_free(&all);
    if (t->n_rows != s->image.n)
        FAIL(ERR_DATA, "%s: %lld rows, expected one for each of the %lld pictures", t->path, (long long)t->n_rows,
             (long long)s->image.n);
    const char **words = mem_calloc((size_t)s->image.n + 1, sizeof *words);
    if (!words)
        return ERR_MEMORY;
    for (int64_t i = 0; i < t->n_rows; i++) {
        int64_t row = i;
        int rc = row_col >= 0 ? table_int(t, i, row_col, 0, s->image.n - 1, &row) : 0;
        if (rc < 0) {
            mem_free(words);
            return rc;
        }
        words[row] = table_cell(t, i, col);
    }
    *out = words;
    return 0;
}

static int64_t count_words(const char *const *words, int64_t n, const char *word)
{
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++)
        found += words[i] && strcmp(words[i], word) == 0;
    return found;
}

static int read_columns(struct job *j)
{
    const struct unc_cmd *o = j->o;
    const struct table *t = j->set->image.has_meta ? &j->set->image.meta : NULL;
    if (o->rows) {
        TRY(table_read(&j->rows, o->rows));
        j->has_rows = true;
        t = &j->rows;
    }
    if (o->split_column) {
        TRY(read_column(j->set, t, o->split_column, &j->split));
        if (count_words(j->split, j->set->image.n, "test") == 0)
            FAIL(ERR_DATA, "column \"%s\": no picture is \"test\", expected the words test, val and train",
                 o->split_column);
    }
    if (o->hit_column)
        TRY(read_column(j->set, t, o->hit_column, &j->label));
    if (o->reference)
        TRY(set_open(&j->reference, o->reference));
    if (j->reference && o->hit_column)
        TRY(read_column(j->reference, j->reference->image.has_meta ? &j->reference->image.meta : NULL, o->hit_column,
                        &j->reference_label));
    if (j->reference)
        TRY(set_check_fingerprint(j->set, j->reference->model, j->reference->fingerprint));
    return 0;
}

/* ---- which scores */

static void add_help(struct str *b)
{
    str_add(b, "\nscores (docs/methods/uncertainty.md has the formulas):\n");
    for (int i = 0; i < N_UNCERTAINTIES; i++)
        str_add(b, "  %-14s  %s\n", uncertainty_name(i), uncertainty_text(i));
}

/* ---- the flattened softmax */

static int64_t rows_of(const struct set *s, int side)
{
    return side == SIDE_TEXT ? s->text.n : s->image.n;
}

static int probit_of(const struct job *j, struct adapter *a, const struct set *s, double *out[2])
{
    char base[2048];
    const struct predict_opt opt = {.dropout = -1,
                                    .seed = (uint64_t)j->o->seed,
                                    .force = j->o->set.force,
                                    .path_base = cli_set_base(s, NULL, base, sizeof base)};
    for (int side = 0; side < 2; side++) {
        size_t n = (size_t)rows_of(s, side);
        out[side] = mem_calloc(n + 1, 2 * sizeof *out[side]);
        if (!out[side])
            return ERR_MEMORY;
        if (rows_of(s, !side) > 0)
            TRY(adapt_probit(a, s, side, &opt, out[side], out[side] + n));
    }
    return 0;
}

static int probit(struct job *j)
{
    struct adapter *a = NULL;
    TRY(adapt_open(&a, j->o->adapter));
    int rc = probit_of(j, a, j->set, j->probit);
    if (rc == 0 && j->reference)
        rc = probit_of(j, a, j->reference, j->held_probit);
    adapt_close(&a);
    return rc < 0 ? err_while(rc, "asking adapter \"%s\"", j->o->adapter) : 0;
}

/* ---- measuring and printing */

static int measure(struct job *j)
{
    const struct unc_cmd *o = j->o;
    struct eval_opt opt = {
        .bootstrap = o->bootstrap > 0 ? o->bootstrap : -1, .seed = (uint64_t)o->seed, .bins_mass = o->bins};
    struct uncertainty_extra extra[3] = {{.name = "adapter",
                                          .text = "uncertainty of the adapter",
                                          .u = {j->adapter[0], j->adapter[1]},
                                          .held = {j->held[0], j->held[1]}},
                                         {.name = "adapter-entropy", .text = "entropy of the adapter's softmax"},
                                         {.name = "adapter-max-p", .text = "1 - the largest probability of it"}};
    for (int side = 0; o->probit && side < 2; side++)
        for (int k = 0; k < 2; k++) {
            extra[1 + k].u[side] = j->probit[side] + k * rows_of(j->set, side);
            if (j->reference)
                extra[1 + k].held[side] = j->held_probit[side] + k * rows_of(j->reference, side);
        }
    struct uncertainty_in in = {.set = j->set,
                                .reference = j->reference,
                                .split = j->split,
                                .label = j->label,
                                .reference_label = j->reference_label,
                                .temperature = o->temperature,
                                .extra = extra,
                                .n_extra = !o->adapter ? 0
                                           : o->probit ? 3
                                                       : 1};
    j->both.list = o->score;
    j->both.hit_column = o->hit_column;
    return uncertainty_both_open(&j->both, &in, &opt);
}

static void print_number(struct interval i, bool bounds, int width)
{
    char text[64];
    if (!isfinite(i.value))
        snprintf(text, sizeof text, "-");
    else if (!bounds || !isfinite(i.low) || !isfinite(i.high))
        snprintf(text, sizeof text, "%.3f", i.value);
    else
        snprintf(text, sizeof text, "%.3f [%.3f, %.3f]", i.value, i.low, i.high);
    printf("  %-*s", width, text);
}

static void print_way(const struct job *j, int way)
{
    const struct uncertainty_both *b = &j->both;
    const struct uncertainty_scores *s = &b->s[way];
    char right[32] = "-";
    if (s->n)
        snprintf(right, sizeof right, "%.3f", uncertainty_recall(s));
    printf("%s: %lld queries among %lld, first answer right in %s; temperature %.4g (%s); %lld validation, %lld "
           "reference queries\n",
           way ? "text to image" : "image to text", (long long)s->n, (long long)s->n_gallery, right, s->temperature,
           s->temperature_from, (long long)s->n_val, (long long)s->n_reference);
    printf("%-14s  %-20s  %-20s  %-6s  %-6s  %-6s  %-6s  %-6s  %s\n", "", "AUROC", "AURC", "S", "R2", "-S R2", "S(10)",
           "rho", "ECE");
    for (int k = 0; k < s->n_scores; k++) {
        const struct uncertainty *m = &b->m[way][k];
        if (!uncertainty_both_has(b, way, k))
            continue;
        printf("%-14s", s->score[k].name);
        print_number(m->auroc, true, 20);
        print_number(m->aurc, true, 20);
        print_number(m->levels[0].spearman, false, 6);
        print_number(m->levels[0].r2, false, 6);
        print_number(m->levels[0].neg_s_r2, false, 6);
        print_number(m->levels[1].spearman, false, 6);
        print_number(m->spearman_query, false, 6);
        print_number(m->ece, false, 0);
        printf("\n");
    }
    for (int k = 0; k < s->n_scores; k++)
        if (!s->score[k].u && uncertainty_both_asks(b, way, k))
            printf("%-14s  %s\n", s->score[k].name, s->score[k].why);
    printf("\n");
}

/* ---- figures */

static const char *const figures[] = {"levels", "risk"};
static const char *const endings[] = {"svg", "tsv"};

static int figure_path(char *out, size_t n, const struct job *j, size_t figure, int ending)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", figures[figure], endings[ending]);
    return path_join(out, n, j->o->figure, name);
}

/* Before the work: figures that exist are refused. */
static int check_figures(const struct job *j)
{
    char path[2048];
    for (size_t k = 0; k < ARRAY_LEN(figures); k++)
        for (int e = 0; e < 2; e++) {
            TRY(figure_path(path, sizeof path, j, k, e));
            TRY(path_check_output(path, j->o->set.force));
        }
    return 0;
}

static int write_figures(const struct job *j)
{
    struct fig_doubt d[FIG_DOUBTS];
    struct fig_in in = {
        .set = j->set, .seed = (uint64_t)j->o->seed, .doubt = d, .n_doubts = figure_doubts(&j->both, d)};
    char path[2048];
    if (in.n_doubts == 0)
        FAIL(ERR_USAGE, "--figure: none of the scores asked for can be computed in both directions");
    TRY(path_make_dirs(j->o->figure));
    for (size_t k = 0; k < ARRAY_LEN(figures); k++) {
        struct str out[2] = {{0}, {0}};
        int rc = figure_svg(figures[k], &in, &out[0], &out[1]);
        for (int e = 0; rc == 0 && e < 2; e++) {
            rc = figure_path(path, sizeof path, j, k, e);
            if (rc == 0)
                rc = out[e].failed ? err_set(ERR_MEMORY, "no memory for %s", path)
                                   : atomic_put(path, out[e].s ? out[e].s : "", out[e].n);
        }
        str_free(&out[0]);
        str_free(&out[1]);
        TRY(rc);
    }
    return 0;
}

static int work(struct cli *c, struct job *j)
{
    if (j->o->figure)
        TRY(check_figures(j));
    TRY(read_columns(j));
    if (j->set->n_pairs == 0 && !j->label)
        log_warn("set \"%s\" has no pairs: no query has a right answer", j->set->path);
    if (j->o->adapter)
        TRY(adapters_uncertainty(j->o->adapter, j->set, (uint64_t)j->o->seed, j->o->set.force, j->adapter));
    if (j->o->adapter && j->reference)
        TRY(adapters_uncertainty(j->o->adapter, j->reference, (uint64_t)j->o->seed, j->o->set.force, j->held));
    if (j->o->probit)
        TRY(probit(j));
    TRY(measure(j));
    if (j->o->figure)
        TRY(write_figures(j));
    if (c->json)
        return cli_put_json(cli_add_source(uncertainty_both_to_json(&j->both), j->set));
    cli_print_source(j->set);
    print_way(j, 0);
    print_way(j, 1);
    printf(
        "[95 %% intervals: bootstrap over queries] AUROC of miss against hit, 0.5: no better than chance; AURC: mean "
        "miss rate of the\nsurest, lower is better; S, R2 of level and recall, best -1 and 1; rho: Spearman over "
        "queries, best -1\n");
    return 0;
}

static int run(struct cli *c)
{
    struct job j = {.o = c->opt};
    if (j.o->probit && !j.o->adapter)
        FAIL(ERR_USAGE, "--probit is a softmax over an adapter's distributions: it needs --adapter");
    TRY(uncertainty_check_list(j.o->score, j.o->probit    ? "adapter,adapter-entropy,adapter-max-p"
                                           : j.o->adapter ? "adapter"
                                                          : NULL));
    if (j.o->reference && j.o->split_column)
        FAIL(ERR_USAGE, "--reference and --split-column: expected one of them");
    if (j.o->rows && !j.o->split_column && !j.o->hit_column)
        FAIL(ERR_USAGE, "--rows has the columns that --split-column and --hit-column name: give one of these");
    TRY(cli_set(c, &j.o->set, &j.set));
    int rc = work(c, &j);
    uncertainty_both_close(&j.both);
    for (int way = 0; way < 2; way++) {
        mem_free(j.adapter[way]);
        mem_free(j.held[way]);
        mem_free(j.probit[way]);
        mem_free(j.held_probit[way]);
    }
    mem_free((void *)j.split);
    mem_free((void *)j.label);
    mem_free((void *)j.reference_label);
    if (j.has_rows)
        table_free(&j.rows);
    set_close(&j.reference);
    set_close(&j.set);
    return rc;
}

const struct command command_eval_uncertainty = {
    .name = "eval uncertainty",
    .summary = "does a score know when the first answer is wrong?",
    .usage = "(SET | --images A.npy --texts B.npy [--pairs P.csv]) [--split-column NAME | --reference SET]",
    .notes =
        "Answers are ranked by the raw cosine; a score only says how unsure each first answer is. A text's split and "
        "class are\nthose of its first picture.\n",
    .add_help = add_help,
    .example = "meridian eval uncertainty fashion --split-column split --figure figures",
    .options = options,
    .size = sizeof(struct unc_cmd),
    .computes = true,
    .run = run,
};
