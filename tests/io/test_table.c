/* tests/io/test_table.c: CSV and TSV as people write them. */
#include "scratch.h"

static struct table read_ok(const char *text)
{
    struct table t;
    if (table_read(&t, put_text("t.csv", text)) < 0)
        fail_msg("%s: %s", text, err_text());
    return t;
}

static void refuse(const char *text, const char *says)
{
    struct table t;
    if (table_read(&t, put_text("t.csv", text)) != ERR_DATA)
        fail_msg("\"%s\" was not refused", text);
    assert_says("t.csv");
    assert_says(says);
}

static void oddities(void **state UNUSED)
{
    struct table t = read_ok("\xef\xbb\xbfpath,caption\r\n1.png,\"a, \"\"b\"\"\r\nc\"\r\n\r\n2.png,5\" pipe\r\n3.png,");
    assert_int_equal(t.n_cols, 2);
    assert_int_equal(t.n_rows, 3);
    assert_int_equal(t.sep, ',');
    assert_string_equal(t.cols[0], "path");
    assert_string_equal(table_cell(&t, 0, 1), "a, \"b\"\r\nc");
    assert_string_equal(table_cell(&t, 1, 1), "5\" pipe");
    assert_string_equal(table_cell(&t, 2, 0), "3.png");
    assert_string_equal(table_cell(&t, 2, 1), "");
    assert_int_equal(table_col(&t, "caption"), 1);
    assert_int_equal(table_col(&t, "Caption"), -1);
    table_free(&t);
    t = read_ok("\n\nfilepath\ttitle\na,b\tc, d, e\n");
    assert_int_equal(t.sep, '\t');
    assert_string_equal(table_cell(&t, 0, 0), "a,b");
    assert_string_equal(table_cell(&t, 0, 1), "c, d, e");
    table_free(&t);
    t = read_ok("a;b\n1,5;2\n");
    assert_int_equal(t.sep, ';');
    assert_string_equal(table_cell(&t, 0, 0), "1,5");
    table_free(&t);
    t = read_ok("a,b\r1,2\r3,4\r"); /* the old Mac */
    assert_int_equal(t.n_rows, 2);
    assert_string_equal(table_cell(&t, 1, 1), "4");
    table_free(&t);
    t = read_ok(",x\n0,1\n"); /* an index column without a name */
    assert_string_equal(t.cols[0], "");
    table_free(&t);
    t = read_ok("only");
    assert_int_equal(t.n_cols, 1);
    assert_int_equal(t.n_rows, 0);
    table_free(&t);
    t = read_ok("\"a\",\"b,c\"\n\"\",\"\"\n");
    assert_string_equal(t.cols[1], "b,c");
    assert_string_equal(table_cell(&t, 0, 0), "");
    table_free(&t);
}

static void refusals(void **state UNUSED)
{
    struct table t;
    refuse("", "is empty");
    refuse("\n\n", "is empty");
    refuse("\xef\xbb\xbf", "is empty");
    refuse("a,b\n1,2\n3\n", "line 3 has 1 cells, expected 2");
    refuse("a,b\n\n1,2,3\n", "line 3 has 3 cells");
    refuse("a,b\n\"x\ny\",2\n3,4,5\n", "line 4");
    refuse("a,b\n1,\"2\n3,4\n", "line 2: a quote is opened and never closed");
    refuse("a,b\n1,\"", "never closed");
    refuse("a,b\n\"1\"x,2\n", "line 2: text follows a closing quote");
    refuse("a,a\n1,2\n", "two columns \"a\"");
    refuse("a,b\n1,caf\xe9\n", "line 2 is not UTF-8");
    refuse("\xff\xfe\x61", "UTF-16");
    assert_int_equal(table_read(&t, put_file("t.csv", "a,b\n1,\0002\n", 10)), ERR_DATA);
    assert_says("line 2 holds a zero byte");
    assert_int_equal(table_read(&t, in_scratch("absent")), ERR_DATA);
    limit_set("line-bytes", 20);
    refuse("a,b\n0123456789,0123456789\n", "line 2 is longer than 20 bytes");
    refuse("a,b\n1,\"2\n3,4\n3,4\n3,4\n3,4\n3,4\n\"", "is a quote left open");
    limit_set("line-bytes", 1048576);
    limit_set("rows", 2);
    refuse("a\n1\n2\n3\n", "limit rows");
    limit_set("rows", 100000000);
    char *wide = calloc(1, 5001);
    memset(wide, ',', 5000);
    refuse(wide, "5001 columns");
    free(wide);
}

static void numbers(void **state UNUSED)
{
    static const char *const bad[] = {"", " 1", "1 ", "+1", "1.0", "x", "0x1", "11", "-1", "99999999999999999999"};
    char text[64];
    int64_t v = 77;
    struct table t = read_ok("n\n7\n-0\n");
    assert_int_equal(table_int(&t, 0, 0, 0, 10, &v), 0);
    assert_int_equal(v, 7);
    assert_int_equal(table_int(&t, 1, 0, 0, 10, &v), 0);
    table_free(&t);
    v = 77;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "n,m\n\"%s\",\n", bad[i]);
        t = read_ok(text);
        assert_int_equal(table_int(&t, 0, 0, 0, 10, &v), ERR_DATA);
        assert_says("row 1, column \"n\": expected a whole number from 0 to 10, found");
        assert_int_equal(v, 77);
        table_free(&t);
    }
}

static void round_trip(void **state UNUSED)
{
    static const char *const cols[] = {"a", "b,c", "d\te"};
    static const char *const cells[] = {"1", "x \"y\"", "line\nbreak", "", "tab\there", " spaces ", "\r", "ü,", "\"\""};
    static const char *const names[] = {"r.csv", "r.tsv"};
    for (int k = 0; k < 2; k++) {
        struct table t;
        assert_int_equal(table_write(in_scratch(names[k]), 3, cols, 3, cells), 0);
        assert_int_equal(table_read(&t, in_scratch(names[k])), 0);
        assert_int_equal(t.sep, k ? '\t' : ',');
        assert_int_equal(t.n_rows, 3);
        for (int i = 0; i < 9; i++) {
            assert_string_equal(t.cols[i % 3], cols[i % 3]);
            assert_string_equal(table_cell(&t, i / 3, i % 3), cells[i]);
        }
        table_free(&t);
        assert_int_equal(table_write(in_scratch(names[k]), 1, cols, 9, cells), 0); /* one column, an empty cell in it */
        assert_int_equal(table_read(&t, in_scratch(names[k])), 0);
        assert_int_equal(t.n_rows, 9);
        assert_string_equal(table_cell(&t, 3, 0), "");
        table_free(&t);
    }
    assert_int_equal(table_write("/dev/full", 3, cols, 3, cells), ERR_SPACE);
}

static void every_truncation(void **state UNUSED)
{
    static const char text[] = "\xef\xbb\xbf"
                               "a,b\r\n\"1 \"\"\r\n\",2\r\n\xc3\xbc,4\r\n";
    struct table t;
    for (size_t n = 0; n <= sizeof(text) - 1; n++) {
        int rc = table_read(&t, put_file("cut.csv", text, n));
        if (rc == 0)
            table_free(&t);
        else
            assert_int_equal(rc, ERR_DATA);
    }
}

static void no_memory(void **state UNUSED)
{
    struct table t;
    char *text = calloc(1, 20000);
    strcpy(text, "a,b\n");
    for (int i = 0; i < 2000; i++)
        strcat(text, "xx,yy\n");
    const char *path = put_text("m.csv", text);
    int failures = 0;
    for (int64_t n = 1;; n++, failures++) {
        mem_fail_at(n);
        int rc = table_read(&t, path);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
    }
    assert_true(failures > 5);
    assert_int_equal(t.n_rows, 2000);
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = table_write(in_scratch("o.csv"), 2, t.cols, t.n_rows, t.cells);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_false(path_exists(in_scratch("o.csv")));
    }
    table_free(&t);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oddities),   cmocka_unit_test(refusals),         cmocka_unit_test(numbers),
        cmocka_unit_test(round_trip), cmocka_unit_test(every_truncation), cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
