/* Sets: embeddings in a folder that anybody can open without us (docs/formats.md).
 *
 * set.json says what is there; image.npy and text.npy hold the vectors; CSV tables describe the rows; pairs.csv says
 * which text belongs to which picture, many to many. A checksum named in set.json is verified before anything is
 * believed. Hand-made folders are welcome: only set.json and one npy file are needed, and every field that is present
 * is checked. Rejected: keeping the npy mapped. Measures need fp32 rows whatever the file holds, and a private copy
 * lets the folder be replaced while a long job reads it. */
#include "space/set_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const side_word[2] = {"image", "text"};
static const char *const side_file[2] = {"image.npy", "text.npy"};
static const char *const side_table[2] = {"images.csv", "texts.csv"};

int set_new(struct set **out, const char *path)
{
    struct set *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    s->model = s->fingerprint = s->data = s->protocol = "";
    s->path = mem_strdup(path);
    int rc = s->path ? arena_open(&s->arena, "set") : ERR_MEMORY;
    if (rc < 0) {
        set_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

double set_temperature(const struct set *s)
{
    return s->logit_scale > 0 ? 1 / s->logit_scale : 0.01;
}

void set_close(struct set **sp)
{
    struct set *s = *sp;
    if (!s)
        return;
    struct set_side *sides[2] = {&s->image, &s->text};
    for (int i = 0; i < 2; i++) {
        mem_free(sides[i]->x);
        set_features_close(&sides[i]->features);
        if (sides[i]->has_meta)
            table_free(&sides[i]->meta);
    }
    mem_free(s->pairs);
    mem_free(s->path);
    json_decref(s->json);
    if (s->arena)
        arena_close(&s->arena);
    mem_free(s);
    *sp = NULL;
}

/* ---- vectors ------------------------------------------------------------------------------------------------------
 */

int set_check_rows(const float *x, int64_t n, int64_t d, double tolerance, bool *unit, int64_t *bad, const char *path)
{
    for (int64_t i = 0; i < n; i++) {
        double square = space_dot(x + i * d, x + i * d, d);
        if (!isfinite(square))
            FAIL(ERR_NONFINITE, "%s: row %lld holds a number that is not finite; encode that item again or take it out",
                 path, (long long)i);
        if (*unit && fabs(sqrt(square) - 1) > tolerance) {
            *unit = false;
            *bad = i;
        }
    }
    return 0;
}

int set_check_npy(const struct npy *a, int64_t width, const char *path)
{
    size_t count = 0;
    if (a->n_dims != 2)
        FAIL(ERR_DATA, "%s: %d dimensions, expected 2: [rows, width]", path, a->n_dims);
    if (a->dtype != DT_F32 && a->dtype != DT_F16 && a->dtype != DT_F64)
        FAIL(ERR_DATA, "%s: numbers of type %s, expected float32, float16 or float64", path, dtype_name(a->dtype));
    if (a->shape[0] < 0 || a->shape[0] > limit_get(LIMIT_ROWS) || a->shape[1] < 1 ||
        a->shape[1] > limit_get(LIMIT_WIDTH))
        FAIL(ERR_DATA, "%s: shape [%lld, %lld], expected at most %lld rows and a width from 1 to %lld", path,
             (long long)a->shape[0], (long long)a->shape[1], (long long)limit_get(LIMIT_ROWS),
             (long long)limit_get(LIMIT_WIDTH));
    if (width && a->shape[1] != width)
        FAIL(ERR_DATA, "%s: width %lld, expected %lld as on the other side (were both made by one model?)", path,
             (long long)a->shape[1], (long long)width);
    if (!mul_ok((size_t)a->shape[0], (size_t)a->shape[1], &count))
        FAIL(ERR_DATA, "%s: shape overflows", path);
    return 0;
}

static int read_side(struct set_side *side, int64_t *width, const char *path, enum dtype *dtype)
{
    struct npy a = {0};
    float *x = NULL;
    TRY(npy_open(&a, path));
    int rc = set_check_npy(&a, *width, path);
    if (rc == 0) {
        size_t count = (size_t)a.shape[0] * (size_t)a.shape[1];
        x = mem_calloc(count + 1, sizeof *x);
        rc = x ? dtype_convert(DT_F32, x, a.dtype, a.data, count) : ERR_MEMORY;
    }
    if (rc == 0)
        rc = npy_check(&a);
    if (rc == 0) {
        side->x = x;
        side->n = a.shape[0];
        *width = a.shape[1];
        *dtype = a.dtype;
        x = NULL;
    }
    mem_free(x);
    npy_close(&a);
    return rc;
}

/* ---- pairs ---------------------------------------------------------------------------------------------------------
 */

static int pair_order(const void *a, const void *b)
{
    const struct set_pair *p = a, *q = b;
    if (p->image != q->image)
        return p->image < q->image ? -1 : 1;
    return (p->text > q->text) - (p->text < q->text);
}

int64_t set_pairs_sort(struct set_pair *pairs, int64_t n)
{
    int64_t kept = 0;
    if (n > 1)
        qsort(pairs, (size_t)n, sizeof *pairs, pair_order);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || pair_order(&pairs[i], &pairs[kept - 1]) != 0)
            pairs[kept++] = pairs[i];
    return kept;
}

static void finish_pairs(struct set *s, const char *file)
{
    int64_t n = set_pairs_sort(s->pairs, s->n_pairs);
    if (n < s->n_pairs)
        log_warn("%s: %lld pairs are listed twice; they count once", file, (long long)(s->n_pairs - n));
    s->n_pairs = n;
}

static int alloc_pairs(struct set *s, int64_t n)
{
    s->pairs = mem_calloc((size_t)n + 1, sizeof *s->pairs);
    s->n_pairs = 0;
    return s->pairs ? 0 : ERR_MEMORY;
}

int set_pairs_by_row(struct set *s)
{
    TRY(alloc_pairs(s, s->image.n));
    for (int64_t i = 0; i < s->image.n; i++)
        s->pairs[s->n_pairs++] = (struct set_pair){i, i};
    return 0;
}

static int pairs_from_file(struct set *s, const char *path)
{
    struct table t = {0};
    TRY(table_read(&t, path));
    int image = table_col(&t, "image_row"), text = table_col(&t, "text_row");
    int rc = 0;
    if (image < 0 || text < 0) {
        rc = err_set(ERR_DATA, "%s: no column \"%s\"; expected the columns image_row and text_row", path,
                     image < 0 ? "image_row" : "text_row");
        goto out;
    }
    rc = alloc_pairs(s, t.n_rows);
    for (int64_t i = 0; rc == 0 && i < t.n_rows; i++) {
        struct set_pair p = {0};
        rc = table_int(&t, i, image, 0, s->image.n - 1, &p.image);
        if (rc == 0)
            rc = table_int(&t, i, text, 0, s->text.n - 1, &p.text);
        if (rc == 0)
            s->pairs[s->n_pairs++] = p;
    }
    if (rc == 0)
        finish_pairs(s, path);
out:
    table_free(&t);
    return rc;
}

/* From the column image_row of texts.csv; an empty cell is a text without a picture. */
static int pairs_from_texts(struct set *s, int col, const char *path)
{
    TRY(alloc_pairs(s, s->text.n));
    for (int64_t i = 0; i < s->text.n; i++) {
        struct set_pair p = {0, i};
        if (table_cell(&s->text.meta, i, col)[0] == 0)
            continue;
        TRY(table_int(&s->text.meta, i, col, 0, s->image.n - 1, &p.image));
        s->pairs[s->n_pairs++] = p;
    }
    finish_pairs(s, path);
    return 0;
}

static int find_pairs(struct set *s)
{
    char path[1024];
    TRY(path_join(path, sizeof path, s->path, "pairs.csv"));
    if (path_exists(path))
        return pairs_from_file(s, path);
    int col = s->text.has_meta ? table_col(&s->text.meta, "image_row") : -1;
    if (col >= 0) {
        TRY(path_join(path, sizeof path, s->path, side_table[1]));
        return pairs_from_texts(s, col, path);
    }
    if (s->image.n == s->text.n)
        return set_pairs_by_row(s);
    if (s->image.n > 0 && s->text.n > 0)
        log_warn(
            "%s: %lld images and %lld texts but neither pairs.csv nor a column image_row in texts.csv: no row has a "
            "partner",
            s->path, (long long)s->image.n, (long long)s->text.n);
    return alloc_pairs(s, 0);
}

/* ---- the folder -----------------------------------------------------------------------------------------------------
 */

static int check_sum(const char *dir, const char *name, const char *expected)
{
    char path[1024], found[65];
    TRY(path_check_name(name, "set.json"));
    TRY(path_join(path, sizeof path, dir, name));
    if (!path_exists(path))
        FAIL(ERR_DATA,
             "%s: named under \"checksums\" of set.json but not there; the set is incomplete, make or copy it again",
             path);
    TRY(path_sum(found, path, NULL));
    if (strcmp(found, expected) != 0)
        FAIL(ERR_DATA,
             "%s: SHA-256 %s, expected %s as set.json says; the file changed after it was written: copy the set again, "
             "or "
             "take the line out of \"checksums\" if the change was meant",
             path, found, expected);
    return 0;
}

static int check_sums(const struct set *s, const char *where)
{
    json_t *sums = json_object_get(s->json, "checksums"), *v;
    const char *name;
    if (!sums || json_is_null(sums))
        return 0;
    if (!json_is_object(sums))
        FAIL(ERR_DATA, "%s: field \"checksums\": expected an object of file names and SHA-256 sums", where);
    json_object_foreach(sums, name, v)
    {
        const char *text = json_string_value(v);
        if (!text || strlen(text) != 64)
            FAIL(ERR_DATA, "%s: field \"checksums\", \"%s\": expected 64 hexadecimal digits", where, name);
        TRY(check_sum(s->path, name, text));
    }
    return 0;
}

static int copy_field(struct set *s, const char *key, const char **out, const char *where)
{
    const char *text = NULL;
    if (json_is_null(json_object_get(s->json, key)))
        return 0;
    TRY(json_field_str(s->json, key, false, &text, where));
    if (text)
        *out = arena_strdup(s->arena, text);
    return *out ? 0 : ERR_MEMORY;
}

static int check_table(struct set_side *side, const char *path)
{
    int col = table_col(&side->meta, "row");
    if (side->meta.n_rows != side->n)
        FAIL(ERR_DATA, "%s: %lld rows, expected %lld as the vectors have", path, (long long)side->meta.n_rows,
             (long long)side->n);
    for (int64_t i = 0; col >= 0 && i < side->n; i++) {
        int64_t row = 0;
        TRY(table_int(&side->meta, i, col, 0, side->n - 1, &row));
        if (row != i)
            FAIL(ERR_DATA,
                 "%s: line %lld has row %lld, expected %lld: the lines must stand in the order of the vectors", path,
                 (long long)i + 2, (long long)row, (long long)i);
    }
    return 0;
}

/* What is written about the format must be what we read: a later version may mean something else by the same files. */
static int check_format(const struct set *s, const char *where)
{
    const char *format = NULL;
    int64_t version = 1;
    TRY(json_field_str(s->json, "format", false, &format, where));
    if (format && strcmp(format, "meridian set") != 0)
        FAIL(ERR_DATA, "%s: field \"format\" is \"%.60s\", expected \"meridian set\"", where, format);
    TRY(json_field_int(s->json, "version", false, 1, INT64_MAX, &version, where));
    if (version != 1)
        FAIL(ERR_UNSUPPORTED, "%s: field \"version\" is %lld, expected 1; a newer meridian wrote this set", where,
             (long long)version);
    return 0;
}

static int check_dtype(const struct set *s, const char *where, const enum dtype *dtype)
{
    const char *stated = NULL;
    TRY(json_field_str(s->json, "dtype", false, &stated, where));
    for (int which = 0; stated && which < 2; which++) {
        const struct set_side *side = which ? &s->text : &s->image;
        const char *found = dtype[which] == DT_F16 ? "float16" : dtype[which] == DT_F64 ? "float64" : "float32";
        if (side->n > 0 && strcmp(found, stated) != 0)
            FAIL(ERR_DATA, "%s/%s: numbers are %s, expected %.20s as field \"dtype\" of %s says", s->path,
                 side_file[which], found, stated, where);
    }
    return 0;
}

/* One side: vectors, then the table when there is one. A side without a file has no rows. */
static int open_side(struct set *s, int which, const char *where, enum dtype *dtype)
{
    struct set_side *side = which ? &s->text : &s->image;
    char path[1024], key[16];
    int64_t stated = -1;
    snprintf(key, sizeof key, "n_%ss", side_word[which]);
    TRY(json_field_int(s->json, key, false, 0, limit_get(LIMIT_ROWS), &stated, where));
    TRY(path_join(path, sizeof path, s->path, side_file[which]));
    if (path_exists(path))
        TRY(read_side(side, &s->width, path, dtype));
    else if (stated > 0)
        FAIL(ERR_DATA, "%s: missing, but %s says %lld %ss", path, where, (long long)stated, side_word[which]);
    if (stated >= 0 && stated != side->n)
        FAIL(ERR_DATA, "%s: %lld rows, expected %lld as field \"%s\" of %s says", path, (long long)side->n,
             (long long)stated, key, where);
    TRY(path_join(path, sizeof path, s->path, side_table[which]));
    if (!path_exists(path))
        return 0;
    TRY(table_read(&side->meta, path));
    side->has_meta = true;
    return check_table(side, path);
}

/* Unit length: as stated and then checked, or measured when nothing is said. float16 rows are brought back to exactly
 * unit length, because halves are off by up to 5e-4 and callers use inner products as cosines. */
static int settle_unit(struct set *s, const char *where, const enum dtype *dtype)
{
    json_t *stated = json_object_get(s->json, "unit_length");
    bool claim = true;
    if (stated)
        TRY(json_field_bool(s->json, "unit_length", true, &claim, where));
    s->unit = claim;
    for (int which = 0; which < 2; which++) {
        struct set_side *side = which ? &s->text : &s->image;
        char path[1024];
        int64_t bad = 0;
        bool half = side->n > 0 && dtype[which] == DT_F16, unit = s->unit;
        TRY(path_join(path, sizeof path, s->path, side_file[which]));
        TRY(set_check_rows(side->x, side->n, s->width, half ? 1e-2 : 1e-4, &unit, &bad, path));
        if (stated && claim && !unit)
            FAIL(ERR_DATA, "%s: row %lld is not of unit length, but %s says \"unit_length\": true; correct one of them",
                 path, (long long)bad, where);
        if (unit && half)
            TRY_IN(space_normalize(side->x, side->n, s->width, NULL), "reading %s", path);
        s->unit = s->unit && unit;
    }
    return 0;
}

static int read_folder(struct set *s, const char *where)
{
    int64_t width = 0, n_pairs = -1;
    enum dtype dtype[2] = {DT_F32, DT_F32};
    TRY(json_read_file(&s->json, where));
    if (!json_is_object(s->json))
        FAIL(ERR_DATA, "%s: expected a JSON object", where);
    TRY(check_format(s, where));
    TRY(check_sums(s, where));
    TRY(json_field_int(s->json, "width", false, 1, limit_get(LIMIT_WIDTH), &width, where));
    TRY(json_field_int(s->json, "n_pairs", false, 0, INT64_MAX, &n_pairs, where));
    TRY(json_field_real(s->json, "logit_scale", false, 0, 1e6, &s->logit_scale, where));
    TRY(copy_field(s, "model", &s->model, where));
    TRY(copy_field(s, "fingerprint", &s->fingerprint, where));
    TRY(copy_field(s, "data", &s->data, where));
    TRY(copy_field(s, "protocol", &s->protocol, where));
    for (int which = 0; which < 2; which++)
        TRY(open_side(s, which, where, &dtype[which]));
    if (!s->width)
        FAIL(ERR_DATA, "%s: neither image.npy nor text.npy is there; a set needs at least one of them", s->path);
    if (width && width != s->width)
        FAIL(ERR_DATA, "%s: field \"width\" is %lld, but the vectors have width %lld", where, (long long)width,
             (long long)s->width);
    TRY(check_dtype(s, where, dtype));
    TRY(settle_unit(s, where, dtype));
    for (int which = 0; which < 2; which++)
        TRY(set_features_open(s, which, where));
    TRY(find_pairs(s));
    if (n_pairs >= 0 && n_pairs != s->n_pairs)
        FAIL(ERR_DATA, "%s: field \"n_pairs\" is %lld, but %lld pairs are there", where, (long long)n_pairs,
             (long long)s->n_pairs);
    return 0;
}

int set_open(struct set **out, const char *dir)
{
    char where[1024];
    struct set *s = NULL;
    if (!path_is_dir(dir))
        FAIL(ERR_DATA,
             "%s: %s; expected a set: a folder with set.json, image.npy and text.npy, as \"meridian encode\" writes",
             dir, path_exists(dir) ? "is not a folder" : "does not exist");
    TRY(path_join(where, sizeof where, dir, "set.json"));
    bool clip = !path_exists(where) && set_is_clip_folder(dir);
    if (!path_exists(where) && !clip)
        FAIL(ERR_DATA,
             "%s: no set.json in the folder, so it is not a set; make one with \"meridian encode\", or write {} into "
             "set.json beside image.npy and text.npy",
             dir);
    TRY(set_new(&s, dir));
    int rc = clip ? set_read_clip_folder(s) : read_folder(s, where);
    if (rc < 0) {
        err_while(rc, "opening set \"%s\"", dir);
        set_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

static int read_npy_files(struct set *s, const char *const *paths, const char *pairs)
{
    enum dtype dtype;
    s->unit = true;
    s->json = json_object();
    if (!s->json)
        FAIL(ERR_MEMORY, "out of memory while opening %s", paths[0]);
    for (int which = 0; which < 2; which++) {
        struct set_side *side = which ? &s->text : &s->image;
        int64_t bad = 0;
        TRY(read_side(side, &s->width, paths[which], &dtype));
        TRY(set_check_rows(side->x, side->n, s->width, 1e-4, &s->unit, &bad, paths[which]));
    }
    if (pairs)
        return pairs_from_file(s, pairs);
    if (s->image.n != s->text.n)
        FAIL(ERR_DATA,
             "%s has %lld rows and %s has %lld: without a pairs file (columns image_row,text_row) row i pairs with "
             "row i, so both must have the same number",
             paths[0], (long long)s->image.n, paths[1], (long long)s->text.n);
    return set_pairs_by_row(s);
}

/* ---- whose vectors two npy files hold */

struct maker {
    json_t *json; /* set.json beside the file, or meridian.json above img_emb/ and text_emb/; NULL: nobody says */
    const char *model, *fingerprint;
};

static int find_maker(struct maker *m, const char *npy)
{
    static const char *const notes[] = {"set.json", "../meridian.json"};
    char folder[1024], path[1100];
    if (strlen(npy) >= sizeof folder)
        return 0;
    strcpy(folder, npy);
    char *slash = strrchr(folder, '/');
    strcpy(slash ? slash + (slash == folder) : folder, slash ? "" : ".");
    for (size_t i = 0; i < ARRAY_LEN(notes) && !m->json; i++) {
        TRY(path_join(path, sizeof path, folder, notes[i]));
        if (path_exists(path))
            TRY(json_read_file(&m->json, path));
    }
    m->model = json_string_value(json_object_get(m->json, "model"));
    m->fingerprint = json_string_value(json_object_get(m->json, "fingerprint"));
    m->model = m->model ? m->model : "";
    m->fingerprint = m->fingerprint ? m->fingerprint : "";
    return 0;
}

/* What both sides agree on is the set's. */
static int take_maker(struct set *s, const struct maker *m)
{
    s->model = arena_strdup(s->arena, m->model);
    s->fingerprint = arena_strdup(s->arena, m->fingerprint);
    if (!s->model || !s->fingerprint)
        return ERR_MEMORY;
    double scale = json_number_value(json_object_get(m->json, "logit_scale"));
    s->logit_scale = scale > 0 && scale < 1e6 ? scale : 0;
    return 0;
}

/* Asked for by name: the set carries both, in every output that tells its model, and agrees with no model. */
static int stamp_mixed(struct set *s, const struct maker m[2])
{
    char text[512];
    snprintf(text, sizeof text, "mixed: %.160s (%.16s) and %.160s (%.16s)", m[0].model, m[0].fingerprint, m[1].model,
             m[1].fingerprint);
    s->model = arena_strdup(s->arena, text);
    snprintf(text, sizeof text, "mixed:%.64s+%.64s", m[0].fingerprint, m[1].fingerprint);
    s->fingerprint = arena_strdup(s->arena, text);
    json_t *list = json_pack("[{s:s, s:s}, {s:s, s:s}]", "model", m[0].model, "fingerprint", m[0].fingerprint, "model",
                             m[1].model, "fingerprint", m[1].fingerprint);
    if (!s->model || !s->fingerprint || json_object_set_new(s->json, "mixed", list) < 0)
        FAIL(ERR_MEMORY, "no memory to note that two models' vectors are mixed");
    log_warn("vectors of two models are mixed: %s; no number about both means anything but this mixture", s->model);
    return 0;
}

static bool two_makers(const struct maker m[2])
{
    return m[0].fingerprint[0] && m[1].fingerprint[0] && strcmp(m[0].fingerprint, m[1].fingerprint) != 0;
}

static int check_makers(const char *const paths[2], bool mix, struct maker m[2])
{
    for (int i = 0; i < 2; i++)
        TRY(find_maker(&m[i], paths[i]));
    if (!two_makers(m) || mix)
        return 0;
    FAIL(ERR_MISMATCH,
         "%s was made by model \"%.80s\" (fingerprint %.16s), but %s by model \"%.80s\" (fingerprint %.16s): their "
         "vectors cannot be compared; take both sides of one model, or --force to measure the mixture, which every "
         "output will say",
         paths[0], m[0].model, m[0].fingerprint, paths[1], m[1].model, m[1].fingerprint);
}

int set_open_npy_mixed(struct set **out, const char *images, const char *texts, const char *pairs, bool mix)
{
    struct set *s = NULL;
    struct maker m[2] = {{.model = "", .fingerprint = ""}, {.model = "", .fingerprint = ""}};
    const char *paths[2] = {images, texts};
    TRY(set_new(&s, images));
    int rc = check_makers(paths, mix, m);
    if (rc == 0)
        rc = read_npy_files(s, paths, pairs);
    if (rc == 0 && two_makers(m))
        rc = stamp_mixed(s, m);
    else if (rc == 0 && m[0].fingerprint[0] && m[1].fingerprint[0])
        rc = take_maker(s, &m[0]);
    for (int i = 0; i < 2; i++)
        json_decref(m[i].json);
    if (rc < 0) {
        set_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

int set_open_npy(struct set **out, const char *images, const char *texts, const char *pairs)
{
    return set_open_npy_mixed(out, images, texts, pairs, false);
}

int set_check_fingerprint(const struct set *s, const char *model, const char *fingerprint)
{
    if (!fingerprint || !fingerprint[0] || !s->fingerprint[0] || strcmp(fingerprint, s->fingerprint) == 0)
        return 0;
    FAIL(ERR_MISMATCH,
         "set \"%s\" was made by model \"%s\" (fingerprint %.16s), but model \"%s\" (fingerprint %.16s) is given: "
         "their vectors "
         "cannot be compared; use the first model, or encode the set again with the second",
         s->path, s->model, s->fingerprint, model ? model : "", fingerprint);
}
