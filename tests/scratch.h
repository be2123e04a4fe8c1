/* tests/scratch.h: a scratch folder for a group of tests, removed at its end. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>

static char root[256];

/* root/name; the last 64 stay valid. */
static const char *at(const char *name)
{
    static char path[64][600];
    static int turn;
    turn = (turn + 1) % 64;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

static int make_root(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/meridian-test-XXXXXX", base ? base : "/tmp");
    log_level(LOG_ERROR);
    return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
    (void)state;
    return path_remove_tree(root);
}

#endif
