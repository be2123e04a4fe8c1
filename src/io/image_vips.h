/* io/image_vips.h: what the files of meridian_pictures.so share; private to the room. */
#ifndef IO_IMAGE_VIPS_H
#define IO_IMAGE_VIPS_H

#include "io/io.h"
#include <vips/vips.h>

/* The library's message on one line, after "name: what"; its buffer is emptied. */
int image_vips_fail(int code, const char *name, const char *what);
/* All pixels of `im`, band-interleaved 8 bit, any band count from 1 to 4, into memory of ours. */
int image_vips_pull(struct image *out, VipsImage *im, const char *name);
/* image_thumbnail of a file's bytes. size >= 1 */
int image_thumbnail_memory(struct image *out, const void *bytes, size_t n, const char *name, int size);

#endif
