/* tests/data/test_mask.c: how much is hidden, what stays, and that a larger mask holds the smaller one. */
#include "scratch.h"

#include <math.h>

#define SIDE 60

static uint8_t plain[SIDE * SIDE * 4];

/* No pixel has the mean colour: black and white by the place, alpha as asked. */
static struct image checks(int channels, uint8_t alpha)
{
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < channels; c++)
            plain[i * channels + c] = channels % 2 == 0 && c == channels - 1 ? alpha : (i % SIDE + i / SIDE) % 2 * 255;
    return (struct image){SIDE, SIDE, channels, plain, IMAGE_PLAIN, 0};
}

static struct image masked(const struct image *from, struct mask_opt opt, uint64_t index)
{
    struct rng r = rng_stream(opt.seed, RNG_TEST, 0, index);
    size_t n = (size_t)from->width * (size_t)from->height * (size_t)from->channels;
    struct image im = *from;
    im.pixels = mem_alloc(n);
    assert_non_null(im.pixels);
    memcpy(im.pixels, from->pixels, n);
    must(mask_picture(&im, &opt, &r));
    return im;
}

static int differs(const struct image *a, const struct image *b, int x, int y)
{
    size_t c = (size_t)a->channels, at = ((size_t)y * (size_t)a->width + (size_t)x) * c;
    return memcmp(a->pixels + at, b->pixels + at, c) != 0;
}

static int hidden(const struct image *a, const struct image *b)
{
    int n = 0;
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < a->width; x++)
            n += differs(a, b, x, y);
    return n;
}

static void share_is_hidden(void **state UNUSED)
{
    static const double shares[] = {0, .1, .3, .5, .9, 1};
    for (int channels = 1; channels <= 4; channels++)
        for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
            struct image from = checks(channels, 200);
            struct image im = masked(&from, (struct mask_opt){.pictures = shares[i]}, i);
            assert_int_equal(hidden(&from, &im), lrint(shares[i] * SIDE * SIDE));
            image_free(&im);
        }
}

static void larger_holds_smaller(void **state UNUSED)
{
    struct image from = checks(3, 0);
    for (int centre = 0; centre < 2; centre++) {
        struct image few = masked(&from, (struct mask_opt){.pictures = .2, .centre = centre}, 5);
        struct image many = masked(&from, (struct mask_opt){.pictures = .6, .centre = centre}, 5);
        struct image other = masked(&from, (struct mask_opt){.pictures = .2, .centre = centre}, 6);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                assert_true(!differs(&from, &few, x, y) || differs(&from, &many, x, y));
        assert_true(hidden(&few, &other) > 0); /* another item, another mask */
        image_free(&few);
        image_free(&many);
        image_free(&other);
    }
}

static void centre_first(void **state UNUSED)
{
    struct image from = checks(3, 0), im = masked(&from, (struct mask_opt){.pictures = .16, .centre = true}, 0);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            assert_int_equal(differs(&from, &im, x, y), x >= 18 && x < 42 && y >= 18 && y < 42);
    image_free(&im);
}

static void mean_colours(void **state UNUSED)
{
    uint8_t deep[8] = {0, 1, 0, 3, 0, 1, 0, 3},
            clear[16] = {90, 0, 0, 0, 90, 0, 0, 0, 10, 20, 30, 100, 20, 40, 60, 100};
    uint8_t ink[8] = {0, 255, 10, 3, 2, 1, 20, 4}, none[4] = {9, 9, 9, 0};
    struct image gray16 = {4, 1, 2, deep, IMAGE_GRAY16, 0}, alpha = {4, 1, 4, clear, IMAGE_PLAIN, 0};
    struct image cmyk = {2, 1, 4, ink, IMAGE_CMYK, 0}, empty = {1, 1, 4, none, IMAGE_PLAIN, 0};
    struct mask_opt all = {.pictures = 1};
    struct image a = masked(&gray16, all, 0), b = masked(&alpha, all, 0), c = masked(&cmyk, all, 0),
                 d = masked(&empty, all, 0);
    assert_true(a.pixels[0] == 0 && a.pixels[1] == 2); /* (256 + 768) / 2 */
    static const uint8_t want[4] = {15, 30, 45, 255}, want_ink[4] = {1, 128, 15, 4},
                         want_none[4] = {127, 127, 127, 255};
    assert_memory_equal(b.pixels, want, 4);
    assert_memory_equal(c.pixels, want_ink, 4);
    assert_memory_equal(d.pixels, want_none, 4);
    image_free(&a);
    image_free(&b);
    image_free(&c);
    image_free(&d);
}

/* Cells of a long picture are square, of a tiny one single pixels. */
static void odd_shapes(void **state UNUSED)
{
    static uint8_t px[7 * 301];
    for (int i = 0; i < 7 * 301; i++)
        px[i] = (uint8_t)(i % 2 * 255);
    struct image tall = {7, 301, 1, px, IMAGE_PLAIN, 0}, line = {301, 1, 1, px, IMAGE_PLAIN, 0};
    struct image a = masked(&tall, (struct mask_opt){.pictures = .5, .grid = 3}, 0);
    struct image b = masked(&line, (struct mask_opt){.pictures = .5}, 0);
    assert_in_range(hidden(&tall, &a), 7 * 301 / 2 - 30, 7 * 301 / 2 + 30);
    assert_in_range(hidden(&line, &b), 150, 151);
    image_free(&a);
    image_free(&b);
}

/* ---- words ---- */

static struct str words(const char *text, double share, const char *with, uint64_t index, int64_t *n)
{
    struct rng r = rng_stream(3, RNG_TEST, 1, index);
    struct str b = {0};
    must(mask_words(text, share, with, &r, &b, n));
    return b;
}

static void words_counted(void **state UNUSED)
{
    assert_int_equal(mask_count_words(""), 0);
    assert_int_equal(mask_count_words(" \t\n"), 0);
    assert_int_equal(mask_count_words("one"), 1);
    assert_int_equal(mask_count_words("  a dog,\truns  fast\n"), 4);
}

static void words_masked(void **state UNUSED)
{
    static const char text[] = "a  small dog runs after the red ball  in spring";
    int64_t n, total = 0;
    struct str same = words(text, 0, NULL, 0, &n);
    assert_string_equal(same.s, text); /* also its spaces */
    assert_int_equal(n, 0);
    struct str all = words(text, 1, NULL, 0, &n);
    assert_string_equal(all.s, "");
    assert_int_equal(n, 10);
    struct str half = words(text, .5, NULL, 0, &n);
    assert_int_equal(n, 5);
    assert_int_equal(mask_count_words(half.s), 5);
    struct str marked = words(text, .5, "[MASK]", 0, &n);
    assert_int_equal(mask_count_words(marked.s), 10);
    struct str none = words("", .5, NULL, 0, &n);
    assert_string_equal(none.s, "");
    for (uint64_t i = 0; i < 4000; i++) { /* one word: there or not, at the share of chance */
        struct str one = words("word", .3, NULL, i, &n);
        assert_string_equal(one.s, n ? "" : "word");
        total += n;
        str_free(&one);
    }
    assert_in_range(total, 1100, 1300);
    str_free(&same);
    str_free(&all);
    str_free(&half);
    str_free(&marked);
    str_free(&none);
}

static void words_nested(void **state UNUSED)
{
    for (uint64_t i = 0; i < 20; i++) {
        struct str few = words("a b c d e f g", .3, "-", i, NULL), many = words("a b c d e f g", .7, "-", i, NULL);
        assert_int_equal(few.n, many.n);
        for (size_t k = 0; k < few.n; k++)
            assert_true(few.s[k] != '-' || many.s[k] == '-');
        str_free(&few);
        str_free(&many);
    }
}

static void words_by_chance(void **state UNUSED)
{
    int64_t left = 0;
    for (uint64_t i = 0; i < 500; i++) {
        struct rng r = rng_stream(3, RNG_TEST, 2, i);
        struct str b = {0};
        must(mask_words_by_chance("a b c d e f g h", .3, NULL, &r, &b));
        left += mask_count_words(b.s);
        str_free(&b);
    }
    assert_in_range(left, 2700, 2900); /* of 4000; 2800 expected */
}

static void no_memory(void **state UNUSED)
{
    struct image from = checks(3, 0);
    for (int64_t k = 1; k < 3; k++) {
        struct rng r = rng_stream(1, RNG_TEST, 0, 0);
        struct str b = {0};
        mem_fail_at(k);
        assert_int_equal(mask_picture(&from, &(struct mask_opt){.pictures = .5}, &r), ERR_MEMORY);
        mem_fail_at(k);
        assert_int_equal(mask_words("a b", .5, NULL, &r, &b, NULL), ERR_MEMORY);
        mem_fail_at(0);
        str_free(&b);
    }
}

/* ---- datasets ---- */

static struct dataset *open_data(void)
{
    char spec[600];
    struct dataset *d = NULL;
    put_picture("pics/red.png", 40, 40, 255, 0, 0);
    put_text("pics/list.csv", "filepath,caption\nred.png,one two three four\nred2.png,five six\n");
    struct image from = checks(3, 0);
    must(image_write_png(in_scratch("pics/red2.png"), &from));
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("pics/list.csv"));
    must(dataset_open(&d, spec, NULL));
    return d;
}

static void dataset_masked(void **state UNUSED)
{
    struct dataset *plain_data = open_data(), *d = open_data(), *again = open_data();
    struct image im, im2;
    must(dataset_mask(&d, &(struct mask_opt){.pictures = .3, .words = .5, .seed = 4}));
    must(dataset_mask(&again, &(struct mask_opt){.pictures = .3, .words = .5, .seed = 4}));
    assert_true(d->n_images == 2 && d->n_texts == 2 && d->n_pairs == 2);
    assert_string_equal(d->fingerprint, again->fingerprint);
    assert_string_not_equal(d->fingerprint, plain_data->fingerprint);
    assert_int_equal(mask_count_words(d->captions[0]), 2);
    assert_int_equal(mask_count_words(d->captions[1]), 1);
    assert_string_equal(dataset_text_cell(d, 0, "caption"), d->captions[0]);
    assert_string_equal(again->captions[0], d->captions[0]);
    assert_string_equal(dataset_image_cell(d, 1, "id"), "red2.png");
    must(d->read_image(d, 1, &im, NULL));
    must(again->read_image(again, 1, &im2, NULL));
    assert_memory_equal(im.pixels, im2.pixels, SIDE * SIDE * 3);
    struct image from = checks(3, 0);
    assert_int_equal(hidden(&from, &im), SIDE * SIDE * 3 / 10);
    image_free(&im);
    image_free(&im2);
    must(dataset_mask(&plain_data, &(struct mask_opt){.pictures = 1}));
    assert_string_equal(plain_data->captions[0], "one two three four");
    assert_int_equal(plain_data->read_image(plain_data, 0, &im, NULL), 0);
    image_free(&im);
    dataset_close(&plain_data);
    dataset_close(&d);
    dataset_close(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(share_is_hidden), cmocka_unit_test(larger_holds_smaller), cmocka_unit_test(centre_first),
        cmocka_unit_test(mean_colours),    cmocka_unit_test(odd_shapes),           cmocka_unit_test(words_counted),
        cmocka_unit_test(words_masked),    cmocka_unit_test(words_nested),         cmocka_unit_test(words_by_chance),
        cmocka_unit_test(no_memory),       cmocka_unit_test(dataset_masked),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
