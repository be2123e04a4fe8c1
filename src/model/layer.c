/* model/layer.c: the transformer block. Packed q, k, v (one product), activation fused into the first product of the
 * MLP. */
#include "model/layer.h"

#include <string.h>

static struct tensor *attend(struct tensor *x, const struct tower *t, const struct block *b, bool causal)
{
    struct attention_opt opt = {.heads = t->heads, .causal = causal};
    struct tensor *qkv = t_linear(t_layer_norm(x, (struct norm *)&b->norm1), (struct linear *)&b->qkv); /* [B,L,3D] */
    return t_attention_qkv(qkv, opt);                                                                   /* [B,L,D] */
}

static struct tensor *mlp(struct tensor *x, const struct tower *t, const struct block *b)
{
    struct tensor *h = t_layer_norm(x, (struct norm *)&b->norm2);
    h = t_linear_act(h, (struct linear *)&b->fc1, t->act);
    return t_add(x, t_linear(h, (struct linear *)&b->fc2));
}

struct tensor *layer_block(struct tensor *x, const struct tower *t, int64_t i, bool causal)
{
    if (!x)
        return NULL;
    const struct block *b = &t->blocks[i];
    struct tape *tape = x->tape;
    struct t_scope scope = t_scope_begin(tape);
    struct tensor *h = t_add(x, t_linear(attend(x, t, b, causal), (struct linear *)&b->out));
    return t_scope_end(tape, scope, mlp(h, t, b));
}

struct tensor *layer_block_row(struct tensor *x, const struct tower *t, int64_t i, bool causal, const int32_t *at)
{
    if (!x)
        return NULL;
    const struct block *b = &t->blocks[i];
    struct tape *tape = x->tape;
    struct t_scope scope = t_scope_begin(tape);
    struct tensor *a = t_pick(attend(x, t, b, causal), at); /* [B,D] */
    struct tensor *h = t_add(t_pick(x, at), t_linear(a, (struct linear *)&b->out));
    return t_scope_end(tape, scope, mlp(h, t, b));
}

int layer_read_act(const json_t *config, const char *where, enum act *act)
{
    const char *name = NULL;
    TRY(json_field_str(config, "hidden_act", true, &name, where));
    if (!strcmp(name, "quick_gelu"))
        *act = ACT_QUICK_GELU;
    else if (!strcmp(name, "gelu"))
        *act = ACT_GELU;
    else
        FAIL(ERR_DATA,
             "%s: field \"hidden_act\" is \"%s\", expected \"quick_gelu\" or \"gelu\"; another activation would give "
             "wrong "
             "vectors, so it is never guessed",
             where, name);
    return 0;
}
