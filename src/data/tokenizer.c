/* data/tokenizer.c: the handle over all kinds of tokenizers: a folder in, ids out, text back, a folder out.
 *
 * Which kind reads a folder follows from its files (tokenizer_list.h, in that order), which cleaning mode from the
 * files or from the caller, never from a guess (docs/tokenizers.md). The fingerprint covers what decides the ids:
 * entries, merges, special ids, and the cleaning. For CLIP's own form, with OpenAI's cleaning, it is what it was when
 * there was no other. */
#include "data/tokenizer_kind.h"

#include <string.h>

static const struct tokenizer_kind *const kinds[] = {
#define X(kind) &kind,
    TOKENIZER_LIST(X)
#undef X
};

/* ---- the handle -------------------------------------------------------------------------------------------------- */

static void fingerprint(struct tokenizer *t)
{
    struct sha256 h;
    sha256_start(&h);
    for (int32_t i = 0; i < t->table.n_tokens; i++)
        sha256_add(&h, t->table.tokens[i], strlen(t->table.tokens[i]) + 1);
    sha256_add(&h, t->table.merges, (size_t)t->table.n_merges * sizeof *t->table.merges);
    int32_t ids[3] = {t->info.start_id, t->info.end_id, t->info.pad_id};
    sha256_add(&h, ids, sizeof ids);
    if (t->kind != &tokenizer_clip_bpe || t->mode != TEXT_OPEN_CLIP) {
        const char *names[2] = {t->kind->name, text_mode_name(t->mode)};
        for (int i = 0; i < 2; i++)
            sha256_add(&h, names[i], strlen(names[i]) + 1);
        sha256_add(&h, &t->pad_left, 1);
        text_norm_hash(t->norm, &h);
        if (t->kind->hash)
            t->kind->hash(t, &h);
    }
    sha256_hex(&h, t->info.fingerprint);
}

static void finish(struct tokenizer *t)
{
    token_added_ready(t);
    if (t->table.n_tokens)
        t->info.vocab_size = t->table.n_tokens;
    t->info.kind = t->kind->name;
    t->info.cleaning = text_mode_name(t->mode);
    t->info.ftfy = text_mode_ftfy(t->mode);
    fingerprint(t);
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
    t->info.start_id = t->info.end_id = t->info.pad_id = t->info.unk_id = -1;
    *out = t;
    return 0;
}

void tokenizer_close(struct tokenizer **handle)
{
    struct tokenizer *t = *handle;
    if (!t)
        return;
    if (t->kind && t->kind->close)
        t->kind->close(t);
    json_decref(t->config);
    json_decref(t->map);
    mem_free(t->one_text);
    arena_close(&t->arena);
    mem_free(t);
    *handle = NULL;
}

static int keep_one_file(struct tokenizer *t, const struct token_files *f)
{
    struct map m = {0};
    if (!f->one)
        return 0;
    TRY(map_open(&m, f->one_path));
    t->one_text = mem_alloc(m.size + 1);
    if (t->one_text) {
        memcpy(t->one_text, m.data, m.size);
        t->n_one = m.size;
    }
    int rc = t->one_text ? map_check(&m) : ERR_MEMORY;
    map_close(&m);
    return rc;
}

static int no_kind(const struct token_files *f)
{
    const char *type = token_model_type(f);
    if (!strcmp(type, "Unigram"))
        FAIL(ERR_UNSUPPORTED,
             "%s: a Unigram tokenizer.json: put the spiece.model (or tokenizer.model) that it was made from beside it",
             f->one_path);
    if (f->one)
        FAIL(ERR_UNSUPPORTED,
             "%s: model.type is \"%.40s\": known are BPE (CLIP's, or with byte_fallback) and WordPiece", f->one_path,
             type);
    if (f->vocab_json || f->merges)
        FAIL(ERR_DATA, "%s: %s is there, but %s is not; a byte-pair tokenizer needs both, of the same model", f->dir,
             f->merges ? "merges.txt" : "vocab.json", f->merges ? "vocab.json" : "merges.txt");
    FAIL(ERR_DATA,
         "%s: no tokenizer: expected vocab.json with merges.txt, tokenizer.json, vocab.txt, spiece.model or "
         "tokenizer.model",
         f->dir);
}

static int open_files(struct tokenizer *t, const struct token_files *f)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds) && !t->kind; i++)
        if (kinds[i]->accepts(f))
            t->kind = kinds[i];
    if (!t->kind)
        return no_kind(f);
    TRY(token_files_specials(t, f));
    TRY(t->kind->open(t, f));
    TRY(keep_one_file(t, f));
    t->config = json_incref(f->config);
    t->map = json_incref(f->map);
    finish(t);
    return 0;
}

int tokenizer_open(struct tokenizer **out, const char *dir, const struct tokenizer_opt *opt)
{
    struct tokenizer *t = NULL;
    struct token_files f;
    TRY_IN(token_files_open(&f, dir, opt), "opening the tokenizer in \"%s\"", dir);
    int rc = tokenizer_new(&t);
    if (rc == 0)
        rc = open_files(t, &f);
    token_files_close(&f);
    if (rc < 0) {
        tokenizer_close(&t);
        return err_while(rc, "opening the tokenizer in \"%s\"", dir);
    }
    *out = t;
    return 0;
}

bool tokenizer_in_dir(const char *dir)
{
    static const char *const names[] = {"vocab.json", "tokenizer.json", "vocab.txt", "spiece.model", "tokenizer.model"};
    char path[4096];
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (path_join(path, sizeof path, dir, names[i]) == 0 && path_exists(path))
            return true;
    err_clear();
    return false;
}

struct tokenizer_info tokenizer_info(const struct tokenizer *t)
{
    return t->info;
}

int32_t tokenizer_token_id(const struct tokenizer *t, const char *token)
{
    return t->kind->find(t, token);
}

int tokenizer_train(struct tokenizer **out, const char *const *texts, const int64_t *counts, int64_t n_texts,
                    int64_t vocab_size)
{
    struct tokenizer *t = NULL;
    TRY(tokenizer_new(&t));
    int rc = bpe_train(&t->table, t->arena, texts, counts, n_texts, vocab_size, "<|startoftext|>", "<|endoftext|>");
    if (rc == 0)
        rc = tokenizer_clip_trained(t, "trained vocabulary");
    if (rc < 0) {
        tokenizer_close(&t);
        return err_while(rc, "training a tokenizer on %lld texts", (long long)n_texts);
    }
    finish(t);
    *out = t;
    return 0;
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

static int encode_text(const struct tokenizer *t, const char *text, size_t n, struct token_ids *out)
{
    struct str clean = {0};
    bool done = false, as_is = t->mode == TEXT_NONE || t->mode == TEXT_HF || t->mode == TEXT_BERT;
    if (as_is || t->kind->encode_whole)
        TRY(text_check(text, n));
    if (t->kind->encode_whole)
        TRY(t->kind->encode_whole(t, text, n, out, &done));
    if (done)
        return 0;
    if (as_is)
        return token_split_encode(t, text, n, out);
    int rc = text_clean_mode(&clean, text, n, t->mode);
    if (rc == 0)
        rc = token_split_encode(t, clean.s ? clean.s : "", clean.n, out);
    str_free(&clean);
    return rc;
}

int tokenizer_encode_bytes(const struct tokenizer *t, const char *text, size_t n_text, int32_t **ids, int64_t *n)
{
    struct token_ids out = {0};
    int rc = encode_text(t, text, n_text, &out);
    if (rc == 0)
        rc = token_ids_room(&out, 1); /* never NULL */
    if (rc < 0) {
        mem_free(out.v);
        return rc;
    }
    *ids = out.v;
    *n = out.n;
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int32_t **ids, int64_t *n)
{
    return tokenizer_encode_bytes(t, text, strlen(text), ids, n);
}

int tokenizer_encode_context(const struct tokenizer *t, const char *text, int64_t context, int32_t *ids,
                             bool *truncated)
{
    const struct tokenizer_info *info = &t->info;
    int64_t start = info->start_id >= 0, end = info->end_id >= 0, n = 0;
    int32_t *inner = NULL;
    if (context < start + end || context < 1)
        FAIL(ERR_USAGE, "context of %lld ids: expected at least %lld (start and end)", (long long)context,
             (long long)(start + end ? start + end : 1));
    TRY(tokenizer_encode(t, text, &inner, &n));
    int64_t keep = n < context - start - end ? n : context - start - end, used = start + keep + end;
    int32_t *p = ids + (t->pad_left ? context - used : 0), *pads = t->pad_left ? ids : ids + used;
    for (int64_t i = 0; i < context - used; i++)
        pads[i] = info->pad_id >= 0 ? info->pad_id : 0;
    if (start)
        p[0] = info->start_id;
    memcpy(p + start, inner, (size_t)keep * sizeof *ids);
    if (end)
        p[start + keep] = info->end_id;
    if (truncated)
        *truncated = keep < n;
    mem_free(inner);
    return 0;
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out)
{
    str_clear(out);
    str_add_n(out, "", 0);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= t->info.vocab_size)
            FAIL(ERR_DATA, "id %d at place %lld: expected 0 to %lld (the vocabulary)", (int)ids[i], (long long)i,
                 (long long)t->info.vocab_size - 1);
    TRY(t->kind->decode(t, ids, n, out));
    if (!out->failed)
        text_mend(out);
    return out->failed ? err_set(ERR_MEMORY, "out of memory while decoding %lld ids", (long long)n) : 0;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

int tokenizer_save(const struct tokenizer *t, const char *dir)
{
    TRY(path_make_dirs(dir));
    TRY(t->kind->save(t, dir));
    if (t->one_text)
        TRY(token_save_bytes(dir, "tokenizer.json", t->one_text, t->n_one));
    return token_save_config(t, dir);
}
