/* data/token_save.c: the small files of a saved tokenizer.
 *
 * What was read is written again: tokenizer_config.json and special_tokens_map.json as they were, tokenizer.json byte
 * for byte, so that transformers loads the folder as it loaded the original. A trained vocabulary gets files with the
 * same keys. One key is ours, and only when it is needed: "meridian_cleaning" where another cleaning mode was asked for
 * than the folder's own; transformers passes over keys that it does not know. */
#include "data/tokenizer_kind.h"

#include <string.h>

static int set_string(json_t *o, const char *key, const char *value)
{
    if (value && json_object_set_new(o, key, json_string(value)) < 0)
        FAIL(ERR_MEMORY, "out of memory while writing tokenizer_config.json");
    return 0;
}

static int set_roles(const struct tokenizer *t, json_t *o)
{
    static const char *const names[] = {
#define X(id, name) name,
        TOKEN_ROLES(X)
#undef X
    };
    for (int r = 0; r < N_TOKEN_ROLES; r++)
        TRY(set_string(o, names[r], t->role[r]));
    if (t->kind == &tokenizer_clip_bpe) { /* CLIP has one mark for three roles */
        if (!t->role[ROLE_PAD])
            TRY(set_string(o, "pad_token", t->role[ROLE_EOS]));
        if (!t->role[ROLE_UNK])
            TRY(set_string(o, "unk_token", t->role[ROLE_EOS]));
    }
    return 0;
}

static int new_config(const struct tokenizer *t, json_t *o)
{
    TRY(set_roles(t, o));
    TRY(set_string(o, "tokenizer_class", t->kind->class_name));
    int bad = 0;
    if (t->kind == &tokenizer_clip_bpe) {
        bad |= json_object_set_new(o, "add_prefix_space", json_false());
        bad |= json_object_set_new(o, "do_lower_case", json_true());
        bad |= json_object_set_new(o, "errors", json_string("replace"));
    }
    if (t->info.max_length)
        bad |= json_object_set_new(o, "model_max_length", json_integer(t->info.max_length));
    if (bad)
        FAIL(ERR_MEMORY, "out of memory while writing tokenizer_config.json");
    return 0;
}

int token_save_config(const struct tokenizer *t, const char *dir)
{
    json_t *config = t->config ? json_copy(t->config) : json_object(),
           *map = t->map ? json_copy(t->map) : json_object();
    int rc = config && map ? 0 : err_set(ERR_MEMORY, "%s: out of memory while writing the tokenizer", dir);
    if (rc == 0 && !t->config)
        rc = new_config(t, config);
    if (rc == 0 && !t->map)
        rc = set_roles(t, map);
    if (rc == 0)
        json_object_del(config, "meridian_cleaning");
    if (rc == 0 && t->mode != t->folder_mode)
        rc = set_string(config, "meridian_cleaning", text_mode_name(t->mode));
    if (rc == 0) {
        rc = atomic_put_json(dir, "tokenizer_config.json", config, JSON_INDENT(2) | JSON_SORT_KEYS);
        config = NULL;
    }
    if (rc == 0) {
        rc = atomic_put_json(dir, "special_tokens_map.json", map, JSON_INDENT(2) | JSON_SORT_KEYS);
        map = NULL;
    }
    json_decref(config);
    json_decref(map);
    return rc;
}

int token_save_bytes(const char *dir, const char *name, const void *bytes, size_t n)
{
    char path[4096];
    TRY(path_join(path, sizeof path, dir, name));
    return atomic_put(path, bytes, n);
}
