/* data/dataset_reed.c: `reed:DIR`, birds or flowers with ten captions each, as Reed et al. (2016, "Learning deep
 * representations of fine-grained visual descriptions") published them:
 *
 *   DIR/text_c10/CLASS/NAME.txt    captions, one a line
 *   DIR/images/CLASS/NAME.jpg      CUB; of the flowers DIR/jpg/NAME.jpg
 *   DIR/trainclasses.txt ...       the class splits: train, val, test
 *
 * A class that no list names is of no split. The .t7 files beside the captions are the same captions as torch tensors
 * of characters, and are not read. */
#include "data/dataset_build.h"

struct reed {
    struct names classes, lists[3]; /* folders of text_c10; train, val, test */
    int64_t n_files, n_classes;
};
static const char *const list_files[3] = {"trainclasses.txt", "valclasses.txt", "testclasses.txt"};
static const char *const list_splits[3] = {"train", "val", "test"};

static const char *split_of(const struct reed *r, const char *class_name)
{
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < r->lists[i].n; k++)
            if (!strcmp(r->lists[i].v[k], class_name))
                return list_splits[i];
    return "";
}

static int take_file(struct dataset_build *b, const char *class_name, const char *split, const char *file,
                     const char *full)
{
    char stem[300], paths[6][1024];
    const char *names[6], *cells[4] = {stem, "", class_name, split};
    struct names lines = {0};
    int64_t image;
    snprintf(stem, sizeof stem, "%.*s", (int)(strlen(file) - 4), file);
    snprintf(paths[0], sizeof paths[0], "images/%s/%s.jpg", class_name, stem);
    snprintf(paths[1], sizeof paths[1], "%s/%s.jpg", class_name, stem);
    snprintf(paths[2], sizeof paths[2], "images/%s/%s.png", class_name, stem);
    snprintf(paths[3], sizeof paths[3], "jpg/%s.jpg", stem);
    snprintf(paths[4], sizeof paths[4], "images/%s.jpg", stem);
    snprintf(paths[5], sizeof paths[5], "%s.jpg", stem);
    for (int i = 0; i < 6; i++)
        names[i] = paths[i];
    int rc = names_lines(&lines, full);
    if (rc < 0) {
        names_free(&lines);
        return build_refuse_error(b, 0, stem, full, rc);
    }
    if (lines.n == 0)
        rc = build_refuse(b, 0, stem, full, "the file holds no caption");
    else
        rc = build_picture_of(b, 0, cells, names, 6, &image);
    for (int64_t i = 0; i < lines.n && rc == 0; i++)
        rc = build_caption(b, i + 1, image, lines.v[i], "caption");
    names_free(&lines);
    return rc;
}

static int take_class(struct dataset_build *b, struct reed *r, const char *class_name, const char *dir)
{
    struct names files = {0};
    const char *split = split_of(r, class_name);
    int64_t before = b->d->n_images;
    if (!build_wants_split(b, split))
        return 0;
    int rc = names_list(&files, dir);
    for (int64_t i = 0; i < files.n && rc == 0 && !build_full(b); i++) {
        char full[BUILD_PATH];
        if (!str_ends(files.v[i], ".txt"))
            continue;
        r->n_files++;
        rc = path_join(full, sizeof full, dir, files.v[i]);
        if (rc == 0)
            rc = take_file(b, class_name, split, files.v[i], full);
    }
    names_free(&files);
    r->n_classes += b->d->n_images > before;
    return rc == 0 ? signal_check() : rc;
}

static int fill(struct dataset_build *b, struct reed *r)
{
    char dir[BUILD_PATH], path[BUILD_PATH];
    bool any = false;
    TRY(build_plain_columns(b));
    TRY(path_join(dir, sizeof dir, b->arg, "text_c10"));
    if (!path_is_dir(dir))
        FAIL(ERR_DATA, "%s: no folder text_c10; expected DIR/text_c10/CLASS/NAME.txt beside DIR/images/CLASS/NAME.jpg",
             b->arg);
    for (int i = 0; i < 3; i++) {
        TRY(path_join(path, sizeof path, b->arg, list_files[i]));
        if (path_exists(path))
            TRY(names_lines(&r->lists[i], path));
        any |= r->lists[i].n > 0;
    }
    if (!any)
        TRY(build_no_split(b,
                           "trainclasses.txt, valclasses.txt and testclasses.txt are not there, so no split is known"));
    TRY(names_list(&r->classes, dir));
    for (int64_t i = 0; i < r->classes.n && !build_full(b); i++) {
        TRY(path_join(path, sizeof path, dir, r->classes.v[i]));
        if (path_is_dir(path))
            TRY(take_class(b, r, r->classes.v[i], path));
    }
    if (r->n_files == 0 && !b->opt->split)
        FAIL(ERR_DATA, "%s: no file text_c10/CLASS/NAME.txt", b->arg);
    return build_describe(b, "reed: %s classes, %s caption files", str_count(r->n_classes), str_count(r->n_files));
}

int dataset_build_reed(struct dataset_build *b)
{
    struct reed r = {0};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected reed:DIR", b->d->spec);
    TRY(build_files(b, b->arg, strlen(b->arg), true));
    int rc = fill(b, &r);
    names_free(&r.classes);
    for (int i = 0; i < 3; i++)
        names_free(&r.lists[i]);
    return rc;
}
