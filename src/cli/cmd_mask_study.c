/* cli/cmd_mask_study.c: does doubt grow as less of a picture, or of a text, can be seen?
 *
 * The data are encoded whole and with 10, 20, ... 90 % of every picture and of every caption hidden (data/mask.c). The
 * masked side asks, the whole side answers: each share's pictures look for their words among all whole words, and the
 * reverse, so that a score and its hits change for one reason only. A score's numbers at two shares belong to the same
 * item, so the rise is told of pairs: mean of u(share) - u(0) with its bootstrap interval over items, in standard
 * deviations of u(0), and the share of the items that became less sure. After Upadhyay et al. 2023, figure 6, which
 * shows the mean alone, of variances alone.
 * Sets of finished shares stay until the study is written; the same command goes on with them after a kill. Rejected:
 * masking both sides at once (one could not tell whose doubt it is). */
#include "cli/adapters.h"
#include "cli/encode_set.h"

#include <math.h>
#include <string.h>

enum { SHARES_MAX = 101, ADAPTERS_MAX = 4, SCORES_MAX = N_UNCERTAINTIES + ADAPTERS_MAX };

struct mask_cmd {
    const char *model, *data, *split, *out, *score, *region, *with, *sets;
    struct opt_list adapters;
    int64_t step, most, grid, min_words, bootstrap, seed, batch, loaders, image_size;
    bool force;
    struct dataset_opt which;
    struct engine_opt engine;
};
#define F(field) offsetof(struct mask_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct mask_cmd, model, "M", "model folder, run folder, or the shipped model: emoji"),
    PATH_OPTION("data", struct mask_cmd, data, "SPEC", "KIND:WHERE, listed below"),
    PATH_OPTION("out", struct mask_cmd, out, "DIR", "the folder to write: mask.tsv, mask.svg, mask.json"),
    {"adapter", 0, OPT_LIST, F(adapters), NULL, 0, 0, NULL, "ADAPTER", "also the uncertainty of these (at most 4)"},
    {"score", 0, OPT_STR, F(score), "cosine,max-p,entropy,inverted", 0, 0, NULL, "A,B",
     "scores of meridian eval uncertainty; all: every one; none: adapters alone"},
    {"step", 0, OPT_INT, F(step), "10", 1, 100, NULL, "N", "per cent from one share to the next"},
    {"most", 0, OPT_INT, F(most), "90", 1, 100, NULL, "N", "the last share, in per cent"},
    {"region", 0, OPT_CHOICE, F(region), "random", 0, 0, "random|centre", NULL,
     "squares anywhere in the picture, or from the middle outwards"},
    {"grid", 0, OPT_INT, F(grid), "10", 1, 1000, NULL, "N", "squares along a picture's shorter side"},
    PATH_OPTION("mask-with", struct mask_cmd, with, "WORD", "write masked words as this, in place of nothing"),
    {"min-words", 0, OPT_INT, F(min_words), "1", 1, 1000, NULL, "N", "ask only with texts of so many words or more"},
    {"split", 0, OPT_STR, F(split), NULL, 0, 0, NULL, "NAMES", "rows of the data; emoji: test when not given"},
    CAPTIONS_OPTION(struct mask_cmd, which.captions),
    DATA_OPTIONS(struct mask_cmd, which),
    {"limit", 0, OPT_INT, F(which.limit), "0", 0, 1e12, NULL, "N", "at most so many pictures; 0: all"},
    PATH_OPTION("save-sets", struct mask_cmd, sets, "DIR",
                "keep the sets, masked-00 to masked-90; else OUT.sets, removed"),
    {"batch", 'b', OPT_INT, F(batch), "64", 1, 65536, NULL, "N", "pictures decoded and encoded at a time"},
    {"loader-threads", 0, OPT_INT, F(loaders), "1", 1, 64, NULL, "N", "threads that decode pictures"},
    IMAGE_SIZE_OPTION(struct mask_cmd, image_size),
    BOOTSTRAP_OPTION(struct mask_cmd, bootstrap),
    SEED_OPTION(struct mask_cmd, seed),
    FORCE_OPTION(struct mask_cmd, force),
    ENGINE_OPTIONS(struct mask_cmd, engine),
    {0},
};
#undef F

static const char *const sides[2] = {"pictures", "words"};

/* Of one side: what was found of its items at every share. */
struct finding {
    int64_t n, *row;           /* items that ask */
    double *u[SCORES_MAX];     /* [n_shares, n] */
    double *hit;               /* [n_shares, n] 0 or 1 */
    int64_t empty[SHARES_MAX]; /* texts of which nothing is left */
    struct interval recall[SHARES_MAX], doubt[SCORES_MAX][SHARES_MAX], rise[SCORES_MAX][SHARES_MAX];
    double risen[SCORES_MAX][SHARES_MAX];
    struct fig_mask_score score[SCORES_MAX];
};
struct study {
    struct cli *c;
    const struct mask_cmd *o;
    struct model *m;
    bool low;
    char sets[2048];
    int n_shares, n_scores, id[SCORES_MAX]; /* id: of enum uncertainty_id, or N_UNCERTAINTIES + adapter */
    char names[SCORES_MAX][80];
    double share[SHARES_MAX];
    struct adapter *adapter[ADAPTERS_MAX];
    struct set *plain;
    struct finding side[2];
};

/* ---- the sets ---- */

static int set_path(char *out, size_t n, const struct study *s, int k)
{
    char name[32];
    snprintf(name, sizeof name, "masked-%02lld", (long long)llrint(100 * s->share[k]));
    return path_join(out, n, s->sets, name);
}

/* *data stays open: methods that perturb inputs look at them again. */
static int make_set(struct study *s, int k, const char *path, struct dataset **data)
{
    const struct mask_cmd *o = s->o;
    char protocol[256];
    struct dataset *d = NULL;
    struct encode_result r = {0};
    struct dataset_opt which = o->which;
    struct str line = {0};
    const struct mask_opt mask = {.pictures = s->share[k],
                                  .words = s->share[k],
                                  .grid = o->grid,
                                  .centre = !strcmp(o->region, "centre"),
                                  .with = o->with,
                                  .seed = (uint64_t)o->seed};
    TRY(cli_dataset(&d, o->data, o->split, "test", &which));
    if (k == 0)
        log_info("%s", d->description);
    int rc = d->n_pairs > 0 ? encode_protocol(&d, &which, &mask, protocol, sizeof protocol)
                            : err_set(ERR_DATA, "%s: no pair of a picture and a text, so no answer is right", o->data);
    if (rc == 0)
        rc = cli_command_line(s->c, &line, NULL);
    struct encode_job job = {.m = s->m,
                             .d = d,
                             .out = path,
                             .dtype = "float32",
                             .protocol = protocol,
                             .command = line.s,
                             .batch = o->batch,
                             .loaders = o->loaders,
                             .shard_rows = 8192,
                             .force = o->force,
                             .resume = true,
                             .low = s->low};
    if (rc == 0)
        rc = encode_set(&job, &r);
    str_free(&line);
    if (rc == 0)
        *data = d;
    else
        dataset_close(&d);
    return rc < 0 ? err_while(rc, "encoding with %g of everything hidden", s->share[k]) : 0;
}

static int open_share(struct study *s, int k, struct set **out, struct dataset **data)
{
    char path[2048];
    TRY(set_path(path, sizeof path, s, k));
    TRY(make_set(s, k, path, data));
    TRY(set_open(out, path));
    if (s->plain && ((*out)->image.n != s->plain->image.n || (*out)->text.n != s->plain->text.n))
        FAIL(ERR_DATA, "\"%s\" has other rows than the set of the whole pictures; did pictures come or go meanwhile?",
             path);
    return 0;
}

/* Only what this command wrote is removed. */
static int remove_sets(const struct study *s)
{
    char path[2048];
    for (int k = 0; k < s->n_shares; k++) {
        TRY(set_path(path, sizeof path, s, k));
        TRY(path_remove_tree(path));
    }
    remove(s->sets); /* stays if something else lies there */
    return 0;
}

/* ---- which scores, which items ---- */

static int name_adapters(struct study *s)
{
    const struct engine *e;
    bool low;
    if (s->o->adapters.n > ADAPTERS_MAX)
        FAIL(ERR_USAGE, "%d adapters, expected at most %d", s->o->adapters.n, ADAPTERS_MAX);
    TRY(cli_engine(&s->o->engine, &e, &low));
    for (int i = 0; i < s->o->adapters.n; i++) {
        TRY(adapt_open_on(&s->adapter[i], s->o->adapters.v[i], e));
        const char *method = adapt_method(s->adapter[i]);
        int same = 0;
        for (int k = 0; k < i; k++)
            same += !strcmp(method, adapt_method(s->adapter[k]));
        s->id[s->n_scores] = N_UNCERTAINTIES + i;
        char *name = s->names[s->n_scores++];
        snprintf(name, sizeof s->names[0], same ? "%.40s (%d)" : "%.40s", method, same + 1);
    }
    return 0;
}

/* Those of the list that can be computed in both directions. */
static void choose_scores(struct study *s, const struct uncertainty_scores from[2])
{
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        if (from[0].score[k].u && from[1].score[k].u &&
            (!strcmp(s->o->score, "all") || str_listed(s->o->score, uncertainty_name(k)))) {
            s->id[s->n_scores] = k;
            snprintf(s->names[s->n_scores++], sizeof s->names[0], "%s", uncertainty_name(k));
        }
}

static bool long_enough(const struct study *s, int64_t text)
{
    int col = s->plain->text.has_meta ? table_col(&s->plain->text.meta, "caption") : -1;
    return col < 0 || mask_count_words(table_cell(&s->plain->text.meta, text, col)) >= s->o->min_words;
}

static int choose_items(struct study *s, int side, const struct uncertainty_scores *from)
{
    struct finding *f = &s->side[side];
    f->row = mem_calloc((size_t)from->n + 1, sizeof *f->row);
    if (!f->row)
        return ERR_MEMORY;
    for (int64_t i = 0; i < from->n; i++)
        if (side == SIDE_IMAGE || long_enough(s, from->row[i]))
            f->row[f->n++] = from->row[i];
    if (f->n == 0)
        FAIL(ERR_DATA, "no %s that has a right answer%s is left to ask with", side ? "text" : "picture",
             side ? " and so many words (--min-words)" : "");
    size_t cells = (size_t)f->n * (size_t)s->n_shares;
    f->hit = mem_calloc(cells, sizeof(double));
    for (int k = 0; k < s->n_scores; k++)
        if (!(f->u[k] = mem_calloc(cells, sizeof(double))))
            return ERR_MEMORY;
    return f->hit ? 0 : ERR_MEMORY;
}

/* ---- one share ---- */

/* Column of this share: items by row out of [rows of the side]. */
static void take(struct finding *f, double *into, int at, const double *by_row)
{
    for (int64_t i = 0; i < f->n; i++)
        into[at * f->n + i] = by_row[f->row[i]];
}

static int take_adapters(struct study *s, const struct set *v, const struct dataset *data, int side, int at)
{
    const struct predict_opt opt = {.dropout = -1, .seed = (uint64_t)s->o->seed, .data = data};
    double *u = mem_calloc((size_t)(side == SIDE_TEXT ? v->text.n : v->image.n) + 1, sizeof *u);
    int rc = u ? 0 : ERR_MEMORY;
    for (int k = 0; k < s->n_scores && rc == 0; k++) {
        if (s->id[k] < N_UNCERTAINTIES)
            continue;
        struct adapter *a = s->adapter[s->id[k] - N_UNCERTAINTIES];
        rc = adapt_covers(a, side) ? adapt_predict(a, v, side, &opt, u, NULL) : 0;
        for (int64_t i = 0; !adapt_covers(a, side) && i < (side == SIDE_TEXT ? v->text.n : v->image.n); i++)
            u[i] = (double)NAN;
        if (rc == 0)
            take(&s->side[side], s->side[side].u[k], at, u);
    }
    mem_free(u);
    return rc < 0 ? err_while(rc, "asking an adapter") : 0;
}

/* The rows of a score are those with a right answer, the same at every share. */
static void take_scores(struct study *s, const struct uncertainty_scores *from, int side, int at)
{
    struct finding *f = &s->side[side];
    for (int64_t i = 0, j = 0; j < f->n; i++) {
        if (from->row[i] != f->row[j])
            continue;
        f->hit[at * f->n + j] = from->hit[i];
        for (int k = 0; k < s->n_scores; k++)
            if (s->id[k] < N_UNCERTAINTIES && from->score[s->id[k]].u)
                f->u[k][at * f->n + j] = from->score[s->id[k]].u[i];
        j++;
    }
}

/* The whole set with one side masked. */
static struct set beside(const struct study *s, const struct set *masked, int side)
{
    struct set v = *s->plain;
    if (side == SIDE_TEXT)
        v.text.x = masked->text.x;
    else
        v.image.x = masked->image.x;
    return v;
}

static void count_empty(struct study *s, const struct set *masked, int at)
{
    const struct finding *f = &s->side[SIDE_TEXT];
    int col = masked->text.has_meta ? table_col(&masked->text.meta, "caption") : -1;
    for (int64_t i = 0; col >= 0 && i < f->n; i++)
        s->side[SIDE_TEXT].empty[at] += mask_count_words(table_cell(&masked->text.meta, f->row[i], col)) == 0;
}

static int one_share(struct study *s, int k)
{
    struct set *masked = NULL;
    struct dataset *data = NULL;
    struct uncertainty_scores from[2] = {{0}, {0}};
    int rc = open_share(s, k, k ? &masked : &s->plain, &data);
    for (int side = 0; side < 2 && rc == 0; side++) {
        struct set v = beside(s, k ? masked : s->plain, side);
        rc = uncertainty_scores_open(&from[side], &(struct uncertainty_in){.set = &v}, side);
    }
    if (rc == 0 && k == 0) {
        rc = name_adapters(s);
        if (rc == 0)
            choose_scores(s, from);
        if (rc == 0 && s->n_scores == 0)
            rc = err_set(ERR_USAGE, "no score to study: give --score, or --adapter with --score none");
        for (int side = 0; side < 2 && rc == 0; side++)
            rc = choose_items(s, side, &from[side]);
    }
    for (int side = 0; side < 2 && rc == 0; side++) {
        struct set v = beside(s, k ? masked : s->plain, side);
        take_scores(s, &from[side], side, k);
        rc = take_adapters(s, &v, data, side, k);
    }
    if (rc == 0)
        count_empty(s, k ? masked : s->plain, k);
    uncertainty_scores_close(&from[0]);
    uncertainty_scores_close(&from[1]);
    set_close(&masked);
    dataset_close(&data);
    return rc;
}

/* ---- what it says ---- */

static double deviation(const double *u, int64_t n)
{
    double mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        mean += u[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (u[i] - mean) * (u[i] - mean) / (double)n;
    return sqrt(square);
}

/* Of the shares, which ascend, and the means; NaN where these are constant. */
static double spearman(const struct interval *doubt, int n)
{
    double value[SHARES_MAX] = {0}, rank[SHARES_MAX], xy = 0, xx = 0, yy = 0, middle = 0.5 * (n + 1);
    for (int i = 0; i < n; i++) {
        value[i] = doubt[i].value;
        if (!isfinite(value[i]))
            return (double)NAN;
    }
    rank_order(value, -1, n, rank);
    for (int i = 0; i < n; i++) {
        xy += (i + 1 - middle) * (rank[i] - middle);
        xx += (i + 1 - middle) * (i + 1 - middle);
        yy += (rank[i] - middle) * (rank[i] - middle);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : (double)NAN;
}

static int summarise(struct study *s, struct finding *f)
{
    int64_t n = f->n, resamples = s->o->bootstrap;
    uint64_t seed = (uint64_t)s->o->seed;
    double *rise = mem_calloc((size_t)n, sizeof *rise);
    if (!rise)
        return ERR_MEMORY;
    for (int i = 0; i < s->n_shares; i++)
        f->recall[i] = bootstrap_mean(f->hit + i * n, n, resamples, seed);
    for (int k = 0; k < s->n_scores; k++) {
        double sd = deviation(f->u[k], n);
        for (int i = 0; i < s->n_shares; i++) {
            const double *u = f->u[k] + i * n;
            double risen = 0;
            for (int64_t j = 0; j < n; j++) {
                rise[j] = sd > 0 ? (u[j] - f->u[k][j]) / sd : (double)NAN;
                risen += u[j] > f->u[k][j];
            }
            f->doubt[k][i] = bootstrap_mean(u, n, resamples, seed);
            f->rise[k][i] = bootstrap_mean(rise, n, resamples, seed);
            f->risen[k][i] = isfinite(f->doubt[k][i].value) ? risen / (double)n : (double)NAN;
        }
        f->score[k] = (struct fig_mask_score){s->names[k], f->doubt[k], f->rise[k], f->risen[k],
                                              spearman(f->doubt[k], s->n_shares)};
    }
    mem_free(rise);
    return signal_check();
}

static json_t *numbers(const struct interval *v, int n, int which)
{
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++)
        json_array_append_new(list, json_number(which == 0 ? v[i].value : which < 0 ? v[i].low : v[i].high));
    return list;
}

static json_t *bands(const struct interval *v, int n)
{
    return json_pack("{s:o, s:o, s:o}", "value", numbers(v, n, 0), "low", numbers(v, n, -1), "high", numbers(v, n, 1));
}

static json_t *side_to_json(const struct study *s, int side)
{
    const struct finding *f = &s->side[side];
    json_t *scores = json_object(), *empty = json_array();
    for (int i = 0; empty && side == SIDE_TEXT && i < s->n_shares; i++)
        json_array_append_new(empty, json_integer((json_int_t)f->empty[i]));
    for (int k = 0; scores && k < s->n_scores; k++) {
        int up = 0;
        json_t *risen = json_array();
        for (int i = 0; risen && i < s->n_shares; i++)
            json_array_append_new(risen, json_number(f->risen[k][i]));
        for (int i = 1; i < s->n_shares; i++)
            up += f->doubt[k][i].value > f->doubt[k][i - 1].value;
        json_t *one = json_pack("{s:o, s:o, s:o, s:o, s:i}", "uncertainty", bands(f->doubt[k], s->n_shares), "rise",
                                bands(f->rise[k], s->n_shares), "risen", risen, "spearman",
                                json_number(f->score[k].spearman), "steps_up", up);
        if (one && !isfinite(f->score[k].spearman))
            json_object_set_new(one, "why", json_string("the mean uncertainty is constant or missing"));
        json_object_set_new(scores, s->names[k], one);
    }
    json_t *o = json_pack("{s:I, s:o, s:o}", "n", (json_int_t)f->n, "recall_at_1", bands(f->recall, s->n_shares),
                          "scores", scores);
    if (o && side == SIDE_TEXT)
        json_object_set_new(o, "empty", empty);
    else
        json_decref(empty);
    return o;
}

static json_t *to_json(const struct study *s)
{
    json_t *shares = json_array();
    for (int i = 0; shares && i < s->n_shares; i++)
        json_array_append_new(shares, json_real(s->share[i]));
    json_t *o = json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:o, s:o}", "out", s->o->out, "shares", shares, "region",
                          s->o->region, "grid", (json_int_t)s->o->grid, "min_words", (json_int_t)s->o->min_words,
                          "seed", (json_int_t)s->o->seed, sides[0], side_to_json(s, 0), sides[1], side_to_json(s, 1));
    return cli_add_source(o, s->plain);
}

/* An adapter that has no distributions of this side has no number. */
static void print_number(const char *before, double x, int decimals, int width)
{
    char text[32] = "-";
    if (isfinite(x))
        snprintf(text, sizeof text, "%.*f", decimals, x);
    printf("%s%-*s", before, width, text);
}

static void print_side(const struct study *s, int side)
{
    const struct finding *f = &s->side[side];
    printf("%s: %lld items; R@1, and the rise of each score in standard deviations of the unmasked items\n%-8s %-6s",
           sides[side], (long long)f->n, "hidden", "R@1");
    for (int k = 0; k < s->n_scores; k++)
        printf("  %-10s", s->names[k]);
    for (int i = 0; i < s->n_shares; i++) {
        printf("\n%4.0f %%   %-6.3f", 100 * s->share[i], f->recall[i].value);
        for (int k = 0; k < s->n_scores; k++)
            print_number("  ", f->rise[k][i].value, 3, 10);
    }
    printf("\nSpearman of share and mean: ");
    for (int k = 0; k < s->n_scores; k++) {
        printf("%s%s", k ? ", " : "", s->names[k]);
        print_number(" ", f->score[k].spearman, 2, 0);
    }
    printf("\n\n");
}

static int write_files(const struct study *s, const char *dir)
{
    const struct fig_mask figure = {
        .n_shares = s->n_shares,
        .n_scores = s->n_scores,
        .share = s->share,
        .side = {{s->side[0].n, (struct interval *)s->side[0].recall, (struct fig_mask_score *)s->side[0].score},
                 {s->side[1].n, (struct interval *)s->side[1].recall, (struct fig_mask_score *)s->side[1].score}}};
    const struct fig_in in = {.set = s->plain, .seed = (uint64_t)s->o->seed, .mask = &figure};
    struct str svg = {0}, tsv = {0};
    char path[2048];
    int rc = figure_mask_svg(&in, &svg, &tsv);
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, "mask.svg");
    if (rc == 0)
        rc = atomic_put(path, svg.s, svg.n);
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, "mask.tsv");
    if (rc == 0)
        rc = atomic_put(path, tsv.s, tsv.n);
    str_free(&svg);
    str_free(&tsv);
    TRY(rc);
    return atomic_put_json(dir, "mask.json", to_json(s), JSON_INDENT(1) | JSON_REAL_PRECISION(9));
}

static int write_out(const struct study *s)
{
    struct atomic_dir d;
    TRY(atomic_dir_open(&d, s->o->out, s->o->force));
    int rc = write_files(s, d.tmp);
    if (rc == 0)
        return atomic_dir_commit(&d);
    atomic_dir_abort(&d);
    return rc;
}

/* ---- the command ---- */

static int work(struct study *s)
{
    TRY(path_make_dirs(s->sets));
    for (int k = 0; k < s->n_shares; k++)
        TRY(one_share(s, k));
    for (int side = 0; side < 2; side++)
        TRY(summarise(s, &s->side[side]));
    TRY(write_out(s));
    if (!s->o->sets)
        TRY(remove_sets(s));
    if (s->c->json)
        return cli_put_json(to_json(s));
    cli_print_source(s->plain);
    print_side(s, 0);
    print_side(s, 1);
    printf("written to %s\n", s->o->out);
    return 0;
}

static void release(struct study *s)
{
    for (int side = 0; side < 2; side++) {
        mem_free(s->side[side].row);
        mem_free(s->side[side].hit);
        for (int k = 0; k < SCORES_MAX; k++)
            mem_free(s->side[side].u[k]);
    }
    for (int i = 0; i < ADAPTERS_MAX; i++)
        adapt_close(&s->adapter[i]);
    set_close(&s->plain);
    model_close(&s->m);
}

static int run(struct cli *c)
{
    const struct mask_cmd *o = c->opt;
    const struct engine *e;
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_need(c, o->model, "--model"));
    TRY(cli_need(c, o->data, "--data"));
    TRY(cli_need(c, o->out, "--out"));
    if (strcmp(o->score, "none"))
        TRY(uncertainty_check_list(o->score, NULL));
    TRY(path_check_output(o->out, o->force));
    struct study *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    s->c = c;
    s->o = o;
    for (int64_t p = 0; p <= o->most; p += o->step)
        s->share[s->n_shares++] = (double)p / 100;
    snprintf(s->sets, sizeof s->sets, "%s%s", o->sets ? o->sets : o->out, o->sets ? "" : ".sets");
    int rc = s->n_shares > 1 ? cli_engine(&o->engine, &e, &s->low)
                             : err_set(ERR_USAGE, "--step is above --most: there is nothing to compare with");
    if (rc == 0)
        rc = model_open_opt(&s->m, o->model, &(struct model_opt){.image_size = o->image_size}, e);
    if (rc == 0)
        rc = s->m->tokenizer ? model_check_space(s->m)
                             : err_set(ERR_DATA, "%s: the model folder has no tokenizer", o->model);
    if (rc == 0)
        rc = work(s);
    release(s);
    mem_free(s);
    return rc;
}

const struct command command_mask_study = {
    .name = "mask-study",
    .summary = "does doubt grow as less of a picture or a text can be seen?",
    .usage = "--model M --data SPEC [--adapter A...] [--score A,B] --out DIR",
    .notes = "Squares of every picture are painted over with its mean colour before the model's own transform, and\n"
             "words are left out; the masked side asks, the whole other side answers (docs/methods/masking.md).\n"
             "A larger mask holds the smaller one. After a kill the same command goes on with the finished shares.\n",
    .add_help = cli_list_data,
    .example = "meridian mask-study --model emoji --data emoji --adapter adapter --out mask",
    .options = options,
    .size = sizeof(struct mask_cmd),
    .computes = true,
    .run = run,
};
