/* tests/view/test_figures.c: every figure on good, hostile and degenerate input is well-formed, offline and the same
 * twice. */
#include "view_helper.h"

#include "view/fig.h"

static struct fig_in fig_in(const struct world *w)
{
    return (struct fig_in){.set = &w->set, .geometry = &w->geometry, .retrieval = w->r, .seed = 3};
}

static void draw_all(const struct world *w, const char *must_hold)
{
    struct fig_in in = fig_in(w);
    for (int i = 0; i < figure_count(); i++) {
        struct str svg = {0}, tsv = {0}, again = {0};
        if (figure_svg(figure_name(i), &in, &svg, &tsv) < 0)
            fail_msg("%s: %s", figure_name(i), err_text());
        assert_xml(svg.s, svg.n, figure_name(i));
        assert_offline(svg.s, figure_name(i));
        assert_null(strstr(svg.s, "nan"));
        assert_null(strstr(svg.s, "inf\""));
        assert_non_null(strchr(tsv.s, '\t'));
        if (must_hold)
            assert_non_null(strstr(svg.s, must_hold));
        assert_int_equal(figure_svg(figure_name(i), &in, &again, NULL), 0);
        assert_string_equal(svg.s, again.s);
        str_free(&svg);
        str_free(&tsv);
        str_free(&again);
    }
}

static void test_all_figures(void **state)
{
    struct world w;
    world_open(&w, 40, 100, NULL);
    draw_all(&w, "n = 40 pictures, 100 texts · model emoji · test split");
    world_close(&w);
}

static void test_hostile_captions(void **state)
{
    struct world w;
    world_open(&w, 12, 30, HOSTILE);
    draw_all(&w, "&lt;script&gt;");
    world_close(&w);
}

static void test_degenerate_sets(void **state)
{
    static const int64_t sizes[][2] = {{1, 1}, {1, 5}, {5, 1}, {2, 2}, {3, 3}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct world w;
        world_open(&w, sizes[i][0], sizes[i][1], NULL);
        draw_all(&w, NULL);
        world_close(&w);
    }
}

static void test_nothing_known(void **state)
{
    struct world w;
    world_open(&w, 1, 1, NULL);
    w.set.n_pairs = 0;
    w.set.image.has_meta = w.set.text.has_meta = false;
    w.set.model = w.set.protocol = w.set.data = w.set.fingerprint = "";
    w.geometry = (struct geometry){.width = WIDTH,
                                   .matched = none(),
                                   .unmatched = none(),
                                   .effective_rank_image = none(),
                                   .effective_rank_text = none(),
                                   .image_image = none(),
                                   .text_text = none()};
    for (int i = 0; i < 2; i++) {
        w.r[i] = (struct retrieval){
            .n_without = 1, .ece = none(), .temperature = (double)NAN, .fitted_temperature = none()};
        for (int k = 0; k < 3; k++)
            w.r[i].recall[k] = none();
    }
    draw_all(&w, NULL);
    struct fig_in in = fig_in(&w);
    struct str svg = {0};
    assert_int_equal(figure_svg("recall", &in, &svg, NULL), 0);
    assert_non_null(strstr(svg.s, "No query has a partner in this set."));
    str_free(&svg);
    world_close(&w);
}

static void test_nan_recall_is_a_dash(void **state)
{
    struct world w;
    world_open(&w, 10, 10, NULL);
    w.r[0].recall[0] = none();
    struct fig_in in = fig_in(&w);
    struct str svg = {0}, tsv = {0};
    assert_int_equal(figure_svg("recall", &in, &svg, &tsv), 0);
    assert_non_null(strstr(svg.s, ">–</text>"));
    assert_non_null(strstr(tsv.s, "image_to_text\t1\t\t\t\t"));
    str_free(&svg);
    str_free(&tsv);
    world_close(&w);
}

static void test_numbers_of_recall(void **state)
{
    struct world w;
    world_open(&w, 10, 20, NULL);
    struct fig_in in = fig_in(&w);
    struct str svg = {0}, tsv = {0};
    assert_int_equal(figure_svg("recall", &in, &svg, &tsv), 0);
    assert_non_null(strstr(tsv.s, "text_to_image\t5\t0.65\t0.62\t0.67\t0.6\t0.5\t20\t10\n"));
    assert_non_null(strstr(svg.s, "65\u00a0%"));
    str_free(&svg);
    str_free(&tsv);
    world_close(&w);
}

/* Guessing with several right answers: 10 pictures with 2 of 20 texts each. */
static void test_chance(void **state)
{
    struct world w;
    struct ctx c;
    world_open(&w, 10, 20, NULL);
    struct fig_in in = fig_in(&w);
    assert_int_equal(ctx_open(&c, &in), 0);
    assert_true(fabs(ctx_chance(&c, 1, 1) - 0.1) < 1e-12); /* one of 10 */
    assert_true(fabs(ctx_chance(&c, 1, 10) - 1) < 1e-12);
    assert_true(fabs(ctx_chance(&c, 0, 1) - 0.1) < 1e-12);                       /* two of 20 */
    assert_true(fabs(ctx_chance(&c, 0, 5) - (1 - 15.0 / 20 * 14 / 19)) < 1e-12); /* C(18, 5) / C(20, 5) */
    ctx_close(&c);
    w.r[0].n_queries = 0;
    assert_int_equal(ctx_open(&c, &in), 0);
    assert_true(isnan(ctx_chance(&c, 0, 1)));
    ctx_close(&c);
    world_close(&w);
}

/* The error at the fitted temperature is good news only where it is lower. */
static void test_fitted_error_is_not_always_good(void **state)
{
    struct world w;
    world_open(&w, 20, 20, NULL);
    struct fig_in in = fig_in(&w);
    for (int worse = 0; worse < 2; worse++) {
        struct str svg = {0};
        for (int k = 0; k < 2; k++)
            w.r[k].ece_fitted = iv(worse ? 0.2 : 0.02);
        assert_int_equal(figure_svg("reliability", &in, &svg, NULL), 0);
        assert_non_null(strstr(svg.s, worse ? ">0.200 [" : ">0.020 ["));
        assert_true(!strstr(svg.s, "class=\"b f-good-ink\"") == (worse == 1));
        str_free(&svg);
    }
    world_close(&w);
}

static void test_rows_without_unit_length(void **state)
{
    struct world w;
    world_open(&w, 20, 20, NULL);
    struct fig_in in = fig_in(&w);
    struct str a = {0}, b = {0};
    assert_int_equal(figure_svg("neighbours", &in, &a, NULL), 0);
    for (int64_t i = 0; i < 20; i++)
        for (int j = 0; j < WIDTH; j++)
            w.set.image.x[i * WIDTH + j] *= (float)(1 << i % 5); /* powers of two: the unit rows come back exactly */
    w.set.unit = false;
    assert_int_equal(figure_svg("neighbours", &in, &b, NULL), 0);
    assert_string_equal(a.s, b.s);
    str_free(&a);
    str_free(&b);
    world_close(&w);
}

static void test_unknown_and_unmeasured(void **state)
{
    struct world w;
    world_open(&w, 4, 4, NULL);
    struct fig_in in = {.set = &w.set};
    struct str svg = {0};
    int needs = -1;
    assert_int_equal(figure_svg("cloud", &in, &svg, NULL), ERR_USAGE);
    assert_non_null(strstr(err_text(), "clouds"));
    assert_int_equal(figure_svg("recall", &in, &svg, NULL), ERR_USAGE);
    assert_int_equal(figure_svg("clouds", &in, &svg, NULL), 0);
    assert_int_equal(figure_needs("recall", &needs), 0);
    assert_int_equal(needs, FIG_RETRIEVAL);
    assert_null(figure_name(-1));
    assert_null(figure_name(figure_count()));
    str_free(&svg);
    world_close(&w);
}

static void test_out_of_memory(void **state)
{
    struct world w;
    world_open(&w, 12, 24, NULL);
    struct fig_in in = fig_in(&w);
    for (int i = 0; i < figure_count(); i++)
        for (int64_t n = 1; n < 40; n++) {
            struct str svg = {0}, tsv = {0};
            mem_fail_at(n);
            int rc = figure_svg(figure_name(i), &in, &svg, &tsv);
            mem_fail_at(0);
            if (rc == 0 && !svg.failed && svg.n > 0) /* a tip or label may be lost, the document may not be torn */
                assert_xml(svg.s, svg.n, figure_name(i));
            str_free(&svg);
            str_free(&tsv);
        }
    world_close(&w);
}

static void test_ticks(void **state)
{
    struct ticks t = ticks_linear(0, 1, 5);
    assert_int_equal(t.n, 6);
    assert_int_equal(t.decimals, 1);
    assert_true(fabs(t.at[1] - 0.2) < 1e-12 && fabs(t.at[5] - 1) < 1e-12);
    t = ticks_linear(-0.137, 0.93, 6);
    for (int i = 0; i < t.n; i++)
        assert_true(t.at[i] >= -0.138 && t.at[i] <= 0.931);
    assert_true(t.n >= 4 && t.n <= 8);
    t = ticks_linear(3, 3, 5);
    assert_int_equal(t.n, 1);
    t = ticks_log(0.003, 40);
    assert_int_equal(t.n, 4); /* 0.01 0.1 1 10 */
    t = ticks_log(0.3, 4);
    assert_true(t.n >= 3); /* 0.5 1 2 */
    t = ticks_log(0, 4);
    assert_int_equal(t.n, 0);
    struct scale s = {.lo = 0, .hi = 0, .p0 = 10, .p1 = 20};
    assert_true(isfinite(scale_at(&s, 5)));
    s = (struct scale){.lo = 1, .hi = 100, .p0 = 0, .p1 = 2, .log = true};
    assert_true(fabs(scale_at(&s, 10) - 1) < 1e-12);
    assert_true(isfinite(scale_at(&s, 0)));
}

static void test_words(void **state)
{
    assert_string_equal(word_pct(0.634).s, "63\u00a0%");
    assert_string_equal(word_pct(0.0634).s, "6.3\u00a0%");
    assert_string_equal(word_pct(0.9996).s, ">\u202f99.9\u00a0%");
    assert_string_equal(word_pct(1e-5).s, "<\u202f0.1\u00a0%");
    assert_string_equal(word_pct(0).s, "0\u00a0%");
    assert_string_equal(word_pct(1).s, "100\u00a0%");
    assert_string_equal(word_pct((double)NAN).s, "–");
    assert_string_equal(word_num(-0.25, 2).s, "−0.25");
    assert_string_equal(word_num(-0.001, 2).s, "0.00");
    assert_string_equal(word_count(1126).s, "1126");
    assert_string_equal(word_count(1234567).s, "1\u202f234\u202f567");
    assert_string_equal(word_ci_pct((struct interval){0.63, 0.58, 0.67}).s, "[58, 67]");
    assert_string_equal(word_ci(none(), 2).s, "");
    assert_string_equal(word_num_ci(none(), 2).s, "–");
    assert_int_equal(word_decimals((struct interval){0.36, 0.33, 0.39}, 2), 2);
    assert_int_equal(word_decimals((struct interval){0.36, 0.358, 0.362}, 2), 3); /* [0.36, 0.36] says nothing */
    assert_int_equal(word_decimals((struct interval){0.36, 0.36, 0.36}, 2), 2);
    assert_int_equal(word_decimals(none(), 2), 2);
}

static void test_escape(void **state)
{
    struct str b = {0};
    add_xml(&b, "<a b='c' d=\"e\">&\x01\x7f");
    assert_string_equal(b.s, "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;\xef\xbf\xbd\xef\xbf\xbd");
    str_clear(&b);
    add_xml(&b, "ok \xc3\xa9 \xc3 \xed\xa0\x80 \xf0\x9f\x90\x88 \xc0\xaf"); /* broken tail, surrogate, overlong */
    assert_true(utf8_ok(b.s, b.n));
    assert_null(strstr(b.s, "\xed\xa0\x80"));
    str_clear(&b);
    add_xml_cut(&b, "\xc3\xa9t\xc3\xa9 1976", 4);
    assert_string_equal(b.s, "\xc3\xa9t\xc3\xa9…");
    str_clear(&b);
    add_xml_cut(&b, "abcd", 4);
    assert_string_equal(b.s, "abcd");
    str_clear(&b);
    add_tsv(&b, "a\tb\nc");
    assert_string_equal(b.s, "a b c");
    str_clear(&b);
    svg_num(&b, -0.001), str_add_c(&b, ' '), svg_num(&b, 12.50), str_add_c(&b, ' '), svg_num(&b, 100);
    assert_string_equal(b.s, "0 12.5 100");
    str_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_figures),
        cmocka_unit_test(test_hostile_captions),
        cmocka_unit_test(test_degenerate_sets),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_nan_recall_is_a_dash),
        cmocka_unit_test(test_numbers_of_recall),
        cmocka_unit_test(test_chance),
        cmocka_unit_test(test_fitted_error_is_not_always_good),
        cmocka_unit_test(test_rows_without_unit_length),
        cmocka_unit_test(test_unknown_and_unmeasured),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_escape),
    };
#ifndef HAVE_EXPAT
    print_message("expat is not installed: whether the XML is well-formed is SKIPPED\n");
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
