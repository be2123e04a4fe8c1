/* data/emoji_split.c: train, validation, test and compositional.
 *
 * Compositional generalisation is asked as in Johnson et al. 2017 (CLEVR CoGenT) and Keysers et al. 2020: combinations
 * held out, parts and pairs of parts seen. Roles with the full grid {woman, man, person} x 5 tones give one cyclic
 * diagonal of a Latin square: cell (g, t) is held out when t = (h + 2 g) mod 5, h from a hash of the role's name. So a
 * role loses one tone of each gender, three different ones; every (role, gender), (role, tone) and (gender, tone)
 * stays. Half of the roles (another bit of the hash) keep the person's cell: one sixth in all. The hash makes a role's
 * cells independent of which other roles a later Unicode adds; a counter would move them all. */
#include "data/emoji.h"

#include <string.h>

#define SPLIT_SEED 20260u
#define N_GENDERS 3
#define N_TONES 5

struct grid {
    const char *role;
    int64_t cell[N_GENDERS][N_TONES]; /* entry + 1 */
};

static int tone_index(const char *tone)
{
    static const char *const names[N_TONES] = {"light", "medium-light", "medium", "medium-dark", "dark"};
    for (int i = 0; i < N_TONES; i++)
        if (!strcmp(tone, names[i]))
            return i;
    return -1;
}

static int gender_index(const char *gender)
{
    static const char *const names[N_GENDERS] = {"woman", "man", "person"};
    for (int i = 0; i < N_GENDERS; i++)
        if (!strcmp(gender, names[i]))
            return i;
    return -1;
}

static struct grid *grid_of(struct grid *grids, int64_t *n, const char *role)
{
    for (int64_t i = 0; i < *n; i++)
        if (!strcmp(grids[i].role, role))
            return &grids[i];
    grids[*n] = (struct grid){.role = role};
    return &grids[(*n)++];
}

static const char *split_by_hash(const char *id)
{
    uint64_t h = hash_bytes(id, strlen(id), SPLIT_SEED) % 100;
    return h < 80 ? "train" : h < 85 ? "validation" : "test";
}

static bool grid_is_full(const struct grid *g)
{
    for (int i = 0; i < N_GENDERS; i++)
        for (int t = 0; t < N_TONES; t++)
            if (!g->cell[i][t])
                return false;
    return true;
}

static bool is_held(const struct emoji *e)
{
    return !strcmp(e->split, "compositional");
}

/* A line of the grid (a gender or a tone fixed) must have a training picture: if chance left none, its first free
 * picture. */
static void keep_line(struct emoji_list *l, const int64_t *cells, int n, int step)
{
    struct emoji *first = NULL;
    for (int i = 0; i < n; i++) {
        struct emoji *e = &l->v[cells[i * step] - 1];
        if (!strcmp(e->split, "train"))
            return;
        if (!first && !is_held(e))
            first = e;
    }
    if (first)
        first->split = "train";
}

static void hold_out(struct emoji_list *l, const struct grid *g)
{
    uint64_t h = hash_bytes(g->role, strlen(g->role), SPLIT_SEED);
    int genders = (h >> 20) & 1 ? N_GENDERS : N_GENDERS - 1;
    for (int i = 0; i < genders; i++)
        l->v[g->cell[i][(h % N_TONES + (uint64_t)(2 * i)) % N_TONES] - 1].split = "compositional";
    for (int i = 0; i < N_GENDERS; i++)
        keep_line(l, g->cell[i], N_TONES, 1);
    for (int t = 0; t < N_TONES; t++)
        keep_line(l, &g->cell[0][t], N_GENDERS, N_TONES);
}

int emoji_split(struct emoji_list *l)
{
    struct grid *grids = mem_calloc((size_t)l->n + 1, sizeof *grids);
    int64_t n = 0;
    if (!grids)
        return ERR_MEMORY;
    for (int64_t i = 0; i < l->n; i++) {
        struct emoji *e = &l->v[i];
        e->split = split_by_hash(e->id);
        int g = gender_index(e->gender), t = tone_index(e->tone);
        if (!*e->role || g < 0 || t < 0)
            continue;
        struct grid *grid = grid_of(grids, &n, e->role);
        if (!grid->cell[g][t])
            grid->cell[g][t] = i + 1;
    }
    for (int64_t i = 0; i < n; i++)
        if (grid_is_full(&grids[i]))
            hold_out(l, &grids[i]);
    mem_free(grids);
    return 0;
}
