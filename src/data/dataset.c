/* data/dataset.c: opening a dataset by its spec, and the table of pictures, captions and pairs that every kind fills.
 *
 * Strings are packed one behind the other in blocks of the arena, and a cell that repeats the one above it (split,
 * label) is that one: a table of a million rows costs about its own size. */
#include "data/dataset_build.h"

#include <stdarg.h>
#include <stdlib.h>

#define BLOCK ((size_t)64 << 10)
#define MAX_COLUMNS 256

static const struct kind {
    const char *prefix;
    int (*build)(struct dataset_build *b);
    const char *help;
} kinds[] = {
#define X(prefix, fn, help) {prefix, fn, help},
    DATASET_LIST(X)
#undef X
};

const char *dataset_kind_at(int i, const char **help)
{
    if (i < 0 || (size_t)i >= ARRAY_LEN(kinds))
        return NULL;
    if (help)
        *help = kinds[i].help;
    return kinds[i].prefix;
}

/* ---- building: rows ----------------------------------------------------------------------------------------- */

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

const char *build_keep(struct dataset_build *b, const char *s)
{
    size_t n = strlen(s) + 1;
    if (n == 1)
        return "";
    if (n > b->block_left) {
        size_t size = n > BLOCK / 4 ? n : BLOCK;
        char *block = arena_alloc(b->d->arena, size);
        if (!block)
            return NULL;
        if (size == n) /* a long one has its own */
            return memcpy(block, s, n);
        b->block = block;
        b->block_left = size;
    }
    char *out = memcpy(b->block, s, n);
    b->block += n;
    b->block_left -= n;
    return out;
}

int build_columns(struct dataset_build *b, int n, const char *const *names)
{
    struct dataset *d = b->d;
    BUG_ON(d->n_image_cols || n < 2 || n > 1 << 13);
    d->image_cols = arena_calloc(d->arena, (size_t)n + MAX_COLUMNS, sizeof *d->image_cols);
    if (!d->image_cols)
        return ERR_MEMORY;
    for (int i = 0; i < n; i++) {
        d->image_cols[i] = build_keep(b, names[i]);
        if (!d->image_cols[i])
            return ERR_MEMORY;
    }
    d->n_image_cols = n;
    return 0;
}

int build_plain_columns(struct dataset_build *b)
{
    static const char *const names[] = {"id", "path", "label", "split"};
    return build_columns(b, 4, names);
}

int build_column(struct dataset_build *b, const char *name, int *col)
{
    struct dataset *d = b->d;
    int k = d->n_image_cols;
    for (int i = 0; i < k; i++)
        if (!strcmp(d->image_cols[i], name)) {
            *col = i;
            return 0;
        }
    if (k >= MAX_COLUMNS)
        FAIL(ERR_DATA, "%s: more than %d columns", d->spec, MAX_COLUMNS);
    const char *kept = build_keep(b, name);
    if (!kept)
        return ERR_MEMORY;
    TRY(reserve((void **)&d->image_cells, d->n_images * (k + 1), &b->cap_image_cells, sizeof *d->image_cells));
    for (int64_t i = d->n_images - 1; i >= 0; i--) { /* from behind: rows move up */
        memmove(d->image_cells + i * (k + 1), d->image_cells + i * k, (size_t)k * sizeof *d->image_cells);
        d->image_cells[i * (k + 1) + k] = "";
    }
    d->image_cols[k] = kept;
    d->n_image_cols = k + 1;
    *col = k;
    return 0;
}

int build_image(struct dataset_build *b, const char *const *cells, int64_t *row)
{
    struct dataset *d = b->d;
    int64_t k = d->n_image_cols;
    if (d->n_images >= limit_get(LIMIT_ROWS))
        FAIL(ERR_DATA, "%s: more than %lld pictures (limit rows)", d->spec, (long long)limit_get(LIMIT_ROWS));
    TRY(reserve((void **)&d->image_cells, (d->n_images + 1) * k, &b->cap_image_cells, sizeof *d->image_cells));
    const char **to = d->image_cells + d->n_images * k;
    for (int64_t i = 0; i < k; i++) {
        const char *s = cells[i] ? cells[i] : "";
        if (i == 1 && !strcmp(s, to[0]))
            to[i] = to[0];
        else if (d->n_images && !strcmp(s, to[i - k]))
            to[i] = to[i - k];
        else if (!(to[i] = build_keep(b, s)))
            return ERR_MEMORY;
    }
    *row = d->n_images++;
    return 0;
}

int build_cell(struct dataset_build *b, int64_t image, int col, const char *s)
{
    const char **at = b->d->image_cells + image * b->d->n_image_cols + col;
    if (image > 0 && !strcmp(at[-b->d->n_image_cols], s))
        *at = at[-b->d->n_image_cols];
    else if (!(*at = build_keep(b, s)))
        return ERR_MEMORY;
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
        bool as_before = d->n_texts && !strcmp(b->kinds[d->n_texts - 1], kind);
        d->captions[d->n_texts] = build_keep(b, caption);
        b->kinds[d->n_texts] = as_before ? b->kinds[d->n_texts - 1] : build_keep(b, kind);
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

/* ---- building: rows that cannot be used ------------------------------------------------------------------------ */

int build_refuse(struct dataset_build *b, int64_t row, const char *id, const char *path, const char *fmt, ...)
{
    struct dataset *d = b->d;
    char reason[1024], safe_id[512], safe_path[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    d->n_refused++;
    if (d->n_listed >= limit_get(LIMIT_REFUSED))
        return 0;
    /* what is not UTF-8 or carries control bytes would break every list it is written into */
    str_safe(safe_id, sizeof safe_id, id ? id : "");
    str_safe(safe_path, sizeof safe_path, path ? path : "");
    struct refused *r = d->refused;
    TRY(reserve((void **)&r, d->n_listed + 1, &b->cap_refused, sizeof *r));
    d->refused = r;
    r[d->n_listed] = (struct refused){.row = row,
                                      .id = build_keep(b, utf8_ok(safe_id, strlen(safe_id)) ? safe_id : "?"),
                                      .path = build_keep(b, utf8_ok(safe_path, strlen(safe_path)) ? safe_path : "?"),
                                      .reason = build_keep(b, utf8_ok(reason, strlen(reason)) ? reason : "?")};
    if (!r[d->n_listed].id || !r[d->n_listed].path || !r[d->n_listed].reason)
        return ERR_MEMORY;
    d->n_listed++;
    return 0;
}

int build_refuse_error(struct dataset_build *b, int64_t row, const char *id, const char *path, int rc)
{
    char why[1024];
    if (rc == ERR_MEMORY || rc == ERR_INTERRUPTED)
        return rc;
    snprintf(why, sizeof why, "%s", err_text());
    err_clear();
    return build_refuse(b, row, id, path, "%s", why);
}

const char *build_bad_caption(const char *caption)
{
    size_t n = strlen(caption);
    if (n > (size_t)limit_get(LIMIT_TEXT_BYTES))
        return "the caption is longer than limit text-bytes";
    if (!utf8_ok(caption, n))
        return "the caption is not UTF-8; convert it (iconv -f latin1 -t utf-8)";
    return caption[strspn(caption, " \t\r\n\v\f")] ? NULL : "the caption is empty";
}

int build_caption(struct dataset_build *b, int64_t row, int64_t image, const char *caption, const char *kind)
{
    int64_t text;
    if (image < 0)
        return 0;
    const char *why = build_bad_caption(caption), **cells = b->d->image_cells + image * b->d->n_image_cols;
    if (why)
        return build_refuse(b, row, cells[0], cells[1], "%s", why);
    TRY(build_text(b, caption, kind, &text));
    return build_pair(b, image, text);
}

/* ---- building: splits, limit, description ---------------------------------------------------------------------- */

static void note_split(struct dataset_build *b, const char *split)
{
    for (int i = 0; i < b->n_splits; i++)
        if (!strcmp(b->splits[i], split))
            return;
    if (b->n_splits < (int)ARRAY_LEN(b->splits) && *split) {
        const char *kept = build_keep(b, split);
        if (kept)
            b->splits[b->n_splits++] = kept;
    }
}

bool build_wants_split(struct dataset_build *b, const char *split)
{
    const char *s = b->opt->split;
    if (!s)
        return true;
    note_split(b, split);
    for (size_t n = strlen(split); *s;) {
        size_t k = strcspn(s, ",+");
        if (k == n && !memcmp(s, split, n))
            return true;
        s += k + (s[k] != 0);
    }
    return false;
}

int build_no_split(const struct dataset_build *b, const char *why)
{
    if (b->opt->split)
        FAIL(ERR_USAGE, "dataset \"%s\": %s; leave --split out", b->d->spec, why);
    return 0;
}

bool build_full(const struct dataset_build *b)
{
    return b->opt->limit > 0 && b->d->n_images >= b->opt->limit;
}

int build_describe(struct dataset_build *b, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->d->description = build_keep(b, text);
    return b->d->description ? 0 : ERR_MEMORY;
}

/* Numbers of pictures by split, in order of appearance. */
static void add_splits(const struct dataset *d, struct str *s)
{
    enum { MAX = 16 };
    const char *names[MAX];
    int64_t count[MAX];
    int n = 0, last = 0;
    for (int64_t i = 0; i < d->n_images && d->n_image_cols > 3; i++) {
        const char *split = d->image_cells[i * d->n_image_cols + 3];
        if (!*split)
            continue;
        if (!(last < n && !strcmp(names[last], split)))
            for (last = 0; last < n && strcmp(names[last], split); last++)
                continue;
        if (last == MAX) {
            str_add(s, ", more than %d splits", MAX);
            return;
        }
        if (last == n) {
            names[n] = split;
            count[n++] = 0;
        }
        count[last]++;
    }
    for (int i = 0; i < n; i++)
        str_add(s, "%s%.40s %s", i ? ", " : "; splits: ", names[i], str_count(count[i]));
}

static int finish_description(struct dataset_build *b)
{
    struct dataset *d = b->d;
    struct str s = {0};
    if (b->described)
        return 0;
    str_add(&s, "%s, %s pictures, %s captions", d->description, str_count(d->n_images), str_count(d->n_texts));
    if (b->tells_missing || d->n_missing)
        str_add(&s, ", %s pictures missing", str_count(d->n_missing));
    if (d->n_refused > d->n_missing + b->n_parts)
        str_add(&s, ", %s rows refused", str_count(d->n_refused - d->n_missing - b->n_parts));
    add_splits(d, &s);
    const char *safe = s.failed ? NULL : build_keep(b, s.s);
    str_free(&s);
    if (!safe)
        return ERR_MEMORY;
    d->description = safe;
    return 0;
}

/* ---- finishing ---------------------------------------------------------------------------------------------- */

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    if (p->image != q->image)
        return p->image < q->image ? -1 : 1;
    return (p->text > q->text) - (p->text < q->text);
}

static void sort_pairs(struct dataset *d)
{
    bool sorted = true;
    for (int64_t i = 1; i < d->n_pairs && sorted; i++)
        sorted = compare_pairs(&d->pairs[i - 1], &d->pairs[i]) < 0;
    if (sorted)
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

/* No picture is left: is it the split, or what the rows hold? */
static int nothing_left(const struct dataset_build *b)
{
    const struct dataset *d = b->d;
    const struct refused *r = d->refused;
    char shown[160], at[48] = "";
    if (d->n_listed) {
        str_safe(shown, sizeof shown, *r->path ? r->path : r->id);
        if (r->row)
            snprintf(at, sizeof at, "row %lld: ", (long long)r->row);
    }
    if (d->n_missing && d->n_missing == d->n_refused)
        FAIL(ERR_DATA,
             "%s: none of the %s pictures is there, for example \"%s\"; names start at \"%s\": --images-root names "
             "another folder",
             d->spec, str_count(d->n_missing), d->n_listed ? shown : "?", b->root && *b->root ? b->root : ".");
    if (d->n_refused)
        FAIL(ERR_DATA, "%s: none of the rows can be used; %s left out, for example %s%s%s%s", d->spec,
             str_count(d->n_refused), at, d->n_listed ? shown : "", d->n_listed && *shown ? ": " : "",
             d->n_listed ? r->reason : "");
    struct str s = {0};
    for (int i = 0; i < b->n_splits; i++)
        str_add(&s, "%s%.40s", i ? ", " : "; splits found: ", b->splits[i]);
    int rc = err_set(ERR_DATA, "%s: no picture left%s%s%s; check --split and the limit", d->spec,
                     b->opt->split ? " in split " : "", b->opt->split ? b->opt->split : "", s.s ? s.s : "");
    str_free(&s);
    return rc;
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static const struct kind *find_kind(const char *spec, const char **arg)
{
    size_t n = strcspn(spec, ":");
    *arg = spec[n] ? spec + n + 1 : "";
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strlen(kinds[i].prefix) == n && !memcmp(kinds[i].prefix, spec, n))
            return &kinds[i];
    return NULL;
}

/* A path without its kind: what it looks like. */
static const char *guess_kind(const char *path)
{
    char inside[BUILD_PATH];
    if (!path_exists(path))
        return NULL;
    if (path_is_dir(path))
        return path_join(inside, sizeof inside, path, "set.json") == 0 && path_exists(inside) ? "set" : "folder";
    if (str_ends(path, ".json"))
        return "coco";
    return strstr(path, ".tar") || str_ends(path, ".tgz") ? "wds" : "csv";
}

static int unknown_kind(const char *spec)
{
    struct str s = {0};
    const char *names[ARRAY_LEN(kinds)], *guess = guess_kind(spec);
    char word[64];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        names[i] = kinds[i].prefix;
        str_add(&s, "%s%s", i ? ", " : "", names[i]);
    }
    snprintf(word, sizeof word, "%.*s", (int)strcspn(spec, ":"), spec);
    const char *near = guess ? NULL : str_nearest(word, names, (int)ARRAY_LEN(kinds));
    int rc = err_set(ERR_USAGE, "dataset \"%s\": unknown kind; expected one of %s%s%s%s%s%s", spec, s.s ? s.s : "",
                     near || guess ? "; did you mean \"" : "",
                     near    ? near
                     : guess ? guess
                             : "",
                     guess ? ":" : "", guess ? spec : "", near || guess ? "\"?" : "");
    str_free(&s);
    return rc;
}

static int build(struct dataset_build *b, const struct kind *kind)
{
    struct dataset *d = b->d;
    TRY(kind->build(b));
    if (d->n_images == 0)
        return nothing_left(b);
    TRY(fill_text_cells(b));
    sort_pairs(d);
    TRY(finish_description(b));
    fingerprint(d);
    return 0;
}

int dataset_open(struct dataset **out, const char *spec, const struct dataset_opt *opt)
{
    static const struct dataset_opt none;
    const char *arg;
    const struct kind *kind = find_kind(spec, &arg);
    if (!kind)
        return unknown_kind(spec);
    struct dataset *d = mem_calloc(1, sizeof *d);
    struct dataset_build *b = mem_calloc(1, sizeof *b);
    int rc = d && b ? arena_open(&d->arena, "dataset") : ERR_MEMORY;
    if (rc == 0) {
        *b = (struct dataset_build){.d = d, .arg = arg, .opt = opt ? opt : &none};
        d->path_base = "";
        d->spec = build_keep(b, spec);
        rc = d->spec ? build(b, kind) : ERR_MEMORY;
    }
    if (b) {
        mem_free(b->kinds);
        mem_free(b->slots);
    }
    mem_free(b);
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
    mem_free((*d)->refused);
    if ((*d)->arena)
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
