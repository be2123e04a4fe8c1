/* io/picture_worker.c: meridian-decode, the process that decodes TIFF and PPM for picture_confined.c.
 *
 * It starts libvips, reads the whole file from its socket, then binds itself: nothing open but the socket, 10 s of
 * processor time, 1 GiB of address space, no new file descriptors, and a seccomp filter on all its threads under which
 * only computing, memory and the socket work; every other call fails with EPERM. Only then is the first byte of the
 * picture looked at. The filter names what is allowed, so a system call that is new to us is refused too. Without
 * seccomp in the kernel it refuses to decode. It needs no parent to end it: its socket fails when nobody reads.
 * Rejected: libseccomp (one more library for thirty numbers in a row). */
#define _GNU_SOURCE
#include "io/image_vips.h"
#include "io/picture_confined.h"
#include "io/picture_mode.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0 /* nothing matches: every picture is refused */
#endif

#define CPU_SECONDS 10
#define MEMORY_BYTES ((rlim_t)1 << 30)

static const int allowed[] = {SYS_read,
                              SYS_write,
                              SYS_recvfrom,
                              SYS_sendto,
                              SYS_close,
                              SYS_mmap,
                              SYS_munmap,
                              SYS_mremap,
                              SYS_mprotect,
                              SYS_madvise,
                              SYS_brk,
                              SYS_futex,
                              SYS_exit,
                              SYS_exit_group,
                              SYS_rt_sigreturn,
                              SYS_rt_sigprocmask,
                              SYS_rt_sigaction,
                              SYS_sigaltstack,
                              SYS_clock_gettime,
                              SYS_gettimeofday,
                              SYS_getrandom,
                              SYS_sched_yield,
                              SYS_sched_getaffinity,
                              SYS_getpid,
                              SYS_gettid,
                              SYS_set_robust_list,
                              SYS_lseek,
                              SYS_fstat,
                              SYS_restart_syscall};

/* What a careless parent left open, and the terminal: a decoder gone wrong would write there. */
static int close_all(void)
{
    int nothing = open("/dev/null", O_WRONLY);
    if (nothing < 0 || dup2(nothing, 1) < 0)
        return err_errno(ERR_FAIL, "/dev/null: cannot open");
#ifndef __SANITIZE_ADDRESS__ /* it reports there */
    if (dup2(nothing, 2) < 0)
        return err_errno(ERR_FAIL, "/dev/null: cannot open");
#endif
    struct rlimit r;
    long n = getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < 65536 ? (long)r.rlim_cur : 65536;
    if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0) /* Linux before 5.9 */
        for (int fd = 3; fd < n; fd++)
            close(fd);
    return 0;
}

static int confine(void)
{
    enum { N = ARRAY_LEN(allowed) };
    static const struct {
        int what;
        rlim_t most;
    } limits[] = {{RLIMIT_CPU, CPU_SECONDS},
                  {RLIMIT_CORE, 0},
                  {RLIMIT_NOFILE, 0},
#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is terabytes */
                  {RLIMIT_AS, MEMORY_BYTES},
#endif
                  {RLIMIT_FSIZE, 0}};
    struct sock_filter code[N + 6];
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < N; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], (uint8_t)(N - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)n, code};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (setrlimit((unsigned)limits[i].what, &(struct rlimit){limits[i].most, limits[i].most}) != 0)
            return err_errno(ERR_FAIL, "a limit cannot be set");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        return err_errno(ERR_UNSUPPORTED, "this kernel cannot confine the decoder; save the picture as PNG");
    return 0;
}

static int read_all(struct str *to)
{
    static char block[65536];
    for (;;) {
        ssize_t n = recv(0, block, sizeof(block), 0);
        if (n == 0)
            return to->failed ? err_set(ERR_MEMORY, "no memory for the file") : 0;
        if (n < 0 && errno != EINTR)
            return err_errno(ERR_FAIL, "the file does not come");
        if (n > 0)
            str_add_n(to, block, (size_t)n);
    }
}

static void send_all(const void *from, size_t n)
{
    const char *p = from;
    while (n > 0) {
        ssize_t k = send(0, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return;
        p += k;
        n -= (size_t)k;
    }
}

/* What is claimed is tried: the root folder must be out of reach. */
static int check_confined(void)
{
    int fd = open("/", O_RDONLY);
    if (fd >= 0 || errno != EPERM)
        FAIL(ERR_FAIL, "the decoder is not confined; save the picture as PNG");
    return 0;
}

static int decode(struct image *im, const char *name)
{
    struct str file = {0};
    struct collect c;
    struct image_sink to = picture_collect(&c);
    TRY(image_start(CONFINED_PROGRAM));
    TRY(read_all(&file));
    TRY(close_all());
    TRY(confine());
    TRY(check_confined());
    image_unconfined();
    TRY(picture_collected(&c, image_decode_here(&to, file.s, file.n, name), im));
    return image_turn(im); /* Pillow turns TIFF when it loads it, and knows no orientation of PPM */
}

int main(int argc, char **argv)
{
    static const char *const limits[] = {"pixels", "side", "pixels-per-byte", "jpeg-scans"};
    struct image im = {0};
    struct confined_head h = {.magic = CONFINED_MAGIC};
    if (argc != 6) {
        fprintf(stderr,
                CONFINED_PROGRAM " is started by meridian to decode TIFF and PPM pictures; it has no use alone\n");
        return 2;
    }
    for (int i = 0; i < 4; i++)
        limit_set(limits[i], strtoll(argv[i + 1], NULL, 10));
    h.rc = decode(&im, argv[5]);
    if (h.rc < 0) {
        h.n_text = (uint32_t)strnlen(err_text(), 1000);
        send_all(&h, sizeof(h));
        send_all(err_text(), h.n_text);
    } else {
        h.width = im.width;
        h.height = im.height;
        h.channels = im.channels;
        h.mode = (int32_t)im.mode;
        send_all(&h, sizeof(h));
        send_all(im.pixels, (size_t)im.width * (size_t)im.height * (size_t)im.channels);
    }
    _exit(0); /* the libraries' own ends would ask for what is forbidden now */
}
