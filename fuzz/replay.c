/* fuzz/replay.c: runs a harness over files, without libFuzzer: `fuzz_NAME [--cuts N] FILE-OR-FOLDER...`.
 *
 * A test of the ordinary suite: whatever was found once stays found. Fails when a folder's seeds are all refused (or
 * all accepted), because then they no longer lead into the parser.
 *
 * --cuts N: every file that is accepted is then given again, cut at each of its first N bytes, at 200 random places
 * behind, and with 500 single bits turned; of an input of several parts each is cut while the others stay. Nothing but
 * a verdict may come of it. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_CUTS = 200, FLIPS = 500 };

static long n_files, n_cut, n_cases, n_flips;
static size_t cuts;

/* In memory of exactly its size: one byte too many is seen by the sanitizer. */
static void give(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    uint8_t *data = malloc(n_a + n_b ? n_a + n_b : 1);
    if (!data)
        abort();
    memcpy(data, a, n_a);
    if (n_b)
        memcpy(data + n_a, b, n_b);
    LLVMFuzzerTestOneInput(data, n_a + n_b);
    free(data);
    n_cases++;
}

/* Part [from, to) shorter and with turned bits, what surrounds it as it was. */
static void hurt(uint8_t *data, size_t n, size_t from, size_t to, struct rng *r)
{
    size_t most = to - from < cuts ? to - from : cuts;
    for (size_t i = 0; i < most; i++)
        give(data, from + i, data + to, n - to);
    for (int i = 0; i < RANDOM_CUTS && to - from > cuts; i++)
        give(data, from + cuts + (size_t)rng_below(r, to - from - cuts), data + to, n - to);
    for (int i = 0; i < FLIPS && to > from; i++) {
        size_t at = from + (size_t)rng_below(r, to - from);
        uint8_t bit = (uint8_t)(1u << rng_below(r, 8));
        data[at] ^= bit;
        give(data, n, NULL, 0);
        data[at] ^= bit;
        n_flips++;
    }
}

static void hurt_parts(uint8_t *data, size_t n)
{
    struct rng r = rng_stream(7, RNG_TEST, 0, n);
    n_cut++;
    for (int k = 0;; k++) {
        const uint8_t *part;
        size_t n_part;
        if (!fuzz_part(data, n, k, &part, &n_part))
            break;
        hurt(data, n, (size_t)(part - data), (size_t)(part - data) + n_part, &r);
    }
}

static int run_file(const char *path)
{
    size_t n = 0, cap = 1 << 16;
    FILE *f = fopen(path, "rb");
    uint8_t *block = malloc(cap);
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
    long before = fuzz_accepted;
    give(block, n, NULL, 0);
    if (cuts && fuzz_accepted > before)
        hurt_parts(block, n);
    free(block);
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
    int bad = 0, first = argc > 2 && !strcmp(argv[1], "--cuts") ? 3 : 1;
    const char *folder = NULL;
    if (argc <= first) {
        fprintf(stderr, "usage: %s [--cuts N] FILE-OR-FOLDER...\n", argv[0]);
        return 2;
    }
    if (first == 3)
        cuts = (size_t)atol(argv[2]);
    for (int i = first; i < argc; i++) {
        folder = path_is_dir(argv[i]) ? argv[i] : folder;
        bad |= run(argv[i]);
    }
    if (folder && n_files > 3 && (!fuzz_accepted || !fuzz_refused)) {
        fprintf(stderr, "the seeds do not lead into the parser: one verdict for all\n");
        bad = 1;
    }
    const char *name = folder ? strrchr(folder, '/') : NULL;
    printf("hostile: %s %s: %ld files, %ld accepted, %ld refused, %d failures", cuts ? "F5 cuts of" : "F1 seeds of",
           name ? name + 1 : "files", n_cases, fuzz_accepted, fuzz_refused, bad);
    if (cuts)
        printf(", out of %ld files, %ld turned bits", n_cut, n_flips);
    printf("\n");
    return bad;
}
