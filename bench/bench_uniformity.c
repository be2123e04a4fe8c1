/* Times uniformity of n x d random rows and prints the peak memory: the promise is 100 000 x 512 in less than 1 GiB.
 *
 *   bench_uniformity [rows = 100000] [width = 512]
 *
 * One line on stdout, tab separated: rows, width, seconds, peak MiB, value, low, high. */
#include "eval/eval.h"

#include <stdlib.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    int64_t n = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000, d = argc > 2 ? strtoll(argv[2], NULL, 10) : 512;
    struct interval u;
    struct rusage usage;
    size_t count;
    if (n < 2 || d < 1 || !mul_ok((size_t)n, (size_t)d, &count) || !mul_ok(count, sizeof(float), &(size_t){0})) {
        fprintf(stderr, "usage: bench_uniformity [rows >= 2] [width >= 1]\n");
        return 2;
    }
    float *x = mem_alloc(count * sizeof *x);
    if (!x) {
        fprintf(stderr, "bench_uniformity: %s\n", err_text());
        return 1;
    }
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(rng_uniform(&r) - 0.45);
    double start = clock_seconds();
    int rc = eval_uniformity(x, n, d, NULL, &u);
    double seconds = clock_seconds() - start;
    mem_free(x);
    if (rc < 0) {
        fprintf(stderr, "bench_uniformity: %s\n", err_text());
        return err_exit_code(rc);
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("%lld\t%lld\t%.1f\t%.0f\t%.6f\t%.6f\t%.6f\n", (long long)n, (long long)d, seconds,
           (double)usage.ru_maxrss / 1024, u.value, u.low, u.high);
    return 0;
}
