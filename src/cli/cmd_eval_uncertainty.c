/* cli/cmd_eval_uncertainty.c: does a score know when the first answer is wrong? All cheap scores side by side, both
 * directions, and the two figures. */
#include "adapt/adapt.h"
#include "cli/cli.h"

#include <math.h>
#include <string.h>

struct unc_cmd {
    struct set_opt set;
    const char *score, *split_column, *hit_column, *rows, *reference, *figure, *adapter;
    int64_t bootstrap, seed, bins;
    double temperature;
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

static const char *const ways[2] = {"image_to_text", "text_to_image"};

struct job {
    const struct unc_cmd *o;
    struct set *set, *reference;
    struct table rows; /* of --rows */
    bool has_rows;
    const char **split, **label, **reference_label;
    double *adapter[2], *held[2]; /* by row of each side, of the set and of the reference set */
    struct uncertainty_scores s[2];
    struct uncertainty *m[2]; /* [n_scores] */
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

static bool wanted(const char *list, const char *name)
{
    return strcmp(list, "all") == 0 || cli_listed(list, name);
}

static int check_scores(const char *list, bool adapter)
{
    const char *names[N_UNCERTAINTIES + 1] = {NULL};
    int n = N_UNCERTAINTIES + adapter;
    char word[64];
    if (strcmp(list, "all") == 0)
        return 0;
    for (int i = 0; i < n; i++)
        names[i] = i < N_UNCERTAINTIES ? uncertainty_name(i) : "adapter";
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        bool known = false;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, ","), p);
        for (int i = 0; i < n; i++)
            known = known || strcmp(word, names[i]) == 0;
        const char *near = known ? NULL : str_nearest(word, names, n);
        if (!known)
            FAIL(ERR_USAGE, "option --score: no score \"%s\"%s%s%s; meridian help eval uncertainty lists them", word,
                 near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
    }
    return 0;
}

static void add_help(struct str *b)
{
    str_add(b, "\nscores (docs/methods/uncertainty.md has the formulas):\n");
    for (int i = 0; i < N_UNCERTAINTIES; i++)
        str_add(b, "  %-14s  %s\n", uncertainty_name(i), uncertainty_text(i));
}

/* ---- an adapter's uncertainty */

static int predict_side(struct adapter *a, const struct set *s, int side, const struct unc_cmd *o, double **out)
{
    struct predict_opt opt = {.dropout = -1, .seed = (uint64_t)o->seed, .force = o->set.force};
    double *u = mem_calloc((size_t)(side == SIDE_TEXT ? s->text.n : s->image.n) + 1, sizeof *u);
    int rc = u ? adapt_predict(a, s, side, &opt, u, NULL) : ERR_MEMORY;
    if (rc < 0) {
        mem_free(u);
        return rc;
    }
    *out = u;
    return 0;
}

static int predict(struct job *j)
{
    struct adapter *a = NULL;
    int rc = adapt_open(&a, j->o->adapter);
    for (int side = 0; rc == 0 && side < 2; side++) {
        rc = predict_side(a, j->set, side, j->o, &j->adapter[side]);
        if (rc == 0 && j->reference)
            rc = predict_side(a, j->reference, side, j->o, &j->held[side]);
    }
    adapt_close(&a);
    return rc < 0 ? err_while(rc, "asking adapter \"%s\"", j->o->adapter) : 0;
}

/* ---- measuring and printing */

static int measure(struct job *j, int way)
{
    const struct unc_cmd *o = j->o;
    struct eval_opt opt = {
        .bootstrap = o->bootstrap > 0 ? o->bootstrap : -1, .seed = (uint64_t)o->seed, .bins_mass = o->bins};
    struct uncertainty_in in = {.set = j->set,
                                .reference = j->reference,
                                .split = j->split,
                                .label = j->label,
                                .reference_label = j->reference_label,
                                .temperature = o->temperature};
    struct uncertainty_extra extra = {.name = "adapter",
                                      .text = "uncertainty of the adapter",
                                      .u = {j->adapter[0], j->adapter[1]},
                                      .held = {j->held[0], j->held[1]}};
    in.extra = &extra;
    in.n_extra = j->adapter[0] != NULL;
    TRY(uncertainty_scores_open(&j->s[way], &in, way));
    struct uncertainty_scores *s = &j->s[way];
    j->m[way] = mem_calloc((size_t)s->n_scores, sizeof *j->m[way]);
    if (!j->m[way])
        return ERR_MEMORY;
    for (int k = 0; k < s->n_scores; k++)
        if (s->score[k].u && wanted(o->score, s->score[k].name))
            TRY_IN(eval_uncertainty(s->score[k].u, s->hit, s->score[k].p, s->n, &opt, &j->m[way][k]), "score %s",
                   s->score[k].name);
    return 0;
}

static json_t *way_to_json(const struct job *j, int way)
{
    const struct uncertainty_scores *s = &j->s[way];
    json_t *scores = json_object(), *only = NULL;
    int64_t hits = 0;
    int n = 0;
    for (int64_t i = 0; i < s->n; i++)
        hits += s->hit[i];
    for (int k = 0; scores && k < s->n_scores; k++) {
        if (!wanted(j->o->score, s->score[k].name))
            continue;
        json_t *one = s->score[k].u ? uncertainty_to_json(&j->m[way][k])
                                    : json_pack("{s:n, s:s}", "auroc", "why", s->score[k].why);
        only = one;
        n++;
        json_object_set_new(scores, s->score[k].name, one);
    }
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:s, s:o}", "n_queries", (json_int_t)s->n, "n_gallery",
                          (json_int_t)s->n_gallery, "n_validation", (json_int_t)s->n_val, "n_reference",
                          (json_int_t)s->n_reference, "n_without_positive", (json_int_t)s->n_without, "recall_at_1",
                          s->n ? json_real((double)hits / (double)s->n) : json_null(), "temperature", s->temperature,
                          "temperature_from", s->temperature_from, "scores", scores);
    if (o && n == 1) /* one score: its keys stand here too */
        json_object_update_missing(o, only);
    return o;
}

static json_t *to_json(const struct job *j)
{
    json_t *o = json_pack("{s:s, s:s?, s:o, s:o}", "hits", j->o->hit_column ? "column" : "pairs", "hit_column",
                          j->o->hit_column, ways[0], way_to_json(j, 0), ways[1], way_to_json(j, 1));
    return cli_add_source(o, j->set);
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
    const struct uncertainty_scores *s = &j->s[way];
    int64_t hits = 0;
    for (int64_t i = 0; i < s->n; i++)
        hits += s->hit[i];
    printf("%s: %lld queries among %lld, first answer right in %.3f; temperature %.4g (%s); %lld validation, %lld "
           "reference queries\n",
           way ? "text to image" : "image to text", (long long)s->n, (long long)s->n_gallery,
           s->n ? (double)hits / (double)s->n : 0.0, s->temperature, s->temperature_from, (long long)s->n_val,
           (long long)s->n_reference);
    printf("%-14s  %-20s  %-20s  %-6s  %-6s  %-6s  %-6s  %-6s  %s\n", "", "AUROC", "AURC", "S", "R2", "-S R2", "S(10)",
           "rho", "ECE");
    for (int k = 0; k < s->n_scores; k++) {
        const struct uncertainty *m = &j->m[way][k];
        if (!s->score[k].u || !wanted(j->o->score, s->score[k].name))
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
        if (!s->score[k].u && wanted(j->o->score, s->score[k].name))
            printf("%-14s  %s\n", s->score[k].name, s->score[k].why);
    printf("\n");
}

/* ---- figures */

/* What is drawn: the combined score if there is one, then the plainest ones, in this order, of those asked for. */
static int pick_doubts(const struct job *j, struct fig_doubt *d)
{
    static const char *const order[] = {"combined", "inverted", "max-p", "cosine"};
    int n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < j->s[0].n_scores; k++) {
            const struct uncertainty_score *a = &j->s[0].score[k], *b = &j->s[1].score[k];
            bool first = false;
            for (size_t i = 0; i < ARRAY_LEN(order); i++)
                first = first || strcmp(a->name, order[i]) == 0;
            if (a->u && b->u && wanted(j->o->score, a->name) && first == (pass == 0))
                d[n++] = (struct fig_doubt){a->name, a->text, {&j->m[0][k], &j->m[1][k]}};
        }
    for (size_t at = 0, i = 0; i < ARRAY_LEN(order); i++)
        for (int k = (int)at; k < n; k++)
            if (strcmp(d[k].name, order[i]) == 0) {
                struct fig_doubt t = d[k];
                d[k] = d[at];
                d[at++] = t;
                break;
            }
    return n;
}

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
    struct fig_doubt d[N_UNCERTAINTIES + UNCERTAINTY_EXTRA];
    struct fig_in in = {.set = j->set, .seed = (uint64_t)j->o->seed, .doubt = d, .n_doubts = pick_doubts(j, d)};
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
        TRY(predict(j));
    for (int way = 0; way < 2; way++)
        TRY(measure(j, way));
    if (j->o->figure)
        TRY(write_figures(j));
    if (c->json)
        return cli_put_json(to_json(j));
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
    TRY(check_scores(j.o->score, j.o->adapter != NULL));
    if (j.o->reference && j.o->split_column)
        FAIL(ERR_USAGE, "--reference and --split-column: expected one of them");
    TRY(cli_set(c, &j.o->set, &j.set));
    int rc = work(c, &j);
    for (int way = 0; way < 2; way++) {
        uncertainty_scores_close(&j.s[way]);
        mem_free(j.m[way]);
        mem_free(j.adapter[way]);
        mem_free(j.held[way]);
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
