/* kernel/ref/ref.h: what the parts of the reference engine offer to the registry (private to room kernel).
 *
 * Every part is a file ref_X_tmpl.c, compiled once with REAL = float and once with REAL = double; each exports one
 * function that puts its slots into a table. Rejected: one exported symbol a slot, which needs two prototypes a slot.
 */
#ifndef KERNEL_REF_H
#define KERNEL_REF_H

#include "kernel/kernel.h"

#define REF_PART_LIST(X)                                                                                               \
    X(matmul)                                                                                                          \
    X(point)                                                                                                           \
    X(reduce)                                                                                                          \
    X(norm)                                                                                                            \
    X(softmax)                                                                                                         \
    X(attention)                                                                                                       \
    X(move)                                                                                                            \
    X(conv)                                                                                                            \
    X(sphere)                                                                                                          \
    X(ggd)                                                                                                             \
    X(adamw)

#define X(part)                                                                                                        \
    void ref_##part##_f32(struct engine *e);                                                                           \
    void ref_##part##_f64(struct engine *e);
REF_PART_LIST(X)
#undef X

#endif
