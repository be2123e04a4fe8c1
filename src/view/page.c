/* view/page.c: index.html, one file that needs nothing else.
 *
 * Written as XML-valid HTML5 (tags closed, numeric entities only), so that a test can parse it whole. No script at all:
 * what can be opened is <details>, what can be downloaded is a data: link. The order is that of a newspaper: what it
 * means, the key numbers, the evidence, the full table, where it comes from. */
#include "view/fig.h"

#include <string.h>

#define TABLE_ROWS 60

static void tsv_table(struct str *h, const struct str *tsv)
{
    const char *tag = "th";
    str_add(h, "<table>");
    for (const char *p = tsv->s; *p; p++) {
        str_add(h, "<tr>");
        for (;;) {
            size_t n = strcspn(p, "\t\n");
            struct str cell = {0};
            str_add_n(&cell, p, n);
            str_add(h, "<%s>", tag);
            add_xml(h, cell.s);
            str_add(h, "</%s>", tag);
            str_free(&cell);
            p += n;
            if (*p != '\t')
                break;
            p++;
        }
        str_add(h, "</tr>\n");
        tag = "td";
        if (!*p)
            break;
    }
    str_add(h, "</table>");
}

void tsv_details_add(struct str *h, const char *name, const struct str *tsv)
{
    int lines = 0;
    if (!tsv->s || tsv->n == 0)
        return;
    for (size_t i = 0; i < tsv->n; i++)
        lines += tsv->s[i] == '\n';
    str_add(h,
            "<details><summary>The numbers behind it</summary>\n<p><a download=\"%s.tsv\" "
            "href=\"data:text/tab-separated-values;"
            "charset=utf-8;base64,",
            name);
    base64_add(h, tsv->s, tsv->n);
    str_add(h,
            "\">Download %s.tsv</a> (%d lines)</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
            "aria-label=\"Numbers of figure %s\">",
            name, lines, name);
    if (lines <= TABLE_ROWS) {
        tsv_table(h, tsv);
    } else {
        str_add(h, "<pre>");
        add_xml(h, tsv->s);
        str_add(h, "</pre>");
    }
    str_add(h, "</div></details>\n");
}

void page_head_add(struct str *h, const char *title)
{
    str_add(
        h,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" "
        "content=\"width=device-width,initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n<meta "
        "name=\"referrer\" content=\"no-referrer\"/>\n<meta http-equiv=\"Content-Security-Policy\" "
        "content=\"default-src 'none'; "
        "img-src data:; style-src 'unsafe-inline'\"/>\n<title>");
    add_xml(h, title);
    str_add(h, "</title>\n");
    style_page(h);
    str_add(h, "</head>\n<body>\n");
}

static void add_top(const struct ctx *c, struct str *h, const char *title, const struct fig *figs, int n)
{
    const struct set *s = c->in.set;
    str_add(h, "<header class=\"top\">\n<p class=\"kicker\">Report on an embedding space</p>\n<h1>");
    add_xml(h, title);
    str_add(h, "</h1>\n<p class=\"about\">%s pictures, %s texts, %s pairs, %s dimensions", word_count(s->image.n).s,
            word_count(s->text.n).s, word_count(s->n_pairs).s, word_count(s->width).s);
    if (s->model && *s->model) {
        str_add(h, "; model ");
        add_xml(h, s->model);
    }
    str_add(h, "</p>\n");
    summary_add(c, h);
    tiles_add(c, h);
    str_add(h, "<nav aria-label=\"Contents\"><ul>\n");
    for (int i = 0; i < n; i++)
        str_add(h, "<li><a href=\"#%s\">%s</a></li>\n", figs[i].name, figs[i].question);
    str_add(h, "<li><a href=\"#numbers\">All numbers</a></li><li><a href=\"#about\">Where this comes "
               "from</a></li>\n</ul></nav>\n</header>\n");
}

static void fact(struct str *h, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    str_add(h, "<dt>%s</dt><dd>", name);
    add_xml(h, value);
    str_add(h, "</dd>\n");
}

static void add_footer(const struct ctx *c, const struct report_opt *opt, const char *date, struct str *h)
{
    const struct set *s = c->in.set;
    char t[256];
    str_add(h, "<footer id=\"about\">\n<h2>Where this comes from</h2>\n<dl>\n");
    fact(h, "set", s->path);
    fact(h, "data", s->data);
    fact(h, "model", s->model);
    if (s->fingerprint && *s->fingerprint) {
        snprintf(t, sizeof t, "%.16s…", s->fingerprint);
        fact(h, "fingerprint", t);
    }
    fact(h, "protocol", s->protocol);
    snprintf(t, sizeof t, "%lld pictures, %lld texts, %lld pairs, width %lld", (long long)s->image.n,
             (long long)s->text.n, (long long)s->n_pairs, (long long)s->width);
    fact(h, "counts", t);
    fact(h, "tie rule",
         "a rank counts only the wrong items that score more than 1e-9 above the best right one, so ties count as "
         "hits; the "
         "table also gives recall with all ties counted against");
    fact(h, "intervals",
         "95 % bootstrap: retrieval over queries; the shape of the space over pictures with their texts; calibration "
         "errors "
         "corrected for their upward bias, 0 at the lower end where chance explains the value; shares of 0 or 1 exact "
         "binomial");
    snprintf(t, sizeof t, "%llu", (unsigned long long)opt->seed);
    fact(h, "seed", t);
    fact(h, "version", "meridian " MERIDIAN_VERSION);
    fact(h, "date", date);
    if (opt->command && *opt->command) {
        str_add(h, "<dt>command</dt><dd><code>");
        add_xml(h, opt->command);
        str_add(h, "</code></dd>\n");
    }
    if (c->n_thumbs_failed > 0) {
        snprintf(t, sizeof t, "%lld picture files could not be read and are drawn as grey boxes",
                 (long long)c->n_thumbs_failed);
        fact(h, "pictures", t);
    }
    str_add(h, "</dl>\n</footer>\n");
}

int page_write(struct ctx *c, const struct report_opt *opt, const char *title, const char *date, struct fig *figs,
               int n, struct str *h)
{
    page_head_add(h, title);
    add_top(c, h, title, figs, n);
    str_add(h, "<main>\n");
    for (int i = 0; i < n; i++) {
        str_add(h, "<section id=\"%s\">\n<h2>%s</h2>\n<figure>\n", figs[i].name, figs[i].question);
        TRY(figure_inline(c, &figs[i], h));
        str_add(h, "<figcaption><b>How to read it.</b> ");
        add_xml(h, figs[i].how.s);
        str_add(h, "</figcaption>\n");
        tsv_details_add(h, figs[i].name, &figs[i].tsv);
        str_add(h, "</figure>\n</section>\n");
    }
    str_add(h, "<section id=\"numbers\">\n<h2>All numbers</h2>\n");
    numbers_add(c, h);
    str_add(h, "</section>\n</main>\n");
    add_footer(c, opt, date, h);
    str_add(h, "</body>\n</html>\n");
    return h->failed ? err_set(ERR_MEMORY, "report page: out of memory") : 0;
}
