/* io/atomic.c: files and folders that appear whole or not at all.
 *
 * A temporary `.NAME.tmp-PID-N` in the same folder, every write checked, fsync of the file, rename over the name, fsync
 * of the folder; so after a crash there is the old file or the new one. The temporary is held by flock: a leftover is
 * ours to remove only if its process is gone and nobody holds the lock (a pid alone lies when containers share a disk).
 * A target that is a device or pipe is written through: renaming over /dev/null would harm the machine.
 * Rejected: O_TMPFILE with linkat, which cannot replace an existing file. */
#include "io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 1024
#define BUFFER_BYTES 65536
#define N_SWEPT 64

struct atomic_file {
    int fd;
    bool direct; /* the target is a device or pipe: no temporary */
    int failed;  /* code of the first failure, and its message */
    char why[512];
    size_t n_buffer, n_out; /* waiting here; handed to the system */
    char path[PATH_BYTES], tmp[PATH_BYTES];
    char buffer[BUFFER_BYTES];
};

/* Guards the naming of temporaries and the sweep, so that one thread does not sweep what another just made. */
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned serial;
static uint64_t swept[N_SWEPT];
static unsigned n_swept;

/* path = folder + "/" + name; folder is "." for a bare name. Trailing slashes do not count. */
static int split_path(const char *path, char folder[PATH_BYTES], char name[PATH_BYTES])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= PATH_BYTES - 64)
        FAIL(ERR_FAIL, "output path \"%.80s\" has %zu bytes, expected 1 to %d", path, n, PATH_BYTES - 65);
    size_t slash = n;
    while (slash > 0 && path[slash - 1] != '/')
        slash--;
    size_t len = n - slash;
    if (len == 0 || (len == 1 && path[slash] == '.') || (len == 2 && path[slash] == '.' && path[slash + 1] == '.'))
        FAIL(ERR_FAIL, "output path \"%s\" names no file or folder of its own", path);
    memcpy(name, path + slash, len);
    name[len] = '\0';
    while (slash > 1 && path[slash - 1] == '/')
        slash--;
    if (slash == 0) {
        strcpy(folder, ".");
    } else {
        memcpy(folder, path, slash);
        folder[slash] = '\0';
    }
    return 0;
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(ERR_FAIL, "%s: cannot open the folder to make the write durable", folder);
    int rc = 0;
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS) /* some file systems cannot sync folders */
        rc = err_errno(ERR_FAIL, "%s: cannot make the folder durable", folder);
    close(fd);
    return rc;
}

/* The pid in ".NAME.tmp-PID-N" or ".NAME.old-PID-N", 0 when the name is not of that form. */
static long temp_pid(const char *name, const char *kind)
{
    const char *at = NULL;
    char *end;
    if (name[0] != '.')
        return 0;
    for (const char *p = strstr(name, kind); p; p = strstr(p + 1, kind))
        at = p;
    if (!at || at == name + 1)
        return 0;
    at += strlen(kind);
    if (*at < '1' || *at > '9')
        return 0;
    long pid = strtol(at, &end, 10);
    if (*end != '-' || end[1] < '0' || end[1] > '9')
        return 0;
    return end[1 + strspn(end + 1, "0123456789")] == '\0' ? pid : 0;
}

/* True when the leftover belongs to nobody: its process is gone (or had our pid) and its lock is free. */
static bool is_stale(const char *path, long pid)
{
    struct stat st;
    if (lstat(path, &st) != 0 || st.st_uid != geteuid() || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return false;
    if (pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return !held;
}

/* Under names_lock. A moved-aside folder whose successor never arrived goes back to its name. */
static void sweep_entry(const char *folder, const char *name)
{
    char full[PATH_BYTES * 2], home[PATH_BYTES * 2];
    long old = temp_pid(name, ".old-"), tmp = old ? 0 : temp_pid(name, ".tmp-");
    if ((!old && !tmp) || path_join(full, sizeof(full), folder, name) < 0 || !is_stale(full, old ? old : tmp))
        return;
    if (old && path_join(home, sizeof(home), folder, name + 1) == 0) {
        char *kind = strstr(home + strlen(home) - strlen(name + 1), ".old-");
        for (char *next = kind; next; next = strstr(next + 1, ".old-"))
            kind = next;
        *kind = '\0';
        if (!path_exists(home) && rename(full, home) == 0) {
            log_warn("%s: put back after an interrupted replacement", home);
            return;
        }
    }
    log_debug("%s: removing the leftover of an interrupted run", full);
    if (path_remove_tree(full) < 0)
        err_clear();
}

/* Under names_lock. Leftovers of dead processes in this folder; once a folder and process unless `again`. */
static void sweep(const char *folder, bool again)
{
    uint64_t h = hash_bytes(folder, strlen(folder), 1);
    for (unsigned i = 0; i < N_SWEPT && !again; i++)
        if (swept[i] == h)
            return;
    swept[n_swept++ % N_SWEPT] = h;
    DIR *d = opendir(folder);
    if (!d)
        return;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (e->d_name[0] == '.')
            sweep_entry(folder, e->d_name);
    closedir(d);
}

static int temp_name(char out[PATH_BYTES], const char *folder, const char *name, const char *kind)
{
    /* A name near the limit of 255 bytes is cut, so that the temporary's name stays within it. */
    int n = snprintf(out, PATH_BYTES, "%s/.%.200s%s%ld-%u", folder, name, kind, (long)getpid(), serial++);
    if (n < 0 || n >= PATH_BYTES)
        FAIL(ERR_FAIL, "output path \"%.80s/%.80s\" is too long", folder, name);
    return 0;
}

/* Makes and locks the temporary file; -1 in *fd on failure. */
static int open_temp(const char *path, char tmp[PATH_BYTES], int *fd)
{
    char folder[PATH_BYTES], name[PATH_BYTES];
    int rc = 0;
    TRY(split_path(path, folder, name));
    if (path_is_dir(path))
        FAIL(ERR_EXISTS, "%s: expected a file name, found a folder", path);
    pthread_mutex_lock(&names_lock);
    sweep(folder, false);
    do {
        rc = temp_name(tmp, folder, name, ".tmp-");
        if (rc < 0)
            goto out;
        *fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (*fd < 0 && errno == EEXIST);
    if (*fd < 0)
        rc = err_errno(ERR_FAIL, "%s: cannot write in folder %s", path, folder);
    else
        flock(*fd, LOCK_EX | LOCK_NB); /* a file system without locks leaves only the pid to judge by */
out:
    pthread_mutex_unlock(&names_lock);
    return rc;
}

int atomic_open(struct atomic_file **out, const char *path)
{
    struct stat st;
    int rc = 0;
    struct atomic_file *f = mem_alloc(sizeof(*f));
    if (!f)
        return ERR_MEMORY;
    memset(f, 0, offsetof(struct atomic_file, buffer));
    f->fd = -1;
    if (strlen(path) >= sizeof(f->path)) {
        rc = err_set(ERR_FAIL, "output path \"%.80s…\" is too long", path);
        goto out;
    }
    strcpy(f->path, path);
    f->direct = stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
    if (f->direct) {
        f->fd = open(path, O_WRONLY | O_CLOEXEC);
        if (f->fd < 0)
            rc = err_errno(ERR_FAIL, "%s: cannot write", path);
    } else {
        rc = open_temp(path, f->tmp, &f->fd);
    }
    if (rc < 0)
        goto out;
    *out = f;
    f = NULL;
out:
    mem_free(f);
    return rc;
}

static int keep_failure(struct atomic_file *f, int rc)
{
    f->failed = rc;
    snprintf(f->why, sizeof(f->why), "%s", err_text());
    return rc;
}

static int write_out(struct atomic_file *f, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(f->fd, p, n < (size_t)1 << 30 ? n : (size_t)1 << 30);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return keep_failure(f,
                                err_errno(ERR_FAIL, "%s: cannot write %zu bytes after byte %zu", f->path, n, f->n_out));
        f->n_out += (size_t)k;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

static int flush(struct atomic_file *f)
{
    size_t n = f->n_buffer;
    f->n_buffer = 0;
    return write_out(f, f->buffer, n);
}

int atomic_write(struct atomic_file *f, const void *p, size_t n)
{
    if (f->failed)
        return err_set(f->failed, "%s", f->why);
    if (n > BUFFER_BYTES - f->n_buffer)
        TRY(flush(f));
    if (n >= BUFFER_BYTES)
        return write_out(f, p, n);
    if (n > 0)
        memcpy(f->buffer + f->n_buffer, p, n);
    f->n_buffer += n;
    return 0;
}

int atomic_printf(struct atomic_file *f, const char *fmt, ...)
{
    char small[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    BUG_ON(n < 0);
    if ((size_t)n < sizeof(small))
        return atomic_write(f, small, (size_t)n);
    char *big = mem_alloc((size_t)n + 1);
    if (!big)
        return keep_failure(f, ERR_MEMORY);
    va_start(ap, fmt);
    vsnprintf(big, (size_t)n + 1, fmt, ap);
    va_end(ap);
    int rc = atomic_write(f, big, (size_t)n);
    mem_free(big);
    return rc;
}

int atomic_patch(struct atomic_file *f, size_t offset, const void *p, size_t n)
{
    if (f->failed)
        return err_set(f->failed, "%s", f->why);
    TRY(flush(f));
    BUG_ON(offset > f->n_out || n > f->n_out - offset);
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(f->fd, (const char *)p + done, n - done, (off_t)(offset + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return keep_failure(f, err_errno(ERR_FAIL, "%s: cannot rewrite %zu bytes at byte %zu", f->path, n, offset));
        done += (size_t)k;
    }
    return 0;
}

static int commit(struct atomic_file *f)
{
    char folder[PATH_BYTES], name[PATH_BYTES];
    if (f->failed)
        return err_set(f->failed, "%s", f->why);
    TRY(flush(f));
    if (!f->direct && fsync(f->fd) != 0)
        return err_errno(ERR_FAIL, "%s: cannot make the write durable", f->path);
    /* close() is where some file systems report what write() could not. The lock may go: nobody judges a name whose
     * process is alive. */
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0)
        return err_errno(ERR_FAIL, "%s: cannot finish the write", f->path);
    if (f->direct)
        return 0;
    TRY(split_path(f->path, folder, name));
    if (rename(f->tmp, f->path) != 0)
        return err_errno(ERR_FAIL, "%s: cannot put the finished file in its place", f->path);
    f->tmp[0] = '\0';
    return sync_folder(folder);
}

int atomic_commit(struct atomic_file **f)
{
    int rc = commit(*f);
    atomic_abort(f);
    return rc;
}

void atomic_abort(struct atomic_file **f)
{
    if (!*f)
        return;
    if ((*f)->fd >= 0)
        close((*f)->fd);
    if ((*f)->tmp[0])
        unlink((*f)->tmp);
    mem_free(*f);
    *f = NULL;
}

int atomic_put(const char *path, const void *p, size_t n)
{
    struct atomic_file *f;
    TRY(atomic_open(&f, path));
    int rc = atomic_write(f, p, n);
    if (rc < 0) {
        atomic_abort(&f);
        return rc;
    }
    return atomic_commit(&f);
}

/* json_dump_file writes in place: a full disk would leave half a file. */
int atomic_put_json(const char *dir, const char *name, json_t *o, size_t flags)
{
    char path[PATH_BYTES];
    struct str b = {0};
    int rc =
        o ? path_join(path, sizeof(path), dir, name) : err_set(ERR_MEMORY, "%s/%s: no memory to write it", dir, name);
    if (rc == 0)
        rc = str_add_json(&b, o, flags);
    if (flags & JSON_INDENT(JSON_MAX_INDENT)) /* a text of lines ends in one */
        str_add_c(&b, '\n');
    if (rc == 0 && b.failed)
        rc = err_while(ERR_MEMORY, "writing %s", path);
    if (rc == 0)
        rc = atomic_put(path, b.s, b.n);
    json_decref(o);
    str_free(&b);
    return rc;
}

/* ---- folders ---- */

int atomic_dir_open(struct atomic_dir *d, const char *path, bool force)
{
    char folder[PATH_BYTES], name[PATH_BYTES];
    struct atomic_dir out = {.force = force, .lock = -1};
    int rc = 0;
    TRY(split_path(path, folder, name));
    TRY(path_join(out.path, sizeof(out.path), folder, name));
    TRY(path_make_dirs(folder));
    pthread_mutex_lock(&names_lock);
    sweep(folder, true);
    rc = path_check_output(out.path, force); /* after the sweep, which may have put an old one back */
    if (rc < 0)
        goto out;
    if (path_exists(out.path) && !path_is_dir(out.path)) {
        rc = err_set(ERR_EXISTS, "%s: expected a folder, found a file; give another name", out.path);
        goto out;
    }
    do {
        rc = temp_name(out.tmp, folder, name, ".tmp-");
        if (rc < 0)
            goto out;
        rc = mkdir(out.tmp, 0777);
    } while (rc != 0 && errno == EEXIST);
    if (rc != 0) {
        rc = err_errno(ERR_FAIL, "%s: cannot make a folder in %s", path, folder);
        goto out;
    }
    out.lock = open(out.tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out.lock >= 0)
        flock(out.lock, LOCK_EX | LOCK_NB);
    *d = out;
out:
    pthread_mutex_unlock(&names_lock);
    return rc;
}

static int sync_one(const char *path, const struct stat *st UNUSED, int flag, struct FTW *at UNUSED)
{
    if (flag != FTW_F && flag != FTW_DP && flag != FTW_D)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    if (rc != 0 && (errno == EINVAL || errno == EROFS))
        rc = 0;
    int kept = errno;
    close(fd);
    errno = kept;
    return rc;
}

static int dir_commit(struct atomic_dir *d)
{
    char folder[PATH_BYTES], name[PATH_BYTES], old[PATH_BYTES] = "";
    TRY(split_path(d->path, folder, name));
    if (nftw(d->tmp, sync_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        return err_errno(ERR_FAIL, "%s: cannot make the folder's files durable", d->path);
    TRY(path_check_output(d->path, d->force));
    if (path_exists(d->path)) {
        pthread_mutex_lock(&names_lock);
        int rc = temp_name(old, folder, name, ".old-");
        pthread_mutex_unlock(&names_lock);
        TRY(rc);
        if (rename(d->path, old) != 0)
            return err_errno(ERR_FAIL, "%s: cannot move the old folder aside", d->path);
    }
    if (rename(d->tmp, d->path) != 0) {
        int rc = err_errno(ERR_FAIL, "%s: cannot put the finished folder in its place", d->path);
        if (old[0] && rename(old, d->path) != 0)
            return err_while(rc, "and the old folder stays at %s", old);
        return rc;
    }
    d->tmp[0] = '\0';
    TRY(sync_folder(folder));
    return old[0] ? path_remove_tree(old) : 0;
}

int atomic_dir_commit(struct atomic_dir *d)
{
    int rc = dir_commit(d);
    atomic_dir_abort(d);
    return rc;
}

void atomic_dir_abort(struct atomic_dir *d)
{
    char why[512];
    if (d->tmp[0]) {
        snprintf(why, sizeof(why), "%s", err_text()); /* the reason for aborting matters more than a failed removal */
        if (path_remove_tree(d->tmp) < 0)
            err_set(ERR_FAIL, "%s", why);
        d->tmp[0] = '\0';
        if (d->lock >= 0)
            close(d->lock);
    } else if (d->path[0] && d->lock >= 0) {
        close(d->lock);
    }
    d->lock = -1;
}
