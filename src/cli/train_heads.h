/* cli/train_heads.h: `train --on SET`: heads over saved vectors in place of whole encoders. Internal to room cli. */
#ifndef CLI_TRAIN_HEADS_H
#define CLI_TRAIN_HEADS_H

#include "heads/heads.h"
#include "cli/cli.h"

struct train_heads {
    const char *on, *write_set;
    struct set_opt set;
    struct heads_opt opt;
};
#define TRAIN_HEADS_OPTIONS(S, field)                                                                                  \
    PATH_OPTION("on", S, field.on, "SET", "heads over the vectors of this set, in place of --model and --data"),       \
        SET_OPTIONS(S, field.set),                                                                                     \
        {"head",     0,                                                                                                \
         OPT_CHOICE, offsetof(S, field.opt.head),                                                                      \
         "linear",   0,                                                                                                \
         0,          "linear|mlp",                                                                                     \
         NULL,       "heads: a matrix a side, or a network of one hidden layer; the identity at the start"},           \
        {"hidden", 0,                                                                                                  \
         OPT_INT,  offsetof(S, field.opt.hidden),                                                                      \
         "0",      0,                                                                                                  \
         65536,    NULL,                                                                                               \
         "N",      "heads: hidden units of the mlp; 0: as wide as the vectors"},                                       \
        PATH_OPTION("from", S, field.opt.from, "RUN", "heads: go on from these"),                                      \
        {"split-column",                                                                                               \
         0,                                                                                                            \
         OPT_STR,                                                                                                      \
         offsetof(S, field.opt.split_column),                                                                          \
         NULL,                                                                                                         \
         0,                                                                                                            \
         0,                                                                                                            \
         NULL,                                                                                                         \
         "NAME",                                                                                                       \
         "heads: column of the pictures' table that says train or validation"},                                        \
        PATH_OPTION("train-rows", S, field.opt.train_rows, "FILE", "heads: picture rows to train on, one a line"),     \
        PATH_OPTION("validation-rows", S, field.opt.validation_rows, "FILE", "heads: those that judge the epochs"),    \
        {"validation-share",                                                                                           \
         0,                                                                                                            \
         OPT_REAL,                                                                                                     \
         offsetof(S, field.opt.validation_share),                                                                      \
         "0.2",                                                                                                        \
         0,                                                                                                            \
         0.9,                                                                                                          \
         NULL,                                                                                                         \
         "X",                                                                                                          \
         "heads: without these, the share of pairs that judges, drawn at random"},                                     \
        PATH_OPTION("write-set", S, field.write_set, "OUT", "heads: also write the set as the heads map it")

/* --loss and --loss-opt of a command: the objective and its options, in the call's arena. */
int cli_loss(struct cli *c, const char *name, const struct opt_list *list, const struct loss_kind **kind, void **opt);

/* Is a set named, in either form? */
bool train_heads_wanted(const struct train_heads *h);
/* What heads train with where the command line says nothing. */
void train_heads_defaults(struct train_opt *o);
/* A set as the heads of a run map it; ERR_MISMATCH for another model's. Close with head_set_close. */
int train_heads_map(struct set *out, const char *run, const struct set *s, const struct engine *e);
int train_heads_run(struct cli *c, const struct train_heads *h, const struct train_opt *train,
                    const struct loss_kind *loss, const void *loss_opt, const struct engine_opt *engine,
                    const char *out, bool force);

#endif
