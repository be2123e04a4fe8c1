/* tests/data/scratch.h: what the tests of room data share: a scratch folder, files in one line, the golden folder, and
 * the check that an error says what it must. */
#ifndef TEST_DATA_SCRATCH_H
#define TEST_DATA_SCRATCH_H

#include "data/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char scratch[256];

static inline int scratch_make(void **state UNUSED)
{
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/meridian-data-XXXXXX", base && *base ? base : "/tmp");
    log_level(LOG_ERROR);
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void **state UNUSED)
{
    return path_remove_tree(scratch);
}

/* A path in the scratch folder; eight are valid at a time. */
static inline const char *in_scratch(const char *name)
{
    static char names[8][512];
    static int next;
    char *out = names[next++ % 8];
    snprintf(out, sizeof names[0], "%s/%s", scratch, name);
    return out;
}

/* Folders on the way are made. */
static inline const char *put_text(const char *name, const char *text)
{
    const char *path = in_scratch(name);
    char dir[512];
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = 0;
    assert_int_equal(path_make_dirs(dir), 0);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    return path;
}

/* A picture of one colour. */
static inline void put_picture(const char *name, int width, int height, uint8_t r, uint8_t g, uint8_t b)
{
    struct image im = {width, height, 3, malloc((size_t)width * (size_t)height * 3)};
    const char *path = put_text(name, "");
    for (int i = 0; i < width * height; i++) {
        im.pixels[i * 3] = r;
        im.pixels[i * 3 + 1] = g;
        im.pixels[i * 3 + 2] = b;
    }
    assert_int_equal(image_write_png(path, &im), 0);
    free(im.pixels);
}

/* A path under the shared folder; the test is skipped, and says so, where that is not handed out. */
static inline const char *golden(const char *name)
{
    static char path[4][1024];
    static int next;
    const char *base = getenv("MERIDIAN_SHARED");
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/golden/%s", base ? base : "", name);
    if (!base || !path_exists(out)) {
        print_message("skipped: no %s (environment MERIDIAN_SHARED)\n", out);
        skip();
    }
    return out;
}

static inline void assert_says(const char *part)
{
    if (!strstr(err_text(), part))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), part);
}

/* A call that must work; its message shows when it does not. */
#define must(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            fail_msg("%s: %s", #call, err_text());                                                                     \
    } while (0)

#endif
