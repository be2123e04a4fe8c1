/* model/text.c: CLIP's text transformer (Radford et al. 2021, section 2.4), causal or, for SigLIP, not.
 *
 * Two exact savings: the causal tower never computes positions after the last one that is read in a batch, and the last
 * block is computed only for the row that is read. */
#include "model/layer.h"

#include <string.h>

/* The first `used` ids of each row. */
static const int32_t *trim(struct tape *t, const int32_t *ids, int64_t n, int64_t context, int64_t used)
{
    int32_t *kept = arena_alloc(tape_arena(t), (size_t)(n * used) * sizeof *kept);
    for (int64_t i = 0; kept && i < n; i++)
        memcpy(kept + i * used, ids + i * context, (size_t)used * sizeof *ids);
    return kept;
}

struct tensor *text_row(const struct text_tower *tower, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                        const int32_t *at, struct trace *trace)
{
    int64_t used = trace || !tower->causal ? context : 1;
    for (int64_t i = 0; i < n; i++)
        used = at[i] + 1 > used ? at[i] + 1 : used;
    const int32_t *kept = trim(t, ids, n, context, used);
    if (!kept)
        return NULL;
    struct sight sight = {.causal = tower->causal};
    struct tensor *x = t_embed(t, MUTABLE(struct tensor, tower->token_table), kept, SHAPE(n, used)); /* [B,L,T] */
    x = t_add(x, t_slice(t_use(t, MUTABLE(struct tensor, tower->positions)), 0, 0, used));
    int64_t last = tower->tower.layers - 1, whole = trace ? last + 1 : last;
    if (trace && trace->states)
        trace->states[0] = x;
    for (int64_t i = 0; i < whole; i++) {
        x = layer_block(x, &tower->tower, i, sight);
        if (trace && trace->states)
            trace->states[i + 1] = x;
        if (trace && i == 0)
            trace->first = x;
    }
    if (!trace)
        return t_layer_norm(layer_block_row(x, &tower->tower, last, sight, at),
                            MUTABLE(struct norm, tower->norm_final));
    trace->last_state = x = t_layer_norm(x, MUTABLE(struct norm, tower->norm_final));
    return trace->pooled = t_pick(x, at); /* [B,T] */
}
