/* model/positions.c: position embeddings for another picture size. The grid of a vision transformer's positions is
 * resized like a picture, channel by channel, with bicubic weights; rows before the grid (class token) stay.
 *
 * Two habits exist and give different numbers. HuggingFace and BLIP call torch's bicubic without antialiasing: four
 * taps, a = -0.75, border repeated. open_clip calls it with antialiasing: Keys' a = -0.5, a kernel that widens when
 * shrinking, weights cut at the border and renormalised. Each layout gets its own library's. */
#include "model/param.h"

#include <math.h>
#include <string.h>

static double keys(double x, double a)
{
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? a * (((x - 5.0) * x + 8.0) * x - 4.0) : 0.0;
}

/* Weights [to, from] of one axis. */
static void axis_weights(double *w, int64_t from, int64_t to, bool antialias)
{
    double scale = (double)from / (double)to, widen = antialias && scale > 1.0 ? scale : 1.0;
    memset(w, 0, (size_t)(from * to) * sizeof *w);
    for (int64_t i = 0; i < to; i++) {
        double centre = ((double)i + 0.5) * scale, sum = 0;
        double *row = w + i * from;
        int64_t reach = (int64_t)ceil(2.0 * widen) + 1, middle = (int64_t)floor(centre - 0.5);
        for (int64_t j = middle - reach; j <= middle + reach; j++) {
            double x = keys(((double)j + 0.5 - centre) / widen, antialias ? -0.5 : -0.75);
            if (antialias && (j < 0 || j >= from))
                continue;
            row[j < 0 ? 0 : j >= from ? from - 1 : j] += x;
            sum += x;
        }
        for (int64_t j = 0; j < from; j++)
            row[j] /= sum;
    }
}

int positions_resize(const float *in, int64_t prefix, int64_t from, int64_t to, int64_t width, bool antialias,
                     float *out)
{
    double *w = mem_calloc((size_t)(from * to), sizeof *w);
    double *half = mem_calloc((size_t)(from * to), (size_t)width * sizeof *half); /* [from rows, to columns, width] */
    int rc = w && half ? 0 : ERR_MEMORY;
    if (rc < 0)
        goto out;
    axis_weights(w, from, to, antialias);
    memcpy(out, in, (size_t)(prefix * width) * sizeof *out);
    in += prefix * width;
    out += prefix * width;
    for (int64_t y = 0; y < from; y++)
        for (int64_t x = 0; x < to; x++)
            for (int64_t j = 0; j < from; j++)
                for (int64_t d = 0; w[x * from + j] != 0.0 && d < width; d++)
                    half[(y * to + x) * width + d] += w[x * from + j] * (double)in[(y * from + j) * width + d];
    for (int64_t y = 0; y < to; y++)
        for (int64_t i = 0; i < to * width; i++) {
            double sum = 0;
            for (int64_t j = 0; j < from; j++)
                sum += w[y * from + j] * half[j * to * width + i];
            out[y * to * width + i] = (float)sum;
        }
out:
    mem_free(w);
    mem_free(half);
    return rc;
}
