/* tests/words/test_words_table.c: factors out of tables, good ones and bad ones. */
#include "words_made.h"

static char folder[] = "/tmp/meridian-words-table-XXXXXX";

/* The table `text` as a grid over n vectors; the code, and of a failure its message in err_text. */
static int read(struct words_grid **g, const char *text, int64_t n, struct words_columns o)
{
    char path[1024];
    struct table t;
    OK(path_join(path, sizeof path, folder, "f.csv"));
    OK(atomic_put(path, text, strlen(text)));
    TRY(table_read(&t, path));
    if (!o.columns)
        o.columns = "colour,type";
    int rc = words_grid_read(g, &t, n, &o);
    table_free(&t);
    return rc;
}

static void good(void **state UNUSED)
{
    struct words_grid *g = NULL;
    struct words_columns o = {0};
    OK(read(&g, "row,colour,type,w\n3,red,red,1\n0,blue,hat,2\n1,red,hat,0\n2,blue,hat,1\n", 5, o));
    assert_int_equal(g->n_cells, 3);
    assert_string_equal(g->factor[0].levels[0], "red");
    assert_string_equal(g->factor[1].levels[0], "red"); /* the same word in two factors */
    assert_int_equal(g->row[0], 3);
    words_grid_free(&g);
    o.weight = "w";
    OK(read(&g, "row,colour,type,w\n3,red,red,1\n0,blue,hat,2\n1,red,hat,0\n2,blue,hat,1\n", 5, o));
    assert_int_equal(g->n_used, 2); /* red hat weighs nothing */
    assert_true(fabs(g->share[2] + g->share[3] - 1) < 1e-15 && fabs(g->share[2] - 2.0 / 3) < 1e-15);
    words_grid_free(&g);
    o = (struct words_columns){.top = 2, .skip = {1, (const char *[]){"none"}}, .skip_empty = true};
    OK(read(&g,
            "colour,type\nred,hat\nblue,hat\nnone,hat\nnone,hat\ngreen,shoe\nblue,shoe\n,hat\ngreen,hat\nblue,coat\n",
            9, o));
    assert_int_equal(g->n_rows, 4); /* blue, green by hat, shoe */
    assert_int_equal(g->n_left_out, 5);
    assert_string_equal(g->factor[0].levels[0], "blue");
    assert_string_equal(g->factor[0].levels[1], "green");
    words_grid_free(&g);
}

static void bad(void **state UNUSED)
{
    static const struct {
        const char *text, *columns, *say;
        int code;
    } cases[] = {
        {"row,colour,type\n0,a,b\n1,b,c\n", "color,type", "no column \"color\" (did you mean \"colour\"?)", ERR_DATA},
        {"row,colour,type\n0,a,b\n1,,c\n", NULL, "line 3: column \"colour\" is empty", ERR_DATA},
        {"row,colour,type\n0,a,b\n1,a,c\n", NULL, "column \"colour\" has one level, \"a\"", ERR_DATA},
        {"row,colour,type\n0,a,b\n0,b,c\n", NULL, "line 3: row 0 stands there already", ERR_DATA},
        {"row,colour,type\n0,a,b\n7,b,c\n", NULL, "column \"row\"", ERR_DATA},
        {"colour,type\na,b\nb,c\n", NULL, "2 lines and no column \"row\", but there are 5 vectors", ERR_DATA},
        {"row,colour,type\n0,a,b\n1,b,c\n", "colour,colour", "asked for twice", ERR_USAGE},
        {"row,colour,type\n0,a,b\n1,b,c\n", ",", "no columns are asked for", ERR_USAGE},
        {"row,colour,type\n", NULL, "every row is left out", ERR_DATA},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct words_grid *g = NULL;
        const struct words_columns o = {.columns = cases[i].columns};
        assert_int_equal(read(&g, cases[i].text, 5, o), cases[i].code);
        if (!strstr(err_text(), cases[i].say))
            fail_msg("case %zu: \"%s\", expected \"%s\"", i, err_text(), cases[i].say);
        assert_null(g);
    }
}

static void named_twice(void **state UNUSED)
{
    struct words_grid *g = NULL;
    const struct words_columns o = {0};
    assert_int_equal(read(&g, "row,colour,colour,type\n0,a,b,c\n1,b,c,d\n", 5, o), ERR_DATA);
    assert_non_null(strstr(err_text(), "names two columns \"colour\""));
}

static void bad_weights(void **state UNUSED)
{
    static const char *const weights[] = {"-1", "nan", "x", "", "1e400"};
    for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
        struct words_grid *g = NULL;
        struct str text = {0};
        const struct words_columns o = {.weight = "w"};
        str_add(&text, "row,colour,type,w\n0,a,b,1\n1,b,c,%s\n", weights[i]);
        assert_int_equal(read(&g, text.s, 5, o), ERR_DATA);
        assert_non_null(strstr(err_text(), "expected a number of at least 0"));
        str_free(&text);
    }
    struct words_grid *g = NULL;
    const struct words_columns o = {.weight = "w"};
    assert_int_equal(read(&g, "row,colour,type,w\n0,a,b,0\n1,b,c,0\n", 5, o), ERR_DATA);
    assert_non_null(strstr(err_text(), "no cell has a weight above 0"));
}

static void too_many_levels(void **state UNUSED)
{
    struct words_grid *g = NULL;
    struct str text = {0};
    int64_t before = limit_get(LIMIT_LEVELS);
    str_add(&text, "colour,type\n");
    for (int i = 0; i < 50; i++)
        str_add(&text, "c%d,t%d\n", i, i % 2);
    OK(limit_set("levels", 40));
    assert_int_equal(read(&g, text.s, 50, (struct words_columns){0}), ERR_DATA);
    assert_non_null(strstr(err_text(), "column \"colour\" has more than 40 levels (limit levels)"));
    OK(limit_set("levels", before));
    OK(read(&g, text.s, 50, (struct words_columns){0}));
    assert_int_equal(g->components, 2);
    words_grid_free(&g);
    str_free(&text);
}

static int open_folder(void **state UNUSED)
{
    return mkdtemp(folder) ? 0 : -1;
}
static int close_folder(void **state UNUSED)
{
    return path_remove_tree(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(named_twice),
        cmocka_unit_test(bad_weights),
        cmocka_unit_test(too_many_levels),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
