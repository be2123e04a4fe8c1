/* api/api_adapt.c: the adapters of meridian.h: the caller's arrays, borrowed as a set, through room adapt.
 *
 * An adapter is what lies in its folder. One that is fitted here is written below $TMPDIR, opened, its files kept in
 * memory and the folder removed; saving writes them: so every method, ensembles included, is saved as `meridian adapt`
 * writes it, and a program that dies later leaves nothing behind. Rejected: a second way to write an adapter, from its
 * parameters, which would have to know every method. */
#include "api/api_adapt.h"

#include "io/io.h"
#include "kernel/kernel.h"
#include "meridian.h"

#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

static int take_opt(struct mrd_adapter_opt *o, const struct mrd_adapter_opt *opt, const struct engine **e)
{
    TRY(api_take_opt(o, sizeof *o, opt, "struct mrd_adapter_opt"));
    if (o->threads < 0 || o->threads > 1024)
        FAIL(ERR_USAGE, "struct mrd_adapter_opt: threads is %d, expected 0 to 1024", o->threads);
    return engine_open(e, o->engine, o->threads);
}

static void release(struct mrd_adapter *h)
{
    adapt_close(&h->a);
    keep_free(&h->files);
    mem_free(h);
}

static int open_folder(struct mrd_adapter *h, const char *path, const struct engine *e)
{
    TRY(adapt_open_on(&h->a, path, e));
    return keep_read(&h->files, path);
}

static int fit_below(struct mrd_adapter *h, const char *base, const struct set *s, const struct adapt_opt *how,
                     const struct engine *e, char **json)
{
    char path[1100];
    struct adapt_result r;
    TRY(path_join(path, sizeof path, base, "adapter"));
    TRY(adapt_fit(s, how, e, path, false, &r));
    TRY(open_folder(h, path, e));
    return json ? api_put_json(json, adapt_result_to_json(&r, how->method)) : 0;
}

static int fit(struct mrd_adapter *h, const struct set *s, const struct mrd_adapter_opt *opt, struct arena *a,
               char **json)
{
    struct mrd_adapter_opt o = MRD_ADAPTER_OPT_INIT;
    struct adapt_opt how = {0};
    const struct engine *e;
    const char *base = getenv("TMPDIR");
    char name[1024];
    TRY(take_opt(&o, opt, &e));
    TRY(api_read_words(adapt_options, &how, a, o.options, o.n_options, "mrd_adapter_fit"));
    int n = snprintf(name, sizeof name, "%s/meridian-adapter-XXXXXX", base && *base ? base : "/tmp");
    if (n < 0 || (size_t)n >= sizeof name || !mkdtemp(name))
        return err_errno(ERR_FAIL, "%s: cannot make this folder; TMPDIR says where", name);
    int rc = fit_below(h, name, s, &how, e, json);
    path_remove_tree(name);
    return rc;
}

int mrd_adapter_fit(struct mrd_adapter **a, const struct mrd_pairs *p, const struct mrd_adapter_opt *opt, char **json)
{
    struct set s = {0};
    struct arena *words = NULL;
    api_begin();
    if (!a)
        FAIL(ERR_USAGE, "mrd_adapter_fit: a must be given");
    struct mrd_adapter *h = mem_calloc(1, sizeof *h);
    int rc = h ? api_borrow(&s, p) : ERR_MEMORY;
    if (rc == 0)
        rc = arena_open(&words, "adapter options");
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = fit(h, &s, opt, words, json);
        api_unlock();
    }
    arena_close(&words);
    mem_free(s.pairs);
    if (rc == 0)
        *a = h;
    else if (h)
        release(h);
    return rc;
}

static int open_with(struct mrd_adapter *h, const char *path, const struct mrd_adapter_opt *opt)
{
    struct mrd_adapter_opt o = MRD_ADAPTER_OPT_INIT;
    const struct engine *e;
    TRY(take_opt(&o, opt, &e));
    return open_folder(h, path, e);
}

int mrd_adapter_open(struct mrd_adapter **a, const char *path, const struct mrd_adapter_opt *opt)
{
    api_begin();
    if (!a || !path || !path[0])
        FAIL(ERR_USAGE, "mrd_adapter_open: a and path must be given");
    struct mrd_adapter *h = mem_calloc(1, sizeof *h);
    if (!h)
        return ERR_MEMORY;
    int rc = api_lock();
    if (rc == 0) {
        rc = open_with(h, path, opt);
        api_unlock();
    }
    if (rc == 0)
        *a = h;
    else
        release(h);
    return rc;
}

int mrd_adapter_save(struct mrd_adapter *a, const char *path, int force)
{
    struct atomic_dir d;
    api_begin();
    if (!a || !path || !path[0])
        FAIL(ERR_USAGE, "mrd_adapter_save: adapter and path must be given");
    TRY(atomic_dir_open(&d, path, force != 0));
    int rc = keep_write(&a->files, d.tmp);
    if (rc == 0)
        return atomic_dir_commit(&d);
    atomic_dir_abort(&d);
    return rc;
}

void mrd_adapter_free(struct mrd_adapter **a)
{
    if (!a || !*a)
        return;
    bool locked = api_lock_to_free();
    release(*a);
    if (locked)
        api_unlock();
    *a = NULL;
}

/* ---- what it is ---- */

const char *mrd_adapter_method(const struct mrd_adapter *a)
{
    return adapt_method(a->a);
}

int64_t mrd_adapter_width(const struct mrd_adapter *a)
{
    return adapt_width(a->a);
}

int mrd_adapter_options(char **json)
{
    api_begin();
    if (!json)
        FAIL(ERR_USAGE, "mrd_adapter_options: json must be given");
    return api_put_json(json, api_describe_options(adapt_options, sizeof(struct adapt_opt)));
}

/* ---- what it says ---- */

static int check_call(const char *name, const struct mrd_adapter *a, int side, const void *out)
{
    if (!a || !out)
        FAIL(ERR_USAGE, "%s: adapter and output must be given", name);
    if (side != MRD_SIDE_IMAGE && side != MRD_SIDE_TEXT)
        FAIL(ERR_USAGE, "%s: side is %d, expected MRD_SIDE_IMAGE or MRD_SIDE_TEXT", name, side);
    return 0;
}

/* Vectors of one side as a set whose other side is empty. */
static int borrow_side(struct set *s, const char *name, const float *x, int64_t n, int64_t width, int side)
{
    static const int64_t none[2] = {0, 0};
    if (n < 0 || (n > 0 && !x))
        FAIL(ERR_USAGE, "%s: x must be given and n must not be negative", name);
    struct mrd_pairs p = {.width = width, .pairs = none};
    *(side == MRD_SIDE_TEXT ? &p.texts : &p.images) = x;
    *(side == MRD_SIDE_TEXT ? &p.n_texts : &p.n_images) = n;
    return api_borrow(s, &p);
}

static int check_row(const char *name, const struct set *s, int side, int64_t row)
{
    int64_t n = side == MRD_SIDE_TEXT ? s->text.n : s->image.n;
    if (row < 0 || row >= n)
        FAIL(ERR_USAGE, "%s: row is %lld, expected 0 to %lld", name, (long long)row, (long long)n - 1);
    return 0;
}

static int predict(struct mrd_adapter *a, const struct set *s, int side, const struct mrd_predict_opt *opt,
                   const struct mrd_predicted *out)
{
    struct mrd_predict_opt o = MRD_PREDICT_OPT_INIT;
    int64_t n = side == MRD_SIDE_TEXT ? s->text.n : s->image.n;
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_predict_opt"));
    if (o.passes < 0 || o.passes > 100000)
        FAIL(ERR_USAGE, "struct mrd_predict_opt: passes is %lld, expected 0 to 100000", (long long)o.passes);
    if (!(o.dropout <= 0.95)) /* NaN would read as "as trained" */
        FAIL(ERR_USAGE, "struct mrd_predict_opt: dropout is %g, expected at most 0.95", o.dropout);
    const struct predict_opt how = {.passes = o.passes, .dropout = o.dropout, .seed = o.seed};
    const struct predict_more more = {.aleatoric = out->aleatoric,
                                      .epistemic = out->epistemic,
                                      .log_variance = out->log_variance,
                                      .fidelity = out->fidelity,
                                      .mean = out->mean,
                                      .scale = out->scale,
                                      .shape = out->shape};
    double *u = out->uncertainty ? out->uncertainty : mem_calloc((size_t)n + 1, sizeof *u);
    int rc = u ? adapt_predict(a->a, s, side, &how, u, &more) : ERR_MEMORY;
    if (u != out->uncertainty)
        mem_free(u);
    return rc;
}

int mrd_adapter_predict(struct mrd_adapter *a, const float *x, int64_t n, int64_t width, int side,
                        const struct mrd_predict_opt *opt, struct mrd_predicted *out)
{
    struct mrd_predicted wanted = MRD_PREDICTED_INIT;
    struct set s = {0};
    api_begin();
    TRY(check_call("mrd_adapter_predict", a, side, out));
    TRY(api_take_opt(&wanted, sizeof wanted, out, "struct mrd_predicted"));
    int rc = borrow_side(&s, "mrd_adapter_predict", x, n, width, side);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = predict(a, &s, side, opt, &wanted);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}

int mrd_adapter_sample(struct mrd_adapter *a, const float *x, int64_t n, int64_t width, int side, int64_t row,
                       int64_t draws, const char *region, uint64_t seed, float *out)
{
    struct set s = {0};
    api_begin();
    TRY(check_call("mrd_adapter_sample", a, side, out));
    if (!region || (strcmp(region, "near") && strcmp(region, "all") && strcmp(region, "tail")))
        FAIL(ERR_USAGE, "mrd_adapter_sample: region is \"%.40s\", expected near, all or tail",
             region ? region : "(NULL)");
    if (draws < 0 || draws > 1000000)
        FAIL(ERR_USAGE, "mrd_adapter_sample: draws is %lld, expected 0 to 1000000", (long long)draws);
    int rc = borrow_side(&s, "mrd_adapter_sample", x, n, width, side);
    if (rc == 0)
        rc = check_row("mrd_adapter_sample", &s, side, row);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = adapt_sample(a->a, &s, side, row, draws, region, seed, out);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}

int mrd_adapter_likelihood(struct mrd_adapter *a, const struct mrd_pairs *p, int side, int64_t row, double *out)
{
    static const int64_t none[2] = {0, 0};
    struct set s = {0};
    api_begin();
    TRY(check_call("mrd_adapter_likelihood", a, side, out));
    if (!p)
        FAIL(ERR_USAGE, "mrd_adapter_likelihood: p must be given");
    struct mrd_pairs unpaired = *p;
    unpaired.pairs = none;
    unpaired.n_pairs = 0;
    int rc = api_borrow(&s, &unpaired);
    if (rc == 0)
        rc = check_row("mrd_adapter_likelihood", &s, side, row);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = adapt_likelihood(a->a, &s, side, row, !side, out);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}
