/* space/set_split.c: which pairs train and which judge. By lists of picture rows, by a column of the pictures' table,
 * or a share drawn at random. The share is drawn over connected groups: pairs that share a picture or a text stay on
 * one side, or what is fitted would be judged on vectors it has seen. */
#include "space/space.h"

#include <inttypes.h>
#include <string.h>

void set_split_free(struct set_split *p)
{
    mem_free(p->train);
    mem_free(p->validation);
    memset(p, 0, sizeof *p);
}

/* ---- groups ---- */

/* where [n_pairs]: 1 for pairs that judge. Whole groups are taken in a random order until the share is reached. */
static int draw_share(uint8_t *where, const struct set *s, double share, uint64_t seed)
{
    int64_t n = s->image.n + s->text.n, wanted = (int64_t)(share * (double)s->n_pairs + 0.5), taken = 0;
    if (wanted == 0)
        return 0;
    int64_t *parent = mem_calloc((size_t)n, 4 * sizeof *parent);
    if (!parent)
        return ERR_MEMORY;
    int64_t *size = parent + n, *order = size + n, *chosen = order + n, groups = 0;
    join_open(parent, n);
    for (int64_t k = 0; k < s->n_pairs; k++)
        join_rows(parent, s->pairs[k].image, s->image.n + s->pairs[k].text);
    for (int64_t k = 0; k < s->n_pairs; k++)
        size[join_root(parent, s->pairs[k].image)]++;
    for (int64_t i = 0; i < n; i++)
        if (size[i])
            order[groups++] = i;
    struct rng r = rng_stream(seed, RNG_SHUFFLE, 0, UINT64_MAX);
    rng_shuffle(&r, order, groups);
    for (int64_t g = 0; g < groups && taken < wanted; g++)
        if (taken + size[order[g]] <= wanted + size[order[g]] / 2) {
            chosen[order[g]] = 1;
            taken += size[order[g]];
        }
    for (int64_t k = 0; k < s->n_pairs; k++)
        where[k] = chosen[join_root(parent, s->pairs[k].image)] ? 1 : 0;
    mem_free(parent);
    return 0;
}

/* ---- lists and columns ---- */

static int mark_column(uint8_t *marks, const struct set *s, const char *name)
{
    int col = s->image.has_meta ? table_col(&s->image.meta, name) : -1;
    if (col < 0)
        FAIL(ERR_USAGE, "option --split-column: the pictures of set \"%s\" have no column \"%s\"", s->path, name);
    for (int64_t i = 0; i < s->image.n; i++)
        marks[i] = (uint8_t)set_part_of(table_cell(&s->image.meta, i, col));
    return 0;
}

/* where: 0 trains, 1 judges, 2 is left out */
static int choose(uint8_t *where, const struct set *s, const struct set_split_opt *o)
{
    if (o->validation_rows && !o->train_rows)
        FAIL(ERR_USAGE, "option --validation-rows needs --train-rows, or nothing would be trained on");
    if (o->column && o->train_rows)
        FAIL(ERR_USAGE, "--split-column and --train-rows both say which pairs train: give one of them");
    if (!o->train_rows && !o->column)
        return draw_share(where, s, o->share, o->seed);
    uint8_t *marks = mem_calloc((size_t)s->image.n + 1, 1);
    if (!marks)
        return ERR_MEMORY;
    int rc =
        o->train_rows ? set_mark_rows(o->train_rows, PART_TRAIN, s->image.n, marks) : mark_column(marks, s, o->column);
    if (rc == 0 && o->train_rows && o->validation_rows)
        rc = set_mark_rows(o->validation_rows, PART_VALIDATION, s->image.n, marks);
    for (int64_t k = 0; k < s->n_pairs && rc == 0; k++) {
        uint8_t mark = marks[s->pairs[k].image];
        where[k] = mark == PART_TRAIN ? 0 : mark == PART_VALIDATION ? 1 : 2;
    }
    mem_free(marks);
    return rc;
}

int set_split_make(struct set_split *p, const struct set *s, const struct set_split_opt *o)
{
    memset(p, 0, sizeof *p);
    if (s->n_pairs == 0)
        FAIL(ERR_DATA, "set \"%s\" has no pairs: what is fitted learns from a picture and a text that belong together",
             s->path);
    uint8_t *where = mem_calloc((size_t)s->n_pairs, 1);
    p->train = mem_calloc((size_t)s->n_pairs, sizeof *p->train);
    p->validation = mem_calloc((size_t)s->n_pairs, sizeof *p->validation);
    int rc = where && p->train && p->validation ? choose(where, s, o) : ERR_MEMORY;
    for (int64_t k = 0; k < s->n_pairs && rc == 0; k++) {
        if (where[k] == 0)
            p->train[p->n_train++] = s->pairs[k];
        else if (where[k] == 1)
            p->validation[p->n_validation++] = s->pairs[k];
    }
    mem_free(where);
    if (rc == 0 && p->n_train == 0)
        rc =
            err_set(ERR_USAGE, "no pair of set \"%s\" is left to train on (%" PRId64 " pairs, %" PRId64 " to judge by)",
                    s->path, s->n_pairs, p->n_validation);
    if (rc < 0)
        set_split_free(p);
    return rc;
}
