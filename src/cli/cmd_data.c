/* cli/cmd_data.c: what a data SPEC names, before anybody trains on it: counts, columns, splits, the first rows, and the
 * rows that were left out with their reasons. The emoji world is drawn by the first look at it. */
#include "cli/cli.h"

#include <string.h>

struct data_opt {
    const char *split, *failed;
    struct dataset_opt which;
    int64_t rows;
    bool force;
};
#define F(field) offsetof(struct data_opt, field)
static const struct opt options[] = {
    {"split", 0, OPT_STR, F(split), NULL, 0, 0, NULL, "NAMES",
     "rows of the data (comma-separated, or joined by +); all when not given"},
    CAPTIONS_OPTION(struct data_opt, which.captions),
    DATA_OPTIONS(struct data_opt, which),
    {"limit", 0, OPT_INT, F(which.limit), "0", 0, 1e12, NULL, "N", "at most so many pictures; 0: all"},
    {"rows", 'n', OPT_INT, F(rows), "5", 0, 1000000, NULL, "N", "show so many pictures, and so many rows left out"},
    PATH_OPTION("failed", struct data_opt, failed, "FILE.tsv", "write the rows left out: row, id, path, reason"),
    FORCE_OPTION(struct data_opt, force),
    {0},
};
#undef F

/* Counts of the values of column `split`, in order of appearance. */
static json_t *count_splits(const struct dataset *d)
{
    json_t *o = json_object();
    for (int64_t i = 0; o && i < d->n_images; i++) {
        const char *split = dataset_image_cell(d, i, "split");
        if (!split || !*split)
            continue;
        json_int_t n = json_integer_value(json_object_get(o, split));
        json_object_set_new(o, split, json_integer(n + 1));
    }
    return o;
}

static void print_rows(const struct dataset *d, int64_t rows)
{
    char safe[300];
    for (int64_t i = 0, p = 0; i < d->n_images && i < rows; i++) {
        const char *path = dataset_image_cell(d, i, "path");
        str_safe(safe, sizeof safe, path ? path : "");
        printf("%6lld  %s\n", (long long)i, safe);
        for (; p < d->n_pairs && d->pairs[p].image <= i; p++) {
            str_safe(safe, sizeof safe, d->captions[d->pairs[p].text]);
            printf("        \"%s\"\n", safe);
        }
    }
}

static void print_refused(const struct dataset *d, int64_t rows)
{
    char id[160], path[300], reason[600], at[32];
    for (int64_t i = 0; i < d->n_listed && i < rows; i++) {
        const struct refused *r = &d->refused[i];
        str_safe(id, sizeof id, r->id);
        str_safe(path, sizeof path, r->path);
        str_safe(reason, sizeof reason, r->reason);
        at[0] = 0;
        if (r->row)
            snprintf(at, sizeof at, "row %lld", (long long)r->row);
        printf("left out     %s%s%s%s%s\n", at, r->row && (*path || *id) ? ", " : "", *path ? path : id,
               r->row || *path || *id ? ": " : "", reason);
    }
    if (d->n_refused > rows && rows > 0)
        printf("left out     %lld rows in all; --failed FILE.tsv lists %s\n", (long long)d->n_refused,
               d->n_listed < d->n_refused ? "the first of them" : "them");
}

static json_t *refused_to_json(const struct dataset *d, int64_t rows)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < d->n_listed && i < rows; i++) {
        const struct refused *r = &d->refused[i];
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s}", "row", (json_int_t)r->row, "id", r->id, "path",
                                              r->path, "reason", r->reason));
    }
    return list;
}

static json_t *columns_to_json(const struct dataset *d)
{
    json_t *list = json_array();
    for (int i = 0; list && i < d->n_image_cols; i++)
        json_array_append_new(list, json_string(d->image_cols[i]));
    return list;
}

static int put_failed(const struct dataset *d, const char *file)
{
    static const char *const cols[] = {"row", "id", "path", "reason"};
    const char **cells = mem_calloc((size_t)d->n_listed * 4 + 1, sizeof *cells);
    char(*rows)[24] = mem_calloc((size_t)d->n_listed + 1, sizeof *rows);
    int rc = cells && rows ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < d->n_listed; i++) {
        const struct refused *r = &d->refused[i];
        snprintf(rows[i], sizeof rows[i], "%lld", (long long)r->row);
        cells[i * 4] = rows[i];
        cells[i * 4 + 1] = r->id;
        cells[i * 4 + 2] = r->path;
        cells[i * 4 + 3] = r->reason;
    }
    if (rc == 0)
        rc = table_write(file, 4, cols, d->n_listed, cells);
    mem_free(cells);
    mem_free(rows);
    return rc;
}

static int print(const struct dataset *d, const json_t *splits, int64_t rows)
{
    const char *key;
    json_t *value;
    printf("%s\npictures     %lld\ncaptions     %lld\npairs        %lld\nfingerprint  %.16s\n", d->description,
           (long long)d->n_images, (long long)d->n_texts, (long long)d->n_pairs, d->fingerprint);
    printf("columns      ");
    for (int i = 0; i < d->n_image_cols; i++)
        printf("%s%s", i ? ", " : "", d->image_cols[i]);
    putchar('\n');
    json_object_foreach((json_t *)(uintptr_t)splits, key, value)
        printf("split        %s: %lld\n", key, (long long)json_integer_value(value));
    print_rows(d, rows);
    print_refused(d, rows);
    return 0;
}

static int run(struct cli *c)
{
    const struct data_opt *o = c->opt;
    struct dataset *d = NULL;
    struct dataset_opt which = o->which;
    TRY(cli_words(c, 1, 1, "the data's SPEC (meridian help data lists the kinds)"));
    if (o->failed)
        TRY(path_check_output(o->failed, o->force));
    TRY(cli_dataset(&d, c->args.v[0], o->split, NULL, &which));
    json_t *splits = count_splits(d);
    int rc = o->failed ? put_failed(d, o->failed) : 0;
    if (rc == 0 && c->json)
        rc = cli_put_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:O, s:I, s:I, s:o, s:s}", "data", d->spec,
                                    "description", d->description, "n_images", (json_int_t)d->n_images, "n_texts",
                                    (json_int_t)d->n_texts, "n_pairs", (json_int_t)d->n_pairs, "columns",
                                    columns_to_json(d), "splits", splits, "n_missing", (json_int_t)d->n_missing,
                                    "n_refused", (json_int_t)d->n_refused, "refused", refused_to_json(d, o->rows),
                                    "fingerprint", d->fingerprint));
    else if (rc == 0)
        rc = print(d, splits, o->rows);
    json_decref(splits);
    dataset_close(&d);
    return rc;
}

const struct command command_data = {
    .name = "data",
    .summary = "what a data SPEC names: counts, columns, splits, the first rows, what was left out",
    .usage = "SPEC",
    .add_help = cli_list_data,
    .example = "meridian data csv:captions.tsv --images-root pictures",
    .options = options,
    .size = sizeof(struct data_opt),
    .run = run,
};
