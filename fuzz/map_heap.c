/* fuzz/map_heap.c: the four functions of io/map.c, with memory of exactly the file's size in a mapping's place.
 *
 * A mapping ends in the rest of its page, which reads as zeros: a parser that looks one byte behind the end is never
 * caught there. Linked before the library, this file takes the place of map.c in the harnesses only. */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int map_open(struct map *m, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(ERR_DATA, "%s: cannot open", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        FAIL(ERR_DATA, "%s: expected a file", path);
    }
    /* malloc, not mem_alloc: nothing is rounded or aligned, and 16 bytes of alignment keep arrays readable in place */
    size_t n = (size_t)st.st_size, at = 0;
    uint8_t *data = malloc(n ? n : 1);
    if (!data)
        abort();
    while (at < n) {
        ssize_t got = read(fd, data + at, n - at);
        if (got <= 0)
            abort();
        at += (size_t)got;
    }
    close(fd);
    m->path = mem_strdup(path);
    if (!m->path)
        abort();
    m->data = data;
    m->size = n;
    return 0;
}

void map_close(struct map *m)
{
    free((void *)(uintptr_t)m->data);
    mem_free(m->path);
    memset(m, 0, sizeof *m);
}

bool map_shortened(const struct map *m UNUSED)
{
    return false;
}

int map_check(const struct map *m UNUSED)
{
    return 0;
}
