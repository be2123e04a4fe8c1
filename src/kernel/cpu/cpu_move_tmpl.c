/* kernel/cpu/cpu_move_tmpl.c: tables and movement, compiled once per instruction set.
 *
 * Movement is memory traffic: rows move by memcpy or by one vector loop, threads share the rows. permute merges axes
 * that stay neighbours; what remains is mostly a copy of rows (heads) or a transposition, which goes in square blocks.
 */
#include "kernel/cpu/cpu_math_tmpl.h"

static void move_row(int64_t n, const float *from, float *to, bool add)
{
    if (!add) {
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
    VECTOR
    for (int64_t j = 0; j < n; j++)
        to[j] += from[j];
}

static void fill(const struct engine *e, void *x_, double value, int64_t n)
{
    float *x = x_, v = (float)value;
    FLAT(e->threads, n)
    for (int64_t i = 0; i < n; i++)
        x[i] = v;
}

static void copy(const struct engine *e, void *dst, const void *src, int64_t n)
{
    enum { PIECE = 65536 };
    ROWS(e->threads, n)
    for (int64_t i = 0; i < (n + PIECE - 1) / PIECE; i++) {
        int64_t len = (i + 1) * PIECE <= n ? PIECE : n - i * PIECE;
        memmove((float *)dst + i * PIECE, (const float *)src + i * PIECE, (size_t)len * sizeof(float));
    }
}

static void embed_fwd(const struct engine *e, int64_t n, int64_t d, int64_t rows, const void *table_,
                      const int32_t *ids, void *y_)
{
    const float *table = table_;
    float *y = y_;
    for (int64_t i = 0; i < n; i++)
        BUG_ON(ids[i] < 0 || ids[i] >= rows);
    ROWS(e->threads, n * d)
    for (int64_t i = 0; i < n; i++)
        memcpy(y + i * d, table + ids[i] * d, (size_t)d * sizeof *y);
}

/* Threads share the columns, not the rows: two rows may have the same id, and the order of additions stays that of i.
 */
static void embed_bwd(const struct engine *e, int64_t n, int64_t d, int64_t rows, const int32_t *ids, const void *dy_,
                      void *dtable_)
{
    enum { COLUMNS = 64 };
    const float *dy = dy_;
    float *dtable = dtable_;
    for (int64_t i = 0; i < n; i++)
        BUG_ON(ids[i] < 0 || ids[i] >= rows);
    ROWS(e->threads, n * d)
    for (int64_t j0 = 0; j0 < (dtable ? d : 0); j0 += COLUMNS) {
        int64_t len = j0 + COLUMNS < d ? COLUMNS : d - j0;
        for (int64_t i = 0; i < n; i++)
            move_row(len, dy + i * d + j0, dtable + ids[i] * d + j0, true);
    }
}

/* A unit of work is one row of pixels of one channel: across runs of p numbers. */
static void patch_walk(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p, const float *from,
                       float *to, bool back)
{
    int64_t down = h / p, across = w / p, lines = down * p;
    ROWS(e->threads, b * c * h * w)
    for (int64_t r = 0; r < b * c * lines; r++) {
        int64_t s = r / (c * lines), k = r / lines % c, i = r % lines;
        int64_t pixel = ((s * c + k) * h + i) * w,
                cell = ((s * down * across + i / p * across) * c + k) * p * p + i % p * p;
        for (int64_t j = 0; j < across; j++, pixel += p, cell += c * p * p) {
            if (back)
                move_row(p, from + cell, to + pixel, true);
            else
                memcpy(to + cell, from + pixel, (size_t)p * sizeof *to);
        }
    }
}

static void patchify_fwd(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p, const void *x,
                         void *y)
{
    patch_walk(e, b, c, h, w, p, x, y, false);
}

static void patchify_bwd(const struct engine *e, int64_t b, int64_t c, int64_t h, int64_t w, int64_t p, const void *dy,
                         void *dx)
{
    if (dx)
        patch_walk(e, b, c, h, w, p, dy, dx, true);
}

/* Axes of y, merged where they were neighbours in x: size and stride in x of each. */
struct axes {
    int n;
    int64_t size[8], stride[8];
};

static struct axes merged_axes(int n_dims, const int64_t *shape, const int *perm)
{
    struct axes m = {0};
    int64_t stride_x[8], n = 1;
    for (int k = n_dims - 1; k >= 0; k--) {
        stride_x[k] = n;
        n *= shape[k];
    }
    for (int k = 0; k < n_dims; k++) {
        int64_t size = shape[perm[k]], stride = stride_x[perm[k]];
        if (size == 1)
            continue;
        if (m.n > 0 && m.stride[m.n - 1] == stride * size) {
            m.size[m.n - 1] *= size;
            m.stride[m.n - 1] = stride;
            continue;
        }
        m.size[m.n] = size;
        m.stride[m.n++] = stride;
    }
    return m;
}

/* y [rows, cols] (+)= x read at i + j stride: a block of a transposition */
static void transpose_block(int64_t rows, int64_t cols, const float *x, int64_t stride, float *y, int64_t ld, bool add)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            float v = x[i + j * stride];
            y[i * ld + j] = add ? y[i * ld + j] + v : v;
        }
    }
}

/* Place in x of number `at` of the first n axes. */
static int64_t place_of(const struct axes *m, int n, int64_t at)
{
    int64_t place = 0;
    for (int k = n - 1; k >= 0; k--) {
        place += at % m->size[k] * m->stride[k];
        at /= m->size[k];
    }
    return place;
}

static void permute(const struct engine *e, int n_dims, const int64_t *shape, const int *perm, const void *x_, void *y_,
                    bool add)
{
    enum { SIDE = 32 };
    BUG_ON(n_dims > 8);
    struct axes m = merged_axes(n_dims, shape, perm);
    const float *x = x_;
    float *y = y_;
    int64_t outer = 1;
    for (int k = 0; k < m.n - 1; k++)
        outer *= m.size[k];
    if (m.n == 0) {
        move_row(1, x, y, add);
    } else if (m.stride[m.n - 1] == 1) { /* rows stay rows */
        int64_t cols = m.size[m.n - 1];
        ROWS(e->threads, outer * cols)
        for (int64_t r = 0; r < outer; r++)
            move_row(cols, x + place_of(&m, m.n - 1, r), y + r * cols, add);
    } else if (m.n >= 2 && m.stride[m.n - 2] == 1) { /* the last two axes change places */
        int64_t rows = m.size[m.n - 2], cols = m.size[m.n - 1], stride = m.stride[m.n - 1], n = outer / rows;
        int64_t bands = (rows + SIDE - 1) / SIDE;
        ROWS(e->threads, outer * cols)
        for (int64_t r = 0; r < n * bands; r++) {
            int64_t i0 = r % bands * SIDE, ni = i0 + SIDE < rows ? SIDE : rows - i0;
            const float *from = x + place_of(&m, m.n - 2, r / bands) + i0;
            float *to = y + (r / bands * rows + i0) * cols;
            for (int64_t j0 = 0; j0 < cols; j0 += SIDE)
                transpose_block(ni, j0 + SIDE < cols ? SIDE : cols - j0, from + j0 * stride, stride, to + j0, cols,
                                add);
        }
    } else {
        int64_t cols = m.size[m.n - 1], stride = m.stride[m.n - 1];
        ROWS(e->threads, outer * cols)
        for (int64_t r = 0; r < outer; r++)
            transpose_block(1, cols, x + place_of(&m, m.n - 1, r), stride, y + r * cols, cols, add);
    }
}

static void copy_rows(const struct engine *e, int64_t outer, int64_t n_src, int64_t at_src, int64_t n_dst,
                      int64_t at_dst, int64_t n, int64_t inner, const void *src_, void *dst_, bool add)
{
    const float *src = src_;
    float *dst = dst_;
    ROWS(e->threads, outer * n * inner)
    for (int64_t o = 0; o < outer; o++)
        move_row(n * inner, src + (o * n_src + at_src) * inner, dst + (o * n_dst + at_dst) * inner, add);
}

void CPU_FN(cpu_move_fill)(struct engine *e)
{
    e->fill = fill;
    e->copy = copy;
    e->embed_fwd = embed_fwd;
    e->embed_bwd = embed_bwd;
    e->patchify_fwd = patchify_fwd;
    e->patchify_bwd = patchify_bwd;
    e->permute = permute;
    e->copy_rows = copy_rows;
}
