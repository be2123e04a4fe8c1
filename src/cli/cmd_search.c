/* cli/cmd_search.c: the nearest rows of a set, exactly. A query is a text, a picture or a row of the set itself; a
 * query through a model is refused when the model is not the one that made the set: cosines between two models' vectors
 * mean nothing. */
#include "cli/cli.h"

#include <string.h>

struct search_opt {
    const char *text, *image, *model, *side, *of, *out, *path_base;
    int64_t row, k;
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
    PATH_OPTION("out", struct search_opt, out, "FILE.html", "write the hits as a page with thumbnails"),
    PATH_OPTION("path-base", struct search_opt, path_base, "DIR", "folder that the set's picture paths start from"),
    {"force", 'f', OPT_BOOL, F(force), NULL, 0, 0, NULL, NULL,
     "replace an existing output; search with another model than the set's, which the answer says"},
    ENGINE_OPTIONS(struct search_opt, engine),
    {0},
};
#undef F

/* ---- the query's vector
 * ------------------------------------------------------------------------------------------------------ */

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

/* ---- the answer
 * -------------------------------------------------------------------------------------------------------------- */

/* What names a row: the picture's path (or id), the caption; NULL when the set has no table. */
static const char *name_of(const struct set *s, bool text, int64_t row)
{
    const struct set_side *side = text ? &s->text : &s->image;
    int col = side->has_meta ? table_col(&side->meta, text ? "caption" : "path") : -1;
    if (col < 0 && side->has_meta)
        col = table_col(&side->meta, "id");
    return col < 0 ? NULL : table_cell(&side->meta, row, col);
}

/* A picture's label, or its first caption. */
static const char *caption_of(const struct set *s, int64_t row)
{
    int label = s->image.has_meta ? table_col(&s->image.meta, "label") : -1;
    if (label >= 0 && *table_cell(&s->image.meta, row, label))
        return table_cell(&s->image.meta, row, label);
    for (int64_t i = 0; i < s->n_pairs; i++)
        if (s->pairs[i].image == row)
            return name_of(s, true, s->pairs[i].text);
    return NULL;
}

static int put_json(const struct set *s, bool text, const struct hit *hits, int64_t n, const char *mixed)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++) {
        const char *name = name_of(s, text, hits[i].row), *caption = text ? NULL : caption_of(s, hits[i].row);
        json_t *o = json_pack("{s:I, s:f, s:s*, s:s*}", "row", (json_int_t)hits[i].row, "score", (double)hits[i].score,
                              text ? "caption" : "path", name, "label", caption);
        if (json_array_append_new(list, o) < 0) {
            json_decref(list);
            FAIL(ERR_MEMORY, "no memory for the hits, or a name among them is not UTF-8");
        }
    }
    return cli_put_json(
        json_pack("{s:s, s:o, s:s*}", "side", text ? "text" : "image", "hits", list, "mixed", *mixed ? mixed : NULL));
}

static void print_hits(const struct set *s, bool text, const struct hit *hits, int64_t n)
{
    char safe[512];
    printf("%4s  %-7s  %7s  %s\n", "", "score", "row", text ? "caption" : "picture");
    for (int64_t i = 0; i < n; i++) {
        const char *name = name_of(s, text, hits[i].row), *caption = text ? NULL : caption_of(s, hits[i].row);
        str_safe(safe, sizeof safe, caption ? caption : name ? name : "");
        printf("%4lld  %-7.4f  %7lld  %s", (long long)i + 1, (double)hits[i].score, (long long)hits[i].row, safe);
        if (caption && name) {
            str_safe(safe, sizeof safe, name);
            printf("  (%s)", safe);
        }
        putchar('\n');
    }
}

static int write_grid(struct cli *c, const struct search_opt *o, const struct set *s, bool text, const struct hit *hits,
                      int64_t n, const char *mixed)
{
    char base[2048];
    struct grid_hit *list = arena_calloc(c->arena, (size_t)n + 1, sizeof *list);
    if (!list)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        list[i] = (struct grid_hit){.path = text ? NULL : name_of(s, false, hits[i].row),
                                    .row = hits[i].row,
                                    .score = (double)hits[i].score,
                                    .caption = text ? name_of(s, true, hits[i].row) : caption_of(s, hits[i].row)};
    struct grid_opt grid = {.path = o->out,
                            .force = o->force,
                            .query = o->text,
                            .query_image = o->image,
                            .model = *mixed ? mixed : s->model,
                            .path_base = cli_set_base(s, o->path_base, base, sizeof base)};
    return grid_write_html(&grid, list, n);
}

static int answer(struct cli *c, const struct search_opt *o, const struct set *s)
{
    char mixed[512] = "";
    bool text = !strcmp(o->side, "text"), self = !o->text && !o->image && !strcmp(o->of, o->side);
    const struct set_side *side = text ? &s->text : &s->image;
    int64_t k = o->k + self < side->n ? o->k + self : side->n, n = 0;
    float *query = arena_calloc(c->arena, (size_t)s->width, sizeof *query);
    struct hit *hits = arena_calloc(c->arena, (size_t)k + 1, sizeof *hits);
    if (!query || !hits)
        return ERR_MEMORY;
    if (side->n == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %s to search; try --side %s", s->path, text ? "captions" : "pictures",
             text ? "image" : "text");
    TRY(make_query(o, s, query, mixed));
    TRY(space_topk(query, 1, side->x, side->n, s->width, k, hits));
    for (int64_t i = 0; i < k && n < o->k; i++) /* a row finds itself first: that is no news */
        if (hits[i].row >= 0 && !(self && hits[i].row == o->row))
            hits[n++] = hits[i];
    if (o->out) {
        TRY(write_grid(c, o, s, text, hits, n, mixed));
        log_info("page: %s", o->out);
    }
    if (c->json)
        return put_json(s, text, hits, n, mixed);
    if (*mixed)
        printf("%s\n", mixed);
    print_hits(s, text, hits, n);
    return 0;
}

static int run(struct cli *c)
{
    const struct search_opt *o = c->opt;
    struct set *s = NULL;
    int n = (o->text != NULL) + (o->image != NULL) + (o->row >= 0);
    TRY(cli_words(c, 1, 1, "the set's folder"));
    if (n != 1)
        FAIL(ERR_USAGE, "%s of --text, --image and --row; usage: meridian search %s", n ? "give one" : "one is missing",
             c->command->usage);
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
    .example = "meridian search test-set --text \"red fruit\" --model emoji -k 10 --out grid.html",
    .options = options,
    .size = sizeof(struct search_opt),
    .computes = true,
    .run = run,
};
