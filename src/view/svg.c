/* view/svg.c: SVG primitives written into a struct str.
 *
 * No document tree: a figure is a list of marks, and the writer of a mark is one line of text. Colours are classes
 * (style.c), so that the page can theme them. Coordinates carry at most two decimals: a hundredth of a unit is below
 * any screen's pixel and the same input gives the same bytes everywhere. Rejected: cairo-svg (embeds glyphs as paths:
 * no text to read aloud or search). */
#include "view/fig.h"

#include <math.h>
#include <string.h>

int utf8_next(const char *s, uint32_t *code)
{
    const unsigned char *p = (const unsigned char *)s;
    int n = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
    *code = 0xfffd;
    if (n == 0)
        return 1;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 1;
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0x7f && c < 0xa0) || c == 0xfffe || c == 0xffff)
        return n; /* not a character of XML 1.0, or a control nobody wants to see */
    *code = c;
    return n;
}

static void add_char(struct str *b, const char *s, int n, uint32_t code)
{
    switch (code) {
    case 0xfffd:
        str_add(b, "\xef\xbf\xbd");
        break;
    case '&':
        str_add(b, "&amp;");
        break;
    case '<':
        str_add(b, "&lt;");
        break;
    case '>':
        str_add(b, "&gt;");
        break;
    case '"':
        str_add(b, "&quot;");
        break;
    case '\'':
        str_add(b, "&#39;");
        break;
    default:
        str_add_n(b, s, (size_t)n);
    }
}

void add_xml_cut(struct str *b, const char *s, int max_chars)
{
    int left = max_chars;
    for (const char *p = s ? s : ""; *p;) {
        uint32_t code;
        int n = utf8_next(p, &code);
        if (left-- == 1 && p[n]) {
            str_add(b, "…");
            return;
        }
        add_char(b, p, n, code);
        p += n;
    }
}

void add_xml(struct str *b, const char *s)
{
    add_xml_cut(b, s, -1);
}

void add_tsv(struct str *b, const char *s)
{
    for (const char *p = s ? s : ""; *p; p++) {
        unsigned char c = (unsigned char)*p;
        str_add_c(b, c < 0x20 || c == 0x7f ? ' ' : *p);
    }
}

void svg_num(struct str *b, double x)
{
    char t[48];
    if (!isfinite(x))
        x = 0;
    snprintf(t, sizeof t, "%.2f", x);
    size_t n = strlen(t);
    while (t[n - 1] == '0')
        t[--n] = 0;
    if (t[n - 1] == '.')
        t[--n] = 0;
    str_add(b, "%s", strcmp(t, "-0") == 0 ? "0" : t);
}

static void attr(struct str *b, const char *name, double x)
{
    str_add(b, " %s=\"", name);
    svg_num(b, x);
    str_add_c(b, '"');
}

void svg_line(struct str *b, const char *cls, double x1, double y1, double x2, double y2)
{
    str_add(b, "<line class=\"%s\"", cls);
    attr(b, "x1", x1), attr(b, "y1", y1), attr(b, "x2", x2), attr(b, "y2", y2);
    str_add(b, "/>\n");
}

void svg_rect(struct str *b, const char *cls, double x, double y, double w, double h, double radius)
{
    str_add(b, "<rect class=\"%s\"", cls);
    attr(b, "x", x), attr(b, "y", y), attr(b, "width", w > 0 ? w : 0), attr(b, "height", h > 0 ? h : 0);
    if (radius > 0)
        attr(b, "rx", radius);
    str_add(b, "/>\n");
}

static void end_mark(struct str *b, const char *tag, const char *tip)
{
    if (tip && *tip) {
        str_add(b, "><title>");
        add_xml_cut(b, tip, 90);
        str_add(b, "</title></%s>\n", tag);
    } else {
        str_add(b, "/>\n");
    }
}

void svg_circle(struct str *b, const char *cls, double x, double y, double r, const char *tip)
{
    str_add(b, "<circle");
    if (cls)
        str_add(b, " class=\"%s\"", cls);
    attr(b, "cx", x), attr(b, "cy", y), attr(b, "r", r);
    end_mark(b, "circle", tip);
}

/* Corners on the circle of radius r x 1.2, so that the triangle looks as large as the circle. */
void svg_triangle(struct str *b, const char *cls, double x, double y, double r, const char *tip)
{
    double a = 1.2 * r;
    str_add(b, "<path");
    if (cls)
        str_add(b, " class=\"%s\"", cls);
    str_add(b, " d=\"M");
    svg_num(b, x), str_add_c(b, ' '), svg_num(b, y - a);
    str_add_c(b, 'l');
    svg_num(b, 0.866 * a), str_add_c(b, ' '), svg_num(b, 1.5 * a);
    str_add_c(b, 'h');
    svg_num(b, -1.732 * a);
    str_add(b, "z\"");
    end_mark(b, "path", tip);
}

void svg_diamond(struct str *b, const char *cls, double x, double y, double r)
{
    str_add(b, "<path class=\"%s\" d=\"M", cls);
    svg_num(b, x), str_add_c(b, ' '), svg_num(b, y - r);
    str_add_c(b, 'l'), svg_num(b, r), str_add_c(b, ' '), svg_num(b, r);
    str_add_c(b, 'l'), svg_num(b, -r), str_add_c(b, ' '), svg_num(b, r);
    str_add_c(b, 'l'), svg_num(b, -r), str_add_c(b, ' '), svg_num(b, -r);
    str_add(b, "z\"/>\n");
}

void svg_text(struct str *b, const char *cls, double x, double y, char anchor, const char *fmt, ...)
{
    char t[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t, sizeof t, fmt, ap);
    va_end(ap);
    str_add(b, "<text");
    if (cls && *cls)
        str_add(b, " class=\"%s\"", cls);
    attr(b, "x", x), attr(b, "y", y);
    if (anchor != 's')
        str_add(b, " text-anchor=\"%s\"", anchor == 'm' ? "middle" : "end");
    str_add_c(b, '>');
    add_xml(b, t);
    str_add(b, "</text>\n");
}

void svg_path_start(struct str *b, const char *cls)
{
    str_add(b, "<path class=\"%s\" d=\"", cls);
}

void svg_path_to(struct str *b, char op, double x, double y)
{
    str_add_c(b, op);
    svg_num(b, x);
    str_add_c(b, ' ');
    svg_num(b, y);
}

void svg_path_end(struct str *b, bool closed)
{
    str_add(b, "%s\"/>\n", closed ? "z" : "");
}
