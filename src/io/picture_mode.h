/* io/picture_mode.h: a sink that keeps the whole picture; private to the room. */
#ifndef IO_PICTURE_MODE_H
#define IO_PICTURE_MODE_H

#include "io/io.h"

struct collect {
    struct image im;
    size_t row;
    int done;
};
struct image_sink picture_collect(struct collect *c);
/* After the decoding: the picture goes to *out, or its memory back. Returns rc. */
int picture_collected(struct collect *c, int rc, struct image *out);

#endif
