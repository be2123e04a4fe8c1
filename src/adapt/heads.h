/* adapt/heads.h: inside room adapt. Heads trained and judged on parts of a set: what heads.c, judge.c and simulate.c
 * share. */
#ifndef ADAPT_HEADS_H
#define ADAPT_HEADS_H

#include "adapt/adapter.h"
#include "eval/eval.h"
#include "train/train.h"

/* judge.c: the items of some pairs as a set of their own; must not outlive the set. */
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
