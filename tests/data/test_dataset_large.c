/* tests/data/test_dataset_large.c: a caption file of 100 MB in under 300 MB of memory, a table of a million rows.
 *
 * The peak of a process never falls, so each case opens its data in a child. Under AddressSanitizer memory means
 * nothing: only the counts are looked at. */
#define _DEFAULT_SOURCE /* wait4 */
#include "scratch.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__)
#define MEASURES false
#elif defined(__has_feature)
#define MEASURES !__has_feature(address_sanitizer)
#else
#define MEASURES true
#endif

#define N_JSON 120000
#define N_ROWS 1000000

static void write_json(void)
{
    FILE *f = fopen(put_text("large/dataset.json", ""), "wb");
    assert_non_null(f);
    fputs("{\"images\": [", f);
    for (int i = 0; i < N_JSON; i++) {
        fprintf(
            f,
            "%s{\"filepath\": \"val2014\", \"filename\": \"p.png\", \"cocoid\": %d, \"split\": \"train\", \"sentids\": "
            "[1, 2, 3, 4, 5], \"sentences\": [",
            i ? ", " : "", i);
        for (int k = 0; k < 5; k++)
            fprintf(f,
                    "%s{\"tokens\": [\"a\", \"picture\", \"of\", \"something\", \"number\"], \"raw\": \"A picture of "
                    "something, "
                    "number %d of picture %d.\", \"imgid\": %d, \"sentid\": %d}",
                    k ? ", " : "", k, i, i, 5 * i + k);
        fputs("]}", f);
    }
    fputs("]}\n", f);
    assert_int_equal(fclose(f), 0);
}

static void write_table(void)
{
    FILE *f = fopen(put_text("large/rows.tsv", ""), "wb");
    assert_non_null(f);
    fputs("filepath\ttitle\tsplit\n", f);
    for (int i = 0; i < N_ROWS; i++)
        fprintf(f, "val2014/%d.png\ta caption of row %d\ttrain\n", i % 1000, i);
    assert_int_equal(fclose(f), 0);
}

/* In a child: *peak in bytes. */
static void open_in_child(const char *spec, int64_t n_images, int64_t n_texts, int64_t *peak)
{
    struct rusage use;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct dataset *d = NULL;
        int rc = dataset_open(&d, spec, NULL);
        bool good = rc == 0 && d->n_images == n_images && d->n_texts == n_texts;
        if (!good)
            fprintf(stderr, "%s: %d %s, %s\n", spec, rc, err_text(), d ? d->description : "");
        _exit(good ? 0 : 1);
    }
    assert_int_equal(wait4(pid, &status, 0, &use), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    *peak = (int64_t)use.ru_maxrss * 1024;
}

static void large_json(void **state UNUSED)
{
    char spec[600];
    struct stat st;
    int64_t peak = 0;
    write_json();
    put_text("large/val2014/p.png", "");
    snprintf(spec, sizeof spec, "coco:%s", in_scratch("large/dataset.json"));
    assert_int_equal(stat(in_scratch("large/dataset.json"), &st), 0);
    assert_true(st.st_size > 100000000);
    open_in_child(spec, N_JSON, 5 * N_JSON, &peak);
    print_message("%lld MB of JSON: peak %lld MB\n", (long long)st.st_size / 1000000, (long long)peak / 1000000);
    if (MEASURES)
        assert_true(peak < 300000000);
}

static void large_table(void **state UNUSED)
{
    char spec[600], name[64];
    int64_t peak = 0;
    write_table();
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "large/val2014/%d.png", i);
        put_text(name, "");
    }
    snprintf(spec, sizeof spec, "csv:%s", in_scratch("large/rows.tsv"));
    open_in_child(spec, 1000, N_ROWS, &peak);
    print_message("a million rows: peak %lld MB\n", (long long)peak / 1000000);
    if (MEASURES)
        assert_true(peak < 600000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(large_json), cmocka_unit_test(large_table)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
