/* base/rng.c: counter-based random numbers, Philox4x32-10.
 *
 * Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A number is a function of a
 * counter and a key, so a stream needs no state that threads would have to share: the same batch on one thread or
 * eight. Layout: key = Philox(seed, purpose), counter = (block, epoch, index low, index high).
 * Normal: Box and Muller 1958. Gamma: Marsaglia and Tsang 2000. Rejected: a global generator (order of calls would
 * change results); PCG or xoshiro (jumping to stream n costs more than a block here). */
#include "base/base.h"

#include <math.h>

void rng_block(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1];

    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct rng rng_stream(uint64_t seed, enum rng_purpose purpose, uint32_t epoch, uint64_t index)
{
    const uint32_t id[4] = {(uint32_t)purpose, 0, 0, 0}, from[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t key[4];

    rng_block(id, from, key);
    return (struct rng){.key = {key[0], key[1]}, .ctr = {0, epoch, (uint32_t)index, (uint32_t)(index >> 32)}};
}

uint32_t rng_u32(struct rng *r)
{
    if (r->have == 0) {
        rng_block(r->ctr, r->key, r->out);
        r->have = 4;
        if (++r->ctr[0] == 0) /* 2^34 numbers drawn: go on under another key, not into the next index */
            r->key[0]++;
    }
    return r->out[4 - r->have--];
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t low = rng_u32(r);

    return low | (uint64_t)rng_u32(r) << 32;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    uint64_t x;

    BUG_ON(n == 0);
    if (n <= UINT32_MAX) { /* Lemire 2019: the high half of x * n, rejecting the few that would be counted twice */
        uint32_t k = (uint32_t)n, least = (0u - k) % k;
        do
            x = (uint64_t)rng_u32(r) * k;
        while ((uint32_t)x < least);
        return x >> 32;
    }
    do
        x = rng_u64(r);
    while (x < (0 - n) % n);
    return x % n;
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* One of Box and Muller's two numbers: a kept second one would be state outside the counter. */
double rng_normal(struct rng *r)
{
    double u = 1 - rng_uniform(r), v = rng_uniform(r);

    return sqrt(-2 * log(u)) * cos(6.28318530717958647692 * v);
}

static double gamma_1up(struct rng *r, double shape) /* shape >= 1 */
{
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);

    for (;;) {
        double x = rng_normal(r), v = 1 + c * x, u;

        if (v <= 0)
            continue;
        v = v * v * v;
        u = 1 - rng_uniform(r);
        if (log(u) < 0.5 * x * x + d * (1 - v + log(v)))
            return d * v;
    }
}

/* log of a gamma number: for a small shape the number itself is below the smallest double. */
static double log_gamma_number(struct rng *r, double shape)
{
    if (shape >= 1)
        return log(gamma_1up(r, shape));
    return log(gamma_1up(r, shape + 1)) + log(1 - rng_uniform(r)) / shape;
}

double rng_gamma(struct rng *r, double shape)
{
    BUG_ON(!(shape > 0) || !isfinite(shape)); /* infinity is never accepted below */
    return shape >= 1 ? gamma_1up(r, shape) : exp(log_gamma_number(r, shape));
}

double rng_beta(struct rng *r, double a, double b)
{
    double x, y;

    BUG_ON(!(a > 0) || !(b > 0) || !isfinite(a) || !isfinite(b));
    x = log_gamma_number(r, a);
    y = log_gamma_number(r, b);
    return 1 / (1 + exp(y - x));
}

void rng_shuffle(struct rng *r, int64_t *v, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) { /* Fisher and Yates */
        int64_t j = (int64_t)rng_below(r, (uint64_t)i + 1), t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}
