/* data/dataset_celeba.c: `celeba:DIR`, faces with forty attributes (Liu et al. 2015): list_attr_celeba.txt (a count,
 * the names, then a line a picture with 1 and -1) or .csv (image_id and the names), and list_eval_partition.txt or .csv
 * (0 train, 1 val, 2 test) where it is there. Pictures lie in img_align_celeba/. Attributes are columns; there are no
 * captions, so the faces can be encoded and judged, not trained on.
 *
 * The .txt files are split at runs of spaces, which no table reader does. */
#include "data/dataset_build.h"

#include <stdlib.h>

enum { MAX_ATTRIBUTES = 200, MAX_FIELD = 256 };

struct celeba {
    struct names attributes; /* lines of list_attr_celeba.txt */
    struct table attr, part; /* the .csv files */
    struct names parts;      /* lines of list_eval_partition.txt */
    int64_t at;              /* of the partition: files come in the same order */
    bool has_part;
    int n_attributes;
    int64_t n_rows;
};

/* Words of a line, cut in place. */
static int cut(char *line, const char **words, int max)
{
    int n = 0;
    for (char *p = line; *p && n < max;) {
        p += strspn(p, " \t");
        if (!*p)
            break;
        words[n++] = p;
        p += strcspn(p, " \t");
        if (*p)
            *p++ = 0;
    }
    return n;
}

/* The partition's line of this picture: they stand in one order, so the next is looked at first. */
static const char *split_text(struct celeba *c, const char *file)
{
    int64_t n = c->parts.n ? c->parts.n : c->part.n_rows;
    size_t len = strlen(file);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = (c->at + k) % n;
        const char *value = NULL;
        if (c->parts.n && !strncmp(c->parts.v[i], file, len) && strchr(" \t", c->parts.v[i][len]) && c->parts.v[i][len])
            value = c->parts.v[i] + len + strspn(c->parts.v[i] + len, " \t");
        else if (!c->parts.n && c->part.n_cols > 1 && !strcmp(table_cell(&c->part, i, 0), file))
            value = table_cell(&c->part, i, 1);
        if (value) {
            c->at = i + 1;
            return value;
        }
    }
    return "";
}

static int add_face(struct dataset_build *b, struct celeba *c, int64_t row, const char *file, const char *const *values)
{
    static const char *const splits[] = {"train", "val", "test"};
    const char *cells[MAX_ATTRIBUTES + 4] = {file, "", "", ""}, *names[3];
    char paths[2][MAX_FIELD + 64];
    int64_t image;
    if (strlen(file) >= MAX_FIELD)
        return build_refuse(b, row, "", "", "the name is too long");
    c->n_rows++;
    if (c->has_part) {
        const char *s = split_text(c, file);
        if (strlen(s) != 1 || *s < '0' || *s > '2')
            return build_refuse(b, row, file, file, "the partition is \"%.20s\", expected 0, 1 or 2", s);
        cells[3] = splits[*s - '0'];
    }
    if (!build_wants_split(b, cells[3]))
        return 0;
    for (int i = 0; i < c->n_attributes; i++) {
        if (strcmp(values[i], "1") && strcmp(values[i], "-1") && strcmp(values[i], "0"))
            return build_refuse(b, row, file, file, "attribute %d is \"%.20s\", expected 1 or -1", i + 1, values[i]);
        cells[4 + i] = values[i];
    }
    snprintf(paths[0], sizeof paths[0], "img_align_celeba/%s", file);
    snprintf(paths[1], sizeof paths[1], "img_align_celeba/img_align_celeba/%s", file);
    names[0] = paths[0];
    names[1] = paths[1];
    names[2] = file;
    return build_picture_of(b, row, cells, names, 3, &image);
}

static int name_columns(struct dataset_build *b, struct celeba *c, const char *const *attributes, int n,
                        const char *where)
{
    const char *names[MAX_ATTRIBUTES + 4] = {"id", "path", "label", "split"};
    if (n < 1 || n > MAX_ATTRIBUTES)
        FAIL(ERR_DATA, "%s: %d attributes, expected 1 to %d (CelebA has 40)", where, n, MAX_ATTRIBUTES);
    for (int i = 0; i < n; i++)
        names[4 + i] = attributes[i];
    c->n_attributes = n;
    return build_columns(b, n + 4, names);
}

static int fill_text(struct dataset_build *b, struct celeba *c, const char *path)
{
    const char *words[MAX_ATTRIBUTES + 2];
    TRY(names_lines(&c->attributes, path));
    if (c->attributes.n < 2)
        FAIL(ERR_DATA, "%s: expected a count, a line of attributes, and a line a picture", path);
    char *end;
    long long count = strtoll(c->attributes.v[0], &end, 10);
    if (end == c->attributes.v[0] || *end)
        FAIL(ERR_DATA, "%s: line 1 is \"%.40s\", expected the number of pictures", path, c->attributes.v[0]);
    TRY(name_columns(b, c, words, cut(c->attributes.v[1], words, MAX_ATTRIBUTES + 1), path));
    for (int64_t i = 2; i < c->attributes.n && !build_full(b); i++) {
        int n = cut(c->attributes.v[i], words, MAX_ATTRIBUTES + 2);
        if (n != c->n_attributes + 1)
            TRY(build_refuse(b, i + 1, words[0], "", "%d values, expected %d", n - 1, c->n_attributes));
        else
            TRY(add_face(b, c, i + 1, words[0], words + 1));
    }
    if (count != c->attributes.n - 2)
        log_warn("%s: line 1 promises %lld pictures, %lld lines follow", path, count, (long long)c->attributes.n - 2);
    return 0;
}

static int fill_table(struct dataset_build *b, struct celeba *c, const char *path)
{
    TRY(table_read(&c->attr, path));
    TRY(name_columns(b, c, c->attr.cols + 1, c->attr.n_cols - 1, path));
    for (int64_t i = 0; i < c->attr.n_rows && !build_full(b); i++)
        TRY(add_face(b, c, c->attr.lines[i], table_cell(&c->attr, i, 0), c->attr.cells + i * c->attr.n_cols + 1));
    return 0;
}

static int read_partition(struct dataset_build *b, struct celeba *c)
{
    char path[BUILD_PATH];
    TRY(path_join(path, sizeof path, b->arg, "list_eval_partition.txt"));
    c->has_part = path_exists(path);
    if (c->has_part)
        return names_lines(&c->parts, path);
    TRY(path_join(path, sizeof path, b->arg, "list_eval_partition.csv"));
    c->has_part = path_exists(path);
    if (c->has_part)
        return table_read(&c->part, path);
    return build_no_split(b, "list_eval_partition.txt is not there, so no split is known");
}

static int fill(struct dataset_build *b, struct celeba *c)
{
    char path[BUILD_PATH];
    TRY(read_partition(b, c));
    TRY(path_join(path, sizeof path, b->arg, "list_attr_celeba.txt"));
    if (path_exists(path)) {
        TRY(fill_text(b, c, path));
    } else {
        TRY(path_join(path, sizeof path, b->arg, "list_attr_celeba.csv"));
        TRY_IN(fill_table(b, c, path), "looking for list_attr_celeba.txt or .csv in %s", b->arg);
    }
    return build_describe(b, "celeba: %s rows, %d attributes", str_count(c->n_rows), c->n_attributes);
}

int dataset_build_celeba(struct dataset_build *b)
{
    struct celeba c = {0};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected celeba:DIR, the folder of list_attr_celeba.txt", b->d->spec);
    TRY(build_files(b, b->arg, strlen(b->arg), true));
    int rc = fill(b, &c);
    names_free(&c.attributes);
    names_free(&c.parts);
    table_free(&c.attr);
    table_free(&c.part);
    return rc;
}
