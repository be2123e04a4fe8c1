/* cli/adapters.c: opening an adapter and the set it is to look at, as adapt's sister commands take them. */
#include "cli/adapters.h"

#include <string.h>

int adapters_open(struct cli *c, const struct set_opt *set, const struct engine_opt *engine, struct adapter **a,
                  struct set **s)
{
    const struct engine *e;
    bool low, npy = set->images || set->texts || set->pairs;
    TRY(cli_words(c, npy ? 1 : 2, npy ? 1 : 2, npy ? "the adapter's folder" : "the adapter's folder and the set's"));
    if (npy) {
        TRY(cli_need(c, set->images, "--images"));
        TRY(cli_need(c, set->texts, "--texts"));
    }
    TRY(cli_engine(engine, &e, &low));
    if (low)
        FAIL(ERR_USAGE, "option --dtype is bf16: adapters are computed in f32");
    TRY(adapt_open_on(a, c->args.v[0], e));
    int rc = npy ? set_open_npy_mixed(s, set->images, set->texts, set->pairs, set->force) : set_open(s, c->args.v[1]);
    if (rc < 0)
        adapt_close(a);
    return rc;
}

int adapters_row(const struct set *s, const char *side, int64_t row, int *which)
{
    *which = strcmp(side, "text") ? SIDE_IMAGE : SIDE_TEXT;
    int64_t n = *which == SIDE_TEXT ? s->text.n : s->image.n;
    if (row < 0 || row >= n)
        FAIL(ERR_USAGE, "option --row is %lld, expected 0 to %lld (%s rows of set \"%s\")", (long long)row,
             (long long)n - 1, side, s->path);
    return 0;
}
