/* Parts of a set: the words of columns, and lists of rows in files. */
#include "../scratch.h"
#include "space/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void words(void **state UNUSED)
{
    static const char *const judging[] = {"val", "valid", "validation", "dev"};
    for (size_t i = 0; i < ARRAY_LEN(judging); i++)
        assert_int_equal(set_part_of(judging[i]), PART_VALIDATION);
    assert_int_equal(set_part_of("train"), PART_TRAIN);
    assert_int_equal(set_part_of("restval"), PART_TRAIN);
    assert_int_equal(set_part_of("test"), PART_TEST);
    assert_int_equal(set_part_of("Test"), PART_NONE);
    assert_int_equal(set_part_of("testing"), PART_NONE);
    assert_int_equal(set_part_of(""), PART_NONE);
}

static int read_list(const char *text, uint8_t mark, uint8_t marks[5])
{
    assert_int_equal(atomic_put(at("rows.txt"), text, strlen(text)), 0);
    return set_mark_rows(at("rows.txt"), mark, 5, marks);
}

static void lists(void **state UNUSED)
{
    uint8_t marks[5] = {0};
    assert_int_equal(read_list("1\r\n\n3\n", 1, marks), 0);
    assert_memory_equal(marks, ((const uint8_t[5]){0, 1, 0, 1, 0}), 5);
    assert_int_equal(read_list("name,image_row\nx,4\ny,4\n", 2, marks), 0);
    assert_memory_equal(marks, ((const uint8_t[5]){0, 1, 0, 1, 2}), 5);
    uint8_t chosen[5] = {0};
    assert_int_equal(read_list("row,rank,score,name\n2,1,0.5,a\n0,2,0.25,b\n", 1, chosen), 0); /* select's */
    assert_memory_equal(chosen, ((const uint8_t[5]){1, 0, 1, 0, 0}), 5);
    assert_int_equal(read_list("row\n", 1, chosen), 0);
    assert_int_equal(read_list("0\n3\n", 2, marks), ERR_DATA); /* in the other list */
    assert_non_null(strstr(err_text(), "row 3"));
    assert_int_equal(read_list("5\n", 1, marks), ERR_DATA);
    assert_non_null(strstr(err_text(), "0 to 4"));
    assert_int_equal(read_list("-1\n", 1, marks), ERR_DATA);
    assert_int_equal(read_list("2 3\n", 1, marks), ERR_DATA);
    assert_true(set_mark_rows(at("none.txt"), 1, 5, marks) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(lists)};
    return cmocka_run_group_tests(tests, make_root, drop_root);
}
