/* tests/kernel/ref_vectors.h: vectors of an engine's element type for the tests of engine ref. Static functions,
 * because the two test programs share nothing else. Memory comes from one arena that each test resets. */
#ifndef TESTS_KERNEL_REF_VECTORS_H
#define TESTS_KERNEL_REF_VECTORS_H

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *memory;

static int open_memory(void **state)
{
    return arena_open(&memory, "test");
}

static int close_memory(void **state)
{
    arena_close(&memory);
    return 0;
}

static const struct engine *engine_named(const char *name)
{
    const struct engine *e = NULL;
    assert_int_equal(engine_open(&e, name, 0), 0);
    return e;
}

static double get(const struct engine *e, const void *p, int64_t i)
{
    return e->real == DT_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void set(const struct engine *e, void *p, int64_t i, double value)
{
    if (e->real == DT_F64)
        ((double *)p)[i] = value;
    else
        ((float *)p)[i] = (float)value;
}

static void *vec(const struct engine *e, int64_t n, const double *values)
{
    void *p = arena_calloc(memory, (size_t)n + 1, dtype_size(e->real));
    assert_non_null(p);
    for (int64_t i = 0; values && i < n; i++)
        set(e, p, i, values[i]);
    return p;
}

#endif
