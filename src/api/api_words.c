/* api/api_words.c: options as words, "name=value", for every table of options in the rooms below: the library and the
 * command line share names, ranges and defaults because they share the tables. Read under the C locale: a host program
 * may have another, in which 0.07 is no number. */
#include "api/api.h"

#include <locale.h>
#include <string.h>

enum { MAX_OPTIONS = 1000 };

/* Whether an option is called so, with '_' for '-'. */
static bool is_named(const struct opt *o, const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (o->name[i] != (name[i] == '_' ? '-' : name[i]))
            return false;
    return !o->name[n];
}

static const struct opt *find_option(const struct opt *table, const char *name, size_t n)
{
    for (const struct opt *o = table; o && o->name; o++)
        if (is_named(o, name, n))
            return o;
    return NULL;
}

static int unknown_option(const struct opt *table, const char *what, const char *name, size_t n)
{
    struct str known = {0};
    for (const struct opt *o = table; o && o->name; o++)
        str_add(&known, "%s%s", known.n ? ", " : "", o->name);
    int rc = err_set(ERR_USAGE, "%s has no option \"%.*s\"; it has: %s", what, (int)(n < 60 ? n : 60), name,
                     known.s ? known.s : "none");
    str_free(&known);
    return rc;
}

/* "tau=0.07" -> "--temperature=0.07": papers and the command line know it by different names. */
static int option_word(const struct opt *table, const char *what, struct arena *a, const char *word, char **out)
{
    size_t n = strcspn(word, "=");
    const struct opt *o = find_option(table, word, n);
    if (!o && n == 3 && !strncmp(word, "tau", n))
        o = find_option(table, "temperature", strlen("temperature"));
    if (!o)
        return unknown_option(table, what, word, n);
    size_t size = strlen(o->name) + strlen(word + n) + 3;
    *out = arena_alloc(a, size);
    if (!*out)
        return ERR_MEMORY;
    snprintf(*out, size, "--%s%s", o->name, word + n);
    return 0;
}

static int parse_words(const struct opt *table, void *into, struct arena *a, char **words, int n)
{
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        FAIL(ERR_MEMORY, "no memory for a locale");
    locale_t before = uselocale(plain);
    int rc = opt_parse_argv(table, into, a, n, words, NULL);
    uselocale(before);
    freelocale(plain);
    return rc;
}

int api_read_words(const struct opt *table, void *into, struct arena *a, const char *const *options, int64_t n,
                   const char *what)
{
    if (n < 0 || n > MAX_OPTIONS || (n > 0 && !options))
        FAIL(ERR_USAGE, "options of %s: n_options is %lld, expected 0 to %d and options given", what, (long long)n,
             MAX_OPTIONS);
    char **words = arena_calloc(a, (size_t)n + 1, sizeof *words);
    if (!words)
        return ERR_MEMORY;
    opt_defaults(table, into);
    for (int64_t i = 0; i < n; i++) {
        const char *word = options[i];
        if (!word || !strchr(word, '='))
            FAIL(ERR_USAGE, "options of %s: option %lld is \"%.60s\", expected NAME=VALUE", what, (long long)i,
                 word ? word : "(NULL)");
        TRY(option_word(table, what, a, word, &words[i]));
    }
    int rc = parse_words(table, into, a, words, (int)n);
    return rc < 0 ? err_while(rc, "reading the options of %s", what) : 0;
}

/* ---- a table told as JSON ---- */

static const char *type_name(enum opt_type t)
{
    static const char *const names[] = {"bool", "int", "real", "string", "choice", "list"};
    return names[t];
}

static json_t *split_choices(const char *choices)
{
    json_t *a = json_array();
    for (const char *c = choices; c && *c;) {
        size_t n = strcspn(c, "|");
        json_array_append_new(a, json_stringn(c, n));
        c += n + (c[n] == '|');
    }
    return a;
}

static json_t *describe_option(const struct opt *o, json_t *def)
{
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string(type_name(o->type)));
    json_object_set(j, "default", def ? def : json_null());
    if (o->min != 0.0 || o->max != 0.0) {
        json_object_set_new(j, "min", json_number(o->min));
        json_object_set_new(j, "max", json_number(o->max));
    }
    if (o->choices)
        json_object_set_new(j, "choices", split_choices(o->choices));
    json_object_set_new(j, "help", json_string(o->help ? o->help : ""));
    return j;
}

json_t *api_describe_options(const struct opt *table, size_t size)
{
    char name[128];
    void *defaults = mem_calloc(1, size ? size : 1);
    json_t *options = json_object();
    if (!defaults) {
        json_decref(options);
        return NULL;
    }
    opt_defaults(table, defaults);
    json_t *values = opt_to_json(table, defaults);
    for (const struct opt *o = table; o && o->name; o++) {
        snprintf(name, sizeof name, "%s", o->name);
        for (char *c = name; *c; c++)
            *c = *c == '-' ? '_' : *c;
        json_object_set_new(options, name, describe_option(o, json_object_get(values, name)));
    }
    json_decref(values);
    mem_free(defaults);
    return options;
}
