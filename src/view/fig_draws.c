/* view/fig_draws.c: what a distribution covers: draws near its mean and in its tail, each as the picture nearest to it
 * (a picture once, the most frequent first). Upadhyay et al. 2023 show such draws through a generator; the nearest
 * pictures of the set say the same of vectors alone. */
#include "view/fig.h"

#include <math.h>
#include <stdlib.h>

struct found {
    int64_t row, times;
    double cosine; /* mean */
};

static int by_row(const void *a, const void *b)
{
    const struct found *p = a, *q = b;
    return p->row < q->row ? -1 : p->row > q->row;
}

static int by_times(const void *a, const void *b)
{
    const struct found *p = a, *q = b;
    return p->times != q->times ? (p->times > q->times ? -1 : 1) : by_row(a, b);
}

static int fill(const struct fig_draws *in, int region, struct strip *s)
{
    int64_t n = 0;
    struct found *f = mem_calloc((size_t)in->n + 1, sizeof *f);
    if (!f)
        return ERR_MEMORY;
    for (int64_t i = 0; i < in->n; i++)
        if (in->hits[region][i].row >= 0)
            f[n++] = (struct found){in->hits[region][i].row, 1, (double)in->hits[region][i].score};
    qsort(f, (size_t)n, sizeof *f, by_row);
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (kept > 0 && f[kept - 1].row == f[i].row) {
            f[kept - 1].times++;
            f[kept - 1].cosine += f[i].cosine;
        } else {
            f[kept++] = f[i];
        }
    qsort(f, (size_t)kept, sizeof *f, by_times);
    snprintf(s->label, sizeof s->label, "%lld picture%s, most frequent first", (long long)kept, kept == 1 ? "" : "s");
    for (int64_t i = 0; i < kept && s->n < CARD_MAX; i++)
        s->card[s->n++] = (struct card){.side = 0, .row = f[i].row, .cosine = f[i].cosine / (double)f[i].times};
    mem_free(f);
    return 0;
}

static int draw(struct ctx *c, struct fig *f)
{
    const struct fig_draws *in = c->in.draws;
    BUG_ON(!in);
    f->gallery = mem_calloc(1, sizeof *f->gallery);
    if (!f->gallery)
        return ERR_MEMORY;
    f->gallery->n_groups = 1;
    struct gallery_group *g = &f->gallery->group[0];
    snprintf(g->heading, sizeof g->heading, "Pictures nearest to draws");
    for (int k = 0; k < 2; k++) {
        struct gallery_row *row = &g->row[g->n++];
        row->query = (struct card){.side = in->side, .row = in->row, .cosine = (double)NAN};
        row->n_strips = 1;
        TRY(fill(in, k, &row->strip[0]));
        snprintf(row->verdict, sizeof row->verdict, "%lld draws %s", (long long)in->n, in->name[k]);
    }
    str_add(&f->how, "Left the item. Each draw from its distribution is shown as the picture nearest to it, the most "
                     "frequent first, with the mean cosine; above draws near the mean, below those in the tails. A few "
                     "pictures of one kind: the vector is sure. Many of several kinds: it could mean any of them.");
    return 0;
}

int figure_draws_svg(const struct fig_in *in, struct str *svg, struct str *tsv)
{
    static const struct fig_kind kind = {"draws", "What might this vector mean?", FIG_SET, draw};
    return figure_svg_of(&kind, in, svg, tsv);
}
