/* cli/select_cmd.h: the options of `meridian select`, shared by its two halves. Internal to room cli. */
#ifndef CLI_SELECT_CMD_H
#define CLI_SELECT_CMD_H

#include "choose/choose.h"
#include "cli/cli.h"

struct select_cmd {
    const char *strategy, *side, *rows, *adapter, *classes, *target, *out, *split_column, *table, *loss, *figure;
    struct opt_list labelled, loss_opt;
    int64_t budget, rounds, initial, seeds, seed, epochs, batch, adapter_epochs;
    double temperature, spread, lr;
    bool simulate, warm, force;
    struct heads_opt heads;
    struct adapt_opt refit;
    struct set_opt set;
    struct engine_opt engine;
};
/* select_simulate.c */
int select_simulate(struct cli *c, const struct select_cmd *o, const struct set *s, int side, struct adapter *a,
                    const struct engine *e);

#endif
