/* Union and find: groups against a breadth-first search, the root is the first row whatever the order of the joins. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N = 60, JOINS = 45 };

static void groups(void **state UNUSED)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
        int64_t a[JOINS], b[JOINS], parent[N], again[N], label[N];
        join_open(parent, N);
        join_open(again, N);
        for (int64_t i = 0; i < N; i++)
            label[i] = i;
        for (int k = 0; k < JOINS; k++) {
            a[k] = (int64_t)rng_below(&r, N);
            b[k] = (int64_t)rng_below(&r, N);
            join_rows(parent, a[k], b[k]);
            for (bool more = true; more;) { /* labels spread along all joins so far */
                more = false;
                for (int j = 0; j <= k; j++)
                    if (label[a[j]] != label[b[j]]) {
                        int64_t low = label[a[j]] < label[b[j]] ? label[a[j]] : label[b[j]];
                        label[a[j]] = label[b[j]] = low;
                        more = true;
                    }
            }
        }
        for (int k = JOINS - 1; k >= 0; k--)
            join_rows(again, b[k], a[k]);
        for (int64_t i = 0; i < N; i++) {
            assert_int_equal(join_root(parent, i), label[i]);
            assert_int_equal(join_root(again, i), label[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
