/* data/dataset_csv.c: `csv:FILE`, a table of picture files and captions, comma or tab separated.
 *
 * The columns of open_clip's training tables (filepath, title) and of everyone's own (filepath, caption). A file that
 * occurs in several rows is one picture with several captions. Every other column is kept as an attribute of the
 * picture (first row wins); a column `split` makes --split work. Relative paths start at the table. Missing files are
 * counted and left out: one gone file of a million is no reason to stop, all of them are. */
#include "data/dataset_build.h"

#include <string.h>

#define N_FIXED 4 /* id, path, label, split */

struct csv_columns {
    int path, caption, split, label;
    int n_extra, *extra;
    const char **names;
};

static int need_column(const struct table *t, const char *name, const char *what)
{
    int c = table_col(t, name);
    if (c >= 0)
        return c;
    struct str s = {0};
    for (int i = 0; i < t->n_cols; i++)
        str_add(&s, "%s%s", i ? ", " : "", t->cols[i]);
    int rc = err_set(ERR_DATA, "%s: no column \"%s\" for the %s, found: %.300s; name yours in the options", t->path,
                     name, what, s.s ? s.s : "");
    str_free(&s);
    return rc;
}

static int find_columns(struct dataset_build *b, const struct table *t, struct csv_columns *c)
{
    const char *path = b->opt->image_column, *caption = b->opt->caption_column;
    c->path = need_column(t, path ? path : "filepath", "pictures");
    TRY(c->path);
    if (!caption)
        caption = table_col(t, "caption") >= 0 || table_col(t, "title") < 0 ? "caption" : "title";
    c->caption = need_column(t, caption, "captions");
    TRY(c->caption);
    c->split = table_col(t, "split");
    c->label = table_col(t, "label");
    if (b->opt->split && c->split < 0)
        FAIL(ERR_USAGE, "%s: no column \"split\", so --split %s finds nothing; leave it out", t->path, b->opt->split);
    c->names = arena_calloc(b->d->arena, (size_t)t->n_cols + N_FIXED, sizeof *c->names);
    c->extra = arena_calloc(b->d->arena, (size_t)t->n_cols, sizeof *c->extra);
    if (!c->names || !c->extra)
        return ERR_MEMORY;
    c->names[0] = "id";
    c->names[1] = "path";
    c->names[2] = "label";
    c->names[3] = "split";
    for (int i = 0; i < t->n_cols; i++) {
        bool fixed = i == c->path || i == c->caption || i == c->split || i == c->label || !strcmp(t->cols[i], "id") ||
                     !strcmp(t->cols[i], "path");
        if (fixed)
            continue;
        c->names[N_FIXED + c->n_extra] = t->cols[i];
        c->extra[c->n_extra++] = i;
    }
    return build_columns(b, N_FIXED + c->n_extra, c->names);
}

static bool file_there(const char *root, const char *path)
{
    char full[4096];
    if (*path == '/' || !*root)
        return path_exists(path);
    return path_join(full, sizeof full, root, path) == 0 && path_exists(full);
}

/* Rows of one picture share its path. */
struct seen {
    uint32_t *slots; /* picture row + 1 by path; GONE: looked for and missing */
    const char **paths;
    size_t mask;
};
#define GONE UINT32_MAX

static size_t seen_slot(const struct seen *s, const char *path)
{
    size_t i = (size_t)hash_bytes(path, strlen(path), 0) & s->mask;
    while (s->paths[i] && strcmp(s->paths[i], path))
        i = (i + 1) & s->mask;
    return i;
}

static int add_picture(struct dataset_build *b, const struct table *t, const struct csv_columns *c, int64_t i,
                       int64_t *row)
{
    const char **cells = c->names; /* of the same length; the names were copied */
    cells[0] = cells[1] = table_cell(t, i, c->path);
    cells[2] = c->label >= 0 ? table_cell(t, i, c->label) : "";
    cells[3] = c->split >= 0 ? table_cell(t, i, c->split) : "";
    for (int k = 0; k < c->n_extra; k++)
        cells[N_FIXED + k] = table_cell(t, i, c->extra[k]);
    return build_image(b, cells, row);
}

static int take_rows(struct dataset_build *b, const struct table *t, const struct csv_columns *c, struct seen *s,
                     int64_t *n_missing)
{
    const char *root = b->d->own;
    for (int64_t i = 0; i < t->n_rows; i++) {
        const char *path = table_cell(t, i, c->path), *caption = table_cell(t, i, c->caption);
        if (!*path)
            FAIL(ERR_DATA, "%s: row %lld: column \"%s\" is empty, expected the path of a picture", t->path,
                 (long long)i + 1, t->cols[c->path]);
        if (c->split >= 0 && !build_wants_split(b, table_cell(t, i, c->split)))
            continue;
        size_t slot = seen_slot(s, path);
        if (!s->paths[slot]) {
            if (b->opt->limit > 0 && b->d->n_images >= b->opt->limit)
                continue;
            s->paths[slot] = path;
            s->slots[slot] = GONE;
            if (file_there(root, path)) {
                int64_t row;
                TRY(add_picture(b, t, c, i, &row));
                s->slots[slot] = (uint32_t)row;
            } else
                ++*n_missing;
        }
        if (s->slots[slot] == GONE || !*caption)
            continue;
        int64_t text;
        TRY(build_text(b, caption, "caption", &text));
        TRY(build_pair(b, s->slots[slot], text));
    }
    return 0;
}

static int fill(struct dataset_build *b, const struct table *t)
{
    struct csv_columns c = {0};
    struct seen s = {.mask = 63};
    int64_t n_missing = 0;
    TRY(find_columns(b, t, &c));
    while (s.mask < (size_t)t->n_rows * 2)
        s.mask = s.mask * 2 + 1;
    s.slots = mem_calloc(s.mask + 1, sizeof *s.slots);
    s.paths = mem_calloc(s.mask + 1, sizeof *s.paths);
    int rc = s.slots && s.paths ? take_rows(b, t, &c, &s, &n_missing) : ERR_MEMORY;
    mem_free(s.slots);
    mem_free(s.paths);
    TRY(rc);
    const char *root = b->d->own;
    if (!b->d->n_images && n_missing)
        FAIL(ERR_DATA, "%s: none of the %lld pictures is there, for example \"%s\"; relative paths start at \"%s\"",
             t->path, (long long)n_missing, table_cell(t, 0, c.path), *root ? root : ".");
    return build_describe(b, "csv: %s, %d columns, %lld rows, %lld pictures, %lld captions, %lld pictures missing",
                          t->sep == '\t' ? "tab-separated" : "comma-separated", t->n_cols, (long long)t->n_rows,
                          (long long)b->d->n_images, (long long)b->d->n_texts, (long long)n_missing);
}

int dataset_build_csv(struct dataset_build *b)
{
    const char *slash = strrchr(b->arg, '/');
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected csv:FILE", b->d->spec);
    TRY(build_files(b, b->arg, slash ? (size_t)(slash - b->arg) + (slash == b->arg) : 0));
    struct table t = {0};
    TRY(table_read(&t, b->arg));
    int rc = fill(b, &t);
    table_free(&t);
    return rc;
}
