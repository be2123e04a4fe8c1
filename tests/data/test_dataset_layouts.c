/* tests/data/test_dataset_layouts.c: benchmarks' folders, on small trees of the same layout: CUB and Flowers,
 * MIT-States and UT-Zappos, Waterbirds, CelebA, SIMAT; and sets. */
#include "scratch.h"

static int open_kind(struct dataset **d, const char *kind, const char *dir, const struct dataset_opt *opt)
{
    char spec[600];
    snprintf(spec, sizeof spec, "%s:%s", kind, in_scratch(dir));
    *d = NULL;
    return dataset_open(d, spec, opt);
}

static struct dataset *good(const char *kind, const char *dir, const struct dataset_opt *opt, const char *description)
{
    struct dataset *d = NULL;
    must(open_kind(&d, kind, dir, opt));
    assert_string_equal(d->description, description);
    return d;
}

static void refused(const char *kind, const char *dir, const struct dataset_opt *opt, int code, const char *says)
{
    struct dataset *d = NULL;
    int rc = open_kind(&d, kind, dir, opt);
    if (rc != code)
        fail_msg("%s:%s: %d instead of %d: %s", kind, dir, rc, code, err_text());
    assert_null(d);
    assert_says(says);
}

static void is_cell(const struct dataset *d, int64_t row, const char *col, const char *want)
{
    const char *s = dataset_image_cell(d, row, col);
    if (!s || strcmp(s, want))
        fail_msg("row %lld, %s: \"%s\", expected \"%s\"", (long long)row, col, s ? s : "(none)", want);
}

static void reads_row(const struct dataset *d, int64_t row, int width)
{
    struct image im = {0};
    must(d->read_image(d, row, &im, NULL));
    assert_int_equal(im.width, width);
    image_free(&im);
}

static void cub(void **state UNUSED)
{
    put_text("cub/text_c10/001.Black_Albatross/one.txt", "a black bird\r\n\nwith wings\n");
    put_text("cub/text_c10/001.Black_Albatross/two.txt", "a black bird\ncaf\xe9\n");
    put_text("cub/text_c10/001.Black_Albatross/hollow.txt", "\n\n");
    put_text("cub/text_c10/001.Black_Albatross/gone.txt", "nobody\n");
    put_text("cub/text_c10/001.Black_Albatross.t7", "torch");
    put_text("cub/text_c10/002.Laysan/three.txt", "white\n");
    put_text("cub/trainclasses.txt", "001.Black_Albatross\n");
    put_text("cub/testclasses.txt", "002.Laysan\r\n");
    put_picture("cub/images/001.Black_Albatross/one.jpg", 2, 2, 1, 2, 3); /* bytes decide what it is */
    put_picture("cub/images/001.Black_Albatross/two.jpg", 3, 2, 1, 2, 3);
    put_picture("cub/images/001.Black_Albatross/hollow.jpg", 3, 2, 1, 2, 3);
    put_picture("cub/jpg/three.jpg", 4, 2, 1, 2, 3); /* as the flowers lie */
    struct dataset *d =
        good("reed", "cub", NULL,
             "reed: 2 classes, 5 caption files, 2 pictures, 3 captions, 1 pictures missing, 2 rows refused; "
             "splits: train 1, test 1");
    is_cell(d, 0, "id", "one");
    is_cell(d, 0, "label", "001.Black_Albatross");
    is_cell(d, 1, "path", "jpg/three.jpg");
    reads_row(d, 1, 4);
    dataset_close(&d);
    struct dataset_opt opt = {.split = "test"};
    d = good("reed", "cub", &opt,
             "reed: 1 classes, 1 caption files, 1 pictures, 1 captions, 0 pictures missing; splits: test 1");
    dataset_close(&d);
    put_text("flowers/text_c10/class_1/a.txt", "x\n");
    refused("reed", "flowers", &opt, ERR_USAGE, "leave --split out");
    refused("reed", "flowers", NULL, ERR_DATA, "--images-root");
    put_text("hollow/x", "");
    refused("reed", "hollow", NULL, ERR_DATA, "no folder text_c10");
    refused("reed", "nowhere", NULL, ERR_DATA, "no folder text_c10");
}

static void czsl(void **state UNUSED)
{
    put_picture("mit/images/ancient_bear/1.jpg", 2, 2, 1, 2, 3);
    put_picture("mit/images/ancient_bear/2.jpg", 2, 2, 1, 2, 3);
    put_picture("mit/images/Faux.Leather_Shoes.Flats/3.jpg", 3, 2, 1, 2, 3);
    put_picture("mit/images/hair_calf boots_ankle/4.jpg", 3, 2, 1, 2, 3);
    put_picture("mit/images/adj_bear/5.jpg", 2, 2, 1, 2, 3);
    put_picture("mit/images/nothing/6.jpg", 2, 2, 1, 2, 3);
    put_text("mit/compositional-split-natural/train_pairs.txt", "ancient bear\n");
    put_text("mit/compositional-split-natural/test_pairs.txt",
             "ancient bear\nFaux.Leather Shoes.Flats\nhair_calf boots_ankle\n");
    put_text("mit/metadata_compositional-split-natural.t7", "\x80\x02}q");
    struct dataset *d = good("czsl", "mit", NULL,
                             "czsl: 3 pairs, splits by pair, pictures of seen pairs all in train "
                             "(metadata_compositional-split-natural.t7 is a "
                             "pickle and was not read: docs/data.md), 4 pictures, 3 captions, 0 pictures missing, 1 "
                             "rows refused; splits: test "
                             "2, train 2");
    is_cell(d, 0, "attr", "Faux.Leather");
    is_cell(d, 0, "obj", "Shoes.Flats");
    is_cell(d, 3, "attr", "hair_calf");
    is_cell(d, 3, "obj", "boots_ankle");
    is_cell(d, 1, "pair", "ancient bear");
    assert_string_equal(d->captions[0], "Faux Leather Shoes Flats");
    assert_string_equal(d->captions[2], "hair calf boots ankle");
    reads_row(d, 0, 3);
    dataset_close(&d);
    put_text("mit/metadata_compositional-split-natural.csv",
             "image,attr,obj,set\nancient_bear/1.jpg,ancient,bear,train\nancient_bear/2.jpg,ancient,bear,test\n"
             "../../x.jpg,ancient,bear,val\nnothing/6.jpg,NA,bear,NA\n");
    struct dataset_opt opt = {.split = "test"};
    d = good("czsl", "mit", &opt,
             "czsl: splits by picture (metadata_compositional-split-natural.csv), 1 pictures, 1 captions, 0 pictures "
             "missing; "
             "splits: test 1");
    is_cell(d, 0, "id", "ancient_bear/2.jpg");
    dataset_close(&d);
    refused("czsl", "hollow", NULL, ERR_DATA, "no folder images");
    put_text("mit/metadata_compositional-split-natural.csv", "picture,attr\nx,y\n");
    refused("czsl", "mit", NULL, ERR_DATA, "expected columns image, attr, obj, set");
}

static void waterbirds(void **state UNUSED)
{
    static const char *const head = "img_id,img_filename,y,split,place,place_filename\n";
    char text[1000];
    put_picture("wb/001.A/a.jpg", 2, 2, 1, 2, 3);
    put_picture("wb/001.A/b.jpg", 2, 2, 1, 2, 3);
    snprintf(text, sizeof text,
             "%s1,001.A/a.jpg,0,0,1,/o/ocean/1.jpg\n2,001.A/b.jpg,1,2,0,/b/bamboo/1.jpg\n"
             "3,001.A/c.jpg,1,1,1,x\n4,001.A/a.jpg,2,0,0,x\n5,../a.jpg,0,0,0,x\n6,001.A/a.jpg,0\n",
             head);
    put_text("wb/metadata.csv", text);
    struct dataset *d =
        good("waterbirds", "wb", NULL,
             "waterbirds: 5 rows, 2 pictures, 2 captions, 1 pictures missing, 3 rows refused; splits: train 1, "
             "test 1");
    is_cell(d, 0, "bird", "landbird");
    is_cell(d, 0, "place", "water");
    is_cell(d, 1, "bird_place", "waterbird on land");
    is_cell(d, 1, "place_filename", "/b/bamboo/1.jpg");
    assert_string_equal(d->captions[1], "waterbird");
    dataset_close(&d);
    put_text("wb/metadata.csv", "img_id,img_filename\n1,x\n");
    refused("waterbirds", "wb", NULL, ERR_DATA, "no column \"y\"");
    refused("waterbirds", "hollow", NULL, ERR_DATA, "metadata.csv");
}

static void celeba(void **state UNUSED)
{
    put_picture("faces/img_align_celeba/000001.jpg", 2, 2, 1, 2, 3);
    put_picture("faces/img_align_celeba/img_align_celeba/000002.jpg", 3, 2, 1, 2, 3);
    put_picture("faces/img_align_celeba/000004.jpg", 2, 2, 1, 2, 3);
    put_text("faces/list_attr_celeba.txt",
             "5\n5_o_Clock_Shadow Smiling Young \n000001.jpg -1  1  1\n000002.jpg  1 -1 -1\r\n"
             "000003.jpg 1 1 1\n000004.jpg 1 2 1\n000005.jpg 1 1\n");
    struct dataset *d =
        good("celeba", "faces", NULL,
             "celeba: 4 rows, 3 attributes, 2 pictures, 0 captions, 1 pictures missing, 2 rows refused");
    is_cell(d, 0, "Smiling", "1");
    is_cell(d, 1, "Smiling", "-1");
    is_cell(d, 1, "5_o_Clock_Shadow", "1");
    reads_row(d, 1, 3);
    dataset_close(&d);
    struct dataset_opt opt = {.split = "test"};
    refused("celeba", "faces", &opt, ERR_USAGE, "list_eval_partition.txt is not there");
    put_text("faces/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 2\n000003.jpg 1\n000004.jpg 2\n000005.jpg 2\n");
    d = good(
        "celeba", "faces", &opt,
        "celeba: 4 rows, 3 attributes, 1 pictures, 0 captions, 0 pictures missing, 2 rows refused; splits: test 1");
    is_cell(d, 0, "id", "000002.jpg");
    dataset_close(&d);
    must(remove(in_scratch("faces/list_attr_celeba.txt")));
    must(remove(in_scratch("faces/list_eval_partition.txt")));
    put_text("faces/list_attr_celeba.csv", "image_id,Smiling,Young\n000001.jpg,1,-1\n000002.jpg,-1,1\n");
    put_text("faces/list_eval_partition.csv", "image_id,partition\n000001.jpg,0\n000002.jpg,1\n");
    d = good("celeba", "faces", NULL,
             "celeba: 2 rows, 2 attributes, 2 pictures, 0 captions, 0 pictures missing; splits: train 1, val 1");
    is_cell(d, 1, "Young", "1");
    dataset_close(&d);
    refused("celeba", "hollow", NULL, ERR_DATA, "looking for list_attr_celeba.txt or .csv");
    put_text("faces/list_attr_celeba.txt", "many\nA B\nx 1 1\n");
    refused("celeba", "faces", NULL, ERR_DATA, "expected the number of pictures");
}

static void simat(void **state UNUSED)
{
    put_picture("simat/images/A bear laying in wall/7.jpg", 2, 2, 1, 2, 3);
    put_picture("simat/images/A bear laying in bed/8.jpg", 3, 2, 1, 2, 3);
    put_picture("simat/images/9.jpg", 4, 2, 1, 2, 3);
    put_text("simat/triplets.csv",
             "region_id,subj,rel,obj,dataset_id\n7,bear,laying in,wall,1\n9,bear,laying in,wall,0\n"
             "8,bear,laying in,bed,2\n10,bear,laying in,bed,9\n11,bear,laying in,bed,2\n");
    put_text("simat/captions.txt", "A bear laying against a wall.\nA bear laying in a bed.\n");
    struct dataset *d = good("simat", "simat", NULL,
                             "simat: 5 rows, 2 triplets, 3 pictures, 2 captions, 0 pictures missing, 2 rows refused");
    is_cell(d, 0, "id", "9");
    is_cell(d, 1, "id", "7");
    is_cell(d, 2, "obj", "bed");
    is_cell(d, 2, "dataset_id", "2");
    assert_string_equal(d->captions[d->pairs[1].text], "A bear laying against a wall.");
    assert_string_equal(d->captions[d->pairs[2].text], "A bear laying in a bed.");
    reads_row(d, 0, 4);
    dataset_close(&d);
    put_text("simat/captions.txt", "A bear laying against a wall.\n");
    refused("simat", "simat", NULL, ERR_DATA, "1 captions, but triplets.csv has 2 distinct triplets");
    refused("simat", "hollow", NULL, ERR_DATA, "triplets.csv");
}

/* The published tables: 5,859 rows in 645 triplets, whose captions are in the order that we take them for. */
static void simat_as_published(void **state UNUSED)
{
    const char *base = getenv("MERIDIAN_SHARED");
    char spec[1024], word[64];
    struct dataset *d = NULL;
    snprintf(spec, sizeof spec, "%s/data/simat_db/triplets.csv", base ? base : "");
    if (!base || !path_exists(spec)) {
        print_message("skipped: no %s (environment MERIDIAN_SHARED)\n", spec);
        skip();
    }
    struct table t;
    must(table_read(&t, spec));
    int subj = table_col(&t, "subj"), rel = table_col(&t, "rel"), obj = table_col(&t, "obj"),
        id = table_col(&t, "region_id");
    char root[512];
    snprintf(root, sizeof root, "%s", in_scratch("vg"));
    struct dataset_opt opt = {.images_root = root};
    put_text("vg/.keep", "");
    for (int64_t i = 0; i < t.n_rows; i += 50) { /* 118 of the pictures */
        char path[200];
        snprintf(path, sizeof path, "vg/images/A %s %s %s/%s.jpg", table_cell(&t, i, subj), table_cell(&t, i, rel),
                 table_cell(&t, i, obj), table_cell(&t, i, id));
        put_text(path, "");
    }
    int64_t want = (t.n_rows + 49) / 50;
    table_free(&t);
    snprintf(spec, sizeof spec, "simat:%s/data/simat_db", base);
    must(dataset_open(&d, spec, &opt));
    assert_int_equal(d->n_images, want);
    assert_int_equal(d->n_missing, 5859 - want);
    int64_t fit = 0;
    for (int64_t i = 0; i < d->n_images; i++) { /* the caption speaks of the subject */
        snprintf(word, sizeof word, "%s", dataset_image_cell(d, i, "subj"));
        fit += strstr(d->captions[d->pairs[i].text], word + 1) != NULL;
    }
    assert_true(fit > want * 9 / 10);
    dataset_close(&d);
}

static void sets(void **state UNUSED)
{
    char json[700];
    struct image im = {0};
    put_picture("pics/a.png", 2, 2, 1, 2, 3);
    put_picture("pics/b.png", 3, 2, 1, 2, 3);
    snprintf(json, sizeof json, "{\"format\": \"meridian set\", \"data\": \"csv:x.csv\", \"path_base\": \"%s\"}",
             in_scratch("pics"));
    put_text("set/set.json", json);
    put_text("set/images.csv",
             "row,id,path,label,split,weight\n0,a,a.png,,train,5\n1,b,b.png,,test,6\n2,c,c.png,,test,7\n");
    put_text("set/texts.csv", "row,image_row,caption,kind\n0,0,one,name\n1,1,two,caption\n2,2,three,caption\n");
    put_text("set/pairs.csv", "image_row,text_row\n0,0\n0,1\n1,1\n2,2\n");
    struct dataset *d =
        good("set", "set", NULL,
             "set: 3 rows of images.csv, 3 of texts.csv, 2 pictures, 2 captions, 1 pictures missing; splits: "
             "train 1, test 1");
    assert_int_equal(d->n_pairs, 3);
    is_cell(d, 1, "weight", "6");
    assert_null(dataset_image_cell(d, 0, "row"));
    assert_string_equal(dataset_text_cell(d, 0, "kind"), "name");
    must(d->read_image(d, 1, &im, NULL));
    assert_int_equal(im.width, 3);
    image_free(&im);
    dataset_close(&d);
    struct dataset_opt opt = {.split = "train"};
    d = good("set", "set", &opt,
             "set: 3 rows of images.csv, 3 of texts.csv, 1 pictures, 2 captions, 0 pictures missing; splits: train 1");
    dataset_close(&d);
    put_text("set/pairs.csv", "image_row,text_row\n0,3\n");
    refused("set", "set", NULL, ERR_DATA, "from 0 to 2, found \"3\"");
    put_text("set/pairs.csv", "image,text\n0,0\n");
    refused("set", "set", NULL, ERR_DATA, "image_row and text_row");
    put_text("set/set.json", "{\"data\": \"wds:x{0..9}.tar\"}");
    refused("set", "set", NULL, ERR_UNSUPPORTED, "--data 'wds:x{0..9}.tar'");
    put_text("set/set.json", "{\"path_base\": 7}");
    refused("set", "set", NULL, ERR_DATA, "path_base");
    refused("set", "hollow", NULL, ERR_DATA, "no set.json");
}

/* Every truncation of a table: an error, or fewer rows; never a crash. */
static void cut_tables(void **state UNUSED)
{
    static const struct {
        const char *kind, *dir, *file, *text;
    } cases[] = {
        {"waterbirds", "cut/wb", "cut/wb/metadata.csv",
         "img_id,img_filename,y,split,place,place_filename\n1,a.jpg,0,0,1,\"o\"\n2,a.jpg,1,2,0,x\n"},
        {"celeba", "cut/faces", "cut/faces/list_attr_celeba.txt", "2\nA B\na.jpg -1  1\na.jpg  1 -1\n"},
        {"simat", "cut/simat", "cut/simat/triplets.csv", "region_id,subj,rel,obj,dataset_id\n1,a,b,c,0\n2,a,b,c,1\n"},
        {"reed", "cut/reed", "cut/reed/text_c10/k/a.txt", "one\ntwo \xc3\xa9\n"},
        {"czsl", "cut/czsl", "cut/czsl/metadata_compositional-split-natural.csv",
         "image,attr,obj,set\na.jpg,x,y,train\n"},
    };
    put_picture("cut/wb/a.jpg", 2, 2, 1, 2, 3);
    put_picture("cut/faces/a.jpg", 2, 2, 1, 2, 3);
    put_picture("cut/simat/images/1.jpg", 2, 2, 1, 2, 3);
    put_picture("cut/reed/images/a.jpg", 2, 2, 1, 2, 3);
    put_picture("cut/czsl/images/a.jpg", 2, 2, 1, 2, 3);
    put_text("cut/simat/captions.txt", "x\n");
    for (size_t k = 0; k < ARRAY_LEN(cases); k++)
        for (size_t n = 0; n <= strlen(cases[k].text); n++) {
            char text[300];
            struct dataset *d;
            snprintf(text, sizeof text, "%.*s", (int)n, cases[k].text);
            put_text(cases[k].file, text);
            int rc = open_kind(&d, cases[k].kind, cases[k].dir, NULL);
            if (rc < 0 && !*err_text())
                fail_msg("%s cut at %zu: no message", cases[k].kind, n);
            if (n == strlen(cases[k].text))
                assert_int_equal(rc, 0);
            dataset_close(&d);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cub),    cmocka_unit_test(czsl),       cmocka_unit_test(waterbirds),
        cmocka_unit_test(celeba), cmocka_unit_test(simat),      cmocka_unit_test(simat_as_published),
        cmocka_unit_test(sets),   cmocka_unit_test(cut_tables),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
