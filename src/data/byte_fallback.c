/* data/byte_fallback.c: byte pair encoding over characters, with bytes for what the table lacks: Gemma's tokenizer, and
 * with it SigLIP 2's, out of a tokenizer.json.
 *
 * The normalizer writes U+2581 for blanks, so a whole text is one word, and only the heap of bpe_merge keeps that from
 * being quadratic. A character that is no entry becomes its bytes, <0xE2><0x80>...; without such entries it is unknown,
 * and neighbours that are unknown make one id (fuse_unk). Merging goes one occurrence at a time, as HuggingFace's.
 * SigLIP 2 was trained on lower-cased text, and its folders mostly do not say so: lower case is added when
 * tokenizer_config.json names Siglip2Tokenizer or has do_lower_case; otherwise it must be asked for (--clean siglip).
 */
#include "data/tokenizer_kind.h"
#include "data/unicode.h"

#include <string.h>

struct byte_fallback {
    int32_t byte_id[256], unk;
    bool bytes, fuse_unk, ignore_merges, split, strip_first;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool accepts(const struct token_files *f)
{
    const json_t *model = json_object_get(f->one, "model");
    const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
    return !strcmp(token_model_type(f), "BPE") && !(suffix && *suffix);
}

static int read_model(struct byte_fallback *b, const json_t *model, const char *where)
{
    const char *prefix = NULL;
    double dropout = 0;
    TRY(json_field_bool(model, "byte_fallback", false, &b->bytes, where));
    TRY(json_field_bool(model, "fuse_unk", false, &b->fuse_unk, where));
    TRY(json_field_bool(model, "ignore_merges", false, &b->ignore_merges, where));
    TRY(json_field_real(model, "dropout", false, 0, 1, &dropout, where));
    TRY(json_field_str(model, "continuing_subword_prefix", false, &prefix, where));
    if (!b->bytes)
        FAIL(ERR_UNSUPPORTED,
             "%s: a BPE model without end_of_word_suffix and without byte_fallback: known are CLIP's form (\"</w>\") "
             "and "
             "byte_fallback (Gemma's)",
             where);
    if (dropout > 0 || (prefix && *prefix))
        FAIL(ERR_UNSUPPORTED, "%s: model.%s is set, expected it empty", where,
             dropout > 0 ? "dropout" : "continuing_subword_prefix");
    return 0;
}

static int read_pre_tokenizer(struct byte_fallback *b, const json_t *pre, const char *where)
{
    const char *type = json_string_value(json_object_get(pre, "type"));
    const char *at = json_string_value(json_object_get(json_object_get(pre, "pattern"), "String"));
    const char *how = json_string_value(json_object_get(pre, "behavior"));
    if (!type)
        return 0;
    if (strcmp(type, "Split") || !at || strcmp(at, " ") || !how || strcmp(how, "MergedWithPrevious") ||
        json_is_true(json_object_get(pre, "invert")))
        FAIL(ERR_UNSUPPORTED,
             "%s: pre_tokenizer \"%.40s\" is not known here (known: none, or Split at blanks, MergedWithPrevious)",
             where, type);
    b->split = true;
    return 0;
}

/* The step that takes one blank off the front of decoded text, as Llama's. */
static bool strips_first(const json_t *decoder)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(decoder, "decoders"), i, o)
    {
        const char *type = json_string_value(json_object_get(o, "type"));
        if (type && !strcmp(type, "Strip") && json_integer_value(json_object_get(o, "start")) == 1)
            return true;
    }
    return false;
}

static int set_ids(struct tokenizer *t, struct byte_fallback *b, const struct token_files *f)
{
    bool bos = false, eos = false;
    int rc = token_template(t, f, &t->info.start_id, &t->info.end_id);
    TRY(rc);
    if (rc == 0 && f->config) {
        TRY(json_field_bool(f->config, "add_bos_token", false, &bos, f->config_path));
        TRY(json_field_bool(f->config, "add_eos_token", false, &eos, f->config_path));
        if (bos)
            TRY(token_role_id(t, ROLE_BOS, NULL, true, f->dir, &t->info.start_id));
        if (eos)
            TRY(token_role_id(t, ROLE_EOS, NULL, true, f->dir, &t->info.end_id));
    }
    TRY(token_role_id(t, ROLE_PAD, NULL, false, f->dir, &t->info.pad_id));
    const char *unk = json_string_value(json_object_get(json_object_get(f->one, "model"), "unk_token"));
    TRY(token_role_id(t, ROLE_UNK, unk, false, f->dir, &t->info.unk_id));
    b->unk = unk ? token_table_find(t, unk) : -1;
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        b->byte_id[i] = token_table_find(t, name);
        if (b->byte_id[i] < 0 && b->unk < 0)
            FAIL(ERR_DATA, "%s: byte_fallback is set, but there is neither an entry \"%s\" nor an unk_token",
                 f->one_path, name);
    }
    return 0;
}

static int open_byte_fallback(struct tokenizer *t, const struct token_files *f)
{
    struct byte_fallback *b = arena_calloc(t->arena, 1, sizeof *b);
    bool lower = t->class_name && str_starts(t->class_name, "Siglip2Tokenizer");
    if (!b)
        return ERR_MEMORY;
    t->own = b;
    t->split = true;
    TRY(read_model(b, json_object_get(f->one, "model"), f->one_path));
    TRY(read_pre_tokenizer(b, json_object_get(f->one, "pre_tokenizer"), f->one_path));
    TRY(token_mode(t, f, TEXT_HF));
    if (t->mode == TEXT_BERT)
        FAIL(ERR_USAGE, "%s: cleaning mode bert belongs to WordPiece", f->dir);
    TRY(text_norm_open(&t->norm, t->arena, json_object_get(f->one, "normalizer"), f->one_path));
    if (f->config)
        TRY(json_field_bool(f->config, "do_lower_case", false, &lower, f->config_path));
    if (lower)
        TRY(text_norm_lower(&t->norm, t->arena));
    b->strip_first = strips_first(json_object_get(f->one, "decoder"));
    TRY(token_table_from_json(t, f));
    TRY(token_merges_from_json(t, f));
    return set_ids(t, b, f);
}

static void hash(const struct tokenizer *t, struct sha256 *h)
{
    const struct byte_fallback *b = t->own;
    uint8_t flags[4] = {b->bytes, b->fuse_unk, b->ignore_merges, b->split};
    sha256_add(h, flags, sizeof flags);
}

/* ---- encoding, decoding ------------------------------------------------------------------------------------------ */

/* One character that is no entry: its bytes, if the table has them all. */
static bool put_bytes(const struct byte_fallback *b, const char *s, size_t n, struct token_ids *out)
{
    for (size_t i = 0; i < n; i++)
        if (b->byte_id[(unsigned char)s[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        out->v[out->n++] = b->byte_id[(unsigned char)s[i]];
    return true;
}

static int put_word(const struct tokenizer *t, const char *s, size_t n, struct token_ids *out)
{
    const struct byte_fallback *b = t->own;
    int64_t first = out->n, count;
    bool unknown = false;
    TRY(token_ids_room(out, (int64_t)n));
    if (b->ignore_merges && (out->v[out->n] = bpe_find(&t->table, s, n)) >= 0) {
        out->n++;
        return 0;
    }
    for (size_t i = 0, k; i < n; i += k) {
        int32_t c, id;
        k = uni_next(s + i, n - i, &c);
        id = bpe_find(&t->table, s + i, k);
        if (id >= 0)
            out->v[out->n++] = id;
        else if (!put_bytes(b, s + i, k, out)) {
            if (b->unk >= 0 && !(unknown && b->fuse_unk))
                out->v[out->n++] = b->unk;
            unknown = true;
            continue;
        }
        unknown = false;
    }
    count = out->n - first;
    TRY(bpe_merge(&t->table, out->v + first, &count, true));
    out->n = first + count;
    return 0;
}

static int encode(const struct tokenizer *t, const char *s, size_t n, bool first UNUSED, struct token_ids *out)
{
    const struct byte_fallback *b = t->own;
    while (b->split && n) {
        const char *gap = memchr(s, ' ', n);
        size_t k = gap ? (size_t)(gap - s) + 1 : n;
        TRY(put_word(t, s, k, out));
        s += k;
        n -= k;
    }
    return n ? put_word(t, s, n, out) : 0;
}

static int byte_of(const struct byte_fallback *b, int32_t id)
{
    for (int i = 0; i < 256; i++)
        if (b->byte_id[i] == id)
            return i;
    return -1;
}

static int decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out)
{
    const struct byte_fallback *b = t->own;
    for (int64_t i = 0; i < n; i++) {
        const char *s = t->table.tokens[ids[i]], *blank;
        if (token_is_special(t, ids[i]))
            continue;
        int byte = str_starts(s, "<0x") ? byte_of(b, ids[i]) : -1;
        if (byte >= 0) {
            str_add_c(out, (char)byte);
            continue;
        }
        for (; (blank = strstr(s, "\xE2\x96\x81")) != NULL; s = blank + 3) {
            str_add_n(out, s, (size_t)(blank - s));
            str_add_c(out, ' ');
        }
        str_add_n(out, s, strlen(s));
    }
    if (b->strip_first && out->n && out->s[0] == ' ')
        memmove(out->s, out->s + 1, out->n--);
    return 0;
}

/* tokenizer.json says it all; the handle writes it again. */
static int save(const struct tokenizer *t UNUSED, const char *dir UNUSED)
{
    return 0;
}

const struct tokenizer_kind tokenizer_byte_fallback = {
    .name = "byte-fallback-bpe",
    .class_name = "PreTrainedTokenizerFast",
    .accepts = accepts,
    .open = open_byte_fallback,
    .encode = encode,
    .decode = decode,
    .find = token_table_find,
    .save = save,
    .hash = hash,
};
