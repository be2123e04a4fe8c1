/* kernel/cpu/cpu_onednn.c: matrix products through oneDNN 2.x. The only file that includes it.
 *
 * Everything is one primitive, matmul: C = act(alpha op(A) op(B) + bias) + beta C. A linear layer is op(B) = W^T with
 * the bias and the activation fused behind the product; its backward is two products that add into dx and dw through
 * the sum post-op. Making a primitive costs up to 11 ms of code generation, so each is kept in a small hash table with
 * its memory objects; a later call only swaps the pointers (below 2 us).
 *
 * low: operands are rounded to bf16 in scratch memory, output and accumulation stay fp32. Where the machine has no bf16
 * products the rounded operands are multiplied in fp32, so that a run gives comparable numbers on every machine.
 *
 * Layers run in bands of rows (band_rows), so that rounding to bf16, the product and the activation meet in the cache.
 *
 * Rejected: inner_product (its weight-gradient wants blocked layouts to be fast, and a reorder of both operands eats
 * the gain at widths of a few hundred); one primitive cache of oneDNN itself (its look-up hashes the whole descriptor).
 */
#include "kernel/cpu/cpu.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#if DNNL_VERSION_MAJOR != 2
#error "cpu_onednn.c speaks oneDNN 2.x (descriptor, then primitive descriptor); 3.x merged the two: build without dnnl"
#endif

struct product {
    int64_t batch, m, n, k, stride_a, stride_b, stride_c;
    float alpha, beta;
    int32_t ta, tb, bf16, bias, act;
    int32_t unused_zero; /* no padding: the key is hashed as bytes */
};

enum { N_BUCKETS = 1024, MAX_ENTRIES = 2048 };

struct entry {
    struct product key;
    struct entry *next;
    dnnl_primitive_t primitive; /* NULL: oneDNN has no such product, ref does it */
    dnnl_memory_t a, b, c, bias;
};

static struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct entry *bucket[N_BUCKETS];
    int n_entries, threads;
    bool native_bf16;
} dnn;

static void entry_close(struct entry *t)
{
    if (t->primitive)
        dnnl_primitive_destroy(t->primitive);
    dnnl_memory_t all[] = {t->a, t->b, t->c, t->bias};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i])
            dnnl_memory_destroy(all[i]);
    mem_free(t);
}

static void cache_clear(void)
{
    for (int i = 0; i < N_BUCKETS; i++) {
        for (struct entry *t = dnn.bucket[i], *next; t; t = next) {
            next = t->next;
            entry_close(t);
        }
        dnn.bucket[i] = NULL;
    }
    dnn.n_entries = 0;
}

/* A matrix [rows, cols] (as the product sees it) of a batch; stored transposed when t. */
static int make_desc(dnnl_memory_desc_t *d, int64_t batch, int64_t rows, int64_t cols, bool t, int64_t stride,
                     bool bf16)
{
    dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
    int64_t row = t ? 1 : cols, col = t ? rows : 1;
    if (batch == 1)
        return dnnl_memory_desc_init_by_strides(d, 2, (dnnl_dims_t){rows, cols}, type, (dnnl_dims_t){row, col});
    int64_t repeats = stride == 0 ? 1 : batch; /* oneDNN broadcasts a dimension of 1 */
    return dnnl_memory_desc_init_by_strides(d, 3, (dnnl_dims_t){repeats, rows, cols}, type,
                                            (dnnl_dims_t){stride ? stride : rows * cols, row, col});
}

static dnnl_status_t make_attr(dnnl_primitive_attr_t attr, const struct product *p)
{
    dnnl_post_ops_t ops;
    dnnl_status_t s = dnnl_post_ops_create(&ops);
    if (s != dnnl_success)
        return s;
    if (p->alpha != 1.0f)
        s = dnnl_primitive_attr_set_output_scales(attr, 1, 0, &p->alpha);
    if (s == dnnl_success && p->act == ACT_GELU)
        s = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_gelu_erf, 0.0f, 0.0f);
    if (s == dnnl_success && p->act == ACT_QUICK_GELU)
        s = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_swish, 1.702f, 0.0f);
    if (s == dnnl_success && p->act == ACT_GELU_TANH)
        s = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_gelu_tanh, 0.0f, 0.0f);
    if (s == dnnl_success && p->act == ACT_RELU)
        s = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
    if (s == dnnl_success && p->beta != 0.0f)
        s = dnnl_post_ops_append_sum(ops, p->beta);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_post_ops(attr, ops);
    dnnl_post_ops_destroy(ops);
    return s;
}

static dnnl_status_t make_primitive(struct entry *t)
{
    const struct product *p = &t->key;
    dnnl_memory_desc_t a, b, c, bias;
    dnnl_matmul_desc_t op;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = dnnl_success;
    int n_dims = p->batch == 1 ? 2 : 3;

    if (make_desc(&a, p->batch, p->m, p->k, p->ta, p->stride_a, p->bf16) != 0 ||
        make_desc(&b, p->batch, p->k, p->n, p->tb, p->stride_b, p->bf16) != 0 ||
        make_desc(&c, p->batch, p->m, p->n, false, p->stride_c, false) != 0)
        return dnnl_unimplemented;
    dnnl_dims_t bias_dims = {1, n_dims == 2 ? p->n : 1, p->n}, bias_strides = {p->n, n_dims == 2 ? 1 : p->n, 1};
    s = dnnl_memory_desc_init_by_strides(&bias, n_dims, bias_dims, dnnl_f32, bias_strides);
    if (s != dnnl_success)
        return s;
    s = dnnl_matmul_desc_init(&op, &a, &b, p->bias ? &bias : NULL, &c);
    if (s != dnnl_success)
        return s;
    if ((s = dnnl_primitive_attr_create(&attr)) != dnnl_success)
        return s;
    if ((s = make_attr(attr, p)) != dnnl_success)
        goto out;
    if ((s = dnnl_primitive_desc_create(&pd, &op, attr, dnn.engine, NULL)) != dnnl_success)
        goto out;
    if ((s = dnnl_primitive_create(&t->primitive, pd)) != dnnl_success)
        goto out;
    s = dnnl_memory_create(&t->a, &a, dnn.engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success)
        s = dnnl_memory_create(&t->b, &b, dnn.engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success)
        s = dnnl_memory_create(&t->c, &c, dnn.engine, DNNL_MEMORY_NONE);
    if (s == dnnl_success && p->bias)
        s = dnnl_memory_create(&t->bias, &bias, dnn.engine, DNNL_MEMORY_NONE);
out:
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return s;
}

/* The kept primitive of a key, made on first use; primitive NULL when oneDNN refuses the shape. */
static int find_entry(const struct product *key, struct entry **found)
{
    uint64_t h = 1469598103934665603u;
    const int64_t *word = (const int64_t *)(const void *)key;
    for (size_t i = 0; i < sizeof *key / sizeof *word; i++)
        h = (h ^ (uint64_t)word[i]) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
    struct entry **head = &dnn.bucket[h % N_BUCKETS];
    for (struct entry *t = *head; t; t = t->next)
        if (memcmp(&t->key, key, sizeof *key) == 0) {
            *found = t;
            return 0;
        }
    if (dnn.n_entries >= MAX_ENTRIES)
        cache_clear();
    struct entry *t = mem_calloc(1, sizeof *t);
    if (!t)
        return ERR_MEMORY;
    t->key = *key;
    dnnl_status_t s = make_primitive(t);
    if (s == dnnl_out_of_memory) {
        entry_close(t);
        FAIL(ERR_MEMORY, "matrix product [%lld,%lld] x [%lld,%lld]: oneDNN is out of memory", (long long)key->m,
             (long long)key->k, (long long)key->k, (long long)key->n);
    }
    if (s != dnnl_success && t->primitive) {
        dnnl_primitive_destroy(t->primitive);
        t->primitive = NULL;
    }
    t->next = *head;
    *head = t;
    dnn.n_entries++;
    *found = t;
    return 0;
}

/* 1 when done, 0 when oneDNN has no such product, negative on failure. */
static int run_product(const struct product *key, const void *a, const void *b, const void *bias, float *c)
{
    struct entry *t = NULL;
    if (omp_get_max_threads() != dnn.threads) /* a setting of the calling thread: it may not be the one that opened */
        omp_set_num_threads(dnn.threads);
    TRY(find_entry(key, &t));
    if (!t->primitive)
        return 0;
    dnnl_memory_set_data_handle(t->a, (void *)(uintptr_t)a);
    dnnl_memory_set_data_handle(t->b, (void *)(uintptr_t)b);
    dnnl_memory_set_data_handle(t->c, c);
    dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, t->a}, {DNNL_ARG_WEIGHTS, t->b}, {DNNL_ARG_DST, t->c}};
    int n_args = 3;
    if (key->bias) {
        dnnl_memory_set_data_handle(t->bias, (void *)(uintptr_t)bias);
        args[n_args++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, t->bias};
    }
    dnnl_status_t s = dnnl_primitive_execute(t->primitive, dnn.stream, n_args, args);
    if (s == dnnl_success)
        s = dnnl_stream_wait(dnn.stream);
    if (s != dnnl_success)
        FAIL(s == dnnl_out_of_memory ? ERR_MEMORY : ERR_FAIL,
             "matrix product [%lld,%lld] x [%lld,%lld]: oneDNN status %d", (long long)key->m, (long long)key->k,
             (long long)key->k, (long long)key->n, (int)s);
    return 1;
}

/* ---- low operands ---------------------------------------------------------------------------------------------- */

/* `count` matrices of `size` numbers, `stride` apart, rounded to bf16 and packed without gaps. NULL: memory is out. */
static const void *lowered(enum cpu_scratch where, const float *x, int64_t count, int64_t size, int64_t stride)
{
    size_t width = dnn.native_bf16 ? sizeof(uint16_t) : sizeof(float);
    char *y = cpu_scratch(where, (size_t)(count * size) * width);
    if (!y)
        return NULL;
    if (stride == size) {
        size *= count;
        count = 1;
    }
    for (int64_t i = 0; i < count; i++) {
        if (dnn.native_bf16)
            cpu_vec.to_bf16(dnn.threads, x + i * stride, (uint16_t *)(void *)(y + (size_t)(i * size) * width), size);
        else
            cpu_vec.round_bf16(dnn.threads, x + i * stride, (float *)(void *)(y + (size_t)(i * size) * width), size);
    }
    return y;
}

/* ---- slots ----------------------------------------------------------------------------------------------------- */

static int onednn_matmul(const struct engine *e, const struct matmul_dims *d, const void *a_, const void *b_, void *c)
{
    const void *a = a_, *b = b_;
    if (d->batch <= 0 || d->m <= 0 || d->n <= 0 || d->k <= 0)
        return cpu_ref.matmul(e, d, a, b, c);
    struct product p = {d->batch,        d->m,           d->n,  d->k, d->stride_a, d->stride_b, d->stride_c,
                        (float)d->alpha, (float)d->beta, d->ta, d->tb};
    if (p.batch == 1)
        p.stride_a = p.stride_b = p.stride_c = 0;
    if (d->low) {
        int64_t count_a = p.stride_a == 0 ? 1 : p.batch, count_b = p.stride_b == 0 ? 1 : p.batch;
        a = lowered(SCRATCH_A, a, count_a, p.m * p.k, p.stride_a);
        b = lowered(SCRATCH_B, b, count_b, p.k * p.n, p.stride_b);
        if (!a || !b)
            return ERR_MEMORY;
        p.stride_a = p.stride_a == 0 ? 0 : p.m * p.k;
        p.stride_b = p.stride_b == 0 ? 0 : p.k * p.n;
        p.bf16 = dnn.native_bf16;
    }
    /* One B for all: the batch is just more rows. */
    if (p.batch > 1 && p.stride_b == 0 && !p.ta && p.stride_a == p.m * p.k && p.stride_c == p.m * p.n) {
        p.m *= p.batch;
        p.batch = 1;
        p.stride_a = p.stride_c = 0;
    }
    int done = run_product(&p, a, b, NULL, c);
    if (done == 0)
        done = cpu_ref.matmul(e, d, a_, b_, c);
    return done < 0 ? done : 0;
}

static bool act_is_fused(enum act act)
{
    return act == ACT_GELU || act == ACT_QUICK_GELU || act == ACT_GELU_TANH || act == ACT_RELU;
}

/* Rows of one band of a layer: its input, output and their rounded copies stay in the second-level cache from one pass
 * to the next, and the weights, which every band reads (and whose gradient it adds to), are the smaller part of the
 * traffic. A function of the shape alone: the order of sums does not depend on the threads. */
static int64_t band_rows(int64_t n, int64_t in, int64_t out)
{
    enum { CACHE = 512 * 1024 }; /* numbers */
    int64_t fit = CACHE / (in + out), least = 4 * in * out / (in + out) + 1, rows = fit > least ? fit : least;
    int64_t bands = (n + rows - 1) / rows;
    return ((n + bands - 1) / bands + 15) / 16 * 16;
}

/* A layer, as its bands see it. */
struct layer {
    int64_t in, out;
    const float *w, *bias;
    const void *low_w; /* w, lowered when low */
    enum act act;
    bool low;
};

static int band_fwd(const struct engine *e, const struct layer *l, int64_t n, const float *x, float *pre, float *y)
{
    bool fused = l->act != ACT_NONE && !pre && act_is_fused(l->act);
    struct product p = {.batch = 1, .m = n, .n = l->out, .k = l->in, .alpha = 1.0f, .tb = 1, .bias = l->bias != NULL};
    p.act = fused ? (int32_t)l->act : ACT_NONE;
    p.bf16 = l->low && dnn.native_bf16;
    const void *a = l->low ? lowered(SCRATCH_A, x, 1, n * l->in, n * l->in) : x;
    if (!a)
        return ERR_MEMORY;
    int done = run_product(&p, a, l->low_w, l->bias, pre ? pre : y);
    if (done < 0)
        return done;
    if (done == 0)
        return cpu_ref.linear_fwd(e, n, l->in, l->out, x, l->w, l->bias, l->act, l->low, pre, y);
    if (l->act != ACT_NONE && !fused)
        e->act_fwd(e, l->act, pre ? pre : y, y, n * l->out);
    else if (pre)
        e->copy(e, y, pre, n * l->out);
    return 0;
}

static int onednn_linear_fwd(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                             const void *bias, enum act act, bool low, void *pre, void *y)
{
    if (n <= 0 || in <= 0 || out <= 0)
        return cpu_ref.linear_fwd(e, n, in, out, x, w, bias, act, low, pre, y);
    struct layer l = {in, out, w, bias, low ? lowered(SCRATCH_B, w, 1, out * in, out * in) : w, act, low};
    if (!l.low_w)
        return ERR_MEMORY;
    int64_t rows = low || pre ? band_rows(n, in, out) : n;
    for (int64_t i = 0; i < n; i += rows)
        TRY(band_fwd(e, &l, n - i < rows ? n - i : rows, (const float *)x + i * in, pre ? (float *)pre + i * out : NULL,
                     (float *)y + i * out));
    return 0;
}

static int band_bwd(const struct engine *e, const struct layer *l, int64_t n, const float *x, const float *dpre,
                    float *dx, float *dw)
{
    const void *low_x = x, *low_dy = dpre;
    bool bf16 = l->low && dnn.native_bf16;
    if (l->low && (dx || dw))
        low_dy = lowered(SCRATCH_A, dpre, 1, n * l->out, n * l->out);
    if (l->low && dw)
        low_x = lowered(SCRATCH_C, x, 1, n * l->in, n * l->in);
    if (!low_dy || !low_x)
        return ERR_MEMORY;
    if (dx) { /* dx [n, in] += dpre [n, out] W [out, in] */
        struct product p = {.batch = 1, .m = n, .n = l->in, .k = l->out, .alpha = 1.0f, .beta = 1.0f, .bf16 = bf16};
        int done = run_product(&p, low_dy, l->low_w, NULL, dx);
        if (done == 0)
            done = cpu_ref.linear_bwd(e, n, l->in, l->out, x, l->w, dpre, l->low, dx, NULL, NULL);
        if (done < 0)
            return done;
    }
    if (dw) { /* dW [out, in] += dpre^T [out, n] x [n, in] */
        struct product p = {.batch = 1, .m = l->out, .n = l->in, .k = n, .alpha = 1.0f, .beta = 1.0f, .ta = 1};
        p.bf16 = bf16;
        int done = run_product(&p, low_dy, low_x, NULL, dw);
        if (done == 0)
            done = cpu_ref.linear_bwd(e, n, l->in, l->out, x, l->w, dpre, l->low, NULL, dw, NULL);
        if (done < 0)
            return done;
    }
    return 0;
}

static int onednn_linear_bwd(const struct engine *e, int64_t n, int64_t in, int64_t out, const void *x, const void *w,
                             const void *dpre, bool low, void *dx, void *dw, void *dbias)
{
    if (n <= 0 || in <= 0 || out <= 0)
        return cpu_ref.linear_bwd(e, n, in, out, x, w, dpre, low, dx, dw, dbias);
    struct layer l = {in, out, w, NULL, low && dx ? lowered(SCRATCH_B, w, 1, out * in, out * in) : w, ACT_NONE, low};
    if (!l.low_w)
        return ERR_MEMORY;
    int64_t rows = band_rows(n, in, out);
    for (int64_t i = 0; i < n; i += rows) {
        int64_t len = n - i < rows ? n - i : rows;
        const float *g = (const float *)dpre + i * out;
        TRY(band_bwd(e, &l, len, (const float *)x + i * in, g, dx ? (float *)dx + i * in : NULL, dw));
        if (dbias)
            cpu_vec.add_columns(e->threads, len, out, g, dbias);
    }
    return 0;
}

int cpu_onednn_open(struct engine *e, bool native_bf16)
{
    if (!dnn.engine) {
        if (dnnl_engine_create(&dnn.engine, dnnl_cpu, 0) != dnnl_success)
            FAIL(ERR_FAIL, "engine cpu: oneDNN found no usable CPU");
        if (dnnl_stream_create(&dnn.stream, dnn.engine, dnnl_stream_default_flags) != dnnl_success) {
            dnnl_engine_destroy(dnn.engine);
            dnn.engine = NULL;
            FAIL(ERR_FAIL, "engine cpu: oneDNN made no stream");
        }
    }
    if (dnn.threads != e->threads || dnn.native_bf16 != native_bf16)
        cache_clear(); /* primitives are planned for a number of threads */
    dnn.threads = e->threads;
    dnn.native_bf16 = native_bf16;
    e->matmul = onednn_matmul;
    e->linear_fwd = onednn_linear_fwd;
    e->linear_bwd = onednn_linear_bwd;
    return 0;
}

const char *cpu_onednn_version(void)
{
    static char text[48];
    const dnnl_version_t *v = dnnl_version();
    (void)snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
