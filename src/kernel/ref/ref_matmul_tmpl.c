/* kernel/ref/ref_matmul_tmpl.c: matrix products and the fused linear layer.
 *
 * C is computed in tiles of TILE_M x TILE_N that accumulate in double; a TILE_K x TILE_N piece of op(B) is copied to
 * the stack, so that the inner loop runs over neighbours whatever the storage order. That is enough to keep the tests
 * from crawling; anything faster belongs to engine cpu. `low` permits rounding of the operands, which a referee does
 * not make use of. */
#include "kernel/ref/ref_special.h"
#include "kernel/ref/ref_tmpl.h"

enum { TILE_M = 32, TILE_N = 64, TILE_K = 64 };

static int64_t tile(int64_t left, int64_t size)
{
    return left < size ? left : size;
}

/* piece[k][j] = op(B)[k0 + k, j0 + j], zero beyond the edge */
static void load_b(const struct matmul_dims *d, const REAL *b, int64_t k0, int64_t j0, double piece[TILE_K][TILE_N])
{
    int64_t nk = tile(d->k - k0, TILE_K), nj = tile(d->n - j0, TILE_N);
    for (int64_t k = 0; k < nk; k++) {
        for (int64_t j = 0; j < nj; j++)
            piece[k][j] = (double)(d->tb ? b[(j0 + j) * d->k + k0 + k] : b[(k0 + k) * d->n + j0 + j]);
        for (int64_t j = nj; j < TILE_N; j++)
            piece[k][j] = 0;
    }
}

static void matmul_tile(const struct matmul_dims *d, const REAL *a, const REAL *b, REAL *c, int64_t i0, int64_t j0)
{
    double acc[TILE_M][TILE_N] = {{0}}, piece[TILE_K][TILE_N];
    int64_t ni = tile(d->m - i0, TILE_M), nj = tile(d->n - j0, TILE_N);
    for (int64_t k0 = 0; k0 < d->k; k0 += TILE_K) {
        int64_t nk = tile(d->k - k0, TILE_K);
        load_b(d, b, k0, j0, piece);
        for (int64_t i = 0; i < ni; i++) {
            for (int64_t k = 0; k < nk; k++) {
                double aik = (double)(d->ta ? a[(k0 + k) * d->m + i0 + i] : a[(i0 + i) * d->k + k0 + k]);
                for (int64_t j = 0; j < TILE_N; j++)
                    acc[i][j] += aik * piece[k][j];
            }
        }
    }
    for (int64_t i = 0; i < ni; i++) {
        for (int64_t j = 0; j < nj; j++) {
            REAL *cij = c + (i0 + i) * d->n + j0 + j;
            double old = d->beta == 0 ? 0 : d->beta * (double)*cij; /* beta 0: C may be uninitialised */
            *cij = (REAL)(d->alpha * acc[i][j] + old);
        }
    }
}

static int ref_matmul(const struct engine *e, const struct matmul_dims *d, const void *va, const void *vb, void *vc)
{
    const REAL *a = va, *b = vb;
    REAL *c = vc;
    for (int64_t s = 0; s < d->batch; s++)
        for (int64_t i0 = 0; i0 < d->m; i0 += TILE_M)
            for (int64_t j0 = 0; j0 < d->n; j0 += TILE_N)
                matmul_tile(d, a + s * d->stride_a, b + s * d->stride_b, c + s * d->stride_c, i0, j0);
    return 0;
}

static int ref_linear_fwd(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                          const void *vbias, enum act act, bool low, void *vpre, void *vy)
{
    const REAL *bias = vbias;
    REAL *pre = vpre, *y = vy;
    struct matmul_dims d = {.batch = 1, .m = n, .n = out, .k = in, .tb = true, .low = low, .alpha = 1};
    TRY(ref_matmul(e, &d, x, w, y));
    for (int64_t i = 0; i < n * out; i++) {
        REAL value = bias ? y[i] + bias[i % out] : y[i];
        if (pre)
            pre[i] = value;
        y[i] = (REAL)ref_act(act, (double)value);
    }
    return 0;
}

static int ref_linear_bwd(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                          const void *vdpre, bool low, void *dx, void *dw, void *vdbias)
{
    const REAL *dpre = vdpre;
    REAL *dbias = vdbias;
    if (dx) { /* dx [n, in] += dpre [n, out] W [out, in] */
        struct matmul_dims d = {.batch = 1, .m = n, .n = in, .k = out, .low = low, .alpha = 1, .beta = 1};
        TRY(ref_matmul(e, &d, dpre, w, dx));
    }
    if (dw) { /* dw [out, in] += dpre^T [out, n] x [n, in] */
        struct matmul_dims d = {.batch = 1, .m = out, .n = in, .k = n, .ta = true, .low = low, .alpha = 1, .beta = 1};
        TRY(ref_matmul(e, &d, dpre, x, dw));
    }
    for (int64_t j = 0; dbias && j < out; j++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)dpre[i * out + j];
        dbias[j] += (REAL)sum;
    }
    return 0;
}

void REF_PART(matmul)(struct engine *e)
{
    e->matmul = ref_matmul;
    e->linear_fwd = ref_linear_fwd;
    e->linear_bwd = ref_linear_bwd;
}
