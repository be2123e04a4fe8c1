/* api/api.h: what the files behind include/meridian.h share. The room's contract with the world is meridian.h; this
 * header is the room's own.
 *
 * Every call that can fail begins with api_begin. What computes does so between api_lock and api_unlock: the rooms
 * below have one compute thread, and a library's caller may have many. */
#ifndef API_API_H
#define API_API_H

#include "base/base.h"

#include <stddef.h>

struct mrd_model;
struct mrd_pairs;
struct model;
struct set;

/* Silences the log once, forgets this thread's last message, and lets mrd_interrupt reach the call. */
void api_begin(void);
/* Waits for the other calls. ERR_INTERRUPTED when told to stop meanwhile, ERR_UNSUPPORTED in a forked process that
 * cannot compute; nothing is locked then. */
int api_lock(void);
void api_unlock(void);
bool api_lock_to_free(void); /* to give something back; false where nobody can be waited for, and nothing is locked */

/* What the caller's header knew of a struct of options, over the defaults that are there. n: what we know. */
int api_take_opt(void *into, size_t n, const void *from, const char *name);
/* The caller's arrays as a set (api_measure.c), with pairs of its own: mem_free(s->pairs) in any case. Only read. */
int api_borrow(struct set *s, const struct mrd_pairs *p);
/* Words "name=value" into a struct of options, defaults first (api_words.c); what: "loss \"clip\"", for messages. */
int api_read_words(const struct opt *table, void *into, struct arena *a, const char *const *options, int64_t n,
                   const char *what);
/* A table as {name: {"type", "default", "min", "max", "choices", "help"}}; NULL: no memory. */
json_t *api_describe_options(const struct opt *table, size_t size);
/* Takes the reference; *out is the caller's, mrd_free. */
int api_put_json(char **out, json_t *o);
/* A copy for the caller, mrd_free. */
int api_put_text(char **out, const char *text);

#endif
