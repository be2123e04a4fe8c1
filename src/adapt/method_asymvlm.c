/* adapt/method_asymvlm.c: AsymVLM after the fact (Ju et al. 2025): a picture stays a point of the sphere, a text
 * becomes a distribution of the pictures it may mean, von Mises-Fisher or power spherical (loss/spherical.c).
 *
 *   free      eta = trunk(x),  k = |eta|, mean = eta / k             (the paper's; their trunk has one layer more)
 *   residual  mean = unit(text + trunk(x)), the trunk starts at 0;   fixed: mean = text
 *             k = exp(bounded(w h)), h the trunk's hidden layer
 *
 * The sphere is that of directions about each side's mean (centred), or of the vectors themselves (raw). Between raw
 * texts and pictures lies the gap between the modalities: every cosine is about .3, and a text's best direction is
 * first of all the way across it. u -> (u - m) / |u - m| is one to one on the sphere for |m| < 1, so that draws are
 * brought back exactly. The uncertainty of a text is 1/k; a picture has none. */
#include "adapt/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double KAPPA_LO = 0.05, KAPPA_HI = 5e4; /* 50 in the middle, where a fitting starts */
enum { BLOCK = 256 };

struct own {
    enum sphere_family family;
    bool centred, texts_only;
    struct tensor log_temperature, kappa, kappa_bias; /* [], [H], [] */
    const struct set *set;                            /* while it is fitted */
};
static const char *const families[2] = {"vmf", "ps"};

/* ---- design ---- */

static int make_own(struct adapter *a, const char *family, const char *sphere)
{
    struct own *p = arena_calloc(a->arena, 1, sizeof *p);
    if (!p)
        return ERR_MEMORY;
    p->family = strcmp(family, families[0]) ? SPHERE_PS : SPHERE_VMF;
    p->centred = strcmp(sphere, "raw") != 0;
    a->own = p;
    if (a->d.width < 2)
        FAIL(ERR_DATA,
             "method asymvlm needs vectors of width 2 or more, these have width %" PRId64
             ": a sphere of one dimension is two points",
             a->d.width);
    return 0;
}

static int plan(struct adapter *a, const struct fit_in *in)
{
    TRY(make_own(a, in->o->family, in->o->sphere));
    struct own *p = a->own;
    p->texts_only = strcmp(in->o->contrast, "both") != 0;
    p->set = in->s;
    return 0;
}

static int read_json(struct adapter *a, const json_t *o, const char *where)
{
    const char *family, *sphere;
    TRY(json_field_str(o, "family", true, &family, where));
    TRY(json_field_str(o, "sphere", true, &sphere, where));
    if (strcmp(family, families[0]) && strcmp(family, families[1]))
        FAIL(ERR_DATA, "%s: field \"family\" is \"%.40s\", expected vmf or ps", where, family);
    if (strcmp(sphere, "centred") && strcmp(sphere, "raw"))
        FAIL(ERR_DATA, "%s: field \"sphere\" is \"%.40s\", expected centred or raw", where, sphere);
    return make_own(a, family, sphere);
}

static int write_json(const struct adapter *a, json_t *o)
{
    const struct own *p = a->own;
    int rc = json_object_set_new(o, "family", json_string(families[p->family]));
    rc |= json_object_set_new(o, "sphere", json_string(p->centred ? "centred" : "raw"));
    return rc ? err_set(ERR_MEMORY, "no memory for adapter.json") : 0;
}

#define AT(field) offsetof(struct own, field)
static const struct param_row rows[] = {
    {"log_temperature", AT(log_temperature), "", INIT_ZERO},
    {"kappa.weight", AT(kappa), "H", INIT_ZERO}, /* not when the mean is free */
    {"kappa.bias", AT(kappa_bias), "", INIT_ZERO},
};
#undef AT

static int bind(struct adapter *a)
{
    const struct param_sizes sizes = {.letters = "H", .sizes = {a->d.hidden}, .width = a->d.width, .layers = 1};
    TRY(capsule_bind_trunk(a));
    return params_bind(&a->params, a->arena, rows, a->d.mean == MEAN_FREE ? 1 : ARRAY_LEN(rows), a->own, "", &sizes);
}

static void init(struct adapter *a, uint64_t seed)
{
    capsule_init(a, seed);
    if (a->d.mean == MEAN_FREE)
        return;
    capsule_fill(a, &a->side[SIDE_TEXT].out.w, 0);
    capsule_fill(a, &a->side[SIDE_TEXT].out.b, 0);
}

/* ---- the distribution ---- */

/* Where a side's vectors lie on the sphere, [n,D]; 0 for one without direction. */
static struct tensor *directions(const struct adapter *a, int side, struct tensor *x)
{
    const struct own *p = a->own;
    if (!x || p->centred)
        return t_l2_normalize(x);
    struct tensor *mean = t_new(x->tape, SHAPE(a->d.width));
    for (int64_t j = 0; mean && j < a->d.width; j++)
        t_put(mean, j, a->mean[side][j]);
    double s = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale;
    return t_l2_normalize(t_add(t_scale(x, 1 / s, 0), mean));
}

/* mean [n,D], kappa [n] */
static void distribution(const struct adapter *a, struct tensor *x, struct tensor *keep, struct tensor **mean,
                         struct tensor **kappa)
{
    const struct own *p = a->own;
    struct tensor *h = capsule_hidden(a, SIDE_TEXT, x), *own = directions(a, SIDE_TEXT, x);
    *mean = *kappa = NULL;
    if (!h)
        return;
    if (a->d.mean == MEAN_FREE) {
        struct tensor *eta = capsule_out(a, SIDE_TEXT, h, keep);
        *kappa = t_sqrt(t_scale(t_reduce(t_square(eta), RED_SUM, -1), 1, 1e-6)); /* |eta|, with a slope at 0 */
        *mean = t_l2_normalize(eta);
        return;
    }
    struct tensor *w = t_use(h->tape, (struct tensor *)&p->kappa);
    struct tensor *raw = t_reduce(t_mul(keep ? t_mul(h, keep) : h, w), RED_SUM, -1); /* [n] */
    raw = t_add(raw, t_use(h->tape, (struct tensor *)&p->kappa_bias));
    *kappa = t_exp(capsule_bounded(raw, log(KAPPA_LO), log(KAPPA_HI)));
    *mean = own;
    if (a->d.mean == MEAN_RESIDUAL)
        *mean = t_l2_normalize(t_add(own, capsule_out(a, SIDE_TEXT, h, keep)));
}

/* ---- fitting ---- */

static struct tensor *loss(const struct adapter *a, const struct adapt_opt *o UNUSED, struct tensor *const x[2],
                           struct tensor *const keep[2], struct rng *r UNUSED)
{
    const struct own *p = a->own;
    struct tensor *mean, *kappa;
    distribution(a, x[SIDE_TEXT], keep[SIDE_TEXT], &mean, &kappa);
    if (!mean || !x[SIDE_IMAGE])
        return NULL;
    struct tape *t = mean->tape;
    return asym_loss(p->family, directions(a, SIDE_IMAGE, x[SIDE_IMAGE]), mean, kappa,
                     t_use(t, (struct tensor *)&p->log_temperature), batch_shared(a, p->set, t, mean->shape[0]),
                     p->texts_only);
}

/* ---- what it says of rows ---- */

/* A direction of the pictures' sphere as a unit vector. */
static void bring_back(const struct adapter *a, const double *w, float *out)
{
    const struct own *p = a->own;
    int64_t d = a->d.width;
    const double *m = a->mean[SIDE_IMAGE];
    double along = 0, square = 0, length = 1, sum = 0;
    if (p->centred) { /* |m + length w| = 1 */
        for (int64_t j = 0; j < d; j++) {
            along += m[j] * w[j];
            square += m[j] * m[j];
        }
        length = sqrt(fmax(along * along + 1 - square, 0)) - along;
    }
    for (int64_t j = 0; j < d; j++)
        sum += pow((p->centred ? m[j] : 0) + length * w[j], 2);
    for (int64_t j = 0; j < d; j++)
        out[j] = (float)(sum > 0 ? ((p->centred ? m[j] : 0) + length * w[j]) / sqrt(sum) : w[j]);
}

/* Distributions of n text rows: mean [n,D], kappa [n], own [n,D] the texts' own directions. */
static int ask(const struct adapter *a, struct tape *t, const struct set *s, int64_t row, int64_t n, void *x,
               struct tensor **mean, struct tensor **kappa, struct tensor **own)
{
    tape_reset(t);
    for (int64_t i = 0; i < n; i++)
        vectors_put(a, SIDE_TEXT, s->text.x + (row + i) * a->d.width, x, i);
    struct tensor *in = t_input(t, SHAPE(n, a->d.width), x);
    distribution(a, in, NULL, mean, kappa);
    *own = directions(a, SIDE_TEXT, in);
    TRY(tape_status(t));
    for (int64_t i = 0; i < n; i++)
        if (!(t_get(*kappa, i) > 0) || !isfinite(t_get(*kappa, i))) /* of finite weights that are far too large */
            FAIL(ERR_NONFINITE,
                 "the adapter's concentration of text row %" PRId64
                 " is not a finite number above 0: its training diverged or its weights are damaged; fit it again",
                 row + i);
    return 0;
}

/* scale and shape: of a normal distribution as wide as this one is across its mean, on average over the dimensions. */
static void put_row(const struct adapter *a, int64_t i, int64_t row, double *w, struct tensor *mean,
                    struct tensor *kappa, struct tensor *own, double *scalar, const struct predict_more *more)
{
    const struct own *p = a->own;
    int64_t d = a->d.width;
    double k = t_get(kappa, i), dot = 0;
    for (int64_t j = 0; j < d; j++) {
        w[j] = t_get(mean, i * d + j);
        dot += w[j] * t_get(own, i * d + j);
    }
    scalar[row] = 1 / k;
    if (more->aleatoric)
        more->aleatoric[row] = 1 / k;
    if (more->epistemic)
        more->epistemic[row] = 0;
    if (more->log_variance)
        more->log_variance[row] = -log(k);
    if (more->fidelity)
        more->fidelity[row] = dot;
    if (more->mean)
        bring_back(a, w, more->mean + row * d);
    /* 1 - E t^2 = (d - 1) E t / k for vMF; of a Beta(b + k, b) number for PS */
    double c = sphere_mean_cosine(p->family, d, k), m = (double)(d - 1);
    double across = p->family == SPHERE_VMF ? c / k : (m + 2 * k) / ((m + k) * (m + k + 1));
    for (int64_t j = 0; j < d; j++) {
        if (more->scale)
            more->scale[row * d + j] = (float)sqrt(2 * across);
        if (more->shape)
            more->shape[row * d + j] = 2;
    }
}

static int predict(struct adapter *a, const struct set *s, int side UNUSED, const struct predict_opt *o, double *scalar,
                   const struct predict_more *more)
{
    struct tape *t = NULL;
    struct tensor *mean, *kappa, *own;
    int64_t d = a->d.width;
    if (o->dropout > 0)
        FAIL(ERR_USAGE, "option --dropout is %g: a text's 1/k is told by one pass without dropout; leave it out",
             o->dropout);
    void *x = mem_calloc((size_t)BLOCK, (size_t)d * sizeof(double));
    double *w = mem_calloc((size_t)d, sizeof *w);
    int rc = x && w ? tape_open(&t, a->engine, &(struct tape_opt){.record = false}) : ERR_MEMORY;
    for (int64_t row = 0; row < s->text.n && rc == 0; row += BLOCK) {
        int64_t n = s->text.n - row < BLOCK ? s->text.n - row : BLOCK;
        rc = signal_check();
        if (rc == 0)
            rc = ask(a, t, s, row, n, x, &mean, &kappa, &own);
        for (int64_t i = 0; i < n && rc == 0; i++)
            put_row(a, i, row + i, w, mean, kappa, own, scalar, more);
    }
    tape_close(&t);
    mem_free(x);
    mem_free(w);
    return rc;
}

/* mean [D] (0: no direction) and kappa of one text */
static int look_at(struct adapter *a, const struct set *s, int side, int64_t row, double *mean, double *kappa)
{
    struct tape *t = NULL;
    struct tensor *m, *k, *own;
    TRY(adapter_check_set(a, s, side, false));
    if (row < 0 || row >= s->text.n)
        FAIL(ERR_USAGE, "row %" PRId64 ", expected 0 to %" PRId64, row, s->text.n - 1);
    void *x = mem_calloc((size_t)a->d.width, sizeof(double));
    int rc = x ? tape_open(&t, a->engine, &(struct tape_opt){.record = false}) : ERR_MEMORY;
    if (rc == 0)
        rc = ask(a, t, s, row, 1, x, &m, &k, &own);
    double square = 0;
    for (int64_t j = 0; j < a->d.width && rc == 0; j++) {
        mean[j] = t_get(m, j);
        square += mean[j] * mean[j];
    }
    for (int64_t j = 0; j < a->d.width && rc == 0 && square > 0; j++)
        mean[j] /= sqrt(square); /* in double */
    if (rc == 0)
        *kappa = t_get(k, 0);
    tape_close(&t);
    mem_free(x);
    return rc;
}

/* Draws are pictures: near: of the half nearer to the mean; tail: of the farthest tenth. */
static int sample(struct adapter *a, const struct set *s, int side, int64_t row, int64_t n, const char *region,
                  uint64_t seed, float *out)
{
    const struct own *p = a->own;
    int64_t d = a->d.width;
    double k = 0, *mean = mem_calloc((size_t)d, 2 * sizeof *mean), *w = mean + d, lo = -1, hi = 1;
    int rc = mean ? look_at(a, s, side, row, mean, &k) : ERR_MEMORY;
    if (rc == 0 && !strcmp(region, "near"))
        lo = sphere_cosine_at(p->family, d, k, 0.5);
    else if (rc == 0 && !strcmp(region, "tail"))
        hi = sphere_cosine_at(p->family, d, k, 0.9);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        struct rng r = rng_stream(seed, RNG_SAMPLE, (uint32_t)row, (uint64_t)i);
        double t = sphere_draw_cosine(&r, p->family, d, k);
        for (int turn = 0; turn < 1000 && !(t >= lo && t <= hi); turn++)
            t = sphere_draw_cosine(&r, p->family, d, k);
        sphere_around(&r, d, mean, t, w);
        bring_back(a, w, out + i * d);
    }
    mem_free(mean);
    return rc;
}

/* Relative to the uniform density on the sphere. */
static int likelihood(struct adapter *a, const struct set *s, int side, int64_t row, int of, double *out)
{
    const struct own *p = a->own;
    int64_t d = a->d.width;
    double k = 0;
    bool wide = a->engine->real == DT_F64;
    TRY(adapter_check_set(a, s, side, false));
    if (of != SIDE_IMAGE)
        FAIL(ERR_USAGE, "method asymvlm: a text's distribution is one of pictures, it has no likelihood of texts "
                        "and no histogram of them");
    double *mean = mem_calloc((size_t)d, 2 * sizeof *mean), *x = mean + d;
    int rc = mean ? look_at(a, s, side, row, mean, &k) : ERR_MEMORY;
    for (int64_t i = 0; i < s->image.n && rc == 0; i++) {
        double dot = 0, square = 0;
        vectors_put(a, SIDE_IMAGE, s->image.x + i * d, x, 0);
        for (int64_t j = 0; j < d; j++) {
            double v = wide ? x[j] : (double)((const float *)x)[j];
            if (!p->centred)
                v = v / a->d.image_scale + a->mean[SIDE_IMAGE][j];
            dot += v * mean[j];
            square += v * v;
        }
        /* the floor is the loss's: opposite to the mean a power spherical density is 0 */
        out[i] = sphere_log_density(p->family, d, k, fmax(square > 0 ? dot / sqrt(square) : 0, -1 + 1e-6)) / (double)d;
    }
    mem_free(mean);
    return rc;
}

const struct method method_asymvlm = {
    .name = "asymvlm",
    .help = "pictures are points, texts distributions of directions (Ju et al. 2025)",
    .usual_mean = "fixed",
    .sides = 1u << SIDE_TEXT,
    .plan = plan,
    .read = read_json,
    .write = write_json,
    .bind = bind,
    .init = init,
    .loss = loss,
    .predict = predict,
    .sample = sample,
    .likelihood = likelihood,
};
