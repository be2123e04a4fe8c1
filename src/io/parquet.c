/* io/parquet.c: a Parquet file as a table, so that callers treat metadata.parquet as they treat metadata.csv.
 *
 * clip-retrieval and img2dataset keep url, caption, key, sizes and scores in Parquet. That is flat: one value a row and
 * column, some of them null. This reads exactly that: every column that is flat and made of text, numbers or truth
 * values; all others are left out, each with its reason, and the caller decides whether it can do without. Every cell
 * is text as CSV would have it; null is "".
 * A cell costs a pointer, its text is shared where the file shares it. How much a file may unpack to is bounded by
 * LIMIT_PARQUET_RATIO times its size, but UNPACK_FLOOR is always allowed: small files pack well, and that much does
 * no harm. Rejected: Arrow's C++ library (Debian has none, and one format is not worth it); filling columns lazily. */
#include "io/parquet.h"

#include <inttypes.h>
#include <string.h>

#define UNPACK_FLOOR ((size_t)64 << 20)

/* cols and cells are one block, as table_free expects: names first, then rows. */
static int take_block(struct pq_file *f, struct table *t)
{
    size_t n_read = 0, n = 0, bytes = 0;
    for (size_t i = 0; i < f->n_columns; i++)
        n_read += f->columns[i].why == NULL;
    t->n_cols = (int)n_read; /* at most LIMIT_COLUMNS */
    t->n_rows = f->n_rows;
    if (n_read == 0)
        return 0;
    if (!mul_ok((size_t)f->n_rows + 1, n_read, &n) || !mul_ok(n, sizeof(*t->cols), &bytes))
        FAIL(ERR_DATA, "%s: %" PRId64 " rows of %zu columns are too many cells", f->path, f->n_rows, n_read);
    TRY_IN(pq_spend(f, bytes), "making room for %" PRId64 " rows of %zu columns", f->n_rows, n_read);
    t->cols = mem_alloc(bytes);
    if (!t->cols)
        return ERR_MEMORY;
    t->cells = t->cols + n_read;
    return 0;
}

/* Column c into column `at` of the table. Left half filled when c turns out to be unreadable (c->why). */
static int read_column(struct pq_file *f, struct pq_column *c, struct table *t, size_t at)
{
    size_t stride = (size_t)t->n_cols;
    int64_t row = 0;
    t->cols[at] = c->name;
    for (size_t i = 0; i < f->n_groups; i++) {
        const struct pq_group *g = &f->groups[i];
        if (g->n_rows > 0)
            TRY_IN(
                pq_read_chunk(f, c, &g->chunks[c->leaf], t->cells + (size_t)row * stride + at, stride, row, g->n_rows),
                "reading row group %zu of %s", i + 1, f->path);
        row += g->n_rows;
    }
    return 0;
}

/* The table keeps its first n columns. */
static void narrow(struct table *t, size_t n)
{
    size_t wide = (size_t)t->n_cols, rows = (size_t)t->n_rows + 1;
    for (size_t i = 0; i < rows && n < wide; i++)
        memmove(t->cols + i * n, t->cols + i * wide, n * sizeof(*t->cols));
    t->n_cols = (int)n;
    t->cells = t->cols ? t->cols + n : NULL;
}

static int list_left_out(const struct pq_file *f, int n_read, struct str *left_out)
{
    struct str all = {0};
    for (size_t i = 0; i < f->n_columns; i++)
        if (f->columns[i].why)
            str_add(&all, "%s: %s\n", f->columns[i].name, f->columns[i].why);
    int rc = all.failed ? ERR_MEMORY : 0;
    if (rc == 0 && n_read == 0)
        rc = err_set(ERR_UNSUPPORTED, "%s: none of its %zu columns can be read: %.500s", f->path, f->n_columns,
                     all.s ? all.s : "");
    if (rc == 0 && left_out && all.n > 0)
        str_add_n(left_out, all.s, all.n);
    if (rc == 0 && left_out && left_out->failed)
        rc = ERR_MEMORY;
    str_free(&all);
    return rc;
}

static int read_all(struct pq_file *f, struct table *t, struct str *left_out)
{
    struct arena_mark mark;
    size_t at = 0;
    t->path = arena_strdup(f->arena, f->map.path);
    if (!t->path)
        return ERR_MEMORY;
    f->path = t->path;
    TRY(pq_footer(f));
    TRY(take_block(f, t));
    mark = arena_mark(f->scratch);
    for (size_t i = 0; i < f->n_columns; i++) {
        struct pq_column *c = &f->columns[i];
        if (c->why)
            continue;
        int rc = read_column(f, c, t, at);
        if (rc == ERR_UNSUPPORTED && c->why) {
            err_clear();
            arena_rewind(f->scratch, mark);
            continue;
        }
        TRY(rc);
        at++;
    }
    narrow(t, at);
    TRY(map_check(&f->map));
    if (f->zero_bytes > 0)
        log_warn("%s: %" PRId64 " zero bytes inside text were read as U+FFFD", f->path, f->zero_bytes);
    return list_left_out(f, t->n_cols, left_out);
}

int parquet_read(struct table *out, struct str *left_out, const char *path)
{
    struct pq_file f;
    struct table t;
    size_t factor = (size_t)limit_get(LIMIT_PARQUET_RATIO);
    memset(&f, 0, sizeof(f));
    memset(&t, 0, sizeof(t));
    TRY(map_open(&f.map, path));
    if (!mul_ok(f.map.size, factor, &f.budget))
        f.budget = SIZE_MAX;
    if (f.budget < UNPACK_FLOOR)
        f.budget = UNPACK_FLOOR;
    int rc = arena_open(&t.arena, "parquet");
    if (rc == 0)
        rc = arena_open(&f.scratch, "parquet pages");
    f.arena = t.arena;
    if (rc == 0)
        rc = read_all(&f, &t, left_out);
    if (f.scratch)
        arena_close(&f.scratch);
    map_close(&f.map);
    if (rc < 0)
        table_free(&t);
    else
        *out = t;
    return rc;
}
