/* bench/bench_pixels.c: our half of bench/pixels: JPEG files to the float tensors of an image encoder, on one thread.
 *
 *   bench_pixels SIZE OUT.f32 FILE...
 *
 * Prints the seconds for all files, their number, and the most memory the process has held, in MiB. OUT.f32 gets the
 * tensors, so that bench/pixels can compare them with the peer's byte by byte; "-": none. */
#include "data/data.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    struct preprocess p;
    struct rusage used;
    int size = argc > 3 ? atoi(argv[1]) : 0, rc = 0;
    if (size < 1) {
        fprintf(stderr, "usage: bench_pixels SIZE OUT.f32 FILE...\n");
        return 2;
    }
    size_t each = 3 * (size_t)size * (size_t)size, n = (size_t)argc - 3;
    bool keep = strcmp(argv[2], "-") != 0;
    float *out = mem_calloc(keep ? n : 1, each * sizeof *out);
    preprocess_clip(&p, size);
    p.path = PICTURE_OPENAI;
    if (!out || preprocess_file(&p, argv[3], out) < 0) { /* the decoder's library is loaded */
        fprintf(stderr, "bench_pixels: %s\n", err_text());
        return 1;
    }
    double started = clock_seconds();
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = preprocess_file(&p, argv[3 + i], out + (keep ? i * each : 0));
    double seconds = clock_seconds() - started;
    if (rc == 0 && keep)
        rc = atomic_put(argv[2], out, n * each * sizeof *out);
    if (rc < 0) {
        fprintf(stderr, "bench_pixels: %s\n", err_text());
        return 1;
    }
    getrusage(RUSAGE_SELF, &used);
    printf("%.6f %zu %.1f\n", seconds, n, (double)used.ru_maxrss / 1024);
    mem_free(out);
    return 0;
}
