/* tests/base/test_str.c: growing, escaping, UTF-8, nearest words; hashes and base64. */
#include "base/base.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void growing(void **state)
{
    struct str b = {0};

    for (int i = 0; i < 1000; i++)
        str_add(&b, "%d,", i);
    assert_int_equal(b.n, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(b.s), b.n);
    assert_true(str_ends(b.s, "998,999,"));
    str_clear(&b);
    assert_string_equal(b.s, "");
    str_add_n(&b, "a\0b", 3);
    assert_int_equal(b.n, 3);
    assert_memory_equal(b.s, "a\0b", 4);
    str_free(&b);
    assert_null(b.s);
    mem_fail_at(1);
    str_add(&b, "x");
    assert_true(b.failed);
    str_add(&b, "y"); /* nothing more after a failure */
    assert_int_equal(b.n, 0);
    str_free(&b);
}

static void escapes(void **state)
{
    struct str b = {0};
    char out[32];

    str_add_xml(&b, "<a href=\"x\">'&\x01\n</a>");
    assert_string_equal(b.s, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\xef\xbf\xbd\n&lt;/a&gt;");
    str_clear(&b);
    str_add_csv(&b, "plain", ',');
    str_add_c(&b, ',');
    str_add_csv(&b, "say \"hi\", you\n", ',');
    assert_string_equal(b.s, "plain,\"say \"\"hi\"\", you\n\"");
    str_free(&b);
    str_safe(out, sizeof out, "a\033[31m\xff\x7f");
    assert_string_equal(out, "a\\x1b[31m\\xff\\x7f");
    str_safe(out, sizeof out,
             "\xc2\x9b"
             "1 \xe2\x82\xac");
    assert_string_equal(out, "\\xc2\\x9b1 \xe2\x82\xac");
    str_safe(out, 4, "ab\xe2\x82\xac"); /* no room for the sign: none of it */
    assert_string_equal(out, "ab");
    str_safe(out, 6, "ab\033");
    assert_string_equal(out, "ab");
    str_safe(out, 7, "ab\033");
    assert_string_equal(out, "ab\\x1b");
    str_safe(out, 1, "x");
    assert_string_equal(out, "");
}

static void utf8(void **state)
{
    static const char *const good[] = {
        "", "abc", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "a\xe2\x82",
                                      "\xff",
                                      "\xe2\x82\x20"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(utf8_ok(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_ok(bad[i], strlen(bad[i])));
}

static void nearest(void **state)
{
    static const char *const words[] = {"batch-size", "learning-rate", "model", "out", "seed", NULL};
    const int n = ARRAY_LEN(words);

    assert_string_equal(str_nearest("bacth-size", words, n), "batch-size");
    assert_string_equal(str_nearest("batch_size", words, n), "batch-size");
    assert_string_equal(str_nearest("modle", words, n), "model");
    assert_string_equal(str_nearest("learning", words, n), "learning-rate"); /* unfinished */
    assert_string_equal(str_nearest("rate", words, n), "learning-rate");
    assert_null(str_nearest("zebra", words, n));
    assert_null(str_nearest("", words, n));
    assert_null(str_nearest("x", words, n));
    assert_true(str_starts("abc", "ab") && !str_starts("a", "ab") && str_ends("abc", "bc") && !str_ends("c", "bc"));
}

static void hashes(void **state)
{
    unsigned char buf[200];
    uint64_t seen[201];
    struct sha256 h;
    char hex[65];

    /* FIPS 180-2, examples B.1 and B.2, the second in two pieces */
    sha256_start(&h);
    sha256_add(&h, "abc", 3);
    sha256_hex(&h, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_start(&h);
    sha256_add(&h, "abcdbcdecdefdefgefghfghi", 24);
    sha256_add(&h, "ghijhijkijkljklmklmnlmnomnopnopq", 32);
    sha256_hex(&h, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");

    memset(buf, 0, sizeof buf);
    for (size_t n = 0; n <= 200; n++) { /* zeros of each length differ, and so does each flipped bit */
        seen[n] = hash_bytes(buf, n, 1);
        for (size_t i = 0; i < n; i++)
            assert_true(seen[i] != seen[n]);
    }
    for (int bit = 0; bit < 1600; bit++) {
        uint64_t flipped;
        int changed = 0;

        buf[bit / 8] ^= (unsigned char)(1 << bit % 8);
        flipped = hash_bytes(buf, 200, 1) ^ seen[200];
        buf[bit / 8] ^= (unsigned char)(1 << bit % 8);
        for (int i = 0; i < 64; i++)
            changed += flipped >> i & 1;
        assert_in_range(changed, 10, 54);
    }
    assert_true(hash_bytes("a", 1, 1) != hash_bytes("a", 1, 2));
}

/* Stored values rest on it: a change of hash_bytes must be noticed. */
static void hash_is_stable(void **state)
{
    assert_int_equal(hash_bytes("", 0, 0), UINT64_C(0x96570abb25bd098e));
    assert_int_equal(hash_bytes("the quick brown fox jumps over the lazy dog", 43, 7), UINT64_C(0x67aa4d9afacd8193));
}

static void base64(void **state)
{
    static const char *const want[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"}; /* RFC 4648 */
    struct str b = {0};
    char big[10000];

    for (size_t n = 1; n <= 6; n++) {
        str_clear(&b);
        base64_add(&b, "foobar", n);
        assert_string_equal(b.s, want[n]);
    }
    memset(big, 'f', sizeof big);
    str_clear(&b);
    base64_add(&b, big, sizeof big);
    assert_int_equal(b.n, (sizeof big + 2) / 3 * 4);
    assert_null(memchr(b.s, '=', b.n - 2));
    str_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing), cmocka_unit_test(escapes), cmocka_unit_test(utf8),
        cmocka_unit_test(nearest), cmocka_unit_test(hashes),  cmocka_unit_test(hash_is_stable),
        cmocka_unit_test(base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
