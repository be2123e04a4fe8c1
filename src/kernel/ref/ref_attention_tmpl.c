/* kernel/ref/ref_attention_tmpl.c: scaled dot product attention (Vaswani 2017, equation 1) over packed heads.
 *
 * For each sample and head the whole row of weights (forward) or both matrices, weights P and score gradients dS
 * (backward), are formed explicitly in double: what a fused kernel must equal. Backward, with D_i = sum_j P_ij dP_ij:
 *   dV = P^T dO,  dP = dO V^T,  dS = P (dP - D),  dQ = scale dS K,  dK = scale dS^T Q.
 * A query with every key hidden gives zeros, lse = -inf and no gradient. */
#include "kernel/ref/ref_tmpl.h"

#include <math.h>

static const double HIDDEN = -(double)INFINITY; /* the score of a hidden key */

/* One head of one sample: pointers to its first element. */
struct head {
    const REAL *q, *k, *v, *dout;
    const uint8_t *keep; /* [Lk] or NULL */
};

static struct head head_at(const struct attention_dims *d, int64_t b, int64_t h, const REAL *q, const REAL *k,
                           const REAL *v, const uint8_t *keep, const REAL *dout)
{
    int64_t col = h * d->head_dim;
    return (struct head){.q = q + b * d->len_q * d->ld_q + col,
                         .k = k + b * d->len_k * d->ld_k + col,
                         .v = v + b * d->len_k * d->ld_v + col,
                         .dout = dout ? dout + b * d->len_q * d->ld_out + col : NULL,
                         .keep = keep ? keep + b * d->len_k : NULL};
}

static double dot(int64_t n, const REAL *a, const REAL *b)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* scale q_i k_j, or -inf where the key is hidden */
static double score(const struct attention_dims *d, const struct head *s, int64_t i, int64_t j)
{
    if ((d->causal && j > i) || (s->keep && !s->keep[j]))
        return HIDDEN;
    return d->scale * dot(d->head_dim, s->q + i * d->ld_q, s->k + j * d->ld_k);
}

/* p [Lk]: the weights of query i; returns log sum exp of its scores */
static double weights(const struct attention_dims *d, const struct head *s, int64_t i, double *p)
{
    double top = -(double)INFINITY, sum = 0;
    for (int64_t j = 0; j < d->len_k; j++) {
        p[j] = score(d, s, i, j);
        top = p[j] > top ? p[j] : top;
    }
    for (int64_t j = 0; j < d->len_k; j++) {
        p[j] = p[j] == HIDDEN ? 0 : exp(p[j] - top);
        sum += p[j];
    }
    for (int64_t j = 0; j < d->len_k && sum > 0; j++)
        p[j] /= sum;
    return sum == 0 ? HIDDEN : top + log(sum);
}

static int ref_attention_fwd(const struct engine *e, const struct attention_dims *d, const void *q, const void *k,
                             const void *v, const uint8_t *keep, void *vout, void *vlse)
{
    REAL *out = vout, *lse = vlse;
    double *p = mem_alloc((size_t)d->len_k * sizeof(double) + 1);
    if (!p)
        return ERR_MEMORY;
    for (int64_t bh = 0; bh < d->batch * d->heads; bh++) {
        int64_t b = bh / d->heads, h = bh % d->heads;
        struct head s = head_at(d, b, h, q, k, v, keep, NULL);
        for (int64_t i = 0; i < d->len_q; i++) {
            REAL *row = out + (b * d->len_q + i) * d->ld_out + h * d->head_dim;
            double row_lse = weights(d, &s, i, p);
            for (int64_t c = 0; c < d->head_dim; c++) {
                double sum = 0;
                for (int64_t j = 0; j < d->len_k; j++)
                    if (p[j] != 0)
                        sum += p[j] * (double)s.v[j * d->ld_v + c];
                row[c] = (REAL)sum;
            }
            if (lse)
                lse[bh * d->len_q + i] = (REAL)row_lse;
        }
    }
    mem_free(p);
    return 0;
}

/* p, ds [Lq, Lk] of one head from the saved lse [Lq] */
static void score_grads(const struct attention_dims *d, const struct head *s, const REAL *lse, double *p, double *ds)
{
    for (int64_t i = 0; i < d->len_q; i++) {
        double along = 0, *pi = p + i * d->len_k, *di = ds + i * d->len_k;
        for (int64_t j = 0; j < d->len_k; j++) {
            double x = score(d, s, i, j);
            pi[j] = x == HIDDEN ? 0 : exp(x - (double)lse[i]);
            di[j] = pi[j] == 0 ? 0 : dot(d->head_dim, s->dout + i * d->ld_out, s->v + j * d->ld_v);
            along += pi[j] * di[j];
        }
        for (int64_t j = 0; j < d->len_k; j++)
            di[j] = pi[j] * (di[j] - along);
    }
}

/* y [rows, hd] += factor * op(m) x, m [Lq, Lk]; transposed: rows are keys and x has a row a query */
static void add_product(const struct attention_dims *d, const double *m, bool transposed, double factor, const REAL *x,
                        int64_t ld_x, REAL *y, int64_t ld_y)
{
    int64_t rows = transposed ? d->len_k : d->len_q, inner = transposed ? d->len_q : d->len_k;
    for (int64_t r = 0; y && r < rows; r++) {
        for (int64_t c = 0; c < d->head_dim; c++) {
            double sum = 0;
            for (int64_t t = 0; t < inner; t++) {
                double w = transposed ? m[t * d->len_k + r] : m[r * d->len_k + t];
                if (w != 0)
                    sum += w * (double)x[t * ld_x + c];
            }
            y[r * ld_y + c] += (REAL)(factor * sum);
        }
    }
}

static int ref_attention_bwd(const struct engine *e, const struct attention_dims *d, const void *q, const void *k,
                             const void *v, const uint8_t *keep, const void *out, const void *vlse, const void *dout,
                             void *vdq, void *vdk, void *vdv)
{
    const REAL *lse = vlse;
    REAL *dq = vdq, *dk = vdk, *dv = vdv;
    size_t cells = (size_t)(d->len_q * d->len_k);
    double *p = mem_alloc(2 * cells * sizeof(double) + 1);
    if (!p)
        return ERR_MEMORY;
    double *ds = p + cells;
    for (int64_t bh = 0; bh < d->batch * d->heads; bh++) {
        int64_t b = bh / d->heads, col = bh % d->heads * d->head_dim;
        struct head s = head_at(d, b, bh % d->heads, q, k, v, keep, dout);
        score_grads(d, &s, lse + bh * d->len_q, p, ds);
        add_product(d, ds, false, d->scale, s.k, d->ld_k, dq ? dq + b * d->len_q * d->ld_q + col : NULL, d->ld_q);
        add_product(d, ds, true, d->scale, s.q, d->ld_q, dk ? dk + b * d->len_k * d->ld_k + col : NULL, d->ld_k);
        add_product(d, p, true, 1, s.dout, d->ld_out, dv ? dv + b * d->len_k * d->ld_v + col : NULL, d->ld_v);
    }
    mem_free(p);
    return 0;
}

void REF_PART(attention)(struct engine *e)
{
    e->attention_fwd = ref_attention_fwd;
    e->attention_bwd = ref_attention_bwd;
}
