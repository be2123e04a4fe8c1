/* tests/base/test_opt.c: one table for argv, JSON and help; what is refused, and that refusal changes nothing. */
#include "base/base.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct train {
    bool verbose, shuffle;
    int64_t batch, top;
    double rate;
    const char *out, *optimizer;
    struct opt_list image;
    int64_t untouched;
};

#define AT(f) offsetof(struct train, f)
static const struct opt table[] = {
    {"verbose", 'v', OPT_BOOL, AT(verbose), .help = "say more"},
    {"shuffle", 0, OPT_BOOL, AT(shuffle), "true", .help = "new order each epoch"},
    {"batch-size", 'b', OPT_INT, AT(batch), "256", 1, 65536, .help = "pairs in a batch"},
    {"top", 'k', OPT_INT, AT(top), "10", 1, 1e18, .help = "results"},
    {"rate", 0, OPT_REAL, AT(rate), "5e-4", -1, 1, .help = "learning rate"},
    {"out", 'o', OPT_STR, AT(out), .meta = "DIR", .help = "where the run goes"},
    {"optimizer", 0, OPT_CHOICE, AT(optimizer), "adamw", .choices = "adamw|sgd", .help = "update rule"},
    {"image", 'i', OPT_LIST, AT(image), .meta = "FILE", .help = "pictures"},
    {NULL},
};

static struct arena *arena;
static struct train t;
static struct opt_list rest;

static int parse(char **argv)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    opt_defaults(table, &t);
    rest = (struct opt_list){0};
    return opt_parse_argv(table, &t, arena, argc, argv, &rest);
}
#define PARSE(...) parse((char *[]){__VA_ARGS__, NULL})
#define REFUSE(text, ...)                                                                                              \
    do {                                                                                                               \
        assert_int_equal(PARSE(__VA_ARGS__), ERR_USAGE);                                                               \
        assert_string_equal(err_text(), text);                                                                         \
    } while (0)

static void defaults(void **state)
{
    t.untouched = 99;
    opt_defaults(table, &t);
    assert_true(!t.verbose && t.shuffle && t.batch == 256 && t.rate == 5e-4 && !t.out && t.image.n == 0);
    assert_string_equal(t.optimizer, "adamw");
    assert_int_equal(t.untouched, 99);
}

static void spellings(void **state)
{
    assert_int_equal(PARSE("a", "--batch-size=8", "-v", "--no-shuffle", "--rate", "-0.5", "b", "--out", "-", "-k3"), 0);
    assert_true(t.verbose && !t.shuffle && t.batch == 8 && t.rate == -0.5 && t.top == 3);
    assert_string_equal(t.out, "-");
    assert_int_equal(rest.n, 2);
    assert_string_equal(rest.v[0], "a");
    assert_string_equal(rest.v[1], "b");
    assert_int_equal(PARSE("-vk", "4", "-o=x", "--optimizer", "sgd", "-3", "--", "--rate", "-v"), 0);
    assert_true(t.top == 4 && t.verbose);
    assert_string_equal(t.out, "x");
    assert_string_equal(t.optimizer, "sgd");
    assert_int_equal(rest.n, 3);
    assert_string_equal(rest.v[0], "-3");
    assert_string_equal(rest.v[1], "--rate");
    assert_int_equal(PARSE("--verbose=false", "--shuffle=no", "--batch-size", "5", "--batch-size", "6"), 0);
    assert_true(!t.verbose && !t.shuffle && t.batch == 6); /* the last one counts */
    assert_int_equal(PARSE("--out=--strange"), 0);
    assert_string_equal(t.out, "--strange");
    assert_int_equal(PARSE("--out="), 0);
    assert_string_equal(t.out, "");
}

static void lists(void **state)
{
    assert_int_equal(PARSE("--image", "a", "b", "-", "-v", "-i", "c", "--image=d"), 0);
    assert_int_equal(t.image.n, 5);
    assert_string_equal(t.image.v[0], "a");
    assert_string_equal(t.image.v[2], "-");
    assert_string_equal(t.image.v[4], "d");
    assert_true(t.verbose);
    assert_int_equal(rest.n, 0);
    assert_int_equal(PARSE("--image", "a", "--", "b"), 0);
    assert_int_equal(t.image.n, 1);
    assert_int_equal(rest.n, 1);
}

static void refusals(void **state)
{
    struct train before;
    char *word[] = {"extra", NULL}, *bad[] = {"-v", "--batch-size", "9", "--image", "x", "--rate", "fast", NULL};

    REFUSE("unknown option \"--bacth-size\" (did you mean \"--batch-size\"?)", "--bacth-size", "3");
    REFUSE("unknown option \"--batch_size\" (did you mean \"--batch-size\"?)", "--batch_size=3");
    REFUSE("unknown option \"--zebra\"; --help lists the options", "--zebra");
    REFUSE("unknown option \"--ver\\x1b\"; --help lists the options", "--ver\033");
    REFUSE("unknown option \"-z\"; --help lists the options", "-z");
    REFUSE("option --batch-size is \"0\", expected a whole number in [1, 65536]", "--batch-size", "0");
    REFUSE("option -b (--batch-size) is \"1e3\", expected a whole number in [1, 65536]", "-b", "1e3");
    REFUSE("option --batch-size is \"\", expected a whole number in [1, 65536]", "--batch-size=");
    REFUSE("option --top is \"99999999999999999999\", expected a whole number >= 1", "--top=99999999999999999999");
    REFUSE("option --rate is \"nan\", expected a number in [-1, 1]", "--rate", "nan");
    REFUSE("option --optimizer is \"adam\", expected one of adamw|sgd", "--optimizer", "adam");
    REFUSE("option --optimizer is \"adamw|sgd\", expected one of adamw|sgd", "--optimizer", "adamw|sgd");
    REFUSE("option --verbose is \"maybe\", expected true or false", "--verbose=maybe");
    REFUSE("option --out needs a value", "--out");
    REFUSE("option --out needs a value (write --name=-value if it starts with -)", "--out", "--verbose");
    REFUSE("option --image needs a value", "--image", "-v");
    REFUSE("option --out cannot be switched off with --no-out: it takes a value", "--no-out");

    opt_defaults(table, &t);
    before = t;
    assert_int_equal(opt_parse_argv(table, &t, arena, 7, bad, &rest), ERR_USAGE);
    assert_memory_equal(&before, &t, sizeof t);
    assert_int_equal(opt_parse_argv(table, &t, arena, 1, word, NULL), ERR_USAGE);
    assert_string_equal(err_text(), "unexpected word \"extra\"; --help shows the usage");
}

static int from_json(const char *text)
{
    json_t *o;
    int rc;

    assert_int_equal(json_read_text(&o, text, strlen(text), "run.json"), 0);
    rc = opt_parse_json(table, &t, arena, o, "run.json");
    json_decref(o);
    return rc;
}

static void json(void **state)
{
    struct train before;
    json_t *o, *again;

    assert_int_equal(PARSE("--batch-size=8", "--rate=0.25", "--image", "a", "b", "-v"), 0);
    o = opt_to_json(table, &t);
    assert_int_equal(json_object_size(o), 8);
    assert_int_equal(json_integer_value(json_object_get(o, "batch_size")), 8);
    assert_true(json_is_null(json_object_get(o, "out")));
    opt_defaults(table, &t);
    assert_int_equal(opt_parse_json(table, &t, arena, o, "run.json"), 0);
    assert_true(t.batch == 8 && t.rate == 0.25 && t.verbose && t.image.n == 2 && !t.out);
    again = opt_to_json(table, &t);
    assert_true(json_equal(o, again));
    json_decref(o); /* what was read must not point into it */
    json_decref(again);
    assert_string_equal(t.image.v[1], "b");
    assert_string_equal(t.optimizer, "adamw");

    assert_int_equal(from_json("{\"rate\": 1}"), 0);
    assert_true(t.rate == 1);
    before = t;
    assert_int_equal(from_json("{\"verbose\": false, \"bach_size\": 3}"), ERR_DATA);
    assert_string_equal(err_text(), "run.json: unknown field \"bach_size\" (did you mean \"batch_size\"?)");
    assert_memory_equal(&before, &t, sizeof t);
    assert_int_equal(from_json("{\"batch_size\": 0}"), ERR_DATA);
    assert_string_equal(err_text(), "run.json: field \"batch_size\" is 0, expected a whole number in [1, 65536]");
    assert_int_equal(from_json("{\"batch_size\": \"8\"}"), ERR_DATA);
    assert_int_equal(from_json("{\"rate\": true}"), ERR_DATA);
    assert_int_equal(from_json("{\"optimizer\": \"lion\"}"), ERR_DATA);
    assert_string_equal(err_text(), "run.json: field \"optimizer\" is \"lion\", expected one of adamw|sgd");
    assert_int_equal(from_json("{\"image\": \"a\"}"), ERR_DATA);
    assert_int_equal(from_json("{\"image\": [1]}"), ERR_DATA);
    assert_int_equal(from_json("[1]"), ERR_DATA);
    assert_memory_equal(&before, &t, sizeof t);
}

static void help(void **state)
{
    struct str b = {0};

    opt_add_help(&b, table);
    assert_string_equal(b.s, "  -v, --verbose              say more\n"
                             "      --[no-]shuffle         new order each epoch\n"
                             "  -b, --batch-size N         pairs in a batch (in [1, 65536]; default 256)\n"
                             "  -k, --top N                results (>= 1; default 10)\n"
                             "      --rate X               learning rate (in [-1, 1]; default 5e-4)\n"
                             "  -o, --out DIR              where the run goes\n"
                             "      --optimizer adamw|sgd  update rule (default adamw)\n"
                             "  -i, --image FILE...        pictures\n");
    str_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(spellings), cmocka_unit_test(lists),
        cmocka_unit_test(refusals), cmocka_unit_test(json),      cmocka_unit_test(help),
    };
    int rc;

    if (arena_open(&arena, "test") < 0)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_close(&arena);
    return rc;
}
