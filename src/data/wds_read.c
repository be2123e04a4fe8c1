/* data/wds_read.c: one picture out of a shard, in any order.
 *
 * Of a plain tar the place of every picture is known: open, pread, close, no lock. Of a packed one nothing is known but
 * the stream, so the shard's pictures are unpacked into a temporary file that has no name (nothing is left behind,
 * whatever ends the process) and read from there; the files stay while they fit into limit shard-cache, the least
 * recently used goes first. A pass in the order of the rows unpacks each shard once; a shuffled one too, as long as all
 * of them fit, and dataset_wds.c warns when they do not. Rejected: keeping the unpacked bytes in memory, which nobody
 * has promised us. */
#include "data/wds.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_CACHED = 64 };

struct wds_cache {
    pthread_mutex_t lock;
    int64_t bytes;
    uint64_t tick;
    int n_files;
};

const char *wds_ending(const char *name)
{
    const char *slash = strrchr(name, '/'), *dot = strchr(slash ? slash + 1 : name, '.');
    return dot && dot[1] && dot != (slash ? slash + 1 : name) ? dot + 1 : NULL;
}

bool wds_is_picture(const char *ending)
{
    static const char *const endings[] = {"jpg", "jpeg", "png", "webp"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (!strcasecmp(ending, endings[i]))
            return true;
    return false;
}

int wds_cache_open(struct wds *w)
{
    w->cache = mem_calloc(1, sizeof *w->cache);
    if (!w->cache)
        return ERR_MEMORY;
    pthread_mutex_init(&w->cache->lock, NULL);
    return 0;
}

void wds_cache_close(struct wds *w)
{
    for (int64_t i = 0; i < w->n_shards; i++)
        if (w->shards[i].fd >= 0)
            close(w->shards[i].fd);
    if (w->cache)
        pthread_mutex_destroy(&w->cache->lock);
    mem_free(w->cache);
    w->cache = NULL;
}

/* ---- the cache (under its lock) ----------------------------------------------------------------------------- */

static void drop_oldest(struct wds *w)
{
    struct wds_shard *oldest = NULL;
    for (int64_t i = 0; i < w->n_shards; i++)
        if (w->shards[i].fd >= 0 && (!oldest || w->shards[i].used < oldest->used))
            oldest = &w->shards[i];
    BUG_ON(!oldest);
    close(oldest->fd);
    oldest->fd = -1;
    w->cache->bytes -= oldest->bytes;
    w->cache->n_files--;
}

static int nameless_file(int *fd)
{
    char name[BUILD_PATH];
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = path_is_dir("/var/tmp") ? "/var/tmp" : "/tmp";
    TRY(path_join(name, sizeof name, dir, "meridian-shard-XXXXXX"));
    *fd = mkstemp(name);
    if (*fd < 0)
        return err_errno(ERR_FAIL, "%s: cannot make a temporary file (TMPDIR names another folder)", dir);
    unlink(name);
    fcntl(*fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

static int unpack(const struct wds_shard *s, int fd)
{
    struct tar *t = NULL;
    struct tar_member m;
    int64_t bytes = 0;
    TRY(tar_open(&t, s->path));
    int rc = 1;
    while (bytes < s->bytes && (rc = tar_next(t, &m)) > 0) {
        const char *ending = m.kind == TAR_FILE ? wds_ending(m.name) : NULL;
        if (!ending || !wds_is_picture(ending))
            continue;
        rc = tar_copy(t, fd);
        if (rc < 0)
            break;
        bytes += m.size;
    }
    tar_close(&t);
    if (rc >= 0 && bytes != s->bytes)
        FAIL(ERR_DATA, "%s: has changed since it was opened; start again", s->path);
    return rc < 0 ? rc : 0;
}

static int cached(struct wds *w, struct wds_shard *s)
{
    int64_t most = limit_get(LIMIT_SHARD_CACHE);
    int fd;
    s->used = ++w->cache->tick;
    if (s->fd >= 0)
        return 0;
    if (s->bytes > most)
        FAIL(ERR_DATA,
             "%s: its pictures need %lld bytes, more than limit shard-cache (%lld); unpack the shard, or raise "
             "the limit",
             s->path, (long long)s->bytes, (long long)most);
    while (w->cache->n_files > 0 && (w->cache->n_files >= MAX_CACHED || w->cache->bytes + s->bytes > most))
        drop_oldest(w);
    TRY(nameless_file(&fd));
    int rc = unpack(s, fd);
    if (rc < 0) {
        close(fd);
        return err_while(rc, "unpacking %s", s->path);
    }
    s->fd = fd;
    w->cache->bytes += s->bytes;
    w->cache->n_files++;
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static int read_at(int fd, const struct wds_place *p, uint8_t *to, const char *path)
{
    for (int64_t got = 0; got < p->size;) {
        ssize_t k = pread(fd, to + got, (size_t)(p->size - got), (off_t)(p->offset + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(ERR_DATA, "%s: cannot read", path);
        if (k == 0)
            FAIL(ERR_DATA, "%s: is shorter than when it was opened: %lld bytes are missing at byte %lld", path,
                 (long long)(p->size - got), (long long)(p->offset + got));
        got += k;
    }
    return 0;
}

static int read_plain(const struct wds_shard *s, const struct wds_place *p, uint8_t *to)
{
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(ERR_DATA, "%s: cannot open", s->path);
    int rc = read_at(fd, p, to, s->path);
    close(fd);
    return rc;
}

static int read_packed(struct wds *w, struct wds_shard *s, const struct wds_place *p, uint8_t *to)
{
    pthread_mutex_lock(&w->cache->lock);
    int rc = cached(w, s);
    if (rc == 0)
        rc = read_at(s->fd, p, to, s->path);
    pthread_mutex_unlock(&w->cache->lock);
    return rc;
}

int wds_read_image(const struct dataset *d, int64_t row, struct image *rgb, uint8_t **alpha)
{
    BUG_ON(row < 0 || row >= d->n_images);
    struct wds *w = d->own;
    const struct wds_place *p = &w->places[row];
    struct wds_shard *s = &w->shards[p->shard];
    if (alpha)
        *alpha = NULL;
    uint8_t *bytes = mem_alloc((size_t)p->size + 1);
    if (!bytes)
        return ERR_MEMORY;
    int rc = s->packed ? read_packed(w, s, p, bytes) : read_plain(s, p, bytes);
    if (rc == 0)
        rc = image_read_memory(rgb, bytes, (size_t)p->size, d->image_cells[row * d->n_image_cols + 1]);
    mem_free(bytes);
    return rc;
}
