/* view/summary.c: what the numbers mean, in sentences, tiles and one table.
 *
 * The sentences at the top are chosen by thresholds written here, each next to the words it chooses. A sentence whose
 * number cannot be computed is left out; the tile and the table then show a dash with the reason. */
#include "view/fig.h"

#include <math.h>
#include <string.h>

static bool has(struct interval i)
{
    return isfinite(i.value);
}

static void add_ci(struct str *h, struct word ci)
{
    if (ci.s[0])
        str_add(h, " <span class=\"ci\">%s</span>", ci.s);
}

static void add_number(struct str *h, struct interval v)
{
    int d = word_decimals(v, 2);
    str_add(h, "<b>%s</b>", word_num(v.value, d).s);
    add_ci(h, word_ci(v, d));
}

static void say_retrieval(const struct ctx *c, struct str *h)
{
    const struct retrieval *r = c->in.retrieval;
    if (!has(r[1].recall[0]) || r[1].n_queries <= 0)
        return;
    str_add(h, "<li>A text finds %s first in <b>%s</b>",
            c->in.set->n_pairs > r[1].n_queries ? "a picture of its own" : "its picture",
            word_pct(r[1].recall[0].value).s);
    add_ci(h, word_ci_pct(r[1].recall[0]));
    str_add(h, " of cases and among the first ten in <b>%s</b>", word_pct(r[1].recall[2].value).s);
    add_ci(h, word_ci_pct(r[1].recall[2]));
    if (has(r[0].recall[0])) {
        str_add(h, "; a picture finds a text of its own first in <b>%s</b>", word_pct(r[0].recall[0].value).s);
        add_ci(h, word_ci_pct(r[0].recall[0]));
    }
    if (r[1].n_gallery > 0)
        str_add(h, ". For a text among %s pictures, guessing would give %s", word_count(r[1].n_gallery).s,
                word_pct(ctx_chance(c, 1, 1)).s);
    str_add(h, ".</li>\n");
}

static void say_regions(const struct ctx *c, struct str *h)
{
    const struct geometry *g = c->in.geometry;
    if (!has(g->centroid_distance))
        return;
    double sep = g->linear_separability.value;
    const char *what = !isfinite(sep) ? "Pictures and texts have their own means"
                       : sep >= 0.95  ? "Pictures and texts lie in two separate regions"
                       : sep >= 0.7   ? "Pictures and texts lie in two regions that overlap"
                                      : "Pictures and texts share one region";
    str_add(h, "<li>%s: their means are ", what);
    add_number(h, g->centroid_distance);
    str_add(h, " apart on a sphere of radius 1");
    if (isfinite(sep)) {
        str_add(h, ", and a flat cut tells the two kinds apart in <b>%s</b>", word_pct(sep).s);
        add_ci(h, word_ci_pct(g->linear_separability));
        str_add(h, " of held-out cases (50\u00a0%% would be chance)");
    }
    str_add(h, ".</li>\n");
}

/* The score that 90 % of the true pairs reach, and the share of wrong pairs that reach it too; edges of bins. */
static bool threshold(const struct geometry *g, double *at, double *wrong)
{
    const struct histogram *m = &g->hist_matched, *u = &g->hist_unmatched;
    if (m->total <= 0 || u->total <= 0 || !m->count || !u->count || m->n_bins != u->n_bins || m->n_bins <= 0)
        return false;
    int64_t below = 0;
    int i = 0;
    while (i < m->n_bins && (double)(below + m->count[i]) <= 0.1 * (double)m->total)
        below += m->count[i++];
    int64_t above = 0;
    for (int j = i; j < u->n_bins; j++)
        above += u->count[j];
    *at = m->low + (m->high - m->low) * i / m->n_bins;
    *wrong = (double)above / (double)u->total;
    return true;
}

static void say_scores(const struct ctx *c, struct str *h)
{
    const struct geometry *g = c->in.geometry;
    double at, wrong;
    if (!has(g->matched))
        return;
    str_add(h, "<li>A true pair scores ");
    add_number(h, g->matched);
    if (has(g->unmatched)) {
        str_add(h, " on average, a wrong one ");
        add_number(h, g->unmatched);
    }
    if (threshold(g, &at, &wrong))
        str_add(h, ". Nine true pairs in ten reach %s; so do <b>%s</b> of the wrong ones", word_num(at, 2).s,
                word_pct(wrong).s);
    str_add(h, ".</li>\n");
}

static void say_confidence(const struct ctx *c, struct str *h)
{
    const struct retrieval *r = &c->in.retrieval[1];
    double conf = 0, acc = 0;
    int64_t n = 0;
    for (int i = 0; i < r->n_bins_width; i++)
        if (r->bins_width[i].n > 0 && isfinite(r->bins_width[i].confidence)) {
            n += r->bins_width[i].n;
            conf += (double)r->bins_width[i].n * r->bins_width[i].confidence;
            acc += (double)r->bins_width[i].n * r->bins_width[i].accuracy;
        }
    if (n == 0 || !has(r->ece))
        return;
    conf /= (double)n, acc /= (double)n;
    const char *what = conf - acc > 0.02   ? "claim too much"
                       : acc - conf > 0.02 ? "claim too little"
                                           : "are right on average";
    str_add(h,
            "<li>The probabilities from text to picture %s: they average <b>%s</b> where <b>%s</b> of first answers "
            "are right "
            "(calibration error %s",
            what, word_pct(conf).s, word_pct(acc).s, word_num(r->ece.value, 3).s);
    add_ci(h, word_ci(r->ece, 3));
    str_add_c(h, ')');
    if (isfinite(r->fitted_temperature.value) && isfinite(r->ece_fitted.value) &&
        r->ece_fitted.value < r->ece.value - 0.005)
        str_add(h, "; temperature %s in place of %s would bring the error on these queries to <b>%s</b>",
                word_num(r->fitted_temperature.value, 4).s, word_num(r->temperature, 4).s,
                word_num(r->ece_fitted.value, 3).s);
    str_add(h, c->in.set->n_pairs > r->n_queries ? "; texts with several right pictures spread theirs over them.</li>\n"
                                                 : ".</li>\n");
}

void summary_add(const struct ctx *c, struct str *h)
{
    str_add(h, "<ul class=\"lead\">\n");
    size_t empty = h->n;
    say_retrieval(c, h);
    say_regions(c, h);
    say_scores(c, h);
    say_confidence(c, h);
    if (h->n == empty)
        str_add(h, "<li>This set is too small, or has no pairs, to say anything in numbers.</li>\n");
    str_add(h, "</ul>\n");
}

static const char *why_missing(const struct ctx *c)
{
    const struct set *s = c->in.set;
    if (s->n_pairs == 0)
        return "the set has no pairs";
    if (s->image.n < 2 || s->text.n < 2)
        return "one row has no spread";
    return "cannot be computed here";
}

/* lo..hi: the rail under the number; lo == hi: no rail. */
static void tile(const struct ctx *c, struct str *h, const char *name, struct interval v, bool share, int decimals,
                 double lo, double hi, const char *colour)
{
    int d = word_decimals(v, decimals);
    struct word value = share ? word_pct(v.value) : word_num(v.value, d);
    struct word ci = share ? word_ci_pct(v) : word_ci(v, d);
    str_add(h,
            "<li class=\"tile c-%s\"><span class=\"name\">%s</span><span class=\"value\">%s</span><span "
            "class=\"range\">%s</span>",
            colour, name, value.s, !has(v) ? why_missing(c) : ci.s);
    if (has(v) && hi > lo) {
        double at = fmin(fmax((v.value - lo) / (hi - lo), 0), 1);
        double a = isfinite(v.low) ? fmin(fmax((v.low - lo) / (hi - lo), 0), 1) : at;
        double b = isfinite(v.high) ? fmin(fmax((v.high - lo) / (hi - lo), 0), 1) : at;
        str_add(h,
                "<span class=\"rail\"><i style=\"left:%.1f%%;width:%.1f%%\"></i><b style=\"left:%.1f%%\"></b></span>",
                100 * a, 100 * (b - a), 100 * at);
    }
    str_add(h, "</li>\n");
}

void tiles_add(const struct ctx *c, struct str *h)
{
    const struct retrieval *r = c->in.retrieval;
    const struct geometry *g = c->in.geometry;
    str_add(h, "<ul class=\"tiles\" aria-label=\"Key numbers with 95 %% intervals\">\n");
    tile(c, h, "text finds its picture first", r[1].recall[0], true, 0, 0, 1, "text");
    tile(c, h, "picture finds its text first", r[0].recall[0], true, 0, 0, 1, "image");
    tile(c, h, "text finds its picture in the first ten", r[1].recall[2], true, 0, 0, 1, "text");
    tile(c, h, "mean cosine of true pairs", g->matched, false, 2, 0, 1, "good");
    tile(c, h, "mean cosine of wrong pairs", g->unmatched, false, 2, 0, 1, "other");
    tile(c, h, "distance of the two means", g->centroid_distance, false, 2, 0, 2, "other");
    tile(c, h, "calibration error, text to picture", r[1].ece, false, 3, 0, 1, "text");
    tile(c, h, "directions in use, both sides pooled", g->effective_rank_pooled, false, 1, 1, (double)g->width,
         "other");
    str_add(h, "</ul>\n");
}

/* ---- the table ---- */

enum { SHARE = -1 }; /* in place of a number of decimals: per cent */

static void sub(struct str *h, const char *name)
{
    str_add(h, "<tr class=\"sub\"><th colspan=\"4\" scope=\"colgroup\">%s</th></tr>\n", name);
}

static void row(const struct ctx *c, struct str *h, const char *name, struct interval v, int decimals, const char *note)
{
    bool share = decimals == SHARE;
    int d = decimals > 1 && fabs(v.value) >= 20 ? 1 : decimals;
    struct word value = share ? word_pct(v.value) : word_num(v.value, d);
    struct word ci = share ? word_ci_pct(v) : word_ci(v, d);
    str_add(h, "<tr><th scope=\"row\">%s</th><td class=\"n\">%s</td><td class=\"n\">%s</td><td>%s</td></tr>\n", name,
            value.s, ci.s[0] ? ci.s : "–", has(v) ? note : why_missing(c));
}

static void retrieval_rows(const struct ctx *c, struct str *h, const struct retrieval *r, const char *heading)
{
    char note[400];
    sub(h, heading);
    snprintf(note, sizeof note, "%s queries among %s; %s left out without a partner", word_count(r->n_queries).s,
             word_count(r->n_gallery).s, word_count(r->n_without).s);
    row(c, h, "recall at 1", r->recall[0], SHARE, note);
    row(c, h, "recall at 5", r->recall[1], SHARE, "");
    row(c, h, "recall at 10", r->recall[2], SHARE, "");
    snprintf(note, sizeof note, "%s queries have a tie", word_count(r->n_ties).s);
    row(c, h, "recall at 1, ties against", r->recall_pessimistic[0], SHARE, note);
    row(c, h, "mean reciprocal rank", r->mrr, 4, "1 is best");
    row(c, h, "median rank", r->median_rank, 1, "1 is best");
    row(c, h, "mean rank", r->mean_rank, 1, "");
    snprintf(note, sizeof note, "%d bins of equal width, temperature %s", r->n_bins_width,
             word_num(r->temperature, 4).s);
    row(c, h, "expected calibration error", r->ece, 4, note);
    snprintf(note, sizeof note, "%d bins of equal mass", r->n_bins_mass);
    row(c, h, "the same, equal mass", r->ece_equal_mass, 4, note);
    row(c, h, "Brier score", r->brier, 4, "0 is best");
    row(c, h, "negative log-likelihood", r->nll, 4, "natural logarithm; 0 is best");
    snprintf(note, sizeof note, "fitted on these queries by likelihood; gives a calibration error of %s",
             word_num_ci(r->ece_fitted, 4).s);
    row(c, h, "fitted temperature", r->fitted_temperature, 4, note);
}

#define DOUBT_ROWS 5

static void doubt_rows(const struct ctx *c, struct str *h, int way, const char *heading)
{
    char name[96];
    if (c->in.n_doubts == 0)
        return;
    sub(h, heading);
    for (int i = 0; i < c->in.n_doubts && i < DOUBT_ROWS; i++) {
        const struct fig_doubt *d = &c->in.doubt[i];
        snprintf(name, sizeof name, "AUROC of %.60s", d->name);
        row(c, h, name, d->m[way]->auroc, 4, d->text);
        snprintf(name, sizeof name, "AURC of %.60s", d->name);
        row(c, h, name, d->m[way]->aurc, 4, "mean miss rate of the surest; lower is better");
    }
}

void numbers_add(const struct ctx *c, struct str *h)
{
    const struct geometry *g = c->in.geometry;
    str_add(
        h, "<div class=\"numbers\" tabindex=\"0\" role=\"region\" aria-label=\"All numbers\">\n<table>\n<thead><tr><th "
           "scope=\"col\">measure</th><th class=\"n\" scope=\"col\">value</th><th class=\"n\" scope=\"col\">95\u00a0%% "
           "interval</th><th scope=\"col\">note</th></tr></thead>\n<tbody>\n");
    retrieval_rows(c, h, &c->in.retrieval[1], "Text to picture");
    retrieval_rows(c, h, &c->in.retrieval[0], "Picture to text");
    doubt_rows(c, h, 1, "Scores of doubt, text to picture: 0.5 tells misses no better than chance");
    doubt_rows(c, h, 0, "Scores of doubt, picture to text");
    sub(h, "Shape of the space");
    row(c, h, "alignment", g->alignment, 4, "mean squared distance of true pairs; lower is closer");
    row(c, h, "relative alignment, picture", g->relative_alignment[0], 4, "its own text minus the nearest other one");
    row(c, h, "relative alignment, text", g->relative_alignment[1], 4, "its own picture minus the nearest other one");
    row(c, h, "uniformity, pictures", g->uniformity_image, 4, "lower is more evenly spread");
    row(c, h, "uniformity, texts", g->uniformity_text, 4, "");
    row(c, h, "uniformity, pooled", g->uniformity_pooled, 4, "");
    row(c, h, "uniformity, across", g->uniformity_cross, 4, "");
    row(c, h, "distance of the means", g->centroid_distance, 4, "0 to 2");
    row(c, h, "linear separability", g->linear_separability, SHARE, "50\u00a0% is chance");
    row(c, h, "effective rank, pictures", g->effective_rank_image, 4,
        "reads low where rows are not many times the dimensions; the interval does not speak of that");
    row(c, h, "effective rank, texts", g->effective_rank_text, 4, "");
    row(c, h, "effective rank, pooled", g->effective_rank_pooled, 4, "");
    row(c, h, "cosine of true pairs", g->matched, 4, "mean");
    row(c, h, "cosine of wrong pairs", g->unmatched, 4, "mean");
    row(c, h, "cosine picture–picture", g->image_image, 4, "mean");
    row(c, h, "cosine text–text", g->text_text, 4, "mean");
    str_add(h, "</tbody>\n</table>\n</div>\n");
}
