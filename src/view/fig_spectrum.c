/* view/fig_spectrum.c: singular values of both clouds, and how fast their variance adds up.
 *
 * Left: singular values on a log scale; where a line drops, the cloud is flat. The upright lines are the effective
 * ranks, exp of the entropy of the normalised values (Roy and Vetterli 2007). Right: cumulative share of the variance
 * (squares), so "directions for 90 %" can be read off. */
#include "view/fig.h"

#include <math.h>

#define W 480.0
#define H 350.0

struct curve {
    const double *v;
    struct interval rank;
    const char *name, *colour, *dash;
    int64_t n90;
};

static double share_at(const double *v, int64_t n, int64_t upto)
{
    double part = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        all += v[i] * v[i];
        part += i < upto ? v[i] * v[i] : 0;
    }
    return all > 0 ? part / all : 0;
}

static int64_t directions_for(const double *v, int64_t n, double share)
{
    double part = 0, all = 0;
    for (int64_t i = 0; i < n; i++)
        all += v[i] * v[i];
    for (int64_t i = 0; i < n; i++) {
        part += v[i] * v[i];
        if (part >= share * all * (1 - 1e-12))
            return i + 1;
    }
    return n;
}

static void draw_values(struct fig *f, const struct curve *k, int64_t n)
{
    struct panel *p = fig_panel(f, W, H, "Singular values");
    double hi = 0, lo = INFINITY;
    char cls[64];
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < n; i++)
            hi = fmax(hi, k[s].v[i]);
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < n; i++)
            if (k[s].v[i] > hi * 1e-4) /* rounding dust below would own the axis */
                lo = fmin(lo, k[s].v[i]);
    struct scale x = {.lo = 1, .hi = (double)(n > 1 ? n : 2), .p0 = 52, .p1 = W - 8};
    struct scale y = {.lo = lo * 0.8, .hi = hi * 1.25, .p0 = H - 46, .p1 = 80, .log = true};
    svg_text(&p->s, "head", 0, 15, 's', "Singular values (log scale)");
    axis_left(&p->s, &y, x.p0, x.p1, 5, AXIS_LOG, NULL);
    axis_bottom(&p->s, &x, y.p0, y.p0, 5, AXIS_COUNT, "direction, strongest first");
    for (int s = 0; s < 2; s++) {
        snprintf(cls, sizeof cls, "step s-%s %s", k[s].colour, k[s].dash);
        svg_path_start(&p->s, cls);
        for (int64_t i = 0; i < n && k[s].v[i] > hi * 1e-4; i++)
            svg_path_to(&p->s, i ? 'L' : 'M', scale_at(&x, (double)(i + 1)), scale_at(&y, k[s].v[i]));
        if (!(k[s].v[0] > hi * 1e-4))
            svg_path_to(&p->s, 'M', x.p0, y.p0);
        svg_path_end(&p->s, false);
        double px = scale_at(&x, k[s].rank.value), top = 42 + 18 * s;
        if (!isfinite(k[s].rank.value))
            continue;
        snprintf(cls, sizeof cls, "mean s-%s %s", k[s].colour, k[s].dash);
        svg_line(&p->s, cls, px, top + 5, px, y.p0);
        snprintf(cls, sizeof cls, "b f-%s-ink", k[s].colour);
        bool right = px > W / 2;
        svg_text(&p->s, cls, right ? px + 4 : px - 4, top, right ? 'e' : 's', "%s: effective rank %s", k[s].name,
                 word_num(k[s].rank.value, 1).s);
        str_add(&p->desc, "%s: effective rank %s of %lld. ", k[s].name, word_num_ci(k[s].rank, 1).s, (long long)n);
    }
}

static void draw_shares(struct fig *f, struct curve *k, int64_t n)
{
    struct panel *p = fig_panel(f, W, H, "Share of the variance");
    struct scale x = {.lo = 1, .hi = (double)(n > 1 ? n : 2), .p0 = 52, .p1 = W - 8},
                 y = {.lo = 0, .hi = 1, .p0 = H - 46, .p1 = 80};
    char cls[64];
    svg_text(&p->s, "head", 0, 15, 's', "Share of the variance held by the first directions");
    axis_left(&p->s, &y, x.p0, x.p1, 5, AXIS_PERCENT, NULL);
    axis_bottom(&p->s, &x, y.p0, y.p0, 5, AXIS_COUNT, "directions taken together");
    svg_line(&p->s, "s-ink mean dots", x.p0, scale_at(&y, 0.9), x.p1, scale_at(&y, 0.9));
    for (int s = 0; s < 2; s++) {
        snprintf(cls, sizeof cls, "step s-%s %s", k[s].colour, k[s].dash);
        svg_path_start(&p->s, cls);
        double part = 0, all = 0;
        for (int64_t i = 0; i < n; i++)
            all += k[s].v[i] * k[s].v[i];
        for (int64_t i = 0; i < n; i++) {
            part += k[s].v[i] * k[s].v[i];
            svg_path_to(&p->s, i ? 'L' : 'M', scale_at(&x, (double)(i + 1)), scale_at(&y, all > 0 ? part / all : 0));
        }
        svg_path_end(&p->s, false);
        k[s].n90 = directions_for(k[s].v, n, 0.9);
        double px = scale_at(&x, (double)k[s].n90), py = scale_at(&y, share_at(k[s].v, n, k[s].n90));
        snprintf(cls, sizeof cls, "f-%s s-card halo", k[s].colour);
        (s ? svg_triangle : svg_circle)(&p->s, cls, px, py, 6.5, NULL);
        snprintf(cls, sizeof cls, "b f-%s-ink", k[s].colour);
        svg_text(&p->s, cls, x.p1, scale_at(&y, 0.25) + 20 * s, 'e', "%s: 90 %% in %lld of %lld", k[s].name,
                 (long long)k[s].n90, (long long)n);
        str_add(&p->desc, "%s: 90 %% of the variance in %lld directions. ", k[s].name, (long long)k[s].n90);
    }
}

int fig_spectrum(struct ctx *c, struct fig *f)
{
    const struct geometry *g = c->in.geometry;
    struct curve k[2] = {{g->spectrum_image, g->effective_rank_image, "pictures", "image", "", 0},
                         {g->spectrum_text, g->effective_rank_text, "texts", "text", "dash", 0}};
    int64_t n = g->n_spectrum > 0 ? g->n_spectrum : 0;
    str_add(&f->tsv, "direction\tpicture_value\ttext_value\tpicture_share\ttext_share\n");
    bool some = n > 0 && k[0].v && k[1].v && (k[0].v[0] > 0 || k[1].v[0] > 0);
    if (!some) {
        struct panel *p = fig_panel(f, W, H, "Singular values");
        fig_note(p, "One row has no spread: nothing to decompose.");
        return 0;
    }
    double part[2] = {0, 0}, all[2] = {0, 0};
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < n; i++)
            all[s] += k[s].v[i] * k[s].v[i];
    for (int64_t i = 0; i < n; i++) {
        for (int s = 0; s < 2; s++)
            part[s] += k[s].v[i] * k[s].v[i];
        str_add(&f->tsv, "%lld\t%.6g\t%.6g\t%.6g\t%.6g\n", (long long)(i + 1), k[0].v[i], k[1].v[i],
                all[0] > 0 ? part[0] / all[0] : 0, all[1] > 0 ? part[1] / all[1] : 0);
    }
    draw_values(f, k, n);
    draw_shares(f, k, n);
    str_add(&f->how,
            "A cloud in %lld dimensions rarely fills them. Left: the spread along each direction, strongest first; the "
            "upright lines are the "
            "effective ranks, the number of directions in use if all used ones were equal. Right: how much of the "
            "spread the first "
            "directions hold; the marks sit at 90 %%.",
            (long long)n);
    return 0;
}
