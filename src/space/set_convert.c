/* space/set_convert.c: an open set written again, as a set or as a folder of clip-retrieval.
 *
 * clip-retrieval knows one list of samples, so a pair becomes a row and a picture with five captions five rows; what
 * has no partner is left out and counted. Shards of a million rows, numbers padded to the number of shards, as its own
 * writer has them; metadata as Parquet with image_path and caption. Its layout has no place for the model, so
 * meridian.json beside the folders keeps model and fingerprint; its readers do not look at it. */
#include "space/set_private.h"

#include <math.h>
#include <string.h>

enum { SHARD_ROWS = 1000000, BLOCK = 1024 };

static const char *const left_out[] = {"encoding", "checksums", "n_failed", "n_refused", "n_truncated", "features"};

/* ---- as a set
 * --------------------------------------------------------------------------------------------------------------- */

/* Keys of set.json that stay true of the copy; the writer's own replace the old ones. */
static int extra_fields(const struct set *s, json_t **out)
{
    json_t *o = s->json ? json_copy(s->json) : json_object();
    if (!o)
        FAIL(ERR_MEMORY, "no memory to copy set \"%s\"", s->path);
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
        json_object_del(o, left_out[i]);
    *out = o;
    return 0;
}

static struct set_table table_of(const struct set_side *side)
{
    return (struct set_table){side->meta.n_cols, side->meta.cols, side->meta.cells, side->n};
}

/* What goes along. Features without lengths go along where the rows have the lengths themselves. */
static struct set_features features_of(const struct set *s, int which)
{
    const struct set_features *f = which ? &s->text.features : &s->image.features;
    struct set_features kept = {.width = f->width, .bias = f->bias, .n_weights = f->n_weights, .square = f->square};
    if (!f->x)
        return (struct set_features){0};
    if (f->lengths || !s->unit)
        return kept;
    log_warn("%s: the %s features are left out: the lengths of the embeddings are unknown", s->path,
             which ? "text" : "image");
    return (struct set_features){0};
}

static int put_features(struct set_writer *w, const struct set *s, int which, bool kept)
{
    const struct set_side *side = which ? &s->text : &s->image;
    const struct set_features *f = &side->features;
    if (!kept)
        return 0;
    for (int64_t i = 0; i < side->n; i++) {
        const float *row = side->x + i * s->width;
        float own = (float)sqrt(space_dot(row, row, s->width));
        TRY(set_writer_features(w, which, f->x + i * f->width, f->lengths ? f->lengths + i : &own, 1));
    }
    for (int k = 0; k < 2; k++)
        TRY(npy_check(&f->file[k]));
    return 0;
}

int set_write(const struct set *s, const char *dir, const char *dtype, bool force)
{
    struct set_writer *w = NULL;
    json_t *extra = NULL;
    struct set_info info = {.model = s->model,
                            .fingerprint = s->fingerprint,
                            .data = s->data,
                            .protocol = s->protocol,
                            .dtype = dtype,
                            .logit_scale = s->logit_scale,
                            .width = s->width,
                            .unit = s->unit};
    struct set_table images = table_of(&s->image), texts = table_of(&s->text);
    for (int k = 0; k < 2; k++)
        info.features[k] = features_of(s, k);
    TRY(extra_fields(s, &extra));
    int rc = set_writer_open(&w, dir, force, &info);
    if (rc == 0)
        rc = set_writer_images(w, s->image.x, s->image.n);
    if (rc == 0)
        rc = set_writer_texts(w, s->text.x, s->text.n);
    for (int k = 0; rc == 0 && k < 2; k++)
        rc = put_features(w, s, k, info.features[k].width > 0);
    if (rc == 0)
        rc = set_writer_commit(&w, s->image.has_meta ? &images : NULL, s->text.has_meta ? &texts : NULL, s->pairs,
                               s->n_pairs, extra);
    set_writer_abort(&w);
    json_decref(extra);
    return rc;
}

/* ---- as a folder of clip-retrieval
 * ------------------------------------------------------------------------------------------ */

struct clip_job {
    const struct set *s;
    struct atomic_dir dir;
    struct arena *arena;
    enum dtype dtype;
    int64_t n;    /* samples */
    int digits;   /* of a shard's number */
    bool side[2]; /* written */
    int n_cols;
    const char **cols;
    struct source {
        bool text;
        int col;
    } * from; /* [n_cols] */
};

static int64_t row_of(const struct clip_job *j, int64_t i, bool text)
{
    if (j->side[0] && j->side[1])
        return text ? j->s->pairs[i].text : j->s->pairs[i].image;
    return i;
}

/* Columns: image_path and caption first, then what else the tables have. */
static int add_column(struct clip_job *j, const char *name, bool text, int col)
{
    char other[300];
    for (int i = 0; i < j->n_cols; i++)
        if (!strcmp(j->cols[i], name)) {
            snprintf(other, sizeof other, "%s_%.280s", text ? "text" : "image", name);
            name = other;
            break;
        }
    j->cols[j->n_cols] = arena_strdup(j->arena, name);
    j->from[j->n_cols] = (struct source){text, col};
    return j->cols[j->n_cols++] ? 0 : ERR_MEMORY;
}

static int choose_columns(struct clip_job *j)
{
    const struct table *image = &j->s->image.meta, *text = &j->s->text.meta;
    int path = j->side[0] && j->s->image.has_meta ? table_col(image, "path") : -1;
    int caption = j->side[1] && j->s->text.has_meta ? table_col(text, "caption") : -1;
    size_t most = (size_t)(image->n_cols + text->n_cols) + 1;
    j->cols = arena_calloc(j->arena, most, sizeof *j->cols);
    j->from = arena_calloc(j->arena, most, sizeof *j->from);
    if (!j->cols || !j->from)
        return ERR_MEMORY;
    if (path >= 0)
        TRY(add_column(j, "image_path", false, path));
    if (caption >= 0)
        TRY(add_column(j, "caption", true, caption));
    for (int c = 0; j->side[0] && j->s->image.has_meta && c < image->n_cols; c++)
        if (c != path && strcmp(image->cols[c], "row"))
            TRY(add_column(j, image->cols[c], false, c));
    for (int c = 0; j->side[1] && j->s->text.has_meta && c < text->n_cols; c++)
        if (c != caption && strcmp(text->cols[c], "row") && strcmp(text->cols[c], "image_row"))
            TRY(add_column(j, text->cols[c], true, c));
    return 0;
}

static int shard_path(const struct clip_job *j, const char *folder, int64_t number, const char *ending, char path[1300])
{
    int n = snprintf(path, 1300, "%s/%s/%s_%0*lld%s", j->dir.tmp, folder, folder, j->digits, (long long)number, ending);
    if (n < 0 || n >= 1300)
        FAIL(ERR_FAIL, "path \"%.80s\" is too long", j->dir.path);
    return 0;
}

static int put_rows(const struct clip_job *j, struct npy_writer *w, bool text, int64_t first, int64_t n)
{
    const float *x = text ? j->s->text.x : j->s->image.x;
    int64_t d = j->s->width;
    for (int64_t i = 0; i < n; i++) {
        const float *row = x + row_of(j, first + i, text) * d;
        struct arena_mark m = arena_mark(j->arena);
        uint16_t *half = j->dtype == DT_F16 ? arena_alloc(j->arena, (size_t)d * sizeof *half) : NULL;
        if (j->dtype == DT_F16 && !half)
            return ERR_MEMORY;
        if (half)
            TRY(dtype_convert(DT_F16, half, DT_F32, row, (size_t)d));
        TRY(npy_writer_add(w, half ? (const void *)half : row, 1));
        arena_rewind(j->arena, m);
    }
    return 0;
}

static int put_vectors(const struct clip_job *j, bool text, int64_t shard, int64_t n)
{
    char path[1300];
    struct npy_writer *w = NULL;
    TRY(shard_path(j, text ? "text_emb" : "img_emb", shard, ".npy", path));
    TRY(npy_writer_open(&w, path, j->dtype, 1, &j->s->width));
    int rc = put_rows(j, w, text, shard * SHARD_ROWS, n);
    if (rc == 0)
        rc = npy_writer_commit(&w);
    npy_writer_abort(&w);
    return rc;
}

static int put_metadata(const struct clip_job *j, int64_t shard, int64_t n)
{
    char path[1300];
    size_t stride = (size_t)j->n_cols;
    TRY(shard_path(j, "metadata", shard, ".parquet", path));
    const char **cells = mem_calloc((size_t)n * stride + 1, sizeof *cells);
    if (!cells)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < j->n_cols; c++) {
            const struct source *f = &j->from[c];
            const struct table *t = f->text ? &j->s->text.meta : &j->s->image.meta;
            cells[(size_t)i * stride + (size_t)c] = table_cell(t, row_of(j, shard * SHARD_ROWS + i, f->text), f->col);
        }
    int rc = parquet_write(path, j->n_cols, j->cols, n, cells);
    mem_free(cells);
    return rc;
}

static int put_note(const struct clip_job *j)
{
    const struct set *s = j->s;
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:f}", "format", "clip-retrieval", "model", s->model, "fingerprint",
                          s->fingerprint, "data", s->data, "logit_scale", s->logit_scale);
    static const char *const kept[] = {"data_fingerprint", "path_base", "mixed"};
    for (size_t i = 0; o && i < ARRAY_LEN(kept); i++)
        if (json_object_get(s->json, kept[i]))
            json_object_set(o, kept[i], json_object_get(s->json, kept[i]));
    if (!o)
        FAIL(ERR_MEMORY, "no memory for meridian.json, or a name in it is not UTF-8");
    return atomic_put_json(j->dir.tmp, "meridian.json", o, JSON_INDENT(2));
}

static int put_shards(struct clip_job *j)
{
    char path[1300];
    static const char *const folders[] = {"img_emb", "text_emb", "metadata"};
    TRY(choose_columns(j));
    for (int i = 0; i < 3; i++) {
        if (i < 2 ? !j->side[i] : j->n_cols == 0)
            continue;
        TRY(path_join(path, sizeof path, j->dir.tmp, folders[i]));
        TRY(path_make_dirs(path));
    }
    for (int64_t shard = 0; shard * SHARD_ROWS < j->n || shard == 0; shard++) {
        int64_t n = j->n - shard * SHARD_ROWS < SHARD_ROWS ? j->n - shard * SHARD_ROWS : SHARD_ROWS;
        TRY(signal_check());
        for (int which = 0; which < 2; which++)
            if (j->side[which])
                TRY(put_vectors(j, which, shard, n));
        if (j->n_cols > 0)
            TRY(put_metadata(j, shard, n));
    }
    return put_note(j);
}

/* Rows of a side that no pair holds. */
static int64_t without_partner(const struct set *s, bool text, char *seen)
{
    int64_t n = text ? s->text.n : s->image.n, missing = 0;
    memset(seen, 0, (size_t)n);
    for (int64_t i = 0; i < s->n_pairs; i++)
        seen[text ? s->pairs[i].text : s->pairs[i].image] = 1;
    for (int64_t i = 0; i < n; i++)
        missing += !seen[i];
    return missing;
}

static int say_lost(const struct set *s)
{
    char *seen = mem_alloc((size_t)(s->image.n > s->text.n ? s->image.n : s->text.n) + 1);
    if (!seen)
        return ERR_MEMORY;
    for (int text = 0; text < 2; text++) {
        int64_t n = without_partner(s, text, seen);
        if (n > 0)
            log_warn("%lld %s without a partner are left out: clip-retrieval's rows are pairs", (long long)n,
                     text ? "captions" : "pictures");
    }
    mem_free(seen);
    return 0;
}

static int prepare(struct clip_job *j, const char *dir)
{
    const struct set *s = j->s;
    j->side[0] = s->image.n > 0;
    j->side[1] = s->text.n > 0;
    j->n = j->side[0] && j->side[1] ? s->n_pairs : s->image.n + s->text.n;
    if (j->n == 0)
        FAIL(ERR_DATA, "%s: set \"%s\" has no %s, so there is nothing to write", dir, s->path,
             j->side[0] && j->side[1] ? "pair" : "row");
    if (j->side[0] && j->side[1])
        TRY(say_lost(s));
    if (s->image.features.x || s->text.features.x)
        log_warn("the activations before the projections are left out: clip-retrieval's layout has no place for them");
    j->digits = 1;
    for (int64_t shards = (j->n + SHARD_ROWS - 1) / SHARD_ROWS; shards >= 10; shards /= 10)
        j->digits++;
    return arena_open(&j->arena, "clip-retrieval");
}

int set_write_clip_retrieval(const struct set *s, const char *dir, const char *dtype, bool force)
{
    struct clip_job j = {.s = s, .dtype = DT_F32};
    if (dtype && !strcmp(dtype, "float16"))
        j.dtype = DT_F16;
    else if (dtype && strcmp(dtype, "float32") != 0)
        FAIL(ERR_USAGE, "%s: vectors as \"%.40s\"; expected float32 or float16", dir, dtype);
    int rc = prepare(&j, dir);
    if (rc == 0)
        rc = atomic_dir_open(&j.dir, dir, force);
    if (rc == 0) {
        rc = put_shards(&j);
        if (rc == 0)
            rc = atomic_dir_commit(&j.dir);
        else
            atomic_dir_abort(&j.dir);
    }
    if (j.arena)
        arena_close(&j.arena);
    return rc < 0 ? err_while(rc, "writing \"%s\" in clip-retrieval's layout", dir) : 0;
}
