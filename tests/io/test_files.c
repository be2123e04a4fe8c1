/* tests/io/test_files.c: mappings, the reader, paths, atomic files and folders. */
#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void map_reads(void **state UNUSED)
{
    struct map m;
    assert_int_equal(map_open(&m, put_text("a", "hello")), 0);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    assert_false(map_shortened(&m));
    map_close(&m);
    assert_int_equal(map_open(&m, put_text("empty", "")), 0);
    assert_int_equal(m.size, 0);
    assert_int_equal(map_check(&m), 0);
    map_close(&m);
    assert_int_equal(map_open(&m, in_scratch("absent")), ERR_DATA);
    assert_says("absent");
    assert_int_equal(map_open(&m, scratch), ERR_DATA);
    assert_says("found a folder");
    assert_int_equal(mkfifo(in_scratch("pipe"), 0600), 0);
    assert_int_equal(map_open(&m, in_scratch("pipe")), ERR_DATA); /* and does not wait for a writer */
}

static void map_survives_shortening(void **state UNUSED)
{
    static uint8_t bytes[5 * 4096];
    struct map m, other;
    memset(bytes, 7, sizeof(bytes));
    assert_int_equal(map_open(&m, put_file("long", bytes, sizeof(bytes))), 0);
    assert_int_equal(map_open(&other, put_file("whole", bytes, sizeof(bytes))), 0);
    assert_int_equal(truncate(m.path, 4096), 0);
    uint64_t sum = 0;
    for (size_t i = 0; i < m.size; i++)
        sum += m.data[i];
    assert_int_equal(sum, 7 * 4096); /* the lost pages read as zeros */
    assert_true(map_shortened(&m));
    assert_false(map_shortened(&other));
    assert_int_equal(map_check(&m), ERR_DATA);
    assert_says("long: was shortened");
    map_close(&m);
    map_close(&other);
    /* a cut within the last page raises no signal, yet is seen */
    assert_int_equal(map_open(&m, put_file("page", bytes, 100)), 0);
    assert_int_equal(truncate(m.path, 50), 0);
    assert_true(map_shortened(&m));
    map_close(&m);
}

static void foreign_bus_error_still_kills(void **state UNUSED)
{
    struct map m;
    const char *path = put_text("a", "x");
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGBUS, SIG_DFL);
        if (map_open(&m, path) == 0)
            raise(SIGBUS);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void reader_stops_at_the_end(void **state UNUSED)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 0x88, 9};
    struct reader r = {bytes, bytes + sizeof(bytes), bytes, "f.bin"};
    uint32_t a = 0;
    uint64_t b = 0;
    const uint8_t *p = NULL;
    assert_int_equal(read_u32le(&r, &a), 0);
    assert_int_equal(a, 0x04030201);
    assert_int_equal(read_u64le(&r, &b), ERR_DATA);
    assert_says("f.bin: truncated at byte 4: expected 8 more bytes, found 5");
    assert_int_equal(read_bytes(&r, &p, SIZE_MAX), ERR_DATA);
    assert_null(p);
    r.p = bytes;
    assert_int_equal(read_u64le(&r, &b), 0);
    assert_true(b == 0x8807060504030201u);
    assert_int_equal(read_bytes(&r, &p, 1), 0);
    assert_int_equal(read_bytes(&r, &p, 1), ERR_DATA);
}

static void names_from_files(void **state UNUSED)
{
    static const char *const good[] = {"a", "a.png", "dir/b.png", "..a", "a..", "x/.hidden", "ü"};
    static const char *const bad[] = {"",     "/etc/passwd", "..",  "../x", "a/../b",   "a/..", ".",
                                      "a//b", "a/",          "./a", "a\nb", "a\x1b[1m", "a\x7f"};
    char out[20], tight[4], name[5000];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(path_check_name(good[i], "index.json"), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(path_check_name(bad[i], "index.json"), ERR_DATA);
        assert_says("index.json");
        assert_null(strchr(err_text(), '\x1b'));
    }
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(path_check_name(name, "i"), ERR_DATA);
    name[256] = '\0';
    assert_int_equal(path_check_name(name, "i"), ERR_DATA);
    assert_int_equal(path_join(out, sizeof(out), "a", "b"), 0);
    assert_string_equal(out, "a/b");
    assert_int_equal(path_join(out, sizeof(out), "a/", "b"), 0);
    assert_string_equal(out, "a/b");
    assert_int_equal(path_join(tight, sizeof(tight), "a", "b"), 0);
    assert_int_equal(path_join(tight, sizeof(tight), "a", "bc"), ERR_DATA);
}

static void folders(void **state UNUSED)
{
    char out[512];
    assert_int_equal(path_make_dirs(in_scratch("d/e/f")), 0);
    assert_int_equal(path_make_dirs(in_scratch("d/e/f/")), 0);
    assert_true(path_is_dir(in_scratch("d/e/f")));
    put_text("d/file", "x");
    assert_int_equal(path_make_dirs(in_scratch("d/file")), ERR_FAIL);
    assert_says("found a file");
    assert_int_equal(path_make_dirs(in_scratch("d/file/g")), ERR_FAIL);
    assert_int_equal(path_check_output(in_scratch("d"), false), ERR_EXISTS);
    assert_says("--force");
    assert_int_equal(path_check_output(in_scratch("d"), true), 0);
    assert_int_equal(path_check_output(in_scratch("no"), false), 0);
    assert_int_equal(path_check_output("/dev/null", false), 0);
    assert_int_equal(path_check_space(in_scratch("."), 1), 0);
    assert_int_equal(path_check_space(in_scratch("."), INT64_MAX), ERR_SPACE);
    assert_non_null(strstr(err_text(), "are free"));
    assert_int_equal(symlink("nowhere", in_scratch("d/link")), 0);
    assert_int_equal(path_check_output(in_scratch("d/link"), false), ERR_EXISTS);
    assert_int_equal(symlink(scratch, in_scratch("d/up")), 0);
    assert_int_equal(path_remove_tree(in_scratch("d")), 0);
    assert_true(path_is_dir(scratch)); /* the link was removed, not followed */
    assert_int_equal(path_remove_tree(in_scratch("d")), 0);
    setenv("XDG_CACHE_HOME", "/x", 1);
    assert_int_equal(path_cache(out, sizeof(out), "emoji"), 0);
    assert_string_equal(out, "/x/meridian/emoji");
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", "/h", 1);
    assert_int_equal(path_cache(out, sizeof(out), "emoji"), 0);
    assert_string_equal(out, "/h/.cache/meridian/emoji");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(path_cache(out, sizeof(out), "emoji"), ERR_FAIL);
}

static void atomic_replaces_whole(void **state UNUSED)
{
    struct atomic_file *f = NULL;
    size_t n = 0;
    static char big[200000];
    const char *path = put_text("out.txt", "old");
    memset(big, 'b', sizeof(big));
    assert_int_equal(atomic_open(&f, path), 0);
    assert_int_equal(atomic_printf(f, "%s %d\n", "line", 1), 0);
    assert_int_equal(atomic_write(f, big, sizeof(big)), 0);
    assert_int_equal(atomic_printf(f, "%.5000s", big), 0);
    assert_int_equal(atomic_patch(f, 0, "LINE", 4), 0);
    assert_int_equal(count_entries(".out.txt.tmp-"), 1);
    char *now = get_file(path, NULL);
    assert_string_equal(now, "old");
    free(now);
    assert_int_equal(atomic_commit(&f), 0);
    assert_null(f);
    now = get_file(path, &n);
    assert_int_equal(n, 7 + sizeof(big) + 5000);
    assert_memory_equal(now, "LINE 1\nbbb", 10);
    free(now);
    assert_int_equal(count_entries(".tmp-"), 0);
    assert_int_equal(atomic_open(&f, path), 0);
    assert_int_equal(atomic_write(f, "x", 1), 0);
    atomic_abort(&f);
    atomic_abort(&f);
    assert_int_equal(count_entries(".tmp-"), 0);
    assert_int_equal(atomic_open(&f, in_scratch("no/such/folder")), ERR_FAIL);
    assert_int_equal(atomic_open(&f, scratch), ERR_EXISTS);
    assert_int_equal(atomic_open(&f, ""), ERR_FAIL);
    assert_int_equal(atomic_put("/dev/null", "x", 1), 0); /* written through, not replaced */
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void full_disk(void **state UNUSED)
{
    static char big[300000];
    struct rlimit before, small;
    const char *path = put_text("keep", "old");
    assert_int_equal(atomic_put("/dev/full", big, sizeof(big)), ERR_SPACE);
    assert_says("/dev/full");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = atomic_put(path, big, sizeof(big));
    struct atomic_file *f = NULL;
    int opened = atomic_open(&f, path), first = atomic_write(f, big, 90000), second = atomic_write(f, big, 90000);
    int third = atomic_write(f, "x", 1), commit = atomic_commit(&f);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, ERR_SPACE);
    assert_int_equal(opened, 0);
    assert_int_equal(first, 0);
    assert_int_equal(second, ERR_SPACE);
    assert_int_equal(third, ERR_SPACE); /* a failed file stays failed */
    assert_int_equal(commit, ERR_SPACE);
    assert_says("keep");
    char *now = get_file(path, NULL);
    assert_string_equal(now, "old");
    free(now);
    assert_int_equal(count_entries(".tmp-"), 0);
}

/* A child leaves its temporaries behind and dies; with `hold` it stays alive until told. */
static pid_t child_leaves(const char *file, const char *dir, int hold[2])
{
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct atomic_file *f = NULL;
        struct atomic_dir d;
        bool ok = atomic_open(&f, file) == 0 && atomic_dir_open(&d, dir, false) == 0 && write(ready[1], "r", 1) == 1;
        if (hold) {
            close(hold[1]);
            ok = ok && read(hold[0], &c, 1) == 0;
        }
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void leftovers_of_the_dead_are_removed(void **state UNUSED)
{
    int hold[2], status = 0;
    char file[512], dir[512];
    struct atomic_dir d;
    assert_int_equal(mkdir(in_scratch("s"), 0777), 0);
    snprintf(file, sizeof(file), "%s/s/file", scratch);
    snprintf(dir, sizeof(dir), "%s/s/dir", scratch);
    assert_int_equal(pipe(hold), 0);
    pid_t living = child_leaves(file, dir, hold);
    pid_t dead = child_leaves(file, dir, NULL);
    assert_int_equal(waitpid(dead, &status, 0), dead);
    assert_int_equal(status, 0);
    char of_living[64], of_dead[64], foreign[600];
    snprintf(of_living, sizeof(of_living), "tmp-%ld-", (long)living);
    snprintf(of_dead, sizeof(of_dead), "tmp-%ld-", (long)dead);
    snprintf(foreign, sizeof(foreign), "%s/s/.other.tmp-notapid-1", scratch);
    assert_int_equal(atomic_put(foreign, "x", 1), 0);
    assert_int_equal(atomic_dir_open(&d, dir, false), 0);
    char kept[256];
    snprintf(kept, sizeof(kept), "%s", scratch);
    snprintf(scratch, sizeof(scratch), "%.200s/s", kept);
    int n_living = count_entries(of_living), n_dead = count_entries(of_dead), n_foreign = count_entries("notapid");
    snprintf(scratch, sizeof(scratch), "%s", kept);
    atomic_dir_abort(&d);
    close(hold[1]);
    close(hold[0]);
    assert_int_equal(waitpid(living, &status, 0), living);
    assert_int_equal(n_living, 2);
    assert_int_equal(n_dead, 0);
    assert_int_equal(n_foreign, 1);
}

static void folder_appears_whole(void **state UNUSED)
{
    struct atomic_dir d;
    char name[1100];
    const char *path = in_scratch("deep/model");
    assert_int_equal(atomic_dir_open(&d, path, false), 0);
    snprintf(name, sizeof(name), "%s/config.json", d.tmp);
    assert_int_equal(atomic_put(name, "{}", 2), 0);
    assert_false(path_exists(in_scratch("deep/model")));
    assert_int_equal(atomic_dir_commit(&d), 0);
    assert_true(path_exists(in_scratch("deep/model/config.json")));
    atomic_dir_abort(&d); /* nothing to do */
    assert_int_equal(atomic_dir_open(&d, in_scratch("deep/model/"), false), ERR_EXISTS);
    assert_int_equal(atomic_dir_open(&d, in_scratch("deep/model/"), true), 0);
    snprintf(name, sizeof(name), "%s/new", d.tmp);
    assert_int_equal(atomic_put(name, "{}", 2), 0);
    assert_int_equal(atomic_dir_commit(&d), 0);
    assert_true(path_exists(in_scratch("deep/model/new")));
    assert_false(path_exists(in_scratch("deep/model/config.json")));
    assert_int_equal(atomic_dir_open(&d, in_scratch("deep/other"), false), 0);
    atomic_dir_abort(&d);
    put_text("deep/file", "x");
    assert_int_equal(atomic_dir_open(&d, in_scratch("deep/file"), true), ERR_EXISTS);
    /* what a run killed between its two renames leaves: the old folder comes back */
    assert_int_equal(rename(in_scratch("deep/model"), in_scratch("deep/.model.old-999999999-0")), 0);
    assert_int_equal(atomic_dir_open(&d, in_scratch("deep/model"), false), ERR_EXISTS);
    assert_true(path_exists(in_scratch("deep/model/new")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_reads),
        cmocka_unit_test(map_survives_shortening),
        cmocka_unit_test(foreign_bus_error_still_kills),
        cmocka_unit_test(reader_stops_at_the_end),
        cmocka_unit_test(names_from_files),
        cmocka_unit_test(folders),
        cmocka_unit_test(atomic_replaces_whole),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(leftovers_of_the_dead_are_removed),
        cmocka_unit_test(folder_appears_whole),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
