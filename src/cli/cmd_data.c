/* cli/cmd_data.c: what a data SPEC names, before anybody trains on it: counts, columns, splits, the first rows. The
 * emoji world is drawn by the first look at it. */
#include "cli/cli.h"

#include <string.h>

struct data_opt {
    const char *split, *captions, *image_column, *caption_column;
    int64_t rows;
};
#define F(field) offsetof(struct data_opt, field)
static const struct opt options[] = {
    {"split", 0, OPT_STR, F(split), NULL, 0, 0, NULL, "NAMES",
     "rows of the data (comma-separated); all when not given"},
    {"captions", 0, OPT_CHOICE, F(captions), "all", 0, 0, "all|name", NULL,
     "emoji: names and keywords, or names alone"},
    {"image-column", 0, OPT_STR, F(image_column), NULL, 0, 0, NULL, "NAME", "csv: column of the pictures' paths"},
    {"caption-column", 0, OPT_STR, F(caption_column), NULL, 0, 0, NULL, "NAME", "csv: column of the captions"},
    {"rows", 'n', OPT_INT, F(rows), "5", 0, 1000000, NULL, "N", "show so many pictures with their captions"},
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

static int run(struct cli *c)
{
    const struct data_opt *o = c->opt;
    struct dataset *d = NULL;
    const char *key;
    json_t *value;
    struct dataset_opt which = {
        .captions = o->captions, .image_column = o->image_column, .caption_column = o->caption_column};
    TRY(cli_words(c, 1, 1, "the data's SPEC (emoji, csv:FILE, folder:DIR)"));
    TRY(cli_dataset(&d, c->args.v[0], o->split, NULL, &which));
    json_t *splits = count_splits(d);
    int rc = 0;
    if (c->json) {
        rc = cli_put_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:O, s:s}", "data", d->spec, "description",
                                    d->description, "n_images", (json_int_t)d->n_images, "n_texts",
                                    (json_int_t)d->n_texts, "n_pairs", (json_int_t)d->n_pairs, "splits", splits,
                                    "fingerprint", d->fingerprint));
    } else {
        printf("%s\npictures     %lld\ncaptions     %lld\npairs        %lld\nfingerprint  %.16s\n", d->description,
               (long long)d->n_images, (long long)d->n_texts, (long long)d->n_pairs, d->fingerprint);
        json_object_foreach(splits, key, value)
            printf("split        %s: %lld\n", key, (long long)json_integer_value(value));
        print_rows(d, o->rows);
    }
    json_decref(splits);
    dataset_close(&d);
    return rc;
}

const struct command command_data = {
    .name = "data",
    .summary = "what a data SPEC names: counts, splits, the first rows",
    .usage = "SPEC",
    .example = "meridian data emoji --split test",
    .options = options,
    .size = sizeof(struct data_opt),
    .run = run,
};
