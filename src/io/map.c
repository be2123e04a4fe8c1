/* io/map.c: read-only mappings that survive a file being shortened under them.
 *
 * Weights and vector files are mapped, not read: opening costs nothing and the page cache is shared. The price is
 * SIGBUS when somebody truncates the file meanwhile. Mappings are therefore registered in a fixed table; the handler
 * lays a page of zeros (from /dev/zero, as MAP_ANONYMOUS is not POSIX 2008) over the faulting address, marks the
 * mapping and returns, so the reader goes on with zeros and whoever asks map_check() gets an error naming the file.
 * Rejected: sigsetjmp around every access (the accesses are inside kernels that know no files), and reading whole
 * files (doubles the memory of a model). A SIGBUS outside our mappings goes to the handler that was there before. */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_MAPS 4096

/* start is published last and withdrawn first, so that the handler never sees half a slot. */
struct slot {
    atomic_uintptr_t start;
    atomic_uintptr_t end;
    atomic_bool shortened;
    int fd;
};

static struct slot slots[MAX_MAPS];
static atomic_int n_slots; /* slots ever used: what the handler walks */
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int zero_fd = -1;
static atomic_uintptr_t page_size;
static struct sigaction previous;
static const uint8_t nothing[1];

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr, page = atomic_load(&page_size);
    for (int i = 0, n = info->si_code > 0 ? atomic_load(&n_slots) : 0; i < n; i++) { /* not what kill() sent */
        uintptr_t start = atomic_load(&slots[i].start);
        if (start == 0 || at < start || at >= atomic_load(&slots[i].end))
            continue;
        void *here = (void *)(at & ~(page - 1));
        if (mmap(here, page, PROT_READ, MAP_PRIVATE | MAP_FIXED, atomic_load(&zero_fd), 0) != MAP_FAILED) {
            atomic_store(&slots[i].shortened, true);
            return;
        }
    }
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(sig, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(sig);
    } else {
        struct sigaction dfl;
        memset(&dfl, 0, sizeof(dfl));
        dfl.sa_handler = SIG_DFL;
        sigaction(SIGBUS, &dfl, NULL);
        raise(sig); /* blocked until we return, then deadly */
    }
}

/* Under slots_lock, at each mapping: other code (test runners, language runtimes) may have put its handler over ours.
 */
static int install_handler(void)
{
    struct sigaction now, ours;
    if (atomic_load(&zero_fd) < 0) {
        int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return err_errno(ERR_FAIL, "/dev/zero: cannot open");
        atomic_store(&page_size, (uintptr_t)sysconf(_SC_PAGESIZE));
        atomic_store(&zero_fd, fd);
    }
    memset(&ours, 0, sizeof(ours));
    ours.sa_sigaction = on_sigbus;
    ours.sa_flags = SA_SIGINFO;
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) != 0)
        return err_errno(ERR_FAIL, "cannot read the SIGBUS handler");
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
        return 0;
    previous = now;
    if (sigaction(SIGBUS, &ours, NULL) != 0)
        return err_errno(ERR_FAIL, "cannot install the SIGBUS handler");
    return 0;
}

static int register_map(const void *data, size_t size, int fd, const char *path)
{
    int rc = 0, i = 0;
    pthread_mutex_lock(&slots_lock);
    rc = install_handler();
    if (rc < 0)
        goto out;
    while (i < MAX_MAPS && atomic_load(&slots[i].start) != 0)
        i++;
    if (i == MAX_MAPS) {
        rc = err_set(ERR_FAIL, "%s: %d files are mapped already, the most there can be", path, MAX_MAPS);
        goto out;
    }
    slots[i].fd = fd;
    atomic_store(&slots[i].shortened, false);
    atomic_store(&slots[i].end, (uintptr_t)data + size);
    if (i >= atomic_load(&n_slots))
        atomic_store(&n_slots, i + 1);
    atomic_store(&slots[i].start, (uintptr_t)data);
out:
    pthread_mutex_unlock(&slots_lock);
    return rc;
}

/* Under slots_lock. */
static struct slot *find_slot(const void *data)
{
    for (int i = 0, n = atomic_load(&n_slots); i < n; i++)
        if (atomic_load(&slots[i].start) == (uintptr_t)data)
            return &slots[i];
    return NULL;
}

int map_open(struct map *m, const char *path)
{
    int rc = 0;
    void *data = MAP_FAILED;
    struct stat st;
    struct map out = {nothing, 0, NULL};
    /* O_NONBLOCK: a named pipe must not make us wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(ERR_DATA, "%s: cannot open", path);
    if (fstat(fd, &st) != 0) {
        rc = err_errno(ERR_DATA, "%s: cannot read its size", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = err_set(ERR_DATA, "%s: expected a file, found %s", path,
                     S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
        goto out;
    }
    if ((uintmax_t)st.st_size > SIZE_MAX) {
        rc = err_set(ERR_DATA, "%s: %jd bytes are more than this machine can map", path, (intmax_t)st.st_size);
        goto out;
    }
    out.path = mem_strdup(path);
    if (!out.path) {
        rc = ERR_MEMORY;
        goto out;
    }
    out.size = (size_t)st.st_size;
    if (out.size > 0) {
        data = mmap(NULL, out.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            rc = err_errno(ERR_DATA, "%s: cannot map %zu bytes", path, out.size);
            goto out;
        }
        out.data = data;
        rc = register_map(data, out.size, fd, path);
        if (rc < 0)
            goto out;
        fd = -1; /* the slot owns it now */
    }
    *m = out;
    out.path = NULL;
    data = MAP_FAILED;
out:
    if (data != MAP_FAILED)
        munmap(data, out.size);
    mem_free(out.path);
    if (fd >= 0)
        close(fd);
    return rc;
}

void map_close(struct map *m)
{
    if (m->data && m->size > 0) {
        pthread_mutex_lock(&slots_lock);
        struct slot *s = find_slot(m->data);
        BUG_ON(!s);
        atomic_store(&s->start, 0);
        close(s->fd);
        munmap((void *)(uintptr_t)m->data, m->size);
        pthread_mutex_unlock(&slots_lock);
    }
    mem_free(m->path);
    memset(m, 0, sizeof(*m));
}

bool map_shortened(const struct map *m)
{
    if (!m->data || m->size == 0)
        return false;
    struct stat st;
    pthread_mutex_lock(&slots_lock);
    struct slot *s = find_slot(m->data);
    BUG_ON(!s);
    /* Bytes cut off within the last page read as zeros without a signal, hence the size as well. */
    bool cut = atomic_load(&s->shortened) || fstat(s->fd, &st) != 0 || (uintmax_t)st.st_size < m->size;
    pthread_mutex_unlock(&slots_lock);
    return cut;
}

int map_check(const struct map *m)
{
    if (map_shortened(m))
        FAIL(ERR_DATA, "%s: was shortened while it was being read (expected %zu bytes); run again when it is complete",
             m->path, m->size);
    return 0;
}
