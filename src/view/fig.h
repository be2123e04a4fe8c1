/* view/fig.h: what the files of room view share. Not for other rooms; the door is view.h.
 *
 * A figure is drawn as panels. The page lays the panels of one figure side by side where there is room and below each
 * other on a telephone; the file NAME.svg puts them into one document. So a panel never knows where it stands. */
#ifndef VIEW_FIG_H
#define VIEW_FIG_H

#include "view/view.h"

/* ---- words (wording.c): numbers as people read them, returned by value so that they fit into printf arguments
 * --------------- */

struct word {
    char s[96];
};
struct word word_num(double x, int decimals);             /* "0.312", "–" when not finite */
struct word word_pct(double share);                       /* 0.634 -> "63 %", one decimal below 10 % and above 99 % */
struct word word_count(int64_t n);                        /* 12 345 with narrow spaces */
int word_decimals(struct interval i, int decimals);       /* at least so many, more where the interval is narrow */
struct word word_ci(struct interval i, int decimals);     /* "[0.29, 0.33]", "" when unknown */
struct word word_ci_pct(struct interval i);               /* "[58, 67]" */
struct word word_num_ci(struct interval i, int decimals); /* value and interval */
struct word word_pct_ci(struct interval i);               /* "63 % [58, 67]" */
struct word word_raw(double x);                           /* for TSV: %.9g, "" when not finite */

/* ---- SVG primitives (svg.c)
 * ------------------------------------------------------------------------------------------------- */

/* Text that came from outside: XML-escaped; bytes that XML forbids and broken UTF-8 become U+FFFD. */
void add_xml(struct str *b, const char *s);
void add_xml_cut(struct str *b, const char *s,
                 int max_chars);              /* as add_xml, cut to max_chars characters with an ellipsis */
void add_tsv(struct str *b, const char *s);   /* tabs, line ends and controls become blanks */
int utf8_next(const char *s, uint32_t *code); /* bytes of the next character; 1 and U+FFFD when broken */

void svg_num(struct str *b, double x); /* at most two decimals, no trailing zeros */
void svg_line(struct str *b, const char *cls, double x1, double y1, double x2, double y2);
void svg_rect(struct str *b, const char *cls, double x, double y, double w, double h, double radius);
void svg_circle(struct str *b, const char *cls, double x, double y, double r, const char *tip);
void svg_triangle(struct str *b, const char *cls, double x, double y, double r, const char *tip);
void svg_diamond(struct str *b, const char *cls, double x, double y, double r);
/* anchor: 's', 'm' or 'e' for start, middle, end. The text is escaped here. */
void svg_text(struct str *b, const char *cls, double x, double y, char anchor, const char *fmt, ...) PRINTF_LIKE(6, 7);
void svg_path_start(struct str *b, const char *cls);
void svg_path_to(struct str *b, char op, double x, double y); /* op 'M' or 'L' */
void svg_path_end(struct str *b, bool closed);

/* ---- scales and axes (axis.c)
 * ------------------------------------------------------------------------------------------------ */

struct scale {
    double lo, hi, p0, p1; /* data lo..hi to position p0..p1 */
    bool log;
};
struct ticks {
    int n, decimals;
    double at[24];
};
double scale_at(const struct scale *s, double v);
struct ticks ticks_linear(double lo, double hi, int want); /* steps 1, 2, 5 x 10^k */
struct ticks ticks_log(double lo, double hi);              /* decades; 1, 2, 5 when fewer than two decades */
void scale_widen(struct scale *s, double share);           /* more room at both ends */

enum axis_form { AXIS_PLAIN, AXIS_PERCENT, AXIS_COUNT, AXIS_LOG };
void axis_bottom(struct str *b, const struct scale *x, double y, double grid_to, int want, enum axis_form form,
                 const char *label);
void axis_left(struct str *b, const struct scale *y, double x, double grid_to, int want, enum axis_form form,
               const char *label);

/* ---- a figure being drawn (figure.c)
 * ------------------------------------------------------------------------------------------- */

struct ctx;
struct gallery;
#define FIG_MAX_PANELS 4
struct panel {
    double w, h;
    struct str s;    /* SVG elements */
    char title[160]; /* <title> */
    struct str desc; /* <desc> */
};
struct fig {
    const char *name, *question;
    int n_panels;
    struct panel panel[FIG_MAX_PANELS];
    struct gallery *gallery; /* pictures instead of panels */
    struct str how;          /* "How to read", plain text */
    struct str tsv;
};
struct panel *fig_panel(struct fig *f, double w, double h, const char *title);
void fig_note(struct panel *p, const char *fmt, ...) PRINTF_LIKE(2, 3); /* a sentence instead of a drawing */
void fig_free(struct fig *f);

struct fig_kind {
    const char *name, *question;
    int needs;
    int (*draw)(struct ctx *c, struct fig *f);
};
const struct fig_kind *figure_kind(int i);
int figure_draw(struct ctx *c, const struct fig_kind *k,
                struct fig *f); /* zeroes f first; free with fig_free either way */
int figure_inline(struct ctx *c, const struct fig *f, struct str *html);  /* for the page */
int figure_document(struct ctx *c, const struct fig *f, struct str *svg); /* for a file */
/* A figure that is no part of the report, as figure_svg. */
int figure_svg_of(const struct fig_kind *k, const struct fig_in *in, struct str *svg, struct str *tsv);

extern const struct fig_kind fig_kind_match; /* fig_in.match; not among those by name */
#define FIG(name, fn, needs, question) int fn(struct ctx *c, struct fig *f);
#include "view/fig_list.h"
#undef FIG

/* ---- lines with bands (bands.c); struct band_line is in view.h ---- */

struct band_panel {
    const char *title, *x_label;
    bool percent;      /* y is a rate */
    bool whole, share; /* x counts things, or is a share */
    int n_lines;
    const struct band_line *line;
};
void bands_panel(struct fig *f, const struct band_panel *in); /* draws a panel */
void bands_tsv(struct fig *f, const struct band_panel *in);   /* lines: title, line, x, value, low, high */

/* ---- histograms on one axis (outlines.c); all of one range of values and number of bins ---- */

struct outline {
    const char *name, *colour, *dash;
    const struct histogram *h;
    struct interval mean;
};
struct outline_range { /* what of them is in use: bins first to last, `merge` of them drawn as one */
    int first, last, merge;
    double lo, hi;
};
bool outlines_range(const struct outline *k, int n, struct outline_range *r); /* false: nothing to draw */
void outlines_panel(struct fig *f, const char *title, const char *axis, const struct outline *k, int n,
                    const struct outline_range *r);
void outlines_tsv(struct fig *f, const struct outline *k, int n, const struct outline_range *r);

/* ---- what is known about the set (ctx.c)
 * ------------------------------------------------------------------------------------------ */

struct ctx {
    struct fig_in in;
    const float *x[2]; /* unit rows: [0] images, [1] texts; owned when own[i] is not NULL */
    float *own[2];
    struct set_pair *by_text; /* pairs sorted by text, then image */
    int col_path, col_name, col_caption;
    char **thumb; /* [n_images] data URI, "" when there is no picture, NULL not tried yet */
    int64_t n_thumbs_failed;
};
int ctx_open(struct ctx *c, const struct fig_in *in);
/* What is shown in full: 0 the first of fig_in.doubt; 1, where an adapter's is among them, the other of it and the first
 * (fig_risk.c). NULL: there is none. */
const struct fig_doubt *ctx_doubt(const struct ctx *c, int i);
void ctx_close(struct ctx *c);
int64_t ctx_n(const struct ctx *c, int side);
const float *ctx_row(const struct ctx *c, int side, int64_t row);
double ctx_cosine(const struct ctx *c, int side_a, int64_t a, int side_b, int64_t b);
bool ctx_is_pair(const struct ctx *c, int64_t image, int64_t text);
/* Partner rows of one item, as a range of pairs: *first, count returned. */
int64_t ctx_partners(const struct ctx *c, int side, int64_t row, const struct set_pair **first);
int64_t ctx_best_partner(const struct ctx *c, int side, int64_t row, double *cosine); /* -1 when there is none */
/* Expected recall at k of a random order: mean over queries of the chance that one of their positives is among k. */
double ctx_chance(const struct ctx *c, int direction, int k);
void ctx_label(const struct ctx *c, int side, int64_t row, struct str *out); /* caption or name, unescaped */
const char *ctx_thumb(struct ctx *c, int64_t image_row);                     /* data URI, or "" */
void ctx_stamp(const struct ctx *c, struct str *out);                        /* n, model, protocol; plain text */
/* Picture of a file as a data URI appended to out; false (and no message kept) when it cannot be read. */
bool thumb_data_uri(const char *path, int size, struct str *out);
bool thumb_find(const char *path, const char *base, const char *second_base, char *out, size_t n);

/* ---- rows of pictures and captions (gallery.c)
 * --------------------------------------------------------------------------------------- */

#define CARD_MAX 6
struct card {
    int side; /* 0 picture, 1 text */
    int64_t row;
    double cosine; /* NaN: not shown */
    int mark;      /* 1 right, -1 wrong, 0 none */
};
struct strip {
    char label[64];
    int n;
    struct card card[CARD_MAX];
};
struct gallery_row {
    struct card query;
    char verdict[256];
    int n_strips;
    struct strip strip[2];
};
struct gallery_group {
    char heading[96];
    int n;
    struct gallery_row row[12];
};
struct gallery {
    int n_groups;
    struct gallery_group group[4];
};
int gallery_html(struct ctx *c, const struct gallery *g, struct str *html);
int gallery_svg(struct ctx *c, const struct gallery *g, struct str *svg, double *w, double *h);
void gallery_tsv(struct ctx *c, const struct gallery *g, struct str *tsv);

/* ---- style (style.c)
 * ------------------------------------------------------------------------------------------------------------------ */

void style_figure(struct str *b); /* CSS of a stand-alone SVG: literal colours, dark block */
void style_page(struct str *b);   /* CSS of the page: variables, layout, and the same figure classes */

/* ---- page parts (summary.c, page.c)
 * ------------------------------------------------------------------------------------------------------ */

int page_write(struct ctx *c, const struct report_opt *opt, const char *title, const char *date, struct fig *figs, int n,
               struct str *html);
void page_head_add(struct str *html, const char *title); /* from the doctype to <body> */
void summary_add(const struct ctx *c, struct str *html);
void tiles_add(const struct ctx *c, struct str *html);
void numbers_add(const struct ctx *c, struct str *html); /* the table of all numbers with intervals */
void tsv_details_add(struct str *html, const char *name, const struct str *tsv);

#endif
