/* train/train.h: the door of room train (level 4). Optimiser, schedule, gradient cache, checkpoints, the loop. Does not
 * know eval: the caller passes an end-of-epoch function. */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "base/base.h"
#include "data/data.h"
#include "io/io.h"
#include "loss/loss.h"
#include "model/model.h"
#include "space/space.h"

/* ---- optimiser (optimizer.c) and schedule (schedule.c) ---- */

struct optimizer {
    void *m, *v;
    int64_t step;
}; /* slabs as long as the parameters'; step counts finished steps */
struct optimizer_opt {
    double beta1, beta2, eps, weight_decay;
};
int optimizer_open(struct optimizer *o, const struct params *p);
void optimizer_close(struct optimizer *o);
/* One AdamW step on p->grad times grad_scale; rows with decay false are not decayed. */
void optimizer_step(struct optimizer *o, const struct engine *e, struct params *p, const struct optimizer_opt *opt,
                    double lr, double grad_scale);
/* Linear warm-up to 1 over `warmup` steps, then half a cosine down to `floor` at `total`. step counts from 0. */
double schedule_cosine(int64_t step, int64_t warmup, int64_t total, double floor);

/* ---- one step (step.c): gradient cache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
 * limited setup") -- */

/* Loss and parameter gradients of a batch whose activations never exceed `chunk` rows. chunk >= batch: one pass,
 * nothing is computed twice. Gradients are accumulated into model->params.grad (zeroed by the caller). */
struct step;
struct step_opt {
    int64_t chunk;
    bool low;
};
int step_open(struct step **s, struct model *m, const struct loss_kind *loss, const void *loss_opt,
              const struct step_opt *opt);
int step_run(struct step *s, const struct batch *b, int64_t epoch, int64_t step, uint64_t seed, double *loss);
size_t step_peak_bytes(const struct step *s);
void step_close(struct step **s);

/* ---- checkpoints (checkpoint.c): weights, optimiser, average, cursor, configuration; manifest last; the newest two
 * are kept --------- */

/* Next batch: (epoch, step); done: steps finished in all; best: score of RUN/model, NAN when none. */
struct cursor {
    int64_t epoch, step, done, best_epoch;
    double loss_mean, best;
};
/* What the checkpoints of a run take at most: those kept, and the next one before the oldest goes. */
int64_t checkpoint_bytes(const struct params *p, bool average);
int checkpoint_save(const char *run, const struct model *m, const struct optimizer *o, const void *average,
                    const struct cursor *c, const json_t *config);
/* The newest complete one; *found false when there is none. Refuses one whose configuration differs. */
int checkpoint_load(const char *run, struct model *m, struct optimizer *o, void *average, struct cursor *c,
                    const json_t *config, bool *found);

/* ---- the loop (train.c)
 * --------------------------------------------------------------------------------------------------------------------
 */

struct train_opt {
    int64_t batch, chunk, epochs, warmup, seed, checkpoint_every, threads, max_steps;
    double lr, weight_decay, beta1, beta2, eps, clip_norm, final_lr, average, name_share;
    double crop_min, flip, jitter, background, rotate;
    bool augment;
    const char *keep, *save_dtype;
};
extern const struct opt train_options[]; /* of struct train_opt */

struct train_job {
    struct model *model;
    const struct dataset *data;
    const struct loss_kind *loss;
    const void *loss_opt;
    const struct train_opt *opt;
    const json_t *config; /* resolved configuration, written into checkpoints */
    struct rundir *run;
    bool low, resume;
    /* After each epoch, with the averaged weights in place when averaging is on; may add fields to the event. *score:
     * larger is better, kept as the best model; NAN: no judgement. NULL: none. */
    int (*end_of_epoch)(void *ctx, struct model *m, int64_t epoch, json_t *event, double *score);
    void *ctx;
};
struct train_result {
    double final_loss, pairs_per_second, best;
    int64_t steps, best_epoch;
    bool interrupted;
};
/* Leaves RUN/model (the best by score, or the last: opt->keep), RUN/checkpoints/, RUN/run.jsonl. Ctrl-C: checkpoint,
 * RUN/model, ERR_INTERRUPTED. */
int train_run(const struct train_job *job, struct train_result *out);

/* ---- heads over saved vectors (head.c, head_file.c): a small map a side, the identity at the start. Sides: 0 images,
 * 1 texts ---- */

struct head;
struct head_design {
    bool mlp;              /* u + W2 gelu(W1 u + b1) + b2; else W u + b */
    int64_t width, hidden; /* hidden: of the mlp; 0: the width */
};
int head_make(struct head **h, const struct head_design *d, const struct engine *e, uint64_t seed);
void head_close(struct head **h);
const struct head_design *head_design(const struct head *h);
/* out [n,width] unit rows; ERR_NONFINITE for a row of x that is zero or not finite. */
int head_apply(const struct head *h, int side, const float *x, int64_t n, float *out);
struct head_job {
    struct head *head; /* goes on from its weights; leaves the best by score, or the last */
    const struct set *set;
    const struct set_pair *pairs; /* [n_pairs] that are trained on, of the set's */
    int64_t n_pairs;
    const struct loss_kind *loss;
    const void *loss_opt;
    const struct train_opt *opt; /* batch, epochs, max_steps, the optimiser, clip_norm, keep, seed */
    /* After each epoch, and before the first (epoch -1), as in train_job; or NULL. */
    int (*judge)(void *ctx, const struct head *h, int64_t epoch, json_t *event, double *score);
    void *ctx;
    int64_t judge_every; /* epochs; the last is judged in any case. 0: 1 */
    struct str *log;     /* a JSON line an epoch, appended; or NULL */
    bool quiet;      /* no progress bar */
};
/* best_epoch -1: the weights that it began with. Repeats to the bit. */
int head_fit(const struct head_job *job, struct train_result *out);
/* DIR/head.json and head.safetensors into a folder that exists. options: borrowed, or NULL. */
int head_save(const struct head *h, const struct set *s, const char *dir, const json_t *options);
int head_open(struct head **h, const char *dir, const struct engine *e);
/* ERR_MISMATCH for a set of another width, or (unless forced) of another model than the head was trained on. */
int head_check_set(const struct head *h, const struct set *s, bool force);
/* out: the set with its vectors mapped; shares the rest with s. named: under a model name and fingerprint of their own,
 * which a set that is kept must have (and which take as long as mapping a thousand rows). */
int head_set_open(struct set *out, const struct head *h, const struct set *s, bool named);
void head_set_close(struct set *out);

#endif
