/* tests/words/words_made.h: grids and vectors for the tests of room words. */
#ifndef WORDS_MADE_H
#define WORDS_MADE_H

#include "words/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            fail_msg("%s", err_text());                                                                                \
    } while (0)

enum { MADE_CELLS = 256, MADE_WIDTH = 12, MADE_LEVELS = 40 };
static const char *const made_words[MADE_LEVELS] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};

/* Levels n[0] x n[1] x ...; additive vectors plus noise; cells in order, those of `drop` left out. */
struct made {
    int k, n[4];
    int64_t cells;
    int32_t code[MADE_CELLS * 4];
    float x[MADE_CELLS * MADE_WIDTH];
    double base[MADE_WIDTH], word[MADE_LEVELS * MADE_WIDTH];
    struct words_factor factor[4];
};

static inline void made_set(struct made *m, int k, const int *n, double noise, uint64_t seed,
                            bool (*drop)(const int32_t *code))
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    int64_t all = 1, levels = 0;
    memset(m, 0, sizeof *m);
    m->k = k;
    for (int f = 0; f < k; f++) {
        m->n[f] = n[f];
        all *= n[f];
        m->factor[f] = (struct words_factor){made_words[f], n[f], made_words}; /* the same words in each factor */
        levels += n[f];
    }
    for (int j = 0; j < MADE_WIDTH; j++)
        m->base[j] = 2 + rng_normal(&r);
    for (int64_t i = 0; i < levels * MADE_WIDTH; i++)
        m->word[i] = rng_normal(&r);
    for (int64_t i = 0; i < all; i++) {
        int32_t *code = m->code + m->cells * k;
        int64_t rest = i, first = 0;
        for (int f = k - 1; f >= 0; f--) {
            code[f] = (int32_t)(rest % n[f]);
            rest /= n[f];
        }
        if (drop && drop(code))
            continue;
        for (int j = 0; j < MADE_WIDTH; j++) {
            double v = m->base[j] + noise * rng_normal(&r);
            first = 0;
            for (int f = 0; f < k; f++) {
                v += m->word[(first + code[f]) * MADE_WIDTH + j];
                first += n[f];
            }
            m->x[m->cells * MADE_WIDTH + j] = (float)v;
        }
        m->cells++;
    }
}

static inline struct words_rows made_rows(const struct made *m)
{
    return (struct words_rows){.n_factors = m->k, .factor = m->factor, .n = m->cells, .code = m->code};
}

static inline struct words_in made_in(const struct made *m, const struct words_grid *g)
{
    return (struct words_in){.grid = g, .x = m->x, .n = m->cells, .width = MADE_WIDTH};
}

#endif
