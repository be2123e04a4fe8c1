/* cli/encode_set.c: pictures are decoded by loader threads while the engine works on the batch before; two buffers
 * change places. A picture that cannot be read is noted and left out: one bad file in a million must not cost the
 * night. Rejected: a row of zeros in its place (it would be found by every search), and stopping. */
#include "cli/encode_set.h"

#include <string.h>

enum { LOADERS_MAX = 64 };

struct buffer {
    float *pixels; /* [batch,3,H,W] */
    char **why;    /* [batch] NULL: read well */
    int64_t first, n;
};
struct encoder {
    const struct encode_job *job;
    struct set_writer *w;
    struct pool *pool;
    struct buffer buffer[2];
    struct share {
        struct encoder *e;
        struct buffer *b;
        int64_t at;
    } share[LOADERS_MAX];
    float *vectors;     /* [batch, embed] */
    int64_t *image_row; /* [n_images] row in the set, -1: left out */
    int64_t *text_row;  /* [n_texts] likewise */
    struct str failed;  /* lines of failed.tsv */
    struct encode_result got;
};

/* ---- loader threads
 * ---------------------------------------------------------------------------------------------------------- */

static char *keep_reason(void)
{
    char *s = mem_strdup(err_text()[0] ? err_text() : "cannot be read");
    err_clear();
    return s;
}

/* Every loader takes each `loaders`-th picture of the buffer. */
static void load_share(void *arg)
{
    struct share *s = arg;
    const struct encode_job *job = s->e->job;
    int64_t each = 3 * job->m->image_size * job->m->image_size;
    for (int64_t i = s->at; i < s->b->n; i += job->loaders) {
        struct image rgb = {0};
        int rc = job->d->read_image(job->d, s->b->first + i, &rgb, NULL);
        if (rc == 0)
            rc = preprocess_apply(&job->m->preprocess, &rgb, s->b->pixels + i * each);
        image_free(&rgb);
        if (rc < 0)
            s->b->why[i] = keep_reason();
    }
}

static int start_loading(struct encoder *e, struct buffer *b, int64_t first)
{
    const struct encode_job *job = e->job;
    b->first = first;
    b->n = job->d->n_images - first < job->batch ? job->d->n_images - first : job->batch;
    for (int64_t i = 0; i < job->loaders && b->n > 0; i++) {
        e->share[i] = (struct share){e, b, i};
        TRY(pool_submit(e->pool, load_share, &e->share[i]));
    }
    return 0;
}

/* ---- one batch
 * ---------------------------------------------------------------------------------------------------------------- */

/* path of a cell in one line of TSV: tabs and line ends would break it */
static void add_cell(struct str *b, const char *s)
{
    for (; s && *s; s++)
        str_add_c(b, (unsigned char)*s < 0x20 ? ' ' : *s);
}

static void note_failure(struct encoder *e, int64_t row, const char *why)
{
    const struct dataset *d = e->job->d;
    if (e->got.n_failed++ < 5)
        log_warn("picture left out: %s", why);
    if (!e->failed.n)
        str_add(&e->failed, "row\tid\tpath\treason\n");
    str_add(&e->failed, "%lld\t", (long long)row);
    add_cell(&e->failed, dataset_image_cell(d, row, "id"));
    str_add_c(&e->failed, '\t');
    add_cell(&e->failed, dataset_image_cell(d, row, "path"));
    str_add_c(&e->failed, '\t');
    add_cell(&e->failed, why);
    str_add_c(&e->failed, '\n');
}

/* Failed rows are closed over, so that the engine sees one full array. */
static int encode_buffer(struct encoder *e, struct buffer *b)
{
    struct model *m = e->job->m;
    int64_t each = 3 * m->image_size * m->image_size, n = 0;
    for (int64_t i = 0; i < b->n; i++) {
        if (b->why[i]) {
            note_failure(e, b->first + i, b->why[i]);
            e->image_row[b->first + i] = -1;
            mem_free(b->why[i]);
            b->why[i] = NULL;
            continue;
        }
        e->image_row[b->first + i] = e->got.n_images + n;
        if (n < i)
            memcpy(b->pixels + n * each, b->pixels + i * each, (size_t)each * sizeof *b->pixels);
        n++;
    }
    if (n == 0)
        return 0;
    TRY_IN(model_embed_pixels(m, b->pixels, n, e->job->low, e->vectors), "encoding pictures %lld to %lld",
           (long long)b->first, (long long)(b->first + b->n - 1));
    TRY(set_writer_images(e->w, e->vectors, n));
    e->got.n_images += n;
    return 0;
}

static int encode_images(struct encoder *e)
{
    const struct dataset *d = e->job->d;
    struct progress *p = NULL;
    double start = clock_seconds();
    int rc = start_loading(e, &e->buffer[0], 0), now = 0;
    progress_open(&p, "pictures", d->n_images, "pictures");
    for (int64_t first = 0; rc == 0 && first < d->n_images; first += e->job->batch, now = !now) {
        struct buffer *b = &e->buffer[now];
        pool_wait(e->pool);
        rc = start_loading(e, &e->buffer[!now], first + b->n);
        if (rc == 0)
            rc = encode_buffer(e, b);
        progress_add(p, b->n);
        if (rc == 0 && e->got.n_failed)
            progress_note(p, "%lld left out", (long long)e->got.n_failed);
        if (rc == 0)
            rc = signal_check();
    }
    pool_wait(e->pool);
    progress_close(&p);
    double seconds = clock_seconds() - start;
    e->got.images_per_second = seconds > 0 ? (double)e->got.n_images / seconds : 0;
    return rc;
}

/* ---- captions
 * ---------------------------------------------------------------------------------------------------------------- */

/* Captions that had pictures and lost them all are left out; the others keep their order. */
static void choose_texts(struct encoder *e)
{
    const struct dataset *d = e->job->d;
    for (int64_t i = 0; i < d->n_texts; i++)
        e->text_row[i] = 0;
    for (int64_t i = 0; i < d->n_pairs; i++)
        if (e->image_row[d->pairs[i].image] < 0 && e->text_row[d->pairs[i].text] == 0)
            e->text_row[d->pairs[i].text] = -1;
    for (int64_t i = 0; i < d->n_pairs; i++)
        if (e->image_row[d->pairs[i].image] >= 0)
            e->text_row[d->pairs[i].text] = 0;
    for (int64_t i = 0; i < d->n_texts; i++)
        if (e->text_row[i] == 0)
            e->text_row[i] = e->got.n_texts++;
}

static int encode_texts(struct encoder *e)
{
    enum { BLOCK = 1024 };
    const struct dataset *d = e->job->d;
    struct model *m = e->job->m;
    struct progress *p = NULL;
    choose_texts(e);
    if (e->got.n_texts == 0)
        return 0;
    const char **texts = mem_calloc((size_t)e->got.n_texts, sizeof *texts);
    float *vectors = mem_calloc(BLOCK, (size_t)m->embed * sizeof *vectors);
    int rc = texts && vectors ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < d->n_texts; i++)
        if (e->text_row[i] >= 0)
            texts[e->text_row[i]] = d->captions[i];
    progress_open(&p, "captions", e->got.n_texts, "captions");
    for (int64_t i = 0; rc == 0 && i < e->got.n_texts; i += BLOCK) {
        int64_t n = e->got.n_texts - i < BLOCK ? e->got.n_texts - i : BLOCK, cut = 0;
        rc = model_embed_texts(m, texts + i, n, e->job->low, vectors, &cut);
        e->got.n_truncated += cut;
        if (rc == 0)
            rc = set_writer_texts(e->w, vectors, n);
        if (rc == 0)
            rc = signal_check();
        progress_add(p, n);
    }
    progress_close(&p);
    mem_free(texts);
    mem_free(vectors);
    return rc;
}

/* ---- the whole
 * --------------------------------------------------------------------------------------------------------------- */

/* Rows of a table whose new row is not -1. cells [n, n_cols] are borrowed. */
static int keep_rows(const char **cells, int n_cols, int64_t n, const int64_t *row, const char ***out)
{
    const char **kept = mem_calloc((size_t)n * (size_t)n_cols + 1, sizeof *kept);
    if (!kept)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        if (row[i] >= 0 && n_cols)
            memcpy(kept + row[i] * n_cols, cells + i * n_cols, (size_t)n_cols * sizeof *kept);
    *out = kept;
    return 0;
}

static int commit(struct encoder *e)
{
    const struct dataset *d = e->job->d;
    const char **images = NULL, **texts = NULL;
    int64_t n_pairs = 0;
    struct set_pair *pairs = mem_calloc((size_t)d->n_pairs + 1, sizeof *pairs);
    char base[2048];
    cli_path_base(d->spec, base, sizeof base);
    json_t *extra = json_pack("{s:s, s:I, s:I, s:s, s:s, s:s}", "data_fingerprint", d->fingerprint, "n_failed",
                              (json_int_t)e->got.n_failed, "n_truncated", (json_int_t)e->got.n_truncated, "made_by",
                              "meridian " MERIDIAN_VERSION, "numbers", e->job->low ? "bf16" : "f32", "path_base", base);
    int rc = pairs && extra ? 0 : err_set(ERR_MEMORY, "no memory for the tables of %s", e->job->out);
    for (int64_t i = 0; rc == 0 && i < d->n_pairs; i++) {
        struct set_pair p = {e->image_row[d->pairs[i].image], e->text_row[d->pairs[i].text]};
        if (p.image >= 0 && p.text >= 0)
            pairs[n_pairs++] = p;
    }
    if (rc == 0)
        rc = keep_rows(d->image_cells, d->n_image_cols, d->n_images, e->image_row, &images);
    if (rc == 0)
        rc = keep_rows(d->text_cells, d->n_text_cols, d->n_texts, e->text_row, &texts);
    struct set_table image_table = {d->n_image_cols, d->image_cols, images, e->got.n_images};
    struct set_table text_table = {d->n_text_cols, d->text_cols, texts, e->got.n_texts};
    if (rc == 0)
        rc = set_writer_commit(&e->w, &image_table, &text_table, pairs, n_pairs, extra);
    mem_free(pairs);
    mem_free(images);
    mem_free(texts);
    json_decref(extra);
    return rc;
}

static int allocate(struct encoder *e)
{
    const struct encode_job *job = e->job;
    size_t batch = (size_t)job->batch, each = (size_t)(3 * job->m->image_size * job->m->image_size);
    for (int i = 0; i < 2; i++) {
        e->buffer[i].pixels = mem_calloc(batch, each * sizeof(float));
        e->buffer[i].why = mem_calloc(batch, sizeof(char *));
        if (!e->buffer[i].pixels || !e->buffer[i].why)
            return ERR_MEMORY;
    }
    e->vectors = mem_calloc(batch, (size_t)job->m->embed * sizeof(float));
    e->image_row = mem_calloc((size_t)job->d->n_images + 1, sizeof *e->image_row);
    e->text_row = mem_calloc((size_t)job->d->n_texts + 1, sizeof *e->text_row);
    return e->vectors && e->image_row && e->text_row ? pool_open(&e->pool, (int)job->loaders) : ERR_MEMORY;
}

static int open_writer(struct encoder *e)
{
    const struct encode_job *job = e->job;
    char print[65];
    TRY(model_fingerprint(job->m, print));
    struct set_info info = {.model = job->m->name,
                            .fingerprint = print,
                            .data = job->d->spec,
                            .protocol = job->protocol,
                            .dtype = job->dtype,
                            .logit_scale = model_logit_scale(job->m),
                            .width = job->m->embed,
                            .unit = true};
    return set_writer_open(&e->w, job->out, job->force, &info);
}

static int put_failed(const struct encoder *e)
{
    char path[2048];
    if (!e->got.n_failed)
        return 0;
    if (e->failed.failed)
        FAIL(ERR_MEMORY, "%s: no memory for failed.tsv", e->job->out);
    TRY(path_join(path, sizeof path, e->job->out, "failed.tsv"));
    return atomic_put(path, e->failed.s, e->failed.n);
}

static int check_some(const struct encoder *e)
{
    const struct dataset *d = e->job->d;
    if (d->n_images > 0 && e->got.n_images == 0)
        FAIL(ERR_DATA, "%s: none of the %lld pictures could be read; nothing was written", d->spec,
             (long long)d->n_images);
    return 0;
}

int encode_set(const struct encode_job *job, struct encode_result *out)
{
    struct encoder e = {.job = job};
    /* without the picture library every file would count as broken */
    int rc = job->d->n_images > 0 ? image_start(NULL) : 0;
    if (rc == 0)
        rc = allocate(&e);
    if (rc == 0)
        rc = open_writer(&e);
    if (rc == 0)
        rc = encode_images(&e);
    if (rc == 0)
        rc = check_some(&e);
    if (rc == 0)
        rc = encode_texts(&e);
    if (rc == 0)
        rc = commit(&e);
    if (rc == 0)
        rc = put_failed(&e);
    if (rc == 0)
        *out = e.got;
    set_writer_abort(&e.w);
    pool_close(&e.pool);
    for (int i = 0; i < 2; i++) {
        for (int64_t k = 0; e.buffer[i].why && k < job->batch; k++)
            mem_free(e.buffer[i].why[k]);
        mem_free(e.buffer[i].pixels);
        mem_free(e.buffer[i].why);
    }
    mem_free(e.vectors);
    mem_free(e.image_row);
    mem_free(e.text_row);
    str_free(&e.failed);
    return rc;
}
