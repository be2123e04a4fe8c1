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

int adapters_uncertainty(const char *dir, const struct set *s, uint64_t seed, bool force, double *out[2])
{
    char base[2048];
    const struct predict_opt opt = {
        .dropout = -1, .seed = seed, .force = force, .path_base = cli_set_base(s, NULL, base, sizeof base)};
    struct adapter *a = NULL;
    double *u[2] = {NULL, NULL};
    int rc = adapt_open(&a, dir);
    for (int side = 0; rc == 0 && side < 2; side++) {
        if (!adapt_covers(a, side))
            continue;
        u[side] = mem_calloc((size_t)(side == SIDE_TEXT ? s->text.n : s->image.n) + 1, sizeof(double));
        rc = u[side] ? adapt_predict(a, s, side, &opt, u[side], NULL) : ERR_MEMORY;
    }
    adapt_close(&a);
    for (int side = 0; side < 2; side++)
        if (rc == 0)
            out[side] = u[side];
        else
            mem_free(u[side]);
    return rc < 0 ? err_while(rc, "asking adapter \"%s\"", dir) : 0;
}
