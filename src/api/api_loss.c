/* api/api_loss.c: the losses of meridian.h: any objective of room loss on arrays, with the gradients of its inputs.
 *
 * Everything is computed on the double engine, whatever the caller's arrays are: a loss is small next to the encoders
 * that a caller runs around it, and with a low temperature single precision leaves four digits. Options are words as on
 * the command line, read under the C locale: a host program may have another, in which 0.07 is no number. */
#include "api/api.h"

#include "kernel/kernel.h"
#include "loss/loss.h"
#include "meridian.h"
#include "tensor/tensor.h"

#include <locale.h>
#include <math.h>
#include <string.h>

enum { MAX_PAIRS = 32768, MAX_OPTIONS = 1000 };

/* ---- options ---- */

/* Whether an option is called so, with '_' for '-'. */
static bool is_named(const struct opt *o, const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (o->name[i] != (name[i] == '_' ? '-' : name[i]))
            return false;
    return !o->name[n];
}

static const struct opt *find_option(const struct loss_kind *k, const char *name, size_t n)
{
    for (const struct opt *o = k->options; o && o->name; o++)
        if (is_named(o, name, n))
            return o;
    return NULL;
}

static int unknown_option(const struct loss_kind *k, const char *name, size_t n)
{
    struct str known = {0};
    for (const struct opt *o = k->options; o && o->name; o++)
        str_add(&known, "%s%s", known.n ? ", " : "", o->name);
    int rc = err_set(ERR_USAGE, "loss \"%s\" has no option \"%.*s\"; it has: %s", k->name, (int)(n < 60 ? n : 60), name,
                     known.s ? known.s : "none");
    str_free(&known);
    return rc;
}

/* "tau=0.07" -> "--temperature=0.07": papers and the command line know it by different names. */
static int option_word(const struct loss_kind *k, struct arena *a, const char *word, char **out)
{
    size_t n = strcspn(word, "=");
    const struct opt *o = find_option(k, word, n);
    if (!o && n == 3 && !strncmp(word, "tau", n))
        o = find_option(k, "temperature", strlen("temperature"));
    if (!o)
        return unknown_option(k, word, n);
    size_t size = strlen(o->name) + strlen(word + n) + 3;
    *out = arena_alloc(a, size);
    if (!*out)
        return ERR_MEMORY;
    snprintf(*out, size, "--%s%s", o->name, word + n);
    return 0;
}

static int read_words(const struct loss_kind *k, void *into, struct arena *a, char **words, int n)
{
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        FAIL(ERR_MEMORY, "no memory for a locale");
    locale_t before = uselocale(plain);
    int rc = opt_parse_argv(k->options, into, a, n, words, NULL);
    uselocale(before);
    freelocale(plain);
    return rc < 0 ? err_while(rc, "reading the options of loss \"%s\"", k->name) : 0;
}

static int read_options(const struct loss_kind *k, const struct mrd_loss_opt *o, struct arena *a, void **into)
{
    if (o->n_options < 0 || o->n_options > MAX_OPTIONS || (o->n_options > 0 && !o->options))
        FAIL(ERR_USAGE, "struct mrd_loss_opt: n_options is %lld, expected 0 to %d and options given",
             (long long)o->n_options, MAX_OPTIONS);
    *into = arena_calloc(a, 1, k->size ? k->size : 1);
    char **words = arena_calloc(a, (size_t)o->n_options + 1, sizeof *words);
    if (!*into || !words)
        return ERR_MEMORY;
    opt_defaults(k->options, *into);
    for (int64_t i = 0; i < o->n_options; i++) {
        const char *word = o->options[i];
        if (!word || !strchr(word, '='))
            FAIL(ERR_USAGE, "struct mrd_loss_opt: option %lld is \"%.60s\", expected NAME=VALUE", (long long)i,
                 word ? word : "(NULL)");
        TRY(option_word(k, a, word, &words[i]));
    }
    return read_words(k, *into, a, words, (int)o->n_options);
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

static const char *type_name(enum opt_type t)
{
    static const char *const names[] = {"bool", "int", "real", "string", "choice", "list"};
    return names[t];
}

static json_t *split_choices(const char *choices)
{
    json_t *a = json_array();
    for (const char *c = choices; c && *c;) {
        size_t n = strcspn(c, "|");
        json_array_append_new(a, json_stringn(c, n));
        c += n + (c[n] == '|');
    }
    return a;
}

static json_t *describe_option(const struct opt *o, json_t *def)
{
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string(type_name(o->type)));
    json_object_set(j, "default", def ? def : json_null());
    if (o->min != 0.0 || o->max != 0.0) {
        json_object_set_new(j, "min", json_number(o->min));
        json_object_set_new(j, "max", json_number(o->max));
    }
    if (o->choices)
        json_object_set_new(j, "choices", split_choices(o->choices));
    json_object_set_new(j, "help", json_string(o->help ? o->help : ""));
    return j;
}

static void underscore(char *out, size_t n, const char *name)
{
    snprintf(out, n, "%s", name);
    for (char *c = out; *c; c++)
        *c = *c == '-' ? '_' : *c;
}

static int describe(json_t *all, const struct loss_kind *k)
{
    char name[128];
    void *defaults = mem_calloc(1, k->size ? k->size : 1);
    json_t *options = json_object();
    if (!defaults) {
        json_decref(options);
        return ERR_MEMORY;
    }
    opt_defaults(k->options, defaults);
    json_t *values = opt_to_json(k->options, defaults);
    for (const struct opt *o = k->options; o && o->name; o++) {
        underscore(name, sizeof name, o->name);
        json_object_set_new(options, name, describe_option(o, json_object_get(values, name)));
    }
    json_decref(values);
    mem_free(defaults);
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
