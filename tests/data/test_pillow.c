/* tests/data/test_pillow.c: pictures of 29 kinds, made and prepared by Debian's Pillow (pillow_oracle.py), through our
 * decoders and the published ways to pixels. Not one byte may differ. MERIDIAN_PILLOW_COUNT: how many; the suite `full`
 * has 2,000. Skipped where /usr/bin/python3 has no Pillow 9. */
#include "scratch.h"

/* The first way straight from the file, the others from the picture in memory. */
static int compare(const char *name, const struct preprocess *p, const struct image *im, const uint8_t *want,
                   float *got)
{
    int side = p->crop_width, n = 0;
    if ((im ? preprocess_apply(p, im, got) : preprocess_file(p, in_scratch(name), got)) < 0) {
        print_message("%s: %s\n", name, err_text());
        return side * side * 3;
    }
    for (int i = 0; i < side * side; i++)
        for (int k = 0; k < 3; k++)
            n += (int)got[k * side * side + i] != want[i * 3 + k];
    if (n)
        print_message("%s, %s, filter %d, size %d: %d bytes differ\n", name,
                      p->rule == RESIZE_INSIDE    ? "longest"
                      : p->path == PICTURE_OPENAI ? "openai"
                                                  : "hf",
                      (int)p->filter, side, n);
    return n;
}

static void every_kind(void **state UNUSED)
{
    const char *count = getenv("MERIDIAN_PILLOW_COUNT");
    char command[2400], name[200];
    int target, filter, files = 0, bytes = 0, bad = 0;
    struct map expected;
    float got[48 * 48 * 3];
    if (system("/usr/bin/python3 -c 'import PIL; assert PIL.__version__[:2] == \"9.\"' 2>/dev/null") != 0) {
        print_message("skipped: no Pillow 9 for /usr/bin/python3 (apt-get install python3-pil)\n");
        skip();
    }
    if (!getenv("MERIDIAN_PILLOW_ORACLE")) {
        print_message("skipped: MERIDIAN_PILLOW_ORACLE does not name pillow_oracle.py\n");
        skip();
    }
    snprintf(command, sizeof command, "/usr/bin/python3 -W ignore \"$MERIDIAN_PILLOW_ORACLE\" '%s' %d", scratch,
             count ? atoi(count) : 174);
    assert_int_equal(system(command), 0);
    must(map_open(&expected, in_scratch("expected.u8")));
    FILE *list = fopen(in_scratch("list.txt"), "r");
    assert_non_null(list);
    size_t at = 0;
    while (fscanf(list, "%199s %d %d", name, &target, &filter) == 3) {
        struct preprocess p;
        struct image im = {0};
        size_t n = (size_t)target * (size_t)target * 3;
        assert_true(target <= 48 && at + 3 * n <= expected.size);
        must(image_read(&im, in_scratch(name)));
        preprocess_clip(&p, target);
        p.filter = (enum resample)filter;
        p.normalize = false;
        p.rescale = 1;
        for (int way = 0; way < 3; way++, at += n) {
            p.path = way == 1 ? PICTURE_HF : PICTURE_OPENAI;
            if (way == 2) {
                p.resize_shortest = 0;
                p.resize_width = p.resize_height = target;
                p.rule = RESIZE_INSIDE;
                p.fill = 77;
            }
            int differ = compare(name, &p, way ? &im : NULL, expected.data + at, got);
            bytes += differ;
            bad += differ > 0;
        }
        image_free(&im);
        files++;
    }
    fclose(list);
    assert_true(at == expected.size);
    map_close(&expected);
    print_message("%d pictures, 3 ways each: %d results with %d bytes that differ\n", files, bad, bytes);
    assert_true(files > 0);
    assert_int_equal(bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
