/* Principal axes, spectrum and effective rank of rows on the unit sphere.
 *
 * Two passes over the rows: the mean, then the scatter matrix S = sum (x - m)(x - m)^T [d,d] in blocks of rows, all in
 * double; its eigenvectors by LAPACK. Memory is d^2 whatever n is. The singular values of the centred matrix are the
 * roots of the eigenvalues of S; squaring costs half the digits of the smallest ones (below 1e-8 of the largest), which
 * neither a picture nor an entropy sees. Rejected: an SVD of the rows themselves (needs all of them in double).
 *
 * Effective rank: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007:
 * exp(H(p)), p = singular values divided by their sum. */
#include "space/space.h"

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 512 };

int space_center_rows(const float *x, int64_t i0, int64_t n, int64_t d, const double *mean, double *out)
{
    for (int64_t i = 0; i < n; i++) {
        double inverse = 0;
        const float *row = x + (i0 + i) * d;
        int rc = space_inverse_norms(row, 1, d, &inverse, NULL);
        if (rc < 0) {
            err_clear();
            FAIL(rc, "row %lld is all zeros or not finite", (long long)(i0 + i));
        }
        for (int64_t j = 0; j < d; j++)
            out[i * d + j] = (double)row[j] * inverse - mean[j]; /* [n,d] */
    }
    return 0;
}

int space_scatter(const float *x, int64_t n, int64_t d, double *mean, double *scatter)
{
    int rc = 0;
    size_t block = (size_t)(n < BLOCK_ROWS ? n : BLOCK_ROWS) * (size_t)d;
    double *m = mem_calloc((size_t)d + 1, sizeof *m), *rows = mem_calloc(block + 1, sizeof *rows);
    double *s = mem_calloc((size_t)d * (size_t)d + 1, sizeof *s);
    if (!m || !rows || !s) {
        rc = ERR_MEMORY;
        goto out;
    }
    if (n > 0) {
        rc = space_mean(x, n, d, m);
        if (rc < 0)
            goto out;
    }
    for (int64_t i = 0; i < n; i += BLOCK_ROWS) {
        int64_t rows_here = n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS;
        rc = space_center_rows(x, i, rows_here, d, m, rows);
        if (rc < 0)
            goto out;
        kernel_gemm_f64(true, false, d, d, rows_here, 1, rows, d, rows, d, 1, s, d); /* S += R^T R  [d,d] */
    }
    memcpy(mean, m, (size_t)d * sizeof *m);
    memcpy(scatter, s, (size_t)d * (size_t)d * sizeof *s);
out:
    mem_free(m);
    mem_free(rows);
    mem_free(s);
    return rc;
}

/* Eigenvectors in rows and eigenvalues >= 0, both descending; `a` is used up. */
static int eigen_descending(int64_t d, double *a, double *w)
{
    TRY(lapack_syevd(d, a, w));
    for (int64_t i = 0; i < d / 2; i++) {
        double t = w[i];
        w[i] = w[d - 1 - i];
        w[d - 1 - i] = t;
        for (int64_t j = 0; j < d; j++) {
            double u = a[i * d + j];
            a[i * d + j] = a[(d - 1 - i) * d + j];
            a[(d - 1 - i) * d + j] = u;
        }
    }
    for (int64_t i = 0; i < d; i++)
        w[i] = w[i] > 0 ? w[i] : 0;
    return 0;
}

int space_eigen(int64_t n, int64_t d, double *scatter, double *variances)
{
    TRY(eigen_descending(d, scatter, variances));
    for (int64_t i = 0; i < d; i++)
        variances[i] /= n > 1 ? (double)(n - 1) : 1;
    for (int64_t i = 0; i < d; i++) { /* an eigenvector has no sign: make its largest entry positive, so runs agree */
        double *v = scatter + i * d, best = 0;
        for (int64_t j = 0; j < d; j++)
            best = fabs(v[j]) > fabs(best) * (1 + 1e-9) ? v[j] : best;
        for (int64_t j = 0; best < 0 && j < d; j++)
            v[j] = -v[j];
    }
    return 0;
}

int space_pca(const float *x, int64_t n, int64_t d, int64_t k, double *mean, double *axes, double *variances)
{
    int rc = 0;
    double *m = NULL, *s = NULL, *w = NULL;
    if (n < 1 || k < 0 || k > d)
        FAIL(ERR_DATA,
             "principal axes: %lld rows and %lld axes of width %lld; expected at least one row and at most %lld axes",
             (long long)n, (long long)k, (long long)d, (long long)d);
    m = mem_calloc((size_t)d + 1, sizeof *m);
    s = mem_calloc((size_t)d * (size_t)d + 1, sizeof *s);
    w = mem_calloc((size_t)d + 1, sizeof *w);
    if (!m || !s || !w) {
        rc = ERR_MEMORY;
        goto out;
    }
    rc = space_scatter(x, n, d, m, s);
    if (rc == 0)
        rc = space_eigen(n, d, s, w);
    if (rc < 0)
        goto out;
    memcpy(mean, m, (size_t)d * sizeof *m);
    memcpy(axes, s, (size_t)k * (size_t)d * sizeof *s);
    memcpy(variances, w, (size_t)k * sizeof *w);
out:
    mem_free(m);
    mem_free(s);
    mem_free(w);
    return rc;
}

double space_effective_rank(const double *values, int64_t d)
{
    double sum = 0, entropy = 0;
    for (int64_t i = 0; i < d; i++)
        sum += values[i];
    if (!(sum > 1e-12))
        return NAN;
    for (int64_t i = 0; i < d; i++) {
        double p = values[i] / sum;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    return exp(entropy);
}
