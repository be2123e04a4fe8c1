/* io/picture_confined.h: what the program and meridian-decode say to each other; private to the room.
 *
 * One socket, the worker's stdin. The program sends the file and shuts its side; the worker answers with one head and
 * then n_bytes: the rows, or the text of an error. */
#ifndef IO_PICTURE_CONFINED_H
#define IO_PICTURE_CONFINED_H

#include "io/io.h"

#define CONFINED_PROGRAM "meridian-decode"
#define CONFINED_MAGIC 0x6d72646du

struct confined_head {
    uint32_t magic;
    int32_t rc, width, height, channels, mode, orientation;
    uint32_t n_text;
};

/* Decodes in a process of its own; `program` is the worker's path. */
int picture_confined_decode(const struct image_sink *to, const void *bytes, size_t n, const char *name,
                            const char *program);

#endif
