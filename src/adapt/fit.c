/* adapt/fit.c: training an adapter on the saved vectors of a set. Adam without decay (Kingma and Ba 2015), one cosine
 * over all steps (the released code creates that schedule and steps it after the last epoch), every batch of one size,
 * the weights of the best epoch by the validation pairs' loss. An epoch sees every training pair once, but for the last
 * ones that fill no batch. What is unfinished is kept beside the output (fit_state.c), never as an adapter: half
 * fitted, it would look like a whole one. Rejected, at first: keeping anything, while a run took minutes; 100 epochs of
 * 100,000 pairs take half an hour. */
#include "adapt/adapter.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define X(id) "|" #id
static const char method_choices[] =
#include "adapt/method_list.h"
    ;
#undef X
#define F(field) offsetof(struct adapt_opt, field)
const struct opt adapt_options[] = {
    {"method", 0, OPT_CHOICE, F(method), "probvlm", 0, 0, &method_choices[1], NULL, "what is fitted"},
    {"released", 0, OPT_BOOL, F(released), NULL, 0, 0, NULL, NULL,
     "probvlm: as its published code, faults included (docs/methods/probvlm.md)"},
    {"mean", 0, OPT_CHOICE, F(mean), "auto", 0, 0, "auto|free|residual|fixed", NULL,
     "probvlm, asymvlm: the mean is learned, the vector plus something learned, or the vector; auto: residual, fixed"},
    {"cross", 0, OPT_CHOICE, F(cross), "sum", 0, 0, "sum|logsumexp|quadrature", NULL, "probvlm: the cross-modal term"},
    {"lambda-intra", 0, OPT_REAL, F(intra), "1", 0, 1e6, NULL, "X",
     "probvlm: weight of each side's own likelihood; 0: the cross-modal term alone"},
    {"lambda-cross", 0, OPT_REAL, F(lambda), "-1", -1, 1e6, NULL, "X", "its weight; -1: 1, or 1e-4 when released"},
    {"epochs", 0, OPT_INT, F(epochs), "100", 0, 1e6, NULL, "N", "passes over the pairs"},
    {"batch", 0, OPT_INT, F(batch), "64", 1, 1e6, NULL, "N", "pairs in a step"},
    {"lr", 0, OPT_REAL, F(lr), "0", 0, 10, NULL, "X", "learning rate; 0: 1e-4, of grove 0.01"},
    {"hidden", 0, OPT_INT, F(hidden), "256", 1, 65536, NULL, "N", "width of the trunk"},
    {"dropout", 0, OPT_REAL, F(dropout), "0.1", 0, 0.95, NULL, "X", "chance that a hidden unit is left out"},
    {"samples", 0, OPT_INT, F(samples), "7", 1, 64, NULL, "N", "pcme: samples of each item"},
    {"uniformity", 0, OPT_REAL, F(uniformity), "0", 0, 1e6, NULL, "X", "pcme: weight of its samples' uniformity"},
    {"vib", 0, OPT_REAL, F(vib), "1e-4", 0, 1e6, NULL, "X", "pcme, pcmepp: weight of the divergence"},
    {"latent", 0, OPT_INT, F(latent), "5", 1, 64, NULL, "Q", "grove: dimensions of the latent"},
    {"inducing", 0, OPT_INT, F(inducing), "250", 1, 2000, NULL, "M", "grove: inducing inputs, at most one a pair"},
    {"kernel", 0, OPT_CHOICE, F(kernel), "rbf", 0, 0, "rbf|matern52", NULL, "grove: the processes' kernel"},
    {"steps", 0, OPT_INT, F(steps), "2000", 0, 1e9, NULL, "N", "grove: steps at most; 0: all that --epochs says"},
    {"elbo-weight", 0, OPT_REAL, F(elbo_weight), "0.01", 0, 1e9, NULL, "X", "grove: weight of the processes' bounds"},
    {"kl-weight", 0, OPT_REAL, F(kl_weight), "400", 0, 1e9, NULL, "X",
     "grove: weight of the divergence between the two predictions, a mean over dimensions"},
    {"factors", 0, OPT_STR, F(factors), NULL, 0, 0, NULL, "DIR",
     "bayesvlm: ready factors, A_img.npy, B_img.npy, A_txt.npy, B_txt.npy, in place of the set's"},
    {"prior", 0, OPT_REAL, F(prior), "0", 0, 1e30, NULL, "X",
     "bayesvlm: precision of the weights before any data; 0: of --factors, or that of the largest evidence"},
    {"pseudo-count", 0, OPT_REAL, F(pseudo_count), "0", 0, 1e30, NULL, "N",
     "bayesvlm: how often the data count; 0: of --factors, or 1"},
    {"hessian-batch", 0, OPT_INT, F(hessian_batch), "32768", 2, 1e7, NULL, "N", "bayesvlm: pairs in a softmax at most"},
    {"curvature", 0, OPT_CHOICE, F(curvature), "own", 0, 0, "own|both", NULL,
     "bayesvlm: of the loss by which a side looks for the other (as published), or of both directions"},
    {"posterior", 0, OPT_CHOICE, F(posterior), "factored", 0, 0, "factored|exact", NULL,
     "bayesvlm: the product of two inverses (as published), or the inverse of the product"},
    {"perturb", 0, OPT_CHOICE, F(perturb), "auto", 0, 0, "auto|inputs|vectors", NULL,
     "tta: what is changed in every pass; auto: pictures and words where a model is named, else vectors"},
    {"model", 0, OPT_STR, F(model), NULL, 0, 0, NULL, "M", "tta: the model that made the vectors"},
    {"passes", 0, OPT_INT, F(tta_passes), "10", 2, 100000, NULL, "N", "tta: passes over each item"},
    {"crop", 0, OPT_REAL, F(crop), "0.5", 0, 1, NULL, "X", "tta: least share of a picture's area that a crop keeps"},
    {"flip", 0, OPT_REAL, F(flip), "0.3", 0, 1, NULL, "X", "tta: chance that a picture is mirrored"},
    {"mask-words", 0, OPT_REAL, F(mask_words), "0.3", 0, 1, NULL, "X", "tta: chance that a word is masked"},
    {"mask-with", 0, OPT_STR, F(mask_with), NULL, 0, 0, NULL, "WORD", "tta: write masked words as this; left out"},
    {"noise", 0, OPT_REAL, F(noise), "1", 0, 1000, NULL, "X",
     "tta of vectors: length of the noise in distances of an item to its nearest ten"},
    {"drop", 0, OPT_REAL, F(drop), "0", 0, 0.95, NULL, "X", "tta of vectors: chance that a dimension is set to 0"},
    {"family", 0, OPT_CHOICE, F(family), "ps", 0, 0, "ps|vmf", NULL, "asymvlm: power spherical or von Mises-Fisher"},
    {"sphere", 0, OPT_CHOICE, F(sphere), "centred", 0, 0, "centred|raw", NULL,
     "asymvlm: directions about the mean of each side, or of the vectors as they are"},
    {"contrast", 0, OPT_CHOICE, F(contrast), "both", 0, 0, "both|texts", NULL,
     "asymvlm: pictures find texts and texts pictures, or the latter alone"},
    {"inclusion", 0, OPT_REAL, F(inclusion), "1", 0, 1e6, NULL, "X",
     "prolip: weight of an item lying in its masked twin"},
    {"inclusion-pair", 0, OPT_REAL, F(inclusion_pair), "0", 0, 1e6, NULL, "X",
     "prolip: weight of a picture lying in its text"},
    {"masked", 0, OPT_STR, F(masked), NULL, 0, 0, NULL, "SET",
     "prolip: the same rows, encoded with parts of the pictures and texts hidden"},
    {"mask-share", 0, OPT_REAL, F(mask_share), "0.5", 0, 1, NULL, "X",
     "prolip without --masked: numbers of a vector that are set to the mean"},
    {"t1", 0, OPT_REAL, F(t1), "1", 0, 1e6, NULL, "X", "released: weight of |mean - vector|"},
    {"t2", 0, OPT_REAL, F(t2), "0.05", 0, 1e6, NULL, "X", "released: weight of the likelihood"},
    {"clip-norm", 0, OPT_REAL, F(clip_norm), "1", 0, 1e9, NULL, "X", "largest norm of the gradient; 0: no clipping"},
    {"validation-share", 0, OPT_REAL, F(validation_share), "0.1", 0, 0.9, NULL, "X",
     "pairs that judge the epochs, drawn at random; those that share an item stay together"},
    {"split-column", 0, OPT_STR, F(split_column), NULL, 0, 0, NULL, "NAME",
     "instead: column of the pictures' table that says train or validation"},
    {"train-rows", 0, OPT_STR, F(train_rows), NULL, 0, 0, NULL, "FILE", "instead: picture rows, one a line"},
    {"validation-rows", 0, OPT_STR, F(validation_rows), NULL, 0, 0, NULL, "FILE",
     "with --train-rows: those that judge"},
    {"from", 0, OPT_STR, F(from), NULL, 0, 0, NULL, "FILE.safetensors",
     "start from these weights, ProbVLM's published names; with --epochs 0 they are taken as they are"},
    {"ensemble", 0, OPT_INT, F(ensemble), "1", 1, 64, NULL, "N",
     "members, each with a seed of its own from --seed on; they disagree where little is known"},
    {"save-every", 0, OPT_REAL, F(save_every), "60", 0, 1e6, NULL, "SECONDS",
     "networks: how often the unfinished work is kept in ADAPTER.partial, to go on from; 0: never"},
    {"seed", 's', OPT_INT, F(seed), "0", 0, 4294967295.0, NULL, "N", "of every random choice"},
    {"split-seed", 0, OPT_INT, F(split_seed), "-1", -1, 4294967295.0, NULL, "N",
     "of the pairs that judge, apart from the rest; -1: --seed"},
    {0},
};
#undef F

/* ---- the loop ---- */

struct fit {
    struct adapter *a;
    const struct set *s;
    const struct adapt_opt *o;
    struct set_split split;
    struct tape *tape;
    struct optimizer adam;
    int64_t batch, *order;
    void *x[2], *best; /* [batch,D] in the engine's numbers; slab of the best weights */
    struct str log;
    struct fit_place at;
    struct fit_state *state;
    double saved; /* when, by the clock */
};

static struct fit_memory memory_of(struct fit *f)
{
    return (struct fit_memory){.params = &f->a->params, .adam = &f->adam, .best = f->best};
}

static int batch_loss(struct fit *f, const struct set_pair *pairs, const int64_t *order, int64_t n, uint32_t pass,
                      bool train, struct tensor **loss)
{
    const struct design *d = &f->a->d;
    struct tensor *x[2], *keep[2] = {NULL, NULL};
    tape_reset(f->tape);
    for (int side = 0; side < 2; side++) {
        const float *rows = side == SIDE_TEXT ? f->s->text.x : f->s->image.x;
        for (int64_t i = 0; i < n; i++) {
            const struct set_pair *p = &pairs[order ? order[i] : i];
            f->a->row[side][i] = side == SIDE_TEXT ? p->text : p->image;
            vectors_put(f->a, side, rows + f->a->row[side][i] * d->width, f->x[side], i);
        }
        x[side] = t_input(f->tape, SHAPE(n, d->width), f->x[side]);
        if (train && d->dropout > 0)
            keep[side] = capsule_mask(f->tape, n, d->hidden, d->dropout, (uint64_t)f->o->seed, pass, side * f->batch);
    }
    struct rng r = rng_stream((uint64_t)f->o->seed, RNG_SAMPLE, train ? pass : UINT32_MAX, 0);
    *loss = d->method->loss(f->a, f->o, x, keep, &r);
    return tape_status(f->tape);
}

static int one_step(struct fit *f, const int64_t *order, int64_t step, int64_t total, double *loss)
{
    const struct engine *e = f->a->engine;
    struct params *p = &f->a->params;
    struct optimizer_opt adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    struct tensor *l;
    TRY(signal_check());
    params_zero_grad(p);
    TRY(batch_loss(f, f->split.train, order, f->batch, (uint32_t)step, true, &l));
    TRY(tape_backward(l));
    *loss = t_value(l);
    double lr = f->o->lr > 0 ? f->o->lr : 1e-4;
    double norm = sqrt(e->sum_squares(e, p->grad, p->n_slab)), limit = f->a->d.released ? 0 : f->o->clip_norm;
    if (!isfinite(*loss) || !isfinite(norm))
        FAIL(ERR_NONFINITE, "step %" PRId64 ": the loss is %g, its gradient's norm %g; take a smaller --lr", step,
             *loss, norm);
    optimizer_step(&f->adam, e, p, &adam, lr * schedule_cosine(step, 0, total, 0),
                   limit > 0 && norm > limit ? limit / norm : 1);
    return 0;
}

/* Mean loss of the validation pairs, without dropout. */
static int judge(struct fit *f, double *loss)
{
    double sum = 0;
    for (int64_t i = 0; i < f->split.n_validation; i += f->batch) {
        int64_t n = f->split.n_validation - i < f->batch ? f->split.n_validation - i : f->batch;
        struct tensor *l;
        TRY(batch_loss(f, f->split.validation + i, NULL, n, 0, false, &l));
        sum += t_value(l) * (double)n;
    }
    *loss = f->split.n_validation ? sum / (double)f->split.n_validation : (double)NAN;
    return 0;
}

static int end_epoch(struct fit *f, int64_t epoch, struct adapt_result *out)
{
    const struct params *p = &f->a->params;
    double loss;
    TRY(judge(f, &loss));
    str_add(&f->log, "{\"epoch\": %" PRId64 ", \"loss\": %.9g", epoch, out->final_loss);
    if (isfinite(loss))
        str_add(&f->log, ", \"validation\": %.9g", loss);
    str_add(&f->log, ", \"steps\": %" PRId64 "}\n", out->steps);
    if (f->log.failed)
        return ERR_MEMORY;
    if (!(loss < f->at.best_loss))
        return 0;
    f->at.best_loss = loss;
    f->at.best_epoch = epoch;
    memcpy(f->best, p->data, (size_t)p->n_slab * dtype_size(p->real));
    return 0;
}

/* Now and then, and when the run is stopped. */
static int keep(struct fit *f, bool stopped)
{
    const struct fit_memory m = memory_of(f);
    char why[1024];
    double now = clock_seconds();
    if (!f->state || (!stopped && now - f->saved < f->o->save_every))
        return 0;
    snprintf(why, sizeof why, "%s", err_text());
    TRY(fit_state_save(f->state, &m, &f->at));
    f->saved = now;
    if (stopped) {
        log_info("the work of %" PRId64 " steps is kept; the same command goes on", f->at.steps);
        err_set(ERR_INTERRUPTED, "%s", why);
    }
    return 0;
}

/* The rest of an epoch. */
static int run_epoch(struct fit *f, int64_t steps, struct adapt_result *out)
{
    struct fit_place *at = &f->at;
    struct rng r = rng_stream((uint64_t)f->o->seed, RNG_SHUFFLE, (uint32_t)at->epoch, 0);
    for (int64_t i = 0; i < f->split.n_train; i++)
        f->order[i] = i;
    rng_shuffle(&r, f->order, f->split.n_train);
    while (at->step < steps) {
        double loss = 0;
        int rc = one_step(f, f->order + at->step * f->batch, at->steps, steps * f->o->epochs, &loss);
        if (rc == ERR_INTERRUPTED && at->steps > 0)
            TRY(keep(f, true));
        TRY(rc);
        at->sum += loss;
        at->step++;
        at->steps++;
        TRY(keep(f, false));
    }
    out->steps = at->steps;
    out->final_loss = at->sum / (double)steps;
    return end_epoch(f, at->epoch, out);
}

static int loop(struct fit *f, struct adapt_result *out)
{
    int64_t steps = f->split.n_train / f->batch;
    struct progress *bar = NULL;
    TRY(progress_open(&bar, "adapt", f->o->epochs, "epochs"));
    progress_skip(bar, f->at.epoch);
    int rc = 0;
    while (f->at.epoch < f->o->epochs && (rc = run_epoch(f, steps, out)) == 0) {
        f->at.epoch++;
        f->at.step = 0;
        f->at.sum = 0;
        progress_note(bar, "loss %.4g", out->final_loss);
        progress_add(bar, 1);
    }
    progress_close(&bar);
    if (rc == 0 && isfinite(f->at.best_loss))
        memcpy(f->a->params.data, f->best, (size_t)f->a->params.n_slab * dtype_size(f->a->params.real));
    out->best_epoch = f->at.best_epoch;
    return rc;
}

/* ---- from a set to a folder ---- */

static int start_from(struct adapter *a, const char *path)
{
    struct st_file *f = NULL;
    char name[2048];
    if (!str_ends(path, ".safetensors"))
        return source_refuse_pickle(path);
    TRY(st_open(&f, path));
    snprintf(name, sizeof name, "%s", path);
    struct weight_files w = {.n = 1, .v = &f, .path = name};
    int rc = params_check(&a->params, &w);
    if (rc == 0)
        rc = params_load(&a->params, &w, false);
    st_close(&f);
    return rc;
}

static int check_options(const struct adapt_opt *o, const struct method *m)
{
    if (o->released && m != &method_probvlm)
        FAIL(ERR_USAGE, "option --released repeats ProbVLM's published code; it has no meaning for --method %s",
             o->method);
    if (o->low && !m->loss)
        FAIL(ERR_USAGE, "option --dtype is bf16: that is for networks, and --method %s is none", o->method);
    if (o->epochs == 0 && !o->from)
        FAIL(ERR_USAGE, "option --epochs is 0: nothing would be learned; that needs --from");
    if (o->hidden > limit_get(LIMIT_WIDTH)) /* what is written must open again */
        FAIL(ERR_USAGE, "option --hidden is %lld, expected at most %lld (limit width)", (long long)o->hidden,
             (long long)limit_get(LIMIT_WIDTH));
    return 0;
}

static int prepare(struct fit *f, const struct engine *e)
{
    const struct adapt_opt *o = f->o;
    const struct fit_in in = {.s = f->s, .o = o, .split = &f->split, .log = &f->log};
    struct design d = {.released = o->released,
                       .width = f->s->width,
                       .hidden = o->hidden,
                       .dropout = o->dropout,
                       .image_scale = 1,
                       .text_scale = 1,
                       .unit = 1};
    const struct set_split_opt parts = {.column = o->split_column,
                                        .train_rows = o->train_rows,
                                        .validation_rows = o->validation_rows,
                                        .share = o->validation_share,
                                        .seed = (uint64_t)(o->split_seed >= 0 ? o->split_seed : o->seed)};
    TRY(method_find(o->method, &d.method));
    const char *usual = d.method->usual_mean ? d.method->usual_mean : "residual";
    TRY(mean_rule_find(strcmp(o->mean, "auto") ? o->mean : usual, &d.mean));
    TRY(check_options(o, d.method));
    if (o->released)
        d.mean = MEAN_FREE;
    else if (d.method->fixed_mean)
        d.mean = MEAN_FIXED;
    TRY(vectors_check(f->s));
    TRY(set_split_make(&f->split, f->s, &parts));
    TRY(adapter_new(&f->a, &d, e));
    f->a->model = arena_strdup(f->a->arena, f->s->model);
    f->a->fingerprint = arena_strdup(f->a->arena, f->s->fingerprint);
    if (!f->a->model || !f->a->fingerprint)
        return ERR_MEMORY;
    TRY(vectors_measure(f->a, f->s, f->split.train, f->split.n_train));
    if (d.method->plan)
        TRY(d.method->plan(f->a, &in));
    TRY(adapter_bind(f->a, NULL));
    if (d.method->init)
        d.method->init(f->a, (uint64_t)o->seed);
    if (o->from)
        TRY_IN(start_from(f->a, o->from), "reading the weights of --from");
    return 0;
}

/* What the loop needs. */
static int prepare_loop(struct fit *f)
{
    const struct adapter *a = f->a;
    size_t real = dtype_size(a->engine->real);
    f->batch = f->o->batch < f->split.n_train ? f->o->batch : f->split.n_train;
    TRY(params_want_grad(&f->a->params));
    TRY(optimizer_open(&f->adam, &a->params));
    TRY(tape_open(&f->tape, a->engine, &(struct tape_opt){.record = true, .low = f->o->low}));
    f->x[0] = mem_calloc((size_t)f->batch, (size_t)a->d.width * real);
    f->x[1] = mem_calloc((size_t)f->batch, (size_t)a->d.width * real);
    f->order = mem_calloc((size_t)f->split.n_train, sizeof *f->order);
    for (int side = 0; side < 2; side++)
        f->a->row[side] = arena_calloc(a->arena, (size_t)f->batch, sizeof **a->row);
    f->best = mem_calloc((size_t)a->params.n_slab, real);
    return f->x[0] && f->x[1] && f->order && f->best && a->row[0] && a->row[1] ? 0 : ERR_MEMORY;
}

static int train(struct fit *f, const char *dir, bool force, struct adapt_result *out)
{
    const struct fit_in in = {.s = f->s, .o = f->o, .split = &f->split, .log = &f->log};
    if (f->a->d.method->fit)
        return f->a->d.method->fit(f->a, &in, out);
    TRY(prepare_loop(f));
    const struct fit_memory m = memory_of(f);
    if (f->o->save_every > 0)
        TRY(fit_state_open(&f->state, dir, force, &in, f->a->engine, &m, &f->at));
    f->saved = clock_seconds();
    TRY(loop(f, out));
    out->validation = isfinite(f->at.best_loss) ? f->at.best_loss : (double)NAN;
    return 0;
}

static int save(const struct fit *f, const char *dir, bool force)
{
    struct atomic_dir d;
    char path[2048];
    TRY(atomic_dir_open(&d, dir, force));
    json_t *options = opt_to_json(adapt_options, f->o);
    int rc = options ? adapter_save(f->a, d.tmp, options) : ERR_MEMORY;
    json_decref(options);
    if (rc == 0)
        rc = path_join(path, sizeof path, d.tmp, "run.jsonl");
    if (rc == 0)
        rc = atomic_put(path, f->log.s ? f->log.s : "", f->log.n);
    if (rc == 0)
        return atomic_dir_commit(&d);
    atomic_dir_abort(&d);
    return rc;
}

/* The first failure is the one that is told. */
static int close_state(struct fit *f, int rc)
{
    char why[1024];
    snprintf(why, sizeof why, "%s", err_text());
    int closed = fit_state_close(&f->state, rc == 0);
    return rc < 0 ? err_set(rc, "%s", why) : closed;
}

int adapt_fit(const struct set *s, const struct adapt_opt *o, const struct engine *e, const char *dir, bool force,
              struct adapt_result *out)
{
    struct fit f = {.s = s, .o = o, .at = {.best_epoch = -1, .best_loss = INFINITY}};
    double began = clock_seconds();
    memset(out, 0, sizeof *out);
    out->final_loss = out->validation = (double)NAN;
    out->best_epoch = -1;
    TRY(path_check_output(dir, force));
    if (o->ensemble > 1)
        return ensemble_fit(s, o, e, dir, force, out);
    int rc = prepare(&f, e);
    if (rc == 0)
        rc = train(&f, dir, force, out);
    if (rc == 0)
        rc = save(&f, dir, force);
    rc = close_state(&f, rc);
    out->n_train = f.split.n_train;
    out->n_validation = f.split.n_validation;
    out->seconds = clock_seconds() - began;
    tape_close(&f.tape);
    optimizer_close(&f.adam);
    adapt_close(&f.a);
    set_split_free(&f.split);
    str_free(&f.log);
    mem_free(f.x[0]);
    mem_free(f.x[1]);
    mem_free(f.order);
    mem_free(f.best);
    return rc;
}
