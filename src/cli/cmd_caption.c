/* cli/cmd_caption.c: captions of pictures: of the files named, one a line on stdout, or of a dataset into a table. A
 * picture that cannot be read costs its line, which stays empty so that line i belongs to picture i; the reason goes to
 * stderr, the others go on, and the exit code says that one failed. */
#include "cli/cli.h"

#include <string.h>

struct say_opt {
    const char *model, *prompt, *data, *split, *out;
    int64_t beam, min_length, max_length, image_size;
    double length_penalty, repetition_penalty;
    bool force;
    struct dataset_opt which;
    struct engine_opt engine;
};
#define F(field) offsetof(struct say_opt, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct say_opt, model, "M", "folder of a BLIP captioner or a CoCa"),
    {"beam", 0, OPT_INT, F(beam), "1", 1, 64, NULL, "N", "width of the beam search; 1: always the likeliest word"},
    {"min-length", 0, OPT_INT, F(min_length), "0", 0, 65536, NULL, "N",
     "tokens at least, prompt and end included; 0: the model's usual"},
    {"max-length", 0, OPT_INT, F(max_length), "0", 0, 65536, NULL, "N",
     "tokens at most, prompt and end included; 0: the model's usual"},
    {"prompt", 0, OPT_STR, F(prompt), NULL, 0, 0, NULL, "TEXT",
     "words the caption begins with, not printed; BLIP: \"a picture of\" when not given, \"\" for none"},
    {"length-penalty", 0, OPT_REAL, F(length_penalty), "1", -10, 10, NULL, "X",
     "beams: log probability / words^X; above 1 prefers long captions"},
    {"repetition-penalty", 0, OPT_REAL, F(repetition_penalty), "1", 0.01, 100, NULL, "X",
     "above 1: words that are there become less likely"},
    {"image-size", 0, OPT_INT, F(image_size), "0", 0, 8192, NULL, "N",
     "pictures of another size than the model's (positions are interpolated)"},
    PATH_OPTION("data", struct say_opt, data, "SPEC", "in place of IMAGE: KIND:WHERE, listed below; needs --out"),
    PATH_OPTION("split", struct say_opt, split, "NAMES", "rows of the data (comma-separated); all when not given"),
    DATA_OPTIONS(struct say_opt, which),
    {"limit", 0, OPT_INT, F(which.limit), "0", 0, 1e12, NULL, "N", "at most so many pictures; 0: all"},
    PATH_OPTION("out", struct say_opt, out, "FILE", "with --data: FILE.tsv or FILE.jsonl"),
    FORCE_OPTION(struct say_opt, force),
    ENGINE_OPTIONS(struct say_opt, engine),
    {0},
};
#undef F

struct say {
    struct cli *c;
    struct model *m;
    struct dataset *d; /* NULL: the files on the command line */
    bool low, jsonl;
    struct caption_opt opt;
    int64_t n, n_failed;
    float *pixels; /* [MODEL_GRAIN, 3, size, size] */
    int32_t *ids;  /* [MODEL_GRAIN, max_length] */
    struct str text, cell;
    struct atomic_file *out; /* NULL: stdout */
    json_t *captions, *failed;
};

/* ---- one picture ---- */

static const char *name_of(const struct say *s, int64_t i)
{
    if (!s->d)
        return s->c->args.v[i];
    const char *path = dataset_image_cell(s->d, i, "path");
    return path && *path ? path : dataset_image_cell(s->d, i, "id");
}

/* Fit for a terminal, a table and JSON; valid until the next call. */
static const char *safe(struct say *s, const char *text)
{
    size_t n = 4 * strlen(text ? text : "") + 1;
    str_clear(&s->cell);
    str_add(&s->cell, "%*s", (int)n, ""); /* room */
    if (s->cell.failed)
        return "";
    str_safe(s->cell.s, n, text ? text : "");
    return s->cell.s;
}

static int read_picture(struct say *s, int64_t i, float *out)
{
    struct image im = {0};
    if (!s->d)
        return preprocess_file(&s->m->preprocess, s->c->args.v[i], out);
    TRY(s->d->read_image(s->d, i, &im, NULL));
    int rc = preprocess_apply(&s->m->preprocess, &im, out);
    image_free(&im);
    return rc;
}

/* A fault of the machine or of the user's patience is not the picture's. */
static bool is_its_own(int rc)
{
    return rc == ERR_DATA || rc == ERR_FAIL || rc == ERR_UNSUPPORTED || rc == ERR_NONFINITE;
}

static int put_failed(struct say *s, int64_t i, const char *why)
{
    s->n_failed++;
    log_warn("no caption: %s", why);
    if (s->out)
        return 0;
    if (!s->c->json) {
        putchar('\n');
        return 0;
    }
    json_t *o = json_pack("{s:s, s:s}", "path", safe(s, name_of(s, i)), "why", why);
    if (json_array_append_new(s->failed, o) < 0)
        FAIL(ERR_MEMORY, "no memory for the captions");
    return 0;
}

static json_t *to_json(struct say *s, int64_t i, const int32_t *ids, int64_t n, double score)
{
    json_t *tokens = json_array(), *o;
    for (int64_t j = 0; tokens && j < n; j++)
        json_array_append_new(tokens, json_integer(ids[j]));
    o = json_pack("{s:s, s:s?, s:o, s:o}", "path", safe(s, name_of(s, i)), "caption",
                  s->m->tokenizer ? s->text.s : NULL, "score", json_number(score), "tokens", tokens);
    if (o && s->d)
        json_object_set_new(o, "row", json_integer(i));
    if (o && !s->m->tokenizer)
        json_object_set_new(o, "why", json_string("the model folder has no tokenizer"));
    return o;
}

static int put_caption(struct say *s, int64_t i, const int32_t *ids, int64_t n, double score)
{
    struct str line = {0};
    int rc = 0;
    str_clear(&s->text);
    str_add(&s->text, "%s", "");
    if (s->m->tokenizer)
        TRY(model_caption_text(s->m, ids + s->opt.n_prompt, n - s->opt.n_prompt, &s->text));
    if (!s->out && !s->c->json) {
        puts(safe(s, s->text.s));
        return 0;
    }
    if (s->out && !s->jsonl) {
        str_add(&line, "%lld\t%s\t", (long long)i, safe(s, name_of(s, i)));
        str_add(&line, "%s\t%.6g\n", safe(s, s->text.s), score);
    } else {
        json_t *o = to_json(s, i, ids, n, score);
        if (!s->out)
            return json_array_append_new(s->captions, o) < 0 ? err_set(ERR_MEMORY, "no memory for the captions") : 0;
        rc = o ? str_add_json(&line, o, JSON_COMPACT) : ERR_MEMORY;
        str_add_c(&line, '\n');
        json_decref(o);
    }
    if (rc == 0)
        rc = line.failed ? err_set(ERR_MEMORY, "no memory for the captions") : atomic_write(s->out, line.s, line.n);
    str_free(&line);
    return rc;
}

/* ---- all of them, in the grains that the model takes at once ---- */

static int say_grain(struct say *s, int64_t first, int64_t k)
{
    int64_t each = 3 * s->m->image_size * s->m->image_size, lengths[MODEL_GRAIN], n = 0;
    double scores[MODEL_GRAIN];
    char *why[MODEL_GRAIN] = {0};
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < k; i++) {
        rc = read_picture(s, first + i, s->pixels + n * each);
        if (rc == 0)
            n++;
        else if (is_its_own(rc))
            rc = (why[i] = mem_strdup(err_text())) ? 0 : ERR_MEMORY;
    }
    if (rc == 0 && n)
        rc = model_caption(s->m, s->pixels, n, &s->opt, s->low, s->ids, lengths, scores);
    for (int64_t i = 0, at = 0; i < k; i++) {
        if (rc == 0 && why[i])
            rc = put_failed(s, first + i, why[i]);
        else if (rc == 0) {
            rc = put_caption(s, first + i, s->ids + at * s->opt.max_length, lengths[at], scores[at]);
            at++;
        }
        mem_free(why[i]);
    }
    return rc;
}

static int say_all(struct say *s)
{
    struct progress *p = NULL;
    int rc = 0;
    if (s->out && !s->jsonl)
        TRY(atomic_printf(s->out, "row\tpath\tcaption\tscore\n"));
    if (s->d)
        progress_open(&p, "pictures", s->n, "pictures");
    for (int64_t i = 0; rc == 0 && i < s->n; i += MODEL_GRAIN) {
        int64_t k = s->n - i < MODEL_GRAIN ? s->n - i : MODEL_GRAIN;
        rc = signal_check();
        if (rc == 0)
            rc = say_grain(s, i, k);
        progress_add(p, k);
    }
    progress_close(&p);
    return rc;
}

static int finish(struct say *s, const struct say_opt *o)
{
    if (s->out)
        TRY(atomic_commit(&s->out));
    if (s->c->json && s->d)
        TRY(cli_put_json(json_pack("{s:s, s:I, s:I}", "out", o->out, "n_captions", (json_int_t)(s->n - s->n_failed),
                                   "n_failed", (json_int_t)s->n_failed)));
    else if (s->c->json)
        TRY(cli_put_json(
            json_pack("{s:s, s:O, s:O}", "model", s->m->name, "captions", s->captions, "failed", s->failed)));
    else if (s->d)
        printf("%s: %lld captions\n", o->out, (long long)(s->n - s->n_failed));
    if (s->n_failed)
        FAIL(ERR_FAIL, "%lld of %lld pictures have no caption; the reasons are above", (long long)s->n_failed,
             (long long)s->n);
    return 0;
}

/* ---- the call ---- */

static int prepare(struct say *s, const struct say_opt *o)
{
    struct model *m = s->m;
    int32_t *prompt = arena_calloc(s->c->arena, (size_t)m->context + 1, sizeof *prompt);
    s->opt = (struct caption_opt){.beam = o->beam,
                                  .min_length = o->min_length,
                                  .max_length = o->max_length,
                                  .length_penalty = o->length_penalty,
                                  .repetition_penalty = o->repetition_penalty};
    if (!prompt)
        return ERR_MEMORY;
    if (o->prompt && m->family->captioner) {
        TRY(model_caption_prompt(m, o->prompt, prompt, &s->opt.n_prompt));
        s->opt.prompt = prompt;
    }
    TRY(model_caption_defaults(m, &s->opt, prompt));
    if (!m->tokenizer && !s->c->json)
        FAIL(ERR_DATA,
             "%s: the model folder has no tokenizer, so captions have no words; put its vocab.txt or tokenizer.json "
             "there, or take the token ids with --json",
             o->model);
    size_t size = (size_t)m->image_size;
    s->pixels = arena_calloc(s->c->arena, MODEL_GRAIN * 3 * size, size * sizeof *s->pixels);
    s->ids = arena_calloc(s->c->arena, MODEL_GRAIN, (size_t)s->opt.max_length * sizeof *s->ids);
    s->captions = json_array();
    s->failed = json_array();
    if (!s->pixels || !s->ids || !s->captions || !s->failed)
        FAIL(ERR_MEMORY, "no memory for the captions");
    return 0;
}

static int say_with(struct say *s, const struct say_opt *o)
{
    TRY(prepare(s, o));
    s->n = s->c->args.n;
    if (o->data) {
        struct dataset_opt which = o->which;
        TRY(cli_dataset(&s->d, o->data, o->split, NULL, &which));
        log_info("%s", s->d->description);
        s->n = s->d->n_images;
        if (s->n == 0)
            FAIL(ERR_DATA, "%s: no picture to caption", o->data);
        TRY(atomic_open(&s->out, o->out));
    }
    TRY(say_all(s));
    return finish(s, o);
}

static int check_words(struct cli *c, const struct say_opt *o, bool *jsonl)
{
    TRY(cli_need(c, o->model, "--model"));
    TRY(cli_words(c, o->data ? 0 : 1, o->data ? 0 : INT32_MAX, "a picture (or --data)"));
    if (!o->data && o->out)
        FAIL(ERR_USAGE, "--out goes with --data; captions of named pictures are printed");
    if (!o->data)
        return 0;
    TRY(cli_need(c, o->out, "--out"));
    *jsonl = str_ends(o->out, ".jsonl");
    if (!*jsonl && !str_ends(o->out, ".tsv"))
        FAIL(ERR_USAGE, "--out is %.80s, expected a name that ends in .tsv or .jsonl", o->out);
    return path_check_output(o->out, o->force);
}

static int run(struct cli *c)
{
    const struct say_opt *o = c->opt;
    const struct engine *e;
    struct say s = {.c = c};
    struct model_opt how = {.image_size = o->image_size};
    TRY(check_words(c, o, &s.jsonl));
    TRY(cli_engine(&o->engine, &e, &s.low));
    TRY(model_open_opt(&s.m, o->model, &how, e));
    int rc = say_with(&s, o);
    atomic_abort(&s.out);
    json_decref(s.captions);
    json_decref(s.failed);
    str_free(&s.text);
    str_free(&s.cell);
    dataset_close(&s.d);
    model_close(&s.m);
    return rc;
}

const struct command command_caption = {
    .name = "caption",
    .summary = "captions of pictures, by a model that can write",
    .usage = "--model M (IMAGE... | --data SPEC --out FILE.tsv) [--beam N] [--prompt TEXT]",
    .notes =
        "One caption a line. A picture that cannot be read leaves its line empty; the reason is on stderr, the others\n"
        "go on, and the exit code is 1. BLIP's authors caption with --beam 3 --min-length 5 --max-length 20.\n",
    .add_help = cli_list_data,
    .example = "meridian caption --model blip-image-captioning-base cat.jpg --beam 3",
    .options = options,
    .size = sizeof(struct say_opt),
    .computes = true,
    .run = run,
};
