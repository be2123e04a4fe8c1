/* view/fig_retrieved.c: grids of the best and the worst retrieved and of the least certain, both directions.
 *
 * Best: the right answer stands first and the softmax is surest. Worst: the right answer stands furthest back. Unsure:
 * the softmax spreads most, right or wrong: vague captions, pictures of which there are many. A
 * measure says how often a model errs, these rows say on what; often the caption is at fault. One row a picture: twenty
 * captions of one picture would fill the grid otherwise. Order is total (rank or confidence, then row), so equal input
 * gives equal rows. */
#include "view/fig.h"

#include <math.h>
#include <stdlib.h>

#define ROWS 5
#define ANSWERS 3

enum choice { BEST, WORST, UNSURE };

struct candidate {
    int64_t at; /* index into retrieval.queries */
    double key; /* larger comes first */
};

static int by_key(const void *a, const void *b)
{
    const struct candidate *p = a, *q = b;
    if (p->key != q->key)
        return p->key > q->key ? -1 : 1;
    return p->at < q->at ? -1 : p->at > q->at;
}

static int64_t collect(const struct retrieval *r, enum choice what, struct candidate *out)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->n_queries; i++) {
        double conf = r->confidence && isfinite(r->confidence[i]) ? r->confidence[i] : 0;
        if (what == UNSURE)
            out[n++] = (struct candidate){i, -conf};
        else if (what == BEST && r->rank[i] == 0)
            out[n++] = (struct candidate){i, conf};
        else if (what == WORST && r->rank[i] > 0) /* among equal ranks the surest error first */
            out[n++] = (struct candidate){i, (double)r->rank[i] + 0.5 * conf};
    }
    qsort(out, (size_t)n, sizeof *out, by_key);
    return n;
}

static int fill_row(struct ctx *c, const struct retrieval *r, int64_t at, int side, enum choice what,
                    struct gallery_row *row)
{
    struct hit hits[ANSWERS];
    int64_t q = r->queries[at], width = c->in.set->width;
    double cosine;
    int64_t right = ctx_best_partner(c, side, q, &cosine);
    TRY(space_topk(ctx_row(c, side, q), 1, c->x[!side], ctx_n(c, !side), width, ANSWERS, hits));
    *row = (struct gallery_row){.query = {.side = side, .row = q, .cosine = (double)NAN}, .n_strips = 0};
    bool known = r->confidence && isfinite(r->confidence[at]);
    if (what == UNSURE && known && r->rank[at] > 0)
        snprintf(row->verdict, sizeof row->verdict,
                 "claimed probability %.30s; the right %s stands at place %.30s of %.30s",
                 word_pct(r->confidence[at]).s, side ? "picture" : "text", word_count(r->rank[at] + 1).s,
                 word_count(r->n_gallery).s);
    else if (what != WORST && known)
        snprintf(row->verdict, sizeof row->verdict, "found first, claimed probability %s",
                 word_pct(r->confidence[at]).s);
    else
        snprintf(row->verdict, sizeof row->verdict, "the right %s stands at place %s of %s", side ? "picture" : "text",
                 word_count(r->rank[at] + 1).s, word_count(r->n_gallery).s);
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

static int fill_group(struct ctx *c, int direction, enum choice what, struct gallery_group *g)
{
    const struct retrieval *r = &c->in.retrieval[direction];
    int64_t seen[ROWS];
    int rc = 0;
    snprintf(g->heading, sizeof g->heading, direction ? "From a text to pictures" : "From a picture to texts");
    if (r->n_queries <= 0 || !r->queries || !r->rank)
        return 0;
    struct candidate *cand = mem_calloc((size_t)r->n_queries, sizeof *cand);
    if (!cand)
        return ERR_MEMORY;
    int64_t n = collect(r, what, cand);
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
        rc = fill_row(c, r, cand[i].at, direction, what, &g->row[g->n]);
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
    f->gallery->n_groups = 2;
    TRY(fill_group(c, 1, what, &f->gallery->group[0]));
    TRY(fill_group(c, 0, what, &f->gallery->group[1]));
    if (what == UNSURE)
        str_add(&f->how,
                "The queries whose first answer gets the least probability, right or wrong, one row a picture. "
                "Often the caption fits many pictures, or the set holds many alike: doubt that is in the data, "
                "not in the model.");
    else if (what == BEST)
        str_add(&f->how, "Left the query, then its own partner, then the first three answers with their cosines. These "
                         "are the queries that "
                         "the model answers right with the highest claimed probability, one row a picture.");
    else
        str_add(&f->how, "The queries whose right answer stands furthest back, one row a picture. Solid green frames "
                         "are right answers, dashed "
                         "ones wrong. Look twice: often the caption is vague or fits many pictures, and the model's "
                         "answer is not absurd.");
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

int fig_unsure(struct ctx *c, struct fig *f)
{
    return draw(c, f, UNSURE);
}
