/* base/signal.c: Ctrl-C keeps the work.
 *
 * The handler only sets a flag; loops ask between two steps and leave through their usual error path, so files are
 * closed and checkpoints written. A second signal restores the default action and kills. Interrupted system calls
 * restart: no reader needs to know about EINTR. */
#include "base/base.h"

#include <signal.h>

static volatile sig_atomic_t caught;

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

bool signal_caught(void)
{
    return caught != 0;
}

int signal_check(void)
{
    if (!caught)
        return 0;
    FAIL(ERR_INTERRUPTED, "interrupted by %s", caught == SIGTERM ? "SIGTERM" : "Ctrl-C");
}
