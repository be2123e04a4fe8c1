/* Dense linear algebra from OpenBLAS and LAPACK: the only file that names them.
 *
 * Large products of the engine go to oneDNN; what comes here are similarity blocks and covariances of rooms space and
 * eval, the symmetric eigenproblem (LAPACK dsyevd, divide and conquer) and the Cholesky factor (dpotrf).
 *
 * Threads: OpenBLAS cuts a product by the number of threads it finds, so its sums would depend on the machine. Here the
 * rows of the result are cut into fixed chunks instead, one BLAS call on one thread each. The OpenMP flavour of the
 * library asks omp_get_max_threads() of the calling task, so setting that to 1 inside a region pins it without touching
 * the rest of the process. Rejected: openblas_set_num_threads, which is global and, in this flavour, also changes
 * the caller's OpenMP setting, i.e. the engine's. */
#include "kernel/lapack.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <omp.h>

#define SERIAL_BELOW 2e6 /* multiply-adds; waking the other threads costs more than they save */

enum { CHUNK_ROWS = 128 }; /* rows (of a solve: columns) that one BLAS call computes; fixed, so results are too */

static void check_sizes(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc)
{
    BUG_ON(m < 0 || n < 0 || k < 0 || lda < 0 || ldb < 0 || ldc < 0);
    BUG_ON(m > INT32_MAX || n > INT32_MAX || k > INT32_MAX);
    BUG_ON(lda > INT32_MAX || ldb > INT32_MAX || ldc > INT32_MAX);
}

#define PRAGMA(x) _Pragma(#x)
#define GEMM(NAME, TYPE, BLAS)                                                                                         \
    void NAME(bool ta, bool tb, int64_t m, int64_t n, int64_t k, TYPE alpha, const TYPE *a, int64_t lda,               \
              const TYPE *b, int64_t ldb, TYPE beta, TYPE *c, int64_t ldc)                                             \
    {                                                                                                                  \
        check_sizes(m, n, k, lda, ldb, ldc);                                                                           \
        if (m == 0 || n == 0)                                                                                          \
            return;                                                                                                    \
        enum CBLAS_TRANSPOSE op_a = ta ? CblasTrans : CblasNoTrans, op_b = tb ? CblasTrans : CblasNoTrans;             \
        int64_t n_chunks = (m + CHUNK_ROWS - 1) / CHUNK_ROWS;                                                          \
        PRAGMA(omp parallel if ((double)m * (double)n * (double)k > SERIAL_BELOW))                                     \
        {                                                                                                              \
            omp_set_num_threads(1);                                                                                    \
            PRAGMA(omp for schedule(static))                                                                           \
            for (int64_t i = 0; i < n_chunks; i++) {                                                                   \
                int64_t i0 = i * CHUNK_ROWS, rows = m - i0 < CHUNK_ROWS ? m - i0 : CHUNK_ROWS;                         \
                BLAS(CblasRowMajor, op_a, op_b, (int)rows, (int)n, (int)k, alpha, ta ? a + i0 : a + i0 * lda,          \
                     (int)lda, b, (int)ldb, beta, c + i0 * ldc, (int)ldc);                                             \
            }                                                                                                          \
        }                                                                                                              \
    }
GEMM(kernel_gemm_f32, float, cblas_sgemm)
GEMM(kernel_gemm_f64, double, cblas_dgemm)

int lapack_syevd(int64_t n, double *a, double *w)
{
    BUG_ON(n < 0 || n > INT32_MAX);
    if (n == 0)
        return 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++)
            if (!isfinite(a[i * n + j]))
                FAIL(ERR_NONFINITE, "eigenvalues: entry [%lld,%lld] of the %lld x %lld matrix is not finite",
                     (long long)i, (long long)j, (long long)n, (long long)n);
    lapack_int info = 0;
    /* A row-major lower triangle is a column-major upper one, and eigenvectors in columns of the latter are rows here:
     * so the column-major call needs no transposed copy. */
#pragma omp parallel num_threads(1)
    {
        omp_set_num_threads(1);
        info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, a, (lapack_int)n, w);
    }
    if (info == LAPACK_WORK_MEMORY_ERROR)
        FAIL(ERR_MEMORY, "eigenvalues: no memory for the work space of a %lld x %lld matrix", (long long)n,
             (long long)n);
    if (info != 0)
        FAIL(ERR_FAIL, "eigenvalues: the iteration on a %lld x %lld matrix did not converge (code %d)", (long long)n,
             (long long)n, (int)info);
    return 0;
}

bool lapack_potrf(int64_t n, double *a)
{
    BUG_ON(n < 0 || n > INT32_MAX);
    if (n == 0)
        return true;
    lapack_int info = 0;
    /* as above: our lower triangle is the upper one of a column-major call, a = U^T U with U = L^T */
#pragma omp parallel num_threads(1)
    {
        omp_set_num_threads(1);
        info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)n, a, (lapack_int)n);
    }
    BUG_ON(info < 0);
    bool positive = info == 0;
    for (int64_t i = 0; i < n; i++) {
        positive = positive && isfinite(a[i * n + i]);
        for (int64_t j = i + 1; j < n; j++)
            a[i * n + j] = 0;
    }
    return positive;
}

void kernel_solve_f64(bool transposed, int64_t m, int64_t n, const double *l, double *b)
{
    check_sizes(m, n, 0, m, n, 0);
    if (m == 0 || n == 0)
        return;
    int64_t n_chunks = (n + CHUNK_ROWS - 1) / CHUNK_ROWS;
#pragma omp parallel if ((double)m * (double)m * (double)n > SERIAL_BELOW)
    {
        omp_set_num_threads(1);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n_chunks; i++) {
            int64_t at = i * CHUNK_ROWS, columns = n - at < CHUNK_ROWS ? n - at : CHUNK_ROWS;
            cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, transposed ? CblasTrans : CblasNoTrans, CblasNonUnit,
                        (int)m, (int)columns, 1, l, (int)m, b + at, (int)n);
        }
    }
}
