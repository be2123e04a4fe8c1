/* base/signal.c: Ctrl-C keeps the work.
 *
 * The handler only sets a flag; loops ask between two steps and leave through their usual error path, so files are
 * closed and checkpoints written. A second signal restores the default action and kills. Interrupted system calls
 * restart: no reader needs to know about EINTR.
 *
 * The program catches signals; a library may not take them from its host. There the host says when to stop, and that
 * concerns the calls that run at that moment, not the next ones. So interruptions are counted, and a thread compares
 * the count with the one at the start of its call. Rejected: a flag that somebody resets (a call that begins between
 * setting and resetting would fall to it, or escape it). */
#include "base/base.h"

#include <signal.h>
#include <stdatomic.h>

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "signal_interrupt may be called by a signal handler");

static volatile sig_atomic_t caught;
static atomic_uint interruptions;
static _Thread_local bool watching;
static _Thread_local unsigned seen;

static void on_signal(int sig)
{
    if (caught) {
        signal(sig, SIG_DFL);
        raise(sig); /* delivered when this handler returns */
    }
    caught = sig;
}

void signal_catch(void)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    caught = 0;
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

void signal_interrupt(void)
{
    atomic_fetch_add(&interruptions, 1);
}

void signal_watch(void)
{
    watching = true;
    seen = atomic_load(&interruptions);
}

static bool interrupted(void)
{
    return watching && seen != atomic_load(&interruptions);
}

bool signal_caught(void)
{
    return caught != 0 || interrupted();
}

int signal_check(void)
{
    if (caught)
        FAIL(ERR_INTERRUPTED, "interrupted by %s", caught == SIGTERM ? "SIGTERM" : "Ctrl-C");
    if (interrupted())
        FAIL(ERR_INTERRUPTED, "interrupted by the program");
    return 0;
}
