/* data/sentencepiece_check.c: is the character table of a SentencePiece model safe to walk?
 *
 * libsentencepiece (0.1.97) checks the protocol buffer and the sizes of precompiled_charsmap, but not the double array
 * inside (Yata et al. 2007, as darts-clone writes it): one wrong byte in it and the library reads outside, on some runs
 * with a crash. So before the library sees a model each unit is checked here: a step from it, by any byte, stays in the
 * array, and a value points into the replacement strings, which end with a NUL. Found by flipping bytes of a model.
 * The walk over the fields of the message needs no schema: ModelProto has normalizer_spec at 3 and denormalizer_spec at
 * 5, a NormalizerSpec precompiled_charsmap at 2. */
#include "data/sentencepiece_door.h"

#include <string.h>

struct field {
    uint64_t number;
    const uint8_t *data; /* of a length-delimited one, else NULL */
    size_t n;
};

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t b = *(*p)++;
        *out |= (uint64_t)(b & 0x7F) << shift;
        if (b < 0x80)
            return true;
    }
    return false;
}

/* 1: a field; 0: the end; -1: broken. */
static int next_field(const uint8_t **p, const uint8_t *end, struct field *f)
{
    uint64_t tag, n = 0;
    if (*p == end)
        return 0;
    if (!varint(p, end, &tag))
        return -1;
    *f = (struct field){.number = tag >> 3};
    switch (tag & 7) {
    case 0:
        return varint(p, end, &n) ? 1 : -1;
    case 1:
        n = 8;
        break;
    case 2:
        if (!varint(p, end, &n))
            return -1;
        f->data = *p;
        break;
    case 5:
        n = 4;
        break;
    default: /* groups: not in this message */
        return -1;
    }
    if (n > (uint64_t)(end - *p))
        return -1;
    f->n = (size_t)n;
    *p += n;
    return 1;
}

static uint32_t unit_at(const uint8_t *units, size_t i)
{
    const uint8_t *u = units + 4 * i;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static bool charsmap_ok(const uint8_t *data, size_t n)
{
    if (!n)
        return true; /* no table */
    if (n < 5)
        return false;
    size_t bytes = unit_at(data, 0), size = bytes / 4;
    if (!size || bytes % 4 || bytes >= n - 4 || data[n - 1])
        return false;
    const uint8_t *units = data + 4;
    size_t strings = n - 4 - bytes;
    for (size_t i = 0; i < size; i++) {
        uint32_t u = unit_at(units, i);
        bool is_value = u >> 31;
        if (is_value && (u & 0x7FFFFFFF) >= strings)
            return false;
        if (is_value && i) /* the root is walked from whatever it says */
            continue;
        size_t base = i ^ (size_t)((u >> 10) << ((u & 512) >> 6));
        if ((base | 0xFF) >= size)
            return false;
        if ((u & 256) && (unit_at(units, base) & 0x7FFFFFFF) >= strings)
            return false;
    }
    return true;
}

bool sp_model_is_safe(const void *bytes, size_t n)
{
    const uint8_t *p = bytes, *end = p + n;
    struct field f, g;
    int more, inner;
    while ((more = next_field(&p, end, &f)) > 0) {
        if ((f.number != 3 && f.number != 5) || !f.data)
            continue;
        const uint8_t *q = f.data;
        while ((inner = next_field(&q, f.data + f.n, &g)) > 0)
            if (g.number == 2 && g.data && !charsmap_ok(g.data, g.n))
                return false;
        if (inner < 0)
            return false;
    }
    return more == 0;
}
