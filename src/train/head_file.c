/* train/head_file.c: heads on disk, and sets seen through them.
 *
 * RUN/head.safetensors holds image.weight [D,D], image.bias [D], text.weight, text.bias (linear) or fc1 and fc2 of each
 * side (mlp), as any framework writes a linear layer; head.json the design, the model whose vectors they take, and the
 * options of the training. A set seen through heads is no set of the encoder any more: what is searched in it must go
 * through the heads too. So it gets a fingerprint of its own, of the encoder's and of the weights, and whatever
 * compares fingerprints refuses a mixture. */
#include "train/head.h"

#include <string.h>

/* ---- writing ---- */

int head_save(const struct head *h, const struct set *s, const char *dir, const json_t *options)
{
    char path[2048];
    struct head *mine = (struct head *)h;
    TRY(path_join(path, sizeof path, dir, "head.safetensors"));
    head_shift(mine, 1); /* W, for others; what stays in memory is what a reader will have */
    int rc = params_save(&h->params, path, DT_F32);
    head_shift(mine, -1);
    TRY(rc);
    json_t *o =
        json_pack("{s:s, s:i, s:s, s:I, s:I, s:s, s:s, s:O*}", "format", "meridian head", "version", 1, "head",
                  h->d.mlp ? "mlp" : "linear", "width", (json_int_t)h->d.width, "hidden", (json_int_t)h->d.hidden,
                  "model", s->model, "fingerprint", s->fingerprint, "options", options);
    return atomic_put_json(dir, "head.json", o, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
}

/* ---- reading ---- */

static int read_design(const json_t *o, struct head_design *d, const char *where)
{
    const char *format = NULL, *kind = NULL;
    int64_t version = 0;
    TRY(json_field_str(o, "format", true, &format, where));
    if (strcmp(format, "meridian head"))
        FAIL(ERR_DATA, "%s: field \"format\" is \"%.40s\", expected \"meridian head\"", where, format);
    TRY(json_field_int(o, "version", true, 1, 1, &version, where));
    TRY(json_field_str(o, "head", true, &kind, where));
    if (strcmp(kind, "linear") && strcmp(kind, "mlp"))
        FAIL(ERR_DATA, "%s: field \"head\" is \"%.40s\", expected linear or mlp", where, kind);
    d->mlp = !strcmp(kind, "mlp");
    TRY(json_field_int(o, "width", true, 1, limit_get(LIMIT_WIDTH), &d->width, where));
    return json_field_int(o, "hidden", true, 1, limit_get(LIMIT_WIDTH), &d->hidden, where);
}

static int read_head(struct head **h, const json_t *o, const char *dir, const struct engine *e, const char *where)
{
    struct head_design d = {0};
    struct st_file *f = NULL;
    const char *model = "", *fingerprint = "";
    char path[2048];
    TRY(read_design(o, &d, where));
    TRY(json_field_str(o, "model", false, &model, where));
    TRY(json_field_str(o, "fingerprint", false, &fingerprint, where));
    TRY(path_join(path, sizeof path, dir, "head.safetensors"));
    TRY(st_open(&f, path));
    int rc = head_bind(h, &d, e, &(struct weight_files){.n = 1, .v = &f, .path = path});
    st_close(&f);
    TRY(rc);
    head_shift(*h, -1);
    (*h)->model = arena_strdup((*h)->arena, model);
    (*h)->fingerprint = arena_strdup((*h)->arena, fingerprint);
    if ((*h)->model && (*h)->fingerprint)
        return 0;
    head_close(h);
    return ERR_MEMORY;
}

int head_open(struct head **h, const char *dir, const struct engine *e)
{
    char where[2048];
    json_t *o;
    TRY(path_join(where, sizeof where, dir, "head.json"));
    TRY(json_read_file(&o, where));
    int rc = read_head(h, o, dir, e, where);
    json_decref(o);
    return rc;
}

int head_check_set(const struct head *h, const struct set *s, bool force)
{
    if (s->width != h->d.width)
        FAIL(ERR_MISMATCH, "set \"%s\" has vectors of width %lld, the heads were trained on width %lld of model \"%s\"",
             s->path, (long long)s->width, (long long)h->d.width, h->model);
    if (force || !h->fingerprint[0])
        return 0;
    TRY_IN(set_check_fingerprint(s, h->model, h->fingerprint), "checking that the heads belong to the set");
    return 0;
}

/* ---- a set through heads ---- */

static int name_set(struct set *out, const struct head *h, const struct set *s)
{
    struct sha256 hash;
    char hex[65];
    const size_t n = (size_t)h->params.n_slab * dtype_size(h->params.real);
    sha256_start(&hash);
    sha256_add(&hash, s->fingerprint, strlen(s->fingerprint));
    sha256_add(&hash, h->params.data, n);
    sha256_hex(&hash, hex);
    char *name = arena_alloc(out->arena, strlen(s->model) + 16);
    out->fingerprint = arena_strdup(out->arena, hex);
    if (!name || !out->fingerprint)
        return ERR_MEMORY;
    snprintf(name, strlen(s->model) + 16, "%s%s%s head", s->model, *s->model ? " + " : "", h->d.mlp ? "mlp" : "linear");
    out->model = name;
    return 0;
}

int head_set_open(struct set *out, const struct head *h, const struct set *s, bool named)
{
    TRY(head_check_set(h, s, true));
    *out = *s;
    out->unit = true;
    out->image.x = out->text.x = NULL;
    out->image.features = out->text.features = (struct set_features){0}; /* not what these vectors come from */
    out->arena = NULL;
    TRY(arena_open(&out->arena, "set through heads"));
    int rc = named ? name_set(out, h, s) : 0;
    for (int side = 0; side < 2 && rc == 0; side++) {
        const struct set_side *from = side ? &s->text : &s->image;
        struct set_side *to = side ? &out->text : &out->image;
        to->x = arena_alloc(out->arena, (size_t)from->n * (size_t)s->width * sizeof(float) + 1);
        rc = to->x ? head_apply(h, side, from->x, from->n, to->x) : ERR_MEMORY;
        if (rc < 0 && rc != ERR_INTERRUPTED)
            err_while(rc, "mapping the %ss of set \"%s\"", side ? "text" : "image", s->path);
    }
    if (rc < 0)
        head_set_close(out);
    return rc;
}

void head_set_close(struct set *out)
{
    arena_close(&out->arena);
    memset(out, 0, sizeof *out);
}
