/* data/dataset_simat.c: `simat:DIR`, the pictures of SIMAT (Couairon et al. 2022, "Embedding arithmetic of multimodal
 * queries for image retrieval"): triplets.csv (region_id, subj, rel, obj, dataset_id), captions.txt (one sentence for
 * each distinct triplet, in the order in which triplets.csv names them first), and the crops of Visual Genome that the
 * authors' script makes, images/A SUBJ REL OBJ/REGION.jpg. Rows are in the order of dataset_id, which transfos.csv
 * counts in. The transformations themselves are a measure's business. */
#include "data/dataset_build.h"

#include <stdlib.h>

enum { N_CELLS = 8, N_NEED = 5, SUBJ = 1, REL, OBJ, ORDER };

struct simat {
    struct table t;
    struct names captions;
    int col[N_NEED];
    int64_t *row;     /* by dataset_id: row of the table, -1: none */
    int64_t *caption; /* [rows] line of captions.txt */
    int64_t n_distinct;
};

static const char *cell(const struct simat *s, int64_t i, int which)
{
    return table_cell(&s->t, i, s->col[which]);
}

static bool same(const struct simat *s, int64_t i, int64_t k)
{
    return !strcmp(cell(s, i, SUBJ), cell(s, k, SUBJ)) && !strcmp(cell(s, i, REL), cell(s, k, REL)) &&
           !strcmp(cell(s, i, OBJ), cell(s, k, OBJ));
}

/* Numbers of the distinct triplets, by first appearance. */
static int number_triplets(struct simat *s)
{
    int64_t *first = mem_calloc((size_t)s->t.n_rows + 1, sizeof *first);
    if (!first)
        return ERR_MEMORY;
    for (int64_t i = 0; i < s->t.n_rows; i++) {
        int64_t k = s->n_distinct; /* rows of a triplet mostly stand together: from behind */
        while (k > 0 && !same(s, i, first[k - 1]))
            k--;
        if (k == 0) {
            first[s->n_distinct] = i;
            k = ++s->n_distinct;
        }
        s->caption[i] = k - 1;
    }
    mem_free(first);
    return 0;
}

static int add_row(struct dataset_build *b, const struct simat *s, int64_t i)
{
    char triplet[600], path[2][900];
    int64_t image;
    const char *region = cell(s, i, 0), *names[2] = {path[0], path[1]};
    snprintf(triplet, sizeof triplet, "%.180s %.180s %.180s", cell(s, i, SUBJ), cell(s, i, REL), cell(s, i, OBJ));
    snprintf(path[0], sizeof path[0], "images/A %s/%.100s.jpg", triplet, region);
    snprintf(path[1], sizeof path[1], "images/%.100s.jpg", region);
    const char *cells[N_CELLS] = {region,           "", triplet, "", cell(s, i, SUBJ), cell(s, i, REL), cell(s, i, OBJ),
                                  cell(s, i, ORDER)};
    TRY(build_picture_of(b, s->t.lines[i], cells, names, 2, &image));
    return build_caption(b, s->t.lines[i], image, s->captions.v[s->caption[i]], "caption");
}

static int order_rows(struct dataset_build *b, struct simat *s)
{
    for (int64_t i = 0; i < s->t.n_rows; i++)
        s->row[i] = -1;
    for (int64_t i = 0; i < s->t.n_rows; i++) {
        int64_t at = 0;
        int rc = table_int(&s->t, i, s->col[ORDER], 0, s->t.n_rows - 1, &at);
        if (rc == 0 && s->row[at] >= 0)
            rc = err_set(ERR_DATA, "dataset_id %lld stands twice", (long long)at);
        if (rc == 0)
            s->row[at] = i;
        else
            TRY(build_refuse_error(b, s->t.lines[i], cell(s, i, 0), "", rc));
    }
    return 0;
}

static int fill(struct dataset_build *b, struct simat *s)
{
    static const char *const need[N_NEED] = {"region_id", "subj", "rel", "obj", "dataset_id"};
    static const char *const columns[N_CELLS] = {"id", "path", "label", "split", "subj", "rel", "obj", "dataset_id"};
    char path[BUILD_PATH];
    TRY(path_join(path, sizeof path, b->arg, "triplets.csv"));
    TRY(table_read(&s->t, path));
    for (int i = 0; i < N_NEED; i++) {
        s->col[i] = table_col(&s->t, need[i]);
        if (s->col[i] < 0)
            FAIL(ERR_DATA, "%s: no column \"%s\"; expected region_id, subj, rel, obj, dataset_id", path, need[i]);
    }
    TRY(build_columns(b, N_CELLS, columns));
    s->row = mem_calloc((size_t)s->t.n_rows + 1, sizeof *s->row);
    s->caption = mem_calloc((size_t)s->t.n_rows + 1, sizeof *s->caption);
    if (!s->row || !s->caption)
        return ERR_MEMORY;
    TRY(number_triplets(s));
    TRY(path_join(path, sizeof path, b->arg, "captions.txt"));
    TRY(names_lines(&s->captions, path));
    if (s->captions.n != s->n_distinct)
        FAIL(ERR_DATA, "%s: %lld captions, but triplets.csv has %lld distinct triplets; expected one each", path,
             (long long)s->captions.n, (long long)s->n_distinct);
    TRY(order_rows(b, s));
    for (int64_t i = 0; i < s->t.n_rows; i++)
        if (s->row[i] >= 0)
            TRY(add_row(b, s, s->row[i]));
    return build_describe(b, "simat: %s rows, %s triplets", str_count(s->t.n_rows), str_count(s->n_distinct));
}

int dataset_build_simat(struct dataset_build *b)
{
    struct simat s = {0};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected simat:DIR, the folder of triplets.csv", b->d->spec);
    TRY(build_no_split(b, "SIMAT's pictures have no splits"));
    TRY(build_files(b, b->arg, strlen(b->arg), true));
    int rc = fill(b, &s);
    table_free(&s.t);
    names_free(&s.captions);
    mem_free(s.row);
    mem_free(s.caption);
    return rc;
}
