/* data/emoji_traits.c: what a picture shows, as columns: base concept, gender, skin tone, hair, role.
 *
 * Code points are read first, because they cannot be misunderstood: modifiers 1F3FB..1F3FF, signs 2640 and 2642,
 * persons 1F468, 1F469, 1F9D1, hair 1F9B0..1F9B3. Names are used for what code points do not say (the concept) and cut
 * only where a part behind the colon is a trait. The concept of a gendered picture is the name of its neutral sibling
 * ("man firefighter"
 * -> "firefighter", "mermaid" -> "merperson"), found by sequence. Deriving everything from names was tried on paper and
 * fails on exactly these. A short table holds the legacy single code points that pair up by meaning only (boy and girl,
 * ...). */
#include "data/emoji.h"

#include <string.h>

#define ZWJ 0x200Du
#define SELECTOR 0xFE0Fu

static bool is_tone(uint32_t c)
{
    return c >= 0x1F3FB && c <= 0x1F3FF;
}
static bool is_hair(uint32_t c)
{
    return c >= 0x1F9B0 && c <= 0x1F9B3;
}
static bool is_person(uint32_t c)
{
    return c == 0x1F468 || c == 0x1F469 || c == 0x1F9D1;
}
static bool is_sign(uint32_t c)
{
    return c == 0x2640 || c == 0x2642;
}

static bool among_people(const struct emoji *e)
{
    return str_starts(e->subgroup, "person") || !strcmp(e->subgroup, "family");
}

/* ---- sequences without some of their parts ------------------------------------------------------------------------
 */

struct key {
    uint32_t cp[EMOJI_MAX_CP];
    int n;
};

static struct key key_without_tone(const struct emoji *e)
{
    struct key k = {.n = 0};
    for (int i = 0; i < e->n_cp; i++)
        if (!is_tone(e->cp[i]) && e->cp[i] != SELECTOR)
            k.cp[k.n++] = e->cp[i];
    return k;
}

static int count_persons(const struct emoji *e)
{
    int n = 0;
    for (int i = 0; i < e->n_cp; i++)
        n += is_person(e->cp[i]);
    return n;
}

/* The neutral sibling: no tone, no sign, no hair, and a single person is 1F9D1. */
static struct key key_neutral(const struct emoji *e)
{
    struct key k = key_without_tone(e), out = {.n = 0};
    bool single = count_persons(e) == 1;
    for (int i = 0; i < k.n; i++) {
        if (k.cp[i] == ZWJ && i + 1 < k.n && (is_sign(k.cp[i + 1]) || is_hair(k.cp[i + 1]))) {
            i++;
            continue;
        }
        out.cp[out.n++] = single && is_person(k.cp[i]) ? 0x1F9D1 : k.cp[i];
    }
    return out;
}

/* Index of entries by key; entries with equal keys are chained from the first one. */
struct index {
    const struct emoji_list *l;
    uint32_t *slots;
    size_t mask;
    bool *toned, *gendered; /* by entry: a sibling with a tone, a sibling with a gender */
};

static bool key_equal(const struct key *a, const struct key *b)
{
    return a->n == b->n && !memcmp(a->cp, b->cp, (size_t)a->n * sizeof a->cp[0]);
}

static size_t find_slot(const struct index *x, const struct key *k)
{
    size_t i = (size_t)hash_bytes(k->cp, (size_t)k->n * sizeof k->cp[0], 0) & x->mask;
    for (; x->slots[i]; i = (i + 1) & x->mask) {
        struct key other = key_without_tone(&x->l->v[x->slots[i] - 1]);
        if (key_equal(&other, k))
            break;
    }
    return i;
}

/* First entry with this sequence, tones aside; -1 when there is none. */
static int64_t find(const struct index *x, struct key k)
{
    return (int64_t)x->slots[find_slot(x, &k)] - 1;
}

static int index_open(struct index *x, const struct emoji_list *l)
{
    size_t size = 64;
    while (size < (size_t)l->n * 2)
        size *= 2;
    *x = (struct index){.l = l, .mask = size - 1};
    x->slots = mem_calloc(size, sizeof *x->slots);
    x->toned = mem_calloc((size_t)l->n, sizeof *x->toned);
    x->gendered = mem_calloc((size_t)l->n, sizeof *x->gendered);
    if (!x->slots || !x->toned || !x->gendered)
        return ERR_MEMORY;
    for (int64_t i = 0; i < l->n; i++) {
        struct key k = key_without_tone(&l->v[i]);
        size_t slot = find_slot(x, &k);
        if (!x->slots[slot])
            x->slots[slot] = (uint32_t)i + 1;
        for (int j = 0; j < l->v[i].n_cp; j++)
            if (is_tone(l->v[i].cp[j]))
                x->toned[x->slots[slot] - 1] = true;
    }
    for (int64_t i = 0; i < l->n; i++) {
        struct key own = key_without_tone(&l->v[i]), neutral = key_neutral(&l->v[i]);
        int64_t at = key_equal(&own, &neutral) ? -1 : find(x, neutral);
        if (at >= 0)
            x->gendered[at] = true;
    }
    return 0;
}

static void index_close(struct index *x)
{
    mem_free(x->slots);
    mem_free(x->toned);
    mem_free(x->gendered);
}

/* ---- single traits
 * ------------------------------------------------------------------------------------------------------ */

/* Pairs by meaning, not by sequence. NULL base: from the name. */
static const struct legacy {
    uint32_t cp;
    const char *base, *gender;
} legacy[] = {
    {0x1F466, "child", "man"},
    {0x1F467, "child", "woman"},
    {0x1F9D2, "child", "person"},
    {0x1F468, "person", "man"},
    {0x1F469, "person", "woman"},
    {0x1F9D1, "person", "person"},
    {0x1F474, "older person", "man"},
    {0x1F475, "older person", "woman"},
    {0x1F9D3, "older person", "person"},
    {0x1F930, "pregnant person", "woman"},
    {0x1FAC3, "pregnant person", "man"},
    {0x1FAC4, "pregnant person", "person"},
    {0x1F57A, "person dancing", "man"},
    {0x1F483, "person dancing", "woman"},
    {0x1F46B, "people holding hands", ""},
    {0x1F46C, "people holding hands", "man"},
    {0x1F46D, "people holding hands", "woman"},
    {0x1F934, NULL, "man"},
    {0x1F478, NULL, "woman"},
    {0x1F385, NULL, "man"},
    {0x1F936, NULL, "woman"},
    {0x1F9D5, "person with headscarf", "woman"},
};

static const struct legacy *find_legacy(const struct emoji *e)
{
    struct key k = key_without_tone(e);
    for (size_t i = 0; k.n == 1 && i < ARRAY_LEN(legacy); i++)
        if (k.cp[0] == legacy[i].cp)
            return &legacy[i];
    return NULL;
}

static const char *tone_of(const struct index *x, const struct emoji *e)
{
    static const char *const names[] = {"light", "medium-light", "medium", "medium-dark", "dark"};
    uint32_t seen = 0;
    for (int i = 0; i < e->n_cp; i++) {
        if (!is_tone(e->cp[i]))
            continue;
        if (seen && seen != e->cp[i])
            return "mixed";
        seen = e->cp[i];
    }
    if (seen)
        return names[seen - 0x1F3FB];
    int64_t at = find(x, key_without_tone(e));
    return at >= 0 && x->toned[at] ? "default" : "";
}

static const char *hair_of(const struct emoji *e)
{
    static const char *const names[] = {"red", "curly", "bald", "white"}; /* 1F9B0 to 1F9B3 */
    for (int i = 1; i < e->n_cp; i++)
        if (is_hair(e->cp[i]))
            return names[e->cp[i] - 0x1F9B0];
    return e->cp[0] == 0x1F471 ? "blond" : e->cp[0] == 0x1F9D4 ? "beard" : "";
}

/* Several persons share a gender or have none. */
static const char *gender_of_several(const struct emoji *e)
{
    uint32_t first = 0;
    for (int i = 0; i < e->n_cp; i++) {
        if (!is_person(e->cp[i]))
            continue;
        if (first && first != e->cp[i])
            return "";
        first = e->cp[i];
    }
    return first == 0x1F468 ? "man" : first == 0x1F469 ? "woman" : "person";
}

static const char *gender_of(const struct index *x, const struct emoji *e)
{
    if (!among_people(e) || str_starts(e->name, "family"))
        return ""; /* a family has children of either gender */
    const struct legacy *known = find_legacy(e);
    if (known)
        return known->gender;
    for (int i = 1; i < e->n_cp; i++)
        if (is_sign(e->cp[i]) && e->cp[i - 1] == ZWJ)
            return e->cp[i] == 0x2640 ? "woman" : "man";
    int n = count_persons(e);
    if (n > 1)
        return gender_of_several(e);
    if (n == 1) {
        for (int i = 0; i < e->n_cp; i++)
            if (is_person(e->cp[i]))
                return e->cp[i] == 0x1F468 ? "man" : e->cp[i] == 0x1F469 ? "woman" : "person";
    }
    int64_t at = find(x, key_without_tone(e));
    if (e->cp[0] == 0x1F48F || e->cp[0] == 0x1F491)
        return "person"; /* kiss and couple: the gendered ones are ZWJ sequences of their own */
    return at >= 0 && x->gendered[at] ? "person" : "";
}

/* ---- the concept
 * ---------------------------------------------------------------------------------------------------------- */

static bool is_trait_word(const char *s, size_t n)
{
    static const char *const words[] = {"light skin tone",
                                        "medium-light skin tone",
                                        "medium skin tone",
                                        "medium-dark skin tone",
                                        "dark skin tone",
                                        "red hair",
                                        "curly hair",
                                        "white hair",
                                        "bald",
                                        "blond hair",
                                        "beard",
                                        "man",
                                        "woman",
                                        "person",
                                        "boy",
                                        "girl"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strlen(words[i]) == n && !memcmp(words[i], s, n))
            return true;
    return false;
}

/* Length of the name without a tail ": trait, trait". */
static size_t head_length(const char *name)
{
    const char *colon = strstr(name, ": ");
    if (!colon)
        return strlen(name);
    for (const char *s = colon + 2; *s;) {
        const char *comma = strstr(s, ", ");
        size_t n = comma ? (size_t)(comma - s) : strlen(s);
        if (!is_trait_word(s, n))
            return strlen(name);
        s += n + (comma ? 2 : 0);
    }
    return (size_t)(colon - name);
}

static int set_base(const struct index *x, struct emoji_list *l, struct emoji *e)
{
    const struct legacy *known = among_people(e) ? find_legacy(e) : NULL;
    if (known && known->base) {
        e->base = known->base;
        return 0;
    }
    int64_t at = among_people(e) ? find(x, key_neutral(e)) : -1;
    const char *name = at >= 0 ? l->v[at].name : e->name;
    size_t n = head_length(name);
    if (among_people(e) && n > 14 && !memcmp(name + n - 14, " holding hands", 14)) {
        e->base = "people holding hands";
        return 0;
    }
    char *copy = arena_alloc(l->arena, n + 1);
    if (!copy)
        return ERR_MEMORY;
    memcpy(copy, name, n);
    copy[n] = 0;
    e->base = copy;
    return 0;
}

/* The concept without the word for a human: "person running" -> "running", "deaf person" -> "deaf". */
static int set_role(struct emoji_list *l, struct emoji *e)
{
    static const char *const subgroups[] = {"person-gesture",  "person-role",  "person-fantasy",
                                            "person-activity", "person-sport", "person-resting"};
    e->role = "";
    bool has = false;
    for (size_t i = 0; i < ARRAY_LEN(subgroups); i++)
        has |= !strcmp(e->subgroup, subgroups[i]);
    if (!has)
        return 0;
    const char *s = e->base;
    s += str_starts(s, "person ") || str_starts(s, "people ") ? 7 : 0;
    size_t n = strlen(s);
    n -= str_ends(s, " person") ? 7 : 0;
    char *copy = arena_alloc(l->arena, n + 1);
    if (!copy)
        return ERR_MEMORY;
    memcpy(copy, s, n);
    copy[n] = 0;
    e->role = copy;
    return 0;
}

int emoji_traits(struct emoji_list *l)
{
    struct index x;
    int rc = index_open(&x, l);
    for (int64_t i = 0; i < l->n && rc == 0; i++) {
        struct emoji *e = &l->v[i];
        e->tone = tone_of(&x, e);
        e->hair = hair_of(e);
        e->gender = gender_of(&x, e);
        rc = set_base(&x, l, e);
        if (rc == 0)
            rc = set_role(l, e);
    }
    index_close(&x);
    return rc;
}
