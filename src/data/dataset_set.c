/* data/dataset_set.c: `set:SET`, the pictures and captions behind a set that encode wrote: to encode them again with
 * another model, or to train on what a search chose. The tables are docs/formats.md's; where relative paths start is
 * field path_base of set.json. The vectors are not looked at: room space reads those. */
#include "data/dataset_build.h"

struct tables {
    struct table images, texts, pairs;
    int64_t *row; /* [rows of images.csv] picture here, -1: left out */
};

static int read_table(struct table *t, const char *dir, const char *name)
{
    char path[BUILD_PATH];
    TRY(path_join(path, sizeof path, dir, name));
    return table_read(t, path);
}

/* Folder of the pictures; the emoji world moves with the machine, shards are no files. */
static int find_base(struct dataset_build *b, char *out, size_t n)
{
    char path[BUILD_PATH];
    json_t *o = NULL;
    const char *base = NULL, *data = NULL;
    TRY(path_join(path, sizeof path, b->arg, "set.json"));
    if (!path_exists(path))
        FAIL(ERR_DATA, "%s: no set.json there; expected a set that meridian encode wrote", b->arg);
    TRY(json_read_file(&o, path));
    int rc = json_field_str(o, "path_base", false, &base, path);
    if (rc == 0)
        rc = json_field_str(o, "data", false, &data, path);
    out[0] = 0;
    if (rc == 0 && data && str_starts(data, "wds:") && !b->opt->images_root)
        rc = err_set(ERR_UNSUPPORTED, "%s: its pictures lie in tar shards; name these: --data '%s'", b->arg, data);
    else if (rc == 0 && data && !strcmp(data, "emoji"))
        rc = emoji_world_path(out, n);
    else if (rc == 0 && base && strlen(base) < n)
        strcpy(out, base);
    json_decref(o);
    return rc;
}

static int take_images(struct dataset_build *b, struct tables *t)
{
    const struct table *im = &t->images;
    int id = table_col(im, "id"), path = table_col(im, "path"), label = table_col(im, "label");
    int split = table_col(im, "split"), n = 4, from[512];
    const char *names[512] = {"id", "path", "label", "split"}, *cells[512];
    if (path < 0)
        FAIL(ERR_DATA, "%s: no column \"path\": the set does not say which pictures it was made of", im->path);
    if (b->opt->split && split < 0)
        FAIL(ERR_USAGE, "%s: no column \"split\", so --split %s finds nothing; leave it out", im->path, b->opt->split);
    for (int i = 0; i < im->n_cols && n < 500; i++) {
        if (i == id || i == path || i == label || i == split || !strcmp(im->cols[i], "row"))
            continue;
        names[n] = im->cols[i];
        from[n++] = i;
    }
    TRY(build_columns(b, n, names));
    for (int64_t i = 0; i < im->n_rows; i++) {
        t->row[i] = -1;
        cells[0] = table_cell(im, i, id >= 0 ? id : path);
        cells[1] = table_cell(im, i, path);
        cells[2] = label >= 0 ? table_cell(im, i, label) : "";
        cells[3] = split >= 0 ? table_cell(im, i, split) : "";
        for (int k = 4; k < n; k++)
            cells[k] = table_cell(im, i, from[k]);
        if (build_wants_split(b, cells[3]))
            TRY(build_picture(b, im->lines[i], cells, &t->row[i]));
    }
    return 0;
}

static int take_pair(struct dataset_build *b, const struct tables *t, int64_t i, int image, int text)
{
    int64_t im, tx;
    int caption = table_col(&t->texts, "caption"), kind = table_col(&t->texts, "kind");
    TRY(table_int(&t->pairs, i, image, 0, t->images.n_rows - 1, &im));
    TRY(table_int(&t->pairs, i, text, 0, t->texts.n_rows - 1, &tx));
    if (caption < 0)
        FAIL(ERR_DATA, "%s: no column \"caption\"", t->texts.path);
    const char *what = kind >= 0 ? table_cell(&t->texts, tx, kind) : "";
    return build_caption(b, t->texts.lines[tx], t->row[im], table_cell(&t->texts, tx, caption),
                         *what ? what : "caption");
}

static int fill(struct dataset_build *b, struct tables *t)
{
    TRY(read_table(&t->images, b->arg, "images.csv"));
    TRY(read_table(&t->texts, b->arg, "texts.csv"));
    TRY(read_table(&t->pairs, b->arg, "pairs.csv"));
    int image = table_col(&t->pairs, "image_row"), text = table_col(&t->pairs, "text_row");
    if (image < 0 || text < 0)
        FAIL(ERR_DATA, "%s: expected columns image_row and text_row", t->pairs.path);
    t->row = mem_calloc((size_t)t->images.n_rows + 1, sizeof *t->row);
    if (!t->row)
        return ERR_MEMORY;
    TRY(take_images(b, t));
    for (int64_t i = 0; i < t->pairs.n_rows; i++)
        TRY(take_pair(b, t, i, image, text));
    return build_describe(b, "set: %s rows of images.csv, %s of texts.csv", str_count(t->images.n_rows),
                          str_count(t->texts.n_rows));
}

int dataset_build_set(struct dataset_build *b)
{
    char base[BUILD_PATH];
    struct tables t = {0};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected set:SET", b->d->spec);
    TRY(find_base(b, base, sizeof base));
    TRY(build_files(b, base, strlen(base), false));
    int rc = fill(b, &t);
    table_free(&t.images);
    table_free(&t.texts);
    table_free(&t.pairs);
    mem_free(t.row);
    return rc;
}
