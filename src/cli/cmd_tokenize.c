/* cli/cmd_tokenize.c: what the text tower sees: one JSON list of ids a line. The folder may hold a tokenizer alone.
 *
 * Nothing is cut in silence: rows that did not fit are listed. So are texts that the original would have repaired with
 * ftfy, for their ids are another program's where that is installed. */
#include "cli/cli.h"

#include <string.h>

struct tokenize_opt {
    const char *model, *file, *clean;
    struct opt_list texts;
    int64_t context;
};
#define F(field) offsetof(struct tokenize_opt, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct tokenize_opt, model, "DIR",
                "a model folder or name, or a folder with the files of a tokenizer alone"),
    {"text", 't', OPT_LIST, F(texts), NULL, 0, 0, NULL, "TEXT", "texts"},
    PATH_OPTION("file", struct tokenize_opt, file, "LINES.txt", "one text a line; .jsonl: field \"text\" of each line"),
    {"context", 0, OPT_INT, F(context), "0", 0, 65536, NULL, "N",
     "add start and end, cut and pad to N as the model does; 0: bare ids"},
    PATH_OPTION(
        "clean", struct tokenize_opt, clean, "MODE",
        "how a text is cleaned first: open_clip, whitespace, canonicalize, siglip, hf, bert, blip or none; as the "
        "folder says when not given"),
    {0},
};
#undef F

/* One call's work. Rows count from 1: lines of the file, or the texts in their order. */
struct tokenize {
    const struct cli *c;
    const struct tokenize_opt *o;
    struct tokenizer *t;
    struct tokenizer_info info;
    json_t *all, *truncated; /* all: NULL without --json */
    int64_t n_ftfy;
};

static json_t *ids_to_json(const int32_t *ids, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static int put_ids(const struct tokenize *w, const int32_t *ids, int64_t n)
{
    if (w->all) {
        if (json_array_append_new(w->all, ids_to_json(ids, n)) < 0)
            FAIL(ERR_MEMORY, "no memory for the ids");
        return 0;
    }
    putchar('[');
    for (int64_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", (int)ids[i]);
    puts("]");
    return 0;
}

static int one_text(struct tokenize *w, const char *text, int64_t row)
{
    int32_t *ids = NULL;
    int64_t n = w->o->context;
    bool cut = false;
    int rc = 0;
    if (n == 0) {
        TRY(tokenizer_encode(w->t, text, &ids, &n));
    } else {
        ids = mem_calloc((size_t)n, sizeof *ids);
        if (!ids)
            return ERR_MEMORY;
        rc = tokenizer_encode_context(w->t, text, n, ids, &cut);
    }
    if (rc == 0)
        rc = put_ids(w, ids, n);
    mem_free(ids);
    if (rc == 0 && cut && json_array_append_new(w->truncated, json_integer(row)) < 0)
        FAIL(ERR_MEMORY, "no memory for the list of cut texts");
    if (rc == 0 && w->info.ftfy)
        w->n_ftfy += text_ftfy_differs(text, strlen(text));
    return rc;
}

/* One line of a file, without its end. */
static int one_line(struct tokenize *w, const char *line, size_t n, int64_t at)
{
    char where[1200];
    const char *text = NULL;
    json_t *object = NULL;
    snprintf(where, sizeof where, "%.1000s: line %lld", w->o->file, (long long)at);
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
    if (str_ends(w->o->file, ".jsonl")) {
        rc = json_read_text(&object, line, n, where);
        if (rc == 0)
            rc = json_field_str(object, "text", true, &text, where);
    } else {
        text = copy.s ? copy.s : "";
    }
    if (rc == 0)
        rc = one_text(w, text, at);
    if (rc < 0)
        err_while(rc, "%s", where);
    str_free(&copy);
    json_decref(object);
    return rc;
}

static int whole_file(struct tokenize *w)
{
    struct map m = {0};
    int rc = map_open(&m, w->o->file);
    TRY(rc);
    const char *p = (const char *)m.data, *end = p + m.size;
    for (int64_t line = 1; rc == 0 && p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        rc = one_line(w, p, n && p[n - 1] == '\r' ? n - 1 : n, line);
        p += n + 1;
    }
    if (rc == 0)
        rc = map_check(&m);
    map_close(&m);
    return rc;
}

/* "3 texts were longer than 77 tokens and were cut: lines 5, 9, 12" */
static void say_what_happened(const struct tokenize *w)
{
    size_t n = json_array_size(w->truncated), most = 20;
    struct str s = {0};
    log_info("tokenizer: %s, %lld entries; cleaning: %s%s", w->info.kind, (long long)w->info.vocab_size,
             w->info.cleaning, w->o->clean ? " (asked for)" : "");
    if (n) {
        str_add(&s, "%zu text%s longer than %lld tokens and %s cut: %s%s", n, n == 1 ? " was" : "s were",
                (long long)w->o->context, n == 1 ? "was" : "were", w->o->file ? "line" : "text", n == 1 ? "" : "s");
        for (size_t i = 0; i < n && i < most; i++)
            str_add(&s, "%s%lld", i ? ", " : " ", (long long)json_integer_value(json_array_get(w->truncated, i)));
        if (n > most)
            str_add(&s, " and %zu more (--json lists all)", n - most);
        if (!s.failed)
            log_warn("%s", s.s);
    }
    if (w->n_ftfy)
        log_info("%lld text%s other ids where the original runs with ftfy, which repairs quotes, ligatures and broken "
                 "letters; nothing was repaired here",
                 (long long)w->n_ftfy, w->n_ftfy == 1 ? " may have" : "s may have");
    str_free(&s);
}

static int find_dir(char *dir, size_t n, const char *name)
{
    if (model_find(dir, n, name) == 0)
        return 0;
    if (!path_is_dir(name) || strlen(name) >= n) /* a folder with a tokenizer alone */
        return ERR_FAIL;
    memcpy(dir, name, strlen(name) + 1);
    err_clear();
    return 0;
}

static int run(struct cli *c)
{
    const struct tokenize_opt *o = c->opt;
    struct tokenize w = {.c = c, .o = o};
    struct tokenizer_opt how = {.cleaning = o->clean};
    char dir[2048];
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_need(c, o->model, "--model"));
    if ((o->texts.n > 0) == (o->file != NULL))
        FAIL(ERR_USAGE, "give --text or --file; usage: meridian tokenize %s", c->command->usage);
    if (o->context == 1)
        FAIL(ERR_USAGE, "option --context is 1, expected 0 or at least 2: start and end need room");
    TRY(find_dir(dir, sizeof dir, o->model));
    TRY(tokenizer_open(&w.t, dir, &how));
    w.info = tokenizer_info(w.t);
    w.all = c->json ? json_array() : NULL;
    w.truncated = json_array();
    int rc = w.truncated && (w.all || !c->json) ? 0 : ERR_MEMORY;
    for (int i = 0; rc == 0 && i < o->texts.n; i++)
        rc = one_text(&w, o->texts.v[i], i + 1);
    if (rc == 0 && o->file)
        rc = whole_file(&w);
    if (rc == 0)
        say_what_happened(&w);
    if (rc == 0 && c->json) {
        rc = cli_put_json(json_pack("{s:O, s:O, s:s, s:s, s:I, s:b}", "ids", w.all, "truncated", w.truncated, "kind",
                                    w.info.kind, "cleaning", w.info.cleaning, "ftfy_would_change", (json_int_t)w.n_ftfy,
                                    "ftfy_in_original", w.info.ftfy));
    }
    json_decref(w.all);
    json_decref(w.truncated);
    tokenizer_close(&w.t);
    return rc;
}

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "texts to token ids, one JSON list a line",
    .usage = "--model DIR (--text \"...\" | --file LINES.txt) [--context N] [--clean MODE]",
    .notes =
        "Read are CLIP's byte pairs (vocab.json with merges.txt, or tokenizer.json), BERT's WordPiece (vocab.txt or\n"
        "tokenizer.json), Gemma's form of tokenizer.json, and SentencePiece models. Modes of cleaning give other ids "
        "for\n"
        "the same text; which one a folder asks for, and what each does, is in docs/tokenizers.md.\n",
    .example = "meridian tokenize --model emoji --text \"a red apple\"",
    .options = options,
    .size = sizeof(struct tokenize_opt),
    .run = run,
};
