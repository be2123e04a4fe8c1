/* view/fig_likelihood.c: how likely every other item is under one item's distribution (as figure 4 of Upadhyay et al.
 * 2023): both sides as outlines, the item's own partners as marks. Where the outline of the partners' side lies left of
 * the marks, the distribution knows its item; where it lies around them, it does not. */
#include "view/fig.h"

#include <math.h>

#define BINS 960 /* outlines.c merges them */

static void range_of(const struct fig_likelihood *in, double *lo, double *hi)
{
    *lo = INFINITY, *hi = -INFINITY;
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; i < in->n[side]; i++)
            if (isfinite(in->l[side][i])) {
                *lo = fmin(*lo, in->l[side][i]);
                *hi = fmax(*hi, in->l[side][i]);
            }
    if (!(*lo < *hi)) {
        *lo -= 0.5;
        *hi += 0.5;
    }
}

static struct interval count_side(const struct fig_likelihood *in, int side, struct histogram *h, int64_t *count)
{
    double sum = 0;
    *h = (struct histogram){.n_bins = BINS, .low = h->low, .high = h->high, .count = count};
    for (int64_t i = 0; i < in->n[side]; i++) {
        double v = in->l[side][i];
        if (!isfinite(v) || (side == in->side && i == in->row) || (side != in->side && in->own[i]))
            continue;
        int at = (int)((v - h->low) / (h->high - h->low) * BINS);
        count[at < BINS ? at : BINS - 1]++;
        h->total++;
        sum += v;
    }
    return (struct interval){h->total ? sum / (double)h->total : (double)NAN, (double)NAN, (double)NAN};
}

static void mark_own(struct ctx *c, struct fig *f, const struct fig_likelihood *in, const struct outline_range *r)
{
    struct panel *p = &f->panel[0];
    const struct scale x = {.lo = r->lo, .hi = r->hi, .p0 = 6, .p1 = 470};
    struct str name = {0};
    int64_t shown = 0, side = !in->side;
    for (int64_t i = 0; i < in->n[side]; i++) {
        if (!in->own[i])
            continue;
        str_clear(&name);
        ctx_label(c, (int)side, i, &name);
        double px = fmin(fmax(scale_at(&x, in->l[side][i]), x.p0), x.p1);
        svg_triangle(&p->s, "f-good", px, 284, 6, name.s ? name.s : "");
        str_add(&f->tsv, "own\t%s\t%s\t1\t\n", word_raw(in->l[side][i]).s, word_raw(in->l[side][i]).s);
        shown++;
    }
    if (shown)
        str_add(&p->desc, "%lld partners are marked. ", (long long)shown);
    str_free(&name);
}

static int draw(struct ctx *c, struct fig *f)
{
    const struct fig_likelihood *in = c->in.likelihood;
    BUG_ON(!in);
    struct histogram h[2] = {{0}, {0}};
    struct outline k[2] = {{"other pictures", "image", "", &h[0], {0}}, {"other texts", "text", "dash", &h[1], {0}}};
    struct outline_range r;
    struct str name = {0};
    int64_t *count = mem_calloc(2 * BINS, sizeof *count);
    if (!count)
        return ERR_MEMORY;
    range_of(in, &h[0].low, &h[0].high);
    h[1] = h[0];
    for (int side = 0; side < 2; side++)
        k[side].mean = count_side(in, side, &h[side], count + side * BINS);
    ctx_label(c, in->side, in->row, &name);
    str_add(&f->how,
            "Log-likelihood of each other item under the distribution of this one, \"%.200s\", a mean over the "
            "dimensions; outlines have the same area. Marks are the items paired with it: right of the "
            "outlines, the distribution knows them.",
            name.s ? name.s : "");
    if (!outlines_range(k, 2, &r))
        fig_note(fig_panel(f, 480, 340, "Likelihood"), "There is no other item.");
    else
        outlines_panel(f, "Likelihood under one item's distribution", "log-likelihood per dimension", k, 2, &r);
    outlines_tsv(f, k, 2, &r);
    if (r.lo < r.hi)
        mark_own(c, f, in, &r);
    str_free(&name);
    mem_free(count);
    return 0;
}

int figure_likelihood_svg(const struct fig_in *in, struct str *svg, struct str *tsv)
{
    static const struct fig_kind kind = {"likelihood", "Which items does this distribution cover?", FIG_SET, draw};
    return figure_svg_of(&kind, in, svg, tsv);
}
