/* view/fig_reliability.c: reliability diagrams (Niculescu-Mizil and Caruana 2005; Guo et al. 2017), both directions.
 *
 * Confidence is the largest softmax probability over the gallery at the stated temperature. Bars: bins of equal width,
 * their gap to the diagonal outlined. Diamonds: bins of equal mass, which do not hide that most queries sit in one
 * corner. Below: how many queries each bar speaks for. The same drawing shows p(match) of a calibration, a hit in the
 * place of a query. Bars that speak for fewer than five queries are pale. */
#include "view/fig.h"

#include <math.h>

#define W 480.0
#define H 456.0
#define X0 46.0
#define FEW 5

struct diagram {
    bool from_text;
    const char *what, *unit, *claim, *missing; /* of the tsv; what a bar counts; the axis; why there is nothing */
    char line[3][256];
    bool good; /* the third line is good news */
    int64_t n;
    int n_width, n_mass;
    const struct calibration_bin *width, *mass;
};

static void draw_bins(struct str *b, const struct diagram *d, const struct scale *x, const struct scale *y,
                      const char *colour)
{
    char cls[64];
    for (int i = 0; i < d->n_width; i++) {
        const struct calibration_bin *k = &d->width[i];
        if (k->n <= 0 || !isfinite(k->accuracy) || !isfinite(k->confidence))
            continue;
        double a = scale_at(x, (double)i / d->n_width) + 1, e = scale_at(x, (double)(i + 1) / d->n_width) - 1;
        double acc = scale_at(y, k->accuracy), conf = scale_at(y, k->confidence);
        snprintf(cls, sizeof cls, "f-%s %s", colour, k->n < FEW ? "pale" : "bar");
        svg_rect(b, cls, a, acc, e - a, y->p0 - acc, 2);
        svg_rect(b, "f-other area s-other", a, fmin(acc, conf), e - a, fabs(acc - conf), 0);
    }
    svg_line(b, "s-ink mean dash", x->p0, y->p0, x->p1, y->p1);
    for (int i = 0; i < d->n_mass; i++)
        if (d->mass[i].n > 0 && isfinite(d->mass[i].confidence))
            svg_diamond(b, "f-card s-ink hollow", scale_at(x, d->mass[i].confidence), scale_at(y, d->mass[i].accuracy),
                        5.5);
}

static void draw_counts(struct str *b, const struct diagram *d, const struct scale *x, const char *colour)
{
    char cls[64];
    int64_t most = 1;
    for (int i = 0; i < d->n_width; i++)
        most = d->width[i].n > most ? d->width[i].n : most;
    struct scale y = {.lo = 0, .hi = (double)most, .p0 = H - 46, .p1 = H - 104};
    axis_left(b, &y, X0, W - 4, 2, AXIS_COUNT, NULL);
    for (int i = 0; i < d->n_width; i++) {
        double a = scale_at(x, (double)i / d->n_width) + 1, e = scale_at(x, (double)(i + 1) / d->n_width) - 1;
        double top = scale_at(&y, (double)d->width[i].n);
        snprintf(cls, sizeof cls, "f-%s pale", colour);
        if (d->width[i].n > 0)
            svg_rect(b, cls, a, fmin(top, y.p0 - 1), e - a, fmax(1, y.p0 - top), 1);
    }
    axis_bottom(b, x, y.p0, y.p0, 5, AXIS_PERCENT, d->claim);
}

static void write_tsv(struct fig *f, const struct diagram *d)
{
    const struct calibration_bin *const bins[2] = {d->width, d->mass};
    const int count[2] = {d->n_width, d->n_mass};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < count[k]; i++)
            str_add(&f->tsv, "%s%s\t%s\t%d\t%lld\t%s\t%s\n", d->from_text ? "text_to_image" : "image_to_text", d->what,
                    k ? "mass" : "width", i, (long long)bins[k][i].n,
                    bins[k][i].n ? word_raw(bins[k][i].confidence).s : "",
                    bins[k][i].n ? word_raw(bins[k][i].accuracy).s : "");
}

static void draw_diagram(struct fig *f, const struct diagram *d, const char *title)
{
    const char *colour = d->from_text ? "text" : "image";
    struct panel *p = fig_panel(f, W, H, title);
    struct scale x = {.lo = 0, .hi = 1, .p0 = X0, .p1 = W - 4}, y = {.lo = 0, .hi = 1, .p0 = H - 130, .p1 = 100};
    if (d->from_text)
        svg_triangle(&p->s, "f-text", 8, 11, 6.5, NULL);
    else
        svg_circle(&p->s, "f-image", 8, 10, 6, NULL);
    svg_text(&p->s, "head", 22, 15, 's', "%s", title);
    write_tsv(f, d);
    if (d->missing) {
        fig_note(p, "%s", d->missing);
        return;
    }
    svg_text(&p->s, "", 0, 38, 's', "%s", d->line[0]);
    svg_text(&p->s, "", 0, 57, 's', "%s", d->line[1]);
    if (d->line[2][0])
        svg_text(&p->s, d->good ? "b f-good-ink" : "", 0, 76, 's', "%s", d->line[2]);
    axis_left(&p->s, &y, X0, W - 4, 5, AXIS_PERCENT, NULL);
    draw_bins(&p->s, d, &x, &y, colour);
    svg_line(&p->s, "base", X0, y.p0, W - 4, y.p0);
    draw_counts(&p->s, d, &x, colour);
    svg_text(&p->s, "small label", X0 + 8, y.p1 + 14, 's', "share that is right");
    svg_text(&p->s, "small label", X0 + 8, H - 112, 's', "%s", d->unit);
    str_add(&p->desc, "Expected %s; %s. %s", d->line[0], d->line[1], d->line[2]);
}

static void draw_direction(struct fig *f, const struct retrieval *r, bool from_text)
{
    struct diagram d = {.from_text = from_text,
                        .what = "",
                        .unit = "queries",
                        .claim = "claimed probability",
                        .n = r->n_queries,
                        .n_width = r->n_bins_width,
                        .n_mass = r->n_bins_mass,
                        .width = r->bins_width,
                        .mass = r->bins_mass};
    if (r->n_queries <= 0)
        d.missing = "No query has a partner in this set.";
    else if (!isfinite(r->ece.value))
        d.missing = "The calibration error cannot be computed here.";
    snprintf(d.line[0], sizeof d.line[0], "calibration error %s at temperature %s", word_num_ci(r->ece, 3).s,
             word_num(r->temperature, 4).s);
    snprintf(d.line[1], sizeof d.line[1], "with bins of equal mass %s", word_num_ci(r->ece_equal_mass, 3).s);
    d.good = r->ece_fitted.value < r->ece.value;
    if (isfinite(r->fitted_temperature.value))
        snprintf(d.line[2], sizeof d.line[2], "%s at temperature %s, of highest likelihood",
                 word_num_ci(r->ece_fitted, 3).s, word_num(r->fitted_temperature.value, 4).s);
    draw_diagram(f, &d, from_text ? "Text to picture" : "Picture to text");
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

/* ---- p(match) ---- */

static void draw_match(struct fig *f, const struct match_report *r, bool from_text, bool first)
{
    struct diagram d = {.from_text = from_text,
                        .what = first ? "\tfirst" : "\tall",
                        .unit = "hits",
                        .claim = "p(match)",
                        .n = r->n_pairs,
                        .n_width = (int)ARRAY_LEN(r->width),
                        .n_mass = (int)ARRAY_LEN(r->mass),
                        .width = r->width,
                        .mass = r->mass};
    char title[96];
    snprintf(title, sizeof title, "%s: %s", from_text ? "Text to picture" : "Picture to text",
             first ? "first hits" : "every hit of the list");
    if (r->n_pairs <= 0 || !isfinite(r->ece.value))
        d.missing = "This direction was not fitted, or no query has a partner.";
    snprintf(d.line[0], sizeof d.line[0], "calibration error %s", word_num_ci(r->ece, 3).s);
    snprintf(d.line[1], sizeof d.line[1], "with bins of equal mass %s", word_num_ci(r->ece_equal_mass, 3).s);
    snprintf(d.line[2], sizeof d.line[2], "Brier score %s; %.40s of %.40s hits match", word_num_ci(r->brier, 3).s,
             word_count(r->n_match).s, word_count(r->n_pairs).s);
    draw_diagram(f, &d, title);
}

static int fig_match(struct ctx *c, struct fig *f)
{
    str_add(&f->tsv, "direction\thits\tbins\tbin\tpairs\tp_match\tmatched\n");
    for (int first = 0; first < 2; first++)
        for (int way = 1; way >= 0; way--)
            draw_match(f, &c->in.match[way][first], way == 1, first != 0);
    str_add(
        &f->how,
        "A calibration says of each hit of a search how probably it is right. A bar is how often that is so among "
        "the hits that were promised about this probability; an honest promise stays on the dashed diagonal. Grey is "
        "the gap, diamonds are groups of equal size, pale bars speak for fewer than %d hits.",
        FEW);
    return 0;
}

const struct fig_kind fig_kind_match = {"match", "Does p(match) keep its word?", FIG_SET, fig_match};

int figure_match_svg(const struct fig_in *in, struct str *svg, struct str *tsv)
{
    BUG_ON(!in->match[0] || !in->match[1]);
    return figure_svg_of(&fig_kind_match, in, svg, tsv);
}
