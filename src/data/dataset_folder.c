/* data/dataset_folder.c: `folder:DIR`, pictures sorted into one folder a class, as torchvision's ImageFolder reads
 * them.
 *
 * The class is the label, and its name (underscores as spaces) the caption of all its pictures. Pictures that lie in
 * DIR itself have neither: such a folder can be encoded and searched, not trained on. Names are sorted by bytes, so
 * rows do not depend on the file system. Deeper folders are not visited: what they mean is anyone's guess. */
#include "data/dataset_build.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct names {
    char **v;
    int64_t n, cap;
};

static void names_free(struct names *s)
{
    for (int64_t i = 0; i < s->n; i++)
        mem_free(s->v[i]);
    mem_free(s->v);
}

/* Entries of dir, sorted, hidden ones left out. */
static int list_dir(struct names *out, const char *dir)
{
    DIR *h = opendir(dir);
    if (!h)
        return err_errno(ERR_DATA, "%s: cannot list the folder", dir);
    int rc = 0;
    for (struct dirent *e; rc == 0 && (errno = 0, e = readdir(h));) {
        if (e->d_name[0] == '.')
            continue;
        if (out->n == out->cap) {
            int64_t cap = out->cap ? out->cap * 2 : 64;
            char **v = mem_grow(out->v, (size_t)out->cap * sizeof *v, (size_t)cap * sizeof *v);
            if (!v) {
                rc = ERR_MEMORY;
                break;
            }
            out->v = v;
            out->cap = cap;
        }
        out->v[out->n] = mem_strdup(e->d_name);
        rc = out->v[out->n] ? 0 : ERR_MEMORY;
        out->n += rc == 0;
    }
    closedir(h);
    if (rc == 0 && out->n)
        qsort(out->v, (size_t)out->n, sizeof *out->v, compare_names);
    return rc;
}

static int add_file(struct dataset_build *b, const char *class_name, const char *file)
{
    char path[1100], caption[300];
    if (b->opt->limit > 0 && b->d->n_images >= b->opt->limit)
        return 0;
    int n = snprintf(path, sizeof path, "%s%s%s", class_name, *class_name ? "/" : "", file);
    if (n < 0 || (size_t)n >= sizeof path)
        FAIL(ERR_DATA, "%s: path too long: %.100s...", b->arg, path);
    const char *const cells[] = {path, path, class_name, ""};
    int64_t image, text;
    TRY(build_image(b, cells, &image));
    if (!*class_name)
        return 0;
    snprintf(caption, sizeof caption, "%s", class_name);
    for (char *s = caption; *s; s++)
        if (*s == '_')
            *s = ' ';
    TRY(build_text(b, caption, "name", &text));
    return build_pair(b, image, text);
}

static int add_class(struct dataset_build *b, const char *class_name, const char *dir, int64_t *n_classes)
{
    struct names files = {0};
    int64_t before = b->d->n_images;
    int rc = list_dir(&files, dir);
    for (int64_t i = 0; i < files.n && rc == 0; i++)
        if (build_is_picture(files.v[i]))
            rc = add_file(b, class_name, files.v[i]);
    names_free(&files);
    *n_classes += b->d->n_images > before;
    return rc;
}

static int fill(struct dataset_build *b)
{
    static const char *const columns[] = {"id", "path", "label", "split"};
    struct names top = {0};
    int64_t n_classes = 0, n_loose = 0;
    TRY(build_columns(b, 4, columns));
    int rc = list_dir(&top, b->arg);
    for (int64_t i = 0; i < top.n && rc == 0; i++) {
        char path[4096];
        rc = path_join(path, sizeof path, b->arg, top.v[i]);
        if (rc == 0 && path_is_dir(path))
            rc = add_class(b, top.v[i], path, &n_classes);
        else if (rc == 0 && build_is_picture(top.v[i])) {
            rc = add_file(b, "", top.v[i]);
            n_loose++;
        }
    }
    names_free(&top);
    TRY(rc);
    if (!b->d->n_images)
        FAIL(ERR_DATA,
             "%s: no pictures found: expected DIR/CLASS/picture.jpg, or pictures in the folder itself (jpg, png, webp, "
             "gif, bmp, tif)",
             b->arg);
    return build_describe(b, "folder: %lld classes, %lld pictures%s", (long long)n_classes, (long long)b->d->n_images,
                          n_loose ? ", some without a class" : "");
}

int dataset_build_folder(struct dataset_build *b)
{
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected folder:DIR", b->d->spec);
    if (b->opt->split)
        FAIL(ERR_USAGE, "dataset \"%s\": a folder knows no splits; leave --split out", b->d->spec);
    if (!path_is_dir(b->arg))
        FAIL(ERR_DATA, "%s: no such folder", b->arg);
    TRY(build_files(b, b->arg, strlen(b->arg)));
    return fill(b);
}
