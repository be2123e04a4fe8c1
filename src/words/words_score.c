/* How well u_0 + ideal words stand for the cells: in closed form, without fitting anything twice.
 *
 * R2 = 1 - SSE / SST over the cells, by their weights; adjusted by the design's degrees of freedom. R2 alone flatters a
 * small grid (2x2: 2/3 of pure noise is "explained"), hence the null of words_null.c and the leave-one-out R2: each
 * cell predicted from the others, against the mean of the others. For least squares that is residual / (1 - leverage)
 * (constant N / (N - p) on a complete grid), with a ridge as well; for marginal means the cell is taken out of its
 * sums. Cells without which a level is unknown cannot be left out; they are counted and not averaged.
 *
 * The distances are what Trager et al. 2023, Table 6, prints: IW is a mean DISTANCE, Avg a mean SQUARED distance of
 * pairs, here in closed form, 2 N / (N - 1) times the variance. */
#include "words/words_private.h"

#include <math.h>
#include <string.h>

struct pass {
    const struct words *w;
    const struct words_in *in;
    const struct words_design *design;
    const struct words_sums *sums;
    const double *mean, *leverage; /* leverage NULL: marginal means */
    double *u, *v;                 /* [width] scratch */
    double sse, sst, distance, held_out, held_out_base;
};

/* Prediction of a cell by means that it has no part in; false: a level is in no other cell. */
static bool predict_without(const struct pass *p, int64_t c, double *out)
{
    const struct words_grid *g = p->in->grid;
    const struct words_sums *t = p->sums;
    int k = g->n_factors;
    int64_t d = p->in->width;
    double w = g->weight[c], rest = p->design->total - w;
    if (rest <= 1e-12 * p->design->total)
        return false;
    for (int64_t j = 0; j < d; j++)
        out[j] = (1 - k) * (t->s[j] - w * (p->u[j] - t->shift[j])) / rest + t->shift[j];
    for (int f = 0; f < k; f++) {
        int64_t l = g->first[f] + g->code[c * k + f];
        double all = p->design->level_total[l], of_level = all - w;
        double scale = all > 0 ? all / p->design->divide[l] : 0; /* sums of a whole grid: weights of the others */
        if (of_level <= 1e-12 * p->design->total)
            return false;
        for (int64_t j = 0; j < d; j++)
            out[j] += (scale * t->s[(1 + l) * d + j] - w * (p->u[j] - t->shift[j])) / of_level;
    }
    return true;
}

static double square_distance(const double *a, const double *b, int64_t d)
{
    double s[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= d; i += 4)
        for (int j = 0; j < 4; j++)
            s[j] += (a[i + j] - b[i + j]) * (a[i + j] - b[i + j]);
    for (; i < d; i++)
        s[0] += (a[i] - b[i]) * (a[i] - b[i]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static void keep_worst(struct words_scores *s, int64_t cell, double distance)
{
    int64_t at = s->n_worst;
    while (at > 0 && s->worst[at - 1].distance < distance)
        at--;
    if (at >= WORDS_N_WORST)
        return;
    int64_t n = s->n_worst < WORDS_N_WORST ? s->n_worst++ : WORDS_N_WORST - 1;
    memmove(s->worst + at + 1, s->worst + at, (size_t)(n - at) * sizeof *s->worst);
    s->worst[at] = (struct words_worst){cell, distance};
}

static int score_cell(struct words_scores *s, struct pass *p, int64_t c)
{
    const struct words_grid *g = p->in->grid;
    int64_t d = p->in->width;
    double w = g->weight[c], own = 1 - w / p->design->total;
    TRY(words_cell(p->in, c, p->u));
    words_compose(p->w, g->code + c * g->n_factors, p->v);
    double error = square_distance(p->u, p->v, d), spread = square_distance(p->u, p->mean, d);
    p->sse += w * error;
    p->sst += w * spread;
    p->distance += w * sqrt(error);
    keep_worst(s, c, sqrt(error));
    if (p->leverage) {
        double left = 1 - p->leverage[c];
        if (left < (p->design->asked > 0 && p->design->asked <= WORDS_SMALL_RIDGE ? 1e-4 : 1e-9))
            return 0;
        error /= left * left;
    } else if (predict_without(p, c, p->v)) {
        error = square_distance(p->u, p->v, d);
    } else {
        return 0;
    }
    if (own > 0) {
        p->held_out += w * error;
        p->held_out_base += w * spread / (own * own);
        s->n_held_out++;
    }
    return 0;
}

static void factor_scores(struct words_scores *s, const struct words *w, const struct pass *p)
{
    const struct words_grid *g = p->in->grid;
    bool equal = words_closed(g);
    for (int64_t c = 0; c < g->n_cells; c++)
        equal = equal && g->weight[c] == g->weight[0];
    double df_error = (double)(g->n_used - g->rank);
    for (int f = 0; f < g->n_factors; f++) {
        struct words_factor_score *o = &s->factor[f];
        for (int64_t l = g->first[f]; l < g->first[f + 1]; l++)
            o->energy += g->alpha[l] * words_dot(w->word + l * w->width, w->word + l * w->width, w->width);
        double df = (double)(g->factor[f].n - 1);
        o->share = s->variance > 0 ? o->energy / s->variance : WORDS_NONE;
        o->f = equal && df > 0 && df_error > 0 && p->sse > 0
                   ? o->energy * (double)g->n_used / df / (p->sse / p->design->total * (double)g->n_used / df_error)
                   : WORDS_NONE;
    }
}

static void finish(struct words_scores *s, const struct words *w, const struct pass *p)
{
    const struct words_grid *g = p->in->grid;
    double n = (double)g->n_used, total = p->design->total, df = (double)(g->rank - 1);
    bool flat = !(p->sst > 1e-20 * p->sums->length_square);
    s->n_cells = g->n_used;
    s->mean_square = p->sse / total;
    s->mean_distance = p->distance / total;
    s->sd_distance = sqrt(fmax(0, s->mean_square - s->mean_distance * s->mean_distance));
    s->variance = flat ? 0 : p->sst / total;
    s->mean_length_square = p->sums->length_square / total;
    s->mean_pair_square = n > 1 ? 2 * n / (n - 1) * s->variance : WORDS_NONE;
    s->r2 = flat ? WORDS_NONE : 1 - p->sse / p->sst;
    s->r2_adjusted = n - 1 - df > 0 ? 1 - (1 - s->r2) * (n - 1) / (n - 1 - df) : WORDS_NONE;
    s->r2_held_out = s->n_held_out > 0 && !flat ? 1 - p->held_out / p->held_out_base : WORDS_NONE;
    factor_scores(s, w, p);
}

static int score(struct words_scores *s, const struct words *w, const struct words_in *in, struct pass *p,
                 int64_t permutations, uint64_t seed)
{
    const struct words_grid *g = in->grid;
    double *mean = arena_calloc(s->arena, (size_t)in->width, sizeof *mean);
    double *leverage = arena_calloc(s->arena, (size_t)g->n_cells, sizeof *leverage);
    p->u = arena_calloc(s->arena, (size_t)in->width, sizeof *p->u);
    p->v = arena_calloc(s->arena, (size_t)in->width, sizeof *p->v);
    if (!mean || !leverage || !p->u || !p->v)
        return ERR_MEMORY;
    for (int64_t j = 0; j < in->width; j++)
        mean[j] = p->sums->shift[j] + p->sums->s[j] / p->design->total;
    p->mean = mean;
    if (p->design->method == WORDS_LEAST_SQUARES) {
        TRY(words_design_leverage(p->design, leverage));
        p->leverage = leverage;
    }
    for (int64_t c = 0; c < g->n_cells; c++)
        if (g->weight[c] > 0)
            TRY(score_cell(s, p, c));
    finish(s, w, p);
    TRY(words_spaces(s, w));
    TRY(words_blocks(s, in, mean, s->variance));
    return words_null(s, p->design, in, mean, permutations, seed);
}

int words_score(struct words_scores **out, const struct words *w, const struct words_in *in, int64_t permutations,
                uint64_t seed)
{
    struct words_design design;
    struct words_sums sums = {0};
    const struct words_opt o = {.method = w->method, .ridge = w->ridge};
    BUG_ON(w->n_levels != in->grid->n_levels || w->width != in->width);
    struct words_scores *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    int rc = words_design_open(&design, in->grid, &o);
    if (rc < 0) {
        mem_free(s);
        return rc;
    }
    rc = arena_open(&s->arena, "words scores");
    if (rc == 0)
        rc = words_sums_make(&sums, &design, in);
    struct pass p = {.w = w, .in = in, .design = &design, .sums = &sums};
    if (rc == 0)
        rc = score(s, w, in, &p, permutations, seed);
    words_sums_free(&sums);
    words_design_close(&design);
    if (rc < 0) {
        words_scores_free(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void words_scores_free(struct words_scores **s)
{
    if (!s || !*s)
        return;
    arena_close(&(*s)->arena);
    mem_free(*s);
    *s = NULL;
}
