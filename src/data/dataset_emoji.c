/* data/dataset_emoji.c: the emoji world as a dataset. Drawn at first use (emoji_world.c), read back from its folder
 * after.
 *
 * A split's dataset holds the captions of its own pictures only, so that a gallery of the test split is made of test
 * captions. Row numbers are new in each opened dataset; `id` and column `row` of images.csv stay. */
#include "data/dataset_build.h"

#include <stdlib.h>

struct emoji_own {
    char dir[1024];
    struct npy alpha;   /* [N, side, side] u8, rows of the whole world */
    int64_t *world_row; /* of each picture */
};

static int emoji_read_image(const struct dataset *d, int64_t row, struct image *rgb, uint8_t **alpha)
{
    const struct emoji_own *own = d->own;
    BUG_ON(row < 0 || row >= d->n_images);
    TRY(build_read_path(own->dir, dataset_image_cell(d, row, "path"), rgb));
    if (!alpha)
        return 0;
    size_t h = (size_t)own->alpha.shape[1], w = (size_t)own->alpha.shape[2];
    if ((size_t)rgb->height != h || (size_t)rgb->width != w) {
        int rc = err_set(ERR_DATA, "%s/%s: %d x %d pixels, expected %zu x %zu; delete %s, it will be drawn anew",
                         own->dir, dataset_image_cell(d, row, "path"), rgb->width, rgb->height, w, h, own->dir);
        image_free(rgb);
        return rc;
    }
    uint8_t *copy = mem_alloc(h * w);
    if (!copy) {
        image_free(rgb);
        return ERR_MEMORY;
    }
    memcpy(copy, (const uint8_t *)own->alpha.data + (size_t)own->world_row[row] * h * w, h * w);
    *alpha = copy;
    return 0;
}

static void emoji_close(struct dataset *d)
{
    struct emoji_own *own = d->own;
    npy_close(&own->alpha);
    mem_free(own->world_row);
    mem_free(own);
}

static int read_table(struct table *t, const char *dir, const char *name)
{
    char path[1200];
    TRY(path_join(path, sizeof path, dir, name));
    return table_read(t, path);
}

/* Columns of images.csv behind `row`, as they are. new_row [world rows] gets the row here, or -1. */
static int take_images(struct dataset_build *b, const struct table *t, int64_t *new_row)
{
    struct emoji_own *own = b->d->own;
    int split = table_col(t, "split"), row_col = table_col(t, "row");
    if (split < 0 || row_col != 0 || table_col(t, "id") < 0 || table_col(t, "path") < 0 || table_col(t, "label") < 0)
        FAIL(ERR_DATA, "%s: expected columns row, id, path, label, split; delete %s, it will be drawn anew", t->path,
             own->dir);
    if (t->n_rows != own->alpha.shape[0])
        FAIL(ERR_DATA, "%s: %lld rows, but alpha.npy has %lld; delete %s, it will be drawn anew", t->path,
             (long long)t->n_rows, (long long)own->alpha.shape[0], own->dir);
    TRY(build_columns(b, t->n_cols - 1, t->cols + 1));
    for (int64_t i = 0; i < t->n_rows; i++) {
        new_row[i] = -1;
        if (!build_wants_split(b, table_cell(t, i, split)))
            continue;
        if (b->opt->limit > 0 && b->d->n_images >= b->opt->limit)
            continue;
        TRY(build_image(b, &t->cells[i * t->n_cols + 1], &new_row[i]));
        own->world_row[new_row[i]] = i;
    }
    return 0;
}

static int take_texts(struct dataset_build *b, const struct table *texts, const struct table *pairs,
                      const int64_t *new_row, int64_t n_rows)
{
    int caption = table_col(texts, "caption"), kind = table_col(texts, "kind");
    int image_col = table_col(pairs, "image"), text_col = table_col(pairs, "text");
    const char *want = b->opt->captions;
    bool only_names = want && !strcmp(want, "name");
    if (want && !only_names && strcmp(want, "all"))
        FAIL(ERR_USAGE, "captions \"%s\": expected \"all\" or \"name\"", want);
    if (caption < 0 || kind < 0 || image_col < 0 || text_col < 0)
        FAIL(ERR_DATA, "%s: expected columns caption and kind, and image and text in pairs.csv", texts->path);
    for (int64_t i = 0; i < pairs->n_rows; i++) {
        int64_t image, text, row;
        TRY(table_int(pairs, i, image_col, 0, n_rows - 1, &image));
        TRY(table_int(pairs, i, text_col, 0, texts->n_rows - 1, &text));
        if (new_row[image] < 0)
            continue;
        /* Another picture's name may be a keyword here: what counts is this picture's label. */
        const char *s = table_cell(texts, text, caption);
        if (only_names && strcmp(s, dataset_image_cell(b->d, new_row[image], "label")))
            continue;
        TRY(build_text(b, s, table_cell(texts, text, kind), &row));
        TRY(build_pair(b, new_row[image], row));
    }
    return 0;
}

static int check_splits(const struct dataset_build *b)
{
    static const char *const known[] = {"train", "validation", "test", "compositional"};
    for (const char *s = b->opt->split; s && *s;) {
        size_t n = strcspn(s, ",+");
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            found |= strlen(known[i]) == n && !memcmp(s, known[i], n);
        if (!found)
            FAIL(ERR_USAGE, "split \"%.*s\": expected train, validation, test or compositional, or several with commas",
                 (int)n, s);
        s += n + (s[n] != 0);
    }
    return 0;
}

static int open_world(struct emoji_own *own)
{
    char path[1200];
    TRY(emoji_world_path(own->dir, sizeof own->dir));
    TRY(path_join(path, sizeof path, own->dir, "world.json"));
    if (!path_exists(path))
        TRY_IN(emoji_world_make(own->dir), "drawing the emoji world into %s", own->dir);
    TRY(path_join(path, sizeof path, own->dir, "alpha.npy"));
    TRY(npy_open(&own->alpha, path));
    if (own->alpha.dtype != DT_U8 || own->alpha.n_dims != 3) {
        npy_close(&own->alpha);
        FAIL(ERR_DATA, "%s: expected u8 [pictures, side, side]; delete %s, it will be drawn anew", path, own->dir);
    }
    return 0;
}

int dataset_build_emoji(struct dataset_build *b)
{
    if (*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": emoji takes no argument; use --split for a part", b->d->spec);
    TRY(check_splits(b));
    struct emoji_own *own = mem_calloc(1, sizeof *own);
    if (!own)
        return ERR_MEMORY;
    int rc = open_world(own);
    if (rc < 0) {
        mem_free(own);
        return rc;
    }
    b->d->own = own;
    b->d->close = emoji_close;
    b->d->read_image = emoji_read_image;
    int64_t n = own->alpha.shape[0], *new_row = mem_calloc((size_t)n + 1, sizeof *new_row);
    own->world_row = mem_calloc((size_t)n + 1, sizeof *own->world_row);
    struct table images = {0}, texts = {0}, pairs = {0};
    rc = new_row && own->world_row ? 0 : ERR_MEMORY;
    if (rc == 0)
        rc = read_table(&images, own->dir, "images.csv");
    if (rc == 0)
        rc = read_table(&texts, own->dir, "texts.csv");
    if (rc == 0)
        rc = read_table(&pairs, own->dir, "pairs.csv");
    if (rc == 0)
        rc = take_images(b, &images, new_row);
    if (rc == 0)
        rc = take_texts(b, &texts, &pairs, new_row, n);
    b->described = true;
    if (rc == 0)
        rc = build_describe(b, "emoji: %lld of %lld pictures%s%s, %lld captions", (long long)b->d->n_images,
                            (long long)n, b->opt->split ? ", split " : "", b->opt->split ? b->opt->split : "",
                            (long long)b->d->n_texts);
    table_free(&images);
    table_free(&texts);
    table_free(&pairs);
    mem_free(new_row);
    return rc;
}
