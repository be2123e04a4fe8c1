/* Cases of movement and reduction. Views are multiplied by themselves moved, so that their gradients must meet in the
 * base. */
#include "tensor/op_case.h"

static void make_volume(struct op_case *c, struct rng *r)
{
    const int64_t large[T_MAX_DIMS] = {64, 50, 768, 1, 1};
    int64_t s[T_MAX_DIMS];
    int n = c->big ? 3 : (int)case_length(r, 1, c->wide ? 3 : 4);
    for (int i = 0; i < n; i++)
        s[i] = case_axis(c, r, 1, 3, large[i]);
    c->i[0] = c->big ? 1 : case_length(r, 0, n - 1); /* an axis */
    c->flop = (double)case_count(case_add(c, DOM_NORMAL, n, s));
}

static struct tensor *build_reshape(struct tape *t, struct tensor **in, const struct op_case *c)
{
    int64_t n = case_count(&c->in[0]);
    struct tensor *flat = t_reshape(in[0], SHAPE(n)), *column = t_reshape(in[0], SHAPE(-1, 1));
    return t_mul(flat, t_reshape(column, SHAPE(n)));
}

static void make_permute(struct op_case *c, struct rng *r)
{
    make_volume(c, r);
    int n = c->in[0].n_dims;
    int64_t order[T_MAX_DIMS] = {0, 1, 2, 3, 4};
    rng_shuffle(r, order, n);
    for (int i = 0; i < n; i++)
        c->i[i] = order[i];
}

static struct tensor *build_permute(struct tape *t, struct tensor **in, const struct op_case *c)
{
    int perm[T_MAX_DIMS] = {0};
    for (int i = 0; i < c->in[0].n_dims; i++)
        perm[i] = (int)c->i[i];
    return t_permute(in[0], perm);
}

static void make_matrices(struct op_case *c, struct rng *r)
{
    int64_t s[3] = {case_axis(c, r, 1, 3, 64), case_axis(c, r, 1, 4, 64), case_axis(c, r, 1, 4, 512)};
    bool flat = !c->big && case_coin(r);
    c->flop = (double)case_count(case_add(c, DOM_NORMAL, flat ? 2 : 3, flat ? s + 1 : s));
}

static struct tensor *build_transpose(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_transpose(in[0]);
}

static void make_concat(struct op_case *c, struct rng *r)
{
    int64_t s[T_MAX_DIMS];
    make_volume(c, r);
    for (int i = 0; i < c->in[0].n_dims; i++)
        s[i] = c->in[0].shape[i];
    for (int k = 0; k < 2; k++) {
        s[c->i[0]] = case_axis(c, r, 1, 3, 50);
        case_add(c, DOM_NORMAL, c->in[0].n_dims, s);
    }
}

/* One input twice: its gradients add up */
static struct tensor *build_concat(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct tensor *xs[] = {in[0], in[1], in[2], in[0]};
    return t_concat(xs, 4, (int)c->i[0]);
}

static void make_slice(struct op_case *c, struct rng *r)
{
    make_volume(c, r);
    if (c->param)
        c->i[0] = 0;
    int64_t n = c->in[0].shape[c->i[0]];
    c->i[1] = case_length(r, 0, n - 1);
    c->i[2] = case_length(r, 1, n - c->i[1]);
}

static struct tensor *build_slice(struct tape *t, struct tensor **in, const struct op_case *c)
{
    struct tensor *y = t_slice(in[0], (int)c->i[0], c->i[1], c->i[2]);
    return t_mul(y, y);
}

static void make_rows(struct op_case *c, struct rng *r)
{
    int64_t b = case_axis(c, r, 1, 4, 64), n = case_axis(c, r, 1, 4, 50);
    int64_t d = case_axis(c, r, 1, 4, 768);
    case_add(c, DOM_NORMAL, 3, (int64_t[]){b, n, d});
    case_ids(c, r, b, n);
    c->i[0] = case_length(r, 0, n - 1);
    c->flop = (double)(b * d);
}

static struct tensor *build_row(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_row(in[0], c->i[0]);
}

static struct tensor *build_pick(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_pick(in[0], c->ids);
}

static void make_prepend(struct op_case *c, struct rng *r)
{
    make_rows(c, r);
    struct case_input x = c->in[0];
    c->n_in = 0;
    case_add(c, DOM_NORMAL, 1, &x.shape[2]);
    case_add(c, DOM_NORMAL, 3, x.shape);
}

static struct tensor *build_prepend(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_prepend(in[0], in[1]);
}

static void make_table(struct op_case *c, struct rng *r)
{
    int64_t rows = case_axis(c, r, 1, 6, 49408), d = case_axis(c, r, 1, 4, 512);
    case_add(c, DOM_NORMAL, 2, (int64_t[]){rows, d});
    c->i[0] = case_axis(c, r, 1, 3, 64);
    c->i[1] = case_axis(c, r, 1, 3, 77);
    case_ids(c, r, c->i[0] * c->i[1], rows);
    c->flop = (double)(c->i[0] * c->i[1] * d);
}

static struct tensor *build_gather(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_gather(in[0], c->ids, c->i[0] * c->i[1]);
}

static struct tensor *build_embed(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_embed(t, in[0], c->ids, SHAPE(c->i[0], c->i[1]));
}

static void make_square(struct op_case *c, struct rng *r)
{
    int64_t n = case_axis(c, r, 1, 6, 1024);
    case_add(c, DOM_NORMAL, 2, (int64_t[]){n, n});
    c->flop = (double)n;
}

static struct tensor *build_diag(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_diag(in[0]);
}

static void make_reduce(struct op_case *c, struct rng *r)
{
    make_volume(c, r);
    c->in[0].domain = c->param == RED_MAX ? DOM_SPREAD : DOM_NORMAL;
    if (case_coin(r))
        c->i[0] -= c->in[0].n_dims; /* counted from the end */
}

static struct tensor *build_reduce(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return t_reduce(in[0], (enum reduce)c->param, (int)c->i[0]);
}

static struct tensor *build_total(struct tape *t, struct tensor **in, const struct op_case *c)
{
    return c->param ? t_mean(in[0]) : t_sum(in[0]);
}

static const struct op_entry entries[] = {
    {"reshape", make_volume, build_reshape, 0},
    {"permute", make_permute, build_permute, 0},
    {"transpose", make_matrices, build_transpose, 0},
    {"concat", make_concat, build_concat, 0},
    {"slice", make_slice, build_slice, 0},
    {"slice of the leading axis", make_slice, build_slice, 1},
    {"prepend", make_prepend, build_prepend, 0},
    {"row", make_rows, build_row, 0},
    {"pick", make_rows, build_pick, 0},
    {"gather", make_table, build_gather, 0},
    {"embed", make_table, build_embed, 0},
    {"diag", make_square, build_diag, 0},
    {"reduce sum", make_reduce, build_reduce, RED_SUM},
    {"reduce mean", make_reduce, build_reduce, RED_MEAN},
    {"reduce max", make_reduce, build_reduce, RED_MAX},
    {"reduce lse", make_reduce, build_reduce, RED_LSE},
    {"sum", make_volume, build_total, 0},
    {"mean", make_volume, build_total, 1},
};

const struct op_group op_group_shape = {entries, ARRAY_LEN(entries)};
