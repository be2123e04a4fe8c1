/* data/dataset.c: opening a dataset by its spec, and the table of pictures, captions and pairs that every kind fills.
 */
#include "data/dataset_build.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct kind {
    const char *prefix;
    int (*build)(struct dataset_build *b);
    const char *help;
} kinds[] = {
#define X(prefix, fn, help) {prefix, fn, help},
    DATASET_LIST(X)
#undef X
};

/* ---- building ------------------------------------------------------------------------------------------------------
 */

static int reserve(void **p, int64_t n, int64_t *cap, size_t size)
{
    if (n <= *cap)
        return 0;
    int64_t more = *cap ? *cap : 64;
    while (more < n)
        more *= 2;
    void *q = mem_grow(*p, (size_t)*cap * size, (size_t)more * size);
    if (!q)
        return ERR_MEMORY;
    *p = q;
    *cap = more;
    return 0;
}

int build_columns(struct dataset_build *b, int n, const char *const *names)
{
    struct dataset *d = b->d;
    d->image_cols = arena_calloc(d->arena, (size_t)n + 1, sizeof *d->image_cols);
    if (!d->image_cols)
        return ERR_MEMORY;
    for (int i = 0; i < n; i++) {
        d->image_cols[i] = arena_strdup(d->arena, names[i]);
        if (!d->image_cols[i])
            return ERR_MEMORY;
    }
    d->n_image_cols = n;
    return 0;
}

int build_image(struct dataset_build *b, const char *const *cells, int64_t *row)
{
    struct dataset *d = b->d;
    int64_t k = d->n_image_cols;
    if (d->n_images >= limit_get(LIMIT_ROWS))
        FAIL(ERR_DATA, "%s: more than %lld pictures (limit rows)", d->spec, (long long)limit_get(LIMIT_ROWS));
    TRY(reserve((void **)&d->image_cells, (d->n_images + 1) * k, &b->cap_image_cells, sizeof *d->image_cells));
    for (int64_t i = 0; i < k; i++) {
        const char *s = cells[i] && *cells[i] ? arena_strdup(d->arena, cells[i]) : "";
        if (!s)
            return ERR_MEMORY;
        d->image_cells[d->n_images * k + i] = s;
    }
    *row = d->n_images++;
    return 0;
}

static size_t text_slot(const struct dataset_build *b, const char *caption)
{
    size_t i = (size_t)hash_bytes(caption, strlen(caption), 0) & b->mask;
    while (b->slots[i] && strcmp(b->d->captions[b->slots[i] - 1], caption))
        i = (i + 1) & b->mask;
    return i;
}

static int text_table_grow(struct dataset_build *b)
{
    size_t size = b->mask ? (b->mask + 1) * 2 : 1024;
    uint32_t *slots = mem_calloc(size, sizeof *slots);
    if (!slots)
        return ERR_MEMORY;
    mem_free(b->slots);
    b->slots = slots;
    b->mask = size - 1;
    for (int64_t i = 0; i < b->d->n_texts; i++)
        slots[text_slot(b, b->d->captions[i])] = (uint32_t)i + 1;
    return 0;
}

int build_text(struct dataset_build *b, const char *caption, const char *kind, int64_t *text)
{
    struct dataset *d = b->d;
    if ((size_t)d->n_texts * 2 >= b->mask)
        TRY(text_table_grow(b));
    size_t slot = text_slot(b, caption);
    if (!b->slots[slot]) {
        if (d->n_texts >= limit_get(LIMIT_ROWS))
            FAIL(ERR_DATA, "%s: more than %lld captions (limit rows)", d->spec, (long long)limit_get(LIMIT_ROWS));
        TRY(reserve((void **)&d->captions, d->n_texts + 1, &b->cap_captions, sizeof *d->captions));
        TRY(reserve((void **)&b->kinds, d->n_texts + 1, &b->cap_kinds, sizeof *b->kinds));
        d->captions[d->n_texts] = arena_strdup(d->arena, caption);
        b->kinds[d->n_texts] = arena_strdup(d->arena, kind);
        if (!d->captions[d->n_texts] || !b->kinds[d->n_texts])
            return ERR_MEMORY;
        b->slots[slot] = (uint32_t)++d->n_texts;
    }
    *text = (int64_t)b->slots[slot] - 1;
    if (!strcmp(kind, "name"))
        b->kinds[*text] = "name";
    return 0;
}

int build_pair(struct dataset_build *b, int64_t image, int64_t text)
{
    struct dataset *d = b->d;
    TRY(reserve((void **)&d->pairs, d->n_pairs + 1, &b->cap_pairs, sizeof *d->pairs));
    d->pairs[d->n_pairs++] = (struct pair){image, text};
    return 0;
}

bool build_wants_split(const struct dataset_build *b, const char *split)
{
    const char *s = b->opt->split;
    if (!s)
        return true;
    for (size_t n = strlen(split); *s;) {
        size_t k = strcspn(s, ",");
        if (k == n && !memcmp(s, split, n))
            return true;
        s += k + (s[k] == ',');
    }
    return false;
}

int build_describe(struct dataset_build *b, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->d->description = arena_strdup(b->d->arena, text);
    return b->d->description ? 0 : ERR_MEMORY;
}

int build_read_path(const char *root, const char *path, struct image *rgb)
{
    char full[4096];
    if (*path == '/' || !*root)
        return image_read_rgb(rgb, path);
    TRY(path_join(full, sizeof full, root, path));
    return image_read_rgb(rgb, full);
}

static int file_read_image(const struct dataset *d, int64_t row, struct image *rgb, uint8_t **alpha)
{
    BUG_ON(row < 0 || row >= d->n_images);
    if (alpha)
        *alpha = NULL;
    return build_read_path(d->own, d->image_cells[row * d->n_image_cols + 1], rgb);
}

static void file_close(struct dataset *d)
{
    mem_free(d->own);
}

int build_files(struct dataset_build *b, const char *root, size_t n)
{
    char *copy = mem_alloc(n + 1);
    if (!copy)
        return ERR_MEMORY;
    memcpy(copy, root, n);
    copy[n] = 0;
    b->d->own = copy;
    b->d->close = file_close;
    b->d->read_image = file_read_image;
    return 0;
}

bool build_is_picture(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"};
    size_t n = strlen(name);
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t k = strlen(endings[i]);
        if (n > k && !strcasecmp(name + n - k, endings[i]))
            return true;
    }
    return false;
}

/* ---- finishing
 * -------------------------------------------------------------------------------------------------------- */

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    if (p->image != q->image)
        return p->image < q->image ? -1 : 1;
    return (p->text > q->text) - (p->text < q->text);
}

static void sort_pairs(struct dataset *d)
{
    if (!d->n_pairs)
        return;
    qsort(d->pairs, (size_t)d->n_pairs, sizeof *d->pairs, compare_pairs);
    int64_t n = 1;
    for (int64_t i = 1; i < d->n_pairs; i++)
        if (compare_pairs(&d->pairs[i], &d->pairs[n - 1]))
            d->pairs[n++] = d->pairs[i];
    d->n_pairs = n;
}

static int fill_text_cells(struct dataset_build *b)
{
    static const char *const names[] = {"caption", "kind"};
    struct dataset *d = b->d;
    d->n_text_cols = 2;
    d->text_cols = arena_calloc(d->arena, 2, sizeof *d->text_cols);
    d->text_cells = mem_calloc((size_t)d->n_texts * 2 + 1, sizeof *d->text_cells);
    if (!d->text_cols || !d->text_cells)
        return ERR_MEMORY;
    memcpy(d->text_cols, names, sizeof names);
    for (int64_t i = 0; i < d->n_texts; i++) {
        d->text_cells[i * 2] = d->captions[i];
        d->text_cells[i * 2 + 1] = b->kinds[i];
    }
    return 0;
}

/* Rows, captions and pairs, in order; not where the files lie (column path). */
static void fingerprint(struct dataset *d)
{
    struct sha256 h;
    sha256_start(&h);
    for (int64_t i = 0; i < d->n_images; i++)
        for (int c = 0; c < d->n_image_cols; c++)
            if (strcmp(d->image_cols[c], "path")) {
                const char *s = d->image_cells[i * d->n_image_cols + c];
                sha256_add(&h, s, strlen(s) + 1);
            }
    for (int64_t i = 0; i < d->n_texts; i++)
        sha256_add(&h, d->captions[i], strlen(d->captions[i]) + 1);
    sha256_add(&h, d->pairs ? (const void *)d->pairs : "", (size_t)d->n_pairs * sizeof *d->pairs);
    sha256_hex(&h, d->fingerprint);
}

static const struct kind *find_kind(const char *spec, const char **arg)
{
    size_t n = strcspn(spec, ":");
    *arg = spec[n] ? spec + n + 1 : "";
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strlen(kinds[i].prefix) == n && !memcmp(kinds[i].prefix, spec, n))
            return &kinds[i];
    return NULL;
}

static int unknown_kind(const char *spec)
{
    struct str s = {0};
    const char *names[ARRAY_LEN(kinds)];
    char word[64];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        names[i] = kinds[i].prefix;
        str_add(&s, "%s%s", i ? ", " : "", names[i]);
    }
    snprintf(word, sizeof word, "%.*s", (int)strcspn(spec, ":"), spec);
    const char *near = str_nearest(word, names, (int)ARRAY_LEN(kinds));
    int rc = err_set(ERR_USAGE, "dataset \"%s\": unknown kind; expected one of %s%s%s%s", spec, s.s ? s.s : "",
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    str_free(&s);
    return rc;
}

int dataset_open(struct dataset **out, const char *spec, const struct dataset_opt *opt)
{
    static const struct dataset_opt none;
    const char *arg;
    const struct kind *kind = find_kind(spec, &arg);
    if (!kind)
        return unknown_kind(spec);
    struct dataset *d = mem_calloc(1, sizeof *d);
    if (!d)
        return ERR_MEMORY;
    struct dataset_build b = {.d = d, .arg = arg, .opt = opt ? opt : &none};
    int rc = arena_open(&d->arena, "dataset");
    if (rc == 0 && !(d->spec = arena_strdup(d->arena, spec)))
        rc = ERR_MEMORY;
    if (rc == 0)
        rc = kind->build(&b);
    if (rc == 0 && d->n_images == 0)
        rc = err_set(ERR_DATA, "%s: no picture left%s%s; check --split and the limit", spec,
                     b.opt->split ? " in split " : "", b.opt->split ? b.opt->split : "");
    if (rc == 0)
        rc = fill_text_cells(&b);
    if (rc == 0) {
        sort_pairs(d);
        fingerprint(d);
    }
    mem_free(b.kinds);
    mem_free(b.slots);
    if (rc < 0) {
        dataset_close(&d);
        return err_while(rc, "opening dataset \"%s\"", spec);
    }
    *out = d;
    return 0;
}

void dataset_close(struct dataset **d)
{
    if (!*d)
        return;
    if ((*d)->close)
        (*d)->close(*d);
    mem_free((*d)->image_cells);
    mem_free((*d)->text_cells);
    mem_free((*d)->captions);
    mem_free((*d)->pairs);
    arena_close(&(*d)->arena);
    mem_free(*d);
    *d = NULL;
}

static const char *cell(int n_cols, const char *const *cols, const char *const *cells, int64_t row, const char *col)
{
    for (int c = 0; c < n_cols; c++)
        if (!strcmp(cols[c], col))
            return cells[row * n_cols + c];
    return NULL;
}

const char *dataset_image_cell(const struct dataset *d, int64_t row, const char *col)
{
    BUG_ON(row < 0 || row >= d->n_images);
    return cell(d->n_image_cols, d->image_cols, d->image_cells, row, col);
}

const char *dataset_text_cell(const struct dataset *d, int64_t row, const char *col)
{
    BUG_ON(row < 0 || row >= d->n_texts);
    return cell(d->n_text_cols, d->text_cols, d->text_cells, row, col);
}
