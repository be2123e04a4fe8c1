/* adapt/method_bayesvlm.c: BayesVLM (arXiv 2412.06014): no training; the last projections of both encoders become
 * random, by Laplace's approximation (laplace.c), and with them every embedding.
 *
 *   z = W phi, W normal about the model's own: the covariance of z is (phi^T A' phi) B', its diagonal is what is kept
 *   (A', B' the posterior factors; with --posterior exact, the sum over the eigenvectors of both).
 * The factors come from the pairs of a set with features, or as they were published (--factors). In a batch every
 * picture and every text counts once; the other side's items of the batch are the classes. BayesVLM takes pairs, so
 * that a picture with five captions stands five times among the classes, and drops the last batch; here the pairs are
 * cut into batches of equal size. What is told of a row is the covariance of z / |z| as if the length were fixed, which
 * is the unit of ProbCosine (cosine.c). All of it is epistemic: it would vanish with more data.
 * Rejected: features recovered from the vectors (a picture's 768 activations do not follow from 512 numbers). */
#include "adapt/adapter.h"
#include "adapt/laplace.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 256 };

struct bayes_side {
    struct tensor a, b; /* [F,F] [E,E]: the factors, as published */
    int64_t f, rows;    /* F, with the bias; rows that the factors were summed over, 0: not known */
    bool bias, open;
    double n, prior;
    struct posterior post; /* when open */
    float **drawn;         /* [n_drawn] of weights [E,F] */
    int64_t n_drawn;
    uint64_t seed; /* of them */
};
struct bayes {
    struct bayes_side side[2];
    bool exact, sigmoid;
};

static const char *const side_word[2] = {"image", "text"};
static const char *const tag[2] = {"img", "txt"};

#define AT(field) offsetof(struct bayes_side, field)
static const struct param_row rows[2][2] = {
    {{"A_img", AT(a), "FF", INIT_ZERO}, {"B_img", AT(b), "EE", INIT_ZERO}},
    {{"A_txt", AT(a), "FF", INIT_ZERO}, {"B_txt", AT(b), "EE", INIT_ZERO}},
};
#undef AT

/* ---- a row's features ---- */

static const struct set_side *side_of(const struct set *s, int side)
{
    return side == SIDE_TEXT ? &s->text : &s->image;
}

static int check_features(const struct set *s, int side)
{
    const struct set_features *f = &side_of(s, side)->features;
    if (!f->x)
        FAIL(ERR_DATA,
             "set \"%s\" has no %s_features.npy: method bayesvlm needs the activations before the projections; make "
             "the set again with \"meridian encode --features\"",
             s->path, side_word[side]);
    if (!f->lengths && s->unit)
        FAIL(ERR_DATA,
             "set \"%s\" has no %s_lengths.npy, and its vectors are of unit length: the lengths of the embeddings are "
             "lost; make the set again with \"meridian encode --features\"",
             s->path, side_word[side]);
    return 0;
}

/* phi [F], u [E] of one row, and the embedding's length. Any may be NULL. */
static int take_row(const struct set *s, int side, int64_t row, double *phi, double *u, double *length)
{
    const struct set_side *from = side_of(s, side);
    const struct set_features *f = &from->features;
    const float *x = f->x + row * f->width, *z = from->x + row * s->width;
    double norm = sqrt(space_dot(z, z, s->width)), full = f->lengths ? (double)f->lengths[row] : norm;
    bool good = norm > 0 && full > 0 && isfinite(full);
    for (int64_t j = 0; j < f->width; j++)
        good = good && isfinite(x[j]);
    if (!good)
        FAIL(ERR_NONFINITE, "set \"%s\": the features, the length or the vector of %s row %" PRId64 " %s", s->path,
             side_word[side], row, norm > 0 ? "hold a number that is not finite, or 0 for a length" : "are zero");
    for (int64_t j = 0; phi && j < f->width; j++)
        phi[j] = (double)x[j];
    if (phi && f->bias)
        phi[f->width] = 1;
    for (int64_t j = 0; u && j < s->width; j++)
        u[j] = (double)z[j] / norm;
    if (length)
        *length = full;
    return 0;
}

/* ---- plan and folder ---- */

static int own(struct adapter *a, struct bayes **out)
{
    *out = a->own = arena_calloc(a->arena, 1, sizeof **out);
    return *out ? 0 : ERR_MEMORY;
}

static int factor_path(char *path, size_t n, const char *dir, char letter, int side)
{
    char name[32];
    snprintf(name, sizeof name, "%c_%s.npy", letter, tag[side]);
    return path_join(path, n, dir, name);
}

/* The width that a published factor has, before anything is allocated. */
static int factor_width(const char *dir, char letter, int side, int64_t *width)
{
    char path[2048];
    struct npy x = {0};
    TRY(factor_path(path, sizeof path, dir, letter, side));
    TRY(npy_open(&x, path));
    int rc = 0;
    if (x.n_dims != 2 || x.shape[0] != x.shape[1] || x.shape[0] < 1 || x.shape[0] > limit_get(LIMIT_WIDTH) ||
        (x.dtype != DT_F32 && x.dtype != DT_F64))
        rc = err_set(ERR_DATA, "%s: expected a square matrix of float32 or float64, at most %lld wide", path,
                     (long long)limit_get(LIMIT_WIDTH));
    else
        *width = x.shape[0];
    npy_close(&x);
    return rc;
}

static int plan_side(struct bayes *g, const struct fit_in *in, int side)
{
    const struct set_features *f = &side_of(in->s, side)->features;
    struct bayes_side *b = &g->side[side];
    int64_t e = in->s->width;
    b->bias = f->bias;
    b->f = f->width + f->bias;
    if (!in->o->factors)
        return check_features(in->s, side);
    TRY(factor_width(in->o->factors, 'A', side, &b->f));
    TRY(factor_width(in->o->factors, 'B', side, &e));
    if (e != in->s->width)
        FAIL(ERR_MISMATCH, "%s/B_%s.npy is %lld wide, but the vectors of set \"%s\" have width %lld", in->o->factors,
             tag[side], (long long)e, in->s->path, (long long)in->s->width);
    if (f->x && f->width + f->bias != b->f)
        FAIL(ERR_MISMATCH, "%s/A_%s.npy is %lld wide, but the features of set \"%s\" have width %lld%s", in->o->factors,
             tag[side], (long long)b->f, in->s->path, (long long)f->width, f->bias ? " and a bias" : "");
    return 0;
}

static int plan(struct adapter *a, const struct fit_in *in)
{
    struct bayes *g;
    if (in->o->from)
        FAIL(ERR_USAGE, "option --from has no meaning for --method bayesvlm: --factors takes ready factors");
    TRY(own(a, &g));
    g->exact = !strcmp(in->o->posterior, "exact");
    g->sigmoid = json_is_number(json_object_get(in->s->json, "logit_bias"));
    TRY(plan_side(g, in, SIDE_IMAGE));
    return plan_side(g, in, SIDE_TEXT);
}

static int read_json(struct adapter *a, const json_t *o, const char *where)
{
    struct bayes *g;
    const json_t *all = json_object_get(o, "laplace");
    TRY(own(a, &g));
    TRY(json_field_bool(all, "exact", true, &g->exact, where));
    TRY(json_field_bool(all, "sigmoid", true, &g->sigmoid, where));
    for (int side = 0; side < 2; side++) {
        struct bayes_side *b = &g->side[side];
        const json_t *one = json_object_get(all, side_word[side]);
        TRY(json_field_int(one, "width", true, 1, limit_get(LIMIT_WIDTH), &b->f, where));
        TRY(json_field_bool(one, "bias", true, &b->bias, where));
        TRY(json_field_int(one, "rows", true, 0, INT64_MAX, &b->rows, where));
        TRY(json_field_real(one, "n", true, 1e-30, 1e30, &b->n, where));
        TRY(json_field_real(one, "prior", true, 1e-30, 1e30, &b->prior, where));
    }
    return 0;
}

static int write_json(const struct adapter *a, json_t *o)
{
    const struct bayes *g = a->own;
    json_t *all = json_pack("{s:b, s:b}", "exact", g->exact, "sigmoid", g->sigmoid);
    for (int side = 0; all && side < 2; side++) {
        const struct bayes_side *b = &g->side[side];
        json_object_set_new(all, side_word[side],
                            json_pack("{s:I, s:b, s:I, s:f, s:f}", "width", (json_int_t)b->f, "bias", b->bias, "rows",
                                      (json_int_t)b->rows, "n", b->n, "prior", b->prior));
    }
    return json_object_set_new(o, "laplace", all) < 0 ? ERR_MEMORY : 0;
}

static int bind(struct adapter *a)
{
    struct bayes *g = a->own;
    for (int side = 0; side < 2; side++) {
        const struct param_sizes sizes = {
            .letters = "FE", .sizes = {g->side[side].f, a->d.width}, .width = a->d.width, .layers = 1};
        TRY(params_bind(&a->params, a->arena, rows[side], 2, &g->side[side], "", &sizes));
    }
    return 0;
}

/* ---- the posterior ---- */

static int open_side(struct adapter *a, int side)
{
    struct bayes *g = a->own;
    struct bayes_side *b = &g->side[side];
    int64_t f = b->f, e = a->d.width;
    if (b->open)
        return 0;
    double *x = arena_calloc(a->arena, (size_t)(f * f + e * e), sizeof *x);
    if (!x)
        return ERR_MEMORY;
    TRY(dtype_convert(DT_F64, x, a->engine->real, b->a.data, (size_t)(f * f)));
    TRY(dtype_convert(DT_F64, x + f * f, a->engine->real, b->b.data, (size_t)(e * e)));
    TRY_IN(posterior_open(&b->post, a->arena, f, e, x, x + f * f), "taking the factors of the %s side apart",
           side_word[side]);
    posterior_fill(&b->post, b->n, b->prior, g->exact);
    b->open = true;
    return 0;
}

static int check_set(struct adapter *a, const struct set *s, int side)
{
    const struct bayes *g = a->own;
    const struct bayes_side *b = &g->side[side];
    const struct set_features *f = &side_of(s, side)->features;
    TRY(check_features(s, side));
    if (f->width + f->bias != b->f)
        FAIL(ERR_MISMATCH, "set \"%s\" has %s features of width %lld%s, the adapter's factors are %lld wide", s->path,
             side_word[side], (long long)f->width, f->bias ? " and a bias" : "", (long long)b->f);
    return open_side(a, side);
}

/* ---- factors from a set ---- */

struct gather {
    const struct fit_in *in;
    int64_t *order, *list[2], n[2], most[2]; /* pairs; rows of the batch, each once */
    uint8_t *seen[2];
    double *u[2], *length[2], *phi; /* [n,E] [n] of the batch; phi [BLOCK,F] */
    double *a[2], *b[2];            /* sums */
};

static int64_t row_of(const struct set_pair *p, int side)
{
    return side == SIDE_TEXT ? p->text : p->image;
}

static int gather_rows(struct gather *w, int64_t first, int64_t n)
{
    const struct set *s = w->in->s;
    for (int side = 0; side < 2; side++) {
        w->n[side] = 0;
        for (int64_t k = first; k < first + n; k++) {
            int64_t row = row_of(&w->in->split->train[w->order[k]], side), at = w->n[side];
            if (w->seen[side][row])
                continue;
            w->seen[side][row] = 1;
            TRY(take_row(s, side, row, NULL, w->u[side] + at * s->width, w->length[side] + at));
            w->list[side][w->n[side]++] = row;
        }
        for (int64_t k = 0; k < w->n[side]; k++)
            w->seen[side][w->list[side][k]] = 0;
    }
    return 0;
}

static int add_activations(struct gather *w, struct bayes_side *b, int side)
{
    for (int64_t i = 0; i < w->n[side]; i += BLOCK) {
        int64_t k = w->n[side] - i < BLOCK ? w->n[side] - i : BLOCK;
        for (int64_t r = 0; r < k; r++)
            TRY(take_row(w->in->s, side, w->list[side][i + r], w->phi + r * b->f, NULL, NULL));
        kernel_gemm_f64(true, false, b->f, b->f, k, 1, w->phi, b->f, w->phi, b->f, 1, w->a[side], b->f);
    }
    b->rows += w->n[side];
    return 0;
}

static int add_batch(struct gather *w, struct bayes *g, int64_t first, int64_t n)
{
    const struct set *s = w->in->s;
    TRY(gather_rows(w, first, n));
    for (int side = 0; side < 2; side++) {
        struct curvature c = {.n = w->n[side],
                              .m = w->n[!side],
                              .d = s->width,
                              .u = w->u[side],
                              .length = w->length[side],
                              .y = w->u[!side],
                              .scale = s->logit_scale > 0 ? s->logit_scale : 100,
                              .bias = json_number_value(json_object_get(s->json, "logit_bias")),
                              .sigmoid = g->sigmoid,
                              .both = !strcmp(w->in->o->curvature, "both")};
        TRY(curvature_add(&c, w->b[side]));
        TRY(add_activations(w, &g->side[side], side));
    }
    return 0;
}

static int gather_open(struct gather *w, const struct bayes *g, int64_t batch)
{
    const struct set *s = w->in->s;
    size_t f[2] = {(size_t)g->side[0].f, (size_t)g->side[1].f}, e = (size_t)s->width, n = (size_t)batch;
    w->order = mem_calloc((size_t)w->in->split->n_train, sizeof *w->order);
    w->phi = mem_calloc(f[0] > f[1] ? f[0] : f[1], BLOCK * sizeof(double));
    bool good = w->order && w->phi;
    for (int side = 0; side < 2; side++) {
        w->list[side] = mem_calloc(n, sizeof **w->list);
        w->seen[side] = mem_calloc((size_t)side_of(s, side)->n + 1, 1);
        w->u[side] = mem_calloc(n, (e + 1) * sizeof(double));
        w->length[side] = w->u[side] ? w->u[side] + n * e : NULL;
        w->a[side] = mem_calloc(f[side] * f[side] + e * e, sizeof(double));
        w->b[side] = w->a[side] ? w->a[side] + f[side] * f[side] : NULL;
        good = good && w->list[side] && w->seen[side] && w->u[side] && w->a[side];
    }
    return good ? 0 : ERR_MEMORY;
}

static void gather_close(struct gather *w)
{
    mem_free(w->order);
    mem_free(w->phi);
    for (int side = 0; side < 2; side++) {
        mem_free(w->list[side]);
        mem_free(w->seen[side]);
        mem_free(w->u[side]);
        mem_free(w->a[side]);
    }
}

static int store(struct adapter *a, struct tensor *to, const double *x)
{
    return dtype_convert(a->engine->real, to->data, DT_F64, x, (size_t)to->n);
}

static int from_set(struct adapter *a, const struct fit_in *in, int64_t *n_batches)
{
    struct bayes *g = a->own;
    struct gather w = {.in = in};
    int64_t n = in->split->n_train, batch = in->o->hessian_batch < n ? in->o->hessian_batch : n;
    int64_t batches = (n + batch - 1) / batch;
    batch = (n + batches - 1) / batches;
    int rc = gather_open(&w, g, batch);
    for (int64_t i = 0; i < n && rc == 0; i++)
        w.order[i] = i;
    struct rng r = rng_stream((uint64_t)in->o->seed, RNG_SHUFFLE, 0, 0);
    if (rc == 0 && batches > 1)
        rng_shuffle(&r, w.order, n);
    for (int64_t at = 0; at < n && rc == 0; at += batch)
        rc = add_batch(&w, g, at, n - at < batch ? n - at : batch);
    for (int side = 0; side < 2 && rc == 0; side++) {
        struct bayes_side *b = &g->side[side];
        double root = sqrt((double)b->rows);
        for (int64_t i = 0; i < b->f * b->f + a->d.width * a->d.width; i++)
            w.a[side][i] /= root;
        rc = store(a, &b->a, w.a[side]);
        if (rc == 0)
            rc = store(a, &b->b, w.b[side]);
    }
    gather_close(&w);
    *n_batches = batches;
    return rc;
}

/* ---- published factors ---- */

static int load_factor(struct adapter *a, const char *dir, char letter, int side, struct tensor *to)
{
    char path[2048];
    struct npy x = {0};
    TRY(factor_path(path, sizeof path, dir, letter, side));
    TRY(npy_open(&x, path));
    int rc = x.shape[0] == to->shape[0] ? 0 : err_set(ERR_DATA, "%s: changed while it was read", path);
    if (rc == 0)
        rc = dtype_convert(a->engine->real, to->data, x.dtype, x.data, (size_t)to->n);
    if (rc == 0)
        rc = npy_check(&x);
    npy_close(&x);
    for (int64_t i = 0; i < to->n && rc == 0; i++) {
        double v = a->engine->real == DT_F64 ? ((const double *)to->data)[i] : (double)((const float *)to->data)[i];
        if (!isfinite(v))
            rc = err_set(ERR_NONFINITE, "%s: number %" PRId64 " is not finite", path, i);
    }
    return rc;
}

/* lambda_img, n_img, lambda_txt, n_txt; the file may be missing. */
static int load_prior(struct bayes *g, const char *dir)
{
    char path[2048], key[32];
    json_t *o = NULL;
    TRY(path_join(path, sizeof path, dir, "prior_precision_analytic.json"));
    if (!path_exists(path))
        return 0;
    TRY(json_read_file(&o, path));
    int rc = 0;
    for (int side = 0; side < 2 && rc == 0; side++) {
        snprintf(key, sizeof key, "lambda_%s", tag[side]);
        rc = json_field_real(o, key, true, 1e-30, 1e30, &g->side[side].prior, path);
        snprintf(key, sizeof key, "n_%s", tag[side]);
        if (rc == 0)
            rc = json_field_real(o, key, true, 1e-30, 1e30, &g->side[side].n, path);
    }
    json_decref(o);
    return rc;
}

static int from_folder(struct adapter *a, const struct fit_in *in)
{
    struct bayes *g = a->own;
    for (int side = 0; side < 2; side++) {
        TRY(load_factor(a, in->o->factors, 'A', side, &g->side[side].a));
        TRY(load_factor(a, in->o->factors, 'B', side, &g->side[side].b));
    }
    return load_prior(g, in->o->factors);
}

/* ---- fitting ---- */

/* Given, or of the folder, or the likeliest. */
static int choose_prior(struct adapter *a, const struct fit_in *in, int side, const char **how)
{
    struct bayes *g = a->own;
    struct bayes_side *b = &g->side[side];
    double square = side_of(in->s, side)->features.square;
    b->n = in->o->pseudo_count > 0 ? in->o->pseudo_count : b->n > 0 ? b->n : 1;
    *how = in->o->prior > 0 ? "given" : b->prior > 0 ? "of the folder" : "largest evidence";
    if (in->o->prior > 0)
        b->prior = in->o->prior;
    if (b->prior > 0)
        return open_side(a, side);
    if (!(square > 0))
        FAIL(ERR_DATA,
             "set \"%s\": set.json does not tell the sum of squares of the %s side's last weights "
             "(features.%s.square), by which the prior is found; give --prior",
             in->s->path, side_word[side], side_word[side]);
    b->prior = 1; /* until it is known */
    TRY(open_side(a, side));
    b->prior = posterior_best_prior(&b->post, b->n, square);
    posterior_fill(&b->post, b->n, b->prior, g->exact);
    return 0;
}

static int fit(struct adapter *a, const struct fit_in *in, struct adapt_result *out)
{
    struct bayes *g = a->own;
    int64_t batches = 0;
    const char *how;
    TRY(in->o->factors ? from_folder(a, in) : from_set(a, in, &batches));
    for (int side = 0; side < 2; side++) {
        const struct bayes_side *b = &g->side[side];
        TRY(choose_prior(a, in, side, &how));
        str_add(in->log,
                "{\"side\": \"%s\", \"rows\": %" PRId64 ", \"batches\": %" PRId64 ", \"n\": %.9g, \"prior\": %.9g, "
                "\"prior_from\": \"%s\"}\n",
                side_word[side], b->rows, batches, b->n, b->prior, how);
        log_info("%s side: prior precision %.6g (%s)", side_word[side], b->prior, how);
    }
    out->steps = batches;
    return in->log->failed ? ERR_MEMORY : 0;
}

/* ---- rows ---- */

struct ask {
    double *phi, *u, *length, *var; /* [BLOCK,F] [BLOCK,E] [BLOCK] [BLOCK,E] */
};

static int ask_open(struct ask *w, const struct adapter *a, int side)
{
    size_t f = (size_t)((const struct bayes *)a->own)->side[side].f, e = (size_t)a->d.width;
    w->phi = mem_calloc(BLOCK, (f + 2 * e + 1) * sizeof(double));
    if (!w->phi)
        return ERR_MEMORY;
    w->u = w->phi + BLOCK * f;
    w->var = w->u + BLOCK * e;
    w->length = w->var + BLOCK * e;
    return 0;
}

/* Variances of z / |z|, the length taken as fixed. */
static int ask(struct ask *w, const struct adapter *a, const struct set *s, int side, int64_t row, int64_t n)
{
    const struct bayes_side *b = &((const struct bayes *)a->own)->side[side];
    int64_t e = a->d.width;
    for (int64_t i = 0; i < n; i++)
        TRY(take_row(s, side, row + i, w->phi + i * b->f, w->u + i * e, w->length + i));
    TRY(posterior_variance(&b->post, n, w->phi, w->var));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < e; j++)
            w->var[i * e + j] /= w->length[i] * w->length[i];
    return 0;
}

static void put(const struct adapter *a, int side, const struct ask *w, int64_t row, int64_t n, double *scalar,
                const struct predict_more *more)
{
    int64_t e = a->d.width;
    double s = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale, unit = s * s * a->d.unit;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, logs = 0;
        for (int64_t j = 0; j < e; j++) {
            int64_t at = (row + i) * e + j;
            double v = w->var[i * e + j];
            sum += v * unit / (double)e;
            logs += log(fmax(v * unit, 1e-300)) / (double)e;
            if (more->mean)
                more->mean[at] = (float)w->u[i * e + j];
            if (more->scale)
                more->scale[at] = (float)sqrt(2 * v);
            if (more->shape)
                more->shape[at] = 2;
        }
        scalar[row + i] = sum;
        if (more->aleatoric)
            more->aleatoric[row + i] = 0;
        if (more->epistemic)
            more->epistemic[row + i] = sum;
        if (more->log_variance)
            more->log_variance[row + i] = logs;
        if (more->fidelity)
            more->fidelity[row + i] = 1;
    }
}

static int predict(struct adapter *a, const struct set *s, int side, const struct predict_opt *o UNUSED, double *scalar,
                   const struct predict_more *more)
{
    struct ask w = {0};
    int64_t n = side_of(s, side)->n;
    TRY(check_set(a, s, side));
    int rc = ask_open(&w, a, side);
    for (int64_t row = 0; row < n && rc == 0; row += BLOCK) {
        int64_t k = n - row < BLOCK ? n - row : BLOCK;
        rc = signal_check();
        if (rc == 0)
            rc = ask(&w, a, s, side, row, k);
        if (rc == 0)
            put(a, side, &w, row, k, scalar, more);
    }
    for (int k = 0; rc == 0 && k < 2; k++)
        rc = npy_check(&side_of(s, side)->features.file[k]);
    mem_free(w.phi);
    return rc;
}

static int look(struct adapter *a, const struct set *s, int side, int64_t row, struct item *it)
{
    struct ask w = {0};
    double scale = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale;
    TRY(check_set(a, s, side));
    int rc = ask_open(&w, a, side);
    if (rc == 0)
        rc = ask(&w, a, s, side, row, 1);
    for (int64_t j = 0; rc == 0 && j < a->d.width; j++) {
        it->mean[j] = (w.u[j] - a->mean[side][j]) * scale;
        it->alpha[j] = sqrt(2 * w.var[j]) * scale;
        it->beta[j] = 2;
    }
    mem_free(w.phi);
    return rc;
}

/* ---- joint draws ---- */

/* Weights number k of a seed, kept: every block of rows asks for all of them again. */
static int weights(struct adapter *a, int side, int64_t k, uint64_t seed, const float **out)
{
    struct bayes_side *b = &((struct bayes *)a->own)->side[side];
    size_t count = (size_t)(b->f * a->d.width);
    if (k >= b->n_drawn || seed != b->seed) {
        int64_t n = k >= b->n_drawn ? 2 * k + 32 : b->n_drawn;
        float **list = arena_calloc(a->arena, (size_t)n, sizeof *list);
        if (!list)
            return ERR_MEMORY;
        if (seed == b->seed && b->n_drawn)
            memcpy(list, b->drawn, (size_t)b->n_drawn * sizeof *list);
        b->drawn = list;
        b->n_drawn = n;
        b->seed = seed;
    }
    *out = b->drawn[k];
    if (*out)
        return 0;
    struct rng r = rng_stream(seed, RNG_SAMPLE, (uint32_t)(UINT32_MAX - 1 - side), (uint64_t)k);
    float *w = arena_alloc(a->arena, count * sizeof *w);
    double *wide = mem_calloc(count, sizeof *wide);
    int rc = w && wide ? posterior_draw(&b->post, &r, wide) : ERR_MEMORY;
    if (rc == 0)
        rc = dtype_convert(DT_F32, w, DT_F64, wide, count);
    mem_free(wide);
    if (rc == 0)
        *out = b->drawn[k] = w;
    return rc;
}

static int draw(struct adapter *a, const struct set *s, int side, const struct draw_at *at, float *out)
{
    const struct bayes_side *b = &((const struct bayes *)a->own)->side[side];
    const float *w;
    int64_t e = a->d.width, f = b->f;
    TRY(check_set(a, s, side));
    TRY(weights(a, side, at->k, at->seed, &w));
    double *phi = mem_calloc((size_t)(f + e), sizeof *phi), *u = phi ? phi + f : NULL, length;
    float *x = mem_calloc((size_t)(at->n * f), sizeof *x);
    int rc = phi && x ? 0 : ERR_MEMORY;
    for (int64_t i = 0; i < at->n && rc == 0; i++) {
        rc = take_row(s, side, at->first + i, phi, u, &length);
        for (int64_t j = 0; rc == 0 && j < f; j++)
            x[i * f + j] = (float)(phi[j] / length);
        for (int64_t j = 0; rc == 0 && j < e; j++)
            out[i * e + j] = (float)u[j];
    }
    if (rc == 0) {
        kernel_gemm_f32(false, true, at->n, e, f, 1, x, f, w, f, 1, out, e);
        rc = space_normalize(out, at->n, e, NULL);
    }
    mem_free(phi);
    mem_free(x);
    return rc;
}

const struct method method_bayesvlm = {
    .name = "bayesvlm",
    .help = "BayesVLM: Laplace's approximation of the last projections; no training, a set with features",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .fixed_mean = true,
    .plan = plan,
    .read = read_json,
    .write = write_json,
    .bind = bind,
    .fit = fit,
    .predict = predict,
    .look = look,
    .draw = draw,
};
