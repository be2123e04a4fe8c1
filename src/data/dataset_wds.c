/* data/dataset_wds.c: `wds:PATTERN`, webdataset's tar shards: KEY.jpg beside KEY.txt and KEY.json.
 *
 * A sample is a run of members with the same key, which is the name up to the first dot of its last part. One pass at
 * opening looks at every member's header, reads the captions and fields, and notes where each picture lies; pictures
 * are read later, in any order (wds_read.c). Fields of the JSON become columns. A shard that is missing or broken costs
 * what it held and is named; numbers with gaps are what downloads leave behind. Member names are looked at, never
 * opened, so a name like ../../x can do nothing; it is refused all the same, because it says what the file is. */
#include "data/wds.h"

#include <strings.h>

enum { MAX_KEYS = 8, SHOWN_GAPS = 3 };

struct sample {
    struct str key, picture; /* picture: name of its member */
    struct str caption[MAX_KEYS], json, label;
    bool has_caption[MAX_KEYS], has_json, has_label, has_picture, two_pictures, twice;
    struct wds_place place;
    char why[160]; /* a member could not be read */
};

struct indexer {
    struct dataset_build *b;
    struct wds *w;
    char *keys[MAX_KEYS]; /* of captions */
    char key_text[512];
    int n_keys;
    struct tar *tar;
    struct sample s;
    int64_t shard, n_samples, n_gaps, n_broken, n_others;
    struct str gaps, scratch;
};

/* ---- one sample --------------------------------------------------------------------------------------------- */

static void sample_start(struct sample *s, const char *key, size_t n)
{
    struct str *texts[] = {&s->key, &s->picture, &s->json, &s->label};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        str_clear(texts[i]);
    memset(s->has_caption, 0, sizeof s->has_caption);
    s->has_json = s->has_label = s->has_picture = s->two_pictures = s->twice = false;
    s->why[0] = 0;
    str_add_n(&s->key, key, n);
}

static const char *text_of(const struct str *s)
{
    return s->s ? s->s : "";
}

static bool has_zero(const struct str *s)
{
    return s->n && memchr(s->s, 0, s->n);
}

/* Spaces and line ends around a caption are the file's, not its. */
static const char *trim(struct str *s)
{
    while (s->n && strchr(" \t\r\n", s->s[s->n - 1]))
        s->s[--s->n] = 0;
    const char *p = text_of(s);
    return p + strspn(p, " \t\r\n");
}

static int add_fields(struct indexer *x, const json_t *fields, int64_t image)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)fields, key, v)
    {
        int col;
        bool is_caption = !strcmp(key, "id") || !strcmp(key, "path") || !*key;
        for (int i = 0; i < x->n_keys; i++)
            is_caption |= !strcmp(key, x->keys[i]);
        if (is_caption || json_is_null(v))
            continue;
        str_clear(&x->scratch);
        if (json_is_string(v))
            str_add(&x->scratch, "%s", json_string_value(v));
        else
            TRY(str_add_json(&x->scratch, v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15)));
        TRY(build_column(x->b, key, &col));
        TRY(build_cell(x->b, image, col, text_of(&x->scratch)));
    }
    return x->scratch.failed ? ERR_MEMORY : 0;
}

static int refuse(struct indexer *x, const char *why)
{
    return build_refuse(x->b, x->n_samples, text_of(&x->s.key), x->w->shards[x->shard].path, "sample \"%s\" %s",
                        text_of(&x->s.key), why);
}

/* Caption k of key i: its member, or a string of that name in the JSON, or one of a list of them. NULL: no more. */
static const char *caption_of(struct indexer *x, const json_t *fields, int i, size_t k)
{
    struct sample *s = &x->s;
    if (s->has_caption[i])
        return k ? NULL : trim(&s->caption[i]);
    const json_t *field = json_object_get(fields, x->keys[i]);
    if (json_is_array(field) && k < json_array_size(field)) {
        const char *text = json_string_value(json_array_get(field, k));
        return text ? text : ""; /* null or a number: refused as an empty caption is */
    }
    return k ? NULL : json_string_value(field);
}

static const char *check_captions(struct indexer *x, const json_t *fields)
{
    const char *why = NULL, *text;
    int64_t good = 0;
    for (int i = 0; i < x->n_keys; i++)
        for (size_t k = 0; (text = caption_of(x, fields, i, k)) != NULL; k++) {
            const char *bad = build_bad_caption(text);
            if (x->s.has_caption[i] && has_zero(&x->s.caption[i]))
                bad = "the caption holds a zero byte";
            if (bad)
                why = bad;
            good += !bad;
        }
    if (good || !x->n_keys)
        return NULL;
    if (why)
        return why;
    str_clear(&x->scratch);
    str_add(&x->scratch,
            "has no caption: neither a member .%s nor a text or list of texts of that name in its JSON;"
            " --wds-caption-key names another (none: pictures alone)",
            x->keys[0]);
    return text_of(&x->scratch);
}

static int add_place(struct indexer *x)
{
    struct wds *w = x->w;
    int64_t n = x->b->d->n_images;
    if (n > w->cap_places) {
        int64_t more = w->cap_places ? w->cap_places * 2 : 1024;
        struct wds_place *p = mem_grow(w->places, (size_t)w->cap_places * sizeof *p, (size_t)more * sizeof *p);
        if (!p)
            return ERR_MEMORY;
        w->places = p;
        w->cap_places = more;
    }
    w->places[n - 1] = x->s.place;
    return 0;
}

static int add_sample(struct indexer *x, const json_t *fields)
{
    struct sample *s = &x->s;
    struct dataset_build *b = x->b;
    const char *cells[512] = {0}, *split = json_string_value(json_object_get(fields, "split"));
    char path[BUILD_PATH];
    int64_t image;
    if (b->opt->split && !split)
        FAIL(ERR_USAGE, "%s: sample \"%s\" has no field \"split\"; leave --split out and name the shards of one split",
             x->w->shards[x->shard].path, text_of(&s->key));
    if (split && !build_wants_split(b, split))
        return 0;
    if (snprintf(path, sizeof path, "%s/%s", x->w->shards[x->shard].path, text_of(&s->picture)) >= BUILD_PATH)
        return refuse(x, "has too long a name");
    cells[0] = text_of(&s->key);
    cells[1] = path;
    cells[2] = s->has_label ? trim(&s->label) : "";
    TRY(build_image(b, cells, &image));
    TRY(add_place(x));
    const char *text;
    for (int i = 0; i < x->n_keys; i++)
        for (size_t k = 0; (text = caption_of(x, fields, i, k)) != NULL; k++)
            TRY(build_caption(b, x->n_samples, image, text, "caption"));
    return fields ? add_fields(x, fields, image) : 0;
}

/* The sample is complete: into the dataset, or refused. */
static int flush(struct indexer *x)
{
    struct sample *s = &x->s;
    json_t *fields = NULL;
    const char *why = NULL;
    if (!s->key.n || build_full(x->b))
        return 0;
    x->n_samples++;
    if (s->has_json) {
        int rc = json_read_text(&fields, text_of(&s->json), s->json.n, text_of(&s->key));
        if (rc < 0)
            return build_refuse_error(x->b, x->n_samples, text_of(&s->key), x->w->shards[x->shard].path, rc);
        if (!json_is_object(fields))
            why = "has a JSON member that is no object";
    }
    if (*s->why)
        why = s->why;
    else if (!s->has_picture)
        why = "has no picture (jpg, jpeg, png or webp)";
    else if (s->two_pictures)
        why = "has two pictures";
    else if (s->twice)
        why = "has a member twice";
    else if (s->place.size == 0)
        why = "has an empty picture";
    else if (s->has_label && (has_zero(&s->label) || !utf8_ok(text_of(&s->label), s->label.n)))
        why = "has a member .cls that is no text";
    else if (!why)
        why = check_captions(x, fields);
    int rc = why ? refuse(x, why) : add_sample(x, fields);
    json_decref(fields);
    s->key.n = 0;
    return rc;
}

/* ---- members ------------------------------------------------------------------------------------------------ */

static int read_member(struct indexer *x, const struct tar_member *m, struct str *to, bool *has)
{
    struct sample *s = &x->s;
    if (*has)
        s->twice = true;
    *has = true;
    if (m->size > limit_get(LIMIT_TEXT_BYTES)) {
        snprintf(s->why, sizeof s->why, "has a text of %lld bytes, more than limit text-bytes", (long long)m->size);
        return tar_skip(x->tar);
    }
    return tar_read(x->tar, to);
}

static int take_member(struct indexer *x, const struct tar_member *m, const char *ending)
{
    struct sample *s = &x->s;
    struct wds_shard *shard = &x->w->shards[x->shard];
    if (wds_is_picture(ending)) {
        s->two_pictures |= s->has_picture;
        s->has_picture = true;
        s->place = (struct wds_place){x->shard, shard->packed ? shard->bytes : m->offset, m->size};
        str_clear(&s->picture);
        str_add(&s->picture, "%s", m->name);
        TRY(tar_skip(x->tar));
        shard->bytes += m->size;
        return s->picture.failed ? ERR_MEMORY : 0;
    }
    for (int i = 0; i < x->n_keys; i++)
        if (!strcasecmp(ending, x->keys[i]))
            return read_member(x, m, &s->caption[i], &s->has_caption[i]);
    if (!strcasecmp(ending, "json"))
        return read_member(x, m, &s->json, &s->has_json);
    if (!strcasecmp(ending, "cls"))
        return read_member(x, m, &s->label, &s->has_label);
    return tar_skip(x->tar);
}

static int index_member(struct indexer *x, struct tar_member *m)
{
    const char *shard = x->w->shards[x->shard].path;
    if (m->kind == TAR_FOLDER)
        return 0;
    if (m->kind == TAR_OTHER) {
        x->n_others++;
        return build_refuse(x->b, 0, m->name, shard, "member \"%s\" is a link, a device or a sparse file", m->name);
    }
    while (m->name[0] == '.' && m->name[1] == '/')
        m->name += 2;
    const char *ending = wds_ending(m->name);
    int rc = path_check_name(m->name, shard);
    if (rc == 0 && !utf8_ok(m->name, strlen(m->name)))
        rc = err_set(ERR_DATA, "%s: the name of a member is not UTF-8", shard);
    if (rc < 0) {
        TRY(build_refuse_error(x->b, 0, m->name, shard, rc));
        if (ending && wds_is_picture(ending)) /* it will lie in the cache all the same */
            x->w->shards[x->shard].bytes += m->size;
        return tar_skip(x->tar);
    }
    if (!ending)
        return tar_skip(x->tar);
    size_t n = (size_t)(ending - 1 - m->name);
    if (x->s.key.n != n || memcmp(x->s.key.s, m->name, n)) {
        TRY(flush(x));
        sample_start(&x->s, m->name, n);
    }
    return take_member(x, m, ending);
}

static int index_members(struct indexer *x)
{
    struct tar_member m;
    int rc;
    for (int64_t i = 1; (rc = tar_next(x->tar, &m)) > 0 && !build_full(x->b); i++) {
        TRY(index_member(x, &m));
        if (i % 1024 == 0)
            TRY(signal_check());
    }
    TRY(rc);
    return flush(x);
}

static int index_shard(struct indexer *x)
{
    struct wds_shard *s = &x->w->shards[x->shard];
    struct dataset_build *b = x->b;
    if (!path_exists(s->path)) {
        if (x->n_gaps++ < SHOWN_GAPS)
            str_add(&x->gaps, "%s%s", x->gaps.n ? ", " : "",
                    strrchr(s->path, '/') ? strrchr(s->path, '/') + 1 : s->path);
        b->n_parts++;
        return build_refuse(b, 0, "", s->path, "there is no such shard");
    }
    sample_start(&x->s, "", 0);
    int rc = tar_open(&x->tar, s->path);
    if (rc == 0) {
        s->packed = tar_packed(x->tar);
        rc = index_members(x);
    }
    tar_close(&x->tar);
    if (rc == 0 || rc == ERR_UNSUPPORTED || rc == ERR_USAGE)
        return rc;
    x->n_broken++;
    b->n_parts++;
    return build_refuse_error(b, 0, text_of(&x->s.key), s->path, rc);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static int read_keys(struct indexer *x, const char *given)
{
    if (!given)
        given = "txt";
    if (strlen(given) >= sizeof x->key_text)
        FAIL(ERR_USAGE, "--wds-caption-key: longer than %zu bytes", sizeof x->key_text - 1);
    strcpy(x->key_text, given);
    if (!strcmp(given, "none"))
        return 0;
    for (char *p = x->key_text; *p;) {
        size_t n = strcspn(p, ",;");
        bool last = p[n] == 0;
        p[n] = 0;
        if (x->n_keys == MAX_KEYS)
            FAIL(ERR_USAGE, "--wds-caption-key %s: more than %d keys", given, MAX_KEYS);
        if (*p)
            x->keys[x->n_keys++] = p;
        p += n + !last;
    }
    return 0;
}

static int list_shards(struct dataset_build *b, struct wds *w)
{
    struct names names = {0};
    int rc = wds_expand(&names, b->arg);
    if (rc == 0 && names.n == 0)
        rc = err_set(ERR_USAGE, "dataset \"%s\": the pattern names no shard", b->d->spec);
    if (rc == 0 && !(w->shards = mem_calloc((size_t)names.n, sizeof *w->shards)))
        rc = ERR_MEMORY;
    for (int64_t i = 0; i < names.n && rc == 0; i++) {
        w->shards[i].fd = -1;
        w->shards[i].path = build_keep(b, names.v[i]);
        rc = w->shards[i].path ? 0 : ERR_MEMORY;
        w->n_shards++;
    }
    names_free(&names);
    return rc;
}

static int describe(struct indexer *x)
{
    struct wds *w = x->w;
    int64_t packed = 0, bytes = 0;
    char extra[512] = "";
    size_t n = 0;
    for (int64_t i = 0; i < w->n_shards; i++) {
        packed += w->shards[i].packed;
        bytes += w->shards[i].packed ? w->shards[i].bytes : 0;
    }
    if (packed)
        n += (size_t)snprintf(extra + n, sizeof extra - n, ", %s of them packed", str_count(packed));
    if (x->n_gaps)
        n += (size_t)snprintf(extra + n, sizeof extra - n, ", %s missing (%.200s%s)", str_count(x->n_gaps),
                              text_of(&x->gaps), x->n_gaps > SHOWN_GAPS ? ", ..." : "");
    if (x->n_broken)
        snprintf(extra + n, sizeof extra - n, ", %s broken", str_count(x->n_broken));
    if (bytes > limit_get(LIMIT_SHARD_CACHE))
        log_warn("%s: the packed shards hold %lld MB of pictures, more than limit shard-cache (%lld MB): in shuffled "
                 "order they are unpacked again and again; unpack them, or raise the limit",
                 x->b->d->spec, (long long)(bytes / 1000000), (long long)(limit_get(LIMIT_SHARD_CACHE) / 1000000));
    return build_describe(x->b, "wds: %s shards%s, %s samples", str_count(w->n_shards), extra, str_count(x->n_samples));
}

static int index_all(struct indexer *x)
{
    struct wds *w = x->w;
    struct progress *p = NULL;
    int rc = 0;
    if (w->n_shards >= 8)
        progress_open(&p, "indexing", w->n_shards, "shards");
    for (x->shard = 0; x->shard < w->n_shards && rc == 0 && !build_full(x->b); x->shard++) {
        rc = index_shard(x);
        progress_add(p, 1);
    }
    progress_close(&p);
    TRY(rc);
    if (x->n_gaps == w->n_shards)
        FAIL(ERR_DATA, "%s: there is no such shard%s", w->shards[0].path,
             w->n_shards > 1 ? ", nor any other that the pattern names" : "");
    return describe(x);
}

static void wds_close(struct dataset *d)
{
    struct wds *w = d->own;
    wds_cache_close(w);
    mem_free(w->shards);
    mem_free(w->places);
    mem_free(w);
}

static void indexer_free(struct indexer *x)
{
    struct sample *s = &x->s;
    struct str *texts[] = {&s->key, &s->picture, &s->json, &s->label, &x->gaps, &x->scratch};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        str_free(texts[i]);
    for (int i = 0; i < MAX_KEYS; i++)
        str_free(&s->caption[i]);
    mem_free(x);
}

int dataset_build_wds(struct dataset_build *b)
{
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected wds:PATTERN, as in wds:shards/{000..099}.tar", b->d->spec);
    TRY(build_plain_columns(b));
    struct wds *w = mem_calloc(1, sizeof *w);
    if (!w)
        return ERR_MEMORY;
    b->d->own = w;
    b->d->close = wds_close;
    b->d->read_image = wds_read_image;
    TRY(wds_cache_open(w));
    TRY(list_shards(b, w));
    struct indexer *x = mem_calloc(1, sizeof *x);
    if (!x)
        return ERR_MEMORY;
    x->b = b;
    x->w = w;
    int rc = read_keys(x, b->opt->caption_key);
    if (rc == 0)
        rc = index_all(x);
    indexer_free(x);
    return rc;
}
