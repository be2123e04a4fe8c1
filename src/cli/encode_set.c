/* cli/encode_set.c: the shards of an encoding, and the set made of them.
 *
 * The data are cut into shards of --shard-rows rows; each is committed whole into the work folder SET.partial
 * (io/workdir.c), and when all stand, they are read in order into the set, which appears in one rename. What a kill at
 * any point leaves is finished by the same command, with the same bytes: a shard depends on the plan alone, not on who
 * made it, when, or what else was done. Processes of a job array make the shards of their part; whoever finds them all
 * finished puts the set together. Rejected: appending to one growing file (a torn tail must be found and cut, and
 * several machines cannot), and leaving large sets in shards (every reader would pay for the writer's convenience). */
#include "cli/encode_work.h"

#include <string.h>

/* ---- names and ends
 * -------------------------------------------------------------------------------------------------------- */

static int partial_path(const char *out, char path[1024])
{
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/')
        n--;
    if (n + 16 > 1024)
        FAIL(ERR_FAIL, "output path \"%.80s…\" is too long", out);
    memcpy(path, out, n);
    strcpy(path + n, ".partial");
    return 0;
}

bool encode_set_begun(const char *out)
{
    char path[1024], plan[1100];
    return partial_path(out, path) == 0 && path_join(plan, sizeof plan, path, "plan.json") == 0 && path_exists(plan);
}

/* The set that stands at OUT came out of this very plan: then there is nothing left to do. */
static int is_ours(const struct encoder *e, bool *ours, struct encode_result *r)
{
    char path[1100];
    json_t *o = NULL;
    *ours = false;
    TRY(path_join(path, sizeof path, e->job->out, "set.json"));
    if (!path_exists(path))
        return 0;
    if (json_read_file(&o, path) < 0) {
        err_clear();
        return 0;
    }
    json_t *encoding = json_object_get(o, "encoding");
    *ours = encoding && json_equal(encoding, e->plan);
    if (*ours) {
        r->n_images = json_integer_value(json_object_get(o, "n_images"));
        r->n_texts = json_integer_value(json_object_get(o, "n_texts"));
        r->n_failed = json_integer_value(json_object_get(o, "n_failed"));
        r->n_truncated = json_integer_value(json_object_get(o, "n_truncated"));
        r->n_done = r->n_shards;
        r->finished = true;
    }
    json_decref(o);
    return 0;
}

/* What stands at OUT already. Ours and asked to go on: finished. Otherwise force decides. */
static int check_output(const struct encoder *e, bool going_on, struct encode_result *r)
{
    const struct encode_job *job = e->job;
    bool ours = false;
    if (!path_exists(job->out))
        return 0;
    if (going_on && (!job->force || job->n_parts > 0))
        TRY(is_ours(e, &ours, r));
    return ours ? 0 : path_check_output(job->out, job->force);
}

/* ---- making the shards
 * ----------------------------------------------------------------------------------------------------- */

struct tally {
    char *state; /* [n_shards] 1: verified or made by us */
    int64_t n_done, n_made;
};

static bool is_mine(const struct encode_job *job, int64_t i)
{
    return job->n_parts == 0 || i % job->n_parts == job->part - 1;
}

/* A finished shard is believed only after its checksums; a damaged one goes. */
static int look_at(struct encoder *e, const struct encode_piece *p, bool *good)
{
    *good = false;
    if (!workdir_has(e->work, p->name))
        return 0;
    TRY(encode_piece_verify(e, p, good));
    return *good ? 0 : workdir_drop(e->work, p->name);
}

static int make_one(struct encoder *e, int64_t i, struct tally *t)
{
    struct encode_piece p = encode_piece_at(e->job, i);
    bool good = t->state[i], made = false;
    if (!good)
        TRY(look_at(e, &p, &good));
    if (good) {
        if (!t->state[i])
            progress_skip(e->progress, p.n);
        t->state[i] = 1;
        return 0;
    }
    TRY(encode_piece_make(e, &p, &made));
    t->state[i] = made;
    t->n_made += made;
    return 0;
}

static int64_t rows_of_part(const struct encoder *e, bool text)
{
    int64_t n = 0;
    for (int64_t i = 0; i < encode_piece_count(e->job); i++) {
        struct encode_piece p = encode_piece_at(e->job, i);
        n += is_mine(e->job, i) && p.text == text ? p.n : 0;
    }
    return n;
}

static int make_side(struct encoder *e, struct tally *t, bool text)
{
    const char *word = text ? "captions" : "pictures";
    int64_t n = rows_of_part(e, text);
    int rc = 0;
    if (n == 0)
        return 0;
    progress_open(&e->progress, word, n, word);
    for (int64_t i = 0; rc == 0 && i < encode_piece_count(e->job); i++)
        if (is_mine(e->job, i) && encode_piece_at(e->job, i).text == text)
            rc = make_one(e, i, t);
    progress_close(&e->progress);
    return rc;
}

/* After our part: are all shards there, and whole? The damaged ones are made again, whoever made them. */
static int complete(struct encoder *e, struct tally *t, bool *all)
{
    int64_t n = encode_piece_count(e->job);
    *all = true;
    for (int pass = 0; pass < 2; pass++) { /* look first: verifying costs reading */
        t->n_done = 0;
        for (int64_t i = 0; i < n; i++) {
            struct encode_piece p = encode_piece_at(e->job, i);
            if (pass == 1 && !t->state[i])
                TRY(make_one(e, i, t));
            t->n_done += workdir_has(e->work, p.name);
        }
        *all = t->n_done == n;
        if (!*all)
            return 0;
    }
    return 0;
}

/* ---- the set
 * ---------------------------------------------------------------------------------------------------------------- */

struct assembly {
    struct set_writer *w;
    int64_t *image_row; /* [n_images] row in the set, -1: left out */
    int64_t *text_row;  /* [n_texts] likewise */
    struct str failed;
    struct encode_result got;
};

/* Rows at..at+n of a shard as float32 into e->vectors. */
static int read_vectors(struct encoder *e, const struct encode_done *d, int64_t at, int64_t n)
{
    int64_t width = e->job->m->embed;
    const char *from = (const char *)d->vectors.data + (size_t)(at * width) * dtype_size(d->vectors.dtype);
    return dtype_convert(DT_F32, e->vectors, d->vectors.dtype, from, (size_t)(n * width));
}

/* Row i of a shard's features into the set. */
static int take_features(struct encoder *e, struct assembly *a, const struct encode_done *d, bool text, int64_t i)
{
    int64_t width = e->last[text].width;
    const float *row = d->features.data;
    if (!e->job->features)
        return 0;
    row += i * (width + 1);
    return set_writer_features(a->w, text, row, row + width, 1);
}

/* failed.tsv of a shard without its first line. */
static int add_failed(struct encoder *e, const struct encode_piece *p, struct str *failed)
{
    char path[1200];
    struct map m = {0};
    TRY(workdir_path(path, sizeof path, e->work, p->name, encode_piece_files[2]));
    TRY(map_open(&m, path));
    const char *text = (const char *)m.data, *line = m.size ? memchr(text, '\n', m.size) : NULL;
    size_t skip = line ? (size_t)(line - text) + 1 : m.size;
    if (!failed->n && line)
        str_add_n(failed, text, skip);
    str_add_n(failed, text + skip, m.size - skip);
    int rc = map_check(&m);
    map_close(&m);
    return rc;
}

static int take_images(struct encoder *e, struct assembly *a, const struct encode_piece *p, const struct encode_done *d)
{
    for (int64_t i = 0; i < d->n; i += ENCODE_TEXTS) {
        int64_t n = d->n - i < ENCODE_TEXTS ? d->n - i : ENCODE_TEXTS;
        for (int64_t k = i; k < i + n; k++) {
            int64_t row = 0;
            TRY(table_int(&d->rows, k, 0, p->first, p->first + p->n - 1, &row));
            a->image_row[row] = a->got.n_images++;
            TRY(take_features(e, a, d, false, k));
        }
        TRY(read_vectors(e, d, i, n));
        TRY(set_writer_images(a->w, e->vectors, n));
    }
    a->got.n_failed += d->n_failed;
    return d->n_failed ? add_failed(e, p, &a->failed) : 0;
}

/* Captions that had pictures and lost them all are left out; the others keep their order. */
static void choose_texts(const struct dataset *d, struct assembly *a)
{
    for (int64_t i = 0; i < d->n_texts; i++)
        a->text_row[i] = 0;
    for (int64_t i = 0; i < d->n_pairs; i++)
        if (a->image_row[d->pairs[i].image] < 0)
            a->text_row[d->pairs[i].text] = -1;
    for (int64_t i = 0; i < d->n_pairs; i++)
        if (a->image_row[d->pairs[i].image] >= 0)
            a->text_row[d->pairs[i].text] = 0;
    for (int64_t i = 0; i < d->n_texts; i++)
        if (a->text_row[i] == 0)
            a->text_row[i] = a->got.n_texts++;
}

static int take_texts(struct encoder *e, struct assembly *a, const struct encode_piece *p, const struct encode_done *d)
{
    int64_t width = e->job->m->embed;
    for (int64_t i = 0; i < d->n; i += ENCODE_TEXTS) {
        int64_t n = d->n - i < ENCODE_TEXTS ? d->n - i : ENCODE_TEXTS, kept = 0;
        TRY(read_vectors(e, d, i, n));
        for (int64_t k = 0; k < n; k++) {
            int64_t row = 0;
            TRY(table_int(&d->rows, i + k, 0, p->first, p->first + p->n - 1, &row));
            if (a->text_row[row] < 0)
                continue;
            if (kept < k)
                memcpy(e->vectors + kept * width, e->vectors + k * width, (size_t)width * sizeof *e->vectors);
            kept++;
            TRY(take_features(e, a, d, true, i + k));
        }
        TRY(set_writer_texts(a->w, e->vectors, kept));
    }
    a->got.n_truncated += d->n_truncated;
    return 0;
}

static int take_side(struct encoder *e, struct assembly *a, bool text)
{
    for (int64_t i = 0; i < encode_piece_count(e->job); i++) {
        struct encode_piece p = encode_piece_at(e->job, i);
        struct encode_done d;
        if (p.text != text)
            continue;
        TRY(signal_check());
        TRY(encode_piece_open(e, &p, &d));
        int rc = text ? take_texts(e, a, &p, &d) : take_images(e, a, &p, &d);
        if (rc == 0)
            rc = npy_check(&d.vectors);
        if (rc == 0)
            rc = npy_check(&d.features);
        encode_piece_close(&d);
        TRY(rc);
    }
    return 0;
}

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

/* Rows that the data lost before anything was decoded have no number of their own. */
static void add_refused(const struct dataset *d, struct str *failed)
{
    if (d->n_refused && !failed->n)
        str_add(failed, "row\tid\tpath\treason\n");
    for (int64_t i = 0; i < d->n_listed; i++) {
        const struct refused *f = &d->refused[i];
        str_add_c(failed, '\t');
        encode_add_cell(failed, f->id);
        str_add_c(failed, '\t');
        encode_add_cell(failed, f->path);
        str_add_c(failed, '\t');
        if (f->row > 0)
            str_add(failed, "row %lld of the source: ", (long long)f->row);
        encode_add_cell(failed, f->reason);
        str_add_c(failed, '\n');
    }
    if (d->n_refused > d->n_listed)
        str_add(failed, "\t\t\tand %lld more rows of the source\n", (long long)(d->n_refused - d->n_listed));
}

static json_t *extra_fields(const struct encoder *e, const struct assembly *a)
{
    char base[2048];
    const struct dataset *d = e->job->d;
    cli_path_base(d, base, sizeof base);
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:O}", "data_fingerprint", d->fingerprint, "n_failed",
                          (json_int_t)a->got.n_failed, "n_refused", (json_int_t)d->n_refused, "n_truncated",
                          (json_int_t)a->got.n_truncated, "made_by", "meridian " MERIDIAN_VERSION, "numbers",
                          e->job->low ? "bf16" : "f32", "path_base", base, "encoding", e->plan);
    const struct model *m = e->job->m;
    double bias;
    if (!o || !m->logit_bias)
        return o;
    if (dtype_convert(DT_F64, &bias, m->params.real, m->logit_bias->data, 1) == 0 &&
        json_object_set_new(o, "logit_bias", json_real(bias)) == 0)
        return o;
    json_decref(o);
    return NULL;
}

static int commit(struct encoder *e, struct assembly *a)
{
    const struct dataset *d = e->job->d;
    const char **images = NULL, **texts = NULL;
    int64_t n_pairs = 0;
    struct set_pair *pairs = mem_calloc((size_t)d->n_pairs + 1, sizeof *pairs);
    json_t *extra = extra_fields(e, a);
    int rc = pairs && extra ? 0 : err_set(ERR_MEMORY, "no memory for the tables of %s", e->job->out);
    for (int64_t i = 0; rc == 0 && i < d->n_pairs; i++) {
        struct set_pair p = {a->image_row[d->pairs[i].image], a->text_row[d->pairs[i].text]};
        if (p.image >= 0 && p.text >= 0)
            pairs[n_pairs++] = p;
    }
    if (rc == 0)
        rc = keep_rows(d->image_cells, d->n_image_cols, d->n_images, a->image_row, &images);
    if (rc == 0)
        rc = keep_rows(d->text_cells, d->n_text_cols, d->n_texts, a->text_row, &texts);
    struct set_table image_table = {d->n_image_cols, d->image_cols, images, a->got.n_images};
    struct set_table text_table = {d->n_text_cols, d->text_cols, texts, a->got.n_texts};
    add_refused(d, &a->failed);
    if (rc == 0 && a->failed.failed)
        rc = err_set(ERR_MEMORY, "%s: no memory for failed.tsv", e->job->out);
    if (rc == 0 && a->failed.n)
        rc = set_writer_file(a->w, "failed.tsv", a->failed.s, a->failed.n);
    if (rc == 0)
        rc = set_writer_commit(&a->w, &image_table, &text_table, pairs, n_pairs, extra);
    mem_free(pairs);
    mem_free(images);
    mem_free(texts);
    json_decref(extra);
    return rc;
}

static int open_writer(struct encoder *e, struct assembly *a)
{
    const struct encode_job *job = e->job;
    const struct dataset *d = job->d;
    struct set_info info = {.model = job->m->name,
                            .fingerprint = json_string_value(json_object_get(e->plan, "fingerprint")),
                            .data = d->spec,
                            .protocol = job->protocol,
                            .dtype = job->dtype,
                            .logit_scale = model_logit_scale(job->m),
                            .width = job->m->embed,
                            .unit = true};
    for (int k = 0; job->features && k < 2; k++)
        info.features[k] = (struct set_features){.width = e->last[k].width,
                                                 .n_weights = e->last[k].n_weights,
                                                 .bias = e->last[k].bias,
                                                 .square = e->last[k].square};
    a->image_row = mem_calloc((size_t)d->n_images + 1, sizeof *a->image_row);
    a->text_row = mem_calloc((size_t)d->n_texts + 1, sizeof *a->text_row);
    if (!a->image_row || !a->text_row)
        return ERR_MEMORY;
    for (int64_t i = 0; i < d->n_images; i++)
        a->image_row[i] = -1;
    return set_writer_open(&a->w, job->out, job->force, &info);
}

static int put_together(struct encoder *e, struct assembly *a)
{
    const struct dataset *d = e->job->d;
    TRY(open_writer(e, a));
    TRY(take_side(e, a, false));
    e->hopeless = d->n_images > 0 && a->got.n_images == 0;
    if (e->hopeless)
        FAIL(ERR_DATA, "%s: none of the %lld pictures could be read; nothing was written", d->spec,
             (long long)d->n_images);
    choose_texts(d, a);
    TRY(take_side(e, a, true));
    return commit(e, a);
}

/* One process puts the set together; another that comes meanwhile leaves it alone. */
static int assemble(struct encoder *e, struct encode_result *r)
{
    bool got = false;
    struct assembly a = {0};
    TRY(workdir_claim(e->work, "assemble", &got));
    if (!got)
        return 0;
    int rc = 0;
    if (!workdir_is_finished(e->work)) {
        rc = put_together(e, &a);
        if (rc == 0) {
            *r = (struct encode_result){.n_images = a.got.n_images,
                                        .n_texts = a.got.n_texts,
                                        .n_failed = a.got.n_failed,
                                        .n_truncated = a.got.n_truncated,
                                        .n_shards = r->n_shards,
                                        .finished = true,
                                        .images_per_second = r->images_per_second};
            rc = workdir_finished(e->work);
        }
    }
    set_writer_abort(&a.w);
    mem_free(a.image_row);
    mem_free(a.text_row);
    str_free(&a.failed);
    workdir_abort(e->work);
    return rc;
}

int encode_protocol(struct dataset **d, const struct dataset_opt *which, const struct mask_opt *mask, char *protocol,
                    size_t n)
{
    snprintf(protocol, n, "split %s, captions %s", which->split ? which->split : "all", which->captions);
    if (!mask || !(mask->pictures > 0 || mask->words > 0))
        return 0;
    size_t used = strlen(protocol);
    snprintf(protocol + used, n - used, ", masked: pictures %g (%s), words %g, seed %llu", mask->pictures,
             mask->centre ? "centre" : "random", mask->words, (unsigned long long)mask->seed);
    return dataset_mask(d, mask);
}

/* ---- the whole
 * --------------------------------------------------------------------------------------------------------------- */

static int64_t rows_to_come(const struct encoder *e)
{
    int64_t n = 0;
    for (int64_t i = 0; i < encode_piece_count(e->job); i++) {
        struct encode_piece p = encode_piece_at(e->job, i);
        n += is_mine(e->job, i) && !workdir_has(e->work, p.name) ? p.n : 0;
    }
    return n;
}

static int work(struct encoder *e, struct tally *t, struct encode_result *r)
{
    bool all = false;
    TRY(encode_plan_space(e->job, rows_to_come(e)));
    TRY(encode_allocate(e));
    int rc = make_side(e, t, false);
    if (rc == 0)
        rc = make_side(e, t, true);
    r->n_images = e->n_encoded;
    r->n_failed = e->n_noted;
    r->images_per_second = e->seconds > 0 ? (double)e->n_encoded / e->seconds : 0;
    TRY(rc);
    TRY(complete(e, t, &all));
    return all ? assemble(e, r) : 0;
}

/* After a failure. What is finished stays, unless it is nothing, or every picture failed: then trying again must be
 * able to read them. */
static bool tell_what_stays(const struct encoder *e, const char *path)
{
    int64_t n = encode_piece_count(e->job), done = 0;
    for (int64_t i = 0; i < n; i++)
        done += workdir_has(e->work, encode_piece_at(e->job, i).name);
    if (done == 0 || e->hopeless)
        return false;
    log_info("%lld of %lld shards are finished and stay in %s", (long long)done, (long long)n, path);
    log_info("to go on: %s", e->job->command);
    return true;
}

static int run_in_folder(struct encoder *e, struct encode_result *r)
{
    char path[1024], why[1024];
    const struct encode_job *job = e->job;
    struct tally t = {0};
    TRY(partial_path(job->out, path));
    TRY(workdir_open(&e->work, path, job->n_parts == 0, job->force, e->plan, encode_plan_agree));
    /* again: another process of a job array may have finished and removed the folder in between */
    int rc = check_output(e, true, r);
    bool drop = r->finished;
    if (rc == 0 && !r->finished) {
        if (workdir_resumed(e->work))
            log_info("going on with the work in %s", path);
        t.state = mem_calloc((size_t)r->n_shards + 1, 1);
        rc = t.state ? work(e, &t, r) : ERR_MEMORY;
        r->n_done = t.n_done;
        r->n_made = t.n_made;
    }
    snprintf(why, sizeof why, "%s", err_text());
    if (rc < 0)
        drop = !tell_what_stays(e, path);
    mem_free(t.state);
    int closed = workdir_close(&e->work, drop);
    return rc < 0 ? err_set(rc, "%s", why) : closed;
}

int encode_set(const struct encode_job *job, struct encode_result *out)
{
    struct encoder e = {.job = job};
    struct encode_result r = {.n_shards = encode_piece_count(job)};
    bool going_on = job->resume || job->n_parts > 0 || encode_set_begun(job->out);
    int rc = encode_plan_json(job, &e.plan);
    if (rc == 0)
        rc = check_output(&e, going_on, &r);
    if (rc == 0 && !(r.finished && !encode_set_begun(job->out))) {
        bool finished = r.finished;
        rc = finished ? 0 : encode_plan_memory(job);
        r.finished = false;
        if (rc == 0)
            rc = run_in_folder(&e, &r);
    }
    encode_free(&e);
    json_decref(e.plan);
    if (rc == 0)
        *out = r;
    return rc;
}
