/* tests/base/test_pool.c: loader threads, signals, clocks. */
#include "base/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static atomic_int sum;
static struct pool *nested;

static void add(void *arg)
{
    atomic_fetch_add(&sum, *(int *)arg);
}

static void spawn(void *arg)
{
    add(arg);
    if (pool_submit(nested, add, arg) < 0)
        atomic_fetch_add(&sum, 1000000);
}

static void jobs(void **state)
{
    int value[1000];

    for (int i = 0; i < 1000; i++)
        value[i] = i;
    for (int threads = 0; threads <= 4; threads++) {
        struct pool *p = NULL;
        assert_int_equal(pool_open(&p, threads), 0);
        for (int round = 1; round <= 3; round++) {
            atomic_store(&sum, 0);
            for (int i = 0; i < 1000; i++)
                assert_int_equal(pool_submit(p, add, &value[i]), 0);
            pool_wait(p);
            assert_int_equal(atomic_load(&sum), 499500);
        }
        atomic_store(&sum, 0);
        nested = p;
        for (int i = 0; i < 100; i++) /* a job may submit a job; closing runs what is queued */
            assert_int_equal(pool_submit(p, spawn, &value[1]), 0);
        pool_wait(p);
        assert_int_equal(atomic_load(&sum), 200);
        for (int i = 0; i < 100; i++)
            assert_int_equal(pool_submit(p, add, &value[1]), 0);
        pool_close(&p);
        assert_null(p);
        assert_int_equal(atomic_load(&sum), 300);
        pool_close(&p);
    }
}

static void failures(void **state)
{
    struct pool *p = NULL;
    int one = 1;

    assert_int_equal(pool_open(&p, -1), ERR_USAGE);
    for (int n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_int_equal(pool_open(&p, 2), ERR_MEMORY);
        assert_null(p);
    }
    assert_int_equal(pool_open(&p, 1), 0);
    mem_fail_at(1);
    assert_int_equal(pool_submit(p, add, &one), ERR_MEMORY);
    assert_int_equal(pool_submit(p, add, &one), 0);
    pool_close(&p);
}

static void *fail_elsewhere(void *arg)
{
    err_set(ERR_DATA, "in a thread");
    return NULL;
}

static void messages_are_per_thread(void **state)
{
    pthread_t thread;

    err_set(ERR_DATA, "here");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(err_text(), "here");
}

static void signals(void **state)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        signal_catch();
        if (signal_caught() || signal_check() != 0)
            _exit(1);
        raise(SIGINT);
        if (!signal_caught() || signal_check() != ERR_INTERRUPTED || strcmp(err_text(), "interrupted by Ctrl-C"))
            _exit(2);
        raise(SIGTERM); /* the second one kills, whichever it is */
        _exit(3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void *not_asked(void *arg)
{
    *(bool *)arg = signal_caught() || signal_check() != 0; /* watches nothing */
    return NULL;
}

/* What a library's host asks for concerns the calls that run, not earlier nor later ones, nor threads that serve. */
static void interruptions(void **state)
{
    pthread_t thread;
    bool other = true;

    signal_interrupt();
    assert_int_equal(signal_check(), 0);
    signal_watch();
    assert_int_equal(signal_check(), 0);
    signal_interrupt();
    assert_true(signal_caught());
    assert_int_equal(signal_check(), ERR_INTERRUPTED);
    assert_string_equal(err_text(), "interrupted by the program");
    assert_int_equal(pthread_create(&thread, NULL, not_asked, &other), 0);
    pthread_join(thread, NULL);
    assert_false(other);
    signal_watch();
    assert_int_equal(signal_check(), 0);
}

static void clocks(void **state)
{
    double t = clock_seconds();
    char utc[32];

    clock_utc(utc);
    assert_int_equal(strlen(utc), 20);
    assert_true(utc[0] == '2' && utc[10] == 'T' && utc[19] == 'Z');
    assert_true(clock_seconds() >= t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs),    cmocka_unit_test(failures),      cmocka_unit_test(messages_are_per_thread),
        cmocka_unit_test(signals), cmocka_unit_test(interruptions), cmocka_unit_test(clocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
