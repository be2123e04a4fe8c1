/* data/bpe.h: the table of symbols and merges, shared by the kinds of tokenizers (and their tests).
 *
 * The path of a caption through CLIP's: text_clean (HTML, white space, case) -> text_next_word (the published pattern)
 * -> bpe_word (bytes to ids). The three steps are separate so that the trainer of a vocabulary cuts words exactly as
 * the encoder will. WordPiece uses the names only, a table without merges. */
#ifndef DATA_BPE_H
#define DATA_BPE_H

#include "data/text.h"

/* ---- table of symbols and merges (bpe.c) -- */

#define BPE_END_MARK "</w>"

struct bpe_merge {
    int32_t left, right, out;
};
struct bpe {
    struct arena *arena;
    int32_t n_tokens, n_merges;
    const char **tokens;      /* by id, in the printable byte alphabet */
    struct bpe_merge *merges; /* by rank */
    int32_t byte_id[2][256];  /* [last byte of a word][byte]; for byte-level tables */
    uint64_t *pair_keys;      /* open addressing, keys left << 32 | right, all ones: free */
    int32_t *pair_ranks;
    size_t pair_mask;
    uint32_t *name_slots; /* open addressing over tokens, id + 1 */
    size_t name_mask;
};

/* The printable alphabet of byte-level BPE: byte b is written as code point bpe_symbol(b) (Radford et al. 2019). */
int32_t bpe_symbol(int byte);
/* Start a table of n_tokens entries in arena a; tokens are set by the caller through bpe_set_token. */
int bpe_start(struct bpe *b, struct arena *a, int64_t n_tokens, int64_t n_merges);
/* Names by id; ERR_DATA for a duplicate name or id. `where` is the file. */
int bpe_set_token(struct bpe *b, int64_t id, const char *name, const char *where);
int32_t bpe_find(const struct bpe *b, const char *name, size_t n); /* -1 when absent */
/* Appends the next merge; line (0: unknown) and where name the place in messages. */
int bpe_add_merge(struct bpe *b, const char *left, size_t n_left, const char *right, size_t n_right, const char *where,
                  int64_t line);
/* Checks that no id is left without a name. */
int bpe_check_names(const struct bpe *b, const char *where);
/* bpe_check_names, and that every byte has both of its symbols. */
int bpe_finish(struct bpe *b, const char *where);
/* Joins ids in place as far as merges go, n log n. All occurrences of the best pair at once, from left to right, as
 * OpenAI's encoder does; or one at a time, as HuggingFace's does: they differ on tables whose later merges outrank
 * earlier ones. ERR_MEMORY only. */
int bpe_merge(const struct bpe *b, int32_t *ids, int64_t *n, bool one_at_a_time);
/* Ids of one word; ids has room for n. *n_ids is set. */
int bpe_word(const struct bpe *b, const char *s, size_t n, int32_t *ids, int64_t *n_ids);
/* The reverse of bpe_symbol for one entry: its bytes behind out, without the end mark. *last: it had one. */
void bpe_token_bytes(const struct bpe *b, int32_t id, struct str *out, bool *last);

/* ---- learning (bpe_train.c) -- */
int bpe_train(struct bpe *b, struct arena *a, const char *const *texts, const int64_t *counts, int64_t n_texts,
              int64_t vocab_size, const char *start, const char *end);

#endif
