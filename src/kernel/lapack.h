/* kernel/lapack.h: the part of the kernel door that is dense linear algebra; kernel.h includes it.
 *
 * Row-major everywhere. Callers above never see BLAS names. Results do not depend on the number of threads: every
 * product is cut into fixed chunks of rows, each computed by one thread. */
#ifndef KERNEL_LAPACK_H
#define KERNEL_LAPACK_H

#include "base/base.h"

/* c [m,n] = alpha op(a) op(b) + beta c; op(a) [m,k] is a or its transpose (ta), op(b) [k,n] likewise. ld: row strides.
 * Empty products are fine: k = 0 gives beta c. Sizes up to 2^31 - 1 (larger: BUG). beta = 0 never reads c. */
void kernel_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                     const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
void kernel_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
                     const double *b, int64_t ldb, double beta, double *c, int64_t ldc);

/* Symmetric eigenproblem. a [n,n] in, only its lower triangle is read; out: eigenvector i in ROW i of a, eigenvalue
 * w[i], ascending. ERR_NONFINITE when a holds a non-finite number, ERR_FAIL when the iteration does not converge. */
int lapack_syevd(int64_t n, double *a, double *w);

/* Cholesky: the lower triangle of a [n,n] becomes L with a = L L^T; the upper one is set to zero. false, a spoiled,
 * when a is not positive definite or not finite. */
bool lapack_potrf(int64_t n, double *a);
/* b [m,n] = L^-1 b, or L^-T b (transposed); l [m,m] is read below and on its diagonal. */
void kernel_solve_f64(bool transposed, int64_t m, int64_t n, const double *l, double *b);

#endif
