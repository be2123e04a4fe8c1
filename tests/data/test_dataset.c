/* tests/data/test_dataset.c: csv and folder datasets, good and bad. */
#include "scratch.h"

static struct dataset *open_csv(const char *text, const struct dataset_opt *opt)
{
    char spec[600];
    struct dataset *d = NULL;
    put_text("csv/list.csv", text);
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("csv/list.csv"));
    must(dataset_open(&d, spec, opt));
    return d;
}

static void csv_refused(const char *text, const struct dataset_opt *opt, int code, const char *says)
{
    char spec[600];
    struct dataset *d = NULL;
    put_text("csv/list.csv", text);
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("csv/list.csv"));
    int rc = dataset_open(&d, spec, opt);
    if (rc != code)
        fail_msg("%d instead of %d for \"%s\": %s", rc, code, text, err_text());
    assert_null(d);
    assert_says(says);
}

static int make_pictures(void **state)
{
    if (scratch_make(state))
        return -1;
    put_picture("csv/pic/red.png", 5, 4, 255, 0, 0);
    put_picture("csv/pic/blue.png", 3, 3, 0, 0, 255);
    return 0;
}

static void csv_reads(void **state UNUSED)
{
    struct image im;
    uint8_t *alpha = NULL;
    struct dataset *d = open_csv("filepath,caption,weight\npic/red.png,\"a red, warm one\",7\npic/red.png,a square,8\n"
                                 "pic/gone.png,nothing,1\npic/blue.png,a square,9\n",
                                 NULL);
    assert_int_equal(d->n_images, 2);
    assert_int_equal(d->n_texts, 2);
    assert_int_equal(d->n_pairs, 3);
    assert_true(d->pairs[0].image == 0 && d->pairs[2].image == 1 && d->pairs[2].text == 1);
    assert_string_equal(d->captions[0], "a red, warm one");
    assert_string_equal(dataset_image_cell(d, 0, "weight"), "7");
    assert_string_equal(dataset_image_cell(d, 1, "id"), "pic/blue.png");
    assert_string_equal(dataset_text_cell(d, 0, "kind"), "caption");
    assert_non_null(strstr(d->description, "comma-separated"));
    assert_non_null(strstr(d->description, "1 pictures missing"));
    must(d->read_image(d, 0, &im, &alpha));
    assert_null(alpha);
    assert_true(im.width == 5 && im.height == 4 && im.pixels[0] == 255 && im.pixels[1] == 0);
    image_free(&im);
    char first[65];
    memcpy(first, d->fingerprint, 65);
    dataset_close(&d);
    d = open_csv("filepath\ttitle\npic/red.png\ta thing\npic/blue.png\tanother\n", NULL);
    assert_non_null(strstr(d->description, "tab-separated"));
    assert_string_not_equal(first, d->fingerprint);
    dataset_close(&d);
}

static void csv_options(void **state UNUSED)
{
    static const char *const text = "file,words,split\npic/red.png,one,train\npic/blue.png,two,test\n";
    struct dataset_opt opt = {.image_column = "file", .caption_column = "words"};
    struct dataset *d = open_csv(text, &opt);
    assert_int_equal(d->n_images, 2);
    dataset_close(&d);
    opt.split = "test,other";
    d = open_csv(text, &opt);
    assert_int_equal(d->n_images, 1);
    assert_string_equal(d->captions[0], "two");
    dataset_close(&d);
    opt.split = "val";
    csv_refused(text, &opt, ERR_DATA, "val");
    opt.split = NULL;
    opt.limit = 1;
    d = open_csv(text, &opt);
    assert_int_equal(d->n_images, 1);
    dataset_close(&d);
}

static void csv_bad(void **state UNUSED)
{
    struct dataset_opt split = {.split = "test"};
    struct dataset *d = NULL;
    csv_refused("path,caption\npic/red.png,x\n", NULL, ERR_DATA, "path, caption");
    csv_refused("filepath,words\npic/red.png,x\n", NULL, ERR_DATA, "caption");
    csv_refused("filepath,caption\npic/a.png,x\npic/b.png,y\n", NULL, ERR_DATA, "none of the 2 pictures");
    csv_refused("filepath,caption\n,x\n", NULL, ERR_DATA, "row 2: column \"filepath\" is empty");
    csv_refused("filepath,caption\n", NULL, ERR_DATA, "no picture");
    csv_refused("filepath,caption\npic/red.png,x\n", &split, ERR_USAGE, "split");
    assert_int_equal(dataset_open(&d, "csv:", NULL), ERR_USAGE);
    assert_true(dataset_open(&d, "csv:/nowhere/at/all.csv", NULL) < 0);
    assert_int_equal(dataset_open(&d, "cvs:x", NULL), ERR_USAGE);
    assert_says("did you mean \"csv\"");
    put_text("csv/pic/broken.png", "\x89PNG\r\n\x1a\nnothing");
    d = open_csv("filepath,caption\npic/broken.png,x\n", NULL); /* found when read */
    struct image im = {0};
    assert_int_equal(d->read_image(d, 0, &im, NULL), ERR_DATA);
    assert_says("broken.png");
    assert_null(im.pixels);
    dataset_close(&d);
}

static void folders(void **state UNUSED)
{
    char spec[600];
    struct dataset *d = NULL;
    put_picture("sorted/tabby_cat/b.png", 2, 2, 1, 2, 3);
    put_picture("sorted/tabby_cat/a.PNG.png", 2, 2, 1, 2, 3);
    put_picture("sorted/dog/z.png", 2, 2, 1, 2, 3);
    put_picture("sorted/loose.png", 2, 2, 9, 2, 3);
    put_text("sorted/dog/notes.txt", "no picture");
    put_text("sorted/.hidden/x.png", "");
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("sorted"));
    must(dataset_open(&d, spec, NULL));
    assert_int_equal(d->n_images, 4);
    assert_int_equal(d->n_texts, 2);
    assert_int_equal(d->n_pairs, 3);
    assert_string_equal(dataset_image_cell(d, 0, "id"), "dog/z.png");
    assert_string_equal(dataset_image_cell(d, 1, "id"), "loose.png");
    assert_string_equal(dataset_image_cell(d, 1, "label"), "");
    assert_string_equal(dataset_image_cell(d, 2, "id"), "tabby_cat/a.PNG.png");
    assert_string_equal(dataset_image_cell(d, 2, "label"), "tabby_cat");
    assert_string_equal(d->captions[1], "tabby cat");
    struct image im;
    must(d->read_image(d, 1, &im, NULL));
    assert_int_equal(im.pixels[0], 9);
    image_free(&im);
    dataset_close(&d);
    must(path_make_dirs(in_scratch("hollow/class")));
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("hollow"));
    assert_int_equal(dataset_open(&d, spec, NULL), ERR_DATA);
    assert_says("no pictures found");
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("missing"));
    assert_int_equal(dataset_open(&d, spec, NULL), ERR_DATA);
    assert_says("no such folder");
    struct dataset_opt split = {.split = "test"};
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("sorted"));
    assert_int_equal(dataset_open(&d, spec, &split), ERR_USAGE);
    assert_null(d);
}

/* Every request of memory fails once: an error, no leak, no crash. */
static void memory_failures(void **state UNUSED)
{
    char spec[600];
    put_text("csv/list.csv", "filepath,caption\npic/red.png,x\npic/blue.png,y\n");
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("csv/list.csv"));
    int rc = ERR_MEMORY, failed = 0;
    for (int64_t n = 1; rc < 0 && n < 10000; n++) { /* until no request is left to fail */
        struct dataset *d = NULL;
        mem_fail_at(n);
        rc = dataset_open(&d, spec, NULL);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
        dataset_close(&d);
    }
    assert_int_equal(rc, 0);
    assert_true(failed >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads), cmocka_unit_test(csv_options),     cmocka_unit_test(csv_bad),
        cmocka_unit_test(folders),   cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, make_pictures, scratch_remove);
}
