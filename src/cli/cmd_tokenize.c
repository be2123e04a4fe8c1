/* cli/cmd_tokenize.c: what the text tower sees: one JSON list of ids a line. The folder may hold a tokenizer alone. */
#include "cli/cli.h"

#include <string.h>

struct tokenize_opt {
    const char *model, *file;
    struct opt_list texts;
    int64_t context;
};
#define F(field) offsetof(struct tokenize_opt, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct tokenize_opt, model, "DIR",
                "a model folder or name, or a folder with vocab.json and merges.txt"),
    {"text", 't', OPT_LIST, F(texts), NULL, 0, 0, NULL, "TEXT", "texts"},
    PATH_OPTION("file", struct tokenize_opt, file, "LINES.txt", "one text a line; .jsonl: field \"text\" of each line"),
    {"context", 0, OPT_INT, F(context), "0", 0, 65536, NULL, "N",
     "add start and end, cut and pad to N as the model does; 0: bare ids"},
    {0},
};
#undef F

static json_t *ids_to_json(const int32_t *ids, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static int put_ids(const struct cli *c, const int32_t *ids, int64_t n, json_t *all)
{
    if (c->json) {
        if (json_array_append_new(all, ids_to_json(ids, n)) < 0)
            FAIL(ERR_MEMORY, "no memory for the ids");
        return 0;
    }
    putchar('[');
    for (int64_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", (int)ids[i]);
    puts("]");
    return 0;
}

static int one_text(const struct cli *c, const struct tokenizer *t, const char *text, json_t *all)
{
    const struct tokenize_opt *o = c->opt;
    int32_t *ids = NULL;
    int64_t n = o->context;
    bool cut = false;
    if (o->context == 0) {
        TRY(tokenizer_encode(t, text, &ids, &n));
    } else {
        ids = mem_calloc((size_t)n, sizeof *ids);
        if (!ids)
            return ERR_MEMORY;
        int rc = tokenizer_encode_context(t, text, n, ids, &cut);
        if (rc < 0) {
            mem_free(ids);
            return rc;
        }
    }
    int rc = put_ids(c, ids, n, all);
    mem_free(ids);
    return rc;
}

/* One line of a file, without its end. */
static int one_line(const struct cli *c, const struct tokenizer *t, const char *line, size_t n, int64_t at, json_t *all)
{
    const struct tokenize_opt *o = c->opt;
    char where[1200];
    const char *text = NULL;
    json_t *object = NULL;
    snprintf(where, sizeof where, "%.1000s: line %lld", o->file, (long long)at);
    if ((int64_t)n > limit_get(LIMIT_LINE_BYTES))
        FAIL(ERR_DATA, "%s: %zu bytes, expected at most %lld (limit line-bytes)", where, n,
             (long long)limit_get(LIMIT_LINE_BYTES));
    if (!utf8_ok(line, n) || memchr(line, 0, n))
        FAIL(ERR_DATA, "%s: not UTF-8 text", where);
    struct str copy = {0};
    str_add_n(&copy, line, n);
    if (copy.failed) {
        str_free(&copy);
        FAIL(ERR_MEMORY, "%s: no memory", where);
    }
    int rc = 0;
    if (str_ends(o->file, ".jsonl")) {
        rc = json_read_text(&object, line, n, where);
        if (rc == 0)
            rc = json_field_str(object, "text", true, &text, where);
    } else {
        text = copy.s ? copy.s : "";
    }
    if (rc == 0)
        rc = one_text(c, t, text, all);
    if (rc < 0)
        err_while(rc, "%s", where);
    str_free(&copy);
    json_decref(object);
    return rc;
}

static int whole_file(const struct cli *c, const struct tokenizer *t, json_t *all)
{
    const struct tokenize_opt *o = c->opt;
    struct map m = {0};
    int rc = map_open(&m, o->file);
    TRY(rc);
    const char *p = (const char *)m.data, *end = p + m.size;
    for (int64_t line = 1; rc == 0 && p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        rc = one_line(c, t, p, n && p[n - 1] == '\r' ? n - 1 : n, line, all);
        p += n + 1;
    }
    if (rc == 0)
        rc = map_check(&m);
    map_close(&m);
    return rc;
}

static int run(struct cli *c)
{
    const struct tokenize_opt *o = c->opt;
    char dir[2048];
    struct tokenizer *t = NULL;
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_need(c, o->model, "--model"));
    if ((o->texts.n > 0) == (o->file != NULL))
        FAIL(ERR_USAGE, "give --text or --file; usage: meridian tokenize %s", c->command->usage);
    if (o->context == 1)
        FAIL(ERR_USAGE, "option --context is 1, expected 0 or at least 2: start and end need room");
    if (model_find(dir, sizeof dir, o->model) < 0) { /* a folder with a tokenizer alone */
        if (!path_is_dir(o->model) || strlen(o->model) >= sizeof dir)
            return ERR_FAIL;
        strcpy(dir, o->model);
        err_clear();
    }
    json_t *all = c->json ? json_array() : NULL;
    int rc = tokenizer_open(&t, dir, NULL);
    for (int i = 0; rc == 0 && i < o->texts.n; i++)
        rc = one_text(c, t, o->texts.v[i], all);
    if (rc == 0 && o->file)
        rc = whole_file(c, t, all);
    tokenizer_close(&t);
    if (rc == 0 && c->json)
        return cli_put_json(json_pack("{s:o}", "ids", all));
    json_decref(all);
    return rc;
}

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "texts to token ids, one JSON list a line",
    .usage = "--model DIR (--text \"...\" | --file LINES.txt) [--context N]",
    .example = "meridian tokenize --model emoji --text \"a red apple\"",
    .options = options,
    .size = sizeof(struct tokenize_opt),
    .run = run,
};
