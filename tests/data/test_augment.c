/* tests/data/test_augment.c: training views against what each option promises, one option at a time. */
#include "scratch.h"

#include <math.h>

#define SIDE 96

static uint8_t cover[SIDE * SIDE], colours[SIDE * SIDE * 3];

/* A red disc left of the middle on white, soft at the rim. */
static struct image disc(void)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double d = 24 - hypot(x + 0.5 - 36, y + 0.5 - 48), a = d < 0 ? 0 : d > 1 ? 1 : d;
            uint8_t *p = colours + (y * SIDE + x) * 3;
            cover[y * SIDE + x] = (uint8_t)lrint(255 * a);
            p[0] = (uint8_t)lrint(200 * a + 255 * (1 - a));
            p[1] = p[2] = (uint8_t)lrint(30 * a + 255 * (1 - a));
        }
    return (struct image){SIDE, SIDE, 3, colours};
}

static struct image view(const struct image *in, const uint8_t *alpha, struct augment_opt opt, int size, uint64_t index)
{
    struct rng r = rng_stream(7, RNG_TEST, 0, index);
    struct image out = {0};
    must(augment_image(in, alpha, &opt, size, &r, &out));
    assert_true(out.width == size && out.height == size && out.channels == 3);
    return out;
}

static int worst(const uint8_t *a, const uint8_t *b, size_t n)
{
    int w = 0;
    for (size_t i = 0; i < n; i++)
        w = abs(a[i] - b[i]) > w ? abs(a[i] - b[i]) : w;
    return w;
}

static void nothing_asked_nothing_changed(void **state UNUSED)
{
    struct image in = disc(), out = view(&in, cover, (struct augment_opt){0}, SIDE, 0);
    assert_in_range(worst(out.pixels, colours, sizeof colours), 0, 1);
    image_free(&out);
    out = view(&in, NULL, (struct augment_opt){.background = 1}, SIDE, 0); /* no cover known: no background */
    assert_memory_equal(out.pixels, colours, sizeof colours);
    image_free(&out);
    uint8_t half[48 * 48 * 3]; /* half size: means of 2 x 2 */
    out = view(&in, cover, (struct augment_opt){0}, 48, 0);
    for (int i = 0; i < 48 * 48 * 3; i++) {
        int c = i % 3, x = i / 3 % 48 * 2, y = i / 3 / 48 * 2;
        const uint8_t *p = colours + (y * SIDE + x) * 3 + c;
        half[i] = (uint8_t)((p[0] + p[3] + p[SIDE * 3] + p[SIDE * 3 + 3] + 2) / 4);
    }
    assert_in_range(worst(out.pixels, half, sizeof half), 0, 2);
    image_free(&out);
}

static void flip_mirrors(void **state UNUSED)
{
    struct image in = disc(), out = view(&in, cover, (struct augment_opt){.flip = 1}, SIDE, 0);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            assert_in_range(worst(out.pixels + (y * SIDE + x) * 3, colours + (y * SIDE + SIDE - 1 - x) * 3, 3), 0, 1);
    image_free(&out);
    int flipped = 0;
    for (uint64_t i = 0; i < 400; i++) {
        out = view(&in, cover, (struct augment_opt){.flip = 0.25}, 16, i);
        flipped += out.pixels[(8 * 16 + 4) * 3 + 1] > 128; /* the disc's place is empty */
        image_free(&out);
    }
    assert_in_range(flipped, 70, 130);
}

/* The disc's centre of weight turns by at most the angle, and does turn. */
static void rotation_turns(void **state UNUSED)
{
    struct image in = disc();
    double most = 0;
    for (uint64_t i = 0; i < 200; i++) {
        struct image out = view(&in, cover, (struct augment_opt){.rotate = 30}, SIDE, i);
        double sx = 0, sy = 0, n = 0;
        for (int j = 0; j < SIDE * SIDE; j++) {
            double w = 255 - out.pixels[j * 3 + 1];
            sx += w * (j % SIDE + 0.5 - 48);
            sy += w * (j / SIDE + 0.5 - 48);
            n += w;
        }
        assert_true(fabs(hypot(sx / n, sy / n) - 12) < 0.1);
        double angle = fabs(atan2(-sy, -sx)) * 180 / 3.14159265358979;
        assert_true(angle < 30.5);
        most = fmax(most, angle);
        image_free(&out);
    }
    assert_true(most > 25);
}

static void crop_keeps_its_share(void **state UNUSED)
{
    uint8_t *ramp = malloc(SIDE * SIDE * 3); /* red tells x, green tells y */
    struct image in = {SIDE, SIDE, 3, ramp};
    for (int i = 0; i < SIDE * SIDE; i++) {
        ramp[i * 3] = (uint8_t)(i % SIDE * 2);
        ramp[i * 3 + 1] = (uint8_t)(i / SIDE * 2);
        ramp[i * 3 + 2] = 0;
    }
    double least = 1, most = 0;
    for (uint64_t i = 0; i < 300; i++) {
        struct image out = view(&in, NULL, (struct augment_opt){.scale_min = 0.5}, 32, i);
        const uint8_t *a = out.pixels, *b = out.pixels + (32 * 32 - 1) * 3;
        double w = (b[0] - a[0]) / 2.0 * 32 / 31 / SIDE, h = (b[1] - a[1]) / 2.0 * 32 / 31 / SIDE;
        assert_true(w * h > 0.36 && w <= 1.03 && h <= 1.03); /* a long side is cut at the border */
        least = fmin(least, w * h);
        most = fmax(most, w * h);
        image_free(&out);
    }
    assert_true(least < 0.55 && most > 0.9);
    free(ramp);
}

static void backgrounds_stay_behind(void **state UNUSED)
{
    struct image in = disc();
    int plain = 0, kinds = 0;
    for (uint64_t i = 0; i < 200; i++) {
        struct image out = view(&in, cover, (struct augment_opt){.background = 0.5}, SIDE, i);
        bool white = true, flat = true;
        for (int j = 0; j < SIDE * SIDE; j++) {
            const uint8_t *p = out.pixels + j * 3;
            if (cover[j] == 255)
                assert_in_range(worst(p, colours + j * 3, 3), 0, 2);
            if (cover[j] == 0) {
                white &= p[0] == 255 && p[1] == 255 && p[2] == 255;
                flat &= !memcmp(p, out.pixels, 3);
            }
        }
        plain += white;
        kinds += !flat;
        image_free(&out);
    }
    assert_in_range(plain, 70, 130);
    assert_in_range(kinds, 50, 110); /* three kinds of four are not of one colour */
}

static void jitter_is_bounded(void **state UNUSED)
{
    uint8_t grey[16 * 16 * 3];
    struct image in = {16, 16, 3, grey};
    int low = 255, high = 0;
    memset(grey, 100, sizeof grey);
    for (uint64_t i = 0; i < 300; i++) {
        struct image out = view(&in, NULL, (struct augment_opt){.jitter = 0.4}, 16, i);
        int v = out.pixels[0];
        for (int j = 0; j < 16 * 16 * 3; j++)
            assert_in_range(abs(out.pixels[j] - v), 0, 1); /* one grey: contrast and saturation leave it */
        low = v < low ? v : low;
        high = v > high ? v : high;
        image_free(&out);
    }
    assert_in_range(low, 59, 70);
    assert_in_range(high, 130, 141);
}

static void same_stream_same_view(void **state UNUSED)
{
    struct augment_opt all = {.scale_min = 0.4, .flip = 0.5, .jitter = 0.4, .background = 0.8, .rotate = 20};
    struct image in = disc();
    for (uint64_t i = 0; i < 20; i++) {
        struct image a = view(&in, cover, all, 64, i), b = view(&in, cover, all, 64, i),
                     c = view(&in, cover, all, 64, i + 99);
        assert_memory_equal(a.pixels, b.pixels, 64 * 64 * 3);
        assert_true(memcmp(a.pixels, c.pixels, 64 * 64 * 3) != 0);
        image_free(&a);
        image_free(&b);
        image_free(&c);
    }
}

static void odd_shapes(void **state UNUSED)
{
    static const int shapes[][3] = {{1, 1, 8}, {1, 300, 16}, {700, 3, 16}, {500, 400, 32}, {5, 5, 1}, {9, 7, 200}};
    struct augment_opt all = {.scale_min = 0.1, .flip = 0.5, .jitter = 0.9, .background = 1, .rotate = 180};
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        size_t n = (size_t)shapes[s][0] * (size_t)shapes[s][1];
        struct image in = {shapes[s][0], shapes[s][1], 3, malloc(n * 3)};
        uint8_t *alpha = malloc(n);
        memset(in.pixels, 90, n * 3);
        memset(alpha, 128, n);
        for (uint64_t i = 0; i < 30; i++) {
            struct image out = view(&in, i & 1 ? alpha : NULL, all, shapes[s][2], i);
            image_free(&out);
        }
        free(in.pixels);
        free(alpha);
    }
    struct image in = disc(), out = {0};
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    assert_int_equal(augment_image(&in, cover, &all, 0, &r, &out), ERR_DATA);
    for (int64_t n = 1; n < 8; n++) {
        mem_fail_at(n);
        int rc = augment_image(&in, cover, &all, 16, &r, &out);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        if (rc == 0)
            image_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_nothing_changed),
        cmocka_unit_test(flip_mirrors),
        cmocka_unit_test(rotation_turns),
        cmocka_unit_test(crop_keeps_its_share),
        cmocka_unit_test(backgrounds_stay_behind),
        cmocka_unit_test(jitter_is_bounded),
        cmocka_unit_test(same_stream_same_view),
        cmocka_unit_test(odd_shapes),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
