/* kernel/cpu/cpu_wait.c: waiting compute threads go to sleep soon. Linked into programs, not into the library.
 *
 * libgomp lets a waiting thread spin for milliseconds, and on a machine with other jobs the spinning threads take the
 * processor from the working ones: measured beside a load of four jobs a processor, a training step took ten times as
 * long. libgomp reads its settings when it is loaded, before main; only the program's own .preinit_array runs earlier
 * (it is not allowed in shared libraries, hence a file apart). A setting made by the user stays. Rejected: executing
 * the program a second time with the variable set, which changes what debuggers and process lists show. */
#define _GNU_SOURCE

#include <stdlib.h>

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
static void wait_briefly(int argc, char **argv, char **env)
{
    (void)argc;
    (void)argv;
    (void)env;
    if (!getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT"))
        (void)setenv("GOMP_SPINCOUNT", "2000", 0); /* some microseconds */
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) = wait_briefly;
#endif
