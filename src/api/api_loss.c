/* api/api_loss.c: the losses of meridian.h: any objective of room loss on arrays, with the gradients of its inputs.
 *
 * Everything is computed on the double engine, whatever the caller's arrays are: a loss is small next to the encoders
 * that a caller runs around it, and with a low temperature single precision leaves four digits. */
#include "api/api.h"

#include "kernel/kernel.h"
#include "loss/loss.h"
#include "meridian.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

enum { MAX_PAIRS = 32768 };

/* ---- options ---- */

static int read_options(const struct loss_kind *k, const struct mrd_loss_opt *o, struct arena *a, void **into)
{
    char what[96];
    snprintf(what, sizeof what, "loss \"%.60s\"", k->name);
    *into = arena_calloc(a, 1, k->size ? k->size : 1);
    return *into ? api_read_words(k->options, *into, a, o->options, o->n_options, what) : ERR_MEMORY;
}

/* ---- arrays ---- */

static int check_arrays(const void *images, const void *texts, int64_t n, int64_t width, const double *value)
{
    if (!images || !texts || !value)
        FAIL(ERR_USAGE, "mrd_loss: images, texts and value must be given");
    if (n < 1 || n > MAX_PAIRS)
        FAIL(ERR_USAGE, "mrd_loss: %lld pairs, expected 1 to %d", (long long)n, MAX_PAIRS);
    if (width < 1 || width > limit_get(LIMIT_WIDTH))
        FAIL(ERR_USAGE, "mrd_loss: width is %lld, expected 1 to %lld", (long long)width,
             (long long)limit_get(LIMIT_WIDTH));
    return 0;
}

static int check_match(const uint8_t *match, int64_t n)
{
    for (int64_t i = 0; match && i < n * n; i++)
        if (match[i] > 1)
            FAIL(ERR_DATA, "mrd_loss: match[%lld, %lld] is %d, expected 0 or 1", (long long)(i / n), (long long)(i % n),
                 match[i]);
    return 0;
}

static int check_finite(const double *x, int64_t n, int64_t width, const char *what)
{
    for (int64_t i = 0; i < n * width; i++)
        if (!isfinite(x[i]))
            FAIL(ERR_NONFINITE, "mrd_loss: row %lld of the %s holds a number that is not finite",
                 (long long)(i / width), what);
    return 0;
}

/* An array of the caller's, [n, width] of type `dtype`, on the tape as doubles; *input is where its gradient will be.
 */
static int put(struct tape *t, enum dtype dtype, const void *x, int64_t n, int64_t width, const char *what,
               struct tensor **input)
{
    double *wide = arena_alloc(tape_arena(t), (size_t)(n * width) * sizeof *wide);
    if (!wide)
        return ERR_MEMORY;
    TRY(dtype_convert(DT_F64, wide, dtype, x, (size_t)(n * width)));
    TRY(check_finite(wide, n, width, what));
    *input = t_input_grad(t, SHAPE(n, width), wide);
    return tape_status(t);
}

/* A loss that looks at one side alone leaves the other without a gradient: zeros. */
static int take_gradient(const struct tensor *x, int64_t width, enum dtype dtype, const char *what, void *out)
{
    if (!out)
        return 0;
    if (!x->grad) {
        memset(out, 0, (size_t)x->n * dtype_size(dtype));
        return 0;
    }
    TRY(check_finite(x->grad, x->n / width, width, what));
    return dtype_convert(dtype, out, DT_F64, x->grad, (size_t)x->n);
}

struct call {
    const struct mrd_loss_opt *opt;
    enum dtype dtype;
    const void *images, *texts;
    int64_t n, width;
    double *value;
    void *dimages, *dtexts;
};

static int compute(struct tape *t, const struct loss_kind *k, const void *loss_opt, const struct call *c)
{
    struct tensor *image = NULL, *text = NULL;
    TRY(put(t, c->dtype, c->images, c->n, c->width, "images", &image));
    TRY(put(t, c->dtype, c->texts, c->n, c->width, "texts", &text));
    struct pair_batch b = {.image = image, .text = text, .match = c->opt->match};
    if (c->opt->normalize) {
        b.image = t_l2_normalize(image);
        b.text = t_l2_normalize(text);
    }
    struct tensor *l = k->build(&b, loss_opt);
    TRY(tape_status(t));
    if (!l)
        FAIL(ERR_MEMORY, "the loss of %lld pairs ran out of memory", (long long)c->n);
    TRY(signal_check());
    TRY(tape_backward(l));
    double value = t_value(l);
    if (!isfinite(value))
        FAIL(ERR_NONFINITE, "mrd_loss: the loss \"%s\" of these arrays is not finite", k->name);
    TRY(take_gradient(image, c->width, c->dtype, "gradient of the images", c->dimages));
    TRY(take_gradient(text, c->width, c->dtype, "gradient of the texts", c->dtexts));
    *c->value = value;
    return 0;
}

static int run(const struct loss_kind *k, const struct call *c)
{
    const struct engine *e;
    struct tape *t = NULL;
    struct arena *a = NULL;
    void *loss_opt = NULL;
    TRY(engine_open(&e, "ref64", 1));
    int rc = arena_open(&a, "loss options");
    if (rc == 0)
        rc = read_options(k, c->opt, a, &loss_opt);
    if (rc == 0)
        rc = tape_open(&t, e, &(struct tape_opt){.record = true});
    if (rc == 0)
        rc = compute(t, k, loss_opt, c);
    tape_close(&t);
    arena_close(&a);
    return rc;
}

static int loss(const char *name, const struct mrd_loss_opt *opt, struct call *c)
{
    struct mrd_loss_opt o = MRD_LOSS_OPT_INIT;
    api_begin();
    if (!name)
        FAIL(ERR_USAGE, "mrd_loss: name must be given");
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_loss_opt"));
    TRY(check_arrays(c->images, c->texts, c->n, c->width, c->value));
    TRY(check_match(o.match, c->n));
    const struct loss_kind *k = loss_find(name);
    if (!k)
        return ERR_USAGE;
    c->opt = &o;
    TRY(api_lock());
    int rc = run(k, c);
    api_unlock();
    return rc;
}

int mrd_loss(const char *name, const struct mrd_loss_opt *opt, const double *images, const double *texts, int64_t n,
             int64_t width, double *value, double *dimages, double *dtexts)
{
    struct call c = {NULL, DT_F64, images, texts, n, width, value, dimages, dtexts};
    return loss(name, opt, &c);
}

int mrd_loss_f32(const char *name, const struct mrd_loss_opt *opt, const float *images, const float *texts, int64_t n,
                 int64_t width, double *value, float *dimages, float *dtexts)
{
    struct call c = {NULL, DT_F32, images, texts, n, width, value, dimages, dtexts};
    return loss(name, opt, &c);
}

/* ---- the list ---- */

static int describe(json_t *all, const struct loss_kind *k)
{
    json_t *options = api_describe_options(k->options, k->size);
    if (!options)
        return ERR_MEMORY;
    json_object_set_new(all, k->name, json_pack("{s:s, s:o}", "help", k->help, "options", options));
    return 0;
}

int mrd_losses(char **json)
{
    api_begin();
    if (!json)
        FAIL(ERR_USAGE, "mrd_losses: json must be given");
    json_t *all = json_object();
    for (int i = 0; loss_at(i); i++) {
        int rc = describe(all, loss_at(i));
        if (rc < 0) {
            json_decref(all);
            return rc;
        }
    }
    return api_put_json(json, all);
}
