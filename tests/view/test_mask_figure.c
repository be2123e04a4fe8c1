/* tests/view/test_mask_figure.c: the figure of a mask study: both sides, one side, names from outside, holes in the
 * numbers; and that its table holds what was given. */
#include "view_helper.h"

enum { SHARES = 4, SCORES = 3 };

static struct interval numbers[2][2 * SCORES + 1][SHARES];
static struct fig_mask_score scores[2][SCORES];
static const double share[SHARES] = {0, .3, .6, .9};
static const double risen[SHARES] = {0, .5, .75, 1};

static struct fig_mask study(int n_scores, bool holes)
{
    static const char *const names[SCORES] = {"entropy", HOSTILE, "tta"};
    struct fig_mask m = {.n_shares = SHARES, .n_scores = n_scores, .share = share};
    for (int side = 0; side < 2; side++) {
        for (int k = 0; k < 2 * SCORES + 1; k++)
            for (int i = 0; i < SHARES; i++)
                numbers[side][k][i] = holes && (i + k) % 2 ? none() : iv(0.1 * k + share[i] * (side ? -1 : 1) + side);
        for (int k = 0; k < SCORES; k++)
            scores[side][k] = (struct fig_mask_score){names[k], numbers[side][2 * k], numbers[side][2 * k + 1],
                                                      (double *)(uintptr_t)risen, holes ? (double)NAN : 0.8};
        m.side[side].n = 40;
        m.side[side].recall = numbers[side][2 * SCORES];
        m.side[side].score = scores[side];
    }
    return m;
}

static void draw(const struct fig_mask *m, struct str *svg, struct str *tsv)
{
    struct world w;
    world_open(&w, 12, 30, NULL);
    struct fig_in in = {.set = &w.set, .mask = m};
    if (figure_mask_svg(&in, svg, tsv) < 0)
        fail_msg("%s", err_text());
    assert_xml(svg->s, svg->n, "mask");
    assert_offline(svg->s, "mask");
    assert_null(strstr(svg->s, "nan"));
    world_close(&w);
}

static int lines(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void both_sides(void **state UNUSED)
{
    struct str svg = {0}, tsv = {0}, again = {0};
    struct fig_mask m = study(SCORES, false);
    draw(&m, &svg, &tsv);
    draw(&m, &again, NULL);
    assert_string_equal(svg.s, again.s);
    assert_non_null(strstr(svg.s, "Pictures: rise of doubt"));
    assert_non_null(strstr(svg.s, "Words: first answers that are right"));
    assert_non_null(strstr(svg.s, "&lt;script&gt;"));
    assert_int_equal(lines(tsv.s), 1 + 2 * SCORES * SHARES);
    /* pictures, entropy, 60 %: doubt 0.6, rise 0.7, risen 0.75, recall 1.2 */
    assert_non_null(strstr(tsv.s, "pictures\tentropy\t0.6\t40\t0.6\t0.57\t0.62\t0.7\t0.67\t0.72\t0.75\t1.2\t"));
    str_free(&svg);
    str_free(&tsv);
    str_free(&again);
}

static void one_side(void **state UNUSED)
{
    struct str svg = {0}, tsv = {0};
    struct fig_mask m = study(1, false);
    m.side[0].score = NULL;
    draw(&m, &svg, &tsv);
    assert_null(strstr(svg.s, "Pictures:"));
    assert_int_equal(lines(tsv.s), 1 + SHARES);
    str_free(&svg);
    str_free(&tsv);
}

static void holes(void **state UNUSED)
{
    struct str svg = {0}, tsv = {0};
    struct fig_mask m = study(SCORES, true);
    draw(&m, &svg, &tsv);
    assert_null(strstr(tsv.s, "nan"));
    str_free(&svg);
    str_free(&tsv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides),
        cmocka_unit_test(one_side),
        cmocka_unit_test(holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
