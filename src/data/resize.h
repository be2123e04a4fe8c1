/* data/resize.h: resizing while the rows arrive; private to the room. */
#ifndef DATA_RESIZE_H
#define DATA_RESIZE_H

#include "data/data.h"

/* width x height is what the whole picture would become; only the box of it is computed. */
struct resize_plan {
    int in_width, in_height, channels; /* bytes a pixel, 1 to 4 */
    bool wide;                         /* the bytes are numbers of 16 bits: Pillow's 32-bit path, clipped at the end */
    int width, height;
    int left, top, box_width, box_height; /* inside */
    enum resample filter;
};
struct resizer;
int resizer_open(struct resizer **r, const struct resize_plan *plan);
void resizer_rows(struct resizer *r, const uint8_t *rows, int n); /* the next n rows, from the top */
/* [box_height, box_width, channels], one channel when wide; all rows must have come. */
void resizer_finish(struct resizer *r, uint8_t *out);
void resizer_close(struct resizer **r);

/* ---- the loops (resize_loops.c), compiled once per instruction set ---- */

#define RESIZE_PRECISION 22 /* 32 bits less 8 of the value less 2 for overshoot and sign */
#define RESIZE_LANES 32     /* rows of a block */
#define RESIZE_GROUP 64     /* output columns of a tile */

/* For each output position: the first input, how many, and their weights [size, taps]. */
struct resize_weights {
    int taps;
    int *first, *count;
    int32_t *w;
    double *real; /* the same before rounding, for wide pictures */
};
struct resize_loops {
    /* RESIZE_LANES rows at once: out [lanes, n, c] from in, n columns from `from` on. scratch: resize_scratch bytes. */
    void (*across)(uint8_t *out, size_t out_stride, const uint8_t *in, size_t in_stride, int c,
                   const struct resize_weights *k, int from, int n, uint8_t *scratch);
    /* One row of n bytes out of `count` rows. */
    void (*down)(uint8_t *out, const uint8_t *in, size_t n, const int32_t *w, int count);
};
extern const struct resize_loops resize_loops_base, resize_loops_avx2;
/* Input columns that a tile may span, and the memory for one. */
static inline int resize_span(const struct resize_weights *k)
{
    return 256 + 2 * k->taps;
}
static inline size_t resize_scratch(const struct resize_weights *k, int c)
{
    return (size_t)c * ((size_t)resize_span(k) * (RESIZE_LANES + 16) + (size_t)RESIZE_GROUP * RESIZE_LANES) +
           RESIZE_LANES * 16;
}

#endif
