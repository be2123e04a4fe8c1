/* tests/io/test_no_font.c: a machine without the emoji font, made by an empty font configuration. A program of its own,
 * for fontconfig reads its configuration once. */
#include "scratch.h"

static void says_what_to_install(void **state UNUSED)
{
    char conf[600], font[100] = "untouched";
    struct image im = {0};
    bool drawn = true;
    snprintf(conf, sizeof(conf), "<?xml version=\"1.0\"?><fontconfig><dir>%s</dir><cachedir>%s</cachedir></fontconfig>",
             scratch, scratch);
    setenv("FONTCONFIG_FILE", put_text("fonts.conf", conf), 1);
    assert_int_equal(image_emoji_font(font, sizeof(font)), ERR_FAIL);
    assert_says("apt-get install fonts-noto-color-emoji");
    assert_string_equal(font, "untouched");
    assert_int_equal(image_draw_emoji(&im, "\xf0\x9f\x8d\x8e", 48, 0, &drawn), ERR_FAIL);
    assert_says("apt-get install fonts-noto-color-emoji");
    assert_true(drawn);
    assert_null(im.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_what_to_install)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
