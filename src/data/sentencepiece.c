/* data/sentencepiece.c: SentencePiece models (Kudo and Richardson 2018): SigLIP's spiece.model, T5's, Gemma's
 * tokenizer.model.
 *
 * The library does the pieces; this file does what the Python classes around it do. SiglipTokenizer: a U+2581 before
 * the text, lower case, no punctuation, single spaces, then "<unk>" before every stretch and its pieces off again,
 * because the library would eat leading blanks; the end is </s>, which is the pad too, and there is no start. Without
 * libsentencepiece the kind is known but says what to install. */
#include "data/sentencepiece_door.h"
#include "data/tokenizer_kind.h"
#include "data/unicode.h"

#include <string.h>

#define BLANK "\xE2\x96\x81" /* U+2581 */

struct pieces {
    struct sp_model *model;
    struct token_ids unk; /* ids of the text "<unk>" */
    int blank;
    bool lower;
    const char *file; /* its name in the folder */
    void *bytes;
    size_t n_bytes;
};

static bool accepts(const struct token_files *f)
{
    return f->piece_path[0] != 0;
}

#ifndef HAVE_SENTENCEPIECE

static int open_pieces(struct tokenizer *t UNUSED, const struct token_files *f)
{
    FAIL(ERR_UNSUPPORTED,
         "%s: a SentencePiece model, and this program was built without libsentencepiece; install libsentencepiece-dev "
         "and a C++ compiler, then build again",
         f->piece_path);
}

const struct tokenizer_kind tokenizer_sentencepiece = {
    .name = "sentencepiece", .accepts = accepts, .open = open_pieces, .find = token_table_find};

#else

static int32_t find(const struct tokenizer *t, const char *name)
{
    const struct pieces *p = t->own;
    return sp_find(p->model, name);
}

static bool put_id(void *ctx, int id)
{
    struct token_ids *out = ctx;
    if (token_ids_room(out, 1) < 0)
        return false;
    out->v[out->n++] = id;
    return true;
}

static int encode_bytes(const struct pieces *p, const char *s, size_t n, struct token_ids *out)
{
    int rc = sp_encode(p->model, s, n, put_id, out);
    if (rc == -2)
        FAIL(ERR_MEMORY, "out of memory while encoding a text of %zu bytes", n);
    if (rc < 0)
        FAIL(ERR_DATA, "libsentencepiece cannot encode a text of %zu bytes", n);
    return 0;
}

static int load(struct tokenizer *t, struct pieces *p, const struct token_files *f)
{
    struct map m = {0};
    char why[400] = "";
    TRY(map_open(&m, f->piece_path));
    int rc = 0;
    if (m.size > (uint64_t)limit_get(LIMIT_JSON_BYTES))
        rc = err_set(ERR_DATA, "%s: %zu bytes, expected at most %lld (limit json-bytes)", f->piece_path, m.size,
                     (long long)limit_get(LIMIT_JSON_BYTES));
    else if (!m.size)
        rc = err_set(ERR_DATA, "%s: is empty, expected a SentencePiece model", f->piece_path);
    if (rc == 0 && !(p->bytes = mem_alloc(m.size)))
        rc = ERR_MEMORY;
    if (rc == 0) {
        memcpy(p->bytes, m.data, m.size);
        p->n_bytes = m.size;
        rc = map_check(&m);
    }
    map_close(&m);
    TRY(rc);
    if (!sp_model_is_safe(p->bytes, p->n_bytes))
        FAIL(ERR_DATA, "%s: not a SentencePiece model, or one whose character table is broken", f->piece_path);
    rc = sp_open(&p->model, p->bytes, p->n_bytes, t->mode == TEXT_SIGLIP, why, sizeof why);
    if (rc == -2)
        FAIL(ERR_MEMORY, "%s: out of memory", f->piece_path);
    if (rc < 0)
        FAIL(ERR_DATA, "%s: not a SentencePiece model that libsentencepiece reads: %s", f->piece_path, why);
    t->info.vocab_size = sp_size(p->model);
    if (t->info.vocab_size < 1 || t->info.vocab_size > limit_get(LIMIT_MERGES))
        FAIL(ERR_DATA, "%s: %lld pieces, expected 1 to %lld (limit merges)", f->piece_path,
             (long long)t->info.vocab_size, (long long)limit_get(LIMIT_MERGES));
    return 0;
}

/* Which of start and end the class of the folder adds. */
static int set_ids(struct tokenizer *t, const struct pieces *p, const struct token_files *f)
{
    int bos, eos, pad, unk;
    bool llama = t->class_name && (str_starts(t->class_name, "Gemma") || str_starts(t->class_name, "Llama"));
    bool with_bos = llama, with_eos = !llama;
    sp_special_ids(p->model, &bos, &eos, &pad, &unk);
    if (f->config) {
        TRY(json_field_bool(f->config, "add_bos_token", false, &with_bos, f->config_path));
        TRY(json_field_bool(f->config, "add_eos_token", false, &with_eos, f->config_path));
    }
    int32_t named[4];
    static const enum token_role roles[4] = {ROLE_BOS, ROLE_EOS, ROLE_PAD, ROLE_UNK};
    for (int i = 0; i < 4; i++)
        TRY(token_role_id(t, roles[i], NULL, false, f->dir, &named[i]));
    bos = named[0] >= 0 ? named[0] : bos;
    eos = named[1] >= 0 ? named[1] : eos;
    pad = named[2] >= 0 ? named[2] : pad;
    if (with_eos && eos < 0)
        FAIL(ERR_DATA, "%s: the model has no end token, and the folder names none", f->piece_path);
    if (with_bos && bos < 0)
        FAIL(ERR_DATA, "%s: the model has no start token, and the folder names none", f->piece_path);
    t->info.start_id = with_bos ? bos : -1;
    t->info.end_id = with_eos ? eos : -1;
    t->info.pad_id = pad >= 0 ? pad : eos; /* SiglipTokenizer pads with </s> */
    t->info.unk_id = named[3] >= 0 ? named[3] : unk;
    return 0;
}

static int open_pieces(struct tokenizer *t, const struct token_files *f)
{
    struct pieces *p = arena_calloc(t->arena, 1, sizeof *p);
    bool siglip = t->class_name && str_starts(t->class_name, "SiglipTokenizer");
    if (!p)
        return ERR_MEMORY;
    t->own = p;
    t->split = true;
    p->lower = true;
    p->file = str_ends(f->piece_path, "spiece.model") ? "spiece.model" : "tokenizer.model";
    TRY(token_mode(t, f, siglip ? TEXT_SIGLIP : TEXT_NONE));
    if (t->mode == TEXT_HF || t->mode == TEXT_BERT)
        FAIL(ERR_USAGE, "%s: cleaning mode %s does not belong to a SentencePiece model", f->dir,
             text_mode_name(t->mode));
    if (f->config)
        TRY(json_field_bool(f->config, "do_lower_case", false, &p->lower, f->config_path));
    TRY(load(t, p, f));
    TRY(set_ids(t, p, f));
    p->blank = sp_find(p->model, BLANK);
    return t->mode == TEXT_SIGLIP ? encode_bytes(p, "<unk>", 5, &p->unk) : 0;
}

static void hash(const struct tokenizer *t, struct sha256 *h)
{
    const struct pieces *p = t->own;
    sha256_add(h, p->bytes, p->n_bytes);
    sha256_add(h, &p->lower, 1);
}

static void close_pieces(struct tokenizer *t)
{
    struct pieces *p = t->own;
    if (!p)
        return;
    if (p->model)
        sp_close(p->model);
    mem_free(p->unk.v);
    mem_free(p->bytes);
}

/* ---- encoding, decoding ------------------------------------------------------------------------------------------ */

static int encode(const struct tokenizer *t, const char *s, size_t n, bool first UNUSED, struct token_ids *out)
{
    const struct pieces *p = t->own;
    if (t->mode != TEXT_SIGLIP)
        return encode_bytes(p, s, n, out);
    struct str text = {0};
    int64_t from = out->n;
    str_add(&text, "<unk>");
    text_canonical(&text, s, n, p->lower);
    int rc = text.failed ? err_set(ERR_MEMORY, "out of memory while cleaning a text of %zu bytes", n)
                         : encode_bytes(p, text.s, text.n, out);
    str_free(&text);
    if (rc == 0 && out->n - from >= p->unk.n) {
        out->n -= p->unk.n;
        memmove(out->v + from, out->v + from + p->unk.n, (size_t)(out->n - from) * sizeof *out->v);
    }
    return rc;
}

static int encode_whole(const struct tokenizer *t, const char *text, size_t n, struct token_ids *out, bool *done)
{
    const struct pieces *p = t->own;
    struct str s = {0};
    size_t plain = 0;
    if (t->mode != TEXT_SIGLIP)
        return 0;
    *done = true;
    str_add(&s, BLANK);
    for (size_t i = 0; i + 3 <= n; i++)
        if (!memcmp(text + i, BLANK, 3)) {
            str_add_n(&s, text + plain, i - plain);
            str_add_c(&s, ' ');
            plain = i + 3;
        }
    str_add_n(&s, text + plain, n - plain);
    int rc =
        s.failed ? err_set(ERR_MEMORY, "out of memory while encoding a text") : token_split_encode(t, s.s, s.n, out);
    str_free(&s);
    if (rc == 0 && out->n > 1 && out->v[0] == p->blank && token_is_special(t, out->v[1]))
        memmove(out->v, out->v + 1, (size_t)--out->n * sizeof *out->v);
    return rc;
}

static void put_text(void *ctx, const char *s, size_t n)
{
    str_add_n(ctx, s, n);
}

static int decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out)
{
    const struct pieces *p = t->own;
    int32_t *plain = mem_alloc(((size_t)n + 1) * sizeof *plain);
    size_t k = 0;
    if (!plain)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        if (!token_is_special(t, ids[i]))
            plain[k++] = ids[i];
    int rc = sp_decode(p->model, plain, k, put_text, out);
    mem_free(plain);
    size_t blanks = 0;
    while (rc == 0 && blanks < out->n && out->s[blanks] == ' ')
        blanks++;
    if (blanks)
        memmove(out->s, out->s + blanks, (out->n -= blanks) + 1);
    if (rc < 0)
        FAIL(rc == -2 ? ERR_MEMORY : ERR_DATA, "libsentencepiece cannot decode %lld ids", (long long)n);
    return 0;
}

static int save(const struct tokenizer *t, const char *dir)
{
    const struct pieces *p = t->own;
    return token_save_bytes(dir, p->file, p->bytes, p->n_bytes);
}

const struct tokenizer_kind tokenizer_sentencepiece = {
    .name = "sentencepiece",
    .class_name = "T5Tokenizer",
    .accepts = accepts,
    .open = open_pieces,
    .encode = encode,
    .encode_whole = encode_whole,
    .decode = decode,
    .find = find,
    .save = save,
    .hash = hash,
    .close = close_pieces,
};

#endif
