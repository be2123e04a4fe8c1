/* view/fig_neighbours.c: for a few pictures, the nearest pictures and the nearest texts.
 *
 * The sample is random but fixed by the seed, so that nobody picks the flattering ones. The picture itself is left out
 * of its own neighbours; an exact duplicate is not. */
#include "view/fig.h"

#include <math.h>

#define ROWS 6
#define NEAR 5

static int fill_row(struct ctx *c, int64_t image, struct gallery_row *row)
{
    struct hit hits[NEAR + 1];
    int64_t width = c->in.set->width;
    *row = (struct gallery_row){.query = {.side = 0, .row = image, .cosine = (double)NAN}};
    if (ctx_n(c, 0) > 1) {
        struct strip *s = &row->strip[row->n_strips++];
        snprintf(s->label, sizeof s->label, "nearest pictures");
        TRY(space_topk(ctx_row(c, 0, image), 1, c->x[0], ctx_n(c, 0), width, NEAR + 1, hits));
        for (int i = 0; i < NEAR + 1 && hits[i].row >= 0; i++)
            if (hits[i].row != image && s->n < NEAR)
                s->card[s->n++] = (struct card){.side = 0, .row = hits[i].row, .cosine = (double)hits[i].score};
    }
    if (ctx_n(c, 1) > 0) {
        struct strip *s = &row->strip[row->n_strips++];
        snprintf(s->label, sizeof s->label, "nearest texts");
        TRY(space_topk(ctx_row(c, 0, image), 1, c->x[1], ctx_n(c, 1), width, NEAR, hits));
        for (int i = 0; i < NEAR && hits[i].row >= 0; i++)
            s->card[s->n++] = (struct card){.side = 1,
                                            .row = hits[i].row,
                                            .cosine = (double)hits[i].score,
                                            .mark = ctx_is_pair(c, image, hits[i].row) ? 1 : 0};
    }
    return 0;
}

int fig_neighbours(struct ctx *c, struct fig *f)
{
    f->gallery = mem_calloc(1, sizeof *f->gallery);
    if (!f->gallery)
        return ERR_MEMORY;
    struct gallery_group *g = &f->gallery->group[0];
    int64_t n = ctx_n(c, 0);
    struct rng r = rng_stream(c->in.seed, RNG_SAMPLE, 0, 2);
    f->gallery->n_groups = 1;
    while (g->n < ROWS && g->n < n) {
        int64_t image = n <= ROWS ? g->n : (int64_t)rng_below(&r, (uint64_t)n);
        bool again = false;
        for (int i = 0; i < g->n; i++)
            again = again || g->row[i].query.row == image;
        if (again)
            continue;
        TRY(fill_row(c, image, &g->row[g->n]));
        g->n++;
    }
    str_add(&f->how,
            "%d pictures drawn at random (fixed by the seed) with the five nearest pictures and the five nearest texts "
            "by cosine. "
            "A framed text is the picture's own. Neighbours that a person would also call alike speak for the space; a "
            "neighbour that returns everywhere is a hub.",
            g->n);
    return 0;
}
