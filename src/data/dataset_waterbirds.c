/* data/dataset_waterbirds.c: `waterbirds:DIR`, birds pasted onto land and water (Sagawa et al. 2020): metadata.csv with
 * img_id, img_filename, y (0 landbird, 1 waterbird), split (0 train, 1 val, 2 test), place (0 land, 1 water),
 * place_filename. The caption is the bird's name; who wants prompts takes `folder:` or a table. */
#include "data/dataset_build.h"

enum { N_CELLS = 8, N_NEED = 6 };

static int take_row(struct dataset_build *b, const struct table *t, const int *col, int64_t i)
{
    static const char *const birds[] = {"landbird", "waterbird"}, *const places[] = {"land", "water"};
    static const char *const splits[] = {"train", "val", "test"};
    char group[64];
    int64_t y, split, place, image;
    int rc = table_int(t, i, col[2], 0, 1, &y);
    if (rc == 0)
        rc = table_int(t, i, col[3], 0, 2, &split);
    if (rc == 0)
        rc = table_int(t, i, col[4], 0, 1, &place);
    const char *id = table_cell(t, i, col[0]), *file = table_cell(t, i, col[1]);
    if (rc < 0)
        return build_refuse_error(b, t->lines[i], id, file, rc);
    if (!build_wants_split(b, splits[split]))
        return 0;
    snprintf(group, sizeof group, "%s on %s", birds[y], places[place]);
    const char *const cells[N_CELLS] = {id,       file,          birds[y], splits[split],
                                        birds[y], places[place], group,    table_cell(t, i, col[5])};
    TRY(build_picture(b, t->lines[i], cells, &image));
    return build_caption(b, t->lines[i], image, birds[y], "name");
}

static int fill(struct dataset_build *b, const struct table *t)
{
    static const char *const need[N_NEED] = {"img_id", "img_filename", "y", "split", "place", "place_filename"};
    static const char *const columns[N_CELLS] = {"id",   "path",  "label",      "split",
                                                 "bird", "place", "bird_place", "place_filename"};
    int col[N_NEED];
    for (int i = 0; i < N_NEED; i++) {
        col[i] = table_col(t, need[i]);
        if (col[i] < 0)
            FAIL(ERR_DATA,
                 "%s: no column \"%s\"; expected img_id, img_filename, y, split, place, place_filename, as Waterbirds "
                 "has them",
                 t->path, need[i]);
    }
    TRY(build_columns(b, N_CELLS, columns));
    for (int64_t i = 0; i < t->n_rows && !build_full(b); i++)
        TRY(take_row(b, t, col, i));
    return build_describe(b, "waterbirds: %s rows", str_count(t->n_rows));
}

static int note_bad_row(void *ctx, int64_t line, const char *why)
{
    return build_refuse(ctx, line, "", "", "the line %s", why);
}

int dataset_build_waterbirds(struct dataset_build *b)
{
    char path[BUILD_PATH];
    struct table t = {0};
    struct table_opt how = {.bad = note_bad_row, .ctx = b};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected waterbirds:DIR, the folder of metadata.csv", b->d->spec);
    TRY(build_files(b, b->arg, strlen(b->arg), true));
    TRY(path_join(path, sizeof path, b->arg, "metadata.csv"));
    TRY(table_read_with(&t, path, &how));
    int rc = fill(b, &t);
    table_free(&t);
    return rc;
}
