/* tests/data/test_dataset_coco.c: Karpathy's and COCO's caption files, good, bad, cut at every byte. */
#include "scratch.h"

static const char karpathy[] =
    "{\"images\": [\n"
    " {\"filepath\": \"val2014\", \"filename\": \"a.png\", \"split\": \"train\", \"cocoid\": 11, \"imgid\": 0,\n"
    "  \"sentids\": [1, 2], \"sentences\": [{\"tokens\": [\"a\"], \"raw\": \"A red thing.\", \"imgid\": 0, \"sentid\": "
    "1},\n"
    "   {\"raw\": \"caf\\u00e9 \\ud83d\\ude00 \\\"q\\\"\", \"sentid\": 2}], \"license\": 3, \"big\": 1e400},\n"
    " {\"filepath\": \"val2014\", \"filename\": \"b.png\", \"split\": \"restval\", \"cocoid\": 12, \"sentences\": "
    "[{\"raw\": \"shared\"}]},\n"
    " {\"filepath\": \"val2014\", \"filename\": \"c.png\", \"split\": \"test\", \"cocoid\": 13, \"sentences\": "
    "[{\"raw\": \"shared\"}, {\"raw\": \"\"}, {\"raw\": \"half \\ud83d\"}, {\"other\": 1}]},\n"
    " {\"filepath\": \"val2014\", \"filename\": \"gone.png\", \"split\": \"val\", \"cocoid\": 14, \"sentences\": []}\n"
    "], \"dataset\": \"coco\"}\n";

static int make_pictures(void **state)
{
    if (scratch_make(state))
        return -1;
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "set/images/val2014/%s.png", names[i]);
        put_picture(path, 2 + i, 2, 9, 8, 7);
        snprintf(path, sizeof path, "plain/train2014/COCO_train2014_%s.png", names[i]);
        put_picture(path, 2 + i, 2, 9, 8, 7);
    }
    put_picture("outside.png", 2, 2, 1, 1, 1);
    return 0;
}

static int open_text(struct dataset **d, const char *name, const char *text, size_t n, const struct dataset_opt *opt)
{
    char spec[600];
    const char *path = put_text(name, "");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    snprintf(spec, sizeof spec, "coco:%s", path);
    *d = NULL;
    return dataset_open(d, spec, opt);
}

static struct dataset *good(const char *name, const char *text, const struct dataset_opt *opt)
{
    struct dataset *d = NULL;
    must(open_text(&d, name, text, strlen(text), opt));
    return d;
}

static void refused(const char *text, const struct dataset_opt *opt, int code, const char *says)
{
    struct dataset *d = NULL;
    int rc = open_text(&d, "set/bad.json", text, strlen(text), opt);
    if (rc != code)
        fail_msg("%d instead of %d for %.200s: %s", rc, code, text, err_text());
    assert_null(d);
    assert_says(says);
    assert_says("bad.json");
}

static void reads_karpathy(void **state UNUSED)
{
    struct image im = {0};
    struct dataset *d = good("set/dataset_coco.json", karpathy, NULL);
    assert_int_equal(d->n_images, 3);
    assert_string_equal(
        d->description,
        "coco: Karpathy's layout, 4 records, 3 pictures, 3 captions, 1 pictures missing, 3 rows refused; "
        "splits: train 1, restval 1, test 1");
    assert_string_equal(dataset_image_cell(d, 0, "id"), "11");
    assert_string_equal(dataset_image_cell(d, 0, "path"), "val2014/a.png");
    assert_string_equal(dataset_image_cell(d, 0, "imgid"), "0");
    assert_string_equal(dataset_image_cell(d, 0, "license"), "3");
    assert_string_equal(dataset_image_cell(d, 1, "license"), "");
    assert_string_equal(dataset_image_cell(d, 0, "big"), "1e400");
    assert_string_equal(d->captions[0], "A red thing.");
    assert_string_equal(d->captions[1], "caf\xc3\xa9 \xf0\x9f\x98\x80 \"q\"");
    assert_int_equal(d->n_pairs, 4);
    assert_true(d->pairs[2].text == d->pairs[3].text); /* "shared" is one text of two pictures */
    must(d->read_image(d, 2, &im, NULL));
    assert_int_equal(im.width, 4);
    image_free(&im);
    assert_int_equal(d->refused[0].row, 3);
    assert_string_equal(d->refused[0].id, "13");
    assert_non_null(strstr(d->refused[1].reason, "not UTF-8"));
    dataset_close(&d);
}

static void splits(void **state UNUSED)
{
    struct dataset_opt opt = {.split = "train+restval"};
    struct dataset *d = good("set/dataset_coco.json", karpathy, &opt);
    assert_int_equal(d->n_images, 2);
    assert_int_equal(d->n_refused, 0); /* those of other splits are nobody's business */
    dataset_close(&d);
    opt.split = "test";
    opt.limit = 1;
    d = good("set/dataset_coco.json", karpathy, &opt);
    assert_int_equal(d->n_images, 1);
    dataset_close(&d);
    opt.split = "validation";
    assert_int_equal(open_text(&d, "set/k.json", karpathy, strlen(karpathy), &opt), ERR_DATA);
    assert_says("splits found: train, restval, test, val");
}

static const char *const plain_images =
    "\"images\": [{\"id\": 1, \"file_name\": \"COCO_train2014_a.png\", \"width\": 2}, {\"id\": \"2\", \"file_name\": "
    "\"COCO_train2014_b.png\"}, {\"id\": 2, \"file_name\": \"COCO_train2014_c.png\"}, {\"id\": 4, \"file_name\": "
    "\"COCO_train2014_c.png\"}]";
static const char *const plain_annotations =
    "\"annotations\": [{\"image_id\": 2, \"id\": 5, \"caption\": \"two\"}, {\"image_id\": 1, \"id\": 5, \"caption\": "
    "\"one\"}, {\"image_id\": 9, \"caption\": \"nobody\"}, {\"image_id\": 4, \"caption\": 7}, {\"caption\": \"x\"}, "
    "{\"image_id\": 4, \"caption\": \"  \"}, 8, {\"image_id\": 1e99, \"caption\": \"x\"}]";

/* Annotations may stand before the pictures that they name. */
static void reads_plain(void **state UNUSED)
{
    char text[4000], first[65] = "";
    for (int swap = 0; swap < 2; swap++) {
        snprintf(text, sizeof text, "\xef\xbb\xbf{\"info\": {\"x\": [[], {}]}, %s, \"licenses\": [], %s}",
                 swap ? plain_annotations : plain_images, swap ? plain_images : plain_annotations);
        struct dataset *d = good("plain/annotations/captions_train2014.json", text, NULL);
        assert_int_equal(d->n_images, 3);
        assert_int_equal(d->n_pairs, 2);
        assert_string_equal(d->captions[0], "two");
        assert_string_equal(dataset_image_cell(d, 0, "path"), "train2014/COCO_train2014_a.png");
        assert_int_equal(d->n_refused, 7); /* the second id 2, and six annotations */
        if (swap)
            assert_string_equal(first, d->fingerprint);
        memcpy(first, d->fingerprint, 65);
        dataset_close(&d);
        struct dataset_opt split = {.split = "train"};
        int rc = open_text(&d, "plain/annotations/captions_train2014.json", text, strlen(text), &split);
        assert_int_equal(rc, ERR_USAGE);
        assert_says("no field \"split\"");
    }
}

static void bad_records(void **state UNUSED)
{
    struct dataset_opt opt = {.images_root = in_scratch("set/images")};
    struct dataset *d =
        good("set/bad.json",
             "{\"images\": [7, {}, {\"filename\": 3}, {\"filename\": \"\"}, {\"filename\": \"a.png\", "
             "\"filename\": \"b.png\"}, {\"filename\": \"../../outside.png\"}, {\"filename\": \"/etc/passwd\"}, "
             "{\"filename\": \"a.png\", \"cocoid\": 9223372036854775808}, {\"filename\": \"a\\u0000.png\"}, "
             "{\"filename\": \"a.png\", \"filepath\": \"..\"}, {\"filename\": \"val2014/a.png\", \"sentences\": "
             "[{\"raw\": \"ok\"}], \"cocoid\": 1}, {\"filename\": \"b.png\", \"sentences\": 4, \"cocoid\": 2}, "
             "{\"filename\": \"val2014\", \"cocoid\": 3}]}",
             &opt);
    assert_int_equal(d->n_images, 1);
    assert_int_equal(d->n_refused, 12);
    for (int64_t i = 0; i < 11; i++)
        assert_int_equal(d->refused[i].row, i < 10 ? i + 1 : i + 2);
    dataset_close(&d);
}

static void bad_files(void **state UNUSED)
{
    char deep[5000];
    struct dataset *d = NULL;
    refused("", NULL, ERR_DATA, "is empty");
    refused("[]", NULL, ERR_DATA, "expected an object with a list \"images\"");
    refused("{}", NULL, ERR_DATA, "no field \"images\"");
    refused("{\"images\": {}}", NULL, ERR_DATA, "is no list");
    refused("{\"images\": []}", NULL, ERR_DATA, "no picture left");
    refused("{\"images\": [], \"images\": []}", NULL, ERR_DATA, "stands twice");
    refused("{\"images\": []} x", NULL, ERR_DATA, "nothing behind");
    refused("{\"images\": [1,]}", NULL, ERR_DATA, "byte 14: expected a value, found ']'");
    refused("{\"images\": [\n{\"a\": 01}]}", NULL, ERR_DATA, "line 2");
    refused("{\"images\": [{\"a\": \"\x01\"}]}", NULL, ERR_DATA, "byte 0x01");
    refused("{\"images\": [{\"a\": \"\\x\"}]}", NULL, ERR_DATA, "behind a backslash");
    refused("{\"images\": [{\"a\": nul}]}", NULL, ERR_DATA, "expected null");
    refused("{\"images\": [{\"a\" 1}]}", NULL, ERR_DATA, "':' behind a key");
    refused("{\"images\": [{\"filename\": \"z.png\", \"cocoid\": 1}]}", NULL, ERR_DATA, "--images-root");
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"images\": ", 11);
    assert_int_equal(open_text(&d, "set/deep.json", deep, sizeof deep, NULL), ERR_DATA);
    assert_says("limit json-depth");
    assert_int_equal(dataset_open(&d, "coco:", NULL), ERR_USAGE);
    assert_int_equal(dataset_open(&d, "coco:/nowhere/x.json", NULL), ERR_DATA);
    char spec[600];
    snprintf(spec, sizeof spec, "coco:%s", in_scratch("set"));
    assert_int_equal(dataset_open(&d, spec, NULL), ERR_DATA);
    assert_says("is a folder");
}

static void long_strings(void **state UNUSED)
{
    size_t n = (size_t)limit_get(LIMIT_TEXT_BYTES) + 100;
    char *text = malloc(n + 100);
    struct dataset *d = NULL;
    memcpy(text, "{\"images\": [{\"filename\": \"", 26);
    memset(text + 26, 'x', n);
    memcpy(text + 26 + n, "\"}]}", 4);
    assert_int_equal(open_text(&d, "set/long.json", text, n + 30, NULL), ERR_DATA);
    assert_says("limit text-bytes");
    memset(text + 26, '9', n);
    text[25] = ' ';
    assert_int_equal(open_text(&d, "set/long.json", text, n + 30, NULL), ERR_DATA);
    assert_says("a number of more than");
    free(text);
}

/* A prefix is never a shorter list. */
static void every_truncation(void **state UNUSED)
{
    struct dataset *d = NULL;
    size_t n = strlen(karpathy) - 1; /* without the last line end, which may go */
    for (size_t i = 0; i < n; i += i < 400 ? 1 : 7) {
        int rc = open_text(&d, "set/cut.json", karpathy, i, NULL);
        if (rc != ERR_DATA)
            fail_msg("%zu bytes: %d", i, rc);
        assert_null(d);
        assert_says("cut.json");
    }
}

static void memory_failures(void **state UNUSED)
{
    char spec[600];
    snprintf(spec, sizeof spec, "coco:%s", put_text("set/dataset_coco.json", karpathy));
    int rc = ERR_MEMORY, failed = 0;
    for (int64_t n = 1; rc < 0 && n < 10000; n++) {
        struct dataset *d = NULL;
        mem_fail_at(n);
        rc = dataset_open(&d, spec, NULL);
        mem_fail_at(0);
        if (rc < 0 && rc != ERR_MEMORY)
            fail_msg("request %lld: %d, %s", (long long)n, rc, err_text());
        failed += rc < 0;
        dataset_close(&d);
    }
    assert_int_equal(rc, 0);
    assert_true(failed >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_karpathy),   cmocka_unit_test(splits),          cmocka_unit_test(reads_plain),
        cmocka_unit_test(bad_records),      cmocka_unit_test(bad_files),       cmocka_unit_test(long_strings),
        cmocka_unit_test(every_truncation), cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, make_pictures, scratch_remove);
}
