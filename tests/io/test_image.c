/* tests/io/test_image.c: decoding against the golden pixels, broken pictures, encoding, emoji. */
#include "scratch.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

static struct image sample(int width, int height, int channels)
{
    struct image im = {width, height, channels, NULL};
    size_t n = (size_t)width * (size_t)height * (size_t)channels;
    im.pixels = mem_alloc(n);
    struct rng r = rng_stream(7, RNG_TEST, 0, 0);
    for (size_t i = 0; i < n; i++)
        im.pixels[i] = (uint8_t)rng_u32(&r);
    return im;
}

/* Each "FILE|decoded_rgb" of the golden file: PNG bit for bit, JPEG within 3 levels; 16-bit gray by its high byte. */
static void golden(void **state UNUSED)
{
    char folder[512], path[1024];
    const char *shared = getenv("MERIDIAN_SHARED");
    struct st_file *f = NULL;
    int files = 0;
    long unequal = 0;
    snprintf(folder, sizeof(folder), "%s/golden/preprocess_clip", shared ? shared : "");
    snprintf(path, sizeof(path), "%s/expected.safetensors", folder);
    if (!shared || !path_exists(path)) {
        print_message("skipped: no golden files (set MERIDIAN_SHARED)\n");
        skip();
    }
    assert_int_equal(st_open(&f, path), 0);
    for (int64_t i = 0; i < st_count(f); i++) {
        const struct st_tensor *t = st_at(f, i);
        const char *bar = strstr(t->name, "|decoded_");
        struct image im;
        if (!bar)
            continue;
        snprintf(path, sizeof(path), "%s/images/%.*s", folder, (int)(bar - t->name), t->name);
        if (image_read_rgb(&im, path) < 0)
            fail_msg("%s", err_text());
        assert_int_equal(im.height, t->shape[0]);
        assert_int_equal(im.width, t->shape[1]);
        int bound = strstr(path, ".jpg") ? 3 : 0, n = im.width * im.height * 3;
        for (int k = 0; k < n; k++) {
            int want = t->dtype == DT_U8 ? ((const uint8_t *)t->data)[k] : ((const int32_t *)t->data)[k / 3] >> 8;
            unequal += want != im.pixels[k];
            if (abs(want - im.pixels[k]) > bound)
                fail_msg("%s: byte %d is %d, expected %d", path, k, im.pixels[k], want);
        }
        image_free(&im);
        files++;
    }
    st_close(&f);
    print_message("%d golden pictures, %ld bytes not equal\n", files, unequal);
    assert_int_equal(files, 19);
}

static void png_round_trip(void **state UNUSED)
{
    for (int channels = 1; channels <= 4; channels++) {
        struct image im = sample(37, 23, channels), back;
        assert_int_equal(image_write_png(in_scratch("p.png"), &im), 0);
        assert_int_equal(image_read_rgb(&back, in_scratch("p.png")), 0);
        assert_int_equal(back.width, 37);
        assert_int_equal(back.height, 23);
        assert_int_equal(back.channels, 3);
        for (int i = 0; i < 37 * 23; i++)
            for (int b = 0; b < 3; b++) /* gray repeated, alpha dropped */
                assert_int_equal(back.pixels[i * 3 + b], im.pixels[i * channels + (channels < 3 ? 0 : b)]);
        image_free(&back);
        image_free(&im);
        image_free(&im);
    }
    struct image im = sample(8, 8, 3), back;
    assert_int_equal(image_write_png("/dev/full", &im), ERR_SPACE);
    memset(im.pixels, 90, 8 * 8 * 3);
    struct str jpeg = {0};
    assert_int_equal(image_encode_jpeg(&jpeg, &im, 90), 0);
    assert_int_equal(image_read_rgb_memory(&back, jpeg.s, jpeg.n, "memory"), 0);
    for (int i = 0; i < 8 * 8 * 3; i++)
        assert_in_range(back.pixels[i], 88, 92);
    str_free(&jpeg);
    image_free(&back);
    image_free(&im);
}

static void thumbnails(void **state UNUSED)
{
    static const int sizes[][4] = {
        {300, 100, 64, 21}, {20, 10, 20, 10}, {5000, 2, 64, 1}, {64, 64, 64, 64}, {100, 600, 11, 64}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct image im = sample(sizes[i][0], sizes[i][1], 3), small;
        assert_int_equal(image_write_png(in_scratch("th.png"), &im), 0);
        if (image_thumbnail(&small, in_scratch("th.png"), 64) < 0)
            fail_msg("%s", err_text());
        assert_int_equal(small.width, sizes[i][2]);
        assert_int_equal(small.height, sizes[i][3]);
        assert_int_equal(small.channels, 3);
        image_free(&small);
        image_free(&im);
    }
    struct image im = sample(1000, 800, 3), small; /* a JPEG large enough to be shrunk while decoding */
    memset(im.pixels, 200, 1000 * 800 * 3);
    struct str jpeg = {0};
    assert_int_equal(image_encode_jpeg(&jpeg, &im, 80), 0);
    assert_int_equal(image_thumbnail(&small, put_file("th.jpg", jpeg.s, jpeg.n), 50), 0);
    assert_int_equal(small.width, 50);
    assert_int_equal(small.height, 40);
    assert_in_range(small.pixels[3 * 50 * 20 + 3 * 25], 198, 202);
    image_free(&small);
    image_free(&im);
    str_free(&jpeg);
    assert_int_equal(image_thumbnail(&small, in_scratch("th.png"), 0), ERR_USAGE);
}

static void refuse(const char *name, const void *bytes, size_t n, const char *says)
{
    struct image im = {0};
    int rc = image_read_rgb(&im, put_file(name, bytes, n));
    if (rc != ERR_DATA)
        fail_msg("%s: got %d, expected ERR_DATA", name, rc);
    assert_null(im.pixels);
    assert_says(name);
    assert_says(says);
}

static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void put_u32be(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void broken(void **state UNUSED)
{
    struct image im = sample(64, 64, 3);
    struct str png = {0}, jpeg = {0}, scans = {0};
    assert_int_equal(image_encode_png(&png, &im), 0);
    assert_int_equal(image_encode_jpeg(&jpeg, &im, 75), 0);
    image_free(&im);
    refuse("empty.png", "", 0, "empty file");
    refuse("text.png", "hello, I am a picture", 21, "expected a JPEG, PNG, WebP, GIF");
    refuse("p.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>", 62, "expected a JPEG");
    refuse("p.pdf", "%PDF-1.4\n", 9, "expected a JPEG");
    for (size_t n = 0; n + 12 < png.n; n += n < 64 ? 1 : 997) /* without its last, empty chunk a PNG is whole */
        refuse("cut.png", png.s, n, "");
    for (size_t n = 0; n + 2 < jpeg.n; n += n < 700 ? 13 : 401)
        refuse("cut.jpg", jpeg.s, n, "");
    uint8_t *b = (uint8_t *)png.s;
    put_u32be(b + 16, 65536); /* width; limits are seen before anything is decoded */
    put_u32be(b + 29, crc(b + 12, 17));
    refuse("wide.png", png.s, png.n, "limit side");
    put_u32be(b + 16, 65535);
    put_u32be(b + 20, 65535);
    put_u32be(b + 29, crc(b + 12, 17));
    refuse("bomb.png", png.s, png.n, "limit pixels");
    put_u32be(b + 16, 64);
    put_u32be(b + 20, 64);
    put_u32be(b + 29, crc(b + 12, 17));
    b[200] ^= 0x55; /* inside the compressed data: its checksum tells */
    refuse("flip.png", png.s, png.n, "");
    str_add_n(&scans, jpeg.s, jpeg.n - 2);
    for (int i = 0; i < 600; i++)
        str_add_n(&scans, "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00", 10);
    refuse("scans.jpg", scans.s, scans.n, "601 scans, expected at most 500");
    refuse("gif.gif", "GIF89a\xff\xff\xff\xff\x00\x00\x00", 13, "");
    refuse("webp.webp", "RIFF\x20\x00\x00\x00WEBPVP8 \x10\x00\x00\x00", 20, "");
    struct image out;
    assert_int_equal(image_read_rgb(&out, in_scratch("absent.png")), ERR_DATA);
    assert_says("absent.png");
    assert_int_equal(image_read_rgb(&out, scratch), ERR_DATA);
    str_free(&png);
    str_free(&jpeg);
    str_free(&scans);
}

/* Any flipped bit: an answer or an error, never more than that. */
static void flips(void **state UNUSED)
{
    struct image im = sample(16, 16, 3), out;
    struct str bytes[2] = {{0}, {0}};
    assert_int_equal(image_encode_png(&bytes[0], &im), 0);
    assert_int_equal(image_encode_jpeg(&bytes[1], &im, 75), 0);
    struct rng r = rng_stream(1, RNG_TEST, 0, 1);
    for (int k = 0; k < 600; k++) {
        struct str *s = &bytes[k % 2];
        size_t at = (size_t)rng_below(&r, s->n);
        char bit = (char)(1 << rng_below(&r, 8));
        s->s[at] ^= bit;
        int rc = image_read_rgb_memory(&out, s->s, s->n, "flip");
        if (rc == 0)
            image_free(&out);
        else
            assert_int_equal(rc, ERR_DATA);
        s->s[at] ^= bit;
    }
    str_free(&bytes[0]);
    str_free(&bytes[1]);
    image_free(&im);
}

static void no_memory(void **state UNUSED)
{
    struct image im = sample(16, 16, 3), out = {0};
    assert_int_equal(image_write_png(in_scratch("m.png"), &im), 0);
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = image_read_rgb(&out, in_scratch("m.png"));
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_null(out.pixels);
    }
    assert_memory_equal(out.pixels, im.pixels, 16 * 16 * 3);
    image_free(&out);
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = image_write_png(in_scratch("o.png"), &im);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_false(path_exists(in_scratch("o.png")));
    }
    image_free(&im);
}

static void *read_many(void *arg)
{
    intptr_t bad = 0;
    for (int i = 0; i < 20; i++) {
        struct image im;
        int rc = image_read_rgb(&im, arg);
        bad += rc < 0;
        if (rc == 0)
            image_free(&im);
    }
    return (void *)bad;
}

static void threads(void **state UNUSED)
{
    struct image im = sample(50, 40, 3);
    pthread_t t[4];
    assert_int_equal(image_write_png(in_scratch("t.png"), &im), 0);
    char path[512];
    snprintf(path, sizeof(path), "%s", in_scratch("t.png"));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, read_many, path), 0);
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    image_free(&im);
}

/* An uncompressed little-endian TIFF of `bits` a sample: header, 8 entries, data. */
static void put_tiff(struct str *out, const struct image *im, int orientation)
{
    uint32_t n = (uint32_t)(im->width * im->height * im->channels), data = 8 + 2 + 9 * 12 + 4;
    const uint32_t tags[9][3] = {{256, 1, (uint32_t)im->width},
                                 {257, 1, (uint32_t)im->height},
                                 {258, 1, 8},
                                 {262, 1, im->channels == 3 ? 2 : 1},
                                 {273, 1, data},
                                 {274, 1, (uint32_t)orientation},
                                 {277, 1, (uint32_t)im->channels},
                                 {278, 1, (uint32_t)im->height},
                                 {279, 1, n}};
    str_add_n(out, "II*\0\10\0\0\0\11\0", 10);
    for (int i = 0; i < 9; i++) {
        uint8_t e[12] = {(uint8_t)tags[i][0], (uint8_t)(tags[i][0] >> 8), 4, 0, 1};
        for (int k = 0; k < 4; k++)
            e[8 + k] = (uint8_t)(tags[i][2] >> 8 * k);
        str_add_n(out, (char *)e, 12);
    }
    str_add_n(out, "\0\0\0\0", 4);
    str_add_n(out, (char *)im->pixels, n);
}

/* TIFF and PPM, decoded by the confined process. */
static void confined(void **state UNUSED)
{
    struct image im = sample(31, 17, 3), out;
    struct str tiff = {0}, ppm = {0};
    put_tiff(&tiff, &im, 1);
    if (image_read_memory(&out, tiff.s, tiff.n, "t.tif") < 0)
        fail_msg("%s", err_text());
    assert_int_equal(out.width, 31);
    assert_int_equal(out.mode, IMAGE_PLAIN);
    assert_memory_equal(out.pixels, im.pixels, 31 * 17 * 3);
    image_free(&out);
    str_add(&ppm, "P6\n# a comment\n31 17\n255\n");
    str_add_n(&ppm, (char *)im.pixels, 31 * 17 * 3);
    assert_int_equal(image_read(&out, put_file("p.ppm", ppm.s, ppm.n)), 0);
    assert_memory_equal(out.pixels, im.pixels, 31 * 17 * 3);
    image_free(&out);
    assert_int_equal(image_thumbnail(&out, in_scratch("p.ppm"), 10), 0);
    assert_int_equal(out.width, 10);
    image_free(&out);
    for (size_t n = 2; n < tiff.n; n += n < 140 ? 31 : 501)
        refuse("cut.tif", tiff.s, n, "");
    for (size_t n = 12; n < ppm.n; n += 400)
        refuse("cut.ppm", ppm.s, n, "");
    struct rng r = rng_stream(2, RNG_TEST, 0, 0);
    for (int k = 0; k < 12; k++) {
        size_t at = (size_t)rng_below(&r, 120);
        tiff.s[at] = (char)(tiff.s[at] ^ 1 << rng_below(&r, 8));
        int rc = image_read_memory(&out, tiff.s, tiff.n, "flip.tif");
        if (rc == 0)
            image_free(&out);
        else
            assert_true(rc == ERR_DATA || rc == ERR_UNSUPPORTED);
    }
    str_free(&tiff);
    str_free(&ppm);
    image_free(&im);
}

static void fake_worker(const char *script, const char *says)
{
    struct image out = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s", put_file("fake/meridian-decode", script, strlen(script)));
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(image_read_memory(&out, "II*\0\0\0\0\0", 8, "any.tif"), ERR_DATA);
    assert_says("any.tif");
    assert_says(says);
    assert_null(out.pixels);
}

/* What a terminal or a batch system sends to all is for the program: a picture must not look broken by it. */
static void signals_blocked(void)
{
    char script[700], mask[512];
    snprintf(mask, sizeof(mask), "%s", in_scratch("mask"));
    snprintf(script, sizeof(script),
             "#!/usr/bin/awk -f\n"
             "BEGIN { while ((getline l < \"/proc/self/status\") > 0) if (l ~ /^SigBlk/) print l > \"%s\" }\n",
             mask);
    fake_worker(script, "ended early");
    size_t n = 0;
    char *line = get_file(mask, &n);
    assert_true(n > 8 && str_starts(line, "SigBlk:"));
    unsigned long long bits = strtoull(line + 7, NULL, 16);
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        assert_true(bits >> (ours[i] - 1) & 1);
    assert_false(bits >> (SIGXCPU - 1) & 1);
    free(line);
}

/* A worker that dies, talks nonsense, or is not there costs one picture and says so. */
static void worker_faults(void **state UNUSED)
{
    struct image out;
    const char *before = getenv("MERIDIAN_MODULES");
    char kept[1024];
    snprintf(kept, sizeof(kept), "%s", before ? before : "");
    assert_int_equal(path_make_dirs(in_scratch("fake")), 0);
    put_file("fake/meridian_pictures.so", "", 0); /* only looked for, not loaded: libraries are loaded once */
    setenv("MERIDIAN_MODULES", in_scratch("fake"), 1);
    assert_int_equal(image_read_memory(&out, "II*\0\0\0\0\0", 8, "any.tif"), ERR_FAIL);
    assert_says("cannot be started");
    fake_worker("#!/bin/sh\nkill -SEGV $$\n", "crashed on it");
    fake_worker("#!/bin/sh\nkill -KILL $$\n", "more than its 10 s");
    fake_worker("#!/bin/sh\ncat >/dev/null\n", "ended early");
    fake_worker("#!/bin/sh\ncat >/dev/null\nprintf 'a picture of forty bytes, or so it seems' >&0\n",
                "no sensible answer");
    signals_blocked();
    setenv("MERIDIAN_MODULES", in_scratch("nowhere"), 1);
    assert_int_equal(image_read_memory(&out, "P6\n1 1\n255\nabc", 14, "any.ppm"), ERR_FAIL);
    assert_says("meridian-decode was not found");
    if (before)
        setenv("MERIDIAN_MODULES", kept, 1);
    else
        unsetenv("MERIDIAN_MODULES");
}

/* A blank picture may be large and its file small, but not without bound. */
static void pixels_per_byte(void **state UNUSED)
{
    struct image im = {2000, 1000, 1, NULL}, out = {0};
    im.pixels = mem_calloc(2000, 1000);
    assert_int_equal(image_write_png(in_scratch("blank.png"), &im), 0);
    image_free(&im);
    assert_int_equal(image_read(&out, in_scratch("blank.png")), 0);
    image_free(&out);
    assert_int_equal(limit_set("pixels-per-byte", 50), 0);
    assert_int_equal(image_read(&out, in_scratch("blank.png")), ERR_DATA);
    assert_says("limit pixels-per-byte");
    assert_int_equal(limit_set("pixels-per-byte", 5000), 0);
}

/* A GIF of one see-through pixel: its colour stays; any cut or flipped bit is an answer or an error. */
static void gif_header(void **state UNUSED)
{
    static const char gif[] = "GIF89a\1\0\1\0\x80\0\0\x0b\x16\x21\0\0\0!\xf9\4\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;";
    struct image out = {0};
    uint8_t bytes[sizeof(gif) - 1];
    assert_int_equal(image_read_memory(&out, gif, sizeof(bytes), "one.gif"), 0);
    assert_int_equal(out.mode, IMAGE_INDEXED);
    assert_memory_equal(out.pixels, "\x0b\x16\x21", 3);
    image_free(&out);
    for (size_t n = 0; n + 4 < sizeof(bytes); n++)
        refuse("cut.gif", gif, n, "");
    for (size_t bit = 6 * 8; bit < sizeof(bytes) * 8; bit++) {
        memcpy(bytes, gif, sizeof(bytes));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = image_read_memory(&out, bytes, sizeof(bytes), "flip.gif");
        if (rc == 0)
            image_free(&out);
        else
            assert_true(rc == ERR_DATA || rc == ERR_UNSUPPORTED);
    }
}

/* EXIF's eight orientations of the picture ab / cd / ef, as they must be shown. */
static void turning(void **state UNUSED)
{
    static const char *const want[9] = {"abcdef", "abcdef", "badcfe", "fedcba", "efcdab",
                                        "acebdf", "ecafdb", "fdbeca", "bdface"};
    for (int o = 0; o <= 8; o++) {
        struct image im = {2, 3, 1, mem_alloc(6), IMAGE_PLAIN, o};
        memcpy(im.pixels, "abcdef", 6);
        assert_int_equal(image_turn(&im), 0);
        assert_int_equal(im.width, o >= 5 ? 3 : 2);
        assert_int_equal(im.height, o >= 5 ? 2 : 3);
        assert_int_equal(im.orientation, 0);
        assert_memory_equal(im.pixels, want[o], 6);
        image_free(&im);
    }
}

/* One pixel of each mode to RGB. */
static void to_rgb(void **state UNUSED)
{
    static const struct {
        enum image_mode mode;
        int channels;
        enum image_gray16 how;
        uint8_t from[4], to[3];
    } cases[] = {{IMAGE_PLAIN, 1, GRAY16_CLIP, {9}, {9, 9, 9}},
                 {IMAGE_PLAIN, 2, GRAY16_CLIP, {9, 100}, {9, 9, 9}},
                 {IMAGE_PLAIN, 4, GRAY16_CLIP, {1, 2, 3, 0}, {1, 2, 3}},
                 {IMAGE_INDEXED, 3, GRAY16_CLIP, {1, 2, 3}, {1, 2, 3}},
                 {IMAGE_CMYK, 4, GRAY16_CLIP, {0, 255, 128, 0}, {255, 0, 127}},
                 {IMAGE_CMYK, 4, GRAY16_CLIP, {0, 255, 128, 55}, {200, 0, 100}},
                 {IMAGE_GRAY16, 2, GRAY16_CLIP, {17, 0}, {17, 17, 17}},
                 {IMAGE_GRAY16, 2, GRAY16_CLIP, {17, 3}, {255, 255, 255}},
                 {IMAGE_GRAY16, 2, GRAY16_HIGH_BYTE, {17, 3}, {3, 3, 3}}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct image im = {3, 1, cases[i].channels, mem_alloc(12), cases[i].mode, 0};
        for (int x = 0; x < 3; x++)
            memcpy(im.pixels + x * im.channels, cases[i].from, (size_t)im.channels);
        assert_int_equal(image_to_rgb(&im, cases[i].how), 0);
        assert_int_equal(im.channels, 3);
        for (int x = 0; x < 3; x++)
            assert_memory_equal(im.pixels + x * 3, cases[i].to, 3);
        image_free(&im);
    }
}

static void emoji(void **state UNUSED)
{
    static const struct {
        const char *utf8;
        bool drawn;
    } cases[] = {
        {"\xf0\x9f\x8d\x8e", true},                                             /* red apple */
        {"\xf0\x9f\x91\xa9\xf0\x9f\x8f\xbd\xe2\x80\x8d\xf0\x9f\x9a\x80", true}, /* astronaut, medium skin */
        {"\xe2\x9d\xa4\xef\xb8\x8f", true},                                     /* red heart, with selector */
        {"1\xef\xb8\x8f\xe2\x83\xa3", true},                                    /* keycap */
        {"\xf0\x9f\x87\xaf\xf0\x9f\x87\xb5", true},                             /* flag of Japan */
        {"\xf0\x9f\x8d\x8e\xf0\x9f\x8d\x8e", false},                            /* two apples */
        {"\xf0\x9f\x8d\x8e\xe2\x80\x8d\xf0\x9f\x9a\x80", false},                /* apple joined with rocket */
        {"\xf0\x9f\x8d\x8e\xf0\x9f\x8f\xbd", false},                            /* apple with a skin tone */
        {"a", false},
        {"<b>", false},
        {"\xe4\xb8\xad", false},
        {"\xf3\xb0\x80\x80", false}, /* private use */
    };
    char font[128];
    if (image_emoji_font(font, sizeof(font)) < 0) {
        assert_says("apt-get install fonts-noto-color-emoji");
        print_message("skipped: the emoji font is not installed\n");
        skip();
    }
    assert_non_null(strstr(font, "Noto Color Emoji "));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct image im = {0};
        bool drawn = !cases[i].drawn;
        if (image_draw_emoji(&im, cases[i].utf8, 48, 0.1, &drawn) < 0)
            fail_msg("%s", err_text());
        if (drawn != cases[i].drawn)
            fail_msg("case %zu: drawn is %d", i, drawn);
        assert_int_equal(im.pixels != NULL, drawn);
        if (!drawn)
            continue;
        assert_int_equal(im.width, 48);
        assert_int_equal(im.height, 48);
        assert_int_equal(im.channels, 4);
        int ink = 0, outside = 0;
        for (int y = 0; y < 48; y++)
            for (int x = 0; x < 48; x++) {
                int a = im.pixels[(y * 48 + x) * 4 + 3];
                ink += a == 255;
                outside += a > 0 && (x < 4 || y < 4 || x > 43 || y > 43);
            }
        assert_in_range(ink, 300, 48 * 48);
        assert_int_equal(outside, 0);
        image_free(&im);
    }
    struct image im = {0};
    bool drawn = false;
    assert_int_equal(image_draw_emoji(&im, cases[0].utf8, 64, 0, &drawn), 0);
    int whiter = 0; /* straight alpha: colour does not fade with coverage */
    for (int i = 0; i < 64 * 64; i++)
        whiter += im.pixels[i * 4 + 3] > 20 && im.pixels[i * 4 + 3] < 200 && im.pixels[i * 4] > im.pixels[i * 4 + 3];
    assert_true(whiter > 20);
    image_free(&im);
    assert_int_equal(image_draw_emoji(&im, "\xff", 48, 0, &drawn), ERR_DATA);
    assert_int_equal(image_draw_emoji(&im, "", 48, 0, &drawn), ERR_DATA);
    assert_int_equal(image_draw_emoji(&im, "a", 0, 0, &drawn), ERR_USAGE);
    assert_int_equal(image_draw_emoji(&im, "a", 48, 0.5, &drawn), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),        cmocka_unit_test(png_round_trip),  cmocka_unit_test(thumbnails),
        cmocka_unit_test(broken),        cmocka_unit_test(flips),           cmocka_unit_test(no_memory),
        cmocka_unit_test(threads),       cmocka_unit_test(emoji),           cmocka_unit_test(confined),
        cmocka_unit_test(worker_faults), cmocka_unit_test(pixels_per_byte), cmocka_unit_test(gif_header),
        cmocka_unit_test(turning),       cmocka_unit_test(to_rgb),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
