/* io/parquet_codec.c: how pages are packed: snappy, gzip, zstd. The only file that includes these libraries.
 *
 * The caller says how many bytes must come out (the page header states it, already checked against the limits), and
 * anything else is an error; so no codec ever decides how much memory is taken. Snappy and zstd are optional in the
 * build; a build without one names it when a file needs it. LZO, BROTLI and both kinds of LZ4 are refused by name:
 * the tools around clip-retrieval write snappy, sometimes zstd or gzip. */
#include "io/parquet.h"

#include <string.h>
#include <zlib.h>
#ifdef HAVE_SNAPPY
#include <snappy-c.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

const char *pq_codec_name(int codec)
{
    static const char *const names[] = {"uncompressed", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw"};
    return codec >= 0 && codec < (int)ARRAY_LEN(names) ? names[codec] : "an unknown codec";
}

bool pq_codec_known(int codec)
{
#ifdef HAVE_SNAPPY
    if (codec == PQ_SNAPPY)
        return true;
#endif
#ifdef HAVE_ZSTD
    if (codec == PQ_ZSTD)
        return true;
#endif
    return codec == PQ_UNCOMPRESSED || codec == PQ_GZIP;
}

static int wrong_length(int codec, size_t found, size_t expected)
{
    FAIL(ERR_DATA, "a page packed with %s unpacks to %zu bytes, expected %zu", pq_codec_name(codec), found, expected);
}

static int damaged(int codec, const char *what)
{
    FAIL(ERR_DATA, "a page packed with %s is damaged (%s)", pq_codec_name(codec), what);
}

static int unpack_gzip(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out)
{
    z_stream z;
    memset(&z, 0, sizeof(z));
    BUG_ON(n_in > UINT32_MAX || n_out > UINT32_MAX); /* page sizes have 31 bits */
    int rc = inflateInit2(&z, 15 + 32);              /* gzip or zlib, by its first bytes */
    if (rc != Z_OK)
        FAIL(ERR_MEMORY, "out of memory: zlib could not start");
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)n_in;
    z.next_out = out;
    z.avail_out = (uInt)n_out;
    rc = inflate(&z, Z_FINISH);
    size_t found = z.total_out;
    inflateEnd(&z);
    if (rc == Z_MEM_ERROR)
        FAIL(ERR_MEMORY, "out of memory: zlib could not unpack a page");
    if (rc == Z_STREAM_END)
        return found == n_out ? 0 : wrong_length(PQ_GZIP, found, n_out);
    if (rc == Z_BUF_ERROR && found == n_out)
        FAIL(ERR_DATA, "a page packed with gzip unpacks to more than the expected %zu bytes, or is cut off", n_out);
    return damaged(PQ_GZIP, rc == Z_BUF_ERROR ? "it is cut off" : "its bytes are no deflate stream");
}

#ifdef HAVE_SNAPPY
static int unpack_snappy(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out)
{
    size_t found = 0;
    if (snappy_uncompressed_length((const char *)in, n_in, &found) != SNAPPY_OK)
        return damaged(PQ_SNAPPY, "no length in front");
    if (found != n_out)
        return wrong_length(PQ_SNAPPY, found, n_out);
    if (snappy_uncompress((const char *)in, n_in, (char *)out, &found) != SNAPPY_OK)
        return damaged(PQ_SNAPPY, "its bytes are no snappy stream");
    return found == n_out ? 0 : wrong_length(PQ_SNAPPY, found, n_out);
}
#endif

#ifdef HAVE_ZSTD
static int unpack_zstd(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out)
{
    size_t found = ZSTD_decompress(out, n_out, in, n_in);
    if (ZSTD_isError(found))
        return damaged(PQ_ZSTD, ZSTD_getErrorName(found));
    return found == n_out ? 0 : wrong_length(PQ_ZSTD, found, n_out);
}
#endif

int pq_unpack(int codec, const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out)
{
    switch (codec) {
    case PQ_UNCOMPRESSED:
        if (n_in != n_out)
            return wrong_length(codec, n_in, n_out);
        if (n_out > 0)
            memcpy(out, in, n_out);
        return 0;
    case PQ_GZIP:
        return unpack_gzip(in, n_in, out, n_out);
#ifdef HAVE_SNAPPY
    case PQ_SNAPPY:
        return unpack_snappy(in, n_in, out, n_out);
#endif
#ifdef HAVE_ZSTD
    case PQ_ZSTD:
        return unpack_zstd(in, n_in, out, n_out);
#endif
    default:
        FAIL(ERR_UNSUPPORTED, "pages packed with %s are not supported", pq_codec_name(codec));
    }
}

/* The smallest that this build has. */
int pq_codec_to_write(void)
{
    return pq_codec_known(PQ_ZSTD) ? PQ_ZSTD : pq_codec_known(PQ_SNAPPY) ? PQ_SNAPPY : PQ_UNCOMPRESSED;
}

#if defined(HAVE_ZSTD) || defined(HAVE_SNAPPY)
/* Room for n bytes in an emptied string. */
static int make_room(struct str *out, size_t n)
{
    str_clear(out);
    if (out->cap >= n)
        return 0;
    char *s = mem_grow(out->s, out->n, n);
    if (!s)
        return ERR_MEMORY;
    out->s = s;
    out->cap = n;
    return 0;
}
#endif

int pq_pack(int codec, const struct str *in, struct str *out)
{
#ifdef HAVE_ZSTD
    if (codec == PQ_ZSTD) {
        size_t room = ZSTD_compressBound(in->n);
        TRY(make_room(out, room));
        size_t n = ZSTD_compress(out->s, room, in->s, in->n, 3);
        if (ZSTD_isError(n))
            FAIL(ERR_MEMORY, "zstd could not pack a page: %s", ZSTD_getErrorName(n));
        out->n = n;
        return 0;
    }
#endif
#ifdef HAVE_SNAPPY
    if (codec == PQ_SNAPPY) {
        size_t n = snappy_max_compressed_length(in->n);
        TRY(make_room(out, n));
        if (snappy_compress(in->s, in->n, out->s, &n) != SNAPPY_OK)
            FAIL(ERR_FAIL, "snappy could not pack a page");
        out->n = n;
        return 0;
    }
#endif
    BUG_ON(codec != PQ_UNCOMPRESSED);
    str_clear(out);
    str_add_n(out, in->s, in->n);
    if (out->failed)
        FAIL(ERR_MEMORY, "out of memory: could not pack a page");
    return 0;
}

uint32_t pq_crc(const uint8_t *p, size_t n)
{
    BUG_ON(n > UINT32_MAX);
    return (uint32_t)crc32(0, p, (uInt)n);
}
