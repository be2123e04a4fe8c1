/* cli/adapters.h: what the commands around adapters share. */
#ifndef CLI_ADAPTERS_H
#define CLI_ADAPTERS_H

#include "adapt/adapt.h"
#include "cli/cli.h"

/* The words ADAPTER [SET] of a command, the set in one of its two forms (struct set_opt). */
int adapters_open(struct cli *c, const struct set_opt *set, const struct engine_opt *engine, struct adapter **a,
                  struct set **s);
/* The uncertainty of every row of both sides, out [2] by row, mem_free; with an adapter of another model when forced.
 * NULL: the adapter leaves this side's items points. */
int adapters_uncertainty(const char *adapter, const struct set *s, uint64_t seed, bool force, double *out[2]);
/* --side and --row of a command. */
int adapters_row(const struct set *s, const char *side, int64_t row, int *which);

#endif
