/* tests/view/test_report.c: the report folder and the search page as files: whole or absent, offline, escaped, equal
 * twice. */
#include "view_helper.h"

#define DATE "2026-01-02T03:04:05Z"

static char folder[256];

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/meridian-view-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    return path_remove_tree(folder);
}

static char *at(const char *name)
{
    static char path[16][512]; /* as many are valid at a time */
    static int i;
    i = (i + 1) % 16;
    snprintf(path[i], sizeof path[i], "%s/%s", folder, name);
    return path[i];
}

/* n pictures of one colour each, then one that is no picture; more rows of the set have no file at all. */
static void write_pictures(int n)
{
    char name[32];
    uint8_t pixels[64 * 48 * 3];
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof pixels; k++)
            pixels[k] = (uint8_t)(40 * i + (int)(k % 3) * 60 + (int)(k / 300));
        struct image im = {.width = 64, .height = 48, .channels = 3, .pixels = pixels};
        snprintf(name, sizeof name, "%d.png", i);
        assert_int_equal(image_write_png(at(name), &im), 0);
    }
    snprintf(name, sizeof name, "%d.png", n);
    assert_int_equal(atomic_put(at(name), "no picture", 10), 0);
}

static struct report_opt options(void)
{
    return (struct report_opt){.out_dir = at("report"),
                               .path_base = folder,
                               .date = DATE,
                               .seed = 5,
                               .command = "meridian report SET --title '<b>' && true"};
}

static void check_page(const char *path)
{
    size_t n;
    char *html = slurp(path, &n);
    const char *xml = strstr(html, "<html"); /* after the doctype, which is not XML's */
    assert_non_null(xml);
    assert_xml(xml, n - (size_t)(xml - html), path);
    assert_offline(html, path);
    assert_null(strstr(html, ">nan"));
    assert_true(n < 3 << 20);
    free(html);
}

static void test_report(void **state)
{
    struct world w;
    size_t n;
    json_t *extra = json_pack("{s:{s:f}}", "words score", "r2", 0.5), *o = NULL;
    write_pictures(5);
    struct report_opt opt = options();
    opt.extra = extra;
    world_open(&w, 30, 70, NULL);
    if (report_write(&opt, &w.set, &w.geometry, w.r) < 0)
        fail_msg("%s", err_text());
    check_page(at("report/index.html"));
    char *html = slurp(at("report/index.html"), &n);
    assert_non_null(strstr(html, "data:image/jpeg;base64,"));
    assert_non_null(strstr(html, "no picture"));
    assert_non_null(strstr(html, "A text finds its picture first in <b>50\u00a0%</b>"));
    assert_non_null(strstr(html, "For a text among 30 pictures, guessing would give 3.3\u00a0%"));
    assert_non_null(strstr(html, "Pictures and texts lie in two separate regions"));
    assert_non_null(strstr(html, "A true pair scores <b>0.31</b>"));
    assert_non_null(strstr(html, "claim too much"));
    assert_non_null(strstr(html, "--title &#39;&lt;b&gt;&#39; &amp;&amp; true"));
    assert_non_null(strstr(html, DATE));
    assert_non_null(strstr(html, "0123456789abcdef…"));
    for (int i = 0; i < figure_count(); i++) {
        char name[64];
        snprintf(name, sizeof name, "report/figures/%s.svg", figure_name(i));
        char *svg = slurp(at(name), &n);
        assert_xml(svg, n, name);
        free(svg);
        snprintf(name, sizeof name, "report/figures/%s.tsv", figure_name(i));
        assert_true(path_exists(at(name)));
        snprintf(name, sizeof name, "download=\"%s.tsv\"", figure_name(i));
        assert_non_null(strstr(html, name));
    }
    free(html);
    if (json_read_file(&o, at("report/report.json")) < 0)
        fail_msg("%s", err_text());
    assert_non_null(json_object_get(json_object_get(o, "eval retrieval"), "text_to_image"));
    assert_non_null(json_object_get(o, "eval geometry"));
    assert_non_null(json_object_get(o, "words score"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "set"), "n_texts")), 70);
    assert_int_equal(json_integer_value(json_object_get(o, "seed")), 5);
    json_decref(o);
    json_decref(extra);
    world_close(&w);
}

static void test_same_bytes(void **state)
{
    struct world w;
    size_t n, m;
    struct report_opt opt = options();
    world_open(&w, 30, 70, NULL);
    opt.out_dir = at("one");
    assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), 0);
    opt.out_dir = at("two");
    assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), 0);
    char *a = slurp(at("one/index.html"), &n), *b = slurp(at("two/index.html"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    world_close(&w);
}

static void test_existing_output(void **state)
{
    struct world w;
    struct report_opt opt = options();
    world_open(&w, 6, 6, NULL);
    opt.out_dir = at("twice");
    assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), 0);
    assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), ERR_EXISTS);
    opt.force = true;
    assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), 0);
    opt.out_dir = "/proc/nowhere/report";
    assert_true(report_write(&opt, &w.set, &w.geometry, w.r) < 0);
    assert_non_null(strstr(err_text(), "/proc/nowhere/report"));
    world_close(&w);
}

static void test_hostile(void **state)
{
    struct world w;
    struct report_opt opt = options();
    world_open(&w, 9, 20, HOSTILE);
    opt.out_dir = at("hostile");
    opt.title = "</title><script>alert(1)</script>";
    opt.no_thumbnails = true;
    if (report_write(&opt, &w.set, &w.geometry, w.r) < 0) { /* the set's names are no UTF-8: JSON cannot hold them */
        assert_non_null(strstr(err_text(), "report.json"));
        assert_false(path_exists(at("hostile")));
        w.set.model = w.set.data = w.set.protocol = "<script>&";
        assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), 0);
    }
    check_page(at("hostile/index.html"));
    world_close(&w);
}

static void test_missing_numbers(void **state)
{
    struct world w;
    size_t n;
    struct report_opt opt = options();
    world_open(&w, 1, 1, NULL);
    w.set.n_pairs = 0;
    w.geometry.matched = w.geometry.centroid_distance = w.geometry.effective_rank_pooled = none();
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++)
            w.r[i].recall[k] = none();
    w.r[0].n_queries = w.r[1].n_queries = 0;
    w.r[0].ece = w.r[1].ece = none();
    opt.out_dir = at("empty");
    assert_int_equal(report_write(&opt, &w.set, &w.geometry, w.r), 0);
    check_page(at("empty/index.html"));
    char *html = slurp(at("empty/index.html"), &n);
    assert_non_null(strstr(html, "<span class=\"value\">–</span><span class=\"range\">the set has no pairs</span>"));
    assert_non_null(strstr(html, "too small"));
    free(html);
    world_close(&w);
}

static void test_grid(void **state)
{
    size_t n;
    const struct grid_hit hits[3] = {
        {"0.png", "<img src=x onerror=y>", 4, 0.31}, {"none.png", NULL, 5, (double)NAN}, {NULL, HOSTILE, 6, -0.2}};
    struct grid_opt opt = {.path = at("grid.html"), .query = "a <red> fruit", .path_base = folder, .model = "emoji"};
    write_pictures(1);
    assert_int_equal(grid_write_html(&opt, hits, 3), 0);
    check_page(opt.path);
    char *html = slurp(opt.path, &n);
    assert_non_null(strstr(html, "a &lt;red&gt; fruit"));
    assert_non_null(strstr(html, "data:image/"));
    assert_non_null(strstr(html, "no picture"));
    assert_null(strstr(html, "<img src=x"));
    free(html);
    assert_int_equal(grid_write_html(&opt, hits, 3), ERR_EXISTS);
    opt.force = true;
    opt.query_image = "1.png"; /* broken */
    assert_int_equal(grid_write_html(&opt, NULL, 0), 0);
    check_page(opt.path);
}

/* 700 pictures with measures from room eval: the size of the page, and that both rooms mean the same by their structs.
 */
static void test_measured_set(void **state)
{
    struct world w;
    struct geometry g;
    struct retrieval r[2];
    struct eval_opt eo = {.bootstrap = 20, .seed = 1};
    write_pictures(60);
    struct report_opt opt = options();
    world_open(&w, 700, 1400, NULL);
    if (eval_geometry(&w.set, &eo, &g) < 0 || eval_retrieval(&w.set, 0, &eo, &r[0]) < 0 ||
        eval_retrieval(&w.set, 1, &eo, &r[1]) < 0)
        fail_msg("%s", err_text());
    opt.out_dir = at("measured");
    if (report_write(&opt, &w.set, &g, r) < 0)
        fail_msg("%s", err_text());
    check_page(at("measured/index.html"));
    geometry_free(&g);
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    world_close(&w);
}

/* Scores of doubt and an adapter's, made up: whose rows are shown, which figures there are, what report.json holds. */
static void test_doubt(void **state)
{
    enum { PICTURES = 40, TEXTS = 80 };
    struct world w;
    size_t n;
    double u[2][TEXTS];
    struct eval_opt eo = {.bootstrap = -1};
    struct uncertainty_extra extra = {.name = "adapter", .text = "made up", .u = {u[0], u[1]}};
    struct retrieval r[2];
    struct uncertainty_both b = {0};
    struct match_report match[2][2] = {{{0}}};
    json_t *o = NULL, *want;
    write_pictures(1);
    world_open(&w, PICTURES, TEXTS, NULL);
    for (int i = 0; i < TEXTS; i++)
        u[0][i] = u[1][i] = 100 - i;
    struct uncertainty_in in = {.set = &w.set, .extra = &extra, .n_extra = 1};
    for (int way = 0; way < 2; way++)
        assert_int_equal(eval_retrieval(&w.set, way, &eo, &r[way]), 0);
    assert_int_equal(uncertainty_both_open(&b, &in, &eo), 0);
    match[1][0] = (struct match_report){.n_queries = 5, .n_pairs = 50, .n_match = 7, .ece = iv(0.2)};
    struct report_opt opt = options();
    opt.out_dir = at("doubt");
    opt.uncertainty = &b;
    opt.match[0] = match[0];
    opt.match[1] = match[1];
    if (report_write(&opt, &w.set, &w.geometry, r) < 0)
        fail_msg("%s", err_text());
    check_page(at("doubt/index.html"));
    char *html = slurp(at("doubt/index.html"), &n);
    assert_non_null(strstr(html, "From a text to pictures, by adapter"));
    assert_non_null(strstr(html, "From a picture to texts, by inverted"));
    assert_non_null(strstr(html, "AUROC of adapter"));
    assert_non_null(strstr(html, "7 of 50 hits match"));
    assert_non_null(strstr(html, "This direction was not fitted"));
    free(html);
    /* the surest text has the last row that has a picture, the least sure the first */
    int64_t last = w.set.n_pairs ? b.s[1].row[b.s[1].n - 1] : 0, first = b.s[1].row[0];
    char line[64], *tsv = slurp(at("doubt/figures/sure.tsv"), &n);
    snprintf(line, sizeof line, "\n1\t1\tquery\ttext\t%lld\t", (long long)last);
    assert_non_null(strstr(tsv, line));
    free(tsv);
    tsv = slurp(at("doubt/figures/unsure.tsv"), &n);
    snprintf(line, sizeof line, "\n1\t1\tquery\ttext\t%lld\t", (long long)first);
    assert_non_null(strstr(tsv, line));
    free(tsv);
    assert_int_equal(json_read_file(&o, at("doubt/report.json")), 0);
    want = uncertainty_both_to_json(&b);
    const json_t *have = json_object_get(o, "eval uncertainty");
    const char *const path[] = {"text_to_image", "scores", "adapter"};
    const json_t *x = have, *y = want;
    for (size_t i = 0; i < ARRAY_LEN(path); i++) {
        assert_int_equal(json_object_size(x), json_object_size(y));
        x = json_object_get(x, path[i]);
        y = json_object_get(y, path[i]);
    }
    assert_true(fabs(json_real_value(json_object_get(x, "auroc")) - json_real_value(json_object_get(y, "auroc"))) <
                1e-11);
    assert_non_null(json_object_get(json_object_get(json_object_get(o, "calibration"), "text_to_image"), "first_hits"));
    json_decref(o);
    json_decref(want);
    uncertainty_both_close(&b);
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    world_close(&w);
}

static void quiet(void *ctx, enum log_level level, const char *text) {}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_report, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_existing_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_measured_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doubt, setup, teardown),
    };
    log_sink(quiet, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
