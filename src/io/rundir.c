/* io/rundir.c: the folder of one run.
 *
 * config.json says what was asked, run.jsonl what happened (one JSON object a line, appended with O_APPEND in one
 * write), lock who is writing. The lock is flock on a file that is never removed, so it dies with its owner, however
 * that dies, and removing cannot race with locking; the pid inside is only for the message. A run killed in the middle
 * of a write leaves a torn last line, which resuming cuts off; a full disk cuts it off at once.
 * Rejected: a lock file whose existence is the lock (survives kill -9). */
#include "io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 1024

struct rundir {
    int lock, events;
    pthread_mutex_t mutex;
    char path[PATH_BYTES];
    char log[PATH_BYTES + 16];
};

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    bool empty = true;
    if (!d)
        return false;
    for (struct dirent *e = readdir(d); e && empty; e = readdir(d))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty;
}

static int take_lock(struct rundir *r)
{
    char name[PATH_BYTES + 16], owner[128] = "", now[32];
    TRY(path_join(name, sizeof(name), r->path, "lock"));
    r->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock < 0)
        return err_errno(ERR_FAIL, "%s: cannot open the lock", name);
    if (flock(r->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return err_errno(ERR_FAIL, "%s: cannot lock", name);
        ssize_t n = pread(r->lock, owner, sizeof(owner) - 1, 0);
        owner[n > 0 ? n : 0] = '\0';
        owner[strcspn(owner, "\r\n")] = '\0';
        FAIL(ERR_LOCKED, "%s: another process is writing this run (%s); wait for it or choose another folder", r->path,
             owner[0] ? owner : "pid unknown");
    }
    clock_utc(now);
    int n = snprintf(owner, sizeof(owner), "pid %ld since %s\n", (long)getpid(), now);
    if (ftruncate(r->lock, 0) != 0 || pwrite(r->lock, owner, (size_t)n, 0) != n)
        return err_errno(ERR_FAIL, "%s: cannot write", name);
    return 0;
}

/* Cut off what follows the last newline, the trace of a run killed while writing. */
static int repair_log(int fd, const char *name)
{
    char block[4096];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(ERR_FAIL, "%s: cannot read its size", name);
    off_t end = st.st_size, keep = 0;
    while (end > 0 && keep == 0) {
        off_t from = end > (off_t)sizeof(block) ? end - (off_t)sizeof(block) : 0;
        ssize_t n = pread(fd, block, (size_t)(end - from), from);
        if (n <= 0)
            return err_errno(ERR_FAIL, "%s: cannot read", name);
        for (ssize_t i = n; i > 0 && keep == 0; i--)
            if (block[i - 1] == '\n')
                keep = from + i;
        end = from;
    }
    if (keep == st.st_size)
        return 0;
    log_warn("%s: the last line was torn (%" PRId64 " bytes), cut off", name, (int64_t)(st.st_size - keep));
    if (ftruncate(fd, keep) != 0)
        return err_errno(ERR_FAIL, "%s: cannot cut off the torn last line", name);
    return 0;
}

static int check_place(const char *path, bool resume, bool force)
{
    char name[PATH_BYTES + 16];
    bool there = path_exists(path);
    if (there && !path_is_dir(path))
        FAIL(ERR_EXISTS, "%s: expected a folder for the run, found a file", path);
    TRY(path_join(name, sizeof(name), path, "run.jsonl"));
    if (resume && !path_exists(name))
        FAIL(ERR_DATA, "%s: no run to resume here (run.jsonl is missing)", path);
    if (!there || resume || force || is_empty(path))
        return 0;
    FAIL(ERR_EXISTS, "%s: exists already; --resume goes on, --force starts anew, or give another name", path);
}

static int open_into(struct rundir *r, const char *path, bool resume, bool force, const json_t *config)
{
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(r->path))
        FAIL(ERR_FAIL, "run folder \"%.80s\" has %zu bytes, expected 1 to %d", path, n, PATH_BYTES - 1);
    memcpy(r->path, path, n + 1);
    int place = check_place(path, resume, force);
    if (place < 0) { /* when somebody is writing there, that is the better answer */
        char name[PATH_BYTES + 16], why[512];
        snprintf(why, sizeof(why), "%s", err_text());
        if (place == ERR_EXISTS && path_join(name, sizeof(name), path, "lock") == 0 && path_exists(name))
            if (take_lock(r) == ERR_LOCKED)
                return ERR_LOCKED;
        return err_set(place, "%s", why);
    }
    TRY(path_make_dirs(path));
    TRY(take_lock(r));
    TRY(path_join(r->log, sizeof(r->log), path, "run.jsonl"));
    r->events = open(r->log, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | (resume ? 0 : O_TRUNC), 0666);
    if (r->events < 0)
        return err_errno(ERR_FAIL, "%s: cannot open", r->log);
    if (resume)
        return repair_log(r->events, r->log);
    if (!config)
        return 0;
    /* jansson counts references in what it calls const, too */
    return atomic_put_json(r->path, "config.json", json_incref((json_t *)(uintptr_t)config), JSON_INDENT(2));
}

int rundir_open(struct rundir **out, const char *path, bool resume, bool force, const json_t *config)
{
    struct rundir *r = mem_calloc(1, sizeof(*r));
    if (!r)
        return ERR_MEMORY;
    r->lock = r->events = -1;
    pthread_mutex_init(&r->mutex, NULL);
    int rc = open_into(r, path, resume, force, config);
    if (rc < 0) {
        rundir_close(&r);
        return rc;
    }
    *out = r;
    return 0;
}

static int append(struct rundir *r, const char *p, size_t n)
{
    struct stat st;
    size_t done = 0;
    if (fstat(r->events, &st) != 0)
        return err_errno(ERR_FAIL, "%s: cannot read its size", r->log);
    while (done < n) {
        ssize_t k = write(r->events, p + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            int rc = err_errno(ERR_FAIL, "%s: cannot append an event", r->log);
            if (done > 0 && ftruncate(r->events, st.st_size) != 0)
                return err_while(rc, "and the torn line stays");
            return rc;
        }
        done += (size_t)k;
    }
    return 0;
}

int rundir_event(struct rundir *r, json_t *event)
{
    char now[32];
    struct str b = {0};
    int rc = 0;
    clock_utc(now);
    if (!json_is_object(event)) /* what jansson makes of a NaN */
        rc = err_set(ERR_FAIL, "%s: an event is no JSON object (a number that is not finite?)", r->log);
    else if (json_object_set_new(event, "time", json_string(now)) != 0 || str_add_json(&b, event, JSON_COMPACT) != 0)
        rc = err_set(ERR_MEMORY, "%s: an event cannot be written as JSON", r->log);
    str_add_c(&b, '\n');
    if (rc == 0 && b.failed)
        rc = err_set(ERR_MEMORY, "%s: no memory for an event", r->log);
    if (rc == 0) {
        pthread_mutex_lock(&r->mutex);
        rc = append(r, b.s, b.n);
        pthread_mutex_unlock(&r->mutex);
    }
    str_free(&b);
    json_decref(event);
    return rc;
}

const char *rundir_path(const struct rundir *r)
{
    return r->path;
}

void rundir_close(struct rundir **r)
{
    if (!*r)
        return;
    if ((*r)->events >= 0) {
        fsync((*r)->events);
        close((*r)->events);
    }
    if ((*r)->lock >= 0)
        close((*r)->lock); /* gives the lock back */
    pthread_mutex_destroy(&(*r)->mutex);
    mem_free(*r);
    *r = NULL;
}
