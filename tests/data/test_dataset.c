/* tests/data/test_dataset.c: csv and folder datasets, good and bad. */
#include "scratch.h"

#include <sys/stat.h>

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

/* ---- rows that cost themselves ---- */

static void bad_rows(void **state UNUSED)
{
    struct dataset *d =
        open_csv("\xef\xbb\xbf"
                 "filepath,caption\r\npic/red.png,\"two\nlines, \"\"quoted\"\"\"\r\n"
                 "pic/red.png,caf\xe9\r\npic/blue.png,\r\n,nobody\r\npic/blue.png,a,b\r\n"
                 "pic/gone.png,x\r\npic/blue.png,\"q\"uote\r\npic/blue.png, \t \r\npic/blue.png,good\r\n",
                 NULL);
    assert_int_equal(d->n_images, 2);
    assert_int_equal(d->n_texts, 2);
    assert_string_equal(d->captions[0], "two\nlines, \"quoted\"");
    assert_string_equal(d->captions[1], "good");
    assert_int_equal(d->n_refused, 7);
    assert_int_equal(d->n_listed, 7);
    assert_int_equal(d->n_missing, 1);
    assert_non_null(strstr(d->description,
                           "comma-separated, 2 columns, 6 rows, 2 pictures, 2 captions, 1 pictures missing, "
                           "6 rows refused"));
    static const struct {
        int64_t row;
        const char *says;
    } want[] = {{4, "not UTF-8"},        {7, "3 cells, expected 2"},   {9, "behind a closing quote"},
                {5, "caption is empty"}, {6, "\"filepath\" is empty"}, {8, "no such file"},
                {10, "caption is empty"}};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(d->refused[i].row, want[i].row);
        if (!strstr(d->refused[i].reason, want[i].says))
            fail_msg("\"%s\" does not say \"%s\"", d->refused[i].reason, want[i].says);
    }
    assert_string_equal(d->refused[5].path, "pic/gone.png");
    dataset_close(&d);
    csv_refused("filepath,caption\npic/red.png,\xff\n", NULL, ERR_DATA,
                "none of the rows can be used; 1 left out, for "
                "example row 2: the line is not UTF-8");
    csv_refused("filepath,caption\npic/red.png,\"open\npic/blue.png,x\n", NULL, ERR_DATA, "never closed");
}

static void refused_list_is_bounded(void **state UNUSED)
{
    int64_t before = limit_get(LIMIT_REFUSED);
    must(limit_set("refused", 2));
    struct dataset *d = open_csv("filepath,caption\npic/red.png,x\na,x\nb,x\nc,x\nd,x\n", NULL);
    must(limit_set("refused", before));
    assert_int_equal(d->n_refused, 4);
    assert_int_equal(d->n_missing, 4);
    assert_int_equal(d->n_listed, 2);
    assert_string_equal(d->refused[1].path, "b");
    dataset_close(&d);
}

static void separators(void **state UNUSED)
{
    static const struct {
        const char *option, *text, *says;
    } good[] = {{NULL, "filepath;caption\npic/red.png;x\n", "semicolon-separated"},
                {NULL, "filepath|caption\npic/red.png|x\n", "pipe-separated"},
                {"\\t", "filepath\tcaption\npic/red.png\ta, b, c\n", "tab-separated"},
                {"tab", "filepath\tcaption,x,y,z\tcaption\npic/red.png\ta\tb\n", "tab-separated, 3 columns"},
                {"comma", "filepath,caption\npic/red.png,a\tb\n", "comma-separated"},
                {"#", "filepath#caption\npic/red.png#a\n", "#-separated"}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct dataset_opt opt = {.separator = good[i].option};
        struct dataset *d = open_csv(good[i].text, &opt);
        if (!strstr(d->description, good[i].says))
            fail_msg("\"%s\" does not say \"%s\"", d->description, good[i].says);
        assert_int_equal(d->n_pairs, 1);
        dataset_close(&d);
    }
    struct dataset_opt opt = {.separator = "\\t"}; /* open_clip's default, a file with commas */
    csv_refused("filepath,title\npic/red.png,x\n", &opt, ERR_DATA, "tab-separated, 1 column)");
    assert_says("--csv-separator");
    assert_says("--csv-img-key");
    opt.separator = "two";
    csv_refused("filepath,title\npic/red.png,x\n", &opt, ERR_USAGE, "expected one character");
    csv_refused("pic/red.png\ta red thing\npic/blue.png\tx\n", NULL, ERR_DATA, "--image-column 1 --caption-column 2");
    struct dataset_opt alone = {.caption_column = "none"};
    struct dataset *d = open_csv("filepath\npic/red.png\npic/blue.png\n", &alone);
    assert_true(d->n_images == 2 && d->n_texts == 0);
    dataset_close(&d);
}

static void tables_without_header(void **state UNUSED)
{
    struct dataset_opt opt = {.image_column = "2", .caption_column = "1"};
    struct dataset *d =
        open_csv("\xef\xbb\xbfred\tpic/red.png\tx\r\n\r\nred\tpic/red.png\r\nblue\tpic/blue.png\tx\n", &opt);
    assert_true(d->n_images == 2 && d->n_texts == 2 && d->n_pairs == 2);
    assert_string_equal(d->captions[0], "red"); /* the first line counts */
    assert_int_equal(d->n_refused, 1);
    assert_int_equal(d->refused[0].row, 3); /* and lines are counted as in the file */
    dataset_close(&d);
    d = open_csv("2,1\npic/red.png,same,same\npic/red.png,x\n", &opt); /* a header after all */
    assert_true(d->n_images == 1 && d->n_texts == 1);
    dataset_close(&d);
    d = open_csv("same,pic/red.png,same\n", &opt); /* equal cells are no columns of one name */
    assert_true(d->n_images == 1 && d->n_texts == 1);
    dataset_close(&d);
    opt.image_column = "4";
    csv_refused("red,pic/red.png,x\n", &opt, ERR_DATA, "no column \"4\" for the pictures, found: 1, 2, 3");
    opt.image_column = "2";
    opt.caption_column = NULL;
    csv_refused("red,pic/red.png,x\n", &opt, ERR_DATA, "no column \"caption\" for the captions, found: 1, 2, 3");
}

/* ---- where names may lead ---- */

static struct dataset *open_with_root(const char *table, const char *root, bool follow)
{
    struct dataset_opt opt = {.images_root = root, .follow = follow};
    return open_csv(table, &opt);
}

static void names_stay_below_the_root(void **state UNUSED)
{
    char table[2000];
    put_picture("secret/canary.png", 2, 2, 1, 1, 1);
    put_picture("root/in/ok.png", 2, 2, 1, 1, 1);
    assert_int_equal(symlink(in_scratch("secret/canary.png"), in_scratch("root/in/link.png")), 0);
    assert_int_equal(symlink(in_scratch("secret"), in_scratch("root/way")), 0);
    assert_int_equal(mkfifo(in_scratch("root/pipe.png"), 0600), 0);
    put_text("root/.keep", "");
    snprintf(table, sizeof table,
             "filepath,caption\nin/ok.png,a\n../secret/canary.png,b\n%s,c\nin/link.png,d\nway/canary.png,e\n"
             "pipe.png,f\nin,g\n./in/ok.png,h\nin//ok.png,i\nin/../in/ok.png,j\n",
             in_scratch("secret/canary.png"));
    struct dataset *d = open_with_root(table, in_scratch("root"), false);
    assert_int_equal(d->n_images, 1);
    assert_string_equal(d->image_cells[1], "in/ok.png");
    assert_int_equal(d->n_refused, 9);
    assert_int_equal(d->n_missing, 0);
    assert_non_null(strstr(d->refused[2].reason, "--follow"));
    assert_non_null(strstr(d->refused[3].reason, "folder \"way\" is a symbolic link"));
    assert_non_null(strstr(d->refused[4].reason, "device or a pipe"));
    assert_non_null(strstr(d->refused[5].reason, "is a folder"));
    dataset_close(&d);
    d = open_with_root(table, in_scratch("root"), true);
    assert_int_equal(d->n_images, 3); /* the two links; ".." and absolute names stay refused */
    dataset_close(&d);
    d = open_csv(table, NULL); /* a table of one's own, without a root */
    assert_int_equal(d->n_images, 2);
    assert_string_equal(d->image_cells[1], "../secret/canary.png");
    assert_string_equal(d->image_cells[d->n_image_cols + 1], in_scratch("secret/canary.png"));
    dataset_close(&d);
    struct dataset_opt opt = {.images_root = "/nowhere/at/all"};
    csv_refused(table, &opt, ERR_USAGE, "no such folder");
}

static void folder_links(void **state UNUSED)
{
    char spec[600];
    struct dataset *d = NULL;
    struct dataset_opt follow = {.follow = true};
    put_picture("farm/cat/a.png", 2, 2, 1, 2, 3);
    assert_int_equal(symlink("a.png", in_scratch("farm/cat/b.png")), 0);
    assert_int_equal(symlink("cat", in_scratch("farm/dog")), 0);
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("farm"));
    must(dataset_open(&d, spec, NULL));
    assert_int_equal(d->n_images, 1);
    assert_int_equal(d->n_refused, 3);
    dataset_close(&d);
    must(dataset_open(&d, spec, &follow));
    assert_int_equal(d->n_images, 4);
    dataset_close(&d);
}

/* ---- prompts ---- */

static void open_prompts(struct dataset **d, const char *names, const char *templates, int code)
{
    char spec[600];
    struct dataset_opt opt = {.classnames = names ? put_text("names.txt", names) : NULL,
                              .templates = templates ? put_text("templates.txt", templates) : NULL};
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("wnids"));
    int rc = dataset_open(d, spec, &opt);
    if (rc != code)
        fail_msg("%d instead of %d: %s", rc, code, err_text());
}

static void folder_prompts(void **state UNUSED)
{
    struct dataset *d = NULL;
    put_picture("wnids/n01/a.png", 2, 2, 1, 2, 3);
    put_picture("wnids/n02/b.png", 2, 2, 1, 2, 3);
    open_prompts(&d, "tench\r\ngoldfish\n", "a photo of a {}.\n\nart of the {c}\n{}\n", 0);
    assert_int_equal(d->n_texts, 6);
    assert_string_equal(d->captions[0], "a photo of a tench.");
    assert_string_equal(d->captions[4], "art of the goldfish");
    assert_string_equal(dataset_text_cell(d, 0, "kind"), "caption");
    assert_string_equal(dataset_text_cell(d, 2, "kind"), "name");
    assert_string_equal(dataset_image_cell(d, 0, "label"), "n01");
    dataset_close(&d);
    open_prompts(&d, "n02\tthe second\nn01\tthe first\n", NULL, 0);
    assert_string_equal(d->captions[0], "the first");
    dataset_close(&d);
    open_prompts(&d, "tench\n", NULL, ERR_DATA);
    assert_says("1 names for 2 class folders");
    open_prompts(&d, NULL, "no hole\n", ERR_DATA);
    assert_says("neither {} nor {c}");
    open_prompts(&d, NULL, "caf\xe9 {}\n", ERR_DATA);
    assert_says("line 1 is not UTF-8");
    assert_null(d);
}

static void says_what_a_path_is(void **state UNUSED)
{
    struct dataset *d = NULL;
    put_text("cr/img_emb/img_emb_0.npy", "");
    put_text("plain/x.tsv", "");
    char spec[600];
    snprintf(spec, sizeof spec, "clip-retrieval:%s", in_scratch("cr"));
    assert_int_equal(dataset_open(&d, spec, NULL), ERR_USAGE);
    assert_says("holds vectors, not pictures");
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("cr"));
    assert_int_equal(dataset_open(&d, spec, NULL), ERR_USAGE);
    assert_says("holds vectors, not pictures");
    assert_int_equal(dataset_open(&d, in_scratch("plain/x.tsv"), NULL), ERR_USAGE);
    assert_says("did you mean \"csv:");
    assert_int_equal(dataset_open(&d, in_scratch("plain"), NULL), ERR_USAGE);
    assert_says("did you mean \"folder:");
    const char *help;
    for (int i = 0; dataset_kind_at(i, &help); i++)
        assert_true(*help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads),
        cmocka_unit_test(csv_options),
        cmocka_unit_test(csv_bad),
        cmocka_unit_test(bad_rows),
        cmocka_unit_test(refused_list_is_bounded),
        cmocka_unit_test(separators),
        cmocka_unit_test(tables_without_header),
        cmocka_unit_test(names_stay_below_the_root),
        cmocka_unit_test(folders),
        cmocka_unit_test(folder_links),
        cmocka_unit_test(folder_prompts),
        cmocka_unit_test(says_what_a_path_is),
        cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, make_pictures, scratch_remove);
}
