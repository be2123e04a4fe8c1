/* kernel/cpu/cpu_attention_tmpl.c: fused attention for short sequences, compiled once per instruction set.
 *
 * One (sample, head) at a time: keys are copied transposed, so that scores of a block of BLOCK queries against all keys
 * are a small matrix product whose vectors run over keys; softmax follows while the block is in L1, then the product
 * with the values. Backward recomputes the weights from lse and keeps both square matrices of one head, because at 16
 * to 200 keys they fit into L2 (the online softmax of Dao et al. 2022 pays only when they do not). A (sample, head) is
 * computed by one thread from start to end: results do not depend on the number of threads.
 *
 * Rejected: batched products of oneDNN on strided heads, which fall to its slow path and write the scores to memory. */
#include "kernel/cpu/cpu_lanes_tmpl.h"

#include <omp.h>

enum { BLOCK = 6 };
#if LANES == 16
enum { MAX_VECS = 4 };
#else
enum { MAX_VECS = 2 };
#endif

/* A small product C [rows, N] = A B. A is read at a[i * row_a + k * col_a]; rows of B and C are ld_b and ld_c apart. */
struct small {
    int64_t n_k, row_a, col_a, ld_b, ld_c;
};

/* R rows by V vectors: the sums live in registers. */
#define TILE(R, V)                                                                                                     \
    static void tile_##R##_##V(const struct small *s, const float *a, const float *b, float *c)                        \
    {                                                                                                                  \
        vec sum[R][V] = {{{0}}};                                                                                       \
        for (int64_t k = 0; k < s->n_k; k++, a += s->col_a, b += s->ld_b) {                                            \
            vec bv[V];                                                                                                 \
            for (int v = 0; v < V; v++)                                                                                \
                bv[v] = *(const vec *)(const void *)(b + v * LANES);                                                   \
            for (int r = 0; r < R; r++)                                                                                \
                for (int v = 0; v < V; v++)                                                                            \
                    sum[r][v] += a[r * s->row_a] * bv[v];                                                              \
        }                                                                                                              \
        for (int r = 0; r < R; r++)                                                                                    \
            for (int v = 0; v < V; v++)                                                                                \
                *(vec *)(void *)(c + r * s->ld_c + v * LANES) = sum[r][v];                                             \
    }
#define TILES(R) TILE(R, 1) TILE(R, 2) TILE(R, 3) TILE(R, 4)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)

typedef void (*tile_fn)(const struct small *, const float *, const float *, float *);
#define TILE_ROW(R)                                                                                                    \
    {                                                                                                                  \
        tile_##R##_1, tile_##R##_2, tile_##R##_3, tile_##R##_4                                                         \
    }
static const tile_fn tiles[BLOCK][4] = {TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4), TILE_ROW(5), TILE_ROW(6)};

/* rows <= BLOCK, n a multiple of LANES */
static void small_product(int64_t rows, int64_t n, const struct small *s, const float *a, const float *b, float *c)
{
    int64_t vecs = n / LANES;
    for (int64_t v = 0; v < vecs;) {
        int64_t left = vecs - v, now = left <= MAX_VECS ? left : left == MAX_VECS + 1 ? (left + 1) / 2 : MAX_VECS;
        tiles[rows - 1][now - 1](s, a, b + v * LANES, c + v * LANES);
        v += now;
    }
}

static int64_t padded(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}
static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One head of one sample, with the thread's buffers. */
struct head {
    const float *q, *k, *v, *dout;
    const uint8_t *keep;                  /* [Lk] or NULL */
    int64_t len_q, len_k, hd, keys, cols; /* keys, cols: len_k and hd rounded up to whole vectors */
    int64_t plain;                        /* no key before this one is hidden */
    int32_t *hidden;                      /* [keys] */
    float *kt, *vt;                       /* [hd, keys] */
    float *kk, *vv;                       /* [len_k, cols] */
    float *qq, *oo;                       /* [len_q, cols]: queries, gradient of the output */
    float *p, *ds;                        /* [BLOCK, keys] forward, [len_q, keys] backward */
    float *out;                           /* [BLOCK, cols] */
};

static float *take(float **at, int64_t n)
{
    float *p = *at;
    *at += (n + 15) / 16 * 16;
    return p;
}

/* Cuts the thread's memory into buffers; with at = NULL only counts the floats. */
static int64_t head_buffers(struct head *s, const struct attention_dims *d, bool backward, float *base)
{
    float *at = base;
    s->len_q = d->len_q, s->len_k = d->len_k, s->hd = d->head_dim;
    s->keys = padded(s->len_k), s->cols = padded(s->hd);
    int64_t rows = backward ? s->len_q : BLOCK;
    s->hidden = (int32_t *)(void *)take(&at, s->keys);
    s->kt = take(&at, s->hd * s->keys);
    s->vv = take(&at, backward ? 0 : s->len_k * s->cols);
    s->vt = take(&at, backward ? s->hd * s->keys : 0);
    s->kk = take(&at, backward ? s->len_k * s->cols : 0);
    s->qq = take(&at, backward ? s->len_q * s->cols : 0);
    s->oo = take(&at, backward ? s->len_q * s->cols : 0);
    s->p = take(&at, rows * s->keys);
    s->ds = take(&at, backward ? rows * s->keys : 0);
    s->out = take(&at, BLOCK * s->cols);
    return at - base;
}

/* to [n, cols] from rows of hd numbers, ld apart; rows of hidden keys become zeros, so that what they hold is not read
 */
static void pack_rows(const struct head *s, int64_t n, const float *from, int64_t ld, bool keys, float *to)
{
    for (int64_t i = 0; i < n; i++, from += ld, to += s->cols) {
        bool skip = keys && s->hidden[i];
        for (int64_t c = 0; c < s->cols; c += LANES)
            vec_store(to + c, skip ? vec_all(0.0f) : vec_load_part(from + c, s->hd - c));
    }
}

/* to [hd, keys] in squares of LANES */
static void pack_transposed(const struct head *s, const float *from, int64_t ld, float *to)
{
    for (int64_t j0 = 0; j0 < s->keys; j0 += LANES) {
        for (int64_t c0 = 0; c0 < s->hd; c0 += LANES) {
            vec square[LANES];
            for (int64_t j = 0; j < LANES; j++)
                square[j] = s->hidden[j0 + j] ? vec_all(0.0f) : vec_load_part(from + (j0 + j) * ld + c0, s->hd - c0);
            vec_transpose(square);
            for (int64_t c = 0; c < smaller(LANES, s->hd - c0); c++)
                vec_store(to + (c0 + c) * s->keys + j0, square[c]);
        }
    }
}

static void find_head(struct head *s, const struct attention_dims *d, int64_t bh, const float *q, const float *k,
                      const float *v, const float *dout, const uint8_t *keep)
{
    int64_t b = bh / d->heads, col = bh % d->heads * d->head_dim;
    s->q = q + b * d->len_q * d->ld_q + col;
    s->k = k + b * d->len_k * d->ld_k + col;
    s->v = v + b * d->len_k * d->ld_v + col;
    s->dout = dout ? dout + b * d->len_q * d->ld_out + col : NULL;
    s->keep = keep ? keep + b * d->len_k : NULL;
    for (int64_t j = 0; j < s->keys; j++)
        s->hidden[j] = j >= s->len_k || (s->keep && !s->keep[j]);
    s->plain = s->keep ? 0 : s->len_k;
    pack_transposed(s, s->k, d->ld_k, s->kt);
}

/* Keys that a block of queries ending before `end` can see. */
static int64_t keys_seen(const struct head *s, bool causal, int64_t end)
{
    return causal ? smaller(s->len_k, end) : s->len_k;
}

/* The scores p [n] of one query in units of ln 2, so that their weights are powers of two; -inf where hidden. Keys up
 * to `plain` are known to be seen. */
static vec score_at(const struct head *s, int64_t j, int64_t last, float scale, const float *p)
{
    vec x = vec_load(p + j) * scale;
    if (j + LANES <= s->plain && j + LANES - 1 <= last)
        return x;
    ivec at = ivec_load(lane_numbers) + (int32_t)j;
    ivec hide = (at > (int32_t)last) | (ivec_load(s->hidden + j) != 0);
    return vec_choose(hide, vec_all(-INFINITY), x);
}

/* Weights p [n] of a query from its scores, not yet divided by their sum, which is returned; top gets the maximum, in
 * units of ln 2. */
static float weigh(const struct head *s, int64_t n, int64_t last, float scale, float *p, float *top)
{
    vec most = vec_all(-INFINITY), sum = vec_all(0.0f);
    for (int64_t j = 0; j < n; j += LANES) {
        vec x = score_at(s, j, last, scale, p);
        vec_store(p + j, x);
        most = vec_max(most, x);
    }
    float m = vec_top(most);
    *top = m;
    float base = m == -INFINITY ? 0.0f : m; /* nothing to see, or only NaN: 2^-inf is 0, 2^NaN is NaN */
    for (int64_t j = 0; j < n; j += LANES) {
        vec x = vec_exp2(vec_load(p + j) - base);
        vec_store(p + j, x);
        sum += x;
    }
    return vec_sum(sum);
}

static void head_fwd(struct head *s, const struct attention_dims *d, float *out, float *lse)
{
    float scale = (float)(d->scale * LOG2_E);
    pack_rows(s, s->len_k, s->v, d->ld_v, true, s->vv);
    for (int64_t i0 = 0; i0 < s->len_q; i0 += BLOCK) {
        int64_t rows = smaller(BLOCK, s->len_q - i0), seen = keys_seen(s, d->causal, i0 + rows), n = padded(seen);
        float share[BLOCK];
        struct small qk = {s->hd, d->ld_q, 1, s->keys, s->keys}, pv = {seen, s->keys, 1, s->cols, s->cols};
        small_product(rows, n, &qk, s->q + i0 * d->ld_q, s->kt, s->p);
        for (int64_t r = 0; r < rows; r++) {
            float top, sum = weigh(s, n, d->causal ? i0 + r : s->keys, scale, s->p + r * s->keys, &top);
            share[r] = sum == 0.0f ? 0.0f : 1.0f / sum;
            if (lse)
                lse[i0 + r] = sum == 0.0f ? -INFINITY : top * (float)(1.0 / LOG2_E) + logf(sum);
        }
        small_product(rows, s->cols, &pv, s->p, s->vv, s->out);
        for (int64_t r = 0; r < rows; r++) {
            VECTOR
            for (int64_t c = 0; c < s->hd; c++)
                out[(i0 + r) * d->ld_out + c] = s->out[r * s->cols + c] * share[r];
        }
    }
}

static void add_rows(const struct head *s, int64_t rows, float *to, int64_t ld)
{
    for (int64_t r = 0; r < rows; r++) {
        VECTOR
        for (int64_t c = 0; c < s->hd; c++)
            to[r * ld + c] += s->out[r * s->cols + c];
    }
}

/* From scores and dP to the weights p and the gradient ds of the scores (scale included), rows of one query. */
static void score_grad(const struct head *s, int64_t n, int64_t last, float scale, float lse, float *p, float *ds)
{
    if (lse == -INFINITY) { /* every key hidden */
        memset(p, 0, (size_t)s->keys * sizeof *p);
        memset(ds, 0, (size_t)s->keys * sizeof *ds);
        return;
    }
    float base = lse * (float)LOG2_E;
    vec along = vec_all(0.0f);
    for (int64_t j = 0; j < n; j += LANES) {
        vec x = vec_exp2(score_at(s, j, last, scale * (float)LOG2_E, p) - base);
        vec_store(p + j, x);
        along += x * vec_load(ds + j);
    }
    float mean = vec_sum(along);
    for (int64_t j = 0; j < n; j += LANES)
        vec_store(ds + j, vec_load(p + j) * (vec_load(ds + j) - mean) * scale);
    for (int64_t j = n; j < s->keys; j++)
        p[j] = ds[j] = 0.0f;
}

static void head_bwd(struct head *s, const struct attention_dims *d, const float *lse, float *dq, float *dk, float *dv)
{
    pack_transposed(s, s->v, d->ld_v, s->vt);
    pack_rows(s, s->len_k, s->k, d->ld_k, true, s->kk);
    pack_rows(s, s->len_q, s->q, d->ld_q, false, s->qq);
    pack_rows(s, s->len_q, s->dout, d->ld_out, false, s->oo);
    for (int64_t i0 = 0; i0 < s->len_q; i0 += BLOCK) {
        int64_t rows = smaller(BLOCK, s->len_q - i0), seen = keys_seen(s, d->causal, i0 + rows), n = padded(seen);
        float *p = s->p + i0 * s->keys, *ds = s->ds + i0 * s->keys;
        struct small wide = {s->hd, s->cols, 1, s->keys, s->keys}, back = {seen, s->keys, 1, s->cols, s->cols};
        small_product(rows, n, &wide, s->qq + i0 * s->cols, s->kt, p);
        small_product(rows, n, &wide, s->oo + i0 * s->cols, s->vt, ds);
        for (int64_t r = 0; r < rows; r++)
            score_grad(s, n, d->causal ? i0 + r : s->keys, (float)d->scale, lse[i0 + r], p + r * s->keys,
                       ds + r * s->keys);
        if (!dq)
            continue;
        small_product(rows, s->cols, &back, ds, s->kk, s->out);
        add_rows(s, rows, dq + i0 * d->ld_q, d->ld_q);
    }
    for (int64_t j0 = 0; j0 < s->len_k; j0 += BLOCK) {
        int64_t rows = smaller(BLOCK, s->len_k - j0), from = d->causal ? smaller(j0, s->len_q) : 0;
        struct small t = {s->len_q - from, 1, s->keys, s->cols, s->cols}; /* the transposes, queries from `from` on */
        if (dk) {
            small_product(rows, s->cols, &t, s->ds + from * s->keys + j0, s->qq + from * s->cols, s->out);
            add_rows(s, rows, dk + j0 * d->ld_k, d->ld_k);
        }
        if (dv) {
            small_product(rows, s->cols, &t, s->p + from * s->keys + j0, s->oo + from * s->cols, s->out);
            add_rows(s, rows, dv + j0 * d->ld_v, d->ld_v);
        }
    }
}

enum { MAX_CELLS = 1 << 22 }; /* of one square matrix in the backward pass */

static int attention_fwd(const struct engine *e, const struct attention_dims *d, const void *q, const void *k,
                         const void *v, const uint8_t *keep, void *out, void *lse)
{
    struct head s;
    int64_t size = head_buffers(&s, d, false, NULL);
    float *memory = cpu_scratch(SCRATCH_HEADS, (size_t)(size * e->threads) * sizeof *memory);
    if (!memory)
        return ERR_MEMORY;
    PRAGMA(omp parallel for schedule(dynamic) num_threads(e->threads) private(s))
    for (int64_t bh = 0; bh < d->batch * d->heads; bh++) {
        int64_t b = bh / d->heads, col = bh % d->heads * d->head_dim;
        head_buffers(&s, d, false, memory + size * omp_get_thread_num());
        find_head(&s, d, bh, q, k, v, NULL, keep);
        head_fwd(&s, d, (float *)out + b * d->len_q * d->ld_out + col, lse ? (float *)lse + bh * d->len_q : NULL);
    }
    return 0;
}

static int attention_bwd(const struct engine *e, const struct attention_dims *d, const void *q, const void *k,
                         const void *v, const uint8_t *keep, const void *out, const void *lse, const void *dout,
                         void *dq, void *dk, void *dv)
{
    struct head s;
    if (d->len_q * padded(d->len_k) > MAX_CELLS)
        return cpu_ref.attention_bwd(e, d, q, k, v, keep, out, lse, dout, dq, dk, dv);
    int64_t size = head_buffers(&s, d, true, NULL);
    float *memory = cpu_scratch(SCRATCH_HEADS, (size_t)(size * e->threads) * sizeof *memory);
    if (!memory)
        return ERR_MEMORY;
    PRAGMA(omp parallel for schedule(dynamic) num_threads(e->threads) private(s))
    for (int64_t bh = 0; bh < d->batch * d->heads; bh++) {
        int64_t b = bh / d->heads, col = bh % d->heads * d->head_dim;
        head_buffers(&s, d, true, memory + size * omp_get_thread_num());
        find_head(&s, d, bh, q, k, v, dout, keep);
        head_bwd(&s, d, (const float *)lse + bh * d->len_q, dq ? (float *)dq + b * d->len_q * d->ld_q + col : NULL,
                 dk ? (float *)dk + b * d->len_k * d->ld_k + col : NULL,
                 dv ? (float *)dv + b * d->len_k * d->ld_v + col : NULL);
    }
    return 0;
}

void CPU_FN(cpu_attention_fill)(struct engine *e)
{
    e->attention_fwd = attention_fwd;
    e->attention_bwd = attention_bwd;
}
