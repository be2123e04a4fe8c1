/* base/err.c: the message of the thread's last failure.
 *
 * A function that meets the world's fault returns a negative code and leaves one sentence here; callers may add
 * frames of context. One fixed kilobyte a thread, so that reporting "out of memory" never needs memory.
 * Rejected: a heap-allocated chain of error objects (can fail while failing, needs an owner). */
#include "base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ERR_BYTES = 1024 };

static _Thread_local char message[ERR_BYTES];

/* vsnprintf counts bytes; a text cut there could end inside a character. Cut at the character and say so. */
static void mark_cut(char *s, size_t cap)
{
    static const char dots[] = "...";
    size_t n = cap - sizeof dots;

    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    memcpy(s + n, dots, sizeof dots);
}

/* Formats through a buffer of its own: the arguments may point into the old message. Messages quote names and cells of
 * strangers' files, sometimes cut by a precision in the middle of a character: what is no printable UTF-8 is escaped
 * here, once, so that a message can go to a terminal, into JSON and into Python as it is. */
static void put(size_t at, const char *fmt, va_list ap)
{
    char text[ERR_BYTES], safe[4 * ERR_BYTES];
    int n = vsnprintf(text, sizeof text, fmt, ap);

    if (n < 0)
        snprintf(text, sizeof text, "%s", fmt);
    str_safe(safe, sizeof safe, text);
    if (snprintf(message + at, sizeof message - at, "%s", safe) >= (int)(sizeof message - at) || n >= (int)sizeof text)
        mark_cut(message, sizeof message);
}

int err_set(int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put(0, fmt, ap);
    va_end(ap);
    return code;
}

int err_while(int code, const char *fmt, ...)
{
    char frame[ERR_BYTES], old[ERR_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(frame, sizeof frame, fmt, ap);
    va_end(ap);
    memcpy(old, message, sizeof old);
    if (!old[0])
        snprintf(old, sizeof old, "%s", err_name(code));
    return err_set(code, "%s (while %s)", old, frame);
}

int err_errno(int code, const char *fmt, ...)
{
    int why = errno;
    char text[ERR_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *next = "";
    if (why == ENOSPC || why == EDQUOT) {
        code = ERR_SPACE;
        next = "; make room there or write elsewhere";
    } else if (why == EFBIG) {
        code = ERR_SPACE;
        next = "; is the size of files limited (ulimit -f)?";
    } else if (why == EMFILE || why == ENFILE) {
        code = ERR_FAIL; /* says nothing about the file */
        next = "; allow more open files (ulimit -n)";
    } else if (why == ENOMEM) {
        code = ERR_MEMORY;
    }
    return err_set(code, "%s: %s%s", text, strerror(why), next);
}

const char *err_text(void)
{
    return message;
}

void err_clear(void)
{
    message[0] = 0;
}

const char *err_name(int code)
{
    switch (code) {
#define X(name, value, exit_code, text)                                                                                \
    case name:                                                                                                         \
        return #name;
        ERR_LIST(X)
#undef X
    }
    return code < 0 ? "ERR_FAIL" : "OK";
}

int err_exit_code(int code)
{
    switch (code) {
#define X(name, value, exit_code, text)                                                                                \
    case name:                                                                                                         \
        return exit_code;
        ERR_LIST(X)
#undef X
    }
    return code < 0 ? 1 : 0;
}

void bug_at(const char *file, int line, const char *what)
{
    fprintf(stderr, "meridian: internal fault at %s:%d: %s\n", file, line, what);
    abort();
}
