/* kernel/engine.c: the registry of engines, and the names of activations and binary operations.
 *
 * Tables are static and filled when first opened. Opening again with another number of threads fills the table anew:
 * do that only while nothing computes. Rejected: a table a caller, which every op would have to own and free for the
 * sake of running two thread counts at once. */
#include "kernel/ref/ref.h"

#ifdef HAVE_CPU_ENGINE
#include "kernel/cpu/cpu.h"
#endif

#include <pthread.h>
#include <string.h>

static int ref_open(struct engine *e, int threads)
{
    if (threads < 0)
        FAIL(ERR_USAGE, "engine %s: %d threads; expected 0 or more (this engine always uses one)", e->name, threads);
    e->threads = 1;
    return 0;
}

static const char *ref_describe(const struct engine *e)
{
    return e->real == DT_F64 ? "plain C in double, 1 thread" : "plain C in float, 1 thread";
}

struct row {
    const char *name;
    enum dtype real;
    int (*open)(struct engine *e, int threads);
    const char *(*describe)(const struct engine *e);
};

static const struct row rows[] = {
#define X(id, type, opener, describer) {.name = #id, .real = type, .open = opener, .describe = describer},
#include "kernel/engine_list.h"
#undef X
};

enum { N_ENGINES = (int)ARRAY_LEN(rows) };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct engine tables[N_ENGINES];
static int asked[N_ENGINES]; /* threads asked for when last opened */

static void fill_ref(struct engine *e)
{
    if (e->real == DT_F64) {
#define X(part) ref_##part##_f64(e);
        REF_PART_LIST(X)
#undef X
    } else {
#define X(part) ref_##part##_f32(e);
        REF_PART_LIST(X)
#undef X
    }
}

static int open_row(int i, int threads)
{
    struct engine *e = &tables[i];
    if (e->name && asked[i] == threads)
        return 0;
    struct engine fresh = {.name = rows[i].name, .real = rows[i].real, .threads = 1};
    fill_ref(&fresh);
    TRY_IN(rows[i].open(&fresh, threads), "opening engine %s", rows[i].name);
    *e = fresh;
    asked[i] = threads;
    return 0;
}

int engine_open(const struct engine **e, const char *name, int threads)
{
    const char *words[N_ENGINES];
    if (!name)
        name = rows[0].name; /* the list begins with the fastest */
    for (int i = 0; i < N_ENGINES; i++) {
        words[i] = rows[i].name;
        if (strcmp(name, rows[i].name) != 0)
            continue;
        (void)pthread_mutex_lock(&lock);
        int rc = open_row(i, threads);
        (void)pthread_mutex_unlock(&lock);
        TRY(rc);
        *e = &tables[i];
        return 0;
    }
    const char *near = str_nearest(name, words, N_ENGINES);
    FAIL(ERR_UNSUPPORTED, "engine \"%s\" is not in this build; expected one of %s%s%s%s", name, engine_names(),
         near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

const char *engine_names(void)
{
#define X(id, type, opener, describer) ", " #id
    static const char names[] =
#include "kernel/engine_list.h"
        ;
#undef X
    return names + 2;
}

const char *engine_describe(const struct engine *e)
{
    for (int i = 0; i < N_ENGINES; i++)
        if (strcmp(e->name, rows[i].name) == 0)
            return rows[i].describe(e);
    return e->name;
}

const char *act_name(enum act a)
{
    static const char *const names[N_ACTS] = {
        [ACT_NONE] = "none",
        [ACT_GELU] = "gelu",
        [ACT_QUICK_GELU] = "quick_gelu",
        [ACT_GELU_TANH] = "gelu_tanh",
        [ACT_RELU] = "relu",
        [ACT_TANH] = "tanh",
        [ACT_SIGMOID] = "sigmoid",
        [ACT_SOFTPLUS] = "softplus",
        [ACT_EXP] = "exp",
        [ACT_LOG] = "log",
        [ACT_SQRT] = "sqrt",
        [ACT_RSQRT] = "rsqrt",
        [ACT_SQUARE] = "square",
        [ACT_ABS] = "abs",
        [ACT_NEG] = "neg",
        [ACT_RECIP] = "recip",
        [ACT_LGAMMA] = "lgamma",
        [ACT_DIGAMMA] = "digamma",
        [ACT_SIN] = "sin",
        [ACT_COS] = "cos",
        [ACT_LOG_SIGMOID] = "log_sigmoid",
    };
    BUG_ON(a >= N_ACTS);
    return names[a];
}

const char *binary_name(enum binary b)
{
    static const char *const names[N_BINARIES] = {
        [BIN_ADD] = "add", [BIN_SUB] = "sub", [BIN_MUL] = "mul", [BIN_DIV] = "div",
        [BIN_MAX] = "max", [BIN_MIN] = "min", [BIN_POW] = "pow",
    };
    BUG_ON(b >= N_BINARIES);
    return names[b];
}
