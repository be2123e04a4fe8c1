/* io/tar.c: the members of a tar file, plain or packed with gzip or zstd, through libarchive.
 *
 * Only the tar format and these two filters are switched on; libarchive's other readers are code that nobody asked to
 * run on a stranger's file. Nothing is ever unpacked: a member is a name and bytes. A plain tar is mapped, and each
 * member's place is known, so pictures can be read later with pread; of a packed one only a stream can be had. Limits:
 * members of a file, bytes of a member, and bytes unpacked for each packed byte, asked at every block, so that a bomb
 * ends after megabytes. Links, devices and sparse members are handed out as such, for the caller to count.
 * libarchive is loaded by the first call: it brings nine libraries, ICU among them, that `meridian --version` should
 * not wait for. Rejected: our own header parser; pax and GNU extensions are where tar readers go wrong. */
#include "io/io.h"

#ifdef HAVE_ARCHIVE

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLACK ((int64_t)16 << 20) /* unpacked bytes that no ratio is asked of */
#define BLOCK ((size_t)128 << 10)

#define SYMBOLS(X)                                                                                                     \
    X(struct archive *, archive_read_new, (void))                                                                      \
    X(int, archive_read_support_format_tar, (struct archive *))                                                        \
    X(int, archive_read_support_filter_gzip, (struct archive *))                                                       \
    X(int, archive_read_support_filter_zstd, (struct archive *))                                                       \
    X(int, archive_read_open_memory, (struct archive *, const void *, size_t))                                         \
    X(int, archive_read_open_fd, (struct archive *, int, size_t))                                                      \
    X(int, archive_read_next_header, (struct archive *, struct archive_entry **))                                      \
    X(int, archive_read_data_block, (struct archive *, const void **, size_t *, la_int64_t *))                         \
    X(int, archive_read_free, (struct archive *))                                                                      \
    X(const char *, archive_error_string, (struct archive *))                                                          \
    X(la_int64_t, archive_filter_bytes, (struct archive *, int))                                                       \
    X(const char *, archive_entry_pathname, (struct archive_entry *))                                                  \
    X(const char *, archive_entry_pathname_utf8, (struct archive_entry *))                                             \
    X(la_int64_t, archive_entry_size, (struct archive_entry *))                                                        \
    X(__LA_MODE_T, archive_entry_filetype, (struct archive_entry *))                                                   \
    X(const char *, archive_entry_hardlink, (struct archive_entry *))                                                  \
    X(int, archive_entry_sparse_count, (struct archive_entry *))

static struct {
#define X(type, name, args) type(*name) args;
    SYMBOLS(X)
#undef X
} lib;
static pthread_mutex_t lib_lock = PTHREAD_MUTEX_INITIALIZER;
static bool lib_ready;

static int load_symbols(void *handle)
{
    void *at;
    (void)handle;
#define X(type, name, args)                                                                                            \
    at = dlsym(handle, #name);                                                                                         \
    if (!at)                                                                                                           \
        FAIL(ERR_UNSUPPORTED, "libarchive: has no function " #name "; version 3.3.3 or newer is needed");              \
    memcpy(&lib.name, &at, sizeof at);
    SYMBOLS(X)
#undef X
    return 0;
}

static int load(void)
{
    static const char *const names[] = {"libarchive.so.13", "libarchive.so"};
    int rc = 0;
    pthread_mutex_lock(&lib_lock);
    if (!lib_ready) {
        void *handle = NULL;
        for (size_t i = 0; i < ARRAY_LEN(names) && !handle; i++)
            handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        rc = handle
                 ? load_symbols(handle)
                 : err_set(ERR_UNSUPPORTED, "tar shards need libarchive, which is not installed; Debian's package is "
                                            "libarchive13");
        lib_ready = rc == 0;
    }
    pthread_mutex_unlock(&lib_lock);
    return rc;
}

struct tar {
    struct archive *a;
    struct map map; /* of a plain tar */
    bool packed;
    int fd;
    char *path;
    struct str name;
    int64_t n_members;
    bool at_member;       /* its bytes are not all consumed */
    const uint8_t *bytes; /* of the member, in the map */
    int64_t size;
};

static bool looks_packed(const uint8_t *p, ssize_t n)
{
    return (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) || (n >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4));
}

static int start(struct tar *t)
{
    uint8_t head[4];
    struct stat st;
    t->fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */
    if (t->fd < 0)
        return err_errno(ERR_DATA, "%s: cannot open", t->path);
    if (fstat(t->fd, &st) != 0 || !S_ISREG(st.st_mode))
        FAIL(ERR_DATA, "%s: is no file; expected a tar", t->path);
    if (st.st_size == 0)
        FAIL(ERR_DATA, "%s: is empty; expected a tar", t->path);
    t->packed = looks_packed(head, pread(t->fd, head, sizeof head, 0));
    if (!t->packed)
        TRY(map_open(&t->map, t->path));
    t->a = lib.archive_read_new();
    if (!t->a)
        FAIL(ERR_MEMORY, "%s: no memory for the tar reader", t->path);
    lib.archive_read_support_format_tar(t->a);
    if (t->packed) {
        lib.archive_read_support_filter_gzip(t->a);
        lib.archive_read_support_filter_zstd(t->a);
    }
    int rc = t->packed ? lib.archive_read_open_fd(t->a, t->fd, BLOCK)
                       : lib.archive_read_open_memory(t->a, t->map.data, t->map.size);
    if (rc < ARCHIVE_WARN)
        FAIL(ERR_DATA, "%s: is no tar file: %s", t->path, lib.archive_error_string(t->a));
    return 0;
}

int tar_open(struct tar **out, const char *path)
{
    TRY(load());
    struct tar *t = mem_calloc(1, sizeof *t);
    if (!t)
        return ERR_MEMORY;
    t->fd = -1;
    t->path = mem_strdup(path);
    int rc = t->path ? start(t) : ERR_MEMORY;
    if (rc < 0) {
        tar_close(&t);
        return rc;
    }
    *out = t;
    return 0;
}

void tar_close(struct tar **tp)
{
    struct tar *t = *tp;
    if (!t)
        return;
    if (t->a)
        lib.archive_read_free(t->a);
    if (t->map.path)
        map_close(&t->map);
    if (t->fd >= 0)
        close(t->fd);
    str_free(&t->name);
    mem_free(t->path);
    mem_free(t);
    *tp = NULL;
}

bool tar_packed(const struct tar *t)
{
    return t->packed;
}

static int broken(const struct tar *t)
{
    const char *why = lib.archive_error_string(t->a);
    FAIL(ERR_DATA, "%s: is broken at member %lld, \"%s\", byte %lld of the file: %s", t->path, (long long)t->n_members,
         t->name.s ? t->name.s : "", (long long)lib.archive_filter_bytes(t->a, -1), why ? why : "unreadable");
}

static int check_expansion(const struct tar *t)
{
    int64_t out = lib.archive_filter_bytes(t->a, 0), in = lib.archive_filter_bytes(t->a, -1);
    int64_t most = limit_get(LIMIT_EXPANSION);
    if (!t->packed || out <= SLACK || in < 1 || (out - SLACK) / most <= in)
        return 0;
    FAIL(
        ERR_DATA,
        "%s: member %lld, \"%s\": %lld bytes came out of %lld, more than %lld for one (limit expansion); is it a bomb?",
        t->path, (long long)t->n_members, t->name.s ? t->name.s : "", (long long)out, (long long)in, (long long)most);
}

/* Next bytes of the member; *n is 0 behind its last. */
static int next_block(struct tar *t, const uint8_t **p, size_t *n)
{
    const void *block = NULL;
    size_t size = 0;
    la_int64_t offset = 0;
    int rc = lib.archive_read_data_block(t->a, &block, &size, &offset);
    TRY(check_expansion(t));
    *p = block;
    *n = size;
    if (rc == ARCHIVE_EOF) {
        *n = 0;
        t->at_member = false;
        return 0;
    }
    return rc < ARCHIVE_WARN ? broken(t) : 0;
}

/* Walks over a plain tar's member (nothing is copied) and notes where its bytes lie. */
static int place(struct tar *t)
{
    const uint8_t *p;
    size_t n;
    int64_t got = 0;
    t->bytes = NULL;
    while (t->at_member) {
        TRY(next_block(t, &p, &n));
        if (n && !t->bytes)
            t->bytes = p;
        if (n && p != t->bytes + got)
            FAIL(ERR_DATA, "%s: member %lld, \"%s\": its bytes lie in pieces", t->path, (long long)t->n_members,
                 t->name.s);
        got += (int64_t)n;
    }
    uintptr_t from = (uintptr_t)t->map.data, at = (uintptr_t)t->bytes;
    if (got != t->size || (got && (at < from || at - from > t->map.size || t->map.size - (at - from) < (size_t)got)))
        FAIL(ERR_DATA, "%s: member %lld, \"%s\": %lld bytes, expected %lld", t->path, (long long)t->n_members,
             t->name.s, (long long)got, (long long)t->size);
    return 0;
}

static enum tar_kind kind_of(struct archive_entry *e)
{
    __LA_MODE_T type = lib.archive_entry_filetype(e);
    if (lib.archive_entry_hardlink(e) || lib.archive_entry_sparse_count(e) > 0)
        return TAR_OTHER;
    return type == AE_IFREG ? TAR_FILE : type == AE_IFDIR ? TAR_FOLDER : TAR_OTHER;
}

int tar_skip(struct tar *t)
{
    const uint8_t *p;
    size_t n;
    while (t->at_member)
        TRY(next_block(t, &p, &n));
    return 0;
}

int tar_next(struct tar *t, struct tar_member *m)
{
    struct archive_entry *e = NULL;
    TRY(tar_skip(t));
    int rc = lib.archive_read_next_header(t->a, &e);
    TRY(check_expansion(t));
    if (rc == ARCHIVE_EOF)
        return 0;
    if (rc < ARCHIVE_WARN)
        return broken(t);
    if (++t->n_members > limit_get(LIMIT_TAR_ENTRIES))
        FAIL(ERR_DATA, "%s: more than %lld members (limit tar-entries)", t->path,
             (long long)limit_get(LIMIT_TAR_ENTRIES));
    const char *name = lib.archive_entry_pathname(e);
    if (!name)
        name = lib.archive_entry_pathname_utf8(e);
    str_clear(&t->name);
    str_add(&t->name, "%s", name ? name : "");
    if (t->name.failed)
        return ERR_MEMORY;
    t->size = lib.archive_entry_size(e);
    t->at_member = true;
    enum tar_kind kind = name ? kind_of(e) : TAR_OTHER;
    if (t->size < 0 || t->size > limit_get(LIMIT_TAR_MEMBER))
        FAIL(ERR_DATA, "%s: member %lld, \"%s\", has %lld bytes, expected at most %lld (limit tar-member)", t->path,
             (long long)t->n_members, t->name.s, (long long)t->size, (long long)limit_get(LIMIT_TAR_MEMBER));
    if (kind == TAR_FILE && !t->packed)
        TRY(place(t));
    *m = (struct tar_member){.name = t->name.s,
                             .kind = kind,
                             .size = t->size,
                             .offset = kind != TAR_FILE || t->packed ? -1
                                       : t->bytes                    ? t->bytes - t->map.data
                                                                     : 0};
    return 1;
}

int tar_read(struct tar *t, struct str *into)
{
    const uint8_t *p;
    size_t n;
    str_clear(into);
    if (!t->packed) {
        str_add_n(into, (const char *)t->bytes, t->bytes ? (size_t)t->size : 0);
        TRY(map_check(&t->map));
    }
    while (t->packed && t->at_member) {
        TRY(next_block(t, &p, &n));
        str_add_n(into, (const char *)p, n);
    }
    return into->failed ? ERR_MEMORY : 0;
}

int tar_copy(struct tar *t, int fd)
{
    const uint8_t *p;
    size_t n;
    BUG_ON(!t->packed);
    while (t->at_member) {
        TRY(next_block(t, &p, &n));
        while (n > 0) {
            ssize_t k = write(fd, p, n);
            if (k < 0 && errno == EINTR)
                continue;
            if (k <= 0)
                return err_errno(ERR_FAIL, "a temporary file for the pictures of %s: cannot write", t->path);
            p += k;
            n -= (size_t)k;
        }
    }
    return 0;
}

#else

int tar_open(struct tar **out UNUSED, const char *path)
{
    FAIL(ERR_UNSUPPORTED, "%s: this build reads no tar shards; build it where libarchive-dev is installed", path);
}

void tar_close(struct tar **t UNUSED) {}

bool tar_packed(const struct tar *t UNUSED)
{
    return false;
}

int tar_next(struct tar *t UNUSED, struct tar_member *m UNUSED)
{
    return 0;
}

int tar_skip(struct tar *t UNUSED)
{
    return 0;
}

int tar_read(struct tar *t UNUSED, struct str *into UNUSED)
{
    return 0;
}

int tar_copy(struct tar *t UNUSED, int fd UNUSED)
{
    return 0;
}

#endif
