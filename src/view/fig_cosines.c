/* view/fig_cosines.c: where scores lie. Four histograms of cosines on one common axis: true pairs against wrong pairs
 * above all, then picture-picture against text-text. */
#include "view/fig.h"

int fig_cosines(struct ctx *c, struct fig *f)
{
    const struct geometry *g = c->in.geometry;
    const struct outline k[4] = {{"wrong pairs", "other", "dash", &g->hist_unmatched, g->unmatched},
                                 {"true pairs", "good", "", &g->hist_matched, g->matched},
                                 {"picture–picture", "image", "", &g->hist_image, g->image_image},
                                 {"text–text", "text", "dash", &g->hist_text, g->text_text}};
    struct outline_range r;
    str_add(
        &f->how,
        "Each outline is a histogram of cosines scaled to the same area; the upright line is its mean. Above all "
        "compare true pairs "
        "with wrong ones: where the two outlines cross, a score says nothing; right of it a score speaks for a match. "
        "How high scores are differs from model to model; what counts is their distance from the wrong pairs. The "
        "outermost 0.05 %% of each histogram may lie outside.");
    if (!outlines_range(k, 4, &r)) {
        fig_note(fig_panel(f, 480, 340, "Cosines"), "No pair of rows to compare.");
    } else {
        outlines_panel(f, "Between pictures and texts", "cosine", k, 2, &r);
        outlines_panel(f, "Within each side", "cosine", k + 2, 2, &r);
    }
    outlines_tsv(f, k, 4, &r);
    return 0;
}
