/* fuzz/replay.c: runs a harness over files, without libFuzzer: `fuzz_NAME FILE-OR-FOLDER...`.
 *
 * A test of the ordinary suite: whatever was found once stays found. Fails when a folder's seeds are all refused (or
 * all accepted), because then they no longer lead into the parser. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long n_files;

static int run_file(const char *path)
{
    size_t n = 0, cap = 1 << 16;
    FILE *f = fopen(path, "rb");
    uint8_t *block = malloc(cap), *data = NULL;
    if (!f || !block) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        free(block);
        return 1;
    }
    for (size_t got; (got = fread(block + n, 1, cap - n, f)) > 0;) {
        n += got;
        if (n == cap && !(block = realloc(block, cap *= 2)))
            abort();
    }
    fclose(f);
    data = malloc(n ? n : 1); /* exactly so large: one byte too many is seen by the sanitizer */
    if (!data)
        abort();
    memcpy(data, block, n);
    free(block);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
    n_files++;
    return 0;
}

static int run(const char *path)
{
    struct dirent **names = NULL;
    int bad = 0, n = path_is_dir(path) ? scandir(path, &names, NULL, alphasort) : -1;
    if (n < 0)
        return run_file(path);
    for (int i = 0; i < n; i++) {
        char below[4096];
        if (names[i]->d_name[0] != '.' && path_join(below, sizeof below, path, names[i]->d_name) == 0)
            bad |= run(below);
        free(names[i]);
    }
    free(names);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = argc < 2;
    bool folder = false;
    if (argc < 2)
        fprintf(stderr, "usage: %s FILE-OR-FOLDER...\n", argv[0]);
    for (int i = 1; i < argc; i++) {
        folder |= path_is_dir(argv[i]);
        bad |= run(argv[i]);
    }
    printf("%ld files: %ld accepted, %ld refused\n", n_files, fuzz_accepted, fuzz_refused);
    if (folder && n_files > 3 && (!fuzz_accepted || !fuzz_refused)) {
        fprintf(stderr, "the seeds do not lead into the parser: one verdict for all\n");
        bad = 1;
    }
    return bad;
}
