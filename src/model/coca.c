/* model/coca.c: CoCa (Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models") as open_clip
 * built and published it.
 *
 *   pixels - vision transformer, no closing norm -> [B,N,V] - attention pool with Q queries - norm -> [B,Q,E]
 *            query 0 - projection -> the image's vector [B,E]; queries 1.. are what the decoder looks at
 *   ids    - causal text transformer, class token last -> class row - norm - projection -> the text's vector [B,E];
 *            the other rows, without a norm, go into the decoder
 *   decoder: causal self-attention and cross-attention blocks in turn - norm - vocabulary
 *
 * Details that have caused bugs. One pooler serves both uses, not two as in the paper. The class token of the text is
 * appended behind the pads and its mask is shifted by one: key 0 is always open, key j is open where id[j-1] is no pad,
 * so with padding the class token sees the first pad's row and not itself; published weights were trained that way.
 * Pads are hidden from all rows, which changes rows at pads alone. The pad id, 0, is also the token "!": a caption's
 * "!" hides the row after it and is never learned. The decoder has no positions of its own; its tokens carry them. */
#include "model/coca.h"

#include <string.h>

/* ---- parameters. Letters: V T D widths, E embedding, N image positions, C text positions and one, K vocabulary, Q
 * queries, c channels, p patch, R three embeddings, S three widths, M MLP ---- */

static const char letters[] = "VTENCKQcpR";

#define AT(field) offsetof(struct coca, field)
static const struct param_row vision_rows[] = {
    {"visual.class_embedding", AT(vision.class_token), "V", INIT_WIDTH},
    {"visual.positional_embedding", AT(vision.positions), "NV", INIT_WIDTH, .grid = 2},
    {"visual.proj", AT(project_image.w), "EE", INIT_FAN_IN, .transposed = true},
    {"visual.conv1.weight", AT(vision.patch_embed.w), "Vcpp", INIT_FAN_IN, .flat = true},
    {"visual.ln_pre.weight", AT(vision.norm_pre.w), "V", INIT_ONE},
    {"visual.ln_pre.bias", AT(vision.norm_pre.b), "V", INIT_ZERO},
    {"visual.attn_pool.query", AT(query), "QE", INIT_WIDTH},
    {"visual.attn_pool.attn.q_proj_weight", AT(q_w), "EE", INIT_FAN_IN},
    {"visual.attn_pool.attn.k_proj_weight", AT(k_w), "EV", INIT_FAN_IN},
    {"visual.attn_pool.attn.v_proj_weight", AT(v_w), "EV", INIT_FAN_IN},
    {"visual.attn_pool.attn.in_proj_bias", AT(in_b), "R", INIT_ZERO},
    {"visual.attn_pool.attn.out_proj.weight", AT(pool_out.w), "EE", INIT_FAN_IN},
    {"visual.attn_pool.attn.out_proj.bias", AT(pool_out.b), "E", INIT_ZERO},
    {"visual.attn_pool.ln_q.weight", AT(norm_q.w), "E", INIT_ONE},
    {"visual.attn_pool.ln_q.bias", AT(norm_q.b), "E", INIT_ZERO},
    {"visual.attn_pool.ln_k.weight", AT(norm_k.w), "V", INIT_ONE},
    {"visual.attn_pool.ln_k.bias", AT(norm_k.b), "V", INIT_ZERO},
    {"visual.ln_post.weight", AT(norm_post.w), "E", INIT_ONE},
    {"visual.ln_post.bias", AT(norm_post.b), "E", INIT_ZERO},
};
static const struct param_row text_rows[] = {
    {"text.positional_embedding", AT(text.positions), "CT", INIT_TINY},
    {"text.cls_emb", AT(class_token), "T", INIT_TINY},
    {"text.text_projection", AT(project_text.w), "TE", INIT_WIDTH, .transposed = true},
    {"text.token_embedding.weight", AT(text.token_table), "KT", INIT_SMALL},
    {"text.ln_final.weight", AT(text.norm_final.w), "T", INIT_ONE},
    {"text.ln_final.bias", AT(text.norm_final.b), "T", INIT_ZERO},
    {"text_decoder.text_projection", AT(project_words.w), "TK", INIT_WIDTH, .transposed = true},
    {"text_decoder.ln_final.weight", AT(norm_words.w), "T", INIT_ONE},
    {"text_decoder.ln_final.bias", AT(norm_words.b), "T", INIT_ZERO},
    {"logit_scale", AT(logit_scale), "", INIT_ONE},
};
#undef AT
#define AT(field) offsetof(struct cross_block, field)
static const struct param_row cross_rows[] = {
    {"ln_1.weight", AT(norm1.w), "D", INIT_ONE},         {"ln_1.bias", AT(norm1.b), "D", INIT_ZERO},
    {"ln_1_kv.weight", AT(norm_kv.w), "D", INIT_ONE},    {"ln_1_kv.bias", AT(norm_kv.b), "D", INIT_ZERO},
    {"attn.in_proj_weight", AT(in_w), "SD", INIT_WIDTH}, {"attn.in_proj_bias", AT(in_b), "S", INIT_ZERO},
    {"attn.out_proj.weight", AT(out.w), "DD", INIT_OUT}, {"attn.out_proj.bias", AT(out.b), "D", INIT_ZERO},
    {"ln_2.weight", AT(norm2.w), "D", INIT_ONE},         {"ln_2.bias", AT(norm2.b), "D", INIT_ZERO},
    {"mlp.c_fc.weight", AT(fc1.w), "MD", INIT_MLP},      {"mlp.c_fc.bias", AT(fc1.b), "M", INIT_ZERO},
    {"mlp.c_proj.weight", AT(fc2.w), "DM", INIT_OUT},    {"mlp.c_proj.bias", AT(fc2.b), "D", INIT_ZERO},
};
#undef AT

static int bind_cross(struct model *m, struct coca *c, struct params *p)
{
    const struct tower *t = &c->decoder;
    struct param_sizes s = {
        .letters = "DSM", .sizes = {t->width, 3 * t->width, t->mlp}, .width = t->width, .layers = t->layers};
    for (int64_t i = 0; i < t->layers; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "text_decoder.cross_attn.%d.", (int)i);
        TRY(params_bind(p, m->arena, cross_rows, ARRAY_LEN(cross_rows), &c->cross[i], prefix, &s));
    }
    return 0;
}

static int coca_bind(struct model *m, enum layout l, struct params *p)
{
    struct coca *c = m->own;
    const struct vit *v = &c->vision;
    struct param_sizes s = {.letters = letters,
                            .sizes = {v->tower.width, c->text.tower.width, c->embed, vit_n_tokens(v),
                                      c->text.context + 1, c->text.vocab, c->queries, 3, v->patch, 3 * c->embed}};
    (void)l;
    s.width = v->tower.width;
    TRY(params_bind(p, m->arena, vision_rows, ARRAY_LEN(vision_rows), c, "", &s));
    TRY(tower_bind(&c->vision.tower, NAMES_OPENAI, "visual.transformer.resblocks.", p, m->arena));
    s.width = c->text.tower.width;
    TRY(params_bind(p, m->arena, text_rows, ARRAY_LEN(text_rows), c, "", &s));
    TRY(tower_bind(&c->text.tower, NAMES_OPENAI, "text.transformer.resblocks.", p, m->arena));
    TRY(tower_bind(&c->decoder, NAMES_OPENAI, "text_decoder.resblocks.", p, m->arena));
    return bind_cross(m, c, p);
}

/* ---- building ---- */

static int make_cross(struct model *m, struct coca *c)
{
    c->cross = arena_calloc(m->arena, (size_t)c->decoder.layers, sizeof *c->cross);
    if (!c->cross)
        return ERR_MEMORY;
    for (int64_t i = 0; i < c->decoder.layers; i++) {
        struct cross_block *b = &c->cross[i];
        b->norm1.eps = b->norm_kv.eps = b->norm2.eps = c->decoder.eps;
        b->out.has_bias = b->fc1.has_bias = b->fc2.has_bias = true;
    }
    return 0;
}

static int coca_build(struct model *m, const json_t *config, const char *where)
{
    struct coca *c = arena_calloc(m->arena, 1, sizeof *c);
    if (!c)
        return ERR_MEMORY;
    TRY(coca_read_config(c, config, m->image_size, where));
    c->vision.has_class = c->vision.has_pre = true;
    c->vision.norm_pre.eps = c->norm_k.eps = c->norm_q.eps = c->norm_post.eps = c->vision.tower.eps;
    c->text.norm_final.eps = c->text.tower.eps;
    c->norm_words.eps = c->decoder.eps;
    c->text.causal = true;
    c->pool_out.has_bias = true;
    TRY(tower_make(&c->vision.tower, m->arena));
    TRY(tower_make(&c->text.tower, m->arena));
    TRY(tower_make(&c->decoder, m->arena));
    TRY(make_cross(m, c));
    const struct tower *towers[] = {&c->vision.tower, &c->text.tower, &c->decoder};
    for (size_t i = 0; i < ARRAY_LEN(towers); i++)
        model_note_arithmetic(m, towers[i]->heads, towers[i]->eps, towers[i]->act);
    model_note_arithmetic(m, c->pool_heads, c->norm_q.eps, ACT_NONE);
    m->own = c;
    m->image_size = c->vision.image;
    m->context = c->text.context;
    m->vocab_size = c->text.vocab;
    m->embed = c->embed;
    m->logit_scale = &c->logit_scale;
    return 0;
}

/* ---- picture ---- */

/* Rows [from, from + n) of a packed product, on the tape of x. */
static struct tensor *packed(struct tensor *x, const struct tensor *w, const struct tensor *b, int64_t from, int64_t n)
{
    if (!x)
        return NULL;
    struct tensor *part = t_slice(t_use(x->tape, MUTABLE(struct tensor, *w)), 0, from, n);
    return t_linear_wb(x, part, t_slice(t_use(x->tape, MUTABLE(struct tensor, *b)), 0, from, n), ACT_NONE);
}

/* The first `queries` queries look at all tokens, then the closing norm: [B,N,V] -> [B,queries,E]. */
static struct tensor *pool(const struct coca *c, struct tensor *x, int64_t queries)
{
    if (!x)
        return NULL;
    struct tape *t = x->tape;
    struct t_scope scope = t_scope_begin(t);
    int64_t e = c->embed;
    struct tensor *each = t_new(t, SHAPE(x->shape[0], 1, 1));
    if (!each)
        return NULL;
    tape_engine(t)->fill(tape_engine(t), each->data, 0.0, each->n);
    x = t_layer_norm(x, MUTABLE(struct norm, c->norm_k));
    struct tensor *q = t_slice(t_use(t, MUTABLE(struct tensor, c->query)), 0, 0, queries);
    q = t_layer_norm(q, MUTABLE(struct norm, c->norm_q));
    struct tensor *in_b = t_use(t, MUTABLE(struct tensor, c->in_b));
    q = t_linear_wb(q, MUTABLE(struct tensor, c->q_w), t_slice(in_b, 0, 0, e), ACT_NONE); /* [Q,E] */
    q = t_add(q, each);                                                                   /* [B,Q,E] */
    struct tensor *k = t_linear_wb(x, MUTABLE(struct tensor, c->k_w), t_slice(in_b, 0, e, e), ACT_NONE);
    struct tensor *v = t_linear_wb(x, MUTABLE(struct tensor, c->v_w), t_slice(in_b, 0, 2 * e, e), ACT_NONE);
    struct tensor *y = t_attention(q, k, v, (struct attention_opt){.heads = c->pool_heads}); /* [B,Q,E] */
    y = t_linear(y, MUTABLE(struct linear, c->pool_out));
    return t_scope_end(t, scope, t_layer_norm(y, MUTABLE(struct norm, c->norm_post)));
}

static struct tensor *image_feature(const struct coca *c, struct tensor *pooled, struct tensor **features)
{
    struct tensor *x = t_row(pooled, 0);
    if (features)
        *features = x;
    return t_linear(x, MUTABLE(struct linear, c->project_image));
}

static struct tensor *image_tokens(const struct coca *c, struct tensor *pooled)
{
    return t_slice(pooled, 1, 1, c->queries - 1);
}

/* ---- text ---- */

/* What the text tower is given: the first `used` ids of each row, and which keys are open, of the class token too. */
struct words {
    int32_t *ids;  /* [n,used] */
    uint8_t *keep; /* [n,used (+1)] */
    int64_t n, used, context;
};

/* trim: leave out what no class token sees, the rows behind the first pad of the longest text. Exact. */
static bool take_words(struct words *w, const struct coca *c, struct tape *t, const int32_t *ids, int64_t n,
                       int64_t context, bool trim, bool with_class)
{
    int64_t used = trim ? 1 : context;
    for (int64_t i = 0; trim && i < n; i++)
        for (int64_t j = 0; j < context; j++)
            if (ids[i * context + j] != c->pad_id && j + 2 > used)
                used = j + 2;
    used = used > context ? context : used;
    int64_t keys = used + with_class;
    *w = (struct words){.n = n, .used = used, .context = context};
    w->ids = arena_alloc(tape_arena(t), (size_t)(n * used) * sizeof *w->ids);
    w->keep = arena_alloc(tape_arena(t), (size_t)(n * keys));
    if (!w->ids || !w->keep)
        return false;
    for (int64_t i = 0; i < n; i++) {
        const int32_t *row = ids + i * context;
        memcpy(w->ids + i * used, row, (size_t)used * sizeof *row);
        for (int64_t j = 0; j < used; j++)
            w->keep[i * keys + j] = j == 0 || row[j - 1] != c->pad_id;
        if (with_class)
            w->keep[i * keys + used] = row[context - 1] != c->pad_id;
    }
    return true;
}

static struct tensor *enter_text(const struct coca *c, struct tape *t, const struct words *w, bool with_class)
{
    struct tensor *positions = t_use(t, MUTABLE(struct tensor, c->text.positions));
    struct tensor *x = t_embed(t, MUTABLE(struct tensor, c->text.token_table), w->ids, SHAPE(w->n, w->used));
    x = t_add(x, t_slice(positions, 0, 0, w->used)); /* [n,used,T] */
    if (!with_class || !x)
        return x;
    struct tensor *each = t_new(t, SHAPE(w->n, 1, 1));
    if (!each)
        return NULL;
    tape_engine(t)->fill(tape_engine(t), each->data, 0.0, each->n);
    struct tensor *last =
        t_add(t_slice(positions, 0, w->context, 1), MUTABLE(struct tensor, c->class_token)); /* [1,T] */
    return t_concat((struct tensor *[]){x, t_add(last, each)}, 2, 1);                        /* [n,used+1,T] */
}

static struct tensor *text_layers(const struct coca *c, struct tensor *x, int64_t n_layers, const struct words *w,
                                  struct trace *trace)
{
    struct sight sight = {.causal = true, .key_keep = w->keep};
    for (int64_t i = 0; i < n_layers; i++) {
        x = layer_block(x, &c->text.tower, i, sight);
        if (trace && trace->states)
            trace->states[i + 1] = x;
        if (trace && i == 0)
            trace->first = x;
    }
    return x;
}

static struct tensor *text_feature(const struct coca *c, struct tensor *class_row, struct tensor **features)
{
    struct tensor *x = t_layer_norm(class_row, MUTABLE(struct norm, c->text.norm_final));
    if (features)
        *features = x;
    return t_linear(x, MUTABLE(struct linear, c->project_text));
}

/* ---- decoder ---- */

static struct tensor *look_keys(const struct cross_block *b, struct tensor *tokens, int64_t part)
{
    int64_t d = b->out.w.shape[0];
    return packed(t_layer_norm(tokens, MUTABLE(struct norm, b->norm_kv)), &b->in_w, &b->in_b, part * d, d);
}

static struct tensor *look(const struct coca *c, const struct cross_block *b, struct tensor *x, struct tensor *keys,
                           struct tensor *values)
{
    if (!x)
        return NULL;
    struct tape *t = x->tape;
    struct t_scope scope = t_scope_begin(t);
    struct tensor *q = packed(t_layer_norm(x, MUTABLE(struct norm, b->norm1)), &b->in_w, &b->in_b, 0, c->decoder.width);
    struct tensor *h = layer_cross_attention(q, keys, values, c->decoder.heads);
    h = t_add(x, t_linear(h, MUTABLE(struct linear, b->out)));
    struct tensor *y = t_layer_norm(h, MUTABLE(struct norm, b->norm2));
    y = t_linear(t_linear_act(y, MUTABLE(struct linear, b->fc1), c->decoder.act), MUTABLE(struct linear, b->fc2));
    return t_scope_end(t, scope, t_add(h, y));
}

/* memory: keys and values of each layer. x [n,L,D] -> [n,L,D], no closing norm. */
static struct tensor *decode(const struct coca *c, struct tensor *x, struct tensor *const *memory,
                             struct tensor **states)
{
    for (int64_t i = 0; i < c->decoder.layers; i++) {
        x = layer_block(x, &c->decoder, i, (struct sight){.causal = true});
        x = look(c, &c->cross[i], x, memory[2 * i], memory[2 * i + 1]);
        if (states)
            states[i] = x;
    }
    return x;
}

static struct tensor *to_words(const struct coca *c, struct tensor *x)
{
    return t_linear(t_layer_norm(x, MUTABLE(struct norm, c->norm_words)), MUTABLE(struct linear, c->project_words));
}

static void remember(const struct coca *c, struct tensor *tokens, struct tensor **memory)
{
    for (int64_t i = 0; i < c->decoder.layers; i++)
        for (int part = 0; part < 2; part++)
            memory[2 * i + part] = look_keys(&c->cross[i], tokens, part + 1);
}

/* ---- both sides ---- */

static struct tensor *trace_image(const struct model *m, struct tensor *pixels, struct trace *trace)
{
    const struct coca *c = m->own;
    struct tensor *pooled = pool(c, vit_tokens(&c->vision, pixels, trace), 1);
    if (trace)
        trace->pooled = pooled;
    return image_feature(c, pooled, NULL);
}

static struct tensor *encode_image(const struct model *m, struct tensor *pixels)
{
    return trace_image(m, pixels, NULL);
}

static struct tensor *text_vector(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                  int64_t context, struct trace *trace, struct tensor **features)
{
    const struct coca *c = m->own;
    struct words w;
    int64_t last = c->text.tower.layers - 1;
    if (!take_words(&w, c, t, ids, n, context, !trace, true))
        return NULL;
    struct tensor *x = enter_text(c, t, &w, true);
    if (trace) {
        x = trace->last_state = text_layers(c, x, last + 1, &w, trace);
        return text_feature(c, trace->pooled = t_row(x, w.used), features);
    }
    int32_t *at = arena_alloc(tape_arena(t), (size_t)n * sizeof *at);
    if (!at)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        at[i] = (int32_t)w.used;
    x = text_layers(c, x, last, &w, NULL);
    x = layer_block_row(x, &c->text.tower, last, (struct sight){.causal = true, .key_keep = w.keep}, at);
    return text_feature(c, x, features);
}

static struct tensor *trace_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                                 struct trace *trace)
{
    return text_vector(m, t, ids, n, context, trace, NULL);
}

static struct tensor *encode_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n, int64_t context)
{
    return text_vector(m, t, ids, n, context, NULL, NULL);
}

static struct tensor *features_image(const struct model *m, struct tensor *pixels, struct tensor **features)
{
    const struct coca *c = m->own;
    return image_feature(c, pool(c, vit_tokens(&c->vision, pixels, NULL), 1), features);
}

static struct tensor *features_text(const struct model *m, struct tape *t, const int32_t *ids, int64_t n,
                                    int64_t context, struct tensor **features)
{
    return text_vector(m, t, ids, n, context, NULL, features);
}

static const struct linear *last_product(const struct model *m, bool text)
{
    const struct coca *c = m->own;
    return text ? &c->project_text : &c->project_image;
}

int coca_forward(const struct coca *c, struct tensor *pixels, const int32_t *ids, int64_t n, int64_t context,
                 struct coca_trace *trace, struct coca_out *out)
{
    struct tape *t = pixels->tape;
    struct words w;
    struct tensor *memory[CAPTION_MEMORY_MAX];
    struct tensor *pooled = pool(c, vit_tokens(&c->vision, pixels, trace ? &trace->vision : NULL), c->queries);
    out->image = image_feature(c, pooled, NULL);
    out->image_tokens = image_tokens(c, pooled);
    if (!take_words(&w, c, t, ids, n, context, false, true))
        return ERR_MEMORY;
    struct tensor *x =
        text_layers(c, enter_text(c, t, &w, true), c->text.tower.layers, &w, trace ? &trace->text : NULL);
    out->text = text_feature(c, t_row(x, context), NULL);
    out->text_tokens = t_slice(x, 1, 0, context);
    remember(c, out->image_tokens, memory);
    out->logits = to_words(c, decode(c, out->text_tokens, memory, trace ? trace->decoder : NULL));
    return tape_status(t);
}

/* The id after each position, -1 where it is a pad or given. ids [n,context], labels [n,used]. */
static int32_t *next_labels(const struct coca *c, struct tape *t, const int32_t *ids, int64_t n, int64_t context,
                            int64_t used, int64_t n_given)
{
    int32_t *labels = arena_alloc(tape_arena(t), (size_t)(n * used) * sizeof *labels);
    for (int64_t i = 0; labels && i < n; i++)
        for (int64_t j = 0; j < used; j++) {
            int32_t next = j + 1 < context ? ids[i * context + j + 1] : c->pad_id;
            labels[i * used + j] = next == c->pad_id || j + 1 < n_given ? -1 : next;
        }
    return labels;
}

static struct tensor *caption_loss(const struct model *m, struct tensor *pixels, const int32_t *ids, int64_t n,
                                   int64_t context, int64_t n_given, double smoothing)
{
    const struct coca *c = m->own;
    struct words w;
    struct tensor *memory[CAPTION_MEMORY_MAX];
    if (!pixels || !take_words(&w, c, pixels->tape, ids, n, context, true, false))
        return NULL;
    int32_t *labels = next_labels(c, pixels->tape, ids, n, context, w.used, n_given);
    if (!labels)
        return NULL;
    remember(c, image_tokens(c, pool(c, vit_tokens(&c->vision, pixels, NULL), c->queries)), memory);
    struct tensor *x = text_layers(c, enter_text(c, pixels->tape, &w, false), c->text.tower.layers, &w, NULL);
    return t_cross_entropy(to_words(c, decode(c, x, memory, NULL)), labels, smoothing);
}

struct tensor *coca_loss(const struct coca *c, struct tensor *pixels, const int32_t *ids, int64_t n, int64_t context,
                         double contrast_weight, double caption_weight)
{
    struct coca_out out;
    struct tape *t = pixels->tape;
    if (coca_forward(c, pixels, ids, n, context, NULL, &out) < 0)
        return NULL;
    int32_t *labels = next_labels(c, t, ids, n, context, context, 0);
    int32_t *pairs = arena_alloc(tape_arena(t), (size_t)n * sizeof *pairs);
    if (!labels || !pairs)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        pairs[i] = (int32_t)i;
    struct tensor *scale = t_exp(t_use(t, MUTABLE(struct tensor, c->logit_scale)));
    struct tensor *image = t_l2_normalize(out.image), *text = t_l2_normalize(out.text);
    struct tensor *logits = t_mul(t_matmul(image, text, (struct matmul_opt){.tb = true}), scale);
    struct tensor *contrast =
        t_add(t_cross_entropy(logits, pairs, 0.0), t_cross_entropy(t_transpose(logits), pairs, 0.0));
    return t_add(t_scale(contrast, 0.5 * contrast_weight, 0.0),
                 t_scale(t_cross_entropy(out.logits, labels, 0.0), caption_weight, 0.0));
}

/* ---- captions ---- */

static int see(const struct model *m, struct tensor *pixels, struct caption_memory *out)
{
    const struct coca *c = m->own;
    if (!pixels)
        FAIL(ERR_MEMORY, "no memory for the pictures");
    out->n = (int)(2 * c->decoder.layers);
    remember(c, image_tokens(c, pool(c, vit_tokens(&c->vision, pixels, NULL), c->queries)), out->v);
    return tape_status(pixels->tape);
}

static struct tensor *speak(const struct model *m, const struct caption_memory *memory, struct tape *t,
                            const int32_t *ids, int64_t n, int64_t length, bool last)
{
    const struct coca *c = m->own;
    struct words w;
    if (!take_words(&w, c, t, ids, n, length, false, false))
        return NULL;
    struct tensor *x = text_layers(c, enter_text(c, t, &w, false), c->text.tower.layers, &w, NULL);
    x = decode(c, x, memory->v, NULL);
    return to_words(c, last ? t_row(x, length - 1) : x);
}

static int64_t prompt(const struct model *m, int32_t *ids, int64_t max)
{
    const struct coca *c = m->own;
    if (max < 1)
        FAIL(ERR_USAGE, "no room for the start token");
    ids[0] = c->start_id;
    return 1;
}

static int32_t end_id(const struct model *m)
{
    return ((const struct coca *)m->own)->end_id;
}

static int32_t pad_id(const struct model *m)
{
    return ((const struct coca *)m->own)->pad_id;
}

/* open_clip's usual lengths. */
static const struct captioner captioner = {.see = see,
                                           .speak = speak,
                                           .prompt = prompt,
                                           .end_id = end_id,
                                           .pad_id = pad_id,
                                           .min_length = 5,
                                           .max_length = 30};

const struct model_family family_coca = {
    .name = "coca",
    .help = "CoCa (open_clip): retrieval and captions",
    .layouts = 1u << LAYOUT_OPEN_CLIP,
    .accepts = coca_accepts,
    .build = coca_build,
    .bind = coca_bind,
    .encode_image = encode_image,
    .encode_text = encode_text,
    .trace_image = trace_image,
    .trace_text = trace_text,
    .features_image = features_image,
    .features_text = features_text,
    .last_product = last_product,
    .caption_loss = caption_loss,
    .captioner = &captioner,
};
