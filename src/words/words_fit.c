/* The fit: one pass over the rows, cell by cell, into one vector a level; then the equations (words_design.c).
 *
 * State is (1 + sum of levels) x width doubles, whatever the number of rows: the rows of a cell are read where they lie
 * (a mapped file), averaged and added to the k levels they have. Sums are of differences to one vector of the cloud, so
 * that a narrow cone far from the origin, which embeddings are, loses no digits.
 *
 * A level all of whose cells have weight 0 is determined by nothing that was minimised; its word is what the
 * least squares tend to as its weight goes to 0: the mean of what its cells leave over (Proposition 4's second form).
 */
#include "words/words_private.h"

#include <math.h>
#include <string.h>

int words_cell(const struct words_in *in, int64_t cell, double *out)
{
    const struct words_grid *g = in->grid;
    int64_t d = in->width;
    for (int64_t i = g->start[cell]; i < g->start[cell + 1]; i++) {
        int64_t row = g->row[i];
        const float *x = in->x + row * d;
        double by = g->share[i], length = sqrt(space_dot(x, x, d));
        if (!isfinite(length) || (in->unit && length <= 0))
            FAIL(ERR_NONFINITE, "row %lld %s; encode that item again or take it out of the table", (long long)row,
                 isfinite(length) ? "is all zeros and has no direction" : "holds a number that is not finite");
        by = in->unit ? by / length : by;
        if (i == g->start[cell])
            for (int64_t j = 0; j < d; j++)
                out[j] = by * (double)x[j];
        else
            for (int64_t j = 0; j < d; j++)
                out[j] += by * (double)x[j];
    }
    if (in->unit_cells) {
        double length = sqrt(words_dot(out, out, d));
        if (length <= 1e-12)
            FAIL(ERR_NONFINITE, "the rows of a cell (row %lld and others) cancel out: their mean has no direction",
                 (long long)g->row[g->start[cell]]);
        for (int64_t j = 0; j < d; j++)
            out[j] /= length;
    }
    return 0;
}

int words_sums_make(struct words_sums *t, const struct words_design *design, const struct words_in *in)
{
    const struct words_grid *g = in->grid;
    int64_t d = in->width, n = 1 + g->n_levels, first = 0;
    int k = g->n_factors, rc = 0;
    *t = (struct words_sums){0};
    double *u = mem_calloc((size_t)d + 1, sizeof *u);
    t->shift = mem_calloc((size_t)d + 1, sizeof *t->shift);
    t->s = mem_calloc((size_t)n * (size_t)d + 1, sizeof *t->s);
    if (!u || !t->shift || !t->s)
        rc = ERR_MEMORY;
    while (g->weight[first] <= 0)
        first++;
    if (rc == 0)
        rc = words_cell(in, first, t->shift);
    for (int64_t c = 0; rc == 0 && c < g->n_cells; c++) {
        double w = g->weight[c];
        if ((c & 4095) == 0)
            rc = signal_check();
        if (rc == 0)
            rc = words_cell(in, c, u);
        if (rc < 0)
            break;
        t->length_square += w * words_dot(u, u, d);
        for (int64_t j = 0; j < d; j++)
            u[j] -= t->shift[j];
        t->square += w * words_dot(u, u, d);
        for (int64_t j = 0; j < d; j++)
            t->s[j] += w * u[j];
        for (int f = 0; f < k; f++) {
            double *s = t->s + (1 + g->first[f] + g->code[c * k + f]) * d, by = words_level_weight(design, c, f);
            for (int64_t j = 0; by > 0 && j < d; j++)
                s[j] += by * u[j];
        }
    }
    mem_free(u);
    if (rc < 0)
        words_sums_free(t);
    return rc;
}

void words_sums_free(struct words_sums *t)
{
    mem_free(t->shift);
    mem_free(t->s);
    *t = (struct words_sums){0};
}

/* Words of levels that no weight speaks of, from the cells whose other levels have one. */
static int fill_weightless(struct words *w, const struct words_in *in, const struct words_design *d)
{
    const struct words_grid *g = in->grid;
    int64_t width = in->width;
    int k = g->n_factors, rc = 0;
    bool any = false;
    for (int64_t l = 0; l < g->n_levels; l++)
        any = any || d->divide[l] <= 0;
    if (!any)
        return 0;
    double *u = mem_calloc((size_t)width + 1, sizeof *u), *n = mem_calloc((size_t)g->n_levels, sizeof *n);
    if (!u || !n)
        rc = ERR_MEMORY;
    for (int64_t c = 0; rc == 0 && c < g->n_cells; c++) {
        int64_t level = -1;
        int unknown = 0;
        for (int f = 0; f < k; f++)
            if (d->divide[g->first[f] + g->code[c * k + f]] <= 0) {
                level = g->first[f] + g->code[c * k + f];
                unknown++;
            }
        if (unknown != 1)
            continue;
        rc = words_cell(in, c, u);
        for (int64_t j = 0; rc == 0 && j < width; j++) {
            double left = u[j] - w->base[j];
            for (int f = 0; f < k; f++)
                if (g->first[f] + g->code[c * k + f] != level)
                    left -= w->word[(g->first[f] + g->code[c * k + f]) * width + j];
            w->word[level * width + j] += left;
        }
        n[level]++;
    }
    for (int64_t l = 0; rc == 0 && l < g->n_levels; l++)
        for (int64_t j = 0; n[l] > 0 && j < width; j++)
            w->word[l * width + j] /= n[l];
    mem_free(u);
    mem_free(n);
    return rc;
}

/* sum alpha u(z_i) = 0: what the equations leave over (rounding; a ridge; means of a grid with holes) goes to u_0. */
static void center(struct words *w, const struct words_grid *g)
{
    for (int f = 0; f < w->n_factors; f++)
        for (int64_t j = 0; j < w->width; j++) {
            double mean = 0;
            for (int64_t l = g->first[f]; l < g->first[f + 1]; l++)
                mean += g->alpha[l] * w->word[l * w->width + j];
            for (int64_t l = g->first[f]; l < g->first[f + 1]; l++)
                w->word[l * w->width + j] -= g->alpha[l] > 0 ? mean : 0;
            w->base[j] += mean;
        }
}

static int copy_grid(struct words *w, const struct words_in *in)
{
    const struct words_grid *g = in->grid;
    size_t p = (size_t)g->n_levels, d = (size_t)in->width, cells = (size_t)g->n_cells * (size_t)g->n_factors;
    w->n_factors = g->n_factors;
    w->n_levels = g->n_levels;
    w->width = in->width;
    w->n_cells = g->n_cells;
    w->n_rows = g->n_rows;
    memcpy(w->first, g->first, sizeof w->first);
    for (int f = 0; f < g->n_factors; f++) {
        const char **levels = arena_calloc(w->arena, (size_t)g->factor[f].n, sizeof *levels);
        w->factor[f] = (struct words_factor){arena_strdup(w->arena, g->factor[f].name), g->factor[f].n, levels};
        if (!levels || !w->factor[f].name)
            return ERR_MEMORY;
        for (int64_t j = 0; j < g->factor[f].n; j++)
            if (!(levels[j] = arena_strdup(w->arena, g->factor[f].levels[j])))
                return ERR_MEMORY;
    }
    w->base = arena_calloc(w->arena, d, sizeof *w->base);
    w->word = arena_calloc(w->arena, p * d, sizeof *w->word);
    w->alpha = arena_calloc(w->arena, p, sizeof *w->alpha);
    w->level_rows = arena_calloc(w->arena, p, sizeof *w->level_rows);
    w->cell = arena_calloc(w->arena, cells, sizeof *w->cell);
    if (!w->base || !w->word || !w->alpha || !w->level_rows || !w->cell)
        return ERR_MEMORY;
    memcpy(w->alpha, g->alpha, p * sizeof *w->alpha);
    memcpy(w->cell, g->code, cells * sizeof *w->cell);
    for (int64_t c = 0; c < g->n_cells; c++)
        for (int f = 0; f < g->n_factors; f++)
            w->level_rows[g->first[f] + g->code[c * g->n_factors + f]] += (double)(g->start[c + 1] - g->start[c]);
    return 0;
}

static int fit(struct words *w, const struct words_in *in, const struct words_opt *o)
{
    const struct words_grid *g = in->grid;
    struct words_design design;
    struct words_sums sums;
    for (int64_t i = 0; i < g->n_rows; i++)
        if (g->row[i] < 0 || g->row[i] >= in->n)
            FAIL(ERR_DATA, "ideal words: row %lld is named, but there are %lld vectors", (long long)g->row[i],
                 (long long)in->n);
    TRY(copy_grid(w, in));
    TRY(words_design_open(&design, g, o));
    int rc = words_sums_make(&sums, &design, in);
    if (rc < 0) {
        words_design_close(&design);
        return rc;
    }
    words_design_solve(&design, in->width, sums.s);
    for (int64_t j = 0; j < in->width; j++)
        w->base[j] = sums.shift[j] + sums.s[j];
    memcpy(w->word, sums.s + in->width, (size_t)(g->n_levels * in->width) * sizeof *w->word);
    for (int64_t l = 0; l < g->n_levels; l++)
        if (design.divide[l] <= 0)
            memset(w->word + l * in->width, 0, (size_t)in->width * sizeof *w->word);
    center(w, g);
    w->ridge = design.asked;
    rc = fill_weightless(w, in, &design);
    words_sums_free(&sums);
    words_design_close(&design);
    return rc;
}

int words_fit(struct words **out, const struct words_in *in, const struct words_opt *o)
{
    struct words *w = mem_calloc(1, sizeof *w);
    if (!w)
        return ERR_MEMORY;
    w->method = o->method;
    w->unit = in->unit;
    w->unit_cells = in->unit_cells;
    w->rank = in->grid->rank;
    w->rank_full = in->grid->rank_full;
    w->components = in->grid->components;
    w->side = w->model = w->fingerprint = "";
    int rc = arena_open(&w->arena, "words");
    if (rc == 0)
        rc = fit(w, in, o);
    if (rc < 0) {
        words_close(&w);
        return rc;
    }
    *out = w;
    return 0;
}

void words_close(struct words **w)
{
    if (!w || !*w)
        return;
    arena_close(&(*w)->arena);
    mem_free(*w);
    *w = NULL;
}

void words_compose(const struct words *w, const int32_t *code, double *out)
{
    memcpy(out, w->base, (size_t)w->width * sizeof *out);
    for (int f = 0; f < w->n_factors; f++) {
        if (code[f] < 0)
            continue;
        const double *word = w->word + (w->first[f] + code[f]) * w->width;
        for (int64_t j = 0; j < w->width; j++)
            out[j] += word[j];
    }
}

int64_t words_level(const struct words *w, int factor, const char *level)
{
    for (int64_t j = 0; j < w->factor[factor].n; j++)
        if (!strcmp(w->factor[factor].levels[j], level))
            return j;
    return -1;
}
