/* data/dataset_coco.c: `coco:FILE.json`, pictures with several captions each, in the two layouts that everyone has:
 *
 *   Karpathy's splits (Karpathy and Fei-Fei 2015)   {"images": [{"filename", "filepath", "split", "cocoid" or "imgid",
 *                                                    "sentences": [{"raw": ...}, ...], "sentids": ...}]}
 *   COCO captions (Chen et al. 2015)                {"images": [{"id", "file_name"}],
 *                                                    "annotations": [{"image_id", "caption"}]}
 *
 * Files of 100 MB are common and their trees are ten times that, so the file is streamed: a record at a time, its
 * captions into the packed table. A bad record costs itself; bad JSON costs the file, because nobody knows what else is
 * missing. Where the pictures lie is found by trying a few folders beside the file with a sample of the names; then a
 * second pass reads. Rejected: taking the split's name from the file's, "captions_val2014.json": it is a guess. */
#include "data/dataset_build.h"

enum { MAX_KEY = 128, MAX_EXTRA = 64, MAX_CELLS = 512 };

/* One record of "images". Strings are "" when absent. */
struct record {
    struct str name, dir, split, id, second_id; /* second_id: imgid, when cocoid is there too */
    bool has_name, has_split;
    struct names raw; /* captions */
    struct {
        int col;
        struct str value;
    } extra[MAX_EXTRA];
    int n_extra;
    char why[160]; /* what is wrong with it; "" nothing */
};

struct pending {
    const char *id, *caption;
    int64_t row;
};

struct coco {
    struct dataset_build *b;
    struct json_stream *s;
    struct record r;
    struct str id, caption; /* of an annotation */
    /* Ids seen, by hash: image row + 1, or 0 for one that was left out. */
    const char **ids;
    int64_t *rows, n_ids;
    size_t mask;
    struct pending *wait; /* annotations that stand before their images */
    int64_t n_wait, cap_wait, n_records, n_annotations;
    bool has_images, has_annotations, has_sentences;
    bool searching; /* the pass that looks for the pictures: nothing is refused */
};

/* ---- ids ---------------------------------------------------------------------------------------------------- */

static size_t id_slot(const struct coco *c, const char *id)
{
    size_t i = (size_t)hash_bytes(id, strlen(id), 0) & c->mask;
    while (c->ids[i] && strcmp(c->ids[i], id))
        i = (i + 1) & c->mask;
    return i;
}

static int ids_grow(struct coco *c)
{
    const char **old = c->ids;
    int64_t *old_rows = c->rows;
    size_t n = c->mask ? c->mask + 1 : 0, size = n ? n * 2 : 1024;
    const char **ids = mem_calloc(size, sizeof *ids);
    int64_t *rows = mem_calloc(size, sizeof *rows);
    if (!ids || !rows) {
        mem_free(ids);
        mem_free(rows);
        return ERR_MEMORY;
    }
    c->ids = ids;
    c->rows = rows;
    c->mask = size - 1;
    for (size_t i = 0; i < n; i++)
        if (old[i]) {
            size_t k = id_slot(c, old[i]);
            ids[k] = old[i];
            rows[k] = old_rows[i];
        }
    mem_free(old);
    mem_free(old_rows);
    return 0;
}

/* *known: the id stood there before. */
static int id_add(struct coco *c, const char *id, int64_t image, bool *known)
{
    if ((size_t)c->n_ids * 2 >= c->mask)
        TRY(ids_grow(c));
    size_t k = id_slot(c, id);
    *known = c->ids[k] != NULL;
    if (*known)
        return 0;
    c->ids[k] = build_keep(c->b, id);
    c->rows[k] = image + 1;
    c->n_ids++;
    return c->ids[k] ? 0 : ERR_MEMORY;
}

/* ---- records ------------------------------------------------------------------------------------------------ */

static void complain(struct record *r, const char *key, const char *what)
{
    if (!*r->why)
        snprintf(r->why, sizeof r->why, "field \"%s\" %s", key, what);
}

static void take_text(struct coco *c, struct str *to, const char *key, enum json_event e)
{
    str_clear(to);
    if (e != JSON_EVENT_STRING)
        complain(&c->r, key, "is no string");
    else if (!json_stream_text_ok(c->s))
        complain(&c->r, key, "is not UTF-8");
    else
        str_add(to, "%s", json_stream_text(c->s));
}

/* A whole number, or a string as some converters write it. */
static void take_id(struct coco *c, struct str *to, const char *key, enum json_event e)
{
    int64_t v;
    str_clear(to);
    if (e != JSON_EVENT_STRING && (e != JSON_EVENT_NUMBER || !json_stream_int(c->s, &v)))
        complain(&c->r, key, "is no whole number of 64 bits");
    else if (!json_stream_text_ok(c->s))
        complain(&c->r, key, "is not UTF-8");
    else
        str_add(to, "%s", json_stream_text(c->s));
}

static int take_sentence(struct coco *c)
{
    enum json_event e;
    bool found = false;
    for (;;) {
        TRY(json_stream_next(c->s, &e));
        if (e == JSON_EVENT_OBJECT_END)
            break;
        bool raw = !strcmp(json_stream_text(c->s), "raw");
        TRY(json_stream_next(c->s, &e));
        if (raw && e == JSON_EVENT_STRING) {
            /* not UTF-8: a byte that is none stands for it, so that the caption is refused with its row */
            const char *text = json_stream_text_ok(c->s) ? json_stream_text(c->s) : "\xff";
            TRY(names_add(&c->r.raw, text, strlen(text)));
            found = true;
        } else {
            TRY(json_stream_skip(c->s, e));
        }
    }
    return found ? 0 : names_add(&c->r.raw, "", 0);
}

static int take_sentences(struct coco *c, enum json_event e)
{
    if (e != JSON_EVENT_ARRAY) {
        complain(&c->r, "sentences", "is no list");
        return json_stream_skip(c->s, e);
    }
    c->has_sentences = true;
    for (;;) {
        TRY(json_stream_next(c->s, &e));
        if (e == JSON_EVENT_ARRAY_END)
            return 0;
        if (e == JSON_EVENT_OBJECT) {
            TRY(take_sentence(c));
            continue;
        }
        complain(&c->r, "sentences", "holds what is no object");
        TRY(json_stream_skip(c->s, e));
    }
}

/* Everything else that is no list or object becomes a column. */
static int take_extra(struct coco *c, const char *key, enum json_event e)
{
    struct record *r = &c->r;
    bool scalar = e == JSON_EVENT_STRING || e == JSON_EVENT_NUMBER || e == JSON_EVENT_TRUE || e == JSON_EVENT_FALSE;
    if (!scalar || r->n_extra == MAX_EXTRA || !*key || !utf8_ok(key, strlen(key)))
        return json_stream_skip(c->s, e);
    if (!strcmp(key, "path") || !strcmp(key, "label") || c->b->d->n_image_cols >= MAX_CELLS / 2)
        return 0;
    struct str *to = &r->extra[r->n_extra].value;
    str_clear(to);
    if (e != JSON_EVENT_STRING || json_stream_text_ok(c->s))
        str_add(to, "%s", json_stream_text(c->s));
    TRY(build_column(c->b, key, &r->extra[r->n_extra].col));
    r->n_extra++;
    return to->failed ? ERR_MEMORY : 0;
}

static int take_field(struct coco *c, const char *key, enum json_event e)
{
    struct record *r = &c->r;
    if (!strcmp(key, "filename") || !strcmp(key, "file_name")) {
        if (r->has_name)
            complain(r, key, "stands twice");
        r->has_name = true;
        take_text(c, &r->name, key, e);
    } else if (!strcmp(key, "filepath")) {
        take_text(c, &r->dir, key, e);
    } else if (!strcmp(key, "split")) {
        r->has_split = true;
        take_text(c, &r->split, key, e);
    } else if (!strcmp(key, "cocoid") || !strcmp(key, "id")) {
        take_id(c, &r->id, key, e);
    } else if (!strcmp(key, "imgid")) {
        take_id(c, &r->second_id, key, e);
        return take_extra(c, key, e);
    } else if (!strcmp(key, "sentences")) {
        return take_sentences(c, e);
    } else {
        return take_extra(c, key, e);
    }
    return json_stream_skip(c->s, e);
}

/* The record whose '{' was read, into c->r. */
static int take_record(struct coco *c)
{
    struct record *r = &c->r;
    char key[MAX_KEY];
    enum json_event e;
    struct str *texts[] = {&r->name, &r->dir, &r->split, &r->id, &r->second_id};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        str_clear(texts[i]);
    names_free(&r->raw);
    r->has_name = r->has_split = false;
    r->n_extra = 0;
    r->why[0] = 0;
    for (;;) {
        TRY(json_stream_next(c->s, &e));
        if (e == JSON_EVENT_OBJECT_END)
            break;
        snprintf(key, sizeof key, "%s", json_stream_text(c->s));
        TRY(json_stream_next(c->s, &e));
        TRY(take_field(c, key, e));
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i]->failed)
            return ERR_MEMORY;
    if (!r->has_name || !r->name.n)
        complain(r, "filename", "(or \"file_name\") is missing");
    return 0;
}

static const char *text_of(const struct str *s)
{
    return s->s ? s->s : "";
}

/* The ways to spell a picture's path: FILEPATH/FILENAME, FILENAME, and COCO's own folders. Returns their number. */
static int spell(const struct record *r, char out[3][BUILD_PATH], const char *names[3])
{
    const char *name = text_of(&r->name), *dir = text_of(&r->dir);
    int n = 0;
    if (*dir && (size_t)snprintf(out[n], BUILD_PATH, "%s%s%s", dir, str_ends(dir, "/") ? "" : "/", name) < BUILD_PATH)
        n++;
    if ((size_t)snprintf(out[n], BUILD_PATH, "%s", name) < BUILD_PATH)
        n++;
    if (str_starts(name, "COCO_") && strchr(name + 5, '_') &&
        (size_t)snprintf(out[n], BUILD_PATH, "%.*s/%s", (int)strcspn(name + 5, "_"), name + 5, name) < BUILD_PATH)
        n++;
    for (int i = 0; i < n; i++)
        names[i] = out[i];
    return n;
}

static int add_record(struct coco *c, int64_t row)
{
    struct dataset_build *b = c->b;
    struct record *r = &c->r;
    char paths[3][BUILD_PATH];
    const char *names[3], *cells[MAX_CELLS] = {0}, *id = text_of(r->id.n ? &r->id : &r->second_id);
    int64_t image = -1;
    bool known = false;
    if (!*id)
        id = text_of(&r->name);
    if (*r->why)
        return build_refuse(b, row, id, text_of(&r->name), "%s", r->why);
    if (b->opt->split && !r->has_split)
        FAIL(ERR_USAGE, "%s: the pictures have no field \"split\", so --split %s finds nothing; leave it out", b->arg,
             b->opt->split);
    TRY(id_add(c, id, -1, &known));
    if (known)
        return build_refuse(b, row, id, text_of(&r->name), "the id %s stands twice", id);
    if (r->has_split && !build_wants_split(b, text_of(&r->split)))
        return 0;
    int n = spell(r, paths, names);
    if (n == 0)
        return build_refuse(b, row, id, "", "the name is too long");
    cells[0] = id;
    cells[3] = text_of(&r->split);
    for (int i = 0; i < r->n_extra; i++)
        cells[r->extra[i].col] = text_of(&r->extra[i].value);
    TRY(build_picture_of(b, row, cells, names, n, &image));
    c->rows[id_slot(c, id)] = image + 1;
    for (int64_t i = 0; i < r->raw.n && image >= 0; i++)
        TRY(build_caption(b, row, image, r->raw.v[i], "caption"));
    return 0;
}

/* ---- annotations -------------------------------------------------------------------------------------------- */

static int join(struct coco *c, const char *id, const char *caption, int64_t row)
{
    size_t k = c->mask ? id_slot(c, id) : 0;
    if (!c->mask || !c->ids[k])
        return build_refuse(c->b, row, id, "", "annotation %lld: no picture has the id %s", (long long)row, id);
    if (c->rows[k] == 0)
        return 0; /* the picture is of another split, or was refused */
    const char *why = build_bad_caption(caption);
    if (why)
        return build_refuse(c->b, row, id, "", "annotation %lld: %s", (long long)row, why);
    return build_caption(c->b, row, c->rows[k] - 1, caption, "caption");
}

static int wait_for_images(struct coco *c, int64_t row)
{
    if (c->n_wait == c->cap_wait) {
        int64_t more = c->cap_wait ? c->cap_wait * 2 : 1024;
        struct pending *p = mem_grow(c->wait, (size_t)c->cap_wait * sizeof *p, (size_t)more * sizeof *p);
        if (!p)
            return ERR_MEMORY;
        c->wait = p;
        c->cap_wait = more;
    }
    struct pending *p = &c->wait[c->n_wait];
    *p = (struct pending){build_keep(c->b, text_of(&c->id)), build_keep(c->b, text_of(&c->caption)), row};
    if (!p->id || !p->caption)
        return ERR_MEMORY;
    c->n_wait++;
    return 0;
}

static int take_annotation(struct coco *c, int64_t row)
{
    enum json_event e;
    bool has_id = false, has_caption = false;
    c->r.why[0] = 0;
    str_clear(&c->id);
    str_clear(&c->caption);
    for (;;) {
        TRY(json_stream_next(c->s, &e));
        if (e == JSON_EVENT_OBJECT_END)
            break;
        bool is_id = !strcmp(json_stream_text(c->s), "image_id"), is_text = !strcmp(json_stream_text(c->s), "caption");
        TRY(json_stream_next(c->s, &e));
        if (is_id)
            take_id(c, &c->id, "image_id", e);
        else if (is_text)
            take_text(c, &c->caption, "caption", e);
        has_id |= is_id;
        has_caption |= is_text;
        TRY(json_stream_skip(c->s, e));
    }
    if (c->id.failed || c->caption.failed)
        return ERR_MEMORY;
    if (!has_id)
        complain(&c->r, "image_id", "is missing");
    if (!has_caption)
        complain(&c->r, "caption", "is missing");
    if (*c->r.why)
        return build_refuse(c->b, row, text_of(&c->id), "", "annotation %lld: %s", (long long)row, c->r.why);
    return c->has_images ? join(c, text_of(&c->id), text_of(&c->caption), row) : wait_for_images(c, row);
}

/* ---- the file ----------------------------------------------------------------------------------------------- */

/* Calls `each` for every object of the list that e opens; an answer other than 0 ends it all. */
static int walk_list(struct coco *c, enum json_event e, const char *key, int64_t *n,
                     int (*each)(struct coco *c, int64_t row))
{
    if (e != JSON_EVENT_ARRAY)
        FAIL(ERR_DATA, "%s: field \"%s\" is no list; expected Karpathy's or COCO's layout", c->b->arg, key);
    for (;;) {
        TRY(json_stream_next(c->s, &e));
        if (e == JSON_EVENT_ARRAY_END)
            return 0;
        if (++*n > limit_get(LIMIT_ROWS))
            FAIL(ERR_DATA, "%s: field \"%s\" has more than %lld entries (limit rows)", c->b->arg, key,
                 (long long)limit_get(LIMIT_ROWS));
        if (e == JSON_EVENT_OBJECT) {
            int rc = each(c, *n);
            if (rc != 0)
                return rc;
        } else {
            TRY(json_stream_skip(c->s, e));
            if (!c->searching)
                TRY(build_refuse(c->b, *n, "", "", "entry %lld of \"%s\" is no object", (long long)*n, key));
        }
        if (*n % 1024 == 0)
            TRY(signal_check());
    }
}

static int read_record(struct coco *c, int64_t row)
{
    TRY(take_record(c));
    return add_record(c, row);
}

/* The whole file; on_image is called for each record of "images", on_annotation for each of "annotations" (or NULL). */
static int walk_file(struct coco *c, int (*on_image)(struct coco *c, int64_t row),
                     int (*on_annotation)(struct coco *c, int64_t row))
{
    enum json_event e;
    TRY(json_stream_open(&c->s, c->b->arg));
    TRY(json_stream_next(c->s, &e));
    if (e != JSON_EVENT_OBJECT)
        FAIL(ERR_DATA, "%s: expected an object with a list \"images\" (Karpathy's or COCO's layout)", c->b->arg);
    for (;;) {
        TRY(json_stream_next(c->s, &e));
        if (e == JSON_EVENT_OBJECT_END)
            break;
        bool images = !strcmp(json_stream_text(c->s), "images");
        bool annotations = !strcmp(json_stream_text(c->s), "annotations");
        TRY(json_stream_next(c->s, &e));
        if ((images && c->has_images) || (annotations && c->has_annotations))
            FAIL(ERR_DATA, "%s: line %lld: field \"%s\" stands twice", c->b->arg, (long long)json_stream_line(c->s),
                 images ? "images" : "annotations");
        c->has_annotations |= annotations;
        int rc = 0;
        if (images)
            rc = walk_list(c, e, "images", &c->n_records, on_image);
        else if (annotations && on_annotation)
            rc = walk_list(c, e, "annotations", &c->n_annotations, on_annotation);
        else
            rc = json_stream_skip(c->s, e);
        if (rc != 0)
            return rc;
        c->has_images |= images;
    }
    TRY(json_stream_next(c->s, &e)); /* nothing behind it */
    json_stream_close(&c->s);
    if (!c->has_images)
        FAIL(ERR_DATA, "%s: no field \"images\"; expected Karpathy's or COCO's layout", c->b->arg);
    return 0;
}

/* ---- where the pictures lie --------------------------------------------------------------------------------- */

static const char *const places[] = {"",
                                     "images",
                                     "Images",
                                     "train2014",
                                     "val2014",
                                     "train2017",
                                     "val2017",
                                     "test2014",
                                     "flickr30k-images",
                                     "flickr30k_images",
                                     "coco",
                                     "coco/images",
                                     "Flicker8k_Dataset",
                                     "Flickr8k_Dataset"};
enum { N_PLACES = ARRAY_LEN(places), SAMPLE_FIRST = 32, SAMPLE_EVERY = 997, ENOUGH = 8 };

struct search {
    struct coco c; /* first: walk_file hands it on */
    char root[2 * N_PLACES][BUILD_PATH];
    int n_roots, hits[2 * N_PLACES];
};

/* Names below the folder alone, so that nothing else is asked for. */
static int try_record(struct coco *c, int64_t row)
{
    struct search *s = (struct search *)c;
    char paths[3][BUILD_PATH], full[BUILD_PATH];
    const char *names[3];
    TRY(take_record(c));
    if (*c->r.why || (row > SAMPLE_FIRST && row % SAMPLE_EVERY) || (c->b->opt->split && !c->r.has_split) ||
        (c->b->opt->split && !build_wants_split(c->b, text_of(&c->r.split))))
        return 0;
    int n = spell(&c->r, paths, names);
    for (int i = 0; i < s->n_roots; i++)
        for (int k = 0; k < n; k++)
            if (path_check_name(names[k], c->b->arg) == 0 && path_join(full, sizeof full, s->root[i], names[k]) == 0 &&
                path_exists(full)) {
                s->hits[i]++;
                break;
            }
    err_clear();
    for (int i = 0; i < s->n_roots; i++)
        if (s->hits[i] >= ENOUGH)
            return 1;
    return 0;
}

static int list_roots(struct search *s, const char *file)
{
    char base[BUILD_PATH];
    const char *slash = strrchr(file, '/');
    int n = slash ? (int)(slash - file) + (slash == file) : 1;
    if ((size_t)n >= sizeof base - 4)
        FAIL(ERR_DATA, "%.60s...: the path is too long", file);
    snprintf(base, sizeof base, "%.*s", n, slash ? file : ".");
    for (int up = 0; up < 2; up++) {
        if (up)
            strcat(base, "/..");
        for (size_t i = 0; i < N_PLACES; i++) {
            char *to = s->root[s->n_roots];
            if (*places[i])
                TRY(path_join(to, BUILD_PATH, base, places[i]));
            else
                snprintf(to, BUILD_PATH, "%s", base);
            s->n_roots += path_is_dir(to);
        }
    }
    return 0;
}

static void coco_free(struct coco *c)
{
    struct record *r = &c->r;
    struct str *texts[] = {&r->name, &r->dir, &r->split, &r->id, &r->second_id, &c->id, &c->caption};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        str_free(texts[i]);
    for (int i = 0; i < MAX_EXTRA; i++)
        str_free(&r->extra[i].value);
    names_free(&r->raw);
    mem_free(c->ids);
    mem_free(c->rows);
    mem_free(c->wait);
    json_stream_close(&c->s);
}

static int find_root(struct dataset_build *b)
{
    struct search *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    s->c.b = b;
    s->c.searching = true;
    int best = 0, rc = list_roots(s, b->arg);
    if (rc == 0)
        rc = walk_file(&s->c, try_record, NULL);
    for (int i = 1; i < s->n_roots; i++)
        if (s->hits[i] > s->hits[best])
            best = i;
    if (rc >= 0)
        rc = build_files(b, s->root[best], strlen(s->root[best]), true);
    coco_free(&s->c);
    mem_free(s);
    return rc < 0 ? rc : 0;
}

static int fill(struct coco *c)
{
    struct dataset_build *b = c->b;
    char more[96] = "";
    TRY(walk_file(c, read_record, take_annotation));
    for (int64_t i = 0; i < c->n_wait; i++)
        TRY(join(c, c->wait[i].id, c->wait[i].caption, c->wait[i].row));
    if (c->has_annotations && !c->has_sentences)
        snprintf(more, sizeof more, ", %s annotations", str_count(c->n_annotations));
    return build_describe(b, "coco: %s layout, %s records%s", c->has_sentences ? "Karpathy's" : "COCO's",
                          str_count(c->n_records), more);
}

int dataset_build_coco(struct dataset_build *b)
{
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected coco:FILE.json", b->d->spec);
    TRY(build_plain_columns(b));
    TRY(b->opt->images_root ? build_files(b, "", 0, true) : find_root(b));
    struct coco *c = mem_calloc(1, sizeof *c);
    if (!c)
        return ERR_MEMORY;
    c->b = b;
    int rc = fill(c);
    coco_free(c);
    mem_free(c);
    return rc;
}
