/* view/figure.c: the registry of figures, and the two ways out: into the page, into a file of its own.
 *
 * In the page the panels are separate <svg> elements in a CSS grid, so that a telephone stacks them at full width in
 * place of shrinking one wide drawing. In a file they are <g> elements side by side under the figure's question. Both
 * end with the stamp (n, model, protocol) in the lower right corner. */
#include "view/fig.h"

#include <math.h>
#include <string.h>

#define STAMP_H 24.0
#define GAP 28.0
#define MARGIN 20.0

static const struct fig_kind kinds[] = {
#define FIG(name, fn, needs, question) {#name, question, needs, fn},
#include "view/fig_list.h"
#undef FIG
};

int figure_count(void)
{
    return (int)ARRAY_LEN(kinds);
}
const struct fig_kind *figure_kind(int i)
{
    return i >= 0 && i < figure_count() ? &kinds[i] : NULL;
}
const char *figure_name(int i)
{
    return figure_kind(i) ? kinds[i].name : NULL;
}
const char *figure_help(int i)
{
    return figure_kind(i) ? kinds[i].question : NULL;
}

static const struct fig_kind *find_kind(const char *name)
{
    const char *names[ARRAY_LEN(kinds)];
    for (int i = 0; i < figure_count(); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
        names[i] = kinds[i].name;
    }
    const char *near = str_nearest(name, names, figure_count());
    struct str all = {0};
    for (int i = 0; i < figure_count(); i++)
        str_add(&all, "%s%s", i ? ", " : "", names[i]);
    err_set(ERR_USAGE, "no figure \"%s\"%s%s%s; figures: %s", name, near ? ", did you mean \"" : "", near ? near : "",
            near ? "\"?" : "", all.s ? all.s : "");
    str_free(&all);
    return NULL;
}

int figure_needs(const char *name, int *needs)
{
    const struct fig_kind *k = find_kind(name);
    if (!k)
        return ERR_USAGE;
    *needs = k->needs;
    return 0;
}

struct panel *fig_panel(struct fig *f, double w, double h, const char *title)
{
    BUG_ON(f->n_panels >= FIG_MAX_PANELS);
    struct panel *p = &f->panel[f->n_panels++];
    *p = (struct panel){.w = w, .h = h};
    snprintf(p->title, sizeof p->title, "%s", title);
    return p;
}

void fig_note(struct panel *p, const char *fmt, ...)
{
    char t[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t, sizeof t, fmt, ap);
    va_end(ap);
    svg_rect(&p->s, "f-hole pale", 0, 34, p->w, p->h - 40, 8);
    svg_text(&p->s, "label", p->w / 2, p->h / 2, 'm', "%s", t);
    str_add(&p->desc, "%s", t);
}

void fig_free(struct fig *f)
{
    for (int i = 0; i < f->n_panels; i++) {
        str_free(&f->panel[i].s);
        str_free(&f->panel[i].desc);
    }
    mem_free(f->gallery);
    str_free(&f->how);
    str_free(&f->tsv);
    *f = (struct fig){0};
}

static bool fig_failed(const struct fig *f)
{
    bool failed = f->how.failed || f->tsv.failed;
    for (int i = 0; i < f->n_panels; i++)
        failed = failed || f->panel[i].s.failed || f->panel[i].desc.failed;
    return failed;
}

int figure_draw(struct ctx *c, const struct fig_kind *k, struct fig *f)
{
    *f = (struct fig){.name = k->name, .question = k->question};
    bool stands_in = (k->needs & FIG_DOUBT) && c->in.doubt;
    if (((k->needs & FIG_GEOMETRY) && !c->in.geometry) ||
        ((k->needs & FIG_RETRIEVAL) && !c->in.retrieval && !stands_in))
        FAIL(ERR_USAGE, "figure \"%s\" needs the %s measures", k->name,
             (k->needs & FIG_GEOMETRY) && !c->in.geometry ? "geometry" : "retrieval");
    TRY_IN(k->draw(c, f), "drawing figure \"%s\"", k->name);
    if (f->gallery)
        gallery_tsv(c, f->gallery, &f->tsv);
    if (fig_failed(f))
        FAIL(ERR_MEMORY, "figure \"%s\": out of memory", k->name);
    return 0;
}

static void add_title(struct str *b, const struct panel *p, const char *name, int i)
{
    str_add(b, "<title id=\"%s-%d-t\">", name, i);
    add_xml(b, p->title);
    str_add(b, "</title>\n<desc id=\"%s-%d-d\">", name, i);
    add_xml(b, p->desc.s);
    str_add(b, "</desc>\n");
}

int figure_inline(struct ctx *c, const struct fig *f, struct str *html)
{
    struct str stamp = {0};
    int rc = 0;
    if (f->gallery) {
        rc = gallery_html(c, f->gallery, html);
    } else {
        str_add(html, "<div class=\"panels\">\n");
        for (int i = 0; i < f->n_panels; i++) {
            const struct panel *p = &f->panel[i];
            str_add(html, "<svg class=\"%s\" viewBox=\"0 0 %g %g\" role=\"img\" aria-labelledby=\"%s-%d-t %s-%d-d\">\n",
                    p->w > 600 ? "wide" : "half", p->w, p->h, f->name, i, f->name, i);
            add_title(html, p, f->name, i);
            str_add_n(html, p->s.s ? p->s.s : "", p->s.n);
            str_add(html, "</svg>\n");
        }
        str_add(html, "</div>\n");
    }
    ctx_stamp(c, &stamp);
    str_add(html, "<p class=\"stamp\">");
    add_xml(html, stamp.s);
    str_add(html, "</p>\n");
    str_free(&stamp);
    return rc;
}

int figure_document(struct ctx *c, const struct fig *f, struct str *svg)
{
    struct str body = {0}, stamp = {0};
    double w = 0, h = 0;
    int rc = 0;
    if (f->gallery) {
        rc = gallery_svg(c, f->gallery, &body, &w, &h);
    } else {
        double x = 0, y = 0, row_h = 0;
        for (int i = 0; i < f->n_panels; i++) {
            const struct panel *p = &f->panel[i];
            if (i > 0 && i % 2 == 0)
                x = 0, y += row_h + GAP, row_h = 0;
            str_add(&body, "<g transform=\"translate(%g %g)\" role=\"img\" aria-labelledby=\"%s-%d-t %s-%d-d\">\n", x,
                    y, f->name, i, f->name, i);
            add_title(&body, p, f->name, i);
            str_add_n(&body, p->s.s ? p->s.s : "", p->s.n);
            str_add(&body, "</g>\n");
            row_h = fmax(row_h, p->h);
            w = fmax(w, x + p->w);
            h = fmax(h, y + row_h);
            x += p->w + GAP;
        }
    }
    double full_w = w + 2 * MARGIN, full_h = h + 2 * MARGIN + 34 + STAMP_H;
    str_add(svg,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" "
            "height=\"%g\" "
            "viewBox=\"0 0 %g %g\">\n<title>",
            full_w, full_h, full_w, full_h);
    add_xml(svg, f->question);
    str_add(svg, "</title>\n<desc>");
    add_xml(svg, f->how.s);
    str_add(svg, "</desc>\n");
    style_figure(svg);
    svg_rect(svg, "f-bg", 0, 0, full_w, full_h, 0);
    svg_text(svg, "big", MARGIN, MARGIN + 14, 's', "%s", f->question);
    str_add(svg, "<g transform=\"translate(%g %g)\">\n", MARGIN, MARGIN + 34);
    str_add_n(svg, body.s ? body.s : "", body.n);
    str_add(svg, "</g>\n");
    ctx_stamp(c, &stamp);
    str_add(svg, "<text class=\"stamp\" text-anchor=\"end\" x=\"%g\" y=\"%g\">", full_w - MARGIN, full_h - 12);
    add_xml_cut(svg, stamp.s, (int)(full_w / 6.2));
    str_add(svg, "</text>\n</svg>\n");
    if (rc == 0 && (svg->failed || body.failed || stamp.failed))
        rc = err_set(ERR_MEMORY, "figure \"%s\": out of memory", f->name);
    str_free(&body);
    str_free(&stamp);
    return rc;
}

int figure_svg(const char *name, const struct fig_in *in, struct str *svg, struct str *tsv)
{
    const struct fig_kind *k = find_kind(name);
    return k ? figure_svg_of(k, in, svg, tsv) : ERR_USAGE;
}

int figure_svg_of(const struct fig_kind *k, const struct fig_in *in, struct str *svg, struct str *tsv)
{
    struct ctx c;
    struct fig f;
    TRY(ctx_open(&c, in));
    int rc = figure_draw(&c, k, &f);
    if (rc == 0)
        rc = figure_document(&c, &f, svg);
    if (rc == 0 && tsv)
        str_add_n(tsv, f.tsv.s ? f.tsv.s : "", f.tsv.n);
    fig_free(&f);
    ctx_close(&c);
    return rc;
}
