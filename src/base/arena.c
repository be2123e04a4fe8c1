/* base/arena.c: memory that is given back all at once.
 *
 * A list of chunks, each twice the last (64 KiB to 256 MiB), walked by first fit from the current one onward and
 * kept over rewind and reset. Since the walk depends only on the requests and on the chunks before, a second run of
 * the same requests lands on the same places: a constant-shape training step asks the system for nothing.
 *
 * Chunks of 2 MiB and more are aligned to a huge page and advised so: a step may touch hundreds of megabytes, and one
 * fault then maps 2 MiB instead of 4 KiB. Under AddressSanitizer everything not handed out is poisoned and each
 * piece is followed by a red zone. Rejected: one reserved address range (needs overcommit, breaks under ulimit -v);
 * free lists (what lives shorter than the arena uses a mark). */
#define _DEFAULT_SOURCE /* madvise and MADV_HUGEPAGE are not POSIX */
#include "base/base.h"

#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifndef ARENA_ASAN
#define ARENA_ASAN 0
#endif

#if ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
enum { RED_ZONE = 64 };
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { RED_ZONE = 0 };
#endif

#define ALIGN 64
#define HUGE_PAGE ((size_t)2 << 20)
#define FIRST_CHUNK ((size_t)64 << 10)
#define LARGEST_STEP ((size_t)256 << 20)

struct chunk {
    char *base;
    size_t size, used;
    size_t before; /* bytes in use in the chunks before this one, when it was entered */
};

struct arena {
    struct chunk *chunks;
    size_t n, cap, at; /* chunks[at] is the current one; those after it are empty */
    size_t peak;
    char *name;
};

int arena_open(struct arena **out, const char *name)
{
    struct arena *a = mem_calloc(1, sizeof *a);

    if (!a)
        return ERR_MEMORY;
    a->name = mem_strdup(name);
    if (!a->name) {
        mem_free(a);
        return ERR_MEMORY;
    }
    *out = a;
    return 0;
}

void arena_close(struct arena **a)
{
    if (!*a)
        return;
    for (size_t i = 0; i < (*a)->n; i++) {
        UNPOISON((*a)->chunks[i].base, (*a)->chunks[i].size);
        mem_free((*a)->chunks[i].base);
    }
    mem_free((*a)->chunks);
    mem_free((*a)->name);
    mem_free(*a);
    *a = NULL;
}

/* Appends a chunk that holds at least `need` bytes. */
static int add_chunk(struct arena *a, size_t need)
{
    size_t size = a->n ? 2 * a->chunks[a->n - 1].size : FIRST_CHUNK;
    char *base;

    if (size > LARGEST_STEP)
        size = LARGEST_STEP;
    if (size < need)
        size = need;
    if (size >= HUGE_PAGE)
        size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (a->n == a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 16;
        struct chunk *more = mem_grow(a->chunks, a->n * sizeof *more, cap * sizeof *more);
        if (!more)
            return err_while(ERR_MEMORY, "growing arena \"%s\"", a->name);
        a->chunks = more;
        a->cap = cap;
    }
    base = mem_alloc_aligned(size, size >= HUGE_PAGE ? HUGE_PAGE : ALIGN);
    if (!base)
        return err_while(ERR_MEMORY, "growing arena \"%s\"", a->name);
    if (size >= HUGE_PAGE)
        madvise(base, size, MADV_HUGEPAGE); /* advice: a kernel without huge pages may refuse it */
    POISON(base, size);
    a->chunks[a->n++] = (struct chunk){.base = base, .size = size};
    return 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need, in_use;
    struct chunk *c;
    char *p;

    if (n > PTRDIFF_MAX - HUGE_PAGE - ALIGN - RED_ZONE) {
        err_set(ERR_MEMORY, "out of memory: arena \"%s\" was asked for %zu bytes", a->name, n);
        return NULL;
    }
    need = (n + ALIGN - 1) / ALIGN * ALIGN + RED_ZONE;
    for (size_t i = a->at;; i++) {
        if (i == a->n && add_chunk(a, need) < 0)
            return NULL; /* a->at did not move: the arena is as it was */
        c = &a->chunks[i];
        if (i > a->at) {
            c->used = 0;
            c->before = c[-1].before + c[-1].used;
        }
        if (c->size - c->used >= need) {
            a->at = i;
            break;
        }
    }
    p = c->base + c->used;
    c->used += need;
    in_use = c->before + c->used;
    if (in_use > a->peak)
        a->peak = in_use;
    UNPOISON(p, n);
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t n;
    void *p;

    if (!mul_ok(count, size, &n)) {
        err_set(ERR_MEMORY, "out of memory: arena \"%s\" was asked for %zu items of %zu bytes", a->name, count, size);
        return NULL;
    }
    p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = arena_alloc(a, n);

    if (p)
        memcpy(p, s, n);
    return p;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){a->at, a->n ? a->chunks[a->at].used : 0};
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
    if (!a->n)
        return;
    BUG_ON(m.chunk > a->at || m.used > a->chunks[m.chunk].used);
    for (size_t i = m.chunk; i <= a->at; i++) {
        struct chunk *c = &a->chunks[i];
        size_t keep = i == m.chunk ? m.used : 0;
        POISON(c->base + keep, c->used - keep);
        c->used = keep;
    }
    a->at = m.chunk;
}

void arena_reset(struct arena *a)
{
    arena_rewind(a, (struct arena_mark){0, 0});
}

size_t arena_peak(const struct arena *a)
{
    return a->peak;
}

int64_t arena_chunks(const struct arena *a)
{
    return (int64_t)a->n;
}
