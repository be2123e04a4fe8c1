/* data/resize_loops.c: the two passes of resize.c as plain loops that vectorise; compiled once per instruction set.
 *
 * Across, taps run along a row of interleaved channels, which no vector likes. So 32 rows are turned into columns of 32
 * bytes first (exact, and cheap beside the sums); then every tap is one weight times 32 neighbouring bytes, and the
 * results are turned back. Down, neighbours in a row share their weights as they are. The sums are the integers of the
 * scalar loop in another order, so every instruction set gives the same bytes (tests/data/test_resize.c).
 * Rejected: intrinsics (this room has none), four channels a pixel as one vector of four (half as fast). */
#include "data/resize.h"

#include <string.h>

#define LANES RESIZE_LANES
#define HALF 16
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define HALF_UNIT (1 << (RESIZE_PRECISION - 1))

static inline uint8_t clip8(int32_t sum)
{
    int32_t v = sum >> RESIZE_PRECISION; /* arithmetic shift on every compiler we name */
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* in [16 rows of n bytes] -> out [n, 16] */
static void turn(uint8_t *restrict out, const uint8_t *restrict in, size_t stride, int n)
{
    for (int b = 0; b < n; b++)
        for (int k = 0; k < HALF; k++)
            out[b * HALF + k] = in[(size_t)k * stride + (size_t)b];
}

/* columns [span * c, LANES] -> out [n * c, LANES] */
static void sum_across(uint8_t *restrict out, const uint8_t *restrict columns, int c, const struct resize_weights *k,
                       int from, int n)
{
    int base = k->first[from];
    for (int x = 0; x < n; x++) {
        const int32_t *restrict w = k->w + (size_t)(from + x) * (size_t)k->taps;
        int count = k->count[from + x];
        for (int ch = 0; ch < c; ch++) {
            const uint8_t *restrict p =
                columns + ((size_t)(k->first[from + x] - base) * (size_t)c + (size_t)ch) * LANES;
            int32_t sum[LANES];
            for (int j = 0; j < LANES; j++)
                sum[j] = HALF_UNIT;
            for (int i = 0; i < count; i++, p += c * LANES)
                for (int j = 0; j < LANES; j++)
                    sum[j] += p[j] * w[i];
            for (int j = 0; j < LANES; j++)
                out[(x * c + ch) * LANES + j] = clip8(sum[j]);
        }
    }
}

/* in [n, LANES] -> LANES rows of n bytes */
static void turn_back(uint8_t *restrict out, size_t stride, const uint8_t *restrict in, int n, uint8_t *restrict tmp)
{
    int b = 0;
    for (; b + HALF <= n; b += HALF) {
        turn(tmp, in + (size_t)b * LANES, LANES, LANES);
        for (size_t k = 0; k < LANES; k++)
            memcpy(out + k * stride + b, tmp + k * HALF, HALF);
    }
    for (; b < n; b++)
        for (size_t k = 0; k < LANES; k++)
            out[k * stride + (size_t)b] = in[(size_t)b * LANES + k];
}

static void across(uint8_t *out, size_t out_stride, const uint8_t *in, size_t in_stride, int c,
                   const struct resize_weights *k, int from, int n, uint8_t *scratch)
{
    int span = resize_span(k);
    uint8_t *columns = scratch, *half = columns + (size_t)span * (size_t)c * LANES;
    uint8_t *sums = half + (size_t)span * (size_t)c * HALF, *tmp = sums + (size_t)RESIZE_GROUP * (size_t)c * LANES;
    for (int x = 0, group; x < n; x += group) {
        int base = k->first[from + x], end = base;
        for (group = 0; group < RESIZE_GROUP && x + group < n; group++) {
            int to = k->first[from + x + group] + k->count[from + x + group];
            if (group && to - base > span)
                break;
            end = to > end ? to : end;
        }
        int bytes = (end - base) * c;
        for (size_t h = 0; h < LANES / HALF; h++) {
            turn(half, in + h * HALF * in_stride + (size_t)base * (size_t)c, in_stride, bytes);
            for (size_t b = 0; b < (size_t)bytes; b++)
                memcpy(columns + b * LANES + h * HALF, half + b * HALF, HALF);
        }
        sum_across(sums, columns, c, k, from + x, group);
        turn_back(out + (size_t)x * (size_t)c, out_stride, sums, group * c, tmp);
    }
}

static void down(uint8_t *restrict out, const uint8_t *restrict in, size_t n, const int32_t *restrict w, int count)
{
    size_t x = 0;
    for (; x + LANES <= n; x += LANES) {
        const uint8_t *restrict p = in + x;
        int32_t sum[LANES];
        for (int j = 0; j < LANES; j++)
            sum[j] = HALF_UNIT;
        for (int i = 0; i < count; i++, p += n)
            for (int j = 0; j < LANES; j++)
                sum[j] += p[j] * w[i];
        for (int j = 0; j < LANES; j++)
            out[x + (size_t)j] = clip8(sum[j]);
    }
    for (; x < n; x++) {
        int32_t sum = HALF_UNIT;
        for (int i = 0; i < count; i++)
            sum += in[(size_t)i * n + x] * w[i];
        out[x] = clip8(sum);
    }
}

const struct resize_loops PASTE(resize_loops_, RESIZE_ISA) = {across, down};
