/* bench/bench_open.c: how long it takes to open a checkpoint. bench_open DIR answers lines on stdin, seconds on stdout:
 *
 *     source   configuration read, weight files mapped, every name, shape and offset checked: what `inspect` and every
 *              refusal of a wrong folder wait for
 *     model    and the weights laid out for the engine, checked to be finite, tokenizer and preprocessing read
 *     memory   private memory in MiB that `source` took, to show that no weight was copied
 *
 * bench_open CONFIG DIR writes a model with random weights first. */
#include "model/model.h"

#include <stdio.h>
#include <string.h>

/* RssAnon of this process in KiB. */
static long anonymous(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static int one(const char *what, const char *dir, const struct engine *e)
{
    double start = clock_seconds();
    if (!strcmp(what, "model")) {
        struct model *m = NULL;
        TRY(model_open(&m, dir, e));
        printf("%.6f\n", clock_seconds() - start);
        model_close(&m);
        return 0;
    }
    struct model_source s;
    long before = anonymous();
    TRY(source_open(&s, dir));
    double seconds = clock_seconds() - start;
    if (!strcmp(what, "memory"))
        printf("%.3f\n", (double)(anonymous() - before) / 1024.0);
    else
        printf("%.6f\n", seconds);
    source_close(&s);
    return 0;
}

static int make(const char *config_path, const char *dir, const struct engine *e)
{
    json_t *config = NULL;
    struct model *m = NULL;
    TRY(json_read_file(&config, config_path));
    int rc = model_init(&m, config, config_path, NULL, e, 1);
    json_decref(config);
    TRY(rc);
    rc = path_make_dirs(dir);
    if (rc == 0)
        rc = model_save(m, dir, DT_F32);
    model_close(&m);
    return rc;
}

int main(int argc, char **argv)
{
    char line[64];
    const struct engine *e;
    if (argc < 2 || argc > 3 || engine_open(&e, NULL, 0) < 0)
        return 2;
    if (argc == 3 && make(argv[1], argv[2], e) < 0) {
        fprintf(stderr, "%s\n", err_text());
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (one(line, argv[argc - 1], e) < 0) {
            fprintf(stderr, "%s\n", err_text());
            return 1;
        }
        fflush(stdout);
    }
    return 0;
}
