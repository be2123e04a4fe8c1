/* Rows on the unit sphere: norms, normalising, the mean.
 *
 * Vectors are stored in fp32; everything that is a statistic is computed in double from them, with the norm taken in
 * double as well, so that a set of raw encoder outputs and the same set normalised give the same numbers. Rejected:
 * normalising in fp32 first, which moves cosines by 1e-7 and with a softmax temperature of 0.01 the likelihoods by
 * 1e-5. */
#include "space/space.h"

#include <float.h>
#include <math.h>
#include <string.h>

double space_dot(const float *a, const float *b, int64_t d)
{
    double s[4] = {0, 0, 0, 0}; /* four running sums: a fixed order, and no chain of dependent additions */
    int64_t i = 0;
    for (; i + 4 <= d; i += 4)
        for (int j = 0; j < 4; j++)
            s[j] += (double)a[i + j] * (double)b[i + j];
    for (; i < d; i++)
        s[0] += (double)a[i] * (double)b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

int space_inverse_norms(const float *x, int64_t n, int64_t d, double *inverse, int64_t *first_bad_row)
{
    for (int64_t i = 0; i < n; i++) {
        double s = space_dot(x + i * d, x + i * d, d);
        if (!isfinite(s) || s <= 0) {
            if (first_bad_row)
                *first_bad_row = i;
            FAIL(ERR_NONFINITE, "row %lld %s, so it has no direction; encode that item again or take it out",
                 (long long)i, isfinite(s) ? "is all zeros" : "holds a number that is not finite");
        }
        inverse[i] = 1 / sqrt(s);
    }
    return 0;
}

int space_normalize(float *x, int64_t n, int64_t d, int64_t *first_zero_row)
{
    for (int64_t i = 0; i < n; i++) { /* check all before touching any: on failure x is as it was */
        double inverse = 0;
        int rc = space_inverse_norms(x + i * d, 1, d, &inverse, NULL);
        if (rc < 0) {
            if (first_zero_row)
                *first_zero_row = i;
            err_clear();
            FAIL(rc, "row %lld is all zeros or not finite, so it cannot be brought to unit length", (long long)i);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        double inverse = 1 / sqrt(space_dot(x + i * d, x + i * d, d));
        for (int64_t j = 0; j < d; j++)
            x[i * d + j] = (float)((double)x[i * d + j] * inverse);
    }
    return 0;
}

int space_mean(const float *x, int64_t n, int64_t d, double *mean)
{
    int rc = 0;
    double *sum = mem_calloc((size_t)d + 1, sizeof *sum);
    if (!sum)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        double inverse = 0;
        rc = space_inverse_norms(x + i * d, 1, d, &inverse, NULL);
        if (rc < 0) {
            err_clear();
            err_set(rc, "mean of the rows: row %lld is all zeros or not finite", (long long)i);
            goto out;
        }
        for (int64_t j = 0; j < d; j++)
            sum[j] += (double)x[i * d + j] * inverse;
    }
    for (int64_t j = 0; j < d; j++)
        mean[j] = n ? sum[j] / (double)n : (double)NAN;
out:
    mem_free(sum);
    return rc;
}
