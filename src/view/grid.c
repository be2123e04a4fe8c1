/* view/grid.c: the hits of one search as a page: the query above, the answers below, best first. The same style and the
 * same promises as the report: one file, no script, no network. */
#include "view/fig.h"

#include <math.h>
#include <string.h>

#define GRID_THUMB 256

static void add_picture(const struct grid_opt *opt, const char *path, const char *alt, struct str *h)
{
    char full[4096];
    struct str uri = {0};
    if (thumb_find(path, opt->path_base, NULL, full, sizeof full) && thumb_data_uri(full, GRID_THUMB, &uri)) {
        str_add(h, "<img alt=\"");
        add_xml_cut(h, alt, 120);
        str_add(h, "\" src=\"");
        str_add_n(h, uri.s, uri.n);
        str_add(h, "\"/>");
    } else {
        str_add(h, "<span class=\"noimg\">no picture</span>");
    }
    str_free(&uri);
}

static void add_hit(const struct grid_opt *opt, const struct grid_hit *hit, int64_t i, struct str *h)
{
    const char *alt = hit->caption && *hit->caption ? hit->caption : hit->path ? hit->path : "";
    str_add(h, "<li class=\"card%s\">", hit->path ? "" : " t");
    if (hit->path) {
        add_picture(opt, hit->path, alt, h);
    } else {
        str_add(h, "<span class=\"said\">");
        add_xml_cut(h, hit->caption ? hit->caption : "", 400);
        str_add(h, "</span>");
    }
    str_add(h, "<span class=\"under\"><span class=\"rank\">%lld</span> · %s · ", (long long)(i + 1),
            word_num(hit->score, 3).s);
    if (opt->calibrated)
        str_add(h, "<b>%s</b> · ", word_pct(hit->p_match).s);
    str_add(h, "row %lld", (long long)hit->row);
    if (hit->path && *alt) {
        str_add(h, "<br/>");
        add_xml_cut(h, alt, 120);
    }
    str_add(h, "</span></li>\n");
}

int grid_write_html(const struct grid_opt *opt, const struct grid_hit *hits, int64_t n)
{
    struct str h = {0};
    TRY(path_check_output(opt->path, opt->force));
    page_head_add(&h, "Search");
    str_add(&h, "<header class=\"top\">\n<p class=\"kicker\">Search</p>\n<h1>");
    add_xml(&h, opt->query && *opt->query ? opt->query : "Search by picture");
    str_add(&h, "</h1>\n");
    if (opt->query_image) {
        str_add(&h, "<div class=\"query\"><p class=\"about\">");
        add_picture(opt, opt->query_image, "the query", &h);
        str_add(&h, "</p></div>\n");
    }
    str_add(&h, "<p class=\"about\">%s, best first; the number is the cosine with the query%s%s",
            n == 1 ? "One answer" : "Answers", opt->calibrated ? ", per cent how probably the hit is right" : "",
            opt->model && *opt->model ? "; model " : "");
    add_xml(&h, opt->model);
    str_add(&h, ".</p>\n");
    if (opt->note && *opt->note) {
        str_add(&h, "<p class=\"about\">");
        add_xml(&h, opt->note);
        str_add(&h, "</p>\n");
    }
    str_add(&h, "</header>\n<main>\n");
    if (n == 0 && !(opt->note && *opt->note))
        str_add(&h, "<p>Nothing found.</p>\n");
    str_add(&h, "<ul class=\"hits\">\n");
    for (int64_t i = 0; i < n; i++)
        add_hit(opt, &hits[i], i, &h);
    str_add(&h, "</ul>\n</main>\n<footer>meridian " MERIDIAN_VERSION "</footer>\n</body>\n</html>\n");
    int rc = h.failed ? err_set(ERR_MEMORY, "search page: out of memory") : atomic_put(opt->path, h.s, h.n);
    str_free(&h);
    return rc < 0 ? err_while(rc, "writing \"%s\"", opt->path) : 0;
}
