/* The equations behind ideal words: how sums over cells become u_0 and one vector a level.
 *
 * On a complete grid with product weights the minimiser of sum w |u_z - u_0 - sum u(z_i)|^2 is a difference of means
 * (Trager et al. 2023, Proposition 4), and a level's mean takes the weights of the OTHER factors, so that a level of
 * weight 0 has a word too. With holes, or weights that are no product, means are not the minimiser (exactly additive
 * vectors, 7 of 12 cells: they miss by half the spread); there the normal equations D^T W D b = D^T W U are solved,
 * D = [1, one-hot levels]. D lacks k columns of rank by itself; adding c c^T for each factor, c = alpha on its levels,
 * makes the matrix definite and picks the solution with sum alpha u(z_i) = 0 without changing any fitted value. A
 * design that lacks more rank gets a small ridge on the levels: where cells say nothing, the shortest words.
 *
 * Cholesky, one factorisation for all columns. Rejected: backfitting (as many sweeps as the grid has bottlenecks) and
 * dropping a reference level (its choice decides the rounding). */
#include "words/words_private.h"

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

enum { MAX_DENSE = 4096 };

static const char *const method_names[N_WORDS_METHODS] = {"least-squares", "marginal"};

const char *words_method_name(enum words_method m)
{
    return method_names[m];
}

double words_level_weight(const struct words_design *d, int64_t cell, int i)
{
    const struct words_grid *g = d->grid;
    double w = 1;
    if (!d->closed || !words_closed(g))
        return g->weight[cell];
    for (int f = 0; f < g->n_factors; f++)
        w *= f == i ? 1 : g->alpha[g->first[f] + g->code[cell * g->n_factors + f]];
    return w;
}

static int fill_normal(struct words_design *d)
{
    const struct words_grid *g = d->grid;
    int64_t n = 1 + g->n_levels;
    int k = g->n_factors;
    if (n > MAX_DENSE + 1)
        FAIL(ERR_UNSUPPORTED, "%lld levels over a grid with holes, expected at most %d; keep the most frequent levels",
             (long long)g->n_levels, MAX_DENSE);
    d->normal = mem_calloc((size_t)n * (size_t)n, sizeof *d->normal);
    if (!d->normal)
        return ERR_MEMORY;
    for (int64_t c = 0; c < g->n_cells; c++) {
        double w = g->weight[c];
        int64_t at[1 + WORDS_MAX_FACTORS] = {0};
        for (int f = 0; f < k; f++)
            at[1 + f] = 1 + g->first[f] + g->code[c * k + f];
        for (int e = 0; w > 0 && e <= k; e++)
            for (int f = 0; f <= k; f++)
                d->normal[at[e] * n + at[f]] += w;
    }
    return 0;
}

static int factorise(struct words_design *d)
{
    const struct words_grid *g = d->grid;
    int64_t n = 1 + g->n_levels;
    d->penalty = mem_calloc((size_t)n * (size_t)n, sizeof *d->penalty);
    d->chol = mem_alloc((size_t)n * (size_t)n * sizeof *d->chol);
    if (!d->penalty || !d->chol)
        return ERR_MEMORY;
    for (int f = 0; f < g->n_factors; f++) {
        double scale = d->total * (double)g->factor[f].n;
        for (int64_t i = g->first[f]; i < g->first[f + 1]; i++)
            for (int64_t j = g->first[f]; j < g->first[f + 1]; j++)
                d->penalty[(1 + i) * n + 1 + j] = scale * g->alpha[i] * g->alpha[j];
    }
    for (int64_t i = 1; i < n; i++) {
        d->penalty[i * n + i] += d->ridge;
        if (d->normal[i * n + i] <= 0) /* a level without weight: out of the equations */
            d->penalty[i * n + i] += d->total / (double)g->n_used;
    }
    for (int64_t i = 0; i < n * n; i++)
        d->chol[i] = d->normal[i] + d->penalty[i];
    if (!lapack_potrf(n, d->chol))
        FAIL(ERR_FAIL, "ideal words: the equations of %lld levels cannot be solved; the weights differ by too much",
             (long long)g->n_levels);
    return 0;
}

int words_design_open(struct words_design *d, const struct words_grid *g, const struct words_opt *o)
{
    bool means = words_closed(g) && !(o->ridge > 0), identified = g->rank == g->rank_full;
    *d = (struct words_design){.grid = g, .method = o->method, .closed = means || o->method == WORDS_MARGINAL};
    d->asked = d->closed ? 0 : o->ridge > 0 ? o->ridge : identified ? 0 : WORDS_SMALL_RIDGE;
    if (o->method == WORDS_MARGINAL && o->ridge > 0)
        FAIL(ERR_USAGE, "a ridge belongs to least squares; the marginal means have none");
    d->projection = means || (!d->closed && d->asked <= 0);
    d->level_total = mem_calloc((size_t)g->n_levels, sizeof *d->level_total);
    d->divide = mem_calloc((size_t)g->n_levels, sizeof *d->divide);
    if (!d->level_total || !d->divide) {
        words_design_close(d);
        return ERR_MEMORY;
    }
    for (int64_t c = 0; c < g->n_cells; c++) {
        d->total += g->weight[c];
        for (int f = 0; f < g->n_factors; f++) {
            int64_t l = g->first[f] + g->code[c * g->n_factors + f];
            d->level_total[l] += g->weight[c];
            d->divide[l] += words_level_weight(d, c, f);
        }
    }
    d->ridge = d->asked * d->total / (double)g->n_used;
    int rc = means ? 0 : fill_normal(d);
    if (rc == 0 && !d->closed)
        rc = factorise(d);
    if (rc < 0)
        words_design_close(d);
    return rc;
}

void words_design_close(struct words_design *d)
{
    mem_free(d->level_total);
    mem_free(d->divide);
    mem_free(d->normal);
    mem_free(d->penalty);
    mem_free(d->chol);
    *d = (struct words_design){0};
}

void words_design_solve(const struct words_design *d, int64_t width, double *b)
{
    int64_t n = 1 + d->grid->n_levels;
    if (!d->closed) {
        kernel_solve_f64(false, n, width, d->chol, b);
        kernel_solve_f64(true, n, width, d->chol, b);
        return;
    }
    for (int64_t j = 0; j < width; j++)
        b[j] /= d->total;
    for (int64_t l = 1; l < n; l++)
        for (int64_t j = 0; j < width; j++)
            b[l * width + j] = d->divide[l - 1] > 0 ? b[l * width + j] / d->divide[l - 1] - b[j] : 0;
}

double words_dot(const double *a, const double *b, int64_t n)
{
    double s[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            s[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        s[0] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

double words_design_explained(const struct words_design *d, int64_t width, const double *s, const double *b,
                              double *scratch)
{
    const struct words_grid *g = d->grid;
    int64_t n = 1 + g->n_levels;
    if (d->projection && d->closed) { /* s of a level has the weights of the others: alpha brings its own */
        double sum = d->total * words_dot(b, b, width);
        for (int64_t l = 0; l < g->n_levels; l++)
            sum += d->level_total[l] * words_dot(b + (1 + l) * width, b + (1 + l) * width, width);
        return sum;
    }
    double both = words_dot(s, b, n * width);
    if (d->projection)
        return both;
    kernel_gemm_f64(false, false, n, width, n, 1, d->normal, n, b, width, 0, scratch, width);
    return 2 * both - words_dot(scratch, b, n * width);
}

static int dense_leverage(const struct words_design *d, double *h)
{
    const struct words_grid *g = d->grid;
    int64_t n = 1 + g->n_levels;
    int k = g->n_factors;
    double *inverse = mem_calloc((size_t)n * (size_t)n, sizeof *inverse);
    if (!inverse)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        inverse[i * n + i] = 1;
    words_design_solve(d, n, inverse);
    for (int64_t c = 0; c < g->n_cells; c++) {
        int64_t at[1 + WORDS_MAX_FACTORS] = {0};
        for (int f = 0; f < k; f++)
            at[1 + f] = 1 + g->first[f] + g->code[c * k + f];
        h[c] = 0;
        for (int e = 0; e <= k; e++)
            for (int f = 0; f <= k; f++)
                h[c] += g->weight[c] * inverse[at[e] * n + at[f]];
    }
    mem_free(inverse);
    return 0;
}

int words_design_leverage(const struct words_design *d, double *h)
{
    const struct words_grid *g = d->grid;
    BUG_ON(d->closed && !d->projection);
    if (!d->closed)
        return dense_leverage(d, h);
    for (int64_t c = 0; c < g->n_cells; c++) { /* orthogonal blocks: 1 and each factor's contrasts */
        double w = g->weight[c], sum = 1 / d->total;
        for (int f = 0; w > 0 && f < g->n_factors; f++)
            sum += 1 / d->level_total[g->first[f] + g->code[c * g->n_factors + f]] - 1 / d->total;
        h[c] = w * sum;
    }
    return 0;
}
