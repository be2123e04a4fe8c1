/* api/api_keep.c: a folder in memory: what an adapter was written as, so that it can be saved after its folder is gone.
 * An adapter's files are small; a few levels of folders (ensembles) are followed. */
#include "api/api_adapt.h"

#include "io/io.h"

#include <dirent.h>
#include <string.h>

enum { DEEPEST = 8 };

static int add_file(struct keep *k, const char *from, const char *name)
{
    struct map m;
    struct kept *more = mem_grow(k->file, (size_t)k->n * sizeof *more, (size_t)(k->n + 1) * sizeof *more);
    if (!more)
        return ERR_MEMORY;
    k->file = more;
    TRY(map_open(&m, from));
    struct kept f = {.name = mem_strdup(name), .n = m.size, .p = mem_alloc(m.size + 1)};
    int rc = f.name && f.p ? 0 : ERR_MEMORY;
    if (rc == 0) {
        memcpy(f.p, m.data, m.size);
        rc = map_check(&m);
    }
    map_close(&m);
    if (rc == 0) {
        k->file[k->n++] = f;
        return 0;
    }
    mem_free(f.name);
    mem_free(f.p);
    return rc;
}

static int read_folder(struct keep *k, const char *dir, const char *below, int depth);

static int read_entry(struct keep *k, const char *dir, const char *below, const char *entry, int depth)
{
    char name[1024], path[2048];
    if (!strcmp(entry, ".") || !strcmp(entry, ".."))
        return 0;
    if (*below)
        TRY(path_join(name, sizeof name, below, entry));
    else if ((size_t)snprintf(name, sizeof name, "%s", entry) >= sizeof name)
        FAIL(ERR_DATA, "%s: the name \"%.40s\" is too long", dir, entry);
    TRY(path_join(path, sizeof path, dir, name));
    return path_is_dir(path) ? read_folder(k, dir, name, depth - 1) : add_file(k, path, name);
}

static int read_folder(struct keep *k, const char *dir, const char *below, int depth)
{
    char path[2048];
    int rc = 0;
    if (depth == 0)
        FAIL(ERR_DATA, "%s: folders lie too deep in each other", dir);
    TRY(path_join(path, sizeof path, dir, *below ? below : "."));
    DIR *d = opendir(path);
    if (!d)
        return err_errno(ERR_FAIL, "%s: cannot open", path);
    for (const struct dirent *e; rc == 0 && (e = readdir(d));)
        rc = read_entry(k, dir, below, e->d_name, depth);
    closedir(d);
    return rc;
}

int keep_read(struct keep *k, const char *dir)
{
    return read_folder(k, dir, "", DEEPEST);
}

int keep_write(const struct keep *k, const char *dir)
{
    char path[2048];
    for (int64_t i = 0; i < k->n; i++) {
        TRY(path_join(path, sizeof path, dir, k->file[i].name));
        char *slash = strrchr(path, '/');
        *slash = 0;
        TRY(path_make_dirs(path));
        *slash = '/';
        TRY(atomic_put(path, k->file[i].p, k->file[i].n));
    }
    return 0;
}

void keep_free(struct keep *k)
{
    for (int64_t i = 0; i < k->n; i++) {
        mem_free(k->file[i].name);
        mem_free(k->file[i].p);
    }
    mem_free(k->file);
    *k = (struct keep){0};
}
