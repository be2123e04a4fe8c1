/* Exact search: the k rows of a bank with the largest inner products, for many queries at once.
 *
 * Blocks of queries meet blocks of the bank in one fp32 matrix product; the full matrix never exists. A product's last
 * bits depend on where a row lies in its block, so equal rows could differ by a rounding. Therefore a score that could
 * enter the list (within the rounding bound of the worst one in it) is computed again in double in one fixed order, and
 * only those exact scores are compared: ties go to the lower row, on every machine. Rejected: an index (HNSW, IVF);
 * at the sizes of this tool exact search is a matrix product of a second, and approximate recall would pollute the
 * measures. */
#include "space/space.h"

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

enum { BLOCK_QUERIES = 128, BLOCK_BANK = 2048 };

struct entry {
    double score;
    int64_t row;
};

/* Is a worse than b? Lower score, or the same score in a later row. */
static bool worse(struct entry a, struct entry b)
{
    return a.score < b.score || (a.score == b.score && a.row > b.row);
}

/* A heap of at most k entries with the worst on top. */
static void sift_down(struct entry *h, int64_t n, int64_t i)
{
    for (;;) {
        int64_t m = i, l = 2 * i + 1;
        for (int64_t c = l; c <= l + 1 && c < n; c++)
            m = worse(h[c], h[m]) ? c : m;
        if (m == i)
            return;
        struct entry t = h[i];
        h[i] = h[m];
        h[m] = t;
        i = m;
    }
}

static void push(struct entry *h, int64_t *n, int64_t k, struct entry e)
{
    if (*n == k) {
        if (worse(h[0], e)) {
            h[0] = e;
            sift_down(h, k, 0);
        }
        return;
    }
    int64_t i = (*n)++;
    h[i] = e;
    while (i > 0 && worse(h[i], h[(i - 1) / 2])) {
        struct entry t = h[i];
        h[i] = h[(i - 1) / 2];
        h[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static double length(const float *x, int64_t d)
{
    return sqrt(space_dot(x, x, d));
}

struct search {
    const float *queries, *bank;
    int64_t n, d, k;
    float *scores;       /* [BLOCK_QUERIES, BLOCK_BANK] */
    double *bank_length; /* [BLOCK_BANK] */
    struct entry *heaps; /* [BLOCK_QUERIES, k] */
    int64_t *filled;     /* [BLOCK_QUERIES] */
};

/* Rounding of an fp32 product of d terms is about sqrt(d) 6e-8 of the two lengths, at most d 6e-8. */
static double rounding(int64_t d)
{
    return 2e-7 * (4 + 2 * sqrt((double)d));
}

static void scan_block(struct search *s, int64_t q0, int64_t nq, int64_t j0, int64_t nj)
{
    double slack = rounding(s->d);
    for (int64_t q = 0; q < nq; q++) {
        const float *query = s->queries + (q0 + q) * s->d;
        double query_length = length(query, s->d) * slack;
        struct entry *h = s->heaps + q * s->k;
        for (int64_t j = 0; j < nj; j++) {
            double fast = (double)s->scores[q * nj + j];
            if (s->filled[q] == s->k && !(fast + query_length * s->bank_length[j] >= h[0].score))
                continue;
            double exact = space_dot(query, s->bank + (j0 + j) * s->d, s->d);
            if (isfinite((float)exact))
                push(h, &s->filled[q], s->k, (struct entry){exact, j0 + j});
        }
    }
}

static void emit(const struct search *s, int64_t nq, struct hit *hits)
{
    for (int64_t q = 0; q < nq; q++) {
        struct entry *h = s->heaps + q * s->k;
        int64_t n = s->filled[q];
        for (int64_t i = n; i < s->k; i++)
            hits[q * s->k + i] = (struct hit){-1, -INFINITY};
        while (n > 0) { /* the worst comes off the top: fill from the back */
            n--;
            hits[q * s->k + n] = (struct hit){h[0].row, (float)h[0].score};
            h[0] = h[n];
            sift_down(h, n, 0);
        }
    }
}

int space_topk(const float *queries, int64_t n_queries, const float *bank, int64_t n, int64_t d, int64_t k,
               struct hit *hits)
{
    if (k < 1 || d < 1 || n < 0 || n_queries < 0)
        FAIL(ERR_USAGE, "search: k is %lld and the width %lld; expected both at least 1", (long long)k, (long long)d);
    int64_t k_heap = k < n ? k : (n > 0 ? n : 1);
    struct search s = {.queries = queries, .bank = bank, .n = n, .d = d, .k = k_heap};
    int rc = 0;
    struct hit *block_hits = mem_calloc((size_t)BLOCK_QUERIES * (size_t)k_heap, sizeof *block_hits);
    s.scores = mem_calloc((size_t)BLOCK_QUERIES * BLOCK_BANK, sizeof *s.scores);
    s.bank_length = mem_calloc(BLOCK_BANK, sizeof *s.bank_length);
    s.heaps = mem_calloc((size_t)BLOCK_QUERIES * (size_t)k_heap, sizeof *s.heaps);
    s.filled = mem_calloc(BLOCK_QUERIES, sizeof *s.filled);
    if (!block_hits || !s.scores || !s.bank_length || !s.heaps || !s.filled) {
        rc = ERR_MEMORY;
        goto out;
    }
    for (int64_t q0 = 0; q0 < n_queries; q0 += BLOCK_QUERIES) {
        int64_t nq = n_queries - q0 < BLOCK_QUERIES ? n_queries - q0 : BLOCK_QUERIES;
        memset(s.filled, 0, BLOCK_QUERIES * sizeof *s.filled);
        for (int64_t j0 = 0; j0 < n; j0 += BLOCK_BANK) {
            int64_t nj = n - j0 < BLOCK_BANK ? n - j0 : BLOCK_BANK;
            rc = signal_check();
            if (rc < 0)
                goto out;
            for (int64_t j = 0; j < nj; j++)
                s.bank_length[j] = length(bank + (j0 + j) * d, d);
            kernel_gemm_f32(false, true, nq, nj, d, 1, queries + q0 * d, d, bank + j0 * d, d, 0, s.scores, nj);
            scan_block(&s, q0, nq, j0, nj);
        }
        emit(&s, nq, block_hits);
        for (int64_t q = 0; q < nq; q++)
            for (int64_t i = 0; i < k; i++)
                hits[(q0 + q) * k + i] = i < k_heap ? block_hits[q * k_heap + i] : (struct hit){-1, -INFINITY};
    }
out:
    mem_free(block_hits);
    mem_free(s.scores);
    mem_free(s.bank_length);
    mem_free(s.heaps);
    mem_free(s.filled);
    return rc;
}
