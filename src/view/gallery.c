/* view/gallery.c: rows of pictures and captions, as HTML for the page and as SVG for a file.
 *
 * A row is a query and one or two strips of answers. Right and wrong answers differ by colour, by line (solid, dashed)
 * and by a sign with a word, so that neither colour nor sight is needed. The page gets HTML and not SVG: captions wrap,
 * can be selected and are read aloud, and a telephone breaks the strips. The SVG version wraps by counting characters.
 */
#include "view/fig.h"

#include <math.h>
#include <string.h>

static void add_under(struct ctx *c, const struct card *k, bool with_label, struct str *h)
{
    struct str label = {0};
    if (k->mark == 0 && !isfinite(k->cosine) && !with_label)
        return;
    str_add(h, "<span class=\"under\">");
    if (k->mark)
        str_add(h, "<span class=\"mark-%s\">%s</span> ", k->mark > 0 ? "right" : "wrong",
                k->mark > 0 ? "✓ right" : "✗ wrong");
    if (isfinite(k->cosine))
        str_add(h, "%s", word_num(k->cosine, 2).s);
    if (with_label) {
        ctx_label(c, k->side, k->row, &label);
        str_add(h, "%s", k->mark || isfinite(k->cosine) ? "<br/>" : "");
        add_xml_cut(h, label.s, 60);
    }
    str_add(h, "</span>");
    str_free(&label);
}

static void add_card(struct ctx *c, const struct card *k, const char *tag, struct str *h)
{
    struct str label = {0};
    ctx_label(c, k->side, k->row, &label);
    str_add(h, "<%s class=\"card%s%s\">", tag, k->side ? " t" : "",
            k->mark > 0   ? " right"
            : k->mark < 0 ? " wrong"
                          : "");
    if (k->side) {
        str_add(h, "<span class=\"said\"><span class=\"clamp\">");
        add_xml_cut(h, label.s, 400);
        str_add(h, "</span></span>");
    } else {
        const char *uri = ctx_thumb(c, k->row);
        if (*uri) {
            str_add(h, "<img alt=\"");
            add_xml_cut(h, label.s, 120);
            str_add(h, "\" src=\"");
            str_add_n(h, uri, strlen(uri));
            str_add(h, "\"/>");
        } else {
            str_add(h, "<span class=\"noimg\">no picture</span>");
        }
    }
    add_under(c, k, !k->side, h);
    str_add(h, "</%s>", tag);
    str_free(&label);
}

int gallery_html(struct ctx *c, const struct gallery *g, struct str *h)
{
    for (int i = 0; i < g->n_groups; i++) {
        const struct gallery_group *group = &g->group[i];
        if (group->heading[0]) {
            str_add(h, "<h3>");
            add_xml(h, group->heading);
            str_add(h, "</h3>\n");
        }
        if (group->n == 0)
            str_add(h, "<p class=\"about\">None in this set.</p>\n");
        for (int k = 0; k < group->n; k++) {
            const struct gallery_row *row = &group->row[k];
            str_add(h, "<div class=\"grow\"><div class=\"query\">");
            add_card(c, &row->query, "div", h);
            if (row->verdict[0]) {
                str_add(h, "<p class=\"verdict\">");
                add_xml(h, row->verdict);
                str_add(h, "</p>");
            }
            str_add(h, "</div>\n<div class=\"strips\">");
            for (int s = 0; s < row->n_strips; s++) {
                str_add(h, "<div class=\"strip\"><p>");
                add_xml(h, row->strip[s].label);
                str_add(h, "</p><ul class=\"cards\">\n");
                for (int j = 0; j < row->strip[s].n; j++)
                    add_card(c, &row->strip[s].card[j], "li", h);
                str_add(h, "</ul></div>\n");
            }
            str_add(h, "</div></div>\n");
        }
    }
    return h->failed ? err_set(ERR_MEMORY, "picture grid: out of memory") : 0;
}

/* ---- SVG
 * ---------------------------------------------------------------------------------------------------------------- */

#define CARD 92.0
#define CARD_TEXT 144.0
#define QUERY_W 170.0
#define ROW_H 166.0

/* Words into lines of at most `width` characters; the last line ends with an ellipsis when there is more. */
static void svg_wrapped(struct str *b, const char *cls, double x, double y, double step, int width, int lines,
                        const char *s)
{
    for (int i = 0; i < lines && *s; i++, y += step) {
        int n = 0, bytes = 0, space = 0;
        while (s[bytes] && n < width) {
            uint32_t code;
            if (s[bytes] == ' ')
                space = bytes;
            bytes += utf8_next(s + bytes, &code);
            n++;
        }
        bool more = s[bytes] != 0;
        if (more && s[bytes] != ' ' && space > 0)
            bytes = space;
        str_add(b, "<text class=\"%s\" x=\"%g\" y=\"%g\">", cls, x, y);
        struct str line = {0};
        str_add_n(&line, s, (size_t)bytes);
        if (more && i == lines - 1)
            str_add(&line, "…");
        add_xml(b, line.s);
        str_free(&line);
        str_add(b, "</text>\n");
        s += bytes;
        while (*s == ' ')
            s++;
    }
}

static double svg_card(struct ctx *c, const struct card *k, double x, double y, double text_w, struct str *b)
{
    struct str label = {0};
    const char *uri = k->side ? "" : ctx_thumb(c, k->row);
    double w = k->side ? text_w : CARD;
    const char *line = k->mark > 0 ? "s-good" : k->mark < 0 ? "s-bad dash" : "s-line";
    char cls[64];
    ctx_label(c, k->side, k->row, &label);
    snprintf(cls, sizeof cls, "%s %s%s", k->side || *uri ? "f-card" : "f-hole", line, k->mark ? " hollow" : "");
    svg_rect(b, cls, x, y, w, CARD, 8);
    if (k->side) {
        svg_rect(b, "f-text", x, y + 6, 4, CARD - 12, 2);
        svg_wrapped(b, "small", x + 11, y + 18, 15, (int)((w - 18) / 6.1), 5, label.s);
    } else {
        if (*uri) {
            str_add(b, "<image x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" href=\"", x + 3, y + 3, CARD - 6, CARD - 6);
            str_add_n(b, uri, strlen(uri));
            str_add(b, "\"><title>");
            add_xml_cut(b, label.s, 120);
            str_add(b, "</title></image>\n");
        } else {
            svg_text(b, "small label", x + w / 2, y + CARD / 2 + 4, 'm', "no picture");
        }
    }
    if (k->mark || isfinite(k->cosine))
        svg_text(b,
                 k->mark > 0   ? "small f-good-ink"
                 : k->mark < 0 ? "small f-bad-ink"
                               : "small label",
                 x, y + CARD + 15, 's', "%s%s",
                 k->mark > 0   ? "✓ right "
                 : k->mark < 0 ? "✗ wrong "
                               : "",
                 isfinite(k->cosine) ? word_num(k->cosine, 2).s : "");
    str_free(&label);
    return w;
}

int gallery_svg(struct ctx *c, const struct gallery *g, struct str *b, double *w, double *h)
{
    double y = 0;
    *w = 640;
    for (int i = 0; i < g->n_groups; i++) {
        const struct gallery_group *group = &g->group[i];
        y += 20;
        svg_text(b, "head", 0, y, 's', "%s", group->n || !group->heading[0] ? group->heading : "None in this set.");
        y += 10;
        for (int k = 0; k < group->n; k++, y += ROW_H) {
            const struct gallery_row *row = &group->row[k];
            double x = QUERY_W + 30;
            svg_card(c, &row->query, 0, y + 22, QUERY_W, b);
            svg_wrapped(b, "small label", 0, y + CARD + 40, 14, 30, 2, row->verdict);
            for (int s = 0; s < row->n_strips; s++) {
                svg_text(b, "small label", x, y + 14, 's', "%s", row->strip[s].label);
                for (int j = 0; j < row->strip[s].n; j++)
                    x += svg_card(c, &row->strip[s].card[j], x, y + 22, CARD_TEXT, b) + 10;
                x += 16;
            }
            *w = fmax(*w, x - 26);
        }
    }
    *h = fmax(y, 60);
    return b->failed ? err_set(ERR_MEMORY, "picture grid: out of memory") : 0;
}

/* ---- TSV
 * ---------------------------------------------------------------------------------------------------------------- */

static void tsv_card(struct ctx *c, int group, int row, const char *role, const struct card *k, struct str *t)
{
    struct str label = {0};
    ctx_label(c, k->side, k->row, &label);
    str_add(t, "%d\t%d\t%s\t%s\t%lld\t%s\t%s\t", group + 1, row + 1, role, k->side ? "text" : "picture",
            (long long)k->row, word_raw(k->cosine).s,
            k->mark > 0   ? "right"
            : k->mark < 0 ? "wrong"
                          : "");
    add_tsv(t, label.s);
    str_add_c(t, '\n');
    str_free(&label);
}

void gallery_tsv(struct ctx *c, const struct gallery *g, struct str *t)
{
    str_add(t, "group\tline\trole\tkind\trow\tcosine\tmark\tlabel\n");
    for (int i = 0; i < g->n_groups; i++)
        for (int k = 0; k < g->group[i].n; k++) {
            const struct gallery_row *row = &g->group[i].row[k];
            tsv_card(c, i, k, "query", &row->query, t);
            for (int s = 0; s < row->n_strips; s++)
                for (int j = 0; j < row->strip[s].n; j++)
                    tsv_card(c, i, k, row->strip[s].label, &row->strip[s].card[j], t);
        }
}
