/* adapt/method_tta.c: test-time data augmentation (Ayhan and Berens 2018): nothing is trained, the adapter holds the
 * settings. Each item is changed a little in several passes, and what changes with it is the uncertainty.
 *
 * Where the set's model is at hand, pictures (crop, mirror) and words (masked by chance) are encoded again
 * (tta_inputs.c), and the uncertainty is the variance of the unit vector over the passes, its mean over the dimensions;
 * strengths as in GroVE's comparison (Venkataramanan et al. 2025): 10 passes, mirror 0.3, words 0.3. Its crop is not
 * stated: ours keeps half the area or more.
 * Where only vectors are there, they are changed: u' = unit(u + s g), g normal with mean square 1/D a number, s the
 * mean distance of an item to its ten nearest of its side times --noise. The variance of u' would be the same for every
 * item, so it is the answers that are looked at. p_m = softmax over the other side's items of u'_m . g_j / tau,
 *   uncertainty = H(mean_m p_m),  aleatoric = mean_m H(p_m),  epistemic = the difference (Jensen and Shannon's
 *   divergence of the passes: how much the answers change).
 * Two sweeps over the other side (normalisers, then entropies), so that no row of probabilities is kept. Rejected: how
 * often the first answers agree, which with ten passes has ten values. */
#include "adapt/tta.h"

#include "kernel/lapack.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { QUERIES = 16, GALLERY = 1024, NEAR = 10, ANCHORS = 512 };

/* ---- settings ---- */

static struct tta *settings(struct adapter *a)
{
    if (!a->own)
        a->own = arena_calloc(a->arena, 1, sizeof(struct tta));
    return a->own;
}

static double root_square(const float *x, int64_t d)
{
    return sqrt(space_dot(x, x, d));
}

/* To unit length; a vector of zeros has no direction and stays. */
static void unit_row(const float *x, int64_t d, float *out)
{
    double size = root_square(x, d);
    for (int64_t j = 0; j < d; j++)
        out[j] = (float)(size > 0 ? (double)x[j] / size : 0);
}

/* Mean distance on the sphere's chords to the nearest NEAR of the same side, over at most ANCHORS rows. */
static int measure_spread(const struct set *s, int side, uint64_t seed, double *out)
{
    const struct set_side *from = side == SIDE_TEXT ? &s->text : &s->image;
    int64_t n = from->n, d = s->width, k = NEAR < n - 1 ? NEAR : n - 1, m = n < ANCHORS ? n : ANCHORS;
    *out = 1;
    if (k < 1)
        return 0;
    int64_t *order = mem_calloc((size_t)n, sizeof *order);
    struct hit *hits = mem_calloc((size_t)k + 1, sizeof *hits);
    float *own = s->unit ? NULL : mem_calloc((size_t)(n * d), sizeof *own);
    const float *x = s->unit ? from->x : own;
    int rc = order && hits && x ? 0 : ERR_MEMORY;
    double sum = 0;
    int64_t taken = 0;
    for (int64_t i = 0; rc == 0 && own && i < n; i++)
        unit_row(from->x + i * d, d, own + i * d);
    struct rng r = rng_stream(seed, RNG_SAMPLE, UINT32_MAX, (uint64_t)side);
    for (int64_t i = 0; rc == 0 && i < n; i++)
        order[i] = i;
    if (rc == 0)
        rng_shuffle(&r, order, n);
    for (int64_t i = 0; rc == 0 && i < m; i++) {
        rc = space_topk(x + order[i] * d, 1, x, n, d, k + 1, hits);
        for (int64_t j = 0; rc == 0 && j <= k; j++)
            if (hits[j].row >= 0 && hits[j].row != order[i]) {
                sum += sqrt(fmax(0, 2 - 2 * space_dot(x + order[i] * d, x + hits[j].row * d, d)));
                taken++;
            }
    }
    if (rc == 0 && taken && sum > 0)
        *out = sum / (double)taken;
    mem_free(order);
    mem_free(hits);
    mem_free(own);
    return rc;
}

static int open_model(struct model **m, const struct adapter *a, const char *path, const struct set *s, bool force)
{
    char print[65];
    TRY(model_open(m, path, a->engine));
    int rc = model_check_space(*m);
    if (rc == 0 && (*m)->embed != s->width)
        rc = err_set(ERR_MISMATCH, "model \"%s\" has vectors of width %" PRId64 ", set \"%s\" of width %" PRId64,
                     (*m)->name, (*m)->embed, s->path, s->width);
    if (rc == 0 && !force && s->fingerprint[0]) {
        rc = model_fingerprint(*m, print);
        if (rc == 0)
            rc = set_check_fingerprint(s, (*m)->name, print);
    }
    if (rc < 0)
        model_close(m);
    return rc;
}

static int plan(struct adapter *a, const struct fit_in *in)
{
    const struct adapt_opt *o = in->o;
    struct tta *t = settings(a);
    struct model *m = NULL;
    if (o->from)
        FAIL(ERR_USAGE, "option --from has no meaning for --method tta: nothing is trained");
    if (!t)
        return ERR_MEMORY;
    *t = (struct tta){.passes = o->tta_passes,
                      .crop = o->crop,
                      .flip = o->flip,
                      .words = o->mask_words,
                      .noise = o->noise,
                      .drop = o->drop,
                      .tau = set_temperature(in->s),
                      .perturb = arena_strdup(a->arena, o->perturb),
                      .with = arena_strdup(a->arena, o->mask_with ? o->mask_with : ""),
                      .model = arena_strdup(a->arena, o->model ? o->model : "")};
    if (!t->perturb || !t->with || !t->model)
        return ERR_MEMORY;
    if (!strcmp(t->perturb, "inputs") && !*t->model)
        FAIL(ERR_USAGE, "--perturb inputs needs --model, the model that made the vectors");
    if (*t->model) { /* a wrong one is told now and not at the first prediction */
        TRY(open_model(&m, a, t->model, in->s, false));
        model_close(&m);
    }
    for (int side = 0; side < 2; side++)
        TRY(measure_spread(in->s, side, (uint64_t)o->seed, &t->spread[side]));
    return 0;
}

static int fit(struct adapter *a UNUSED, const struct fit_in *in, struct adapt_result *out)
{
    str_add(in->log, "{\"trained\": false}\n");
    out->steps = 0;
    return in->log->failed ? ERR_MEMORY : 0;
}

static int write(const struct adapter *a, json_t *o)
{
    const struct tta *t = a->own;
    json_t *v = json_pack("{s:I, s:f, s:f, s:f, s:s, s:f, s:f, s:[f, f], s:f, s:s, s:s}", "passes",
                          (json_int_t)t->passes, "crop", t->crop, "flip", t->flip, "words", t->words, "with", t->with,
                          "noise", t->noise, "drop", t->drop, "spread", t->spread[0], t->spread[1], "temperature",
                          t->tau, "perturb", t->perturb, "encoder", t->model);
    if (!v || json_object_set_new(o, "tta", v) < 0)
        FAIL(ERR_MEMORY, "no memory for the settings, or a name in them is not UTF-8");
    return 0;
}

static int read_spread(const json_t *v, struct tta *t, const char *where)
{
    const json_t *list = json_object_get(v, "spread");
    for (int side = 0; side < 2; side++) {
        const json_t *x = json_array_get(list, (size_t)side);
        t->spread[side] = json_number_value(x);
        if (!json_is_number(x) || !(t->spread[side] > 0 && t->spread[side] <= 2))
            FAIL(ERR_DATA, "%s: tta: spread: expected two numbers above 0 and up to 2", where);
    }
    return 0;
}

static int read(struct adapter *a, const json_t *o, const char *where)
{
    const json_t *v = json_object_get(o, "tta");
    struct tta *t = settings(a);
    const char *perturb = "auto", *with = "", *model = "";
    if (!t)
        return ERR_MEMORY;
    if (!json_is_object(v))
        FAIL(ERR_DATA, "%s: tta: expected an object", where);
    TRY(json_field_int(v, "passes", true, 2, 100000, &t->passes, where));
    TRY(json_field_real(v, "crop", true, 0, 1, &t->crop, where));
    TRY(json_field_real(v, "flip", true, 0, 1, &t->flip, where));
    TRY(json_field_real(v, "words", true, 0, 1, &t->words, where));
    TRY(json_field_real(v, "noise", true, 0, 1000, &t->noise, where));
    TRY(json_field_real(v, "drop", true, 0, 0.95, &t->drop, where));
    TRY(json_field_real(v, "temperature", true, 1e-6, 1e6, &t->tau, where));
    TRY(json_field_str(v, "with", true, &with, where));
    TRY(json_field_str(v, "encoder", true, &model, where));
    TRY(json_field_str(v, "perturb", true, &perturb, where));
    if (strcmp(perturb, "auto") && strcmp(perturb, "inputs") && strcmp(perturb, "vectors"))
        FAIL(ERR_DATA, "%s: tta: perturb is \"%.40s\", expected auto, inputs or vectors", where, perturb);
    t->perturb = arena_strdup(a->arena, perturb);
    t->with = arena_strdup(a->arena, with);
    t->model = arena_strdup(a->arena, model);
    if (!t->perturb || !t->with || !t->model)
        return ERR_MEMORY;
    return read_spread(v, t, where);
}

/* ---- vectors ---- */

static void perturb(const struct adapter *a, const struct set *s, int side, int64_t row, int64_t pass, uint64_t seed,
                    float *out)
{
    const struct tta *t = a->own;
    int64_t d = a->d.width;
    const float *x = (side == SIDE_TEXT ? s->text.x : s->image.x) + row * d;
    double size = root_square(x, d), sd = t->noise * t->spread[side] / sqrt((double)d);
    struct rng r = rng_stream(seed, RNG_SAMPLE, (uint32_t)(2 * pass + side), (uint64_t)row);
    for (int64_t j = 0; j < d; j++) {
        double u = (size > 0 ? (double)x[j] / size : 0) + sd * rng_normal(&r);
        out[j] = (float)(t->drop > 0 && rng_uniform(&r) < t->drop ? 0 : u);
    }
    unit_row(out, d, out);
}

struct answers {
    const struct adapter *a;
    const struct set *s;
    int side;
    int64_t passes, n_gallery;
    const float *gallery;
    float *query, *block, *score;  /* [QUERIES * passes, D], [GALLERY, D], [QUERIES * passes, GALLERY] */
    double *top, *sum, *sum_score; /* [QUERIES * passes] */
    double *mean;                  /* [QUERIES] entropy of the mean */
};

static int open_answers(struct answers *w)
{
    int64_t d = w->a->d.width;
    size_t rows = (size_t)(QUERIES * w->passes);
    const struct set_side *other = w->side == SIDE_TEXT ? &w->s->image : &w->s->text;
    w->gallery = other->x;
    w->n_gallery = other->n;
    if (other->n == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %s, so there are no answers that could change; give --model", w->s->path,
             w->side == SIDE_TEXT ? "pictures" : "texts");
    w->query = mem_calloc(rows, (size_t)d * sizeof(float));
    w->block = mem_calloc(GALLERY, (size_t)d * sizeof(float));
    w->score = mem_calloc(rows, GALLERY * sizeof(float));
    w->top = mem_calloc(rows, 3 * sizeof(double));
    w->mean = mem_calloc(QUERIES, sizeof(double));
    if (!w->query || !w->block || !w->score || !w->top || !w->mean)
        return ERR_MEMORY;
    w->sum = w->top + rows;
    w->sum_score = w->sum + rows;
    return 0;
}

static void close_answers(struct answers *w)
{
    mem_free(w->query);
    mem_free(w->block);
    mem_free(w->score);
    mem_free(w->top);
    mem_free(w->mean);
}

/* Logits of all queries with gallery rows j0 .. j0+n; always products of one size. */
static void score_block(struct answers *w, int64_t j0, int64_t n)
{
    int64_t d = w->a->d.width, rows = QUERIES * w->passes;
    const struct tta *t = w->a->own;
    memset(w->block, 0, (size_t)(GALLERY * d) * sizeof *w->block);
    for (int64_t j = 0; j < n; j++)
        unit_row(w->gallery + (j0 + j) * d, d, w->block + j * d);
    kernel_gemm_f32(false, true, rows, GALLERY, d, (float)(1 / t->tau), w->query, d, w->block, d, 0, w->score, GALLERY);
}

/* Running maximum, sum of exp(s - top) and of s exp(s - top). */
static void add_block(struct answers *w, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *s = w->score + i * GALLERY;
        double top = w->top[i];
        for (int64_t j = 0; j < n; j++)
            top = fmax(top, (double)s[j]);
        double shrink = w->top[i] > -(double)INFINITY ? exp(w->top[i] - top) : 0;
        w->sum[i] *= shrink;
        w->sum_score[i] *= shrink;
        for (int64_t j = 0; j < n; j++) {
            double e = exp((double)s[j] - top);
            w->sum[i] += e;
            w->sum_score[i] += e * (double)s[j];
        }
        w->top[i] = top;
    }
}

static void add_mean(struct answers *w, int64_t n_queries, int64_t n)
{
    for (int64_t q = 0; q < n_queries; q++)
        for (int64_t j = 0; j < n; j++) {
            double p = 0;
            for (int64_t m = 0; m < w->passes; m++) {
                int64_t i = q * w->passes + m;
                p += exp((double)w->score[i * GALLERY + j] - w->top[i]) / w->sum[i];
            }
            p /= (double)w->passes;
            w->mean[q] -= p > 0 ? p * log(p) : 0;
        }
}

static void put_answers(const struct answers *w, int64_t row, int64_t n, const struct tta_out *out)
{
    const struct predict_more *more = out->more;
    int64_t d = w->a->d.width;
    const struct tta *t = w->a->own;
    for (int64_t q = 0; q < n; q++) {
        double each = 0, near = 0;
        const float *x = (w->side == SIDE_TEXT ? w->s->text.x : w->s->image.x) + (row + q) * d;
        double size = root_square(x, d);
        for (int64_t m = 0; m < w->passes; m++) {
            int64_t i = q * w->passes + m;
            each += (w->top[i] + log(w->sum[i]) - w->sum_score[i] / w->sum[i]) / (double)w->passes;
            near += size > 0 ? space_dot(w->query + i * d, x, d) / size / (double)w->passes : 0;
        }
        out->scalar[row + q] = w->mean[q];
        if (!more)
            continue;
        if (more->aleatoric)
            more->aleatoric[row + q] = fmin(each, w->mean[q]); /* never above, but for rounding */
        if (more->epistemic)
            more->epistemic[row + q] = fmax(0, w->mean[q] - each);
        if (more->log_variance)
            more->log_variance[row + q] = log(fmax(w->mean[q], 1e-300));
        if (more->fidelity)
            more->fidelity[row + q] = near;
        for (int64_t j = 0; j < d; j++) {
            if (more->mean)
                more->mean[(row + q) * d + j] = (float)(size > 0 ? (double)x[j] / size : 0);
            if (more->scale)
                more->scale[(row + q) * d + j] = (float)(t->noise * t->spread[w->side] * sqrt(2 / (double)d));
            if (more->shape)
                more->shape[(row + q) * d + j] = 2;
        }
    }
}

static int vectors(const struct adapter *a, const struct set *s, int side, const struct predict_opt *o,
                   const struct tta_out *out)
{
    struct answers w = {.a = a, .s = s, .side = side, .passes = out->passes};
    int64_t n = side == SIDE_TEXT ? s->text.n : s->image.n, d = a->d.width;
    int rc = open_answers(&w);
    for (int64_t row = 0; rc == 0 && row < n; row += QUERIES) {
        int64_t some = n - row < QUERIES ? n - row : QUERIES, rows = some * w.passes;
        for (int64_t i = 0; i < rows; i++) {
            perturb(a, s, side, row + i / w.passes, i % w.passes, o->seed, w.query + i * d);
            w.top[i] = -(double)INFINITY;
            w.sum[i] = w.sum_score[i] = 0;
        }
        for (int64_t q = 0; q < some; q++)
            w.mean[q] = 0;
        for (int sweep = 0; sweep < 2 && rc == 0; sweep++)
            for (int64_t j = 0; j < w.n_gallery && rc == 0; j += GALLERY) {
                int64_t k = w.n_gallery - j < GALLERY ? w.n_gallery - j : GALLERY;
                rc = signal_check();
                if (sweep == 0 || w.n_gallery > GALLERY)
                    score_block(&w, j, k);
                if (sweep == 0)
                    add_block(&w, rows, k);
                else
                    add_mean(&w, some, k);
            }
        if (rc == 0)
            put_answers(&w, row, some, out);
    }
    close_answers(&w);
    return rc;
}

/* ---- which of the two ---- */

/* *m stays NULL where vectors are perturbed. */
static int choose(const struct adapter *a, const struct set *s, int side, const struct predict_opt *o, struct model **m)
{
    const struct tta *t = a->own;
    const char *path = o->model ? o->model : t->model, *what = side == SIDE_TEXT ? "texts" : "pictures";
    bool must = !strcmp(t->perturb, "inputs");
    if (!strcmp(t->perturb, "vectors") && !o->model)
        return 0;
    if (!*path && must)
        FAIL(ERR_USAGE, "the adapter perturbs inputs: --model says which model encodes them");
    if (!*path)
        return 0;
    if (!tta_has_inputs(s, side, o)) {
        if (must)
            FAIL(ERR_DATA, "set \"%s\" does not say where its %s are, so they cannot be perturbed", s->path, what);
        log_warn("set \"%s\" does not say where its %s are: their vectors are perturbed", s->path, what);
        return 0;
    }
    TRY_IN(open_model(m, a, path, s, o->force), "opening the model that encodes perturbed %s", what);
    return 0;
}

static int predict(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *scalar,
                   const struct predict_more *more)
{
    struct tta *t = a->own;
    struct model *m = NULL;
    const struct tta_out out = {.passes = o->passes > 0 ? o->passes : t->passes, .scalar = scalar, .more = more};
    if (out.passes < 2)
        FAIL(ERR_USAGE, "1 pass: nothing can vary; expected 2 or more");
    TRY(adapter_check_set(a, s, side, o->force));
    TRY(vectors_check(s));
    TRY(choose(a, s, side, o, &m));
    t->said[side] = m ? side == SIDE_TEXT ? "words masked and encoded again" : "pictures cropped and encoded again"
                      : "vectors perturbed: entropy of the answers";
    log_info("tta, %s: %s, %" PRId64 " passes", side == SIDE_TEXT ? "texts" : "pictures", t->said[side], out.passes);
    int rc = m ? tta_inputs(a, m, s, side, o, &out) : vectors(a, s, side, o, &out);
    model_close(&m);
    return rc;
}

/* Draws and likelihoods: of the perturbed vectors, before they are brought to unit length. */
static int look(struct adapter *a, const struct set *s, int side, int64_t row, struct item *it)
{
    const struct tta *t = a->own;
    int64_t d = a->d.width;
    const float *x = (side == SIDE_TEXT ? s->text.x : s->image.x) + row * d;
    double size = root_square(x, d), scale = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale;
    double alpha = fmax(t->noise, 1e-6) * t->spread[side] * sqrt(2 / (double)d) * scale;
    for (int64_t j = 0; j < d; j++) {
        it->mean[j] = ((size > 0 ? (double)x[j] / size : 0) - a->mean[side][j]) * scale;
        it->alpha[j] = alpha;
        it->beta[j] = 2;
    }
    return 0;
}

const char *adapt_said(const struct adapter *a, int side)
{
    return strcmp(a->d.method->name, "tta") || !a->own ? NULL : ((const struct tta *)a->own)->said[side];
}

const struct method method_tta = {
    .name = "tta",
    .help = "test-time augmentation: perturbed inputs or vectors, nothing trained",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .fixed_mean = true,
    .plan = plan,
    .read = read,
    .write = write,
    .fit = fit,
    .predict = predict,
    .look = look,
};
