/* io/picture_confined.c: decoding in a process that can do nothing else.
 *
 * TIFF has the longest list of decoder faults of all picture formats. So its bytes go to meridian-decode, which reads
 * them from a socket, gives up files, network and new processes (seccomp), lives with 10 s of processor time and 1 GiB
 * of memory, and sends pixels back; its answer is checked like a file. One process a picture: starting it costs some
 * tens of milliseconds, most of them libvips', and nothing of one picture can reach the next. It blocks the signals of
 * a terminal or a batch system: they are for the program, and a picture must not look broken because of Ctrl-C. A
 * worker that says nothing for a minute is killed, for one that has been taken over may sleep where no clock counts.
 * Rejected: fork without exec (the program has threads and open files), and a worker that stays (its limits would be
 * shared by all pictures, and a bad one would see the next). */
#include "io/picture_confined.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRIP 32
#define SILENCE_SECONDS 60

extern char **environ;

/* posix_spawn with fd as stdin; an errno. */
static int spawn(pid_t *pid, int fd, const char *program, char *const *argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t blocked;
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    int bad = posix_spawn_file_actions_init(&actions);
    if (bad)
        return bad;
    bad = posix_spawnattr_init(&attr);
    if (!bad) {
        sigemptyset(&blocked);
        for (size_t i = 0; i < ARRAY_LEN(ours); i++)
            sigaddset(&blocked, ours[i]);
        bad = posix_spawnattr_setsigmask(&attr, &blocked);
        if (!bad)
            bad = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        if (!bad)
            bad = posix_spawn_file_actions_adddup2(&actions, fd, 0);
        if (!bad)
            bad = posix_spawn(pid, program, &actions, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return bad;
}

static int start_worker(pid_t *pid, int fd, const char *program, const char *name)
{
    char limits[4][32];
    static const enum limit which[4] = {LIMIT_PIXELS, LIMIT_SIDE, LIMIT_PIXELS_PER_BYTE, LIMIT_SCANS};
    char *argv[7] = {(char *)(uintptr_t)CONFINED_PROGRAM};
    for (int i = 0; i < 4; i++) {
        snprintf(limits[i], sizeof(limits[i]), "%lld", (long long)limit_get(which[i]));
        argv[i + 1] = limits[i];
    }
    argv[5] = (char *)(uintptr_t)name;
    int bad = spawn(pid, fd, program, argv);
    if (bad == ENOMEM || bad == EAGAIN)
        FAIL(ERR_MEMORY, "%s: no room to start " CONFINED_PROGRAM " (%s)", name, strerror(bad));
    if (bad)
        FAIL(ERR_FAIL,
             "%s: pictures of this kind are decoded by %s, which cannot be started (%s); reinstall, or save "
             "the picture as PNG",
             name, program, strerror(bad));
    return 0;
}

/* False when the worker is gone. */
static bool send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

enum worker { ANSWERS, GONE, SILENT };

static enum worker receive_all(int fd, void *to, size_t n)
{
    uint8_t *p = to;
    while (n > 0) {
        ssize_t k = recv(fd, p, n, 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? SILENT : GONE;
        p += k;
        n -= (size_t)k;
    }
    return ANSWERS;
}

static bool channels_fit(const struct confined_head *h)
{
    switch (h->mode) {
    case IMAGE_PLAIN:
        return h->channels >= 1 && h->channels <= 4;
    case IMAGE_INDEXED:
        return h->channels == 1 || h->channels == 3;
    case IMAGE_CMYK:
        return h->channels == 4;
    case IMAGE_GRAY16:
        return h->channels == 2;
    default:
        return false;
    }
}

/* ERR_FAIL without a message: the worker is gone, and how it ended says more. */
static int take(const struct image_sink *to, int fd, const char *name, enum worker *w)
{
    struct confined_head h;
    char text[1024] = "";
    int64_t side = limit_get(LIMIT_SIDE);
    *w = receive_all(fd, &h, sizeof(h));
    if (*w != ANSWERS)
        return ERR_FAIL;
    if (h.magic == CONFINED_MAGIC && h.rc < 0 && h.n_text < sizeof(text)) {
        *w = receive_all(fd, text, h.n_text);
        if (*w != ANSWERS)
            return ERR_FAIL;
        if (h.rc == ERR_MEMORY) /* its own gigabyte, not the machine's */
            FAIL(ERR_DATA, "%s: needs more memory than " CONFINED_PROGRAM " may take (%s)", name, text);
        return err_set(h.rc < ERR_INTERRUPTED ? ERR_FAIL : h.rc, "%s", text);
    }
    if (h.magic != CONFINED_MAGIC || h.rc != 0 || h.width < 1 || h.height < 1 || h.width > side || h.height > side ||
        h.width > limit_get(LIMIT_PIXELS) / h.height || !channels_fit(&h))
        FAIL(ERR_DATA, "%s: " CONFINED_PROGRAM " gave no sensible answer", name);
    struct image head = {.width = h.width,
                         .height = h.height,
                         .channels = h.channels,
                         .mode = (enum image_mode)h.mode,
                         .orientation = h.orientation >= 0 && h.orientation <= 8 ? h.orientation : 0};
    size_t row = (size_t)head.width * (size_t)head.channels;
    uint8_t *strip = mem_alloc(row * STRIP);
    int rc = strip ? to->begin(to->ctx, &head) : ERR_MEMORY;
    for (int y = 0; y < head.height && rc == 0 && *w == ANSWERS; y += STRIP) {
        int n = head.height - y < STRIP ? head.height - y : STRIP;
        *w = receive_all(fd, strip, row * (size_t)n);
        if (*w == ANSWERS)
            rc = to->rows(to->ctx, strip, n);
    }
    mem_free(strip);
    return *w == ANSWERS ? rc : ERR_FAIL;
}

int picture_confined_decode(const struct image_sink *to, const void *bytes, size_t n, const char *name,
                            const char *program)
{
    int fd[2], status = 0;
    pid_t pid;
    enum worker worker = ANSWERS;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return err_errno(ERR_FAIL, "%s: no socket for " CONFINED_PROGRAM, name);
    int rc = start_worker(&pid, fd[1], program, name);
    close(fd[1]);
    if (rc < 0) {
        close(fd[0]);
        return rc;
    }
    struct timeval patience = {.tv_sec = SILENCE_SECONDS};
    setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    send_all(fd[0], bytes, n); /* a worker that has gone is seen below */
    shutdown(fd[0], SHUT_WR);
    rc = take(to, fd[0], name, &worker);
    close(fd[0]);
    if (worker == SILENT)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (worker == ANSWERS)
        return rc;
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    FAIL(ERR_DATA, "%s: " CONFINED_PROGRAM " %s; save the picture as PNG", name,
         worker == SILENT                   ? "said nothing for a minute"
         : sig == SIGXCPU || sig == SIGKILL ? "needed more than its 10 s"
         : sig                              ? "crashed on it"
                                            : "ended early");
}
