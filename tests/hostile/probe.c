/* tests/hostile/probe.c: opens files of strangers and says what happened; the Python tests of this folder drive it.
 *
 * Lines "KIND<TAB>PATH" on stdin; for each one line on stdout:
 *
 *   how <TAB> code <TAB> KiB <TAB> ms <TAB> message
 *
 * how: ok, "signal N", "exit N" (a sanitizer's report) or timeout. code: 0 or the negative error. KiB: growth of the
 * peak memory over the start (with --together of all files so far; 0 then under a sanitizer). Each file has a process
 * of its own; with --together all share one, for many small ones, and a crash ends the conversation. Children have 2
 * GiB of address space (not under a sanitizer, whose shadow is larger than that) and 30 seconds. */
#define _DEFAULT_SOURCE /* wait4 */
#include "data/data.h"
#include "io/io.h"
#include "kernel/kernel.h"
#include "model/model.h"
#include "space/space.h"
#include "train/train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const struct engine *engine;

static int open_safetensors(const char *path)
{
    struct st_file *f = NULL;
    int rc = st_open(&f, path);
    for (int64_t i = 0; rc == 0 && i < st_count(f); i++)
        BUG_ON(st_find(f, st_at(f, i)->name) != st_at(f, i));
    st_close(&f);
    return rc;
}

static int open_npy(const char *path)
{
    struct npy a = {0};
    int rc = npy_open(&a, path);
    if (rc == 0)
        npy_close(&a);
    return rc;
}

static int open_table(const char *path)
{
    struct table t = {0};
    int rc = table_read(&t, path);
    if (rc == 0)
        table_free(&t);
    return rc;
}

static int open_json(const char *path)
{
    json_t *o = NULL;
    int rc = json_read_file(&o, path);
    json_decref(o);
    return rc;
}

static int open_preprocessor(const char *path)
{
    struct preprocess p;
    return preprocess_read(&p, path);
}

static int open_tokenizer(const char *path)
{
    struct tokenizer *t = NULL;
    int rc = tokenizer_open(&t, path, NULL);
    tokenizer_close(&t);
    return rc;
}

/* the vocabulary of folder PATH, and PATH/text as one caption */
static int open_encode(const char *path)
{
    struct tokenizer *t = NULL;
    struct map m;
    char at[4096];
    int32_t ids[77];
    bool cut = false;
    TRY(tokenizer_open(&t, path, NULL));
    int rc = path_join(at, sizeof at, path, "text");
    if (rc == 0)
        rc = map_open(&m, at);
    if (rc == 0) {
        char *text = mem_alloc(m.size + 1);
        BUG_ON(!text);
        memcpy(text, m.data, m.size);
        text[m.size] = '\0';
        rc = tokenizer_encode_context(t, text, 77, ids, &cut);
        mem_free(text);
        map_close(&m);
    }
    tokenizer_close(&t);
    return rc;
}

static int open_set(const char *path)
{
    struct set *s = NULL;
    int rc = set_open(&s, path);
    set_close(&s);
    return rc;
}

static int open_picture(const char *path)
{
    struct image im = {0};
    int rc = image_read_rgb(&im, path);
    if (rc == 0)
        image_free(&im);
    return rc;
}

static int open_model(const char *path)
{
    struct model *m = NULL;
    int rc = model_open(&m, path, engine);
    model_close(&m);
    return rc;
}

/* PATH is a SPEC; the first pictures are read as well */
static int open_dataset(const char *path)
{
    struct dataset *d = NULL;
    int rc = dataset_open(&d, path, NULL), bad = 0;
    for (int64_t i = 0; rc == 0 && i < d->n_images && i < 20; i++) {
        struct image im = {0};
        int got = d->read_image(d, i, &im, NULL);
        if (got == 0)
            image_free(&im);
        else
            bad = got;
    }
    dataset_close(&d);
    return rc < 0 ? rc : bad;
}

#define MODEL_FAMILY(f) extern const struct model_family f;
#include "model/model_list.h"
#undef MODEL_FAMILY
static const struct model_family *const families[] = {
#define MODEL_FAMILY(f) &f,
#include "model/model_list.h"
#undef MODEL_FAMILY
};

/* A configuration to a wired model without weights, as "hf" unless its name says open_clip. */
static int open_config(const char *path)
{
    enum layout l = strstr(path, "open_clip") ? LAYOUT_OPEN_CLIP : LAYOUT_HF;
    json_t *config = NULL;
    TRY(json_read_file(&config, path));
    int rc = err_set(ERR_DATA, "%s: no family takes it", path);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        if (!families[i]->accepts(l, config))
            continue;
        struct model *m = mem_calloc(1, sizeof *m);
        BUG_ON(!m || arena_open(&m->arena, "model") < 0);
        m->family = families[i];
        m->layout = l;
        m->config = json_incref(config);
        rc = families[i]->build(m, config, path);
        if (rc == 0)
            rc = families[i]->bind(m, l, &m->params);
        model_close(&m);
        break;
    }
    json_decref(config);
    return rc;
}

/* checkpoints/ of folder PATH, into a model of the tiny configuration PATH/config.json */
static int open_checkpoint(const char *path)
{
    struct model *m = NULL;
    struct optimizer o = {0};
    struct cursor c;
    json_t *config = NULL, *options = json_pack("{s:i}", "batch", 8);
    char at[4096];
    bool found = false;
    TRY(path_join(at, sizeof at, path, "config.json"));
    TRY(json_read_file(&config, at));
    int rc = model_init(&m, config, at, NULL, engine, 1);
    if (rc == 0)
        rc = optimizer_open(&o, &m->params);
    if (rc == 0)
        rc = checkpoint_load(path, m, &o, NULL, &c, options, &found);
    if (rc == 0 && !found)
        rc = err_set(ERR_DATA, "%s: no complete checkpoint", path);
    optimizer_close(&o);
    model_close(&m);
    json_decref(config);
    json_decref(options);
    return rc;
}

static int is_sanitized(const char *path UNUSED)
{
    return SANITIZED ? err_set(ERR_FAIL, "sanitized") : 0;
}

static const struct {
    const char *name;
    int (*open)(const char *path);
} kinds[] = {
    {"safetensors", open_safetensors},
    {"npy", open_npy},
    {"table", open_table},
    {"json", open_json},
    {"preprocessor", open_preprocessor},
    {"tokenizer", open_tokenizer},
    {"encode", open_encode},
    {"set", open_set},
    {"picture", open_picture},
    {"model", open_model},
    {"dataset", open_dataset},
    {"config", open_config},
    {"checkpoint", open_checkpoint},
    {"sanitized", is_sanitized},
};

static long peak_kib(void)
{
    struct rusage u, worker;
    getrusage(RUSAGE_SELF, &u);
    getrusage(RUSAGE_CHILDREN, &worker); /* the confined decoder */
    return u.ru_maxrss > worker.ru_maxrss ? u.ru_maxrss : worker.ru_maxrss;
}

static void answer(FILE *to, const char *how, int code, long kib, double ms, const char *message)
{
    fprintf(to, "%s\t%d\t%ld\t%.0f\t%s\n", how, code, kib, ms, message);
    fflush(to);
}

static int run(const char *kind, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (!strcmp(kinds[i].name, kind))
            return kinds[i].open(path);
    return err_set(ERR_USAGE, "probe: unknown kind \"%s\"", kind);
}

static void child(const char *kind, const char *path, int to, long base, double start)
{
    struct rlimit space = {(rlim_t)2 << 30, (rlim_t)2 << 30};
    FILE *out = fdopen(to, "w");
    if (!SANITIZED)
        setrlimit(RLIMIT_AS, &space);
    alarm(30);
    int code = run(kind, path);
    answer(out, "ok", code, peak_kib() - base, (clock_seconds() - start) * 1e3, code < 0 ? err_text() : "");
    fclose(out);
    exit(0); /* so that leaks are reported */
}

static void alone(const char *kind, const char *path)
{
    int ends[2], status = 0;
    char line[8192] = "", how[64] = "ok";
    double start = clock_seconds();
    if (pipe(ends) != 0)
        exit(2);
    fflush(stdout);
    long base = peak_kib();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(kind, path, ends[1], base, start);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    if (!fgets(line, sizeof line, in))
        line[0] = '\0';
    fclose(in);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(how, sizeof how, "timeout");
    else if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status))
        snprintf(how, sizeof how, "exit %d", WEXITSTATUS(status));
    if (strcmp(how, "ok") || !line[0])
        answer(stdout, line[0] || strcmp(how, "ok") ? how : "silent", 0, 0, (clock_seconds() - start) * 1e3, "");
    else {
        fputs(line, stdout);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static char line[16384];
    bool together = argc > 1 && !strcmp(argv[1], "--together");
    long base = peak_kib();
    log_level(LOG_ERROR);
    if (engine_open(&engine, "ref", 1) < 0)
        return 2;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *tab = strchr(line, '\t');
        if (!tab)
            return 2;
        *tab = '\0';
        if (together) {
            double start = clock_seconds();
            err_clear();
            int code = run(line, tab + 1);
            answer(stdout, "ok", code, SANITIZED ? 0 : peak_kib() - base, (clock_seconds() - start) * 1e3,
                   code < 0 ? err_text() : "");
        } else
            alone(line, tab + 1);
    }
    return 0;
}
