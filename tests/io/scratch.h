/* tests/io/scratch.h: what the tests of room io share: a scratch folder of this process, files written in one line,
 * and the check that an error says what it must. */
#ifndef TEST_IO_SCRATCH_H
#define TEST_IO_SCRATCH_H

#include "io/io.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char scratch[256];

static inline int scratch_make(void **state UNUSED)
{
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof(scratch), "%s/meridian-io-XXXXXX", base && base[0] ? base : "/tmp");
    log_level(LOG_ERROR);
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void **state UNUSED)
{
    return path_remove_tree(scratch);
}

/* A path in the scratch folder; four are valid at a time. */
static inline const char *in_scratch(const char *name)
{
    static char names[4][512];
    static int next;
    char *out = names[next++ % 4];
    snprintf(out, sizeof(names[0]), "%s/%s", scratch, name);
    return out;
}

static inline const char *put_file(const char *name, const void *bytes, size_t n)
{
    const char *path = in_scratch(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *put_text(const char *name, const char *text)
{
    return put_file(name, text, strlen(text));
}

/* The whole file, with a NUL behind it; free() it. */
static inline char *get_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *bytes = calloc(1, 1 << 20);
    size_t got = fread(bytes, 1, (1 << 20) - 1, f);
    fclose(f);
    if (n)
        *n = got;
    return bytes;
}

static inline void assert_says(const char *part)
{
    if (!strstr(err_text(), part))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), part);
}

/* Entries in the scratch folder whose names hold `part`. */
static inline int count_entries(const char *part)
{
    int n = 0;
    DIR *d = opendir(scratch);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += strstr(e->d_name, part) != NULL;
    closedir(d);
    return n;
}

#endif
