/* adapt/shared.c: which pictures and texts of a batch belong together although they came as two pairs: captions of one
 * picture, copies that the set's pairs join. To a contrastive loss they would be rivals. The batch's texts are sorted
 * once and the few pairs of each picture looked up, so that a large batch costs no n^2 searches. */
#include "adapt/adapter.h"

#include <stdlib.h>

struct place {
    int64_t row, at;
};

static int by_row(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->row != y->row ? (x->row > y->row) - (x->row < y->row) : (x->at > y->at) - (x->at < y->at);
}

static int64_t first_place(const struct place *v, int64_t n, int64_t row)
{
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (v[mid].row < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const uint8_t *batch_shared(const struct adapter *a, const struct set *s, struct tape *t, int64_t n)
{
    struct place *text = arena_alloc(tape_arena(t), (size_t)n * sizeof *text);
    uint8_t *same = NULL;
    for (int64_t j = 0; text && j < n; j++)
        text[j] = (struct place){a->row[SIDE_TEXT][j], j};
    if (!text)
        return NULL;
    qsort(text, (size_t)n, sizeof *text, by_row);
    for (int64_t i = 0; i < n; i++) {
        int64_t image = a->row[SIDE_IMAGE][i], lo = 0, hi = s->n_pairs;
        while (lo < hi) {
            int64_t mid = lo + (hi - lo) / 2;
            if (s->pairs[mid].image < image)
                lo = mid + 1;
            else
                hi = mid;
        }
        for (; lo < s->n_pairs && s->pairs[lo].image == image; lo++)
            for (int64_t k = first_place(text, n, s->pairs[lo].text); k < n && text[k].row == s->pairs[lo].text; k++)
                if (text[k].at != i) {
                    if (!same && !(same = arena_calloc(tape_arena(t), (size_t)(n * n), 1)))
                        return NULL;
                    same[i * n + text[k].at] = 1;
                }
    }
    return same;
}
