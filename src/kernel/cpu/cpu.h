/* kernel/cpu/cpu.h: the fast engine of this machine, inside room kernel.
 *
 * engine_cpu_open takes a table that ref has filled (float) and replaces the slots it can do better: matrix products by
 * oneDNN (cpu_onednn.c, the only file that knows it), everything else by plain C loops that the build compiles once per
 * instruction set (cpu_*_tmpl.c, suffixes base, avx2, avx512) and that are chosen here at run time. A slot that meets
 * a shape it has no fast path for calls the ref slot it replaced (cpu_ref). Rejected: intrinsics per instruction set,
 * three times the code for the same machine instructions.
 *
 * The thread that calls the engine is alone (one compute thread), so scratch memory and the table are static.
 * How long waiting threads spin is libgomp's affair and decided before main: see cpu_wait.c. A program that does not
 * call engine_wait_briefly and shares its machine should run with GOMP_SPINCOUNT=2000 or OMP_WAIT_POLICY=passive. */
#ifndef KERNEL_CPU_CPU_H
#define KERNEL_CPU_CPU_H

#include "kernel/kernel.h"

int engine_cpu_open(struct engine *e, int threads); /* threads 0: all cores */
const char *engine_cpu_describe(const struct engine *e);

/* ---- inside the engine ---------------------------------------------------------------------------------------- */

/* Helpers that the products need from the vector code. */
struct cpu_vec {
    void (*to_bf16)(int threads, const float *x, uint16_t *y, int64_t n); /* round to nearest even */
    void (*round_bf16)(int threads, const float *x, float *y, int64_t n); /* the same, kept in float */
    void (*add_columns)(int threads, int64_t n, int64_t d, const float *x,
                        float *sum); /* sum [d] += columns of x [n, d] */
};
extern struct cpu_vec cpu_vec;
extern struct engine cpu_ref; /* the table as ref filled it */

/* Grow-only scratch memory, one block a purpose; NULL with a message when memory is out. Contents are not kept. */
enum cpu_scratch { SCRATCH_A, SCRATCH_B, SCRATCH_C, SCRATCH_CHUNKS, SCRATCH_HEADS, SCRATCH_COLUMNS, N_SCRATCHES };
void *cpu_scratch(enum cpu_scratch which, size_t n_bytes);

void cpu_conv_fill(struct engine *e);
int cpu_onednn_open(struct engine *e, bool native_bf16);
const char *cpu_onednn_version(void);

#define CPU_FILLS(isa)                                                                                                 \
    void cpu_point_fill_##isa(struct engine *e, struct cpu_vec *v);                                                    \
    void cpu_norm_fill_##isa(struct engine *e);                                                                        \
    void cpu_move_fill_##isa(struct engine *e);                                                                        \
    void cpu_ggd_fill_##isa(struct engine *e);                                                                         \
    void cpu_attention_fill_##isa(struct engine *e);
CPU_FILLS(base)
CPU_FILLS(avx2)
CPU_FILLS(avx512)
void cpu_bf16_fill(struct cpu_vec *v); /* avx512_bf16 and above */
void cpu_few_fill(struct engine *e);   /* avx512 and above, after the other products */

#endif
