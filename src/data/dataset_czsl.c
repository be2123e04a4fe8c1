/* data/dataset_czsl.c: `czsl:DIR`, MIT-States and UT-Zappos as the compositional zero-shot literature lays them out:
 *
 *   DIR/images/ATTR_OBJ/NAME.jpg
 *   DIR/compositional-split-natural/{train,val,test}_pairs.txt    "attr obj" lines
 *   DIR/metadata_compositional-split-natural.t7                   which picture is of which split
 *
 * The last file is a pickle of torch, which can run code and is not read. When the same rows lie beside it as .csv
 * (columns image, attr, obj, set; docs/data.md has the line of Python that writes it) the splits are those; without, a
 * pair's split is the first list that names it, which keeps unseen pairs unseen but counts test pictures of seen pairs
 * as train: the description says so. Pictures of "adj" belong to no attribute and are left out, as everywhere. */
#include "data/dataset_build.h"

#include <strings.h>

#define SPLIT_DIR "compositional-split-natural"
#define METADATA "metadata_" SPLIT_DIR

enum { N_CELLS = 7 };

struct czsl {
    struct names lists[3]; /* train, val, test: "attr obj" */
    int64_t n_pairs;       /* pairs with pictures */
    bool exact, has_pickle;
};
static const char *const list_splits[3] = {"train", "val", "test"};

static const char *split_of(const struct czsl *c, const char *pair)
{
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < c->lists[i].n; k++)
            if (!strcmp(c->lists[i].v[k], pair))
                return list_splits[i];
    return "";
}

/* Faux.Leather and boots_ankle are words for a file system. */
static void words(char *out, size_t n, const char *attr, const char *obj)
{
    snprintf(out, n, "%s %s", attr, obj);
    for (char *p = out; *p; p++)
        if (*p == '_' || *p == '.')
            *p = ' ';
}

static int add_row(struct dataset_build *b, int64_t row, const char *file, const char *attr, const char *obj,
                   const char *split)
{
    char path[1200], pair[600], caption[600];
    int64_t image;
    snprintf(path, sizeof path, "images/%s", file);
    snprintf(pair, sizeof pair, "%s %s", attr, obj);
    words(caption, sizeof caption, attr, obj);
    const char *const cells[N_CELLS] = {file, path, pair, split, attr, obj, pair};
    if (!build_wants_split(b, split))
        return 0;
    TRY(build_picture(b, row, cells, &image));
    return build_caption(b, row, image, caption, "name");
}

/* attr and obj of a folder: as a pair list has them (either may hold an underscore), or at the first "_" or space. */
static bool part(const struct czsl *c, const char *folder, char *attr, char *obj, size_t n)
{
    size_t len = strlen(folder);
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < c->lists[i].n; k++) {
            const char *pair = c->lists[i].v[k], *space = strchr(pair, ' ');
            size_t head = space ? (size_t)(space - pair) : 0;
            bool same = space && strlen(pair) == len && !memcmp(pair, folder, head) &&
                        (folder[head] == '_' || folder[head] == ' ') && !strcmp(space + 1, folder + head + 1);
            if (same && len < n) {
                snprintf(attr, n, "%.*s", (int)head, pair);
                snprintf(obj, n, "%s", space + 1);
                return true;
            }
        }
    size_t head = strcspn(folder, "_ ");
    if (!folder[head] || !head || len >= n)
        return false;
    snprintf(attr, n, "%.*s", (int)head, folder);
    snprintf(obj, n, "%s", folder + head + 1);
    return true;
}

static int take_folder(struct dataset_build *b, struct czsl *c, const char *folder, const char *dir)
{
    struct names files = {0};
    char attr[300], obj[300], pair[620], file[1100];
    int64_t before = b->d->n_images;
    if (!part(c, folder, attr, obj, sizeof attr))
        return build_refuse(b, 0, folder, dir, "the folder's name is no ATTR_OBJ");
    if (!strcmp(attr, "adj"))
        return 0;
    snprintf(pair, sizeof pair, "%s %s", attr, obj);
    int rc = names_list(&files, dir);
    for (int64_t i = 0; i < files.n && rc == 0 && !build_full(b); i++) {
        if (!image_has_name(files.v[i]))
            continue;
        snprintf(file, sizeof file, "%s/%s", folder, files.v[i]);
        rc = add_row(b, 0, file, attr, obj, split_of(c, pair));
    }
    names_free(&files);
    c->n_pairs += b->d->n_images > before;
    return rc == 0 ? signal_check() : rc;
}

static int take_folders(struct dataset_build *b, struct czsl *c)
{
    struct names folders = {0};
    char dir[BUILD_PATH], path[BUILD_PATH];
    TRY(path_join(dir, sizeof dir, b->root, "images"));
    if (!path_is_dir(dir))
        FAIL(ERR_DATA, "%s: no folder images; expected images/ATTR_OBJ/NAME.jpg and " SPLIT_DIR "/train_pairs.txt",
             b->root);
    int rc = names_list(&folders, dir);
    for (int64_t i = 0; i < folders.n && rc == 0 && !build_full(b); i++) {
        rc = path_join(path, sizeof path, dir, folders.v[i]);
        if (rc == 0 && path_is_dir(path))
            rc = take_folder(b, c, folders.v[i], path);
    }
    names_free(&folders);
    return rc;
}

static int take_metadata(struct dataset_build *b, struct czsl *c, const char *path)
{
    struct table t = {0};
    TRY(table_read(&t, path));
    int image = table_col(&t, "image"), attr = table_col(&t, "attr"), obj = table_col(&t, "obj");
    int set = table_col(&t, "set"), rc = 0;
    if (image < 0 || attr < 0 || obj < 0 || set < 0)
        rc = err_set(ERR_DATA, "%s: expected columns image, attr, obj, set", path);
    for (int64_t i = 0; i < t.n_rows && rc == 0; i++) {
        const char *a = table_cell(&t, i, attr), *split = table_cell(&t, i, set);
        if (strcasecmp(a, "NA") && strcmp(split, "NA")) /* pictures that the benchmark leaves out */
            rc = add_row(b, t.lines[i], table_cell(&t, i, image), a, table_cell(&t, i, obj), split);
    }
    table_free(&t);
    c->exact = true;
    return rc;
}

static int fill(struct dataset_build *b, struct czsl *c)
{
    static const char *const columns[N_CELLS] = {"id", "path", "label", "split", "attr", "obj", "pair"};
    char path[BUILD_PATH], name[64];
    TRY(build_columns(b, N_CELLS, columns));
    int64_t listed = 0;
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, SPLIT_DIR "/%s_pairs.txt", list_splits[i]);
        TRY(path_join(path, sizeof path, b->arg, name));
        if (path_exists(path))
            TRY(names_lines(&c->lists[i], path));
        listed += c->lists[i].n;
    }
    TRY(path_join(path, sizeof path, b->arg, METADATA ".t7"));
    c->has_pickle = path_exists(path);
    TRY(path_join(path, sizeof path, b->arg, METADATA ".csv"));
    if (path_exists(path)) {
        TRY(take_metadata(b, c, path));
    } else {
        if (!listed)
            TRY(build_no_split(b, "there is no " SPLIT_DIR "/train_pairs.txt, so no split is known"));
        TRY(take_folders(b, c));
    }
    if (c->exact)
        return build_describe(b, "czsl: splits by picture (" METADATA ".csv)");
    return build_describe(b, "czsl: %s pairs, splits %s%s", str_count(c->n_pairs),
                          listed ? "by pair, pictures of seen pairs all in train" : "unknown",
                          c->has_pickle ? " (" METADATA ".t7 is a pickle and was not read: docs/data.md)" : "");
}

int dataset_build_czsl(struct dataset_build *b)
{
    struct czsl c = {0};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected czsl:DIR", b->d->spec);
    TRY(build_files(b, b->arg, strlen(b->arg), true));
    int rc = fill(b, &c);
    for (int i = 0; i < 3; i++)
        names_free(&c.lists[i]);
    return rc;
}
