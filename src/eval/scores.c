/* Blocks of cosines between rows of two sides, never a whole matrix.
 *
 * Rows are brought to unit length in double while they are loaded. Small sets are multiplied in double; large ones in
 * fp32 (error about 1e-7), twice as fast, and whoever needs a decision between near-equal scores asks rows_cosine. */
#include "eval/eval_private.h"

#include "kernel/kernel.h"

enum { GALLERY_BLOCK = 1024, QUERY_BLOCK = 128, BLOCK_SCORES = 16 << 20 };

int rows_open(struct rows *r, const float *x, int64_t n, int64_t d, const char *side)
{
    int64_t bad = 0;
    double *inverse = mem_calloc((size_t)n + 1, sizeof *inverse);
    if (!inverse)
        return ERR_MEMORY;
    int rc = space_inverse_norms(x, n, d, inverse, &bad);
    if (rc < 0) {
        mem_free(inverse);
        return err_while(rc, "normalising the %s side", side);
    }
    *r = (struct rows){.x = x, .n = n, .d = d, .inverse = inverse};
    return 0;
}

void rows_close(struct rows *r)
{
    mem_free(r->inverse);
    r->inverse = NULL;
}

double rows_cosine(const struct rows *a, int64_t i, const struct rows *b, int64_t j)
{
    return space_dot(a->x + i * a->d, b->x + j * b->d, a->d) * a->inverse[i] * b->inverse[j];
}

int scorer_open(struct scorer *s, bool exact, int64_t d, int64_t max_a, int64_t max_b)
{
    *s = (struct scorer){.exact = exact, .d = d, .max_a = max_a, .max_b = max_b};
    size_t a = (size_t)(max_a * d) + 1, b = (size_t)(max_b * d) + 1;
    if (exact) {
        s->da = mem_calloc(a, sizeof *s->da);
        s->db = mem_calloc(b, sizeof *s->db);
    } else {
        s->fa = mem_calloc(a, sizeof *s->fa);
        s->fb = mem_calloc(b, sizeof *s->fb);
        s->fs = mem_calloc((size_t)(max_a * max_b) + 1, sizeof *s->fs);
    }
    if (exact ? s->da && s->db : s->fa && s->fb && s->fs)
        return 0;
    scorer_close(s);
    return ERR_MEMORY;
}

void scorer_close(struct scorer *s)
{
    mem_free(s->da);
    mem_free(s->db);
    mem_free(s->fa);
    mem_free(s->fb);
    mem_free(s->fs);
    *s = (struct scorer){0};
}

static void load(const struct rows *r, const int64_t *index, int64_t i0, int64_t n, double *d_out, float *f_out)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t row = index ? index[i0 + i] : i0 + i;
        const float *x = r->x + row * r->d;
        double inverse = r->inverse[row];
        for (int64_t j = 0; j < r->d; j++) {
            double v = (double)x[j] * inverse;
            if (d_out)
                d_out[i * r->d + j] = v;
            else
                f_out[i * r->d + j] = (float)v;
        }
    }
}

void scorer_left(struct scorer *s, const struct rows *a, const int64_t *index, int64_t i0, int64_t n)
{
    BUG_ON(n > s->max_a || a->d != s->d);
    load(a, index, i0, n, s->da, s->fa);
}

void scorer_block(struct scorer *s, int64_t na, const struct rows *b, int64_t j0, int64_t nb, double *out, int64_t ld)
{
    BUG_ON(na > s->max_a || nb > s->max_b);
    if (s->b_of != b || s->b_at != j0 || s->b_n != nb) { /* a gallery of one block is loaded once */
        load(b, NULL, j0, nb, s->db, s->fb);
        s->b_of = b;
        s->b_at = j0;
        s->b_n = nb;
    }
    if (s->exact) {
        kernel_gemm_f64(false, true, na, nb, s->d, 1, s->da, s->d, s->db, s->d, 0, out, ld);
        return;
    }
    kernel_gemm_f32(false, true, na, nb, s->d, 1, s->fa, s->d, s->fb, s->d, 0, s->fs, nb);
    for (int64_t i = 0; i < na; i++)
        for (int64_t j = 0; j < nb; j++)
            out[i * ld + j] = (double)s->fs[i * nb + j];
}

static int sweep_blocks(const struct rows_sweep *w, struct scorer *s, double *scores, int64_t block, int64_t step,
                        struct progress *bar)
{
    int64_t m = w->b->n;
    for (int64_t q0 = 0; q0 < w->n; q0 += block) {
        int64_t nq = w->n - q0 < block ? w->n - q0 : block;
        TRY(signal_check());
        scorer_left(s, w->a, w->index, q0, nq);
        for (int64_t j0 = 0; j0 < m; j0 += step)
            scorer_block(s, nq, w->b, j0, m - j0 < step ? m - j0 : step, scores + j0, m);
        for (int64_t i = 0; i < nq; i++)
            TRY(w->each(w->ctx, q0 + i, scores + i * m));
        if (bar)
            progress_add(bar, nq);
    }
    return 0;
}

int rows_sweep(const struct rows_sweep *w)
{
    struct scorer s = {0};
    struct progress *bar = NULL;
    int64_t m = w->b->n;
    bool exact = m <= EXACT_ROWS;
    if (w->n == 0 || m == 0)
        return 0;
    int64_t block = BLOCK_SCORES / m, step = exact ? m : GALLERY_BLOCK;
    block = block < 1 ? 1 : block > QUERY_BLOCK ? QUERY_BLOCK : block;
    double *scores = mem_calloc((size_t)(block * m), sizeof *scores);
    int rc = scores ? scorer_open(&s, exact, w->a->d, block, step) : ERR_MEMORY;
    if (rc == 0 && w->n > (int64_t)1000000000 / m)
        progress_open(&bar, w->label, w->n, "queries");
    if (rc == 0)
        rc = sweep_blocks(w, &s, scores, block, step, bar);
    if (bar)
        progress_close(&bar);
    scorer_close(&s);
    mem_free(scores);
    return rc;
}
