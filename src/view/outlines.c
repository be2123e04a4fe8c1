/* view/outlines.c: histograms as outlines of area one on a common axis, so that 700 values and 490,000 can be compared.
 *
 * Lines differ by dash as well as by colour. Bins are merged to about sixty over the range in use; counts in the TSV
 * are those of the merged bins. */
#include "view/fig.h"

#include <limits.h>
#include <math.h>

#define W 480.0
#define H 340.0

static bool drawable(const struct histogram *h)
{
    return h->n_bins > 0 && h->count && h->total > 0 && h->high > h->low;
}

static double bin_edge(const struct histogram *h, int i)
{
    return h->low + (h->high - h->low) * i / h->n_bins;
}

/* The first merged bin that is not drawn. */
static int past_end(const struct outline_range *r)
{
    return r->last + r->merge - (r->last - r->first) % r->merge;
}

/* One duplicate among a million pairs would stretch the axis to 1, so the outer TAIL of each histogram may lie outside.
 */
#define TAIL 0.0005
bool outlines_range(const struct outline *k, int n, struct outline_range *r)
{
    const struct histogram *any = NULL;
    *r = (struct outline_range){.first = INT_MAX, .last = -1, .merge = 1};
    for (int i = 0; i < n; i++) {
        if (!drawable(k[i].h))
            continue;
        const struct histogram *h = any = k[i].h;
        double tail = TAIL * (double)h->total, sum = 0;
        int a = 0, b = h->n_bins - 1;
        while (a < b && sum + (double)h->count[a] <= tail)
            sum += (double)h->count[a++];
        for (sum = 0; b > a && sum + (double)h->count[b] <= tail; b--)
            sum += (double)h->count[b];
        r->first = a < r->first ? a : r->first;
        r->last = b > r->last ? b : r->last;
    }
    if (!any)
        return false;
    r->merge = (r->last - r->first + 1 + 63) / 64;
    r->first -= r->first % r->merge;
    r->lo = bin_edge(any, r->first);
    r->hi = bin_edge(any, past_end(r));
    return true;
}

static double merged(const struct histogram *h, int at, int merge)
{
    int64_t sum = 0;
    for (int j = at; j < at + merge && j < h->n_bins; j++)
        sum += h->count[j];
    return (double)sum;
}

static double density(const struct histogram *h, int at, int merge)
{
    return merged(h, at, merge) / (double)h->total / ((h->high - h->low) / h->n_bins * merge);
}

static void draw_curve(struct str *b, const struct outline *k, const struct scale *x, const struct scale *y,
                       const struct outline_range *r)
{
    char cls[64];
    for (int pass = 0; pass < 2; pass++) {
        snprintf(cls, sizeof cls, pass ? "step s-%s %s" : "area f-%s%s", k->colour, pass ? k->dash : "");
        svg_path_start(b, cls);
        svg_path_to(b, 'M', scale_at(x, bin_edge(k->h, r->first)), y->p0);
        for (int j = r->first; j <= r->last; j += r->merge) {
            double top = scale_at(y, density(k->h, j, r->merge));
            svg_path_to(b, 'L', scale_at(x, bin_edge(k->h, j)), top);
            svg_path_to(b, 'L', scale_at(x, bin_edge(k->h, j + r->merge)), top);
        }
        svg_path_to(b, 'L', scale_at(x, bin_edge(k->h, past_end(r))), y->p0);
        svg_path_end(b, pass == 0);
    }
}

/* The label stands on the outer side of its line, away from the other lines, unless the edge is too near. */
static bool label_left(const struct outline *k, int n, int i, const struct scale *x)
{
    double px = scale_at(x, k[i].mean.value), others = 0;
    int seen = 0;
    for (int j = 0; j < n; j++)
        if (j != i && isfinite(k[j].mean.value)) {
            others += scale_at(x, k[j].mean.value);
            seen++;
        }
    bool left = px < (seen ? others / seen : (x->p0 + x->p1) / 2);
    return left ? px >= 150 : px > W - 150;
}

static void draw_mean(struct str *b, const struct outline *k, int n, int i, const struct scale *x,
                      const struct scale *y)
{
    char cls[64];
    if (!isfinite(k[i].mean.value) || k[i].mean.value < x->lo || k[i].mean.value > x->hi)
        return;
    bool left = label_left(k, n, i, x);
    double px = scale_at(x, k[i].mean.value), top = 46 + 18 * i;
    snprintf(cls, sizeof cls, "mean s-%s %s", k[i].colour, k[i].dash);
    svg_line(b, cls, px, top + 5, px, y->p0);
    snprintf(cls, sizeof cls, "b f-%s-ink", k[i].colour);
    svg_text(b, cls, left ? px + 3 : px - 3, top, left ? 'e' : 's', "%s %s", k[i].name, word_num(k[i].mean.value, 2).s);
}

void outlines_panel(struct fig *f, const char *title, const char *axis, const struct outline *k, int n,
                    const struct outline_range *r)
{
    struct panel *p = fig_panel(f, W, H, title);
    double top = 0;
    for (int i = 0; i < n; i++)
        for (int j = r->first; drawable(k[i].h) && j <= r->last; j += r->merge)
            top = fmax(top, density(k[i].h, j, r->merge));
    struct scale x = {.lo = r->lo, .hi = r->hi, .p0 = 6, .p1 = W - 10};
    struct scale y = {.lo = 0, .hi = top > 0 ? top : 1, .p0 = H - 46, .p1 = 74};
    svg_text(&p->s, "head", 0, 15, 's', "%s", title);
    axis_bottom(&p->s, &x, y.p0, y.p1, 6, AXIS_PLAIN, axis);
    int none = 0;
    for (int i = 0; i < n; i++) {
        if (!drawable(k[i].h)) {
            svg_text(&p->s, "label", W / 2, 120 + 20 * none++, 'm', "%s: none in this set", k[i].name);
            continue;
        }
        draw_curve(&p->s, &k[i], &x, &y, r);
    }
    for (int i = 0; i < n; i++) {
        if (drawable(k[i].h))
            draw_mean(&p->s, k, n, i, &x, &y);
        str_add(&p->desc, "%s: mean %s %s. ", k[i].name, axis, word_num_ci(k[i].mean, 3).s);
    }
}

void outlines_tsv(struct fig *f, const struct outline *k, int n, const struct outline_range *r)
{
    str_add(&f->tsv, "kind\tlow\thigh\tcount\tshare\n");
    for (int i = 0; i < n; i++)
        for (int j = r->first; drawable(k[i].h) && j <= r->last; j += r->merge)
            str_add(&f->tsv, "%s\t%.4g\t%.4g\t%.0f\t%.6g\n", k[i].name, bin_edge(k[i].h, j),
                    bin_edge(k[i].h, j + r->merge), merged(k[i].h, j, r->merge),
                    merged(k[i].h, j, r->merge) / (double)k[i].h->total);
}
