/* train/train.c: the loop. A batch is a function of (seed, epoch, step) and the schedule one of the step, so the state
 * of a run is its slabs and a cursor; killing the process at any instant loses at most the steps since the last
 * checkpoint, and the resumed run gives the same bits. Polyak averaging of the weights (Polyak and Juditsky 1992) is
 * what small models gain most from for free; validation and the saved model use the average. */
#include "train/train.h"

#include <math.h>
#include <string.h>

#define F(field) offsetof(struct train_opt, field)
const struct opt train_options[] = {
    {"batch", 'b', OPT_INT, F(batch), "128", 2, 1 << 20, NULL, "N",
     "pairs in a batch (the loss sees all of them at once)"},
    {"chunk", 0, OPT_INT, F(chunk), "0", 0, 1 << 20, NULL, "N",
     "pairs encoded at a time (gradient cache); 0: the whole batch"},
    {"epochs", 'e', OPT_INT, F(epochs), "10", 1, 1000000, NULL, "N", "passes over the data"},
    {"max-steps", 0, OPT_INT, F(max_steps), "0", 0, 1e12, NULL, "N",
     "stop after so many steps (the schedule still spans all epochs); 0: no limit"},
    {"lr", 0, OPT_REAL, F(lr), "1e-5", 0, 1, NULL, "X", "learning rate at the end of the warm-up"},
    {"final-lr", 0, OPT_REAL, F(final_lr), "0", 0, 1, NULL, "X",
     "share of the learning rate left at the end of the cosine"},
    {"warmup", 0, OPT_INT, F(warmup), "0", 0, 1e9, NULL, "N", "steps of linear warm-up"},
    {"weight-decay", 0, OPT_REAL, F(weight_decay), "0.2", 0, 10, NULL, "X",
     "decoupled decay of weights with two or more dimensions"},
    {"beta1", 0, OPT_REAL, F(beta1), "0.9", 0, 0.999999, NULL, "X", "AdamW: decay of the first moment"},
    {"beta2", 0, OPT_REAL, F(beta2), "0.98", 0, 0.999999, NULL, "X", "AdamW: decay of the second moment"},
    {"eps", 0, OPT_REAL, F(eps), "1e-6", 1e-12, 1, NULL, "X", "AdamW: added to the root of the second moment"},
    {"clip-norm", 0, OPT_REAL, F(clip_norm), "1", 0, 1e6, NULL, "X", "largest norm of the gradient; 0: no clipping"},
    {"average", 0, OPT_REAL, F(average), "0", 0, 0.999999, NULL, "X",
     "decay of the running average of the weights; 0: none"},
    {"augment", 0, OPT_BOOL, F(augment), NULL, 0, 0, NULL, NULL, "train on random crops, colours and backgrounds"},
    {"crop-min", 0, OPT_REAL, F(crop_min), "0.5", 0.01, 1, NULL, "X",
     "augment: smallest share of the picture's area in a crop"},
    {"flip", 0, OPT_REAL, F(flip), "0.5", 0, 1, NULL, "X", "augment: chance of mirroring"},
    {"jitter", 0, OPT_REAL, F(jitter), "0.3", 0, 1, NULL, "X",
     "augment: strength of brightness, contrast and saturation changes"},
    {"background", 0, OPT_REAL, F(background), "0.5", 0, 1, NULL, "X",
     "augment: chance of a random background, where the foreground is known"},
    {"rotate", 0, OPT_REAL, F(rotate), "5", 0, 180, NULL, "X", "augment: largest rotation in degrees"},
    {"name-share", 0, OPT_REAL, F(name_share), "0.5", 0, 1, NULL, "X",
     "chance of drawing a picture's name rather than any of its captions"},
    {"seed", 's', OPT_INT, F(seed), "0", 0, 4294967295.0, NULL, "N", "of every random choice"},
    {"checkpoint-every", 0, OPT_INT, F(checkpoint_every), "500", 1, 1e9, NULL, "N", "steps between checkpoints"},
    {"loader-threads", 0, OPT_INT, F(threads), "1", 1, 64, NULL, "N", "threads that prepare batches"},
    {"keep", 0, OPT_CHOICE, F(keep), "best", 0, 0, "best|last", NULL,
     "which weights RUN/model holds: the best by validation, or the last"},
    {"save-dtype", 0, OPT_CHOICE, F(save_dtype), "f32", 0, 0, "f32|f16|bf16", NULL,
     "number format of the saved weights"},
    {0},
};
#undef F

enum { STRIKES = 3, LOG_EVERY = 10 };

struct run {
    const struct train_job *job;
    struct model *m;
    struct loader *loader;
    struct step *step;
    struct optimizer optimizer;
    float *average;
    struct cursor at;
    struct progress *progress;
    int64_t steps_per_epoch, total;
    int strikes;
    double loss, grad_norm, lr, started;
    int64_t done_at_start, n_left_out;
};

static enum dtype save_dtype(const char *name)
{
    return !strcmp(name, "f16") ? DT_F16 : !strcmp(name, "bf16") ? DT_BF16 : DT_F32;
}

static double grad_norm(const struct run *r)
{
    const struct params *p = &r->m->params;
    return sqrt(r->m->engine->sum_squares(r->m->engine, p->grad, p->n_slab));
}

static void clamp_logit_scale(struct model *m)
{
    if (!m->logit_scale)
        return;
    const double top = log(100.0);
    if (m->params.real == DT_F64) {
        double *s = m->logit_scale->data;
        *s = *s < 0 ? 0 : *s > top ? top : *s;
    } else {
        float *s = m->logit_scale->data;
        *s = *s < 0 ? 0 : (double)*s > top ? (float)top : *s;
    }
}

static void update_average(struct run *r)
{
    if (!r->average)
        return;
    /* Early steps weigh more, so that the average forgets the initial weights. */
    double ramp = (1.0 + (double)r->at.done) / (10.0 + (double)r->at.done);
    double keep = r->job->opt->average < ramp ? r->job->opt->average : ramp;
    const struct engine *e = r->m->engine;
    e->scale_add(e, keep, r->average, 0.0, r->average, r->m->params.n_slab);
    e->axpy(e, 1.0 - keep, r->m->params.data, r->average, r->m->params.n_slab);
}

/* Trained and averaged weights change places (the tensors point into the slab, so the numbers move). */
static void swap_average(struct run *r)
{
    float *p = r->m->params.data;
    for (int64_t i = 0; r->average && i < r->m->params.n_slab; i++) {
        float x = p[i];
        p[i] = r->average[i];
        r->average[i] = x;
    }
}

static int save_model(struct run *r)
{
    char path[2048];
    struct atomic_dir d;
    TRY(path_join(path, sizeof path, rundir_path(r->job->run), "model"));
    TRY(atomic_dir_open(&d, path, true));
    int rc = model_save(r->m, d.tmp, save_dtype(r->job->opt->save_dtype));
    if (rc < 0) {
        atomic_dir_abort(&d);
        return rc;
    }
    return atomic_dir_commit(&d);
}

static json_t *step_event(const struct run *r, const char *kind)
{
    double seconds = clock_seconds() - r->started;
    double pairs = (double)(r->at.done - r->done_at_start) * (double)r->job->opt->batch;
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:f, s:o, s:f}", "event", kind, "step", (json_int_t)r->at.done, "epoch",
                     (json_int_t)r->at.epoch, "loss", json_number(r->loss), "grad_norm", json_number(r->grad_norm),
                     "lr", r->lr, "logit_scale", json_number(model_logit_scale(r->m)), "pairs_per_second",
                     seconds > 0 ? pairs / seconds : 0.0);
}

/* Three batches in a row without a finite loss end the run; one is skipped (its update would poison every weight). */
static int strike(struct run *r)
{
    r->strikes++;
    log_warn("step %lld: loss %g, gradient norm %g: update skipped", (long long)r->at.done, r->loss, r->grad_norm);
    if (r->strikes < STRIKES)
        return 0;
    FAIL(ERR_NONFINITE,
         "%s: loss or gradient was not finite %d times in a row at step %lld; the last good checkpoint is kept; "
         "try a smaller --lr or a longer --warmup",
         rundir_path(r->job->run), STRIKES, (long long)r->at.done);
}

/* Pictures that the loader could not read, each once. */
static int tell_left_out(struct run *r)
{
    const struct dataset *d = r->job->data;
    const char *why;
    int64_t row;
    for (; loader_failed(r->loader, r->n_left_out, &row, &why); r->n_left_out++) {
        const char *path = dataset_image_cell(d, row, "path");
        TRY(rundir_event(r->job->run, json_pack("{s:s, s:I, s:s, s:s}", "event", "left_out", "row", (json_int_t)row,
                                                "path", path ? path : "", "reason", why)));
    }
    return 0;
}

static int one_step(struct run *r)
{
    const struct train_opt *o = r->job->opt;
    const struct batch *b;
    TRY(loader_batch(r->loader, r->at.epoch, r->at.step, &b));
    TRY(tell_left_out(r));
    params_zero_grad(&r->m->params);
    TRY(step_run(r->step, b, r->at.epoch, r->at.step, (uint64_t)o->seed, &r->loss));
    r->grad_norm = grad_norm(r);
    r->lr = o->lr * schedule_cosine(r->at.done, o->warmup, r->total, o->final_lr);
    if (isfinite(r->loss) && isfinite(r->grad_norm)) {
        double scale = o->clip_norm > 0 && r->grad_norm > o->clip_norm ? o->clip_norm / r->grad_norm : 1.0;
        struct optimizer_opt opt = {o->beta1, o->beta2, o->eps, o->weight_decay};
        optimizer_step(&r->optimizer, r->m->engine, &r->m->params, &opt, r->lr, scale);
        clamp_logit_scale(r->m);
        update_average(r);
        r->strikes = 0;
        double share = 1.0 / (double)(r->at.step + 1);
        r->at.loss_mean += (r->loss - r->at.loss_mean) * share;
    } else {
        TRY(strike(r));
    }
    r->at.done++;
    r->at.step++;
    progress_note(r->progress, "epoch %lld  loss %.4f  scale %.1f", (long long)r->at.epoch, r->at.loss_mean,
                  model_logit_scale(r->m));
    progress_add(r->progress, b->n);
    return r->at.done % LOG_EVERY == 0 ? rundir_event(r->job->run, step_event(r, "step")) : 0;
}

static bool keeps_best(const struct run *r)
{
    return !strcmp(r->job->opt->keep, "best");
}

static int end_epoch(struct run *r)
{
    double score = NAN;
    json_t *event = step_event(r, "epoch");
    if (!event)
        FAIL(ERR_MEMORY, "no memory for a progress event");
    json_object_set_new(event, "epoch_loss", json_number(r->at.loss_mean));
    swap_average(r);
    int rc = r->job->end_of_epoch ? r->job->end_of_epoch(r->job->ctx, r->m, r->at.epoch, event, &score) : 0;
    if (rc == 0 && isfinite(score) && (isnan(r->at.best) || score > r->at.best)) {
        r->at.best = score;
        r->at.best_epoch = r->at.epoch;
        rc = keeps_best(r) ? save_model(r) : 0;
    }
    swap_average(r);
    if (rc < 0) {
        json_decref(event);
        return rc;
    }
    TRY(rundir_event(r->job->run, event));
    r->at.epoch++;
    r->at.step = 0;
    r->at.loss_mean = 0;
    return 0;
}

static bool epoch_is_full(const struct run *r)
{
    return r->at.step == r->steps_per_epoch;
}

static int save_checkpoint(struct run *r)
{
    return checkpoint_save(rundir_path(r->job->run), r->m, &r->optimizer, r->average, &r->at, r->job->config);
}

static int loop(struct run *r)
{
    const struct train_opt *o = r->job->opt;
    while (r->at.epoch < o->epochs && (o->max_steps == 0 || r->at.done < o->max_steps || epoch_is_full(r))) {
        if (!epoch_is_full(r))
            TRY(one_step(r));
        if (epoch_is_full(r)) {
            int rc = end_epoch(r);
            if (rc == ERR_INTERRUPTED) /* the cursor stands behind the last step: resuming judges the epoch again */
                break;
            TRY(rc);
        }
        if (r->at.done % o->checkpoint_every == 0)
            TRY(save_checkpoint(r));
        if (signal_caught())
            break;
    }
    TRY(save_checkpoint(r));
    if (isnan(r->at.best) || !keeps_best(r)) {
        swap_average(r);
        int rc = save_model(r);
        swap_average(r);
        TRY(rc);
    }
    if (isnan(r->loss) && !signal_caught()) { /* the log ends with a step's loss already */
        log_info("%s: step %lld was the last one; nothing was left to do", rundir_path(r->job->run),
                 (long long)r->at.done);
        return 0;
    }
    return rundir_event(r->job->run, step_event(r, signal_caught() ? "stopped" : "end"));
}

static int open_run(struct run *r)
{
    const struct train_job *job = r->job;
    const struct train_opt *o = job->opt;
    struct loader_opt loader = {.batch = o->batch,
                                .context = r->m->context,
                                .threads = o->threads,
                                .seed = (uint64_t)o->seed,
                                .augment = o->augment,
                                .name_share = o->name_share,
                                .view = {.scale_min = o->crop_min,
                                         .flip = o->flip,
                                         .jitter = o->jitter,
                                         .background = o->background,
                                         .rotate = o->rotate}};
    struct step_opt step = {.chunk = o->chunk, .low = job->low};
    /* A disk that is too small shall tell before the hours, not after. */
    TRY(path_check_space(rundir_path(job->run), checkpoint_bytes(&r->m->params, o->average > 0)));
    TRY(loader_open(&r->loader, job->data, r->m->tokenizer, &r->m->preprocess, &loader));
    r->steps_per_epoch = loader_steps(r->loader);
    r->total = r->steps_per_epoch * o->epochs;
    if (r->steps_per_epoch == 0)
        FAIL(ERR_USAGE, "--batch %lld is more than the %lld pictures of %s; choose a smaller batch",
             (long long)o->batch, (long long)job->data->n_images, job->data->spec);
    TRY(step_open(&r->step, r->m, job->loss, job->loss_opt, &step));
    TRY(optimizer_open(&r->optimizer, &r->m->params));
    if (o->average > 0) {
        size_t bytes = (size_t)r->m->params.n_slab * sizeof(float);
        if (r->m->params.real != DT_F32)
            FAIL(ERR_UNSUPPORTED, "--average needs a float engine");
        r->average = mem_alloc(bytes);
        if (!r->average)
            return ERR_MEMORY;
        memcpy(r->average, r->m->params.data, bytes);
    }
    if (job->resume) {
        bool found;
        TRY(checkpoint_load(rundir_path(job->run), r->m, &r->optimizer, r->average, &r->at, job->config, &found));
        if (found)
            log_info("%s: resumed after step %lld", rundir_path(job->run), (long long)r->at.done);
    }
    r->done_at_start = r->at.done;
    int64_t steps = o->max_steps > 0 && o->max_steps < r->total ? o->max_steps : r->total;
    TRY(progress_open(&r->progress, "train", steps * o->batch, "pairs"));
    progress_skip(r->progress, r->at.done * o->batch);
    r->started = clock_seconds();
    return 0;
}

int train_run(const struct train_job *job, struct train_result *out)
{
    struct run r = {.job = job, .m = job->model, .at = {.best = NAN, .best_epoch = -1}, .loss = NAN};
    int rc = open_run(&r);
    if (rc == 0)
        rc = loop(&r);
    double seconds = clock_seconds() - r.started;
    *out = (struct train_result){
        .final_loss = r.loss,
        .steps = r.at.done,
        .best = r.at.best,
        .best_epoch = r.at.best_epoch,
        .interrupted = signal_caught(),
        .pairs_per_second = seconds > 0 ? (double)((r.at.done - r.done_at_start) * job->opt->batch) / seconds : 0};
    progress_close(&r.progress);
    loader_close(&r.loader);
    step_close(&r.step);
    optimizer_close(&r.optimizer);
    mem_free(r.average);
    if (rc == 0 && out->interrupted)
        FAIL(ERR_INTERRUPTED, "stopped after step %lld; the work is in %s; the same command with --resume goes on",
             (long long)r.at.done, rundir_path(job->run));
    return rc;
}
