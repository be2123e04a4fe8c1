/* adapt/average.c: one adapter out of several of one design: weights, removed means and scales are interpolated, as
 * ProbVLM's model selection does to judge all candidates by one network (Upadhyay et al. 2023, section 5.4; which
 * weights they took is not said).
 *
 * A mean of networks is a network that works only where they lie in one valley: fitted from one start (the same --seed,
 * or --from) on data that differ. Networks of different starts have their hidden units in different places, and their
 * mean is none of them. For adapters of one model that shall answer together there is --ensemble. Rejected: aligning
 * the units first (Ainsworth et al. 2023), which the paper does not do. */
#include "adapt/adapter.h"

#include <math.h>
#include <string.h>

static int different(const char *const *dirs, int k, const char *field, const char *x, const char *y)
{
    FAIL(ERR_MISMATCH,
         "adapter \"%s\" has %s %s, adapter \"%s\" has %s: weights of different designs have no mean; fit both with "
         "the same options",
         dirs[0], field, x, dirs[k], y);
}

/* Settings of the method's own, as it writes them. */
static int own_settings(const struct adapter *a, struct str *out)
{
    json_t *o = json_object();
    int rc = o ? 0 : ERR_MEMORY;
    if (rc == 0 && a->d.method->write)
        rc = a->d.method->write(a, o);
    if (rc == 0)
        rc = str_add_json(out, o, JSON_SORT_KEYS);
    json_decref(o);
    return rc;
}

static int check_same(const struct adapter *a, const struct adapter *b, const char *const *dirs, int k)
{
    const struct design *x = &a->d, *y = &b->d;
    char one[64], two[64];
    const struct {
        const char *name;
        int64_t x, y;
    } sizes[] = {{"width", x->width, y->width}, {"--hidden", x->hidden, y->hidden}};
    if (x->method != y->method)
        return different(dirs, k, "method", x->method->name, y->method->name);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        if (sizes[i].x != sizes[i].y) {
            snprintf(one, sizeof one, "%lld", (long long)sizes[i].x);
            snprintf(two, sizeof two, "%lld", (long long)sizes[i].y);
            return different(dirs, k, sizes[i].name, one, two);
        }
    if (x->mean != y->mean)
        return different(dirs, k, "--mean", mean_rule_name(x->mean), mean_rule_name(y->mean));
    if (x->released != y->released)
        return different(dirs, k, "--released", x->released ? "yes" : "no", y->released ? "yes" : "no");
    if (x->dropout != y->dropout) {
        snprintf(one, sizeof one, "%g", x->dropout);
        snprintf(two, sizeof two, "%g", y->dropout);
        return different(dirs, k, "--dropout", one, two);
    }
    struct str own[2] = {{0}, {0}};
    int rc = own_settings(a, &own[0]);
    if (rc == 0)
        rc = own_settings(b, &own[1]);
    if (rc == 0 && strcmp(own[0].s, own[1].s) != 0)
        rc = different(dirs, k, "settings", own[0].s, own[1].s);
    str_free(&own[0]);
    str_free(&own[1]);
    BUG_ON(rc == 0 && a->params.n_slab != b->params.n_slab);
    return rc;
}

/* ---- sums ---- */

struct sums {
    double *slab, *mean[2]; /* of the weights, of the removed means */
    double image_scale, text_scale, unit;
};

static double get(const struct params *p, int64_t i)
{
    return p->real == DT_F64 ? ((const double *)p->data)[i] : (double)((const float *)p->data)[i];
}

static void add(struct sums *s, const struct adapter *a, double w)
{
    for (int64_t i = 0; i < a->params.n_slab; i++)
        s->slab[i] += w * get(&a->params, i);
    for (int side = 0; side < 2; side++)
        for (int64_t j = 0; j < a->d.width; j++)
            s->mean[side][j] += w * a->mean[side][j];
    s->image_scale += w * a->d.image_scale;
    s->text_scale += w * a->d.text_scale;
    s->unit += w * a->d.unit;
}

static void put(const struct sums *s, struct adapter *a)
{
    for (int64_t i = 0; i < a->params.n_slab; i++)
        if (a->params.real == DT_F64)
            ((double *)a->params.data)[i] = s->slab[i];
        else
            ((float *)a->params.data)[i] = (float)s->slab[i];
    for (int side = 0; side < 2; side++)
        memcpy(a->mean[side], s->mean[side], (size_t)a->d.width * sizeof(double));
    a->d.image_scale = s->image_scale;
    a->d.text_scale = s->text_scale;
    a->d.unit = s->unit;
}

static int open_sums(struct sums *s, const struct adapter *a)
{
    *s = (struct sums){0};
    s->slab = mem_calloc((size_t)a->params.n_slab + 1, sizeof(double));
    s->mean[0] = mem_calloc((size_t)a->d.width, 2 * sizeof(double));
    if (!s->slab || !s->mean[0])
        return ERR_MEMORY;
    s->mean[1] = s->mean[0] + a->d.width;
    return 0;
}

/* ---- the call ---- */

static int check_weights(const double *w, int n, double *sum)
{
    *sum = 0;
    for (int k = 0; w && k < n; k++) {
        if (!isfinite(w[k]) || w[k] < 0)
            FAIL(ERR_USAGE, "option --weights: number %d is %g, expected 0 or more", k + 1, w[k]);
        *sum += w[k];
    }
    if (w && !(*sum > 0))
        FAIL(ERR_USAGE, "option --weights: their sum is %g, expected more than 0", *sum);
    return 0;
}

static int save(const struct adapter *a, const char *const *dirs, const double *w, double sum, int n, const char *dir,
                bool force)
{
    struct atomic_dir d;
    json_t *options = json_object(), *of = json_array(), *weights = json_array();
    for (int k = 0; of && weights && k < n; k++) {
        json_array_append_new(of, json_string(dirs[k]));
        json_array_append_new(weights, json_real(w ? w[k] / sum : 1.0 / n));
    }
    int bad =
        !options || json_object_set_new(options, "average", of) || json_object_set_new(options, "weights", weights);
    int rc = bad ? err_set(ERR_MEMORY, "no memory for adapter.json") : atomic_dir_open(&d, dir, force);
    if (rc == 0) {
        rc = adapter_save(a, d.tmp, options);
        if (rc == 0)
            rc = atomic_dir_commit(&d);
        else
            atomic_dir_abort(&d);
    }
    json_decref(options);
    return rc;
}

/* One model behind all of them stays the result's; of several it belongs to none, and every set of its width may ask.
 */
static void keep_model(struct adapter *first, const struct adapter *a)
{
    if (strcmp(first->fingerprint, a->fingerprint) == 0)
        return;
    if (first->fingerprint[0])
        log_warn(
            "the adapters belong to different models (\"%s\", \"%s\"): their mean names none, and takes any set of "
            "its width",
            first->model, a->model);
    first->fingerprint = first->model = "";
}

int adapt_average(const char *const *dirs, const double *weights, int n, const struct engine *e, const char *dir,
                  bool force)
{
    struct adapter *first = NULL, *a = NULL;
    struct sums s = {0};
    double sum;
    if (n < 2)
        FAIL(ERR_USAGE, "option --average names %d adapter%s, expected two or more", n, n == 1 ? "" : "s");
    TRY(check_weights(weights, n, &sum));
    TRY(path_check_output(dir, force));
    TRY(adapt_open_on(&first, dirs[0], e));
    /* inducing inputs and curvatures stand for no network whose mean would be one */
    int rc = first->d.method->loss ? open_sums(&s, first)
                                   : err_set(ERR_USAGE, "adapter \"%s\": method %s has no weights to average", dirs[0],
                                             first->d.method->name);
    for (int k = 0; k < n && rc == 0; k++) {
        rc = adapt_open_on(&a, dirs[k], e);
        if (rc == 0)
            rc = check_same(first, a, dirs, k);
        if (rc == 0) {
            add(&s, a, weights ? weights[k] / sum : 1.0 / n);
            keep_model(first, a);
        }
        adapt_close(&a);
    }
    if (rc == 0) {
        put(&s, first);
        rc = save(first, dirs, weights, sum, n, dir, force);
    }
    mem_free(s.slab);
    mem_free(s.mean[0]);
    adapt_close(&first);
    return rc;
}
