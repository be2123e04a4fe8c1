/* data/token_files.c: the small files around a vocabulary: tokenizer_config.json, special_tokens_map.json,
 * added_tokens.json, and what tokenizer.json says beside its model.
 *
 * HuggingFace has moved the same facts between these files over the years, and published folders hold any mixture.
 * Read in this order, later ones only filling gaps: added_tokens of tokenizer.json, added_tokens_decoder, added_tokens
 * .json, then the roles; for the roles special_tokens_map.json wins over tokenizer_config.json.
 * A trap that every BERT folder has: model_max_length 1000000000000000019884624838656, which no integer type holds. */
#include "data/tokenizer_kind.h"

#include <string.h>

static const char *const role_names[] = {
#define X(id, name) name,
    TOKEN_ROLES(X)
#undef X
};

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Whole numbers of 19 digits and more, outside strings, become reals of the same size: 15 digits, an exponent, blanks.
 */
static void tame_numbers(char *s, size_t n)
{
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else
                in_string = s[i] != '"';
            continue;
        }
        in_string = s[i] == '"';
        size_t digits = 0;
        while (i + digits < n && s[i + digits] >= '0' && s[i + digits] <= '9')
            digits++;
        bool whole = i + digits >= n || !strchr(".eE", s[i + digits]);
        if (digits >= 19 && digits < 300 && whole && (i == 0 || !strchr(".eE+", s[i - 1]))) {
            char tail[16];
            int k = snprintf(tail, sizeof tail, "e%zu", digits - 15);
            memset(s + i + 15, ' ', digits - 15);
            memcpy(s + i + 15, tail, (size_t)k);
        }
        i += digits ? digits - 1 : 0;
    }
}

/* *out stays NULL when there is no such file. */
static int read_object(json_t **out, char *path, size_t n_path, const char *dir, const char *name)
{
    struct map m = {0};
    json_t *o = NULL;
    TRY(path_join(path, n_path, dir, name));
    if (!path_exists(path))
        return 0;
    TRY(map_open(&m, path));
    int rc = 0;
    if (m.size > (uint64_t)limit_get(LIMIT_JSON_BYTES))
        rc = err_set(ERR_DATA, "%s: JSON is larger than %lld bytes (limit json-bytes)", path,
                     (long long)limit_get(LIMIT_JSON_BYTES));
    char *copy = rc < 0 ? NULL : mem_alloc(m.size + 1);
    if (rc == 0 && !copy)
        rc = ERR_MEMORY;
    if (rc == 0) {
        memcpy(copy, m.data, m.size);
        tame_numbers(copy, m.size);
        rc = json_read_text(&o, copy, m.size, path);
    }
    if (rc == 0 && !json_is_object(o))
        rc = err_set(ERR_DATA, "%s: expected a JSON object", path);
    mem_free(copy);
    map_close(&m);
    if (rc < 0)
        json_decref(o);
    else
        *out = o;
    return rc;
}

static bool here(const char *dir, const char *name, char *path, size_t n)
{
    return path_join(path, n, dir, name) == 0 && path_exists(path);
}

/* What the model's own configuration says of its texts. BLIP's two tokens are in no file, its program adds them behind
 * the vocabulary; open_clip's configuration has the cleaning. One that cannot be read is the model's to complain of. */
static void ask_model(struct token_files *f)
{
    char path[4096];
    json_t *o = NULL;
    if (read_object(&o, path, sizeof path, f->dir, "config.json") < 0)
        err_clear();
    const char *type = json_string_value(json_object_get(o, "model_type"));
    f->blip = f->opt->blip || (type && !strcmp(type, "blip"));
    if (!o && read_object(&f->open_clip, path, sizeof path, f->dir, "open_clip_config.json") < 0)
        err_clear();
    json_decref(o);
}

static int read_files(struct token_files *f)
{
    char path[4096];
    f->vocab_json = here(f->dir, "vocab.json", path, sizeof path);
    f->merges = here(f->dir, "merges.txt", path, sizeof path);
    f->vocab_txt = here(f->dir, "vocab.txt", path, sizeof path);
    if (!here(f->dir, "spiece.model", f->piece_path, sizeof f->piece_path) &&
        !here(f->dir, "tokenizer.model", f->piece_path, sizeof f->piece_path))
        f->piece_path[0] = 0;
    TRY(read_object(&f->one, f->one_path, sizeof f->one_path, f->dir, "tokenizer.json"));
    TRY(read_object(&f->config, f->config_path, sizeof f->config_path, f->dir, "tokenizer_config.json"));
    TRY(read_object(&f->map, path, sizeof path, f->dir, "special_tokens_map.json"));
    TRY(read_object(&f->added_json, path, sizeof path, f->dir, "added_tokens.json"));
    ask_model(f);
    return 0;
}

int token_files_open(struct token_files *f, const char *dir, const struct tokenizer_opt *opt)
{
    static const struct tokenizer_opt none;
    *f = (struct token_files){.dir = dir, .opt = opt ? opt : &none};
    int rc = read_files(f);
    if (rc < 0)
        token_files_close(f);
    return rc;
}

void token_files_close(struct token_files *f)
{
    json_decref(f->one);
    json_decref(f->config);
    json_decref(f->map);
    json_decref(f->added_json);
    json_decref(f->open_clip);
    f->one = f->config = f->map = f->added_json = f->open_clip = NULL;
}

const char *token_model_type(const struct token_files *f)
{
    const json_t *model = json_object_get(f->one, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type || !model)
        return type ? type : "";
    return json_object_get(model, "merges") ? "BPE" : ""; /* early files leave it out */
}

/* ---- added tokens ------------------------------------------------------------------------------------------------ */

int token_added_put(struct tokenizer *t, struct token_added token)
{
    for (int64_t i = 0; i < t->n_added; i++)
        if (!strcmp(t->added[i].text, token.text)) {
            t->added[i].special |= token.special;
            if (t->added[i].id < 0)
                t->added[i].id = token.id;
            if (token.id >= 0 && token.id != t->added[i].id)
                FAIL(ERR_DATA, "the added token \"%.60s\" has two ids, %lld and %lld", token.text,
                     (long long)t->added[i].id, (long long)token.id);
            return 0;
        }
    enum { MOST = 20000 };
    if (t->n_added == MOST)
        FAIL(ERR_DATA, "more than %d added tokens", MOST);
    if ((t->n_added & (t->n_added - 1)) == 0) { /* a power of two: full */
        struct token_added *more = arena_calloc(t->arena, t->n_added ? (size_t)t->n_added * 2 : 1, sizeof *more);
        if (!more)
            return ERR_MEMORY;
        if (t->n_added)
            memcpy(more, t->added, (size_t)t->n_added * sizeof *more);
        t->added = more;
    }
    token.n = strlen(token.text);
    token.text = arena_strdup(t->arena, token.text);
    if (!token.text)
        return ERR_MEMORY;
    t->added[t->n_added++] = token;
    return 0;
}

/* A string, or an object of HuggingFace's AddedToken. */
static int put_json(struct tokenizer *t, const json_t *o, int64_t id, bool special, const char *where)
{
    struct token_added a = {.id = id, .special = special};
    bool single = false;
    const char *text = json_string_value(o);
    if (!text) {
        TRY(json_field_str(o, "content", true, &text, where));
        TRY(json_field_bool(o, "special", false, &a.special, where));
        TRY(json_field_bool(o, "normalized", false, &a.normalized, where));
        TRY(json_field_bool(o, "lstrip", false, &a.left_strip, where));
        TRY(json_field_bool(o, "rstrip", false, &a.right_strip, where));
        TRY(json_field_bool(o, "single_word", false, &single, where));
        a.special |= special;
    }
    if (!*text)
        return 0;
    if (single)
        FAIL(ERR_UNSUPPORTED, "%s: added token \"%.60s\": single_word is not known here", where, text);
    a.text = text;
    return token_added_put(t, a);
}

static int put_all(struct tokenizer *t, const struct token_files *f)
{
    size_t i;
    const char *key;
    json_t *o;
    json_array_foreach(json_object_get(f->one, "added_tokens"), i, o)
    {
        int64_t id = -1;
        char where[4200];
        snprintf(where, sizeof where, "%s: added_tokens[%zu]", f->one_path, i);
        TRY(json_field_int(o, "id", true, 0, limit_get(LIMIT_MERGES), &id, where));
        TRY(put_json(t, o, id, false, where));
    }
    json_object_foreach(json_object_get(f->config, "added_tokens_decoder"), key, o)
    {
        char *end;
        int64_t id = strtoll(key, &end, 10);
        if (*end || end == key || id < 0)
            FAIL(ERR_DATA, "%s: added_tokens_decoder: key \"%.40s\", expected an id", f->config_path, key);
        TRY(put_json(t, o, id, false, f->config_path));
    }
    json_object_foreach(f->added_json, key, o)
    {
        if (!json_is_integer(o) || json_integer_value(o) < 0)
            FAIL(ERR_DATA, "%s/added_tokens.json: \"%.60s\": expected a whole number as its id", f->dir, key);
        if (*key)
            TRY(token_added_put(t, (struct token_added){.text = key, .id = json_integer_value(o), .special = true}));
    }
    return 0;
}

/* ---- roles ------------------------------------------------------------------------------------------------------- */

static int read_roles(struct tokenizer *t, const json_t *o, const char *where)
{
    size_t i;
    json_t *v;
    for (int r = 0; o && r < N_TOKEN_ROLES; r++) {
        v = json_object_get(o, role_names[r]);
        if (!v || json_is_null(v))
            continue;
        const char *text = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
        if (!text || !*text)
            FAIL(ERR_DATA, "%s: %s: expected a non-empty string or an object with \"content\"", where, role_names[r]);
        t->role[r] = arena_strdup(t->arena, text);
        if (!t->role[r])
            return ERR_MEMORY;
        TRY(put_json(t, v, -1, true, where));
    }
    json_array_foreach(json_object_get(o, "additional_special_tokens"), i, v) TRY(put_json(t, v, -1, true, where));
    return 0;
}

int token_files_specials(struct tokenizer *t, const struct token_files *f)
{
    const char *side = NULL, *class_name = NULL;
    double length = 0;
    TRY(put_all(t, f));
    TRY(read_roles(t, f->config, f->config_path));
    TRY(read_roles(t, f->map, f->dir));
    if (!f->config)
        return 0;
    TRY(json_field_str(f->config, "padding_side", false, &side, f->config_path));
    TRY(json_field_str(f->config, "tokenizer_class", false, &class_name, f->config_path));
    t->pad_left = side && !strcmp(side, "left");
    if (class_name && !(t->class_name = arena_strdup(t->arena, class_name)))
        return ERR_MEMORY;
    json_t *max = json_object_get(f->config, "model_max_length");
    if (json_is_number(max))
        length = json_number_value(max);
    t->info.max_length = length >= 2 && length <= 65536 ? (int64_t)length : 0;
    return 0;
}

int token_role_id(const struct tokenizer *t, enum token_role role, const char *fallback, bool required,
                  const char *where, int32_t *id)
{
    const char *name = t->role[role] ? t->role[role] : fallback;
    *id = name ? t->kind->find(t, name) : -1;
    if (*id < 0 && (t->role[role] || required))
        FAIL(ERR_DATA, "%s: the %s \"%.60s\" is not in the vocabulary", where, role_names[role], name ? name : "");
    return 0;
}

/* open_clip's rule: its own tokenizer lowers unless told otherwise, its wrapper of HuggingFace's leaves the case. */
static const char *open_clip_mode(const struct token_files *f)
{
    const json_t *text = json_object_get(json_object_get(f->open_clip, "model_cfg"), "text_cfg");
    const char *clean = json_string_value(json_object_get(json_object_get(text, "tokenizer_kwargs"), "clean"));
    if (!f->open_clip || clean)
        return clean;
    return json_object_get(text, "hf_tokenizer_name") ? "whitespace" : "open_clip";
}

int token_mode(struct tokenizer *t, const struct token_files *f, enum text_mode fallback)
{
    const char *said = open_clip_mode(f);
    if (f->config)
        TRY(json_field_str(f->config, "meridian_cleaning", false, &said, f->config_path));
    t->folder_mode = t->mode = fallback;
    if (f->opt->cleaning)
        said = f->opt->cleaning;
    return said ? text_mode_find(&t->mode, said) : 0;
}

/* ---- post_processor ---------------------------------------------------------------------------------------------- */

static int one_special(int32_t *id, int32_t now, const char *where)
{
    if (*id >= 0)
        FAIL(ERR_UNSUPPORTED, "%s: post_processor: more than one token before or behind the text", where);
    *id = now;
    return 0;
}

int token_template(const struct tokenizer *t, const struct token_files *f, int32_t *start, int32_t *end)
{
    const json_t *post = json_object_get(f->one, "post_processor");
    const char *type = json_string_value(json_object_get(post, "type"));
    size_t i;
    json_t *o;
    *start = *end = -1;
    if (!type)
        return 0;
    if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing")) {
        const char *cls = json_string_value(json_array_get(json_object_get(post, "cls"), 0));
        const char *sep = json_string_value(json_array_get(json_object_get(post, "sep"), 0));
        *start = cls ? t->kind->find(t, cls) : -1;
        *end = sep ? t->kind->find(t, sep) : -1;
        if (*start < 0 || *end < 0)
            FAIL(ERR_DATA, "%s: post_processor: expected \"cls\" and \"sep\" of the vocabulary", f->one_path);
        return 1;
    }
    if (strcmp(type, "TemplateProcessing"))
        FAIL(ERR_UNSUPPORTED,
             "%s: post_processor: type \"%.40s\" is not known; known are TemplateProcessing, RobertaProcessing and "
             "BertProcessing",
             f->one_path, type);
    bool behind = false;
    json_array_foreach(json_object_get(post, "single"), i, o)
    {
        const char *name = json_string_value(json_object_get(json_object_get(o, "SpecialToken"), "id"));
        behind |= json_object_get(o, "Sequence") != NULL;
        if (!name)
            continue;
        int32_t id = t->kind->find(t, name);
        if (id < 0)
            FAIL(ERR_DATA, "%s: post_processor: \"%.60s\" is not in the vocabulary", f->one_path, name);
        TRY(one_special(behind ? end : start, id, f->one_path));
    }
    return *start >= 0 || *end >= 0;
}
