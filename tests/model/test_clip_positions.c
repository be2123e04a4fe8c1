/* Positions for another size of pictures against torch 1.13's interpolate, both habits. The expected arrays were
 * printed once by v = torch.tensor([[((7*i + 3*d + i*i) % 11) - 5 for d in range(2)] for i in range(16)],
 * dtype=torch.float64) g = v.reshape(1, 4, 4, 2).permute(0, 3, 1, 2) F.interpolate(g, size=(to, to), mode="bicubic",
 * align_corners=False, antialias=aa).permute(0, 2, 3, 1).flatten()
 */
#include "golden_check.h"
#include "model/param.h"

static const double to2[] = {-1.7265625, -1.4765625, 1.4765625,  -1.0234375,
                             1.4765625,  -1.0234375, -1.7265625, -1.4765625};
static const double to2_antialias[] = {-1.74742162421, -1.05433372037,  1.27259067004,  -0.739054709378,
                                       1.27259067004,  -0.739054709378, -1.74742162421, -1.05433372037};
static const double to3[] = {-4.0251253858,   -2.37725587277,  2.36241319444,  0.799768518519, 3.09021883573,
                             -3.33107746056,  -0.247540509259, -1.81018518519, -3.412109375,   1.84375,
                             -0.247540509259, -1.81018518519,  3.09021883573,  -3.33107746056, 2.36241319444,
                             0.799768518519,  -4.0251253858,   -2.37725587277};
static const double to3_antialias[] = {-3.45445595882,  -2.50113369186,  1.53858432626, 0.493547634078, 3.00685451565,
                                       -2.27461001524,  -0.519572450617, -1.5646091428, -2.48487560279, 1.31681034483,
                                       -0.519572450617, -1.5646091428,   3.00685451565, -2.27461001524, 1.53858432626,
                                       0.493547634078,  -3.45445595882,  -2.50113369186};
static const double to6[] = {
    -5.71705005787, -1.67930169753,    -0.800455729167, -4.89865451389, 3.86601803627,  -4.2198752572,
    2.74386332948,  4.77543081276,     2.60427517361,   1.22504340278,  2.85291280864,  -6.10194830247,
    -6.61566840278, -2.01746961806,    -1.7265625,      -1.4765625,     1.9771412037,   -0.0915798611111,
    -1.3208912037,  1.82074652778,     1.4765625,       -1.0234375,     5.48546006944,  -4.59016927083,
    -3.75504356353, -2.55367476852,    -1.94748263889,  0.812210648148, -1.28722725909, 2.94480881344,
    -4.18629704647, -0.00730881344308, -0.417100694444, -2.10387731481, 4.41006381816,  -2.84563078704,
    4.41006381816,  -2.84563078704,    -0.417100694444, -2.10387731481, -4.18629704647, -0.00730881344307,
    -1.28722725909, 2.94480881344,     -1.94748263889,  0.812210648148, -3.75504356353, -2.55367476852,
    5.48546006944,  -4.59016927083,    1.4765625,       -1.0234375,     -1.3208912037,  1.82074652778,
    1.9771412037,   -0.0915798611111,  -1.7265625,      -1.4765625,     -6.61566840278, -2.01746961806,
    2.85291280864,  -6.10194830247,    2.60427517361,   1.22504340278,  2.74386332948,  4.77543081276,
    3.86601803627,  -4.2198752572,     -0.800455729167, -4.89865451389, -5.71705005787, -1.67930169753};
static const double to6_antialias[] = {
    -5.53930055402, -1.76800554017, -1.09520123839, -4.30185758514,  3.56965765107,   -4.29398148148, 2.55881457115,
    4.64851364522,  2.59829721362,  0.46439628483,  2.89958448753,   -5.82409972299,  -6.07585139319, -2.00309597523,
    -1.93079584775, -1.67128027682, 1.84082244009,  -0.521377995643, -0.949482570806, 1.94866557734,  1.73010380623,
    -1.09342560554, 4.89705882353,  -4.51625386997, -3.97371466862,  -2.42677875244,  -2.15168845316, 0.476851851852,
    -1.0208226166,  2.78137860082,  -3.93500300069, -0.156378600823, 0.0487472766885, -2.0438453159,  4.42601730019,
    -2.89485867446, 4.42601730019,  -2.89485867446, 0.0487472766885, -2.0438453159,   -3.93500300069, -0.156378600823,
    -1.0208226166,  2.78137860082,  -2.15168845316, 0.476851851852,  -3.97371466862,  -2.42677875244, 4.89705882353,
    -4.51625386997, 1.73010380623,  -1.09342560554, -0.949482570806, 1.94866557734,   1.84082244009,  -0.521377995643,
    -1.93079584775, -1.67128027682, -6.07585139319, -2.00309597523,  2.89958448753,   -5.82409972299, 2.59829721362,
    0.46439628483,  2.55881457115,  4.64851364522,  3.56965765107,   -4.29398148148,  -1.09520123839, -4.30185758514,
    -5.53930055402, -1.76800554017};

static float pattern(int i, int d)
{
    return (float)((7 * i + 3 * d + i * i) % 11 - 5);
}

static void check(int64_t to, bool antialias, const double *expected)
{
    float in[(3 + 16) * 2], out[(3 + 36) * 2];
    for (int i = 0; i < 3; i++) /* rows before the grid come through untouched */
        for (int d = 0; d < 2; d++)
            in[i * 2 + d] = (float)(100 + i * 2 + d);
    for (int i = 0; i < 16; i++)
        for (int d = 0; d < 2; d++)
            in[(3 + i) * 2 + d] = pattern(i, d);
    assert_int_equal(positions_resize(in, 3, 4, to, 2, antialias, out), 0);
    assert_memory_equal(in, out, 6 * sizeof *in);
    for (int64_t i = 0; i < to * to * 2; i++)
        if (!(fabs((double)out[6 + i] - expected[i]) <= 1e-6 * fmax(1.0, fabs(expected[i]))))
            fail_msg("4 -> %d, antialias %d: element %d is %.9g, expected %.9g", (int)to, antialias, (int)i,
                     (double)out[6 + i], expected[i]);
}

static void test_against_torch(void **state)
{
    check(2, false, to2);
    check(2, true, to2_antialias);
    check(3, false, to3);
    check(3, true, to3_antialias);
    check(6, false, to6);
    check(6, true, to6_antialias);
}

/* The same side gives the same numbers; a constant stays one. */
static void test_edges(void **state)
{
    float in[49 * 3], out[100 * 3];
    for (int i = 0; i < 49 * 3; i++)
        in[i] = (float)(i % 17) - 8;
    assert_int_equal(positions_resize(in, 0, 7, 7, 3, false, out), 0);
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(positions_resize(in, 0, 7, 7, 3, true, out), 0);
    assert_memory_equal(in, out, sizeof in);
    for (int i = 0; i < 49 * 3; i++)
        in[i] = 2.5f;
    for (int64_t to = 1; to <= 10; to++)
        for (int aa = 0; aa < 2; aa++) {
            assert_int_equal(positions_resize(in, 0, 7, to, 3, aa, out), 0);
            for (int64_t i = 0; i < to * to * 3; i++)
                assert_true(fabs((double)out[i] - 2.5) < 1e-6);
        }
}

/* A model opened for other pictures: its own library's habit, the size in all places, the same again after saving. */
static void check_model(enum layout l, bool antialias)
{
    struct golden g;
    struct model *m, *again;
    char dir[] = "/tmp/meridian-test-XXXXXX", sub[64], first[65], second[65];
    golden_open(&g, "cpu");
    struct clip *c = g.m->own;
    assert_non_null(mkdtemp(dir));
    snprintf(sub, sizeof sub, "%s/a", dir);
    assert_int_equal(path_make_dirs(sub), 0);
    assert_int_equal(model_save_as(g.m, sub, DT_F32, l), 0);
    if (model_open_opt(&m, sub, &(struct model_opt){.image_size = 48}, g.m->engine) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(m->image_size, 48);
    assert_int_equal(m->preprocess.crop_width, 48);
    assert_int_equal(m->preprocess.resize_shortest, 48);
    float expected[37 * 48];
    assert_int_equal(positions_resize(c->vision.positions.data, 1, 4, 6, 48, antialias, expected), 0);
    assert_memory_equal(expected, ((struct clip *)m->own)->vision.positions.data, sizeof expected);
    snprintf(sub, sizeof sub, "%s/b", dir);
    assert_int_equal(path_make_dirs(sub), 0);
    assert_int_equal(model_save(m, sub, DT_F32), 0);
    if (model_open(&again, sub, g.m->engine) < 0)
        fail_msg("%s", err_text());
    assert_int_equal(again->image_size, 48);
    assert_int_equal(model_fingerprint(m, first), 0);
    assert_int_equal(model_fingerprint(again, second), 0);
    assert_string_equal(first, second);
    model_close(&again);
    model_close(&m);
    assert_int_equal(model_open_opt(&m, sub, &(struct model_opt){.image_size = 50}, g.m->engine), ERR_USAGE);
    assert_int_equal(model_open_opt(&m, sub, &(struct model_opt){.image_size = 1 << 20}, g.m->engine), ERR_USAGE);
    path_remove_tree(dir);
    golden_close(&g);
}

static void test_model_hf(void **state)
{
    check_model(LAYOUT_HF, false);
}
static void test_model_open_clip(void **state)
{
    check_model(LAYOUT_OPEN_CLIP, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_torch),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_model_hf),
        cmocka_unit_test(test_model_open_clip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
