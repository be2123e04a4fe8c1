/* view/fig_cosines.c: where scores lie. Four histograms of cosines on one common axis: true pairs against wrong pairs
 * above all, then picture-picture against text-text.
 *
 * Each outline has area one, so that 700 true pairs and 490,000 wrong ones can be compared. Lines differ by dash as
 * well as by colour. The bins of eval are merged to about sixty over the range in use; counts in the TSV are those of
 * the merged bins. */
#include "view/fig.h"

#include <limits.h>
#include <math.h>

#define W 480.0
#define H 340.0

struct curve {
    const char *name, *colour, *dash;
    const struct histogram *h;
    struct interval mean;
};

static bool drawable(const struct histogram *h)
{
    return h->n_bins > 0 && h->count && h->total > 0 && h->high > h->low;
}

static double bin_edge(const struct histogram *h, int i)
{
    return h->low + (h->high - h->low) * i / h->n_bins;
}

/* The common range in use and how many bins of eval make one of ours. One duplicate among a million pairs would stretch
 * the axis to 1, so the outer TAIL of each histogram may lie outside. */
#define TAIL 0.0005
static bool common_range(const struct curve *k, int n, int *first, int *last, int *merge)
{
    *first = INT_MAX, *last = -1;
    for (int i = 0; i < n; i++) {
        if (!drawable(k[i].h))
            continue;
        const struct histogram *h = k[i].h;
        double tail = TAIL * (double)h->total, sum = 0;
        int a = 0, b = h->n_bins - 1;
        while (a < b && sum + (double)h->count[a] <= tail)
            sum += (double)h->count[a++];
        for (sum = 0; b > a && sum + (double)h->count[b] <= tail; b--)
            sum += (double)h->count[b];
        *first = a < *first ? a : *first;
        *last = b > *last ? b : *last;
    }
    if (*last < 0)
        return false;
    *merge = (*last - *first + 1 + 63) / 64;
    *first -= *first % *merge;
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

static void draw_curve(struct str *b, const struct curve *k, const struct scale *x, const struct scale *y, int first,
                       int last, int merge)
{
    char cls[64];
    for (int pass = 0; pass < 2; pass++) {
        snprintf(cls, sizeof cls, pass ? "step s-%s %s" : "area f-%s%s", k->colour, pass ? k->dash : "");
        svg_path_start(b, cls);
        svg_path_to(b, 'M', scale_at(x, bin_edge(k->h, first)), y->p0);
        for (int j = first; j <= last; j += merge) {
            double top = scale_at(y, density(k->h, j, merge));
            svg_path_to(b, 'L', scale_at(x, bin_edge(k->h, j)), top);
            svg_path_to(b, 'L', scale_at(x, bin_edge(k->h, j + merge)), top);
        }
        svg_path_to(b, 'L', scale_at(x, bin_edge(k->h, last + merge - (last - first) % merge)), y->p0);
        svg_path_end(b, pass == 0);
    }
}

/* The label stands on the outer side of its line, away from the other line, unless the edge is too near. */
static char label_side(const struct curve *k, int i, const struct scale *x)
{
    double px = scale_at(x, k[i].mean.value), other = scale_at(x, k[1 - i].mean.value);
    bool left = isfinite(k[1 - i].mean.value) ? px < other : px < (x->p0 + x->p1) / 2;
    if (left && px < 150)
        return 's';
    if (!left && px > W - 150)
        return 'e';
    return left ? 'e' : 's';
}

static void draw_mean(struct str *b, const struct curve *k, const struct scale *x, const struct scale *y, int level,
                      char anchor)
{
    char cls[64];
    if (!isfinite(k->mean.value))
        return;
    double px = scale_at(x, k->mean.value), top = 46 + 18 * level;
    snprintf(cls, sizeof cls, "mean s-%s %s", k->colour, k->dash);
    svg_line(b, cls, px, top + 5, px, y->p0);
    snprintf(cls, sizeof cls, "b f-%s-ink", k->colour);
    svg_text(b, cls, anchor == 'e' ? px + 3 : px - 3, top, anchor, "%s %s", k->name, word_num(k->mean.value, 2).s);
}

static void draw_panel(struct fig *f, const char *title, const struct curve *k, int n, struct scale x, double y_max,
                       int first, int last, int merge)
{
    struct panel *p = fig_panel(f, W, H, title);
    struct scale y = {.lo = 0, .hi = y_max, .p0 = H - 46, .p1 = 74};
    svg_text(&p->s, "head", 0, 15, 's', "%s", title);
    axis_bottom(&p->s, &x, y.p0, y.p1, 6, AXIS_PLAIN, "cosine");
    int none = 0;
    for (int i = 0; i < n; i++) {
        if (!drawable(k[i].h)) {
            svg_text(&p->s, "label", W / 2, 120 + 20 * none++, 'm', "%s: no such pairs in this set", k[i].name);
            continue;
        }
        draw_curve(&p->s, &k[i], &x, &y, first, last, merge);
    }
    for (int i = 0; i < n; i++) {
        if (drawable(k[i].h))
            draw_mean(&p->s, &k[i], &x, &y, i, label_side(k, i, &x));
        str_add(&p->desc, "%s: mean cosine %s. ", k[i].name, word_num_ci(k[i].mean, 3).s);
    }
}

/* Share of a histogram at or above v, bins taken whole. */
static void write_tsv(struct fig *f, const struct curve *k, int n, int first, int last, int merge)
{
    str_add(&f->tsv, "kind\tlow\thigh\tcount\tshare\n");
    for (int i = 0; i < n; i++)
        for (int j = first; drawable(k[i].h) && j <= last; j += merge)
            str_add(&f->tsv, "%s\t%.4g\t%.4g\t%.0f\t%.6g\n", k[i].name, bin_edge(k[i].h, j),
                    bin_edge(k[i].h, j + merge), merged(k[i].h, j, merge),
                    merged(k[i].h, j, merge) / (double)k[i].h->total);
}

int fig_cosines(struct ctx *c, struct fig *f)
{
    const struct geometry *g = c->in.geometry;
    const struct curve k[4] = {{"wrong pairs", "other", "dash", &g->hist_unmatched, g->unmatched},
                               {"true pairs", "good", "", &g->hist_matched, g->matched},
                               {"picture–picture", "image", "", &g->hist_image, g->image_image},
                               {"text–text", "text", "dash", &g->hist_text, g->text_text}};
    int first, last, merge;
    str_add(
        &f->how,
        "Each outline is a histogram of cosines scaled to the same area; the upright line is its mean. Above all "
        "compare true pairs "
        "with wrong ones: where the two outlines cross, a score says nothing; right of it a score speaks for a match. "
        "How high scores are differs from model to model; what counts is their distance from the wrong pairs. The "
        "outermost 0.05 %% of each histogram may lie outside.");
    if (!common_range(k, 4, &first, &last, &merge)) {
        struct panel *p = fig_panel(f, W, H, "Cosines");
        fig_note(p, "No pair of rows to compare.");
        write_tsv(f, k, 0, 0, 0, 1);
        return 0;
    }
    const struct histogram *any = k[0].h;
    for (int i = 0; i < 4; i++)
        if (drawable(k[i].h))
            any = k[i].h;
    int end = last + merge - (last - first) % merge;
    struct scale x = {.lo = bin_edge(any, first), .hi = bin_edge(any, end), .p0 = 6, .p1 = W - 10};
    double top[2] = {0, 0};
    for (int i = 0; i < 4; i++)
        for (int j = first; drawable(k[i].h) && j <= last; j += merge)
            top[i / 2] = fmax(top[i / 2], density(k[i].h, j, merge));
    draw_panel(f, "Between pictures and texts", k, 2, x, top[0] > 0 ? top[0] : 1, first, last, merge);
    draw_panel(f, "Within each side", k + 2, 2, x, top[1] > 0 ? top[1] : 1, first, last, merge);
    write_tsv(f, k, 4, first, last, merge);
    return 0;
}
