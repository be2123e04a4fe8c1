/* tests/base/test_err.c: messages (frames, truncation, errno), exit codes, limits, BUG_ON. */
#include "base/base.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int open_thing(void)
{
    FAIL(ERR_DATA, "a.json: field \"%s\" is %d", "width", 0);
}

static int open_model(void)
{
    TRY_IN(open_thing(), "opening model \"%s\"", "clip");
    return 0;
}

static int forward(void)
{
    TRY(open_model());
    return 0;
}

static void frames(void **state)
{
    err_clear();
    assert_string_equal(err_text(), "");
    assert_int_equal(forward(), ERR_DATA);
    assert_string_equal(err_text(), "a.json: field \"width\" is 0 (while opening model \"clip\")");
    assert_int_equal(err_set(ERR_FAIL, "again: %s", err_text()), ERR_FAIL); /* its own text as argument */
    assert_string_equal(err_text(), "again: a.json: field \"width\" is 0 (while opening model \"clip\")");
    err_clear();
    assert_int_equal(err_while(ERR_LOCKED, "waiting"), ERR_LOCKED);
    assert_string_equal(err_text(), "ERR_LOCKED (while waiting)");
}

static void truncation(void **state)
{
    char big[3001];

    for (int shift = 0; shift < 4; shift++) { /* wherever the cut falls, no half of a character stays */
        memset(big, 'x', sizeof big);
        for (size_t i = (size_t)shift; i + 3 < sizeof big; i += 3)
            memcpy(big + i, "\xe2\x82\xac", 3);
        big[sizeof big - 1] = 0;
        err_set(ERR_DATA, "%s", big);
        assert_in_range(strlen(err_text()), 1000, 1023);
        assert_true(utf8_ok(err_text(), strlen(err_text())));
        assert_true(str_ends(err_text(), "..."));
        err_while(ERR_DATA, "%s", big);
        assert_in_range(strlen(err_text()), 1000, 1023);
        assert_true(utf8_ok(err_text(), strlen(err_text())));
    }
}

static void from_errno(void **state)
{
    errno = ENOSPC;
    assert_int_equal(err_errno(ERR_FAIL, "out.html: cannot write"), ERR_SPACE);
    assert_string_equal(err_text(),
                        "out.html: cannot write: No space left on device; make room there or write elsewhere");
    errno = EFBIG;
    assert_int_equal(err_errno(ERR_FAIL, "x"), ERR_SPACE);
    assert_string_equal(err_text(), "x: File too large; is the size of files limited (ulimit -f)?");
    errno = ENOMEM;
    assert_int_equal(err_errno(ERR_FAIL, "x"), ERR_MEMORY);
    errno = EMFILE; /* no fault of the file that could not be opened */
    assert_int_equal(err_errno(ERR_DATA, "x"), ERR_FAIL);
    assert_string_equal(err_text(), "x: Too many open files; allow more open files (ulimit -n)");
    errno = ENOENT;
    assert_int_equal(err_errno(ERR_DATA, "x"), ERR_DATA);
}

static void codes(void **state)
{
    assert_string_equal(err_name(ERR_DATA), "ERR_DATA");
    assert_int_equal(err_exit_code(0), 0);
    assert_int_equal(err_exit_code(ERR_FAIL), 1);
    assert_int_equal(err_exit_code(ERR_USAGE), 2);
    assert_int_equal(err_exit_code(ERR_DATA), 5);
    assert_int_equal(err_exit_code(ERR_INTERRUPTED), 130);
    assert_int_equal(err_exit_code(-1000), 1);
}

static void bug(void **state)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        BUG_ON(1 + 1 == 2);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* What a message quotes comes from strangers' files: it must be fit for a terminal, for JSON and for Python. */
static void quoted_bytes(void **state)
{
    err_set(ERR_DATA, "x: \"%.2s\" and %s", "a\xc3\xa9", "\x1b[31m\r\n\x7f \xff\xed\xa0\x80");
    assert_string_equal(err_text(), "x: \"a\\xc3\" and \\x1b[31m\\x0d\\x0a\\x7f \\xff\\xed\\xa0\\x80");
    err_while(ERR_DATA, "reading \"caf\xc3\xa9\"");
    assert_true(utf8_ok(err_text(), strlen(err_text())));
    assert_true(str_ends(err_text(), "\\x80 (while reading \"caf\xc3\xa9\")"));
    char bytes[2000];
    memset(bytes, 0xff, sizeof bytes - 1);
    bytes[sizeof bytes - 1] = 0;
    err_set(ERR_DATA, "%s", bytes);
    assert_true(strlen(err_text()) < 1024 && str_ends(err_text(), "..."));
}

static void limits(void **state)
{
    int64_t before = limit_get(LIMIT_SIDE);

    assert_int_equal(before, 65535);
    assert_string_equal(limit_name(LIMIT_SIDE), "side");
    assert_int_equal(limit_set("side", 100), 0);
    assert_int_equal(limit_get(LIMIT_SIDE), 100);
    assert_int_equal(limit_set("side", 0), ERR_USAGE);
    assert_int_equal(limit_get(LIMIT_SIDE), 100);
    assert_int_equal(limit_set("side", before), 0);
    assert_int_equal(limit_set("json-dpth", 3), ERR_USAGE);
    assert_string_equal(err_text(), "unknown limit \"json-dpth\" (did you mean \"json-depth\"?)");
    for (int i = 0; i < N_LIMITS; i++)
        assert_true(limit_get(i) >= 1 && limit_help(i)[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames), cmocka_unit_test(truncation),   cmocka_unit_test(from_errno), cmocka_unit_test(codes),
        cmocka_unit_test(bug),    cmocka_unit_test(quoted_bytes), cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
