/* fuzz/put.c: inputs as files of a folder in memory; the verdict. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

long fuzz_accepted, fuzz_refused;
static char dir[64];
static pid_t owner;

static void die(const char *what)
{
    fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
    abort();
}

static void clean(void)
{
    if (dir[0] && getpid() == owner)
        path_remove_tree(dir);
}

const char *fuzz_dir(void)
{
    if (dir[0])
        return dir;
    log_level(LOG_ERROR);
    /* a memory file system where there is one: thousands of files a second */
    snprintf(dir, sizeof dir, "%s/meridian-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir))
        die(dir);
    owner = getpid();
    atexit(clean);
    return dir;
}

const char *fuzz_put(const char *name, const void *data, size_t n)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_dir(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        die(path);
    for (size_t at = 0; at < n;) {
        ssize_t wrote = write(fd, (const char *)data + at, n - at);
        if (wrote <= 0)
            die(path);
        at += (size_t)wrote;
    }
    close(fd);
    return path;
}

bool fuzz_part(const uint8_t *data, size_t n, int k, const uint8_t **part, size_t *n_part)
{
    const uint8_t *p = data, *end = data + n;
    for (int i = 0;; i++) {
        const uint8_t *q = p;
        while (q < end && !(end - q >= 4 && memcmp(q, "\n%%\n", 4) == 0))
            q++;
        if (i == k) {
            *part = p;
            *n_part = (size_t)(q - p);
            return true;
        }
        if (q == end)
            return false;
        p = q + 4;
    }
}

void fuzz_put_parts(const uint8_t *data, size_t n, const char *const *names, int n_names)
{
    for (int i = 0; i < n_names; i++) {
        const uint8_t *part = NULL;
        size_t n_part = 0;
        char path[256];
        if (fuzz_part(data, n, i, &part, &n_part)) {
            fuzz_put(names[i], part, n_part);
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", fuzz_dir(), names[i]);
        unlink(path);
    }
}

void fuzz_verdict(int rc)
{
    if (rc >= 0) {
        fuzz_accepted++;
    } else {
        fuzz_refused++;
        if (getenv("FUZZ_TELL"))
            fprintf(stderr, "%s\n", err_text());
        if (!err_text()[0] || !utf8_ok(err_text(), strlen(err_text()))) {
            fprintf(stderr, "fuzz: refused with code %d and %s message\n", rc, err_text()[0] ? "a garbled" : "no");
            abort();
        }
    }
    err_clear();
}

void fuzz_touch(const void *p, size_t n)
{
    static volatile uint8_t sink;
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
    sink = sum;
    (void)sink;
}

char *fuzz_text(const uint8_t *part, size_t n)
{
    char *text = mem_alloc(n + 1);
    BUG_ON(!text);
    memcpy(text, part, n);
    text[n] = 0;
    return text;
}
