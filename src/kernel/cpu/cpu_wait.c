/* kernel/cpu/cpu_wait.c: waiting compute threads go to sleep soon.
 *
 * libgomp lets a waiting thread spin for milliseconds, and on a machine with other jobs the spinning threads take the
 * processor from the working ones: beside a load of four jobs a processor a training step took three to ten times as
 * long as with short waits. libgomp reads its settings when it is loaded, before any code of the program (even before
 * .preinit_array has an environment to write to), so a program starts itself once more with the setting made. A setting
 * of the user's stays. Rejected: a library marked initfirst, one more file to install. */
#include "kernel/cpu/cpu.h"

#include <stdlib.h>
#include <unistd.h>

void engine_wait_briefly(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("GOMP_SPINCOUNT", "2000", 0) == 0) /* some microseconds */
        (void)execv("/proc/self/exe", argv);      /* comes back only when it failed: then the waits stay long */
}
