/* cli/cmd_calibrate.c: from scores to p(match): fits on one part of a set's pairs, judges on another, writes the
 * calibration that `search --calibration` reads (docs/methods/calibration.md). */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

struct calibrate_cmd {
    struct set_opt set;
    const char *method, *features, *out, *figure, *split_column, *validation, *test, *validation_rows, *test_rows;
    int64_t hits, bootstrap, seed;
    double validation_share, risk_share, same, l2;
    bool hard, force;
};
#define F(field) offsetof(struct calibrate_cmd, field)
static const struct opt options[] = {
    {"method", 'm', OPT_CHOICE, F(method), "beta", 0, 0, "beta|platt|isotonic|temperature", NULL,
     "the map from score to probability"},
    {"features", 0, OPT_STR, F(features), MATCH_FEATURES_USUAL, 0, 0, NULL, "LIST",
     "what the score is made of; temperature takes the softmax alone"},
    PATH_OPTION("out", struct calibrate_cmd, out, "CAL.json", "the calibration to write"),
    PATH_OPTION("figure", struct calibrate_cmd, figure, "F.svg", "reliability on the held-out pairs, and F.tsv"),
    {"hits", 'k', OPT_INT, F(hits), "10", 1, 1000, NULL, "N",
     "length of the lists that p(match) is fitted and judged on"},
    {"validation-share", 0, OPT_REAL, F(validation_share), "0.6", 0.01, 1, NULL, "X",
     "share of the groups that a fit may see; the rest judges"},
    {"risk-share", 0, OPT_REAL, F(risk_share), "0.5", 0, 0.99, NULL, "X",
     "share of the validation part kept for search --risk and --coverage"},
    {"split-column", 0, OPT_STR, F(split_column), NULL, 0, 0, NULL, "NAME",
     "take the parts from this column of images.csv, with --validation and --test"},
    {"validation", 0, OPT_STR, F(validation), NULL, 0, 0, NULL, "V,...",
     "values of --split-column for the fit; val, valid, validation and dev when not given"},
    {"test", 0, OPT_STR, F(test), NULL, 0, 0, NULL, "V,...",
     "values of --split-column to judge on; test when not given"},
    PATH_OPTION("validation-rows", struct calibrate_cmd, validation_rows, "F.txt",
                "picture rows for the fit, one a line; their captions follow them"),
    PATH_OPTION("test-rows", struct calibrate_cmd, test_rows, "F.txt", "picture rows to judge on, one a line"),
    {"same", 0, OPT_REAL, F(same), "0.99999", 0.5, 1, NULL, "COS", "vectors of a higher cosine are one item twice"},
    {"l2", 0, OPT_REAL, F(l2), "0.001", 0, 1000, NULL, "X", "weight decay on the slopes of standardised scores"},
    {"hard-targets", 0, OPT_BOOL, F(hard), NULL, 0, 0, NULL, NULL,
     "fit to 1 and 0, not to the smoothed targets of Lin, Lin and Weng"},
    SET_OPTIONS(struct calibrate_cmd, set),
    BOOTSTRAP_OPTION(struct calibrate_cmd, bootstrap),
    SEED_OPTION(struct calibrate_cmd, seed),
    FORCE_OPTION(struct calibrate_cmd, force),
    {0},
};
#undef F

/* ---- which rows ---- */

static bool in_part(const char *given, enum set_part part, const char *word)
{
    return given ? str_listed(given, word) : set_part_of(word) == part;
}

/* given [image.n] in the arena, or NULL: by share. */
static int given_roles(struct cli *c, const struct calibrate_cmd *o, const struct set *s, const uint8_t **out)
{
    if (!o->split_column && (o->validation || o->test))
        FAIL(ERR_USAGE, "--%s names values of a column: give --split-column too",
             o->validation ? "validation" : "test");
    if (!o->split_column && !o->validation_rows && !o->test_rows)
        return 0;
    if (o->split_column && (o->validation_rows || o->test_rows))
        FAIL(ERR_USAGE, "--split-column and lists of rows exclude each other");
    uint8_t *given = arena_calloc(c->arena, (size_t)s->image.n + 1, 1);
    if (!given)
        return ERR_MEMORY;
    if (o->split_column) {
        int col = s->image.has_meta ? table_col(&s->image.meta, o->split_column) : -1;
        if (col < 0)
            FAIL(ERR_DATA, "set \"%s\": images.csv has no column \"%.60s\" for --split-column", s->path,
                 o->split_column);
        for (int64_t i = 0; i < s->image.n; i++) {
            const char *cell = table_cell(&s->image.meta, i, col);
            given[i] = in_part(o->validation, PART_VALIDATION, cell) ? ROLE_FIT
                       : in_part(o->test, PART_TEST, cell)           ? ROLE_TEST
                                                                     : ROLE_NONE;
        }
    } else {
        TRY(cli_need(c, o->validation_rows, "--validation-rows"));
        TRY(set_mark_rows(o->validation_rows, ROLE_FIT, s->image.n, given));
        if (o->test_rows)
            TRY(set_mark_rows(o->test_rows, ROLE_TEST, s->image.n, given));
    }
    *out = given;
    return 0;
}

/* ---- the answer ---- */

static void print_line(const char *name, struct interval a, struct interval b)
{
    const struct interval both[2] = {a, b};
    printf("  %-28s", name);
    for (int i = 0; i < 2; i++) {
        char text[64] = "-";
        if (isfinite(both[i].low) && isfinite(both[i].high))
            snprintf(text, sizeof text, "%.4f [%.4f, %.4f]", both[i].value, both[i].low, both[i].high);
        else if (isfinite(both[i].value))
            snprintf(text, sizeof text, "%.4f", both[i].value);
        printf(i ? "  %s\n" : "  %-26s", text);
    }
}

static void print_model(const struct match_model *m, const char *title)
{
    const struct match_report *a = &m->report[0], *b = &m->report[1];
    printf("%s\n", title);
    if (!m->fitted) {
        printf("  no validation query has a right answer: not fitted\n");
        return;
    }
    printf("  fitted on %lld pairs of %lld queries, %lld of them matches; temperature %.4g; %lld queries for "
           "thresholds\n",
           (long long)m->n_fit_pairs, (long long)m->n_fit_queries, (long long)m->n_fit_matches, m->temperature,
           (long long)m->risk.n);
    printf("  %-28s  %-26s  %s\n", "held out", "every hit", "first hits");
    printf("  %-28s  %-26lld  %lld\n", "pairs", (long long)a->n_pairs, (long long)b->n_pairs);
    print_line("share that match", a->share, b->share);
    print_line("calibration error (width)", a->ece, b->ece);
    print_line("calibration error (mass)", a->ece_equal_mass, b->ece_equal_mass);
    print_line("Brier score", a->brier, b->brier);
    print_line("negative log likelihood", a->nll, b->nll);
    for (int i = 0; i < 3; i++) {
        const struct match_kept *k = &m->risk_kept[i];
        if (k->found)
            printf("  --risk %-21g  answers %lld of %lld, %lld of them wrong\n", k->asked, (long long)k->n_answered,
                   (long long)k->n, (long long)k->n_wrong);
        else
            printf("  --risk %-21g  always unsure: no threshold keeps it\n", k->asked);
    }
    for (int i = 0; i < 2; i++)
        printf("  --coverage %-17g  %lld of %lld lists hold a right one\n", m->cover_kept[i].asked,
               (long long)(m->cover_kept[i].n - m->cover_kept[i].n_wrong), (long long)m->cover_kept[i].n);
}

static int draw_figure(const struct calibrate_cmd *o, const struct set *s, const struct calibration *c)
{
    const struct fig_in in = {.set = s, .match = {c->models[0].report, c->models[1].report}};
    return cli_put_figure(figure_match_svg, &in, o->figure);
}

static int calibrate(struct cli *c, const struct calibrate_cmd *o, const struct set *s)
{
    struct match_split split = {0};
    struct calibration cal = {0};
    struct match_split_opt how = {
        .same = o->same, .validation = o->validation_share, .risk = o->risk_share, .seed = (uint64_t)o->seed};
    struct match_opt opt = {.n_hits = o->hits,
                            .fit = {.l2 = o->l2, .smooth = !o->hard},
                            .bootstrap = o->bootstrap,
                            .seed = (uint64_t)o->seed};
    TRY(calibrator_find(o->method, &opt.kind));
    TRY(match_features_find(o->features, "option --features", &opt.features));
    TRY(given_roles(c, o, s, &how.given));
    TRY(match_split_open(s, &how, &split));
    int rc = calibration_fit(s, &split, &opt, &cal);
    if (rc == 0 && o->out)
        rc = calibration_write(o->out, &cal);
    if (rc == 0 && o->figure)
        rc = draw_figure(o, s, &cal);
    if (rc == 0 && c->json) {
        rc = cli_put_json(calibration_answer(&cal, &split));
    } else if (rc == 0) {
        printf("%s; %lld groups of pictures, the largest of %lld: %s\n\n", o->method, (long long)split.n_groups,
               (long long)split.largest, split.grouping);
        print_model(&cal.models[0], "image to text");
        print_model(&cal.models[1], "text to image");
        printf("\n[95 %% intervals: bootstrap over queries]\n");
    }
    if (rc == 0 && !s->fingerprint[0])
        log_warn("set \"%s\" does not say which model made it: search cannot check that the calibration belongs to it",
                 s->path);
    calibration_free(&cal);
    match_split_close(&split);
    return rc;
}

static int run(struct cli *c)
{
    const struct calibrate_cmd *o = c->opt;
    struct set_opt which = o->set;
    struct set *s = NULL;
    int features;
    which.force = false;
    TRY(match_features_find(o->features, "option --features", &features));
    if (o->out)
        TRY(path_check_output(o->out, o->force));
    if (o->figure)
        TRY(cli_check_figure(o->figure, o->out, o->force));
    TRY(cli_set(c, &which, &s));
    int rc = calibrate(c, o, s);
    set_close(&s);
    return rc;
}

const struct command command_calibrate = {
    .name = "calibrate",
    .summary = "fit p(match), the probability that a hit is right",
    .usage = "SET --out CAL.json [--method beta|platt|isotonic|temperature]",
    .notes =
        "The pairs are dealt to three parts: one fits, one sets the thresholds of search --risk and --coverage, one "
        "judges.\n"
        "Pairs that share a picture or a caption, or have nearly equal vectors, stay together.\n",
    .example = "meridian calibrate test-set --out test-cal.json",
    .options = options,
    .size = sizeof(struct calibrate_cmd),
    .computes = true,
    .run = run,
};
