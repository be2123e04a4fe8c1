/* api/api_trust.c: how far to trust an answer, in meridian.h: scores of doubt, p(match), likely faults: rooms eval and
 * adapt on the caller's arrays. */
#include "api/api_adapt.h"

#include "eval/eval.h"
#include "meridian.h"

static int check_words(const char *name, const char *const *v, int64_t n)
{
    for (int64_t i = 0; v && i < n; i++)
        if (!v[i])
            FAIL(ERR_USAGE, "%s: entry %lld is NULL", name, (long long)i);
    return 0;
}

static int check_resamples(const char *name, int64_t n)
{
    if (n > 1000000)
        FAIL(ERR_USAGE, "%s: bootstrap is %lld, expected at most 1000000", name, (long long)n);
    return 0;
}

/* ---- scores of doubt ---- */

static int adapters_view(struct mrd_adapter *a, const struct set *s, uint64_t seed, double *u[2])
{
    const struct predict_opt opt = {.dropout = -1, .seed = seed};
    for (int side = 0; side < 2; side++) {
        if (!adapt_covers(a->a, side))
            continue;
        u[side] = mem_calloc((size_t)(side == SIDE_TEXT ? s->text.n : s->image.n) + 1, sizeof(double));
        if (!u[side])
            return ERR_MEMORY;
        TRY_IN(adapt_predict(a->a, s, side, &opt, u[side], NULL), "asking the adapter");
    }
    return 0;
}

static int doubt(char **json, const struct set *s, const struct mrd_uncertainty_opt *o)
{
    struct uncertainty_both b = {.list = o->scores, .hit_column = o->labels ? "labels" : NULL};
    struct eval_opt opt = {.bootstrap = o->bootstrap, .seed = o->seed, .bins_mass = o->levels};
    double *u[2] = {NULL, NULL};
    int rc = o->adapter ? adapters_view(o->adapter, s, o->seed, u) : 0;
    struct uncertainty_extra extra = {.name = "adapter", .text = "uncertainty of the adapter", .u = {u[0], u[1]}};
    struct uncertainty_in in = {.set = s,
                                .split = o->split,
                                .label = o->labels,
                                .temperature = o->temperature,
                                .extra = &extra,
                                .n_extra = o->adapter != NULL};
    if (rc == 0)
        rc = uncertainty_both_open(&b, &in, &opt);
    if (rc == 0)
        rc = api_put_json(json, uncertainty_both_to_json(&b));
    uncertainty_both_close(&b);
    mem_free(u[0]);
    mem_free(u[1]);
    return rc;
}

static int check_doubt(const struct mrd_uncertainty_opt *o, const struct set *s)
{
    TRY(check_resamples("struct mrd_uncertainty_opt", o->bootstrap));
    if (o->levels && (o->levels < 2 || o->levels > EVAL_MAX_BINS))
        FAIL(ERR_USAGE, "struct mrd_uncertainty_opt: levels is %lld, expected 0 or 2 to %d", (long long)o->levels,
             EVAL_MAX_BINS);
    if (!(o->temperature >= 0 && o->temperature <= 1000))
        FAIL(ERR_USAGE, "struct mrd_uncertainty_opt: temperature is %g, expected 0 to 1000", o->temperature);
    TRY(uncertainty_check_list(o->scores, o->adapter ? "adapter" : NULL));
    TRY(check_words("struct mrd_uncertainty_opt: split", o->split, s->image.n));
    return check_words("struct mrd_uncertainty_opt: labels", o->labels, s->image.n);
}

int mrd_uncertainty(char **json, const struct mrd_pairs *p, const struct mrd_uncertainty_opt *opt)
{
    struct mrd_uncertainty_opt o = MRD_UNCERTAINTY_OPT_INIT;
    struct set s = {0};
    api_begin();
    if (!json)
        FAIL(ERR_USAGE, "mrd_uncertainty: json must be given");
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_uncertainty_opt"));
    int rc = api_borrow(&s, p);
    if (rc == 0)
        rc = check_doubt(&o, &s);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = doubt(json, &s, &o);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}

/* ---- p(match) ---- */

static int check_share(const char *field, double x, double low, double high)
{
    if (!(x >= low && x <= high))
        FAIL(ERR_USAGE, "struct mrd_calibrate_opt: %s is %g, expected %g to %g", field, x, low, high);
    return 0;
}

static int take_calibrate(const struct mrd_calibrate_opt *o, struct match_opt *how, struct match_split_opt *split)
{
    if (o->hits < 1 || o->hits > 1000)
        FAIL(ERR_USAGE, "struct mrd_calibrate_opt: hits is %lld, expected 1 to 1000", (long long)o->hits);
    TRY(check_share("validation_share", o->validation_share, 0.01, 1));
    TRY(check_share("risk_share", o->risk_share, 0, 0.99));
    TRY(check_share("same", o->same, 0.5, 1));
    TRY(check_share("l2", o->l2, 0, 1000));
    TRY(check_resamples("struct mrd_calibrate_opt", o->bootstrap));
    *how = (struct match_opt){.n_hits = o->hits,
                              .fit = {.l2 = o->l2, .smooth = !o->hard},
                              .bootstrap = o->bootstrap > 0 ? o->bootstrap : 0,
                              .seed = o->seed};
    *split = (struct match_split_opt){
        .same = o->same, .validation = o->validation_share, .risk = o->risk_share, .seed = o->seed};
    TRY(calibrator_find(o->method ? o->method : "beta", &how->kind));
    return match_features_find(o->features ? o->features : MATCH_FEATURES_USUAL, "features", &how->features);
}

/* given [image.n] out of the caller's words; NULL: by share. */
static int given_roles(const struct mrd_calibrate_opt *o, const struct set *s, uint8_t **given)
{
    if (!o->split)
        return 0;
    TRY(check_words("struct mrd_calibrate_opt: split", o->split, s->image.n));
    *given = mem_calloc((size_t)s->image.n + 1, 1);
    if (!*given)
        return ERR_MEMORY;
    for (int64_t i = 0; i < s->image.n; i++) {
        enum set_part part = set_part_of(o->split[i]);
        (*given)[i] = part == PART_VALIDATION ? ROLE_FIT : part == PART_TEST ? ROLE_TEST : ROLE_NONE;
    }
    return 0;
}

static int calibrate(char **json, const struct set *s, const struct mrd_calibrate_opt *o)
{
    struct match_opt how;
    struct match_split_opt part;
    struct match_split split = {0};
    struct calibration c = {0};
    uint8_t *given = NULL;
    TRY(take_calibrate(o, &how, &part));
    if (o->path)
        TRY(path_check_output(o->path, o->force != 0));
    int rc = given_roles(o, s, &given);
    part.given = given;
    if (rc == 0)
        rc = match_split_open(s, &part, &split);
    if (rc == 0)
        rc = calibration_fit(s, &split, &how, &c);
    if (rc == 0 && o->path)
        rc = calibration_write(o->path, &c);
    if (rc == 0)
        rc = api_put_json(json, calibration_answer(&c, &split));
    calibration_free(&c);
    match_split_close(&split);
    mem_free(given);
    return rc;
}

int mrd_calibrate(char **json, const struct mrd_pairs *p, const struct mrd_calibrate_opt *opt)
{
    struct mrd_calibrate_opt o = MRD_CALIBRATE_OPT_INIT;
    struct set s = {0};
    api_begin();
    if (!json)
        FAIL(ERR_USAGE, "mrd_calibrate: json must be given");
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_calibrate_opt"));
    int rc = api_borrow(&s, p);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = calibrate(json, &s, &o);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}

/* ---- likely faults ---- */

static int review(char **json, const struct set *s, const struct mrd_review_opt *o)
{
    const struct review_opt how = {.n = o->n, .temperature = o->temperature, .raw = o->raw != 0};
    struct review_item *items = NULL;
    unsigned kinds;
    int64_t n = 0;
    if (!(o->temperature >= 0 && o->temperature <= 1000))
        FAIL(ERR_USAGE, "struct mrd_review_opt: temperature is %g, expected 0 to 1000", o->temperature);
    TRY(review_find(o->what ? o->what : REVIEW_USUAL, "what", &kinds));
    TRY(review_set(s, kinds, &how, &items, &n));
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++)
        json_array_append_new(list, review_item_to_json(&items[i]));
    mem_free(items);
    return api_put_json(json, json_pack("{s:o}", "items", list));
}

int mrd_review(char **json, const struct mrd_pairs *p, const struct mrd_review_opt *opt)
{
    struct mrd_review_opt o = MRD_REVIEW_OPT_INIT;
    struct set s = {0};
    api_begin();
    if (!json)
        FAIL(ERR_USAGE, "mrd_review: json must be given");
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_review_opt"));
    int rc = api_borrow(&s, p);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = review(json, &s, &o);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}
