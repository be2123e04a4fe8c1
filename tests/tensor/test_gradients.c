/* Every op's backward against central differences in double, 50 random shapes each; and a check of the checker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/tensor.h"

#define CASES 50

static void every_op(void **state)
{
    int failed = 0;
    for (int i = 0; i < op_table_count(); i++) {
        struct op_case_result r;
        int rc = op_table_gradient(i, CASES, 20261121, &r);
        if (rc < 0)
            print_error("%s: %s\n", op_table_name(i), err_text());
        else if (r.n_failed)
            print_error("%s: %d of %d cases, worst %.3g\n", r.op, r.n_failed, r.n_cases, r.worst_gradient);
        failed += rc < 0 || r.n_failed;
        assert_true(rc < 0 || r.n_cases == CASES);
    }
    assert_int_equal(failed, 0);
}

static struct tensor *cube_detached(struct tape *t, struct tensor **in, void *ctx)
{
    struct tensor *x = in[0];
    return t_sum(t_mul(t_mul(x, x), *(bool *)ctx ? t_detach(x) : x));
}

/* A backward that forgets a factor must be seen: d/dx x x detach(x) is 2 x^2, not 3 x^2. */
static void the_checker_sees_errors(void **state)
{
    double v[3] = {0.5, -1.5, 2}, *values[1] = {v}, worst;
    int n_dims[1] = {1};
    const int64_t shapes[1][T_MAX_DIMS] = {{3}};
    bool wrong = false;
    assert_int_equal(grad_check(cube_detached, &wrong, 1, n_dims, shapes, values, 1e-5, &worst), 0);
    assert_true(worst < 1e-8);
    wrong = true;
    assert_int_equal(grad_check(cube_detached, &wrong, 1, n_dims, shapes, values, 1e-5, &worst), 0);
    assert_true(worst > 0.3);
}

static struct tensor *not_scalar(struct tape *t, struct tensor **in, void *ctx)
{
    return t_scale(in[0], 2, 0);
}

static struct tensor *not_a_number(struct tape *t, struct tensor **in, void *ctx)
{
    return t_sum(t_log(t_scale(in[0], -1, 0)));
}

static void the_checker_refuses(void **state)
{
    double v[2] = {1, 2}, *values[1] = {v}, worst = -1;
    int n_dims[1] = {1};
    const int64_t shapes[1][T_MAX_DIMS] = {{2}};
    assert_true(grad_check(not_scalar, NULL, 1, n_dims, shapes, values, 1e-5, &worst) < 0);
    assert_non_null(strstr(err_text(), "expected one number"));
    assert_true(worst == -1);
    assert_int_equal(grad_check(not_a_number, NULL, 1, n_dims, shapes, values, 1e-5, &worst), 0);
    assert_false(worst <= 1e9); /* NaN is no pass */
    struct op_case_result r;
    assert_int_equal(op_table_gradient(op_table_count(), 1, 1, &r), ERR_USAGE);
    assert_int_equal(op_table_gradient(-1, 1, 1, &r), ERR_USAGE);
    assert_null(op_table_name(op_table_count()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op),
        cmocka_unit_test(the_checker_sees_errors),
        cmocka_unit_test(the_checker_refuses),
    };
    return cmocka_run_group_tests_name("tensor gradients", tests, NULL, NULL);
}
