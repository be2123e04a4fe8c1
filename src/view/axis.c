/* view/axis.c: scales, nice ticks, axes.
 *
 * Ticks step by 1, 2 or 5 times a power of ten, the step nearest to the wanted count (Heckbert 1990, "Nice numbers for
 * graph labels"). The label of a y axis stands above it and is read without turning the head; grid lines are faint and
 * carry no box. */
#include "view/fig.h"

#include <math.h>

double scale_at(const struct scale *s, double v)
{
    double t;
    if (s->log)
        t = (log(v) - log(s->lo)) / (log(s->hi) - log(s->lo));
    else
        t = (v - s->lo) / (s->hi - s->lo);
    if (!isfinite(t)) /* an empty range, or log of zero: the low end */
        t = 0;
    return s->p0 + t * (s->p1 - s->p0);
}

void scale_widen(struct scale *s, double share)
{
    double d = (s->hi - s->lo) * share;
    if (!(d > 0))
        d = fabs(s->lo) > 0 ? fabs(s->lo) * 0.1 : 0.5;
    s->lo -= d;
    s->hi += d;
}

struct ticks ticks_linear(double lo, double hi, int want)
{
    struct ticks t = {0};
    if (!(hi > lo) || !isfinite(lo) || !isfinite(hi)) {
        t.n = 1;
        t.at[0] = isfinite(lo) ? lo : 0;
        t.decimals = 2;
        return t;
    }
    double raw = (hi - lo) / (want > 0 ? want : 1), power = pow(10, floor(log10(raw))), m = raw / power;
    double step = (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10) * power;
    int d = (int)-floor(log10(step) + 1e-9);
    t.decimals = d > 0 ? d : 0;
    int64_t first = (int64_t)ceil(lo / step - 1e-9), last = (int64_t)floor(hi / step + 1e-9);
    for (int64_t i = first; i <= last && t.n < (int)ARRAY_LEN(t.at); i++)
        t.at[t.n++] = (double)i * step;
    return t;
}

struct ticks ticks_log(double lo, double hi)
{
    struct ticks t = {0};
    if (!(lo > 0) || !(hi > lo))
        return t;
    static const double in_decade[3] = {1, 2, 5};
    bool dense = log10(hi / lo) < 2;
    for (int e = (int)floor(log10(lo)); e <= (int)ceil(log10(hi)); e++)
        for (int i = 0; i < (dense ? 3 : 1); i++) {
            double v = in_decade[i] * pow(10, e);
            if (v >= lo * (1 - 1e-9) && v <= hi * (1 + 1e-9) && t.n < (int)ARRAY_LEN(t.at))
                t.at[t.n++] = v;
        }
    return t;
}

static struct word tick_word(double v, const struct ticks *t, enum axis_form form)
{
    struct word w;
    switch (form) {
    case AXIS_PERCENT: {
        int d = t->decimals > 2 ? t->decimals - 2 : 0;
        snprintf(w.s, sizeof w.s, "%.80s\u00a0%%", word_num(100 * v, d).s);
        return w;
    }
    case AXIS_COUNT:
        return word_count((int64_t)llround(v));
    case AXIS_LOG:
        snprintf(w.s, sizeof w.s, "%g", v);
        return w;
    default:
        return word_num(v, t->decimals);
    }
}

static struct ticks ticks_for(const struct scale *s, int want, enum axis_form form)
{
    struct ticks t = s->log ? ticks_log(s->lo, s->hi) : ticks_linear(s->lo, s->hi, want);
    if (form == AXIS_COUNT && t.decimals > 0) /* whole things only */
        t = ticks_linear(s->lo, s->hi, (int)fmax(1, floor(s->hi - s->lo)));
    return t;
}

void axis_bottom(struct str *b, const struct scale *x, double y, double grid_to, int want, enum axis_form form,
                 const char *label)
{
    struct ticks t = ticks_for(x, want, form);
    for (int i = 0; i < t.n; i++) {
        double p = scale_at(x, t.at[i]);
        if (grid_to < y)
            svg_line(b, "grid", p, grid_to, p, y);
        svg_text(b, "tick", p, y + 17, 'm', "%s", tick_word(t.at[i], &t, form).s);
    }
    svg_line(b, "base", x->p0, y, x->p1, y);
    if (label)
        svg_text(b, "label", (x->p0 + x->p1) / 2, y + 36, 'm', "%s", label);
}

void axis_left(struct str *b, const struct scale *y, double x, double grid_to, int want, enum axis_form form,
               const char *label)
{
    struct ticks t = ticks_for(y, want, form);
    for (int i = 0; i < t.n; i++) {
        double p = scale_at(y, t.at[i]);
        if (grid_to > x)
            svg_line(b, "grid", x, p, grid_to, p);
        svg_text(b, "tick", x - 7, p + 4, 'e', "%s", tick_word(t.at[i], &t, form).s);
    }
    if (label)
        svg_text(b, "label", x - 40, y->p1 - 12, 's', "%s", label);
}
