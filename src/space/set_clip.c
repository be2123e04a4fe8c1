/* space/set_clip.c: a folder of clip-retrieval read as a set.
 *
 * img_emb/img_emb_000.npy, text_emb/text_emb_000.npy and metadata/metadata_000.parquet are shards of one long list: row
 * i of all three is one sample. Numbers are padded with zeros to the number of shards, so names sort, but the number is
 * what counts. Shards are matched by number and their rows counted against each other, because a side that lost one
 * shard would pair every later picture with a stranger's caption. Metadata are read as far as they are flat; where they
 * cannot be read, the set says so. No fingerprint is known, unless meridian wrote the folder (meridian.json).
 * Rejected: taking the files in the order of the folder, and trusting equal totals. */
#include "space/set_private.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

struct shard {
    int64_t number, n; /* n: rows */
    char name[64];
};
struct shards {
    int64_t n, cap;
    struct shard *v;
};

/* ---- which shards are there
 * ------------------------------------------------------------------------------------------------- */

bool set_is_clip_folder(const char *dir)
{
    char path[1100];
    return (path_join(path, sizeof path, dir, "img_emb") == 0 && path_is_dir(path)) ||
           (path_join(path, sizeof path, dir, "text_emb") == 0 && path_is_dir(path));
}

/* The number in STEM_012.ENDING, -1 when the name is of another form. */
static int64_t number_of(const char *name, const char *stem, const char *ending)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0 || name[n] != '_' || strlen(name) >= sizeof((struct shard *)0)->name)
        return -1;
    size_t digits = strspn(name + n + 1, "0123456789");
    if (digits < 1 || digits > 12 || strcmp(name + n + 1 + digits, ending) != 0)
        return -1;
    return strtoll(name + n + 1, NULL, 10);
}

static int by_number(const void *a, const void *b)
{
    const struct shard *p = a, *q = b;
    return (p->number > q->number) - (p->number < q->number);
}

static int add_shard(struct shards *s, const char *name, int64_t number)
{
    if (s->n == s->cap) {
        int64_t more = s->cap ? 2 * s->cap : 16;
        struct shard *v = mem_grow(s->v, (size_t)s->cap * sizeof *v, (size_t)more * sizeof *v);
        if (!v)
            return ERR_MEMORY;
        s->v = v;
        s->cap = more;
    }
    s->v[s->n] = (struct shard){.number = number};
    strcpy(s->v[s->n++].name, name);
    return 0;
}

static int find_shards(struct shards *s, const char *folder, const char *stem, const char *ending)
{
    DIR *d = opendir(folder);
    int rc = 0;
    if (!d)
        return 0;
    for (struct dirent *e = readdir(d); e && rc == 0; e = readdir(d)) {
        int64_t number = number_of(e->d_name, stem, ending);
        if (number >= 0)
            rc = add_shard(s, e->d_name, number);
    }
    closedir(d);
    TRY(rc);
    if (s->n > 1)
        qsort(s->v, (size_t)s->n, sizeof *s->v, by_number);
    for (int64_t i = 1; i < s->n; i++)
        if (s->v[i].number == s->v[i - 1].number)
            FAIL(ERR_DATA, "%s: %s and %s have one number; take the stale one away", folder, s->v[i - 1].name,
                 s->v[i].name);
    return 0;
}

/* ---- vectors
 * ---------------------------------------------------------------------------------------------------------------- */

struct reading {
    struct set *s;
    struct shards side[2], meta;
    enum dtype dtype;
    struct str left_out; /* of the metadata */
};
static const char *const folder_of[2] = {"img_emb", "text_emb"};

static int open_shard(const struct reading *r, int which, const struct shard *p, struct npy *a, char path[1200])
{
    int n = snprintf(path, 1200, "%s/%s/%s", r->s->path, folder_of[which], p->name);
    if (n < 0 || n >= 1200)
        FAIL(ERR_FAIL, "path \"%.80s\" is too long", r->s->path);
    TRY(npy_open(a, path));
    int rc = set_check_npy(a, r->s->width, path);
    if (rc < 0)
        npy_close(a);
    return rc;
}

/* Widths and counts of all shards of a side, before anything is allocated for the vectors. */
static int count_rows(struct reading *r, int which)
{
    struct set_side *side = which ? &r->s->text : &r->s->image;
    for (int64_t i = 0; i < r->side[which].n; i++) {
        struct shard *p = &r->side[which].v[i];
        struct npy a = {0};
        char path[1200];
        TRY(open_shard(r, which, p, &a, path));
        r->s->width = a.shape[1];
        r->dtype = a.dtype;
        p->n = a.shape[0];
        side->n += p->n;
        npy_close(&a);
        if (side->n > limit_get(LIMIT_ROWS))
            FAIL(ERR_DATA, "%s/%s: more than %lld rows (limit %s)", r->s->path, folder_of[which],
                 (long long)limit_get(LIMIT_ROWS), limit_name(LIMIT_ROWS));
    }
    return 0;
}

static int read_vectors(struct reading *r, int which)
{
    struct set *s = r->s;
    struct set_side *side = which ? &s->text : &s->image;
    size_t count = 0;
    int64_t at = 0, bad = 0;
    if (!mul_ok((size_t)side->n, (size_t)s->width, &count))
        FAIL(ERR_DATA, "%s/%s: too many rows", s->path, folder_of[which]);
    side->x = mem_calloc(count + 1, sizeof *side->x);
    if (!side->x)
        return ERR_MEMORY;
    for (int64_t i = 0; i < r->side[which].n; i++) {
        const struct shard *p = &r->side[which].v[i];
        struct npy a = {0};
        char path[1200];
        TRY(open_shard(r, which, p, &a, path));
        float *x = side->x + at * s->width;
        int rc = a.shape[0] == p->n ? 0 : err_set(ERR_DATA, "%s: changed while it was read", path);
        if (rc == 0)
            rc = dtype_convert(DT_F32, x, a.dtype, a.data, (size_t)(p->n * s->width));
        if (rc == 0)
            rc = npy_check(&a);
        if (rc == 0)
            rc = set_check_rows(x, p->n, s->width, a.dtype == DT_F16 ? 1e-2 : 1e-4, &s->unit, &bad, path);
        npy_close(&a);
        TRY(rc);
        at += p->n;
    }
    return 0;
}

/* Shard by shard: the same numbers on both sides, and as many rows. */
static int check_sides(const struct reading *r)
{
    const struct shards *a = &r->side[0], *b = &r->side[1];
    if (a->n == 0 || b->n == 0)
        return 0;
    for (int64_t i = 0, k = 0; i < a->n || k < b->n; i++, k++) {
        const struct shard *p = i < a->n ? &a->v[i] : NULL, *q = k < b->n ? &b->v[k] : NULL;
        if (!p || !q || p->number != q->number)
            FAIL(ERR_DATA,
                 "%s: shard %lld is there on one side only (%s); row i of both sides is one pair, so fetch the missing "
                 "file, or take its partner away",
                 r->s->path, (long long)(!q || (p && p->number < q->number) ? p->number : q->number),
                 !q || (p && p->number < q->number) ? p->name : q->name);
        if (p->n != q->n)
            FAIL(ERR_DATA, "%s: %s has %lld rows and %s has %lld; row i of both is one pair, so fetch both again",
                 r->s->path, p->name, (long long)p->n, q->name, (long long)q->n);
    }
    return 0;
}

/* ---- metadata
 * --------------------------------------------------------------------------------------------------------------- */

/* A growing table: columns appear as shards bring them; rows from before then have "". */
struct gathered {
    struct arena *arena;
    int n_cols, cap_cols;
    const char **names;
    const char ***cells; /* [n_cols][n_rows] */
    int64_t n_rows;
};

static int column_of(struct gathered *g, const char *name, int *at)
{
    for (*at = 0; *at < g->n_cols; (*at)++)
        if (!strcmp(g->names[*at], name))
            return 0;
    if (g->n_cols == g->cap_cols) {
        int more = g->cap_cols ? 2 * g->cap_cols : 16;
        const char **names = arena_calloc(g->arena, (size_t)more, sizeof *names);
        const char ***cells = arena_calloc(g->arena, (size_t)more, sizeof *cells);
        if (!names || !cells)
            return ERR_MEMORY;
        if (g->n_cols) {
            memcpy(names, g->names, (size_t)g->n_cols * sizeof *names);
            memcpy(cells, g->cells, (size_t)g->n_cols * sizeof *cells);
        }
        g->names = names;
        g->cells = cells;
        g->cap_cols = more;
    }
    const char **column = arena_calloc(g->arena, (size_t)g->n_rows + 1, sizeof *column);
    char *copy = arena_strdup(g->arena, name);
    if (!column || !copy)
        return ERR_MEMORY;
    g->names[g->n_cols] = copy;
    g->cells[g->n_cols++] = column;
    return 0;
}

static int gather(struct gathered *g, const struct table *t, int64_t at)
{
    for (int c = 0; c < t->n_cols; c++) {
        int to = 0;
        TRY(column_of(g, t->cols[c], &to));
        for (int64_t i = 0; i < t->n_rows; i++) {
            const char *cell = table_cell(t, i, c);
            g->cells[to][at + i] = cell[0] ? arena_strdup(g->arena, cell) : "";
            if (!g->cells[to][at + i])
                return ERR_MEMORY;
        }
    }
    return 0;
}

/* Some columns of what was gathered, as a table that table_free takes. */
static int make_table(struct table *out, const struct gathered *g, const int *cols, const char *const *names, int n,
                      const char *path)
{
    struct table t = {.n_cols = n, .n_rows = g->n_rows, .sep = ','};
    size_t stride = (size_t)n;
    TRY(arena_open(&t.arena, "metadata"));
    t.path = arena_strdup(t.arena, path);
    t.cols = mem_calloc(((size_t)g->n_rows + 1) * stride, sizeof *t.cols);
    int rc = t.path && t.cols ? 0 : ERR_MEMORY;
    t.cells = t.cols ? t.cols + n : NULL;
    for (int c = 0; rc == 0 && c < n; c++) {
        t.cols[c] = arena_strdup(t.arena, names[c]);
        rc = t.cols[c] ? 0 : ERR_MEMORY;
        for (int64_t i = 0; rc == 0 && i < g->n_rows; i++) {
            const char *cell = g->cells[cols[c]][i];
            t.cells[(size_t)i * stride + (size_t)c] = cell && cell[0] ? arena_strdup(t.arena, cell) : "";
            rc = t.cells[(size_t)i * stride + (size_t)c] ? 0 : ERR_MEMORY;
        }
    }
    if (rc < 0)
        table_free(&t);
    else
        *out = t;
    return rc;
}

/* caption to the texts, image_path (as path) and the rest to the pictures; to the texts too when there are no
 * pictures. */
static int share_out(struct reading *r, const struct gathered *g, const char *path)
{
    struct set *s = r->s;
    int *cols = arena_calloc(g->arena, (size_t)g->n_cols + 1, sizeof *cols), n = 0, caption = -1;
    const char **names = arena_calloc(g->arena, (size_t)g->n_cols + 1, sizeof *names);
    bool has_path = false;
    if (!cols || !names)
        return ERR_MEMORY;
    for (int c = 0; c < g->n_cols; c++)
        has_path = has_path || !strcmp(g->names[c], "path");
    for (int c = 0; c < g->n_cols; c++) {
        if (!strcmp(g->names[c], "caption") && s->text.n > 0) {
            caption = c;
            continue;
        }
        cols[n] = c;
        names[n++] = !strcmp(g->names[c], "image_path") && !has_path ? "path" : g->names[c];
    }
    if (n > 0 && s->image.n > 0) {
        TRY(make_table(&s->image.meta, g, cols, names, n, path));
        s->image.has_meta = true;
        n = 0;
    }
    if (caption >= 0) {
        cols[n] = caption;
        names[n++] = "caption";
    }
    if (n > 0 && s->text.n > 0) {
        TRY(make_table(&s->text.meta, g, cols, names, n, path));
        s->text.has_meta = true;
    }
    return 0;
}

static int gather_shards(struct reading *r, struct gathered *g, const struct shards *rows)
{
    int64_t at = 0;
    char path[1200];
    g->n_rows = r->s->image.n > 0 ? r->s->image.n : r->s->text.n;
    for (int64_t i = 0; i < rows->n; i++) {
        struct table t;
        const struct shard *p = &r->meta.v[i];
        snprintf(path, sizeof path, "%s/metadata/%s", r->s->path, p->name);
        int rc = parquet_read(&t, i == 0 ? &r->left_out : NULL, path);
        if (rc == ERR_UNSUPPORTED) { /* the vectors are worth having without their words */
            str_clear(&r->left_out);
            str_add(&r->left_out, "all of it: %s", err_text());
            err_clear();
            g->n_cols = 0;
            return 0;
        }
        TRY(rc);
        if (t.n_rows != rows->v[i].n)
            rc = err_set(ERR_DATA, "%s: %lld rows, but %s has %lld; row i of both is one sample, so fetch both again",
                         path, (long long)t.n_rows, rows->v[i].name, (long long)rows->v[i].n);
        if (rc == 0)
            rc = gather(g, &t, at);
        table_free(&t);
        TRY(rc);
        at += rows->v[i].n;
    }
    return 0;
}

/* Whether every shard of vectors has its metadata. */
static bool same_numbers(const struct shards *a, const struct shards *b)
{
    if (a->n != b->n)
        return false;
    for (int64_t i = 0; i < a->n; i++)
        if (a->v[i].number != b->v[i].number)
            return false;
    return true;
}

static int read_metadata(struct reading *r)
{
    const struct shards *rows = r->side[0].n ? &r->side[0] : &r->side[1];
    struct gathered g = {0};
    char path[1200];
    TRY(path_join(path, sizeof path, r->s->path, "metadata"));
    TRY(find_shards(&r->meta, path, "metadata", ".parquet"));
    if (r->meta.n == 0) {
        str_add(&r->left_out, "there is none");
        return 0;
    }
    if (!same_numbers(&r->meta, rows)) {
        str_add(&r->left_out, "all of it: %lld shards of it for %lld of vectors", (long long)r->meta.n,
                (long long)rows->n);
        return 0;
    }
    TRY(arena_open(&g.arena, "metadata"));
    int rc = gather_shards(r, &g, rows);
    if (rc == 0 && g.n_cols > 0)
        rc = share_out(r, &g, path);
    arena_close(&g.arena);
    return rc;
}

/* ---- the whole
 * --------------------------------------------------------------------------------------------------------------- */

/* What meridian noted when it wrote the folder. */
static int read_note(struct reading *r)
{
    char path[1200];
    struct set *s = r->s;
    TRY(path_join(path, sizeof path, s->path, "meridian.json"));
    if (!path_exists(path))
        return (s->json = json_object()) ? 0 : ERR_MEMORY;
    TRY(json_read_file(&s->json, path));
    const char **field[] = {&s->model, &s->fingerprint, &s->data};
    static const char *const key[] = {"model", "fingerprint", "data"};
    for (size_t i = 0; i < ARRAY_LEN(key); i++) {
        const char *text = NULL;
        TRY(json_field_str(s->json, key[i], false, &text, path));
        if (text && !(*field[i] = arena_strdup(s->arena, text)))
            return ERR_MEMORY;
    }
    return json_field_real(s->json, "logit_scale", false, 0, 1e6, &s->logit_scale, path);
}

static int describe(struct reading *r)
{
    struct set *s = r->s;
    struct str b = {0};
    const struct shards *rows = r->side[0].n ? &r->side[0] : &r->side[1];
    for (char *at = r->left_out.s; at && *at; at++)
        *at = *at != '\n' ? *at : at[1] ? ';' : 0;
    str_add(&b, "clip-retrieval folder, %lld shard%s of %s", (long long)rows->n, rows->n == 1 ? "" : "s",
            r->dtype == DT_F16   ? "float16"
            : r->dtype == DT_F64 ? "float64"
                                 : "float32");
    if (r->left_out.n)
        str_add(&b, "; metadata was left out: %.400s", r->left_out.s);
    s->protocol = b.failed || r->left_out.failed ? NULL : arena_strdup(s->arena, b.s);
    str_free(&b);
    if (!s->protocol)
        FAIL(ERR_MEMORY, "no memory to describe %s", s->path);
    log_info("%s: %lld pictures, %lld captions, width %lld; %s", s->path, (long long)s->image.n, (long long)s->text.n,
             (long long)s->width, s->protocol);
    return 0;
}

static int read_all(struct reading *r)
{
    struct set *s = r->s;
    char path[1200];
    for (int which = 0; which < 2; which++) {
        TRY(path_join(path, sizeof path, s->path, folder_of[which]));
        TRY(find_shards(&r->side[which], path, folder_of[which], ".npy"));
        TRY(count_rows(r, which));
    }
    if (r->side[0].n + r->side[1].n == 0)
        FAIL(ERR_DATA, "%s: neither img_emb/img_emb_000.npy nor text_emb/text_emb_000.npy, with any number, is there",
             s->path);
    TRY(check_sides(r));
    s->unit = true;
    for (int which = 0; which < 2; which++)
        TRY(read_vectors(r, which));
    if (s->unit && r->dtype == DT_F16) { /* halves are off by up to 5e-4 */
        TRY(space_normalize(s->image.x, s->image.n, s->width, NULL));
        TRY(space_normalize(s->text.x, s->text.n, s->width, NULL));
    }
    TRY(read_metadata(r));
    TRY(read_note(r));
    TRY(describe(r));
    if (r->side[0].n && r->side[1].n)
        return set_pairs_by_row(s);
    s->pairs = mem_calloc(1, sizeof *s->pairs);
    return s->pairs ? 0 : ERR_MEMORY;
}

int set_read_clip_folder(struct set *s)
{
    struct reading r = {.s = s};
    int rc = read_all(&r);
    mem_free(r.side[0].v);
    mem_free(r.side[1].v);
    mem_free(r.meta.v);
    str_free(&r.left_out);
    return rc;
}
