/* tests/data/test_loader.c: batches: what they depend on, what they hold, and what happens to a broken picture. */
#include "scratch.h"

#define N 12

static struct dataset *set;
static struct tokenizer *words;

/* Twelve pictures of their own colour; captions: an own one, one for every three, and "right turn" for the last two. */
static int open_set(void **state)
{
    struct str s = {0};
    char spec[600];
    if (scratch_make(state))
        return -1;
    str_add(&s, "filepath,caption\n");
    for (int i = 0; i < N; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/%d.png", i);
        put_picture(name, 20 + i, 24, (uint8_t)(i * 20), 100, (uint8_t)(250 - i * 20));
        str_add(&s, "%d.png,picture number %c\n%d.png,kind %c\n", i, 'a' + i, i, 'a' + i / 3);
        if (i >= N - 2)
            str_add(&s, "%d.png,right turn\n", i);
    }
    put_text("set/list.csv", s.s);
    str_free(&s);
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("set/list.csv"));
    if (dataset_open(&set, spec, NULL) < 0)
        return -1;
    return tokenizer_train(&words, set->captions, NULL, set->n_texts, 600);
}

static int close_set(void **state)
{
    dataset_close(&set);
    tokenizer_close(&words);
    return scratch_remove(state);
}

static struct loader_opt options(int64_t threads)
{
    return (struct loader_opt){.batch = 4,
                               .context = 8,
                               .threads = threads,
                               .seed = 3,
                               .augment = true,
                               .view = {.scale_min = 0.5, .flip = 0.5, .jitter = 0.3, .rotate = 10}};
}

static struct loader *open_loader(const struct loader_opt *opt)
{
    struct loader *l = NULL;
    struct preprocess p;
    preprocess_clip(&p, 16);
    must(loader_open(&l, set, words, &p, opt));
    return l;
}

struct copy {
    float pixels[4 * 3 * 16 * 16];
    int32_t ids[4 * 8];
    int64_t images[4], texts[4];
    uint8_t match[16];
};

static void copy_batch(struct copy *c, struct loader *l, int64_t epoch, int64_t step)
{
    const struct batch *b;
    must(loader_batch(l, epoch, step, &b));
    assert_true(b->n == 4 && b->context == 8 && b->channels == 3 && b->height == 16 && b->width == 16);
    memset(c, 0, sizeof *c);
    memcpy(c->pixels, b->pixels, sizeof c->pixels);
    memcpy(c->ids, b->ids, sizeof c->ids);
    memcpy(c->images, b->image_rows, sizeof c->images);
    memcpy(c->texts, b->text_rows, sizeof c->texts);
    memcpy(c->match, b->match, sizeof c->match);
}

static void threads_do_not_show(void **state UNUSED)
{
    static struct copy one, three, again;
    struct loader_opt a = options(1), b = options(3);
    struct loader *x = open_loader(&a), *y = open_loader(&b), *z = open_loader(&b);
    assert_int_equal(loader_steps(x), 3);
    for (int64_t epoch = 0; epoch < 5; epoch++)
        for (int64_t step = 0; step < 3; step++) {
            copy_batch(&one, x, epoch, step);
            copy_batch(&three, y, epoch, step);
            assert_memory_equal(&one, &three, sizeof one);
            copy_batch(&again, z, 4 - epoch, 2 - step); /* backwards: no guess of the next one comes true */
            copy_batch(&three, z, epoch, step);
            assert_memory_equal(&one, &three, sizeof one);
        }
    struct loader_opt other = options(1);
    other.seed = 4;
    struct loader *w = open_loader(&other);
    copy_batch(&again, w, 4, 2);
    assert_true(memcmp(&again, &one, sizeof one) != 0);
    loader_close(&w);
    loader_close(&x);
    loader_close(&y);
    loader_close(&z);
}

static bool is_pair(int64_t image, int64_t text)
{
    for (int64_t i = 0; i < set->n_pairs; i++)
        if (set->pairs[i].image == image && set->pairs[i].text == text)
            return true;
    return false;
}

static void a_batch_holds_pairs(void **state UNUSED)
{
    static struct copy c;
    struct loader_opt opt = options(2);
    struct loader *l = open_loader(&opt);
    int shared = 0, drawn[N] = {0}, texts[64] = {0};
    for (int64_t epoch = 0; epoch < 40; epoch++) {
        bool seen[N] = {false};
        for (int64_t step = 0; step < 3; step++) {
            copy_batch(&c, l, epoch, step);
            for (int i = 0; i < 4; i++) {
                int32_t ids[8];
                assert_false(seen[c.images[i]]);
                seen[c.images[i]] = true;
                drawn[c.images[i]]++;
                texts[c.texts[i]]++;
                must(tokenizer_encode_context(words, set->captions[c.texts[i]], 8, ids, NULL));
                assert_memory_equal(ids, c.ids + i * 8, sizeof ids);
                for (int j = 0; j < 4; j++) {
                    assert_int_equal(c.match[i * 4 + j], is_pair(c.images[i], c.texts[j]));
                    shared += i != j && c.match[i * 4 + j];
                }
                assert_true(c.match[i * 5]);
            }
        }
    }
    assert_true(shared > 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(drawn[i], 40);
    for (int64_t t = 0; t < set->n_texts; t++)
        assert_true(texts[t] > 0); /* every caption has its turn */
    loader_close(&l);
}

/* Without training views a place holds what the plain transform gives. */
static void plain_batches(void **state UNUSED)
{
    struct loader_opt opt = options(1);
    struct preprocess p;
    const struct batch *b;
    float want[3 * 16 * 16];
    opt.augment = false;
    struct loader *l = open_loader(&opt);
    preprocess_clip(&p, 16);
    must(loader_batch(l, 0, 0, &b));
    for (int i = 0; i < 4; i++) {
        struct image im;
        must(set->read_image(set, b->image_rows[i], &im, NULL));
        must(preprocess_apply(&p, &im, want));
        assert_memory_equal(b->pixels + i * 3 * 16 * 16, want, sizeof want);
        image_free(&im);
    }
    assert_int_equal(loader_batch(l, 0, 3, &b), ERR_USAGE);
    assert_int_equal(loader_batch(l, -1, 0, &b), ERR_USAGE);
    loader_close(&l);
}

/* A picture half black, half white, whose caption speaks of a side, keeps its side. */
static void sides_are_kept(void **state UNUSED)
{
    struct dataset *d = NULL;
    struct loader *l = NULL;
    struct preprocess p = {.resize_shortest = 8, .crop_width = 8, .crop_height = 8, .rescale = 1};
    struct loader_opt opt = {.batch = 2, .context = 8, .augment = true, .view = {.flip = 0.5}};
    uint8_t px[16 * 16 * 3];
    char spec[600];
    for (int i = 0; i < 16 * 16 * 3; i++)
        px[i] = i / 3 % 16 < 8 ? 0 : 255;
    put_text("side/list.csv", "filepath,caption\na.png,hand pointing left\nb.png,brightly lit hand\n");
    struct image im = {16, 16, 3, px};
    must(image_write_png(in_scratch("side/a.png"), &im));
    must(image_write_png(in_scratch("side/b.png"), &im));
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("side/list.csv"));
    must(dataset_open(&d, spec, NULL));
    must(loader_open(&l, d, words, &p, &opt));
    int flips[2] = {0};
    for (int64_t epoch = 0; epoch < 60; epoch++) {
        const struct batch *b;
        must(loader_batch(l, epoch, 0, &b));
        for (int i = 0; i < 2; i++)
            flips[b->image_rows[i]] += b->pixels[i * 3 * 64] > 128;
    }
    assert_int_equal(flips[0], 0);
    assert_in_range(flips[1], 15, 45);
    loader_close(&l);
    dataset_close(&d);
}

static void names_are_preferred(void **state UNUSED)
{
    char spec[600];
    struct dataset *d = NULL;
    struct loader *l = NULL;
    struct preprocess p;
    struct loader_opt opt = {.batch = 2, .context = 8, .name_share = 1};
    const struct batch *b;
    put_picture("named/cat/1.png", 4, 4, 1, 1, 1);
    put_picture("named/dog/1.png", 4, 4, 1, 1, 1);
    put_picture("named/nothing.png", 4, 4, 1, 1, 1); /* without a caption: not trained on */
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("named"));
    must(dataset_open(&d, spec, NULL));
    preprocess_clip(&p, 8);
    must(loader_open(&l, d, words, &p, &opt));
    must(loader_batch(l, 0, 0, &b));
    for (int i = 0; i < 2; i++)
        assert_string_equal(d->captions[b->text_rows[i]], dataset_image_cell(d, b->image_rows[i], "label"));
    loader_close(&l);
    opt.batch = 3;
    assert_int_equal(loader_open(&l, d, words, &p, &opt), ERR_USAGE);
    assert_says("smaller batch");
    dataset_close(&d);
}

/* Another picture takes its place, the same one whatever the number of threads; the reason is listed once. */
static void broken_picture(void **state UNUSED)
{
    char spec[600];
    struct dataset *d = NULL;
    struct preprocess p;
    int64_t seen[2][12], row;
    const char *reason = NULL;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "torn/ok/%d.png", i);
        put_picture(name, 4, 4, 1, 1, 1);
    }
    put_text("torn/bad/9.png", "\x89PNG\r\n\x1a\nrest is missing");
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("torn"));
    must(dataset_open(&d, spec, NULL));
    preprocess_clip(&p, 8);
    for (int k = 0; k < 2; k++) {
        struct loader *l = NULL;
        struct loader_opt opt = {.batch = 2, .context = 8, .threads = 1 + 2 * k, .seed = 5};
        must(loader_open(&l, d, words, &p, &opt));
        for (int64_t i = 0; i < 6; i++) {
            const struct batch *b = NULL;
            must(loader_batch(l, i / 3, i % 3, &b));
            for (int j = 0; j < 2; j++) {
                seen[k][2 * i + j] = b->image_rows[j];
                assert_string_equal(dataset_image_cell(d, b->image_rows[j], "label"), "ok");
                assert_string_equal(d->captions[b->text_rows[j]], "ok");
            }
        }
        assert_true(loader_failed(l, 0, &row, &reason));
        assert_string_equal(dataset_image_cell(d, row, "label"), "bad");
        assert_non_null(strstr(reason, "9.png"));
        assert_false(loader_failed(l, 1, &row, &reason));
        loader_close(&l);
    }
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
    dataset_close(&d);
}

static void nothing_but_broken_pictures(void **state UNUSED)
{
    char spec[600];
    struct dataset *d = NULL;
    struct loader *l = NULL;
    struct preprocess p;
    const struct batch *b = NULL;
    struct loader_opt opt = {.batch = 1, .context = 8, .threads = 2};
    put_text("all/bad/1.png", "no picture");
    put_text("all/bad/2.png", "no picture");
    snprintf(spec, sizeof spec, "folder:%s", in_scratch("all"));
    must(dataset_open(&d, spec, NULL));
    preprocess_clip(&p, 8);
    must(loader_open(&l, d, words, &p, &opt));
    assert_true(loader_batch(l, 0, 0, &b) < 0);
    assert_says("looking for a picture that can be read");
    assert_null(b);
    loader_close(&l);
    dataset_close(&d);
}

static void memory_failures(void **state UNUSED)
{
    struct loader_opt opt = options(1);
    struct preprocess p;
    preprocess_clip(&p, 16);
    int rc = ERR_MEMORY, failed = 0;
    for (int64_t n = 1; rc < 0 && n < 10000; n++) { /* until no request is left to fail */
        struct loader *l = NULL;
        const struct batch *b;
        mem_fail_at(n);
        rc = loader_open(&l, set, words, &p, &opt);
        if (rc == 0)
            rc = loader_batch(l, 0, 0, &b);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
        loader_close(&l);
    }
    assert_int_equal(rc, 0);
    assert_true(failed >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(a_batch_holds_pairs),
        cmocka_unit_test(plain_batches),
        cmocka_unit_test(sides_are_kept),
        cmocka_unit_test(names_are_preferred),
        cmocka_unit_test(broken_picture),
        cmocka_unit_test(nothing_but_broken_pictures),
        cmocka_unit_test(memory_failures),
    };
    return cmocka_run_group_tests(tests, open_set, close_set);
}
