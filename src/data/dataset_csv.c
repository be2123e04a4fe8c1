/* data/dataset_csv.c: `csv:FILE`, a table of picture files and captions, and `set:SET`, the tables of a set.
 *
 * csv: the columns of open_clip's training tables (filepath, title) and of everyone's own (filepath, caption). A file
 * that occurs in several rows is one picture with several captions. Every other column is kept as an attribute of the
 * picture (first row wins); a column `split` makes --split work. Relative paths start at the table. Missing files are
 * counted and left out: one gone file of a million is no reason to stop, all of them are. The separator is sniffed and
 * said, because "no column filepath" in a file with commas has cost people days; ragged rows cost themselves. Many
 * caption files have no header; their columns are called by number, never guessed from what the cells look like. */
#include "data/dataset_build.h"

#define N_FIXED 4 /* id, path, label, split */

struct csv_columns {
    int path, caption, split, label;
    int n_extra, *extra;
    const char **names;
};

static int parse_separator(const char *s, char *out)
{
    static const struct {
        const char *name;
        char sep;
    } names[] = {{"\\t", '\t'}, {"tab", '\t'}, {"comma", ','}, {"semicolon", ';'}, {"pipe", '|'}, {"space", ' '}};
    *out = 0;
    if (!s || !*s || !strcmp(s, "auto"))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(names) && !*out; i++)
        if (!strcmp(s, names[i].name))
            *out = names[i].sep;
    if (!*out && !s[1] && (unsigned char)*s < 0x80 && !strchr("\"\r\n", *s))
        *out = *s;
    if (!*out)
        FAIL(ERR_USAGE, "separator \"%.20s\": expected one character, or tab, comma, semicolon, pipe, auto", s);
    return 0;
}

static int need_column(const struct table *t, const char *name, const char *what, const char *options)
{
    int c = table_col(t, name);
    if (c >= 0)
        return c;
    struct str s = {0};
    bool row = false; /* does the first line hold a picture's name instead of a column's? */
    for (int i = 0; i < t->n_cols; i++) {
        str_add(&s, "%s%s", i ? ", " : "", t->cols[i]);
        row |= image_has_name(t->cols[i]);
    }
    int rc = err_set(ERR_DATA,
                     "%s: no column \"%s\" for the %s, found: %.300s (%s-separated, %d column%s); name yours with %s, "
                     "or the separator with --csv-separator%s",
                     t->path, name, what, s.s ? s.s : "", table_sep_name(t->sep), t->n_cols, t->n_cols == 1 ? "" : "s",
                     options,
                     row ? "; where no line names the columns, count them: --image-column 1 --caption-column 2" : "");
    str_free(&s);
    return rc;
}

static int find_columns(struct dataset_build *b, const struct table *t, struct csv_columns *c)
{
    const char *path = b->opt->image_column, *caption = b->opt->caption_column;
    c->path = need_column(t, path ? path : "filepath", "pictures", "--image-column (or --csv-img-key)");
    TRY(c->path);
    if (!caption)
        caption = table_col(t, "caption") >= 0 || table_col(t, "title") < 0 ? "caption" : "title";
    c->caption = table_col(t, caption);
    if (c->caption < 0 && strcmp(caption, "none"))
        return need_column(t, caption, "captions", "--caption-column (or --csv-caption-key; none: pictures alone)");
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

/* Rows of one picture share its path. */
struct seen {
    uint32_t *slots; /* picture row by path; GONE: looked for and refused */
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
    return build_picture(b, t->lines[i], cells, row);
}

static int take_row(struct dataset_build *b, const struct table *t, const struct csv_columns *c, struct seen *s,
                    int64_t i)
{
    const char *path = table_cell(t, i, c->path), *caption = c->caption >= 0 ? table_cell(t, i, c->caption) : NULL;
    if (c->split >= 0 && !build_wants_split(b, table_cell(t, i, c->split)))
        return 0;
    if (!*path)
        return build_refuse(b, t->lines[i], "", "", "column \"%s\" is empty, expected the path of a picture",
                            t->cols[c->path]);
    const char *why = caption ? build_bad_caption(caption) : NULL;
    if (why)
        return build_refuse(b, t->lines[i], path, path, "%s", why);
    size_t slot = seen_slot(s, path);
    if (!s->paths[slot]) {
        int64_t row;
        if (build_full(b))
            return 0;
        TRY(add_picture(b, t, c, i, &row));
        s->paths[slot] = path;
        s->slots[slot] = row < 0 ? GONE : (uint32_t)row;
    }
    if (s->slots[slot] == GONE || !caption)
        return 0;
    return build_caption(b, t->lines[i], s->slots[slot], caption, "caption");
}

static int fill(struct dataset_build *b, const struct table *t)
{
    struct csv_columns c = {0};
    struct seen s = {.mask = 63};
    TRY(find_columns(b, t, &c));
    while (s.mask < (size_t)t->n_rows * 2)
        s.mask = s.mask * 2 + 1;
    s.slots = mem_calloc(s.mask + 1, sizeof *s.slots);
    s.paths = mem_calloc(s.mask + 1, sizeof *s.paths);
    int rc = s.slots && s.paths ? 0 : ERR_MEMORY;
    for (int64_t i = 0; i < t->n_rows && rc == 0; i++) {
        rc = take_row(b, t, &c, &s, i);
        if (rc == 0 && i % 1024 == 0)
            rc = signal_check();
    }
    mem_free(s.slots);
    mem_free(s.paths);
    TRY(rc);
    return build_describe(b, "csv: %s-separated, %d columns, %s rows", table_sep_name(t->sep), t->n_cols,
                          str_count(t->n_rows));
}

static int note_bad_row(void *ctx, int64_t line, const char *why)
{
    return build_refuse(ctx, line, "", "", "the line %s", why);
}

int dataset_build_csv(struct dataset_build *b)
{
    const char *slash = strrchr(b->arg, '/');
    struct table_opt how = {.bad = note_bad_row, .ctx = b};
    const char *name = b->opt->image_column;
    if (name && *name && strspn(name, "0123456789") == strlen(name))
        how.numbered = name;
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected csv:FILE", b->d->spec);
    TRY(parse_separator(b->opt->separator, &how.sep));
    TRY(build_files(b, b->arg, slash ? (size_t)(slash - b->arg) + (slash == b->arg) : 0, false));
    struct table t = {0};
    TRY(table_read_with(&t, b->arg, &how));
    int rc = fill(b, &t);
    table_free(&t);
    return rc;
}
