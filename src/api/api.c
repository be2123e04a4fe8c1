/* api/api.c: include/meridian.h over the rooms. No logic of its own: it checks arguments, borrows arrays, and calls.
 *
 * One lock around everything that computes: the rooms below have one compute thread, and a library's caller may have
 * many. Structs of options carry their size; fields beyond what the caller knew keep their defaults. The library is
 * silent until mrd_log is called, because a host program's stderr is not ours.
 *
 * fork copies the thread that calls it and no other. Of the OpenMP teams the child has the memory but not the threads,
 * so a thread that led one would wait for ever; other threads of the child start their own. And a lock that another
 * thread held stays held. Both are found out here, at the fork, and become an error. The lock is only tried: a program
 * that forks must not wait for a long call to end.
 * Rejected: a C struct for every measure (it would freeze their names into the ABI); JSON can grow. */
#include "api/api.h"

#include "meridian.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define X(name, value, exit_code, text) _Static_assert(MRD_##name == value, "codes of meridian.h and base.h agree");
ERR_LIST(X)
#undef X

static pthread_mutex_t compute = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool broken;                     /* forked while another thread computed */
static _Thread_local bool leads, stale; /* this thread has computed; and then it was forked */
static _Thread_local bool held;         /* by the fork that is going on */

const char *mrd_version(void)
{
    return MERIDIAN_VERSION;
}

int mrd_abi(void)
{
    return MRD_ABI;
}

const char *mrd_error(void)
{
    return err_text();
}

void mrd_free(char *text)
{
    free(text);
}

void mrd_interrupt(void)
{
    signal_interrupt();
}

/* ---- fork ---- */

static void before_fork(void)
{
    held = pthread_mutex_trylock(&compute) == 0;
}

static void after_fork(void)
{
    if (held)
        pthread_mutex_unlock(&compute);
}

static void after_fork_child(void)
{
    after_fork();
    broken = broken || !held;
    stale = stale || leads;
}

/* ---- messages ---- */

static mrd_log_sink user_sink; /* written and read under the log's own lock and before the first message */
static void *user_ctx;

static void silent(void *ctx UNUSED, enum log_level level UNUSED, const char *text UNUSED) {}

static void forward(void *ctx, enum log_level level, const char *text)
{
    user_sink(ctx, (int)level, text);
}

static void start(void)
{
    log_sink(silent, NULL);
    pthread_atfork(before_fork, after_fork, after_fork_child);
}

void mrd_log(mrd_log_sink sink, void *ctx)
{
    pthread_once(&once, start);
    if (broken)
        return;
    pthread_mutex_lock(&compute); /* no message is on its way */
    log_sink(silent, NULL);
    user_sink = sink;
    user_ctx = ctx;
    if (sink)
        log_sink(forward, user_ctx);
    pthread_mutex_unlock(&compute);
}

/* ---- calls ---- */

void api_begin(void)
{
    pthread_once(&once, start);
    err_clear();
    signal_watch();
}

int api_lock(void)
{
    if (broken)
        FAIL(ERR_UNSUPPORTED, "this process was forked while another thread was computing; start it afresh (exec, or "
                              "Python's start method \"spawn\")");
    if (stale)
        FAIL(ERR_UNSUPPORTED, "this thread has computed and was then forked: its compute threads stayed behind; call "
                              "from a new thread, or start the process afresh (exec)");
    pthread_mutex_lock(&compute);
    int rc = signal_check();
    if (rc < 0)
        pthread_mutex_unlock(&compute);
    else
        leads = true;
    return rc;
}

bool api_lock_to_free(void)
{
    if (!broken)
        pthread_mutex_lock(&compute);
    return !broken;
}

void api_unlock(void)
{
    pthread_mutex_unlock(&compute);
}

int api_take_opt(void *into, size_t n, const void *from, const char *name)
{
    size_t size;
    if (!from)
        return 0;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > 4096)
        FAIL(ERR_USAGE, "%s: field size is %zu; set the struct up with its _INIT macro", name, size);
    memcpy(into, from, size < n ? size : n);
    return 0;
}

int api_put_text(char **out, const char *text)
{
    size_t n = strlen(text) + 1;
    char *s = malloc(n); /* mrd_free is free, as for what jansson makes */
    if (!s)
        FAIL(ERR_MEMORY, "no memory for the answer");
    memcpy(s, text, n);
    *out = s;
    return 0;
}

int api_put_json(char **out, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    if (!text)
        FAIL(ERR_MEMORY, "no memory for the answer");
    *out = text;
    return 0;
}
