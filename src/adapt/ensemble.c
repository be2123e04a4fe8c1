/* adapt/ensemble.c: deep ensembles (Lakshminarayanan et al. 2017): members of one method on the same pairs, whose start
 * and order of the data differ, taken as one adapter: the mixture of their distributions, all of equal weight.
 *
 *   mean       of the members' means
 *   aleatoric  mean of the members' aleatoric variances
 *   epistemic  population variance of the members' means + mean of the members' own (their dropout passes)
 *
 * which is the law of total variance over members and passes. Methods whose mean is the vector itself have members that
 * agree about it: there the ensemble makes the variances steadier and its own epistemic part is 0. asymvlm, whose
 * mean is a direction, counts the variance of the unit vectors, by dimension as its 1/k is.
 *
 * A folder: adapter.json with the members' design and their names, and members/0 ..., each an adapter that opens by
 * itself. All share the judges' pairs (--split-seed), hence the removed means and the scale, so that their numbers lie
 * in one space. Rejected: members on other parts of the pairs (bagging: worse single members, no common judge), the
 * mean of the members' weights (adapt --average does that, and it is another thing). */
#include "adapt/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 512, MOST_MEMBERS = 64 };

struct own {
    int n;
    struct adapter **member;
    struct method method; /* method_ensemble with the members' sides */
};

/* ---- opening ---- */

static int member_name(char *out, size_t n, int k)
{
    return snprintf(out, n, "members/%d", k) < (int)n ? 0 : err_set(ERR_FAIL, "member %d: its name is too long", k);
}

static int member_path(char *out, size_t n, const char *dir, int k)
{
    char name[64];
    TRY(member_name(name, sizeof name, k));
    return path_join(out, n, dir, name);
}

/* A member that is an ensemble could name itself. */
static int refuse_nested(const char *dir)
{
    char path[2048];
    json_t *o;
    const char *method = "";
    TRY(path_join(path, sizeof path, dir, "adapter.json"));
    TRY(json_read_file(&o, path));
    int rc = json_field_str(o, "method", true, &method, path);
    if (rc == 0 && !strcmp(method, method_ensemble.name))
        rc = err_set(ERR_DATA, "%s: a member of an ensemble is an ensemble, expected a single adapter", path);
    json_decref(o);
    return rc;
}

/* What has to be equal for the members' numbers to lie in one space. */
static int check_member(const struct adapter *a, const struct adapter *m, const struct adapter *first, const char *path)
{
    const struct design *x = &a->d, *y = &m->d;
    const char *field = NULL;
    if (m->d.method != first->d.method)
        FAIL(ERR_DATA, "%s: method %s, expected %s as the first member", path, y->method->name, first->d.method->name);
    if (!m->d.method->loss)
        FAIL(ERR_DATA, "%s: method %s, expected a network", path, y->method->name);
    if (x->width != y->width)
        field = "width";
    else if (x->mean != y->mean)
        field = "mean";
    else if (x->released != y->released)
        field = "released";
    else if (x->image_scale != y->image_scale || x->text_scale != y->text_scale || x->unit != y->unit)
        field = "image_scale, text_scale or unit";
    else if (strcmp(m->fingerprint, first->fingerprint) != 0)
        field = "fingerprint";
    if (field)
        FAIL(ERR_DATA, "%s: field %s is not that of the ensemble; members see the same vectors of the same model", path,
             field);
    return 0;
}

static void close_members(struct adapter *a)
{
    struct own *p = a->own;
    for (int k = 0; p && k < p->n; k++)
        adapt_close(&p->member[k]);
    if (p)
        p->n = 0;
}

static int make_own(struct adapter *a, int n)
{
    struct own *p = arena_calloc(a->arena, 1, sizeof *p);
    if (!p)
        return ERR_MEMORY;
    p->member = arena_calloc(a->arena, (size_t)n, sizeof *p->member);
    if (!p->member)
        return ERR_MEMORY;
    a->own = p;
    return 0;
}

static int open_members(struct adapter *a, const char *dir, int n)
{
    char path[2048];
    TRY(make_own(a, n));
    struct own *p = a->own;
    for (int k = 0; k < n; k++) {
        TRY(member_path(path, sizeof path, dir, k));
        TRY_IN(refuse_nested(path), "opening member %d of an ensemble", k);
        TRY_IN(adapt_open_on(&p->member[k], path, a->engine), "opening member %d of an ensemble", k);
        p->n = k + 1;
        TRY(check_member(a, p->member[k], p->member[0], path));
    }
    p->method = method_ensemble;
    p->method.sides = p->member[0]->d.method->sides;
    a->d.method = &p->method;
    return 0;
}

static int read_json(struct adapter *a, const json_t *o, const char *where)
{
    char dir[2048], name[64];
    const json_t *list = json_object_get(o, "members");
    size_t n = json_array_size(list);
    const char *slash = strrchr(where, '/');
    if (!json_is_array(list) || n < 1 || n > MOST_MEMBERS)
        FAIL(ERR_DATA, "%s: field \"members\" holds %zu names, expected 1 to %d", where, n, MOST_MEMBERS);
    for (size_t k = 0; k < n; k++) {
        const char *found = json_string_value(json_array_get(list, k));
        TRY(member_name(name, sizeof name, (int)k));
        if (!found || strcmp(found, name) != 0)
            FAIL(ERR_DATA, "%s: member %zu is \"%.80s\", expected \"%s\"", where, k, found ? found : "", name);
    }
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - where) : 1, slash ? where : ".");
    return open_members(a, dir, (int)n);
}

static int write_json(const struct adapter *a, json_t *o)
{
    const struct own *p = a->own;
    char name[64];
    json_t *list = json_array();
    for (int k = 0; list && k < p->n; k++) {
        TRY(member_name(name, sizeof name, k));
        json_array_append_new(list, json_string(name));
    }
    int rc = json_object_set_new(o, "of", json_string(p->member[0]->d.method->name));
    rc |= json_object_set_new(o, "members", list);
    return rc ? err_set(ERR_MEMORY, "no memory for adapter.json") : 0;
}

/* ---- fitting ---- */

static int check_options(const struct adapt_opt *o)
{
    const struct method *m;
    TRY(method_find(o->method, &m));
    if (!m->loss)
        FAIL(ERR_USAGE,
             "option --ensemble is %" PRId64 ": method %s is no network with a random start, its members would be one "
             "and the same; leave the option out",
             o->ensemble, m->name);
    if (o->epochs == 0)
        FAIL(ERR_USAGE, "option --ensemble: with --epochs 0 every member would be the weights of --from");
    if (o->seed + o->ensemble - 1 > UINT32_MAX)
        FAIL(ERR_USAGE, "option --seed is %" PRId64 ": the seeds of %" PRId64 " members do not fit behind it", o->seed,
             o->ensemble);
    return 0;
}

static int fit_members(const struct set *s, const struct adapt_opt *o, const struct engine *e, const char *dir,
                       struct adapt_result *out)
{
    char path[2048];
    for (int k = 0; k < (int)o->ensemble; k++) {
        struct adapt_opt one = *o;
        struct adapt_result r;
        one.ensemble = 1;
        one.seed = o->seed + k;
        one.save_every = 0; /* the members lie in a temporary folder */
        one.split_seed = o->split_seed >= 0 ? o->split_seed : o->seed;
        TRY(member_path(path, sizeof path, dir, k));
        TRY_IN(adapt_fit(s, &one, e, path, false, &r), "fitting member %d of %d", k, (int)o->ensemble);
        if (k == 0)
            *out =
                (struct adapt_result){.best_epoch = r.best_epoch, .n_train = r.n_train, .n_validation = r.n_validation};
        out->final_loss += r.final_loss / (double)o->ensemble;
        out->validation += r.validation / (double)o->ensemble;
        out->steps += r.steps;
    }
    return 0;
}

/* adapter.json beside the members, with what they share. */
static int save_ensemble(const struct adapt_opt *o, const struct engine *e, const char *dir)
{
    struct adapter *a = NULL, *first = NULL;
    char path[2048];
    TRY(member_path(path, sizeof path, dir, 0));
    TRY(adapt_open_on(&first, path, e));
    struct design d = first->d;
    d.method = &method_ensemble;
    int rc = adapter_new(&a, &d, e);
    for (int side = 0; rc == 0 && side < 2; side++)
        memcpy(a->mean[side], first->mean[side], (size_t)d.width * sizeof *a->mean[side]);
    if (rc == 0) {
        a->model = arena_strdup(a->arena, first->model);
        a->fingerprint = arena_strdup(a->arena, first->fingerprint);
        rc = a->model && a->fingerprint ? open_members(a, dir, (int)o->ensemble) : ERR_MEMORY;
    }
    json_t *options = opt_to_json(adapt_options, o);
    if (rc == 0)
        rc = options ? adapter_save(a, dir, options) : ERR_MEMORY;
    json_decref(options);
    adapt_close(&first);
    adapt_close(&a);
    return rc;
}

int ensemble_fit(const struct set *s, const struct adapt_opt *o, const struct engine *e, const char *dir, bool force,
                 struct adapt_result *out)
{
    struct atomic_dir d;
    char path[2048];
    double began = clock_seconds();
    TRY(check_options(o));
    TRY(atomic_dir_open(&d, dir, force));
    int rc = path_join(path, sizeof path, d.tmp, "members");
    if (rc == 0)
        rc = path_make_dirs(path);
    if (rc == 0)
        rc = fit_members(s, o, e, d.tmp, out);
    if (rc == 0)
        rc = save_ensemble(o, e, d.tmp);
    out->seconds = clock_seconds() - began;
    if (rc == 0)
        return atomic_dir_commit(&d);
    atomic_dir_abort(&d);
    return rc;
}

/* ---- prediction ---- */

/* A block of rows, [BLOCK,D] each but for the first line. */
struct mixture {
    double *scalar, *aleatoric, *epistemic, *fidelity, *sum_a, *sum_e, *sum_f; /* [BLOCK] */
    float *mean, *scale, *shape, *variance;                                    /* of one member */
    float *start; /* the first member's mean: differences lose no digits */
    double *dev, *dev2, *inverse, *sum_shape, *sum_v;
    void *slab[3];
};

static int open_mixture(struct mixture *m, int64_t width)
{
    size_t n = (size_t)BLOCK * (size_t)width;
    double *row = m->slab[0] = mem_calloc(BLOCK, 7 * sizeof(double));
    float *f = m->slab[1] = mem_calloc(n, 5 * sizeof(float));
    double *d = m->slab[2] = mem_calloc(n, 5 * sizeof(double));
    if (!row || !f || !d)
        return ERR_MEMORY;
    double **const rows[] = {&m->scalar, &m->aleatoric, &m->epistemic, &m->fidelity, &m->sum_a, &m->sum_e, &m->sum_f};
    float **const floats[] = {&m->mean, &m->scale, &m->shape, &m->variance, &m->start};
    double **const doubles[] = {&m->dev, &m->dev2, &m->inverse, &m->sum_shape, &m->sum_v};
    for (size_t k = 0; k < ARRAY_LEN(rows); k++)
        *rows[k] = row + k * BLOCK;
    for (size_t k = 0; k < 5; k++) {
        *floats[k] = f + k * n;
        *doubles[k] = d + k * n;
    }
    return 0;
}

static void close_mixture(struct mixture *m)
{
    for (int k = 0; k < 3; k++)
        mem_free(m->slab[k]);
}

/* Sums over the members, rows first .. first + n. */
static int add_members(struct mixture *m, const struct own *p, const struct set *s, int side, int64_t first, int64_t n,
                       const struct predict_opt *o)
{
    int64_t d = p->member[0]->d.width;
    bool network = p->member[0]->d.method->heads != NULL;
    memset(m->sum_a, 0, 3 * BLOCK * sizeof(double)); /* sum_e and sum_f lie behind it */
    memset(m->dev, 0, 5 * (size_t)BLOCK * (size_t)d * sizeof(double));
    for (int k = 0; k < p->n; k++) {
        struct predict_more more = {.aleatoric = m->aleatoric,
                                    .epistemic = m->epistemic,
                                    .fidelity = m->fidelity,
                                    .mean = k ? m->mean : m->start,
                                    .scale = m->scale,
                                    .shape = m->shape,
                                    .variance = network ? m->variance : NULL};
        TRY_IN(predict_rows(p->member[k], s, side, first, n, o, m->scalar, &more), "asking member %d", k);
        for (int64_t i = 0; i < n; i++) {
            m->sum_a[i] += m->aleatoric[i];
            m->sum_e[i] += m->epistemic[i];
            m->sum_f[i] += m->fidelity[i];
        }
        for (int64_t i = 0; i < n * d; i++) {
            double dev = k ? (double)m->mean[i] - (double)m->start[i] : 0;
            m->dev[i] += dev;
            m->dev2[i] += dev * dev;
            m->inverse[i] += 1 / (double)m->scale[i];
            m->sum_shape[i] += (double)m->shape[i];
            m->sum_v[i] += network ? (double)m->variance[i] : m->scalar[i / d];
        }
    }
    return 0;
}

/* One row of the block into place `at`. unit: what a variance of unit vectors is in the adapter's. z: the vector, or
 * NULL where the mean is of another kind (a picture's direction for a text): then the members say how near it is. */
static void put_row(const struct mixture *m, const float *z, int64_t d, double n, double unit, int64_t i, int64_t at,
                    double *scalar, const struct predict_more *more)
{
    double between = 0, logs = 0, dot = 0, mm = 0, zz = 0;
    for (int64_t j = 0; j < d; j++) {
        int64_t k = i * d + j, to = at * d + j;
        double shift = m->dev[k] / n, apart = fmax(0, m->dev2[k] / n - shift * shift) * unit;
        double mean = (double)m->start[k] + shift;
        between += apart / (double)d;
        logs += log(fmax(m->sum_v[k] / n + apart, 1e-300)) / (double)d;
        dot += z ? mean * (double)z[j] : 0;
        mm += mean * mean;
        zz += z ? (double)z[j] * (double)z[j] : 0;
        if (more->mean)
            more->mean[to] = (float)mean;
        if (more->scale)
            more->scale[to] = (float)(n / m->inverse[k]);
        if (more->shape)
            more->shape[to] = (float)(m->sum_shape[k] / n);
        if (more->variance)
            more->variance[to] = (float)(m->sum_v[k] / n + apart);
    }
    double aleatoric = m->sum_a[i] / n, epistemic = m->sum_e[i] / n + between;
    scalar[at] = aleatoric + epistemic;
    if (more->aleatoric)
        more->aleatoric[at] = aleatoric;
    if (more->epistemic)
        more->epistemic[at] = epistemic;
    if (more->log_variance)
        more->log_variance[at] = logs;
    if (more->fidelity)
        more->fidelity[at] = !z ? m->sum_f[i] / n : mm > 0 && zz > 0 ? dot / (sqrt(mm) * sqrt(zz)) : 0;
}

static int predict(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *scalar,
                   const struct predict_more *more)
{
    const struct own *p = a->own;
    const struct set_side *rows = side == SIDE_TEXT ? &s->text : &s->image;
    int64_t d = a->d.width;
    double scale = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale;
    bool network = p->member[0]->d.method->heads != NULL;
    double unit = network ? scale * scale * a->d.unit : 1;
    struct mixture m = {0};
    int rc = open_mixture(&m, d);
    for (int64_t at = 0; at < rows->n && rc == 0; at += BLOCK) {
        int64_t n = rows->n - at < BLOCK ? rows->n - at : BLOCK;
        rc = add_members(&m, p, s, side, at, n, o);
        for (int64_t i = 0; i < n && rc == 0; i++)
            put_row(&m, network ? rows->x + (at + i) * d : NULL, d, p->n, unit, i, at + i, scalar, more);
    }
    close_mixture(&m);
    return rc;
}

/* ---- draws and likelihoods ---- */

/* Each draw is one of a member's, the member being drawn too. */
static int sample(struct adapter *a, const struct set *s, int side, int64_t row, int64_t n, const char *region,
                  uint64_t seed, float *out)
{
    const struct own *p = a->own;
    size_t d = (size_t)a->d.width;
    float *x = mem_calloc((size_t)n + 1, d * sizeof *x);
    int rc = x ? 0 : ERR_MEMORY;
    for (int k = 0; k < p->n && rc == 0; k++) {
        rc = adapt_sample(p->member[k], s, side, row, n, region, seed, x);
        for (int64_t i = 0; i < n && rc == 0; i++) {
            struct rng r = rng_stream(seed, RNG_SAMPLE, UINT32_MAX, (uint64_t)i);
            if ((int)rng_below(&r, (uint64_t)p->n) == k)
                memcpy(out + (size_t)i * d, x + (size_t)i * d, d * sizeof *x);
        }
    }
    mem_free(x);
    return rc;
}

/* ln of the mean of the members' densities; densities are told per dimension. */
static int likelihood(struct adapter *a, const struct set *s, int side, int64_t row, int of, double *out)
{
    const struct own *p = a->own;
    int64_t n = of == SIDE_TEXT ? s->text.n : s->image.n;
    double d = (double)a->d.width, *x = mem_calloc((size_t)n + 1, sizeof *x);
    int rc = x ? 0 : ERR_MEMORY;
    for (int k = 0; k < p->n && rc == 0; k++) {
        rc = adapt_likelihood(p->member[k], s, side, row, of, x);
        for (int64_t i = 0; i < n && rc == 0; i++) {
            double now = x[i] * d, before = k ? out[i] : -(double)INFINITY, top = fmax(now, before);
            out[i] = isfinite(top) ? top + log(exp(now - top) + exp(before - top)) : top;
        }
    }
    for (int64_t i = 0; i < n && rc == 0; i++)
        out[i] = (out[i] - log((double)p->n)) / d;
    mem_free(x);
    return rc;
}

const struct method method_ensemble = {
    .name = "ensemble",
    .help = "members of one method as one (Lakshminarayanan et al. 2017)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .read = read_json,
    .write = write_json,
    .predict = predict,
    .sample = sample,
    .likelihood = likelihood,
    .close = close_members,
};
