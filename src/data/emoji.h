/* data/emoji.h: inside of the emoji world, shared by emoji_source.c (what Unicode says), emoji_traits.c (attributes
 * from code points and names), emoji_split.c (which picture is for what) and emoji_world.c (drawing and files).
 * docs/emoji.md has the rules in words. */
#ifndef DATA_EMOJI_H
#define DATA_EMOJI_H

#include "data/data.h"

#define EMOJI_MAX_CP 16
#define EMOJI_SIDE 96

struct emoji {
    uint32_t cp[EMOJI_MAX_CP]; /* fully-qualified sequence, FE0F included */
    int n_cp;
    const char *id, *utf8;       /* "1f44d-1f3fb"; the sequence itself */
    const char *name, *keywords; /* CLDR's name, or emoji-test's; "a | b | c" or NULL */
    const char *group, *subgroup;
    const char *base, *gender, *tone, *hair, *role, *split;
};

struct emoji_list {
    struct arena *arena;
    struct emoji *v; /* emoji-test order */
    int64_t n;
    int64_t n_cldr_names; /* the others carry emoji-test's name */
};

/* Where the two Debian packages put the sources; tests give others. */
struct emoji_sources {
    const char *emoji_test, *annotations, *derived;
};
struct emoji_sources emoji_sources_debian(void);
/* Fills id, utf8, name, keywords, group, subgroup. A missing file is ERR_FAIL naming the package. */
int emoji_list_read(struct emoji_list *l, const struct emoji_sources *src);
void emoji_list_free(struct emoji_list *l);
/* One more entry, for the reader and for tests. */
int emoji_list_add(struct emoji_list *l, const uint32_t *cp, int n_cp, const char *name, const char *group,
                   const char *subgroup);

/* Fills base, gender, tone, hair, role of all entries: an attribute may depend on which siblings exist. */
int emoji_traits(struct emoji_list *l);
/* Fills split. Entries that the font cannot draw must be gone already. */
int emoji_split(struct emoji_list *l);

/* emoji_world_make with sources of one's own. */
int emoji_world_make_from(const char *dir, const struct emoji_sources *src);

#endif
