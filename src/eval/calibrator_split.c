/* Which rows a calibration may be fitted on, which set the thresholds, which judge it.
 *
 * The parts must not share what they are about: rows whose vectors are (nearly) equal are one thing twice, and a pair's
 * two rows are one thing. So rows are joined into groups (union and find) and whole groups go to one part, by a random
 * number that belongs to the group's first row: adding rows elsewhere moves nobody. Where captions are shared by many
 * pictures ("face"), everything hangs together; when more than half of the pictures would be one group, a caption goes
 * with the first of its pictures alone, and `grouping` says so. Rejected: splitting queries at random, which lets a
 * duplicate of a held-out pair into the fit (33 of 1,000 rows in one of the fashion sets). */
#include "eval/eval_private.h"

#include <string.h>

enum { BLOCK = 512 };

/* twin [n]: the first row of each row's class. */
static int find_twins(const struct rows *r, double same, int64_t *twin)
{
    struct scorer s = {0};
    int64_t block = r->n < BLOCK ? r->n : BLOCK, n_blocks = (r->n + BLOCK - 1) / BLOCK;
    double *scores = mem_calloc((size_t)(block * block) + 1, sizeof *scores);
    int rc = scores ? scorer_open(&s, r->n <= EXACT_ROWS, r->d, block, block) : ERR_MEMORY;
    struct progress *bar = NULL;
    if (rc == 0 && r->n > 20000)
        progress_open(&bar, "rows that are equal", n_blocks, "blocks");
    join_open(twin, r->n);
    for (int64_t i0 = 0; rc == 0 && i0 < r->n; i0 += BLOCK) {
        int64_t ni = r->n - i0 < BLOCK ? r->n - i0 : BLOCK;
        scorer_left(&s, r, NULL, i0, ni);
        for (int64_t j0 = i0; rc == 0 && j0 < r->n; j0 += BLOCK) {
            int64_t nj = r->n - j0 < BLOCK ? r->n - j0 : BLOCK;
            rc = signal_check();
            scorer_block(&s, ni, r, j0, nj, scores, nj);
            for (int64_t i = 0; i < ni; i++)
                for (int64_t j = j0 == i0 ? i + 1 : 0; j < nj; j++)
                    if (scores[i * nj + j] > same)
                        join_rows(twin, i0 + i, j0 + j);
        }
        if (bar)
            progress_add(bar, 1);
    }
    for (int64_t i = 0; i < r->n; i++)
        twin[i] = join_root(twin, i);
    if (bar)
        progress_close(&bar);
    scorer_close(&s);
    mem_free(scores);
    return rc;
}

/* parent [n_images + n_texts]: groups of rows; with `first` a caption goes with the first of its pictures alone. */
static void group_rows(const struct set *s, const struct match_split *p, bool first, int64_t *parent)
{
    int64_t n = s->image.n;
    join_open(parent, n + s->text.n);
    for (int64_t i = 0; i < n; i++)
        join_rows(parent, i, p->twin[0][i]);
    for (int64_t i = 0; !first && i < s->text.n; i++)
        join_rows(parent, n + i, n + p->twin[1][i]);
    for (int64_t i = 0; i < s->n_pairs; i++) /* a caption that has been joined is no longer its own root */
        if (!first || parent[n + s->pairs[i].text] == n + s->pairs[i].text)
            join_rows(parent, s->pairs[i].image, n + s->pairs[i].text);
}

static int count_groups(const struct set *s, struct match_split *p, int64_t *parent)
{
    int64_t *size = mem_calloc((size_t)s->image.n + (size_t)s->text.n + 1, sizeof *size);
    if (!size)
        return ERR_MEMORY;
    p->n_groups = p->largest = 0;
    for (int64_t i = 0; i < s->image.n; i++) {
        int64_t k = ++size[join_root(parent, i)];
        p->n_groups += k == 1;
        p->largest = k > p->largest ? k : p->largest;
    }
    mem_free(size);
    return 0;
}

/* A group's place in [0,1) and the same for the second cut. */
static void deal(struct match_split *p, const struct set *s, const struct match_split_opt *opt, int64_t *parent)
{
    int64_t n = s->image.n;
    for (int64_t i = 0; i < n + s->text.n; i++) {
        int64_t root = join_root(parent, i);
        struct rng r = rng_stream(opt->seed, RNG_SHUFFLE, 0, (uint64_t)root);
        double place = rng_uniform(&r), second = rng_uniform(&r);
        uint8_t role = place < opt->validation ? ROLE_FIT : ROLE_TEST;
        if (opt->given)
            role = root < n ? opt->given[root] : ROLE_NONE;
        if (role == ROLE_FIT && second < opt->risk)
            role = ROLE_RISK;
        *(i < n ? &p->role[0][i] : &p->role[1][i - n]) = role;
    }
}

/* Given rows: a group has the role of its first row; a later row that was given another is left out of the judging. */
static void drop_torn(struct match_split *p, const struct set *s, const uint8_t *given, int64_t *parent)
{
    int64_t torn = 0;
    for (int64_t i = 0; i < s->image.n; i++) {
        int64_t root = join_root(parent, i);
        if (given[i] != given[root]) {
            p->role[0][i] = ROLE_NONE;
            torn++;
        }
    }
    for (int64_t i = 0; i < s->n_pairs; i++)
        if (p->role[0][s->pairs[i].image] == ROLE_NONE &&
            join_root(parent, s->image.n + s->pairs[i].text) == join_root(parent, s->pairs[i].image))
            p->role[1][s->pairs[i].text] = ROLE_NONE;
    if (torn)
        log_warn("%lld rows are joined by a pair or by equal vectors with rows of the other part: left out",
                 (long long)torn);
}

void match_split_close(struct match_split *p)
{
    for (int k = 0; k < 2; k++) {
        mem_free(p->role[k]);
        mem_free(p->twin[k]);
    }
    *p = (struct match_split){0};
}

int match_split_open(const struct set *s, const struct match_split_opt *opt, struct match_split *out)
{
    struct match_split p = {.grouping = "rows joined by a pair or by equal vectors stay together"};
    const struct set_side *side[2] = {&s->image, &s->text};
    struct rows rows = {0};
    int64_t *parent = mem_calloc((size_t)s->image.n + (size_t)s->text.n + 1, sizeof *parent);
    int rc = parent ? 0 : ERR_MEMORY;
    for (int k = 0; rc == 0 && k < 2; k++) {
        p.role[k] = mem_calloc((size_t)side[k]->n + 1, 1);
        p.twin[k] = mem_calloc((size_t)side[k]->n + 1, sizeof *p.twin[k]);
        rc = p.role[k] && p.twin[k] ? rows_open(&rows, side[k]->x, side[k]->n, s->width, k ? "text" : "image")
                                    : ERR_MEMORY;
        if (rc == 0)
            rc = find_twins(&rows, opt->same, p.twin[k]);
        rows_close(&rows);
    }
    if (rc < 0)
        goto out;
    group_rows(s, &p, false, parent);
    rc = count_groups(s, &p, parent);
    if (rc == 0 && p.largest * 2 > s->image.n && s->image.n > 2) {
        p.grouping = "a caption goes with the first of its pictures (shared captions join most of the set)";
        group_rows(s, &p, true, parent);
        rc = count_groups(s, &p, parent);
    }
    if (rc == 0) {
        deal(&p, s, opt, parent);
        if (opt->given)
            drop_torn(&p, s, opt->given, parent);
    }
out:
    mem_free(parent);
    if (rc < 0) {
        match_split_close(&p);
        return rc;
    }
    *out = p;
    return 0;
}
