/* data/sentencepiece.cc: the one C++ file: libsentencepiece (Kudo and Richardson 2018) behind the plain functions of
 * sentencepiece_door.h.
 *
 * SiglipTokenizer switches the dummy prefix off before it loads the model and writes the prefix itself. The setting is
 * a field of the serialized model, and protocol buffers merge a message that occurs twice, so four more bytes at the
 * end say it; no schema of the message is needed. Rejected: writing Unigram and its character table anew; the library
 * is in every distribution, and equal ids are the point. */
#include "data/sentencepiece_door.h"

#include <cstdio>
#include <new>
#include <sentencepiece_processor.h>
#include <string>
#include <vector>

struct sp_model {
    sentencepiece::SentencePieceProcessor processor;
};

extern "C" int sp_open(struct sp_model **out, const void *bytes, size_t n, bool no_dummy_prefix, char *why,
                       size_t n_why)
{
    sp_model *m = nullptr;
    try {
        std::string model(static_cast<const char *>(bytes), n);
        if (no_dummy_prefix) /* field 3 normalizer_spec { field 3 add_dummy_prefix: false } */
            model.append("\x1A\x02\x18\x00", 4);
        m = new sp_model;
        const auto status = m->processor.LoadFromSerializedProto(model);
        if (status.ok()) {
            *out = m;
            return 0;
        }
        snprintf(why, n_why, "%s", status.ToString().c_str());
        delete m;
        return -1;
    } catch (const std::bad_alloc &) {
        delete m;
        return -2;
    } catch (...) {
        delete m;
        snprintf(why, n_why, "the library failed");
        return -1;
    }
}

extern "C" void sp_close(struct sp_model *m)
{
    delete m;
}

extern "C" int sp_size(const struct sp_model *m)
{
    return m->processor.GetPieceSize();
}

extern "C" void sp_special_ids(const struct sp_model *m, int *bos, int *eos, int *pad, int *unk)
{
    *bos = m->processor.bos_id();
    *eos = m->processor.eos_id();
    *pad = m->processor.pad_id();
    *unk = m->processor.unk_id();
}

extern "C" int sp_find(const struct sp_model *m, const char *piece)
{
    try {
        const int id = m->processor.PieceToId(piece);
        return id >= 0 && id < m->processor.GetPieceSize() && m->processor.IdToPiece(id) == piece ? id : -1;
    } catch (...) {
        return -1;
    }
}

extern "C" int sp_encode(const struct sp_model *m, const char *s, size_t n, bool (*put)(void *ctx, int id), void *ctx)
{
    try {
        std::vector<int> ids;
        if (!m->processor.Encode(std::string(s, n), &ids).ok())
            return -1;
        for (const int id : ids)
            if (!put(ctx, id))
                return -2;
        return 0;
    } catch (const std::bad_alloc &) {
        return -2;
    } catch (...) {
        return -1;
    }
}

extern "C" int sp_decode(const struct sp_model *m, const int32_t *ids, size_t n,
                         void (*put)(void *ctx, const char *s, size_t n), void *ctx)
{
    try {
        std::string text;
        if (!m->processor.Decode(std::vector<int>(ids, ids + n), &text).ok())
            return -1;
        put(ctx, text.data(), text.size());
        return 0;
    } catch (const std::bad_alloc &) {
        return -2;
    } catch (...) {
        return -1;
    }
}
