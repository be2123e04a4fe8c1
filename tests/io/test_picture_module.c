/* tests/io/test_picture_module.c: what is said when meridian_pictures.so, or a library that it needs, is missing or
 * wrong; and that a later call finds what has come meanwhile. A program of its own, for the module is loaded once. */
#include "scratch.h"

#include <pthread.h>

static char *libraries(void)
{
    return get_file("/proc/self/maps", NULL);
}

static bool vips_is_here(void)
{
    char *maps = libraries();
    bool here = strstr(maps, "libvips") != NULL;
    free(maps);
    return here;
}

/* Every way into the module fails with this, and leaves its outputs alone. */
static void all_refuse(const char *says, const char *advice)
{
    uint8_t pixel[3] = {1, 2, 3};
    struct image im = {1, 1, 3, pixel}, out = {0};
    struct str bytes = {0};
    char font[8] = "font";
    bool drawn = true;
    const char *file = put_text("any.png", "any");
    int rc[] = {image_read_rgb(&out, file),
                image_read_rgb_memory(&out, "any", 3, "any"),
                image_thumbnail(&out, file, 8),
                image_encode_png(&bytes, &im),
                image_encode_jpeg(&bytes, &im, 90),
                image_write_png(in_scratch("new.png"), &im),
                image_draw_emoji(&out, "a", 8, 0, &drawn),
                image_emoji_font(font, sizeof(font)),
                image_start(NULL)};
    for (size_t i = 0; i < ARRAY_LEN(rc); i++)
        if (rc[i] != ERR_FAIL)
            fail_msg("call %zu gives %d, expected ERR_FAIL", i, rc[i]);
    assert_says("pictures cannot be read: ");
    assert_says(says);
    assert_says(advice);
    assert_null(out.pixels);
    assert_null(bytes.s);
    assert_true(drawn);
    assert_string_equal(font, "font");
    assert_false(path_exists(in_scratch("new.png")));
}

static void absent(void **state UNUSED)
{
    setenv("MERIDIAN_MODULES", scratch, 1);
    all_refuse("meridian_pictures.so was not found (looked in ", "); reinstall or set MERIDIAN_MODULES");
    assert_says(scratch);
    assert_null(strstr(err_text(), "/io,")); /* nowhere else */
    char far[900];
    memset(far, 'x', sizeof(far));
    far[0] = '/';
    far[sizeof(far) - 1] = '\0';
    setenv("MERIDIAN_MODULES", far, 1);
    all_refuse("looked in ...)", "; reinstall or set MERIDIAN_MODULES");
    setenv("MERIDIAN_MODULES", scratch, 1);
}

static void no_library(void **state UNUSED)
{
    put_text("meridian_pictures.so", "no ELF");
    all_refuse(in_scratch("meridian_pictures.so"), "; reinstall or set MERIDIAN_MODULES");
    assert_null(strstr(err_text(), "apt-get"));
}

static void another_build(void **state UNUSED)
{
    size_t n = 0;
    const char *stale = getenv("MERIDIAN_TEST_STALE");
    if (!stale) {
        print_message("skipped: no module of another build (MERIDIAN_TEST_STALE)\n");
        skip();
    }
    char *bytes = get_file(stale, &n);
    assert_int_equal(unlink(in_scratch("meridian_pictures.so")), 0); /* the next call looks again */
    put_file("meridian_pictures.so", bytes, n);
    free(bytes);
    all_refuse("version 7, expected ", "another build; reinstall or set MERIDIAN_MODULES");
}

/* The real module, which asks for libvips by a name that nothing has. */
static void vips_not_installed(void **state UNUSED)
{
    struct map m;
    const char *real = getenv("MERIDIAN_TEST_MODULE");
    if (!real) {
        print_message("skipped: where the module is was not said (MERIDIAN_TEST_MODULE)\n");
        skip();
    }
    assert_int_equal(map_open(&m, real), 0);
    uint8_t *copy = mem_alloc(m.size);
    memcpy(copy, m.data, m.size);
    int changed = 0;
    for (size_t i = 0; i + 10 < m.size; i++)
        if (memcmp(copy + i, "libvips.so", 10) == 0) {
            copy[i + 3] = 'n'; /* libnips.so.42 */
            changed++;
        }
    assert_true(changed > 0);
    /* in a folder of its own: the loader knows the paths that it has opened */
    const char *folder = in_scratch("new");
    assert_int_equal(path_make_dirs(folder), 0);
    setenv("MERIDIAN_MODULES", folder, 1);
    put_file("new/meridian_pictures.so", copy, m.size);
    mem_free(copy);
    map_close(&m);
    all_refuse("libnips.so", "; apt-get install libvips42");
    assert_false(vips_is_here());
}

static void *first_picture(void *arg)
{
    struct str png = {0};
    uint8_t pixel[3] = {9, 8, 7};
    struct image im = {1, 1, 3, pixel}, back = {0};
    int rc = image_encode_png(&png, &im);
    if (rc == 0)
        rc = image_read_rgb_memory(&back, png.s, png.n, "pixel");
    if (rc == 0 && memcmp(back.pixels, pixel, 3) != 0)
        rc = -1;
    image_free(&back);
    str_free(&png);
    *(int *)arg = rc;
    return NULL;
}

/* Found beside the program, by eight threads at once; the file's errors and limits are the program's own. */
static void found(void **state UNUSED)
{
    pthread_t t[8];
    int rc[8];
    struct image im = {0};
    unsetenv("MERIDIAN_MODULES");
    assert_false(vips_is_here());
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, first_picture, &rc[i]), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(rc[i], 0);
    assert_true(vips_is_here());
    struct str png = {0};
    uint8_t pixels[27] = {0};
    struct image three = {3, 3, 3, pixels};
    assert_int_equal(image_encode_png(&png, &three), 0);
    assert_int_equal(limit_set("side", 2), 0);
    assert_int_equal(image_read_rgb_memory(&im, png.s, png.n, "three"), ERR_DATA);
    assert_says("three: 3 x 3 pixels, expected sides of 1 to 2 (limit side)");
    assert_int_equal(limit_set("side", 3), 0);
    int64_t before = mem_requests();
    assert_int_equal(image_read_rgb_memory(&im, png.s, png.n, "three"), 0);
    assert_true(mem_requests() > before); /* the program's memory, which counts */
    image_free(&im);
    char name[3000]; /* longer than a message */
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(image_read_rgb_memory(&im, "x", 1, name), ERR_DATA);
    assert_true(str_ends(err_text(), "..."));
    str_free(&png);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent),        cmocka_unit_test(no_library),
        cmocka_unit_test(another_build), cmocka_unit_test(vips_not_installed),
        cmocka_unit_test(found),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
