/* data/wordpiece.c: BERT's tokenizer (Devlin et al. 2019): split at white space and punctuation, then the longest known
 * piece from the left, again and again.
 *
 * The vocabulary comes from vocab.txt (line number = id) or tokenizer.json. Two cleanings, as with CLIP: "bert" is the
 * Python class (str.lower with its final sigma, then canonical decomposition and no marks), "hf" the normalizer of
 * tokenizer.json (marks off first, then letter by letter); they differ in the final sigma.
 * BLIP's two tokens lie in no file: its program adds [DEC] and [ENC] behind the vocabulary, so they are added here when
 * config.json says blip. A word of more than 100 characters is unknown as a whole, and so is one that has no pieces:
 * with that rule the search is bounded, whatever the text. */
#include "data/tokenizer_kind.h"
#include "data/unicode.h"

#include <string.h>

struct wordpiece {
    bool clean, chinese, strip_accents, lower, python;
    int64_t max_chars;
    const char *prefix;
    size_t n_prefix, longest; /* bytes of the prefix, and of the longest entry */
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool accepts(const struct token_files *f)
{
    const char *type = token_model_type(f);
    return !strcmp(type, "WordPiece") || (f->vocab_txt && !*type);
}

struct lines {
    const char *p, *end;
};

/* Text mode of Python: \n, \r\n and \r end a line. */
static bool next_line(struct lines *l, const char **line, size_t *n)
{
    if (l->p >= l->end)
        return false;
    const char *q = l->p;
    while (q < l->end && *q != '\n' && *q != '\r')
        q++;
    *line = l->p;
    *n = (size_t)(q - l->p);
    l->p = q + 1 < l->end && q[0] == '\r' && q[1] == '\n' ? q + 2 : q + 1;
    return true;
}

static int fill_from_lines(struct tokenizer *t, const struct map *m, const char *path)
{
    struct lines l = {(const char *)m->data, (const char *)m->data + m->size};
    const char *line;
    char name[1024];
    size_t n;
    int64_t count = 0, id = 0;
    if (!utf8_ok((const char *)m->data, m->size) || memchr(m->data, 0, m->size))
        FAIL(ERR_DATA, "%s: not UTF-8 text", path);
    while (next_line(&l, &line, &n))
        count++;
    if (!count)
        FAIL(ERR_DATA, "%s: is empty, expected one entry a line", path);
    int64_t behind = 0;
    for (int64_t i = 0; i < t->n_added; i++)
        behind += t->added[i].id >= count;
    TRY(bpe_start(&t->table, t->arena, count + behind, 0));
    for (l.p = (const char *)m->data; next_line(&l, &line, &n); id++) {
        if (n >= sizeof name)
            FAIL(ERR_DATA, "%s:%lld: entry of %zu bytes: expected fewer than %zu", path, (long long)id + 1, n,
                 sizeof name);
        memcpy(name, line, n);
        name[n] = 0;
        TRY_IN(bpe_set_token(&t->table, id, name, path), "%s:%lld", path, (long long)id + 1);
    }
    return map_check(m);
}

static int read_vocab_txt(struct tokenizer *t, const char *dir)
{
    char path[4096];
    struct map m = {0};
    TRY(path_join(path, sizeof path, dir, "vocab.txt"));
    TRY(map_open(&m, path));
    int rc = fill_from_lines(t, &m, path);
    map_close(&m);
    TRY(rc);
    TRY(token_added_set(t, path));
    return bpe_check_names(&t->table, path);
}

/* How many entries the files hold, so that BLIP's two can go behind them. */
static int count_entries(const struct token_files *f, int64_t *n)
{
    char path[4096];
    struct map m = {0};
    const char *line;
    size_t len;
    *n = (int64_t)json_object_size(json_object_get(json_object_get(f->one, "model"), "vocab"));
    if (!f->vocab_txt)
        return 0;
    TRY(path_join(path, sizeof path, f->dir, "vocab.txt"));
    TRY(map_open(&m, path));
    struct lines l = {(const char *)m.data, (const char *)m.data + m.size};
    for (*n = 0; next_line(&l, &line, &len);)
        ++*n;
    map_close(&m);
    return 0;
}

static const struct token_added *added_named(const struct tokenizer *t, const char *text)
{
    for (int64_t i = 0; i < t->n_added; i++)
        if (!strcmp(t->added[i].text, text))
            return &t->added[i];
    return NULL;
}

static bool in_files(const struct token_files *f, const char *name)
{
    return json_object_get(json_object_get(json_object_get(f->one, "model"), "vocab"), name) != NULL;
}

/* As the authors' program: behind the vocabulary and whatever else was added. A folder saved here has them already. */
static int add_blip(struct tokenizer *t, const struct token_files *f, bool in_table)
{
    static const char *const names[] = {"[DEC]", "[ENC]"};
    int64_t next;
    TRY(count_entries(f, &next));
    for (int64_t i = 0; i < t->n_added; i++)
        next = t->added[i].id >= next ? t->added[i].id + 1 : next;
    for (int i = 0; i < 2; i++) {
        const struct token_added *a = added_named(t, names[i]);
        bool known = (a && a->id >= 0) || (in_table ? false : in_files(f, names[i]));
        TRY(token_added_put(t, (struct token_added){.text = names[i], .id = known ? -1 : next, .special = true}));
        next += !known;
    }
    return 0;
}

/* The last lines of a vocab.txt that was saved with them. */
static int vocab_txt_has_blip(const char *dir, bool *has)
{
    static const char tail[] = "[DEC]\n[ENC]\n";
    char path[4096];
    struct map m = {0};
    TRY(path_join(path, sizeof path, dir, "vocab.txt"));
    TRY(map_open(&m, path));
    size_t n = sizeof tail - 1;
    *has = m.size >= n && !memcmp(m.data + m.size - n, tail, n);
    map_close(&m);
    return 0;
}

static int set_roles(struct tokenizer *t, const char *where)
{
    static const struct {
        enum token_role role;
        const char *name;
        bool required;
    } roles[] = {{ROLE_UNK, "[UNK]", true},
                 {ROLE_CLS, "[CLS]", true},
                 {ROLE_SEP, "[SEP]", true},
                 {ROLE_PAD, "[PAD]", true},
                 {ROLE_MASK, "[MASK]", false}};
    int32_t ids[N_TOKEN_ROLES];
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        enum token_role r = roles[i].role;
        TRY(token_role_id(t, r, roles[i].name, roles[i].required, where, &ids[r]));
        if (!t->role[r] && ids[r] >= 0)
            t->role[r] = roles[i].name;
        if (t->role[r])
            TRY(token_added_put(t, (struct token_added){.text = t->role[r], .id = -1, .special = true}));
    }
    t->info.start_id = ids[ROLE_CLS];
    t->info.end_id = ids[ROLE_SEP];
    t->info.pad_id = ids[ROLE_PAD];
    t->info.unk_id = ids[ROLE_UNK];
    return 0;
}

/* What tokenizer_config.json says to the Python class. */
static int read_flags(struct wordpiece *w, const struct token_files *f)
{
    *w = (struct wordpiece){.clean = true, .chinese = true, .lower = true, .max_chars = 100, .prefix = "##"};
    if (f->config) {
        TRY(json_field_bool(f->config, "do_lower_case", false, &w->lower, f->config_path));
        TRY(json_field_bool(f->config, "tokenize_chinese_chars", false, &w->chinese, f->config_path));
    }
    w->strip_accents = w->lower;
    if (f->config)
        TRY(json_field_bool(f->config, "strip_accents", false, &w->strip_accents, f->config_path));
    return 0;
}

static int read_model(struct tokenizer *t, struct wordpiece *w, const struct token_files *f)
{
    const json_t *model = json_object_get(f->one, "model");
    const char *pre = json_string_value(json_object_get(json_object_get(f->one, "pre_tokenizer"), "type"));
    const char *prefix = NULL, *unk = NULL;
    if (pre && strcmp(pre, "BertPreTokenizer"))
        FAIL(ERR_UNSUPPORTED, "%s: pre_tokenizer \"%.40s\" is not known for WordPiece (known: BertPreTokenizer)",
             f->one_path, pre);
    TRY(json_field_int(model, "max_input_chars_per_word", false, 1, 1000, &w->max_chars, f->one_path));
    TRY(json_field_str(model, "continuing_subword_prefix", false, &prefix, f->one_path));
    TRY(json_field_str(model, "unk_token", false, &unk, f->one_path));
    if (prefix && strlen(prefix) > 16)
        FAIL(ERR_DATA, "%s: continuing_subword_prefix of more than 16 bytes", f->one_path);
    if (prefix && !(w->prefix = arena_strdup(t->arena, prefix)))
        return ERR_MEMORY;
    if (unk && !t->role[ROLE_UNK] && !(t->role[ROLE_UNK] = arena_strdup(t->arena, unk)))
        return ERR_MEMORY;
    return 0;
}

static int open_wordpiece(struct tokenizer *t, const struct token_files *f)
{
    struct wordpiece *w = arena_calloc(t->arena, 1, sizeof *w);
    bool saved = false;
    if (!w)
        return ERR_MEMORY;
    t->own = w;
    t->split = true;
    TRY(read_flags(w, f));
    const json_t *normalizer = json_object_get(f->one, "normalizer");
    TRY(token_mode(t, f, normalizer && !json_is_null(normalizer) ? TEXT_HF : TEXT_BERT));
    w->python = t->mode == TEXT_BERT || (t->mode != TEXT_HF && t->folder_mode == TEXT_BERT);
    if (f->one)
        TRY(read_model(t, w, f));
    if (!w->python && f->one) {
        TRY(text_norm_open(&t->norm, t->arena, normalizer, f->one_path));
        if (!text_norm_is_bert(t->norm, &w->lower, &w->strip_accents, &w->chinese, &w->clean))
            w->lower = w->strip_accents = w->chinese = w->clean = false; /* its steps do it all */
    }
    if (f->blip && f->vocab_txt)
        TRY(vocab_txt_has_blip(f->dir, &saved));
    if (f->blip && !saved)
        TRY(add_blip(t, f, f->vocab_txt));
    TRY(f->vocab_txt ? read_vocab_txt(t, f->dir) : token_table_from_json(t, f));
    if (f->blip)
        for (int i = 0; i < 2; i++)
            TRY(token_added_put(t, (struct token_added){.text = i ? "[ENC]" : "[DEC]", .id = -1, .special = true}));
    w->n_prefix = strlen(w->prefix);
    for (int32_t i = 0; i < t->table.n_tokens; i++) {
        size_t n = strlen(t->table.tokens[i]);
        w->longest = n > w->longest ? n : w->longest;
    }
    return set_roles(t, f->dir);
}

static void hash(const struct tokenizer *t, struct sha256 *h)
{
    const struct wordpiece *w = t->own;
    int64_t flags[6] = {w->clean, w->chinese, w->strip_accents, w->lower, w->python, w->max_chars};
    sha256_add(h, flags, sizeof flags);
    sha256_add(h, w->prefix, w->n_prefix + 1);
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

static bool is_chinese(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static void clean_text(const struct wordpiece *w, struct str *out, const char *s, size_t n)
{
    size_t k;
    int32_t c;
    for (size_t i = 0; i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        if (w->clean) {
            bool space = c == '\t' || c == '\n' || c == '\r' || uni_is_separator(c);
            if (!space && (c == 0xFFFD || uni_is_control(c)))
                continue;
            if (space) {
                str_add_c(out, ' ');
                continue;
            }
        }
        bool chinese = w->chinese && is_chinese(c);
        if (chinese)
            str_add_c(out, ' ');
        str_add_n(out, s + i, k);
        if (chinese)
            str_add_c(out, ' ');
    }
}

static void drop_marks(struct str *out, const char *s, size_t n)
{
    size_t k;
    int32_t c;
    for (size_t i = 0; i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        if (!uni_is_mark(c))
            str_add_n(out, s + i, k);
    }
}

/* From *s to another buffer; the three take turns. */
struct turns {
    struct str buf[3];
    int at;
    const char *s;
    size_t n;
};

static struct str *turn(struct turns *b)
{
    b->at = (b->at + 1) % 3;
    str_clear(&b->buf[b->at]);
    return &b->buf[b->at];
}

static void turned(struct turns *b)
{
    b->s = b->buf[b->at].s ? b->buf[b->at].s : "";
    b->n = b->buf[b->at].n;
}

static int normalize(const struct wordpiece *w, struct turns *b)
{
    if (w->lower && w->python) { /* the whole text, before all else */
        uni_lower(turn(b), b->s, b->n, false);
        turned(b);
    }
    if (w->clean || w->chinese) {
        clean_text(w, turn(b), b->s, b->n);
        turned(b);
    }
    if (w->strip_accents || w->python) {
        TRY(uni_normalize(turn(b), b->s, b->n, w->strip_accents ? UNI_NFD : UNI_NFC));
        turned(b);
    }
    if (w->strip_accents && !uni_is_ascii(b->s, b->n)) {
        drop_marks(turn(b), b->s, b->n);
        turned(b);
    }
    if (w->lower && !w->python) {
        uni_lower(turn(b), b->s, b->n, true);
        turned(b);
    }
    return b->buf[0].failed || b->buf[1].failed || b->buf[2].failed ? ERR_MEMORY : 0;
}

static bool is_split(int32_t c)
{
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    return uni_is_punct(c);
}

static void put_pieces(const struct tokenizer *t, const char *s, size_t n, int64_t chars, struct token_ids *out)
{
    const struct wordpiece *w = t->own;
    int64_t first = out->n;
    char name[4096];
    bool unknown = chars > w->max_chars || n + w->n_prefix > sizeof name;
    for (size_t i = 0; i < n && !unknown;) {
        size_t head = i ? w->n_prefix : 0, end = n;
        int32_t id = -1;
        if (end - i + head > w->longest)
            end = w->longest > head ? i + w->longest - head : i;
        while (end > i && end < n && ((unsigned char)s[end] & 0xC0) == 0x80)
            end--;
        memcpy(name, w->prefix, head);
        memcpy(name + head, s + i, end - i);
        while (end > i && (id = bpe_find(&t->table, name, head + end - i)) < 0)
            do
                end--;
            while (end > i && ((unsigned char)s[end] & 0xC0) == 0x80);
        unknown = id < 0;
        out->v[out->n++] = id;
        i = end;
    }
    if (unknown) {
        out->n = first;
        out->v[out->n++] = t->info.unk_id;
    }
}

static int put_words(const struct tokenizer *t, const char *s, size_t n, struct token_ids *out)
{
    const struct wordpiece *w = t->own;
    TRY(token_ids_room(out, (int64_t)n + 1));
    for (size_t i = 0, k; i < n;) {
        int32_t c;
        k = uni_next(s + i, n - i, &c);
        if (w->python ? uni_is_strip_space(c) : uni_is_space(c)) {
            i += k;
            continue;
        }
        size_t start = i;
        int64_t chars = 0;
        bool alone = is_split(c);
        do {
            i += k;
            chars++;
            k = i < n ? uni_next(s + i, n - i, &c) : 0;
        } while (!alone && i < n && !is_split(c) && !(w->python ? uni_is_strip_space(c) : uni_is_space(c)));
        put_pieces(t, s + start, i - start, chars, out);
    }
    return 0;
}

static int encode(const struct tokenizer *t, const char *s, size_t n, bool first UNUSED, struct token_ids *out)
{
    struct turns b = {.s = s, .n = n};
    int rc = normalize(t->own, &b);
    if (rc == 0)
        rc = put_words(t, b.s, b.n, out);
    else
        rc = err_set(ERR_MEMORY, "out of memory while normalizing a text of %zu bytes", n);
    for (int i = 0; i < 3; i++)
        str_free(&b.buf[i]);
    return rc;
}

static int decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out)
{
    const struct wordpiece *w = t->own;
    for (int64_t i = 0; i < n; i++) {
        const char *s = t->table.tokens[ids[i]];
        if (token_is_special(t, ids[i]))
            continue;
        bool inside = w->n_prefix && str_starts(s, w->prefix);
        if (inside)
            s += w->n_prefix;
        else if (out->n)
            str_add_c(out, ' ');
        str_add_n(out, s, strlen(s));
    }
    return 0;
}

static int save(const struct tokenizer *t, const char *dir)
{
    struct str s = {0};
    for (int32_t i = 0; i < t->table.n_tokens; i++)
        str_add(&s, "%s\n", t->table.tokens[i]);
    int rc = s.failed ? err_set(ERR_MEMORY, "out of memory while writing %s/vocab.txt", dir)
                      : token_save_bytes(dir, "vocab.txt", s.s, s.n);
    str_free(&s);
    return rc;
}

const struct tokenizer_kind tokenizer_wordpiece = {
    .name = "wordpiece",
    .class_name = "BertTokenizer",
    .accepts = accepts,
    .open = open_wordpiece,
    .encode = encode,
    .decode = decode,
    .find = token_table_find,
    .save = save,
    .hash = hash,
};
