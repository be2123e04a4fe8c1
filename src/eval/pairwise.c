/* Sums over all pairs of rows: n^2 numbers pass by, n are kept.
 *
 * Everything pairwise is a mean over pairs (a U-statistic), so its value needs two running sums and its interval needs
 * one sum a row: the row's mean against everybody else is, up to a factor, its first-order effect (Hoeffding 1948;
 * Hajek's projection). 100 000 rows of width 512 need the vectors plus a few megabytes. Blocks are visited in a fixed
 * order and added in double, so results do not depend on the number of threads. */
#include "eval/eval_private.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 512, N_BINS = 200, LANES = 16 };

int histogram_open(struct histogram *h)
{
    *h = (struct histogram){.n_bins = N_BINS, .low = -1, .high = 1};
    h->count = mem_calloc(N_BINS, sizeof *h->count);
    return h->count ? 0 : ERR_MEMORY;
}

static int bin_of(double x)
{
    int b = (int)((x + 1) * (N_BINS / 2.0));
    return b < 0 ? 0 : b >= N_BINS ? N_BINS - 1 : b;
}

void histogram_add(struct histogram *h, double x)
{
    h->count[bin_of(x)]++;
    h->total++;
}

static bool more(double **p, int64_t n)
{
    *p = mem_calloc((size_t)n + 1, sizeof **p);
    return *p != NULL;
}

int pair_sums_open(struct pair_sums *p, int64_t n_a, int64_t n_b)
{
    int64_t n[2] = {n_a, n_b};
    bool ok = true;
    *p = (struct pair_sums){0};
    for (int k = 0; k < (n_b ? 2 : 1); k++)
        ok = ok && more(&p->row_h[k], n[k]) && more(&p->row_c[k], n[k]);
    for (int k = 0; n_b && k < 2; k++) {
        ok = ok && more(&p->row_positive_c[k], n[k]) && more(&p->best[k], n[k]);
        for (int64_t i = 0; ok && i < n[k]; i++)
            p->best[k][i] = -INFINITY;
    }
    return ok ? 0 : ERR_MEMORY;
}

void pair_sums_close(struct pair_sums *p)
{
    for (int k = 0; k < 2; k++) {
        mem_free(p->row_h[k]);
        mem_free(p->row_c[k]);
        mem_free(p->row_positive_c[k]);
        mem_free(p->best[k]);
    }
    *p = (struct pair_sums){0};
}

/* h = exp(4 s - 4) for LANES cosines in fp32: 2^n times a Taylor polynomial of 2^r, relative error 2e-7 like the
 * scores' own. Loops of constant length over local arrays, which the compiler turns into vector code at -O2; the libm
 * call would cost more than the matrix product. The argument lies in [-8, 0] up to rounding, so there is no range to
 * guard. */
static void exp_lanes(const double *restrict s, double *restrict h)
{
    float r[LANES], scale[LANES];
    int32_t bits[LANES];
    for (int k = 0; k < LANES; k++) {
        float t = (float)(s[k] * 4 - 4) * 1.44269504F, n = (t + 12582912.0F) - 12582912.0F; /* to the nearest integer */
        r[k] = t - n;
        bits[k] = ((int32_t)n + 127) << 23;
    }
    memcpy(scale, bits, sizeof scale);
    for (int k = 0; k < LANES; k++) {
        float x = r[k], p = 1.5252734e-5F;
        p = p * x + 1.5403530e-4F;
        p = p * x + 1.3333558e-3F;
        p = p * x + 9.6181291e-3F;
        p = p * x + 5.5504109e-2F;
        p = p * x + 2.4022651e-1F;
        p = p * x + 6.9314718e-1F;
        h[k] = (double)((p * x + 1) * scale[k]);
    }
}

static void add_lanes(const double *restrict s, const double *restrict h, double *restrict col_h,
                      double *restrict col_c, double *restrict sum_h, double *restrict sum_c)
{
    for (int k = 0; k < LANES; k++) {
        col_h[k] += h[k];
        col_c[k] += s[k];
        sum_h[k] += h[k];
        sum_c[k] += s[k];
    }
}

/* One row of scores against columns j .. n of the block; col_h and col_c belong to the block's first column. */
static void add_row(struct pair_sums *p, bool exact, int64_t i, const double *s, int64_t j, int64_t n, double *col_h,
                    double *col_c)
{
    double lane_h[LANES] = {0}, lane_c[LANES] = {0}, h[LANES], sum_h = 0, sum_c = 0;
    int64_t *count = p->hist ? p->hist->count : NULL;
    for (int64_t k = j; count && k < n; k++)
        count[bin_of(s[k])]++;
    for (; !exact && j + LANES <= n; j += LANES) {
        exp_lanes(s + j, h);
        add_lanes(s + j, h, col_h + j, col_c + j, lane_h, lane_c);
    }
    for (; j < n; j++) {
        double e = exp(4 * s[j] - 4);
        sum_h += e;
        sum_c += s[j];
        col_h[j] += e;
        col_c[j] += s[j];
    }
    for (int k = 0; k < LANES; k++) {
        sum_h += lane_h[k];
        sum_c += lane_c[k];
    }
    p->row_h[0][i] += sum_h;
    p->row_c[0][i] += sum_c;
    p->h += sum_h;
    p->c += sum_c;
}

static struct progress *start_bar(const char *label, double work, int64_t blocks)
{
    struct progress *bar = NULL;
    if (work > 1e9)
        progress_open(&bar, label, blocks, "blocks");
    return bar;
}

int pairs_within(struct pair_sums *p, const struct rows *a, const char *label)
{
    struct scorer s = {0};
    int64_t n = a->n, n_blocks = (n + BLOCK - 1) / BLOCK, block = n < BLOCK ? n : BLOCK;
    double *scores = mem_calloc((size_t)(block * block) + 1, sizeof *scores);
    int rc = scores ? scorer_open(&s, n <= EXACT_ROWS, a->d, block, block) : ERR_MEMORY;
    struct progress *bar = start_bar(label, (double)n * (double)n / 2, n_blocks * (n_blocks + 1) / 2);
    for (int64_t i0 = 0; rc == 0 && i0 < n; i0 += BLOCK) {
        int64_t ni = n - i0 < BLOCK ? n - i0 : BLOCK;
        scorer_left(&s, a, NULL, i0, ni);
        for (int64_t j0 = i0; rc == 0 && j0 < n; j0 += BLOCK) {
            int64_t nj = n - j0 < BLOCK ? n - j0 : BLOCK;
            rc = signal_check();
            scorer_block(&s, ni, a, j0, nj, scores, nj);
            for (int64_t i = 0; i < ni; i++)
                add_row(p, s.exact, i0 + i, scores + i * nj, j0 == i0 ? i + 1 : 0, nj, p->row_h[0] + j0,
                        p->row_c[0] + j0);
            if (bar)
                progress_add(bar, 1);
        }
    }
    p->count = n * (n - 1) / 2;
    if (p->hist)
        p->hist->total = p->count;
    if (bar)
        progress_close(&bar);
    scorer_close(&s);
    mem_free(scores);
    return rc;
}

/* Takes the positives of row i out of histogram and contest, then keeps the best of the rest, both ways. */
static void add_others(struct pair_sums *p, int64_t i, double *s, int64_t j0, int64_t n)
{
    for (int64_t k = p->first[i]; k < p->first[i + 1]; k++) {
        int64_t j = p->positive[k] - j0;
        if (j < 0 || j >= n)
            continue;
        p->positive_c += s[j];
        p->row_positive_c[0][i] += s[j];
        p->row_positive_c[1][j0 + j] += s[j];
        if (p->hist) {
            p->hist->count[bin_of(s[j])]--;
            p->hist->total--;
        }
        s[j] = -INFINITY;
    }
    double best = p->best[0][i], *best_b = p->best[1] + j0;
    for (int64_t j = 0; j < n; j++) {
        best = s[j] > best ? s[j] : best;
        best_b[j] = s[j] > best_b[j] ? s[j] : best_b[j];
    }
    p->best[0][i] = best;
}

int pairs_across(struct pair_sums *p, const struct rows *a, const struct rows *b, const char *label)
{
    struct scorer s = {0};
    int64_t block_a = a->n < BLOCK ? a->n : BLOCK, block_b = b->n < BLOCK ? b->n : BLOCK;
    double *scores = mem_calloc((size_t)(block_a * block_b) + 1, sizeof *scores);
    bool exact = a->n <= EXACT_ROWS && b->n <= EXACT_ROWS;
    int rc = scores ? scorer_open(&s, exact, a->d, block_a, block_b) : ERR_MEMORY;
    struct progress *bar =
        start_bar(label, (double)a->n * (double)b->n, ((a->n + BLOCK - 1) / BLOCK) * ((b->n + BLOCK - 1) / BLOCK));
    for (int64_t i0 = 0; rc == 0 && i0 < a->n; i0 += BLOCK) {
        int64_t ni = a->n - i0 < BLOCK ? a->n - i0 : BLOCK;
        scorer_left(&s, a, NULL, i0, ni);
        for (int64_t j0 = 0; rc == 0 && j0 < b->n; j0 += BLOCK) {
            int64_t nj = b->n - j0 < BLOCK ? b->n - j0 : BLOCK;
            rc = signal_check();
            scorer_block(&s, ni, b, j0, nj, scores, nj);
            for (int64_t i = 0; i < ni; i++) {
                add_row(p, s.exact, i0 + i, scores + i * nj, 0, nj, p->row_h[1] + j0, p->row_c[1] + j0);
                add_others(p, i0 + i, scores + i * nj, j0, nj);
            }
            if (bar)
                progress_add(bar, 1);
        }
    }
    p->count = a->n * b->n;
    if (p->hist)
        p->hist->total += p->count;
    if (bar)
        progress_close(&bar);
    scorer_close(&s);
    mem_free(scores);
    return rc;
}
