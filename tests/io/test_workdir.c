/* Work folders: pieces whole or absent, locks that die with their owner, plans that must agree, damage found in every
 * byte, many workers of which a fifth is killed. */
#include "io/io.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[256];

static const char *at(const char *name)
{
    static char path[8][600];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

/* In memory where there is such a place: thousands of commits need not wait for a disk. */
static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/dev/shm/meridian-workdir-XXXXXX");
    log_level(LOG_ERROR);
    if (mkdtemp(root))
        return 0;
    const char *base = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/meridian-workdir-XXXXXX", base ? base : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
    (void)state;
    return path_remove_tree(root);
}

static void must(int rc)
{
    if (rc < 0)
        fail_msg("%s", err_text());
}

static int agree(const json_t *old, const json_t *now, const char *path)
{
    if (json_equal(old, now))
        return 0;
    FAIL(ERR_USAGE, "%s was begun with another plan", path);
}

static int open_as(struct workdir **w, const char *name, bool alone, bool force, int number)
{
    json_t *plan = json_pack("{s:i}", "number", number);
    int rc = workdir_open(w, at(name), alone, force, plan, agree);
    json_decref(plan);
    return rc;
}

static const char *const files[2] = {"a.txt", "b.txt"};

static int put_files(const char *folder, const char *text)
{
    char path[1200];
    for (int i = 0; i < 2; i++) {
        TRY(path_join(path, sizeof path, folder, files[i]));
        TRY(atomic_put(path, text, strlen(text)));
    }
    return 0;
}

static int make_piece(struct workdir *w, const char *name, bool *made)
{
    const char *folder;
    *made = false;
    TRY(workdir_begin(w, name, &folder));
    if (!folder)
        return 0;
    int rc = put_files(folder, name);
    if (rc < 0) {
        workdir_abort(w);
        return rc;
    }
    TRY(workdir_commit(w, json_pack("{s:s}", "piece", name), files, 2));
    *made = true;
    return 0;
}

static void whole_or_absent(void **state)
{
    (void)state;
    struct workdir *w = NULL, *v = NULL;
    const char *folder;
    bool made;
    json_t *o = NULL;
    must(open_as(&w, "whole", true, false, 1));
    assert_false(workdir_resumed(w));
    must(workdir_begin(w, "p", &folder));
    assert_non_null(folder);
    must(put_files(folder, "half"));
    workdir_abort(w);
    assert_false(workdir_has(w, "p") || path_exists(at("whole/p.tmp")));
    must(path_make_dirs(at("whole/p.tmp/left/by/a/kill"))); /* taken over and emptied */
    must(make_piece(w, "p", &made));
    assert_true(made && workdir_has(w, "p"));
    assert_false(path_exists(at("whole/p.tmp")));
    must(make_piece(w, "p", &made));
    assert_false(made); /* it stands */
    must(workdir_check(w, "p", files, 2, &o));
    assert_string_equal(json_string_value(json_object_get(o, "piece")), "p");
    json_decref(o);
    must(workdir_close(&w, false));
    must(open_as(&v, "whole", true, false, 1));
    assert_true(workdir_resumed(v) && workdir_has(v, "p"));
    must(workdir_drop(v, "p"));
    assert_false(workdir_has(v, "p"));
    must(workdir_finished(v));
    must(workdir_close(&v, false));
    assert_false(path_exists(at("whole"))); /* the last one out */
    must(workdir_close(&v, true));
}

/* Every byte of every file of a piece, one bit each: found. */
static void damage_is_found(void **state)
{
    (void)state;
    static const char *const names[3] = {"a.txt", "b.txt", "piece.json"};
    struct workdir *w = NULL;
    bool made;
    int flips = 0;
    must(open_as(&w, "damage", true, false, 1));
    must(make_piece(w, "p", &made));
    for (int i = 0; i < 3; i++) {
        char path[600];
        struct stat st;
        snprintf(path, sizeof path, "%s/damage/p/%s", root, names[i]);
        assert_int_equal(stat(path, &st), 0);
        for (long k = 0; k < st.st_size; k++) {
            json_t *o = NULL;
            FILE *f = fopen(path, "r+b");
            fseek(f, k, SEEK_SET);
            int c = fgetc(f);
            bool space = i == 2 && (c == ' ' || c == '\n'); /* JSON between its words */
            fseek(f, k, SEEK_SET);
            fputc(c ^ (1 << k % 7), f);
            fflush(f);
            int rc = workdir_check(w, "p", files, 2, &o);
            json_decref(o);
            fseek(f, k, SEEK_SET);
            fputc(c, f);
            fclose(f);
            if (!space)
                assert_true(rc < 0);
            flips += rc < 0;
        }
    }
    assert_true(flips > 250);
    printf("%d flipped bits found\n", flips);
    assert_int_equal(truncate(at("damage/p/a.txt"), 0), 0);
    json_t *o = NULL;
    assert_int_equal(workdir_check(w, "p", files, 2, &o), ERR_DATA);
    must(workdir_close(&w, true));
    assert_false(path_exists(at("damage")));
}

static void plans_agree(void **state)
{
    (void)state;
    struct workdir *w = NULL, *v = NULL;
    bool made;
    must(open_as(&w, "plan", false, false, 1));
    must(make_piece(w, "p", &made));
    assert_int_equal(open_as(&v, "plan", false, false, 2), ERR_USAGE);
    assert_int_equal(open_as(&v, "plan", false, true, 2), ERR_LOCKED); /* somebody is at work under the old one */
    assert_int_equal(open_as(&v, "plan", true, false, 1), ERR_LOCKED);
    assert_non_null(strstr(err_text(), "pid "));
    must(open_as(&v, "plan", false, true, 1)); /* the same plan goes on, force or not */
    assert_true(workdir_has(v, "p"));
    must(workdir_close(&v, false));
    must(workdir_close(&w, false));
    must(open_as(&w, "plan", true, true, 2));
    assert_false(workdir_has(w, "p") || workdir_resumed(w));
    assert_int_equal(open_as(&v, "plan", false, false, 2), ERR_LOCKED);
    must(workdir_close(&w, true));
    must(path_make_dirs(at("foreign")));
    must(atomic_put(at("foreign/notes"), "x", 1));
    assert_int_equal(open_as(&w, "foreign", true, true, 1), ERR_EXISTS);
    must(atomic_put(at("file"), "x", 1));
    assert_int_equal(open_as(&w, "file", true, true, 1), ERR_EXISTS);
}

/* Two of an array: the first to leave finished work leaves it to the other, who takes it away. */
static void last_one_out(void **state)
{
    (void)state;
    struct workdir *w = NULL, *v = NULL;
    const char *folder;
    bool got;
    must(open_as(&w, "last", false, false, 1));
    must(open_as(&v, "last", false, false, 1));
    must(workdir_begin(w, "p", &folder));
    const char *other;
    must(workdir_begin(v, "p", &other));
    assert_null(other);
    workdir_abort(w);
    must(workdir_claim(w, "assemble", &got));
    assert_true(got);
    must(workdir_claim(v, "assemble", &got));
    assert_false(got);
    must(workdir_finished(w));
    must(workdir_close(&w, false));
    assert_true(path_exists(at("last")) && workdir_is_finished(v));
    must(workdir_close(&v, false));
    assert_false(path_exists(at("last")));
}

/* Every allocation fails once: an error, and the folder is as usable as before. */
static void out_of_memory(void **state)
{
    (void)state;
    int failed = 0;
    for (int64_t n = 1; n < 60; n++) {
        struct workdir *w = NULL;
        bool made;
        mem_fail_at(n);
        int rc = open_as(&w, "memory", true, false, 1);
        if (rc == 0)
            rc = make_piece(w, "p", &made);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == ERR_MEMORY);
        failed += rc < 0;
        if (w)
            must(workdir_close(&w, false));
        must(open_as(&w, "memory", true, false, 1));
        must(make_piece(w, "p", &made));
        must(workdir_drop(w, "p"));
        must(workdir_close(&w, true));
    }
    assert_true(failed > 5);
}

/* ---- many workers */

enum { WORKERS = 32, PIECES = 1500 };

static void note(const char *line)
{
    FILE *f = fopen(at("log"), "a");
    if (f) {
        fputs(line, f); /* one write of a short line: whole */
        fclose(f);
    }
}

/* Makes what is missing, in an order of its own; at every piece it dies with a chance of one in five, anywhere. */
static void work(unsigned seed)
{
    struct workdir *w = NULL;
    char name[32], line[64];
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    int64_t order[PIECES];
    for (int64_t i = 0; i < PIECES; i++)
        order[i] = i;
    rng_shuffle(&r, order, PIECES);
    if (open_as(&w, "many", false, false, 1) < 0)
        _exit(1);
    for (int i = 0; i < PIECES; i++) {
        const char *folder;
        bool die = rng_below(&r, 25) == 0;
        snprintf(name, sizeof name, "p%04lld", (long long)order[i]);
        if (workdir_begin(w, name, &folder) < 0)
            _exit(2);
        if (!folder)
            continue;
        if (die && rng_below(&r, 2))
            raise(SIGKILL);
        if (put_files(folder, name) < 0)
            _exit(3);
        if (die)
            raise(SIGKILL);
        snprintf(line, sizeof line, "%s\n", name);
        if (workdir_commit(w, json_pack("{s:s}", "piece", name), files, 2) < 0)
            _exit(4);
        note(line);
    }
    _exit(workdir_close(&w, false) < 0 ? 5 : 0);
}

static pid_t start(unsigned seed)
{
    pid_t pid = fork();
    if (pid == 0)
        work(seed);
    assert_true(pid > 0);
    return pid;
}

static void many_workers(void **state)
{
    (void)state;
    unsigned seed = 1;
    int killed = 0, running = 0, status, lines = 0;
    static char seen[PIECES];
    char name[64];
    struct workdir *w = NULL;
    for (; running < WORKERS; running++)
        start(seed++);
    while (running > 0) {
        assert_true(wait(&status) > 0);
        if (WIFSIGNALED(status)) { /* somebody else takes its place */
            killed++;
            start(seed++);
            continue;
        }
        assert_int_equal(WEXITSTATUS(status), 0);
        running--;
    }
    FILE *f = fopen(at("log"), "r");
    assert_non_null(f);
    while (fgets(name, sizeof name, f)) {
        int i = atoi(name + 1);
        assert_true(i >= 0 && i < PIECES && !seen[i]); /* none twice */
        seen[i] = 1;
        lines++;
    }
    fclose(f);
    assert_int_equal(lines, PIECES); /* none lost */
    must(open_as(&w, "many", true, false, 1));
    for (int i = 0; i < PIECES; i++) {
        json_t *o = NULL;
        snprintf(name, sizeof name, "p%04d", i);
        must(workdir_check(w, name, files, 2, &o));
        json_decref(o);
    }
    must(workdir_close(&w, true));
    assert_true(killed > 5);
    printf("%d workers, %d pieces, %d killed: none lost, none doubled\n", WORKERS, PIECES, killed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_or_absent), cmocka_unit_test(damage_is_found), cmocka_unit_test(plans_agree),
        cmocka_unit_test(last_one_out),    cmocka_unit_test(out_of_memory),   cmocka_unit_test(many_workers),
    };
    return cmocka_run_group_tests(tests, make_root, drop_root);
}
