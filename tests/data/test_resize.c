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

/* The floats of a picture back as levels: no normalisation, no scale. */
static struct preprocess levels_of(int size, enum picture_path path)
{
    struct preprocess p;
    preprocess_clip(&p, size);
    p.path = path;
    p.normalize = false;
    p.rescale = 1;
    return p;
}

/* Bytes of a file's result that are not those of `kind`; the kind a golden file leaves out is that of `same`. */
static int unequal(const struct golden_set *g, const char *name, const struct preprocess *p, const char *kind,
                   const char *same)
{
    const struct st_tensor *t = value(g, name, kind) ? value(g, name, kind) : value(g, name, same);
    float *got = malloc(3 * 48 * 48 * sizeof *got);
    char path[300];
    int n = 0;
    assert_non_null(t);
    snprintf(path, sizeof path, "preprocess_clip/images/%s", name);
    must(preprocess_file(p, golden(path), got));
    for (int i = 0; i < 48 * 48; i++)
        for (int k = 0; k < 3; k++)
            n += (int)got[k * 48 * 48 + i] != ((const uint8_t *)t->data)[i * 3 + k];
    free(got);
    return n;
}

/* Every kind of result on every file, from the file's bytes. */
static void files_through_both_paths(void **state UNUSED)
{
    struct golden_set g;
    const char *name;
    json_t *c;
    int files = 0, bytes = 0;
    struct preprocess openai = levels_of(48, PICTURE_OPENAI), hf = levels_of(48, PICTURE_HF), high = openai,
                      exif = openai, first = hf, square = hf, open_clip;
    high.gray16 = GRAY16_HIGH_BYTE;
    exif.exif = true;
    square.gray16 = GRAY16_HIGH_BYTE; /* as its maker chose */
    square.resize_shortest = 0;
    square.resize_width = square.resize_height = 48;
    must(preprocess_read_open_clip(&open_clip, NULL, 48, "test"));
    open_clip.normalize = false;
    open_clip.rescale = 1;
    golden_open(&g, "preprocess_clip/expected.safetensors");
    json_object_foreach(json_object_get(g.cases, "images"), name, c)
    {
        if (str_starts(name, "photos/"))
            continue;
        bytes += unequal(&g, name, &openai, "openai", "openai");
        bytes += unequal(&g, name, &open_clip, "openai", "openai");
        bytes += unequal(&g, name, &exif, "exif_applied", "openai");
        bytes += unequal(&g, name, &square, "blip_square", "blip_square");
        if (number(c, "crop_top") == number(c, "crop_top_floor") &&
            number(c, "crop_left") == number(c, "crop_left_floor"))
            bytes += unequal(&g, name, &first, "rgb_first", "openai");
        else
            bytes += unequal(&g, name, &first, "rgb_first_floor_crop", "rgb_first_floor_crop");
        bytes += unequal(&g, name, &high, "high_byte_rgb_first", "openai");
        if (bytes)
            fail_msg("%s: %d bytes differ", name, bytes);
        files++;
    }
    print_message("%d golden pictures, 6 results each, %d bytes not equal\n", files, bytes);
    assert_int_equal(files, 19);
    golden_close(&g);
}

/* The final floats of the two files that have them. */
static void tensors_are_torchvisions(void **state UNUSED)
{
    struct golden_set g;
    const char *name;
    json_t *c;
    struct preprocess p;
    float got[3 * 48 * 48];
    int n = 0;
    preprocess_clip(&p, 48);
    p.path = PICTURE_OPENAI;
    golden_open(&g, "preprocess_clip/expected.safetensors");
    json_object_foreach(json_object_get(g.cases, "images"), name, c)
    {
        const struct st_tensor *want = value(&g, name, "tensor");
        char path[300];
        if (!want)
            continue;
        snprintf(path, sizeof path, "preprocess_clip/images/%s", name);
        must(preprocess_file(&p, golden(path), got));
        assert_memory_equal(got, want->data, sizeof got);
        n++;
    }
    assert_int_equal(n, 2);
    golden_close(&g);
}

/* A picture in memory, in one call or by its rows, is the same picture. */
static void memory_is_file(void **state UNUSED)
{
    static const char *const files[] = {"png_rgba.png", "png_palette.png", "jpeg_cmyk.jpg", "png_gray16.png",
                                        "jpeg_exif_rotated.jpg"};
    float a[3 * 48 * 48], b[3 * 48 * 48];
    for (size_t i = 0; i < ARRAY_LEN(files) * 4; i++) {
        char path[300];
        struct image im;
        struct map m;
        struct preprocess p = levels_of(48, i % 2 ? PICTURE_OPENAI : PICTURE_HF);
        p.exif = i / 2 % 2 != 0;
        snprintf(path, sizeof path, "preprocess_clip/images/%s", files[i / 4]);
        must(image_read(&im, golden(path)));
        must(preprocess_apply(&p, &im, a));
        must(preprocess_file(&p, golden(path), b));
        assert_memory_equal(a, b, sizeof a);
        must(map_open(&m, golden(path)));
        must(preprocess_memory(&p, m.data, m.size, path, b));
        assert_memory_equal(a, b, sizeof a);
        map_close(&m);
        image_free(&im);
    }
}

/* What is decoded, JPEG included. */
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
        int worst = 0;
        for (int i = 0; i < in.width * in.height * 3; i++)
            worst = abs(in.pixels[i] - want.pixels[i]) > worst ? abs(in.pixels[i] - want.pixels[i]) : worst;
        if (worst > 0)
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
        int size = (int)want->shape[0], bytes = 0;
        struct preprocess p = levels_of(size, PICTURE_OPENAI);
        float *got = malloc(3 * (size_t)size * (size_t)size * sizeof *got);
        snprintf(path, sizeof path, "preprocess_clip/%s", name);
        must(preprocess_file(&p, golden(path), got));
        for (int i = 0; i < size * size; i++)
            for (int k = 0; k < 3; k++)
                bytes += (int)got[k * size * size + i] != ((const uint8_t *)want->data)[i * 3 + k];
        if (bytes)
            fail_msg("%s: %d bytes differ", name, bytes);
        free(got);
        n++;
    }
    assert_int_equal(n, 7);
    golden_close(&g);
}

/* Tensors that other people computed from seven photographs: names.txt, tensors_f32.npy [7, 3, 224, 224]. */
static void published_tensors(void **state UNUSED)
{
    const char *dir = golden("../data/preprocess_encode_oracle_openai_b32");
    char path[1200], text[1000] = "";
    struct npy want;
    struct preprocess p;
    size_t each = 3 * 224 * 224;
    float *got = malloc(each * sizeof *got), worst = 0;
    preprocess_clip(&p, 224);
    p.path = PICTURE_OPENAI;
    snprintf(path, sizeof path, "%s/tensors_f32.npy", dir);
    must(npy_open(&want, path));
    snprintf(path, sizeof path, "%s/names.txt", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    int n = 0;
    for (char *name = strtok(text, "\n"); name; name = strtok(NULL, "\n"), n++) {
        char *slash = strrchr(name, '/');
        snprintf(path, sizeof path, "%s/%s.jpg", dir, slash ? slash + 1 : name);
        must(preprocess_file(&p, path, got));
        for (size_t i = 0; i < each; i++) {
            float d = fabsf(got[i] - ((const float *)want.data)[(size_t)n * each + i]);
            worst = d > worst ? d : worst;
        }
    }
    print_message("%d photographs, largest difference %g\n", n, (double)worst);
    assert_int_equal(n, 7);
    assert_true(worst <= 3e-7f);
    npy_close(&want);
    free(got);
}

static void other_filters(void **state UNUSED)
{
    uint8_t px[12 * 9 * 2];
    struct image in = {12, 9, 2, px}, out;
    for (int i = 0; i < 12 * 9; i++) {
        px[i * 2] = 77;
        px[i * 2 + 1] = (uint8_t)(i * 2);
    }
    for (int f = RESAMPLE_NEAREST; f <= RESAMPLE_HAMMING; f++) {
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
    assert_int_equal(resize_u8(&out, &in, 5, 5, (enum resample)6), ERR_UNSUPPORTED);
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
               {"{\"size\": 32, \"crop_size\": 32, \"resample\": 6}", "resample"},
               {"{\"size\": {\"shortest_edge\": 9}, \"do_center_crop\": false}", "crop_size"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_text("pre/preprocessor_config.json", bad[i].text);
        assert_true(preprocess_read(&q, in_scratch("pre")) < 0);
        assert_says(bad[i].says);
        assert_says("preprocessor_config.json");
    }
}

/* Each class has defaults of its own; a class that we do not know is refused by name. */
static void processor_classes(void **state UNUSED)
{
    static const struct {
        const char *text;
        int shortest, width, crop;
        enum resample filter;
        float mean;
    } good[] = {
        {"{\"image_processor_type\": \"CLIPImageProcessor\"}", 224, 0, 224, RESAMPLE_BICUBIC, 0.48145466f},
        {"{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"size\": 336, \"crop_size\": {\"height\": 336, "
         "\"width\": 336}}",
         336, 0, 336, RESAMPLE_BICUBIC, 0.48145466f},
        {"{\"image_processor_type\": \"BlipImageProcessor\", \"do_convert_rgb\": true}", 0, 384, 384, RESAMPLE_BICUBIC,
         0.48145466f},
        {"{\"image_processor_type\": \"SiglipImageProcessor\", \"size\": {\"height\": 256, \"width\": 256}}", 0, 256,
         256, RESAMPLE_BICUBIC, 0.5f},
        {"{\"image_processor_type\": \"SiglipImageProcessorFast\", \"resample\": 2}", 0, 224, 224, RESAMPLE_BILINEAR,
         0.5f},
        {"{\"feature_extractor_type\": \"ViTFeatureExtractor\", \"size\": 192}", 0, 192, 192, RESAMPLE_BILINEAR, 0.5f},
    };
    struct preprocess p;
    put_text("kinds/x", "");
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        put_text("kinds/preprocessor_config.json", good[i].text);
        must(preprocess_read(&p, in_scratch("kinds")));
        assert_int_equal(p.path, PICTURE_HF);
        assert_int_equal(p.resize_shortest, good[i].shortest);
        assert_int_equal(p.resize_width, good[i].width);
        assert_int_equal(p.resize_height, good[i].width);
        assert_int_equal(p.crop_width, good[i].crop);
        assert_int_equal(p.filter, good[i].filter);
        assert_true(p.mean[0] == good[i].mean);
    }
    put_text("kinds/preprocessor_config.json", "{\"image_processor_type\": \"Siglip2ImageProcessor\"}");
    assert_int_equal(preprocess_read(&p, in_scratch("kinds")), ERR_UNSUPPORTED);
    assert_says("Siglip2ImageProcessor");
    assert_says("BlipImageProcessor");
    put_text("kinds/preprocessor_config.json", "{\"meridian\": {\"variant\": \"opena\"}}");
    assert_int_equal(preprocess_read(&p, in_scratch("kinds")), ERR_UNSUPPORTED);
    assert_says("\"hf\", \"openai\"");
}

/* What a model's folder says is still said after it was read and written, unknown fields included. */
static void config_survives(void **state UNUSED)
{
    struct preprocess p, q;
    char a[65], b[65];
    put_text("keep/preprocessor_config.json",
             "{\"image_processor_type\": \"BlipImageProcessor\", \"size\": {\"height\": 20, \"width\": 30}, "
             "\"processor_class\": \"BlipProcessor\", \"size_divisor\": [1, {\"x\": null}]}");
    must(preprocess_read(&p, in_scratch("keep")));
    preprocess_fingerprint(&p, a);
    p.path = PICTURE_OPENAI;
    p.gray16 = GRAY16_HIGH_BYTE;
    p.exif = true;
    preprocess_fingerprint(&p, b);
    assert_string_not_equal(a, b);
    must(preprocess_write(&p, in_scratch("keep")));
    must(preprocess_read(&q, in_scratch("keep")));
    assert_int_equal(q.path, PICTURE_OPENAI);
    assert_int_equal(q.gray16, GRAY16_HIGH_BYTE);
    assert_true(q.exif);
    preprocess_fingerprint(&q, a);
    assert_string_equal(a, b);
    json_t *o = NULL;
    must(json_read_file(&o, in_scratch("keep/preprocessor_config.json")));
    assert_string_equal(json_string_value(json_object_get(o, "processor_class")), "BlipProcessor");
    assert_string_equal(json_string_value(json_object_get(o, "image_processor_type")), "BlipImageProcessor");
    assert_int_equal(json_array_size(json_object_get(o, "size_divisor")), 2);
    json_decref(o);
}

static json_t *parse(const char *text)
{
    json_t *o = NULL;
    must(json_read_text(&o, text, strlen(text), "test"));
    return o;
}

static void open_clip_config(void **state UNUSED)
{
    static const char *const texts[] = {
        "{\"size\": 224, \"mode\": \"RGB\", \"interpolation\": \"bicubic\", \"resize_mode\": \"shortest\"}",
        "{\"size\": [256, 192], \"mean\": [0.5, 0.5, 0.5], \"std\": [0.5, 0.5, 0.5], \"resize_mode\": \"squash\"}",
        "{\"size\": 96, \"interpolation\": \"bilinear\", \"resize_mode\": \"longest\", \"fill_color\": 77}",
        "{\"size\": [64, 128], \"interpolation\": \"random\"}"};
    static const char *const bad[][2] = {{"{\"size\": 0}", "size"},
                                         {"{\"resize_mode\": \"crop\"}", "squash"},
                                         {"{\"interpolation\": \"nearest\"}", "bilinear"},
                                         {"{\"mode\": \"L\"}", "RGB"},
                                         {"{\"fill_color\": 300}", "fill_color"},
                                         {"[]", "object"}};
    struct preprocess p, q;
    char a[65], b[65];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_t *o = parse(texts[i]), *back;
        must(preprocess_read_open_clip(&p, o, 0, "test"));
        assert_int_equal(p.path, PICTURE_OPENAI);
        back = preprocess_to_open_clip(&p);
        assert_non_null(back);
        must(preprocess_read_open_clip(&q, back, 0, "test"));
        preprocess_fingerprint(&p, a);
        preprocess_fingerprint(&q, b);
        assert_string_equal(a, b);
        must(preprocess_write(&p, scratch)); /* and through a HuggingFace folder */
        must(preprocess_read(&q, scratch));
        preprocess_fingerprint(&q, b);
        assert_string_equal(a, b);
        json_decref(back);
        json_decref(o);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *o = parse(bad[i][0]);
        assert_true(preprocess_read_open_clip(&p, o, 32, "test") < 0);
        assert_says(bad[i][1]);
        json_decref(o);
    }
    assert_int_equal(preprocess_read_open_clip(&p, NULL, 0, "test"), ERR_DATA);
    must(preprocess_read_open_clip(&p, NULL, 32, "test"));
    p.gray16 = GRAY16_HIGH_BYTE;
    assert_null(preprocess_to_open_clip(&p));
    assert_says("16 bits");
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
        cmocka_unit_test(resize_is_pillows),
        cmocka_unit_test(files_through_both_paths),
        cmocka_unit_test(tensors_are_torchvisions),
        cmocka_unit_test(memory_is_file),
        cmocka_unit_test(published_tensors),
        cmocka_unit_test(files_to_pixels),
        cmocka_unit_test(photos),
        cmocka_unit_test(other_filters),
        cmocka_unit_test(bad_sizes),
        cmocka_unit_test(config_files),
        cmocka_unit_test(processor_classes),
        cmocka_unit_test(config_survives),
        cmocka_unit_test(open_clip_config),
        cmocka_unit_test(small_pictures_are_padded),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
