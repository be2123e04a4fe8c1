/* kernel/ref/ref_tmpl.h: the element type of a template file. meson.build compiles each ref_X_tmpl.c twice, with
 * REAL_IS_DOUBLE 0 and 1 (house rule 8: gradients are checked in double).
 *
 * Numbers are stored as REAL; sums run in double, so that the referee's own rounding is small next to that of the
 * engine it judges. */
#ifndef KERNEL_REF_TMPL_H
#define KERNEL_REF_TMPL_H

#include "kernel/ref/ref.h"

#if REAL_IS_DOUBLE
#define REAL double
#define REF_PART(part) ref_##part##_f64
#else
#define REAL float
#define REF_PART(part) ref_##part##_f32
#endif

#endif
