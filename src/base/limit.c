/* base/limit.c: what a reader accepts from a file, in one table with names.
 *
 * Every number read from a file meets one of these before it meets an allocator. Set once, at start, before any
 * thread runs; read everywhere. Rejected: constants beside each parser, which nobody can print or raise. */
#include "base/base.h"

#include <inttypes.h>
#include <string.h>

static const char *const names[] = {
#define X(id, name, value, help) name,
    LIMIT_LIST(X)
#undef X
};

static const char *const helps[] = {
#define X(id, name, value, help) help,
    LIMIT_LIST(X)
#undef X
};

static int64_t values[] = {
#define X(id, name, value, help) value,
    LIMIT_LIST(X)
#undef X
};

int64_t limit_get(enum limit which)
{
    BUG_ON((unsigned)which >= N_LIMITS);
    return values[which];
}

const char *limit_name(enum limit which)
{
    BUG_ON((unsigned)which >= N_LIMITS);
    return names[which];
}

const char *limit_help(enum limit which)
{
    BUG_ON((unsigned)which >= N_LIMITS);
    return helps[which];
}

int limit_set(const char *name, int64_t value)
{
    const char *near;

    for (int i = 0; i < N_LIMITS; i++) {
        if (strcmp(names[i], name))
            continue;
        if (value < 1)
            FAIL(ERR_USAGE, "limit \"%s\" is %" PRId64 ", expected a whole number >= 1", name, value);
        values[i] = value;
        return 0;
    }
    near = str_nearest(name, names, N_LIMITS);
    if (near)
        FAIL(ERR_USAGE, "unknown limit \"%s\" (did you mean \"%s\"?)", name, near);
    FAIL(ERR_USAGE, "unknown limit \"%s\"; `meridian limits` prints the table", name);
}
