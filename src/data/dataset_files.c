/* data/dataset_files.c: pictures that are files, and the small readers that several kinds share.
 *
 * Names that came out of somebody's archive stay below its folder: relative, without "..", over no symbolic link
 * unless asked (--follow), and a regular file at the end, so that a name like /dev/zero or a pipe costs its row and
 * nothing else. A table of one's own (csv, set) may name files anywhere. The folder that was looked at last is
 * remembered: pictures come sorted, so a look costs one lstat. Rejected: realpath and comparing prefixes, which asks
 * the file system about paths we have not agreed to touch. */
#include "data/dataset_build.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- looking ------------------------------------------------------------------------------------------------ */

static int file_kind(const struct stat *st, const char *full)
{
    if (S_ISREG(st->st_mode))
        return 0;
    FAIL(ERR_DATA, "%s: is %s, expected a file", full,
         S_ISDIR(st->st_mode)   ? "a folder"
         : S_ISLNK(st->st_mode) ? "a symbolic link (--follow lets it be read)"
                                : "a device or a pipe");
}

/* lstat of root/name[0..n). *there is false when nothing is. */
static int look_at(const struct dataset_build *b, const char *name, size_t n, struct stat *st, bool *there)
{
    char part[BUILD_PATH], full[BUILD_PATH];
    if (n >= sizeof part)
        FAIL(ERR_DATA, "the name is longer than %zu bytes", sizeof part - 1);
    memcpy(part, name, n);
    part[n] = 0;
    if (*part == '/' || !*b->root)
        TRY(path_join(full, sizeof full, "", part));
    else
        TRY(path_join(full, sizeof full, b->root, part));
    bool follow = !b->confined || b->opt->follow;
    *there = (follow ? stat(full, st) : lstat(full, st)) == 0;
    if (!*there && errno != ENOENT && errno != ENOTDIR)
        return err_errno(ERR_DATA, "%s: cannot be looked at", full);
    return 0;
}

/* The folders on the way to a confined name are no links. */
static int check_way(struct dataset_build *b, const char *name, size_t n, bool *there)
{
    struct stat st;
    if (n == 0 || (strlen(b->good_dir) == n && !memcmp(b->good_dir, name, n)))
        return 0;
    for (size_t i = 1; i <= n && *there; i++) {
        if (i < n && name[i] != '/')
            continue;
        TRY(look_at(b, name, i, &st, there));
        if (*there && S_ISLNK(st.st_mode))
            FAIL(ERR_DATA, "folder \"%.*s\" is a symbolic link; --follow lets it be read", (int)i, name);
    }
    if (*there && n < sizeof b->good_dir) {
        memcpy(b->good_dir, name, n);
        b->good_dir[n] = 0;
    }
    return 0;
}

int build_look(struct dataset_build *b, const char *name, bool *there)
{
    struct stat st;
    bool found = true;
    if (!*name)
        FAIL(ERR_DATA, "the name of the picture is empty");
    if (!utf8_ok(name, strlen(name)))
        FAIL(ERR_DATA, "the name of the picture is not UTF-8");
    if (b->confined) {
        TRY(path_check_name(name, b->d->spec));
        const char *slash = strrchr(name, '/');
        TRY(check_way(b, name, slash && !b->opt->follow ? (size_t)(slash - name) : 0, &found));
    }
    if (found)
        TRY(look_at(b, name, strlen(name), &st, &found));
    if (found)
        TRY(file_kind(&st, name));
    *there = found;
    return 0;
}

int build_picture_of(struct dataset_build *b, int64_t row, const char **cells, const char *const *names, int n,
                     int64_t *image)
{
    *image = -1;
    if (build_full(b))
        return 0;
    for (int i = 0; i < n; i++) {
        bool there = false;
        int rc = build_look(b, names[i], &there);
        if (rc < 0)
            return build_refuse_error(b, row, cells[0], names[i], rc);
        if (!there)
            continue;
        cells[1] = names[i];
        return build_image(b, cells, image);
    }
    b->d->n_missing++;
    return build_refuse(b, row, cells[0], names[0], "there is no such file");
}

int build_picture(struct dataset_build *b, int64_t row, const char *const *cells, int64_t *image)
{
    bool there = false;
    *image = -1;
    if (build_full(b))
        return 0;
    int rc = build_look(b, cells[1], &there);
    if (rc < 0)
        return build_refuse_error(b, row, cells[0], cells[1], rc);
    if (there)
        return build_image(b, cells, image);
    b->d->n_missing++;
    return build_refuse(b, row, cells[0], cells[1], "there is no such file");
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

int build_read_path(const char *root, const char *path, struct image *rgb)
{
    char full[BUILD_PATH];
    if (*path == '/' || !*root)
        return image_read(rgb, path);
    TRY(path_join(full, sizeof full, root, path));
    return image_read(rgb, full);
}

static int file_read_image(const struct dataset *d, int64_t row, struct image *rgb, uint8_t **alpha)
{
    BUG_ON(row < 0 || row >= d->n_images);
    if (alpha)
        *alpha = NULL;
    return build_read_path(d->path_base, d->image_cells[row * d->n_image_cols + 1], rgb);
}

int build_files(struct dataset_build *b, const char *root, size_t n, bool confined)
{
    char copy[BUILD_PATH];
    if (b->opt->images_root) {
        if (!path_is_dir(b->opt->images_root))
            FAIL(ERR_USAGE, "--images-root %s: no such folder", b->opt->images_root);
        root = b->opt->images_root;
        n = strlen(root);
    }
    if (n >= sizeof copy)
        FAIL(ERR_DATA, "path \"%.60s...\" is too long: expected at most %zu bytes", root, sizeof copy - 1);
    memcpy(copy, root, n);
    copy[n] = 0;
    b->root = b->d->path_base = build_keep(b, copy);
    if (!b->root)
        return ERR_MEMORY;
    b->confined = confined || b->opt->images_root;
    b->good_dir[0] = 0;
    b->tells_missing = true;
    b->d->read_image = file_read_image;
    return 0;
}

/* ---- names and lines ---------------------------------------------------------------------------------------- */

int names_add(struct names *s, const char *text, size_t n)
{
    if (s->n == s->cap) {
        int64_t cap = s->cap ? s->cap * 2 : 64;
        char **v = mem_grow(s->v, (size_t)s->cap * sizeof *v, (size_t)cap * sizeof *v);
        if (!v)
            return ERR_MEMORY;
        s->v = v;
        s->cap = cap;
    }
    char *copy = mem_alloc(n + 1);
    if (!copy)
        return ERR_MEMORY;
    memcpy(copy, text, n);
    copy[n] = 0;
    s->v[s->n++] = copy;
    return 0;
}

void names_free(struct names *s)
{
    for (int64_t i = 0; i < s->n; i++)
        mem_free(s->v[i]);
    mem_free(s->v);
    *s = (struct names){0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int names_list(struct names *out, const char *dir)
{
    DIR *h = opendir(dir);
    if (!h)
        return err_errno(ERR_DATA, "%s: cannot list the folder", dir);
    int rc = 0;
    for (struct dirent *e; rc == 0 && (errno = 0, e = readdir(h));)
        if (e->d_name[0] != '.')
            rc = names_add(out, e->d_name, strlen(e->d_name));
    if (rc == 0 && errno)
        rc = err_errno(ERR_DATA, "%s: cannot list the folder", dir);
    closedir(h);
    if (rc == 0 && out->n)
        qsort(out->v, (size_t)out->n, sizeof *out->v, compare_names);
    return rc;
}

static int take_lines(struct names *out, const struct map *m)
{
    const char *p = (const char *)m->data, *end = p + m->size;
    if (m->size >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
        p += 3;
    for (int64_t line = 1; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p)), *next = stop ? stop + 1 : end;
        if (!stop)
            stop = end;
        while (stop > p && strchr(" \t\r", stop[-1]) && stop[-1])
            stop--;
        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        if (stop - p > limit_get(LIMIT_LINE_BYTES))
            FAIL(ERR_DATA, "%s: line %lld is longer than %lld bytes (limit line-bytes)", m->path, (long long)line,
                 (long long)limit_get(LIMIT_LINE_BYTES));
        if (!utf8_ok(p, (size_t)(stop - p)) || memchr(p, 0, (size_t)(stop - p)))
            FAIL(ERR_DATA, "%s: line %lld is not UTF-8 text", m->path, (long long)line);
        if (stop > p)
            TRY(names_add(out, p, (size_t)(stop - p)));
        p = next;
    }
    return map_check(m);
}

int names_lines(struct names *out, const char *path)
{
    struct map m;
    TRY(map_open(&m, path));
    int rc = take_lines(out, &m);
    map_close(&m);
    return rc;
}
