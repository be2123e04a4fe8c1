/* tests/loss/golden_losses.h: the golden values of the losses (folder golden/losses below MERIDIAN_SHARED), opened for
 * a group of tests; absent, inputs stays NULL and the tests skip. */
#ifndef TESTS_GOLDEN_LOSSES_H
#define TESTS_GOLDEN_LOSSES_H

#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>

static struct st_file *inputs, *expected;

static int open_golden(void **state UNUSED)
{
    char path[1024];
    const char *base = getenv("MERIDIAN_SHARED");
    snprintf(path, sizeof path, "%s/golden/losses/inputs.safetensors", base ? base : "");
    if (!base || !path_exists(path))
        return 0;
    if (st_open(&inputs, path) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/golden/losses/expected.safetensors", base);
    return st_open(&expected, path) < 0 ? -1 : 0;
}

static int close_golden(void **state UNUSED)
{
    st_close(&inputs);
    st_close(&expected);
    return 0;
}

#endif
