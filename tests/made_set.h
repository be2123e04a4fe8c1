/* tests/made_set.h: a set in memory, zeros to begin with, row i paired with row i; and an engine for what is fitted to
 * it. */
#ifndef TESTS_MADE_SET_H
#define TESTS_MADE_SET_H

#include "kernel/kernel.h"
#include "scratch.h"
#include "space/space.h"

#include <string.h>

struct made {
    struct set s;
    float *x, *y;
    struct set_pair *pairs;
};

static void make(struct made *m, int64_t n, int64_t d)
{
    memset(m, 0, sizeof *m);
    m->x = mem_calloc((size_t)(n * d), sizeof(float));
    m->y = mem_calloc((size_t)(n * d), sizeof(float));
    m->pairs = mem_calloc((size_t)n, sizeof *m->pairs);
    assert_true(m->x && m->y && m->pairs);
    for (int64_t i = 0; i < n; i++)
        m->pairs[i] = (struct set_pair){i, i};
    m->s = (struct set){.path = root,
                        .width = d,
                        .image = {.n = n, .x = m->x},
                        .text = {.n = n, .x = m->y},
                        .n_pairs = n,
                        .pairs = m->pairs,
                        .model = "tiny",
                        .fingerprint = "abc",
                        .data = "",
                        .protocol = ""};
}

static void drop(struct made *m)
{
    mem_free(m->x);
    mem_free(m->y);
    mem_free(m->pairs);
}

#endif
