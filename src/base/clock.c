/* base/clock.c: the two clocks: one that never jumps, for durations; one for people, always UTC. */
#include "base/base.h"

#include <time.h>

double clock_seconds(void)
{
    struct timespec t = {0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void clock_utc(char out[32])
{
    time_t now = time(NULL);
    struct tm t;

    if (!gmtime_r(&now, &t) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &t))
        snprintf(out, 32, "1970-01-01T00:00:00Z");
}
