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

enum group { IS_ALIAS, STAYS, DECAYS };

/* A tensor that no gradient reached (a decoder, while a loss looks at vectors alone) does not decay: that by itself
 * would wear it away. A tensor in use is left after its first number. The second name of a tied weight is no weight. */
static enum group group_of(const struct params *p, int64_t k, bool decays)
{
    const struct param *q = &p->v[k];
    const void *grad = params_grad(p, q);
    if (q->kind == PARAM_ALIAS)
        return IS_ALIAS;
    for (int64_t i = 0; decays && q->decay && i < q->n; i++)
        if (p->real == DT_F64 ? ((const double *)grad)[i] != 0.0 : ((const float *)grad)[i] != 0.0f)
            return DECAYS;
    return STAYS;
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
    bool decays = opt->weight_decay > 0;
    enum group next = p->n > 0 ? group_of(p, 0, decays) : IS_ALIAS;
    for (int64_t k = 0; k < p->n;) {
        enum group group = next, other = next;
        int64_t last = k;
        while (last + 1 < p->n && (other = group_of(p, last + 1, decays)) == group)
            last++;
        next = other;
        size_t from = (size_t)p->v[k].at * size;
        int64_t n = p->v[last].at + p->v[last].n - p->v[k].at;
        s.weight_decay = group == DECAYS ? opt->weight_decay : 0.0;
        if (group != IS_ALIAS)
            e->adamw(e, n, &s, (char *)p->grad + from, (char *)p->data + from, (char *)o->m + from,
                     (char *)o->v + from);
        k = last + 1;
    }
}
