/* data/tokenizer_kind.h: what the kinds of tokenizers share; private to the room.
 *
 * A folder is read once into struct token_files; each kind of tokenizer_list.h is asked whether the files are its own,
 * in the order of the list. The handle does what all kinds have in common: the cleaning mode, the markers that stand
 * for themselves in a text, start and end, padding, the fingerprint, the small files of a saved folder. */
#ifndef DATA_TOKENIZER_KIND_H
#define DATA_TOKENIZER_KIND_H

#include "data/bpe.h"
#include "data/tokenizer_list.h"

/* Special tokens by the names of HuggingFace's configs. */
#define TOKEN_ROLES(X)                                                                                                 \
    X(ROLE_BOS, "bos_token")                                                                                           \
    X(ROLE_EOS, "eos_token")                                                                                           \
    X(ROLE_UNK, "unk_token")                                                                                           \
    X(ROLE_SEP, "sep_token")                                                                                           \
    X(ROLE_PAD, "pad_token")                                                                                           \
    X(ROLE_CLS, "cls_token")                                                                                           \
    X(ROLE_MASK, "mask_token")
enum token_role {
#define X(id, name) id,
    TOKEN_ROLES(X)
#undef X
        N_TOKEN_ROLES
};

/* A token that the files add to the vocabulary, or mark in it. */
struct token_added {
    const char *text;
    size_t n;
    int64_t id;                   /* -1: not said; the vocabulary knows */
    bool special;                 /* left out when ids are decoded */
    bool normalized;              /* searched in the normalized text */
    bool left_strip, right_strip; /* takes the white space beside it along */
};

struct token_files {
    const char *dir;
    json_t *one, *config, *map, *added_json; /* tokenizer.json, tokenizer_config.json, … or NULL */
    bool vocab_json, merges, vocab_txt;
    char one_path[4096], config_path[4096];
    char piece_path[4096];           /* spiece.model or tokenizer.model; empty: none */
    json_t *open_clip;               /* open_clip_config.json of a folder without config.json, or NULL */
    bool blip;                       /* config.json says model_type blip */
    const struct tokenizer_opt *opt; /* never NULL */
};

struct token_ids {
    int32_t *v;
    int64_t n, cap;
};
/* Room for `more` ids behind n. */
int token_ids_room(struct token_ids *ids, int64_t more);

struct tokenizer {
    const struct tokenizer_kind *kind;
    struct arena *arena;
    struct tokenizer_info info;
    struct bpe table; /* names, and merges where there are any */
    enum text_mode mode;
    enum text_mode folder_mode;      /* what the folder alone would say */
    struct text_norm *norm;          /* NULL: none */
    const char *role[N_TOKEN_ROLES]; /* spelling, or NULL */
    struct token_added *added;
    int64_t n_added;
    uint8_t first_bytes[32]; /* bits: an added token starts with this byte */
    bool split;              /* added tokens are cut out of the text first */
    bool pad_left;
    const char *class_name; /* tokenizer_class, or NULL */
    char *one_text;         /* bytes of tokenizer.json, to be saved again */
    size_t n_one;
    json_t *config, *map; /* as read, to be saved again, or NULL */
    void *own;
};

struct tokenizer_kind {
    const char *name;
    bool (*accepts)(const struct token_files *f);
    /* Fills table or own, mode, norm, and the ids of info from role[]. */
    int (*open)(struct tokenizer *t, const struct token_files *f);
    /* Appends the ids of one stretch of text without added tokens, normalized if the mode is so. `first`: it begins
     * the text. */
    int (*encode)(const struct tokenizer *t, const char *s, size_t n, bool first, struct token_ids *out);
    /* Replaces the path through the handle for a whole text; NULL: none. *done false: the handle goes on. */
    int (*encode_whole)(const struct tokenizer *t, const char *text, size_t n, struct token_ids *out, bool *done);
    int (*decode)(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out);
    int32_t (*find)(const struct tokenizer *t, const char *name); /* -1: none */
    int (*save)(const struct tokenizer *t, const char *dir);
    void (*hash)(const struct tokenizer *t, struct sha256 *h); /* what else decides the ids; may be NULL */
    void (*close)(struct tokenizer *t);                        /* may be NULL */
    const char *class_name;                                    /* tokenizer_class of a saved folder that had none */
};

/* ---- reading (token_files.c) -- */
int token_files_open(struct token_files *f, const char *dir, const struct tokenizer_opt *opt);
void token_files_close(struct token_files *f);
/* Roles, added tokens, padding side and length into t. */
int token_files_specials(struct tokenizer *t, const struct token_files *f);
int token_added_put(struct tokenizer *t, struct token_added token); /* text is copied; joins one that is there */
/* Entries that added tokens with an id need beyond the vocabulary (an object of names). */
int64_t token_added_beyond(const struct tokenizer *t, const json_t *vocab);
/* Names of those into t->table, at their ids; ERR_DATA when a token has another id there. */
int token_added_set(struct tokenizer *t, const char *where);
const char *token_model_type(const struct token_files *f); /* model.type of tokenizer.json, or "" */
/* An id for a role; required: ERR_DATA when the folder names one that is not in the vocabulary, or none. */
int token_role_id(const struct tokenizer *t, enum token_role role, const char *fallback, bool required,
                  const char *where, int32_t *id);
/* Start and end as post_processor says: 1 when the tokenizer.json has one that adds something, 0 when not. */
int token_template(const struct tokenizer *t, const struct token_files *f, int32_t *start, int32_t *end);
/* An object of names and ids, and the added tokens, into t->table; with room for n_merges. */
int token_table_fill(struct tokenizer *t, const json_t *vocab, int64_t n_merges, const char *where);
/* model.vocab and added tokens of tokenizer.json into t->table; ends with bpe_check_names. */
int token_table_from_json(struct tokenizer *t, const struct token_files *f);
int token_merges_from_json(struct tokenizer *t, const struct token_files *f);
/* The mode: asked for, or said by an earlier save or by open_clip's configuration, or `fallback`, which is what the
 * tokenizer's own files say. */
int token_mode(struct tokenizer *t, const struct token_files *f, enum text_mode fallback);

/* ---- added tokens in a text (token_split.c) -- */
int32_t token_table_find(const struct tokenizer *t, const char *name); /* a kind's find over its table */
void token_added_ready(struct tokenizer *t);                           /* sorts; after the last one is known */
/* The next added token at or after *from; false: none. [*at, *end) are its bytes with the space that it takes. */
bool token_added_next(const struct tokenizer *t, const char *s, size_t n, size_t from, bool normalized, size_t *at,
                      size_t *end, const struct token_added **which);
bool token_is_special(const struct tokenizer *t, int32_t id);
/* Cuts the added tokens out, and gives the stretches between them to the kind's encode, normalized. */
int token_split_encode(const struct tokenizer *t, const char *s, size_t n, struct token_ids *out);

/* ---- writing (token_save.c) -- */
int token_save_config(const struct tokenizer *t, const char *dir);
int token_save_bytes(const char *dir, const char *name, const void *bytes, size_t n);

int tokenizer_clip_trained(struct tokenizer *t, const char *where); /* clip_bpe.c: a table learned here */

#define X(kind) extern const struct tokenizer_kind kind;
TOKENIZER_LIST(X)
#undef X

#endif
