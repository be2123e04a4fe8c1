/* Cells of a factorial set: which rows share all their levels, what each cell weighs, and whether the cells there are
 * say enough.
 *
 * Rows are sorted by their levels, factor after factor, by counting: linear in the rows, stable, so the order inside a
 * cell is that of the table. Replicates are averaged within their cell before anything is fitted, or frequent cells
 * would speak for all.
 *
 * Identifiability: over the cells of weight > 0 the design of one-hot levels must have rank 1 + sum (n_i - 1). For one
 * and two factors that is a question of connected levels (rank = levels - components for two); for three and more,
 * connection is necessary and not enough (000, 011, 101 of 2x2x2 are connected and have rank 3 of 4), so the rank is
 * that of D^T D by a Cholesky factorisation with pivots. A level without weight is no part of the question. */
#include "words/words_private.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MAX_DENSE = 4096 }; /* levels in a dense matrix: 128 MB each */

static int check_rows(const struct words_rows *r)
{
    if (r->n_factors < 1 || r->n_factors > WORDS_MAX_FACTORS)
        FAIL(ERR_DATA, "ideal words: %d factors, expected 1 to %d", r->n_factors, WORDS_MAX_FACTORS);
    for (int f = 0; f < r->n_factors; f++)
        if (r->factor[f].n < 1 || r->factor[f].n > limit_get(LIMIT_LEVELS))
            FAIL(ERR_DATA, "factor \"%s\" has %lld levels, expected 1 to %lld (limit levels)", r->factor[f].name,
                 (long long)r->factor[f].n, (long long)limit_get(LIMIT_LEVELS));
    for (int64_t i = 0; i < r->n; i++) {
        for (int f = 0; f < r->n_factors; f++)
            if (r->code[i * r->n_factors + f] < 0 || r->code[i * r->n_factors + f] >= r->factor[f].n)
                FAIL(ERR_DATA, "ideal words: row %lld has level %d of factor \"%s\", which has %lld", (long long)i,
                     (int)r->code[i * r->n_factors + f], r->factor[f].name, (long long)r->factor[f].n);
        if (r->weight && !(r->weight[i] >= 0 && r->weight[i] <= DBL_MAX))
            FAIL(ERR_DATA, "ideal words: row %lld has weight %g, expected a number of at least 0", (long long)i,
                 r->weight[i]);
    }
    return 0;
}

static int copy_factors(struct words_grid *g, const struct words_rows *r)
{
    g->n_factors = r->n_factors;
    g->possible = 1;
    g->rank_full = 1;
    for (int f = 0; f < r->n_factors; f++) {
        const struct words_factor *from = &r->factor[f];
        const char **levels = arena_calloc(g->arena, (size_t)from->n, sizeof *levels);
        const char *name = arena_strdup(g->arena, from->name);
        if (!levels || !name)
            return ERR_MEMORY;
        for (int64_t j = 0; j < from->n; j++)
            if (!(levels[j] = arena_strdup(g->arena, from->levels[j])))
                return ERR_MEMORY;
        g->factor[f] = (struct words_factor){name, from->n, levels};
        g->first[f + 1] = g->first[f] + from->n;
        g->possible *= (double)from->n;
        g->rank_full += from->n - 1;
    }
    g->n_levels = g->first[g->n_factors];
    return 0;
}

/* order [n]: rows by levels, then by place. spare [n], count [n of the largest factor + 1]. */
static void sort_rows(const struct words_rows *r, int64_t *order, int64_t *spare, int64_t *count)
{
    int64_t *from = order, *to = spare;
    for (int64_t i = 0; i < r->n; i++)
        from[i] = i;
    for (int f = r->n_factors - 1; f >= 0; f--) {
        memset(count, 0, ((size_t)r->factor[f].n + 1) * sizeof *count);
        for (int64_t i = 0; i < r->n; i++)
            count[r->code[i * r->n_factors + f] + 1]++;
        for (int64_t j = 0; j < r->factor[f].n; j++)
            count[j + 1] += count[j];
        for (int64_t i = 0; i < r->n; i++)
            to[count[r->code[from[i] * r->n_factors + f]]++] = from[i];
        int64_t *t = from;
        from = to;
        to = t;
    }
    if (from != order)
        memcpy(order, from, (size_t)r->n * sizeof *order);
}

static int find_cells(struct words_grid *g, const struct words_rows *r)
{
    int k = r->n_factors, rc = 0;
    int64_t widest = 0;
    for (int f = 0; f < k; f++)
        widest = r->factor[f].n > widest ? r->factor[f].n : widest;
    int64_t *order = mem_calloc((size_t)r->n + 1, sizeof *order), *spare = mem_calloc((size_t)r->n + 1, sizeof *spare);
    int64_t *count = mem_calloc((size_t)widest + 1, sizeof *count);
    if (!order || !spare || !count) {
        rc = ERR_MEMORY;
        goto out;
    }
    sort_rows(r, order, spare, count);
    for (int64_t i = 0; i < r->n; i++)
        g->n_cells += i == 0 || memcmp(r->code + order[i] * k, r->code + order[i - 1] * k, (size_t)k * sizeof *r->code);
    g->n_rows = r->n;
    g->row = arena_calloc(g->arena, (size_t)r->n, sizeof *g->row);
    g->share = arena_calloc(g->arena, (size_t)r->n, sizeof *g->share);
    g->start = arena_calloc(g->arena, (size_t)g->n_cells + 1, sizeof *g->start);
    g->code = arena_calloc(g->arena, (size_t)g->n_cells * (size_t)k, sizeof *g->code);
    g->weight = arena_calloc(g->arena, (size_t)g->n_cells, sizeof *g->weight);
    g->alpha = arena_calloc(g->arena, (size_t)g->n_levels, sizeof *g->alpha);
    if (!g->row || !g->share || !g->start || !g->code || !g->weight || !g->alpha) {
        rc = ERR_MEMORY;
        goto out;
    }
    int64_t c = -1;
    for (int64_t i = 0; i < r->n; i++) {
        const int32_t *code = r->code + order[i] * k;
        if (i == 0 || memcmp(code, r->code + order[i - 1] * k, (size_t)k * sizeof *code)) {
            g->start[++c] = i;
            memcpy(g->code + c * k, code, (size_t)k * sizeof *code);
        }
        g->row[i] = r->row ? r->row[order[i]] : order[i];
        g->share[i] = r->weight ? r->weight[order[i]] : 1;
    }
    g->start[g->n_cells] = r->n;
    g->complete = (double)g->n_cells == g->possible;
out:
    mem_free(order);
    mem_free(spare);
    mem_free(count);
    return rc;
}

/* alpha as given, or equal over the levels that have weight; one factor sums to 1. */
static int set_alpha(struct words_grid *g, const double *alpha)
{
    for (int f = 0; f < g->n_factors; f++) {
        double sum = 0, *a = g->alpha + g->first[f];
        for (int64_t j = 0; j < g->factor[f].n; j++) {
            a[j] = alpha ? alpha[g->first[f] + j] : a[j] > 0;
            if (!(a[j] >= 0))
                FAIL(ERR_DATA, "factor \"%s\": level \"%s\" has weight %g, expected at least 0", g->factor[f].name,
                     g->factor[f].levels[j], a[j]);
            sum += a[j];
        }
        if (!(sum > 0) || (alpha && !(fabs(sum - 1) <= 1e-6)))
            FAIL(ERR_DATA, "factor \"%s\": the weights of its levels sum to %g, expected 1", g->factor[f].name, sum);
        for (int64_t j = 0; j < g->factor[f].n; j++)
            a[j] /= sum;
    }
    return 0;
}

static int weigh(struct words_grid *g, const struct words_rows *r)
{
    int k = g->n_factors;
    bool equal = true;
    if (r->alpha)
        TRY(set_alpha(g, r->alpha));
    for (int64_t c = 0; c < g->n_cells; c++) {
        double sum = 0, w = 1;
        int64_t n = g->start[c + 1] - g->start[c];
        for (int64_t i = g->start[c]; i < g->start[c + 1]; i++)
            sum += g->share[i];
        for (int64_t i = g->start[c]; i < g->start[c + 1]; i++)
            g->share[i] = sum > 0 ? g->share[i] / sum : 1 / (double)n;
        if (r->alpha) {
            for (int f = 0; f < k; f++)
                w *= g->alpha[g->first[f] + g->code[c * k + f]];
        } else {
            w = r->weighting == WORDS_COUNT ? sum : r->weighting == WORDS_SHRUNK ? sum / (sum + 2) : sum > 0;
        }
        g->weight[c] = w;
        g->n_used += w > 0;
        equal = equal && w == g->weight[0];
        for (int f = 0; !r->alpha && w > 0 && f < k; f++)
            g->alpha[g->first[f] + g->code[c * k + f]] = 1;
    }
    if (g->n_used == 0)
        FAIL(ERR_DATA, "ideal words: no cell has a weight above 0, so there is nothing to fit");
    if (!r->alpha)
        TRY(set_alpha(g, NULL));
    g->product = r->alpha != NULL || equal;
    return 0;
}

/* Rank of D^T D over the used cells by Cholesky with pivots; n levels that have weight. */
static int dense_rank(struct words_grid *g)
{
    int64_t p = g->n_levels, rank = 0;
    int k = g->n_factors;
    if (p > MAX_DENSE)
        FAIL(ERR_UNSUPPORTED, "%lld levels over a grid with holes, expected at most %d; keep the most frequent levels",
             (long long)p, MAX_DENSE);
    double *a = mem_calloc((size_t)p * (size_t)p, sizeof *a), tolerance = 0;
    if (!a)
        return ERR_MEMORY;
    for (int64_t c = 0; c < g->n_cells; c++)
        for (int f = 0; g->weight[c] > 0 && f < k; f++)
            for (int e = 0; e < k; e++)
                a[(g->first[f] + g->code[c * k + f]) * p + g->first[e] + g->code[c * k + e]] += 1;
    for (int64_t i = 0; i < p; i++)
        tolerance = a[i * p + i] > tolerance ? a[i * p + i] : tolerance;
    tolerance *= (double)p * 1e-13;
    for (; rank < p; rank++) { /* the whole row of the largest diagonal entry is taken off the rest */
        int64_t best = 0;
        for (int64_t i = 1; i < p; i++)
            best = a[i * p + i] > a[best * p + best] ? i : best;
        double pivot = a[best * p + best], *row = a + best * p;
        if (pivot <= tolerance)
            break;
        for (int64_t i = 0; i < p; i++) {
            double by = i == best ? 0 : a[i * p + best] / pivot;
            for (int64_t j = 0; by != 0 && j < p; j++)
                a[i * p + j] -= by * row[j];
        }
        for (int64_t j = 0; j < p; j++)
            row[j] = a[j * p + best] = 0;
    }
    g->rank = rank;
    mem_free(a);
    return 0;
}

static int identify(struct words_grid *g)
{
    int k = g->n_factors;
    int64_t used = 0;
    int64_t *parent = mem_calloc((size_t)g->n_levels, sizeof *parent);
    if (!parent)
        return ERR_MEMORY;
    join_open(parent, g->n_levels);
    for (int64_t c = 0; c < g->n_cells; c++)
        for (int f = 1; g->weight[c] > 0 && f < k; f++)
            join_rows(parent, g->code[c * k], g->first[f] + g->code[c * k + f]);
    for (int64_t l = 0; l < g->n_levels; l++) {
        used += g->alpha[l] > 0;
        g->components += g->alpha[l] > 0 && join_root(parent, l) == l;
    }
    mem_free(parent);
    g->rank_full = used - k + 1;
    if (k == 1 || words_closed(g)) {
        g->components = 1;
        g->rank = g->rank_full;
        return 0;
    }
    g->rank = used - g->components;
    return k > 2 ? dense_rank(g) : 0;
}

int words_grid_build(struct words_grid **out, const struct words_rows *r)
{
    struct words_grid *g = mem_calloc(1, sizeof *g);
    if (!g)
        return ERR_MEMORY;
    int rc = arena_open(&g->arena, "words grid");
    if (rc == 0)
        rc = check_rows(r);
    if (rc == 0 && r->n < 1)
        rc = err_set(ERR_DATA, "ideal words: no rows are left, so there is nothing to fit");
    if (rc == 0)
        rc = copy_factors(g, r);
    if (rc == 0)
        rc = find_cells(g, r);
    if (rc == 0)
        rc = weigh(g, r);
    if (rc == 0)
        rc = identify(g);
    if (rc < 0) {
        words_grid_free(&g);
        return rc;
    }
    *out = g;
    return 0;
}

void words_grid_free(struct words_grid **g)
{
    if (!g || !*g)
        return;
    arena_close(&(*g)->arena);
    mem_free(*g);
    *g = NULL;
}

void words_cell_name(const struct words_grid *g, int64_t cell, struct str *out)
{
    for (int f = 0; f < g->n_factors; f++)
        str_add(out, "%s%s", f ? ", " : "", g->factor[f].levels[g->code[cell * g->n_factors + f]]);
}
