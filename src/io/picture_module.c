/* io/picture_module.c: the door's picture functions; they load meridian_pictures.so when the first of them is called.
 *
 * With MERIDIAN_MODULES set only that folder is searched. Otherwise the folders near the library that this code is
 * part of, if it is one, and near the program: where an installation puts the module first, then where a build tree
 * has it. The module is loaded once a process, with all its symbols (a missing library is an error here, not a crash
 * later) and none of them visible to others; it stays, for glib and fontconfig cannot be unloaded. Nothing is kept of
 * a failure: the next call looks again.
 * Rejected: linking libvips (see picture_module.h), and leaving the search to dlopen (the loader's path does not know
 * our folders, and the current folder must never be one of them). */
#define _GNU_SOURCE /* dladdr1: which library is this code part of */
#include "io/picture_module.h"
#include "io/picture_confined.h"
#include "io/picture_kind.h"
#include "io/picture_mode.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct picture_module *loaded; /* under lock */

static const struct picture_host host = {err_set,   log_at,   bug_at,    limit_get, limit_name,
                                         mem_alloc, mem_free, str_add_n, utf8_ok};

struct search {
    char path[2048];  /* of the module, once found */
    char looked[640]; /* the folders where it is not; room for the advice must stay in the message */
};

static bool look_in(struct search *s, const char *folder, int n)
{
    size_t at = strlen(s->looked);
    int wrote = snprintf(s->path, sizeof(s->path), "%.*s/" PICTURE_MODULE_FILE, n, folder);
    if (wrote > 0 && (size_t)wrote < sizeof(s->path) && path_exists(s->path))
        return true;
    if (at + (size_t)n + 8 < sizeof(s->looked))
        snprintf(s->looked + at, sizeof(s->looked) - at, "%s%.*s", at ? ", " : "", n, folder);
    else if (!str_ends(s->looked, "..."))
        snprintf(s->looked + at, sizeof(s->looked) - at, "%s...", at ? ", " : "");
    return false;
}

/* `below` starts at the folder of the file `real`, a path without links; "../" goes up. */
static bool look_near(struct search *s, const char *real, const char *below)
{
    char folder[PATH_MAX + 64];
    const char *slash = strrchr(real, '/');
    int n = slash ? (int)(slash - real) : 0;
    if (below[0] == '/')
        return look_in(s, below, (int)strlen(below));
    for (; str_starts(below, "../"); below += 3)
        while (n > 0 && real[--n] != '/')
            continue;
    snprintf(folder, sizeof(folder), "%.*s%s%s", n, real, below[0] ? "/" : "", below);
    return look_in(s, folder, (int)strlen(folder));
}

static bool look_near_all(struct search *s, const char *file, const char *const *below)
{
    char real[PATH_MAX];
    bool found = false;
    if (!realpath(file, real))
        return false;
    for (; !found && *below; below++)
        found = look_near(s, real, *below);
    return found;
}

static bool find(struct search *s)
{
    /* PICTURES_INSTALLED: meson.build's libdir, from the program's folder or absolute */
    static const char *const near_library[] = {"", "meridian", "../io", NULL};
    static const char *const near_program[] = {"",          "../lib/meridian", PICTURES_INSTALLED, "../io",
                                               "../src/io", "../../src/io",    "../../../src/io",  NULL};
    const char *folder = getenv("MERIDIAN_MODULES");
    struct link_map *object = NULL;
    Dl_info info;
    if (folder && folder[0])
        return look_in(s, folder, (int)strnlen(folder, sizeof(s->path)));
    /* the program itself is an object without a name */
    if (dladdr1(&lock, &info, (void **)&object, RTLD_DL_LINKMAP) && object && object->l_name && object->l_name[0] &&
        look_near_all(s, object->l_name, near_library))
        return true;
    return look_near_all(s, "/proc/self/exe", near_program);
}

/* Under lock. */
static int load(void)
{
    struct search s = {{0}, {0}};
    if (!find(&s))
        FAIL(ERR_FAIL,
             "pictures cannot be read: " PICTURE_MODULE_FILE " was not found (looked in %s); reinstall or set "
             "MERIDIAN_MODULES",
             s.looked[0] ? s.looked : "no folder: /proc is not there");
    void *handle = dlopen(s.path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        /* of the module itself, or of a library that it needs? */
        FAIL(ERR_FAIL, "pictures cannot be read: %s; %s", why ? why : s.path,
             !why || str_starts(why, s.path) ? "reinstall or set MERIDIAN_MODULES"
                                             : "apt-get install libvips42 libpangocairo-1.0-0");
    }
    const struct picture_module *m = dlsym(handle, PICTURE_MODULE_SYMBOL);
    if (!m || m->version != PICTURE_MODULE_VERSION)
        FAIL(ERR_FAIL,
             "pictures cannot be read: %s: version %d, expected %d: it belongs to another build; reinstall or set "
             "MERIDIAN_MODULES",
             s.path, m ? m->version : 0, PICTURE_MODULE_VERSION);
    m->attach(&host);
    loaded = m;
    log_debug("pictures: %s", s.path);
    return 0;
}

static int module(const struct picture_module **out)
{
    int rc = 0;
    pthread_mutex_lock(&lock);
    if (!loaded)
        rc = load();
    *out = loaded;
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ---- the door ---- */

int image_start(const char *argv0)
{
    const struct picture_module *m;
    TRY(module(&m));
    return m->start(argv0);
}

/* By the confined worker, which lies beside the module. */
static int decode_confined(const struct image_sink *to, const void *bytes, size_t n, const char *name)
{
    struct search s = {{0}, {0}};
    char program[sizeof(s.path)];
    char *slash = find(&s) ? strrchr(s.path, '/') : NULL;
    if (!slash)
        FAIL(ERR_FAIL, "%s: " CONFINED_PROGRAM " was not found (looked in %s); reinstall or set MERIDIAN_MODULES", name,
             s.looked);
    *slash = 0;
    TRY(path_join(program, sizeof(program), s.path, CONFINED_PROGRAM));
    return picture_confined_decode(to, bytes, n, name, program);
}

int image_decode_memory(const struct image_sink *to, const void *bytes, size_t n, const char *name)
{
    const struct picture_module *m;
    if (picture_is_confined(picture_sniff(bytes, n)))
        return decode_confined(to, bytes, n, name);
    TRY(module(&m));
    return m->decode_here(to, bytes, n, name);
}

int image_read_memory(struct image *out, const void *bytes, size_t n, const char *name)
{
    struct collect c;
    struct image_sink to = picture_collect(&c);
    return picture_collected(&c, image_decode_memory(&to, bytes, n, name), out);
}

int image_decode(const struct image_sink *to, const char *path)
{
    struct map file;
    TRY(map_open(&file, path));
    int rc = image_decode_memory(to, file.data, file.size, path);
    if (map_shortened(&file)) /* says more than "broken picture" */
        rc = map_check(&file);
    map_close(&file);
    return rc;
}

int image_read(struct image *out, const char *path)
{
    struct collect c;
    struct image_sink to = picture_collect(&c);
    return picture_collected(&c, image_decode(&to, path), out);
}

static int to_rgb(struct image *out, struct image *im)
{
    int rc = image_to_rgb(im, GRAY16_HIGH_BYTE);
    if (rc < 0)
        image_free(im);
    else
        *out = *im;
    return rc;
}

int image_read_rgb(struct image *out, const char *path)
{
    struct image im;
    TRY(image_read(&im, path));
    return to_rgb(out, &im);
}

int image_read_rgb_memory(struct image *out, const void *bytes, size_t n, const char *name)
{
    struct image im;
    TRY(image_read_memory(&im, bytes, n, name));
    return to_rgb(out, &im);
}

static int thumbnail(struct image *out, const struct map *file, const char *path, int size)
{
    const struct picture_module *m;
    struct image im;
    TRY(module(&m));
    if (!picture_is_confined(picture_sniff(file->data, file->size)))
        return m->thumbnail_memory(out, file->data, file->size, path, size);
    TRY(image_read_memory(&im, file->data, file->size, path));
    return m->shrink(out, &im, path, size);
}

int image_thumbnail(struct image *out, const char *path, int size)
{
    struct map file;
    struct image im = {0};
    if (size < 1)
        FAIL(ERR_USAGE, "%s: thumbnail size %d, expected at least 1", path, size);
    TRY(map_open(&file, path));
    int rc = thumbnail(&im, &file, path, size);
    if (map_shortened(&file))
        rc = map_check(&file);
    map_close(&file);
    if (rc < 0)
        image_free(&im);
    else
        *out = im;
    return rc;
}

void image_free(struct image *im)
{
    mem_free(im->pixels);
    memset(im, 0, sizeof(*im));
}

int image_encode_png(struct str *out, const struct image *im)
{
    const struct picture_module *m;
    TRY(module(&m));
    return m->encode_png(out, im);
}

int image_encode_jpeg(struct str *out, const struct image *im, int quality)
{
    const struct picture_module *m;
    TRY(module(&m));
    return m->encode_jpeg(out, im, quality);
}

int image_write_png(const char *path, const struct image *im)
{
    struct str bytes = {0};
    int rc = image_encode_png(&bytes, im);
    if (rc < 0)
        err_while(rc, "writing %s", path);
    else
        rc = atomic_put(path, bytes.s, bytes.n);
    str_free(&bytes);
    return rc;
}

int image_draw_emoji(struct image *out, const char *utf8, int size, double margin, bool *drawn)
{
    const struct picture_module *m;
    TRY(module(&m));
    return m->draw_emoji(out, utf8, size, margin, drawn);
}

int image_emoji_font(char *out, size_t n)
{
    const struct picture_module *m;
    TRY(module(&m));
    return m->emoji_font(out, n);
}
