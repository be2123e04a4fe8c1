/* data/emoji_world.c: draws the emoji world into a folder.
 *
 * DIR/images/ID.png (96 x 96, RGB on white), alpha.npy [N, 96, 96] u8 in the order of the rows, images.csv, texts.csv,
 * pairs.csv, world.json. The alpha plane is kept beside the pictures because training puts the glyph on other
 * backgrounds: colour times cover is (rgb on white) - (255 - alpha), so no third plane is needed. Pictures are drawn,
 * not shipped: Debian's font and Unicode's tables carry licences of their own, and 3655 drawings take seconds. The
 * folder appears whole or not. */
#include "data/emoji.h"

#include <string.h>

#define MARGIN 0.04
#define WORLD_NAME "emoji-world-1"

int emoji_world_path(char *out, size_t n)
{
    return path_cache(out, n, WORLD_NAME);
}

/* ---- pictures -------------------------------------------------------------------------------------------------------
 */

/* The folder is renamed when all is there, so a picture needs no rename of its own. */
static int write_plain(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return err_errno(ERR_FAIL, "%s: cannot create", path);
    size_t done = fwrite(p, 1, n, f);
    if (fclose(f) || done != n)
        return err_errno(ERR_FAIL, "%s: cannot write", path);
    return 0;
}

/* Straight alpha over white, rounded. */
static void flatten(const struct image *rgba, uint8_t *rgb, uint8_t *alpha)
{
    size_t n = (size_t)rgba->width * (size_t)rgba->height;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = rgba->pixels + i * 4;
        unsigned a = p[3];
        for (int c = 0; c < 3; c++)
            rgb[i * 3 + (size_t)c] = (uint8_t)((p[c] * a + 255 * (255 - a) + 127) / 255);
        alpha[i] = (uint8_t)a;
    }
}

struct drawing {
    const char *dir;
    struct npy_writer *alphas;
    json_t *left_out;
    uint8_t rgb[EMOJI_SIDE * EMOJI_SIDE * 3], alpha[EMOJI_SIDE * EMOJI_SIDE];
};

static int draw_one(struct drawing *w, const struct emoji *e, bool *drawn)
{
    struct image rgba = {0};
    TRY_IN(image_draw_emoji(&rgba, e->utf8, EMOJI_SIDE, MARGIN, drawn), "drawing %s (%s)", e->id, e->name);
    if (!*drawn) {
        image_free(&rgba);
        if (json_array_append_new(w->left_out, json_pack("{s:s,s:s}", "id", e->id, "name", e->name)))
            FAIL(ERR_MEMORY, "out of memory while drawing the emoji world");
        return 0;
    }
    BUG_ON(rgba.width != EMOJI_SIDE || rgba.height != EMOJI_SIDE || rgba.channels != 4);
    flatten(&rgba, w->rgb, w->alpha);
    image_free(&rgba);
    struct image flat = {EMOJI_SIDE, EMOJI_SIDE, 3, w->rgb};
    struct str png = {0};
    char path[1200];
    int rc = image_encode_png(&png, &flat);
    if (rc == 0 && (size_t)snprintf(path, sizeof path, "%s/images/%s.png", w->dir, e->id) >= sizeof path)
        rc = err_set(ERR_DATA, "%s: path too long", w->dir);
    if (rc == 0)
        rc = write_plain(path, png.s, png.n);
    if (rc == 0)
        rc = npy_writer_add(w->alphas, w->alpha, 1);
    str_free(&png);
    return rc;
}

/* Draws all and closes the gaps that undrawable sequences leave. */
static int draw_all(struct emoji_list *l, const char *dir, json_t *left_out)
{
    static const int64_t shape[] = {EMOJI_SIDE, EMOJI_SIDE};
    struct drawing *w = mem_calloc(1, sizeof *w);
    struct progress *bar = NULL;
    char path[1200];
    int64_t n = 0;
    if (!w)
        return ERR_MEMORY;
    w->dir = dir;
    w->left_out = left_out;
    int rc = path_join(path, sizeof path, dir, "images");
    if (rc == 0)
        rc = path_make_dirs(path);
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, "alpha.npy");
    if (rc == 0)
        rc = npy_writer_open(&w->alphas, path, DT_U8, 2, shape);
    progress_open(&bar, "drawing the emoji world", l->n, "pictures");
    for (int64_t i = 0; i < l->n && rc == 0; i++) {
        bool drawn = false;
        rc = draw_one(w, &l->v[i], &drawn);
        if (rc == 0)
            rc = signal_check();
        if (drawn)
            l->v[n++] = l->v[i];
        progress_add(bar, 1);
    }
    progress_close(&bar);
    l->n = n;
    if (rc == 0 && n == 0)
        rc = err_set(ERR_FAIL, "the installed font draws none of the emoji: apt-get install fonts-noto-color-emoji");
    if (rc == 0)
        rc = npy_writer_commit(&w->alphas);
    else
        npy_writer_abort(&w->alphas);
    mem_free(w);
    return rc;
}

/* ---- tables
 * ------------------------------------------------------------------------------------------------------------- */

static int write_table(const char *dir, const char *name, struct str *s)
{
    char path[1200];
    int rc = path_join(path, sizeof path, dir, name);
    if (rc == 0)
        rc = s->failed ? err_set(ERR_MEMORY, "%s: out of memory", path) : atomic_put(path, s->s, s->n);
    str_free(s);
    return rc;
}

static int write_images(const struct emoji_list *l, const char *dir)
{
    struct str s = {0};
    str_add(&s, "row,id,path,label,split,group,subgroup,base,gender,skin_tone,hair,role\n");
    for (int64_t i = 0; i < l->n; i++) {
        const struct emoji *e = &l->v[i];
        const char *const cells[] = {e->name,   e->split, e->group, e->subgroup, e->base,
                                     e->gender, e->tone,  e->hair,  e->role};
        str_add(&s, "%lld,%s,images/%s.png", (long long)i, e->id, e->id);
        for (size_t c = 0; c < ARRAY_LEN(cells); c++) {
            str_add_c(&s, ',');
            str_add_csv(&s, cells[c], ',');
        }
        str_add_c(&s, '\n');
    }
    return write_table(dir, "images.csv", &s);
}

struct caption {
    const char *text;
    int64_t id;
};

struct captions {
    struct arena *arena;
    struct caption *slots;
    size_t mask;
    int64_t n;
    struct str texts, pairs;
};

/* Row of the caption; the first use writes its line. Names come first, so a name that is also a keyword is a name. */
static int caption_row(struct captions *c, const char *text, const char *kind, int64_t *row)
{
    size_t i = (size_t)hash_bytes(text, strlen(text), 0) & c->mask;
    while (c->slots[i].text && strcmp(c->slots[i].text, text))
        i = (i + 1) & c->mask;
    if (!c->slots[i].text) {
        c->slots[i] = (struct caption){arena_strdup(c->arena, text), c->n++};
        if (!c->slots[i].text)
            return ERR_MEMORY;
        str_add(&c->texts, "%lld,", (long long)c->slots[i].id);
        str_add_csv(&c->texts, text, ',');
        str_add(&c->texts, ",%s\n", kind);
    }
    *row = c->slots[i].id;
    return 0;
}

/* "a | b | c", without the name itself. */
static int add_keywords(struct captions *c, const struct emoji *e, int64_t image)
{
    char word[512];
    for (const char *s = e->keywords; s && *s;) {
        size_t n = strcspn(s, "|"), from = 0, to = n;
        while (from < to && s[from] == ' ')
            from++;
        while (to > from && s[to - 1] == ' ')
            to--;
        if (to > from && to - from < sizeof word) {
            int64_t row;
            memcpy(word, s + from, to - from);
            word[to - from] = 0;
            if (strcmp(word, e->name)) {
                TRY(caption_row(c, word, "keyword", &row));
                str_add(&c->pairs, "%lld,%lld\n", (long long)image, (long long)row);
            }
        }
        s += n + (s[n] == '|');
    }
    return 0;
}

static int write_texts(const struct emoji_list *l, const char *dir, int64_t *n_texts)
{
    struct captions c = {.arena = l->arena, .mask = ((size_t)1 << 17) - 1};
    while (c.mask < (size_t)l->n * 16)
        c.mask = c.mask * 2 + 1;
    c.slots = mem_calloc(c.mask + 1, sizeof *c.slots);
    int rc = c.slots ? 0 : ERR_MEMORY;
    str_add(&c.texts, "row,caption,kind\n");
    str_add(&c.pairs, "image,text\n");
    for (int64_t i = 0; i < l->n && rc == 0; i++) {
        int64_t row = 0;
        rc = caption_row(&c, l->v[i].name, "name", &row);
        str_add(&c.pairs, "%lld,%lld\n", (long long)i, (long long)row);
    }
    for (int64_t i = 0; i < l->n && rc == 0; i++)
        rc = add_keywords(&c, &l->v[i], i);
    *n_texts = c.n;
    mem_free(c.slots);
    if (rc < 0) {
        str_free(&c.texts);
        str_free(&c.pairs);
        return rc;
    }
    rc = write_table(dir, "texts.csv", &c.texts);
    int rc2 = write_table(dir, "pairs.csv", &c.pairs);
    return rc < 0 ? rc : rc2;
}

static int64_t count_split(const struct emoji_list *l, const char *split)
{
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++)
        n += !strcmp(l->v[i].split, split);
    return n;
}

static int write_summary(const struct emoji_list *l, const char *dir, json_t *left_out, int64_t n_texts)
{
    char font[256];
    TRY(image_emoji_font(font, sizeof font));
    json_t *splits = json_pack("{s:I,s:I,s:I,s:I}", "train", (json_int_t)count_split(l, "train"), "validation",
                               (json_int_t)count_split(l, "validation"), "test", (json_int_t)count_split(l, "test"),
                               "compositional", (json_int_t)count_split(l, "compositional"));
    json_t *o = json_pack("{s:s,s:s,s:i,s:f,s:I,s:I,s:I,s:I,s:o,s:O}", "world", WORLD_NAME, "font", font, "side",
                          EMOJI_SIDE, "margin", MARGIN, "pictures", (json_int_t)l->n, "captions", (json_int_t)n_texts,
                          "names_from_cldr", (json_int_t)l->n_cldr_names, "left_out_count",
                          (json_int_t)json_array_size(left_out), "splits", splits, "left_out", left_out);
    return atomic_put_json(dir, "world.json", o, JSON_INDENT(2));
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------------------ */

static int fill(struct emoji_list *l, const char *dir)
{
    json_t *left_out = json_array();
    int64_t n_texts = 0;
    int rc = left_out ? emoji_traits(l) : err_set(ERR_MEMORY, "out of memory while making the emoji world");
    if (rc == 0)
        rc = draw_all(l, dir, left_out);
    if (rc == 0)
        rc = emoji_split(l);
    if (rc == 0)
        rc = write_images(l, dir);
    if (rc == 0)
        rc = write_texts(l, dir, &n_texts);
    if (rc == 0)
        rc = write_summary(l, dir, left_out, n_texts);
    if (rc == 0 && json_array_size(left_out))
        log_info("emoji world: %zu sequences left out, which the font does not draw (see world.json)",
                 json_array_size(left_out));
    json_decref(left_out);
    return rc;
}

int emoji_world_make(const char *dir)
{
    struct emoji_sources src = emoji_sources_debian();
    return emoji_world_make_from(dir, &src);
}

int emoji_world_make_from(const char *dir, const struct emoji_sources *src)
{
    struct emoji_list l = {0};
    struct atomic_dir d;
    char font[256], ready[1200];
    TRY(image_emoji_font(font, sizeof font));
    TRY(emoji_list_read(&l, src));
    int rc = atomic_dir_open(&d, dir, false);
    if (rc == 0) {
        rc = fill(&l, d.tmp);
        if (rc == 0)
            rc = atomic_dir_commit(&d);
        else
            atomic_dir_abort(&d);
    }
    emoji_list_free(&l);
    /* Another process may have made it meanwhile: the same picture for picture, so it serves. */
    if (rc == ERR_EXISTS && path_join(ready, sizeof ready, dir, "world.json") == 0 && path_exists(ready)) {
        err_clear();
        rc = 0;
    }
    return rc;
}
