/* tests/data/test_dataset_wds.c: tar shards of every flavour, written here with libarchive; hostile ones; cut ones. */
#include "scratch.h"

#ifdef HAVE_ARCHIVE
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

enum flavour { USTAR, GNU, PAX, V7 };
struct shard {
    struct archive *a;
};

static struct str png; /* a picture of 3 x 2 */

static void begin(struct shard *s, const char *name, enum flavour flavour, int packing)
{
    const char *path = put_text(name, "");
    s->a = archive_write_new();
    if (packing == 1)
        archive_write_add_filter_gzip(s->a);
    if (packing == 2 && archive_write_add_filter_zstd(s->a) != ARCHIVE_OK)
        fail_msg("libarchive writes no zstd");
    if (flavour == USTAR)
        archive_write_set_format_ustar(s->a);
    else if (flavour == GNU)
        archive_write_set_format_gnutar(s->a);
    else if (flavour == V7)
        archive_write_set_format_v7tar(s->a);
    else
        archive_write_set_format_pax(s->a);
    archive_write_set_options(s->a, "hdrcharset=BINARY");
    assert_int_equal(archive_write_open_filename(s->a, path), ARCHIVE_OK);
}

static void add(struct shard *s, const char *name, const void *p, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_copy_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    if (archive_write_header(s->a, e) < ARCHIVE_WARN)
        fail_msg("%s: %s", name, archive_error_string(s->a));
    assert_int_equal(archive_write_data(s->a, p, n), n);
    archive_entry_free(e);
}

static void add_text(struct shard *s, const char *name, const char *text)
{
    add(s, name, text, strlen(text));
}

static void add_picture(struct shard *s, const char *name)
{
    add(s, name, png.s, png.n);
}

static void add_special(struct shard *s, const char *name, unsigned type, const char *target, bool hard)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_copy_pathname(e, name);
    archive_entry_set_size(e, 0);
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, 0644);
    if (target && hard)
        archive_entry_copy_hardlink(e, target);
    else if (target)
        archive_entry_copy_symlink(e, target);
    if (archive_write_header(s->a, e) < ARCHIVE_WARN)
        fail_msg("%s: %s", name, archive_error_string(s->a));
    archive_entry_free(e);
}

static void end(struct shard *s)
{
    assert_int_equal(archive_write_close(s->a), ARCHIVE_OK);
    archive_write_free(s->a);
}

/* n samples, numbered from first. */
static void make_shard(const char *name, enum flavour flavour, int packing, int first, int n)
{
    struct shard s;
    begin(&s, name, flavour, packing);
    for (int i = first; i < first + n; i++) {
        char member[64], text[128];
        snprintf(member, sizeof member, "%06d.jpg", i); /* the ending does not decide what it is */
        add_picture(&s, member);
        snprintf(member, sizeof member, "%06d.txt", i);
        snprintf(text, sizeof text, "  caption %d, \xc3\xa9\n", i);
        add_text(&s, member, text);
        snprintf(member, sizeof member, "%06d.json", i);
        snprintf(text, sizeof text, "{\"url\": \"http://x/%d\", \"width\": %d, \"alt\": \"other %d\", \"l\": [1, 2]}",
                 i, i, i);
        add_text(&s, member, text);
    }
    end(&s);
}

static int open_spec(struct dataset **d, const char *pattern, const struct dataset_opt *opt)
{
    char spec[1200];
    snprintf(spec, sizeof spec, "wds:%s", in_scratch(pattern));
    *d = NULL;
    return dataset_open(d, spec, opt);
}

static void check_picture(const struct dataset *d, int64_t row)
{
    struct image im = {0};
    uint8_t *alpha = NULL;
    must(d->read_image(d, row, &im, &alpha));
    assert_null(alpha);
    assert_true(im.width == 3 && im.height == 2 && im.pixels[0] == 10 && im.pixels[2] == 30);
    image_free(&im);
}

static int make_picture(void **state)
{
    uint8_t pixels[18];
    struct image im = {.width = 3, .height = 2, .channels = 3, .pixels = pixels};
    if (scratch_make(state))
        return -1;
    for (int i = 0; i < 18; i++)
        pixels[i] = (uint8_t)(10 * (i % 3 + 1));
    return image_encode_png(&png, &im);
}

static int drop(void **state)
{
    str_free(&png);
    return scratch_remove(state);
}

/* ---- reading ---- */

static void flavours(void **state UNUSED)
{
    static const char *const endings[] = {"tar", "tar.gz", "tar.zst"};
    char first[65] = "";
    for (int flavour = USTAR; flavour <= V7; flavour++)
        for (int packing = 0; packing < 3; packing++) {
            struct dataset *d;
            char name[64];
            snprintf(name, sizeof name, "f/%d.%s", flavour, endings[packing]);
            make_shard(name, (enum flavour)flavour, packing, 0, 12);
            must(open_spec(&d, name, NULL));
            assert_int_equal(d->n_images, 12);
            assert_int_equal(d->n_pairs, 12);
            assert_string_equal(d->captions[3], "caption 3, \xc3\xa9");
            assert_string_equal(dataset_image_cell(d, 3, "id"), "000003");
            assert_string_equal(dataset_image_cell(d, 3, "url"), "http://x/3");
            assert_string_equal(dataset_image_cell(d, 11, "width"), "11");
            assert_string_equal(dataset_image_cell(d, 0, "l"), "[1,2]");
            assert_non_null(
                strstr(d->description, packing ? "1 shards, 1 of them packed, 12 samples" : "1 shards, 12 samples"));
            for (int64_t i = 11; i >= 0; i--) /* any order */
                check_picture(d, i);
            if (*first)
                assert_string_equal(first, d->fingerprint);
            memcpy(first, d->fingerprint, 65);
            dataset_close(&d);
        }
}

static void patterns(void **state UNUSED)
{
    struct dataset *d;
    make_shard("p/000.tar", PAX, 0, 0, 2);
    make_shard("p/001.tar", PAX, 1, 2, 2); /* gzip whatever the name says */
    make_shard("p/003.tar", PAX, 0, 6, 2);
    make_shard("p/x.tar", PAX, 0, 8, 1);
    must(open_spec(&d, "p/{000..003}.tar", NULL));
    assert_int_equal(d->n_images, 6);
    assert_string_equal(d->description,
                        "wds: 4 shards, 1 of them packed, 1 missing (002.tar), 6 samples, 6 pictures, 6 captions");
    assert_int_equal(d->n_listed, 1);
    assert_string_equal(d->refused[0].reason, "there is no such shard");
    assert_string_equal(dataset_image_cell(d, 5, "id"), "000007");
    dataset_close(&d);
    static const struct {
        const char *pattern;
        int64_t n_images;
    } good[] = {{"p/{x,000}.tar", 3},
                {"p/{003..000}.tar", 6},
                {"p/{000..003..3}.tar", 4},
                {"p/00{0..1}.tar", 4},
                {"p/{00{0,1},x}.tar", 5},
                {"p/000.tar", 2},
                {"p", 7}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        must(open_spec(&d, good[i].pattern, NULL));
        if (d->n_images != good[i].n_images)
            fail_msg("%s: %lld pictures", good[i].pattern, (long long)d->n_images);
        dataset_close(&d);
    }
    char two[1200];
    snprintf(two, sizeof two, "p/000.tar::%s", in_scratch("p/x.tar"));
    must(open_spec(&d, two, NULL));
    assert_int_equal(d->n_images, 3);
    dataset_close(&d);
    assert_int_equal(open_spec(&d, "p/{100..199}.tar", NULL), ERR_DATA);
    assert_says("nor any other");
    assert_int_equal(open_spec(&d, "p/{0..99999999}.tar", NULL), ERR_USAGE);
    assert_says("names more than");
    assert_int_equal(open_spec(&d, "p/{0..999}{0..9999}.tar", NULL), ERR_USAGE);
    assert_int_equal(open_spec(&d, "p/{a,b", NULL), ERR_DATA);
    assert_int_equal(dataset_open(&d, "wds:", NULL), ERR_USAGE);
    must(path_make_dirs(in_scratch("hollow")));
    assert_int_equal(open_spec(&d, "hollow", NULL), ERR_DATA);
    assert_says("holds no shard");
}

static void captions(void **state UNUSED)
{
    struct dataset *d;
    make_shard("c/0.tar", PAX, 0, 0, 3);
    struct dataset_opt opt = {.caption_key = "alt"};
    must(open_spec(&d, "c/0.tar", &opt));
    assert_string_equal(d->captions[2], "other 2");
    assert_null(dataset_image_cell(d, 0, "alt"));
    dataset_close(&d);
    opt.caption_key = "txt,alt";
    must(open_spec(&d, "c/0.tar", &opt));
    assert_true(d->n_texts == 6 && d->n_pairs == 6);
    dataset_close(&d);
    opt.caption_key = "none";
    must(open_spec(&d, "c/0.tar", &opt));
    assert_true(d->n_images == 3 && d->n_texts == 0);
    dataset_close(&d);
    opt.caption_key = "nothing";
    assert_int_equal(open_spec(&d, "c/0.tar", &opt), ERR_DATA);
    assert_says("neither a member .nothing nor");
    assert_says("--wds-caption-key");
    opt = (struct dataset_opt){.limit = 2};
    must(open_spec(&d, "c/0.tar", &opt));
    assert_int_equal(d->n_images, 2);
    dataset_close(&d);
    opt = (struct dataset_opt){.split = "train"};
    assert_int_equal(open_spec(&d, "c/0.tar", &opt), ERR_USAGE);
    assert_says("no field \"split\"");
}

static void lists_of_captions(void **state UNUSED)
{
    struct dataset *d;
    struct shard s;
    begin(&s, "many/0.tar", PAX, 0);
    add_picture(&s, "a.jpg");
    add_text(&s, "a.json", "{\"captions\": [\"one\", null, \"two\", \"\"], \"n\": 5}");
    add_picture(&s, "b.jpg");
    add_text(&s, "b.json", "{\"captions\": [], \"n\": 0}");
    add_picture(&s, "c.jpg");
    add_text(&s, "c.json", "{\"captions\": [3, {}]}");
    end(&s);
    struct dataset_opt opt = {.caption_key = "captions"};
    must(open_spec(&d, "many/0.tar", &opt));
    assert_true(d->n_images == 1 && d->n_texts == 2 && d->n_pairs == 2);
    assert_string_equal(d->captions[1], "two");
    assert_null(dataset_image_cell(d, 0, "captions"));
    assert_int_equal(d->n_refused, 4); /* two captions of a, samples b and c */
    dataset_close(&d);
}

static void bad_samples(void **state UNUSED)
{
    struct shard s;
    struct dataset *d;
    begin(&s, "b/0.tar", PAX, 0);
    add_text(&s, "nopic.txt", "a");
    add_picture(&s, "nocap.png");
    add_picture(&s, "two.png");
    add_picture(&s, "two.jpg");
    add_text(&s, "two.txt", "a");
    add_picture(&s, "latin.png");
    add_text(&s, "latin.txt", "caf\xe9");
    add_picture(&s, "blank.png");
    add_text(&s, "blank.txt", " \n");
    add_picture(&s, "zero.png");
    add(&s, "zero.txt", "a\0b", 3);
    add(&s, "hollow.png", "", 0);
    add_text(&s, "hollow.txt", "a");
    add_picture(&s, "json.png");
    add_text(&s, "json.txt", "a");
    add_text(&s, "json.json", "{\"a\": ");
    add_picture(&s, "list.png");
    add_text(&s, "list.txt", "a");
    add_text(&s, "list.json", "[]");
    add_picture(&s, "twice.png");
    add_text(&s, "twice.txt", "a");
    add_text(&s, "twice.txt", "b");
    add_picture(&s, "dir/part.one/good.v2.PNG"); /* key ends at the first dot of the last part */
    add_text(&s, "dir/part.one/good.txt", "fine");
    add_text(&s, "dir/part.one/good.cls", "7\n");
    add_text(&s, "README", "no ending");
    add_picture(&s, "dir/part.one/best.PNG");
    add_text(&s, "dir/part.one/best.TXT", "best");
    add_text(&s, "dir/part.one/best.cls", "7\n");
    end(&s);
    must(open_spec(&d, "b/0.tar", NULL));
    assert_int_equal(d->n_images, 1); /* ending v2.png is no picture's */
    assert_int_equal(d->n_refused, 11);
    assert_string_equal(dataset_image_cell(d, 0, "id"), "dir/part.one/best");
    assert_string_equal(dataset_image_cell(d, 0, "label"), "7");
    static const char *const says[] = {"no picture", "no caption", "two pictures",  "not UTF-8",
                                       "empty",      "zero byte",  "empty picture", "not valid JSON",
                                       "no object",  "twice",      "no picture"};
    for (size_t i = 0; i < ARRAY_LEN(says); i++)
        if (!strstr(d->refused[i].reason, says[i]))
            fail_msg("\"%s\" does not say \"%s\"", d->refused[i].reason, says[i]);
    check_picture(d, 0);
    dataset_close(&d);
}

/* ---- hostile ---- */

static void hostile_names(void **state UNUSED)
{
    struct shard s;
    struct dataset *d;
    char longer[400];
    put_text("canary.png", "not a picture");
    memset(longer, 'n', sizeof longer);
    strcpy(longer + 200, ".png");
    begin(&s, "h/0.tar", GNU, 0);
    add_picture(&s, "../../canary.png");
    add_text(&s, "../../canary.txt", "a");
    add_picture(&s, "/etc/x.png");
    add_special(&s, "link.png", AE_IFLNK, "../canary.png", false);
    add_text(&s, "link.txt", "a");
    add_special(&s, "hard.png", AE_IFREG, "../canary.png", true);
    add_special(&s, "null.png", AE_IFCHR, NULL, false);
    add_special(&s, "pipe.png", AE_IFIFO, NULL, false);
    add_special(&s, "folder.png", AE_IFDIR, NULL, false);
    add_picture(&s, "bad\x01name.png");
    add_picture(&s, "bad\xff.png");
    add_picture(&s, longer);
    longer[201] = 't', longer[202] = 'x', longer[203] = 't';
    add_text(&s, longer, "long");
    add_picture(&s, "./ok.png");
    add_text(&s, "./ok.txt", "ok");
    end(&s);
    must(open_spec(&d, "h/0.tar", NULL));
    assert_int_equal(d->n_images, 2);
    assert_int_equal(strlen(dataset_image_cell(d, 0, "id")), 200);
    assert_string_equal(dataset_image_cell(d, 1, "id"), "ok");
    check_picture(d, 0);
    check_picture(d, 1);
    int links = 0, names = 0;
    for (int64_t i = 0; i < d->n_listed; i++) {
        links += strstr(d->refused[i].reason, "a link, a device") != NULL;
        names += strstr(d->refused[i].reason, "contains \"..\"") || strstr(d->refused[i].reason, "absolute");
    }
    assert_int_equal(links, 4);
    assert_int_equal(names, 3);
    dataset_close(&d);
    assert_false(path_exists(in_scratch("h/link.png"))); /* nothing was unpacked */
    assert_false(path_exists(in_scratch("h/ok.png")));
}

static void limits(void **state UNUSED)
{
    struct dataset *d;
    make_shard("l/0.tar", PAX, 0, 0, 3);
    int64_t before = limit_get(LIMIT_TAR_ENTRIES);
    must(limit_set("tar-entries", 4));
    must(open_spec(&d, "l/0.tar", NULL)); /* the first sample stands */
    assert_int_equal(d->n_images, 1);
    assert_non_null(strstr(d->description, "1 broken"));
    assert_non_null(strstr(d->refused[0].reason, "limit tar-entries"));
    dataset_close(&d);
    must(limit_set("tar-entries", before));
    before = limit_get(LIMIT_TAR_MEMBER);
    must(limit_set("tar-member", 10));
    assert_int_equal(open_spec(&d, "l/0.tar", NULL), ERR_DATA);
    assert_says("limit tar-member");
    must(limit_set("tar-member", before));
    before = limit_get(LIMIT_SHARD_CACHE);
    make_shard("l/1.tar.gz", PAX, 1, 0, 3);
    must(limit_set("shard-cache", 20));
    must(open_spec(&d, "l/1.tar.gz", NULL));
    struct image im = {0};
    assert_int_equal(d->read_image(d, 0, &im, NULL), ERR_DATA);
    assert_says("limit shard-cache");
    must(limit_set("shard-cache", before));
    dataset_close(&d);
}

/* 600 MB of zeros in 600 KB: given up after megabytes. */
static void bomb(void **state UNUSED)
{
    struct shard s;
    struct dataset *d;
    static char zeros[1 << 20];
    for (int packing = 1; packing <= 2; packing++) {
        const char *name = packing == 1 ? "bomb/0.tar.gz" : "bomb/0.tar.zst";
        begin(&s, name, PAX, packing);
        add_picture(&s, "a.png");
        add_text(&s, "a.txt", "a");
        struct archive_entry *e = archive_entry_new();
        archive_entry_copy_pathname(e, "b.bin");
        archive_entry_set_size(e, (la_int64_t)100 << 20);
        archive_entry_set_filetype(e, AE_IFREG);
        assert_int_equal(archive_write_header(s.a, e), ARCHIVE_OK);
        for (int i = 0; i < 100; i++)
            archive_write_data(s.a, zeros, sizeof zeros);
        archive_entry_free(e);
        end(&s);
        must(open_spec(&d, name, NULL));
        assert_int_equal(d->n_images, 1);
        assert_non_null(strstr(d->refused[0].reason, "limit expansion"));
        dataset_close(&d);
    }
}

static void put_bytes(const char *name, const uint8_t *p, size_t n)
{
    FILE *f = fopen(put_text(name, ""), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Cut anywhere: the samples before the cut, or an error; pictures that are handed out can be read. */
static void truncations(void **state UNUSED)
{
    for (int packing = 0; packing < 3; packing++) {
        struct map m;
        make_shard("t/whole.tar", GNU, packing, 0, 4);
        must(map_open(&m, in_scratch("t/whole.tar")));
        size_t step = m.size / 60 + 1;
        for (size_t n = 0; n < m.size; n += step) {
            struct dataset *d;
            put_bytes("t/cut.tar", m.data, n);
            int rc = open_spec(&d, "t/cut.tar", NULL);
            if (rc < 0) {
                assert_int_equal(rc, ERR_DATA);
                assert_says("cut.tar");
                continue;
            }
            assert_true(d->n_images <= 4);
            for (int64_t i = 0; i < d->n_images; i++)
                check_picture(d, i);
            dataset_close(&d);
        }
        map_close(&m);
    }
    static const char *const texts[] = {"", "not a tar at all", "\x1f\x8b", "\x28\xb5\x2f\xfd", "PK\x03\x04"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct dataset *d;
        put_text("t/odd.tar", texts[i]);
        assert_int_equal(open_spec(&d, "t/odd.tar", NULL), ERR_DATA);
        assert_says("odd.tar");
    }
}

static void changed_under_us(void **state UNUSED)
{
    struct dataset *d;
    struct image im = {0};
    make_shard("u/0.tar", PAX, 0, 0, 2);
    make_shard("u/1.tar.gz", PAX, 1, 2, 2);
    must(open_spec(&d, "u/{0.tar,1.tar.gz}", NULL));
    assert_int_equal(d->n_images, 4);
    assert_int_equal(truncate(in_scratch("u/0.tar"), 600), 0);
    assert_int_equal(d->read_image(d, 1, &im, NULL), ERR_DATA);
    assert_says("shorter than when it was opened");
    make_shard("u/1.tar.gz", PAX, 1, 0, 1);
    assert_int_equal(d->read_image(d, 3, &im, NULL), ERR_DATA);
    assert_says("has changed since");
    assert_null(im.pixels);
    dataset_close(&d);
}

/* The least recently used shard makes room. */
static void cache_is_bounded(void **state UNUSED)
{
    struct dataset *d;
    int64_t before = limit_get(LIMIT_SHARD_CACHE);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "k/%d.tar.gz", i);
        make_shard(name, PAX, 1, 4 * i, 4);
    }
    must(open_spec(&d, "k/{0..2}.tar.gz", NULL));
    must(limit_set("shard-cache", (int64_t)png.n * 9)); /* two of three */
    for (int64_t i = 0; i < 36; i++)
        check_picture(d, i * 5 % 12);
    must(limit_set("shard-cache", before));
    dataset_close(&d);
}

static void memory_failures(void **state UNUSED)
{
    make_shard("m/0.tar", PAX, 0, 0, 2);
    int rc = ERR_MEMORY, failed = 0;
    for (int64_t n = 1; rc < 0 && n < 10000; n++) {
        struct dataset *d = NULL;
        mem_fail_at(n);
        rc = open_spec(&d, "m/0.tar", NULL);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
        dataset_close(&d);
    }
    assert_int_equal(rc, 0);
    assert_true(failed >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flavours),         cmocka_unit_test(patterns),
        cmocka_unit_test(captions),         cmocka_unit_test(lists_of_captions),
        cmocka_unit_test(bad_samples),      cmocka_unit_test(hostile_names),
        cmocka_unit_test(limits),           cmocka_unit_test(bomb),
        cmocka_unit_test(truncations),      cmocka_unit_test(changed_under_us),
        cmocka_unit_test(cache_is_bounded), cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, make_picture, drop);
}

#else

int main(void)
{
    printf("skipped: this build has no libarchive\n");
    return 77;
}

#endif
