/* Writing a set: rows stream in, the folder appears whole at commit or not at all (docs/formats.md).
 *
 * Everything goes into a temporary folder beside the target; set.json, which holds the SHA-256 of every other file, is
 * written last, then one rename makes the set visible. Rows are checked as they come: a non-finite number, and a row
 * that is not of unit length in a set that claims so, are refused with side and row, because a bad vector found a week
 * later in a plot costs more than one comparison now. */
#include "space/set_private.h"

#include <math.h>
#include <string.h>

enum { CONVERT_NUMBERS = 16384, FLUSH_BYTES = 65536 };

struct set_writer {
    struct atomic_dir dir;
    bool dir_open;
    struct set_info info; /* its strings are copies in the arena */
    struct arena *arena;
    enum dtype dtype;
    struct npy_writer *npy[2];
    struct features_writer *features[2]; /* NULL: a set without */
    int64_t n[2];
};

static const char *const side_word[2] = {"image", "text"};
static const char *const file_names[] = {"image.npy", "text.npy", "images.csv", "texts.csv", "pairs.csv"};
static const char *const feature_files[2][2] = {{"image_features.npy", "image_lengths.npy"},
                                                {"text_features.npy", "text_lengths.npy"}};

static int copy_text(struct set_writer *w, const char **s)
{
    *s = arena_strdup(w->arena, *s ? *s : "");
    return *s ? 0 : ERR_MEMORY;
}

static int writer_start(struct set_writer *w, const char *dir, bool force)
{
    TRY(arena_open(&w->arena, "set writer"));
    TRY(copy_text(w, &w->info.model));
    TRY(copy_text(w, &w->info.fingerprint));
    TRY(copy_text(w, &w->info.data));
    TRY(copy_text(w, &w->info.protocol));
    TRY(copy_text(w, &w->info.dtype));
    TRY(atomic_dir_open(&w->dir, dir, force));
    w->dir_open = true;
    for (int i = 0; i < 2; i++) {
        char path[1100];
        TRY(path_join(path, sizeof path, w->dir.tmp, file_names[i]));
        TRY(npy_writer_open(&w->npy[i], path, w->dtype, 1, &w->info.width));
        if (w->info.features[i].width)
            TRY(features_writer_open(&w->features[i], w->dir.tmp, i, w->info.features[i].width, w->dtype));
    }
    return 0;
}

int set_writer_open(struct set_writer **out, const char *dir, bool force, const struct set_info *info)
{
    bool half = info->dtype && strcmp(info->dtype, "float16") == 0;
    if (info->dtype && !half && strcmp(info->dtype, "float32") != 0)
        FAIL(ERR_USAGE, "set \"%s\": vectors as \"%s\"; expected float32 or float16", dir, info->dtype);
    if (info->width < 1 || info->width > limit_get(LIMIT_WIDTH))
        FAIL(ERR_DATA, "set \"%s\": width %lld, expected 1 to %lld", dir, (long long)info->width,
             (long long)limit_get(LIMIT_WIDTH));
    struct set_writer *w = mem_calloc(1, sizeof *w);
    if (!w)
        return ERR_MEMORY;
    w->info = *info;
    w->info.dtype = half ? "float16" : "float32";
    w->dtype = half ? DT_F16 : DT_F32;
    int rc = writer_start(w, dir, force);
    if (rc < 0) {
        set_writer_abort(&w);
        return rc;
    }
    *out = w;
    return 0;
}

void set_writer_abort(struct set_writer **wp)
{
    struct set_writer *w = *wp;
    if (!w)
        return;
    for (int i = 0; i < 2; i++) {
        if (w->npy[i])
            npy_writer_abort(&w->npy[i]);
        features_writer_close(&w->features[i]);
    }
    if (w->dir_open)
        atomic_dir_abort(&w->dir);
    if (w->arena)
        arena_close(&w->arena);
    mem_free(w);
    *wp = NULL;
}

static int check_row(const struct set_writer *w, int side, const float *x, int64_t row)
{
    int64_t d = w->info.width;
    double square = space_dot(x, x, d), length = sqrt(square);
    bool ok = isfinite(square);
    for (int64_t j = 0; w->dtype == DT_F16 && ok && j < d; j++)
        ok = fabsf(x[j]) < 65520.0F; /* rounds to at most 65504, the largest half */
    if (!ok)
        FAIL(ERR_NONFINITE, "set \"%s\": %s row %lld holds a number that is not finite%s; nothing was written",
             w->dir.path, side_word[side], (long long)row, isfinite(square) ? " in float16" : "");
    if (w->info.unit && !(fabs(length - 1) < 1e-2))
        FAIL(ERR_DATA, "set \"%s\": %s row %lld has length %g, expected 1 in a set of unit length; nothing was written",
             w->dir.path, side_word[side], (long long)row, length);
    return 0;
}

static int add_rows(struct set_writer *w, int side, const float *x, int64_t n)
{
    int64_t d = w->info.width;
    uint16_t half[CONVERT_NUMBERS];
    for (int64_t i = 0; i < n; i++)
        TRY(check_row(w, side, x + i * d, w->n[side] + i));
    if (w->dtype == DT_F32) {
        TRY(npy_writer_add(w->npy[side], x, n));
        w->n[side] += n;
        return 0;
    }
    int64_t step = CONVERT_NUMBERS / d;
    if (step >= 1) {
        for (int64_t i = 0; i < n; i += step) {
            int64_t rows = n - i < step ? n - i : step;
            TRY(dtype_convert(DT_F16, half, DT_F32, x + i * d, (size_t)(rows * d)));
            TRY(npy_writer_add(w->npy[side], half, rows));
        }
    } else {
        uint16_t *row = mem_calloc((size_t)d, sizeof *row); /* wider than the buffer: row by row */
        int rc = row ? 0 : ERR_MEMORY;
        for (int64_t i = 0; rc == 0 && i < n; i++) {
            rc = dtype_convert(DT_F16, row, DT_F32, x + i * d, (size_t)d);
            if (rc == 0)
                rc = npy_writer_add(w->npy[side], row, 1);
        }
        mem_free(row);
        TRY(rc);
    }
    w->n[side] += n;
    return 0;
}

int set_writer_images(struct set_writer *w, const float *x, int64_t n)
{
    return add_rows(w, 0, x, n);
}

int set_writer_texts(struct set_writer *w, const float *x, int64_t n)
{
    return add_rows(w, 1, x, n);
}

int set_writer_features(struct set_writer *w, int side, const float *x, const float *lengths, int64_t n)
{
    BUG_ON(!w->features[side]);
    TRY_IN(features_writer_add(w->features[side], x, lengths, n), "writing set \"%s\"", w->dir.path);
    return 0;
}

int set_writer_file(struct set_writer *w, const char *name, const void *p, size_t n)
{
    char path[1100];
    TRY(path_join(path, sizeof path, w->dir.tmp, name));
    return atomic_put(path, p, n);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------
 */

/* Columns that say where a line stands are ours: a table that came from another set brings its old ones along. */
static bool is_ours(const char *name, bool texts)
{
    return strcmp(name, "row") == 0 || (texts && strcmp(name, "image_row") == 0);
}

static int flush(struct atomic_file *f, struct str *b, size_t at_least)
{
    if (b->failed)
        FAIL(ERR_MEMORY, "out of memory while writing a table of a set");
    if (b->n < at_least)
        return 0;
    TRY(atomic_write(f, b->s, b->n));
    str_clear(b);
    return 0;
}

static int write_lines(struct atomic_file *f, struct str *b, const struct set_table *t, int64_t n, const int64_t *first)
{
    str_add(b, first ? "row,image_row" : "row");
    for (int c = 0; t && c < t->n_cols; c++)
        if (!is_ours(t->cols[c], first != NULL)) {
            str_add_c(b, ',');
            str_add_csv(b, t->cols[c], ',');
        }
    str_add_c(b, '\n');
    for (int64_t i = 0; i < n; i++) {
        str_add(b, "%lld", (long long)i);
        if (first && first[i] >= 0)
            str_add(b, ",%lld", (long long)first[i]);
        else if (first)
            str_add_c(b, ',');
        for (int c = 0; t && c < t->n_cols; c++) {
            const char *cell = t->cells[i * t->n_cols + c];
            if (is_ours(t->cols[c], first != NULL))
                continue;
            str_add_c(b, ',');
            str_add_csv(b, cell ? cell : "", ',');
        }
        str_add_c(b, '\n');
        TRY(flush(f, b, FLUSH_BYTES));
    }
    return flush(f, b, 1);
}

/* One table; first (texts only): the first picture of each text, -1 for none. */
static int write_table(struct set_writer *w, int which, const struct set_table *t, int64_t n, const int64_t *first)
{
    char path[1100];
    struct atomic_file *f = NULL;
    struct str b = {0};
    if (t && t->n_rows != n)
        FAIL(ERR_DATA, "set \"%s\": the %s table has %lld rows, but %lld vectors were written", w->dir.path,
             side_word[which], (long long)t->n_rows, (long long)n);
    TRY(path_join(path, sizeof path, w->dir.tmp, file_names[2 + which]));
    TRY(atomic_open(&f, path));
    int rc = write_lines(f, &b, t, n, first);
    str_free(&b);
    if (rc < 0) {
        atomic_abort(&f);
        return rc;
    }
    return atomic_commit(&f);
}

static int write_pairs(struct set_writer *w, const struct set_pair *pairs, int64_t n)
{
    char path[1100];
    struct atomic_file *f = NULL;
    struct str b = {0};
    int rc = 0;
    TRY(path_join(path, sizeof path, w->dir.tmp, file_names[4]));
    TRY(atomic_open(&f, path));
    str_add(&b, "image_row,text_row\n");
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        str_add(&b, "%lld,%lld\n", (long long)pairs[i].image, (long long)pairs[i].text);
        rc = flush(f, &b, FLUSH_BYTES);
    }
    if (rc == 0)
        rc = flush(f, &b, 1);
    str_free(&b);
    if (rc < 0) {
        atomic_abort(&f);
        return rc;
    }
    return atomic_commit(&f);
}

/* ---- set.json
 * --------------------------------------------------------------------------------------------------------- */

static int file_sum(const struct set_writer *w, const char *name, char hex[65])
{
    char path[1100];
    TRY(path_join(path, sizeof path, w->dir.tmp, name));
    return path_sum(hex, path, NULL);
}

static int add_sum(const struct set_writer *w, const char *name, json_t *sums)
{
    char hex[65];
    TRY(file_sum(w, name, hex));
    if (json_object_set_new(sums, name, json_string(hex)) < 0)
        FAIL(ERR_MEMORY, "out of memory while writing set.json");
    return 0;
}

static int add_sums(const struct set_writer *w, json_t *sums)
{
    for (size_t i = 0; i < ARRAY_LEN(file_names); i++)
        TRY(add_sum(w, file_names[i], sums));
    for (int i = 0; i < 4; i++)
        if (w->features[i / 2])
            TRY(add_sum(w, feature_files[i / 2][i % 2], sums));
    return 0;
}

static int add_features(const struct set_writer *w, json_t *o)
{
    json_t *all = json_object();
    for (int i = 0; all && i < 2; i++) {
        const struct set_features *f = &w->info.features[i];
        if (f->width)
            json_object_set_new(all, side_word[i],
                                json_pack("{s:I, s:I, s:b, s:f}", "width", (json_int_t)f->width, "weights",
                                          (json_int_t)f->n_weights, "bias", f->bias, "square", f->square));
    }
    int rc = json_object_size(all) && json_object_set(o, "features", all) < 0 ? ERR_MEMORY : 0;
    json_decref(all);
    return rc < 0 ? err_set(rc, "out of memory while writing set.json") : 0;
}

static int write_json(struct set_writer *w, int64_t n_pairs, const json_t *extra)
{
    json_t *sums = json_object();
    int rc = sums ? add_sums(w, sums) : err_set(ERR_MEMORY, "out of memory while writing set.json");
    if (rc < 0) {
        json_decref(sums);
        return rc;
    }
    json_t *o = json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:s, s:b, s:s, s:s, s:s, s:s, s:f, s:o}", "format",
                          "meridian set", "version", 1, "n_images", (json_int_t)w->n[0], "n_texts", (json_int_t)w->n[1],
                          "n_pairs", (json_int_t)n_pairs, "width", (json_int_t)w->info.width, "dtype", w->info.dtype,
                          "unit_length", w->info.unit, "model", w->info.model, "fingerprint", w->info.fingerprint,
                          "data", w->info.data, "protocol", w->info.protocol, "logit_scale",
                          isfinite(w->info.logit_scale) ? w->info.logit_scale : 0, "checksums", sums);
    if (!o)
        FAIL(ERR_DATA, "set \"%s\": a name in it is not valid UTF-8", w->dir.path);
    rc = add_features(w, o);
    if (rc < 0) {
        json_decref(o);
        return rc;
    }
    if (extra)
        json_object_update_missing(o, (json_t *)(uintptr_t)extra); /* jansson takes no const; it only reads here */
    return atomic_put_json(w->dir.tmp, "set.json", o, JSON_INDENT(2));
}

static int check_pairs(const struct set_writer *w, const struct set_pair *pairs, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (pairs[i].image < 0 || pairs[i].image >= w->n[0] || pairs[i].text < 0 || pairs[i].text >= w->n[1])
            FAIL(ERR_DATA,
                 "set \"%s\": pair %lld joins image row %lld and text row %lld, but there are %lld images and %lld "
                 "texts",
                 w->dir.path, (long long)i, (long long)pairs[i].image, (long long)pairs[i].text, (long long)w->n[0],
                 (long long)w->n[1]);
    return 0;
}

static int commit_files(struct set_writer *w, const struct set_table *images, const struct set_table *texts,
                        const struct set_pair *pairs, int64_t n_pairs, const json_t *extra)
{
    TRY(check_pairs(w, pairs, n_pairs));
    for (int i = 0; i < 2; i++)
        TRY(npy_writer_commit(&w->npy[i]));
    for (int i = 0; i < 2; i++)
        if (w->features[i])
            TRY(features_writer_commit(w->features[i], w->n[i]));
    int64_t *first = arena_alloc(w->arena, (size_t)(w->n[1] + 1) * sizeof *first);
    if (!first)
        return ERR_MEMORY;
    for (int64_t i = 0; i < w->n[1]; i++)
        first[i] = -1;
    for (int64_t i = 0; i < n_pairs; i++) {
        int64_t *f = &first[pairs[i].text];
        *f = *f < 0 || pairs[i].image < *f ? pairs[i].image : *f;
    }
    TRY(write_table(w, 0, images, w->n[0], NULL));
    TRY(write_table(w, 1, texts, w->n[1], first));
    TRY(write_pairs(w, pairs, n_pairs));
    TRY(write_json(w, n_pairs, extra));
    w->dir_open = false; /* commit closes it either way */
    return atomic_dir_commit(&w->dir);
}

int set_writer_commit(struct set_writer **wp, const struct set_table *images, const struct set_table *texts,
                      const struct set_pair *pairs, int64_t n_pairs, const json_t *extra)
{
    struct set_writer *w = *wp;
    *wp = NULL;
    int rc = commit_files(w, images, texts, pairs, n_pairs, extra);
    if (rc < 0)
        err_while(rc, "writing set \"%s\"", w->dir.path);
    set_writer_abort(&w);
    return rc;
}
