/* heads/judge.c: how good heads are on pairs that they were not trained on: the items of those pairs alone are a small
 * set, seen through the heads, and retrieval is measured in it. The gallery is the held-out items and not the whole
 * set: whoever trains on a part should be judged where no trained item can be found instead. An epoch's score is the
 * mean reciprocal rank of both directions: it moves where recall at 1 of two hundred pairs stands still. */
#include "heads/heads.h"

#include <stdlib.h>
#include <string.h>

static int by_pair(const void *a, const void *b)
{
    const struct set_pair *p = a, *q = b;
    if (p->image != q->image)
        return p->image < q->image ? -1 : 1;
    return p->text < q->text ? -1 : p->text > q->text;
}

/* What the rows were made of goes with them. */
static int take_features(struct judge *j, const struct set_features *from, struct set_features *to, int64_t n,
                         int64_t taken, const int64_t *place)
{
    const int64_t w = from->width;
    float *x = arena_alloc(j->arena, (size_t)(taken * (w + 1)) * sizeof *x + 1);
    if (!x)
        return ERR_MEMORY;
    float *lengths = x + taken * w;
    *to = (struct set_features){.width = w, .bias = from->bias, .n_weights = from->n_weights, .square = from->square};
    to->x = x;
    to->lengths = from->lengths ? lengths : NULL;
    for (int64_t i = 0; i < n; i++) {
        if (place[i] < 0)
            continue;
        memcpy(x + place[i] * w, from->x + i * w, (size_t)w * sizeof *x);
        if (from->lengths)
            lengths[place[i]] = from->lengths[i];
    }
    return 0;
}

/* The rows of one side that pairs name, ascending, and their vectors. place [n of the set]: where each went, or -1. */
static int take_side(struct judge *j, int side, const struct set *s, const struct set_pair *pairs, int64_t n,
                     int64_t *place)
{
    const struct set_side *from = side ? &s->text : &s->image;
    struct set_side *to = side ? &j->part.text : &j->part.image;
    int64_t taken = 0;
    for (int64_t i = 0; i < from->n; i++)
        place[i] = -1;
    for (int64_t k = 0; k < n; k++)
        place[side ? pairs[k].text : pairs[k].image] = 0;
    for (int64_t i = 0; i < from->n; i++)
        if (place[i] == 0)
            place[i] = taken++;
    to->x = arena_alloc(j->arena, (size_t)(taken * s->width) * sizeof(float) + 1);
    if (!to->x)
        return ERR_MEMORY;
    for (int64_t i = 0; i < from->n; i++)
        if (place[i] >= 0)
            memcpy(to->x + place[i] * s->width, from->x + i * s->width, (size_t)s->width * sizeof(float));
    to->n = taken;
    return from->features.x ? take_features(j, &from->features, &to->features, from->n, taken, place) : 0;
}

/* Every pair of the set between items that were taken is right, also one that is not in the list. */
static int take_pairs(struct judge *j, const struct set *s, int64_t *const place[2])
{
    j->part.pairs = arena_alloc(j->arena, (size_t)s->n_pairs * sizeof *j->part.pairs + 1);
    if (!j->part.pairs)
        return ERR_MEMORY;
    for (int64_t k = 0; k < s->n_pairs; k++) {
        struct set_pair p = {place[0][s->pairs[k].image], place[1][s->pairs[k].text]};
        if (p.image >= 0 && p.text >= 0)
            j->part.pairs[j->part.n_pairs++] = p;
    }
    qsort(j->part.pairs, (size_t)j->part.n_pairs, sizeof *j->part.pairs, by_pair);
    return 0;
}

int judge_open(struct judge *j, const struct set *s, const struct set_pair *pairs, int64_t n)
{
    int64_t *place[2];
    *j = (struct judge){.part = *s};
    j->part.image = j->part.text = (struct set_side){0};
    j->part.n_pairs = 0;
    j->part.arena = NULL;
    TRY(arena_open(&j->arena, "judge"));
    place[0] = arena_alloc(j->arena, (size_t)(s->image.n + 1) * sizeof(int64_t));
    place[1] = arena_alloc(j->arena, (size_t)(s->text.n + 1) * sizeof(int64_t));
    int rc = place[0] && place[1] ? 0 : ERR_MEMORY;
    for (int side = 0; side < 2 && rc == 0; side++)
        rc = take_side(j, side, s, pairs, n, place[side]);
    if (rc == 0)
        rc = take_pairs(j, s, place);
    if (rc < 0)
        judge_close(j);
    return rc;
}

void judge_close(struct judge *j)
{
    arena_close(&j->arena);
    memset(j, 0, sizeof *j);
}

int judge_run(struct judge *j, const struct head *h, struct judged *out)
{
    const struct eval_opt opt = {.bootstrap = -1, .no_fit = true};
    struct set mapped = {0};
    struct judged got = {.n = j->part.n_pairs};
    if (h)
        TRY(head_set_open(&mapped, h, &j->part, false));
    int rc = 0;
    for (int way = 0; way < 2 && rc == 0; way++) {
        struct retrieval r;
        rc = eval_retrieval(h ? &mapped : &j->part, way, &opt, &r);
        if (rc < 0)
            break;
        got.recall[way] = r.recall[0].value;
        got.mrr += 0.5 * r.mrr.value;
        retrieval_free(&r);
    }
    if (h)
        head_set_close(&mapped);
    if (rc == 0)
        *out = got;
    return rc;
}

int judge_epoch(void *ctx, const struct head *h, int64_t epoch UNUSED, json_t *event, double *score)
{
    struct judged got;
    TRY(judge_run(ctx, h, &got));
    json_object_set_new(event, "val_recall_image_to_text", json_number(got.recall[0]));
    json_object_set_new(event, "val_recall_text_to_image", json_number(got.recall[1]));
    json_object_set_new(event, "val_mrr", json_number(got.mrr));
    *score = got.mrr;
    return 0;
}
