/* data/mask.c: hiding a share of a picture, of a text, or of every row of a dataset.
 *
 * Pictures: square cells over the picture as it was decoded, before the model's transform, so that the model resizes
 * and normalises a picture with holes and not its own input. A hidden cell gets the mean colour of the whole picture,
 * which says least about what was there and is near the middle of what the model has seen (black is an object of its
 * own). The mode of the file stays, so that a share of 0 is the picture itself in every mode: channels are filled
 * apart; of pictures with alpha the mean is weighed by it and the cell becomes opaque. Words: what stands between white
 * space. Masked words are left out, or written as a word of the caller's.
 *
 * Cells and words are taken in one random order an item, so that the mask of a larger share holds that of a smaller
 * one: a curve over shares has then no noise from one mask to the next. A text of n words loses floor(share n + u) of
 * them, u uniform and fixed for the text: share n on the average, also of texts of one word. Rejected: rounding, which
 * leaves every short text whole up to half, and rectangles of random size (Zhong et al. 2020), whose share is luck. */
#include "data/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 10 };
static const char WHITE[] = " \t\r\n\v\f";

/* ---- pictures ---- */

struct cell {
    int64_t x, y;
    double far; /* from the middle, the larger of both directions; 0 at random */
    int64_t turn;
};

static int compare_cells(const void *a, const void *b)
{
    const struct cell *x = a, *y = b;
    if (x->far != y->far)
        return x->far < y->far ? -1 : 1;
    return x->turn < y->turn ? -1 : x->turn > y->turn;
}

/* [channels], as the bytes of one pixel */
static void mean_colour(const struct image *im, uint8_t *out)
{
    size_t n = (size_t)im->width * (size_t)im->height, c = (size_t)im->channels;
    bool alpha = im->mode == IMAGE_PLAIN && c % 2 == 0;
    uint64_t sum[4] = {0}, weight = 0;
    if (im->mode == IMAGE_GRAY16) {
        for (size_t i = 0; i < n; i++)
            sum[0] += im->pixels[2 * i] | (uint64_t)im->pixels[2 * i + 1] << 8;
        uint64_t mean = (sum[0] + n / 2) / n;
        out[0] = (uint8_t)(mean & 255);
        out[1] = (uint8_t)(mean >> 8);
        return;
    }
    for (const uint8_t *p = im->pixels, *end = p + n * c; p < end; p += c) {
        uint64_t w = alpha ? p[c - 1] : 1;
        weight += w;
        for (size_t k = 0; k < c - alpha; k++)
            sum[k] += w * p[k];
    }
    for (size_t k = 0; k < c - alpha; k++)
        out[k] = (uint8_t)(weight ? (sum[k] + weight / 2) / weight : 127);
    if (alpha)
        out[c - 1] = 255;
}

static void fill_cell(struct image *im, int64_t x0, int64_t x1, int64_t y0, int64_t y1, const uint8_t *colour)
{
    size_t c = (size_t)im->channels;
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++)
            memcpy(im->pixels + ((size_t)y * (size_t)im->width + (size_t)x) * c, colour, c);
}

int mask_picture(struct image *im, const struct mask_opt *opt, struct rng *r)
{
    BUG_ON(im->channels < 1 || im->channels > 4 || im->width < 1 || im->height < 1);
    int64_t shorter = im->width < im->height ? im->width : im->height, side = shorter / (opt->grid ? opt->grid : CELLS);
    side = side < 1 ? 1 : side;
    int64_t nx = (im->width + side / 2) / side, ny = (im->height + side / 2) / side, n = nx * ny;
    int64_t hidden = llrint(opt->pictures * (double)n);
    struct cell *cells = mem_calloc((size_t)n, sizeof *cells);
    int64_t *turn = mem_calloc((size_t)n, sizeof *turn);
    uint8_t colour[4];
    int rc = cells && turn ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < n; i++)
        turn[i] = i;
    if (rc == 0)
        rng_shuffle(r, turn, n);
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        double dx = fabs((double)(2 * (i % nx) + 1 - nx)), dy = fabs((double)(2 * (i / nx) + 1 - ny));
        cells[i] = (struct cell){i % nx, i / nx, opt->centre ? fmax(dx, dy) : 0, turn[i]};
    }
    if (rc == 0 && hidden > 0) {
        qsort(cells, (size_t)n, sizeof *cells, compare_cells);
        mean_colour(im, colour);
        for (int64_t i = 0; i < hidden && i < n; i++)
            fill_cell(im, cells[i].x * im->width / nx, (cells[i].x + 1) * im->width / nx, cells[i].y * im->height / ny,
                      (cells[i].y + 1) * im->height / ny, colour);
    }
    mem_free(cells);
    mem_free(turn);
    return rc;
}

/* ---- words ---- */

int64_t mask_count_words(const char *text)
{
    int64_t n = 0;
    for (text += strspn(text, WHITE); *text; n++) {
        text += strcspn(text, WHITE);
        text += strspn(text, WHITE);
    }
    return n;
}

/* The words of a text whose drop is not set; one space between them. */
static int put_words(const char *text, const bool *drop, const char *with, struct str *out)
{
    size_t was = out->n;
    int64_t i = 0;
    for (text += strspn(text, WHITE); *text; text += strspn(text, WHITE), i++) {
        size_t n = strcspn(text, WHITE);
        const char *word = drop[i] ? (with ? with : "") : text;
        size_t k = drop[i] ? strlen(word) : n;
        if (k && out->n > was)
            str_add_c(out, ' ');
        str_add_n(out, word, k);
        text += n;
    }
    str_add(out, "%s", ""); /* a text of no words is "" and not NULL */
    return out->failed ? ERR_MEMORY : 0;
}

static int mask_text(const char *text, double share, bool by_chance, const char *with, struct rng *r, struct str *out,
                     int64_t *n_masked)
{
    int64_t n = mask_count_words(text), hidden = 0;
    int64_t *order = mem_calloc((size_t)n + 1, sizeof *order);
    bool *drop = mem_calloc((size_t)n + 1, sizeof *drop);
    int rc = order && drop ? 0 : ERR_MEMORY;
    if (rc == 0 && by_chance) {
        for (int64_t i = 0; i < n; i++) {
            drop[i] = rng_uniform(r) < share;
            hidden += drop[i];
        }
    } else if (rc == 0) {
        double u = rng_uniform(r);
        for (int64_t i = 0; i < n; i++)
            order[i] = i;
        rng_shuffle(r, order, n);
        hidden = (int64_t)floor(share * (double)n + u);
        hidden = hidden > n ? n : hidden;
        for (int64_t i = 0; i < hidden; i++)
            drop[order[i]] = true;
    }
    if (rc == 0 && hidden == 0) {
        str_add(out, "%s", text);
        rc = out->failed ? ERR_MEMORY : 0;
    } else if (rc == 0) {
        rc = put_words(text, drop, with, out);
    }
    mem_free(order);
    mem_free(drop);
    if (rc == 0 && n_masked)
        *n_masked = hidden;
    return rc;
}

int mask_words(const char *text, double share, const char *with, struct rng *r, struct str *out, int64_t *n_masked)
{
    return mask_text(text, share, false, with, r, out, n_masked);
}

int mask_words_by_chance(const char *text, double chance, const char *with, struct rng *r, struct str *out)
{
    return mask_text(text, chance, true, with, r, out, NULL);
}

/* ---- a whole dataset ---- */

struct masked {
    struct dataset *from;
    struct mask_opt opt;
};

static int read_masked(const struct dataset *d, int64_t row, struct image *im, uint8_t **alpha)
{
    const struct masked *m = d->own;
    TRY(m->from->read_image(m->from, row, im, alpha));
    if (!(m->opt.pictures > 0))
        return 0;
    struct rng r = rng_stream(m->opt.seed, RNG_MASK, 0, (uint64_t)row);
    int rc = mask_picture(im, &m->opt, &r);
    if (rc < 0)
        image_free(im);
    return rc;
}

/* What is the other dataset's is not freed twice. */
static void close_masked(struct dataset *d)
{
    struct masked *m = d->own;
    const struct dataset *from = m->from;
    d->image_cells = NULL;
    d->pairs = NULL;
    d->refused = NULL;
    d->captions = d->captions == from->captions ? NULL : d->captions;
    d->text_cells = d->text_cells == from->text_cells ? NULL : d->text_cells;
    dataset_close(&m->from);
}

/* Captions, and their column, of the masked dataset. */
static int mask_captions(struct dataset *d, const struct mask_opt *opt)
{
    int64_t k = d->n_text_cols;
    const char **captions = mem_calloc((size_t)d->n_texts + 1, sizeof *captions);
    const char **cells = mem_calloc((size_t)(d->n_texts * k) + 1, sizeof *cells);
    struct str b = {0};
    int rc = captions && cells ? 0 : ERR_MEMORY;
    if (rc == 0 && d->n_texts && k)
        memcpy(cells, d->text_cells, (size_t)(d->n_texts * k) * sizeof *cells);
    for (int64_t i = 0; rc == 0 && i < d->n_texts; i++) {
        struct rng r = rng_stream(opt->seed, RNG_MASK, 1, (uint64_t)i);
        str_clear(&b);
        rc = mask_words(d->captions[i], opt->words, opt->with, &r, &b, NULL);
        if (rc == 0 && !(captions[i] = arena_strdup(d->arena, b.s)))
            rc = ERR_MEMORY;
        for (int64_t c = 0; rc == 0 && c < k; c++)
            if (!strcmp(d->text_cols[c], "caption"))
                cells[i * k + c] = captions[i];
    }
    str_free(&b);
    if (rc < 0) {
        mem_free((void *)captions);
        mem_free((void *)cells);
        return rc;
    }
    d->captions = captions;
    d->text_cells = cells;
    return 0;
}

static void mask_fingerprint(struct dataset *d, const struct mask_opt *opt)
{
    struct str b = {0};
    struct sha256 h;
    char print[65];
    str_add(&b, "mask-1 %.17g %.17g %lld %d %llu ", opt->pictures, opt->words,
            (long long)(opt->grid ? opt->grid : CELLS), opt->centre, (unsigned long long)opt->seed);
    sha256_start(&h);
    sha256_add(&h, b.s ? b.s : "", b.n);
    sha256_add(&h, opt->with ? opt->with : "", opt->with ? strlen(opt->with) : 0);
    sha256_add(&h, d->fingerprint, strlen(d->fingerprint));
    sha256_hex(&h, print);
    memcpy(d->fingerprint, print, sizeof print);
    str_free(&b);
}

int dataset_mask(struct dataset **d, const struct mask_opt *opt)
{
    struct arena *arena;
    TRY(arena_open(&arena, "masked data"));
    struct dataset *out = mem_calloc(1, sizeof *out);
    struct masked *m = arena_calloc(arena, 1, sizeof *m);
    int rc = out && m ? 0 : ERR_MEMORY;
    if (rc == 0) {
        *out = **d; /* tables that stay are the other's, which lives as long */
        *m = (struct masked){*d, *opt};
        m->opt.with = NULL; /* the caller's; only captions need it */
        out->arena = arena;
        out->own = m;
        out->read_image = read_masked;
        out->close = close_masked;
        if (opt->words > 0)
            rc = mask_captions(out, opt);
    }
    if (rc < 0) {
        mem_free(out);
        arena_close(&arena);
        return rc;
    }
    mask_fingerprint(out, opt);
    *d = out;
    return 0;
}
