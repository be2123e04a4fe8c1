/* view/fig_clouds.c: both clouds in the plane of their first two principal components.
 *
 * The axes are those of the pooled rows, pictures and texts in equal number where there are ENOUGH, so that neither
 * side owns the plane; both axes have the same scale, so a distance on paper is a distance in the plane. The number on
 * the thick line is the distance of the two means in the whole space (Liang et al. 2022, "Mind the gap"); the plane can
 * only shorten it. Signs of the axes are fixed (mean of the pictures left and low), so that equal input gives
 * equal bytes. Rejected: t-SNE and UMAP, whose distances between clusters mean nothing, and that is the question here.
 */
#include "view/fig.h"

#include <math.h>
#include <string.h>

#define W 720.0
#define H 520.0
#define MAX_DRAWN 500
#define MAX_FIT 4000
#define ENOUGH 50
#define MAX_LINES 70

struct clouds {
    int64_t n[2];    /* rows drawn of each side */
    int64_t *row[2]; /* [n] */
    double *xy[2];   /* [n, 2] */
    int64_t n_lines;
    int64_t line[MAX_LINES]; /* pair drawn */
    double axes[2], total;   /* variance along both axes, of all */
    double centre[2][2], distance, plane_distance;
    double *mean, *axis; /* [d], [2, d] */
};

static int plane_fit(struct ctx *c, struct clouds *k, struct arena *a)
{
    int64_t d = c->in.set->width, n[2] = {ctx_n(c, 0), ctx_n(c, 1)}, total = 0;
    int64_t least = n[0] < n[1] ? n[0] : n[1], most = least >= ENOUGH && least < MAX_FIT ? least : MAX_FIT;
    for (int s = 0; s < 2; s++) {
        n[s] = n[s] < most ? n[s] : most;
        total += n[s];
    }
    float *pool = arena_calloc(a, (size_t)total, (size_t)d * sizeof *pool); /* [total, d] */
    k->mean = arena_calloc(a, (size_t)d, sizeof *k->mean);
    k->axis = arena_calloc(a, (size_t)d, 2 * sizeof *k->axis);
    if (!pool || !k->mean || !k->axis)
        return ERR_MEMORY;
    int64_t at = 0;
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < n[s]; i++) /* evenly spread rows: files are often sorted by class */
            memcpy(pool + (size_t)(at++ * d), ctx_row(c, s, i * ctx_n(c, s) / n[s]), (size_t)d * sizeof *pool);
    TRY(space_pca(pool, total, d, 2, k->mean, k->axis, k->axes));
    for (int64_t i = 0; i < total; i++)
        for (int64_t j = 0; j < d; j++) {
            double v = (double)pool[i * d + j] - k->mean[j];
            k->total += v * v / (double)(total > 1 ? total - 1 : 1);
        }
    return 0;
}

static void project(const struct clouds *k, int64_t d, const double *x, double xy[2])
{
    xy[0] = xy[1] = 0;
    for (int64_t j = 0; j < d; j++) {
        xy[0] += (x[j] - k->mean[j]) * k->axis[j];
        xy[1] += (x[j] - k->mean[j]) * k->axis[d + j];
    }
}

static int centres(struct ctx *c, struct clouds *k, struct arena *a)
{
    int64_t d = c->in.set->width;
    double *m[2], sum = 0;
    for (int s = 0; s < 2; s++) {
        m[s] = arena_calloc(a, (size_t)d, sizeof(double));
        if (!m[s])
            return ERR_MEMORY;
        TRY(space_mean(c->x[s], ctx_n(c, s), d, m[s]));
        project(k, d, m[s], k->centre[s]);
    }
    for (int ax = 0; ax < 2; ax++) /* pictures left; and their mean low */
        if (k->centre[0][ax] > k->centre[1][ax]) {
            for (int64_t j = 0; j < d; j++)
                k->axis[ax * d + j] = -k->axis[ax * d + j];
            k->centre[0][ax] = -k->centre[0][ax];
            k->centre[1][ax] = -k->centre[1][ax];
        }
    for (int64_t j = 0; j < d; j++)
        sum += (m[0][j] - m[1][j]) * (m[0][j] - m[1][j]);
    k->distance = sqrt(sum);
    k->plane_distance = hypot(k->centre[0][0] - k->centre[1][0], k->centre[0][1] - k->centre[1][1]);
    return 0;
}

/* Both ends of the drawn pairs first, then random rows up to MAX_DRAWN a side. */
static int sample(struct ctx *c, struct clouds *k, struct arena *a)
{
    const struct set *s = c->in.set;
    struct rng r = rng_stream(c->in.seed, RNG_SAMPLE, 0, 1);
    bool *taken[2];
    for (int side = 0; side < 2; side++) {
        taken[side] = arena_calloc(a, (size_t)ctx_n(c, side), sizeof(bool));
        k->row[side] = arena_calloc(a, (size_t)ctx_n(c, side), sizeof(int64_t));
        if (!taken[side] || !k->row[side])
            return ERR_MEMORY;
    }
    int64_t want = s->n_pairs < MAX_LINES ? s->n_pairs : MAX_LINES;
    for (int64_t i = 0; i < want; i++) {
        int64_t p = s->n_pairs <= MAX_LINES ? i : (int64_t)rng_below(&r, (uint64_t)s->n_pairs);
        k->line[k->n_lines++] = p;
        taken[0][s->pairs[p].image] = taken[1][s->pairs[p].text] = true;
    }
    for (int side = 0; side < 2; side++) {
        int64_t n = ctx_n(c, side), left = MAX_DRAWN, drawn = 0;
        int64_t *all = arena_calloc(a, (size_t)n, sizeof *all);
        if (!all)
            return ERR_MEMORY;
        for (int64_t i = 0; i < n; i++) {
            all[i] = i;
            left -= taken[side][i];
        }
        rng_shuffle(&r, all, n);
        for (int64_t i = 0; i < n && left > 0; i++)
            if (!taken[side][all[i]]) {
                taken[side][all[i]] = true;
                left--;
            }
        for (int64_t i = 0; i < n; i++)
            if (taken[side][i])
                k->row[side][drawn++] = i;
        k->n[side] = drawn;
    }
    return 0;
}

static int positions(struct ctx *c, struct clouds *k, struct arena *a)
{
    int64_t d = c->in.set->width;
    double *x = arena_calloc(a, (size_t)d, sizeof *x);
    if (!x)
        return ERR_MEMORY;
    for (int s = 0; s < 2; s++) {
        k->xy[s] = arena_calloc(a, (size_t)k->n[s], 2 * sizeof(double));
        if (!k->xy[s])
            return ERR_MEMORY;
        for (int64_t i = 0; i < k->n[s]; i++) {
            const float *row = ctx_row(c, s, k->row[s][i]);
            for (int64_t j = 0; j < d; j++)
                x[j] = (double)row[j];
            project(k, d, x, k->xy[s] + 2 * i);
        }
    }
    return 0;
}

static void fit_scales(const struct clouds *k, struct scale *x, struct scale *y)
{
    double lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < k->n[s]; i++)
            for (int ax = 0; ax < 2; ax++) {
                lo[ax] = fmin(lo[ax], k->xy[s][2 * i + ax]);
                hi[ax] = fmax(hi[ax], k->xy[s][2 * i + ax]);
            }
    *x = (struct scale){.lo = lo[0], .hi = hi[0], .p0 = 56, .p1 = W - 14};
    *y = (struct scale){.lo = lo[1], .hi = hi[1], .p0 = H - 52, .p1 = 52};
    scale_widen(x, 0.05);
    scale_widen(y, 0.07);
    double ux = (x->hi - x->lo) / (x->p1 - x->p0), uy = (y->hi - y->lo) / (y->p0 - y->p1); /* data per unit of paper */
    struct scale *thin = ux < uy ? x : y;
    double mid = (thin->lo + thin->hi) / 2, half = fabs(thin->p1 - thin->p0) * fmax(ux, uy) / 2;
    thin->lo = mid - half;
    thin->hi = mid + half;
}

static int64_t find_row(const int64_t *row, int64_t n, int64_t want)
{
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (row[mid] < want)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void draw_points(struct ctx *c, const struct clouds *k, const struct scale *x, const struct scale *y,
                        struct str *b)
{
    struct str tip = {0};
    str_add(b, "<g class=\"s-other pair\">\n");
    for (int64_t i = 0; i < k->n_lines; i++) {
        const struct set_pair *p = &c->in.set->pairs[k->line[i]];
        const double *u = k->xy[0] + 2 * find_row(k->row[0], k->n[0], p->image);
        const double *v = k->xy[1] + 2 * find_row(k->row[1], k->n[1], p->text);
        svg_path_start(b, "");
        svg_path_to(b, 'M', scale_at(x, u[0]), scale_at(y, u[1]));
        svg_path_to(b, 'L', scale_at(x, v[0]), scale_at(y, v[1]));
        svg_path_end(b, false);
    }
    str_add(b, "</g>\n");
    for (int s = 0; s < 2; s++) {
        str_add(b, "<g class=\"f-%s dot\">\n", s ? "text" : "image");
        for (int64_t i = 0; i < k->n[s]; i++) {
            double px = scale_at(x, k->xy[s][2 * i]), py = scale_at(y, k->xy[s][2 * i + 1]);
            str_clear(&tip);
            ctx_label(c, s, k->row[s][i], &tip);
            (s ? svg_triangle : svg_circle)(b, NULL, px, py, 3.2, tip.s);
        }
        str_add(b, "</g>\n");
    }
    str_free(&tip);
}

static void draw_centres(const struct clouds *k, const struct scale *x, const struct scale *y, struct str *b)
{
    double p[2][2];
    for (int s = 0; s < 2; s++)
        p[s][0] = scale_at(x, k->centre[s][0]), p[s][1] = scale_at(y, k->centre[s][1]);
    svg_line(b, "s-card thick halo", p[0][0], p[0][1], p[1][0], p[1][1]);
    svg_line(b, "s-ink thick", p[0][0], p[0][1], p[1][0], p[1][1]);
    svg_circle(b, "f-image s-card halo", p[0][0], p[0][1], 11, "Mean of the pictures");
    svg_triangle(b, "f-text s-card halo", p[1][0], p[1][1], 12, "Mean of the texts");
    double mx = (p[0][0] + p[1][0]) / 2, my = (p[0][1] + p[1][1]) / 2;
    bool near = hypot(p[0][0] - p[1][0], p[0][1] - p[1][1]) < 130; /* no room on the line: write above it */
    double up = near ? 34 : 0;
    svg_rect(b, "f-card s-line", mx - 44, my - 17 - up, 88, 34, 17);
    svg_text(b, "big", mx, my + 6 - up, 'm', "%s", word_num(k->distance, 2).s);
}

static void draw_legend(struct ctx *c, const struct clouds *k, struct str *b)
{
    svg_circle(b, "f-image", 62, 17, 6, NULL);
    svg_text(b, "b f-image-ink", 76, 22, 's', "Pictures  %s of %s", word_count(k->n[0]).s, word_count(ctx_n(c, 0)).s);
    svg_triangle(b, "f-text", W / 2 + 20, 18, 6.5, NULL);
    svg_text(b, "b f-text-ink", W / 2 + 34, 22, 's', "Texts  %s of %s", word_count(k->n[1]).s,
             word_count(ctx_n(c, 1)).s);
}

static void write_tsv(struct ctx *c, const struct clouds *k, struct str *t)
{
    struct str label = {0};
    str_add(t, "kind\trow\tx\ty\tlabel\n");
    for (int s = 0; s < 2; s++)
        str_add(t, "%s mean\t\t%.6g\t%.6g\t\n", s ? "text" : "picture", k->centre[s][0], k->centre[s][1]);
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < k->n[s]; i++) {
            str_clear(&label);
            ctx_label(c, s, k->row[s][i], &label);
            str_add(t, "%s\t%lld\t%.6g\t%.6g\t", s ? "text" : "picture", (long long)k->row[s][i], k->xy[s][2 * i],
                    k->xy[s][2 * i + 1]);
            add_tsv(t, label.s);
            str_add_c(t, '\n');
        }
    str_free(&label);
}

static void describe(struct ctx *c, const struct clouds *k, struct panel *p, struct fig *f)
{
    double share = k->total > 0 ? (k->axes[0] + k->axes[1]) / k->total : 0;
    str_add(&p->desc, "Scatter plot of %lld pictures and %lld texts. The means are %s apart.", (long long)k->n[0],
            (long long)k->n[1], word_num(k->distance, 2).s);
    str_add(&f->how,
            "Each circle is a picture, each triangle a text; a thin line joins a picture with its own text (%lld pairs "
            "drawn of %s). "
            "The thick line joins the two means: they lie %s apart in the full space, %s in this plane (rows have "
            "length 1, so 0 is no "
            "gap and 2 is opposite poles). The plane holds %s of the spread; both axes have the same scale.",
            (long long)k->n_lines, word_count(c->in.set->n_pairs).s, word_num(k->distance, 2).s,
            word_num(k->plane_distance, 2).s, word_pct(share).s);
}

static int draw(struct ctx *c, struct fig *f, struct arena *a)
{
    struct clouds k = {0};
    struct scale x, y;
    TRY(plane_fit(c, &k, a));
    TRY(centres(c, &k, a));
    TRY(sample(c, &k, a));
    TRY(positions(c, &k, a));
    fit_scales(&k, &x, &y);
    struct panel *p = fig_panel(f, W, H, "Pictures and texts in the plane of their first two principal components");
    char label[160];
    double total = k.total > 0 ? k.total : 1;
    snprintf(label, sizeof label, "first principal component (%s of the spread)", word_pct(k.axes[0] / total).s);
    axis_bottom(&p->s, &x, y.p0, y.p1, 6, AXIS_PLAIN, label);
    axis_left(&p->s, &y, x.p0, x.p1, 5, AXIS_PLAIN, NULL);
    snprintf(label, sizeof label, "second (%s)", word_pct(k.axes[1] / total).s);
    svg_text(&p->s, "label", x.p0 + 6, y.p1 + 4, 's', "↑ %s", label);
    draw_points(c, &k, &x, &y, &p->s);
    draw_centres(&k, &x, &y, &p->s);
    draw_legend(c, &k, &p->s);
    describe(c, &k, p, f);
    write_tsv(c, &k, &f->tsv);
    return 0;
}

int fig_clouds(struct ctx *c, struct fig *f)
{
    struct arena *a = NULL;
    int64_t n0 = ctx_n(c, 0), n1 = ctx_n(c, 1);
    if (n0 < 1 || n1 < 1 || n0 + n1 < 3 || c->in.set->width < 2) {
        struct panel *p = fig_panel(f, W, 240, "Pictures and texts in the plane of their principal components");
        fig_note(p, "A plane needs three rows, both sides and two dimensions; here: %lld pictures, %lld texts.",
                 (long long)n0, (long long)n1);
        str_add(&f->tsv, "kind\trow\tx\ty\tlabel\n");
        return 0;
    }
    TRY(arena_open(&a, "figure clouds"));
    int rc = draw(c, f, a);
    arena_close(&a);
    return rc;
}
