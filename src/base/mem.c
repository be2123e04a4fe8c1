/* base/mem.c: the only file that asks the system for memory.
 *
 * Everything is 64-byte aligned (a cache line, an AVX-512 register), so that any buffer may be handed to a kernel.
 * Requests are counted, and a test can make the n-th one fail: that is how the failure paths are walked
 * (the method of SQLite's malloc tests). posix_memalign rather than aligned_alloc: the size need not be rounded
 * up, so AddressSanitizer sees the exact end. */
#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int64_t requests, fails_at;

void mem_fail_at(int64_t n)
{
    atomic_store(&fails_at, n > 0 ? atomic_load(&requests) + n : 0);
}

int64_t mem_requests(void)
{
    return atomic_load(&requests);
}

void *mem_alloc_aligned(size_t n, size_t align)
{
    int64_t request = atomic_fetch_add(&requests, 1) + 1;
    void *p = NULL;

    if (request == atomic_load(&fails_at) || n > PTRDIFF_MAX || posix_memalign(&p, align, n ? n : 1)) {
        err_set(ERR_MEMORY, "out of memory: could not get %zu bytes", n);
        return NULL;
    }
    return p;
}

void *mem_alloc(size_t n)
{
    return mem_alloc_aligned(n, 64);
}

void *mem_calloc(size_t count, size_t size)
{
    size_t n;
    void *p;

    if (!mul_ok(count, size, &n)) {
        err_set(ERR_MEMORY, "out of memory: %zu items of %zu bytes are more than an address can count", count, size);
        return NULL;
    }
    p = mem_alloc(n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *mem_grow(void *p, size_t old_n, size_t n)
{
    void *q = mem_alloc(n);

    if (!q)
        return NULL;
    if (p)
        memcpy(q, p, old_n < n ? old_n : n);
    mem_free(p);
    return q;
}

char *mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = mem_alloc(n);

    if (p)
        memcpy(p, s, n);
    return p;
}

void mem_free(void *p)
{
    free(p);
}
