/* A calibration as one small JSON file (docs/formats.md): method, parameters, what it was fitted on, how it did.
 *
 * The reader trusts nothing: every number is checked for its kind and range, lists that belong together for equal
 * length, an isotonic map for order, and what is missing is named. What a search needs is read back; the report of the
 * held-out pairs is for people and is not. */
#include "eval/eval_private.h"

#include <math.h>
#include <string.h>

static const char *const feature_names[N_MATCH_FEATURES] = {"cosine", "margin", "softmax"};
static const char *const direction_names[2] = {"image_to_text", "text_to_image"};

void calibration_free(struct calibration *c)
{
    mem_free(c->model);
    mem_free(c->fingerprint);
    mem_free(c->data);
    mem_free(c->protocol);
    mem_free(c->grouping);
    match_free(&c->models[0]);
    match_free(&c->models[1]);
    *c = (struct calibration){0};
}

/* ---- writing ---- */

static json_t *reals(const double *v, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_number(v[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *bins_to_json(const struct calibration_bin *bins)
{
    json_t *list = json_array();
    for (int i = 0; list && i < 15; i++)
        json_array_append_new(list,
                              json_pack("{s:I, s:o, s:o}", "n", (json_int_t)bins[i].n, "p_match",
                                        json_number(bins[i].confidence), "matched", json_number(bins[i].accuracy)));
    return list;
}

static json_t *report_to_json(const struct match_report *r)
{
    json_t *o = json_pack("{s:I, s:I, s:I}", "n_queries", (json_int_t)r->n_queries, "n_pairs", (json_int_t)r->n_pairs,
                          "n_match", (json_int_t)r->n_match);
    const struct interval all[5] = {r->ece, r->ece_equal_mass, r->brier, r->nll, r->share};
    static const char *const keys[5] = {"ece", "ece_equal_mass", "brier", "nll", "share"};
    json_t *ci = json_object();
    for (int i = 0; o && i < 5; i++) {
        result_put(o, keys[i], all[i].value, "no held-out pairs");
        json_object_set_new(ci, keys[i], result_bounds(all[i]));
    }
    json_object_set_new(o, "ci", ci);
    json_object_set_new(o, "bins_width", bins_to_json(r->width));
    json_object_set_new(o, "bins_mass", bins_to_json(r->mass));
    return o;
}

json_t *match_reports_to_json(const struct match_report *const r[2])
{
    json_t *o = json_object();
    for (int way = 0; o && way < 2; way++)
        json_object_set_new(
            o, way ? "text_to_image" : "image_to_text",
            json_pack("{s:o, s:o}", "hits", report_to_json(&r[way][0]), "first_hits", report_to_json(&r[way][1])));
    return o;
}

static json_t *map_to_json(const struct calibrator *c)
{
    switch (c->kind) {
    case CALIBRATE_ISOTONIC:
        return json_pack("{s:o, s:o}", "x", reals(c->x, c->n), "y", reals(c->y, c->n));
    case CALIBRATE_PLATT:
        return json_pack("{s:f, s:f}", "a", c->a, "b", c->b);
    case CALIBRATE_BETA:
        return json_pack("{s:f, s:f, s:f}", "a", c->a, "b", c->b, "c", c->c);
    default:
        return json_object();
    }
}

static json_t *score_to_json(const struct match_score *s)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "mean", reals(s->mean, N_MATCH_FEATURES), "scale",
                     reals(s->scale, N_MATCH_FEATURES), "weight", reals(s->weight, N_MATCH_FEATURES + 1), "map",
                     map_to_json(&s->map));
}

static json_t *risk_to_json(const struct risk_sample *r)
{
    json_t *right = json_array();
    for (int64_t i = 0; right && i < r->n; i++)
        json_array_append_new(right, json_boolean(r->right[i]));
    return json_pack("{s:o, s:o, s:o}", "thresholds", reals(r->grid, r->n_grid), "first_p_match", reals(r->score, r->n),
                     "first_right", right);
}

static json_t *kept_to_json(const struct match_kept *k, int n, const char *what)
{
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++)
        json_array_append_new(list, json_pack("{s:f, s:b, s:I, s:I, s:I}", what, k[i].asked, "found", k[i].found,
                                              "n_queries", (json_int_t)k[i].n, "n_answered",
                                              (json_int_t)k[i].n_answered, "n_wrong", (json_int_t)k[i].n_wrong));
    return list;
}

static json_t *model_to_json(const struct match_model *m)
{
    if (!m->fitted)
        return json_null();
    json_t *held = json_pack("{s:o, s:o, s:o, s:o}", "risk", kept_to_json(m->risk_kept, 3, "risk"), "coverage",
                             kept_to_json(m->cover_kept, 2, "coverage"), "hits", report_to_json(&m->report[0]),
                             "first_hits", report_to_json(&m->report[1]));
    return json_pack("{s:f, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "temperature", m->temperature, "n_gallery",
                     (json_int_t)m->n_gallery, "n_fit_queries", (json_int_t)m->n_fit_queries, "n_fit_pairs",
                     (json_int_t)m->n_fit_pairs, "n_fit_matches", (json_int_t)m->n_fit_matches, "first",
                     score_to_json(&m->first), "later", score_to_json(&m->later), "risk", risk_to_json(&m->risk),
                     "right_mass", reals(m->cover, m->n_cover), "held_out", held);
}

json_t *calibration_to_json(const struct calibration *c)
{
    const struct match_model *m = c->models[0].fitted ? &c->models[0] : &c->models[1];
    json_t *features = json_array(), *directions = json_object();
    for (int k = 0; k < N_MATCH_FEATURES; k++)
        if (m->features >> k & 1)
            json_array_append_new(features, json_string(feature_names[k]));
    for (int i = 0; i < 2; i++)
        json_object_set_new(directions, direction_names[i], model_to_json(&c->models[i]));
    return json_pack("{s:s, s:i, s:s, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:o}", "format",
                     "meridian calibration", "version", 1, "method", calibrator_name(m->kind), "features", features,
                     "model", c->model, "fingerprint", c->fingerprint, "data", c->data, "protocol", c->protocol,
                     "width", (json_int_t)c->width, "hits", (json_int_t)c->n_hits, "seed", (json_int_t)c->seed,
                     "grouping", c->grouping, "directions", directions);
}

int calibration_write(const char *path, const struct calibration *c)
{
    struct str b = {0};
    json_t *o = calibration_to_json(c);
    int rc = o ? str_add_json(&b, o, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) : ERR_MEMORY;
    json_decref(o);
    if (rc == 0) {
        str_add_c(&b, '\n');
        rc = b.failed ? ERR_MEMORY : atomic_put(path, b.s, b.n);
    }
    str_free(&b);
    if (rc == ERR_MEMORY && !*err_text())
        FAIL(ERR_MEMORY, "no memory for %s", path);
    return rc;
}

/* ---- reading ---- */

static int get_object(const json_t *o, const char *key, const char *where, const json_t **out)
{
    *out = json_object_get(o, key);
    if (!json_is_object(*out))
        FAIL(ERR_DATA, "%s: field \"%s\" is %s, expected an object; write the file again with meridian calibrate",
             where, key, *out ? "of another type" : "missing");
    return 0;
}

/* A list of numbers in [min, max]; n: its length, or -1: any. */
static int get_reals(const json_t *o, const char *key, double min, double max, const char *where, int64_t n,
                     double **out, int64_t *n_out)
{
    const json_t *list = json_object_get(o, key);
    if (!json_is_array(list))
        FAIL(ERR_DATA, "%s: field \"%s\" is %s, expected a list of numbers", where, key,
             list ? "of another type" : "missing");
    int64_t count = (int64_t)json_array_size(list);
    if (count > limit_get(LIMIT_ROWS) || (n >= 0 && count != n))
        FAIL(ERR_DATA, "%s: field \"%s\" has %lld numbers, expected %s%lld", where, key, (long long)count,
             n < 0 ? "at most " : "", (long long)(n < 0 ? limit_get(LIMIT_ROWS) : n));
    double *v = mem_calloc((size_t)count + 1, sizeof *v);
    if (!v)
        return ERR_MEMORY;
    for (int64_t i = 0; i < count; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        double value = json_is_number(x) ? json_number_value(x) : (double)NAN;
        if (!(value >= min && value <= max)) {
            mem_free(v);
            FAIL(ERR_DATA, "%s: number %lld of \"%s\" is %s, expected one in [%g, %g]", where, (long long)i, key,
                 json_is_number(x) ? "out of range" : "no number", min, max);
        }
        v[i] = value;
    }
    *out = v;
    if (n_out)
        *n_out = count;
    return 0;
}

static int get_few(const json_t *o, const char *key, double min, double max, const char *where, int n, double *into)
{
    double *v = NULL;
    TRY(get_reals(o, key, min, max, where, n, &v, NULL));
    memcpy(into, v, (size_t)n * sizeof *v);
    mem_free(v);
    return 0;
}

static int read_map(const json_t *o, const char *where, struct calibrator *c)
{
    const double most = 1e9;
    int64_t n = 0;
    if (c->kind == CALIBRATE_PLATT || c->kind == CALIBRATE_BETA) {
        double low = c->kind == CALIBRATE_BETA ? 0 : -most;
        TRY(json_field_real(o, "a", true, low, most, &c->a, where));
        TRY(json_field_real(o, "b", true, low, most, &c->b, where));
        if (c->kind == CALIBRATE_BETA)
            TRY(json_field_real(o, "c", true, -most, most, &c->c, where));
        return 0;
    }
    if (c->kind == CALIBRATE_TEMPERATURE)
        return 0;
    TRY(get_reals(o, "x", -1e6, 1e6, where, -1, &c->x, &n));
    TRY(get_reals(o, "y", 0, 1, where, n, &c->y, NULL));
    if (n < 1)
        FAIL(ERR_DATA, "%s: the map has no steps, expected at least one", where);
    for (int64_t i = 1; i < n; i++)
        if (!(c->x[i] > c->x[i - 1]) || c->y[i] < c->y[i - 1])
            FAIL(ERR_DATA,
                 "%s: the map falls or stands still at step %lld, expected \"x\" to rise and \"y\" not to fall", where,
                 (long long)i);
    c->n = n;
    return 0;
}

static int read_score(const json_t *model, const char *key, const char *where, enum calibrator_kind kind,
                      struct match_score *s)
{
    const json_t *o, *map;
    s->map.kind = kind;
    TRY(get_object(model, key, where, &o));
    TRY(get_few(o, "mean", -1e9, 1e9, where, N_MATCH_FEATURES, s->mean));
    TRY(get_few(o, "scale", 1e-12, 1e9, where, N_MATCH_FEATURES, s->scale));
    TRY(get_few(o, "weight", -1e9, 1e9, where, N_MATCH_FEATURES + 1, s->weight));
    TRY(get_object(o, "map", where, &map));
    return read_map(map, where, &s->map);
}

static int read_risk(const json_t *o, const char *where, struct match_model *m)
{
    const json_t *risk, *right;
    struct risk_sample *r = &m->risk;
    TRY(get_object(o, "risk", where, &risk));
    TRY(get_reals(risk, "thresholds", 0, 1, where, MATCH_GRID, &r->grid, NULL));
    r->n_grid = MATCH_GRID;
    TRY(get_reals(risk, "first_p_match", 0, 1, where, -1, &r->score, &r->n));
    right = json_object_get(risk, "first_right");
    if (!json_is_array(right) || (int64_t)json_array_size(right) != r->n)
        FAIL(ERR_DATA, "%s: field \"first_right\" is no list of %lld, as many as \"first_p_match\"", where,
             (long long)r->n);
    r->right = mem_calloc((size_t)r->n + 1, sizeof *r->right);
    if (!r->right)
        return ERR_MEMORY;
    for (int64_t i = 0; i < r->n; i++) {
        const json_t *x = json_array_get(right, (size_t)i);
        if (!json_is_boolean(x))
            FAIL(ERR_DATA, "%s: entry %lld of \"first_right\" is not true or false", where, (long long)i);
        r->right[i] = json_is_true(x);
    }
    return get_reals(o, "right_mass", -1e9, 0, where, -1, &m->cover, &m->n_cover);
}

static int read_model(const json_t *directions, int direction, const char *path, enum calibrator_kind kind,
                      int features, struct match_model *m)
{
    char where[1200];
    const json_t *o = json_object_get(directions, direction_names[direction]);
    snprintf(where, sizeof where, "%.1000s: directions.%s", path, direction_names[direction]);
    if (json_is_null(o))
        return 0;
    TRY(get_object(directions, direction_names[direction], path, &o));
    m->features = features;
    m->kind = kind;
    TRY(json_field_real(o, "temperature", true, 1e-6, 1e6, &m->temperature, where));
    TRY(json_field_int(o, "n_gallery", true, 0, limit_get(LIMIT_ROWS), &m->n_gallery, where));
    TRY(json_field_int(o, "n_fit_queries", true, 1, limit_get(LIMIT_ROWS), &m->n_fit_queries, where));
    TRY(read_score(o, "first", where, kind, &m->first));
    TRY(read_score(o, "later", where, kind, &m->later));
    TRY(read_risk(o, where, m));
    m->fitted = true;
    return 0;
}

static int read_features(const json_t *root, const char *path, int *features)
{
    const json_t *list = json_object_get(root, "features");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        int k = 0;
        while (k < N_MATCH_FEATURES && (!name || strcmp(name, feature_names[k])))
            k++;
        if (k == N_MATCH_FEATURES)
            FAIL(ERR_DATA, "%s: entry %zu of \"features\" is unknown, expected cosine, margin or softmax", path, i);
        *features |= 1 << k;
    }
    if (!*features)
        FAIL(ERR_DATA,
             "%s: field \"features\" is missing, no list or empty, expected one with cosine, margin or softmax", path);
    return 0;
}

static int read_text(const json_t *root, const char *key, const char *path, char **out)
{
    const char *s = "";
    TRY(json_field_str(root, key, false, &s, path));
    *out = mem_strdup(s);
    return *out ? 0 : ERR_MEMORY;
}

static int read_root(const json_t *root, const char *path, struct calibration *c)
{
    const char *format = "", *method = "";
    enum calibrator_kind kind = CALIBRATE_PLATT;
    const json_t *directions;
    int64_t version = 0;
    int features = 0;
    if (!json_is_object(root))
        FAIL(ERR_DATA, "%s: no JSON object, expected a calibration as meridian calibrate writes it", path);
    TRY(json_field_str(root, "format", true, &format, path));
    if (strcmp(format, "meridian calibration"))
        FAIL(ERR_DATA, "%s: field \"format\" is \"%.40s\", expected \"meridian calibration\"", path, format);
    TRY(json_field_int(root, "version", true, 1, 1, &version, path));
    TRY(json_field_str(root, "method", true, &method, path));
    if (calibrator_find(method, &kind) < 0)
        FAIL(ERR_DATA, "%s: field \"method\" is \"%.40s\", expected isotonic, platt, beta or temperature", path,
             method);
    TRY(read_features(root, path, &features));
    TRY(json_field_int(root, "width", true, 1, limit_get(LIMIT_WIDTH), &c->width, path));
    TRY(json_field_int(root, "hits", true, 1, 1000000, &c->n_hits, path));
    TRY(json_field_int(root, "seed", false, 0, INT64_MAX, &c->seed, path));
    TRY(read_text(root, "model", path, &c->model));
    TRY(read_text(root, "fingerprint", path, &c->fingerprint));
    TRY(read_text(root, "data", path, &c->data));
    TRY(read_text(root, "protocol", path, &c->protocol));
    TRY(read_text(root, "grouping", path, &c->grouping));
    TRY(get_object(root, "directions", path, &directions));
    for (int i = 0; i < 2; i++)
        TRY(read_model(directions, i, path, kind, features, &c->models[i]));
    if (!c->models[0].fitted && !c->models[1].fitted)
        FAIL(ERR_DATA, "%s: no direction was fitted", path);
    return 0;
}

int calibration_read(const char *path, struct calibration *out)
{
    struct calibration c = {0};
    json_t *root = NULL;
    if (!path_exists(path))
        FAIL(ERR_DATA, "%s: does not exist; expected a calibration, as \"meridian calibrate --out\" writes", path);
    TRY(json_read_file(&root, path));
    int rc = read_root(root, path, &c);
    json_decref(root);
    if (rc < 0) {
        calibration_free(&c);
        return rc;
    }
    *out = c;
    return 0;
}

/* ---- fitting both directions ---- */

int match_features_find(const char *list, const char *what, int *features)
{
    static const char *const names[N_MATCH_FEATURES] = {"cosine", "margin", "softmax"};
    *features = 0;
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        int k = 0;
        while (k < N_MATCH_FEATURES && (strlen(names[k]) != n || strncmp(p, names[k], n) != 0))
            k++;
        if (k == N_MATCH_FEATURES)
            FAIL(ERR_USAGE, "%s: \"%.*s\" is unknown, expected cosine, margin and softmax with commas", what,
                 (int)(n < 40 ? n : 40), p);
        *features |= 1 << k;
        p += n + (p[n] == ',');
    }
    if (!*features)
        FAIL(ERR_USAGE, "%s is empty, expected some of cosine,margin,softmax", what);
    return 0;
}

static int fit(const struct set *s, const struct match_split *split, const struct match_opt *opt, struct calibration *c)
{
    c->model = mem_strdup(s->model);
    c->fingerprint = mem_strdup(s->fingerprint);
    c->data = mem_strdup(s->data);
    c->protocol = mem_strdup(s->protocol);
    c->grouping = mem_strdup(split->grouping);
    if (!c->model || !c->fingerprint || !c->data || !c->protocol || !c->grouping)
        return ERR_MEMORY;
    c->width = s->width;
    c->n_hits = opt->n_hits;
    c->seed = (int64_t)opt->seed;
    for (int i = 0; i < 2; i++)
        TRY(match_fit(s, i, split, opt, &c->models[i]));
    if (!c->models[0].fitted && !c->models[1].fitted)
        FAIL(ERR_DATA, "set \"%s\": no pair lies in the validation part (%lld pairs); a calibration needs pairs",
             s->path, (long long)s->n_pairs);
    return 0;
}

int calibration_fit(const struct set *s, const struct match_split *split, const struct match_opt *opt,
                    struct calibration *out)
{
    struct calibration c = {0};
    int rc = fit(s, split, opt, &c);
    if (rc < 0)
        calibration_free(&c);
    else
        *out = c;
    return rc;
}

json_t *calibration_answer(const struct calibration *c, const struct match_split *split)
{
    json_t *all = calibration_to_json(c);
    if (all) {
        json_object_set_new(all, "n_groups", json_integer((json_int_t)split->n_groups));
        json_object_set_new(all, "largest_group", json_integer((json_int_t)split->largest));
    }
    return all;
}
