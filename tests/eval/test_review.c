/* review on planted faults: what was planted comes first, at least as often as by the raw cosine; small sets. */
#include "eval_helper.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N = 400, D = 24, PLANTED = 20 };

static void close_set(struct set *s)
{
    mem_free(s->path);
    mem_free(s->image.x);
    mem_free(s->text.x);
    mem_free(s->pairs);
    mem_free(s);
}

/* Pictures around a few centres, captions their noisy copies, some (every eighth) so noisy that the model is lost, as
 * models are: that is what a low cosine alone mistakes for a wrong caption. */
static void draw_world(float *image, float *text, int64_t n, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    float centre[20][D];
    for (int c = 0; c < 20; c++)
        for (int k = 0; k < D; k++)
            centre[c][k] = (float)rng_normal(&r);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < D; k++) {
            image[i * D + k] = centre[i % 20][k] + 0.7F * (float)rng_normal(&r);
            text[i * D + k] = image[i * D + k] + (i % 8 == 7 ? 4.0F : 0.6F) * (float)rng_normal(&r);
        }
}

/* Share of the planted rows among the first `effort` items. */
static double recall(const struct set *s, enum review_kind kind, bool raw, int64_t effort,
                     bool (*planted)(const struct review_item *x))
{
    const struct review_opt opt = {.n = effort, .raw = raw};
    struct review_item *x;
    int64_t n, hit = 0;
    assert_int_equal(review_set(s, 1U << kind, &opt, &x, &n), 0);
    assert_int_equal(n, effort);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(x[i].kind, kind);
        assert_true(i == 0 || x[i].score <= x[i - 1].score);
        hit += planted(&x[i]);
    }
    mem_free(x);
    return (double)hit / (double)effort;
}

static bool is_swapped(const struct review_item *x)
{
    return x->row < PLANTED && x->other == x->row;
}

static void swapped_captions(void **state)
{
    (void)state;
    static float image[N * D], text[N * D], kept[D];
    double ours = 0, raw = 0;
    for (uint64_t seed = 0; seed < 5; seed++) {
        draw_world(image, text, N, seed);
        memcpy(kept, text, sizeof kept);
        memmove(text, text + D, (PLANTED - 1) * D * sizeof *text);
        memcpy(text + (PLANTED - 1) * D, kept, sizeof kept);
        struct set *s = make_set(image, N, text, N, D, NULL, -1);
        double a = recall(s, REVIEW_MISMATCHES, false, PLANTED, is_swapped),
               b = recall(s, REVIEW_MISMATCHES, true, PLANTED, is_swapped);
        ours += a / 5;
        raw += b / 5;
        close_set(s);
    }
    printf("swapped captions found: %.3f, by raw cosine %.3f\n", ours, raw);
    assert_true(ours >= raw);
    assert_true(ours > 0.6);
}

static bool is_double(const struct review_item *x)
{
    return x->row < PLANTED && x->other == N + x->row;
}

static void doubled_rows(void **state)
{
    (void)state;
    enum { ALL = N + PLANTED };
    static float image[ALL * D], text[ALL * D];
    double ours = 0, raw = 0;
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct rng r = rng_stream(seed, RNG_TEST, 1, 0);
        draw_world(image, text, N, seed);
        /* siblings: a knot of pictures closer to each other than any double, with captions of their own */
        for (int64_t i = 100; i < 130; i++)
            for (int k = 0; k < D; k++)
                image[i * D + k] = image[99 * D + k] + 0.08F * (float)rng_normal(&r);
        for (int64_t i = 0; i < PLANTED * D; i++) {
            image[N * D + i] = image[i] + 0.2F * (float)rng_normal(&r);
            text[N * D + i] = text[i] + 0.2F * (float)rng_normal(&r);
        }
        struct set *s = make_set(image, ALL, text, ALL, D, NULL, -1);
        ours += recall(s, REVIEW_DUPLICATES, false, 2 * PLANTED, is_double) / 5; /* pictures and captions */
        raw += recall(s, REVIEW_DUPLICATES, true, 2 * PLANTED, is_double) / 5;
        close_set(s);
    }
    printf("doubles found: %.3f, by raw cosine %.3f\n", ours, raw);
    assert_true(ours >= raw);
    assert_true(ours > 0.8);
}

static bool is_vague(const struct review_item *x)
{
    return x->text && x->row < PLANTED;
}

static void vague_captions(void **state)
{
    (void)state;
    static float image[N * D], text[N * D];
    double ours = 0, raw = 0;
    for (uint64_t seed = 0; seed < 5; seed++) {
        draw_world(image, text, N, seed);
        for (int64_t i = 0; i < N; i++) /* nobody is lost here */
            for (int k = 0; k < D && i % 8 == 7; k++)
                text[i * D + k] = image[i * D + k];
        for (int64_t i = 0; i < PLANTED; i++) /* the mean of five pictures of one centre */
            for (int k = 0; k < D; k++) {
                float sum = 0;
                for (int64_t j = 0; j < 5; j++)
                    sum += image[(i + 20 * (j + 3)) * D + k];
                text[i * D + k] = sum;
            }
        struct set *s = make_set(image, N, text, N, D, NULL, -1);
        ours += recall(s, REVIEW_AMBIGUOUS, false, 2 * PLANTED, is_vague) / 5 * 2;
        raw += recall(s, REVIEW_AMBIGUOUS, true, 2 * PLANTED, is_vague) / 5 * 2;
        close_set(s);
    }
    printf("vague captions found: %.3f, by raw cosine %.3f\n", ours, raw);
    assert_true(ours >= raw);
    assert_true(ours > 0.5);
}

static void small_sets(void **state)
{
    (void)state;
    const float x[6] = {1, 0, 1, 0, 0, 1};
    const struct set_pair many[3] = {{0, 0}, {0, 1}, {2, 2}};
    const struct review_opt opt = {.n = 9}, none = {.n = 0};
    struct review_item *items;
    int64_t n;
    for (int k = 0; k < 4; k++) { /* one row; no pairs; a picture with two captions; no pictures */
        struct set *s = k == 0   ? make_set(x, 1, x, 1, 2, NULL, -1)
                        : k == 1 ? make_set(x, 3, x, 3, 2, NULL, 0)
                        : k == 2 ? make_set(x, 3, x, 3, 2, many, 3)
                                 : make_set(x, 0, x, 3, 2, NULL, 0);
        assert_int_equal(review_set(s, 7, &opt, &items, &n), 0);
        for (int64_t i = 0; i < n; i++) {
            bool other_text = items[i].kind == REVIEW_DUPLICATES ? items[i].text : !items[i].text;
            assert_true(isfinite(items[i].score));
            assert_true(items[i].row >= 0 && items[i].row < (items[i].text ? s->text.n : s->image.n));
            assert_true(items[i].other >= 0 && items[i].other < (other_text ? s->text.n : s->image.n));
        }
        if (k == 2) {
            assert_int_equal(items[0].kind, REVIEW_DUPLICATES); /* rows 0 and 1 are equal */
            assert_int_equal(items[0].row, 0);
            assert_int_equal(items[0].other, 1);
        }
        mem_free(items);
        assert_int_equal(review_set(s, 7, &none, &items, &n), ERR_USAGE);
        close_set(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swapped_captions),
        cmocka_unit_test(doubled_rows),
        cmocka_unit_test(vague_captions),
        cmocka_unit_test(small_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
