/* kernel/ref/ref_special.h: scalar functions in double that both compilations share (private to room kernel). */
#ifndef KERNEL_REF_SPECIAL_H
#define KERNEL_REF_SPECIAL_H

#include "kernel/kernel.h"

double ref_act(enum act a, double x);       /* the activation */
double ref_act_slope(enum act a, double x); /* its derivative; 0 at the kink of relu and abs */

#endif
