/* view/fig_risk.c: recall by level of uncertainty, and the miss rate of the queries that are answered when the least
 * sure are set aside (risk against coverage; El-Yaniv and Wiener 2010), both directions.
 *
 * `meridian eval uncertainty --figure` hands over measured scores. The report and `meridian plot` have none: there the
 * uncertainty is 1 - the largest softmax probability, which every set has, and eval_uncertainty measures it here. A
 * score that knows nothing has level bars on the dotted line and a flat risk; the grey line is what a score that knows
 * everything would leave. */
#include "view/fig.h"

#include <math.h>
#include <string.h>

#define W 480.0
#define H 392.0
#define X0 46.0
#define MOST 3 /* curves in one panel */

/* Measures 1 - confidence of both directions; false: a confidence is not finite. */
static bool own_doubt(const struct ctx *c, int way, struct uncertainty *out)
{
    const struct retrieval *r = &c->in.retrieval[way];
    int64_t n = r->confidence && r->rank ? r->n_queries : 0;
    double *u = mem_calloc((size_t)n + 1, sizeof *u);
    bool *hit = mem_calloc((size_t)n + 1, sizeof *hit);
    bool ok = u && hit;
    for (int64_t i = 0; ok && i < n; i++) {
        u[i] = 1 - r->confidence[i];
        hit[i] = r->rank[i] == 0;
        ok = isfinite(u[i]);
    }
    struct eval_opt opt = {.bootstrap = r->recall[0].low < r->recall[0].high ? 1000 : -1, .seed = c->in.seed};
    ok = ok && eval_uncertainty(u, hit, NULL, n, &opt, out) == 0;
    mem_free(u);
    mem_free(hit);
    return ok;
}

static const char *const drawn_first[] = {"combined", "adapter", "inverted", "max-p", "cosine"};

static size_t place_of(const char *name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(drawn_first) && strcmp(drawn_first[i], name) != 0)
        i++;
    return i;
}

int figure_doubts(const struct uncertainty_both *b, struct fig_doubt *d)
{
    int n = 0;
    for (size_t place = 0; place <= ARRAY_LEN(drawn_first); place++)
        for (int k = 0; k < b->s[0].n_scores; k++) {
            const struct uncertainty_score *s = &b->s[0].score[k];
            if (place_of(s->name) == place && uncertainty_both_has(b, 0, k) && uncertainty_both_has(b, 1, k))
                d[n++] = (struct fig_doubt){s->name, s->text, {&b->m[0][k], &b->m[1][k]}, b->s, k};
        }
    return n;
}

/* An adapter's and the first of the others stand beside each other, or nobody could tell what it adds. */
const struct fig_doubt *ctx_doubt(const struct ctx *c, int i)
{
    int adapter = 0;
    while (adapter < c->in.n_doubts && strcmp(c->in.doubt[adapter].name, "adapter") != 0)
        adapter++;
    if (i == 0)
        return c->in.n_doubts > 0 ? &c->in.doubt[0] : NULL;
    if (adapter == c->in.n_doubts)
        return NULL;
    return adapter > 0 ? &c->in.doubt[adapter] : c->in.n_doubts > 1 ? &c->in.doubt[1] : NULL;
}

static struct panel *open_panel(struct fig *f, bool from_text, const char *what)
{
    char title[160];
    snprintf(title, sizeof title, "%s: %s", from_text ? "Text to picture" : "Picture to text", what);
    struct panel *p = fig_panel(f, W, H, title);
    if (from_text)
        svg_triangle(&p->s, "f-text", 8, 11, 6.5, NULL);
    else
        svg_circle(&p->s, "f-image", 8, 10, 6, NULL);
    svg_text(&p->s, "head", 22, 15, 's', "%s", from_text ? "Text to picture" : "Picture to text");
    return p;
}

static void whisker(struct str *b, double x, double lo, double hi)
{
    svg_path_start(b, "whisker s-ink");
    svg_path_to(b, 'M', x - 6, hi), svg_path_to(b, 'L', x + 6, hi);
    svg_path_to(b, 'M', x, hi), svg_path_to(b, 'L', x, lo);
    svg_path_to(b, 'M', x - 6, lo), svg_path_to(b, 'L', x + 6, lo);
    svg_path_end(b, false);
}

/* ---- levels ---- */

static void levels_tsv(struct fig *f, const struct fig_doubt *d, int way)
{
    for (int c = 0; c < 2; c++)
        for (int b = 0; b < d->m[way]->levels[c].n; b++) {
            const struct uncertainty_level *l = &d->m[way]->levels[c].level[b];
            str_add(&f->tsv, "%s\t", way ? "text_to_image" : "image_to_text");
            add_tsv(&f->tsv, d->name);
            str_add(&f->tsv, "\t%d\t%d\t%lld\t%s\t%s\t%s\t%s\n", d->m[way]->levels[c].n, b + 1, (long long)l->n,
                    word_raw(l->uncertainty).s, word_raw(l->recall.value).s, word_raw(l->recall.low).s,
                    word_raw(l->recall.high).s);
        }
}

static void draw_levels(struct fig *f, const struct fig_doubt *d, int way)
{
    const struct uncertainty *m = d->m[way];
    const struct uncertainty_levels *l = &m->levels[0];
    struct panel *p = open_panel(f, way == 1, "hits by level of uncertainty");
    char cls[64];
    if (m->n == 0) {
        fig_note(p, "No query has a partner in this set.");
        return;
    }
    struct scale y = {.lo = 0, .hi = 1, .p0 = H - 46, .p1 = 100}, x = {.lo = 0, .hi = 1, .p0 = X0 + 6, .p1 = W - 4};
    svg_text(&p->s, "b", 0, 38, 's', "%s", d->name);
    svg_text(&p->s, "", 0, 57, 's', "tells misses from hits: AUROC %s", word_num_ci(m->auroc, 2).s);
    svg_text(&p->s, "", 0, 76, 's', "S %s, R\u00b2 %s, \u2212SR\u00b2 %s in %d levels; %s in 10",
             word_num(l->spearman.value, 2).s, word_num(l->r2.value, 2).s, word_num(l->neg_s_r2.value, 2).s, l->n,
             word_num(m->levels[1].neg_s_r2.value, 2).s);
    axis_left(&p->s, &y, X0, W - 4, 5, AXIS_PERCENT, NULL);
    for (int b = 0; b < l->n; b++) {
        const struct interval r = l->level[b].recall;
        if (l->level[b].n == 0 || !isfinite(r.value))
            continue;
        double a = scale_at(&x, (double)b / l->n) + 3, e = scale_at(&x, (double)(b + 1) / l->n) - 3;
        snprintf(cls, sizeof cls, "f-%s bar", way ? "text" : "image");
        svg_rect(&p->s, cls, a, scale_at(&y, r.value), e - a, y.p0 - scale_at(&y, r.value), 3);
        if (isfinite(r.low) && isfinite(r.high))
            whisker(&p->s, (a + e) / 2, scale_at(&y, r.low), scale_at(&y, r.high));
        str_add(&p->desc, "Level %d: %s right. ", b + 1, word_pct_ci(r).s);
    }
    for (int b = 0; b < m->levels[1].n; b++)
        if (m->levels[1].level[b].n > 0)
            svg_diamond(&p->s, "f-card s-ink hollow", scale_at(&x, (b + 0.5) / m->levels[1].n),
                        scale_at(&y, m->levels[1].level[b].recall.value), 5);
    double mean = scale_at(&y, (double)m->n_hits / (double)m->n);
    svg_line(&p->s, "s-ink mean dots", X0, mean, W - 4, mean);
    svg_line(&p->s, "base", X0, y.p0, W - 4, y.p0);
    svg_text(&p->s, "label", x.p0, y.p0 + 20, 's', "surest");
    svg_text(&p->s, "label", x.p1, y.p0 + 20, 'e', "least sure");
    if (l->n != 5)
        svg_text(&p->s, "label", (x.p0 + x.p1) / 2, y.p0 + 20, 'm', "%d levels", l->n);
}

/* ---- risk ---- */

static void risk_tsv(struct fig *f, const struct fig_doubt *d, int way)
{
    const struct uncertainty *m = d->m[way];
    for (int k = 0; k < m->n_curve; k++) {
        str_add(&f->tsv, "%s\t", way ? "text_to_image" : "image_to_text");
        add_tsv(&f->tsv, d->name);
        str_add(&f->tsv, "\t%s\t%s\t%s\t%s\n", word_raw(m->curve[k].coverage).s, word_raw(m->curve[k].risk.value).s,
                word_raw(m->curve[k].risk.low).s, word_raw(m->curve[k].risk.high).s);
    }
}

static void band(struct str *b, const struct uncertainty *m, const struct scale *x, const struct scale *y,
                 const char *colour)
{
    char cls[64];
    if (m->n_curve < 2 || !isfinite(m->curve[0].risk.low))
        return;
    snprintf(cls, sizeof cls, "area f-%s", colour);
    svg_path_start(b, cls);
    for (int k = 0; k < m->n_curve; k++)
        svg_path_to(b, k ? 'L' : 'M', scale_at(x, m->curve[k].coverage),
                    scale_at(y, fmin(y->hi, m->curve[k].risk.high)));
    for (int k = m->n_curve - 1; k >= 0; k--)
        svg_path_to(b, 'L', scale_at(x, m->curve[k].coverage), scale_at(y, fmin(y->hi, m->curve[k].risk.low)));
    svg_path_end(b, true);
}

static void curve(struct str *b, const struct uncertainty *m, const struct scale *x, const struct scale *y,
                  const char *cls)
{
    svg_path_start(b, cls);
    for (int k = 0; k < m->n_curve; k++)
        svg_path_to(b, k ? 'L' : 'M', scale_at(x, m->curve[k].coverage),
                    scale_at(y, fmin(y->hi, m->curve[k].risk.value)));
    svg_path_end(b, false);
}

/* What remains when every hit is surer than every miss. */
static void best_curve(struct str *b, const struct uncertainty *m, const struct scale *x, const struct scale *y)
{
    double hits = (double)m->n_hits / (double)m->n;
    svg_path_start(b, "step s-other dots");
    svg_path_to(b, 'M', x->p0, y->p0);
    for (int k = 0; k < m->n_curve; k++) {
        double c = m->curve[k].coverage;
        svg_path_to(b, 'L', scale_at(x, c), scale_at(y, fmax(0, (c - hits) / c)));
    }
    svg_path_end(b, false);
}

static double risk_at(const struct uncertainty *m, double coverage)
{
    for (int k = 0; k < m->n_curve; k++)
        if (m->curve[k].coverage >= coverage - 1e-9)
            return m->curve[k].risk.value;
    return (double)NAN;
}

static void draw_risk(struct fig *f, const struct fig_doubt *d, int n, int way)
{
    static const char *const dashes[MOST] = {"", "dash", "dots"};
    const char *colour = way ? "text" : "image";
    const struct uncertainty *m = d[0].m[way];
    struct panel *p = open_panel(f, way == 1, "errors among the answered");
    char cls[64];
    if (m->n == 0) {
        fig_note(p, "No query has a partner in this set.");
        return;
    }
    double all = 1 - (double)m->n_hits / (double)m->n, most = fmax(0.05, all);
    for (int i = 0; i < n; i++)
        for (int k = d[i].m[way]->n_curve / 10; k < d[i].m[way]->n_curve; k++)
            most = fmax(most, d[i].m[way]->curve[k].risk.value);
    struct scale x = {.lo = 0, .hi = 1, .p0 = X0 + 6, .p1 = W - 10};
    struct scale y = {.lo = 0, .hi = fmin(1, most * 1.15), .p0 = H - 46, .p1 = 100};
    axis_left(&p->s, &y, X0, x.p1, 5, AXIS_PERCENT, NULL);
    axis_bottom(&p->s, &x, y.p0, y.p0, 5, AXIS_PERCENT, "share of the queries that are answered, surest first");
    svg_line(&p->s, "s-ink mean dots", x.p0, scale_at(&y, all), x.p1, scale_at(&y, all));
    band(&p->s, m, &x, &y, colour);
    best_curve(&p->s, m, &x, &y);
    for (int i = n - 1; i >= 0; i--) {
        snprintf(cls, sizeof cls, "step s-%s %s", i ? "ink" : colour, dashes[i]);
        curve(&p->s, d[i].m[way], &x, &y, cls);
    }
    for (int i = 0; i < n; i++) {
        double top = 33 + 18 * i;
        snprintf(cls, sizeof cls, "step s-%s %s", i ? "ink" : colour, dashes[i]);
        svg_path_start(&p->s, cls);
        svg_path_to(&p->s, 'M', 0, top), svg_path_to(&p->s, 'L', 26, top);
        svg_path_end(&p->s, false);
        svg_text(&p->s, i ? "" : "b", 32, top + 4, 's', "%s: AURC %s", d[i].name, word_num_ci(d[i].m[way]->aurc, 2).s);
        str_add(&p->desc, "%s: %s errors when all are answered, %s when the surest half is. ", d[i].name,
                word_pct(all).s, word_pct(risk_at(d[i].m[way], 0.5)).s);
    }
}

/* ---- the figures ---- */

typedef void (*draw_fn)(struct fig *f, const struct fig_doubt *d, int n, int way);

static void one_level(struct fig *f, const struct fig_doubt *d, int n, int way)
{
    for (int i = 0; i < n; i++)
        levels_tsv(f, &d[i], way);
    draw_levels(f, &d[0], way);
}

static void second_levels(const struct ctx *c, struct fig *f)
{
    const struct fig_doubt *d = ctx_doubt(c, 1);
    for (int way = 1; d && way >= 0; way--)
        draw_levels(f, d, way);
}

static void one_risk(struct fig *f, const struct fig_doubt *d, int n, int way)
{
    for (int i = 0; i < n; i++)
        risk_tsv(f, &d[i], way);
    draw_risk(f, d, n < MOST ? n : MOST, way);
}

static void draw_both(const struct ctx *c, struct fig *f, draw_fn draw)
{
    struct uncertainty own;
    for (int way = 1; way >= 0; way--) {
        struct fig_doubt d = {.name = "1 \u2212 largest softmax probability", .m = {&own, &own}};
        if (c->in.doubt)
            draw(f, c->in.doubt, c->in.n_doubts, way);
        else if (own_doubt(c, way, &own))
            draw(f, &d, 1, way);
        else
            fig_note(open_panel(f, way == 1, "uncertainty"), "The confidence of a query is not a finite number.");
    }
}

/* What the names in the figure stand for. */
static void name_doubts(const struct ctx *c, struct fig *f)
{
    for (int i = 0; i < c->in.n_doubts && i < MOST; i++)
        if (c->in.doubt[i].text)
            str_add(&f->how, " %s: %s.", c->in.doubt[i].name, c->in.doubt[i].text);
}

int fig_levels(struct ctx *c, struct fig *f)
{
    str_add(&f->tsv, "direction\tscore\tlevels\tlevel\tqueries\tuncertainty\trecall\tlow\thigh\n");
    draw_both(c, f, one_level);
    second_levels(c, f);
    str_add(
        &f->how,
        "The queries are sorted by how unsure the score is of their first answer and cut into levels of equal size. "
        "A bar is how often the first answer of a level is right; whiskers hold 95 %% of the bootstrap resamples, "
        "diamonds are ten levels. A score that knows when it is wrong has a staircase that falls from left to right; "
        "one that knows nothing stays on the dotted line.");
    name_doubts(c, f);
    return 0;
}

int fig_risk(struct ctx *c, struct fig *f)
{
    str_add(&f->tsv, "direction\tscore\tcoverage\trisk\tlow\thigh\n");
    draw_both(c, f, one_risk);
    str_add(&f->how,
            "Suppose that only the surest queries are answered and the others get the word unsure. Going from right to "
            "left fewer are answered, and the curve is the share of wrong ones among them, its band 95 %% of the "
            "bootstrap resamples. The straight dotted line is a score that knows nothing, the bent one a score that "
            "knows everything. AURC is the mean height of a curve: lower is better.");
    name_doubts(c, f);
    return 0;
}
