/* io/path.c: paths and names.
 *
 * Names that come out of files are data of a stranger: path_check_name accepts one relative path that stays below its
 * folder and prints safely on a terminal, nothing else. Rejected: realpath() and comparing prefixes, which asks the
 * file system about paths we have not agreed to touch. */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_BYTES 4096

bool path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int path_join(char *out, size_t n, const char *dir, const char *name)
{
    size_t d = strlen(dir), m = strlen(name);
    bool slash = d > 0 && dir[d - 1] != '/';
    if (d >= n || m >= n || d + m + slash >= n)
        FAIL(ERR_DATA, "path \"%.60s…/%.60s\" is too long: expected at most %zu bytes", dir, name, n - 1);
    memmove(out, dir, d);
    if (slash)
        out[d++] = '/';
    memmove(out + d, name, m + 1);
    return 0;
}

static int check_component(const char *p, size_t len, const char *shown, const char *file)
{
    if (len == 0)
        FAIL(ERR_DATA, "%s: name \"%s\" is absolute or has an empty part; expected a path below the folder", file,
             shown);
    if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
        FAIL(ERR_DATA, "%s: name \"%s\" contains \"%.*s\"; expected a path below the folder", file, shown, (int)len, p);
    if (len > 255)
        FAIL(ERR_DATA, "%s: name \"%s\" has a part of %zu bytes, expected at most 255", file, shown, len);
    return 0;
}

int path_check_name(const char *name, const char *file)
{
    char shown[160];
    str_safe(shown, sizeof(shown), name);
    size_t n = strlen(name), start = 0;
    if (n == 0)
        FAIL(ERR_DATA, "%s: an empty file name", file);
    if (n >= PATH_BYTES)
        FAIL(ERR_DATA, "%s: name \"%s\" has %zu bytes, expected at most %d", file, shown, n, PATH_BYTES - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            FAIL(ERR_DATA, "%s: name \"%s\" contains a control byte", file, shown);
    for (size_t i = 0; i <= n; i++) {
        if (i < n && name[i] != '/')
            continue;
        TRY(check_component(name + start, i - start, shown, file));
        start = i + 1;
    }
    return 0;
}

int path_make_dirs(const char *path)
{
    char part[PATH_BYTES];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(part))
        FAIL(ERR_FAIL, "cannot make folder \"%.100s\": expected 1 to %zu bytes, found %zu", path, sizeof(part) - 1, n);
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) == 0)
            continue;
        int why = errno; /* looking whether it is there sets another */
        if (path_is_dir(part))
            continue;
        if (why == EEXIST)
            FAIL(ERR_FAIL, "%s: expected a folder, found a file; move it or choose another place", part);
        errno = why;
        return err_errno(ERR_FAIL, "%s: cannot make this folder", part);
    }
    return 0;
}

int path_sum(char hex[65], const char *path, int64_t *size)
{
    struct map m;
    struct sha256 h;
    TRY(map_open(&m, path));
    sha256_start(&h);
    sha256_add(&h, m.data, m.size);
    sha256_hex(&h, hex);
    if (size)
        *size = (int64_t)m.size;
    int rc = map_check(&m);
    map_close(&m);
    return rc;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int flag UNUSED, struct FTW *at UNUSED)
{
    return remove(path);
}

int path_remove_tree(const char *path)
{
    struct stat st;
    BUG_ON(path[0] == '\0' || strcmp(path, "/") == 0);
    if (lstat(path, &st) != 0 && errno == ENOENT)
        return 0;
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        return err_errno(ERR_FAIL, "%s: cannot remove", path);
    return 0;
}

int path_cache(char *out, size_t n, const char *name)
{
    char base[PATH_BYTES];
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/') /* the specification says to ignore a relative one */
        TRY(path_join(base, sizeof(base), xdg, "meridian"));
    else if (home && home[0] == '/')
        TRY(path_join(base, sizeof(base), home, ".cache/meridian"));
    else
        FAIL(ERR_FAIL, "no place for the cache: neither XDG_CACHE_HOME nor HOME is set to an absolute path");
    return path_join(out, n, base, name);
}

int path_check_output(const char *path, bool force)
{
    struct stat st;
    if (force || lstat(path, &st) != 0)
        return 0;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
        return 0; /* a device or pipe is written through, nothing is lost */
    FAIL(ERR_EXISTS, "%s: exists already; give another name, or --force to replace it", path);
}

int path_check_space(const char *folder, int64_t bytes)
{
    struct statvfs v;
    if (statvfs(folder, &v) != 0)
        return 0; /* no answer: writing will tell */
    double there = (double)v.f_bavail * (double)v.f_frsize;
    if ((double)bytes > there)
        FAIL(ERR_SPACE, "%s: %.1f MB will be written, %.1f MB are free; free some space or choose another place",
             folder, (double)bytes / 1e6, there / 1e6);
    return 0;
}
