/* io/picture_module.h: what the program and meridian_pictures.so know of each other; private to the room.
 *
 * libvips and pango bring eighty shared libraries, whose loading costs more than most commands do. So image.c and
 * image_emoji.c are compiled into a module of its own, and picture_module.c loads it when the first picture is asked
 * for. The module holds no second copy of room base, for the thread's error text, the limits, the log and the counted
 * memory must stay one: it is given this host table, and picture_host.c defines base's functions by it.
 * Rejected: letting the module find base's functions in the program (needs all of them exported), and linking it with
 * base (two error texts, two sets of limits). */
#ifndef IO_PICTURE_MODULE_H
#define IO_PICTURE_MODULE_H

#include "io/io.h"

/* Both sides must agree on these tables, on struct image, struct str and the limits: raise the thousands whenever one
 * of them changes its form. */
#define PICTURE_MODULE_VERSION (2000 + N_LIMITS)
#define PICTURE_MODULE_FILE "meridian_pictures.so"
#define PICTURE_MODULE_SYMBOL "meridian_pictures"

/* Functions of room base; the texts come formatted, with "%s" before them. */
struct picture_host {
    int (*err_set)(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
    void (*log_at)(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
    void (*bug_at)(const char *file, int line, const char *what);
    int64_t (*limit_get)(enum limit which);
    const char *(*limit_name)(enum limit which);
    void *(*mem_alloc)(size_t n);
    void (*mem_free)(void *p);
    void (*str_add_n)(struct str *b, const char *s, size_t n);
    bool (*utf8_ok)(const char *s, size_t n);
};

/* The module's one symbol. attach comes first, once; the others are the door's functions. */
struct picture_module {
    int version;
    void (*attach)(const struct picture_host *host);
    int (*start)(const char *argv0);
    int (*decode_here)(const struct image_sink *to, const void *bytes, size_t n, const char *name);
    int (*thumbnail_memory)(struct image *out, const void *bytes, size_t n, const char *name, int size);
    int (*shrink)(struct image *out, struct image *im, const char *name, int size);
    int (*encode_png)(struct str *out, const struct image *im);
    int (*encode_jpeg)(struct str *out, const struct image *im, int quality);
    int (*draw_emoji)(struct image *out, const char *utf8, int size, double margin, bool *drawn);
    int (*emoji_font)(char *out, size_t n);
};

#endif
