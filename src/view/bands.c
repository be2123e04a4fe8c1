/* view/bands.c: lines with bands over one axis: what was measured at several points, each with its interval.
 *
 * Lines differ by colour, dash and mark, and carry their names at their right ends, pushed apart where they meet, so
 * that no key has to be matched by colour. A band of low opacity under every line keeps five of them readable; more
 * than twelve lines are refused by nobody but are not drawn. */
#include "view/fig.h"

#include <math.h>
#include <string.h>

#define W 620.0
#define H 420.0
#define X0 52.0
#define NAMES 132.0 /* room for the names, right */

static const char *const colours[] = {"ink", "image", "text", "good", "bad", "other"};
static const char *const dashes[] = {"", "dash", "dots"};
static const char *const words[] = {"ink", "image-ink", "text-ink", "good-ink", "bad-ink", "other-ink"};

static const char *colour_of(int i)
{
    return colours[i % (int)ARRAY_LEN(colours)];
}

static const char *dash_of(int i)
{
    return dashes[(i + i / (int)ARRAY_LEN(colours)) % (int)ARRAY_LEN(dashes)];
}

/* ---- ranges ---- */

static void take(double v, double *lo, double *hi)
{
    if (!isfinite(v))
        return;
    *lo = fmin(*lo, v);
    *hi = fmax(*hi, v);
}

/* false: not one number to draw */
static bool ranges(const struct band_panel *p, struct scale *x, struct scale *y)
{
    x->lo = y->lo = INFINITY;
    x->hi = y->hi = -INFINITY;
    for (int i = 0; i < p->n_lines && i < BAND_LINES; i++)
        for (int k = 0; k < p->line[i].n; k++) {
            const struct interval v = p->line[i].y[k];
            if (!isfinite(v.value) || !isfinite(p->line[i].x[k]))
                continue;
            take(p->line[i].x[k], &x->lo, &x->hi);
            take(v.value, &y->lo, &y->hi);
            take(v.low, &y->lo, &y->hi);
            take(v.high, &y->lo, &y->hi);
        }
    if (!(x->lo <= x->hi))
        return false;
    if (p->percent) {
        y->lo = fmax(y->lo, 0);
        y->hi = fmin(y->hi, 1);
    }
    scale_widen(x, 0.02);
    scale_widen(y, 0.05);
    return true;
}

/* ---- one line ---- */

static void band(struct str *b, const struct band_line *l, int i, const struct scale *x, const struct scale *y)
{
    char cls[64];
    int first = 0, last = l->n - 1;
    while (first <= last && !(isfinite(l->y[first].low) && isfinite(l->y[first].high)))
        first++;
    while (last > first && !(isfinite(l->y[last].low) && isfinite(l->y[last].high)))
        last--;
    if (last <= first)
        return;
    snprintf(cls, sizeof cls, "area f-%s", colour_of(i));
    svg_path_start(b, cls);
    for (int k = first; k <= last; k++)
        if (isfinite(l->y[k].high))
            svg_path_to(b, k == first ? 'M' : 'L', scale_at(x, l->x[k]), scale_at(y, fmin(l->y[k].high, y->hi)));
    for (int k = last; k >= first; k--)
        if (isfinite(l->y[k].low))
            svg_path_to(b, 'L', scale_at(x, l->x[k]), scale_at(y, fmax(l->y[k].low, y->lo)));
    svg_path_end(b, true);
}

static void line(struct panel *p, const struct band_line *l, int i, const struct scale *x, const struct scale *y)
{
    char cls[64], tip[192];
    bool on = false;
    snprintf(cls, sizeof cls, "step s-%s %s", colour_of(i), dash_of(i));
    svg_path_start(&p->s, cls);
    for (int k = 0; k < l->n; k++) {
        if (isfinite(l->y[k].value))
            svg_path_to(&p->s, on ? 'L' : 'M', scale_at(x, l->x[k]), scale_at(y, l->y[k].value));
        on = on || isfinite(l->y[k].value);
    }
    svg_path_end(&p->s, false);
    snprintf(cls, sizeof cls, "f-%s", colour_of(i));
    for (int k = 0; k < l->n; k++) {
        if (!isfinite(l->y[k].value))
            continue;
        double a = scale_at(x, l->x[k]), b = scale_at(y, l->y[k].value);
        snprintf(tip, sizeof tip, "%.60s, %g: %.80s", l->name, l->x[k], word_num_ci(l->y[k], 3).s);
        if (i % 3 == 0)
            svg_circle(&p->s, cls, a, b, 3, tip);
        else if (i % 3 == 1)
            svg_triangle(&p->s, cls, a, b, 3.4, tip);
        else
            svg_diamond(&p->s, cls, a, b, 3.8);
    }
}

/* ---- names at the right ends ---- */

struct tag {
    int line;
    double at; /* where the line ends, then where its name stands */
};

static void names(struct panel *p, const struct band_panel *in, const struct scale *x, const struct scale *y)
{
    struct tag tag[BAND_LINES];
    int n = 0;
    const double room = 15;
    for (int i = 0; i < in->n_lines && i < BAND_LINES; i++) {
        int last = in->line[i].n - 1;
        while (last >= 0 && !isfinite(in->line[i].y[last].value))
            last--;
        if (last < 0)
            continue;
        struct tag t = {i, scale_at(y, in->line[i].y[last].value)};
        int at = n++;
        for (; at > 0 && tag[at - 1].at > t.at; at--)
            tag[at] = tag[at - 1];
        tag[at] = t;
    }
    for (int k = 1; k < n; k++)
        tag[k].at = fmax(tag[k].at, tag[k - 1].at + room);
    for (int k = n - 1; k >= 0; k--) /* and back up, where the last ones fell off the axis */
        tag[k].at = fmin(tag[k].at, k == n - 1 ? y->p0 - 4 : tag[k + 1].at - room);
    for (int k = 0; k < n; k++) {
        char cls[64];
        int i = tag[k].line;
        snprintf(cls, sizeof cls, "step s-%s %s", colour_of(i), dash_of(i));
        svg_path_start(&p->s, cls);
        svg_path_to(&p->s, 'M', x->p1 + 6, tag[k].at);
        svg_path_to(&p->s, 'L', x->p1 + 26, tag[k].at);
        svg_path_end(&p->s, false);
        snprintf(cls, sizeof cls, "small f-%s", words[i % (int)ARRAY_LEN(words)]);
        svg_text(&p->s, cls, x->p1 + 31, tag[k].at + 4, 's', "%s", in->line[i].name);
    }
}

void bands_panel(struct fig *f, const struct band_panel *in)
{
    struct panel *p = fig_panel(f, W, H, in->title);
    struct scale x = {.p0 = X0 + 6, .p1 = W - NAMES}, y = {.p0 = H - 46, .p1 = 44};
    svg_text(&p->s, "head", 0, 15, 's', "%s", in->title);
    if (!ranges(in, &x, &y)) {
        fig_note(p, "There is no number to draw.");
        return;
    }
    axis_left(&p->s, &y, X0, x.p1, 6, in->percent ? AXIS_PERCENT : AXIS_PLAIN, NULL);
    axis_bottom(&p->s, &x, y.p0, y.p0, 6, in->whole ? AXIS_COUNT : in->share ? AXIS_PERCENT : AXIS_PLAIN, in->x_label);
    for (int i = 0; i < in->n_lines && i < BAND_LINES; i++)
        band(&p->s, &in->line[i], i, &x, &y);
    for (int i = in->n_lines < BAND_LINES ? in->n_lines - 1 : BAND_LINES - 1; i >= 0; i--)
        line(p, &in->line[i], i, &x, &y);
    names(p, in, &x, &y);
    for (int i = 0; i < in->n_lines && i < BAND_LINES; i++) {
        const struct band_line *l = &in->line[i];
        if (l->n > 0)
            str_add(&p->desc, "%s: from %s to %s. ", l->name, word_num(l->y[0].value, 3).s,
                    word_num_ci(l->y[l->n - 1], 3).s);
    }
}

void bands_tsv(struct fig *f, const struct band_panel *in)
{
    for (int i = 0; i < in->n_lines; i++)
        for (int k = 0; k < in->line[i].n; k++) {
            const struct interval v = in->line[i].y[k];
            add_tsv(&f->tsv, in->title);
            str_add_c(&f->tsv, '\t');
            add_tsv(&f->tsv, in->line[i].name);
            str_add(&f->tsv, "\t%s\t%s\t%s\t%s\n", word_raw(in->line[i].x[k]).s, word_raw(v.value).s, word_raw(v.low).s,
                    word_raw(v.high).s);
        }
}
