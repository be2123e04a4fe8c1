/* What a grid of this shape "explains" of vectors that have nothing to do with their cells.
 *
 * The vectors are dealt anew over the used cells and R2 is taken from the level sums: the equations are the same, so a
 * permutation costs one pass of additions (and, with holes, two triangular solves), never a fit from scratch. With
 * equal weights the mean over all permutations is known: trace of the fit's projection, (rank - 1) / (N - 1), for holes
 * too. p = (1 + number that reach the observed R2) / (1 + permutations); it is never 0.
 *
 * The cells' means lie in memory as float32, centred, while that is at most KEEP_BYTES, and are made anew from the rows
 * beyond it. The observed R2 is computed by the same sums, so that equal deals are ties and not roundings. */
#include "words/words_private.h"

#include <math.h>
#include <string.h>

#define KEEP_BYTES 4e9

struct deal {
    const struct words_design *d;
    const struct words_in *in;
    const double *mean;
    double *square;    /* [n_used] squared lengths of the vectors */
    float *keep;       /* [n_used, width], or NULL */
    int64_t *cells;    /* [n_used] */
    int64_t *order;    /* [n_used] which vector each cell gets */
    double *s, *b, *t; /* [1 + n_levels, width] */
    double *u;
};

static void add(double *restrict s, const float *restrict u, double w, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        s[j] += w * (double)u[j];
}

/* The vector of used cell i, centred: in keep, or made into `into`. */
static int vector(const struct deal *p, int64_t i, float *into, const float **out)
{
    int64_t d = p->in->width;
    if (p->keep && into != p->keep + i * d) {
        *out = p->keep + i * d;
        return 0;
    }
    TRY(words_cell(p->in, p->cells[i], p->u));
    for (int64_t j = 0; j < d; j++)
        into[j] = (float)(p->u[j] - p->mean[j]);
    *out = into;
    return 0;
}

static int r2_of(struct deal *p, float *scratch, double *r2)
{
    const struct words_grid *g = p->in->grid;
    int64_t d = p->in->width, n = g->n_used, p1 = 1 + g->n_levels;
    int k = g->n_factors;
    bool conditional = p->d->closed && words_closed(g);
    double square = 0;
    memset(p->s, 0, (size_t)p1 * (size_t)d * sizeof *p->s);
    for (int64_t i = 0; i < n; i++) {
        const float *u;
        const int32_t *code = g->code + p->cells[i] * k;
        TRY(vector(p, p->order[i], scratch, &u));
        square += g->weight[p->cells[i]] * p->square[p->order[i]];
        for (int f = 0; f < k; f++)
            add(p->s + (1 + g->first[f] + code[f]) * d, u, words_level_weight(p->d, p->cells[i], f), d);
    }
    for (int64_t l = 0; l < g->factor[0].n; l++) { /* the sum of all, from the levels of one factor */
        double by = conditional ? p->d->total * g->alpha[l] : 1;
        for (int64_t j = 0; j < d; j++)
            p->s[j] += by * p->s[(1 + l) * d + j];
    }
    memcpy(p->b, p->s, (size_t)p1 * (size_t)d * sizeof *p->b);
    words_design_solve(p->d, d, p->b);
    double total = words_dot(p->s, p->s, d) / p->d->total,
           explained = words_design_explained(p->d, d, p->s, p->b, p->t);
    *r2 = square - total > 0 ? (explained - total) / (square - total) : WORDS_NONE;
    return 0;
}

static int deal_open(struct deal *p, struct words_scores *s, float *scratch)
{
    const struct words_grid *g = p->in->grid;
    size_t n = (size_t)g->n_used, d = (size_t)p->in->width, all = (size_t)(1 + g->n_levels) * d;
    p->cells = arena_calloc(s->arena, n, sizeof *p->cells);
    p->order = arena_calloc(s->arena, n, sizeof *p->order);
    p->square = arena_calloc(s->arena, n, sizeof *p->square);
    p->s = arena_calloc(s->arena, all, sizeof *p->s);
    p->b = arena_calloc(s->arena, all, sizeof *p->b);
    p->t = arena_calloc(s->arena, all, sizeof *p->t);
    p->u = arena_calloc(s->arena, d, sizeof *p->u);
    if (!p->cells || !p->order || !p->square || !p->s || !p->b || !p->t || !p->u)
        return ERR_MEMORY;
    n = 0;
    for (int64_t c = 0; c < g->n_cells; c++)
        if (g->weight[c] > 0)
            p->cells[n++] = c;
    for (size_t i = 0; i < n; i++)
        p->order[i] = (int64_t)i;
    if ((double)n * (double)d * sizeof(float) <= KEEP_BYTES && !(p->keep = mem_alloc(n * d * sizeof *p->keep)))
        return ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const float *u;
        TRY(vector(p, (int64_t)i, p->keep ? p->keep + i * d : scratch, &u));
        p->square[i] = space_dot(u, u, (int64_t)d);
    }
    return 0;
}

static int permute(struct words_scores *s, struct deal *p, float *scratch, int64_t permutations, uint64_t seed)
{
    const struct words_grid *g = p->in->grid;
    double observed, sum = 0, square = 0;
    int64_t reach = 0;
    struct progress *bar = NULL;
    TRY(r2_of(p, scratch, &observed));
    progress_open(&bar, "permutations", permutations, "permutations");
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < permutations; i++) {
        struct rng r = rng_stream(seed, RNG_PERMUTE, 0, (uint64_t)i);
        for (int64_t j = 0; j < g->n_used; j++)
            p->order[j] = j;
        rng_shuffle(&r, p->order, g->n_used);
        rc = signal_check();
        if (rc == 0)
            rc = r2_of(p, scratch, &s->null_r2[i]);
        reach += s->null_r2[i] >= observed - 1e-10;
        sum += s->null_r2[i];
        progress_add(bar, 1);
    }
    progress_close(&bar);
    TRY(rc);
    double mean = sum / (double)permutations;
    for (int64_t i = 0; i < permutations; i++)
        square += (s->null_r2[i] - mean) * (s->null_r2[i] - mean);
    s->sd_null = permutations > 1 ? sqrt(square / (double)(permutations - 1)) : WORDS_NONE;
    s->r2_null = s->null_exact ? s->r2_null : mean;
    s->z = s->sd_null > 1e-12 ? (s->r2 - s->r2_null) / s->sd_null : WORDS_NONE;
    s->p_value = (1 + (double)reach) / (1 + (double)permutations);
    s->n_permutations = permutations;
    return 0;
}

int words_null(struct words_scores *s, const struct words_design *d, const struct words_in *in, const double *mean,
               int64_t permutations, uint64_t seed)
{
    const struct words_grid *g = in->grid;
    double low = INFINITY, high = 0;
    for (int64_t c = 0; c < g->n_cells; c++)
        if (g->weight[c] > 0) {
            low = g->weight[c] < low ? g->weight[c] : low;
            high = g->weight[c] > high ? g->weight[c] : high;
        }
    s->null_exact = high - low <= 1e-12 * high && d->projection && g->n_used > 1;
    s->r2_null = s->null_exact ? (double)(g->rank - 1) / (double)(g->n_used - 1) : WORDS_NONE;
    s->sd_null = s->p_value = s->z = WORDS_NONE;
    if (permutations < 1 || !(s->variance > 0))
        return 0;
    struct deal p = {.d = d, .in = in, .mean = mean};
    float *scratch = arena_calloc(s->arena, (size_t)in->width, sizeof *scratch);
    s->null_r2 = arena_calloc(s->arena, (size_t)permutations, sizeof *s->null_r2);
    if (!scratch || !s->null_r2)
        return ERR_MEMORY;
    int rc = deal_open(&p, s, scratch);
    if (rc == 0)
        rc = permute(s, &p, scratch, permutations, seed);
    mem_free(p.keep);
    return rc;
}
