/* The tape: a step arena, a list of nodes, the first error.
 *
 * Define-by-run reverse mode (Griewank and Walther 2008, chapter 3): every recorded op appends a node; backward walks
 * the list from the end, so every gradient is complete when its node is reached. Gradients of intermediate results
 * appear, zeroed, when first written, and are given back for reuse once their node has been walked (about half of a
 * step's memory otherwise, all of it cold); a node whose output got none is skipped. A second backward on the same tape
 * starts with fresh intermediate gradients, so gradients injected at several outputs add up correctly in the leaves.
 *
 * Two arenas: `step` holds activations, nodes and gradients until reset; `scratch` holds what one forward or backward
 * needs and is rewound after each. Rejected: one arena with rewinding, since a backward allocates gradients that must
 * outlive its temporaries. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tensor/node.h"

/* ---- opening, errors ---- */

int tape_open(struct tape **out, const struct engine *e, const struct tape_opt *opt)
{
    struct tape *t = mem_calloc(1, sizeof(*t));
    if (!t)
        return ERR_MEMORY;
    int rc = arena_open(&t->step, "step");
    if (rc < 0)
        goto fail;
    rc = arena_open(&t->scratch, "scratch");
    if (rc < 0)
        goto fail;
    t->e = e;
    t->real = dtype_size(e->real);
    if (opt)
        t->opt = *opt;
    *out = t;
    return 0;
fail:
    tape_close(&t);
    return rc;
}

void tape_close(struct tape **t)
{
    if (!t || !*t)
        return;
    if ((*t)->step)
        arena_close(&(*t)->step);
    if ((*t)->scratch)
        arena_close(&(*t)->scratch);
    mem_free(*t);
    *t = NULL;
}

void tape_reset(struct tape *t)
{
    arena_reset(t->step);
    arena_reset(t->scratch);
    t->n_spare = 0;
    t->last = NULL;
    t->error = 0;
    t->message[0] = 0;
}

struct tensor *tape_poison(struct tape *t, int code)
{
    if (!t->error) {
        t->error = code;
        snprintf(t->message, sizeof(t->message), "%s", err_text());
    }
    return NULL;
}

int tape_status(const struct tape *t)
{
    if (!t)
        FAIL(ERR_FAIL, "tape: there is no tape");
    return t->error ? err_set(t->error, "%s", t->message) : 0;
}

const struct engine *tape_engine(const struct tape *t)
{
    return t->e;
}

struct arena *tape_arena(struct tape *t)
{
    return t->step;
}

struct tape *tape_of(const struct tensor *a, const struct tensor *b)
{
    if (a && a->tape)
        return a->tape;
    return b ? b->tape : NULL;
}

const char *shape_text(const struct tensor *x)
{
    static _Thread_local char ring[8][128];
    static _Thread_local unsigned turn;
    char *s = ring[turn++ % 8];
    int at = snprintf(s, 128, "[");
    for (int i = 0; i < x->n_dims; i++)
        at += snprintf(s + at, (size_t)(128 - at), "%s%" PRId64, i ? "," : "", x->shape[i]);
    snprintf(s + at, (size_t)(128 - at), "]");
    return s;
}

/* ---- tensors ---- */

static struct tensor *root_of(struct tensor *x)
{
    return x->base ? x->base : x;
}

/* A parameter wants a gradient only where its owner made room for one. */
static bool wants_grad(struct tensor *x)
{
    const struct tensor *r = root_of(x);
    return r->needs_grad && (r->tape || r->grad);
}

static int check_shape(const char *what, int n_dims, const int64_t *shape, int64_t *n)
{
    if (n_dims < 0 || n_dims > T_MAX_DIMS)
        FAIL(ERR_FAIL, "%s: %d dimensions, at most %d are possible", what, n_dims, T_MAX_DIMS);
    size_t total = 1;
    for (int i = 0; i < n_dims; i++)
        if (shape[i] < 1)
            FAIL(ERR_FAIL, "%s: axis %d has length %" PRId64 ", expected at least 1", what, i, shape[i]);
        else if (!mul_ok(total, (size_t)shape[i], &total) || total > SIZE_MAX / 64)
            FAIL(ERR_FAIL, "%s: the shape is too large", what);
    *n = (int64_t)total;
    return 0;
}

/* A tensor without data. NULL poisons the tape. */
static struct tensor *make_tensor(struct tape *t, const char *what, int n_dims, const int64_t *shape)
{
    if (t->error)
        return NULL;
    int64_t n = 0;
    int rc = check_shape(what, n_dims, shape, &n);
    if (rc < 0)
        return tape_poison(t, rc);
    struct tensor *x = arena_calloc(t->step, 1, sizeof(*x));
    if (!x)
        return tape_poison(t, ERR_MEMORY);
    shape_copy(x, n_dims, shape);
    x->n = n;
    x->tape = t;
    return x;
}

struct tensor *t_new(struct tape *t, int n_dims, const int64_t *shape)
{
    struct tensor *x = make_tensor(t, "new tensor", n_dims, shape);
    if (!x)
        return NULL;
    x->data = arena_alloc(t->step, (size_t)x->n * t->real);
    return x->data ? x : tape_poison(t, ERR_MEMORY);
}

struct tensor *t_input(struct tape *t, int n_dims, const int64_t *shape, const void *data)
{
    struct tensor *x = make_tensor(t, "input", n_dims, shape);
    if (!x)
        return NULL;
    if (!data)
        return tape_poison(t, err_set(ERR_FAIL, "input: %s has no data", shape_text(x)));
    x->data = (void *)(uintptr_t)data;
    return x;
}

struct tensor *t_input_grad(struct tape *t, int n_dims, const int64_t *shape, const void *data)
{
    struct tensor *x = t_input(t, n_dims, shape, data);
    if (x)
        x->needs_grad = true;
    return x;
}

struct tensor *tensor_view(struct tensor *x, int n_dims, const int64_t *shape, int64_t offset)
{
    struct tape *t = x->tape;
    struct tensor *v = make_tensor(t, "view", n_dims, shape);
    if (!v)
        return NULL;
    v->base = root_of(x);
    v->offset = x->offset + offset;
    v->needs_grad = wants_grad(x);
    v->data = (char *)x->data + (size_t)offset * t->real;
    return v;
}

struct tensor *t_use(struct tape *t, struct tensor *param)
{
    if (!param)
        return NULL;
    struct tensor *x = t_input(t, param->n_dims, param->shape, param->data);
    if (!x)
        return NULL;
    x->base = root_of(param);
    x->offset = param->offset;
    x->needs_grad = wants_grad(param);
    x->name = param->name;
    return x;
}

struct tensor *t_constant(struct tape *t, double value)
{
    struct tensor *x = t_new(t, 0, NULL);
    if (x)
        t->e->fill(t->e, x->data, value, 1);
    return x;
}

double t_get(const struct tensor *x, int64_t i)
{
    /* parameters carry no tape; they are stored in fp32 (house rule on numbers) */
    enum dtype real = x->tape ? x->tape->e->real : DT_F32;
    return real == DT_F64 ? ((const double *)x->data)[i] : (double)((const float *)x->data)[i];
}

void t_put(struct tensor *x, int64_t i, double v)
{
    if (x->tape->e->real == DT_F64)
        ((double *)x->data)[i] = v;
    else
        ((float *)x->data)[i] = (float)v;
}

double t_value(const struct tensor *x)
{
    return x && x->data ? t_get(x, 0) : (double)NAN;
}

int shape_copy(struct tensor *out, int n_dims, const int64_t *shape)
{
    out->n_dims = n_dims;
    for (int i = 0; i < n_dims; i++)
        out->shape[i] = shape[i];
    return 0;
}

int shape_like(struct tensor *out, const struct tensor *x)
{
    return shape_copy(out, x->n_dims, x->shape);
}

int64_t last_axis(const struct tensor *x)
{
    return x->n_dims ? x->shape[x->n_dims - 1] : 1;
}

int axis_of(const struct tensor *x, int axis)
{
    int a = axis < 0 ? axis + x->n_dims : axis;
    return a >= 0 && a < x->n_dims ? a : -1;
}

/* ---- nodes ---- */

int node_fail(const struct node *n, int code, const char *fmt, ...)
{
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(code, "%s: %s", n->op->name, text);
}

void *node_save_bytes(struct node *n, int slot, const void *from, size_t bytes)
{
    BUG_ON(slot < 0 || slot >= NODE_SAVED);
    void *p = arena_alloc(n->record ? n->tape->step : n->tape->scratch, bytes);
    if (p && from)
        memcpy(p, from, bytes);
    n->saved[slot] = p;
    return p;
}

void *node_save(struct node *n, int slot, int64_t reals)
{
    return node_save_bytes(n, slot, NULL, (size_t)reals * n->tape->real);
}

void *node_scratch(struct node *n, int64_t reals)
{
    return arena_alloc(n->tape->scratch, (size_t)reals * n->tape->real);
}

void *real_at(const struct node *n, const void *p, int64_t offset)
{
    return (char *)(uintptr_t)p + offset * (int64_t)n->tape->real;
}

bool node_wants(const struct node *n, int i)
{
    return i < n->n_in && wants_grad(n->in[i]);
}

/* Zeroed memory for a gradient: a given-back one of the same size when there is one, still warm in the cache. */
static void *grad_take(struct tape *t, int64_t n)
{
    for (int i = t->n_spare - 1; i >= 0; i--)
        if (t->spare[i].n == n) {
            void *p = t->spare[i].p;
            t->spare[i] = t->spare[--t->n_spare];
            t->e->fill(t->e, p, 0.0, n);
            return p;
        }
    return arena_calloc(t->step, (size_t)n, t->real);
}

/* The node that made x has been walked: nothing reads this gradient any more. */
static void grad_give_back(struct tape *t, struct tensor *x)
{
    if (t->n_spare < TAPE_SPARE)
        t->spare[t->n_spare++] = (struct spare_grad){x->grad, x->n};
    x->grad = NULL;
}

/* Views resolve to their base; x->grad of a view is filled in so that a caller can read it. */
static void *grad_of(struct tape *t, struct tensor *x)
{
    if (!wants_grad(x))
        return NULL;
    struct tensor *r = root_of(x);
    if (!r->grad) {
        r->grad = grad_take(t, r->n);
        if (!r->grad) {
            tape_poison(t, ERR_MEMORY);
            return NULL;
        }
    }
    if (x != r)
        x->grad = (char *)r->grad + (size_t)x->offset * t->real;
    return x->grad;
}

void *node_grad(struct node *n, int i)
{
    return i < n->n_in ? grad_of(n->tape, n->in[i]) : NULL;
}

/* The tape of the inputs; NULL with a message when there is none, or two. */
static int find_tape(const struct op *op, struct tensor *const *in, int n_in, struct tape **out)
{
    struct tape *t = NULL;
    bool missing = false;
    for (int i = 0; i < n_in; i++) {
        if (!in[i])
            missing = true;
        else if (!t)
            t = in[i]->tape;
        else if (in[i]->tape && in[i]->tape != t) {
            *out = t;
            FAIL(ERR_FAIL, "%s: the inputs come from two tapes", op->name);
        }
    }
    *out = t;
    if (missing)
        FAIL(ERR_FAIL, "%s: an input is missing", op->name);
    if (!t)
        FAIL(ERR_FAIL, "%s: no input is on a tape (see t_use)", op->name);
    return 0;
}

static int check_input(const struct node *n, int i)
{
    if (!n->in[i]->data)
        return node_fail(n, ERR_FAIL, "input %d %s (%s) has no data", i, shape_text(n->in[i]),
                         n->in[i]->name ? n->in[i]->name : "unnamed");
    return 0;
}

static int node_forward(struct node *n)
{
    struct tensor shape = {0};
    for (int i = 0; i < n->n_in; i++)
        TRY(check_input(n, i));
    TRY(n->op->shape(n, &shape));
    n->out = t_new(n->tape, shape.n_dims, shape.shape);
    if (!n->out)
        return tape_status(n->tape);
    n->out->needs_grad = n->record;
    return n->op->forward(n);
}

/* Keep a copy of the node, its input list and its attributes until reset. */
static int node_keep(const struct node *n, size_t attr_size)
{
    struct tape *t = n->tape;
    struct node *kept = arena_alloc(t->step, sizeof(*kept));
    NODE_GOT(kept);
    *kept = *n;
    kept->in = arena_alloc(t->step, (size_t)n->n_in * sizeof(*kept->in));
    NODE_GOT(kept->in);
    memcpy(kept->in, n->in, (size_t)n->n_in * sizeof(*kept->in));
    if (attr_size) {
        kept->attr = arena_alloc(t->step, attr_size);
        NODE_GOT(kept->attr);
        memcpy(kept->attr, n->attr, attr_size);
    }
    kept->prev = t->last;
    t->last = kept;
    return 0;
}

struct tensor *node_run(const struct op *op, struct tensor *const *in, int n_in, void *attr, size_t attr_size)
{
    struct tape *t;
    int rc = find_tape(op, in, n_in, &t);
    if (!t || t->error)
        return NULL;
    if (rc < 0)
        return tape_poison(t, rc);
    struct node n = {.op = op, .tape = t, .e = t->e, .in = (struct tensor **)(uintptr_t)in, .n_in = n_in, .attr = attr};
    for (int i = 0; i < n_in && t->opt.record; i++)
        n.record = n.record || wants_grad(in[i]);
    struct arena_mark mark = arena_mark(t->scratch);
    rc = node_forward(&n);
    arena_rewind(t->scratch, mark);
    if (rc >= 0 && n.record)
        rc = node_keep(&n, attr_size);
    return rc < 0 ? tape_poison(t, rc) : n.out;
}

/* ---- backward ---- */

static int node_backward(struct node *n)
{
    struct arena_mark mark = arena_mark(n->tape->scratch);
    int rc = n->op->backward(n, n->out->grad);
    arena_rewind(n->tape->scratch, mark);
    if (rc >= 0 && n->tape->error)
        return tape_status(n->tape);
    if (rc < 0)
        tape_poison(n->tape, rc);
    return rc;
}

/* `grad` NULL: the seed is 1 */
static int backward(struct tensor *x, const void *grad)
{
    if (!x)
        FAIL(ERR_FAIL, "backward: there is no tensor to start from; an op before it failed (see tape_status)");
    struct tape *t = x->tape;
    if (!t)
        FAIL(ERR_FAIL, "backward: the tensor is not on a tape");
    TRY(tape_status(t));
    if (!t->opt.record)
        FAIL(ERR_FAIL, "backward: the tape was opened without record");
    if (!wants_grad(x))
        FAIL(ERR_FAIL, "backward: the tensor depends on nothing that wants a gradient");
    for (struct node *n = t->last; n; n = n->prev)
        n->out->grad = NULL;
    void *seed = grad_of(t, x);
    if (!seed)
        return tape_status(t);
    if (grad)
        t->e->axpy(t->e, 1.0, grad, seed, x->n);
    else
        t->e->scale_add(t->e, 1.0, seed, 1.0, seed, 1);
    for (struct node *n = t->last; n; n = n->prev)
        if (n->out->grad) {
            TRY(node_backward(n));
            grad_give_back(t, n->out);
        }
    return 0;
}

int tape_backward(struct tensor *loss)
{
    if (loss && loss->n != 1)
        FAIL(ERR_FAIL, "backward: the loss has shape %s, expected a single number", shape_text(loss));
    return backward(loss, NULL);
}

int tape_backward_from(struct tensor *x, const void *grad)
{
    if (!grad)
        FAIL(ERR_FAIL, "backward: no gradient was given");
    return backward(x, grad);
}

/* ---- scopes ---- */

struct t_scope t_scope_begin(struct tape *t)
{
    return (struct t_scope){.mark = arena_mark(t->step)};
}

/* The kept tensor goes through the scratch arena: the place it returns to may overlap the place it leaves. */
struct tensor *t_scope_end(struct tape *t, struct t_scope s, struct tensor *keep)
{
    if (t->opt.record)
        return keep;
    if (!keep || t->error) {
        arena_rewind(t->step, s.mark);
        return NULL;
    }
    const struct tensor head = *keep;
    size_t bytes = (size_t)keep->n * t->real;
    struct arena_mark mark = arena_mark(t->scratch);
    void *parked = arena_alloc(t->scratch, bytes);
    if (!parked)
        return tape_poison(t, ERR_MEMORY);
    t->e->copy(t->e, parked, keep->data, keep->n);
    arena_rewind(t->step, s.mark);
    struct tensor *out = t_new(t, head.n_dims, head.shape);
    if (out)
        t->e->copy(t->e, out->data, parked, out->n);
    arena_rewind(t->scratch, mark);
    return out;
}
