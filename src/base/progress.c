/* base/progress.c: how far, how fast, how long still.
 *
 * On a terminal one line, redrawn at most ten times a second; elsewhere one log line for each tenth of the work (or
 * each ten seconds when the end is not known), so that a log file stays readable. The rate is the mean since the
 * start: it moves little and is right at the end. Rejected: a smoothed recent rate, whose "left" jumps about. */
#define _DEFAULT_SOURCE /* TIOCGWINSZ is not POSIX */
#include "base/base.h"
#include "base/console.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS 10.0

struct progress {
    pthread_mutex_t lock;
    char label[64], unit[24], note[160];
    int64_t total, done, skipped;
    double start, last;
    int tenth; /* the last tenth that a line told about */
    bool terminal;
};

static void time_text(char *out, size_t n, double seconds)
{
    int64_t s = seconds < 0 ? 0 : seconds > 1e9 ? 1000000000 : (int64_t)(seconds + 0.5);

    if (s >= 86400)
        snprintf(out, n, "%" PRId64 "d%02dh", s / 86400, (int)(s / 3600 % 24));
    else if (s >= 3600)
        snprintf(out, n, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else if (s >= 60)
        snprintf(out, n, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else
        snprintf(out, n, "%ds", (int)s);
}

/* Three digits that matter, without exponents: 0.12, 3.4, 56, 7890. */
static void rate_text(char *out, size_t n, double rate)
{
    snprintf(out, n, "%.*f", rate < 1 ? 2 : rate < 10 ? 1 : 0, rate);
}

static void add_gauge(struct str *b, const struct progress *p)
{
    enum { WIDTH = 20 };
    int full = p->done >= p->total ? WIDTH : (int)((double)p->done / (double)p->total * WIDTH);

    str_add_c(b, '[');
    for (int i = 0; i < WIDTH; i++)
        str_add_c(b, i < full ? '=' : i == full ? '>' : ' ');
    str_add(b, "]  ");
}

/* `label  done/total  rate unit/s  left 1m05s  note`; at the end `in 2m10s` in place of what is left. */
static void compose(struct str *b, const struct progress *p, double now, bool end)
{
    double spent = now - p->start, rate = spent > 0 ? (double)(p->done - p->skipped) / spent : 0;
    char text[32];

    str_add(b, "%s  ", p->label);
    if (p->terminal && p->total > 0 && !end)
        add_gauge(b, p);
    if (p->total > 0)
        str_add(b, "%" PRId64 "/%" PRId64, p->done, p->total);
    else
        str_add(b, "%" PRId64, p->done);
    rate_text(text, sizeof text, rate);
    str_add(b, "  %s %s/s", text, p->unit);
    if (end) {
        time_text(text, sizeof text, spent);
        str_add(b, "  in %s", text);
    } else if (p->total > 0 && rate > 0) {
        time_text(text, sizeof text, (double)(p->total - p->done) / rate);
        str_add(b, "  left %s", text);
    }
    if (p->note[0])
        str_add(b, "  %s", p->note);
}

/* A line wider than the terminal would wrap, and each redraw would then leave a copy behind. */
static void clip(struct str *b)
{
    struct winsize w;
    size_t columns = 79, seen = 0;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
        columns = w.ws_col - 1u;
    for (size_t i = 0; i < b->n; i++) {
        if (((unsigned char)b->s[i] & 0xc0) == 0x80)
            continue;
        if (seen++ == columns) {
            b->n = i;
            b->s[i] = 0;
        }
    }
}

static void show(struct progress *p, double now, bool end)
{
    struct str b = {0};

    compose(&b, p, now, end);
    if (b.s && !b.failed) {
        if (p->terminal && !end) {
            clip(&b);
            console_bar(b.s);
        } else {
            if (p->terminal)
                console_bar(NULL);
            log_info("%s", b.s);
        }
    }
    str_free(&b);
    p->last = now;
}

static int tenth_now(const struct progress *p)
{
    return p->total > 0 ? (int)((double)p->done / (double)p->total * 10 + 1e-9) : 0;
}

int progress_open(struct progress **out, const char *label, int64_t total, const char *unit)
{
    struct progress *p = mem_calloc(1, sizeof *p);

    *out = p; /* NULL is a progress that shows nothing: the work goes on without it */
    if (!p)
        return 0;
    pthread_mutex_init(&p->lock, NULL);
    str_safe(p->label, sizeof p->label, label);
    str_safe(p->unit, sizeof p->unit, unit);
    p->total = total;
    p->start = p->last = clock_seconds();
    p->terminal = console_is_terminal() && console_shows_progress();
    if (p->terminal)
        show(p, p->start, false);
    return 0;
}

static void advance(struct progress *p, int64_t n, int64_t skipped)
{
    double now;

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->done += n;
    p->skipped += skipped;
    now = clock_seconds();
    if (p->terminal) {
        if (now - p->last >= REDRAW_SECONDS)
            show(p, now, false);
    } else if (p->total > 0 && tenth_now(p) > p->tenth && p->done < p->total) {
        p->tenth = tenth_now(p);
        if (!skipped)
            show(p, now, false);
    } else if (p->total <= 0 && now - p->last >= LINE_SECONDS) {
        show(p, now, false);
    }
    pthread_mutex_unlock(&p->lock);
}

void progress_add(struct progress *p, int64_t n)
{
    advance(p, n, 0);
}

void progress_skip(struct progress *p, int64_t n)
{
    advance(p, n, n);
}

void progress_note(struct progress *p, const char *fmt, ...)
{
    char text[sizeof p->note];
    va_list ap;

    if (!p)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&p->lock);
    str_safe(p->note, sizeof p->note, text);
    pthread_mutex_unlock(&p->lock);
}

void progress_close(struct progress **p)
{
    if (!*p)
        return;
    show(*p, clock_seconds(), true);
    pthread_mutex_destroy(&(*p)->lock);
    mem_free(*p);
    *p = NULL;
}
