/* cli/cmd_search.c: the nearest rows of a set, exactly. A query is a text, a picture or a row of the set itself; a
 * query through a model is refused when the model is not the one that made the set: cosines between two models' vectors
 * mean nothing. With a calibration every hit says how probably it is right; --risk answers only where the calibration
 * can promise it, --coverage lists as many as the promise needs (room eval, conformal.c). */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

#define USUAL_CONFIDENCE 0.9

struct search_opt {
    const char *text, *image, *model, *side, *of, *out, *path_base, *calibration;
    int64_t row, k;
    double risk, coverage, confidence;
    bool force;
    struct engine_opt engine;
};
#define F(field) offsetof(struct search_opt, field)
static const struct opt options[] = {
    {"text", 't', OPT_STR, F(text), NULL, 0, 0, NULL, "TEXT", "what to look for, in words"},
    {"image", 'i', OPT_STR, F(image), NULL, 0, 0, NULL, "FILE", "what to look for, as a picture"},
    {"row", 'r', OPT_INT, F(row), "-1", -1, 1e12, NULL, "N", "what to look for, as a row of the set (needs no model)"},
    {"of", 0, OPT_CHOICE, F(of), "image", 0, 0, "image|text", NULL, "the side that --row counts in"},
    PATH_OPTION("model", struct search_opt, model, "M",
                "the model that made the set; the name in set.json when not given"),
    {"top", 'k', OPT_INT, F(k), "10", 1, 1000000, NULL, "N", "so many hits"},
    {"side", 0, OPT_CHOICE, F(side), "image", 0, 0, "image|text", NULL, "look among pictures or among captions"},
    PATH_OPTION("calibration", struct search_opt, calibration, "CAL.json",
                "what meridian calibrate wrote for this set: every hit says p(match)"),
    {"risk", 0, OPT_REAL, F(risk), "0", 0, 0.99, NULL, "X",
     "answer only if at most this share of the answered is wrong, else say unsure (needs --calibration)"},
    {"coverage", 0, OPT_REAL, F(coverage), "0", 0, 0.9999, NULL, "X",
     "list as many hits as hold a right one with this probability, whatever -k says (needs --calibration)"},
    {"confidence", 0, OPT_REAL, F(confidence), "0", 0, 0.9999, NULL, "X",
     "that --risk holds for the threshold found, 0.5 or more; 0: 0.9"},
    PATH_OPTION("out", struct search_opt, out, "FILE.html", "write the hits as a page with thumbnails"),
    PATH_OPTION("path-base", struct search_opt, path_base, "DIR", "folder that the set's picture paths start from"),
    {"force", 'f', OPT_BOOL, F(force), NULL, 0, 0, NULL, NULL,
     "replace an existing output; search with another model than the set's, which the answer says"},
    ENGINE_OPTIONS(struct search_opt, engine),
    {0},
};
#undef F

/* ---- the query's vector ---- */

/* Two fingerprints never mix, unless that is what is wanted: then *mixed, "" before, names both and goes into the
 * answer. */
static int check_model(const struct search_opt *o, const struct set *s, const struct model *m, char mixed[512])
{
    char print[65];
    TRY(model_fingerprint(m, print));
    int rc = set_check_fingerprint(s, m->name, print);
    if (rc != ERR_MISMATCH || !o->force)
        return rc;
    err_clear();
    snprintf(mixed, 512, "mixed: set of %.160s (%.16s), query of %.160s (%.16s)", s->model, s->fingerprint, m->name,
             print);
    log_warn("%s; the scores mean nothing but this mixture", mixed);
    return 0;
}

static int through_model(const struct search_opt *o, const struct set *s, struct model *m, bool low, float *query,
                         char mixed[512])
{
    TRY(check_model(o, s, m, mixed));
    if (m->embed != s->width)
        FAIL(ERR_MISMATCH,
             "set \"%s\" has vectors of width %lld, model \"%s\" makes %lld: use the model that made the set", s->path,
             (long long)s->width, m->name, (long long)m->embed);
    if (!s->fingerprint[0])
        log_warn("set \"%s\" does not say which model made it; scores mean something only if it was \"%s\"", s->path,
                 m->name);
    if (o->text) {
        int64_t cut = 0;
        TRY(model_embed_texts(m, &o->text, 1, low, query, &cut));
        if (cut)
            log_warn("the text is longer than the model's context of %lld tokens: cut", (long long)m->context);
        return 0;
    }
    float *pixels = mem_calloc(3 * (size_t)m->image_size, (size_t)m->image_size * sizeof *pixels);
    int rc = pixels ? preprocess_file(&m->preprocess, o->image, pixels) : ERR_MEMORY;
    if (rc == 0)
        rc = model_embed_pixels(m, pixels, 1, low, query);
    mem_free(pixels);
    return rc;
}

static int make_query(const struct search_opt *o, const struct set *s, float *query, char mixed[512])
{
    const struct engine *e;
    struct model *m = NULL;
    bool low;
    if (!o->text && !o->image) {
        const struct set_side *side = strcmp(o->of, "text") ? &s->image : &s->text;
        if (o->row >= side->n)
            FAIL(ERR_USAGE, "option --row is %lld, expected 0 to %lld (%s rows of set \"%s\")", (long long)o->row,
                 (long long)side->n - 1, o->of, s->path);
        memcpy(query, side->x + o->row * s->width, (size_t)s->width * sizeof *query);
        return space_normalize(query, 1, s->width, NULL);
    }
    const char *name = o->model ? o->model : s->model;
    if (!*name)
        FAIL(ERR_USAGE, "--model is missing, and set \"%s\" does not say which model made it", s->path);
    TRY(cli_engine(&o->engine, &e, &low));
    TRY(model_open(&m, name, e));
    int rc = through_model(o, s, m, low, query, mixed);
    model_close(&m);
    return rc;
}

/* ---- the answer ---- */

/* What the answer is made of. */
struct found {
    bool text;
    struct hit *hits;
    int64_t n;
    double *p; /* [n] p(match), or NULL */
    char mixed[512];
    bool unsure, whole; /* whole: too few calibration queries to leave anything out of a set */
    double best;        /* p of the first hit */
    struct risk_choice risk;
    double set_threshold;
};

/* A picture's label, or its first caption. */
static const char *caption_of(const struct set *s, int64_t row)
{
    int label = s->image.has_meta ? table_col(&s->image.meta, "label") : -1;
    if (label >= 0 && *table_cell(&s->image.meta, row, label))
        return table_cell(&s->image.meta, row, label);
    for (int64_t i = 0; i < s->n_pairs; i++)
        if (s->pairs[i].image == row)
            return cli_row_name(s, true, s->pairs[i].text, NULL);
    return NULL;
}

static json_t *promise_to_json(const struct search_opt *o, const struct found *f)
{
    const struct risk_choice *r = &f->risk;
    if (o->risk > 0)
        return json_pack("{s:f, s:f, s:o, s:I, s:I, s:I, s:o, s:o}", "risk", o->risk, "confidence", o->confidence,
                         "threshold", json_number(r->threshold), "n_calibration", (json_int_t)r->n, "n_answered",
                         (json_int_t)r->n_answered, "n_wrong", (json_int_t)r->n_wrong, "bound",
                         json_number(r->found ? r->upper : (double)NAN), "best_p_match", json_number(f->best));
    return json_pack("{s:f, s:b, s:o}", "coverage", o->coverage, "whole_gallery", f->whole, "ln_mass",
                     json_number(f->set_threshold));
}

static int put_json(const struct search_opt *o, const struct set *s, const struct found *f)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < f->n && !f->unsure; i++) {
        int64_t row = f->hits[i].row;
        const char *name = cli_row_name(s, f->text, row, NULL), *caption = f->text ? NULL : caption_of(s, row);
        json_t *hit = json_pack("{s:I, s:f, s:s*, s:s*}", "row", (json_int_t)row, "score", (double)f->hits[i].score,
                                f->text ? "caption" : "path", name, "label", caption);
        if (hit && f->p)
            json_object_set_new(hit, "p_match", json_number(f->p[i]));
        if (json_array_append_new(list, hit) < 0) {
            json_decref(list);
            FAIL(ERR_MEMORY, "no memory for the hits, or a name among them is not UTF-8");
        }
    }
    json_t *all = json_pack("{s:s, s:o, s:s*}", "side", f->text ? "text" : "image", "hits", list, "mixed",
                            *f->mixed ? f->mixed : NULL);
    if (all && o->risk > 0)
        json_object_set_new(all, "unsure", json_boolean(f->unsure));
    if (all && (o->risk > 0 || o->coverage > 0))
        json_object_set_new(all, "promise", promise_to_json(o, f));
    return cli_put_json(all);
}

/* Why the answer is "unsure", or what it promises; "" without a promise. */
static void promise_text(const struct search_opt *o, const struct found *f, char *out, size_t n)
{
    const struct risk_choice *r = &f->risk;
    *out = 0;
    if (o->coverage > 0 && f->whole)
        snprintf(out, n, "%lld hits: everything, for the calibration has too few queries to promise %g with less",
                 (long long)f->n, o->coverage);
    else if (o->coverage > 0)
        snprintf(out, n, "%lld hit%s; a right one is among them with probability %g", (long long)f->n,
                 f->n == 1 ? "" : "s", o->coverage);
    if (o->risk <= 0)
        return;
    if (!r->found && r->n < r->n_least)
        snprintf(out, n, "unsure: a risk of %g needs at least %lld calibration queries, there are %lld", o->risk,
                 (long long)r->n_least, (long long)r->n);
    else if (!r->found)
        snprintf(out, n, "unsure: on the %lld calibration queries no threshold keeps the risk at %g", (long long)r->n,
                 o->risk);
    else if (f->unsure)
        snprintf(out, n, "unsure: the best p(match) is %.4f, below %.4f, which keeps the risk at %g", f->best,
                 r->threshold, o->risk);
    else
        snprintf(out, n,
                 "sure: p(match) at least %.4f; of %lld such calibration queries %lld were wrong (risk at most %.3f "
                 "with confidence %g)",
                 r->threshold, (long long)r->n_answered, (long long)r->n_wrong, r->upper, o->confidence);
}

static void print_hits(const struct set *s, const struct found *f)
{
    char safe[512];
    if (f->unsure)
        return;
    printf("%4s  %-7s  %s%7s  %s\n", "", "score", f->p ? "p match  " : "", "row", f->text ? "caption" : "picture");
    for (int64_t i = 0; i < f->n; i++) {
        int64_t row = f->hits[i].row;
        const char *name = cli_row_name(s, f->text, row, NULL), *caption = f->text ? NULL : caption_of(s, row);
        str_safe(safe, sizeof safe, caption ? caption : name ? name : "");
        printf("%4lld  %-7.4f  ", (long long)i + 1, (double)f->hits[i].score);
        if (f->p)
            printf("%-7.4f  ", f->p[i]);
        printf("%7lld  %s", (long long)row, safe);
        if (caption && name) {
            str_safe(safe, sizeof safe, name);
            printf("  (%s)", safe);
        }
        putchar('\n');
    }
}

static int write_grid(struct cli *c, const struct search_opt *o, const struct set *s, const struct found *f)
{
    char base[2048], promise[256];
    const struct hit *hits = f->hits;
    const char *mixed = f->mixed;
    int64_t n = f->unsure ? 0 : f->n;
    bool text = f->text;
    struct grid_hit *list = arena_calloc(c->arena, (size_t)n + 1, sizeof *list);
    if (!list)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        list[i] =
            (struct grid_hit){.path = text ? NULL : cli_row_name(s, false, hits[i].row, NULL),
                              .row = hits[i].row,
                              .score = (double)hits[i].score,
                              .p_match = f->p ? f->p[i] : 0,
                              .caption = text ? cli_row_name(s, true, hits[i].row, NULL) : caption_of(s, hits[i].row)};
    promise_text(o, f, promise, sizeof promise);
    struct grid_opt grid = {.path = o->out,
                            .note = promise,
                            .calibrated = f->p != NULL,
                            .force = o->force,
                            .query = o->text,
                            .query_image = o->image,
                            .model = *mixed ? mixed : s->model,
                            .path_base = cli_set_base(s, o->path_base, base, sizeof base)};
    return grid_write_html(&grid, list, n);
}

/* ---- what a calibration adds ---- */

static int check_calibration(const struct search_opt *o, const struct set *s, const struct calibration *cal,
                             const struct match_model *m, int64_t n_gallery)
{
    TRY(cli_check_calibration(cal, o->calibration, s));
    if (!m->fitted)
        FAIL(ERR_DATA, "%s: this direction was not fitted, for the set had no pairs that way", o->calibration);
    cli_warn_gallery(m, n_gallery);
    return 0;
}

static int cover(struct cli *c, const struct search_opt *o, const struct set_side *side, int64_t width,
                 const float *query, const struct match_model *m, struct found *f)
{
    double *mass = arena_calloc(c->arena, (size_t)side->n + 1, sizeof *mass);
    int64_t n = 0;
    if (!mass)
        return ERR_MEMORY;
    TRY(conformal_threshold(m->cover, m->n_cover, o->coverage, &f->set_threshold));
    f->whole = !isfinite(f->set_threshold);
    TRY(match_hits(m, query, side->x, side->n, width, NULL, 0, NULL, mass));
    for (int64_t j = 0; j < side->n; j++)
        n += mass[j] >= f->set_threshold;
    n = n < 1 ? 1 : n; /* even where no item reaches the bar: an answer of nothing says nothing */
    f->hits = arena_calloc(c->arena, (size_t)n + 1, sizeof *f->hits);
    if (!f->hits)
        return ERR_MEMORY;
    TRY(space_topk(query, 1, side->x, side->n, width, n, f->hits));
    f->n = n;
    return 0;
}

static int calibrated(struct cli *c, const struct search_opt *o, const struct set *s, const float *query,
                      struct found *f)
{
    struct calibration cal = {0};
    const struct set_side *side = f->text ? &s->text : &s->image;
    TRY(calibration_read(o->calibration, &cal));
    const struct match_model *m = &cal.models[f->text ? 0 : 1];
    int rc = check_calibration(o, s, &cal, m, side->n);
    if (rc == 0 && o->coverage > 0)
        rc = cover(c, o, side, s->width, query, m, f);
    if (rc == 0) {
        f->p = arena_calloc(c->arena, (size_t)f->n + 1, sizeof *f->p);
        rc = f->p ? match_hits(m, query, side->x, side->n, s->width, f->hits, f->n, f->p, NULL) : ERR_MEMORY;
    }
    if (rc == 0 && o->risk > 0)
        rc = risk_threshold(&m->risk, o->risk, o->confidence, &f->risk);
    if (rc == 0) {
        f->best = f->n > 0 ? f->p[0] : 0;
        f->unsure = o->risk > 0 && !(f->risk.found && f->best >= f->risk.threshold);
    }
    calibration_free(&cal);
    return rc;
}

static int answer(struct cli *c, const struct search_opt *o, const struct set *s)
{
    struct found f = {.text = !strcmp(o->side, "text")};
    char promise[256];
    bool self = !o->text && !o->image && !strcmp(o->of, o->side);
    const struct set_side *side = f.text ? &s->text : &s->image;
    int64_t k = o->k + self < side->n ? o->k + self : side->n;
    float *query = arena_calloc(c->arena, (size_t)s->width, sizeof *query);
    struct hit *hits = f.hits = arena_calloc(c->arena, (size_t)k + 1, sizeof *f.hits);
    if (!query || !hits)
        return ERR_MEMORY;
    if (side->n == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %s to search; try --side %s", s->path, f.text ? "captions" : "pictures",
             f.text ? "image" : "text");
    TRY(make_query(o, s, query, f.mixed));
    TRY(space_topk(query, 1, side->x, side->n, s->width, k, hits));
    for (int64_t i = 0; i < k && f.n < o->k; i++) /* a row finds itself first: that is no news */
        if (hits[i].row >= 0 && !(self && hits[i].row == o->row))
            hits[f.n++] = hits[i];
    if (o->calibration)
        TRY(calibrated(c, o, s, query, &f));
    if (o->out) {
        TRY(write_grid(c, o, s, &f));
        log_info("page: %s", o->out);
    }
    if (c->json)
        return put_json(o, s, &f);
    if (*f.mixed)
        printf("%s\n", f.mixed);
    promise_text(o, &f, promise, sizeof promise);
    if (*promise)
        printf("%s\n", promise);
    print_hits(s, &f);
    return 0;
}

/* A calibration speaks of pictures for words and words for pictures. */
static int check_promises(const struct search_opt *o)
{
    bool text_query = o->text || (!o->image && !strcmp(o->of, "text")), text_side = !strcmp(o->side, "text");
    if (o->risk > 0 && o->coverage > 0)
        FAIL(ERR_USAGE, "--risk and --coverage exclude each other: one answer or none, or a list that holds it");
    if (!o->calibration && (o->risk > 0 || o->coverage > 0))
        FAIL(ERR_USAGE, "--%s needs --calibration CAL.json, which meridian calibrate makes of a set with pairs",
             o->risk > 0 ? "risk" : "coverage");
    if (o->confidence > 0 && !(o->risk > 0))
        FAIL(ERR_USAGE, "--confidence is that of --risk: give --risk too");
    if (o->confidence > 0 && o->confidence < 0.5)
        FAIL(ERR_USAGE, "option --confidence is %g, expected 0.5 to 0.9999", o->confidence);
    if (o->calibration && text_query == text_side)
        FAIL(ERR_USAGE, "--calibration speaks of pictures found for words and words found for pictures; give --side %s",
             text_side ? "image" : "text");
    return 0;
}

static int run(struct cli *c)
{
    struct search_opt with = *(const struct search_opt *)c->opt, *o = &with;
    struct set *s = NULL;
    int n = (o->text != NULL) + (o->image != NULL) + (o->row >= 0);
    TRY(cli_words(c, 1, 1, "the set's folder"));
    if (n != 1)
        FAIL(ERR_USAGE, "%s of --text, --image and --row; usage: meridian search %s", n ? "give one" : "one is missing",
             c->command->usage);
    TRY(check_promises(o));
    o->confidence = o->confidence > 0 ? o->confidence : USUAL_CONFIDENCE;
    if (o->out)
        TRY(path_check_output(o->out, o->force));
    TRY(set_open(&s, c->args.v[0]));
    int rc = answer(c, o, s);
    set_close(&s);
    return rc;
}

const struct command command_search = {
    .name = "search",
    .summary = "the nearest pictures or captions of a set",
    .usage = "SET (--text \"...\" | --image F | --row N) [-k 10] [--out grid.html]",
    .notes =
        "With --calibration (meridian calibrate) every hit says p(match), how probably it is right; --risk 0.1 then "
        "says unsure\n"
        "where at most one answer in ten being wrong cannot be promised, --coverage 0.9 lists as many as nine in ten "
        "need.\n",
    .example = "meridian search test-set --text \"red fruit\" --model emoji -k 10 --out grid.html",
    .options = options,
    .size = sizeof(struct search_opt),
    .computes = true,
    .run = run,
};
