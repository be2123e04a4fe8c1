/* io/workdir.c: a long job in pieces: each piece is a folder that is whole or absent, and any process may make it.
 *
 * A work folder holds plan.json (what the job is), one folder a finished piece with piece.json (SHA-256 of its files
 * and of itself), and three kinds of flock files: `gate` is held for the moment of coming in or clearing up, `lock` as
 * long as somebody works here (alone: exclusive, a member of a job array: shared), NAME.lock while a piece is being
 * made. Locks are flock, so they die with their owner however that dies; a piece left half made (NAME.tmp) belongs to
 * nobody once its lock is free, whatever process number it had and on whatever machine. Coming in compares the inode of
 * the gate with that of its name, because the last one out removes the folder.
 * Rejected: temporaries named by process number, as atomic.c has them: numbers of two machines say nothing to each
 * other; a marker file a piece in work: it survives kill -9. */
#include "io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, NAME_BYTES = 64, ATTEMPTS = 1000 };

struct workdir {
    char path[PATH_BYTES];
    int lock;  /* held while we are here */
    int lease; /* of the piece in work, or -1 */
    char piece[NAME_BYTES], tmp[PATH_BYTES + NAME_BYTES];
    bool alone, resumed;
};

/* ---- small things ---- */

static int child(char out[PATH_BYTES + NAME_BYTES], const struct workdir *w, const char *name, const char *ending)
{
    int n = snprintf(out, PATH_BYTES + NAME_BYTES, "%s/%s%s", w->path, name, ending);
    if (n < 0 || n >= PATH_BYTES + NAME_BYTES)
        FAIL(ERR_FAIL, "path \"%.80s/%.40s%s\" is too long", w->path, name, ending);
    return 0;
}

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(ERR_FAIL, "%s: cannot open the folder to make the write durable", path);
    int rc = 0;
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
        rc = err_errno(ERR_FAIL, "%s: cannot make the folder durable", path);
    close(fd);
    return rc;
}

static int open_lock(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
}

/* The file we hold is still the one of that name: nobody cleared the folder in between. */
static bool still_there(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* ---- coming in ---- */

/* A folder that is not empty and has neither gate nor plan is somebody else's. */
static int check_ours(const struct workdir *w)
{
    char gate[PATH_BYTES + NAME_BYTES], plan[PATH_BYTES + NAME_BYTES];
    TRY(child(gate, w, "gate", ""));
    TRY(child(plan, w, "plan", ".json"));
    if (!path_exists(w->path) || path_exists(gate) || path_exists(plan))
        return 0;
    if (!path_is_dir(w->path))
        FAIL(ERR_EXISTS, "%s: expected a folder for unfinished work, found a file; move it away", w->path);
    DIR *d = opendir(w->path);
    bool empty = true;
    for (struct dirent *e = d ? readdir(d) : NULL; e && empty; e = readdir(d))
        empty = e->d_name[0] == '.';
    if (d)
        closedir(d);
    if (!empty)
        FAIL(ERR_EXISTS,
             "%s: this folder is no unfinished work of meridian (no plan.json), and its name is needed; "
             "move it away",
             w->path);
    return 0;
}

/* The gate, held; everybody holds it for a moment only. */
static int take_gate(struct workdir *w, bool make, int *out)
{
    char path[PATH_BYTES + NAME_BYTES];
    TRY(child(path, w, "gate", ""));
    for (int i = 0; i < ATTEMPTS; i++) {
        if (make) {
            TRY(check_ours(w));
            TRY(path_make_dirs(w->path));
        }
        int fd = open_lock(path);
        if (fd < 0 && errno == ENOENT && make)
            continue; /* removed between the two calls */
        if (fd < 0)
            return err_errno(ERR_FAIL, "%s: cannot open", path);
        while (flock(fd, LOCK_EX) != 0)
            if (errno != EINTR) {
                int rc = err_errno(ERR_FAIL, "%s: cannot lock (a file system without locks?)", path);
                close(fd);
                return rc;
            }
        if (still_there(fd, path)) {
            *out = fd;
            return 0;
        }
        close(fd);
        if (!make)
            FAIL(ERR_FAIL, "%s: the folder was removed by another process", w->path);
    }
    FAIL(ERR_FAIL, "%s: the folder is made and removed by other processes again and again", w->path);
}

static int refuse_locked(const struct workdir *w)
{
    char owner[192] = "", shown[400];
    ssize_t n = pread(w->lock, owner, sizeof(owner) - 1, 0);
    owner[n > 0 ? n : 0] = '\0';
    owner[strcspn(owner, "\r\n")] = '\0';
    str_safe(shown, sizeof(shown), owner[0] ? owner : "pid unknown");
    FAIL(ERR_LOCKED, "%s: another process is at work here (%s); wait for it or choose another output", w->path, shown);
}

static int note_owner(const struct workdir *w)
{
    char owner[192], now[32], host[64] = "";
    clock_utc(now);
    gethostname(host, sizeof(host) - 1);
    int n = snprintf(owner, sizeof(owner), "pid %ld on %s since %s\n", (long)getpid(), host[0] ? host : "?", now);
    if (ftruncate(w->lock, 0) != 0 || pwrite(w->lock, owner, (size_t)n, 0) != n)
        return err_errno(ERR_FAIL, "%s/lock: cannot write", w->path);
    return 0;
}

/* Removes everything but gate and lock, the plan last: a folder without a plan is new. The lock must be exclusive. */
static int clear(const struct workdir *w)
{
    char path[PATH_BYTES + NAME_BYTES];
    DIR *d = opendir(w->path);
    if (!d)
        return err_errno(ERR_FAIL, "%s: cannot read the folder", w->path);
    int rc = 0;
    for (struct dirent *e = readdir(d); e && rc == 0; e = readdir(d)) {
        const char *s = e->d_name;
        if (!strcmp(s, ".") || !strcmp(s, "..") || !strcmp(s, "gate") || !strcmp(s, "lock") || !strcmp(s, "plan.json"))
            continue;
        if (strlen(s) >= NAME_BYTES)
            continue; /* none of ours */
        rc = child(path, w, s, "");
        if (rc == 0)
            rc = path_remove_tree(path);
    }
    closedir(d);
    TRY(rc);
    TRY(child(path, w, "plan", ".json"));
    if (unlink(path) != 0 && errno != ENOENT)
        return err_errno(ERR_FAIL, "%s: cannot remove", path);
    return 0;
}

static int put_json(const char *folder, const char *name, const json_t *o)
{
    return atomic_put_json(folder, name, json_incref((json_t *)(uintptr_t)o), JSON_INDENT(2) | JSON_SORT_KEYS);
}

/* The gate is held. What stands there must agree, or is cleared away with force. */
static int settle_plan(struct workdir *w, bool force, const json_t *plan, workdir_agree agree)
{
    char path[PATH_BYTES + NAME_BYTES];
    json_t *old = NULL;
    TRY(child(path, w, "plan", ".json"));
    if (path_exists(path)) {
        int rc = json_read_file(&old, path);
        if (rc == 0)
            rc = agree(old, plan, w->path);
        else
            rc = err_while(rc, "reading the plan of unfinished work; --force starts anew");
        json_decref(old);
        if (rc == 0) {
            w->resumed = true;
            return 0;
        }
        if (!force || rc == ERR_MEMORY)
            return rc;
        err_clear();
        log_warn("%s: unfinished work of another kind is thrown away", w->path);
    }
    if (flock(w->lock, LOCK_EX | LOCK_NB) != 0)
        return refuse_locked(w);
    TRY(clear(w));
    TRY(put_json(w->path, "plan.json", plan));
    if (!w->alone && flock(w->lock, LOCK_SH | LOCK_NB) != 0)
        return refuse_locked(w);
    return 0;
}

static int come_in(struct workdir *w, bool force, const json_t *plan, workdir_agree agree)
{
    char path[PATH_BYTES + NAME_BYTES];
    TRY(child(path, w, "lock", ""));
    w->lock = open_lock(path);
    if (w->lock < 0)
        return err_errno(ERR_FAIL, "%s: cannot open the lock", path);
    if (flock(w->lock, (w->alone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? refuse_locked(w) : err_errno(ERR_FAIL, "%s: cannot lock", path);
    TRY(settle_plan(w, force, plan, agree));
    return note_owner(w);
}

int workdir_open(struct workdir **out, const char *path, bool alone, bool force, const json_t *plan,
                 workdir_agree agree)
{
    int gate = -1;
    struct workdir *w = mem_calloc(1, sizeof(*w));
    if (!w)
        return ERR_MEMORY;
    w->lock = w->lease = -1;
    w->alone = alone;
    int rc = 0;
    if (strlen(path) >= sizeof(w->path))
        rc = err_set(ERR_FAIL, "path \"%.80s…\" is too long", path);
    else
        strcpy(w->path, path);
    if (rc == 0)
        rc = take_gate(w, true, &gate);
    if (rc == 0)
        rc = come_in(w, force, plan, agree);
    if (gate >= 0)
        close(gate);
    if (rc < 0) {
        if (w->lock >= 0)
            close(w->lock);
        mem_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

bool workdir_resumed(const struct workdir *w)
{
    return w->resumed;
}

/* ---- pieces ---- */

int workdir_path(char *out, size_t n, const struct workdir *w, const char *piece, const char *file)
{
    char folder[PATH_BYTES + NAME_BYTES];
    TRY(child(folder, w, piece, ""));
    return path_join(out, n, folder, file);
}

bool workdir_has(const struct workdir *w, const char *piece)
{
    char path[PATH_BYTES + 2 * NAME_BYTES];
    return workdir_path(path, sizeof(path), w, piece, "piece.json") == 0 && path_exists(path);
}

/* Takes the lock of a piece. *got is false when another process has it. */
static int take_lease(struct workdir *w, const char *piece, bool *got)
{
    char path[PATH_BYTES + NAME_BYTES];
    BUG_ON(w->lease >= 0 || strlen(piece) >= NAME_BYTES - 8);
    *got = false;
    TRY(child(path, w, piece, ".lock"));
    int fd = open_lock(path);
    if (fd < 0)
        return err_errno(ERR_FAIL, "%s: cannot open the lock of a piece", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int rc = errno == EWOULDBLOCK ? 0 : err_errno(ERR_FAIL, "%s: cannot lock", path);
        close(fd);
        return rc;
    }
    w->lease = fd;
    snprintf(w->piece, sizeof(w->piece), "%s", piece);
    *got = true;
    return 0;
}

static void give_lease(struct workdir *w)
{
    if (w->lease >= 0)
        close(w->lease);
    w->lease = -1;
    w->tmp[0] = '\0';
}

int workdir_begin(struct workdir *w, const char *piece, const char **tmp)
{
    bool got;
    *tmp = NULL;
    TRY(take_lease(w, piece, &got));
    if (!got)
        return 0;
    if (workdir_has(w, piece)) { /* finished since we looked */
        give_lease(w);
        return 0;
    }
    int rc = child(w->tmp, w, piece, ".tmp");
    if (rc == 0)
        rc = path_remove_tree(w->tmp);
    if (rc == 0 && mkdir(w->tmp, 0777) != 0)
        rc = err_errno(ERR_FAIL, "%s: cannot make this folder", w->tmp);
    if (rc < 0) {
        give_lease(w);
        return rc;
    }
    *tmp = w->tmp;
    return 0;
}

void workdir_abort(struct workdir *w)
{
    char why[512];
    if (w->tmp[0]) {
        snprintf(why, sizeof(why), "%s", err_text());
        if (path_remove_tree(w->tmp) < 0) /* the next one to take the lease removes it */
            err_set(ERR_FAIL, "%s", why);
    }
    give_lease(w);
}

static int file_sum(const char *folder, const char *name, char hex[65])
{
    char path[PATH_BYTES + 2 * NAME_BYTES];
    TRY(path_join(path, sizeof(path), folder, name));
    return path_sum(hex, path, NULL);
}

/* SHA-256 of an object without its field "sum". */
static int own_sum(json_t *o, char hex[65])
{
    struct str b = {0};
    struct sha256 h;
    json_t *copy = json_copy(o);
    json_object_del(copy, "sum");
    int rc = copy ? str_add_json(&b, copy, JSON_COMPACT | JSON_SORT_KEYS) : ERR_MEMORY;
    if (rc < 0 || b.failed)
        rc = err_set(ERR_MEMORY, "no memory for the checksum of a piece");
    if (rc == 0) {
        sha256_start(&h);
        sha256_add(&h, b.s, b.n);
        sha256_hex(&h, hex);
    }
    json_decref(copy);
    str_free(&b);
    return rc;
}

static int seal(const struct workdir *w, json_t *o, const char *const *files, int n)
{
    char hex[65];
    json_t *sums = json_object();
    int rc = sums ? 0 : ERR_MEMORY;
    for (int i = 0; rc == 0 && i < n; i++) {
        rc = file_sum(w->tmp, files[i], hex);
        if (rc == 0 && json_object_set_new(sums, files[i], json_string(hex)) < 0)
            rc = ERR_MEMORY;
    }
    if (rc == 0 && json_object_set(o, "checksums", sums) < 0)
        rc = ERR_MEMORY;
    json_decref(sums);
    if (rc == ERR_MEMORY)
        FAIL(ERR_MEMORY, "no memory for the checksums of a piece");
    TRY(rc);
    TRY(own_sum(o, hex));
    if (json_object_set_new(o, "sum", json_string(hex)) < 0)
        FAIL(ERR_MEMORY, "no memory for the checksums of a piece");
    return put_json(w->tmp, "piece.json", o);
}

static int publish(struct workdir *w, json_t *o, const char *const *files, int n)
{
    char path[PATH_BYTES + NAME_BYTES];
    TRY(seal(w, o, files, n));
    TRY(child(path, w, w->piece, ""));
    if (rename(w->tmp, path) != 0)
        return err_errno(ERR_FAIL, "%s: cannot put the finished piece in its place", path);
    w->tmp[0] = '\0';
    return sync_folder(w->path);
}

int workdir_commit(struct workdir *w, json_t *manifest, const char *const *files, int n)
{
    int rc = manifest ? publish(w, manifest, files, n) : err_set(ERR_MEMORY, "no memory for a piece's manifest");
    json_decref(manifest);
    workdir_abort(w);
    return rc;
}

static int check_files(const struct workdir *w, const char *piece, json_t *o, const char *const *files, int n)
{
    char folder[PATH_BYTES + NAME_BYTES], hex[65];
    TRY(own_sum(o, hex));
    const char *said = json_string_value(json_object_get(o, "sum"));
    if (!said || strcmp(said, hex) != 0)
        FAIL(ERR_DATA, "%s/%s/piece.json: its own checksum is wrong", w->path, piece);
    TRY(child(folder, w, piece, ""));
    for (int i = 0; i < n; i++) {
        TRY(file_sum(folder, files[i], hex));
        said = json_string_value(json_object_get(json_object_get(o, "checksums"), files[i]));
        if (!said || strcmp(said, hex) != 0)
            FAIL(ERR_DATA, "%s/%s: SHA-256 %s, expected %s as piece.json says", folder, files[i], hex,
                 said ? said : "none");
    }
    return 0;
}

int workdir_check(const struct workdir *w, const char *piece, const char *const *files, int n, json_t **manifest)
{
    char path[PATH_BYTES + 2 * NAME_BYTES];
    json_t *o = NULL;
    TRY(workdir_path(path, sizeof(path), w, piece, "piece.json"));
    TRY(json_read_file(&o, path));
    int rc = json_is_object(o) ? check_files(w, piece, o, files, n) : err_set(ERR_DATA, "%s: expected an object", path);
    if (rc < 0) {
        json_decref(o);
        return rc;
    }
    *manifest = o;
    return 0;
}

int workdir_drop(struct workdir *w, const char *piece)
{
    char path[PATH_BYTES + NAME_BYTES];
    bool got;
    TRY(take_lease(w, piece, &got));
    if (!got)
        FAIL(ERR_LOCKED, "%s/%s: another process is at work on this piece; start again when it has ended", w->path,
             piece);
    int rc = child(w->tmp, w, piece, ".tmp");
    if (rc == 0)
        rc = path_remove_tree(w->tmp);
    if (rc == 0)
        rc = child(path, w, piece, "");
    /* moved first: a piece half removed must not look finished */
    if (rc == 0 && rename(path, w->tmp) != 0 && errno != ENOENT)
        rc = err_errno(ERR_FAIL, "%s: cannot move the damaged piece away", path);
    workdir_abort(w);
    return rc;
}

int workdir_claim(struct workdir *w, const char *name, bool *got)
{
    return take_lease(w, name, got);
}

/* ---- going out ---- */

int workdir_finished(struct workdir *w)
{
    char path[PATH_BYTES + NAME_BYTES];
    TRY(child(path, w, "finished", ""));
    return atomic_put(path, "", 0);
}

bool workdir_is_finished(const struct workdir *w)
{
    char path[PATH_BYTES + NAME_BYTES];
    return child(path, w, "finished", "") == 0 && path_exists(path);
}

/* Everything goes when nobody is left inside; in an order that a kill at any point leaves to the next to repeat. */
static int remove_all(struct workdir *w)
{
    char path[PATH_BYTES + NAME_BYTES];
    int gate = -1, rc = 0;
    if (!path_is_dir(w->path))
        return 0;
    if (take_gate(w, false, &gate) < 0) { /* somebody else was quicker */
        err_clear();
        return 0;
    }
    rc = child(path, w, "lock", "");
    int lock = rc == 0 ? open_lock(path) : -1;
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) {
        rc = clear(w);
        if (rc == 0 && child(path, w, "lock", "") == 0)
            unlink(path);
        if (rc == 0 && child(path, w, "gate", "") == 0)
            unlink(path);
        if (rc == 0 && rmdir(w->path) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
            rc = err_errno(ERR_FAIL, "%s: cannot remove", w->path);
    }
    if (lock >= 0)
        close(lock);
    close(gate);
    return rc;
}

int workdir_close(struct workdir **wp, bool drop)
{
    struct workdir *w = *wp;
    int rc = 0;
    if (!w)
        return 0;
    workdir_abort(w);
    close(w->lock); /* first out, then look: of two that leave at once, one sees the other gone */
    if (drop || workdir_is_finished(w))
        rc = remove_all(w);
    mem_free(w);
    *wp = NULL;
    return rc;
}
