/* io/picture_kind.h: what a picture file is by its own first bytes; private to the room. */
#ifndef IO_PICTURE_KIND_H
#define IO_PICTURE_KIND_H

#include "io/io.h"

enum picture_kind { KIND_NONE, KIND_JPEG, KIND_PNG, KIND_WEBP, KIND_GIF, KIND_TIFF, KIND_PPM };
enum picture_kind picture_sniff(const uint8_t *p, size_t n);
/* Kinds that only the confined process decodes. */
bool picture_is_confined(enum picture_kind kind);

/* The form in which Pillow opens the file. */
struct picture_form {
    enum picture_kind kind;
    enum image_mode mode;
    int channels;             /* as in struct image; 0: as many as the decoder gives (WebP) */
    int orientation;          /* EXIF's, 0 when the decoder tells */
    bool associated;          /* TIFF: colours are multiplied by alpha */
    int width, height;        /* GIF, WebP: what the picture must measure, 0 otherwise */
    size_t transparency_flag; /* GIF: the byte whose lowest bit makes a colour of frame 1 see-through, or 0 */
    int frame[4];             /* GIF: left, top, right, bottom of frame 1 */
    uint8_t outside[3];       /* GIF: colour of what frame 1 leaves free */
};
int picture_look(struct picture_form *f, const uint8_t *p, size_t n, const char *name);
/* The orientation of an EXIF block (a TIFF header and its first directory), or 0. */
int picture_exif_orientation(const uint8_t *p, size_t n);

#endif
