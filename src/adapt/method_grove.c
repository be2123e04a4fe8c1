/* adapt/method_grove.c: GroVE (Venkataramanan et al. 2025): one latent point a training pair, and from it two sparse
 * Gaussian processes, to the picture's vector and to the text's. gp.c has the mathematics.
 *
 *   minimised: elbo_weight (-ELBO of both processes - log N(latents; 0, I)) / pairs
 *              + kl_weight 1/2 (KL both ways between the two predictions), a mean over pairs and dimensions
 *   an item's latent: 20 steps of Adam, rate 0.1, from the inducing input that explains its vector best
 *   its uncertainty: the process's variance there (epistemic) plus the noise (aleatoric), the same for every dimension
 *
 * The released code sums the divergence over the D dimensions of unit vectors, whose squares are 1/D on average; here
 * numbers have mean square 1, so a mean keeps its weight (400) what it was. A sum outweighs the bound so far that the
 * best both processes can do is to say the same of everything (docs/methods/probvlm.md).
 *
 * Unlike the released code, which starts latents at random and moves them by 1e-5 a step: they start at the principal
 * axes of the pairs' mean vectors, scaled to variance 1, have a prior, and the variational distributions start at their
 * best for these latents in closed form, so that a few hundred steps do. Gradients are cleared between steps, and an
 * item's latent begins at a point that depends on its vector and not on chance or on its neighbours. Rejected: training
 * latents in the folder (prediction does not need them); one variance a dimension (gp.c). */
#include "adapt/adapter.h"
#include "adapt/gp.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 128, SAMPLE = 1024, JUDGED = 1024, ROUNDS = 10, INFER_STEPS = 20 };
static const double INFER_LR = 0.1;

/* One side's parameters as the folder has them. */
struct stored {
    struct tensor z, length, signal, noise, constant, mean, factor;
};
struct grove {
    struct stored side[2];
    enum gp_kernel kernel;
    int64_t m, q;
};
#define AT(field) offsetof(struct stored, field)
static const struct param_row rows[] = {
    {"inducing", AT(z), "MQ", INIT_ZERO},
    {"log_length", AT(length), "Q", INIT_ZERO},
    {"log_signal", AT(signal), "", INIT_ZERO},
    {"log_noise", AT(noise), "", INIT_ZERO},
    {"constant", AT(constant), "D", INIT_ZERO},
    {"variational_mean", AT(mean), "MD", INIT_ZERO},
    {"variational_factor", AT(factor), "MM", INIT_ZERO},
};
#undef AT
static const char *const prefixes[2] = {"image.", "text."};

/* ---- the folder ---- */

static int own(struct adapter *a, struct grove **g)
{
    *g = a->own = arena_calloc(a->arena, 1, sizeof **g);
    return *g ? 0 : ERR_MEMORY;
}

static int find_kernel(const char *name, enum gp_kernel *out)
{
    for (int i = 0; i < N_GP_KERNELS; i++)
        if (!strcmp(name, gp_kernel_names[i])) {
            *out = (enum gp_kernel)i;
            return 0;
        }
    FAIL(ERR_DATA, "kernel \"%.40s\" is unknown, expected rbf or matern52", name);
}

static int plan(struct adapter *a, const struct fit_in *in)
{
    struct grove *g;
    if (in->o->from)
        FAIL(ERR_USAGE, "option --from has no meaning for --method grove: its latents belong to the pairs of a set");
    TRY(own(a, &g));
    g->m = in->o->inducing < in->split->n_train ? in->o->inducing : in->split->n_train;
    g->q = in->o->latent;
    return find_kernel(in->o->kernel, &g->kernel);
}

static int read_json(struct adapter *a, const json_t *o, const char *where)
{
    struct grove *g;
    const char *kernel = NULL;
    TRY(own(a, &g));
    TRY(json_field_int(o, "inducing", true, 1, limit_get(LIMIT_WIDTH), &g->m, where));
    TRY(json_field_int(o, "latent", true, 1, limit_get(LIMIT_WIDTH), &g->q, where));
    TRY(json_field_str(o, "kernel", true, &kernel, where));
    TRY_IN(find_kernel(kernel, &g->kernel), "reading %s", where);
    return 0;
}

static int write_json(const struct adapter *a, json_t *o)
{
    const struct grove *g = a->own;
    int bad = json_object_set_new(o, "inducing", json_integer(g->m)) |
              json_object_set_new(o, "latent", json_integer(g->q)) |
              json_object_set_new(o, "kernel", json_string(gp_kernel_names[g->kernel]));
    if (bad)
        FAIL(ERR_MEMORY, "no memory for adapter.json");
    return 0;
}

static int bind(struct adapter *a)
{
    struct grove *g = a->own;
    const struct param_sizes sizes = {
        .letters = "MQD", .sizes = {g->m, g->q, a->d.width}, .width = a->d.width, .layers = 1};
    for (int side = 0; side < 2; side++)
        TRY(params_bind(&a->params, a->arena, rows, ARRAY_LEN(rows), &g->side[side], prefixes[side], &sizes));
    return 0;
}

/* Between the stored numbers, of the engine's type, and those of gp.c. */
static void move(const struct adapter *a, int side, struct gp *g, bool store)
{
    struct stored *s = &((struct grove *)a->own)->side[side];
    struct tensor *const from[] = {&s->z, &s->length, &s->signal, &s->noise, &s->constant, &s->mean, &s->factor};
    double *const to[] = {g->z, g->length, g->signal, g->noise, g->constant, g->mean, g->factor};
    bool wide = a->engine->real == DT_F64;
    for (size_t k = 0; k < ARRAY_LEN(from); k++)
        for (int64_t i = 0; i < from[k]->n; i++) {
            double *x = (double *)from[k]->data + (wide ? i : 0);
            float *y = (float *)from[k]->data + (wide ? 0 : i);
            if (!store)
                to[k][i] = wide ? *x : (double)*y;
            else if (wide)
                *x = to[k][i];
            else
                *y = (float)to[k][i];
        }
}

static int place(struct gp *g, const struct grove *o, int64_t width, struct arena *memory)
{
    *g = (struct gp){.kernel = o->kernel, .m = o->m, .q = o->q, .d = width};
    double *slab = arena_calloc(memory, (size_t)gp_size(g), sizeof(double));
    if (!slab)
        return ERR_MEMORY;
    gp_place(g, slab);
    return 0;
}

/* A row of a set as the processes see it, [D]; tmp: as long, in the engine's numbers. */
static void put_row(const struct adapter *a, const struct set *s, int side, int64_t row, void *tmp, double *out)
{
    int64_t d = a->d.width;
    vectors_put(a, side, (side == SIDE_TEXT ? s->text.x : s->image.x) + row * d, tmp, 0);
    for (int64_t j = 0; j < d; j++)
        out[j] = a->engine->real == DT_F64 ? ((double *)tmp)[j] : (double)((float *)tmp)[j];
}

/* ---- prediction ---- */

/* One side of an open adapter, ready to be asked. */
struct reader_of_latents {
    struct arena *memory;
    struct gp g;
    struct gp_work w;
    struct gp_infer f;
    double *y, *x, *mean, *variance; /* [BLOCK,D], [BLOCK,Q], [BLOCK,D], [BLOCK] */
    void *tmp;
};

static void close_side(struct reader_of_latents *r)
{
    gp_infer_close(&r->f);
    gp_work_close(&r->w);
    arena_close(&r->memory);
}

static int open_side(struct reader_of_latents *r, const struct adapter *a, int side)
{
    const struct grove *o = a->own;
    size_t d = (size_t)a->d.width;
    memset(r, 0, sizeof *r);
    TRY(arena_open(&r->memory, "grove"));
    int rc = place(&r->g, o, a->d.width, r->memory);
    if (rc == 0) {
        move(a, side, &r->g, false);
        for (int64_t i = 0; i < gp_size(&r->g) && rc == 0; i++)
            if (!isfinite(r->g.slab[i]))
                rc = err_set(ERR_DATA, "the adapter holds a number that is not finite (side %s)", prefixes[side]);
        gp_bound(&r->g);
    }
    if (rc == 0)
        rc = gp_work_open(&r->w, &r->g, BLOCK);
    if (rc == 0)
        rc = gp_factorise(&r->w);
    if (rc == 0)
        rc = gp_infer_open(&r->f, &r->w);
    if (rc == 0) {
        r->y = arena_calloc(r->memory, BLOCK, d * sizeof(double));
        r->mean = arena_calloc(r->memory, BLOCK, d * sizeof(double));
        r->x = arena_calloc(r->memory, BLOCK, (size_t)o->q * sizeof(double));
        r->variance = arena_calloc(r->memory, BLOCK, sizeof(double));
        r->tmp = arena_calloc(r->memory, d, sizeof(double));
        rc = r->y && r->mean && r->x && r->variance && r->tmp ? 0 : ERR_MEMORY;
    }
    if (rc < 0)
        close_side(r);
    return rc;
}

/* y -> x, mean, variance of the noiseless values; b <= BLOCK. Items do not see each other. */
static void ask(struct reader_of_latents *r, int64_t b)
{
    gp_infer(&r->f, r->y, b, INFER_STEPS, INFER_LR, r->x);
    gp_predict(&r->w, r->x, b, r->mean, r->variance);
}

/* Row i of the block into row `row` of the caller's arrays. */
static void put_answer(const struct adapter *a, const struct set *s, int side, const struct reader_of_latents *r,
                       int64_t i, int64_t row, double *scalar, const struct predict_more *more)
{
    int64_t d = a->d.width;
    double scale = side == SIDE_TEXT ? a->d.text_scale : a->d.image_scale, noise = exp(*r->g.noise);
    double total = r->variance[i] + noise, dot = 0, mm = 0, zz = 0;
    const float *z = (side == SIDE_TEXT ? s->text.x : s->image.x) + row * d;
    scalar[row] = total * a->d.unit;
    if (more->aleatoric)
        more->aleatoric[row] = noise * a->d.unit;
    if (more->epistemic)
        more->epistemic[row] = r->variance[i] * a->d.unit;
    if (more->log_variance)
        more->log_variance[row] = log(total * a->d.unit);
    for (int64_t j = 0; j < d; j++) {
        double mean = r->mean[i * d + j] / scale + a->mean[side][j];
        if (more->mean)
            more->mean[row * d + j] = (float)mean;
        if (more->scale)
            more->scale[row * d + j] = (float)(sqrt(2 * total) / scale);
        if (more->shape)
            more->shape[row * d + j] = 2;
        dot += mean * (double)z[j];
        mm += mean * mean;
        zz += (double)z[j] * (double)z[j];
    }
    if (more->fidelity)
        more->fidelity[row] = mm > 0 && zz > 0 ? dot / (sqrt(mm) * sqrt(zz)) : 0;
}

static int predict(struct adapter *a, const struct set *s, int side, const struct predict_opt *o UNUSED, double *scalar,
                   const struct predict_more *more)
{
    struct reader_of_latents r;
    int64_t n = side == SIDE_TEXT ? s->text.n : s->image.n;
    TRY(open_side(&r, a, side));
    int rc = 0;
    for (int64_t row = 0; row < n && rc == 0; row += BLOCK) {
        int64_t b = n - row < BLOCK ? n - row : BLOCK;
        rc = signal_check();
        for (int64_t i = 0; i < b; i++)
            put_row(a, s, side, row + i, r.tmp, r.y + i * a->d.width);
        ask(&r, b);
        for (int64_t i = 0; i < b; i++)
            put_answer(a, s, side, &r, i, row + i, scalar, more);
    }
    close_side(&r);
    return rc;
}

static int look(struct adapter *a, const struct set *s, int side, int64_t row, struct item *it)
{
    struct reader_of_latents r;
    TRY(open_side(&r, a, side));
    put_row(a, s, side, row, r.tmp, r.y);
    ask(&r, 1);
    for (int64_t j = 0; j < a->d.width; j++) {
        it->mean[j] = r.mean[j];
        it->alpha[j] = sqrt(2 * (r.variance[0] + exp(*r.g.noise)));
        it->beta[j] = 2;
    }
    close_side(&r);
    return 0;
}

/* ---- fitting ---- */

struct growth {
    struct adapter *a;
    const struct fit_in *in;
    struct arena *memory;
    struct gp g[2], grad[2];
    struct gp_work w[2];
    struct gp_pair p;
    int64_t n, batch, total, *order, *seen; /* seen [n]: steps of each latent */
    double *x, *x_first, *x_second;         /* latents and their moments [n,Q] */
    double *first[2], *second[2], *best[2]; /* moments of the slabs; the best slabs */
    double *bx, *bdx, *by[2];               /* of a batch */
    void *tmp;
    double best_loss;
};

static double *take(struct growth *f, int64_t a, int64_t b)
{
    return arena_calloc(f->memory, (size_t)a, (size_t)b * sizeof(double));
}

static int allocate(struct growth *f)
{
    const struct grove *o = f->a->own;
    int64_t d = f->a->d.width, b = f->batch, q = o->q;
    bool good = true;
    for (int side = 0; side < 2; side++) {
        TRY(place(&f->g[side], o, d, f->memory));
        TRY(place(&f->grad[side], o, d, f->memory));
        TRY(gp_work_open(&f->w[side], &f->g[side], b));
        int64_t slab = gp_size(&f->g[side]);
        double **const parts[] = {&f->first[side],  &f->second[side],  &f->best[side],       &f->by[side],
                                  &f->p.mean[side], &f->p.dmean[side], &f->p.variance[side], &f->p.dvariance[side]};
        const int64_t sizes[] = {slab, slab, slab, b * d, b * d, b * d, b, b};
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            good = (*parts[i] = take(f, sizes[i], 1)) && good;
        f->p.w[side] = &f->w[side];
        f->p.grad[side] = &f->grad[side];
    }
    double **const parts[] = {&f->x, &f->x_first, &f->x_second, &f->bx, &f->bdx, &f->p.dx_side};
    const int64_t sizes[] = {f->n, f->n, f->n, b, b, b};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        good = (*parts[i] = take(f, sizes[i], q)) && good;
    f->tmp = take(f, d, 1);
    f->order = arena_calloc(f->memory, (size_t)f->n, sizeof *f->order);
    f->seen = arena_calloc(f->memory, (size_t)f->n, sizeof *f->seen);
    f->p.elbo_weight = f->in->o->elbo_weight;
    f->p.kl_weight = f->in->o->kl_weight / (double)d;
    return good && f->tmp && f->order && f->seen ? 0 : ERR_MEMORY;
}

/* The mean of a pair's two vectors, [D]. */
static void joint_row(struct growth *f, int64_t pair, double *out)
{
    const struct set_pair *p = &f->in->split->train[pair];
    int64_t d = f->a->d.width;
    put_row(f->a, f->in->s, SIDE_IMAGE, p->image, f->tmp, f->by[0]);
    put_row(f->a, f->in->s, SIDE_TEXT, p->text, f->tmp, f->by[1]);
    for (int64_t j = 0; j < d; j++)
        out[j] = 0.5 * (f->by[0][j] + f->by[1][j]);
}

/* axes [k,D] of rows j [n,D] about their mean, scaled so that coordinates along them have variance 1; through the Gram
 * matrix, for rows are fewer than dimensions or not many more. Returns how many there are. */
static int axes_of(double *j, int64_t n, int64_t d, int64_t k, double *gram, double *values, double *axes,
                   int64_t *found)
{
    *found = 0;
    kernel_gemm_f64(false, true, n, n, d, 1, j, d, j, d, 0, gram, n);
    TRY(lapack_syevd(n, gram, values));
    for (int64_t i = 0; i < k && i < n; i++) {
        double value = values[n - 1 - i], *u = gram + (n - 1 - i) * n;
        if (value <= 1e-9 * fmax(values[n - 1], (double)n * 1e-9)) /* of rank less than k */
            break;
        int64_t top = 0;
        for (int64_t r = 1; r < n; r++)
            if (fabs(u[r]) > fabs(u[top]))
                top = r;
        double factor = (u[top] < 0 ? -1 : 1) * sqrt((double)n) / value;
        kernel_gemm_f64(false, false, 1, d, n, factor, u, n, j, d, 0, axes + i * d, d);
        ++*found;
    }
    return 0;
}

static int start_latents(struct growth *f)
{
    const struct grove *o = f->a->own;
    int64_t d = f->a->d.width, n = f->n < SAMPLE ? f->n : SAMPLE, found;
    struct arena_mark mark = arena_mark(f->memory);
    double *j = take(f, n, d), *gram = take(f, n, n), *values = take(f, n, 1), *axes = take(f, o->q, d);
    double *mean = take(f, d, 1), *row = take(f, d, 1);
    if (!j || !gram || !values || !axes || !mean || !row)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        joint_row(f, i * f->n / n, j + i * d);
        for (int64_t k = 0; k < d; k++)
            mean[k] += j[i * d + k] / (double)n;
    }
    for (int64_t i = 0; i < n * d; i++)
        j[i] -= mean[i % d];
    TRY(axes_of(j, n, d, o->q, gram, values, axes, &found));
    for (int64_t i = 0; i < f->n; i++) {
        struct rng r = rng_stream((uint64_t)f->in->o->seed, RNG_INIT, 0, (uint64_t)i);
        joint_row(f, i, row);
        for (int64_t l = 0; l < o->q; l++) {
            double x = 0;
            for (int64_t k = 0; k < d && l < found; k++)
                x += axes[l * d + k] * (row[k] - mean[k]);
            f->x[i * o->q + l] = l < found ? x : 0.1 * rng_normal(&r); /* no axis is left: something to grow from */
        }
    }
    arena_rewind(f->memory, mark);
    return 0;
}

/* The n pairs named by order, from `at`: latents and vectors of a batch. */
static void load_batch(struct growth *f, int64_t at, int64_t b)
{
    int64_t q = f->g[0].q, d = f->a->d.width;
    for (int64_t i = 0; i < b; i++) {
        int64_t k = f->order[at + i];
        const struct set_pair *p = &f->in->split->train[k];
        memcpy(f->bx + i * q, f->x + k * q, (size_t)q * sizeof(double));
        put_row(f->a, f->in->s, SIDE_IMAGE, p->image, f->tmp, f->by[0] + i * d);
        put_row(f->a, f->in->s, SIDE_TEXT, p->text, f->tmp, f->by[1] + i * d);
    }
}

static void shuffle(struct growth *f, int64_t epoch)
{
    struct rng r = rng_stream((uint64_t)f->in->o->seed, RNG_SHUFFLE, (uint32_t)epoch, 0);
    for (int64_t i = 0; i < f->n; i++)
        f->order[i] = i;
    rng_shuffle(&r, f->order, f->n);
}

/* Inducing inputs at latents drawn without replacement; half of the spread noise, half signal; then the best
 * variational distributions for that. */
static int start_processes(struct growth *f)
{
    int64_t m = f->g[0].m, q = f->g[0].q, d = f->a->d.width;
    double *aa[2], *ay[2];
    struct arena_mark mark = arena_mark(f->memory);
    shuffle(f, UINT32_MAX);
    for (int side = 0; side < 2; side++) {
        struct gp *g = &f->g[side];
        for (int64_t i = 0; i < m; i++)
            memcpy(g->z + i * q, f->x + f->order[i] * q, (size_t)q * sizeof(double));
        for (int64_t l = 0; l < q; l++)
            g->length[l] = 0.5 * log((double)q);
        *g->signal = *g->noise = log(0.5);
        aa[side] = take(f, m, m);
        ay[side] = take(f, m, d);
        if (!aa[side] || !ay[side])
            return ERR_MEMORY;
        TRY(gp_factorise(&f->w[side]));
    }
    for (int64_t at = 0; at < f->n; at += f->batch) {
        int64_t b = f->n - at < f->batch ? f->n - at : f->batch;
        load_batch(f, at, b);
        for (int side = 0; side < 2; side++)
            gp_gather(&f->w[side], f->bx, f->by[side], b, aa[side], ay[side]);
    }
    for (int side = 0; side < 2; side++)
        TRY(gp_settle(&f->w[side], &f->g[side], aa[side], ay[side]));
    arena_rewind(f->memory, mark);
    return 0;
}

static int one_step(struct growth *f, int64_t at, int64_t step, double *loss)
{
    int64_t q = f->g[0].q;
    double lr = (f->in->o->lr > 0 ? f->in->o->lr : 0.01) * schedule_cosine(step, 0, f->total, 0);
    const double *const y[2] = {f->by[0], f->by[1]};
    TRY(signal_check());
    load_batch(f, at, f->batch);
    for (int side = 0; side < 2; side++)
        TRY(gp_factorise(&f->w[side]));
    *loss = gp_pair_loss(&f->p, f->bx, y, f->batch, f->n, f->bdx);
    if (!isfinite(*loss))
        FAIL(ERR_NONFINITE, "step %" PRId64 ": the loss is %g; take a smaller --lr", step, *loss);
    for (int side = 0; side < 2; side++) {
        gp_adam(f->g[side].slab, f->grad[side].slab, f->first[side], f->second[side], gp_size(&f->g[side]), lr,
                step + 1);
        gp_bound(&f->g[side]);
    }
    for (int64_t i = 0; i < f->batch; i++) {
        int64_t k = f->order[at + i];
        gp_adam(f->x + k * q, f->bdx + i * q, f->x_first + k * q, f->x_second + k * q, q, lr, ++f->seen[k]);
    }
    return 0;
}

/* Negative log-likelihood of the validation pairs, a mean over sides and dimensions, each under its own inferred
 * latent; NAN: there are none. */
static int judge(struct growth *f, double *loss)
{
    int64_t n = f->in->split->n_validation < JUDGED ? f->in->split->n_validation : JUDGED, d = f->a->d.width;
    struct reader_of_latents r;
    double sum = 0;
    *loss = (double)NAN;
    for (int side = 0; side < 2 && n > 0; side++) {
        move(f->a, side, &f->g[side], true);
        TRY(open_side(&r, f->a, side));
        for (int64_t at = 0; at < n; at += BLOCK) {
            int64_t b = n - at < BLOCK ? n - at : BLOCK;
            for (int64_t i = 0; i < b; i++) {
                const struct set_pair *p = &f->in->split->validation[at + i];
                put_row(f->a, f->in->s, side, side == SIDE_TEXT ? p->text : p->image, r.tmp, r.y + i * d);
            }
            ask(&r, b);
            for (int64_t i = 0; i < b; i++) {
                double v = r.variance[i] + exp(*r.g.noise), square = 0;
                for (int64_t k = i * d; k < (i + 1) * d; k++)
                    square += (r.y[k] - r.mean[k]) * (r.y[k] - r.mean[k]);
                sum += 0.5 * (log(2 * acos(-1) * v) + square / v / (double)d);
            }
        }
        close_side(&r);
    }
    if (n > 0)
        *loss = sum / (2 * (double)n);
    return 0;
}

static int end_round(struct growth *f, int64_t epoch, struct adapt_result *out)
{
    double loss;
    TRY(judge(f, &loss));
    str_add(f->in->log, "{\"epoch\": %" PRId64 ", \"loss\": %.9g", epoch, out->final_loss);
    if (isfinite(loss))
        str_add(f->in->log, ", \"validation\": %.9g", loss);
    str_add(f->in->log, ", \"steps\": %" PRId64 "}\n", out->steps);
    if (f->in->log->failed)
        return ERR_MEMORY;
    if (isfinite(loss) && !(loss < f->best_loss)) /* without judges the last counts */
        return 0;
    if (isfinite(loss)) {
        f->best_loss = out->validation = loss;
        out->best_epoch = epoch;
    }
    for (int side = 0; side < 2; side++)
        memcpy(f->best[side], f->g[side].slab, (size_t)gp_size(&f->g[side]) * sizeof(double));
    return 0;
}

static int loop(struct growth *f, struct adapt_result *out)
{
    int64_t per_epoch = f->n / f->batch, since = 0;
    struct progress *bar = NULL;
    double sum = 0;
    int rc = progress_open(&bar, "adapt", f->total, "steps");
    for (int64_t step = 0; step < f->total && rc == 0; step++) {
        double loss = 0;
        if (step % per_epoch == 0)
            shuffle(f, step / per_epoch);
        rc = one_step(f, step % per_epoch * f->batch, step, &loss);
        sum += loss;
        since++;
        out->steps += rc == 0;
        progress_add(bar, 1);
        if (rc == 0 && (step + 1) * ROUNDS / f->total > step * ROUNDS / f->total) {
            out->final_loss = sum / (double)since;
            sum = 0;
            since = 0;
            rc = end_round(f, step / per_epoch, out);
            progress_note(bar, "loss %.4g", out->final_loss);
        }
    }
    progress_close(&bar);
    return rc;
}

static int fit(struct adapter *a, const struct fit_in *in, struct adapt_result *out)
{
    struct growth f = {.a = a, .in = in, .n = in->split->n_train, .best_loss = INFINITY};
    f.batch = in->o->batch < f.n ? in->o->batch : f.n;
    f.total = f.n / f.batch * in->o->epochs;
    if (in->o->steps > 0 && in->o->steps < f.total)
        f.total = in->o->steps;
    out->validation = (double)NAN;
    TRY(arena_open(&f.memory, "grove"));
    int rc = allocate(&f);
    if (rc == 0)
        rc = start_latents(&f);
    if (rc == 0)
        rc = start_processes(&f);
    if (rc == 0)
        rc = loop(&f, out);
    for (int side = 0; side < 2; side++) {
        if (rc == 0) {
            memcpy(f.g[side].slab, f.best[side], (size_t)gp_size(&f.g[side]) * sizeof(double));
            move(a, side, &f.g[side], true);
        }
        gp_work_close(&f.w[side]);
    }
    arena_close(&f.memory);
    return rc;
}

const struct method method_grove = {
    .name = "grove",
    .help = "two Gaussian processes from one latent (Venkataramanan et al. 2025)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .plan = plan,
    .read = read_json,
    .write = write_json,
    .bind = bind,
    .fit = fit,
    .predict = predict,
    .look = look,
};
