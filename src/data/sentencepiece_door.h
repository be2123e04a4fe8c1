/* data/sentencepiece_door.h: libsentencepiece as seen from C; sentencepiece.cc implements it. No exception and no C++
 * type passes. Private to sentencepiece.c. */
#ifndef DATA_SENTENCEPIECE_DOOR_H
#define DATA_SENTENCEPIECE_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sp_model;
/* Whether the library may be given these bytes (sentencepiece_check.c). */
bool sp_model_is_safe(const void *bytes, size_t n);
/* Failures: -1 and the reason in `why`; -2: no memory. */
int sp_open(struct sp_model **m, const void *bytes, size_t n, bool no_dummy_prefix, char *why, size_t n_why);
void sp_close(struct sp_model *m);
int sp_size(const struct sp_model *m);
void sp_special_ids(const struct sp_model *m, int *bos, int *eos, int *pad, int *unk);
int sp_find(const struct sp_model *m, const char *piece); /* -1: no such piece */
/* put returns false to stop (then -2). */
int sp_encode(const struct sp_model *m, const char *s, size_t n, bool (*put)(void *ctx, int id), void *ctx);
int sp_decode(const struct sp_model *m, const int32_t *ids, size_t n, void (*put)(void *ctx, const char *s, size_t n),
              void *ctx);

#ifdef __cplusplus
}
#endif

#endif
