/* base/join.c: what hangs together: union and find over rows 0 .. n-1 (Galler and Fischer 1964), paths halved on the
 * way. The root of a group is its first row whatever the order of the joins, so that what is drawn by root does not
 * depend on the order in which pairs lie in a file. Rejected: union by size, which has no such root; groups are shallow
 * enough without. */
#include "base/base.h"

void join_open(int64_t *parent, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        parent[i] = i;
}

int64_t join_root(int64_t *parent, int64_t i)
{
    while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
    return i;
}

void join_rows(int64_t *parent, int64_t i, int64_t j)
{
    int64_t a = join_root(parent, i), b = join_root(parent, j);
    parent[a < b ? b : a] = a < b ? a : b;
}
