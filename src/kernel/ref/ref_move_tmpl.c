/* kernel/ref/ref_move_tmpl.c: tables and movement, nothing is computed but sums of gradients.
 *
 * permute follows numpy's transpose: axis i of y is axis perm[i] of x. Ids are checked above (by the op, with a
 * message); a bad one here is our own fault and stops the program. */
#include "kernel/ref/ref_tmpl.h"

#include <string.h>

static void ref_embed_fwd(const struct engine *e, int64_t n, int64_t d, int64_t rows, const void *vtable,
                          const int32_t *ids, void *vy)
{
    const REAL *table = vtable;
    REAL *y = vy;
    for (int64_t i = 0; i < n; i++) {
        BUG_ON(ids[i] < 0 || ids[i] >= rows);
        memcpy(y + i * d, table + ids[i] * d, (size_t)d * sizeof(REAL));
    }
}

static void ref_embed_bwd(const struct engine *e, int64_t n, int64_t d, int64_t rows, const int32_t *ids,
                          const void *vdy, void *vdtable)
{
    const REAL *dy = vdy;
    REAL *dtable = vdtable;
    for (int64_t i = 0; dtable && i < n; i++) {
        BUG_ON(ids[i] < 0 || ids[i] >= rows);
        for (int64_t j = 0; j < d; j++)
            dtable[ids[i] * d + j] += dy[i * d + j];
    }
}

/* Pictures [B, C, H, W] and patches [B, (H/p)(W/p), C p p] hold the same numbers: visit each pair of places. */
static void patch_walk(int64_t b, int64_t c, int64_t h, int64_t w, int64_t p, const REAL *from, REAL *to, bool back)
{
    int64_t down = h / p, across = w / p;
    for (int64_t s = 0; s < b; s++) {
        for (int64_t k = 0; k < c; k++) {
            for (int64_t i = 0; i < down * p; i++) {
                for (int64_t j = 0; j < across * p; j++) {
                    int64_t pixel = ((s * c + k) * h + i) * w + j;
                    int64_t patch = s * down * across + i / p * across + j / p;
                    int64_t cell = (patch * c + k) * p * p + i % p * p + j % p;
                    if (back)
                        to[pixel] += from[cell];
                    else
                        to[cell] = from[pixel];
                }
            }
        }
    }
}

static void ref_patchify_fwd(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p,
                             const void *x, void *y)
{
    patch_walk(b, c, h, w, p, x, y, false);
}

static void ref_patchify_bwd(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p,
                             const void *dy, void *dx)
{
    if (dx)
        patch_walk(b, c, h, w, p, dy, dx, true);
}

static void ref_permute(const struct engine *e, int n_dims, const int64_t *shape, const int *perm, const void *vx,
                        void *vy, bool add)
{
    const REAL *x = vx;
    REAL *y = vy;
    int64_t n = 1, stride_y[8] = {0}; /* stride in y of each axis of x */
    BUG_ON(n_dims > 8);
    for (int k = n_dims - 1; k >= 0; k--) {
        stride_y[perm[k]] = n;
        n *= shape[perm[k]];
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t left = i, at = 0;
        for (int k = n_dims - 1; k >= 0; k--) {
            at += left % shape[k] * stride_y[k];
            left /= shape[k];
        }
        y[at] = add ? y[at] + x[i] : x[i];
    }
}

static void ref_copy_rows(const struct engine *e, int64_t outer, int64_t n_src, int64_t at_src, int64_t n_dst,
                          int64_t at_dst, int64_t n, int64_t inner, const void *vsrc, void *vdst, bool add)
{
    const REAL *src = vsrc;
    REAL *dst = vdst;
    for (int64_t o = 0; o < outer; o++) {
        const REAL *from = src + (o * n_src + at_src) * inner;
        REAL *to = dst + (o * n_dst + at_dst) * inner;
        for (int64_t i = 0; i < n * inner; i++)
            to[i] = add ? to[i] + from[i] : from[i];
    }
}

void REF_PART(move)(struct engine *e)
{
    e->embed_fwd = ref_embed_fwd;
    e->embed_bwd = ref_embed_bwd;
    e->patchify_fwd = ref_patchify_fwd;
    e->patchify_bwd = ref_patchify_bwd;
    e->permute = ref_permute;
    e->copy_rows = ref_copy_rows;
}
