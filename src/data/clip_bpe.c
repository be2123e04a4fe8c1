/* data/clip_bpe.c: CLIP's tokenizer (Radford et al. 2021): byte pair encoding over bytes with end-of-word marks.
 *
 * Two layouts are read, both HuggingFace's: vocab.json + merges.txt (+ tokenizer_config.json, special_tokens_map.json),
 * and tokenizer.json with everything in one file. Where both lie in one folder they hold the same table: entries come
 * from the older pair, the cleaning from tokenizer.json's normalizer, for that is what transformers executes.
 * The two cleanings are not the same function. OpenAI's unescapes HTML, minds the final sigma, and matches its pattern
 * without regard to case; tokenizer.json composes (NFC), lowers letter by letter, and minds case.
 * The vocabulary is not trusted: every id once, no holes, all bytes, no unknown merges. */
#include "data/tokenizer_kind.h"

#include <stdatomic.h>
#include <string.h>

/* ---- words seen before ------------------------------------------------------------------------------------------- */

/* Captions are made of few words, so the ids of short ones are kept: a slot holds the first word that hashed to it, for
 * good. Entries never change once they are there, and a slot is taken by one compare-and-swap, so any number of threads
 * may ask; without memory a word is simply not kept. */
enum { SLOTS = 1 << 14, KEPT_BYTES = 24, KEPT_IDS = 6 };
struct seen_word {
    uint64_t key[KEPT_BYTES / 8]; /* its bytes, then zeros */
    int32_t ids[KEPT_IDS];
    uint8_t n, n_ids;
};
struct clip_bpe {
    _Atomic(struct seen_word *) slots[SLOTS];
};

static int encode_word(const struct tokenizer *t, const char *s, size_t n, int32_t *ids, int64_t *n_ids)
{
    struct clip_bpe *own = t->own;
    if (n > KEPT_BYTES)
        return bpe_word(&t->table, s, n, ids, n_ids);
    uint64_t key[KEPT_BYTES / 8] = {0}, h = n;
    memcpy(key, s, n);
    for (int i = 0; i < KEPT_BYTES / 8; i++) {
        h = (h ^ key[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    _Atomic(struct seen_word *) *slot = &own->slots[h & (SLOTS - 1)];
    struct seen_word *seen = atomic_load_explicit(slot, memory_order_acquire), *none = NULL;
    if (seen && seen->n == n && !memcmp(seen->key, key, sizeof key)) {
        memcpy(ids, seen->ids, seen->n_ids * sizeof *ids);
        *n_ids = seen->n_ids;
        return 0;
    }
    TRY(bpe_word(&t->table, s, n, ids, n_ids));
    if (seen || *n_ids > KEPT_IDS || !(seen = mem_alloc(sizeof *seen)))
        return 0;
    seen->n = (uint8_t)n;
    seen->n_ids = (uint8_t)*n_ids;
    memcpy(seen->key, key, sizeof key);
    memcpy(seen->ids, ids, (size_t)*n_ids * sizeof *ids);
    if (!atomic_compare_exchange_strong(slot, &none, seen))
        mem_free(seen);
    return 0;
}

static void close_clip_bpe(struct tokenizer *t)
{
    struct clip_bpe *own = t->own;
    for (int i = 0; own && i < SLOTS; i++)
        mem_free(atomic_load(&own->slots[i]));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static const char *suffix_of(const struct token_files *f)
{
    return json_string_value(json_object_get(json_object_get(f->one, "model"), "end_of_word_suffix"));
}

static bool accepts(const struct token_files *f)
{
    const char *suffix = suffix_of(f);
    return (f->vocab_json && f->merges) || (!strcmp(token_model_type(f), "BPE") && suffix && *suffix);
}

static int merge_line(struct bpe *b, const char *s, size_t n, const char *where, int64_t line)
{
    const char *gap = memchr(s, ' ', n);
    size_t left = gap ? (size_t)(gap - s) : 0, right = gap ? n - left - 1 : 0;
    if (!left || !right || memchr(gap + 1, ' ', right))
        FAIL(ERR_DATA, "%s:%lld: expected two symbols with one space between, found \"%.*s\"", where, (long long)line,
             (int)(n < 60 ? n : 60), s);
    return bpe_add_merge(b, s, left, gap + 1, right, where, line);
}

static int read_merges(struct bpe *b, const struct map *m, const char *path)
{
    const char *p = (const char *)m->data, *end = p + m->size;
    if (!utf8_ok(p, m->size))
        FAIL(ERR_DATA, "%s: not UTF-8", path);
    for (int64_t line = 1; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        size_t trimmed = n && p[n - 1] == '\r' ? n - 1 : n;
        bool version = line == 1 && trimmed >= 8 && !memcmp(p, "#version", 8);
        if (trimmed && !version)
            TRY(merge_line(b, p, trimmed, path, line));
        p += n + 1;
    }
    return map_check(m);
}

static int64_t count_lines(const struct map *m)
{
    int64_t n = 1;
    for (size_t i = 0; i < m->size; i++)
        n += m->data[i] == '\n';
    return n;
}

static int read_pair_of_files(struct tokenizer *t, const char *dir)
{
    char vocab_path[4096], merges_path[4096];
    json_t *vocab = NULL;
    struct map m = {0};
    TRY(path_join(vocab_path, sizeof vocab_path, dir, "vocab.json"));
    TRY(path_join(merges_path, sizeof merges_path, dir, "merges.txt"));
    TRY(json_read_file(&vocab, vocab_path));
    int rc = map_open(&m, merges_path);
    if (rc < 0)
        goto out;
    rc = token_table_fill(t, vocab, count_lines(&m), vocab_path);
    if (rc == 0)
        rc = bpe_finish(&t->table, vocab_path);
    if (rc == 0)
        rc = read_merges(&t->table, &m, merges_path);
    map_close(&m);
out:
    json_decref(vocab);
    return rc;
}

static int read_one_file(struct tokenizer *t, const struct token_files *f)
{
    if (strcmp(suffix_of(f), BPE_END_MARK))
        FAIL(ERR_UNSUPPORTED, "%s: model.end_of_word_suffix is \"%.20s\", expected \"" BPE_END_MARK "\" (CLIP's)",
             f->one_path, suffix_of(f));
    TRY(token_table_from_json(t, f));
    TRY(bpe_finish(&t->table, f->one_path));
    return token_merges_from_json(t, f);
}

/* The pattern that the scanner knows, if the file has one. */
static int check_pattern(const json_t *o, int depth, const char *where)
{
    static const char *const known[] = {"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
                                        "'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}|[^\\s\\p{L}\\p{N}]+"};
    static const char marks[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|";
    const char *type = json_string_value(json_object_get(o, "type"));
    size_t i;
    json_t *part;
    if (!type || !strcmp(type, "ByteLevel"))
        return 0;
    if (!strcmp(type, "Sequence") && depth < 8) {
        json_array_foreach(json_object_get(o, "pretokenizers"), i, part) TRY(check_pattern(part, depth + 1, where));
        return 0;
    }
    if (strcmp(type, "Split"))
        FAIL(ERR_UNSUPPORTED, "%s: pre_tokenizer: step \"%.40s\" is not known for CLIP's tokenizer", where, type);
    const char *regex = json_string_value(json_object_get(json_object_get(o, "pattern"), "Regex"));
    const char *bare = regex && str_starts(regex, marks) ? regex + strlen(marks) : regex;
    for (i = 0; bare && i < ARRAY_LEN(known); i++)
        if (!strcmp(bare, known[i]))
            return 0;
    FAIL(ERR_UNSUPPORTED, "%s: pre_tokenizer: the pattern \"%.120s\" is not CLIP's", where, regex ? regex : "");
}

static int set_specials(struct tokenizer *t, bool pad_zero, const char *where)
{
    t->own = arena_calloc(t->arena, 1, sizeof(struct clip_bpe));
    if (!t->own)
        return ERR_MEMORY;
    TRY(token_role_id(t, ROLE_BOS, "<|startoftext|>", true, where, &t->info.start_id));
    TRY(token_role_id(t, ROLE_EOS, "<|endoftext|>", true, where, &t->info.end_id));
    TRY(token_role_id(t, ROLE_UNK, NULL, false, where, &t->info.unk_id));
    TRY(token_role_id(t, ROLE_PAD, NULL, false, where, &t->info.pad_id));
    for (int i = 0; i < 2; i++) { /* the names are needed by the scanner and by save */
        enum token_role role = i ? ROLE_EOS : ROLE_BOS;
        if (!t->role[role])
            t->role[role] = i ? "<|endoftext|>" : "<|startoftext|>";
        TRY(token_added_put(t, (struct token_added){.text = t->role[role], .id = -1, .special = true}));
    }
    if (t->info.pad_id < 0)
        t->info.pad_id = t->info.end_id;
    if (pad_zero) /* open_clip's rule */
        t->info.pad_id = 0;
    return 0;
}

static int open_clip_bpe(struct tokenizer *t, const struct token_files *f)
{
    const json_t *normalizer = json_object_get(f->one, "normalizer");
    bool pair = f->vocab_json && f->merges, said = normalizer && !json_is_null(normalizer);
    TRY(token_mode(t, f, said || !pair ? TEXT_HF : TEXT_OPEN_CLIP));
    if (t->mode == TEXT_BERT)
        FAIL(ERR_USAGE, "%s: cleaning mode bert belongs to WordPiece; this is a CLIP tokenizer", f->dir);
    if (t->mode == TEXT_HF) {
        TRY(check_pattern(json_object_get(f->one, "pre_tokenizer"), 0, f->one_path));
        TRY(f->one ? text_norm_open(&t->norm, t->arena, normalizer, f->one_path) : text_norm_clip(&t->norm, t->arena));
    }
    t->split = t->mode == TEXT_HF;
    TRY(pair ? read_pair_of_files(t, f->dir) : read_one_file(t, f));
    return set_specials(t, f->opt->pad_zero || f->open_clip, f->dir);
}

int tokenizer_clip_trained(struct tokenizer *t, const char *where)
{
    t->kind = &tokenizer_clip_bpe;
    t->mode = t->folder_mode = TEXT_OPEN_CLIP;
    return set_specials(t, false, where);
}

/* ---- encoding, decoding ------------------------------------------------------------------------------------------ */

static int encode(const struct tokenizer *t, const char *s, size_t n, bool first UNUSED, struct token_ids *out)
{
    struct text_words words = {.s = s, .n = n, .exact = t->mode == TEXT_HF};
    const char *from;
    size_t len;
    enum text_word kind;
    if (!t->split) { /* OpenAI's pattern has them among its alternatives */
        words.special[0] = t->role[ROLE_BOS];
        words.special[1] = t->role[ROLE_EOS];
    }
    TRY(token_ids_room(out, (int64_t)n)); /* an id covers at least one byte */
    while ((kind = text_next_word(&words, &from, &len)) != TEXT_END) {
        int64_t k = 1;
        if (kind == TEXT_WORD)
            TRY(encode_word(t, from, len, out->v + out->n, &k));
        else
            out->v[out->n] = kind == TEXT_SPECIAL_0 ? t->info.start_id : t->info.end_id;
        out->n += k;
    }
    return 0;
}

static int decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out)
{
    for (int64_t i = 0; i < n; i++) {
        bool last = false;
        if (token_is_special(t, ids[i]))
            continue;
        bpe_token_bytes(&t->table, ids[i], out, &last);
        if (last)
            str_add_c(out, ' ');
    }
    while (out->n && out->s[out->n - 1] == ' ')
        out->s[--out->n] = 0;
    return 0;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int save_vocab(const struct bpe *b, const char *dir)
{
    json_t *o = json_object();
    for (int32_t i = 0; o && i < b->n_tokens; i++)
        if (json_object_set_new(o, b->tokens[i], json_integer(i))) {
            json_decref(o);
            FAIL(ERR_MEMORY, "out of memory while writing %s/vocab.json", dir);
        }
    return atomic_put_json(dir, "vocab.json", o, JSON_COMPACT);
}

static int save_merges(const struct bpe *b, const char *dir)
{
    struct str s = {0};
    str_add(&s, "#version: 0.2\n");
    for (int32_t i = 0; i < b->n_merges; i++)
        str_add(&s, "%s %s\n", b->tokens[b->merges[i].left], b->tokens[b->merges[i].right]);
    int rc = s.failed ? err_set(ERR_MEMORY, "out of memory while writing %s/merges.txt", dir)
                      : token_save_bytes(dir, "merges.txt", s.s, s.n);
    str_free(&s);
    return rc;
}

static int save(const struct tokenizer *t, const char *dir)
{
    TRY(save_vocab(&t->table, dir));
    return save_merges(&t->table, dir);
}

const struct tokenizer_kind tokenizer_clip_bpe = {
    .name = "clip-bpe",
    .class_name = "CLIPTokenizer",
    .accepts = accepts,
    .open = open_clip_bpe,
    .encode = encode,
    .decode = decode,
    .find = token_table_find,
    .save = save,
    .close = close_clip_bpe,
};
