/* view/fig_reliability.c: reliability diagrams (Niculescu-Mizil and Caruana 2005; Guo et al. 2017), both directions.
 *
 * Confidence is the largest softmax probability over the gallery at the stated temperature. Bars: bins of equal width,
 * their gap to the diagonal outlined. Diamonds: bins of equal mass, which do not hide that most queries sit in one
 * corner. Below: how many queries each bar speaks for. Bars that speak for fewer than five queries are pale. */
#include "view/fig.h"

#include <math.h>

#define W 480.0
#define H 456.0
#define X0 46.0
#define FEW 5

static void draw_bins(struct str *b, const struct retrieval *r, const struct scale *x, const struct scale *y,
                      const char *colour)
{
    char cls[64];
    for (int i = 0; i < r->n_bins_width; i++) {
        const struct calibration_bin *k = &r->bins_width[i];
        if (k->n <= 0 || !isfinite(k->accuracy) || !isfinite(k->confidence))
            continue;
        double a = scale_at(x, (double)i / r->n_bins_width) + 1, e = scale_at(x, (double)(i + 1) / r->n_bins_width) - 1;
        double acc = scale_at(y, k->accuracy), conf = scale_at(y, k->confidence);
        snprintf(cls, sizeof cls, "f-%s %s", colour, k->n < FEW ? "pale" : "bar");
        svg_rect(b, cls, a, acc, e - a, y->p0 - acc, 2);
        svg_rect(b, "f-other area s-other", a, fmin(acc, conf), e - a, fabs(acc - conf), 0);
    }
    svg_line(b, "s-ink mean dash", x->p0, y->p0, x->p1, y->p1);
    for (int i = 0; i < r->n_bins_mass; i++)
        if (r->bins_mass[i].n > 0 && isfinite(r->bins_mass[i].confidence))
            svg_diamond(b, "f-card s-ink hollow", scale_at(x, r->bins_mass[i].confidence),
                        scale_at(y, r->bins_mass[i].accuracy), 5.5);
}

static void draw_counts(struct str *b, const struct retrieval *r, const struct scale *x, const char *colour)
{
    char cls[64];
    int64_t most = 1;
    for (int i = 0; i < r->n_bins_width; i++)
        most = r->bins_width[i].n > most ? r->bins_width[i].n : most;
    struct scale y = {.lo = 0, .hi = (double)most, .p0 = H - 46, .p1 = H - 104};
    axis_left(b, &y, X0, W - 4, 2, AXIS_COUNT, NULL);
    for (int i = 0; i < r->n_bins_width; i++) {
        double a = scale_at(x, (double)i / r->n_bins_width) + 1, e = scale_at(x, (double)(i + 1) / r->n_bins_width) - 1;
        double top = scale_at(&y, (double)r->bins_width[i].n);
        snprintf(cls, sizeof cls, "f-%s pale", colour);
        if (r->bins_width[i].n > 0)
            svg_rect(b, cls, a, fmin(top, y.p0 - 1), e - a, fmax(1, y.p0 - top), 1);
    }
    axis_bottom(b, x, y.p0, y.p0, 5, AXIS_PERCENT, "claimed probability");
}

static void write_tsv(struct fig *f, const struct retrieval *r, bool from_text)
{
    const char *dir = from_text ? "text_to_image" : "image_to_text";
    for (int i = 0; i < r->n_bins_width; i++)
        str_add(&f->tsv, "%s\twidth\t%d\t%lld\t%s\t%s\n", dir, i, (long long)r->bins_width[i].n,
                r->bins_width[i].n ? word_raw(r->bins_width[i].confidence).s : "",
                r->bins_width[i].n ? word_raw(r->bins_width[i].accuracy).s : "");
    for (int i = 0; i < r->n_bins_mass; i++)
        str_add(&f->tsv, "%s\tmass\t%d\t%lld\t%s\t%s\n", dir, i, (long long)r->bins_mass[i].n,
                r->bins_mass[i].n ? word_raw(r->bins_mass[i].confidence).s : "",
                r->bins_mass[i].n ? word_raw(r->bins_mass[i].accuracy).s : "");
}

static void draw_direction(struct fig *f, const struct retrieval *r, bool from_text)
{
    const char *title = from_text ? "Text to picture" : "Picture to text", *colour = from_text ? "text" : "image";
    struct panel *p = fig_panel(f, W, H, title);
    struct scale x = {.lo = 0, .hi = 1, .p0 = X0, .p1 = W - 4}, y = {.lo = 0, .hi = 1, .p0 = H - 130, .p1 = 100};
    if (from_text)
        svg_triangle(&p->s, "f-text", 8, 11, 6.5, NULL);
    else
        svg_circle(&p->s, "f-image", 8, 10, 6, NULL);
    svg_text(&p->s, "head", 22, 15, 's', "%s", title);
    write_tsv(f, r, from_text);
    if (r->n_queries <= 0 || !isfinite(r->ece.value)) {
        fig_note(p, r->n_queries <= 0 ? "No query has a partner in this set."
                                      : "The calibration error cannot be computed here.");
        return;
    }
    svg_text(&p->s, "", 0, 38, 's', "calibration error %s at temperature %s", word_num_ci(r->ece, 3).s,
             word_num(r->temperature, 4).s);
    svg_text(&p->s, "", 0, 57, 's', "with bins of equal mass %s", word_num_ci(r->ece_equal_mass, 3).s);
    if (isfinite(r->fitted_temperature.value))
        svg_text(&p->s, r->ece_fitted.value < r->ece.value ? "b f-good-ink" : "", 0, 76, 's',
                 "%s at temperature %s, of highest likelihood", word_num_ci(r->ece_fitted, 3).s,
                 word_num(r->fitted_temperature.value, 4).s);
    axis_left(&p->s, &y, X0, W - 4, 5, AXIS_PERCENT, NULL);
    draw_bins(&p->s, r, &x, &y, colour);
    svg_line(&p->s, "base", X0, y.p0, W - 4, y.p0);
    draw_counts(&p->s, r, &x, colour);
    svg_text(&p->s, "small label", X0 + 8, y.p1 + 14, 's', "share that is right");
    svg_text(&p->s, "small label", X0 + 8, H - 112, 's', "queries");
    str_add(&p->desc, "Expected calibration error %s at temperature %s; %s at the fitted temperature %s.",
            word_num_ci(r->ece, 3).s, word_num(r->temperature, 4).s, word_num_ci(r->ece_fitted, 3).s,
            word_num_ci(r->fitted_temperature, 4).s);
}

int fig_reliability(struct ctx *c, struct fig *f)
{
    const struct retrieval *r = c->in.retrieval;
    str_add(&f->tsv, "direction\tbins\tbin\tqueries\tconfidence\taccuracy\n");
    draw_direction(f, &r[1], true);
    draw_direction(f, &r[0], false);
    str_add(
        &f->how,
        "A softmax over the whole gallery turns scores into probabilities. A bar is how often the first answer is "
        "right among the "
        "queries that claimed about this probability; an honest model stays on the dashed diagonal, bars below it "
        "claim too much. "
        "Grey is the gap, diamonds are groups of equal size, pale bars speak for fewer than %d queries. An interval "
        "that begins at 0 says that chance alone may make this error. Third line: the error at the temperature of "
        "highest likelihood on the same queries; green where it is lower.",
        FEW);
    if (!(c->in.set->logit_scale > 0) && fabs(r[1].temperature - 0.01) < 1e-12)
        str_add(&f->how, " The set does not say its model's temperature; 0.01 is CLIP's usual one.");
    if (c->in.set->n_pairs > r[0].n_queries || c->in.set->n_pairs > r[1].n_queries)
        str_add(&f->how,
                " Here some queries have several right answers, which share the probability: their claims look "
                "too low by construction.");
    return 0;
}
