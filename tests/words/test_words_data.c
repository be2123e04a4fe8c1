/* tests/words/test_words_data.c: published vectors, against the values that numpy gives for them (a pseudo-inverse of
 * the one-hot design; leave-one-out by its hat matrix). Skipped without the folder of shared data. */
#include "words_made.h"

static const char *shared_path(char *out, size_t n, const char *name)
{
    const char *dir = getenv("MERIDIAN_SHARED");
    if (!dir || path_join(out, n, dir, name) < 0 || !path_exists(out)) {
        print_message("skipped: no %s in MERIDIAN_SHARED\n", name);
        skip();
    }
    return out;
}

static void fashion(void **state UNUSED)
{
    static const struct {
        const char *vectors, *factors;
        double r2, adjusted, held_out, null;
    } cases[] = {
        {"data/pairs_marqo_fashion1000/text_embeddings.npy", "protocols/marqo/rows.tsv", 0.8559479544455995,
         0.8067594510855602, 0.7385434892127845, 0.2545454545454545},
        {"data/pairs_marqo_fashion1000/image_embeddings.npy", "protocols/marqo/rows.tsv", 0.7175616594563785,
         0.6211192992707517, 0.48507957378007405, 0.2545454545454545},
        {"data/pairs_fashionclip1126/text_embeddings.npy", "protocols/fc/rows.tsv", 0.8009763100476682,
         0.7416926577214418, 0.6634887218470593, 0.22950819672131148},
        {"data/pairs_fashionclip1126/image_embeddings.npy", "protocols/fc/rows.tsv", 0.7275791129087856,
         0.646432465690126, 0.5388582584681638, 0.22950819672131148},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[1024];
        struct npy x;
        struct table t;
        struct words_grid *g = NULL;
        struct words *w = NULL;
        struct words_scores *s = NULL;
        const struct words_columns columns = {
            .columns = "colour,type", .top = 8, .skip = {1, (const char *[]){"none"}}};
        OK(npy_open(&x, shared_path(path, sizeof path, cases[i].vectors)));
        OK(table_read(&t, shared_path(path, sizeof path, cases[i].factors)));
        OK(words_grid_read(&g, &t, x.shape[0], &columns));
        const struct words_in in = {.grid = g, .x = x.data, .n = x.shape[0], .width = x.shape[1], .unit = true};
        const struct words_opt o = {0};
        OK(words_fit(&w, &in, &o));
        OK(words_score(&s, w, &in, 50, 0));
        assert_true(fabs(s->r2 - cases[i].r2) < 1e-8);
        assert_true(fabs(s->r2_adjusted - cases[i].adjusted) < 1e-8);
        assert_true(fabs(s->r2_held_out - cases[i].held_out) < 1e-7);
        assert_true(fabs(s->r2_null - cases[i].null) < 1e-12);
        words_scores_free(&s);
        words_close(&w);
        words_grid_free(&g);
        table_free(&t);
        npy_close(&x);
    }
}

/* Two stacks of n vectors as a grid of n names x 2 templates. */
static void score_pair(const float *x, int64_t n, int64_t d, double *r2, double *held_out)
{
    int32_t *code = mem_calloc((size_t)n * 4, sizeof *code);
    const char **levels = mem_calloc((size_t)n, sizeof *levels);
    struct words_grid *g = NULL;
    struct words *w = NULL;
    struct words_scores *s = NULL;
    assert_true(code && levels);
    for (int64_t i = 0; i < 2 * n; i++) {
        code[2 * i] = (int32_t)(i % n);
        code[2 * i + 1] = (int32_t)(i / n);
        levels[i % n] = "name";
    }
    const struct words_factor factor[2] = {{"name", n, levels}, {"template", 2, made_words}};
    const struct words_rows rows = {.n_factors = 2, .factor = factor, .n = 2 * n, .code = code};
    OK(words_grid_build(&g, &rows));
    const struct words_in in = {.grid = g, .x = x, .n = 2 * n, .width = d, .unit = true};
    const struct words_opt o = {0};
    OK(words_fit(&w, &in, &o));
    OK(words_score(&s, w, &in, 0, 0));
    *r2 = s->r2;
    *held_out = s->r2_held_out;
    words_scores_free(&s);
    words_close(&w);
    words_grid_free(&g);
    mem_free(code);
    mem_free((void *)levels);
}

static void imagenet(void **state UNUSED)
{
    static const char *const files[2] = {"data/text_openai_b32_classes/imagenet1000_a.npy",
                                         "data/text_openai_b32_classes/imagenet1000_a_photo_of_a.npy"};
    char path[1024];
    float *x = NULL;
    int64_t d = 0;
    double r2, held_out;
    for (int i = 0; i < 2; i++) {
        struct npy a;
        OK(npy_open(&a, shared_path(path, sizeof path, files[i])));
        d = a.shape[1];
        x = x ? x : mem_alloc((size_t)(2000 * d) * sizeof *x);
        assert_non_null(x);
        OK(dtype_convert(DT_F32, x + i * 1000 * d, a.dtype, a.data, (size_t)(1000 * d)));
        npy_close(&a);
    }
    score_pair(x, 1000, d, &r2, &held_out);
    assert_true(fabs(r2 - 0.9776651036811648) < 1e-8);
    assert_true(fabs(held_out - 0.911) < 1e-3);
    mem_free(x);
}

/* Lines of a file, in lower case. */
static int64_t read_lines(char line[][64], int64_t most, const char *name)
{
    char path[1024];
    struct map f;
    int64_t n = 0, at = 0;
    OK(map_open(&f, shared_path(path, sizeof path, name)));
    for (size_t i = 0; i <= f.size && n < most; i++) {
        char c = i < f.size ? (char)f.data[i] : '\n';
        if (c == '\n' && (at > 0 || i < f.size)) {
            line[n++][at] = 0;
            at = 0;
        } else if (c != '\r' && at < 63) {
            line[n][at++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
    }
    map_close(&f);
    return n;
}

/* SIMAT's words, bare, against "a WORD" of the first detection vocabulary that has the word: 59 words. */
static void simat(void **state UNUSED)
{
    static const char *const vocabularies[4][2] = {
        {"coco_names.txt", "coco_clip_a+cname.npy"},
        {"o365_names.txt", "o365_clip_a+cnamefix.npy"},
        {"oid_names.txt", "oid_clip_a+cname.npy"},
        {"lvis_v1_names.txt", "lvis_v1_clip_a+cname.npy"},
    };
    static char words[140][64], names[1300][64];
    static float x[2 * 140 * 512], u[2 * 140 * 512];
    static bool found[140];
    char path[1024], name[128];
    struct npy bare, a;
    int64_t n = read_lines(words, 140, "data/text_openai_b32_classes/simat131_words.txt"), kept = 0;
    double r2, held_out;
    OK(npy_open(&bare, shared_path(path, sizeof path, "data/text_openai_b32_classes/simat131.npy")));
    for (int v = 0; v < 4; v++) {
        snprintf(name, sizeof name, "data/text_openai_b32_classes/%s", vocabularies[v][0]);
        int64_t m = read_lines(names, 1300, name);
        snprintf(name, sizeof name, "data/text_openai_b32_classes/%s", vocabularies[v][1]);
        OK(npy_open(&a, shared_path(path, sizeof path, name)));
        for (int64_t i = 0; i < n && i < bare.shape[0]; i++)
            for (int64_t j = m - 1; !found[i] && j >= 0 && m <= a.shape[0]; j--) {
                if (strcmp(words[i], names[j]) != 0)
                    continue;
                const char *row = (const char *)a.data + (size_t)j * 512 * dtype_size(a.dtype);
                OK(dtype_convert(DT_F32, x + (140 + kept) * 512, a.dtype, row, 512));
                memcpy(x + kept * 512, (const float *)bare.data + i * 512, 512 * sizeof *x);
                found[i] = true;
                kept++;
            }
        npy_close(&a);
    }
    npy_close(&bare);
    assert_int_equal(kept, 59);
    memcpy(u, x, (size_t)(kept * 512) * sizeof *u);
    memcpy(u + kept * 512, x + 140 * 512, (size_t)(kept * 512) * sizeof *u);
    score_pair(u, kept, 512, &r2, &held_out);
    assert_true(fabs(r2 - 0.9548480002340456) < 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fashion), cmocka_unit_test(imagenet), cmocka_unit_test(simat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
