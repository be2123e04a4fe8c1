/* data/token_table.c: vocabulary and merges out of tokenizer.json into the table of names.
 *
 * The vocabulary is not trusted: every id once, no holes, no unknown merges. Merges come in two spellings, "left right"
 * and ["left", "right"]; added tokens may lie inside the vocabulary or behind it. */
#include "data/tokenizer_kind.h"

#include <string.h>

int64_t token_added_beyond(const struct tokenizer *t, const json_t *vocab)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->n_added; i++)
        n += t->added[i].id >= 0 && !json_object_get(vocab, t->added[i].text);
    return n;
}

int token_added_set(struct tokenizer *t, const char *where)
{
    for (int64_t i = 0; i < t->n_added; i++) {
        const struct token_added *a = &t->added[i];
        int32_t known = bpe_find(&t->table, a->text, a->n);
        if (a->id >= 0 && known < 0)
            TRY(bpe_set_token(&t->table, a->id, a->text, where));
        else if (a->id >= 0 && known != a->id)
            FAIL(ERR_DATA, "%s: the added token \"%.60s\" has id %lld, but %d in the vocabulary", where, a->text,
                 (long long)a->id, (int)known);
    }
    return 0;
}

int token_table_fill(struct tokenizer *t, const json_t *vocab, int64_t n_merges, const char *where)
{
    const char *name;
    json_t *id;
    if (!json_is_object(vocab) || !json_object_size(vocab))
        FAIL(ERR_DATA, "%s: expected a JSON object of entries and ids", where);
    TRY(bpe_start(&t->table, t->arena, (int64_t)json_object_size(vocab) + token_added_beyond(t, vocab), n_merges));
    json_object_foreach((json_t *)vocab, name, id)
    {
        if (!json_is_integer(id))
            FAIL(ERR_DATA, "%s: entry \"%.60s\": expected a whole number as its id", where, name);
        TRY(bpe_set_token(&t->table, json_integer_value(id), name, where));
    }
    return token_added_set(t, where);
}

int token_table_from_json(struct tokenizer *t, const struct token_files *f)
{
    const json_t *model = json_object_get(f->one, "model"), *vocab = json_object_get(model, "vocab");
    if (!json_is_object(vocab))
        FAIL(ERR_DATA, "%s: expected model.vocab (object)", f->one_path);
    TRY(token_table_fill(t, vocab, (int64_t)json_array_size(json_object_get(model, "merges")), f->one_path));
    return bpe_check_names(&t->table, f->one_path);
}

int token_merges_from_json(struct tokenizer *t, const struct token_files *f)
{
    const json_t *merges = json_object_get(json_object_get(f->one, "model"), "merges");
    size_t i;
    json_t *m;
    if (!json_is_array(merges))
        FAIL(ERR_DATA, "%s: expected model.merges (list)", f->one_path);
    json_array_foreach((json_t *)merges, i, m)
    {
        char place[4200];
        const char *l = json_string_value(json_array_get(m, 0)), *r = json_string_value(json_array_get(m, 1));
        size_t n_left = l ? strlen(l) : 0;
        if (json_is_string(m)) {
            const char *gap = strchr(json_string_value(m), ' ');
            l = json_string_value(m);
            n_left = gap ? (size_t)(gap - l) : 0;
            r = gap && !strchr(gap + 1, ' ') ? gap + 1 : "";
        }
        if (!l || !r || !n_left || !*r || (json_is_array(m) && json_array_size(m) != 2)) {
            snprintf(place, sizeof place, "%s: model.merges[%zu]", f->one_path, i);
            FAIL(ERR_DATA,
                 "%s: expected a string \"left right\" with one space, or a list of two strings, found \"%.60s\"",
                 place, json_is_string(m) ? json_string_value(m) : "something else");
        }
        if (bpe_add_merge(&t->table, l, n_left, r, strlen(r), f->one_path, 0) < 0) {
            snprintf(place, sizeof place, "model.merges[%zu]", i);
            return err_while(ERR_DATA, "%s", place);
        }
    }
    return 0;
}

int32_t token_table_find(const struct tokenizer *t, const char *name)
{
    return bpe_find(&t->table, name, strlen(name));
}
