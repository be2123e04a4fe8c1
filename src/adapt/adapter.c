/* adapt/adapter.c: an adapter's folder: adapter.json (method, design, whose vectors, their mean) and
 * adapter.safetensors, whose names are the authors' and nothing else, so that their checkpoints and ours change places.
 * The means stand in the JSON with all their digits. */
#include "adapt/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const mean_rules[] = {"free", "residual", "fixed"};
#define X(id) &method_##id,
static const struct method *const methods[] = {
#include "adapt/method_list.h"
};
#undef X

int method_find(const char *name, const struct method **out)
{
    struct str known = {0};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!strcmp(name, methods[i]->name)) {
            *out = methods[i];
            str_free(&known);
            return 0;
        }
        str_add(&known, "%s%s", i ? ", " : "", methods[i]->name);
    }
    err_set(ERR_DATA, "method \"%.40s\" is unknown, expected one of %s", name, known.s ? known.s : "");
    str_free(&known);
    return ERR_DATA;
}

void adapt_add_methods(struct str *b)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        str_add(b, "  %-9s %s\n", methods[i]->name, methods[i]->help);
}

const char *mean_rule_name(enum mean_rule m)
{
    return mean_rules[m];
}

int mean_rule_find(const char *name, enum mean_rule *out)
{
    for (int i = 0; i < (int)ARRAY_LEN(mean_rules); i++)
        if (!strcmp(name, mean_rules[i])) {
            *out = (enum mean_rule)i;
            return 0;
        }
    FAIL(ERR_DATA, "mean \"%.40s\" is unknown, expected free, residual or fixed", name);
}

int adapter_new(struct adapter **out, const struct design *d, const struct engine *e)
{
    struct arena *arena;
    TRY(arena_open(&arena, "adapter"));
    struct adapter *a = arena_calloc(arena, 1, sizeof *a);
    if (!a) {
        arena_close(&arena);
        return ERR_MEMORY;
    }
    a->arena = arena;
    a->d = *d;
    a->engine = e;
    a->model = a->fingerprint = "";
    for (int side = 0; side < 2; side++)
        a->mean[side] = arena_calloc(arena, (size_t)d->width, sizeof(double));
    if (!a->mean[0] || !a->mean[1]) {
        adapt_close(&a);
        return ERR_MEMORY;
    }
    *out = a;
    return 0;
}

int adapter_bind(struct adapter *a, const struct weight_files *w)
{
    if (!a->d.method->bind)
        return 0;
    TRY(a->d.method->bind(a));
    if (w) /* before memory is asked for: a design without its weights costs nothing */
        TRY(params_check(&a->params, w));
    TRY(params_allocate(&a->params, a->engine->real));
    return w ? params_load(&a->params, w, false) : 0;
}

int adapter_make(struct adapter **out, const struct design *d, const struct engine *e, const struct weight_files *w)
{
    struct adapter *a = NULL;
    TRY(adapter_new(&a, d, e));
    int rc = adapter_bind(a, w);
    if (rc < 0)
        adapt_close(&a);
    else
        *out = a;
    return rc;
}

void adapt_close(struct adapter **a)
{
    if (!*a)
        return;
    if ((*a)->d.method && (*a)->d.method->close)
        (*a)->d.method->close(*a);
    params_free(&(*a)->params);
    struct arena *arena = (*a)->arena;
    *a = NULL;
    arena_close(&arena);
}

int64_t adapt_width(const struct adapter *a)
{
    return a->d.width;
}

json_t *adapt_result_to_json(const struct adapt_result *r, const char *method)
{
    json_t *j =
        json_pack("{s:o, s:I, s:f, s:o, s:I, s:I, s:s}", "final_loss", json_number(r->final_loss), "steps",
                  (json_int_t)r->steps, "seconds", r->seconds, "validation", json_number(r->validation), "pairs",
                  (json_int_t)r->n_train, "validation_pairs", (json_int_t)r->n_validation, "method", method);
    if (j && isfinite(r->validation))
        json_object_set_new(j, "best_epoch", json_integer(r->best_epoch));
    return j;
}

const char *adapt_method(const struct adapter *a)
{
    return a->d.method->name;
}

bool adapt_covers(const struct adapter *a, int side)
{
    return a->d.method->sides >> side & 1;
}

int adapter_check_set(const struct adapter *a, const struct set *s, int side, bool force)
{
    if (side >= 0 && !adapt_covers(a, side))
        FAIL(ERR_DATA, "method %s has distributions of %s alone, not of %s: ask with --side %s", a->d.method->name,
             side == SIDE_TEXT ? "pictures" : "texts", side == SIDE_TEXT ? "texts" : "pictures",
             side == SIDE_TEXT ? "image" : "text");
    if (s->width != a->d.width)
        FAIL(ERR_MISMATCH,
             "set \"%s\" has vectors of width %lld, the adapter was fitted to width %lld%s%s%s: "
             "take a set of that model, or fit another adapter",
             s->path, (long long)s->width, (long long)a->d.width, a->model[0] ? " of model \"" : "", a->model,
             a->model[0] ? "\"" : "");
    if (force || !a->fingerprint[0])
        return 0;
    TRY_IN(set_check_fingerprint(s, a->model, a->fingerprint), "checking that the adapter belongs to the set");
    return 0;
}

/* ---- writing ---- */

static json_t *numbers(const double *x, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

int adapter_save(const struct adapter *a, const char *dir, const json_t *options)
{
    char path[2048];
    struct str text = {0};
    const struct design *d = &a->d;
    json_t *o =
        json_pack("{s:s, s:i, s:s, s:s, s:b, s:I, s:I, s:f, s:f, s:f, s:f, s:s, s:s, s:{s:o, s:o}, s:O*}", "format",
                  "meridian adapter", "version", 1, "method", d->method->name, "mean", mean_rule_name(d->mean),
                  "released", d->released, "width", (json_int_t)d->width, "hidden", (json_int_t)d->hidden, "dropout",
                  d->dropout, "image_scale", d->image_scale, "text_scale", d->text_scale, "unit", d->unit, "model",
                  a->model, "fingerprint", a->fingerprint, "removed_mean", "image", numbers(a->mean[0], d->width),
                  "text", numbers(a->mean[1], d->width), "options", options);
    int rc = o && d->method->write ? d->method->write(a, o) : 0;
    if (rc == 0)
        rc = o ? str_add_json(&text, o, JSON_INDENT(1) | JSON_REAL_PRECISION(17))
               : err_set(ERR_MEMORY, "no memory for adapter.json");
    json_decref(o);
    str_add_c(&text, '\n');
    if (rc == 0 && text.failed)
        rc = ERR_MEMORY;
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, "adapter.json");
    if (rc == 0)
        rc = atomic_put(path, text.s, text.n);
    str_free(&text);
    TRY(rc);
    if (!d->method->bind)
        return 0;
    TRY(path_join(path, sizeof path, dir, "adapter.safetensors"));
    return params_save(&a->params, path, DT_F32);
}

/* ---- reading ---- */

static int read_mean(const json_t *list, int64_t n, double *out, const char *where)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        FAIL(ERR_DATA, "%s: \"removed_mean\" holds %zu numbers, expected the width, %lld", where, json_array_size(list),
             (long long)n);
    for (int64_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        out[i] = json_number_value(x);
        if (!json_is_number(x) || !(fabs(out[i]) <= 1.001)) /* of unit vectors */
            FAIL(ERR_DATA, "%s: \"removed_mean\" holds something that is no number from -1 to 1", where);
    }
    return 0;
}

static int read_design(const json_t *o, struct design *d, const char *where)
{
    const char *method = NULL, *mean = NULL, *format = NULL;
    int64_t version = 0;
    TRY(json_field_str(o, "format", true, &format, where));
    if (strcmp(format, "meridian adapter"))
        FAIL(ERR_DATA, "%s: field \"format\" is \"%.40s\", expected \"meridian adapter\"", where, format);
    TRY(json_field_int(o, "version", true, 1, 1, &version, where));
    TRY(json_field_str(o, "method", true, &method, where));
    TRY(json_field_str(o, "mean", true, &mean, where));
    d->method = &method_ensemble; /* no method of its own to fit */
    if (strcmp(method, method_ensemble.name) != 0)
        TRY_IN(method_find(method, &d->method), "reading %s", where);
    TRY_IN(mean_rule_find(mean, &d->mean), "reading %s", where);
    TRY(json_field_bool(o, "released", true, &d->released, where));
    TRY(json_field_int(o, "width", true, 1, limit_get(LIMIT_WIDTH), &d->width, where));
    TRY(json_field_int(o, "hidden", true, 1, limit_get(LIMIT_WIDTH), &d->hidden, where));
    TRY(json_field_real(o, "dropout", true, 0, 0.99, &d->dropout, where));
    TRY(json_field_real(o, "image_scale", true, 1e-30, 1e30, &d->image_scale, where));
    TRY(json_field_real(o, "text_scale", true, 1e-30, 1e30, &d->text_scale, where));
    return json_field_real(o, "unit", true, 1e-30, 1e30, &d->unit, where);
}

static int read_adapter(struct adapter **out, const json_t *o, const struct design *d, const struct engine *e,
                        const char *dir, const char *where)
{
    struct adapter *a = NULL;
    struct st_file *f = NULL;
    const char *model = "", *fingerprint = "";
    char path[2048];
    const json_t *means = json_object_get(o, "removed_mean");
    TRY(json_field_str(o, "model", false, &model, where));
    TRY(json_field_str(o, "fingerprint", false, &fingerprint, where));
    TRY(path_join(path, sizeof path, dir, "adapter.safetensors"));
    TRY(adapter_new(&a, d, e));
    int rc = d->method->read ? d->method->read(a, o, where) : 0;
    if (rc == 0 && d->method->bind)
        rc = st_open(&f, path);
    if (rc == 0)
        rc = adapter_bind(a, &(struct weight_files){.n = 1, .v = &f, .path = path});
    st_close(&f);
    if (rc == 0)
        rc = read_mean(json_object_get(means, "image"), d->width, a->mean[0], where);
    if (rc == 0)
        rc = read_mean(json_object_get(means, "text"), d->width, a->mean[1], where);
    if (rc == 0) {
        a->model = arena_strdup(a->arena, model);
        a->fingerprint = arena_strdup(a->arena, fingerprint);
        rc = a->model && a->fingerprint ? 0 : ERR_MEMORY;
    }
    if (rc < 0)
        adapt_close(&a);
    else
        *out = a;
    return rc;
}

int adapt_open_on(struct adapter **a, const char *dir, const struct engine *e)
{
    char where[2048];
    json_t *o;
    struct design d = {0};
    TRY(path_join(where, sizeof where, dir, "adapter.json"));
    if (!path_exists(where))
        FAIL(ERR_DATA, "%s: %s; expected an adapter: a folder with adapter.json, as \"meridian adapt\" writes", dir,
             path_exists(dir) ? "has no adapter.json" : "does not exist");
    TRY(json_read_file(&o, where));
    int rc = read_design(o, &d, where);
    if (rc == 0)
        rc = read_adapter(a, o, &d, e, dir, where);
    json_decref(o);
    return rc;
}

int adapt_open(struct adapter **a, const char *dir)
{
    const struct engine *e;
    TRY(engine_open(&e, NULL, 0));
    return adapt_open_on(a, dir, e);
}
