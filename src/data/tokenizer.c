/* data/tokenizer.c: CLIP's tokenizer as a handle: files in, ids out, files out.
 *
 * Two layouts are read, both HuggingFace's: vocab.json + merges.txt (+ tokenizer_config.json, special_tokens_map.json),
 * and tokenizer.json with everything in one file; the first wins when both lie there, because it is the older and
 * simpler one. The fingerprint covers what decides the ids (entries, merges, special ids) and not the spelling of the
 * files, so both layouts of one tokenizer agree. The vocabulary is not trusted: every id once, no holes, all bytes, no
 * unknown merges. */
#include "data/bpe.h"
#include "data/save_json.h"

#include <string.h>

struct tokenizer {
    struct arena *arena;
    struct bpe bpe;
    struct tokenizer_info info;
    const char *start, *end; /* their spelling in the text */
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The files give names; ids follow when the vocabulary is known. */
struct special_names {
    const char *start, *end, *pad; /* in the tokenizer's arena */
};

/* A special token is a string or an object with "content". */
static int read_special(struct arena *a, const json_t *o, const char *key, const char *where, const char **out)
{
    const json_t *v = json_object_get(o, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v) || !*json_string_value(v))
        FAIL(ERR_DATA, "%s: %s: expected a non-empty string or an object with \"content\"", where, key);
    *out = arena_strdup(a, json_string_value(v));
    return *out ? 0 : ERR_MEMORY;
}

static int read_special_file(struct arena *a, const char *dir, const char *name, struct special_names *s)
{
    char path[4096];
    TRY(path_join(path, sizeof path, dir, name));
    if (!path_exists(path))
        return 0;
    json_t *o = NULL;
    TRY(json_read_file(&o, path));
    int rc = 0;
    if (!json_is_object(o))
        rc = err_set(ERR_DATA, "%s: expected a JSON object", path);
    if (rc == 0)
        rc = read_special(a, o, "bos_token", path, &s->start);
    if (rc == 0)
        rc = read_special(a, o, "eos_token", path, &s->end);
    if (rc == 0)
        rc = read_special(a, o, "pad_token", path, &s->pad);
    json_decref(o);
    return rc;
}

static int set_vocab(struct bpe *b, const json_t *vocab, const char *where)
{
    const char *name;
    json_t *id;
    json_object_foreach((json_t *)vocab, name, id)
    {
        if (!json_is_integer(id))
            FAIL(ERR_DATA, "%s: entry \"%.60s\": expected a whole number as its id", where, name);
        TRY(bpe_set_token(b, json_integer_value(id), name, where));
    }
    return 0;
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
    return 0;
}

static int64_t count_lines(const struct map *m)
{
    int64_t n = 1;
    for (size_t i = 0; i < m->size; i++)
        n += m->data[i] == '\n';
    return n;
}

static int read_pair_of_files(struct tokenizer *t, const char *vocab_path, const char *merges_path)
{
    json_t *vocab = NULL;
    struct map m = {0};
    TRY(json_read_file(&vocab, vocab_path));
    int rc = map_open(&m, merges_path);
    if (rc < 0)
        goto out;
    if (!json_is_object(vocab) || !json_object_size(vocab))
        rc = err_set(ERR_DATA, "%s: expected a JSON object of entries and ids", vocab_path);
    if (rc == 0)
        rc = bpe_start(&t->bpe, t->arena, (int64_t)json_object_size(vocab), count_lines(&m));
    if (rc == 0)
        rc = set_vocab(&t->bpe, vocab, vocab_path);
    if (rc == 0)
        rc = bpe_finish(&t->bpe, vocab_path);
    if (rc == 0)
        rc = read_merges(&t->bpe, &m, merges_path);
    map_close(&m);
out:
    json_decref(vocab);
    return rc;
}

/* Entries of added_tokens that model.vocab does not hold. */
static int64_t count_added(const json_t *added, const json_t *vocab)
{
    int64_t n = 0;
    size_t i;
    json_t *o;
    json_array_foreach((json_t *)added, i, o)
    {
        const char *name = json_string_value(json_object_get(o, "content"));
        n += name && !json_object_get(vocab, name);
    }
    return n;
}

static int set_added(struct bpe *b, const json_t *added, const json_t *vocab, const char *where)
{
    size_t i;
    json_t *o;
    json_array_foreach((json_t *)added, i, o)
    {
        const json_t *id = json_object_get(o, "id");
        const char *name = json_string_value(json_object_get(o, "content"));
        if (!name || !json_is_integer(id))
            FAIL(ERR_DATA, "%s: added_tokens[%zu]: expected \"content\" and a whole number \"id\"", where, i);
        const json_t *known = json_object_get(vocab, name);
        if (!known)
            TRY(bpe_set_token(b, json_integer_value(id), name, where));
        else if (json_integer_value(known) != json_integer_value(id))
            FAIL(ERR_DATA, "%s: added_tokens[%zu]: \"%.60s\" has id %lld, but %lld in model.vocab", where, i, name,
                 (long long)json_integer_value(id), (long long)json_integer_value(known));
    }
    return 0;
}

static int set_json_merges(struct bpe *b, const json_t *merges, const char *where)
{
    size_t i;
    json_t *m;
    json_array_foreach((json_t *)merges, i, m)
    {
        char place[4200];
        snprintf(place, sizeof place, "%s: model.merges[%zu]", where, i);
        if (json_is_string(m)) {
            const char *s = json_string_value(m), *gap = strchr(s, ' ');
            if (!gap || gap == s || !gap[1] || strchr(gap + 1, ' '))
                FAIL(ERR_DATA, "%s: expected two symbols with one space between, found \"%.60s\"", place, s);
            TRY(bpe_add_merge(b, s, (size_t)(gap - s), gap + 1, strlen(gap + 1), place, 0));
            continue;
        }
        const char *l = json_string_value(json_array_get(m, 0)), *r = json_string_value(json_array_get(m, 1));
        if (json_array_size(m) != 2 || !l || !r)
            FAIL(ERR_DATA, "%s: expected a string \"left right\" or a list of two strings", place);
        TRY(bpe_add_merge(b, l, strlen(l), r, strlen(r), place, 0));
    }
    return 0;
}

static int read_one_file(struct tokenizer *t, const char *path)
{
    json_t *o = NULL;
    TRY(json_read_file(&o, path));
    const json_t *model = json_object_get(o, "model"), *vocab = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges"), *added = json_object_get(o, "added_tokens");
    const char *type = json_string_value(json_object_get(model, "type"));
    const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
    int rc = 0;
    if (type && strcmp(type, "BPE"))
        rc = err_set(ERR_UNSUPPORTED, "%s: model.type is \"%s\", expected \"BPE\"", path, type);
    else if (!json_is_object(vocab) || !json_is_array(merges))
        rc = err_set(ERR_DATA, "%s: expected model.vocab (object) and model.merges (list)", path);
    else if (!suffix || strcmp(suffix, BPE_END_MARK))
        rc = err_set(ERR_UNSUPPORTED,
                     "%s: model.end_of_word_suffix is \"%s\", expected \"" BPE_END_MARK "\" (CLIP's tokenizer)", path,
                     suffix ? suffix : "");
    if (rc == 0)
        rc = bpe_start(&t->bpe, t->arena, (int64_t)json_object_size(vocab) + count_added(added, vocab),
                       (int64_t)json_array_size(merges));
    if (rc == 0)
        rc = set_vocab(&t->bpe, vocab, path);
    if (rc == 0)
        rc = set_added(&t->bpe, added, vocab, path);
    if (rc == 0)
        rc = bpe_finish(&t->bpe, path);
    if (rc == 0)
        rc = set_json_merges(&t->bpe, merges, path);
    json_decref(o);
    return rc;
}

/* ---- the handle
 * ------------------------------------------------------------------------------------------------------ */

static int special_id(const struct bpe *b, const char *name, const char *what, const char *where, int32_t *id)
{
    *id = bpe_find(b, name, strlen(name));
    if (*id < 0)
        FAIL(ERR_DATA, "%s: the %s token \"%s\" is not in the vocabulary", where, what, name);
    return 0;
}

static void fingerprint(const struct tokenizer *t, char out[65])
{
    struct sha256 h;
    sha256_start(&h);
    for (int32_t i = 0; i < t->bpe.n_tokens; i++)
        sha256_add(&h, t->bpe.tokens[i], strlen(t->bpe.tokens[i]) + 1);
    sha256_add(&h, t->bpe.merges, (size_t)t->bpe.n_merges * sizeof *t->bpe.merges);
    int32_t ids[3] = {t->info.start_id, t->info.end_id, t->info.pad_id};
    sha256_add(&h, ids, sizeof ids);
    sha256_hex(&h, out);
}

static int set_specials(struct tokenizer *t, const struct special_names *s, const char *where)
{
    const struct bpe *b = &t->bpe;
    t->start = s->start ? s->start : "<|startoftext|>";
    t->end = s->end ? s->end : "<|endoftext|>";
    TRY(special_id(b, t->start, "start", where, &t->info.start_id));
    TRY(special_id(b, t->end, "end", where, &t->info.end_id));
    t->info.pad_id = t->info.end_id;
    if (s->pad)
        TRY(special_id(b, s->pad, "pad", where, &t->info.pad_id));
    t->info.vocab_size = b->n_tokens;
    fingerprint(t, t->info.fingerprint);
    return 0;
}

static int tokenizer_new(struct tokenizer **out)
{
    struct tokenizer *t = mem_calloc(1, sizeof *t);
    if (!t)
        return ERR_MEMORY;
    int rc = arena_open(&t->arena, "tokenizer");
    if (rc < 0) {
        mem_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tokenizer_close(struct tokenizer **t)
{
    if (!*t)
        return;
    arena_close(&(*t)->arena);
    mem_free(*t);
    *t = NULL;
}

static int open_files(struct tokenizer *t, const char *dir)
{
    char vocab[4096], merges[4096], one[4096];
    struct special_names names = {0};
    TRY(path_join(vocab, sizeof vocab, dir, "vocab.json"));
    TRY(path_join(merges, sizeof merges, dir, "merges.txt"));
    TRY(path_join(one, sizeof one, dir, "tokenizer.json"));
    TRY(read_special_file(t->arena, dir, "tokenizer_config.json", &names));
    TRY(read_special_file(t->arena, dir, "special_tokens_map.json", &names));
    if (path_exists(vocab) && path_exists(merges))
        TRY(read_pair_of_files(t, vocab, merges));
    else if (path_exists(one))
        TRY(read_one_file(t, one));
    else
        FAIL(ERR_DATA, "%s: no tokenizer: expected vocab.json with merges.txt, or tokenizer.json", dir);
    return set_specials(t, &names, dir);
}

int tokenizer_open(struct tokenizer **out, const char *dir)
{
    struct tokenizer *t = NULL;
    TRY(tokenizer_new(&t));
    int rc = open_files(t, dir);
    if (rc < 0) {
        tokenizer_close(&t);
        return err_while(rc, "opening the tokenizer in \"%s\"", dir);
    }
    *out = t;
    return 0;
}

struct tokenizer_info tokenizer_info(const struct tokenizer *t)
{
    return t->info;
}

int tokenizer_train(struct tokenizer **out, const char *const *texts, const int64_t *counts, int64_t n_texts,
                    int64_t vocab_size)
{
    struct tokenizer *t = NULL;
    struct special_names names = {"<|startoftext|>", "<|endoftext|>", NULL};
    TRY(tokenizer_new(&t));
    int rc = bpe_train(&t->bpe, t->arena, texts, counts, n_texts, vocab_size, names.start, names.end);
    if (rc == 0)
        rc = set_specials(t, &names, "trained vocabulary");
    if (rc < 0) {
        tokenizer_close(&t);
        return err_while(rc, "training a tokenizer on %lld texts", (long long)n_texts);
    }
    *out = t;
    return 0;
}

/* ---- encoding
 * -------------------------------------------------------------------------------------------------------- */

int tokenizer_encode(const struct tokenizer *t, const char *text, int32_t **ids, int64_t *n)
{
    struct str clean = {0};
    int rc = text_clean(&clean, text);
    int32_t *out = NULL, *ranks = NULL;
    if (rc < 0)
        goto end;
    /* An id covers at least one byte, so the text's length bounds the ids. */
    out = mem_alloc((clean.n + 1) * sizeof *out);
    ranks = mem_alloc((size_t)(limit_get(LIMIT_WORD_BYTES) + 8) * sizeof *ranks);
    if (!out || !ranks) {
        rc = ERR_MEMORY;
        goto end;
    }
    struct text_words words = {clean.s ? clean.s : "", clean.n, 0, {t->start, t->end}};
    const char *from;
    size_t len;
    int64_t total = 0;
    enum text_word kind;
    while ((kind = text_next_word(&words, &from, &len)) != TEXT_END) {
        if (kind == TEXT_WORD)
            total += bpe_word(&t->bpe, from, len, out + total, ranks);
        else
            out[total++] = kind == TEXT_SPECIAL_0 ? t->info.start_id : t->info.end_id;
    }
    *ids = out;
    *n = total;
    out = NULL;
end:
    str_free(&clean);
    mem_free(ranks);
    mem_free(out);
    return rc;
}

int tokenizer_encode_context(const struct tokenizer *t, const char *text, int64_t context, int32_t *ids,
                             bool *truncated)
{
    if (context < 2)
        FAIL(ERR_USAGE, "context of %lld ids: expected at least 2 (start and end)", (long long)context);
    int32_t *inner = NULL;
    int64_t n = 0;
    TRY(tokenizer_encode(t, text, &inner, &n));
    int64_t keep = n < context - 2 ? n : context - 2;
    ids[0] = t->info.start_id;
    memcpy(ids + 1, inner, (size_t)keep * sizeof *ids);
    ids[keep + 1] = t->info.end_id;
    for (int64_t i = keep + 2; i < context; i++)
        ids[i] = t->info.pad_id;
    if (truncated)
        *truncated = keep < n;
    mem_free(inner);
    return 0;
}

/* ---- writing
 * ----------------------------------------------------------------------------------------------------------- */

static int save_vocab(const struct bpe *b, const char *dir)
{
    json_t *o = json_object();
    for (int32_t i = 0; o && i < b->n_tokens; i++)
        if (json_object_set_new(o, b->tokens[i], json_integer(i))) {
            json_decref(o);
            FAIL(ERR_MEMORY, "out of memory while writing %s/vocab.json", dir);
        }
    return save_json(dir, "vocab.json", o, JSON_COMPACT);
}

static int save_merges(const struct bpe *b, const char *dir)
{
    char path[4096];
    TRY(path_join(path, sizeof path, dir, "merges.txt"));
    struct str s = {0};
    str_add(&s, "#version: 0.2\n");
    for (int32_t i = 0; i < b->n_merges; i++)
        str_add(&s, "%s %s\n", b->tokens[b->merges[i].left], b->tokens[b->merges[i].right]);
    int rc = s.failed ? err_set(ERR_MEMORY, "out of memory while writing %s", path) : atomic_put(path, s.s, s.n);
    str_free(&s);
    return rc;
}

int tokenizer_save(const struct tokenizer *t, const char *dir)
{
    const char *pad = t->bpe.tokens[t->info.pad_id];
    TRY(path_make_dirs(dir));
    TRY(save_vocab(&t->bpe, dir));
    TRY(save_merges(&t->bpe, dir));
    TRY(save_json(dir, "tokenizer_config.json",
                  json_pack("{s:b,s:b,s:s,s:s,s:s,s:s,s:s,s:s}", "add_prefix_space", 0, "do_lower_case", 1, "bos_token",
                            t->start, "eos_token", t->end, "errors", "replace", "pad_token", pad, "tokenizer_class",
                            "CLIPTokenizer", "unk_token", t->end),
                  JSON_INDENT(2)));
    return save_json(dir, "special_tokens_map.json",
                     json_pack("{s:s,s:s,s:s,s:s}", "bos_token", t->start, "eos_token", t->end, "pad_token", pad,
                               "unk_token", t->end),
                     JSON_INDENT(2));
}
