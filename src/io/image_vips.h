/* io/image_vips.h: what the files of meridian_pictures.so share; private to the room. */
#ifndef IO_IMAGE_VIPS_H
#define IO_IMAGE_VIPS_H

#include "io/io.h"
#include <vips/vips.h>

/* The library's message on one line, after "name: what"; its buffer is emptied. */
int image_vips_fail(int code, const char *name, const char *what);
/* All pixels of `im`, band-interleaved 8 bit, any band count from 1 to 4, into memory of ours. */
int image_vips_pull(struct image *out, VipsImage *im, const char *name);
/* The limits on sides, pixels, and pixels per byte of a file of n bytes. */
int image_check_size(int64_t width, int64_t height, size_t n, const char *name);
/* image_decode_memory for the kinds that this process decodes itself. */
int image_decode_here(const struct image_sink *to, const void *bytes, size_t n, const char *name);
/* For kinds that nobody may decode but the confined process: call image_unconfined first, there. */
void image_unconfined(void);
/* shrink_to > 0: it may come smaller, but no side below it. */
int image_jpeg_decode(const struct image_sink *to, const void *bytes, size_t n, const char *name, int shrink_to);
/* Fits a whole picture into size x size. Takes the pixels of `im`, always. size >= 1 */
int image_shrink(struct image *out, struct image *im, const char *name, int size);
/* image_thumbnail of a file's bytes, for the kinds that this process decodes itself. size >= 1 */
int image_thumbnail_memory(struct image *out, const void *bytes, size_t n, const char *name, int size);

#endif
