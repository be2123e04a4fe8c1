/* Every op on every engine against the double reference, forward and gradients, in full and in low precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/tensor.h"

#define CASES 50

static void compare_all(const char *name, bool low)
{
    const struct engine *e;
    int failed = 0;
    if (engine_open(&e, name, 1) < 0) {
        print_message("engine %s is not built here: skipped\n", name);
        skip();
    }
    for (int i = 0; i < op_table_count(); i++) {
        struct op_case_result r;
        int rc = op_table_compare(i, e, low, CASES, 7, &r);
        if (rc < 0)
            print_error("%s: %s\n", op_table_name(i), err_text());
        else if (r.n_failed || !r.supported)
            print_error("%s on %s: %d of %d cases, worst %.3g forward, %.3g gradient%s\n", r.op, name, r.n_failed,
                        r.n_cases, r.worst_forward, r.worst_gradient, r.supported ? "" : ", unsupported");
        failed += rc < 0 || r.n_failed || !r.supported;
    }
    assert_int_equal(failed, 0);
}

static void ref(void **state)
{
    compare_all("ref", false);
}

static void ref64(void **state)
{
    compare_all("ref64", false);
}

static void cpu(void **state)
{
    compare_all("cpu", false);
}

static void cpu_low(void **state)
{
    compare_all("cpu", true);
}

/* An engine that lacks a kernel is reported, not failed */
static void support(void **state)
{
    const struct engine *e;
    struct op_case_result r;
    int seen = 0;
    assert_int_equal(engine_open(&e, "ref", 1), 0);
    struct engine poor = *e;
    poor.name = "poor";
    poor.layer_norm_fwd = NULL;
    poor.act_bwd = NULL;
    for (int i = 0; i < op_table_count(); i++) {
        bool lacks = !strcmp(op_table_name(i), "layer_norm") || str_starts(op_table_name(i), "act ");
        if (!lacks && strcmp(op_table_name(i), "softmax"))
            continue;
        assert_int_equal(op_table_compare(i, &poor, false, 2, 1, &r), 0);
        assert_int_equal(r.supported, !lacks);
        seen++;
    }
    assert_true(seen > 2);
}

/* A wrong kernel is caught: an engine whose copies are off by a little */
static void off_by_a_little(const struct engine *e, double alpha, const void *x, double shift, void *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ((float *)y)[i] = (float)(alpha * (double)((const float *)x)[i] + shift * 1.001);
}

static void a_wrong_kernel_is_caught(void **state)
{
    const struct engine *e;
    struct op_case_result r;
    assert_int_equal(engine_open(&e, "ref", 1), 0);
    struct engine wrong = *e;
    wrong.scale_add = off_by_a_little;
    for (int i = 0; i < op_table_count(); i++)
        if (!strcmp(op_table_name(i), "scale")) {
            assert_int_equal(op_table_compare(i, &wrong, false, 5, 1, &r), 0);
            assert_int_equal(r.n_failed, 5);
        }
}

static void speed(void **state)
{
    const struct engine *e;
    double forward = -1, backward = -1, gflop = -1;
    assert_int_equal(engine_open(&e, "ref", 1), 0);
    for (int i = 0; i < op_table_count(); i++)
        if (!strcmp(op_table_name(i), "row"))
            assert_int_equal(op_table_speed(i, e, false, &forward, &backward, &gflop), 0);
    assert_true(forward >= 0 && backward >= 0 && gflop > 0);
    assert_int_equal(op_table_speed(-1, e, false, &forward, &backward, &gflop), ERR_USAGE);
}

/* Every enumerator has an entry */
static bool has_entry(const char *prefix, const char *name)
{
    char want[64];
    snprintf(want, sizeof(want), "%s %s", prefix, name);
    for (int i = 0; i < op_table_count(); i++)
        if (!strcmp(op_table_name(i), want))
            return true;
    print_error("no entry \"%s\"\n", want);
    return false;
}

static void coverage(void **state)
{
    const char *reductions[] = {"sum", "mean", "max", "lse"};
    assert_int_equal(ARRAY_LEN(reductions), N_REDUCES);
    for (int i = ACT_NONE + 1; i < N_ACTS; i++)
        assert_true(has_entry("act", act_name((enum act)i)));
    for (int i = 0; i < N_BINARIES; i++)
        assert_true(has_entry("binary", binary_name((enum binary)i)));
    for (int i = 0; i < N_REDUCES; i++)
        assert_true(has_entry("reduce", reductions[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coverage), cmocka_unit_test(ref),
        cmocka_unit_test(ref64),    cmocka_unit_test(cpu),
        cmocka_unit_test(cpu_low),  cmocka_unit_test(support),
        cmocka_unit_test(speed),    cmocka_unit_test(a_wrong_kernel_is_caught),
    };
    return cmocka_run_group_tests_name("tensor ops", tests, NULL, NULL);
}
