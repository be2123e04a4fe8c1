/* train/optimizer.c: AdamW (Loshchilov and Hutter 2019, algorithm 2) over the parameter slab. Weights with two or more
 * dimensions decay, vectors and scalars (norms, biases, class token, logit scale) do not. */
#include "train/train.h"

#include <math.h>
#include <string.h>

int optimizer_open(struct optimizer *o, const struct params *p)
{
    memset(o, 0, sizeof *o);
    o->m = mem_calloc((size_t)p->n_slab, dtype_size(p->real));
    o->v = mem_calloc((size_t)p->n_slab, dtype_size(p->real));
    if (o->m && o->v)
        return 0;
    optimizer_close(o);
    return ERR_MEMORY;
}

void optimizer_close(struct optimizer *o)
{
    mem_free(o->m);
    mem_free(o->v);
    memset(o, 0, sizeof *o);
}

void optimizer_step(struct optimizer *o, const struct engine *e, struct params *p, const struct optimizer_opt *opt,
                    double lr, double grad_scale)
{
    size_t size = dtype_size(p->real);
    o->step++;
    struct adamw_step s = {.lr = lr,
                           .beta1 = opt->beta1,
                           .beta2 = opt->beta2,
                           .eps = opt->eps,
                           .grad_scale = grad_scale,
                           .correction1 = 1.0 - pow(opt->beta1, (double)o->step),
                           .correction2 = 1.0 - pow(opt->beta2, (double)o->step)};
    /* Neighbours with the same decay are one call: a model has hundreds of rows, most of them small. */
    for (int64_t k = 0; k < p->n;) {
        int64_t last = k;
        while (last + 1 < p->n && p->v[last + 1].decay == p->v[k].decay)
            last++;
        size_t from = (size_t)p->v[k].at * size;
        int64_t n = p->v[last].at + p->v[last].n - p->v[k].at;
        s.weight_decay = p->v[k].decay ? opt->weight_decay : 0.0;
        e->adamw(e, n, &s, (char *)p->grad + from, (char *)p->data + from, (char *)o->m + from, (char *)o->v + from);
        k = last + 1;
    }
}
