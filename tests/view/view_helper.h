/* tests/view/view_helper.h: a small synthetic set with measures written by hand, and an XML check by expat. The
 * measures are made up on purpose: room view must draw whatever it is given, and the tests must not wait for the
 * numbers to be computed. */
#ifndef VIEW_HELPER_H
#define VIEW_HELPER_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "view/view.h"
#ifdef HAVE_EXPAT
#include <expat.h>
#endif

#define WIDTH 8
#define HOSTILE "<script>alert('x')</script> & \"quotes\" ]]> \x01\xff caf\xc3\xa9 \xf0\x9f\x90\x88"

struct world {
    struct set set;
    struct geometry geometry;
    struct retrieval r[2];
    struct arena *a;
};

static inline struct interval iv(double v)
{
    return (struct interval){v, v - 0.03, v + 0.02};
}
static inline struct interval none(void)
{
    return (struct interval){(double)NAN, (double)NAN, (double)NAN};
}

static inline void meta_fill(struct world *w, struct set_side *side, const char *col, const char *col2,
                             const char *hostile)
{
    char t[1200];
    struct table *m = &side->meta;
    *m = (struct table){.n_cols = 2, .n_rows = side->n, .sep = ',', .path = NULL, .arena = NULL};
    m->cols = arena_calloc(w->a, 2, sizeof *m->cols);
    m->cells = arena_calloc(w->a, (size_t)side->n * 2 + 1, sizeof *m->cells);
    m->cols[0] = col;
    m->cols[1] = col2;
    for (int64_t i = 0; i < side->n; i++) {
        snprintf(t, sizeof t, "%s %lld", hostile ? hostile : "item", (long long)i);
        m->cells[2 * i] = arena_strdup(w->a, t);
        snprintf(t, sizeof t, "%lld.png", (long long)i);
        m->cells[2 * i + 1] = arena_strdup(w->a, t);
    }
    side->has_meta = true;
}

static inline void rows_fill(struct world *w, struct set_side *side, int64_t n, uint64_t stream, double offset)
{
    struct rng r = rng_stream(7, RNG_TEST, 0, stream);
    side->n = n;
    side->x = arena_calloc(w->a, (size_t)(n ? n : 1) * WIDTH, sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < WIDTH; j++) {
            double v = rng_normal(&r) + (j == 0 ? offset : 0);
            side->x[i * WIDTH + j] = (float)v;
            sum += v * v;
        }
        for (int j = 0; j < WIDTH; j++)
            side->x[i * WIDTH + j] = (float)((double)side->x[i * WIDTH + j] / sqrt(sum));
    }
}

static inline void histogram_fill(struct world *w, struct histogram *h, double centre)
{
    *h = (struct histogram){.n_bins = 200, .low = -1, .high = 1};
    h->count = arena_calloc(w->a, 200, sizeof *h->count);
    for (int i = 0; i < 200; i++) {
        double x = (-1 + (i + 0.5) / 100 - centre) / 0.1;
        h->count[i] = (int64_t)(1000 * exp(-x * x));
        h->total += h->count[i];
    }
}

static inline void retrieval_fill(struct world *w, struct retrieval *r, int64_t queries, int64_t gallery)
{
    *r = (struct retrieval){
        .n_queries = queries, .n_gallery = gallery, .n_ties = 2, .n_bins_width = 15, .n_bins_mass = 10};
    for (int i = 0; i < 3; i++)
        r->recall[i] = iv(0.5 + 0.15 * i), r->recall_pessimistic[i] = iv(0.45 + 0.15 * i);
    r->mrr = iv(0.6), r->median_rank = iv(1), r->mean_rank = iv(3.5), r->temperature = 0.01;
    r->ece = iv(0.12), r->ece_equal_mass = iv(0.1), r->brier = iv(0.4), r->nll = iv(1.5);
    r->fitted_temperature = iv(0.03), r->ece_fitted = iv(0.02);
    for (int i = 0; i < 15; i++)
        r->bins_width[i] = (struct calibration_bin){i * i, (i + 0.2) / 15, (i + 0.5) / 15};
    for (int i = 0; i < 10; i++)
        r->bins_mass[i] = (struct calibration_bin){queries / 10 + 1, (i + 0.3) / 10, (i + 0.5) / 10};
    r->queries = arena_calloc(w->a, (size_t)queries + 1, sizeof *r->queries);
    r->rank = arena_calloc(w->a, (size_t)queries + 1, sizeof *r->rank);
    r->rank_pessimistic = arena_calloc(w->a, (size_t)queries + 1, sizeof *r->rank_pessimistic);
    r->confidence = arena_calloc(w->a, (size_t)queries + 1, sizeof *r->confidence);
    r->query_nll = arena_calloc(w->a, (size_t)queries + 1, sizeof *r->query_nll);
    r->query_brier = arena_calloc(w->a, (size_t)queries + 1, sizeof *r->query_brier);
    for (int64_t i = 0; i < queries; i++) {
        r->queries[i] = i;
        r->rank[i] = (int32_t)(i % 7 % gallery);
        r->confidence[i] = (double)(i % 10) / 10;
    }
}

static inline void geometry_fill(struct world *w, struct geometry *g)
{
    *g = (struct geometry){
        .n_images = w->set.image.n, .n_texts = w->set.text.n, .n_pairs = w->set.n_pairs, .width = WIDTH};
    g->alignment = iv(1.2), g->relative_alignment[0] = iv(-0.1), g->relative_alignment[1] = iv(-0.2);
    g->uniformity_image = g->uniformity_text = g->uniformity_pooled = g->uniformity_cross = iv(-2.5);
    g->centroid_distance = iv(0.82), g->linear_separability = iv(0.97);
    g->effective_rank_image = iv(6.1), g->effective_rank_text = iv(5.2), g->effective_rank_pooled = iv(6.4);
    g->matched = iv(0.31), g->unmatched = iv(0.12), g->image_image = iv(0.5), g->text_text = iv(0.45);
    histogram_fill(w, &g->hist_matched, 0.31);
    histogram_fill(w, &g->hist_unmatched, 0.12);
    histogram_fill(w, &g->hist_image, 0.5);
    histogram_fill(w, &g->hist_text, 0.45);
    g->n_spectrum = WIDTH;
    g->spectrum_image = arena_calloc(w->a, WIDTH, sizeof(double));
    g->spectrum_text = arena_calloc(w->a, WIDTH, sizeof(double));
    for (int i = 0; i < WIDTH; i++)
        g->spectrum_image[i] = 0.4 / (i + 1), g->spectrum_text[i] = 0.5 / (i + 1.5);
}

/* n pictures and m texts; text j belongs to picture j mod n. hostile: text of every caption, name and of the model, or
 * NULL. */
static inline void world_open(struct world *w, int64_t n, int64_t m, const char *hostile)
{
    memset(w, 0, sizeof *w);
    assert_int_equal(arena_open(&w->a, "test world"), 0);
    struct set *s = &w->set;
    *s = (struct set){.path = NULL, .width = WIDTH, .unit = true, .logit_scale = 100};
    s->model = hostile ? hostile : "emoji", s->fingerprint = "0123456789abcdef0123456789abcdef";
    s->data = hostile ? hostile : "emoji", s->protocol = hostile ? hostile : "test split";
    rows_fill(w, &s->image, n, 1, 2);
    rows_fill(w, &s->text, m, 2, -2);
    s->pairs = arena_calloc(w->a, (size_t)(m ? m : 1), sizeof *s->pairs);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < m; j += n)
            s->pairs[s->n_pairs++] = (struct set_pair){i, j};
    meta_fill(w, &s->image, "name", "path", hostile);
    meta_fill(w, &s->text, "caption", "note", hostile);
    geometry_fill(w, &w->geometry);
    retrieval_fill(w, &w->r[0], n, m);
    retrieval_fill(w, &w->r[1], m, n);
}

static inline void world_close(struct world *w)
{
    arena_close(&w->a);
}

static inline void assert_xml(const char *text, size_t n, const char *what)
{
#ifdef HAVE_EXPAT
    XML_Parser p = XML_ParserCreate("UTF-8");
    assert_non_null(p);
    if (XML_Parse(p, text, (int)n, 1) != XML_STATUS_OK)
        fail_msg("%s: line %lu: %s", what, (unsigned long)XML_GetCurrentLineNumber(p),
                 XML_ErrorString(XML_GetErrorCode(p)));
    XML_ParserFree(p);
#else
    (void)text, (void)n, (void)what;
#endif
}

/* Nothing may be fetched: no address but the SVG namespace, no script, no import. */
static inline void assert_offline(const char *text, const char *what)
{
    static const char *const bad[] = {"https://", "<script", "@import", "url(", "xlink", "javascript:", "onload"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (strstr(text, bad[i]))
            fail_msg("%s holds \"%s\"", what, bad[i]);
    for (const char *p = text; (p = strstr(p, "http://")); p++)
        if (strncmp(p, "http://www.w3.org/2000/svg\"", 27) != 0)
            fail_msg("%s holds an address: %.60s", what, p);
}

static inline char *slurp(const char *path, size_t *n)
{
    struct map m;
    if (map_open(&m, path) < 0)
        fail_msg("%s", err_text());
    char *s = malloc(m.size + 1);
    assert_non_null(s);
    memcpy(s, m.data, m.size);
    s[m.size] = 0;
    *n = m.size;
    map_close(&m);
    return s;
}

#endif
