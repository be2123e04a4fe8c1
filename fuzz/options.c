/* fuzz/options.c: one table of options, read from words (a line each) or, when the input begins with {, from JSON. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

struct values {
    bool flag;
    int64_t count;
    double rate;
    const char *name, *choice;
    struct opt_list list;
};
static const struct opt table[] = {
    {"flag", 'f', OPT_BOOL, offsetof(struct values, flag), NULL, 0, 0, NULL, NULL, "a flag"},
    {"count", 'c', OPT_INT, offsetof(struct values, count), "3", -4, 1000, NULL, "N", "a count"},
    {"rate", 'r', OPT_REAL, offsetof(struct values, rate), "0.5", 0, 1, NULL, "R", "a rate"},
    {"name", 0, OPT_STR, offsetof(struct values, name), NULL, 0, 0, NULL, "S", "a name"},
    {"choice-of", 'o', OPT_CHOICE, offsetof(struct values, choice), "adamw", 0, 0, "adamw|sgd", NULL, "one"},
    {"list", 'l', OPT_LIST, offsetof(struct values, list), NULL, 0, 0, NULL, "FILE", "many"},
    {0},
};

static int parse_json(struct values *v, struct arena *a, const uint8_t *data, size_t n)
{
    json_t *o = NULL;
    TRY(json_read_text(&o, (const char *)data, n, "x.json"));
    int rc = opt_parse_json(table, v, a, o, "x.json");
    if (rc == 0) {
        json_t *back = opt_to_json(table, v);
        json_decref(back);
    }
    json_decref(o);
    return rc;
}

static int parse_words(struct values *v, struct arena *a, const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *argv[65];
    int argc = 0;
    struct opt_list rest = {0};
    memcpy(text, data, n);
    text[n] = '\0';
    for (char *p = text; argc < 64 && p <= text + n;) {
        char *end = memchr(p, '\n', (size_t)(text + n - p));
        argv[argc++] = p;
        if (!end)
            break;
        *end = '\0';
        p = end + 1;
    }
    argv[argc] = NULL;
    int rc = opt_parse_argv(table, v, a, argc, argv, n % 2 ? &rest : NULL);
    for (int i = 0; rc == 0 && i < v->list.n; i++)
        fuzz_touch(v->list.v[i], strlen(v->list.v[i]));
    if (rc == 0)
        json_decref(opt_to_json(table, v));
    free(text);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct values v;
    struct arena *a = NULL;
    fuzz_dir();
    if (arena_open(&a, "fuzz") < 0)
        abort();
    opt_defaults(table, &v);
    int rc = n && data[0] == '{' ? parse_json(&v, a, data, n) : parse_words(&v, a, data, n);
    if (rc == 0)
        BUG_ON(v.count < -4 || v.count > 1000 || !(v.rate >= 0 && v.rate <= 1));
    fuzz_verdict(rc);
    arena_close(&a);
    return 0;
}
