/* view/fig_retrieved.c: grids of the best and the worst retrieved, of the most and of the least certain, both
 * directions.
 *
 * Best: the right answer stands first and the softmax is surest. Worst: the right answer stands furthest back. Sure and
 * unsure: right or wrong, by a measured score of doubt and, where there is one, by an adapter's uncertainty too;
 * without them by the softmax. Among the unsure are vague captions and pictures of which there are many; a wrong one
 * among the sure is often a twin or a fault of the data. A measure says how often a model errs, these rows say on what;
 * often the caption is at fault. One row a picture: twenty captions of one picture would fill the grid otherwise. Order
 * is total (rank or confidence, then row), so equal input gives equal rows. */
#include "view/fig.h"

#include <math.h>
#include <stdlib.h>

#define ROWS 5
#define ANSWERS 3

enum choice { BEST, WORST, SURE, UNSURE };

struct candidate {
    int64_t at; /* index into retrieval.queries */
    double key; /* larger comes first */
    double u;   /* uncertainty, as it is told */
};

static int by_key(const void *a, const void *b)
{
    const struct candidate *p = a, *q = b;
    if (p->key != q->key)
        return p->key > q->key ? -1 : 1;
    return p->at < q->at ? -1 : p->at > q->at;
}

static double confidence(const struct retrieval *r, int64_t i)
{
    return r->confidence && isfinite(r->confidence[i]) ? r->confidence[i] : 0;
}

static int64_t collect_by_doubt(const struct retrieval *r, const struct fig_doubt *d, int way, enum choice what,
                                struct candidate *out)
{
    const struct uncertainty_scores *s = &d->s[way];
    const double *u = s->score[d->k].u;
    int64_t n = 0, i = 0;
    for (int64_t k = 0; k < s->n; k++) { /* both lists of rows ascend */
        while (i < r->n_queries && r->queries[i] < s->row[k])
            i++;
        if (i < r->n_queries && r->queries[i] == s->row[k])
            out[n++] = (struct candidate){i, what == UNSURE ? u[k] : -u[k], u[k]};
    }
    return n;
}

static int64_t collect(const struct retrieval *r, const struct fig_doubt *d, int way, enum choice what,
                       struct candidate *out)
{
    int64_t n = 0;
    if (d)
        n = collect_by_doubt(r, d, way, what, out);
    for (int64_t i = 0; !d && i < r->n_queries; i++) {
        double conf = confidence(r, i);
        if (what == UNSURE || what == SURE)
            out[n++] = (struct candidate){i, what == SURE ? conf : -conf, 1 - conf};
        else if (what == BEST && r->rank[i] == 0)
            out[n++] = (struct candidate){i, conf, 0};
        else if (what == WORST && r->rank[i] > 0) /* among equal ranks the surest error first */
            out[n++] = (struct candidate){i, (double)r->rank[i] + 0.5 * conf, 0};
    }
    qsort(out, (size_t)n, sizeof *out, by_key);
    return n;
}

/* What is said below a query: how sure, and where the right answer stands. */
static void say(struct gallery_row *row, const struct retrieval *r, const struct candidate *k, int side,
                enum choice what, const struct fig_doubt *d)
{
    char place[128], doubt[96] = "";
    bool doubting = what == SURE || what == UNSURE, known = r->confidence && isfinite(r->confidence[k->at]);
    snprintf(place, sizeof place, "the right %s stands at place %.30s of %.30s", side ? "picture" : "text",
             word_count(r->rank[k->at] + 1).s, word_count(r->n_gallery).s);
    if (r->rank[k->at] == 0 && (doubting || what == BEST))
        snprintf(place, sizeof place, "found first");
    if (d)
        snprintf(doubt, sizeof doubt, "uncertainty %.30s", word_num(k->u, fabs(k->u) < 0.1 ? 4 : 2).s);
    else if (known && what != WORST)
        snprintf(doubt, sizeof doubt, "claimed probability %.30s", word_pct(r->confidence[k->at]).s);
    snprintf(row->verdict, sizeof row->verdict, "%s%s%s", place, *doubt ? "; " : "", doubt);
}

static int fill_row(struct ctx *c, const struct retrieval *r, const struct candidate *k, int side, enum choice what,
                    const struct fig_doubt *d, struct gallery_row *row)
{
    struct hit hits[ANSWERS];
    int64_t q = r->queries[k->at], width = c->in.set->width;
    double cosine;
    int64_t right = ctx_best_partner(c, side, q, &cosine);
    TRY(space_topk(ctx_row(c, side, q), 1, c->x[!side], ctx_n(c, !side), width, ANSWERS, hits));
    *row = (struct gallery_row){.query = {.side = side, .row = q, .cosine = (double)NAN}, .n_strips = 0};
    say(row, r, k, side, what, d);
    if (right >= 0) {
        struct strip *s = &row->strip[row->n_strips++];
        snprintf(s->label, sizeof s->label, side ? "its picture" : "its text");
        s->card[s->n++] = (struct card){.side = !side, .row = right, .cosine = cosine};
    }
    struct strip *s = &row->strip[row->n_strips++];
    snprintf(s->label, sizeof s->label, "found, best first");
    for (int i = 0; i < ANSWERS && hits[i].row >= 0; i++) {
        bool ok = side ? ctx_is_pair(c, hits[i].row, q) : ctx_is_pair(c, q, hits[i].row);
        s->card[s->n++] =
            (struct card){.side = !side, .row = hits[i].row, .cosine = (double)hits[i].score, .mark = ok ? 1 : -1};
    }
    return 0;
}

static int fill_group(struct ctx *c, int direction, enum choice what, const struct fig_doubt *d,
                      struct gallery_group *g)
{
    const struct retrieval *r = &c->in.retrieval[direction];
    int64_t seen[ROWS];
    int rc = 0;
    snprintf(g->heading, sizeof g->heading, "%s%s%.40s",
             direction ? "From a text to pictures" : "From a picture to texts", d ? ", by " : "", d ? d->name : "");
    if (r->n_queries <= 0 || !r->queries || !r->rank)
        return 0;
    struct candidate *cand = mem_calloc((size_t)r->n_queries, sizeof *cand);
    if (!cand)
        return ERR_MEMORY;
    int64_t n = collect(r, d, direction, what, cand);
    for (int64_t i = 0; i < n && g->n < ROWS && rc == 0; i++) {
        int64_t q = r->queries[cand[i].at];
        double unused;
        int64_t picture = direction ? ctx_best_partner(c, 1, q, &unused) : q;
        bool again = false;
        for (int k = 0; k < g->n; k++)
            again = again || seen[k] == picture;
        if (again)
            continue;
        seen[g->n] = picture;
        rc = fill_row(c, r, &cand[i], direction, what, d, &g->row[g->n]);
        if (rc == 0)
            g->n++;
    }
    mem_free(cand);
    return rc;
}

static int draw(struct ctx *c, struct fig *f, enum choice what)
{
    f->gallery = mem_calloc(1, sizeof *f->gallery);
    if (!f->gallery)
        return ERR_MEMORY;
    for (int i = 0; i < 2; i++) {
        const struct fig_doubt *d = what == SURE || what == UNSURE ? ctx_doubt(c, i) : NULL;
        if ((d && !d->s) || (i > 0 && !d))
            continue;
        for (int way = 1; way >= 0; way--)
            TRY(fill_group(c, way, what, d, &f->gallery->group[f->gallery->n_groups++]));
    }
    if (what == UNSURE)
        str_add(&f->how,
                "The queries whose first answer is least certain, right or wrong, one row a picture. Often the caption "
                "fits many pictures, or the set holds many alike: doubt that is in the data, not in the model.");
    else if (what == SURE)
        str_add(
            &f->how,
            "The queries whose first answer is most certain, right or wrong, one row a picture. A wrong answer here "
            "deserves a look: often two items are the same, or a caption belongs to another picture.");
    else if (what == BEST)
        str_add(&f->how, "Left the query, then its own partner, then the first three answers with their cosines. These "
                         "are the queries that "
                         "the model answers right with the highest claimed probability, one row a picture.");
    else
        str_add(&f->how, "The queries whose right answer stands furthest back, one row a picture. Solid green frames "
                         "are right answers, dashed "
                         "ones wrong. Look twice: often the caption is vague or fits many pictures, and the model's "
                         "answer is not absurd.");
    for (int i = 0; (what == SURE || what == UNSURE) && i < 2; i++)
        if (ctx_doubt(c, i) && ctx_doubt(c, i)->text)
            str_add(&f->how, " %s: %s.", ctx_doubt(c, i)->name, ctx_doubt(c, i)->text);
    return 0;
}

int fig_best(struct ctx *c, struct fig *f)
{
    return draw(c, f, BEST);
}

int fig_worst(struct ctx *c, struct fig *f)
{
    return draw(c, f, WORST);
}

int fig_sure(struct ctx *c, struct fig *f)
{
    return draw(c, f, SURE);
}

int fig_unsure(struct ctx *c, struct fig *f)
{
    return draw(c, f, UNSURE);
}
