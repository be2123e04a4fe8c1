/* The semantic spaces (spans of one factor's ideal words), the angles between them, and the interaction spectrum.
 *
 * Rank: eigenvalues of the Gram matrix of the words on its smaller side. Squaring halves the digits, so a singular
 * value counts above sqrt(max(n, d) eps) of the largest (about 3e-7): words come from float32 vectors and hold no more.
 * Cosines of the principal angles between two spaces are the singular values of Q_a Q_b^T (Bjorck and Golub 1973).
 *
 * Spectrum (Trager et al. 2023, appendix A, with weights): the conditional means E[u | z_S] of a set S of factors have
 * mean square Q_S = sum over T in S of block T, because the 2^k blocks are orthogonal; so block S is the alternating
 * sum of Q_T over T in S. Each Q_S is one pass with a table of the combinations of S. Complete grids and product
 * weights. */
#include "words/words_private.h"

#include "kernel/kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define TABLE_BYTES 2e9

/* Orthonormal rows q [rank, d] of the span of x [n, d], in no order, and its singular values, descending, in value
 * [min(n, d)]. */
struct span {
    double *q, *value;
    int64_t rank, n_values;
};

static int span_make(struct span *o, const double *x, int64_t n, int64_t d, struct arena *a)
{
    int64_t m = n < d ? n : d;
    double *gram = mem_calloc((size_t)m * (size_t)m + 1, sizeof *gram), *w = mem_calloc((size_t)m + 1, sizeof *w);
    int rc = gram && w ? 0 : ERR_MEMORY;
    o->n_values = m;
    o->rank = 0;
    o->value = arena_calloc(a, (size_t)m + 1, sizeof *o->value);
    o->q = arena_calloc(a, (size_t)m * (size_t)d + 1, sizeof *o->q);
    if (rc == 0 && (!o->value || !o->q))
        rc = ERR_MEMORY;
    if (rc == 0) {
        kernel_gemm_f64(n > d, n <= d, m, m, n > d ? n : d, 1, x, d, x, d, 0, gram, m);
        rc = lapack_syevd(m, gram, w);
    }
    for (int64_t i = 0; rc == 0 && i < m; i++) {
        double v = w[m - 1 - i];
        o->value[i] = v > 0 ? sqrt(v) : 0;
        if (o->value[i] > 0 && o->value[i] > sqrt((double)(n > d ? n : d) * DBL_EPSILON) * o->value[0])
            o->rank = i + 1;
    }
    if (rc == 0) { /* eigenvectors upside down: the largest come last */
        const double *v = gram + (m - o->rank) * m;
        if (n > d)
            memcpy(o->q, v, (size_t)o->rank * (size_t)d * sizeof *o->q);
        else
            kernel_gemm_f64(false, false, o->rank, d, n, 1, v, n, x, d, 0, o->q, d);
        for (int64_t i = 0; n <= d && i < o->rank; i++)
            for (int64_t j = 0; j < d; j++)
                o->q[i * d + j] /= o->value[o->rank - 1 - i];
    }
    mem_free(gram);
    mem_free(w);
    return rc;
}

static int angle(struct words_angle *o, const struct span *a, const struct span *b, int64_t d)
{
    int64_t m = a->rank < b->rank ? a->rank : b->rank, n = a->rank < b->rank ? b->rank : a->rank;
    const struct span *small = a->rank < b->rank ? a : b, *large = a->rank < b->rank ? b : a;
    o->max_cosine = o->mean_square_cosine = WORDS_NONE;
    if (m == 0)
        return 0;
    double *c = mem_calloc((size_t)m * (size_t)n, sizeof *c), *gram = mem_calloc((size_t)m * (size_t)m, sizeof *gram);
    double *w = mem_calloc((size_t)m, sizeof *w), sum = 0;
    int rc = c && gram && w ? 0 : ERR_MEMORY;
    if (rc == 0) {
        kernel_gemm_f64(false, true, m, n, d, 1, small->q, d, large->q, d, 0, c, n);
        kernel_gemm_f64(false, true, m, m, n, 1, c, n, c, n, 0, gram, m);
        rc = lapack_syevd(m, gram, w);
    }
    for (int64_t i = 0; rc == 0 && i < m; i++)
        sum += w[i] > 0 ? w[i] : 0;
    if (rc == 0) {
        o->max_cosine = w[m - 1] > 0 ? fmin(1, sqrt(w[m - 1])) : 0;
        o->mean_square_cosine = fmin(1, sum / (double)m);
    }
    mem_free(c);
    mem_free(gram);
    mem_free(w);
    return rc;
}

/* Mean |cosine| of the words of factor a with those of factor b; words of length 0 are left out. */
static int mean_cosine(double *out, const struct words *w, int a, int b)
{
    int64_t m = w->factor[a].n, n = w->factor[b].n, d = w->width, count = 0;
    const double *x = w->word + w->first[a] * d, *y = w->word + w->first[b] * d;
    double *c = mem_calloc((size_t)m * (size_t)n, sizeof *c), *la = mem_calloc((size_t)m, sizeof *la);
    double *lb = mem_calloc((size_t)n, sizeof *lb), sum = 0;
    int rc = c && la && lb ? 0 : ERR_MEMORY;
    if (rc == 0)
        kernel_gemm_f64(false, true, m, n, d, 1, x, d, y, d, 0, c, n);
    for (int64_t i = 0; rc == 0 && i < m; i++)
        la[i] = sqrt(words_dot(x + i * d, x + i * d, d));
    for (int64_t j = 0; rc == 0 && j < n; j++)
        lb[j] = sqrt(words_dot(y + j * d, y + j * d, d));
    for (int64_t i = 0; rc == 0 && i < m; i++)
        for (int64_t j = 0; j < n; j++)
            if (la[i] > 1e-12 && lb[j] > 1e-12) {
                sum += fabs(c[i * n + j]) / (la[i] * lb[j]);
                count++;
            }
    *out = count ? sum / (double)count : WORDS_NONE;
    mem_free(c);
    mem_free(la);
    mem_free(lb);
    return rc;
}

int words_spaces(struct words_scores *s, const struct words *w)
{
    struct span span[WORDS_MAX_FACTORS], all;
    int64_t d = w->width, n = w->n_levels;
    int k = w->n_factors;
    for (int f = 0; f < k; f++) {
        struct words_factor_score *o = &s->factor[f];
        double total = 0, part = 0;
        TRY(span_make(&span[f], w->word + w->first[f] * d, w->factor[f].n, d, s->arena));
        o->rank = span[f].rank;
        o->effective_rank = o->rank ? space_effective_rank(span[f].value, o->rank) : 0;
        for (int64_t i = 0; i < o->rank; i++)
            total += span[f].value[i] * span[f].value[i];
        for (int64_t i = 0; i < o->rank && part < 0.95 * total; i++) {
            part += span[f].value[i] * span[f].value[i];
            o->k95 = i + 1;
        }
    }
    s->n_angles = k * (k - 1) / 2;
    s->angle = arena_calloc(s->arena, (size_t)s->n_angles + 1, sizeof *s->angle);
    double *stack = mem_calloc((size_t)(n + 1) * (size_t)d, sizeof *stack);
    int rc = s->angle && stack ? 0 : ERR_MEMORY;
    for (int a = 0, i = 0; rc == 0 && a < k; a++)
        for (int b = a + 1; rc == 0 && b < k; b++, i++) {
            s->angle[i].a = a;
            s->angle[i].b = b;
            rc = angle(&s->angle[i], &span[a], &span[b], d);
            if (rc == 0)
                rc = mean_cosine(&s->angle[i].mean_abs_cosine, w, a, b);
        }
    if (rc == 0) {
        memcpy(stack, w->base, (size_t)d * sizeof *stack);
        memcpy(stack + d, w->word, (size_t)(n * d) * sizeof *stack);
        rc = span_make(&all, stack, n + 1, d, s->arena);
    }
    s->span_rank = rc == 0 ? all.rank : 0;
    mem_free(stack);
    return rc;
}

/* ---- the interaction spectrum ---- */

/* Mean square of E[u | levels of the factors in `set`], u centred. */
static int conditional_square(const struct words_in *in, const double *mean, unsigned set, double *out)
{
    const struct words_grid *g = in->grid;
    int64_t d = in->width, n = 1;
    int k = g->n_factors, rc = 0;
    for (int f = 0; f < k; f++)
        n *= set >> f & 1 ? g->factor[f].n : 1;
    double *table = mem_calloc((size_t)n * (size_t)d, sizeof *table), *total = mem_calloc((size_t)n, sizeof *total);
    double *u = mem_calloc((size_t)d + 1, sizeof *u), sum = 0, weight = 0;
    if (!table || !total || !u)
        rc = ERR_MEMORY;
    for (int64_t c = 0; rc == 0 && c < g->n_cells; c++) {
        int64_t at = 0;
        double w = g->weight[c];
        if (w <= 0)
            continue;
        for (int f = 0; f < k; f++)
            at = set >> f & 1 ? at * g->factor[f].n + g->code[c * k + f] : at;
        rc = words_cell(in, c, u);
        total[at] += w;
        for (int64_t j = 0; rc == 0 && j < d; j++)
            table[at * d + j] += w * (u[j] - mean[j]);
    }
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        sum += total[i] > 0 ? words_dot(table + i * d, table + i * d, d) / total[i] : 0;
        weight += total[i];
    }
    *out = rc == 0 ? sum / weight : 0;
    mem_free(table);
    mem_free(total);
    mem_free(u);
    return rc;
}

int words_blocks(struct words_scores *s, const struct words_in *in, const double *mean, double variance)
{
    const struct words_grid *g = in->grid;
    int k = g->n_factors;
    double square[1 << WORDS_MAX_BLOCK_FACTORS] = {0};
    if (!words_closed(g) || k > WORDS_MAX_BLOCK_FACTORS || !(variance > 0) ||
        (k > 1 && g->possible / 2 * (double)in->width * 8 > TABLE_BYTES))
        return 0;
    unsigned last = (1U << k) - 1;
    s->block = arena_calloc(s->arena, last + 1, sizeof *s->block);
    if (!s->block)
        return ERR_MEMORY;
    for (unsigned set = 1; set <= last; set++) {
        struct words_block *o = &s->block[set - 1];
        int only = -1, size = 0;
        o->factors = set;
        o->df = 1;
        for (int f = 0; f < k; f++)
            if (set >> f & 1) {
                only = f;
                size++;
                o->df *= (double)(g->factor[f].n - 1);
            }
        if (set == last)
            square[set] = variance;
        else if (size == 1)
            square[set] = s->factor[only].energy;
        else
            TRY(conditional_square(in, mean, set, &square[set]));
        for (unsigned part = set; part; part = (part - 1) & set) {
            bool odd = false;
            for (unsigned rest = set & ~part; rest; rest &= rest - 1)
                odd = !odd;
            o->energy += odd ? -square[part] : square[part];
        }
        o->energy = o->energy > 0 ? o->energy : 0;
        o->share = o->energy / variance;
    }
    s->n_blocks = last;
    return 0;
}
