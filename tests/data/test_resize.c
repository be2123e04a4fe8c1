/* tests/data/test_resize.c: the resampler and the CLIP transform against Pillow and torchvision (golden
 * preprocess_clip). */
#include "scratch.h"

#include <math.h>

struct golden_set {
    struct st_file *values;
    json_t *cases;
};

static void golden_open(struct golden_set *g, const char *file)
{
    must(json_read_file(&g->cases, golden("preprocess_clip/cases.json")));
    must(st_open(&g->values, golden(file)));
}

static void golden_close(struct golden_set *g)
{
    st_close(&g->values);
    json_decref(g->cases);
}

static const struct st_tensor *value(const struct golden_set *g, const char *image, const char *kind)
{
    char name[200];
    snprintf(name, sizeof name, "%s|%s", image, kind);
    return st_find(g->values, name);
}

static int number(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return (int)json_integer_value(json_object_get(o, key));
}

/* What Pillow decodes; 16-bit grey by its high byte. */
static struct image decoded(const struct golden_set *g, const char *name)
{
    const struct st_tensor *t = value(g, name, "decoded_rgb"), *grey = value(g, name, "decoded_gray16");
    const struct st_tensor *any = t ? t : grey;
    assert_non_null(any);
    struct image im = {(int)any->shape[1], (int)any->shape[0], 3, NULL};
    size_t n = (size_t)im.width * (size_t)im.height;
    im.pixels = mem_alloc(n * 3);
    if (t)
        memcpy(im.pixels, t->data, n * 3);
    for (size_t i = 0; !t && i < n * 3; i++)
        im.pixels[i] = (uint8_t)(((const int32_t *)grey->data)[i / 3] >> 8);
    return im;
}

static const struct st_tensor *rgb_first(const struct golden_set *g, const char *name)
{
    static const char *const kinds[] = {"high_byte_rgb_first", "rgb_first", "openai"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (value(g, name, kinds[i]))
            return value(g, name, kinds[i]);
    fail_msg("%s: no expected value", name);
    return NULL;
}

static void resize_is_pillows(void **state UNUSED)
{
    struct golden_set g;
    const char *name;
    json_t *c;
    int n = 0;
    golden_open(&g, "preprocess_clip/expected.safetensors");
    json_object_foreach(json_object_get(g.cases, "images"), name, c)
    {
        if (str_starts(name, "photos/"))
            continue;
        struct image in = decoded(&g, name), out;
        const uint8_t *want = rgb_first(&g, name)->data;
        int top = number(c, "crop_top"), left = number(c, "crop_left");
        must(resize_u8(&out, &in, number(c, "resized_width"), number(c, "resized_height"), RESAMPLE_BICUBIC));
        for (int y = 0; y < 48; y++)
            assert_memory_equal(out.pixels + ((y + top) * out.width + left) * 3, want + y * 48 * 3, 48 * 3);
        image_free(&out);
        if (value(&g, name, "decoded_rgb")) { /* the square form resizes 16-bit grey by another rule */
            must(resize_u8(&out, &in, 48, 48, RESAMPLE_BICUBIC));
            assert_memory_equal(out.pixels, value(&g, name, "blip_square")->data, 48 * 48 * 3);
            image_free(&out);
        }
        image_free(&in);
        n++;
    }
    assert_int_equal(n, 19);
    golden_close(&g);
}

static void transform_is_huggingfaces(void **state UNUSED)
{
    struct golden_set g;
    const char *name;
    json_t *c;
    struct preprocess p, raw;
    float *got = malloc(3 * 48 * 48 * sizeof *got);
    preprocess_clip(&p, 48);
    raw = p;
    raw.normalize = false;
    raw.rescale = 1;
    golden_open(&g, "preprocess_clip/expected.safetensors");
    json_object_foreach(json_object_get(g.cases, "images"), name, c)
    {
        if (str_starts(name, "photos/"))
            continue;
        struct image in = decoded(&g, name);
        const struct st_tensor *floor_crop = value(&g, name, "rgb_first_floor_crop");
        const uint8_t *want = (floor_crop ? floor_crop : rgb_first(&g, name))->data;
        must(preprocess_apply(&raw, &in, got));
        for (int i = 0; i < 48 * 48; i++)
            for (int k = 0; k < 3; k++)
                assert_int_equal((int)got[k * 48 * 48 + i], want[i * 3 + k]);
        const struct st_tensor *tensor = floor_crop ? NULL : value(&g, name, "tensor");
        must(preprocess_apply(&p, &in, got));
        for (int i = 0; tensor && i < 3 * 48 * 48; i++)
            assert_true(fabsf(got[i] - ((const float *)tensor->data)[i]) <= 1e-6f);
        image_free(&in);
    }
    free(got);
    golden_close(&g);
}

/* From the files: PNG exact, JPEG within what decoders may differ. */
static void files_to_pixels(void **state UNUSED)
{
    struct golden_set g;
    const char *name;
    json_t *c;
    golden_open(&g, "preprocess_clip/expected.safetensors");
    json_object_foreach(json_object_get(g.cases, "images"), name, c)
    {
        if (str_starts(name, "photos/"))
            continue;
        char path[300];
        struct image in, want = decoded(&g, name);
        snprintf(path, sizeof path, "preprocess_clip/images/%s", name);
        must(image_read_rgb(&in, golden(path)));
        assert_int_equal(in.width, want.width);
        assert_int_equal(in.height, want.height);
        int worst = 0, bar = str_ends(name, ".jpg") ? 3 : 0;
        for (int i = 0; i < in.width * in.height * 3; i++)
            worst = abs(in.pixels[i] - want.pixels[i]) > worst ? abs(in.pixels[i] - want.pixels[i]) : worst;
        if (worst > bar)
            fail_msg("%s: differs by %d levels", name, worst);
        image_free(&in);
        image_free(&want);
    }
    golden_close(&g);
}

static void photos(void **state UNUSED)
{
    struct golden_set g;
    const char *name;
    json_t *c;
    int n = 0;
    golden_open(&g, "preprocess_clip/expected_photos.safetensors");
    json_object_foreach(json_object_get(g.cases, "images"), name, c)
    {
        const struct st_tensor *want = str_starts(name, "photos/") ? value(&g, name + 7, "openai") : NULL;
        if (!want)
            continue;
        char path[300];
        struct image in, out;
        int size = (int)want->shape[0], top = number(c, "crop_top"), left = number(c, "crop_left"), worst = 0;
        snprintf(path, sizeof path, "preprocess_clip/%s", name);
        must(image_read_rgb(&in, golden(path)));
        must(resize_u8(&out, &in, number(c, "resized_width"), number(c, "resized_height"), RESAMPLE_BICUBIC));
        for (int y = 0; y < size; y++)
            for (int i = 0; i < size * 3; i++) {
                int d = out.pixels[((y + top) * out.width + left) * 3 + i] -
                        ((const uint8_t *)want->data)[y * size * 3 + i];
                worst = abs(d) > worst ? abs(d) : worst;
            }
        if (worst > 3)
            fail_msg("%s: differs by %d levels", name, worst);
        image_free(&in);
        image_free(&out);
        n++;
    }
    assert_int_equal(n, 7);
    golden_close(&g);
}

static void other_filters(void **state UNUSED)
{
    uint8_t px[12 * 9 * 2];
    struct image in = {12, 9, 2, px}, out;
    for (int i = 0; i < 12 * 9; i++) {
        px[i * 2] = 77;
        px[i * 2 + 1] = (uint8_t)(i * 2);
    }
    for (int f = RESAMPLE_NEAREST; f <= RESAMPLE_BICUBIC; f++) {
        must(resize_u8(&out, &in, 7, 20, (enum resample)f));
        for (int i = 0; i < 7 * 20; i++)
            assert_int_equal(out.pixels[i * 2], 77); /* weights add up to one */
        image_free(&out);
        must(resize_u8(&out, &in, 12, 9, (enum resample)f));
        assert_memory_equal(out.pixels, px, sizeof px);
        image_free(&out);
    }
    must(resize_u8(&out, &in, 6, 3, RESAMPLE_NEAREST)); /* centres: x = 1, 3, ...; y = 1, 4, 7 */
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 6; x++)
            assert_int_equal(out.pixels[(y * 6 + x) * 2 + 1], px[((y * 3 + 1) * 12 + x * 2 + 1) * 2 + 1]);
    image_free(&out);
    uint8_t four[4] = {0, 100, 200, 40};
    struct image line = {4, 1, 1, four};
    must(resize_u8(&out, &line, 2, 1, RESAMPLE_BILINEAR)); /* weights 3 3 1 over 7, and 1 3 3 */
    assert_int_equal(out.pixels[0], 71);
    assert_int_equal(out.pixels[1], 117);
    image_free(&out);
}

static void bad_sizes(void **state UNUSED)
{
    uint8_t px[3] = {0};
    struct image in = {1, 1, 3, px}, out = {0};
    assert_int_equal(resize_u8(&out, &in, 0, 5, RESAMPLE_BICUBIC), ERR_DATA);
    assert_int_equal(resize_u8(&out, &in, 60000, 60000, RESAMPLE_BICUBIC), ERR_DATA);
    assert_says("pixels");
    assert_int_equal(resize_u8(&out, &in, 5, 5, (enum resample)5), ERR_UNSUPPORTED);
    assert_null(out.pixels);
    struct image thin = {1, 1, 3, px};
    thin.height = 1;
    for (int64_t n = 1; n < 9; n++) { /* every request of memory may fail */
        mem_fail_at(n);
        int rc = resize_u8(&out, &thin, 7, 9, RESAMPLE_BICUBIC);
        mem_fail_at(0);
        if (rc == 0)
            image_free(&out);
        else
            assert_int_equal(rc, ERR_MEMORY);
    }
}

static void config_files(void **state UNUSED)
{
    struct preprocess p, q;
    char a[65], b[65];
    put_text("pre/x", "");
    preprocess_clip(&p, 224);
    must(preprocess_write(&p, in_scratch("pre")));
    must(preprocess_read(&q, in_scratch("pre")));
    preprocess_fingerprint(&p, a);
    preprocess_fingerprint(&q, b);
    assert_string_equal(a, b);
    put_text("pre/preprocessor_config.json", "{\"size\": 32, \"crop_size\": 32, \"do_center_crop\": true}");
    must(preprocess_read(&q, in_scratch("pre")));
    assert_int_equal(q.resize_shortest, 32);
    assert_int_equal(q.crop_height, 32);
    put_text("pre/preprocessor_config.json",
             "{\"size\": {\"height\": 20, \"width\": 30}, \"do_center_crop\": false, \"resample\": 2}");
    must(preprocess_read(&q, in_scratch("pre")));
    assert_int_equal(q.crop_height, 20);
    assert_int_equal(q.crop_width, 30);
    preprocess_fingerprint(&q, b);
    assert_string_not_equal(a, b);
    static const struct {
        const char *text, *says;
    } bad[] = {{"[]", "object"},
               {"{\"size\": 0, \"crop_size\": 2}", "size"},
               {"{\"size\": \"big\"}", "size"},
               {"{\"size\": 32, \"crop_size\": 32, \"image_std\": [1, 0, 1]}", "image_std[1]"},
               {"{\"size\": 32, \"crop_size\": 32, \"image_mean\": [1, 0]}", "image_mean"},
               {"{\"size\": 32, \"crop_size\": 32, \"resample\": 5}", "resample"},
               {"{\"size\": {\"shortest_edge\": 9}, \"do_center_crop\": false}", "crop_size"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_text("pre/preprocessor_config.json", bad[i].text);
        assert_true(preprocess_read(&q, in_scratch("pre")) < 0);
        assert_says(bad[i].says);
        assert_says("preprocessor_config.json");
    }
}

/* A picture smaller than the crop is padded with black all round. */
static void small_pictures_are_padded(void **state UNUSED)
{
    struct preprocess p = {.crop_width = 4, .crop_height = 5, .rescale = 1};
    uint8_t px[3 * 3 * 3];
    float out[3 * 5 * 4];
    memset(px, 9, sizeof px);
    struct image in = {3, 3, 3, px};
    must(preprocess_apply(&p, &in, out));
    double sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(out); i++)
        sum += (double)out[i];
    assert_true(sum == 9.0 * sizeof px);
    assert_true(out[0] == 0 && out[19] == 0 && out[4 + 1] == 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_is_pillows), cmocka_unit_test(transform_is_huggingfaces),
        cmocka_unit_test(files_to_pixels),   cmocka_unit_test(photos),
        cmocka_unit_test(other_filters),     cmocka_unit_test(bad_sizes),
        cmocka_unit_test(config_files),      cmocka_unit_test(small_pictures_are_padded),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
