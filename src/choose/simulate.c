/* choose/simulate.c: would choosing what to label have paid? On a set whose pairs are known the labels of a pool are
 * hidden; every strategy starts from the same few random labels, chooses a budget of rows a round, heads are trained on
 * what is labelled, and recall at 1 on test pairs is measured after every round.
 *
 * What a strategy may see: the pool's vectors of both sides (not which belong together), the labelled pairs, the heads
 * of its last round, through which cosines, margins and entropies are taken. What no strategy sees: validation pairs
 * (they choose the epoch, for all alike, and are labels that a real project has to pay for too) and test pairs.
 * Strategies of one seed share split, first labels and seeds of the training, so their differences are paired; seeds
 * differ in all of these. Intervals over seeds are Student's: five values are too few to resample.
 *
 * Training starts from the identity every round unless `warm`: what was fitted to fewer pairs is a worse start than
 * none (Ash and Adams 2020, "On warm-starting neural network training"). Few pairs make few steps an epoch, so epochs
 * are added up to MIN_STEPS. */
#include "choose/choose.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIN_STEPS = 100, JUDGED = 12 };

/* One seed: three parts, each a set of its own. */
struct trial {
    const struct simulate_in *in;
    uint64_t seed;
    struct judge pool, validation, test;
    int64_t *rows; /* [n] 0, 1, ... of the pool's side */
    int64_t n;
    /* of the strategy at work */
    int64_t *labelled, n_labelled;
    struct set_pair *pairs;
    int64_t n_pairs;
    double *uncertainty; /* [n] of the adapter at hand */
};

/* ---- the parts of a seed ---- */

/* part [images], of texts: that of the first picture. A pair belongs where both of its items do. */
static int open_part(struct judge *j, const struct set *s, const uint8_t *part, const uint8_t *text,
                     enum set_part which)
{
    struct set_pair *pairs = mem_calloc((size_t)s->n_pairs + 1, sizeof *pairs);
    int64_t n = 0;
    static const char *const names[] = {"", "train", "validation", "test"};
    if (!pairs)
        return ERR_MEMORY;
    for (int64_t k = 0; k < s->n_pairs; k++)
        if (part[s->pairs[k].image] == which && text[s->pairs[k].text] == which)
            pairs[n++] = s->pairs[k];
    int rc = n >= 2 ? judge_open(j, s, pairs, n)
                    : err_set(ERR_DATA, "set \"%s\": %" PRId64 " pairs are in part %s, expected at least 2", s->path, n,
                              names[which]);
    mem_free(pairs);
    return rc;
}

static int draw_parts(const struct set *s, uint64_t seed, uint8_t *part, uint8_t *text)
{
    static const uint8_t of_role[] = {
        [ROLE_NONE] = PART_NONE, [ROLE_FIT] = PART_VALIDATION, [ROLE_RISK] = PART_TEST, [ROLE_TEST] = PART_TRAIN};
    const struct match_split_opt o = {.same = 1 - 1e-5, .validation = 0.4, .risk = 0.5, .seed = seed};
    struct match_split split;
    TRY(match_split_open(s, &o, &split));
    for (int64_t i = 0; i < s->image.n; i++)
        part[i] = of_role[split.role[0][i]];
    for (int64_t i = 0; i < s->text.n; i++)
        text[i] = of_role[split.role[1][i]];
    match_split_close(&split);
    return 0;
}

static int open_trial(struct trial *t, const struct simulate_in *in, int64_t i)
{
    const struct set *s = in->set;
    uint8_t *part = mem_calloc((size_t)s->image.n + 1, 1), *text = mem_calloc((size_t)s->text.n + 1, 1);
    int rc = part && text ? 0 : ERR_MEMORY;
    *t = (struct trial){.in = in, .seed = in->opt->seed + (uint64_t)i};
    if (rc == 0 && in->n_parts > 0) {
        memcpy(part, in->part[i % in->n_parts], (size_t)s->image.n);
        for (int64_t k = s->n_pairs - 1; k >= 0; k--)
            text[s->pairs[k].text] = part[s->pairs[k].image];
    } else if (rc == 0) {
        rc = draw_parts(s, t->seed, part, text);
    }
    if (rc == 0)
        rc = open_part(&t->pool, s, part, text, PART_TRAIN);
    if (rc == 0)
        rc = open_part(&t->validation, s, part, text, PART_VALIDATION);
    if (rc == 0)
        rc = open_part(&t->test, s, part, text, PART_TEST);
    mem_free(part);
    mem_free(text);
    TRY(rc);
    t->n = in->opt->side == SIDE_TEXT ? t->pool.part.text.n : t->pool.part.image.n;
    t->rows = arena_alloc(t->pool.arena, (size_t)t->n * sizeof *t->rows);
    t->labelled = arena_alloc(t->pool.arena, (size_t)t->n * sizeof *t->labelled);
    t->pairs = arena_alloc(t->pool.arena, (size_t)t->pool.part.n_pairs * sizeof *t->pairs);
    t->uncertainty = arena_alloc(t->pool.arena, (size_t)t->n * sizeof *t->uncertainty);
    if (!t->rows || !t->labelled || !t->pairs || !t->uncertainty)
        return ERR_MEMORY;
    for (int64_t k = 0; k < t->n; k++)
        t->rows[k] = k;
    return 0;
}

static void close_trial(struct trial *t)
{
    judge_close(&t->pool);
    judge_close(&t->validation);
    judge_close(&t->test);
}

/* ---- one round ---- */

/* The pairs that the labels reveal. */
static int reveal(struct trial *t)
{
    const struct set *p = &t->pool.part;
    uint8_t *known = mem_calloc((size_t)t->n, 1);
    if (!known)
        return ERR_MEMORY;
    for (int64_t i = 0; i < t->n_labelled; i++)
        known[t->labelled[i]] = 1;
    t->n_pairs = 0;
    for (int64_t k = 0; k < p->n_pairs; k++)
        if (known[t->in->opt->side == SIDE_TEXT ? p->pairs[k].text : p->pairs[k].image])
            t->pairs[t->n_pairs++] = p->pairs[k];
    mem_free(known);
    return 0;
}

static int fit(struct trial *t, struct head **h, const struct set_pair *pairs, int64_t n)
{
    const struct simulate_in *in = t->in;
    const struct head_design d = {
        .mlp = !strcmp(in->heads->head, "mlp"), .width = in->set->width, .hidden = in->heads->hidden};
    struct train_opt o = *in->train;
    struct train_result r;
    if (*h && !in->opt->warm)
        head_close(h);
    if (!*h)
        TRY(head_make(h, &d, in->engine, t->seed));
    if (n < 2)
        return 0;
    const int64_t steps = (n + o.batch - 1) / o.batch, least = (MIN_STEPS + steps - 1) / steps;
    o.seed = (int64_t)t->seed;
    o.epochs = o.epochs > least ? o.epochs : least;
    const struct head_job job = {.head = *h,
                                 .set = &t->pool.part,
                                 .pairs = pairs,
                                 .n_pairs = n,
                                 .loss = in->loss,
                                 .loss_opt = in->loss_opt,
                                 .opt = &o,
                                 .judge = judge_epoch,
                                 .ctx = &t->validation,
                                 .judge_every = (o.epochs + JUDGED - 1) / JUDGED,
                                 .quiet = true};
    return head_fit(&job, &r);
}

/* An adapter fitted to what is labelled, asked, and thrown away. */
static int refit(struct trial *t, struct adapter **a)
{
    struct set known = t->pool.part;
    struct adapt_opt o = *t->in->refit;
    struct adapt_result r;
    char dir[512], path[600];
    const char *base = getenv("TMPDIR");
    known.pairs = t->pairs;
    known.n_pairs = t->n_pairs;
    o.seed = (int64_t)t->seed;
    o.validation_share = 0;
    snprintf(dir, sizeof dir, "%.400s/meridian-simulate-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir))
        return err_errno(ERR_FAIL, "%s: cannot make a temporary folder", dir);
    int rc = path_join(path, sizeof path, dir, "adapter");
    if (rc == 0)
        rc = adapt_fit(&known, &o, t->in->engine, path, false, &r);
    if (rc == 0)
        rc = adapt_open_on(a, path, t->in->engine);
    path_remove_tree(dir);
    return rc;
}

/* Scores of the adapter for the pool, by the vectors it was fitted to and not by what heads made of them. */
static int ask_adapter(struct trial *t, enum select_id what)
{
    const struct predict_opt o = {.dropout = -1, .seed = t->seed};
    struct adapter *own = NULL, *a = t->in->adapter;
    const int side = t->in->opt->side;
    if (!a) {
        TRY(refit(t, &own));
        a = own;
    }
    int rc = what == SELECT_UNCERTAINTY
                 ? adapt_predict(a, &t->pool.part, side, &o, t->uncertainty, NULL)
                 : adapt_acquire(a, &t->pool.part, NULL, side, select_name(what), &o, t->uncertainty);
    adapt_close(&own);
    return rc;
}

static int choose(struct trial *t, enum select_id what, const struct head *h, int64_t budget)
{
    const struct simulate_opt *so = t->in->opt;
    const bool asks = what == SELECT_UNCERTAINTY || what == SELECT_BALD || what == SELECT_EPIG;
    struct set mapped;
    int64_t n = 0;
    struct select_row *out = mem_calloc((size_t)budget + 1, sizeof *out);
    if (!out)
        return ERR_MEMORY;
    int rc = asks ? ask_adapter(t, what) : 0;
    if (rc == 0 && h)
        rc = head_set_open(&mapped, h, &t->pool.part, false);
    if (rc == 0) {
        const struct select_in in = {.set = h ? &mapped : &t->pool.part,
                                     .side = so->side,
                                     .pool = t->rows,
                                     .n_pool = t->n,
                                     .labelled = t->labelled,
                                     .n_labelled = t->n_labelled,
                                     .uncertainty = asks ? t->uncertainty : NULL};
        const struct select_opt o = {.strategy = asks ? SELECT_UNCERTAINTY : what,
                                     .budget = budget,
                                     .temperature = so->temperature,
                                     .spread = so->spread,
                                     .seed = t->seed};
        rc = select_rows(&in, &o, out, &n);
        if (h)
            head_set_close(&mapped);
    }
    for (int64_t i = 0; i < n && rc == 0; i++)
        t->labelled[t->n_labelled++] = out[i].row;
    mem_free(out);
    return rc == 0 ? reveal(t) : rc;
}

/* ---- a strategy, a seed, all ---- */

static double *recall_of(const struct simulated *r, int strategy, int point, int64_t seed)
{
    return r->recall + 2 * (((int64_t)strategy * r->n_points + point) * r->n_seeds + seed);
}

static int follow(struct trial *t, struct simulated *r, int k, int64_t seed, struct progress *bar)
{
    const struct simulate_opt *o = t->in->opt;
    struct head *h = NULL;
    int rc = 0;
    t->n_labelled = t->n_pairs = 0;
    if (o->initial > 0)
        rc = choose(t, SELECT_RANDOM, NULL, o->initial);
    for (int point = 0; point < r->n_points && rc == 0; point++) {
        struct judged got;
        if (point > 0)
            rc = choose(t, o->strategy[k], h, o->budget);
        if (rc == 0)
            rc = fit(t, &h, t->pairs, t->n_pairs);
        if (rc == 0)
            rc = judge_run(&t->test, h, &got);
        if (rc == 0) {
            memcpy(recall_of(r, k, point, seed), got.recall, sizeof got.recall);
            r->labelled[point] += (double)t->n_labelled / (double)(r->n_seeds * r->n_strategies);
        }
        progress_note(bar, "seed %" PRId64 "  %s", seed, select_name((int)o->strategy[k]));
        progress_add(bar, 1);
    }
    head_close(&h);
    return rc < 0 ? err_while(rc, "simulating strategy \"%s\"", select_name((int)o->strategy[k])) : 0;
}

/* Before any label, and with all of them. */
static int frame(struct trial *t, struct simulated *r, int64_t seed)
{
    struct judged got;
    struct head *h = NULL;
    TRY(judge_run(&t->test, NULL, &got));
    memcpy(r->start + 2 * seed, got.recall, sizeof got.recall);
    int rc = fit(t, &h, t->pool.part.pairs, t->pool.part.n_pairs);
    if (rc == 0)
        rc = judge_run(&t->test, h, &got);
    head_close(&h);
    if (rc == 0)
        memcpy(r->all + 2 * seed, got.recall, sizeof got.recall);
    return rc;
}

static int check(const struct simulate_in *in)
{
    const struct simulate_opt *o = in->opt;
    if (o->n < 1 || o->budget < 1 || o->rounds < 1 || o->seeds < 1 || o->initial < 0)
        FAIL(ERR_USAGE, "a simulation needs a strategy, and a budget, rounds and seeds of at least 1");
    for (int k = 0; k < o->n; k++)
        if ((o->strategy[k] == SELECT_UNCERTAINTY || o->strategy[k] == SELECT_BALD || o->strategy[k] == SELECT_EPIG) &&
            !in->adapter && !(in->refit && o->initial >= 2))
            FAIL(ERR_USAGE,
                 "strategy \"%s\" asks an adapter: name one with --adapter, or have one fitted to what is "
                 "labelled with --adapter-method and --initial 2 or more",
                 select_name((int)o->strategy[k]));
    if (in->set->n_pairs == 0)
        FAIL(ERR_DATA, "set \"%s\" has no pairs: a simulation hides labels that are known", in->set->path);
    return 0;
}

int simulate_run(const struct simulate_in *in, struct simulated *out)
{
    const struct simulate_opt *o = in->opt;
    struct simulated r = {.n_strategies = o->n, .n_points = (int)o->rounds + 1, .n_seeds = o->seeds};
    struct progress *bar = NULL;
    TRY(check(in));
    r.labelled = mem_calloc((size_t)r.n_points, sizeof(double));
    r.recall = mem_calloc((size_t)(r.n_strategies * r.n_points) * (size_t)r.n_seeds, 2 * sizeof(double));
    r.start = mem_calloc((size_t)r.n_seeds, 2 * sizeof(double));
    r.all = mem_calloc((size_t)r.n_seeds, 2 * sizeof(double));
    int rc = r.labelled && r.recall && r.start && r.all ? 0 : ERR_MEMORY;
    if (rc == 0)
        rc = progress_open(&bar, "simulate", r.n_strategies * r.n_points * r.n_seeds, "fits");
    for (int64_t seed = 0; seed < o->seeds && rc == 0; seed++) {
        struct trial t = {0};
        rc = open_trial(&t, in, seed);
        if (rc == 0 && t.n <= o->initial)
            rc = err_set(ERR_USAGE,
                         "seed %" PRId64 ": the pool has %" PRId64 " rows, and %" PRId64
                         " are labelled to begin with (--initial, else --budget): nothing is left to choose",
                         seed, t.n, o->initial);
        if (rc == 0 && t.n < o->initial + o->budget)
            log_warn("seed %" PRId64 ": the pool has %" PRId64 " rows, fewer than the first budget asks for", seed,
                     t.n);
        if (rc == 0)
            rc = frame(&t, &r, seed);
        for (int k = 0; k < o->n && rc == 0; k++)
            rc = follow(&t, &r, k, seed, bar);
        r.n_pool = t.n;
        r.n_validation = t.validation.part.n_pairs;
        r.n_test = t.test.part.n_pairs;
        close_trial(&t);
    }
    progress_close(&bar);
    if (rc < 0)
        simulated_free(&r);
    else
        *out = r;
    return rc;
}

void simulated_free(struct simulated *r)
{
    mem_free(r->labelled);
    mem_free(r->recall);
    mem_free(r->start);
    mem_free(r->all);
    memset(r, 0, sizeof *r);
}

/* ---- what came out ---- */

static double take_way(const double *both, int way)
{
    return way < 2 ? both[way] : (both[0] + both[1]) / 2;
}

/* Mean height of a curve over the labels that the strategies chose: the trapezoid rule from the first point on. */
static double area_of(const struct simulated *r, int strategy, int64_t seed, int way)
{
    double sum = 0, width = r->labelled[r->n_points - 1] - r->labelled[0];
    for (int p = 1; p < r->n_points; p++)
        sum += (r->labelled[p] - r->labelled[p - 1]) * 0.5 *
               (take_way(recall_of(r, strategy, p, seed), way) + take_way(recall_of(r, strategy, p - 1, seed), way));
    return width > 0 ? sum / width : (double)NAN;
}

static struct interval over_seeds(const struct simulated *r, const double *x)
{
    for (int64_t i = 0; i < r->n_seeds; i++)
        if (!isfinite(x[i]))
            return (struct interval){NAN, NAN, NAN};
    return student_interval(x, r->n_seeds);
}

int simulated_measure(const struct simulated *r, int strategy, int way, struct interval *recall, struct interval *area,
                      struct interval *gain)
{
    double *x = mem_calloc((size_t)r->n_seeds, 2 * sizeof *x), *d = x ? x + r->n_seeds : NULL;
    if (!x)
        return ERR_MEMORY;
    for (int p = 0; p < r->n_points; p++) {
        for (int64_t i = 0; i < r->n_seeds; i++)
            x[i] = take_way(recall_of(r, strategy, p, i), way);
        recall[p] = over_seeds(r, x);
    }
    for (int64_t i = 0; i < r->n_seeds; i++) {
        x[i] = area_of(r, strategy, i, way);
        d[i] = x[i] - area_of(r, 0, i, way);
    }
    *area = over_seeds(r, x);
    *gain = over_seeds(r, d);
    mem_free(x);
    return 0;
}

struct interval simulated_frame(const struct simulated *r, bool all, int way)
{
    double sum[64];
    int64_t n = r->n_seeds < 64 ? r->n_seeds : 64;
    for (int64_t i = 0; i < n; i++)
        sum[i] = take_way((all ? r->all : r->start) + 2 * i, way);
    return student_interval(sum, n);
}
