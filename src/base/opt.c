/* base/opt.c: one table of options serves the command line, JSON and the help page.
 *
 * A registered thing declares a plain struct and a table that names its fields; nothing else knows how options are
 * spelled. A parse that fails leaves the struct as it was. Rejected: getopt_long (no types, no ranges, no JSON, no
 * "did you mean"), abbreviations of long names (they break when an option is added). */
#include "base/base.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTS_MAX = 128, NAME_MAX_BYTES = 64 };

static const size_t field_size[] = {
    [OPT_BOOL] = sizeof(bool),        [OPT_INT] = sizeof(int64_t),         [OPT_REAL] = sizeof(double),
    [OPT_STR] = sizeof(const char *), [OPT_CHOICE] = sizeof(const char *), [OPT_LIST] = sizeof(struct opt_list),
};

static void *field(const struct opt *o, void *into)
{
    return (char *)into + o->offset;
}

static int count(const struct opt *table)
{
    int n = 0;

    while (table[n].name)
        n++;
    BUG_ON(n > OPTS_MAX);
    return n;
}

static bool has_range(const struct opt *o)
{
    return o->min != 0 || o->max != 0;
}

/* "in [1, 1024]", ">= 1", "<= 0" or nothing. */
static void range_text(char *out, size_t n, const struct opt *o)
{
    out[0] = 0;
    if (!has_range(o) || (o->min < -1e15 && o->max > 1e15))
        return;
    if (o->max > 1e15)
        snprintf(out, n, " >= %.15g", o->min);
    else if (o->min < -1e15)
        snprintf(out, n, " <= %.15g", o->max);
    else
        snprintf(out, n, " in [%.15g, %.15g]", o->min, o->max);
}

static void expected_text(char *out, size_t n, const struct opt *o)
{
    char range[80];

    range_text(range, sizeof range, o);
    if (o->type == OPT_INT)
        snprintf(out, n, "a whole number%s", range);
    else if (o->type == OPT_REAL)
        snprintf(out, n, "a number%s", range);
    else if (o->type == OPT_BOOL)
        snprintf(out, n, "true or false");
    else if (o->type == OPT_CHOICE)
        snprintf(out, n, "one of %s", o->choices);
    else
        snprintf(out, n, "%s", o->type == OPT_LIST ? "a list of strings" : "a string");
}

static bool in_choices(const char *choices, const char *word)
{
    size_t n = strlen(word);

    for (const char *c = choices; c; c = strchr(c, '|')) {
        c += *c == '|';
        if (n && !strchr(word, '|') && strncmp(c, word, n) == 0 && (c[n] == '|' || c[n] == 0))
            return true;
    }
    return false;
}

static bool in_range(const struct opt *o, double x)
{
    return !has_range(o) || (x >= o->min && x <= o->max);
}

/* Text to a scalar field. False: the text does not fit the type or the range; nothing is written. */
static bool scan(const struct opt *o, void *into, const char *text)
{
    void *f = field(o, into);
    char *end;

    errno = 0;
    if (o->type == OPT_BOOL) {
        bool yes = !strcmp(text, "true") || !strcmp(text, "yes") || !strcmp(text, "1");
        if (!yes && strcmp(text, "false") && strcmp(text, "no") && strcmp(text, "0"))
            return false;
        *(bool *)f = yes;
    } else if (o->type == OPT_INT) {
        long long x = strtoll(text, &end, 10);
        if (end == text || *end || errno || !in_range(o, (double)x))
            return false;
        *(int64_t *)f = x;
    } else if (o->type == OPT_REAL) {
        double x = strtod(text, &end);
        if (end == text || *end || !isfinite(x) || !in_range(o, x))
            return false;
        *(double *)f = x;
    } else {
        if (o->type == OPT_CHOICE && !in_choices(o->choices, text))
            return false;
        *(const char **)f = text;
    }
    return true;
}

void opt_defaults(const struct opt *table, void *into)
{
    for (const struct opt *o = table; o->name; o++) {
        memset(field(o, into), 0, field_size[o->type]);
        if (!o->def)
            continue;
        if (o->type == OPT_LIST) /* one word; the table outlives every struct it fills, and lists are only replaced */
            *(struct opt_list *)field(o, into) = (struct opt_list){1, (const char **)(uintptr_t)&o->def};
        else
            BUG_ON(!scan(o, into, o->def)); /* a default outside its own range is our fault */
    }
}

/* A copy of the struct's option fields, put back when a parse fails. */
static int snapshot(const struct opt *table, const void *into, void **copy, size_t *n)
{
    *n = 1;
    for (const struct opt *o = table; o->name; o++)
        if (o->offset + field_size[o->type] > *n)
            *n = o->offset + field_size[o->type];
    *copy = mem_alloc(*n);
    if (!*copy)
        return ERR_MEMORY;
    memcpy(*copy, into, *n);
    return 0;
}

/* "batch-size" and "batch_size" are one name: dashes on the command line, underscores in files. */
static void json_name(char *out, size_t n, const char *name)
{
    snprintf(out, n, "%s", name);
    for (; *out; out++)
        if (*out == '-')
            *out = '_';
}

/* The nearest option name as JSON or argv spells it, or NULL. */
static const char *nearest(const struct opt *table, const char *word, bool json, char out[NAME_MAX_BYTES])
{
    const char *names[OPTS_MAX], *near;
    char dashed[NAME_MAX_BYTES];
    int n = count(table);

    for (int i = 0; i < n; i++)
        names[i] = table[i].name;
    snprintf(dashed, sizeof dashed, "%s", word);
    for (char *c = dashed; *c; c++)
        if (*c == '_')
            *c = '-';
    near = str_nearest(dashed, names, n);
    if (!near && str_starts(dashed, "no-"))
        near = str_nearest(dashed + 3, names, n);
    if (!near)
        return NULL;
    if (json)
        json_name(out, NAME_MAX_BYTES, near);
    else
        snprintf(out, NAME_MAX_BYTES, "%s", near);
    return out;
}

/* ---- argv ---- */

struct reader {
    const struct opt *table;
    void *into;
    struct arena *arena;
    int argc, i;
    char **argv;
    bool given[OPTS_MAX]; /* a list named again grows; named first it replaces the default */
    struct opt_list rest;
};

static const struct opt *by_name(const struct opt *table, const char *name, size_t n)
{
    for (const struct opt *o = table; o->name; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
            return o;
    return NULL;
}

static const struct opt *by_letter(const struct opt *table, char c)
{
    for (const struct opt *o = table; o->name; o++)
        if (o->letter && o->letter == c)
            return o;
    return NULL;
}

/* A list never outgrows argv, so one allocation does. */
static int push(struct reader *r, struct opt_list *l, const char *word)
{
    if (!l->v) {
        l->v = arena_calloc(r->arena, (size_t)r->argc + 1, sizeof *l->v);
        if (!l->v)
            return ERR_MEMORY;
    }
    l->v[l->n++] = word;
    return 0;
}

static bool is_number(const char *s)
{
    char *end;

    strtod(s, &end);
    return end != s && !*end;
}

/* Does argv[i] look like an option? "-" is a file name and "-3" a number. */
static bool is_option(const struct reader *r, const char *s)
{
    if (s[0] != '-' || !s[1])
        return false;
    return s[1] == '-' || by_letter(r->table, s[1]) || !is_number(s);
}

static int take_list(struct reader *r, const struct opt *o, const char *shown, const char *value)
{
    struct opt_list *l = field(o, r->into);
    bool *given = &r->given[o - r->table];

    if (!*given)
        *l = (struct opt_list){0};
    *given = true;
    if (value)
        return push(r, l, value);
    if (r->i + 1 >= r->argc || is_option(r, r->argv[r->i + 1]))
        FAIL(ERR_USAGE, "option %s needs a value", shown);
    while (r->i + 1 < r->argc && !is_option(r, r->argv[r->i + 1]))
        TRY(push(r, l, r->argv[++r->i]));
    return 0;
}

/* `value` is what followed "=" or a letter, or NULL: then the next word is it. */
static int take(struct reader *r, const struct opt *o, const char *shown, const char *value)
{
    char expected[160], safe[128];

    if (o->type == OPT_LIST)
        return take_list(r, o, shown, value);
    if (o->type == OPT_BOOL && !value)
        value = "true";
    if (!value) {
        const char *next = r->i + 1 < r->argc ? r->argv[r->i + 1] : NULL;
        bool number = o->type == OPT_INT || o->type == OPT_REAL;

        if (!next || (number ? str_starts(next, "--") : is_option(r, next) && !is_number(next)))
            FAIL(ERR_USAGE, "option %s needs a value%s", shown,
                 next ? " (write --name=-value if it starts with -)" : "");
        value = next;
        r->i++;
    }
    if (scan(o, r->into, value))
        return 0;
    expected_text(expected, sizeof expected, o);
    str_safe(safe, sizeof safe, value);
    FAIL(ERR_USAGE, "option %s is \"%s\", expected %s", shown, safe, expected);
}

static int take_long(struct reader *r, const char *word) /* after the "--" */
{
    const char *equals = strchr(word, '='), *value = equals ? equals + 1 : NULL;
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    const struct opt *o = by_name(r->table, word, n);
    char name[NAME_MAX_BYTES], shown[NAME_MAX_BYTES + 8], safe[4 * NAME_MAX_BYTES];
    const char *near;

    if (!o && n > 3 && str_starts(word, "no-")) {
        o = by_name(r->table, word + 3, n - 3);
        if (o && (o->type != OPT_BOOL || value))
            FAIL(ERR_USAGE, "option --%s cannot be switched off with --no-%s%s", o->name, o->name,
                 value ? "=..." : ": it takes a value");
        if (o) {
            *(bool *)field(o, r->into) = false;
            return 0;
        }
    }
    if (!o) {
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), word);
        str_safe(safe, sizeof safe, name);
        near = nearest(r->table, name, false, shown);
        if (near)
            FAIL(ERR_USAGE, "unknown option \"--%s\" (did you mean \"--%s\"?)", safe, near);
        FAIL(ERR_USAGE, "unknown option \"--%s\"; --help lists the options", safe);
    }
    snprintf(shown, sizeof shown, "--%s", o->name);
    return take(r, o, shown, value);
}

static int take_letters(struct reader *r, const char *word) /* after the "-": -k 3, -k3, -vf */
{
    for (; *word; word++) {
        const struct opt *o = by_letter(r->table, *word);
        char shown[NAME_MAX_BYTES + 16], one[2] = {*word, 0}, safe[8];

        str_safe(safe, sizeof safe, one);
        if (!o)
            FAIL(ERR_USAGE, "unknown option \"-%s\"; --help lists the options", safe);
        snprintf(shown, sizeof shown, "-%c (--%s)", *word, o->name);
        if (o->type != OPT_BOOL)
            return take(r, o, shown, word[1] ? word + 1 + (word[1] == '=') : NULL);
        *(bool *)field(o, r->into) = true;
    }
    return 0;
}

static int read_argv(struct reader *r, bool rest)
{
    bool ended = false;

    for (; r->i < r->argc; r->i++) {
        char *word = r->argv[r->i], safe[128];

        if (!ended && strcmp(word, "--") == 0) {
            ended = true;
        } else if (!ended && is_option(r, word)) {
            TRY(word[1] == '-' ? take_long(r, word + 2) : take_letters(r, word + 1));
        } else if (rest) {
            TRY(push(r, &r->rest, word));
        } else {
            str_safe(safe, sizeof safe, word);
            FAIL(ERR_USAGE, "unexpected word \"%s\"; --help shows the usage", safe);
        }
    }
    return 0;
}

int opt_parse_argv(const struct opt *table, void *into, struct arena *a, int argc, char **argv, struct opt_list *rest)
{
    struct reader r = {.table = table, .into = into, .arena = a, .argc = argc, .argv = argv};
    void *before;
    size_t n;
    int rc;

    count(table);
    TRY(snapshot(table, into, &before, &n));
    rc = read_argv(&r, rest != NULL);
    if (rc < 0)
        memcpy(into, before, n);
    else if (rest)
        *rest = r.rest;
    mem_free(before);
    return rc;
}

/* ---- JSON ---- */

static int read_list(struct opt_list *l, struct arena *a, const json_t *v, const char *key, const char *where)
{
    size_t n = json_array_size(v), i;
    struct opt_list got = {0};
    json_t *item;

    got.v = arena_calloc(a, n + 1, sizeof *got.v);
    if (!got.v)
        return ERR_MEMORY;
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item))
            FAIL(ERR_DATA, "%s: field \"%s\", item %zu is not a string", where, key, i);
        got.v[i] = arena_strdup(a, json_string_value(item));
        if (!got.v[i])
            return ERR_MEMORY;
    }
    got.n = (int)n;
    *l = got;
    return 0;
}

static int read_field(const struct opt *o, void *into, struct arena *a, const json_t *obj, const char *key,
                      const char *where)
{
    const json_t *v = json_object_get(obj, key);
    void *f = field(o, into);
    const char *s = NULL;
    double big = HUGE_VAL;

    if (o->type == OPT_BOOL)
        return json_field_bool(obj, key, true, f, where);
    if (o->type == OPT_INT) {
        double lo = has_range(o) ? o->min : -big, hi = has_range(o) ? o->max : big;
        return json_field_int(obj, key, true, lo < -9e18 ? INT64_MIN : (int64_t)ceil(lo),
                              hi > 9e18 ? INT64_MAX : (int64_t)floor(hi), f, where);
    }
    if (o->type == OPT_REAL)
        return json_field_real(obj, key, true, has_range(o) ? o->min : -big, has_range(o) ? o->max : big, f, where);
    if (o->type == OPT_LIST && json_is_array(v))
        return read_list(f, a, v, key, where);
    if (o->type == OPT_LIST)
        FAIL(ERR_DATA, "%s: field \"%s\" is not a list, expected a list of strings", where, key);
    if (json_is_null(v)) { /* what opt_to_json writes for a string that is not set */
        *(const char **)f = NULL;
        return 0;
    }
    TRY(json_field_str(obj, key, true, &s, where));
    if (o->type == OPT_CHOICE && !in_choices(o->choices, s))
        FAIL(ERR_DATA, "%s: field \"%s\" is \"%.60s\", expected one of %s", where, key, s, o->choices);
    s = arena_strdup(a, s);
    if (!s)
        return ERR_MEMORY;
    *(const char **)f = s;
    return 0;
}

static int read_object(const struct opt *table, void *into, struct arena *a, const json_t *obj, const char *where)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)obj, key, v)
    {
        const struct opt *o = table;
        char name[NAME_MAX_BYTES];

        for (; o->name; o++) {
            json_name(name, sizeof name, o->name);
            if (strcmp(name, key) == 0)
                break;
        }
        if (!o->name) {
            char safe[128], buffer[NAME_MAX_BYTES];
            const char *near = nearest(table, key, true, buffer);

            str_safe(safe, sizeof safe, key);
            if (near)
                FAIL(ERR_DATA, "%s: unknown field \"%s\" (did you mean \"%s\"?)", where, safe, near);
            FAIL(ERR_DATA, "%s: unknown field \"%s\"", where, safe);
        }
        TRY(read_field(o, into, a, obj, key, where));
    }
    return 0;
}

int opt_parse_json(const struct opt *table, void *into, struct arena *a, const json_t *o, const char *where)
{
    void *before;
    size_t n;
    int rc;

    count(table);
    if (!json_is_object(o))
        FAIL(ERR_DATA, "%s: expected a JSON object of options", where);
    TRY(snapshot(table, into, &before, &n));
    rc = read_object(table, into, a, o, where);
    if (rc < 0)
        memcpy(into, before, n);
    mem_free(before);
    return rc;
}

static json_t *value_to_json(const struct opt *o, const void *f)
{
    const struct opt_list *l = f;
    const char *s;
    json_t *v;

    switch (o->type) {
    case OPT_BOOL:
        return json_boolean(*(const bool *)f);
    case OPT_INT:
        return json_integer(*(const int64_t *)f);
    case OPT_REAL:
        return json_number(*(const double *)f);
    case OPT_LIST:
        v = json_array();
        for (int i = 0; i < l->n; i++)
            if (json_array_append_new(v, json_string(l->v[i])) < 0) {
                json_decref(v);
                return NULL;
            }
        return v;
    default:
        s = *(const char *const *)f;
        return s ? json_string(s) : json_null();
    }
}

json_t *opt_to_json(const struct opt *table, const void *from)
{
    json_t *obj = json_object();

    for (const struct opt *o = table; obj && o->name; o++) {
        char name[NAME_MAX_BYTES];

        json_name(name, sizeof name, o->name);
        if (json_object_set_new(obj, name, value_to_json(o, (const char *)from + o->offset)) < 0) {
            err_set(ERR_FAIL, "option \"%s\" cannot be written as JSON (not UTF-8, or no memory)", o->name);
            json_decref(obj);
            return NULL;
        }
    }
    return obj;
}

/* ---- help ---- */

/* "  -k, --top N": the left column of a line. */
static void left_text(char *out, size_t n, const struct opt *o)
{
    static const char *const meta[] = {
        [OPT_BOOL] = "", [OPT_INT] = "N", [OPT_REAL] = "X", [OPT_STR] = "TEXT", [OPT_CHOICE] = "", [OPT_LIST] = "TEXT"};
    const char *m = o->meta ? o->meta : o->type == OPT_CHOICE ? o->choices : meta[o->type];
    bool on = o->type == OPT_BOOL && o->def && !strcmp(o->def, "true");
    char letter[8] = "    ";

    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, n, "  %s--%s%s%s%s%s", letter, on ? "[no-]" : "", o->name, *m ? " " : "", m,
             o->type == OPT_LIST ? "..." : "");
}

void opt_add_help(struct str *b, const struct opt *table)
{
    enum { COLUMN_MAX = 34 };
    int column = 0;
    char left[256], range[80];

    for (const struct opt *o = table; o->name; o++) {
        int n;

        left_text(left, sizeof left, o);
        n = (int)strlen(left);
        if (o->help && n > column && n <= COLUMN_MAX)
            column = n;
    }
    for (const struct opt *o = table; o->name; o++) {
        const char *sep = " (";

        if (!o->help) /* an option without help is not for people */
            continue;
        left_text(left, sizeof left, o);
        if ((int)strlen(left) > column)
            str_add(b, "%s\n%*s", left, column, "");
        else
            str_add(b, "%-*s", column, left);
        str_add(b, "  %s", o->help);
        range_text(range, sizeof range, o);
        if (range[0]) {
            str_add(b, "%s%s", sep, range + 1);
            sep = "; ";
        }
        if (o->def && *o->def && o->type != OPT_BOOL) {
            str_add(b, "%sdefault %s", sep, o->def);
            sep = "; ";
        }
        str_add(b, "%s\n", sep[0] == ';' ? ")" : "");
    }
}
