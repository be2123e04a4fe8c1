/* cli/common.c: what the subcommands share: engine, sets, words, JSON on stdout, the command line as text. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int cli_engine(const struct engine_opt *o, const struct engine **e, bool *low)
{
    int rc = engine_open(e, o->name, (int)o->threads);
    if (rc == ERR_UNSUPPORTED)
        rc = ERR_USAGE; /* a word of the command line is wrong */
    TRY(rc);
    *low = !strcmp(o->dtype, "bf16");
    return 0;
}

int cli_need(const struct cli *c, const void *value, const char *name)
{
    if (value)
        return 0;
    FAIL(ERR_USAGE, "%s is missing; usage: meridian %s %s", name, c->command->name, c->command->usage);
}

int cli_words(const struct cli *c, int min, int max, const char *what)
{
    char safe[128];
    if (c->args.n < min)
        FAIL(ERR_USAGE, "%s is missing; usage: meridian %s %s", what, c->command->name, c->command->usage);
    if (c->args.n <= max)
        return 0;
    str_safe(safe, sizeof safe, c->args.v[max]);
    FAIL(ERR_USAGE, "unexpected word \"%s\"; usage: meridian %s %s", safe, c->command->name, c->command->usage);
}

int cli_set(struct cli *c, const struct set_opt *o, struct set **s)
{
    if (!o->images && !o->texts && !o->pairs) {
        TRY(cli_words(c, 1, 1, "the set's folder"));
        return set_open(s, c->args.v[0]);
    }
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_need(c, o->images, "--images"));
    TRY(cli_need(c, o->texts, "--texts"));
    return set_open_npy_mixed(s, o->images, o->texts, o->pairs, o->force);
}

int cli_put_json(json_t *o)
{
    if (!o)
        FAIL(ERR_MEMORY, "no memory for the JSON output, or a name in it is not UTF-8");
    int rc = json_dumpf(o, stdout, JSON_REAL_PRECISION(15));
    json_decref(o);
    errno = 0;
    if (rc != 0 || putchar('\n') == EOF)
        return err_errno(ERR_SPACE, "standard output: cannot write");
    return 0;
}

static void add_quoted(struct str *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./,:@%";
    if (*word && word[strspn(word, plain)] == 0) {
        str_add(out, "%s", word);
        return;
    }
    str_add_c(out, '\'');
    for (; *word; word++)
        if (*word == '\'')
            str_add(out, "'\\''");
        else
            str_add_c(out, *word);
    str_add_c(out, '\'');
}

int cli_command_line(const struct cli *c, struct str *out, const char *leave_out)
{
    str_add(out, "meridian");
    for (int i = 1; i < c->argc; i++) {
        if (leave_out && !strcmp(c->argv[i], leave_out))
            continue;
        str_add_c(out, ' ');
        add_quoted(out, c->argv[i]);
    }
    if (out->failed)
        FAIL(ERR_MEMORY, "no memory for the command line");
    return 0;
}

int cli_dataset(struct dataset **d, const char *spec, const char *split, const char *fallback, struct dataset_opt *opt)
{
    if (!split && !strcmp(spec, "emoji"))
        split = fallback;
    opt->split = split && !strcmp(split, "all") ? NULL : split;
    return dataset_open(d, spec, opt);
}

void cli_list_data(struct str *b)
{
    const char *help, *name;
    str_add(b, "\nkinds of data (docs/data.md):\n");
    for (int i = 0; (name = dataset_kind_at(i, &help)); i++)
        str_add(b, "  %-16s%s\n", name, help);
}

/* ---- where pictures lie
 * ------------------------------------------------------------------------------------------------ */

void cli_path_base(const struct dataset *d, char *out, size_t n)
{
    char full[PATH_MAX];
    out[0] = 0;
    if (!strcmp(d->spec, "emoji") || str_starts(d->spec, "wds:")) /* the machine's own place; shards */
        return;
    if (realpath(*d->path_base ? d->path_base : ".", full) && strlen(full) < n)
        strcpy(out, full);
}

const char *cli_set_base(const struct set *s, const char *given, char *out, size_t n)
{
    if (given)
        return given;
    if (!strcmp(s->data, "emoji") && emoji_world_path(out, n) == 0)
        return out;
    const char *stored = s->json ? json_string_value(json_object_get(s->json, "path_base")) : NULL;
    if (!stored || !*stored || strlen(stored) >= n)
        return NULL;
    strcpy(out, stored);
    return out;
}

const char *cli_row_name(const struct set *s, bool text, int64_t row, const char *none)
{
    const struct set_side *side = text ? &s->text : &s->image;
    int col = side->has_meta ? table_col(&side->meta, text ? "caption" : "path") : -1;
    if (col < 0 && side->has_meta)
        col = table_col(&side->meta, "id");
    return col < 0 ? none : table_cell(&side->meta, row, col);
}

int cli_check_calibration(const struct calibration *c, const char *path, const struct set *s)
{
    TRY_IN(set_check_fingerprint(s, c->model, c->fingerprint), "comparing with the calibration \"%.200s\"", path);
    if (c->width != s->width)
        FAIL(ERR_MISMATCH, "%s: made for vectors of width %lld, set \"%s\" has %lld: calibrate this set", path,
             (long long)c->width, s->path, (long long)s->width);
    if ((!s->fingerprint[0] || !c->fingerprint[0]) && (s->model[0] || c->model[0]))
        log_warn("the set or the calibration does not say which model made it; p(match) means something only if it is "
                 "the same");
    return 0;
}

void cli_warn_gallery(const struct match_model *m, int64_t n_gallery)
{
    if (m->fitted && fabs(log((double)n_gallery / (double)(m->n_gallery > 0 ? m->n_gallery : 1))) > 0.1)
        log_warn("the calibration was made among %lld items, here are %lld: with more rivals a first hit is less often "
                 "right than p(match) says, with fewer more often",
                 (long long)m->n_gallery, (long long)n_gallery);
}
