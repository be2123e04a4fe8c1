/* data/loader.c: batches of pixels and ids, prepared one ahead of the consumer.
 *
 * What lies in a batch is a function of (seed, epoch, step) alone: the order of an epoch is a shuffle of its own
 * stream, and the caption and the view of a picture come from streams indexed by (epoch, picture). Threads take places
 * of the batch from a counter and write where the place says, so their number cannot show. Two buffers: one at the
 * consumer, one being filled.
 *
 * Decoded pictures stay in memory while they fit (1 GiB when training, where every epoch comes back for them). For
 * training, large photos are kept shrunk to twice the size of a view: the crop's own sampling sees no difference worth
 * their memory.
 *
 * A picture that cannot be read costs itself: another, drawn from a stream of its own, takes its place, so the batch
 * still depends on nothing but the files and (seed, epoch, step). It is told once and listed (loader_failed).
 *
 * Pictures whose label or caption speaks of a direction or shows letters are never mirrored: "backhand index pointing
 * left" would be taught on a hand pointing right (list below). */
#include "data/data.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define CACHE_TRAIN ((int64_t)1 << 30)
#define CACHE_READ ((int64_t)256 << 20)
#define ERROR_CHARS 1024
enum { SUBSTITUTES = 64, MAX_FAILED = 10000, SHOWN_FAILED = 10 };

struct failed {
    int64_t row;
    char *reason;
};

struct picture {
    struct image rgb;
    uint8_t *alpha;
};

struct slot { /* one of the two buffers */
    struct batch batch;
    int64_t epoch, step; /* what it holds or will hold; -1: nothing */
    int64_t order_epoch, *order;
    atomic_llong next; /* place that the next free thread takes */
    struct loader *loader;
};

struct loader {
    const struct dataset *d;
    const struct tokenizer *t;
    struct preprocess p;
    struct loader_opt opt;
    struct pool *pool;
    int64_t n_rows, *rows;           /* pictures that have a caption */
    int64_t *first_text, *name;      /* [n_images + 1] into pairs; [n_images] text of its name or -1 */
    bool *no_flip;                   /* [n_images] */
    int32_t *text_place, *same_text; /* [n_texts] and [batch]: scratch of match */
    float levels[3][256];
    _Atomic(struct picture *) *cache; /* [n_images] */
    atomic_llong cached_bytes;
    struct slot slots[2];
    int current;              /* slot at the consumer */
    atomic_uchar *unreadable; /* [n_images] 1: known not to be readable */
    struct failed *failed;    /* the first MAX_FAILED of them */
    int64_t n_failed;
    pthread_mutex_t lock; /* of the error and of failed */
    int64_t error_place;  /* lowest failing place, so that the message is always the same */
    int error_code;
    char error[ERROR_CHARS];
};

/* ---- pictures -------------------------------------------------------------------------------------------------------
 */

static void picture_free(struct picture *pic)
{
    if (!pic)
        return;
    image_free(&pic->rgb);
    mem_free(pic->alpha);
    mem_free(pic);
}

static int shrink(struct picture *pic, int side)
{
    int w = pic->rgb.width, h = pic->rgb.height, shorter = w < h ? w : h;
    if (shorter <= side)
        return 0;
    int nw = (int)((int64_t)w * side / shorter), nh = (int)((int64_t)h * side / shorter);
    struct image small = {0}, cover = {0};
    TRY(resize_u8(&small, &pic->rgb, nw, nh, RESAMPLE_BILINEAR));
    if (pic->alpha) {
        struct image full = {w, h, 1, pic->alpha};
        int rc = resize_u8(&cover, &full, nw, nh, RESAMPLE_BILINEAR);
        if (rc < 0) {
            image_free(&small);
            return rc;
        }
        mem_free(pic->alpha);
        pic->alpha = cover.pixels;
    }
    image_free(&pic->rgb);
    pic->rgb = small;
    return 0;
}

static int picture_read(struct loader *l, int64_t row, struct picture **out)
{
    struct picture *pic = mem_calloc(1, sizeof *pic);
    if (!pic)
        return ERR_MEMORY;
    int rc = l->d->read_image(l->d, row, &pic->rgb, l->opt.augment ? &pic->alpha : NULL);
    if (rc == 0 && l->opt.augment)
        rc = image_to_rgb(&pic->rgb, GRAY16_HIGH_BYTE);
    if (rc == 0 && l->opt.augment)
        rc = shrink(pic, 2 * l->p.crop_width);
    if (rc < 0) {
        picture_free(pic);
        return rc;
    }
    *out = pic;
    return 0;
}

/* *mine: the caller frees it. */
static int picture_get(struct loader *l, int64_t row, struct picture **out, bool *mine)
{
    struct picture *pic = atomic_load(&l->cache[row]);
    *mine = false;
    if (!pic) {
        TRY(picture_read(l, row, &pic));
        int64_t bytes = (int64_t)pic->rgb.width * pic->rgb.height * (pic->rgb.channels + (pic->alpha != NULL));
        int64_t limit = l->opt.augment ? CACHE_TRAIN : CACHE_READ;
        struct picture *none = NULL;
        if (atomic_fetch_add(&l->cached_bytes, bytes) + bytes > limit ||
            !atomic_compare_exchange_strong(&l->cache[row], &none, pic)) {
            atomic_fetch_sub(&l->cached_bytes, bytes);
            *mine = true; /* no room, or another thread was faster */
        }
    }
    *out = pic;
    return 0;
}

/* ---- one place of a batch
 * ---------------------------------------------------------------------------------------------- */

static int64_t draw_text(const struct loader *l, int64_t row, int64_t epoch)
{
    struct rng r = rng_stream(l->opt.seed, RNG_CAPTION, (uint32_t)epoch, (uint64_t)row);
    int64_t from = l->first_text[row], n = l->first_text[row + 1] - from;
    double luck = rng_uniform(&r);
    uint64_t pick = rng_below(&r, (uint64_t)n);
    if (l->name[row] >= 0 && luck < l->opt.name_share)
        return l->name[row];
    return l->d->pairs[from + (int64_t)pick].text;
}

static int fill_view(struct loader *l, const struct picture *pic, int64_t row, int64_t epoch, float *out)
{
    struct rng r = rng_stream(l->opt.seed, RNG_AUGMENT, (uint32_t)epoch, (uint64_t)row);
    struct augment_opt opt = l->opt.view;
    struct image view = {0};
    if (l->no_flip[row])
        opt.flip = 0;
    TRY(augment_image(&pic->rgb, pic->alpha, &opt, l->p.crop_width, &r, &view));
    size_t n = (size_t)view.width * (size_t)view.height;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            out[c * n + i] = l->levels[c][view.pixels[i * 3 + c]];
    image_free(&view);
    return 0;
}

/* Once a picture: the thread's error becomes its reason. */
static int note_failure(struct loader *l, int64_t row)
{
    unsigned char unknown = 0;
    if (!atomic_compare_exchange_strong(&l->unreadable[row], &unknown, 1))
        return 0;
    char *reason = mem_strdup(err_text());
    if (!reason)
        return ERR_MEMORY;
    pthread_mutex_lock(&l->lock);
    int64_t n = l->n_failed;
    if (n < MAX_FAILED) {
        struct failed *grown =
            n % 64 ? l->failed : mem_grow(l->failed, (size_t)n * sizeof *grown, (size_t)(n + 64) * sizeof *grown);
        if (grown) {
            l->failed = grown;
            l->failed[l->n_failed++] = (struct failed){row, reason};
            reason = NULL;
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (n < SHOWN_FAILED)
        log_warn("picture left out: %s", err_text());
    bool lost = reason && n < MAX_FAILED;
    mem_free(reason);
    return lost ? ERR_MEMORY : 0;
}

/* The picture's fault, not this machine's: another run could read what a full disk or too few open files kept away. */
static bool costs_its_row(int rc)
{
    return rc == ERR_DATA || rc == ERR_UNSUPPORTED;
}

static int fill_pixels(struct loader *l, int64_t row, int64_t epoch, float *pixels)
{
    struct picture *pic = NULL;
    bool mine = false;
    TRY_IN(picture_get(l, row, &pic, &mine), "reading picture %lld", (long long)row);
    int rc = l->opt.augment ? fill_view(l, pic, row, epoch, pixels) : preprocess_apply(&l->p, &pic->rgb, pixels);
    if (mine)
        picture_free(pic);
    return rc;
}

/* *row becomes a picture that can be read: itself, or one drawn in its stead. */
static int fill_readable(struct loader *l, int64_t *row, int64_t epoch, float *pixels)
{
    struct rng r = rng_stream(l->opt.seed, RNG_SAMPLE, (uint32_t)epoch, (uint64_t)*row);
    for (int i = 0;; i++) {
        int rc = ERR_DATA;
        if (!atomic_load(&l->unreadable[*row]) || i == SUBSTITUTES) {
            rc = fill_pixels(l, *row, epoch, pixels);
            if (!costs_its_row(rc) || i == SUBSTITUTES)
                return i == SUBSTITUTES && rc < 0
                           ? err_while(rc, "looking for a picture that can be read, %d times", SUBSTITUTES)
                           : rc;
            TRY(note_failure(l, *row));
            err_clear();
        }
        *row = l->rows[rng_below(&r, (uint64_t)l->n_rows)];
    }
}

static int fill_place(struct loader *l, struct slot *s, int64_t place)
{
    struct batch *b = &s->batch;
    int64_t row = l->rows[s->order[s->step * b->n + place]];
    TRY(fill_readable(l, &row, s->epoch, b->pixels + place * b->channels * b->height * b->width));
    int64_t text = draw_text(l, row, s->epoch);
    b->image_rows[place] = row;
    b->text_rows[place] = text;
    TRY_IN(tokenizer_encode_context(l->t, l->d->captions[text], b->context, b->ids + place * b->context, NULL),
           "encoding caption %lld", (long long)text);
    return 0;
}

static void fill_job(void *arg)
{
    struct slot *s = arg;
    struct loader *l = s->loader;
    for (int64_t place; (place = atomic_fetch_add(&s->next, 1)) < s->batch.n;) {
        int rc = fill_place(l, s, place);
        if (rc == 0)
            continue;
        pthread_mutex_lock(&l->lock);
        if (l->error_place < 0 || place < l->error_place) {
            l->error_place = place;
            l->error_code = rc;
            snprintf(l->error, sizeof l->error, "%s", err_text());
        }
        pthread_mutex_unlock(&l->lock);
        err_clear();
    }
}

/* ---- batches
 * -------------------------------------------------------------------------------------------------------------- */

static int start(struct loader *l, struct slot *s, int64_t epoch, int64_t step)
{
    if (s->order_epoch != epoch) {
        struct rng r = rng_stream(l->opt.seed, RNG_SHUFFLE, (uint32_t)epoch, 0);
        for (int64_t i = 0; i < l->n_rows; i++)
            s->order[i] = i;
        rng_shuffle(&r, s->order, l->n_rows);
        s->order_epoch = epoch;
    }
    s->epoch = epoch;
    s->step = step;
    l->error_place = -1;
    l->error_code = 0;
    atomic_store(&s->next, 0);
    for (int64_t i = 0; i < l->opt.threads; i++) {
        int rc = pool_submit(l->pool, fill_job, s);
        if (rc < 0) {
            pool_wait(l->pool);
            s->epoch = -1;
            return rc;
        }
    }
    return 0;
}

static int finish(struct loader *l, struct slot *s)
{
    pool_wait(l->pool);
    if (!l->error_code)
        return 0;
    int rc = err_set(l->error_code, "%s", l->error);
    l->error_code = 0;
    s->epoch = -1;
    return rc;
}

/* Places with the same text are chained; then each picture walks its own captions. */
static void fill_match(struct loader *l, struct batch *b)
{
    memset(b->match, 0, (size_t)(b->n * b->n));
    for (int64_t j = 0; j < b->n; j++) {
        l->same_text[j] = l->text_place[b->text_rows[j]];
        l->text_place[b->text_rows[j]] = (int32_t)j;
    }
    for (int64_t i = 0; i < b->n; i++) {
        int64_t row = b->image_rows[i];
        for (int64_t k = l->first_text[row]; k < l->first_text[row + 1]; k++)
            for (int32_t j = l->text_place[l->d->pairs[k].text]; j >= 0; j = l->same_text[j])
                b->match[i * b->n + j] = 1;
    }
    for (int64_t j = 0; j < b->n; j++)
        l->text_place[b->text_rows[j]] = -1;
}

int64_t loader_steps(const struct loader *l)
{
    return l->n_rows / l->opt.batch;
}

bool loader_failed(struct loader *l, int64_t i, int64_t *row, const char **reason)
{
    pthread_mutex_lock(&l->lock);
    bool there = i >= 0 && i < l->n_failed;
    if (there) {
        *row = l->failed[i].row;
        *reason = l->failed[i].reason;
    }
    pthread_mutex_unlock(&l->lock);
    return there;
}

int loader_batch(struct loader *l, int64_t epoch, int64_t step, const struct batch **out)
{
    int64_t steps = loader_steps(l);
    if (epoch < 0 || epoch > UINT32_MAX || step < 0 || step >= steps)
        FAIL(ERR_USAGE, "batch %lld of epoch %lld: expected a step below %lld", (long long)step, (long long)epoch,
             (long long)steps);
    struct slot *s = &l->slots[1 - l->current];
    bool ready = s->epoch == epoch && s->step == step;
    if (!ready) {
        pool_wait(l->pool); /* a guess that did not come true */
        TRY(start(l, s, epoch, step));
    }
    TRY(finish(l, s));
    fill_match(l, &s->batch);
    struct slot *other = &l->slots[l->current];
    l->current = 1 - l->current;
    TRY(start(l, other, step + 1 < steps ? epoch : epoch + 1, step + 1 < steps ? step + 1 : 0));
    *out = &s->batch;
    return 0;
}

/* ---- opening
 * ------------------------------------------------------------------------------------------------------------------ */

static bool has_word(const char *s, const char *word)
{
    for (const char *p = s; (p = strstr(p, word)); p++)
        if (p == s || !((p[-1] | 32) >= 'a' && (p[-1] | 32) <= 'z'))
            return true;
    return false;
}

/* Beginnings of words: what a mirror would make false, and what carries letters or digits. */
static bool speaks_of_side(const char *s)
{
    static const char *const words[] = {
        "left",   "right",    "arrow",  "flag",  "letter",  "keycap", "clock",  "anticlockwise", "counterclockwise",
        "button", "backhand", "east",   "west",  "quarter", "waxing", "waning", "crescent",      "Latin",
        "latin",  "Japanese", "number", "digit", "calendar"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (has_word(s, words[i]))
            return true;
    return false;
}

static int index_texts(struct loader *l)
{
    const struct dataset *d = l->d;
    int64_t k = 0;
    for (int64_t i = 0; i < d->n_images; i++) {
        const char *label = dataset_image_cell(d, i, "label"), *group = dataset_image_cell(d, i, "group");
        int64_t any_name = -1;
        l->first_text[i] = k;
        l->name[i] = -1;
        l->no_flip[i] =
            (label && speaks_of_side(label)) || (group && (!strcmp(group, "Symbols") || !strcmp(group, "Flags")));
        for (; k < d->n_pairs && d->pairs[k].image == i; k++) {
            int64_t text = d->pairs[k].text;
            const char *kind = dataset_text_cell(d, text, "kind");
            l->no_flip[i] |= speaks_of_side(d->captions[text]);
            if (kind && !strcmp(kind, "name"))
                any_name = any_name < 0 ? text : any_name;
            if (label && !strcmp(label, d->captions[text]))
                l->name[i] = text;
        }
        if (l->name[i] < 0)
            l->name[i] = any_name;
        if (k > l->first_text[i])
            l->rows[l->n_rows++] = i;
    }
    l->first_text[d->n_images] = k;
    for (int64_t i = 0; i < d->n_texts; i++)
        l->text_place[i] = -1;
    if (l->n_rows < l->opt.batch)
        FAIL(ERR_USAGE, "%s: %lld pictures with captions, expected at least one batch of %lld; take a smaller batch",
             d->spec, (long long)l->n_rows, (long long)l->opt.batch);
    return 0;
}

static int slot_open(struct loader *l, struct slot *s)
{
    int64_t n = l->opt.batch;
    struct batch *b = &s->batch;
    *b = (struct batch){
        .n = n, .context = l->opt.context, .channels = 3, .height = l->p.crop_height, .width = l->p.crop_width};
    s->loader = l;
    s->epoch = s->step = s->order_epoch = -1;
    b->pixels = mem_calloc((size_t)n, (size_t)(3 * b->height * b->width) * sizeof *b->pixels);
    b->ids = mem_calloc((size_t)n, (size_t)b->context * sizeof *b->ids);
    b->image_rows = mem_calloc((size_t)n, sizeof *b->image_rows);
    b->text_rows = mem_calloc((size_t)n, sizeof *b->text_rows);
    b->match = mem_calloc((size_t)n, (size_t)n);
    s->order = mem_calloc((size_t)l->n_rows, sizeof *s->order);
    return b->pixels && b->ids && b->image_rows && b->text_rows && b->match && s->order ? 0 : ERR_MEMORY;
}

static int loader_fill(struct loader *l)
{
    size_t images = (size_t)l->d->n_images, texts = (size_t)l->d->n_texts;
    l->rows = mem_calloc(images, sizeof *l->rows);
    l->first_text = mem_calloc(images + 1, sizeof *l->first_text);
    l->name = mem_calloc(images, sizeof *l->name);
    l->no_flip = mem_calloc(images, sizeof *l->no_flip);
    l->text_place = mem_calloc(texts + 1, sizeof *l->text_place);
    l->same_text = mem_calloc((size_t)l->opt.batch, sizeof *l->same_text);
    l->cache = mem_calloc(images, sizeof *l->cache);
    l->unreadable = mem_calloc(images, sizeof *l->unreadable);
    if (!l->unreadable || !l->rows || !l->first_text || !l->name || !l->no_flip || !l->text_place || !l->same_text ||
        !l->cache)
        return ERR_MEMORY;
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float x = (float)(v * l->p.rescale);
            l->levels[c][v] = l->p.normalize ? (x - l->p.mean[c]) / l->p.std[c] : x;
        }
    TRY(index_texts(l));
    TRY(slot_open(l, &l->slots[0]));
    TRY(slot_open(l, &l->slots[1]));
    return pool_open(&l->pool, (int)l->opt.threads);
}

int loader_open(struct loader **out, const struct dataset *d, const struct tokenizer *t, const struct preprocess *p,
                const struct loader_opt *opt)
{
    if (opt->batch < 1 || opt->batch > 1 << 20 || opt->context < 2 || opt->threads < 0 || opt->threads > 256)
        FAIL(ERR_USAGE, "loader: batch %lld, context %lld, threads %lld: expected at least 1, at least 2, 0 to 256",
             (long long)opt->batch, (long long)opt->context, (long long)opt->threads);
    if (p->crop_width < 1 || p->crop_height < 1 || (opt->augment && p->crop_width != p->crop_height))
        FAIL(ERR_USAGE, "loader: pictures of %d x %d: expected a size, and a square one for training views",
             p->crop_width, p->crop_height);
    struct loader *l = mem_calloc(1, sizeof *l);
    if (!l)
        return ERR_MEMORY;
    l->d = d;
    l->t = t;
    l->p = *p;
    l->opt = *opt;
    l->opt.threads = opt->threads ? opt->threads : 1;
    l->error_place = -1;
    pthread_mutex_init(&l->lock, NULL);
    int rc = loader_fill(l);
    if (rc < 0) {
        loader_close(&l);
        return rc;
    }
    *out = l;
    return 0;
}

void loader_close(struct loader **handle)
{
    struct loader *l = *handle;
    if (!l)
        return;
    if (l->pool) {
        pool_wait(l->pool);
        pool_close(&l->pool);
    }
    for (int64_t i = 0; l->cache && i < l->d->n_images; i++)
        picture_free(atomic_load(&l->cache[i]));
    for (int i = 0; i < 2; i++) {
        struct batch *b = &l->slots[i].batch;
        mem_free(b->pixels);
        mem_free(b->ids);
        mem_free(b->image_rows);
        mem_free(b->text_rows);
        mem_free(b->match);
        mem_free(l->slots[i].order);
    }
    mem_free(l->rows);
    mem_free(l->first_text);
    mem_free(l->name);
    mem_free(l->no_flip);
    mem_free(l->text_place);
    mem_free(l->same_text);
    mem_free(l->cache);
    mem_free(l->unreadable);
    for (int64_t i = 0; i < l->n_failed; i++)
        mem_free(l->failed[i].reason);
    mem_free(l->failed);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
    *handle = NULL;
}
