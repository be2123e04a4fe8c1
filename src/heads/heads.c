/* heads/heads.c: `train --on SET`: heads trained on one part of a set's pairs, the best epoch chosen on another, as a
 * folder. The start is judged too: where no epoch beats the vectors as they are, the heads stay the identity, and
 * the result says so. */
#include "heads/heads.h"

#include <math.h>
#include <string.h>

struct heads_work {
    const struct heads_in *in;
    struct set_split split;
    struct judge judge;
    struct head *head;
    struct str log;
};

static int open_head(struct heads_work *w)
{
    const struct heads_in *in = w->in;
    const struct heads_opt *o = in->opt;
    struct head_design d = {.mlp = !strcmp(o->head, "mlp"), .width = in->set->width, .hidden = o->hidden};
    if (!o->from)
        return head_make(&w->head, &d, in->engine, (uint64_t)in->train->seed);
    TRY(head_open(&w->head, o->from, in->engine));
    TRY(head_check_set(w->head, in->set, in->force));
    if (head_design(w->head)->mlp != d.mlp)
        FAIL(ERR_USAGE, "option --from: the heads in %s are %s, --head says %s", o->from,
             head_design(w->head)->mlp ? "mlp" : "linear", o->head);
    if (o->hidden > 0 && head_design(w->head)->hidden != o->hidden)
        FAIL(ERR_USAGE, "option --from: the heads in %s have %lld hidden units, --hidden says %lld", o->from,
             (long long)head_design(w->head)->hidden, (long long)o->hidden);
    return 0;
}

static int save(const struct heads_work *w)
{
    struct atomic_dir d;
    char path[2048];
    TRY(atomic_dir_open(&d, w->in->dir, w->in->force));
    int rc = head_save(w->head, w->in->set, d.tmp, w->in->config);
    if (rc == 0)
        rc = path_join(path, sizeof path, d.tmp, "run.jsonl");
    if (rc == 0)
        rc = atomic_put(path, w->log.s ? w->log.s : "", w->log.n);
    if (rc == 0)
        return atomic_dir_commit(&d);
    atomic_dir_abort(&d);
    return rc;
}

static int work(struct heads_work *w, struct heads_result *out)
{
    const struct heads_in *in = w->in;
    const struct set_split_opt parts = {.column = in->opt->split_column,
                                        .train_rows = in->opt->train_rows,
                                        .validation_rows = in->opt->validation_rows,
                                        .share = in->opt->validation_share,
                                        .seed = (uint64_t)in->train->seed};
    TRY(set_split_make(&w->split, in->set, &parts));
    TRY(open_head(w));
    if (w->split.n_validation > 0)
        TRY(judge_open(&w->judge, in->set, w->split.validation, w->split.n_validation));
    const struct head_job job = {.head = w->head,
                                 .set = in->set,
                                 .pairs = w->split.train,
                                 .n_pairs = w->split.n_train,
                                 .loss = in->loss,
                                 .loss_opt = in->loss_opt,
                                 .opt = in->train,
                                 .judge = w->split.n_validation > 0 ? judge_epoch : NULL,
                                 .ctx = &w->judge,
                                 .log = &w->log};
    TRY(head_fit(&job, &out->train));
    out->n_train = w->split.n_train;
    out->n_validation = w->split.n_validation;
    if (w->split.n_validation > 0) {
        struct judged before, after;
        TRY(judge_run(&w->judge, NULL, &before));
        TRY(judge_run(&w->judge, w->head, &after));
        memcpy(out->before, before.recall, sizeof out->before);
        memcpy(out->after, after.recall, sizeof out->after);
    }
    return save(w);
}

int heads_train(const struct heads_in *in, struct heads_result *out)
{
    struct heads_work w = {.in = in};
    struct heads_result r = {.before = {NAN, NAN}, .after = {NAN, NAN}};
    TRY(path_check_output(in->dir, in->force));
    int rc = work(&w, &r);
    if (rc == 0)
        *out = r;
    set_split_free(&w.split);
    judge_close(&w.judge);
    head_close(&w.head);
    str_free(&w.log);
    return rc;
}
