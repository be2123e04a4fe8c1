/* Singular values of a cloud, its effective rank, and how much each row matters for it.
 *
 * Effective rank (Roy and Vetterli, EUSIPCO 2007): exp(H(p)), p_k = s_k / sum s, s the singular values of the centred
 * unit rows. For the interval each row's first-order effect is needed. With eigenvalues l_k = s_k^2 of the covariance
 * and z_k the row's coordinates on the axes, giving row a the weight 1 + e moves l_k by e (z_k^2 - l_k) / n, hence s_k
 * by half of that over s_k, and H by -(ln p_k + H) / sum(s) times that; the effective rank by itself times dH. Axes
 * with s_k below 1e-6 of the largest carry no entropy and are left out of the derivative. Rejected: an eigenproblem for
 * each of 1000 resamples, minutes instead of one more product. The plug-in estimate itself is low when n is not far
 * above d; the interval speaks of spread, not of that. */
#include "eval/eval_private.h"

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 512 };

/* S += S2 + n1 n2 / (n1 + n2) (m1 - m2)(m1 - m2)^T, mean likewise: Chan, Golub and LeVeque 1979. */
static void merge(int64_t d, double *mean, double *scatter, double n, const double *mean2, const double *scatter2,
                  double n2)
{
    double f = n + n2 > 0 ? n * n2 / (n + n2) : 0, share = n + n2 > 0 ? n2 / (n + n2) : 0;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            scatter[i * d + j] += scatter2[i * d + j] + f * (mean[i] - mean2[i]) * (mean[j] - mean2[j]);
    for (int64_t i = 0; i < d; i++)
        mean[i] += share * (mean2[i] - mean[i]);
}

/* slope[k]: d(effective rank) / d(l_k), per unit of l_k. */
static void slopes(const double *variance, int64_t d, double rank, double *slope)
{
    double sum = 0, h = log(rank);
    for (int64_t k = 0; k < d; k++)
        sum += sqrt(variance[k]);
    for (int64_t k = 0; k < d; k++) {
        double s = sqrt(variance[k]);
        slope[k] = s > 1e-6 * sqrt(variance[0]) ? -rank * (log(s / sum) + h) / sum / (2 * s) : 0;
    }
}

static int influences(const struct rows *r, int64_t n_all, const double *mean, const double *axes,
                      const double *variance, const double *slope, double *influence)
{
    int64_t d = r->d, block = r->n < BLOCK_ROWS ? r->n : BLOCK_ROWS;
    double *x = mem_calloc((size_t)(block * d) + 1, sizeof *x), *z = mem_calloc((size_t)(block * d) + 1, sizeof *z);
    int rc = x && z ? 0 : ERR_MEMORY;
    for (int64_t i0 = 0; rc == 0 && i0 < r->n; i0 += block) {
        int64_t n = r->n - i0 < block ? r->n - i0 : block;
        rc = space_center_rows(r->x, i0, n, d, mean, x);
        if (rc < 0)
            break;
        kernel_gemm_f64(false, true, n, d, d, 1, x, d, axes, d, 0, z, d); /* coordinates [n,d] */
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t k = 0; k < d; k++)
                sum += slope[k] * (z[i * d + k] * z[i * d + k] - variance[k]);
            influence[i0 + i] = sum / (double)n_all;
        }
    }
    mem_free(x);
    mem_free(z);
    return rc;
}

int eval_spectrum(const struct rows *const *sides, int n_sides, double *rank, double *const *influence,
                  double *spectrum)
{
    int64_t d = sides[0]->d, n = 0;
    size_t square = (size_t)d * (size_t)d + 1, line = (size_t)d + 1;
    int rc = 0;
    double *mean = mem_calloc(line, sizeof *mean), *scatter = mem_calloc(square, sizeof *scatter), *mean2 = NULL;
    double *scatter2 = NULL, *variance = mem_calloc(line, sizeof *variance), *slope = mem_calloc(line, sizeof *slope);
    *rank = (double)NAN;
    if (n_sides > 1) {
        mean2 = mem_calloc(line, sizeof *mean2);
        scatter2 = mem_calloc(square, sizeof *scatter2);
    }
    if (!mean || !scatter || !variance || !slope || (n_sides > 1 && (!mean2 || !scatter2))) {
        rc = ERR_MEMORY;
        goto out;
    }
    rc = space_scatter(sides[0]->x, sides[0]->n, d, mean, scatter);
    if (rc == 0 && n_sides > 1)
        rc = space_scatter(sides[1]->x, sides[1]->n, d, mean2, scatter2);
    if (rc < 0)
        goto out;
    if (n_sides > 1)
        merge(d, mean, scatter, (double)sides[0]->n, mean2, scatter2, (double)sides[1]->n);
    for (int k = 0; k < n_sides; k++)
        n += sides[k]->n;
    rc = space_eigen(n, d, scatter, variance);
    if (rc < 0)
        goto out;
    for (int64_t k = 0; k < d; k++)
        slope[k] = n > 1 ? sqrt(variance[k]) : (double)NAN; /* borrowed for the singular values */
    if (spectrum)
        memcpy(spectrum, slope, (size_t)d * sizeof *slope);
    *rank = n > 1 ? space_effective_rank(slope, d) : (double)NAN;
    if (!isfinite(*rank))
        goto out;
    slopes(variance, d, *rank, slope);
    for (int k = 0; k < n_sides && rc == 0; k++)
        rc = influences(sides[k], n, mean, scatter, variance, slope, influence[k]);
out:
    mem_free(mean);
    mem_free(scatter);
    mem_free(mean2);
    mem_free(scatter2);
    mem_free(variance);
    mem_free(slope);
    return rc;
}
