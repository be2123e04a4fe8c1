/* base/log.c: one line a message, to one replaceable sink.
 *
 * stderr by default, where control bytes of names from files are made visible (they could otherwise drive the
 * reader's terminal). A progress bar that is on the screen is wiped before a line and drawn again after it.
 * Rejected: time stamps (run.jsonl has them), one file a room (a run has one story). */
#include "base/base.h"
#include "base/console.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 2048 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level level_now = LOG_INFO;
static void (*sink_now)(void *ctx, enum log_level level, const char *text);
static void *sink_ctx;
static char bar[512];

bool console_is_terminal(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
}

bool console_colour(void)
{
    const char *no = getenv("NO_COLOR");

    return console_is_terminal() && !(no && no[0]);
}

bool console_shows_progress(void)
{
    bool shows;

    pthread_mutex_lock(&lock);
    shows = !sink_now && level_now >= LOG_INFO;
    pthread_mutex_unlock(&lock);
    return shows;
}

void console_bar(const char *text)
{
    pthread_mutex_lock(&lock);
    if (text || bar[0])
        fprintf(stderr, "\r\033[K%s", text ? text : "");
    fflush(stderr);
    snprintf(bar, sizeof bar, "%s", text ? text : "");
    pthread_mutex_unlock(&lock);
}

static void to_stderr(enum log_level level, const char *text)
{
    static const char *const name[] = {"error: ", "warning: ", "", "debug: "};
    static const char *const colour[] = {"\033[31m", "\033[33m", "", "\033[2m"};
    bool paint = name[level][0] && console_colour();
    char safe[LINE_BYTES];

    str_safe(safe, sizeof safe, text);
    fprintf(stderr, "%s%s%s%s%s\n%s", bar[0] ? "\r\033[K" : "", paint ? colour[level] : "", name[level],
            paint ? "\033[0m" : "", safe, bar);
    fflush(stderr);
}

void log_at(enum log_level level, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list ap;

    BUG_ON((unsigned)level > LOG_DEBUG);
    pthread_mutex_lock(&lock);
    if (level <= level_now) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        if (sink_now)
            sink_now(sink_ctx, level, text);
        else
            to_stderr(level, text);
    }
    pthread_mutex_unlock(&lock);
}

void log_level(enum log_level level)
{
    pthread_mutex_lock(&lock);
    level_now = level;
    pthread_mutex_unlock(&lock);
}

void log_sink(void (*sink)(void *ctx, enum log_level level, const char *text), void *ctx)
{
    pthread_mutex_lock(&lock);
    sink_now = sink;
    sink_ctx = ctx;
    pthread_mutex_unlock(&lock);
}
