/* heads/heads.h: the door of room heads (level 5). Small maps over saved vectors, for people without weights: trained
 * on one part of a set's pairs and judged on another. The maps and their training are room train's (head.c), the
 * measures room eval's; here they meet. */
#ifndef HEADS_HEADS_H
#define HEADS_HEADS_H

#include "eval/eval.h"
#include "loss/loss.h"
#include "space/space.h"
#include "train/train.h"

/* ---- trained on one part of a set's pairs, judged on another (heads.c) ---- */

struct heads_opt {
    const char *head, *from, *split_column, *train_rows,
        *validation_rows; /* head: linear, mlp; the parts as set_split_opt's */
    int64_t hidden;
    double validation_share;
};
struct heads_in {
    const struct set *set;
    const struct heads_opt *opt;
    const struct train_opt *train;
    const struct loss_kind *loss;
    const void *loss_opt;
    const struct engine *engine;
    const json_t *config; /* into head.json, or NULL */
    const char *dir;      /* becomes a folder: head.json, head.safetensors, run.jsonl */
    bool force;
};
struct heads_result {
    struct train_result train; /* best: mean reciprocal rank; best_epoch -1: no epoch beat the start */
    int64_t n_train, n_validation;
    double before[2], after[2]; /* validation recall at 1, both ways; NaN: nothing was judged */
};
int heads_train(const struct heads_in *in, struct heads_result *out);

/* ---- how good heads are (judge.c): the items of some pairs as a set of their own; must not outlive the set ---- */

struct judge {
    struct set part;
    struct arena *arena;
};
struct judged {
    int64_t n;             /* pairs */
    double recall[2], mrr; /* at 1, image to text and text to image; mrr: mean of both ways */
};
int judge_open(struct judge *j, const struct set *s, const struct set_pair *pairs, int64_t n);
void judge_close(struct judge *j);
int judge_run(struct judge *j, const struct head *h, struct judged *out); /* h NULL: the vectors as they are */
/* Signature of head_job.judge; ctx: the judge. */
int judge_epoch(void *ctx, const struct head *h, int64_t epoch, json_t *event, double *score);

#endif
