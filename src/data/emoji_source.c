/* data/emoji_source.c: the emoji sequences and their English names, from two Debian packages.
 *
 * unicode-data's emoji-test.txt (UTS 51) lists every sequence in a sensible order with group and subgroup; its
 * fully-qualified lines are the world. unicode-cldr-core's annotations (UTS 35, part 7) give the short name ("tts") and
 * the keywords; their cp attribute carries no U+FE0F, so both sides are compared without it. Where CLDR is older than
 * emoji-test, the name in emoji-test's comment stands in: the two agree wherever both exist, up to punctuation. */
#include "data/emoji.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

struct emoji_sources emoji_sources_debian(void)
{
    return (struct emoji_sources){"/usr/share/unicode/emoji/emoji-test.txt",
                                  "/usr/share/unicode/cldr/common/annotations/en.xml",
                                  "/usr/share/unicode/cldr/common/annotationsDerived/en.xml"};
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

int emoji_list_add(struct emoji_list *l, const uint32_t *cp, int n_cp, const char *name, const char *group,
                   const char *subgroup)
{
    char id[EMOJI_MAX_CP * 8] = "", utf8[EMOJI_MAX_CP * 4 + 1];
    size_t n_id = 0, n_utf8 = 0;
    BUG_ON(n_cp < 1 || n_cp > EMOJI_MAX_CP);
    if ((l->n & (l->n - 1)) == 0) { /* full at every power of two */
        size_t cap = l->n ? (size_t)l->n : 0;
        struct emoji *v = mem_grow(l->v, cap * sizeof *v, (cap ? cap * 2 : 1) * sizeof *v);
        if (!v)
            return ERR_MEMORY;
        l->v = v;
    }
    struct emoji e = {.n_cp = n_cp};
    for (int i = 0; i < n_cp; i++) {
        e.cp[i] = cp[i];
        n_id += (size_t)snprintf(id + n_id, sizeof id - n_id, "%s%x", i ? "-" : "", (unsigned)cp[i]);
        n_utf8 += put_utf8(utf8 + n_utf8, cp[i]);
    }
    utf8[n_utf8] = 0;
    e.id = arena_strdup(l->arena, id);
    e.utf8 = arena_strdup(l->arena, utf8);
    e.name = arena_strdup(l->arena, name);
    e.group = arena_strdup(l->arena, group);
    e.subgroup = arena_strdup(l->arena, subgroup);
    if (!e.id || !e.utf8 || !e.name || !e.group || !e.subgroup)
        return ERR_MEMORY;
    l->v[l->n++] = e;
    return 0;
}

void emoji_list_free(struct emoji_list *l)
{
    mem_free(l->v);
    arena_close(&l->arena);
    memset(l, 0, sizeof *l);
}

/* ---- emoji-test.txt ------------------------------------------------------------------------------------------------
 */

struct test_reader {
    const char *path;
    int64_t line;
    char group[128], subgroup[128];
};

static int parse_sequence(const struct test_reader *r, const char *s, uint32_t *cp, int *n)
{
    *n = 0;
    for (;;) {
        while (*s == ' ')
            s++;
        if (*s == ';')
            break;
        char *end;
        unsigned long v = strtoul(s, &end, 16);
        if (end == s || v == 0 || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF) || *n == EMOJI_MAX_CP)
            FAIL(ERR_DATA, "%s:%lld: expected at most %d hexadecimal code points before \";\"", r->path,
                 (long long)r->line, EMOJI_MAX_CP);
        cp[(*n)++] = (uint32_t)v;
        s = end;
    }
    if (!*n)
        FAIL(ERR_DATA, "%s:%lld: no code points before \";\"", r->path, (long long)r->line);
    return 0;
}

/* "1F44D 1F3FB ; fully-qualified # x E1.0 thumbs up: light skin tone" */
static int parse_line(struct test_reader *r, struct emoji_list *l, char *s)
{
    if (str_starts(s, "# group: "))
        snprintf(r->group, sizeof r->group, "%.127s", s + 9);
    else if (str_starts(s, "# subgroup: "))
        snprintf(r->subgroup, sizeof r->subgroup, "%.127s", s + 12);
    char *semi = strchr(s, ';');
    if (*s == '#' || !semi)
        return 0;
    const char *status = semi + 1;
    while (*status == ' ')
        status++;
    if (!str_starts(status, "fully-qualified"))
        return 0;
    uint32_t cp[EMOJI_MAX_CP];
    int n;
    TRY(parse_sequence(r, s, cp, &n));
    const char *name = strstr(status, " E"); /* behind the version */
    while (name && !(name[2] >= '0' && name[2] <= '9'))
        name = strstr(name + 2, " E");
    name = name ? strchr(name + 1, ' ') : NULL;
    if (!name || !name[1])
        FAIL(ERR_DATA, "%s:%lld: expected \"# emoji Eversion name\" after the status", r->path, (long long)r->line);
    return emoji_list_add(l, cp, n, name + 1, r->group, r->subgroup);
}

static int read_test(struct emoji_list *l, const char *path)
{
    struct map m;
    if (!path_exists(path))
        FAIL(ERR_FAIL, "%s: not there; the emoji world needs it: apt-get install unicode-data", path);
    TRY(map_open(&m, path));
    struct test_reader r = {.path = path};
    const char *p = (const char *)m.data, *end = p + m.size;
    int rc = utf8_ok(p, m.size) ? 0 : err_set(ERR_DATA, "%s: not UTF-8", path);
    while (rc == 0 && p < end) {
        char line[1024];
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        r.line++;
        if (n >= sizeof line) {
            rc = err_set(ERR_DATA, "%s:%lld: line of %zu bytes, expected fewer than %zu", path, (long long)r.line, n,
                         sizeof line);
            break;
        }
        memcpy(line, p, n);
        line[n && line[n - 1] == '\r' ? n - 1 : n] = 0;
        rc = parse_line(&r, l, line);
        p += n + 1;
    }
    if (rc == 0 && l->n == 0)
        rc = err_set(ERR_DATA, "%s: no line with status fully-qualified", path);
    map_close(&m);
    return rc;
}

/* ---- CLDR annotations
 * -------------------------------------------------------------------------------------------------- */

/* Copies s without U+FE0F (EF B8 8F). */
static void strip_selector(char *out, size_t cap, const char *s)
{
    size_t n = 0;
    while (*s && n + 1 < cap) {
        if (!memcmp(s, "\xEF\xB8", 2) && s[2] == '\x8F')
            s += 3;
        else
            out[n++] = *s++;
    }
    out[n] = 0;
}

struct annotations {
    struct emoji_list *l;
    uint32_t *slots; /* index + 1 by sequence without FE0F */
    size_t mask;
    bool *named;
    struct str text;
    int64_t target; /* entry of the open element, or -1 */
    bool tts, failed;
};

static size_t find_slot(const struct annotations *a, const char *key)
{
    size_t i = (size_t)hash_bytes(key, strlen(key), 0) & a->mask;
    for (; a->slots[i]; i = (i + 1) & a->mask) {
        char other[EMOJI_MAX_CP * 4 + 1];
        strip_selector(other, sizeof other, a->l->v[a->slots[i] - 1].utf8);
        if (!strcmp(other, key))
            break;
    }
    return i;
}

static void XMLCALL on_start(void *ctx, const XML_Char *tag, const XML_Char **attr)
{
    struct annotations *a = ctx;
    const char *cp = NULL;
    if (strcmp(tag, "annotation"))
        return;
    a->tts = false;
    for (int i = 0; attr[i]; i += 2) {
        if (!strcmp(attr[i], "cp"))
            cp = attr[i + 1];
        if (!strcmp(attr[i], "type"))
            a->tts = !strcmp(attr[i + 1], "tts");
    }
    char key[EMOJI_MAX_CP * 4 + 1];
    a->target = -1;
    str_clear(&a->text);
    if (!cp || strlen(cp) >= sizeof key)
        return;
    strip_selector(key, sizeof key, cp);
    a->target = (int64_t)a->slots[find_slot(a, key)] - 1;
}

static void XMLCALL on_text(void *ctx, const XML_Char *s, int n)
{
    struct annotations *a = ctx;
    if (a->target >= 0 && a->text.n < 65536)
        str_add_n(&a->text, s, (size_t)n);
}

static void XMLCALL on_end(void *ctx, const XML_Char *tag)
{
    struct annotations *a = ctx;
    /* The arrows are CLDR's mark for "as in the parent locale". */
    if (a->target < 0 || strcmp(tag, "annotation") || !a->text.n || str_starts(a->text.s, "\xE2\x86\x91"))
        return;
    struct emoji *e = &a->l->v[a->target];
    char *copy = arena_strdup(a->l->arena, a->text.s);
    a->failed |= !copy || a->text.failed;
    if (a->tts) {
        e->name = copy;
        a->named[a->target] = true;
    } else
        e->keywords = copy;
    a->target = -1;
}

static int read_annotations(struct annotations *a, const char *path)
{
    struct map m;
    if (!path_exists(path))
        FAIL(ERR_FAIL, "%s: not there; the emoji world needs it: apt-get install unicode-cldr-core", path);
    TRY(map_open(&m, path));
    XML_Parser p = XML_ParserCreate("UTF-8");
    int rc = 0;
    if (!p)
        rc = err_set(ERR_MEMORY, "%s: no memory for an XML parser", path);
    else if (m.size > (size_t)limit_get(LIMIT_JSON_BYTES))
        rc = err_set(ERR_DATA, "%s: %zu bytes, expected at most %lld", path, m.size,
                     (long long)limit_get(LIMIT_JSON_BYTES));
    if (rc == 0) {
        a->target = -1;
        XML_SetUserData(p, a);
        XML_SetElementHandler(p, on_start, on_end);
        XML_SetCharacterDataHandler(p, on_text);
        if (XML_Parse(p, (const char *)m.data, (int)m.size, 1) != XML_STATUS_OK)
            rc = err_set(ERR_DATA, "%s:%lu: XML: %s", path, (unsigned long)XML_GetCurrentLineNumber(p),
                         XML_ErrorString(XML_GetErrorCode(p)));
        else if (a->failed)
            rc = err_set(ERR_MEMORY, "%s: out of memory", path);
    }
    if (p)
        XML_ParserFree(p);
    map_close(&m);
    return rc;
}

static int annotate(struct emoji_list *l, const struct emoji_sources *src)
{
    struct annotations a = {.l = l, .target = -1};
    size_t size = 64;
    while (size < (size_t)l->n * 2)
        size *= 2;
    a.mask = size - 1;
    a.slots = mem_calloc(size, sizeof *a.slots);
    a.named = mem_calloc((size_t)l->n, sizeof *a.named);
    int rc = a.slots && a.named ? 0 : ERR_MEMORY;
    for (int64_t i = 0; i < l->n && rc == 0; i++) {
        char key[EMOJI_MAX_CP * 4 + 1];
        strip_selector(key, sizeof key, l->v[i].utf8);
        a.slots[find_slot(&a, key)] = (uint32_t)i + 1;
    }
    if (rc == 0)
        rc = read_annotations(&a, src->annotations);
    if (rc == 0)
        rc = read_annotations(&a, src->derived);
    for (int64_t i = 0; i < l->n && rc == 0; i++)
        l->n_cldr_names += a.named[i];
    str_free(&a.text);
    mem_free(a.slots);
    mem_free(a.named);
    return rc;
}

int emoji_list_read(struct emoji_list *l, const struct emoji_sources *src)
{
    memset(l, 0, sizeof *l);
    TRY(arena_open(&l->arena, "emoji names"));
    int rc = read_test(l, src->emoji_test);
    if (rc == 0)
        rc = annotate(l, src);
    if (rc < 0)
        emoji_list_free(l);
    return rc;
}
