/* kernel/cpu/cpu_bf16.c: rounding to bf16 by the processor's own instruction, where there is one.
 *
 * The same rounding (nearest, ties to even) as the integer code of cpu_point_tmpl.c with two differences that a product
 * cannot show: denormals become zero, which a bf16 product does to them anyway, and every NaN becomes quiet. Compiled
 * with the instruction set avx512_bf16 and called only where cpu.c found it. */
#include "kernel/cpu/cpu.h"

#include <immintrin.h>

static inline __m512i pair(const float *x)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
}

static void to_bf16(int threads, const float *x, uint16_t *y, int64_t n)
{
    enum { PIECE = 4096 };
#pragma omp parallel for schedule(static) num_threads(threads) if (n >= 32768)
    for (int64_t at = 0; at < n; at += PIECE) {
        int64_t end = at + PIECE < n ? at + PIECE : n, i = at;
        for (; i + 32 <= end; i += 32)
            _mm512_storeu_si512(y + i, pair(x + i));
        for (; i < end; i += 16) {
            __mmask16 rest = end - i >= 16 ? 0xffff : (__mmask16)((1u << (end - i)) - 1u);
            _mm256_mask_storeu_epi16(y + i, rest, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, x + i)));
        }
    }
}

void cpu_bf16_fill(struct cpu_vec *v)
{
    v->to_bf16 = to_bf16;
}
