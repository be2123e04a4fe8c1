/* tests/space/spectrum.h: singular values of the centred unit rows over sqrt(n - 1), for tests of what is made of them. */
#ifndef TESTS_SPECTRUM_H
#define TESTS_SPECTRUM_H

#include "space/space.h"

#include <math.h>

static inline int spectrum(const float *x, int64_t n, int64_t d, double *values)
{
    double *mean = mem_calloc((size_t)d, sizeof *mean), *scatter = mem_calloc((size_t)(d * d), sizeof *scatter);
    int rc = mean && scatter ? space_scatter(x, n, d, mean, scatter) : ERR_MEMORY;
    if (rc == 0)
        rc = space_eigen(n, d, scatter, values);
    for (int64_t j = 0; rc == 0 && j < d; j++)
        values[j] = sqrt(values[j]);
    mem_free(mean);
    mem_free(scatter);
    return rc;
}

#endif
