/* tests/io/test_rundir.c: one writer, whole lines, resuming after a torn one. */
#include "scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void events_and_resume(void **state UNUSED)
{
    struct rundir *r = NULL;
    json_t *config = json_pack("{s:i}", "batch_size", 8), *got = NULL;
    assert_int_equal(rundir_open(&r, in_scratch("a/run"), false, false, config), 0);
    assert_non_null(strstr(rundir_path(r), "a/run"));
    for (int i = 0; i < 300; i++)
        assert_int_equal(rundir_event(r, json_pack("{s:s, s:i}", "event", "step", "i", i)), 0);
    assert_int_equal(rundir_event(r, json_pack("{s:f}", "loss", (double)NAN)), ERR_FAIL);
    rundir_close(&r);
    rundir_close(&r);
    assert_int_equal(json_read_file(&got, in_scratch("a/run/config.json")), 0);
    assert_true(json_equal(got, config));
    json_decref(got);
    assert_int_equal(rundir_open(&r, in_scratch("a/run"), false, false, config), ERR_EXISTS);
    assert_says("--resume");
    FILE *f = fopen(in_scratch("a/run/run.jsonl"), "a");
    fputs("{\"event\":\"torn", f);
    for (int i = 0; i < 9000; i++) /* more than one block of it, as zeros after a power cut may be */
        fputc(0, f);
    fclose(f);
    assert_int_equal(rundir_open(&r, in_scratch("a/run"), true, false, NULL), 0);
    assert_int_equal(rundir_event(r, json_pack("{s:s}", "event", "resumed")), 0);
    rundir_close(&r);
    char *text = get_file(in_scratch("a/run/run.jsonl"), NULL), *line = strtok(text, "\n");
    int n = 0;
    for (; line; line = strtok(NULL, "\n"), n++) {
        assert_int_equal(json_read_text(&got, line, strlen(line), "line"), 0);
        assert_string_equal(json_string_value(json_object_get(got, "event")), n < 300 ? "step" : "resumed");
        assert_int_equal(strlen(json_string_value(json_object_get(got, "time"))), 20);
        json_decref(got);
    }
    assert_int_equal(n, 301);
    free(text);
    put_text("a/run/other", "kept");
    assert_int_equal(rundir_open(&r, in_scratch("a/run"), false, true, config), 0);
    rundir_close(&r);
    text = get_file(in_scratch("a/run/run.jsonl"), NULL);
    assert_string_equal(text, "");
    free(text);
    assert_true(path_exists(in_scratch("a/run/other")));
    json_decref(config);
}

static void wrong_places(void **state UNUSED)
{
    struct rundir *r = NULL;
    put_text("file", "x");
    assert_int_equal(rundir_open(&r, in_scratch("file"), false, true, NULL), ERR_EXISTS);
    assert_int_equal(rundir_open(&r, in_scratch("nothing"), true, false, NULL), ERR_DATA);
    assert_says("no run to resume");
    assert_false(path_exists(in_scratch("nothing")));
    assert_int_equal(path_make_dirs(in_scratch("mine")), 0);
    put_text("mine/thesis.tex", "x");
    assert_int_equal(rundir_open(&r, in_scratch("mine"), false, false, NULL), ERR_EXISTS);
    assert_false(path_exists(in_scratch("mine/lock")));
    assert_int_equal(path_make_dirs(in_scratch("fresh")), 0); /* an empty folder is welcome */
    assert_int_equal(rundir_open(&r, in_scratch("fresh"), false, false, NULL), 0);
    rundir_close(&r);
    assert_int_equal(rundir_open(&r, "", false, false, NULL), ERR_FAIL);
}

static void second_writer(void **state UNUSED)
{
    struct rundir *r = NULL, *again = NULL;
    int ready[2], status = 0;
    char c, pid_text[32];
    const char *path = in_scratch("locked");
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = rundir_open(&r, path, false, false, NULL);
        if (rc == 0 && write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    snprintf(pid_text, sizeof(pid_text), "pid %ld ", (long)pid);
    const bool ways[][2] = {{true, false}, {false, true}, {false, false}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rundir_open(&r, path, ways[i][0], ways[i][1], NULL), ERR_LOCKED);
        assert_says(pid_text);
        assert_null(r);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(rundir_open(&r, path, true, false, NULL), 0); /* the lock died with its owner */
    assert_int_equal(rundir_open(&again, path, true, false, NULL), ERR_LOCKED);
    rundir_close(&r);
    assert_int_equal(rundir_open(&r, path, true, false, NULL), 0);
    rundir_close(&r);
    close(ready[0]);
    close(ready[1]);
}

static void full_disk(void **state UNUSED)
{
    struct rundir *r = NULL;
    struct rlimit before, small;
    size_t n = 0;
    char long_text[401];
    memset(long_text, 'x', 400);
    long_text[400] = '\0';
    assert_int_equal(rundir_open(&r, in_scratch("full"), false, false, NULL), 0);
    assert_int_equal(rundir_event(r, json_pack("{s:s}", "event", "first")), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 200;
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = rundir_event(r, json_pack("{s:s}", "event", long_text));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, ERR_SPACE);
    assert_says("run.jsonl");
    assert_int_equal(rundir_event(r, json_pack("{s:s}", "event", "second")), 0);
    rundir_close(&r);
    char *text = get_file(in_scratch("full/run.jsonl"), &n);
    assert_non_null(strstr(text, "\"second\""));
    assert_null(strstr(text, "xxx")); /* the torn line is gone */
    free(text);
}

static void no_memory(void **state UNUSED)
{
    struct rundir *r = NULL;
    json_t *config = json_pack("{s:i}", "a", 1);
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = rundir_open(&r, in_scratch("m"), false, true, config);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_null(r);
    }
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = rundir_event(r, json_pack("{s:i}", "a", 1));
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
    }
    rundir_close(&r);
    json_decref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_and_resume), cmocka_unit_test(wrong_places), cmocka_unit_test(second_writer),
        cmocka_unit_test(full_disk),         cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
