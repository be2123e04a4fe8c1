/* tests/base/test_json.c: the borders of the reader and the wording of its complaints. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int parse(json_t **o, const char *text)
{
    return json_read_text(o, text, strlen(text), "c.json");
}

static void refuse(const char *text, const char *says)
{
    json_t *o = NULL;

    assert_int_equal(parse(&o, text), ERR_DATA);
    assert_null(o);
    if (!strstr(err_text(), says))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), says);
}

static void borders(void **state)
{
    char deep[200], *many = calloc(1, 100001);
    int64_t bytes = limit_get(LIMIT_JSON_BYTES);
    json_t *o;

    refuse("", "c.json: is empty, expected JSON");
    refuse("{\"a\": 1,\n \"a\": 2}", "line 2");
    refuse("{\"a\": tru}", "c.json: is not valid JSON: line 1");
    refuse("{\"a\": \"\xff\"}", "unable to decode byte 0xff");
    refuse("{\"a\": 1} x", "line 1");
    refuse("{\"a\": 99999999999999999999}", "big");
    refuse("{\"a\": 1e999}", "overflow");
    refuse("[\"unclosed", "line 1");
    refuse("[\"\\", "line 1");
    refuse("[1,", "line 1");

    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    deep[128] = 0;
    assert_int_equal(parse(&o, deep), 0);
    json_decref(o);
    memset(deep, '[', 65);
    refuse(deep, "nests deeper than 64 levels (limit json-depth)");
    memset(many, '[', 100000);
    refuse(many, "json-depth");
    free(many);
    assert_int_equal(
        parse(&o, "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]"), 0);
    json_decref(o);
    assert_int_equal(parse(&o, "\xef\xbb\xbf{}"), 0);
    json_decref(o);

    assert_int_equal(limit_set("json-bytes", 10), 0);
    refuse("[1, 2, 3, 4]", "larger than 10 bytes (limit json-bytes)");
    assert_int_equal(limit_set("json-bytes", bytes), 0);
}

/* jansson alone reads "[1 NUL ]" as a list of one. */
static void zero_byte(void **state UNUSED)
{
    static const char *const texts[] = {"[1\0]", "\0[1]", "[1]\0", "[\"\0\"]", "{\"a\":1\0}"};
    static const size_t n[] = {4, 4, 4, 5, 8};

    for (size_t i = 0; i < ARRAY_LEN(n); i++) {
        json_t *o = NULL;

        assert_int_equal(json_read_text(&o, texts[i], n[i], "c.json"), ERR_DATA);
        assert_null(o);
        assert_true(strstr(err_text(), "zero byte"));
    }
}

static void files(void **state)
{
    char path[] = "/tmp/test_json_XXXXXX", text[40000];
    int fd = mkstemp(path);
    int64_t bytes = limit_get(LIMIT_JSON_BYTES);
    json_t *o = NULL;

    memset(text, ' ', sizeof text);
    memcpy(text + sizeof text - 10, "{\"a\": 12}\n", 10);
    assert_int_equal(write(fd, text, sizeof text), sizeof text);
    assert_int_equal(json_read_file(&o, path), 0);
    assert_int_equal(json_integer_value(json_object_get(o, "a")), 12);
    json_decref(o);
    o = NULL;
    assert_int_equal(limit_set("json-bytes", 39999), 0);
    assert_int_equal(json_read_file(&o, path), ERR_DATA);
    assert_int_equal(limit_set("json-bytes", bytes), 0);
    mem_fail_at(1);
    assert_int_equal(json_read_file(&o, path), ERR_MEMORY);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(json_read_file(&o, path), ERR_DATA);
    close(fd);
    unlink(path);
    assert_int_equal(json_read_file(&o, path), ERR_FAIL);
    assert_non_null(strstr(err_text(), "cannot open: No such file"));
    assert_int_equal(json_read_file(&o, "/tmp"), ERR_FAIL);
    assert_null(o);
}

#define SAYS(call, text)                                                                                               \
    do {                                                                                                               \
        assert_int_equal(call, ERR_DATA);                                                                              \
        assert_string_equal(err_text(), text);                                                                         \
    } while (0)

static void fields(void **state)
{
    const char *w = "clip-b32/config.json", *s = "before";
    int64_t i = 7;
    double r = 7;
    bool b = false;
    json_t *o;

    assert_int_equal(parse(&o, "{\"num_attention_heads\": 0, \"n\": 12, \"r\": 2.5, \"whole\": 512.0, \"b\": true, "
                               "\"s\": \"gelu\", \"null\": null, \"l\": [1, 2], \"big\": 1e30}"),
                     0);
    SAYS(json_field_int(o, "num_attention_heads", true, 1, 1024, &i, w),
         "clip-b32/config.json: field \"num_attention_heads\" is 0, expected a whole number in [1, 1024]");
    SAYS(json_field_int(o, "r", true, 0, 9, &i, w),
         "clip-b32/config.json: field \"r\" is 2.5, expected a whole number in [0, 9]");
    SAYS(json_field_int(o, "b", true, INT64_MIN, INT64_MAX, &i, w),
         "clip-b32/config.json: field \"b\" is true, expected a whole number");
    SAYS(json_field_int(o, "s", false, 1, INT64_MAX, &i, w),
         "clip-b32/config.json: field \"s\" is \"gelu\", expected a whole number >= 1");
    SAYS(json_field_int(o, "big", true, 0, INT64_MAX, &i, w),
         "clip-b32/config.json: field \"big\" is 1e+30, expected a whole number >= 0");
    SAYS(json_field_int(o, "gone", true, 1, 2, &i, w),
         "clip-b32/config.json: field \"gone\" is missing, expected a whole number in [1, 2]");
    SAYS(json_field_real(o, "b", true, 0, 1, &r, w),
         "clip-b32/config.json: field \"b\" is true, expected a number in [0, 1]");
    SAYS(json_field_real(o, "s", true, -HUGE_VAL, HUGE_VAL, &r, w),
         "clip-b32/config.json: field \"s\" is \"gelu\", expected a number");
    SAYS(json_field_real(o, "r", true, 3, HUGE_VAL, &r, w),
         "clip-b32/config.json: field \"r\" is 2.5, expected a number >= 3");
    SAYS(json_field_bool(o, "n", true, &b, w), "clip-b32/config.json: field \"n\" is 12, expected true or false");
    SAYS(json_field_str(o, "l", true, &s, w), "clip-b32/config.json: field \"l\" is a list of 2, expected a string");
    SAYS(json_field_str(o, "null", true, &s, w), "clip-b32/config.json: field \"null\" is null, expected a string");
    SAYS(json_field_str(json_object_get(o, "l"), "x", false, &s, w),
         "clip-b32/config.json: is a list of 2, expected an object with field \"x\"");
    assert_int_equal(json_field_int(o, "gone", false, 1, 2, &i, w), 0);
    assert_int_equal(json_field_str(o, "null", false, &s, w), 0);
    assert_true(i == 7 && r > 6 && !b && !strcmp(s, "before")); /* written on success only */

    assert_int_equal(json_field_int(o, "n", true, 12, 12, &i, w), 0);
    assert_int_equal(i, 12);
    assert_int_equal(json_field_int(o, "whole", true, 1, 1024, &i, w), 0);
    assert_int_equal(i, 512);
    assert_int_equal(json_field_real(o, "n", true, 0, 100, &r, w), 0); /* a whole number is a number */
    assert_true(r == 12);
    assert_int_equal(json_field_bool(o, "b", true, &b, w), 0);
    assert_true(b);
    assert_int_equal(json_field_str(o, "s", true, &s, w), 0);
    assert_string_equal(s, "gelu");
    json_decref(o);

    o = json_number(NAN);
    assert_true(json_is_null(o));
    o = json_number(1.5);
    assert_true(json_is_real(o));
    json_decref(o);
}

static void text_of_values(void **state UNUSED)
{
    struct str b = {0};
    json_t *o = json_pack("{s:i, s:[s]}", "a", 1, "b", "x");
    str_add(&b, "value ");
    assert_int_equal(str_add_json(&b, o, JSON_COMPACT), 0);
    assert_string_equal(b.s, "value {\"a\":1,\"b\":[\"x\"]}");
    assert_int_equal(str_add_json(&b, NULL, JSON_COMPACT), ERR_FAIL);
    str_free(&b);
    mem_fail_at(1);
    assert_int_equal(str_add_json(&b, o, JSON_COMPACT), ERR_MEMORY);
    mem_fail_at(0);
    str_free(&b);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(borders), cmocka_unit_test(zero_byte), cmocka_unit_test(files),
                                       cmocka_unit_test(text_of_values), cmocka_unit_test(fields)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
