/* adapt/vectors.c: what the networks are given.
 *
 * Ours: u = z / |z|, x = (u - mean of the side) s, one s for both sides. The released code multiplies pictures by the
 * model's logit scale (100) and leaves texts alone, so that |m_V - z_T| is about |m_V| whichever text it is; without
 * the means it is the gap between the modalities that the cross-modal term sees, and not the pair. s makes the mean
 * square of a number 1 (ProbVLM, PFE) or of a vector 1 (PCME, PCME++, whose match logits are made for unit vectors). A
 * vector of zeros has no direction: it counts as the mean itself, u = mean, x = 0. */
#include "adapt/adapter.h"

#include <math.h>
#include <string.h>

static double inverse_norm(const float *row, int64_t d)
{
    double sum[4] = {0, 0, 0, 0}; /* squares of floats neither leave the range of doubles nor sink below it */
    int64_t j = 0;
    for (; j + 4 <= d; j += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += (double)row[j + k] * (double)row[j + k];
    for (; j < d; j++)
        sum[0] += (double)row[j] * (double)row[j];
    double all = sum[0] + sum[1] + (sum[2] + sum[3]);
    return all > 0 ? 1 / sqrt(all) : 0;
}

static const struct set_side *side_of(const struct set *s, int side)
{
    return side == SIDE_TEXT ? &s->text : &s->image;
}

int vectors_check(const struct set *s)
{
    for (int k = 0; k < 2; k++) {
        const struct set_side *side = side_of(s, k);
        for (int64_t i = 0; i < side->n * s->width; i++)
            if (!isfinite(side->x[i]))
                FAIL(ERR_NONFINITE, "set \"%s\": %s row %lld holds a number that is not finite", s->path,
                     k ? "text" : "image", (long long)(i / s->width));
    }
    return 0;
}

static int64_t row_of(const struct set_pair *p, int side)
{
    return side == SIDE_TEXT ? p->text : p->image;
}

/* Mean and mean squared distance from it of the rows of the pairs, each as often as it is paired. */
static double measure_side(double *mean, const struct set *s, const struct set_pair *pairs, int64_t n, int side)
{
    int64_t d = s->width;
    const float *x = side_of(s, side)->x;
    double square = 0;
    memset(mean, 0, (size_t)d * sizeof *mean);
    for (int64_t i = 0; i < n; i++) {
        const float *row = x + row_of(&pairs[i], side) * d;
        double inverse = inverse_norm(row, d);
        for (int64_t j = 0; j < d; j++)
            mean[j] += (double)row[j] * inverse / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const float *row = x + row_of(&pairs[i], side) * d;
        double inverse = inverse_norm(row, d), sum = 0;
        for (int64_t j = 0; j < d && inverse > 0; j++)
            sum += ((double)row[j] * inverse - mean[j]) * ((double)row[j] * inverse - mean[j]);
        square += sum / (double)n;
    }
    return square;
}

int vectors_measure(struct adapter *a, const struct set *s, const struct set_pair *pairs, int64_t n)
{
    struct design *d = &a->d;
    if (d->released) {
        d->image_scale = s->logit_scale > 0 ? s->logit_scale : 100;
        d->text_scale = 1;
        d->unit = 1;
        return 0;
    }
    double square =
        0.5 * (measure_side(a->mean[0], s, pairs, n, SIDE_IMAGE) + measure_side(a->mean[1], s, pairs, n, SIDE_TEXT));
    /* one pair, or all alike: there is no spread to measure by */
    double rms = square > 1e-20 ? sqrt(square) : 1, root = sqrt((double)d->width);
    bool whole = d->method->whole;
    d->image_scale = d->text_scale = whole ? 1 / rms : root / rms;
    d->unit = whole ? (double)d->width : 1;
    return 0;
}

void vectors_put(const struct adapter *a, int side, const float *row, void *out, int64_t at)
{
    int64_t d = a->d.width;
    double inverse = inverse_norm(row, d), s = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale;
    const double *mean = a->mean[side];
    bool wide = a->engine->real == DT_F64;
    for (int64_t j = 0; j < d; j++) {
        double x = inverse > 0 ? ((double)row[j] * inverse - mean[j]) * s : 0;
        if (wide)
            ((double *)out)[at * d + j] = x;
        else
            ((float *)out)[at * d + j] = (float)x;
    }
}
