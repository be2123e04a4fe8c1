/* tests/kernel/test_ref_agree.c: every slot on random shapes, engine ref (float) against ref64 and both against
 * numerical derivatives; then the same with engine cpu where the build has it. How: ref_probe.h. */
#include "ref_probe.h"

/* ---- products ---- */

static struct matmul_dims matmul_of(const struct probe *p)
{
    return (struct matmul_dims){.batch = p->dim[0],
                                .m = p->dim[1],
                                .n = p->dim[2],
                                .k = p->dim[3],
                                .stride_a = p->dim[1] * p->dim[3],
                                .stride_b = p->variant & 4 ? 0 : p->dim[2] * p->dim[3],
                                .stride_c = p->dim[1] * p->dim[2],
                                .ta = p->variant & 1,
                                .tb = p->variant & 2,
                                .alpha = 0.5,
                                .beta = 0};
}

static void matmul_shape(struct probe *p, struct rng *r)
{
    for (int k = 0; k < 4; k++)
        p->dim[k] = draw(r, 1, k ? 6 : 3);
    p->n_in[0] = p->dim[0] * p->dim[1] * p->dim[3];
    p->n_in[1] = (p->variant & 4 ? 1 : p->dim[0]) * p->dim[2] * p->dim[3];
    p->n_out = p->dim[0] * p->dim[1] * p->dim[2];
}

static void matmul_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct matmul_dims d = matmul_of(p);
    assert_int_equal(e->matmul(e, &d, s->in[0], s->in[1], s->out), 0);
}

/* The gradients of a product are products: dA = alpha dC op(B)^T, stored as A is. */
static void matmul_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct matmul_dims f = matmul_of(p), da = f, db = f;
    da.beta = db.beta = 1;
    da.m = f.ta ? f.k : f.m;
    da.n = f.ta ? f.m : f.k;
    da.k = f.n;
    da.stride_c = f.stride_a;
    da.stride_a = f.ta ? f.stride_b : f.stride_c;
    da.stride_b = f.ta ? f.stride_c : f.stride_b;
    da.ta = f.ta && f.tb;
    da.tb = f.ta || !f.tb;
    db.m = f.tb ? f.n : f.k;
    db.n = f.tb ? f.k : f.n;
    db.k = f.m;
    db.stride_a = f.tb ? f.stride_c : f.stride_a;
    db.stride_b = f.tb ? f.stride_a : f.stride_c;
    db.stride_c = f.stride_b;
    db.ta = f.tb || !f.ta;
    db.tb = f.tb && f.ta;
    if (s->din[0])
        assert_int_equal(e->matmul(e, &da, f.ta ? s->in[1] : s->dout, f.ta ? s->dout : s->in[1], s->din[0]), 0);
    if (s->din[1])
        assert_int_equal(e->matmul(e, &db, f.tb ? s->dout : s->in[0], f.tb ? s->in[0] : s->dout, s->din[1]), 0);
}

static void linear_shape(struct probe *p, struct rng *r)
{
    int64_t n = p->dim[0] = draw(r, 1, 5), in = p->dim[1] = draw(r, 1, 6), out = p->dim[2] = draw(r, 1, 6);
    p->n_in[0] = n * in;
    p->n_in[1] = out * in;
    p->n_in[2] = out;
    p->n_out = p->n_saved[0] = p->n_saved[1] = n * out;
}

static void linear_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    assert_int_equal(e->linear_fwd(e, p->dim[0], p->dim[1], p->dim[2], s->in[0], s->in[1], s->in[2], ACT_GELU, false,
                                   s->saved[0], s->out),
                     0);
}

static void linear_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->act_grad(e, ACT_GELU, s->saved[0], s->dout, s->saved[1], p->n_out);
    assert_int_equal(e->linear_bwd(e, p->dim[0], p->dim[1], p->dim[2], s->in[0], s->in[1], s->saved[1], false,
                                   s->din[0], s->din[1], s->din[2]),
                     0);
}

/* ---- pointwise ---- */

static void act_shape(struct probe *p, struct rng *r)
{
    enum act a = (enum act)p->variant;
    p->n_in[0] = p->n_out = draw(r, 1, 40);
    if (a == ACT_LOG || a == ACT_SQRT || a == ACT_RSQRT || a == ACT_RECIP || a == ACT_LGAMMA || a == ACT_DIGAMMA) {
        p->lo = 0.3;
        p->hi = 6;
    }
}

static void act_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->act_fwd(e, (enum act)p->variant, s->in[0], s->out, p->n_out);
}

static void act_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    if (s->din[0])
        e->act_bwd(e, (enum act)p->variant, s->in[0], s->out, s->dout, s->din[0], p->n_out);
}

static void clamp_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->clamp_fwd(e, -0.5, 0.8, s->in[0], s->out, p->n_out);
}

static void clamp_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->clamp_bwd(e, -0.5, 0.8, s->in[0], s->dout, s->din[0], p->n_out);
}

static void plain_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = p->n_out = draw(r, 1, 40);
}

/* scale_add then axpy: y = 2 x + 1 - 0.25 x; mask_mul on the way back as on the way there */
static void scale_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->scale_add(e, 2, s->in[0], 1, s->out, p->n_out);
    e->axpy(e, -0.25, s->in[0], s->out, p->n_out);
    e->mask_mul(e, p->mask, 1.5, s->out, s->out, p->n_out, false);
}

static void scale_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    if (s->din[0])
        e->mask_mul(e, p->mask, 1.5 * 1.75, s->dout, s->din[0], p->n_out, true);
}

static struct bcast_dims bcast_of(const struct probe *p)
{
    struct bcast_dims d = {.n_dims = (int)p->dim[0]};
    int64_t step_a = 1, step_b = 1;
    for (int k = d.n_dims - 1; k >= 0; k--) {
        d.shape[k] = p->dim[1 + k];
        bool has_a = p->dim[6] >> k & 1, has_b = p->dim[7] >> k & 1;
        d.stride_a[k] = has_a ? step_a : 0;
        d.stride_b[k] = has_b ? step_b : 0;
        step_a *= has_a ? d.shape[k] : 1;
        step_b *= has_b ? d.shape[k] : 1;
    }
    return d;
}

static void binary_shape(struct probe *p, struct rng *r)
{
    p->dim[0] = draw(r, 0, 5);
    p->dim[6] = draw(r, 0, 31);
    p->dim[7] = draw(r, 0, 31);
    p->n_out = p->n_in[0] = p->n_in[1] = 1;
    for (int k = 0; k < p->dim[0]; k++) {
        int64_t n = p->dim[1 + k] = draw(r, 1, 3);
        p->n_out *= n;
        p->n_in[0] *= p->dim[6] >> k & 1 ? n : 1;
        p->n_in[1] *= p->dim[7] >> k & 1 ? n : 1;
    }
    if (p->variant == BIN_DIV || p->variant == BIN_POW) {
        p->lo = 0.5;
        p->hi = 2.5;
    }
}

static void binary_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct bcast_dims d = bcast_of(p);
    e->binary_fwd(e, (enum binary)p->variant, &d, s->in[0], s->in[1], s->out);
}

static void binary_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct bcast_dims d = bcast_of(p);
    e->binary_bwd(e, (enum binary)p->variant, &d, s->in[0], s->in[1], s->out, s->dout, s->din[0], s->din[1]);
}

/* ---- reductions, softmax ---- */

static void reduce_shape(struct probe *p, struct rng *r)
{
    for (int k = 0; k < 3; k++)
        p->dim[k] = draw(r, 1, 5);
    p->n_in[0] = p->dim[0] * p->dim[1] * p->dim[2];
    p->n_out = p->dim[0] * p->dim[2];
}

static void reduce_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->reduce_fwd(e, (enum reduce)p->variant, p->dim[0], p->dim[1], p->dim[2], s->in[0], s->out);
}

static void reduce_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->reduce_bwd(e, (enum reduce)p->variant, p->dim[0], p->dim[1], p->dim[2], s->in[0], s->out, s->dout, s->din[0]);
}

static void squares_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = draw(r, 5000, 9000);
    p->n_out = 1;
}

static void squares_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    set(e, s->out, 0, e->sum_squares(e, s->in[0], p->n_in[0]));
}

static void softmax_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = p->n_out = (p->dim[0] = draw(r, 1, 5)) * (p->dim[1] = draw(r, 1, 8));
}

static void softmax_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->softmax_fwd(e, p->dim[0], p->dim[1], p->variant, s->in[0], s->out);
}

static void softmax_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->softmax_bwd(e, p->dim[0], p->dim[1], p->variant, s->out, s->dout, s->din[0]);
}

/* variants: labels, smoothed labels, soft targets */
static void entropy_shape(struct probe *p, struct rng *r)
{
    int64_t n = p->dim[0] = draw(r, 1, 6), c = p->dim[1] = draw(r, 1, 7);
    p->n_in[0] = n * c;
    p->n_in[1] = p->variant == 2 ? n * c : 0;
    p->n_out = p->n_saved[0] = n;
    for (int64_t i = 0; i < n; i++)
        p->ids[i] = (int32_t)draw(r, -1, c - 1);
}

static void entropy_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    bool soft = p->variant == 2;
    e->cross_entropy_fwd(e, p->dim[0], p->dim[1], s->in[0], soft ? NULL : p->ids, soft ? s->in[1] : NULL,
                         p->variant ? 0.2 : 0, s->out, s->saved[0]);
}

static void entropy_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    bool soft = p->variant == 2;
    e->cross_entropy_bwd(e, p->dim[0], p->dim[1], s->in[0], soft ? NULL : p->ids, soft ? s->in[1] : NULL,
                         p->variant ? 0.2 : 0, s->saved[0], s->dout, s->din[0], s->din[1]);
}

/* ---- norms: dim = n, c, hw, groups ---- */

static void norm_shape(struct probe *p, struct rng *r)
{
    p->dim[0] = draw(r, 2, 4);
    p->dim[3] = draw(r, 1, 3);
    p->dim[1] = p->dim[3] * draw(r, 1, 3);
    p->dim[2] = draw(r, 2, 5);
    p->n_in[0] = p->n_out = p->dim[0] * p->dim[1] * p->dim[2];
    p->n_in[1] = p->n_in[2] = p->dim[1];
    p->n_saved[0] = p->n_saved[1] = p->n_saved[2] = p->dim[0] * p->dim[1] * p->dim[2];
}

static void group_norm_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->group_norm_fwd(e, p->dim[0], p->dim[1], p->dim[2], p->dim[3], 1e-3, s->in[0], s->in[1], s->in[2], s->out,
                      s->saved[0], s->saved[1]);
}

static void group_norm_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->group_norm_bwd(e, p->dim[0], p->dim[1], p->dim[2], p->dim[3], s->in[0], s->in[1], s->saved[0], s->saved[1],
                      s->dout, s->din[0], s->din[1], s->din[2]);
}

static void batch_norm_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    for (int64_t k = 0; p->variant == 0 && k < p->dim[1]; k++) { /* given statistics */
        set(e, s->saved[0], k, 0.1 * (double)k);
        set(e, s->saved[2], k, 0.5 + 0.2 * (double)k);
    }
    e->batch_norm_fwd(e, p->dim[0], p->dim[1], p->dim[2], 1e-3, p->variant, s->in[0], s->in[1], s->in[2], s->out,
                      s->saved[0], s->saved[1], s->saved[2]);
}

static void batch_norm_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->batch_norm_bwd(e, p->dim[0], p->dim[1], p->dim[2], p->variant, s->in[0], s->in[1], s->saved[0], s->saved[1],
                      s->dout, s->din[0], s->din[1], s->din[2]);
}

static void layer_norm_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = p->n_out = (p->dim[0] = draw(r, 1, 5)) * (p->dim[1] = draw(r, 2, 8));
    p->n_in[1] = p->n_in[2] = p->dim[1];
    p->n_saved[0] = p->n_saved[1] = p->dim[0];
}

static void layer_norm_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->layer_norm_fwd(e, p->dim[0], p->dim[1], 1e-3, s->in[0], s->in[1], s->in[2], s->out, s->saved[0], s->saved[1]);
}

static void layer_norm_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->layer_norm_bwd(e, p->dim[0], p->dim[1], s->in[0], s->in[1], s->saved[0], s->saved[1], s->dout, s->din[0],
                      s->din[1], s->din[2]);
}

static void l2_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = p->n_out = (p->dim[0] = draw(r, 1, 5)) * (p->dim[1] = draw(r, 2, 8));
    p->n_saved[0] = p->dim[0];
}

static void l2_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->l2_normalize_fwd(e, p->dim[0], p->dim[1], p->variant ? 1.5 : 1e-12, s->in[0], s->out, s->saved[0]);
}

static void l2_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->l2_normalize_bwd(e, p->dim[0], p->dim[1], p->variant ? 1.5 : 1e-12, s->out, s->saved[0], s->dout, s->din[0]);
}

/* ---- attention: input 0 packs q, k, v rows of 3 D when variant 4 is set, else three inputs ---- */

static struct attention_dims attention_of(const struct probe *p)
{
    int64_t width = p->dim[1] * p->dim[4];
    return (struct attention_dims){.batch = p->dim[0],
                                   .heads = p->dim[1],
                                   .len_q = p->dim[2],
                                   .len_k = p->dim[3],
                                   .head_dim = p->dim[4],
                                   .ld_q = width * (p->variant & 4 ? 3 : 1),
                                   .ld_k = width * (p->variant & 4 ? 3 : 1),
                                   .ld_v = width * (p->variant & 4 ? 3 : 1),
                                   .ld_out = width,
                                   .causal = p->variant & 1,
                                   .scale = 0.6};
}

static void attention_shape(struct probe *p, struct rng *r)
{
    for (int k = 0; k < 5; k++)
        p->dim[k] = draw(r, 1, k < 2 ? 2 : 4);
    if (p->variant & 4)
        p->dim[3] = p->dim[2];
    struct attention_dims d = attention_of(p);
    p->n_in[0] = d.batch * d.len_q * d.ld_q;
    p->n_in[1] = p->n_in[2] = p->variant & 4 ? 0 : d.batch * d.len_k * d.ld_k;
    p->n_out = d.batch * d.len_q * d.ld_out;
    p->n_saved[0] = d.batch * d.heads * d.len_q;
}

static void attention_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct attention_dims d = attention_of(p);
    bool packed = p->variant & 4;
    assert_int_equal(e->attention_fwd(e, &d, s->in[0], packed ? at(e, s->in[0], d.ld_out) : s->in[1],
                                      packed ? at(e, s->in[0], 2 * d.ld_out) : s->in[2],
                                      p->variant & 2 ? p->mask : NULL, s->out, s->saved[0]),
                     0);
}

static void attention_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct attention_dims d = attention_of(p);
    bool packed = p->variant & 4;
    assert_int_equal(e->attention_bwd(e, &d, s->in[0], packed ? at(e, s->in[0], d.ld_out) : s->in[1],
                                      packed ? at(e, s->in[0], 2 * d.ld_out) : s->in[2],
                                      p->variant & 2 ? p->mask : NULL, s->out, s->saved[0], s->dout, s->din[0],
                                      packed ? at(e, s->din[0], d.ld_out) : s->din[1],
                                      packed ? at(e, s->din[0], 2 * d.ld_out) : s->din[2]),
                     0);
}

/* ---- movement ---- */

static void embed_shape(struct probe *p, struct rng *r)
{
    int64_t n = p->dim[0] = draw(r, 1, 9), d = p->dim[1] = draw(r, 1, 4), rows = p->dim[2] = draw(r, 1, 6);
    p->n_in[0] = rows * d;
    p->n_out = n * d;
    for (int64_t i = 0; i < n; i++)
        p->ids[i] = (int32_t)draw(r, 0, rows - 1);
}

static void embed_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->embed_fwd(e, p->dim[0], p->dim[1], p->dim[2], s->in[0], p->ids, s->out);
}

static void embed_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->embed_bwd(e, p->dim[0], p->dim[1], p->dim[2], p->ids, s->dout, s->din[0]);
}

static void patchify_shape(struct probe *p, struct rng *r)
{
    p->dim[4] = draw(r, 1, 3);
    p->dim[0] = draw(r, 1, 2);
    p->dim[1] = draw(r, 1, 3);
    p->dim[2] = p->dim[4] * draw(r, 1, 3);
    p->dim[3] = p->dim[4] * draw(r, 1, 3);
    p->n_in[0] = p->n_out = p->dim[0] * p->dim[1] * p->dim[2] * p->dim[3];
}

static void patchify_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->patchify_fwd(e, p->dim[0], p->dim[1], p->dim[2], p->dim[3], p->dim[4], s->in[0], s->out);
}

static void patchify_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->patchify_bwd(e, p->dim[0], p->dim[1], p->dim[2], p->dim[3], p->dim[4], s->dout, s->din[0]);
}

static void permute_shape(struct probe *p, struct rng *r)
{
    int64_t order[5] = {0, 1, 2, 3, 4};
    p->dim[0] = draw(r, 1, 5);
    p->n_out = 1;
    rng_shuffle(r, order, p->dim[0]);
    for (int k = 0; k < p->dim[0]; k++) {
        p->n_out *= p->dim[1 + k] = draw(r, 1, 4);
        p->ids[k] = (int32_t)order[k];
    }
    p->n_in[0] = p->n_out;
}

static void permute_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->permute(e, (int)p->dim[0], p->dim + 1, p->ids, s->in[0], s->out, false);
}

static void permute_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    int inverse[5] = {0};
    int64_t shape[5] = {0};
    for (int k = 0; k < p->dim[0]; k++) {
        inverse[p->ids[k]] = k;
        shape[k] = p->dim[1 + p->ids[k]];
    }
    if (s->din[0])
        e->permute(e, (int)p->dim[0], shape, inverse, s->dout, s->din[0], true);
}

static void rows_shape(struct probe *p, struct rng *r)
{
    p->dim[0] = draw(r, 1, 3); /* outer, n_src, at_src, n_dst, at_dst, n, inner */
    p->dim[5] = draw(r, 1, 3);
    p->dim[2] = draw(r, 0, 2);
    p->dim[1] = p->dim[2] + p->dim[5] + draw(r, 0, 2);
    p->dim[4] = draw(r, 0, 2);
    p->dim[3] = p->dim[4] + p->dim[5] + draw(r, 0, 2);
    p->dim[6] = draw(r, 1, 3);
    p->n_in[0] = p->dim[0] * p->dim[1] * p->dim[6];
    p->n_out = p->dim[0] * p->dim[3] * p->dim[6];
}

static void rows_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    const int64_t *d = p->dim;
    e->fill(e, s->out, 0, p->n_out);
    e->copy_rows(e, d[0], d[1], d[2], d[3], d[4], d[5], d[6], s->in[0], s->out, false);
}

static void rows_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    const int64_t *d = p->dim;
    if (s->din[0])
        e->copy_rows(e, d[0], d[3], d[4], d[1], d[2], d[5], d[6], s->dout, s->din[0], true);
}

/* ---- pictures ---- */

static struct conv_dims conv_of(const struct probe *p)
{
    const int64_t *d = p->dim;
    struct conv_dims c = {.batch = d[0], .in_c = d[1], .in_h = d[2], .in_w = d[3], .out_c = d[4]};
    c.k_h = d[5];
    c.k_w = d[6];
    c.stride = d[7];
    c.pad = d[8];
    c.out_h = (c.in_h + 2 * c.pad - c.k_h) / c.stride + 1;
    c.out_w = (c.in_w + 2 * c.pad - c.k_w) / c.stride + 1;
    return c;
}

static void conv_shape(struct probe *p, struct rng *r)
{
    static const int64_t hi[9] = {2, 3, 6, 6, 3, 3, 3, 3, 2}, lo[9] = {1, 1, 3, 3, 1, 1, 1, 1, 0};
    for (int k = 0; k < 9; k++)
        p->dim[k] = draw(r, lo[k], hi[k]);
    struct conv_dims c = conv_of(p);
    p->n_in[0] = c.batch * c.in_c * c.in_h * c.in_w;
    p->n_in[1] = c.out_c * c.in_c * c.k_h * c.k_w;
    p->n_in[2] = c.out_c;
    p->n_out = c.batch * c.out_c * c.out_h * c.out_w;
}

static void conv_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct conv_dims c = conv_of(p);
    assert_int_equal(e->conv2d_fwd(e, &c, s->in[0], s->in[1], s->in[2], s->out), 0);
}

static void conv_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct conv_dims c = conv_of(p);
    assert_int_equal(e->conv2d_bwd(e, &c, s->in[0], s->in[1], s->dout, s->din[0], s->din[1], s->din[2]), 0);
}

static struct pool_dims pool_of(const struct probe *p)
{
    const int64_t *d = p->dim;
    return (struct pool_dims){.batch = d[0],
                              .channels = d[1],
                              .in_h = d[2],
                              .in_w = d[3],
                              .k = d[4],
                              .stride = d[5],
                              .out_h = (d[2] - d[4]) / d[5] + 1,
                              .out_w = (d[3] - d[4]) / d[5] + 1};
}

static void pool_shape(struct probe *p, struct rng *r)
{
    static const int64_t hi[6] = {2, 3, 7, 7, 3, 3}, lo[6] = {1, 1, 3, 3, 1, 1};
    for (int k = 0; k < 6; k++)
        p->dim[k] = draw(r, lo[k], hi[k]);
    struct pool_dims d = pool_of(p);
    p->n_in[0] = d.batch * d.channels * d.in_h * d.in_w;
    p->n_out = d.batch * d.channels * d.out_h * d.out_w;
}

static void pool_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct pool_dims d = pool_of(p);
    e->avg_pool_fwd(e, &d, s->in[0], s->out);
}

static void pool_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    struct pool_dims d = pool_of(p);
    e->avg_pool_bwd(e, &d, s->dout, s->din[0]);
}

/* ---- sphere. Variant 1: b close to a, inside the power series. Lambda comes from mask bytes: no gradient. ---- */

static void slerp_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = p->n_in[1] = p->n_out = (p->dim[0] = draw(r, 1, 5)) * (p->dim[1] = draw(r, 2, 8));
    p->n_saved[0] = p->dim[0];
    p->dim[2] = draw(r, 0, 1) ? p->dim[0] : 1;
    p->unit = true;
}

static void fill_lambda(const struct probe *p, const struct engine *e, struct run *s)
{
    for (int64_t i = 0; i < p->dim[2]; i++)
        set(e, s->saved[0], i, (double)(1 + i + p->dim[1]) / 16);
}

static void slerp_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    fill_lambda(p, e, s);
    e->slerp_fwd(e, p->dim[0], p->dim[1], s->in[0], s->in[1], s->saved[0], p->dim[2], s->out, NULL);
}

static void slerp_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->slerp_bwd(e, p->dim[0], p->dim[1], s->in[0], s->in[1], s->saved[0], p->dim[2], s->dout, s->din[0], s->din[1]);
}

static void distance_shape(struct probe *p, struct rng *r)
{
    for (int k = 0; k < 3; k++)
        p->dim[k] = draw(r, 1, 5);
    p->n_in[0] = p->dim[0] * p->dim[2];
    p->n_in[1] = p->dim[1] * p->dim[2];
    p->n_out = p->dim[0] * p->dim[1];
}

static void distance_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    assert_int_equal(e->distance_fwd(e, p->dim[0], p->dim[1], p->dim[2], s->in[0], s->in[1], s->out), 0);
}

static void distance_bwd(const struct probe *p, const struct engine *e, struct run *s)
{
    assert_int_equal(
        e->distance_bwd(e, p->dim[0], p->dim[1], p->dim[2], s->in[0], s->in[1], s->dout, s->din[0], s->din[1]), 0);
}

/* ---- optimiser: five steps from given gradients ---- */

static void adamw_shape(struct probe *p, struct rng *r)
{
    p->n_in[0] = p->n_in[1] = p->n_out = p->n_saved[0] = p->n_saved[1] = draw(r, 1, 30);
}

static void adamw_fwd(const struct probe *p, const struct engine *e, struct run *s)
{
    e->copy(e, s->out, s->in[0], p->n_out);
    e->fill(e, s->saved[0], 0, p->n_out);
    e->fill(e, s->saved[1], 0, p->n_out);
    for (int t = 1; t <= 5; t++) {
        struct adamw_step step = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.2};
        step.correction1 = 1 - pow(0.9, t);
        step.correction2 = 1 - pow(0.98, t);
        step.grad_scale = 1.0 / t;
        e->adamw(e, p->n_out, &step, s->in[1], s->out, s->saved[0], s->saved[1]);
    }
}

static const struct kind kinds[] = {
    {"matmul", 8, matmul_shape, matmul_fwd, matmul_bwd},
    {"linear", 1, linear_shape, linear_fwd, linear_bwd},
    {"act", N_ACTS, act_shape, act_fwd, act_bwd},
    {"clamp", 1, plain_shape, clamp_fwd, clamp_bwd},
    {"scale", 1, plain_shape, scale_fwd, scale_bwd},
    {"binary", N_BINARIES, binary_shape, binary_fwd, binary_bwd},
    {"reduce", N_REDUCES, reduce_shape, reduce_fwd, reduce_bwd},
    {"sum_squares", 1, squares_shape, squares_fwd, NULL},
    {"softmax", 2, softmax_shape, softmax_fwd, softmax_bwd},
    {"cross_entropy", 3, entropy_shape, entropy_fwd, entropy_bwd},
    {"layer_norm", 1, layer_norm_shape, layer_norm_fwd, layer_norm_bwd},
    {"batch_norm", 2, norm_shape, batch_norm_fwd, batch_norm_bwd},
    {"group_norm", 1, norm_shape, group_norm_fwd, group_norm_bwd},
    {"l2_normalize", 2, l2_shape, l2_fwd, l2_bwd},
    {"attention", 8, attention_shape, attention_fwd, attention_bwd},
    {"embed", 1, embed_shape, embed_fwd, embed_bwd},
    {"patchify", 1, patchify_shape, patchify_fwd, patchify_bwd},
    {"permute", 1, permute_shape, permute_fwd, permute_bwd},
    {"copy_rows", 1, rows_shape, rows_fwd, rows_bwd},
    {"conv2d", 1, conv_shape, conv_fwd, conv_bwd},
    {"avg_pool", 1, pool_shape, pool_fwd, pool_bwd},
    {"slerp", 2, slerp_shape, slerp_fwd, slerp_bwd},
    {"distance", 1, distance_shape, distance_fwd, distance_bwd},
    {"adamw", 1, adamw_shape, adamw_fwd, NULL},
};

static void every_slot_of(const char *name)
{
    const struct engine *e = engine_named(name);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (int round = 0; round < N_ROUNDS * kinds[k].n_variants; round++) {
            struct rng r = rng_stream(20261121, RNG_TEST, (uint32_t)k, (uint64_t)round);
            struct probe p = {.name = kinds[k].name, .variant = round % kinds[k].n_variants};
            check_probe(&kinds[k], e, &p, &r);
            arena_reset(memory);
        }
    }
}

static void ref_agrees(void **state)
{
    every_slot_of("ref");
}

static void cpu_agrees(void **state)
{
    if (strstr(engine_names(), "cpu"))
        every_slot_of("cpu");
    else
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ref_agrees), cmocka_unit_test(cpu_agrees)};
    return cmocka_run_group_tests(tests, open_memory, close_memory);
}
