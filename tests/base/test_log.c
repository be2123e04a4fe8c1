/* tests/base/test_log.c: levels, sinks, what reaches a terminal, and progress on and off one. */
#include "base/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void keep(void *ctx, enum log_level level, const char *text)
{
    str_add(ctx, "%d:%s\n", (int)level, text);
}

static void levels(void **state)
{
    struct str got = {0};

    log_sink(keep, &got);
    log_level(LOG_WARN);
    log_error("a %d", 1);
    log_warn("b");
    log_info("c");
    log_debug("d");
    log_level(LOG_INFO);
    log_info("e");
    log_sink(NULL, NULL);
    assert_string_equal(got.s, "0:a 1\n1:b\n2:e\n");
    str_free(&got);
}

static int count(const char *s, const char *what)
{
    int n = 0;

    for (; (s = strstr(s, what)); s += strlen(what))
        n++;
    return n;
}

static void tenths(void **state)
{
    struct str got = {0};
    struct progress *p = NULL;

    log_sink(keep, &got);
    assert_int_equal(progress_open(&p, "encode", 1000, "img"), 0);
    for (int i = 0; i < 1000; i++) {
        if (i == 500)
            progress_note(p, "loss %.2f", 1.25);
        progress_add(p, 1);
    }
    progress_close(&p);
    assert_null(p);
    assert_int_equal(count(got.s, "\n"), 10);
    assert_int_equal(count(got.s, "encode  100/1000  "), 1);
    assert_int_equal(count(got.s, " img/s  left "), 9);
    assert_int_equal(count(got.s, "loss 1.25"), 5);
    assert_int_equal(count(got.s, "encode  1000/1000  "), 1);

    str_clear(&got); /* resumed at 60 %: the lines that were written before are not written again */
    assert_int_equal(progress_open(&p, "train", 10, "step"), 0);
    progress_skip(p, 6);
    assert_null(strstr(got.s, "train"));
    progress_add(p, 2);
    assert_int_equal(count(got.s, "8/10"), 1);
    progress_close(&p);
    assert_int_equal(count(got.s, "\n"), 2);

    str_clear(&got);
    assert_int_equal(progress_open(&p, "scan", 0, "file"), 0); /* the end is not known */
    progress_add(p, 5);
    progress_close(&p);
    assert_int_equal(count(got.s, "scan  5  "), 1);

    mem_fail_at(1); /* without memory the work goes on unseen */
    assert_int_equal(progress_open(&p, "x", 1, "y"), 0);
    progress_add(p, 1);
    progress_note(p, "z");
    progress_close(&p);
    log_sink(NULL, NULL);
    str_free(&got);
}

/* Runs fn with stderr on a pseudo-terminal and returns what it wrote; false when the system has none. */
static bool on_terminal(void (*fn)(void), struct str *got)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave, saved;
    char block[4096];
    ssize_t n;

    if (master < 0)
        return false;
    if (grantpt(master) || unlockpt(master) || (slave = open(ptsname(master), O_RDWR | O_NOCTTY)) < 0) {
        close(master);
        return false;
    }
    saved = dup(STDERR_FILENO);
    dup2(slave, STDERR_FILENO);
    fn();
    dup2(saved, STDERR_FILENO);
    close(saved);
    fcntl(master, F_SETFL, O_NONBLOCK);
    while ((n = read(master, block, sizeof block)) > 0)
        str_add_n(got, block, (size_t)n);
    close(slave);
    close(master);
    return true;
}

static void some_work(void)
{
    struct progress *p = NULL;
    struct timespec tick = {.tv_nsec = 1000000};

    progress_open(&p, "encode", 300, "img");
    for (int i = 0; i < 300; i++) {
        progress_add(p, 1);
        nanosleep(&tick, NULL);
        if (i == 200)
            log_warn("odd \033[2J name");
    }
    progress_note(p, "done");
    progress_close(&p);
}

static void terminal(void **state)
{
    struct str got = {0};

    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    if (!on_terminal(some_work, &got)) {
        print_message("no pseudo-terminal here\n");
        skip();
    }
    assert_in_range(count(got.s, "\r\033[Kencode"), 2, 20); /* about 0.3 to 1.5 seconds at ten a second */
    assert_int_equal(count(got.s, "\r\033[K\033[33mwarning: \033[0modd \\x1b[2J name\r\n"), 1);
    assert_int_equal(count(got.s, "[>"), 1);
    assert_int_equal(count(got.s, "encode  300/300  "), 1);
    assert_true(str_ends(got.s, "done\r\n"));

    str_clear(&got);
    setenv("NO_COLOR", "1", 1);
    on_terminal(some_work, &got);
    assert_int_equal(count(got.s, "\033[33m"), 0);
    assert_int_equal(count(got.s, "warning: odd"), 1);

    str_clear(&got);
    setenv("TERM", "dumb", 1);
    on_terminal(some_work, &got);
    assert_int_equal(count(got.s, "\033"), 0);
    assert_int_equal(count(got.s, "encode"), 10);
    str_free(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(levels), cmocka_unit_test(tenths), cmocka_unit_test(terminal)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
