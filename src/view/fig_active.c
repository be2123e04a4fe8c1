/* view/fig_active.c: does choosing what to label pay? Left, recall on held-out pairs after every round, one line a
 * strategy; right, what each strategy gains over the first one (chance), as the mean difference of the heights of the
 * curves, paired by seed, with its interval. The right half is the answer: curves of one figure share their splits, so
 * that overlapping bands say little about a difference (Cumming and Finch 2005, "Inference by eye"). */
#include "view/fig.h"

#include <math.h>

#define W 480.0
#define X0 118.0
#define FEW 3 /* lines whose bands can be told apart */

static void gains(struct fig *f, const struct fig_active *in)
{
    double h = 96 + 26.0 * in->n, lo = 0, hi = 0;
    struct panel *p = fig_panel(f, W, fmax(h, 200), "Gain over choosing by chance");
    svg_text(&p->s, "head", 0, 15, 's', "Gain over %s", in->n > 0 ? in->line[0].name : "chance");
    for (int i = 1; i < in->n; i++) {
        const double v[3] = {in->gain[i].value, in->gain[i].low, in->gain[i].high};
        for (int k = 0; k < 3; k++)
            if (isfinite(v[k])) {
                lo = fmin(lo, v[k]);
                hi = fmax(hi, v[k]);
            }
    }
    if (in->n < 2 || !(lo < hi)) {
        fig_note(p, "There is nothing to compare.");
        return;
    }
    struct scale x = {.lo = lo, .hi = hi, .p0 = X0, .p1 = W - 12};
    scale_widen(&x, 0.06);
    double bottom = 40 + 26.0 * (in->n - 1);
    axis_bottom(&p->s, &x, bottom, 34, 3, AXIS_PERCENT, "mean difference of recall over the curve");
    svg_line(&p->s, "s-ink mean", scale_at(&x, 0), 30, scale_at(&x, 0), bottom);
    for (int i = 1; i < in->n; i++) {
        const struct interval g = in->gain[i];
        double y = 26 + 26.0 * i;
        svg_text(&p->s, "", X0 - 10, y + 4, 'e', "%s", in->line[i].name);
        if (!isfinite(g.value))
            continue;
        const char *c = g.low > 0 ? "good" : g.high < 0 ? "bad" : "other";
        char cls[64], tip[192];
        snprintf(tip, sizeof tip, "%.60s: %.80s", in->line[i].name, word_num_ci(g, 4).s);
        if (isfinite(g.low) && isfinite(g.high)) {
            snprintf(cls, sizeof cls, "s-%s thick", c);
            svg_line(&p->s, cls, scale_at(&x, g.low), y, scale_at(&x, g.high), y);
        }
        svg_circle(&p->s, "f-ink", scale_at(&x, g.value), y, 4.5, tip);
        str_add(&p->desc, "%s: %s. ", in->line[i].name, word_num_ci(g, 4).s);
    }
}

/* The lines with copies of their values that have no band, but for line 0. NULL: no memory, then all bands stay. */
static struct interval *without_bands(const struct fig_active *in, struct band_line *drawn)
{
    int64_t n = 0, at = 0;
    for (int i = 0; i < in->n; i++)
        n += in->line[i].n;
    struct interval *bare = mem_calloc((size_t)n + 1, sizeof *bare);
    for (int i = 0; bare && i < in->n; i++) {
        drawn[i] = in->line[i];
        if (i == 0)
            continue;
        drawn[i].y = bare + at;
        for (int k = 0; k < in->line[i].n; k++)
            bare[at++] = (struct interval){in->line[i].y[k].value, (double)NAN, (double)NAN};
    }
    return bare;
}

static int draw(struct ctx *c, struct fig *f)
{
    const struct fig_active *in = c->in.active;
    BUG_ON(!in);
    struct interval *bare = NULL; /* of many bands only the first line's is drawn: the rest would be mud */
    struct band_line drawn[BAND_LINES];
    struct band_panel p = {.title = "Recall at 1 on held-out pairs",
                           .x_label = "labelled pairs",
                           .percent = true,
                           .whole = true,
                           .n_lines = in->n,
                           .line = in->line};
    struct band_panel light = p;
    if (in->n > FEW && in->n <= BAND_LINES && (bare = without_bands(in, drawn)))
        light.line = drawn;
    bands_panel(f, &light);
    mem_free(bare);
    gains(f, in);
    str_add(&f->tsv, "panel\tstrategy\tlabelled\tvalue\tlow\thigh\n");
    bands_tsv(f, &p);
    for (int i = 1; i < in->n; i++) {
        str_add(&f->tsv, "gain\t");
        add_tsv(&f->tsv, in->line[i].name);
        str_add(&f->tsv, "\t\t%s\t%s\t%s\n", word_raw(in->gain[i].value).s, word_raw(in->gain[i].low).s,
                word_raw(in->gain[i].high).s);
    }
    if (isfinite(in->all))
        str_add(&f->tsv, "all\t\t\t%s\t\t\n", word_raw(in->all).s);
    str_add(&f->how,
            "After every round each strategy has chosen more pairs to label, heads are trained on them, and recall at "
            "1 is measured on pairs that nobody trained on, both directions averaged. Lines are means over %d seeds, "
            "%s the mean with 95 %% confidence (Student's t). ",
            in->n_seeds, in->n > FEW ? "the band of the first holds" : "bands hold");
    if (isfinite(in->all))
        str_add(&f->how, "With every pair of the pool labelled it is %s. ", word_pct(in->all).s);
    str_add(&f->how, "On the right the seeds are compared one by one: a bar to the right of the line means that the "
                     "choice paid, a bar across it that chance would have done as well.");
    return 0;
}

int figure_active_svg(const struct fig_in *in, struct str *svg, struct str *tsv)
{
    static const struct fig_kind kind = {"active", "Does choosing what to label pay?", FIG_SET, draw};
    return figure_svg_of(&kind, in, svg, tsv);
}
