/* model/bert.c: BERT (Devlin et al. 2019, section 3; layers of Vaswani et al. 2017, post-norm) with BLIP's cross
 * attention between self attention and MLP (Li et al. 2022, section 3.1).
 *
 *   x = norm(word + position); each layer: x = norm(x + attend(x)); x = norm(x + see(x, picture)); x = norm(x + mlp(x))
 *
 * No token types: BLIP has none. The norms come last, so there is no closing one. When one row is read afterwards the
 * last layer is computed for that row alone behind its self attention. Rejected: packed keys and values of the cross
 * attention, which the attention kernel would have to read through strides it does not have. */
#include "model/bert.h"

#include <string.h>

/* ---- parameters ---- */

int bert_make(struct bert *b, struct arena *a)
{
    BUG_ON(2 * b->layers > CAPTION_MEMORY_MAX);
    b->norm.eps = b->eps;
    b->layer = arena_calloc(a, (size_t)b->layers, sizeof *b->layer);
    if (!b->layer)
        return ERR_MEMORY;
    for (int64_t i = 0; i < b->layers; i++) {
        struct bert_layer *l = &b->layer[i];
        struct linear *with_bias[] = {&l->qkv, &l->out, &l->see_q, &l->see_k, &l->see_v, &l->see_out, &l->fc1, &l->fc2};
        for (size_t k = 0; k < ARRAY_LEN(with_bias); k++)
            with_bias[k]->has_bias = true;
        l->norm_out.eps = l->norm_see.eps = l->norm_mlp.eps = b->eps;
    }
    return 0;
}

/* Letters: T width, S what is seen, M MLP width, K vocabulary, L positions. */
#define AT(field) offsetof(struct bert, field)
static const struct param_row embedding_rows[] = {
    {"embeddings.word_embeddings.weight", AT(words), "KT", INIT_SMALL},
    {"embeddings.position_embeddings.weight", AT(positions), "LT", INIT_SMALL},
    {"embeddings.LayerNorm.weight", AT(norm.w), "T", INIT_ONE},
    {"embeddings.LayerNorm.bias", AT(norm.b), "T", INIT_ZERO},
};
#undef AT
#define AT(field) offsetof(struct bert_layer, field)
static const struct param_row layer_rows[] = {
    {"attention.self.query.weight", AT(qkv.w), "TT", INIT_SMALL, .part = 0, .parts = 3},
    {"attention.self.key.weight", AT(qkv.w), "TT", INIT_SMALL, .part = 1, .parts = 3},
    {"attention.self.value.weight", AT(qkv.w), "TT", INIT_SMALL, .part = 2, .parts = 3},
    {"attention.self.query.bias", AT(qkv.b), "T", INIT_ZERO, .part = 0, .parts = 3},
    {"attention.self.key.bias", AT(qkv.b), "T", INIT_ZERO, .part = 1, .parts = 3},
    {"attention.self.value.bias", AT(qkv.b), "T", INIT_ZERO, .part = 2, .parts = 3},
    {"attention.output.dense.weight", AT(out.w), "TT", INIT_SMALL},
    {"attention.output.dense.bias", AT(out.b), "T", INIT_ZERO},
    {"attention.output.LayerNorm.weight", AT(norm_out.w), "T", INIT_ONE},
    {"attention.output.LayerNorm.bias", AT(norm_out.b), "T", INIT_ZERO},
    {"crossattention.self.query.weight", AT(see_q.w), "TT", INIT_SMALL},
    {"crossattention.self.query.bias", AT(see_q.b), "T", INIT_ZERO},
    {"crossattention.self.key.weight", AT(see_k.w), "TS", INIT_SMALL},
    {"crossattention.self.key.bias", AT(see_k.b), "T", INIT_ZERO},
    {"crossattention.self.value.weight", AT(see_v.w), "TS", INIT_SMALL},
    {"crossattention.self.value.bias", AT(see_v.b), "T", INIT_ZERO},
    {"crossattention.output.dense.weight", AT(see_out.w), "TT", INIT_SMALL},
    {"crossattention.output.dense.bias", AT(see_out.b), "T", INIT_ZERO},
    {"crossattention.output.LayerNorm.weight", AT(norm_see.w), "T", INIT_ONE},
    {"crossattention.output.LayerNorm.bias", AT(norm_see.b), "T", INIT_ZERO},
    {"intermediate.dense.weight", AT(fc1.w), "MT", INIT_SMALL},
    {"intermediate.dense.bias", AT(fc1.b), "M", INIT_ZERO},
    {"output.dense.weight", AT(fc2.w), "TM", INIT_SMALL},
    {"output.dense.bias", AT(fc2.b), "T", INIT_ZERO},
    {"output.LayerNorm.weight", AT(norm_mlp.w), "T", INIT_ONE},
    {"output.LayerNorm.bias", AT(norm_mlp.b), "T", INIT_ZERO},
};
#undef AT

int bert_bind(struct bert *b, const char *prefix, struct params *p, struct arena *a)
{
    struct param_sizes s = {.letters = "TSMKL",
                            .sizes = {b->width, b->seen, b->mlp, b->vocab, b->context},
                            .width = b->width,
                            .layers = b->layers};
    TRY(params_bind(p, a, embedding_rows, ARRAY_LEN(embedding_rows), b, prefix, &s));
    for (int64_t i = 0; i < b->layers; i++) {
        char full[256];
        snprintf(full, sizeof full, "%sencoder.layer.%d.", prefix, (int)i);
        TRY(params_bind(p, a, layer_rows, ARRAY_LEN(layer_rows), &b->layer[i], full, &s));
    }
    return 0;
}

/* ---- forward ---- */

int bert_look(const struct bert *b, struct tensor *tokens, struct caption_memory *out)
{
    out->n = 0;
    for (int64_t i = 0; i < b->layers; i++) {
        out->v[out->n++] = t_linear(tokens, MUTABLE(struct linear, b->layer[i].see_k)); /* [B,S,T] */
        out->v[out->n++] = t_linear(tokens, MUTABLE(struct linear, b->layer[i].see_v));
    }
    return tokens ? tape_status(tokens->tape) : ERR_FAIL;
}

/* norm(x + linear(y)) */
static struct tensor *join(struct tensor *x, struct tensor *y, const struct linear *l, const struct norm *n)
{
    return t_layer_norm(t_add(x, t_linear(y, (struct linear *)l)), (struct norm *)n);
}

/* x [n,L,T], or [n,T] behind the self attention of the last layer. */
static struct tensor *see(const struct bert *b, int64_t i, struct tensor *x, const struct caption_memory *memory)
{
    const struct bert_layer *l = &b->layer[i];
    struct tensor *q = t_linear(x, MUTABLE(struct linear, l->see_q));
    if (!q)
        return NULL;
    bool row = q->n_dims == 2;
    if (row)
        q = t_reshape(q, SHAPE(q->shape[0], 1, b->width));
    struct tensor *y = layer_cross_attention(q, memory->v[2 * i], memory->v[2 * i + 1], b->heads);
    if (y && row)
        y = t_reshape(y, SHAPE(y->shape[0], b->width));
    return join(x, y, &l->see_out, &l->norm_see);
}

static struct tensor *layer(const struct bert *b, int64_t i, struct tensor *x, const struct bert_pass *p, int64_t row)
{
    if (!x)
        return NULL;
    const struct bert_layer *l = &b->layer[i];
    struct tape *t = x->tape;
    struct t_scope scope = t_scope_begin(t);
    struct attention_opt opt = {.heads = b->heads, .causal = p->sight.causal, .key_keep = p->sight.key_keep};
    struct tensor *y = t_attention_qkv(t_linear(x, MUTABLE(struct linear, l->qkv)), opt); /* [n,L,T] */
    if (row != BERT_ALL) {
        x = t_row(x, row);
        y = t_row(y, row); /* [n,T] */
    }
    x = join(x, y, &l->out, &l->norm_out);
    if (p->memory)
        x = see(b, i, x, p->memory);
    y = t_linear_act(x, MUTABLE(struct linear, l->fc1), b->act);
    return t_scope_end(t, scope, join(x, y, &l->fc2, &l->norm_mlp));
}

struct tensor *bert_run(const struct bert *b, struct tape *t, const int32_t *ids, int64_t n, int64_t length,
                        const struct bert_pass *p)
{
    struct tensor *x = t_embed(t, MUTABLE(struct tensor, b->words), ids, SHAPE(n, length)); /* [n,L,T] */
    x = t_add(x, t_slice(t_use(t, MUTABLE(struct tensor, b->positions)), 0, 0, length));
    x = t_layer_norm(x, MUTABLE(struct norm, b->norm));
    if (p->trace && p->trace->states)
        p->trace->states[0] = x;
    for (int64_t i = 0; i < b->layers; i++) {
        bool short_cut = !p->trace && i + 1 == b->layers;
        x = layer(b, i, x, p, short_cut ? p->row : BERT_ALL);
        if (p->trace && p->trace->states)
            p->trace->states[i + 1] = x;
        if (p->trace && i == 0)
            p->trace->first = x;
    }
    if (!p->trace)
        return x;
    p->trace->last_state = x;
    return p->row == BERT_ALL ? x : (p->trace->pooled = t_row(x, p->row));
}
