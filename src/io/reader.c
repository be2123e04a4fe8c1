/* io/reader.c: the one bounded reader of all binary parsers.
 *
 * A parser never computes an end pointer of its own: it asks for n bytes and gets them or an error that names file and
 * offset. Numbers are put together byte by byte, so alignment and the machine's byte order do not matter. */
#include "io/io.h"

int read_bytes(struct reader *r, const uint8_t **out, size_t n)
{
    size_t left = (size_t)(r->end - r->p);
    if (n > left)
        FAIL(ERR_DATA, "%s: truncated at byte %zu: expected %zu more bytes, found %zu", r->file,
             (size_t)(r->p - r->start), n, left);
    *out = r->p;
    r->p += n;
    return 0;
}

int read_u32le(struct reader *r, uint32_t *out)
{
    const uint8_t *b = NULL;
    TRY(read_bytes(r, &b, 4));
    *out = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return 0;
}

int read_u64le(struct reader *r, uint64_t *out)
{
    const uint8_t *b = NULL;
    uint64_t v = 0;
    TRY(read_bytes(r, &b, 8));
    for (int i = 7; i >= 0; i--)
        v = v << 8 | b[i];
    *out = v;
    return 0;
}
