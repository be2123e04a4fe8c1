/* cli/cmd_rank_models.c: which of several models suits these data best, without labels: the same pictures and texts
 * encoded by each of them, the scores side by side, and an order (docs/methods/ranking.md). With --truth the pairs are
 * looked at afterwards, to see how far each score's order may be trusted. */
#include "adapt/adapt.h"
#include "cli/cli.h"

#include <math.h>
#include <string.h>

struct rank_cmd {
    const char *adapter, *calibration, *by;
    double temperature;
    int64_t bootstrap, seed;
    bool truth, force;
    struct engine_opt engine;
};
#define F(field) offsetof(struct rank_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("adapter", struct rank_cmd, adapter, "ADAPTER",
                "one adapter for all candidates (meridian adapt; --average of several): its mean uncertainty"),
    PATH_OPTION("calibration", struct rank_cmd, calibration, "C[,C...]",
                "meridian calibrate's, one for each candidate in order, or one for all: mean p(match)"),
    {"by", 0, OPT_STR, F(by), NULL, 0, 0, NULL, "A,B",
     "scores whose mean rank is the order; cycle,spread,inverted,max-p, and p-match by calibrations of their own"},
    {"temperature", 0, OPT_REAL, F(temperature), "0", 0, 1000, NULL, "X",
     "of max-p and inverted; 0: fitted without labels, for each candidate"},
    {"truth", 0, OPT_BOOL, F(truth), NULL, 0, 0, NULL, NULL,
     "also look at the pairs: recall at 1, and Kendall's tau-b of every score's order with it"},
    BOOTSTRAP_OPTION(struct rank_cmd, bootstrap),
    SEED_OPTION(struct rank_cmd, seed),
    {"force", 'f', OPT_BOOL, F(force), NULL, 0, 0, NULL, NULL,
     "take sets whose rows have other names, and calibrations of other models"},
    ENGINE_OPTIONS(struct rank_cmd, engine),
    {0},
};
#undef F

/* Not those that put an untrained model first (lead), or a model whose cosines are all high (p-match by a calibration
 * of another model): docs/methods/ranking.md. */
static const enum rank_id usual[] = {RANK_CYCLE, RANK_SPREAD, RANK_INVERTED, RANK_MAX_P, RANK_P_MATCH};
static const char *const ways[2] = {"image_to_text", "text_to_image"};

struct candidate {
    const char *path, *model;
    int64_t width;
    struct rank_scores s;
    char why_adapter[256];
    double rank[N_RANKS], mean_rank, place; /* rank 0: the score is not there for every candidate */
    double recall[2];
};

struct job {
    const struct rank_cmd *o;
    struct adapter *adapter;
    struct calibration shared;
    bool has_shared;
    int n;
    struct candidate *c;
    int64_t n_images, n_texts;
    bool by[N_RANKS];
    struct kendall tau[N_RANKS + 1][3]; /* of scores, and of the order; with both recalls' mean, and each */
};

/* ---- candidates ---- */

/* The same data: as many rows, and the same names of rows where both sets have them. */
static int check_same(const struct set *a, const struct set *b, bool force)
{
    if (a->image.n != b->image.n || a->text.n != b->text.n)
        FAIL(ERR_DATA,
             "set \"%s\" has %lld pictures and %lld texts, \"%s\" has %lld and %lld: candidates are the same data "
             "encoded by different models",
             b->path, (long long)b->image.n, (long long)b->text.n, a->path, (long long)a->image.n,
             (long long)a->text.n);
    for (int text = 0; text < 2 && !force; text++)
        for (int64_t i = 0; i < (text ? a->text.n : a->image.n); i++) {
            const char *x = cli_row_name(a, text, i, NULL), *y = cli_row_name(b, text, i, NULL);
            if (!x || !y)
                break;
            if (strcmp(x, y) != 0)
                FAIL(ERR_DATA,
                     "%s row %lld is \"%.80s\" in set \"%s\" and \"%.80s\" in \"%s\": candidates are the same data in "
                     "the same order; --force takes them all the same",
                     text ? "text" : "image", (long long)i, x, a->path, y, b->path);
        }
    return 0;
}

/* Path k of the list of calibrations, opened. */
static int own_calibration(const struct job *j, const struct set *s, int k, struct calibration *out)
{
    char path[2048];
    const char *p = j->o->calibration;
    for (int i = 0; i < k; i++)
        p += strcspn(p, ",") + 1;
    size_t n = strcspn(p, ",");
    if (n >= sizeof path)
        FAIL(ERR_USAGE, "option --calibration: a path of %zu bytes, expected at most %zu", n, sizeof path - 1);
    memcpy(path, p, n);
    path[n] = 0;
    TRY(calibration_read(path, out));
    int rc = j->o->force ? 0 : set_check_fingerprint(s, out->model, out->fingerprint);
    if (rc < 0) {
        calibration_free(out);
        return err_while(rc, "comparing with the calibration \"%.200s\"", path);
    }
    return 0;
}

/* u [2]: NULL where the adapter has nothing to say, and why. */
static int ask_adapter(const struct job *j, struct candidate *c, const struct set *s, double *u[2])
{
    struct predict_opt p = {.dropout = -1, .seed = (uint64_t)j->o->seed, .force = true};
    for (int side = 0; side < 2; side++) {
        if (!adapt_covers(j->adapter, side)) {
            snprintf(c->why_adapter, sizeof c->why_adapter, "the adapter leaves this side points");
            continue;
        }
        u[side] = mem_calloc((size_t)(side == SIDE_TEXT ? s->text.n : s->image.n) + 1, sizeof **u);
        if (!u[side])
            return ERR_MEMORY;
        int rc = adapt_predict(j->adapter, s, side, &p, u[side], NULL);
        if (rc == ERR_MISMATCH) { /* with force: the width alone */
            snprintf(c->why_adapter, sizeof c->why_adapter, "%s", err_text());
            err_clear();
            mem_free(u[side]);
            u[side] = NULL;
            return 0;
        }
        TRY_IN(rc, "asking adapter \"%s\" about \"%s\"", j->o->adapter, s->path);
    }
    return 0;
}

static int score(const struct job *j, struct candidate *c, const struct set *s, int k)
{
    struct eval_opt opt = {.bootstrap = j->o->bootstrap > 0 ? j->o->bootstrap : -1, .seed = (uint64_t)j->o->seed};
    struct rank_in in = {.set = s, .temperature = j->o->temperature};
    struct calibration own = {0};
    double *u[2] = {NULL, NULL};
    int rc = j->adapter ? ask_adapter(j, c, s, u) : 0;
    if (rc == 0 && j->has_shared) {
        in.calibration = &j->shared;
    } else if (rc == 0 && j->o->calibration) {
        rc = own_calibration(j, s, k, &own);
        in.calibration = &own;
    }
    in.uncertainty[0] = u[0];
    in.uncertainty[1] = u[1];
    if (rc == 0)
        rc = rank_set(&in, &opt, &c->s);
    for (int side = 0; rc == 0 && side < 2; side++) {
        struct retrieval r = {0};
        c->recall[side] = (double)NAN;
        if (!j->o->truth)
            continue;
        opt.bootstrap = -1;
        rc = eval_retrieval(s, side, &opt, &r);
        c->recall[side] = rc == 0 ? r.recall[0].value : (double)NAN;
        if (rc == 0)
            retrieval_free(&r);
    }
    if (rc == 0 && j->o->truth && !(isfinite(c->recall[0]) && isfinite(c->recall[1])))
        rc = err_set(ERR_DATA, "set \"%s\" has no pairs: --truth needs to know which text belongs to which picture",
                     s->path);
    mem_free(u[0]);
    mem_free(u[1]);
    calibration_free(&own);
    return rc;
}

static int visit(struct cli *c, struct job *j)
{
    struct set *first = NULL, *s = NULL;
    struct progress *bar = NULL;
    int rc = 0;
    progress_open(&bar, "candidates", j->n, "sets");
    for (int k = 0; rc == 0 && k < j->n; k++) {
        struct candidate *x = &j->c[k];
        x->path = c->args.v[k];
        rc = set_open(&s, x->path);
        if (rc == 0 && first)
            rc = check_same(first, s, j->o->force);
        x->model = rc == 0 ? arena_strdup(c->arena, s->model) : NULL;
        if (rc == 0 && !x->model)
            rc = ERR_MEMORY;
        if (rc == 0) {
            x->width = s->width;
            j->n_images = s->image.n;
            j->n_texts = s->text.n;
            rc = score(j, x, s, k);
        }
        if (first || rc < 0) {
            set_close(&s);
        } else {
            first = s;
            s = NULL;
        }
        progress_add(bar, 1);
    }
    set_close(&first);
    progress_close(&bar);
    return rc;
}

/* ---- the order ---- */

static const char *why_of(const struct candidate *c, int id)
{
    bool adapter = id == RANK_ADAPTER || id == RANK_ADAPTER_TEXT;
    return adapter && c->why_adapter[0] ? c->why_adapter : c->s.why[id];
}

/* The first candidate without this score, or -1. */
static int missing(const struct job *j, int id)
{
    for (int k = 0; k < j->n; k++)
        if (!isfinite(j->c[k].s.score[id].value))
            return k;
    return -1;
}

static int choose_scores(struct job *j)
{
    int n = 0;
    for (const char *p = j->o->by; p && *p;) {
        size_t len = strcspn(p, ",");
        int id = 0;
        while (id < N_RANKS && (strlen(rank_name(id)) != len || strncmp(rank_name(id), p, len) != 0))
            id++;
        BUG_ON(id == N_RANKS); /* check_by has seen the list */
        int k = missing(j, id);
        if (k >= 0)
            FAIL(ERR_USAGE, "option --by: score %s is not there for set \"%s\": %s", rank_name(id), j->c[k].path,
                 why_of(&j->c[k], id));
        j->by[id] = true;
        n++;
        p += len + (p[len] == ',');
    }
    for (size_t i = 0; n == 0 && i < ARRAY_LEN(usual); i++)
        j->by[usual[i]] = missing(j, usual[i]) < 0 && !(usual[i] == RANK_P_MATCH && j->has_shared);
    return 0;
}

static int put_order(struct job *j)
{
    double *x = mem_calloc((size_t)j->n, 2 * sizeof *x), *rank = x + j->n;
    int n = 0;
    if (!x)
        return ERR_MEMORY;
    for (int id = 0; id < N_RANKS; id++) {
        if (missing(j, id) >= 0)
            continue;
        for (int k = 0; k < j->n; k++)
            x[k] = j->c[k].s.score[id].value;
        rank_order(x, rank_better(id), j->n, rank);
        n += j->by[id];
        for (int k = 0; k < j->n; k++) {
            j->c[k].rank[id] = rank[k];
            j->c[k].mean_rank += j->by[id] ? rank[k] : 0;
        }
    }
    for (int k = 0; k < j->n; k++)
        x[k] = j->c[k].mean_rank /= n > 0 ? n : 1;
    rank_order(x, -1, j->n, rank);
    for (int k = 0; k < j->n; k++)
        j->c[k].place = rank[k];
    mem_free(x);
    return 0;
}

static int judge(struct job *j)
{
    double *x = mem_calloc((size_t)j->n, 2 * sizeof *x), *truth = x + j->n;
    int rc = x ? 0 : ERR_MEMORY;
    for (int id = 0; rc == 0 && id <= N_RANKS; id++)
        for (int t = 0; rc == 0 && t < 3; t++) {
            j->tau[id][t].tau = j->tau[id][t].p = (double)NAN;
            if (id < N_RANKS && missing(j, id) >= 0)
                continue;
            for (int k = 0; k < j->n; k++) {
                const struct candidate *c = &j->c[k];
                x[k] = id < N_RANKS ? rank_better(id) * c->s.score[id].value : -c->mean_rank;
                truth[k] = t == 0 ? (c->recall[0] + c->recall[1]) / 2 : c->recall[t - 1];
            }
            rc = eval_kendall(x, truth, j->n, (uint64_t)j->o->seed, &j->tau[id][t]);
        }
    mem_free(x);
    return rc;
}

/* index [n]: the candidates, best first, equals as they were given */
static void sort_places(const struct job *j, int *index)
{
    for (int i = 0; i < j->n; i++) {
        int k = i;
        for (; k > 0 && j->c[index[k - 1]].place > j->c[i].place; k--)
            index[k] = index[k - 1];
        index[k] = i;
    }
}

/* ---- output ---- */

static json_t *interval_to_json(struct interval x)
{
    bool bounds = isfinite(x.low) && isfinite(x.high);
    return json_pack("{s:o, s:o}", "value", json_number(x.value), "ci",
                     bounds ? json_pack("[f, f]", x.low, x.high) : json_null());
}

static json_t *entry_to_json(const struct job *j, const struct candidate *c)
{
    json_t *scores = json_object();
    for (int id = 0; scores && id < N_RANKS; id++) {
        const struct rank_scores *s = &c->s;
        json_t *one = interval_to_json(s->score[id]);
        if (one && isfinite(s->score[id].value)) {
            json_object_set_new(one, "rank", c->rank[id] > 0 ? json_real(c->rank[id]) : json_null());
            for (int k = 0; isfinite(s->way[id][0].value) && k < 2; k++)
                json_object_set_new(one, ways[k], json_number(s->way[id][k].value));
        } else if (one) {
            json_object_set_new(one, "why", json_string(why_of(c, id)));
        }
        json_object_set_new(scores, rank_name(id), one);
    }
    json_t *o = json_pack("{s:s, s:s, s:I, s:f, s:f, s:o, s:[o, o], s:[s, s]}", "path", c->path, "model", c->model,
                          "width", (json_int_t)c->width, "rank", c->place, "mean_rank", c->mean_rank, "scores", scores,
                          "temperature", json_number(c->s.temperature[0]), json_number(c->s.temperature[1]),
                          "temperature_from", c->s.temperature_from[0], c->s.temperature_from[1]);
    if (o && j->o->truth)
        json_object_set_new(o, "recall_at_1",
                            json_pack("{s:f, s:f, s:f}", ways[0], c->recall[0], ways[1], c->recall[1], "mean",
                                      (c->recall[0] + c->recall[1]) / 2));
    return o;
}

static json_t *kendall_to_json(const struct kendall tau[3])
{
    json_t *o = json_pack("{s:o, s:o, s:b, s:o, s:o}", "tau_b", json_number(tau[0].tau), "p", json_number(tau[0].p),
                          "exact", tau[0].exact, ways[0], json_number(tau[1].tau), ways[1], json_number(tau[2].tau));
    if (o && !isfinite(tau[0].tau))
        json_object_set_new(o, "why", json_string("not computed for every candidate, or the same for all"));
    return o;
}

static json_t *to_json(const struct job *j, const int *index)
{
    json_t *list = json_array(), *by = json_array(), *tau = json_object();
    for (int i = 0; list && i < j->n; i++)
        json_array_append_new(list, entry_to_json(j, &j->c[index[i]]));
    for (int id = 0; by && id < N_RANKS; id++)
        if (j->by[id])
            json_array_append_new(by, json_string(rank_name(id)));
    json_t *o = json_pack("{s:I, s:I, s:o, s:o, s:s?, s:s?, s:s?}", "n_images", (json_int_t)j->n_images, "n_texts",
                          (json_int_t)j->n_texts, "by", by, "ranking", list, "adapter", j->o->adapter, "calibration",
                          j->o->calibration, "calibration_is",
                          j->has_shared       ? "one for all"
                          : j->o->calibration ? "each candidate's own"
                                              : NULL);
    for (int id = 0; j->o->truth && id <= N_RANKS; id++)
        json_object_set_new(tau, id < N_RANKS ? rank_name(id) : "combined", kendall_to_json(j->tau[id]));
    if (o && j->o->truth)
        json_object_set(o, "kendall", tau);
    json_decref(tau);
    return o;
}

static void print_number(double x, int width)
{
    char text[32];
    int digits = fabs(x) >= 100 ? 1 : fabs(x) >= 10 ? 2 : 3;
    snprintf(text, sizeof text, isfinite(x) ? "%.*f" : "-", digits, x);
    printf("  %-*s", width, text);
}

static int column(int id)
{
    int n = (int)strlen(rank_name(id));
    return n < 6 ? 6 : n;
}

static void print_table(const struct job *j, const int *index, bool in_order)
{
    printf(in_order ? "%-6s%-9s" : "%-6s%.0s", "rank", "mean");
    for (int id = 0; id < N_RANKS; id++)
        if (j->by[id] == in_order && missing(j, id) < 0)
            printf("  %-*s", column(id), rank_name(id));
    printf("%s  candidate\n", in_order && j->o->truth ? "  R@1 i2t  R@1 t2i" : "");
    for (int i = 0; i < j->n; i++) {
        const struct candidate *c = &j->c[index[i]];
        printf("%-6g", c->place);
        if (in_order)
            printf("%-9.4g", c->mean_rank);
        for (int id = 0; id < N_RANKS; id++)
            if (j->by[id] == in_order && missing(j, id) < 0)
                print_number(c->s.score[id].value, column(id));
        if (in_order && j->o->truth)
            printf("  %-7.4f  %-7.4f", c->recall[0], c->recall[1]);
        printf("  %s\n", c->path);
    }
    printf("\n");
}

static void print_kendall(const struct job *j)
{
    printf("Kendall's tau-b of each order with the recall (mean of both ways; p of permutations)\n%-16s%-9s%-11s%-10s"
           "text to image\n",
           "", "tau-b", "p", "i2t");
    for (int i = 0; i <= N_RANKS; i++) {
        int id = i == 0 ? N_RANKS : i - 1;
        const struct kendall *t = j->tau[id];
        if (!isfinite(t[0].tau))
            continue;
        printf("%-14s", id < N_RANKS ? rank_name(id) : "the order");
        print_number(t[0].tau, 7);
        print_number(t[0].p, 9);
        print_number(t[1].tau, 8);
        print_number(t[2].tau, 0);
        printf("\n");
    }
    printf("\n");
}

static void print(const struct job *j, const int *index)
{
    bool first = true;
    printf("%s pictures, %s captions, %d candidates; the order is the mean rank of ", str_count(j->n_images),
           str_count(j->n_texts), j->n);
    for (int id = 0; id < N_RANKS; id++)
        if (j->by[id]) {
            printf("%s%s", first ? "" : ", ", rank_name(id));
            first = false;
        }
    printf("; it has not seen the pairs\n\n");
    print_table(j, index, true);
    printf("not in the order:\n");
    print_table(j, index, false);
    if (j->o->truth)
        print_kendall(j);
    for (int k = 0; j->adapter && k < j->n; k++)
        if (why_of(&j->c[k], RANK_ADAPTER))
            printf("adapter: %s\n", why_of(&j->c[k], RANK_ADAPTER));
    if (j->has_shared)
        printf("p-match: one calibration for all candidates, made for one model; it compares, it does not promise\n");
}

/* ---- the call ---- */

static int check_by(const char *by)
{
    const char *names[N_RANKS];
    for (int id = 0; id < N_RANKS; id++)
        names[id] = rank_name(id);
    for (const char *p = by; p && *p;) {
        size_t n = strcspn(p, ",");
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)(n < 40 ? n : 40), p);
        p += n + (p[n] == ',');
        bool known = false;
        for (int id = 0; id < N_RANKS; id++)
            known = known || strcmp(word, names[id]) == 0;
        const char *like = known ? NULL : str_nearest(word, names, N_RANKS);
        if (!known)
            FAIL(ERR_USAGE, "option --by: no score \"%s\"%s%s%s; meridian help rank-models lists them", word,
                 like ? " (did you mean \"" : "", like ? like : "", like ? "\"?)" : "");
    }
    return 0;
}

static int open_helpers(struct job *j)
{
    const struct rank_cmd *o = j->o;
    const struct engine *e;
    bool low;
    int n = 1;
    TRY(cli_engine(&o->engine, &e, &low));
    if (low)
        FAIL(ERR_USAGE, "option --dtype is bf16: adapters are computed in f32");
    for (const char *p = o->calibration; p && (p = strchr(p, ',')); p++)
        n++;
    if (o->calibration && n != 1 && n != j->n)
        FAIL(ERR_USAGE, "option --calibration names %d files, expected 1 for all, or %d, one for each candidate", n,
             j->n);
    if (o->calibration && n == 1) {
        TRY(calibration_read(o->calibration, &j->shared));
        j->has_shared = true;
    }
    return o->adapter ? adapt_open_on(&j->adapter, o->adapter, e) : 0;
}

static int run(struct cli *c)
{
    struct job j = {.o = c->opt, .n = c->args.n};
    int *index = NULL;
    TRY(cli_words(c, 2, 1000, "a second set (candidates are the same data encoded by different models)"));
    TRY(check_by(j.o->by));
    TRY(open_helpers(&j));
    j.c = mem_calloc((size_t)j.n, sizeof *j.c);
    index = mem_calloc((size_t)j.n, sizeof *index);
    int rc = j.c && index ? visit(c, &j) : ERR_MEMORY;
    if (rc == 0)
        rc = choose_scores(&j);
    if (rc == 0)
        rc = put_order(&j);
    if (rc == 0 && j.o->truth)
        rc = judge(&j);
    if (rc == 0) {
        sort_places(&j, index);
        if (c->json)
            rc = cli_put_json(to_json(&j, index));
        else
            print(&j, index);
    }
    mem_free(j.c);
    mem_free(index);
    calibration_free(&j.shared);
    adapt_close(&j.adapter);
    return rc;
}

static void add_help(struct str *b)
{
    str_add(b, "\nscores (docs/methods/ranking.md); + higher is better, - lower:\n");
    for (int i = 0; i < N_RANKS; i++)
        str_add(b, "  %-16s%c %s\n", rank_name(i), rank_better(i) > 0 ? '+' : '-', rank_text(i));
}

const struct command command_rank_models = {
    .name = "rank-models",
    .summary = "order candidate models for some data, without labels",
    .usage = "SET SET ... [--adapter A] [--calibration C[,C...]] [--truth]",
    .notes = "The sets are the same pictures and texts, encoded by different models; widths may differ. The order is "
             "the mean rank over some\nscores that do not look at the pairs. An adapter serves sets of its width, "
             "whichever model made them.\n",
    .add_help = add_help,
    .example = "meridian rank-models by-model-a by-model-b by-model-c --calibration shared-cal.json",
    .options = options,
    .size = sizeof(struct rank_cmd),
    .computes = true,
    .run = run,
};
