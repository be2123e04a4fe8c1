/* cli/encode_piece.c: one shard of an encoding: made, verified, read.
 *
 * Pictures are decoded by loader threads while the engine works on the batch before; two buffers change places. A
 * picture that cannot be read is noted and left out: one bad file in a million must not cost the night. It goes through
 * the model as zeros and its vector is dropped, so that its neighbours get the same bits as beside a good picture.
 * Rejected: a row of zeros in the set (it would be found by every search), closing over the gap before the model (a
 * file that is missing today and there tomorrow would change other rows' last bits), and stopping. */
#include "cli/encode_work.h"

#include <string.h>

const char *const encode_piece_files[ENCODE_FILES] = {"vectors.npy", "rows.csv", "failed.tsv", "features.npy"};

static int n_files(const struct encode_job *job)
{
    return job->features ? ENCODE_FILES : ENCODE_FILES - 1;
}

static int64_t pieces_of(int64_t n, int64_t rows)
{
    return n / rows + (n % rows > 0);
}

int64_t encode_piece_count(const struct encode_job *job)
{
    return pieces_of(job->d->n_images, job->shard_rows) + pieces_of(job->d->n_texts, job->shard_rows);
}

struct encode_piece encode_piece_at(const struct encode_job *job, int64_t i)
{
    int64_t n_image = pieces_of(job->d->n_images, job->shard_rows);
    struct encode_piece p = {.text = i >= n_image};
    int64_t at = p.text ? i - n_image : i, total = p.text ? job->d->n_texts : job->d->n_images;
    p.first = at * job->shard_rows;
    p.n = total - p.first < job->shard_rows ? total - p.first : job->shard_rows;
    snprintf(p.name, sizeof p.name, "%s-%06lld", p.text ? "text" : "image", (long long)at);
    return p;
}

/* ---- memory
 * ----------------------------------------------------------------------------------------------------------------- */

static int allocate_features(struct encoder *e, size_t rows)
{
    size_t widest = 0;
    for (int k = 0; k < 2; k++) {
        TRY(model_last(e->job->m, k, &e->last[k]));
        size_t width = (size_t)e->last[k].width;
        widest = width > widest ? width : widest;
        e->features[k] = mem_calloc(rows, width * sizeof(float));
    }
    e->lengths = mem_calloc(rows, sizeof *e->lengths);
    e->row = mem_calloc(widest + 1, sizeof *e->row);
    return e->features[0] && e->features[1] && e->lengths && e->row ? 0 : ERR_MEMORY;
}

int encode_allocate(struct encoder *e)
{
    const struct encode_job *job = e->job;
    size_t batch = (size_t)job->batch, each = (size_t)(3 * job->m->image_size * job->m->image_size);
    size_t rows = batch > ENCODE_TEXTS ? batch : ENCODE_TEXTS;
    for (int i = 0; i < 2 && job->d->n_images > 0; i++) {
        e->buffer[i].pixels = mem_calloc(batch, each * sizeof(float));
        e->buffer[i].why = mem_calloc(batch, sizeof(char *));
        if (!e->buffer[i].pixels || !e->buffer[i].why)
            return ERR_MEMORY;
    }
    e->vectors = mem_calloc(rows, (size_t)job->m->embed * sizeof(float));
    e->halves = mem_calloc(rows, (size_t)job->m->embed * sizeof *e->halves);
    e->texts = mem_calloc(ENCODE_TEXTS, sizeof *e->texts);
    e->rows = mem_calloc((size_t)job->shard_rows, sizeof *e->rows);
    if (!e->vectors || !e->halves || !e->texts || !e->rows)
        return ERR_MEMORY;
    if (job->features)
        TRY(allocate_features(e, rows));
    return pool_open(&e->pool, (int)job->loaders);
}

void encode_free(struct encoder *e)
{
    pool_close(&e->pool);
    for (int i = 0; i < 2; i++) {
        for (int64_t k = 0; e->buffer[i].why && k < e->job->batch; k++)
            mem_free(e->buffer[i].why[k]);
        mem_free(e->buffer[i].pixels);
        mem_free(e->buffer[i].why);
    }
    mem_free(e->vectors);
    mem_free(e->features[0]);
    mem_free(e->features[1]);
    mem_free(e->lengths);
    mem_free(e->row);
    mem_free(e->halves);
    mem_free((void *)e->texts);
    mem_free(e->rows);
    str_free(&e->failed);
}

/* ---- loader threads
 * ---------------------------------------------------------------------------------------------------------- */

/* The fault of a picture (broken, gone, of an unknown kind), not of this machine (no memory, no room for temporaries,
 * no more files, a part of this program missing): another run would read it, so it must not be counted as lost. */
static bool costs_its_row(int rc)
{
    return rc == ERR_DATA || rc == ERR_UNSUPPORTED;
}

/* Every loader takes each `loaders`-th picture of the buffer. */
static void load_share(void *arg)
{
    struct encode_share *s = arg;
    const struct encode_job *job = s->e->job;
    int64_t each = 3 * job->m->image_size * job->m->image_size;
    for (int64_t i = s->at; i < s->b->n; i += job->loaders) {
        struct image rgb = {0};
        int rc = job->d->read_image(job->d, s->b->first + i, &rgb, NULL);
        if (rc == 0)
            rc = preprocess_apply(&job->m->preprocess, &rgb, s->b->pixels + i * each);
        image_free(&rgb);
        if (rc == 0)
            continue;
        s->b->why[i] = mem_strdup(err_text()[0] ? err_text() : "cannot be read");
        if (!s->b->why[i] || !costs_its_row(rc)) {
            s->b->code[s->at] = s->b->why[i] ? rc : ERR_MEMORY;
            s->b->bad[s->at] = i;
            return;
        }
        err_clear();
        memset(s->b->pixels + i * each, 0, (size_t)each * sizeof *s->b->pixels);
    }
}

static int start_loading(struct encoder *e, struct encode_buffer *b, int64_t first, int64_t end)
{
    const struct encode_job *job = e->job;
    b->first = first;
    b->n = end - first < job->batch ? end - first : job->batch;
    for (int64_t i = 0; i < job->loaders && b->n > 0; i++) {
        e->share[i] = (struct encode_share){e, b, i};
        b->code[i] = 0;
        TRY(pool_submit(e->pool, load_share, &e->share[i]));
    }
    return 0;
}

/* ---- pictures
 * ---------------------------------------------------------------------------------------------------------------- */

void encode_add_cell(struct str *b, const char *s)
{
    for (; s && *s; s++)
        str_add_c(b, (unsigned char)*s < 0x20 ? ' ' : *s);
}

static void note_failure(struct encoder *e, int64_t row, const char *why)
{
    const struct dataset *d = e->job->d;
    if (e->n_noted++ < 5)
        log_warn("picture left out: %s", why);
    e->n_failed++;
    str_add(&e->failed, "%lld\t", (long long)row);
    encode_add_cell(&e->failed, dataset_image_cell(d, row, "id"));
    str_add_c(&e->failed, '\t');
    encode_add_cell(&e->failed, dataset_image_cell(d, row, "path"));
    str_add_c(&e->failed, '\t');
    encode_add_cell(&e->failed, why);
    str_add_c(&e->failed, '\n');
}

/* Row i of what the model has given, as places to write to. */
static struct model_rows rows_at(const struct encoder *e, bool text, int64_t i)
{
    struct model_rows r = {.unit = e->vectors + i * e->job->m->embed};
    if (e->job->features) {
        r.features = e->features[text] + i * e->last[text].width;
        r.lengths = e->lengths + i;
    }
    return r;
}

static int put_vectors(struct encoder *e, bool text, int64_t n)
{
    if (n == 0)
        return 0;
    int64_t width = e->last[text].width;
    for (int64_t i = 0; e->job->features && i < n; i++) {
        memcpy(e->row, e->features[text] + i * width, (size_t)width * sizeof *e->row);
        e->row[width] = e->lengths[i];
        TRY(npy_writer_add(e->more, e->row, 1));
    }
    if (strcmp(e->job->dtype, "float16") != 0)
        return npy_writer_add(e->npy, e->vectors, n);
    TRY(dtype_convert(DT_F16, e->halves, DT_F32, e->vectors, (size_t)(n * e->job->m->embed)));
    return npy_writer_add(e->npy, e->halves, n);
}

static void move_row(struct encoder *e, int64_t from, int64_t to)
{
    struct model_rows a = rows_at(e, false, from), b = rows_at(e, false, to);
    memcpy(b.unit, a.unit, (size_t)e->job->m->embed * sizeof *b.unit);
    if (!b.features)
        return;
    memcpy(b.features, a.features, (size_t)e->last[0].width * sizeof *b.features);
    *b.lengths = *a.lengths;
}

/* In the grains that the model takes at once, so that Ctrl-C need not wait for the whole batch. */
static int encode_buffer(struct encoder *e, struct encode_buffer *b)
{
    struct model *m = e->job->m;
    int64_t each = 3 * m->image_size * m->image_size, n = 0;
    for (int64_t i = 0; i < e->job->loaders; i++) {
        if (b->code[i] == ERR_MEMORY)
            FAIL(ERR_MEMORY, "no memory to decode pictures; take fewer --loader-threads or a smaller --batch");
        if (b->code[i] < 0)
            FAIL(b->code[i], "%s", b->why[b->bad[i]]);
    }
    for (int64_t i = 0; i < b->n; i += MODEL_GRAIN) {
        int64_t k = b->n - i < MODEL_GRAIN ? b->n - i : MODEL_GRAIN;
        TRY(signal_check());
        struct model_rows rows = rows_at(e, false, i);
        TRY_IN(model_features_pixels(m, b->pixels + i * each, k, e->job->low, &rows), "encoding pictures %lld to %lld",
               (long long)(b->first + i), (long long)(b->first + i + k - 1));
    }
    for (int64_t i = 0; i < b->n; i++) {
        if (b->why[i]) {
            note_failure(e, b->first + i, b->why[i]);
            mem_free(b->why[i]);
            b->why[i] = NULL;
            continue;
        }
        if (n < i)
            move_row(e, i, n);
        e->rows[e->n_rows++] = b->first + i;
        n++;
    }
    return put_vectors(e, false, n);
}

static int make_images(struct encoder *e, const struct encode_piece *p)
{
    double start = clock_seconds();
    int64_t end = p->first + p->n;
    int rc = start_loading(e, &e->buffer[0], p->first, end), now = 0;
    for (int64_t first = p->first; rc == 0 && first < end; first += e->job->batch, now = !now) {
        struct encode_buffer *b = &e->buffer[now];
        pool_wait(e->pool);
        rc = start_loading(e, &e->buffer[!now], first + b->n, end);
        if (rc == 0)
            rc = encode_buffer(e, b);
        progress_add(e->progress, b->n);
        if (rc == 0 && e->n_noted)
            progress_note(e->progress, "%lld left out", (long long)e->n_noted);
        if (rc == 0)
            rc = signal_check();
    }
    pool_wait(e->pool);
    e->n_encoded += e->n_rows;
    e->seconds += clock_seconds() - start;
    return rc;
}

/* ---- captions
 * ---------------------------------------------------------------------------------------------------------------- */

static int make_texts(struct encoder *e, const struct encode_piece *p)
{
    for (int64_t i = 0; i < p->n; i += ENCODE_TEXTS) {
        int64_t n = p->n - i < ENCODE_TEXTS ? p->n - i : ENCODE_TEXTS, cut = 0;
        TRY(signal_check());
        for (int64_t k = 0; k < n; k++) {
            e->texts[k] = e->job->d->captions[p->first + i + k];
            e->rows[e->n_rows++] = p->first + i + k;
        }
        struct model_rows rows = rows_at(e, true, 0);
        TRY_IN(model_features_texts(e->job->m, e->texts, n, e->job->low, &rows, &cut), "encoding captions %lld to %lld",
               (long long)(p->first + i), (long long)(p->first + i + n - 1));
        e->n_truncated += cut;
        TRY(put_vectors(e, true, n));
        progress_add(e->progress, n);
    }
    return 0;
}

/* ---- one shard
 * --------------------------------------------------------------------------------------------------------------- */

static int put_text(const char *folder, const char *name, const struct str *b)
{
    char path[2048];
    if (b->failed)
        FAIL(ERR_MEMORY, "no memory for %s", name);
    TRY(path_join(path, sizeof path, folder, name));
    return atomic_put(path, b->s ? b->s : "", b->n);
}

static int put_tables(struct encoder *e, const char *folder)
{
    struct str b = {0};
    str_add(&b, "row\n");
    for (int64_t i = 0; i < e->n_rows; i++)
        str_add(&b, "%lld\n", (long long)e->rows[i]);
    int rc = put_text(folder, encode_piece_files[1], &b);
    str_free(&b);
    TRY(rc);
    return put_text(folder, encode_piece_files[2], &e->failed);
}

static int make_files(struct encoder *e, const struct encode_piece *p, const char *folder)
{
    char path[2048];
    enum dtype t = strcmp(e->job->dtype, "float16") ? DT_F32 : DT_F16;
    e->n_rows = e->n_failed = e->n_truncated = 0;
    str_clear(&e->failed);
    str_add(&e->failed, "row\tid\tpath\treason\n");
    TRY(path_join(path, sizeof path, folder, encode_piece_files[0]));
    TRY(npy_writer_open(&e->npy, path, t, 1, &e->job->m->embed));
    int rc = 0;
    if (e->job->features) {
        int64_t width = e->last[p->text].width + 1;
        rc = path_join(path, sizeof path, folder, encode_piece_files[3]);
        if (rc == 0)
            rc = npy_writer_open(&e->more, path, DT_F32, 1, &width);
    }
    if (rc == 0)
        rc = p->text ? make_texts(e, p) : make_images(e, p);
    if (rc == 0)
        rc = npy_writer_commit(&e->npy);
    if (rc == 0 && e->more)
        rc = npy_writer_commit(&e->more);
    npy_writer_abort(&e->npy);
    npy_writer_abort(&e->more);
    TRY(rc);
    return put_tables(e, folder);
}

int encode_piece_make(struct encoder *e, const struct encode_piece *p, bool *made)
{
    const char *folder;
    *made = false;
    TRY(workdir_begin(e->work, p->name, &folder));
    if (!folder)
        return 0;
    int rc = make_files(e, p, folder);
    if (rc < 0) {
        workdir_abort(e->work);
        return err_while(rc, "making shard %s", p->name);
    }
    json_t *o =
        json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:O*, s:O*}", "format", "meridian encoding shard", "version", 1,
                  "first", (json_int_t)p->first, "n", (json_int_t)p->n, "n_rows", (json_int_t)e->n_rows, "n_failed",
                  (json_int_t)e->n_failed, "n_truncated", (json_int_t)e->n_truncated, "model",
                  json_object_get(e->plan, "model"), "fingerprint", json_object_get(e->plan, "fingerprint"));
    if (o && json_object_set(o, "data_fingerprint", json_object_get(e->plan, "data_fingerprint")) < 0) {
        json_decref(o);
        o = NULL;
    }
    TRY_IN(workdir_commit(e->work, o, encode_piece_files, n_files(e->job)), "finishing shard %s", p->name);
    *made = true;
    return 0;
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------------------------ */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int64_t number_of(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

static int check_manifest(const struct encoder *e, const struct encode_piece *p, const json_t *o)
{
    int64_t n_rows = number_of(o, "n_rows"), n_failed = number_of(o, "n_failed");
    if (strcmp(text_of(o, "fingerprint"), text_of(e->plan, "fingerprint")) != 0)
        FAIL(ERR_MISMATCH,
             "shard %s of %s was made by model \"%.80s\" (fingerprint %.16s), but model \"%.80s\" (fingerprint %.16s) "
             "is given: their vectors never mix; --force makes the shard again",
             p->name, e->job->out, text_of(o, "model"), text_of(o, "fingerprint"), text_of(e->plan, "model"),
             text_of(e->plan, "fingerprint"));
    if (strcmp(text_of(o, "data_fingerprint"), text_of(e->plan, "data_fingerprint")) != 0 ||
        number_of(o, "first") != p->first || number_of(o, "n") != p->n || n_rows < 0 || n_failed < 0 ||
        n_rows + n_failed != p->n || number_of(o, "n_truncated") < 0)
        FAIL(ERR_DATA, "shard %s of %s holds other rows than this job's", p->name, e->job->out);
    return 0;
}

int encode_piece_verify(const struct encoder *e, const struct encode_piece *p, bool *good)
{
    json_t *o = NULL;
    *good = false;
    int rc = workdir_check(e->work, p->name, encode_piece_files, n_files(e->job), &o);
    if (rc == 0)
        rc = check_manifest(e, p, o);
    json_decref(o);
    if (rc == ERR_MEMORY || (rc == ERR_MISMATCH && !e->job->force))
        return rc;
    *good = rc == 0;
    if (rc < 0) {
        log_warn("%s; it is made again", err_text());
        err_clear();
    }
    return 0;
}

static int open_files(const struct encoder *e, const struct encode_piece *p, struct encode_done *d)
{
    char path[2048];
    json_t *o = NULL;
    TRY(workdir_path(path, sizeof path, e->work, p->name, "piece.json"));
    TRY(json_read_file(&o, path));
    int rc = check_manifest(e, p, o);
    d->n = number_of(o, "n_rows");
    d->n_failed = number_of(o, "n_failed");
    d->n_truncated = number_of(o, "n_truncated");
    json_decref(o);
    TRY(rc);
    TRY(workdir_path(path, sizeof path, e->work, p->name, encode_piece_files[0]));
    TRY(npy_open(&d->vectors, path));
    if (d->vectors.n_dims != 2 || d->vectors.shape[0] != d->n || d->vectors.shape[1] != e->job->m->embed)
        FAIL(ERR_DATA, "%s: expected the shape [%lld, %lld]", path, (long long)d->n, (long long)e->job->m->embed);
    if (e->job->features) {
        int64_t width = e->last[p->text].width + 1;
        TRY(workdir_path(path, sizeof path, e->work, p->name, encode_piece_files[3]));
        TRY(npy_open(&d->features, path));
        if (d->features.dtype != DT_F32 || d->features.n_dims != 2 || d->features.shape[0] != d->n ||
            d->features.shape[1] != width)
            FAIL(ERR_DATA, "%s: expected the shape [%lld, %lld]", path, (long long)d->n, (long long)width);
    }
    TRY(workdir_path(path, sizeof path, e->work, p->name, encode_piece_files[1]));
    TRY(table_read(&d->rows, path));
    if (d->rows.n_rows != d->n || table_col(&d->rows, "row") != 0)
        FAIL(ERR_DATA, "%s: expected the column row and %lld lines", path, (long long)d->n);
    return 0;
}

int encode_piece_open(const struct encoder *e, const struct encode_piece *p, struct encode_done *out)
{
    struct encode_done d = {0};
    int rc = open_files(e, p, &d);
    if (rc < 0) {
        encode_piece_close(&d);
        return rc;
    }
    *out = d;
    return 0;
}

void encode_piece_close(struct encode_done *d)
{
    npy_close(&d->vectors);
    npy_close(&d->features);
    table_free(&d->rows);
}
