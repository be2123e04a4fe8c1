/* kernel/cpu/cpu_few.c: linear layers over few rows, in AVX-512 (Goto and van de Geijn 2008 for the shape of the
 * loops).
 *
 * A batch of 64 rows through a layer of 512 x 512 is bound by the weights: a library packs them for the processor
 * first, and packing costs as much as it saves. Here weights are read once, as they lie. What is small, the rows, is
 * turned instead, so that the batch runs along the lanes of the registers:
 *
 *   y^T  [out,n] = W [out,in] x^T [in,n]          dx^T [in,n] = W^T [in,out] dy^T [out,n]
 *   dW [out,in] += dy^T [out,n] x [n,in]          (this one needs nothing turned)
 *
 * All three are tiles of 6 rows by 64 lanes, 24 sums in registers: a number of the left operand is spread over the
 * lanes and meets 4 registers of the right one. Each sum runs along the inner axis in order, in pieces of 128, so that
 * results depend neither on the threads nor on which rows stand beside a row. In one piece, sums of 512 had twice the
 * rounding error (2.4e-7 where numbers are 0.6, 1.2e-7 now, OpenBLAS 1.6e-7) for 2 % less time. Compiled with avx512
 * and called only where cpu.c found it. Rejected: oneDNN's inner_product with weights laid out for it (they change with
 * every step). */
#include "kernel/cpu/cpu.h"

#include <immintrin.h>
#include <string.h>

enum {
    MOST = 256,
    LEAST = 65536,
    LANES = 64,
    TALL = 6,
    WIDE = 4,
    CHUNK = 48,
    DEPTH = 128
}; /* CHUNK: whole tiles and whole 16s */

static struct {
    int (*fwd)(const struct engine *, int64_t, int64_t, int64_t, const void *, const void *, const void *, enum act,
               bool, void *, void *);
    int (*bwd)(const struct engine *, int64_t, int64_t, int64_t, const void *, const void *, const void *, bool, void *,
               void *, void *);
} many; /* the slots for more rows */

/* The left operand of a tile: number (r, k) is a[r * row + k * step]. ahead: rows that come next, or a itself. */
struct left {
    const float *a, *ahead;
    int64_t row, step;
};

/* c [R, 16 V] (+)= sum over k < n of left(r, k) b[k]; rows of c are ldc apart. */
#define TILE(R, V)                                                                                                     \
    static void tile_##R##_##V(int64_t n, const struct left *l, const float *b, int64_t ldb, float *c, int64_t ldc,    \
                               bool add)                                                                               \
    {                                                                                                                  \
        const float *a = l->a, *ahead = l->ahead;                                                                      \
        const int64_t row = l->row, step = l->step;                                                                    \
        __m512 s[R][V];                                                                                                \
        for (int r = 0; r < R; r++)                                                                                    \
            for (int v = 0; v < V; v++)                                                                                \
                s[r][v] = _mm512_setzero_ps();                                                                         \
        for (int r = 0; add && r < R; r++)                                                                             \
            for (int v = 0; v < V; v++)                                                                                \
                _mm_prefetch((const char *)(c + r * ldc + 16 * v), _MM_HINT_T0);                                       \
        for (int64_t k = 0; k < n; k++) {                                                                              \
            __m512 x[V];                                                                                               \
            for (int v = 0; v < V; v++)                                                                                \
                x[v] = _mm512_loadu_ps(b + k * ldb + 16 * v);                                                          \
            for (int r = 0; step == 1 && k % 16 == 0 && r < R; r++)                                                    \
                _mm_prefetch((const char *)(ahead + r * row + k), _MM_HINT_T0);                                        \
            for (int r = 0; r < R; r++) {                                                                              \
                __m512 w = _mm512_set1_ps(a[r * row + k * step]);                                                      \
                for (int v = 0; v < V; v++)                                                                            \
                    s[r][v] = _mm512_fmadd_ps(w, x[v], s[r][v]);                                                       \
            }                                                                                                          \
        }                                                                                                              \
        for (int r = 0; r < R; r++)                                                                                    \
            for (int v = 0; v < V; v++) {                                                                              \
                float *at = c + r * ldc + 16 * v;                                                                      \
                _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), s[r][v]) : s[r][v]);                     \
            }                                                                                                          \
    }
#define TILES(R) TILE(R, 1) TILE(R, 2) TILE(R, 3) TILE(R, 4)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
#undef TILES
#undef TILE

typedef void (*tile_fn)(int64_t n, const struct left *l, const float *b, int64_t ldb, float *c, int64_t ldc, bool add);
#define TILES(R)                                                                                                       \
    {                                                                                                                  \
        tile_##R##_1, tile_##R##_2, tile_##R##_3, tile_##R##_4                                                         \
    }
static const tile_fn tiles[TALL][WIDE] = {TILES(1), TILES(2), TILES(3), TILES(4), TILES(5), TILES(6)};
#undef TILES

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t blocks_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static __mmask16 first(int64_t n)
{
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1u);
}

/* 16 rows of 16 become their columns. */
static void turn(__m512 r[16])
{
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]), c = _mm512_castps_pd(t[i + 2]),
                d = _mm512_castps_pd(t[i + 3]);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    for (int i = 0; i < 4; i++) { /* r[i], r[i+4], r[i+8], r[i+12]: columns i, i+4, i+8, i+12 in quarters */
        __m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        __m512 c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88), d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        t[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
    memcpy(r, t, sizeof t);
}

/* Blocks of 64 rows of x [n,d], each as [d,64]; lanes that stand for no row are zero, as far as tiles read. */
static float *turned(int threads, int64_t n, int64_t d, const float *x)
{
    float *y = cpu_scratch(SCRATCH_A, (size_t)(blocks_of(n, LANES) * LANES * d) * sizeof *y);
    int64_t groups = blocks_of(n, 16);
    if (!y)
        return NULL;
#pragma omp parallel for schedule(static) num_threads(threads) if (n * d >= 65536)
    for (int64_t j = 0; j < blocks_of(d, 16); j++)
        for (int64_t g = 0; g < groups; g++) {
            float *to = y + g / WIDE * LANES * d + j * 16 * LANES + g % WIDE * 16;
            int64_t rows = least(16, n - g * 16), columns = least(16, d - j * 16);
            __m512 r[16];
            for (int i = 0; i < 16; i++)
                r[i] = i < rows ? _mm512_maskz_loadu_ps(first(columns), x + (g * 16 + i) * d + j * 16)
                                : _mm512_setzero_ps();
            turn(r);
            for (int i = 0; i < columns; i++)
                _mm512_storeu_ps(to + i * LANES, r[i]);
        }
    return y;
}

/* One chunk of a product whose rows lie along the lanes: c [rows <= CHUNK, LANES] = left x b, inner axis k. */
static void chunk(const float *w, int64_t row, int64_t step, int64_t rows, int64_t k, const float *b, int64_t lanes,
                  float *c)
{
    for (int64_t at = 0; at < k; at += DEPTH)
        for (int64_t i = 0; i < rows; i += TALL) {
            int64_t tall = least(TALL, rows - i);
            struct left l = {.a = w + i * row + at * step, .row = row, .step = step};
            l.ahead = i + 2 * TALL <= rows ? l.a + TALL * row : l.a;
            tiles[tall - 1][blocks_of(lanes, 16) - 1](least(DEPTH, k - at), &l, b + at * LANES, LANES, c + i * LANES,
                                                      LANES, at > 0);
        }
}

/* ---- forward ---- */

struct forward {
    int64_t in, out;
    const float *w, *bias;
    float *pre, *y; /* pre: the sums, y: relu of them; or y NULL */
};

/* c [rows, LANES] of outputs o .. o + rows and rows n0 .. n0 + n, turned back, biased and written. */
static void put_outputs(const struct forward *f, const float *c, int64_t o, int64_t rows, int64_t n0, int64_t n)
{
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t j = 0; j < n; j += 16) {
            __mmask16 some = first(rows - i);
            __m512 r[16], bias = f->bias ? _mm512_maskz_loadu_ps(some, f->bias + o + i) : _mm512_setzero_ps();
            for (int k = 0; k < 16; k++)
                r[k] = i + k < rows ? _mm512_loadu_ps(c + (i + k) * LANES + j) : _mm512_setzero_ps();
            turn(r);
            for (int k = 0; k < least(16, n - j); k++) {
                int64_t at = (n0 + j + k) * f->out + o + i;
                __m512 v = _mm512_add_ps(r[k], bias);
                if (f->pre)
                    _mm512_mask_storeu_ps(f->pre + at, some, v);
                if (f->y) /* this order: NaN stays NaN */
                    _mm512_mask_storeu_ps(f->y + at, some, _mm512_max_ps(_mm512_setzero_ps(), v));
            }
        }
}

static int few_fwd(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                   const void *bias, enum act act, bool low, void *pre, void *y)
{
    if (n <= 0 || in <= 0 || out <= 0 || n > MOST || in * out < LEAST || low)
        return many.fwd(e, n, in, out, x, w, bias, act, low, pre, y);
    const float *b = turned(e->threads, n, in, x);
    if (!b)
        return ERR_MEMORY;
    struct forward f = {in, out, w, bias, act == ACT_RELU ? pre : pre ? pre : y, act == ACT_RELU ? y : NULL};
#pragma omp parallel for schedule(static) num_threads(e->threads) if (n * in * out >= 65536)
    for (int64_t o = 0; o < out; o += CHUNK)
        for (int64_t n0 = 0; n0 < n; n0 += LANES) {
            float c[CHUNK * LANES];
            int64_t rows = least(CHUNK, out - o), lanes = least(LANES, n - n0);
            chunk(f.w + o * in, in, 1, rows, in, b + n0 * in, lanes, c);
            put_outputs(&f, c, o, rows, n0, lanes);
        }
    if (act == ACT_NONE && pre)
        e->copy(e, y, pre, n * out);
    else if (act != ACT_NONE && act != ACT_RELU)
        e->act_fwd(e, act, f.pre, y, n * out);
    return 0;
}

/* ---- backward ---- */

/* dx [n,in] += dy [n,out] W */
static int to_inputs(const struct engine *e, int64_t n, int64_t in, int64_t out, const float *w, const float *dy,
                     float *dx)
{
    const float *b = turned(e->threads, n, out, dy);
    if (!b)
        return ERR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(e->threads) if (n * in * out >= 65536)
    for (int64_t o = 0; o < in; o += CHUNK)
        for (int64_t n0 = 0; n0 < n; n0 += LANES) {
            float c[CHUNK * LANES];
            int64_t rows = least(CHUNK, in - o), lanes = least(LANES, n - n0);
            chunk(w + o, 1, in, rows, out, b + n0 * out, lanes, c);
            for (int64_t i = 0; i < rows; i += 16)
                for (int64_t j = 0; j < lanes; j += 16) {
                    __m512 r[16];
                    for (int k = 0; k < 16; k++)
                        r[k] = i + k < rows ? _mm512_loadu_ps(c + (i + k) * LANES + j) : _mm512_setzero_ps();
                    turn(r);
                    for (int k = 0; k < least(16, lanes - j); k++) {
                        float *at = dx + (n0 + j + k) * in + o + i;
                        __mmask16 some = first(rows - i);
                        _mm512_mask_storeu_ps(at, some, _mm512_add_ps(_mm512_maskz_loadu_ps(some, at), r[k]));
                    }
                }
        }
    return 0;
}

/* dW [out,in] += dy^T [out,n] x [n,in]; whole registers of inputs. */
static void to_weights(const struct engine *e, int64_t n, int64_t in, int64_t out, const float *x, const float *dy,
                       float *dw)
{
#pragma omp parallel for schedule(static) num_threads(e->threads) if (n * in * out >= 65536)
    for (int64_t o = 0; o < out; o += CHUNK)
        for (int64_t j = 0; j < in; j += LANES)
            for (int64_t i = o; i < least(o + CHUNK, out); i += TALL) {
                struct left l = {.a = dy + i, .ahead = dy + i, .row = 1, .step = out};
                int64_t tall = least(TALL, out - i), wide = blocks_of(least(LANES, in - j), 16);
                tiles[tall - 1][wide - 1](n, &l, x + j, in, dw + i * in + j, in, true);
            }
}

static int few_bwd(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                   const void *dpre, bool low, void *dx, void *dw, void *dbias)
{
    if (n <= 0 || in <= 0 || out <= 0 || n > MOST || in * out < LEAST || low || in % 16 != 0)
        return many.bwd(e, n, in, out, x, w, dpre, low, dx, dw, dbias);
    if (dx)
        TRY(to_inputs(e, n, in, out, w, dpre, dx));
    if (dw)
        to_weights(e, n, in, out, x, dpre, dw);
    if (dbias)
        cpu_vec.add_columns(e->threads, n, out, dpre, dbias);
    return 0;
}

void cpu_few_fill(struct engine *e)
{
    many.fwd = e->linear_fwd;
    many.bwd = e->linear_bwd;
    e->linear_fwd = few_fwd;
    e->linear_bwd = few_bwd;
}
