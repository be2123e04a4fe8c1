/* view/fig_recall.c: recall at 1, 5 and 10 in both directions with bootstrap whiskers.
 *
 * Bars start at zero and end at one: a recall is a share. Text to picture comes first, it is what a user of search
 * does. The tick in the bar is the pessimistic recall, where ties count against the model; the dotted line is what
 * guessing gives. */
#include "view/fig.h"

#include <math.h>

#define W 480.0
#define H 330.0

static const int cutoffs[3] = {1, 5, 10};

static void draw_bar(struct str *b, const struct retrieval *r, double chance, int i, const struct scale *y,
                     const char *colour)
{
    char cls[64];
    struct interval v = r->recall[i];
    double x = 86 + 138.0 * i, w = 78, mid = x + w / 2;
    if (isfinite(v.value)) {
        double top = scale_at(y, v.value), label = top;
        snprintf(cls, sizeof cls, "f-%s bar", colour);
        svg_rect(b, cls, x, top, w, y->p0 - top, 4);
        if (isfinite(v.low) && isfinite(v.high)) {
            double lo = scale_at(y, v.low), hi = scale_at(y, v.high);
            svg_path_start(b, "whisker s-ink");
            svg_path_to(b, 'M', mid - 7, hi), svg_path_to(b, 'L', mid + 7, hi);
            svg_path_to(b, 'M', mid, hi), svg_path_to(b, 'L', mid, lo);
            svg_path_to(b, 'M', mid - 7, lo), svg_path_to(b, 'L', mid + 7, lo);
            svg_path_end(b, false);
            label = fmin(top, hi);
        }
        if (isfinite(r->recall_pessimistic[i].value) && r->recall_pessimistic[i].value < v.value - 0.002)
            svg_line(b, "s-card mean dash", x, scale_at(y, r->recall_pessimistic[i].value), x + w,
                     scale_at(y, r->recall_pessimistic[i].value));
        svg_text(b, "big", mid, label - 9, 'm', "%s", word_pct(v.value).s);
    } else {
        svg_text(b, "big", mid, y->p0 - 10, 'm', "–");
    }
    if (chance >= 0.01)
        svg_line(b, "s-ink mean dots", x - 8, scale_at(y, chance), x + w + 8, scale_at(y, chance));
    svg_text(b, "label", mid, y->p0 + 19, 'm', "top %d", cutoffs[i]);
}

static void draw_direction(const struct ctx *c, struct fig *f, bool from_text)
{
    const struct retrieval *r = &c->in.retrieval[from_text];
    const char *title = from_text ? "A text looks for its picture" : "A picture looks for its text";
    struct panel *p = fig_panel(f, W, H, title);
    struct scale y = {.lo = 0, .hi = 1, .p0 = H - 28, .p1 = 74};
    if (from_text)
        svg_triangle(&p->s, "f-text", 8, 11, 6.5, NULL);
    else
        svg_circle(&p->s, "f-image", 8, 10, 6, NULL);
    svg_text(&p->s, "head", 22, 15, 's', "%s", title);
    if (r->n_queries <= 0) {
        fig_note(p, "No query has a partner in this set.");
    } else {
        axis_left(&p->s, &y, 46, W, 5, AXIS_PERCENT, NULL);
        for (int i = 0; i < 3; i++)
            draw_bar(&p->s, r, ctx_chance(c, from_text, cutoffs[i]), i, &y, from_text ? "text" : "image");
        svg_line(&p->s, "base", 46, y.p0, W, y.p0);
        svg_text(&p->s, "label", 46, 38, 's', "%s queries among %s", word_count(r->n_queries).s,
                 word_count(r->n_gallery).s);
    }
    for (int i = 0; i < 3; i++) {
        str_add(&p->desc, "Right one in the top %d: %s. ", cutoffs[i], word_pct_ci(r->recall[i]).s);
        str_add(&f->tsv, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%lld\t%lld\n", from_text ? "text_to_image" : "image_to_text",
                cutoffs[i], word_raw(r->recall[i].value).s, word_raw(r->recall[i].low).s, word_raw(r->recall[i].high).s,
                word_raw(r->recall_pessimistic[i].value).s, word_raw(ctx_chance(c, from_text, cutoffs[i])).s,
                (long long)r->n_queries, (long long)r->n_gallery);
    }
}

int fig_recall(struct ctx *c, struct fig *f)
{
    const struct retrieval *r = c->in.retrieval;
    str_add(&f->tsv, "direction\tk\trecall\tlow\thigh\trecall_ties_against\tguessing\tqueries\tgallery\n");
    draw_direction(c, f, true);
    draw_direction(c, f, false);
    str_add(&f->how, "Every item of one side ranks the whole other side; a bar is the share of queries with a right "
                     "answer among the first 1, "
                     "5 or 10. Whiskers hold 95 %% of the bootstrap resamples of the queries. A dotted line is what "
                     "guessing would give; where it is "
                     "missing, guessing gives next to nothing.");
    if (r[0].n_ties + r[1].n_ties > 0)
        str_add(&f->how,
                " Exact ties count as hits (%s queries have one); a dashed line in a bar shows the recall if they "
                "counted against.",
                word_count(r[0].n_ties + r[1].n_ties).s);
    return 0;
}
