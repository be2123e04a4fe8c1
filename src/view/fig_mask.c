/* view/fig_mask.c: how a model's doubt, and its hits, change as a growing share of the pictures or words is hidden.
 *
 * Scores have units of their own (a variance, an entropy, a cosine), so what is drawn is the mean rise over the same
 * items unmasked, in standard deviations of these. The band is the bootstrap over items of the paired difference, so
 * that it says whether doubt rises and not how much items differ. Rejected: every score on an axis of its own (no two
 * could be compared), and ranks (a score that moves all items alike would seem to stand still). */
#include "view/fig.h"

static const char *const sides[2] = {"Pictures", "Words"};
static const char *const labels[2] = {"share of the picture that is hidden", "share of the words that is left out"};

static void draw_rise(struct fig *f, const struct fig_mask *m, int side)
{
    struct band_line line[BAND_LINES];
    char title[96];
    int n = m->n_scores < BAND_LINES ? m->n_scores : BAND_LINES;
    for (int k = 0; k < n; k++)
        line[k] = (struct band_line){
            .name = m->side[side].score[k].name, .n = m->n_shares, .x = m->share, .y = m->side[side].score[k].rise};
    snprintf(title, sizeof title, "%s: rise of doubt, in standard deviations", sides[side]);
    bands_panel(
        f, &(struct band_panel){.title = title, .x_label = labels[side], .share = true, .n_lines = n, .line = line});
    for (int k = 0; k < n; k++)
        str_add(&f->panel[f->n_panels - 1].desc, "Spearman of share and mean doubt, %s: %s. ", line[k].name,
                word_num(m->side[side].score[k].spearman, 2).s);
}

static void draw_recall(struct fig *f, const struct fig_mask *m, int side)
{
    struct band_line line = {.name = "right", .n = m->n_shares, .x = m->share, .y = m->side[side].recall};
    char title[96];
    snprintf(title, sizeof title, "%s: first answers that are right", sides[side]);
    bands_panel(
        f, &(struct band_panel){
               .title = title, .x_label = labels[side], .percent = true, .share = true, .n_lines = 1, .line = &line});
}

static void put_interval(struct str *b, struct interval v)
{
    str_add(b, "\t%s\t%s\t%s", word_raw(v.value).s, word_raw(v.low).s, word_raw(v.high).s);
}

static void put_tsv(struct str *b, const struct fig_mask *m, int side)
{
    for (int k = 0; k < m->n_scores; k++)
        for (int i = 0; i < m->n_shares; i++) {
            const struct fig_mask_score *s = &m->side[side].score[k];
            str_add(b, "%s\t", side ? "words" : "pictures");
            add_tsv(b, s->name);
            str_add(b, "\t%s\t%lld", word_raw(m->share[i]).s, (long long)m->side[side].n);
            put_interval(b, s->doubt[i]);
            put_interval(b, s->rise[i]);
            str_add(b, "\t%s", word_raw(s->risen[i]).s);
            put_interval(b, m->side[side].recall[i]);
            str_add_c(b, '\n');
        }
}

static int draw(struct ctx *c, struct fig *f)
{
    const struct fig_mask *m = c->in.mask;
    BUG_ON(!m || m->n_shares < 1);
    str_add(&f->tsv,
            "side\tscore\tshare\titems\tuncertainty\tlow\thigh\trise\trise_low\trise_high\trisen\trecall_at_1\t"
            "recall_low\trecall_high\n");
    for (int side = 0; side < 2; side++)
        if (m->side[side].score) {
            draw_rise(f, m, side);
            put_tsv(&f->tsv, m, side);
        }
    for (int side = 0; side < 2; side++)
        if (m->side[side].score)
            draw_recall(f, m, side);
    str_add(&f->how, "A growing share of each picture, or of each text's words, is hidden; the other side, which holds "
                     "the answers, stays whole. A line is the mean over the items of how much less sure a score has "
                     "become than for the same items unmasked, in standard deviations of these; the band holds 95 %% "
                     "of the bootstrap resamples of the items. Below: how many first answers are still right.");
    return 0;
}

int figure_mask_svg(const struct fig_in *in, struct str *svg, struct str *tsv)
{
    static const struct fig_kind kind = {"mask", "Does doubt grow as less is seen?", FIG_SET, draw};
    return figure_svg_of(&kind, in, svg, tsv);
}
