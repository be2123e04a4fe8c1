/* model/resnet.c: OpenAI's ModifiedResNet (Radford et al. 2021, section 2.4 and appendix): a residual network (He et
 * al. 2016) with a stem of three convolutions, average pools in front of every stride (so that no pixel is skipped) and
 * attention in place of the last average.
 *
 *   pixels [B,3,S,S] - stem, pool -> [B,w,S/4,S/4] - layers 1..4 -> [B,32w,S/32,S/32]
 *   tokens: mean and cells, plus positions; the mean attends to all of them -> [B,32w] - c_proj -> [B,E]
 *
 * Batch norms use their running statistics, in training too: that is how fine-tuning keeps a tower that was trained
 * with thirty thousand pictures a batch, and it is what makes gradient caching exact. resnet_train_mode asks for batch
 * statistics. Details that have caused bugs elsewhere: the stride of a block sits in pools before conv3 and before the
 * shortcut's convolution, not in a convolution; the pool attends with separate q, k, v products that have biases; its
 * query is the mean of the cells, with a position of its own. Rejected: folding the norms into the convolutions, which
 * saves a tenth of the time and breaks bit-equal saving. */
#include "model/resnet.h"

struct bottleneck {
    int64_t in, planes, stride;
    bool has_down;
    struct tensor conv1, conv2, conv3, down_conv;
    struct counted_norm norm1, norm2, norm3, down_norm;
};

int64_t resnet_n_blocks(const struct resnet *r)
{
    return r->layers[0] + r->layers[1] + r->layers[2] + r->layers[3];
}

/* ---- sizes ---- */

static void set_norm(struct counted_norm *b, const struct resnet *r)
{
    b->n.eps = r->eps;
    b->n.momentum = r->momentum;
}

static void make_block(struct bottleneck *b, const struct resnet *r, int64_t in, int64_t planes, int64_t stride)
{
    *b = (struct bottleneck){.in = in, .planes = planes, .stride = stride};
    b->has_down = stride > 1 || in != 4 * planes;
    set_norm(&b->norm1, r);
    set_norm(&b->norm2, r);
    set_norm(&b->norm3, r);
    set_norm(&b->down_norm, r);
}

int resnet_make(struct resnet *r, struct arena *a, int64_t image, const char *where)
{
    if (image && (image < 0 || image > 8192 || image % 32))
        FAIL(ERR_USAGE, "%s: pictures of %lld were asked for, expected a multiple of 32 up to 8192", where,
             (long long)image);
    if (r->image % 32)
        FAIL(ERR_DATA, "%s: pictures of %lld, expected a multiple of 32 for a ModifiedResNet", where,
             (long long)r->image);
    if (r->width % 2)
        FAIL(ERR_DATA, "%s: a ModifiedResNet of width %lld, expected an even number", where, (long long)r->width);
    if (r->heads < 1 || r->width * 32 % r->heads)
        FAIL(ERR_DATA, "%s: %lld heads of the attention pool, expected a divisor of 32 x width (%lld)", where,
             (long long)r->heads, (long long)(r->width * 32));
    if (image)
        r->image = image;
    r->blocks = arena_calloc(a, (size_t)resnet_n_blocks(r), sizeof *r->blocks);
    if (!r->blocks)
        return ERR_MEMORY;
    int64_t in = r->width, at = 0;
    for (int l = 0; l < 4; l++)
        for (int64_t i = 0; i < r->layers[l]; i++) {
            make_block(&r->blocks[at++], r, in, r->width << l, l > 0 && i == 0 ? 2 : 1);
            in = 4 * (r->width << l);
        }
    for (int i = 0; i < 3; i++)
        set_norm(&r->norm[i], r);
    r->q.has_bias = r->k.has_bias = r->v.has_bias = r->c.has_bias = true;
    return 0;
}

/* ---- names. Letters: H half the width, W width, c 3, k 3, I O in and out, P planes, F features, N cells + 1 ---- */

#define NORM_ROWS(name, type, field, letter, init)                                                                     \
    {name ".weight", offsetof(type, field.n.w), letter, init},                                                         \
        {name ".bias", offsetof(type, field.n.b), letter, INIT_ZERO},                                                  \
        {name ".running_mean", offsetof(type, field.n.mean), letter, INIT_ZERO, .kind = PARAM_BUFFER},                 \
        {name ".running_var", offsetof(type, field.n.var), letter, INIT_ONE, .kind = PARAM_BUFFER},                    \
    {                                                                                                                  \
        name ".num_batches_tracked", offsetof(type, field.count), "", INIT_ZERO, .kind = PARAM_COUNTER                 \
    }

#define AT(field) offsetof(struct resnet, field)
static const struct param_row stem_rows[] = {
    {"conv1.weight", AT(conv[0]), "Hckk", INIT_FAN_IN}, NORM_ROWS("bn1", struct resnet, norm[0], "H", INIT_ONE),
    {"conv2.weight", AT(conv[1]), "HHkk", INIT_FAN_IN}, NORM_ROWS("bn2", struct resnet, norm[1], "H", INIT_ONE),
    {"conv3.weight", AT(conv[2]), "WHkk", INIT_FAN_IN}, NORM_ROWS("bn3", struct resnet, norm[2], "W", INIT_ONE),
};
static const struct param_row pool_rows[] = {
    {"attnpool.positional_embedding", AT(positions), "NF", INIT_WIDTH, .grid = 2},
    {"attnpool.q_proj.weight", AT(q.w), "FF", INIT_FAN_IN},
    {"attnpool.q_proj.bias", AT(q.b), "F", INIT_ZERO},
    {"attnpool.k_proj.weight", AT(k.w), "FF", INIT_FAN_IN},
    {"attnpool.k_proj.bias", AT(k.b), "F", INIT_ZERO},
    {"attnpool.v_proj.weight", AT(v.w), "FF", INIT_FAN_IN},
    {"attnpool.v_proj.bias", AT(v.b), "F", INIT_ZERO},
    {"attnpool.c_proj.weight", AT(c.w), "EF", INIT_FAN_IN},
    {"attnpool.c_proj.bias", AT(c.b), "E", INIT_ZERO},
};
#undef AT
#define AT(field) offsetof(struct bottleneck, field)
static const struct param_row block_rows[] = {
    {"conv1.weight", AT(conv1), "PI11", INIT_FAN_IN}, NORM_ROWS("bn1", struct bottleneck, norm1, "P", INIT_ONE),
    {"conv2.weight", AT(conv2), "PPkk", INIT_FAN_IN}, NORM_ROWS("bn2", struct bottleneck, norm2, "P", INIT_ONE),
    {"conv3.weight", AT(conv3), "OP11", INIT_FAN_IN}, NORM_ROWS("bn3", struct bottleneck, norm3, "O", INIT_ZERO),
};
static const struct param_row down_rows[] = {
    {"downsample.0.weight", AT(down_conv), "OI11", INIT_FAN_IN},
    NORM_ROWS("downsample.1", struct bottleneck, down_norm, "O", INIT_ONE),
};
#undef AT

int resnet_bind(struct resnet *r, struct params *p, struct arena *a)
{
    int64_t cells = r->image / 32;
    struct param_sizes s = {.letters = "HWckFNE",
                            .sizes = {r->width / 2, r->width, 3, 3, 32 * r->width, 1 + cells * cells, r->embed},
                            .width = 32 * r->width};
    TRY(params_bind(p, a, stem_rows, ARRAY_LEN(stem_rows), r, "visual.", &s));
    struct bottleneck *b = r->blocks;
    for (int l = 0; l < 4; l++)
        for (int i = 0; i < (int)r->layers[l]; i++, b++) {
            char prefix[64];
            struct param_sizes bs = {.letters = "IPOk", .sizes = {b->in, b->planes, 4 * b->planes, 3}};
            snprintf(prefix, sizeof prefix, "visual.layer%d.%d.", l + 1, i);
            TRY(params_bind(p, a, block_rows, ARRAY_LEN(block_rows), b, prefix, &bs));
            if (b->has_down)
                TRY(params_bind(p, a, down_rows, ARRAY_LEN(down_rows), b, prefix, &bs));
        }
    return params_bind(p, a, pool_rows, ARRAY_LEN(pool_rows), r, "visual.", &s);
}

/* ---- forward ---- */

static void count_one(struct tensor *count, const struct engine *e)
{
    if (e->real == DT_F64)
        *(double *)count->data += 1.0;
    else
        *(float *)count->data += 1.0f;
}

static struct tensor *norm(struct tensor *x, const struct counted_norm *b)
{
    struct tensor *y = t_batch_norm(x, MUTABLE(struct batch_norm, b->n));
    if (y && b->n.training)
        count_one(MUTABLE(struct tensor, b->count), tape_engine(y->tape));
    return y;
}

static struct tensor *conv_norm(struct tensor *x, const struct tensor *w, const struct counted_norm *b, int64_t stride,
                                int64_t pad)
{
    return norm(t_conv2d(x, MUTABLE(struct tensor, *w), NULL, (struct conv_opt){.stride = stride, .pad = pad}), b);
}

static struct tensor *stem(const struct resnet *r, struct tensor *x)
{
    struct tape *tape = x->tape;
    struct t_scope scope = t_scope_begin(tape);
    x = t_relu(conv_norm(x, &r->conv[0], &r->norm[0], 2, 1));
    x = t_relu(conv_norm(x, &r->conv[1], &r->norm[1], 1, 1));
    x = t_relu(conv_norm(x, &r->conv[2], &r->norm[2], 1, 1));
    return t_scope_end(tape, scope, t_avg_pool(x, 2, 2));
}

static struct tensor *pooled(struct tensor *x, int64_t stride)
{
    return stride > 1 ? t_avg_pool(x, stride, stride) : x;
}

static struct tensor *run_block(const struct bottleneck *b, struct tensor *x)
{
    if (!x)
        return NULL;
    struct tape *tape = x->tape;
    struct t_scope scope = t_scope_begin(tape);
    struct tensor *h = t_relu(conv_norm(x, &b->conv1, &b->norm1, 1, 0));
    h = pooled(t_relu(conv_norm(h, &b->conv2, &b->norm2, 1, 1)), b->stride);
    h = conv_norm(h, &b->conv3, &b->norm3, 1, 0);
    struct tensor *side = b->has_down ? conv_norm(pooled(x, b->stride), &b->down_conv, &b->down_norm, 1, 0) : x;
    return t_scope_end(tape, scope, t_relu(t_add(h, side)));
}

/* [B,F,h,w] -> [B,E] */
static struct tensor *attention_pool(const struct resnet *r, struct tensor *x)
{
    if (!x)
        return NULL;
    int64_t n = x->shape[0], f = x->shape[1];
    x = t_transpose(t_reshape(x, SHAPE(n, f, x->shape[2] * x->shape[3])));     /* [B,hw,F] */
    struct tensor *mean = t_reshape(t_reduce(x, RED_MEAN, 1), SHAPE(n, 1, f)); /* [B,1,F] */
    x = t_add(t_concat((struct tensor *[]){mean, x}, 2, 1), MUTABLE(struct tensor, r->positions));
    struct tensor *q = t_linear(t_reshape(t_row(x, 0), SHAPE(n, 1, f)), MUTABLE(struct linear, r->q));
    struct tensor *k = t_linear(x, MUTABLE(struct linear, r->k)), *v = t_linear(x, MUTABLE(struct linear, r->v));
    struct tensor *y = t_attention(q, k, v, (struct attention_opt){.heads = r->heads}); /* [B,1,F] */
    return t_reshape(t_linear(y, MUTABLE(struct linear, r->c)), SHAPE(n, r->embed));
}

struct tensor *resnet_forward(const struct resnet *r, struct tensor *pixels, struct resnet_trace *trace)
{
    if (!pixels)
        return NULL;
    struct tensor *x = stem(r, pixels);
    const struct bottleneck *b = r->blocks;
    if (trace)
        trace->stem = x;
    for (int l = 0; l < 4; l++) {
        for (int64_t i = 0; i < r->layers[l]; i++)
            x = run_block(b++, x);
        if (trace)
            trace->layer[l] = x;
    }
    return attention_pool(r, x);
}

void resnet_train_mode(struct resnet *r, bool training)
{
    for (int i = 0; i < 3; i++)
        r->norm[i].n.training = training;
    for (int64_t i = 0; i < resnet_n_blocks(r); i++) {
        struct bottleneck *b = &r->blocks[i];
        b->norm1.n.training = b->norm2.n.training = b->norm3.n.training = b->down_norm.n.training = training;
    }
}
