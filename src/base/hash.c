/* base/hash.c: a fast hash for tables and fingerprints of shapes, SHA-256 for what must be trusted, base64.
 *
 * hash_bytes runs four independent multiply-rotate lanes over 32-byte blocks, so that the multiplier's latency is
 * hidden, then folds and avalanches (the finaliser constants are those of Stafford 2011, mix 13). Bytes are read
 * little-endian on every machine: the value may be stored. SHA-256 and base64 are libsodium's. */
#include "base/base.h"

#include <sodium.h>
#include <string.h>

#define K1 UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / golden ratio */
#define K2 UINT64_C(0xd6e8feb86659fd93)

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t load(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static uint64_t lane(uint64_t h, uint64_t v)
{
    return rotl(h ^ v * K2, 29) * K1;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *s = p;
    uint64_t h[4] = {seed ^ K1, seed + K2, rotl(seed, 17) ^ K2, rotl(seed, 41) + K1};
    uint64_t sum;
    size_t left = n;

    for (; left >= 32; left -= 32, s += 32)
        for (int i = 0; i < 4; i++)
            h[i] = lane(h[i], load(s + 8 * i, 8));
    for (int i = 0; left; i++) {
        size_t k = left < 8 ? left : 8;
        h[i] = lane(h[i], load(s, k) + 1);
        s += k;
        left -= k;
    }
    sum = (uint64_t)n * K1;
    for (int i = 0; i < 4; i++)
        sum = mix(sum ^ h[i]) + K2;
    return mix(sum);
}

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct sha256), "struct sha256 is too small");

void sha256_start(struct sha256 *h)
{
    crypto_hash_sha256_init((crypto_hash_sha256_state *)(void *)h->u.state);
}

void sha256_add(struct sha256 *h, const void *p, size_t n)
{
    crypto_hash_sha256_update((crypto_hash_sha256_state *)(void *)h->u.state, p, n);
}

void sha256_hex(struct sha256 *h, char out[65])
{
    unsigned char sum[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_final((crypto_hash_sha256_state *)(void *)h->u.state, sum);
    sodium_bin2hex(out, 65, sum, sizeof sum);
}

void base64_add(struct str *b, const void *p, size_t n)
{
    const unsigned char *s = p;
    char out[4 * 1024 + 1];

    while (n) { /* whole groups of three bytes, so that only the last piece is padded */
        size_t k = n < 3 * 1024 ? n : 3 * 1024;
        sodium_bin2base64(out, sizeof out, s, k, sodium_base64_VARIANT_ORIGINAL);
        str_add_n(b, out, strlen(out));
        s += k;
        n -= k;
    }
}
