/* bench/bench_tokenize.c: our half of bench/tokenize.
 *
 *   bench_tokenize FOLDER LINES.txt
 *
 * Opens the tokenizer, reads the lines, encodes them one by one on one thread, and prints: seconds for the encoding
 * alone, texts, ids, and a sum over ids and places that the other program must reach too. */
#include "data/data.h"

#include <string.h>

static int measure(struct tokenizer *t, char *text, size_t n)
{
    int64_t texts = 0, count = 0;
    uint64_t sum = 0;
    double spent = 0;
    for (char *p = text, *end = text + n; p < end; texts++) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        int32_t *ids;
        int64_t k;
        *stop = 0;
        double start = clock_seconds();
        TRY(tokenizer_encode(t, p, &ids, &k));
        spent += clock_seconds() - start;
        for (int64_t i = 0; i < k; i++)
            sum += (uint64_t)ids[i] * (uint64_t)(count++ % 997 + 1);
        mem_free(ids);
        p = stop + 1;
    }
    printf("%.6f %lld %lld %llu\n", spent, (long long)texts, (long long)count, (unsigned long long)sum);
    return 0;
}

int main(int argc, char **argv)
{
    struct tokenizer *t = NULL;
    struct map m = {0};
    struct str copy = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: bench_tokenize FOLDER LINES.txt\n");
        return 2;
    }
    int rc = tokenizer_open(&t, argv[1], NULL);
    if (rc == 0)
        rc = map_open(&m, argv[2]);
    if (rc == 0) {
        str_add_n(&copy, (const char *)m.data, m.size);
        if (copy.n && copy.s[copy.n - 1] != '\n')
            str_add_c(&copy, '\n');
        rc = copy.failed ? ERR_MEMORY : measure(t, copy.s, copy.n);
    }
    if (rc < 0)
        fprintf(stderr, "bench_tokenize: %s\n", err_text());
    str_free(&copy);
    map_close(&m);
    tokenizer_close(&t);
    return rc < 0;
}
