/* Factors out of a table: columns become factors, their words levels.
 *
 * Levels are numbered in the order of their first row, or by frequency where only the most frequent are kept (equal
 * counts: the earlier one first), so the result does not depend on hashing. The same word may be a level of two
 * factors: a level is known by its column. */
#include "words/words_private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The distinct words of one column, found by open addressing. */
struct lexicon {
    int64_t *slot; /* [n_slots] index + 1 of the word; 0: free */
    int64_t n_slots, n, cap;
    const char **word;
    int64_t *count;
};

struct columns {
    const struct table *t;
    const struct words_columns *o;
    int k, row_col, weight_col, col[WORDS_MAX_FACTORS];
    struct arena *arena;
    int64_t n, *row;
    int32_t *code;
    double *weight;
    struct words_factor factor[WORDS_MAX_FACTORS];
};

static int lexicon_grow(struct lexicon *x)
{
    int64_t cap = x->cap ? 2 * x->cap : 64, n_slots = 4 * cap;
    const char **word = mem_grow((void *)x->word, (size_t)x->cap * sizeof *word, (size_t)cap * sizeof *word);
    if (!word)
        return ERR_MEMORY;
    x->word = word;
    int64_t *count = mem_grow(x->count, (size_t)x->cap * sizeof *count, (size_t)cap * sizeof *count);
    if (!count)
        return ERR_MEMORY;
    x->count = count;
    int64_t *slot = mem_calloc((size_t)n_slots, sizeof *slot);
    if (!slot)
        return ERR_MEMORY;
    mem_free(x->slot);
    x->slot = slot;
    x->n_slots = n_slots;
    x->cap = cap;
    for (int64_t i = 0; i < x->n; i++) {
        int64_t at = (int64_t)(hash_bytes(x->word[i], strlen(x->word[i]), 0) % (uint64_t)n_slots);
        while (slot[at])
            at = at + 1 == n_slots ? 0 : at + 1;
        slot[at] = i + 1;
    }
    return 0;
}

static int lexicon_add(struct lexicon *x, const char *word, int64_t *index)
{
    if (x->n == x->cap)
        TRY(lexicon_grow(x));
    int64_t at = (int64_t)(hash_bytes(word, strlen(word), 0) % (uint64_t)x->n_slots);
    while (x->slot[at] && strcmp(x->word[x->slot[at] - 1], word) != 0)
        at = at + 1 == x->n_slots ? 0 : at + 1;
    if (!x->slot[at]) {
        x->word[x->n] = word;
        x->count[x->n] = 0;
        x->slot[at] = ++x->n;
    }
    *index = x->slot[at] - 1;
    return 0;
}

static int find_column(const struct table *t, const char *name, int *out)
{
    int found = table_col(t, name);
    if (found < 0) {
        const char *near = str_nearest(name, t->cols, t->n_cols);
        struct str all = {0};
        for (int i = 0; i < t->n_cols && i < 30; i++)
            str_add(&all, "%s%s", i ? ", " : "", t->cols[i]);
        err_set(ERR_DATA, "%s: no column \"%s\"%s%s%s; it has %s", t->path, name, near ? " (did you mean \"" : "",
                near ? near : "", near ? "\"?)" : "", all.s ? all.s : "no columns");
        str_free(&all);
        return ERR_DATA;
    }
    *out = found;
    return 0;
}

static int find_columns(struct columns *c)
{
    char *list = arena_strdup(c->arena, c->o->columns), *save = NULL;
    if (!list)
        return ERR_MEMORY;
    for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        if (c->k == WORDS_MAX_FACTORS)
            FAIL(ERR_USAGE, "more than %d columns are asked for as factors", WORDS_MAX_FACTORS);
        TRY(find_column(c->t, name, &c->col[c->k]));
        for (int f = 0; f < c->k; f++)
            if (c->col[f] == c->col[c->k])
                FAIL(ERR_USAGE, "column \"%s\" is asked for twice as a factor", name);
        c->factor[c->k++].name = name;
    }
    if (c->k == 0)
        FAIL(ERR_USAGE, "no columns are asked for; name the factors, e.g. colour,type");
    c->row_col = c->weight_col = -1;
    if (table_col(c->t, "row") >= 0)
        TRY(find_column(c->t, "row", &c->row_col));
    if (c->o->weight)
        TRY(find_column(c->t, c->o->weight, &c->weight_col));
    return 0;
}

static bool is_skipped(const struct words_columns *o, const char *word)
{
    for (int i = 0; i < o->skip.n; i++)
        if (!strcmp(o->skip.v[i], word))
            return true;
    return false;
}

/* 1: taken, 0: left out. */
static int take_row(const struct columns *c, int64_t i)
{
    const struct table *t = c->t;
    for (int f = 0; f < c->k; f++) {
        const char *word = table_cell(t, i, c->col[f]);
        if (!*word && !c->o->skip_empty)
            FAIL(ERR_DATA,
                 "%s, line %lld: column \"%s\" is empty, expected a level; leave such rows out with --skip-empty",
                 t->path, (long long)t->lines[i], t->cols[c->col[f]]);
        if (!*word || is_skipped(c->o, word))
            return 0;
    }
    return 1;
}

static int read_weight(const struct columns *c, int64_t i, double *out)
{
    const char *cell = table_cell(c->t, i, c->weight_col);
    char *end;
    errno = 0;
    *out = strtod(cell, &end);
    if (end == cell || *end || !isfinite(*out) || *out < 0)
        FAIL(ERR_DATA, "%s, line %lld: column \"%s\" is \"%.40s\", expected a number of at least 0", c->t->path,
             (long long)c->t->lines[i], c->t->cols[c->weight_col], cell);
    return 0;
}

/* Rows of the table that are not left out: which vector, which weight. at [n]: their lines. */
static int read_rows(struct columns *c, int64_t n_vectors, int64_t *at)
{
    const struct table *t = c->t;
    if (c->row_col < 0 && t->n_rows != n_vectors)
        FAIL(ERR_DATA,
             "%s has %lld lines and no column \"row\", but there are %lld vectors; add the column, counted from 0",
             t->path, (long long)t->n_rows, (long long)n_vectors);
    uint8_t *seen = mem_calloc((size_t)n_vectors + 1, 1);
    if (!seen)
        return ERR_MEMORY;
    int rc = 0;
    for (int64_t i = 0; i < t->n_rows; i++) {
        int64_t row = i;
        if (c->row_col >= 0)
            rc = table_int(t, i, c->row_col, 0, n_vectors - 1, &row);
        if (rc == 0 && seen[row])
            rc = err_set(ERR_DATA, "%s, line %lld: row %lld stands there already, expected each row once", t->path,
                         (long long)t->lines[i], (long long)row);
        if (rc == 0)
            rc = take_row(c, i);
        if (rc < 0)
            break;
        seen[row] = 1;
        if (rc == 1) {
            rc = c->weight_col >= 0 ? read_weight(c, i, &c->weight[c->n]) : 0;
            if (rc < 0)
                break;
            c->row[c->n] = row;
            at[c->n++] = i;
        }
        rc = 0;
    }
    mem_free(seen);
    return rc;
}

struct often {
    int64_t count;
    int32_t level;
};

static int more_often(const void *a, const void *b)
{
    const struct often *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return (x->level > y->level) - (x->level < y->level);
}

/* The levels of factor f: code of each kept row; -1 where the level is not among the most frequent. */
static int read_levels(struct columns *c, int f, const int64_t *at, struct lexicon *x)
{
    for (int64_t i = 0; i < c->n; i++) {
        int64_t level;
        TRY(lexicon_add(x, table_cell(c->t, at[i], c->col[f]), &level));
        if (x->n > limit_get(LIMIT_LEVELS))
            FAIL(ERR_DATA,
                 "%s: column \"%s\" has more than %lld levels (limit levels); is it a name rather than a factor?",
                 c->t->path, c->factor[f].name, (long long)limit_get(LIMIT_LEVELS));
        x->count[level]++;
        c->code[i * c->k + f] = (int32_t)level;
    }
    if (x->n == 1)
        FAIL(ERR_DATA, "%s: column \"%s\" has one level, \"%s\": there is nothing to compare; leave the column out",
             c->t->path, c->factor[f].name, x->word[0]);
    int64_t n = c->o->top > 0 && c->o->top < x->n ? c->o->top : x->n;
    const char **levels = arena_calloc(c->arena, (size_t)n + 1, sizeof *levels);
    int32_t *place = mem_alloc(((size_t)x->n + 1) * sizeof *place);
    struct often *often = mem_alloc(((size_t)x->n + 1) * sizeof *often);
    if (!levels || !place || !often) {
        mem_free(place);
        mem_free(often);
        return ERR_MEMORY;
    }
    for (int64_t i = 0; i < x->n; i++)
        place[i] = n == x->n ? (int32_t)i : -1;
    for (int64_t i = 0; i < x->n; i++)
        often[i] = (struct often){x->count[i], (int32_t)i};
    qsort(often, (size_t)x->n, sizeof *often, more_often);
    for (int64_t j = 0; n < x->n && j < n; j++)
        place[often[j].level] = (int32_t)j;
    mem_free(often);
    for (int64_t i = 0; i < x->n; i++)
        if (place[i] >= 0)
            levels[place[i]] = x->word[i];
    for (int64_t i = 0; i < c->n; i++)
        c->code[i * c->k + f] = place[c->code[i * c->k + f]];
    mem_free(place);
    c->factor[f].n = n;
    c->factor[f].levels = levels;
    return 0;
}

/* Rows with a level that is not kept go; then levels that only they had. */
static void drop_rows(struct columns *c)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->n; i++) {
        bool keep = true;
        for (int f = 0; f < c->k; f++)
            keep = keep && c->code[i * c->k + f] >= 0;
        if (!keep)
            continue;
        memmove(c->code + n * c->k, c->code + i * c->k, (size_t)c->k * sizeof *c->code);
        c->row[n] = c->row[i];
        c->weight[n++] = c->weight[i];
    }
    c->n = n;
}

static int drop_levels(struct columns *c)
{
    for (int f = 0; f < c->k; f++) {
        int32_t *place = mem_calloc((size_t)c->factor[f].n, sizeof *place), n = 0;
        const char **levels = arena_calloc(c->arena, (size_t)c->factor[f].n, sizeof *levels);
        if (!place || !levels) {
            mem_free(place);
            return ERR_MEMORY;
        }
        for (int64_t i = 0; i < c->n; i++)
            place[c->code[i * c->k + f]] = 1;
        for (int64_t j = 0; j < c->factor[f].n; j++)
            if (place[j]) {
                levels[n] = c->factor[f].levels[j];
                place[j] = n++;
            }
        for (int64_t i = 0; i < c->n; i++)
            c->code[i * c->k + f] = place[c->code[i * c->k + f]];
        c->factor[f].n = n;
        c->factor[f].levels = levels;
        mem_free(place);
    }
    return 0;
}

static int read_all(struct words_grid **g, struct columns *c, int64_t n_vectors)
{
    size_t n = (size_t)c->t->n_rows + 1;
    TRY(find_columns(c));
    int64_t *at = arena_calloc(c->arena, n, sizeof *at);
    c->row = arena_calloc(c->arena, n, sizeof *c->row);
    c->code = arena_calloc(c->arena, n * (size_t)c->k, sizeof *c->code);
    c->weight = arena_calloc(c->arena, n, sizeof *c->weight);
    if (!at || !c->row || !c->code || !c->weight)
        return ERR_MEMORY;
    TRY(read_rows(c, n_vectors, at));
    for (int f = 0; c->n > 0 && f < c->k; f++) {
        struct lexicon x = {0};
        int rc = read_levels(c, f, at, &x);
        mem_free((void *)x.word);
        mem_free(x.count);
        mem_free(x.slot);
        TRY(rc);
    }
    drop_rows(c);
    if (c->n == 0)
        FAIL(ERR_DATA, "%s: every row is left out, so there is nothing to fit", c->t->path);
    TRY(drop_levels(c));
    const struct words_rows rows = {.n_factors = c->k,
                                    .factor = c->factor,
                                    .n = c->n,
                                    .row = c->row,
                                    .code = c->code,
                                    .weight = c->weight_col >= 0 ? c->weight : NULL,
                                    .weighting = c->o->weighting};
    TRY(words_grid_build(g, &rows));
    (*g)->n_left_out = c->t->n_rows - c->n;
    return 0;
}

int words_grid_read(struct words_grid **g, const struct table *t, int64_t n_vectors, const struct words_columns *o)
{
    struct columns c = {.t = t, .o = o};
    TRY(arena_open(&c.arena, "words table"));
    int rc = read_all(g, &c, n_vectors);
    arena_close(&c.arena);
    return rc;
}
