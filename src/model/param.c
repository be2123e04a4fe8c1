/* model/param.c: the parameter table in use. Every weight is one row; a tensor that the engine wants packed (q, k and v
 * as one product) is several rows of the file laid side by side in memory, so foreign names stay and the arithmetic is
 * one call.
 *
 * All numbers lie in one slab, so the optimiser, the gradient norm and the checkpoint are single loops. Rejected:
 * mapping the weights in place, which cannot pack q, k, v nor convert half precision; the copy costs 0.1 s for 600 MB.
 */
#include "model/param.h"

#include <math.h>
#include <string.h>

static int64_t size_of_letter(const struct param_sizes *s, char letter)
{
    if (letter == '1')
        return 1;
    const char *at = strchr(s->letters, letter);
    BUG_ON(!at);
    return s->sizes[at - s->letters];
}

static double deviation_of(const struct param *q, const struct param_sizes *s)
{
    double width = (double)s->width, layers = (double)(s->layers > 0 ? s->layers : 1);
    switch (q->init) {
    case INIT_SMALL:
        return 0.02;
    case INIT_TINY:
        return 0.01;
    case INIT_WIDTH:
        return 1.0 / sqrt(width);
    case INIT_OUT:
        return 1.0 / sqrt(width * 2.0 * layers);
    case INIT_MLP:
        return 1.0 / sqrt(2.0 * width);
    case INIT_FAN_IN:
        return 1.0 / sqrt((double)(q->n / q->shape[0]));
    case INIT_ZERO:
    case INIT_ONE:
        break;
    }
    return 0.0;
}

/* Room for a list of n rows: doubled, so that a thousand layers are not copied a thousand times. */
static size_t room_for(int64_t n)
{
    size_t room = 64;
    while (room < (size_t)n)
        room *= 2;
    return room;
}

static int grow_list(struct params *p, int more)
{
    size_t old = p->v ? room_for(p->n) : 0, now = room_for(p->n + more);
    if (now <= old)
        return 0;
    struct param *v = mem_grow(p->v, old * sizeof *v, now * sizeof *v);
    if (!v)
        return ERR_MEMORY;
    p->v = v;
    return 0;
}

/* The tensor that the row is, or is the first part of. */
static void shape_tensor(struct tensor *t, const struct param *q, const struct param_row *row)
{
    int parts = row->parts ? row->parts : 1, skip = 0;
    memset(t, 0, sizeof *t);
    t->name = q->path;
    t->n = q->n * parts;
    while (row->shape[skip] == '1')
        skip++;
    t->n_dims = row->flat ? 2 : q->n_dims - skip;
    for (int d = 0; d < t->n_dims; d++)
        t->shape[d] = q->shape[row->transposed ? q->n_dims - 1 - d : skip + d];
    if (t->n_dims > 0)
        t->shape[0] *= parts;
    if (row->flat)
        t->shape[1] = q->n / q->shape[0];
}

static char *join(struct arena *a, const char *prefix, const char *path)
{
    size_t n = strlen(prefix), m = strlen(path) + 1;
    char *s = arena_alloc(a, n + m);
    if (s) {
        memcpy(s, prefix, n);
        memcpy(s + n, path, m);
    }
    return s;
}

int params_bind(struct params *p, struct arena *a, const struct param_row *rows, int n_rows, void *base,
                const char *prefix, const struct param_sizes *sizes)
{
    TRY(grow_list(p, n_rows));
    for (int i = 0; i < n_rows; i++) {
        const struct param_row *row = &rows[i];
        struct param q = {.tensor = (struct tensor *)((char *)base + row->offset), .kind = row->kind, .n = 1};
        q.transposed = row->transposed;
        q.grid = row->grid;
        q.init = row->init;
        q.path = join(a, prefix, row->path);
        if (!q.path)
            return ERR_MEMORY;
        for (const char *c = row->shape; *c; c++) {
            q.shape[q.n_dims] = size_of_letter(sizes, *c);
            q.n *= q.shape[q.n_dims++];
        }
        BUG_ON(q.transposed && (q.n_dims != 2 || row->parts));
        q.decay = q.n_dims >= 2;
        q.deviation = deviation_of(&q, sizes);
        if (row->part == 0 && q.kind != PARAM_ALIAS && !q.tensor->data)
            shape_tensor(q.tensor, &q, row);
        p->v[p->n++] = q;
    }
    return 0;
}

/* Does row i begin a tensor? Parts of one follow each other without a gap; an alias is none of its own. */
static bool begins(const struct params *p, int64_t i)
{
    return p->v[i].kind != PARAM_ALIAS && (i == 0 || p->v[i - 1].tensor != p->v[i].tensor);
}

/* Zeros for all weights; out of an arena, which asks for huge pages: hundreds of megabytes are first touched here. */
static void *slab(struct params *p)
{
    if (!p->memory && arena_open(&p->memory, "weights") < 0)
        return NULL;
    return arena_calloc(p->memory, (size_t)p->n_slab, dtype_size(p->real));
}

int params_allocate(struct params *p, enum dtype real)
{
    const int64_t pad = 16; /* 64 bytes of float: tensors start on cache lines */
    int64_t at = 0;
    p->n_numbers = 0;
    for (int64_t i = 0; i < p->n; i++) {
        struct param *q = &p->v[i];
        if (q->kind == PARAM_ALIAS)
            continue;
        if (begins(p, i))
            at = (at + pad - 1) / pad * pad;
        q->at = at;
        at += q->n;
        p->n_numbers += q->n;
    }
    p->n_slab = (at + pad - 1) / pad * pad;
    p->real = real;
    p->data = slab(p);
    if (!p->data)
        return ERR_MEMORY;
    for (int64_t i = 0; i < p->n; i++)
        if (begins(p, i))
            p->v[i].tensor->data = params_data(p, &p->v[i]);
    for (int64_t i = 0; i < p->n; i++)
        if (p->v[i].kind == PARAM_ALIAS)
            p->v[i].at = ((char *)p->v[i].tensor->data - (char *)p->data) / (int64_t)dtype_size(real);
    return 0;
}

void params_share(struct params *p, const struct params *main)
{
    int64_t size = (int64_t)dtype_size(main->real), within = 0;
    p->n_slab = main->n_slab;
    p->real = main->real;
    p->data = main->data;
    p->grad = main->grad;
    p->n_numbers = 0;
    for (int64_t i = 0; i < p->n; i++) {
        struct param *q = &p->v[i];
        within = i > 0 && p->v[i - 1].tensor == q->tensor && q->kind != PARAM_ALIAS ? within + p->v[i - 1].n : 0;
        q->at = ((char *)q->tensor->data - (char *)p->data) / size + within;
        p->n_numbers += q->kind == PARAM_ALIAS ? 0 : q->n;
    }
}

void params_forget(struct params *p)
{
    mem_free(p->v);
    memset(p, 0, sizeof *p);
}

void params_free(struct params *p)
{
    arena_close(&p->memory);
    mem_free(p->v);
    memset(p, 0, sizeof *p);
}

void *params_data(const struct params *p, const struct param *q)
{
    return (char *)p->data + (size_t)q->at * dtype_size(p->real);
}

void *params_grad(const struct params *p, const struct param *q)
{
    return p->grad ? (char *)p->grad + (size_t)q->at * dtype_size(p->real) : NULL;
}

int params_want_grad(struct params *p)
{
    if (!p->grad)
        p->grad = slab(p);
    if (!p->grad)
        return ERR_MEMORY;
    for (int64_t i = 0; i < p->n; i++)
        if (begins(p, i) && p->v[i].kind == PARAM_TRAINED) {
            p->v[i].tensor->grad = params_grad(p, &p->v[i]);
            p->v[i].tensor->needs_grad = true;
        }
    return 0;
}

void params_zero_grad(struct params *p)
{
    if (p->grad)
        memset(p->grad, 0, (size_t)p->n_slab * dtype_size(p->real));
}

static void put_real(const struct params *p, const struct param *q, int64_t i, double x)
{
    if (p->real == DT_F64)
        ((double *)params_data(p, q))[i] = x;
    else
        ((float *)params_data(p, q))[i] = (float)x;
}

void params_init(struct params *p, uint64_t seed)
{
    for (int64_t k = 0; k < p->n; k++) {
        const struct param *q = &p->v[k];
        if (q->kind == PARAM_ALIAS)
            continue;
        /* The stream depends on the weight's name, not its place: adding a layer leaves the others as they were. */
        struct rng r = rng_stream(seed, RNG_INIT, 0, hash_bytes(q->path, strlen(q->path), 0));
        for (int64_t i = 0; i < q->n; i++)
            put_real(p, q, i, q->init == INIT_ONE ? 1.0 : q->deviation > 0 ? q->deviation * rng_normal(&r) : 0.0);
    }
}
