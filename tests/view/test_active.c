/* tests/view/test_active.c: the figure of active learning, with many lines and with next to none: well-formed, the same
 * twice, its numbers in the TSV, no band of a line that has none. */
#include "view_helper.h"

enum { POINTS = 4, LINES = BAND_LINES };

struct made {
    double x[POINTS];
    struct interval y[LINES][POINTS], gain[LINES];
    struct band_line line[LINES];
};

static void make(struct made *m, int n)
{
    static const char *const names[LINES] = {"random", "margin",      "<b>&", "coreset", "typical", "cosine",
                                             "bald",   "uncertainty", "epig", "ten",     "eleven",  "twelve"};
    for (int k = 0; k < POINTS; k++)
        m->x[k] = 50 * (k + 1);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < POINTS; k++)
            m->y[i][k] = iv(0.5 + 0.1 * k + 0.001 * i);
        m->gain[i] = (struct interval){0.01 * (i - 2), 0.01 * (i - 2) - 0.015, 0.01 * (i - 2) + 0.015};
        m->line[i] = (struct band_line){names[i], POINTS, m->x, m->y[i]};
    }
}

static int64_t count(const char *s, const char *what)
{
    int64_t n = 0;
    for (; (s = strstr(s, what)); s += strlen(what))
        n++;
    return n;
}

static void draw(const struct fig_active *a, struct str *svg, struct str *tsv)
{
    struct world w;
    struct str again = {0};
    world_open(&w, 10, 10, NULL);
    const struct fig_in in = {.set = &w.set, .active = a};
    if (figure_active_svg(&in, svg, tsv) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(figure_active_svg(&in, &again, NULL), 0);
    assert_string_equal(svg->s, again.s);
    assert_xml(svg->s, svg->n, "active");
    assert_offline(svg->s, "active");
    assert_null(strstr(svg->s, "nan"));
    assert_null(strstr(svg->s, "inf\""));
    str_free(&again);
    world_close(&w);
}

static void test_lines(void **state)
{
    for (int n = 1; n <= LINES; n++) {
        struct made m;
        struct str svg = {0}, tsv = {0};
        make(&m, n);
        draw(&(struct fig_active){.n = n, .n_seeds = 5, .line = m.line, .gain = m.gain, .all = 0.9}, &svg, &tsv);
        assert_int_equal(count(svg.s, "class=\"area "), n <= 3 ? n : 1);
        assert_int_equal(count(tsv.s, "\n"), 1 + n * POINTS + (n - 1) + 1);
        assert_non_null(strstr(tsv.s, "Recall at 1 on held-out pairs\trandom\t50\t0.5\t0.47\t0.52\n"));
        assert_true(n < 2 || strstr(tsv.s, "gain\tmargin\t\t-0.01\t-0.025\t0.005\n"));
        assert_true(n < 3 || strstr(svg.s, "&lt;b&gt;&amp;"));
        assert_non_null(strstr(svg.s, n > 1 ? "Gain over random" : "There is nothing to compare."));
        str_free(&svg);
        str_free(&tsv);
    }
}

/* One seed has no interval; a round may have failed to give a number. */
static void test_missing_numbers(void **state)
{
    struct made m;
    struct str svg = {0}, tsv = {0};
    make(&m, 3);
    for (int i = 0; i < 3; i++) {
        m.gain[i].low = m.gain[i].high = NAN;
        for (int k = 0; k < POINTS; k++)
            m.y[i][k].low = m.y[i][k].high = NAN;
    }
    m.y[1][0].value = NAN;
    draw(&(struct fig_active){.n = 3, .n_seeds = 1, .line = m.line, .gain = m.gain, .all = NAN}, &svg, &tsv);
    assert_int_equal(count(svg.s, "class=\"area "), 0);
    assert_non_null(strstr(tsv.s, "\tmargin\t50\t\t\t\n"));
    str_free(&svg);
    str_free(&tsv);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < POINTS; k++)
            m.y[i][k].value = NAN;
    draw(&(struct fig_active){.n = 3, .n_seeds = 1, .line = m.line, .gain = m.gain, .all = NAN}, &svg, &tsv);
    assert_non_null(strstr(svg.s, "There is no number to draw."));
    str_free(&svg);
    str_free(&tsv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_missing_numbers)};
    return cmocka_run_group_tests_name("view active", tests, NULL, NULL);
}
