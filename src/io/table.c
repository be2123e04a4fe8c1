/* io/table.c: CSV and TSV.
 *
 * RFC 4180 with what the world adds: tab or semicolon instead of comma (sniffed from the first row), LF or CRLF or CR,
 * a byte order mark, blank lines. A quote counts only at the start of a cell (so `5" pipe` is text). Everything is
 * UTF-8. The file is copied once into the table's arena and cut up in place: unquoting only ever shrinks, each
 * separator makes room for a NUL. Ragged rows and open quotes are errors with a line number, because guessing would
 * pair pictures with captions of other pictures. A caller who can do without a bad row is told of it instead
 * (table_opt); a quote that is never closed stays an error, for nobody knows where the next row begins.
 * Rejected: a streaming reader; the tables here are read whole and fit (LIMIT_ROWS, LIMIT_LINE_BYTES). */
#include "io/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLS 4096

struct cutter {
    char *p, *end;    /* text not yet read; one writable byte lies at end */
    int64_t line;     /* of *p, counted from 1 */
    int64_t row_line; /* where the row being read began */
    const char *row_start;
    const char *file;
    char sep;
    const char **cells; /* all cells so far */
    size_t n, cap;
    bool tolerant; /* a bad row is noted in why, not an error */
    const char *why;
};

static int add_cell(struct cutter *c, char *from, size_t len)
{
    if (!utf8_ok(from, len)) {
        if (!c->tolerant)
            FAIL(ERR_DATA, "%s: line %" PRId64 " is not UTF-8; convert the file (iconv -f latin1 -t utf-8)", c->file,
                 c->row_line);
        c->why = "is not UTF-8; convert the file (iconv -f latin1 -t utf-8)";
    }
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256, old = 0, now = 0;
        if (!mul_ok(c->cap, sizeof(*c->cells), &old) || !mul_ok(cap, sizeof(*c->cells), &now))
            FAIL(ERR_DATA, "%s: too many cells", c->file);
        void *grown = mem_grow(c->cells, old, now);
        if (!grown)
            return ERR_MEMORY;
        c->cells = grown;
        c->cap = cap;
    }
    c->cells[c->n++] = from;
    return 0;
}

static int check_line(const struct cutter *c)
{
    if (c->p - c->row_start > limit_get(LIMIT_LINE_BYTES))
        FAIL(ERR_DATA, "%s: line %" PRId64 " is longer than %lld bytes (limit %s); is a quote left open?", c->file,
             c->row_line, (long long)limit_get(LIMIT_LINE_BYTES), limit_name(LIMIT_LINE_BYTES));
    return 0;
}

/* A cell that began with a quote; *len is its unquoted length, c->p stands behind the closing quote. */
static int take_quoted(struct cutter *c, size_t *len)
{
    char *to = c->p;
    char *from = c->p;
    int64_t opened = c->line;
    for (c->p++;; c->p++) {
        if (c->p == c->end)
            FAIL(ERR_DATA, "%s: line %" PRId64 ": a quote is opened and never closed", c->file, opened);
        if (*c->p == '"' && (c->p[1] != '"' || c->p + 1 == c->end))
            break;
        if (*c->p == '"')
            c->p++;
        c->line += *c->p == '\n';
        TRY(check_line(c));
        *to++ = *c->p;
    }
    c->p++;
    *len = (size_t)(to - from);
    if (c->p < c->end && *c->p != c->sep && *c->p != '\n' && *c->p != '\r') {
        if (!c->tolerant)
            FAIL(ERR_DATA, "%s: line %" PRId64 ": text follows a closing quote (a quote inside quotes is written \"\")",
                 c->file, c->line);
        c->why = "has text behind a closing quote (a quote inside quotes is written \"\")";
        while (c->p < c->end && *c->p != c->sep && *c->p != '\n' && *c->p != '\r')
            c->p++;
    }
    return 0;
}

/* One cell; *last tells whether it ended its row. The byte behind the cell, already read, becomes its NUL. */
static int take_cell(struct cutter *c, bool *last)
{
    char *from = c->p;
    size_t len = 0;
    if (c->p < c->end && *c->p == '"') {
        TRY(take_quoted(c, &len));
    } else {
        while (c->p < c->end && *c->p != c->sep && *c->p != '\n' && *c->p != '\r')
            c->p++;
        len = (size_t)(c->p - from);
    }
    TRY(check_line(c));
    *last = c->p == c->end || *c->p != c->sep;
    if (c->p < c->end) {
        if (*c->p == '\r' && c->p + 1 < c->end && c->p[1] == '\n')
            c->p++;
        c->line += *last;
        c->p++;
    }
    from[len] = '\0';
    return add_cell(c, from, len);
}

static void skip_blank(struct cutter *c)
{
    while (c->p < c->end && (*c->p == '\n' || *c->p == '\r')) {
        c->line += *c->p == '\n' || c->p[1] != '\n';
        c->p++;
    }
}

/* One row's cells are appended; *n_cells is their number, 0 at the end of the file. */
static int take_row(struct cutter *c, size_t *n_cells)
{
    size_t before = c->n;
    bool last = false;
    skip_blank(c);
    c->row_line = c->line;
    c->row_start = c->p;
    *n_cells = 0;
    if (c->p == c->end)
        return 0;
    while (!last)
        TRY(take_cell(c, &last));
    *n_cells = c->n - before;
    return 0;
}

/* The separator that the first row holds most often outside quotes; the name decides when it holds none. */
static char sniff(const char *p, const char *end, const char *path)
{
    static const char candidates[] = {',', '\t', ';', '|'};
    size_t count[ARRAY_LEN(candidates)] = {0};
    bool quoted = false;
    while (p < end && (*p == '\n' || *p == '\r'))
        p++;
    for (; p < end && (quoted || (*p != '\n' && *p != '\r')); p++) {
        if (*p == '"')
            quoted = !quoted;
        for (size_t i = 0; i < ARRAY_LEN(candidates) && !quoted; i++)
            count[i] += *p == candidates[i];
    }
    size_t best = str_ends(path, ".tsv") || str_ends(path, ".TSV") ? 1 : 0;
    for (size_t i = 0; i < ARRAY_LEN(candidates); i++)
        if (count[i] > count[best])
            best = i;
    return candidates[best];
}

static int check_header(const char **cols, size_t n, const char *path)
{
    if (n == 0)
        FAIL(ERR_DATA, "%s: is empty; expected a first row that names the columns", path);
    if (n > MAX_COLS)
        FAIL(ERR_DATA, "%s: line 1 names %zu columns, expected at most %d", path, n, MAX_COLS);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i && cols[i][0]; k++)
            if (strcmp(cols[i], cols[k]) == 0)
                FAIL(ERR_DATA, "%s: line 1 names two columns \"%.80s\" (%zu and %zu)", path, cols[i], k + 1, i + 1);
    return 0;
}

const char *table_sep_name(char sep)
{
    static _Thread_local char one[4];
    if (sep == '\t')
        return "tab";
    if (sep == ',')
        return "comma";
    if (sep == ';')
        return "semicolon";
    snprintf(one, sizeof(one), "%c", sep);
    return sep == '|' ? "pipe" : one;
}

static int note_line(struct table *t, struct cutter *c, int64_t *cap)
{
    if (t->n_rows == *cap) {
        int64_t more = *cap ? *cap * 2 : 256;
        int64_t *grown = mem_grow(t->lines, (size_t)*cap * sizeof(*grown), (size_t)more * sizeof(*grown));
        if (!grown)
            return ERR_MEMORY;
        t->lines = grown;
        *cap = more;
    }
    t->lines[t->n_rows++] = c->row_line;
    return 0;
}

/* Returns 0 when the row just read (n cells) may stay; > 0 when it was reported and taken back. */
static int judge_row(struct table *t, struct cutter *c, size_t n, const struct table_opt *opt)
{
    char why[160];
    size_t want = (size_t)t->n_cols;
    if (n == want && !c->why)
        return 0;
    if (c->why)
        snprintf(why, sizeof(why), "%s", c->why);
    else
        snprintf(why, sizeof(why), "has %zu cells, expected %zu as in the first row (separator %s)", n, want,
                 table_sep_name(c->sep));
    if (!opt->bad)
        FAIL(ERR_DATA, "%s: line %" PRId64 " %s", t->path, c->row_line, why);
    c->n -= n;
    c->why = NULL;
    TRY(opt->bad(opt->ctx, c->row_line, why));
    return 1;
}

/* A file without a header: the first row, already read, becomes data behind a header of numbers. */
static int number_columns(struct table *t, struct cutter *c, size_t n_cols, int64_t *cap)
{
    for (size_t i = 0; i < n_cols; i++) {
        char name[24];
        TRY(add_cell(c, (char *)(uintptr_t)c->cells[i], strlen(c->cells[i])));
        snprintf(name, sizeof(name), "%zu", i + 1);
        c->cells[i] = arena_strdup(t->arena, name);
        if (!c->cells[i])
            return ERR_MEMORY;
    }
    return note_line(t, c, cap);
}

static bool holds(const char *const *cells, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(cells[i], name))
            return true;
    return false;
}

static int read_rows(struct table *t, struct cutter *c, const struct table_opt *opt)
{
    size_t n = 0, n_cols = 0;
    int64_t cap = 0, n_read = 0;
    TRY(take_row(c, &n_cols));
    if (opt->numbered && n_cols > 0 && n_cols <= MAX_COLS && !holds(c->cells, n_cols, opt->numbered))
        TRY(number_columns(t, c, n_cols, &cap));
    TRY(check_header(c->cells, n_cols, t->path));
    t->n_cols = (int)n_cols;
    c->tolerant = opt->bad != NULL;
    for (;;) {
        TRY(take_row(c, &n));
        if (n == 0)
            break;
        if (++n_read > limit_get(LIMIT_ROWS))
            FAIL(ERR_DATA, "%s: more than %lld rows (limit %s)", t->path, (long long)limit_get(LIMIT_ROWS),
                 limit_name(LIMIT_ROWS));
        int rc = judge_row(t, c, n, opt);
        TRY(rc);
        if (rc == 0)
            TRY(note_line(t, c, &cap));
    }
    return 0;
}

static int check_bytes(const uint8_t *p, size_t n, const char *path)
{
    if (n >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
        FAIL(ERR_DATA, "%s: is UTF-16; convert it (iconv -f utf-16 -t utf-8)", path);
    const uint8_t *nul = n ? memchr(p, 0, n) : NULL;
    if (!nul)
        return 0;
    int64_t line = 1;
    for (const uint8_t *q = p; q < nul; q++)
        line += *q == '\n';
    FAIL(ERR_DATA, "%s: line %" PRId64 " holds a zero byte; this is no text table", path, line);
}

static int read_into(struct table *t, struct cutter *c, const struct map *m, const struct table_opt *opt)
{
    TRY(check_bytes(m->data, m->size, m->path));
    TRY(arena_open(&t->arena, "table"));
    size_t skip = m->size >= 3 && memcmp(m->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, n = m->size - skip;
    t->path = arena_strdup(t->arena, m->path);
    char *text = t->path ? arena_alloc(t->arena, n + 1) : NULL;
    if (!text)
        return ERR_MEMORY;
    memcpy(text, m->data + skip, n);
    text[n] = '\0';
    TRY(map_check(m));
    t->sep = opt->sep ? opt->sep : sniff(text, text + n, t->path);
    *c = (struct cutter){.p = text, .end = text + n, .line = 1, .file = t->path, .sep = t->sep};
    int rc = read_rows(t, c, opt);
    t->cols = c->cells; /* one block: the first row's cells, then the others; table_free gives it back */
    t->cells = c->cells ? c->cells + t->n_cols : NULL;
    return rc;
}

int table_read(struct table *out, const char *path)
{
    static const struct table_opt plain;
    return table_read_with(out, path, &plain);
}

int table_read_with(struct table *out, const char *path, const struct table_opt *opt)
{
    struct map m;
    struct table t;
    struct cutter c = {0};
    memset(&t, 0, sizeof(t));
    TRY(map_open(&m, path));
    int rc = read_into(&t, &c, &m, opt);
    map_close(&m);
    if (rc < 0)
        table_free(&t);
    else
        *out = t;
    return rc;
}

void table_free(struct table *t)
{
    mem_free((void *)(uintptr_t)t->cols);
    mem_free(t->lines);
    if (t->arena)
        arena_close(&t->arena);
    memset(t, 0, sizeof(*t));
}

int table_col(const struct table *t, const char *name)
{
    for (int i = 0; i < t->n_cols; i++)
        if (strcmp(t->cols[i], name) == 0)
            return i;
    return -1;
}

const char *table_cell(const struct table *t, int64_t row, int col)
{
    BUG_ON(row < 0 || row >= t->n_rows || col < 0 || col >= t->n_cols);
    return t->cells[row * t->n_cols + col];
}

int table_int(const struct table *t, int64_t row, int col, int64_t min, int64_t max, int64_t *out)
{
    char shown[80];
    const char *s = table_cell(t, row, col);
    char *end = NULL;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    bool whole = end != s && *end == '\0' && errno == 0 && ((s[0] >= '0' && s[0] <= '9') || s[0] == '-');
    if (whole && v >= min && v <= max) {
        *out = v;
        return 0;
    }
    str_safe(shown, sizeof(shown), s);
    FAIL(ERR_DATA,
         "%s: row %" PRId64 ", column \"%s\": expected a whole number from %" PRId64 " to %" PRId64 ", found \"%s\"",
         t->path, row + 1, t->cols[col], min, max, shown);
}

/* ---- writing ---- */

struct table_writer {
    struct atomic_file *f;
    struct str row;
    int n_cols;
    char sep;
};

int table_writer_row(struct table_writer *w, const char *const *cells)
{
    struct str *b = &w->row;
    str_clear(b);
    for (int i = 0; i < w->n_cols; i++) {
        if (i > 0)
            str_add_c(b, w->sep);
        const char *cell = cells[i] ? cells[i] : "";
        if (w->n_cols == 1 && !*cell)
            str_add_n(b, "\"\"", 2); /* an empty line would be skipped on reading */
        else
            str_add_csv(b, cell, w->sep);
    }
    str_add_c(b, '\n');
    if (b->failed)
        FAIL(ERR_MEMORY, "no memory for a table row");
    return atomic_write(w->f, b->s, b->n);
}

static void writer_free(struct table_writer **w)
{
    str_free(&(*w)->row);
    mem_free(*w);
    *w = NULL;
}

void table_writer_abort(struct table_writer **w)
{
    if (!*w)
        return;
    atomic_abort(&(*w)->f);
    writer_free(w);
}

int table_writer_commit(struct table_writer **w)
{
    int rc = atomic_commit(&(*w)->f);
    writer_free(w);
    return rc;
}

int table_writer_open(struct table_writer **out, const char *path, int n_cols, const char *const *cols)
{
    struct table_writer *w = mem_calloc(1, sizeof(*w));
    BUG_ON(n_cols < 1);
    if (!w)
        return ERR_MEMORY;
    w->n_cols = n_cols;
    w->sep = str_ends(path, ".tsv") ? '\t' : ',';
    int rc = atomic_open(&w->f, path);
    if (rc < 0) {
        writer_free(&w);
        return rc;
    }
    rc = table_writer_row(w, cols);
    if (rc < 0)
        table_writer_abort(&w);
    else
        *out = w;
    return rc;
}

int table_write(const char *path, int n_cols, const char *const *cols, int64_t n_rows, const char *const *cells)
{
    struct table_writer *w;
    BUG_ON(n_rows < 0);
    TRY(table_writer_open(&w, path, n_cols, cols));
    for (int64_t i = 0; i < n_rows; i++) {
        int rc = table_writer_row(w, cells + i * n_cols);
        if (rc < 0) {
            table_writer_abort(&w);
            return rc;
        }
    }
    return table_writer_commit(&w);
}
